#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/hex.h"
#include "common/base/xmalloc.h"
#include "common/lorawan/cipher.h"
#include "common/lorawan/mic.h"
#include "common/pb/pbjson.h"
#include "network-server/domain/activate.h"
#include "network-server/domain/channels.h"

#define START_NS INT64_C(1714564800000000000) /* 2024-05-01T12:00:00Z */

/* ---- store ---- */

static struct world_device *find(struct world *w, struct lw_dev_eui eui)
{
	for (size_t i = 0; i < w->n_devices; i++)
		if (lw_dev_eui_eq(w->device[i]->rec.dev_eui, eui))
			return w->device[i];
	return NULL;
}

struct ns_session world_session(const struct world_device *d)
{
	struct ns_session s;
	assert_int_equal(ns_session_decode(lw_span(d->blob.p, d->blob.n), &s), 0);
	return s;
}

void world_session_put(struct world_device *d, const struct ns_session *s)
{
	lw_buf_reset(&d->blob);
	assert_int_equal(ns_session_encode(s, &d->blob), 0);
	d->rec.has_session = true;
	d->rec.version++;
}

struct later {
	struct lw_list node;
	struct rt_timer timer;
	void (*fn)(void *req);
	void *req;
};

static void later_fire(struct rt_timer *t, void *arg)
{
	struct later *l = arg;
	(void)t;
	lw_list_remove(&l->node);
	l->fn(l->req);
	free(l);
}

/* Answers at once or after the store's time. */
static void reply(struct world *w, void (*fn)(void *), void *req)
{
	if (w->store_ms == 0) {
		fn(req);
		return;
	}
	struct later *l = lw_xmalloc(sizeof(*l));
	l->fn = fn;
	l->req = req;
	lw_list_push_back(&w->laters, &l->node);
	rt_timer_init(&l->timer, w->loop, "store", later_fire, l);
	rt_timer_start(&l->timer, w->store_ms);
}

/* Those who asked are gone. */
static void forget_answers(struct world *w)
{
	struct lw_list *n;
	while ((n = lw_list_pop_front(&w->laters))) {
		struct later *l = LW_CONTAINER_OF(n, struct later, node);
		rt_timer_stop(&l->timer);
		free(l);
	}
}

static void fetch_done(void *req)
{
	struct ns_fetch *r = req;
	r->done(r);
}

static void store_fetch(void *self, struct ns_fetch **v, size_t n)
{
	struct world *w = self;
	for (size_t i = 0; i < n; i++) {
		struct ns_fetch *r = v[i];
		r->err = w->store_away ? LW_EUNAVAILABLE : 0;
		r->devices = LW_ARENA_ARRAY(r->arena, struct ns_device *, WORLD_DEVICES);
		for (size_t k = 0; r->err == 0 && k < w->n_devices; k++) {
			struct world_device *d = w->device[k];
			struct ns_device dev = d->rec;
			dev.may_have_queue = d->n_queue > 0;
			if (dev.has_session)
				dev.session = world_session(d);
			bool hit = r->by_devaddr ? dev.has_session && lw_devaddr_eq(dev.session.devaddr, r->devaddr)
						 : lw_dev_eui_eq(dev.dev_eui, r->dev_eui);
			if (hit && !(r->by_devaddr && w->addresses_old))
				r->devices[r->n++] = lw_arena_memdup(r->arena, &dev, sizeof(dev));
		}
		reply(w, fetch_done, r);
	}
}

static void store_forget(void *self, struct lw_devaddr devaddr)
{
	struct world *w = self;
	(void)devaddr;
	w->addresses_old = false;
	w->n_forgotten++;
}

static void queue_done(void *req)
{
	struct ns_queue_fetch *r = req;
	r->done(r);
}

static void store_queue_head(void *self, struct ns_queue_fetch **v, size_t n)
{
	struct world *w = self;
	for (size_t i = 0; i < n; i++) {
		struct ns_queue_fetch *r = v[i];
		struct world_device *d = find(w, r->dev_eui);
		r->err = w->store_away ? LW_EUNAVAILABLE : 0;
		r->total = d != NULL ? d->n_queue : 0;
		r->n = r->total < r->max ? r->total : r->max;
		r->items = LW_ARENA_ARRAY(r->arena, struct ns_queue_item, r->n + 1);
		for (size_t k = 0; k < r->n; k++)
			r->items[k] = d->queue[k].item;
		reply(w, queue_done, r);
	}
}

