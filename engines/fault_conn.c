/* Connections of the fault engine: see fault.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engines/fault.h"

#define FAULT_CHUNK 1024u
/* Pieces that one receive is split into at most, and upward calls of one poll. */
#define FAULT_PIECES_MAX 64u
#define FAULT_CALLS_MAX  1024u
/* Beside on_sent's `what`: RELEASED, and never SENT. */
#define FAULT_LOST 0x100u

/* --- events --- */

int fault_add_events(struct fault_engine *e)
{
    if (e->chunks_count == e->chunks_room) {
        unsigned room = e->chunks_room == 0 ? 16 : e->chunks_room * 2;
        struct fault_event **grown = realloc(e->chunks, room * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        e->chunks = grown;
        e->chunks_room = room;
    }
    struct fault_event *chunk = calloc(FAULT_CHUNK, sizeof(*chunk));
    if (chunk == NULL)
        return -ENOMEM;
    e->chunks[e->chunks_count++] = chunk;
    for (unsigned i = FAULT_CHUNK; i-- > 0;) {
        chunk[i].next = e->free;
        e->free = &chunk[i];
    }
    return 0;
}

static struct fault_event *fault_event_new(struct fault_conn *c, enum fault_kind kind)
{
    struct fault_engine *e = c->engine;

    if (e->free == NULL && fault_add_events(e) < 0)
        return NULL;
    struct fault_event *event = e->free;
    e->free = event->next;
    *event = (struct fault_event){.conn = c, .kind = (uint8_t)kind};
    return event;
}

static void fault_event_free(struct fault_engine *e, struct fault_event *event)
{
    event->next = e->free;
    e->free = event;
}

static void fault_mark(struct fault_conn *c)
{
    struct fault_engine *e = c->engine;

    if (c->ready)
        return;
    c->ready = true;
    c->next_ready = NULL;
    *e->ready_end = c;
    e->ready_end = &c->next_ready;
}

static void fault_queue_add(struct fault_queue *q, struct fault_event *event, uint64_t due_ns)
{
    q->last_due_ns = due_ns > q->last_due_ns ? due_ns : q->last_due_ns;
    event->due_ns = q->last_due_ns;
    event->next = NULL;
    *q->end = event;
    q->end = &event->next;
    fault_mark(event->conn);
}

static struct fault_event *fault_queue_take(struct fault_queue *q)
{
    struct fault_event *event = q->first;

    q->first = event->next;
    if (q->first == NULL)
        q->end = &q->first;
    return event;
}

/* --- what the inner engine calls --- */

/* Aborts the inner connection, of our own accord. What was received and not told is lost. */
static void fault_break(struct fault_conn *c, enum engine_reason reason, int err);

void fault_on_open(void *ctx)
{
    struct fault_conn *c = ctx;
    struct fault_engine *e = c->engine;
    struct fault_event *event = fault_event_new(c, FAULT_OPEN);

    if (event == NULL)
        fault_break(c, ENGINE_CLOSED_ERROR, ENOMEM);
    else
        fault_queue_add(&c->in, event, fault_due_ns(e, e->options.delay_ns, FAULT_DELAYS));
}

/* Of a piece: from buf_unref, so possibly in the middle of an upward call; only marks. */
static void fault_release(struct buf *buf)
{
    struct fault_event *event = (struct fault_event *)buf;
    struct fault_conn *c = event->conn;
    struct fault_engine *e = c->engine;

    c->lent_bytes -= buf->size;
    if (!e->closing) {
        uint64_t due_ns = fault_due_ns(e, e->options.hold_ns, FAULT_HELD_LOANS);
        fault_mark(c);
        if (due_ns > e->now_ns) {
            event->kind = FAULT_HOLD;
            fault_queue_add(&c->holds, event, due_ns);
            return;
        }
    }
    buf_unref(event->inner);
    fault_event_free(e, event);
}

static uint32_t fault_piece_bytes(struct fault_engine *e, uint32_t left)
{
    uint64_t most = e->options.split_bytes > 0 ? e->options.split_bytes : left;

    most = most < left ? most : left;
    return 1 + (uint32_t)rng_below(&e->rng, most);
}

void fault_on_recv(void *ctx, struct buf *buf, unsigned flags)
{
    struct fault_conn *c = ctx;
    struct fault_engine *e = c->engine;
    bool split = fault_strikes(e, e->options.split_permille);
    uint64_t due_ns = fault_due_ns(e, e->options.delay_ns, FAULT_DELAYS);
    unsigned pieces = 0;

    if (c->closing || c->broken || e->closing)
        return;
    if (fault_strikes(e, e->options.reset_permille)) {
        engine_count(&e->engine, FAULT_RESETS, 1);
        fault_break(c, ENGINE_CLOSED_RESET, ECONNRESET);
        return;
    }
    for (uint32_t done = 0; done < buf->size;) {
        uint32_t left = buf->size - done;
        uint32_t size = split && ++pieces < FAULT_PIECES_MAX ? fault_piece_bytes(e, left) : left;
        struct fault_event *event = fault_event_new(c, FAULT_RECV);
        if (event == NULL) {
            fault_break(c, ENGINE_CLOSED_ERROR, ENOMEM);
            return;
        }
        event->buf = (struct buf){
            .data = buf->data + done, .size = size, .release = fault_release, .depth = buf->depth};
        event->inner = buf_ref(buf);
        event->what = size < left ? ENGINE_RECV_MORE : flags;
        fault_queue_add(&c->in, event, due_ns);
        done += size;
    }
    if (pieces > 1)
        engine_count(&e->engine, FAULT_SPLITS, 1);
}

void fault_on_eof(void *ctx)
{
    struct fault_conn *c = ctx;
    struct fault_engine *e = c->engine;

    if (c->closing || c->broken)
        return;
    struct fault_event *event = fault_event_new(c, FAULT_EOF);
    if (event == NULL)
        fault_break(c, ENGINE_CLOSED_ERROR, ENOMEM);
    else
        fault_queue_add(&c->in, event, fault_due_ns(e, e->options.delay_ns, FAULT_DELAYS));
}

static void fault_up_sent(struct fault_conn *c, uint64_t cookie, uint64_t bytes, unsigned what)
{
    struct fault_engine *e = c->engine;

    if (what & FAULT_LOST)
        c->lost = true;
    e->calls++;
    e->engine.events->on_sent(c->ctx, cookie, bytes, what & ~FAULT_LOST);
}

/* False: no memory, or no time: to be told at once. */
static bool fault_queue_sent(struct fault_conn *c, struct fault_queue *q, uint64_t cookie,
                             uint64_t bytes, unsigned what, uint64_t due_ns)
{
    struct fault_event *event = c->engine->closing ? NULL : fault_event_new(c, FAULT_SENT);

    if (event == NULL)
        return false;
    event->cookie = cookie;
    event->bytes = bytes;
    event->what = what;
    fault_queue_add(q, event, due_ns);
    return true;
}

void fault_on_sent(void *ctx, uint64_t cookie, uint64_t bytes, unsigned what)
{
    struct fault_conn *c = ctx;
    struct fault_engine *e = c->engine;
    unsigned late = what & (ENGINE_RELEASED | ENGINE_COPIED);
    uint64_t late_ns = e->now_ns;
    uint64_t due_ns = fault_due_ns(e, e->options.delay_ns, FAULT_DELAYS);

    /* Below, each is released in its turn. */
    if (what & ENGINE_SENT)
        c->unreleased++;
    if (what & ENGINE_RELEASED) {
        if (c->unreleased == 0)
            late |= FAULT_LOST;
        else
            c->unreleased--;
    }
    what |= late;
    if (late != 0)
        late_ns = fault_due_ns(e, e->options.late_ns, FAULT_LATE_RELEASES);
    /* Not before the references on its buffers are back. */
    if (c->holds.first != NULL && late_ns < c->holds.last_due_ns)
        late_ns = c->holds.last_due_ns;
    if (late_ns == e->now_ns)
        late = 0;
    if (what != late && !fault_queue_sent(c, &c->out, cookie, bytes, what & ~late, due_ns))
        fault_up_sent(c, cookie, bytes, what & ~late);
    /* Not before its SENT. */
    late_ns = late_ns > c->out.last_due_ns ? late_ns : c->out.last_due_ns;
    if (late != 0 && !fault_queue_sent(c, &c->late, cookie, bytes, late, late_ns))
        fault_up_sent(c, cookie, bytes, late);
}

/* --- upward --- */

static void fault_up_open(struct fault_conn *c)
{
    struct fault_engine *e = c->engine;

    c->opened = true;
    e->calls++;
    e->engine.events->on_open(c->ctx);
}

static void fault_up_recv(struct fault_conn *c, struct fault_event *event)
{
    struct fault_engine *e = c->engine;

    c->lent_bytes += event->buf.size;
    event->buf.refs = 1;
    e->calls++;
    e->engine.events->on_recv(c->ctx, &event->buf, event->what);
    buf_unref(&event->buf);
}

/* The first of `in` can be told now, or when it is due. */
static bool fault_in_is_open(const struct fault_conn *c)
{
    const struct fault_event *event = c->in.first;

    if (event == NULL)
        return false;
    if (event->kind == FAULT_OPEN)
        return true;
    return !c->paused && (event->kind != FAULT_RECV || c->lent_bytes == 0 ||
                          c->lent_bytes < c->engine->options.common.loan_bytes);
}

static void fault_turn_in(struct fault_conn *c)
{
    struct fault_engine *e = c->engine;

    while (fault_in_is_open(c) && c->in.first->due_ns <= e->now_ns) {
        struct fault_event *event = fault_queue_take(&c->in);
        unsigned kind = event->kind;
        if (kind == FAULT_RECV) {
            fault_up_recv(c, event);
            continue;
        }
        fault_event_free(e, event);
        if (kind == FAULT_OPEN) {
            fault_up_open(c);
        } else {
            e->calls++;
            e->engine.events->on_eof(c->ctx);
        }
    }
}

static void fault_turn_out(struct fault_conn *c, struct fault_queue *q)
{
    struct fault_engine *e = c->engine;

    while (q->first != NULL && q->first->due_ns <= e->now_ns) {
        struct fault_event *event = fault_queue_take(q);
        fault_up_sent(c, event->cookie, event->bytes, event->what);
        fault_event_free(e, event);
    }
}

static void fault_turn_holds(struct fault_conn *c)
{
    struct fault_engine *e = c->engine;

    while (c->holds.first != NULL && (c->holds.first->due_ns <= e->now_ns || e->closing)) {
        struct fault_event *event = fault_queue_take(&c->holds);
        buf_unref(event->inner);
        fault_event_free(e, event);
    }
}

static void fault_drop_in(struct fault_conn *c, bool open_too)
{
    struct fault_queue kept = {.end = &kept.first};

    while (c->in.first != NULL) {
        struct fault_event *event = fault_queue_take(&c->in);
        if (event->kind == FAULT_OPEN && !open_too) {
            kept.first = event;
            continue;
        }
        if (event->kind == FAULT_RECV)
            buf_unref(event->inner);
        fault_event_free(c->engine, event);
    }
    if (kept.first != NULL) {
        kept.first->next = NULL;
        c->in.first = kept.first;
        c->in.end = &kept.first->next;
    }
}

static void fault_break(struct fault_conn *c, enum engine_reason reason, int err)
{
    struct fault_engine *e = c->engine;

    c->broken = true;
    c->reason = (uint8_t)reason;
    c->err = err;
    fault_drop_in(c, false);
    e->inner->ops->conn_close(e->inner, c->inner, true);
}

/* The last upward call; the item is given back before, so that the handle is stale in it. */
static void fault_bury(struct fault_conn *c)
{
    struct fault_engine *e = c->engine;
    enum engine_reason reason = c->reason;
    void *ctx = c->ctx;
    int err = c->err;

    timer_cancel(&e->timers, &c->timer);
    conns_give(&e->conns, c);
    e->calls++;
    e->engine.events->on_closed(ctx, reason, err);
}

/* Ends it without regard to what is due when: of an instance that is closed. */
static void fault_finish(struct fault_conn *c)
{
    fault_drop_in(c, true);
    c->engine->now_ns = CLOCK_NEVER;
    fault_turn_out(c, &c->out);
    fault_turn_out(c, &c->late);
    fault_turn_holds(c);
    fault_bury(c);
}

void fault_on_closed(void *ctx, enum engine_reason reason, int err)
{
    struct fault_conn *c = ctx;

    c->closed = true;
    if (!c->broken) {
        c->reason = (uint8_t)reason;
        c->err = err;
    }
    /* What was asked for came to nothing, since it had ended by itself; EOF was dropped then. */
    if (c->aborting || (c->closing && c->reason == ENGINE_CLOSED_BY_PEER)) {
        c->reason = ENGINE_CLOSED_LOCALLY;
        c->err = 0;
    }
    if (c->engine->closing)
        fault_finish(c);
    else
        fault_mark(c);
}

/* --- a connection's turn --- */

static void fault_earliest(uint64_t *earliest_ns, const struct fault_queue *q)
{
    if (q->first != NULL && q->first->due_ns < *earliest_ns)
        *earliest_ns = q->first->due_ns;
}

static void fault_turn(struct fault_conn *c)
{
    struct fault_engine *e = c->engine;
    uint64_t earliest_ns = CLOCK_NEVER;

    fault_turn_holds(c);
    fault_turn_in(c);
    if (c->in.first == NULL || c->in.first->kind != FAULT_OPEN) {
        fault_turn_out(c, &c->out);
        fault_turn_out(c, &c->late);
    }
    if (c->ready)
        return;
    if (c->closed && c->in.first == NULL && c->out.first == NULL && c->late.first == NULL &&
        c->holds.first == NULL) {
        fault_bury(c);
        return;
    }
    if (fault_in_is_open(c))
        fault_earliest(&earliest_ns, &c->in);
    fault_earliest(&earliest_ns, &c->out);
    fault_earliest(&earliest_ns, &c->late);
    fault_earliest(&earliest_ns, &c->holds);
    if (earliest_ns != CLOCK_NEVER && timer_set(&e->timers, &c->timer, earliest_ns) < 0)
        fault_mark(c); /* no memory for a timer: looked at in every round */
}

static void fault_timer(struct timer *timer, uint64_t now_ns)
{
    fault_mark((struct fault_conn *)((char *)timer - offsetof(struct fault_conn, timer)));
}

void fault_deliver(struct fault_engine *e)
{
    timers_run(&e->timers, e->now_ns);
    /* Those that get something to do meanwhile have their turn in this round too, within reason;
     * one that is looked at for want of a timer has another in the next. */
    for (unsigned turns = 0; e->ready != NULL && turns < FAULT_CALLS_MAX; turns++) {
        struct fault_conn *c = e->ready;
        e->ready = c->next_ready;
        if (e->ready == NULL)
            e->ready_end = &e->ready;
        c->ready = false;
        if (e->ready != NULL && !c->put_off && fault_strikes(e, e->options.reorder_permille)) {
            engine_count(&e->engine, FAULT_REORDERS, 1);
            c->put_off = true;
            fault_mark(c);
            continue;
        }
        c->put_off = false;
        fault_turn(c);
        if (e->calls >= FAULT_CALLS_MAX)
            return;
    }
}

void fault_conn_prepare_close(struct fault_engine *e, struct fault_conn *c)
{
    if (c->closed) {
        fault_finish(c);
        return;
    }
    fault_drop_in(c, true);
    fault_turn_holds(c);
}

/* --- calls down --- */

static struct fault_conn *fault_conn_new(struct fault_engine *e, void *ctx)
{
    struct fault_conn *c = conns_take(&e->conns);

    if (c == NULL)
        return NULL;
    if (timers_reserve(&e->timers, e->conns.room) < 0) {
        conns_give(&e->conns, c);
        return NULL;
    }
    memset((char *)c + sizeof(c->item), 0, sizeof(*c) - sizeof(c->item));
    c->engine = e;
    c->ctx = ctx;
    c->timer.fire = fault_timer;
    c->in.end = &c->in.first;
    c->out.end = &c->out.first;
    c->late.end = &c->late.first;
    c->holds.end = &c->holds.first;
    return c;
}

int fault_attach(struct engine *engine, const struct engine_accepted *accepted, void *ctx,
                 uint64_t *conn)
{
    struct fault_engine *e = fault_self(engine);
    struct fault_conn *c = e->closing ? NULL : fault_conn_new(e, ctx);

    if (c == NULL)
        return e->closing ? -ESHUTDOWN : -ENOMEM;
    int r = e->inner->ops->attach(e->inner, accepted, c, &c->inner);
    if (r < 0) {
        conns_give(&e->conns, c);
        return r;
    }
    c->opened = true;
    *conn = conns_handle(c);
    return 0;
}

int fault_connect(struct engine *engine, const struct addr *remote, const struct addr *local,
                  void *ctx, uint64_t *conn)
{
    struct fault_engine *e = fault_self(engine);
    struct fault_conn *c = e->closing ? NULL : fault_conn_new(e, ctx);

    if (c == NULL)
        return e->closing ? -ESHUTDOWN : -ENOMEM;
    int r = e->inner->ops->connect(e->inner, remote, local, c, &c->inner);
    if (r < 0) {
        conns_give(&e->conns, c);
        return r;
    }
    *conn = conns_handle(c);
    return 0;
}

/* The inner connection can end before the one above has been told: that is none of its business. */
static int fault_down(const struct fault_conn *c, int result)
{
    return result == -ESTALE && c != NULL ? 0 : result;
}

static bool fault_has_inner(const struct fault_conn *c)
{
    return !c->broken && !c->closed;
}

int fault_recv_pause(struct engine *engine, uint64_t conn)
{
    struct fault_engine *e = fault_self(engine);
    struct fault_conn *c = conns_find(&e->conns, conn);

    if (c == NULL)
        return -ESTALE;
    c->paused = true;
    return fault_has_inner(c) ? fault_down(c, e->inner->ops->recv_pause(e->inner, c->inner)) : 0;
}

int fault_recv_resume(struct engine *engine, uint64_t conn)
{
    struct fault_engine *e = fault_self(engine);
    struct fault_conn *c = conns_find(&e->conns, conn);

    if (c == NULL)
        return -ESTALE;
    c->paused = false;
    fault_mark(c);
    return fault_has_inner(c) ? fault_down(c, e->inner->ops->recv_resume(e->inner, c->inner)) : 0;
}

/* The inner engine's send, with a reference more on each buffer, given back as late as RELEASED
 * may be told. */
static int fault_send_held(struct fault_conn *c, const struct seg *segs, unsigned count,
                           uint64_t cookie)
{
    struct fault_engine *e = c->engine;

    for (unsigned i = 0; i < count; i++)
        if (segs[i].buf != NULL)
            buf_ref(segs[i].buf);
    int r = e->inner->ops->send(e->inner, c->inner, segs, count, cookie);
    for (unsigned i = 0; i < count; i++) {
        uint64_t due_ns = e->now_ns;
        if (segs[i].buf == NULL)
            continue;
        if (r == 0)
            due_ns = fault_due_ns(e, e->options.late_ns, FAULT_LATE_RELEASES);
        struct fault_event *event = due_ns > e->now_ns ? fault_event_new(c, FAULT_HOLD) : NULL;
        if (event == NULL) {
            buf_unref(segs[i].buf);
            continue;
        }
        event->inner = segs[i].buf;
        fault_queue_add(&c->holds, event, due_ns);
    }
    return r;
}

int fault_send(struct engine *engine, uint64_t conn, const struct seg *segs, unsigned count,
               uint64_t cookie)
{
    struct fault_engine *e = fault_self(engine);
    struct fault_conn *c = conns_find(&e->conns, conn);
    uint64_t bytes = 0;

    if (c == NULL)
        return -ESTALE;
    if (c->send_ended || c->closing || c->lost)
        return -EPIPE;
    if (fault_has_inner(c)) {
        int r = e->options.late_ns > 0 && !e->closing
                    ? fault_send_held(c, segs, count, cookie)
                    : e->inner->ops->send(e->inner, c->inner, segs, count, cookie);
        if (r != -ESTALE && r != -EPIPE)
            return r;
    }
    for (unsigned i = 0; i < count; i++)
        bytes += segs[i].size;
    /* Nobody is there to take it, which whoever is above has yet to hear of. */
    if (cookie != 0 &&
        !fault_queue_sent(c, &c->out, cookie, bytes, ENGINE_RELEASED | FAULT_LOST, e->now_ns))
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++)
        if (segs[i].buf != NULL)
            buf_unref(segs[i].buf);
    return 0;
}

int fault_send_end(struct engine *engine, uint64_t conn)
{
    struct fault_engine *e = fault_self(engine);
    struct fault_conn *c = conns_find(&e->conns, conn);

    if (c == NULL)
        return -ESTALE;
    c->send_ended = true;
    return fault_has_inner(c) ? fault_down(c, e->inner->ops->send_end(e->inner, c->inner)) : 0;
}

int fault_conn_close(struct engine *engine, uint64_t conn, bool abort)
{
    struct fault_engine *e = fault_self(engine);
    struct fault_conn *c = conns_find(&e->conns, conn);

    if (c == NULL)
        return -ESTALE;
    c->closing = true;
    c->aborting = c->aborting || abort;
    fault_drop_in(c, abort);
    fault_mark(c);
    if (c->closed && (abort || c->reason == ENGINE_CLOSED_BY_PEER)) {
        c->reason = ENGINE_CLOSED_LOCALLY;
        c->err = 0;
    }
    if (!fault_has_inner(c))
        return 0;
    return fault_down(c, e->inner->ops->conn_close(e->inner, c->inner, abort));
}
