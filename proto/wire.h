/*
 * protobuf's wire format, as far as it is read or written without protobuf-c: an image's content,
 * which is far too large to be copied, and the descriptions that server reflection hands out.
 */
#ifndef LAB_PROTO_WIRE_H
#define LAB_PROTO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

#define WIRE_VARINT_MAX 10

size_t wire_varint_size(uint64_t value);
/* Return what follows what they wrote. */
uint8_t *wire_put_varint(uint8_t *at, uint64_t value);
uint8_t *wire_put_tag(uint8_t *at, uint32_t field, enum wire_type type);
/* Tag and length of a field of bytes; the bytes themselves are the caller's. */
uint8_t *wire_put_bytes(uint8_t *at, uint32_t field, uint64_t size);

/* Walks the fields of a message that lies in one piece. */
struct wire_field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;       /* of a varint or fixed one */
    const uint8_t *bytes; /* WIRE_BYTES: points into the message */
    size_t size;
};
/* The next field, and *at moves behind it. 1; 0 at the end; -1: it is no such message. */
int wire_next(const uint8_t **at, const uint8_t *end, struct wire_field *field);

#endif
