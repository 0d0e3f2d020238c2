/*
 * Sending: one submission in flight a connection, which takes all that is queued by then.
 *
 * A send's own completion would end the wait for what it asks for: with one connection that is
 * two calls a message. So a small gather is copied, which settles it for those above at once,
 * and submitted so that it leaves a completion only if it fails (IOSQE_CQE_SKIP_SUCCESS): it may
 * not block (MSG_DONTWAIT) and must go whole (MSG_WAITALL), so that by the end of the submission
 * either it is gone or a completion says how far it came, and the rest goes the ordinary way.
 * Not copying, and telling of the send when the wait is over, was not taken: what waits for its
 * memory would wait for the peer's next message. Larger ones have a completion: beside their
 * copy in the kernel a second call is nothing.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>

#include "engines/io_uring_internal.h"

/* Pieces that a copy is made of; more of them are better gathered by the kernel. */
#define URING_COPY_PIECES 16u
#define URING_COPY_BYTES  4096u
/* Of one submission, and of one turn of sendfile: more would keep the others waiting. */
#define URING_SEND_BYTES (1u << 20)
/* Notifications in a row that say "copied" until zc=auto gives up. */
#define URING_ZC_COPIED_MAX 8u

static_assert(URING_COPY_BYTES <= URING_GATHER_BYTES, "a small copy fits the gather's own area");

/* --- gathers --- */

static struct uring_gather *uring_gather_take(struct uring_engine *e, enum uring_gather_kind kind)
{
    bool large = kind == URING_GATHER_FILE;
    struct uring_gather **list = large ? &e->large_gathers : &e->gathers;
    struct uring_gather *g = *list;

    if (__builtin_expect(g != NULL, 1)) {
        *list = g->next;
    } else {
        g = malloc(sizeof(*g));
        if (g == NULL)
            return NULL;
        g->large = large;
        g->copy = large ? malloc(URING_FILE_BYTES) : g->area;
        if (g->copy == NULL) {
            free(g);
            return NULL;
        }
    }
    g->next = NULL;
    g->kind = (uint8_t)kind;
    g->bytes = g->offset = 0;
    g->settled = g->was_copied = false;
    return g;
}

static void uring_gather_put(struct uring_engine *e, struct uring_gather *g)
{
    struct uring_gather **list = g->large ? &e->large_gathers : &e->gathers;

    g->next = *list;
    *list = g;
}

static void uring_gathers_free_list(struct uring_gather *g)
{
    while (g != NULL) {
        struct uring_gather *next = g->next;
        if (g->large)
            free(g->copy);
        free(g);
        g = next;
    }
}

void uring_gathers_free(struct uring_engine *e)
{
    uring_gathers_free_list(e->gathers);
    uring_gathers_free_list(e->large_gathers);
    e->gathers = e->large_gathers = NULL;
}

/* --- telling --- */

static void uring_tell(struct uring_engine *e, struct uring_conn *c, bool due,
                       struct sendq_done *done)
{
    for (; due; due = sendq_take(&c->queue, done)) {
        e->calls_up++;
        e->base.events->on_sent(c->ctx, done->cookie, done->bytes, done->what);
    }
}

/* The stack has taken so much. Behind a zero-copy send that is not released yet nothing else is
 * either: releases are told in order. */
static void uring_sent(struct uring_engine *e, struct uring_conn *c, uint64_t bytes)
{
    struct sendq_done done;
    bool due;

    engine_count(&e->base, ENGINE_SENT_BYTES, bytes);
    c->large |= bytes >= SOCK_LARGE_SEND_BYTES;
    if (__builtin_expect(c->zc_last == NULL, 1)) {
        due = sendq_took(&c->queue, bytes, &done);
    } else {
        sendq_sent(&c->queue, bytes);
        c->zc_last->bytes += bytes;
        due = sendq_take(&c->queue, &done);
    }
    uring_tell(e, c, due, &done);
}

/*
 * The peer is gone; what it said before is worth more than our failure. Its socket has come to an
 * end, so that the receive that is under way will too, and then so does the connection; one that
 * is not read at present (paused, or at the quota) ends when what it said has been.
 */
