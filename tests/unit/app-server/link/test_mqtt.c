/* The MQTT integration's link against a real broker: what it takes for a replica that is gone, and when it lets the
 * broker know. Events and positions: tests/e2e/test_positions.py. */
#include "../world.h"

#include "app-server/link/mqtt.h"
#include "common/base/xmalloc.h"
#include "tests/fixtures/servers.h"

#define COMMANDS "application/+/device/+/command/+"
#define COMMAND "application/" WORLD_APP "/device/70b3d57ed0000100/command/down"
#define WAIT_MS 20000

struct ctx {
	struct as as;
	struct as_conf conf;
	struct fix_server broker;
	bool up, holds;
	unsigned commands, asked;
};

/* A replica whose connection the broker saw end. On a loop of its own: while that runs, the heir stands still. */
struct owner {
	struct rt_loop *loop;
	struct mqtt *mqtt;
	bool up, answered;
	int answer;
	unsigned downs;
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
	c->as.loop = rt_loop_new();
	c->as.metrics = rt_metrics_new("test_");
	lw_rng_init_system(&c->as.rng);
	if (as_integration_init(&c->as, &(struct rt_daemon_env){.loop = c->as.loop}, &diag) != 0)
		fail_msg("%s", diag.text);
	as_integration_listen(c->as.integration,
			      &(struct as_integration_listener){
				      .up = on_up, .command = on_command, .before_ack = on_before_ack, .arg = c});
	assert_true(rt_loop_run_until(c->as.loop, &c->up, WAIT_MS));
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

static void on_owner_up(void *arg, bool present)
{
	(void)present;
	((struct owner *)arg)->up = true;
}

static void on_owner_down(void *arg, int err, const char *text)
{
	(void)err;
	(void)text;
	((struct owner *)arg)->downs++;
}

static void on_owner_answer(void *arg, int err)
{
	struct owner *o = arg;
	o->answered = true;
	o->answer = err;
}

/* Answered in order: what became of the connection was seen before. */
static void owner_says(struct owner *o, const char *topic)
{
	o->answered = false;
	assert_int_equal(mqtt_publish(o->mqtt, topic, "x", 1, 1, false, on_owner_answer, o), 0);
	assert_true(rt_loop_run_until(o->loop, &o->answered, WAIT_MS));
	assert_int_equal(o->answer, 0);
}

static void owner_comes(struct ctx *c, struct owner *o, const char *client_id, const char *filter)
{
	struct mqtt_opts opts = {.server = c->broker.url,
				 .client_id = client_id,
				 .on_connect = on_owner_up,
				 .on_disconnect = on_owner_down,
				 .arg = o};
	*o = (struct owner){.loop = rt_loop_new()};
	o->mqtt = mqtt_new(o->loop, NULL, &opts, NULL);
	if (filter)
		mqtt_subscribe(o->mqtt, filter, 1);
	assert_true(rt_loop_run_until(o->loop, &o->up, WAIT_MS));
	owner_says(o, "nobody");
}

static void owner_goes(struct owner *o)
{
	mqtt_free(o->mqtt);
	for (int i = 0; i < 20; i++)
		rt_loop_turn(o->loop);
	rt_loop_free(o->loop);
}

/* as-gone was there, and a command came after it: one for it, one for us. */
static void leave_one(struct ctx *c)
{
	struct owner gone, other;
	owner_comes(c, &gone, "as-gone", COMMANDS);
	owner_goes(&gone);
	owner_comes(c, &other, "somebody", NULL);
	owner_says(&other, COMMAND);
	owner_goes(&other);
}

static void wait_commands(struct ctx *c, unsigned n)
{
	bool never = false;
	for (int i = 0; i < WAIT_MS && c->commands < n; i++)
		rt_loop_run_until(c->as.loop, &never, 1);
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
	}
	assert_int_equal(rc, 0);
}

static void test_taken_for_one_who_is_gone(void **state)
{
	struct ctx *c = *state;
	struct owner back;
	bool taken = false;
	leave_one(c);
	wait_commands(c, 1);
	inherit(c, "as-gone", &taken);
	wait_commands(c, 2);
	assert_true(rt_loop_run_until(c->as.loop, &taken, WAIT_MS));
	/* Nothing is left of it. */
	owner_comes(c, &back, "as-gone", COMMANDS);
	owner_goes(&back);
}

/* It goes when the other is back, and comes again when it is asked to. */
static void test_the_other_comes_back(void **state)
{
	struct ctx *c = *state;
	struct owner o;
	bool cut_off = false, other = false, again = false;
	leave_one(c);
	wait_commands(c, 1);
	inherit(c, "as-gone", &cut_off);
	wait_commands(c, 2); /* the heir is connected */
	owner_comes(c, &o, "as-gone", COMMANDS);
	inherit(c, "as-other", &other);
	assert_true(rt_loop_run_until(c->as.loop, &other, WAIT_MS));
	owner_says(&o, "nobody");
	assert_int_equal(o.downs, 0);
	assert_false(cut_off);
	owner_goes(&o);
	inherit(c, "as-gone", &again);
	assert_true(rt_loop_run_until(c->as.loop, &again, WAIT_MS));
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
	while (!c->asked)
		rt_loop_turn(c->as.loop);
	/* Three times as long as it looks at one that is quiet. */
	assert_false(rt_loop_run_until(c->as.loop, &taken, 1500));
	c->holds = false;
	as_integration_acks_go(c->as.integration);
	assert_true(rt_loop_run_until(c->as.loop, &taken, WAIT_MS));
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
