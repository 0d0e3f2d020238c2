/* Every way in which a connection ends. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/conform/conform.h"

#define PART (1u << 20)

static const char *skip_one_each(const struct world *world)
{
    return world->caps.conns_max == 1 ? "an instance has one connection" : NULL;
}

/* --- half close, either first --- */

static void check_refuses_send(struct end *end)
{
    struct seg seg = seg_memory("x", 1);

    int r = end_ops(end)->send(end->lane->engine, end->handle, &seg, 1, 1);
    CHECK(r == -EPIPE, "send after send_end gave %d", r);
}

static void half_first_begin(struct end *end)
{
    end_send_bytes(end, PART);
    end_finish(end);
    check_refuses_send(end);
}

static void half_first_eof(struct end *end)
{
    CHECK(end->received_bytes == PART, "EOF after %llu bytes",
          (unsigned long long)end->received_bytes);
}

static void half_second_eof(struct end *end)
{
    half_first_eof(end);
    half_first_begin(end);
}

static const struct role half_first = {.begin = half_first_begin, .eof = half_first_eof};
static const struct role half_second = {.eof = half_second_eof};

/* --- nothing but FIN --- */

static void fin_begin(struct end *end)
{
    end_finish(end);
}

static const struct role fin_first = {.begin = fin_begin};
static const struct role fin_second = {.eof = role_finish};

/* --- reset by the far end --- */

static void reset_begin(struct end *end)
{
    end->ends = ENDS_RESET;
    end_send_bytes(end, 64 << 10);
}

static void reset_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    end->ends = ENDS_LOCALLY;
    end_close(end, true);
}

static const struct role reset_client = {.begin = reset_begin};
static const struct role reset_server = {.recv = reset_recv};

/* --- two ends whose polls are the body's to say --- */

#define TRIO_POLL_NS NS_PER_MS

/* Three instances, or fewer where one may be several of them. */
struct trio {
    struct lane lanes[3];
    struct lane *listening, *serving, *connecting;
    struct end *client, *server;
};

static const char *skip_own_stack(const struct world *world)
{
    return world->caps.one_per_process ? "one instance a process" : NULL;
}

static void trio_accepted(struct lane *lane, unsigned flow, struct engine_accepted *accepted)
{
    lane->held[lane->held_count++] = *accepted;
}

static void trio_open(struct trio *trio, struct world *world)
{
    struct addr addr, bound;
    struct lab_error err = {""};
    int r;

    memset(trio, 0, sizeof(*trio));
    trio->listening = &trio->lanes[0];
    trio->serving = world->caps.conns_max == 1 ? &trio->lanes[1] : trio->listening;
    trio->connecting = world->caps.both_sides ? trio->listening : &trio->lanes[2];
    lane_open(trio->listening, world);
    if (trio->serving != trio->listening)
        lane_open(trio->serving, world);
    if (trio->connecting != trio->listening)
        lane_open(trio->connecting, world);
    world_address(world, "trio", &addr);
    CHECK(lane_listen(trio->listening, 0, &addr, &bound, &err) == 0, "%s", err.text);
    trio->client = lane_connect(trio->connecting, 0, 0, &bound, &r);
    CHECK(trio->client != NULL, "connect: %s", strerror(-r));
    while (trio->listening->held_count == 0 || trio->client->state != END_OPEN) {
        lane_poll(trio->listening, clock_ns() + TRIO_POLL_NS);
        lane_poll(trio->connecting, clock_ns() + TRIO_POLL_NS);
    }
    trio->server = lane_attach(trio->serving, 0, &trio->listening->held[0], &r);
    CHECK(trio->server != NULL, "attach: %s", strerror(-r));
}

static void trio_turn(struct trio *trio)
{
    lane_poll(trio->connecting, clock_ns() + TRIO_POLL_NS);
    lane_poll(trio->serving, clock_ns() + TRIO_POLL_NS);
}

static void trio_close(struct trio *trio)
{
    for (unsigned i = 0; i < 3; i++)
        if (trio->lanes[i].engine != NULL)
            lane_close(&trio->lanes[i]);
}

