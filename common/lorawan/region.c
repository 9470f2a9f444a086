/* The rules shared by all plans: look-ups in the const tables, and a network's channel plan. */
#include "common/lorawan/region.h"

#include <string.h>

#include "common/base/err.h"
#include "common/lorawan/region/tables.h"

static const struct lw_region *const regions[] = {
	&lw_region_eu868,       &lw_region_us915,       &lw_region_cn779,       &lw_region_eu433,
	&lw_region_au915,       &lw_region_cn470,       &lw_region_as923,       &lw_region_as923_2,
	&lw_region_as923_3,     &lw_region_as923_4,     &lw_region_kr920,       &lw_region_in865,
	&lw_region_ru864,       &lw_region_ism2400,     &lw_region_cn470_20a_0, &lw_region_cn470_20a_1,
	&lw_region_cn470_20a_2, &lw_region_cn470_20a_3, &lw_region_cn470_20a_4, &lw_region_cn470_20a_5,
	&lw_region_cn470_20a_6, &lw_region_cn470_20a_7, &lw_region_cn470_20b_0, &lw_region_cn470_20b_1,
	&lw_region_cn470_26a,   &lw_region_cn470_26b,
};

/* The rates that RP002-1.0.5 adds to a channel of 125 kHz: SF6 and SF5. */
#define SF6_SF5 (3U << 12)
#define LAST_125KHZ_DR 5U

const struct lw_region *lw_region_by_id(enum lw_region_id id)
{
	for (size_t i = 0; i < COUNT_OF(regions); i++)
		if (regions[i]->id == id)
			return regions[i];
	return NULL;
}

/* Upper case, and one form of the dash in "AS923-2". */
static char canonical(char c)
{
	if (c >= 'a' && c <= 'z')
		return (char)(c - 'a' + 'A');
	return c == '_' ? '-' : c;
}

static bool same_name(const char *a, const char *b)
{
	while (*a && canonical(*a) == canonical(*b)) {
		a++;
		b++;
	}
	return *a == '\0' && *b == '\0';
}

const struct lw_region *lw_region_by_name(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(regions); i++)
		if (same_name(regions[i]->name, name))
			return regions[i];
	return NULL;
}

static bool has_versions(const struct lw_versions *v, enum lw_mac_version mac, enum lw_reg_params rp)
{
	return (v->mac_versions >> mac & 1) && (v->reg_params >> rp & 1);
}

const struct lw_region *lw_region_revision(const struct lw_region *r, enum lw_mac_version mac, enum lw_reg_params rp)
{
	for (size_t i = 0; i < r->n_variants; i++)
		if (has_versions(&r->variants[i].versions, mac, rp))
			return r->variants[i].region;
	return r;
}

static bool same_modulation(const struct lw_modulation *a, const struct lw_modulation *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case LW_MOD_LORA:
		return a->sf == b->sf && a->bw_hz == b->bw_hz;
	case LW_MOD_FSK:
		return a->bitrate_bps == b->bitrate_bps;
	case LW_MOD_LRFHSS:
		return a->cr == b->cr && a->bw_hz == b->bw_hz;
	case LW_MOD_NONE:
	default:
		return false;
	}
}

int lw_region_dr_index(const struct lw_region *r, enum lw_dir dir, const struct lw_modulation *m)
{
	const struct lw_modulation *table = dir == LW_UP ? r->up_dr : r->down_dr;
	for (int i = 0; i < LW_DR_COUNT; i++)
		if (same_modulation(&table[i], m))
			return i;
	return LW_ENOTFOUND;
}

const struct lw_modulation *lw_region_dr(const struct lw_region *r, enum lw_dir dir, unsigned dr)
{
	const struct lw_modulation *table = dir == LW_UP ? r->up_dr : r->down_dr;
	return dr < LW_DR_COUNT && table[dr].kind != LW_MOD_NONE ? &table[dr] : NULL;
}

int lw_region_rx1_dr(const struct lw_region *r, unsigned uplink_dr, unsigned offset, bool downlink_dwell)
{
	if (uplink_dr >= LW_DR_COUNT || offset > r->max_rx1_dr_offset)
		return LW_EINVAL;
	const int8_t(*table)[LW_RX1_OFFSETS] = downlink_dwell && r->rx1_dr_dwell ? r->rx1_dr_dwell : r->rx1_dr;
	int dr = table[uplink_dr][offset];
	return dr < 0 ? LW_EINVAL : dr;
}