static void fix_spans(struct world_item *it)
{
	for (unsigned i = 0; i < it->item.n_payloads; i++)
		it->item.payload[i].p = it->data[i];
	it->item.sealed.p = it->sealed;
}

static void apply_queue_op(struct world_device *d, const struct ns_queue_op *op)
{
	if (op->kind == NS_QUEUE_FLUSH)
		d->n_queue = 0;
	for (size_t i = 0; i < d->n_queue; i++) {
		struct ns_queue_item *item = &d->queue[i].item;
		if (op->kind == NS_QUEUE_RELEASE_ALL) {
			item->state = NS_ITEM_QUEUED;
			continue;
		}
		if (!lw_uuid_eq(item->id, op->id))
			continue;
		if (op->kind == NS_QUEUE_DELETE) {
			for (size_t k = i; k + 1 < d->n_queue; k++) {
				d->queue[k] = d->queue[k + 1];
				fix_spans(&d->queue[k]);
			}
			d->n_queue--;
			return;
		}
		item->state = op->state;
		item->f_cnt_down = op->f_cnt_down;
		item->timeout_after_ns = op->timeout_after_ns;
	}
}

static void take_event(struct world *w, const struct ns_event *e)
{
	assert_true(w->n_events < WORLD_LOG);
	w->event[w->n_events] = longwave__ns__v1__event__unpack(NULL, e->packed.n, e->packed.p);
	assert_non_null(w->event[w->n_events]);
	w->n_events++;
}

static void commit_now(struct world *w, struct ns_change *c)
{
	struct world_device *d = find(w, c->dev_eui);
	w->n_commits++;
	c->err = 0;
	if (w->store_away) {
		c->err = LW_EUNAVAILABLE;
		return;
	}
	if (c->op != NS_SESSION_KEEP) {
		if (d == NULL) {
			c->err = LW_ENOTFOUND;
			return;
		}
		if (w->conflicts > 0) {
			/* Someone else writes the row in this very moment. */
			w->conflicts--;
			if (w->meanwhile != NULL)
				world_session_put(d, w->meanwhile);
			d->rec.version++;
		}
		if (d->rec.version != c->version) {
			c->err = LW_ECONFLICT;
			return;
		}
		if (c->op == NS_SESSION_PUT)
			world_session_put(d, c->session);
	}
	for (size_t i = 0; i < c->n_queue_ops; i++)
		if (d != NULL)
			apply_queue_op(d, &c->queue_ops[i]);
	for (size_t i = 0; i < c->n_events; i++)
		take_event(w, &c->events[i]);
}

static void commit_done(void *req)
{
	struct ns_change *c = req;
	c->done(c);
}

static void store_commit(void *self, struct ns_change **v, size_t n)
{
	struct world *w = self;
	for (size_t i = 0; i < n; i++) {
		if (w->commit_held) {
			assert_true(w->n_held < 32);
			w->held[w->n_held++] = v[i];
			continue;
		}
		commit_now(w, v[i]);
		reply(w, commit_done, v[i]);
	}
}

static void store_addr_check(void *self, struct ns_addr_check **v, size_t n)
{
	struct world *w = self;
	for (size_t i = 0; i < n; i++) {
		v[i]->err = w->store_away ? LW_EUNAVAILABLE : 0;
		for (size_t k = 0; k < w->n_devices; k++)
			if (w->device[k]->rec.has_session &&
			    lw_devaddr_eq(world_session(w->device[k]).devaddr, v[i]->addr))
				v[i]->in_use = true;
	}
	for (size_t i = 0; i < n; i++)
		v[i]->done(v[i]);
}

/* ---- gateways, radio ---- */

static const struct ns_gateway *gateway_find(void *self, struct lw_gateway_id id)
{
	struct world *w = self;
	for (size_t i = 0; i < w->n_gateways - w->n_gateways_unseen; i++)
		if (lw_gateway_id_eq(w->gateway[i].id, id))
			return &w->gateway[i];
	return NULL;
}

static void look_done(void *req)
{
	struct ns_gateway_look *r = req;
	r->done(r);
}

static void gateway_look(void *self, struct ns_gateway_look **v, size_t n)
{
	struct world *w = self;
	w->n_gateways_unseen = w->store_away ? w->n_gateways_unseen : 0;
	w->n_gateway_looks += n;
	for (size_t i = 0; i < n; i++) {
		v[i]->err = w->store_away ? LW_EUNAVAILABLE : 0;
		reply(w, look_done, v[i]);
	}
}