/* --- reset while it is not read, which a send finds out --- */

/* The client's instance is not polled between the reset and the send, so that nothing else tells
 * it; nor does it read again. */
static void unread_alone(struct world *world)
{
    struct trio trio;

    trio_open(&trio, world);
    end_pause(trio.client);
    trio.client->ends = ENDS_RESET;
    trio.server->ends = ENDS_LOCALLY;
    end_close(trio.server, true);
    while (trio.server->state != END_CLOSED)
        lane_poll(trio.serving, clock_ns() + TRIO_POLL_NS);
    if (trio.client->state != END_CLOSED)
        end_send_bytes(trio.client, 1000);
    while (trio.client->state != END_CLOSED)
        lane_poll(trio.connecting, clock_ns() + TRIO_POLL_NS);
    trio_close(&trio);
}

static const struct role nothing = {0};

/* --- reset while there is much to be sent --- */

static void reset_full_begin(struct end *end)
{
    end->ends = ENDS_RESET;
    for (unsigned i = 0; i < 16; i++)
        end_send_guarded(end, PART);
}

static const struct role reset_full_client = {.begin = reset_full_begin};

/* --- abort, from within every upward call --- */

enum abort_where { ABORT_OPEN, ABORT_RECV, ABORT_EOF, ABORT_SENT };

static void abort_if(struct end *end, enum abort_where where)
{
    if (end_world(end)->body->messages == where && !end->closing) {
        end->ends = ENDS_LOCALLY;
        end_close(end, true);
    }
}

static void abort_begin(struct end *end)
{
    for (unsigned i = 0; i < 8; i++)
        end_send_guarded(end, 256 << 10);
    if (end_world(end)->body->messages == ABORT_EOF)
        end_finish(end);
    abort_if(end, ABORT_OPEN);
}

static void abort_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    abort_if(end, ABORT_RECV);
}

static void abort_eof(struct end *end)
{
    abort_if(end, ABORT_EOF);
}

static void abort_sent(struct end *end, uint64_t cookie, unsigned what)
{
    abort_if(end, ABORT_SENT);
}

static void aborted_begin(struct end *end)
{
    end->ends = ENDS_RESET | ENDS_BY_PEER;
}

static const struct role abort_client = {
    .begin = abort_begin,
    .recv = abort_recv,
    .eof = abort_eof,
    .sent = abort_sent,
};
static const struct role abort_server = {
    .begin = aborted_begin,
    .recv = role_pass_on,
    .eof = role_finish,
};

/* --- closed while all is on its way --- */

static void in_flight_begin(struct end *end)
{
    end->ends = ENDS_LOCALLY;
    for (unsigned i = 0; i < 4; i++)
        end_send_guarded(end, PART);
    end_close(end, false);
}

static void in_flight_eof(struct end *end)
{
    CHECK(end->received_bytes == 4 * PART, "EOF after %llu bytes",
          (unsigned long long)end->received_bytes);
    end->ends = ENDS_BY_PEER;
    end_finish(end);
}

static const struct role in_flight_client = {.begin = in_flight_begin};
static const struct role in_flight_server = {.eof = in_flight_eof};

/* An answer before the question is over, and closed: the answer must arrive. */
static void early_begin(struct end *end)
{
    end->ends = ENDS_BY_PEER | ENDS_RESET;
    for (unsigned i = 0; i < 8; i++)
        end_send_bytes(end, PART);
}

static void early_closed(struct end *end)
{
    CHECK(end->received_bytes == PART, "%llu bytes of the answer came",
          (unsigned long long)end->received_bytes);
}

static void early_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    end->ends = ENDS_LOCALLY;
    end_send_bytes(end, PART);
    end_close(end, false);
}

static const struct role early_client = {
    .begin = early_begin,
    .eof = role_finish,
    .closed = early_closed,
};
static const struct role early_server = {.recv = early_recv};

/* The peer has answered and gone by the time that its answer is read, since the loans of the first
 * part were kept: the rest must be there still. */
#define WORDS (64u << 10)

