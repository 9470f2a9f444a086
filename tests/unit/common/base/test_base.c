/* Unit tests of common/base: buffers, text forms, arenas, maps, randomness. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>

#include "common/base/arena.h"
#include "common/base/backoff.h"
#include "common/base/base64.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/hex.h"
#include "common/base/ids.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"

static void test_err(void **state)
{
	(void)state;
	assert_string_equal(lw_err_text(LW_ENOTFOUND), "not found");
	assert_string_equal(lw_err_name(LW_ENOTFOUND), "LW_ENOTFOUND");
	assert_string_equal(lw_err_text(-ECONNREFUSED), "Connection refused");
	assert_string_equal(lw_err_text(-5000), "unknown error");
	struct lw_diag d;
	lw_diag_set(&d, "line %d", 7);
	lw_diag_prefix(&d, "%s", "file");
	assert_string_equal(d.text, "file: line 7");
	char big[600];
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	lw_diag_prefix(&d, "%s", big);
	assert_int_equal(strlen(d.text), sizeof d.text - 1);
	lw_diag_set(NULL, "nothing");
}

static void test_buf(void **state)
{
	(void)state;
	struct lw_buf b;
	lw_buf_init(&b, 10);
	assert_string_equal(lw_buf_str(&b), "");
	assert_int_equal(lw_buf_append_str(&b, "abc"), 0);
	assert_int_equal(lw_buf_printf(&b, "%d", 1234567), 0);
	assert_string_equal(lw_buf_str(&b), "abc1234567");
	assert_int_equal(lw_buf_append_u8(&b, 'x'), LW_EBIG);
	assert_int_equal(lw_buf_append_str(&b, ""), LW_EBIG); /* sticky */
	assert_string_equal(lw_buf_str(&b), "abc1234567");
	lw_buf_reset(&b);
	assert_int_equal(lw_buf_printf(&b, "%s", "12345678901"), LW_EBIG);
	assert_string_equal(lw_buf_str(&b), "");
	lw_buf_reset(&b);
	uint8_t *p = lw_buf_reserve(&b, 5);
	assert_non_null(p);
	memcpy(p, "hello", 5);
	lw_buf_commit(&b, 4);
	assert_string_equal(lw_buf_str(&b), "hell");
	lw_buf_consume(&b, 1);
	assert_string_equal(lw_buf_str(&b), "ell");
	size_t n;
	char *t = lw_buf_take(&b, &n);
	assert_int_equal(n, 3);
	assert_string_equal(t, "ell");
	free(t);
	assert_int_equal(b.n, 0);
	lw_buf_init(&b, 100000);
	for (int i = 0; i < 10000; i++)
		assert_int_equal(lw_buf_printf(&b, "%04d ", i), 0);
	assert_int_equal(b.n, 50000);
	assert_memory_equal(b.p + 5 * 9999, "9999 ", 6);
	lw_buf_deinit(&b);
}

static void test_integers(void **state)
{
	(void)state;
	uint8_t b[8] = {1, 2, 3, 4, 5, 6, 7, 0x88};
	assert_int_equal(lw_get_le16(b), 0x0201);
	assert_int_equal(lw_get_le24(b), 0x030201);
	assert_int_equal(lw_get_le32(b + 4), 0x88070605U);
	assert_true(lw_get_le64(b) == UINT64_C(0x8807060504030201));
	assert_true(lw_get_be64(b) == UINT64_C(0x0102030405060788));
	assert_int_equal(lw_get_be24(b), 0x010203);
	uint8_t o[8];
	lw_put_be64(o, UINT64_C(0x0102030405060788));
	assert_memory_equal(o, b, 8);
	lw_put_le64(o, UINT64_C(0x8807060504030201));
	assert_memory_equal(o, b, 8);
	assert_true(lw_ct_equal("abcd", "abcd", 4));
	assert_false(lw_ct_equal("abcd", "abce", 4));
}

