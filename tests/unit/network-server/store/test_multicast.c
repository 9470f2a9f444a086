/* Multicast groups in the store, on both databases: counters, the lease, copies, members. */
#include <string.h>

#include "tests/fixtures/sqlite_work.h"
#include "tests/unit/network-server/store/rig.h"

static char group_text[] = "aaaaaaaa-0000-0000-0000-000000000001";
static char other_text[] = "aaaaaaaa-0000-0000-0000-000000000002";

static int setup_lite(void **state)
{
	*state = rig_new(false, 100);
	return 0;
}

static int setup_pg(void **state)
{
	*state = rig_new(true, 100);
	return 0;
}

static int setup_short(void **state, bool pg)
{
	rig_fix.max_queue = 3;
	*state = rig_new(pg, 100);
	rig_fix.max_queue = 0;
	return 0;
}

static int setup_short_lite(void **state)
{
	return setup_short(state, false);
}

static int setup_short_pg(void **state)
{
	return setup_short(state, true);
}

static int teardown(void **state)
{
	rig_free(*state);
	return 0;
}

static struct lw_uuid uuid(const char *text)
{
	struct lw_uuid id;
	assert_int_equal(lw_uuid_parse(&id, text), 0);
	return id;
}

static void put_group_as(struct rig *r, char *id, const char *session, uint32_t f_cnt)
{
	Longwave__Ns__V1__MulticastGroup g = LONGWAVE__NS__V1__MULTICAST_GROUP__INIT;
	Longwave__Ns__V1__Change c = LONGWAVE__NS__V1__CHANGE__INIT;
	static uint8_t key[16] = {1, 2, 3};
	g.id = id;
	g.region = COMMON__REGION__EU868;
	g.mc_addr = (char[]){"01020304"};
	g.mc_nwk_s_key = (ProtobufCBinaryData){16, key};
	g.session = (ProtobufCBinaryData){strlen(session), (uint8_t *)(uintptr_t)session};
	g.f_cnt = f_cnt;
	g.dr = 3;
	g.freq_hz = 868300000;
	g.mode = LONGWAVE__NS__V1__MULTICAST_GROUP__MODE__CLASS_C_GPS;
	c.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_GROUP;
	c.put_multicast_group = &g;
	rig_apply_one(r, &c);
}

static void put_group(struct rig *r, const char *session, uint32_t f_cnt)
{
	put_group_as(r, group_text, session, f_cnt);
}

static struct rig_wait member(struct rig *r, char *group, const char *dev_eui, const char *gateway, bool put)
{
	Longwave__Ns__V1__MulticastMember m = LONGWAVE__NS__V1__MULTICAST_MEMBER__INIT;
	Longwave__Ns__V1__Change c = LONGWAVE__NS__V1__CHANGE__INIT;
	Longwave__Ns__V1__Change *v[1] = {&c};
	m.multicast_group_id = group;
	m.dev_eui = (char *)(uintptr_t)dev_eui;
	m.gateway_id = (char *)(uintptr_t)gateway;
	c.change_case = put ? LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_MEMBER
			    : LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_MULTICAST_MEMBER;
	c.put_multicast_member = &m;
	return rig_apply(r, v, 1);
}

struct enqueued {
	struct rig_wait w;
	uint32_t f_cnt;
};

static void on_enqueued(void *arg, int err, uint32_t f_cnt)
{
	struct enqueued *e = arg;
	e->w.err = err;
	e->w.done = true;
	e->f_cnt = f_cnt;
}

/* n payloads from `first`; each is its counter. */
static void send_item(struct rig *r, char *group, uint32_t first, size_t n, struct enqueued *e)
{
	Longwave__Ns__V1__MulticastItem item = LONGWAVE__NS__V1__MULTICAST_ITEM__INIT;
	ProtobufCBinaryData payloads[16];
	uint8_t data[16];
	char id[LW_UUID_TEXT];
	*e = (struct enqueued){.f_cnt = 0};
	for (size_t i = 0; i < n; i++) {
		data[i] = (uint8_t)(first + i);
		payloads[i] = (ProtobufCBinaryData){1, &data[i]};
	}
	item.id = lw_uuid_print(lw_uuid_new(&r->rng), id);
	item.multicast_group_id = group;
	item.f_port = 5;
	item.first_f_cnt = first;
	item.n_frm_payloads = n;
	item.frm_payloads = payloads;
	ns_store_enqueue_multicast(r->store, &item, on_enqueued, e);
}

