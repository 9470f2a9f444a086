/* Apply: gateways, device profiles and devices as the application server says they are. Idempotent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/xmalloc.h"
#include "network-server/store/link_store.h"
#include "network-server/store/store_impl.h"

static const struct sql_stmt PUT_GATEWAY = {
	.name = "put_gateway",
	.text = "INSERT INTO gateway (gateway_id, body, last_seen) SELECT b.gateway_id, b.body, 0 FROM {batch} WHERE "
		"true"
		" ON CONFLICT (gateway_id) DO UPDATE SET body = excluded.body",
	.batch = "gateway_id:l body:y",
};

static const struct sql_stmt DELETE_GATEWAY = {
	.name = "delete_gateway",
	.text = "DELETE FROM gateway WHERE gateway_id IN (SELECT b.gateway_id FROM {batch})",
	.batch = "gateway_id:l",
};

static const struct sql_stmt PUT_PROFILE = {
	.name = "put_profile",
	.text = "INSERT INTO device_profile (id, body) SELECT b.id, b.body FROM {batch} WHERE true"
		" ON CONFLICT (id) DO UPDATE SET body = excluded.body",
	.batch = "id:t body:y",
};

static const struct sql_stmt DELETE_PROFILE = {
	.name = "delete_profile",
	.text = "DELETE FROM device_profile WHERE id IN (SELECT b.id FROM {batch})"
		" AND NOT EXISTS (SELECT 1 FROM device AS d WHERE d.device_profile_id = device_profile.id)"
		" RETURNING id",
	.batch = "id:t",
	.cols = "t",
};

/* The version of a new row is drawn, so that a commit meant for an earlier device of this EUI does not fit; that of a
 * known one rises, so that what is under way sees the change. */
static const struct sql_stmt PUT_DEVICE = {
	.name = "put_device",
	.text = "INSERT INTO device (dev_eui, device_profile_id, body, version, writer)"
		" SELECT b.dev_eui, b.device_profile_id, b.body, b.version, 0 FROM {batch}"
		" WHERE EXISTS (SELECT 1 FROM device_profile AS p WHERE p.id = b.device_profile_id)"
		" ON CONFLICT (dev_eui) DO UPDATE SET device_profile_id = excluded.device_profile_id,"
		" body = excluded.body, version = device.version + 1 RETURNING dev_eui",
	.batch = "dev_eui:l device_profile_id:t body:y version:l",
	.cols = "l",
};

static const struct sql_stmt DELETE_DEVICE = {
	.name = "delete_device",
	.text = "DELETE FROM device WHERE dev_eui IN (SELECT b.dev_eui FROM {batch})",
	.batch = "dev_eui:l",
};

static const struct sql_stmt DELETE_ITEMS = {
	.name = "delete_device_items",
	.text = "DELETE FROM queue_item WHERE dev_eui IN (SELECT b.dev_eui FROM {batch})",
	.batch = "dev_eui:l",
};

struct applying {
	struct ns_store *s;
	const Longwave__Ns__V1__ApplyRequest *req;
	ns_apply_fn *done;
	void *arg;
	const char **errors;
	struct lw_map put_devices;
	struct lw_bmap deleted_profiles;
	struct lw_bmap groups_there; /* multicast groups that members were put into */
};

/* Only the usual form: ids are compared as text. */
static bool is_uuid(const char *text)
{
	struct lw_uuid id;
	char canonical[LW_UUID_TEXT];
	return lw_uuid_parse(&id, text) == 0 && strcmp(lw_uuid_print(id, canonical), text) == 0;
}

static const char *check(const Longwave__Ns__V1__Change *c)
{
	struct lw_gateway_id gw;
	struct lw_dev_eui eui;
	switch (c->change_case) {
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_GATEWAY:
		return lw_gateway_id_parse(&gw, c->put_gateway->gateway_id)
			       ? "gateway_id is not an EUI of 16 hex digits"
			       : "";
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_GATEWAY:
		return lw_gateway_id_parse(&gw, c->delete_gateway) ? "gateway_id is not an EUI of 16 hex digits" : "";
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE_PROFILE:
		if (!is_uuid(c->put_device_profile->id))
			return "device profile id is not a UUID";
		if (!lw_region_by_id((enum lw_region_id)c->put_device_profile->region))
			return "region is not known to this network-server";
		const char *why = ns_adr_settings_from_pb(c->put_device_profile->adr, &(struct ns_adr_settings){0});
		if (!why)
			why = ns_mac_settings_from_pb(c->put_device_profile->mac,
						      lw_region_by_id((enum lw_region_id)c->put_device_profile->region),
						      &(struct ns_mac_settings){0});
		if (why)
			return why;
		return "";
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_DEVICE_PROFILE:
		return is_uuid(c->delete_device_profile) ? "" : "device profile id is not a UUID";
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE: /* the statement looks for the profile */
		return lw_dev_eui_parse(&eui, c->put_device->dev_eui) ? "dev_eui is not an EUI of 16 hex digits" : "";
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_DEVICE:
		return lw_dev_eui_parse(&eui, c->delete_device) ? "dev_eui is not an EUI of 16 hex digits" : "";
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_GROUP:
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_MULTICAST_GROUP:
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_MEMBER:
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_MULTICAST_MEMBER:
		return ns_multicast_check(c);
	case LONGWAVE__NS__V1__CHANGE__CHANGE__NOT_SET:
	default:
		return "change is empty";
	}
}

