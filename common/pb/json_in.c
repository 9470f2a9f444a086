#include "common/pb/json_in.h"

#include "common/base/err.h"
#include "common/pb/utf8.h"

void lw_json_in_init(struct lw_json_in *in, struct lw_span json, unsigned max_depth)
{
	static const uint8_t nothing[1];
	*in = (struct lw_json_in){
		.start = json.n ? json.p : nothing,
		.p = json.n ? json.p : nothing,
		.end = (json.n ? json.p : nothing) + json.n,
		.max_depth = max_depth,
	};
	lw_buf_init(&in->text, json.n);
}

void lw_json_in_deinit(struct lw_json_in *in)
{
	lw_buf_deinit(&in->text);
}

size_t lw_json_in_offset(const struct lw_json_in *in)
{
	return (size_t)(in->p - in->start);
}

static int fail(struct lw_json_in *in, int err)
{
	if (!in->err)
		in->err = err;
	return in->err;
}

static void skip_space(struct lw_json_in *in)
{
	while (in->p < in->end && (*in->p == ' ' || *in->p == '\t' || *in->p == '\n' || *in->p == '\r'))
		in->p++;
}

static bool take(struct lw_json_in *in, char c)
{
	if (in->p >= in->end || *in->p != (uint8_t)c)
		return false;
	in->p++;
	return true;
}

int lw_json_peek(struct lw_json_in *in)
{
	if (in->err)
		return in->err;
	skip_space(in);
	if (in->p >= in->end)
		return fail(in, LW_EINVAL);
	switch (*in->p) {
	case 'n':
		return LW_JSON_NULL;
	case 'f':
		return LW_JSON_FALSE;
	case 't':
		return LW_JSON_TRUE;
	case '"':
		return LW_JSON_STRING;
	case '{':
		return LW_JSON_OBJECT;
	case '[':
		return LW_JSON_ARRAY;
	case '-':
	case '0' ... '9':
		return LW_JSON_NUMBER;
	default:
		return fail(in, LW_EINVAL);
	}
}

int lw_json_literal(struct lw_json_in *in)
{
	static const char *const words[] = {
		[LW_JSON_NULL] = "null", [LW_JSON_FALSE] = "false", [LW_JSON_TRUE] = "true"};
	int type = lw_json_peek(in);
	if (type < 0)
		return type;
	if (type > LW_JSON_TRUE)
		return fail(in, LW_EINVAL);
	size_t n = strlen(words[type]);
	if ((size_t)(in->end - in->p) < n || memcmp(in->p, words[type], n) != 0)
		return fail(in, LW_EINVAL);
	in->p += n;
	return 0;
}

static bool digits(struct lw_json_in *in)
{
	const uint8_t *from = in->p;
	while (in->p < in->end && *in->p >= '0' && *in->p <= '9')
		in->p++;
	return in->p > from;
}

int lw_json_number(struct lw_json_in *in, struct lw_span *text)
{
	int type = lw_json_peek(in);
	if (type < 0)
		return type;
	if (type != LW_JSON_NUMBER)
		return fail(in, LW_EINVAL);
	const uint8_t *from = in->p;
	take(in, '-');
	if (!take(in, '0') && !digits(in))
		return fail(in, LW_EINVAL);
	if (take(in, '.') && !digits(in))
		return fail(in, LW_EINVAL);
	if (take(in, 'e') || take(in, 'E')) {
		if (!take(in, '+'))
			take(in, '-');
		if (!digits(in))
			return fail(in, LW_EINVAL);
	}
	*text = lw_span(from, (size_t)(in->p - from));
	return 0;
}