static int enqueue(struct rig *r, uint32_t first, size_t n, uint32_t *f_cnt)
{
	struct enqueued e;
	send_item(r, group_text, first, n, &e);
	rig_wait(r, &e.w);
	*f_cnt = e.f_cnt;
	return e.w.err;
}

struct got {
	struct rig_wait w;
	uint32_t f_cnt;
};

static void on_got(void *arg, int err, const Longwave__Ns__V1__MulticastGroup *g)
{
	struct got *got = arg;
	got->w.done = true;
	got->w.err = err;
	got->f_cnt = g ? g->f_cnt : 0;
}

static struct got get(struct rig *r, const char *id)
{
	struct got got = {.f_cnt = 0};
	struct lw_arena a;
	lw_arena_init(&a, NULL, 0, 1 << 20);
	ns_store_get_multicast(r->store, uuid(id), &a, on_got, &got);
	rig_wait(r, &got.w);
	lw_arena_deinit(&a);
	return got;
}

static void on_taken(struct ns_mc_take *req)
{
	((struct rig_wait *)req->owner)->done = true;
}

static void take_at(struct rig *r, struct lw_arena *a, struct ns_mc_take *t, int64_t now_s, int64_t until_s)
{
	struct rig_wait w = {0};
	struct ns_multicast_port p;
	struct ns_mc_take *v[1] = {t};
	ns_store_fill_multicast_port(r->store, &p);
	*t = (struct ns_mc_take){.group_id = uuid(group_text),
				 .now_ns = now_s * LW_NS_PER_S,
				 .lease_until_ns = until_s * LW_NS_PER_S,
				 .arena = a,
				 .done = on_taken,
				 .owner = &w};
	p.take(p.self, v, 1);
	rig_wait(r, &w);
}

static void on_committed(struct ns_mc_change *req)
{
	((struct rig_wait *)req->owner)->done = true;
}

static int commit(struct rig *r, struct ns_mc_change c)
{
	struct rig_wait w = {0};
	struct ns_multicast_port p;
	struct ns_mc_change *v[1] = {&c};
	ns_store_fill_multicast_port(r->store, &p);
	c.group_id = uuid(group_text);
	c.done = on_committed;
	c.owner = &w;
	p.commit(p.self, v, 1);
	rig_wait(r, &w);
	return c.err;
}

struct listed {
	struct rig_wait w;
	size_t n;
	uint32_t f_cnt[8];
	uint8_t byte[8];
	size_t total;
};

static void on_list(void *arg, int err, Longwave__Ns__V1__MulticastItem **v, size_t n, size_t total)
{
	struct listed *l = arg;
	l->total = total;
	l->w.done = true;
	l->w.err = err;
	l->n = n;
	for (size_t i = 0; i < n && i < 8; i++) {
		l->f_cnt[i] = v[i]->f_cnt;
		assert_int_equal(v[i]->n_frm_payloads, 1);
		l->byte[i] = v[i]->frm_payloads[0].data[0];
	}
}

static struct listed list_some(struct rig *r, size_t limit)
{
	struct listed l = {.n = 0};
	struct lw_arena a;
	lw_arena_init(&a, NULL, 0, 1 << 20);
	ns_store_list_multicast(r->store, uuid(group_text), limit, &a, on_list, &l);
	rig_wait(r, &l.w);
	lw_arena_deinit(&a);
	assert_int_equal(l.w.err, 0);
	return l;
}

static struct listed list(struct rig *r)
{
	return list_some(r, 1000);
}

