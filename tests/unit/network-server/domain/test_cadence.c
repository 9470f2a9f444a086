/* The rhythm of a device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "network-server/domain/cadence.h"

#define S INT64_C(1000000000)
#define T0 (INT64_C(1700000000) * S)

static void every_ten_minutes(void **state)
{
	(void)state;
	int64_t t[10];
	struct ns_cadence c;
	for (int i = 0; i < 10; i++)
		t[i] = T0 + i * 600 * S + (i % 3) * S;
	assert_true(ns_cadence_of(t, 10, t[9] + 100 * S, &c));
	assert_in_range(c.interval_ns / S, 598, 602);
	assert_true(c.last_ns == t[9]);
	assert_true(c.next_ns == t[9] + c.interval_ns);
	assert_int_equal(c.missing, 0);
	/* ten minutes and a bit: it may still come */
	assert_true(ns_cadence_of(t, 10, t[9] + 850 * S, &c));
	assert_int_equal(c.missing, 0);
	assert_true(ns_cadence_of(t, 10, t[9] + 910 * S, &c));
	assert_int_equal(c.missing, 1);
	assert_true(ns_cadence_of(t, 10, t[9] + 6 * 3600 * S, &c));
	assert_int_equal(c.missing, 35);
	/* a clock that was set back */
	assert_true(ns_cadence_of(t, 10, t[0], &c));
	assert_int_equal(c.missing, 0);
}

/* Lost ones in between change nothing: most intervals are the device's. */
static void with_gaps(void **state)
{
	(void)state;
	static const int at[] = {0, 1, 2, 5, 6, 7, 9, 10, 11, 12};
	int64_t t[10];
	struct ns_cadence c;
	for (int i = 0; i < 10; i++)
		t[i] = T0 + at[i] * 60 * S;
	assert_true(ns_cadence_of(t, 10, t[9] + 200 * S, &c));
	assert_int_equal(c.interval_ns / S, 60);
	assert_int_equal(c.missing, 2);
}

static void no_rhythm(void **state)
{
	(void)state;
	static const int at[] = {0, 1, 50, 55, 300, 2000, 2003, 2100, 9000};
	int64_t t[9];
	int64_t same[6] = {T0, T0, T0, T0, T0, T0};
	struct ns_cadence c;
	for (int i = 0; i < 9; i++)
		t[i] = T0 + at[i] * S;
	assert_false(ns_cadence_of(t, 9, t[8] + S, &c));
	assert_false(ns_cadence_of(t, NS_CADENCE_MIN - 1, t[8], &c));
	assert_false(ns_cadence_of(t, 0, t[8], &c));
	assert_false(ns_cadence_of(same, 6, T0 + S, &c));
}

/* Only the last ones count. */
static void a_new_rhythm(void **state)
{
	(void)state;
	int64_t t[2 * NS_CADENCE_MAX];
	struct ns_cadence c;
	for (int i = 0; i < NS_CADENCE_MAX; i++)
		t[i] = T0 + i * 3600 * S;
	for (int i = NS_CADENCE_MAX; i < 2 * NS_CADENCE_MAX; i++)
		t[i] = t[i - 1] + 30 * S;
	assert_true(ns_cadence_of(t, 2 * NS_CADENCE_MAX, t[2 * NS_CADENCE_MAX - 1], &c));
	assert_int_equal(c.interval_ns / S, 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_ten_minutes),
		cmocka_unit_test(with_gaps),
		cmocka_unit_test(no_rhythm),
		cmocka_unit_test(a_new_rhythm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
