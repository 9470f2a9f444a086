/* Identifiers: text, order on the air, equality, hashes. */
#include "common/base/ids.h"

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/hex.h"

static int parse_exact(uint8_t *out, size_t size, const char *text, size_t n)
{
	uint8_t tmp[16];
	if (n != 2 * size || lw_hex_decode(text, n, tmp, sizeof tmp) < 0)
		return LW_EINVAL;
	memcpy(out, tmp, size);
	return 0;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	uint8_t any = 0;
	for (size_t i = 0; i < n; i++)
		any |= p[i];
	return any == 0;
}

static void reversed(uint8_t *out, const uint8_t *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = in[n - 1 - i];
}

#define LW_ID_IMPL(NAME, SIZE)                                                                                         \
	int NAME##_parse_n(struct NAME *out, const char *text, size_t n)                                               \
	{                                                                                                              \
		return parse_exact(out->b, SIZE, text, n);                                                             \
	}                                                                                                              \
	int NAME##_parse(struct NAME *out, const char *text)                                                           \
	{                                                                                                              \
		return parse_exact(out->b, SIZE, text, strnlen(text, 2 * (SIZE) + 1));                                 \
	}                                                                                                              \
	char *NAME##_print(struct NAME id, char out[2 * (SIZE) + 1])                                                   \
	{                                                                                                              \
		return lw_hex_encode(id.b, SIZE, out);                                                                 \
	}                                                                                                              \
	bool NAME##_is_zero(struct NAME a)                                                                             \
	{                                                                                                              \
		return all_zero(a.b, SIZE);                                                                            \
	}                                                                                                              \
	bool NAME##_eq(struct NAME a, struct NAME b)                                                                   \
	{                                                                                                              \
		return lw_ct_equal(a.b, b.b, SIZE);                                                                    \
	}                                                                                                              \
	uint64_t NAME##_hash(struct NAME a)                                                                            \
	{                                                                                                              \
		return lw_hash_bytes(a.b, SIZE);                                                                       \
	}                                                                                                              \
	struct NAME NAME##_from_le(const uint8_t *p)                                                                   \
	{                                                                                                              \
		struct NAME id;                                                                                        \
		reversed(id.b, p, SIZE);                                                                               \
		return id;                                                                                             \
	}                                                                                                              \
	void NAME##_put_le(struct NAME id, uint8_t *p)                                                                 \
	{                                                                                                              \
		reversed(p, id.b, SIZE);                                                                               \
	}                                                                                                              \
	struct NAME NAME##_from_be(const uint8_t *p)                                                                   \
	{                                                                                                              \
		struct NAME id;                                                                                        \
		memcpy(id.b, p, SIZE);                                                                                 \
		return id;                                                                                             \
	}                                                                                                              \
	void NAME##_put_be(struct NAME id, uint8_t *p)                                                                 \
	{                                                                                                              \
		memcpy(p, id.b, SIZE);                                                                                 \
	}

LW_ID_IMPL(lw_dev_eui, 8)
LW_ID_IMPL(lw_join_eui, 8)
LW_ID_IMPL(lw_gateway_id, 8)
LW_ID_IMPL(lw_key, 16)

uint64_t lw_dev_eui_u64(struct lw_dev_eui id)
{
	return lw_get_be64(id.b);
}

uint64_t lw_join_eui_u64(struct lw_join_eui id)
{
	return lw_get_be64(id.b);
}

uint64_t lw_gateway_id_u64(struct lw_gateway_id id)
{
	return lw_get_be64(id.b);
}

struct lw_dev_eui lw_dev_eui_from_u64(uint64_t v)
{
	struct lw_dev_eui id;
	lw_put_be64(id.b, v);
	return id;
}

struct lw_join_eui lw_join_eui_from_u64(uint64_t v)
{
	struct lw_join_eui id;
	lw_put_be64(id.b, v);
	return id;
}

struct lw_gateway_id lw_gateway_id_from_u64(uint64_t v)
{
	struct lw_gateway_id id;
	lw_put_be64(id.b, v);
	return id;
}

