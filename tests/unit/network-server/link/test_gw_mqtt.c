/* The gateways' side of the broker: a real Mosquitto, a real journal. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/xmalloc.h"
#include "common/pb/schema.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"
#include "network-server/link/gw_mqtt.h"
#include "tests/fixtures/at_broker.h"
#include "tests/fixtures/servers.h"

#define MAX_SEEN 256
#define GW "0102030405060708"

struct seen {
	enum ns_gw_event kind;
	char region[24];
	char payload[64];
	uint64_t position;
	bool is_replay;
};

struct world {
	struct fix_server broker;
	struct rt_loop *loop;
	struct rt_log *log;
	struct rt_metrics *metrics;
	struct lw_schema *schema;
	const struct ns_region_config *regions[2];
	struct ns_gw_mqtt *g;
	struct mqtt *peer; /* a gateway's side */
	bool up, peer_up;
	unsigned downs; /* attempts that failed are among them */
	struct seen seen[MAX_SEEN];
	size_t n;
	size_t room; /* messages that are taken before LW_EFULL */
	char topic[128];
	uint8_t command[2048];
	size_t n_command;
	size_t n_commands, n_published;
	uint16_t receive_maximum;
};

static int on_message(void *arg, const struct ns_gw_message *m)
{
	struct world *w = arg;
	if (!w->room)
		return LW_EFULL;
	w->room--;
	assert_true(w->n < MAX_SEEN);
	struct seen *s = &w->seen[w->n++];
	s->kind = m->kind;
	s->position = m->journal_position;
	s->is_replay = m->is_replay;
	snprintf(s->region, sizeof(s->region), "%s", m->region->id);
	snprintf(s->payload, sizeof(s->payload), "%.*s", (int)m->payload.n, (const char *)m->payload.p);
	return 0;
}

static void on_state(void *arg, bool up, const char *detail)
{
	struct world *w = arg;
	(void)detail;
	w->up = up;
	w->downs += !up;
}

static void on_peer_connect(void *arg, bool present)
{
	(void)present;
	((struct world *)arg)->peer_up = true;
}

static void on_command(void *arg, const struct mqtt_message *m)
{
	struct world *w = arg;
	snprintf(w->topic, sizeof(w->topic), "%s", m->topic);
	assert_true(m->payload.n <= sizeof(w->command));
	memcpy(w->command, m->payload.p, m->payload.n);
	w->n_command = m->payload.n;
	w->n_commands++;
}

static void on_published(void *arg, int err)
{
	if (err == LW_ECANCELLED)
		return; /* the end of a test, which need not wait for the broker's word */
	assert_int_equal(err, 0);
	((struct world *)arg)->n_published++;
}

static void turn(struct world *w, uint32_t ms)
{
	bool never = false;
	rt_loop_run_until(w->loop, &never, ms);
}

static void wait_count(struct world *w, const size_t *n, size_t want)
{
	for (int i = 0; i < 20000 && *n < want; i++)
		turn(w, 1);
	assert_int_equal(*n, want);
}

static void start(struct world *w)
{
	struct lw_diag diag = {""};
	char dir[96];
	snprintf(dir, sizeof(dir), "%s/inbox", w->broker.dir);
	rt_metrics_free(w->metrics);
	w->metrics = rt_metrics_new("t_");
	struct ns_gw_mqtt_opts o = {
		.loop = w->loop,
		.log = w->log,
		.metrics = w->metrics,
		.mqtt = {.server = w->broker.url, .client_id = "ns-test", .receive_maximum = w->receive_maximum},
		.share = "longwave",
		.qos = 1,
		.journal_dir = dir,
		.regions = w->regions,
		.n_regions = 2,
		.on_message = on_message,
		.on_state = on_state,
		.arg = w};
	if (ns_gw_mqtt_new(&w->g, &o, &diag) != 0)
		fail_msg("%s", diag.text);
	assert_true(rt_loop_run_until(w->loop, &w->up, 20000));
}

