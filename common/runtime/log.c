#include "common/runtime/log.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/time.h"
#include "common/base/xmalloc.h"

/* Longest value of one field; the line as a whole has RT_LOG_LINE_MAX. */
#define VALUE_MAX 512

struct rt_log {
	int fd;
	atomic_int level;
	atomic_int format;
	pthread_mutex_t lock; /* call sites, `suppressed` */
	const char *daemon;
	uint64_t suppressed;
};

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

struct rt_log *rt_log_new(int fd, enum rt_log_format format, enum rt_level level)
{
	struct rt_log *log = lw_xcalloc(1, sizeof(*log));
	log->fd = fd;
	atomic_init(&log->format, (int)format);
	atomic_init(&log->level, (int)level);
	pthread_mutex_init(&log->lock, NULL);
	return log;
}

void rt_log_free(struct rt_log *log)
{
	if (!log)
		return;
	pthread_mutex_destroy(&log->lock);
	free(log);
}

void rt_log_set_level(struct rt_log *log, enum rt_level level)
{
	atomic_store(&log->level, (int)level);
}

void rt_log_set_format(struct rt_log *log, enum rt_log_format format)
{
	atomic_store(&log->format, (int)format);
}

void rt_log_set_daemon(struct rt_log *log, const char *daemon)
{
	log->daemon = daemon;
}

uint64_t rt_log_suppressed(const struct rt_log *log)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)&log->lock;
	pthread_mutex_lock(lock);
	uint64_t n = log->suppressed;
	pthread_mutex_unlock(lock);
	return n;
}

int rt_level_parse(const char *text, enum rt_level *out)
{
	for (int i = 0; i <= RT_OFF; i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*out = (enum rt_level)i;
			return 0;
		}
	}
	return LW_EINVAL;
}

bool rt_log_enabled(const struct rt_log *log, enum rt_level level)
{
	return log && level < RT_OFF && (int)level >= atomic_load_explicit(&log->level, memory_order_relaxed);
}

/* --- a line of fixed size --------------------------------------------------------------------------------------- */

struct line {
	char p[RT_LOG_LINE_MAX];
	size_t n;
	bool full;
};

/* Kept free for what closes the line. */
#define TAIL 24

static void put(struct line *l, const char *p, size_t n)
{
	if (l->full || l->n + n > sizeof(l->p) - TAIL) {
		l->full = true;
		return;
	}
	memcpy(l->p + l->n, p, n);
	l->n += n;
}

static void put_str(struct line *l, const char *s)
{
	put(l, s, strlen(s));
}

/* Bytes of the well-formed UTF-8 character at p, 0 when there is none. */
static size_t utf8_len(const uint8_t *p, size_t n)
{
	size_t len = p[0] < 0x80                   ? 1
		     : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
		     : (p[0] & 0xf0) == 0xe0       ? 3
		     : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
						   : 0;
	if (!len || len > n)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	bool bad = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
		   (p[0] == 0xf4 && p[1] > 0x8f);
	return bad ? 0 : len;
}

/* The inside of a JSON string; text lines quote alike, so that a line is always one line. */
static void put_escaped(struct line *l, struct lw_span s)
{
	bool cut = s.n > VALUE_MAX;
	size_t n = cut ? VALUE_MAX : s.n;
	for (size_t i = 0; i < n;) {
		uint8_t c = s.p[i];
		size_t len = utf8_len(s.p + i, n - i);
		char esc[8];
		if (len == 0) {
			put_str(l, "\\ufffd");
			len = 1;
		} else if (c == '"' || c == '\\') {
			put(l, (const char[]){'\\', (char)c}, 2);
		} else if (c < 0x20 || c == 0x7f) {
			put(l, esc, (size_t)snprintf(esc, sizeof(esc), "\\u%04x", c));
		} else {
			put(l, (const char *)s.p + i, len);
		}
		i += len;
	}
	if (cut)
		put_str(l, "...");
}

static bool is_plain(struct lw_span s)
{
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];
		if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7f)
			return false;
	}
	return s.n > 0;
}

static void put_text(struct line *l, struct lw_span s, bool json)
{
	if (!json && s.n <= VALUE_MAX && is_plain(s)) {
		put(l, (const char *)s.p, s.n);
		return;
	}
	put(l, "\"", 1);
	put_escaped(l, s);
	put(l, "\"", 1);
}

static void put_hex(struct line *l, struct lw_span s)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = s.n > VALUE_MAX / 2 ? VALUE_MAX / 2 : s.n;
	for (size_t i = 0; i < n; i++)
		put(l, (const char[]){digits[s.p[i] >> 4], digits[s.p[i] & 15]}, 2);
	if (n < s.n)
		put_str(l, "...");
}