/* What does not fit is refused, and takes no counter. */
static void test_full(void **state)
{
	struct rig *r = *state;
	struct enqueued e[5];
	uint32_t f_cnt;
	put_group(r, "a", 0);
	for (size_t i = 0; i < 5; i++)
		send_item(r, group_text, 0, 16, &e[i]);
	for (size_t i = 0; i < 5; i++)
		rig_wait(r, &e[i].w);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(e[i].w.err, i < 3 ? 0 : LW_EFULL);
	assert_int_equal(get(r, group_text).f_cnt, 3);
	/* Another group has its own room. */
	put_group_as(r, other_text, "a", 0);
	send_item(r, other_text, 0, 16, &e[0]);
	rig_wait(r, &e[0].w);
	assert_int_equal(e[0].w.err, 0);
	struct listed l = list_some(r, 2);
	assert_int_equal(l.n, 2);
	assert_true(l.f_cnt[0] == 0 && l.f_cnt[1] == 1);
	assert_int_equal(l.total, 3);
	struct rig_wait w = {0};
	ns_store_flush_multicast(r->store, uuid(group_text), rig_done, &w);
	rig_wait(r, &w);
	assert_int_equal(enqueue(r, 3, 16, &f_cnt), 0);
	assert_int_equal(f_cnt, 3);
}

/* Every item has a counter of its own, however many are enqueued at once, and the payload that is encrypted for it. */
static void test_counters(void **state)
{
	struct rig *r = *state;
	struct enqueued e[5];
	uint32_t f_cnt;
	put_group(r, "a", 10);
	assert_int_equal(get(r, group_text).f_cnt, 10);
	for (size_t i = 0; i < 5; i++)
		send_item(r, group_text, 10, 4, &e[i]);
	for (size_t i = 0; i < 5; i++)
		rig_wait(r, &e[i].w);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(e[i].w.err, 0);
		assert_int_equal(e[i].f_cnt, 10 + i);
	}
	assert_int_equal(e[4].w.err, LW_ECONFLICT); /* its payloads are used up */
	assert_int_equal(get(r, group_text).f_cnt, 14);
	assert_int_equal(enqueue(r, 15, 4, &f_cnt), LW_ECONFLICT); /* and nobody skips one */
	struct listed l = list(r);
	assert_int_equal(l.n, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(l.f_cnt[i], 10 + i);
		assert_int_equal(l.byte[i], 10 + i);
	}
	send_item(r, other_text, 0, 1, &e[0]);
	rig_wait(r, &e[0].w);
	assert_int_equal(e[0].w.err, LW_ENOTFOUND);
	assert_int_equal(get(r, other_text).w.err, LW_ENOTFOUND);
	/* a new start does not know better */
	rig_reopen(r);
	assert_int_equal(get(r, group_text).f_cnt, 14);
}

/* An update may be older than the counter; new keys begin anew, and what was encrypted with the old ones is of no use.
 */
static void test_update(void **state)
{
	struct rig *r = *state;
	uint32_t f_cnt;
	put_group(r, "a", 10);
	assert_int_equal(enqueue(r, 10, 1, &f_cnt), 0);
	put_group(r, "a", 10);
	assert_int_equal(get(r, group_text).f_cnt, 11);
	put_group(r, "a", 100);
	assert_int_equal(get(r, group_text).f_cnt, 100);
	assert_int_equal(list(r).n, 1);
	put_group(r, "b", 3);
	assert_int_equal(get(r, group_text).f_cnt, 3);
	assert_int_equal(list(r).n, 0);
}

