#include "network-server/store/link_store.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "common/crypto/hash.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"

#define WRITE_MS 60000
#define AGE_MS 600000
#define CHUNK 256 /* rows of one transaction: the radio's own wait behind it */
#define PAUSE_MS 5
#define MINUTES_S (2 * 3600)

/* Rows are keyed like this in memory, too. */
struct key {
	uint64_t eui;
	int64_t begin_s;
	uint8_t subject, span;
	uint8_t zero[6]; /* keys are compared as bytes */
};

struct counter {
	struct key key;
	struct ns_link_counts counts;
};

struct read {
	struct read *next;
	struct ns_link_store *s;
	struct key key; /* begin_s: of the first bucket */
	int64_t end_s;  /* where the last bucket ends */
	struct ns_link_bucket *bucket;
	size_t n;
	ns_link_read_fn *done;
	void *arg;
};

struct ns_link_store {
	struct ns_link_store_opts o;
	uint32_t id;
	bool open;
	struct lw_bmap now; /* struct counter by struct key */
	struct lw_bmap out; /* being written, chunk by chunk */
	struct counter *chunk[CHUNK];
	size_t n_chunk; /* under way */
	unsigned n_reads;
	struct read *waiting; /* for the chunk under way */
	struct rt_timer write_timer, pause_timer, age_timer;
	/* The hour that most is counted in. */
	int64_t hour_s, next_hour_s;
	uint64_t left_out;
	struct {
		bool on;
		size_t step;
		size_t n; /* rows under way */
		struct rt_timer pause;
	} aging;
};

/* ---- statements ---- */

/* In order: two replicas that count the same devices would wait for each other's rows. */
static const struct sql_stmt ADD = {
	.name = "link_add",
	.text = "INSERT INTO link_count (eui, subject, span, begin_s, parts, body)"
		" SELECT b.eui, b.subject, b.span, b.begin_s, 1, b.body FROM {batch} WHERE true"
		" ORDER BY b.eui, b.subject, b.span, b.begin_s"
		" ON CONFLICT (eui, subject, span, begin_s) DO UPDATE SET parts = link_count.parts + 1,"
		" body = link_count.body || excluded.body",
	.batch = "eui:l subject:l span:l begin_s:l body:y",
};

/* $3, $4: spans from the finest to the coarsest that count. */
static const struct sql_stmt READ = {
	.name = "link_read",
	.text = "SELECT begin_s, body FROM link_count WHERE eui = $1 AND subject = $2 AND span >= $3 AND span <= $4"
		" AND begin_s >= $5 AND begin_s < $6",
	.params = "llllll",
	.cols = "ly",
};

/* In the order of its index, whose rows of one hour are as many as there are devices. */
static const struct sql_stmt OLD = {
	.name = "link_old",
	.text = "SELECT eui, subject, begin_s, parts, body FROM link_count WHERE span = $1 AND begin_s < $2"
		" ORDER BY begin_s LIMIT $3",
	.params = "lll",
	.cols = "lllly",
};

static const struct sql_stmt REMOVE = {
	.name = "link_remove",
	.text = "DELETE FROM link_count WHERE span = $1 AND (eui, subject, begin_s, parts) IN"
		" (SELECT b.eui, b.subject, b.begin_s, b.parts FROM {batch})",
	.params = "l",
	.batch = "eui:l subject:l begin_s:l parts:l",
};

static const struct sql_stmt FORGET_ONE = {
	.name = "link_forget_one",
	.text = "DELETE FROM link_count WHERE eui = $1 AND subject = $2",
	.params = "ll",
};

/* ---- counting ---- */

static struct key key_of(enum ns_link_subject subject, uint64_t eui, enum ns_span span, int64_t begin_s)
{
	return (struct key){.eui = eui, .begin_s = begin_s, .subject = (uint8_t)subject, .span = (uint8_t)span};
}

static struct lw_span key_bytes(const struct key *k)
{
	return lw_span((const uint8_t *)(const void *)k, sizeof(*k));
}

