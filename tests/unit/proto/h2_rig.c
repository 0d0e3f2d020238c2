/* See h2_rig.h. */
#include "tests/unit/proto/h2_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void keep(struct buf *buf)
{
}

void side_open(struct side *side, const struct proto_ops *ops, void *state)
{
    *side = (struct side){.ops = ops, .state = state, .now_ns = 1000000000, .next_ns = PROTO_NEVER};
    side_time(side, side->now_ns);
}

static void side_result(struct side *side, int result)
{
    if (result < 0)
        side->err = result;
    else if (result & PROTO_CLOSE)
        side->closed = true;
}

static void side_tick(struct side *side)
{
    side->next_ns = PROTO_NEVER;
    side_result(side, side->ops->tick(side->state, side->now_ns, &side->next_ns));
}

static void side_take(struct side *side, const struct proto_output *out, unsigned count)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < count; i++) {
        size_t size = (size_t)out->segs[i].size;
        if (side->out_size + size > side->out_room) {
            side->out_room = (side->out_size + size) * 2;
            side->out = realloc(side->out, side->out_room);
        }
        memcpy(side->out + side->out_size, out->segs[i].data, size);
        side->out_size += size;
        bytes += size;
    }
    side->outputs++;
    side->segs += count;
    side->most_bytes = bytes > side->most_bytes ? bytes : side->most_bytes;
    if (out->cookie == 0)
        return;
    if (side->hold && side->held_count < 64)
        side->held[side->held_count++] = out->cookie;
    else
        side->ops->sent(side->state, out->cookie, PROTO_SENT | PROTO_RELEASED);
}

void side_pull(struct side *side)
{
    struct seg segs[64];

    while (side->err == 0 && !side->closed) {
        struct proto_output out = {.segs = segs, .max = 64, .budget = 4u << 20};
        int r = side->ops->output(side->state, &out);
        if (r < 0) {
            side->err = r;
            return;
        }
        cr_assert_leq(r, 64);
        if (r > 0)
            side_take(side, &out, (unsigned)r);
        if (out.time)
            side_tick(side);
        if (out.close)
            side->closed = true;
        if (r == 0 || out.last)
            return;
    }
}

void side_feed(struct side *side, const uint8_t *data, size_t size)
{
    struct buf buf = {.data = (uint8_t *)data, .size = (uint32_t)size, .refs = 1, .release = keep};

    if (side->err != 0 || side->closed)
        return;
    if (side->time_before)
        side_tick(side);
    int r = side->ops->input(side->state, &buf);
    side->time_before = r > 0 && (r & PROTO_TIME_BEFORE);
    side_result(side, r);
    if (r > 0 && (r & PROTO_TIME))
        side_tick(side);
    side_pull(side);
}

void side_time(struct side *side, uint64_t now_ns)
{
    side->now_ns = now_ns;
    if (side->err == 0 && !side->closed) {
        side_tick(side);
        side_pull(side);
    }
}

void side_release(struct side *side)
{
    for (unsigned i = 0; i < side->held_count; i++)
        side->ops->sent(side->state, side->held[i], PROTO_SENT | PROTO_RELEASED);
    side->held_count = 0;
}

void side_close(struct side *side)
{
    side_release(side);
    free(side->out);
    side->out = NULL;
}

static bool side_say(struct side *from, struct side *to, size_t piece)
{
    uint8_t *said = from->out;
    size_t size = from->out_size;

    if (size == 0)
        return false;
    from->out = NULL;
    from->out_size = from->out_room = 0;
    for (size_t at = 0; at < size;) {
        size_t take = piece == 0 || piece > size - at ? size - at : piece;
        side_feed(to, said + at, take);
        at += take;
    }
    free(said);
    return true;
}

void sides_talk(struct side *a, struct side *b, size_t piece)
{
    side_pull(a);
    side_pull(b);
    for (bool any = true; any;) {
        any = side_say(a, b, piece);
        any |= side_say(b, a, piece);
    }
}

/* --- a server --- */

struct h2_options server_options(void)
{
    return (struct h2_options){
        .server = true,
        .window_bytes = 65535,
        .window_most = 65535,
        .frame_bytes = 1u << 20,
        .streams_max = 100,
        .header_bytes = 8192,
        .continuations = 8,
        .resets_per_s = 50,
        .controls_per_s = 50,
        .handshake_ns = 10000000000,
        .keepalive_ns = 60000000000,
        .keepalive_timeout_ns = 20000000000,
        .stall_ns = 30000000000,
        .request_ns = 10000000000,
    };
}

const struct grpc_limits server_limits = {.message_bytes = 65536, .replies_bytes = 65536};

