#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/io/late.h"

struct zlib_part {
	unsigned long (*crc32)(unsigned long, const unsigned char *, unsigned);
	const char *(*zlibVersion)(void);
};
static const char *const part_names[] = {"crc32", "zlibVersion"};

/* zlib is everywhere that libcurl is; crc32("123456789") is the check value of CRC-32 (ITU-T V.42). */
static void test_loads(void **state)
{
	(void)state;
	struct late_library lib = {.soname = "libz.so.1", .functions = part_names, .n_functions = 2};
	struct zlib_part z = {0};
	struct lw_diag diag = {0};
	late_load(&lib, &z);
	assert_int_equal(late_result(&lib, "zlib", &diag), 0);
	assert_int_equal(z.crc32(0, (const unsigned char *)"123456789", 9), 0xCBF43926);
	assert_non_null(z.zlibVersion());
}

static void test_no_such_library(void **state)
{
	(void)state;
	struct late_library lib = {.soname = "libnot-there.so.7", .functions = part_names, .n_functions = 2};
	struct zlib_part z = {0};
	struct lw_diag diag = {0};
	late_load(&lib, &z);
	assert_int_equal(late_result(&lib, "the library", &diag), LW_EUNSUPPORTED);
	assert_non_null(strstr(diag.text, "the library cannot be loaded: libnot-there.so.7"));
	assert_null(z.crc32);
}

static void test_no_such_function(void **state)
{
	(void)state;
	static const char *const names[] = {"crc32", "not_in_zlib"};
	struct late_library lib = {.soname = "libz.so.1", .functions = names, .n_functions = 2};
	struct zlib_part z = {0};
	struct lw_diag diag = {0};
	late_load(&lib, &z);
	assert_int_equal(late_result(&lib, "zlib", &diag), LW_EUNSUPPORTED);
	assert_non_null(strstr(diag.text, "not_in_zlib"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loads),
		cmocka_unit_test(test_no_such_library),
		cmocka_unit_test(test_no_such_function),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
