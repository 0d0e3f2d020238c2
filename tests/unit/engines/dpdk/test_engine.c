/*
 * The engine over a wire that is made up: that frames of which nobody is told keep nobody from his
 * time.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>

#include "core/clock.h"
#include "engines/dpdk/dpdk.h"
#include "tests/unit/engines/dpdk/wire_made_up.h"

#define TIMEOUT 60 /* s, of a test that hangs */
#define WAIT_NS (20 * NS_PER_MS)
#define MBUFS   1024u
#define QUEUE   32u

/* --- the rest of the wire --- */

static struct wire_frame *queued[QUEUE]; /* to be received */
static unsigned queued_count;
static bool flood; /* frames that are nothing, without end */

int wire_probe(const struct wire_config *config, struct lab_error *err)
{
    return 0;
}

int wire_eal_start(const struct wire_config *config, struct lab_error *err)
{
    return 0;
}

int wire_open(struct wire **wire, const struct wire_config *config, struct lab_error *err)
{
    made_up_wire();
    *wire = (struct wire *)(uintptr_t)wire_blocks_low;
    return 0;
}

void wire_close(struct wire *wire)
{
}

unsigned wire_receive(struct wire *wire, struct wire_frame **frames)
{
    unsigned count = queued_count;
    size_t room;

    memcpy(frames, queued, count * sizeof(*frames));
    queued_count = 0;
    if (count == 0 && flood) {
        frames[count++] = wire_frame_new(&room);
        frames[0]->buf.size = 60;
    }
    return count;
}

void wire_flush(struct wire *wire)
{
}

bool wire_is_drained(const struct wire *wire)
{
    return true;
}

bool wire_has_lost(struct wire *wire, uint64_t now_ns)
{
    return false;
}

bool wire_is_suspect(const struct wire *wire)
{
    return false;
}

bool wire_has_carried(const struct wire *wire)
{
    return false;
}

void wire_counts(struct wire *wire, struct wire_counts *counts)
{
    *counts = (struct wire_counts){0};
}

uint64_t wire_cycles_hz(void)
{
    return NS_PER_S;
}

unsigned wire_host_hugepages(const char *sysfs, char *text, size_t size)
{
    text[0] = '\0';
    return 0;
}

unsigned wire_host_nics(const char *sysfs, char *text, size_t size)
{
    text[0] = '\0';
    return 0;
}

void wire_host_iova(const char *sysfs, char *text, size_t size)
{
    text[0] = '\0';
}

/* --- an instance, and one connection --- */

static struct engine *engine;
static void on_accept(void *listener, struct engine_accepted *accepted)
{
    engine->ops->accept_refuse(engine, accepted);
}

static void on_recv(void *ctx, struct buf *buf, unsigned flags)
{
}

static void on_nothing(void *ctx)
{
}

static void on_closed(void *ctx, enum engine_reason reason, int err)
{
}

static const struct engine_events events = {
    .on_accept = on_accept,
    .on_open = on_nothing,
    .on_recv = on_recv,
    .on_eof = on_nothing,
    .on_closed = on_closed,
};

static void start(void)
{
    static struct dpdk_options options = {
        .common.loan_bytes = 256u << 10,
        .burst = 16,
        .mbufs = MBUFS,
    };
    const struct engine_config config = {.options = &options, .conns_hint = 1};
    const struct engine_ops *ops = engine_find("dpdk");
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(MADE_PORT)};
    struct addr addr = {.size = sizeof(in)}, bound;
    struct lab_error err;

    memcpy(&addr.sa, &in, sizeof(in));
    int r = ops->open(&engine, &config, &events, &err);
    cr_assert_eq(r, 0, "%s", err.text);
    r = ops->listen(engine, &addr, NULL, &bound, &err);
    cr_assert_eq(r, 0, "%s", err.text);
}

Test(engine, frames_that_tell_nobody_anything_do_not_stop_time, .timeout = TIMEOUT)
{
    start();
    flood = true;
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(engine->ops->poll(engine, clock_ns() + WAIT_NS), 0);
    /* All of that was work, though no look was in vain. */
    cr_assert_gt(counter_read(&engine->counters[ENGINE_BUSY_NS]), 0);
}
