/* RFC 3339 text and the GPS epoch. Pure: reads no clock. Wall times are nanoseconds since 1970 UTC. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Leap seconds between GPS and UTC; constant since 2017-01-01 (earlier times use the table in time.c). */
#define LW_GPS_UTC_LEAP_S 18

#define LW_RFC3339_MAX 40

/* Accepts "2024-02-29T12:00:00[.digits](Z|z|±hh:mm|±hhmm|±hh)", 't' or a space between date and time, and no offset at
 * all (taken as UTC). Digits beyond nanoseconds are cut; second 60 counts as the next second. Years 1678–2261.
 * Returns 0 or LW_EINVAL / LW_ERANGE. */
int lw_rfc3339_parse(const char *text, int64_t *unix_ns);
int lw_rfc3339_parse_n(const char *text, size_t n, int64_t *unix_ns);

/* Digits of the fraction: LW_FRAC_AUTO prints 0, 3, 6 or 9 digits, the fewest that lose nothing; otherwise exactly that
 * many (0, 3, 6, 9), cut. `suffix` is written as given: "Z" or "+00:00". Returns out. */
enum lw_frac { LW_FRAC_AUTO = -1, LW_FRAC_0 = 0, LW_FRAC_3 = 3, LW_FRAC_6 = 6, LW_FRAC_9 = 9 };
char *lw_rfc3339_format(int64_t unix_ns, enum lw_frac frac, const char *suffix, char out[LW_RFC3339_MAX]);

/* Time since 1980-01-06T00:00:00Z on the GPS scale (no leap seconds), and back. */
int64_t lw_gps_from_unix_ns(int64_t unix_ns);
int64_t lw_gps_to_unix_ns(int64_t gps_ns);

/* Parts of a protobuf Timestamp or Duration: seconds rounded down, nanos 0..999999999. */
struct lw_sec_nanos {
	int64_t sec;
	int32_t nanos;
};
struct lw_sec_nanos lw_split_ns(int64_t ns);
/* Joins and saturates at the range of int64_t nanoseconds. */
int64_t lw_join_ns(int64_t sec, int32_t nanos);