static int setup_on(void **state, struct rt_loop *loop)
{
	struct world *w = lw_xcalloc(1, sizeof(*w));
	fix_mqtt_start(&w->broker);
	w->loop = loop;
	w->log = rt_log_new(2, RT_LOG_TEXT, RT_ERROR);
	w->schema = lw_schema_new();
	w->regions[0] = ns_region_config_find("eu868");
	w->regions[1] = ns_region_config_find("us915_0");
	w->room = SIZE_MAX;
	struct mqtt_opts o = {.server = w->broker.url,
			      .client_id = "gateway",
			      .on_connect = on_peer_connect,
			      .on_message = on_command,
			      .arg = w};
	w->peer = mqtt_new(w->loop, w->log, &o, NULL);
	mqtt_subscribe(w->peer, "eu868/gateway/+/command/down", 1);
	start(w);
	assert_true(rt_loop_run_until(w->loop, &w->peer_up, 20000));
	for (int i = 0; i < 5000 && !mqtt_subscribed(w->peer); i++)
		turn(w, 1);
	*state = w;
	return 0;
}

static int setup(void **state)
{
	return setup_on(state, rt_loop_new());
}

/* Timers fire when the test says so. */
static int setup_virtual(void **state)
{
	return setup_on(state, rt_loop_new_virtual(1700000000 * LW_NS_PER_S));
}

static int teardown(void **state)
{
	struct world *w = *state;
	ns_gw_mqtt_free(w->g);
	mqtt_free(w->peer);
	for (int i = 0; i < 20; i++)
		rt_loop_turn(w->loop);
	rt_loop_free(w->loop);
	rt_metrics_free(w->metrics);
	lw_schema_free(w->schema);
	rt_log_free(w->log);
	fix_stop(&w->broker);
	free(w);
	return 0;
}

static void publish(struct world *w, const char *topic, const char *payload)
{
	assert_int_equal(mqtt_publish(w->peer, topic, payload, strlen(payload), 1, false, on_published, w), 0);
}

/* A first message until it comes: the shared subscription may not stand yet. */
static void settle(struct world *w)
{
	for (int i = 0; i < 200 && !w->n; i++) {
		publish(w, "eu868/gateway/" GW "/event/stats", "settle");
		turn(w, 25);
	}
	assert_true(w->n > 0);
	/* What is still under way comes before this. */
	publish(w, "eu868/gateway/" GW "/event/stats", "settled");
	for (int i = 0; i < 20000 && strcmp(w->seen[w->n - 1].payload, "settled") != 0; i++)
		turn(w, 1);
	assert_string_equal(w->seen[w->n - 1].payload, "settled");
	size_t sent = w->n_published + mqtt_pending(w->peer);
	wait_count(w, &w->n_published, sent);
	w->n = 0;
}

/* The broker reads one packet of each connection in a turn: after so many answers to one client it has read the
 * acknowledgements of another that is gone. Without that, whoever takes over the session is given some again. */
static void broker_has_read(struct world *w)
{
	for (int i = 0; i < 30; i++) {
		size_t want = w->n_published + 1;
		publish(w, "nobody", "x");
		wait_count(w, &w->n_published, want);
	}
}

static void test_topics(void **state)
{
	static const char *const WRONG[] = {
		"eu868/gateway/" GW "/event/uplink",      "eu868/gateway/" GW "/event/raw",
		"eu868/gateway/010203040506070/event/up", "eu868/gateway/01020304050607zz/event/up",
		"us915_0/gateway/" GW "0/event/up",
	};
	struct world *w = *state;
	settle(w);
	for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
		publish(w, WRONG[i], "x");
	publish(w, "us915_0/gateway/0102030405060A0B/event/up", "u");
	publish(w, "eu868/gateway/" GW "/event/up", "e");
	publish(w, "eu868/gateway/" GW "/event/stats", "s");
	publish(w, "eu868/gateway/" GW "/event/ack", "");
	wait_count(w, &w->n, 4);
	turn(w, 50);
	assert_int_equal(w->n, 4);
	assert_string_equal(w->seen[0].region, "us915_0");
	assert_int_equal(w->seen[0].kind, NS_GW_UP);
	assert_true(w->seen[0].position != 0);
	assert_string_equal(w->seen[1].region, "eu868");
	assert_string_equal(w->seen[1].payload, "e");
	/* Only receptions are worth a place in the journal. */
	assert_int_equal(w->seen[2].kind, NS_GW_STATS);
	assert_int_equal(w->seen[3].kind, NS_GW_ACK);
	assert_true(w->seen[2].position == 0 && w->seen[3].position == 0);
}

