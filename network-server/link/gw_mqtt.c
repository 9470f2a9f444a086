#include "network-server/link/gw_mqtt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "common/io/journal.h"
#include "common/io/journal_writer.h"
#include "common/io/mqtt_heir.h"
#include "common/pb/pbjson.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"
#include "network-server/link/waiting.h"

#define MAX_PAYLOAD (256u * 1024u)
/* An acknowledgement costs a write of the journal that is waited for, and nobody waits for it. */
#define ACK_WAIT_MS 20
/* Bridges' messages are gathered (2 ms) only where each wake brings work for a good part of that anyway: at 4,000 of
 * them a second, not at the 2,000 of 1,000 uplinks. */
#define GATHER_FROM 1000
#define GATHER_BULK 4000
/* So long again they wait for the receptions to be dealt with: then neither these nor that they are done need be in the
 * journal. Most are, a window that closes early is. A reception that only the broker has is not older than both. */
#define SETTLE_LOOK_MS 20
#define SETTLE_LOOKS 4
#define DONE_MS 250               /* how late a done mark may be in the journal */
#define JSON_GATEWAYS_MAX 100000u /* remembered; the others get protobuf */
#define HEAD 10                   /* of a journal record: kind, length of the region's id, time of reception */

struct ns_gw_mqtt {
	struct ns_gw_mqtt_opts o;
	struct mqtt *mqtt;
	struct journal *journal;
	struct journal_writer *writer;
	uint64_t ack_need;            /* acknowledgements wait until the journal is settled up to here; 0: none wait */
	struct rt_timer settle_timer; /* armed: and it is not committed for that yet */
	unsigned settle_looks;
	bool only_here; /* a reception that the broker does not have any more is not written yet */
	bool failing;   /* the journal cannot be written */
	bool ending;
	struct lw_map json_gateways; /* EUI → this: speaks JSON */
	struct ns_waiting *waiting;
	bool stopped; /* draining */
	struct heir *heirs;
	struct rt_timer done_timer;
	struct rt_metric *received, *unknown_topic, *again, *sent, *failed;
};

static const char *const KINDS[] = {"up", "stats", "ack"};

/* ---- in ---- */

struct topic {
	const struct ns_region_config *region;
	enum ns_gw_event kind;
	struct lw_gateway_id gateway;
};

/* What follows a region's prefix in a topic; NULL when the topic is not under it. */
static const char *below(const struct ns_region_config *rc, const char *text)
{
	size_t n = strlen(rc->topic_prefix);
	if (strncmp(rc->topic_prefix, text, n) != 0 || (n && text[n] != '/'))
		return NULL;
	text += n ? n + 1 : 0;
	return strncmp(text, "gateway/", 8) == 0 ? text + 8 : NULL;
}

/* <prefix>/gateway/<16 hex>/event/<kind> */
static bool parse_topic(const struct ns_gw_mqtt *g, const char *text, struct topic *out)
{
	const char *id = NULL;
	for (size_t i = 0; !id && i < g->o.n_regions; i++) {
		out->region = g->o.regions[i];
		id = below(out->region, text);
	}
	if (!id || strnlen(id, 24) < 24 || lw_gateway_id_parse_n(&out->gateway, id, 16) ||
	    strncmp(id + 16, "/event/", 7) != 0)
		return false;
	for (size_t k = 0; k < sizeof(KINDS) / sizeof(KINDS[0]); k++) {
		if (strcmp(id + 23, KINDS[k]) == 0) {
			out->kind = (enum ns_gw_event)k;
			return true;
		}
	}
	return false;
}

static void pause_heirs(struct ns_gw_mqtt *g, bool pause);

static void on_full(void *arg, bool full)
{
	struct ns_gw_mqtt *g = arg;
	if (!g->mqtt || g->stopped)
		return;
	if (full)
		mqtt_pause(g->mqtt);
	else
		mqtt_resume(g->mqtt);
	pause_heirs(g, full);
}

