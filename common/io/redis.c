/* Redis on hiredis' asynchronous context. hiredis keeps the order of replies and coalesces writes; this file adds the
 * loop, reconnection, deadlines and a limit, and keeps hiredis' types to itself. */
#include "common/io/redis.h"

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include <uv.h>

#include "common/base/backoff.h"
#include "common/base/bug.h"
#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/io/redis_impl.h"
#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"

#define TICK_MS 50
#define CONNECT_MS 5000

/* A command that was accepted. Belongs to the list `pending` until its callback was called; after a timeout it stays
 * with hiredis, without a callback, until the reply or the end of the connection. */
struct command {
	struct lw_list node;
	struct redis *r;
	redis_fn *fn;
	void *arg;
	int64_t due_ns;
	size_t weight; /* in stats.pending */
	bool answered;
	/* Set when the answer is ours and waits in `answers`. */
	int err;
	struct lw_buf *retry; /* EVALSHA: the same in full */
};

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void command_free(struct command *cmd)
{
	if (cmd->retry) {
		lw_buf_deinit(cmd->retry);
		free(cmd->retry);
	}
	free(cmd);
}

static void command_call(struct command *cmd, int err, const redisReply *reply)
{
	struct redis *r = cmd->r;
	lw_list_remove(&cmd->node);
	cmd->answered = true;
	r->stats.pending -= cmd->weight;
	if (err == LW_EPROTO)
		r->stats.errors++;
	else if (err == LW_ETIMEDOUT)
		r->stats.timeouts += cmd->weight;
	else if (err == LW_EUNAVAILABLE)
		r->stats.unavailable += cmd->weight;
	if (cmd->fn)
		cmd->fn(cmd->arg, err, (const struct redis_reply *)(const void *)reply);
}

/* Answers at the next turn, for what fails inside a call. */
static void command_refuse(struct command *cmd, int err)
{
	cmd->err = err;
	lw_list_push_back(&cmd->r->refused, &cmd->node);
	uv_async_send(cmd->r->wake);
}

static void run_refused(struct redis *r)
{
	struct lw_list list;
	lw_list_init(&list);
	lw_list_splice_back(&list, &r->refused);
	for (struct lw_list *n; (n = lw_list_pop_front(&list));) {
		struct command *cmd = LW_CONTAINER_OF(n, struct command, node);
		command_call(cmd, cmd->err, NULL);
		command_free(cmd);
	}
}

static struct command *command_make(struct redis *r, redis_fn *fn, void *arg, size_t weight)
{
	struct command *cmd = lw_xcalloc(1, sizeof(*cmd));
	lw_list_init(&cmd->node);
	cmd->r = r;
	cmd->fn = fn;
	cmd->arg = arg;
	cmd->weight = weight;
	cmd->due_ns = lw_mono_ns() + r->opt.timeout_ms * LW_NS_PER_MS;
	return cmd;
}

static struct command *command_new(struct redis *r, redis_fn *fn, void *arg)
{
	redis_bulk_end(r);
	r->stats.commands++;
	r->stats.pending++;
	return command_make(r, fn, arg, 1);
}

