#include "common/pb/openapi.h"

#include <ctype.h>
#include <stdlib.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/pb/json_out.h"

#define MAX_QUERY_DEPTH 3

/* A schema that the document refers to; `input` as part of a request. */
struct component {
	const struct lw_schema_message *message;
	const struct lw_schema_enum *enumeration;
	bool input;
};

struct builder {
	const struct lw_schema *schema;
	const struct lw_route *routes;
	size_t n_routes;
	struct lw_buf *out;
	struct component *components;
	size_t n_components;
	size_t cap_components;
};

static void put(struct builder *b, const char *text)
{
	lw_buf_append_str(b->out, text);
}

static void put_string(struct builder *b, const char *text)
{
	lw_json_put_string(b->out, lw_span_str(text));
}

/* ---- components -------------------------------------------------------------------------------------------------- */

static void need(struct builder *b, struct component c)
{
	for (size_t i = 0; i < b->n_components; i++)
		if (b->components[i].message == c.message && b->components[i].enumeration == c.enumeration &&
		    b->components[i].input == c.input)
			return;
	if (b->n_components == b->cap_components) {
		b->cap_components = b->cap_components ? b->cap_components * 2 : 64;
		b->components = lw_xreallocarray(b->components, b->cap_components, sizeof(*b->components));
	}
	b->components[b->n_components++] = c;
}

static const char *suffix_of(const struct component *c)
{
	const char *name = c->message ? c->message->full_name : "";
	size_t n = strlen(name);
	if (!c->input || (n > 7 && strcmp(name + n - 7, "Request") == 0))
		return "";
	return ".Input";
}

static const char *name_of(const struct component *c)
{
	return c->message ? c->message->full_name : c->enumeration->full_name;
}

static void put_ref(struct builder *b, struct component c)
{
	need(b, c);
	lw_buf_printf(b->out, "{\"$ref\":\"#/components/schemas/%s%s\"}", name_of(&c), suffix_of(&c));
}

static void put_message_type(struct builder *b, const struct lw_schema_message *m, bool input, bool nullable)
{
	switch (m->well_known) {
	case LW_WELL_KNOWN_TIMESTAMP:
		put(b, nullable ? "{\"type\":[\"string\",\"null\"],\"format\":\"date-time\"}"
				: "{\"type\":\"string\",\"format\":\"date-time\"}");
		return;
	case LW_WELL_KNOWN_DURATION:
		put(b, nullable ? "{\"type\":[\"string\",\"null\"],\"pattern\":\"^-?[0-9]+(\\\\.[0-9]{1,9})?s$\"}"
				: "{\"type\":\"string\",\"pattern\":\"^-?[0-9]+(\\\\.[0-9]{1,9})?s$\"}");
		return;
	case LW_WELL_KNOWN_STRUCT:
		put(b, nullable ? "{\"type\":[\"object\",\"null\"],\"additionalProperties\":true}"
				: "{\"type\":\"object\",\"additionalProperties\":true}");
		return;
	case LW_WELL_KNOWN_LIST:
		put(b, "{\"type\":\"array\",\"items\":{}}");
		return;
	case LW_WELL_KNOWN_VALUE:
		put(b, "{}");
		return;
	case LW_WELL_KNOWN_EMPTY:
		put(b, "{\"type\":\"object\"}");
		return;
	case LW_WELL_KNOWN_NONE:
		break;
	}
	if (nullable)
		put(b, "{\"anyOf\":[");
	put_ref(b, (struct component){.message = m, .input = input});
	if (nullable)
		put(b, ",{\"type\":\"null\"}]}");
}

/* The type of one value, whatever its label. */
static void put_value_type(struct builder *b, const struct lw_schema_field *f, bool input, bool nullable)
{
	switch (f->kind) {
	case LW_KIND_BOOL:
		put(b, "{\"type\":\"boolean\"}");
		break;
	case LW_KIND_INT32:
		put(b, "{\"type\":\"integer\",\"format\":\"int32\"}");
		break;
	case LW_KIND_UINT32:
		put(b, "{\"type\":\"integer\",\"format\":\"int64\",\"minimum\":0,\"maximum\":4294967295}");
		break;
	case LW_KIND_INT64:
		put(b, "{\"type\":\"string\",\"format\":\"int64\"}");
		break;
	case LW_KIND_UINT64:
		put(b, "{\"type\":\"string\",\"format\":\"uint64\"}");
		break;
	case LW_KIND_FLOAT:
		put(b, "{\"type\":\"number\",\"format\":\"float\"}");
		break;
	case LW_KIND_DOUBLE:
		put(b, "{\"type\":\"number\",\"format\":\"double\"}");
		break;
	case LW_KIND_ENUM:
		put_ref(b, (struct component){.enumeration = f->enumeration});
		break;
	case LW_KIND_STRING:
		put(b, "{\"type\":\"string\"}");
		break;
	case LW_KIND_BYTES:
		put(b, "{\"type\":\"string\",\"contentEncoding\":\"base64\"}");
		break;
	case LW_KIND_MESSAGE:
		put_message_type(b, f->message, input, nullable);
		break;
	}
}

