/*
 * Connections of the dpdk engine. lwIP's callbacks come in the middle of its own work, so that
 * they only put what came into the connection and mark it; what was marked is done when the
 * whole burst is through the stack: receive, answer, one tcp_output a connection.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/line.h"

#include "engines/dpdk/dpdk.h"

/* How often a round goes through what it has marked itself, and what a connection may receive
 * in its turn: both bound a round. */
#define DPDK_PASSES_MAX 4
#define DPDK_PIECES_MAX 64
/* Bytes of a piece that is copied, at least. */
#define DPDK_COPY_ROOM 4096u
/* Beside its bytes a loan pins a frame: a reader of small pieces is charged for it. */
#define DPDK_LOAN_MORE sizeof(struct wire_frame)

static inline void dpdk_mark(struct dpdk_engine *e, struct dpdk_conn *c)
{
    if (c->marked)
        return;
    c->marked = true;
    c->next_marked = NULL;
    *e->marked_end = c;
    e->marked_end = &c->next_marked;
    e->marked_count++;
}

static inline struct dpdk_conn *dpdk_unmark(struct dpdk_engine *e)
{
    struct dpdk_conn *c = e->marked;

    e->marked = c->next_marked;
    if (e->marked == NULL)
        e->marked_end = &e->marked;
    e->marked_count--;
    c->marked = false;
    return c;
}

/* --- upward calls, timed in a round that is --- */

static inline uint64_t up_begins(struct dpdk_engine *e)
{
    e->upcalls++;
    return __builtin_expect(e->timed, 0) ? wire_cycles() : 0;
}

static inline void up_ends(struct dpdk_engine *e, uint64_t began)
{
    if (__builtin_expect(began != 0, 0))
        e->upcall_cycles += wire_cycles() - began;
}

static void dpdk_notify(struct dpdk_engine *e, struct dpdk_conn *c, const struct sendq_done *done)
{
    uint64_t began = up_begins(e);

    e->engine.events->on_sent(c->ctx, done->cookie, done->bytes, done->what);
    up_ends(e, began);
}

/* --- received frames --- */

static inline void dpdk_frame_free(struct dpdk_engine *e, struct wire_frame *frame)
{
    if (__builtin_expect(frame->room > 0, 0)) {
        free(frame);
        return;
    }
    e->held--;
    wire_frame_free(frame);
}

static inline void dpdk_received(struct dpdk_conn *c, struct wire_frame *frame)
{
    frame->next = NULL;
    *c->received_end = frame;
    c->received_end = &frame->next;
}

/* The device is short of frames: the bytes wait in memory of the engine's own, small pieces of them
 * together. Without memory the frame is kept. */
static bool dpdk_receive_copied(struct dpdk_conn *c, struct wire_frame *frame)
{
    uint32_t size = frame->buf.size, room = size > DPDK_COPY_ROOM ? size : DPDK_COPY_ROOM;
    struct wire_frame *copy = NULL;

    if (c->received != NULL)
        copy = (struct wire_frame *)((char *)c->received_end - offsetof(struct wire_frame, next));
    if (copy == NULL || copy->room < copy->buf.size + size) {
        copy = aligned_alloc(LINE_BYTES, line_round(sizeof(*copy) + room));
        if (copy == NULL)
            return false;
        copy->room = room;
        copy->buf.data = (uint8_t *)(copy + 1);
        copy->buf.size = 0;
        dpdk_received(c, copy);
    }
    memcpy(copy->buf.data + copy->buf.size, frame->buf.data, size);
    copy->buf.size += size;
    wire_frame_free(frame);
    engine_count(&c->engine->engine, ENGINE_BUF_SHORTAGES, 1);
    return true;
}

/* --- what the stack tells: only marks --- */

static void dpdk_drop_received(struct dpdk_conn *c)
{
    struct wire_frame *next;

    for (struct wire_frame *frame = c->received; frame != NULL; frame = next) {
        next = frame->next;
        c->window += frame->buf.size;
        dpdk_frame_free(c->engine, frame);
    }
    c->received = NULL;
    c->received_end = &c->received;
}

