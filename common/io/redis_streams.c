/* Following Redis streams: one connection blocks in XREAD over all keys; a change of the set interrupts it with CLIENT
 * UNBLOCK from the other connection. Every subscription has its own position, so that history and live entries join
 * without gap or repetition whatever order the two connections answer in. */
#include <stdio.h>
#include <stdlib.h>

#include <uv.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/io/redis_impl.h"
#include "common/runtime/loop.h"

#define BLOCK_MS 15000
#define READER_TIMEOUT_MS 20000
#define RETRY_MS 300
#define READ_COUNT 1000
#define ID_MAX 44

/* Position in a stream. */
struct pos {
	uint64_t ms;
	uint64_t seq;
};

enum sub_state { SUB_IDLE, SUB_ASKED, SUB_LIVE };

struct stream {
	char *key;
	struct lw_list subs;
};

struct redis_sub {
	struct lw_list node; /* in its stream */
	struct redis_streams *s;
	struct stream *stream;
	enum sub_state state;
	bool dead;
	unsigned refs; /* owner, and the question under way */
	size_t history;
	struct pos last;
	bool seen; /* `last` is known: the history was given */
	redis_entry_fn *fn;
	void (*caught_up)(void *arg);
	void *arg;
};

/* A CLIENT UNBLOCK under way. */
struct unblock {
	struct redis_streams *s; /* NULL: freed meanwhile */
	uint64_t read_no;
};

struct retry {
	uv_timer_t timer;
	struct redis_streams *s;
};

struct redis_streams {
	struct redis *r;
	struct redis *reader; /* NULL until something is followed */
	int64_t client_id;    /* of the reader; 0: not known */
	struct lw_bmap streams;
	bool reading;
	bool changed; /* the set is not what the read under way covers */
	uint64_t read_no;
	struct unblock *unblock;
	struct retry *retry;
	unsigned calling; /* depth of callbacks: nothing is freed meanwhile */
	bool garbage;
};

static struct pos pos_parse(const char *id)
{
	struct pos p;
	char *end;
	p.ms = strtoull(id, &end, 10);
	p.seq = *end == '-' ? strtoull(end + 1, NULL, 10) : 0;
	return p;
}

static bool pos_less(struct pos a, struct pos b)
{
	return a.ms < b.ms || (a.ms == b.ms && a.seq < b.seq);
}

/* ---- garbage ------------------------------------------------------------------------------------------------------
 */

static void sub_unref(struct redis_sub *sub)
{
	if (--sub->refs == 0)
		free(sub);
}

static void stream_free(struct stream *st)
{
	free(st->key);
	free(st);
}

/* Removes dead subscriptions and streams without any; only outside of callbacks. */
static void collect(struct redis_streams *s)
{
	if (s->calling || !s->garbage)
		return;
	s->garbage = false;
	size_t it = 0;
	struct lw_span key;
	void *value;
	while (lw_bmap_next(&s->streams, &it, &key, &value)) {
		struct stream *st = value;
		LW_LIST_FOREACH (n, tmp, &st->subs) {
			struct redis_sub *sub = LW_CONTAINER_OF(n, struct redis_sub, node);
			if (sub->dead) {
				lw_list_remove(&sub->node);
				sub_unref(sub);
			}
		}
		if (lw_list_empty(&st->subs)) {
			lw_bmap_remove(&s->streams, lw_span_str(st->key));
			stream_free(st);
		}
	}
}

/* ---- entries -------------------------------------------------------------------------------------------------------
 */

static void deliver(struct redis_sub *sub, const struct redis_reply *e)
{
	struct redis_field inline_fields[16];
	const struct redis_reply *list = redis_reply_at(e, 1);
	struct redis_entry entry = {.id = redis_reply_text(redis_reply_at(e, 0)), .n = redis_reply_len(list) / 2};
	struct redis_field *fields = entry.n <= 16 ? inline_fields : lw_xcalloc(entry.n, sizeof(*fields));
	for (size_t i = 0; i < entry.n; i++) {
		fields[i].name = redis_reply_span(redis_reply_at(list, 2 * i));
		fields[i].value = redis_reply_span(redis_reply_at(list, 2 * i + 1));
	}
	entry.fields = fields;
	sub->fn(sub->arg, &entry);
	if (fields != inline_fields)
		free(fields);
}

static void on_entries(struct redis_streams *s, const struct redis_reply *one)
{
	struct stream *st = lw_bmap_find(&s->streams, redis_reply_span(redis_reply_at(one, 0)));
	const struct redis_reply *list = redis_reply_at(one, 1);
	for (size_t i = 0; st && i < redis_reply_len(list); i++) {
		const struct redis_reply *e = redis_reply_at(list, i);
		struct pos p = pos_parse(redis_reply_text(redis_reply_at(e, 0)));
		LW_LIST_FOREACH (n, tmp, &st->subs) {
			struct redis_sub *sub = LW_CONTAINER_OF(n, struct redis_sub, node);
			if (sub->dead || sub->state != SUB_LIVE || !pos_less(sub->last, p))
				continue;
			sub->last = p;
			deliver(sub, e);
		}
	}
}

