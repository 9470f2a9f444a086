/* One downlink on its way to a gateway: its alternatives, ready as datagrams, tried in order until the gateway takes
 * one. Lives from the command to the answer or the timeout. Pure: time is a parameter. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/list.h"
#include "gateway-bridge/domain/gateway.h"
#include "gateway-bridge/wire/semtech_udp.h"

#define GB_DOWNLINK_MAX_ITEMS 8
/* gw.TxAckStatus */
#define GB_TX_IGNORED 0
#define GB_TX_OK 1
#define GB_TX_INTERNAL_ERROR 10

struct gb_downlink_item {
	bool sendable; /* there is a datagram */
	int status;    /* gw.TxAckStatus; IGNORED until tried */
	uint32_t freq_hz;
	struct gb_modulation modulation;
	uint16_t len;
	uint8_t datagram[SEMTECH_PULL_RESP_MAX];
};

struct gb_downlink {
	struct lw_list in_gateway; /* gb_gateway.downlinks */
	struct lw_list by_age;     /* gb_downlinks.by_age */
	struct gb_gateway *gateway;
	uint32_t id;
	uint16_t token;
	int64_t sent_ns; /* monotonic, of the last attempt */
	size_t current;
	size_t n_items;
	struct gb_downlink_item items[];
};

/* All that wait for an answer, in the order of their last attempt. */
struct gb_downlinks {
	struct lw_list by_age;
	size_t n;
};

void gb_downlinks_init(struct gb_downlinks *all);

/* A token that none of the gateway's unanswered downlinks has: `wanted` when it is free. */
uint16_t gb_downlink_token(struct gb_gateway *gw, uint16_t wanted);
/* Makes a downlink of n (1..GB_DOWNLINK_MAX_ITEMS) alternatives; err[i] != 0 or one that does not fit a datagram is
 * refused as INTERNAL_ERROR without being tried. The token is its own until it is freed, sent or not. */
struct gb_downlink *gb_downlink_new(struct gb_gateway *gw, uint32_t id, const struct semtech_txpk *tx, const int *err,
				    size_t n);
/* Frees it, waiting or not. */
void gb_downlink_free(struct gb_downlinks *all, struct gb_downlink *d);

/* The alternative to send now, or NULL when none is left. */
struct gb_downlink_item *gb_downlink_current(struct gb_downlink *d);
/* Notes that the current alternative was sent; the downlink waits for its answer. */
void gb_downlink_sent(struct gb_downlinks *all, struct gb_downlink *d, int64_t now_ns);
/* The downlink that a TX_ACK of this gateway is about, or NULL. */
struct gb_downlink *gb_downlink_find(struct gb_gateway *gw, uint16_t token);
/* Notes the answer to the current alternative and counts it; afterwards gb_downlink_current() is what to send next
 * (NULL: the downlink is decided). */
void gb_downlink_answer(struct gb_downlink *d, int status);
/* The one that has waited longest, when it was sent before `before_ns`; else NULL. */
struct gb_downlink *gb_downlinks_stale(const struct gb_downlinks *all, int64_t before_ns);
