/* Finding routes and binding requests, on a small table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/pb/build.h"
#include "common/pb/openapi.h"
#include "common/pb/pbjson.h"
#include "common/pb/route.h"
#include "common/pb/json_in.h"

static const struct lw_route routes[] = {
	{"GET", "/api/device-profiles/{id}", "api.DeviceProfileService/Get", NULL, "DeviceProfileAccess:Read"},
	{"GET", "/api/device-profiles/{vendor_id}/{vendor_profile_id}", "api.DeviceProfileService/GetByProfileId", NULL,
	 "DeviceProfilesAccess:List"},
	{"GET", "/api/device-profiles/vendors", "api.DeviceProfileService/ListVendors", NULL, "ActiveUserOrKey"},
	{"GET", "/api/device-profiles/vendors/{id}", "api.DeviceProfileService/GetVendor", NULL, "ActiveUserOrKey"},
	{"POST", "/api/devices", "api.DeviceService/Create", "*", "DevicesAccess:Create"},
	{"GET", "/api/devices", "api.DeviceService/List", NULL, "DevicesAccess:List"},
	{"GET", "/api/devices/{dev_eui}", "api.DeviceService/Get", NULL, "DeviceAccess:Read"},
	{"PUT", "/api/devices/{device.dev_eui}", "api.DeviceService/Update", "*", "DeviceAccess:Update"},
	{"GET", "/api/devices/{dev_eui}/metrics", "api.DeviceService/GetMetrics", NULL, "DeviceAccess:Read"},
	{"POST", "/api/internal/login", "api.InternalService/Login", "*", ""},
	{"GET", "/api/regions", "api.InternalService/ListRegions", NULL, "ActiveUser"},
};
#define N_ROUTES (sizeof(routes) / sizeof(routes[0]))

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

static void test_find(void **state)
{
	static const struct {
		const char *method, *path;
		int rc;
		const char *rpc;
	} cases[] = {
		{"GET", "/api/device-profiles/4711", 0, "api.DeviceProfileService/Get"},
		{"GET", "/api/device-profiles/vendors", 0, "api.DeviceProfileService/ListVendors"},
		{"GET", "/api/device-profiles/vendors/1", 0, "api.DeviceProfileService/GetVendor"},
		{"GET", "/api/device-profiles/1/2", 0, "api.DeviceProfileService/GetByProfileId"},
		{"POST", "/api/devices", 0, "api.DeviceService/Create"},
		{"GET", "/api/devices", 0, "api.DeviceService/List"},
		{"PUT", "/api/devices/aa", 0, "api.DeviceService/Update"},
		{"PATCH", "/api/devices/aa", LW_EUNSUPPORTED, NULL},
		{"get", "/api/devices/aa", LW_EUNSUPPORTED, NULL},
		{"GET", "/api/devices/", LW_ENOTFOUND, NULL},
		{"GET", "/api/devices//metrics", LW_ENOTFOUND, NULL},
		{"GET", "/api/devices/aa/metrics/x", LW_ENOTFOUND, NULL},
		{"GET", "/api/devices/aa/metrics/", LW_ENOTFOUND, NULL},
		{"GET", "/api/nowhere", LW_ENOTFOUND, NULL},
		{"GET", "/api", LW_ENOTFOUND, NULL},
		{"GET", "/", LW_ENOTFOUND, NULL},
		{"GET", "", LW_ENOTFOUND, NULL},
		{"GET", "api/devices", LW_ENOTFOUND, NULL},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lw_route_hit hit = {0};
		int rc = lw_route_find(routes, N_ROUTES, cases[i].method, lw_span_str(cases[i].path), &hit);
		if (rc != cases[i].rc)
			fail_msg("%s %s: %d", cases[i].method, cases[i].path, rc);
		if (rc == 0)
			assert_string_equal(hit.route->rpc, cases[i].rpc);
	}
}

static int bind(const struct lw_schema *s, const char *method, const char *path, const char *query, const char *body,
		struct lw_buf *out, struct lw_diag *diag)
{
	struct lw_route_hit hit;
	ProtobufCMessage *m;
	lw_buf_init(out, 1 << 16);
	assert_int_equal(lw_route_find(routes, N_ROUTES, method, lw_span_str(path), &hit), 0);
	int rc = lw_route_bind(s, &hit, lw_span_str(query), lw_span_str(body), NULL, &m, diag);
	assert_int_equal(rc == 0, m != NULL);
	if (rc == 0)
		assert_int_equal(lw_pbjson_encode(s, m, LW_PBJSON_GW, out), 0);
	lw_pb_message_free(m, NULL);
	return rc;
}

static void test_bind(void **state)
{
	static const struct {
		const char *method, *path, *query, *body, *request;
	} cases[] = {
		{"GET", "/api/devices/0102", "", "", "{\"devEui\":\"0102\"}"},
		{"GET", "/api/devices/a%2fb%20c+d", "", "", "{\"devEui\":\"a/b c+d\"}"},
		{"GET", "/api/device-profiles/7/12", "", "", "{\"vendorId\":7,\"vendorProfileId\":12}"},
		{"GET", "/api/devices", "limit=10&applicationId=x&search=a+b%26", "",
		 "{\"limit\":10,\"search\":\"a b&\",\"applicationId\":\"x\"}"},
		{"GET", "/api/devices", "application_id=x&order_by=LAST_SEEN_AT&orderByDesc=true", "",
		 "{\"applicationId\":\"x\",\"orderBy\":\"LAST_SEEN_AT\",\"orderByDesc\":true}"},
		{"GET", "/api/devices", "orderBy=1&tags[a]=1&tags%5Bb%5D=2", "",
		 "{\"orderBy\":\"DEV_EUI\",\"tags\":{\"a\":\"1\",\"b\":\"2\"}}"},
		{"GET", "/api/devices", "limit=1&limit=2", "", "{\"limit\":2}"},
		{"GET", "/api/devices", "search=a&search=b&&=x&unknown=1&tags.x=1&limit.y=2", "", "{\"search\":\"b\"}"},
		{"GET", "/api/devices/0102/metrics", "start=2024-05-01T12:00:00Z&aggregation=DAY&dev_eui=ff", "",
		 "{\"devEui\":\"0102\",\"start\":\"2024-05-01T12:00:00Z\",\"aggregation\":\"DAY\"}"},
		{"POST", "/api/devices", "limit=1", "{\"device\":{\"devEui\":\"01\",\"name\":\"n\"}}",
		 "{\"device\":{\"devEui\":\"01\",\"name\":\"n\"}}"},
		{"POST", "/api/devices", "", "", "{}"},
		{"PUT", "/api/devices/02", "", "{\"device\":{\"devEui\":\"01\",\"name\":\"n\"}}",
		 "{\"device\":{\"devEui\":\"02\",\"name\":\"n\"}}"},
		{"PUT", "/api/devices/02", "", "{}", "{\"device\":{\"devEui\":\"02\"}}"},
		{"GET", "/api/regions", "a=b", "", "{}"},
		{"GET", "/api/devices/01", "", "ignored", "{\"devEui\":\"01\"}"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lw_diag diag = {0};
		struct lw_buf out;
		int rc = bind(*state, cases[i].method, cases[i].path, cases[i].query, cases[i].body, &out, &diag);
		if (rc != 0)
			fail_msg("%s?%s: %d %s", cases[i].path, cases[i].query, rc, diag.text);
		assert_string_equal(lw_buf_str(&out), cases[i].request);
		lw_buf_deinit(&out);
	}
}

static void test_bind_refused(void **state)
{
	static const struct {
		const char *method, *path, *query, *body;
		int rc;
		const char *diag;
	} cases[] = {
		{"GET", "/api/devices", "limit=ten", "", LW_EINVAL, "limit: expected a number"},
		{"GET", "/api/devices", "limit=", "", LW_EINVAL, "limit: expected a number"},
		{"GET", "/api/devices", "limit", "", LW_EINVAL, "limit: expected a number"},
		{"GET", "/api/devices", "limit=-1", "", LW_ERANGE, "limit: number out of range"},
		{"GET", "/api/devices", "search=%zz", "", LW_EINVAL, "malformed query"},
		{"GET", "/api/devices", "search=%4", "", LW_EINVAL, "malformed query"},
		{"GET", "/api/devices", "search=%ff", "", LW_EINVAL, "search: text is not UTF-8"},
		{"GET", "/api/devices", "search=%00", "", LW_EINVAL, "search: text contains NUL"},
		{"GET", "/api/devices", "tags=1", "", LW_EINVAL, "tags: expected a name in brackets"},
		{"GET", "/api/devices", "search[a]=1", "", LW_EINVAL, "takes no name in brackets"},
		{"GET", "/api/devices", "tags[a]=1&tags[a]=2", "", LW_EINVAL, "duplicate name"},
		{"GET", "/api/devices", "orderBy=NOTHING", "", LW_EINVAL, "unknown value"},
		{"GET", "/api/devices", "orderBy=", "", LW_EINVAL, "unknown value"},
		{"GET", "/api/devices", "orderByDesc=maybe", "", LW_EINVAL, "expected true or false"},
		{"GET", "/api/devices/01/metrics", "start=now", "", LW_EINVAL, "start: expected a time"},
		{"GET", "/api/devices/%f", "", "", LW_EINVAL, "dev_eui"},
		{"GET", "/api/device-profiles/x/y", "", "", LW_EINVAL, "vendor_id: expected a number"},
		{"POST", "/api/devices", "", "{\"device\":5}", LW_EINVAL, "device: expected an object"},
		{"POST", "/api/devices", "", "device", LW_EINVAL, "malformed JSON"},
		{"PUT", "/api/devices/%80", "", "{\"device\":{\"devEui\":\"01\"}}", LW_EINVAL, "not UTF-8"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lw_diag diag = {0};
		struct lw_buf out;
		int rc = bind(*state, cases[i].method, cases[i].path, cases[i].query, cases[i].body, &out, &diag);
		if (rc != cases[i].rc || !strstr(diag.text, cases[i].diag))
			fail_msg("%s?%s: %d \"%s\"", cases[i].path, cases[i].query, rc, diag.text);
		lw_buf_deinit(&out);
	}
}

static bool contains(const struct lw_buf *doc, const char *part)
{
	if (strstr(lw_buf_str(doc), part))
		return true;
	print_error("missing: %s\n", part);
	return false;
}

static void test_openapi(void **state)
{
	struct lw_buf doc;
	lw_buf_init(&doc, 1 << 22);
	assert_int_equal(lw_openapi_build(*state, routes, N_ROUTES, &doc), 0);

	struct lw_json_in in;
	lw_json_in_init(&in, lw_buf_span(&doc), 32);
	assert_int_equal(lw_json_skip(&in), 0);
	assert_int_equal(lw_json_end(&in), 0);
	lw_json_in_deinit(&in);

	/* Two templates of one shape are one path, called by the short name. */
	assert_true(contains(&doc, "\"/api/devices/{devEui}\":{\"get\":{\"operationId\":\"DeviceService_Get\""));
	assert_true(contains(&doc, ",\"put\":{\"operationId\":\"DeviceService_Update\""));
	assert_null(strstr(lw_buf_str(&doc), "device.dev_eui"));
	assert_true(contains(
		&doc, "\"operationId\":\"InternalService_Login\",\"tags\":[\"InternalService\"],\"security\":[]"));
	assert_true(contains(&doc, "{\"in\":\"query\",\"name\":\"tags\",\"style\":\"deepObject\""));
	assert_true(contains(&doc, "\"common.Aggregation\":{\"type\":\"string\",\"enum\":[\"HOUR\",\"DAY\","));
	assert_true(contains(&doc, "\"lastSeenAt\":{\"type\":[\"string\",\"null\"],\"format\":\"date-time\"}"));
	assert_true(contains(&doc,
			     "\"api.CreateDeviceRequest\":{\"type\":\"object\",\"properties\":{\"device\":{\"anyOf\":"
			     "[{\"$ref\":\"#/components/schemas/api.Device.Input\"},{\"type\":\"null\"}]}}}"));
	assert_true(contains(&doc, "\"api.LoginResponse\":{\"type\":\"object\",\"properties\":{\"jwt\":{\"type\":"
				   "\"string\"}},\"required\":[\"jwt\"]}"));
	lw_buf_deinit(&doc);

	struct lw_buf small;
	lw_buf_init(&small, 1000);
	assert_int_equal(lw_openapi_build(*state, routes, N_ROUTES, &small), LW_EBIG);
	lw_buf_deinit(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_bind),
		cmocka_unit_test(test_bind_refused),
		cmocka_unit_test(test_openapi),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
