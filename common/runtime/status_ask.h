/* Asks the status server of a daemon on this machine, as its own executable does for --health: containers have no other
 * HTTP client. Blocks; never for use on a loop. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/err.h"

/* GET `path` from the server that listens on `bind` (as in metrics.bind; an address that means "all" is asked over
 * loopback). Returns the HTTP status, the body is appended to `body`. LW_EINVAL: cannot be asked (empty, port 0);
 * LW_EUNAVAILABLE: nobody answers; LW_EPROTO: not HTTP. `timeout_ms` bounds each wait. */
int rt_status_ask(const char *bind, const char *path, unsigned timeout_ms, struct lw_buf *body, struct lw_diag *diag);
