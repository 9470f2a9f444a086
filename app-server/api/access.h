/* Who is calling and whether they may: token → caller → owner of the object → right. Callers and owners are cached for
 * a short time; whoever changes users, keys, memberships or deletes owners says so with as_access_forget(). */
#pragma once

#include "app-server/api/call.h"

struct as_access *as_access_new(struct as *as);
void as_access_free(struct as_access *a);
void as_access_forget(struct as_access *a);
/* The same when another replica says so. */
void as_access_hear(struct as_access *a);
/* Ends with the row's handler or the call finished. */
void as_access_enter(struct as_call *c);
