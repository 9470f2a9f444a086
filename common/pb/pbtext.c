#include "common/pb/build.h"
#include "common/pb/pbjson.h"
#include "common/pb/scalar.h"
#include "common/pb/utf8.h"

static int text_to_message(const struct lw_schema_message *type, struct lw_span text, const ProtobufCAllocator *a,
			   ProtobufCMessage **out, struct lw_diag *diag)
{
	if (type->well_known == LW_WELL_KNOWN_TIMESTAMP || type->well_known == LW_WELL_KNOWN_DURATION) {
		ProtobufCMessage *m = lw_pb_message_new(type->c, a);
		if (!m)
			return lw_scalar_no_memory(diag);
		int rc = type->well_known == LW_WELL_KNOWN_TIMESTAMP ? lw_scalar_time(diag, text, m)
								     : lw_scalar_duration(diag, text, m);
		if (rc < 0)
			lw_pb_message_free(m, a);
		else
			*out = m;
		return rc;
	}
	if (type->well_known == LW_WELL_KNOWN_NONE)
		return lw_scalar_bad(diag, LW_EINVAL, "cannot be given as text");
	return lw_pbjson_read(type, text, a, out, diag);
}

static int text_to_value(const struct lw_schema_field *f, struct lw_span text, const ProtobufCAllocator *a, void *slot,
			 struct lw_diag *diag)
{
	switch (f->kind) {
	case LW_KIND_BOOL:
		if (lw_span_eq_str(text, "true") || lw_span_eq_str(text, "1"))
			*(protobuf_c_boolean *)slot = true;
		else if (lw_span_eq_str(text, "false") || lw_span_eq_str(text, "0"))
			*(protobuf_c_boolean *)slot = false;
		else
			return lw_scalar_bad(diag, LW_EINVAL, "expected true or false");
		return 0;
	case LW_KIND_ENUM:
		return lw_scalar_enum(diag, f->enumeration, text, lw_scalar_is_number(text), slot);
	case LW_KIND_STRING:
		if (!lw_utf8_valid(text.p, text.n))
			return lw_scalar_bad(diag, LW_EINVAL, "text is not UTF-8");
		return lw_scalar_text(diag, text, a, slot);
	case LW_KIND_BYTES:
		return lw_scalar_bytes(diag, text, a, slot);
	case LW_KIND_MESSAGE:
		return text_to_message(f->message, text, a, slot, diag);
	case LW_KIND_INT32:
	case LW_KIND_UINT32:
	case LW_KIND_INT64:
	case LW_KIND_UINT64:
	case LW_KIND_FLOAT:
	case LW_KIND_DOUBLE:
		break;
	}
	return lw_scalar_number(diag, f->kind, text, slot);
}

/* Frees the value of a single member, so that another can take its place. */
static void clear_value(const struct lw_schema_field *f, void *slot, const ProtobufCAllocator *a)
{
	if (f->kind == LW_KIND_STRING) {
		char **text = slot;
		if (*text != (const char *)f->c->default_value)
			lw_pb_free(a, *text);
		*text = (char *)(uintptr_t)protobuf_c_empty_string;
	} else if (f->kind == LW_KIND_BYTES) {
		ProtobufCBinaryData *bytes = slot;
		lw_pb_free(a, bytes->data);
		*bytes = (ProtobufCBinaryData){0};
	} else if (f->kind == LW_KIND_MESSAGE) {
		ProtobufCMessage **message = slot;
		lw_pb_message_free(*message, a);
		*message = NULL;
	}
}

static int set_entry(ProtobufCMessage *m, const struct lw_schema_field *f, struct lw_span key, struct lw_span text,
		     const ProtobufCAllocator *a, struct lw_diag *diag)
{
	ProtobufCMessage **slot = lw_pb_append_slot(m, f, a);
	ProtobufCMessage *entry = slot ? lw_pb_message_new(f->message->c, a) : NULL;
	if (!entry)
		return lw_scalar_no_memory(diag);
	const struct lw_schema_field *value = &f->message->fields[1];
	int rc = lw_utf8_valid(key.p, key.n) ? lw_scalar_key(diag, &f->message->fields[0], key, a, entry)
					     : lw_scalar_bad(diag, LW_EINVAL, "name is not UTF-8");
	if (rc == 0)
		rc = text_to_value(value, text, a, lw_pb_slot(entry, value), diag);
	if (rc < 0) {
		lw_pb_message_free(entry, a);
		return rc;
	}
	*slot = entry;
	lw_pb_appended(m, f);
	if (lw_pb_has_duplicate_keys(f, m)) /* the entry stays in the message, which the caller frees */
		return lw_scalar_bad(diag, LW_EINVAL, "duplicate name");
	return 0;
}

int lw_pbtext_set(ProtobufCMessage *m, const struct lw_schema_field *f, const struct lw_span *key, struct lw_span text,
		  const ProtobufCAllocator *a, struct lw_diag *diag)
{
	if (f->map != (key != NULL))
		return lw_scalar_bad(diag, LW_EINVAL,
				     f->map ? "expected a name in brackets" : "takes no name in brackets");
	if (f->map)
		return set_entry(m, f, *key, text, a, diag);
	if (f->repeated) {
		void *slot = lw_pb_append_slot(m, f, a);
		if (!slot)
			return lw_scalar_no_memory(diag);
		int rc = text_to_value(f, text, a, slot, diag);
		if (rc == 0)
			lw_pb_appended(m, f);
		return rc;
	}
	if (f->oneof && *lw_pb_oneof_case(m, f) && *lw_pb_oneof_case(m, f) != f->c->id) {
		lw_diag_set(diag, "more than one member of %s", f->oneof);
		return LW_EINVAL;
	}
	/* Read into a value beside, since the old one must stay valid when this fails. */
	union {
		ProtobufCBinaryData bytes;
		double real;
		int64_t integer;
		void *pointer;
	} value = {0};
	int rc = text_to_value(f, text, a, &value, diag);
	if (rc < 0)
		return rc;
	if (!f->oneof || *lw_pb_oneof_case(m, f))
		clear_value(f, lw_pb_slot(m, f), a);
	memcpy(lw_pb_slot(m, f), &value, lw_pb_value_size(f->kind));
	if (f->oneof)
		*lw_pb_oneof_case(m, f) = f->c->id;
	return 0;
}
