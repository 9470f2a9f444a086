/* JSON into messages and back: no input may crash, and what was read and printed reads back as the same message. */
#include <stdlib.h>

#include "common/base/bug.h"
#include "common/pb/build.h"
#include "common/pb/pbjson.h"
#include "common/pb/route.h"
#include "common/pb/unpack.h"
#include "proto/api/device.pb-c.h"
#include "proto/api/device_profile.pb-c.h"
#include "proto/google/protobuf/struct.pb-c.h"
#include "proto/gw/gw.pb-c.h"
#include "proto/integration/integration.pb-c.h"

static void round_trip(const struct lw_schema *s, const ProtobufCMessageDescriptor *type, struct lw_span json)
{
	struct lw_buf text, again, wire, wire_again;
	struct lw_diag diag;
	ProtobufCMessage *m, *copy;
	if (lw_pbjson_decode(s, type, json, NULL, &m, &diag) < 0)
		return;
	lw_buf_init(&text, 16 << 20);
	lw_buf_init(&again, 16 << 20);
	lw_buf_init(&wire, 16 << 20);
	lw_buf_init(&wire_again, 16 << 20);
	BUG_ON(lw_pbjson_encode(s, m, LW_PBJSON_REST, &text) < 0);
	BUG_ON(lw_pbjson_decode(s, type, lw_buf_span(&text), NULL, &copy, &diag) < 0);
	BUG_ON(lw_pbjson_encode(s, copy, LW_PBJSON_REST, &again) < 0);
	BUG_ON(!lw_span_eq(lw_buf_span(&text), lw_buf_span(&again)));
	BUG_ON(lw_pb_pack(m, &wire) < 0 || lw_pb_pack(copy, &wire_again) < 0);
	BUG_ON(!lw_span_eq(lw_buf_span(&wire), lw_buf_span(&wire_again)));
	BUG_ON(lw_pb_check(type, lw_buf_span(&wire)) < 0);
	lw_buf_reset(&text);
	BUG_ON(lw_pbjson_encode(s, m, LW_PBJSON_EVENT, &text) < 0);
	lw_pb_message_free(m, NULL);
	lw_pb_message_free(copy, NULL);
	lw_buf_deinit(&text);
	lw_buf_deinit(&again);
	lw_buf_deinit(&wire);
	lw_buf_deinit(&wire_again);
}

/* The same bytes as the query of a list. */
static void bind_query(const struct lw_schema *s, struct lw_span query)
{
	static const struct lw_route route = {"GET", "/{search}", "api.DeviceService/List", NULL, ""};
	struct lw_route_hit hit;
	struct lw_diag diag;
	ProtobufCMessage *m;
	struct lw_span path = lw_span("/a%20b", 6);
	BUG_ON(lw_route_find(&route, 1, "GET", path, &hit) < 0);
	if (lw_route_bind(s, &hit, query, lw_span(NULL, 0), NULL, &m, &diag) == 0)
		lw_pb_message_free(m, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const ProtobufCMessageDescriptor *const types[] = {
		&integration__downlink_command__descriptor,
		&integration__uplink_event__descriptor,
		&gw__uplink_frame__descriptor,
		&gw__downlink_frame__descriptor,
		&gw__gateway_stats__descriptor,
		&google__protobuf__struct__descriptor,
		&api__create_device_profile_request__descriptor,
		&api__enqueue_device_queue_item_request__descriptor,
	};
	static struct lw_schema *schema; /* built once for all runs */
	if (!schema)
		schema = lw_schema_new();
	if (size == 0)
		return 0;
	if (data[0] == '?')
		bind_query(schema, lw_span(data + 1, size - 1));
	else
		round_trip(schema, types[data[0] % (sizeof(types) / sizeof(types[0]))], lw_span(data + 1, size - 1));
	return 0;
}
