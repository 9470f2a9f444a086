#include "network-server/link/api_server.h"

#include <stdlib.h>

#include "common/base/xmalloc.h"
#include "network-server/link/api_impl.h"
#include "network-server/link/event_stream.h"

static const char CLOSED[] = "the network-server is starting or stopping";

#define ROW(name_, in_, out_, fn_)                                                                                     \
	{                                                                                                              \
		.path = "/longwave.ns.v1.NetworkServer/" name_, .input = &(in_), .output = &(out_), .fn = (fn_)        \
	}
#define EMPTY google__protobuf__empty__descriptor
#define DEVICE longwave__ns__v1__device_request__descriptor
#define GROUP longwave__ns__v1__multicast_group_request__descriptor

static const struct grpc_method METHODS[] = {
	ROW("Apply", longwave__ns__v1__apply_request__descriptor, longwave__ns__v1__apply_response__descriptor,
	    ns_api_apply),
	ROW("Activate", longwave__ns__v1__activate_request__descriptor, EMPTY, ns_api_activate),
	ROW("Deactivate", DEVICE, EMPTY, ns_api_deactivate),
	ROW("EnqueueMacCommands", longwave__ns__v1__enqueue_mac_commands_request__descriptor, EMPTY,
	    ns_api_enqueue_mac_commands),
	ROW("FlushMacCommands", DEVICE, EMPTY, ns_api_flush_mac_commands),
	ROW("GetSession", DEVICE, longwave__ns__v1__get_session_response__descriptor, ns_api_get_session),
	ROW("ExportSession", DEVICE, longwave__ns__v1__export_session_response__descriptor, ns_api_export_session),
	ROW("ImportSession", longwave__ns__v1__import_session_request__descriptor, EMPTY, ns_api_import_session),
	ROW("GetRandomDevAddr", DEVICE, longwave__ns__v1__get_random_dev_addr_response__descriptor,
	    ns_api_random_dev_addr),
	ROW("Enqueue", longwave__ns__v1__enqueue_request__descriptor, longwave__ns__v1__enqueue_response__descriptor,
	    ns_api_enqueue),
	ROW("ListQueue", longwave__ns__v1__list_queue_request__descriptor,
	    longwave__ns__v1__list_queue_response__descriptor, ns_api_list_queue),
	ROW("FlushQueue", DEVICE, EMPTY, ns_api_flush_queue),
	ROW("GetNextFCntDown", DEVICE, longwave__ns__v1__get_next_fcnt_down_response__descriptor,
	    ns_api_next_f_cnt_down),
	ROW("PrepareDownlinks", longwave__ns__v1__prepare_downlinks_request__descriptor,
	    longwave__ns__v1__prepare_downlinks_response__descriptor, ns_api_prepare_downlinks),
	ROW("Reencrypt", longwave__ns__v1__reencrypt_request__descriptor, EMPTY, ns_api_reencrypt),
	ROW("EnqueueMulticast", longwave__ns__v1__enqueue_multicast_request__descriptor,
	    longwave__ns__v1__enqueue_multicast_response__descriptor, ns_api_enqueue_multicast),
	ROW("ListMulticastQueue", GROUP, longwave__ns__v1__list_multicast_queue_response__descriptor,
	    ns_api_list_multicast),
	ROW("FlushMulticastQueue", GROUP, EMPTY, ns_api_flush_multicast),
	ROW("GetMulticastGroup", GROUP, longwave__ns__v1__get_multicast_group_response__descriptor,
	    ns_api_get_multicast),
	ROW("SendProprietary", longwave__ns__v1__send_proprietary_request__descriptor,
	    longwave__ns__v1__send_proprietary_response__descriptor, ns_api_send_proprietary),
	ROW("ListFrames", longwave__ns__v1__stream_frames_request__descriptor,
	    longwave__ns__v1__list_frames_response__descriptor, ns_api_list_frames),
	{.path = "/longwave.ns.v1.NetworkServer/StreamFrames",
	 .input = &longwave__ns__v1__stream_frames_request__descriptor,
	 .output = &longwave__ns__v1__frame__descriptor,
	 .server_streaming = true,
	 .fn = ns_api_stream_frames},
	ROW("GetQuarantine", DEVICE, longwave__ns__v1__get_quarantine_response__descriptor, ns_api_quarantine),
	ROW("ReleaseQuarantine", DEVICE, EMPTY, ns_api_release),
	ROW("GetLinkMetrics", longwave__ns__v1__link_metrics_request__descriptor,
	    longwave__ns__v1__link_metrics_response__descriptor, ns_api_link_metrics),
	ROW("ListRegions", EMPTY, longwave__ns__v1__list_regions_response__descriptor, ns_api_list_regions),
	{.path = "/longwave.ns.v1.NetworkServer/Events",
	 .input = &longwave__ns__v1__ack__descriptor,
	 .output = &longwave__ns__v1__event_batch__descriptor,
	 .client_streaming = true,
	 .server_streaming = true,
	 .fn = ns_event_stream_handle},
};
#define N_METHODS (sizeof(METHODS) / sizeof(METHODS[0]))

/* In front of each handler: nothing is served before the store is ready. */
struct gate {
	struct ns_api *api;
	const struct grpc_method *method;
};

static void on_call(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	const struct gate *g = arg;
	if (!g->api->open)
		grpc_call_finish(c, GRPC_UNAVAILABLE, CLOSED);
	else if (g->method->client_streaming)
		g->method->fn(c, req, g->api->o.events);
	else
		g->method->fn(c, req, g->api);
}

int ns_api_new(struct ns_api **out, const struct ns_api_opts *o, struct lw_diag *diag)
{
	struct ns_api *a = lw_xcalloc(1, sizeof(*a));
	a->o = *o;
	a->methods = grpc_methods_new();
	a->gates = lw_xcalloc(N_METHODS, sizeof(*a->gates));
	for (size_t i = 0; i < N_METHODS; i++) {
		struct grpc_method m = METHODS[i];
		a->gates[i] = (struct gate){a, &METHODS[i]};
		m.fn = on_call;
		m.arg = &a->gates[i];
		grpc_methods_add(a->methods, &m);
	}
	a->health = grpc_health_new(a->methods);
	a->reflection = grpc_reflection_new(a->methods, o->schema);
	struct grpc_server_config config = {.bind = o->bind, .methods = a->methods, .max_message = 16u << 20};
	int err = grpc_server_new(o->loop, &config, &a->server, diag);
	if (err) {
		ns_api_free(a);
		return err;
	}
	*out = a;
	return 0;
}

int ns_api_port(const struct ns_api *a)
{
	return grpc_server_port(a->server);
}

void ns_api_open(struct ns_api *a)
{
	a->open = true;
	ns_api_warn_of_regions(a);
}

void ns_api_drain(struct ns_api *a)
{
	grpc_server_drain(a->server, NULL, NULL);
}

void ns_api_free(struct ns_api *a)
{
	if (!a)
		return;
	grpc_server_free(a->server);
	grpc_reflection_free(a->reflection);
	grpc_health_free(a->health);
	grpc_methods_free(a->methods);
	free(a->gates);
	free(a);
}
