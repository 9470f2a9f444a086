/* Activation by hand (ABP): the network keys go to the network-server, the AppSKey stays here. */
#include <string.h>

#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/store/row.h"
#include "app-server/store/session.h"
#include "common/base/bug.h"
#include "common/base/hex.h"
#include "common/crypto/hash.h"
#include "common/lorawan/types.h"
#include "common/pb/unpack.h"
#include "proto/api/device.pb-c.h"
#include "proto/api/device_profile.pb-c.h"
#include "proto/google/protobuf/empty.pb-c.h"

static const struct sql_stmt profile_of = {
	.name = "as_activation_profile",
	.text = "SELECT p.body FROM device AS d JOIN device_profile AS p ON p.id = d.device_profile_id"
		" WHERE d.dev_eui = $1",
	.params = "t",
	.cols = "y",
};
static const struct sql_stmt set_addr = {
	.name = "as_activation_set_addr",
	.text = "UPDATE device SET dev_addr = $2, class_enabled = $3 WHERE dev_eui = $1",
	.params = "ttl",
};
static const struct sql_stmt owner = {
	.name = "as_activation_owner",
	.text = "SELECT tenant_id FROM device WHERE dev_eui = $1",
	.params = "t",
	.cols = "t",
};

struct activation {
	struct lw_devaddr addr;
	char addr_text[LW_DEVADDR_TEXT];
	struct lw_key app_s_key, f_nwk, s_nwk, nwk_enc;
	uint8_t id[16]; /* names the AppSKey: the new one is written before the network-server uses it, beside the old
			 */
	char id_text[65];
	bool flush;
	bool class_c;
	int mac_version;
	char *region_config_id;
};

static bool parse_key(struct as_call *c, struct lw_key *out, const char *text, const char *name)
{
	if (lw_key_parse(out, text) == 0)
		return true;
	as_fail(c, GRPC_INVALID_ARGUMENT, "%s is not a key of 32 hexadecimal digits", name);
	return false;
}

static void finished(struct as_call *c, const struct sql_result *r)
{
	(void)r;
	as_reply_empty(c);
}

static void put_addr(struct as_call *c, struct sql_tx *tx, const char *addr, bool class_c)
{
	struct sql_params *p = sql_tx_add(tx, &set_addr, NULL, NULL);
	sql_put_text(p, c->object_id);
	sql_put_text(p, addr);
	sql_put_i64(p, class_c ? LW_CLASS_C : LW_CLASS_A);
}

static void put_forget(struct as_call *c, struct sql_tx *tx, const char *keep)
{
	struct sql_params *p = sql_tx_add(tx, &as_session_forget_others, NULL, NULL);
	sql_put_text(p, c->object_id);
	sql_put_text(p, keep);
}

static void on_activated(struct as_call *c, const ProtobufCMessage *resp)
{
	const struct activation *a = c->state;
	(void)resp;
	struct sql_tx *tx = sql_tx_new(c->as->db);
	put_forget(c, tx, a->id_text);
	put_addr(c, tx, a->addr_text, a->class_c);
	as_commit(c, tx, finished);
}

static void call_activate(struct as_call *c, const struct sql_result *r)
{
	const Api__DeviceActivation *req = ((const Api__ActivateDeviceRequest *)c->req)->device_activation;
	struct activation *a = c->state;
	Longwave__Ns__V1__Session s = LONGWAVE__NS__V1__SESSION__INIT;
	Longwave__Ns__V1__ActivateRequest out = LONGWAVE__NS__V1__ACTIVATE_REQUEST__INIT;

	(void)r;
	s.dev_eui = (char *)(uintptr_t)c->object_id;
	s.dev_addr = a->addr_text;
	s.f_nwk_s_int_key = (ProtobufCBinaryData){.len = 16, .data = a->f_nwk.b};
	s.s_nwk_s_int_key = (ProtobufCBinaryData){.len = 16, .data = a->s_nwk.b};
	s.nwk_s_enc_key = (ProtobufCBinaryData){.len = 16, .data = a->nwk_enc.b};
	s.session_key_id = (ProtobufCBinaryData){.len = sizeof(a->id), .data = a->id};
	s.f_cnt_up = req->f_cnt_up;
	s.n_f_cnt_down = req->n_f_cnt_down;
	s.a_f_cnt_down = req->a_f_cnt_down;
	s.mac_version = (Common__MacVersion)a->mac_version;
	s.enabled_class = a->class_c ? COMMON__DEVICE_CLASS__CLASS_C : COMMON__DEVICE_CLASS__CLASS_A;
	s.region_config_id = a->region_config_id;
	out.session = &s;
	out.flush_queue = a->flush;
	as_ns(c, "Activate", &out.base, &google__protobuf__empty__descriptor, on_activated);
}

