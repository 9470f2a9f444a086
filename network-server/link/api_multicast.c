/* The queues of multicast groups as the API shows them. */
#include <stdlib.h>
#include <string.h>

#include "common/base/xmalloc.h"
#include "network-server/link/api_impl.h"

#define PAYLOAD_MAX 242
#define LIST_MAX 1000

static bool group_id(struct grpc_call *c, const char *text, struct lw_uuid *out)
{
	if (lw_uuid_parse(out, text) == 0)
		return true;
	grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "id is not a UUID");
	return false;
}

static void fail(struct grpc_call *c, int err, const char *what)
{
	if (err == LW_ENOTFOUND)
		grpc_call_finish(c, GRPC_NOT_FOUND, "multicast group does not exist");
	else
		ns_api_fail(c, err, what);
}

/* "" when the item can be taken. */
static const char *check_item(const Longwave__Ns__V1__MulticastItem *item)
{
	struct lw_uuid id;
	if (item == NULL)
		return "item is missing";
	if (lw_uuid_parse(&id, item->id) || lw_uuid_parse(&id, item->multicast_group_id))
		return "id is not a UUID";
	if (item->f_port < 1 || item->f_port > 255)
		return "f_port wants 1 to 255";
	if (item->n_frm_payloads < 1 || item->n_frm_payloads > NS_QUEUE_PAYLOADS)
		return "1 to 16 frm_payloads are wanted";
	for (size_t i = 0; i < item->n_frm_payloads; i++)
		if (item->frm_payloads[i].len > PAYLOAD_MAX || item->frm_payloads[i].len != item->frm_payloads[0].len)
			return "payloads of one length, at most 242 bytes, are wanted";
	return "";
}

struct enqueue_call {
	struct ns_api *api;
	struct grpc_call *call;
	const Longwave__Ns__V1__MulticastItem *item;
	struct lw_uuid group;
};

static void on_enqueued(void *arg, int err, uint32_t f_cnt)
{
	struct enqueue_call *e = arg;
	Longwave__Ns__V1__EnqueueMulticastResponse resp = LONGWAVE__NS__V1__ENQUEUE_MULTICAST_RESPONSE__INIT;
	if (err == LW_ECONFLICT) {
		grpc_call_finish(e->call, GRPC_ABORTED, "the group's counter has moved on");
	} else if (err == LW_EFULL) {
		grpc_call_finishf(e->call, GRPC_RESOURCE_EXHAUSTED,
				  "the group's queue is full: it holds %u items (network.multicast_queue_items)",
				  (unsigned)ns_store_max_multicast_queue(e->api->o.store));
	} else if (err == LW_EEXISTS) {
		grpc_call_finish(e->call, GRPC_ALREADY_EXISTS, "an item with this id is there");
	} else if (err) {
		fail(e->call, err, "the queue cannot be written");
	} else {
		resp.f_cnt = f_cnt;
		grpc_call_reply(e->call, &resp.base);
		e->api->o.on_multicast(e->api->o.arg, e->group);
	}
	free(e);
}

/* What no data rate of the group carries is refused here rather than dropped later. */
static void on_group(void *arg, int err, const Longwave__Ns__V1__MulticastGroup *g)
{
	struct enqueue_call *e = arg;
	const struct ns_region_config *rc = NULL;
	for (size_t i = 0; !err && !rc && i < e->api->o.n_regions; i++)
		if ((int)e->api->o.regions[i]->region == (int)g->region)
			rc = e->api->o.regions[i];
	if (err) {
		fail(e->call, err, "the group cannot be read");
		free(e);
		return;
	}
	struct ns_mc_group as = {.dr = (uint8_t)g->dr};
	int max = rc ? ns_mc_max_payload(&as, rc) : PAYLOAD_MAX;
	if ((int)e->item->frm_payloads[0].len > max) {
		grpc_call_finish(e->call, GRPC_INVALID_ARGUMENT,
				 lw_arena_printf(grpc_call_arena(e->call), "the group's data rate carries %d bytes",
						 max < 0 ? 0 : max));
		free(e);
		return;
	}
	ns_store_enqueue_multicast(e->api->o.store, e->item, on_enqueued, e);
}

void ns_api_enqueue_multicast(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	const Longwave__Ns__V1__EnqueueMulticastRequest *r = (const void *)req;
	struct ns_api *a = arg;
	const char *why = check_item(r->item);
	if (why[0]) {
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, why);
		return;
	}
	struct enqueue_call *e = lw_xcalloc(1, sizeof(*e));
	*e = (struct enqueue_call){.api = a, .call = c, .item = r->item};
	(void)lw_uuid_parse(&e->group, r->item->multicast_group_id);
	ns_store_get_multicast(a->o.store, e->group, grpc_call_arena(c), on_group, e);
}

static void on_got(void *arg, int err, const Longwave__Ns__V1__MulticastGroup *g)
{
	struct grpc_call *c = arg;
	Longwave__Ns__V1__GetMulticastGroupResponse resp = LONGWAVE__NS__V1__GET_MULTICAST_GROUP_RESPONSE__INIT;
	if (err) {
		fail(c, err, "the group cannot be read");
		return;
	}
	resp.f_cnt = g->f_cnt;
	resp.mc_addr = g->mc_addr;
	grpc_call_reply(c, &resp.base);
}

void ns_api_get_multicast(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct ns_api *a = arg;
	struct lw_uuid id;
	if (group_id(c, ((const Longwave__Ns__V1__MulticastGroupRequest *)(const void *)req)->id, &id))
		ns_store_get_multicast(a->o.store, id, grpc_call_arena(c), on_got, c);
}

static void on_list(void *arg, int err, Longwave__Ns__V1__MulticastItem **v, size_t n, size_t total)
{
	struct grpc_call *c = arg;
	Longwave__Ns__V1__ListMulticastQueueResponse resp = LONGWAVE__NS__V1__LIST_MULTICAST_QUEUE_RESPONSE__INIT;
	if (err) {
		fail(c, err, "the queue cannot be read");
		return;
	}
	resp.items = v;
	resp.n_items = n;
	resp.total = (uint32_t)total;
	grpc_call_reply(c, &resp.base);
}

void ns_api_list_multicast(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct ns_api *a = arg;
	struct lw_uuid id;
	if (group_id(c, ((const Longwave__Ns__V1__MulticastGroupRequest *)(const void *)req)->id, &id))
		ns_store_list_multicast(a->o.store, id, LIST_MAX, grpc_call_arena(c), on_list, c);
}

static void on_flushed(void *arg, int err)
{
	if (err)
		ns_api_fail(arg, err, "the queue cannot be written");
	else
		ns_api_reply_empty(arg);
}

void ns_api_flush_multicast(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct ns_api *a = arg;
	struct lw_uuid id;
	if (group_id(c, ((const Longwave__Ns__V1__MulticastGroupRequest *)(const void *)req)->id, &id))
		ns_store_flush_multicast(a->o.store, id, on_flushed, c);
}