/* How well a row fits: 0 not at all, then any version (the newest row wins by order), the MAC version, both versions.
 */
static unsigned row_fit(const struct lw_payload_row *row, enum lw_mac_version mac, enum lw_reg_params rp, bool repeater,
			bool dwell)
{
	if (!(row->repeater & (repeater ? 2U : 1U)) || !(row->dwell & (dwell ? 2U : 1U)))
		return 0;
	if (!(row->mac_versions & (1U << mac)))
		return 1;
	return row->reg_params & (1U << rp) ? 3 : 2;
}

int lw_region_max_payload(const struct lw_region *r, enum lw_dir dir, enum lw_mac_version mac, enum lw_reg_params rp,
			  bool repeater, bool dwell, unsigned dr, struct lw_max_payload *out)
{
	bool own = dir == LW_UP && r->payload_up;
	const struct lw_payload_row *rows = own ? r->payload_up : r->payload_down;
	size_t n = own ? r->n_payload_up : r->n_payload_down;
	const struct lw_payload_row *best = NULL;
	unsigned best_fit = 1;
	if (dr >= LW_DR_COUNT)
		return LW_ENOTFOUND;
	for (size_t i = 0; i < n; i++) {
		unsigned fit = row_fit(&rows[i], mac, rp, repeater, dwell);
		/* Rows are ordered by age: of equal fits the last is the newest. */
		if (fit >= best_fit) {
			best = &rows[i];
			best_fit = fit;
		}
	}
	if (!best || best->m[dr] == 0)
		return LW_ENOTFOUND;
	out->m = best->m[dr];
	out->n = (uint8_t)(best->m[dr] - 8);
	return 0;
}

int lw_region_downlink_eirp_dbm(const struct lw_region *r, uint32_t hz)
{
	for (size_t i = 0; i < r->n_downlink_power; i++)
		if (hz >= r->downlink_power[i].min_hz && hz < r->downlink_power[i].max_hz)
			return r->downlink_power[i].eirp_dbm;
	return 0;
}

const struct lw_sub_band *lw_region_sub_band(const struct lw_region *r, uint32_t hz)
{
	for (size_t i = 0; i < r->n_sub_bands; i++)
		if (hz >= r->sub_bands[i].min_hz && hz < r->sub_bands[i].max_hz)
			return &r->sub_bands[i];
	return NULL;
}

bool lw_region_freq_ok(const struct lw_region *r, uint32_t hz)
{
	return hz >= r->min_hz && hz <= r->max_hz;
}

int lw_region_tx_power_db(const struct lw_region *r, unsigned index, int *db)
{
	if (index > r->max_tx_power_index)
		return LW_EINVAL;
	*db = (int)index * r->tx_power_step_db;
	return 0;
}

void lw_region_tx_power(const struct lw_region *r, enum lw_mac_version mac, enum lw_reg_params rp,
			struct lw_tx_power *out)
{
	for (size_t i = 0; i < r->n_tx_powers; i++) {
		if (has_versions(&r->tx_powers[i].versions, mac, rp)) {
			*out = r->tx_powers[i].power;
			return;
		}
	}
	*out = (struct lw_tx_power){.max_index = r->max_tx_power_index, .eirp_cdbm = r->device_eirp_cdbm};
	for (int i = 0; i <= r->max_tx_power_index; i++)
		out->db[i] = (int8_t)(i * r->tx_power_step_db);
}

bool lw_region_tx_param_setup(const struct lw_region *r, enum lw_mac_version mac, enum lw_reg_params rp)
{
	for (size_t i = 0; i < r->n_no_tx_param; i++)
		if (has_versions(&r->no_tx_param[i], mac, rp))
			return false;
	return r->tx_param_setup && mac >= LW_MAC_1_0_2;
}

void lw_region_boot_dwell(const struct lw_region *r, enum lw_mac_version mac, enum lw_reg_params rp, bool *up,
			  bool *down)
{
	*up = false;
	*down = false;
	for (size_t i = 0; i < r->n_boot_dwell; i++) {
		if (has_versions(&r->boot_dwell[i].versions, mac, rp)) {
			*up = r->boot_dwell[i].up;
			*down = r->boot_dwell[i].down;
			return;
		}
	}
}

const struct lw_join_channel *lw_region_join_channel(const struct lw_region *r, uint32_t hz)
{
	for (size_t i = 0; i < r->n_join_channels; i++)
		if (r->join_channels[i].hz == hz)
			return &r->join_channels[i];
	return NULL;
}

