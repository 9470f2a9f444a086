#include "gateway-bridge/link/gw_message.h"

#include <assert.h>
#include <stdio.h>

#include "common/base/err.h"
#include "common/base/time.h"
#include "common/pb/build.h"
#include "common/pb/pbjson.h"
#include "common/pb/unpack.h"

static_assert((int)SEMTECH_CR_4_5 == (int)GW__CODE_RATE__CR_4_5 && (int)SEMTECH_CR_5_6 == (int)GW__CODE_RATE__CR_5_6 &&
		      (int)SEMTECH_CR_LI_4_8 == (int)GW__CODE_RATE__CR_LI_4_8,
	      "code rates have the numbers of gw.CodeRate");

int gb_marshal(const struct gb_marshaler *m, const ProtobufCMessage *msg, struct lw_buf *out)
{
	if (m->json)
		return lw_pbjson_encode(m->schema, msg, LW_PBJSON_GW, out);
	return lw_pb_pack(msg, out);
}

ProtobufCMessage *gb_unmarshal(const struct gb_marshaler *m, const ProtobufCMessageDescriptor *type,
			       struct lw_span payload, struct lw_arena *arena)
{
	ProtobufCAllocator allocator = lw_pb_arena_allocator(arena);
	if (!m->json)
		return protobuf_c_message_unpack(type, &allocator, payload.n, payload.p);
	ProtobufCMessage *msg = NULL;
	return lw_pbjson_decode(m->schema, type, payload, &allocator, &msg, NULL) == 0 ? msg : NULL;
}

/* --- uplink ----------------------------------------------------------------------------------------------------- */

static void set_duration(Google__Protobuf__Duration *d, int64_t sec, uint32_t nanos)
{
	google__protobuf__duration__init(d);
	d->seconds = sec;
	d->nanos = (int32_t)nanos;
}

static void set_uplink_modulation(struct gb_uplink_message *m, const struct semtech_data_rate *r)
{
	gw__modulation__init(&m->modulation);
	switch (r->modulation) {
	case SEMTECH_LORA:
		gw__lora_modulation_info__init(&m->parameters.lora);
		m->parameters.lora.bandwidth = r->bandwidth_hz;
		m->parameters.lora.spreading_factor = r->spreading_factor;
		m->parameters.lora.code_rate = (Gw__CodeRate)r->code_rate;
		m->modulation.parameters_case = GW__MODULATION__PARAMETERS_LORA;
		m->modulation.lora = &m->parameters.lora;
		break;
	case SEMTECH_FSK:
		gw__fsk_modulation_info__init(&m->parameters.fsk);
		m->parameters.fsk.datarate = r->bitrate;
		m->modulation.parameters_case = GW__MODULATION__PARAMETERS_FSK;
		m->modulation.fsk = &m->parameters.fsk;
		break;
	case SEMTECH_LR_FHSS:
		gw__lr_fhss_modulation_info__init(&m->parameters.lr_fhss);
		m->parameters.lr_fhss.operating_channel_width = r->channel_width_hz;
		m->parameters.lr_fhss.code_rate = (Gw__CodeRate)r->code_rate;
		m->parameters.lr_fhss.grid_steps = r->grid_steps;
		m->modulation.parameters_case = GW__MODULATION__PARAMETERS_LR_FHSS;
		m->modulation.lr_fhss = &m->parameters.lr_fhss;
		break;
	}
}

static void set_uplink_times(struct gb_uplink_message *m, const struct semtech_rxpk *rx,
			     const struct semtech_antenna *a)
{
	if (rx->has_time) {
		struct lw_sec_nanos t = lw_split_ns(rx->time_ns);
		google__protobuf__timestamp__init(&m->gw_time);
		m->gw_time.seconds = t.sec;
		m->gw_time.nanos = t.nanos;
		m->rx.gw_time = &m->gw_time;
	}
	if (!rx->has_tmms)
		return;
	int64_t sec = (int64_t)(rx->tmms / 1000);
	set_duration(&m->gps_time, sec, (uint32_t)(rx->tmms % 1000) * 1000000);
	m->rx.time_since_gps_epoch = &m->gps_time;
	if (a->has_ftime) {
		set_duration(&m->fine_time, sec, a->ftime_ns);
		m->rx.fine_time_since_gps_epoch = &m->fine_time;
	}
}

