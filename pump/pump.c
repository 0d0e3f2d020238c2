/*
 * See pump.h. All state of a connection is touched by its worker's thread only. The engine's
 * cookie is the protocol's, shifted, with two bits of the pump's below, who asks besides of some
 * sends, to know how much is on its way.
 */
#include "pump/pump.h"

#include <errno.h>

#include "core/clock.h"
#include "core/seldom.h"

#define PUMP_ASKED        1u /* never 0 then */
#define PUMP_STANDS       2u /* for PUMP_STANDS_BYTES before it as well */
#define PUMP_COOKIE_SHIFT 2
#define PUMP_STANDS_BYTES (PUMP_ASK_BYTES / 2)

static void pump_fail(struct pump_conn *conn, int err)
{
    if (conn->flags & PUMP_CLOSING)
        return;
    conn->failed = err;
    pump_close(conn, true);
}

/* An output that does not go out: its references are given back, and its memory is the
 * protocol's again. */
static SELDOM void pump_drop(struct pump_conn *conn, const struct proto_output *out, int count)
{
    for (int i = 0; i < count; i++)
        if (out->segs[i].buf != NULL)
            buf_unref(out->segs[i].buf);
    if (out->cookie != 0 && conn->proto->sent != NULL)
        conn->proto->sent(conn->state, out->cookie, PROTO_RELEASED);
}

/* The connection has failed, and will say how: not before all was read that has come, which may
 * well be what the other end thinks of us. There is nothing to be told it any more. */
static SELDOM int pump_unsent(struct pump_conn *conn, struct proto_output *out, int count, int err)
{
    bool gone = err == -EPIPE;

    if (gone)
        conn->flags |= PUMP_MUTE;
    out->last |= gone;
    pump_drop(conn, out, count);
    if (gone && conn->proto->mute != NULL)
        conn->proto->mute(conn->state);
    return gone ? 0 : err;
}

/* Of a send that the engine is to tell of. Sends are taken in their order, so that word of one is
 * word of all before it. */
static SELDOM uint64_t pump_ask(struct pump_conn *conn, uint64_t cookie, uint64_t bytes)
{
    uint64_t asked = cookie << PUMP_COOKIE_SHIFT | PUMP_ASKED;

    conn->queued_bytes += bytes;
    if (conn->unasked_bytes < PUMP_STANDS_BYTES)
        return asked;
    conn->unasked_bytes -= PUMP_STANDS_BYTES;
    conn->queued_bytes += PUMP_STANDS_BYTES;
    return asked | PUMP_STANDS;
}

/* Hands the segments down, and the references on buffers that came with them. */
static INLINED int pump_send(struct pump_conn *conn, struct proto_output *out, int count)
{
    uint64_t bytes = out->segs->size, cookie = 0;

    for (int i = 1; __builtin_expect(i < count, 0); i++)
        bytes += out->segs[i].size;
    uint64_t unasked_bytes = conn->unasked_bytes + bytes;
    if (__builtin_expect(out->cookie == 0 && unasked_bytes < PUMP_ASK_BYTES, 1))
        conn->unasked_bytes = (uint32_t)unasked_bytes;
    else
        cookie = pump_ask(conn, out->cookie, bytes);
    int r = conn->engine->ops->send(conn->engine, conn->handle, out->segs, (unsigned)count, cookie);
    if (__builtin_expect(r < 0, 0))
        return pump_unsent(conn, out, count, r);
    return r;
}

/* Tells the protocol what time it is, and is told when it wants to hear that again. */
static int pump_tell_time(struct pump_conn *conn, uint64_t now_ns)
{
    uint64_t next_ns = PROTO_NEVER;

    int r = conn->proto->tick(conn->state, now_ns, &next_ns);
    if (r < 0 || conn->handle == ENGINE_CONN_NONE)
        return r;
    if (next_ns == PROTO_NEVER)
        timer_cancel(conn->timers, &conn->timer);
    else if (timer_set(conn->timers, &conn->timer, next_ns) < 0)
        return -ENOMEM;
    return r & ~PROTO_TIME;
}

