#include "common/io/mqtt.h"

#include <errno.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/base/backoff.h"
#include "common/base/bug.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "common/io/mqtt_connector.h"
#include "common/io/mqtt_internal.h"

/* Packets taken from the socket in one turn. */
#define MAX_READS 4096
#define HANDSHAKE_MS 15000
#define MISC_MS 1000
/* Acknowledgements alone wait for company: so many, or so long. Fewer than the 20 messages that a broker with narrow
 * limits sends before it wants one back. */
#define ACK_BATCH 16
#define ACK_MS 5

static void schedule_connect(struct mqtt *m);
static void teardown(struct mqtt *m);

/* --- input ------------------------------------------------------------------------------------------------------ */

static bool said_again(const mosquitto_property *props)
{
	char *name = NULL, *value = NULL;
	bool again = false;
	if (props) {
		if (mosquitto_property_read_string_pair(props, MQTT_PROP_USER_PROPERTY, &name, &value, false))
			again = strcmp(name, MQTT_AGAIN) == 0;
		free(name);
		free(value);
	}
	return again;
}

static void on_message(struct mosquitto *mosq, void *arg, const struct mosquitto_message *msg,
		       const mosquitto_property *props)
{
	(void)mosq;
	struct mqtt *m = arg;
	if (msg->qos > 0)
		m->unacked++;
	if (msg->payloadlen < 0 || (size_t)msg->payloadlen > m->o.max_message) {
		m->st.oversize++;
		return;
	}
	m->st.received++;
	if (!m->o.on_message)
		return;
	m->handed = true;
	struct mqtt_message out = {
		.topic = msg->topic,
		.payload = lw_span(msg->payload, (size_t)msg->payloadlen),
		.qos = (uint8_t)msg->qos,
		.retain = msg->retain,
		.again = said_again(props),
	};
	m->o.on_message(m->o.arg, &out);
}

static void note_lost(struct mqtt *m, int err, const char *text)
{
	if (m->lost)
		return;
	m->lost = true;
	/* A refusal said its reason before. */
	if (m->lost_err == 0) {
		m->lost_err = err;
		snprintf(m->lost_text, sizeof(m->lost_text), "%s", text);
	}
}

/* After each call into the library: what its callbacks have left to do. */
static void after_library(struct mqtt *m)
{
	mqtt_call_finished(m);
	if (m->lost)
		teardown(m);
}

/* A pause begins only once the connection is made. */
static bool reads(const struct mqtt *m)
{
	return !m->paused || m->state != UP;
}

static void read_all(struct mqtt *m)
{
	m->st.reads++;
	for (int i = 0; i < MAX_READS && reads(m) && !m->lost; i++) {
		uint64_t seen = m->st.received;
		errno = 0;
		int rc = mosquitto_loop_read(m->mosq, 1);
		if (rc != MOSQ_ERR_SUCCESS) {
			note_lost(m, LW_ECLOSED, mosquitto_strerror(rc));
			break;
		}
		/* After a message errno says nothing of the socket: the library has written to a pipe of its own, which
		 * nobody reads and which is full. */
		if (m->st.received != seen)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			break;
		/* A TLS handshake reports neither. */
		int left = 0;
		if (ioctl(mosquitto_socket(m->mosq), FIONREAD, &left) == 0 && left == 0)
			break;
	}
}

/* --- output ----------------------------------------------------------------------------------------------------- */

static void update_watch(struct mqtt *m)
{
	if (m->watch)
		rt_watch_set(m->watch, (reads(m) ? RT_READ : 0u) | (m->blocked ? RT_WRITE : 0u));
}

static void settle(struct mqtt *m)
{
	m->handed = false;
	if (m->o.before_ack)
		m->o.before_ack(m->o.arg);
}

