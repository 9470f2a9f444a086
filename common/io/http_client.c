/* HTTP client: libcurl's multi interface driven by the loop's watchers and one timer. */
#include "common/io/http_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "common/io/curl_api.h"
#include "common/io/net_addr.h"
#include "common/runtime/loop.h"

#define DEFAULT_TIMEOUT_MS 10000
#define DEFAULT_MAX_RESPONSE ((size_t)1 << 20)
/* Easy handles kept for reuse; each keeps a few kilobytes. */
#define MAX_IDLE 64

struct http_client {
	struct rt_loop *loop;
	struct http_client_config cfg;
	CURLM *multi;
	struct rt_timer timer;
	struct rt_timer refuser;
	struct lw_map by_id;
	struct lw_list refused; /* ended before they began */
	uint64_t next_id;
	CURL *idle[MAX_IDLE];
	size_t n_idle;
	unsigned busy;
	bool zombie;
};

struct request {
	struct lw_list node; /* in refused */
	struct http_client *client;
	uint64_t id;
	CURL *easy;
	struct curl_slist *headers;
	char *body_copy;
	char *want_header;
	struct lw_buf body;
	char error[CURL_ERROR_SIZE];
	int err; /* of a refused one */
	int64_t start_ns;
	http_client_done_fn *done;
	void *arg;
};

struct sock {
	struct http_client *client;
	curl_socket_t fd;
	struct rt_watch *watch;
};

static void request_free(struct request *r)
{
	struct http_client *c = r->client;
	lw_list_remove(&r->node);
	lw_map_remove(&c->by_id, r->id);
	if (r->easy) {
		curl_multi_remove_handle(c->multi, r->easy);
		if (c->n_idle < MAX_IDLE && !c->zombie)
			c->idle[c->n_idle++] = r->easy;
		else
			curl_easy_cleanup(r->easy);
	}
	curl_slist_free_all(r->headers);
	lw_buf_deinit(&r->body);
	free(r->body_copy);
	free(r->want_header);
	free(r);
}

/* --- results --- */

static int err_of_curl(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_OPERATION_TIMEDOUT:
		return LW_ETIMEDOUT;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return LW_EINVAL;
	case CURLE_WRITE_ERROR:
	case CURLE_FILESIZE_EXCEEDED:
		return LW_EBIG;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		return LW_EAUTH;
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_TOO_MANY_REDIRECTS:
	case CURLE_BAD_CONTENT_ENCODING:
		return LW_EPROTO;
	default:
		return LW_EUNAVAILABLE;
	}
}

static void fill_response(struct request *r, CURLcode code, struct http_client_response *resp)
{
	long status = 0;
	char *type = NULL;
	curl_off_t retry = 0;
	curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(r->easy, CURLINFO_CONTENT_TYPE, &type);
	curl_easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &retry);
	resp->err = r->body.err ? LW_EBIG : err_of_curl(code);
	resp->status = resp->err && resp->err != LW_EBIG ? 0 : (int)status;
	if (resp->err)
		resp->error = r->error[0] && resp->err != LW_EBIG ? r->error : lw_err_text(resp->err);
	resp->body = lw_buf_span(&r->body);
	resp->content_type = type ? type : "";
	struct curl_header *h = NULL;
	if (r->want_header && curl_easy_header(r->easy, r->want_header, 0, CURLH_HEADER, -1, &h) == CURLHE_OK)
		resp->header = h->value;
	resp->retry_after_s = retry > 0 && retry < UINT32_MAX ? (uint32_t)retry : 0;
}

static void request_end(struct request *r, CURLcode code, int err)
{
	struct http_client *c = r->client;
	struct http_client_response resp = {.error = "", .content_type = "", .header = ""};
	if (err) {
		resp.err = err;
		resp.error = lw_err_text(err);
	} else {
		fill_response(r, code, &resp);
	}
	resp.duration_us = (rt_loop_mono_ns(c->loop) - r->start_ns) / LW_NS_PER_US;
	/* Out of the table first: cancelling from inside the callback finds nothing. */
	lw_map_remove(&c->by_id, r->id);
	r->done(r->arg, &resp);
	request_free(r);
}

static void take_results(struct http_client *c)
{
	CURLMsg *msg;
	int left;
	while (!c->zombie && (msg = curl_multi_info_read(c->multi, &left))) {
		if (msg->msg != CURLMSG_DONE)
			continue;
		struct request *r = NULL;
		CURLcode code = msg->data.result;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&r);
		if (r)
			request_end(r, code, 0);
	}
}

static void client_leave(struct http_client *c)
{
	if (--c->busy == 0 && c->zombie)
		http_client_free(c);
}

static void act(struct http_client *c, curl_socket_t fd, int flags)
{
	int running;
	c->busy++;
	curl_multi_socket_action(c->multi, fd, flags, &running);
	take_results(c);
	client_leave(c);
}

