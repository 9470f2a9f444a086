#include "common/io/mqtt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/io/mqtt_internal.h"
#include "common/runtime/metrics.h"

/* Reads of the socket in one turn, before others get theirs. */
#define MAX_READS 16
#define MISC_MS 1000
/* A connection that has held for so many looks of the misc timer is a good one: the next attempt comes soon again.
 * Before that two clients with one id would throw each other out four times a second. */
#define GOOD_LOOKS 2
/* PINGRESP may take half the keep-alive, and at least so many looks. Counted, not timed: a process that stood still
 * has not listened. */
#define PING_LOOKS_MIN 3
/* A broker that answers pings but acknowledges nothing for so long is not of use. */
#define ACKNOWLEDGE_MS 60000
/* Acknowledgements alone wait for company: so many, or so long. A broker with narrow limits sends 20 messages and then
 * wants one back; with that one the groups are smaller. Which kind it is shows once, when the first group is full. */
#define ACK_BATCH 256
#define ACK_BATCH_NARROW 16
#define NARROW_WINDOW 20
#define ACK_MS 5
/* What any broker sends without an acknowledgement, and how long one that sends nothing is not suspected. */
#define BORNE_BY_ALL 8
#define QUIET_MS 15
/* Topic, properties and headers come on top of the payload. */
#define AROUND_PAYLOAD ((size_t)128 * 1024)
/* Kept for the next packets when it is empty. */
#define KEEP_BYTES ((size_t)1024 * 1024)

static void teardown(struct mqtt *m);
static void flush(struct mqtt *m);

/* --- input ------------------------------------------------------------------------------------------------------ */

void mqtt_note_lost(struct mqtt *m, int err, const char *text)
{
	if (m->lost)
		return;
	m->lost = true;
	m->lost_err = err;
	snprintf(m->lost_text, sizeof(m->lost_text), "%s", text);
}

/* A pause begins only once the connection is made. */
static bool reads(const struct mqtt *m)
{
	return !m->paused || m->state != UP;
}

static void acknowledge_later(struct mqtt *m, const struct mqtt_wire_publish *p)
{
	if (p->qos == 0)
		return;
	size_t before = m->unacked + m->n_held;
	mqtt_wire_put_puback(&m->acks, p->mid);
	m->unacked++;
	if (before >= NARROW_WINDOW)
		m->wide = true;
	if (before > m->borne)
		m->borne = before;
	if (m->no_more && before >= 2 * m->no_more)
		m->no_more = m->stalled = 0;
	m->last_publish_ns = m->last_in_ns;
}

/* A broker has a limit that it need not tell. One that twice sends nothing more for a while, with as many under way as
 * never before, has reached it: from then on half of that is enough, until it shows that it can bear more. */
bool mqtt_acks_may_wait(struct mqtt *m)
{
	size_t n = m->unacked + m->n_held, agreed = m->o.receive_maximum / 2;
	if (n >= agreed || (m->no_more && n >= m->no_more))
		return false;
	bool quiet = rt_loop_mono_ns(m->loop) - m->last_publish_ns >= QUIET_MS * LW_NS_PER_MS;
	if (n <= (m->borne > BORNE_BY_ALL ? m->borne : BORNE_BY_ALL) || !quiet)
		return true;
	if (n == m->stalled)
		m->no_more = (n + 1) / 2;
	m->stalled = n;
	return false;
}

static int on_publish(struct mqtt *m, struct lw_span body, uint8_t flags)
{
	struct mqtt_wire_publish p;
	if (mqtt_wire_get_publish(body, flags, m->o.version == MQTT_V5, &p) < 0)
		return LW_EPROTO;
	acknowledge_later(m, &p);
	if (p.payload.n > m->o.max_message) {
		m->st.oversize++;
		return 0;
	}
	m->st.received++;
	if (!m->o.on_message)
		return 0;
	m->handed = true;
	lw_buf_reset(&m->text);
	lw_buf_append_span(&m->text, p.topic);
	m->o.on_message(m->o.arg, &(struct mqtt_message){.topic = lw_buf_str(&m->text),
							 .payload = p.payload,
							 .qos = p.qos,
							 .retain = p.retain,
							 .again = p.again});
	return 0;
}