static void on_reply(redisAsyncContext *ac, void *reply, void *arg)
{
	(void)ac;
	struct command *cmd = arg;
	struct redis *r = cmd->r;
	const redisReply *rep = reply;
	if (cmd->answered) {
		command_free(cmd);
		return;
	}
	if (rep && rep->type == REDIS_REPLY_ERROR && cmd->retry && strncmp(rep->str, "NOSCRIPT", 8) == 0 && r->ac &&
	    !r->closing) {
		struct lw_buf *retry = cmd->retry;
		cmd->retry = NULL;
		int rc = redisAsyncFormattedCommand(r->ac, on_reply, cmd, (const char *)retry->p, retry->n);
		lw_buf_deinit(retry);
		free(retry);
		if (rc == REDIS_OK)
			return;
		rep = NULL;
	}
	int err = !rep ? r->closing ? LW_ECANCELLED : LW_EUNAVAILABLE : rep->type == REDIS_REPLY_ERROR ? LW_EPROTO : 0;
	command_call(cmd, err, rep);
	command_free(cmd);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

static bool refuse(struct command *cmd)
{
	struct redis *r = cmd->r;
	int err = 0;
	if (r->closing)
		err = LW_ECANCELLED;
	else if (r->state != REDIS_READY)
		err = LW_EUNAVAILABLE;
	else if (r->stats.pending > r->opt.max_pending)
		err = LW_EFULL;
	if (err)
		command_refuse(cmd, err);
	return err != 0;
}

static void sent(struct command *cmd, int rc)
{
	if (rc == REDIS_OK)
		lw_list_push_back(&cmd->r->pending, &cmd->node);
	else
		command_refuse(cmd, LW_EUNAVAILABLE);
}

void redis_cmd(struct redis *r, redis_fn *fn, void *arg, const char *fmt, ...)
{
	struct command *cmd = command_new(r, fn, arg);
	if (refuse(cmd))
		return;
	va_list ap;
	va_start(ap, fmt);
	sent(cmd, redisvAsyncCommand(r->ac, on_reply, cmd, fmt, ap));
	va_end(ap);
}

void redis_send_for(struct redis *r, redis_fn *fn, void *arg, size_t counted, struct lw_span formatted)
{
	struct command *cmd = command_make(r, fn, arg, counted);
	sent(cmd, redisAsyncFormattedCommand(r->ac, on_reply, cmd, (const char *)formatted.p, formatted.n));
}

#define ARGV_INLINE 64

static int send_argv(struct redis *r, struct command *cmd, size_t n, const struct lw_span *v)
{
	const char *inline_argv[ARGV_INLINE] = {NULL};
	size_t inline_len[ARGV_INLINE] = {0};
	const char **argv = n <= ARGV_INLINE ? inline_argv : lw_xcalloc(n, sizeof(*argv));
	size_t *len = n <= ARGV_INLINE ? inline_len : lw_xcalloc(n, sizeof(*len));
	for (size_t i = 0; i < n; i++) {
		argv[i] = v[i].n ? (const char *)v[i].p : "";
		len[i] = v[i].n;
	}
	int rc = redisAsyncCommandArgv(r->ac, on_reply, cmd, (int)n, argv, len);
	if (argv != inline_argv) {
		free(argv);
		free(len);
	}
	return rc;
}

void redis_argv(struct redis *r, redis_fn *fn, void *arg, size_t n, const struct lw_span *argv)
{
	BUG_ON(n == 0);
	struct command *cmd = command_new(r, fn, arg);
	if (!refuse(cmd))
		sent(cmd, send_argv(r, cmd, n, argv));
}

/* ---- scripts ----------------------------------------------------------------------------------------------------- */

static void on_script_loaded(redisAsyncContext *ac, void *reply, void *arg)
{
	(void)ac;
	struct script *s = arg;
	const redisReply *rep = reply;
	s->asked = false;
	if (rep && rep->type == REDIS_REPLY_STRING && (size_t)rep->len == sizeof(s->sha) - 1)
		memcpy(s->sha, rep->str, sizeof(s->sha) - 1);
}

/* The script's hash, "" while it is not known; the server is asked for it once. */
static const char *script_sha(struct redis *r, const struct redis_script *script)
{
	struct script *s = lw_map_find(&r->scripts, (uint64_t)(uintptr_t)script);
	if (!s) {
		s = lw_xcalloc(1, sizeof(*s));
		lw_map_put(&r->scripts, (uint64_t)(uintptr_t)script, s);
	}
	if (!s->sha[0] && !s->asked)
		s->asked = redisAsyncCommand(r->ac, on_script_loaded, s, "SCRIPT LOAD %s", script->text) == REDIS_OK;
	return s->sha;
}

void redis_eval(struct redis *r, redis_fn *fn, void *arg, const struct redis_script *script, size_t n_keys,
		const struct lw_span *keys, size_t n_args, const struct lw_span *args)
{
	struct command *cmd = command_new(r, fn, arg);
	if (refuse(cmd))
		return;
	size_t n = 3 + n_keys + n_args;
	struct lw_span *v = lw_xcalloc(n, sizeof(*v));
	char count[24];
	snprintf(count, sizeof(count), "%zu", n_keys);
	const char *sha = script_sha(r, script);
	v[0] = lw_span_str("EVAL");
	v[1] = lw_span_str(script->text);
	v[2] = lw_span_str(count);
	for (size_t i = 0; i < n_keys; i++)
		v[3 + i] = keys[i];
	for (size_t i = 0; i < n_args; i++)
		v[3 + n_keys + i] = args[i];
	if (sha[0]) {
		cmd->retry = lw_xcalloc(1, sizeof(*cmd->retry));
		lw_buf_init(cmd->retry, (size_t)512 << 20);
		redis_format(cmd->retry, n, v);
		v[0] = lw_span_str("EVALSHA");
		v[1] = lw_span_str(sha);
	}
	sent(cmd, send_argv(r, cmd, n, v));
	free(v);
}

struct rt_loop *redis_loop(const struct redis *r)
{
	return r->loop;
}

size_t redis_xadd_args(struct lw_span v[REDIS_XADD_ARGS], const char *key, const char *maxlen, size_t n,
		       const struct redis_field *fields)
{
	size_t i = 0;
	BUG_ON(n == 0 || n > REDIS_XADD_FIELDS);
	v[i++] = lw_span_str("XADD");
	v[i++] = lw_span_str(key);
	if (maxlen) {
		v[i++] = lw_span_str("MAXLEN");
		v[i++] = lw_span_str("~");
		v[i++] = lw_span_str(maxlen);
	}
	v[i++] = lw_span_str("*");
	for (size_t f = 0; f < n; f++) {
		v[i++] = fields[f].name;
		v[i++] = fields[f].value;
	}
	return i;
}

void redis_xadd(struct redis *r, redis_fn *fn, void *arg, const char *key, size_t maxlen, size_t n,
		const struct redis_field *fields)
{
	struct lw_span v[REDIS_XADD_ARGS];
	char count[24];
	snprintf(count, sizeof(count), "%zu", maxlen);
	redis_argv(r, fn, arg, redis_xadd_args(v, key, maxlen ? count : NULL, n, fields), v);
}

/* ---- replies ----------------------------------------------------------------------------------------------------- */

static const redisReply *rep_of(const struct redis_reply *reply)
{
	return (const redisReply *)(const void *)reply;
}

enum redis_type redis_reply_type(const struct redis_reply *reply)
{
	if (!reply)
		return REDIS_NIL;
	switch (rep_of(reply)->type) {
	case REDIS_REPLY_STRING:
		return REDIS_STRING;
	case REDIS_REPLY_STATUS:
		return REDIS_STATUS;
	case REDIS_REPLY_INTEGER:
		return REDIS_INTEGER;
	case REDIS_REPLY_ARRAY:
		return REDIS_ARRAY;
	case REDIS_REPLY_ERROR:
		return REDIS_ERROR;
	default:
		return REDIS_NIL;
	}
}

static bool has_text(const struct redis_reply *reply)
{
	enum redis_type t = redis_reply_type(reply);
	return t == REDIS_STRING || t == REDIS_STATUS || t == REDIS_ERROR;
}

int64_t redis_reply_i64(const struct redis_reply *reply)
{
	if (redis_reply_type(reply) == REDIS_INTEGER)
		return rep_of(reply)->integer;
	return has_text(reply) ? strtoll(rep_of(reply)->str, NULL, 10) : 0;
}

struct lw_span redis_reply_span(const struct redis_reply *reply)
{
	if (!has_text(reply))
		return lw_span(NULL, 0);
	return lw_span(rep_of(reply)->str, (size_t)rep_of(reply)->len);
}

const char *redis_reply_text(const struct redis_reply *reply)
{
	return has_text(reply) ? rep_of(reply)->str : "";
}

size_t redis_reply_len(const struct redis_reply *reply)
{
	return redis_reply_type(reply) == REDIS_ARRAY ? rep_of(reply)->elements : 0;
}

const struct redis_reply *redis_reply_at(const struct redis_reply *reply, size_t i)
{
	if (i >= redis_reply_len(reply))
		return NULL;
	return (const struct redis_reply *)(const void *)rep_of(reply)->element[i];
}

/* ---- connection ---------------------------------------------------------------------------------------------------
 */

static void set_state(struct redis *r, bool up, const char *text)
{
	if (r->announced == (up ? 1 : -1))
		return;
	r->announced = up ? 1 : -1;
	snprintf(r->state_text, sizeof(r->state_text), "%s", text);
	r->state_pending = true;
	uv_async_send(r->wake);
}

static void script_free_all(struct redis *r)
{
	size_t it = 0;
	void *s;
	while (lw_map_next(&r->scripts, &it, NULL, &s))
		free(s);
	lw_map_deinit(&r->scripts);
}

static void away(struct redis *r, const char *text)
{
	r->state = REDIS_AWAY;
	r->next_ns = lw_mono_ns() + lw_backoff_next_ms(&r->backoff, &r->rng) * LW_NS_PER_MS;
	set_state(r, false, text);
}

/* hiredis' hooks: what it waits for on its descriptor. */
static void watch_update(struct redis *r)
{
	if (r->watch)
		rt_watch_set(r->watch, (r->want_read ? RT_READ : 0U) | (r->want_write ? RT_WRITE : 0U));
}

static void hook_add_read(void *arg)
{
	struct redis *r = arg;
	r->want_read = true;
	watch_update(r);
}

static void hook_del_read(void *arg)
{
	struct redis *r = arg;
	r->want_read = false;
	watch_update(r);
}

static void hook_add_write(void *arg)
{
	struct redis *r = arg;
	if (!r->want_write)
		r->stats.round_trips++;
	r->want_write = true;
	watch_update(r);
}

static void hook_del_write(void *arg)
{
	struct redis *r = arg;
	r->want_write = false;
	watch_update(r);
}

/* The context is about to be freed by hiredis. */
static void hook_cleanup(void *arg)
{
	struct redis *r = arg;
	rt_watch_free(r->watch);
	r->watch = NULL;
	r->want_read = false;
	r->want_write = false;
}

static void on_fd(struct rt_watch *w, unsigned events, void *arg)
{
	(void)w;
	struct redis *r = arg;
	/* Each may end the context, which clears r->watch. */
	if (events & (RT_READ | RT_HANGUP))
		redisAsyncHandleRead(r->ac);
	if (r->watch && (events & RT_WRITE))
		redisAsyncHandleWrite(r->ac);
}

static void lost(struct redis *r, const char *text)
{
	r->ac = NULL;
	redis_bulk_drop(r);
	if (!r->closing)
		away(r, text);
}

static void on_disconnect(const redisAsyncContext *ac, int status)
{
	struct redis *r = ac->data;
	lost(r, status == REDIS_OK ? "disconnected" : ac->errstr);
}

static void on_hello(redisAsyncContext *ac, void *reply, void *arg)
{
	(void)arg;
	struct redis *r = ac->data;
	const redisReply *rep = reply;
	if (!rep || r->closing)
		return;
	if (rep->type == REDIS_REPLY_ERROR) {
		/* A wrong password or database: said, and tried again later. */
		set_state(r, false, rep->str);
		redisAsyncDisconnect(ac);
		r->state = REDIS_LEAVING;
		return;
	}
	if (--r->hello > 0)
		return;
	r->state = REDIS_READY;
	lw_backoff_reset(&r->backoff);
	r->stats.connects++;
	set_state(r, true, "connected");
	if (r->on_ready)
		r->on_ready(r->on_ready_arg);
}

/* Known before the connection is ready: it is asked before the last of the hello. */
static void on_quiet(redisAsyncContext *ac, void *reply, void *arg)
{
	(void)arg;
	struct redis *r = ac->data;
	const redisReply *rep = reply;
	r->quiet_ok = rep && rep->type == REDIS_REPLY_STATUS;
}

static void on_connect(const redisAsyncContext *ac, int status)
{
	struct redis *r = ac->data;
	if (status != REDIS_OK) {
		lost(r, ac->errstr);
		return;
	}
	r->hello = 1 + (r->url.password != NULL) + (r->url.db != 0);
	if (r->url.user)
		redisAsyncCommand(r->ac, on_hello, NULL, "AUTH %s %s", r->url.user, r->url.password);
	else if (r->url.password)
		redisAsyncCommand(r->ac, on_hello, NULL, "AUTH %s", r->url.password);
	if (r->url.db)
		redisAsyncCommand(r->ac, on_hello, NULL, "SELECT %d", r->url.db);
	redisAsyncCommand(r->ac, on_quiet, NULL, "CLIENT REPLY ON");
	redisAsyncCommand(r->ac, on_hello, NULL, "PING");
}

static void connect_to(struct redis *r, const char *address)
{
	redisAsyncContext *ac =
		r->url.socket ? redisAsyncConnectUnix(r->url.socket) : redisAsyncConnect(address, r->url.port);
	if (!ac || ac->err) {
		away(r, ac ? ac->errstr : "out of memory");
		if (ac)
			redisAsyncFree(ac);
		return;
	}
	r->ac = ac;
	r->state = REDIS_CONNECTING;
	r->next_ns = lw_mono_ns() + CONNECT_MS * LW_NS_PER_MS;
	ac->data = r;
	r->watch = rt_watch_new(r->loop, ac->c.fd, 0, "redis", on_fd, r);
	BUG_ON(!r->watch);
	ac->ev.data = r;
	ac->ev.addRead = hook_add_read;
	ac->ev.delRead = hook_del_read;
	ac->ev.addWrite = hook_add_write;
	ac->ev.delWrite = hook_del_write;
	ac->ev.cleanup = hook_cleanup;
	redisAsyncSetDisconnectCallback(ac, on_disconnect);
	redisAsyncSetConnectCallback(ac, on_connect);
}

/* ---- name resolution, on the thread pool ---------------------------------------------------------------------------
 */

struct redis_resolve {
	struct redis *r; /* NULL: nobody wants it any more */
	char *host;
	char address[64];
	int rc;
};

static void resolve_work(void *arg)
{
	struct redis_resolve *q = arg;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	q->rc = getaddrinfo(q->host, NULL, &hints, &list);
	/* hiredis takes one address; "localhost" is 127.0.0.1 for a Redis with default settings. */
	const struct addrinfo *best = list;
	for (const struct addrinfo *a = list; a; a = a->ai_next)
		if (a->ai_family == AF_INET) {
			best = a;
			break;
		}
	if (best)
		q->rc = getnameinfo(best->ai_addr, best->ai_addrlen, q->address, sizeof(q->address), NULL, 0,
				    NI_NUMERICHOST);
	if (list)
		freeaddrinfo(list);
}

static void resolve_done(void *arg, int status)
{
	struct redis_resolve *q = arg;
	struct redis *r = q->r;
	if (r) {
		r->resolve = NULL;
		if (status == 0 && q->rc == 0)
			connect_to(r, q->address);
		else
			away(r, q->rc ? gai_strerror(q->rc) : "name not found");
	}
	free(q->host);
	free(q);
}

static void start_connect(struct redis *r)
{
	if (r->url.socket) {
		connect_to(r, NULL);
		return;
	}
	struct redis_resolve *q = lw_xcalloc(1, sizeof(*q));
	q->r = r;
	q->host = lw_xstrdup(r->url.host);
	r->resolve = q;
	r->state = REDIS_RESOLVING;
	rt_loop_work(r->loop, resolve_work, resolve_done, q);
}

/* ---- life ---------------------------------------------------------------------------------------------------------
 */

static void on_wake(uv_async_t *h)
{
	struct redis *r = h->data;
	if (r->closing)
		return;
	if (r->state_pending) {
		r->state_pending = false;
		if (r->opt.on_state)
			r->opt.on_state(r->opt.arg, r->announced > 0, r->state_text);
	}
	run_refused(r);
}

static void on_tick(uv_timer_t *h)
{
	struct redis *r = h->data;
	int64_t now = lw_mono_ns();
	if (r->state == REDIS_AWAY && now >= r->next_ns)
		start_connect(r);
	else if (r->state == REDIS_CONNECTING && r->looked_ns >= r->next_ns) {
		redisAsyncFree(r->ac);
		lost(r, "connecting takes too long");
	}
	bool stuck = false;
	/* One timeout for all, so the oldest come first. Overdue already the last time: a process that stood still has
	 * not listened, and its answers are there. */
	while (!lw_list_empty(&r->pending)) {
		struct command *cmd = LW_CONTAINER_OF(r->pending.next, struct command, node);
		if (r->looked_ns < cmd->due_ns)
			break;
		command_call(cmd, LW_ETIMEDOUT, NULL);
		stuck = true;
	}
	/* Replies come in order: when one is late, all behind it are, and a dead peer would never be noticed. */
	if (stuck && r->ac && r->state == REDIS_READY)
		redisAsyncFree(r->ac);
	r->looked_ns = now;
}

static void url_deinit(struct redis_url *u)
{
	free(u->host);
	free(u->user);
	if (u->password)
		lw_wipe(u->password, strlen(u->password));
	free(u->password);
	free(u->socket);
}

static void on_handle_closed(uv_handle_t *h)
{
	struct redis *r = h->data;
	free(h);
	if (--r->handles > 0)
		return;
	script_free_all(r);
	url_deinit(&r->url);
	lw_buf_deinit(&r->bulk.buf);
	free(r);
}

/* "%40" and the like in user and password. Returns heap memory. */
static char *url_decode(const char *s, size_t n)
{
	char *out = lw_xmalloc(n + 1);
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned v;
		if (s[i] == '%' && i + 2 < n && sscanf(s + i + 1, "%2x", &v) == 1) {
			out[k++] = (char)v;
			i += 2;
		} else {
			out[k++] = s[i];
		}
	}
	out[k] = '\0';
	return out;
}