static void pump_linger(struct pump_conn *conn)
{
    uint64_t linger_ns = conn->linger_ns != 0 ? conn->linger_ns : PUMP_LINGER_NS;
    timer_set(conn->timers, &conn->timer, clock_ns() + linger_ns);
}

/* In order, and hard if the other end does not let what is queued go out for so long. */
static void pump_close_in_time(struct pump_conn *conn)
{
    pump_close(conn, false);
    if (conn->proto->tick != NULL)
        pump_linger(conn);
}

/*
 * The protocol has no more to say. One that was asked to come to its end parts: the other end has
 * done nothing wrong, may be about to say something, and would lose what it has not read to the
 * RST that a closed socket answers with. So FIN, and what still comes is read, until its own FIN.
 */
static void pump_end(struct pump_conn *conn)
{
    if (!conn->draining || conn->proto->tick == NULL) {
        pump_close_in_time(conn);
        return;
    }
    conn->flags |= PUMP_PARTING;
    pump_send_end(conn);
    pump_linger(conn);
}

/* What an output says beside its segments, and what follows from its being the last one. */
static void pump_heed(struct pump_conn *conn, const struct proto_output *out, int result)
{
    if (result >= 0 && out->time)
        result = pump_tell_time(conn, clock_ns());
    if (result >= 0 && (out->close || (result & PROTO_CLOSE)))
        conn->flags |= PUMP_ENDING;
    if (result < 0)
        pump_fail(conn, -result);
    else if (out->last && (conn->flags & PUMP_ENDING))
        pump_end(conn);
}

/*
 * An output that was more, or less, than segments to be sent: the protocol failed, had nothing, or
 * said more with it; or it may well have told its owner that something has ended, who then kicked
 * or closed this very connection. result is what the protocol returned; true: go on.
 */
static SELDOM bool pump_pulled(struct pump_conn *conn, struct proto_output *out, int result)
{
    uint32_t flags = conn->flags;

    conn->flags = flags & ~(uint32_t)(PUMP_PULLING | PUMP_AGAIN);
    if (result <= 0)
        out->last = result < 0 || (flags & PUMP_AGAIN) == 0;
    else if (flags & PUMP_AGAIN)
        out->last = false;
    if (result > 0 && (flags & PUMP_CLOSING)) {
        pump_drop(conn, out, result);
        return false;
    }
    pump_heed(conn, out, result > 0 ? pump_send(conn, out, result) : result);
    return !out->last;
}

/* One output of a connection with these flags. True: the protocol is to be asked again. */
static INLINED bool pump_pull_once(struct pump_conn *conn, uint32_t flags)
{
    struct seg segs[PUMP_SEGS_MAX];
    struct proto_output out;
    uint64_t under_way = pump_under_way(conn);

    if (__builtin_expect(under_way >= PUMP_QUEUE_BYTES, 0)) {
        conn->flags = flags | PUMP_HELD;
        return false;
    }
    out.segs = segs;
    out.max = PUMP_SEGS_MAX;
    out.budget = PUMP_QUEUE_BYTES - under_way;
    out.cookie = 0;
    out.last = out.close = out.time = false;
    conn->flags = flags | PUMP_PULLING;
    int count = conn->proto->output(conn->state, &out);
    /* Nearly always there is nothing but segments. */
    if (__builtin_expect(count <= 0 || conn->flags != PUMP_PULLING || out.close || out.time, 0))
        return pump_pulled(conn, &out, count);
    conn->flags = 0;
    int r = pump_send(conn, &out, count);
    if (__builtin_expect(r < 0, 0))
        pump_fail(conn, -r);
    return !out.last;
}

/* Asks the protocol for output until it has none or enough is on its way. */
static SELDOM void pump_pull(struct pump_conn *conn)
{
    conn->flags &= ~(uint32_t)PUMP_HELD;
    while ((conn->flags & (PUMP_CLOSING | PUMP_PARTING | PUMP_MUTE)) == 0)
        if (!pump_pull_once(conn, conn->flags))
            return;
}

