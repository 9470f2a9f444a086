#include "app-server/link/nschange.h"

#include <string.h>

#include "app-server/link/nsync.h"
#include "common/base/bug.h"
#include "common/pb/unpack.h"
#include "proto/api/multicast_group.pb-c.h"
#include "proto/longwave/app/v1/device_profile.pb-c.h"

#define NEW(a, type, init)                                                                                             \
	({                                                                                                             \
		type *m_ = lw_arena_alloc((a), sizeof(type));                                                          \
		BUG_ON(!m_);                                                                                           \
		init(m_);                                                                                              \
		m_;                                                                                                    \
	})

static char *borrowed(const char *s)
{
	return (char *)(uintptr_t)(s ? s : "");
}

static Longwave__Ns__V1__Change *new_change(struct lw_arena *a, Longwave__Ns__V1__Change__ChangeCase which)
{
	Longwave__Ns__V1__Change *c = NEW(a, Longwave__Ns__V1__Change, longwave__ns__v1__change__init);
	c->change_case = which;
	return c;
}

Longwave__Ns__V1__Change *as_change_device(struct lw_arena *a, const struct as_ns_device *d)
{
	Longwave__Ns__V1__Change *c = new_change(a, LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE);
	Longwave__Ns__V1__Device *m = NEW(a, Longwave__Ns__V1__Device, longwave__ns__v1__device__init);
	m->dev_eui = borrowed(d->dev_eui);
	m->join_eui = borrowed(d->join_eui);
	m->tenant_id = borrowed(d->tenant_id);
	m->device_profile_id = borrowed(d->device_profile_id);
	m->is_disabled = d->is_disabled;
	m->skip_fcnt_check = d->skip_fcnt_check;
	c->put_device = m;
	return c;
}

Longwave__Ns__V1__Change *as_change_gateway(struct lw_arena *a, const struct as_ns_gateway *g)
{
	Longwave__Ns__V1__Change *c = new_change(a, LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_GATEWAY);
	Longwave__Ns__V1__Gateway *m = NEW(a, Longwave__Ns__V1__Gateway, longwave__ns__v1__gateway__init);
	m->gateway_id = borrowed(g->gateway_id);
	m->tenant_id = borrowed(g->tenant_id);
	/* 0, 0, 0 is how "unknown" reads back; nobody puts a gateway into the Gulf of Guinea. */
	if (g->latitude != 0 || g->longitude != 0 || g->altitude != 0) {
		m->location = NEW(a, Common__Location, common__location__init);
		m->location->latitude = g->latitude;
		m->location->longitude = g->longitude;
		m->location->altitude = g->altitude;
		m->location->source = COMMON__LOCATION_SOURCE__CONFIG;
	}
	m->stats_interval_s = g->stats_interval_s;
	m->downlink_priority = g->downlink_priority;
	m->is_private_up = g->is_private_up;
	m->is_private_down = g->is_private_down;
	c->put_gateway = m;
	return c;
}

static bool wants_position(const Api__DeviceProfile *p)
{
	for (size_t i = 0; i < p->n_tags; i++) {
		const char *v = p->tags[i]->value;
		if (strcmp(p->tags[i]->key, "geolocation") == 0)
			return v[0] && strcmp(v, "0") != 0 && strcmp(v, "false") != 0 && strcmp(v, "off") != 0;
	}
	return false;
}

Longwave__Ns__V1__Change *as_change_profile(struct lw_arena *a, const char *id, const char *tenant_id,
					    const Api__DeviceProfile *p, struct lw_span radio)
{
	ProtobufCMessage *settings = NULL;
	if (lw_pb_unpack(&longwave__app__v1__device_profile_radio__descriptor, radio, a, &settings) < 0)
		return NULL;
	const Longwave__App__V1__DeviceProfileRadio *rs = (const void *)settings;
	Longwave__Ns__V1__Change *c = new_change(a, LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE_PROFILE);
	Longwave__Ns__V1__DeviceProfile *m =
		NEW(a, Longwave__Ns__V1__DeviceProfile, longwave__ns__v1__device_profile__init);
	m->id = borrowed(id);
	m->tenant_id = borrowed(tenant_id);
	m->region = p->region;
	m->region_config_id = borrowed(p->region_config_id);
	m->mac_version = p->mac_version;
	m->reg_params_revision = p->reg_params_revision;
	m->supports_otaa = p->supports_otaa;
	m->supports_class_b = p->supports_class_b;
	m->supports_class_c = p->supports_class_c;
	m->abp_rx1_delay_s = p->abp_rx1_delay;
	m->abp_rx1_dr_offset = p->abp_rx1_dr_offset;
	m->abp_rx2_dr = p->abp_rx2_dr;
	m->abp_rx2_freq_hz = p->abp_rx2_freq;
	m->uplink_interval_s = p->uplink_interval;
	m->device_status_req_interval = p->device_status_req_interval;
	m->adr_algorithm_id = borrowed(p->adr_algorithm_id);
	m->flush_queue_on_activate = p->flush_queue_on_activate;
	m->wants_position = wants_position(p);
	m->class_b_timeout_s = p->class_b_timeout;
	m->class_c_timeout_s = p->class_c_timeout;
	m->class_b_ping_slot_periodicity = p->class_b_ping_slot_periodicity;
	m->class_b_ping_slot_dr = p->class_b_ping_slot_dr;
	m->class_b_ping_slot_freq_hz = p->class_b_ping_slot_freq;
	m->rx1_delay_s = p->rx1_delay;
	m->allow_roaming = p->allow_roaming;
	m->class_b_downlink_only = p->class_b_downlink_only;
	for (size_t i = 0; i < p->n_supported_uplink_data_rates; i++)
		if (p->supported_uplink_data_rates[i] < 16) /* as it was checked */
			m->uplink_data_rates |= 1U << p->supported_uplink_data_rates[i];
	m->adr = rs->adr;
	m->mac = rs->mac;
	c->put_device_profile = m;
	return c;
}

