/*
 * Feeds bytes to a client's session as a server would send them, with ops under way. The first
 * byte says into what pieces they are cut and what is asked. An op is done once at most for each
 * time that it was asked, and never with a content that is not what it should be.
 */
#include <stdlib.h>

#include "proto/image_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct metric_def metrics[] = {H2_METRICS, {0}};

static const struct h2_options options = {
    .window_bytes = 65535,
    .window_most = 1u << 20,
    .frame_bytes = 1u << 20,
    .header_bytes = 65536,
    .continuations = 64,
};

struct heard {
    unsigned asked, answered;
    struct image_client *client;
    uint64_t now_ns;
    bool time_before;
};

static void hear_first(void *context, unsigned slot)
{
}

static void hear_progress(void *context, uint64_t bytes)
{
}

static void hear_image(void *context, unsigned slot, unsigned nth, uint64_t bytes)
{
}

static void hear_end(struct heard *heard, unsigned slot)
{
    if (++heard->answered > heard->asked)
        abort();
    if (heard->asked < 40) {
        heard->asked++;
        image_client_ask(heard->client, slot);
    }
}

static void hear_done(void *context, unsigned slot, uint64_t bytes, uint64_t held_ns)
{
    struct heard *heard = context;
    if (held_ns > heard->now_ns)
        abort(); /* longer than all of this has taken */
    hear_end(heard, slot);
}

static void hear_failed(void *context, unsigned slot, const char *kind, const char *text)
{
    if (kind[0] == '\0')
        abort();
    hear_end(context, slot);
}

static const struct image_client_events hear = {
    hear_first, hear_progress, hear_image, hear_done, hear_failed,
};

static void keep(struct buf *buf)
{
}

static bool pull(struct image_client *client)
{
    struct seg segs[64];

    for (unsigned i = 0; i < 1000; i++) {
        struct proto_output out = {.segs = segs, .max = 64, .budget = 1u << 20};
        int r = image_client_proto.output(client, &out);
        if (r > 0)
            image_client_proto.sent(client, out.cookie, PROTO_SENT | PROTO_RELEASED);
        if (r < 0 || out.close)
            return false;
        if (r == 0 || out.last)
            break;
    }
    return true;
}

static bool tick(struct heard *heard)
{
    uint64_t next_ns = PROTO_NEVER;
    return image_client_proto.tick(heard->client, heard->now_ns, &next_ns) >= 0;
}

/* As the pump does it, a moment after the last time. */
static bool feed(struct heard *heard, const uint8_t *data, size_t size)
{
    struct buf buf = {.data = (uint8_t *)data, .size = (uint32_t)size, .refs = 1, .release = keep};

    heard->now_ns += 1000;
    if (heard->time_before && !tick(heard))
        return false;
    int r = image_client_proto.input(heard->client, &buf);
    heard->time_before = r > 0 && (r & PROTO_TIME_BEFORE);
    if (r < 0 || ((r & PROTO_TIME) && !tick(heard)))
        return false;
    return pull(heard->client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_client_worker worker;
    struct image_client client;
    struct heard heard = {.asked = 2, .client = &client};
    struct meter meter;

    if (size < 1)
        return 0;
    const struct image_client_config config = {
        .contract = data[0] & 0x40 ? IMAGE_FLAT : IMAGE_NESTED,
        .list = data[0] & 0x80,
        .images_per_op = 3,
        .message_bytes = 1u << 20,
        .learn = data[0] & 1,
    };
    size_t piece = data[0] % 64 == 0 ? size : 1 + (size_t)(data[0] % 64) * 8;
    data++;
    size--;
    if (meter_open(&meter, metrics) < 0 ||
        image_client_worker_open(&worker, &options, &config, &hear, &meter) < 0 ||
        image_client_open(&client, &worker, &heard, "fuzz", 2) < 0)
        abort();
    image_client_ask(&client, 0);
    image_client_ask(&client, 1);
    bool goes_on = pull(&client);
    for (size_t at = 0; at < size && goes_on; at += piece)
        goes_on = feed(&heard, data + at, piece < size - at ? piece : size - at);
    image_client_close(&client);
    image_client_worker_close(&worker);
    meter_close(&meter);
    return 0;
}
