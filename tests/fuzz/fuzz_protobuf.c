/* protobuf bytes into messages within bounds; what was accepted can be printed and packed, and is what protobuf-c reads
 * and writes. */
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "common/pb/pbjson.h"
#include "common/pb/unpack.h"
#include "proto/api/device_profile.pb-c.h"
#include "proto/google/protobuf/struct.pb-c.h"
#include "proto/gw/gw.pb-c.h"
#include "proto/integration/integration.pb-c.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

static void compare_bytes(const ProtobufCMessage *m, struct lw_span ours)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *p = lw_xcalloc(1, n + 1);
	protobuf_c_message_pack(m, p);
	BUG_ON(n != ours.n || (n && memcmp(p, ours.p, n) != 0));
	free(p);
}

/* The library has the last word on what a message is and says. `packed`: what we made of it. */
static void compare(const ProtobufCMessageDescriptor *type, struct lw_span wire, int rc, struct lw_span packed)
{
	if (rc == LW_ENOMEM || lw_pb_check(type, wire) < 0) {
		BUG_ON(rc == 0);
		return;
	}
	ProtobufCMessage *m = protobuf_c_message_unpack(type, NULL, wire.n, wire.p);
	BUG_ON((m != NULL) != (rc == 0));
	if (m) {
		compare_bytes(m, packed);
		protobuf_c_message_free_unpacked(m, NULL);
	}
}

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
	const struct lw_span wire = lw_span(data + 1, size - 1);
	int rc = lw_pb_unpack(type, wire, &arena, &m);
	if (rc == 0) {
		for (int profile = LW_PBJSON_GW; profile <= LW_PBJSON_REST; profile++)
			BUG_ON(lw_pbjson_encode(schema, m, (enum lw_pbjson_profile)profile, &out) < 0);
		lw_buf_reset(&out);
		BUG_ON(lw_pb_pack(m, &out) < 0);
		BUG_ON(lw_pb_check(type, lw_buf_span(&out)) < 0);
	}
	compare(type, wire, rc, lw_buf_span(&out));
	lw_buf_deinit(&out);
	lw_arena_deinit(&arena);
	return 0;
}
