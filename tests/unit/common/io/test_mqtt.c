/* The MQTT client against a real broker of its own on a free port. */
#include "common/io/mqtt.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/xmalloc.h"
#include "common/io/mqtt_internal.h"
#include "common/io/mqtt_text.h"
#include "common/runtime/metrics.h"
#include "tests/fixtures/servers.h"

#define LONG_MS 60000

struct rig {
	char dir[64];
	char url[64];
	unsigned port, tls_port;
	pid_t broker;
	struct rt_loop *loop;
	bool flag; /* something that a test waits for has happened */
	size_t received, want;
	size_t done, failed, want_done;
	int last_err;
	int first_end; /* why the first connection ended; the next attempt may fail in the same turn */
	size_t connects, disconnects, before_acks;
	bool session_present;
	char topic[64], payload[64];
	bool retain;
	bool keeps_back;
	size_t at_before_ack; /* messages received when before_ack ran last */
	struct mqtt *echo;    /* publishes from inside on_message */
};

static void broker_start(struct rig *r)
{
	char path[96];
	snprintf(path, sizeof(path), "%s/broker.conf", r->dir);
	FILE *f = fopen(path, "w");
	fprintf(f,
		"listener %u 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n"
		"persistence true\npersistence_location %s/\n",
		r->port, r->dir);
	if (r->tls_port)
		fprintf(f, "listener %u 127.0.0.1\ncertfile %s/cert.pem\nkeyfile %s/key.pem\n", r->tls_port, r->dir,
			r->dir);
	fclose(f);
	r->broker = fork();
	if (r->broker == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, 1);
		dup2(null, 2);
		execlp("mosquitto", "mosquitto", "-c", path, (char *)NULL);
		execl("/usr/sbin/mosquitto", "mosquitto", "-c", path, (char *)NULL);
		_exit(127);
	}
	for (int i = 0;; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		struct sockaddr_in a = {.sin_family = AF_INET,
					.sin_port = htons((uint16_t)r->port),
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		int rc = connect(fd, (struct sockaddr *)&a, sizeof(a));
		close(fd);
		if (rc == 0)
			break;
		assert_true(i < 2000);
		usleep(5000); /* polling, bounded by the count */
	}
}

static void broker_stop(struct rig *r, int signum)
{
	kill(r->broker, signum);
	waitpid(r->broker, NULL, 0);
}

static int setup(void **state)
{
	struct rig *r = lw_xcalloc(1, sizeof(*r));
	strcpy(r->dir, "/tmp/lw_mqtt_XXXXXX");
	if (!mkdtemp(r->dir))
		return -1;
	/* The broker may run as another user. */
	if (chmod(r->dir, 0777) != 0)
		return -1;
	r->port = (unsigned)fix_free_port();
	snprintf(r->url, sizeof(r->url), "tcp://127.0.0.1:%u", r->port);
	broker_start(r);
	r->loop = rt_loop_new();
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;
	rt_loop_free(r->loop);
	broker_stop(r, SIGTERM);
	char cmd[128];
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", r->dir);
	int rc = system(cmd);
	free(r);
	return rc;
}

static void on_message(void *arg, const struct mqtt_message *m)
{
	struct rig *r = arg;
	snprintf(r->topic, sizeof(r->topic), "%s", m->topic);
	snprintf(r->payload, sizeof(r->payload), "%.*s", (int)m->payload.n, (const char *)m->payload.p);
	r->retain = m->retain;
	if (++r->received == r->want)
		r->flag = true;
	if (r->echo)
		assert_int_equal(mqtt_publish(r->echo, "echo", m->payload.p, m->payload.n, 1, false, NULL, NULL), 0);
}

static bool on_before_ack(void *arg)
{
	struct rig *r = arg;
	r->before_acks++;
	r->at_before_ack = r->received;
	return !r->keeps_back;
}

static void on_connect(void *arg, bool session_present)
{
	struct rig *r = arg;
	r->connects++;
	r->session_present = session_present;
	r->flag = true;
}

static void on_disconnect(void *arg, int err, const char *text)
{
	struct rig *r = arg;
	assert_true(err < 0);
	assert_true(strlen(text) > 0);
	r->last_err = err;
	if (r->disconnects++ == 0)
		r->first_end = err;
	r->flag = true;
}

static void on_done(void *arg, int err)
{
	struct rig *r = arg;
	r->done += err == 0;
	r->failed += err != 0;
	r->last_err = err;
	if (r->done + r->failed == r->want_done)
		r->flag = true;
}

static struct mqtt_opts options(struct rig *r, const char *id)
{
	return (struct mqtt_opts){
		.server = r->url,
		.client_id = id,
		.clean_session = true,
		.backoff_min_ms = 10,
		.backoff_max_ms = 50,
		.on_message = on_message,
		.before_ack = on_before_ack,
		.on_connect = on_connect,
		.on_disconnect = on_disconnect,
		.arg = r,
	};
}

static struct mqtt *client(struct rig *r, const struct mqtt_opts *o)
{
	struct lw_diag d = {0};
	struct mqtt *m = mqtt_new(r->loop, NULL, o, &d);
	if (!m)
		fail_msg("%s", d.text);
	return m;
}

static void await(struct rig *r)
{
	assert_true(rt_loop_run_until(r->loop, &r->flag, LONG_MS));
	r->flag = false;
}

static void await_up(struct rig *r, struct mqtt *m)
{
	for (int i = 0; i < 10000 && !mqtt_subscribed(m); i++) {
		bool never = false;
		rt_loop_run_until(r->loop, &never, 2);
	}
	assert_true(mqtt_subscribed(m));
	r->flag = false;
}

