/* What the rows of devices and gateways show of their traffic: last seen, data rate, battery … Collected in memory, one
 * row for each device however often it spoke, and written as one statement per table: at once when few speak, some ten
 * times a second under load. What a crash takes away comes back with the next frame. */
#pragma once

#include <stdint.h>

#include "app-server/flow/devices.h"

struct as_rows;

struct as_rows *as_rows_new(struct as *as);
void as_rows_free(struct as_rows *r);
/* `dev` is the device of the event. */
void as_rows_note(struct as_rows *r, const Longwave__Ns__V1__Event *e, struct as_device *dev);
/* Statistics of a gateway (its id inside). */
void as_rows_note_gateway(struct as_rows *r, const Longwave__Ns__V1__Event *e);
/* From now on nothing waits for company: before the end. */
void as_rows_hurry(struct as_rows *r);
/* Nothing waits and nothing is under way. */
bool as_rows_idle(const struct as_rows *r);