static void set_location(Common__Location *l, const struct gb_position *pos)
{
	common__location__init(l);
	l->latitude = pos->latitude;
	l->longitude = pos->longitude;
	l->altitude = pos->altitude_m;
	l->source = COMMON__LOCATION_SOURCE__GPS;
}

static Gw__CRCStatus crc_status(enum semtech_crc crc)
{
	return crc == SEMTECH_CRC_OK    ? GW__CRCSTATUS__CRC_OK
	       : crc == SEMTECH_CRC_BAD ? GW__CRCSTATUS__BAD_CRC
					: GW__CRCSTATUS__NO_CRC;
}

static void add_meta(struct gb_uplink_message *m, const char *key, const char *value)
{
	size_t i = m->rx.n_metadata++;
	gw__uplink_rx_info__metadata_entry__init(&m->meta[i]);
	m->meta[i].key = (char *)(uintptr_t)key;
	m->meta[i].value = (char *)(uintptr_t)value;
	m->meta_p[i] = &m->meta[i];
}

/* The message has no member for an encrypted fine timestamp: who has the concentrator's key finds it in the metadata.
 */
static void add_encrypted_time(struct gb_uplink_message *m, const struct semtech_rxpk *rx,
			       const struct semtech_antenna *a)
{
	if (!a->etime[0])
		return;
	add_meta(m, "encrypted_fine_timestamp", a->etime);
	if (!rx->has_aesk)
		return;
	snprintf(m->aes_key_index, sizeof(m->aes_key_index), "%u", (unsigned)rx->aesk);
	add_meta(m, "aes_key_index", m->aes_key_index);
}

void gb_uplink_message_init(struct gb_uplink_message *m, const struct semtech_rxpk *rx, size_t antenna,
			    const char *gateway_id, uint16_t token, const struct gb_position *pos)
{
	const struct semtech_antenna *a = &rx->antenna[antenna];
	gw__uplink_frame__init(&m->frame);
	gw__uplink_tx_info__init(&m->tx);
	gw__uplink_rx_info__init(&m->rx);
	m->frame.phy_payload = (ProtobufCBinaryData){.len = rx->phy_n, .data = (uint8_t *)(uintptr_t)rx->phy};
	m->frame.tx_info = &m->tx;
	m->frame.rx_info = &m->rx;
	m->tx.frequency = rx->freq_hz;
	set_uplink_modulation(m, &rx->rate);
	m->tx.modulation = &m->modulation;

	m->rx.gateway_id = (char *)(uintptr_t)gateway_id;
	m->rx.uplink_id = token;
	set_uplink_times(m, rx, a);
	m->rx.rssi = a->rssi_dbm;
	m->rx.snr = a->snr_db;
	m->rx.channel = a->channel;
	m->rx.rf_chain = rx->rf_chain;
	m->rx.board = rx->board;
	m->rx.antenna = a->antenna;
	m->rx.crc_status = crc_status(rx->crc);
	if (pos->known) {
		set_location(&m->location, pos);
		m->rx.location = &m->location;
	}
	if (rx->has_tmst) {
		lw_put_be32(m->context, rx->tmst_us);
		m->rx.context = (ProtobufCBinaryData){.len = sizeof(m->context), .data = m->context};
	}
	m->rx.metadata = m->meta_p;
	for (size_t i = 0; i < rx->meta.n; i++)
		add_meta(m, &rx->meta.text[rx->meta.v[i].key], &rx->meta.text[rx->meta.v[i].value]);
	add_encrypted_time(m, rx, a);
}

/* --- statistics ------------------------------------------------------------------------------------------------- */

