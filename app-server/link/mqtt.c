#include "app-server/link/mqtt.h"

#include <stdio.h>
#include <stdlib.h>

#include "app-server/as.h"
#include "app-server/link/mqtt_topic.h"
#include "common/base/hex.h"
#include "common/base/xmalloc.h"
#include "common/io/mqtt_heir.h"
#include "common/pb/pbjson.h"
#include "common/pb/unpack.h"

#define MAX_EVENT (1u << 20)
#define POLL_MS 20
#define GATHER_FROM 250 /* most of what comes are acknowledgements, for which nobody waits */
#define FENCE_TIMEOUT_MS 5000
#define FENCE_LEN 16

#define POSITIONS "longwave/app-server/+/position" /* of all replicas */

struct ticket {
	struct as_integration *m;
	uint64_t no;
};

enum state { AWAY, READING, UP };

struct as_integration {
	struct as *as;
	struct mqtt *mqtt;
	struct as_integration_listener l;
	struct rt_health *health;
	enum state state;
	struct as_topic event_topic, command_topic;
	char position_topic[160];
	char fence_topic[160];
	char fence[2 * FENCE_LEN + 1]; /* of this connection */
	bool fence_sent;
	bool looking; /* reads the positions of all, while UP */
	struct mqtt_heir *heir;
	char heir_id[128];
	bool held; /* commands are here that must not be acknowledged yet */
	void (*heir_done)(void *arg, const char *client_id);
	void *heir_arg;
	char command_filter[AS_TOPIC_MAX];
	int waited_ms;
	struct as_positions has; /* as the broker says */
	struct rt_timer timer;
	struct lw_buf buf;
	struct rt_metric *published, *refused, *bytes, *stalls;
};

static void go_up(struct as_integration *m)
{
	rt_timer_stop(&m->timer);
	mqtt_unsubscribe(m->mqtt, POSITIONS);
	mqtt_unsubscribe(m->mqtt, m->fence_topic);
	if (m->looking) {
		m->looking = false;
		if (m->l.looked_up)
			m->l.looked_up(m->l.arg, &m->has);
		return;
	}
	m->state = UP;
	rt_health_set(m->health, true, NULL);
	if (m->l.up)
		m->l.up(m->l.arg, &m->has);
}

static void on_poll(struct rt_timer *t, void *arg)
{
	struct as_integration *m = arg;
	(void)t;
	m->waited_ms += POLL_MS;
	if (!m->fence_sent && mqtt_subscribed(m->mqtt))
		m->fence_sent = mqtt_publish(m->mqtt, m->fence_topic, m->fence, 2 * (size_t)FENCE_LEN, 1, false, NULL,
					     NULL) == 0;
	if (m->waited_ms < FENCE_TIMEOUT_MS)
		return;
	RT_LOG_WARN(m->as->log,
		    "the broker does not give back our own messages: events may be repeated after a restart",
		    rt_str("topic", m->position_topic));
	go_up(m);
}

static void on_connect(void *arg, bool session_present)
{
	struct as_integration *m = arg;
	uint8_t nonce[FENCE_LEN];
	(void)session_present;
	lw_rng_fill(&m->as->rng, nonce, sizeof(nonce));
	lw_hex_encode(nonce, sizeof(nonce), m->fence);
	m->fence_sent = false;
	m->waited_ms = 0;
	m->has = (struct as_positions){0};
	m->looking = false;
	m->state = READING;
	rt_timer_start_every(&m->timer, POLL_MS);
}

static void subscribe_own(struct as_integration *m)
{
	int rc = mqtt_subscribe(m->mqtt, POSITIONS, 1);
	if (rc == 0)
		rc = mqtt_subscribe(m->mqtt, m->fence_topic, 1);
	if (rc < 0)
		RT_LOG_ERROR(m->as->log, "cannot subscribe to our own position", rt_err(rc));
}

static void on_disconnect(void *arg, int err, const char *text)
{
	struct as_integration *m = arg;
	(void)err;
	rt_timer_stop(&m->timer);
	rt_health_set(m->health, false, text);
	bool was_up = m->state == UP;
	m->state = AWAY;
	if (!was_up)
		return;
	m->looking = false;
	subscribe_own(m); /* for the next connection */
	if (m->l.down)
		m->l.down(m->l.arg);
}

static void on_message(void *arg, const struct mqtt_message *msg)
{
	struct as_integration *m = arg;
	if (mqtt_topic_matches(POSITIONS, msg->topic)) {
		if ((m->state == READING || m->looking) && as_positions_parse(&m->has, msg->payload) < 0)
			RT_LOG_WARN(m->as->log, "the retained position cannot be read", rt_str("topic", msg->topic));
	} else if (strcmp(msg->topic, m->fence_topic) == 0) {
		if ((m->state == READING || m->looking) && lw_span_eq_str(msg->payload, m->fence))
			go_up(m);
	} else if (m->l.command) {
		m->l.command(m->l.arg, msg);
	}
}