static void uring_send_failed(struct uring_engine *e, struct uring_conn *c, int err)
{
    bool gone = err == EPIPE || err == ECONNRESET;

    if (c->state == URING_CONN_ENDING)
        return;
    if (c->state == URING_CONN_OPEN && gone &&
        (c->recv_armed || c->stash != NULL || uring_has_unread(e, c))) {
        c->send_err = err;
        c->mute = c->recv_single = true;
        uring_mark_dirty(e, c);
        return;
    }
    uring_conn_end(e, c, sock_reason(err), err);
}

/* --- submitting --- */

static struct io_uring_sqe *uring_send_sqe(struct uring_engine *e, struct uring_conn *c,
                                           enum uring_out out)
{
    struct io_uring_sqe *sqe = uring_sqe(e);

    c->out = (uint8_t)out;
    c->ops++;
    engine_count(&e->base, ENGINE_SENDS, 1);
    return sqe;
}

/* After a prep function, which clears the entry; c->gather is set. */
static void uring_send_finish_sqe(const struct uring_conn *c, struct io_uring_sqe *sqe)
{
    sqe->flags |= c->ring_flags;
    io_uring_sqe_set_data64(sqe, uring_send_tag(c));
}

/* A small gather, copied. False: it is not one. */
static bool uring_send_quiet(struct uring_engine *e, struct uring_conn *c)
{
    struct iovec iov[URING_COPY_PIECES];
    uint64_t bytes;

    if (c->queue.unsent_bytes > URING_COPY_BYTES || !uring_uses(e, URING_CQE_SKIP) ||
        c->zc != NULL || c->in_quiet)
        return false;
    unsigned count = sendq_gather(&c->queue, iov, URING_COPY_PIECES, URING_COPY_BYTES, &bytes);
    if (bytes < c->queue.unsent_bytes)
        return false; /* too many pieces, or a file */
    struct uring_gather *g = uring_gather_take(e, URING_GATHER_COPY);
    if (g == NULL)
        return false;
    for (unsigned i = 0; i < count; i++) {
        memcpy(g->copy + g->bytes, iov[i].iov_base, iov[i].iov_len);
        g->bytes += iov[i].iov_len;
    }
    struct io_uring_sqe *sqe = uring_send_sqe(e, c, URING_OUT_QUIET);
    io_uring_prep_send(sqe, c->ring_fd, g->copy, bytes, MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL);
    c->gather = g;
    uring_send_finish_sqe(c, sqe);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    c->out_submitted = e->ring.io.sq.sqe_tail;
    c->in_quiet = true;
    c->quiet_next = NULL;
    if (e->quiet.last != NULL)
        e->quiet.last->quiet_next = c;
    else
        e->quiet.first = c;
    e->quiet.last = c;
    uring_sent(e, c, bytes);
    return true;
}

/* What is left of a copy: the socket was full, now it waits for room. */
static void uring_send_rest(struct uring_engine *e, struct uring_conn *c)
{
    struct uring_gather *g = c->gather;
    struct io_uring_sqe *sqe = uring_send_sqe(e, c, URING_OUT_SEND);

    io_uring_prep_send(sqe, c->ring_fd, g->copy + g->offset, g->bytes - g->offset,
                       MSG_WAITALL | MSG_NOSIGNAL);
    uring_send_finish_sqe(c, sqe);
}

static bool uring_may_zc(const struct uring_engine *e, const struct uring_conn *c, uint64_t bytes)
{
    return e->zc_on && bytes >= e->options.zc_min_bytes && c->zc_slots != UINT16_MAX;
}

static void uring_send_zc(struct uring_engine *e, struct uring_conn *c, struct uring_gather *g,
                          unsigned count, int flags)
{
    struct io_uring_sqe *sqe = uring_send_sqe(e, c, URING_OUT_SEND);

    g->kind = URING_GATHER_ZC;
    g->slot = (uint8_t)__builtin_ctz(~(unsigned)c->zc_slots);
    c->zc_slots |= (uint16_t)(1u << g->slot);
    if (count == 1)
        io_uring_prep_send_zc(sqe, c->ring_fd, g->iov[0].iov_base, g->iov[0].iov_len, flags,
                              IORING_SEND_ZC_REPORT_USAGE);
    else
        io_uring_prep_sendmsg_zc(sqe, c->ring_fd, &g->message, (unsigned)flags);
    sqe->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
    c->gather = g;
    uring_send_finish_sqe(c, sqe);
}

