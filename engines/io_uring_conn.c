/*
 * The life of connections and listeners. An fd is closed through the ring, behind whatever is
 * queued for it: closing it beside the ring would let those entries meet whoever gets the number
 * next. What is under way is cancelled in the same submission, and the connection is given back
 * when the last completion, notification and loan has come home.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "engines/io_uring_internal.h"

/* How often a connection is looked at that lingers: nothing tells when a peer that sends on has
 * acknowledged the last of ours. */
#define URING_LINGER_NS NS_PER_MS

static void uring_count_call(struct uring_engine *e)
{
    engine_count(&e->base, ENGINE_SYSTEM_CALLS, 1);
}

/* --- taking one --- */

static void uring_conn_register(struct uring_engine *e, struct uring_conn *c)
{
    c->ring_fd = c->fd;
    if (c->item.index >= e->fixed_count)
        return;
    uring_count_call(e);
    if (io_uring_register_files_update(&e->ring.io, c->item.index, &c->fd, 1) != 1)
        return;
    c->fixed = true;
    c->ring_fd = (int)c->item.index;
    c->ring_flags = IOSQE_FIXED_FILE;
}

/* The table's own reference would keep the socket open. */
static void uring_conn_unregister(struct uring_engine *e, struct uring_conn *c)
{
    int none = -1;

    if (!c->fixed)
        return;
    c->fixed = false;
    uring_count_call(e);
    io_uring_register_files_update(&e->ring.io, c->item.index, &none, 1);
}

struct uring_conn *uring_conn_new(struct uring_engine *e, int fd, enum uring_conn_state state,
                                  void *ctx)
{
    struct uring_conn *c = conns_take(&e->conns);

    if (c == NULL)
        return NULL;
    *c = (struct uring_conn){
        .item = c->item,
        .queue = c->queue, /* settled; its memory is kept */
        .fd = fd,
        .state = (uint8_t)state,
        .ctx = ctx,
    };
    uring_conn_register(e, c);
    uring_mark_dirty(e, c);
    return c;
}

/* The first connection tells whether there is a NAPI instance to be polled. */
static void uring_note_napi(struct uring_engine *e, int fd)
{
    unsigned napi_id = 0;
    socklen_t size = sizeof(napi_id);

    if (__builtin_expect(e->napi_noted || !uring_uses(e, URING_NAPI), 1))
        return;
    e->napi_noted = true;
    uring_count_call(e);
    getsockopt(fd, SOL_SOCKET, SO_INCOMING_NAPI_ID, &napi_id, &size);
    if (napi_id == 0)
        engine_cap_without_effect(&e->base, "busy polling", NULL);
}

int uring_attach(struct engine *engine, const struct engine_accepted *accepted, void *ctx,
                 uint64_t *conn)
{
    struct uring_engine *e = (struct uring_engine *)engine;

    if (e->closing)
        return -ESHUTDOWN;
    struct uring_conn *c = uring_conn_new(e, (int)accepted->token, URING_CONN_OPEN, ctx);
    if (c == NULL)
        return -ENOMEM;
    c->recv_single = addr_is_unix(&accepted->remote);
    uring_note_napi(e, c->fd);
    *conn = conns_handle(c);
    return 0;
}

int uring_connect(struct engine *engine, const struct addr *remote, const struct addr *local,
                  void *ctx, uint64_t *conn)
{
    struct uring_engine *e = (struct uring_engine *)engine;
    uint64_t calls = 0;

    if (e->closing)
        return -ESHUTDOWN;
    int fd = sock_open(remote, local, &e->config, 0, &calls);
    engine_count(&e->base, ENGINE_SYSTEM_CALLS, calls);
    if (fd < 0)
        return fd;
    struct uring_conn *c = uring_conn_new(e, fd, URING_CONN_CONNECTING, ctx);
    if (c == NULL) {
        uring_count_call(e);
        close(fd);
        return -ENOMEM;
    }
    c->remote = *remote;
    c->recv_single = addr_is_unix(remote);
    *conn = conns_handle(c);
    return 0;
}

