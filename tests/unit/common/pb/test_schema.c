/* The registry, reflection data, and bounded unpacking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/pb/embedded.h"
#include "common/pb/schema.h"
#include "common/pb/unpack.h"
#include "proto/api/application.pb-c.h"
#include "proto/api/tenant.pb-c.h"
#include "proto/google/protobuf/descriptor.pb-c.h"
#include "proto/google/protobuf/struct.pb-c.h"
#include "proto/gw/gw.pb-c.h"

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

static void test_messages(void **state)
{
	const struct lw_schema *s = *state;
	const struct lw_schema_message *m = lw_schema_find_message(s, "integration.DeviceInfo");
	assert_non_null(m);
	assert_ptr_equal(m, lw_schema_find_descriptor(s, m->c));
	assert_string_equal(m->package, "integration");
	/* Declaration order, which is not the order of numbers here. */
	assert_string_equal(m->fields[m->n_fields - 2].name, "device_class_enabled");
	assert_string_equal(m->fields[m->n_fields - 1].name, "tags");
	assert_int_equal(m->fields[m->n_fields - 1].c->id, 9);

	const struct lw_schema_field *f = lw_schema_field_find(m, lw_span_str("devEui"));
	assert_non_null(f);
	assert_ptr_equal(f, lw_schema_field_find(m, lw_span_str("dev_eui")));
	assert_null(lw_schema_field_find(m, lw_span_str("dev_eu")));
	assert_string_equal(f->json_key, "\"devEui\":");

	f = lw_schema_field_find(m, lw_span_str("tags"));
	assert_true(f->map);
	assert_false(f->repeated);
	assert_int_equal(f->message->fields[1].kind, LW_KIND_STRING);

	f = lw_schema_field_find(m, lw_span_str("deviceClassEnabled"));
	assert_int_equal(f->kind, LW_KIND_ENUM);
	assert_int_equal(lw_schema_enum_by_name(f->enumeration, lw_span_str("CLASS_C"))->number, 2);
	assert_string_equal(lw_schema_enum_by_number(f->enumeration, 1)->name, "CLASS_B");
	assert_null(lw_schema_enum_by_number(f->enumeration, 3));

	m = lw_schema_find_message(s, "gw.Timing");
	assert_string_equal(m->fields[0].oneof, "parameters");
	assert_null(lw_schema_find_message(s, "gw.Nothing"));
	assert_null(lw_schema_find_descriptor(s, &google__protobuf__file_options__descriptor));
}

/* Every message of the schema has its code, and every member its offset. */
static void test_complete(void **state)
{
	size_t known = 0;
	for (size_t i = 0; i < lw_message_descriptors_count; i++) {
		const ProtobufCMessageDescriptor *c = lw_message_descriptors[i];
		const struct lw_schema_message *m = lw_schema_find_descriptor(*state, c);
		if (!m)
			continue; /* descriptor.proto */
		known++;
		assert_int_equal(m->n_fields, c->n_fields);
		for (size_t k = 0; k < m->n_fields; k++)
			assert_string_equal(m->fields[k].name, m->fields[k].c->name);
	}
	assert_in_range(known, 250, 2000);
}

static void test_services(void **state)
{
	const struct lw_schema *s = *state;
	const struct lw_schema_method *m = lw_schema_find_method(s, "/api.DeviceService/Get");
	assert_non_null(m);
	assert_ptr_equal(m, lw_schema_find_method(s, "api.DeviceService/Get"));
	assert_string_equal(m->input->full_name, "api.GetDeviceRequest");
	assert_string_equal(m->output->full_name, "api.GetDeviceResponse");
	assert_false(m->server_streaming);
	m = lw_schema_find_method(s, "api.InternalService/StreamDeviceEvents");
	assert_true(m->server_streaming);
	assert_false(m->client_streaming);
	m = lw_schema_find_method(s, "grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
	assert_true(m->server_streaming && m->client_streaming);
	assert_null(lw_schema_find_method(s, "api.DeviceService/Nothing"));
	assert_int_equal(lw_schema_find_service(s, "api.DeviceService")->n_methods, 20);

	size_t n, found = 0;
	const struct lw_schema_service *services = lw_schema_services(s, &n);
	for (size_t i = 0; i < n; i++)
		found += lw_schema_find_service(s, services[i].full_name) == &services[i];
	assert_int_equal(found, n);
	assert_in_range(n, 10, 100);
}

static void test_reflection(void **state)
{
	static const char *const symbols[] = {
		"api.DeviceService",  "api.DeviceService.Get",          "api.Device",
		"api.Device.dev_eui", "api.ListDevicesRequest.OrderBy", "api.Device.TagsEntry"};
	const struct lw_schema *s = *state;
	const struct lw_schema_file *device = lw_schema_find_file(s, "api/device.proto");
	assert_non_null(device);
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++)
		assert_ptr_equal(lw_schema_find_file_of_symbol(s, symbols[i]), device);
	assert_null(lw_schema_find_file_of_symbol(s, "api.Nothing"));
	assert_null(lw_schema_find_file_of_symbol(s, "api"));
	assert_null(lw_schema_find_file_of_symbol(s, ""));
	assert_null(lw_schema_find_file(s, "api/nothing.proto"));

	/* The bytes are that file, and everything it imports can be asked for. */
	Google__Protobuf__FileDescriptorProto *file =
		google__protobuf__file_descriptor_proto__unpack(NULL, device->descriptor.n, device->descriptor.p);
	assert_non_null(file);
	assert_string_equal(file->name, "api/device.proto");
	assert_int_not_equal(file->n_dependency, 0);
	for (size_t i = 0; i < file->n_dependency; i++)
		assert_non_null(lw_schema_find_file(s, file->dependency[i]));
	google__protobuf__file_descriptor_proto__free_unpacked(file, NULL);
}

