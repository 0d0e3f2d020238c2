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
#define PUMP_STANDS       2u /* for PUMP_ASK_BYTES before it as well */
#define PUMP_COOKIE_SHIFT 2

static void pump_fail(struct pump_conn *conn, int err)
{
    if (conn->closing)
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

    conn->mute |= gone;
    out->last |= gone;
    pump_drop(conn, out, count);
    return gone ? 0 : err;
}

/* Sends are taken in their order, so that word of one is word of all before it. */
static inline uint64_t pump_cookie(struct pump_conn *conn, const struct proto_output *out,
                                   uint64_t bytes)
{
    uint64_t cookie = out->cookie << PUMP_COOKIE_SHIFT | PUMP_ASKED;

    if (__builtin_expect(conn->unasked_bytes >= PUMP_ASK_BYTES, 0)) {
        conn->unasked_bytes -= PUMP_ASK_BYTES;
        return cookie | PUMP_STANDS;
    }
    if (out->cookie != 0 || __builtin_expect(bytes >= PUMP_ASK_BYTES, 0))
        return cookie;
    conn->unasked_bytes += bytes;
    return 0;
}

/* Hands the segments down, and the references on buffers that came with them. */
static inline int pump_send(struct pump_conn *conn, struct proto_output *out, int count)
{
    uint64_t bytes = out->segs->size;

    for (int i = 1; i < count; i++)
        bytes += out->segs[i].size;
    conn->queued_bytes += bytes;
    int r = conn->engine->ops->send(conn->engine, conn->handle, out->segs, (unsigned)count,
                                    pump_cookie(conn, out, bytes));
    if (__builtin_expect(r < 0, 0))
        return pump_unsent(conn, out, count, r);
    return r;
}

/* One output and what it says. Its protocol may well tell its owner that something has ended, who
 * then kicks or closes this very connection: that must not come back here. */
static INLINED int pump_output(struct pump_conn *conn, struct proto_output *out, struct seg *segs)
{
    out->segs = segs;
    out->max = PUMP_SEGS_MAX;
    out->budget = PUMP_QUEUE_BYTES - conn->queued_bytes;
    out->cookie = 0;
    out->last = out->close = out->time = false;
    conn->pulling = true;
    conn->again = false;
    int r = conn->proto->output(conn->state, out);
    conn->pulling = false;
    if (__builtin_expect(r <= 0, 0))
        out->last = r < 0 || !conn->again;
    else if (__builtin_expect(conn->again, 0))
        out->last = false;
    if (__builtin_expect(r <= 0 || !conn->closing, 1))
        return r;
    pump_drop(conn, out, r);
    return 0;
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
    conn->parting = true;
    pump_send_end(conn);
    pump_linger(conn);
}

/* What an output says beside its segments, and what follows from its being the last one. */
static SELDOM void pump_heed(struct pump_conn *conn, const struct proto_output *out, int result)
{
    if (result >= 0 && out->time)
        result = pump_tell_time(conn, clock_ns());
    conn->ending |= result >= 0 && (out->close || (result & PROTO_CLOSE));
    if (result < 0)
        pump_fail(conn, -result);
    else if (out->last && conn->ending)
        pump_end(conn);
}

/* Asks the protocol for output until it has none or enough is on its way. */
static INLINED void pump_pull(struct pump_conn *conn)
{
    struct seg segs[PUMP_SEGS_MAX];
    struct proto_output out;

    conn->held = false;
    if (__builtin_expect(conn->parting || conn->mute, 0))
        return;
    while (!conn->closing) {
        if (__builtin_expect(conn->queued_bytes >= PUMP_QUEUE_BYTES, 0)) {
            conn->held = true;
            return;
        }
        int r = pump_output(conn, &out, segs);
        if (r > 0)
            r = pump_send(conn, &out, r);
        /* Nearly always there was nothing but segments, or nothing at all. */
        if (__builtin_expect(r != 0 || out.time || out.close || conn->ending, 0))
            pump_heed(conn, &out, r);
        if (out.last)
            return;
    }
}

/* Once for all who seldom pull: only a receive has it inlined. */
static SELDOM void pump_pull_on(struct pump_conn *conn)
{
    pump_pull(conn);
}

