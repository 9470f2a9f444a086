/* The durable write: events into the log, and a row for each endpoint of their application, in one transaction. What
 * comes again (a restart, a lost acknowledgement) is recognised by its number and changes nothing. */
#include <stdlib.h>
#include <string.h>

#include "app-server/integration/internal.h"
#include "common/base/xmalloc.h"
#include "common/pb/unpack.h"

#define RETRY_MS 300
#define MAX_BODY (4u << 20)

struct entry {
	char *application_id, *dev_eui, *origin, *name, *idempotency, *body;
	size_t body_len;
	uint64_t origin_seq;
};

struct batch {
	struct lw_list node;
	struct as_outlets *o;
	int64_t token;
	int64_t now_us;
	struct rt_timer timer;
	as_intake_fn *done;
	void *arg;
	void **ctx;
	size_t n;
	struct entry v[];
};

static const struct sql_stmt insert_events = {
	.name = "as_intake_events",
	.text = "INSERT INTO integration_event (origin, origin_seq, token, application_id, dev_eui, name, idempotency,"
		" received_at, body) SELECT origin, origin_seq, token, application_id, dev_eui, name, idempotency, "
		"received_at,"
		" body FROM {batch} WHERE true ON CONFLICT (origin, origin_seq) DO NOTHING",
	.batch = "origin:t origin_seq:l token:l application_id:t dev_eui:t name:t idempotency:t received_at:l body:y",
};
/* Only for events that this very transaction has stored. */
static const struct sql_stmt insert_deliveries = {
	.name = "as_intake_deliveries",
	.text = "INSERT INTO integration_delivery (endpoint_id, event_seq, queued_at)"
		" SELECT ep.id, e.seq, e.received_at FROM {batch}"
		" JOIN integration_event AS e ON e.origin = b.origin AND e.origin_seq = b.origin_seq AND e.token = "
		"b.token"
		" JOIN integration_endpoint AS ep ON ep.application_id = e.application_id"
		" WHERE true ON CONFLICT (endpoint_id, event_seq) DO NOTHING",
	.batch = "origin:t origin_seq:l token:l",
};

static void batch_free(struct batch *b)
{
	lw_list_remove(&b->node);
	rt_timer_stop(&b->timer);
	for (size_t i = 0; i < b->n; i++)
		free(b->v[i].application_id); /* the first of one block */
	free(b->ctx);
	free(b);
}

static void wake_endpoints(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		struct as_outlet_app *app = lw_bmap_find(&b->o->applications, lw_span_str(b->v[i].application_id));
		if (!app)
			continue;
		LW_LIST_FOREACH (node, tmp, &app->endpoints) {
			struct as_endpoint *e = LW_CONTAINER_OF(node, struct as_endpoint, app_node);
			if (!e->mine)
				continue;
			e->dirty = true;
			as_endpoint_wake(e);
		}
	}
}

static void on_written(void *arg, const struct sql_outcome *out)
{
	struct batch *b = arg;
	struct as_outlets *o = b->o;
	if (out->err == LW_ECANCELLED) {
		batch_free(b);
		return;
	}
	if (out->err < 0) {
		RT_LOG_WARN(o->as->log, "events for integrations not written yet",
			    rt_str("statement", out->stmt ? out->stmt : ""), rt_err(out->err),
			    rt_str("detail", out->diag.text));
		rt_timer_start(&b->timer, RETRY_MS);
		return;
	}
	rt_metric_add(o->written, b->n);
	wake_endpoints(b);
	b->done(b->arg, b->ctx, b->n);
	batch_free(b);
}