static void messages_travel(struct rig *r, enum mqtt_version version)
{
	struct mqtt_opts o = options(r, "one");
	o.version = version;
	struct mqtt *m = client(r, &o);
	assert_int_equal(mqtt_publish(m, "a/b", "x", 1, 1, false, on_done, r), LW_EUNAVAILABLE);
	assert_int_equal(mqtt_subscribe(m, "a/#", 1), 0);
	assert_int_equal(mqtt_subscribe(m, "a/#/b", 1), LW_EINVAL);
	await_up(r, m);
	r->want = 1;
	r->want_done = 99;
	assert_int_equal(mqtt_publish(m, "a/b", "hello", 5, 1, false, on_done, r), 0);
	assert_int_equal(mqtt_pending(m), 1);
	await(r);
	assert_string_equal(r->topic, "a/b");
	assert_string_equal(r->payload, "hello");
	assert_int_equal(mqtt_publish(m, "a/+", "x", 1, 1, false, NULL, NULL), LW_EINVAL);
	assert_int_equal(mqtt_publish(m, "", "x", 1, 1, false, NULL, NULL), LW_EINVAL);

	/* QoS 0 is done once written; an empty payload travels, too. */
	r->want = 2;
	r->want_done = 2;
	assert_int_equal(mqtt_publish(m, "a/c", NULL, 0, 0, false, on_done, r), 0);
	await(r);
	while (r->received < 2)
		await(r);
	assert_int_equal(r->done, 2);
	assert_string_equal(r->payload, "");

	assert_int_equal(mqtt_unsubscribe(m, "a/#"), 0);
	assert_int_equal(mqtt_unsubscribe(m, "a/#"), LW_ENOTFOUND);
	r->want_done = 3;
	assert_int_equal(mqtt_publish(m, "a/d", "x", 1, 1, false, on_done, r), 0);
	await(r);
	assert_int_equal(r->received, 2);
	mqtt_free(m);
}

static void messages_travel_v5(void **state)
{
	messages_travel(*state, MQTT_V5);
}

static void messages_travel_v311(void **state)
{
	messages_travel(*state, MQTT_V311);
}

static void a_burst_beyond_the_window_is_all_done(void **state)
{
	enum { N = 30000 };
	struct rig *r = *state;
	struct mqtt_opts o = options(r, "burst");
	struct mqtt *m = client(r, &o);
	mqtt_subscribe(m, "b", 1);
	await_up(r, m);
	o = options(r, "sender");
	o.before_ack = NULL;
	struct mqtt *pub = client(r, &o);
	await_up(r, pub);
	r->want = N;
	r->want_done = N;
	int64_t t0 = lw_mono_ns();
	for (int i = 0; i < N; i++)
		assert_int_equal(mqtt_publish(pub, "b", &i, sizeof(i), 1, false, on_done, r), 0);
	assert_int_equal(mqtt_pending(pub), N);
	while (r->received < N || r->done < N)
		await(r);
	double s = (double)(lw_mono_ns() - t0) / 1e9;
	size_t batches = N / 8 + (size_t)(s * 200); /* each large, or 5 ms after the one before */
	struct mqtt_stats st;
	mqtt_stats(pub, &st);
	print_message("%d published and received in %.2f s, %llu flushes of the sender\n", N, s,
		      (unsigned long long)st.writes);
	assert_int_equal(st.acked, N);
	assert_int_equal(st.failed, 0);
	/* The receiver answers in batches, each after before_ack. */
	for (int i = 0; i < 10000 && r->at_before_ack < N; i++) {
		bool never = false;
		rt_loop_run_until(r->loop, &never, 2);
	}
	assert_int_equal(r->at_before_ack, N);
	mqtt_stats(m, &st);
	assert_true(r->before_acks < batches);
	assert_true(st.writes < batches);
	mqtt_free(pub);
	mqtt_free(m);
}

/* What before_ack does is due for messages without acknowledgements, too. */
static void qos_0_alone_is_settled(void **state)
{
	struct rig *r = *state;
	struct mqtt_opts o = options(r, "settles");
	struct mqtt *m = client(r, &o);
	mqtt_subscribe(m, "z", 1);
	await_up(r, m);
	r->want_done = 1;
	assert_int_equal(mqtt_publish(m, "z", "x", 1, 0, false, on_done, r), 0);
	for (int i = 0; i < 5000 && r->at_before_ack < 1; i++) {
		bool never = false;
		rt_loop_run_until(r->loop, &never, 2);
	}
	assert_int_equal(r->received, 1);
	assert_int_equal(r->at_before_ack, 1);
	assert_int_equal(r->before_acks, 1);
	mqtt_free(m);
}

static void run_ms(struct rig *r, uint32_t ms)
{
	bool never = false;
	rt_loop_run_until(r->loop, &never, ms);
}

