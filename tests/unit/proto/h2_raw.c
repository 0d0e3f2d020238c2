/* See h2_raw.h. */
#include "tests/unit/proto/h2_raw.h"

#include <criterion/criterion.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

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

/* All blocks in their order, since each may refer to those before it. */
static long block_status(nghttp2_hd_inflater *inflater, const struct frame *headers)
{
    const uint8_t *at = headers->payload, *end = at + headers->size;
    long status = -1;

    for (;;) {
        nghttp2_nv field;
        int flags = 0;
        ssize_t taken = nghttp2_hd_inflate_hd2(inflater, &field, &flags, at, (size_t)(end - at), 1);
        cr_assert_geq(taken, 0);
        at += taken;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) && field.namelen == strlen("grpc-status") &&
            memcmp(field.name, "grpc-status", field.namelen) == 0)
            status = strtol((const char *)field.value, NULL, 10);
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
    }
    nghttp2_hd_inflate_end_headers(inflater);
    return status;
}

long answer_status(uint32_t stream)
{
    const uint8_t *at = rig.side.out, *end = at + rig.side.out_size;
    nghttp2_hd_inflater *inflater;
    struct frame got;
    long status = -1;

    cr_assert_eq(nghttp2_hd_inflate_new(&inflater), 0);
    while (next_frame(&at, end, &got)) {
        if (got.type != HEADERS)
            continue;
        long said = block_status(inflater, &got);
        if (got.stream == stream && said >= 0)
            status = said;
    }
    nghttp2_hd_inflate_del(inflater);
    return status;
}