static void release_acks(struct ns_gw_mqtt *g, struct mqtt *m, uint64_t *need)
{
	if (*need == 0 || *need > journal_settled(g->journal))
		return;
	*need = 0;
	if (m == g->mqtt)
		rt_timer_stop(&g->settle_timer);
	mqtt_acks_go(m);
}

static void release_all(struct ns_gw_mqtt *g);

static void done_soon(struct ns_gw_mqtt *g, uint64_t position)
{
	journal_done(g->journal, position);
	if (journal_has_marks(g->journal) && !rt_timer_armed(&g->done_timer))
		rt_timer_start(&g->done_timer, DONE_MS);
	release_all(g);
}

static int take(void *arg, const struct ns_gw_message *m)
{
	struct ns_gw_mqtt *g = arg;
	return g->o.on_message(g->o.arg, m);
}

static void on_shed(void *arg, const struct ns_gw_message *m)
{
	struct ns_gw_mqtt *g = arg;
	if (m->journal_position)
		done_soon(g, m->journal_position);
	if (g->o.on_shed)
		g->o.on_shed(g->o.arg, m);
}

/* Frames must survive this process. Acknowledgements need not: what they answer is in memory only, and an item without
 * one goes again. Statistics come again. */
static uint64_t journal(struct ns_gw_mqtt *g, const struct ns_gw_message *m)
{
	size_t n_id = strlen(m->region->id);
	uint8_t stack[2048], *record = stack;
	size_t n = HEAD + n_id + m->payload.n;
	uint64_t position = 0;
	if (n > sizeof(stack))
		record = lw_xmalloc(n);
	record[0] = (uint8_t)m->kind;
	record[1] = (uint8_t)n_id;
	lw_put_le64(record + 2, (uint64_t)m->received_at_ns);
	memcpy(record + HEAD, m->region->id, n_id);
	if (m->payload.n)
		memcpy(record + HEAD + n_id, m->payload.p, m->payload.n);
	int err = journal_append(g->journal, lw_span(record, n), &position);
	if (err)
		RT_LOG_ERROR(g->o.log, "inbox journal refuses a frame", rt_err(err));
	if (record != stack)
		free(record);
	return err ? 0 : position;
}

bool ns_gw_mqtt_note_json(struct ns_gw_mqtt *g, struct lw_gateway_id gateway, bool json)
{
	uint64_t id = lw_gateway_id_u64(gateway);
	if (json && lw_map_count(&g->json_gateways) < JSON_GATEWAYS_MAX)
		return lw_map_put(&g->json_gateways, id, g) == NULL;
	return !json && lw_map_count(&g->json_gateways) && lw_map_remove(&g->json_gateways, id) != NULL;
}

/* Commands go out in the encoding in which a gateway speaks. */
static void note_encoding(struct ns_gw_mqtt *g, struct lw_gateway_id gateway, struct lw_span payload)
{
	static const char name[] = "gatewayId"; /* a member of every JSON message */
	size_t at = 0;
	while (at < payload.n && strchr(" \t\r\n", payload.p[at]) && payload.p[at])
		at++;
	bool json =
		at < payload.n && payload.p[at] == '{' && memmem(payload.p, payload.n, name, sizeof(name) - 1) != NULL;
	if (ns_gw_mqtt_note_json(g, gateway, json) && g->o.on_encoding)
		g->o.on_encoding(g->o.arg, gateway, json);
}

/* again: it may have been here before, or has waited longer than its sender. */
static void take_message(struct ns_gw_mqtt *g, const struct mqtt_message *msg, bool again)
{
	struct topic topic;
	if (!parse_topic(g, msg->topic, &topic)) {
		rt_metric_inc(g->unknown_topic);
		return;
	}
	rt_metric_inc_at(g->received, topic.kind);
	note_encoding(g, topic.gateway, msg->payload);
	struct ns_gw_message m = {.kind = topic.kind,
				  .region = topic.region,
				  .payload = msg->payload,
				  .received_at_ns = rt_loop_now_ns(g->o.loop),
				  .is_replay = again,
				  .said_again = msg->again};
	if (msg->again)
		rt_metric_inc(g->again);
	if (m.kind == NS_GW_UP) {
		m.journal_position = journal(g, &m);
		g->only_here = g->only_here || msg->qos == 0;
	}
	ns_waiting_put(g->waiting, &m, again);
}