static Gw__Modulation *stats_modulation(struct lw_arena *arena, const struct gb_modulation *m)
{
	const struct semtech_data_rate *r = &m->rate;
	Gw__Modulation *out = LW_ARENA_NEW(arena, Gw__Modulation);
	Gw__LoraModulationInfo *lora = LW_ARENA_NEW(arena, Gw__LoraModulationInfo);
	Gw__FskModulationInfo *fsk = LW_ARENA_NEW(arena, Gw__FskModulationInfo);
	Gw__LrFhssModulationInfo *lr_fhss = LW_ARENA_NEW(arena, Gw__LrFhssModulationInfo);
	if (!out || !lora || !fsk || !lr_fhss)
		return NULL;
	gw__modulation__init(out);
	switch (r->modulation) {
	case SEMTECH_LORA:
		gw__lora_modulation_info__init(lora);
		lora->bandwidth = r->bandwidth_hz;
		lora->spreading_factor = r->spreading_factor;
		lora->code_rate = (Gw__CodeRate)r->code_rate;
		lora->polarization_inversion = m->invert_polarity;
		lora->preamble = m->preamble;
		lora->no_crc = m->no_crc;
		out->parameters_case = GW__MODULATION__PARAMETERS_LORA;
		out->lora = lora;
		break;
	case SEMTECH_FSK:
		gw__fsk_modulation_info__init(fsk);
		fsk->datarate = r->bitrate;
		fsk->frequency_deviation = m->fdev_hz;
		out->parameters_case = GW__MODULATION__PARAMETERS_FSK;
		out->fsk = fsk;
		break;
	case SEMTECH_LR_FHSS:
		gw__lr_fhss_modulation_info__init(lr_fhss);
		lr_fhss->operating_channel_width = r->channel_width_hz;
		lr_fhss->code_rate = (Gw__CodeRate)r->code_rate;
		lr_fhss->grid_steps = r->grid_steps;
		out->parameters_case = GW__MODULATION__PARAMETERS_LR_FHSS;
		out->lr_fhss = lr_fhss;
		break;
	}
	return out;
}

static bool stats_rates(struct lw_arena *arena, const struct gb_traffic *t, size_t *n, Gw__PerModulationCount ***out)
{
	*out = LW_ARENA_ARRAY(arena, Gw__PerModulationCount *, t->n_rate);
	Gw__PerModulationCount *v = LW_ARENA_ARRAY(arena, Gw__PerModulationCount, t->n_rate);
	if (!*out || !v)
		return false;
	for (size_t i = 0; i < t->n_rate; i++) {
		gw__per_modulation_count__init(&v[i]);
		v[i].count = t->rate[i].n;
		v[i].modulation = stats_modulation(arena, &t->rate[i].modulation);
		if (!v[i].modulation)
			return false;
		(*out)[i] = &v[i];
	}
	*n = t->n_rate;
	return true;
}

static bool stats_frequencies(struct lw_arena *arena, const struct gb_counters *c, Gw__GatewayStats *out)
{
	typedef Gw__GatewayStats__RxPacketsPerFrequencyEntry rx_entry;
	typedef Gw__GatewayStats__TxPacketsPerFrequencyEntry tx_entry;
	rx_entry *rx = LW_ARENA_ARRAY(arena, rx_entry, c->rx.n_freq);
	tx_entry *tx = LW_ARENA_ARRAY(arena, tx_entry, c->tx.n_freq);
	out->rx_packets_per_frequency = LW_ARENA_ARRAY(arena, rx_entry *, c->rx.n_freq);
	out->tx_packets_per_frequency = LW_ARENA_ARRAY(arena, tx_entry *, c->tx.n_freq);
	if (!rx || !tx || !out->rx_packets_per_frequency || !out->tx_packets_per_frequency)
		return false;
	for (size_t i = 0; i < c->rx.n_freq; i++) {
		gw__gateway_stats__rx_packets_per_frequency_entry__init(&rx[i]);
		rx[i].key = c->rx.freq[i].freq_hz;
		rx[i].value = c->rx.freq[i].n;
		out->rx_packets_per_frequency[i] = &rx[i];
	}
	for (size_t i = 0; i < c->tx.n_freq; i++) {
		gw__gateway_stats__tx_packets_per_frequency_entry__init(&tx[i]);
		tx[i].key = c->tx.freq[i].freq_hz;
		tx[i].value = c->tx.freq[i].n;
		out->tx_packets_per_frequency[i] = &tx[i];
	}
	out->n_rx_packets_per_frequency = c->rx.n_freq;
	out->n_tx_packets_per_frequency = c->tx.n_freq;
	return true;
}

static bool stats_statuses(struct lw_arena *arena, const struct gb_counters *c, Gw__GatewayStats *out)
{
	typedef Gw__GatewayStats__TxPacketsPerStatusEntry entry;
	entry *v = LW_ARENA_ARRAY(arena, entry, GB_N_TX_STATUS);
	out->tx_packets_per_status = LW_ARENA_ARRAY(arena, entry *, GB_N_TX_STATUS);
	if (!v || !out->tx_packets_per_status)
		return false;
	for (int i = 0; i < GB_N_TX_STATUS; i++) {
		if (c->tx_status[i] == 0)
			continue;
		gw__gateway_stats__tx_packets_per_status_entry__init(&v[i]);
		const ProtobufCEnumValue *name =
			protobuf_c_enum_descriptor_get_value(&gw__tx_ack_status__descriptor, i);
		v[i].key = (char *)(uintptr_t)name->name;
		v[i].value = c->tx_status[i];
		out->tx_packets_per_status[out->n_tx_packets_per_status++] = &v[i];
	}
	return true;
}

