/* Longwave's own: the data rates that a device profile chooses its supported ones from. */
#include "app-server/api/handlers.h"
#include "app-server/store/row.h"
#include "common/lorawan/region.h"
#include "proto/longwave/app/v1/device_profile.pb-c.h"

/* Every rate that is listed is one that as_profile_check() takes. */
static const struct lw_modulation *rate_of(const Longwave__App__V1__ListUplinkDataRatesRequest *req, unsigned dr)
{
	enum lw_mac_version mac = (enum lw_mac_version)req->mac_version;
	enum lw_reg_params rp = (enum lw_reg_params)req->reg_params_revision;

	for (unsigned i = 0; i <= LW_REGION_CN470_26B; i++) {
		const struct lw_region *r = lw_region_by_id((enum lw_region_id)i);
		struct lw_max_payload max;
		if (r == NULL || lw_region_base(r->id) != (enum lw_region_id)req->region)
			continue;
		r = lw_region_revision(r, mac, rp);
		const struct lw_modulation *m = lw_region_dr(r, LW_UP, dr);
		if (m != NULL && lw_region_max_payload(r, LW_UP, mac, rp, false, false, dr, &max) == 0)
			return m;
	}
	return NULL;
}

static void fill(struct lw_arena *a, const struct lw_modulation *m, Gw__Modulation *out)
{
	switch (m->kind) {
	case LW_MOD_LORA:
		out->parameters_case = GW__MODULATION__PARAMETERS_LORA;
		out->lora = as_msg_new(a, &gw__lora_modulation_info__descriptor);
		out->lora->bandwidth = m->bw_hz;
		out->lora->spreading_factor = m->sf;
		out->lora->code_rate = (Gw__CodeRate)m->cr;
		break;
	case LW_MOD_FSK:
		out->parameters_case = GW__MODULATION__PARAMETERS_FSK;
		out->fsk = as_msg_new(a, &gw__fsk_modulation_info__descriptor);
		out->fsk->datarate = m->bitrate_bps;
		break;
	case LW_MOD_LRFHSS:
		out->parameters_case = GW__MODULATION__PARAMETERS_LR_FHSS;
		out->lr_fhss = as_msg_new(a, &gw__lr_fhss_modulation_info__descriptor);
		out->lr_fhss->operating_channel_width = m->bw_hz;
		out->lr_fhss->code_rate = (Gw__CodeRate)m->cr;
		break;
	default:
		break;
	}
}

void as_profile_data_rates(struct as_call *c)
{
	const Longwave__App__V1__ListUplinkDataRatesRequest *req = c->req;
	const struct lw_modulation *rates[LW_DR_COUNT];
	size_t n = 0;
	const char *bad = !protobuf_c_enum_descriptor_get_value(&common__region__descriptor, (int)req->region)
				  ? "region"
			  : (unsigned)req->mac_version >= LW_MAC_VERSIONS       ? "mac_version"
			  : (unsigned)req->reg_params_revision >= LW_REG_PARAMS ? "reg_params_revision"
										: NULL;

	if (bad != NULL) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "%s is unknown", bad);
		return;
	}
	for (unsigned dr = 0; dr < LW_DR_COUNT; dr++)
		n += (rates[dr] = rate_of(req, dr)) != NULL;
	Longwave__App__V1__ListUplinkDataRatesResponse *resp =
		as_msg_new(c->arena, &longwave__app__v1__list_uplink_data_rates_response__descriptor);
	Longwave__App__V1__UplinkDataRate **v = (void *)as_msg_list(c->arena, &resp->base, "data_rates", n);
	n = 0;
	for (unsigned dr = 0; dr < LW_DR_COUNT; dr++) {
		if (rates[dr] == NULL)
			continue;
		v[n]->dr = dr;
		v[n]->modulation = as_msg_new(c->arena, &gw__modulation__descriptor);
		fill(c->arena, rates[dr], v[n++]->modulation);
	}
	as_reply(c, &resp->base);
}
