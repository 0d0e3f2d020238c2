/*
 * What one connection has to send: a ring of segments and their sends' cookies. An engine pushes
 * what send() gives it, gathers from the front, says how far the stack got, and takes the
 * notifications that are due. SENT and RELEASED advance apart, for zero-copy; most engines
 * advance them together. The ring grows and is kept: nothing is allocated in steady state.
 */
#ifndef LAB_ENGINES_SENDQ_H
#define LAB_ENGINES_SENDQ_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/seg.h"
#include "engines/engine.h"

struct sendq_entry {
    struct seg seg;
    uint64_t cookie; /* of its send */
    uint64_t bytes;  /* of its whole send, in the send's last segment; else 0 */
    bool copied;
};

struct sendq {
    struct sendq_entry *ring;
    uint32_t room; /* a power of two, or 0 */
    /* Counts that grow (and wrap), or begin again at 0 when all is settled: entry i is
     * ring[i & (room - 1)]. released <= told <= sent <= pushed. */
    uint32_t released; /* settled, gone */
    uint32_t told;     /* SENT was notified */
    uint32_t sent;     /* handed to the stack whole */
    uint32_t pushed;
    uint64_t sent_offset;    /* bytes of the entry at `sent` that were handed over */
    uint64_t unsent_bytes;   /* all that is not handed over yet */
    uint64_t released_bytes; /* released, of the entry at `released` */
};

struct sendq_done {
    uint64_t cookie;
    uint64_t bytes; /* of the whole send */
    unsigned what;  /* ENGINE_SENT, ENGINE_RELEASED, ENGINE_COPIED */
};

/* A zeroed struct sendq is an empty queue. */
void sendq_free(struct sendq *q); /* an empty one's memory */

static inline struct sendq_entry *sendq_at(const struct sendq *q, uint32_t i)
{
    return &q->ring[i & (q->room - 1)];
}

int sendq_push_slowly(struct sendq *q, const struct seg *segs, unsigned count, uint64_t cookie);

/* Copies the segs; takes over the references on their bufs. -EINVAL: no segment, or an empty one;
 * -ENOMEM. An error leaves the queue, and the references, as they were. */
static inline int sendq_push(struct sendq *q, const struct seg *segs, unsigned count,
                             uint64_t cookie)
{
    if (__builtin_expect(count != 1 || segs->size == 0 || q->pushed - q->released == q->room, 0))
        return sendq_push_slowly(q, segs, count, cookie);
    struct sendq_entry *entry = sendq_at(q, q->pushed++);
    entry->seg = *segs;
    entry->cookie = cookie;
    entry->bytes = segs->size;
    entry->copied = false;
    q->unsent_bytes += segs->size;
    return 0;
}

/* Nothing left to hand to the stack. */
static inline bool sendq_is_drained(const struct sendq *q)
{
    return q->sent == q->pushed;
}

/* Nothing left to release or notify either. */
static inline bool sendq_is_settled(const struct sendq *q)
{
    return q->released == q->pushed;
}

/* The only thing unsent is one piece of memory, untouched. */
static inline bool sendq_is_one_piece(const struct sendq *q)
{
    return q->pushed - q->sent == 1 && q->sent_offset == 0 &&
           sendq_at(q, q->sent)->seg.data != NULL;
}

unsigned sendq_gather_slowly(const struct sendq *q, struct iovec *iov, unsigned max,
                             uint64_t bytes_max, uint64_t *bytes);

/* Fills iov from the first unsent byte up to a file segment, max pieces or bytes_max bytes, the
 * last piece cut to fit; *bytes is the sum. 0: nothing, or a file is next. Moves nothing. */
static inline unsigned sendq_gather(const struct sendq *q, struct iovec *iov, unsigned max,
                                    uint64_t bytes_max, uint64_t *bytes)
{
    if (__builtin_expect(!sendq_is_one_piece(q) || q->unsent_bytes > bytes_max || max == 0, 0))
        return sendq_gather_slowly(q, iov, max, bytes_max, bytes);
    /* A send never writes to what it is given. */
    iov->iov_base = (void *)(uintptr_t)sendq_at(q, q->sent)->seg.data;
    iov->iov_len = *bytes = q->unsent_bytes;
    return 1;
}

/* After a gather of count pieces comes a file. */
static inline bool sendq_file_follows(const struct sendq *q, unsigned count)
{
    uint32_t next = q->sent + count;
    return next != q->pushed && sendq_at(q, next)->seg.data == NULL;
}
/* If a file segment is next: true, and what is left of it. */
static inline bool sendq_next_file(const struct sendq *q, struct seg *rest)
{
    if (sendq_is_drained(q) || __builtin_expect(sendq_at(q, q->sent)->seg.data != NULL, 1))
        return false;
    *rest = sendq_at(q, q->sent)->seg;
    rest->file_offset += q->sent_offset;
    rest->size -= q->sent_offset;
    return true;
}

/* As sendq_next_file, for the segment behind the `pieces` that sendq_gather gave, `bytes` in all:
 * so that a head and its file can go out together. */
bool sendq_file_behind(const struct sendq *q, unsigned pieces, uint64_t bytes, struct seg *file);

/* The stack took so many more bytes. */
void sendq_sent(struct sendq *q, uint64_t bytes);
/* The memory of so many more bytes is free again, in order. At most what was sent. */
void sendq_release(struct sendq *q, uint64_t bytes, bool copied);

bool sendq_take_slowly(struct sendq *q, struct sendq_done *done);

/* The next notification that is due (sends with a cookie only), dropping references of what is
 * released; false: none. on_sent may push more while this is drained in a loop. */
static inline bool sendq_take(struct sendq *q, struct sendq_done *done)
{
    return !sendq_is_settled(q) && sendq_take_slowly(q, done);
}

/* The one piece that sendq_is_one_piece told of, with nothing before it that is not settled: the
 * stack took it whole, and copied. As sendq_take. */
static inline bool sendq_took_piece(struct sendq *q, struct sendq_done *done)
{
    struct sendq_entry *entry = sendq_at(q, q->released);
    struct buf *buf = entry->seg.buf;
    done->cookie = entry->cookie;
    done->bytes = entry->bytes; /* the whole send's: other pieces of it may have gone before */
    done->what = ENGINE_SENT | ENGINE_RELEASED;
    /* From the start of the ring again: one entry stays in the cache, not all of them. */
    q->released = q->told = q->sent = q->pushed = 0;
    q->unsent_bytes = 0;
    if (buf != NULL)
        buf_unref(buf);
    return done->cookie != 0;
}

/* For engines whose stack copies: it took so many more bytes, which are released by that. Then
 * as sendq_take, which gives the rest. */
static inline bool sendq_took(struct sendq *q, uint64_t bytes, struct sendq_done *done)
{
    /* Most sends are one piece, alone in the queue, and taken whole. */
    if (__builtin_expect(
            sendq_is_one_piece(q) && q->sent == q->released && bytes == q->unsent_bytes, 1))
        return sendq_took_piece(q, done);
    sendq_sent(q, bytes);
    sendq_release(q, bytes, false);
    return sendq_take(q, done);
}

/* For a connection that ends: as sendq_take, and then everything left as RELEASED, unsent. Only
 * once no submission of the queue's memory is in flight. */
bool sendq_drop(struct sendq *q, struct sendq_done *done);

#endif