static SELDOM void pump_after(struct pump_conn *conn, int result)
{
    if (result > 0) {
        if (result & PROTO_CLOSE)
            conn->flags |= PUMP_ENDING;
        if (result & PROTO_TIME)
            result = pump_tell_time(conn, clock_ns());
        if (result > 0 && (result & PROTO_CLOSE))
            conn->flags |= PUMP_ENDING;
    }
    conn->flags &= ~(uint32_t)PUMP_IN_EVENT;
    if (result < 0)
        pump_fail(conn, -result);
    else
        pump_pull(conn);
}

/* The moment has come that the protocol asked for. */
static void pump_on_time(struct timer *timer, uint64_t now_ns)
{
    struct pump_conn *conn =
        (struct pump_conn *)((char *)timer - offsetof(struct pump_conn, timer));

    if (conn->flags & (PUMP_CLOSING | PUMP_PARTING)) {
        conn->cut = true;
        pump_close(conn, true);
        return;
    }
    conn->flags |= PUMP_IN_EVENT;
    pump_after(conn, pump_tell_time(conn, now_ns));
}

/* A connection is there: a protocol that goes by time learns what time it is. */
static int pump_begin(struct pump_conn *conn)
{
    return conn->proto->tick != NULL ? pump_tell_time(conn, clock_ns()) : PROTO_OK;
}

static void pump_on_accept(void *context, struct engine_accepted *accepted)
{
    struct pump_listener *listener = context;
    listener->accepted(listener, accepted);
}

static void pump_on_accept_error(void *context, int err, uint64_t backoff_ns)
{
    struct pump_listener *listener = context;
    if (listener->failed != NULL)
        listener->failed(listener, err, backoff_ns);
}

static void pump_on_open(void *context)
{
    struct pump_conn *conn = context;
    conn->flags |= PUMP_IN_EVENT;
    if (conn->owner->opened != NULL)
        conn->owner->opened(conn);
    pump_after(conn, conn->flags & PUMP_CLOSING ? PROTO_OK : pump_begin(conn));
}

/* By one that is about to end, has to tell the time, or has output that waits. */
static SELDOM void pump_receive_slowly(struct pump_conn *conn, struct buf *buf)
{
    int r = PROTO_OK;

    if (conn->flags & (PUMP_CLOSING | PUMP_ENDING))
        return;
    conn->received_bytes += buf->size;
    bool time_before = (conn->flags & PUMP_TIME_BEFORE) != 0;
    conn->flags = (conn->flags & ~(uint32_t)PUMP_TIME_BEFORE) | PUMP_IN_EVENT;
    if (time_before)
        r = pump_tell_time(conn, clock_ns());
    if (r == PROTO_OK && (conn->flags & PUMP_CLOSING) == 0)
        r = conn->proto->input(conn->state, buf);
    if (r > 0 && (r & PROTO_TIME_BEFORE))
        conn->flags |= PUMP_TIME_BEFORE;
    pump_after(conn, r);
}

static void pump_on_recv(void *context, struct buf *buf, unsigned flags)
{
    struct pump_conn *conn = context;

    if (__builtin_expect(conn->flags != 0, 0)) {
        pump_receive_slowly(conn, buf);
        return;
    }
    conn->flags = PUMP_IN_EVENT;
    conn->received_bytes += buf->size;
    int r = conn->proto->input(conn->state, buf);
    if (__builtin_expect(r != PROTO_OK || conn->flags != PUMP_IN_EVENT, 0)) {
        if (r > 0 && (r & PROTO_TIME_BEFORE))
            conn->flags |= PUMP_TIME_BEFORE;
        pump_after(conn, r);
        return;
    }
    if (__builtin_expect(pump_pull_once(conn, 0), 0))
        pump_pull(conn);
}

static void pump_on_eof(void *context)
{
    struct pump_conn *conn = context;
    if (conn->flags & (PUMP_CLOSING | PUMP_PARTING))
        return;
    conn->flags |= PUMP_IN_EVENT;
    pump_after(conn, conn->proto->eof != NULL ? conn->proto->eof(conn->state) : PROTO_CLOSE);
}

