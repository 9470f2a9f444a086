/* Apply, what concerns multicast groups: they are few, so each change has its own statements. */
#include <stdlib.h>
#include <string.h>

#include "common/base/xmalloc.h"
#include "network-server/store/store_impl.h"

static const struct sql_stmt FORGET_DEVICE = {
	.name = "multicast_forget_device",
	.text = "DELETE FROM multicast_device WHERE dev_eui = $1",
	.params = "l",
};

static const struct sql_stmt FORGET_GATEWAY = {
	.name = "multicast_forget_gateway",
	.text = "DELETE FROM multicast_gateway WHERE gateway_id = $1",
	.params = "l",
};

/* Encrypted with other keys than the new ones. */
static const struct sql_stmt DROP_OLD_ITEMS = {
	.name = "multicast_drop_old",
	.text = "DELETE FROM multicast_item WHERE group_id = $1"
		" AND EXISTS (SELECT 1 FROM multicast_group AS g WHERE g.id = $1 AND g.session <> $2)",
	.params = "uy",
};

static const struct sql_stmt PUT_GROUP = {
	.name = "multicast_put",
	.text = "INSERT INTO multicast_group (id, body, session, f_cnt, lease, lease_until, not_before, writer)"
		" VALUES ($1, $2, $3, $4, '', 0, 0, 0)"
		" ON CONFLICT (id) DO UPDATE SET body = excluded.body, session = excluded.session,"
		" f_cnt = CASE WHEN multicast_group.session = excluded.session"
		" AND multicast_group.f_cnt > excluded.f_cnt THEN multicast_group.f_cnt ELSE excluded.f_cnt END",
	.params = "uyyl",
};

static const struct sql_stmt DELETE_GROUP = {
	.name = "multicast_delete",
	.text = "DELETE FROM multicast_group WHERE id = $1",
	.params = "u",
};

#define PUT_MEMBER(name_, table, column)                                                                               \
	{                                                                                                              \
		.name = (name_),                                                                                       \
		.text = "INSERT INTO " table " (group_id, " column ") SELECT b.group_id, b.member FROM {batch}"        \
			" WHERE EXISTS (SELECT 1 FROM multicast_group AS g WHERE g.id = b.group_id)"                   \
			" ON CONFLICT (group_id, " column ") DO UPDATE SET group_id = excluded.group_id"               \
			" RETURNING group_id",                                                                         \
		.batch = "group_id:u member:l", .cols = "u",                                                           \
	}
#define DELETE_MEMBER(name_, table, column)                                                                            \
	{                                                                                                              \
		.name = (name_), .text = "DELETE FROM " table " WHERE group_id = $1 AND " column " = $2",              \
		.params = "ul",                                                                                        \
	}
/* By whether the member is a gateway. */
static const struct sql_stmt PUT_MEMBERS[] = {
	PUT_MEMBER("multicast_put_device", "multicast_device", "dev_eui"),
	PUT_MEMBER("multicast_put_gateway", "multicast_gateway", "gateway_id"),
};
static const struct sql_stmt DELETE_MEMBERS[] = {
	DELETE_MEMBER("multicast_delete_device", "multicast_device", "dev_eui"),
	DELETE_MEMBER("multicast_delete_gateway", "multicast_gateway", "gateway_id"),
};

static bool is_uuid(const char *text)
{
	struct lw_uuid id;
	return lw_uuid_parse(&id, text) == 0;
}

static const char *check_group(const Longwave__Ns__V1__MulticastGroup *g)
{
	struct lw_devaddr addr;
	const struct lw_region *region = lw_region_by_id((enum lw_region_id)g->region);
	bool is_b = g->mode == LONGWAVE__NS__V1__MULTICAST_GROUP__MODE__CLASS_B;
	if (!is_uuid(g->id))
		return "multicast group id is not a UUID";
	if (!region)
		return "region is not known to this network-server";
	if (lw_devaddr_parse(&addr, g->mc_addr))
		return "mc_addr is not an address of 8 hex digits";
	if (g->mc_nwk_s_key.len != 16)
		return "mc_nwk_s_key is not a key of 16 octets";
	if ((unsigned)g->mode > LONGWAVE__NS__V1__MULTICAST_GROUP__MODE__CLASS_B)
		return "mode is unknown";
	if (g->dr > 15 || !lw_region_dr(region, LW_DOWN, g->dr))
		return "dr is not a data rate of downlinks in this region";
	if (is_b && g->ping_slot_periodicity > 7)
		return "ping_slot_periodicity wants 0 to 7";
	if (is_b && g->freq_hz == 0)
		return "";
	return lw_region_freq_ok(region, g->freq_hz) ? "" : "frequency lies outside the region";
}

static bool is_gateway(const Longwave__Ns__V1__MulticastMember *m)
{
	return m->gateway_id[0] != '\0';
}

