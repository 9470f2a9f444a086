/* Inside of mqtt: one connection attempt on a thread of its own, since the library resolves names and connects
 * blocking. A thread and not the pool, so that an attempt towards a silent host delays nobody, the end of the process
 * included. */
#pragma once

#include <stddef.h>

struct mosquitto;
struct mqtt5__property;
struct mqtt_connector;

/* Takes `mosq` and `props` until mqtt_connector_finish(). *fd becomes readable when the attempt is over; it belongs to
 * the connector. NULL when no thread can be made (nothing taken then). */
struct mqtt_connector *mqtt_connector_start(struct mosquitto *mosq, const char *host, int port, int keepalive_s,
					    struct mqtt5__property *props, int *fd);
/* After the fd was readable (its watch is gone): gives `mosq` back and returns MOSQ_ERR_…, on an error with its text.
 */
int mqtt_connector_finish(struct mqtt_connector *c, char *text, size_t cap);
/* Leaves everything to the thread, which frees it when the attempt is over. */
void mqtt_connector_abandon(struct mqtt_connector *c);