/* A small part waits for more: the peer has the rest, and each opening costs time. */
static inline void dpdk_open_window(struct dpdk_conn *c)
{
    if (c->window == 0 || c->window < c->engine->window_least)
        return;
    uint32_t paid = c->window < c->debt ? c->window : c->debt;
    c->debt -= paid;
    if (c->window > paid)
        stack_open_window(c->stack, c->window - paid);
    c->window = 0;
}

static void stack_received(void *context, struct wire_frame *frame)
{
    struct dpdk_conn *c = context;
    struct dpdk_engine *e = c->engine;

    if (__builtin_expect(e->held < e->held_max, 1) || !dpdk_receive_copied(c, frame)) {
        frame->room = 0;
        e->held++;
        dpdk_received(c, frame);
    }
    dpdk_mark(e, c);
}

static void stack_ended(void *context)
{
    struct dpdk_conn *c = context;

    c->ended = true;
    dpdk_mark(c->engine, c);
}

static void stack_acknowledged(void *context)
{
    struct dpdk_conn *c = context;

    if (__builtin_expect(c->blocked || c->fin, 0)) {
        c->blocked = false;
        dpdk_mark(c->engine, c);
    }
}

static void stack_connected(void *context)
{
    struct dpdk_conn *c = context;

    c->state = DPDK_CONNECTED;
    dpdk_mark(c->engine, c);
}

static void stack_gone(void *context, int err)
{
    struct dpdk_conn *c = context;

    c->stack = NULL;
    /* Our FIN was the last thing that it waited for. */
    if (err == 0)
        c->fin_acknowledged = true;
    else
        c->err = err;
    dpdk_mark(c->engine, c);
}

static struct dpdk_conn *dpdk_conn_new(struct dpdk_engine *e, enum dpdk_state state, void *ctx)
{
    struct dpdk_conn *c = conns_take(&e->conns);

    if (c == NULL)
        return NULL;
    *c = (struct dpdk_conn){
        .item = c->item,
        .engine = e,
        .sendq = c->sendq, /* settled; its memory is kept */
        .leaving = c->leaving,
        .next_leaving = c->next_leaving,
        .state = (uint8_t)state,
        .ctx = ctx,
    };
    c->received_end = &c->received;
    c->debt = e->debt;
    return c;
}

static void *stack_accepted(void *listener_context, struct stack_conn *stack)
{
    struct dpdk_listener *listener = listener_context;
    struct dpdk_engine *e = listener->engine;
    struct dpdk_conn *c =
        e->accept_again_ns == CLOCK_NEVER ? dpdk_conn_new(e, DPDK_EMBRYO, NULL) : NULL;

    if (c == NULL) {
        e->accept_failures++;
        return NULL;
    }
    c->stack = stack;
    stack_remote(stack, &c->remote);
    stack_limit(stack, (uint32_t)e->options.common.sndbuf);
    *listener->accepted_end = c;
    listener->accepted_end = &c->next_accepted;
    return c;
}

const struct stack_events dpdk_stack_events = {
    .accepted = stack_accepted,
    .connected = stack_connected,
    .received = stack_received,
    .ended = stack_ended,
    .acknowledged = stack_acknowledged,
    .gone = stack_gone,
};

/* --- the end of a connection --- */

/* Nobody will take it. */
static void dpdk_drop_unsent(struct dpdk_engine *e, struct dpdk_conn *c)
{
    struct sendq_done done;

    while (sendq_drop(&c->sendq, &done))
        dpdk_notify(e, c, &done);
}

static void dpdk_bury(struct dpdk_engine *e, struct dpdk_conn *c)
{
    if (c->loans.count > 0) {
        c->loans.wanted = true;
        return;
    }
    e->upcalls++;
    c->buried = true;
    e->engine.events->on_closed(c->ctx, c->reason, c->err);
    conns_give(&e->conns, c);
}