static int64_t hour_of(struct ns_link_store *s, int64_t at_s)
{
	if (at_s < s->hour_s || at_s >= s->next_hour_s) {
		s->hour_s = ns_span_begin(NS_SPAN_HOUR, at_s);
		s->next_hour_s = ns_span_next(NS_SPAN_HOUR, s->hour_s);
	}
	return s->hour_s;
}

/* NULL: there is no room. */
static struct ns_link_counts *counts_at(struct ns_link_store *s, const struct key *k)
{
	struct counter *c = lw_bmap_find(&s->now, key_bytes(k));
	if (c)
		return &c->counts;
	if (lw_bmap_count(&s->now) + lw_bmap_count(&s->out) >= s->o.max_subjects) {
		s->left_out++;
		return NULL;
	}
	c = lw_xcalloc(1, sizeof(*c));
	c->key = *k;
	lw_bmap_put(&s->now, key_bytes(k), c);
	return &c->counts;
}

static void counter_free(struct counter *c)
{
	ns_link_counts_deinit(&c->counts);
	free(c);
}

static void count_device(void *self, struct lw_dev_eui dev_eui, int64_t at_ns, const struct ns_tally *v, size_t n)
{
	struct ns_link_store *s = self;
	struct key k = key_of(NS_LINK_DEVICE, lw_dev_eui_u64(dev_eui), NS_SPAN_HOUR, hour_of(s, at_ns / LW_NS_PER_S));
	struct ns_link_counts *c = counts_at(s, &k);
	for (size_t i = 0; c && i < n; i++)
		ns_link_add(c, v[i].kind, v[i].key, v[i].n);
}

static void add_counts(struct ns_link_counts *to, const struct ns_link_counts *from)
{
	for (size_t i = 0; i < from->n; i++)
		ns_link_add(to, from->v[i].kind, from->v[i].key, from->v[i].n);
	for (size_t i = 0; i < from->n_bands; i++)
		ns_link_add_band(to, &from->band[i]);
}

static void count_gateway(void *self, struct lw_gateway_id id, int64_t at_ns, const struct ns_link_counts *add)
{
	struct ns_link_store *s = self;
	int64_t at_s = at_ns / LW_NS_PER_S;
	uint64_t eui = lw_gateway_id_u64(id);
	struct ns_link_counts tallies = *add, *c;
	tallies.n_bands = 0;
	struct key k = key_of(NS_LINK_GATEWAY, eui, NS_SPAN_HOUR, hour_of(s, at_s));
	if (add->n > 0 && (c = counts_at(s, &k)) != NULL)
		add_counts(c, &tallies);
	k = key_of(NS_LINK_GATEWAY, eui, NS_SPAN_MINUTE, ns_span_begin(NS_SPAN_MINUTE, at_s));
	if (add->n_bands == 0 || (c = counts_at(s, &k)) == NULL)
		return;
	for (size_t i = 0; i < add->n_bands; i++) {
		struct ns_duty_band b = add->band[i];
		if (b.counted_by != 0)
			b.counted_by = s->id;
		ns_link_add_band(c, &b);
	}
}

void ns_link_store_fill_port(struct ns_link_store *s, struct ns_link_port *out)
{
	*out = (struct ns_link_port){s, count_device, count_gateway};
}

/* ---- writing ---- */

static void begin_read(struct read *r);
static void next_chunk(struct ns_link_store *s);

static void put_back(struct ns_link_store *s, struct counter *c)
{
	struct counter *there = lw_bmap_find(&s->now, key_bytes(&c->key));
	if (!there) {
		lw_bmap_put(&s->now, key_bytes(&c->key), c);
		return;
	}
	add_counts(&there->counts, &c->counts);
	counter_free(c);
}

