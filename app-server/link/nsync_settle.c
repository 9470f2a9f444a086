#include <stdlib.h>

#include "app-server/link/nschange.h"
#include "app-server/link/nsync_internal.h"
#include "app-server/store/row.h"
#include "common/base/xmalloc.h"
#include "common/pb/unpack.h"

#define ABANDONED_NS (60 * LW_NS_PER_S)
#define SETTLE_MAX 1000 /* intents of one kind in one round */

/* Of another replica they belong to an operation under way, until that has certainly failed. What is from the future
 * was made before the clock was set back. */
#define MINE " AND (i.owner = $2 OR i.owner = '' OR i.created_at < $3 OR i.created_at > $4)"

static const struct sql_stmt settle_profiles = {
	.name = "as_settle_profiles",
	.text = "SELECT i.id, p.id, p.tenant_id, p.body, p.radio FROM ns_intent AS i LEFT JOIN device_profile AS p ON "
		"p.id = "
		"i.id"
		" WHERE i.kind = 'device_profile'" MINE " ORDER BY i.created_at, i.id LIMIT $1",
	.params = "ltll",
	.cols = "tttyy",
};
static const struct sql_stmt settle_gateways = {
	.name = "as_settle_gateways",
	.text = "SELECT i.id, g.gateway_id, g.tenant_id, g.latitude, g.longitude, g.altitude, g.stats_interval,"
		" g.downlink_priority, t.private_gateways_up, t.private_gateways_down FROM ns_intent AS i"
		" LEFT JOIN gateway AS g ON g.gateway_id = i.id LEFT JOIN tenant AS t ON t.id = g.tenant_id"
		" WHERE i.kind = 'gateway'" MINE " ORDER BY i.created_at, i.id LIMIT $1",
	.params = "ltll",
	.cols = "tttdddllll",
};
static const struct sql_stmt settle_devices = {
	.name = "as_settle_devices",
	.text = "SELECT i.id, d.dev_eui, d.join_eui, d.tenant_id, d.device_profile_id, d.is_disabled, d.skip_fcnt_check"
		" FROM ns_intent AS i LEFT JOIN device AS d ON d.dev_eui = i.id"
		" WHERE i.kind = 'device'" MINE " ORDER BY i.created_at, i.id LIMIT $1",
	.params = "ltll",
	.cols = "tttttll",
};

static const struct sql_stmt settle_multicast = {
	.name = "as_settle_multicast",
	.text = "SELECT i.id, g.id, a.tenant_id, g.mc_addr, g.mc_nwk_s_key, g.mc_app_s_key, g.f_cnt, g.region,"
		" g.group_type, g.dr, g.frequency, g.class_b_ping_slot_periodicity, g.class_c_scheduling_type"
		" FROM ns_intent AS i LEFT JOIN multicast_group AS g ON g.id = i.id"
		" LEFT JOIN application AS a ON a.id = g.application_id"
		" WHERE i.kind = 'multicast_group'" MINE " ORDER BY i.created_at, i.id LIMIT $1",
	.params = "ltll",
	.cols = "ttttttlllllll",
};
#define SETTLE_MEMBERS(kind_, table_, column_)                                                                         \
	{                                                                                                              \
		.name = "as_settle_" kind_,                                                                            \
		.text = "SELECT i.id, m.group_id FROM ns_intent AS i LEFT JOIN " table_ " AS m"                        \
			" ON m.group_id = substr(i.id, 1, 36) AND m." column_ " = substr(i.id, 38)"                    \
			" WHERE i.kind = '" kind_ "'" MINE " ORDER BY i.created_at, i.id LIMIT $1",                    \
		.params = "ltll", .cols = "tt",                                                                        \
	}
static const struct sql_stmt settle_multicast_devices =
	SETTLE_MEMBERS("multicast_device", "multicast_group_device", "dev_eui");
static const struct sql_stmt settle_multicast_gateways =
	SETTLE_MEMBERS("multicast_gateway", "multicast_group_gateway", "gateway_id");

static void look_again_later(struct as_nsync *s)
{
	s->retry_ms = s->retry_ms * 2 > AS_NSYNC_RETRY_MAX_MS ? AS_NSYNC_RETRY_MAX_MS : s->retry_ms * 2;
	s->more = false; /* else a page full of refused ones would be asked for ever */
	as_nsync_mark_dirty(s);
}

static void settle_failed(struct as_nsync *s, const char *why)
{
	RT_LOG_WARN(s->as->log, "changes wait for the network-server", rt_str("detail", why));
	look_again_later(s);
	as_nsync_end_cycle(s);
}

