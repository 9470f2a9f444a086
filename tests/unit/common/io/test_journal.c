#include "common/io/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/base/xmalloc.h"

struct rig {
	char dir[64];
	char seen[4096];
	uint64_t last;
	size_t n;
};

static int setup(void **state)
{
	struct rig *r = lw_xcalloc(1, sizeof(*r));
	strcpy(r->dir, "/tmp/lw_journal_XXXXXX");
	*state = r;
	return mkdtemp(r->dir) ? 0 : -1;
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

static struct journal *open_journal(struct rig *r, uint64_t segment_bytes, uint64_t max_bytes)
{
	struct journal *j;
	struct journal_opts o = {.dir = r->dir, .segment_bytes = segment_bytes, .max_bytes = max_bytes};
	struct lw_diag d = {0};
	int rc = journal_open(&j, &o, &d);
	if (rc < 0)
		fail_msg("%s", d.text);
	return j;
}

static int on_record(void *arg, uint64_t position, struct lw_span rec)
{
	struct rig *r = arg;
	assert_true(position > r->last);
	r->last = position;
	r->n++;
	size_t n = strlen(r->seen);
	if (n + rec.n + 2 < sizeof(r->seen))
		snprintf(r->seen + n, sizeof(r->seen) - n, "%.*s ", (int)rec.n, (const char *)rec.p);
	return 0;
}

static const char *replay(struct rig *r, struct journal *j)
{
	r->seen[0] = 0;
	r->last = 0;
	r->n = 0;
	assert_int_equal(journal_replay(j, on_record, r), 0);
	return r->seen;
}

static uint64_t append(struct journal *j, const char *s)
{
	uint64_t pos = 0;
	assert_int_equal(journal_append(j, lw_span_str(s), &pos), 0);
	return pos;
}

static void what_is_not_done_comes_back_in_order(void **state)
{
	struct rig *r = *state;
	struct journal *j = open_journal(r, 0, 0);
	assert_string_equal(replay(r, j), "");
	append(j, "a");
	uint64_t b = append(j, "b");
	append(j, "c");
	assert_int_equal(journal_commit(j), 0);
	journal_done(j, b);
	journal_done(j, b);
	journal_done(j, 123456);
	append(j, "d");
	journal_close(j);

	j = open_journal(r, 0, 0);
	assert_string_equal(replay(r, j), "a c d ");
	struct journal_stats st;
	journal_stats(j, &st);
	assert_int_equal(st.open_records, 3);
	assert_int_equal(st.cut_bytes, 0);
	/* A record from an earlier life is done in this one. */
	journal_done(j, r->last);
	uint64_t e = append(j, "e");
	assert_true(e > r->last);
	journal_close(j);

	j = open_journal(r, 0, 0);
	assert_string_equal(replay(r, j), "a c e ");
	journal_close(j);
}

static void done_within_one_commit(void **state)
{
	struct rig *r = *state;
	struct journal *j = open_journal(r, 0, 0);
	uint64_t a = append(j, "a");
	append(j, "b");
	journal_done(j, a);
	assert_int_equal(journal_commit(j), 0);
	journal_close(j);
	j = open_journal(r, 0, 0);
	assert_string_equal(replay(r, j), "b ");
	journal_close(j);
}

static size_t count_files(const char *dir)
{
	size_t n = 0;
	DIR *d = opendir(dir);
	for (struct dirent *e; (e = readdir(d));)
		n += strstr(e->d_name, ".jnl") != NULL;
	closedir(d);
	return n;
}

static void finished_segments_go(void **state)
{
	struct rig *r = *state;
	struct journal *j = open_journal(r, 1000, 0);
	char text[101];
	memset(text, 'x', 100);
	text[100] = 0;
	uint64_t pos[100];
	for (int i = 0; i < 100; i++) {
		pos[i] = append(j, text);
		assert_int_equal(journal_commit(j), 0);
	}
	struct journal_stats st;
	journal_stats(j, &st);
	assert_true(st.segments >= 10);
	assert_int_equal(count_files(r->dir), st.segments);
	for (int i = 1; i < 100; i++)
		journal_done(j, pos[i]);
	assert_int_equal(journal_commit(j), 0);
	/* The oldest still has an open record, and the marks of the others stand behind it. */
	assert_true(count_files(r->dir) >= 10);
	journal_done(j, pos[0]);
	assert_int_equal(journal_commit(j), 0);
	assert_int_equal(count_files(r->dir), 1);
	journal_close(j);
	j = open_journal(r, 1000, 0);
	assert_string_equal(replay(r, j), "");
	assert_int_equal(count_files(r->dir), 0);
	journal_close(j);
}

static void bound_is_kept(void **state)
{
	struct rig *r = *state;
	struct journal *j = open_journal(r, 1000, 3000);
	char text[201];
	memset(text, 'x', 200);
	text[200] = 0;
	uint64_t pos = 0;
	int n = 0, rc;
	while ((rc = journal_append(j, lw_span_str(text), &pos)) == 0 && n < 1000) {
		journal_commit(j);
		n++;
	}
	assert_int_equal(rc, LW_EFULL);
	assert_int_equal(n, 3000 / 217);
	static uint8_t big[JOURNAL_MAX_RECORD + 1];
	assert_int_equal(journal_append(j, lw_span(big, sizeof(big)), &pos), LW_EBIG);
	journal_close(j);
}

static void only_one_process(void **state)
{
	struct rig *r = *state;
	struct journal *j = open_journal(r, 0, 0), *k;
	struct lw_diag d = {0};
	struct journal_opts o = {.dir = r->dir};
	assert_int_equal(journal_open(&k, &o, &d), LW_EEXISTS);
	assert_non_null(strstr(d.text, "in use"));
	journal_close(j);
}

static void newest_file(const char *dir, char out[300])
{
	out[0] = 0;
	DIR *d = opendir(dir);
	for (struct dirent *e; (e = readdir(d));) {
		char path[300];
		snprintf(path, sizeof(path), "%s/%.200s", dir, e->d_name);
		if (strstr(path, ".jnl") && strcmp(path, out) > 0)
			strcpy(out, path);
	}
	closedir(d);
}

/* A record torn at every possible length: what stands before it is there, the rest is cut and counted. */
static void torn_tail_is_cut(void **state)
{
	struct rig *r = *state;
	struct journal *j = open_journal(r, 0, 0);
	append(j, "first");
	append(j, "second");
	assert_int_equal(journal_commit(j), 0);
	journal_close(j);
	char path[300];
	newest_file(r->dir, path);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	uint8_t whole[200];
	int fd = open(path, O_RDWR);
	ssize_t size = read(fd, whole, sizeof(whole));
	assert_int_equal(size, st.st_size);
	for (ssize_t cut = size - 1; cut > 22; cut--) {
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, whole, (size_t)cut, 0), cut);
		j = open_journal(r, 0, 0);
		assert_string_equal(replay(r, j), "first ");
		struct journal_stats js;
		journal_stats(j, &js);
		assert_int_equal(js.cut_bytes, cut - 22);
		assert_int_equal(js.cut_files, 1);
		journal_close(j);
	}
	/* One wrong bit anywhere in the second record. */
	for (ssize_t i = 22; i < size; i++) {
		uint8_t bad[200];
		memcpy(bad, whole, (size_t)size);
		bad[i] ^= 0x10;
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, bad, (size_t)size, 0), size);
		j = open_journal(r, 0, 0);
		assert_string_equal(replay(r, j), "first ");
		journal_close(j);
	}
	close(fd);
}