/* The broker hears nothing of what before_ack keeps back: it gives it again on the next connection. */
static void acknowledgements_wait_for_acks_go(void **state)
{
	struct rig *r = *state;
	struct mqtt_opts o = options(r, "keeps-back"), po = options(r, "keeps-back-pub");
	o.clean_session = false;
	r->keeps_back = true;
	struct mqtt *m = client(r, &o), *pub = client(r, &po);
	mqtt_subscribe(m, "k", 1);
	await_up(r, m);
	await_up(r, pub);
	assert_int_equal(mqtt_publish(pub, "k", "1", 1, 1, false, NULL, NULL), 0);
	for (int i = 0; i < 5000 && r->before_acks < 1; i++)
		run_ms(r, 2);
	assert_int_equal(r->before_acks, 1);
	/* Handed over meanwhile, and not asked about. */
	assert_int_equal(mqtt_publish(pub, "k", "2", 1, 1, false, NULL, NULL), 0);
	for (int i = 0; i < 5000 && r->received < 2; i++)
		run_ms(r, 2);
	run_ms(r, 20);
	assert_int_equal(r->before_acks, 1);
	/* The first may go; the second is asked about, and kept back at the end. */
	mqtt_acks_go(m);
	for (int i = 0; i < 5000 && r->before_acks < 2; i++)
		run_ms(r, 2);
	assert_int_equal(r->received, 2);
	mqtt_free(m);
	r->keeps_back = false;
	m = client(r, &o);
	mqtt_subscribe(m, "k", 1);
	for (int i = 0; i < 5000 && r->at_before_ack < 3; i++)
		run_ms(r, 2);
	assert_int_equal(r->received, 3);
	assert_string_equal(r->payload, "2");
	mqtt_free(m);
	mqtt_free(pub);
}

/* A long wait holds although other output goes, until a whole group is there. */
static void acknowledgements_wait_for_company(void **state)
{
	struct rig *r = *state;
	struct mqtt_opts o = options(r, "patient"), po = options(r, "patient-pub");
	o.ack_wait_ms = 60000;
	po.before_ack = NULL;
	struct mqtt *m = client(r, &o), *pub = client(r, &po);
	mqtt_subscribe(m, "w", 1);
	await_up(r, m);
	await_up(r, pub);
	r->want_done = 101;
	for (int i = 0; i < 100; i++)
		assert_int_equal(mqtt_publish(pub, "w", "x", 1, 1, false, on_done, r), 0);
	for (int i = 0; i < 5000 && r->received < 100; i++)
		run_ms(r, 2);
	assert_int_equal(mqtt_publish(m, "other", "x", 1, 1, false, on_done, r), 0);
	await(r);
	assert_int_equal(r->done, 101);
	assert_int_equal(r->received, 100);
	assert_int_equal(r->before_acks, 0);
	for (int i = 0; i < 200; i++)
		assert_int_equal(mqtt_publish(pub, "w", "x", 1, 1, false, NULL, NULL), 0);
	for (int i = 0; i < 5000 && r->before_acks < 1; i++)
		run_ms(r, 2);
	assert_in_range(r->at_before_ack, 256, 300);
	mqtt_free(m);
	mqtt_free(pub);
}

/* A broker that sends 20 and then waits lets us wait in vain for a large group: once, not each time. */
static void a_narrow_broker_gets_small_groups(void **state)
{
	enum { N = 1000, WAIT_MS = 500 };
	struct rig *r = *state;
	struct mqtt_opts o = options(r, "narrow"), po = options(r, "narrow-pub");
	o.receive_maximum = 20;
	o.ack_wait_ms = WAIT_MS;
	po.before_ack = NULL;
	struct mqtt *m = client(r, &o), *pub = client(r, &po);
	mqtt_subscribe(m, "n", 1);
	await_up(r, m);
	await_up(r, pub);
	r->want = N;
	for (int i = 0; i < N; i++)
		assert_int_equal(mqtt_publish(pub, "n", "x", 1, 1, false, NULL, NULL), 0);
	/* Fifty waits would take 25 s. */
	assert_true(rt_loop_run_until(r->loop, &r->flag, 20000));
	mqtt_free(m);
	mqtt_free(pub);
}

static void send_one_by_one(struct rig *r, struct mqtt *pub, const char *topic, size_t n);

static bool may_wait_when_quiet(struct mqtt *m)
{
	m->last_publish_ns = 0;
	return mqtt_acks_may_wait(m);
}

/* How many a broker sends without an acknowledgement shows by what comes. */
static void acknowledgements_may_wait_while_it_sends(void **state)
{
	struct rig *r = *state;
	struct mqtt_opts o = options(r, "bears"), po = options(r, "bears-pub");
	o.ack_wait_ms = LONG_MS;
	struct mqtt_opts few = o;
	few.client_id = "agreed";
	few.receive_maximum = 10;
	po.before_ack = NULL;
	struct mqtt *m = client(r, &o), *agreed = client(r, &few), *pub = client(r, &po);
	mqtt_subscribe(m, "b", 1);
	mqtt_subscribe(agreed, "a", 1);
	await_up(r, m);
	await_up(r, agreed);
	await_up(r, pub);
	send_one_by_one(r, pub, "b", 8);
	assert_true(may_wait_when_quiet(m));
	send_one_by_one(r, pub, "b", 4);
	m->last_publish_ns = rt_loop_mono_ns(r->loop);
	assert_true(mqtt_acks_may_wait(m)); /* they come */
	/* Twice nothing more than these: they are its limit. */
	assert_false(may_wait_when_quiet(m));
	assert_false(may_wait_when_quiet(m));
	m->unacked = 6;
	assert_false(mqtt_acks_may_wait(m));
	m->unacked = 5;
	assert_true(may_wait_when_quiet(m));
	/* They are not: after twelve there comes another. */
	m->unacked = 12;
	send_one_by_one(r, pub, "b", 1);
	m->unacked = 12;
	assert_true(may_wait_when_quiet(m));
	send_one_by_one(r, pub, "a", 4);
	assert_true(mqtt_acks_may_wait(agreed));
	send_one_by_one(r, pub, "a", 1);
	assert_false(mqtt_acks_may_wait(agreed));
	mqtt_free(m);
	mqtt_free(agreed);
	mqtt_free(pub);
}

