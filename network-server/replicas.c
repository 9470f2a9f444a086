#include "network-server/replicas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "common/io/redis.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"
#include "network-server/store/store.h"

#define LOOK_MS 1000
#define LOOK_FIRST 10 /* looks after something changed: by then leases have ended */
#define LOOK_AGAIN 30 /* looks between two questions for replicas, when nothing changed */
#define KEY_MAX 384

/* A replica that is gone. */
struct gone {
	struct lw_list node;
	char origin[PEERS_ID_MAX];
	bool inherited; /* the broker keeps nothing for it any more */
	bool asking;
};

struct ns_replicas {
	struct ns_replicas_opts o;
	struct peers *peers;
	struct ns_store *store;
	struct ns_flows *flows;
	struct ns_wake *wake;
	struct ns_gw_mqtt *mqtt;
	struct ns_event_stream *events;
	uint64_t self_id; /* in what is said of receptions */
	struct lw_list gone;
	struct rt_timer timer;
	unsigned looks;
	bool stopped;
	bool asking;
};

struct gone_ask {
	struct ns_replicas *r;
	char origin[PEERS_ID_MAX];
};

/* ---- after a replica ---- */

static struct gone *find(const struct ns_replicas *r, const char *origin)
{
	LW_LIST_FOREACH (n, tmp, (struct lw_list *)(uintptr_t)&r->gone) {
		struct gone *g = LW_CONTAINER_OF(n, struct gone, node);
		if (strcmp(g->origin, origin) == 0)
			return g;
	}
	return NULL;
}

static void on_inherited(void *arg, const char *client_id)
{
	struct ns_replicas *r = arg;
	struct gone *g = find(r, client_id);
	if (g)
		g->inherited = true;
}

static void on_waiting_multicast(void *arg, const struct lw_uuid *v, size_t n)
{
	struct ns_replicas *r = arg;
	for (size_t i = 0; i < n && r->flows && !r->stopped; i++)
		ns_flows_multicast_hint(r->flows, v[i]);
}

static void on_orphans(void *arg, int err, const struct ns_stored_event *v, size_t n, bool more)
{
	struct gone_ask *a = arg;
	struct ns_replicas *r = a->r;
	struct gone *g = err == LW_ECANCELLED ? NULL : find(r, a->origin);
	(void)v;
	(void)more;
	if (g)
		g->asking = false;
	if (g && n && r->events && !r->stopped)
		ns_event_stream_adopt(r->events, a->origin);
	free(a);
}

static void look_after(struct ns_replicas *r, struct gone *g)
{
	if (!g->inherited && r->mqtt)
		ns_gw_mqtt_inherit(r->mqtt, g->origin, on_inherited, r);
	if (!r->events || g->asking || ns_event_stream_serves(r->events, g->origin))
		return;
	struct gone_ask *a = lw_xmalloc(sizeof(*a));
	a->r = r;
	snprintf(a->origin, sizeof(a->origin), "%s", g->origin);
	g->asking = true;
	ns_store_read_outbox(r->store, g->origin, 0, 1, on_orphans, a);
}

static void forget(struct ns_replicas *r, struct gone *g)
{
	if (r->mqtt)
		ns_gw_mqtt_disinherit(r->mqtt, g->origin);
	if (r->events)
		ns_event_stream_give_back(r->events, g->origin);
	lw_list_remove(&g->node);
	free(g);
}

/* Who is back looks after itself. */
static void check_gone(struct ns_replicas *r)
{
	LW_LIST_FOREACH (n, tmp, &r->gone) {
		struct gone *g = LW_CONTAINER_OF(n, struct gone, node);
		if (!peers_is_gone(r->peers, g->origin) || !peers_is_first(r->peers))
			forget(r, g);
	}
}

static void on_origins(void *arg, const char *const *names, size_t n)
{
	struct ns_replicas *r = arg;
	r->asking = false;
	if (r->stopped)
		return;
	if (n > 1 && r->flows)
		ns_flows_set_replicated(r->flows);
	for (size_t i = 0; i < n && peers_is_first(r->peers); i++) {
		if (!peers_is_gone(r->peers, names[i]) || strlen(names[i]) >= PEERS_ID_MAX)
			continue;
		struct gone *g = find(r, names[i]);
		if (!g) {
			g = lw_xcalloc(1, sizeof(*g));
			snprintf(g->origin, sizeof(g->origin), "%s", names[i]);
			lw_list_push_back(&r->gone, &g->node);
			RT_LOG_INFO(r->o.log, "a replica is gone, looking after what it left",
				    rt_str("origin", g->origin));
			/* Class C and multicast: what it was about to send. */
			if (r->wake)
				ns_wake_all(r->wake, peers_any(r->peers));
			ns_store_waiting_multicast(r->store, on_waiting_multicast, r);
		}
		look_after(r, g);
	}
}