/* --- ending one --- */

void uring_conn_cancel(struct uring_engine *e, struct uring_conn *c, uint64_t tag)
{
    struct io_uring_sqe *sqe = uring_sqe(e);

    io_uring_prep_cancel64(sqe, tag, 0);
    io_uring_sqe_set_data64(sqe, uring_conn_tag(c, URING_CANCEL));
    if (uring_uses(e, URING_CQE_SKIP))
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

/* What was to be cancelled was on its way just then, or had come to its end. */
void uring_cancel_failed(struct uring_engine *e, struct uring_conn *c)
{
    c->recv_cancelled = false;
    if (c->state == URING_CONN_ENDING)
        c->begun = false;
    uring_mark_dirty(e, c);
}

static void uring_linger_begin(struct uring_engine *e, struct uring_conn *c)
{
    c->lingers = true;
    c->linger.next = e->lingering;
    c->linger.from = &e->lingering;
    if (c->linger.next != NULL)
        c->linger.next->linger.from = &c->linger.next;
    e->lingering = c;
}

static void uring_linger_over(struct uring_conn *c)
{
    *c->linger.from = c->linger.next;
    if (c->linger.next != NULL)
        c->linger.next->linger.from = c->linger.from;
}

void uring_conn_end(struct uring_engine *e, struct uring_conn *c, enum engine_reason reason,
                    int err)
{
    if (c->state == URING_CONN_ENDING)
        return;
    if (c->lingers)
        uring_linger_over(c);
    c->state = URING_CONN_ENDING;
    c->mute = true;
    c->begun = false;
    c->reason = (uint8_t)reason;
    c->err = err;
    uring_mark_dirty(e, c);
}

static void uring_forget_starved(struct uring_engine *e, struct uring_conn *c)
{
    struct uring_conn **at = &e->starved.first;
    struct uring_conn *last = NULL;

    if (!c->recv_starved)
        return;
    c->recv_starved = false;
    while (*at != c) {
        last = *at;
        at = &last->starved_next;
    }
    *at = c->starved_next;
    if (e->starved.last == c)
        e->starved.last = last;
}

/* Cancels what is under way and closes the fd behind it. Comes again if a cancellation failed. */
static void uring_conn_begin_end(struct uring_engine *e, struct uring_conn *c)
{
    c->begun = true;
    if (c->recv_armed)
        uring_conn_cancel(e, c, uring_conn_tag(c, URING_RECV));
    if (c->out == URING_OUT_SEND || c->out == URING_OUT_FILE)
        uring_conn_cancel(e, c, uring_send_tag(c));
    if (c->out == URING_OUT_POLL)
        uring_conn_cancel(e, c, uring_conn_tag(c, URING_POLL_OUT));
    if (c->connecting)
        uring_conn_cancel(e, c, uring_conn_tag(c, URING_CONNECT));
    if (c->fd < 0)
        return;
    uring_forget_starved(e, c);
    uring_recv_drop_stash(e, c);
    if (c->abort || (c->err != 0 && c->reason != ENGINE_CLOSED_CONNECT)) {
        uring_count_call(e);
        sock_set_abort(c->fd);
    }
    uring_conn_unregister(e, c);
    struct io_uring_sqe *sqe = uring_sqe(e);
    io_uring_prep_close(sqe, c->fd);
    io_uring_sqe_set_data64(sqe, uring_conn_tag(c, URING_CLOSE));
    c->fd = -1;
    c->ops++;
}

static void uring_conn_ending(struct uring_engine *e, struct uring_conn *c)
{
    if (!c->begun)
        uring_conn_begin_end(e, c);
    /* On the list again: by an upward call of this very step. */
    if (c->ops > 0 || c->dirty)
        return;
    if (!c->dropped) {
        /* Loans that its own queue holds come back in here: no need for another step. */
        c->dirty = true;
        c->dropped = true;
        uring_send_drop(e, c);
        c->dirty = false;
    }
    if (c->lent_count > 0 && !e->closing)
        return;
    e->calls_up++;
    c->dirty = c->buried = true;
    e->base.events->on_closed(c->ctx, (enum engine_reason)c->reason, c->err);
    c->dirty = false;
    conns_give(&e->conns, c);
}

/* --- closing in order --- */

/* Everything is sent. On a peer that may send on: FIN now, and wait until it has taken it all. */
static void uring_conn_close_in_order(struct uring_engine *e, struct uring_conn *c)
{
    bool unread = c->recv_dropped || c->stash != NULL; /* taken off the socket, and not read */
    uint64_t calls = 0;

    c->recv_dropped = false;
    bool lingers = sock_must_linger(c->fd, c->large, &c->recv_ended, &calls);
    if (!c->lingers && (lingers || unread) && !c->recv_ended) {
        uring_linger_begin(e, c);
        calls++;
        shutdown(c->fd, SHUT_WR);
    }
    if (c->lingers && !c->recv_ended)
        calls++;
    engine_count(&e->base, ENGINE_SYSTEM_CALLS, calls);
    if (c->lingers && !c->recv_ended && !sock_is_acknowledged(c->fd)) {
        uint64_t retry_ns = clock_ns() + URING_LINGER_NS;
        e->retry_ns = e->retry_ns < retry_ns ? e->retry_ns : retry_ns;
        return;
    }
    uring_conn_end(e, c, ENGINE_CLOSED_LOCALLY, 0);
}

static bool uring_all_sent(const struct uring_conn *c)
{
    return sendq_is_drained(&c->queue) && c->out == URING_OUT_IDLE && c->gather == NULL;
}

static void uring_conn_drained(struct uring_engine *e, struct uring_conn *c)
{
    /* While notifications are to come, an abort must still find the socket. */
    bool may_end = c->zc == NULL;

    if (c->state == URING_CONN_CLOSING) {
        if (may_end)
            uring_conn_close_in_order(e, c);
        return;
    }
    if (c->end_wanted && !c->end_sent) {
        c->end_sent = true;
        uring_count_call(e);
        shutdown(c->fd, SHUT_WR);
    }
    if (c->end_sent && c->eof_told && may_end)
        uring_conn_end(e, c, ENGINE_CLOSED_BY_PEER, 0);
}

/* --- its next step --- */

static void uring_conn_submit_connect(struct uring_engine *e, struct uring_conn *c)
{
    struct io_uring_sqe *sqe = uring_sqe(e);

    io_uring_prep_connect(sqe, c->ring_fd, (struct sockaddr *)&c->remote.sa, c->remote.size);
    sqe->flags |= c->ring_flags;
    io_uring_sqe_set_data64(sqe, uring_conn_tag(c, URING_CONNECT));
    c->connecting = true;
    c->ops++;
}

void uring_connect_done(struct uring_engine *e, struct uring_conn *c, int result)
{
    c->connecting = false;
    c->ops--;
    uring_mark_dirty(e, c);
    if (c->state != URING_CONN_CONNECTING)
        return;
    if (result < 0) {
        uring_conn_end(e, c, ENGINE_CLOSED_CONNECT, -result);
        return;
    }
    uring_note_napi(e, c->fd);
    if (c->close_asked) {
        c->state = URING_CONN_CLOSING;
        return;
    }
    c->state = URING_CONN_OPEN;
    e->calls_up++;
    e->base.events->on_open(c->ctx);
}

void uring_close_done(struct uring_engine *e, struct uring_conn *c)
{
    c->ops--;
    uring_mark_dirty(e, c);
}

void uring_conn_step(struct uring_engine *e, struct uring_conn *c)
{
    if (c->state == URING_CONN_CONNECTING) {
        if (!c->begun)
            uring_conn_submit_connect(e, c);
        c->begun = true;
        return;
    }
    /* Receives first, though entries are carried out in order and a large receive keeps the answer
     * to the last one waiting: for a stream's sender acknowledgements come in larger groups so, of
     * which BBR makes a higher rate (1.3 with one connection; cubic 0.93). Echoes do not care. */
    if (c->state == URING_CONN_OPEN)
        uring_recv_step(e, c);
    if (c->state == URING_CONN_OPEN || c->state == URING_CONN_CLOSING)
        uring_send_step(e, c);
    if ((c->state == URING_CONN_CLOSING || c->end_wanted) && c->state != URING_CONN_ENDING &&
        uring_all_sent(c))
        uring_conn_drained(e, c);
    if (c->state == URING_CONN_ENDING)
        uring_conn_ending(e, c);
    else if (c->out == URING_OUT_QUIET &&
             (!sendq_is_drained(&c->queue) || c->end_wanted || c->state == URING_CONN_CLOSING))
        e->behind_quiet = true;
}

int uring_conn_close(struct engine *engine, uint64_t conn, bool abort)
{
    struct uring_engine *e = (struct uring_engine *)engine;
    struct uring_conn *c = uring_find(e, conn);

    if (c == NULL)
        return -ESTALE;
    c->mute = true;
    if (abort) {
        c->abort = true;
        uring_conn_end(e, c, ENGINE_CLOSED_LOCALLY, 0);
    } else if (c->state == URING_CONN_OPEN) {
        c->state = URING_CONN_CLOSING;
    } else if (c->state == URING_CONN_CONNECTING) {
        if (sendq_is_settled(&c->queue))
            uring_conn_end(e, c, ENGINE_CLOSED_LOCALLY, 0);
        else
            c->close_asked = true;
    }
    uring_mark_dirty(e, c);
    return 0;
}

/* --- listeners --- */

int uring_listen(struct engine *engine, const struct addr *addr, void *listener_ctx,
                 struct addr *bound, struct lab_error *err)
{
    struct uring_engine *e = (struct uring_engine *)engine;
    unsigned index = e->listener_count;
    struct uring_listener *grown = realloc(e->listeners, (index + 1) * sizeof(*grown));

    if (grown == NULL)
        return lab_fail(err, ENOMEM, "io_uring: no memory for another listener");
    e->listeners = grown;
    grown[index] = (struct uring_listener){.ctx = listener_ctx};
    int r = sock_listen(&grown[index].sock, addr, &e->config, 0, err);
    if (r < 0)
        return r;
    e->listener_count++;
    e->listeners_dirty = true;
    if (bound != NULL)
        *bound = grown[index].sock.bound;
    return 0;
}

static void uring_accepted(struct uring_engine *e, unsigned index, int fd)
{
    const struct addr *bound = &e->listeners[index].sock.bound;
    struct engine_accepted accepted = {
        .token = fd,
        .remote.size = sizeof(accepted.remote.sa),
    };

    uring_count_call(e);
    engine_count(&e->base, ENGINE_ACCEPTS, 1);
    /* A multishot accept has no room for addresses. One that was reset by now has lost its own:
     * it is told of like others, since accept4 would have, with an address of zeroes. */
    if (getpeername(fd, (struct sockaddr *)&accepted.remote.sa, &accepted.remote.size) < 0) {
        accepted.remote.sa.ss_family = bound->sa.ss_family;
        accepted.remote.size = bound->size;
    }
    e->calls_up++;
    e->base.events->on_accept(e->listeners[index].ctx, &accepted);
}

/* Accepted by the kernel before it learned of the pause. */
static void uring_hold_accepted(struct uring_engine *e, struct uring_listener *l, int fd)
{
    if (l->held_count == l->held_room) {
        unsigned room = l->held_room == 0 ? 16 : l->held_room * 2;
        int *grown = realloc(l->held, room * sizeof(*grown));
        if (grown == NULL) {
            uring_count_call(e);
            close(fd);
            engine_count(&e->base, ENGINE_ACCEPT_ERRORS, 1);
            return;
        }
        l->held = grown;
        l->held_room = room;
    }
    l->held[l->held_count++] = fd;
}

static void uring_accept_failed(struct uring_engine *e, unsigned index, int err)
{
    struct uring_listener *l = &e->listeners[index];

    if (!sock_accept_must_pause(err))
        return;
    uint64_t pause_ns = sock_backoff_next_ns(&l->backoff);
    l->retry_ns = clock_ns() + pause_ns;
    e->retry_ns = e->retry_ns < l->retry_ns ? e->retry_ns : l->retry_ns;
    engine_count(&e->base, ENGINE_ACCEPT_ERRORS, 1);
    e->calls_up++;
    e->base.events->on_accept_error(l->ctx, err, pause_ns);
}

void uring_accept_done(struct uring_engine *e, uint32_t index, int result, unsigned flags)
{
    struct uring_listener *l = &e->listeners[index];

    if (!(flags & IORING_CQE_F_MORE)) {
        l->armed = l->cancelled = false;
        e->listeners_dirty = true;
    }
    if (e->closing) {
        if (result >= 0)
            close(result);
        return;
    }
    if (result < 0) {
        if (result != -ECANCELED)
            uring_accept_failed(e, index, -result);
        return;
    }
    sock_backoff_reset(&l->backoff);
    if (e->accept_paused)
        uring_hold_accepted(e, l, result);
    else
        uring_accepted(e, index, result);
}

static void uring_listener_cancel(struct uring_engine *e, unsigned index)
{
    struct io_uring_sqe *sqe = uring_sqe(e);

    io_uring_prep_cancel64(sqe, uring_tag(URING_ACCEPT, index, 0), 0);
    io_uring_sqe_set_data64(sqe, uring_tag(URING_FORGET, 0, 0));
    e->listeners[index].cancelled = true;
}

static void uring_listener_arm(struct uring_engine *e, unsigned index)
{
    struct io_uring_sqe *sqe = uring_sqe(e);
    int fd = e->listeners[index].sock.fd;

    if (uring_uses(e, URING_MULTISHOT))
        io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    else
        io_uring_prep_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, uring_tag(URING_ACCEPT, index, 0));
    e->listeners[index].armed = true;
}