/* ---- the blocking read ---------------------------------------------------------------------------------------------
 */

static void read_next(struct redis_streams *s);
static void ask_all(struct redis_streams *s);

static void on_retry(uv_timer_t *t)
{
	struct retry *retry = t->data;
	ask_all(retry->s);
	read_next(retry->s);
}

static void retry_later(struct redis_streams *s)
{
	uv_timer_start(&s->retry->timer, on_retry, RETRY_MS, 0);
}

static void on_read(void *arg, int err, const struct redis_reply *reply)
{
	struct redis_streams *s = arg;
	if (err == LW_ECANCELLED)
		return;
	s->reading = false;
	s->read_no++;
	s->calling++;
	for (size_t i = 0; err == 0 && i < redis_reply_len(reply); i++)
		on_entries(s, redis_reply_at(reply, i));
	s->calling--;
	collect(s);
	if (err == 0)
		read_next(s);
	else
		retry_later(s);
}

/* Where to read on: the position of the subscription that is furthest behind. False: nobody is ready. */
static bool stream_pos(const struct stream *st, struct pos *out)
{
	bool any = false;
	for (const struct lw_list *n = st->subs.next; n != &st->subs; n = n->next) {
		const struct redis_sub *sub =
			(const struct redis_sub *)(const void *)((const char *)n - offsetof(struct redis_sub, node));
		if (sub->dead || sub->state != SUB_LIVE)
			continue;
		if (!any || pos_less(sub->last, *out))
			*out = sub->last;
		any = true;
	}
	return any;
}

static void read_next(struct redis_streams *s)
{
	if (s->reading || !s->reader || !redis_is_up(s->reader) || !s->client_id)
		return;
	s->changed = false;
	size_t max = lw_bmap_count(&s->streams);
	struct lw_span *v = lw_xcalloc(6 + 2 * max, sizeof(*v));
	char(*ids)[ID_MAX] = lw_xcalloc(max + 1, ID_MAX);
	char block[16];
	char count[16];
	snprintf(block, sizeof(block), "%d", BLOCK_MS);
	snprintf(count, sizeof(count), "%d", READ_COUNT);
	const char *const words[] = {"XREAD", "COUNT", count, "BLOCK", block, "STREAMS"};
	for (size_t i = 0; i < 6; i++)
		v[i] = lw_span_str(words[i]);
	size_t n = 0;
	size_t it = 0;
	struct lw_span key;
	void *value;
	while (lw_bmap_next(&s->streams, &it, &key, &value)) {
		struct stream *st = value;
		struct pos p = {0, 0};
		if (!stream_pos(st, &p))
			continue;
		snprintf(ids[n], ID_MAX, "%llu-%llu", (unsigned long long)p.ms, (unsigned long long)p.seq);
		v[6 + n] = lw_span_str(st->key);
		n++;
	}
	for (size_t i = 0; i < n; i++)
		v[6 + n + i] = lw_span_str(ids[i]);
	if (n) {
		s->reading = true;
		redis_argv(s->reader, on_read, s, 6 + 2 * n, v);
	}
	free(ids);
	free(v);
}

static void interrupt(struct redis_streams *s);

static void on_unblocked(void *arg, int err, const struct redis_reply *reply)
{
	struct unblock *u = arg;
	struct redis_streams *s = u->s;
	if (s) {
		s->unblock = NULL;
		/* 0: the server had not begun to block on it, or has just ended. */
		bool again = err == 0 && redis_reply_i64(reply) == 0 && s->reading && s->read_no == u->read_no;
		if (again || (s->reading && s->changed && s->read_no != u->read_no))
			interrupt(s);
	}
	free(u);
}

/* Makes the read under way return, so that the next one covers the present set. */
static void interrupt(struct redis_streams *s)
{
	if (!s->reading) {
		read_next(s);
		return;
	}
	s->changed = true;
	if (s->unblock)
		return;
	s->unblock = lw_xcalloc(1, sizeof(*s->unblock));
	s->unblock->s = s;
	s->unblock->read_no = s->read_no;
	redis_cmd(s->r, on_unblocked, s->unblock, "CLIENT UNBLOCK %lld", (long long)s->client_id);
}

/* ---- history -------------------------------------------------------------------------------------------------------
 */

