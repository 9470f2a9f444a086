/* Devices as events need them: what is read once for many, whose tags win, what forgetting does. */
#include "../world.h"

#include "app-server/flow/devices.h"

#define FIRST 0x70b3d57ed0000100u
#define MANY 300

static struct world w;
static struct as_devices *devices;

struct answer {
	bool done;
	int err;
};

static void on_answer(void *arg, int err, struct as_device_ask **v, size_t n)
{
	struct answer *a = arg;
	(void)v;
	(void)n;
	a->err = err;
	a->done = true;
}

/* Reads n devices from DevEUI `first` together; the references are the caller's. */
static void fetch(uint64_t first, size_t n, struct as_device **out)
{
	struct as_device_ask asks[MANY], *v[MANY];
	struct answer a = {0};
	for (size_t i = 0; i < n; i++) {
		asks[i] = (struct as_device_ask){.dev_eui = first + i};
		v[i] = &asks[i];
	}
	as_devices_fetch(devices, v, n, on_answer, &a);
	assert_true(rt_loop_run_until(w.as.loop, &a.done, WORLD_WAIT_MS));
	assert_int_equal(a.err, 0);
	for (size_t i = 0; i < n; i++)
		out[i] = asks[i].dev;
}

static void run_text(const struct sql_stmt *stmt)
{
	struct sql_tx *tx = sql_tx_new(w.as.db);
	sql_tx_add(tx, stmt, NULL, NULL);
	world_commit(&w, tx);
}

static const char *tag(struct as_tags t, const char *key)
{
	for (size_t i = 0; i < t.n; i++)
		if (strcmp(t.v[i]->key, key) == 0)
			return t.v[i]->value;
	return "";
}

static uint64_t reads(void)
{
	struct sql_stats s;
	sql_get_stats(w.as.db, &s);
	return s.queries;
}

/* One statement for the devices, and one for what they have in common, which is not read again soon. */
static void test_shared(void **state)
{
	struct as_device *v[MANY];
	(void)state;
	as_devices_forget(devices, NULL);
	uint64_t before = reads();
	fetch(FIRST, 100, v);
	assert_int_equal(reads() - before, 2);
	for (size_t i = 0; i < 100; i++) {
		assert_non_null(v[i]);
		assert_string_equal(v[i]->text.tenant_id, WORLD_TENANT);
		assert_string_equal(v[i]->text.tenant_name, "Acme");
		assert_string_equal(v[i]->text.application_id, WORLD_APP);
		assert_string_equal(v[i]->text.application_name, "farm");
		assert_string_equal(v[i]->text.device_profile_id, WORLD_PROFILE);
		assert_string_equal(v[i]->text.device_profile_name, "soil-probe");
		assert_string_equal(v[i]->text.device_name, "probe");
		assert_int_equal(v[i]->dev_eui, FIRST + i);
		as_device_unref(v[i]);
	}
	before = reads();
	fetch(FIRST + 100, 100, v);
	assert_int_equal(reads() - before, 1);
	assert_string_equal(v[99]->text.application_name, "farm");
	for (size_t i = 0; i < 100; i++)
		as_device_unref(v[i]);
	assert_int_equal(as_devices_count(devices), 200);
}

static void test_tags(void **state)
{
	static const struct sql_stmt own = {.name = "t_own",
					    .text = "UPDATE device SET tags = '{\"x\":\"device\",\"own\":\"1\"}' WHERE "
						    "dev_eui = '70b3d57ed0000101'"};
	struct as_device *v[2];
	(void)state;
	run_text(&own);
	as_devices_forget(devices, NULL);
	fetch(FIRST, 2, v);
	assert_string_equal(tag(v[0]->text.tags, "site"), "north");
	assert_string_equal(tag(v[0]->text.tags, "x"), "profile");
	assert_int_equal(v[0]->text.tags.n, 2);
	assert_string_equal(tag(v[0]->text.tags_down, "x"), "profile");
	assert_int_equal(v[0]->text.tags_down.n, 1);
	assert_string_equal(tag(v[1]->text.tags, "site"), "north");
	assert_string_equal(tag(v[1]->text.tags, "x"), "device");
	assert_string_equal(tag(v[1]->text.tags, "own"), "1");
	assert_int_equal(v[1]->text.tags.n, 3);
	assert_string_equal(tag(v[1]->text.tags_down, "x"), "device");
	assert_int_equal(v[1]->text.tags_down.n, 2);
	as_device_unref(v[0]);
	as_device_unref(v[1]);
}

/* What is in use stays as it was; what is read afterwards is new. */
static void test_forgotten(void **state)
{
	static const struct sql_stmt rename = {.name = "t_rename", .text = "UPDATE application SET name = 'orchard'"};
	static const struct sql_stmt back = {.name = "t_back", .text = "UPDATE application SET name = 'farm'"};
	struct as_device *old, *new;
	(void)state;
	fetch(FIRST, 1, &old);
	run_text(&rename);
	as_devices_forget(devices, NULL);
	assert_int_equal(as_devices_count(devices), 0);
	fetch(FIRST, 1, &new);
	assert_string_equal(old->text.application_name, "farm");
	assert_string_equal(new->text.application_name, "orchard");
	as_device_unref(old);
	as_device_unref(new);
	run_text(&back);
	as_devices_forget(devices, NULL);
}

static void test_unknown(void **state)
{
	struct as_device *v[3];
	(void)state;
	fetch(FIRST + MANY - 1, 3, v);
	assert_non_null(v[0]);
	assert_null(v[1]);
	assert_null(v[2]);
	as_device_unref(v[0]);
}

/* Forgotten while the database is asked: answered, not kept. */
static void test_forgotten_meanwhile(void **state)
{
	struct as_device_ask ask = {.dev_eui = FIRST}, *v[] = {&ask};
	struct answer a = {0};
	(void)state;
	as_devices_forget(devices, NULL);
	as_devices_fetch(devices, v, 1, on_answer, &a);
	as_devices_forget(devices, NULL);
	assert_true(rt_loop_run_until(w.as.loop, &a.done, WORLD_WAIT_MS));
	assert_non_null(ask.dev);
	assert_int_equal(as_devices_count(devices), 0);
	as_device_unref(ask.dev);
}

static int setup(void **state)
{
	(void)state;
	world_open(&w);
	world_add_devices(&w, FIRST, MANY);
	devices = as_devices_new(&w.as);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	world_close_db(&w);
	as_devices_free(devices);
	world_close(&w);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_shared), cmocka_unit_test(test_tags),
					   cmocka_unit_test(test_forgotten), cmocka_unit_test(test_unknown),
					   cmocka_unit_test(test_forgotten_meanwhile)};
	return cmocka_run_group_tests(tests, setup, teardown);
}
