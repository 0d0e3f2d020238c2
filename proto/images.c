/* See images.h. */
#include "proto/images.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/grpc.h"
#include "proto/wire.h"

const char *const image_contracts[] = {"nested", "flat", NULL};

/* Field numbers: of the nested contract's image, and of the flat one's answer. */
static const struct image_fields {
    uint32_t name, content, format, size;
} fields_of[] = {
    [IMAGE_NESTED] = {.name = 1, .content = 2, .format = 3, .size = 4},
    [IMAGE_FLAT] = {.name = 1, .content = 3, .format = 2, .size = 0},
};
#define IMAGE_FIELD 1u /* nested: the image in its answer */

/* --- sets --- */

static uint8_t *put_text(uint8_t *at, uint32_t field, const char *text)
{
    size_t size = strlen(text);

    if (size == 0)
        return at;
    at = wire_put_bytes(at, field, size);
    memcpy(at, text, size);
    return at + size;
}

/* Fields in the order of their numbers, as every encoder writes them. */
static void image_encode(struct image *image, enum image_contract contract)
{
    const struct image_fields *fields = &fields_of[contract];
    const struct picture *picture = &image->picture;
    uint8_t before[IMAGE_NAME_MOST + 64], after[IMAGE_FORMAT_MOST + 64], around[16];
    uint8_t *b = before, *a = after, *r = around;

    b = put_text(b, fields->name, picture->name);
    if (fields->format < fields->content)
        b = put_text(b, fields->format, picture->format);
    b = wire_put_bytes(b, fields->content, picture->size);
    if (fields->format > fields->content)
        a = put_text(a, fields->format, picture->format);
    if (fields->size != 0)
        a = wire_put_varint(wire_put_tag(a, fields->size, WIRE_VARINT), picture->size);
    size_t before_size = (size_t)(b - before), after_size = (size_t)(a - after);
    size_t message = before_size + picture->size + after_size;
    if (contract == IMAGE_NESTED)
        r = wire_put_bytes(r, IMAGE_FIELD, message);
    size_t around_size = (size_t)(r - around);
    uint8_t *at = grpc_put_prefix(image->head, (uint32_t)(around_size + message));
    memcpy(at, around, around_size);
    memcpy(at + around_size, before, before_size);
    image->head_size = (uint32_t)(GRPC_PREFIX_BYTES + around_size + before_size);
    memcpy(image->tail, after, after_size);
    image->tail_size = (uint32_t)after_size;
}

static int image_open(struct image *image, enum image_contract contract,
                      const struct picture *picture)
{
    assert(picture->name[0] != '\0' && strlen(picture->name) <= IMAGE_NAME_MOST &&
           strlen(picture->format) <= IMAGE_FORMAT_MOST && picture->size > 0 &&
           picture->size <= IMAGE_CONTENT_MOST);
    image->picture = *picture;
    image->picture.name = strdup(picture->name);
    image->picture.format = strdup(picture->format);
    image->head = malloc(IMAGE_NAME_MOST + IMAGE_FORMAT_MOST + 64);
    image->tail = malloc(IMAGE_FORMAT_MOST + 64);
    if (image->picture.name == NULL || image->picture.format == NULL || image->head == NULL ||
        image->tail == NULL)
        return -ENOMEM;
    image->digest = digest_of(picture->bytes, picture->size);
    image_encode(image, contract);
    return 0;
}

int images_open(struct image_set *set, enum image_contract contract, const struct picture *list,
                unsigned count)
{
    *set = (struct image_set){.contract = contract, .list = calloc(count + 1, sizeof(*set->list))};
    if (set->list == NULL)
        return -ENOMEM;
    for (; set->count < count; set->count++) {
        struct image *image = &set->list[set->count];
        if (image_open(image, contract, &list[set->count]) < 0) {
            set->count++;
            images_close(set);
            return -ENOMEM;
        }
        set->bytes += image->picture.size;
    }
    return 0;
}

void images_close(struct image_set *set)
{
    for (unsigned i = 0; i < set->count; i++) {
        free((char *)set->list[i].picture.name);
        free((char *)set->list[i].picture.format);
        free(set->list[i].head);
        free(set->list[i].tail);
    }
    free(set->list);
    *set = (struct image_set){0};
}

static int name_compare(const char *name, size_t name_size, const char *with)
{
    int r = strncmp(name, with, name_size);
    return r != 0 ? r : with[name_size] == '\0' ? 0 : -1;
}