static void put_field_type(struct builder *b, const struct lw_schema_field *f, bool input)
{
	if (f->map) {
		put(b, "{\"type\":\"object\",\"additionalProperties\":");
		put_value_type(b, &f->message->fields[1], input, false);
		put(b, "}");
	} else if (f->repeated) {
		put(b, "{\"type\":\"array\",\"items\":");
		put_value_type(b, f, input, false);
		put(b, "}");
	} else {
		put_value_type(b, f, input, !f->oneof);
	}
}

static void put_message_schema(struct builder *b, const struct lw_schema_message *m, bool input)
{
	bool first = true;
	put(b, "{\"type\":\"object\",\"properties\":{");
	for (size_t i = 0; i < m->n_fields; i++) {
		if (i)
			put(b, ",");
		lw_buf_append(b->out, m->fields[i].json_key, m->fields[i].json_key_len);
		put_field_type(b, &m->fields[i], input);
	}
	put(b, "}");
	for (size_t i = 0; i < m->n_fields && !input; i++) {
		if (m->fields[i].oneof)
			continue;
		put(b, first ? ",\"required\":[" : ",");
		put_string(b, m->fields[i].json_name);
		first = false;
	}
	put(b, first ? "}" : "]}");
}

static void put_enum_schema(struct builder *b, const struct lw_schema_enum *e)
{
	put(b, "{\"type\":\"string\",\"enum\":[");
	for (size_t i = 0; i < e->n_values; i++) {
		if (i)
			put(b, ",");
		put_string(b, e->values[i].name);
	}
	put(b, "]}");
}

static void put_components(struct builder *b)
{
	put(b, "\"components\":{\"securitySchemes\":{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"}},"
	       "\"responses\":{\"Error\":{\"description\":\"The call failed.\",\"content\":{\"application/json\":"
	       "{\"schema\":{\"$ref\":\"#/components/schemas/Error\"}}}}},"
	       "\"schemas\":{\"Error\":{\"type\":\"object\",\"properties\":{\"code\":{\"type\":\"integer\","
	       "\"description\":\"gRPC status code\"},\"message\":{\"type\":\"string\"},"
	       "\"details\":{\"type\":\"array\",\"items\":{}}},\"required\":[\"code\",\"message\",\"details\"]}");
	for (size_t i = 0; i < b->n_components; i++) { /* grows while it runs */
		struct component c = b->components[i];
		lw_buf_printf(b->out, ",\"%s%s\":", name_of(&c), suffix_of(&c));
		if (c.message)
			put_message_schema(b, c.message, c.input);
		else
			put_enum_schema(b, c.enumeration);
	}
	put(b, "}}");
}

/* ---- paths ------------------------------------------------------------------------------------------------------- */

/* Calls for each segment: the text between slashes. Returns false at the end. */
static bool segment(const char **path, struct lw_span *out)
{
	if (**path != '/')
		return false;
	size_t n = strcspn(*path + 1, "/");
	*out = lw_span(*path + 1, n);
	*path += n + 1;
	return true;
}

static bool is_variable(struct lw_span s)
{
	return s.n > 2 && s.p[0] == '{';
}

/* Two templates that differ in the names of variables only are one path of the document. */
static bool same_shape(const char *a, const char *b)
{
	struct lw_span x, y;
	for (;;) {
		bool more = segment(&a, &x);
		if (more != segment(&b, &y))
			return false;
		if (!more)
			return true;
		if (!(is_variable(x) && is_variable(y)) && !lw_span_eq(x, y))
			return false;
	}
}

/* {device.dev_eui} -> devEui */
static void put_variable_name(struct builder *b, struct lw_span variable)
{
	size_t from = 1;
	bool upper = false;
	for (size_t i = 1; i < variable.n; i++)
		if (variable.p[i] == '.')
			from = i + 1;
	for (size_t i = from; i < variable.n - 1; i++) {
		uint8_t c = variable.p[i];
		if (c != '_')
			lw_buf_append_u8(b->out, upper ? (uint8_t)toupper(c) : c);
		upper = c == '_';
	}
}

static void put_path(struct builder *b, const char *path)
{
	struct lw_span s;
	put(b, "\"");
	while (segment(&path, &s)) {
		put(b, "/");
		if (!is_variable(s)) {
			lw_buf_append_span(b->out, s);
			continue;
		}
		put(b, "{");
		put_variable_name(b, s);
		put(b, "}");
	}
	put(b, "\":");
}

static bool in_path(const struct lw_route *r, const char *name)
{
	const char *path = r->path;
	struct lw_span s;
	while (segment(&path, &s))
		if (is_variable(s) && lw_span_eq_str(lw_span(s.p + 1, s.n - 2), name))
			return true;
	return false;
}

