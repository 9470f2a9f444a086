#include "app-server/flow/commands.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "app-server/as.h"
#include "app-server/domain/event_command.h"
#include "app-server/flow/events.h"
#include "app-server/link/enqueue.h"
#include "app-server/link/mqtt.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_status.h"
#include "common/io/journal.h"
#include "common/pb/build.h"
#include "common/pb/pbjson.h"
#include "common/pb/unpack.h"

#define MAX_RECORD (64u * 1024)
#define MAX_MESSAGE (256u * 1024) /* of decoded memory */
#define MAX_BUSY 4000             /* handed over and not yet answered */
#define FETCH_MAX 500
#define WAITING_HIGH 20000 /* the broker is held back */
#define RETRY_MS 1000
#define RECORD_HEAD (16 + 2)

struct command {
	struct lw_list node;
	struct as_commands *owner;
	uint64_t position;
	struct as_command c;
	struct as_device_ask ask;
	struct as_enqueue enqueue;
	uint8_t data[];
};

struct as_commands {
	struct as *as;
	struct journal *journal; /* NULL: no broker is configured */
	struct lw_list list;     /* not begun, in the order they came */
	struct lw_list busy;
	size_t n, n_busy;
	struct command *unknown[FETCH_MAX]; /* begun in this turn, their devices are not in memory */
	size_t n_unknown;
	struct lw_map devices; /* DevEUI → the command under way */
	bool started;
	bool paused;
	bool failing;    /* the journal: what was taken is not begun, and taken again from the broker if we die now */
	bool wants_pump; /* something has ended: others may begin, all of this turn together */
	struct rt_tick *tick;
	struct rt_timer retry;
	struct lw_buf record;
	struct lw_arena arena;
	struct rt_metric *taken, *refused, *done;
};

/* ---- one command ---- */

static void finish(struct command *c)
{
	struct as_commands *q = c->owner;
	journal_done(q->journal, c->position);
	lw_map_remove(&q->devices, lw_dev_eui_u64(c->c.dev_eui));
	lw_list_remove(&c->node);
	q->n--;
	q->n_busy--;
	free(c);
	q->wants_pump = true;
	if (q->paused && q->n < WAITING_HIGH / 2 && q->as->integration) {
		q->paused = false;
		as_integration_pause(q->as->integration, false);
	}
}

static void refuse(struct as_commands *q, const char *dev_eui, const char *why)
{
	rt_metric_inc(q->refused);
	RT_LOG_ERROR(q->as->log, "downlink command refused", rt_str("dev_eui", dev_eui), rt_str("reason", why));
}

static void later(struct command *c)
{
	struct as_commands *q = c->owner;
	q->n_busy--;
	lw_map_remove(&q->devices, lw_dev_eui_u64(c->c.dev_eui));
	/* Before all others of its device. */
	lw_list_remove(&c->node);
	lw_list_push_front(&q->list, &c->node);
	if (!rt_timer_armed(&q->retry))
		rt_timer_start(&q->retry, RETRY_MS);
}

static void on_enqueued(struct as_enqueue *e, int status, const char *message)
{
	struct command *c = e->arg;
	switch (status) {
	case GRPC_UNAVAILABLE:
	case GRPC_DEADLINE_EXCEEDED:
	case GRPC_CANCELLED:
		later(c);
		return;
	case GRPC_OK:
	case GRPC_ALREADY_EXISTS: /* handed over before a crash, and taken again from the journal */
		rt_metric_inc(c->owner->done);
		break;
	default:
		refuse(c->owner, e->dev_eui, message);
	}
	finish(c);
}

static void with_device(struct command *c, struct as_device *dev)
{
	struct as_enqueue *e = &c->enqueue;
	struct lw_uuid application;
	bool belongs = dev && lw_uuid_parse(&application, dev->text.application_id) == 0 &&
		       lw_uuid_eq(application, c->c.application_id);
	lw_dev_eui_print(c->c.dev_eui, e->dev_eui);
	as_device_unref(dev);
	if (!belongs) {
		refuse(c->owner, e->dev_eui,
		       dev ? "the device does not belong to the topic's application" : "there is no such device");
		finish(c);
		return;
	}
	e->id = c->c.id;
	e->f_port = c->c.f_port;
	e->confirmed = c->c.confirmed;
	e->data = c->c.data;
	e->expires_at_us = c->c.expires_at_us;
	e->done = on_enqueued;
	e->arg = c;
	as_enqueue(c->owner->as, e);
}

static void on_devices(void *arg, int err, struct as_device_ask **v, size_t n)
{
	(void)arg;
	for (size_t i = 0; i < n; i++) {
		struct command *c = v[i]->arg;
		if (err < 0)
			later(c);
		else
			with_device(c, v[i]->dev);
	}
}

