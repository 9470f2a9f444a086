#include "common/io/journal_writer.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/xmalloc.h"

#define LONG_MS 60000

struct rig {
	char dir[64];
	struct rt_loop *loop;
	struct journal *j;
	struct journal_writer *w;
	uint64_t want; /* durable up to here: flag */
	bool flag;
	size_t n_written, n_failed, n_replayed;
	uint64_t last;
};

static void on_written(void *arg, int err)
{
	struct rig *r = arg;
	r->n_written += err == 0;
	r->n_failed += err != 0;
	r->flag = err == 0 && journal_durable(r->j) >= r->want;
}

static void open_rig(struct rig *r, bool sync, uint64_t segment_bytes)
{
	struct lw_diag d = {0};
	struct journal_opts o = {.dir = r->dir, .segment_bytes = segment_bytes, .fdatasync = sync};
	assert_int_equal(journal_open(&r->j, &o, &d), 0);
	assert_int_equal(journal_writer_new(&r->w, r->loop, r->j, !sync, on_written, r, &d), 0);
}

static void close_rig(struct rig *r)
{
	journal_writer_free(r->w);
	journal_close(r->j);
}

static int setup(void **state)
{
	struct rig *r = lw_xcalloc(1, sizeof(*r));
	strcpy(r->dir, "/tmp/lw_jwriter_XXXXXX");
	r->loop = rt_loop_new();
	*state = r;
	return mkdtemp(r->dir) ? 0 : -1;
}

static int teardown(void **state)
{
	struct rig *r = *state;
	char cmd[128];
	rt_loop_free(r->loop);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", r->dir);
	int rc = system(cmd);
	free(r);
	return rc;
}

static uint64_t append(struct rig *r)
{
	uint64_t position = 0;
	assert_int_equal(journal_append(r->j, lw_span("record", 6), &position), 0);
	return position;
}

static int on_record(void *arg, uint64_t position, struct lw_span record)
{
	struct rig *r = arg;
	(void)record;
	assert_true(position > r->last);
	r->last = position;
	r->n_replayed++;
	return 0;
}

static void replay(struct rig *r)
{
	r->last = r->n_replayed = 0;
	assert_int_equal(journal_replay(r->j, on_record, r), 0);
}

/* While one commit is under way any number is asked for: one more is made of them. */
static void one_at_a_time_and_the_rest_together(void **state)
{
	struct rig *r = *state;
	open_rig(r, true, 0);
	append(r);
	journal_writer_commit(r->w);
	for (int i = 0; i < 100; i++) {
		r->want = append(r);
		journal_writer_commit(r->w);
	}
	assert_int_equal(journal_durable(r->j), 0); /* nothing without the loop */
	assert_true(rt_loop_run_until(r->loop, &r->flag, LONG_MS));
	assert_int_equal(r->n_written, 2);
	assert_int_equal(journal_durable(r->j), r->want);
	close_rig(r);
	open_rig(r, true, 0);
	replay(r);
	assert_int_equal(r->n_replayed, 101);
	close_rig(r);
}

static void wait_for(struct rig *r, uint64_t position)
{
	r->want = position;
	r->flag = false;
	journal_writer_commit(r->w);
	assert_true(rt_loop_run_until(r->loop, &r->flag, LONG_MS));
}

/* However soon the next is asked for: one sync serves what comes within five milliseconds. */
static void commits_keep_apart(void **state)
{
	struct rig *r = *state;
	open_rig(r, true, 0);
	wait_for(r, append(r));
	int64_t before = rt_loop_mono_ns(r->loop);
	for (int i = 0; i < 10; i++)
		wait_for(r, append(r));
	assert_true(rt_loop_mono_ns(r->loop) - before >= 45 * LW_NS_PER_MS);
	append(r);
	journal_writer_commit(r->w); /* waits, and the end comes first */
	assert_int_equal(journal_writer_finish(r->w), 0);
	assert_int_equal(journal_durable(r->j), journal_appended(r->j));
	close_rig(r);
}