static void killed_process_loses_nothing_committed(void **state)
{
	struct rig *r = *state;
	int fd[2];
	assert_int_equal(pipe(fd), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct journal *j = open_journal(r, 4096, 0);
		for (uint32_t i = 0;; i++) {
			char text[16];
			snprintf(text, sizeof(text), "%u", i);
			uint64_t pos;
			if (journal_append(j, lw_span_str(text), &pos) < 0 || journal_commit(j) < 0)
				_exit(1);
			if (i % 3 == 0)
				journal_done(j, pos);
			/* Told only after the commit. */
			if (write(fd[1], &i, sizeof(i)) != sizeof(i))
				_exit(1);
		}
	}
	close(fd[1]);
	uint32_t told = 0;
	while (told < 500)
		assert_int_equal(read(fd[0], &told, sizeof(told)), sizeof(told));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (read(fd[0], &told, sizeof(told)) == sizeof(told))
		;
	close(fd[0]);
	struct journal *j = open_journal(r, 4096, 0);
	replay(r, j);
	/* Two of three are open; a done mark of the last turn may be missing. */
	size_t all = told + 1, done = (all + 2) / 3;
	assert_true(r->n >= all - done && r->n <= all - done + 3);
	journal_close(j);
}

/* A disk that is full for a while: nothing is lost, nothing is written twice. */
static void failed_write_is_tried_again(void **state)
{
	struct rig *r = *state;
	pid_t pid = fork();
	if (pid == 0) {
		struct journal *j = open_journal(r, 0, 0);
		append(j, "before");
		if (journal_commit(j) != 0)
			_exit(1);
		signal(SIGXFSZ, SIG_IGN);
		struct rlimit old, small;
		getrlimit(RLIMIT_FSIZE, &old);
		small = old;
		small.rlim_cur = 40; /* in the middle of the next record */
		setrlimit(RLIMIT_FSIZE, &small);
		append(j, "after a full disk");
		if (journal_commit(j) >= 0)
			_exit(2);
		setrlimit(RLIMIT_FSIZE, &old);
		append(j, "end");
		if (journal_commit(j) != 0)
			_exit(3);
		_exit(0);
	}
	int status;
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	struct journal *j = open_journal(r, 0, 0);
	assert_string_equal(replay(r, j), "before after a full disk end ");
	struct journal_stats st;
	journal_stats(j, &st);
	assert_int_equal(st.cut_bytes, 0);
	journal_close(j);
}

