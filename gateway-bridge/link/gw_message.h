/* The gw messages and what the wire structs say, in both directions, and the marshaler that an installation has chosen.
 * Pure but for memory: no I/O, no clock. Facts: contracts/gw.md. */
#pragma once

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/pb/schema.h"
#include "gateway-bridge/domain/counters.h"
#include "gateway-bridge/wire/semtech_udp.h"
#include "proto/gw/gw.pb-c.h"

struct gb_marshaler {
	bool json;
	const struct lw_schema *schema;
};

/* Appends the message; returns 0 or the buffer's error. */
int gb_marshal(const struct gb_marshaler *m, const ProtobufCMessage *msg, struct lw_buf *out);
/* A message in the arena, or NULL when the payload is none. */
ProtobufCMessage *gb_unmarshal(const struct gb_marshaler *m, const ProtobufCMessageDescriptor *type,
			       struct lw_span payload, struct lw_arena *arena);

struct gb_position {
	bool known;
	double latitude, longitude, altitude_m;
};

/* An UplinkFrame with everything it points to; refers to the rxpk it was made of. */
struct gb_uplink_message {
	Gw__UplinkFrame frame;
	Gw__UplinkTxInfo tx;
	Gw__Modulation modulation;
	union {
		Gw__LoraModulationInfo lora;
		Gw__FskModulationInfo fsk;
		Gw__LrFhssModulationInfo lr_fhss;
	} parameters;
	Gw__UplinkRxInfo rx;
	Google__Protobuf__Timestamp gw_time;
	Google__Protobuf__Duration gps_time;
	Google__Protobuf__Duration fine_time;
	Common__Location location;
	uint8_t context[4];
	Gw__UplinkRxInfo__MetadataEntry meta[SEMTECH_MAX_META + 2];
	Gw__UplinkRxInfo__MetadataEntry *meta_p[SEMTECH_MAX_META + 2];
	char aes_key_index[12];
};

/* As one antenna heard it. `gateway_id` is kept by reference. */
void gb_uplink_message_init(struct gb_uplink_message *m, const struct semtech_rxpk *rx, size_t antenna,
			    const char *gateway_id, uint16_t token, const struct gb_position *pos);

struct gb_static_meta {
	const char *key;
	const char *value;
};

/* A GatewayStats in the arena, NULL when the arena is full. Figures are the forwarder's; those it does not give are
 * what the bridge counted. */
Gw__GatewayStats *gb_stats_message(struct lw_arena *arena, const struct semtech_stat *stat, const struct gb_counters *c,
				   const char *gateway_id, const struct gb_static_meta *meta, size_t n_meta);

/* Reads one alternative of a DownlinkFrame: 0; LW_EINVAL: incomplete (no timing, a delay without the uplink's context);
 * LW_EBIG: payload too long; LW_EUNSUPPORTED: a modulation that cannot be sent. out->phy refers to the item. */
int gb_downlink_item(const Gw__DownlinkFrameItem *item, struct semtech_txpk *out);

int gb_tx_status(enum semtech_tx_error error);