static void write_batch(struct batch *b)
{
	struct sql_tx *tx = sql_tx_new(b->o->as->db);
	struct sql_params *p = sql_tx_add(tx, &insert_events, NULL, NULL);
	for (size_t i = 0; i < b->n; i++) {
		const struct entry *v = &b->v[i];
		sql_put_text(p, v->origin);
		sql_put_i64(p, (int64_t)v->origin_seq);
		sql_put_i64(p, b->token);
		sql_put_text(p, v->application_id);
		sql_put_text(p, v->dev_eui);
		sql_put_text(p, v->name);
		sql_put_text(p, v->idempotency);
		sql_put_i64(p, b->now_us);
		sql_put_bytes(p, lw_span(v->body, v->body_len));
	}
	p = sql_tx_add(tx, &insert_deliveries, NULL, NULL);
	for (size_t i = 0; i < b->n; i++) {
		sql_put_text(p, b->v[i].origin);
		sql_put_i64(p, (int64_t)b->v[i].origin_seq);
		sql_put_i64(p, b->token);
	}
	sql_tx_commit(tx, on_written, b);
}

static void on_retry(struct rt_timer *t, void *arg)
{
	(void)t;
	write_batch(arg);
}

/* What an event's repetitions have in common and no other event has: its deduplicationId, which several events of one
 * uplink share, so all but "up" add their name; without one, its number. */
static void put_idempotency(struct lw_buf *b, const struct as_intake_item *item)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(item->msg->descriptor, "deduplication_id");
	const char *id = NULL;
	if (f && f->type == PROTOBUF_C_TYPE_STRING)
		id = *(const char *const *)(const void *)((const char *)item->msg + f->offset);
	if (id && id[0] && strcmp(item->name, "up") == 0)
		lw_buf_append_str(b, id);
	else if (id && id[0])
		lw_buf_printf(b, "%s-%s-%llu", id, item->name, (unsigned long long)item->origin_seq);
	else
		lw_buf_printf(b, "%s-%llu", item->origin, (unsigned long long)item->origin_seq);
}

static void copy_entry(struct entry *v, const struct as_intake_item *item, struct lw_buf *buf)
{
	const char *const texts[] = {item->application_id, item->dev_eui, item->origin, item->name};
	size_t at[5], n_body;
	lw_buf_reset(buf);
	for (size_t i = 0; i < 4; i++) {
		at[i] = buf->n;
		lw_buf_append(buf, texts[i], strlen(texts[i]) + 1);
	}
	at[4] = buf->n;
	put_idempotency(buf, item);
	lw_buf_append_u8(buf, 0);
	n_body = buf->n;
	lw_pb_pack(item->msg, buf);
	char *p = lw_xmemdup(buf->p, buf->n);
	*v = (struct entry){.application_id = p + at[0],
			    .dev_eui = p + at[1],
			    .origin = p + at[2],
			    .name = p + at[3],
			    .idempotency = p + at[4],
			    .body = p + n_body,
			    .body_len = buf->n - n_body,
			    .origin_seq = item->origin_seq};
}

void as_outlets_write(struct as *as, const struct as_intake_item *v, size_t n, as_intake_fn *done, void *arg)
{
	struct as_outlets *o = as->outlets;
	struct batch *b = lw_xcalloc(1, sizeof(*b) + n * sizeof(b->v[0]));
	struct lw_buf buf;
	lw_list_init(&b->node);
	lw_list_push_back(&o->intake, &b->node);
	rt_timer_init(&b->timer, as->loop, "integrations intake", on_retry, b);
	b->o = o;
	b->token = (int64_t)(lw_rng_u64(&as->rng) >> 1);
	b->now_us = rt_loop_now_ns(as->loop) / LW_NS_PER_US;
	b->done = done;
	b->arg = arg;
	b->n = n;
	b->ctx = lw_xcalloc(n, sizeof(*b->ctx));
	lw_buf_init(&buf, MAX_BODY);
	for (size_t i = 0; i < n; i++) {
		copy_entry(&b->v[i], &v[i], &buf);
		b->ctx[i] = v[i].ctx;
	}
	lw_buf_deinit(&buf);
	write_batch(b);
}

void as_intake_free(struct as_outlets *o)
{
	while (!lw_list_empty(&o->intake))
		batch_free(LW_CONTAINER_OF(o->intake.next, struct batch, node));
}
