/* Which addresses are of the public network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "common/io/net_addr.h"

static bool is_public(const char *text)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		return net_addr_is_public((const struct sockaddr *)(const void *)&v4);
	assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
	return net_addr_is_public((const struct sockaddr *)(const void *)&v6);
}

static void test_public(void **state)
{
	static const char *const yes[] = {"1.1.1.1",        "8.8.8.8",           "172.15.255.255", "172.32.0.0",
					  "100.63.255.255", "100.128.0.0",       "192.167.1.1",    "223.255.255.255",
					  "2606:4700::1",   "2a00:1450:4001::5", "::ffff:8.8.8.8"};
	static const char *const no[] = {"0.0.0.0",
					 "10.1.2.3",
					 "100.64.0.1",
					 "127.0.0.1",
					 "169.254.169.254",
					 "172.16.0.1",
					 "172.31.9.9",
					 "192.168.1.1",
					 "192.0.2.1",
					 "198.18.0.1",
					 "224.0.0.1",
					 "255.255.255.255",
					 "::",
					 "::1",
					 "fe80::1",
					 "fc00::1",
					 "fd12::1",
					 "ff02::1",
					 "::ffff:10.0.0.1",
					 "64:ff9b::7f00:1",
					 "2001:db8::1",
					 "2002:7f00:1::",
					 "2001::1"};
	struct sockaddr_storage other = {.ss_family = AF_UNIX};
	(void)state;
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		assert_true(is_public(yes[i]));
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		assert_false(is_public(no[i]));
	assert_false(net_addr_is_public((const struct sockaddr *)(const void *)&other));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_public)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