static void fetch_unknown(struct as_commands *q)
{
	struct as_device_ask *v[FETCH_MAX];
	size_t n = q->n_unknown;
	for (size_t i = 0; i < n; i++)
		v[i] = &q->unknown[i]->ask;
	q->n_unknown = 0;
	if (n > 0)
		as_devices_fetch(as_events_devices(q->as->events), v, n, on_devices, q);
}

static void begin(struct command *c)
{
	struct as_commands *q = c->owner;
	struct as_devices *devices = as_events_devices(q->as->events);
	uint64_t eui = lw_dev_eui_u64(c->c.dev_eui);
	q->n_busy++;
	lw_list_remove(&c->node);
	lw_list_push_back(&q->busy, &c->node);
	lw_map_put(&q->devices, eui, c);
	struct as_device *dev = as_devices_find(devices, eui, lw_span(NULL, 0));
	if (dev) {
		with_device(c, dev);
		return;
	}
	c->ask = (struct as_device_ask){.dev_eui = eui, .arg = c};
	q->unknown[q->n_unknown++] = c;
	if (q->n_unknown == FETCH_MAX)
		fetch_unknown(q);
}

static void pump(struct as_commands *q)
{
	if (!q->started || q->failing)
		return;
	/* From the front each time: a command that ends at once changes the list. */
	for (bool begun = true; begun && q->n_busy < MAX_BUSY;) {
		begun = false;
		LW_LIST_FOREACH (node, tmp, &q->list) {
			struct command *c = LW_CONTAINER_OF(node, struct command, node);
			if (lw_map_find(&q->devices, lw_dev_eui_u64(c->c.dev_eui)))
				continue;
			begin(c);
			begun = !rt_timer_armed(&q->retry);
			break;
		}
	}
	fetch_unknown(q);
}

static void on_tick(void *arg)
{
	struct as_commands *q = arg;
	if (!q->wants_pump)
		return;
	q->wants_pump = false;
	pump(q);
}

static void on_retry(struct rt_timer *t, void *arg)
{
	struct as_commands *q = arg;
	(void)t;
	if (q->failing && as_commands_commit(q) && q->as->integration)
		as_integration_acks_go(q->as->integration);
	pump(q);
}

/* ---- records: id, length of the topic, topic, payload ---- */

static int decode(struct as_commands *q, const char *topic, struct lw_span payload, struct as_command *out,
		  struct lw_diag *diag)
{
	struct as *as = q->as;
	struct as_command_topic t;
	ProtobufCMessage *m = NULL;
	const ProtobufCMessageDescriptor *type = &integration__downlink_command__descriptor;
	int rc;

	if (!as_integration_command_topic(as->integration, topic, &t.application_id, &t.dev_eui, &t.command)) {
		lw_diag_set(diag, "the topic does not have the form of mqtt.command_topic");
		return LW_EINVAL;
	}
	lw_arena_reset(&q->arena);
	if (as->conf->mqtt_marshaler == 0) {
		ProtobufCAllocator a = lw_pb_arena_allocator(&q->arena);
		rc = lw_pbjson_decode(as->schema, type, payload, &a, &m, diag);
	} else {
		rc = lw_pb_unpack(type, payload, &q->arena, &m);
		if (rc < 0)
			lw_diag_set(diag, "not a DownlinkCommand: %s", lw_err_text(rc));
	}
	return rc < 0 ? rc : as_command_check(&t, (const Integration__DownlinkCommand *)m, out, diag);
}

static void add(struct as_commands *q, uint64_t position, struct lw_uuid id, const struct as_command *parsed)
{
	struct command *c = lw_xcalloc(1, sizeof(*c) + parsed->data.n);
	c->owner = q;
	c->position = position;
	c->c = *parsed;
	if (!parsed->has_id)
		c->c.id = id;
	if (parsed->data.n)
		memcpy(c->data, parsed->data.p, parsed->data.n);
	c->c.data = lw_span(c->data, parsed->data.n);
	lw_list_push_back(&q->list, &c->node);
	q->n++;
}

void as_commands_take(struct as_commands *q, const struct mqtt_message *m)
{
	struct as_command parsed;
	struct lw_diag diag = {0};
	uint64_t position;
	size_t topic_len = strlen(m->topic);
	uint8_t head[RECORD_HEAD];

	if (topic_len > UINT16_MAX || m->payload.n > MAX_RECORD) {
		refuse(q, m->topic, "the message is too large");
		return;
	}
	if (decode(q, m->topic, m->payload, &parsed, &diag) < 0) {
		refuse(q, m->topic, diag.text);
		return;
	}
	/* Made now and kept, so that a repetition after a crash is the same item. */
	struct lw_uuid id = lw_uuid_new(&q->as->rng);
	memcpy(head, id.b, sizeof(id.b));
	lw_put_le16(head + 16, (uint16_t)topic_len);
	lw_buf_reset(&q->record);
	lw_buf_append(&q->record, head, sizeof(head));
	lw_buf_append(&q->record, m->topic, topic_len);
	lw_buf_append_span(&q->record, m->payload);
	int rc = journal_append(q->journal, lw_buf_span(&q->record), &position);
	if (rc < 0) {
		RT_LOG_ERROR(q->as->log, "downlink command lost: the journal does not take it", rt_err(rc));
		return;
	}
	rt_metric_inc(q->taken);
	add(q, position, id, &parsed);
	if (q->n > WAITING_HIGH && !q->paused) {
		q->paused = true;
		as_integration_pause(q->as->integration, true);
	}
}