static void write_all(struct mqtt *m)
{
	bool cork = m->queued_packets + m->unacked > 1;
	if (m->unacked) {
		/* Acknowledgements are among what is written now. */
		m->unacked = 0;
		settle(m);
	}
	m->ack_now = false;
	rt_timer_stop(&m->ack);
	int fd = mosquitto_socket(m->mosq);
	if (cork)
		setsockopt(fd, IPPROTO_TCP, TCP_CORK, &(int){1}, sizeof(int));
	m->queued_packets = 0;
	m->st.writes++;
	int rc = mosquitto_loop_write(m->mosq, 1);
	if (rc != MOSQ_ERR_SUCCESS) {
		note_lost(m, LW_ECLOSED, mosquitto_strerror(rc));
		return;
	}
	if (cork)
		setsockopt(fd, IPPROTO_TCP, TCP_CORK, &(int){0}, sizeof(int));
	m->blocked = mosquitto_want_write(m->mosq);
	update_watch(m);
}

/* Nothing to write but a few young acknowledgements. */
static bool may_wait(struct mqtt *m)
{
	if (m->queued_packets || !m->unacked || m->unacked >= ACK_BATCH || m->ack_now)
		return false;
	if (!rt_timer_armed(&m->ack))
		rt_timer_start(&m->ack, ACK_MS);
	return true;
}

static void flush(struct mqtt *m)
{
	if (m->state < HANDSHAKE || m->lost)
		return;
	/* Of QoS 0 alone: no acknowledgement will come by. */
	if (m->handed && !m->unacked)
		settle(m);
	size_t before;
	do {
		mqtt_give_waiting(m);
		if (may_wait(m))
			break;
		before = lw_map_count(&m->in_library);
		if (!m->blocked && mosquitto_want_write(m->mosq))
			write_all(m);
		/* QoS 0 is done once written, which makes room for more. */
	} while (!m->lost && !m->blocked && !lw_list_empty(&m->waiting) && lw_map_count(&m->in_library) < before);
	after_library(m);
}

static void on_tick(void *arg)
{
	flush(arg);
}

static void on_ack_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	struct mqtt *m = arg;
	m->ack_now = true;
	flush(m);
}

static void on_socket(struct rt_watch *w, unsigned events, void *arg)
{
	(void)w;
	struct mqtt *m = arg;
	if (events & RT_WRITE) {
		m->blocked = false;
		flush(m);
	}
	if ((events & RT_READ) && m->watch && !m->lost) {
		if (reads(m))
			read_all(m);
		if (!m->lost)
			update_watch(m);
		after_library(m);
	}
}

/* --- connection ------------------------------------------------------------------------------------------------- */

static void on_connect(struct mosquitto *mosq, void *arg, int reason, int flags, const mosquitto_property *props)
{
	(void)mosq;
	(void)props;
	struct mqtt *m = arg;
	if (reason != 0) {
		bool v5 = m->o.version == MQTT_V5;
		bool auth = v5 ? reason == MQTT_RC_BAD_USERNAME_OR_PASSWORD || reason == MQTT_RC_NOT_AUTHORIZED ||
					    reason == MQTT_RC_BANNED
			       : reason == 4 || reason == 5;
		m->lost_err = auth ? LW_EAUTH : LW_EUNAVAILABLE;
		snprintf(m->lost_text, sizeof(m->lost_text), "refused: %s",
			 v5 ? mosquitto_reason_string(reason) : mosquitto_connack_string(reason));
		return;
	}
	m->state = UP;
	rt_timer_stop(&m->timer);
	lw_backoff_reset(&m->backoff);
	m->st.connects++;
	RT_LOG_INFO(m->log, "mqtt connected", rt_str("server", m->o.server), rt_bool("session_present", flags & 1));
	m->said_down = false;
	mqtt_subscribe_all(m);
	if (m->o.on_connect)
		m->o.on_connect(m->o.arg, flags & 1);
}

static void on_disconnect(struct mosquitto *mosq, void *arg, int reason, const mosquitto_property *props)
{
	(void)mosq;
	(void)props;
	struct mqtt *m = arg;
	/* v5: the broker's reason is a code above 0x7f, everything else is the library's. */
	note_lost(m, LW_ECLOSED, reason >= 0x80 ? mosquitto_reason_string(reason) : mosquitto_strerror(reason));
}

