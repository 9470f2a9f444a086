/* Every RPC that is built: its handler and what its id field names. Paths and rights are in routes.c. */
#include "app-server/api/handlers.h"

#define T(rpc, fn, ...)                                                                                                \
	{                                                                                                              \
		"api.TenantService/" rpc, as_##fn, __VA_ARGS__                                                         \
	}
#define U(rpc, fn, ...)                                                                                                \
	{                                                                                                              \
		"api.UserService/" rpc, as_##fn, __VA_ARGS__                                                           \
	}
#define A(rpc, fn, ...)                                                                                                \
	{                                                                                                              \
		"api.ApplicationService/" rpc, as_##fn, __VA_ARGS__                                                    \
	}
#define P(rpc, fn, ...)                                                                                                \
	{                                                                                                              \
		"api.DeviceProfileService/" rpc, as_##fn, __VA_ARGS__                                                  \
	}
#define G(rpc, fn, ...)                                                                                                \
	{                                                                                                              \
		"api.GatewayService/" rpc, as_##fn, __VA_ARGS__                                                        \
	}
#define D(rpc, fn, ...)                                                                                                \
	{                                                                                                              \
		"api.DeviceService/" rpc, as_##fn, __VA_ARGS__                                                         \
	}
#define L(rpc, fn, ...)                                                                                                \
	{                                                                                                              \
		"longwave.app.v1.IntegrationService/" rpc, as_##fn, __VA_ARGS__                                        \
	}
#define LD(rpc, fn, ...)                                                                                               \
	{                                                                                                              \
		"longwave.app.v1.DeviceService/" rpc, as_##fn, __VA_ARGS__                                             \
	}
#define LG(rpc, fn, ...)                                                                                               \
	{                                                                                                              \
		"longwave.app.v1.GatewayService/" rpc, as_##fn, __VA_ARGS__                                            \
	}
#define LP(rpc, fn, ...)                                                                                               \
	{                                                                                                              \
		"longwave.app.v1.DeviceProfileService/" rpc, as_##fn, __VA_ARGS__                                      \
	}
#define M(rpc, fn, ...)                                                                                                \
	{                                                                                                              \
		"api.MulticastGroupService/" rpc, as_##fn, __VA_ARGS__                                                 \
	}
#define I(rpc, fn, ...)                                                                                                \
	{                                                                                                              \
		"api.InternalService/" rpc, as_##fn, __VA_ARGS__                                                       \
	}

