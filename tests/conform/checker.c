/*
 * Between engine and roles: every upward call passes here and is held against the rules of
 * engines/engine.h before the role hears of it. Also what ends do, since the books that the
 * rules are checked with (sends, loans, the stream's content) are written there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/conform/conform.h"

/* --- the stream --- */

/* From the start of a page on: how much of a socket's memory a zero-copy send is charged depends on
 * how its segments lie across pages, and a window of 4 KiB then opens by probes alone, 0.2 s each.
 */
static _Alignas(4096) uint8_t pattern[PATTERN_MAX + PATTERN_PERIOD];

void pattern_open(void)
{
    size_t done = PATTERN_PERIOD;

    for (unsigned i = 0; i < PATTERN_PERIOD; i++)
        pattern[i] = (uint8_t)i;
    while (done < sizeof(pattern)) {
        size_t piece = sizeof(pattern) - done < done ? sizeof(pattern) - done : done;
        memcpy(pattern + done, pattern, piece);
        done += piece;
    }
}

const uint8_t *pattern_at(unsigned shift, uint64_t offset)
{
    return pattern + (shift + offset) % PATTERN_PERIOD;
}

/* --- where a call comes from --- */

static void up_begin(struct lane *lane, const char *call)
{
    CHECK(pthread_equal(lane->thread, pthread_self()), "%s came on another thread", call);
    CHECK(lane->in_poll || lane->in_close, "%s came from outside of poll", call);
    CHECK(!lane->in_down, "%s came from inside a call down", call);
    CHECK(!lane->in_up, "%s came from inside another upward call", call);
    lane->in_up = true;
    lane->calls_up++;
}

static void up_end(struct lane *lane)
{
    lane->in_up = false;
}

void checker_down_begin(struct lane *lane)
{
    CHECK(!lane->in_down, "a call down inside a call down");
    lane->in_down = true;
}

void checker_down_end(struct lane *lane)
{
    lane->in_down = false;
}

/* --- upward calls --- */

static void on_accept(void *listener_ctx, struct engine_accepted *accepted)
{
    struct listener *listener = listener_ctx;
    struct lane *lane = listener->lane;

    up_begin(lane, "on_accept");
    if (lane->world->body->accepted != NULL)
        lane->world->body->accepted(lane, listener->flow, accepted);
    else
        world_accepted(lane, listener->flow, accepted);
    up_end(lane);
}

static void on_accept_error(void *listener_ctx, int err, uint64_t backoff_ns)
{
    struct listener *listener = listener_ctx;
    struct lane *lane = listener->lane;

    up_begin(lane, "on_accept_error");
    CHECK(err > 0, "on_accept_error with err %d", err);
    CHECK(backoff_ns >= 10 * NS_PER_MS && backoff_ns <= 100 * NS_PER_MS,
          "a pause of %llu ns after a failed accept", (unsigned long long)backoff_ns);
    CHECK(lane->world->body->accept_failed != NULL, "accept failed: %s", strerror(err));
    lane->world->body->accept_failed(lane, err, backoff_ns);
    up_end(lane);
}

static struct end *end_up(void *ctx, const char *call)
{
    struct end *end = ctx;

    CHECK(end != NULL, "%s with ctx NULL", call);
    CHECK(end->state != END_CLOSED, "%s after on_closed", call);
    up_begin(end->lane, call);
    return end;
}

void end_began(struct end *end)
{
    end->state = END_OPEN;
    atomic_fetch_add(&end_world(end)->begun[end->side], 1);
    if (end->role->begin != NULL)
        end->role->begin(end);
}

static void on_open(void *ctx)
{
    struct end *end = end_up(ctx, "on_open");

    CHECK(end->state == END_CONNECTING, "on_open of one that is open");
    end_began(end);
    up_end(end->lane);
}

static void on_recv(void *ctx, struct buf *buf, unsigned flags)
{
    struct end *end = end_up(ctx, "on_recv");
    const struct engine_common *options = end_world(end)->spec.options;

    CHECK(end->state == END_OPEN, "on_recv before on_open");
    CHECK(!end->eof, "on_recv after on_eof");
    CHECK(!end->closing, "on_recv after conn_close");
    CHECK(!end->paused, "on_recv while paused");
    CHECK(!end->lane->in_close, "on_recv while the instance closes");
    CHECK((flags & ~(ENGINE_RECV_END | ENGINE_RECV_MORE)) == 0, "on_recv with flags %x", flags);
    CHECK(buf->data != NULL && buf->size >= 1 && buf->refs >= 1 && buf->release != NULL,
          "a buffer of %u bytes, %u references", buf->size, buf->refs);
    CHECK(end->held_bytes < options->loan_bytes, "read on at its quota: %llu of %llu bytes",
          (unsigned long long)end->held_bytes, (unsigned long long)options->loan_bytes);
    if (end->role->recv != NULL)
        end->role->recv(end, buf, flags);
    else
        end_check(end, buf);
    up_end(end->lane);
}

