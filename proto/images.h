/*
 * Images as the image stream carries them. A server's set holds, for each image, the message
 * around its content, made once: what goes out is head, the content where it lies, tail. A client
 * reads such messages as they come, in any pieces, and keeps no byte of the content: it is
 * digested while it passes.
 */
#ifndef LAB_PROTO_IMAGES_H
#define LAB_PROTO_IMAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/digest.h"
#include "proto/pictures.h"

enum image_contract { IMAGE_NESTED, IMAGE_FLAT };
extern const char *const image_contracts[]; /* as options spell them; NULL-terminated */

#define IMAGE_SERVICE      "image_service.ImageService"
#define IMAGE_PATH(method) "/" IMAGE_SERVICE "/" method

#define IMAGE_NAME_MOST    255u
#define IMAGE_FORMAT_MOST  15u
#define IMAGE_CONTENT_MOST 0x7fff0000u /* size_in_bytes is an int32, a message's length 32 bits */

struct image {
    struct picture picture; /* its texts are the set's, its bytes whose they were */
    uint64_t digest;
    uint8_t *head, *tail; /* the head begins with gRPC's prefix */
    uint32_t head_size, tail_size;
};

struct image_set {
    enum image_contract contract;
    struct image *list; /* sorted by name */
    unsigned count;
    uint64_t bytes; /* of all contents */
};

/* Pictures sorted by name, names unique, not empty and at most IMAGE_NAME_MOST, formats at most
 * IMAGE_FORMAT_MOST, contents not empty and at most IMAGE_CONTENT_MOST (asserted); contents must
 * stay. -ENOMEM leaves nothing behind. */
int images_open(struct image_set *set, enum image_contract contract, const struct picture *list,
                unsigned count);
void images_close(struct image_set *set); /* fine if zeroed */
/* Place of the name, or -1. hint: where it is looked for first; requests go round. */
int images_find(const struct image_set *set, const char *name, size_t name_size, unsigned hint);
/* Bytes of the message with its prefix, as they go out. */
static inline uint64_t image_wire_size(const struct image *image)
{
    return (uint64_t)image->head_size + image->picture.size + image->tail_size;
}

/* What an image's message said. */
struct image_reader {
    enum image_contract contract;
    bool sizes_only; /* contents are counted, and not digested */
    /* The message so far. */
    char name[IMAGE_NAME_MOST + 1];
    char format[IMAGE_FORMAT_MOST + 1];
    uint32_t name_size, format_size; /* in full, also where it did not fit */
    uint64_t size_in_bytes;          /* nested: as the message says */
    uint64_t content_size;
    struct digest digest;
    /* Where it stands. */
    enum {
        READ_TAG,
        READ_VARINT,
        READ_LENGTH,
        READ_BYTES,
    } state;
    enum { INTO_NOTHING, INTO_NAME, INTO_FORMAT, INTO_CONTENT } into;
    bool inside; /* nested: in the image's own message */
    uint32_t field;
    uint64_t value;
    unsigned shift;
    uint64_t left;        /* of the field's bytes */
    uint64_t inside_left; /* of the image's message */
};

void image_reader_begin(struct image_reader *reader, enum image_contract contract);
/* -EBADMSG: no such message. */
int image_reader_data(struct image_reader *reader, const uint8_t *data, size_t size);
int image_reader_end(struct image_reader *reader); /* -EBADMSG: it ended within a field */

#endif
