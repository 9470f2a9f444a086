/* Longwave's own: sessions that move between servers (longwave.app.v1.DeviceService). The network-server's part comes
 * and goes as it is; what is added is the AppSKey, to those who ask for it. Keys in here never reach a log. */
#include <string.h>

#include "app-server/api/handlers.h"
#include "app-server/store/row.h"
#include "app-server/store/session.h"
#include "common/crypto/hash.h"
#include "proto/google/protobuf/empty.pb-c.h"
#include "proto/longwave/app/v1/device.pb-c.h"

#define JOIN_NONCE_MAX 0xFFFFFF

static const struct sql_stmt get_join_nonce = {
	.name = "as_device_join_nonce",
	.text = "SELECT join_nonce, rj_count1 FROM device_keys WHERE dev_eui = $1",
	.params = "t",
	.cols = "ll",
};
static const struct sql_stmt raise_join_nonce = {
	.name = "as_device_raise_join_nonce",
	.text = "UPDATE device_keys SET join_nonce = $2 WHERE dev_eui = $1 AND join_nonce < $2",
	.params = "tl",
};
static const struct sql_stmt raise_rj_count1 = {
	.name = "as_device_raise_rj_count1",
	.text = "UPDATE device_keys SET rj_count1 = $2 WHERE dev_eui = $1 AND rj_count1 < $2",
	.params = "tl",
};
static const struct sql_stmt use_dev_nonce = {
	.name = "as_device_use_dev_nonce",
	.text = "INSERT INTO dev_nonce (dev_eui, join_eui, dev_nonce) VALUES ($1, $2, $3)"
		" ON CONFLICT (dev_eui, join_eui, dev_nonce) DO NOTHING",
	.params = "ttl",
};
static const struct sql_stmt forget_others = {
	.name = "as_device_session_forget",
	.text = "DELETE FROM device_session WHERE dev_eui = $1 AND session_key_id NOT IN ($2, $3, $4)",
	.params = "tttt",
};
static const struct sql_stmt set_addr = {
	.name = "as_device_session_addr",
	.text = "UPDATE device SET dev_addr = $2, class_enabled = $3 WHERE dev_eui = $1",
	.params = "ttl",
};

/* ---- out ---- */

struct exporting {
	Longwave__App__V1__ExportSessionResponse *resp;
	uint32_t join_nonce, rj_count1;
};

static bool got_key(struct as_call *c, int err, const struct lw_key *key, char **out)
{
	char text[LW_KEY_TEXT];
	if (err < 0 && err != LW_ENOTFOUND) {
		as_fail(c, GRPC_UNAVAILABLE, "the database is not available");
		return false;
	}
	if (err == 0)
		*out = lw_arena_strdup(c->arena, lw_key_print(*key, text));
	lw_wipe(text, sizeof(text));
	return true;
}

static void on_offered_before_key(void *arg, int err, const struct lw_key *key)
{
	struct as_call *c = arg;
	Longwave__App__V1__ExportSessionResponse *resp = ((struct exporting *)c->state)->resp;
	if (got_key(c, err, key, &resp->offered_before_app_s_key))
		as_reply(c, &resp->base);
}

static void ask_offered_before(struct as_call *c)
{
	Longwave__App__V1__ExportSessionResponse *resp = ((struct exporting *)c->state)->resp;
	const Longwave__Ns__V1__SessionRejoin *rejoin = resp->session->rejoin;
	if (rejoin && rejoin->offer_before)
		as_session_key(
			c->as, c->object_id,
			lw_span(rejoin->offer_before->session_key_id.data, rejoin->offer_before->session_key_id.len),
			on_offered_before_key, c);
	else
		as_reply(c, &resp->base);
}

static void on_offered_key(void *arg, int err, const struct lw_key *key)
{
	struct as_call *c = arg;
	Longwave__App__V1__ExportSessionResponse *resp = ((struct exporting *)c->state)->resp;
	if (got_key(c, err, key, &resp->offered_app_s_key))
		ask_offered_before(c);
}

static void on_key(void *arg, int err, const struct lw_key *key)
{
	struct as_call *c = arg;
	Longwave__App__V1__ExportSessionResponse *resp = ((struct exporting *)c->state)->resp;
	const Longwave__Ns__V1__SessionRejoin *rejoin = resp->session->rejoin;
	if (!got_key(c, err, key, &resp->app_s_key))
		return;
	if (rejoin && rejoin->offer)
		as_session_key(c->as, c->object_id,
			       lw_span(rejoin->offer->session_key_id.data, rejoin->offer->session_key_id.len),
			       on_offered_key, c);
	else
		ask_offered_before(c);
}