/* The gateway's own entries first; a static entry of the same name wins, since the operator wrote it. */
static bool stats_metadata(struct lw_arena *arena, const struct semtech_meta *own, const struct gb_static_meta *meta,
			   size_t n_meta, Gw__GatewayStats *out)
{
	typedef Gw__GatewayStats__MetadataEntry entry;
	entry *v = LW_ARENA_ARRAY(arena, entry, own->n + n_meta);
	out->metadata = LW_ARENA_ARRAY(arena, entry *, own->n + n_meta);
	if (!v || !out->metadata)
		return false;
	for (size_t i = 0; i < own->n + n_meta; i++) {
		const char *key = i < own->n ? &own->text[own->v[i].key] : meta[i - own->n].key;
		const char *value = i < own->n ? &own->text[own->v[i].value] : meta[i - own->n].value;
		size_t at = 0;
		while (at < out->n_metadata && strcmp(out->metadata[at]->key, key) != 0)
			at++;
		if (at == out->n_metadata) {
			gw__gateway_stats__metadata_entry__init(&v[at]);
			out->metadata[out->n_metadata++] = &v[at];
		}
		v[at].key = (char *)(uintptr_t)key;
		v[at].value = (char *)(uintptr_t)value;
	}
	return true;
}

Gw__GatewayStats *gb_stats_message(struct lw_arena *arena, const struct semtech_stat *stat, const struct gb_counters *c,
				   const char *gateway_id, const struct gb_static_meta *meta, size_t n_meta)
{
	Gw__GatewayStats *out = LW_ARENA_NEW(arena, Gw__GatewayStats);
	Google__Protobuf__Timestamp *time = LW_ARENA_NEW(arena, Google__Protobuf__Timestamp);
	Common__Location *location = LW_ARENA_NEW(arena, Common__Location);
	if (!out || !time || !location)
		return NULL;
	gw__gateway_stats__init(out);
	out->gateway_id = (char *)(uintptr_t)gateway_id;
	if (stat->has_time) {
		struct lw_sec_nanos t = lw_split_ns(stat->time_ns);
		google__protobuf__timestamp__init(time);
		time->seconds = t.sec;
		time->nanos = t.nanos;
		out->time = time;
	}
	if (stat->has_position) {
		set_location(location, &(struct gb_position){.latitude = stat->latitude,
							     .longitude = stat->longitude,
							     .altitude_m = stat->altitude_m});
		out->location = location;
	}
	out->rx_packets_received = stat->has_rxnb ? stat->rxnb : c->n_rx;
	out->rx_packets_received_ok = stat->has_rxok ? stat->rxok : c->n_rx;
	out->tx_packets_received = stat->dwnb;
	out->tx_packets_emitted = stat->has_txnb ? stat->txnb : c->n_tx;
	if (!stats_metadata(arena, &stat->meta, meta, n_meta, out) || !stats_frequencies(arena, c, out) ||
	    !stats_statuses(arena, c, out) ||
	    !stats_rates(arena, &c->rx, &out->n_rx_packets_per_modulation, &out->rx_packets_per_modulation) ||
	    !stats_rates(arena, &c->tx, &out->n_tx_packets_per_modulation, &out->tx_packets_per_modulation))
		return NULL;
	return out;
}

/* --- downlink --------------------------------------------------------------------------------------------------- */

/* Unset counts as 0; LW_EINVAL when negative or absurd (beyond 68 years). */
static int duration_ns(const Google__Protobuf__Duration *d, uint64_t *ns)
{
	if (d && (d->seconds < 0 || d->seconds > INT32_MAX || d->nanos < 0 || d->nanos > 999999999))
		return LW_EINVAL;
	*ns = d ? (uint64_t)d->seconds * UINT64_C(1000000000) + (uint64_t)d->nanos : 0;
	return 0;
}

