/*
 * Feeds bytes to the readers of gRPC's messages and of the images in them, whole and in pieces:
 * both ways must come to the same, and no way may look beyond what it was given.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/grpc.h"
#include "proto/images.h"
#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct heard {
    struct image_reader image;
    enum image_contract contract;
    uint64_t messages, bytes, sum;
    int end;
};

static int hear_message(void *context, bool compressed, uint32_t size)
{
    struct heard *heard = context;
    heard->messages++;
    image_reader_begin(&heard->image, heard->contract);
    return 0;
}

static int hear_data(void *context, const uint8_t *data, size_t size)
{
    struct heard *heard = context;
    heard->bytes += size;
    return image_reader_data(&heard->image, data, size);
}

static int hear_end(void *context)
{
    struct heard *heard = context;
    heard->sum += digest_end(&heard->image.digest) + heard->image.content_size +
                  heard->image.name_size + heard->image.size_in_bytes;
    return image_reader_end(&heard->image);
}

static const struct grpc_reader_events hear = {hear_message, hear_data, hear_end};

static struct heard read_in(const uint8_t *data, size_t size, size_t piece,
                            enum image_contract contract)
{
    struct heard heard = {.contract = contract};
    struct grpc_reader reader;

    grpc_reader_begin(&reader);
    for (size_t at = 0; at < size && heard.end == 0; at += piece)
        heard.end = grpc_reader_read(&reader, &hear, &heard, data + at,
                                     piece < size - at ? piece : size - at);
    return heard;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_field field;
    const uint8_t *at = data;
    char text[64];
    uint64_t ns;
    unsigned status;

    if (size < 1)
        return 0;
    size_t piece = 1 + data[0] % 61;
    enum image_contract contract = data[0] & 0x80 ? IMAGE_FLAT : IMAGE_NESTED;
    data++;
    size--;
    struct heard whole = read_in(data, size, size == 0 ? 1 : size, contract);
    struct heard pieces = read_in(data, size, piece, contract);
    if (whole.end != pieces.end || whole.messages != pieces.messages || whole.sum != pieces.sum)
        abort();
    at = data;
    while (wire_next(&at, data + size, &field) == 1)
        ;
    grpc_timeout_parse(data, size, &ns);
    grpc_status_parse(data, size, &status);
    grpc_message_decode(data, size, text, sizeof(text));
    return 0;
}