static void put_message(struct sql_params *p, const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *bytes = lw_xmalloc(n ? n : 1);
	protobuf_c_message_pack(m, bytes);
	sql_put_bytes(p, lw_span(bytes, n));
	free(bytes);
}

static uint64_t dev_eui(const char *text)
{
	struct lw_dev_eui eui = {0};
	lw_dev_eui_parse(&eui, text);
	return lw_dev_eui_u64(eui);
}

static uint64_t gateway_id(const char *text)
{
	struct lw_gateway_id id = {0};
	lw_gateway_id_parse(&id, text);
	return lw_gateway_id_u64(id);
}

/* Consecutive changes of one kind share a statement, as long as no row comes twice. */
struct run {
	struct applying *a;
	struct sql_tx *tx;
	int kind;
	struct sql_params *p;
	struct lw_bmap keys;
};

static bool continues(struct run *r, int kind, const char *key)
{
	bool twice = lw_bmap_find(&r->keys, lw_span_str(key)) != NULL;
	bool same = r->kind == kind && !twice;
	if (!same)
		lw_bmap_clear(&r->keys);
	lw_bmap_put(&r->keys, lw_span_str(key), r);
	r->kind = kind;
	return same;
}

/* One spelling of an EUI. */
static const char *key_of(uint64_t eui, char out[24])
{
	snprintf(out, 24, "%016llx", (unsigned long long)eui);
	return out;
}

static void on_put_devices(void *arg, const struct sql_result *r)
{
	struct applying *a = arg;
	for (size_t i = 0; i < sql_rows(r); i++)
		lw_map_put(&a->put_devices, (uint64_t)sql_i64(r, i, 0), a);
}

static void on_deleted_profiles(void *arg, const struct sql_result *r)
{
	struct applying *a = arg;
	for (size_t i = 0; i < sql_rows(r); i++)
		lw_bmap_put(&a->deleted_profiles, lw_span_str(sql_text(r, i, 0)), a);
}

static void add(struct run *r, const Longwave__Ns__V1__Change *c)
{
	int kind = (int)c->change_case;
	char key[24];
	uint64_t eui;
	switch (c->change_case) {
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_GATEWAY:
		eui = gateway_id(c->put_gateway->gateway_id);
		if (!continues(r, kind, key_of(eui, key)))
			r->p = sql_tx_add(r->tx, &PUT_GATEWAY, NULL, NULL);
		sql_put_i64(r->p, ns_i64(eui));
		put_message(r->p, &c->put_gateway->base);
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_GATEWAY:
		continues(r, -1, "");
		eui = gateway_id(c->delete_gateway);
		ns_multicast_forget(r->tx, true, eui);
		ns_link_forget(r->tx, NS_LINK_GATEWAY, eui);
		sql_put_i64(sql_tx_add(r->tx, &DELETE_GATEWAY, NULL, NULL), ns_i64(eui));
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE_PROFILE:
		if (!continues(r, kind, c->put_device_profile->id))
			r->p = sql_tx_add(r->tx, &PUT_PROFILE, NULL, NULL);
		sql_put_text(r->p, c->put_device_profile->id);
		put_message(r->p, &c->put_device_profile->base);
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_DEVICE_PROFILE:
		if (!continues(r, kind, c->delete_device_profile))
			r->p = sql_tx_add(r->tx, &DELETE_PROFILE, on_deleted_profiles, r->a);
		sql_put_text(r->p, c->delete_device_profile);
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE:
		eui = dev_eui(c->put_device->dev_eui);
		if (!continues(r, kind, key_of(eui, key)))
			r->p = sql_tx_add(r->tx, &PUT_DEVICE, on_put_devices, r->a);
		sql_put_i64(r->p, ns_i64(eui));
		sql_put_text(r->p, c->put_device->device_profile_id);
		put_message(r->p, &c->put_device->base);
		sql_put_i64(r->p, ns_i64((lw_rng_u64(r->a->s->o.rng) >> 16) | 1));
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_DEVICE:
		/* Two statements a run would interleave their parameters: each deletion has its own pair. */
		continues(r, -1, "");
		eui = dev_eui(c->delete_device);
		sql_put_i64(sql_tx_add(r->tx, &DELETE_ITEMS, NULL, NULL), ns_i64(eui));
		ns_multicast_forget(r->tx, false, eui);
		ns_link_forget(r->tx, NS_LINK_DEVICE, eui);
		sql_put_i64(sql_tx_add(r->tx, &DELETE_DEVICE, NULL, NULL), ns_i64(eui));
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_GROUP:
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_MULTICAST_GROUP:
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_MEMBER:
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_MULTICAST_MEMBER:
		continues(r, -1, "");
		ns_multicast_add(r->tx, c, &r->a->groups_there);
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE__NOT_SET:
	default:
		break;
	}
}

