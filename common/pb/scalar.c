#include "common/pb/scalar.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "common/base/base64.h"
#include "common/base/xmalloc.h"
#include "common/pb/build.h"
#include "common/pb/json_in.h"
#include "common/pb/json_out.h"
#include "proto/google/protobuf/duration.pb-c.h"
#include "proto/google/protobuf/timestamp.pb-c.h"

#define LONGEST_NUMBER 200

int lw_scalar_bad(struct lw_diag *diag, int err, const char *what)
{
	lw_diag_set(diag, "%s", what);
	return err;
}

int lw_scalar_no_memory(struct lw_diag *diag)
{
	return lw_scalar_bad(diag, LW_ENOMEM, "too large");
}

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
bool lw_scalar_is_number(struct lw_span text)
{
	struct lw_json_in in;
	struct lw_span number;
	lw_json_in_init(&in, text, 1);
	bool ok = text.n && text.p[0] != ' ' && lw_json_number(&in, &number) == 0 && number.n == text.n;
	lw_json_in_deinit(&in);
	return ok;
}

int lw_scalar_number(struct lw_diag *diag, enum lw_kind kind, struct lw_span text, void *slot)
{
	bool real = kind == LW_KIND_FLOAT || kind == LW_KIND_DOUBLE;
	if (real && store_not_finite(kind, text, slot))
		return 0;
	if (!lw_scalar_is_number(text))
		return lw_scalar_bad(diag, LW_EINVAL, "expected a number");
	int rc = real ? store_real(kind, text, slot) : store_integer(kind, text, slot);
	if (rc == LW_ERANGE)
		return lw_scalar_bad(diag, rc, "number out of range");
	return rc < 0 ? lw_scalar_bad(diag, rc, "expected an integer") : 0;
}

int lw_scalar_enum(struct lw_diag *diag, const struct lw_schema_enum *type, struct lw_span text, bool number,
		   void *slot)
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

int lw_scalar_text(struct lw_diag *diag, struct lw_span text, const ProtobufCAllocator *a, void *slot)
{
	if (text.n && memchr(text.p, 0, text.n))
		return lw_scalar_bad(diag, LW_EINVAL, "text contains NUL");
	char *copy = lw_pb_strndup(a, text);
	if (!copy)
		return lw_scalar_no_memory(diag);
	*(char **)slot = copy;
	return 0;
}

int lw_scalar_bytes(struct lw_diag *diag, struct lw_span text, const ProtobufCAllocator *a, void *slot)
{
	ProtobufCBinaryData *b = slot;
	*b = (ProtobufCBinaryData){0};
	if (text.n == 0)
		return 0;
	size_t cap = LW_BASE64_MAX_BYTES(text.n);
	uint8_t *data = lw_pb_alloc(a, cap);
	if (!data)
		return lw_scalar_no_memory(diag);
	int n = lw_base64_decode((const char *)text.p, text.n, data, cap);
	if (n <= 0) {
		lw_pb_free(a, data);
		return n < 0 ? lw_scalar_bad(diag, LW_EINVAL, "expected base64") : 0;
	}
	b->data = data;
	b->len = (size_t)n;
	return 0;
}

int lw_scalar_time(struct lw_diag *diag, struct lw_span text, ProtobufCMessage *m)
{
	Google__Protobuf__Timestamp *t = (Google__Protobuf__Timestamp *)m;
	int rc = lw_timestamp_parse(text, &t->seconds, &t->nanos);
	return rc < 0 ? lw_scalar_bad(diag, rc, "expected a time such as 2024-05-01T12:00:00Z") : 0;
}

int lw_scalar_duration(struct lw_diag *diag, struct lw_span text, ProtobufCMessage *m)
{
	Google__Protobuf__Duration *t = (Google__Protobuf__Duration *)m;
	int rc = lw_duration_parse(text, &t->seconds, &t->nanos);
	return rc < 0 ? lw_scalar_bad(diag, rc, "expected a duration such as 1.5s") : 0;
}

/* ---- maps ---------------------------------------------------------------------------------------------------------
 */

int lw_scalar_key(struct lw_diag *diag, const struct lw_schema_field *key, struct lw_span text,
		  const ProtobufCAllocator *a, ProtobufCMessage *entry)
{
	void *slot = lw_pb_slot(entry, key);
	if (key->kind == LW_KIND_STRING)
		return lw_scalar_text(diag, text, a, slot);
	if (key->kind != LW_KIND_BOOL)
		return lw_scalar_number(diag, key->kind, text, slot);
	bool yes = lw_span_eq_str(text, "true");
	if (!yes && !lw_span_eq_str(text, "false"))
		return lw_scalar_bad(diag, LW_EINVAL, "expected true or false");
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

bool lw_pb_has_duplicate_keys(const struct lw_schema_field *f, const ProtobufCMessage *m)
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