static void test_hex_base64(void **state)
{
	(void)state;
	uint8_t b[16];
	char t[64];
	assert_int_equal(lw_hex_decode("00fFA5", 6, b, sizeof b), 3);
	assert_memory_equal(b, "\x00\xff\xa5", 3);
	assert_int_equal(lw_hex_decode("0", 1, b, sizeof b), LW_EINVAL);
	assert_int_equal(lw_hex_decode("0g", 2, b, sizeof b), LW_EINVAL);
	assert_int_equal(lw_hex_decode("0011", 4, b, 1), LW_EBIG);
	assert_string_equal(lw_hex_encode("\x00\xff\xa5", 3, t), "00ffa5");

	/* RFC 4648 §10 */
	static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
	static const char *const coded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
	for (size_t i = 0; i < 7; i++) {
		assert_int_equal(lw_base64_encode(plain[i], strlen(plain[i]), t), strlen(coded[i]));
		assert_string_equal(t, coded[i]);
		for (size_t n = strlen(coded[i]); n > 0 && coded[i][n - 1] == '='; n--)
			assert_int_equal(lw_base64_decode(coded[i], n, b, sizeof b), strlen(plain[i]));
		assert_int_equal(lw_base64_decode(coded[i], strcspn(coded[i], "="), b, sizeof b), strlen(plain[i]));
		assert_memory_equal(b, plain[i], strlen(plain[i]));
	}
	assert_int_equal(lw_base64_decode("-_+/", 4, b, sizeof b), 3);
	assert_memory_equal(b, "\xfb\xff\xbf", 3);
	assert_int_equal(lw_base64url_encode("\xfb\xff\xbf\x00", 4, t), 6);
	assert_string_equal(t, "-_-_AA");
	assert_int_equal(lw_base64_decode("Zm9vY", 5, b, sizeof b), LW_EINVAL);
	assert_int_equal(lw_base64_decode("Zm=v", 4, b, sizeof b), LW_EINVAL);
	assert_int_equal(lw_base64_decode("Zm9v", 4, b, 2), LW_EBIG);
}

static void test_ids(void **state)
{
	(void)state;
	struct lw_dev_eui e;
	char t[64];
	assert_int_equal(lw_dev_eui_parse(&e, "0102030405060aBc"), 0);
	assert_string_equal(lw_dev_eui_print(e, t), "0102030405060abc");
	assert_true(lw_dev_eui_u64(e) == UINT64_C(0x0102030405060abc));
	uint8_t air[8];
	lw_dev_eui_put_le(e, air);
	assert_memory_equal(air, "\xbc\x0a\x06\x05\x04\x03\x02\x01", 8);
	assert_true(lw_dev_eui_eq(lw_dev_eui_from_le(air), e));
	struct lw_dev_eui before = e;
	assert_int_equal(lw_dev_eui_parse(&e, "0102030405060ab"), LW_EINVAL);
	assert_int_equal(lw_dev_eui_parse(&e, "0102030405060abcd"), LW_EINVAL);
	assert_int_equal(lw_dev_eui_parse(&e, "0102030405060abx"), LW_EINVAL);
	assert_int_equal(lw_dev_eui_parse(&e, ""), LW_EINVAL);
	assert_true(lw_dev_eui_eq(before, e));
	struct lw_devaddr a;
	assert_int_equal(lw_devaddr_parse(&a, "01abcdef"), 0);
	assert_int_equal(a.v, 0x01abcdef);
	assert_string_equal(lw_devaddr_print(a, t), "01abcdef");
	struct lw_netid id;
	assert_int_equal(lw_netid_parse(&id, "600013"), 0);
	assert_int_equal(id.v, 0x600013);
	assert_int_equal(lw_netid_parse(&id, "6000"), LW_EINVAL);
	struct lw_uuid u;
	assert_int_equal(lw_uuid_parse(&u, "fcfdb55d-71EB-49fe-bb96-add7ee489157"), 0);
	assert_string_equal(lw_uuid_print(u, t), "fcfdb55d-71eb-49fe-bb96-add7ee489157");
	assert_int_equal(lw_uuid_parse(&u, "fcfdb55d071EB-49fe-bb96-add7ee489157"), LW_EINVAL);
	assert_int_equal(lw_uuid_parse(&u, "fcfdb55d"), LW_EINVAL);
	struct lw_rng rng;
	lw_rng_init_seeded(&rng, 1);
	u = lw_uuid_new(&rng);
	assert_int_equal(u.b[6] >> 4, 4);
	assert_int_equal(u.b[8] >> 6, 2);
	assert_false(lw_uuid_eq(u, lw_uuid_new(&rng)));
	u = lw_uuid_new_v7(INT64_C(0x0123456789ab), &rng);
	assert_memory_equal(lw_uuid_print(u, t), "01234567-89ab-7", 15);
}

