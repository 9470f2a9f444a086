#include "app-server/store/row.h"

#include <string.h>

#include "app-server/as.h"
#include "common/base/bug.h"
#include "common/base/clock.h"
#include "common/base/time.h"
#include "common/pb/json_in.h"
#include "common/pb/json_out.h"
#include "common/pb/unpack.h"
#include "proto/google/protobuf/timestamp.pb-c.h"

#define MAX_JSON (1u << 20)

/* Every map<string,string> entry of protobuf-c has this shape. */
struct entry {
	ProtobufCMessage base;
	char *key;
	char *value;
};

void as_row_damaged(struct as *as, const char *table, const char *id, const char *column)
{
	if (as->damaged_rows)
		rt_metric_inc(as->damaged_rows);
	RT_LOG_ERROR(as->log, "a row of the database is damaged", rt_str("table", table), rt_str("id", id),
		     rt_str("column", column));
}

static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessage *m, const char *name, size_t n)
{
	char text[64];
	BUG_ON(n >= sizeof(text));
	memcpy(text, name, n);
	text[n] = 0;
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, text);
	BUG_ON(!f);
	return f;
}

static void *at(const ProtobufCMessage *m, unsigned offset)
{
	return (char *)(uintptr_t)m + offset;
}

/* Next word of a list of names; false at the end. */
static bool next_word(const char **fields, const char **word, size_t *n)
{
	const char *p = *fields + strspn(*fields, " ");
	*n = strcspn(p, " ");
	*word = p;
	*fields = p + *n;
	return *n > 0;
}

static bool is_timestamp(const ProtobufCFieldDescriptor *f)
{
	return f->type == PROTOBUF_C_TYPE_MESSAGE && f->descriptor == &google__protobuf__timestamp__descriptor;
}

void *as_msg_new(struct lw_arena *arena, const ProtobufCMessageDescriptor *d)
{
	void *m = lw_arena_calloc(arena, 1, d->sizeof_message);
	BUG_ON(!m);
	protobuf_c_message_init(d, m);
	return m;
}

void *as_msg_copy(struct lw_arena *arena, const ProtobufCMessage *m)
{
	ProtobufCMessage *out = NULL;
	struct lw_span packed = lw_pb_pack_arena(m, arena);
	BUG_ON(!packed.p);
	int rc = lw_pb_unpack(m->descriptor, packed, arena, &out);
	BUG_ON(rc < 0);
	return out;
}

ProtobufCMessage **as_msg_list(struct lw_arena *arena, ProtobufCMessage *msg, const char *name, size_t n)
{
	const ProtobufCFieldDescriptor *f = field_of(msg, name, strlen(name));
	BUG_ON(f->label != PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE);
	ProtobufCMessage **v = lw_arena_calloc(arena, n + 1, sizeof(*v));
	BUG_ON(!v);
	for (size_t i = 0; i < n; i++)
		v[i] = as_msg_new(arena, f->descriptor);
	*(size_t *)at(msg, f->quantifier_offset) = n;
	*(ProtobufCMessage ***)at(msg, f->offset) = v;
	return v;
}

Google__Protobuf__Timestamp *as_timestamp(struct lw_arena *arena, int64_t unix_us)
{
	if (unix_us == 0)
		return NULL;
	Google__Protobuf__Timestamp *t = as_msg_new(arena, &google__protobuf__timestamp__descriptor);
	struct lw_sec_nanos s = lw_split_ns(unix_us * LW_NS_PER_US);
	t->seconds = s.sec;
	t->nanos = s.nanos;
	return t;
}

int64_t as_timestamp_us(const Google__Protobuf__Timestamp *t)
{
	return t ? lw_join_ns(t->seconds, t->nanos) / LW_NS_PER_US : 0;
}

static void put_text(struct lw_buf *out, const char *s)
{
	lw_json_put_string(out, lw_span_str(s ? s : ""));
}

const char *as_strings_to_json(const ProtobufCMessage *msg, const char *field, struct lw_buf *out)
{
	const ProtobufCFieldDescriptor *f = field_of(msg, field, strlen(field));
	size_t n = *(const size_t *)at(msg, f->quantifier_offset);

	lw_buf_reset(out);
	if (f->type == PROTOBUF_C_TYPE_STRING) {
		char **v = *(char ***)at(msg, f->offset);
		lw_buf_append_str(out, "[");
		for (size_t i = 0; i < n; i++) {
			lw_buf_append_str(out, i ? "," : "");
			put_text(out, v[i]);
		}
		lw_buf_append_str(out, "]");
		return lw_buf_str(out);
	}
	struct entry **v = *(struct entry ***)at(msg, f->offset);
	lw_buf_append_str(out, "{");
	for (size_t i = 0; i < n; i++) {
		lw_buf_append_str(out, i ? "," : "");
		put_text(out, v[i]->key);
		lw_buf_append_str(out, ":");
		put_text(out, v[i]->value);
	}
	lw_buf_append_str(out, "}");
	return lw_buf_str(out);
}

