#include "common/io/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/rng.h"
#include "common/base/xmalloc.h"
#include "common/io/redis.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"

#define LEASE_MS 5000
#define RENEWALS 5      /* in the time of a lease */
#define MAX_OTHERS 64   /* more are not seen */
#define BUS_LEN 20000   /* messages kept for who was away for a moment */
#define RESYNC_EVERY 10 /* renewals that fail between two resyncs */
#define GRACE 3  /* renewals that a lease must stay away: a clock that was set forward ends all of them at once */
#define SETTLE 2 /* renewals after which a new replica's first words can no longer have been missed */

struct peers {
	struct peers_opts o;
	char id[PEERS_ID_MAX];
	char nonce[32]; /* and, behind a colon, the length of our lease */
	char set[48], nonces[48], bus[48];
	struct redis *redis;
	struct redis_streams *streams;
	struct redis_sub *sub; /* NULL: alone */
	struct rt_timer timer;
	uint32_t renew_ms;
	char name[MAX_OTHERS][PEERS_ID_MAX];
	const char *list[MAX_OTHERS];
	size_t n;
	char gone_name[MAX_OTHERS][PEERS_ID_MAX];
	const char *gone[MAX_OTHERS];
	size_t n_gone;
	/* Who was there and is not: gone when that lasts. */
	struct {
		char name[PEERS_ID_MAX];
		unsigned rest; /* renewals; 0: none here */
	} missed[MAX_OTHERS];
	unsigned good;   /* renewals in a row that were answered */
	unsigned failed; /* that were not */
	unsigned settle; /* renewals until the resync that a newcomer makes necessary; 0: none */
	bool said;       /* our nonce was put before */
	bool clash_told;
	bool waiting; /* for an answer */
	bool left;
};

/* Everyone whose lease has not ended, by Redis' own clock; then whose has, then who gave it back. A lease that ends
 * later than its length from now was taken before the clock was set back. */
static const struct redis_script RENEW = {
	.name = "peers_renew",
	.text = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
		"local was = redis.call('HGET', KEYS[2], ARGV[1])\n"
		"redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])\n"
		"redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])\n"
		"local all = redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf', 'WITHSCORES')\n"
		"local out = {was or ''}\n"
		"for i = 1, #all, 2 do\n"
		"  local most = now + tonumber(string.match(redis.call('HGET', KEYS[2], all[i]) or '', ':(%d+)$') or "
		"ARGV[3])\n"
		"  if tonumber(all[i + 1]) > most then redis.call('ZADD', KEYS[1], most, all[i]) end\n"
		"  table.insert(out, all[i])\n"
		"end\n"
		"table.insert(out, '')\n"
		"for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(1', now - 1)) do table.insert(out, id) "
		"end\n"
		"table.insert(out, '')\n"
		"for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', 1)) do table.insert(out, id) end\n"
		"return out",
};

static const struct redis_script LEAVE = {
	.name = "peers_leave",
	.text = "if redis.call('HGET', KEYS[2], ARGV[1]) == ARGV[2] then\n"
		"redis.call('HDEL', KEYS[2], ARGV[1]) redis.call('ZADD', KEYS[1], 1, ARGV[1]) end return 0",
};

static void resync(struct peers *p)
{
	if (p->o.on_resync)
		p->o.on_resync(p->o.arg);
}

/* ---- messages ---- */

static void on_entry(void *arg, const struct redis_entry *e)
{
	struct peers *p = arg;
	char kind[32];
	if (e->n != 2 || lw_span_eq_str(e->fields[0].name, p->id) || e->fields[1].name.n >= sizeof(kind))
		return;
	memcpy(kind, e->fields[1].name.p, e->fields[1].name.n);
	kind[e->fields[1].name.n] = 0;
	if (p->o.on_message)
		p->o.on_message(p->o.arg, kind, e->fields[1].value);
}

void peers_announce(struct peers *p, const char *kind, struct lw_span body)
{
	struct redis_field f[2] = {{lw_span_str(p->id), lw_span_str("1")}, {lw_span_str(kind), body}};
	redis_xadd(p->redis, NULL, NULL, p->bus, BUS_LEN, 2, f);
}

void peers_tell(struct peers *p, const char *kind, struct lw_span body)
{
	if (p && p->n)
		peers_announce(p, kind, body);
}

/* What was said before is known by now to whoever asks. */
static void on_listening(void *arg)
{
	resync(arg);
}

