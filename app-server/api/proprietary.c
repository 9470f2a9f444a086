/* Longwave's own: proprietary frames on a gateway (longwave.app.v1.GatewayService). */
#include "app-server/api/handlers.h"
#include "app-server/store/row.h"
#include "proto/longwave/app/v1/gateway.pb-c.h"

static void on_sent(struct as_call *c, const ProtobufCMessage *msg)
{
	const Longwave__Ns__V1__SendProprietaryResponse *in = (const void *)msg;
	if (in->n_results != 1) {
		as_fail(c, GRPC_INTERNAL, "the network-server gave no result");
		return;
	}
	if (in->results[0]->error[0]) {
		as_fail(c, GRPC_FAILED_PRECONDITION, "%s", in->results[0]->error);
		return;
	}
	Longwave__App__V1__SendProprietaryResponse *resp =
		as_msg_new(c->arena, &longwave__app__v1__send_proprietary_response__descriptor);
	resp->downlink_id = in->results[0]->downlink_id;
	as_reply(c, &resp->base);
}

void as_gateway_send_proprietary(struct as_call *c)
{
	const Longwave__App__V1__SendProprietaryRequest *req = c->req;
	Longwave__Ns__V1__SendProprietaryRequest out = LONGWAVE__NS__V1__SEND_PROPRIETARY_REQUEST__INIT;
	char *id = (char *)(uintptr_t)c->object_id;
	if (!req->frame) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "frame is missing");
		return;
	}
	out.gateway_ids = &id;
	out.n_gateway_ids = 1;
	out.frame = req->frame;
	as_ns(c, "SendProprietary", &out.base, &longwave__ns__v1__send_proprietary_response__descriptor, on_sent);
}
