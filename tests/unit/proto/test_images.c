/* Images on the wire: as protobuf-c has them, both ways; and everything that is none. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "proto/grpc.h"
#include "proto/image_flat.pb-c.h"
#include "proto/image_service.pb-c.h"
#include "proto/images.h"

enum { CONTENT = 1000 };
static uint8_t content[CONTENT];

static const struct picture list[] = {
    {"a much longer name than others have, with blanks.png", "png", content, 1},
    {"a.jpg", "jpg", content, CONTENT},
    {"bare", "", content, 200},
};
#define LIST (sizeof(list) / sizeof(*list))

static void fill(void)
{
    for (size_t i = 0; i < CONTENT; i++)
        content[i] = (uint8_t)(i * 7 + i / 256);
}

/* As it goes out: head, content, tail. */
static size_t wire_of(const struct image *image, uint8_t *out)
{
    memcpy(out, image->head, image->head_size);
    memcpy(out + image->head_size, image->picture.bytes, image->picture.size);
    memcpy(out + image->head_size + image->picture.size, image->tail, image->tail_size);
    return (size_t)image_wire_size(image);
}

/* As protobuf-c writes it. */
static size_t reference_of(const struct picture *picture, enum image_contract contract,
                           uint8_t *out)
{
    ProtobufCBinaryData bytes = {picture->size, (uint8_t *)picture->bytes};

    if (contract == IMAGE_FLAT) {
        ImageFlat__StreamImageResponse flat = IMAGE_FLAT__STREAM_IMAGE_RESPONSE__INIT;
        flat.name = (char *)picture->name;
        flat.format = (char *)picture->format;
        flat.content = bytes;
        size_t size = image_flat__stream_image_response__get_packed_size(&flat);
        return GRPC_PREFIX_BYTES +
               image_flat__stream_image_response__pack(&flat, grpc_put_prefix(out, (uint32_t)size));
    }
    ImageService__Image image = IMAGE_SERVICE__IMAGE__INIT;
    ImageService__StreamImagesResponse nested = IMAGE_SERVICE__STREAM_IMAGES_RESPONSE__INIT;
    image.name = (char *)picture->name;
    image.format = (char *)picture->format;
    image.content = bytes;
    image.size_in_bytes = (int32_t)picture->size;
    nested.image = &image;
    size_t size = image_service__stream_images_response__get_packed_size(&nested);
    return GRPC_PREFIX_BYTES + image_service__stream_images_response__pack(
                                   &nested, grpc_put_prefix(out, (uint32_t)size));
}

Test(images, go_out_as_protobuf_has_them, .timeout = 10)
{
    uint8_t ours[2 * CONTENT], theirs[2 * CONTENT];

    fill();
    for (int contract = IMAGE_NESTED; contract <= IMAGE_FLAT; contract++) {
        struct image_set set;
        cr_assert_eq(images_open(&set, (enum image_contract)contract, list, LIST), 0);
        for (unsigned i = 0; i < LIST; i++) {
            size_t size = wire_of(&set.list[i], ours);
            cr_assert_eq(size, reference_of(&list[i], (enum image_contract)contract, theirs));
            cr_assert_arr_eq(ours, theirs, size, "%s %s", image_contracts[contract], list[i].name);
        }
        images_close(&set);
    }
}

static void read_and_check(struct image_reader *reader, const uint8_t *data, size_t size,
                           size_t piece, const struct picture *picture,
                           enum image_contract contract)
{
    image_reader_begin(reader, contract);
    for (size_t at = 0; at < size; at += piece)
        cr_assert_eq(image_reader_data(reader, data + at, piece < size - at ? piece : size - at),
                     0);
    cr_assert_eq(image_reader_end(reader), 0);
    cr_assert_str_eq(reader->name, picture->name);
    cr_assert_str_eq(reader->format, picture->format);
    cr_assert_eq(reader->content_size, picture->size);
    cr_assert_eq(digest_end(&reader->digest), digest_of(picture->bytes, picture->size));
    cr_assert(contract == IMAGE_FLAT || reader->size_in_bytes == picture->size);
}

