/*
 * The descriptions of the services as protoc made them while lab was built,
 * for server reflection: a FileDescriptorProto each, serialised.
 */
#ifndef LAB_PROTO_DESCRIPTORS_H
#define LAB_PROTO_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct descriptor {
    const char *file; /* as it is named in it */
    const uint8_t *bytes;
    size_t size;
};

/* flat: the image service by the flat contract. NULL: there is no such file, no such symbol (with
 * its package: a service, a method, a message, an enum). */
const struct descriptor *descriptor_of_file(const char *name, bool flat);
const struct descriptor *descriptor_of_symbol(const char *symbol, bool flat);
/* By place; NULL at the end. */
const struct descriptor *descriptor_at(unsigned index, bool flat);

#endif
