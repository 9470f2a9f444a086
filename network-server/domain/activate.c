#include "network-server/domain/activate.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/time.h"
#include "network-server/domain/channels.h"

static int take_key(const ProtobufCBinaryData *in, struct lw_key *out)
{
	if (in->len != sizeof(out->b))
		return LW_EINVAL;
	memcpy(out->b, in->data, sizeof(out->b));
	return 0;
}

static uint8_t or_default(uint32_t v, uint8_t dflt)
{
	return v != 0 && v <= UINT8_MAX ? (uint8_t)v : dflt;
}

static int take_keys(const Longwave__Ns__V1__Session *in, struct ns_session *s, const char **why)
{
	*why = "f_nwk_s_int_key";
	if (take_key(&in->f_nwk_s_int_key, &s->f_nwk_s_int_key) != 0)
		return LW_EINVAL;
	*why = "s_nwk_s_int_key";
	if (take_key(&in->s_nwk_s_int_key, &s->s_nwk_s_int_key) != 0)
		return LW_EINVAL;
	*why = "nwk_s_enc_key";
	if (take_key(&in->nwk_s_enc_key, &s->nwk_s_enc_key) != 0)
		return LW_EINVAL;
	*why = "session_key_id";
	if (in->session_key_id.len > NS_KEY_ID_MAX)
		return LW_EINVAL;
	s->session_key_id_len = (uint8_t)in->session_key_id.len;
	if (s->session_key_id_len > 0)
		memcpy(s->session_key_id, in->session_key_id.data, s->session_key_id_len);
	*why = NULL;
	return 0;
}

void ns_session_boot(struct ns_session *s, const struct ns_profile *profile, const struct ns_region_config *rc)
{
	bool up, down;
	lw_region_boot_dwell(lw_region_by_id(rc->region), s->mac_version, profile->reg_params, &up, &down);
	ns_session_mac_reset(s);
	s->uplink_dwell_400ms = up;
	s->downlink_dwell_400ms = down;
	s->ping_slot_nb = 0;
	if (profile->supports_class_b)
		s->ping_slot_nb = (uint8_t)(1u << (7 - profile->ping_slot_periodicity));
	s->beacon_locked = false;
	s->ping_slot_dr = profile->ping_slot_dr;
	s->ping_slot_hz = profile->ping_slot_hz;
	ns_channels_boot(rc, s);
}

void ns_session_accepted(struct ns_session *s, const struct ns_profile *profile, const struct ns_region_config *rc,
			 uint8_t dl_settings, uint8_t rx_delay_s, const uint8_t *cflist)
{
	struct lw_dl_settings dl = lw_dl_settings_parse(dl_settings);
	struct lw_cflist list;
	s->rx1_delay_s = rx_delay_s;
	s->rx1_dr_offset = dl.rx1_dr_offset;
	s->rx2_dr = dl.rx2_dr;
	s->rx2_hz = lw_region_by_id(rc->region)->rx2_hz; /* a join-accept cannot say otherwise */
	s->dr = NS_DR_UNKNOWN;
	ns_session_boot(s, profile, rc);
	if (cflist != NULL && lw_cflist_parse(cflist, &list) == 0)
		ns_channels_cflist(rc, &list, s);
}

static void offered_keys(const struct ns_rekey *r, struct ns_session *out)
{
	out->f_nwk_s_int_key = r->f_nwk_s_int_key;
	out->s_nwk_s_int_key = r->s_nwk_s_int_key;
	out->nwk_s_enc_key = r->nwk_s_enc_key;
	memcpy(out->session_key_id, r->session_key_id, sizeof(out->session_key_id));
	out->session_key_id_len = r->session_key_id_len;
	out->f_cnt_up = 0;
	out->f_cnt_gaps = 0;
	out->n_f_cnt_down = 0;
	out->a_f_cnt_down = 0;
	out->conf_f_cnt = 0;
	memset(out->conf_f_cnt_before, 0, sizeof(out->conf_f_cnt_before));
	out->rj_count0 = 0;
	out->has_uplink = false;
	out->n_adr_history = 0;
}

