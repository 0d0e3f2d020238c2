/* Connections of the null engine: see null.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/line.h"
#include "core/seldom.h"
#include "engines/null.h"

/* Pieces that a connection delivers before others have their turn. */
#define NULL_PIECES_MAX 16u
/*
 * A received buffer that is passed on keeps the piece under it from being returned, that one the
 * piece under it, and so on. Two ends that pass on for ever what they get would hold all they
 * ever sent; so a buffer of this depth is copied, which ends the chain.
 */
#define NULL_DEPTH_MAX 8u

/* --- pieces --- */

static void null_release(struct buf *buf);

int null_add_chunk(struct null_engine *e)
{
    if (e->chunks_count == e->chunks_room) {
        unsigned room = e->chunks_room == 0 ? 16 : e->chunks_room * 2;
        struct null_piece **grown = realloc(e->chunks, room * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        e->chunks = grown;
        e->chunks_room = room;
    }
    struct null_piece *chunk = line_calloc(NULL_CHUNK * sizeof(*chunk));
    if (chunk == NULL)
        return -ENOMEM;
    e->chunks[e->chunks_count++] = chunk;
    for (unsigned i = NULL_CHUNK; i-- > 0;) {
        chunk[i].buf.release = null_release;
        chunk[i].next = e->free;
        e->free = &chunk[i];
    }
    return 0;
}

static struct null_piece *null_piece_new(struct null_engine *e)
{
    if (e->free == NULL && null_add_chunk(e) < 0)
        return NULL;
    struct null_piece *piece = e->free;
    e->free = piece->next;
    return piece;
}

static inline void null_piece_free(struct null_engine *e, struct null_piece *piece)
{
    piece->next = e->free;
    e->free = piece;
}

static SELDOM void null_block_free(struct null_engine *e, struct null_piece *piece)
{
    piece->block->next = e->blocks;
    e->blocks = piece->block;
    piece->block = NULL;
}

/* Of a piece that somebody asked about, or that was copied. Its send may be settled by that. */
static SELDOM void null_settle_odd(struct null_engine *e, struct null_piece *piece)
{
    struct null_piece *head = piece->head;
    struct null_conn *c = piece->sender;
    struct buf *held = piece->held;

    if (piece->block != NULL)
        null_block_free(e, piece);
    /* One whose turn it is looks for itself. */
    if (head != NULL && --head->unreturned == 0 && c->sends == head && c->turn == NULL_IDLE)
        null_append(e, c);
    if (head != piece)
        null_piece_free(e, piece);
    if (held != NULL)
        buf_unref(held);
}

/* The piece is done with: nobody reads it any more. */
static inline void null_settle(struct null_engine *e, struct null_piece *piece)
{
    struct buf *held = piece->held;

    if (__builtin_expect(piece->odd, 0)) {
        null_settle_odd(e, piece);
        return;
    }
    null_piece_free(e, piece);
    if (held != NULL)
        buf_unref(held);
}

/* Under `bufs=`: others may have waited for it. */
static void null_loan_is_back(struct null_engine *e, struct null_conn *receiver)
{
    struct null_side *side = &e->sides[receiver->accepted];
    struct null_conn *next, *c = null_list_take_all(&side->waiting);

    receiver->lent_count--;
    side->lent_count--;
    for (; c != NULL; c = next) {
        next = c->next_waiting;
        c->flags &= ~(uint32_t)NULL_WAITING;
        null_mark(e, c);
    }
}

/* By one end that may have been starved, or is dead and waits for its loans. */
static SELDOM void null_release_slowly(struct null_engine *e, struct null_piece *piece)
{
    struct null_conn *receiver = piece->receiver, *sender = piece->sender;

    if ((receiver->flags | sender->flags) & NULL_LOST) {
        if (piece->held != NULL)
            buf_unref(piece->held);
        return;
    }
    receiver->lent_bytes -= piece->size + sizeof(*piece);
    sender->out_count--;
    if (receiver->flags & NULL_LIMITED)
        null_loan_is_back(e, receiver);
    if (receiver->flags & (NULL_STARVED | NULL_DEAD)) {
        receiver->flags &= ~(uint32_t)NULL_STARVED;
        null_mark(e, receiver->far != NULL ? receiver->far : receiver);
        null_mark(e, receiver);
    }
    if (sender->flags & NULL_DEAD)
        null_mark(e, sender);
    null_settle(e, piece);
}

/* Of a loan that was kept: from buf_unref, so possibly in the middle of an upward call; only
 * marks. */
static void null_release(struct buf *buf)
{
    struct null_piece *piece = (struct null_piece *)buf;
    struct null_conn *receiver = piece->receiver, *sender = piece->sender;
    struct null_engine *e = receiver->engine;

    if (__builtin_expect((receiver->flags | sender->flags) != 0, 0)) {
        null_release_slowly(e, piece);
        return;
    }
    receiver->lent_bytes -= piece->size + sizeof(*piece);
    sender->out_count--;
    null_settle(e, piece);
}

static struct null_block *null_block_new(struct null_engine *e)
{
    struct null_block *block = e->blocks;

    if (block == NULL)
        return malloc(sizeof(*block) + NULL_PIECE_BYTES);
    e->blocks = block->next;
    return block;
}

/* The front of the piece as one of its own, to be delivered before the rest. */
static struct null_piece *null_split(struct null_engine *e, struct null_piece *piece, uint64_t size)
{
    struct null_piece *part = null_piece_new(e);

    if (part == NULL)
        return NULL;
    *part = *piece;
    part->size = size;
    if (part->held != NULL)
        buf_ref(part->held);
    if (part->odd && part->head != NULL)
        part->head->unreturned++;
    piece->size -= size;
    if (piece->buf.data == NULL)
        piece->file_offset += size;
    else
        piece->buf.data += size;
    return part;
}

/* What cannot be lent as it is: reads or copies it. 0 or -errno. */
static int null_load(struct null_engine *e, struct null_piece *piece)
{
    struct null_block *block = null_block_new(e);

    if (block == NULL)
        return -ENOMEM;
    piece->block = block;
    bool file = piece->buf.data == NULL;
    if (!file) {
        memcpy(block->bytes, piece->buf.data, piece->size);
        buf_unref(piece->held);
        piece->held = NULL;
    }
    for (uint64_t done = 0; file && done < piece->size;) {
        engine_count(&e->engine, ENGINE_SYSTEM_CALLS, 1);
        ssize_t n = pread(piece->fd, block->bytes + done, piece->size - done,
                          (off_t)(piece->file_offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENODATA; /* shorter than what was promised */
        done += (uint64_t)n;
    }
    piece->buf.data = block->bytes;
    piece->buf.depth = 0;
    return 0;
}

static inline void null_unqueue(struct null_conn *c, struct null_piece *piece)
{
    c->queue = piece->next;
    if (c->queue == NULL)
        c->flags &= ~(uint32_t)NULL_QUEUED;
}

/* What will not be delivered. */
static void null_drop(struct null_engine *e, struct null_piece *piece)
{
    if (piece->odd && piece->head != NULL)
        piece->head->dropped = true;
    null_settle(e, piece);
}

/* --- the end of a connection --- */

static void null_stop_waiting(struct null_engine *e, struct null_conn *c)
{
    struct null_list *list = &e->sides[!c->accepted].waiting;
    struct null_conn *next, *other = null_list_take_all(list);

    c->flags &= ~(uint32_t)NULL_WAITING;
    for (; other != NULL; other = next) {
        next = other->next_waiting;
        if (other != c)
            null_list_add(list, other);
    }
}

/* Nothing of it is sent or received any more; on_closed follows when all loans are back. */
static void null_end(struct null_engine *e, struct null_conn *c, enum engine_reason reason, int err)
{
    struct null_conn *far = c->far;

    if (c->flags & NULL_DEAD)
        return;
    bool in_order = (reason == ENGINE_CLOSED_LOCALLY && (c->flags & NULL_ABORTING) == 0) ||
                    reason == ENGINE_CLOSED_BY_PEER;
    c->flags |= NULL_DEAD;
    c->reason = (uint8_t)reason;
    c->err = err;
    c->far = NULL;
    if (c->flags & NULL_WAITING)
        null_stop_waiting(e, c);
    if (far != NULL) {
        far->far = NULL;
        far->flags |= in_order ? NULL_FIN : NULL_RESET;
        null_mark(e, far);
    }
    while (c->queue != NULL) {
        struct null_piece *piece = c->queue;
        null_unqueue(c, piece);
        null_drop(e, piece);
    }
    null_mark(e, c);
}

static void null_notify(struct null_engine *e, struct null_conn *c)
{
    struct null_piece *head = c->sends;
    uint64_t cookie = head->cookie, bytes = head->bytes;
    unsigned what = head->dropped ? ENGINE_RELEASED : ENGINE_SENT | ENGINE_RELEASED;

    c->sends = head->next_send;
    if (c->sends == NULL)
        c->flags &= ~(uint32_t)NULL_ASKED;
    null_piece_free(e, head);
    e->calls++;
    e->engine.events->on_sent(c->ctx, cookie, bytes, what);
}

/* The last upward call. The item is given back before it: there the handle is stale, and a
 * connection of an instance that is full can be replaced. */
static SELDOM void null_bury(struct null_engine *e, struct null_conn *c)
{
    enum engine_reason reason = c->reason;
    bool silent = (c->flags & NULL_EMBRYO) != 0;
    void *ctx = c->ctx;
    int err = c->err;

    free(c->remote);
    c->remote = NULL;
    conns_give(&e->conns, c);
    if (silent)
        return;
    e->calls++;
    e->engine.events->on_closed(ctx, reason, err);
}

/* --- a connection's turn --- */

/* Whether the receiver may be lent something now; *most is how much. */
static bool null_may_lend(struct null_engine *e, struct null_conn *c, struct null_conn *receiver,
                          uint64_t *most)
{
    struct null_side *side = &e->sides[receiver->accepted];

    *most = NULL_PIECE_BYTES;
    if (receiver->lent_bytes > 0) {
        if (receiver->lent_bytes >= e->quota_bytes || receiver->lent_count >= e->conn_lent_max) {
            receiver->flags |= NULL_STARVED;
            engine_count(&e->engine, ENGINE_BUF_SHORTAGES, 1);
            return false;
        }
        uint64_t left = e->quota_bytes - receiver->lent_bytes;
        *most = left < *most ? left : *most;
    }
    if (side->lent_count >= e->lent_max) {
        c->flags |= NULL_WAITING;
        null_list_add(&side->waiting, c);
        engine_count(&e->engine, ENGINE_BUF_SHORTAGES, 1);
        return false;
    }
    return true;
}

/* The next piece off the queue, at most so large, ready to be lent. NULL: the connection ended. */
static struct null_piece *null_next_piece(struct null_engine *e, struct null_conn *c, uint64_t most)
{
    struct null_piece *piece = c->queue;
    int r = 0;

    if (piece->size > most) {
        piece = null_split(e, piece, most);
        if (piece == NULL) {
            null_end(e, c, ENGINE_CLOSED_ERROR, ENOMEM);
            return NULL;
        }
    } else {
        null_unqueue(c, piece);
    }
    if (piece->buf.depth >= NULL_DEPTH_MAX)
        r = null_load(e, piece);
    if (r < 0) {
        null_drop(e, piece);
        null_end(e, c, ENGINE_CLOSED_ERROR, -r);
        return NULL;
    }
    return piece;
}

/* It was kept beyond the call: accounted until null_release. */
static inline void null_keep(struct null_engine *e, struct null_conn *c, struct null_piece *piece,
                             struct null_conn *receiver)
{
    piece->buf.refs--;
    piece->receiver = receiver;
    piece->sender = c;
    c->out_count++;
    receiver->lent_bytes += piece->size + sizeof(*piece);
    if (__builtin_expect(e->limited, 0)) {
        receiver->lent_count++;
        e->sides[receiver->accepted].lent_count++;
    }
}

static INLINED void null_lend(struct null_engine *e, struct null_conn *c, struct null_piece *piece,
                              struct null_conn *receiver, unsigned flags)
{
    struct buf *buf = &piece->buf;
    uint64_t size = piece->size;

    buf->size = (uint32_t)size;
    buf->refs = 1;
    e->recvs++;
    e->recv_bytes += size;
    e->calls++;
    e->engine.events->on_recv(receiver->ctx, buf, flags);
    if (buf->refs > 1)
        null_keep(e, c, piece, receiver);
    else
        null_settle(e, piece);
}

/* To one that does not listen any more: taken, and gone. */
static void null_discard(struct null_engine *e, struct null_conn *c)
{
    while (c->queue != NULL) {
        struct null_piece *piece = c->queue;
        null_unqueue(c, piece);
        engine_count(&e->engine, ENGINE_SENT_BYTES, piece->size);
        null_settle(e, piece);
    }
}

static SELDOM void null_deliver(struct null_engine *e, struct null_conn *c)
{
    for (unsigned i = 0; c->queue != NULL; i++) {
        struct null_conn *receiver = c->far;
        uint64_t most;

        if (receiver == NULL) {
            /* Both were closed in order, and crossed: nobody is left to be told of a reset. */
            if ((c->flags & (NULL_CLOSING | NULL_RESET)) == NULL_CLOSING)
                null_discard(e, c);
            else
                null_end(e, c, ENGINE_CLOSED_RESET, ECONNRESET);
            return;
        }
        if (receiver->flags & (NULL_NOT_NOW | NULL_DEAF)) {
            if (receiver->flags & NULL_DEAF)
                null_discard(e, c);
            return;
        }
        if (c->flags & (NULL_WAITING | NULL_ABORTING))
            return;
        if (i == NULL_PIECES_MAX) {
            null_mark(e, c);
            return;
        }
        if (!null_may_lend(e, c, receiver, &most))
            return;
        struct null_piece *piece = null_next_piece(e, c, most);
        if (piece == NULL)
            return;
        bool more = c->queue != NULL && i + 1 < NULL_PIECES_MAX;
        null_lend(e, c, piece, receiver, more ? ENGINE_RECV_MORE : 0);
    }
}

/* Dead, and nothing is lent from or to it. */
static inline bool null_is_settled(const struct null_conn *c)
{
    return (c->flags & NULL_DEAD) && c->sends == NULL && c->lent_bytes == 0 && c->out_count == 0;
}

/* What happens once in a connection's life. */
static SELDOM void null_turn_rare(struct null_engine *e, struct null_conn *c)
{
    if (c->flags & NULL_ABORTING)
        null_end(e, c, ENGINE_CLOSED_LOCALLY, 0);
    else if (c->flags & NULL_REFUSED)
        null_end(e, c, ENGINE_CLOSED_CONNECT, ECONNREFUSED);
    else if ((c->flags & (NULL_RESET | NULL_EMBRYO)) == NULL_RESET)
        null_end(e, c, ENGINE_CLOSED_RESET, ECONNRESET);
    if (c->queue == NULL && (c->flags & (NULL_CLOSING | NULL_DEAD)) == NULL_CLOSING)
        null_end(e, c, ENGINE_CLOSED_LOCALLY, 0);
    if (c->queue == NULL && (c->flags & (NULL_END | NULL_END_GONE | NULL_DEAD)) == NULL_END) {
        c->flags |= NULL_END_GONE;
        if (c->far != NULL) {
            c->far->flags |= NULL_FIN;
            null_mark(e, c->far);
        }
    }
    if ((c->flags & (NULL_FIN | NULL_EOF_TOLD | NULL_NOT_NOW | NULL_DEAF)) == NULL_FIN) {
        c->flags |= NULL_EOF_TOLD;
        e->calls++;
        e->engine.events->on_eof(c->ctx);
        /* What was asked for there is the next turn's. */
        c->turn = NULL_TURN_AGAIN;
        return;
    }
    if ((c->flags & NULL_EOF_TOLD) && (c->flags & NULL_END_GONE))
        null_end(e, c, ENGINE_CLOSED_BY_PEER, 0);
}

static inline bool null_notification_is_due(const struct null_conn *c)
{
    return c->sends != NULL && c->sends->unreturned == 0;
}

static SELDOM void null_tell_open(struct null_engine *e, struct null_conn *c)
{
    c->flags &= ~(uint32_t)NULL_OPEN_DUE;
    if (c->far != NULL)
        null_mark(e, c->far);
    e->calls++;
    e->engine.events->on_open(c->ctx);
}

/* Everything that the connection can do now. */
static SELDOM void null_turn(struct null_engine *e, struct null_conn *c)
{
    if ((c->flags & (NULL_OPEN_DUE | NULL_ABORTING)) == NULL_OPEN_DUE)
        null_tell_open(e, c);
    while (null_notification_is_due(c))
        null_notify(e, c);
    c->turn = NULL_IN_TURN;
    if (c->queue != NULL)
        null_deliver(e, c);
    if (null_notification_is_due(c))
        null_notify(e, c);
    if (c->flags != 0)
        null_turn_rare(e, c);
    if (c->turn == NULL_TURN_AGAIN || null_notification_is_due(c))
        null_append(e, c);
    else if (null_is_settled(c))
        null_bury(e, c);
    else
        c->turn = NULL_IDLE;
}

/*
 * Nearly always there is one piece, to be lent as it is, to one that listens and holds nothing.
 * Who has the short way knows its far end: one that lost it was flagged. False: nothing was done.
 */
static INLINED bool null_turn_shortly(struct null_engine *e, struct null_conn *c)
{
    struct null_conn *receiver = c->far;
    struct null_piece *piece = c->queue;

    if (__builtin_expect(
            c->flags != 0 || piece == NULL || receiver->flags != 0 || receiver->lent_bytes > 0, 0))
        return false;
    /* Whatever it gets to do in the call is for another turn. */
    c->turn = NULL_IDLE;
    c->queue = NULL;
    null_lend(e, c, piece, receiver, 0);
    return true;
}

void null_rounds(struct null_engine *e, unsigned calls_max)
{
    struct null_conn *c;

    if (__builtin_expect(e->embryos.first != NULL, 0))
        null_announce(e);
    while ((c = e->ready.first) != NULL && e->calls < calls_max) {
        e->ready.first = c->next_ready;
        if (e->ready.first == NULL)
            e->ready.end = &e->ready.first;
        if (!null_turn_shortly(e, c))
            null_turn(e, c);
    }
}

void null_force(struct null_engine *e, struct null_conn *c)
{
    while (c->sends != NULL)
        null_notify(e, c);
    null_bury(e, c);
}

/* --- calls down --- */

struct null_conn *null_conn_new(struct null_engine *e, uint32_t flags, void *ctx)
{
    struct null_conn *c = conns_take(&e->conns);

    if (c == NULL)
        return NULL;
    memset((char *)c + sizeof(c->item), 0, sizeof(*c) - sizeof(c->item));
    c->engine = e;
    c->flags = flags | (e->limited ? NULL_LIMITED : 0);
    c->ctx = ctx;
    return c;
}

static inline struct null_conn *null_find(struct null_engine *e, uint64_t handle)
{
    struct null_conn *c = conns_find(&e->conns, handle);

    return c != NULL && (c->flags & (NULL_DEAD | NULL_EMBRYO)) == 0 ? c : NULL;
}

int null_recv_pause(struct engine *engine, uint64_t conn)
{
    struct null_conn *c = null_find(null_self(engine), conn);

    if (c == NULL)
        return -ESTALE;
    c->flags |= NULL_PAUSED;
    return 0;
}

int null_recv_resume(struct engine *engine, uint64_t conn)
{
    struct null_engine *e = null_self(engine);
    struct null_conn *c = null_find(e, conn);

    if (c == NULL)
        return -ESTALE;
    c->flags &= ~(uint32_t)NULL_PAUSED;
    null_mark(e, c);
    if (c->far != NULL)
        null_mark(e, c->far);
    return 0;
}

static inline void null_fill(struct null_piece *piece, const struct seg *seg)
{
    piece->buf.data = (uint8_t *)(uintptr_t)seg->data;
    piece->buf.depth = seg->buf != NULL ? seg->buf->depth + 1 : 0;
    piece->next = NULL;
    piece->held = seg->buf;
    piece->size = seg->size;
    piece->odd = false;
}

/* At the end of its sender's queue, which goes the long way then. */
static void null_queue(struct null_conn *c, struct null_piece *piece, const struct seg *seg,
                       struct null_piece *head)
{
    null_fill(piece, seg);
    piece->odd = true;
    piece->sender = c;
    piece->head = head;
    if (seg->data == NULL) {
        piece->buf.depth = NULL_DEPTH_MAX;
        piece->fd = seg->fd;
        piece->file_offset = seg->file_offset;
    }
    if ((c->flags & NULL_QUEUED) == 0)
        c->queue_end = c->queue != NULL ? &c->queue->next : &c->queue;
    c->flags |= NULL_QUEUED;
    *c->queue_end = piece;
    c->queue_end = &piece->next;
}

/* The head of a send that somebody asks about. */
static void null_expect(struct null_conn *c, struct null_piece *head, uint64_t cookie,
                        uint64_t bytes, unsigned count)
{
    head->next_send = NULL;
    head->cookie = cookie;
    head->bytes = bytes;
    head->unreturned = count;
    head->dropped = false;
    if (c->sends == NULL)
        c->sends_end = &c->sends;
    c->flags |= NULL_ASKED;
    *c->sends_end = head;
    c->sends_end = &head->next_send;
}

/* All pieces of a send, or none: chained, the first is returned. */
static struct null_piece *null_pieces_new(struct null_engine *e, unsigned count)
{
    struct null_piece *first = NULL;

    for (unsigned i = 0; i < count; i++) {
        struct null_piece *piece = null_piece_new(e);
        if (piece == NULL) {
            while ((piece = first) != NULL) {
                first = piece->next;
                null_piece_free(e, piece);
            }
            return NULL;
        }
        piece->next = first;
        first = piece;
    }
    return first;
}

static SELDOM int null_send_slowly(struct null_engine *e, uint64_t conn, const struct seg *segs,
                                   unsigned count, uint64_t cookie)
{
    struct null_conn *c = conns_find(&e->conns, conn);
    uint64_t bytes = 0;

    if (c == NULL || (c->flags & NULL_EMBRYO))
        return -ESTALE;
    if (c->flags & NULL_SENDLESS)
        return -EPIPE;
    for (unsigned i = 0; i < count; i++) {
        if (segs[i].size == 0)
            return -EINVAL;
        bytes += segs[i].size;
    }
    if (count == 0)
        return -EINVAL;
    struct null_piece *next, *piece = null_pieces_new(e, count);
    struct null_piece *head = cookie != 0 ? piece : NULL;
    if (piece == NULL)
        return -ENOMEM;
    if (head != NULL)
        null_expect(c, head, cookie, bytes, count);
    for (; piece != NULL; piece = next) {
        next = piece->next;
        null_queue(c, piece, segs++, head);
    }
    e->sends++;
    null_mark(e, c);
    return 0;
}

/* A segment of memory or in a buffer that can be lent as it is. */
static inline bool null_is_plain(const struct seg *seg)
{
    return seg->data != NULL && seg->size - 1 < NULL_PIECE_BYTES &&
           (seg->buf == NULL || seg->buf->depth + 1 < NULL_DEPTH_MAX);
}

int null_send(struct engine *engine, uint64_t conn, const struct seg *segs, unsigned count,
              uint64_t cookie)
{
    struct null_engine *e = null_self(engine);
    struct null_conn *c = conns_find(&e->conns, conn);

    /* Nearly always it is one segment that nobody asks about, and the only one of a connection
     * like others. */
    if (__builtin_expect(c == NULL || c->flags != 0 || c->queue != NULL, 0) ||
        __builtin_expect(count != 1 || cookie != 0 || !null_is_plain(segs) || e->free == NULL, 0))
        return null_send_slowly(e, conn, segs, count, cookie);
    struct null_piece *piece = e->free;
    e->free = piece->next;
    null_fill(piece, segs);
    c->queue = piece;
    e->sends++;
    null_mark(e, c);
    return 0;
}

int null_send_end(struct engine *engine, uint64_t conn)
{
    struct null_engine *e = null_self(engine);
    struct null_conn *c = null_find(e, conn);

    if (c == NULL)
        return -ESTALE;
    c->flags |= NULL_END;
    null_mark(e, c);
    return 0;
}

int null_conn_close(struct engine *engine, uint64_t conn, bool abort)
{
    struct null_engine *e = null_self(engine);
    struct null_conn *c = null_find(e, conn);

    if (c == NULL)
        return -ESTALE;
    c->flags |= abort ? NULL_ABORTING : NULL_CLOSING;
    null_mark(e, c);
    /* What the far end has queued is not waited for any more. */
    if (c->far != NULL)
        null_mark(e, c->far);
    return 0;
}
