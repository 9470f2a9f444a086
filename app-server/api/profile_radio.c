/* Longwave's own: ADR and MAC settings of a device profile (longwave.app.v1.DeviceProfileService). Kept beside the
 * profile, told to the network-server with it. */
#include "app-server/api/handlers.h"
#include "app-server/domain/radio.h"
#include "app-server/link/nschange.h"
#include "app-server/link/nsync.h"
#include "app-server/store/row.h"
#include "common/base/bug.h"
#include "common/pb/unpack.h"
#include "proto/api/device_profile.pb-c.h"

static const struct sql_stmt select_one = {
	.name = "as_profile_radio_get",
	.text = "SELECT tenant_id, body, updated_at, radio FROM device_profile WHERE id = $1",
	.params = "t",
	.cols = "tyly",
};
/* Both parts go to the network-server together: neither may have changed since it was read. */
static const struct sql_stmt update = {
	.name = "as_profile_radio_update",
	.text = "UPDATE device_profile SET radio = b.radio, updated_at = b.now_us FROM {batch}"
		" WHERE device_profile.id = b.id AND device_profile.updated_at = b.was_us RETURNING {b.n}",
	.batch = "id:t radio:y now_us:l was_us:l",
	.cols = "l",
};

struct change {
	int64_t was_us;
	struct lw_span radio;
};

/* ---- get ---- */

static void on_got(struct as_call *c, const struct sql_result *r)
{
	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
		return;
	}
	Longwave__App__V1__GetDeviceProfileRadioResponse *resp =
		as_msg_new(c->arena, &longwave__app__v1__get_device_profile_radio_response__descriptor);
	if (as_unpack(c, &longwave__app__v1__device_profile_radio__descriptor,
		      sql_is_null(r, 0, 3) ? lw_span(NULL, 0) : sql_span(r, 0, 3), "device_profile", c->object_id,
		      "radio", (ProtobufCMessage **)&resp->radio))
		as_reply(c, &resp->base);
}

void as_profile_radio_get(struct as_call *c)
{
	as_query_text(c, &select_one, c->object_id, on_got);
}

/* ---- update ---- */

static void bind_update(const struct as_nsop *op, struct sql_params *p)
{
	struct as_call *c = op->arg;
	const struct change *ch = c->state;
	int64_t now_us = as_now_us(c->as);
	sql_put_text(p, op->id);
	sql_put_bytes(p, ch->radio);
	sql_put_i64(p, now_us > ch->was_us ? now_us : ch->was_us + 1);
	sql_put_i64(p, ch->was_us);
}

static void with_profile(struct as_call *c, const struct sql_result *r)
{
	static const Longwave__App__V1__DeviceProfileRadio none = LONGWAVE__APP__V1__DEVICE_PROFILE_RADIO__INIT;
	const Longwave__App__V1__UpdateDeviceProfileRadioRequest *req = c->req;
	const Longwave__App__V1__DeviceProfileRadio *radio = req->radio ? req->radio : &none;
	struct change *ch = LW_ARENA_NEW(c->arena, struct change);
	ProtobufCMessage *body = NULL;
	struct lw_diag diag;

	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
		return;
	}
	if (!as_unpack(c, &api__device_profile__descriptor, sql_span(r, 0, 1), "device_profile", c->object_id, "body",
		       &body))
		return;
	const Api__DeviceProfile *p = (const void *)body;
	if (as_radio_check(radio, p->region, &diag) < 0) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "%s", diag.text);
		return;
	}
	size_t n = protobuf_c_message_get_packed_size(&radio->base);
	uint8_t *packed = lw_arena_alloc(c->arena, n + 1);
	ch->radio = lw_span(packed, protobuf_c_message_pack(&radio->base, packed));
	ch->was_us = sql_i64(r, 0, 2);
	const char *tenant = sql_is_null(r, 0, 0) ? NULL : lw_arena_strdup(c->arena, sql_text(r, 0, 0));
	c->state = ch;
	c->miss = LW_ECONFLICT;
	Longwave__Ns__V1__Change *change = as_change_profile(c->arena, c->object_id, tenant, p, ch->radio);
	BUG_ON(!change); /* packed above */
	as_put(c, AS_KIND_PROFILE, c->object_id, change, &update, true, bind_update, "device profile");
}

void as_profile_radio_update(struct as_call *c)
{
	as_query_text(c, &select_one, c->object_id, with_profile);
}