bool as_commands_commit(struct as_commands *q)
{
	int rc = q->journal ? journal_commit(q->journal) : 0;
	bool was_failing = q->failing;
	q->failing = rc < 0;
	if (q->failing) {
		if (!was_failing)
			RT_LOG_ERROR(
				q->as->log,
				"the journal of downlink commands cannot be written: none is acknowledged until it can",
				rt_err(rc));
		rt_timer_start(&q->retry, RETRY_MS);
		return false;
	}
	if (was_failing)
		RT_LOG_INFO(q->as->log, "the journal of downlink commands is written again");
	pump(q);
	return true;
}

static int on_record(void *arg, uint64_t position, struct lw_span r)
{
	struct as_commands *q = arg;
	struct as_command parsed;
	struct lw_diag diag = {0};
	struct lw_uuid id;
	size_t len = r.n >= RECORD_HEAD ? lw_get_le16(r.p + 16) : 0;

	if (r.n < RECORD_HEAD + len) {
		journal_done(q->journal, position);
		return 0;
	}
	memcpy(id.b, r.p, sizeof(id.b));
	char *topic = lw_xstrndup((const char *)r.p + RECORD_HEAD, len);
	int rc = decode(q, topic, lw_span(r.p + RECORD_HEAD + len, r.n - RECORD_HEAD - len), &parsed, &diag);
	if (rc < 0) {
		refuse(q, topic, diag.text);
		journal_done(q->journal, position);
	} else {
		add(q, position, id, &parsed);
	}
	free(topic);
	return 0;
}

/* ---- life ---- */

int as_commands_new(struct as *as, struct as_commands **out, struct lw_diag *diag)
{
	struct as_commands *q = lw_xcalloc(1, sizeof(*q));
	q->as = as;
	lw_list_init(&q->list);
	lw_list_init(&q->busy);
	lw_map_init(&q->devices);
	lw_buf_init(&q->record, RECORD_HEAD + UINT16_MAX + MAX_RECORD);
	lw_arena_init(&q->arena, NULL, 0, MAX_MESSAGE);
	q->tick = rt_loop_on_tick(as->loop, RT_TICK_FLOW, "downlink commands", on_tick, q);
	rt_timer_init(&q->retry, as->loop, "downlink commands", on_retry, q);
	q->taken = rt_counter(as->metrics, "commands_total", "Downlink commands taken from MQTT");
	q->refused = rt_counter(as->metrics, "commands_refused_total", "Downlink commands refused");
	q->done = rt_counter(as->metrics, "commands_queued_total", "Downlink commands that the network-server has");
	*out = q;
	if (!as->conf->mqtt_server[0])
		return 0;
	char dir[PATH_MAX];
	struct journal_opts o = {.dir = dir, .fdatasync = true};
	int rc = LW_EBIG;
	if ((size_t)snprintf(dir, sizeof(dir), "%s/commands", as->conf->state_dir) < sizeof(dir)) {
		mkdir(as->conf->state_dir, 0750); /* that it could not be made shows in a moment */
		rc = journal_open(&q->journal, &o, diag);
	}
	if (rc < 0)
		lw_diag_prefix(diag, "state_dir");
	return rc;
}

void as_commands_start(struct as_commands *q)
{
	if (q->started)
		return;
	q->started = true;
	pump(q);
}

int as_commands_replay(struct as_commands *q)
{
	return q->journal ? journal_replay(q->journal, on_record, q) : 0;
}

void as_commands_free(struct as_commands *q)
{
	struct lw_list *node;
	if (!q)
		return;
	rt_timer_stop(&q->retry);
	rt_tick_remove(q->tick);
	journal_close(q->journal);
	lw_list_splice_back(&q->busy, &q->list);
	while ((node = lw_list_pop_front(&q->busy)))
		free(LW_CONTAINER_OF(node, struct command, node));
	lw_map_deinit(&q->devices);
	lw_buf_deinit(&q->record);
	lw_arena_deinit(&q->arena);
	free(q);
}

size_t as_commands_waiting(const struct as_commands *q)
{
	return q->n;
}