static void on_timer(struct rt_timer *t, void *arg)
{
	struct ns_replicas *r = arg;
	(void)t;
	if (r->stopped || !r->store || !r->mqtt)
		return;
	check_gone(r);
	if (r->asking || (++r->looks > LOOK_FIRST && r->looks % LOOK_AGAIN))
		return;
	r->asking = true;
	ns_store_origins(r->store, on_origins, r);
}

/* ---- receptions ----
 * A list for each transmission, gone a moment after its window. An element: who said it, a byte, the reception. */

#define HEAD 9

static const struct redis_script PUT = {
	.name = "share_reception",
	.text = "if redis.call('RPUSH', KEYS[1], ARGV[1]) == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return "
		"0",
};

struct get {
	struct ns_replicas *r;
	ns_shared_fn *fn;
	void *arg;
};

static bool share_active(void *self)
{
	const struct ns_replicas *r = self;
	return peers_any(r->peers) && !r->stopped && redis_is_up(peers_redis(r->peers));
}

static struct lw_span share_key(struct lw_span key, uint8_t out[KEY_MAX])
{
	static const char prefix[] = "longwave:up:";
	size_t n = sizeof(prefix) - 1;
	memcpy(out, prefix, n);
	if (key.n > KEY_MAX - n)
		key.n = KEY_MAX - n;
	memcpy(out + n, key.p, key.n);
	return lw_span(out, n + key.n);
}

static void share_put(void *self, struct lw_span key, bool settled, struct lw_span body, uint32_t keep_ms)
{
	struct ns_replicas *r = self;
	uint8_t stack[1024], k[KEY_MAX], *p = stack;
	size_t n = HEAD + (settled ? 0 : body.n);
	char ms[16];
	if (n > sizeof(stack))
		p = lw_xmalloc(n);
	lw_put_le64(p, r->self_id);
	p[8] = settled;
	if (!settled)
		memcpy(p + HEAD, body.p, body.n);
	snprintf(ms, sizeof(ms), "%u", (unsigned)keep_ms);
	struct lw_span name = share_key(key, k);
	struct lw_span args[] = {lw_span(p, n), lw_span_str(ms)};
	redis_eval(peers_redis(r->peers), NULL, NULL, &PUT, 1, &name, 2, args);
	if (p != stack)
		free(p);
}

static void on_shared(void *arg, int err, const struct redis_reply *reply)
{
	struct get *g = arg;
	size_t n = err ? 0 : redis_reply_len(reply), used = 0;
	struct ns_shared *v = lw_xcalloc(n + 1, sizeof(*v));
	for (size_t i = 0; i < n; i++) {
		struct lw_span e = redis_reply_span(redis_reply_at(reply, i));
		if (e.n < HEAD)
			continue;
		v[used++] = (struct ns_shared){.is_ours = lw_get_le64(e.p) == g->r->self_id,
					       .is_settled = e.p[8] != 0,
					       .body = lw_span(e.p + HEAD, e.n - HEAD)};
	}
	g->fn(g->arg, err, v, used);
	free(v);
	free(g);
}

static void share_get(void *self, struct lw_span key, ns_shared_fn *fn, void *arg)
{
	struct ns_replicas *r = self;
	struct get *g = lw_xmalloc(sizeof(*g));
	uint8_t k[KEY_MAX];
	*g = (struct get){r, fn, arg};
	struct lw_span argv[] = {lw_span_str("LRANGE"), share_key(key, k), lw_span_str("0"), lw_span_str("-1")};
	redis_argv(peers_redis(r->peers), on_shared, g, 4, argv);
}

void ns_replicas_fill_port(struct ns_replicas *r, struct ns_share_port *out)
{
	*out = (struct ns_share_port){r, share_active, share_put, share_get};
}

/* ---- peers ---- */

static void on_change(void *arg)
{
	struct ns_replicas *r = arg;
	r->looks = 0; /* soon, and again when leases have ended */
	if (peers_any(r->peers) && r->flows) {
		ns_flows_set_replicated(r->flows);
		/* A gateway's copies are divided among the replicas: which set is complete nobody knows. */
		ns_flows_set_early_close(r->flows, false);
	} else if (r->flows) {
		ns_flows_set_early_close(r->flows, true);
	}
}

