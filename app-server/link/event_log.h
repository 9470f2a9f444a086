/* Events of each device in a stream of Redis, for people who look (contracts/integration.md §3): written ten times a
 * second, all in one go. Nothing waits for it; without Redis, and at a kill, what was not written yet is missing there
 * and nowhere else. */
#pragma once

#include <stdbool.h>

#include "app-server/domain/event.h"
#include "common/base/ids.h"
#include "common/io/redis.h"

#define AS_EVENT_LOG_KEY 64

struct as_event_log;

/* `per_device`: events kept of a device, about. `ttl_ms`: a stream nobody writes to is forgotten after. */
struct as_event_log *as_event_log_new(struct redis *redis, size_t per_device, int64_t ttl_ms);
/* Writes what waits. NULL is allowed. */
void as_event_log_free(struct as_event_log *l);
/* `keep_alive`: the stream's end is moved to `ttl_ms` from now, too. The event is copied. */
void as_event_log_put(struct as_event_log *l, struct lw_dev_eui dev_eui, const struct as_event *event, bool keep_alive);
/* Before somebody reads: what waits is history. */
void as_event_log_flush(struct as_event_log *l);
void as_event_log_key(struct lw_dev_eui dev_eui, char out[AS_EVENT_LOG_KEY]);