/* What the queue begins with, from where it lies. */
static void uring_send_pieces(struct uring_engine *e, struct uring_conn *c)
{
    struct uring_gather *g = uring_gather_take(e, URING_GATHER_PIECES);
    int flags = MSG_WAITALL | MSG_NOSIGNAL;
    uint64_t bytes;

    if (g == NULL) {
        uring_conn_end(e, c, ENGINE_CLOSED_ERROR, ENOMEM);
        return;
    }
    unsigned count = sendq_gather(&c->queue, g->iov, URING_GATHER_IOVS, URING_SEND_BYTES, &bytes);
    /* More follows at once: a head and its file share their packets. */
    if (bytes < c->queue.unsent_bytes)
        flags |= MSG_MORE;
    g->bytes = bytes;
    g->message = (struct msghdr){.msg_iov = g->iov, .msg_iovlen = count};
    if (uring_may_zc(e, c, bytes)) {
        uring_send_zc(e, c, g, count, flags);
        return;
    }
    struct io_uring_sqe *sqe = uring_send_sqe(e, c, URING_OUT_SEND);
    if (count == 1) {
        io_uring_prep_send(sqe, c->ring_fd, g->iov[0].iov_base, g->iov[0].iov_len, flags);
        uring_gather_put(e, g);
    } else {
        io_uring_prep_sendmsg(sqe, c->ring_fd, &g->message, (unsigned)flags);
        c->gather = g;
    }
    uring_send_finish_sqe(c, sqe);
}

/*
 * A small piece of a file, with what stands before it: read in the ring into memory of ours and
 * sent from there, one entry linked to the other. From the page cache that is no call at all.
 * False: too large, or no file.
 */
static bool uring_send_small_file(struct uring_engine *e, struct uring_conn *c)
{
    struct iovec iov[URING_COPY_PIECES];
    struct seg file;
    uint64_t head;

    unsigned count = sendq_gather(&c->queue, iov, URING_COPY_PIECES, URING_COPY_BYTES, &head);
    if (!sendq_file_behind(&c->queue, count, head, &file) || head + file.size > URING_FILE_BYTES)
        return false;
    struct uring_gather *g = uring_gather_take(e, URING_GATHER_FILE);
    if (g == NULL)
        return false;
    for (unsigned i = 0; i < count; i++) {
        memcpy(g->copy + g->bytes, iov[i].iov_base, iov[i].iov_len);
        g->bytes += iov[i].iov_len;
    }
    struct io_uring_sqe *sqe = uring_sqe(e);
    io_uring_prep_read(sqe, file.fd, g->copy + head, (unsigned)file.size, file.file_offset);
    sqe->flags |= IOSQE_IO_LINK;
    io_uring_sqe_set_data64(sqe, uring_conn_tag(c, URING_READ));
    c->ops++;
    c->read_bytes = (uint32_t)file.size;
    g->bytes = head + file.size;
    sqe = uring_send_sqe(e, c, URING_OUT_FILE);
    io_uring_prep_send(sqe, c->ring_fd, g->copy, g->bytes, MSG_WAITALL | MSG_NOSIGNAL);
    c->gather = g;
    uring_send_finish_sqe(c, sqe);
    return true;
}

/* A large one, outside of the ring: splice would always go to a worker thread. */
static void uring_send_large_file(struct uring_engine *e, struct uring_conn *c, struct seg file)
{
    off_t offset = (off_t)file.file_offset;

    if (!c->out_nonblocking) {
        int flags = fcntl(c->fd, F_GETFL);
        fcntl(c->fd, F_SETFL, flags | O_NONBLOCK);
        engine_count(&e->base, ENGINE_SYSTEM_CALLS, 2);
        c->out_nonblocking = true;
    }
    engine_count(&e->base, ENGINE_SYSTEM_CALLS, 1);
    engine_count(&e->base, ENGINE_SENDS, 1);
    ssize_t n = sendfile(c->fd, file.fd, &offset,
                         file.size < URING_SEND_BYTES ? file.size : URING_SEND_BYTES);
    if (n > 0) {
        uring_sent(e, c, (uint64_t)n);
        uring_mark_dirty(e, c);
    } else if (n == 0) {
        /* It became shorter than what was promised. */
        uring_conn_end(e, c, ENGINE_CLOSED_ERROR, ENODATA);
    } else if (errno == EINTR) {
        uring_mark_dirty(e, c);
    } else if (errno != EAGAIN) {
        uring_send_failed(e, c, errno);
    } else {
        struct io_uring_sqe *sqe = uring_sqe(e);
        io_uring_prep_poll_add(sqe, c->ring_fd, POLLOUT);
        sqe->flags |= c->ring_flags;
        io_uring_sqe_set_data64(sqe, uring_conn_tag(c, URING_POLL_OUT));
        c->out = URING_OUT_POLL;
        c->ops++;
    }
}