static void words_begin(struct end *end)
{
    end->ends = ENDS_BY_PEER | ENDS_RESET;
    for (unsigned i = 0; i < 8; i++)
        end_send_bytes(end, PART);
}

static void words_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    if (end->step < 8)
        end_hold(end, buf);
}

static void words_sent(struct end *end, uint64_t cookie, unsigned what)
{
    if ((what & ENGINE_RELEASED) != 0 && ++end->step == 8)
        end_return_held(end, false);
}

static void words_closed(struct end *end)
{
    CHECK(end->received_bytes == WORDS, "%llu bytes of the answer came",
          (unsigned long long)end->received_bytes);
}

static void answer_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    end->ends = ENDS_LOCALLY;
    end_send_bytes(end, WORDS);
    end_close(end, false);
}

static const struct role words_client = {
    .begin = words_begin,
    .recv = words_recv,
    .eof = role_finish,
    .sent = words_sent,
    .closed = words_closed,
};
static const struct role answer_server = {.recv = answer_recv};

/*
 * The same, and whoever asks answers each RELEASED, and whatever is told besides, by asking more.
 * He comes to an end, and to what was answered. A peer that takes all is not asked for ever.
 */
#define NAGS 64u

static void nag_more(struct end *end)
{
    if (!end->send_ended && !end->closing && (end->step < NAGS || end->lost) &&
        end_send_bytes(end, 1000) == 0)
        end->count++; /* nobody will take it */
}

static void nag_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    if (end->step < NAGS && !end->lost)
        end_hold(end, buf);
    nag_more(end);
}

static void nag_sent(struct end *end, uint64_t cookie, unsigned what)
{
    if ((what & ENGINE_RELEASED) == 0)
        return;
    end->step++;
    nag_more(end);
    CHECK(!end->lost || end->count > 0, "taken of one that has lost something");
    if (end->lost || end->step >= NAGS)
        end_return_held(end, false);
}

static const struct role nag_client = {
    .begin = words_begin,
    .recv = nag_recv,
    .eof = role_finish,
    .sent = nag_sent,
    .closed = words_closed,
};

/* Small windows hold most of the answer back while its reader goes on sending, a little at a
 * time: what comes after the close must not cost the answer. */
#define CHATS 200u

static void chat_begin(struct end *end)
{
    end->ends = ENDS_BY_PEER | ENDS_RESET;
    end_pause(end);
    end_send_bytes(end, 100);
}

static void chat_sent(struct end *end, uint64_t cookie, unsigned what)
{
    if ((what & ENGINE_RELEASED) == 0)
        return;
    if (++end->step < CHATS && (what & ENGINE_SENT) != 0)
        end_send_bytes(end, 100);
    else
        end_resume(end);
}

static const struct role chat_client = {
    .begin = chat_begin,
    .eof = role_finish,
    .sent = chat_sent,
    .closed = words_closed,
};

/*
 * Closed once more, in order, while the answer waits for a window that holds it back: that asks for
 * nothing new. Its reader still says something before he reads. The same was sent a few times
 * before: io_uring has given up zero-copy sends by then, behind which a close waits anyhow.
 */
#define AGAIN_BEFORE 10u

static void again_close(struct trio *trio)
{
    if (trio->server->state != END_CLOSED)
        end_close(trio->server, false);
    for (unsigned i = 0; i < 20; i++)
        lane_poll(trio->serving, clock_ns() + TRIO_POLL_NS);
}

static void again_alone(struct world *world)
{
    struct trio trio;

    trio_open(&trio, world);
    trio.client->ends = ENDS_BY_PEER | ENDS_RESET;
    trio.server->ends = ENDS_LOCALLY;
    for (unsigned i = 1; i <= AGAIN_BEFORE; i++) {
        end_send_bytes(trio.server, WORDS);
        while (trio.client->received_bytes < i * WORDS)
            trio_turn(&trio);
    }
    end_pause(trio.client);
    end_send_bytes(trio.server, WORDS);
    again_close(&trio);
    again_close(&trio);
    if (trio.client->state != END_CLOSED) {
        end_send_bytes(trio.client, 100);
        end_resume(trio.client);
    }
    while (trio.client->state != END_CLOSED || trio.server->state != END_CLOSED)
        trio_turn(&trio);
    CHECK(trio.client->received_bytes == (AGAIN_BEFORE + 1) * WORDS, "%llu bytes came",
          (unsigned long long)trio.client->received_bytes);
    trio_close(&trio);
}

