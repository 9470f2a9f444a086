/* protobuf bytes into messages within bounds; what was accepted can be printed and packed. */
#include "common/base/bug.h"
#include "common/pb/pbjson.h"
#include "common/pb/unpack.h"
#include "proto/api/device_profile.pb-c.h"
#include "proto/google/protobuf/struct.pb-c.h"
#include "proto/gw/gw.pb-c.h"
#include "proto/integration/integration.pb-c.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const ProtobufCMessageDescriptor *const types[] = {
		&gw__uplink_frame__descriptor,
		&gw__gateway_stats__descriptor,
		&gw__downlink_tx_ack__descriptor,
		&gw__downlink_frame__descriptor,
		&integration__downlink_command__descriptor,
		&google__protobuf__value__descriptor,
		&api__device_profile__descriptor,
		&longwave__ns__v1__event_batch__descriptor,
	};
	static struct lw_schema *schema; /* built once for all runs */
	struct lw_arena arena;
	struct lw_buf out;
	ProtobufCMessage *m;
	if (!schema)
		schema = lw_schema_new();
	if (size == 0)
		return 0;
	lw_arena_init(&arena, NULL, 0, 8 << 20);
	lw_buf_init(&out, 64 << 20);
	const ProtobufCMessageDescriptor *type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
	if (lw_pb_unpack(type, lw_span(data + 1, size - 1), &arena, &m) == 0) {
		for (int profile = LW_PBJSON_GW; profile <= LW_PBJSON_REST; profile++)
			BUG_ON(lw_pbjson_encode(schema, m, (enum lw_pbjson_profile)profile, &out) < 0);
		lw_buf_reset(&out);
		BUG_ON(lw_pb_pack(m, &out) < 0);
		BUG_ON(lw_pb_check(type, lw_buf_span(&out)) < 0);
	}
	lw_buf_deinit(&out);
	lw_arena_deinit(&arena);
	return 0;
}
