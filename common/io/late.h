/* A shared library that is loaded when it is first needed (decision 0004): its functions go into a struct of pointers.
 * Knows no library by name, and never unloads one. */
#pragma once

#include <stddef.h>

#include "common/base/err.h"

struct late_library {
	const char *soname;
	const char *const *functions; /* their names, in the order of the members of the struct */
	size_t n_functions;
	const char *failure; /* NULL: loaded. Otherwise why not. Written once, under the caller's pthread_once(). */
	char text[200];
};

/* Fills `into`, a struct of lib->n_functions pointers. Call once; lib->failure tells how it went. */
void late_load(struct late_library *lib, void *into);

/* 0, or LW_EUNSUPPORTED with `what` and the reason in diag. */
int late_result(const struct late_library *lib, const char *what, struct lw_diag *diag);