static const struct role again_client = {.eof = role_finish};

/* Both have ended, and what was sent lies before a window that stays shut. Whoever has not been
 * told of the end yet can still have it at once. */
static void shut_alone(struct world *world)
{
    struct trio trio;

    trio_open(&trio, world);
    end_pause(trio.server);
    trio.client->ends = trio.server->ends = ENDS_ANYHOW;
    end_finish(trio.server);
    end_send_bytes(trio.client, WORDS);
    end_finish(trio.client);
    for (unsigned i = 0; i < 20; i++)
        trio_turn(&trio);
    if (trio.client->state != END_CLOSED)
        end_close(trio.client, true);
    while (trio.client->state != END_CLOSED)
        trio_turn(&trio);
    if (trio.server->state != END_CLOSED)
        end_resume(trio.server);
    while (trio.server->state != END_CLOSED)
        trio_turn(&trio);
    trio_close(&trio);
}

/* --- closed with loans held, and another connection going on --- */

static void loans_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    end_hold(end, buf);
    end->ends = ENDS_LOCALLY;
    end_close(end, end_world(end)->body->messages == 1);
}

static void loans_nudge(struct end *end)
{
    /* The other one may have been faster than the first bytes of this one. */
    if (end->held_count == 0)
        end->nudged = false;
    end_return_held(end, false);
}

static void loans_client_begin(struct end *end)
{
    end->ends = ENDS_ANYHOW;
    end_send_bytes(end, 64 << 10);
}

static void other_begin(struct end *end)
{
    end_send_bytes(end, 100);
}

/* Ping-pong for a while, and then the held loans may go. */
static void other_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    while (end->received_bytes >= (end->step + 1) * 100) {
        if (++end->step == 50)
            end_finish(end);
        else
            end_send_bytes(end, 100);
    }
}

static void other_server_closed(struct end *end)
{
    world_nudge(end_world(end), SIDE_SERVER, 0);
}

static const struct role loans_client = {.begin = loans_client_begin, .eof = role_finish};
static const struct role loans_server = {.recv = loans_recv, .nudge = loans_nudge};
static const struct role other_client = {.begin = other_begin, .recv = other_recv};
static const struct role other_server = {
    .recv = role_pass_on,
    .eof = role_finish,
    .closed = other_server_closed,
};

/* --- the instance closed with open connections, data under way, loans held --- */

static void engine_begin(struct end *end)
{
    end->ends = ENDS_ANYHOW;
    for (unsigned i = 0; i < 4; i++)
        end_send_guarded(end, PART);
}

static void engine_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    end_hold(end, buf);
    if (end->step++ > 0)
        return;
    /* Once each of the instance's has something. */
    for (struct end *other = end->lane->ends; other != NULL; other = other->next)
        if (other->side == SIDE_CLIENT && other->step == 0)
            return;
    end->lane->close_now = true;
}

static const struct role engine_client = {.begin = engine_begin, .recv = engine_recv};

/* --- the same, and some have died before and wait for their loans alone --- */

static void dying_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    end_hold(end, buf);
    end->ends = ENDS_LOCALLY;
    end_close(end, true);
}

static void survivor_begin(struct end *end)
{
    end->ends = ENDS_ANYHOW;
    end_send_bytes(end, 100);
}

/* Goes to and fro until all others have died, and on until nothing of theirs is under way. */
static void survivor_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    if (end->received_bytes < (end->step + 1) * 100)
        return;
    end->step++;
    for (struct end *other = end->lane->ends; other != NULL; other = other->next)
        if (other->side == SIDE_CLIENT && other->flow == 0 && !other->closing)
            end->goal = end->step;
    if (end->step > end->goal + 50)
        end->lane->close_now = true;
    else
        end_send_bytes(end, 100);
}

