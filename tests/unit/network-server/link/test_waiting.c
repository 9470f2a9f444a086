/* Between broker and flows, on the virtual clock: order, what passes, what is shed and what never is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"
#include "network-server/link/waiting.h"

#define MAX 1000
#define AFTER_MS 3000
#define SEEN 100000

struct world {
	struct rt_loop *loop;
	struct rt_log *log;
	struct rt_metrics *metrics;
	struct ns_waiting *w;
	size_t room;
	uint64_t taken[SEEN];
	bool replay[SEEN];
	size_t n_taken, n_urgent, n_shed, n_full, first_undone;
	uint64_t last_shed, next;
	bool full;
};

static int take(void *arg, const struct ns_gw_message *m)
{
	struct world *w = arg;
	if (m->is_urgent) {
		w->n_urgent++;
		return 0;
	}
	if (w->room == 0)
		return LW_EFULL;
	w->room--;
	if (m->kind != NS_GW_UP)
		return 0;
	w->replay[w->n_taken] = m->is_replay;
	w->taken[w->n_taken++] = m->journal_position;
	return 0;
}

static void on_full(void *arg, bool full)
{
	struct world *w = arg;
	assert_true(w->full != full);
	w->full = full;
	w->n_full += full;
}

static void on_shed(void *arg, const struct ns_gw_message *m)
{
	struct world *w = arg;
	assert_true(m->journal_position > w->last_shed); /* the oldest first */
	w->last_shed = m->journal_position;
	w->n_shed++;
}

static void start(struct world *w, uint32_t after_ms)
{
	ns_waiting_free(w->w);
	rt_metrics_free(w->metrics);
	w->metrics = rt_metrics_new("t_");
	w->w = ns_waiting_new(&(struct ns_waiting_opts){.loop = w->loop,
							.log = w->log,
							.metrics = w->metrics,
							.max = MAX,
							.shed_after_ms = after_ms,
							.take = take,
							.full = on_full,
							.shed = on_shed,
							.arg = w});
}

static int setup(void **state)
{
	struct world *w = lw_xcalloc(1, sizeof(*w));
	w->loop = rt_loop_new_virtual(1700000000000000000);
	w->log = rt_log_new(2, RT_LOG_TEXT, RT_OFF);
	start(w, AFTER_MS);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	ns_waiting_free(w->w);
	rt_metrics_free(w->metrics);
	rt_loop_free(w->loop);
	rt_log_free(w->log);
	free(w);
	return 0;
}

static void put(struct world *w, enum ns_gw_event kind, const char *bytes, bool has_past)
{
	struct ns_gw_message m = {.kind = kind, .payload = lw_span_str(bytes)};
	if (kind == NS_GW_UP)
		m.journal_position = ++w->next;
	ns_waiting_put(w->w, &m, has_past);
}

static const char DATA[] = "\x0a\x05\x40zzzz", JOIN[] = "\x0a\x05\x01zzzz"; /* MHDR 0x00 would end the text */

/* So many data frames come in and so many are dealt with, each 100 ms. */
static void run(struct world *w, unsigned ms, unsigned in, unsigned out, bool has_past)
{
	for (unsigned t = 0; t < ms; t += 100) {
		for (unsigned i = 0; i < in; i++)
			put(w, NS_GW_UP, DATA, has_past);
		for (unsigned i = 0; i < out && w->first_undone < w->n_taken; i++)
			ns_waiting_done(w->w, w->taken[w->first_undone++]);
		w->room += out;
		if (w->room > 50)
			w->room = 50;
		ns_waiting_room(w->w);
		rt_loop_advance(w->loop, 100);
	}
}

static void assert_in_order(const struct world *w)
{
	for (size_t i = 1; i < w->n_taken; i++)
		assert_true(w->taken[i] > w->taken[i - 1]);
}

static void in_order(void **state)
{
	struct world *w = *state;
	run(w, 10000, 40, 50, false);
	run(w, 1000, 80, 50, false);
	run(w, 10000, 40, 50, false);
	assert_in_order(w);
	assert_int_equal(w->n_shed, 0);
	assert_int_equal(w->n_taken, w->next);
}

/* Three times what is carried: as much as before is carried, the rest is shed, and it is over when the load is. */
static void overload(void **state)
{
	struct world *w = *state;
	run(w, 60000, 30, 10, false);
	assert_in_order(w);
	assert_in_range(w->n_taken, 5900, 6100);
	assert_true(w->n_shed > 11000);
	assert_int_equal(w->n_full, 0);
	size_t before = w->n_shed, taken = w->n_taken;
	run(w, 10000, 8, 50, false);
	assert_true(w->n_shed - before <= 10);
	assert_int_equal(w->n_taken + w->n_shed, w->next);
	assert_true(w->n_taken > taken);
}

