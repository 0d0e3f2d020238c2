/*
 * The connection of a blocking instance: what was asked of it is done when the wait or the
 * upward call in which it was asked is over.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/seldom.h"
#include "engines/blocking.h"

/* Gathers that are sent on end. What is beyond them leaves after a look at the socket, in which it
 * is read too; or first thing in the next poll, where on_sent was called. */
#define BLOCKING_GATHERS_MAX 4

/* --- the end of a connection --- */

static void blocking_notify(struct blocking_engine *e, const struct sendq_done *done)
{
    e->upcalls++;
    e->engine.events->on_sent(e->conn.ctx, done->cookie, done->bytes, done->what);
}

/* Nobody will take it. */
static void blocking_drop_unsent(struct blocking_engine *e)
{
    struct sendq_done done;

    while (sendq_drop(&e->conn.sendq, &done))
        blocking_notify(e, &done);
}

static void blocking_end(struct blocking_engine *e, enum engine_reason reason, int err)
{
    struct blocking_conn *c = &e->conn;

    c->state = BLOCKING_DEAD;
    c->mute = true;
    c->reason = reason;
    c->err = err;
    blocking_syscall(e);
    close(c->fd);
    blocking_drop_unsent(e);
}

static void blocking_abort(struct blocking_engine *e)
{
    blocking_syscall(e);
    sock_set_abort(e->conn.fd);
    blocking_end(e, ENGINE_CLOSED_LOCALLY, 0);
}

/* The last upward call, once everything on loan is back. In it the instance may be given its
 * next connection. */
static void blocking_bury(struct blocking_engine *e)
{
    struct blocking_conn *c = &e->conn;

    if (c->loans.count > 0 && !e->closing)
        return;
    assert(c->state == BLOCKING_DEAD);
    c->state = BLOCKING_NONE;
    e->generation++;
    e->upcalls++;
    e->engine.events->on_closed(c->ctx, c->reason, c->err);
}

/* --- receiving --- */

static bool blocking_reads(const struct blocking_conn *c)
{
    return c->state == BLOCKING_OPEN && !c->eof && !c->paused && !c->closing && !c->aborting;
}

struct buf *blocking_room(struct blocking_engine *e, size_t *room)
{
    struct buf *buf = NULL;

    if (!blocking_reads(&e->conn))
        return NULL;
    if (bufpool_may_lend(e->pool, &e->conn.loans))
        buf = bufpool_peek(e->pool, &e->conn.loans, room);
    return buf;
}

static void blocking_received(struct blocking_engine *e, struct buf *buf, ssize_t n)
{
    struct blocking_conn *c = &e->conn;

    if (n > 0) {
        blocking_count(e, ENGINE_RECVS, 1);
        blocking_count(e, ENGINE_RECV_BYTES, (uint64_t)n);
        bufpool_lend(e->pool, buf, (size_t)n, &c->loans);
        e->upcalls++;
        e->engine.events->on_recv(c->ctx, buf, 0);
        buf_unref(buf);
    } else if (n == 0 && c->send_err != 0) {
        blocking_end(e, sock_reason(c->send_err), c->send_err);
    } else if (n == 0) {
        c->eof = true;
        e->upcalls++;
        e->engine.events->on_eof(c->ctx);
    } else if (n != -EAGAIN && n != -EINTR) {
        blocking_end(e, sock_reason((int)-n), (int)-n);
    }
}

static ssize_t blocking_recv(struct blocking_engine *e, struct buf *buf, size_t room, int flags)
{
    blocking_syscall(e);
    ssize_t n = sock_recv(e->conn.fd, buf->data, room, flags);
    return n < 0 ? -errno : n;
}

static void blocking_receive_now(struct blocking_engine *e)
{
    size_t room;
    struct buf *buf = blocking_room(e, &room);

    if (buf != NULL)
        blocking_received(e, buf, blocking_recv(e, buf, room, MSG_DONTWAIT));
}

/* The plain recv(). */
void blocking_receive(struct blocking_engine *e, struct buf *buf, size_t room, uint64_t until_ns)
{
    ssize_t n = -EINTR;

    if (until_ns == 0) {
        blocking_received(e, buf, blocking_recv(e, buf, room, MSG_DONTWAIT));
        return;
    }
    if (blocking_enter(e, until_ns))
        n = blocking_recv(e, buf, room, 0);
    blocking_leave(e);
    blocking_received(e, buf, n);
}

/* --- sending --- */

static bool blocking_has_unread(struct blocking_engine *e)
{
    blocking_syscall(e);
    return sock_has_unread(e->conn.fd);
}