/* One network-server at a time. */
static void test_lease(void **state)
{
	struct rig *r = *state;
	struct ns_mc_take t;
	struct lw_arena a;
	lw_arena_init(&a, NULL, 0, 1 << 20);
	take_at(r, &a, &t, 100, 160);
	assert_int_equal(t.err, LW_ENOTFOUND);
	put_group(r, "a", 10);
	take_at(r, &a, &t, 100, 160);
	assert_int_equal(t.err, 0);
	assert_int_equal(t.group.mode, NS_MC_C_GPS);
	assert_int_equal(t.group.addr.v, 0x01020304);
	assert_int_equal(t.group.nwk_s_key.b[2], 3);
	assert_false(t.has_item);
	strcpy(r->origin, "ns-other");
	rig_reopen(r);
	take_at(r, &a, &t, 120, 180);
	assert_int_equal(t.err, LW_ECONFLICT);
	assert_true(t.leased_until_ns == 160 * LW_NS_PER_S);
	assert_int_equal(commit(r, (struct ns_mc_change){.needs_lease = true, .lease_until_ns = 1}), LW_ECONFLICT);
	take_at(r, &a, &t, 160, 220);
	assert_int_equal(t.err, 0);
	/* the first one comes back too late */
	strcpy(r->origin, "ns-test");
	rig_reopen(r);
	uint32_t f_cnt;
	assert_int_equal(enqueue(r, 10, 1, &f_cnt), 0);
	struct ns_mc_copy copy = {.gateway_id = lw_gateway_id_from_u64(7), .due_ns = LW_NS_PER_S};
	assert_int_equal(commit(r, (struct ns_mc_change){.needs_lease = true,
							 .lease_until_ns = 300 * LW_NS_PER_S,
							 .plan = true,
							 .put = &copy,
							 .n_put = 1}),
			 LW_ECONFLICT);
	take_at(r, &a, &t, 230, 290);
	assert_int_equal(t.err, 0);
	assert_true(t.has_item);
	assert_false(t.item.planned);
	assert_int_equal(t.n_copies, 0);
	lw_arena_deinit(&a);
}

/* From enqueued to gone: planned with two gateways, one parked, the item behind it passes. */
static void test_copies(void **state)
{
	struct rig *r = *state;
	struct ns_mc_take t;
	struct lw_arena a;
	uint32_t f_cnt;
	lw_arena_init(&a, NULL, 0, 1 << 20);
	put_group(r, "a", 10);
	assert_int_equal(enqueue(r, 10, 1, &f_cnt), 0);
	assert_int_equal(enqueue(r, 11, 1, &f_cnt), 0);
	take_at(r, &a, &t, 100, 160);
	assert_true(t.has_item && !t.item.planned);
	assert_int_equal(t.item.f_cnt, 10);
	assert_int_equal(t.item.payload.n, 1);
	assert_int_equal(t.item.payload.p[0], 10);
	assert_int_equal(t.item.f_pending, -1);
	assert_true(t.more);
	struct lw_uuid first = t.item.id;
	struct ns_mc_copy copies[2] = {
		{.gateway_id = lw_gateway_id_from_u64(7), .due_ns = 130 * LW_NS_PER_S, .attempts = 1},
		{.gateway_id = lw_gateway_id_from_u64(UINT64_C(0xFFFFFFFFFFFFFFFE)),
		 .due_ns = 140 * LW_NS_PER_S,
		 .parked = true}};
	assert_int_equal(commit(r, (struct ns_mc_change){.item_id = first,
							 .needs_lease = true,
							 .lease_until_ns = 160 * LW_NS_PER_S,
							 .not_before_ns = 105 * LW_NS_PER_S,
							 .plan = true,
							 .fix_f_pending = true,
							 .f_pending = true,
							 .put = copies,
							 .n_put = 2}),
			 0);
	take_at(r, &a, &t, 101, 160);
	assert_true(t.item.planned);
	assert_int_equal(t.item.f_pending, 1);
	assert_true(t.not_before_ns == 105 * LW_NS_PER_S);
	assert_int_equal(t.n_copies, 2);
	assert_true(lw_gateway_id_eq(t.copies[0].gateway_id, copies[0].gateway_id));
	assert_int_equal(t.copies[0].attempts, 1);
	assert_true(t.copies[1].parked && t.copies[1].due_ns == 140 * LW_NS_PER_S);
	assert_true(lw_gateway_id_eq(t.copies[1].gateway_id, copies[1].gateway_id));
	/* the first gateway is through, the other one is not heard */
	assert_int_equal(
		commit(r, (struct ns_mc_change){.item_id = first, .remove = &copies[0].gateway_id, .n_remove = 1}), 0);
	take_at(r, &a, &t, 102, 160);
	assert_int_equal(t.item.f_cnt, 11);
	assert_int_equal(t.item.f_pending, -1);
	assert_false(t.more);
	assert_int_equal(t.n_parked, 1);
	assert_true(lw_gateway_id_eq(t.parked[0].gateway_id, copies[1].gateway_id));
	assert_int_equal(t.parked[0].f_cnt, 10);
	assert_true(t.parked[0].due_ns == 140 * LW_NS_PER_S);
	/* another gateway is back, then this one */
	struct ns_mc_change wake = {.item_id = t.item.id,
				    .needs_lease = true,
				    .lease_until_ns = 160 * LW_NS_PER_S,
				    .wake = &copies[0].gateway_id,
				    .n_wake = 1,
				    .wake_ns = 110 * LW_NS_PER_S};
	assert_int_equal(commit(r, wake), 0);
	take_at(r, &a, &t, 110, 160);
	assert_int_equal(t.item.f_cnt, 11);
	wake.wake = &copies[1].gateway_id;
	assert_int_equal(commit(r, wake), 0);
	take_at(r, &a, &t, 110, 160);
	assert_int_equal(t.item.f_cnt, 10);
	assert_int_equal(t.n_parked, 0);
	take_at(r, &a, &t, 140, 160);
	assert_int_equal(t.item.f_cnt, 10);
	assert_int_equal(t.n_copies, 1);
	assert_int_equal(list(r).n, 2);
	assert_int_equal(
		commit(r, (struct ns_mc_change){.item_id = first, .remove = &copies[1].gateway_id, .n_remove = 1}), 0);
	assert_int_equal(list(r).n, 1);
	/* what comes late for an item that is gone makes nothing of it */
	assert_int_equal(commit(r, (struct ns_mc_change){.item_id = first, .put = copies, .n_put = 1}), 0);
	take_at(r, &a, &t, 150, 160);
	assert_int_equal(t.item.f_cnt, 11);
	assert_int_equal(commit(r, (struct ns_mc_change){.item_id = t.item.id,
							 .needs_lease = true,
							 .lease_until_ns = 1,
							 .delete_item = true}),
			 0);
	take_at(r, &a, &t, 150, 160);
	assert_false(t.has_item);
	lw_arena_deinit(&a);
}