static void with_profile(struct as_call *c, const struct sql_result *r)
{
	struct activation *a = c->state;
	ProtobufCMessage *body = NULL;
	char key[LW_KEY_TEXT];

	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
		return;
	}
	if (!as_unpack(c, &api__device_profile__descriptor, sql_span(r, 0, 0), "device_profile of device", c->object_id,
		       "body", &body))
		return;
	const Api__DeviceProfile *p = (const void *)body;
	a->mac_version = (int)p->mac_version;
	a->flush = p->flush_queue_on_activate;
	/* A 1.1 device says itself when it switches to class C (DeviceModeInd). */
	a->class_c = p->supports_class_c && a->mac_version < LW_MAC_1_1_0;
	a->region_config_id = p->region_config_id;
	lw_random_bytes(a->id, sizeof(a->id));
	as_session_id_text(lw_span(a->id, sizeof(a->id)), a->id_text);
	struct sql_tx *tx = sql_tx_new(c->as->db);
	struct sql_params *q = sql_tx_add(tx, &as_session_insert, NULL, NULL);
	sql_put_text(q, c->object_id);
	sql_put_text(q, a->id_text);
	sql_put_text(q, lw_key_print(a->app_s_key, key));
	sql_put_text(q, a->addr_text);
	sql_put_i64(q, as_now_us(c->as));
	lw_wipe(key, sizeof(key));
	as_commit(c, tx, call_activate);
}

void as_device_activate(struct as_call *c)
{
	const Api__DeviceActivation *req = ((const Api__ActivateDeviceRequest *)c->req)->device_activation;
	struct activation *a = LW_ARENA_NEW(c->arena, struct activation);

	if (lw_devaddr_parse(&a->addr, req->dev_addr) < 0) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "dev_addr is not a device address of 8 hexadecimal digits");
		return;
	}
	lw_devaddr_print(a->addr, a->addr_text);
	if (!parse_key(c, &a->app_s_key, req->app_s_key, "app_s_key") ||
	    !parse_key(c, &a->nwk_enc, req->nwk_s_enc_key, "nwk_s_enc_key") ||
	    !parse_key(c, &a->s_nwk, req->s_nwk_s_int_key, "s_nwk_s_int_key") ||
	    !parse_key(c, &a->f_nwk, req->f_nwk_s_int_key, "f_nwk_s_int_key"))
		return;
	c->state = a;
	as_query_text(c, &profile_of, c->object_id, with_profile);
}

/* ---- deactivate ---- */

static void on_deactivated(struct as_call *c, const ProtobufCMessage *resp)
{
	(void)resp;
	struct sql_tx *tx = sql_tx_new(c->as->db);
	put_forget(c, tx, "");
	put_addr(c, tx, "", false);
	as_commit(c, tx, finished);
}

static Longwave__Ns__V1__DeviceRequest device_request(const struct as_call *c)
{
	Longwave__Ns__V1__DeviceRequest req = LONGWAVE__NS__V1__DEVICE_REQUEST__INIT;
	req.dev_eui = (char *)(uintptr_t)c->object_id;
	return req;
}

void as_device_deactivate(struct as_call *c)
{
	Longwave__Ns__V1__DeviceRequest req = device_request(c);
	as_ns(c, "Deactivate", &req.base, &google__protobuf__empty__descriptor, on_deactivated);
}

/* ---- read back ---- */