static void on_resync(void *arg)
{
	struct ns_replicas *r = arg;
	if (r->store)
		ns_store_resync(r->store);
}

static void on_message(void *arg, const char *kind, struct lw_span body)
{
	struct ns_replicas *r = arg;
	if (strcmp(kind, "encoding") == 0 && body.n == 9) {
		if (r->mqtt)
			ns_gw_mqtt_note_json(r->mqtt, lw_gateway_id_from_u64(lw_get_le64(body.p)), body.p[8] != 0);
	} else if (strcmp(kind, "quarantine") == 0 && body.n == 13) {
		if (r->flows)
			ns_flows_quarantine_began(r->flows, lw_dev_eui_from_u64(lw_get_le64(body.p)),
						  body.p[8] ? NS_FLOOD_JOINS : NS_FLOOD_UPLINKS,
						  lw_get_le32(body.p + 9));
	} else if (strcmp(kind, "release") == 0 && body.n == 8) {
		if (r->flows)
			ns_flows_release(r->flows, lw_dev_eui_from_u64(lw_get_le64(body.p)));
	} else if (r->store) {
		ns_store_hear(r->store, kind, body);
		if (strcmp(kind, "address") == 0 && body.n == 12 && r->flows)
			ns_flows_address_taken(r->flows, (struct lw_devaddr){lw_get_le32(body.p + 8)});
	}
}

/* ---- outside ---- */

struct ns_replicas *ns_replicas_new(const struct ns_replicas_opts *o, struct lw_diag *diag)
{
	struct ns_replicas *r = lw_xcalloc(1, sizeof(*r));
	char group[24];
	r->o = *o;
	lw_list_init(&r->gone);
	snprintf(group, sizeof(group), "ns:%.20s", o->share);
	struct peers_opts po = {.loop = o->loop,
				.log = o->log,
				.redis_url = o->redis_url,
				.group = group,
				.id = o->origin,
				.lease_ms = o->lease_ms,
				.on_change = on_change,
				.on_resync = on_resync,
				.on_message = on_message,
				.arg = r};
	r->peers = peers_new(&po, diag);
	if (!r->peers) {
		free(r);
		return NULL;
	}
	r->self_id = lw_hash_bytes(o->origin, strlen(o->origin));
	rt_timer_init(&r->timer, o->loop, "replicas", on_timer, r);
	rt_timer_start_every(&r->timer, LOOK_MS);
	return r;
}

void ns_replicas_set_store(struct ns_replicas *r, struct ns_store *store)
{
	r->store = store;
}

void ns_replicas_set_flows(struct ns_replicas *r, struct ns_flows *flows)
{
	r->flows = flows;
	if (flows)
		on_change(r);
}

void ns_replicas_set_wake(struct ns_replicas *r, struct ns_wake *wake)
{
	r->wake = wake;
}

void ns_replicas_set_links(struct ns_replicas *r, struct ns_gw_mqtt *mqtt, struct ns_event_stream *events)
{
	r->mqtt = mqtt;
	r->events = events;
}

void ns_replicas_tell(struct ns_replicas *r, const char *kind, struct lw_span body)
{
	if (r)
		peers_tell(r->peers, kind, body);
}

void ns_replicas_tell_encoding(struct ns_replicas *r, struct lw_gateway_id gateway, bool json)
{
	uint8_t b[9];
	lw_put_le64(b, lw_gateway_id_u64(gateway));
	b[8] = json;
	ns_replicas_tell(r, "encoding", lw_span(b, sizeof(b)));
}

bool ns_replicas_any(const struct ns_replicas *r)
{
	return r && peers_any(r->peers);
}

struct peers *ns_replicas_peers(struct ns_replicas *r)
{
	return r->peers;
}

void ns_replicas_stop(struct ns_replicas *r)
{
	r->stopped = true;
	rt_timer_stop(&r->timer);
}

void ns_replicas_leave(struct ns_replicas *r)
{
	peers_leave(r->peers);
}

void ns_replicas_free(struct ns_replicas *r)
{
	struct lw_list *n;
	if (!r)
		return;
	rt_timer_stop(&r->timer);
	peers_free(r->peers);
	while ((n = lw_list_pop_front(&r->gone)))
		free(LW_CONTAINER_OF(n, struct gone, node));
	free(r);
}
