/* The memory of what the broker acknowledged: order, bounds, walks. */
#include "gateway-bridge/domain/recent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void add(struct gb_recent *r, unsigned i, size_t size, uint64_t epoch, int64_t at_ms)
{
	char topic[40];
	uint8_t *payload = calloc(1, size + 4);
	snprintf(topic, sizeof(topic), "eu868/gateway/%u/event/up", i);
	memcpy(payload, &i, sizeof(i));
	gb_recent_add(r, topic, lw_span(payload, size + 4), epoch, at_ms);
	free(payload);
}

static unsigned number_in(const struct gb_recent_entry *e)
{
	unsigned i;
	char topic[40];
	assert_true(e->payload.n >= sizeof(i));
	memcpy(&i, e->payload.p, sizeof(i));
	snprintf(topic, sizeof(topic), "eu868/gateway/%u/event/up", i);
	assert_string_equal(e->topic, topic);
	return i;
}

static void first_in_first_out_over_many_blocks(void **state)
{
	(void)state;
	struct gb_recent r;
	gb_recent_init(&r);
	assert_true(gb_recent_empty(&r));
	assert_int_equal(gb_recent_oldest_ms(&r), INT64_MAX);
	for (unsigned i = 0; i < 5000; i++)
		add(&r, i, i % 700, i / 1000, 1000 + i);
	add(&r, 5000, 600000, 5, 6000); /* longer than a block */
	add(&r, 5001, 3, 5, 6001);
	struct gb_recent_cursor c = gb_recent_seek(&r, 0);
	struct gb_recent_entry e;
	for (unsigned i = 0; i < 5002; i++) {
		assert_true(gb_recent_walk(&r, &c, &e));
		assert_int_equal(number_in(&e), i);
		assert_int_equal(e.number, i);
		assert_int_equal(e.epoch, i / 1000);
	}
	assert_false(gb_recent_walk(&r, &c, &e));
	/* A walk that has ended sees what comes later. */
	add(&r, 5002, 9, 6, 6002);
	assert_true(gb_recent_walk(&r, &c, &e));
	assert_int_equal(number_in(&e), 5002);
	gb_recent_deinit(&r);
	assert_int_equal(r.bytes, 0);
}

static void age_and_order_of_forgetting(void **state)
{
	(void)state;
	struct gb_recent r;
	gb_recent_init(&r);
	for (unsigned i = 0; i < 4000; i++)
		add(&r, i, 300, 0, i);
	size_t full = r.bytes;
	gb_recent_forget_before(&r, 3000);
	assert_int_equal(gb_recent_oldest_ms(&r), 3000);
	assert_true(r.bytes < full / 2);
	gb_recent_forget_oldest(&r);
	assert_int_equal(gb_recent_oldest_ms(&r), 3001);
	gb_recent_forget_before(&r, INT64_MAX);
	assert_true(gb_recent_empty(&r));
	assert_int_equal(r.bytes, 0);
	gb_recent_forget_oldest(&r); /* harmless */
	/* A walk begun on nothing. */
	struct gb_recent_cursor c = gb_recent_seek(&r, 7);
	struct gb_recent_entry e;
	assert_false(gb_recent_walk(&r, &c, &e));
	add(&r, 1, 3, 7, 5);
	assert_true(gb_recent_walk(&r, &c, &e));
	assert_int_equal(number_in(&e), 1);
	gb_recent_deinit(&r);
}

static void a_walk_begins_at_an_epoch(void **state)
{
	(void)state;
	struct gb_recent r;
	struct gb_recent_entry e;
	gb_recent_init(&r);
	for (unsigned i = 0; i < 3000; i++)
		add(&r, i, 200, i / 100, i);
	struct gb_recent_cursor c = gb_recent_seek(&r, 17);
	assert_true(gb_recent_walk(&r, &c, &e));
	assert_int_equal(number_in(&e), 1700);
	c = gb_recent_seek(&r, 30);
	assert_false(gb_recent_walk(&r, &c, &e));
	gb_recent_renew(&r, 12, 30, 99999);
	c = gb_recent_seek(&r, 30);
	assert_true(gb_recent_walk(&r, &c, &e));
	assert_int_equal(number_in(&e), 1200);
	assert_int_equal(gb_recent_oldest_ms(&r), 0);
	assert_int_equal(e.at_ms, 99999);
	gb_recent_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_in_first_out_over_many_blocks),
		cmocka_unit_test(age_and_order_of_forgetting),
		cmocka_unit_test(a_walk_begins_at_an_epoch),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
