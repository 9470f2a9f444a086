/* Longwave's own: MAC commands from outside (longwave.app.v1.DeviceService). The network-server keeps and sends them,
 * and says what is wrong with them. */
#include "app-server/api/handlers.h"
#include "proto/google/protobuf/empty.pb-c.h"
#include "proto/longwave/app/v1/device.pb-c.h"

static void on_enqueued(struct as_call *c, const ProtobufCMessage *msg)
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
	as_ns(c, "EnqueueMacCommands", &out.base, &google__protobuf__empty__descriptor, on_enqueued);
}
