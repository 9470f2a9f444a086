#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/hex.h"
#include "gateway-bridge/domain/filter.h"

static bool passes(const struct gb_filter *f, const char *hex)
{
	uint8_t phy[64];
	int n = lw_hex_decode(hex, strlen(hex), phy, sizeof(phy));
	assert_true(n > 0);
	return gb_filter_pass(f, lw_span(phy, (size_t)n));
}

#define DATA_NET_1 "40a4f3010380290002a596112841"                 /* DevAddr 0301f3a4: NetID 000001 */
#define DATA_NET_0 "40a4f3010180290002a596112841"                 /* DevAddr 0101f3a4: NetID 000000 */
#define JOIN_1 "0001000000000000000200000000000000030004050607"   /* JoinEUI 0000000000000001 */
#define JOIN_FAR "0001000000000000010200000000000000030004050607" /* JoinEUI 0100000000000001 */

static void test_net_ids(void **state)
{
	(void)state;
	struct gb_filter f;
	char *ids[] = {"000001", "000013"};
	assert_int_equal(gb_filter_init(&f, ids, 2, NULL, 0, NULL), 0);
	assert_true(passes(&f, DATA_NET_1));
	assert_false(passes(&f, DATA_NET_0));
	/* Not concerned. */
	assert_true(passes(&f, JOIN_FAR));
	assert_true(passes(&f, "e00102"));
	assert_true(passes(&f, "40"));
	gb_filter_deinit(&f);
}

static void test_join_euis(void **state)
{
	(void)state;
	struct gb_filter f;
	char *ranges[] = {"0000000000000001-00000000000000ff", "70b3d57ed0000000"};
	assert_int_equal(gb_filter_init(&f, NULL, 0, ranges, 2, NULL), 0);
	assert_true(passes(&f, JOIN_1));
	assert_false(passes(&f, JOIN_FAR));
	assert_true(passes(&f, DATA_NET_0));
	gb_filter_deinit(&f);
}

static void test_no_filter(void **state)
{
	(void)state;
	struct gb_filter f;
	assert_int_equal(gb_filter_init(&f, NULL, 0, NULL, 0, NULL), 0);
	assert_true(passes(&f, DATA_NET_0));
	assert_true(passes(&f, JOIN_FAR));
	gb_filter_deinit(&f);
}

static void test_wrong_settings(void **state)
{
	(void)state;
	struct gb_filter f;
	struct lw_diag diag = {{0}};
	char *bad_id[] = {"01"}, *bad_range[] = {"0000000000000001-xx"},
	     *turned[] = {"0000000000000002-0000000000000001"};
	assert_int_equal(gb_filter_init(&f, bad_id, 1, NULL, 0, &diag), LW_EINVAL);
	assert_non_null(strstr(diag.text, "filters.net_ids"));
	assert_int_equal(gb_filter_init(&f, NULL, 0, bad_range, 1, &diag), LW_EINVAL);
	assert_non_null(strstr(diag.text, "filters.join_euis"));
	assert_int_equal(gb_filter_init(&f, NULL, 0, turned, 1, &diag), LW_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_net_ids),
		cmocka_unit_test(test_join_euis),
		cmocka_unit_test(test_no_filter),
		cmocka_unit_test(test_wrong_settings),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