static int parse_number(const char *s, long max)
{
	char *end;
	long v = strtol(s, &end, 10);
	return end == s || *end || v < 0 || v > max ? -1 : (int)v;
}

static int parse_unix(struct redis_url *u, const char *s)
{
	size_t n = strcspn(s, "?");
	u->socket = lw_xstrndup(s, n);
	if (s[n])
		u->db = strncmp(s + n, "?db=", 4) == 0 ? parse_number(s + n + 4, 9999) : -1;
	return n == 0 || u->db < 0 ? LW_EINVAL : 0;
}

static int parse_tcp(struct redis_url *u, const char *s)
{
	const char *end = s + strcspn(s, "/?");
	const char *at = memchr(s, '@', (size_t)(end - s));
	if (at) {
		const char *colon = memchr(s, ':', (size_t)(at - s));
		if (!colon)
			return LW_EINVAL;
		if (colon > s)
			u->user = url_decode(s, (size_t)(colon - s));
		u->password = url_decode(colon + 1, (size_t)(at - colon - 1));
		s = at + 1;
	}
	const char *host = s;
	const char *host_end = end;
	if (*s == '[') {
		host = s + 1;
		host_end = memchr(s, ']', (size_t)(end - s));
		if (!host_end)
			return LW_EINVAL;
		s = host_end + 1;
	} else {
		const char *colon = memchr(s, ':', (size_t)(end - s));
		host_end = colon ? colon : end;
		s = host_end;
	}
	if (host == host_end || (s < end && *s != ':'))
		return LW_EINVAL;
	u->host = lw_xstrndup(host, (size_t)(host_end - host));
	if (s < end) {
		char *port = lw_xstrndup(s + 1, (size_t)(end - s - 1));
		u->port = parse_number(port, 65535);
		free(port);
	}
	if (*end == '/' && end[1])
		u->db = parse_number(end + 1, 9999);
	return u->port <= 0 || u->db < 0 || *end == '?' ? LW_EINVAL : 0;
}