/* Tells sessions apart and says nothing of the keys: a MAC under the McAppSKey, which never leaves us. */
static ProtobufCBinaryData session_of(struct lw_arena *a, struct lw_keycache *keys, const struct as_ns_group *g,
				      struct lw_key app_s_key)
{
	uint8_t *out = lw_arena_alloc(a, LW_AES_BLOCK);
	const struct lw_span parts[] = {lw_span_str("multicast session"), lw_span_str(g->mc_addr),
					lw_span_str(g->mc_nwk_s_key)};
	BUG_ON(!out);
	lw_aes_cmac(lw_keycache_get(keys, &app_s_key), parts, 3, out);
	lw_wipe(&app_s_key, sizeof(app_s_key));
	return (ProtobufCBinaryData){.len = LW_AES_BLOCK, .data = out};
}

Longwave__Ns__V1__Change *as_change_group(struct lw_arena *a, struct lw_keycache *keys, const struct as_ns_group *g)
{
	Longwave__Ns__V1__Change *c = new_change(a, LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_GROUP);
	Longwave__Ns__V1__MulticastGroup *m =
		NEW(a, Longwave__Ns__V1__MulticastGroup, longwave__ns__v1__multicast_group__init);
	struct lw_key *nwk_s_key = LW_ARENA_NEW(a, struct lw_key);
	struct lw_key app_s_key;
	BUG_ON(!nwk_s_key);
	if (lw_key_parse(nwk_s_key, g->mc_nwk_s_key) < 0 || lw_key_parse(&app_s_key, g->mc_app_s_key) < 0)
		return NULL;
	m->id = borrowed(g->id);
	m->tenant_id = borrowed(g->tenant_id);
	m->region = (Common__Region)g->region;
	m->mc_addr = borrowed(g->mc_addr);
	m->mc_nwk_s_key = (ProtobufCBinaryData){.len = sizeof(nwk_s_key->b), .data = nwk_s_key->b};
	m->session = session_of(a, keys, g, app_s_key);
	lw_wipe(&app_s_key, sizeof(app_s_key));
	m->f_cnt = g->f_cnt;
	m->mode = g->group_type == API__MULTICAST_GROUP_TYPE__CLASS_B ? LONGWAVE__NS__V1__MULTICAST_GROUP__MODE__CLASS_B
		  : g->scheduling == API__MULTICAST_GROUP_SCHEDULING_TYPE__GPS_TIME
			  ? LONGWAVE__NS__V1__MULTICAST_GROUP__MODE__CLASS_C_GPS
			  : LONGWAVE__NS__V1__MULTICAST_GROUP__MODE__CLASS_C_SPACED;
	m->dr = g->dr;
	m->freq_hz = g->frequency;
	m->ping_slot_periodicity = g->periodicity;
	c->put_multicast_group = m;
	return c;
}

Longwave__Ns__V1__Change *as_change_member(struct lw_arena *a, const char *id, bool gateway, bool put)
{
	Longwave__Ns__V1__Change *c = new_change(a, put ? LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_MULTICAST_MEMBER
							: LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_MULTICAST_MEMBER);
	Longwave__Ns__V1__MulticastMember *m =
		NEW(a, Longwave__Ns__V1__MulticastMember, longwave__ns__v1__multicast_member__init);
	const char *slash = strchr(id, '/');
	if (!slash)
		return NULL;
	m->multicast_group_id = lw_arena_strndup(a, id, (size_t)(slash - id));
	*(gateway ? &m->gateway_id : &m->dev_eui) = borrowed(slash + 1);
	if (put)
		c->put_multicast_member = m;
	else
		c->delete_multicast_member = m;
	return c;
}

Longwave__Ns__V1__Change *as_change_delete(struct lw_arena *a, const char *kind, const char *id)
{
	Longwave__Ns__V1__Change *c;
	if (strcmp(kind, AS_KIND_MULTICAST_DEVICE) == 0 || strcmp(kind, AS_KIND_MULTICAST_GATEWAY) == 0)
		return as_change_member(a, id, strcmp(kind, AS_KIND_MULTICAST_GATEWAY) == 0, false);
	if (strcmp(kind, AS_KIND_MULTICAST) == 0) {
		c = new_change(a, LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_MULTICAST_GROUP);
		c->delete_multicast_group = borrowed(id);
	} else if (strcmp(kind, AS_KIND_GATEWAY) == 0) {
		c = new_change(a, LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_GATEWAY);
		c->delete_gateway = borrowed(id);
	} else if (strcmp(kind, AS_KIND_PROFILE) == 0) {
		c = new_change(a, LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_DEVICE_PROFILE);
		c->delete_device_profile = borrowed(id);
	} else {
		c = new_change(a, LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_DEVICE);
		c->delete_device = borrowed(id);
	}
	return c;
}