static void put_value(struct line *l, const struct rt_field *f, bool json)
{
	char num[40];
	int n = 0;
	switch (f->kind) {
	case RT_F_STR:
		put_text(l, f->v.str ? lw_span_str(f->v.str) : lw_span("", 0), json);
		return;
	case RT_F_SPAN:
		put_text(l, f->v.span, json);
		return;
	case RT_F_ERR:
		put_text(l, lw_span_str(lw_err_text((int)f->v.i64)), json);
		return;
	case RT_F_HEX:
		put(l, "\"", json);
		put_hex(l, f->v.span);
		put(l, "\"", json);
		return;
	case RT_F_U64:
		n = snprintf(num, sizeof(num), "%llu", (unsigned long long)f->v.u64);
		break;
	case RT_F_I64:
		n = snprintf(num, sizeof(num), "%lld", (long long)f->v.i64);
		break;
	case RT_F_F64:
		n = isfinite(f->v.f64) ? snprintf(num, sizeof(num), "%.6g", f->v.f64)
				       : snprintf(num, sizeof(num), "null");
		break;
	case RT_F_BOOL:
		n = snprintf(num, sizeof(num), "%s", f->v.b ? "true" : "false");
		break;
	case RT_F_HEX64:
		n = snprintf(num, sizeof(num), json ? "\"%016llx\"" : "%016llx", (unsigned long long)f->v.u64);
		break;
	case RT_F_HEX32:
		n = snprintf(num, sizeof(num), json ? "\"%08llx\"" : "%08llx", (unsigned long long)f->v.u64);
		break;
	}
	put(l, num, (size_t)n);
}

static void put_field(struct line *l, const struct rt_field *f, bool json)
{
	size_t mark = l->n;
	if (json) {
		put(l, ",\"", 2);
		put_str(l, f->key);
		put(l, "\":", 2);
	} else {
		put(l, " ", 1);
		put_str(l, f->key);
		put(l, "=", 1);
	}
	put_value(l, f, json);
	if (l->full)
		l->n = mark; /* a field is there as a whole or not at all */
}

static void put_head(struct line *l, const struct rt_log *log, enum rt_level level, const char *event, bool json)
{
	char at[LW_RFC3339_MAX];
	lw_rfc3339_format(lw_now_ns(), LW_FRAC_3, "Z", at);
	if (!json) {
		static const char *const names[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
		put_str(l, at);
		put(l, " ", 1);
		put_str(l, names[level]);
		put(l, " ", 1);
		if (log->daemon) {
			put_str(l, log->daemon);
			put(l, ": ", 2);
		}
		put_str(l, event);
		return;
	}
	put_str(l, "{\"time\":\"");
	put_str(l, at);
	put_str(l, "\",\"level\":\"");
	put_str(l, level_names[level]);
	put(l, "\"", 1);
	if (log->daemon) {
		struct rt_field d = rt_str("daemon", log->daemon);
		put_field(l, &d, true);
	}
	struct rt_field e = rt_str("event", event);
	put_field(l, &e, true);
}

/* False when the call site is over its limit. *left_out is what it has swallowed in earlier seconds. */
static bool admit(struct rt_log *log, struct rt_log_site *site, uint32_t *left_out)
{
	int64_t second = lw_mono_ns() / LW_NS_PER_S;
	bool ok = true;
	pthread_mutex_lock(&log->lock);
	if (site->second != second) {
		site->second = second;
		site->n = 0;
		*left_out = site->left_out;
		site->left_out = 0;
	}
	if (site->n >= RT_LOG_SITE_LIMIT) {
		site->left_out++;
		log->suppressed++;
		ok = false;
	} else {
		site->n++;
	}
	pthread_mutex_unlock(&log->lock);
	return ok;
}

void rt_log_write(struct rt_log *log, struct rt_log_site *site, enum rt_level level, const char *event,
		  const struct rt_field *fields, size_t n)
{
	if (!rt_log_enabled(log, level))
		return;
	uint32_t left_out = 0;
	if (site && !admit(log, site, &left_out))
		return;
	int saved = errno;
	bool json = atomic_load_explicit(&log->format, memory_order_relaxed) == RT_LOG_JSON;
	struct line l;
	l.n = 0;
	l.full = false;
	put_head(&l, log, level, event, json);
	for (size_t i = 0; i < n && fields[i].key; i++)
		put_field(&l, &fields[i], json);
	if (left_out) {
		struct rt_field f = rt_u64("left_out", left_out);
		put_field(&l, &f, json);
	}
	const char *end = l.full ? (json ? ",\"cut\":true}\n" : " cut=true\n") : (json ? "}\n" : "\n");
	size_t end_n = strlen(end);
	memcpy(l.p + l.n, end, end_n);
	l.n += end_n;
	/* A log that cannot be written has nowhere to complain to. */
	ssize_t ignored = write(log->fd, l.p, l.n);
	(void)ignored;
	errno = saved;
}