static void gateway_seen(void *self, struct lw_gateway_id id, int64_t now_ns, const Common__Location *location)
{
	struct world *w = self;
	for (size_t i = 0; i < w->n_gateways; i++) {
		if (!lw_gateway_id_eq(w->gateway[i].id, id))
			continue;
		w->gateway[i].last_seen_ns = now_ns;
		if (location != NULL) {
			w->gateway[i].has_location = true;
			w->gateway[i].latitude = location->latitude;
			w->gateway[i].longitude = location->longitude;
			w->gateway[i].altitude = location->altitude;
		}
	}
}

static void gateway_region(void *self, struct lw_gateway_id id, const char *region_config_id)
{
	struct world *w = self;
	for (size_t i = 0; i < w->n_gateways; i++)
		if (lw_gateway_id_eq(w->gateway[i].id, id))
			snprintf(w->gateway[i].region_config_id, sizeof(w->gateway[i].region_config_id), "%s",
				 region_config_id);
}

static int radio_send(void *self, const struct ns_region_config *rc, const Gw__DownlinkFrame *frame)
{
	struct world *w = self;
	uint8_t buf[4096];
	if (w->broker_away)
		return LW_EUNAVAILABLE;
	assert_true(w->n_downs < WORLD_LOG);
	assert_true(gw__downlink_frame__get_packed_size(frame) <= sizeof(buf));
	size_t n = gw__downlink_frame__pack(frame, buf);
	w->down[w->n_downs++] = (struct world_down){
		.msg = gw__downlink_frame__unpack(NULL, n, buf), .rc = rc, .at_ns = rt_loop_now_ns(w->loop)};
	return 0;
}

/* ---- join server ---- */

static bool nonce_used(struct world_device *d, uint16_t nonce)
{
	for (size_t i = 0; i < d->n_nonces; i++)
		if (d->nonces[i] == nonce)
			return true;
	d->nonces[d->n_nonces++] = nonce;
	return false;
}

static void wrap_app_s_key(struct world *w, struct ns_join_ask *r, const struct lw_key *app_s_key)
{
	r->is_foreign = true;
	if (strcmp(w->join_kek, "-") == 0)
		return;
	r->app_s_key_kek = w->join_kek;
	w->join_app_s_key_len = w->join_kek[0] != '\0' ? 24 : 16;
	if (w->join_kek[0] != '\0')
		lw_rng_fill(&w->rng, w->join_app_s_key, 24); /* nobody here can look into it */
	else
		memcpy(w->join_app_s_key, app_s_key->b, 16);
	r->app_s_key =
		lw_span(lw_arena_memdup(r->arena, w->join_app_s_key, w->join_app_s_key_len), w->join_app_s_key_len);
}

static void build_accept(struct world *w, struct world_device *d, struct ns_join_ask *r, uint16_t dev_nonce)
{
	uint8_t plain[LW_JOIN_ACCEPT_MAX];
	struct lw_join_accept ja = {.join_nonce = w->join_nonce,
				    .netid = r->netid,
				    .devaddr = r->devaddr,
				    .dl_settings = lw_dl_settings_parse(r->dl_settings),
				    .rx_delay = r->rx_delay_s,
				    .has_cflist = r->has_cflist};
	memcpy(ja.cflist, r->cflist, sizeof(ja.cflist));
	w->join_nonce++; /* never the same again */
	if (w->join_is_10)
		ja.dl_settings.opt_neg = false;
	plain[0] = LW_MTYPE_JOIN_ACCEPT << 5;
	int n = lw_join_accept_encode(&ja, plain + 1, sizeof(plain) - 1);
	assert_true(n > 0);
	size_t len = (size_t)n + 1;
	struct lw_session_keys keys;
	const struct lw_key *key = d->end.is_11 ? &d->end.nwk_key : &d->end.app_key;
	struct lw_mic mic;
	if (ja.dl_settings.opt_neg) {
		struct lw_key js_int, js_enc;
		lw_keys_js(w->kc, key, d->rec.dev_eui, &js_int, &js_enc);
		mic = lw_mic_join_accept_11(w->kc, &js_int,
					    r->is_rejoin ? (enum lw_join_req_type)r->rejoin_type : LW_JOIN_REQ_JOIN,
					    r->join_eui, dev_nonce, lw_span(plain, len));
		lw_keys_session_11(w->kc, key, &d->end.app_key, ja.join_nonce, r->join_eui, dev_nonce, &keys);
	} else {
		mic = lw_mic_plain(w->kc, key, lw_span(plain, len));
		lw_keys_session_10(w->kc, key, ja.join_nonce, ja.netid, dev_nonce, &keys);
	}
	memcpy(plain + len, mic.b, 4);
	struct lw_key rejoin_int, rejoin_enc;
	lw_keys_js(w->kc, key, d->rec.dev_eui, &rejoin_int, &rejoin_enc);
	if (r->is_rejoin)
		key = &rejoin_enc;
	uint8_t *out = lw_arena_memdup(r->arena, plain, len + 4);
	lw_cipher_join_accept_encrypt(w->kc, key, plain + 1, len + 3, out + 1);
	r->accept = lw_span(out, len + 4);
	r->f_nwk_s_int_key = keys.f_nwk_s_int;
	r->s_nwk_s_int_key = keys.s_nwk_s_int;
	r->nwk_s_enc_key = keys.nwk_s_enc;
	r->is_10 = !ja.dl_settings.opt_neg;
	lw_rng_fill(&w->rng, r->session_key_id, 16);
	r->session_key_id_len = 16;
	if (w->join_kek != NULL)
		wrap_app_s_key(w, r, &keys.app_s);
}

