#include "app-server/domain/event_position.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/hex.h"
#include "common/pb/json_in.h"
#include "common/pb/json_out.h"

static size_t find(const struct as_positions *p, const char *origin)
{
	size_t i = 0;
	while (i < p->n && strcmp(p->v[i].origin, origin) != 0)
		i++;
	return i;
}

uint64_t as_positions_get(const struct as_positions *p, const char *origin)
{
	size_t i = find(p, origin);
	return i < p->n ? p->v[i].seq : 0;
}

bool as_positions_note(struct as_positions *p, const char *origin, uint64_t seq)
{
	size_t len = strlen(origin);
	if (len == 0 || len >= AS_ORIGIN_MAX)
		return false;
	size_t i = find(p, origin);
	struct as_position pos = {.seq = seq};
	memcpy(pos.origin, origin, len);
	if (i == p->n) {
		if (p->n < AS_POSITIONS_MAX)
			p->n++;
		else
			i--;
	} else if (p->v[i].seq > seq) {
		pos.seq = p->v[i].seq;
	}
	memmove(&p->v[1], &p->v[0], i * sizeof(p->v[0]));
	p->v[0] = pos;
	return true;
}

static unsigned lane_of(const char *dev_eui)
{
	uint8_t b[8], x = 0;
	if (strlen(dev_eui) != 16 || lw_hex_decode(dev_eui, 16, b, sizeof(b)) < 0)
		return 0;
	for (size_t i = 0; i < sizeof(b); i++)
		x ^= b[i];
	return x & 7;
}

const char *as_position_name(const char *origin, const char *dev_eui, bool split, char out[AS_ORIGIN_MAX])
{
	if (!split)
		return origin;
	snprintf(out, AS_ORIGIN_MAX, "%.*s#%u", AS_ORIGIN_MAX - 3, origin, lane_of(dev_eui));
	return out;
}

bool as_positions_cover(const struct as_positions *p, const char *origin, const char *dev_eui, uint64_t seq)
{
	char name[AS_ORIGIN_MAX];
	if (seq <= as_positions_get(p, origin))
		return true;
	if (p->n < 2)
		return false; /* without other entries there are no lanes */
	return seq <= as_positions_get(p, as_position_name(origin, dev_eui, true, name));
}

void as_positions_copy(struct as_positions *to, const struct as_positions *from)
{
	to->n = from->n;
	memcpy(to->v, from->v, from->n * sizeof(from->v[0]));
}

void as_positions_join(struct as_positions *p, const struct as_positions *from)
{
	for (size_t i = from->n; i > 0; i--)
		as_positions_note(p, from->v[i - 1].origin, from->v[i - 1].seq);
}

void as_positions_print(const struct as_positions *p, struct lw_buf *out)
{
	lw_buf_append_str(out, "{");
	for (size_t i = 0; i < p->n; i++) {
		lw_buf_append_str(out, i ? "," : "");
		lw_json_put_string(out, lw_span_str(p->v[i].origin));
		lw_buf_append_str(out, ":\"");
		lw_json_put_u64(out, p->v[i].seq);
		lw_buf_append_str(out, "\"");
	}
	lw_buf_append_str(out, "}");
}

static int parse_seq(struct lw_span text, uint64_t *out)
{
	char buf[24];
	char *end;
	if (text.n == 0 || text.n > 20 || text.p[0] < '0' || text.p[0] > '9')
		return LW_EINVAL;
	memcpy(buf, text.p, text.n);
	buf[text.n] = 0;
	*out = strtoull(buf, &end, 10);
	return *end ? LW_EINVAL : 0;
}

int as_positions_parse(struct as_positions *p, struct lw_span json)
{
	struct as_positions read = {0};
	struct lw_json_in in;
	struct lw_span name, text;
	char origin[AS_ORIGIN_MAX];
	bool first = true;
	int rc;

	lw_json_in_init(&in, json, 2);
	rc = lw_json_enter(&in, LW_JSON_OBJECT);
	while (rc == 0 && (rc = lw_json_next_member(&in, &first, &name)) == 1) {
		uint64_t seq = 0;
		bool fits = name.n > 0 && name.n < sizeof(origin);
		if (fits) {
			memcpy(origin, name.p, name.n);
			origin[name.n] = 0;
		}
		rc = lw_json_string(&in, &text);
		if (rc == 0)
			rc = fits ? parse_seq(text, &seq) : LW_EINVAL;
		if (rc == 0)
			as_positions_note(&read, origin, seq);
	}
	if (rc == 0)
		rc = lw_json_end(&in);
	lw_json_in_deinit(&in);
	if (rc < 0)
		return LW_EINVAL;
	as_positions_join(p, &read);
	return 0;
}