Test(images, are_read_in_any_pieces, .timeout = 20)
{
    uint8_t data[2 * CONTENT];
    struct image_reader reader;

    fill();
    for (int contract = IMAGE_NESTED; contract <= IMAGE_FLAT; contract++)
        for (unsigned i = 0; i < LIST; i++) {
            size_t size = reference_of(&list[i], (enum image_contract)contract, data);
            for (size_t piece = 1; piece < size; piece += 1 + piece / 3)
                read_and_check(&reader, data + GRPC_PREFIX_BYTES, size - GRPC_PREFIX_BYTES, piece,
                               &list[i], (enum image_contract)contract);
        }
}

Test(images, fields_may_come_in_any_order_and_others_are_left_out, .timeout = 10)
{
    /* format, an unknown varint, size, content, an unknown fixed32, name */
    static const uint8_t image[] = "\x1a\3jpg\x50\x96\1\x20\2\x12\2xy\x5d\1\2\3\4\x0a\1n";
    uint8_t data[100] = {0x0a, sizeof(image) - 1};
    struct image_reader reader;

    memcpy(data + 2, image, sizeof(image) - 1);
    size_t size = 2 + sizeof(image) - 1;
    image_reader_begin(&reader, IMAGE_NESTED);
    cr_assert_eq(image_reader_data(&reader, data, size), 0);
    cr_assert_eq(image_reader_end(&reader), 0);
    cr_assert_str_eq(reader.name, "n");
    cr_assert_str_eq(reader.format, "jpg");
    cr_assert_eq(reader.content_size, 2);
    cr_assert_eq(reader.size_in_bytes, 2);
    cr_assert_eq(digest_end(&reader.digest), digest_of((const uint8_t *)"xy", 2));
}

Test(images, no_truncation_passes_for_an_image, .timeout = 20)
{
    uint8_t data[2 * CONTENT];
    struct image_reader reader;

    fill();
    size_t size = reference_of(&list[1], IMAGE_NESTED, data) - GRPC_PREFIX_BYTES;
    for (size_t cut = 1; cut < size; cut++) {
        image_reader_begin(&reader, IMAGE_NESTED);
        int r = image_reader_data(&reader, data + GRPC_PREFIX_BYTES, cut);
        cr_assert_eq(r < 0 ? r : image_reader_end(&reader), -EBADMSG, "%zu of %zu", cut, size);
    }
}

/* Whatever comes, it ends, and says -EBADMSG or nothing. */
Test(images, noise_is_refused_or_harmless, .timeout = 20)
{
    uint8_t data[300];
    struct image_reader reader;
    struct rng rng;

    rng_seed(&rng, 11);
    for (unsigned n = 0; n < 50000; n++) {
        size_t size = rng_below(&rng, sizeof(data));
        for (size_t i = 0; i < size; i++)
            data[i] = rng_below(&rng, 3) == 0 ? (uint8_t)rng_next(&rng) : (uint8_t)(8 + i % 4);
        image_reader_begin(&reader, n % 2 ? IMAGE_NESTED : IMAGE_FLAT);
        int r = image_reader_data(&reader, data, size);
        cr_assert(r == 0 || r == -EBADMSG);
    }
}

Test(images, names_are_found_wherever_one_looks_first, .timeout = 10)
{
    struct image_set set;

    cr_assert_eq(images_open(&set, IMAGE_NESTED, list, LIST), 0);
    for (unsigned hint = 0; hint <= LIST + 1; hint++) {
        for (unsigned i = 0; i < LIST; i++)
            cr_assert_eq(images_find(&set, list[i].name, strlen(list[i].name), hint), (int)i);
        cr_assert_eq(images_find(&set, "a", 1, hint), -1);
        cr_assert_eq(images_find(&set, "zzz", 3, hint), -1);
        cr_assert_eq(images_find(&set, "", 0, hint), -1);
    }
    images_close(&set);
}