static void teardown(struct mqtt *m)
{
	/* First of all: the library has closed the socket, and its number may come back at any time. */
	rt_watch_free(m->watch);
	m->watch = NULL;
	rt_timer_stop(&m->misc);
	rt_timer_stop(&m->ack);
	m->ack_now = false;
	bool was_up = m->state == UP;
	m->state = DOWN;
	m->lost = false;
	m->blocked = false;
	m->unacked = 0;
	m->queued_packets = 0;
	if (m->mosq)
		mosquitto_destroy(m->mosq);
	m->mosq = NULL;
	int err = m->lost_err;
	m->lost_err = 0;
	mqtt_fail_all(m, LW_ECLOSED);
	/* An operator wants to know once; the attempts that follow are for the developer. */
	RT_LOG(m->log, m->said_down ? RT_DEBUG : RT_WARN, "mqtt down", rt_str("server", m->o.server),
	       rt_str("detail", m->lost_text), rt_bool("was_connected", was_up));
	m->said_down = true;
	schedule_connect(m);
	mqtt_call_finished(m);
	if (m->o.on_disconnect)
		m->o.on_disconnect(m->o.arg, err, m->lost_text);
}

static void on_misc(struct rt_timer *t, void *arg)
{
	(void)t;
	struct mqtt *m = arg;
	int rc = mosquitto_loop_misc(m->mosq);
	if (rc != MOSQ_ERR_SUCCESS)
		note_lost(m, LW_ETIMEDOUT, mosquitto_strerror(rc));
	after_library(m);
}

static void on_connector(struct rt_watch *w, unsigned events, void *arg)
{
	(void)events;
	struct mqtt *m = arg;
	rt_watch_free(w);
	m->watch = NULL;
	struct mqtt_connector *c = m->connector;
	m->connector = NULL;
	char text[sizeof(m->lost_text)];
	int rc = mqtt_connector_finish(c, text, sizeof(text));
	if (rc != MOSQ_ERR_SUCCESS) {
		note_lost(m, LW_EUNAVAILABLE, text);
		teardown(m);
		return;
	}
	m->state = HANDSHAKE;
	m->watch = rt_watch_new(m->loop, mosquitto_socket(m->mosq), RT_READ, "mqtt", on_socket, m);
	BUG_ON(!m->watch);
	m->queued_packets = 1;
	rt_timer_start(&m->timer, HANDSHAKE_MS);
	rt_timer_start_every(&m->misc, MISC_MS);
	flush(m);
}

static mosquitto_property *connect_properties(const struct mqtt *m)
{
	mosquitto_property *props = NULL;
	if (m->o.version != MQTT_V5)
		return NULL;
	if (!m->o.clean_session)
		mosquitto_property_add_int32(&props, MQTT_PROP_SESSION_EXPIRY_INTERVAL,
					     m->o.session_expiry_s ? m->o.session_expiry_s : UINT32_MAX);
	mosquitto_property_add_int16(&props, MQTT_PROP_RECEIVE_MAXIMUM, m->o.receive_maximum);
	/* Topic, properties and headers come on top of the payload. */
	size_t most = m->o.max_message + 128 * 1024;
	mosquitto_property_add_int32(&props, MQTT_PROP_MAXIMUM_PACKET_SIZE,
				     most > MQTT_MAX_PAYLOAD ? MQTT_MAX_PAYLOAD : (uint32_t)most);
	return props;
}