static void refused(struct mqtt *m, uint8_t reason)
{
	bool v5 = m->o.version == MQTT_V5;
	bool auth = v5 ? reason == MQTT_BAD_USER || reason == MQTT_NOT_AUTHORIZED || reason == MQTT_BANNED
		       : reason == 4 || reason == 5;
	char text[sizeof(m->lost_text)];
	snprintf(text, sizeof(text), "refused: %s", mqtt_reason_text(v5 && reason >= MQTT_REFUSED, reason));
	mqtt_note_lost(m, auth ? LW_EAUTH : LW_EUNAVAILABLE, text);
}

static int on_connack(struct mqtt *m, struct lw_span body)
{
	struct mqtt_wire_connack c;
	if (m->state != HANDSHAKE || mqtt_wire_get_connack(body, m->o.version == MQTT_V5, &c) < 0)
		return LW_EPROTO;
	if (c.reason != 0) {
		refused(m, c.reason);
		return 0;
	}
	m->state = UP;
	m->window = c.receive_maximum < MQTT_PUB_IDS ? c.receive_maximum : MQTT_PUB_IDS - 1;
	m->max_packet = c.max_packet;
	m->max_qos = c.max_qos;
	m->retains = c.retains;
	m->keepalive_s = c.keepalive_s ? c.keepalive_s : m->o.keepalive_s;
	m->up_looks = 0;
	rt_timer_stop(&m->timer);
	m->st.connects++;
	RT_LOG_INFO(m->log, "mqtt connected", rt_str("server", m->o.server),
		    rt_bool("session_present", c.session_present));
	if (m->max_qos == 0)
		RT_LOG_WARN(m->log, "mqtt broker takes QoS 0 only: it may lose what is published",
			    rt_str("server", m->o.server));
	mqtt_subscribe_all(m);
	if (m->o.on_connect)
		m->o.on_connect(m->o.arg, c.session_present);
	return 0;
}

static int on_puback(struct mqtt *m, struct lw_span body)
{
	uint16_t mid;
	uint8_t reason;
	if (mqtt_wire_get_puback(body, &mid, &reason) < 0)
		return LW_EPROTO;
	mqtt_acked(m, mid, reason);
	return 0;
}

static int on_suback(struct mqtt *m, struct lw_span body)
{
	uint16_t mid;
	uint8_t code;
	if (mqtt_wire_get_suback(body, m->o.version == MQTT_V5, &mid, &code) < 0)
		return LW_EPROTO;
	mqtt_subscribed_to(m, mid, code);
	return 0;
}

static int on_packet(struct mqtt *m, const struct mqtt_packet *p)
{
	if ((m->state != UP && p->type != MQTT_CONNACK) || (p->flags && p->type != MQTT_PUBLISH))
		return LW_EPROTO;
	switch (p->type) {
	case MQTT_CONNACK:
		return on_connack(m, p->body);
	case MQTT_PUBLISH:
		return on_publish(m, p->body, p->flags);
	case MQTT_PUBACK:
		return on_puback(m, p->body);
	case MQTT_SUBACK:
		return on_suback(m, p->body);
	case MQTT_UNSUBACK:
		return 0;
	case MQTT_PINGRESP:
		m->pinged = false;
		return 0;
	case MQTT_DISCONNECT:
		mqtt_note_lost(m, LW_ECLOSED, mqtt_reason_text(true, mqtt_wire_get_disconnect(p->body)));
		return 0;
	default:
		return LW_EPROTO;
	}
}

/* A message larger than anybody wants: acknowledged, counted, and passed over as it comes in. False: not enough of it
 * is there to read its packet id. */
static bool pass_over(struct mqtt *m, const struct mqtt_packet *p)
{
	struct mqtt_wire_publish msg;
	if (p->type != MQTT_PUBLISH) {
		mqtt_note_lost(m, LW_EPROTO, "a packet of absurd length");
		return false;
	}
	if (p->body.n < p->remaining && p->body.n < AROUND_PAYLOAD)
		return false;
	if (mqtt_wire_get_publish(p->body, p->flags, m->o.version == MQTT_V5, &msg) < 0) {
		mqtt_note_lost(m, LW_EPROTO, "a packet that is none of MQTT");
		return false;
	}
	acknowledge_later(m, &msg);
	m->st.oversize++;
	m->in_at += p->head;
	m->skip = p->remaining;
	return true;
}