static void on_chunk(void *arg, const struct sql_outcome *outcome)
{
	struct ns_link_store *s = arg;
	/* Whether numbers of an unknown outcome are there can't be told: they count as written, so never twice. */
	bool again = outcome->err && !outcome->unknown && outcome->err != LW_ECANCELLED;
	for (size_t i = 0; i < s->n_chunk; i++) {
		if (again)
			put_back(s, s->chunk[i]);
		else
			counter_free(s->chunk[i]);
	}
	s->n_chunk = 0;
	if (outcome->err == LW_ECANCELLED)
		return;
	if (outcome->err)
		RT_LOG_WARN(s->o.log, "counts of links were not written", rt_str("detail", outcome->diag.text));
	if (again) { /* the rest with the next round */
		size_t it = 0;
		struct lw_span k;
		void *c;
		while (lw_bmap_next(&s->out, &it, &k, &c))
			put_back(s, c);
		lw_bmap_clear(&s->out);
	}
	while (s->waiting) {
		struct read *r = s->waiting;
		s->waiting = r->next;
		begin_read(r);
	}
	if (lw_bmap_count(&s->out) > 0)
		rt_timer_start(&s->pause_timer, PAUSE_MS);
}

static void put_row(struct sql_params *p, const struct key *k, const struct ns_link_counts *c)
{
	size_t n;
	uint8_t *body = ns_link_counts_pack(c, &n);
	sql_put_i64(p, (int64_t)k->eui);
	sql_put_i64(p, k->subject);
	sql_put_i64(p, k->span);
	sql_put_i64(p, k->begin_s);
	sql_put_bytes(p, lw_span(body, n));
	free(body);
}

static void next_chunk(struct ns_link_store *s)
{
	size_t it = 0;
	struct lw_span k;
	void *c;
	if (s->n_chunk > 0 || lw_bmap_count(&s->out) == 0)
		return;
	if (s->n_reads > 0) { /* they have what is in memory and would find the same in the table */
		rt_timer_start(&s->pause_timer, PAUSE_MS);
		return;
	}
	struct sql_tx *tx = sql_tx_new(s->o.db);
	struct sql_params *p = sql_tx_add(tx, &ADD, NULL, NULL);
	while (s->n_chunk < CHUNK && lw_bmap_next(&s->out, &it, &k, &c)) {
		struct counter *row = c;
		put_row(p, &row->key, &row->counts);
		s->chunk[s->n_chunk++] = row;
		lw_bmap_remove(&s->out, key_bytes(&row->key));
	}
	sql_tx_commit(tx, on_chunk, s);
}

static void on_pause(struct rt_timer *t, void *arg)
{
	(void)t;
	next_chunk(arg);
}

void ns_link_store_write(struct ns_link_store *s)
{
	if (!s->open || s->n_chunk > 0 || lw_bmap_count(&s->out) > 0 || lw_bmap_count(&s->now) == 0 ||
	    !sql_is_up(s->o.db))
		return;
	struct lw_bmap empty = s->out;
	s->out = s->now;
	s->now = empty;
	if (s->left_out > 0)
		RT_LOG_WARN(s->o.log, "too many links at once: some were not counted", rt_u64("frames", s->left_out));
	s->left_out = 0;
	next_chunk(s);
}

bool ns_link_store_is_idle(const struct ns_link_store *s)
{
	bool empty = lw_bmap_count(&s->now) == 0 && lw_bmap_count(&s->out) == 0;
	return !s->open || (s->n_chunk == 0 && empty) || !sql_is_up(s->o.db);
}

static void on_write_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	ns_link_store_write(arg);
}

/* ---- reading ---- */

static void read_end(struct read *r, int err)
{
	r->done(r->arg, err, r->bucket, err ? 0 : r->n);
	for (size_t i = 0; i < r->n; i++)
		ns_link_counts_deinit(&r->bucket[i].counts);
	free(r->bucket);
	free(r);
}

static struct ns_link_counts *bucket_at(struct read *r, int64_t begin_s)
{
	size_t low = 0, high = r->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (r->bucket[mid].begin_s <= begin_s)
			low = mid + 1;
		else
			high = mid;
	}
	return low > 0 && begin_s < r->end_s ? &r->bucket[low - 1].counts : NULL;
}

