/*
 * Connections of the epoll engine: what was asked of one is done when the upward call in which
 * it was asked returns, so that all that was queued there goes out as one gather.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/seldom.h"
#include "engines/epoll.h"

/* Gathers that a connection may send on end while on_sent refills its queue, and how often a
 * round goes through the connections that got something to do: both bound a round. */
#define EPOLL_GATHERS_MAX 4
#define EPOLL_PASSES_MAX  4

/* --- what has something to do after an upward call, or first thing in a poll --- */

static void epoll_mark(struct epoll_engine *e, struct epoll_conn *c)
{
    if (c->dirty)
        return;
    c->dirty = true;
    c->next_dirty = NULL;
    *e->dirty_end = c;
    e->dirty_end = &c->next_dirty;
    e->dirty_count++;
}

static struct epoll_conn *epoll_unmark(struct epoll_engine *e)
{
    struct epoll_conn *c = e->dirty;

    e->dirty = c->next_dirty;
    if (e->dirty == NULL)
        e->dirty_end = &e->dirty;
    e->dirty_count--;
    c->dirty = false;
    return c;
}

/* Tells epoll what the connection waits for, if that has changed. An fd that waits for nothing
 * leaves the set only when it must (epoll_hung_up): HUP and ERR are always reported. */
static int epoll_watch(struct epoll_engine *e, struct epoll_conn *c)
{
    bool open = (c->state == EPOLL_OPEN && !c->closing) || c->state == EPOLL_LINGERS;
    bool reads = open && !c->eof && !c->deaf;
    bool writes = c->blocked || c->state == EPOLL_CONNECTING;
    uint32_t events = (reads ? (uint32_t)EPOLLIN : 0) | (writes ? (uint32_t)EPOLLOUT : 0);

    if (c->armed == events || (c->armed == EPOLL_UNWATCHED && events == 0))
        return 0;
    struct epoll_event event = {.events = events, .data.u64 = conns_handle(c)};
    int op = c->armed == EPOLL_UNWATCHED ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    epoll_syscall(e);
    if (epoll_ctl(e->epfd, op, c->fd, &event) < 0)
        return -errno;
    c->armed = events;
    return 0;
}

/* Out of watches or memory, a connection cannot be served and fails. */
static inline void epoll_arm(struct epoll_engine *e, struct epoll_conn *c)
{
    /* Nearly always: it reads, and reads on. */
    if (__builtin_expect(c->armed == EPOLLIN && c->state == EPOLL_OPEN &&
                             !(c->closing | c->eof | c->deaf | c->blocked),
                         1))
        return;
    int r = epoll_watch(e, c);

    if (r < 0) {
        c->err = -r;
        epoll_mark(e, c);
    }
}

/* --- what no event tells about --- */

static void epoll_retry_put(struct epoll_engine *e, struct epoll_conn *c)
{
    c->next_retry = NULL;
    c->retry_from = e->retries_end;
    *e->retries_end = c;
    e->retries_end = &c->next_retry;
    e->retries_count++;
}

/* It will be looked at by epoll_retry. */
static void epoll_will_retry(struct epoll_engine *e, struct epoll_conn *c)
{
    if (e->retries_count == 0)
        e->retry_ns = clock_ns() + EPOLL_RETRY_NS;
    epoll_retry_put(e, c);
}

static void epoll_retry_over(struct epoll_engine *e, struct epoll_conn *c)
{
    *c->retry_from = c->next_retry;
    if (c->next_retry != NULL)
        c->next_retry->retry_from = c->retry_from;
    else
        e->retries_end = c->retry_from;
    e->retries_count--;
}

/* --- the end of a connection --- */

/* The last upward call, once everything on loan is back. */
static void epoll_bury(struct epoll_engine *e, struct epoll_conn *c)
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

static void epoll_notify(struct epoll_engine *e, struct epoll_conn *c,
                         const struct sendq_done *done)
{
    e->upcalls++;
    e->engine.events->on_sent(c->ctx, done->cookie, done->bytes, done->what);
}

/* Nobody will take it. */
static void epoll_drop_unsent(struct epoll_engine *e, struct epoll_conn *c)
{
    struct sendq_done done;

    while (sendq_drop(&c->sendq, &done))
        epoll_notify(e, c, &done);
}