static void commit_now(struct ns_gw_mqtt *g)
{
	rt_timer_stop(&g->settle_timer);
	g->only_here = false;
	journal_writer_commit(g->writer);
}

static void on_message(void *arg, const struct mqtt_message *msg)
{
	take_message(arg, msg, msg->again);
}

/* What is acknowledged is in the journal, or dealt with: its effects have a commit of their own. What is processed need
 * not be in the journal yet: without an acknowledgement the broker gives it again, which the session's counter tells.
 */
static bool may_ack(struct ns_gw_mqtt *g, uint64_t *need, bool may_wait)
{
	if (g->ending)
		return journal_writer_finish(g->writer) == 0;
	*need = 0; /* not for on_written(): acknowledgements are not released from inside */
	uint64_t all = journal_appended(g->journal);
	if (journal_settled(g->journal) < all && !may_wait)
		commit_now(g);
	if (journal_settled(g->journal) >= all)
		return true;
	*need = all;
	return false;
}

static bool before_ack(void *arg)
{
	struct ns_gw_mqtt *g = arg;
	bool may_wait = !g->only_here && mqtt_acks_may_wait(g->mqtt);
	if (may_ack(g, &g->ack_need, may_wait))
		return true;
	if (may_wait && !g->ending && !rt_timer_armed(&g->settle_timer)) {
		g->settle_looks = 0;
		rt_timer_start(&g->settle_timer, SETTLE_LOOK_MS);
	}
	return false;
}

static void on_settle_timer(struct rt_timer *t, void *arg)
{
	struct ns_gw_mqtt *g = arg;
	if (++g->settle_looks < SETTLE_LOOKS && mqtt_acks_may_wait(g->mqtt))
		rt_timer_start(t, SETTLE_LOOK_MS);
	else
		commit_now(g);
}

static void on_written(void *arg, int err);

/* Done marks that no reception has taken along. One that is lost costs a repeated reception after a restart, which the
 * session's counter tells. */
static void on_done_timer(struct rt_timer *t, void *arg)
{
	struct ns_gw_mqtt *g = arg;
	(void)t;
	journal_writer_commit(g->writer);
}

static int on_replay(void *arg, uint64_t position, struct lw_span record)
{
	struct ns_gw_mqtt *g = arg;
	const struct ns_region_config *region = NULL;
	size_t n_id = record.n >= HEAD ? record.p[1] : 0;
	if (record.n >= HEAD + n_id)
		for (size_t i = 0; i < g->o.n_regions; i++)
			if (strlen(g->o.regions[i]->id) == n_id && !memcmp(g->o.regions[i]->id, record.p + HEAD, n_id))
				region = g->o.regions[i];
	if (!region || record.p[0] != NS_GW_UP) { /* a region that is no longer served */
		journal_done(g->journal, position);
		return 0;
	}
	struct ns_gw_message m = {.kind = NS_GW_UP,
				  .region = region,
				  .payload = lw_span(record.p + HEAD + n_id, record.n - HEAD - n_id),
				  .journal_position = position,
				  .received_at_ns = (int64_t)lw_get_le64(record.p + 2),
				  .is_replay = true};
	ns_waiting_put(g->waiting, &m, true);
	return 0;
}

void ns_gw_mqtt_room(struct ns_gw_mqtt *g)
{
	ns_waiting_room(g->waiting);
}

/* ---- out ---- */

static void on_published(void *arg, int err)
{
	struct ns_gw_mqtt *g = arg;
	if (err)
		rt_metric_inc(g->failed);
}

