/* What the build embeds of the schema: the serialized FileDescriptorSet and a table of protobuf-c's descriptors.
 * Read by schema.c only; everyone else uses schema.h. */
#pragma once

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

extern const unsigned char lw_descriptor_set[];
extern const size_t lw_descriptor_set_size;

/* Every message of every file, map entries included, in no order. Full names are in ->name. */
extern const ProtobufCMessageDescriptor *const lw_message_descriptors[];
extern const size_t lw_message_descriptors_count;