/* What another thread waits for: appending and marking go on, and count for the next commit. */
static void life_goes_on_while_a_commit_is_under_way(void **state)
{
	struct rig *r = *state;
	struct journal *j = open_journal(r, 60, 0); /* each commit begins a segment */
	assert_int_equal(journal_commit_begin(j), 0);
	uint64_t a = append(j, "a"), b = append(j, "b");
	assert_int_equal(journal_durable(j), 0);
	assert_int_equal(journal_commit_begin(j), 1);
	uint64_t c = append(j, "c");
	journal_done(j, a);
	assert_int_equal(journal_commit_end(j, journal_commit_write(j)), 0);
	assert_int_equal(journal_durable(j), b);
	assert_int_equal(journal_appended(j), c);
	assert_int_equal(journal_commit_begin(j), 1);
	journal_done(j, b); /* its segment has nothing open, but stays until the end of this commit */
	assert_int_equal(journal_commit_end(j, journal_commit_write(j)), 0);
	assert_int_equal(journal_durable(j), c);
	journal_close(j);
	j = open_journal(r, 60, 0);
	assert_string_equal(replay(r, j), "c ");
	journal_close(j);
}

/* What is done before a commit takes it along is never written, nor that it is done. */
static void done_in_time_is_not_written(void **state)
{
	struct rig *r = *state;
	struct journal *j = open_journal(r, 0, 0);
	struct journal_stats st;
	uint64_t a = append(j, "a"), b = append(j, "b"), c = append(j, "c");
	assert_int_equal(journal_settled(j), 0);
	journal_done(j, b);
	assert_int_equal(journal_settled(j), 0);
	journal_done(j, a);
	assert_int_equal(journal_settled(j), b);
	journal_done(j, c);
	assert_int_equal(journal_settled(j), c);
	assert_int_equal(journal_durable(j), 0);
	assert_false(journal_has_marks(j));
	assert_int_equal(journal_commit_begin(j), 0);
	assert_int_equal(journal_durable(j), c);
	assert_int_equal(count_files(r->dir), 0);

	uint64_t d = append(j, "d"), e = append(j, "e"), f = append(j, "f");
	journal_done(j, d);
	journal_done(j, f);
	assert_int_equal(journal_settled(j), d);
	assert_int_equal(journal_commit_begin(j), 1);
	/* Taken along: from now on that it is done must be written, too. */
	uint64_t g = append(j, "g");
	journal_done(j, e);
	assert_true(journal_has_marks(j));
	journal_done(j, g);
	assert_int_equal(journal_settled(j), c);
	assert_int_equal(journal_commit_end(j, journal_commit_write(j)), 0);
	assert_int_equal(journal_durable(j), f);
	assert_int_equal(journal_settled(j), g);
	journal_stats(j, &st);
	assert_int_equal(st.bytes, 17 + 1);
	assert_int_equal(st.open_records, 0);
	journal_close(j);
	j = open_journal(r, 0, 0);
	assert_string_equal(replay(r, j), "");
	journal_close(j);
}