static void on_eof(void *ctx)
{
    struct end *end = end_up(ctx, "on_eof");

    CHECK(end->state == END_OPEN, "on_eof before on_open");
    CHECK(!end->eof, "on_eof twice");
    CHECK(!end->closing, "on_eof after conn_close");
    CHECK(!end->paused, "on_eof while paused");
    end->eof = true;
    if (end->role->eof != NULL)
        end->role->eof(end);
    up_end(end->lane);
}

/* Rule 9: what has lost something takes nothing more. */
static void check_mute(struct end *end)
{
    struct seg seg = seg_memory("more", 4);

    checker_down_begin(end->lane);
    int r = end_ops(end)->send(end->lane->engine, end->handle, &seg, 1, UINT64_MAX >> 8);
    checker_down_end(end->lane);
    CHECK(r == -EPIPE, "send after RELEASED without SENT gave %d", r);
}

static void on_sent(void *ctx, uint64_t cookie, uint64_t bytes, unsigned what)
{
    struct end *end = end_up(ctx, "on_sent");
    struct end_send *send = &end->sends[cookie % END_SENDS_MAX];

    CHECK(cookie != 0 && send->cookie == cookie, "on_sent with cookie %llu, which nobody waits for",
          (unsigned long long)cookie);
    CHECK(bytes == send->bytes, "on_sent of %llu bytes where %llu were sent",
          (unsigned long long)bytes, (unsigned long long)send->bytes);
    CHECK((what & (ENGINE_SENT | ENGINE_RELEASED)) != 0, "on_sent that says nothing: %x", what);
    CHECK((what & ~(ENGINE_SENT | ENGINE_RELEASED | ENGINE_COPIED)) == 0, "on_sent says %x", what);
    CHECK((what & ENGINE_COPIED) == 0 || (what & ENGINE_RELEASED), "COPIED without RELEASED");
    CHECK((what & send->told & (ENGINE_SENT | ENGINE_RELEASED)) == 0, "on_sent says %x after %x",
          what, send->told);
    send->told |= what;
    if (what & ENGINE_SENT)
        end->unsent--;
    if ((what & ENGINE_RELEASED) && ((what | send->told) & ENGINE_SENT) == 0)
        end->lost = true;
    if (what & ENGINE_RELEASED) {
        if (send->memory != NULL)
            CHECK(mprotect(send->memory, send->memory_size, PROT_NONE) == 0, "mprotect");
        send->cookie = 0;
        end->sends_pending--;
    }
    if (end->lost)
        check_mute(end);
    if (end->role->sent != NULL)
        end->role->sent(end, cookie, what);
    up_end(end->lane);
}

static bool err_fits(enum engine_reason reason, int err)
{
    switch (reason) {
    case ENGINE_CLOSED_LOCALLY:
    case ENGINE_CLOSED_BY_PEER: return err == 0;
    case ENGINE_CLOSED_RESET: return err == ECONNRESET || err == EPIPE;
    case ENGINE_CLOSED_CONNECT:
    case ENGINE_CLOSED_ERROR: return err > 0;
    }
    return false;
}

static void on_closed(void *ctx, enum engine_reason reason, int err)
{
    struct end *end = end_up(ctx, "on_closed");
    struct world *world = end_world(end);

    CHECK(err_fits(reason, err), "on_closed(%s) with err %d", engine_reason_name(reason), err);
    CHECK(end->lane->in_close || ((1u << reason) & end->ends) != 0,
          "%s %u of flow %u ended: %s (%s); sent %llu, received %llu",
          end->side == SIDE_CLIENT ? "client" : "server", end->index, end->flow,
          engine_reason_name(reason), strerror(err), (unsigned long long)end->sent_bytes,
          (unsigned long long)end->received_bytes);
    CHECK((reason == ENGINE_CLOSED_CONNECT) == (end->state == END_CONNECTING) || end->closing ||
              end->lane->in_close,
          "on_closed(%s) in another state", engine_reason_name(reason));
    CHECK(reason != ENGINE_CLOSED_BY_PEER || (end->eof && end->send_ended),
          "ended in order by both, but %s", end->eof ? "send_end was not called" : "without EOF");
    CHECK(reason != ENGINE_CLOSED_LOCALLY || end->closing || end->lane->in_close,
          "closed locally, which nobody asked for");
    CHECK(end->sends_pending == 0, "on_closed before RELEASED of %u sends", end->sends_pending);
    /* Closing the instance, the loans are still ours until this call ends. */
    CHECK(end->lane->in_close || end->held_count == 0, "on_closed before %u loans were returned",
          end->held_count);
    end->state = END_CLOSED;
    end->reason = reason;
    end->err = err;
    if (end->role->closed != NULL)
        end->role->closed(end);
    if (end->held_count > 0)
        end_return_held(end, false);
    end->lane->open_count--;
    world_next_connect(end);
    atomic_fetch_add(&world->closed[end->side], 1);
    up_end(end->lane);
}

