#include "common/pb/pbjson.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "common/base/base64.h"
#include "common/base/xmalloc.h"
#include "common/pb/build.h"
#include "common/pb/json_in.h"
#include "common/pb/json_out.h"
#include "common/pb/utf8.h"
#include "proto/google/protobuf/duration.pb-c.h"
#include "proto/google/protobuf/struct.pb-c.h"
#include "proto/google/protobuf/timestamp.pb-c.h"

#define LONGEST_NUMBER 200

struct decoder {
	struct lw_json_in in;
	const ProtobufCAllocator *allocator;
	struct lw_diag *diag;
};

static int read_value(struct decoder *d, const struct lw_schema_field *f, void *slot);
static int read_message(struct decoder *d, const struct lw_schema_message *type, ProtobufCMessage **out);

static int bad(struct lw_diag *diag, int err, const char *what)
{
	lw_diag_set(diag, "%s", what);
	return err;
}

static int no_memory(struct lw_diag *diag)
{
	return bad(diag, LW_ENOMEM, "too large");
}

/* ---- one scalar from text ---------------------------------------------------------------------------------------- */

static int text_to_double(struct lw_span text, double *v)
{
	char copy[LONGEST_NUMBER + 1];
	if (text.n > LONGEST_NUMBER)
		return LW_ERANGE;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	*v = strtod(copy, NULL);
	return isfinite(*v) ? 0 : LW_ERANGE;
}

/* Magnitude and sign of an integer; "1e3" and "5.0" are integers too. */
static int text_to_integer(struct lw_span text, bool *negative, uint64_t *magnitude)
{
	size_t i = 0;
	*negative = text.p[0] == '-';
	*magnitude = 0;
	for (i = *negative; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++) {
		unsigned digit = (unsigned)(text.p[i] - '0');
		if (*magnitude > (UINT64_MAX - digit) / 10)
			return LW_ERANGE;
		*magnitude = *magnitude * 10 + digit;
	}
	if (i == text.n)
		return 0;
	double v;
	int rc = text_to_double(text, &v);
	if (rc < 0)
		return rc;
	v = fabs(v);
	if (v > 9007199254740992.0) /* beyond, not every integer is a double */
		return LW_ERANGE;
	if (v != floor(v))
		return LW_EINVAL;
	*magnitude = (uint64_t)v;
	return 0;
}

static int store_integer(enum lw_kind kind, struct lw_span text, void *slot)
{
	bool negative;
	uint64_t v;
	int rc = text_to_integer(text, &negative, &v);
	if (rc < 0)
		return rc;
	if (v == 0)
		negative = false;
	if (kind == LW_KIND_UINT32 || kind == LW_KIND_UINT64) {
		if (negative || (kind == LW_KIND_UINT32 && v > UINT32_MAX))
			return LW_ERANGE;
		if (kind == LW_KIND_UINT32)
			*(uint32_t *)slot = (uint32_t)v;
		else
			*(uint64_t *)slot = v;
		return 0;
	}
	uint64_t most = kind == LW_KIND_INT64 ? (uint64_t)INT64_MAX : (uint64_t)INT32_MAX;
	if (v > most + negative)
		return LW_ERANGE;
	int64_t value = negative ? -(int64_t)(v - 1) - 1 : (int64_t)v;
	if (kind == LW_KIND_INT64)
		*(int64_t *)slot = value;
	else
		*(int32_t *)slot = (int32_t)value;
	return 0;
}

static int store_real(enum lw_kind kind, struct lw_span text, void *slot)
{
	double v;
	int rc = text_to_double(text, &v);
	if (rc < 0)
		return rc;
	if (kind == LW_KIND_DOUBLE) {
		*(double *)slot = v;
		return 0;
	}
	if (fabs(v) > (double)FLT_MAX)
		return LW_ERANGE;
	*(float *)slot = (float)v;
	return 0;
}

static bool store_not_finite(enum lw_kind kind, struct lw_span text, void *slot)
{
	double v;
	if (lw_span_eq_str(text, "NaN"))
		v = (double)NAN;
	else if (lw_span_eq_str(text, "Infinity"))
		v = (double)INFINITY;
	else if (lw_span_eq_str(text, "-Infinity"))
		v = -(double)INFINITY;
	else
		return false;
	if (kind == LW_KIND_DOUBLE)
		*(double *)slot = v;
	else
		*(float *)slot = (float)v;
	return true;
}

