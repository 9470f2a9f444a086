/* Settings of a profile: taken as they are, or refused as a whole with the member that is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "network-server/domain/mac_settings.h"

static void adr(void **state)
{
	Longwave__Ns__V1__AdrSettings in = LONGWAVE__NS__V1__ADR_SETTINGS__INIT;
	Longwave__Ns__V1__DataRateRange range = LONGWAVE__NS__V1__DATA_RATE_RANGE__INIT;
	struct ns_adr_settings out;
	(void)state;
	assert_null(ns_adr_settings_from_pb(NULL, &out));
	assert_int_equal(out.mode, NS_ADR_DYNAMIC);
	assert_false(out.has_bounds);
	in.mode = LONGWAVE__NS__V1__ADR_SETTINGS__MODE__STATIC;
	in.dr = 4;
	in.tx_power_index = 2;
	in.nb_trans = 3;
	range.max_dr = 5;
	range.min_dr = 1;
	in.bounds = &range;
	assert_null(ns_adr_settings_from_pb(&in, &out));
	assert_int_equal(out.mode, NS_ADR_STATIC);
	assert_int_equal(out.dr, 4);
	assert_int_equal(out.tx_power_index, 2);
	assert_int_equal(out.nb_trans, 3);
	assert_true(out.has_bounds && out.min_dr == 1 && out.max_dr == 5);
	range.min_dr = 6;
	assert_non_null(ns_adr_settings_from_pb(&in, &out));
	assert_int_equal(out.mode, NS_ADR_DYNAMIC);
	range.min_dr = 1;
	range.max_dr = 16;
	assert_non_null(ns_adr_settings_from_pb(&in, &out));
	range.max_dr = 5;
	in.tx_power_index = 16;
	assert_non_null(ns_adr_settings_from_pb(&in, &out));
	in.tx_power_index = 0;
	in.mode = (Longwave__Ns__V1__AdrSettings__Mode)3;
	assert_non_null(ns_adr_settings_from_pb(&in, &out));
}

static void mac(void **state)
{
	const struct lw_region *eu = lw_region_by_id(LW_REGION_EU868);
	Longwave__Ns__V1__MacSettings in = LONGWAVE__NS__V1__MAC_SETTINGS__INIT;
	Longwave__Ns__V1__DutyCycle duty = LONGWAVE__NS__V1__DUTY_CYCLE__INIT;
	Longwave__Ns__V1__AdrAckParams ack = LONGWAVE__NS__V1__ADR_ACK_PARAMS__INIT;
	Longwave__Ns__V1__TxParams tx = LONGWAVE__NS__V1__TX_PARAMS__INIT;
	Longwave__Ns__V1__RejoinParams rejoin = LONGWAVE__NS__V1__REJOIN_PARAMS__INIT;
	Longwave__Ns__V1__DownlinkChannel ch = LONGWAVE__NS__V1__DOWNLINK_CHANNEL__INIT;
	Longwave__Ns__V1__DownlinkChannel *list[9];
	struct ns_mac_settings out, none = {0};
	(void)state;
	assert_null(ns_mac_settings_from_pb(NULL, eu, &out));
	assert_null(ns_mac_settings_from_pb(&in, eu, &out));
	assert_memory_equal(&out, &none, sizeof(out));
	for (unsigned i = 0; i < 9; i++)
		list[i] = &ch;
	in.duty_cycle = &duty;
	in.adr_ack = &ack;
	in.tx_params = &tx;
	in.rejoin = &rejoin;
	in.downlink_channels = list;
	in.n_downlink_channels = 2;
	in.beacon_freq_hz = 869525000;
	duty.max_duty_cycle = 15;
	ack.limit_exp = 15;
	ack.delay_exp = 14;
	tx.downlink_dwell_time_400ms = true;
	tx.max_eirp_dbm = 36;
	rejoin.max_time_n = 15;
	rejoin.max_count_n = 3;
	ch.index = 15;
	ch.freq_hz = 867100000;
	assert_null(ns_mac_settings_from_pb(&in, eu, &out));
	assert_true(out.has_duty_cycle && out.max_duty_cycle == 15);
	assert_true(out.has_adr_ack && out.adr_ack_limit_exp == 15 && out.adr_ack_delay_exp == 14);
	assert_true(out.has_tx_params && out.downlink_dwell_400ms && !out.uplink_dwell_400ms);
	assert_int_equal(out.max_eirp_dbm, 36);
	assert_true(out.has_rejoin && out.rejoin_max_time_n == 15 && out.rejoin_max_count_n == 3);
	assert_int_equal(out.n_dl_channels, 2);
	assert_int_equal(out.dl_channels[1].index, 15);
	/* one above the range of each */
#define REFUSED(member, bad, good, word)                                                                               \
	do {                                                                                                           \
		(member) = (bad);                                                                                      \
		const char *why = ns_mac_settings_from_pb(&in, eu, &out);                                              \
		assert_non_null(why);                                                                                  \
		assert_non_null(strstr(why, word));                                                                    \
		assert_false(out.has_duty_cycle);                                                                      \
		(member) = (good);                                                                                     \
	} while (0)
	REFUSED(duty.max_duty_cycle, 16, 15, "duty_cycle");
	REFUSED(ack.limit_exp, 16, 15, "adr_ack");
	REFUSED(ack.delay_exp, 16, 15, "adr_ack");
	REFUSED(tx.max_eirp_dbm, 37, 36, "eirp");
	REFUSED(tx.max_eirp_dbm, 7, 8, "eirp");
	REFUSED(rejoin.max_time_n, 16, 15, "rejoin");
	REFUSED(rejoin.max_count_n, 16, 15, "rejoin");
	REFUSED(in.beacon_freq_hz, 915000000, 0, "beacon");
	REFUSED(ch.index, 16, 15, "downlink_channels");
	REFUSED(ch.freq_hz, 915000000, 867100000, "downlink_channels");
	REFUSED(in.n_downlink_channels, 9, 8, "downlink_channels");
	assert_null(ns_mac_settings_from_pb(&in, eu, &out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adr),
		cmocka_unit_test(mac),
	};
	return cmocka_run_group_tests_name("profile settings", tests, NULL, NULL);
}
