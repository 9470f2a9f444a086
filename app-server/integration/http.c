/* The sender of the HTTP integration. Each endpoint has an HTTP client of its own: connections of one that hangs are
 * not another's. TLS is verified, redirects are not followed (they would take the headers' secrets elsewhere). */
#include "app-server/integration/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "app-server/as.h"
#include "app-server/integration/kind.h"
#include "common/base/list.h"
#include "common/base/xmalloc.h"
#include "common/io/http_client.h"
#include "common/pb/unpack.h"
#include "proto/api/application.pb-c.h"

#define MAX_CONFIG (1u << 20)
#define MAX_BODY (4u << 20)
#define MAX_ANSWER (64u << 10)

struct http_outlet {
	struct as *as;
	struct http_client *client;
	char *url;
	char **headers; /* "Name: value"; secrets */
	size_t n_headers;
	bool protobuf;
	bool closed;
	size_t under_way;
};

struct ask {
	struct http_outlet *h;
	as_outlet_done_fn *done;
	void *arg;
};

static void outlet_free(struct http_outlet *h)
{
	for (size_t i = 0; i < h->n_headers; i++) {
		lw_wipe(h->headers[i], strlen(h->headers[i]));
		free(h->headers[i]);
	}
	free(h->headers);
	free(h->url);
	free(h);
}

static void take_headers(struct http_outlet *h, const Api__HttpIntegration *c)
{
	struct lw_buf line;
	lw_buf_init(&line, 64 * 1024);
	h->headers = lw_xcalloc(c->n_headers + 1, sizeof(*h->headers));
	for (size_t i = 0; i < c->n_headers; i++) {
		const char *name = c->headers[i]->key, *value = c->headers[i]->value;
		/* The encoding decides about this one. */
		if (strcasecmp(name, "content-type") == 0)
			continue;
		lw_buf_reset(&line);
		/* With nothing behind the colon curl would drop the header. */
		lw_buf_printf(&line, value[0] ? "%s: %s" : "%s;", name, value);
		if (!line.err)
			h->headers[h->n_headers++] = lw_xstrdup(lw_buf_str(&line));
	}
	if (line.p)
		lw_wipe(line.p, line.cap);
	lw_buf_deinit(&line);
}

static void *http_open(const struct as_outlet_opts *o, struct lw_diag *diag)
{
	struct lw_arena arena;
	ProtobufCMessage *msg = NULL;
	lw_arena_init(&arena, NULL, 0, MAX_CONFIG);
	int rc = lw_pb_unpack(&api__http_integration__descriptor, o->config, &arena, &msg);
	if (rc < 0) {
		lw_diag_set(diag, "%s", lw_err_text(rc));
		lw_arena_deinit(&arena);
		return NULL;
	}
	struct http_outlet *h = lw_xcalloc(1, sizeof(*h));
	const Api__HttpIntegration *c = (const void *)msg;
	h->as = o->as;
	h->url = lw_xstrdup(o->target);
	h->protobuf = c->encoding == API__ENCODING__PROTOBUF;
	take_headers(h, c);
	lw_arena_deinit(&arena);
	h->client = http_client_new(o->as->loop,
				    &(struct http_client_config){
					    .max_connections_per_host = (uint32_t)o->as->conf->integrations.connections,
					    .max_connections = (uint32_t)o->as->conf->integrations.connections});
	return h;
}

static void http_close(void *state)
{
	struct http_outlet *h = state;
	h->closed = true;
	http_client_free(h->client); /* answers everything under way */
	h->client = NULL;
	if (h->under_way == 0)
		outlet_free(h);
}

static struct as_outlet_outcome outcome_of(const struct http_client_response *r, char text[160])
{
	struct as_outlet_outcome o = {.result = AS_OUTLET_RETRY, .text = text};
	/* An answer whose body is too long is an answer. */
	if (r->err && !(r->err == LW_EBIG && r->status)) {
		snprintf(text, 160, "%s", r->error[0] ? r->error : lw_err_text(r->err));
		return o;
	}
	o.result = (enum as_outlet_result)as_http_result(r->status);
	o.status = r->status;
	o.retry_after_ms = (r->retry_after_s > 86400 ? 86400 : r->retry_after_s) * 1000;
	/* These say that the endpoint, not the event, is in trouble. */
	o.answered = r->status != 429 && r->status != 502 && r->status != 503 && r->status != 504;
	snprintf(text, 160, "answered with status %d", r->status);
	return o;
}

static void on_response(void *arg, const struct http_client_response *r)
{
	struct ask *a = arg;
	struct http_outlet *h = a->h;
	char text[160];
	h->under_way--;
	if (!h->closed) {
		struct as_outlet_outcome o = outcome_of(r, text);
		a->done(a->arg, &o);
	} else if (h->under_way == 0 && !h->client) {
		outlet_free(h);
	}
	free(a);
}

static int http_send(void *state, const struct as_outlet_item *item, as_outlet_done_fn *done, void *arg)
{
	struct http_outlet *h = state;
	const struct as_conf *conf = h->as->conf;
	char key[160];
	const char *headers[AS_HTTP_HEADERS_MAX + 1];
	size_t n = 0;
	struct lw_buf url, body;
	int rc = 0;
	lw_buf_init(&url, 8192);
	lw_buf_init(&body, MAX_BODY);
	as_http_event_url(&url, lw_span_str(h->url), item->name);
	for (; n < h->n_headers && n < AS_HTTP_HEADERS_MAX; n++)
		headers[n] = h->headers[n];
	snprintf(key, sizeof(key), "Idempotency-Key: %s", item->idempotency);
	headers[n++] = key;
	struct http_client_request q = {
		.method = "POST",
		.url = lw_buf_str(&url),
		.content_type = h->protobuf ? "application/octet-stream" : "application/json",
		.headers = headers,
		.n_headers = n,
		.timeout_ms = (uint32_t)conf->integrations.timeout_ms,
		.max_response = MAX_ANSWER,
		.ca_file = conf->integrations.ca[0] ? conf->integrations.ca : NULL,
		.public_only = conf->integrations.forbid_private,
		.body = item->body,
	};
	if (!h->protobuf) {
		rc = as_outlet_json(h->as, item, &body);
		q.body = lw_buf_span(&body);
	}
	if (rc == 0) {
		struct ask *a = lw_xmalloc(sizeof(*a));
		*a = (struct ask){h, done, arg};
		h->under_way++;
		http_client_send(h->client, &q, on_response, a);
	}
	lw_buf_deinit(&url);
	lw_buf_deinit(&body);
	return rc;
}

const struct as_outlet_kind as_outlet_http = {
	.kind = API__INTEGRATION_KIND__HTTP,
	.name = "http",
	.open = http_open,
	.close = http_close,
	.send = http_send,
};