/* --- curl's callbacks --- */

static void on_watch(struct rt_watch *w, unsigned events, void *arg)
{
	(void)w;
	struct sock *s = arg;
	int flags = 0;
	if (events & RT_READ)
		flags |= CURL_CSELECT_IN;
	if (events & RT_WRITE)
		flags |= CURL_CSELECT_OUT;
	if (events & RT_HANGUP)
		flags |= CURL_CSELECT_IN;
	act(s->client, s->fd, flags);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *sockp)
{
	(void)easy;
	struct http_client *c = arg;
	struct sock *s = sockp;
	if (what == CURL_POLL_REMOVE) {
		if (s) {
			rt_watch_free(s->watch);
			curl_multi_assign(c->multi, fd, NULL);
			free(s);
		}
		return 0;
	}
	unsigned events = 0;
	if (what & CURL_POLL_IN)
		events |= RT_READ;
	if (what & CURL_POLL_OUT)
		events |= RT_WRITE;
	if (s) {
		rt_watch_set(s->watch, events);
		return 0;
	}
	s = lw_xcalloc(1, sizeof(*s));
	s->client = c;
	s->fd = fd;
	s->watch = rt_watch_new(c->loop, fd, events, "http client", on_watch, s);
	if (!s->watch) {
		free(s);
		return -1;
	}
	curl_multi_assign(c->multi, fd, s);
	return 0;
}

static void on_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout(CURLM *multi, long ms, void *arg)
{
	(void)multi;
	struct http_client *c = arg;
	if (ms < 0)
		rt_timer_stop(&c->timer);
	else
		rt_timer_start(&c->timer, (uint64_t)ms);
	return 0;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct request *r = arg;
	if (lw_buf_append(&r->body, p, size * n))
		return 0;
	return size * n;
}

/* --- requests --- */

static void add_header(struct request *r, const char *line)
{
	if (strpbrk(line, "\r\n")) {
		r->err = LW_EINVAL;
		return;
	}
	r->headers = curl_slist_append(r->headers, line);
	if (!r->headers)
		abort(); /* out of memory */
}

