/* The table of handlers fits the schema and the routes: every row's RPC exists, its id fields are texts of the request,
 * its right is in the permission table, and a route leads to every unary RPC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app-server/api/call.h"
#include "app-server/api/routes.h"
#include "common/pb/schema.h"

static const struct lw_route *route_of(const char *rpc)
{
	for (size_t i = 0; i < as_routes_count; i++) {
		if (strcmp(as_routes[i].rpc, rpc) == 0)
			return &as_routes[i];
	}
	return NULL;
}

static void check_path(const ProtobufCMessageDescriptor *d, const char *path)
{
	for (;;) {
		char name[64] = "";
		size_t n = strcspn(path, ".");
		memcpy(name, path, n);
		const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(d, name);
		assert_non_null(f);
		if (!path[n]) {
			assert_int_equal(f->type, PROTOBUF_C_TYPE_STRING);
			assert_int_not_equal(f->label, PROTOBUF_C_LABEL_REPEATED);
			return;
		}
		assert_int_equal(f->type, PROTOBUF_C_TYPE_MESSAGE);
		d = f->descriptor;
		path += n + 1;
	}
}

static void test_rows(void **state)
{
	const struct lw_schema *s = *state;
	for (size_t i = 0; i < as_rpcs_count; i++) {
		const struct as_rpc *rpc = &as_rpcs[i];
		const struct lw_schema_method *m = lw_schema_find_method(s, rpc->path);
		const struct as_right *right;
		enum as_action action;
		assert_non_null(m);
		const struct lw_route *route = route_of(rpc->path);
		const char *text = rpc->right ? rpc->right : route ? route->right : NULL;
		assert_non_null(text);
		assert_true(route || m->server_streaming);
		if (text[0] && strcmp(text, AS_RIGHT_OWN) != 0)
			assert_int_equal(as_right_parse(text, &right, &action), 0);
		if (rpc->field)
			check_path(m->input->c, rpc->field);
		assert_int_equal(rpc->kind == AS_OBJ_NONE, rpc->field == NULL);
		if (rpc->field2)
			check_path(m->input->c, rpc->field2);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(as_rpcs[j].path, rpc->path);
	}
}

/* Rights without an object are only those that do not depend on one. */
static void test_open_rpcs(void **state)
{
	static const char *const open[] = {"api.InternalService/Login", "api.InternalService/Settings"};
	size_t n = 0;
	(void)state;
	for (size_t i = 0; i < as_rpcs_count; i++) {
		const struct lw_route *route = route_of(as_rpcs[i].path);
		if (as_rpcs[i].right || !route || route->right[0])
			continue;
		assert_true(n < 2);
		assert_string_equal(as_rpcs[i].path, open[n++]);
	}
	assert_int_equal(n, 2);
}

static int setup(void **state)
{
	*state = lw_schema_new();
	return 0;
}

static int teardown(void **state)
{
	lw_schema_free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_open_rpcs),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