static int set_options(struct mqtt *m, struct mosquitto *q)
{
	const struct mqtt_opts *o = &m->o;
	int rc = mosquitto_int_option(q, MOSQ_OPT_PROTOCOL_VERSION,
				      o->version == MQTT_V5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_int_option(q, MOSQ_OPT_TCP_NODELAY, 1);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_int_option(q, MOSQ_OPT_SEND_MAXIMUM, UINT16_MAX);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_int_option(q, MOSQ_OPT_RECEIVE_MAXIMUM, o->receive_maximum);
	/* Nothing is written but by mosquitto_loop_write(): packets, acknowledgements included, are queued. */
	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_threaded_set(q, true);
	if (rc == MOSQ_ERR_SUCCESS && o->username && *o->username)
		rc = mosquitto_username_pw_set(q, o->username, o->password);
	if (rc == MOSQ_ERR_SUCCESS && o->will.topic)
		rc = mosquitto_will_set(q, o->will.topic, (int)o->will.n, o->will.payload, o->will.qos, o->will.retain);
	if (rc == MOSQ_ERR_SUCCESS && m->server.tls) {
		bool own = o->ca_file && *o->ca_file;
		bool cert = o->cert_file && *o->cert_file;
		rc = mosquitto_tls_set(q, own ? o->ca_file : NULL, own ? NULL : "/etc/ssl/certs",
				       cert ? o->cert_file : NULL, cert ? o->key_file : NULL, NULL);
	}
	return rc;
}

/* A fresh client for each attempt: what the last connection left inside would be sent again behind our back. */
static struct mosquitto *client_new(struct mqtt *m, struct lw_diag *diag)
{
	const char *id = m->o.client_id && *m->o.client_id ? m->o.client_id : NULL;
	struct mosquitto *q = mosquitto_new(id, m->o.clean_session, m);
	if (!q) {
		lw_diag_set(diag, "the client id is not valid");
		return NULL;
	}
	int rc = set_options(m, q);
	if (rc != MOSQ_ERR_SUCCESS) {
		lw_diag_set(diag, "%s", rc == MOSQ_ERR_ERRNO ? strerror(errno) : mosquitto_strerror(rc));
		mosquitto_destroy(q);
		return NULL;
	}
	mosquitto_connect_v5_callback_set(q, on_connect);
	mosquitto_disconnect_v5_callback_set(q, on_disconnect);
	mosquitto_publish_v5_callback_set(q, mqtt_on_publish);
	mosquitto_message_v5_callback_set(q, on_message);
	mosquitto_subscribe_callback_set(q, mqtt_on_subscribe);
	return q;
}

static void connect_now(struct mqtt *m)
{
	struct lw_diag diag = {0};
	m->lost = false;
	m->lost_err = 0;
	m->mosq = client_new(m, &diag);
	int fd = -1;
	if (m->mosq) {
		mosquitto_property *props = connect_properties(m);
		m->connector =
			mqtt_connector_start(m->mosq, m->server.host, m->server.port, m->o.keepalive_s, props, &fd);
		if (!m->connector) {
			mosquitto_property_free_all(&props);
			lw_diag_set(&diag, "no thread for the connection");
		}
	}
	if (!m->connector) {
		note_lost(m, LW_EUNAVAILABLE, diag.text);
		teardown(m);
		return;
	}
	m->state = CONNECTING;
	m->watch = rt_watch_new(m->loop, fd, RT_READ, "mqtt.connect", on_connector, m);
	BUG_ON(!m->watch);
}

static void on_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	struct mqtt *m = arg;
	if (m->state == DOWN) {
		connect_now(m);
	} else {
		/* The library does not know yet that it is over. */
		note_lost(m, LW_ETIMEDOUT, "no answer to CONNECT");
		teardown(m);
	}
}