/* Segments are begun and deleted while commits are under way. */
static void files_come_and_go(void **state)
{
	struct rig *r = *state;
	open_rig(r, true, 200);
	uint64_t before = 0;
	for (int i = 0; i < 300; i++) {
		uint64_t p = append(r);
		journal_writer_commit(r->w);
		if (before)
			journal_done(r->j, before);
		before = p;
		if (i % 3 == 0) {
			r->want = p;
			r->flag = false;
			assert_true(rt_loop_run_until(r->loop, &r->flag, LONG_MS));
		}
	}
	assert_int_equal(journal_writer_finish(r->w), 0);
	assert_int_equal(journal_durable(r->j), before);
	struct journal_stats st;
	journal_stats(r->j, &st);
	assert_true(st.segments <= 3);
	close_rig(r);
	open_rig(r, true, 200);
	replay(r);
	assert_int_equal(r->n_replayed, 1);
	close_rig(r);
}

/* An end in the middle loses nothing, whether it is orderly or not. */
static void the_end_waits_for_what_is_under_way(void **state)
{
	struct rig *r = *state;
	open_rig(r, true, 0);
	append(r);
	journal_writer_commit(r->w);
	append(r);
	assert_int_equal(journal_writer_finish(r->w), 0);
	assert_int_equal(journal_durable(r->j), journal_appended(r->j));
	close_rig(r);
	open_rig(r, true, 0);
	replay(r);
	assert_int_equal(r->n_replayed, 2);
	append(r);
	journal_writer_commit(r->w);
	append(r);
	close_rig(r);
	open_rig(r, true, 0);
	replay(r);
	assert_int_equal(r->n_replayed, 4);
	assert_int_equal(r->n_written, 0);
	close_rig(r);
}

static void limit_files(rlim_t bytes)
{
	struct rlimit l;
	getrlimit(RLIMIT_FSIZE, &l);
	l.rlim_cur = bytes;
	setrlimit(RLIMIT_FSIZE, &l);
}

/* A disk that is full for a while: said so, nothing counts as durable, and it goes on by itself. */
static void failed_commit_is_tried_again(struct rig *r, bool sync)
{
	open_rig(r, sync, 0);
	signal(SIGXFSZ, SIG_IGN);
	limit_files(10);
	r->want = append(r);
	journal_writer_commit(r->w);
	for (int i = 0; i < 10000 && r->n_failed < 2; i++) {
		bool never = false;
		journal_writer_commit(r->w);
		rt_loop_run_until(r->loop, &never, 2);
	}
	assert_true(r->n_failed >= 2);
	assert_int_equal(r->n_written, 0);
	assert_int_equal(journal_durable(r->j), 0);
	limit_files(RLIM_INFINITY);
	append(r);
	assert_true(rt_loop_run_until(r->loop, &r->flag, LONG_MS));
	assert_int_equal(journal_durable(r->j), journal_appended(r->j));
	close_rig(r);
	open_rig(r, sync, 0);
	replay(r);
	assert_int_equal(r->n_replayed, 2);
	close_rig(r);
}

static void failed_commit_of_the_thread(void **state)
{
	failed_commit_is_tried_again(*state, true);
}

static void failed_commit_on_the_loop(void **state)
{
	failed_commit_is_tried_again(*state, false);
}

static void without_sync_it_is_done_at_once(void **state)
{
	struct rig *r = *state;
	open_rig(r, false, 0);
	r->want = append(r);
	journal_writer_commit(r->w);
	assert_int_equal(r->n_written, 1);
	assert_int_equal(journal_durable(r->j), r->want);
	close_rig(r);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(one_at_a_time_and_the_rest_together), T(commits_keep_apart),          T(files_come_and_go),
		T(the_end_waits_for_what_is_under_way), T(failed_commit_of_the_thread), T(failed_commit_on_the_loop),
		T(without_sync_it_is_done_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
