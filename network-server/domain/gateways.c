#include "network-server/domain/gateways.h"

static bool better(const struct ns_gateway_candidate *a, const struct ns_gateway_candidate *b)
{
	/* All have the same demodulation floor, so the margin orders like the SNR itself. */
	if (a->rx->snr_ddb != b->rx->snr_ddb)
		return a->rx->snr_ddb > b->rx->snr_ddb;
	return a->rx->rssi_dbm > b->rx->rssi_dbm;
}

static void sort(struct ns_gateway_candidate *v, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct ns_gateway_candidate c = v[i];
		size_t k = i;
		for (; k > 0 && better(&c, &v[k - 1]); k--)
			v[k] = v[k - 1];
		v[k] = c;
	}
}

static uint64_t weight(const struct ns_gateway_candidate *c)
{
	return c->priority == 0 ? 1 : c->priority;
}

void ns_choose_gateway(struct ns_gateway_candidate *v, size_t n, const struct lw_modulation *uplink_mod,
		       unsigned min_margin_db, struct lw_rng *rng)
{
	sort(v, n);
	size_t good = 0;
	uint64_t sum = 0;
	while (good < n && ns_snr_margin_ddb(uplink_mod, v[good].rx->snr_ddb) >= (int)min_margin_db * 10)
		sum += weight(&v[good++]);
	if (good < 2)
		return;
	uint64_t r = lw_rng_below(rng, sum);
	size_t chosen = 0;
	while (r >= weight(&v[chosen]))
		r -= weight(&v[chosen++]);
	struct ns_gateway_candidate c = v[chosen];
	for (size_t k = chosen; k > 0; k--)
		v[k] = v[k - 1];
	v[0] = c;
}
