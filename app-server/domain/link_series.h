/* From what the network-server counted of a link to the series that the API shows. Everything lies in the arena, which
 * has no limit. */
#pragma once

#include "common/base/arena.h"
#include "proto/common/common.pb-c.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

typedef Longwave__Ns__V1__LinkTally__Kind as_tally_kind;

/* One value a bucket: the sum. */
Common__Metric *as_series_of(struct lw_arena *a, const Longwave__Ns__V1__LinkMetricsResponse *in, const char *name,
			     const char *label, as_tally_kind kind, float unit);
/* The mean: kind's sum over that of RX; 0 where nothing was received. */
Common__Metric *as_series_mean(struct lw_arena *a, const Longwave__Ns__V1__LinkMetricsResponse *in, const char *name,
			       const char *label, as_tally_kind kind, float unit);
/* A data set for each key, in their order; keys are named by the values of `names`, or as numbers where it is NULL. */
Common__Metric *as_series_by_key(struct lw_arena *a, const Longwave__Ns__V1__LinkMetricsResponse *in, const char *name,
				 as_tally_kind kind, const ProtobufCEnumDescriptor *names);
/* Percent of what each sub-band allows, or (of_window) of the time within which that counts. A minute without a report
 * has the value of the one before, for up to ten minutes. */
Common__Metric *as_series_duty(struct lw_arena *a, const Longwave__Ns__V1__LinkMetricsResponse *in, const char *name,
			       bool of_window);
