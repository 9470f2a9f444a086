#include "common/pb/schema.h"

#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/bug.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "common/pb/embedded.h"
#include "proto/google/protobuf/descriptor.pb-c.h"

#define SET_MAX_BYTES (64u * 1024 * 1024) /* memory for the unpacked set and for the schema */

typedef Google__Protobuf__FileDescriptorSet descriptor_set;
typedef Google__Protobuf__FileDescriptorProto descriptor_file;
typedef Google__Protobuf__DescriptorProto descriptor_message;
typedef Google__Protobuf__FieldDescriptorProto descriptor_field;
typedef Google__Protobuf__EnumDescriptorProto descriptor_enum;
typedef Google__Protobuf__ServiceDescriptorProto descriptor_service;

struct lw_schema {
	struct lw_arena arena;       /* everything below lives here */
	struct lw_bmap messages;     /* full name -> lw_schema_message */
	struct lw_bmap enums;        /* full name -> lw_schema_enum */
	struct lw_bmap services_map; /* full name -> lw_schema_service */
	struct lw_bmap methods;      /* service/method -> lw_schema_method */
	struct lw_bmap files_map;    /* file name -> lw_schema_file */
	struct lw_bmap symbols;      /* full name -> lw_schema_file */
	struct lw_map descriptors;   /* ProtobufCMessageDescriptor -> lw_schema_message */
	struct lw_schema_service *services;
	size_t n_services;
};

static void *scratch_alloc(void *arena, size_t size)
{
	return lw_arena_alloc(arena, size);
}

