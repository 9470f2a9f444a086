#include "common/io/spool.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"

struct rig {
	char dir[64];
	char path[96];
	char seen[2048];
	uint64_t last;
};

static int setup(void **state)
{
	struct rig *r = lw_xcalloc(1, sizeof(*r));
	strcpy(r->dir, "/tmp/lw_spool_XXXXXX");
	if (!mkdtemp(r->dir))
		return -1;
	snprintf(r->path, sizeof(r->path), "%s/spool.db", r->dir);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;
	char cmd[128];
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", r->dir);
	int rc = system(cmd);
	free(r);
	return rc;
}

static struct spool *open_spool(struct rig *r, uint64_t max_bytes, uint64_t max_age_ms)
{
	struct spool *s;
	struct spool_opts o = {.path = r->path, .max_bytes = max_bytes, .max_age_ms = max_age_ms};
	struct lw_diag d = {0};
	if (spool_open(&s, &o, &d) < 0)
		fail_msg("%s", d.text);
	return s;
}

static struct spool_item item(const char *topic, const char *data)
{
	return (struct spool_item){.topic = lw_span_str(topic), .data = lw_span_str(data)};
}

static int on_item(void *arg, const struct spool_item *i)
{
	struct rig *r = arg;
	assert_true(i->id > r->last);
	r->last = i->id;
	size_t n = strlen(r->seen);
	snprintf(r->seen + n, sizeof(r->seen) - n, "%.*s=%.*s ", (int)i->topic.n, (const char *)i->topic.p,
		 (int)i->data.n, (const char *)i->data.p);
	return 0;
}

static const char *peek(struct rig *r, struct spool *s, const char *queue, uint64_t after, size_t n, int64_t now_ns)
{
	r->seen[0] = 0;
	r->last = 0;
	assert_true(spool_peek(s, queue, after, n, now_ns, on_item, r) >= 0);
	return r->seen;
}

static void first_in_first_out_over_restarts(void **state)
{
	struct rig *r = *state;
	struct spool *s = open_spool(r, 0, 0);
	struct spool_item v[] = {item("t", "1"), item("u", "2"), item("", "")};
	assert_int_equal(spool_append(s, "bridge", v, 3, 1000), 0);
	assert_int_equal(spool_append(s, "other", v, 1, 1000), 0);
	assert_string_equal(peek(r, s, "bridge", 0, 10, 2000), "t=1 u=2 = ");
	uint64_t last = r->last;
	assert_string_equal(peek(r, s, "bridge", 0, 1, 2000), "t=1 ");
	uint64_t first = r->last;
	assert_string_equal(peek(r, s, "bridge", first, 1, 2000), "u=2 ");
	spool_close(s);

	s = open_spool(r, 0, 0);
	assert_int_equal(spool_ack(s, "bridge", first), 1);
	assert_string_equal(peek(r, s, "bridge", 0, 10, 2000), "u=2 = ");
	assert_string_equal(peek(r, s, "other", 0, 10, 2000), "t=1 ");
	assert_int_equal(spool_ack(s, "bridge", UINT64_MAX), 2);
	assert_string_equal(peek(r, s, "bridge", 0, 10, 2000), "");
	/* Ids never come again, so "after" stays right. */
	assert_int_equal(spool_append(s, "bridge", v, 1, 3000), 0);
	peek(r, s, "bridge", 0, 10, 3000);
	assert_true(r->last > last);
	spool_close(s);
}

static void one_item_removed(void **state)
{
	struct rig *r = *state;
	struct spool *s = open_spool(r, 0, 0);
	struct spool_item v[] = {item("t", "1"), item("t", "2"), item("t", "3")};
	assert_int_equal(spool_append(s, "q", v, 3, 1), 0);
	peek(r, s, "q", 0, 2, 1);
	assert_int_equal(spool_remove(s, "q", r->last), 1);
	assert_int_equal(spool_remove(s, "q", r->last), 0);
	assert_int_equal(spool_remove(s, "nothing", 1), 0);
	assert_string_equal(peek(r, s, "q", 0, 10, 1), "t=1 t=3 ");
	struct spool_stats st;
	assert_int_equal(spool_stats(s, "q", &st), 0);
	assert_int_equal(st.items, 2);
	assert_int_equal(st.bytes, 2 * (1 + 1 + 64));
	spool_close(s);
}

static void bytes_are_bounded_oldest_first(void **state)
{
	struct rig *r = *state;
	/* Room for three items of 66 bytes. */
	struct spool *s = open_spool(r, 200, 0);
	struct spool_item v[] = {item("t", "1"), item("t", "2"), item("t", "3"), item("t", "4"), item("t", "5")};
	assert_int_equal(spool_append(s, "q", v, 2, 1), 0);
	assert_int_equal(spool_append(s, "q", v + 2, 3, 1), 2);
	assert_string_equal(peek(r, s, "q", 0, 10, 1), "t=3 t=4 t=5 ");
	assert_int_equal(spool_append(s, "other", v, 1, 1), 0); /* bounds are per queue */
	struct spool_stats st;
	spool_stats(s, "q", &st);
	assert_int_equal(st.dropped_size, 2);
	assert_int_equal(st.items, 3);
	assert_int_equal(spool_append(s, "q", v, 5, 1), LW_EBIG);
	assert_string_equal(peek(r, s, "q", 0, 10, 1), "t=3 t=4 t=5 ");
	spool_close(s);
	/* A smaller bound after a restart acts at the next append. */
	s = open_spool(r, 140, 0);
	assert_int_equal(spool_append(s, "q", v, 1, 1), 2);
	assert_string_equal(peek(r, s, "q", 0, 10, 1), "t=5 t=1 ");
	spool_close(s);
}

