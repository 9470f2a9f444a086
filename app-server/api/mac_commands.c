/* Longwave's own: MAC commands from outside (longwave.app.v1.DeviceService). The network-server keeps and sends them,
 * and says what is wrong with them. */
#include "app-server/api/handlers.h"
#include "app-server/store/row.h"
#include "proto/google/protobuf/empty.pb-c.h"
#include "proto/longwave/app/v1/device.pb-c.h"

static void on_done(struct as_call *c, const ProtobufCMessage *msg)
{
	(void)msg;
	as_reply_empty(c);
}

void as_device_mac_commands(struct as_call *c)
{
	const Longwave__App__V1__EnqueueMacCommandsRequest *req = c->req;
	Longwave__Ns__V1__EnqueueMacCommandsRequest out = LONGWAVE__NS__V1__ENQUEUE_MAC_COMMANDS_REQUEST__INIT;
	out.dev_eui = (char *)(uintptr_t)c->object_id;
	out.commands = req->commands;
	as_ns(c, "EnqueueMacCommands", &out.base, &google__protobuf__empty__descriptor, on_done);
}

static void on_session(struct as_call *c, const ProtobufCMessage *msg)
{
	const Longwave__Ns__V1__GetSessionResponse *in = (const void *)msg;
	Longwave__App__V1__ListMacCommandsResponse *resp =
		as_msg_new(c->arena, &longwave__app__v1__list_mac_commands_response__descriptor);
	Longwave__Ns__V1__MacCommand **v = (void *)as_msg_list(c->arena, &resp->base, "commands", in->n_mac_commands);
	for (size_t i = 0; i < in->n_mac_commands; i++)
		*v[i] = *in->mac_commands[i];
	resp->bytes = in->mac_command_bytes;
	resp->max_bytes = in->max_mac_command_bytes;
	resp->is_activated = in->session != NULL;
	as_reply(c, &resp->base);
}

void as_device_mac_list(struct as_call *c)
{
	Longwave__Ns__V1__DeviceRequest out = LONGWAVE__NS__V1__DEVICE_REQUEST__INIT;
	out.dev_eui = (char *)(uintptr_t)c->object_id;
	as_ns(c, "GetSession", &out.base, &longwave__ns__v1__get_session_response__descriptor, on_session);
}

void as_device_mac_flush(struct as_call *c)
{
	Longwave__Ns__V1__DeviceRequest out = LONGWAVE__NS__V1__DEVICE_REQUEST__INIT;
	out.dev_eui = (char *)(uintptr_t)c->object_id;
	as_ns(c, "FlushMacCommands", &out.base, &google__protobuf__empty__descriptor, on_done);
}