static void drop(struct ns_store *s, const char *text)
{
	struct lw_dev_eui eui;
	if (lw_dev_eui_parse(&eui, text) == 0)
		ns_cache_drop(s, eui); /* read again when a frame asks */
}

/* Memory follows what was committed. Returns "" or why the change had no effect. */
static const char *refresh(struct applying *a, const Longwave__Ns__V1__Change *c)
{
	struct ns_store *s = a->s;
	struct lw_gateway_id gw;
	switch (c->change_case) {
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_GATEWAY:
		ns_catalog_put_gateway(s, c->put_gateway, 0);
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_GATEWAY:
		if (lw_gateway_id_parse(&gw, c->delete_gateway) == 0)
			ns_catalog_delete_gateway(s, gw);
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE_PROFILE:
		ns_catalog_put_profile(s, c->put_device_profile);
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_DEVICE_PROFILE:
		if (lw_bmap_find(&a->deleted_profiles, lw_span_str(c->delete_device_profile)))
			ns_catalog_delete_profile(s, c->delete_device_profile);
		else if (ns_catalog_profile(s, c->delete_device_profile))
			return "the device profile is in use";
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE:
		if (!lw_map_find(&a->put_devices, dev_eui(c->put_device->dev_eui)))
			return "device profile is unknown";
		drop(s, c->put_device->dev_eui);
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_DEVICE:
		drop(s, c->delete_device);
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_GROUP:
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_MULTICAST_GROUP:
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_MEMBER:
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_MULTICAST_MEMBER:
		return ns_multicast_applied(c, &a->groups_there);
	case LONGWAVE__NS__V1__CHANGE__CHANGE__NOT_SET:
	default:
		break;
	}
	return "";
}

static void on_applied(void *arg, const struct sql_outcome *outcome)
{
	struct applying *a = arg;
	a->s->n_applying--;
	for (size_t i = 0; !outcome->err && i < a->req->n_changes; i++)
		if (!a->errors[i][0]) {
			a->errors[i] = refresh(a, a->req->changes[i]);
			if (!a->errors[i][0])
				ns_tell_change(a->s, a->req->changes[i]);
		}
	a->done(a->arg, outcome->err, a->errors, a->req->n_changes);
	lw_map_deinit(&a->put_devices);
	lw_bmap_deinit(&a->deleted_profiles);
	lw_bmap_deinit(&a->groups_there);
	free(a->errors);
	free(a);
}

void ns_store_apply(struct ns_store *s, const Longwave__Ns__V1__ApplyRequest *req, ns_apply_fn *done, void *arg)
{
	struct applying *a = lw_xcalloc(1, sizeof(*a));
	struct run run = {.a = a, .tx = sql_tx_new(s->db), .kind = -2};
	*a = (struct applying){.s = s, .req = req, .done = done, .arg = arg};
	a->errors = lw_xcalloc(req->n_changes ? req->n_changes : 1, sizeof(*a->errors));
	lw_map_init(&a->put_devices);
	lw_bmap_init(&a->deleted_profiles);
	lw_bmap_init(&a->groups_there);
	lw_bmap_init(&run.keys);
	for (size_t i = 0; i < req->n_changes; i++) {
		a->errors[i] = check(req->changes[i]);
		if (!a->errors[i][0])
			add(&run, req->changes[i]);
	}
	lw_bmap_deinit(&run.keys);
	s->n_applying++;
	sql_tx_commit(run.tx, on_applied, a);
}