static const struct role dying_client = {.begin = other_begin, .recv = dying_recv};
static const struct role survivor_client = {.begin = survivor_begin, .recv = survivor_recv};

/* --- the same, and the number of its descriptor is another's by then --- */

static const char *skip_no_files(const struct world *world)
{
    return world->caps.both_sides ? "the engine has no file descriptors" : skip_own_stack(world);
}

static void hold_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    end_hold(end, buf);
}

/* As many as there may be of numbers that the dead one can have had. */
#define REUSED_FDS 8u

static void reused_alone(struct world *world)
{
    struct trio trio;
    struct linger linger;
    int fds[REUSED_FDS];

    trio_open(&trio, world);
    trio.client->ends = ENDS_ANYHOW;
    trio.server->ends = ENDS_LOCALLY;
    end_send_bytes(trio.client, 100);
    while (trio.server->held_count == 0)
        trio_turn(&trio);
    end_close(trio.server, true);
    for (unsigned i = 0; i < 20; i++)
        lane_poll(trio.serving, clock_ns() + TRIO_POLL_NS);
    for (unsigned i = 0; i < REUSED_FDS; i++)
        CHECK((fds[i] = socket(AF_INET, SOCK_STREAM, 0)) >= 0, "%s", strerror(errno));
    trio_close(&trio);
    for (unsigned i = 0; i < REUSED_FDS; i++) {
        socklen_t size = sizeof(linger);
        CHECK(getsockopt(fds[i], SOL_SOCKET, SO_LINGER, &linger, &size) == 0, "%s",
              strerror(errno));
        CHECK(linger.l_onoff == 0, "a foreign socket is to be closed by a reset");
        close(fds[i]);
    }
}

static const struct role holder = {.recv = hold_recv};

/* --- one closes another, within its upward call --- */

static void anyhow_begin(struct end *end)
{
    end->ends = ENDS_ANYHOW;
    end_send_bytes(end, 256 << 10);
}

static void victim_begin(struct end *end)
{
    end->ends = ENDS_ANYHOW;
}

static void close_other_recv(struct end *end, struct buf *buf, unsigned flags)
{
    struct world *world = end_world(end);

    end_check(end, buf);
    if (atomic_load(&world->begun[SIDE_SERVER]) < world->expected[SIDE_SERVER])
        return;
    for (struct end *other = end->lane->ends; other != NULL; other = other->next) {
        if (other == end || other->side != SIDE_SERVER || other->state != END_OPEN ||
            other->closing)
            continue;
        end_close(other, end->step++ % 2 == 0);
        return;
    }
}

/* One takes another with it; none that has received all is left over. */
static void close_other_closed(struct end *end)
{
    for (struct end *other = end->lane->ends; other != NULL; other = other->next) {
        if (other->side != SIDE_SERVER || other->state != END_OPEN || other->closing)
            continue;
        end_close(other, true);
        return;
    }
}

static const struct role close_other_client = {.begin = anyhow_begin, .eof = role_finish};
static const struct role close_other_server = {
    .begin = victim_begin,
    .recv = close_other_recv,
    .eof = role_finish,
    .closed = close_other_closed,
};

/* --- the server closes first, and its address is taken again at once --- */

static void restart_begin(struct end *end)
{
    end_send_bytes(end, 1000);
}

static void restart_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_pass_on(end, buf);
    if (end->received_bytes == 1000) {
        end->ends = ENDS_LOCALLY;
        end_close(end, false);
    }
}

static void restart_closed(struct end *end)
{
    CHECK(end->received_bytes == 1000, "%llu bytes came back",
          (unsigned long long)end->received_bytes);
}

static const struct role restart_client = {
    .begin = restart_begin,
    .eof = role_finish,
    .closed = restart_closed,
};
static const struct role restart_server = {.recv = restart_recv};

/* --- closed in order, while the peer keeps its own end open --- */

/* The server has its on_closed before the other flow's connection ends, which is what tells the
 * client to end this one too. */