static void on_devices(struct ns_mc_devices *req)
{
	((struct rig_wait *)req->owner)->done = true;
}

static size_t n_devices(struct rig *r)
{
	struct rig_wait w = {0};
	struct ns_multicast_port p;
	struct lw_arena a;
	lw_arena_init(&a, NULL, 0, 1 << 20);
	ns_store_fill_multicast_port(r->store, &p);
	struct ns_mc_devices req = {.group_id = uuid(group_text), .arena = &a, .done = on_devices, .owner = &w};
	p.devices(p.self, &req);
	rig_wait(r, &w);
	assert_int_equal(req.err, 0);
	size_t n = req.n;
	lw_arena_deinit(&a);
	return n;
}

static size_t n_gateways(struct rig *r)
{
	struct ns_mc_take t;
	struct lw_arena a;
	lw_arena_init(&a, NULL, 0, 1 << 20);
	take_at(r, &a, &t, 100, 160);
	lw_arena_deinit(&a);
	return t.n_gateways;
}

/* Idempotent; gone with the device, the gateway, the group. */
static void test_members(void **state)
{
	struct rig *r = *state;
	assert_string_equal(member(r, group_text, "0000000000000001", "", true).error[0], "multicast group is unknown");
	put_group(r, "a", 1);
	put_group_as(r, other_text, "a", 1);
	for (int i = 0; i < 2; i++) {
		assert_string_equal(member(r, group_text, "0000000000000001", "", true).error[0], "");
		assert_string_equal(member(r, group_text, "f000000000000002", "", true).error[0], "");
		assert_string_equal(member(r, group_text, "", "f000000000000003", true).error[0], "");
	}
	assert_string_equal(member(r, other_text, "", "f000000000000004", true).error[0], "");
	assert_int_equal(n_devices(r), 2);
	assert_int_equal(n_gateways(r), 1);
	assert_string_equal(member(r, group_text, "f000000000000002", "", false).error[0], "");
	assert_string_equal(member(r, group_text, "f000000000000002", "", false).error[0], "");
	assert_int_equal(n_devices(r), 1);
	rig_put_profile(r);
	rig_put_device(r, 1);
	rig_delete_device(r, 1);
	assert_int_equal(n_devices(r), 0);
	Longwave__Ns__V1__Change c = LONGWAVE__NS__V1__CHANGE__INIT;
	c.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_GATEWAY;
	c.delete_gateway = (char[]){"f000000000000003"};
	rig_apply_one(r, &c);
	assert_int_equal(n_gateways(r), 0);
	uint32_t f_cnt;
	assert_int_equal(enqueue(r, 1, 1, &f_cnt), 0);
	assert_int_equal(list(r).n, 1);
	c.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_MULTICAST_GROUP;
	c.delete_multicast_group = group_text;
	rig_apply_one(r, &c);
	assert_int_equal(list(r).n, 0);
	assert_int_equal(get(r, group_text).w.err, LW_ENOTFOUND);
}