static void send_command(struct world *w)
{
	Gw__DownlinkFrame f = GW__DOWNLINK_FRAME__INIT;
	size_t want = w->n_commands + 1;
	f.gateway_id = (char[]){GW};
	f.downlink_id = 1234;
	assert_int_equal(ns_gw_mqtt_send(w->g, w->regions[0], &f, w->schema), 0);
	wait_count(w, &w->n_commands, want);
	assert_string_equal(w->topic, "eu868/gateway/" GW "/command/down");
}

static void test_encoding_follows_the_gateway(void **state)
{
	struct world *w = *state;
	settle(w);
	send_command(w);
	assert_true(w->n_command > 0 && w->command[0] != '{');
	publish(w, "eu868/gateway/" GW "/event/stats", " {\"gatewayId\":\"" GW "\"}");
	wait_count(w, &w->n, 1);
	send_command(w);
	assert_int_equal(w->command[0], '{');
	assert_non_null(memmem(w->command, w->n_command, "\"downlinkId\":1234", 17));
	/* A payload that only spells the word is no JSON. */
	publish(w, "eu868/gateway/" GW "/event/stats", "\x0agatewayId{");
	wait_count(w, &w->n, 2);
	send_command(w);
	assert_true(w->command[0] != '{');
}

static void test_journal(void **state)
{
	struct world *w = *state;
	settle(w);
	for (int i = 0; i < 5; i++) {
		char payload[16];
		snprintf(payload, sizeof(payload), "p%d", i);
		publish(w, "eu868/gateway/" GW "/event/up", payload);
	}
	wait_count(w, &w->n, 5);
	wait_count(w, &w->n_published, w->n_published + mqtt_pending(w->peer));
	ns_gw_mqtt_done(w->g, w->seen[0].position);
	ns_gw_mqtt_done(w->g, w->seen[3].position);
	ns_gw_mqtt_done(w->g, w->seen[3].position);
	ns_gw_mqtt_done(w->g, 0);
	/* The end of the process, and its next one: in order, before anything new. */
	ns_gw_mqtt_free(w->g);
	broker_has_read(w);
	w->n = 0;
	w->up = false;
	w->room = 2; /* less than there is */
	start(w);
	publish(w, "eu868/gateway/" GW "/event/up", "new");
	wait_count(w, &w->n, 2);
	turn(w, 100);
	assert_int_equal(w->n, 2);
	w->room = SIZE_MAX;
	ns_gw_mqtt_room(w->g);
	wait_count(w, &w->n, 4);
	static const char *const WANT[] = {"p1", "p2", "p4", "new"};
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(w->seen[i].payload, WANT[i]);
		assert_int_equal(w->seen[i].is_replay, i < 3);
		assert_int_equal(w->seen[i].kind, NS_GW_UP);
		ns_gw_mqtt_done(w->g, w->seen[i].position);
	}
	ns_gw_mqtt_free(w->g);
	broker_has_read(w);
	w->n = 0;
	w->up = false;
	start(w);
	turn(w, 50);
	assert_int_equal(w->n, 0);
}

static size_t count_segments(const struct world *w)
{
	char dir[96];
	size_t n = 0;
	snprintf(dir, sizeof(dir), "%s/inbox", w->broker.dir);
	DIR *d = opendir(dir);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += strstr(e->d_name, ".jnl") != NULL;
	closedir(d);
	return n;
}