static void unanswered_begin(struct end *end)
{
    end_send_bytes(end, 1000);
}

static void unanswered_recv(struct end *end, struct buf *buf, unsigned flags)
{
    end_check(end, buf);
    if (end->received_bytes < 1000)
        return;
    end->ends = ENDS_LOCALLY;
    end_close(end, false);
}

static void unanswered_server_closed(struct end *end)
{
    struct world *world = end_world(end);

    if (atomic_fetch_add(&world->messages[SIDE_SERVER], 1) + 1 == world->body->flows[0].count)
        world_nudge(world, SIDE_SERVER, 1);
}

static void signal_nudge(struct end *end)
{
    end_finish(end);
}

static void signal_eof(struct end *end)
{
    end_finish(end);
    world_nudge(end_world(end), SIDE_CLIENT, 0);
}

static const struct role unanswered_client = {.begin = unanswered_begin, .nudge = signal_nudge};
static const struct role unanswered_server = {
    .recv = unanswered_recv,
    .closed = unanswered_server_closed,
};
static const struct role signal_client = {.eof = signal_eof};
static const struct role signal_server = {.nudge = signal_nudge};

/* --- stale handles --- */

static uint64_t stale[64];
static _Atomic unsigned stale_count;

static void check_stale(struct lane *lane, uint64_t handle)
{
    const struct engine_ops *ops = lane->engine->ops;
    struct engine *engine = lane->engine;
    struct seg seg = seg_memory("stale", 5);

    checker_down_begin(lane);
    CHECK(ops->send(engine, handle, &seg, 1, 77) == -ESTALE, "send to a stale handle");
    CHECK(ops->send_end(engine, handle) == -ESTALE, "send_end of a stale handle");
    CHECK(ops->recv_pause(engine, handle) == -ESTALE, "recv_pause of a stale handle");
    CHECK(ops->recv_resume(engine, handle) == -ESTALE, "recv_resume of a stale handle");
    CHECK(ops->conn_close(engine, handle, true) == -ESTALE, "conn_close of a stale handle");
    checker_down_end(lane);
}