static void age_is_bounded(void **state)
{
	struct rig *r = *state;
	struct spool *s = open_spool(r, 0, 1000);
	struct spool_item v[] = {item("t", "1"), item("t", "2")};
	int64_t t0 = 100 * LW_NS_PER_S;
	assert_int_equal(spool_append(s, "q", v, 1, t0), 0);
	assert_int_equal(spool_append(s, "q", v + 1, 1, t0 + 600 * LW_NS_PER_MS), 0);
	assert_string_equal(peek(r, s, "q", 0, 10, t0 + 1000 * LW_NS_PER_MS), "t=1 t=2 ");
	struct spool_stats st;
	spool_stats(s, "q", &st);
	assert_int_equal(st.oldest_ns, t0);
	assert_string_equal(peek(r, s, "q", 0, 10, t0 + 1001 * LW_NS_PER_MS), "t=2 ");
	spool_stats(s, "q", &st);
	assert_int_equal(st.dropped_age, 1);
	assert_int_equal(st.dropped_size, 0);
	assert_string_equal(peek(r, s, "q", 0, 10, t0 + LW_NS_PER_S * 10), "");
	spool_stats(s, "q", &st);
	assert_int_equal(st.items, 0);
	assert_int_equal(st.bytes, 0);
	spool_close(s);
}

static void wrong_input_is_refused(void **state)
{
	struct rig *r = *state;
	struct spool *s = open_spool(r, 0, 0);
	static char topic[1026];
	memset(topic, 't', 1025);
	struct spool_item v[] = {item("ok", "1"), item(topic, "2")};
	assert_int_equal(spool_append(s, "q", v, 2, 1), LW_EBIG);
	assert_string_equal(peek(r, s, "q", 0, 10, 1), "");
	assert_int_equal(spool_append(s, "", v, 1, 1), LW_EINVAL);
	assert_int_equal(spool_ack(s, "never seen", 5), 0);
	spool_close(s);
	/* A file that is none. */
	FILE *f = fopen(r->path, "w");
	fputs("this is not a database, but it is long enough to be looked at as one, surely: "
	      "0123456789012345678901234567890",
	      f);
	fclose(f);
	struct spool_opts o = {.path = r->path};
	struct lw_diag d = {0};
	assert_int_equal(spool_open(&s, &o, &d), 0);
	assert_true(spool_was_damaged(s));
	spool_close(s);
	assert_true(strlen(d.text) > 0);
}

static void count_queue(void *arg, const char *name)
{
	strcat((char *)arg, name);
}

static void queues_come_and_go(void **state)
{
	struct rig *r = *state;
	struct spool *s = open_spool(r, 0, 0);
	struct spool_item v[] = {item("t", "1")};
	char names[100] = "";
	assert_int_equal(spool_append(s, "a", v, 1, 1), 0);
	assert_int_equal(spool_append(s, "b", v, 1, 1), 0);
	assert_int_equal(spool_ack(s, "a", UINT64_MAX), 1);
	assert_int_equal(spool_queues(s, count_queue, names), 1);
	assert_string_equal(names, "b");
	assert_int_equal(spool_drop_queue(s, "b"), 1);
	assert_int_equal(spool_drop_queue(s, "b"), 0);
	assert_int_equal(spool_queues(s, count_queue, names), 0);
	assert_int_equal(spool_append(s, "b", v, 1, 1), 0);
	spool_close(s);
}

static void second_process_is_refused_and_a_killed_one_leaves_all(void **state)
{
	struct rig *r = *state;
	int fd[2];
	assert_int_equal(pipe(fd), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct spool *s = open_spool(r, 0, 0);
		struct spool_item v[] = {item("t", "1"), item("t", "2")};
		if (spool_append(s, "q", v, 2, 1) != 0 || write(fd[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	char c;
	assert_int_equal(read(fd[0], &c, 1), 1);
	struct spool *s;
	struct spool_opts o = {.path = r->path};
	struct lw_diag d = {0};
	assert_int_equal(spool_open(&s, &o, &d), LW_EEXISTS);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd[0]);
	close(fd[1]);
	s = open_spool(r, 0, 0);
	assert_string_equal(peek(r, s, "q", 0, 10, 1), "t=1 t=2 ");
	spool_close(s);
}

/* Cut in the middle, or no database at all: put aside, and begun anew. */
static void a_damaged_file_is_put_aside(void **state)
{
	struct rig *r = *state;
	char aside[128];
	snprintf(aside, sizeof(aside), "%s.damaged", r->path);
	struct spool *s = open_spool(r, 0, 0);
	assert_false(spool_was_damaged(s));
	for (int i = 0; i < 200; i++) {
		char text[1024];
		memset(text, 'x', sizeof(text));
		text[sizeof(text) - 1] = '\0';
		struct spool_item v = item("t", text);
		assert_int_equal(spool_append(s, "q", &v, 1, 1), 0);
	}
	spool_close(s);
	assert_int_equal(truncate(r->path, 100000), 0);
	s = open_spool(r, 0, 0);
	assert_true(spool_was_damaged(s));
	assert_int_equal(access(aside, F_OK), 0);
	struct spool_item v = item("t", "1");
	assert_int_equal(spool_append(s, "q", &v, 1, 1), 0);
	spool_close(s);
	s = open_spool(r, 0, 0);
	assert_false(spool_was_damaged(s));
	assert_string_equal(peek(r, s, "q", 0, 10, 1), "t=1 ");
	spool_close(s);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(first_in_first_out_over_restarts), T(one_item_removed),
		T(bytes_are_bounded_oldest_first),   T(age_is_bounded),
		T(wrong_input_is_refused),           T(queues_come_and_go),
		T(a_damaged_file_is_put_aside),      T(second_process_is_refused_and_a_killed_one_leaves_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