/* The rates first..last. */
static uint16_t rates_of(unsigned first, unsigned last)
{
	return (uint16_t)((2U << last) - (1U << first));
}

uint16_t lw_region_dr_range(const struct lw_region *r, unsigned min_dr, unsigned max_dr)
{
	if (min_dr >= LW_DR_COUNT || max_dr >= LW_DR_COUNT)
		return 0;
	if (min_dr <= max_dr)
		return rates_of(min_dr, max_dr);
	if (r->dr_range_codes && max_dr == 0 && min_dr <= LAST_125KHZ_DR + 1)
		return (uint16_t)(rates_of(min_dr - 1, LAST_125KHZ_DR) | SF6_SF5);
	return 0;
}

int lw_region_dr_range_code(const struct lw_region *r, uint16_t rates, uint8_t *min_dr, uint8_t *max_dr)
{
	for (unsigned max = 0; max < LW_DR_COUNT; max++) {
		for (unsigned min = 0; rates != 0 && min < LW_DR_COUNT; min++) {
			if (lw_region_dr_range(r, min, max) == rates) {
				*min_dr = (uint8_t)min;
				*max_dr = (uint8_t)max;
				return 0;
			}
		}
	}
	return LW_EUNSUPPORTED;
}

int lw_max_eirp_dbm(unsigned index)
{
	static const int8_t dbm[16] = {8, 10, 12, 13, 14, 16, 18, 20, 21, 24, 26, 27, 29, 30, 33, 36};
	return dbm[index & 15];
}

uint32_t lw_hop_hz(const struct lw_hop *h, uint32_t gps_s, uint32_t devaddr)
{
	if (h->count < 2)
		return h->base_hz;
	/* The sum wraps at 32 bits, as a device computes it. */
	return h->base_hz + h->step_hz * ((devaddr + gps_s / 128) % h->count);
}

void lw_plan_init(struct lw_plan *p, const struct lw_region *region)
{
	*p = (struct lw_plan){.region = region};
	for (size_t i = 0; i < region->n_up; i++) {
		unsigned end = region->up[i].first + (unsigned)region->up[i].count;
		if (end > p->n)
			p->n = end;
	}
	for (unsigned i = 0; i < p->n; i++)
		(void)lw_plan_enable(p, i, true);
}

int lw_plan_channel(const struct lw_plan *p, unsigned index, struct lw_channel *out)
{
	if (index >= p->n)
		return LW_ENOTFOUND;
	unsigned first_user = p->n - p->n_user;
	if (index >= first_user) {
		*out = p->user[index - first_user];
		return 0;
	}
	for (size_t i = 0; i < p->region->n_up; i++) {
		const struct lw_channel_run *run = &p->region->up[i];
		if (index >= run->first && index < run->first + (unsigned)run->count) {
			out->hz = run->first_hz + (index - run->first) * run->step_hz;
			out->min_dr = run->min_dr;
			out->max_dr = run->max_dr;
			return 0;
		}
	}
	return LW_ENOTFOUND;
}

int lw_plan_add_rates(struct lw_plan *p, uint32_t hz, uint16_t rates)
{
	uint8_t min_dr;
	uint8_t max_dr;
	if (!p->region->user_channels)
		return LW_EUNSUPPORTED;
	if (!lw_region_freq_ok(p->region, hz) || lw_region_dr_range_code(p->region, rates, &min_dr, &max_dr) < 0)
		return LW_EINVAL;
	/* The sets that are no range hold only rates that every plan with such sets has. */
	if (min_dr <= max_dr && (!lw_region_dr(p->region, LW_UP, min_dr) || !lw_region_dr(p->region, LW_UP, max_dr)))
		return LW_EINVAL;
	for (unsigned i = 0; i < p->n; i++) {
		struct lw_channel c;
		if (lw_plan_channel(p, i, &c) == 0 && c.hz == hz && c.min_dr == min_dr && c.max_dr == max_dr)
			return LW_EEXISTS;
	}
	/* Dynamic plans have 16 channels altogether, as the mask of LinkADRReq. */
	if (p->n_user == LW_PLAN_USER_CHANNELS || p->n >= 16)
		return LW_EFULL;
	p->user[p->n_user++] = (struct lw_channel){.hz = hz, .min_dr = min_dr, .max_dr = max_dr};
	unsigned index = p->n++;
	(void)lw_plan_enable(p, index, true);
	return (int)index;
}

