/* The ADR algorithms. Cases: reference-system.md 8.2 (default: nothing to do, steps of rate and power, limits, negative
 * steps, bounds; LR-FHSS: ADR off, bound, the two code rates; both: LoRa or LR-FHSS), loss table, static history. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "network-server/domain/adr.h"

#define LORA_DRS 0x3Fu
#define LR_FHSS_DRS 0xF00u /* EU868 8..11 */

static struct ns_adr_entry history[NS_ADR_HISTORY];

/* n entries with this SNR, power and RSSI, each `gap` counters after the one before. */
static struct ns_adr_request heard(size_t n, int snr_ddb, uint8_t power, int16_t rssi, uint32_t gap)
{
	for (size_t i = 0; i < n; i++)
		history[i] = (struct ns_adr_entry){.f_cnt = (uint32_t)(i * gap),
						   .max_snr_ddb = (int16_t)snr_ddb,
						   .max_rssi_dbm = rssi,
						   .tx_power_index = power,
						   .gateway_count = 1};
	return (struct ns_adr_request){.adr = true,
				       .tx_power_index = power,
				       .nb_trans = 1,
				       .max_tx_power_index = 5,
				       .max_dr = 5,
				       .installation_margin_db = 10,
				       .region = lw_region_by_id(LW_REGION_EU868),
				       .enabled_drs = LORA_DRS,
				       .history = history,
				       .n_history = n};
}

static void expect(const char *id, const struct ns_adr_request *r, uint8_t dr, uint8_t power, uint8_t nb_trans)
{
	struct ns_adr_choice c;
	ns_adr_choose(ns_adr_find(id), r, &c);
	assert_int_equal(c.dr, dr);
	assert_int_equal(c.tx_power_index, power);
	assert_int_equal(c.nb_trans, nb_trans);
}

/* SNR that leaves `steps` steps of 3 dB above floor and margin of SF12. */
static int sf12(int steps)
{
	return -200 + 100 + 30 * steps;
}

static void steps_up(void **state)
{
	static const struct {
		uint8_t dr, power;
		int steps;
		uint8_t want_dr, want_power;
	} CASE[] = {
		{0, 0, 0, 0, 0},   /* nothing to do */
		{0, 0, 1, 1, 0},   /* one step of rate */
		{0, 0, 2, 2, 0},   /* two */
		{0, 0, 5, 5, 0},   /* up to the fastest */
		{0, 0, 6, 5, 1},   /* mixed */
		{0, 0, 8, 5, 3},   /* */
		{0, 0, 100, 5, 5}, /* no further than the weakest */
	};
	(void)state;
	for (size_t i = 0; i < sizeof(CASE) / sizeof(CASE[0]); i++) {
		struct ns_adr_request r = heard(1, sf12(CASE[i].steps), CASE[i].power, -60, 1);
		r.dr = CASE[i].dr;
		expect("default", &r, CASE[i].want_dr, CASE[i].want_power, 1);
	}
	/* 2.9 dB are no step */
	struct ns_adr_request r = heard(1, sf12(0) + 29, 0, -60, 1);
	expect("default", &r, 0, 0, 1);
	/* one step of power at the fastest rate; SF7 needs -7.5 dB */
	r = heard(1, -75 + 100 + 30, 0, -60, 1);
	r.dr = 5;
	expect("default", &r, 5, 1, 1);
	/* the best of the history counts */
	r = heard(10, sf12(0), 0, -60, 1);
	history[3].max_snr_ddb = (int16_t)sf12(2);
	expect("default", &r, 2, 0, 1);
}

static void steps_down(void **state)
{
	struct ns_adr_request r = heard(NS_ADR_HISTORY, -75 + 100 - 30, 3, -60, 1);
	(void)state;
	r.dr = 5;
	expect("default", &r, 5, 2, 1); /* more power, the rate stays */
	r = heard(NS_ADR_HISTORY, -75 + 100 - 300, 3, -60, 1);
	r.dr = 5;
	expect("default", &r, 5, 0, 1); /* ten steps */
	r = heard(NS_ADR_HISTORY, -75 + 100 - 300, 0, -60, 1);
	r.dr = 5;
	expect("default", &r, 5, 0, 1); /* never slower */
	r = heard(NS_ADR_HISTORY - 1, -75 + 100 - 30, 3, -60, 1);
	r.dr = 5;
	expect("default", &r, 5, 3, 1); /* not before the history is full */
	r = heard(NS_ADR_HISTORY, -75 + 100 - 30, 3, -60, 1);
	r.dr = 5;
	history[0].tx_power_index = 2;
	expect("default", &r, 5, 3, 1); /* nor with entries at another power in it */
}

static void bounds(void **state)
{
	struct ns_adr_request r = heard(1, sf12(0), 0, -60, 1);
	(void)state;
	r.dr = 5;
	r.max_dr = 3;
	expect("default", &r, 3, 0, 1); /* above the bound: back to it */
	r.adr = false;
	expect("default", &r, 5, 0, 1); /* the device decides */
	r = heard(1, sf12(20), 0, -60, 1);
	r.max_dr = 15;
	r.enabled_drs = 0x0F | 0xC0; /* SF7/250 and FSK are not counted */
	expect("default", &r, 3, 5, 1);
	r = heard(0, 0, 0, -60, 1);
	expect("default", &r, 0, 0, 1);
	assert_string_equal(ns_adr_find("")->id, "default");
	assert_string_equal(ns_adr_find("no such")->id, "default");
	r = heard(1, sf12(20), 0, -60, 1);
	expect("none", &r, 0, 0, 1);
}