int images_find(const struct image_set *set, const char *name, size_t name_size, unsigned hint)
{
    unsigned low = 0, high = set->count;

    if (hint < set->count && name_compare(name, name_size, set->list[hint].picture.name) == 0)
        return (int)hint;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        int r = name_compare(name, name_size, set->list[middle].picture.name);
        if (r == 0)
            return (int)middle;
        if (r < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

/* --- the reader --- */

void image_reader_begin(struct image_reader *reader, enum image_contract contract)
{
    reader->contract = contract;
    reader->sizes_only = false;
    reader->name_size = reader->format_size = 0;
    reader->name[0] = reader->format[0] = '\0';
    reader->size_in_bytes = reader->content_size = 0;
    digest_begin(&reader->digest);
    reader->state = READ_TAG;
    reader->inside = false;
    reader->value = 0;
    reader->shift = 0;
}

/* Is it a field of the image, where it stands? */
static bool reader_knows(const struct image_reader *reader)
{
    return reader->contract == IMAGE_FLAT || reader->inside;
}

/* A field of bytes begins: where they go. */
static int reader_bytes(struct image_reader *reader)
{
    const struct image_fields *fields = &fields_of[reader->contract];

    if (reader->inside && reader->value > reader->inside_left)
        return -EBADMSG;
    reader->left = reader->value;
    reader->state = READ_BYTES;
    reader->into = INTO_NOTHING;
    if (!reader_knows(reader)) {
        if (reader->field == IMAGE_FIELD) {
            reader->inside = true;
            reader->inside_left = reader->value;
            reader->state = READ_TAG;
        }
    } else if (reader->field == fields->name) {
        reader->into = INTO_NAME;
        reader->name_size = 0;
    } else if (reader->field == fields->format) {
        reader->into = INTO_FORMAT;
        reader->format_size = 0;
    } else if (reader->field == fields->content) {
        reader->into = INTO_CONTENT;
        reader->content_size = 0;
        digest_begin(&reader->digest);
    }
    return 0;
}

static int reader_tag(struct image_reader *reader)
{
    reader->field = (uint32_t)(reader->value >> 3);
    reader->into = INTO_NOTHING;
    if (reader->value >> 3 == 0 || reader->value >> 3 > 0x1fffffff)
        return -EBADMSG;
    switch (reader->value & 7) {
    case WIRE_VARINT: reader->state = READ_VARINT; return 0;
    case WIRE_BYTES: reader->state = READ_LENGTH; return 0;
    case WIRE_FIXED64: reader->left = 8; break;
    case WIRE_FIXED32: reader->left = 4; break;
    default: return -EBADMSG;
    }
    reader->state = READ_BYTES;
    return reader->inside && reader->left > reader->inside_left ? -EBADMSG : 0;
}

/* A varint is whole: what it was decides what comes. */
static int reader_value(struct image_reader *reader)
{
    int r = 0;

    switch (reader->state) {
    case READ_TAG: r = reader_tag(reader); break;
    case READ_LENGTH: r = reader_bytes(reader); break;
    default:
        if (reader_knows(reader) && reader->field == fields_of[reader->contract].size)
            reader->size_in_bytes = reader->value;
        reader->state = READ_TAG;
    }
    reader->value = 0;
    reader->shift = 0;
    return r;
}

static void reader_text(char *text, uint32_t *text_size, size_t most, const uint8_t *data,
                        size_t size)
{
    size_t room = *text_size < most ? most - *text_size : 0;
    size_t fits = size < room ? size : room;

    memcpy(text + (*text_size < most ? *text_size : most), data, fits);
    *text_size += (uint32_t)size;
    text[*text_size < most ? *text_size : most] = '\0';
}

static void reader_take(struct image_reader *reader, const uint8_t *data, size_t size)
{
    switch (reader->into) {
    case INTO_NAME:
        reader_text(reader->name, &reader->name_size, IMAGE_NAME_MOST, data, size);
        break;
    case INTO_FORMAT:
        reader_text(reader->format, &reader->format_size, IMAGE_FORMAT_MOST, data, size);
        break;
    case INTO_CONTENT:
        if (!reader->sizes_only)
            digest_add(&reader->digest, data, size);
        reader->content_size += size;
        break;
    case INTO_NOTHING: break;
    }
    reader->left -= size;
}

/* After each step: a field of no bytes more is over, and so may be the image's message. */
static void reader_settle(struct image_reader *reader)
{
    if (reader->state == READ_BYTES && reader->left == 0)
        reader->state = READ_TAG;
    if (reader->inside && reader->inside_left == 0 && reader->state == READ_TAG &&
        reader->shift == 0)
        reader->inside = false;
}

int image_reader_data(struct image_reader *reader, const uint8_t *data, size_t size)
{
    while (size > 0) {
        size_t piece = 1;
        if (reader->state == READ_BYTES)
            piece = reader->left < size ? (size_t)reader->left : size;
        if (reader->inside) {
            if (reader->inside_left < piece)
                return -EBADMSG;
            reader->inside_left -= piece;
        }
        if (reader->state == READ_BYTES) {
            reader_take(reader, data, piece);
        } else {
            reader->value |= (uint64_t)(*data & 0x7f) << reader->shift;
            reader->shift += 7;
            if (*data < 0x80) {
                int r = reader_value(reader);
                if (r < 0)
                    return r;
            } else if (reader->shift >= 7 * WIRE_VARINT_MAX) {
                return -EBADMSG;
            }
        }
        reader_settle(reader);
        data += piece;
        size -= piece;
    }
    return 0;
}

int image_reader_end(struct image_reader *reader)
{
    return reader->state != READ_TAG || reader->shift != 0 || reader->inside ? -EBADMSG : 0;
}
