/* Packing gives the bytes that protobuf-c gives, for messages of all our types filled at random, into buffers that grow
 * and into buffers that are full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "common/pb/unpack.h"
#include "proto/api/device.pb-c.h"
#include "proto/gw/gw.pb-c.h"
#include "proto/integration/integration.pb-c.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

/* A type of its own for what none of ours has: fixed widths, signs, packed numbers of each width. */
struct odd {
	ProtobufCMessage base;
	uint32_t fixed32;
	int64_t sfixed64;
	int64_t sint64;
	size_t n_doubles;
	double *doubles;
	size_t n_sints;
	int32_t *sints;
	size_t n_bools;
	protobuf_c_boolean *bools;
	protobuf_c_boolean has_fixed64;
	uint64_t fixed64;
	char *required;
	size_t n_bytes;
	ProtobufCBinaryData *bytes;
	size_t n_texts;
	char **texts;
};

#define FIELD(id_, label_, type_, quantifier_, member, flags_)                                                         \
	{                                                                                                              \
		.name = #member, .id = id_, .label = PROTOBUF_C_LABEL_##label_, .type = PROTOBUF_C_TYPE_##type_,       \
		.quantifier_offset = quantifier_, .offset = offsetof(struct odd, member), .flags = flags_              \
	}
#define PACKED PROTOBUF_C_FIELD_FLAG_PACKED

static const ProtobufCFieldDescriptor ODD_FIELDS[] = {
	FIELD(1, NONE, FIXED32, 0, fixed32, 0),
	FIELD(2, NONE, SFIXED64, 0, sfixed64, 0),
	FIELD(3, NONE, SINT64, 0, sint64, 0),
	FIELD(16, REPEATED, DOUBLE, offsetof(struct odd, n_doubles), doubles, PACKED),
	FIELD(17, REPEATED, SINT32, offsetof(struct odd, n_sints), sints, PACKED),
	FIELD(18, REPEATED, BOOL, offsetof(struct odd, n_bools), bools, 0),
	FIELD(2047, OPTIONAL, FIXED64, offsetof(struct odd, has_fixed64), fixed64, 0),
	FIELD(2048, REQUIRED, STRING, 0, required, 0),
	FIELD(70000, REPEATED, BYTES, offsetof(struct odd, n_bytes), bytes, 0),
	FIELD(536870911, REPEATED, STRING, offsetof(struct odd, n_texts), texts, 0),
};

static const ProtobufCMessageDescriptor ODD = {
	.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
	.name = "odd",
	.sizeof_message = sizeof(struct odd),
	.n_fields = sizeof(ODD_FIELDS) / sizeof(ODD_FIELDS[0]),
	.fields = ODD_FIELDS,
};

static uint32_t next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33);
}

static ProtobufCMessage *fill(struct lw_arena *a, const ProtobufCMessageDescriptor *type, uint64_t *seed,
			      unsigned depth);

/* Often 0, often short, sometimes of all bits, sometimes long enough for a length of two and three bytes. */
static size_t length(uint64_t *seed)
{
	static const size_t N[] = {0, 0, 1, 5, 16, 100, 126, 127, 128, 129, 300, 20000};
	return N[next(seed) % (sizeof(N) / sizeof(N[0]))];
}

static char *text(struct lw_arena *a, uint64_t *seed)
{
	size_t n = length(seed);
	char *p = lw_arena_alloc(a, n + 1);
	memset(p, 'a' + (int)(next(seed) % 26), n);
	p[n] = 0;
	return p;
}

static void fill_one(struct lw_arena *a, const ProtobufCFieldDescriptor *f, void *at, uint64_t *seed, unsigned depth)
{
	static const uint64_t V[] = {0,           1,           127, 128, UINT32_MAX, UINT64_MAX, UINT64_C(1) << 63,
				     0x80000000u, 77777777777u};
	uint64_t v = V[next(seed) % (sizeof(V) / sizeof(V[0]))];
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		*(char **)at = text(a, seed);
		break;
	case PROTOBUF_C_TYPE_BYTES: {
		ProtobufCBinaryData *d = at;
		d->len = length(seed);
		d->data = (uint8_t *)memset(lw_arena_alloc(a, d->len + 1), (int)next(seed) & 0xff, d->len + 1);
		break;
	}
	case PROTOBUF_C_TYPE_MESSAGE:
		*(ProtobufCMessage **)at = depth < 5 ? fill(a, f->descriptor, seed, depth + 1) : NULL;
		break;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)at = v & 1;
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		*(float *)at = (float)(int64_t)v / 3;
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		*(double *)at = (double)(int64_t)v / 3;
		break;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_ENUM:
		*(uint32_t *)at = (uint32_t)v;
		break;
	default:
		*(uint64_t *)at = v;
	}
}

static size_t width(ProtobufCType t)
{
	switch (t) {
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_ENUM:
	case PROTOBUF_C_TYPE_FLOAT:
		return 4;
	default:
		return 8;
	}
}