int lw_plan_add(struct lw_plan *p, uint32_t hz, uint8_t min_dr, uint8_t max_dr)
{
	if (!p->region->user_channels)
		return LW_EUNSUPPORTED;
	if (min_dr > max_dr || max_dr >= LW_DR_COUNT)
		return LW_EINVAL;
	return lw_plan_add_rates(p, hz, rates_of(min_dr, max_dr));
}

int lw_plan_enable(struct lw_plan *p, unsigned index, bool on)
{
	if (index >= p->n || index >= LW_PLAN_CHANNELS)
		return LW_ENOTFOUND;
	uint16_t bit = (uint16_t)(1U << (index % 16));
	if (on)
		p->enabled[index / 16] |= bit;
	else
		p->enabled[index / 16] &= (uint16_t)~bit;
	return 0;
}

void lw_plan_disable_all(struct lw_plan *p)
{
	memset(p->enabled, 0, sizeof p->enabled);
}

bool lw_plan_enabled(const struct lw_plan *p, unsigned index)
{
	return index < p->n && index < LW_PLAN_CHANNELS && (p->enabled[index / 16] >> (index % 16) & 1);
}

int lw_plan_channel_index(const struct lw_plan *p, uint32_t hz, unsigned dr)
{
	int same_hz = LW_ENOTFOUND;
	for (unsigned i = 0; i < p->n; i++) {
		struct lw_channel c;
		if (lw_plan_channel(p, i, &c) < 0 || c.hz != hz)
			continue;
		if (dr < LW_DR_COUNT && (lw_region_dr_range(p->region, c.min_dr, c.max_dr) >> dr & 1))
			return (int)i;
		if (same_hz < 0)
			same_hz = (int)i;
	}
	return same_hz;
}

int lw_plan_rx1_hz(const struct lw_plan *p, uint32_t uplink_hz, unsigned uplink_dr, uint32_t *out_hz)
{
	if (p->region->rx1_rule == LW_RX1_SAME_FREQUENCY) {
		*out_hz = uplink_hz;
		return 0;
	}
	int index = lw_plan_channel_index(p, uplink_hz, uplink_dr);
	if (index < 0)
		return index;
	unsigned count = 0;
	for (size_t i = 0; i < p->region->n_down; i++)
		count += p->region->down[i].count;
	unsigned channel = (unsigned)index % count;
	for (size_t i = 0; i < p->region->n_down; i++) {
		const struct lw_channel_run *run = &p->region->down[i];
		if (channel < run->first + (unsigned)run->count) {
			*out_hz = run->first_hz + (channel - run->first) * run->step_hz;
			return 0;
		}
	}
	return LW_ENOTFOUND;
}

int lw_plan_join_rx1_hz(const struct lw_plan *p, uint32_t uplink_hz, unsigned uplink_dr, uint32_t *out_hz)
{
	const struct lw_join_channel *join = lw_region_join_channel(p->region, uplink_hz);
	if (!join)
		return lw_plan_rx1_hz(p, uplink_hz, uplink_dr, out_hz);
	*out_hz = join->rx1_hz;
	return 0;
}

/* Position i of the list is channel first_user_channel + i on the device, so a channel that cannot be sent leaves a
 * gap. */
static int cflist_frequencies(const struct lw_plan *p, struct lw_cflist *out)
{
	unsigned first_user = p->n - p->n_user;
	int any = 0;
	out->type = LW_CFLIST_FREQUENCIES;
	for (unsigned i = 0; i < LW_CFLIST_FREQS && i < p->n_user; i++) {
		const struct lw_channel *c = &p->user[i];
		if (c->min_dr != p->region->user_min_dr || c->max_dr != p->region->user_max_dr ||
		    !lw_plan_enabled(p, first_user + i))
			continue;
		out->freq_hz[i] = c->hz;
		any = 1;
	}
	return any;
}

int lw_plan_cflist(const struct lw_plan *p, enum lw_mac_version mac, struct lw_cflist *out)
{
	*out = (struct lw_cflist){0};
	if (p->region->cflist_type == LW_CFLIST_FREQUENCIES)
		return cflist_frequencies(p, out);
	if (mac <= LW_MAC_1_0_2)
		return 0;
	out->type = LW_CFLIST_MASKS;
	for (unsigned w = 0; w < lw_plan_words(p) && w < LW_CFLIST_MASK_COUNT; w++)
		out->mask[w] = p->enabled[w];
	return 1;
}