const struct engine_events checker_events = {
    .on_accept = on_accept,
    .on_accept_error = on_accept_error,
    .on_open = on_open,
    .on_recv = on_recv,
    .on_eof = on_eof,
    .on_sent = on_sent,
    .on_closed = on_closed,
};

/* --- ends --- */

struct world *end_world(const struct end *end)
{
    return end->lane->world;
}

const struct engine_ops *end_ops(const struct end *end)
{
    return end->lane->engine->ops;
}

struct end *end_new(struct lane *lane, unsigned flow, unsigned index, enum side side)
{
    const struct flow *f = &lane->world->body->flows[flow];
    struct end *end = calloc(1, sizeof(*end));

    CHECK(end != NULL, "no memory");
    end->lane = lane;
    end->role = side == SIDE_CLIENT ? f->client : f->server;
    end->flow = flow;
    end->index = index;
    end->side = side;
    end->ends = ENDS_IN_ORDER;
    end->shift_out = (flow * 101 + index * 7 + (side == SIDE_CLIENT ? 0 : 50)) % PATTERN_PERIOD;
    end->next = lane->ends;
    lane->ends = end;
    lane->open_count++;
    return end;
}

void end_free(struct end *end)
{
    for (unsigned i = 0; i < END_SENDS_MAX; i++)
        if (end->sends[i].memory != NULL)
            munmap(end->sends[i].memory, end->sends[i].memory_size);
    free(end->held);
    free(end->own);
    free(end);
}

/* --- what they do --- */

/* Sends may be released in another order, so a place may still be taken. */
static uint64_t end_next_cookie(const struct end *end)
{
    uint64_t cookie = end->last_cookie + 1;

    CHECK(end->sends_pending < END_SENDS_MAX, "more than %u sends under way", END_SENDS_MAX);
    while (end->sends[cookie % END_SENDS_MAX].cookie != 0)
        cookie++;
    return cookie;
}

/* One that may fail by its peer's doing may have failed before anybody was told. */
static bool end_is_refused(const struct end *end, int result)
{
    return result == -EPIPE && (end->ends & ~ENDS_IN_ORDER) != 0 && !end->send_ended &&
           !end->closing;
}

uint64_t end_send(struct end *end, const struct seg *segs, unsigned count)
{
    uint64_t cookie = end_next_cookie(end), bytes = 0;
    struct end_send *send = &end->sends[cookie % END_SENDS_MAX];

    for (unsigned i = 0; i < count; i++)
        bytes += segs[i].size;
    end->last_cookie = cookie;
    send->cookie = cookie;
    send->bytes = bytes;
    send->told = 0;
    end->sends_pending++;
    end->unsent++;
    checker_down_begin(end->lane);
    int r = end_ops(end)->send(end->lane->engine, end->handle, segs, count, cookie);
    checker_down_end(end->lane);
    if (end_is_refused(end, r)) {
        send->cookie = 0;
        end->sends_pending--;
        end->unsent--;
        return 0;
    }
    CHECK(r == 0, "send of %llu bytes: %s", (unsigned long long)bytes, strerror(-r));
    end->sent_bytes += bytes;
    return cookie;
}

void end_send_unasked(struct end *end, const struct seg *segs, unsigned count)
{
    checker_down_begin(end->lane);
    int r = end_ops(end)->send(end->lane->engine, end->handle, segs, count, 0);
    checker_down_end(end->lane);
    CHECK(r == 0, "send that nobody asks about: %s", strerror(-r));
    for (unsigned i = 0; i < count; i++)
        end->sent_bytes += segs[i].size;
}

uint64_t end_send_bytes(struct end *end, uint64_t bytes)
{
    struct seg seg = seg_memory(pattern_at(end->shift_out, end->sent_bytes), bytes);
    return end_send(end, &seg, 1);
}

uint64_t end_send_guarded(struct end *end, uint64_t bytes)
{
    struct end_send *send = &end->sends[end_next_cookie(end) % END_SENDS_MAX];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (bytes + page - 1) / page * page;

    if (send->memory != NULL)
        munmap(send->memory, send->memory_size);
    send->memory_size = size;
    send->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(send->memory != MAP_FAILED, "mmap of %zu bytes", size);
    /* Its end is the page's, so that reading beyond it is found out, too. */
    uint8_t *start = send->memory + (size - bytes);
    memcpy(start, pattern_at(end->shift_out, end->sent_bytes), bytes);
    struct seg seg = seg_memory(start, bytes);
    return end_send(end, &seg, 1);
}