static void test_arena(void **state)
{
	(void)state;
	char inl[100];
	struct lw_arena a;
	lw_arena_init(&a, inl, sizeof inl, 100000);
	char *p = lw_arena_strdup(&a, "hello");
	assert_true(p >= inl && p < inl + sizeof inl);
	uint64_t *big = LW_ARENA_ARRAY(&a, uint64_t, 1000);
	assert_int_equal((uintptr_t)big % _Alignof(max_align_t), 0);
	for (int i = 0; i < 1000; i++)
		assert_true(big[i] == 0);
	for (int i = 0; i < 500; i++) {
		char *q = lw_arena_printf(&a, "%d", i);
		assert_int_equal((uintptr_t)q % _Alignof(max_align_t), 0);
		assert_int_equal(atoi(q), i);
	}
	assert_string_equal(p, "hello");
	assert_null(lw_arena_alloc(&a, 100000));
	assert_null(lw_arena_alloc(&a, SIZE_MAX));
	assert_null(lw_arena_calloc(&a, SIZE_MAX / 2, 3));
	lw_arena_reset(&a);
	/* lent memory comes next, then the heap; after a reset it is forgotten */
	uint8_t lent[256];
	assert_non_null(lw_arena_alloc(&a, 16));
	lw_arena_lend(&a, lent, sizeof(lent));
	uint8_t *from = lw_arena_alloc(&a, 64);
	assert_true(from >= lent && from + 64 <= lent + sizeof(lent));
	from = lw_arena_alloc(&a, 1000);
	assert_false(from >= lent && from < lent + sizeof(lent));
	lw_arena_reset(&a);
	from = lw_arena_alloc(&a, 16);
	assert_true(from >= (uint8_t *)inl && from < (uint8_t *)inl + sizeof(inl));
	lw_arena_reset(&a);
	assert_non_null(lw_arena_alloc(&a, 100000));
	assert_null(lw_arena_alloc(&a, 1));
	lw_arena_deinit(&a);
}

struct item {
	int v;
	struct lw_list node;
};

static void test_list(void **state)
{
	(void)state;
	struct lw_list head;
	struct lw_list other;
	struct item items[5];
	lw_list_init(&head);
	lw_list_init(&other);
	for (int i = 0; i < 5; i++) {
		items[i].v = i;
		lw_list_push_back(i < 3 ? &head : &other, &items[i].node);
	}
	lw_list_splice_back(&head, &other);
	assert_true(lw_list_empty(&other));
	int want = 0;
	LW_LIST_FOREACH (n, tmp, &head) {
		struct item *it = LW_CONTAINER_OF(n, struct item, node);
		assert_int_equal(it->v, want++);
		if (it->v % 2)
			lw_list_remove(n);
	}
	assert_int_equal(want, 5);
	int left = 0;
	for (struct lw_list *n; (n = lw_list_pop_front(&head)); left++)
		assert_int_equal(LW_CONTAINER_OF(n, struct item, node)->v, 2 * left);
	assert_int_equal(left, 3);
}