int ns_gw_mqtt_send(struct ns_gw_mqtt *g, const struct ns_region_config *rc, const Gw__DownlinkFrame *frame,
		    const struct lw_schema *schema)
{
	struct lw_gateway_id id;
	char topic[128];
	struct lw_buf buf;
	if (!g->mqtt || lw_gateway_id_parse(&id, frame->gateway_id))
		return LW_EUNAVAILABLE;
	snprintf(topic, sizeof(topic), "%s%sgateway/%s/command/down", rc->topic_prefix, rc->topic_prefix[0] ? "/" : "",
		 frame->gateway_id);
	lw_buf_init(&buf, MAX_PAYLOAD);
	int err = 0;
	if (lw_map_find(&g->json_gateways, lw_gateway_id_u64(id))) {
		err = lw_pbjson_encode(schema, &frame->base, LW_PBJSON_GW, &buf);
	} else {
		size_t n = gw__downlink_frame__get_packed_size(frame);
		uint8_t *p = lw_buf_reserve(&buf, n ? n : 1);
		if (p)
			lw_buf_commit(&buf, gw__downlink_frame__pack(frame, p));
		else
			err = LW_EBIG;
	}
	if (!err)
		err = mqtt_publish(g->mqtt, topic, buf.p, buf.n, (uint8_t)g->o.qos, false, on_published, g);
	rt_metric_inc(err ? g->failed : g->sent);
	lw_buf_deinit(&buf);
	return err ? LW_EUNAVAILABLE : 0;
}

void ns_gw_mqtt_done(struct ns_gw_mqtt *g, uint64_t position)
{
	if (!position)
		return;
	done_soon(g, position);
	ns_waiting_done(g->waiting, position);
}

void ns_gw_mqtt_retry(struct ns_gw_mqtt *g, uint64_t position)
{
	ns_waiting_retry(g->waiting, position);
}

/* ---- subscriptions ---- */

/* Receptions and statistics are shared among the replicas. An answer to a downlink goes to all: only the one that sent
 * it knows what to do with it. */
static const struct {
	const char *kind;
	bool shared;
} SUBSCRIPTIONS[] = {{"up", true}, {"stats", true}, {"ack", false}};
#define N_SUBSCRIPTIONS (sizeof(SUBSCRIPTIONS) / sizeof(SUBSCRIPTIONS[0]))
#define FILTER_MAX 192

static const char *filter_of(const struct ns_gw_mqtt *g, size_t region, size_t i, char out[FILTER_MAX])
{
	const char *prefix = g->o.regions[region]->topic_prefix;
	bool shared = SUBSCRIPTIONS[i].shared;
	snprintf(out, FILTER_MAX, "%s%s%s%s%sgateway/+/event/%s", shared ? "$share/" : "", shared ? g->o.share : "",
		 shared ? "/" : "", prefix, prefix[0] ? "/" : "", SUBSCRIPTIONS[i].kind);
	return out;
}

static void unsubscribe(struct ns_gw_mqtt *g, struct mqtt *m, bool shared_only)
{
	char filter[FILTER_MAX];
	for (size_t r = 0; r < g->o.n_regions; r++)
		for (size_t i = 0; i < N_SUBSCRIPTIONS; i++)
			if (SUBSCRIPTIONS[i].shared || !shared_only)
				mqtt_unsubscribe(m, filter_of(g, r, i, filter));
}

/* ---- what the broker keeps for a replica that is gone ---- */

struct heir {
	struct heir *next;
	struct ns_gw_mqtt *g;
	struct mqtt_heir *heir;
	char client_id[64];
	uint64_t ack_need;
	void (*done)(void *arg, const char *client_id);
	void *arg;
};

static void heir_message(void *arg, const struct mqtt_message *msg)
{
	take_message(((struct heir *)arg)->g, msg, true);
}

static bool heir_before_ack(void *arg)
{
	struct heir *h = arg;
	return may_ack(h->g, &h->ack_need, false);
}

static void release_all(struct ns_gw_mqtt *g)
{
	release_acks(g, g->mqtt, &g->ack_need);
	for (struct heir *h = g->heirs; h; h = h->next)
		release_acks(g, mqtt_heir_client(h->heir), &h->ack_need);
}

static void on_written(void *arg, int err)
{
	struct ns_gw_mqtt *g = arg;
	if (err && !g->failing)
		RT_LOG_ERROR(g->o.log, "inbox journal cannot be written: nothing is acknowledged until it can",
			     rt_err(err));
	else if (!err && g->failing)
		RT_LOG_INFO(g->o.log, "inbox journal is written again");
	g->failing = err != 0;
	release_all(g);
}