/* One packet; false: none is whole. */
static bool parse_one(struct mqtt *m)
{
	size_t n = m->in.n - m->in_at;
	if (m->skip) {
		size_t k = n < m->skip ? n : m->skip;
		m->in_at += k;
		m->skip -= k;
		return k > 0;
	}
	struct mqtt_packet p;
	int rc = mqtt_wire_next(lw_span(m->in.p + m->in_at, n), &p);
	if (rc == 0 && p.head && p.remaining > m->o.max_message + AROUND_PAYLOAD)
		return pass_over(m, &p);
	if (rc > 0) {
		m->in_at += p.head + p.remaining;
		m->n_packets++;
		rc = on_packet(m, &p);
	} else if (rc == 0) {
		return false;
	}
	if (rc < 0)
		mqtt_note_lost(m, LW_EPROTO, "a packet that is none of MQTT");
	return true;
}

static void parse(struct mqtt *m)
{
	while (m->in_at < m->in.n && reads(m) && !m->lost && parse_one(m))
		;
	if (m->in_at == m->in.n) {
		m->in_at = 0;
		lw_buf_reset(&m->in);
		if (m->in.cap > KEEP_BYTES)
			lw_buf_deinit(&m->in);
	} else {
		lw_buf_consume(&m->in, m->in_at);
		m->in_at = 0;
	}
}

static void read_all(struct mqtt *m)
{
	m->st.reads++;
	m->last_in_ns = rt_loop_mono_ns(m->loop);
	bool more = true;
	for (int i = 0; i < MAX_READS && more && reads(m) && !m->lost; i++) {
		more = mqtt_net_read(m);
		/* Also when the connection has ended: what came before counts. */
		bool lost = m->lost;
		m->lost = false;
		parse(m);
		m->lost |= lost;
	}
}

/* --- output ----------------------------------------------------------------------------------------------------- */

/* Not while the next acknowledgement lets something go, of ours or (where much is gathered) of a narrow broker's. */
static bool may_gather(const struct mqtt *m)
{
	return m->o.gather_from && m->state == UP && !m->lost && lw_list_empty(&m->waiting) &&
	       !(m->o.gather_bulk && m->narrow && !m->wide);
}

static void update_watch(struct mqtt *m)
{
	if (m->gather.on && !may_gather(m))
		rt_gather_stop(&m->gather);
	mqtt_net_watch(m, (reads(m) && !m->gather.on ? RT_READ : 0u) | (m->blocked ? RT_WRITE : 0u));
}

static bool settle(struct mqtt *m)
{
	m->handed = false;
	return !m->o.before_ack || m->o.before_ack(m->o.arg);
}

/* One group is held at a time; what comes meanwhile is the next. */
static bool ack_due(const struct mqtt *m)
{
	return m->unacked && !m->holds;
}

static void ask_for_acks(struct mqtt *m)
{
	m->holds = !settle(m);
	m->n_held = m->holds ? m->unacked : 0;
	lw_buf_append_span(m->holds ? &m->held : &m->out, lw_buf_span(&m->acks));
	lw_buf_reset(&m->acks);
	m->unacked = 0;
	m->ack_now = false;
	rt_timer_stop(&m->ack);
}

static void write_all(struct mqtt *m)
{
	m->n_urgent = 0;
	m->st.writes++;
	m->last_out_ns = rt_loop_mono_ns(m->loop);
	mqtt_net_write(m);
	if (m->out.n == 0 && m->out.cap > KEEP_BYTES)
		lw_buf_deinit(&m->out);
	mqtt_finish_written(m);
	update_watch(m);
}

/* A few young acknowledgements wait for company, and go along with other output; those that are worth a longer wait do
 * not even do that, for before_ack may be dear. */
static bool acks_wait(struct mqtt *m)
{
	size_t enough = m->narrow && !m->wide ? ACK_BATCH_NARROW : ACK_BATCH;
	bool go_along = (m->n_urgent || mqtt_net_to_send(m)) && m->o.ack_wait_ms <= ACK_MS;
	if (go_along || m->unacked >= enough || m->ack_now)
		return false;
	if (!rt_timer_armed(&m->ack))
		rt_timer_start(&m->ack, m->o.ack_wait_ms);
	return true;
}

static void flush(struct mqtt *m)
{
	if (m->state < HANDSHAKE || m->lost)
		return;
	/* Of QoS 0 alone: no acknowledgement will come by. */
	if (m->handed && !m->unacked && settle(m))
		mqtt_acks_go(m);
	mqtt_give_waiting(m);
	if (!m->blocked && ack_due(m) && !acks_wait(m))
		ask_for_acks(m);
	if (!m->blocked && mqtt_net_to_send(m))
		write_all(m);
	if (m->lost)
		teardown(m);
}

