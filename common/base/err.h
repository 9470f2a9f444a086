/* Error codes and the fixed-size carrier for human detail.
 * Functions that can fail return 0 or a useful count, else a negative code: LW_E… (err.def) or -errno. */
#pragma once

#include <stddef.h>

enum lw_err {
	LW_OK = 0,
#define LW_ERR(name, code, text) name = (code),
#include "common/base/err.def"
#undef LW_ERR
};

/* Text of a code of either kind ("not found"); for an unknown code "unknown error". Static storage for our own
 * codes; the C library's storage for errno values. */
const char *lw_err_text(int err);

/* Name of our own code ("LW_ENOTFOUND"), or "errno" for a system error, for logs and metric labels. */
const char *lw_err_name(int err);

/* Human detail at the borders (configuration, SQL, RPC, REST). Always terminated. */
struct lw_diag {
	char text[256];
};

/* Writes the detail, cut to the available room. `d` may be NULL: then nothing happens. */
void lw_diag_set(struct lw_diag *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "<text>: " before what is there already, so that a caller adds context on the way up. `d` may be NULL. */
void lw_diag_prefix(struct lw_diag *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