static void send_one_by_one(struct rig *r, struct mqtt *pub, const char *topic, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		r->flag = false;
		r->want = r->received + 1;
		assert_int_equal(mqtt_publish(pub, topic, "x", 1, 1, false, NULL, NULL), 0);
		assert_true(rt_loop_run_until(r->loop, &r->flag, LONG_MS));
	}
}

/* Bulk is gathered only from its rate on, and not from a broker that waits for our answers. */
static void what_is_read_may_be_gathered(void **state)
{
	enum { ANY, SELDOM, BULK, WIDENED, NARROW, NARROW_ANY, N };
	static const char *const topic[N] = {"g/any", "g/seldom", "g/bulk", "g/widened", "g/narrow", "g/narrow-any"};
	struct rig *r = *state;
	struct mqtt_opts po = options(r, "gather-pub");
	po.before_ack = NULL;
	struct mqtt *pub = client(r, &po), *m[N];
	await_up(r, pub);
	for (int i = 0; i < N; i++) {
		struct mqtt_opts o = options(r, topic[i]);
		o.gather_from = 1;
		o.gather_bulk = i == SELDOM ? 100000 /* not one by one */ : i == ANY || i == NARROW_ANY ? 0 : 1;
		o.receive_maximum = i >= NARROW ? 20 : 0;
		o.ack_wait_ms = i >= NARROW ? 100 : 60000;
		m[i] = client(r, &o);
		mqtt_subscribe(m[i], topic[i], 1);
		await_up(r, m[i]);
	}
	r->flag = false;
	r->want = r->received + 80;
	for (int i = 0; i < 80; i++)
		assert_int_equal(mqtt_publish(pub, topic[i % 2 ? NARROW : NARROW_ANY], "x", 1, 1, false, NULL, NULL),
				 0);
	assert_true(rt_loop_run_until(r->loop, &r->flag, LONG_MS));
	assert_true(m[NARROW]->narrow && m[NARROW_ANY]->narrow);
	m[WIDENED]->narrow = m[WIDENED]->wide = true; /* a broker that was slow once */
	for (int i = 0; i < N; i++)
		send_one_by_one(r, pub, topic[i], 100);
	assert_true(m[ANY]->gather.on);
	assert_false(m[SELDOM]->gather.on);
	assert_true(m[BULK]->gather.on);
	assert_true(m[WIDENED]->gather.on);
	assert_false(m[NARROW]->gather.on);
	assert_true(m[NARROW_ANY]->gather.on);
	/* Many a look are more only where it is bulk. */
	assert_true(m[BULK]->gather.few > m[ANY]->gather.few && m[BULK]->gather.many > m[ANY]->gather.many);
	/* One that turns out to be narrow is no longer gathered, and goes on being read. */
	m[BULK]->narrow = true;
	m[BULK]->wide = false;
	send_one_by_one(r, pub, topic[BULK], 5);
	assert_false(m[BULK]->gather.on);
	for (int i = 0; i < N; i++)
		mqtt_free(m[i]);
	mqtt_free(pub);
}

static void publishing_inside_a_callback(void **state)
{
	struct rig *r = *state;
	struct mqtt_opts o = options(r, "echo");
	struct mqtt *m = client(r, &o);
	mqtt_subscribe(m, "in", 1);
	await_up(r, m);
	r->echo = m;
	r->want_done = 50;
	for (int i = 0; i < 50; i++)
		assert_int_equal(mqtt_publish(m, "in", "x", 1, 1, false, on_done, r), 0);
	struct mqtt_stats st = {0};
	for (int i = 0; i < 5000 && st.acked < 100; i++) {
		bool never = false;
		rt_loop_run_until(r->loop, &never, 2);
		mqtt_stats(m, &st);
	}
	assert_int_equal(st.acked, 100);
	mqtt_free(m);
}

static void broker_restart_is_survived(void **state)
{
	struct rig *r = *state;
	struct mqtt_opts o = options(r, "again");
	o.clean_session = false;
	struct mqtt *m = client(r, &o);
	mqtt_subscribe(m, "t", 1);
	await_up(r, m);
	assert_int_equal(r->connects, 1);
	assert_false(r->session_present);
	broker_stop(r, SIGTERM); /* with time to write its state */
	await(r);
	assert_true(r->disconnects >= 1); /* the next attempt may have failed already */
	assert_false(mqtt_connected(m));
	assert_int_equal(mqtt_publish(m, "t", "x", 1, 1, false, on_done, r), LW_EUNAVAILABLE);
	broker_start(r);
	await_up(r, m);
	assert_int_equal(r->connects, 2);
	assert_true(r->session_present);
	r->want = 1;
	assert_int_equal(mqtt_publish(m, "t", "back", 4, 1, false, NULL, NULL), 0);
	await(r);
	assert_string_equal(r->payload, "back");
	mqtt_free(m);
}

static void lost_connection_fails_what_was_pending(void **state)
{
	struct rig *r = *state;
	struct mqtt_opts o = options(r, "lost");
	struct mqtt *m = client(r, &o);
	await_up(r, m);
	fix_freeze(r->broker); /* takes the bytes and answers nothing */
	r->want_done = 3000;
	for (int i = 0; i < 3000; i++)
		assert_int_equal(mqtt_publish(m, "t", "x", 1, 1, false, on_done, r), 0);
	for (int i = 0; i < 20; i++)
		rt_loop_turn(r->loop);
	assert_int_equal(r->done + r->failed, 0);
	broker_stop(r, SIGKILL);
	await(r);
	assert_int_equal(r->failed, 3000);
	assert_int_equal(r->done, 0);
	assert_int_equal(mqtt_pending(m), 0);
	broker_start(r);
	mqtt_free(m);
}