static void on_tick(void *arg)
{
	struct mqtt *m = arg;
	/* What was read before a pause began. */
	size_t left = m->in.n;
	if (left && m->state == UP && reads(m) && !m->lost) {
		parse(m);
		if (m->in.n < left)
			rt_loop_again(m->loop);
	}
	if (m->lost)
		teardown(m);
	flush(m);
}

static void on_ack_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	struct mqtt *m = arg;
	m->ack_now = true;
	m->narrow = m->narrow || m->unacked >= ACK_BATCH_NARROW;
	flush(m);
}

/* Packets a read. Bulk ends where a look takes so long that no gathering is needed. */
#define BULK_FEW 64
#define BULK_MANY 4096

static void look(void *arg)
{
	struct mqtt *m = arg;
	if (reads(m)) {
		m->n_packets = 0;
		read_all(m);
		if (may_gather(m))
			rt_gather_note(&m->gather, m->n_packets);
	}
	if (m->lost)
		teardown(m);
	else
		update_watch(m);
}

void mqtt_net_event(struct mqtt *m, unsigned events)
{
	if (events & RT_WRITE) {
		m->blocked = false;
		flush(m);
		if (m->state >= HANDSHAKE && !m->lost)
			update_watch(m);
	}
	if (!(events & RT_READ) || m->state < HANDSHAKE || m->lost)
		return;
	look(m);
}

/* --- connection ------------------------------------------------------------------------------------------------- */

static void forget_stream(struct mqtt *m)
{
	lw_buf_reset(&m->in);
	lw_buf_reset(&m->out);
	lw_buf_reset(&m->acks);
	lw_buf_reset(&m->held);
	m->holds = m->wide = m->narrow = false;
	m->n_held = m->borne = m->stalled = m->no_more = 0;
	m->in_at = m->out_at = m->skip = 0;
	m->n_out = 0;
	m->unacked = 0;
	m->n_urgent = 0;
	m->blocked = false;
	m->pinged = false;
	m->ack_now = false;
}

static void schedule_connect(struct mqtt *m)
{
	rt_timer_start(&m->timer, lw_backoff_next_ms(&m->backoff, &m->rng));
}

static void teardown(struct mqtt *m)
{
	bool was_up = m->state == UP;
	int err = m->lost_err;
	m->state = DOWN;
	m->lost = false;
	rt_timer_stop(&m->misc);
	rt_timer_stop(&m->ack);
	rt_gather_stop(&m->gather);
	mqtt_net_close(m);
	forget_stream(m);
	/* An operator wants to know once; the attempts that follow are for the developer. */
	RT_LOG(m->log, m->said_down ? RT_DEBUG : RT_WARN, "mqtt down", rt_str("server", m->o.server),
	       rt_str("detail", m->lost_text), rt_bool("was_connected", was_up));
	m->said_down = true;
	schedule_connect(m);
	mqtt_fail_all(m, LW_ECLOSED);
	if (m->o.on_disconnect)
		m->o.on_disconnect(m->o.arg, err, m->lost_text);
}

void mqtt_net_failed(struct mqtt *m, int err, const char *text)
{
	mqtt_note_lost(m, err, text);
	teardown(m);
}

static void put_connect(struct mqtt *m)
{
	const struct mqtt_opts *o = &m->o;
	size_t most = o->max_message + AROUND_PAYLOAD;
	bool user = o->username && *o->username;
	mqtt_wire_put_connect(&m->out,
			      &(struct mqtt_wire_connect){
				      .v5 = o->version == MQTT_V5,
				      .clean = o->clean_session,
				      .keepalive_s = o->keepalive_s,
				      .client_id = o->client_id,
				      .username = user ? o->username : NULL,
				      .password = user ? o->password : NULL,
				      .session_expiry_s = o->session_expiry_s ? o->session_expiry_s : UINT32_MAX,
				      .receive_maximum = o->receive_maximum,
				      .max_packet = most > MQTT_PACKET_MAX ? MQTT_PACKET_MAX : (uint32_t)most,
				      .will_topic = o->will.topic,
				      .will = lw_span(o->will.payload, o->will.n),
				      .will_qos = o->will.qos,
				      .will_retain = o->will.retain,
			      });
}

