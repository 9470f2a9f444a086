/* For the parts of the HTTP server that live in other files: static files. */
#pragma once

#include "common/io/http_server.h"

/* Answers with `size` bytes of a regular file; takes fd. */
void http_respond_fd(struct http_request *r, int status, const struct http_header *headers, size_t n_headers, int fd,
		     uint64_t size);