void uring_send_step(struct uring_engine *e, struct uring_conn *c)
{
    struct seg file;

    if (c->out != URING_OUT_IDLE)
        return;
    if (__builtin_expect(c->send_err != 0, 0)) {
        /* Nobody will take it; loans that it holds may be all that stops the receiving. */
        if (c->zc == NULL)
            uring_send_drop(e, c);
        return;
    }
    if (c->gather != NULL)
        uring_send_rest(e, c);
    else if (sendq_is_drained(&c->queue) || uring_send_quiet(e, c) || uring_send_small_file(e, c))
        return;
    else if (sendq_next_file(&c->queue, &file))
        uring_send_large_file(e, c, file);
    else
        uring_send_pieces(e, c);
}

/* --- completions --- */

void uring_send_settle_quiet(struct uring_engine *e)
{
    struct uring_conn *c;

    /* A failure that found no room among the completions comes with the next call. */
    if (e->quiet.first == NULL || io_uring_cq_has_overflow(&e->ring.io))
        return;
    unsigned consumed = io_uring_smp_load_acquire(e->ring.io.sq.khead);
    e->behind_quiet = false;
    while ((c = e->quiet.first) != NULL && (int)(consumed - c->out_submitted) >= 0) {
        e->quiet.first = c->quiet_next;
        c->in_quiet = false;
        if (__builtin_expect(c->out != URING_OUT_QUIET, 0))
            continue; /* it failed, which is settled */
        c->out = URING_OUT_IDLE;
        c->ops--;
        uring_gather_put(e, c->gather);
        c->gather = NULL;
        if (!sendq_is_drained(&c->queue) || c->state != URING_CONN_OPEN || c->end_wanted)
            uring_mark_dirty(e, c);
    }
    if (e->quiet.first == NULL)
        e->quiet.last = NULL;
    else
        e->behind_quiet = true;
}

/* Of the last few zero-copy sends everything was copied. Who asked for them goes on. */
static void uring_zc_is_copied(struct uring_engine *e)
{
    bool asked = e->options.zc == URING_ZC_ON;

    if (!asked)
        e->zc_on = false;
    engine_cap_without_effect(&e->base, "zero-copy send",
                              asked ? "the link copies all the same"
                                    : "the link copies all the same: switched off after a few "
                                      "sends");
}

/* In the order in which they were sent, whatever order the notifications come in. */
static void uring_zc_release(struct uring_engine *e, struct uring_conn *c)
{
    struct sendq_done done;

    while (c->zc != NULL && c->zc->settled) {
        struct uring_gather *g = c->zc;
        c->zc = g->next;
        if (c->zc == NULL)
            c->zc_last = NULL;
        sendq_release(&c->queue, g->bytes, g->was_copied);
        uring_gather_put(e, g);
    }
    uring_tell(e, c, sendq_take(&c->queue, &done), &done);
}

static void uring_zc_notified(struct uring_engine *e, struct uring_conn *c, unsigned slot,
                              int result)
{
    struct uring_gather *g = c->zc;

    while (g != NULL && (g->settled || g->slot != slot))
        g = g->next;
    c->zc_slots &= (uint16_t) ~(1u << slot);
    if (g == NULL)
        return;
    g->settled = true;
    g->was_copied = ((unsigned)result & IORING_NOTIF_USAGE_ZC_COPIED) != 0;
    e->zc_copied = g->was_copied ? e->zc_copied + 1 : 0;
    if (e->zc_copied == URING_ZC_COPIED_MAX)
        uring_zc_is_copied(e);
    uring_zc_release(e, c);
}