/* ---- the lease ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool listed(const struct peers *p, const char *id)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->list[i], id) == 0)
			return true;
	return false;
}

static bool is_missed(const struct peers *p, const char *id)
{
	for (size_t i = 0; i < MAX_OTHERS; i++)
		if (p->missed[i].rest && strcmp(p->missed[i].name, id) == 0)
			return true;
	return false;
}

static void set_missed(struct peers *p, const char *id, unsigned rest)
{
	size_t at = MAX_OTHERS;
	for (size_t i = 0; i < MAX_OTHERS; i++) {
		if (p->missed[i].rest && strcmp(p->missed[i].name, id) == 0) {
			p->missed[i].rest = rest;
			return;
		}
		if (!p->missed[i].rest)
			at = i;
	}
	if (!rest || at == MAX_OTHERS)
		return;
	snprintf(p->missed[at].name, PEERS_ID_MAX, "%s", id);
	p->missed[at].rest = rest;
}

static bool is_in(char (*v)[PEERS_ID_MAX], size_t n, const char *id)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i], id) == 0)
			return true;
	return false;
}

/* Takes the names of the others; true when they are not the same as before. */
static bool take(struct peers *p, const struct redis_reply *reply, bool *came)
{
	char name[MAX_OTHERS][PEERS_ID_MAX];
	size_t n = 0, known = 0, before = p->n, n_over = 0;
	enum { LIVE, OVER, LEFT } part = LIVE;
	*came = false;
	p->n_gone = 0;
	for (size_t i = 1; i < redis_reply_len(reply) && n < MAX_OTHERS && p->n_gone < MAX_OTHERS; i++) {
		const char *t = redis_reply_text(redis_reply_at(reply, i));
		if (!t[0]) {
			part = part == LIVE ? OVER : LEFT;
			continue;
		}
		if (strlen(t) >= PEERS_ID_MAX || strcmp(t, p->id) == 0)
			continue;
		if (part != LIVE) {
			snprintf(p->gone_name[p->n_gone], PEERS_ID_MAX, "%s", t);
			p->gone[p->n_gone] = p->gone_name[p->n_gone];
			p->n_gone++;
			n_over += part == OVER;
			continue;
		}
		snprintf(name[n++], PEERS_ID_MAX, "%s", t);
		if (listed(p, t))
			known++;
		else
			*came = true;
	}
	for (size_t i = 0; i < MAX_OTHERS; i++)
		p->missed[i].rest -= p->missed[i].rest > 0;
	for (size_t i = 0; i < p->n; i++)
		if (!is_in(name, n, p->list[i]))
			set_missed(p, p->list[i],
				   is_in(p->gone_name + n_over, p->n_gone - n_over, p->list[i]) ? 0 : GRACE);
	memcpy(p->name, name, n * sizeof(name[0]));
	for (size_t i = 0; i < n; i++)
		p->list[i] = p->name[i];
	p->n = n;
	qsort(p->list, n, sizeof(p->list[0]), by_name);
	return *came || known != before;
}

static void note_nonce(struct peers *p, const char *was)
{
	bool clash = p->said && was[0] && strcmp(was, p->nonce) != 0;
	if (clash && !p->clash_told) {
		p->clash_told = true;
		RT_LOG_ERROR(p->o.log, "another process has the name of this replica", rt_str("name", p->id));
	}
	p->said = true;
}

static void renewed(struct peers *p, const struct redis_reply *reply)
{
	bool came = false;
	bool missed = p->failed > 0 && p->n > 0;
	note_nonce(p, redis_reply_text(redis_reply_at(reply, 0)));
	bool changed = take(p, reply, &came);
	p->failed = 0;
	if (p->good <= RENEWALS)
		p->good++;
	if (p->n && !p->sub)
		p->sub = redis_streams_follow(p->streams, p->bus, 0, on_entry, on_listening, p);
	if (!p->n && p->sub) {
		redis_sub_free(p->sub);
		p->sub = NULL;
	}
	/* The newcomer does not hear what is said before it has seen us, nor do we what it says before. */
	if (came)
		p->settle = SETTLE + 1;
	if (came || missed || (p->settle && --p->settle == 0))
		resync(p);
	if (!changed)
		return;
	RT_LOG_INFO(p->o.log, "replicas changed", rt_u64("others", p->n), rt_str("first", p->n ? p->list[0] : ""));
	if (p->o.on_change)
		p->o.on_change(p->o.arg);
}

