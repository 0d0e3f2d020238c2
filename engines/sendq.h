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

struct sendq_entry {
    struct seg seg;
    uint64_t cookie; /* of its send */
    uint64_t bytes;  /* of its whole send, in the send's last segment; else 0 */
    bool copied;
};

struct sendq {
    struct sendq_entry *ring;
    uint32_t room; /* a power of two, or 0 */
    /* Counts that only grow (and wrap): entry i is ring[i & (room - 1)].
     * released <= told <= sent <= pushed. */
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

/* Copies the segs; references their bufs. -EINVAL: no segment, or an empty one; -ENOMEM. An
 * error leaves the queue as it was. */
int sendq_push(struct sendq *q, const struct seg *segs, unsigned count, uint64_t cookie);

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

/* Fills iov from the first unsent byte up to a file segment, max pieces or bytes_max bytes, the
 * last piece cut to fit; *bytes is the sum. 0: nothing, or a file is next. Moves nothing. */
unsigned sendq_gather(const struct sendq *q, struct iovec *iov, unsigned max, uint64_t bytes_max,
                      uint64_t *bytes);
/* After a gather of count pieces comes a file. */
static inline bool sendq_file_follows(const struct sendq *q, unsigned count)
{
    uint32_t next = q->sent + count;
    return next != q->pushed && q->ring[next & (q->room - 1)].seg.data == NULL;
}
/* If a file segment is next: true, and what is left of it. */
bool sendq_next_file(const struct sendq *q, struct seg *rest);

/* As sendq_next_file, for the segment behind the `pieces` that sendq_gather gave, `bytes` in all:
 * so that a head and its file can go out together. */
bool sendq_file_behind(const struct sendq *q, unsigned pieces, uint64_t bytes, struct seg *file);

/* The stack took so many more bytes. */
void sendq_sent(struct sendq *q, uint64_t bytes);
/* The memory of so many more bytes is free again, in order. At most what was sent. */
void sendq_release(struct sendq *q, uint64_t bytes, bool copied);
/* Both, for engines whose stack copies. */
static inline void sendq_sent_released(struct sendq *q, uint64_t bytes)
{
    sendq_sent(q, bytes);
    sendq_release(q, bytes, false);
}

/* The next notification that is due (sends with a cookie only), dropping references of what is
 * released; false: none. on_sent may push more while this is drained in a loop. */
bool sendq_take(struct sendq *q, struct sendq_done *done);
/* For a connection that ends: as sendq_take, and then everything left as RELEASED, unsent. Only
 * once no submission of the queue's memory is in flight. */
bool sendq_drop(struct sendq *q, struct sendq_done *done);

#endif
