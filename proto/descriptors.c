/* See descriptors.h. */
#include "proto/descriptors.h"

#include <string.h>

#include "proto/descriptor_bytes.h"
#include "proto/wire.h"

/* Of descriptor.proto, the field numbers that are looked at. */
enum {
    SET_FILE = 1,
    FILE_NAME = 1,
    FILE_PACKAGE = 2,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    ANY_NAME = 1,
    SERVICE_METHOD = 2,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
};

static const struct descriptor_set {
    const char *file;
    const uint8_t *bytes;
    size_t size;
    bool nested, flat; /* served with these contracts */
} sets[] = {
    {"proto/image_service.proto", nested_set, sizeof(nested_set), true, false},
    {"proto/image_service_flat.proto", flat_set, sizeof(flat_set), false, true},
    {"proto/health.proto", health_set, sizeof(health_set), true, true},
    {"proto/reflection_v1.proto", reflection_v1_set, sizeof(reflection_v1_set), true, true},
    {"proto/reflection_v1alpha.proto", reflection_v1alpha_set, sizeof(reflection_v1alpha_set), true,
     true},
};
#define SETS (sizeof(sets) / sizeof(*sets))

/* A set of one file, since none of them imports another: the file in it. */
static const struct descriptor *descriptor_of_set(unsigned index)
{
    static _Thread_local struct descriptor found;
    const uint8_t *at = sets[index].bytes;
    struct wire_field field;

    if (wire_next(&at, at + sets[index].size, &field) != 1 || field.number != SET_FILE)
        return NULL;
    found = (struct descriptor){sets[index].file, field.bytes, field.size};
    return &found;
}

const struct descriptor *descriptor_at(unsigned index, bool flat)
{
    for (unsigned i = 0; i < SETS; i++)
        if ((flat ? sets[i].flat : sets[i].nested) && index-- == 0)
            return descriptor_of_set(i);
    return NULL;
}

const struct descriptor *descriptor_of_file(const char *name, bool flat)
{
    const struct descriptor *found;

    for (unsigned i = 0; (found = descriptor_at(i, flat)) != NULL; i++)
        if (strcmp(found->file, name) == 0)
            return found;
    return NULL;
}

/* Eats `name` and a dot, or all, of *symbol. */
static bool symbol_takes(const char **symbol, const uint8_t *name, size_t size)
{
    if (strncmp(*symbol, (const char *)name, size) != 0)
        return false;
    if ((*symbol)[size] == '.')
        *symbol += size + 1;
    else if ((*symbol)[size] == '\0')
        *symbol += size;
    else
        return false;
    return true;
}

/* The field's first value, of type bytes. */
static bool find_bytes(const uint8_t *at, size_t size, uint32_t number, struct wire_field *field)
{
    const uint8_t *end = at + size;

    while (wire_next(&at, end, field) == 1)
        if (field->number == number && field->type == WIRE_BYTES)
            return true;
    return false;
}

/* Is the symbol that of this message, enum or service, or of something within it? */
static bool thing_has(const struct wire_field *thing, const char *symbol, bool service)
{
    struct wire_field name, field;
    const uint8_t *at = thing->bytes, *end = at + thing->size;

    if (!find_bytes(thing->bytes, thing->size, ANY_NAME, &name) ||
        !symbol_takes(&symbol, name.bytes, name.size))
        return false;
    if (*symbol == '\0')
        return true;
    while (wire_next(&at, end, &field) == 1) {
        bool inner = service ? field.number == SERVICE_METHOD
                             : field.number == MESSAGE_NESTED || field.number == MESSAGE_ENUM;
        if (inner && field.type == WIRE_BYTES && thing_has(&field, symbol, false))
            return true;
    }
    return false;
}

static bool file_has(const struct descriptor *file, const char *symbol)
{
    const uint8_t *at = file->bytes, *end = at + file->size;
    struct wire_field field;

    if (!find_bytes(file->bytes, file->size, FILE_PACKAGE, &field) ||
        !symbol_takes(&symbol, field.bytes, field.size))
        return false;
    while (wire_next(&at, end, &field) == 1)
        if ((field.number == FILE_MESSAGE || field.number == FILE_ENUM ||
             field.number == FILE_SERVICE) &&
            field.type == WIRE_BYTES && thing_has(&field, symbol, field.number == FILE_SERVICE))
            return true;
    return false;
}

const struct descriptor *descriptor_of_symbol(const char *symbol, bool flat)
{
    const struct descriptor *found;

    for (unsigned i = 0; (found = descriptor_at(i, flat)) != NULL; i++)
        if (file_has(found, symbol))
            return found;
    return NULL;
}