static void stale_check_all(struct end *end)
{
    static const uint64_t never[] = {ENGINE_CONN_NONE, 1, UINT32_MAX, 1ull << 32, UINT64_MAX};

    for (unsigned i = 0; i < atomic_load(&stale_count); i++) {
        CHECK(stale[i] != end->handle || end->state == END_CLOSED, "a handle twice");
        check_stale(end->lane, stale[i]);
    }
    for (unsigned i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        if (never[i] != end->handle)
            check_stale(end->lane, never[i]);
    check_stale(end->lane, end->handle + (2ull << 32));
}

static void stale_begin(struct end *end)
{
    stale_check_all(end);
    end_send_bytes(end, 1000);
    end_finish(end);
}

static void stale_closed(struct end *end)
{
    restart_closed(end);
    stale[atomic_fetch_add(&stale_count, 1)] = end->handle;
    stale_check_all(end);
}

static const struct role stale_client = {.begin = stale_begin, .closed = stale_closed};
static const struct role pass_on = {.recv = role_pass_on, .eof = role_finish};

#define ABORT(where)                                                                               \
    .messages = (where), .families = FAMILY_ALL,                                                   \
    .flows = {{.client = &abort_client, .server = &abort_server, .count = 2}}

const struct body bodies_close[] = {
    {.name = "half-close-client",
     .families = FAMILY_ALL,
     .flows = {{.client = &half_first, .server = &half_second, .count = 2}}},
    {.name = "half-close-server",
     .families = FAMILY_ALL,
     .flows = {{.client = &half_second, .server = &half_first, .count = 2}}},
    {.name = "fin-only",
     .families = FAMILY_ALL,
     .flows = {{.client = &fin_first, .server = &fin_second, .count = 2}}},
    {.name = "fin-both",
     .families = FAMILY_ALL,
     .flows = {{.client = &fin_first, .server = &fin_first, .count = 2}}},
    {.name = "reset",
     .families = FAMILY_TCP4 | FAMILY_TCP6,
     .flows = {{.client = &reset_client, .server = &reset_server, .count = 2}}},
    {.name = "reset-unread",
     .families = FAMILY_ALL,
     .skip = skip_own_stack,
     .accepted = trio_accepted,
     .alone = unread_alone,
     .flows = {{.client = &nothing, .server = &nothing, .count = 1}}},
    {.name = "reset-with-queue",
     .families = FAMILY_ALL,
     .flows = {{.client = &reset_full_client, .server = &reset_server, .count = 2}}},
    {.name = "abort-in-open", ABORT(ABORT_OPEN)},
    {.name = "abort-in-recv", ABORT(ABORT_RECV)},
    {.name = "abort-in-eof", ABORT(ABORT_EOF)},
    {.name = "abort-in-sent", ABORT(ABORT_SENT)},
    {.name = "close-in-flight",
     .families = FAMILY_ALL,
     .flows = {{.client = &in_flight_client, .server = &in_flight_server, .count = 2}}},
    /* Told late of what came, one may have been reset by the time that it looks for more. */
    {.name = "early-answer",
     .calm = true,
     .flows = {{.client = &early_client, .server = &early_server, .count = 2}}},
    {.name = "last-words",
     .calm = true,
     .options = "loan=8k",
     .families = FAMILY_ALL,
     .flows = {{.client = &words_client, .server = &answer_server, .count = 2}}},
    {.name = "nag-the-dead",
     .calm = true,
     .options = "loan=8k",
     .families = FAMILY_ALL,
     .flows = {{.client = &nag_client, .server = &answer_server, .count = 2}}},
    {.name = "close-behind-window",
     .calm = true,
     .options = "rcvbuf=4k",
     .families = FAMILY_ALL,
     .flows = {{.client = &chat_client, .server = &answer_server, .count = 2}}},
    {.name = "close-again",
     .calm = true,
     .options = "rcvbuf=4k",
     .families = FAMILY_ALL,
     .skip = skip_own_stack,
     .accepted = trio_accepted,
     .alone = again_alone,
     .flows = {{.client = &again_client, .server = &nothing, .count = 1}}},
    {.name = "abort-behind-window",
     .options = "rcvbuf=4k",
     .skip = skip_own_stack,
     .accepted = trio_accepted,
     .alone = shut_alone,
     .flows = {{.client = &nothing, .server = &nothing, .count = 1}}},
    {.name = "close-with-loans",
     .messages = 0,
     .flows = {{.client = &loans_client, .server = &loans_server, .count = 1},
               {.client = &other_client, .server = &other_server, .count = 1}}},
    {.name = "abort-with-loans",
     .messages = 1,
     .flows = {{.client = &loans_client, .server = &loans_server, .count = 1},
               {.client = &other_client, .server = &other_server, .count = 1}}},
    {.name = "close-engine",
     .families = FAMILY_ALL,
     .flows = {{.client = &engine_client, .server = &abort_server, .count = 4}}},
    {.name = "close-engine-of-dead",
     .skip = skip_one_each,
     .flows = {{.client = &dying_client, .server = &abort_server, .count = 4},
               {.client = &survivor_client, .server = &abort_server, .count = 1}}},
    {.name = "close-engine-reused",
     .skip = skip_no_files,
     .accepted = trio_accepted,
     .alone = reused_alone,
     .flows = {{.client = &nothing, .server = &holder, .count = 1}}},
    {.name = "close-other",
     .skip = skip_one_each,
     .flows = {{.client = &close_other_client, .server = &close_other_server, .count = 8}}},
    {.name = "restart",
     .rounds = 3,
     .families = FAMILY_ALL,
     .flows = {{.client = &restart_client, .server = &restart_server, .count = 3}}},
    {.name = "close-unanswered",
     .families = FAMILY_ALL,
     .flows = {{.client = &unanswered_client, .server = &unanswered_server, .count = 2},
               {.client = &signal_client, .server = &signal_server, .count = 1}}},
    {.name = "stale-handles",
     .flows = {{.client = &stale_client, .server = &pass_on, .count = 8, .sequential = true}}},
    {0},
};