static void scratch_free(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

static void *must(void *p)
{
	BUG_ON(!p);
	return p;
}

static char *join(struct lw_arena *a, const char *scope, char separator, const char *name)
{
	return must(*scope ? lw_arena_printf(a, "%s%c%s", scope, separator, name) : lw_arena_strdup(a, name));
}

/* ---- first pass: names ------------------------------------------------------------------------------------------- */

static void put_symbol(struct lw_schema *s, const char *full_name, struct lw_schema_file *file)
{
	lw_bmap_put(&s->symbols, lw_span_str(full_name), file);
}

static void register_enum(struct lw_schema *s, struct lw_schema_file *file, const char *scope, const descriptor_enum *d)
{
	struct lw_schema_enum *e = must(LW_ARENA_NEW(&s->arena, struct lw_schema_enum));
	struct lw_schema_enum_value *values = must(LW_ARENA_ARRAY(&s->arena, struct lw_schema_enum_value, d->n_value));
	for (size_t i = 0; i < d->n_value; i++) {
		values[i].name = must(lw_arena_strdup(&s->arena, d->value[i]->name));
		values[i].number = d->value[i]->number;
	}
	e->full_name = join(&s->arena, scope, '.', d->name);
	e->values = values;
	e->n_values = d->n_value;
	lw_bmap_put(&s->enums, lw_span_str(e->full_name), e);
	put_symbol(s, e->full_name, file);
}

static enum lw_well_known well_known(const char *full_name)
{
	static const struct {
		const char *name;
		enum lw_well_known kind;
	} table[] = {
		{"google.protobuf.Timestamp", LW_WELL_KNOWN_TIMESTAMP},
		{"google.protobuf.Duration", LW_WELL_KNOWN_DURATION},
		{"google.protobuf.Struct", LW_WELL_KNOWN_STRUCT},
		{"google.protobuf.Value", LW_WELL_KNOWN_VALUE},
		{"google.protobuf.ListValue", LW_WELL_KNOWN_LIST},
		{"google.protobuf.Empty", LW_WELL_KNOWN_EMPTY},
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(full_name, table[i].name) == 0)
			return table[i].kind;
	return LW_WELL_KNOWN_NONE;
}

static void register_message(struct lw_schema *s, struct lw_schema_file *file, const char *package, const char *scope,
			     const descriptor_message *d)
{
	struct lw_schema_message *m = must(LW_ARENA_NEW(&s->arena, struct lw_schema_message));
	m->full_name = join(&s->arena, scope, '.', d->name);
	m->package = package;
	m->well_known = well_known(m->full_name);
	m->map_entry = d->options && d->options->has_map_entry && d->options->map_entry;
	lw_bmap_put(&s->messages, lw_span_str(m->full_name), m);
	put_symbol(s, m->full_name, file);
	for (size_t i = 0; i < d->n_enum_type; i++)
		register_enum(s, file, m->full_name, d->enum_type[i]);
	for (size_t i = 0; i < d->n_nested_type; i++)
		register_message(s, file, package, m->full_name, d->nested_type[i]);
}

static void register_file(struct lw_schema *s, const descriptor_file *d, struct lw_span raw)
{
	struct lw_schema_file *file = must(LW_ARENA_NEW(&s->arena, struct lw_schema_file));
	file->name = must(lw_arena_strdup(&s->arena, d->name));
	file->descriptor = raw;
	lw_bmap_put(&s->files_map, lw_span_str(file->name), file);

	const char *package = must(lw_arena_strdup(&s->arena, d->package ? d->package : ""));
	for (size_t i = 0; i < d->n_enum_type; i++)
		register_enum(s, file, package, d->enum_type[i]);
	for (size_t i = 0; i < d->n_message_type; i++)
		register_message(s, file, package, package, d->message_type[i]);
	for (size_t i = 0; i < d->n_service; i++) {
		const char *name = join(&s->arena, package, '.', d->service[i]->name);
		put_symbol(s, name, file);
		s->n_services++;
	}
}

static void register_descriptors(struct lw_schema *s)
{
	for (size_t i = 0; i < lw_message_descriptors_count; i++) {
		const ProtobufCMessageDescriptor *c = lw_message_descriptors[i];
		struct lw_schema_message *m = lw_bmap_find(&s->messages, lw_span_str(c->name));
		if (!m) /* descriptor.proto itself is compiled but no part of the schema */
			continue;
		m->c = c;
		lw_map_put(&s->descriptors, (uint64_t)(uintptr_t)c, m);
	}
}

/* ---- second pass: what names refer to ---------------------------------------------------------------------------- */

static enum lw_kind kind_of(const descriptor_field *d)
{
	switch (d->type) {
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_DOUBLE:
		return LW_KIND_DOUBLE;
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_FLOAT:
		return LW_KIND_FLOAT;
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_INT64:
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_SFIXED64:
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_SINT64:
		return LW_KIND_INT64;
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_UINT64:
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_FIXED64:
		return LW_KIND_UINT64;
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_INT32:
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_SFIXED32:
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_SINT32:
		return LW_KIND_INT32;
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_UINT32:
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_FIXED32:
		return LW_KIND_UINT32;
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BOOL:
		return LW_KIND_BOOL;
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING:
		return LW_KIND_STRING;
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BYTES:
		return LW_KIND_BYTES;
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_ENUM:
		return LW_KIND_ENUM;
	case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_MESSAGE:
		return LW_KIND_MESSAGE;
	default: /* groups: not in this schema */
		lw_bug(__FILE__, __LINE__, d->name);
	}
}

static void link_field(struct lw_schema *s, const struct lw_schema_message *m, const descriptor_message *dm,
		       const descriptor_field *d, size_t index, struct lw_schema_field *f)
{
	f->name = must(lw_arena_strdup(&s->arena, d->name));
	f->json_name = must(lw_arena_strdup(&s->arena, d->json_name));
	f->json_key = must(lw_arena_printf(&s->arena, "\"%s\":", d->json_name));
	f->json_key_len = (uint16_t)strlen(f->json_key);
	f->index = (uint16_t)index;
	f->kind = kind_of(d);
	f->c = must((void *)(uintptr_t)protobuf_c_message_descriptor_get_field(m->c, (unsigned)d->number));
	if (d->has_oneof_index)
		f->oneof = must(lw_arena_strdup(&s->arena, dm->oneof_decl[d->oneof_index]->name));
	if (f->kind == LW_KIND_MESSAGE) {
		f->message = must(lw_bmap_find(&s->messages, lw_span_str(d->type_name + 1)));
		f->map = f->message->map_entry;
	} else if (f->kind == LW_KIND_ENUM) {
		f->enumeration = must(lw_bmap_find(&s->enums, lw_span_str(d->type_name + 1)));
	}
	f->repeated = !f->map && d->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED;
}

static void link_message(struct lw_schema *s, const char *scope, const descriptor_message *d)
{
	const char *full_name = join(&s->arena, scope, '.', d->name);
	struct lw_schema_message *m = must(lw_bmap_find(&s->messages, lw_span_str(full_name)));
	if (m->c) {
		BUG_ON(d->n_field > LW_SCHEMA_MAX_FIELDS);
		struct lw_schema_field *fields = must(LW_ARENA_ARRAY(&s->arena, struct lw_schema_field, d->n_field));
		for (size_t i = 0; i < d->n_field; i++)
			link_field(s, m, d, d->field[i], i, &fields[i]);
		m->fields = fields;
		m->n_fields = d->n_field;
	}
	for (size_t i = 0; i < d->n_nested_type; i++)
		link_message(s, full_name, d->nested_type[i]);
}

static void link_service(struct lw_schema *s, const char *package, const descriptor_service *d,
			 struct lw_schema_service *service)
{
	struct lw_schema_method *methods = must(LW_ARENA_ARRAY(&s->arena, struct lw_schema_method, d->n_method));
	service->full_name = join(&s->arena, package, '.', d->name);
	for (size_t i = 0; i < d->n_method; i++) {
		struct lw_schema_method *m = &methods[i];
		m->name = must(lw_arena_strdup(&s->arena, d->method[i]->name));
		m->full_name = join(&s->arena, service->full_name, '/', m->name);
		m->input = must(lw_bmap_find(&s->messages, lw_span_str(d->method[i]->input_type + 1)));
		m->output = must(lw_bmap_find(&s->messages, lw_span_str(d->method[i]->output_type + 1)));
		m->client_streaming = d->method[i]->client_streaming;
		m->server_streaming = d->method[i]->server_streaming;
		lw_bmap_put(&s->methods, lw_span_str(m->full_name), m);
	}
	service->methods = methods;
	service->n_methods = d->n_method;
	lw_bmap_put(&s->services_map, lw_span_str(service->full_name), service);
}

static void link_all(struct lw_schema *s, const descriptor_set *set)
{
	size_t n = 0;
	s->services = must(LW_ARENA_ARRAY(&s->arena, struct lw_schema_service, s->n_services));
	for (size_t i = 0; i < set->n_file; i++) {
		const descriptor_file *file = set->file[i];
		const char *package = file->package ? file->package : "";
		for (size_t k = 0; k < file->n_message_type; k++)
			link_message(s, package, file->message_type[k]);
		for (size_t k = 0; k < file->n_service; k++)
			link_service(s, package, file->service[k], &s->services[n++]);
	}
}

/* ---- the set ----------------------------------------------------------------------------------------------------- */

static size_t read_varint(const uint8_t *p, size_t n, size_t *used)
{
	size_t v = 0;
	for (size_t i = 0; i < n && i < 5; i++) {
		v |= (size_t)(p[i] & 0x7f) << (7 * i);
		if (!(p[i] & 0x80)) {
			*used = i + 1;
			return v;
		}
	}
	lw_bug(__FILE__, __LINE__, "descriptor set");
}

/* The set is `repeated FileDescriptorProto file = 1` and nothing else: slices it without unpacking. */
static struct lw_span next_file(struct lw_span *rest)
{
	size_t used;
	BUG_ON(rest->n < 2 || rest->p[0] != 0x0a);
	size_t n = read_varint(rest->p + 1, rest->n - 1, &used);
	BUG_ON(n > rest->n - 1 - used);
	struct lw_span file = lw_span(rest->p + 1 + used, n);
	rest->p = file.p + n;
	rest->n -= 1 + used + n;
	return file;
}

struct lw_schema *lw_schema_new(void)
{
	struct lw_schema *s = lw_xcalloc(1, sizeof(*s));
	struct lw_arena scratch;
	lw_arena_init(&s->arena, NULL, 0, SET_MAX_BYTES);
	lw_arena_init(&scratch, NULL, 0, SET_MAX_BYTES);
	lw_bmap_init(&s->messages);
	lw_bmap_init(&s->enums);
	lw_bmap_init(&s->services_map);
	lw_bmap_init(&s->methods);
	lw_bmap_init(&s->files_map);
	lw_bmap_init(&s->symbols);
	lw_map_init(&s->descriptors);

	ProtobufCAllocator allocator = {.alloc = scratch_alloc, .free = scratch_free, .allocator_data = &scratch};
	descriptor_set *set =
		google__protobuf__file_descriptor_set__unpack(&allocator, lw_descriptor_set_size, lw_descriptor_set);
	BUG_ON(!set);
	struct lw_span rest = lw_span(lw_descriptor_set, lw_descriptor_set_size);
	for (size_t i = 0; i < set->n_file; i++)
		register_file(s, set->file[i], next_file(&rest));
	register_descriptors(s);
	link_all(s, set);
	lw_arena_deinit(&scratch);
	return s;
}

void lw_schema_free(struct lw_schema *s)
{
	if (!s)
		return;
	lw_bmap_deinit(&s->messages);
	lw_bmap_deinit(&s->enums);
	lw_bmap_deinit(&s->services_map);
	lw_bmap_deinit(&s->methods);
	lw_bmap_deinit(&s->files_map);
	lw_bmap_deinit(&s->symbols);
	lw_map_deinit(&s->descriptors);
	lw_arena_deinit(&s->arena);
	free(s);
}

/* ---- finds ------------------------------------------------------------------------------------------------------- */

const struct lw_schema_message *lw_schema_find_message(const struct lw_schema *s, const char *full_name)
{
	return lw_bmap_find(&s->messages, lw_span_str(full_name));
}

const struct lw_schema_message *lw_schema_find_descriptor(const struct lw_schema *s,
							  const ProtobufCMessageDescriptor *descriptor)
{
	return lw_map_find(&s->descriptors, (uint64_t)(uintptr_t)descriptor);
}

const struct lw_schema_service *lw_schema_find_service(const struct lw_schema *s, const char *full_name)
{
	return lw_bmap_find(&s->services_map, lw_span_str(full_name));
}

const struct lw_schema_method *lw_schema_find_method(const struct lw_schema *s, const char *full_name)
{
	return lw_bmap_find(&s->methods, lw_span_str(full_name[0] == '/' ? full_name + 1 : full_name));
}

const struct lw_schema_file *lw_schema_find_file(const struct lw_schema *s, const char *name)
{
	return lw_bmap_find(&s->files_map, lw_span_str(name));
}

const struct lw_schema_file *lw_schema_find_file_of_symbol(const struct lw_schema *s, const char *symbol)
{
	const struct lw_schema_file *file = lw_bmap_find(&s->symbols, lw_span_str(symbol));
	if (file)
		return file;
	const char *dot = strrchr(symbol, '.'); /* a method, field or enum value */
	return dot ? lw_bmap_find(&s->symbols, lw_span(symbol, (size_t)(dot - symbol))) : NULL;
}

const struct lw_schema_service *lw_schema_services(const struct lw_schema *s, size_t *n)
{
	*n = s->n_services;
	return s->services;
}

const struct lw_schema_field *lw_schema_field_find(const struct lw_schema_message *m, struct lw_span name)
{
	for (size_t i = 0; i < m->n_fields; i++)
		if (lw_span_eq_str(name, m->fields[i].json_name) || lw_span_eq_str(name, m->fields[i].name))
			return &m->fields[i];
	return NULL;
}

const struct lw_schema_enum_value *lw_schema_enum_by_name(const struct lw_schema_enum *e, struct lw_span name)
{
	for (size_t i = 0; i < e->n_values; i++)
		if (lw_span_eq_str(name, e->values[i].name))
			return &e->values[i];
	return NULL;
}

const struct lw_schema_enum_value *lw_schema_enum_by_number(const struct lw_schema_enum *e, int32_t number)
{
	for (size_t i = 0; i < e->n_values; i++)
		if (e->values[i].number == number)
			return &e->values[i];
	return NULL;
}
