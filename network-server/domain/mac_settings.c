#include "network-server/domain/mac_settings.h"

#include <string.h>

#define DR_MAX 15
#define NIBBLE_MAX 15
#define CHANNEL_MAX 15
#define EIRP_MIN_DBM 8
#define EIRP_MAX_DBM 36

const char *ns_adr_settings_from_pb(const Longwave__Ns__V1__AdrSettings *in, struct ns_adr_settings *out)
{
	memset(out, 0, sizeof(*out));
	if (in == NULL)
		return NULL;
	if (in->mode > LONGWAVE__NS__V1__ADR_SETTINGS__MODE__OFF)
		return "adr.mode is unknown";
	if (in->dr > DR_MAX || in->tx_power_index > NIBBLE_MAX || in->nb_trans > NIBBLE_MAX)
		return "adr.dr, adr.tx_power_index and adr.nb_trans are at most 15";
	if (in->bounds != NULL && (in->bounds->max_dr > DR_MAX || in->bounds->min_dr > in->bounds->max_dr))
		return "adr.bounds is no range of data rates";
	out->mode = (enum ns_adr_mode)in->mode;
	out->dr = (uint8_t)in->dr;
	out->tx_power_index = (uint8_t)in->tx_power_index;
	out->nb_trans = (uint8_t)in->nb_trans;
	if (in->bounds != NULL) {
		out->has_bounds = true;
		out->min_dr = (uint8_t)in->bounds->min_dr;
		out->max_dr = (uint8_t)in->bounds->max_dr;
	}
	return NULL;
}

static bool is_inside(const struct lw_region *region, uint32_t hz)
{
	return region != NULL && lw_region_freq_ok(region, hz);
}

static const char *check(const Longwave__Ns__V1__MacSettings *in, const struct lw_region *region)
{
	if (in->duty_cycle != NULL && in->duty_cycle->max_duty_cycle > NIBBLE_MAX)
		return "mac.duty_cycle.max_duty_cycle is at most 15";
	if (in->adr_ack != NULL && (in->adr_ack->limit_exp > NIBBLE_MAX || in->adr_ack->delay_exp > NIBBLE_MAX))
		return "mac.adr_ack.limit_exp and delay_exp are at most 15";
	if (in->tx_params != NULL &&
	    (in->tx_params->max_eirp_dbm < EIRP_MIN_DBM || in->tx_params->max_eirp_dbm > EIRP_MAX_DBM))
		return "mac.tx_params.max_eirp_dbm is 8 to 36";
	if (in->rejoin != NULL && (in->rejoin->max_time_n > NIBBLE_MAX || in->rejoin->max_count_n > NIBBLE_MAX))
		return "mac.rejoin.max_time_n and max_count_n are at most 15";
	if (in->beacon_freq_hz != 0 && !is_inside(region, in->beacon_freq_hz))
		return "mac.beacon_freq_hz is outside the region";
	if (in->n_downlink_channels > NS_DL_CHANNEL_SETTINGS)
		return "mac.downlink_channels are at most 8";
	for (size_t i = 0; i < in->n_downlink_channels; i++)
		if (in->downlink_channels[i]->index > CHANNEL_MAX ||
		    !is_inside(region, in->downlink_channels[i]->freq_hz))
			return "mac.downlink_channels has an index above 15 or a frequency outside the region";
	return NULL;
}

static void take(const Longwave__Ns__V1__MacSettings *in, struct ns_mac_settings *out)
{
	if (in->duty_cycle != NULL) {
		out->has_duty_cycle = true;
		out->max_duty_cycle = (uint8_t)in->duty_cycle->max_duty_cycle;
	}
	if (in->adr_ack != NULL) {
		out->has_adr_ack = true;
		out->adr_ack_limit_exp = (uint8_t)in->adr_ack->limit_exp;
		out->adr_ack_delay_exp = (uint8_t)in->adr_ack->delay_exp;
	}
	if (in->tx_params != NULL) {
		out->has_tx_params = true;
		out->uplink_dwell_400ms = in->tx_params->uplink_dwell_time_400ms;
		out->downlink_dwell_400ms = in->tx_params->downlink_dwell_time_400ms;
		out->max_eirp_dbm = (int8_t)in->tx_params->max_eirp_dbm;
	}
	if (in->rejoin != NULL) {
		out->has_rejoin = true;
		out->rejoin_max_time_n = (uint8_t)in->rejoin->max_time_n;
		out->rejoin_max_count_n = (uint8_t)in->rejoin->max_count_n;
	}
	out->beacon_hz = in->beacon_freq_hz;
	for (size_t i = 0; i < in->n_downlink_channels; i++) {
		out->dl_channels[i].index = (uint8_t)in->downlink_channels[i]->index;
		out->dl_channels[i].hz = in->downlink_channels[i]->freq_hz;
	}
	out->n_dl_channels = (uint8_t)in->n_downlink_channels;
}

const char *ns_mac_settings_from_pb(const Longwave__Ns__V1__MacSettings *in, const struct lw_region *region,
				    struct ns_mac_settings *out)
{
	memset(out, 0, sizeof(*out));
	if (in == NULL)
		return NULL;
	const char *why = check(in, region);
	if (why == NULL)
		take(in, out);
	return why;
}
