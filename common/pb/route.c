#include "common/pb/route.h"

#include "common/pb/build.h"
#include "common/pb/pbjson.h"

/* ---- finding ----------------------------------------------------------------------------------------------------- */

/* Cuts "/segment" off the front. False when nothing or no slash is left. */
static bool next_segment(struct lw_span *rest, struct lw_span *segment)
{
	if (rest->n == 0 || rest->p[0] != '/')
		return false;
	const uint8_t *from = rest->p + 1;
	const uint8_t *slash = memchr(from, '/', rest->n - 1);
	size_t n = slash ? (size_t)(slash - from) : rest->n - 1;
	*segment = lw_span(from, n);
	*rest = lw_span(from + n, rest->n - 1 - n);
	return true;
}

static bool is_variable(struct lw_span segment)
{
	return segment.n >= 2 && segment.p[0] == '{';
}

/* Fills hit->variables; *rank gets one bit for each segment, the first highest, set where the segment is literal. */
static bool match(const struct lw_route *route, struct lw_span path, struct lw_route_hit *hit, uint32_t *rank)
{
	struct lw_span template = lw_span_str(route->path), expected, actual;
	uint32_t bit = UINT32_C(1) << 31;
	hit->route = route;
	hit->n = 0;
	*rank = 0;
	while (next_segment(&template, &expected)) {
		if (!next_segment(&path, &actual))
			return false;
		if (is_variable(expected)) {
			if (actual.n == 0 || hit->n == LW_ROUTE_MAX_VARIABLES)
				return false;
			hit->variables[hit->n].name = lw_span(expected.p + 1, expected.n - 2);
			hit->variables[hit->n++].value = actual;
		} else if (lw_span_eq(expected, actual)) {
			*rank |= bit;
		} else {
			return false;
		}
		bit >>= 1;
	}
	return path.n == 0;
}

int lw_route_find(const struct lw_route *table, size_t n, const char *method, struct lw_span path,
		  struct lw_route_hit *hit)
{
	struct lw_route_hit candidate;
	bool other_method = false, found = false;
	uint32_t rank, best = 0;
	for (size_t i = 0; i < n; i++) {
		if (!match(&table[i], path, &candidate, &rank))
			continue;
		if (strcmp(table[i].method, method) != 0) {
			other_method = true;
		} else if (!found || rank > best) {
			*hit = candidate;
			best = rank;
			found = true;
		}
	}
	if (found)
		return 0;
	return other_method ? LW_EUNSUPPORTED : LW_ENOTFOUND;
}

/* ---- binding ----------------------------------------------------------------------------------------------------- */

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes percent escapes, and '+' as a space inside queries. */
static int decode(struct lw_span in, bool plus, struct lw_buf *out)
{
	lw_buf_reset(out);
	for (size_t i = 0; i < in.n; i++) {
		uint8_t c = in.p[i];
		if (c == '+' && plus) {
			c = ' ';
		} else if (c == '%') {
			int high = in.n - i > 2 ? hex_digit(in.p[i + 1]) : -1;
			int low = in.n - i > 2 ? hex_digit(in.p[i + 2]) : -1;
			if (high < 0 || low < 0)
				return LW_EINVAL;
			c = (uint8_t)(high << 4 | low);
			i += 2;
		}
		int rc = lw_buf_append_u8(out, c);
		if (rc < 0)
			return rc;
	}
	return 0;
}

struct binder {
	const ProtobufCAllocator *allocator;
	struct lw_diag *diag;
	struct lw_buf name;
	struct lw_buf value;
};

static ProtobufCMessage *descend(struct binder *b, ProtobufCMessage *m, const struct lw_schema_field *f)
{
	ProtobufCMessage **slot = lw_pb_slot(m, f);
	if (!*slot)
		*slot = lw_pb_message_new(f->message->c, b->allocator);
	return *slot;
}