/* More than the broker sends without an acknowledgement, in small groups that are dealt with or not. */
static void rounds(struct world *w, bool deal)
{
	enum { MANY = 20, FEW = 3, ROUNDS = 3 * MANY / FEW };
	ns_gw_mqtt_free(w->g);
	w->up = false;
	w->receive_maximum = MANY;
	start(w);
	for (size_t i = 0; i < ROUNDS; i++) {
		w->n = 0;
		for (size_t k = 0; k < FEW; k++)
			publish(w, "eu868/gateway/" GW "/event/up", "u");
		wait_count(w, &w->n, FEW);
		rt_loop_advance(w->loop, 20); /* they are due */
		assert_int_equal(count_segments(w), i > 0 && !deal);
		for (size_t k = 0; k < FEW && deal; k++)
			ns_gw_mqtt_done(w->g, w->seen[k].position);
		rt_loop_advance(w->loop, deal ? 0 : 80);
	}
}

static void test_dealt_with_before_it_is_written(void **state)
{
	settle(*state);
	rounds(*state, true);
	assert_int_equal(count_segments(*state), 0);
}

static void test_not_dealt_with_in_time(void **state)
{
	settle(*state);
	rounds(*state, false);
	assert_int_equal(count_segments(*state), 1);
}

/* The broker does not have it any more. */
static void test_of_qos_0_is_written_at_once(void **state)
{
	struct world *w = *state;
	settle(w);
	/* With no acknowledgement due, behind which it would be. */
	ns_gw_mqtt_free(w->g);
	broker_has_read(w);
	w->up = false;
	start(w);
	assert_int_equal(mqtt_publish(w->peer, "eu868/gateway/" GW "/event/up", "u", 1, 0, false, NULL, NULL), 0);
	wait_count(w, &w->n, 1);
	rt_loop_turn(w->loop);
	assert_int_equal(count_segments(w), 1);
}

static void test_retry(void **state)
{
	struct world *w = *state;
	settle(w);
	publish(w, "eu868/gateway/" GW "/event/up", "a");
	publish(w, "eu868/gateway/" GW "/event/up", "b");
	wait_count(w, &w->n, 2);
	uint64_t a = w->seen[0].position, b = w->seen[1].position;
	ns_gw_mqtt_retry(w->g, a);
	ns_gw_mqtt_retry(w->g, b);
	ns_gw_mqtt_retry(w->g, a); /* once is enough */
	ns_gw_mqtt_retry(w->g, 0);
	wait_count(w, &w->n, 4);
	assert_true(w->seen[2].position == a && w->seen[3].position == b);
	assert_true(w->seen[2].is_replay);
	assert_string_equal(w->seen[3].payload, "b");
	ns_gw_mqtt_done(w->g, a);
	ns_gw_mqtt_retry(w->g, a); /* dealt with: nothing comes */
	ns_gw_mqtt_retry(w->g, b); /* again after an own time */
	wait_count(w, &w->n, 5);
	assert_true(w->seen[4].position == b);
}

/* No room: the broker keeps what we do not read; nothing is lost or turned round. */
static void test_back_pressure(void **state)
{
	struct world *w = *state;
	enum { N = 200 };
	settle(w);
	w->room = 10;
	for (int i = 0; i < N; i++) {
		char payload[16];
		snprintf(payload, sizeof(payload), "%d", i);
		publish(w, "eu868/gateway/" GW "/event/up", payload);
	}
	for (size_t given = 10; given < N; given += 19) {
		wait_count(w, &w->n, given);
		w->room = N - given < 19 ? N - given : 19;
		ns_gw_mqtt_room(w->g);
	}
	wait_count(w, &w->n, N);
	for (int i = 0; i < N; i++)
		assert_int_equal(atoi(w->seen[i].payload), i);
}

