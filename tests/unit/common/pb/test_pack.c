/* Packing gives the bytes that protobuf-c gives, for messages of all our types filled at random, into buffers that grow
 * and into buffers that are full; unpacking takes the bytes that protobuf-c takes and gives what it gives. */
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

/* As ours are, but with numbers of each width. */
struct few {
	ProtobufCMessage base;
	uint32_t fixed32;
	int64_t sfixed64;
	int32_t sint32;
	size_t n_floats;
	float *floats;
	size_t n_sints;
	int64_t *sints;
	size_t n_bools;
	protobuf_c_boolean *bools;
	protobuf_c_boolean has_fixed64;
	uint64_t fixed64;
	int32_t sfixed32;
	struct few *inner;
};

#undef FIELD
#define FIELD(id_, label_, type_, quantifier_, member, flags_)                                                         \
	{                                                                                                              \
		.name = #member, .id = id_, .label = PROTOBUF_C_LABEL_##label_, .type = PROTOBUF_C_TYPE_##type_,       \
		.quantifier_offset = quantifier_, .offset = offsetof(struct few, member), .flags = flags_              \
	}

static const ProtobufCMessageDescriptor FEW;

static const ProtobufCFieldDescriptor FEW_FIELDS[] = {
	FIELD(1, NONE, FIXED32, 0, fixed32, 0),
	FIELD(2, NONE, SFIXED64, 0, sfixed64, 0),
	FIELD(3, NONE, SINT32, 0, sint32, 0),
	FIELD(4, REPEATED, FLOAT, offsetof(struct few, n_floats), floats, PACKED),
	FIELD(5, REPEATED, SINT64, offsetof(struct few, n_sints), sints, PACKED),
	FIELD(6, REPEATED, BOOL, offsetof(struct few, n_bools), bools, PACKED),
	FIELD(7, OPTIONAL, FIXED64, offsetof(struct few, has_fixed64), fixed64, 0),
	FIELD(8, NONE, SFIXED32, 0, sfixed32, 0),
	{.name = "inner",
	 .id = 9,
	 .label = PROTOBUF_C_LABEL_OPTIONAL,
	 .type = PROTOBUF_C_TYPE_MESSAGE,
	 .offset = offsetof(struct few, inner),
	 .descriptor = &FEW},
};
static const ProtobufCIntRange FEW_RANGES[] = {{1, 0}, {0, 9}};

static void few_init(ProtobufCMessage *m);

static const ProtobufCMessageDescriptor FEW = {
	.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
	.name = "few",
	.sizeof_message = sizeof(struct few),
	.n_fields = sizeof(FEW_FIELDS) / sizeof(FEW_FIELDS[0]),
	.fields = FEW_FIELDS,
	.n_field_ranges = 1,
	.field_ranges = FEW_RANGES,
	.message_init = few_init,
};

static void few_init(ProtobufCMessage *m)
{
	memset(m, 0, sizeof(struct few));
	m->descriptor = &FEW;
}

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
#define N_TYPES (sizeof(TYPES) / sizeof(TYPES[0]))

