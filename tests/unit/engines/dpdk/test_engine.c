/*
 * The engine over a wire that is made up: that frames of which nobody is told keep nobody from his
 * time, and that those who do not read leave the device its frames.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>

#include "core/clock.h"
#include "engines/dpdk/dpdk.h"
#include "tests/unit/engines/dpdk/wire_made_up.h"

#define TIMEOUT   60 /* s, of a test that hangs */
#define WAIT_NS   (20 * NS_PER_MS)
#define PEER_PORT 5000u
#define MBUFS     1024u
#define QUEUE     32u

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

void wire_take_stock(struct wire *wire)
{
}

bool wire_is_up(const struct wire *wire)
{
    return true;
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
static struct segment peer = {.port = PEER_PORT, .sequence = 1};
static uint64_t conn;
static uint64_t received;
static bool other_bytes;

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset % 251);
}

static void on_accept(void *listener, struct engine_accepted *accepted)
{
    cr_assert_eq(engine->ops->attach(engine, accepted, &conn, &conn), 0);
}

static void on_recv(void *ctx, struct buf *buf, unsigned flags)
{
    for (uint32_t i = 0; i < buf->size; i++)
        other_bytes |= buf->data[i] != byte_at(received + i);
    received += buf->size;
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
    memcpy(&in, &bound.sa, sizeof(in));
    peer.to = ntohl(in.sin_addr.s_addr);
    peer.from = peer.to ^ 0x00010000u; /* 198.18.x.y */
}

/* From the peer: a segment with these bytes, the next ones. */
static void say(unsigned flags, const uint8_t *data, size_t size)
{
    peer.flags = flags;
    peer.data = data;
    peer.size = size;
    queued[queued_count++] = made_up_segment(&peer);
    peer.sequence += (uint32_t)size + ((flags & TCP_HAS_SYN) != 0);
    sent_count = 0;
    engine->ops->poll(engine, 0);
}

static void meet(void)
{
    say(TCP_HAS_SYN, NULL, 0);
    cr_assert_eq(sent_count, 1);
    peer.acknowledged = sent[0].sequence + 1;
    say(TCP_HAS_ACK, NULL, 0);
    cr_assert_neq(conn, 0);
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

/* One who sends a byte at a time to one who does not read: the window holds 65535 frames of it. */
Test(engine, who_does_not_read_leaves_the_device_its_frames, .timeout = TIMEOUT)
{
    enum { BYTES = 20000 };

    start();
    meet();
    engine->ops->recv_pause(engine, conn);
    for (unsigned i = 0; i < BYTES; i++) {
        uint8_t byte = byte_at(i);
        say(TCP_HAS_ACK, &byte, 1);
        cr_assert_leq(frames_out, MBUFS / 2, "%u frames are held after %u bytes", frames_out,
                      i + 1);
    }
    cr_assert_eq(received, 0);
    cr_assert_gt(counter_read(&engine->counters[ENGINE_BUF_SHORTAGES]), 0);
    engine->ops->recv_resume(engine, conn);
    while (received < BYTES)
        engine->ops->poll(engine, 0);
    cr_assert_not(other_bytes);
    cr_assert_eq(frames_out, 0, "%u frames are held", frames_out);
    engine->ops->close(engine);
    cr_assert_eq(blocks_left, MADE_BLOCKS, "%u blocks are held", MADE_BLOCKS - blocks_left);
}

/* What comes before its turn waits in the stack, where it is not the engine's to copy. */
Test(engine, what_comes_before_its_turn_leaves_the_device_its_frames, .timeout = TIMEOUT)
{
    enum { BYTES = 4000 };
    uint8_t byte = byte_at(0);

    start();
    meet();
    uint32_t first = peer.sequence;
    for (unsigned i = 1; i < BYTES; i++) {
        peer.sequence = first + 2 * i;
        say(TCP_HAS_ACK, &byte, 1);
        cr_assert_leq(frames_out, MBUFS / 4, "%u frames are kept after %u", frames_out, i);
    }
    cr_assert_eq(received, 0);
    /* All is said again, and taken. */
    peer.sequence = first;
    for (unsigned i = 0; i < BYTES; i++) {
        byte = byte_at(i);
        say(TCP_HAS_ACK, &byte, 1);
    }
    cr_assert_geq(received, BYTES);
    engine->ops->close(engine);
    cr_assert_eq(frames_out, 0, "%u frames are held", frames_out);
}