/* Types 0 and 2 were checked by the network; the join server checks type 1. */
static void ask_rejoin(struct world *w, struct world_device *d, struct ns_join_ask *r, const struct lw_phy *phy)
{
	struct lw_key js_int, js_enc;
	lw_keys_js(w->kc, &d->end.nwk_key, d->rec.dev_eui, &js_int, &js_enc);
	assert_int_equal(phy->u.rejoin.type, r->rejoin_type);
	assert_true(lw_join_eui_eq(r->join_eui, d->rec.join_eui));
	if (r->rejoin_type == 1 && !lw_mic_eq(lw_mic_plain(w->kc, &js_int, phy->msg), phy->mic))
		r->result = NS_JOIN_MIC;
	else
		build_accept(w, d, r, phy->u.rejoin.rj_count);
}

static void join_ask(void *self, struct ns_join_ask **v, size_t n)
{
	struct world *w = self;
	for (size_t i = 0; i < n; i++) {
		struct ns_join_ask *r = v[i];
		struct world_device *d = find(w, r->dev_eui);
		struct lw_phy phy;
		r->result = w->join_result;
		if (r->result == NS_JOIN_OK) {
			assert_int_equal(lw_phy_parse(r->phy, &phy), 0);
			const struct lw_key *key = d->end.is_11 ? &d->end.nwk_key : &d->end.app_key;
			uint16_t nonce = phy.u.join_request.dev_nonce;
			if (r->is_rejoin) {
				ask_rejoin(w, d, r, &phy);
				r->done(r);
				continue;
			}
			if (!lw_mic_eq(lw_mic_plain(w->kc, key, phy.msg), phy.mic))
				r->result = NS_JOIN_MIC;
			else if (nonce_used(d, nonce))
				r->result = NS_JOIN_NONCE_REUSED;
			else
				build_accept(w, d, r, nonce);
		}
		r->done(r);
	}
}

/* ---- the rest ---- */

static void geo_resolve(void *self, struct ns_geo_ask *r)
{
	struct world *w = self;
	r->err = w->geo_answers ? 0 : LW_ENOTFOUND;
	r->location.latitude = 52.5;
	r->location.longitude = 13.4;
	r->location.accuracy = 120;
	snprintf(r->method, sizeof(r->method), "rssi");
	r->done(r);
}

static void log_frame(void *self, const Longwave__Ns__V1__Frame *frame)
{
	struct world *w = self;
	uint8_t buf[16384];
	assert_true(w->n_frames < WORLD_LOG);
	assert_true(longwave__ns__v1__frame__get_packed_size(frame) <= sizeof(buf));
	size_t n = longwave__ns__v1__frame__pack(frame, buf);
	w->frame[w->n_frames] = longwave__ns__v1__frame__unpack(NULL, n, buf);
	assert_non_null(w->frame[w->n_frames]);
	w->n_frames++;
}

static void log_outcome(void *self, const char *flow, Longwave__V1__Outcome outcome, Longwave__V1__Reason reason)
{
	struct world *w = self;
	(void)flow;
	(void)outcome;
	assert_true((unsigned)reason < 256);
	w->outcomes[reason]++;
}

