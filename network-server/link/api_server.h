/* longwave.ns.v1.NetworkServer over gRPC: configuration, sessions, queue, frames, regions; events are event_stream.h's.
 * Checks what it is given; decides nothing about the radio. */
#pragma once

#include "common/io/grpc_server.h"
#include "common/lorawan/netid.h"
#include "common/pb/schema.h"
#include "network-server/domain/flood.h"
#include "network-server/domain/region_config.h"
#include "network-server/store/store.h"

struct rt_loop;
struct rt_log;
struct lw_rng;
struct ns_api;
struct ns_event_stream;
struct ns_frame_log;
struct ns_link_store;

struct ns_proprietary;

struct ns_api_opts {
	struct rt_loop *loop;
	struct rt_log *log;
	struct lw_rng *rng;
	const struct lw_schema *schema;
	const char *bind;
	struct ns_store *store;
	struct ns_event_stream *events;
	struct ns_frame_log *frame_log;
	struct ns_link_store *links;
	const struct ns_region_config *const *regions;
	size_t n_regions;
	struct lw_devaddr_prefix devaddr_prefix;
	/* Items were enqueued or encrypted anew. */
	void (*on_enqueued)(void *arg, struct lw_dev_eui dev_eui);
	/* A device's queue had no room for the item; may be NULL. */
	void (*on_refused)(void *arg, const struct ns_device *dev, struct lw_uuid item, const char *why);
	/* An item was enqueued for the multicast group. */
	void (*on_multicast)(void *arg, struct lw_uuid group_id);
	/* Sends it. 0, or an error as ns_flows_send_proprietary() gives. */
	int (*on_proprietary)(void *arg, const struct ns_proprietary *p, uint32_t *downlink_id);
	/* A device is about to get this address by Activate; may be NULL. */
	void (*on_activated)(void *arg, struct lw_devaddr addr);
	/* False: the device is in no quarantine. NULL: none ever is. */
	bool (*quarantine)(void *arg, struct lw_dev_eui dev_eui, struct ns_quarantine *out);
	bool (*release)(void *arg, struct lw_dev_eui dev_eui);
	void *arg;
};

int ns_api_new(struct ns_api **out, const struct ns_api_opts *o, struct lw_diag *diag);
int ns_api_port(const struct ns_api *a);
/* The store is ready: until then calls are answered UNAVAILABLE. */
void ns_api_open(struct ns_api *a);
void ns_api_drain(struct ns_api *a);
void ns_api_free(struct ns_api *a);