static void dpdk_end(struct dpdk_engine *e, struct dpdk_conn *c, enum engine_reason reason, int err)
{
    if (c->state == DPDK_DEAD)
        return;
    if (c->starved)
        e->starved_count--;
    c->starved = false;
    c->state = DPDK_DEAD;
    c->mute = true;
    c->reason = (uint8_t)reason;
    c->err = err;
    dpdk_drop_received(c);
    dpdk_drop_unsent(e, c);
    /* on_closed comes from dpdk_settle alone: no caller up the stack meets another connection in
     * this one's place. */
    dpdk_mark(e, c);
}

/* The stack is rid of it. */
static void dpdk_leave_stack(struct dpdk_conn *c)
{
    if (c->stack == NULL)
        return;
    if (stack_end_acknowledged(c->stack))
        stack_forget(c->stack);
    else
        stack_abort(c->stack);
    c->stack = NULL;
}

void dpdk_conn_abort(struct dpdk_engine *e, struct dpdk_conn *c)
{
    if (c->stack != NULL)
        stack_abort(c->stack);
    c->stack = NULL;
    dpdk_end(e, c, ENGINE_CLOSED_LOCALLY, 0);
}

static enum engine_reason dpdk_reason(const struct dpdk_conn *c, int err)
{
    if (c->state == DPDK_CONNECTING || c->state == DPDK_REFUSED)
        return ENGINE_CLOSED_CONNECT;
    return sock_reason(err);
}

/* --- receiving --- */

static void dpdk_returned(struct buf *buf)
{
    struct wire_frame *frame = (struct wire_frame *)buf;
    struct dpdk_conn *c = frame->owner;
    struct dpdk_engine *e = c->engine;

    c->loans.bytes -= frame->charged;
    c->loans.count--;
    e->lent--;
    c->window += buf->size;
    dpdk_frame_free(e, frame);
    /* In its own turn the window is opened anyway; what is left to be told needs another turn. */
    if ((e->current != c || c->received != NULL) && !e->closing)
        dpdk_mark(e, c);
    if (__builtin_expect(e->starved_count > 0 && !e->closing, 0)) {
        uint32_t index = 0;
        while (e->starved_count > 0 && (c = conns_next(&e->conns, &index)) != NULL) {
            if (!c->starved)
                continue;
            c->starved = false;
            e->starved_count--;
            dpdk_mark(e, c);
        }
    }
}

/* At its quota, or the instance at its own (then only one that has nothing may have something). */
static bool dpdk_may_lend(struct dpdk_engine *e, struct dpdk_conn *c)
{
    if (__builtin_expect(c->loans.count == 0 && e->lent < e->lent_max, 1))
        return true;
    if (c->loans.bytes < e->options.common.loan_bytes && c->loans.count < e->lent_max / 2 &&
        e->lent < e->lent_max)
        return true;
    engine_count(&e->engine, ENGINE_BUF_SHORTAGES, 1);
    if (e->lent >= e->lent_max && !c->starved) {
        c->starved = true;
        e->starved_count++;
    }
    return false;
}

static bool dpdk_reads(const struct dpdk_conn *c)
{
    return c->state == DPDK_OPEN && !c->paused && !c->closing && !c->aborting;
}

static void dpdk_lend(struct dpdk_engine *e, struct dpdk_conn *c, struct wire_frame *frame)
{
    struct buf *buf = &frame->buf;

    buf->refs = 1;
    buf->depth = 0;
    buf->release = dpdk_returned;
    frame->owner = c;
    frame->charged = buf->size + (uint32_t)DPDK_LOAN_MORE;
    c->loans.bytes += frame->charged;
    c->loans.count++;
    e->lent++;
    engine_count(&e->engine, ENGINE_RECVS, 1);
    engine_count(&e->engine, ENGINE_RECV_BYTES, buf->size);
    uint64_t began = up_begins(e);
    e->engine.events->on_recv(c->ctx, buf, c->received != NULL ? ENGINE_RECV_MORE : 0);
    up_ends(e, began);
    buf_unref(buf);
}