/* Draining: nothing more comes, the next process gets the rest. */
static void test_pause(void **state)
{
	struct world *w = *state;
	settle(w);
	ns_gw_mqtt_pause(w->g);
	publish(w, "eu868/gateway/" GW "/event/up", "later");
	turn(w, 150);
	assert_int_equal(w->n, 0);
	ns_gw_mqtt_free(w->g);
	w->up = false;
	start(w);
	wait_count(w, &w->n, 1);
	assert_string_equal(w->seen[0].payload, "later");
}

static void on_taken(void *arg, const char *client_id)
{
	(void)client_id;
	*(bool *)arg = true;
}

static void test_broker_away(void **state)
{
	struct world *w = *state;
	Gw__DownlinkFrame f = GW__DOWNLINK_FRAME__INIT;
	bool taken = false;
	settle(w);
	fix_kill9(&w->broker);
	for (int i = 0; i < 5000 && w->up; i++)
		turn(w, 1);
	assert_false(w->up);
	f.gateway_id = (char[]){GW};
	assert_int_equal(ns_gw_mqtt_send(w->g, w->regions[0], &f, w->schema), LW_EUNAVAILABLE);
	ns_gw_mqtt_inherit(w->g, "ns-gone", on_taken, &taken);
	/* It is refused at once and looked at meanwhile: the second of these attempts comes 375 ms after the first. */
	for (unsigned i = 0, from = w->downs; i < 20000 && w->downs < from + 2; i++)
		turn(w, 1);
	fix_mqtt_run(&w->broker);
	assert_true(rt_loop_run_until(w->loop, &w->up, 30000));
	/* Who was never connected is not cut off. */
	assert_true(rt_loop_run_until(w->loop, &taken, 30000));
}

/* ---- what is kept for another ---- */

/* A replica whose connection the broker saw end. Its topic is none of those that an heir ends. */
static void owner_comes(struct world *w, struct at_broker *o)
{
	at_broker_comes(o, w->broker.url, "ns-gone", "eu868/gateway/+/event/up");
}

/* Whoever takes what was kept for another goes when the other is back, and comes again when it is asked to. */
static void test_heir_of_one_who_comes_back(void **state)
{
	struct world *w = *state;
	struct at_broker o;
	bool cut_off = false, other = false, again = false;
	settle(w);
	owner_comes(w, &o);
	at_broker_goes(&o);
	publish(w, "eu868/gateway/" GW "/event/up", "kept");
	wait_count(w, &w->n, 1); /* ours */
	ns_gw_mqtt_inherit(w->g, "ns-gone", on_taken, &cut_off);
	wait_count(w, &w->n, 2); /* the other's: the heir is connected */
	assert_string_equal(w->seen[1].payload, "kept");
	owner_comes(w, &o);
	/* Meanwhile one comes and looks for long enough. Who would come back to the broker does in half that time. */
	ns_gw_mqtt_inherit(w->g, "ns-other", on_taken, &other);
	assert_true(rt_loop_run_until(w->loop, &other, 20000));
	at_broker_says(&o, "nobody");
	assert_int_equal(o.downs, 0);
	at_broker_goes(&o);
	ns_gw_mqtt_inherit(w->g, "ns-gone", on_taken, &again);
	assert_true(rt_loop_run_until(w->loop, &again, 20000));
	assert_false(cut_off);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_topics, setup, teardown),
		cmocka_unit_test_setup_teardown(test_encoding_follows_the_gateway, setup, teardown),
		cmocka_unit_test_setup_teardown(test_journal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dealt_with_before_it_is_written, setup_virtual, teardown),
		cmocka_unit_test_setup_teardown(test_not_dealt_with_in_time, setup_virtual, teardown),
		cmocka_unit_test_setup_teardown(test_of_qos_0_is_written_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retry, setup, teardown),
		cmocka_unit_test_setup_teardown(test_back_pressure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pause, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broker_away, setup, teardown),
		cmocka_unit_test_setup_teardown(test_heir_of_one_who_comes_back, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
