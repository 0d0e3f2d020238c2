/*
 * Feeds bytes to a server's session as a client would send them. The first byte says into what
 * pieces they are cut and whether the preface goes before them. Whatever comes, the session ends
 * or goes on, holds no more than its limits allow, and gives all memory back.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/image_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY_MOST (16u << 20)

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";

static const struct grpc_limits limits = {.message_bytes = 65536, .replies_bytes = 65536};
static const struct h2_options options = {
    .server = true,
    .window_bytes = 65535,
    .window_most = 65535,
    .frame_bytes = 1u << 20,
    .streams_max = 20,
    .header_bytes = 8192,
    .continuations = 8,
    .resets_per_s = 50,
    .controls_per_s = 100,
    .handshake_ns = 10,
    .keepalive_ns = 60,
    .keepalive_timeout_ns = 20,
    .stall_ns = 30,
};

static void keep(struct buf *buf)
{
}

/* Takes what is to be sent. False: the connection ends. */
static bool pull(struct grpc_server *server)
{
    struct seg segs[64];

    for (unsigned i = 0; i < 1000; i++) {
        struct proto_output out = {.segs = segs, .max = 64, .budget = 1u << 20};
        int r = grpc_server_proto.output(server, &out);
        for (int k = 0; k < r; k++)
            if (segs[k].size == 0 || segs[k].data == NULL)
                abort();
        if (r > 0)
            grpc_server_proto.sent(server, out.cookie, PROTO_SENT | PROTO_RELEASED);
        if (r < 0 || out.close)
            return false;
        if (r == 0 || out.last)
            break;
    }
    return true;
}

static bool feed(struct grpc_server *server, const uint8_t *data, size_t size)
{
    struct buf buf = {.data = (uint8_t *)data, .size = (uint32_t)size, .refs = 1, .release = keep};
    return grpc_server_proto.input(server, &buf) >= 0 && pull(server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_worker worker;
    struct grpc_server server;
    struct image_set set;
    struct meter meter;
    uint64_t next_ns = PROTO_NEVER, now_ns = 1;

    if (size < 1)
        return 0;
    size_t piece = data[0] % 64 == 0 ? size : 1 + (size_t)(data[0] % 64) * 8;
    bool bare = data[0] & 0x80, flat = data[0] & 0x40;
    data++;
    size--;
    if (images_open(&set, flat ? IMAGE_FLAT : IMAGE_NESTED, pictures, pictures_count) < 0 ||
        meter_open(&meter, image_server_metrics) < 0 ||
        image_worker_open(&worker, &options, &limits, &set, flat, &meter) < 0)
        abort();
    grpc_server_open(&server, &worker.grpc);
    bool goes_on = grpc_server_proto.tick(&server, now_ns, &next_ns) >= 0 && pull(&server);
    if (goes_on && !bare)
        goes_on = feed(&server, (const uint8_t *)preface, sizeof(preface) - 1);
    for (size_t at = 0; at < size && goes_on; at += piece) {
        goes_on = feed(&server, data + at, piece < size - at ? piece : size - at) &&
                  grpc_server_proto.tick(&server, ++now_ns, &next_ns) >= 0;
    }
    if (worker.grpc.h2.pool.system_bytes > MEMORY_MOST)
        abort();
    if (goes_on)
        grpc_server_proto.drain(&server);
    if (goes_on && pull(&server))
        grpc_server_proto.tick(&server, now_ns + 1000, &next_ns);
    grpc_server_reset(&server);
    image_worker_close(&worker);
    meter_close(&meter);
    images_close(&set);
    return 0;
}