/* The completion of the send itself; its notification follows if flags say so. */
static void uring_zc_sent(struct uring_engine *e, struct uring_conn *c, int result, unsigned flags)
{
    struct uring_gather *g = c->gather;

    c->gather = NULL;
    if (!(flags & IORING_CQE_F_MORE)) {
        c->zc_slots &= (uint16_t) ~(1u << g->slot);
        g->settled = true;
    }
    g->bytes = result > 0 ? (uint64_t)result : 0;
    if (g->bytes == 0 && g->settled) {
        uring_gather_put(e, g);
    } else {
        engine_count(&e->base, ENGINE_SENT_BYTES, g->bytes);
        c->large |= g->bytes >= SOCK_LARGE_SEND_BYTES;
        sendq_sent(&c->queue, g->bytes);
        if (c->zc_last != NULL)
            c->zc_last->next = g;
        else
            c->zc = g;
        c->zc_last = g;
        uring_zc_release(e, c);
    }
    if (result == -EOPNOTSUPP || result == -EINVAL) {
        e->zc_on = false;
        engine_cap_without_effect(&e->base, "zero-copy send",
                                  "this kind of socket, or this kernel, has none");
    } else if (result < 0 && result != -EAGAIN && result != -EINTR) {
        uring_send_failed(e, c, -result);
    }
}

static void uring_copy_sent(struct uring_engine *e, struct uring_conn *c, int result)
{
    struct uring_gather *g = c->gather;

    if (result > 0)
        g->offset += (uint64_t)result;
    if (g->offset == g->bytes) {
        uring_gather_put(e, g);
        c->gather = NULL;
    } else if (result < 0 && result != -EAGAIN && result != -EINTR) {
        uring_send_failed(e, c, -result);
    }
}

void uring_send_done(struct uring_engine *e, struct uring_conn *c, unsigned slot, int result,
                     unsigned flags)
{
    if (!(flags & IORING_CQE_F_MORE)) {
        c->ops--;
        uring_mark_dirty(e, c);
    }
    if (flags & IORING_CQE_F_NOTIF) {
        uring_zc_notified(e, c, slot, result);
        return;
    }
    c->out = URING_OUT_IDLE;
    uring_mark_dirty(e, c);
    if (c->gather != NULL) {
        switch ((enum uring_gather_kind)c->gather->kind) {
        case URING_GATHER_COPY: uring_copy_sent(e, c, result); return;
        case URING_GATHER_ZC: uring_zc_sent(e, c, result, flags); return;
        case URING_GATHER_PIECES:
        case URING_GATHER_FILE: uring_gather_put(e, c->gather); c->gather = NULL;
        }
    }
    if (result > 0) {
        uring_sent(e, c, (uint64_t)result);
    } else if (result < 0 && result != -EAGAIN && result != -EINTR) {
        uring_send_failed(e, c, -result);
    }
}

void uring_read_done(struct uring_engine *e, struct uring_conn *c, int result)
{
    c->ops--;
    /* The send that is linked to it is cancelled then. */
    if (result < 0 && result != -ECANCELED)
        uring_conn_end(e, c, ENGINE_CLOSED_ERROR, -result);
    else if (result >= 0 && (uint32_t)result < c->read_bytes)
        uring_conn_end(e, c, ENGINE_CLOSED_ERROR, ENODATA);
    uring_mark_dirty(e, c);
}

void uring_poll_out_done(struct uring_engine *e, struct uring_conn *c, int result)
{
    c->ops--;
    c->out = URING_OUT_IDLE;
    uring_mark_dirty(e, c);
}

/* Everything left is told of as released. Nothing of the connection is in flight any more. */
void uring_send_drop(struct uring_engine *e, struct uring_conn *c)
{
    struct sendq_done done;

    if (c->gather != NULL)
        uring_gather_put(e, c->gather);
    while (c->zc != NULL) {
        struct uring_gather *g = c->zc;
        c->zc = g->next;
        uring_gather_put(e, g);
    }
    c->gather = c->zc_last = NULL;
    while (sendq_drop(&c->queue, &done)) {
        e->calls_up++;
        e->base.events->on_sent(c->ctx, done.cookie, done.bytes, done.what);
    }
}
