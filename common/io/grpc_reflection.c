/* Server reflection, v1 and v1alpha. The two differ in the name of their package only, so that one handler on the
 * messages of v1 serves both. */
#include "common/io/grpc_server.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/xmalloc.h"
#include "common/pb/schema.h"
#include "proto/grpc/reflection/v1/reflection.pb-c.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;
#define REQ(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define RESP(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

struct grpc_reflection {
	const struct lw_schema *schema;
	const struct grpc_methods *methods;
};

/* --- answers --- */

static void send_error(struct grpc_call *c, Response *resp, int code, const char *text)
{
	Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
	error.error_code = code;
	error.error_message = (char *)(uintptr_t)text;
	resp->message_response_case = RESP(ERROR_RESPONSE);
	resp->error_response = &error;
	grpc_call_send(c, &resp->base);
}

static void send_file(struct grpc_call *c, Response *resp, const struct lw_schema_file *file)
{
	if (!file) {
		send_error(c, resp, GRPC_NOT_FOUND, "not found");
		return;
	}
	Grpc__Reflection__V1__FileDescriptorResponse out = GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
	ProtobufCBinaryData data = {file->descriptor.n, (uint8_t *)(uintptr_t)file->descriptor.p};
	out.n_file_descriptor_proto = 1;
	out.file_descriptor_proto = &data;
	resp->message_response_case = RESP(FILE_DESCRIPTOR_RESPONSE);
	resp->file_descriptor_response = &out;
	grpc_call_send(c, &resp->base);
}

static bool is_served(const struct grpc_reflection *r, const char *service)
{
	size_t n = strlen(service);
	size_t it = 0;
	const struct grpc_method *m;
	while ((m = grpc_methods_next(r->methods, &it))) {
		if (m->path[0] == '/' && strncmp(m->path + 1, service, n) == 0 && m->path[n + 1] == '/')
			return true;
	}
	return false;
}

static void send_services(struct grpc_call *c, Response *resp, const struct grpc_reflection *r)
{
	size_t n;
	const struct lw_schema_service *services = lw_schema_services(r->schema, &n);
	Grpc__Reflection__V1__ListServiceResponse out = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
	Grpc__Reflection__V1__ServiceResponse *items = lw_xcalloc(n + 1, sizeof(*items));
	out.service = lw_xcalloc(n + 1, sizeof(*out.service));
	for (size_t i = 0; i < n; i++) {
		if (!is_served(r, services[i].full_name))
			continue;
		Grpc__Reflection__V1__ServiceResponse *item = &items[out.n_service];
		grpc__reflection__v1__service_response__init(item);
		item->name = (char *)(uintptr_t)services[i].full_name;
		out.service[out.n_service++] = item;
	}
	resp->message_response_case = RESP(LIST_SERVICES_RESPONSE);
	resp->list_services_response = &out;
	grpc_call_send(c, &resp->base);
	free(out.service);
	free(items);
}

/* The schema has no extensions. */
static void send_extension_numbers(struct grpc_call *c, Response *resp, const struct grpc_reflection *r, char *type)
{
	if (!lw_schema_find_message(r->schema, type)) {
		send_error(c, resp, GRPC_NOT_FOUND, "not found");
		return;
	}
	Grpc__Reflection__V1__ExtensionNumberResponse out = GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;
	out.base_type_name = type;
	resp->message_response_case = RESP(ALL_EXTENSION_NUMBERS_RESPONSE);
	resp->all_extension_numbers_response = &out;
	grpc_call_send(c, &resp->base);
}

/* --- the stream --- */

static void on_message(struct grpc_call *c, const ProtobufCMessage *msg)
{
	const struct grpc_reflection *r = grpc_call_user(c);
	const Request *req = (const Request *)msg;
	Response resp = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
	resp.valid_host = req->host;
	resp.original_request = (Request *)(uintptr_t)req;
	switch (req->message_request_case) {
	case REQ(FILE_BY_FILENAME):
		send_file(c, &resp, lw_schema_find_file(r->schema, req->file_by_filename));
		break;
	case REQ(FILE_CONTAINING_SYMBOL):
		send_file(c, &resp, lw_schema_find_file_of_symbol(r->schema, req->file_containing_symbol));
		break;
	case REQ(LIST_SERVICES):
		send_services(c, &resp, r);
		break;
	case REQ(ALL_EXTENSION_NUMBERS_OF_TYPE):
		send_extension_numbers(c, &resp, r, req->all_extension_numbers_of_type);
		break;
	case REQ(FILE_CONTAINING_EXTENSION):
		send_error(c, &resp, GRPC_NOT_FOUND, "there are no extensions");
		break;
	default:
		send_error(c, &resp, GRPC_INVALID_ARGUMENT, "the request asks nothing");
		break;
	}
	/* Answers are many times larger than questions. */
	if (!grpc_call_writable(c))
		grpc_call_pause(c, true);
}

static void on_writable(struct grpc_call *c)
{
	grpc_call_pause(c, false);
}

static void on_half_close(struct grpc_call *c)
{
	grpc_call_finish(c, GRPC_OK, NULL);
}

static void on_cancel(struct grpc_call *c)
{
	grpc_call_finish(c, GRPC_CANCELLED, NULL);
}

static const struct grpc_call_events EVENTS = {on_message, on_half_close, on_writable, on_cancel};

static void on_call(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	(void)req;
	grpc_call_set_user(c, arg);
	grpc_call_set_events(c, &EVENTS);
}

struct grpc_reflection *grpc_reflection_new(struct grpc_methods *m, const struct lw_schema *schema)
{
	struct grpc_reflection *r = lw_xcalloc(1, sizeof(*r));
	r->schema = schema;
	r->methods = m;
	struct grpc_method method = {
		.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
		.input = &grpc__reflection__v1__server_reflection_request__descriptor,
		.output = &grpc__reflection__v1__server_reflection_response__descriptor,
		.client_streaming = true,
		.server_streaming = true,
		.fn = on_call,
		.arg = r,
	};
	grpc_methods_add(m, &method);
	method.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
	grpc_methods_add(m, &method);
	return r;
}

void grpc_reflection_free(struct grpc_reflection *r)
{
	free(r);
}