static void free_cancels_and_limits_are_kept(void **state)
{
	struct rig *r = *state;
	struct mqtt_opts o = options(r, "limits");
	o.max_queued = 5;
	struct mqtt *m = client(r, &o);
	await_up(r, m);
	r->want_done = 5;
	for (int i = 0; i < 5; i++)
		assert_int_equal(mqtt_publish(m, "t", "x", 1, 1, false, on_done, r), 0);
	assert_int_equal(mqtt_publish(m, "t", "x", 1, 1, false, on_done, r), LW_EFULL);
	mqtt_free(m);
	assert_int_equal(r->failed, 5);
	assert_int_equal(r->last_err, LW_ECANCELLED);
	/* Freed while it connects, and before it begins. */
	mqtt_free(client(r, &o));
	m = client(r, &o);
	rt_loop_turn(r->loop);
	rt_loop_turn(r->loop);
	mqtt_free(m);
}

static void pause_leaves_messages_with_the_broker(void **state)
{
	struct rig *r = *state;
	struct mqtt_opts o = options(r, "pause");
	struct mqtt *m = client(r, &o);
	mqtt_subscribe(m, "p", 1);
	await_up(r, m);
	o = options(r, "pauser");
	struct mqtt *pub = client(r, &o);
	await_up(r, pub);
	mqtt_pause(m);
	r->want_done = 20;
	for (int i = 0; i < 20; i++)
		assert_int_equal(mqtt_publish(pub, "p", "x", 1, 1, false, on_done, r), 0);
	await(r);
	for (int i = 0; i < 20; i++)
		rt_loop_turn(r->loop);
	assert_int_equal(r->received, 0);
	r->want = 20;
	mqtt_resume(m);
	await(r);
	assert_int_equal(r->received, 20);
	mqtt_free(pub);
	mqtt_free(m);
}

