/* Proprietary frames that somebody sends on gateways of his. */
#include <string.h>

#include "common/base/time.h"
#include "common/lorawan/airtime.h"
#include "network-server/domain/proprietary.h"
#include "network-server/link/api_impl.h"

#define GATEWAYS_MAX 64
#define POWER_MAX_DBM 60

static const char *check_modulation(const Gw__Modulation *m, struct ns_proprietary *out)
{
	if (m == NULL)
		return "frame.modulation is missing";
	switch (m->parameters_case) {
	case GW__MODULATION__PARAMETERS_LORA:
		if (m->lora->spreading_factor < 5 || m->lora->spreading_factor > 12)
			return "frame.modulation.lora.spreading_factor is not 5 to 12";
		if (m->lora->bandwidth < 1000 || m->lora->bandwidth > 2000000)
			return "frame.modulation.lora.bandwidth is not 1000 to 2000000 Hz";
		out->mod = (struct lw_modulation){.kind = LW_MOD_LORA,
						  .bw_hz = m->lora->bandwidth,
						  .sf = (uint8_t)m->lora->spreading_factor,
						  .cr = (enum lw_code_rate)m->lora->code_rate};
		/* Its time on the air is what the duty cycle is charged with. */
		if (lw_airtime_us(&out->mod, LW_DOWN, 1) == 0)
			return "frame.modulation.lora.code_rate is none of LoRa's";
		out->plain_polarity = !m->lora->polarization_inversion;
		return NULL;
	case GW__MODULATION__PARAMETERS_FSK:
		if (m->fsk->datarate < 500 || m->fsk->datarate > 250000)
			return "frame.modulation.fsk.datarate is not 500 to 250000 bit/s";
		out->mod = (struct lw_modulation){.kind = LW_MOD_FSK, .bitrate_bps = m->fsk->datarate};
		return NULL;
	default:
		return "frame.modulation is neither lora nor fsk";
	}
}

static const char *check(const struct ns_api *api, const Longwave__Ns__V1__ProprietaryFrame *in, struct lw_arena *arena,
			 struct ns_proprietary *out)
{
	if (in == NULL)
		return "frame is missing";
	if (in->payload.len < 1 || in->payload.len > LW_PHY_MAX - 1)
		return "frame.payload is not 1 to 254 bytes";
	if (in->power_dbm < -POWER_MAX_DBM || in->power_dbm > POWER_MAX_DBM)
		return "frame.power_dbm is not -60 to 60";
	const Google__Protobuf__Duration *at = in->time_since_gps_epoch;
	if (at != NULL && (at->seconds < 0 || at->seconds > INT64_C(4000000000) || at->nanos < 0))
		return "frame.time_since_gps_epoch is no time";
	*out = (struct ns_proprietary){.hz = in->frequency_hz,
				       .power_dbm = (int8_t)in->power_dbm,
				       .payload = lw_span(in->payload.data, in->payload.len)};
	if (at != NULL)
		out->gps_ns = lw_join_ns(at->seconds, at->nanos);
	if (in->region_config_id[0]) {
		out->rc = ns_api_region(api, in->region_config_id);
		if (out->rc == NULL)
			return lw_arena_printf(arena, "frame.region_config_id: %.40s is not enabled here; %s",
					       in->region_config_id,
					       ns_api_region_names(api, NS_API_ANY_REGION, arena));
	}
	return check_modulation(in->modulation, out);
}

static const char *words(int err)
{
	switch (err) {
	case 0:
		return "";
	case LW_ENOTFOUND:
		return "the gateway has not reported yet: its region is not known, say region_config_id";
	case LW_EINVAL:
		return "the frequency is outside the region";
	case LW_ETIMEDOUT:
		return "frame.time_since_gps_epoch is past, or too near for the gateway to get it in time";
	case LW_ERANGE:
		return "frame.time_since_gps_epoch is further ahead than is planned: four minutes";
	case LW_EEXHAUSTED:
		return "the gateway's duty cycle is used up";
	case LW_EBIG:
		return "the frame is longer on the air than the region's dwell time";
	case LW_EAGAIN:
		return "the gateway sends something else then";
	default:
		return "the gateway cannot be asked now: the broker is away";
	}
}

void ns_api_send_proprietary(struct grpc_call *c, const ProtobufCMessage *msg, void *arg)
{
	const Longwave__Ns__V1__SendProprietaryRequest *req = (const void *)msg;
	struct ns_api *a = arg;
	struct ns_proprietary p;
	const char *why = check(a, req->frame, grpc_call_arena(c), &p);
	if (why == NULL && (req->n_gateway_ids < 1 || req->n_gateway_ids > GATEWAYS_MAX))
		why = "1 to 64 gateway_ids are wanted";
	struct lw_gateway_id id[GATEWAYS_MAX];
	for (size_t i = 0; why == NULL && i < req->n_gateway_ids; i++)
		if (lw_gateway_id_parse(&id[i], req->gateway_ids[i]) != 0)
			why = "gateway_ids: an ID is not 16 hexadecimal digits";
	if (why != NULL) {
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, why);
		return;
	}
	Longwave__Ns__V1__SendProprietaryResponse resp = LONGWAVE__NS__V1__SEND_PROPRIETARY_RESPONSE__INIT;
	Longwave__Ns__V1__SendProprietaryResponse__Result v[GATEWAYS_MAX], *list[GATEWAYS_MAX];
	for (size_t i = 0; i < req->n_gateway_ids; i++) {
		longwave__ns__v1__send_proprietary_response__result__init(&v[i]);
		p.gateway_id = id[i];
		v[i].gateway_id = req->gateway_ids[i];
		v[i].error = (char *)(uintptr_t)words(a->o.on_proprietary(a->o.arg, &p, &v[i].downlink_id));
		list[i] = &v[i];
	}
	resp.results = list;
	resp.n_results = req->n_gateway_ids;
	grpc_call_reply(c, &resp.base);
}
