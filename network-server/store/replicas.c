/* What replicas tell each other about their common database, and forget on what they hear. */
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/xmalloc.h"
#include "network-server/store/store_impl.h"

#define BODY_MAX (64u * 1024)

void ns_tell(struct ns_store *s, const char *kind, struct lw_span body)
{
	if (s->o.tell)
		s->o.tell(s->o.arg, kind, body);
}

static void tell_eui(struct ns_store *s, const char *kind, uint64_t eui)
{
	uint8_t b[8];
	lw_put_le64(b, eui);
	ns_tell(s, kind, lw_span(b, sizeof(b)));
}

void ns_tell_device(struct ns_store *s, struct lw_dev_eui dev_eui)
{
	tell_eui(s, "device", lw_dev_eui_u64(dev_eui));
}

void ns_tell_addr(struct ns_store *s, struct lw_dev_eui dev_eui, struct lw_devaddr addr)
{
	uint8_t b[12];
	lw_put_le64(b, lw_dev_eui_u64(dev_eui));
	lw_put_le32(b + 8, addr.v);
	ns_tell(s, "address", lw_span(b, sizeof(b)));
}

static void tell_message(struct ns_store *s, const char *kind, const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *b = lw_xmalloc(n ? n : 1);
	protobuf_c_message_pack(m, b);
	ns_tell(s, kind, lw_span(b, n));
	free(b);
}

static void tell_device_text(struct ns_store *s, const char *text)
{
	struct lw_dev_eui eui;
	if (lw_dev_eui_parse(&eui, text) == 0)
		ns_tell_device(s, eui);
}

void ns_tell_change(struct ns_store *s, const Longwave__Ns__V1__Change *c)
{
	struct lw_gateway_id gw;
	if (!s->o.tell)
		return;
	switch (c->change_case) {
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_GATEWAY:
		tell_message(s, "gateway", &c->put_gateway->base);
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_GATEWAY:
		if (lw_gateway_id_parse(&gw, c->delete_gateway) == 0)
			tell_eui(s, "no gateway", lw_gateway_id_u64(gw));
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE_PROFILE:
		tell_message(s, "profile", &c->put_device_profile->base);
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_DEVICE_PROFILE:
		ns_tell(s, "no profile", lw_span_str(c->delete_device_profile));
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE:
		tell_device_text(s, c->put_device->dev_eui);
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_DEVICE:
		tell_device_text(s, c->delete_device);
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_GROUP: /* nobody has them in memory */
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_MULTICAST_GROUP:
	case LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_MEMBER:
	case LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_MULTICAST_MEMBER:
		break;
	case LONGWAVE__NS__V1__CHANGE__CHANGE__NOT_SET:
	default:
		break;
	}
}

static void hear_message(struct ns_store *s, bool is_gateway, struct lw_span body)
{
	if (is_gateway) {
		Longwave__Ns__V1__Gateway *g = longwave__ns__v1__gateway__unpack(NULL, body.n, body.p);
		if (g) {
			ns_catalog_put_gateway(s, g, 0);
			longwave__ns__v1__gateway__free_unpacked(g, NULL);
		}
		return;
	}
	Longwave__Ns__V1__DeviceProfile *p = longwave__ns__v1__device_profile__unpack(NULL, body.n, body.p);
	if (p) {
		ns_catalog_put_profile(s, p);
		longwave__ns__v1__device_profile__free_unpacked(p, NULL);
	}
}

void ns_store_hear(struct ns_store *s, const char *kind, struct lw_span body)
{
	uint64_t eui = body.n >= 8 ? lw_get_le64(body.p) : 0;
	if (!s->ready)
		s->load_again = true; /* the load under way may have passed it */
	if (!s->ready || body.n > BODY_MAX)
		return;
	if (strcmp(kind, "device") == 0 && body.n == 8) {
		ns_cache_drop(s, lw_dev_eui_from_u64(eui));
	} else if (strcmp(kind, "address") == 0 && body.n == 12) {
		struct lw_devaddr addr = {lw_get_le32(body.p + 8)};
		ns_cache_drop(s, lw_dev_eui_from_u64(eui));
		ns_cache_drop_addr(s, addr);
	} else if (strcmp(kind, "gateway") == 0 || strcmp(kind, "profile") == 0) {
		hear_message(s, kind[0] == 'g', body);
	} else if (strcmp(kind, "no gateway") == 0 && body.n == 8) {
		ns_catalog_delete_gateway(s, lw_gateway_id_from_u64(eui));
	} else if (strcmp(kind, "heard") == 0) {
		ns_catalog_hear(s, body);
	} else if (strcmp(kind, "no profile") == 0 && body.n < LW_UUID_TEXT) {
		char id[LW_UUID_TEXT] = "";
		memcpy(id, body.p, body.n);
		ns_catalog_delete_profile(s, id);
	}
}

void ns_store_resync(struct ns_store *s)
{
	if (s->ready)
		ns_cache_drop_all(s);
	ns_store_reload(s);
}

/* ---- questions of those who look after a replica that is gone ---- */

static const struct sql_stmt ORIGINS = {.name = "origins", .text = "SELECT name FROM origin", .cols = "t"};

struct asking {
	ns_origins_fn *origins;
	void *arg;
};

static void on_origins(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct asking *a = arg;
	size_t n = outcome->err ? 0 : sql_rows(r);
	const char **names = lw_xcalloc(n + 1, sizeof(*names));
	for (size_t i = 0; i < n; i++)
		names[i] = sql_text(r, i, 0);
	if (outcome->err != LW_ECANCELLED)
		a->origins(a->arg, names, n);
	free(names);
	free(a);
}

void ns_store_origins(struct ns_store *s, ns_origins_fn *done, void *arg)
{
	struct asking *a = lw_xmalloc(sizeof(*a));
	*a = (struct asking){.origins = done, .arg = arg};
	sql_query_send(sql_query_new(s->db, &ORIGINS), on_origins, a);
}