static void pump_on_sent(void *context, uint64_t cookie, uint64_t bytes, unsigned what)
{
    struct pump_conn *conn = context;
    bool ask = false;

    if (what & ENGINE_SENT)
        conn->queued_bytes -= bytes + (cookie & PUMP_STANDS ? PUMP_STANDS_BYTES : 0);
    cookie >>= PUMP_COOKIE_SHIFT;
    if (cookie != 0 && conn->proto->sent != NULL) {
        conn->flags |= PUMP_IN_EVENT;
        ask = conn->proto->sent(conn->state, cookie, what);
        conn->flags &= ~(uint32_t)PUMP_IN_EVENT;
    }
    if (ask || ((conn->flags & PUMP_HELD) && pump_under_way(conn) < PUMP_QUEUE_BYTES / 2))
        pump_pull(conn);
}

static void pump_on_closed(void *context, enum engine_reason reason, int err)
{
    struct pump_conn *conn = context;
    conn->handle = ENGINE_CONN_NONE;
    conn->flags |= PUMP_CLOSING;
    if (timer_is_set(&conn->timer))
        timer_cancel(conn->timers, &conn->timer);
    if (conn->failed != 0)
        conn->owner->closed(conn, ENGINE_CLOSED_ERROR, conn->failed);
    else
        conn->owner->closed(conn, reason, err);
}

const struct engine_events pump_events = {
    .on_accept = pump_on_accept,
    .on_accept_error = pump_on_accept_error,
    .on_open = pump_on_open,
    .on_recv = pump_on_recv,
    .on_eof = pump_on_eof,
    .on_sent = pump_on_sent,
    .on_closed = pump_on_closed,
};

static void pump_start(struct pump_conn *conn, struct engine *engine)
{
    conn->engine = engine;
    conn->handle = ENGINE_CONN_NONE;
    conn->queued_bytes = conn->unasked_bytes = conn->received_bytes = 0;
    conn->failed = 0;
    conn->flags = 0;
    conn->draining = conn->cut = false;
    conn->timer.fire = pump_on_time;
}

int pump_connect(struct pump_conn *conn, struct engine *engine, const struct addr *remote,
                 const struct addr *local)
{
    pump_start(conn, engine);
    return engine->ops->connect(engine, remote, local, conn, &conn->handle);
}

int pump_attach(struct pump_conn *conn, struct engine *engine,
                const struct engine_accepted *accepted)
{
    pump_start(conn, engine);
    int r = engine->ops->attach(engine, accepted, conn, &conn->handle);
    if (r < 0)
        return r;
    /* Here and now, since nobody says on_open of one that is open: some protocols speak first. */
    conn->flags |= PUMP_IN_EVENT;
    pump_after(conn, pump_begin(conn));
    return 0;
}

void pump_kick_now(struct pump_conn *conn)
{
    if (conn->flags & PUMP_PULLING)
        conn->flags |= PUMP_AGAIN;
    else if (conn->handle != ENGINE_CONN_NONE)
        pump_pull(conn);
}

void pump_close(struct pump_conn *conn, bool abort)
{
    if (conn->handle == ENGINE_CONN_NONE || ((conn->flags & PUMP_CLOSING) && !abort))
        return;
    conn->flags |= PUMP_CLOSING;
    if (conn->proto->mute != NULL)
        conn->proto->mute(conn->state);
    conn->engine->ops->conn_close(conn->engine, conn->handle, abort);
}

void pump_drain(struct pump_conn *conn)
{
    if (conn->proto->drain == NULL) {
        pump_close(conn, false);
    } else if (conn->handle != ENGINE_CONN_NONE &&
               (conn->flags & (PUMP_CLOSING | PUMP_PARTING)) == 0) {
        conn->draining = true;
        conn->flags |= PUMP_IN_EVENT;
        pump_after(conn, conn->proto->drain(conn->state));
    }
}

void pump_send_end(struct pump_conn *conn)
{
    if (conn->handle != ENGINE_CONN_NONE && (conn->flags & PUMP_CLOSING) == 0)
        conn->engine->ops->send_end(conn->engine, conn->handle);
}
