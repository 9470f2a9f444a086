/* Static files below one folder. */
#include "common/io/http_server_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/xmalloc.h"

struct http_static {
	int dir_fd;
};

static const struct {
	const char *ext;
	const char *type;
} TYPES[] = {
	{"html", "text/html; charset=utf-8"},
	{"js", "text/javascript; charset=utf-8"},
	{"mjs", "text/javascript; charset=utf-8"},
	{"css", "text/css; charset=utf-8"},
	{"json", "application/json"},
	{"map", "application/json"},
	{"webmanifest", "application/manifest+json"},
	{"svg", "image/svg+xml"},
	{"png", "image/png"},
	{"jpg", "image/jpeg"},
	{"jpeg", "image/jpeg"},
	{"webp", "image/webp"},
	{"gif", "image/gif"},
	{"ico", "image/x-icon"},
	{"woff2", "font/woff2"},
	{"woff", "font/woff"},
	{"ttf", "font/ttf"},
	{"txt", "text/plain; charset=utf-8"},
	{"wasm", "application/wasm"},
	{"pdf", "application/pdf"},
};

int http_static_new(const char *dir, struct http_static **out)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return LW_ENOTFOUND;
	*out = lw_xcalloc(1, sizeof(**out));
	(*out)->dir_fd = fd;
	return 0;
}

void http_static_free(struct http_static *st)
{
	if (!st)
		return;
	close(st->dir_fd);
	free(st);
}

static const char *content_type(const char *path)
{
	const char *dot = strrchr(path, '.');
	for (size_t i = 0; dot && i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
		if (strcasecmp(dot + 1, TYPES[i].ext) == 0)
			return TYPES[i].type;
	}
	return "application/octet-stream";
}

/* No part is empty, hidden, "." or ".."; no backslash or control character. */
static bool path_ok(const char *rel)
{
	bool start = true;
	for (const char *p = rel; *p; p++) {
		unsigned char c = (unsigned char)*p;
		if (c < 0x20 || c == 0x7f || c == '\\')
			return false;
		if (start && (c == '.' || c == '/'))
			return false;
		start = c == '/';
	}
	return !start;
}

/* "index-B4xY_9aQ.js": what stands between the last '-' or '.' and the ending looks like a content hash. */
static bool has_hash(const char *rel)
{
	if (strncmp(rel, "assets/", 7) == 0)
		return true;
	const char *name = strrchr(rel, '/');
	name = name ? name + 1 : rel;
	const char *dot = strrchr(name, '.');
	if (!dot)
		return false;
	bool digit = false;
	const char *p = dot;
	while (p > name && p[-1] != '-' && p[-1] != '.') {
		p--;
		digit = digit || (*p >= '0' && *p <= '9');
	}
	return p > name && dot - p >= 8 && digit;
}

static bool accepts_gzip(const struct http_request *r)
{
	const char *v = http_request_header(r, "Accept-Encoding");
	const char *at = v ? strcasestr(v, "gzip") : NULL;
	if (!at)
		return false;
	at += 4;
	while (*at == ' ')
		at++;
	/* "gzip;q=0" means no. */
	return !(strncmp(at, ";q=0", 4) == 0 && strspn(at + 4, ".0") == strcspn(at + 4, ", "));
}

static int open_regular(const struct http_static *st, const char *rel, struct stat *sb)
{
	int fd = openat(st->dir_fd, rel, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -1;
	if (fstat(fd, sb) || !S_ISREG(sb->st_mode)) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool etag_matches(const struct http_request *r, const char *etag)
{
	const char *v = http_request_header(r, "If-None-Match");
	return v && (strstr(v, etag) || strcmp(v, "*") == 0);
}

/* False when there is no such file. */
static bool serve_file(struct http_static *st, struct http_request *r, const char *rel)
{
	struct stat sb;
	char gz[1024];
	int fd = -1;
	bool zipped = false;
	snprintf(gz, sizeof(gz), "%s.gz", rel);
	if (accepts_gzip(r) && strlen(rel) + 4 < sizeof(gz)) {
		fd = open_regular(st, gz, &sb);
		zipped = fd >= 0;
	}
	if (fd < 0)
		fd = open_regular(st, rel, &sb);
	if (fd < 0)
		return false;
	char etag[80];
	snprintf(etag, sizeof(etag), "\"%llx-%llx%s\"", (unsigned long long)sb.st_size,
		 (unsigned long long)sb.st_mtim.tv_sec * 1000000000ULL + (unsigned long long)sb.st_mtim.tv_nsec,
		 zipped ? "-gz" : "");
	struct http_header h[6];
	size_t n = 0;
	h[n++] = (struct http_header){"ETag", etag};
	h[n++] = (struct http_header){"Vary", "Accept-Encoding"};
	h[n++] = (struct http_header){"Cache-Control",
				      has_hash(rel) ? "public, max-age=31536000, immutable" : "no-cache"};
	h[n++] = (struct http_header){"X-Content-Type-Options", "nosniff"};
	if (etag_matches(r, etag)) {
		close(fd);
		http_respond(r, 304, NULL, NULL, 0, h, n);
		return true;
	}
	h[n++] = (struct http_header){"Content-Type", content_type(rel)};
	if (zipped)
		h[n++] = (struct http_header){"Content-Encoding", "gzip"};
	http_respond_fd(r, 200, h, n, fd, (uint64_t)sb.st_size);
	return true;
}

void http_static_serve(struct http_static *st, struct http_request *r, const char *path)
{
	const char *method = http_request_method(r);
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
		struct http_header allow = {"Allow", "GET, HEAD"};
		http_respond(r, 405, NULL, NULL, 0, &allow, 1);
		return;
	}
	const char *rel = path[0] == '/' ? path + 1 : path;
	if (!*rel)
		rel = "index.html";
	if (path_ok(rel) && serve_file(st, r, rel))
		return;
	const char *last = strrchr(path, '/');
	bool page = !strchr(last ? last : path, '.');
	if (page && !strstr(path, "..") && serve_file(st, r, "index.html"))
		return;
	http_respond_text(r, 404, "not found\n");
}