static void journal_done(void *self, uint64_t position)
{
	struct world *w = self;
	assert_true(w->n_journal_done < WORLD_LOG);
	w->journal_done[w->n_journal_done++] = position;
}

static void journal_retry(void *self, uint64_t position)
{
	struct world *w = self;
	(void)position;
	w->n_journal_retry++;
}

struct world *world_new(void)
{
	struct world *w = lw_xcalloc(1, sizeof(*w));
	lw_list_init(&w->laters);
	w->loop = rt_loop_new_virtual(START_NS);
	lw_rng_init_seeded(&w->rng, 7);
	w->schema = lw_schema_new();
	w->kc = lw_keycache_new(256);
	w->ports.store = (struct ns_store_port){
		w, store_fetch, store_queue_head, store_commit, store_addr_check, store_forget, false};
	w->ports.gateways = (struct ns_gateway_port){w, gateway_find, gateway_look, gateway_seen, gateway_region};
	w->ports.radio = (struct ns_radio_port){w, radio_send};
	w->ports.join = (struct ns_join_port){w, join_ask};
	w->ports.geo = (struct ns_geo_port){w, geo_resolve};
	w->ports.log = (struct ns_log_port){w, log_frame, log_outcome};
	w->ports.journal = (struct ns_journal_port){w, journal_done, journal_retry};
	for (size_t i = 0; i < ns_region_configs_count && i < 64; i++)
		w->regions[w->cfg.n_regions++] = &ns_region_configs[i];
	size_t n = w->cfg.n_regions;
	ns_flow_config_defaults(&w->cfg);
	w->cfg.regions = w->regions;
	w->cfg.n_regions = n;
	w->cfg.schema = w->schema;
	w->flows = ns_flows_new(w->loop, &w->ports, &w->cfg, &w->rng);
	world_gateway(w, UINT64_C(0x0102030405060701));
	return w;
}

void world_restart(struct world *w)
{
	ns_flows_free(w->flows);
	forget_answers(w);
	w->flows = ns_flows_new(w->loop, &w->ports, &w->cfg, &w->rng);
}

void world_forget(struct world *w)
{
	for (size_t i = 0; i < w->n_events; i++)
		longwave__ns__v1__event__free_unpacked(w->event[i], NULL);
	for (size_t i = 0; i < w->n_frames; i++)
		longwave__ns__v1__frame__free_unpacked(w->frame[i], NULL);
	for (size_t i = 0; i < w->n_downs; i++)
		gw__downlink_frame__free_unpacked(w->down[i].msg, NULL);
	w->n_events = w->n_frames = w->n_downs = w->n_journal_done = 0;
}

void world_free(struct world *w)
{
	ns_flows_free(w->flows);
	forget_answers(w);
	world_forget(w);
	for (size_t i = 0; i < w->n_devices; i++) {
		lw_buf_deinit(&w->device[i]->blob);
		free(w->device[i]);
	}
	lw_keycache_free(w->kc);
	lw_schema_free(w->schema);
	rt_loop_free(w->loop);
	free(w);
}

struct lw_gateway_id world_gateway(struct world *w, uint64_t id)
{
	assert_true(w->n_gateways < WORLD_GATEWAYS);
	w->gateway[w->n_gateways].id = lw_gateway_id_from_u64(id);
	w->gateway[w->n_gateways].downlink_priority = 1;
	return w->gateway[w->n_gateways++].id;
}

struct world_device *world_device(struct world *w, enum lw_mac_version version)
{
	assert_true(w->n_devices < WORLD_DEVICES);
	struct world_device *d = lw_xcalloc(1, sizeof(*d));
	w->device[w->n_devices++] = d;
	lw_buf_init(&d->blob, NS_SESSION_BLOB_MAX);
	lw_rng_fill(&w->rng, d->rec.dev_eui.b, 8);
	lw_rng_fill(&w->rng, d->rec.join_eui.b, 8);
	d->rec.profile.region = LW_REGION_EU868;
	d->rec.profile.mac_version = version;
	d->rec.profile.supports_otaa = true;
	d->end.kc = w->kc;
	d->end.dev_eui = d->rec.dev_eui;
	d->end.join_eui = d->rec.join_eui;
	d->end.is_11 = version >= LW_MAC_1_1_0;
	lw_rng_fill(&w->rng, d->end.app_key.b, 16);
	lw_rng_fill(&w->rng, d->end.nwk_key.b, 16);
	return d;
}

