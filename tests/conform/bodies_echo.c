/*
 * Messages that come back: every size, many connections, little memory, both directions at once;
 * and that none of it allocates once it runs.
 */
#include <stdlib.h>

#include "tests/conform/conform.h"

#define ECHO_DEPTH 3u

static void echo_next(struct end *end)
{
    const struct body *body = end_world(end)->body;

    if (end->count == body->messages)
        return;
    end->count++;
    end_send_bytes(end, body->size);
}

static void echo_begin(struct end *end)
{
    for (unsigned i = 0; i < ECHO_DEPTH; i++)
        echo_next(end);
}

/* A whole message that is back makes room for the next. */
static void echo_recv(struct end *end, struct buf *buf, unsigned flags)
{
    const struct body *body = end_world(end)->body;

    end_check(end, buf);
    CHECK(end->shift_in == end->shift_out, "the answer to another connection");
    while (end->received_bytes >= (end->step + 1) * body->size) {
        end->step++;
        echo_next(end);
    }
    if (end->step == body->messages)
        end_finish(end);
}

static void echo_closed(struct end *end)
{
    const struct body *body = end_world(end)->body;

    CHECK(end->received_bytes == body->messages * body->size, "%llu bytes came back of %llu",
          (unsigned long long)end->received_bytes, (unsigned long long)end->sent_bytes);
}

const struct role role_echo = {.begin = echo_begin, .recv = echo_recv, .closed = echo_closed};
const struct role role_echo_server = {.recv = role_pass_on, .eof = role_finish};

/* --- both at once --- */

#define BOTH_PIECE (1u << 20)

static void both_begin(struct end *end)
{
    uint64_t left = end_world(end)->body->size;

    while (left > 0) {
        uint64_t piece = left < BOTH_PIECE ? left : BOTH_PIECE;
        end_send_bytes(end, piece);
        left -= piece;
    }
    end_finish(end);
}

static void both_eof(struct end *end)
{
    uint64_t size = end_world(end)->body->size;

    CHECK(end->received_bytes == size, "EOF after %llu bytes of %llu",
          (unsigned long long)end->received_bytes, (unsigned long long)size);
}

static const struct role both = {.begin = both_begin, .eof = both_eof};

/* --- one connection after another --- */

static const struct role sequential = {
    .begin = echo_begin, .recv = echo_recv, .closed = echo_closed};

/* --- a connection's sends drive themselves --- */

#define STREAM_PIECE (64u << 10)

static void stream_next(struct end *end)
{
    uint64_t size = end_world(end)->body->size;

    while (end->sends_pending < 4 && end->sent_bytes < size)
        end_send_guarded(end, size - end->sent_bytes < STREAM_PIECE ? size - end->sent_bytes
                                                                    : STREAM_PIECE);
    if (end->sent_bytes == size && !end->send_ended)
        end_finish(end);
}

static void stream_sent(struct end *end, uint64_t cookie, unsigned what)
{
    if (!end->send_ended)
        stream_next(end);
}

static void stream_eof(struct end *end)
{
    both_eof(end);
    end_finish(end);
}

static const struct role stream_out = {.begin = stream_next, .sent = stream_sent};
static const struct role stream_in = {.eof = stream_eof};

/* --- before on_open --- */

static void early_connected(struct end *end)
{
    const struct body *body = end_world(end)->body;

    for (unsigned i = 0; i < body->messages; i++)
        end_send_guarded(end, body->size);
    end_finish(end);
}

static const struct role early = {.connected = early_connected, .closed = echo_closed};

/* --- no allocation --- */

/* Of some windows of so many messages, one without an allocation must be: what grows to the most
 * that is ever needed at once may do so in another. */
#define STEADY_MESSAGES 10000u
#define STEADY_WARM     5000u
#define STEADY_WINDOWS  3u
#define STEADY_ALL      (STEADY_WARM + STEADY_WINDOWS * STEADY_MESSAGES)

/* Counts messages of this side in this process, all connections together, once all are open;
 * returns how many there were. */
static uint64_t steady_count(struct end *end, uint64_t bytes)
{
    struct world *world = end_world(end);
    enum side side = end->side;

    if (atomic_load(&world->begun[side]) < world->expected[side])
        return 0;
    uint64_t before = atomic_fetch_add(&world->messages[side], bytes) / world->body->size;
    uint64_t after = (before * world->body->size + bytes) / world->body->size;
    for (unsigned i = 0; i <= STEADY_WINDOWS; i++) {
        uint64_t border = STEADY_WARM + i * STEADY_MESSAGES;
        if (before >= border || after < border)
            continue;
        uint64_t now = conform_allocations();
        uint64_t made = now - atomic_exchange(&world->mark[side], now);
        if (i > 0 && made == 0)
            atomic_store(&world->settled[side], true);
        CHECK(i < STEADY_WINDOWS || atomic_load(&world->settled[side]),
              "%llu allocations during the last %u messages", (unsigned long long)made,
              STEADY_MESSAGES);
    }
    return after;
}