static SELDOM void pump_after(struct pump_conn *conn, int result)
{
    if (result > 0) {
        conn->ending |= (result & PROTO_CLOSE) != 0;
        if (result & PROTO_TIME)
            result = pump_tell_time(conn, clock_ns());
        conn->ending |= result > 0 && (result & PROTO_CLOSE) != 0;
    }
    conn->in_event = false;
    if (result < 0)
        pump_fail(conn, -result);
    else
        pump_pull_on(conn);
}

/* The moment has come that the protocol asked for. */
static void pump_on_time(struct timer *timer, uint64_t now_ns)
{
    struct pump_conn *conn =
        (struct pump_conn *)((char *)timer - offsetof(struct pump_conn, timer));

    if (conn->closing || conn->parting) {
        conn->cut = true;
        pump_close(conn, true);
        return;
    }
    conn->in_event = true;
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
    conn->in_event = true;
    if (conn->owner->opened != NULL)
        conn->owner->opened(conn);
    pump_after(conn, conn->closing ? PROTO_OK : pump_begin(conn));
}

static void pump_on_recv(void *context, struct buf *buf, unsigned flags)
{
    struct pump_conn *conn = context;
    if (conn->closing || conn->ending)
        return;
    conn->in_event = true;
    conn->received_bytes += buf->size;
    int r = PROTO_OK;
    if (__builtin_expect(conn->time_before, 0))
        r = pump_tell_time(conn, clock_ns());
    if (r == PROTO_OK && !conn->closing)
        r = conn->proto->input(conn->state, buf);
    conn->time_before = r > 0 && (r & PROTO_TIME_BEFORE);
    if (__builtin_expect(r != PROTO_OK, 0)) {
        pump_after(conn, r);
        return;
    }
    conn->in_event = false;
    pump_pull(conn);
}

static void pump_on_eof(void *context)
{
    struct pump_conn *conn = context;
    if (conn->closing || conn->parting)
        return;
    conn->in_event = true;
    pump_after(conn, conn->proto->eof != NULL ? conn->proto->eof(conn->state) : PROTO_CLOSE);
}

static void pump_on_sent(void *context, uint64_t cookie, uint64_t bytes, unsigned what)
{
    struct pump_conn *conn = context;
    bool ask = false;

    if (what & ENGINE_SENT)
        conn->queued_bytes -= bytes + (cookie & PUMP_STANDS ? PUMP_ASK_BYTES : 0);
    cookie >>= PUMP_COOKIE_SHIFT;
    if (cookie != 0 && conn->proto->sent != NULL) {
        conn->in_event = true;
        ask = conn->proto->sent(conn->state, cookie, what);
        conn->in_event = false;
    }
    if (ask || (conn->held && conn->queued_bytes < PUMP_QUEUE_BYTES / 2))
        pump_pull_on(conn);
}

static void pump_on_closed(void *context, enum engine_reason reason, int err)
{
    struct pump_conn *conn = context;
    conn->handle = ENGINE_CONN_NONE;
    conn->closing = true;
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
    conn->closing = conn->in_event = conn->held = conn->ending = false;
    conn->pulling = conn->again = conn->draining = conn->parting = false;
    conn->time_before = conn->cut = conn->mute = false;
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
    conn->in_event = true;
    pump_after(conn, pump_begin(conn));
    return 0;
}

void pump_kick(struct pump_conn *conn)
{
    if (conn->pulling)
        conn->again = true;
    else if (!conn->in_event && conn->handle != ENGINE_CONN_NONE)
        pump_pull_on(conn);
}

void pump_close(struct pump_conn *conn, bool abort)
{
    if (conn->handle == ENGINE_CONN_NONE || (conn->closing && !abort))
        return;
    conn->closing = true;
    conn->engine->ops->conn_close(conn->engine, conn->handle, abort);
}

void pump_drain(struct pump_conn *conn)
{
    if (conn->proto->drain == NULL) {
        pump_close(conn, false);
    } else if (conn->handle != ENGINE_CONN_NONE && !conn->closing && !conn->parting) {
        conn->draining = true;
        conn->in_event = true;
        pump_after(conn, conn->proto->drain(conn->state));
    }
}

void pump_send_end(struct pump_conn *conn)
{
    if (conn->handle != ENGINE_CONN_NONE && !conn->closing)
        conn->engine->ops->send_end(conn->engine, conn->handle);
}