static void heir_connect(void *arg, struct mqtt *m)
{
	struct heir *h = arg;
	ns_waiting_reconnected(h->g->waiting);
	unsubscribe(h->g, m, false);
}

static bool heir_is_idle(void *arg)
{
	const struct heir *h = arg;
	return !h->ack_need && !ns_waiting_is_full(h->g->waiting);
}

static void heir_free(struct heir *h)
{
	for (struct heir **at = &h->g->heirs; *at; at = &(*at)->next) {
		if (*at == h) {
			*at = h->next;
			break;
		}
	}
	mqtt_heir_free(h->heir);
	free(h);
}

static void heir_done(void *arg, bool taken)
{
	struct heir *h = arg;
	struct heir was = *h;
	h->heir = NULL;
	heir_free(h);
	if (taken)
		was.done(was.arg, was.client_id);
}

static void pause_heirs(struct ns_gw_mqtt *g, bool pause)
{
	for (struct heir *h = g->heirs; h; h = h->next)
		(pause ? mqtt_pause : mqtt_resume)(mqtt_heir_client(h->heir));
}

void ns_gw_mqtt_inherit(struct ns_gw_mqtt *g, const char *client_id, void (*done)(void *arg, const char *client_id),
			void *arg)
{
	struct lw_diag diag;
	for (struct heir *h = g->heirs; h; h = h->next)
		if (strcmp(h->client_id, client_id) == 0)
			return;
	struct heir *h = lw_xcalloc(1, sizeof(*h));
	h->g = g;
	h->done = done;
	h->arg = arg;
	snprintf(h->client_id, sizeof(h->client_id), "%s", client_id);
	struct mqtt_heir_opts opts = {
		.mqtt = g->o.mqtt, .on_connect = heir_connect, .is_idle = heir_is_idle, .done = heir_done};
	opts.mqtt.client_id = h->client_id;
	opts.mqtt.on_message = heir_message;
	opts.mqtt.before_ack = heir_before_ack;
	opts.mqtt.arg = h;
	h->heir = mqtt_heir_new(g->o.loop, g->o.log, &opts, &diag);
	if (!h->heir) {
		free(h);
		return;
	}
	h->next = g->heirs;
	g->heirs = h;
}

void ns_gw_mqtt_disinherit(struct ns_gw_mqtt *g, const char *client_id)
{
	for (struct heir *h = g->heirs; h; h = h->next) {
		if (strcmp(h->client_id, client_id) == 0) {
			heir_free(h);
			return;
		}
	}
}

void ns_gw_mqtt_leave(struct ns_gw_mqtt *g)
{
	g->stopped = true;
	while (g->heirs)
		heir_free(g->heirs);
	unsubscribe(g, g->mqtt, true);
}

uint64_t ns_gw_mqtt_received(const struct ns_gw_mqtt *g)
{
	struct mqtt_stats st;
	mqtt_stats(g->mqtt, &st);
	return st.received;
}

/* ---- life ---- */

static void on_connect(void *arg, bool session_present)
{
	struct ns_gw_mqtt *g = arg;
	if (session_present) { /* versions before 0.2 shared everything in one */
		char filter[FILTER_MAX];
		for (size_t r = 0; r < g->o.n_regions; r++) {
			const char *prefix = g->o.regions[r]->topic_prefix;
			snprintf(filter, sizeof(filter), "$share/%s/%s%sgateway/+/event/+", g->o.share, prefix,
				 prefix[0] ? "/" : "");
			mqtt_unsubscribe(g->mqtt, filter);
		}
	}
	ns_waiting_reconnected(g->waiting);
	g->o.on_state(g->o.arg, true, NULL);
}

static void on_disconnect(void *arg, int err, const char *text)
{
	struct ns_gw_mqtt *g = arg;
	(void)err;
	g->ack_need = 0;
	rt_timer_stop(&g->settle_timer);
	g->o.on_state(g->o.arg, false, text);
}

