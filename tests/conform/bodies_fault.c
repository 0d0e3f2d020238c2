/*
 * Faults as asked for: they happen, they come from the seed, and whoever is above still sees the
 * contract kept. Only of the engine that makes them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conform/conform.h"

static uint64_t fault_count(const struct end *end, const char *name)
{
    const struct metric_def *metrics = end_ops(end)->metrics;

    for (unsigned i = 0; metrics[i].name != NULL; i++)
        if (strcmp(metrics[i].name, name) == 0)
            return counter_read(&end->lane->engine->counters[i]);
    CHECK(false, "no counter %s", name);
}

/* --- resets out of the blue --- */

#define SIZE  1000u
#define COUNT 100u

static void next(struct end *end)
{
    if (end->count == COUNT)
        return;
    end->count++;
    end_send_guarded(end, SIZE);
}

static void anyhow_connected(struct end *end)
{
    end->ends = ENDS_ANYHOW;
}

static void anyhow_begin(struct end *end)
{
    end->ends = ENDS_ANYHOW;
    for (unsigned i = 0; i < 3; i++)
        next(end);
}

static void recv_next(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    while (end->received_bytes >= (end->step + 1) * SIZE) {
        end->step++;
        next(end);
    }
    if (end->step == COUNT && !end->send_ended)
        end_finish(end);
}

static void anyhow_server_begin(struct end *end)
{
    end->ends = ENDS_ANYHOW;
}

/* One of twenty receives: of so many, some connections will have been. */
static void reset_closed(struct end *end)
{
    struct world *world = end_world(end);

    if (end->reason == ENGINE_CLOSED_RESET)
        atomic_fetch_add(&world->messages[end->side], 1);
    if (atomic_load(&world->closed[end->side]) + 1 == world->expected[end->side])
        CHECK(atomic_load(&world->messages[end->side]) > 0, "no connection was reset");
}

static const struct role reset_client = {
    .connected = anyhow_connected,
    .begin = anyhow_begin,
    .recv = recv_next,
    .eof = role_finish,
    .closed = reset_closed,
};
static const struct role reset_server = {
    .begin = anyhow_server_begin,
    .recv = role_pass_on,
    .eof = role_finish,
};

/* --- everything at once, all the time --- */

static void in_order_begin(struct end *end)
{
    for (unsigned i = 0; i < 3; i++)
        next(end);
}

static void storm_closed(struct end *end)
{
    static const char *const counters[] = {
        "fault_splits", "fault_delays", "fault_late_releases", "fault_held_loans", NULL,
    };

    CHECK(end->received_bytes == COUNT * SIZE, "%llu bytes came back",
          (unsigned long long)end->received_bytes);
    for (unsigned i = 0; counters[i] != NULL; i++)
        CHECK(fault_count(end, counters[i]) > 0, "%s is 0", counters[i]);
}

static const struct role storm_client = {
    .begin = in_order_begin,
    .recv = recv_next,
    .closed = storm_closed,
};
static const struct role pass_on = {.recv = role_pass_on, .eof = role_finish};

/* --- a stall --- */

#define STALL_AT_NS  (20 * NS_PER_MS)
#define STALL_FOR_NS (80 * NS_PER_MS)

struct stall {
    uint64_t began_ns, last_ns, longest_ns;
};

static void stall_begin(struct end *end)
{
    struct stall *stall = end->own = calloc(1, sizeof(*stall));

    CHECK(stall != NULL, "no memory");
    stall->began_ns = stall->last_ns = clock_ns();
    end_send_bytes(end, SIZE);
}

/* Ping-pong for longer than until the stall, and then one that took as long as it. */
static void stall_recv(struct end *end, struct buf *buf, unsigned flags)
{
    struct stall *stall = end->own;

    end_check(end, buf);
    if (end->received_bytes < end->sent_bytes)
        return;
    uint64_t now_ns = clock_ns();
    uint64_t took_ns = now_ns - stall->last_ns;
    stall->longest_ns = took_ns > stall->longest_ns ? took_ns : stall->longest_ns;
    stall->last_ns = now_ns;
    if (now_ns < stall->began_ns + STALL_AT_NS * 2)
        end_send_bytes(end, SIZE);
    else
        end_finish(end);
}

static void stall_closed(struct end *end)
{
    struct stall *stall = end->own;

    CHECK(stall->longest_ns >= STALL_FOR_NS / 2, "the longest pause was %llu ns",
          (unsigned long long)stall->longest_ns);
    CHECK(fault_count(end, "fault_stall_ns") >= STALL_FOR_NS / 2, "the stall was not counted");
}

static const struct role stall_client = {
    .begin = stall_begin,
    .recv = stall_recv,
    .closed = stall_closed,
};

