#include "app-server/link/enqueue.h"

#include <stdlib.h>
#include <string.h>

#include "app-server/as.h"
#include "app-server/domain/payload.h"
#include "app-server/store/session.h"
#include "common/base/bug.h"
#include "common/base/clock.h"
#include "common/base/time.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_client.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

#define DEADLINE_MS 10000
#define BATCH_MAX 500
#define BATCHES_OPEN 2
#define STOPS "the app-server stops"

struct as_enqueuer {
	struct as *as;
	struct lw_list waiting;
	unsigned open;
	struct rt_tick *tick;
	bool closing;
};

/* What is known of one item's device. */
struct target {
	struct lw_devaddr addr;
	uint32_t f_cnt;
	bool has_session;
	uint8_t session_key_id[32];
	size_t session_key_id_len;
	struct as_session_ask *ask; /* NULL: there is no key to ask for */
};

struct batch {
	struct as_enqueuer *q;
	struct lw_arena arena;
	size_t n;
	struct as_enqueue *v[BATCH_MAX]; /* NULL: ended before the others */
	struct target t[BATCH_MAX];
	struct as_session_ask asks[BATCH_MAX];
	size_t n_asks;
	size_t sent[BATCH_MAX]; /* place of each item of the request */
	size_t n_sent;
};

static void finish(struct batch *b, size_t i, int status, const char *message)
{
	struct as_enqueue *e = b->v[i];
	b->v[i] = NULL;
	if (e)
		e->done(e, status, message);
}

static void end(struct batch *b, int status, const char *message)
{
	struct as_enqueuer *q = b->q;
	for (size_t i = 0; i < b->n; i++)
		finish(b, i, status, message);
	lw_arena_deinit(&b->arena);
	lw_wipe(b->asks, sizeof(b->asks));
	free(b);
	q->open--;
}

/* ---- the items ---- */

static void on_enqueued(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct batch *b = arg;
	const Longwave__Ns__V1__EnqueueResponse *r = (const void *)resp;
	for (size_t i = 0; status == GRPC_OK && i < b->n_sent && i < r->n_errors; i++) {
		int one = i < r->n_statuses && r->statuses[i] ? (int)r->statuses[i] : GRPC_FAILED_PRECONDITION;
		if (r->errors[i][0])
			finish(b, b->sent[i], one, r->errors[i]);
	}
	end(b, status, message);
}

static void *alloc(struct batch *b, size_t n)
{
	void *p = lw_arena_calloc(&b->arena, 1, n ? n : 1);
	BUG_ON(!p); /* a batch is far below the arena's limit */
	return p;
}

static void encrypt(struct batch *b, size_t i, Longwave__Ns__V1__QueueItem *item)
{
	const struct as_enqueue *e = b->v[i];
	const struct target *t = &b->t[i];
	struct as *as = b->q->as;
	uint8_t nonce[16];
	item->sealed.data = alloc(b, e->data.n + AS_SEAL_OVERHEAD);
	lw_rng_fill(&as->rng, nonce, sizeof(nonce));
	item->sealed.len = as_payload_seal(as->keys, &as->secrets.seal, item->id, nonce, e->data, item->sealed.data);
	if (!t->ask || !t->ask->has_key)
		return;
	uint8_t *window = alloc(b, AS_PAYLOAD_WINDOW * e->data.n);
	as_payload_encrypt_down(as->keys, &t->ask->key, t->addr, t->f_cnt, AS_PAYLOAD_WINDOW, e->data, window);
	item->frm_payloads = alloc(b, AS_PAYLOAD_WINDOW * sizeof(*item->frm_payloads));
	item->n_frm_payloads = AS_PAYLOAD_WINDOW;
	for (size_t k = 0; k < AS_PAYLOAD_WINDOW; k++)
		item->frm_payloads[k] = (ProtobufCBinaryData){.len = e->data.n, .data = window + k * e->data.n};
}

static Longwave__Ns__V1__QueueItem *item_of(struct batch *b, size_t i)
{
	const struct as_enqueue *e = b->v[i];
	struct target *t = &b->t[i];
	Longwave__Ns__V1__QueueItem *item = alloc(b, sizeof(*item));
	longwave__ns__v1__queue_item__init(item);
	item->id = lw_uuid_print(e->id, alloc(b, LW_UUID_TEXT));
	item->dev_eui = lw_arena_strdup(&b->arena, e->dev_eui);
	item->f_port = e->f_port;
	item->confirmed = e->confirmed;
	if (e->is_encrypted) {
		item->first_f_cnt = e->f_cnt_down;
		item->is_encrypted_by_caller = true;
		item->n_frm_payloads = 1;
		item->frm_payloads = alloc(b, sizeof(*item->frm_payloads));
		item->frm_payloads[0] =
			(ProtobufCBinaryData){.len = e->data.n, .data = (uint8_t *)(uintptr_t)e->data.p};
	} else {
		item->first_f_cnt = t->f_cnt;
		encrypt(b, i, item);
	}
	item->session_key_id = (ProtobufCBinaryData){.len = t->session_key_id_len, .data = t->session_key_id};
	if (e->expires_at_us) {
		struct lw_sec_nanos at = lw_split_ns(e->expires_at_us * LW_NS_PER_US);
		item->expires_at = alloc(b, sizeof(*item->expires_at));
		google__protobuf__timestamp__init(item->expires_at);
		item->expires_at->seconds = at.sec;
		item->expires_at->nanos = at.nanos;
	}
	return item;
}