static void steady_recv(struct end *end, struct buf *buf, unsigned flags)
{
    const struct body *body = end_world(end)->body;

    end_check(end, buf);
    uint64_t count = steady_count(end, buf->size);
    while (end->received_bytes >= (end->step + 1) * body->size) {
        end->step++;
        if (count < STEADY_ALL)
            echo_next(end);
    }
    if (end->received_bytes == end->sent_bytes)
        end_finish(end);
}

static void steady_server_recv(struct end *end, struct buf *buf, unsigned flags)
{
    steady_count(end, buf->size);
    end_pass_on(end, buf);
}

static const char *steady_skip(const struct world *world)
{
    return conform_counts_allocations() ? NULL : "a sanitizer has an allocator of its own";
}

static const char *beside_skip(const struct world *world)
{
    if (world->caps.conns_max == 1)
        return "every connection has an instance of its own anyway";
    return world->caps.attach ? NULL : "connections cannot move to another instance";
}

static const struct role steady = {.begin = echo_begin, .recv = steady_recv};
static const struct role steady_server = {.recv = steady_server_recv, .eof = role_finish};

#define ECHO(bytes, number, ...)                                                                   \
    .size = (bytes), .messages = (number),                                                         \
    .flows = {{.client = &role_echo, .server = &role_echo_server, .count = 1}},                    \
    .families = FAMILY_ALL, __VA_ARGS__

const struct body bodies_echo[] = {
    {.name = "echo-1", ECHO(1, 50)},
    {.name = "echo-63", ECHO(63, 50)},
    {.name = "echo-64", ECHO(64, 50)},
    {.name = "echo-4095", ECHO(4095, 30)},
    {.name = "echo-4096", ECHO(4096, 30)},
    {.name = "echo-65535", ECHO(65535, 12)},
    {.name = "echo-65536", ECHO(65536, 12)},
    {.name = "echo-1M", ECHO(1 << 20, 6)},
    {.name = "echo-16M", ECHO(16 << 20, 1)},
    {.name = "both-16M",
     .size = 16 << 20,
     .flows = {{.client = &both, .server = &both, .count = 1}},
     .families = FAMILY_ALL},
    {.name = "many",
     .size = 512,
     .messages = 30,
     .flows = {{.client = &role_echo, .server = &role_echo_server, .count = 256}}},
    {.name = "many-unix",
     .size = 512,
     .messages = 10,
     .families = FAMILY_UNIX,
     .flows = {{.client = &role_echo, .server = &role_echo_server, .count = 64}}},
    {.name = "many-large",
     .size = 200 << 10,
     .messages = 6,
     .flows = {{.client = &role_echo, .server = &role_echo_server, .count = 24}}},
    {.name = "beside",
     .size = 3000,
     .messages = 30,
     .attach_beside = true,
     .skip = beside_skip,
     .flows = {{.client = &role_echo, .server = &role_echo_server, .count = 16}}},
    {.name = "bufs-4",
     .options = "bufs=4",
     .size = 8192,
     .messages = 30,
     .flows = {{.client = &role_echo, .server = &role_echo_server, .count = 16}}},
    {.name = "bufs-2",
     .options = "bufs=2",
     .size = 20000,
     .messages = 8,
     .flows = {{.client = &role_echo, .server = &role_echo_server, .count = 3}}},
    {.name = "tiny-buffers",
     .options = "sndbuf=4k,rcvbuf=4k",
     .size = 48 << 10,
     .flows = {{.client = &both, .server = &both, .count = 1}},
     .families = FAMILY_ALL},
    {.name = "small-loan",
     .options = "loan=1",
     .size = 10000,
     .messages = 10,
     .flows = {{.client = &role_echo, .server = &role_echo_server, .count = 2}}},
    {.name = "reconnect",
     .size = 100,
     .messages = 2,
     .families = FAMILY_ALL,
     .flows =
         {{.client = &sequential, .server = &role_echo_server, .count = 20, .sequential = true}}},
    {.name = "stream",
     .size = 8 << 20,
     .flows = {{.client = &stream_out, .server = &stream_in, .count = 2}}},
    {.name = "send-before-open",
     .size = 3000,
     .messages = 5,
     .families = FAMILY_ALL,
     .flows = {{.client = &early, .server = &role_echo_server, .count = 4}}},
    /* With faults at random, the most that is ever needed at once comes when it likes. */
    {.name = "no-allocation",
     .calm = true,
     .size = 1024,
     .messages = UINT32_MAX,
     .skip = steady_skip,
     .flows = {{.client = &steady, .server = &steady_server, .count = 4}}},
    {0},
};
