#include "network-server/domain/cadence.h"

#include <stdlib.h>

static int by_length(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

bool ns_cadence_of(const int64_t *times_ns, size_t n, int64_t now_ns, struct ns_cadence *out)
{
	int64_t interval[NS_CADENCE_MAX];
	if (n > NS_CADENCE_MAX) {
		times_ns += n - NS_CADENCE_MAX;
		n = NS_CADENCE_MAX;
	}
	if (n < NS_CADENCE_MIN)
		return false;
	size_t k = n - 1;
	for (size_t i = 0; i < k; i++)
		interval[i] = times_ns[i + 1] - times_ns[i];
	qsort(interval, k, sizeof(interval[0]), by_length);
	int64_t median = interval[k / 2];
	size_t near = 0;
	for (size_t i = 0; i < k; i++)
		near += interval[i] >= median / 2 && interval[i] <= median + median / 2;
	if (median <= 0 || near * 2 <= k)
		return false;
	int64_t last = times_ns[n - 1];
	int64_t late = now_ns - last - median / 2;
	int64_t missing = late > 0 ? late / median : 0;
	*out = (struct ns_cadence){.interval_ns = median,
				   .last_ns = last,
				   .next_ns = last + median,
				   .missing = missing > UINT32_MAX ? UINT32_MAX : (uint32_t)missing};
	return true;
}