static void dpdk_deliver(struct dpdk_engine *e, struct dpdk_conn *c)
{
    struct wire_frame *frame;

    for (unsigned i = 0; (frame = c->received) != NULL && dpdk_reads(c); i++) {
        if (i == DPDK_PIECES_MAX) {
            dpdk_mark(e, c);
            return;
        }
        if (!dpdk_may_lend(e, c))
            return;
        c->received = frame->next;
        if (c->received == NULL)
            c->received_end = &c->received;
        dpdk_lend(e, c, frame);
    }
    if (__builtin_expect(c->ended && !c->eof && c->received == NULL, 0) && dpdk_reads(c)) {
        c->eof = true;
        uint64_t began = up_begins(e);
        e->engine.events->on_eof(c->ctx);
        up_ends(e, began);
    }
}

/* --- sending --- */

/* The next piece of a file, through memory: emulated. Bytes, or -errno. */
static ssize_t dpdk_read_file(struct dpdk_engine *e, const struct seg *file, size_t most)
{
    size_t size = file->size < most ? file->size : most;

    size = size < sizeof(e->file) ? size : sizeof(e->file);
    for (size_t done = 0; done < size;) {
        engine_count(&e->engine, ENGINE_SYSTEM_CALLS, 1);
        ssize_t n = pread(file->fd, e->file + done, size - done, (off_t)(file->file_offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENODATA; /* shorter than what was promised */
        done += (size_t)n;
    }
    return (ssize_t)size;
}

/* One gather into the stack: bytes taken, or -errno. *asked is what there was. */
static ssize_t dpdk_write(struct dpdk_engine *e, struct dpdk_conn *c, uint64_t *asked)
{
    size_t room = stack_room(c->stack, c->sendq.unsent_bytes), taken = 0;
    struct seg file;

    *asked = 1;
    if (room == 0)
        return 0;
    if (__builtin_expect(sendq_next_file(&c->sendq, &file), 0)) {
        ssize_t n = dpdk_read_file(e, &file, room);
        if (n < 0)
            return n;
        *asked = (uint64_t)n;
        return (ssize_t)stack_write(c->stack, e->file, (size_t)n,
                                    (uint64_t)n < c->sendq.unsent_bytes);
    }
    unsigned count = sendq_gather(&c->sendq, e->iov, DPDK_GATHER_SEGS, room, asked);
    bool more = *asked < c->sendq.unsent_bytes;
    for (unsigned i = 0; i < count; i++) {
        size_t n =
            stack_write(c->stack, e->iov[i].iov_base, e->iov[i].iov_len, more || i + 1 < count);
        taken += n;
        if (n < e->iov[i].iov_len)
            break;
    }
    return (ssize_t)taken;
}

/* Out with it, and the new window along. The last one of a round has nobody to wait for. */
static inline void dpdk_push(struct dpdk_engine *e, struct dpdk_conn *c)
{
    dpdk_open_window(c);
    stack_push(c->stack);
    if (e->marked_count == 0)
        wire_flush(e->wire);
}

static void dpdk_flush(struct dpdk_engine *e, struct dpdk_conn *c)
{
    struct sendq_done done;
    bool unpushed = false;

    while (!sendq_is_drained(&c->sendq) && !c->aborting) {
        uint64_t asked;
        ssize_t n = dpdk_write(e, c, &asked);
        if (__builtin_expect(n < 0, 0)) {
            dpdk_leave_stack(c);
            dpdk_end(e, c, ENGINE_CLOSED_ERROR, (int)-n);
            return;
        }
        if (n > 0) {
            unpushed = (uint64_t)n < c->sendq.unsent_bytes;
            if (!unpushed) /* before anybody is told: that takes as long */
                dpdk_push(e, c);
            engine_count(&e->engine, ENGINE_SENDS, 1);
            engine_count(&e->engine, ENGINE_SENT_BYTES, (uint64_t)n);
            for (bool due = sendq_took(&c->sendq, (uint64_t)n, &done); due;
                 due = sendq_take(&c->sendq, &done))
                dpdk_notify(e, c, &done);
        }
        if ((uint64_t)n < asked) {
            c->blocked = true; /* until something is acknowledged */
            break;
        }
    }
    if (unpushed)
        dpdk_push(e, c);
    else
        dpdk_open_window(c);
}

/* Everything is in the stack: does what was to come after. */
static void dpdk_drained(struct dpdk_engine *e, struct dpdk_conn *c)
{
    if ((c->closing || c->send_end) && !c->fin) {
        c->fin = stack_end(c->stack);
        if (!c->fin) {
            dpdk_mark(e, c);
        } else if (!c->leaving) {
            c->leaving = true;
            c->next_leaving = e->leaving;
            e->leaving = c;
        }
    }
    if (c->closing && c->state == DPDK_OPEN) {
        c->state = DPDK_FINISHING;
    }
}

/* The stack says what was acknowledged of bytes, and not that a FIN was: a peer that leaves its own
 * end open says nothing more. */
void dpdk_look_at_leaving(struct dpdk_engine *e)
{
    struct dpdk_conn **at = &e->leaving, *c;

    while ((c = *at) != NULL) {
        bool alive = c->fin && c->stack != NULL;
        if (alive && !stack_end_acknowledged(c->stack)) {
            at = &c->next_leaving;
            continue;
        }
        *at = c->next_leaving;
        c->leaving = false;
        if (alive)
            dpdk_mark(e, c);
    }
}

/* What has ended by itself, or can. */
static void dpdk_finish(struct dpdk_engine *e, struct dpdk_conn *c)
{
    bool acknowledged = c->fin_acknowledged;

    if (c->stack != NULL && c->fin && stack_end_acknowledged(c->stack))
        acknowledged = c->fin_acknowledged = true;
    if (c->state == DPDK_FINISHING && acknowledged) {
        dpdk_leave_stack(c);
        dpdk_end(e, c, ENGINE_CLOSED_LOCALLY, 0);
    } else if (c->eof && acknowledged && sendq_is_drained(&c->sendq)) {
        dpdk_leave_stack(c);
        dpdk_end(e, c, c->closing ? ENGINE_CLOSED_LOCALLY : ENGINE_CLOSED_BY_PEER, 0);
    } else if (c->stack != NULL && stack_is_over(c->stack)) {
        /* It may vanish any time now; what it has received is still to be told. */
        stack_forget(c->stack);
        c->stack = NULL;
    }
}

/* The stack has lost it: what came before is told first. What was to be sent is given up at once:
 * who waits for that may be who holds the loans for which the rest of what came waits. */
static void dpdk_lost(struct dpdk_engine *e, struct dpdk_conn *c)
{
    if (c->state == DPDK_CONNECTING || c->state == DPDK_REFUSED) {
        int err = c->err == ECONNRESET ? ECONNREFUSED : c->err;
        dpdk_end(e, c, c->closing ? ENGINE_CLOSED_LOCALLY : ENGINE_CLOSED_CONNECT,
                 c->closing ? 0 : err);
        return;
    }
    if (c->state == DPDK_FINISHING) {
        dpdk_end(e, c, ENGINE_CLOSED_LOCALLY, 0);
        return;
    }
    c->mute = true;
    if (c->received != NULL && !c->closing)
        dpdk_drop_unsent(e, c);
    else
        dpdk_end(e, c, c->closing ? ENGINE_CLOSED_LOCALLY : dpdk_reason(c, c->err),
                 c->closing ? 0 : c->err);
}

static void dpdk_open(struct dpdk_engine *e, struct dpdk_conn *c)
{
    c->state = DPDK_OPEN;
    if (c->closing)
        return;
    uint64_t began = up_begins(e);
    e->engine.events->on_open(c->ctx);
    up_ends(e, began);
}

static void dpdk_settle_rare(struct dpdk_engine *e, struct dpdk_conn *c)
{
    if (c->state == DPDK_DEAD) {
        dpdk_bury(e, c);
        return;
    }
    if (c->state == DPDK_EMBRYO)
        return;
    if (c->aborting) {
        dpdk_conn_abort(e, c);
        return;
    }
    if (c->state == DPDK_CONNECTED)
        dpdk_open(e, c);
    if (c->state == DPDK_OPEN && !c->aborting)
        dpdk_deliver(e, c);
    /* Reading has ended, but the peer that sends on must not be kept from our answer. */
    if (c->closing)
        dpdk_drop_received(c);
    if (c->stack != NULL)
        dpdk_open_window(c);
    if (c->stack != NULL && c->state == DPDK_OPEN && !c->blocked)
        dpdk_flush(e, c);
    if (c->state == DPDK_DEAD || c->aborting)
        return; /* it is marked */
    if (c->stack != NULL && c->state == DPDK_OPEN && sendq_is_drained(&c->sendq))
        dpdk_drained(e, c);
    if (c->closing && c->state == DPDK_CONNECTING && sendq_is_drained(&c->sendq)) {
        if (c->stack != NULL)
            stack_abort(c->stack);
        c->stack = NULL;
        dpdk_end(e, c, ENGINE_CLOSED_LOCALLY, 0);
        return;
    }
    dpdk_finish(e, c);
    if (c->state != DPDK_DEAD && c->stack == NULL && c->err != 0)
        dpdk_lost(e, c);
}

/* Does all that has come for the connection, and that was asked of it. */
static inline void dpdk_settle(struct dpdk_engine *e, struct dpdk_conn *c)
{
    e->current = c;
    if (__builtin_expect(c->state == DPDK_OPEN && c->stack != NULL && !c->aborting && !c->ended &&
                             !c->closing && !c->send_end && !c->blocked,
                         1)) {
        dpdk_deliver(e, c);
        dpdk_flush(e, c);
        /* What the calls up have asked for, beside sending. */
        if (__builtin_expect(c->state == DPDK_OPEN &&
                                 (c->closing || c->send_end || c->aborting || c->stack == NULL),
                             0))
            dpdk_settle_rare(e, c);
    } else {
        dpdk_settle_rare(e, c);
    }
    e->current = NULL;
}

void dpdk_run_marked(struct dpdk_engine *e)
{
    for (int pass = 0; pass < DPDK_PASSES_MAX && e->marked_count > 0; pass++)
        for (unsigned left = e->marked_count; left > 0; left--)
            dpdk_settle(e, dpdk_unmark(e));
}

/* The process at the other end has ended, or its host: no RST will tell. */
void dpdk_link_lost(struct dpdk_engine *e)
{
    struct dpdk_conn *c;
    uint32_t index = 0;

    while ((c = conns_next(&e->conns, &index)) != NULL) {
        if (c->stack == NULL || c->state == DPDK_CONNECTING)
            continue;
        /* Both have said all that they had to say: that nobody confirms it any more is no
         * failure. */
        bool in_order = c->state == DPDK_FINISHING || (c->fin && c->ended);
        stack_cut(c->stack);
        stack_gone(c, in_order ? 0 : ECONNRESET);
    }
    stack_peer_has_gone();
}

/* --- calls down --- */

static struct dpdk_conn *dpdk_find(struct engine *engine, uint64_t conn)
{
    struct dpdk_conn *c = conns_find(&dpdk_self(engine)->conns, conn);

    return c != NULL && c->state != DPDK_DEAD && c->state != DPDK_EMBRYO ? c : NULL;
}

int dpdk_attach(struct engine *engine, const struct engine_accepted *accepted, void *ctx,
                uint64_t *conn)
{
    struct dpdk_engine *e = dpdk_self(engine);
    struct dpdk_conn *c = conns_find(&e->conns, (uint64_t)accepted->token);

    if (c == NULL || c->state != DPDK_EMBRYO)
        return -ESTALE;
    c->state = DPDK_OPEN;
    c->ctx = ctx;
    *conn = conns_handle(c);
    dpdk_mark(e, c);
    return 0;
}

void dpdk_refuse(struct dpdk_engine *e, struct dpdk_conn *c)
{
    if (c->stack != NULL)
        stack_abort(c->stack);
    c->stack = NULL;
    dpdk_drop_received(c);
    /* Marked ones are in a list; they are given back from there. */
    if (c->marked) {
        c->state = DPDK_EMBRYO;
        struct dpdk_conn **at = &e->marked;
        while (*at != c)
            at = &(*at)->next_marked;
        *at = c->next_marked;
        if (e->marked_end == &c->next_marked)
            e->marked_end = at;
        e->marked_count--;
        c->marked = false;
    }
    conns_give(&e->conns, c);
}

int dpdk_connect(struct engine *engine, const struct addr *remote, const struct addr *local,
                 void *ctx, uint64_t *conn)
{
    struct dpdk_engine *e = dpdk_self(engine);
    struct lab_error err;
    int r = dpdk_place_open(e, false, remote, &err);

    if (r < 0 && r != -ECONNREFUSED && r != -EHOSTUNREACH)
        return r;
    struct dpdk_conn *c = dpdk_conn_new(e, r < 0 ? DPDK_REFUSED : DPDK_CONNECTING, ctx);
    if (c == NULL)
        return -EMFILE;
    c->err = -r;
    if (r == 0) {
        r = stack_connect(remote, local, c, &c->stack);
        if (r < 0) {
            conns_give(&e->conns, c);
            return r;
        }
        stack_limit(c->stack, (uint32_t)e->options.common.sndbuf);
    } else {
        dpdk_mark(e, c);
    }
    *conn = conns_handle(c);
    return 0;
}

int dpdk_recv_pause(struct engine *engine, uint64_t conn)
{
    struct dpdk_conn *c = dpdk_find(engine, conn);

    if (c == NULL)
        return -ESTALE;
    c->paused = true;
    return 0;
}

int dpdk_recv_resume(struct engine *engine, uint64_t conn)
{
    struct dpdk_conn *c = dpdk_find(engine, conn);

    if (c == NULL)
        return -ESTALE;
    c->paused = false;
    dpdk_mark(c->engine, c);
    return 0;
}

int dpdk_send(struct engine *engine, uint64_t conn, const struct seg *segs, unsigned count,
              uint64_t cookie)
{
    struct dpdk_conn *c = conns_find(&dpdk_self(engine)->conns, conn);

    if (c == NULL || c->state == DPDK_EMBRYO)
        return -ESTALE;
    if (c->mute)
        return c->buried ? -ESTALE : -EPIPE;
    int r = sendq_push(&c->sendq, segs, count, cookie);
    /* Within its own turn the queue is looked at when the call up returns. */
    if (r == 0 && c->engine->current != c)
        dpdk_mark(c->engine, c);
    return r;
}

int dpdk_send_end(struct engine *engine, uint64_t conn)
{
    struct dpdk_conn *c = dpdk_find(engine, conn);

    if (c == NULL)
        return -ESTALE;
    c->send_end = c->mute = true;
    dpdk_mark(c->engine, c);
    return 0;
}

int dpdk_conn_close(struct engine *engine, uint64_t conn, bool abort)
{
    struct dpdk_conn *c = dpdk_find(engine, conn);

    if (c == NULL)
        return -ESTALE;
    c->closing = c->mute = true;
    c->aborting = c->aborting || abort;
    dpdk_mark(c->engine, c);
    return 0;
}