void mqtt_net_ready(struct mqtt *m)
{
	m->state = HANDSHAKE;
	m->last_in_ns = m->last_out_ns = rt_loop_mono_ns(m->loop);
	mqtt_pub_begin(m);
	put_connect(m);
	m->n_urgent = 1;
	rt_timer_start_every(&m->misc, MISC_MS);
	flush(m);
}

static bool acknowledges_nothing(const struct mqtt *m, int64_t now)
{
	int64_t since = mqtt_subscribing_since(m), limit = (int64_t)m->o.acknowledge_ms * LW_NS_PER_MS;
	return (m->sent.n && now - m->front_since_ns > limit) || (since && now - since > limit);
}

static void stalled(struct mqtt *m)
{
	if (m->o.stalls)
		rt_metric_inc(m->o.stalls);
	mqtt_note_lost(m, LW_ETIMEDOUT, "the broker does not acknowledge");
}

static void on_misc(struct rt_timer *t, void *arg)
{
	(void)t;
	struct mqtt *m = arg;
	int64_t now = rt_loop_mono_ns(m->loop), keepalive = (int64_t)m->keepalive_s * LW_NS_PER_S;
	if (m->state != UP)
		return;
	if (++m->up_looks == GOOD_LOOKS) {
		lw_backoff_reset(&m->backoff);
		m->said_down = false;
	}
	if (!reads(m)) { /* answers are not looked at */
		m->last_in_ns = m->front_since_ns = now;
		m->pinged = false;
		mqtt_subscribing_anew(m);
	}
	uint32_t patience = m->keepalive_s / 2 > PING_LOOKS_MIN ? m->keepalive_s / 2 : PING_LOOKS_MIN;
	if (m->pinged && ++m->ping_looks > patience && now - m->last_in_ns > keepalive)
		mqtt_note_lost(m, LW_ETIMEDOUT, "the broker does not answer");
	else if (acknowledges_nothing(m, now))
		stalled(m);
	if (m->lost) {
		teardown(m);
		return;
	}
	int64_t soon = keepalive - MISC_MS * LW_NS_PER_MS;
	if (!m->pinged && (now - m->last_out_ns >= soon || now - m->last_in_ns >= soon)) {
		mqtt_wire_put_pingreq(&m->out);
		m->pinged = true;
		m->ping_looks = 0;
		m->n_urgent++;
		flush(m);
	}
}

static void on_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	struct mqtt *m = arg;
	if (m->state == CONNECTING && mqtt_net_next_address(m))
		return;
	if (m->state != DOWN) {
		mqtt_note_lost(m, LW_ETIMEDOUT, "no connection and no answer to CONNECT in time");
		teardown(m);
		return;
	}
	m->lost = false;
	m->lost_err = 0;
	m->state = CONNECTING;
	rt_timer_start(&m->timer, MQTT_HANDSHAKE_MS);
	mqtt_net_connect(m);
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

static char *client_id(struct mqtt *m, const char *wanted)
{
	char text[24];
	if (wanted && *wanted)
		return lw_xstrdup(wanted);
	snprintf(text, sizeof(text), "lw-%016" PRIx64, lw_rng_u64(&m->rng));
	return lw_xstrdup(text);
}

static void take_opts(struct mqtt *m, const struct mqtt_opts *o)
{
	m->o = *o;
	m->o.server = copy(o->server);
	m->o.client_id = client_id(m, o->client_id);
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
		m->o.keepalive_s = 5;
	if (!m->o.receive_maximum)
		m->o.receive_maximum = UINT16_MAX;
	if (!m->o.max_message)
		m->o.max_message = 1024u * 1024u;
	if (!m->o.ack_wait_ms)
		m->o.ack_wait_ms = ACK_MS;
	if (!m->o.acknowledge_ms)
		m->o.acknowledge_ms = ACKNOWLEDGE_MS;
	if (!m->o.max_queued)
		m->o.max_queued = 100000;
}