static int hex4(struct lw_json_in *in, uint32_t *v)
{
	*v = 0;
	if (in->end - in->p < 4)
		return fail(in, LW_EINVAL);
	for (int i = 0; i < 4; i++) {
		uint8_t c = *in->p;
		uint32_t digit;
		if (c >= '0' && c <= '9')
			digit = (uint32_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			digit = (uint32_t)((c | 0x20) - 'a' + 10);
		else
			return fail(in, LW_EINVAL);
		*v = *v << 4 | digit;
		in->p++;
	}
	return 0;
}

/* Reads what follows \u, a second escape included for characters beyond the basic plane. */
static int unicode_escape(struct lw_json_in *in)
{
	uint32_t cp, low;
	int rc = hex4(in, &cp);
	if (rc < 0)
		return rc;
	if (cp >= 0xdc00 && cp <= 0xdfff)
		return fail(in, LW_EINVAL);
	if (cp >= 0xd800 && cp <= 0xdbff) {
		if (!take(in, '\\') || !take(in, 'u'))
			return fail(in, LW_EINVAL);
		rc = hex4(in, &low);
		if (rc < 0)
			return rc;
		if (low < 0xdc00 || low > 0xdfff)
			return fail(in, LW_EINVAL);
		cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
	}
	uint8_t utf8[4];
	return lw_buf_append(&in->text, utf8, lw_utf8_encode(cp, utf8));
}

static int escape(struct lw_json_in *in)
{
	if (in->p >= in->end)
		return fail(in, LW_EINVAL);
	switch (*in->p++) {
	case '"':
		return lw_buf_append_u8(&in->text, '"');
	case '\\':
		return lw_buf_append_u8(&in->text, '\\');
	case '/':
		return lw_buf_append_u8(&in->text, '/');
	case 'b':
		return lw_buf_append_u8(&in->text, '\b');
	case 'f':
		return lw_buf_append_u8(&in->text, '\f');
	case 'n':
		return lw_buf_append_u8(&in->text, '\n');
	case 'r':
		return lw_buf_append_u8(&in->text, '\r');
	case 't':
		return lw_buf_append_u8(&in->text, '\t');
	case 'u':
		return unicode_escape(in);
	default:
		return fail(in, LW_EINVAL);
	}
}

int lw_json_string(struct lw_json_in *in, struct lw_span *text)
{
	int type = lw_json_peek(in);
	if (type < 0)
		return type;
	if (type != LW_JSON_STRING)
		return fail(in, LW_EINVAL);
	in->p++;
	const uint8_t *run = in->p;
	bool escaped = false;
	lw_buf_reset(&in->text);
	for (;;) {
		if (in->p >= in->end || *in->p < 0x20)
			return fail(in, LW_EINVAL);
		if (*in->p < 0x80 && *in->p != '"' && *in->p != '\\') {
			in->p++;
			continue;
		}
		if (*in->p >= 0x80) {
			size_t n = lw_utf8_length(in->p, (size_t)(in->end - in->p));
			if (n == 0)
				return fail(in, LW_EINVAL);
			in->p += n;
			continue;
		}
		size_t n = (size_t)(in->p - run);
		if (*in->p == '"') {
			in->p++;
			if (!escaped) {
				*text = lw_span(run, n);
				return 0;
			}
			int rc = lw_buf_append(&in->text, run, n);
			if (rc < 0)
				return fail(in, rc);
			*text = lw_buf_span(&in->text);
			return 0;
		}
		escaped = true;
		in->p++;
		int rc = lw_buf_append(&in->text, run, n);
		if (rc == 0)
			rc = escape(in);
		if (rc < 0)
			return fail(in, rc);
		run = in->p;
	}
}

int lw_json_enter(struct lw_json_in *in, enum lw_json_type type)
{
	int next = lw_json_peek(in);
	if (next < 0)
		return next;
	if (next != (int)type)
		return fail(in, LW_EINVAL);
	if (in->depth >= in->max_depth)
		return fail(in, LW_ELIMIT);
	in->depth++;
	in->p++;
	return 0;
}

/* The part that members and elements share: 1 when another follows, 0 after the closing character. */
static int next_item(struct lw_json_in *in, bool *first, char close)
{
	if (in->err)
		return in->err;
	skip_space(in);
	if (take(in, close)) {
		in->depth--;
		return 0;
	}
	if (!*first && !take(in, ','))
		return fail(in, LW_EINVAL);
	*first = false;
	return 1;
}

int lw_json_next_member(struct lw_json_in *in, bool *first, struct lw_span *name)
{
	int rc = next_item(in, first, '}');
	if (rc <= 0)
		return rc;
	rc = lw_json_string(in, name);
	if (rc < 0)
		return rc;
	skip_space(in);
	return take(in, ':') ? 1 : fail(in, LW_EINVAL);
}

int lw_json_next_element(struct lw_json_in *in, bool *first)
{
	int rc = next_item(in, first, ']');
	if (rc > 0 && lw_json_peek(in) < 0)
		return in->err;
	return rc;
}

int lw_json_skip(struct lw_json_in *in)
{
	struct lw_span ignored;
	bool first = true;
	int rc;
	int type = lw_json_peek(in);
	switch (type) {
	case LW_JSON_NULL:
	case LW_JSON_FALSE:
	case LW_JSON_TRUE:
		return lw_json_literal(in);
	case LW_JSON_NUMBER:
		return lw_json_number(in, &ignored);
	case LW_JSON_STRING:
		return lw_json_string(in, &ignored);
	case LW_JSON_OBJECT:
	case LW_JSON_ARRAY:
		rc = lw_json_enter(in, (enum lw_json_type)type);
		if (rc < 0)
			return rc;
		while ((rc = type == LW_JSON_OBJECT ? lw_json_next_member(in, &first, &ignored)
						    : lw_json_next_element(in, &first)) > 0) {
			rc = lw_json_skip(in);
			if (rc < 0)
				return rc;
		}
		return rc;
	default:
		return type;
	}
}

int lw_json_end(struct lw_json_in *in)
{
	if (in->err)
		return in->err;
	skip_space(in);
	return in->p == in->end ? 0 : fail(in, LW_EINVAL);
}
