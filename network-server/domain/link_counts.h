/* What is counted of a device's or a gateway's radio link within one stretch of time: a bag of tallies that add up,
 * whoever counted them and in whichever order they are put together. And how time is cut into hours, days and months.
 * Knows no database and no flow. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/longwave/ns/v1/ns.pb-c.h"

/* A gateway can report what it likes; more than so many different keys are not kept of one subject and hour. */
#define NS_LINK_TALLIES_MAX 256
#define NS_LINK_BANDS_MAX 16

typedef Longwave__Ns__V1__LinkTally__Kind ns_tally_kind;

struct ns_tally {
	ns_tally_kind kind;
	uint32_t key;
	int64_t n;
};

/* How much of a sub-band's duty cycle a gateway has used. */
struct ns_duty_band {
	uint32_t min_hz, max_hz;
	uint32_t window_s; /* over which it counts */
	uint32_t max_ms;   /* what is allowed within it; 0: no limit */
	uint32_t used_ms;
	uint32_t counted_by; /* 0: the gateway itself; else a network-server, which knows only what it sent */
};

struct ns_link_counts {
	struct ns_tally *v;
	size_t n, cap;
	struct ns_duty_band *band; /* gateways only */
	size_t n_bands;
};

void ns_link_counts_deinit(struct ns_link_counts *c);
/* n of 0 changes nothing. */
void ns_link_add(struct ns_link_counts *c, ns_tally_kind kind, uint32_t key, int64_t n);
/* Of the same band by the same counter the larger use counts: within a minute it hardly moves. */
void ns_link_add_band(struct ns_link_counts *c, const struct ns_duty_band *b);
int64_t ns_link_get(const struct ns_link_counts *c, ns_tally_kind kind, uint32_t key);

/* Adds what a packed longwave.ns.v1.LinkCounts holds; several that were joined end to end are their sum. LW_EINVAL: it
 * is none, nothing was added. */
int ns_link_counts_unpack(struct ns_link_counts *c, const uint8_t *p, size_t n);
/* malloc'ed; *n may be 0. */
uint8_t *ns_link_counts_pack(const struct ns_link_counts *c, size_t *n);

/* ---- time ---- */

enum ns_span { NS_SPAN_MINUTE, NS_SPAN_HOUR, NS_SPAN_DAY, NS_SPAN_MONTH };

/* From here on days begin at midnight there ("Europe/Berlin", "UTC"; "" is what the system says). The C library keeps
 * one zone for the process: for its start. LW_ENOTFOUND: there is no such zone. */
int ns_link_set_time_zone(const char *name);
/* Seconds since 1970 at which the span begins that `at_s` lies in; and the one after that. */
int64_t ns_span_begin(enum ns_span span, int64_t at_s);
int64_t ns_span_next(enum ns_span span, int64_t begin_s);