/* As epoll_send_failed: the peer's last words are read before the connection ends. */
static void blocking_send_failed(struct blocking_engine *e, int err)
{
    struct blocking_conn *c = &e->conn;
    bool gone = err == EPIPE || err == ECONNRESET;
    bool later = c->paused || !bufpool_may_lend(e->pool, &c->loans);

    if (!gone || c->closing || c->aborting || c->eof || (later && !blocking_has_unread(e))) {
        blocking_end(e, sock_reason(err), err);
        return;
    }
    c->send_err = err;
    c->mute = true;
    c->full = false;
    blocking_drop_unsent(e);
}

/* One submission, without waiting: bytes taken, or -errno. *asked is what there was to take. */
static ssize_t blocking_send_some(struct blocking_engine *e, uint64_t *asked)
{
    struct blocking_conn *c = &e->conn;
    uint64_t calls = 0;

    ssize_t n = sock_send_queued(c->fd, &c->sendq, e->iov, &c->nonblocking, asked, &calls);
    blocking_count(e, ENGINE_SYSTEM_CALLS, calls);
    blocking_count(e, ENGINE_SENDS, 1);
    return n;
}

/* What a submission came to: bytes taken, or -errno. False: no more can be sent now. piece: it was
 * all that there is, and one piece. */
static INLINED bool blocking_sent(struct blocking_engine *e, ssize_t n, uint64_t asked, bool piece)
{
    struct blocking_conn *c = &e->conn;
    struct sendq_done done;

    if (__builtin_expect(n < 0, 0)) {
        if (n == -EAGAIN)
            c->full = true;
        else if (n != -EINTR)
            blocking_send_failed(e, (int)-n);
        return false;
    }
    blocking_count(e, ENGINE_SENT_BYTES, (uint64_t)n);
    c->large |= n >= SOCK_LARGE_SEND_BYTES;
    bool due = piece && (uint64_t)n == asked ? sendq_took_piece(&c->sendq, &done)
                                             : sendq_took(&c->sendq, (uint64_t)n, &done);
    for (; __builtin_expect(due, 0); due = sendq_take(&c->sendq, &done))
        blocking_notify(e, &done);
    c->full = (uint64_t)n < asked;
    return !c->aborting && !c->full;
}

/* Sends what goes without waiting; what is left keeps the instance in ppoll(). */
static SELDOM void blocking_flush(struct blocking_engine *e)
{
    for (int i = 0; i < BLOCKING_GATHERS_MAX && !sendq_is_drained(&e->conn.sendq); i++) {
        uint64_t asked;

        ssize_t n = blocking_send_some(e, &asked);
        if (!blocking_sent(e, n, asked, false))
            return;
    }
}

static void blocking_finish(struct blocking_engine *e)
{
    struct blocking_conn *c = &e->conn;
    uint64_t calls = 0;

    bool lingers = sock_must_linger(c->fd, c->large, &c->eof, &calls);
    blocking_count(e, ENGINE_SYSTEM_CALLS, calls);
    if (!lingers) {
        blocking_end(e, ENGINE_CLOSED_LOCALLY, 0);
        return;
    }
    blocking_syscall(e);
    shutdown(c->fd, SHUT_WR);
    c->state = BLOCKING_LINGERS;
}

static void blocking_linger(struct blocking_engine *e)
{
    uint64_t calls = 1;

    sock_discard(e->conn.fd, &e->conn.eof, &calls);
    blocking_count(e, ENGINE_SYSTEM_CALLS, calls);
    if (e->conn.eof || sock_is_acknowledged(e->conn.fd))
        blocking_end(e, ENGINE_CLOSED_LOCALLY, 0);
}

static void blocking_drained(struct blocking_engine *e)
{
    struct blocking_conn *c = &e->conn;

    if (c->closing) {
        blocking_finish(e);
        return;
    }
    if (c->send_end && !c->fin) {
        c->fin = true;
        blocking_syscall(e);
        shutdown(c->fd, SHUT_WR);
    }
    if (c->fin && c->eof)
        blocking_end(e, ENGINE_CLOSED_BY_PEER, 0);
}

static SELDOM void blocking_settle_slowly(struct blocking_engine *e)
{
    struct blocking_conn *c = &e->conn;

    if (c->aborting && c->state != BLOCKING_NONE && c->state != BLOCKING_DEAD)
        blocking_abort(e);
    if (c->state == BLOCKING_OPEN) {
        if (c->send_err != 0)
            blocking_drop_unsent(e);
        else if (!c->full)
            blocking_flush(e);
        if (c->state == BLOCKING_OPEN && c->aborting)
            blocking_abort(e);
        else if (c->state == BLOCKING_OPEN && sendq_is_drained(&c->sendq) &&
                 (c->closing || c->send_end))
            blocking_drained(e);
    } else if (c->closing && (c->state == BLOCKING_BEGINS || c->state == BLOCKING_CONNECTING) &&
               sendq_is_drained(&c->sendq)) {
        blocking_end(e, ENGINE_CLOSED_LOCALLY, 0);
    }
    if (c->state == BLOCKING_DEAD)
        blocking_bury(e);
}