/* A wake ends the poll of an instance that stalls, and not its stall. */
static void stall_wake_alone(struct world *world)
{
    struct lane lane = {0};

    lane_open(&lane, world);
    uint64_t began_ns = clock_ns();
    lane.engine->ops->wake(lane.engine);
    CHECK(lane_poll(&lane, CLOCK_NEVER) == 0, "an idle instance found something");
    CHECK(clock_ns() - began_ns < 10 * NS_PER_S, "a wake waits for the end of the stall");
    uint64_t deadline_ns = clock_ns() + 5 * NS_PER_MS;
    CHECK(lane_poll(&lane, deadline_ns) == 0, "an idle instance found something");
    CHECK(clock_ns() >= deadline_ns, "poll came back before its deadline");
    lane_close(&lane);
}

/* --- accepting that fails --- */

static void accept_failed(struct lane *lane, int err, uint64_t backoff_ns)
{
    atomic_fetch_add(&lane->world->messages[SIDE_SERVER], 1);
}

static void hello_begin(struct end *end)
{
    end_send_bytes(end, SIZE);
    end_finish(end);
}

static void failed_server_closed(struct end *end)
{
    CHECK(atomic_load(&end_world(end)->messages[SIDE_SERVER]) > 0, "no accept failed");
}

static const struct role hello = {.begin = hello_begin};
static const struct role failed_server = {
    .recv = role_pass_on,
    .eof = role_finish,
    .closed = failed_server_closed,
};

/* --- the seed --- */

#define PIECES_MAX 1000u

static struct {
    uint32_t sizes[PIECES_MAX];
    unsigned count;
} seen[3];

static void seed_recv(struct end *end, struct buf *buf, unsigned flags)
{
    unsigned run = *(unsigned *)end_world(end)->shared;

    end_check(end, buf);
    CHECK(seen[run].count < PIECES_MAX, "more than %u pieces", PIECES_MAX);
    seen[run].sizes[seen[run].count++] = buf->size;
}

static void seed_begin(struct end *end)
{
    end_send_bytes(end, 1 << 20);
    end_finish(end);
}

static const struct role seed_client = {.begin = seed_begin};
static const struct role seed_server = {.recv = seed_recv, .eof = role_finish};

/* Where nothing but the seed decides, it decides it twice in the same way. */
static void seed_alone(struct world *world)
{
    char text[sizeof(world->spec.text)];
    unsigned run;
    int r;

    memcpy(text, world->spec.text, sizeof(text));
    world->shared = &run;
    for (run = 0; run < 3; run++) {
        struct lane lane = {0};
        struct addr addr, bound;
        struct lab_error err;
        char full[sizeof(text) + 32];
        engine_spec_free(&world->spec);
        snprintf(full, sizeof(full), "%s,seed=%u", text, run == 2 ? 12 : 11);
        CHECK(engine_spec_parse(full, &world->spec, &err) == 0, "%s", err.text);
        lane_open(&lane, world);
        world_address(world, "seed", &addr);
        CHECK(lane_listen(&lane, 0, &addr, &bound, &err) == 0, "%s", err.text);
        CHECK(lane_connect(&lane, 0, 0, &bound, &r) != NULL, "connect: %d", r);
        lane_run(&lane);
        lane_close(&lane);
    }
    CHECK(seen[0].count > 10 && seen[0].count == seen[1].count &&
              memcmp(seen[0].sizes, seen[1].sizes, seen[0].count * sizeof(seen[0].sizes[0])) == 0,
          "one seed, and %u pieces, then %u", seen[0].count, seen[1].count);
    CHECK(seen[0].count != seen[2].count ||
              memcmp(seen[0].sizes, seen[2].sizes, seen[0].count * sizeof(seen[0].sizes[0])) != 0,
          "two seeds, and the same %u pieces", seen[0].count);
}

static const char *skip_nondeterministic(const struct world *world)
{
    return world->caps.both_sides ? NULL : "the engine below is not the same twice";
}

#define STORM "split=1000,split_max=100,often=500,delay=1ms,late_release=2ms,hold_loans=1ms"

const struct body bodies_fault[] = {
    {.name = "fault-resets",
     .options = "reset=50",
     .flows = {{.client = &reset_client, .server = &reset_server, .count = 16}}},
    {.name = "fault-storm",
     .options = STORM,
     .flows = {{.client = &storm_client, .server = &pass_on, .count = 4}}},
    {.name = "fault-stall",
     .options = "stall_at=20ms,stall_for=80ms",
     .flows = {{.client = &stall_client, .server = &pass_on, .count = 1}}},
    {.name = "fault-stall-wake", .options = "stall_at=0s,stall_for=1h", .alone = stall_wake_alone},
    {.name = "fault-accept",
     .options = "accept_fail=1000",
     .accept_failed = accept_failed,
     .flows = {{.client = &hello, .server = &failed_server, .count = 3}}},
    {.name = "fault-seed",
     .options = "split=500,often=0",
     .skip = skip_nondeterministic,
     .alone = seed_alone,
     .flows = {{.client = &seed_client, .server = &seed_server, .count = 1}}},
    {0},
};
