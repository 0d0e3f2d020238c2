/* See h2_raw.h. */
#include "tests/unit/proto/h2_raw.h"

#include <stdlib.h>

struct server_rig rig;
struct bytes *in;

void raw_open(void)
{
    const struct h2_options options = server_options();
    server_open(&rig, &options, IMAGE_NESTED, true);
    in = calloc(1, sizeof(*in));
    put_preface(in);
}

void raw_close(void)
{
    server_close(&rig);
    free(in);
}

void feed(void)
{
    side_feed(&rig.side, in->data, in->size);
    in->size = 0;
}

void frame(uint8_t type, uint8_t flags, uint32_t stream, const char *payload, size_t size)
{
    put_frame(in, type, flags, stream, payload, size);
}

void open_stream(uint32_t stream)
{
    struct bytes *block = calloc(1, sizeof(*block));
    put_request_fields(block, LIST);
    put_frame(in, HEADERS, END_HEADERS, stream, block->data, block->size);
    free(block);
}
