#include "common/pb/pbjson.h"

#include <math.h>

#include "common/base/base64.h"
#include "common/pb/build.h"
#include "common/pb/json_out.h"
#include "proto/google/protobuf/duration.pb-c.h"
#include "proto/google/protobuf/struct.pb-c.h"
#include "proto/google/protobuf/timestamp.pb-c.h"

/* A level of JSON inside a Struct is three messages: Value, Struct, entry. */
#define MAX_MESSAGE_DEPTH (4 * LW_PBJSON_MAX_DEPTH)

struct encoder {
	struct lw_buf *out;
	enum lw_pbjson_profile profile;
	unsigned depth;
	int err;
};

static void put_message(struct encoder *e, const struct lw_schema_message *type, const ProtobufCMessage *m);

static void put(struct encoder *e, char c)
{
	lw_buf_append(e->out, &c, 1);
}

static void put_quoted(struct encoder *e, const char *plain, size_t n)
{
	put(e, '"');
	lw_buf_append(e->out, plain, n);
	put(e, '"');
}

static void put_not_finite(struct encoder *e, double v)
{
	const char *text = isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity";
	if (e->profile == LW_PBJSON_REST)
		put_quoted(e, text, strlen(text));
	else
		lw_buf_append(e->out, "null", 4);
}

static void put_double(struct encoder *e, double v)
{
	char text[LW_NUMBER_MAX];
	if (isfinite(v))
		lw_buf_append(e->out, text, lw_number_format_double(v, e->profile == LW_PBJSON_EVENT, text));
	else
		put_not_finite(e, v);
}

static void put_float(struct encoder *e, float v)
{
	char text[LW_NUMBER_MAX];
	if (isfinite(v))
		lw_buf_append(e->out, text, lw_number_format_float(v, e->profile == LW_PBJSON_EVENT, text));
	else
		put_not_finite(e, (double)v);
}

static void put_bytes(struct encoder *e, const ProtobufCBinaryData *b)
{
	put(e, '"');
	if (b->len) {
		/* One character more than is kept, for the terminator. */
		uint8_t *room = b->len < SIZE_MAX / 2 ? lw_buf_reserve(e->out, LW_BASE64_LEN(b->len) + 1) : NULL;
		if (room)
			lw_buf_commit(e->out, lw_base64_encode(b->data, b->len, (char *)room));
	}
	put(e, '"');
}

static void put_enum(struct encoder *e, const struct lw_schema_enum *type, int32_t number)
{
	const struct lw_schema_enum_value *v = lw_schema_enum_by_number(type, number);
	if (v)
		put_quoted(e, v->name, strlen(v->name));
	else
		lw_json_put_i64(e->out, number);
}

static void put_text(struct encoder *e, const char *text)
{
	lw_json_put_string(e->out, lw_span_str(text ? text : ""));
}

/* `slot` points to the value: of a member, an array element, or a map entry's key or value. */
static void put_value(struct encoder *e, const struct lw_schema_field *f, const void *slot)
{
	const ProtobufCMessage *m;
	switch (f->kind) {
	case LW_KIND_BOOL:
		if (*(const protobuf_c_boolean *)slot)
			lw_buf_append(e->out, "true", 4);
		else
			lw_buf_append(e->out, "false", 5);
		break;
	case LW_KIND_INT32:
		lw_json_put_i64(e->out, *(const int32_t *)slot);
		break;
	case LW_KIND_UINT32:
		lw_json_put_u64(e->out, *(const uint32_t *)slot);
		break;
	case LW_KIND_INT64:
		put(e, '"');
		lw_json_put_i64(e->out, *(const int64_t *)slot);
		put(e, '"');
		break;
	case LW_KIND_UINT64:
		put(e, '"');
		lw_json_put_u64(e->out, *(const uint64_t *)slot);
		put(e, '"');
		break;
	case LW_KIND_FLOAT:
		put_float(e, *(const float *)slot);
		break;
	case LW_KIND_DOUBLE:
		put_double(e, *(const double *)slot);
		break;
	case LW_KIND_ENUM:
		put_enum(e, f->enumeration, *(const int32_t *)slot);
		break;
	case LW_KIND_STRING:
		put_text(e, *(char *const *)slot);
		break;
	case LW_KIND_BYTES:
		put_bytes(e, slot);
		break;
	case LW_KIND_MESSAGE:
		m = *(ProtobufCMessage *const *)slot;
		if (m)
			put_message(e, f->message, m);
		else if (f->message->well_known == LW_WELL_KNOWN_NONE || f->message->well_known == LW_WELL_KNOWN_STRUCT)
			lw_buf_append(e->out, "{}", 2); /* value of a map entry that the sender left out */
		else
			lw_buf_append(e->out, "null", 4);
		break;
	}
}

static void put_list(struct encoder *e, const struct lw_schema_field *f, const ProtobufCMessage *m)
{
	size_t n = *lw_pb_count(m, f);
	size_t size = lw_pb_value_size(f->kind);
	const uint8_t *array = *(uint8_t *const *)lw_pb_slot(m, f);
	put(e, '[');
	for (size_t i = 0; i < n; i++) {
		if (i)
			put(e, ',');
		put_value(e, f, array + i * size);
	}
	put(e, ']');
}

