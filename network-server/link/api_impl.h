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

/* NULL: there is none of this id that is enabled. */
const struct ns_region_config *ns_api_region(const struct ns_api *a, const char *id);
#define NS_API_ANY_REGION ((enum lw_region_id) - 1)
/* A sentence that names the configurations of the region's plans; all, where there is none of the region or no such
 * region. In `arena`. */
const char *ns_api_region_names(const struct ns_api *a, enum lw_region_id region, struct lw_arena *arena);
/* Says so in the log when the profile's region configuration is not enabled. */
void ns_api_warn_of_region(const struct ns_api *a, const char *id, const char *region_config_id);
/* The same for all that are stored. */
void ns_api_warn_of_regions(const struct ns_api *a);

grpc_handler_fn ns_api_apply, ns_api_activate, ns_api_deactivate, ns_api_get_session, ns_api_random_dev_addr;
grpc_handler_fn ns_api_enqueue_mac_commands, ns_api_flush_mac_commands;
grpc_handler_fn ns_api_export_session, ns_api_import_session;
grpc_handler_fn ns_api_enqueue, ns_api_list_queue, ns_api_flush_queue, ns_api_next_f_cnt_down, ns_api_reencrypt;
grpc_handler_fn ns_api_prepare_downlinks;
grpc_handler_fn ns_api_enqueue_multicast, ns_api_list_multicast, ns_api_flush_multicast, ns_api_get_multicast;
grpc_handler_fn ns_api_link_metrics, ns_api_send_proprietary;
grpc_handler_fn ns_api_quarantine, ns_api_release;
grpc_handler_fn ns_api_list_frames, ns_api_stream_frames, ns_api_list_regions;
