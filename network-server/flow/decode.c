/* What the gateways sent, decoded into the context's arena. */
#include <string.h>

#include "common/base/err.h"
#include "common/pb/build.h"
#include "common/pb/pbjson.h"
#include "common/pb/unpack.h"
#include "network-server/flow/internal.h"

/* No protobuf message begins with '{' (a group of field 15). After white space, which a message can begin with, the
 * reference's sign must be there: the name of a member that every JSON message has. */
static bool is_json(struct lw_span payload)
{
	static const char name[] = "gatewayId";
	size_t at = 0;
	while (at < payload.n &&
	       (payload.p[at] == ' ' || payload.p[at] == '\n' || payload.p[at] == '\r' || payload.p[at] == '\t'))
		at++;
	if (at == payload.n || payload.p[at] != '{')
		return false;
	return at == 0 || memmem(payload.p, payload.n, name, sizeof(name) - 1) != NULL;
}

int ns_decode(struct ns_ctx *c, const ProtobufCMessageDescriptor *type, struct lw_span payload, ProtobufCMessage **out)
{
	if (!is_json(payload))
		return lw_pb_unpack(type, payload, &c->arena, out);
	ProtobufCAllocator allocator = lw_pb_arena_allocator(&c->arena);
	return lw_pbjson_decode(c->f->cfg.schema, type, payload, &allocator, out, NULL);
}

struct lw_modulation ns_modulation(const Gw__Modulation *m)
{
	struct lw_modulation out = {.kind = LW_MOD_NONE};
	if (m == NULL)
		return out;
	switch (m->parameters_case) {
	case GW__MODULATION__PARAMETERS_LORA:
		out.kind = LW_MOD_LORA;
		out.bw_hz = m->lora->bandwidth;
		out.sf = m->lora->spreading_factor <= 12 ? (uint8_t)m->lora->spreading_factor : 0;
		out.cr = (enum lw_code_rate)m->lora->code_rate;
		break;
	case GW__MODULATION__PARAMETERS_FSK:
		out.kind = LW_MOD_FSK;
		out.bitrate_bps = m->fsk->datarate;
		break;
	case GW__MODULATION__PARAMETERS_LR_FHSS:
		out.kind = LW_MOD_LRFHSS;
		out.bw_hz = m->lr_fhss->operating_channel_width;
		out.cr = (enum lw_code_rate)m->lr_fhss->code_rate;
		break;
	default:
		break;
	}
	return out;
}

void ns_metadata_put(struct lw_arena *a, Gw__UplinkRxInfo *rx, const char *key, const char *value)
{
	for (size_t i = 0; i < rx->n_metadata; i++)
		if (strcmp(rx->metadata[i]->key, key) == 0) {
			rx->metadata[i]->value = (char *)(uintptr_t)value;
			return;
		}
	Gw__UplinkRxInfo__MetadataEntry **v = LW_ARENA_ARRAY(a, Gw__UplinkRxInfo__MetadataEntry *, rx->n_metadata + 1);
	Gw__UplinkRxInfo__MetadataEntry *e = LW_ARENA_NEW(a, Gw__UplinkRxInfo__MetadataEntry);
	if (v == NULL || e == NULL)
		return;
	gw__uplink_rx_info__metadata_entry__init(e);
	e->key = (char *)(uintptr_t)key;
	e->value = (char *)(uintptr_t)value;
	if (rx->n_metadata > 0)
		memcpy(v, rx->metadata, rx->n_metadata * sizeof(v[0]));
	v[rx->n_metadata++] = e;
	rx->metadata = v;
}
