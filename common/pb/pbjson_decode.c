#include "common/pb/pbjson.h"

#include "common/pb/build.h"
#include "common/pb/json_in.h"
#include "common/pb/scalar.h"
#include "proto/google/protobuf/struct.pb-c.h"

struct decoder {
	struct lw_json_in in;
	const ProtobufCAllocator *allocator;
	struct lw_diag *diag;
};

static int read_value(struct decoder *d, const struct lw_schema_field *f, void *slot);
static int read_message(struct decoder *d, const struct lw_schema_message *type, ProtobufCMessage **out);

/* ---- members ----------------------------------------------------------------------------------------------------- */

static int expect(struct decoder *d, enum lw_json_type type, const char *what)
{
	int next = lw_json_peek(&d->in);
	if (next < 0)
		return next;
	return next == (int)type ? 0 : lw_scalar_bad(d->diag, LW_EINVAL, what);
}

static int read_bool(struct decoder *d, void *slot)
{
	int type = lw_json_peek(&d->in);
	if (type < 0)
		return type;
	if (type != LW_JSON_TRUE && type != LW_JSON_FALSE)
		return lw_scalar_bad(d->diag, LW_EINVAL, "expected true or false");
	*(protobuf_c_boolean *)slot = type == LW_JSON_TRUE;
	return lw_json_literal(&d->in);
}

static int read_number(struct decoder *d, const struct lw_schema_field *f, void *slot)
{
	struct lw_span text;
	int type = lw_json_peek(&d->in);
	if (type < 0)
		return type;
	if (type != LW_JSON_NUMBER && type != LW_JSON_STRING)
		return lw_scalar_bad(d->diag, LW_EINVAL,
				     f->kind == LW_KIND_ENUM ? "expected a name" : "expected a number");
	int rc = type == LW_JSON_NUMBER ? lw_json_number(&d->in, &text) : lw_json_string(&d->in, &text);
	if (rc < 0)
		return rc;
	if (f->kind == LW_KIND_ENUM)
		return lw_scalar_enum(d->diag, f->enumeration, text, type == LW_JSON_NUMBER, slot);
	return lw_scalar_number(d->diag, f->kind, text, slot);
}

static int read_text(struct decoder *d, const struct lw_schema_field *f, void *slot)
{
	struct lw_span text;
	int rc = expect(d, LW_JSON_STRING, "expected a text");
	if (rc == 0)
		rc = lw_json_string(&d->in, &text);
	if (rc < 0)
		return rc;
	return f->kind == LW_KIND_BYTES ? lw_scalar_bytes(d->diag, text, d->allocator, slot)
					: lw_scalar_text(d->diag, text, d->allocator, slot);
}

static int read_value(struct decoder *d, const struct lw_schema_field *f, void *slot)
{
	switch (f->kind) {
	case LW_KIND_BOOL:
		return read_bool(d, slot);
	case LW_KIND_STRING:
	case LW_KIND_BYTES:
		return read_text(d, f, slot);
	case LW_KIND_MESSAGE:
		return read_message(d, f->message, slot);
	case LW_KIND_INT32:
	case LW_KIND_UINT32:
	case LW_KIND_INT64:
	case LW_KIND_UINT64:
	case LW_KIND_FLOAT:
	case LW_KIND_DOUBLE:
	case LW_KIND_ENUM:
		break;
	}
	return read_number(d, f, slot);
}

static int read_list(struct decoder *d, const struct lw_schema_field *f, ProtobufCMessage *m)
{
	bool first = true;
	int rc = expect(d, LW_JSON_ARRAY, "expected a list");
	if (rc == 0)
		rc = lw_json_enter(&d->in, LW_JSON_ARRAY);
	if (rc < 0)
		return rc;
	while ((rc = lw_json_next_element(&d->in, &first)) > 0) {
		void *slot = lw_pb_append_slot(m, f, d->allocator);
		if (!slot)
			return lw_scalar_no_memory(d->diag);
		rc = read_value(d, f, slot);
		if (rc < 0)
			return rc;
		lw_pb_appended(m, f);
	}
	return rc;
}