static void uring_listener_step(struct uring_engine *e, unsigned index)
{
    struct uring_listener *l = &e->listeners[index];

    if (e->accept_paused || e->closing) {
        if (l->armed && !l->cancelled)
            uring_listener_cancel(e, index);
        return;
    }
    while (l->held_count > 0 && !e->accept_paused) {
        int fd = l->held[0];
        memmove(l->held, l->held + 1, --l->held_count * sizeof(*l->held));
        uring_accepted(e, index, fd);
        l = &e->listeners[index]; /* another may have been added */
    }
    if (!l->armed && !e->accept_paused && l->retry_ns == 0)
        uring_listener_arm(e, index);
}

void uring_listeners_step(struct uring_engine *e)
{
    e->listeners_dirty = false;
    for (unsigned i = 0; i < e->listener_count; i++) {
        if (!uring_room(e)) {
            e->listeners_dirty = true;
            return;
        }
        uring_listener_step(e, i);
    }
}

void uring_retry(struct uring_engine *e)
{
    uint64_t now_ns = clock_ns();

    if (now_ns < e->retry_ns)
        return;
    e->retry_ns = CLOCK_NEVER;
    for (unsigned i = 0; i < e->listener_count; i++) {
        struct uring_listener *l = &e->listeners[i];
        if (l->retry_ns == 0)
            continue;
        if (now_ns >= l->retry_ns) {
            l->retry_ns = 0;
            e->listeners_dirty = true;
        } else if (l->retry_ns < e->retry_ns) {
            e->retry_ns = l->retry_ns;
        }
    }
    for (struct uring_conn *c = e->lingering; c != NULL; c = c->linger.next)
        uring_mark_dirty(e, c);
}