static void on_exported(struct as_call *c, const ProtobufCMessage *msg)
{
	const Longwave__Ns__V1__ExportSessionResponse *in = (const void *)msg;
	const Longwave__App__V1__ExportSessionRequest *req = c->req;
	struct exporting *x = c->state;
	x->resp = as_msg_new(c->arena, &longwave__app__v1__export_session_response__descriptor);
	x->resp->join_nonce = x->join_nonce;
	x->resp->rj_count1 = x->rj_count1;
	if (!in->session) {
		as_fail(c, GRPC_INTERNAL, "the network-server gave no session");
		return;
	}
	x->resp->session = as_msg_copy(c->arena, &in->session->base);
	if (req->include_app_s_key)
		as_session_key(c->as, c->object_id,
			       lw_span(in->session->session_key_id.data, in->session->session_key_id.len), on_key, c);
	else
		as_reply(c, &x->resp->base);
}

static void on_join_nonce(struct as_call *c, const struct sql_result *r)
{
	Longwave__Ns__V1__DeviceRequest out = LONGWAVE__NS__V1__DEVICE_REQUEST__INIT;
	struct exporting *x = LW_ARENA_NEW(c->arena, struct exporting);
	x->join_nonce = sql_rows(r) > 0 ? (uint32_t)sql_i64(r, 0, 0) : 0;
	x->rj_count1 = sql_rows(r) > 0 ? (uint32_t)sql_i64(r, 0, 1) : 0;
	c->state = x;
	out.dev_eui = (char *)(uintptr_t)c->object_id;
	as_ns(c, "ExportSession", &out.base, &longwave__ns__v1__export_session_response__descriptor, on_exported);
}

void as_device_session_export(struct as_call *c)
{
	as_query_text(c, &get_join_nonce, c->object_id, on_join_nonce);
}

/* ---- in ---- */

/* An AppSKey that comes along. It gets a name of its own: it is written before the network-server uses it, beside the
 * key of the session that it replaces. */
struct arriving {
	bool given;
	struct lw_key key;
	uint8_t id[16];
	char id_text[65];
};

struct importing {
	struct arriving now;
	struct arriving offered;
	struct arriving offered_before;
	char addr[LW_DEVADDR_TEXT];
	char join_eui[LW_EUI_TEXT];
	Longwave__Ns__V1__ExportedSession session; /* the caller's, with our names for the keys */
	Longwave__Ns__V1__SessionRejoin rejoin;
	Longwave__Ns__V1__SessionRejoin__Offer offer, offer_before;
};

static bool arrive(struct as_call *c, struct arriving *a, const char *text, ProtobufCBinaryData *id, const char *name)
{
	a->given = text[0] != '\0';
	if (a->given && lw_key_parse(&a->key, text) < 0) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "%s is not a key of 32 hexadecimal digits", name);
		return false;
	}
	if (a->given) {
		lw_random_bytes(a->id, sizeof(a->id));
		*id = (ProtobufCBinaryData){.len = sizeof(a->id), .data = a->id};
	}
	as_session_id_text(lw_span(id->data, id->len), a->id_text);
	return true;
}

static void put_key(struct as_call *c, struct sql_tx *tx, const struct arriving *a, const char *addr)
{
	char key[LW_KEY_TEXT];
	if (!a->given)
		return;
	struct sql_params *p = sql_tx_add(tx, &as_session_insert, NULL, NULL);
	sql_put_text(p, c->object_id);
	sql_put_text(p, a->id_text);
	sql_put_text(p, lw_key_print(a->key, key));
	sql_put_text(p, addr);
	sql_put_i64(p, as_now_us(c->as));
	lw_wipe(key, sizeof(key));
}

static void wipe(struct importing *m)
{
	lw_wipe(&m->now.key, sizeof(m->now.key));
	lw_wipe(&m->offered.key, sizeof(m->offered.key));
	lw_wipe(&m->offered_before.key, sizeof(m->offered_before.key));
}

static void finished(struct as_call *c, const struct sql_result *r)
{
	(void)r;
	as_reply_empty(c);
}

/* The join that the session came from can't be repeated here, and the next one finds a JoinNonce that the device takes.
 */
static void put_nonces(struct as_call *c, struct sql_tx *tx, const struct importing *m)
{
	const Longwave__App__V1__ImportSessionRequest *req = c->req;
	struct sql_params *p;
	if (req->join_nonce > 0) {
		p = sql_tx_add(tx, &raise_join_nonce, NULL, NULL);
		sql_put_text(p, c->object_id);
		sql_put_i64(p, req->join_nonce);
	}
	if (req->rj_count1 > 0) {
		p = sql_tx_add(tx, &raise_rj_count1, NULL, NULL);
		sql_put_text(p, c->object_id);
		sql_put_i64(p, req->rj_count1);
	}
	/* Of ABP: nothing was joined. */
	if (m->session.dev_nonce == 0 && strspn(m->join_eui, "0") == strlen(m->join_eui))
		return;
	p = sql_tx_add(tx, &use_dev_nonce, NULL, NULL);
	sql_put_text(p, c->object_id);
	sql_put_text(p, m->join_eui);
	sql_put_i64(p, m->session.dev_nonce);
}

