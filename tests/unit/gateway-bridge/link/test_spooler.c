/* The spool on its thread: rounds, their results, the end in the middle of one. */
#include "gateway-bridge/link/spooler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LONG_MS 20000

struct rig {
	struct rt_loop *loop;
	struct gb_spooler *s;
	bool done;
};

static void on_done(void *arg)
{
	((struct rig *)arg)->done = true;
}

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct lw_diag d = {0};
	r->loop = rt_loop_new();
	*state = r;
	return gb_spooler_new(&r->s, r->loop, &(struct spool_opts){.path = ":memory:", .max_bytes = 1 << 20}, on_done,
			      r, &d);
}

static int teardown(void **state)
{
	struct rig *r = *state;
	gb_spooler_free(r->s);
	rt_loop_free(r->loop);
	free(r);
	return 0;
}

static void round_of(struct rig *r, struct gb_spool_job *jobs, size_t n)
{
	r->done = false;
	gb_spooler_run(r->s, jobs, n);
	assert_true(gb_spooler_busy(r->s));
	assert_true(rt_loop_run_until(r->loop, &r->done, LONG_MS));
	assert_false(gb_spooler_busy(r->s));
}

static void add(struct gb_spool_job *j, const char *topic, const char *data)
{
	gb_spool_job_add(j, lw_span_str(topic), lw_span_str(data));
}

static void expect(const struct gb_spool_job *j, size_t i, const char *topic, const char *data)
{
	const struct gb_spool_peeked *p = &j->peeked[i];
	assert_true(lw_span_eq_str(lw_span(j->bytes.p + p->topic_at, p->topic_n), topic));
	assert_true(lw_span_eq_str(lw_span(j->bytes.p + p->data_at, p->data_n), data));
}

static void written_read_and_forgotten(void **state)
{
	struct rig *r = *state;
	struct gb_spool_job j[2];
	gb_spool_job_init(&j[0], "a");
	gb_spool_job_init(&j[1], "b");
	/* Written and read in one round; queues do not mix. */
	add(&j[0], "t1", "one");
	add(&j[0], "t2", "");
	add(&j[1], "t3", "three");
	j[0].peek = 10;
	j[1].now_ns = j[0].now_ns = 1;
	round_of(r, j, 2);
	assert_int_equal(j[0].n_peeked, 2);
	expect(&j[0], 0, "t1", "one");
	expect(&j[0], 1, "t2", "");
	assert_int_equal(j[1].n_peeked, 0);
	assert_int_equal(j[0].stats.items, 2);
	uint64_t first = j[0].peeked[0].id;
	gb_spool_job_reset(&j[0]);
	gb_spool_job_reset(&j[1]);
	/* Forgotten before it is read again. */
	j[0].ack = first;
	j[0].peek = j[1].peek = 1;
	round_of(r, j, 2);
	assert_int_equal(j[0].n_peeked, 1);
	expect(&j[0], 0, "t2", "");
	expect(&j[1], 0, "t3", "three");
	gb_spool_job_deinit(&j[0]);
	gb_spool_job_deinit(&j[1]);
}

static void what_does_not_fit_is_said(void **state)
{
	struct rig *r = *state;
	struct gb_spool_job j;
	char big[600] = "";
	memset(big, 'x', sizeof(big) - 1);
	gb_spool_job_init(&j, "a");
	for (int i = 0; i < 3000; i++) /* twice what the spool holds */
		add(&j, "t", big);
	char *endless = calloc(1, 2000);
	memset(endless, 't', 1999);
	add(&j, endless, "");
	round_of(r, &j, 1);
	assert_true(j.append_err < 0); /* the part with the absurd topic */
	assert_true(j.lost > 0 && j.lost <= 256);
	assert_true(j.dropped > 1000);
	assert_int_equal(j.stats.items + j.dropped + j.lost, 3001);
	free(endless);
	gb_spool_job_deinit(&j);
}

/* The round that is under way is done, and its result is there without the loop. */
static void the_end_waits_for_the_round(void **state)
{
	struct rig *r = *state;
	struct gb_spool_job j;
	gb_spool_job_init(&j, "a");
	for (int i = 0; i < 1000; i++)
		add(&j, "t", "d");
	gb_spooler_run(r->s, &j, 1);
	gb_spooler_stop(r->s);
	assert_int_equal(j.stats.items, 1000);
	gb_spool_job_reset(&j);
	add(&j, "t", "last");
	gb_spooler_run_here(r->s, &j, 1);
	assert_int_equal(j.stats.items, 1001);
	gb_spool_job_deinit(&j);
}

#define TEST(x) cmocka_unit_test_setup_teardown(x, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(written_read_and_forgotten),
		TEST(what_does_not_fit_is_said),
		TEST(the_end_waits_for_the_round),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
