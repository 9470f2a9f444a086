/* Reads one message per line as JSON or as protobuf in hexadecimal and prints it in another form:
 *   lw-transcode TYPE FROM TO     FROM: json | hex     TO: gw | event | rest | hex
 * For looking at recorded payloads and for checking the transcoder against recordings. */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/hex.h"
#include "common/pb/build.h"
#include "common/pb/pbjson.h"
#include "common/pb/unpack.h"

#define MAX_LINE (16u * 1024 * 1024)

struct job {
	struct lw_schema *schema;
	const ProtobufCMessageDescriptor *type;
	const char *from;
	const char *to;
};

static int read_message(const struct job *job, struct lw_span line, struct lw_arena *arena, ProtobufCMessage **out,
			struct lw_diag *diag)
{
	ProtobufCAllocator allocator = lw_pb_arena_allocator(arena);
	if (strcmp(job->from, "json") == 0)
		return lw_pbjson_decode(job->schema, job->type, line, &allocator, out, diag);
	uint8_t *bytes = lw_arena_alloc(arena, line.n / 2 + 1);
	int n = bytes ? lw_hex_decode((const char *)line.p, line.n, bytes, line.n / 2) : LW_ENOMEM;
	return n < 0 ? n : lw_pb_unpack(job->type, lw_span(bytes, (size_t)n), arena, out);
}

static int write_message(const struct job *job, const ProtobufCMessage *m, struct lw_buf *out)
{
	static const struct {
		const char *name;
		enum lw_pbjson_profile profile;
	} profiles[] = {{"gw", LW_PBJSON_GW}, {"event", LW_PBJSON_EVENT}, {"rest", LW_PBJSON_REST}};
	for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
		if (strcmp(job->to, profiles[i].name) == 0)
			return lw_pbjson_encode(job->schema, m, profiles[i].profile, out);
	if (strcmp(job->to, "hex") != 0)
		return LW_EINVAL;
	struct lw_buf wire;
	lw_buf_init(&wire, MAX_LINE);
	int rc = lw_pb_pack(m, &wire);
	for (size_t i = 0; i < wire.n && rc == 0; i++)
		rc = lw_buf_printf(out, "%02x", wire.p[i]);
	lw_buf_deinit(&wire);
	return rc;
}

static int one_line(const struct job *job, struct lw_span line)
{
	struct lw_arena arena;
	struct lw_buf out;
	struct lw_diag diag = {0};
	ProtobufCMessage *m;
	lw_arena_init(&arena, NULL, 0, 16 * MAX_LINE);
	lw_buf_init(&out, MAX_LINE);
	int rc = read_message(job, line, &arena, &m, &diag);
	if (rc == 0)
		rc = write_message(job, m, &out);
	if (rc == 0)
		puts(lw_buf_str(&out));
	else
		printf("error: %s: %s\n", lw_err_text(rc), diag.text);
	lw_buf_deinit(&out);
	lw_arena_deinit(&arena);
	return rc;
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: lw-transcode TYPE json|hex gw|event|rest|hex\n");
		return 2;
	}
	struct job job = {.schema = lw_schema_new(), .from = argv[2], .to = argv[3]};
	const struct lw_schema_message *type = lw_schema_find_message(job.schema, argv[1]);
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int failed = 0;
	if (!type || !type->c) {
		fprintf(stderr, "lw-transcode: no message %s\n", argv[1]);
		failed = 1;
	}
	job.type = type ? type->c : NULL;
	while (job.type && (n = getline(&line, &cap, stdin)) > 0) {
		if (line[n - 1] == '\n')
			n--;
		failed |= one_line(&job, lw_span(line, (size_t)n)) < 0;
	}
	free(line);
	lw_schema_free(job.schema);
	return failed;
}