const struct as_rpc as_rpcs[] = {
	T("Create", tenant_create, AS_OBJ_NONE, NULL, NULL, NULL),
	T("Get", tenant_get, AS_OBJ_TENANT, "id", NULL, NULL),
	T("Update", tenant_update, AS_OBJ_TENANT, "tenant.id", NULL, NULL),
	T("Delete", tenant_delete, AS_OBJ_TENANT, "id", NULL, NULL),
	T("List", tenant_list, AS_OBJ_NONE, NULL, NULL, NULL),
	T("ListByDevAddrPrefixOverlap", tenant_list_by_prefix, AS_OBJ_NONE, NULL, NULL, NULL),
	T("AddUser", tenant_user_add, AS_OBJ_TENANT, "tenant_user.tenant_id", NULL, NULL),
	T("GetUser", tenant_user_get, AS_OBJ_TENANT_USER, "tenant_id", "user_id", NULL),
	T("UpdateUser", tenant_user_update, AS_OBJ_TENANT_USER, "tenant_user.tenant_id", "tenant_user.user_id", NULL),
	T("DeleteUser", tenant_user_delete, AS_OBJ_TENANT_USER, "tenant_id", "user_id", NULL),
	T("ListUsers", tenant_user_list, AS_OBJ_TENANT, "tenant_id", NULL, NULL),

	U("Create", user_create, AS_OBJ_NONE, NULL, NULL, NULL),
	U("Get", user_get, AS_OBJ_USER, "id", NULL, NULL),
	U("Update", user_update, AS_OBJ_USER, "user.id", NULL, NULL),
	U("Delete", user_delete, AS_OBJ_USER, "id", NULL, NULL),
	U("List", user_list, AS_OBJ_NONE, NULL, NULL, NULL),
	U("UpdatePassword", user_update_password, AS_OBJ_USER, "user_id", NULL, NULL),

	A("Create", application_create, AS_OBJ_TENANT, "application.tenant_id", NULL, NULL),
	A("Get", application_get, AS_OBJ_APPLICATION, "id", NULL, NULL),
	A("Update", application_update, AS_OBJ_APPLICATION, "application.id", NULL, NULL),
	A("Delete", application_delete, AS_OBJ_APPLICATION, "id", NULL, NULL),
	A("List", application_list, AS_OBJ_TENANT_OPTIONAL, "tenant_id", NULL, NULL),
	A("ListIntegrations", application_list_integrations, AS_OBJ_APPLICATION, "application_id", NULL, NULL),
	A("CreateHttpIntegration", integration_http_create, AS_OBJ_APPLICATION, "integration.application_id", NULL,
	  NULL),
	A("GetHttpIntegration", integration_http_get, AS_OBJ_APPLICATION, "application_id", NULL, NULL),
	A("UpdateHttpIntegration", integration_http_update, AS_OBJ_APPLICATION, "integration.application_id", NULL,
	  NULL),
	A("DeleteHttpIntegration", integration_http_delete, AS_OBJ_APPLICATION, "application_id", NULL, NULL),
	A("GenerateMqttIntegrationClientCertificate", certificate, AS_OBJ_APPLICATION, "application_id", NULL, NULL),
	A("ListDeviceProfiles", application_list_profiles, AS_OBJ_APPLICATION, "application_id", NULL, NULL),
	A("ListDeviceTags", application_list_tags, AS_OBJ_APPLICATION, "application_id", NULL, NULL),

	L("GetStatus", integration_status, AS_OBJ_APPLICATION, "application_id", NULL, NULL),
	L("ListDeadLetters", integration_dead_list, AS_OBJ_APPLICATION, "application_id", NULL, NULL),
	L("RetryDeadLetters", integration_dead_retry, AS_OBJ_APPLICATION, "application_id", NULL, NULL),
	L("DiscardDeadLetters", integration_dead_discard, AS_OBJ_APPLICATION, "application_id", NULL, NULL),
	L("Replay", integration_replay, AS_OBJ_APPLICATION, "application_id", NULL, NULL),

	P("Create", profile_create, AS_OBJ_TENANT, "device_profile.tenant_id", NULL, NULL),
	P("Get", profile_get, AS_OBJ_DEVICE_PROFILE, "id", NULL, NULL),
	P("Update", profile_update, AS_OBJ_DEVICE_PROFILE, "device_profile.id", NULL, NULL),
	P("Delete", profile_delete, AS_OBJ_DEVICE_PROFILE, "id", NULL, NULL),
	P("List", profile_list, AS_OBJ_NONE, NULL, NULL, AS_RIGHT_OWN),
	P("ListAdrAlgorithms", profile_list_adr, AS_OBJ_NONE, NULL, NULL, NULL),

	G("Create", gateway_create, AS_OBJ_TENANT, "gateway.tenant_id", NULL, NULL),
	G("Get", gateway_get, AS_OBJ_GATEWAY, "gateway_id", NULL, NULL),
	G("Update", gateway_update, AS_OBJ_GATEWAY, "gateway.gateway_id", NULL, NULL),
	G("Delete", gateway_delete, AS_OBJ_GATEWAY, "gateway_id", NULL, NULL),
	G("List", gateway_list, AS_OBJ_NONE, NULL, NULL, AS_RIGHT_OWN),
	G("GetMetrics", gateway_metrics, AS_OBJ_GATEWAY, "gateway_id", NULL, NULL),
	G("GetDutyCycleMetrics", gateway_duty_metrics, AS_OBJ_GATEWAY, "gateway_id", NULL, NULL),
	G("GenerateClientCertificate", certificate, AS_OBJ_GATEWAY, "gateway_id", NULL, NULL),

	D("Create", device_create, AS_OBJ_APPLICATION, "device.application_id", NULL, NULL),
	D("Get", device_get, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	D("Update", device_update, AS_OBJ_DEVICE, "device.dev_eui", NULL, NULL),
	D("Delete", device_delete, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	D("List", device_list, AS_OBJ_APPLICATION, "application_id", NULL, "DevicesAccess:List"),
	D("CreateKeys", device_keys_create, AS_OBJ_DEVICE, "device_keys.dev_eui", NULL, NULL),
	D("GetKeys", device_keys_get, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	D("UpdateKeys", device_keys_update, AS_OBJ_DEVICE, "device_keys.dev_eui", NULL, NULL),
	D("DeleteKeys", device_keys_delete, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	D("FlushDevNonces", device_flush_nonces, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	D("Activate", device_activate, AS_OBJ_DEVICE, "device_activation.dev_eui", NULL, NULL),
	D("Deactivate", device_deactivate, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	D("GetActivation", device_get_activation, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	D("GetRandomDevAddr", device_random_addr, AS_OBJ_NONE, NULL, NULL, AS_RIGHT_OWN),
	D("GetMetrics", device_metrics, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	D("GetLinkMetrics", device_link_metrics, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	D("Enqueue", queue_enqueue, AS_OBJ_DEVICE, "queue_item.dev_eui", NULL, NULL),
	D("FlushQueue", queue_flush, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	D("GetQueue", queue_list, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	D("GetNextFCntDown", queue_next_fcnt, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),

	LP("GetDeviceProfileRadio", profile_radio_get, AS_OBJ_DEVICE_PROFILE, "id", NULL, NULL),
	LP("UpdateDeviceProfileRadio", profile_radio_update, AS_OBJ_DEVICE_PROFILE, "id", NULL, NULL),
	LP("ListUplinkDataRates", profile_data_rates, AS_OBJ_NONE, NULL, NULL, NULL),

	LG("SendProprietary", gateway_send_proprietary, AS_OBJ_GATEWAY, "gateway_id", NULL, NULL),
	LD("ExportSession", device_session_export, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	LD("ImportSession", device_session_import, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	LD("GetLink", device_link, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	LD("ReleaseQuarantine", device_release, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	LD("EnqueueMacCommands", device_mac_commands, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	LD("ListMacCommands", device_mac_list, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),
	LD("FlushMacCommands", device_mac_flush, AS_OBJ_DEVICE, "dev_eui", NULL, NULL),

	M("Create", multicast_create, AS_OBJ_APPLICATION, "multicast_group.application_id", NULL, NULL),
	M("Get", multicast_get, AS_OBJ_MULTICAST, "id", NULL, NULL),
	M("Update", multicast_update, AS_OBJ_MULTICAST, "multicast_group.id", NULL, NULL),
	M("Delete", multicast_delete, AS_OBJ_MULTICAST, "id", NULL, NULL),
	M("List", multicast_list, AS_OBJ_NONE, NULL, NULL, AS_RIGHT_OWN),
	M("AddDevice", multicast_add_device, AS_OBJ_MULTICAST, "multicast_group_id", NULL, NULL),
	M("RemoveDevice", multicast_remove_device, AS_OBJ_MULTICAST, "multicast_group_id", NULL, NULL),
	M("AddGateway", multicast_add_gateway, AS_OBJ_MULTICAST, "multicast_group_id", NULL, NULL),
	M("RemoveGateway", multicast_remove_gateway, AS_OBJ_MULTICAST, "multicast_group_id", NULL, NULL),
	M("Enqueue", multicast_enqueue, AS_OBJ_MULTICAST, "queue_item.multicast_group_id", NULL, NULL),
	M("FlushQueue", multicast_flush, AS_OBJ_MULTICAST, "multicast_group_id", NULL, NULL),
	M("ListQueue", multicast_list_queue, AS_OBJ_MULTICAST, "multicast_group_id", NULL, NULL),

	I("Login", login, AS_OBJ_NONE, NULL, NULL, NULL),
	I("Profile", profile_of_caller, AS_OBJ_NONE, NULL, NULL, NULL),
	I("GlobalSearch", global_search, AS_OBJ_NONE, NULL, NULL, NULL),
	I("CreateApiKey", api_key_create, AS_OBJ_TENANT_OPTIONAL, "api_key.tenant_id", NULL, NULL),
	I("DeleteApiKey", api_key_delete, AS_OBJ_API_KEY, "id", NULL, NULL),
	I("ListApiKeys", api_key_list, AS_OBJ_TENANT_OPTIONAL, "tenant_id", NULL, NULL),
	I("Settings", settings, AS_OBJ_NONE, NULL, NULL, NULL),
	I("GetVersion", version, AS_OBJ_NONE, NULL, NULL, NULL),
	I("GetDevicesSummary", devices_summary, AS_OBJ_NONE, NULL, NULL, AS_RIGHT_OWN),
	I("GetGatewaysSummary", gateways_summary, AS_OBJ_NONE, NULL, NULL, AS_RIGHT_OWN),
	I("ListRegions", region_list, AS_OBJ_NONE, NULL, NULL, NULL),
	I("GetRegion", region_get, AS_OBJ_NONE, NULL, NULL, NULL),
	I("StreamGatewayFrames", stream_gateway_frames, AS_OBJ_GATEWAY, "gateway_id", NULL, "GatewayAccess:Read"),
	I("StreamDeviceFrames", stream_device_frames, AS_OBJ_DEVICE, "dev_eui", NULL, "DeviceAccess:Read"),
	I("StreamDeviceEvents", stream_device_events, AS_OBJ_DEVICE, "dev_eui", NULL, "DeviceAccess:Read"),
};
const size_t as_rpcs_count = sizeof(as_rpcs) / sizeof(as_rpcs[0]);