static void put_map(struct encoder *e, const struct lw_schema_field *f, const ProtobufCMessage *m)
{
	const struct lw_schema_field *key = &f->message->fields[0];
	const struct lw_schema_field *value = &f->message->fields[1];
	size_t n = *lw_pb_count(m, f);
	ProtobufCMessage *const *entries = *(ProtobufCMessage *const *const *)lw_pb_slot(m, f);
	/* Names are always text; 64-bit values bring their own quotes. */
	bool quote = key->kind != LW_KIND_STRING && key->kind != LW_KIND_INT64 && key->kind != LW_KIND_UINT64;
	put(e, '{');
	for (size_t i = 0; i < n; i++) {
		if (i)
			put(e, ',');
		if (quote)
			put(e, '"');
		put_value(e, key, lw_pb_slot(entries[i], key));
		if (quote)
			put(e, '"');
		put(e, ':');
		put_value(e, value, lw_pb_slot(entries[i], value));
	}
	put(e, '}');
}

static bool is_default(const struct lw_schema_field *f, const void *slot)
{
	switch (f->kind) {
	case LW_KIND_BOOL:
		return !*(const protobuf_c_boolean *)slot;
	case LW_KIND_INT32:
	case LW_KIND_UINT32:
	case LW_KIND_ENUM:
		return *(const uint32_t *)slot == 0;
	case LW_KIND_INT64:
	case LW_KIND_UINT64:
		return *(const uint64_t *)slot == 0;
	case LW_KIND_FLOAT:
		return *(const float *)slot == 0;
	case LW_KIND_DOUBLE:
		return *(const double *)slot == 0;
	case LW_KIND_STRING:
		return !*(char *const *)slot || !**(char *const *)slot;
	case LW_KIND_BYTES:
		return ((const ProtobufCBinaryData *)slot)->len == 0;
	case LW_KIND_MESSAGE:
		break;
	}
	return *(void *const *)slot == NULL;
}

static void put_well_known(struct encoder *e, const struct lw_schema_message *type, const ProtobufCMessage *m)
{
	char text[LW_TIME_MAX];
	const Google__Protobuf__Timestamp *time;
	const Google__Protobuf__Duration *duration;
	const Google__Protobuf__Value *value;

	switch (type->well_known) {
	case LW_WELL_KNOWN_TIMESTAMP:
		time = (const Google__Protobuf__Timestamp *)m;
		put_quoted(e, text,
			   lw_timestamp_format(time->seconds, time->nanos, e->profile != LW_PBJSON_EVENT, text));
		break;
	case LW_WELL_KNOWN_DURATION:
		duration = (const Google__Protobuf__Duration *)m;
		put_quoted(e, text, lw_duration_format(duration->seconds, duration->nanos, text));
		break;
	case LW_WELL_KNOWN_STRUCT:
		put_map(e, &type->fields[0], m);
		break;
	case LW_WELL_KNOWN_LIST:
		put_list(e, &type->fields[0], m);
		break;
	case LW_WELL_KNOWN_VALUE:
		value = (const Google__Protobuf__Value *)m;
		if (value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET ||
		    value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE) {
			lw_buf_append(e->out, "null", 4);
			break;
		}
		for (size_t i = 0; i < type->n_fields; i++)
			if (type->fields[i].c->id == (uint32_t)value->kind_case)
				put_value(e, &type->fields[i], lw_pb_slot(m, &type->fields[i]));
		break;
	case LW_WELL_KNOWN_EMPTY:
	case LW_WELL_KNOWN_NONE:
		lw_buf_append(e->out, "{}", 2);
		break;
	}
}

static void put_members(struct encoder *e, const struct lw_schema_message *type, const ProtobufCMessage *m)
{
	bool rest = e->profile == LW_PBJSON_REST;
	bool defaults = rest || (e->profile == LW_PBJSON_EVENT && strcmp(type->package, "integration") == 0);
	bool first = true;
	put(e, '{');
	for (size_t i = 0; i < type->n_fields; i++) {
		const struct lw_schema_field *f = &type->fields[i];
		const void *slot = lw_pb_slot(m, f);
		bool many = f->repeated || f->map;
		bool set = f->oneof ? *lw_pb_oneof_case(m, f) == f->c->id
			   : many   ? *lw_pb_count(m, f) != 0
				    : !is_default(f, slot);
		bool null = !set && !many && f->kind == LW_KIND_MESSAGE;
		if (!set && (f->oneof || !defaults || (null && !rest)))
			continue;
		if (!first)
			put(e, ',');
		first = false;
		lw_buf_append(e->out, f->json_key, f->json_key_len);
		if (null)
			lw_buf_append(e->out, "null", 4);
		else if (f->map)
			put_map(e, f, m);
		else if (f->repeated)
			put_list(e, f, m);
		else
			put_value(e, f, slot);
	}
	put(e, '}');
}

static void put_message(struct encoder *e, const struct lw_schema_message *type, const ProtobufCMessage *m)
{
	if (e->err || e->depth >= MAX_MESSAGE_DEPTH) {
		e->err = LW_ELIMIT;
		return;
	}
	e->depth++;
	if (type->well_known == LW_WELL_KNOWN_NONE)
		put_members(e, type, m);
	else
		put_well_known(e, type, m);
	e->depth--;
}

int lw_pbjson_encode(const struct lw_schema *s, const ProtobufCMessage *m, enum lw_pbjson_profile profile,
		     struct lw_buf *out)
{
	const struct lw_schema_message *type = lw_schema_find_descriptor(s, m->descriptor);
	if (!type)
		return LW_EINVAL;
	struct encoder e = {.out = out, .profile = profile};
	put_message(&e, type, m);
	return e.err ? e.err : out->err;
}
