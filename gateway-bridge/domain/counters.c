#include "gateway-bridge/domain/counters.h"

#include <stdlib.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"

void gb_counters_deinit(struct gb_counters *c)
{
	free(c->rx.freq);
	free(c->rx.rate);
	free(c->tx.freq);
	free(c->tx.rate);
	*c = (struct gb_counters){0};
}

void gb_counters_reset(struct gb_counters *c)
{
	c->rx.n_freq = c->rx.n_rate = c->tx.n_freq = c->tx.n_rate = 0;
	c->n_rx = c->n_tx = 0;
	memset(c->tx_status, 0, sizeof(c->tx_status));
}

static bool same(const struct gb_modulation *a, const struct gb_modulation *b)
{
	return a->rate.modulation == b->rate.modulation && a->rate.code_rate == b->rate.code_rate &&
	       a->rate.bandwidth_hz == b->rate.bandwidth_hz && a->rate.spreading_factor == b->rate.spreading_factor &&
	       a->rate.bitrate == b->rate.bitrate && a->rate.channel_width_hz == b->rate.channel_width_hz &&
	       a->rate.grid_steps == b->rate.grid_steps && a->fdev_hz == b->fdev_hz &&
	       a->invert_polarity == b->invert_polarity && a->preamble == b->preamble && a->no_crc == b->no_crc;
}

/* Room for one more: capacities are powers of two, so the length says when to grow. */
static void *grow(void *v, size_t n, size_t size)
{
	if (n == 0)
		return v ? v : lw_xreallocarray(NULL, 8, size);
	return n >= 8 && (n & (n - 1)) == 0 ? lw_xreallocarray(v, n * 2, size) : v;
}

static void count(struct gb_traffic *t, uint32_t freq_hz, const struct gb_modulation *m, uint32_t n)
{
	size_t i = 0;
	while (i < t->n_freq && t->freq[i].freq_hz != freq_hz)
		i++;
	if (i == t->n_freq && i < GB_COUNTERS_MAX) {
		t->freq = grow(t->freq, i, sizeof(t->freq[0]));
		t->freq[t->n_freq++] = (struct gb_freq_count){.freq_hz = freq_hz};
	}
	if (i < t->n_freq)
		t->freq[i].n += n;

	for (i = 0; i < t->n_rate && !same(&t->rate[i].modulation, m); i++)
		;
	if (i == t->n_rate && i < GB_COUNTERS_MAX) {
		t->rate = grow(t->rate, i, sizeof(t->rate[0]));
		t->rate[t->n_rate++] = (struct gb_rate_count){.modulation = *m};
	}
	if (i < t->n_rate)
		t->rate[i].n += n;
}

void gb_counters_received(struct gb_counters *c, uint32_t freq_hz, const struct gb_modulation *m, uint32_t n)
{
	count(&c->rx, freq_hz, m, n);
	c->n_rx += n;
}

void gb_counters_sent(struct gb_counters *c, uint32_t freq_hz, const struct gb_modulation *m)
{
	count(&c->tx, freq_hz, m, 1);
	c->n_tx++;
}

void gb_counters_status(struct gb_counters *c, int status)
{
	BUG_ON(status < 0 || status >= GB_N_TX_STATUS);
	c->tx_status[status]++;
}