static void set_body(struct request *r, const struct http_client_request *q, const char *method)
{
	if (q->body.n || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0) {
		r->body_copy = lw_xmemdup(q->body.n ? (const void *)q->body.p : "", q->body.n + (q->body.n == 0));
		curl_easy_setopt(r->easy, CURLOPT_POSTFIELDS, r->body_copy);
		curl_easy_setopt(r->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.n);
		/* No "Expect: 100-continue" round trip, and no form type unless asked for. */
		add_header(r, "Expect:");
		if (!q->content_type)
			add_header(r, "Content-Type:");
	}
	if (strcmp(method, "HEAD") == 0)
		curl_easy_setopt(r->easy, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(r->easy, CURLOPT_CUSTOMREQUEST, method);
}

static void set_tls(struct request *r, const struct http_client_request *q)
{
	if (q->ca_file)
		curl_easy_setopt(r->easy, CURLOPT_CAINFO, q->ca_file);
	if (q->cert_file)
		curl_easy_setopt(r->easy, CURLOPT_SSLCERT, q->cert_file);
	if (q->key_file)
		curl_easy_setopt(r->easy, CURLOPT_SSLKEY, q->key_file);
	if (q->insecure) {
		curl_easy_setopt(r->easy, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(r->easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

/* After the name was resolved: a name that points inside does not help. */
static curl_socket_t open_public(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	(void)arg;
	(void)purpose;
	if (!net_addr_is_public(&a->addr))
		return CURL_SOCKET_BAD;
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static void set_options(struct request *r, const struct http_client_request *q)
{
	const char *method = q->method ? q->method : q->body.n ? "POST" : "GET";
	uint32_t timeout_ms = q->timeout_ms ? q->timeout_ms : DEFAULT_TIMEOUT_MS;
	curl_easy_setopt(r->easy, CURLOPT_PRIVATE, r);
	curl_easy_setopt(r->easy, CURLOPT_URL, q->url);
	curl_easy_setopt(r->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(r->easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(r->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(r->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(r->easy, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(r->easy, CURLOPT_ERRORBUFFER, r->error);
	curl_easy_setopt(r->easy, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(r->easy, CURLOPT_USERAGENT, "longwave/" LW_VERSION);
	/* One request is one exchange here: a proxy is configured, not guessed from the environment. */
	curl_easy_setopt(r->easy, CURLOPT_PROXY, "");
	if (q->public_only)
		curl_easy_setopt(r->easy, CURLOPT_OPENSOCKETFUNCTION, open_public);
	if (q->follow) {
		curl_easy_setopt(r->easy, CURLOPT_FOLLOWLOCATION, 1L);
		curl_easy_setopt(r->easy, CURLOPT_MAXREDIRS, 5L);
	}
	if (q->content_type) {
		char line[256];
		snprintf(line, sizeof(line), "Content-Type: %s", q->content_type);
		add_header(r, line);
	}
	for (size_t i = 0; i < q->n_headers; i++)
		add_header(r, q->headers[i]);
	set_body(r, q, method);
	set_tls(r, q);
	if (r->headers)
		curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers);
}

static CURL *take_easy(struct http_client *c)
{
	CURL *easy;
	if (c->n_idle) {
		easy = c->idle[--c->n_idle];
		curl_easy_reset(easy);
		return easy;
	}
	easy = curl_easy_init();
	if (!easy)
		abort(); /* out of memory */
	return easy;
}

static void refuse(struct request *r, int err)
{
	struct http_client *c = r->client;
	r->err = err;
	lw_list_push_back(&c->refused, &r->node);
	rt_timer_start(&c->refuser, 0);
}

/* The library is loaded with the first request. */
static int start_curl(struct http_client *c)
{
	if (c->multi)
		return 0;
	int err = lw_curl_load(NULL);
	if (err)
		return err;
	/* Counted by curl: every client may do this. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		abort();
	c->multi = curl_multi_init();
	if (!c->multi)
		abort(); /* out of memory */
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)c->cfg.max_connections_per_host);
	curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)c->cfg.max_connections);
	return 0;
}

uint64_t http_client_send(struct http_client *c, const struct http_client_request *q, http_client_done_fn *done,
			  void *arg)
{
	struct request *r = lw_xcalloc(1, sizeof(*r));
	lw_list_init(&r->node);
	r->client = c;
	r->id = ++c->next_id;
	r->done = done;
	r->arg = arg;
	r->start_ns = rt_loop_mono_ns(c->loop);
	r->want_header = q->want_header ? lw_xstrdup(q->want_header) : NULL;
	lw_buf_init(&r->body, q->max_response ? q->max_response : DEFAULT_MAX_RESPONSE);
	bool full = lw_map_count(&c->by_id) >= c->cfg.max_pending;
	lw_map_put(&c->by_id, r->id, r);
	if (full || c->zombie) {
		refuse(r, full ? LW_ELIMIT : LW_ECANCELLED);
		return r->id;
	}
	uint64_t id = r->id;
	int err = start_curl(c);
	if (err) {
		refuse(r, err);
		return id;
	}
	r->easy = take_easy(c);
	set_options(r, q);
	if (r->err || curl_multi_add_handle(c->multi, r->easy) != CURLM_OK)
		refuse(r, r->err ? r->err : LW_EINVAL);
	return id;
}

static void on_refuser(struct rt_timer *t, void *arg)
{
	(void)t;
	struct http_client *c = arg;
	struct lw_list now;
	struct lw_list *n;
	lw_list_init(&now);
	lw_list_splice_back(&now, &c->refused);
	c->busy++;
	while ((n = lw_list_pop_front(&now))) {
		struct request *r = LW_CONTAINER_OF(n, struct request, node);
		request_end(r, CURLE_OK, r->err);
	}
	client_leave(c);
}

void http_client_cancel(struct http_client *c, uint64_t id)
{
	struct request *r = lw_map_find(&c->by_id, id);
	if (r)
		request_free(r);
}

size_t http_client_pending(const struct http_client *c)
{
	return lw_map_count(&c->by_id);
}

/* --- life --- */

struct http_client *http_client_new(struct rt_loop *loop, const struct http_client_config *config)
{
	struct http_client *c = lw_xcalloc(1, sizeof(*c));
	c->loop = loop;
	if (config)
		c->cfg = *config;
	if (!c->cfg.max_connections_per_host)
		c->cfg.max_connections_per_host = 16;
	if (!c->cfg.max_connections)
		c->cfg.max_connections = 256;
	if (!c->cfg.max_pending)
		c->cfg.max_pending = 100000;
	lw_map_init(&c->by_id);
	lw_list_init(&c->refused);
	rt_timer_init(&c->timer, loop, "http client", on_timer, c);
	rt_timer_init(&c->refuser, loop, "http client refusal", on_refuser, c);
	return c;
}

void http_client_free(struct http_client *c)
{
	if (!c)
		return;
	c->zombie = true;
	if (c->busy)
		return;
	c->busy++;
	size_t it = 0;
	uint64_t id;
	void *value;
	while (lw_map_next(&c->by_id, &it, &id, &value)) {
		request_end(value, CURLE_OK, LW_ECANCELLED);
		it = 0; /* the callback may have sent new ones */
	}
	while (c->n_idle)
		curl_easy_cleanup(c->idle[--c->n_idle]);
	if (c->multi) {
		curl_multi_cleanup(c->multi);
		curl_global_cleanup();
	}
	rt_timer_stop(&c->timer);
	rt_timer_stop(&c->refuser);
	lw_map_deinit(&c->by_id);
	free(c);
}