int lw_devaddr_parse_n(struct lw_devaddr *out, const char *text, size_t n)
{
	uint8_t b[4];
	if (parse_exact(b, sizeof b, text, n) < 0)
		return LW_EINVAL;
	out->v = lw_get_be32(b);
	return 0;
}

int lw_devaddr_parse(struct lw_devaddr *out, const char *text)
{
	return lw_devaddr_parse_n(out, text, strnlen(text, LW_DEVADDR_TEXT));
}

char *lw_devaddr_print(struct lw_devaddr a, char out[LW_DEVADDR_TEXT])
{
	uint8_t b[4];
	lw_put_be32(b, a.v);
	return lw_hex_encode(b, sizeof b, out);
}

int lw_netid_parse_n(struct lw_netid *out, const char *text, size_t n)
{
	uint8_t b[3];
	if (parse_exact(b, sizeof b, text, n) < 0)
		return LW_EINVAL;
	out->v = lw_get_be24(b);
	return 0;
}

int lw_netid_parse(struct lw_netid *out, const char *text)
{
	return lw_netid_parse_n(out, text, strnlen(text, LW_NETID_TEXT));
}

char *lw_netid_print(struct lw_netid a, char out[LW_NETID_TEXT])
{
	uint8_t b[3];
	lw_put_be24(b, a.v);
	return lw_hex_encode(b, sizeof b, out);
}

/* Bytes in each group of a UUID's text. */
static const uint8_t uuid_groups[] = {4, 2, 2, 2, 6};

int lw_uuid_parse_n(struct lw_uuid *out, const char *text, size_t n)
{
	struct lw_uuid id;
	if (n != LW_UUID_TEXT - 1)
		return LW_EINVAL;
	size_t at = 0;
	size_t o = 0;
	for (size_t g = 0; g < sizeof uuid_groups; g++) {
		if (g && text[at++] != '-')
			return LW_EINVAL;
		if (lw_hex_decode(text + at, 2U * uuid_groups[g], id.b + o, uuid_groups[g]) < 0)
			return LW_EINVAL;
		at += 2U * uuid_groups[g];
		o += uuid_groups[g];
	}
	*out = id;
	return 0;
}

int lw_uuid_parse(struct lw_uuid *out, const char *text)
{
	return lw_uuid_parse_n(out, text, strnlen(text, LW_UUID_TEXT));
}

char *lw_uuid_print(struct lw_uuid id, char out[LW_UUID_TEXT])
{
	char *p = out;
	size_t o = 0;
	for (size_t g = 0; g < sizeof uuid_groups; g++) {
		if (g)
			*p++ = '-';
		lw_hex_encode(id.b + o, uuid_groups[g], p);
		p += 2 * uuid_groups[g];
		o += uuid_groups[g];
	}
	return out;
}

bool lw_uuid_eq(struct lw_uuid a, struct lw_uuid b)
{
	return memcmp(a.b, b.b, sizeof a.b) == 0;
}

bool lw_uuid_is_zero(struct lw_uuid a)
{
	return all_zero(a.b, sizeof a.b);
}

uint64_t lw_uuid_hash(struct lw_uuid a)
{
	return lw_hash_bytes(a.b, sizeof a.b);
}

static void set_version(struct lw_uuid *id, unsigned version)
{
	id->b[6] = (uint8_t)((id->b[6] & 0x0F) | version << 4);
	id->b[8] = (uint8_t)((id->b[8] & 0x3F) | 0x80);
}

struct lw_uuid lw_uuid_new(struct lw_rng *rng)
{
	struct lw_uuid id;
	lw_rng_fill(rng, id.b, sizeof id.b);
	set_version(&id, 4);
	return id;
}

struct lw_uuid lw_uuid_new_v7(int64_t unix_ms, struct lw_rng *rng)
{
	struct lw_uuid id;
	lw_rng_fill(rng, id.b, sizeof id.b);
	lw_put_be16(id.b, (uint16_t)((uint64_t)unix_ms >> 32));
	lw_put_be32(id.b + 2, (uint32_t)unix_ms);
	set_version(&id, 7);
	return id;
}