static void offered_identity(const struct ns_rekey *r, struct ns_session *out)
{
	out->join_eui = r->join_eui;
	out->dev_nonce = r->dev_nonce;
	out->mac_version = r->mac_version;
	memcpy(out->region_config_id, r->region_config_id, sizeof(out->region_config_id));
}

void ns_session_joined(const struct ns_rekey *offer, struct lw_devaddr devaddr, const struct ns_profile *profile,
		       const struct ns_region_config *rc, struct ns_session *out)
{
	memset(out, 0, sizeof(*out));
	out->devaddr = devaddr;
	offered_identity(offer, out);
	offered_keys(offer, out);
	out->enabled_class = profile->supports_class_c && !ns_session_is_11(out) ? LW_CLASS_C : LW_CLASS_A;
	ns_session_accepted(out, profile, rc, offer->dl_settings, offer->rx_delay_s,
			    offer->has_cflist ? offer->cflist : NULL);
}

void ns_session_rekeyed(const struct ns_device *dev, const struct ns_rekey *offer, const struct ns_region_config *rc,
			struct ns_session *out)
{
	const struct ns_session *old = &dev->session;
	const struct ns_rekey r = *offer; /* out may be where it is */
	if (r.type == NS_REKEY_JOIN) {
		ns_session_joined(&r, old->devaddr, &dev->profile, rc, out);
		/* What was queued from outside is the device's, in whichever session it is. */
		(void)ns_session_mac_enqueue(out, lw_span(old->mac_queue, old->mac_queue_len), false);
	} else {
		*out = *old;
		offered_keys(&r, out);
		/* It may still owe the acknowledgement of a downlink of the old session. */
		out->conf_f_cnt_before[0] = old->conf_f_cnt;
		memcpy(&out->conf_f_cnt_before[1], old->conf_f_cnt_before,
		       sizeof(out->conf_f_cnt_before) - sizeof(out->conf_f_cnt_before[0]));
		memset(out->rekey_before, 0, sizeof(out->rekey_before));
		if (r.type != 2) { /* else the radio's parameters stay */
			out->enabled_class = LW_CLASS_A;
			ns_session_accepted(out, &dev->profile, rc, r.dl_settings, r.rx_delay_s,
					    r.has_cflist ? r.cflist : NULL);
		}
	}
	out->rekey = r;
	out->rekey.present = false;
}

void ns_session_expected(const struct ns_session *s, struct ns_session *out)
{
	*out = *s;
	if (!ns_session_is_joining(s))
		return;
	offered_identity(&s->rekey, out);
	offered_keys(&s->rekey, out);
}

/* 0 means the data rate 0 where a frequency is given with it and the rate exists; else that nothing was said. */
static uint8_t rx2_dr(const struct ns_profile *profile, const struct lw_region *region)
{
	struct lw_max_payload ignored;
	if (profile->abp_rx2_dr != 0)
		return profile->abp_rx2_dr;
	if (profile->abp_rx2_hz != 0 && lw_region_max_payload(region, LW_DOWN, profile->mac_version,
							      profile->reg_params, false, false, 0, &ignored) == 0)
		return 0;
	return region->rx2_dr;
}

void ns_session_factory_rx(struct ns_session *s, const struct ns_profile *profile, const struct ns_region_config *rc)
{
	const struct lw_region *region = lw_region_by_id(rc->region);
	s->rx1_delay_s = or_default(profile->abp_rx1_delay_s, region->rx1_delay_s);
	s->rx1_dr_offset = profile->abp_rx1_dr_offset;
	s->rx2_dr = rx2_dr(profile, region);
	s->rx2_hz = profile->abp_rx2_hz != 0 ? profile->abp_rx2_hz : lw_region_abp_rx2_hz(region);
}