static void test_same_bytes(void **state)
{
	(void)state;
	uint64_t seed = 1;
	for (unsigned round = 0; round < 60; round++) {
		for (size_t t = 0; t < N_TYPES; t++) {
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

/* Both refuse, or both give a message that packs into the same bytes. Returns whether it was taken. */
static bool same_message(const ProtobufCMessageDescriptor *type, struct lw_span wire)
{
	struct lw_arena a;
	struct lw_buf got, want;
	ProtobufCMessage *ours, *theirs = NULL;
	lw_arena_init(&a, NULL, 0, (size_t)64 << 20);
	lw_buf_init(&got, (size_t)64 << 20);
	lw_buf_init(&want, (size_t)64 << 20);
	int rc = lw_pb_unpack(type, wire, &a, &ours);
	if (lw_pb_check(type, wire) == 0)
		theirs = protobuf_c_message_unpack(type, NULL, wire.n, wire.p);
	assert_int_equal(rc == 0, theirs != NULL);
	if (theirs) {
		assert_true(protobuf_c_message_check(ours));
		assert_int_equal(lw_pb_pack(ours, &got), 0);
		assert_int_equal(lw_pb_pack(theirs, &want), 0);
		assert_true(lw_span_eq(lw_buf_span(&got), lw_buf_span(&want)));
		protobuf_c_message_free_unpacked(theirs, NULL);
	}
	lw_buf_deinit(&got);
	lw_buf_deinit(&want);
	lw_arena_deinit(&a);
	return rc == 0;
}

/* As packed; cut off; with a byte changed; two in a row, which merges them. */
static void test_same_message(void **state)
{
	(void)state;
	uint64_t seed = 3;
	unsigned taken = 0, refused = 0;
	for (unsigned round = 0; round < 40; round++) {
		for (size_t t = 0; t + 1 < N_TYPES; t++) {
			struct lw_arena a;
			struct lw_buf b;
			lw_arena_init(&a, NULL, 0, (size_t)64 << 20);
			lw_buf_init(&b, (size_t)64 << 20);
			lw_pb_pack(fill(&a, TYPES[t], &seed, 3), &b);
			assert_true(same_message(TYPES[t], lw_buf_span(&b)));
			size_t n = b.n;
			for (unsigned i = 0; n && i < 30; i++) {
				size_t at = next(&seed) % (i < 15 && n > 200 ? 200 : n);
				uint8_t was = b.p[at];
				unsigned ok = same_message(TYPES[t], lw_span(b.p, at));
				b.p[at] = (uint8_t)(i % 2 ? next(&seed) : was ^ 1u << next(&seed) % 8);
				ok += same_message(TYPES[t], lw_buf_span(&b));
				b.p[at] = was;
				taken += ok;
				refused += 2 - ok;
			}
			lw_pb_pack(fill(&a, TYPES[t], &seed, 4), &b);
			same_message(TYPES[t], lw_buf_span(&b)); /* protobuf-c does not merge all there is */
			assert_true(same_message(TYPES[t], lw_span(b.p + n, b.n - n)));
			lw_buf_deinit(&b);
			lw_arena_deinit(&a);
		}
	}
	assert_true(taken > 500 && refused > 500);
}

/* Numbers of each width, alone and in packed lists, lists in pieces and lists that are not packed, presence. */
static void test_same_numbers(void **state)
{
	(void)state;
	static const uint8_t EACH[] = {0x0d, 1, 2, 3, 0x80, 0x11, 1, 2, 3, 4, 5, 6, 7, 0x88, 0x18, 0x03, 0x45, 0xfe,
				       0xff, 0xff, 0xff,
				       /* 4: floats, 5: sints, 6: bools, 7: fixed64 with presence */
				       0x22, 8, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0x2a, 4, 1, 2, 0xff, 0x01, 0x32, 3, 1,
				       0, 5, 0x39, 0, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t PIECES[] = {0x2a, 1, 1, 0x2a, 2, 2, 3}, SINGLE[] = {0x28, 1, 0x28, 2}, EMPTY[] = {0x2a, 0};
	static const uint8_t TORN[] = {0x2a, 1, 0x80}, UNEVEN[] = {0x22, 5, 0, 0, 0, 0, 0};
	assert_true(same_message(&FEW, lw_span(EACH, sizeof(EACH))));
	assert_true(same_message(&FEW, lw_span(PIECES, sizeof(PIECES))));
	assert_true(same_message(&FEW, lw_span(SINGLE, sizeof(SINGLE))));
	assert_true(same_message(&FEW, lw_span(EMPTY, sizeof(EMPTY))));
	assert_false(same_message(&FEW, lw_span(UNEVEN, sizeof(UNEVEN))));
	same_message(&FEW, lw_span(TORN, sizeof(TORN)));

	struct lw_arena a;
	ProtobufCMessage *m;
	lw_arena_init(&a, NULL, 0, 4096);
	assert_int_equal(lw_pb_unpack(&FEW, lw_span(EACH, sizeof(EACH)), &a, &m), 0);
	const struct few *few = (const void *)m;
	assert_int_equal(few->fixed32, 0x80030201);
	assert_int_equal(few->sint32, -2);
	assert_int_equal(few->n_floats, 2);
	assert_true(few->floats[0] == 1 && few->floats[1] == -2);
	assert_int_equal(few->n_sints, 3);
	assert_int_equal(few->sints[2], -128);
	assert_int_equal(few->n_bools, 3);
	assert_int_equal(few->bools[2], 1);
	assert_true(few->has_fixed64 && few->fixed64 == 0);
	assert_int_equal(few->sfixed32, -2);
	uint64_t seed = 4;
	compare(m, &a, &seed);
	lw_arena_deinit(&a);
}

/* A message in a message in a message …, so many in all. */
static bool nested(unsigned n)
{
	uint8_t wire[4 * (LW_PB_MAX_DEPTH + 1)];
	uint8_t *at = wire + sizeof(wire);
	while (n-- > 1) {
		uint8_t head[1 + 10] = {0x4a};
		size_t width = 1 + lw_pb_put_varint(head + 1, (size_t)(wire + sizeof(wire) - at));
		at -= width;
		assert_true(at >= wire);
		memcpy(at, head, width);
	}
	return same_message(&FEW, lw_span(at, (size_t)(wire + sizeof(wire) - at)));
}

static void test_depth(void **state)
{
	(void)state;
	assert_true(nested(1));
	assert_true(nested(LW_PB_MAX_DEPTH));
	assert_false(nested(LW_PB_MAX_DEPTH + 1));
}

/* Numbers of ten bytes, then lengths that turn out to be longer than a byte: each takes all the room it has asked for.
 */
static void test_room_to_the_last_byte(void **state)
{
	(void)state;
	static int64_t sints[220];
	struct few inner, outer;
	uint8_t want[4096];
	for (size_t i = 0; i < 220; i++)
		sints[i] = INT64_MIN;
	few_init(&inner.base);
	few_init(&outer.base);
	inner.sints = sints;
	inner.n_sints = 30;
	outer.inner = &inner;
	size_t n = protobuf_c_message_pack(&outer.base, want);
	assert_in_range(n, 300, 320);
	for (size_t max = 0; max < n + 30; max++) {
		struct lw_buf b;
		lw_buf_init(&b, max);
		assert_int_equal(lw_pb_pack(&outer.base, &b), max < n ? LW_EBIG : 0);
		assert_int_equal(b.n, max < n ? 0 : n);
		assert_memory_equal(b.p ? b.p : want, want, b.n);
		lw_buf_deinit(&b);
	}
	/* On both sides of what is packed without a look at its size. */
	for (inner.n_sints = 190; inner.n_sints < 220; inner.n_sints++) {
		struct lw_arena a;
		lw_arena_init(&a, NULL, 0, 8192);
		n = protobuf_c_message_pack(&outer.base, want);
		struct lw_span got = lw_pb_pack_arena(&outer.base, &a);
		assert_int_equal(got.n, n);
		assert_memory_equal(got.p, want, n);
		lw_arena_deinit(&a);
	}
}

/* What the first attempt used up is given back: a message with something unusual at its end needs no more room. */
static void test_unusual_needs_no_more(void **state)
{
	(void)state;
	static uint8_t wire[1003];
	struct lw_arena a;
	ProtobufCMessage *m;
	wire[0] = 0x0a; /* Event.origin */
	wire[1] = 0xe5;
	wire[2] = 0x07;
	memset(wire + 3, 'x', 997);
	wire[1000] = 0xf8; /* an unknown member */
	wire[1001] = 0x7f;
	lw_arena_init(&a, NULL, 0, 1800);
	assert_int_equal(lw_pb_unpack(&longwave__ns__v1__event__descriptor, lw_span(wire, sizeof(wire)), &a, &m), 0);
	assert_int_equal(m->n_unknown_fields, 1);
	assert_int_equal(strlen(((const Longwave__Ns__V1__Event *)m)->origin), 997);
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

	struct lw_span rest = lw_span(WIRE, sizeof(WIRE));
	struct lw_pb_member m;
	assert_int_equal(lw_pb_next(&rest, &m), 0);
	assert_int_equal(m.id, 4);
	assert_true(m.type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED && lw_span_eq_str(m.body, "ab"));
	assert_int_equal(lw_pb_next(&rest, &m), 0);
	assert_int_equal(m.id, 5);
	assert_true(m.type == PROTOBUF_C_WIRE_TYPE_VARINT && m.number == 128);
	assert_int_equal(lw_pb_next(&rest, &m), 0);
	assert_int_equal(lw_pb_next(&rest, &m), 0);
	assert_true(m.type == PROTOBUF_C_WIRE_TYPE_32BIT && m.body.n == 4 && rest.n == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_bytes),
		cmocka_unit_test(test_unknown_fields),
		cmocka_unit_test(test_same_message),
		cmocka_unit_test(test_same_numbers),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_room_to_the_last_byte),
		cmocka_unit_test(test_unusual_needs_no_more),
		cmocka_unit_test(test_find),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
