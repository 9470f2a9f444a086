/* Whatever a gateway may send: headers, PUSH_DATA with all its elements, TX_ACK. What was read as a frame is also
 * written as a downlink, which must always fit what a gateway can read. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "gateway-bridge/wire/semtech_udp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok)
{
	if (!ok)
		abort();
}

static void check_meta(const struct semtech_meta *m)
{
	check(m->n <= SEMTECH_MAX_META && m->used <= SEMTECH_META_TEXT);
	for (size_t i = 0; i < m->n; i++) {
		const char *key = &m->text[m->v[i].key], *value = &m->text[m->v[i].value];
		check(gb_utf8_valid(key, strlen(key)) && gb_utf8_valid(value, strlen(value)));
	}
}

static void check_frame(const struct semtech_rxpk *rx)
{
	uint8_t out[SEMTECH_PULL_RESP_MAX];
	check(rx->phy_n > 0 && rx->phy_n <= SEMTECH_PHY_MAX && rx->freq_hz > 0);
	check(rx->n_antennas > 0 && rx->n_antennas <= SEMTECH_MAX_ANTENNAS);
	check_meta(&rx->meta);
	struct semtech_txpk tx = {.timing = SEMTECH_AT_TMST,
				  .tmst_us = rx->tmst_us,
				  .freq_hz = rx->freq_hz,
				  .rate = rx->rate,
				  .phy = lw_span(rx->phy, rx->phy_n)};
	int n = semtech_pull_resp_encode(2, 1, &tx, out, sizeof(out));
	check(rx->rate.modulation == SEMTECH_LR_FHSS ? n < 0 : n > 0);
}

static void push_data(struct lw_span json)
{
	static struct semtech_rxpk rx;
	static struct semtech_stat stat;
	struct semtech_push push;
	struct lw_span element;
	if (semtech_push_open(json, &push) < 0)
		return;
	if (semtech_stat_parse(&push, &stat) == 0)
		check_meta(&stat.meta);
	while (semtech_push_element(&push, &element)) {
		check(element.p >= json.p && element.p + element.n <= json.p + json.n);
		if (semtech_rxpk_parse(element, &rx) == 0)
			check_frame(&rx);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct semtech_datagram d;
	struct semtech_tx_ack ack;
	if (semtech_datagram_parse(lw_span(data, size), &d) < 0)
		return 0;
	if (d.type == SEMTECH_PUSH_DATA)
		push_data(d.json);
	else if (d.type == SEMTECH_TX_ACK)
		semtech_tx_ack_parse(d.json, &ack);
	return 0;
}
