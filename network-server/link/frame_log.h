/* The frame log: every frame with its outcome, for people. Kept in Redis streams of limited length, one per device and
 * one per gateway; live readers follow them. May be lost; never holds a key or a payload in the clear. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/ids.h"
#include "common/io/redis.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

struct ns_frame_log;
struct ns_frame_follow;

/* redis may be NULL: then nothing is kept. per_device and per_gateway: about how many frames; 0: none. */
struct ns_frame_log *ns_frame_log_new(struct redis *redis, size_t per_device, size_t per_gateway);
void ns_frame_log_free(struct ns_frame_log *l);
/* True also when there is no log at all, which following it tells. */
bool ns_frame_log_is_up(const struct ns_frame_log *l);
/* It is stored within a tenth of a second, together with others. */
void ns_frame_log_put(struct ns_frame_log *l, const Longwave__Ns__V1__Frame *frame);

/* A frame as stored, with its id; valid during the call. */
typedef void ns_frame_fn(void *arg, Longwave__Ns__V1__Frame *frame);
/* The last `history` frames of a device (gateway_id NULL) or of a gateway, then each new one. NULL: there is no log. */
struct ns_frame_follow *ns_frame_log_follow(struct ns_frame_log *l, const char *dev_eui, const char *gateway_id,
					    size_t history, ns_frame_fn *fn, void (*caught_up)(void *arg), void *arg);
/* May be called from inside its callback. */
void ns_frame_log_unfollow(struct ns_frame_follow *f);