static void on_renewed(void *arg, int err, const struct redis_reply *reply)
{
	struct peers *p = arg;
	if (err == LW_ECANCELLED)
		return;
	p->waiting = false;
	if (p->left)
		return;
	if (err == 0 && redis_reply_type(reply) == REDIS_ARRAY) {
		renewed(p, reply);
		return;
	}
	p->good = 0;
	if (p->n && p->failed++ % RESYNC_EVERY == 0)
		resync(p);
}

static void renew(struct peers *p)
{
	char ms[16];
	struct lw_span keys[] = {lw_span_str(p->set), lw_span_str(p->nonces)};
	if (p->waiting || p->left)
		return;
	p->waiting = true;
	snprintf(ms, sizeof(ms), "%u", (unsigned)p->o.lease_ms);
	struct lw_span args[] = {lw_span_str(p->id), lw_span_str(p->nonce), lw_span_str(ms)};
	redis_eval(p->redis, on_renewed, p, &RENEW, 2, keys, 3, args);
}

static void on_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	renew(arg);
}

static void on_state(void *arg, bool up, const char *detail)
{
	(void)detail;
	if (up)
		renew(arg);
}

/* ---- outside ---- */

struct peers *peers_new(const struct peers_opts *o, struct lw_diag *diag)
{
	struct peers *p = lw_xcalloc(1, sizeof(*p));
	struct lw_rng rng;
	uint8_t nonce[8];
	p->o = *o;
	if (!p->o.lease_ms)
		p->o.lease_ms = LEASE_MS;
	p->renew_ms = p->o.lease_ms / RENEWALS;
	snprintf(p->id, sizeof(p->id), "%s", o->id);
	snprintf(p->set, sizeof(p->set), "longwave:%s:{replicas}", o->group);
	snprintf(p->nonces, sizeof(p->nonces), "longwave:%s:{replicas}:nonce", o->group);
	snprintf(p->bus, sizeof(p->bus), "longwave:%s:bus", o->group);
	lw_rng_init_system(&rng);
	lw_rng_fill(&rng, nonce, sizeof(nonce));
	lw_hex_encode(nonce, sizeof(nonce), p->nonce);
	snprintf(p->nonce + 2 * sizeof(nonce), sizeof(p->nonce) - 2 * sizeof(nonce), ":%u", (unsigned)p->o.lease_ms);
	rt_timer_init(&p->timer, o->loop, "replica lease", on_timer, p);
	struct redis_options ro = {.url = o->redis_url, .timeout_ms = p->renew_ms, .on_state = on_state, .arg = p};
	if (redis_open(&p->redis, o->loop, &ro, diag)) {
		free(p);
		return NULL;
	}
	p->streams = redis_streams_new(p->redis);
	rt_timer_start_every(&p->timer, p->renew_ms);
	return p;
}

void peers_leave(struct peers *p)
{
	if (!p || p->left)
		return;
	struct lw_span keys[] = {lw_span_str(p->set), lw_span_str(p->nonces)};
	struct lw_span args[] = {lw_span_str(p->id), lw_span_str(p->nonce)};
	p->left = true;
	rt_timer_stop(&p->timer);
	redis_eval(p->redis, NULL, NULL, &LEAVE, 2, keys, 2, args);
}

void peers_free(struct peers *p)
{
	if (!p)
		return;
	rt_timer_stop(&p->timer);
	redis_streams_free(p->streams);
	redis_free(p->redis);
	free(p);
}

bool peers_any(const struct peers *p)
{
	return p && p->n > 0;
}

size_t peers_list(const struct peers *p, const char *const **out)
{
	*out = p->list;
	return p->n;
}

size_t peers_gone(const struct peers *p, const char *const **out)
{
	*out = p->gone;
	return p->n_gone;
}

void peers_bury(struct peers *p, const char *id)
{
	/* Not when it has come back meanwhile. */
	static const struct redis_script BURY = {
		.name = "peers_bury",
		.text = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
			"local s = redis.call('ZSCORE', KEYS[1], ARGV[1])\n"
			"if s and tonumber(s) < now then redis.call('ZREM', KEYS[1], ARGV[1]) end return 0",
	};
	struct lw_span key = lw_span_str(p->set), arg = lw_span_str(id);
	redis_eval(p->redis, NULL, NULL, &BURY, 1, &key, 1, &arg);
}

bool peers_is_gone(const struct peers *p, const char *id)
{
	return p->good > RENEWALS && strcmp(id, p->id) != 0 && !listed(p, id) && !is_missed(p, id);
}

bool peers_is_first(const struct peers *p)
{
	return !p->left && p->good && (!p->n || strcmp(p->id, p->list[0]) < 0);
}

struct redis *peers_redis(struct peers *p)
{
	return p->redis;
}