static void on_settle_removed(void *arg, const struct sql_outcome *o)
{
	struct as_nsync *s = arg;

	if (s->closing)
		return;
	if (o->err < 0) {
		settle_failed(s, o->diag.text);
		return;
	}
	if (s->more)
		as_nsync_settle(s);
	else
		as_nsync_end_cycle(s);
}

static void on_settle_applied(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct as_nsync *s = arg;

	if (s->closing)
		return;
	s->call = 0;
	if (status != GRPC_OK) {
		settle_failed(s, message);
		return;
	}
	struct sql_tx *tx = sql_tx_new(s->as->db);
	struct sql_params *p = sql_tx_add(tx, &as_nsync_intent_remove, NULL, NULL);
	size_t refused = s->damaged;
	for (size_t i = 0; i < s->n_changes; i++) {
		const char *error = as_nsync_error(resp, i);
		if (error[0]) {
			RT_LOG_WARN(s->as->log, "network-server refuses a change", rt_str("kind", s->kinds[i]),
				    rt_str("id", s->ids[i]), rt_str("detail", error));
			refused++;
			continue;
		}
		sql_put_text(p, s->kinds[i]);
		sql_put_text(p, s->ids[i]);
	}
	if (refused) {
		look_again_later(s);
	} else {
		s->retry_ms = AS_NSYNC_RETRY_MIN_MS;
	}
	sql_tx_commit(tx, on_settle_removed, s);
}

/* One that cannot be read stays where it is, and does not keep the others from being settled. */
static void settle_add(struct as_nsync *s, const char *kind, const char *id, Longwave__Ns__V1__Change *change)
{
	if (!change) {
		as_row_damaged(s->as, kind, id, "what the network-server is to know");
		s->damaged++;
		return;
	}
	s->kinds[s->n_changes] = kind;
	s->ids[s->n_changes] = id;
	s->changes[s->n_changes++] = change;
}

static const char *keep(struct as_nsync *s, const struct sql_result *r, size_t row, size_t col)
{
	return lw_arena_strdup(&s->arena, sql_text(r, row, col));
}

static Longwave__Ns__V1__Change *profile_change(struct as_nsync *s, const struct sql_result *r, size_t i)
{
	ProtobufCMessage *p = NULL;
	if (lw_pb_unpack(&api__device_profile__descriptor, sql_span(r, i, 3), &s->arena, &p) < 0)
		return NULL;
	return as_change_profile(&s->arena, keep(s, r, i, 1), keep(s, r, i, 2), (const void *)p,
				 sql_is_null(r, i, 4) ? lw_span(NULL, 0) : sql_span(r, i, 4));
}

static Longwave__Ns__V1__Change *gateway_change(struct as_nsync *s, const struct sql_result *r, size_t i)
{
	struct as_ns_gateway g = {
		.gateway_id = keep(s, r, i, 1),
		.tenant_id = keep(s, r, i, 2),
		.latitude = sql_f64(r, i, 3),
		.longitude = sql_f64(r, i, 4),
		.altitude = sql_f64(r, i, 5),
		.stats_interval_s = (uint32_t)sql_i64(r, i, 6),
		.downlink_priority = (uint32_t)sql_i64(r, i, 7),
		.is_private_up = sql_i64(r, i, 8) != 0,
		.is_private_down = sql_i64(r, i, 9) != 0,
	};
	return as_change_gateway(&s->arena, &g);
}

static Longwave__Ns__V1__Change *device_change(struct as_nsync *s, const struct sql_result *r, size_t i)
{
	struct as_ns_device d = {
		.dev_eui = keep(s, r, i, 1),
		.join_eui = keep(s, r, i, 2),
		.tenant_id = keep(s, r, i, 3),
		.device_profile_id = keep(s, r, i, 4),
		.is_disabled = sql_i64(r, i, 5) != 0,
		.skip_fcnt_check = sql_i64(r, i, 6) != 0,
	};
	return as_change_device(&s->arena, &d);
}