void server_open(struct server_rig *rig, const struct h2_options *options,
                 enum image_contract contract, bool not_found)
{
    memset(rig, 0, sizeof(*rig));
    cr_assert_eq(images_open(&rig->set, contract, pictures, pictures_count), 0);
    cr_assert_eq(meter_open(&rig->meter, image_server_metrics), 0);
    cr_assert_eq(
        image_worker_open(&rig->worker, options, &server_limits, &rig->set, not_found, &rig->meter),
        0);
    grpc_server_open(&rig->server, &rig->worker.grpc);
    side_open(&rig->side, &grpc_server_proto, &rig->server);
}

void server_close(struct server_rig *rig)
{
    side_close(&rig->side);
    grpc_server_reset(&rig->server);
    image_worker_close(&rig->worker);
    meter_close(&rig->meter);
    images_close(&rig->set);
}

uint64_t server_count(const struct server_rig *rig, unsigned row)
{
    return counter_read(&rig->meter.counters[row]);
}

/* --- raw frames --- */

void put_raw(struct bytes *b, const void *data, size_t size)
{
    cr_assert_leq(b->size + size, sizeof(b->data));
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

void put_frame(struct bytes *b, uint8_t type, uint8_t flags, uint32_t stream, const void *payload,
               size_t size)
{
    const uint8_t head[9] = {
        (uint8_t)(size >> 16),
        (uint8_t)(size >> 8),
        (uint8_t)size,
        type,
        flags,
        (uint8_t)(stream >> 24),
        (uint8_t)(stream >> 16),
        (uint8_t)(stream >> 8),
        (uint8_t)stream,
    };
    put_raw(b, head, sizeof(head));
    put_raw(b, payload, size);
}

void put_preface(struct bytes *b)
{
    put_raw(b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    put_frame(b, 4, 0, 0, "", 0);
}

static void put_text(struct bytes *b, const char *text)
{
    size_t size = strlen(text);
    uint8_t prefix[4] = {(uint8_t)size};

    if (size < 127) {
        put_raw(b, prefix, 1);
    } else {
        size_t rest = size - 127, n = 0;
        prefix[n++] = 127;
        for (; rest >= 128; rest >>= 7)
            prefix[n++] = (uint8_t)(rest | 128);
        prefix[n++] = (uint8_t)rest;
        put_raw(b, prefix, n);
    }
    put_raw(b, text, size);
}

void put_field(struct bytes *b, const char *name, const char *value)
{
    put_raw(b, "\0", 1);
    put_text(b, name);
    put_text(b, value);
}

void put_request_fields(struct bytes *b, const char *path)
{
    put_field(b, ":method", "POST");
    put_field(b, ":scheme", "http");
    put_field(b, ":path", path);
    put_field(b, ":authority", "test");
    put_field(b, "content-type", "application/grpc");
    put_field(b, "te", "trailers");
}

void put_request(struct bytes *b, uint32_t stream, const char *path)
{
    struct bytes *block = calloc(1, sizeof(*block));

    put_request_fields(block, path);
    put_frame(b, 1, 4, stream, block->data, block->size);
    put_frame(b, 0, 1, stream, "\0\0\0\0\0", 5);
    free(block);
}

bool next_frame(const uint8_t **at, const uint8_t *end, struct frame *frame)
{
    const uint8_t *p = *at;

    if (end - p < 9)
        return false;
    frame->size = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
    frame->type = p[3];
    frame->flags = p[4];
    frame->stream = (uint32_t)p[5] << 24 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8];
    frame->payload = p + 9;
    cr_assert_leq(frame->size, (size_t)(end - p) - 9, "a whole frame");
    *at = p + 9 + frame->size;
    return true;
}

static long code_at(const uint8_t *p)
{
    return (long)((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]);
}

long last_goaway(const struct side *side)
{
    const uint8_t *at = side->out, *end = at + side->out_size;
    struct frame frame;
    long code = -1;

    while (next_frame(&at, end, &frame))
        if (frame.type == 7)
            code = code_at(frame.payload + 4);
    return code;
}

long last_reset(const struct side *side, uint32_t *stream)
{
    const uint8_t *at = side->out, *end = at + side->out_size;
    struct frame frame;
    long code = -1;

    while (next_frame(&at, end, &frame)) {
        if (frame.type != 3)
            continue;
        code = code_at(frame.payload);
        if (stream != NULL)
            *stream = frame.stream;
    }
    return code;
}

unsigned count_frames(const struct side *side, uint8_t type)
{
    const uint8_t *at = side->out, *end = at + side->out_size;
    struct frame frame;
    unsigned count = 0;

    while (next_frame(&at, end, &frame))
        count += frame.type == type;
    return count;
}