static void put_query(struct builder *b, const struct lw_route *r, const struct lw_schema_message *m,
		      const char *prefix, unsigned depth, bool *first)
{
	for (size_t i = 0; i < m->n_fields; i++) {
		const struct lw_schema_field *f = &m->fields[i];
		bool nested = f->kind == LW_KIND_MESSAGE && !f->map && f->message->well_known == LW_WELL_KNOWN_NONE;
		if (in_path(r, f->name) || (nested && (f->repeated || depth >= MAX_QUERY_DEPTH)))
			continue;
		if (nested) {
			struct lw_buf name;
			lw_buf_init(&name, 1024);
			lw_buf_printf(&name, "%s%s.", prefix, f->json_name);
			put_query(b, r, f->message, lw_buf_str(&name), depth + 1, first);
			lw_buf_deinit(&name);
			continue;
		}
		lw_buf_printf(b->out, "%s{\"in\":\"query\",\"name\":\"%s%s\",", *first ? "" : ",", prefix,
			      f->json_name);
		*first = false;
		if (f->map)
			put(b, "\"style\":\"deepObject\",\"explode\":true,");
		put(b, "\"schema\":");
		if (f->map || f->repeated)
			put_field_type(b, f, true);
		else
			put_value_type(b, f, true, false);
		put(b, "}");
	}
}

static void put_parameters(struct builder *b, const struct lw_route *r, const struct lw_schema_message *input)
{
	const char *path = r->path;
	struct lw_span s;
	bool first = true;
	put(b, "\"parameters\":[");
	while (segment(&path, &s)) {
		if (!is_variable(s))
			continue;
		put(b, first ? "{\"in\":\"path\",\"name\":\"" : ",{\"in\":\"path\",\"name\":\"");
		put_variable_name(b, s);
		put(b, "\",\"required\":true,\"schema\":{\"type\":\"string\"}}");
		first = false;
	}
	if (!r->body)
		put_query(b, r, input, "", 0, &first);
	put(b, "],");
}

static void put_operation(struct builder *b, const struct lw_route *r)
{
	const struct lw_schema_method *m = lw_schema_find_method(b->schema, r->rpc);
	BUG_ON(!m);
	const char *service = strchr(r->rpc, '.') ? strchr(r->rpc, '.') + 1 : r->rpc;
	int n = (int)strcspn(service, "/");
	char verb[8];
	size_t k = 0;
	for (; r->method[k] && k < sizeof(verb) - 1; k++)
		verb[k] = (char)tolower((unsigned char)r->method[k]);
	verb[k] = '\0';

	lw_buf_printf(b->out, "\"%s\":{\"operationId\":\"%.*s_%s\",\"tags\":[\"%.*s\"],", verb, n, service, m->name, n,
		      service);
	if (*r->right)
		lw_buf_printf(b->out, "\"description\":\"Right: %s\",", r->right);
	else
		put(b, "\"security\":[],");
	put_parameters(b, r, m->input);
	if (r->body) {
		put(b, "\"requestBody\":{\"required\":true,\"content\":{\"application/json\":{\"schema\":");
		put_message_type(b, m->input, true, false);
		put(b, "}}},");
	}
	put(b, "\"responses\":{\"200\":{\"description\":\"Done.\",\"content\":{\"application/json\":{\"schema\":");
	put_message_type(b, m->output, false, false);
	put(b, "}}},\"default\":{\"$ref\":\"#/components/responses/Error\"}}}");
}

static bool seen_before(const struct builder *b, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (same_shape(b->routes[k].path, b->routes[i].path))
			return true;
	return false;
}

static void put_paths(struct builder *b)
{
	bool first = true;
	put(b, "\"paths\":{");
	for (size_t i = 0; i < b->n_routes; i++) {
		if (seen_before(b, i))
			continue;
		if (!first)
			put(b, ",");
		first = false;
		put_path(b, b->routes[i].path);
		put(b, "{");
		bool first_operation = true;
		for (size_t k = i; k < b->n_routes; k++) {
			if (!same_shape(b->routes[i].path, b->routes[k].path))
				continue;
			if (!first_operation)
				put(b, ",");
			first_operation = false;
			put_operation(b, &b->routes[k]);
		}
		put(b, "}");
	}
	put(b, "},");
}

int lw_openapi_build(const struct lw_schema *s, const struct lw_route *routes, size_t n, struct lw_buf *out)
{
	struct builder b = {.schema = s, .routes = routes, .n_routes = n, .out = out};
	put(&b, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Longwave API\",\"version\":\"1\"},"
		"\"security\":[{\"bearer\":[]}],");
	put_paths(&b);
	put_components(&b);
	put(&b, "}");
	free(b.components);
	return out->err;
}