static int connect_broker(struct ns_gw_mqtt *g, struct lw_diag *diag)
{
	struct mqtt_opts opts = g->o.mqtt;
	opts.clean_session = false;
	opts.ack_wait_ms = ACK_WAIT_MS;
	opts.on_message = on_message;
	opts.before_ack = before_ack;
	opts.gather_from = GATHER_FROM;
	opts.gather_bulk = GATHER_BULK;
	opts.on_connect = on_connect;
	opts.on_disconnect = on_disconnect;
	opts.arg = g;
	g->mqtt = mqtt_new(g->o.loop, g->o.log, &opts, diag);
	if (!g->mqtt)
		return LW_EINVAL;
	char filter[FILTER_MAX];
	for (size_t r = 0; r < g->o.n_regions; r++)
		for (size_t k = 0; k < N_SUBSCRIPTIONS; k++)
			mqtt_subscribe(g->mqtt, filter_of(g, r, k, filter), (uint8_t)g->o.qos);
	if (ns_waiting_is_full(g->waiting))
		mqtt_pause(g->mqtt);
	return 0;
}

int ns_gw_mqtt_new(struct ns_gw_mqtt **out, const struct ns_gw_mqtt_opts *o, struct lw_diag *diag)
{
	struct ns_gw_mqtt *g = lw_xcalloc(1, sizeof(*g));
	struct journal_opts jo = {.dir = o->journal_dir, .fdatasync = o->journal_sync};
	g->o = *o;
	lw_map_init(&g->json_gateways);
	rt_timer_init(&g->done_timer, o->loop, "inbox_done", on_done_timer, g);
	rt_timer_init(&g->settle_timer, o->loop, "inbox_settle", on_settle_timer, g);
	int err = journal_open(&g->journal, &jo, diag);
	if (!err)
		err = journal_writer_new(&g->writer, o->loop, g->journal, !o->journal_sync, on_written, g, diag);
	if (err) {
		journal_close(g->journal);
		lw_map_deinit(&g->json_gateways);
		free(g);
		return err;
	}
	/* Everything that the flows do with replayed frames needs *out. */
	*out = g;
	g->received = rt_counter_vec(o->metrics, "gateway_events_total", "Messages of gateways taken from the broker",
				     "event", KINDS, sizeof(KINDS) / sizeof(KINDS[0]));
	g->unknown_topic =
		rt_counter(o->metrics, "gateway_unknown_topics_total", "Messages on topics that mean nothing here");
	g->again = rt_counter(o->metrics, "gateway_events_again_total",
			      "Messages of gateways that a bridge said again because the broker may have lost them");
	g->sent = rt_counter(o->metrics, "gateway_commands_total", "Downlink commands handed to the broker");
	g->failed = rt_counter(o->metrics, "gateway_command_failures_total",
			       "Downlink commands that the broker did not take");
	g->waiting = ns_waiting_new(&(struct ns_waiting_opts){.loop = o->loop,
							      .log = o->log,
							      .metrics = o->metrics,
							      .max = o->max_waiting ? o->max_waiting : 100000,
							      .shed_after_ms = o->shed_after_ms,
							      .take = take,
							      .full = on_full,
							      .shed = on_shed,
							      .arg = g});
	journal_replay(g->journal, on_replay, g);
	err = connect_broker(g, diag);
	if (err) {
		ns_gw_mqtt_free(g);
		*out = NULL;
	}
	return err;
}

void ns_gw_mqtt_pause(struct ns_gw_mqtt *g)
{
	g->stopped = true;
	while (g->heirs)
		heir_free(g->heirs);
	ns_waiting_stop(g->waiting);
	mqtt_pause(g->mqtt);
}

void ns_gw_mqtt_free(struct ns_gw_mqtt *g)
{
	if (!g)
		return;
	g->ending = true;
	while (g->heirs)
		heir_free(g->heirs);
	mqtt_free(g->mqtt);
	journal_writer_free(g->writer);
	journal_close(g->journal);
	rt_timer_stop(&g->done_timer);
	rt_timer_stop(&g->settle_timer);
	ns_waiting_free(g->waiting);
	lw_map_deinit(&g->json_gateways);
	free(g);
}