/* Checks the grammar of JSON numbers, so that no blanks, hexadecimal digits or words pass. */
static bool is_number(struct lw_span text)
{
	struct lw_json_in in;
	struct lw_span number;
	lw_json_in_init(&in, text, 1);
	bool ok = text.n && text.p[0] != ' ' && lw_json_number(&in, &number) == 0 && number.n == text.n;
	lw_json_in_deinit(&in);
	return ok;
}

static int store_number(struct lw_diag *diag, enum lw_kind kind, struct lw_span text, void *slot)
{
	bool real = kind == LW_KIND_FLOAT || kind == LW_KIND_DOUBLE;
	if (real && store_not_finite(kind, text, slot))
		return 0;
	if (!is_number(text))
		return bad(diag, LW_EINVAL, "expected a number");
	int rc = real ? store_real(kind, text, slot) : store_integer(kind, text, slot);
	if (rc == LW_ERANGE)
		return bad(diag, rc, "number out of range");
	return rc < 0 ? bad(diag, rc, "expected an integer") : 0;
}

static int store_enum(struct lw_diag *diag, const struct lw_schema_enum *type, struct lw_span text, bool number, void *slot)
{
	const struct lw_schema_enum_value *v;
	int32_t n;
	if (number)
		v = store_integer(LW_KIND_INT32, text, &n) == 0 ? lw_schema_enum_by_number(type, n) : NULL;
	else
		v = lw_schema_enum_by_name(type, text);
	if (!v) {
		lw_diag_set(diag, "unknown value \"%.*s\"", (int)(text.n < 40 ? text.n : 40), (const char *)text.p);
		return LW_EINVAL;
	}
	*(int32_t *)slot = v->number;
	return 0;
}

static int store_text(struct lw_diag *diag, struct lw_span text, const ProtobufCAllocator *a, void *slot)
{
	if (text.n && memchr(text.p, 0, text.n))
		return bad(diag, LW_EINVAL, "text contains NUL");
	char *copy = lw_pb_strndup(a, text);
	if (!copy)
		return no_memory(diag);
	*(char **)slot = copy;
	return 0;
}

static int store_bytes(struct lw_diag *diag, struct lw_span text, const ProtobufCAllocator *a, void *slot)
{
	ProtobufCBinaryData *b = slot;
	*b = (ProtobufCBinaryData){0};
	if (text.n == 0)
		return 0;
	size_t cap = LW_BASE64_MAX_BYTES(text.n);
	uint8_t *data = lw_pb_alloc(a, cap);
	if (!data)
		return no_memory(diag);
	int n = lw_base64_decode((const char *)text.p, text.n, data, cap);
	if (n <= 0) {
		lw_pb_free(a, data);
		return n < 0 ? bad(diag, LW_EINVAL, "expected base64") : 0;
	}
	b->data = data;
	b->len = (size_t)n;
	return 0;
}

static int store_time(struct lw_diag *diag, struct lw_span text, ProtobufCMessage *m)
{
	Google__Protobuf__Timestamp *t = (Google__Protobuf__Timestamp *)m;
	int rc = lw_timestamp_parse(text, &t->seconds, &t->nanos);
	return rc < 0 ? bad(diag, rc, "expected a time such as 2024-05-01T12:00:00Z") : 0;
}

static int store_duration(struct lw_diag *diag, struct lw_span text, ProtobufCMessage *m)
{
	Google__Protobuf__Duration *t = (Google__Protobuf__Duration *)m;
	int rc = lw_duration_parse(text, &t->seconds, &t->nanos);
	return rc < 0 ? bad(diag, rc, "expected a duration such as 1.5s") : 0;
}

/* ---- members ----------------------------------------------------------------------------------------------------- */

static int expect(struct decoder *d, enum lw_json_type type, const char *what)
{
	int next = lw_json_peek(&d->in);
	if (next < 0)
		return next;
	return next == (int)type ? 0 : bad(d->diag, LW_EINVAL, what);
}