/* ---- unpacking --------------------------------------------------------------------------------------------------- */

static int unpack(const ProtobufCMessageDescriptor *type, const char *bytes, size_t n, size_t max)
{
	struct lw_arena arena;
	ProtobufCMessage *m;
	lw_arena_init(&arena, NULL, 0, max);
	int rc = lw_pb_unpack(type, lw_span(bytes, n), &arena, &m);
	assert_int_equal(rc == 0, m != NULL);
	lw_arena_deinit(&arena);
	return rc;
}

#define UNPACK(type, bytes) unpack(&type##__descriptor, bytes, sizeof(bytes) - 1, 1 << 16)

static void test_unpack_bad_input(void **state)
{
	(void)state;
	assert_int_equal(UNPACK(gw__conn_state, ""), 0);
	assert_int_equal(UNPACK(gw__conn_state, "\x1a\x02"
						"ab"),
			 0);
	assert_int_equal(UNPACK(gw__conn_state, "\x1a\x03"
						"ab"),
			 LW_ETRUNC);
	assert_int_equal(UNPACK(gw__conn_state, "\x1a"), LW_ETRUNC);
	assert_int_equal(UNPACK(gw__conn_state, "\x10\x80"), LW_ETRUNC);
	assert_int_equal(UNPACK(gw__conn_state, "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), LW_ETRUNC);
	assert_int_equal(UNPACK(gw__conn_state, "\x10\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), LW_EINVAL);
	assert_int_equal(UNPACK(gw__conn_state, "\x00\x01"), LW_EINVAL);
	assert_int_equal(UNPACK(gw__conn_state, "\x0b\x0c"), LW_EINVAL); /* groups */
	assert_int_equal(UNPACK(gw__conn_state, "\x1a\x02\xc3("), LW_EINVAL);
	assert_int_equal(UNPACK(gw__conn_state, "\x18\x01"), LW_EINVAL); /* wire type of a number for a text */
	assert_int_equal(UNPACK(gw__conn_state, "\x7a\x02\xc3("), 0);    /* unknown member: any bytes */
}

static void test_unpack_depth(void **state)
{
	/* Value { struct_value { fields { value { … } } } }: from the inside out. */
	struct lw_buf inner, outer;
	(void)state;
	lw_buf_init(&inner, 1 << 20);
	lw_buf_init(&outer, 1 << 20);
	for (int level = 1; level <= 20000; level++) {
		static const uint8_t tags[] = {0x12, 0x0a, 0x2a}; /* entry.value, Struct.fields, Value.struct_value */
		uint8_t head[8];
		size_t n = 0;
		size_t length = inner.n;
		head[n++] = tags[(level - 1) % 3];
		do {
			head[n++] = (uint8_t)((length & 0x7f) | (length > 0x7f ? 0x80 : 0));
			length >>= 7;
		} while (length);
		lw_buf_reset(&outer);
		lw_buf_append(&outer, head, n);
		lw_buf_append_span(&outer, lw_buf_span(&inner));
		struct lw_buf swap = inner;
		inner = outer;
		outer = swap;
		if (level % 3 == 0 && (level < 600 || level > 19990)) {
			int rc = unpack(&google__protobuf__value__descriptor, (const char *)inner.p, inner.n, 1 << 20);
			assert_int_equal(rc, level < LW_PB_MAX_DEPTH ? 0 : LW_ELIMIT);
		}
	}
	lw_buf_deinit(&inner);
	lw_buf_deinit(&outer);
}

/* Two bytes of input become a large struct: the arena's maximum holds. */
static void test_unpack_amplification(void **state)
{
	static char bytes[60000];
	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i += 2)
		bytes[i] = 0x1a; /* UplinkFrameSet.rx_info, empty */
	assert_int_equal(unpack(&gw__uplink_frame_set__descriptor, bytes, sizeof(bytes), 1 << 20), LW_ENOMEM);
	assert_int_equal(unpack(&gw__uplink_frame_set__descriptor, bytes, sizeof(bytes), 32 << 20), 0);
}

static void test_pack(void **state)
{
	struct lw_buf out;
	(void)state;
	Gw__ConnState m = GW__CONN_STATE__INIT;
	lw_buf_init(&out, 6);
	assert_int_equal(lw_pb_pack(&m.base, &out), 0);
	assert_int_equal(out.n, 0);
	m.gateway_id = (char[]){"abcd"};
	assert_int_equal(lw_pb_pack(&m.base, &out), 0);
	assert_memory_equal(out.p,
			    "\x1a\x04"
			    "abcd",
			    6);
	assert_int_equal(lw_pb_pack(&m.base, &out), LW_EBIG);
	lw_buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_services),
		cmocka_unit_test(test_reflection),
		cmocka_unit_test(test_unpack_bad_input),
		cmocka_unit_test(test_unpack_depth),
		cmocka_unit_test(test_unpack_amplification),
		cmocka_unit_test(test_pack),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