static void failed_commit_goes_again_in_front(void **state)
{
	struct rig *r = *state;
	struct journal *j = open_journal(r, 0, 0);
	append(j, "a");
	uint64_t b = append(j, "b");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(journal_commit_begin(j), 1);
		assert_int_equal(journal_commit_write(j), 0);
		append(j, "c");
		/* As if the disk had said so after all was written. */
		assert_int_equal(journal_commit_end(j, -EIO), -EIO);
		assert_int_equal(journal_durable(j), 0);
	}
	journal_done(j, b);
	assert_int_equal(journal_commit(j), 0);
	assert_int_equal(journal_durable(j), journal_appended(j));
	journal_close(j);
	j = open_journal(r, 0, 0);
	assert_string_equal(replay(r, j), "a c c c ");
	journal_close(j);
}

/* Random life against a plain list. */
static void random_life_matches_a_model(void **state)
{
	struct rig *r = *state;
	enum { N = 3000 };
	static uint64_t pos[N];
	static uint8_t open_[N];
	struct lw_rng rng;
	lw_rng_init_seeded(&rng, 5);
	struct journal *j = open_journal(r, 2000, 0);
	size_t n = 0, first_open = 0;
	while (n < N) {
		uint64_t what = lw_rng_below(&rng, 100);
		if (what < 60) {
			char text[16];
			snprintf(text, sizeof(text), "%zu", n);
			pos[n] = append(j, text);
			open_[n++] = 1;
		} else if (what < 90 && n) {
			size_t i = first_open + (size_t)lw_rng_below(&rng, n - first_open);
			journal_done(j, pos[i]);
			open_[i] = 0;
			while (first_open + 1 < n && !open_[first_open])
				first_open++;
		} else if (what < 99) {
			assert_int_equal(journal_commit(j), 0);
		} else {
			journal_close(j);
			j = open_journal(r, 2000, 0);
			size_t want = 0;
			for (size_t i = 0; i < n; i++)
				want += open_[i];
			replay(r, j);
			assert_int_equal(r->n, want);
		}
	}
	journal_close(j);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_is_not_done_comes_back_in_order),
		T(done_within_one_commit),
		T(finished_segments_go),
		T(bound_is_kept),
		T(only_one_process),
		T(torn_tail_is_cut),
		T(killed_process_loses_nothing_committed),
		T(failed_write_is_tried_again),
		T(life_goes_on_while_a_commit_is_under_way),
		T(done_in_time_is_not_written),
		T(failed_commit_goes_again_in_front),
		T(random_life_matches_a_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