struct waiting {
	struct rig_wait w;
	size_t n;
	struct lw_uuid first;
};

static void on_waiting(void *arg, const struct lw_uuid *v, size_t n)
{
	struct waiting *w = arg;
	w->w.done = true;
	w->n = n;
	if (n)
		w->first = v[0];
}

static void on_flushed(void *arg, int err)
{
	struct rig_wait *w = arg;
	w->done = true;
	w->err = err;
}

/* What a start looks for; an emptied queue keeps its counter. */
static void test_waiting(void **state)
{
	struct rig *r = *state;
	uint32_t f_cnt;
	put_group(r, "a", 1);
	put_group_as(r, other_text, "a", 1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(enqueue(r, (uint32_t)(1 + i), 1, &f_cnt), 0);
	struct waiting w = {.n = 0};
	ns_store_waiting_multicast(r->store, on_waiting, &w);
	rig_wait(r, &w.w);
	assert_int_equal(w.n, 1);
	assert_true(lw_uuid_eq(w.first, uuid(group_text)));
	struct rig_wait flushed = {0};
	ns_store_flush_multicast(r->store, uuid(group_text), on_flushed, &flushed);
	rig_wait(r, &flushed);
	assert_int_equal(flushed.err, 0);
	assert_int_equal(list(r).n, 0);
	assert_int_equal(get(r, group_text).f_cnt, 3);
}

static void test_refused(void **state)
{
	struct rig *r = *state;
	Longwave__Ns__V1__Change c = LONGWAVE__NS__V1__CHANGE__INIT;
	Longwave__Ns__V1__Change *v[1] = {&c};
	Longwave__Ns__V1__MulticastGroup g = LONGWAVE__NS__V1__MULTICAST_GROUP__INIT;
	static uint8_t key[16];
	c.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_GROUP;
	c.put_multicast_group = &g;
	g.id = (char[]){"no uuid"};
	assert_string_equal(rig_apply(r, v, 1).error[0], "multicast group id is not a UUID");
	g.id = group_text;
	assert_string_equal(rig_apply(r, v, 1).error[0], "mc_addr is not an address of 8 hex digits");
	g.mc_addr = (char[]){"01020304"};
	assert_string_equal(rig_apply(r, v, 1).error[0], "mc_nwk_s_key is not a key of 16 octets");
	g.mc_nwk_s_key = (ProtobufCBinaryData){16, key};
	g.dr = 14;
	assert_string_equal(rig_apply(r, v, 1).error[0], "dr is not a data rate of downlinks in this region");
	g.dr = 0;
	assert_string_equal(rig_apply(r, v, 1).error[0], "frequency lies outside the region");
	g.mode = LONGWAVE__NS__V1__MULTICAST_GROUP__MODE__CLASS_B;
	g.ping_slot_periodicity = 8;
	assert_string_equal(rig_apply(r, v, 1).error[0], "ping_slot_periodicity wants 0 to 7");
	g.ping_slot_periodicity = 7;
	assert_string_equal(rig_apply(r, v, 1).error[0], "");
}

static void on_refreshed(struct ns_mc_refresh *req)
{
	((struct rig_wait *)req->owner)->done = true;
}

/* When and where a gateway was heard is known after a restart, and from other processes. */
static void test_gateway_heard(void **state)
{
	struct rig *r = *state;
	Longwave__Ns__V1__Gateway g = LONGWAVE__NS__V1__GATEWAY__INIT;
	Longwave__Ns__V1__Change c = LONGWAVE__NS__V1__CHANGE__INIT;
	struct ns_multicast_port p;
	struct lw_gateway_id ids[2] = {lw_gateway_id_from_u64(UINT64_C(0xF102030405060708)), lw_gateway_id_from_u64(9)};
	struct rig_wait w = {0};
	g.gateway_id = (char[]){"f102030405060708"};
	c.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_GATEWAY;
	c.put_gateway = &g;
	rig_apply_one(r, &c);
	r->gateways.seen(r->gateways.self, ids[0], 100 * LW_NS_PER_S, NULL);
	r->gateways.region(r->gateways.self, ids[0], "us915_3");
	rig_close(r);
	rig_open(r);
	/* a later word of another process; this one has not heard it since */
	r->gateways.seen(r->gateways.self, ids[0], 50 * LW_NS_PER_S, NULL);
	struct ns_mc_refresh req = {.v = ids, .n = 2, .done = on_refreshed, .owner = &w};
	ns_store_fill_multicast_port(r->store, &p);
	p.refresh(p.self, &req);
	rig_wait(r, &w);
	const struct ns_gateway *found = r->gateways.find(r->gateways.self, ids[0]);
	assert_true(found->last_seen_ns == 100 * LW_NS_PER_S);
	assert_string_equal(found->region_config_id, "us915_3");
	/* what was heard here is newer than what the database has */
	r->gateways.seen(r->gateways.self, ids[0], 200 * LW_NS_PER_S, NULL);
	r->gateways.region(r->gateways.self, ids[0], "us915_1");
	w.done = false;
	p.refresh(p.self, &req);
	rig_wait(r, &w);
	assert_true(found->last_seen_ns == 200 * LW_NS_PER_S);
	assert_string_equal(found->region_config_id, "us915_1");
}

/* To the other replica, which then reads nothing. */
static void tell_other(struct rig *r, const char *kind, struct lw_span body)
{
	struct rig *other = r->user;
	r->n_told++;
	ns_store_hear(other->store, kind, body);
}

static void wait_told(struct rig *r, size_t n)
{
	int64_t end = rt_loop_mono_ns(r->loop) + RIG_WAIT_MS * LW_NS_PER_MS;
	while (r->n_told < n) {
		rt_loop_turn(r->loop);
		assert_true(rt_loop_mono_ns(r->loop) < end);
	}
}

/* A gateway that is there again, or comes in another region, is known to the others at once, and in the database; that
 * it was heard once more is not worth a word. */
static void test_back_is_told(void **state)
{
	struct rig *a = *state;
	struct rig *b = rig_other_replica(a);
	Longwave__Ns__V1__Gateway g = LONGWAVE__NS__V1__GATEWAY__INIT;
	Longwave__Ns__V1__Change c = LONGWAVE__NS__V1__CHANGE__INIT;
	struct lw_gateway_id id = lw_gateway_id_from_u64(UINT64_C(0xF102030405060708));
	struct ns_multicast_port p;
	g.gateway_id = (char[]){"f102030405060708"};
	c.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_GATEWAY;
	c.put_gateway = &g;
	rig_apply_one(a, &c);
	/* what nobody told of is found where it is wanted */
	struct rig_wait w = {0};
	struct ns_mc_refresh req = {.v = &id, .n = 1, .done = on_refreshed, .owner = &w};
	ns_store_fill_multicast_port(b->store, &p);
	assert_null(b->gateways.find(b->gateways.self, id));
	p.refresh(p.self, &req);
	rig_wait(b, &w);
	const struct ns_gateway *there = b->gateways.find(b->gateways.self, id);
	assert_non_null(there);

	a->user = b;
	a->tell = tell_other;
	a->n_told = 0;
	a->gateways.seen(a->gateways.self, id, 1000 * LW_NS_PER_S, NULL);
	a->gateways.region(a->gateways.self, id, "us915_3");
	wait_told(a, 1);
	assert_true(there->last_seen_ns == 1000 * LW_NS_PER_S);
	assert_string_equal(there->region_config_id, "us915_3");
	a->gateways.seen(a->gateways.self, id, 1030 * LW_NS_PER_S, NULL);
	a->gateways.region(a->gateways.self, id, "us915_3");
	assert_false(rt_timer_armed(&a->store->heard_timer));
	a->gateways.region(a->gateways.self, id, "us915_4");
	wait_told(a, 2);
	assert_string_equal(there->region_config_id, "us915_4");
	a->gateways.seen(a->gateways.self, id, 1091 * LW_NS_PER_S, NULL); /* two intervals and a second */
	wait_told(a, 3);
	assert_true(there->last_seen_ns == 1091 * LW_NS_PER_S);
	/* the word is lost; the flush at leisure is far away */
	rt_timer_stop(&a->store->seen_timer);
	a->tell = NULL;
	a->gateways.seen(a->gateways.self, id, 1200 * LW_NS_PER_S, NULL);
	int64_t end = rt_loop_mono_ns(a->loop) + RIG_WAIT_MS * LW_NS_PER_MS;
	while (there->last_seen_ns != 1200 * LW_NS_PER_S) {
		rt_loop_turn(a->loop);
		w.done = false;
		p.refresh(p.self, &req);
		rig_wait(b, &w);
		assert_true(rt_loop_mono_ns(a->loop) < end);
	}
	/* said badly */
	ns_store_hear(b->store, "heard", lw_span_str("12345678abcdefgh\xff"));
	ns_store_hear(b->store, "heard", lw_span_str("1234"));
	rig_free(b);
}

static unsigned steps_of_take(struct rig *r)
{
	struct lw_arena a;
	struct ns_mc_take t;
	lw_arena_init(&a, NULL, 0, 1 << 20);
	unsigned before = atomic_load(&work_steps);
	take_at(r, &a, &t, 1000, 1020);
	assert_int_equal(t.err, 0);
	assert_true(t.has_item);
	assert_int_equal(t.item.f_cnt, 0);
	lw_arena_deinit(&a);
	return atomic_load(&work_steps) - before;
}

/* A firmware is some thousand items: each is looked for several times, and those behind it are let alone. */
static void test_long_queue(void **state)
{
	enum { MORE = 200, STEPS_EACH = 15 };
	struct rig *r = *state;
	uint32_t f_cnt;
	work_watch();
	rig_reopen(r);
	work_ignore();
	put_group(r, "a", 0);
	assert_int_equal(enqueue(r, 0, 1, &f_cnt), 0);
	unsigned first = steps_of_take(r);
	for (uint32_t i = 1; i <= MORE; i++)
		assert_int_equal(enqueue(r, i, 1, &f_cnt), 0);
	unsigned last = steps_of_take(r);
	print_message("%u steps, with %d items more %u\n", first, MORE, last);
	assert_true(last < first + MORE * STEPS_EACH);
}

#define BOTH(fn)                                                                                                       \
	{#fn " [sqlite]", fn, setup_lite, teardown, NULL},                                                             \
	{                                                                                                              \
#fn " [postgres]", fn, setup_pg, teardown, NULL                                                        \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_counters),
		BOTH(test_update),
		BOTH(test_lease),
		cmocka_unit_test_setup_teardown(test_long_queue, setup_lite, teardown),
		BOTH(test_copies),
		BOTH(test_members),
		BOTH(test_waiting),
		BOTH(test_refused),
		BOTH(test_gateway_heard),
		BOTH(test_back_is_told),
		cmocka_unit_test_setup_teardown(test_full, setup_short_lite, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup_short_pg, teardown),
	};
	return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