static bool on_before_ack(void *arg)
{
	struct as_integration *m = arg;
	m->held = m->l.before_ack && !m->l.before_ack(m->l.arg);
	return !m->held;
}

int as_integration_look_up(struct as_integration *m)
{
	uint8_t nonce[FENCE_LEN];
	if (m->state != UP)
		return LW_EUNAVAILABLE;
	if (m->looking)
		return 0;
	lw_rng_fill(&m->as->rng, nonce, sizeof(nonce));
	lw_hex_encode(nonce, sizeof(nonce), m->fence);
	m->fence_sent = false;
	m->waited_ms = 0;
	m->looking = true;
	subscribe_own(m);
	rt_timer_start_every(&m->timer, POLL_MS);
	return 0;
}

void as_integration_leave(struct as_integration *m)
{
	mqtt_unsubscribe(m->mqtt, m->command_filter);
}

/* ---- what the broker keeps for a replica that is gone ---- */

static void heir_connect(void *arg, struct mqtt *heir)
{
	struct as_integration *m = arg;
	mqtt_unsubscribe(heir, m->command_filter);
}

static bool heir_is_idle(void *arg)
{
	return !((const struct as_integration *)arg)->held;
}

static void heir_done(void *arg, bool taken)
{
	struct as_integration *m = arg;
	m->heir = NULL;
	if (taken)
		m->heir_done(m->heir_arg, m->heir_id);
}

static void heir_message(void *arg, const struct mqtt_message *msg)
{
	struct as_integration *m = arg;
	if (strncmp(msg->topic, "longwave/", 9) != 0 && m->l.command)
		m->l.command(m->l.arg, msg);
}

static struct mqtt_opts broker_opts(struct as_integration *m, const char *client_id)
{
	const struct as_conf *c = m->as->conf;
	return (struct mqtt_opts){.server = c->mqtt_server,
				  .client_id = client_id,
				  .username = c->mqtt_username,
				  .password = c->mqtt_password,
				  .ca_file = c->mqtt_ca,
				  .cert_file = c->mqtt_cert,
				  .key_file = c->mqtt_key,
				  .acknowledge_ms = (uint32_t)c->mqtt_acknowledge_ms,
				  .stalls = m->stalls,
				  .before_ack = on_before_ack,
				  .gather_from = GATHER_FROM,
				  .arg = m};
}

int as_integration_inherit(struct as_integration *m, const char *client_id,
			   void (*done)(void *arg, const char *client_id), void *arg)
{
	struct lw_diag diag;
	if (m->heir)
		return LW_EEXISTS;
	snprintf(m->heir_id, sizeof(m->heir_id), "%s", client_id);
	struct mqtt_heir_opts o = {.mqtt = broker_opts(m, m->heir_id),
				   .on_connect = heir_connect,
				   .is_idle = heir_is_idle,
				   .done = heir_done};
	o.mqtt.on_message = heir_message;
	m->heir_done = done;
	m->heir_arg = arg;
	m->heir = mqtt_heir_new(m->as->loop, m->as->log, &o, &diag);
	return m->heir ? 0 : LW_EINVAL;
}

static int parse_topics(struct as_integration *m, struct lw_diag *diag)
{
	const struct as_conf *c = m->as->conf;
	int rc = as_topic_parse(&m->event_topic, c->event_topic, "event", diag);
	if (rc < 0) {
		lw_diag_prefix(diag, "mqtt.event_topic");
		return rc;
	}
	rc = as_topic_parse(&m->command_topic, c->command_topic, "command", diag);
	if (rc < 0)
		lw_diag_prefix(diag, "mqtt.command_topic");
	return rc;
}

static int connect_broker(struct as_integration *m, struct lw_diag *diag)
{
	struct mqtt_opts o = broker_opts(m, m->as->conf->mqtt_client_id);
	o.on_message = on_message;
	o.on_connect = on_connect;
	o.on_disconnect = on_disconnect;
	if (as_topic_filter(&m->command_topic, "$share/longwave/", m->command_filter, sizeof(m->command_filter)) < 0) {
		lw_diag_set(diag, "mqtt.command_topic is too long");
		return LW_EINVAL;
	}
	m->mqtt = mqtt_new(m->as->loop, m->as->log, &o, diag);
	if (!m->mqtt)
		return LW_EINVAL;
	subscribe_own(m);
	return mqtt_subscribe(m->mqtt, m->command_filter, 1);
}