/* Wrong ids, wills or files show now and not at the first attempt. */
static int check_opts(const struct mqtt *m, struct lw_diag *diag)
{
	const struct mqtt_opts *o = &m->o;
	const char *texts[] = {o->client_id, o->username, o->password};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		size_t n = texts[i] ? strlen(texts[i]) : 0;
		if (n > MQTT_TEXT_MAX || (i < 2 && n && !mqtt_text_ok(texts[i], n))) {
			lw_diag_set(diag, "client id, user name or password is not a valid text");
			return LW_EINVAL;
		}
	}
	if (o->will.topic && (!mqtt_topic_ok(o->will.topic) || o->will.n > MQTT_TEXT_MAX || o->will.qos > 1)) {
		lw_diag_set(diag, "the will cannot be published");
		return LW_EINVAL;
	}
	return mqtt_net_check(m, diag);
}

static void init_buffers(struct mqtt *m)
{
	lw_buf_init(&m->in, m->o.max_message + 4 * AROUND_PAYLOAD);
	lw_buf_init(&m->text, MQTT_TEXT_MAX);
	lw_buf_init(&m->acks, SIZE_MAX / 4);
	lw_buf_init(&m->held, SIZE_MAX / 4);
	lw_buf_init(&m->out, SIZE_MAX / 4);
	m->net.fd = -1;
	lw_list_init(&m->subs);
	lw_list_init(&m->waiting);
	mqtt_net_close(m);
}

static void mqtt_destroy(struct mqtt *m)
{
	mqtt_net_close(m);
	mqtt_pub_free(m);
	lw_buf_deinit(&m->in);
	lw_buf_deinit(&m->text);
	lw_buf_deinit(&m->acks);
	lw_buf_deinit(&m->held);
	lw_buf_deinit(&m->out);
	lw_buf_deinit(&m->net.wire);
	free_opts(&m->o);
	free(m);
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
	struct mqtt *m = lw_xcalloc(1, sizeof(*m));
	m->loop = loop;
	m->log = log;
	m->server = server;
	lw_rng_init_system(&m->rng);
	take_opts(m, opts);
	init_buffers(m);
	if (check_opts(m, diag) < 0) {
		lw_diag_prefix(diag, "mqtt");
		mqtt_destroy(m);
		return NULL;
	}
	lw_backoff_init(&m->backoff, opts->backoff_min_ms ? opts->backoff_min_ms : 250,
			opts->backoff_max_ms ? opts->backoff_max_ms : 15000);
	rt_timer_init(&m->timer, loop, "mqtt.timer", on_timer, m);
	rt_timer_init(&m->misc, loop, "mqtt.misc", on_misc, m);
	rt_timer_init(&m->ack, loop, "mqtt.ack", on_ack_timer, m);
	rt_gather_init(&m->gather, loop, "mqtt", opts->gather_from ? opts->gather_from : 1, false, look, m);
	if (opts->gather_bulk) {
		rt_gather_size(&m->gather, BULK_FEW, BULK_MANY);
		rt_gather_least(&m->gather, opts->gather_bulk);
	}
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
		/* Orderly: what was handed over counts, when it is safe. */
		if ((m->unacked || m->holds) && settle(m)) {
			lw_buf_append_span(&m->out, lw_buf_span(&m->held));
			lw_buf_append_span(&m->out, lw_buf_span(&m->acks));
		}
		mqtt_wire_put_disconnect(&m->out, m->forget_session && m->o.version == MQTT_V5);
		mqtt_net_write(m);
	}
	m->state = DOWN;
	rt_timer_stop(&m->timer);
	rt_timer_stop(&m->misc);
	rt_timer_stop(&m->ack);
	rt_gather_stop(&m->gather);
	rt_tick_remove(m->tick);
	mqtt_net_end(m);
	mqtt_net_close(m);
	mqtt_fail_all(m, LW_ECANCELLED);
	mqtt_destroy(m);
}

void mqtt_forget_session(struct mqtt *m)
{
	m->forget_session = true;
}

void mqtt_acks_go(struct mqtt *m)
{
	if (!m->holds)
		return;
	m->holds = false;
	m->n_held = 0;
	lw_buf_append_span(&m->out, lw_buf_span(&m->held));
	lw_buf_reset(&m->held);
	rt_loop_again(m->loop);
}

void mqtt_pause(struct mqtt *m)
{
	m->paused = true;
	rt_gather_stop(&m->gather);
	if (m->state == UP && !m->lost)
		update_watch(m);
}

void mqtt_resume(struct mqtt *m)
{
	m->paused = false;
	if (m->state != UP || m->lost)
		return;
	update_watch(m);
	rt_loop_again(m->loop);
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
