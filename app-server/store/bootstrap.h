/* The first minutes of an installation: tables, secrets, the first administrator and tenant. */
#pragma once

struct as;

/* Brings the database up to date, loads or makes the secrets, creates the user admin when there is no user at all (a
 * random password is printed once, on standard output), then calls `ready`. A permanent error (a database newer than
 * this program) calls `failed` with its text. */
void as_bootstrap(struct as *as, void (*ready)(struct as *as), void (*failed)(struct as *as, const char *why));
/* Before the database is freed. */
void as_bootstrap_stop(struct as *as);