static void on_history(void *arg, int err, const struct redis_reply *reply)
{
	struct redis_sub *sub = arg;
	struct redis_streams *s = sub->s;
	if (sub->dead) {
		sub_unref(sub);
		return;
	}
	if (err) {
		sub->state = SUB_IDLE;
		if (err != LW_ECANCELLED)
			retry_later(s);
		sub_unref(sub);
		return;
	}
	size_t n = redis_reply_len(reply);
	if (n)
		sub->last = pos_parse(redis_reply_text(redis_reply_at(redis_reply_at(reply, 0), 0)));
	sub->state = SUB_LIVE;
	sub->seen = true;
	s->calling++;
	/* Newest first; one was asked for even when no history is wanted, for its position. */
	for (size_t i = n; i-- > 0 && !sub->dead;)
		if (i < sub->history)
			deliver(sub, redis_reply_at(reply, i));
	if (!sub->dead && sub->caught_up)
		sub->caught_up(sub->arg);
	s->calling--;
	sub_unref(sub);
	collect(s);
	interrupt(s);
}

static void ask(struct redis_sub *sub)
{
	if (sub->seen) {
		sub->state = SUB_LIVE;
		return;
	}
	sub->state = SUB_ASKED;
	sub->refs++;
	redis_cmd(sub->s->r, on_history, sub, "XREVRANGE %s + - COUNT %llu", sub->stream->key,
		  (unsigned long long)(sub->history ? sub->history : 1));
}

static void ask_all(struct redis_streams *s)
{
	size_t it = 0;
	struct lw_span key;
	void *value;
	while (lw_bmap_next(&s->streams, &it, &key, &value)) {
		struct stream *st = value;
		LW_LIST_FOREACH (n, tmp, &st->subs) {
			struct redis_sub *sub = LW_CONTAINER_OF(n, struct redis_sub, node);
			if (!sub->dead && sub->state == SUB_IDLE)
				ask(sub);
		}
	}
}

/* ---- the reader's connection ---------------------------------------------------------------------------------------
 */

static void on_client_id(void *arg, int err, const struct redis_reply *reply)
{
	struct redis_streams *s = arg;
	if (err)
		return;
	s->client_id = redis_reply_i64(reply);
	ask_all(s);
	read_next(s);
}

static void on_reader_ready(void *arg)
{
	struct redis_streams *s = arg;
	s->client_id = 0;
	redis_cmd(s->reader, on_client_id, s, "CLIENT ID");
}

/* ---- interface ------------------------------------------------------------------------------------------------------
 */

struct redis_streams *redis_streams_new(struct redis *r)
{
	struct redis_streams *s = lw_xcalloc(1, sizeof(*s));
	s->r = r;
	lw_bmap_init(&s->streams);
	s->retry = lw_xcalloc(1, sizeof(*s->retry));
	s->retry->s = s;
	uv_timer_init(rt_loop_uv(r->loop), &s->retry->timer);
	s->retry->timer.data = s->retry;
	return s;
}

static void on_timer_closed(uv_handle_t *h)
{
	free(h->data);
}

void redis_streams_free(struct redis_streams *s)
{
	if (!s)
		return;
	BUG_ON(s->calling);
	size_t it = 0;
	struct lw_span key;
	void *value;
	while (lw_bmap_next(&s->streams, &it, &key, &value)) {
		struct stream *st = value;
		for (struct lw_list *n; (n = lw_list_pop_front(&st->subs));) {
			struct redis_sub *sub = LW_CONTAINER_OF(n, struct redis_sub, node);
			sub->dead = true;
			sub_unref(sub);
		}
		stream_free(st);
	}
	lw_bmap_deinit(&s->streams);
	if (s->unblock)
		s->unblock->s = NULL;
	redis_free(s->reader);
	uv_close((uv_handle_t *)&s->retry->timer, on_timer_closed);
	free(s);
}

struct redis_sub *redis_streams_follow(struct redis_streams *s, const char *key, size_t history, redis_entry_fn *fn,
				       void (*caught_up)(void *arg), void *arg)
{
	struct stream *st = lw_bmap_find(&s->streams, lw_span_str(key));
	if (!st) {
		st = lw_xcalloc(1, sizeof(*st));
		st->key = lw_xstrdup(key);
		lw_list_init(&st->subs);
		lw_bmap_put(&s->streams, lw_span_str(key), st);
	}
	struct redis_sub *sub = lw_xcalloc(1, sizeof(*sub));
	sub->s = s;
	sub->stream = st;
	sub->refs = 1;
	sub->history = history;
	sub->fn = fn;
	sub->caught_up = caught_up;
	sub->arg = arg;
	lw_list_push_back(&st->subs, &sub->node);
	if (!s->reader)
		s->reader = redis_sibling(s->r, READER_TIMEOUT_MS, on_reader_ready, NULL, s);
	ask(sub);
	return sub;
}

void redis_sub_free(struct redis_sub *sub)
{
	if (!sub)
		return;
	sub->dead = true;
	sub->s->garbage = true;
	collect(sub->s);
}
