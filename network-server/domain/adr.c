#include "network-server/domain/adr.h"

#include <string.h>

#include "common/lorawan/airtime.h"

#define POWER_STEP_DDB 30           /* 3 dB */
#define LRFHSS_FAST_RSSI_DBM (-130) /* at this and above, code rate 4/6 will do */

/* ---- default: LoRa ---- */

/* Per cent of the frames between the first and the last of a full history that did not arrive. */
static unsigned loss_percent(const struct ns_adr_request *r)
{
	uint32_t lost = 0;
	if (r->n_history < NS_ADR_HISTORY)
		return 0;
	for (size_t i = 1; i < r->n_history; i++) {
		uint32_t step = r->history[i].f_cnt - r->history[i - 1].f_cnt;
		if (step > 1 && step < 0x10000)
			lost += step - 1;
	}
	uint32_t percent = lost * 100 / (uint32_t)r->n_history;
	return percent;
}

static uint8_t nb_trans(unsigned loss, uint8_t now)
{
	static const uint8_t TABLE[4][3] = {{1, 1, 2}, {1, 2, 3}, {2, 3, 3}, {3, 3, 3}};
	unsigned row = loss < 5 ? 0 : loss < 10 ? 1 : loss < 30 ? 2 : 3;
	unsigned column = now == 0 ? 1 : now > 3 ? 3 : now;
	return TABLE[row][column - 1];
}

/* The rate's modulation when it is one that the walk knows: LoRa of 125 kHz on an enabled channel. NULL: it is not. */
static const struct lw_modulation *lora_125(const struct ns_adr_request *r, unsigned dr)
{
	const struct lw_modulation *m = lw_region_dr(r->region, LW_UP, dr);
	/* 2.4 GHz has one bandwidth, which stands where 125 kHz stands elsewhere. */
	bool ok = m != NULL && m->kind == LW_MOD_LORA && (m->bw_hz == 125000 || m->bw_hz > 500000) &&
		  (r->enabled_drs >> dr & 1) != 0;
	return ok ? m : NULL;
}

static int highest_lora_125(const struct ns_adr_request *r)
{
	for (int dr = r->max_dr < LW_DR_COUNT ? r->max_dr : LW_DR_COUNT - 1; dr >= 0; dr--)
		if (lora_125(r, (unsigned)dr) != NULL)
			return dr;
	return -1;
}

/* The next faster rate up to max_dr and how many steps of 3 dB it takes: one for each spreading factor. -1: none. */
static int faster(const struct ns_adr_request *r, uint8_t from, uint8_t max_dr, int *steps)
{
	const struct lw_modulation *now = lw_region_dr(r->region, LW_UP, from);
	int best = -1;
	uint8_t best_sf = 0;
	for (unsigned dr = 0; now != NULL && dr <= max_dr && dr < LW_DR_COUNT; dr++) {
		const struct lw_modulation *m = lora_125(r, dr);
		if (m == NULL || m->sf >= now->sf || m->sf <= best_sf)
			continue;
		best = (int)dr;
		best_sf = m->sf;
		*steps = now->sf - m->sf;
	}
	return best;
}

static int best_snr_ddb(const struct ns_adr_request *r)
{
	int best = r->history[0].max_snr_ddb;
	for (size_t i = 1; i < r->n_history; i++)
		if (r->history[i].max_snr_ddb > best)
			best = r->history[i].max_snr_ddb;
	return best;
}

static size_t entries_at_this_power(const struct ns_adr_request *r)
{
	size_t n = 0;
	for (size_t i = 0; i < r->n_history; i++)
		n += r->history[i].tx_power_index == r->tx_power_index;
	return n;
}

/* Faster first, then weaker; the other way round only stronger. */
static void walk(int steps, uint8_t max_dr, const struct ns_adr_request *r, struct ns_adr_choice *c)
{
	while (steps > 0) {
		int cost = 1;
		int dr = faster(r, c->dr, max_dr, &cost);
		if (dr >= 0 && cost > steps)
			break; /* less power would only put the next rate further off */
		if (dr >= 0)
			c->dr = (uint8_t)dr;
		else if (c->tx_power_index < r->max_tx_power_index)
			c->tx_power_index++;
		steps -= cost;
	}
	for (; steps < 0 && c->tx_power_index > 0; steps++)
		c->tx_power_index--;
}