static void bind_one(struct sql_params *p, const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	const void *v = at(m, f->offset);

	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		struct lw_buf json;
		lw_buf_init(&json, MAX_JSON);
		sql_put_text(p, as_strings_to_json(m, f->name, &json));
		lw_buf_deinit(&json);
		return;
	}
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		sql_put_text(p, *(char *const *)v ? *(char *const *)v : "");
		break;
	case PROTOBUF_C_TYPE_BOOL:
		sql_put_i64(p, *(const protobuf_c_boolean *)v);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		sql_put_i64(p, *(const uint32_t *)v);
		break;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_ENUM:
		sql_put_i64(p, *(const int32_t *)v);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		sql_put_f64(p, *(const double *)v);
		break;
	default:
		BUG_ON(!is_timestamp(f));
		sql_put_i64(p, as_timestamp_us(*(Google__Protobuf__Timestamp *const *)v));
	}
}

void as_row_bind(struct sql_params *p, const ProtobufCMessage *msg, const char *fields)
{
	const char *word;
	size_t n;
	while (next_word(&fields, &word, &n))
		bind_one(p, msg, field_of(msg, word, n));
}

static size_t count_strings(struct lw_span json)
{
	size_t n = 0;
	for (size_t i = 0; i < json.n; i++)
		n += json.p[i] == '"';
	return n / 2 + 1;
}

/* The JSON is our own; what cannot be read is left out. */
static void fill_strings(struct lw_arena *arena, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
			 struct lw_span json)
{
	struct lw_json_in in;
	struct lw_span key;
	struct lw_span value;
	bool first = true;
	size_t n = 0;
	bool is_map = f->type == PROTOBUF_C_TYPE_MESSAGE;
	void **v = lw_arena_calloc(arena, count_strings(json) + 1, sizeof(*v));
	BUG_ON(!v);

	lw_json_in_init(&in, json, 4);
	if (lw_json_enter(&in, is_map ? LW_JSON_OBJECT : LW_JSON_ARRAY) == 0) {
		while ((is_map ? lw_json_next_member(&in, &first, &key) : lw_json_next_element(&in, &first)) == 1) {
			char *k = is_map ? lw_arena_strndup(arena, (const char *)key.p, key.n) : NULL;
			if (lw_json_string(&in, &value) < 0)
				break;
			char *s = lw_arena_strndup(arena, (const char *)value.p, value.n);
			if (is_map) {
				struct entry *e = as_msg_new(arena, f->descriptor);
				e->key = k;
				e->value = s;
				v[n++] = e;
			} else {
				v[n++] = s;
			}
		}
	}
	lw_json_in_deinit(&in);
	*(size_t *)at(m, f->quantifier_offset) = n;
	*(void ***)at(m, f->offset) = v;
}

static void fill_one(struct lw_arena *arena, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
		     const struct sql_result *r, size_t row, size_t col)
{
	void *v = at(m, f->offset);

	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		fill_strings(arena, m, f, sql_span(r, row, col));
		return;
	}
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		*(char **)v = lw_arena_strdup(arena, sql_text(r, row, col));
		break;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)v = sql_i64(r, row, col) != 0;
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		*(uint32_t *)v = (uint32_t)sql_i64(r, row, col);
		break;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_ENUM:
		*(int32_t *)v = (int32_t)sql_i64(r, row, col);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		*(double *)v = sql_f64(r, row, col);
		break;
	default:
		BUG_ON(!is_timestamp(f));
		*(Google__Protobuf__Timestamp **)v = as_timestamp(arena, sql_i64(r, row, col));
	}
}

void as_row_fill(struct lw_arena *arena, ProtobufCMessage *msg, const char *fields, const struct sql_result *r,
		 size_t row, size_t col)
{
	const char *word;
	size_t n;
	for (; next_word(&fields, &word, &n); col++) {
		if (n == 1 && *word == '-')
			continue;
		fill_one(arena, msg, field_of(msg, word, n), r, row, col);
	}
}

const char *as_pair_text(struct lw_arena *arena, const char *key, const char *value)
{
	struct lw_buf json;
	lw_buf_init(&json, MAX_JSON);
	lw_buf_append_str(&json, ",");
	put_text(&json, key);
	lw_buf_append_str(&json, ":");
	put_text(&json, value);
	const char *text = lw_arena_strdup(arena, lw_buf_str(&json));
	lw_buf_deinit(&json);
	return text;
}