static ProtobufCMessage *fill(struct lw_arena *a, const ProtobufCMessageDescriptor *type, uint64_t *seed,
			      unsigned depth)
{
	uint8_t *m = memset(lw_arena_alloc(a, type->sizeof_message), 0, type->sizeof_message);
	if (type->message_init)
		protobuf_c_message_init(type, m);
	((ProtobufCMessage *)(void *)m)->descriptor = type;
	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &type->fields[i];
		void *quantifier = m + f->quantifier_offset;
		bool wanted = f->label == PROTOBUF_C_LABEL_REQUIRED || next(seed) % 3 != 0;
		if (!wanted || (f->type == PROTOBUF_C_TYPE_MESSAGE && depth >= 5))
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			size_t n = next(seed) % 4;
			uint8_t *v = memset(lw_arena_alloc(a, n * width(f->type) + 1), 0, n * width(f->type) + 1);
			for (size_t k = 0; k < n; k++)
				fill_one(a, f, v + k * width(f->type), seed, depth);
			*(size_t *)quantifier = n;
			*(void **)(void *)(m + f->offset) = v;
			continue;
		}
		if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
			*(uint32_t *)quantifier = f->id;
		else if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type != PROTOBUF_C_TYPE_STRING &&
			 f->type != PROTOBUF_C_TYPE_MESSAGE)
			*(protobuf_c_boolean *)quantifier = 1;
		fill_one(a, f, m + f->offset, seed, depth);
	}
	return (void *)m;
}

static void compare(const ProtobufCMessage *m, struct lw_arena *a, uint64_t *seed)
{
	size_t n = protobuf_c_message_get_packed_size(m), before = next(seed) % 300;
	uint8_t *want = lw_xmalloc(n + 1);
	assert_int_equal(protobuf_c_message_pack(m, want), n);
	struct lw_buf b;
	lw_buf_init(&b, before + n); /* to the last byte */
	for (size_t i = 0; i < before; i++)
		lw_buf_append_u8(&b, 'x');
	assert_int_equal(lw_pb_pack(m, &b), 0);
	assert_int_equal(b.n, before + n);
	if (n)
		assert_memory_equal(b.p + before, want, n);
	lw_buf_deinit(&b);
	if (n) {
		lw_buf_init(&b, before + n - 1); /* one byte short: nothing is appended */
		for (size_t i = 0; i < before; i++)
			lw_buf_append_u8(&b, 'x');
		size_t had = b.n;
		assert_int_equal(lw_pb_pack(m, &b), LW_EBIG);
		assert_int_equal(b.n, had);
		lw_buf_deinit(&b);
	}
	struct lw_span s = lw_pb_pack_arena(m, a);
	assert_int_equal(s.n, n);
	if (n)
		assert_memory_equal(s.p, want, n);
	free(want);
}

static void test_same_bytes(void **state)
{
	(void)state;
	static const ProtobufCMessageDescriptor *const TYPES[] = {
		&gw__uplink_frame__descriptor,
		&gw__downlink_frame__descriptor,
		&gw__gateway_stats__descriptor,
		&longwave__ns__v1__event__descriptor,
		&longwave__ns__v1__event_batch__descriptor,
		&longwave__ns__v1__frame__descriptor,
		&integration__uplink_event__descriptor,
		&integration__log_event__descriptor,
		&api__device__descriptor,
		&ODD,
	};
	uint64_t seed = 1;
	for (unsigned round = 0; round < 60; round++) {
		for (size_t t = 0; t < sizeof(TYPES) / sizeof(TYPES[0]); t++) {
			struct lw_arena a;
			lw_arena_init(&a, NULL, 0, (size_t)64 << 20);
			compare(fill(&a, TYPES[t], &seed, t == 4 ? 2 : 0), &a, &seed);
			lw_arena_deinit(&a);
		}
	}
}

static void test_unknown_fields(void **state)
{
	(void)state;
	uint8_t data[] = {2, 0xaa, 0xbb};
	ProtobufCMessageUnknownField u[] = {
		{.tag = 1, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .len = sizeof(data), .data = data},
		{.tag = 99, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT, .len = 1, .data = data},
	};
	Longwave__Ns__V1__EventBatch batch = LONGWAVE__NS__V1__EVENT_BATCH__INIT;
	struct lw_arena a;
	uint64_t seed = 7;
	batch.split = true;
	batch.base.n_unknown_fields = 2;
	batch.base.unknown_fields = u;
	lw_arena_init(&a, NULL, 0, (size_t)1 << 20);
	compare(&batch.base, &a, &seed);
	lw_arena_deinit(&a);
}

static void test_find(void **state)
{
	(void)state;
	/* 4: "ab", 5: varint, 4: "cd", 6: fixed */
	static const uint8_t WIRE[] = {0x22, 2, 'a', 'b', 0x28, 0x80, 1, 0x22, 2, 'c', 'd', 0x35, 1, 2, 3, 4};
	struct lw_span out;
	assert_int_equal(lw_pb_find_bytes(lw_span(WIRE, sizeof(WIRE)), 4, &out), 0);
	assert_int_equal(out.n, 2);
	assert_memory_equal(out.p, "cd", 2);
	assert_int_equal(lw_pb_find_bytes(lw_span(WIRE, sizeof(WIRE)), 5, &out), 0);
	assert_int_equal(out.n, 0);
	assert_int_equal(lw_pb_find_bytes(lw_span(WIRE, sizeof(WIRE) - 1), 4, &out), LW_ETRUNC);
	assert_int_equal(lw_pb_find_bytes(lw_span("\x07", 1), 4, &out), LW_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_bytes),
		cmocka_unit_test(test_unknown_fields),
		cmocka_unit_test(test_find),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