static void epoll_end(struct epoll_engine *e, struct epoll_conn *c, enum engine_reason reason,
                      int err)
{
    if (c->state == EPOLL_DEAD)
        return;
    if (c->state == EPOLL_RETRIES || c->state == EPOLL_LINGERS)
        epoll_retry_over(e, c);
    free(c->remote);
    c->remote = NULL;
    c->state = EPOLL_DEAD;
    c->mute = true;
    c->starved = false; /* a loan that comes back, within on_closed too, must not mark it again */
    c->reason = (uint8_t)reason;
    c->err = err;
    epoll_syscall(e);
    close(c->fd);
    epoll_drop_unsent(e, c);
    /* on_closed comes from epoll_settle alone: no caller up the stack meets another connection
     * in this one's place. */
    epoll_mark(e, c);
}

void epoll_conn_abort(struct epoll_engine *e, struct epoll_conn *c)
{
    if (c->state == EPOLL_DEAD)
        return; /* its fd's number may be another's by now */
    epoll_syscall(e);
    sock_set_abort(c->fd);
    epoll_end(e, c, ENGINE_CLOSED_LOCALLY, 0);
}

/* --- receiving --- */

static void epoll_deafen(struct epoll_engine *e, struct epoll_conn *c)
{
    c->deaf = true;
    epoll_arm(e, c);
}

/*
 * One receive. False: nothing came, or the connection is not to be read now. flags is 0 when an
 * event has said that there is something to read: an accepted socket would block otherwise, over
 * TCP for a tick at most (epoll_set_least_wait).
 */
static bool epoll_receive(struct epoll_engine *e, struct epoll_conn *c, int flags)
{
    size_t room;

    if (!bufpool_may_lend(e->pool, &c->loans)) {
        epoll_count(e, ENGINE_BUF_SHORTAGES, 1);
        c->loans.wanted = true;
        epoll_deafen(e, c);
        return false;
    }
    struct buf *buf = bufpool_peek(e->pool, &c->loans, &room);
    if (buf == NULL && e->options.common.bufs == 0) {
        epoll_end(e, c, ENGINE_CLOSED_ERROR, ENOMEM);
        return false;
    }
    if (buf == NULL) {
        epoll_count(e, ENGINE_BUF_SHORTAGES, 1);
        bufpool_want(e->pool);
        c->starved = true;
        epoll_deafen(e, c);
        return false;
    }
    ssize_t n = sock_recv(c->fd, buf->data, room, flags);
    epoll_syscall(e);
    if (n > 0) {
        epoll_count(e, ENGINE_RECVS, 1);
        epoll_count(e, ENGINE_RECV_BYTES, (uint64_t)n);
        bufpool_lend(e->pool, buf, (size_t)n, &c->loans);
        e->upcalls++;
        e->engine.events->on_recv(c->ctx, buf, 0);
        buf_unref(buf);
        return true;
    }
    if (n == 0 && c->send_err != 0) {
        epoll_end(e, c, sock_reason(c->send_err), c->send_err);
    } else if (n == 0) {
        c->eof = true;
        e->upcalls++;
        e->engine.events->on_eof(c->ctx);
        epoll_mark(e, c);
    } else if (errno != EAGAIN && errno != EINTR) {
        epoll_end(e, c, sock_reason(errno), errno);
    }
    return false;
}

static bool epoll_reads(const struct epoll_conn *c)
{
    return c->state == EPOLL_OPEN && !c->eof && !c->paused && !c->closing && !c->aborting;
}

/* --- sending --- */

static bool epoll_has_unread(struct epoll_engine *e, const struct epoll_conn *c)
{
    epoll_syscall(e);
    return sock_has_unread(c->fd);
}

/*
 * The peer is gone. It may have answered before; that answer is worth more than our failure, so
 * the connection ends when it is read, which may be later: while paused, or at the quota.
 */
static void epoll_send_failed(struct epoll_engine *e, struct epoll_conn *c, int err)
{
    bool gone = err == EPIPE || err == ECONNRESET;
    bool later = c->paused || c->deaf;

    if (!gone || c->closing || c->aborting || c->eof || (later && !epoll_has_unread(e, c))) {
        epoll_end(e, c, sock_reason(err), err);
        return;
    }
    c->send_err = err;
    c->mute = true;
    c->blocked = false;
    epoll_drop_unsent(e, c);
}

