/* All handlers of the API, as they stand in api/table.c. */
#pragma once

#include "app-server/api/call.h"

#define AS_HANDLER(name) void name(struct as_call *c)

AS_HANDLER(as_tenant_create);
AS_HANDLER(as_tenant_get);
AS_HANDLER(as_tenant_update);
AS_HANDLER(as_tenant_delete);
AS_HANDLER(as_tenant_list);
AS_HANDLER(as_tenant_list_by_prefix);
AS_HANDLER(as_tenant_user_add);
AS_HANDLER(as_tenant_user_get);
AS_HANDLER(as_tenant_user_update);
AS_HANDLER(as_tenant_user_delete);
AS_HANDLER(as_tenant_user_list);

AS_HANDLER(as_user_create);
AS_HANDLER(as_user_get);
AS_HANDLER(as_user_update);
AS_HANDLER(as_user_delete);
AS_HANDLER(as_user_list);
AS_HANDLER(as_user_update_password);

AS_HANDLER(as_application_create);
AS_HANDLER(as_application_get);
AS_HANDLER(as_application_update);
AS_HANDLER(as_application_delete);
AS_HANDLER(as_application_list);
AS_HANDLER(as_application_list_integrations);
AS_HANDLER(as_integration_http_create);
AS_HANDLER(as_integration_http_get);
AS_HANDLER(as_integration_http_update);
AS_HANDLER(as_integration_http_delete);
AS_HANDLER(as_integration_status);
AS_HANDLER(as_integration_dead_list);
AS_HANDLER(as_integration_dead_retry);
AS_HANDLER(as_integration_dead_discard);
AS_HANDLER(as_integration_replay);
AS_HANDLER(as_application_list_profiles);
AS_HANDLER(as_application_list_tags);
AS_HANDLER(as_certificate);

AS_HANDLER(as_profile_create);
AS_HANDLER(as_profile_get);
AS_HANDLER(as_profile_update);
AS_HANDLER(as_profile_delete);
AS_HANDLER(as_profile_list);
AS_HANDLER(as_profile_list_adr);
AS_HANDLER(as_profile_radio_get);
AS_HANDLER(as_profile_radio_update);
AS_HANDLER(as_profile_data_rates);

AS_HANDLER(as_gateway_create);
AS_HANDLER(as_gateway_get);
AS_HANDLER(as_gateway_update);
AS_HANDLER(as_gateway_delete);
AS_HANDLER(as_gateway_list);

AS_HANDLER(as_device_create);
AS_HANDLER(as_device_get);
AS_HANDLER(as_device_update);
AS_HANDLER(as_device_delete);
AS_HANDLER(as_device_list);
AS_HANDLER(as_device_keys_create);
AS_HANDLER(as_device_keys_get);
AS_HANDLER(as_device_keys_update);
AS_HANDLER(as_device_keys_delete);
AS_HANDLER(as_device_flush_nonces);
AS_HANDLER(as_device_activate);
AS_HANDLER(as_device_deactivate);
AS_HANDLER(as_device_get_activation);
AS_HANDLER(as_device_random_addr);
AS_HANDLER(as_device_session_export);
AS_HANDLER(as_gateway_send_proprietary);
AS_HANDLER(as_device_session_import);
AS_HANDLER(as_device_metrics);
AS_HANDLER(as_device_link_metrics);
AS_HANDLER(as_device_link);
AS_HANDLER(as_device_release);
AS_HANDLER(as_device_mac_commands);
AS_HANDLER(as_device_mac_list);
AS_HANDLER(as_device_mac_flush);
AS_HANDLER(as_gateway_metrics);
AS_HANDLER(as_gateway_duty_metrics);

AS_HANDLER(as_queue_enqueue);
AS_HANDLER(as_queue_flush);
AS_HANDLER(as_queue_list);
AS_HANDLER(as_queue_next_fcnt);

AS_HANDLER(as_multicast_create);
AS_HANDLER(as_multicast_get);
AS_HANDLER(as_multicast_update);
AS_HANDLER(as_multicast_delete);
AS_HANDLER(as_multicast_list);
AS_HANDLER(as_multicast_add_device);
AS_HANDLER(as_multicast_remove_device);
AS_HANDLER(as_multicast_add_gateway);
AS_HANDLER(as_multicast_remove_gateway);
AS_HANDLER(as_multicast_enqueue);
AS_HANDLER(as_multicast_flush);
AS_HANDLER(as_multicast_list_queue);

AS_HANDLER(as_login);
AS_HANDLER(as_profile_of_caller);
AS_HANDLER(as_global_search);
AS_HANDLER(as_settings);
AS_HANDLER(as_version);
AS_HANDLER(as_api_key_create);
AS_HANDLER(as_api_key_delete);
AS_HANDLER(as_api_key_list);
AS_HANDLER(as_devices_summary);
AS_HANDLER(as_gateways_summary);
AS_HANDLER(as_region_list);
AS_HANDLER(as_region_get);

/* Streams: api/stream.c. */
AS_HANDLER(as_stream_gateway_frames);
AS_HANDLER(as_stream_device_frames);
AS_HANDLER(as_stream_device_events);

#undef AS_HANDLER
