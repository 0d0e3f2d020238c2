/* See wire.h. */
#include "proto/wire.h"

#include <string.h>

size_t wire_varint_size(uint64_t value)
{
    size_t size = 1;

    for (; value >= 0x80; value >>= 7)
        size++;
    return size;
}

uint8_t *wire_put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

uint8_t *wire_put_tag(uint8_t *at, uint32_t field, enum wire_type type)
{
    return wire_put_varint(at, (uint64_t)field << 3 | type);
}

uint8_t *wire_put_bytes(uint8_t *at, uint32_t field, uint64_t size)
{
    return wire_put_varint(wire_put_tag(at, field, WIRE_BYTES), size);
}

static bool wire_get_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < WIRE_VARINT_MAX && *at < end; i++) {
        uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* Little endian, of so many bytes. */
static bool wire_get_fixed(const uint8_t **at, const uint8_t *end, size_t size, uint64_t *value)
{
    if ((size_t)(end - *at) < size)
        return false;
    *value = 0;
    for (size_t i = 0; i < size; i++)
        *value |= (uint64_t)(*at)[i] << (8 * i);
    *at += size;
    return true;
}

int wire_next(const uint8_t **at, const uint8_t *end, struct wire_field *field)
{
    uint64_t tag;

    if (*at == end)
        return 0;
    if (!wire_get_varint(at, end, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return -1;
    field->number = (uint32_t)(tag >> 3);
    field->type = (enum wire_type)(tag & 7);
    field->bytes = NULL;
    field->size = 0;
    switch (field->type) {
    case WIRE_VARINT: return wire_get_varint(at, end, &field->value) ? 1 : -1;
    case WIRE_FIXED64: return wire_get_fixed(at, end, 8, &field->value) ? 1 : -1;
    case WIRE_FIXED32: return wire_get_fixed(at, end, 4, &field->value) ? 1 : -1;
    case WIRE_BYTES:
        if (!wire_get_varint(at, end, &field->value) || field->value > (size_t)(end - *at))
            return -1;
        field->bytes = *at;
        field->size = (size_t)field->value;
        *at += field->size;
        return 1;
    default: return -1; /* groups are not of proto3 */
    }
}