void world_activate(struct world_device *d, const char *region_config)
{
	Longwave__Ns__V1__Session s = LONGWAVE__NS__V1__SESSION__INIT;
	struct ns_session out;
	const char *why;
	char addr[LW_DEVADDR_TEXT];
	struct lw_session_keys *k = &d->end.keys;
	d->rec.profile.supports_otaa = false;
	d->end.f_cnt_up = 0;
	s.dev_addr = lw_devaddr_print(d->end.devaddr, addr);
	s.f_nwk_s_int_key = (ProtobufCBinaryData){16, k->f_nwk_s_int.b};
	s.s_nwk_s_int_key = (ProtobufCBinaryData){16, k->s_nwk_s_int.b};
	s.nwk_s_enc_key = (ProtobufCBinaryData){16, k->nwk_s_enc.b};
	assert_int_equal(ns_activate(&s, &d->rec.profile, ns_region_config_find(region_config), &out, &why), 0);
	world_session_put(d, &out);
}

void world_abp(struct world *w, struct world_device *d, const char *region_config)
{
	struct lw_session_keys *k = &d->end.keys;
	lw_rng_fill(&w->rng, k, sizeof(*k));
	if (!d->end.is_11)
		k->s_nwk_s_int = k->nwk_s_enc = k->f_nwk_s_int;
	d->end.devaddr.v = lw_rng_u32(&w->rng) & 0x01FFFFFF;
	world_activate(d, region_config);
}

/* ---- time and air ---- */

void world_set_clock(struct world *w, int64_t by_s)
{
	((struct lw_clock *)(uintptr_t)rt_loop_clock(w->loop))->manual_now_ns += by_s * LW_NS_PER_S;
}

void world_pass(struct world *w, uint32_t ms)
{
	rt_loop_turn(w->loop);
	rt_loop_advance(w->loop, ms);
	rt_loop_turn(w->loop);
}

struct air world_air(void)
{
	return (struct air){
		.hz = 868100000, .dr = 5, .snr = 8.0, .rssi = -60, .region = "eu868", .context_hex = "01020304"};
}

static size_t pack_uplink(struct world *w, const Gw__UplinkFrame *m, bool json, uint8_t *out, size_t cap)
{
	if (!json) {
		assert_true(gw__uplink_frame__get_packed_size(m) <= cap);
		return gw__uplink_frame__pack(m, out);
	}
	struct lw_buf b;
	lw_buf_init(&b, cap);
	assert_int_equal(lw_pbjson_encode(w->schema, &m->base, LW_PBJSON_GW, &b), 0);
	size_t n = b.n;
	memcpy(out, b.p, n);
	lw_buf_deinit(&b);
	return n;
}

static const struct ns_region_config *region_of(const struct world *w, const char *id)
{
	for (size_t i = 0; i < w->cfg.n_regions; i++)
		if (strcmp(w->regions[i]->id, id) == 0)
			return w->regions[i];
	fail_msg("no region %s", id);
	return NULL;
}

