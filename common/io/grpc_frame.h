/* The encodings of gRPC over HTTP/2 (gRPC's PROTOCOL-HTTP2 document): message prefix, grpc-timeout, grpc-message,
 * content type; and the packing of protobuf-c messages. No I/O, no clock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"

#define GRPC_PREFIX_LEN 5

/* Looks for a whole message at the front of `in`. Returns 1 with *msg (borrowed from `in`) and *used; 0 when more is
 * needed; LW_EBIG (longer than max), LW_EUNSUPPORTED (compressed), LW_EPROTO (flag unknown). */
int grpc_frame_next(struct lw_span in, size_t max, struct lw_span *msg, size_t *used);
/* Appends prefix and message. LW_EBIG when the message is longer than max or the buffer's maximum would be passed. */
int grpc_frame_append(struct lw_buf *out, const ProtobufCMessage *msg, size_t max);
/* The same without the prefix. */
int grpc_pack(struct lw_buf *out, const ProtobufCMessage *msg, size_t max);
/* Unpacks into the arena; the result is never freed by itself. NULL: not a message of that kind, nested too deeply, or
 * no room in the arena. */
ProtobufCMessage *grpc_unpack(const ProtobufCMessageDescriptor *d, struct lw_span bytes, struct lw_arena *arena);

/* "100m" → nanoseconds. LW_EINVAL. Very long ones are cut to ten years. */
int grpc_timeout_parse(const char *text, int64_t *ns);
#define GRPC_TIMEOUT_LEN 16
void grpc_timeout_format(int64_t ns, char out[GRPC_TIMEOUT_LEN]);

/* Percent-encoding of grpc-message: everything but printable ASCII, and '%'. Appends. */
int grpc_message_encode(struct lw_buf *out, const char *text);
/* Decodes in place; wrong sequences stay as they are. */
void grpc_message_decode(char *text);

/* "application/grpc", "application/grpc+proto", with parameters or without. */
bool grpc_content_type_ok(const char *value);