/* One submission: bytes taken, or -errno. *asked is what there was to take. */
static ssize_t epoll_send_some(struct epoll_engine *e, struct epoll_conn *c, uint64_t *asked)
{
    uint64_t calls = 0;

    ssize_t n = sock_send_queued(c->fd, &c->sendq, e->iov, &c->nonblocking, asked, &calls);
    epoll_count(e, ENGINE_SYSTEM_CALLS, calls);
    epoll_count(e, ENGINE_SENDS, 1);
    return n;
}

/* What a submission came to: bytes taken, or -errno. False: no more can be sent now. piece: it was
 * all that there is, and one piece. */
static INLINED bool epoll_sent(struct epoll_engine *e, struct epoll_conn *c, ssize_t n,
                               uint64_t asked, bool piece)
{
    struct sendq_done done;

    if (__builtin_expect(n < 0, 0)) {
        if (n == -EAGAIN)
            c->blocked = true;
        else
            epoll_send_failed(e, c, (int)-n);
        return false;
    }
    epoll_count(e, ENGINE_SENT_BYTES, (uint64_t)n);
    c->large |= n >= SOCK_LARGE_SEND_BYTES;
    bool due = piece && (uint64_t)n == asked ? sendq_took_piece(&c->sendq, &done)
                                             : sendq_took(&c->sendq, (uint64_t)n, &done);
    for (; __builtin_expect(due, 0); due = sendq_take(&c->sendq, &done))
        epoll_notify(e, c, &done);
    if (c->aborting)
        return false;
    if ((uint64_t)n < asked)
        c->blocked = true;
    return !c->blocked;
}

static SELDOM void epoll_flush(struct epoll_engine *e, struct epoll_conn *c)
{
    for (int i = 0; !sendq_is_drained(&c->sendq); i++) {
        uint64_t asked;

        if (i == EPOLL_GATHERS_MAX) {
            epoll_mark(e, c);
            return;
        }
        ssize_t n = epoll_send_some(e, c, &asked);
        if (n != -EINTR && !epoll_sent(e, c, n, asked, false))
            return;
    }
}

/*
 * Nearly always an open connection has one piece to send, and nothing else was asked of it. What
 * is asked meanwhile marks it again. False: nothing was done.
 */
