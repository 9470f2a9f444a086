/* The MQTT integration's link against a real broker: what it takes for a replica that is gone, and when it lets the
 * broker know. Events and positions: tests/e2e/test_positions.py. */
#include "../world.h"

#include "app-server/link/mqtt.h"
#include "common/base/xmalloc.h"
#include "tests/fixtures/at_broker.h"
#include "tests/fixtures/servers.h"

#define COMMANDS "application/+/device/+/command/+"
#define COMMAND "application/" WORLD_APP "/device/70b3d57ed0000100/command/down"
#define WAIT_MS 20000
#define STEP_MS 10

struct ctx {
	struct as as;
	struct as_conf conf;
	struct fix_server broker;
	bool up, holds;
	unsigned commands, asked;
};

static void on_up(void *arg, const struct as_positions *has)
{
	(void)has;
	((struct ctx *)arg)->up = true;
}

static void on_command(void *arg, const struct mqtt_message *m)
{
	assert_string_equal(m->topic, COMMAND);
	((struct ctx *)arg)->commands++;
}

static bool on_before_ack(void *arg)
{
	struct ctx *c = arg;
	c->asked++;
	return !c->holds;
}

/* Timers fire as the test goes on: that much for each millisecond that the broker is given. */
static bool run(struct ctx *c, const bool *flag)
{
	for (int i = 0; i < WAIT_MS && !rt_loop_run_until(c->as.loop, flag, 1); i++)
		rt_loop_advance(c->as.loop, STEP_MS);
	return *flag;
}

static int setup(void **state)
{
	static char none[] = "", id[] = "as-1";
	static char events[] = "application/{{application_id}}/device/{{dev_eui}}/event/{{event}}";
	static char commands[] = "application/{{application_id}}/device/{{dev_eui}}/command/{{command}}";
	struct ctx *c = lw_xcalloc(1, sizeof(*c));
	struct lw_diag diag = {""};
	fix_mqtt_start(&c->broker);
	c->conf = (struct as_conf){.mqtt_server = c->broker.url,
				   .mqtt_username = none,
				   .mqtt_password = none,
				   .mqtt_ca = none,
				   .mqtt_cert = none,
				   .mqtt_key = none,
				   .mqtt_client_id = id,
				   .event_topic = events,
				   .command_topic = commands};
	c->as.conf = &c->conf;
	c->as.loop = rt_loop_new_virtual(1700000000 * LW_NS_PER_S);
	c->as.metrics = rt_metrics_new("test_");
	lw_rng_init_system(&c->as.rng);
	if (as_integration_init(&c->as, &(struct rt_daemon_env){.loop = c->as.loop}, &diag) != 0)
		fail_msg("%s", diag.text);
	as_integration_listen(c->as.integration,
			      &(struct as_integration_listener){
				      .up = on_up, .command = on_command, .before_ack = on_before_ack, .arg = c});
	assert_true(run(c, &c->up));
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct ctx *c = *state;
	as_integration_deinit(&c->as);
	rt_metrics_free(c->as.metrics);
	rt_loop_turn(c->as.loop);
	rt_loop_free(c->as.loop);
	fix_stop(&c->broker);
	free(c);
	return 0;
}

/* as-gone was there, and a command came after it: one for it, one for us. */
static void leave_one(struct ctx *c)
{
	struct at_broker gone, other;
	at_broker_comes(&gone, c->broker.url, "as-gone", COMMANDS);
	at_broker_goes(&gone);
	at_broker_comes(&other, c->broker.url, "somebody", NULL);
	at_broker_says(&other, COMMAND);
	at_broker_goes(&other);
}

static void wait_commands(struct ctx *c, unsigned n)
{
	bool never = false;
	for (int i = 0; i < WAIT_MS && c->commands < n; i++) {
		rt_loop_run_until(c->as.loop, &never, 1);
		rt_loop_advance(c->as.loop, STEP_MS);
	}
	assert_int_equal(c->commands, n);
}

static void on_taken(void *arg, const char *client_id)
{
	(void)client_id;
	*(bool *)arg = true;
}

/* Asks until the one before is done with. */
static void inherit(struct ctx *c, const char *client_id, bool *taken)
{
	bool never = false;
	int rc;
	for (int i = 0; (rc = as_integration_inherit(c->as.integration, client_id, on_taken, taken)) == LW_EEXISTS;
	     i++) {
		assert_true(i < WAIT_MS);
		rt_loop_run_until(c->as.loop, &never, 1);
		rt_loop_advance(c->as.loop, STEP_MS);
	}
	assert_int_equal(rc, 0);
}

static void test_taken_for_one_who_is_gone(void **state)
{
	struct ctx *c = *state;
	struct at_broker back;
	bool taken = false;
	leave_one(c);
	wait_commands(c, 1);
	inherit(c, "as-gone", &taken);
	wait_commands(c, 2);
	assert_true(run(c, &taken));
	/* Nothing is left of it. */
	at_broker_comes(&back, c->broker.url, "as-gone", COMMANDS);
	at_broker_goes(&back);
}

/* It goes when the other is back, and comes again when it is asked to. */
static void test_the_other_comes_back(void **state)
{
	struct ctx *c = *state;
	struct at_broker o;
	bool cut_off = false, other = false, again = false;
	leave_one(c);
	wait_commands(c, 1);
	inherit(c, "as-gone", &cut_off);
	wait_commands(c, 2); /* the heir is connected */
	at_broker_comes(&o, c->broker.url, "as-gone", COMMANDS);
	inherit(c, "as-other", &other);
	assert_true(run(c, &other));
	at_broker_says(&o, "nobody");
	assert_int_equal(o.downs, 0);
	assert_false(cut_off);
	at_broker_goes(&o);
	inherit(c, "as-gone", &again);
	assert_true(run(c, &again));
	assert_false(cut_off);
}

/* What is not written is not acknowledged, and the broker not told to forget it. */
static void test_taken_and_not_written(void **state)
{
	struct ctx *c = *state;
	bool taken = false;
	leave_one(c);
	wait_commands(c, 1);
	c->holds = true;
	c->asked = 0;
	inherit(c, "as-gone", &taken);
	wait_commands(c, 2);
	for (int i = 0; i < WAIT_MS && !c->asked; i++) {
		rt_loop_turn(c->as.loop);
		rt_loop_advance(c->as.loop, STEP_MS);
	}
	assert_true(c->asked > 0);
	/* Three times as long as it looks at one that is quiet. */
	for (int ms = 0; ms < 1500; ms += STEP_MS) {
		rt_loop_advance(c->as.loop, STEP_MS);
		rt_loop_turn(c->as.loop);
	}
	assert_false(taken);
	c->holds = false;
	as_integration_acks_go(c->as.integration);
	assert_true(run(c, &taken));
	assert_int_equal(c->commands, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_taken_for_one_who_is_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_other_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_taken_and_not_written, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