void world_receive(struct world *w, const struct air *air, const struct frame *f)
{
	const struct ns_region_config *rc = region_of(w, air->region);
	const struct lw_modulation *dr = lw_region_dr(lw_region_by_id(rc->region), LW_UP, air->dr);
	Gw__UplinkFrame m = GW__UPLINK_FRAME__INIT;
	Gw__UplinkTxInfo tx = GW__UPLINK_TX_INFO__INIT;
	Gw__UplinkRxInfo rx = GW__UPLINK_RX_INFO__INIT;
	Gw__Modulation mod = GW__MODULATION__INIT;
	Gw__LoraModulationInfo lora = GW__LORA_MODULATION_INFO__INIT;
	Gw__FskModulationInfo fsk = GW__FSK_MODULATION_INFO__INIT;
	Gw__LrFhssModulationInfo fhss = GW__LR_FHSS_MODULATION_INFO__INIT;
	Google__Protobuf__Duration gps = GOOGLE__PROTOBUF__DURATION__INIT;
	Google__Protobuf__Timestamp clock = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	char id[LW_EUI_TEXT];
	uint8_t context[NS_CONTEXT_MAX];
	uint8_t buf[2048];
	struct ns_inbox in = {.region = rc,
			      .journal_position = ++w->next_position,
			      .received_at_ns = rt_loop_now_ns(w->loop),
			      .is_replay = air->replay || air->said_again,
			      .said_again = air->said_again};
	m.phy_payload = (ProtobufCBinaryData){f->n, (uint8_t *)(uintptr_t)f->b};
	tx.frequency = air->hz;
	lora.bandwidth = dr->bw_hz;
	lora.spreading_factor = dr->sf;
	lora.code_rate = GW__CODE_RATE__CR_4_5;
	fsk.datarate = dr->bitrate_bps;
	fhss.operating_channel_width = dr->bw_hz;
	fhss.code_rate = (Gw__CodeRate)dr->cr;
	switch (dr->kind) {
	case LW_MOD_FSK:
		mod.parameters_case = GW__MODULATION__PARAMETERS_FSK;
		mod.fsk = &fsk;
		break;
	case LW_MOD_LRFHSS:
		mod.parameters_case = GW__MODULATION__PARAMETERS_LR_FHSS;
		mod.lr_fhss = &fhss;
		break;
	default:
		mod.parameters_case = GW__MODULATION__PARAMETERS_LORA;
		mod.lora = &lora;
	}
	tx.modulation = &mod;
	m.tx_info = &tx;
	rx.gateway_id = lw_gateway_id_print(w->gateway[air->gateway].id, id);
	rx.uplink_id = lw_rng_u32(&w->rng);
	rx.antenna = air->antenna;
	rx.board = air->board;
	rx.rssi = air->rssi;
	rx.snr = (float)air->snr;
	int n = lw_hex_decode(air->context_hex, strlen(air->context_hex), context, sizeof(context));
	rx.context = (ProtobufCBinaryData){(size_t)n, context};
	rx.crc_status = GW__CRCSTATUS__CRC_OK;
	if (air->gps_s != 0) {
		gps.seconds = air->gps_s;
		rx.time_since_gps_epoch = &gps;
	}
	if (air->clock_s != 0) {
		clock.seconds = rt_loop_now_ns(w->loop) / INT64_C(1000000000) + air->clock_s;
		clock.nanos = (int32_t)(rt_loop_now_ns(w->loop) % INT64_C(1000000000));
		rx.gw_time = &clock;
	}
	m.rx_info = &rx;
	size_t len = pack_uplink(w, &m, air->json, buf, sizeof(buf));
	assert_int_equal(ns_flows_uplink(w->flows, &in, lw_span(buf, len)), 0);
	rt_loop_turn(w->loop);
}

