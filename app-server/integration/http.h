/* HTTP integration: an event is a POST (contracts/integration.md §3). Rules for its configuration, shared by the API
 * and the sender; pure. */
#pragma once

#include <stdbool.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

#define AS_HTTP_URLS_MAX 16
#define AS_HTTP_HEADERS_MAX 64

/* Splits at commas and trims; `out` has AS_HTTP_URLS_MAX places that borrow from `list`. Returns how many, or LW_EINVAL
 * with words for the caller: none, too many, not http(s), a user or password in it. */
int as_http_urls(const char *list, struct lw_span *out, struct lw_diag *diag);
/* 0, or LW_EINVAL: not a header, or one that is not the configuration's to set. */
int as_http_header_check(const char *name, const char *value, struct lw_diag *diag);
/* The URL with event=<name> added to its query. */
void as_http_event_url(struct lw_buf *out, struct lw_span url, const char *event);
/* What becomes of an event that was answered so: 2xx delivered; 408, 425, 429 and 5xx may be tried again; the rest will
 * not be taken by asking again. */
int as_http_result(int status);