int as_integration_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct as *as = owner;
	const struct as_conf *c = as->conf;
	(void)env;
	if (!c->mqtt_server[0])
		return 0;
	struct as_integration *m = lw_xcalloc(1, sizeof(*m));
	as->integration = m;
	m->as = as;
	lw_buf_init(&m->buf, MAX_EVENT);
	rt_timer_init(&m->timer, as->loop, "mqtt position", on_poll, m);
	m->health = rt_health_add(as->run, "mqtt");
	m->published = rt_counter(as->metrics, "mqtt_events_total", "Events published");
	m->refused = rt_counter(as->metrics, "mqtt_events_refused_total", "Events that the broker refused");
	m->stalls = rt_counter(as->metrics, "mqtt_stalls_total",
			       "Connections to the broker that were left because it acknowledged nothing");
	m->bytes = rt_counter(as->metrics, "mqtt_event_bytes_total", "Bytes of events published");
	int rc = c->mqtt_client_id[0] ? 0 : LW_EINVAL;
	if (rc < 0)
		lw_diag_set(diag, "mqtt.client_id is empty");
	int n = snprintf(m->position_topic, sizeof(m->position_topic), "longwave/app-server/%s/position",
			 c->mqtt_client_id);
	snprintf(m->fence_topic, sizeof(m->fence_topic), "longwave/app-server/%s/fence", c->mqtt_client_id);
	if (rc == 0 && ((size_t)n >= sizeof(m->position_topic) || strpbrk(c->mqtt_client_id, "+#/"))) {
		lw_diag_set(diag, "mqtt.client_id is too long or contains one of + # /");
		rc = LW_EINVAL;
	}
	if (rc == 0)
		rc = parse_topics(m, diag);
	if (rc == 0)
		rc = connect_broker(m, diag);
	if (rc < 0)
		as_integration_deinit(as);
	return rc;
}

void as_integration_deinit(void *owner)
{
	struct as *as = owner;
	struct as_integration *m = as->integration;
	if (!m)
		return;
	rt_timer_stop(&m->timer);
	mqtt_heir_free(m->heir);
	m->l = (struct as_integration_listener){0};
	mqtt_free(m->mqtt);
	lw_buf_deinit(&m->buf);
	free(m);
	as->integration = NULL;
}

void as_integration_listen(struct as_integration *m, const struct as_integration_listener *l)
{
	m->l = *l;
}

static void on_event_done(void *arg, int err)
{
	struct as_integration *m = arg;
	/* Not allowed to publish, too large, no room: an operator's mistake or limit, and nothing that a repetition
	 * mends. What was under way when the connection ended is published again from the position. */
	if (err == LW_EAUTH || err == LW_EPROTO || err == LW_ELIMIT) {
		rt_metric_inc(m->refused);
		RT_LOG_ERROR(m->as->log, "the broker refuses an event", rt_err(err));
	}
}

int as_integration_publish(struct as_integration *m, const struct as_event *e, const struct as_event_device *dev)
{
	char topic[AS_TOPIC_MAX];
	if (m->state != UP)
		return LW_EUNAVAILABLE;
	int rc = as_topic_print(&m->event_topic, dev->application_id, dev->dev_eui, e->name, topic, sizeof(topic));
	if (rc < 0)
		return rc;
	lw_buf_reset(&m->buf);
	if (m->as->conf->mqtt_marshaler == 0)
		rc = lw_pbjson_encode(m->as->schema, e->msg, LW_PBJSON_EVENT, &m->buf);
	else
		rc = lw_pb_pack(e->msg, &m->buf);
	if (rc < 0)
		return rc;
	rc = mqtt_publish(m->mqtt, topic, m->buf.p, m->buf.n, 1, false, on_event_done, m);
	if (rc == 0) {
		rt_metric_inc(m->published);
		rt_metric_add(m->bytes, m->buf.n);
	}
	return rc == LW_EFULL ? LW_EUNAVAILABLE : rc;
}

static void on_position_done(void *arg, int err)
{
	struct ticket *t = arg;
	struct as_integration *m = t->m;
	uint64_t no = t->no;
	free(t);
	if (m->l.position_done)
		m->l.position_done(m->l.arg, no, err);
}

int as_integration_publish_position(struct as_integration *m, const struct as_positions *p, uint64_t ticket)
{
	if (m->state != UP)
		return LW_EUNAVAILABLE;
	struct ticket *t = lw_xmalloc(sizeof(*t));
	*t = (struct ticket){m, ticket};
	lw_buf_reset(&m->buf);
	as_positions_print(p, &m->buf);
	int rc = mqtt_publish(m->mqtt, m->position_topic, m->buf.p, m->buf.n, 1, true, on_position_done, t);
	if (rc < 0)
		free(t);
	return rc;
}

void as_integration_pause(struct as_integration *m, bool paused)
{
	if (paused)
		mqtt_pause(m->mqtt);
	else
		mqtt_resume(m->mqtt);
}

void as_integration_acks_go(struct as_integration *m)
{
	m->held = false;
	mqtt_acks_go(m->mqtt);
	if (m->heir)
		mqtt_acks_go(mqtt_heir_client(m->heir));
}

bool as_integration_command_topic(const struct as_integration *m, const char *topic, struct lw_span *application_id,
				  struct lw_span *dev_eui, struct lw_span *command)
{
	return as_topic_match(&m->command_topic, topic, application_id, dev_eui, command);
}