static int read_bool(struct decoder *d, void *slot)
{
	int type = lw_json_peek(&d->in);
	if (type < 0)
		return type;
	if (type != LW_JSON_TRUE && type != LW_JSON_FALSE)
		return bad(d->diag, LW_EINVAL, "expected true or false");
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
		return bad(d->diag, LW_EINVAL, f->kind == LW_KIND_ENUM ? "expected a name" : "expected a number");
	int rc = type == LW_JSON_NUMBER ? lw_json_number(&d->in, &text) : lw_json_string(&d->in, &text);
	if (rc < 0)
		return rc;
	if (f->kind == LW_KIND_ENUM)
		return store_enum(d->diag, f->enumeration, text, type == LW_JSON_NUMBER, slot);
	return store_number(d->diag, f->kind, text, slot);
}

static int read_text(struct decoder *d, const struct lw_schema_field *f, void *slot)
{
	struct lw_span text;
	int rc = expect(d, LW_JSON_STRING, "expected a text");
	if (rc == 0)
		rc = lw_json_string(&d->in, &text);
	if (rc < 0)
		return rc;
	return f->kind == LW_KIND_BYTES ? store_bytes(d->diag, text, d->allocator, slot)
					: store_text(d->diag, text, d->allocator, slot);
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
			return no_memory(d->diag);
		rc = read_value(d, f, slot);
		if (rc < 0)
			return rc;
		lw_pb_appended(m, f);
	}
	return rc;
}

static int store_key(struct lw_diag *diag, const struct lw_schema_field *key, struct lw_span text,
		     const ProtobufCAllocator *a, ProtobufCMessage *entry)
{
	void *slot = lw_pb_slot(entry, key);
	if (key->kind == LW_KIND_STRING)
		return store_text(diag, text, a, slot);
	if (key->kind != LW_KIND_BOOL)
		return store_number(diag, key->kind, text, slot);
	bool yes = lw_span_eq_str(text, "true");
	if (!yes && !lw_span_eq_str(text, "false"))
		return bad(diag, LW_EINVAL, "expected true or false");
	*(protobuf_c_boolean *)slot = yes;
	return 0;
}