int ns_activate(const Longwave__Ns__V1__Session *in, const struct ns_profile *profile,
		const struct ns_region_config *rc, struct ns_session *out, const char **why)
{
	memset(out, 0, sizeof(*out));
	*why = "dev_addr";
	if (lw_devaddr_parse(&out->devaddr, in->dev_addr) != 0)
		return LW_EINVAL;
	int err = take_keys(in, out, why);
	if (err != 0)
		return err;
	/* The profile decides between 1.0 and 1.1: an unset member of the message would read as 1.0.0. */
	out->mac_version = profile->mac_version;
	out->enabled_class = profile->supports_class_c && !ns_session_is_11(out) ? LW_CLASS_C : LW_CLASS_A;
	strncpy(out->region_config_id, rc->id, sizeof(out->region_config_id) - 1);
	out->f_cnt_up = in->f_cnt_up;
	out->n_f_cnt_down = in->n_f_cnt_down;
	out->a_f_cnt_down = in->a_f_cnt_down;
	ns_session_factory_rx(out, profile, rc);
	out->dr = NS_DR_UNKNOWN;
	ns_session_boot(out, profile, rc);
	return 0;
}

void ns_session_to_pb(struct lw_dev_eui dev_eui, const struct ns_session *s, struct lw_arena *arena,
		      Longwave__Ns__V1__Session *out)
{
	char eui[LW_EUI_TEXT];
	char addr[LW_DEVADDR_TEXT];
	longwave__ns__v1__session__init(out);
	out->dev_eui = lw_arena_strdup(arena, lw_dev_eui_print(dev_eui, eui));
	out->dev_addr = lw_arena_strdup(arena, lw_devaddr_print(s->devaddr, addr));
	out->f_nwk_s_int_key = (ProtobufCBinaryData){16, lw_arena_memdup(arena, s->f_nwk_s_int_key.b, 16)};
	out->s_nwk_s_int_key = (ProtobufCBinaryData){16, lw_arena_memdup(arena, s->s_nwk_s_int_key.b, 16)};
	out->nwk_s_enc_key = (ProtobufCBinaryData){16, lw_arena_memdup(arena, s->nwk_s_enc_key.b, 16)};
	out->f_cnt_up = s->f_cnt_up;
	out->n_f_cnt_down = s->n_f_cnt_down;
	out->a_f_cnt_down = s->a_f_cnt_down;
	out->session_key_id = (ProtobufCBinaryData){s->session_key_id_len,
						    lw_arena_memdup(arena, s->session_key_id, s->session_key_id_len)};
	out->mac_version = (Common__MacVersion)s->mac_version;
	out->enabled_class = (Common__DeviceClass)s->enabled_class;
	out->region_config_id = lw_arena_strdup(arena, s->region_config_id);
	out->dr = s->dr == NS_DR_UNKNOWN ? 0 : s->dr;
	out->missing_f_cnts = LW_ARENA_ARRAY(arena, uint32_t, 32);
	for (uint32_t back = 32; back-- > 0 && out->missing_f_cnts != NULL;)
		if (s->has_uplink && (s->f_cnt_gaps >> back & 1) && back < s->f_cnt_up)
			out->missing_f_cnts[out->n_missing_f_cnts++] = s->f_cnt_up - 1 - back;
	if (s->has_uplink) {
		struct lw_sec_nanos t = lw_split_ns(s->last_uplink_at_ns);
		out->last_uplink_at = LW_ARENA_NEW(arena, Google__Protobuf__Timestamp);
		google__protobuf__timestamp__init(out->last_uplink_at);
		out->last_uplink_at->seconds = t.sec;
		out->last_uplink_at->nanos = t.nanos;
	}
}

struct lw_devaddr ns_random_devaddr(struct lw_devaddr_prefix prefix, struct lw_rng *rng)
{
	return lw_devaddr_make(prefix, lw_rng_u32(rng));
}