/* Does what calls down have asked for: nearly always nothing, or to send one piece. */
void blocking_settle(struct blocking_engine *e)
{
    struct blocking_conn *c = &e->conn;
    const struct sendq *q = &c->sendq;
    uint64_t size = q->unsent_bytes;

    if (__builtin_expect(c->state != BLOCKING_OPEN || c->mute, 0)) {
        blocking_settle_slowly(e);
        return;
    }
    if (c->full || sendq_is_drained(q))
        return;
    if (__builtin_expect(!sendq_is_one_piece(q) || size > SOCK_SEND_BYTES, 0)) {
        blocking_settle_slowly(e);
        return;
    }
    blocking_syscall(e);
    blocking_count(e, ENGINE_SENDS, 1);
    ssize_t n = sock_send(c->fd, sendq_at(q, q->sent)->seg.data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    blocking_sent(e, n < 0 ? -errno : n, size, q->sent == q->released);
    if (__builtin_expect(c->state != BLOCKING_OPEN || c->mute, 0))
        blocking_settle_slowly(e);
}

/* --- connecting --- */

static void blocking_opened(struct blocking_engine *e)
{
    e->conn.state = BLOCKING_OPEN;
    if (e->conn.closing)
        return;
    e->upcalls++;
    e->engine.events->on_open(e->conn.ctx);
}

static int blocking_connect_now(struct blocking_engine *e)
{
    const struct addr *remote = &e->remote;

    blocking_syscall(e);
    return connect(e->conn.fd, (const struct sockaddr *)&remote->sa, remote->size) < 0 ? -errno : 0;
}

/*
 * A blocking connect(), interrupted like recv(); TCP then goes on by itself, a unix socket is
 * asked again. With a near deadline it is made without blocking.
 */
void blocking_begin(struct blocking_engine *e, uint64_t until_ns, bool near)
{
    struct blocking_conn *c = &e->conn;
    bool is_unix = addr_is_unix(&e->remote);
    int r;

    if (near) {
        blocking_count(e, ENGINE_SYSTEM_CALLS, 2);
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
        r = blocking_connect_now(e);
        fcntl(c->fd, F_SETFL, 0);
    } else {
        bool may_block = blocking_enter(e, until_ns);
        r = may_block ? blocking_connect_now(e) : 0;
        blocking_leave(e);
        if (!may_block)
            return;
    }
    if (r == 0)
        blocking_opened(e);
    else if (!is_unix && (r == -EINTR || r == -EINPROGRESS))
        c->state = BLOCKING_CONNECTING;
    else if (r != -EINTR && r != -EAGAIN)
        blocking_end(e, ENGINE_CLOSED_CONNECT, -r);
}

static void blocking_connect_event(struct blocking_engine *e)
{
    blocking_syscall(e);
    int err = sock_error(e->conn.fd);
    if (err != 0)
        blocking_end(e, ENGINE_CLOSED_CONNECT, err);
    else
        blocking_opened(e);
}

/* What the connection waits for in ppoll(); 0: nothing. */
short blocking_events(struct blocking_engine *e)
{
    struct blocking_conn *c = &e->conn;
    size_t room;

    switch (c->state) {
    case BLOCKING_CONNECTING: return POLLOUT;
    case BLOCKING_LINGERS: return POLLIN;
    case BLOCKING_OPEN: break;
    default: return 0;
    }
    bool reads = blocking_room(e, &room) != NULL;
    if (!reads && blocking_reads(c))
        blocking_count(e, ENGINE_BUF_SHORTAGES, 1);
    return (short)((reads ? POLLIN : 0) | (c->full ? POLLOUT : 0));
}

/*
 * HUP or ERR on a connection that is not to be read now: ppoll() reports both whatever one asks
 * for and would not wait any more. What can still be read is kept for when reading goes on.
 */
static void blocking_hung_up(struct blocking_engine *e, short revents)
{
    struct blocking_conn *c = &e->conn;

    if ((revents & POLLERR) && (c->eof || !blocking_has_unread(e))) {
        blocking_syscall(e);
        int err = sock_error(c->fd);
        if (err != 0) {
            blocking_end(e, sock_reason(err), err);
            return;
        }
    }
    c->hung_up = true;
}

void blocking_conn_event(struct blocking_engine *e, short events, short revents)
{
    struct blocking_conn *c = &e->conn;

    if (c->state == BLOCKING_CONNECTING) {
        blocking_connect_event(e);
    } else if (c->state == BLOCKING_LINGERS) {
        blocking_linger(e);
    } else if (c->state == BLOCKING_OPEN) {
        /* A hang-up is told by the send or receive that it makes fail. */
        if (revents & (POLLOUT | POLLHUP | POLLERR))
            c->full = false;
        if (events & POLLIN)
            blocking_receive_now(e);
        else if (!(events & POLLOUT))
            blocking_hung_up(e, revents);
    }
}

static uint64_t blocking_handle(const struct blocking_engine *e)
{
    return (uint64_t)e->generation << 32 | 1;
}

/* The connection, if the handle is its own; NULL: stale. */
static struct blocking_conn *blocking_find_any(struct blocking_engine *e, uint64_t handle)
{
    return e->conn.state != BLOCKING_NONE && handle == blocking_handle(e) ? &e->conn : NULL;
}

/* The connection, if it can still be asked for something. */
static struct blocking_conn *blocking_find(struct blocking_engine *e, uint64_t handle)
{
    struct blocking_conn *c = blocking_find_any(e, handle);

    return c != NULL && c->state != BLOCKING_DEAD ? c : NULL;
}

static int blocking_conn_new(struct blocking_engine *e, int fd, enum blocking_state state,
                             void *ctx)
{
    if (e->closing)
        return -ESHUTDOWN;
    if (e->conn.state != BLOCKING_NONE)
        return -EBUSY; /* conns_max is 1 */
    e->conn = (struct blocking_conn){
        .sendq = e->conn.sendq, /* settled; its memory is kept */
        .state = state,
        .fd = fd,
        .ctx = ctx,
    };
    return 0;
}

int blocking_attach(struct engine *engine, const struct engine_accepted *accepted, void *ctx,
                    uint64_t *conn)
{
    struct blocking_engine *e = blocking_self(engine);
    int r = blocking_conn_new(e, (int)accepted->token, BLOCKING_OPEN, ctx);

    if (r == 0)
        *conn = blocking_handle(e);
    return r;
}

int blocking_connect(struct engine *engine, const struct addr *remote, const struct addr *local,
                     void *ctx, uint64_t *conn)
{
    struct blocking_engine *e = blocking_self(engine);
    uint64_t calls = 0;

    int fd = sock_open(remote, local, &e->config, 0, &calls);
    blocking_count(e, ENGINE_SYSTEM_CALLS, calls);
    if (fd < 0)
        return fd;
    int r = blocking_conn_new(e, fd, BLOCKING_BEGINS, ctx);
    if (r < 0) {
        blocking_syscall(e);
        close(fd);
        return r;
    }
    e->remote = *remote;
    *conn = blocking_handle(e);
    return 0;
}

int blocking_recv_pause(struct engine *engine, uint64_t conn)
{
    struct blocking_conn *c = blocking_find(blocking_self(engine), conn);

    if (c == NULL)
        return -ESTALE;
    c->paused = true;
    return 0;
}

int blocking_recv_resume(struct engine *engine, uint64_t conn)
{
    struct blocking_conn *c = blocking_find(blocking_self(engine), conn);

    if (c == NULL)
        return -ESTALE;
    c->paused = c->hung_up = false;
    return 0;
}

int blocking_send(struct engine *engine, uint64_t conn, const struct seg *segs, unsigned count,
                  uint64_t cookie)
{
    struct blocking_conn *c = blocking_find_any(blocking_self(engine), conn);

    if (__builtin_expect(c == NULL, 0))
        return -ESTALE;
    if (__builtin_expect(c->mute, 0))
        return -EPIPE;
    return sendq_push(&c->sendq, segs, count, cookie);
}

int blocking_send_end(struct engine *engine, uint64_t conn)
{
    struct blocking_conn *c = blocking_find(blocking_self(engine), conn);

    if (c == NULL)
        return -ESTALE;
    c->send_end = c->mute = true;
    return 0;
}

int blocking_conn_close(struct engine *engine, uint64_t conn, bool abort)
{
    struct blocking_conn *c = blocking_find(blocking_self(engine), conn);

    if (c == NULL)
        return -ESTALE;
    c->closing = c->mute = true;
    c->aborting = c->aborting || abort;
    return 0;
}

void blocking_conn_drop(struct blocking_engine *e)
{
    if (e->conn.state == BLOCKING_NONE)
        return;
    if (e->conn.state != BLOCKING_DEAD)
        blocking_abort(e);
    blocking_bury(e);
    assert(e->conn.loans.count == 0);
}