static void add_memory(struct read *r, const struct lw_bmap *m)
{
	/* What is in memory is of the last hours or minutes; there are few of them. */
	enum ns_span finest = r->key.span == NS_SPAN_MINUTE ? NS_SPAN_MINUTE : NS_SPAN_HOUR;
	struct ns_link_store *s = r->s;
	int64_t now_s = rt_loop_now_ns(s->o.loop) / LW_NS_PER_S;
	int64_t length_s = finest == NS_SPAN_MINUTE ? 60 : 3600;
	int64_t back_s = finest == NS_SPAN_MINUTE ? 3600 : 48 * 3600;
	int64_t from_s = ns_span_begin(finest, now_s - back_s > r->key.begin_s ? now_s - back_s : r->key.begin_s);
	for (int64_t at_s = from_s; at_s < r->end_s && at_s <= now_s + length_s; at_s += length_s) {
		struct key k = key_of((enum ns_link_subject)r->key.subject, r->key.eui, finest, at_s);
		const struct counter *c = lw_bmap_find(m, key_bytes(&k));
		struct ns_link_counts *to = c ? bucket_at(r, at_s) : NULL;
		if (to)
			add_counts(to, &c->counts);
	}
}

static void on_rows(void *arg, const struct sql_outcome *outcome, const struct sql_result *rows)
{
	struct read *r = arg;
	struct ns_link_store *s = r->s;
	s->n_reads--;
	if (outcome->err) {
		read_end(r, LW_EUNAVAILABLE);
		return;
	}
	for (size_t i = 0; i < sql_rows(rows); i++) {
		struct ns_link_counts *to = bucket_at(r, sql_i64(rows, i, 0));
		struct lw_span body = sql_span(rows, i, 1);
		if (to && ns_link_counts_unpack(to, body.p, body.n) < 0)
			RT_LOG_WARN(s->o.log, "counts of a link cannot be read",
				    rt_i64("begin_s", sql_i64(rows, i, 0)));
	}
	add_memory(r, &s->now);
	add_memory(r, &s->out);
	read_end(r, 0);
}

static void begin_read(struct read *r)
{
	struct sql_query *q = sql_query_new(r->s->o.db, &READ);
	struct sql_params *p = sql_query_params(q);
	sql_put_i64(p, (int64_t)r->key.eui);
	sql_put_i64(p, r->key.subject);
	sql_put_i64(p, r->key.span == NS_SPAN_MINUTE ? NS_SPAN_MINUTE : NS_SPAN_HOUR);
	sql_put_i64(p, r->key.span);
	sql_put_i64(p, r->key.begin_s);
	sql_put_i64(p, r->end_s);
	r->s->n_reads++;
	sql_query_send(q, on_rows, r);
}

/* False: there are too many. */
static bool lay_out(struct read *r, enum ns_span span, int64_t start_s, int64_t end_s)
{
	int64_t at_s = ns_span_begin(span, start_s);
	r->bucket = lw_xcalloc(NS_LINK_BUCKETS_MAX, sizeof(*r->bucket));
	for (; at_s <= end_s; at_s = ns_span_next(span, at_s)) {
		if (r->n == NS_LINK_BUCKETS_MAX)
			return false;
		r->bucket[r->n++].begin_s = at_s;
	}
	r->key.begin_s = r->bucket[0].begin_s;
	r->end_s = at_s;
	return true;
}

void ns_link_store_read(struct ns_link_store *s, enum ns_link_subject subject, uint64_t eui, enum ns_span span,
			int64_t start_s, int64_t end_s, ns_link_read_fn *done, void *arg)
{
	struct read *r = lw_xcalloc(1, sizeof(*r));
	*r = (struct read){.s = s, .key = key_of(subject, eui, span, 0), .done = done, .arg = arg};
	if (end_s < start_s) {
		read_end(r, LW_EINVAL);
	} else if (!lay_out(r, span, start_s, end_s)) {
		read_end(r, LW_EBIG);
	} else if (!s->open) {
		read_end(r, LW_EUNAVAILABLE);
	} else if (s->n_chunk > 0) {
		r->next = s->waiting;
		s->waiting = r;
	} else {
		begin_read(r);
	}
}

