#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "app-server/integration/http.h"
#include "app-server/integration/kind.h"

#define MAX_URL 2048
#define MAX_HEADER 8192

static struct lw_span trim(struct lw_span s)
{
	while (s.n && isspace(s.p[0]))
		s = lw_span(s.p + 1, s.n - 1);
	while (s.n && isspace(s.p[s.n - 1]))
		s.n--;
	return s;
}

static bool starts(struct lw_span s, const char *prefix)
{
	return s.n > strlen(prefix) && strncasecmp((const char *)s.p, prefix, strlen(prefix)) == 0;
}

static int check_url(struct lw_span u, struct lw_diag *diag)
{
	size_t scheme = starts(u, "https://") ? 8 : starts(u, "http://") ? 7 : 0;
	const char *wrong = NULL;
	if (!scheme || u.p[scheme] == '/' || u.p[scheme] == '?')
		wrong = "is not an http:// or https:// URL";
	else if (u.n > MAX_URL)
		wrong = "is too long";
	for (size_t i = scheme; !wrong && i < u.n; i++) {
		if (u.p[i] <= ' ' || u.p[i] == 0x7f)
			wrong = "contains a space or a control character";
		else if (u.p[i] == '@' && !memchr(u.p + scheme, '/', i - scheme))
			wrong = "names a user: use an Authorization header";
	}
	if (wrong)
		lw_diag_set(diag, "event_endpoint_url: \"%.*s\" %s", (int)(u.n < 100 ? u.n : 100), (const char *)u.p,
			    wrong);
	return wrong ? LW_EINVAL : 0;
}

int as_http_urls(const char *list, struct lw_span *out, struct lw_diag *diag)
{
	int n = 0;
	for (const char *p = list;; p++) {
		size_t len = strcspn(p, ",");
		struct lw_span u = trim(lw_span(p, len));
		bool known = false;
		for (int i = 0; i < n; i++)
			known = known || lw_span_eq(out[i], u);
		if (u.n && !known) {
			if (n == AS_HTTP_URLS_MAX) {
				lw_diag_set(diag, "event_endpoint_url: more than %d URLs", AS_HTTP_URLS_MAX);
				return LW_EINVAL;
			}
			if (check_url(u, diag) < 0)
				return LW_EINVAL;
			out[n++] = u;
		}
		p += len;
		if (!*p)
			break;
	}
	if (n == 0)
		lw_diag_set(diag, "event_endpoint_url is empty");
	return n ? n : LW_EINVAL;
}

int as_http_header_check(const char *name, const char *value, struct lw_diag *diag)
{
	/* What the sender itself says, or what belongs to the connection. */
	static const char *const ours[] = {
		"content-length", "transfer-encoding", "connection", "keep-alive",      "te",
		"trailer",        "upgrade",           "expect",     "idempotency-key", "proxy-connection"};
	const char *wrong = NULL;
	if (!name[0] || strlen(name) + strlen(value) > MAX_HEADER)
		wrong = "is empty or too long";
	for (const char *p = name; *p && !wrong; p++) {
		if (!isalnum((unsigned char)*p) && !strchr("!#$%&'*+-.^_`|~", *p))
			wrong = "is not a header's name";
	}
	for (const char *p = value; *p && !wrong; p++) {
		if (((unsigned char)*p < ' ' && *p != '\t') || *p == 0x7f)
			wrong = "has a control character in its value";
	}
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]) && !wrong; i++) {
		if (strcasecmp(name, ours[i]) == 0)
			wrong = "cannot be set";
	}
	if (wrong)
		lw_diag_set(diag, "headers: \"%.100s\" %s", name, wrong);
	return wrong ? LW_EINVAL : 0;
}

void as_http_event_url(struct lw_buf *out, struct lw_span url, const char *event)
{
	const uint8_t *hash = memchr(url.p, '#', url.n);
	size_t n = hash ? (size_t)(hash - url.p) : url.n;
	const uint8_t *query = memchr(url.p, '?', n);
	lw_buf_append(out, url.p, n);
	if (!query)
		lw_buf_append_str(out, "?");
	else if (url.p[n - 1] != '?' && url.p[n - 1] != '&')
		lw_buf_append_str(out, "&");
	lw_buf_printf(out, "event=%s", event);
}

int as_http_result(int status)
{
	if (status >= 200 && status < 300)
		return AS_OUTLET_DELIVERED;
	if (status == 408 || status == 425 || status == 429 || status >= 500 || status < 100)
		return AS_OUTLET_RETRY;
	return AS_OUTLET_REFUSED;
}