static void choose_default(const struct ns_adr_request *r, struct ns_adr_choice *c)
{
	const struct lw_modulation *m = lw_region_dr(r->region, LW_UP, r->dr);
	if (!r->adr)
		return;
	int highest = highest_lora_125(r);
	uint8_t max_dr = highest >= 0 ? (uint8_t)highest : r->max_dr;
	if (c->dr > max_dr)
		c->dr = max_dr;
	c->nb_trans = nb_trans(loss_percent(r), r->nb_trans);
	if (m == NULL || m->kind != LW_MOD_LORA || r->n_history == 0)
		return;
	int margin = best_snr_ddb(r) - lw_required_snr_ddb(m->sf) - r->installation_margin_db * 10;
	int steps = margin / POWER_STEP_DDB;
	/* More power only after a full history at the present one, or it would go up and down with every frame. */
	if (steps < 0 && entries_at_this_power(r) != NS_ADR_HISTORY)
		return;
	walk(steps, max_dr, r, c);
}

/* ---- LR-FHSS ---- */

static int median_rssi(const struct ns_adr_request *r)
{
	int16_t v[NS_ADR_HISTORY];
	size_t n = r->n_history < NS_ADR_HISTORY ? r->n_history : NS_ADR_HISTORY;
	if (n == 0)
		return INT16_MIN;
	for (size_t i = 0; i < n; i++) {
		size_t k = i;
		for (; k > 0 && v[k - 1] > r->history[i].max_rssi_dbm; k--)
			v[k] = v[k - 1];
		v[k] = r->history[i].max_rssi_dbm;
	}
	return v[n / 2];
}

static const struct lw_modulation *lr_fhss(const struct ns_adr_request *r, unsigned dr)
{
	const struct lw_modulation *m = lw_region_dr(r->region, LW_UP, dr);
	return m != NULL && m->kind == LW_MOD_LRFHSS ? m : NULL;
}

static void choose_lr_fhss(const struct ns_adr_request *r, struct ns_adr_choice *c)
{
	uint8_t candidate[LW_DR_COUNT];
	size_t n = 0;
	if (!r->adr)
		return;
	const struct lw_modulation *now = lr_fhss(r, r->dr);
	int rssi = median_rssi(r);
	if (now != NULL && (now->cr == LW_CR_4_6 || rssi < LRFHSS_FAST_RSSI_DBM))
		return;
	enum lw_code_rate cr = rssi >= LRFHSS_FAST_RSSI_DBM && r->n_history == NS_ADR_HISTORY ? LW_CR_4_6 : LW_CR_2_6;
	for (uint8_t dr = 0; dr <= r->max_dr && dr < LW_DR_COUNT; dr++) {
		const struct lw_modulation *m = lr_fhss(r, dr);
		if (m != NULL && m->cr == cr && (r->enabled_drs >> dr & 1) != 0)
			candidate[n++] = dr;
	}
	if (n == 0)
		return;
	c->dr = candidate[r->rng != NULL ? lw_rng_below(r->rng, n) : 0];
	c->nb_trans = 1;
	c->tx_power_index = 0;
}

/* Near the gateways fast LoRa is better, further away LR-FHSS. */
static void choose_both(const struct ns_adr_request *r, struct ns_adr_choice *c)
{
	struct ns_adr_choice lora = *c;
	choose_default(r, &lora);
	choose_lr_fhss(r, c);
	const struct lw_modulation *m = lw_region_dr(r->region, LW_UP, lora.dr);
	if (m != NULL && m->kind == LW_MOD_LORA && m->sf < 10)
		*c = lora;
}

static void choose_nothing(const struct ns_adr_request *r, struct ns_adr_choice *c)
{
	(void)r;
	(void)c;
}

const struct ns_adr_algorithm ns_adr_algorithms[] = {
	{"default", "Default ADR algorithm (LoRa only)", choose_default},
	{"lr_fhss", "LR-FHSS only ADR algorithm", choose_lr_fhss},
	{"lora_lr_fhss", "LoRa & LR-FHSS ADR algorithm", choose_both},
	{"none", "The device keeps its data rate and power", choose_nothing},
};
const size_t ns_adr_algorithms_count = sizeof(ns_adr_algorithms) / sizeof(ns_adr_algorithms[0]);

const struct ns_adr_algorithm *ns_adr_find(const char *id)
{
	for (size_t i = 0; i < ns_adr_algorithms_count; i++)
		if (strcmp(ns_adr_algorithms[i].id, id) == 0)
			return &ns_adr_algorithms[i];
	return &ns_adr_algorithms[0];
}

void ns_adr_choose(const struct ns_adr_algorithm *a, const struct ns_adr_request *req, struct ns_adr_choice *choice)
{
	*choice = (struct ns_adr_choice){.dr = req->dr,
					 .tx_power_index = req->tx_power_index,
					 .nb_trans = req->nb_trans == 0 ? 1 : req->nb_trans};
	a->choose(req, choice);
}