/* Rows: below 5, 10, 30 per cent, more; columns: transmissions so far. */
/* Rates that the device does not have are passed over: as many steps as spreading factors, or none at all. */
static void gaps(void **state)
{
	struct ns_adr_request r = heard(1, sf12(4), 0, -60, 1);
	(void)state;
	r.enabled_drs = 1U << 0 | 1U << 3 | 1U << 5;
	expect("default", &r, 3, 0, 1); /* the fourth step does not reach DR5, and less power would never */
	r = heard(1, sf12(6), 0, -60, 1);
	r.enabled_drs = 1U << 0 | 1U << 3 | 1U << 5;
	expect("default", &r, 5, 1, 1);
	r = heard(1, sf12(2), 0, -60, 1);
	r.enabled_drs = 1U << 0 | 1U << 3 | 1U << 5;
	expect("default", &r, 0, 0, 1);
	r = heard(1, sf12(20), 0, -60, 1);
	r.enabled_drs = 1U << 0 | 1U << 3 | 1U << 5;
	r.max_dr = 4;
	expect("default", &r, 3, 5, 1); /* the bound itself is none of them */
	r = heard(1, sf12(6), 0, -60, 1);
	r.enabled_drs = LORA_DRS | 1U << 7 | LR_FHSS_DRS | 3U << 12; /* SF6 and SF5 are DR12 and DR13 */
	r.max_dr = 13;
	expect("default", &r, 12, 0, 1); /* over FSK and LR-FHSS in one step */
}

static void loss(void **state)
{
	static const uint8_t WANT[4][3] = {{1, 1, 2}, {1, 2, 3}, {2, 3, 3}, {3, 3, 3}};
	static const uint32_t LOST[4] = {0, 1, 2, 6};
	(void)state;
	for (unsigned row = 0; row < 4; row++)
		for (uint8_t nb = 1; nb <= 3; nb++) {
			struct ns_adr_request r = heard(NS_ADR_HISTORY, sf12(0), 0, -60, 1);
			history[NS_ADR_HISTORY - 1].f_cnt += LOST[row];
			r.nb_trans = nb;
			expect("default", &r, 0, 0, WANT[row][nb - 1]);
			r.n_history--; /* not full: nothing is lost */
			expect("default", &r, 0, 0, WANT[0][nb - 1]);
		}
	/* a counter that wraps or starts anew loses nothing */
	struct ns_adr_request r = heard(NS_ADR_HISTORY, sf12(0), 0, -60, 1);
	history[NS_ADR_HISTORY - 1].f_cnt = 0;
	expect("default", &r, 0, 0, 1);
}

static void lr_fhss(void **state)
{
	struct ns_adr_request r = heard(NS_ADR_HISTORY, 0, 3, -129, 1);
	(void)state;
	r.nb_trans = 3;
	r.max_dr = 11;
	r.enabled_drs = LORA_DRS | 0xC00; /* 10: 2/6, 11: 4/6 */
	r.adr = false;
	expect("lr_fhss", &r, 0, 3, 3);
	r.adr = true;
	expect("lr_fhss", &r, 11, 0, 1);
	r.n_history = NS_ADR_HISTORY - 1; /* not sure yet */
	expect("lr_fhss", &r, 10, 0, 1);
	r = heard(NS_ADR_HISTORY, 0, 3, -131, 1);
	r.max_dr = 11;
	r.enabled_drs = LORA_DRS | 0xC00;
	expect("lr_fhss", &r, 10, 0, 1); /* too weak for 4/6 */
	r.dr = 10;
	expect("lr_fhss", &r, 10, 3, 1); /* there already */
	r = heard(NS_ADR_HISTORY, 0, 3, -100, 1);
	r.max_dr = 11;
	r.enabled_drs = LORA_DRS | 0xC00;
	r.dr = 10;
	expect("lr_fhss", &r, 11, 0, 1); /* strong enough now */
	r.dr = 11;
	expect("lr_fhss", &r, 11, 3, 1);
	r.dr = 0;
	r.max_dr = 5;
	expect("lr_fhss", &r, 0, 3, 1); /* none within the bound */
	/* of equals, each is drawn */
	struct lw_rng rng;
	bool seen[LW_DR_COUNT] = {false};
	lw_rng_init_seeded(&rng, 1);
	r.max_dr = 11;
	r.enabled_drs = LR_FHSS_DRS;
	r.rng = &rng;
	for (unsigned i = 0; i < 100; i++) {
		struct ns_adr_choice c;
		ns_adr_choose(ns_adr_find("lr_fhss"), &r, &c);
		seen[c.dr] = true;
	}
	assert_true(!seen[8] && seen[9] && !seen[10] && seen[11]);
}

static void both(void **state)
{
	struct ns_adr_request r = heard(1, sf12(3), 0, -60, 1);
	(void)state;
	r.max_dr = 11;
	r.enabled_drs = LORA_DRS | 0xC00;
	expect("lora_lr_fhss", &r, 3, 0, 1); /* SF9 */
	r = heard(1, sf12(2), 0, -60, 1);
	r.max_dr = 11;
	r.enabled_drs = LORA_DRS | 0xC00;
	expect("lora_lr_fhss", &r, 10, 0, 1); /* SF10 would be slower */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_up), cmocka_unit_test(steps_down), cmocka_unit_test(bounds),
		cmocka_unit_test(loss),     cmocka_unit_test(lr_fhss),    cmocka_unit_test(both),
		cmocka_unit_test(gaps),
	};
	return cmocka_run_group_tests_name("adaptive data rate", tests, NULL, NULL);
}
