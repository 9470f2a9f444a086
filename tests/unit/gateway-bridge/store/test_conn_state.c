#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway-bridge/store/conn_state.h"

static char dir[64], path[128];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/gb_conn_XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/announced", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void reopen(struct gb_conn_state *s)
{
	gb_conn_state_close(s);
	assert_int_equal(gb_conn_state_open(s, path, NULL), 0);
}

static void count(void *arg, const char *prefix, const char *eui)
{
	(void)eui;
	*(size_t *)arg += strcmp(prefix, "eu868/") == 0 ? 1 : 100;
}

static size_t sum(struct gb_conn_state *s)
{
	size_t n = 0;
	gb_conn_state_each(s, count, &n);
	return n;
}

static void test_survives(void **state)
{
	(void)state;
	struct gb_conn_state s;
	assert_int_equal(gb_conn_state_open(&s, path, NULL), 0);
	gb_conn_state_add(&s, "eu868/", "0000000000000001");
	gb_conn_state_add(&s, "eu868/", "0000000000000002");
	gb_conn_state_add(&s, "", "0000000000000001");
	reopen(&s);
	assert_int_equal(sum(&s), 102);
	uintptr_t n = gb_conn_state_find(&s, "eu868/", "0000000000000001");
	assert_int_not_equal(n, 0);
	gb_conn_state_remove(&s, "eu868/", "0000000000000001", n);
	reopen(&s);
	assert_int_equal(sum(&s), 101);
	assert_int_equal(gb_conn_state_find(&s, "eu868/", "0000000000000001"), 0);
	gb_conn_state_close(&s);
}

static void test_newer_announcement_stays(void **state)
{
	(void)state;
	struct gb_conn_state s;
	assert_int_equal(gb_conn_state_open(&s, path, NULL), 0);
	gb_conn_state_add(&s, "eu868/", "0000000000000001");
	uintptr_t before = gb_conn_state_find(&s, "eu868/", "0000000000000001");
	gb_conn_state_add(&s, "eu868/", "0000000000000001");
	gb_conn_state_remove(&s, "eu868/", "0000000000000001", before);
	assert_int_equal(sum(&s), 1);
	reopen(&s);
	assert_int_equal(sum(&s), 1);
	gb_conn_state_close(&s);
}

static void test_garbage_is_skipped(void **state)
{
	(void)state;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	const char text[] =
		"+ eu868/ 000000000000000a\n\n+\n? eu868/ 000000000000000b\n+ eu868/ 00000000000000zz\n+ x\n"
		"+ eu868/ 000000000000000c";
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	struct gb_conn_state s;
	assert_int_equal(gb_conn_state_open(&s, path, NULL), 0);
	/* The last line has no end: it was being written when the process died. */
	assert_int_equal(sum(&s), 1);
	gb_conn_state_close(&s);
}

static void test_file_stays_small(void **state)
{
	(void)state;
	struct gb_conn_state s;
	assert_int_equal(gb_conn_state_open(&s, path, NULL), 0);
	gb_conn_state_add(&s, "eu868/", "0000000000000002");
	for (int i = 0; i < 5000; i++) {
		gb_conn_state_add(&s, "eu868/", "0000000000000001");
		gb_conn_state_remove(&s, "eu868/", "0000000000000001",
				     gb_conn_state_find(&s, "eu868/", "0000000000000001"));
	}
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size < 64 * 1024);
	reopen(&s);
	assert_int_equal(sum(&s), 1);
	gb_conn_state_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_survives, setup, teardown),
		cmocka_unit_test_setup_teardown(test_newer_announcement_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbage_is_skipped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_stays_small, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