static void check_bytes(const struct end *end, const uint8_t *data, uint64_t size, uint64_t offset)
{
    const uint8_t *expected = pattern_at(end->shift_in, offset);

    if (__builtin_expect(memcmp(data, expected, size) == 0, 1))
        return;
    uint64_t i = 0;
    while (data[i] == expected[i])
        i++;
    CHECK(false, "byte %llu of the stream (%llu of a piece of %llu) is %u and should be %u",
          (unsigned long long)(offset + i), (unsigned long long)i, (unsigned long long)size,
          data[i], expected[i]);
}

void end_check(struct end *end, const struct buf *buf)
{
    if (!end->shift_known) {
        end->shift_known = true;
        end->shift_in = buf->data[0];
        CHECK(end->shift_in < PATTERN_PERIOD, "first byte %u", end->shift_in);
    }
    check_bytes(end, buf->data, buf->size, end->received_bytes);
    end->received_bytes += buf->size;
}

void end_pass_on(struct end *end, struct buf *buf)
{
    struct seg seg = seg_buf(buf_ref(buf), buf->data, buf->size);

    end->received_bytes += buf->size;
    if (end->sends_pending < END_SENDS_MAX / 2) {
        if (end_send(end, &seg, 1) == 0)
            buf_unref(buf);
        return;
    }
    /* Small pieces, and many: what nobody asks about needs no entry in the books. */
    checker_down_begin(end->lane);
    int r = end_ops(end)->send(end->lane->engine, end->handle, &seg, 1, 0);
    bool refused = end_is_refused(end, r);
    if (refused)
        buf_unref(buf);
    checker_down_end(end->lane);
    CHECK(r == 0 || refused, "send of %u bytes: %s", buf->size, strerror(-r));
    if (!refused)
        end->sent_bytes += buf->size;
}

void end_hold(struct end *end, struct buf *buf)
{
    if (end->held_count == end->held_room) {
        unsigned room = end->held_room == 0 ? 64 : end->held_room * 2;
        end->held = realloc(end->held, room * sizeof(*end->held));
        CHECK(end->held != NULL, "no memory");
        end->held_room = room;
    }
    uint64_t offset = end->received_bytes - buf->size;
    end->held[end->held_count++] = (struct end_held){buf_ref(buf), offset, buf->size};
    end->held_bytes += buf->size;
}

void end_return_held(struct end *end, bool last_first)
{
    for (unsigned i = 0; i < end->held_count; i++) {
        const struct end_held *held = &end->held[last_first ? end->held_count - 1 - i : i];
        CHECK(held->buf->size == held->size, "a loan of %u bytes has become one of %u", held->size,
              held->buf->size);
        /* Where both sides share an instance that is closed, it may be another end's memory, which
         * has been told RELEASED by then. */
        if (!end->lane->in_close || !end_world(end)->caps.both_sides)
            check_bytes(end, held->buf->data, held->size, held->offset);
        checker_down_begin(end->lane);
        buf_unref(held->buf);
        checker_down_end(end->lane);
    }
    end->held_count = 0;
    end->held_bytes = 0;
}

static void end_down(struct end *end, int (*op)(struct engine *engine, uint64_t conn),
                     const char *name)
{
    checker_down_begin(end->lane);
    int r = op(end->lane->engine, end->handle);
    checker_down_end(end->lane);
    CHECK(r == 0, "%s: %s", name, strerror(-r));
}

void end_finish(struct end *end)
{
    end->send_ended = true;
    end_down(end, end_ops(end)->send_end, "send_end");
}

void end_close(struct end *end, bool abort)
{
    end->closing = true;
    checker_down_begin(end->lane);
    int r = end_ops(end)->conn_close(end->lane->engine, end->handle, abort);
    checker_down_end(end->lane);
    CHECK(r == 0, "conn_close: %s", strerror(-r));
}

void end_pause(struct end *end)
{
    end->paused = true;
    end_down(end, end_ops(end)->recv_pause, "recv_pause");
}

void end_resume(struct end *end)
{
    end->paused = false;
    checker_down_begin(end->lane);
    int r = end_ops(end)->recv_resume(end->lane->engine, end->handle);
    checker_down_end(end->lane);
    /* One that has lost what it sent may have come to its end. */
    CHECK(r == 0 || (r == -ESTALE && end->lost), "recv_resume: %s", strerror(-r));
}

void role_finish(struct end *end)
{
    if (!end->send_ended)
        end_finish(end);
}

void role_pass_on(struct end *end, struct buf *buf, unsigned flags)
{
    end_pass_on(end, buf);
}
