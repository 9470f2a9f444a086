#include "app-server/integration/kind.h"

#include <string.h>

#include "app-server/as.h"
#include "common/pb/pbjson.h"
#include "common/pb/unpack.h"
#include "proto/integration/integration.pb-c.h"

#define MAX_EVENT (8u << 20)

const struct as_outlet_kind *const as_outlet_kinds[] = {&as_outlet_http};
const size_t as_outlet_kinds_count = sizeof(as_outlet_kinds) / sizeof(as_outlet_kinds[0]);

static const struct {
	const char *name;
	const ProtobufCMessageDescriptor *d;
} messages[] = {
	{"up", &integration__uplink_event__descriptor},         {"join", &integration__join_event__descriptor},
	{"ack", &integration__ack_event__descriptor},           {"txack", &integration__tx_ack_event__descriptor},
	{"log", &integration__log_event__descriptor},           {"status", &integration__status_event__descriptor},
	{"location", &integration__location_event__descriptor},
};

int as_outlet_json(struct as *as, const struct as_outlet_item *item, struct lw_buf *out)
{
	struct lw_arena arena;
	ProtobufCMessage *msg = NULL;
	int rc = LW_EINVAL;
	lw_arena_init(&arena, NULL, 0, MAX_EVENT);
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		if (strcmp(messages[i].name, item->name) == 0)
			rc = lw_pb_unpack(messages[i].d, item->body, &arena, &msg);
	}
	if (rc == 0)
		rc = lw_pbjson_encode(as->schema, msg, LW_PBJSON_EVENT, out);
	lw_arena_deinit(&arena);
	return rc;
}