static void on_imported(struct as_call *c, const ProtobufCMessage *resp)
{
	const struct importing *m = c->state;
	struct sql_tx *tx = sql_tx_new(c->as->db);
	(void)resp;
	struct sql_params *p = sql_tx_add(tx, &forget_others, NULL, NULL);
	sql_put_text(p, c->object_id);
	sql_put_text(p, m->now.id_text);
	sql_put_text(p, m->offered.id_text);
	sql_put_text(p, m->offered_before.id_text);
	p = sql_tx_add(tx, &set_addr, NULL, NULL);
	sql_put_text(p, c->object_id);
	sql_put_text(p, m->addr);
	sql_put_i64(p, m->session.enabled_class);
	put_nonces(c, tx, m);
	as_commit(c, tx, finished);
}

static void call_import(struct as_call *c, const struct sql_result *r)
{
	const Longwave__App__V1__ImportSessionRequest *req = c->req;
	Longwave__Ns__V1__ImportSessionRequest out = LONGWAVE__NS__V1__IMPORT_SESSION_REQUEST__INIT;
	struct importing *m = c->state;
	(void)r;
	out.session = &m->session;
	out.flush_queue = req->flush_queue;
	wipe(m);
	as_ns(c, "ImportSession", &out.base, &google__protobuf__empty__descriptor, on_imported);
}

static bool check(struct as_call *c, const Longwave__App__V1__ImportSessionRequest *req, struct importing *m)
{
	struct lw_devaddr addr;
	struct lw_join_eui join_eui = {{0}};
	struct lw_dev_eui dev_eui;
	char text[LW_EUI_TEXT];
	if (!req->session) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "session is missing");
		return false;
	}
	if (lw_dev_eui_parse(&dev_eui, req->session->dev_eui) < 0 ||
	    strcmp(lw_dev_eui_print(dev_eui, text), c->object_id) != 0) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "session.dev_eui is of another device");
		return false;
	}
	if (lw_devaddr_parse(&addr, req->session->dev_addr) < 0) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "session.dev_addr is not an address of 8 hexadecimal digits");
		return false;
	}
	if (req->session->join_eui[0] && lw_join_eui_parse(&join_eui, req->session->join_eui) < 0) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "session.join_eui is not an EUI of 16 hexadecimal digits");
		return false;
	}
	if (req->join_nonce > JOIN_NONCE_MAX || req->session->dev_nonce > UINT16_MAX) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "join_nonce or session.dev_nonce is too large");
		return false;
	}
	if (req->rj_count1 > UINT16_MAX + 1) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "rj_count1 is too large");
		return false;
	}
	lw_devaddr_print(addr, m->addr);
	lw_join_eui_print(join_eui, m->join_eui);
	return true;
}

/* The offers become ours to name their keys. */
static bool take_offers(struct as_call *c, const Longwave__App__V1__ImportSessionRequest *req, struct importing *m)
{
	if (!req->session->rejoin)
		return true;
	m->rejoin = *req->session->rejoin;
	m->session.rejoin = &m->rejoin;
	if (m->rejoin.offer) {
		m->offer = *m->rejoin.offer;
		m->rejoin.offer = &m->offer;
		if (!arrive(c, &m->offered, req->offered_app_s_key, &m->offer.session_key_id, "offered_app_s_key"))
			return false;
	}
	if (!m->rejoin.offer_before)
		return true;
	m->offer_before = *m->rejoin.offer_before;
	m->rejoin.offer_before = &m->offer_before;
	return arrive(c, &m->offered_before, req->offered_before_app_s_key, &m->offer_before.session_key_id,
		      "offered_before_app_s_key");
}

void as_device_session_import(struct as_call *c)
{
	const Longwave__App__V1__ImportSessionRequest *req = c->req;
	struct importing *m = LW_ARENA_NEW(c->arena, struct importing);

	c->state = m;
	if (!check(c, req, m))
		return;
	m->session = *req->session;
	m->session.dev_eui = (char *)(uintptr_t)c->object_id;
	if (!arrive(c, &m->now, req->app_s_key, &m->session.session_key_id, "app_s_key"))
		return;
	if (!take_offers(c, req, m))
		return;
	if (!m->now.given && !m->offered.given && !m->offered_before.given) {
		call_import(c, NULL);
		return;
	}
	struct sql_tx *tx = sql_tx_new(c->as->db);
	put_key(c, tx, &m->now, m->addr);
	put_key(c, tx, &m->offered, m->addr);
	put_key(c, tx, &m->offered_before, m->addr);
	as_commit(c, tx, call_import);
}