static int compare_text_keys(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int compare_integer_keys(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static uint64_t integer_key(const struct lw_schema_field *key, const ProtobufCMessage *entry)
{
	const void *slot = lw_pb_slot(entry, key);
	return lw_pb_value_size(key->kind) == sizeof(uint64_t) ? *(const uint64_t *)slot : *(const uint32_t *)slot;
}

static bool has_duplicate_keys(const struct lw_schema_field *f, const ProtobufCMessage *m)
{
	const struct lw_schema_field *key = &f->message->fields[0];
	ProtobufCMessage *const *entries = *(ProtobufCMessage *const *const *)lw_pb_slot(m, f);
	size_t n = *lw_pb_count(m, f);
	bool text = key->kind == LW_KIND_STRING;
	bool found = false;
	if (n < 2)
		return false;
	union {
		uint64_t integer;
		char *text;
	} *keys = lw_xreallocarray(NULL, n, sizeof(*keys));
	for (size_t i = 0; i < n; i++) {
		keys[i].integer = 0;
		if (text)
			keys[i].text = *(char *const *)lw_pb_slot(entries[i], key);
		else
			keys[i].integer = integer_key(key, entries[i]);
	}
	qsort(keys, n, sizeof(*keys), text ? compare_text_keys : compare_integer_keys);
	for (size_t i = 1; i < n && !found; i++)
		found = text ? strcmp(keys[i - 1].text, keys[i].text) == 0 : keys[i - 1].integer == keys[i].integer;
	free(keys);
	return found;
}

static int read_entry(struct decoder *d, const struct lw_schema_field *f, struct lw_span name, ProtobufCMessage **out)
{
	ProtobufCMessage *entry = lw_pb_message_new(f->message->c, d->allocator);
	if (!entry)
		return no_memory(d->diag);
	const struct lw_schema_field *value = &f->message->fields[1];
	int rc = store_key(d->diag, &f->message->fields[0], name, d->allocator, entry);
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
			return no_memory(d->diag);
		rc = read_entry(d, f, name, slot);
		if (rc < 0)
			return rc;
		lw_pb_appended(m, f);
	}
	if (rc == 0 && has_duplicate_keys(f, m))
		return bad(d->diag, LW_EINVAL, "duplicate name");
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
			rc = bad(d->diag, LW_EINVAL, "duplicate member");
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
		return type->well_known == LW_WELL_KNOWN_TIMESTAMP ? store_time(d->diag, text, m)
								    : store_duration(d->diag, text, m);
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
		return no_memory(d->diag);
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

int lw_pbjson_decode(const struct lw_schema *s, const ProtobufCMessageDescriptor *type, struct lw_span json,
		     const ProtobufCAllocator *allocator, ProtobufCMessage **out, struct lw_diag *diag)
{
	const struct lw_schema_message *message = lw_schema_find_descriptor(s, type);
	*out = NULL;
	if (!message)
		return LW_EINVAL;
	struct decoder d = {.allocator = allocator, .diag = diag};
	lw_json_in_init(&d.in, json, LW_PBJSON_MAX_DEPTH);
	int rc = read_document(&d, message, out);
	lw_json_in_deinit(&d.in);
	return rc;
}

/* ---- plain text -------------------------------------------------------------------------------------------------- */

static int text_to_message(const struct lw_schema_message *type, struct lw_span text, const ProtobufCAllocator *a,
			   ProtobufCMessage **out, struct lw_diag *diag)
{
	if (type->well_known == LW_WELL_KNOWN_TIMESTAMP || type->well_known == LW_WELL_KNOWN_DURATION) {
		ProtobufCMessage *m = lw_pb_message_new(type->c, a);
		if (!m)
			return no_memory(diag);
		int rc = type->well_known == LW_WELL_KNOWN_TIMESTAMP ? store_time(diag, text, m)
								     : store_duration(diag, text, m);
		if (rc < 0)
			lw_pb_message_free(m, a);
		else
			*out = m;
		return rc;
	}
	if (type->well_known == LW_WELL_KNOWN_NONE)
		return bad(diag, LW_EINVAL, "cannot be given as text");
	struct decoder d = {.allocator = a, .diag = diag};
	lw_json_in_init(&d.in, text, LW_PBJSON_MAX_DEPTH);
	int rc = read_document(&d, type, out);
	lw_json_in_deinit(&d.in);
	return rc;
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
			return bad(diag, LW_EINVAL, "expected true or false");
		return 0;
	case LW_KIND_ENUM:
		return store_enum(diag, f->enumeration, text, is_number(text), slot);
	case LW_KIND_STRING:
		if (!lw_utf8_valid(text.p, text.n))
			return bad(diag, LW_EINVAL, "text is not UTF-8");
		return store_text(diag, text, a, slot);
	case LW_KIND_BYTES:
		return store_bytes(diag, text, a, slot);
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
	return store_number(diag, f->kind, text, slot);
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
		return no_memory(diag);
	const struct lw_schema_field *value = &f->message->fields[1];
	int rc = lw_utf8_valid(key.p, key.n) ? store_key(diag, &f->message->fields[0], key, a, entry)
					     : bad(diag, LW_EINVAL, "name is not UTF-8");
	if (rc == 0)
		rc = text_to_value(value, text, a, lw_pb_slot(entry, value), diag);
	if (rc < 0) {
		lw_pb_message_free(entry, a);
		return rc;
	}
	*slot = entry;
	lw_pb_appended(m, f);
	if (has_duplicate_keys(f, m)) /* the entry stays in the message, which the caller frees */
		return bad(diag, LW_EINVAL, "duplicate name");
	return 0;
}

int lw_pbtext_set(ProtobufCMessage *m, const struct lw_schema_field *f, const struct lw_span *key, struct lw_span text,
		  const ProtobufCAllocator *a, struct lw_diag *diag)
{
	if (f->map != (key != NULL))
		return bad(diag, LW_EINVAL, f->map ? "expected a name in brackets" : "takes no name in brackets");
	if (f->map)
		return set_entry(m, f, *key, text, a, diag);
	if (f->repeated) {
		void *slot = lw_pb_append_slot(m, f, a);
		if (!slot)
			return no_memory(diag);
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