/* ---- growing old ---- */

/* Rows of a finer span become one of a coarser, or go. */
static const struct {
	enum ns_span from;
	bool goes;
	enum ns_span to;
} STEPS[] = {
	{.from = NS_SPAN_MINUTE, .goes = true},
	{.from = NS_SPAN_HOUR, .to = NS_SPAN_DAY},
	{.from = NS_SPAN_DAY, .to = NS_SPAN_MONTH},
	{.from = NS_SPAN_MONTH, .goes = true},
};

/* The beginning of the first span that is not old. */
static int64_t young_from_s(const struct ns_link_store *s, enum ns_span span)
{
	int64_t now_s = rt_loop_now_ns(s->o.loop) / LW_NS_PER_S;
	switch (span) {
	case NS_SPAN_MINUTE:
		return now_s - MINUTES_S;
	case NS_SPAN_HOUR:
		return ns_span_begin(NS_SPAN_DAY, now_s - (int64_t)s->o.hours * 3600);
	case NS_SPAN_DAY:
		return ns_span_begin(NS_SPAN_MONTH, now_s - (int64_t)s->o.days * 86400);
	case NS_SPAN_MONTH:
	default:
		return now_s - (int64_t)s->o.months * 31 * 86400;
	}
}

static void on_old(void *arg, const struct sql_outcome *outcome, const struct sql_result *r);

static void age_next(struct ns_link_store *s)
{
	struct sql_query *q = sql_query_new(s->o.db, &OLD);
	enum ns_span from = STEPS[s->aging.step].from;
	sql_put_i64(sql_query_params(q), from);
	sql_put_i64(sql_query_params(q), young_from_s(s, from));
	sql_put_i64(sql_query_params(q), CHUNK);
	sql_query_send(q, on_old, s);
}

static void on_aging_pause(struct rt_timer *t, void *arg)
{
	(void)t;
	age_next(arg);
}

static void step_end(struct ns_link_store *s)
{
	s->aging.on = ++s->aging.step < sizeof(STEPS) / sizeof(STEPS[0]);
	if (s->aging.on)
		age_next(s);
}

static void on_aged(void *arg, const struct sql_outcome *outcome)
{
	struct ns_link_store *s = arg;
	/* A conflict: another replica was faster, or a late number came; whatever is old still is so the next time. */
	if (outcome->err)
		s->aging.on = false;
	else if (s->aging.n < CHUNK)
		step_end(s);
	else
		rt_timer_start(&s->aging.pause, PAUSE_MS);
}

static void sum_up(struct lw_bmap *sums, enum ns_span to, const struct sql_result *r)
{
	for (size_t i = 0; i < sql_rows(r); i++) {
		struct key k = {.eui = (uint64_t)sql_i64(r, i, 0),
				.subject = (uint8_t)sql_i64(r, i, 1),
				.span = (uint8_t)to,
				.begin_s = ns_span_begin(to, sql_i64(r, i, 2))};
		struct lw_span body = sql_span(r, i, 4);
		struct counter *c = lw_bmap_find(sums, key_bytes(&k));
		if (!c) {
			c = lw_xcalloc(1, sizeof(*c));
			c->key = k;
			lw_bmap_put(sums, key_bytes(&k), c);
		}
		ns_link_counts_unpack(&c->counts, body.p, body.n);
	}
}

/* Only who removes all of the rows may add their sum. */
static void remove_rows(struct sql_tx *tx, enum ns_span from, const struct sql_result *r)
{
	size_t n = sql_rows(r);
	struct sql_params *p = sql_tx_add(tx, &REMOVE, NULL, NULL);
	sql_put_i64(p, from);
	for (size_t i = 0; i < n; i++)
		for (size_t col = 0; col < 4; col++)
			sql_put_i64(p, sql_i64(r, i, col));
	sql_tx_expect(tx, n, n, LW_ECONFLICT);
}