/* Against a plain array as model. */
static void test_map(void **state)
{
	(void)state;
	enum { KEYS = 500 };
	static int values[KEYS];
	bool in[KEYS] = {false};
	size_t count = 0;
	struct lw_map m;
	struct lw_bmap bm;
	struct lw_rng rng;
	lw_map_init(&m);
	lw_bmap_init(&bm);
	lw_rng_init_seeded(&rng, 42);
	assert_null(lw_map_find(&m, 0));
	for (int step = 0; step < 50000; step++) {
		unsigned k = (unsigned)lw_rng_below(&rng, KEYS);
		uint64_t key = (uint64_t)k << 32;
		struct lw_span bkey = lw_span(&k, k == 0 ? 0 : sizeof k);
		if (lw_rng_below(&rng, 2)) {
			void *old = lw_map_put(&m, key, &values[k]);
			assert_ptr_equal(old, in[k] ? &values[k] : NULL);
			assert_ptr_equal(lw_bmap_put(&bm, bkey, &values[k]), old);
			count += !in[k];
			in[k] = true;
		} else {
			void *old = lw_map_remove(&m, key);
			assert_ptr_equal(old, in[k] ? &values[k] : NULL);
			assert_ptr_equal(lw_bmap_remove(&bm, bkey), old);
			count -= in[k];
			in[k] = false;
		}
		assert_int_equal(lw_map_count(&m), count);
		assert_int_equal(lw_bmap_count(&bm), count);
	}
	assert_true(m.cap <= 4 * KEYS);
	for (unsigned k = 0; k < KEYS; k++)
		assert_ptr_equal(lw_map_find(&m, (uint64_t)k << 32), in[k] ? &values[k] : NULL);
	size_t seen = 0;
	size_t it = 0;
	uint64_t key;
	void *v;
	while (lw_map_next(&m, &it, &key, &v)) {
		assert_ptr_equal(v, &values[key >> 32]);
		assert_ptr_equal(lw_map_remove(&m, key), v);
		seen++;
	}
	assert_int_equal(seen, count);
	assert_int_equal(lw_map_count(&m), 0);
	lw_bmap_clear(&bm);
	assert_int_equal(lw_bmap_count(&bm), 0);
	assert_null(lw_bmap_find(&bm, lw_span("x", 1)));
	lw_bmap_put(&bm, lw_span("x", 1), &values[1]);
	lw_bmap_deinit(&bm);
	lw_map_deinit(&m);
}

static void test_rng(void **state)
{
	(void)state;
	struct lw_rng a;
	struct lw_rng b;
	lw_rng_init_seeded(&a, 7);
	lw_rng_init_seeded(&b, 7);
	for (int i = 0; i < 100; i++)
		assert_true(lw_rng_u64(&a) == lw_rng_u64(&b));
	unsigned hits[7] = {0};
	for (int i = 0; i < 70000; i++)
		hits[lw_rng_below(&a, 7)]++;
	for (int i = 0; i < 7; i++)
		assert_in_range(hits[i], 9500, 10500);
	double sum = 0;
	for (int i = 0; i < 10000; i++) {
		double u = lw_rng_unit(&a);
		assert_true(u >= 0 && u < 1);
		sum += u;
	}
	assert_true(sum > 4900 && sum < 5100);
	struct lw_rng sys;
	lw_rng_init_system(&sys);
	assert_true(lw_rng_u64(&sys) != lw_rng_u64(&sys));
}

static void test_backoff_clock(void **state)
{
	(void)state;
	struct lw_rng rng;
	struct lw_backoff b;
	lw_rng_init_seeded(&rng, 3);
	lw_backoff_init(&b, 100, 1000);
	static const uint32_t full[] = {100, 200, 400, 800, 1000, 1000};
	for (int i = 0; i < 6; i++)
		assert_in_range(lw_backoff_next_ms(&b, &rng), full[i] * 3 / 4, full[i]);
	lw_backoff_reset(&b);
	assert_in_range(lw_backoff_next_ms(&b, &rng), 75, 100);
	struct lw_clock c;
	lw_clock_init_manual(&c, 5);
	int64_t mono = lw_clock_mono_ns(&c);
	lw_clock_advance(&c, 10);
	assert_true(lw_clock_now_ns(&c) == 15);
	assert_true(lw_clock_mono_ns(&c) == mono + 10);
	lw_clock_init_system(&c);
	int64_t t = lw_clock_mono_ns(&c);
	assert_true(lw_clock_mono_ns(&c) >= t);
	assert_true(lw_clock_now_ns(&c) > INT64_C(1700000000) * LW_NS_PER_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err),           cmocka_unit_test(test_buf), cmocka_unit_test(test_integers),
		cmocka_unit_test(test_hex_base64),    cmocka_unit_test(test_ids), cmocka_unit_test(test_arena),
		cmocka_unit_test(test_list),          cmocka_unit_test(test_map), cmocka_unit_test(test_rng),
		cmocka_unit_test(test_backoff_clock),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