static int url_parse(struct redis_url *u, const char *text, struct lw_diag *diag)
{
	int rc = LW_EINVAL;
	memset(u, 0, sizeof(*u));
	u->port = 6379;
	if (text && strncmp(text, "redis://", 8) == 0)
		rc = parse_tcp(u, text + 8);
	else if (text && strncmp(text, "unix://", 7) == 0)
		rc = parse_unix(u, text + 7);
	if (rc) {
		lw_diag_set(diag, "redis URL: must be redis://[user:password@]host[:port][/db] or unix:///path[?db=N]");
		url_deinit(u);
	}
	return rc;
}

static void open_with(struct redis **out, struct rt_loop *loop, const struct redis_options *options,
		      const struct redis_url *url)
{
	struct redis *r = lw_xcalloc(1, sizeof(*r));
	r->loop = loop;
	r->url = *url;
	r->opt = *options;
	r->opt.url = NULL;
	if (!r->opt.timeout_ms)
		r->opt.timeout_ms = 2000;
	if (!r->opt.max_pending)
		r->opt.max_pending = 50000;
	lw_list_init(&r->pending);
	lw_list_init(&r->refused);
	lw_map_init(&r->scripts);
	lw_rng_init_system(&r->rng);
	redis_bulk_init(r);
	lw_backoff_init(&r->backoff, 50, 3000);
	uv_loop_t *uv = rt_loop_uv(loop);
	r->wake = lw_xcalloc(1, sizeof(*r->wake));
	r->ticker = lw_xcalloc(1, sizeof(*r->ticker));
	BUG_ON(uv_async_init(uv, r->wake, on_wake) != 0);
	uv_timer_init(uv, r->ticker);
	r->wake->data = r;
	r->ticker->data = r;
	r->handles = 2;
	uv_timer_start(r->ticker, on_tick, TICK_MS, TICK_MS);
	*out = r;
	start_connect(r);
}