static void send(struct batch *b)
{
	Longwave__Ns__V1__EnqueueRequest req = LONGWAVE__NS__V1__ENQUEUE_REQUEST__INIT;
	struct grpc_client_request r = {.path = "/longwave.ns.v1.NetworkServer/Enqueue",
					.deadline_ms = DEADLINE_MS,
					.output = &longwave__ns__v1__enqueue_response__descriptor};
	req.items = alloc(b, b->n * sizeof(*req.items));
	for (size_t i = 0; i < b->n; i++) {
		if (!b->v[i])
			continue;
		req.flush_queue = b->v[i]->flush_queue;
		b->sent[b->n_sent++] = i;
		req.items[req.n_items++] = item_of(b, i);
	}
	if (req.n_items > 0)
		grpc_client_call(b->q->as->ns, &r, &req.base, on_enqueued, b);
	else
		end(b, GRPC_OK, "");
}

/* ---- counters and keys ---- */

static void on_keys(void *arg, int err)
{
	struct batch *b = arg;
	if (err < 0)
		end(b, GRPC_UNAVAILABLE, "the database is not available");
	else
		send(b);
}

static void note(struct batch *b, size_t i, const Longwave__Ns__V1__DownlinkContext *d)
{
	struct target *t = &b->t[i];
	if (d->status) {
		finish(b, i, (int)d->status, d->error);
		return;
	}
	if (!d->has_session || d->session_key_id.len > sizeof(t->session_key_id) ||
	    lw_devaddr_parse(&t->addr, d->dev_addr) < 0)
		return;
	t->f_cnt = d->f_cnt_down;
	t->session_key_id_len = d->session_key_id.len;
	if (t->session_key_id_len)
		memcpy(t->session_key_id, d->session_key_id.data, t->session_key_id_len);
	t->ask = &b->asks[b->n_asks++];
	*t->ask = (struct as_session_ask){.dev_eui = b->v[i]->dev_eui,
					  .session_key_id = lw_span(t->session_key_id, t->session_key_id_len)};
}

static void on_prepared(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct batch *b = arg;
	const Longwave__Ns__V1__PrepareDownlinksResponse *r = (const void *)resp;
	size_t at = 0;
	if (status != GRPC_OK) {
		end(b, status, message);
		return;
	}
	for (size_t i = 0; i < b->n; i++) {
		if (b->v[i]->is_encrypted)
			continue;
		if (at == r->n_contexts) {
			end(b, GRPC_INTERNAL, "an answer is missing");
			return;
		}
		note(b, i, r->contexts[at++]);
	}
	if (b->n_asks > 0)
		as_session_keys(b->q->as, b->asks, b->n_asks, on_keys, b);
	else
		send(b);
}

static void start(struct batch *b)
{
	Longwave__Ns__V1__PrepareDownlinksRequest req = LONGWAVE__NS__V1__PREPARE_DOWNLINKS_REQUEST__INIT;
	struct grpc_client_request r = {.path = "/longwave.ns.v1.NetworkServer/PrepareDownlinks",
					.deadline_ms = DEADLINE_MS,
					.output = &longwave__ns__v1__prepare_downlinks_response__descriptor};
	char *euis[BATCH_MAX];
	req.dev_euis = euis;
	for (size_t i = 0; i < b->n; i++)
		if (!b->v[i]->is_encrypted)
			euis[req.n_dev_euis++] = b->v[i]->dev_eui;
	if (req.n_dev_euis > 0)
		grpc_client_call(b->q->as->ns, &r, &req.base, on_prepared, b);
	else
		send(b);
}

/* ---- batches ---- */

static struct as_enqueue *first(struct as_enqueuer *q)
{
	return LW_CONTAINER_OF(q->waiting.next, struct as_enqueue, node);
}

/* A request that empties queues says so for all of its items: such an item goes alone. */
static struct batch *take(struct as_enqueuer *q)
{
	struct batch *b = lw_xcalloc(1, sizeof(*b));
	b->q = q;
	lw_arena_init(&b->arena, NULL, 0, SIZE_MAX / 2);
	while (b->n < BATCH_MAX && !lw_list_empty(&q->waiting)) {
		struct as_enqueue *e = first(q);
		if (e->flush_queue && b->n > 0)
			break;
		lw_list_remove(&e->node);
		b->v[b->n++] = e;
		if (e->flush_queue)
			break;
	}
	return b;
}

static void pump(struct as_enqueuer *q)
{
	while (!q->closing && q->open < BATCHES_OPEN && !lw_list_empty(&q->waiting)) {
		q->open++;
		start(take(q));
	}
}

static void on_tick(void *arg)
{
	pump(arg);
}

void as_enqueue(struct as *as, struct as_enqueue *e)
{
	struct as_enqueuer *q = as->enqueuer;
	lw_list_init(&e->node);
	if (q->closing) {
		e->done(e, GRPC_UNAVAILABLE, STOPS);
		return;
	}
	lw_list_push_back(&q->waiting, &e->node);
}

struct as_enqueuer *as_enqueuer_new(struct as *as)
{
	struct as_enqueuer *q = lw_xcalloc(1, sizeof(*q));
	q->as = as;
	lw_list_init(&q->waiting);
	q->tick = rt_loop_on_tick(as->loop, RT_TICK_COMMIT, "downlinks", on_tick, q);
	return q;
}

void as_enqueuer_stop(struct as_enqueuer *q)
{
	struct lw_list *node;
	q->closing = true;
	while ((node = lw_list_pop_front(&q->waiting))) {
		struct as_enqueue *e = LW_CONTAINER_OF(node, struct as_enqueue, node);
		e->done(e, GRPC_UNAVAILABLE, STOPS);
	}
}

void as_enqueuer_free(struct as_enqueuer *q)
{
	if (q)
		rt_tick_remove(q->tick);
	free(q);
}