static const char *check_member(const Longwave__Ns__V1__MulticastMember *m)
{
	struct lw_gateway_id gw;
	struct lw_dev_eui eui;
	if (!is_uuid(m->multicast_group_id))
		return "multicast group id is not a UUID";
	if (is_gateway(m) && m->dev_eui[0])
		return "a member is a device or a gateway";
	if (is_gateway(m))
		return lw_gateway_id_parse(&gw, m->gateway_id) ? "gateway_id is not an EUI of 16 hex digits" : "";
	return lw_dev_eui_parse(&eui, m->dev_eui) ? "dev_eui is not an EUI of 16 hex digits" : "";
}

const char *ns_multicast_check(const Longwave__Ns__V1__Change *c)
{
	switch (c->change_case) {
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_GROUP:
		return check_group(c->put_multicast_group);
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_MULTICAST_GROUP:
		return is_uuid(c->delete_multicast_group) ? "" : "multicast group id is not a UUID";
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_MEMBER:
		return check_member(c->put_multicast_member);
	default:
		return check_member(c->delete_multicast_member);
	}
}

static struct lw_uuid uuid_of(const char *text)
{
	struct lw_uuid id = {{0}};
	(void)lw_uuid_parse(&id, text);
	return id;
}

static int64_t member_of(const Longwave__Ns__V1__MulticastMember *m)
{
	struct lw_gateway_id gw = {{0}};
	struct lw_dev_eui eui = {{0}};
	if (is_gateway(m)) {
		(void)lw_gateway_id_parse(&gw, m->gateway_id);
		return ns_i64(lw_gateway_id_u64(gw));
	}
	(void)lw_dev_eui_parse(&eui, m->dev_eui);
	return ns_i64(lw_dev_eui_u64(eui));
}

static void on_put_member(void *arg, const struct sql_result *r)
{
	struct lw_bmap *there = arg;
	for (size_t i = 0; i < sql_rows(r); i++) {
		struct lw_uuid id = sql_uuid(r, i, 0);
		lw_bmap_put(there, lw_span(id.b, sizeof(id.b)), there);
	}
}

static void add_group(struct sql_tx *tx, const Longwave__Ns__V1__MulticastGroup *g)
{
	struct lw_uuid id = uuid_of(g->id);
	struct lw_span session = lw_span(g->session.data, g->session.len);
	struct sql_params *p = sql_tx_add(tx, &DROP_OLD_ITEMS, NULL, NULL);
	sql_put_uuid(p, id);
	sql_put_bytes(p, session);
	size_t n = longwave__ns__v1__multicast_group__get_packed_size(g);
	uint8_t *body = lw_xmalloc(n ? n : 1);
	longwave__ns__v1__multicast_group__pack(g, body);
	p = sql_tx_add(tx, &PUT_GROUP, NULL, NULL);
	sql_put_uuid(p, id);
	sql_put_bytes(p, lw_span(body, n));
	sql_put_bytes(p, session);
	sql_put_i64(p, g->f_cnt);
	lw_wipe(body, n);
	free(body);
}

void ns_multicast_add(struct sql_tx *tx, const Longwave__Ns__V1__Change *c, struct lw_bmap *there)
{
	const Longwave__Ns__V1__MulticastMember *m;
	struct sql_params *p;
	switch (c->change_case) {
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_GROUP:
		add_group(tx, c->put_multicast_group);
		return;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_MULTICAST_GROUP:
		sql_put_uuid(sql_tx_add(tx, &DELETE_GROUP, NULL, NULL), uuid_of(c->delete_multicast_group));
		return;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_MEMBER:
		m = c->put_multicast_member;
		p = sql_tx_add(tx, &PUT_MEMBERS[is_gateway(m)], on_put_member, there);
		break;
	default:
		m = c->delete_multicast_member;
		p = sql_tx_add(tx, &DELETE_MEMBERS[is_gateway(m)], NULL, NULL);
	}
	sql_put_uuid(p, uuid_of(m->multicast_group_id));
	sql_put_i64(p, member_of(m));
}

void ns_multicast_forget(struct sql_tx *tx, bool gateway, uint64_t eui)
{
	sql_put_i64(sql_tx_add(tx, gateway ? &FORGET_GATEWAY : &FORGET_DEVICE, NULL, NULL), ns_i64(eui));
}

const char *ns_multicast_applied(const Longwave__Ns__V1__Change *c, const struct lw_bmap *there)
{
	if (c->change_case != LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_MEMBER)
		return "";
	struct lw_uuid id = uuid_of(c->put_multicast_member->multicast_group_id);
	return lw_bmap_find(there, lw_span(id.b, sizeof(id.b))) ? "" : "multicast group is unknown";
}
