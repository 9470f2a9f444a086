#include "app-server/domain/radio.h"

#include "common/lorawan/region.h"

#define NIBBLE_MAX 15
#define EIRP_MIN_DBM 8
#define EIRP_MAX_DBM 36
#define DL_CHANNELS_MAX 8

static int upto(struct lw_diag *diag, const char *name, uint32_t value, uint32_t min, uint32_t max)
{
	if (value >= min && value <= max)
		return 0;
	lw_diag_set(diag, "%s is not %u to %u", name, (unsigned)min, (unsigned)max);
	return LW_EINVAL;
}

static int rate(struct lw_diag *diag, const char *name, uint32_t dr, const struct lw_region *region)
{
	if (dr <= NIBBLE_MAX && lw_region_dr(region, LW_UP, dr) != NULL)
		return 0;
	lw_diag_set(diag, "%s: %u is no uplink data rate of %s", name, (unsigned)dr, region->name);
	return LW_EINVAL;
}

static int frequency(struct lw_diag *diag, const char *name, uint32_t hz, const struct lw_region *region)
{
	if (lw_region_freq_ok(region, hz))
		return 0;
	lw_diag_set(diag, "%s: %u Hz is outside %s", name, (unsigned)hz, region->name);
	return LW_EINVAL;
}

static int check_adr(const Longwave__Ns__V1__AdrSettings *a, const struct lw_region *region, struct lw_diag *diag)
{
	int rc = upto(diag, "adr.mode", (uint32_t)a->mode, 0, LONGWAVE__NS__V1__ADR_SETTINGS__MODE__OFF);
	if (rc == 0 && a->bounds != NULL)
		rc = rate(diag, "adr.bounds.min_dr", a->bounds->min_dr, region);
	if (rc == 0 && a->bounds != NULL)
		rc = rate(diag, "adr.bounds.max_dr", a->bounds->max_dr, region);
	if (rc == 0 && a->bounds != NULL && a->bounds->min_dr > a->bounds->max_dr) {
		lw_diag_set(diag, "adr.bounds.min_dr is above max_dr");
		rc = LW_EINVAL;
	}
	if (rc == 0)
		rc = rate(diag, "adr.dr", a->dr, region);
	if (rc == 0)
		rc = upto(diag, "adr.tx_power_index", a->tx_power_index, 0, region->max_tx_power_index);
	return rc == 0 ? upto(diag, "adr.nb_trans", a->nb_trans, 0, NIBBLE_MAX) : rc;
}

static int check_numbers(const Longwave__Ns__V1__MacSettings *m, struct lw_diag *diag)
{
	int rc = 0;
	if (m->duty_cycle != NULL)
		rc = upto(diag, "mac.duty_cycle.max_duty_cycle", m->duty_cycle->max_duty_cycle, 0, NIBBLE_MAX);
	if (rc == 0 && m->adr_ack != NULL)
		rc = upto(diag, "mac.adr_ack.limit_exp", m->adr_ack->limit_exp, 0, NIBBLE_MAX);
	if (rc == 0 && m->adr_ack != NULL)
		rc = upto(diag, "mac.adr_ack.delay_exp", m->adr_ack->delay_exp, 0, NIBBLE_MAX);
	if (rc == 0 && m->tx_params != NULL)
		rc = upto(diag, "mac.tx_params.max_eirp_dbm", m->tx_params->max_eirp_dbm, EIRP_MIN_DBM, EIRP_MAX_DBM);
	if (rc == 0 && m->rejoin != NULL)
		rc = upto(diag, "mac.rejoin.max_time_n", m->rejoin->max_time_n, 0, NIBBLE_MAX);
	if (rc == 0 && m->rejoin != NULL)
		rc = upto(diag, "mac.rejoin.max_count_n", m->rejoin->max_count_n, 0, NIBBLE_MAX);
	return rc;
}

static int check_mac(const Longwave__Ns__V1__MacSettings *m, const struct lw_region *region, struct lw_diag *diag)
{
	int rc = check_numbers(m, diag);
	if (rc == 0 && m->beacon_freq_hz != 0)
		rc = frequency(diag, "mac.beacon_freq_hz", m->beacon_freq_hz, region);
	if (rc == 0 && m->n_downlink_channels > DL_CHANNELS_MAX) {
		lw_diag_set(diag, "mac.downlink_channels are more than %d", DL_CHANNELS_MAX);
		rc = LW_EINVAL;
	}
	for (size_t i = 0; rc == 0 && i < m->n_downlink_channels; i++) {
		rc = upto(diag, "mac.downlink_channels.index", m->downlink_channels[i]->index, 0, NIBBLE_MAX);
		if (rc == 0)
			rc = frequency(diag, "mac.downlink_channels.freq_hz", m->downlink_channels[i]->freq_hz, region);
		for (size_t k = 0; rc == 0 && k < i; k++) {
			if (m->downlink_channels[k]->index != m->downlink_channels[i]->index)
				continue;
			lw_diag_set(diag, "mac.downlink_channels.index: %u is there twice",
				    (unsigned)m->downlink_channels[i]->index);
			rc = LW_EINVAL;
		}
	}
	return rc;
}

int as_radio_check(const Longwave__App__V1__DeviceProfileRadio *r, Common__Region id, struct lw_diag *diag)
{
	const struct lw_region *region = lw_region_by_id((enum lw_region_id)id);
	if (region == NULL) {
		lw_diag_set(diag, "region of the device profile is unknown");
		return LW_EINVAL;
	}
	int rc = r->adr != NULL ? check_adr(r->adr, region, diag) : 0;
	return rc == 0 && r->mac != NULL ? check_mac(r->mac, region, diag) : rc;
}