static void will_and_retained_state(void **state)
{
	struct rig *r = *state;
	struct mqtt_opts o = options(r, "watcher");
	struct mqtt *m = client(r, &o);
	mqtt_subscribe(m, "state/#", 1);
	await_up(r, m);
	/* A process that dies leaves its will. */
	pid_t pid = fork();
	if (pid == 0) {
		struct rt_loop *l = rt_loop_new();
		struct mqtt_opts w = {
			.server = r->url,
			.client_id = "mortal",
			.clean_session = true,
			.will = {.topic = "state/x", .payload = "offline", .n = 7, .qos = 1, .retain = true}};
		struct lw_diag d;
		struct mqtt *dying = mqtt_new(l, NULL, &w, &d);
		while (!mqtt_connected(dying)) {
			bool never = false;
			rt_loop_run_until(l, &never, 1);
		}
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	r->want = 1;
	await(r);
	assert_string_equal(r->payload, "offline");
	/* Retained: a later subscriber sees it as such. */
	mqtt_free(m);
	o = options(r, "later");
	m = client(r, &o);
	mqtt_subscribe(m, "state/#", 1);
	r->want = 2;
	while (r->received < 2)
		await(r);
	assert_true(r->retain);
	mqtt_free(m);
}

/* --- durability: killed between the callback and the acknowledgement ------------------------------------------------
 */

struct shared {
	volatile unsigned received;
};

static void die_on_message(void *arg, const struct mqtt_message *m)
{
	(void)m;
	((struct shared *)arg)->received++;
}

static bool die_before_ack(void *arg)
{
	(void)arg;
	kill(getpid(), SIGKILL);
	return false;
}

static void receiver(struct rig *r, struct shared *sh, bool kill_it, unsigned want)
{
	struct rt_loop *l = rt_loop_new();
	struct mqtt_opts o = {.server = r->url,
			      .client_id = "durable",
			      .clean_session = false,
			      .on_message = die_on_message,
			      .before_ack = kill_it ? die_before_ack : NULL,
			      .arg = sh};
	struct lw_diag d;
	struct mqtt *m = mqtt_new(l, NULL, &o, &d);
	mqtt_subscribe(m, "durable", 1);
	while (!mqtt_subscribed(m) || sh->received < want) {
		bool never = false;
		rt_loop_run_until(l, &never, 1);
	}
	mqtt_free(m);
	rt_loop_free(l);
}

/* The broker reads one packet of each connection in a turn: after so many answers to one client it has read what others
 * had sent before, also those that are gone. Without that, whoever takes over a session comes before its last words. */
static void broker_has_read(struct rig *r, size_t packets)
{
	struct mqtt_opts o = options(r, "bystander");
	struct mqtt *m = client(r, &o);
	await_up(r, m);
	for (size_t i = 0; i < packets; i++) {
		r->done = r->failed = 0;
		r->want_done = 1;
		assert_int_equal(mqtt_publish(m, "nobody", "x", 1, 1, false, on_done, r), 0);
		await(r);
		assert_int_equal(r->done, 1);
	}
	mqtt_free(m);
}

static void killed_before_the_ack_gets_it_again(void **state)
{
	struct rig *r = *state;
	struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	/* The subscription is there before anything is published. */
	pid_t pid = fork();
	if (pid == 0) {
		receiver(r, sh, false, 0);
		_exit(0);
	}
	int status;
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);

	struct mqtt_opts o = options(r, "publisher");
	struct mqtt *m = client(r, &o);
	await_up(r, m);
	r->want_done = 10;
	for (int i = 0; i < 10; i++)
		assert_int_equal(mqtt_publish(m, "durable", &i, sizeof(i), 1, false, on_done, r), 0);
	await(r);
	mqtt_free(m);

	/* It sees them, and dies before anything could be acknowledged. */
	pid = fork();
	if (pid == 0) {
		receiver(r, sh, true, 1000);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status));
	assert_true(sh->received > 0);

	/* All ten come again. */
	sh->received = 0;
	pid = fork();
	if (pid == 0) {
		receiver(r, sh, false, 10);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(sh->received, 10);

	/* Those were acknowledged by the orderly end, so nothing is left. */
	broker_has_read(r, 20);
	sh->received = 0;
	pid = fork();
	if (pid == 0) {
		receiver(r, sh, false, 0);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(sh->received, 0);
	munmap(sh, sizeof(*sh));
}

/* The broker begins anew with a TLS listener. */
static void tls_begin(struct rig *r, char url[64], char ca[128])
{
	broker_stop(r, SIGTERM);
	char cmd[512];
	snprintf(
		cmd, sizeof(cmd),
		"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
		"-addext subjectAltName=DNS:localhost -keyout %s/key.pem -out %s/cert.pem 2>/dev/null && chmod 644 "
		"%s/key.pem",
		r->dir, r->dir, r->dir);
	assert_int_equal(system(cmd), 0);
	r->tls_port = (unsigned)fix_free_port();
	broker_start(r);
	snprintf(url, 64, "ssl://localhost:%u", r->tls_port);
	snprintf(ca, 128, "%s/cert.pem", r->dir);
}

/* What TLS has sealed and the socket has not taken goes out although nothing follows and nothing comes. */
static void tls_sends_its_last_bytes(void **state)
{
	struct rig *r = *state;
	static const uint8_t payload[100000];
	char url[64], ca[128];
	tls_begin(r, url, ca);
	struct mqtt_opts o = options(r, "hears");
	struct mqtt *hears = client(r, &o);
	mqtt_subscribe(hears, "t", 0);
	await_up(r, hears);
	o = options(r, "tail");
	o.server = url;
	o.ca_file = ca;
	struct mqtt *m = client(r, &o);
	await_up(r, m);
	fix_freeze(r->broker);
	size_t n = 0;
	for (; n < 1000 && !m->blocked; n++) {
		assert_int_equal(mqtt_publish(m, "t", payload, sizeof(payload), 0, false, NULL, NULL), 0);
		rt_loop_turn(r->loop);
	}
	assert_true(m->blocked);
	assert_int_equal(m->out.n, m->out_at); /* all of it is with TLS */
	r->want = n;
	fix_thaw(r->broker);
	await(r);
	assert_int_equal(r->received, n);
	mqtt_free(m);
	mqtt_free(hears);
}

/* --- brokers of other kinds ------------------------------------------------------------------------------------- */

/* One connection: answers CONNECT with `connack`, then passes on what comes, and says nothing more. */
static pid_t odd_broker(struct rig *r, const void *connack, size_t n, int *heard)
{
	int pipes[2], fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)fix_free_port()),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(pipe(pipes), 0);
	snprintf(r->url, sizeof(r->url), "tcp://127.0.0.1:%u", ntohs(a.sin_port));
	pid_t pid = fork();
	if (pid == 0) {
		char bytes[4096];
		int c = accept(fd, NULL, NULL);
		close(fd); /* and no second one */
		ssize_t got = read(c, bytes, sizeof(bytes));
		got = got > 0 ? write(c, connack, n) : -1;
		while (got > 0 && (got = read(c, bytes, sizeof(bytes))) > 0)
			got = write(pipes[1], bytes, (size_t)got);
		_exit(0);
	}
	close(fd);
	close(pipes[1]);
	*heard = pipes[0];
	return pid;
}

static void a_broker_without_qos_1_and_retain(void **state)
{
	struct rig *r = *state;
	/* Maximum QoS 0, Retain Available 0. */
	static const uint8_t connack[] = {0x20, 7, 0, 0, 4, 0x24, 0, 0x25, 0};
	int heard;
	pid_t pid = odd_broker(r, connack, sizeof(connack), &heard);
	struct mqtt_opts o = options(r, "x");
	struct mqtt *m = client(r, &o);
	while (r->connects < 1)
		await(r);
	r->want_done = 1;
	assert_int_equal(mqtt_publish(m, "t", "x", 1, 1, true, on_done, r), 0);
	await(r);
	assert_int_equal(r->done, 1);
	uint8_t got[7] = {0};
	static const uint8_t want[] = {0x30, 5, 0, 1, 't', 0, 'x'};
	for (size_t n = 0; n < sizeof(got);) {
		ssize_t k = read(heard, got + n, sizeof(got) - n);
		assert_true(k > 0);
		n += (size_t)k;
	}
	assert_memory_equal(got, want, sizeof(want));
	mqtt_free(m);
	close(heard);
	waitpid(pid, NULL, 0);
}

