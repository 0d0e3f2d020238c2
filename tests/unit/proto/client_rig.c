/* See client_rig.h. */
#include "tests/unit/proto/client_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>

static void hear_first(void *context, unsigned slot)
{
    ((struct heard *)context)->firsts++;
}

static void hear_progress(void *context, uint64_t bytes)
{
}

static void hear_image(void *context, unsigned slot, unsigned nth, uint64_t bytes)
{
    struct heard *heard = context;
    heard->images++;
    heard->image_bytes += bytes;
}

static void hear_done(void *context, unsigned slot, uint64_t bytes, uint64_t held_ns)
{
    struct heard *heard = context;
    heard->held_ns += held_ns;
    heard->not_held_ns += heard->side->now_ns - heard->asked_ns - held_ns;
    heard->done++;
    heard->done_bytes += bytes;
    if (heard->again_left > 0) {
        heard->again_left--;
        image_client_ask(heard->again, slot);
    }
}

static void hear_failed(void *context, unsigned slot, const char *kind, const char *text)
{
    struct heard *heard = context;
    heard->failed++;
    snprintf(heard->kind, sizeof(heard->kind), "%s", kind);
    snprintf(heard->text, sizeof(heard->text), "%s", text);
    if (heard->again_left > 0) {
        heard->again_left--;
        image_client_ask(heard->again, slot);
    }
}

static const struct image_client_events hear = {
    hear_first, hear_progress, hear_image, hear_done, hear_failed,
};

static const struct metric_def client_metrics[] = {H2_METRICS, {0}};

void client_open(struct client_rig *rig, const struct image_client_config *config, uint32_t window,
                 unsigned depth)
{
    const struct h2_options options = {
        .window_bytes = window,
        .window_most = window,
        .frame_bytes = 1u << 20,
        .header_bytes = 65536,
        .continuations = 64,
    };

    cr_assert_eq(meter_open(&rig->meter, client_metrics), 0);
    cr_assert_eq(image_client_worker_open(&rig->worker, &options, config, &hear, &rig->meter), 0);
    cr_assert_eq(image_client_open(&rig->client, &rig->worker, &rig->heard, "test", depth), 0);
    side_open(&rig->side, &image_client_proto, &rig->client);
    rig->heard.again = &rig->client;
    rig->heard.side = &rig->side;
}

void client_close(struct client_rig *rig)
{
    side_close(&rig->side);
    image_client_close(&rig->client);
    image_client_worker_close(&rig->worker);
    meter_close(&rig->meter);
}