static void on_app_s_key(void *arg, int err, const struct lw_key *key)
{
	struct as_call *c = arg;
	Api__GetDeviceActivationResponse *resp = c->state;
	char text[LW_KEY_TEXT];
	if (err < 0 && err != LW_ENOTFOUND) {
		as_fail(c, GRPC_UNAVAILABLE, "the database is not available");
		return;
	}
	/* A key that another join server keeps wrapped is not known here. */
	if (err == 0)
		resp->device_activation->app_s_key = lw_arena_strdup(c->arena, lw_key_print(*key, text));
	as_reply(c, &resp->base);
}

static char *key_text(struct as_call *c, const ProtobufCBinaryData *b)
{
	char text[LW_KEY_TEXT];
	return b->len == 16 ? lw_arena_strdup(c->arena, lw_hex_encode(b->data, 16, text)) : (char *)(uintptr_t) "";
}

static void on_session(struct as_call *c, const ProtobufCMessage *msg)
{
	const Longwave__Ns__V1__Session *s = ((const Longwave__Ns__V1__GetSessionResponse *)(const void *)msg)->session;
	Api__GetDeviceActivationResponse *resp = as_msg_new(c->arena, &api__get_device_activation_response__descriptor);
	if (!s) {
		as_reply(c, &resp->base);
		return;
	}
	Api__DeviceActivation *a = as_msg_new(c->arena, &api__device_activation__descriptor);
	a->dev_eui = (char *)(uintptr_t)c->object_id;
	a->dev_addr = lw_arena_strdup(c->arena, s->dev_addr);
	a->nwk_s_enc_key = key_text(c, &s->nwk_s_enc_key);
	a->s_nwk_s_int_key = key_text(c, &s->s_nwk_s_int_key);
	a->f_nwk_s_int_key = key_text(c, &s->f_nwk_s_int_key);
	a->f_cnt_up = s->f_cnt_up;
	a->n_f_cnt_down = s->n_f_cnt_down;
	a->a_f_cnt_down = s->a_f_cnt_down;
	resp->device_activation = a;
	c->state = resp;
	as_session_key(c->as, c->object_id, lw_span(s->session_key_id.data, s->session_key_id.len), on_app_s_key, c);
}

void as_device_get_activation(struct as_call *c)
{
	Longwave__Ns__V1__DeviceRequest req = device_request(c);
	as_ns(c, "GetSession", &req.base, &longwave__ns__v1__get_session_response__descriptor, on_session);
}

/* ---- addresses ---- */

static void on_addr(struct as_call *c, const ProtobufCMessage *msg)
{
	Api__GetRandomDevAddrResponse resp = API__GET_RANDOM_DEV_ADDR_RESPONSE__INIT;
	resp.dev_addr = ((const Longwave__Ns__V1__GetRandomDevAddrResponse *)(const void *)msg)->dev_addr;
	as_reply(c, &resp.base);
}

static void ask_addr(struct as_call *c)
{
	Longwave__Ns__V1__DeviceRequest req = device_request(c);
	as_ns(c, "GetRandomDevAddr", &req.base, &longwave__ns__v1__get_random_dev_addr_response__descriptor, on_addr);
}

static void on_owner(struct as_call *c, const struct sql_result *r)
{
	struct lw_uuid tenant;
	bool found = sql_rows(r) > 0 && lw_uuid_parse(&tenant, sql_text(r, 0, 0)) == 0;
	if (!as_allowed(c, "DeviceAccess:Read", found ? &tenant : NULL))
		return;
	if (found)
		ask_addr(c);
	else
		as_fail_missing(c, c->object_id);
}

void as_device_random_addr(struct as_call *c)
{
	const Api__GetRandomDevAddrRequest *req = c->req;
	struct lw_uuid tenant;

	if (req->dev_eui[0]) {
		if ((c->object_id = as_eui_arg(c, req->dev_eui, "dev_eui")))
			as_query_text(c, &owner, c->object_id, on_owner);
		return;
	}
	const char *id = as_uuid_arg(c, req->tenant_id, "tenant_id");
	if (id && lw_uuid_parse(&tenant, id) == 0 && as_allowed(c, "TenantAccess:Read", &tenant))
		ask_addr(c);
}