/* It takes the connection and says nothing more: left after a while, and counted. `publishes` or only subscribes. */
static void left_when_it_acknowledges_nothing(struct rig *r, bool publishes)
{
	static const uint8_t connack[] = {0x20, 3, 0, 0, 0};
	struct rt_metrics *metrics = rt_metrics_new("t_");
	struct lw_buf text;
	int heard;
	pid_t pid = odd_broker(r, connack, sizeof(connack), &heard);
	struct mqtt_opts o = options(r, "x");
	o.acknowledge_ms = 1000;
	o.stalls = rt_counter(metrics, "stalls_total", "x");
	struct mqtt *m = client(r, &o);
	while (r->connects < 1)
		await(r);
	r->want_done = 1;
	if (publishes)
		assert_int_equal(mqtt_publish(m, "t", "x", 1, 1, false, on_done, r), 0);
	else
		assert_int_equal(mqtt_subscribe(m, "t", 1), 0);
	while (r->disconnects < 1)
		await(r);
	assert_int_equal(r->failed, publishes);
	lw_buf_init(&text, 4096);
	rt_metrics_print(metrics, &text);
	lw_buf_append(&text, "", 1);
	assert_non_null(strstr((const char *)text.p, "t_stalls_total 1"));
	lw_buf_deinit(&text);
	mqtt_free(m);
	rt_metrics_free(metrics);
	close(heard);
	waitpid(pid, NULL, 0);
}

static void a_broker_that_acknowledges_nothing(void **state)
{
	left_when_it_acknowledges_nothing(*state, true);
}

static void a_broker_that_grants_no_subscription(void **state)
{
	left_when_it_acknowledges_nothing(*state, false);
}

static void what_the_broker_never_takes_is_said_at_once(void **state)
{
	struct rig *r = *state;
	static const uint8_t payload[100];
	static const uint8_t connack[] = {0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 64}; /* Maximum Packet Size 64 */
	int heard;
	pid_t pid = odd_broker(r, connack, sizeof(connack), &heard);
	struct mqtt_opts o = options(r, "x");
	struct mqtt *m = client(r, &o);
	while (r->connects < 1)
		await(r);
	assert_int_equal(mqtt_publish(m, "t", payload, sizeof(payload), 0, false, NULL, NULL), LW_EBIG);
	assert_int_equal(mqtt_pending(m), 0);
	r->want_done = 1;
	assert_int_equal(mqtt_publish(m, "t", payload, 10, 0, false, on_done, r), 0);
	await(r);
	assert_int_equal(r->done, 1);
	mqtt_free(m);
	close(heard);
	waitpid(pid, NULL, 0);
}

/* A client that goes on sending notices, too, that nobody answers. */
static void a_silent_broker_is_noticed_while_sending(void **state)
{
	struct rig *r = *state;
	/* Server Keep Alive 1 s. */
	static const uint8_t connack[] = {0x20, 6, 0, 0, 3, 0x13, 0, 1};
	int heard;
	pid_t pid = odd_broker(r, connack, sizeof(connack), &heard);
	struct mqtt_opts o = options(r, "x");
	struct mqtt *m = client(r, &o);
	while (r->connects < 1)
		await(r);
	bool never = false;
	for (int i = 0; i < 2000 && mqtt_connected(m); i++) {
		mqtt_publish(m, "t", "x", 1, 0, false, NULL, NULL);
		rt_loop_run_until(r->loop, &never, 10);
	}
	assert_true(r->disconnects >= 1);
	assert_int_equal(r->first_end, LW_ETIMEDOUT);
	mqtt_free(m);
	close(heard);
	waitpid(pid, NULL, 0);
}

static void flags_that_must_be_zero_end_the_session(void **state)
{
	struct rig *r = *state;
	static const uint8_t bytes[] = {0x20, 3, 0, 0, 0, 0x41, 2, 0, 1}; /* CONNACK, PUBACK with a flag */
	int heard;
	pid_t pid = odd_broker(r, bytes, sizeof(bytes), &heard);
	struct mqtt_opts o = options(r, "x");
	struct mqtt *m = client(r, &o);
	while (r->disconnects < 1)
		await(r);
	assert_int_equal(r->first_end, LW_EPROTO);
	mqtt_free(m);
	close(heard);
	waitpid(pid, NULL, 0);
}

