/* libcurl, loaded with the first request: it brings some twenty libraries, and a daemon that calls nobody does not
 * carry them. Include this instead of <curl/curl.h>, call lw_curl_load() before anything else. For http_client.c only.
 */
#pragma once

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

#include "common/base/err.h"

#define LW_CURL_FUNCTIONS(X)                                                                                           \
	X(curl_easy_cleanup)                                                                                           \
	X(curl_easy_getinfo)                                                                                           \
	X(curl_easy_header)                                                                                            \
	X(curl_easy_init)                                                                                              \
	X(curl_easy_reset)                                                                                             \
	X(curl_easy_setopt)                                                                                            \
	X(curl_global_cleanup)                                                                                         \
	X(curl_global_init)                                                                                            \
	X(curl_multi_add_handle)                                                                                       \
	X(curl_multi_assign)                                                                                           \
	X(curl_multi_cleanup)                                                                                          \
	X(curl_multi_info_read)                                                                                        \
	X(curl_multi_init)                                                                                             \
	X(curl_multi_remove_handle)                                                                                    \
	X(curl_multi_setopt)                                                                                           \
	X(curl_multi_socket_action)                                                                                    \
	X(curl_slist_append)                                                                                           \
	X(curl_slist_free_all)

struct lw_curl {
#define X(f) __typeof__(&f) f;
	LW_CURL_FUNCTIONS(X)
#undef X
};

extern struct lw_curl lw_curl;

/* 0, or LW_EUNSUPPORTED with diag when the library is not installed. Safe to call again. */
int lw_curl_load(struct lw_diag *diag);

#ifndef LW_CURL_NO_NAMES
#define curl_easy_cleanup lw_curl.curl_easy_cleanup
#define curl_easy_getinfo lw_curl.curl_easy_getinfo
#define curl_easy_header lw_curl.curl_easy_header
#define curl_easy_init lw_curl.curl_easy_init
#define curl_easy_reset lw_curl.curl_easy_reset
#define curl_easy_setopt lw_curl.curl_easy_setopt
#define curl_global_cleanup lw_curl.curl_global_cleanup
#define curl_global_init lw_curl.curl_global_init
#define curl_multi_add_handle lw_curl.curl_multi_add_handle
#define curl_multi_assign lw_curl.curl_multi_assign
#define curl_multi_cleanup lw_curl.curl_multi_cleanup
#define curl_multi_info_read lw_curl.curl_multi_info_read
#define curl_multi_init lw_curl.curl_multi_init
#define curl_multi_remove_handle lw_curl.curl_multi_remove_handle
#define curl_multi_setopt lw_curl.curl_multi_setopt
#define curl_multi_socket_action lw_curl.curl_multi_socket_action
#define curl_slist_append lw_curl.curl_slist_append
#define curl_slist_free_all lw_curl.curl_slist_free_all
#endif