static void add_sums(struct sql_tx *tx, enum ns_span to, const struct sql_result *r)
{
	struct sql_params *p = sql_tx_add(tx, &ADD, NULL, NULL);
	struct lw_bmap sums; /* struct counter by struct key */
	struct lw_span bytes;
	size_t it = 0;
	void *value;
	lw_bmap_init(&sums);
	sum_up(&sums, to, r);
	while (lw_bmap_next(&sums, &it, &bytes, &value)) {
		struct counter *c = value;
		put_row(p, &c->key, &c->counts);
		counter_free(c);
	}
	lw_bmap_deinit(&sums);
}

static void on_old(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct ns_link_store *s = arg;
	if (outcome->err) {
		s->aging.on = false;
		return;
	}
	s->aging.n = sql_rows(r);
	if (s->aging.n == 0) {
		step_end(s);
		return;
	}
	struct sql_tx *tx = sql_tx_new(s->o.db);
	remove_rows(tx, STEPS[s->aging.step].from, r);
	if (!STEPS[s->aging.step].goes)
		add_sums(tx, STEPS[s->aging.step].to, r);
	sql_tx_commit(tx, on_aged, s);
}

void ns_link_store_age(struct ns_link_store *s)
{
	if (!s->open || s->aging.on || !sql_is_up(s->o.db))
		return;
	s->aging.on = true;
	s->aging.step = 0;
	age_next(s);
}

bool ns_link_store_is_aging(const struct ns_link_store *s)
{
	return s->aging.on;
}

void ns_link_forget(struct sql_tx *tx, enum ns_link_subject subject, uint64_t eui)
{
	struct sql_params *p = sql_tx_add(tx, &FORGET_ONE, NULL, NULL);
	sql_put_i64(p, (int64_t)eui);
	sql_put_i64(p, subject);
}

static void on_age_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	ns_link_store_age(arg);
}

/* ---- life ---- */

struct ns_link_store *ns_link_store_new(const struct ns_link_store_opts *o)
{
	struct ns_link_store *s = lw_xcalloc(1, sizeof(*s));
	s->o = *o;
	s->o.write_ms = o->write_ms ? o->write_ms : WRITE_MS;
	s->o.hours = o->hours ? o->hours : 48;
	s->o.days = o->days ? o->days : 62;
	s->o.months = o->months ? o->months : 24;
	s->o.max_subjects = o->max_subjects ? o->max_subjects : 500000;
	s->id = (uint32_t)lw_hash_bytes(o->origin, strlen(o->origin)) | 1;
	s->o.origin = NULL;
	lw_bmap_init(&s->now);
	lw_bmap_init(&s->out);
	rt_timer_init(&s->write_timer, o->loop, "links_write", on_write_timer, s);
	rt_timer_init(&s->pause_timer, o->loop, "links_pause", on_pause, s);
	rt_timer_init(&s->age_timer, o->loop, "links_age", on_age_timer, s);
	rt_timer_init(&s->aging.pause, o->loop, "links_age_pause", on_aging_pause, s);
	return s;
}

void ns_link_store_open(struct ns_link_store *s)
{
	s->open = true;
	rt_timer_start_every(&s->write_timer, s->o.write_ms);
	rt_timer_start_every(&s->age_timer, AGE_MS);
}

static void map_free(struct lw_bmap *m)
{
	size_t it = 0;
	struct lw_span k;
	void *c;
	while (lw_bmap_next(m, &it, &k, &c))
		counter_free(c);
	lw_bmap_deinit(m);
}

void ns_link_store_free(struct ns_link_store *s)
{
	if (!s)
		return;
	rt_timer_stop(&s->write_timer);
	rt_timer_stop(&s->pause_timer);
	rt_timer_stop(&s->age_timer);
	rt_timer_stop(&s->aging.pause);
	while (s->waiting) {
		struct read *r = s->waiting;
		s->waiting = r->next;
		read_end(r, LW_EUNAVAILABLE);
	}
	map_free(&s->now);
	map_free(&s->out);
	free(s);
}
