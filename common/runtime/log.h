/* Log of typed events: a constant sentence with named fields, as text or JSON lines, to standard error or a given file
 * descriptor. No allocation; a line is cut at RT_LOG_LINE_MAX. Each call site is limited per second and reports what it
 * left out. Never give it secrets.
 *
 *     RT_LOG_INFO(log, "gateway connected", rt_str("gateway_id", id), rt_u64("sockets", n));
 *
 * error, warn: a person should do something. info: a change of state worth keeping. debug: for the developer. A dropped
 * frame is a counter and debug, never a warning. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

#define RT_LOG_LINE_MAX 2048
/* Lines per second and call site. */
#define RT_LOG_SITE_LIMIT 20

enum rt_level { RT_DEBUG, RT_INFO, RT_WARN, RT_ERROR, RT_OFF };
enum rt_log_format { RT_LOG_TEXT, RT_LOG_JSON };

struct rt_log;

/* Writes to fd (borrowed) in one write(2) per line. Safe to use from several threads. */
struct rt_log *rt_log_new(int fd, enum rt_log_format format, enum rt_level level);
void rt_log_free(struct rt_log *log);
void rt_log_set_level(struct rt_log *log, enum rt_level level);
void rt_log_set_format(struct rt_log *log, enum rt_log_format format);
/* Put into each line as "daemon"; kept by reference. */
void rt_log_set_daemon(struct rt_log *log, const char *daemon);
/* Lines not written because their call site was over its limit. */
uint64_t rt_log_suppressed(const struct rt_log *log);
/* "debug" "info" "warn" "error" "off" (LW_EINVAL for another). */
int rt_level_parse(const char *text, enum rt_level *out);
/* True when a line of this level would be written; log may be NULL (false). */
bool rt_log_enabled(const struct rt_log *log, enum rt_level level);

enum rt_field_kind {
	RT_F_STR,
	RT_F_SPAN,
	RT_F_U64,
	RT_F_I64,
	RT_F_F64,
	RT_F_BOOL,
	RT_F_HEX64,
	RT_F_HEX32,
	RT_F_HEX,
	RT_F_ERR
};

struct rt_field {
	const char *key;
	enum rt_field_kind kind;
	union {
		const char *str;
		struct lw_span span;
		uint64_t u64;
		int64_t i64;
		double f64;
		bool b;
	} v;
};

static inline struct rt_field rt_str(const char *key, const char *v)
{
	return (struct rt_field){.key = key, .kind = RT_F_STR, .v.str = v};
}
/* Text that is not terminated. */
static inline struct rt_field rt_span(const char *key, struct lw_span v)
{
	return (struct rt_field){.key = key, .kind = RT_F_SPAN, .v.span = v};
}
static inline struct rt_field rt_u64(const char *key, uint64_t v)
{
	return (struct rt_field){.key = key, .kind = RT_F_U64, .v.u64 = v};
}
static inline struct rt_field rt_i64(const char *key, int64_t v)
{
	return (struct rt_field){.key = key, .kind = RT_F_I64, .v.i64 = v};
}
static inline struct rt_field rt_f64(const char *key, double v)
{
	return (struct rt_field){.key = key, .kind = RT_F_F64, .v.f64 = v};
}
static inline struct rt_field rt_bool(const char *key, bool v)
{
	return (struct rt_field){.key = key, .kind = RT_F_BOOL, .v.b = v};
}
/* 16 hex digits, as an EUI is printed. */
static inline struct rt_field rt_eui(const char *key, uint64_t v)
{
	return (struct rt_field){.key = key, .kind = RT_F_HEX64, .v.u64 = v};
}
/* 8 hex digits, as a DevAddr is printed. */
static inline struct rt_field rt_hex32(const char *key, uint32_t v)
{
	return (struct rt_field){.key = key, .kind = RT_F_HEX32, .v.u64 = v};
}
/* Bytes as hex. */
static inline struct rt_field rt_hex(const char *key, struct lw_span v)
{
	return (struct rt_field){.key = key, .kind = RT_F_HEX, .v.span = v};
}
/* "error": the text of a negative code (LW_E… or -errno). */
static inline struct rt_field rt_err(int err)
{
	return (struct rt_field){.key = "error", .kind = RT_F_ERR, .v.i64 = err};
}

/* State of one call site; zero-initialised static in the macros. */
struct rt_log_site {
	int64_t second;
	uint32_t n;
	uint32_t left_out;
};

/* `site` may be NULL: not limited. Ends at the first field without a key. */
void rt_log_write(struct rt_log *log, struct rt_log_site *site, enum rt_level level, const char *event,
		  const struct rt_field *fields, size_t n);

#define RT_LOG(log_, level_, ...) RT_LOG_(log_, level_, __VA_ARGS__, (struct rt_field){0})
#define RT_LOG_(log_, level_, event_, ...)                                                                             \
	do {                                                                                                           \
		static struct rt_log_site rt_site_;                                                                    \
		if (rt_log_enabled((log_), (level_))) {                                                                \
			const struct rt_field rt_fields_[] = {__VA_ARGS__};                                            \
			rt_log_write((log_), &rt_site_, (level_), (event_), rt_fields_,                                \
				     sizeof(rt_fields_) / sizeof(rt_fields_[0]));                                      \
		}                                                                                                      \
	} while (0)

#define RT_LOG_DEBUG(log, ...) RT_LOG(log, RT_DEBUG, __VA_ARGS__)
#define RT_LOG_INFO(log, ...) RT_LOG(log, RT_INFO, __VA_ARGS__)
#define RT_LOG_WARN(log, ...) RT_LOG(log, RT_WARN, __VA_ARGS__)
#define RT_LOG_ERROR(log, ...) RT_LOG(log, RT_ERROR, __VA_ARGS__)
