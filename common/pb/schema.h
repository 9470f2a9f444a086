/* The schema at run time: every message, enum, service and file, built once at start from the embedded descriptor set.
 * Joins what protoc knows (JSON names, maps, declaration order, streams, files) with protobuf-c's descriptors
 * (offsets). Immutable after lw_schema_new(), so it may be shared by threads. Never does I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/bytes.h"

/* Most fields that a message may have; the decoder keeps one bit for each. */
#define LW_SCHEMA_MAX_FIELDS 128

enum lw_kind {
	LW_KIND_BOOL,
	LW_KIND_INT32,
	LW_KIND_UINT32,
	LW_KIND_INT64,
	LW_KIND_UINT64,
	LW_KIND_FLOAT,
	LW_KIND_DOUBLE,
	LW_KIND_ENUM,
	LW_KIND_STRING,
	LW_KIND_BYTES,
	LW_KIND_MESSAGE,
};

/* Messages of google.protobuf with a JSON form of their own. */
enum lw_well_known {
	LW_WELL_KNOWN_NONE,
	LW_WELL_KNOWN_TIMESTAMP,
	LW_WELL_KNOWN_DURATION,
	LW_WELL_KNOWN_STRUCT,
	LW_WELL_KNOWN_VALUE,
	LW_WELL_KNOWN_LIST,
	LW_WELL_KNOWN_EMPTY,
};

struct lw_schema_enum_value {
	const char *name;
	int32_t number;
};

struct lw_schema_enum {
	const char *full_name;
	const struct lw_schema_enum_value *values; /* declaration order */
	size_t n_values;
};

struct lw_schema_message;

struct lw_schema_field {
	const char *name;      /* dev_eui */
	const char *json_name; /* devEui */
	const char *json_key;  /* "devEui": ready to be printed */
	uint16_t json_key_len;
	uint16_t index; /* declaration order */
	enum lw_kind kind;
	bool repeated;                            /* a list; false for maps */
	bool map;                                 /* message is the entry: fields[0] the key, fields[1] the value */
	const char *oneof;                        /* name, or NULL */
	const struct lw_schema_enum *enumeration; /* LW_KIND_ENUM, also of map values: see message->fields[1] */
	const struct lw_schema_message *message;  /* LW_KIND_MESSAGE and maps */
	const ProtobufCFieldDescriptor *c;
};

struct lw_schema_message {
	const char *full_name; /* gw.UplinkFrame */
	const char *package;
	enum lw_well_known well_known;
	bool map_entry;
	const struct lw_schema_field *fields; /* declaration order */
	size_t n_fields;
	const ProtobufCMessageDescriptor *c;
};

struct lw_schema_method {
	const char *name;      /* Create */
	const char *full_name; /* api.DeviceService/Create: without the leading slash of the gRPC path */
	const struct lw_schema_message *input;
	const struct lw_schema_message *output;
	bool client_streaming;
	bool server_streaming;
};

struct lw_schema_service {
	const char *full_name;
	const struct lw_schema_method *methods;
	size_t n_methods;
};

struct lw_schema_file {
	const char *name;          /* gw/gw.proto */
	struct lw_span descriptor; /* serialized google.protobuf.FileDescriptorProto, for server reflection */
};

struct lw_schema;

/* Never fails: a set that does not fit the code is a mistake of the build and aborts. */
struct lw_schema *lw_schema_new(void);
void lw_schema_free(struct lw_schema *s);

/* All finds return a borrowed object, or NULL. Full names have no leading dot. */
const struct lw_schema_message *lw_schema_find_message(const struct lw_schema *s, const char *full_name);
const struct lw_schema_message *lw_schema_find_descriptor(const struct lw_schema *s,
							  const ProtobufCMessageDescriptor *descriptor);
const struct lw_schema_service *lw_schema_find_service(const struct lw_schema *s, const char *full_name);
/* "api.DeviceService/Create"; a leading slash is accepted. */
const struct lw_schema_method *lw_schema_find_method(const struct lw_schema *s, const char *full_name);

/* Files for server reflection. The symbol is the full name of a message, enum, service, method
 * ("api.DeviceService.Get") or of a member of one of these. */
const struct lw_schema_file *lw_schema_find_file(const struct lw_schema *s, const char *name);
const struct lw_schema_file *lw_schema_find_file_of_symbol(const struct lw_schema *s, const char *symbol);
/* All services, in the order of files and declarations. */
const struct lw_schema_service *lw_schema_services(const struct lw_schema *s, size_t *n);

/* By JSON name or original name; NULL when there is none. */
const struct lw_schema_field *lw_schema_field_find(const struct lw_schema_message *m, struct lw_span name);
/* NULL when there is none. */
const struct lw_schema_enum_value *lw_schema_enum_by_name(const struct lw_schema_enum *e, struct lw_span name);
const struct lw_schema_enum_value *lw_schema_enum_by_number(const struct lw_schema_enum *e, int32_t number);