static void joins_and_acknowledgements_pass(void **state)
{
	struct world *w = *state;
	run(w, 10000, 30, 10, false);
	assert_true(w->n_shed > 0);
	size_t taken = w->n_taken;
	w->room = 0;
	for (int i = 0; i < 100; i++) {
		put(w, NS_GW_UP, JOIN, false);
		put(w, NS_GW_ACK, "ack", false);
	}
	assert_int_equal(w->n_urgent, 200);
	assert_int_equal(w->n_taken, taken);
}

/* The database is away, then comes back to more than may wait: nothing is lost, the broker has to keep it. */
static void an_outage_sheds_nothing(void **state)
{
	struct world *w = *state;
	run(w, 1000, 30, 40, false);
	for (unsigned t = 0; t < 60000; t += 100)
		run(w, 100, w->full ? 0 : 30, 0, false);
	assert_true(w->full);
	for (unsigned t = 0; t < 60000; t += 100)
		run(w, 100, w->full ? 0 : 30, 40, false);
	assert_false(w->full);
	assert_int_equal(w->n_shed, 0);
	assert_int_equal(w->n_taken, w->next);
	assert_in_order(w);
}

static void frames_that_the_store_refused_go_again(void **state)
{
	struct world *w = *state;
	run(w, 1000, 10, 10, false);
	size_t n = w->n_taken;
	run(w, 100, 3, 0, false);
	for (size_t i = n; i < w->n_taken; i++)
		ns_waiting_retry(w->w, w->taken[i]);
	ns_waiting_retry(w->w, 0);
	size_t again = w->n_taken;
	w->room = 50;
	rt_loop_advance(w->loop, 600);
	assert_int_equal(w->n_taken, again + (again - n));
	for (size_t i = again; i < w->n_taken; i++)
		assert_true(w->replay[i] && w->taken[i] == w->taken[n + i - again]);
}

/* After a reconnection the broker brings ten minutes at once. */
static void what_the_broker_kept_is_safe(void **state)
{
	struct world *w = *state;
	ns_waiting_reconnected(w->w);
	for (unsigned t = 0; t < 120000; t += 100)
		run(w, 100, w->full ? 0 : 300, 10, false);
	assert_true(w->n_full > 0);
	assert_int_equal(w->n_shed, 0);
	run(w, 20000, 0, 50, false);
	/* worked off: from here it is overload */
	run(w, 20000, 30, 10, false);
	assert_true(w->n_shed > 0);
}

static void a_spool_is_safe(void **state)
{
	struct world *w = *state;
	for (unsigned t = 0; t < 30000; t += 100)
		run(w, 100, w->full ? 0 : 100, 10, true);
	for (unsigned t = 0; t < 30000; t += 100)
		run(w, 100, w->full ? 0 : 8, 30, false);
	assert_int_equal(w->n_shed, 0);
	assert_int_equal(w->n_taken, w->next);
}

static void never_where_configured(void **state)
{
	struct world *w = *state;
	start(w, 0);
	for (unsigned t = 0; t < 60000; t += 100)
		run(w, 100, w->full ? 0 : 30, 10, false);
	assert_true(w->n_full > 0);
	assert_int_equal(w->n_shed, 0);
}

static void types(void **state)
{
	(void)state;
	assert_int_equal(ns_peek_mtype(lw_span_str("\x0a\x01\x40")), 2);
	assert_int_equal(ns_peek_mtype(lw_span((const uint8_t *)"\x0a\x17\x00", 3)), 0);
	assert_int_equal(ns_peek_mtype(lw_span((const uint8_t *)"\x0a\xc8\x01\xc0", 4)), 6);
	assert_int_equal(ns_peek_mtype(lw_span((const uint8_t *)"\x0a\xc8\x01", 3)), -1);
	assert_int_equal(ns_peek_mtype(lw_span((const uint8_t *)"\x0a\x00", 2)), -1);
	assert_int_equal(ns_peek_mtype(lw_span((const uint8_t *)"\x0a\x00\x40", 3)), -1);
	assert_int_equal(ns_peek_mtype(lw_span(NULL, 0)), -1);
	assert_int_equal(ns_peek_mtype(lw_span_str("{\"phyPayload\":\"AAEC\"}")), 0);
	assert_int_equal(ns_peek_mtype(lw_span_str("{ \"phyPayload\" : \"gAEC\"}")), 4);
	assert_int_equal(ns_peek_mtype(lw_span_str("{\"phyPayload\":\"g")), -1);
	assert_int_equal(ns_peek_mtype(lw_span_str("{\"phyPayload\":5555555}")), -1);
	assert_int_equal(ns_peek_mtype(lw_span_str("{\"txInfo\":{}}")), -1);
}

#define TEST(x) cmocka_unit_test_setup_teardown(x, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(in_order),
		TEST(overload),
		TEST(joins_and_acknowledgements_pass),
		TEST(an_outage_sheds_nothing),
		TEST(frames_that_the_store_refused_go_again),
		TEST(what_the_broker_kept_is_safe),
		TEST(a_spool_is_safe),
		TEST(never_where_configured),
		TEST(types),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