static void schedule_connect(struct mqtt *m)
{
	rt_timer_start(&m->timer, lw_backoff_next_ms(&m->backoff, &m->rng));
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static char *copy(const char *s)
{
	return s ? lw_xstrdup(s) : NULL;
}

static void free_opts(struct mqtt_opts *o)
{
	if (o->password)
		lw_wipe((char *)(uintptr_t)o->password, strlen(o->password));
	const void *owned[] = {o->server,    o->client_id, o->username,   o->password,    o->ca_file,
			       o->cert_file, o->key_file,  o->will.topic, o->will.payload};
	for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
		free((void *)(uintptr_t)owned[i]);
}

static void take_opts(struct mqtt *m, const struct mqtt_opts *o)
{
	m->o = *o;
	m->o.server = copy(o->server);
	m->o.client_id = copy(o->client_id);
	m->o.username = copy(o->username);
	m->o.password = copy(o->password);
	m->o.ca_file = copy(o->ca_file);
	m->o.cert_file = copy(o->cert_file);
	m->o.key_file = copy(o->key_file);
	m->o.will.topic = copy(o->will.topic);
	m->o.will.payload = o->will.n ? lw_xmemdup(o->will.payload, o->will.n) : NULL;
	if (!m->o.version)
		m->o.version = MQTT_V5;
	if (!m->o.keepalive_s)
		m->o.keepalive_s = 30;
	if (m->o.keepalive_s < 5)
		m->o.keepalive_s = 5; /* the library refuses less */
	if (!m->o.receive_maximum)
		m->o.receive_maximum = UINT16_MAX;
	if (!m->o.max_message)
		m->o.max_message = 1024u * 1024u;
	if (!m->o.max_queued)
		m->o.max_queued = 100000;
}

struct mqtt *mqtt_new(struct rt_loop *loop, struct rt_log *log, const struct mqtt_opts *opts, struct lw_diag *diag)
{
	struct mqtt_server server;
	if (mqtt_server_parse(opts->server ? opts->server : "", &server, diag) < 0)
		return NULL;
	if (!opts->clean_session && !(opts->client_id && *opts->client_id)) {
		lw_diag_set(diag, "a lasting session needs a client id");
		return NULL;
	}
	mosquitto_lib_init();
	struct mqtt *m = lw_xcalloc(1, sizeof(*m));
	m->loop = loop;
	m->log = log;
	m->server = server;
	take_opts(m, opts);
	lw_list_init(&m->subs);
	lw_list_init(&m->waiting);
	lw_list_init(&m->finished);
	lw_map_init(&m->in_library);
	lw_rng_init_system(&m->rng);
	lw_backoff_init(&m->backoff, opts->backoff_min_ms ? opts->backoff_min_ms : 250,
			opts->backoff_max_ms ? opts->backoff_max_ms : 15000);
	rt_timer_init(&m->timer, loop, "mqtt.timer", on_timer, m);
	rt_timer_init(&m->misc, loop, "mqtt.misc", on_misc, m);
	rt_timer_init(&m->ack, loop, "mqtt.ack", on_ack_timer, m);
	/* Wrong files, ids or wills show now and not at the first attempt. */
	struct mosquitto *probe = client_new(m, diag);
	if (!probe) {
		lw_diag_prefix(diag, "mqtt");
		lw_map_deinit(&m->in_library);
		free_opts(&m->o);
		free(m);
		return NULL;
	}
	mosquitto_destroy(probe);
	m->tick = rt_loop_on_tick(loop, RT_TICK_OUTPUT, "mqtt.flush", on_tick, m);
	rt_timer_start(&m->timer, 0);
	return m;
}

void mqtt_free(struct mqtt *m)
{
	if (!m)
		return;
	if (m->state >= HANDSHAKE && !m->lost) {
		mqtt_give_waiting(m);
		mosquitto_property *props = NULL;
		if (m->forget_session)
			mosquitto_property_add_int32(&props, MQTT_PROP_SESSION_EXPIRY_INTERVAL, 0);
		mosquitto_disconnect_v5(m->mosq, 0, props);
		mosquitto_property_free_all(&props);
		write_all(m);
	}
	rt_watch_free(m->watch);
	m->watch = NULL;
	if (m->connector)
		mqtt_connector_abandon(m->connector);
	else if (m->mosq)
		mosquitto_destroy(m->mosq);
	m->mosq = NULL;
	m->state = DOWN;
	rt_timer_stop(&m->timer);
	rt_timer_stop(&m->misc);
	rt_timer_stop(&m->ack);
	rt_tick_remove(m->tick);
	mqtt_fail_all(m, LW_ECANCELLED);
	mqtt_call_finished(m);
	mqtt_forget_subscriptions(m);
	lw_map_deinit(&m->in_library);
	free_opts(&m->o);
	free(m);
}

void mqtt_forget_session(struct mqtt *m)
{
	m->forget_session = m->o.version == MQTT_V5;
}

void mqtt_pause(struct mqtt *m)
{
	m->paused = true;
	if (m->state == UP && !m->lost)
		update_watch(m);
}

void mqtt_resume(struct mqtt *m)
{
	m->paused = false;
	if (m->state == UP && !m->lost)
		update_watch(m);
}

bool mqtt_connected(const struct mqtt *m)
{
	return m->state == UP && !m->lost;
}

size_t mqtt_pending(const struct mqtt *m)
{
	return m->pending;
}

void mqtt_stats(const struct mqtt *m, struct mqtt_stats *out)
{
	*out = m->st;
}
