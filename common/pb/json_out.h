/* JSON texts and numbers, and the text forms of google.protobuf.Timestamp and Duration, in and out. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

/* Appends a quoted text; bytes that are no UTF-8 become U+FFFD. Errors are sticky in the buffer. */
void lw_json_put_string(struct lw_buf *out, struct lw_span text);
void lw_json_put_u64(struct lw_buf *out, uint64_t v);
void lw_json_put_i64(struct lw_buf *out, int64_t v);

#define LW_NUMBER_MAX 40
/* The shortest text that reads back as the same value; the value is finite. With `point` an integer prints as "22.0",
 * else as "22". Very large and small magnitudes take an exponent. Returns the length. */
size_t lw_number_format_double(double v, bool point, char out[LW_NUMBER_MAX]);
size_t lw_number_format_float(float v, bool point, char out[LW_NUMBER_MAX]);

#define LW_TIME_MAX 48
/* "2024-05-01T12:00:00.123Z": 0, 3, 6 or 9 digits. Seconds 0001-01-01 to 9999-12-31, nanos 0 to 999999999; values
 * outside are moved to the nearest that can be written. Returns the length. */
size_t lw_timestamp_format(int64_t seconds, int32_t nanos, bool zulu, char out[LW_TIME_MAX]);
/* RFC 3339 with any offset; more than nine digits are cut. LW_EINVAL, LW_ERANGE. */
int lw_timestamp_parse(struct lw_span text, int64_t *seconds, int32_t *nanos);

/* "1s", "0.100s", "-1.500s". Returns the length. */
size_t lw_duration_format(int64_t seconds, int32_t nanos, char out[LW_TIME_MAX]);
/* LW_EINVAL (no trailing s, more than nine digits), LW_ERANGE (beyond ±315576000000 s). Both parts carry the sign. */
int lw_duration_parse(struct lw_span text, int64_t *seconds, int32_t *nanos);
