/* Identifiers and keys as distinct types, so that the compiler refuses a JoinEUI where a DevEUI is meant.
 * EUIs, keys and UUIDs are kept most significant byte first, as they are printed; on the air EUIs travel reversed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rng.h"

/* For each type NAME of SIZE bytes:
 *   int  NAME_parse(struct NAME *out, const char *text)          exactly 2*SIZE hex digits of either case, else
 * LW_EINVAL int  NAME_parse_n(struct NAME *out, const char *text, size_t n)   the same for text that is not terminated
 *   char *NAME_print(struct NAME id, char out[2*SIZE+1])          lower case; returns out
 *   bool NAME_eq(a, b), bool NAME_is_zero(a), uint64_t NAME_hash(a)
 *   struct NAME NAME_from_le(const uint8_t *p), void NAME_put_le(struct NAME id, uint8_t *p)   order on the air
 *   struct NAME NAME_from_be(const uint8_t *p), void NAME_put_be(struct NAME id, uint8_t *p)   order as printed */
#define LW_ID_TYPE(NAME, SIZE)                                                                                         \
	struct NAME {                                                                                                  \
		uint8_t b[SIZE];                                                                                       \
	};                                                                                                             \
	int NAME##_parse(struct NAME *out, const char *text);                                                          \
	int NAME##_parse_n(struct NAME *out, const char *text, size_t n);                                              \
	char *NAME##_print(struct NAME id, char out[2 * (SIZE) + 1]);                                                  \
	bool NAME##_eq(struct NAME a, struct NAME b);                                                                  \
	bool NAME##_is_zero(struct NAME a);                                                                            \
	uint64_t NAME##_hash(struct NAME a);                                                                           \
	struct NAME NAME##_from_le(const uint8_t *p);                                                                  \
	void NAME##_put_le(struct NAME id, uint8_t *p);                                                                \
	struct NAME NAME##_from_be(const uint8_t *p);                                                                  \
	void NAME##_put_be(struct NAME id, uint8_t *p);

LW_ID_TYPE(lw_dev_eui, 8)
LW_ID_TYPE(lw_join_eui, 8)
LW_ID_TYPE(lw_gateway_id, 8)
/* Equality of keys runs in constant time. */
LW_ID_TYPE(lw_key, 16)

#define LW_EUI_TEXT 17
#define LW_KEY_TEXT 33
#define LW_DEVADDR_TEXT 9
#define LW_NETID_TEXT 7
#define LW_UUID_TEXT 37

/* EUIs as the number that their printed form says. */
uint64_t lw_dev_eui_u64(struct lw_dev_eui id);
uint64_t lw_join_eui_u64(struct lw_join_eui id);
uint64_t lw_gateway_id_u64(struct lw_gateway_id id);
struct lw_dev_eui lw_dev_eui_from_u64(uint64_t v);
struct lw_join_eui lw_join_eui_from_u64(uint64_t v);
struct lw_gateway_id lw_gateway_id_from_u64(uint64_t v);

/* 32-bit device address; 8 hex digits in text. */
struct lw_devaddr {
	uint32_t v;
};
int lw_devaddr_parse(struct lw_devaddr *out, const char *text);
int lw_devaddr_parse_n(struct lw_devaddr *out, const char *text, size_t n);
char *lw_devaddr_print(struct lw_devaddr a, char out[LW_DEVADDR_TEXT]);
static inline bool lw_devaddr_eq(struct lw_devaddr a, struct lw_devaddr b)
{
	return a.v == b.v;
}

/* 24-bit network identifier; 6 hex digits in text. The upper byte of v is 0. */
struct lw_netid {
	uint32_t v;
};
int lw_netid_parse(struct lw_netid *out, const char *text);
int lw_netid_parse_n(struct lw_netid *out, const char *text, size_t n);
char *lw_netid_print(struct lw_netid a, char out[LW_NETID_TEXT]);
static inline bool lw_netid_eq(struct lw_netid a, struct lw_netid b)
{
	return a.v == b.v;
}

/* UUID; text in the 8-4-4-4-12 form (either case; printed in lower case). */
struct lw_uuid {
	uint8_t b[16];
};
int lw_uuid_parse(struct lw_uuid *out, const char *text);
int lw_uuid_parse_n(struct lw_uuid *out, const char *text, size_t n);
char *lw_uuid_print(struct lw_uuid id, char out[LW_UUID_TEXT]);
bool lw_uuid_eq(struct lw_uuid a, struct lw_uuid b);
bool lw_uuid_is_zero(struct lw_uuid a);
uint64_t lw_uuid_hash(struct lw_uuid a);
/* Version 4 (random, RFC 9562). */
struct lw_uuid lw_uuid_new(struct lw_rng *rng);
/* Version 7: milliseconds of the Unix time first, so that keys of a table grow; the rest random. */
struct lw_uuid lw_uuid_new_v7(int64_t unix_ms, struct lw_rng *rng);
