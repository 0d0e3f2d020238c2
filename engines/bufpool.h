/*
 * Receive buffers for engines that choose one when they read (epoll, blocking), and the account
 * of loans that every engine keeps for each connection.
 *
 * Buffers are slices of large blocks. A slice that comes back at once, as most do, gives its
 * place to the next: one hot block does for all connections. One that is kept takes only what
 * was received, so that 64 bytes on loan never pin a buffer of 256 KiB.
 */
#ifndef LAB_ENGINES_BUFPOOL_H
#define LAB_ENGINES_BUFPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/seg.h"

/* What a connection has on loan; embedded in the engine's connection, which outlives its loans. */
struct loans {
    uint64_t bytes; /* charged: received bytes, and the header of each */
    uint32_t count;
    bool wanted; /* its engine wants to hear of the next return */
};

/* What a receive asks for, whatever the size of a message. What lies beyond the received bytes is
 * not touched. What a receive brings is read again at once, by the check or to be sent, so it is to
 * be still in a core's own cache: with 128 KiB (and 512 KiB of cache) image streams are 1.1 to 1.2
 * times, and epoll's streams and echoes of 64 KiB 1.1 to 1.3 times as fast as with 1 MiB,
 * blocking's 0.95 to 1.1; with 256 KiB (and 2 MiB of cache) all these are 0.98 to 1.1 times as fast
 * as with 128. With 64 KiB streams over four connections lose a quarter of it. */
#define BUFPOOL_RECEIVE_BYTES (256u << 10)

/* Called from buf_unref, so possibly in the middle of an upward call or between polls: it may
 * only mark, or re-arm; no call up. */
typedef void bufpool_returned_fn(void *context, struct loans *loans);

struct bufpool_config {
    size_t receive_bytes; /* the most that one receive asks for */
    uint64_t bufs_max;    /* loans of the whole pool; 0: no limit */
    uint64_t quota_bytes; /* loans a connection */
    bufpool_returned_fn *returned;
    void *context;
};

/* --- known here for the sake of the inline functions alone --- */

#define BUFPOOL_ALIGN 64u
/* What a loan costs beside its bytes: a struct bufpool_buf, and its slice rounded up. */
#define BUFPOOL_CHARGE (sizeof(struct bufpool_buf) + BUFPOOL_ALIGN)

/* A line of the cache. */
struct bufpool_buf {
    struct buf buf; /* first */
    struct bufpool_block *block;
    struct loans *loans;
    struct bufpool_buf *next; /* of free ones */
    uint32_t start, end;      /* its slice of the block */
};

struct bufpool_block {
    struct bufpool *pool;
    struct bufpool_block *next; /* of all */
    struct bufpool_block *next_idle;
    uint32_t used; /* up to the end of the last slice on loan */
    uint32_t lent; /* slices on loan */
    uint8_t *data;
};

struct bufpool {
    /* What every receive needs, on one line of the cache. */
    struct bufpool_block *current; /* never among the idle ones */
    struct bufpool_buf *free;
    uint64_t receive_bytes, block_bytes;
    uint64_t bufs_max, quota_bytes;
    uint64_t lent;
    bool wanted;

    uint64_t lent_most; /* to one connection */
    bufpool_returned_fn *returned;
    void *context;
    struct bufpool_block *idle; /* nothing on loan */
    struct bufpool_block *blocks;
    struct bufpool_headers *headers;
};

/* --- */

int bufpool_open(struct bufpool **pool, const struct bufpool_config *config); /* -ENOMEM */
/* Everything must be back. NULL is fine. */
void bufpool_close(struct bufpool *pool);

/* False: at its quota (in bytes, or with more than half of a limited pool's buffers), so the
 * connection is not to be read; one without any loan never is. */
static inline bool bufpool_may_lend(const struct bufpool *pool, const struct loans *loans)
{
    if (loans->count == 0)
        return true;
    return loans->bytes < pool->quota_bytes &&
           (pool->bufs_max == 0 || loans->count < pool->lent_most);
}

struct buf *bufpool_peek_slowly(struct bufpool *pool, const struct loans *loans, size_t *room);

/* Where the connection's next receive goes: buf->data, with *room bytes, cut to what its quota
 * leaves. Nothing is lent yet; asking again gives the same. NULL: none left (bufs_max) or no
 * memory. */
static inline struct buf *bufpool_peek(struct bufpool *pool, const struct loans *loans,
                                       size_t *room)
{
    struct bufpool_block *block = pool->current;
    struct bufpool_buf *next = pool->free;

    if (__builtin_expect(pool->bufs_max != 0 || next == NULL || loans->count > 0 ||
                             block->used + pool->receive_bytes > pool->block_bytes,
                         0))
        return bufpool_peek_slowly(pool, loans, room);
    next->block = block;
    next->start = block->used;
    next->buf.data = block->data + block->used;
    *room = pool->receive_bytes;
    return &next->buf;
}

/* Lends the peeked buf with `size` received bytes (at least 1) and one reference, the engine's. */
static inline void bufpool_lend(struct bufpool *pool, struct buf *buf, size_t size,
                                struct loans *loans)
{
    struct bufpool_buf *lent = (struct bufpool_buf *)buf;
    struct bufpool_block *block = lent->block;

    pool->free = lent->next;
    pool->lent++;
    buf->size = (uint32_t)size;
    buf->refs = 1;
    lent->loans = loans;
    lent->end =
        lent->start + (uint32_t)((size + BUFPOOL_ALIGN - 1) / BUFPOOL_ALIGN) * BUFPOOL_ALIGN;
    block->used = lent->end;
    block->lent++;
    loans->count++;
    loans->bytes += size + BUFPOOL_CHARGE;
}

/* Wants to hear of the next return by any connection, after peek gave NULL. */
void bufpool_want(struct bufpool *pool);

#endif