/* Sets the member that a dotted name denotes. LW_ENOTFOUND when there is no such member. */
static int set_by_name(struct binder *b, const struct lw_schema_message *type, ProtobufCMessage *m, struct lw_span name,
		       struct lw_span value)
{
	for (;;) {
		const uint8_t *end = memchr(name.p, '[', name.n);
		size_t head = end ? (size_t)(end - name.p) : name.n;
		const uint8_t *dot = memchr(name.p, '.', head);
		if (dot)
			head = (size_t)(dot - name.p);
		const struct lw_schema_field *f = lw_schema_field_find(type, lw_span(name.p, head));
		if (!f)
			return LW_ENOTFOUND;
		if (!dot) {
			struct lw_span key = {0};
			if (end) {
				if (name.p[name.n - 1] != ']')
					return LW_ENOTFOUND;
				key = lw_span(end + 1, name.n - head - 2);
			}
			return lw_pbtext_set(m, f, end ? &key : NULL, value, b->allocator, b->diag);
		}
		if (f->kind != LW_KIND_MESSAGE || f->repeated || f->map || f->oneof ||
		    f->message->well_known != LW_WELL_KNOWN_NONE)
			return LW_ENOTFOUND;
		m = descend(b, m, f);
		if (!m)
			return LW_ENOMEM;
		type = f->message;
		name = lw_span(dot + 1, name.n - head - 1);
		if (name.n == 0)
			return LW_ENOTFOUND;
	}
}

static int bind_query(struct binder *b, const struct lw_schema_message *type, ProtobufCMessage *m, struct lw_span query)
{
	while (query.n) {
		const uint8_t *amp = memchr(query.p, '&', query.n);
		struct lw_span part = lw_span(query.p, amp ? (size_t)(amp - query.p) : query.n);
		query = lw_span(query.p + part.n, query.n - part.n);
		if (amp)
			query = lw_span(query.p + 1, query.n - 1);
		if (part.n == 0)
			continue;
		const uint8_t *equal = memchr(part.p, '=', part.n);
		size_t n = equal ? (size_t)(equal - part.p) : part.n;
		int rc = decode(lw_span(part.p, n), true, &b->name);
		if (rc == 0)
			rc = decode(lw_span(part.p + n + (equal != NULL), part.n - n - (equal != NULL)), true,
				    &b->value);
		if (rc < 0) {
			lw_diag_set(b->diag, "malformed query");
			return LW_EINVAL;
		}
		if (b->name.n == 0)
			continue;
		rc = set_by_name(b, type, m, lw_buf_span(&b->name), lw_buf_span(&b->value));
		if (rc < 0 && rc != LW_ENOTFOUND) {
			lw_diag_prefix(b->diag, "%.60s", lw_buf_str(&b->name));
			return rc;
		}
	}
	return 0;
}

static int bind_path(struct binder *b, const struct lw_schema_message *type, ProtobufCMessage *m,
		     const struct lw_route_hit *hit)
{
	for (size_t i = 0; i < hit->n; i++) {
		struct lw_span name = hit->variables[i].name;
		int rc = decode(hit->variables[i].value, false, &b->value);
		if (rc == 0)
			rc = set_by_name(b, type, m, name, lw_buf_span(&b->value));
		else
			lw_diag_set(b->diag, "malformed path");
		if (rc < 0) {
			lw_diag_prefix(b->diag, "%.*s", (int)name.n, (const char *)name.p);
			return rc == LW_ENOTFOUND ? LW_EINTERNAL : rc == LW_EBIG ? LW_EINVAL : rc;
		}
	}
	return 0;
}

int lw_route_bind(const struct lw_schema *s, const struct lw_route_hit *hit, struct lw_span query, struct lw_span body,
		  const ProtobufCAllocator *allocator, ProtobufCMessage **out, struct lw_diag *diag)
{
	const struct lw_schema_method *method = lw_schema_find_method(s, hit->route->rpc);
	int rc = 0;
	*out = NULL;
	if (!method)
		return LW_EINTERNAL;
	if (hit->route->body && body.n) {
		rc = lw_pbjson_decode(s, method->input->c, body, allocator, out, diag);
		if (rc < 0)
			return rc;
	} else {
		*out = lw_pb_message_new(method->input->c, allocator);
		if (!*out)
			return LW_ENOMEM;
	}
	struct binder b = {.allocator = allocator, .diag = diag};
	lw_buf_init(&b.name, LW_ROUTE_MAX_TEXT);
	lw_buf_init(&b.value, LW_ROUTE_MAX_TEXT);
	if (!hit->route->body)
		rc = bind_query(&b, method->input, *out, query);
	if (rc == 0)
		rc = bind_path(&b, method->input, *out, hit);
	lw_buf_deinit(&b.name);
	lw_buf_deinit(&b.value);
	if (rc < 0) {
		lw_pb_message_free(*out, allocator);
		*out = NULL;
	}
	return rc;
}