static void collect(void *arg, struct lw_buf *out)
{
	const struct redis *r = arg;
	const char *prefix = rt_metrics_prefix(r->opt.metrics);
	lw_buf_printf(
		out,
		"# HELP %sredis_round_trips_total Exchanges with Redis: commands one behind the other count once.\n"
		"# TYPE %sredis_round_trips_total counter\n%sredis_round_trips_total %llu\n",
		prefix, prefix, prefix, (unsigned long long)r->stats.round_trips);
}

int redis_open(struct redis **out, struct rt_loop *loop, const struct redis_options *options, struct lw_diag *diag)
{
	struct redis_url url;
	*out = NULL;
	int rc = url_parse(&url, options->url, diag);
	if (rc < 0)
		return rc;
	open_with(out, loop, options, &url);
	if (options->metrics)
		rt_metrics_on_collect(options->metrics, collect, *out);
	return 0;
}

struct redis *redis_sibling(struct redis *of, uint32_t timeout_ms, void (*on_ready)(void *arg),
			    void (*on_state)(void *arg, bool up, const char *detail), void *arg)
{
	struct redis_options opt = {.timeout_ms = timeout_ms, .on_state = on_state, .arg = arg};
	struct redis_url url = of->url;
	struct redis *r;
	url.host = url.host ? lw_xstrdup(url.host) : NULL;
	url.user = url.user ? lw_xstrdup(url.user) : NULL;
	url.password = url.password ? lw_xstrdup(url.password) : NULL;
	url.socket = url.socket ? lw_xstrdup(url.socket) : NULL;
	open_with(&r, of->loop, &opt, &url);
	r->on_ready = on_ready;
	r->on_ready_arg = arg;
	return r;
}

void redis_free(struct redis *r)
{
	if (!r)
		return;
	if (r->opt.metrics)
		rt_metrics_remove_collect(r->opt.metrics, r);
	r->closing = true;
	if (r->resolve)
		r->resolve->r = NULL;
	if (r->ac)
		redisAsyncFree(r->ac); /* answers what is pending */
	r->ac = NULL;
	LW_LIST_FOREACH (n, tmp, &r->refused)
		LW_CONTAINER_OF(n, struct command, node)->err = LW_ECANCELLED;
	while (!lw_list_empty(&r->refused))
		run_refused(r);
	uv_close((uv_handle_t *)r->wake, on_handle_closed);
	uv_close((uv_handle_t *)r->ticker, on_handle_closed);
}

bool redis_is_up(const struct redis *r)
{
	return r->state == REDIS_READY;
}

void redis_get_stats(const struct redis *r, struct redis_stats *out)
{
	*out = r->stats;
}