static int read_entry(struct decoder *d, const struct lw_schema_field *f, struct lw_span name, ProtobufCMessage **out)
{
	ProtobufCMessage *entry = lw_pb_message_new(f->message->c, d->allocator);
	if (!entry)
		return lw_scalar_no_memory(d->diag);
	const struct lw_schema_field *value = &f->message->fields[1];
	int rc = lw_scalar_key(d->diag, &f->message->fields[0], name, d->allocator, entry);
	if (rc == 0)
		rc = read_value(d, value, lw_pb_slot(entry, value));
	if (rc < 0) {
		lw_pb_message_free(entry, d->allocator);
		return rc;
	}
	*out = entry;
	return 0;
}

static int read_map(struct decoder *d, const struct lw_schema_field *f, ProtobufCMessage *m)
{
	struct lw_span name;
	bool first = true;
	int rc = expect(d, LW_JSON_OBJECT, "expected an object");
	if (rc == 0)
		rc = lw_json_enter(&d->in, LW_JSON_OBJECT);
	if (rc < 0)
		return rc;
	while ((rc = lw_json_next_member(&d->in, &first, &name)) > 0) {
		ProtobufCMessage **slot = lw_pb_append_slot(m, f, d->allocator);
		if (!slot)
			return lw_scalar_no_memory(d->diag);
		rc = read_entry(d, f, name, slot);
		if (rc < 0)
			return rc;
		lw_pb_appended(m, f);
	}
	if (rc == 0 && lw_pb_has_duplicate_keys(f, m))
		return lw_scalar_bad(d->diag, LW_EINVAL, "duplicate name");
	return rc;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static int read_json_value(struct decoder *d, const struct lw_schema_message *type, ProtobufCMessage *m)
{
	static const Google__Protobuf__Value__KindCase cases[] = {
		[LW_JSON_NULL] = GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE,
		[LW_JSON_FALSE] = GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE,
		[LW_JSON_TRUE] = GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE,
		[LW_JSON_NUMBER] = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE,
		[LW_JSON_STRING] = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE,
		[LW_JSON_OBJECT] = GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE,
		[LW_JSON_ARRAY] = GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE,
	};
	Google__Protobuf__Value *value = (Google__Protobuf__Value *)m;
	int next = lw_json_peek(&d->in);
	if (next < 0)
		return next;
	if (next == LW_JSON_NULL) {
		value->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
		return lw_json_literal(&d->in);
	}
	for (size_t i = 0; i < type->n_fields; i++) {
		const struct lw_schema_field *f = &type->fields[i];
		if (f->c->id != (uint32_t)cases[next])
			continue;
		int rc = read_value(d, f, lw_pb_slot(m, f));
		if (rc == 0)
			value->kind_case = cases[next];
		return rc;
	}
	return LW_EINTERNAL;
}

static int read_member(struct decoder *d, const struct lw_schema_field *f, ProtobufCMessage *m)
{
	if (f->map)
		return read_map(d, f, m);
	if (f->repeated)
		return read_list(d, f, m);
	if (f->oneof && *lw_pb_oneof_case(m, f)) {
		lw_diag_set(d->diag, "more than one member of %s", f->oneof);
		return LW_EINVAL;
	}
	int rc = read_value(d, f, lw_pb_slot(m, f));
	if (rc == 0 && f->oneof)
		*lw_pb_oneof_case(m, f) = f->c->id;
	return rc;
}

static int read_members(struct decoder *d, const struct lw_schema_message *type, ProtobufCMessage *m)
{
	uint64_t seen[LW_SCHEMA_MAX_FIELDS / 64] = {0};
	struct lw_span name;
	bool first = true;
	int rc = expect(d, LW_JSON_OBJECT, "expected an object");
	if (rc == 0)
		rc = lw_json_enter(&d->in, LW_JSON_OBJECT);
	if (rc < 0)
		return rc;
	while ((rc = lw_json_next_member(&d->in, &first, &name)) > 0) {
		const struct lw_schema_field *f = lw_schema_field_find(type, name);
		if (!f) {
			rc = lw_json_skip(&d->in);
			if (rc < 0)
				return rc;
			continue;
		}
		uint64_t bit = UINT64_C(1) << (f->index % 64);
		if (seen[f->index / 64] & bit)
			rc = lw_scalar_bad(d->diag, LW_EINVAL, "duplicate member");
		else if (lw_json_peek(&d->in) == LW_JSON_NULL &&
			 !(f->kind == LW_KIND_MESSAGE && f->message->well_known == LW_WELL_KNOWN_VALUE))
			rc = lw_json_literal(&d->in);
		else
			rc = read_member(d, f, m);
		if (rc < 0) {
			lw_diag_prefix(d->diag, "%s", f->name);
			return rc;
		}
		seen[f->index / 64] |= bit;
	}
	return rc;
}

static int read_well_known(struct decoder *d, const struct lw_schema_message *type, ProtobufCMessage *m)
{
	struct lw_span text;
	int rc;
	switch (type->well_known) {
	case LW_WELL_KNOWN_TIMESTAMP:
	case LW_WELL_KNOWN_DURATION:
		rc = expect(d, LW_JSON_STRING, "expected a text");
		if (rc == 0)
			rc = lw_json_string(&d->in, &text);
		if (rc < 0)
			return rc;
		return type->well_known == LW_WELL_KNOWN_TIMESTAMP ? lw_scalar_time(d->diag, text, m)
								   : lw_scalar_duration(d->diag, text, m);
	case LW_WELL_KNOWN_STRUCT:
		return read_map(d, &type->fields[0], m);
	case LW_WELL_KNOWN_LIST:
		return read_list(d, &type->fields[0], m);
	case LW_WELL_KNOWN_VALUE:
		return read_json_value(d, type, m);
	case LW_WELL_KNOWN_EMPTY:
	case LW_WELL_KNOWN_NONE:
		break;
	}
	return read_members(d, type, m);
}

static int read_message(struct decoder *d, const struct lw_schema_message *type, ProtobufCMessage **out)
{
	ProtobufCMessage *m = lw_pb_message_new(type->c, d->allocator);
	if (!m)
		return lw_scalar_no_memory(d->diag);
	int rc = type->well_known == LW_WELL_KNOWN_NONE ? read_members(d, type, m) : read_well_known(d, type, m);
	if (rc < 0) {
		lw_pb_message_free(m, d->allocator);
		return rc;
	}
	*out = m;
	return 0;
}

static int read_document(struct decoder *d, const struct lw_schema_message *type, ProtobufCMessage **out)
{
	*out = NULL;
	int rc = read_message(d, type, out);
	if (rc == 0)
		rc = lw_json_end(&d->in);
	if (d->in.err == LW_ELIMIT)
		lw_diag_set(d->diag, "nested too deeply");
	else if (d->in.err)
		lw_diag_set(d->diag, "malformed JSON at byte %zu", lw_json_in_offset(&d->in));
	if (rc < 0) {
		lw_pb_message_free(*out, d->allocator);
		*out = NULL;
	}
	return rc;
}

int lw_pbjson_read(const struct lw_schema_message *type, struct lw_span json, const ProtobufCAllocator *a,
		   ProtobufCMessage **out, struct lw_diag *diag)
{
	struct decoder d = {.allocator = a, .diag = diag};
	lw_json_in_init(&d.in, json, LW_PBJSON_MAX_DEPTH);
	int rc = read_document(&d, type, out);
	lw_json_in_deinit(&d.in);
	return rc;
}

int lw_pbjson_decode(const struct lw_schema *s, const ProtobufCMessageDescriptor *type, struct lw_span json,
		     const ProtobufCAllocator *allocator, ProtobufCMessage **out, struct lw_diag *diag)
{
	const struct lw_schema_message *message = lw_schema_find_descriptor(s, type);
	*out = NULL;
	return message ? lw_pbjson_read(message, json, allocator, out, diag) : LW_EINVAL;
}