static int downlink_timing(const Gw__DownlinkTxInfo *info, struct semtech_txpk *out)
{
	uint64_t ns;
	if (!info->timing)
		return LW_EINVAL;
	switch (info->timing->parameters_case) {
	case GW__TIMING__PARAMETERS_IMMEDIATELY:
		out->timing = SEMTECH_AT_ONCE;
		return 0;
	case GW__TIMING__PARAMETERS_DELAY:
		/* A longer context is another maker's; the counter comes first in it. */
		if (info->context.len < 4 || duration_ns(info->timing->delay->delay, &ns) < 0)
			return LW_EINVAL;
		out->timing = SEMTECH_AT_TMST;
		out->tmst_us = lw_get_be32(info->context.data) + (uint32_t)(ns / 1000);
		return 0;
	case GW__TIMING__PARAMETERS_GPS_EPOCH:
		if (!info->timing->gps_epoch->time_since_gps_epoch ||
		    duration_ns(info->timing->gps_epoch->time_since_gps_epoch, &ns) < 0)
			return LW_EINVAL;
		out->timing = SEMTECH_AT_GPS;
		out->tmms = ns / 1000000;
		return 0;
	default:
		return LW_EINVAL;
	}
}

static int downlink_modulation(const Gw__Modulation *m, struct semtech_txpk *out)
{
	if (!m)
		return LW_EINVAL;
	if (m->parameters_case == GW__MODULATION__PARAMETERS_FSK) {
		out->rate.modulation = SEMTECH_FSK;
		out->rate.bitrate = m->fsk->datarate;
		out->fdev_hz = m->fsk->frequency_deviation;
		return out->rate.bitrate > 0 ? 0 : LW_EINVAL;
	}
	if (m->parameters_case != GW__MODULATION__PARAMETERS_LORA)
		return LW_EUNSUPPORTED;
	const Gw__LoraModulationInfo *lora = m->lora;
	if (lora->spreading_factor < 5 || lora->spreading_factor > 12 || lora->bandwidth < 1000)
		return LW_EINVAL;
	out->rate.modulation = SEMTECH_LORA;
	out->rate.spreading_factor = (uint8_t)lora->spreading_factor;
	out->rate.bandwidth_hz = lora->bandwidth;
	out->rate.code_rate = (enum semtech_code_rate)lora->code_rate;
	out->invert_polarity = lora->polarization_inversion;
	out->preamble = lora->preamble;
	out->no_crc = lora->no_crc;
	return 0;
}

int gb_downlink_item(const Gw__DownlinkFrameItem *item, struct semtech_txpk *out)
{
	const Gw__DownlinkTxInfo *info = item->tx_info;
	*out = (struct semtech_txpk){0};
	if (!info || item->phy_payload.len == 0 || info->frequency == 0)
		return LW_EINVAL;
	if (item->phy_payload.len > SEMTECH_PHY_MAX)
		return LW_EBIG;
	out->phy = lw_span(item->phy_payload.data, item->phy_payload.len);
	out->freq_hz = info->frequency;
	out->power_dbm = info->power;
	out->board = info->board;
	out->antenna = info->antenna;
	int err = downlink_timing(info, out);
	return err < 0 ? err : downlink_modulation(info->modulation, out);
}

int gb_tx_status(enum semtech_tx_error error)
{
	static const int status[] = {
		[SEMTECH_TX_OK] = GW__TX_ACK_STATUS__OK,
		[SEMTECH_TX_TOO_LATE] = GW__TX_ACK_STATUS__TOO_LATE,
		[SEMTECH_TX_TOO_EARLY] = GW__TX_ACK_STATUS__TOO_EARLY,
		[SEMTECH_TX_COLLISION_PACKET] = GW__TX_ACK_STATUS__COLLISION_PACKET,
		[SEMTECH_TX_COLLISION_BEACON] = GW__TX_ACK_STATUS__COLLISION_BEACON,
		[SEMTECH_TX_FREQ] = GW__TX_ACK_STATUS__TX_FREQ,
		[SEMTECH_TX_POWER] = GW__TX_ACK_STATUS__TX_POWER,
		[SEMTECH_TX_GPS_UNLOCKED] = GW__TX_ACK_STATUS__GPS_UNLOCKED,
		[SEMTECH_TX_QUEUE_FULL] = GW__TX_ACK_STATUS__QUEUE_FULL,
		[SEMTECH_TX_DUTY_CYCLE_OVERFLOW] = GW__TX_ACK_STATUS__DUTY_CYCLE_OVERFLOW,
		[SEMTECH_TX_OTHER] = GW__TX_ACK_STATUS__INTERNAL_ERROR,
	};
	return status[error];
}