static inline bool epoll_settle_shortly(struct epoll_engine *e, struct epoll_conn *c)
{
    const struct sendq *q = &c->sendq;
    uint64_t size = q->unsent_bytes;

    if (__builtin_expect(c->state != EPOLL_OPEN || c->mute || c->blocked || c->err != 0, 0) ||
        __builtin_expect(!sendq_is_one_piece(q) || size > SOCK_SEND_BYTES, 0))
        return false;
    epoll_syscall(e);
    epoll_count(e, ENGINE_SENDS, 1);
    ssize_t n = sock_send(c->fd, sendq_at(q, q->sent)->seg.data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (__builtin_expect(n < 0, 0)) {
        if (errno == EINTR)
            return false;
        n = -errno;
    }
    epoll_sent(e, c, n, size, q->sent == q->released);
    if (__builtin_expect(c->state != EPOLL_DEAD, 1))
        epoll_arm(e, c);
    return true;
}

static void epoll_finish(struct epoll_engine *e, struct epoll_conn *c)
{
    uint64_t calls = 0;

    bool lingers = sock_must_linger(c->fd, c->large, &c->eof, &calls);
    epoll_count(e, ENGINE_SYSTEM_CALLS, calls);
    if (!lingers) {
        epoll_end(e, c, ENGINE_CLOSED_LOCALLY, 0);
        return;
    }
    epoll_syscall(e);
    shutdown(c->fd, SHUT_WR);
    c->state = EPOLL_LINGERS;
    c->deaf = false;
    epoll_will_retry(e, c);
}

static void epoll_linger(struct epoll_engine *e, struct epoll_conn *c)
{
    uint64_t calls = 1;

    sock_discard(c->fd, &c->eof, &calls);
    epoll_count(e, ENGINE_SYSTEM_CALLS, calls);
    if (c->eof || sock_is_acknowledged(c->fd))
        epoll_end(e, c, ENGINE_CLOSED_LOCALLY, 0);
}

/* Everything is sent: does what was to come after. */
static void epoll_drained(struct epoll_engine *e, struct epoll_conn *c)
{
    if (c->closing) {
        epoll_finish(e, c);
        return;
    }
    if (c->send_end && !c->fin) {
        c->fin = true;
        epoll_syscall(e);
        shutdown(c->fd, SHUT_WR);
    }
    if (c->fin && c->eof)
        epoll_end(e, c, ENGINE_CLOSED_BY_PEER, 0);
}

/* Does all that calls down have asked of the connection. */
static SELDOM void epoll_settle(struct epoll_engine *e, struct epoll_conn *c)
{
    if (c->state == EPOLL_DEAD) {
        epoll_bury(e, c);
        return;
    }
    if (__builtin_expect(c->aborting, 0)) {
        epoll_conn_abort(e, c);
        return;
    }
    if (__builtin_expect(c->err != 0, 0)) {
        epoll_end(e, c, c->state == EPOLL_OPEN ? sock_reason(c->err) : ENGINE_CLOSED_CONNECT,
                  c->err);
        return;
    }
    if (c->state == EPOLL_CONNECTED) {
        c->state = EPOLL_OPEN;
        epoll_note_busy_poll(e, c->fd);
        epoll_arm(e, c);
        if (!c->closing) {
            e->upcalls++;
            e->engine.events->on_open(c->ctx);
        }
        if (c->aborting)
            return; /* it is marked */
    }
    if (c->state == EPOLL_OPEN) {
        if (__builtin_expect(c->send_err != 0, 0))
            epoll_drop_unsent(e, c);
        else if (!c->blocked)
            epoll_flush(e, c);
        if (c->state == EPOLL_OPEN && !c->aborting && sendq_is_drained(&c->sendq))
            epoll_drained(e, c);
    } else if (c->closing && c->state != EPOLL_LINGERS && sendq_is_drained(&c->sendq)) {
        epoll_end(e, c, ENGINE_CLOSED_LOCALLY, 0);
    }
    if (c->state != EPOLL_DEAD)
        epoll_arm(e, c);
}

void epoll_run_marked(struct epoll_engine *e)
{
    for (int pass = 0; pass < EPOLL_PASSES_MAX && e->dirty_count > 0; pass++)
        for (unsigned left = e->dirty_count; left > 0; left--) {
            struct epoll_conn *c = epoll_unmark(e);
            if (!epoll_settle_shortly(e, c))
                epoll_settle(e, c);
        }
}

/* From buf_unref: only marks. */
void epoll_loan_returned(void *context, struct loans *loans)
{
    struct epoll_engine *e = context;
    struct epoll_conn *c =
        (struct epoll_conn *)((char *)loans - offsetof(struct epoll_conn, loans));
    uint32_t index = 0;

    if (e->closing)
        return;
    if (loans->wanted &&
        (c->state == EPOLL_DEAD ? loans->count == 0 : bufpool_may_lend(e->pool, loans))) {
        loans->wanted = false;
        c->deaf = c->paused;
        epoll_mark(e, c);
    }
    /* Only with bufs= is there ever one: a walk is cheaper than a list to keep right. */
    while (e->options.common.bufs != 0 && (c = conns_next(&e->conns, &index)) != NULL) {
        if (!c->starved)
            continue;
        c->starved = false;
        c->deaf = c->paused;
        epoll_mark(e, c);
    }
}

/* --- connecting and accepting --- */

static struct epoll_conn *epoll_conn_new(struct epoll_engine *e, int fd, enum epoll_state state,
                                         void *ctx)
{
    struct epoll_conn *c = conns_take(&e->conns);

    if (c != NULL)
        *c = (struct epoll_conn){
            .item = c->item,
            .sendq = c->sendq, /* settled; its memory is kept */
            .fd = fd,
            .state = state,
            .armed = EPOLL_UNWATCHED,
            .ctx = ctx,
        };
    return c;
}

static int epoll_try_connect(struct epoll_engine *e, int fd, const struct addr *remote)
{
    epoll_syscall(e);
    return connect(fd, (const struct sockaddr *)&remote->sa, remote->size) < 0 ? -errno : 0;
}

/* What connect() said decides in what state the connection goes on; poll tells the rest. */
static void epoll_connect_result(struct epoll_engine *e, struct epoll_conn *c, int result)
{
    c->state = result == 0 ? EPOLL_CONNECTED : EPOLL_CONNECTING;
    if (result == -EINPROGRESS) {
        epoll_arm(e, c);
        return;
    }
    c->err = -result;
    epoll_mark(e, c);
}

static void epoll_connect_event(struct epoll_engine *e, struct epoll_conn *c, uint32_t events)
{
    int err = 0;

    if (events & (EPOLLERR | EPOLLHUP)) {
        epoll_syscall(e);
        err = sock_error(c->fd);
    }
    epoll_connect_result(e, c, -err);
}

/*
 * HUP or ERR on a connection that is not to be read now: both are reported whatever one asks
 * for, level-triggered, so that it would keep the loop awake for nothing. What can still be read
 * is kept for when reading goes on.
 */
static void epoll_hung_up(struct epoll_engine *e, struct epoll_conn *c, uint32_t events)
{
    if ((events & EPOLLERR) && (c->eof || !epoll_has_unread(e, c))) {
        epoll_syscall(e);
        int err = sock_error(c->fd);
        if (err != 0) {
            epoll_end(e, c, sock_reason(err), err);
            return;
        }
    }
    epoll_syscall(e);
    epoll_ctl(e->epfd, EPOLL_CTL_DEL, c->fd, NULL);
    c->armed = EPOLL_UNWATCHED;
}

void epoll_conn_event(struct epoll_engine *e, uint64_t handle, uint32_t events)
{
    struct epoll_conn *c = conns_find(&e->conns, handle);

    if (c == NULL)
        return;
    if (__builtin_expect(c->state != EPOLL_OPEN, 0)) {
        if (c->state == EPOLL_CONNECTING)
            epoll_connect_event(e, c, events);
        else if (c->state == EPOLL_LINGERS)
            epoll_linger(e, c);
        epoll_run_marked(e);
        return;
    }
    /* A hang-up may come without EPOLLOUT; the send that it makes fail tells. */
    if (__builtin_expect((events & ~(uint32_t)EPOLLIN) && c->blocked, 0)) {
        c->blocked = false;
        epoll_mark(e, c);
        epoll_run_marked(e);
        /* Upward calls were made: it may be gone, or another. */
        c = conns_find(&e->conns, handle);
        if (c == NULL || c->state != EPOLL_OPEN)
            return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        if (__builtin_expect(epoll_reads(c) && !c->deaf, 1))
            epoll_receive(e, c, 0);
        else if (events & (EPOLLHUP | EPOLLERR))
            epoll_hung_up(e, c, events);
        else
            epoll_deafen(e, c);
    }
    if (e->dirty_count > 0)
        epoll_run_marked(e);
}

/* Connections without an event to wait for: see EPOLL_RETRY_NS. Each goes to the end of the list
 * first: so the walk stays right should what one is told end others of them, or begin some. */
void epoll_retry(struct epoll_engine *e)
{
    for (unsigned left = e->retries_count; left > 0 && e->retries != NULL; left--) {
        struct epoll_conn *c = e->retries;
        epoll_retry_over(e, c);
        epoll_retry_put(e, c);
        if (c->state == EPOLL_LINGERS) {
            epoll_linger(e, c);
        } else if (c->state == EPOLL_RETRIES) {
            int r = epoll_try_connect(e, c->fd, c->remote);
            if (r == -EAGAIN)
                continue;
            free(c->remote);
            c->remote = NULL;
            epoll_retry_over(e, c);
            epoll_connect_result(e, c, r);
        }
    }
    epoll_run_marked(e);
}

/* --- calls down --- */

/* The connection, if it can still be asked for something. */
static struct epoll_conn *epoll_find(struct epoll_engine *e, uint64_t handle)
{
    struct epoll_conn *c = conns_find(&e->conns, handle);

    return c != NULL && c->state != EPOLL_DEAD ? c : NULL;
}

int epoll_attach(struct engine *engine, const struct engine_accepted *accepted, void *ctx,
                 uint64_t *conn)
{
    struct epoll_engine *e = epoll_self(engine);

    if (e->closing)
        return -ESHUTDOWN;
    struct epoll_conn *c = epoll_conn_new(e, (int)accepted->token, EPOLL_OPEN, ctx);
    if (c == NULL)
        return -ENOMEM;
    int r = epoll_watch(e, c);
    if (r < 0) {
        conns_give(&e->conns, c);
        return r;
    }
    epoll_note_busy_poll(e, c->fd);
    *conn = conns_handle(c);
    return 0;
}

int epoll_connect(struct engine *engine, const struct addr *remote, const struct addr *local,
                  void *ctx, uint64_t *conn)
{
    struct epoll_engine *e = epoll_self(engine);
    uint64_t calls = 0;

    if (e->closing)
        return -ESHUTDOWN;
    int fd = sock_open(remote, local, &e->config, SOCK_NONBLOCK, &calls);
    epoll_count(e, ENGINE_SYSTEM_CALLS, calls);
    if (fd < 0)
        return fd;
    epoll_set_busy_poll(e, fd);
    int r = epoll_try_connect(e, fd, remote);
    bool retries = r == -EAGAIN && addr_is_unix(remote);
    if (r < 0 && !retries && sock_connect_failed_here(-r)) {
        epoll_syscall(e);
        close(fd);
        return r;
    }
    struct epoll_conn *c = epoll_conn_new(e, fd, EPOLL_RETRIES, ctx);
    struct addr *again = retries ? malloc(sizeof(*again)) : NULL;
    if (c == NULL || (retries && again == NULL)) {
        if (c != NULL)
            conns_give(&e->conns, c);
        free(again);
        epoll_syscall(e);
        close(fd);
        return -ENOMEM;
    }
    *conn = conns_handle(c);
    if (!retries) {
        epoll_connect_result(e, c, r);
        return 0;
    }
    *again = *remote;
    c->remote = again;
    epoll_will_retry(e, c);
    return 0;
}

int epoll_recv_pause(struct engine *engine, uint64_t conn)
{
    struct epoll_conn *c = epoll_find(epoll_self(engine), conn);

    if (c == NULL)
        return -ESTALE;
    /* EPOLLIN is switched off when it next comes: most pauses have ended before. */
    c->paused = true;
    return 0;
}

int epoll_recv_resume(struct engine *engine, uint64_t conn)
{
    struct epoll_engine *e = epoll_self(engine);
    struct epoll_conn *c = epoll_find(e, conn);

    if (c == NULL)
        return -ESTALE;
    c->paused = false;
    if (c->deaf || c->armed == EPOLL_UNWATCHED) {
        c->deaf = false;
        epoll_mark(e, c);
    }
    return 0;
}

int epoll_send(struct engine *engine, uint64_t conn, const struct seg *segs, unsigned count,
               uint64_t cookie)
{
    struct epoll_engine *e = epoll_self(engine);
    struct epoll_conn *c = conns_find(&e->conns, conn);

    if (__builtin_expect(c == NULL, 0))
        return -ESTALE;
    if (__builtin_expect(c->mute, 0))
        return c->buried ? -ESTALE : -EPIPE;
    int r = sendq_push(&c->sendq, segs, count, cookie);
    if (r == 0 && !c->blocked)
        epoll_mark(e, c);
    return r;
}

int epoll_send_end(struct engine *engine, uint64_t conn)
{
    struct epoll_engine *e = epoll_self(engine);
    struct epoll_conn *c = epoll_find(e, conn);

    if (c == NULL)
        return -ESTALE;
    c->send_end = c->mute = true;
    epoll_mark(e, c);
    return 0;
}

int epoll_conn_close(struct engine *engine, uint64_t conn, bool abort)
{
    struct epoll_engine *e = epoll_self(engine);
    struct epoll_conn *c = epoll_find(e, conn);

    if (c == NULL)
        return -ESTALE;
    c->closing = c->mute = true;
    c->aborting = c->aborting || abort;
    epoll_mark(e, c);
    return 0;
}