static Longwave__Ns__V1__Change *multicast_change(struct as_nsync *s, const struct sql_result *r, size_t i)
{
	struct as_ns_group g = {
		.id = keep(s, r, i, 1),
		.tenant_id = keep(s, r, i, 2),
		.mc_addr = keep(s, r, i, 3),
		.mc_nwk_s_key = keep(s, r, i, 4),
		.mc_app_s_key = keep(s, r, i, 5),
		.f_cnt = (uint32_t)sql_i64(r, i, 6),
		.region = (int)sql_i64(r, i, 7),
		.group_type = (int)sql_i64(r, i, 8),
		.dr = (uint32_t)sql_i64(r, i, 9),
		.frequency = (uint32_t)sql_i64(r, i, 10),
		.periodicity = (uint32_t)sql_i64(r, i, 11),
		.scheduling = (int)sql_i64(r, i, 12),
	};
	return as_change_group(&s->arena, s->as->keys, &g);
}

static Longwave__Ns__V1__Change *multicast_device_change(struct as_nsync *s, const struct sql_result *r, size_t i)
{
	return as_change_member(&s->arena, keep(s, r, i, 0), false, true);
}

static Longwave__Ns__V1__Change *multicast_gateway_change(struct as_nsync *s, const struct sql_result *r, size_t i)
{
	return as_change_member(&s->arena, keep(s, r, i, 0), true, true);
}

/* Puts of a parent go before its children, deletes after them: profiles and gateways are read first; a deleted profile
 * waits until no device refers to it, so its place does not matter. */
static const struct {
	const char *kind;
	const struct sql_stmt *stmt;
	Longwave__Ns__V1__Change *(*change)(struct as_nsync *s, const struct sql_result *r, size_t i);
} kinds[] = {
	{AS_KIND_PROFILE, &settle_profiles, profile_change},
	{AS_KIND_GATEWAY, &settle_gateways, gateway_change},
	{AS_KIND_DEVICE, &settle_devices, device_change},
	{AS_KIND_MULTICAST, &settle_multicast, multicast_change},
	{AS_KIND_MULTICAST_DEVICE, &settle_multicast_devices, multicast_device_change},
	{AS_KIND_MULTICAST_GATEWAY, &settle_multicast_gateways, multicast_gateway_change},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct settle_read {
	struct as_nsync *s;
	size_t kind;
};

static void settle_read(struct as_nsync *s, size_t kind);

static void on_settle_read(void *arg, const struct sql_outcome *o, const struct sql_result *r)
{
	struct settle_read *rd = arg;
	struct as_nsync *s = rd->s;
	size_t k = rd->kind;
	free(rd);
	if (s->closing)
		return;
	if (o->err < 0) {
		settle_failed(s, o->diag.text);
		return;
	}
	size_t n = sql_rows(r);
	if (n == SETTLE_MAX)
		s->more = true;
	for (size_t i = 0; i < n; i++) {
		const char *id = keep(s, r, i, 0);
		settle_add(s, kinds[k].kind, id,
			   sql_is_null(r, i, 1) ? as_change_delete(&s->arena, kinds[k].kind, id)
						: kinds[k].change(s, r, i));
	}
	if (k + 1 < KINDS) {
		settle_read(s, k + 1);
	} else if (s->n_changes == 0) {
		if (s->damaged)
			look_again_later(s);
		as_nsync_end_cycle(s);
	} else {
		as_nsync_apply(s, on_settle_applied);
	}
}

static void settle_read(struct as_nsync *s, size_t kind)
{
	struct settle_read *rd = lw_xcalloc(1, sizeof(*rd));
	rd->s = s;
	rd->kind = kind;
	struct sql_query *q = sql_query_new(s->as->db, kinds[kind].stmt);
	struct sql_params *p = sql_query_params(q);
	sql_put_i64(p, SETTLE_MAX);
	sql_put_text(p, s->as->conf->mqtt_client_id);
	sql_put_i64(p, (rt_loop_now_ns(s->as->loop) - ABANDONED_NS) / LW_NS_PER_US);
	sql_put_i64(p, (rt_loop_now_ns(s->as->loop) + ABANDONED_NS) / LW_NS_PER_US);
	sql_query_send(q, on_settle_read, rd);
}

void as_nsync_settle(struct as_nsync *s)
{
	lw_arena_reset(&s->arena);
	s->dirty = false;
	s->due = false;
	s->more = false;
	s->n_changes = 0;
	s->damaged = 0;
	rt_timer_stop(&s->retry);
	s->changes = LW_ARENA_ARRAY(&s->arena, Longwave__Ns__V1__Change *, KINDS * SETTLE_MAX);
	s->kinds = LW_ARENA_ARRAY(&s->arena, const char *, KINDS *SETTLE_MAX);
	s->ids = LW_ARENA_ARRAY(&s->arena, const char *, KINDS *SETTLE_MAX);
	settle_read(s, 0);
}