/* The first address of a name may lead nowhere. */
static void the_next_address_is_tried(void **state)
{
	struct rig *r = *state;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int deaf = socket(AF_INET, SOCK_STREAM, 0), callers[8];
	assert_int_equal(bind(deaf, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(deaf, (struct sockaddr *)&a, &len), 0);
	/* A full backlog answers no SYN. */
	assert_int_equal(listen(deaf, 0), 0);
	for (size_t i = 0; i < 8; i++) {
		callers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(callers[i], (struct sockaddr *)&a, sizeof(a));
	}
	struct mqtt_opts o = options(r, "x");
	char url[64];
	snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", ntohs(a.sin_port));
	o.server = url;
	struct mqtt *m = client(r, &o);
	while (m->net.n_addrs == 0)
		rt_loop_turn(r->loop);
	/* As if the name had had another one. */
	a.sin_port = htons((uint16_t)r->port);
	memcpy(&m->net.addrs[m->net.n_addrs++], &a, sizeof(a));
	rt_timer_start(&m->timer, 10);
	await(r);
	assert_int_equal(r->connects, 1);
	assert_int_equal(r->disconnects, 0);
	mqtt_free(m);
	for (size_t i = 0; i < 8; i++)
		close(callers[i]);
	close(deaf);
}

static void tls_with_and_without_trust(void **state)
{
	struct rig *r = *state;
	char url[64], ca[128];
	tls_begin(r, url, ca);
	struct mqtt_opts o = options(r, "secure");
	o.server = url;
	o.ca_file = ca;
	struct mqtt *m = client(r, &o);
	mqtt_subscribe(m, "s", 1);
	await_up(r, m);
	r->want = 500;
	r->want_done = 500;
	for (int i = 0; i < 500; i++)
		assert_int_equal(mqtt_publish(m, "s", "secret", 6, 1, false, on_done, r), 0);
	while (r->received < 500 || r->done < 500)
		await(r);
	mqtt_free(m);
	/* The system's certificates do not know this broker. */
	o.ca_file = NULL;
	r->connects = r->disconnects = 0;
	m = client(r, &o);
	while (r->disconnects < 1)
		await(r);
	assert_int_equal(r->connects, 0);
	mqtt_free(m);
}

static void nobody_there_is_reported_and_tried_again(void **state)
{
	struct rig *r = *state;
	char url[64];
	snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", fix_free_port());
	struct mqtt_opts o = options(r, "x");
	o.server = url;
	struct mqtt *m = client(r, &o);
	while (r->disconnects < 3)
		await(r);
	assert_int_equal(r->last_err, LW_EUNAVAILABLE);
	assert_int_equal(r->connects, 0);
	mqtt_free(m);
}

static void wrong_options_are_refused(void **state)
{
	struct rig *r = *state;
	struct lw_diag d = {0};
	struct mqtt_opts o = options(r, "x");
	o.server = "http://x";
	assert_null(mqtt_new(r->loop, NULL, &o, &d));
	assert_non_null(strstr(d.text, "scheme"));
	o = options(r, "");
	o.clean_session = false;
	assert_null(mqtt_new(r->loop, NULL, &o, &d));
	o = options(r, "x");
	o.server = "ssl://127.0.0.1";
	o.ca_file = "/nonexistent/ca.pem";
	assert_null(mqtt_new(r->loop, NULL, &o, &d));
	o = options(r, "x");
	o.will.topic = "a/+";
	assert_null(mqtt_new(r->loop, NULL, &o, &d));
}

static void server_urls(void **state)
{
	(void)state;
	struct mqtt_server s;
	struct lw_diag d;
	assert_int_equal(mqtt_server_parse("tcp://broker", &s, &d), 0);
	assert_string_equal(s.host, "broker");
	assert_int_equal(s.port, 1883);
	assert_false(s.tls);
	assert_int_equal(mqtt_server_parse("mqtts://[::1]:8884/", &s, &d), 0);
	assert_string_equal(s.host, "::1");
	assert_int_equal(s.port, 8884);
	assert_true(s.tls);
	assert_int_equal(mqtt_server_parse("ssl://h", &s, &d), 0);
	assert_int_equal(s.port, 8883);
	assert_int_equal(mqtt_server_parse("host:99", &s, &d), 0);
	assert_int_equal(s.port, 99);
	static const char *const bad[] = {
		"",           "tcp://", "tcp://:1",   "tcp://h:",  "tcp://h:0", "tcp://h:70000",
		"tcp://h:1x", "ws://h", "tcp://[::1", "tcp://h:-1"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (mqtt_server_parse(bad[i], &s, &d) == 0)
			fail_msg("accepted \"%s\"", bad[i]);
	}
}

static void topic_filters(void **state)
{
	(void)state;
	static const struct {
		const char *filter, *topic;
		bool want;
	} v[] = {
		/* examples of the MQTT 5 specification, 4.7 */
		{"sport/tennis/player1/#", "sport/tennis/player1", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"sport/#", "sport", true},
		{"#", "a/b", true},
		{"#", "$SYS/x", false},
		{"+/monitor", "$SYS/monitor", false},
		{"$SYS/#", "$SYS/x", true},
		{"sport/tennis/+", "sport/tennis/player1", true},
		{"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false},
		{"sport/+", "sport/", true},
		{"+/+", "/finance", true},
		{"/+", "/finance", true},
		{"+", "/finance", false},
		{"a/b", "a/b", true},
		{"a/b", "a/bc", false},
		{"a/b", "a", false},
		{"a", "a/b", false},
		{"$share/longwave/eu868/gateway/+/event/+", "eu868/gateway/01/event/up", true},
		{"$share/longwave/eu868/gateway/+/event/+", "us915/gateway/01/event/up", false},
		{"$share/longwave", "longwave", false},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		if (mqtt_topic_matches(v[i].filter, v[i].topic) != v[i].want)
			fail_msg("%s against %s", v[i].filter, v[i].topic);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(messages_travel_v5),
		T(messages_travel_v311),
		T(a_burst_beyond_the_window_is_all_done),
		T(qos_0_alone_is_settled),
		T(acknowledgements_wait_for_acks_go),
		T(acknowledgements_wait_for_company),
		T(a_narrow_broker_gets_small_groups),
		T(acknowledgements_may_wait_while_it_sends),
		T(what_is_read_may_be_gathered),
		T(publishing_inside_a_callback),
		T(broker_restart_is_survived),
		T(lost_connection_fails_what_was_pending),
		T(free_cancels_and_limits_are_kept),
		T(pause_leaves_messages_with_the_broker),
		T(will_and_retained_state),
		T(killed_before_the_ack_gets_it_again),
		T(tls_with_and_without_trust),
		T(tls_sends_its_last_bytes),
		T(a_broker_without_qos_1_and_retain),
		T(a_broker_that_acknowledges_nothing),
		T(a_broker_that_grants_no_subscription),
		T(what_the_broker_never_takes_is_said_at_once),
		T(a_silent_broker_is_noticed_while_sending),
		T(flags_that_must_be_zero_end_the_session),
		T(the_next_address_is_tried),
		T(nobody_there_is_reported_and_tried_again),
		T(wrong_options_are_refused),
		cmocka_unit_test(server_urls),
		cmocka_unit_test(topic_filters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