void world_up(struct world *w, struct world_device *d, const struct up *up)
{
	struct frame f;
	struct air air = world_air();
	char context[9];
	struct up u = *up;
	snprintf(context, sizeof(context), "%08x", d->end.f_cnt_up * 1000 + 1);
	air.context_hex = context;
	if (u.dr != 0)
		air.dr = u.dr;
	u.dr = air.dr;
	device_frame_up(&d->end, &u, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
}

void world_ack_at(struct world *w, size_t i, const char *const *statuses)
{
	assert_true(i < w->n_downs);
	const struct world_down *down = &w->down[i];
	Gw__DownlinkTxAck m = GW__DOWNLINK_TX_ACK__INIT;
	Gw__DownlinkTxAckItem item[2];
	Gw__DownlinkTxAckItem *items[2];
	uint8_t buf[256];
	m.downlink_id = down->msg->downlink_id;
	m.gateway_id = down->msg->gateway_id;
	m.items = items;
	for (; statuses[m.n_items] != NULL; m.n_items++) {
		const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value_by_name(
			&gw__tx_ack_status__descriptor, statuses[m.n_items]);
		assert_non_null(v);
		gw__downlink_tx_ack_item__init(&item[m.n_items]);
		item[m.n_items].status = (Gw__TxAckStatus)v->value;
		items[m.n_items] = &item[m.n_items];
	}
	struct ns_inbox in = {.region = down->rc, .received_at_ns = rt_loop_now_ns(w->loop)};
	size_t n = gw__downlink_tx_ack__pack(&m, buf);
	assert_int_equal(ns_flows_tx_ack(w->flows, &in, lw_span(buf, n)), 0);
	world_pass(w, 0);
	world_pass(w, w->store_ms * 4);
}

void world_ack(struct world *w, const char *const *statuses)
{
	assert_true(w->n_downs > 0);
	world_ack_at(w, w->n_downs - 1, statuses);
}

void world_ack_ok(struct world *w)
{
	world_ack(w, (const char *const[]){"OK", NULL});
}

void world_join(struct world *w, struct world_device *d)
{
	struct frame f;
	struct air air = world_air();
	struct lw_join_accept ja;
	size_t before = w->n_downs;
	d->end.dev_nonce++;
	device_frame_join(&d->end, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_int_equal(w->n_downs, before + 1);
	const Gw__DownlinkFrame *m = world_last_down(w);
	device_accept(&d->end, m->items[0]->phy_payload.data, m->items[0]->phy_payload.len, &ja);
	world_ack_ok(w);
}

/* ---- queue ---- */

static void encrypt(struct world *w, struct world_device *d, struct world_item *it)
{
	struct ns_session now = world_session(d), s;
	ns_session_expected(&now, &s);
	struct ns_queue_item *item = &it->item;
	size_t n = item->sealed.n;
	item->first_f_cnt = ns_session_next_f_cnt_down(&s, true);
	item->n_payloads = NS_QUEUE_PAYLOADS;
	memcpy(item->session_key_id, s.session_key_id, s.session_key_id_len);
	item->session_key_id_len = s.session_key_id_len;
	for (unsigned i = 0; i < NS_QUEUE_PAYLOADS; i++) {
		lw_cipher_frm(w->kc, &d->end.keys.app_s, LW_DOWN, d->end.devaddr, item->first_f_cnt + i, it->sealed, n,
			      it->data[i]);
		item->payload[i] = lw_span(it->data[i], n);
	}
}

struct lw_uuid world_enqueue(struct world *w, struct world_device *d, uint8_t f_port, bool confirmed, const char *hex)
{
	assert_true(d->n_queue < 16);
	struct world_item *it = &d->queue[d->n_queue++];
	memset(it, 0, sizeof(*it));
	it->item.id = lw_uuid_new(&w->rng);
	it->item.f_port = f_port;
	it->item.confirmed = confirmed;
	int n = lw_hex_decode(hex, strlen(hex), it->sealed, sizeof(it->sealed));
	assert_true(n >= 0);
	it->item.sealed = lw_span(it->sealed, (size_t)n);
	if (d->rec.has_session)
		encrypt(w, d, it);
	ns_flows_enqueue_hint(w->flows, d->rec.dev_eui);
	rt_loop_turn(w->loop);
	return it->item.id;
}

void world_reencrypt(struct world *w, struct world_device *d)
{
	for (size_t i = 0; i < d->n_queue; i++)
		if (d->queue[i].item.state == NS_ITEM_QUEUED)
			encrypt(w, d, &d->queue[i]);
	ns_flows_enqueue_hint(w->flows, d->rec.dev_eui);
	rt_loop_turn(w->loop);
}

/* ---- looking ---- */

const Gw__DownlinkFrame *world_last_down(const struct world *w)
{
	assert_true(w->n_downs > 0);
	return w->down[w->n_downs - 1].msg;
}

struct heard world_hear(struct world *w, struct world_device *d, unsigned i, uint32_t f_cnt)
{
	struct heard h;
	const Gw__DownlinkFrame *m = world_last_down(w);
	assert_true(i < m->n_items);
	device_hear(&d->end, m->items[i]->phy_payload.data, m->items[i]->phy_payload.len, f_cnt, d->end.f_cnt_up - 1,
		    &h);
	return h;
}

const Longwave__Ns__V1__Frame *world_last_uplink(const struct world *w)
{
	for (size_t i = w->n_frames; i > 0; i--)
		if (w->frame[i - 1]->uplink)
			return w->frame[i - 1];
	fail_msg("no uplink on record");
	return NULL;
}

const Longwave__Ns__V1__Frame *world_last_downlink_record(const struct world *w)
{
	for (size_t i = w->n_frames; i > 0; i--)
		if (!w->frame[i - 1]->uplink)
			return w->frame[i - 1];
	fail_msg("no downlink on record");
	return NULL;
}

size_t world_count(const struct world *w, Longwave__Ns__V1__Event__KindCase kind)
{
	size_t n = 0;
	for (size_t i = 0; i < w->n_events; i++)
		n += w->event[i]->kind_case == kind;
	return n;
}

const Longwave__Ns__V1__Event *world_last(const struct world *w, Longwave__Ns__V1__Event__KindCase kind)
{
	for (size_t i = w->n_events; i > 0; i--)
		if (w->event[i - 1]->kind_case == kind)
			return w->event[i - 1];
	fail_msg("no such event");
	return NULL;
}

void assert_outcome(const struct world *w, Longwave__V1__Outcome outcome, Longwave__V1__Reason reason)
{
	const Longwave__Ns__V1__Frame *f = world_last_uplink(w);
	assert_int_equal(f->outcome, outcome);
	assert_int_equal(f->reason, reason);
}
