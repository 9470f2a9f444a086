/* Inside of the API; for its own files only. A handler is called with the struct ns_api as its argument. */
#pragma once

#include "common/io/grpc_server.h"
#include "network-server/link/api_server.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

struct gate;

struct ns_api {
	struct ns_api_opts o;
	bool open;
	struct grpc_methods *methods;
	struct gate *gates;
	struct grpc_health *health;
	struct grpc_reflection *reflection;
	struct grpc_server *server;
};

/* False: the call was finished with INVALID_ARGUMENT. */
bool ns_api_dev_eui(struct grpc_call *c, const char *text, struct lw_dev_eui *out);
void ns_api_fail(struct grpc_call *c, int err, const char *what);
void ns_api_reply_empty(struct grpc_call *c);

grpc_handler_fn ns_api_apply, ns_api_activate, ns_api_deactivate, ns_api_get_session, ns_api_random_dev_addr;
grpc_handler_fn ns_api_enqueue_mac_commands, ns_api_export_session, ns_api_import_session;
grpc_handler_fn ns_api_enqueue, ns_api_list_queue, ns_api_flush_queue, ns_api_next_f_cnt_down, ns_api_reencrypt;
grpc_handler_fn ns_api_prepare_downlinks;
grpc_handler_fn ns_api_enqueue_multicast, ns_api_list_multicast, ns_api_flush_multicast, ns_api_get_multicast;
grpc_handler_fn ns_api_link_metrics, ns_api_send_proprietary;
grpc_handler_fn ns_api_quarantine, ns_api_release;
grpc_handler_fn ns_api_list_frames, ns_api_stream_frames, ns_api_list_regions;
