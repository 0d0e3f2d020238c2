/*
 * Receive buffers for engines that choose one when they read (epoll, blocking), and the account
 * of loans that every engine keeps for each connection.
 *
 * Buffers are slices of large blocks. A slice that comes back at once, as most do, gives its
 * place to the next: one hot block does for all connections. One that is kept takes only what
 * was received, so that 64 bytes on loan never pin a buffer of 128 KiB.
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

struct bufpool;

/* What a receive asks for, whatever the size of a message. What lies beyond the received bytes is
 * not touched. What a receive brings is read again at once, by the check or to be sent, so it is to
 * be still in a core's own cache (512 KiB here): with 128 KiB image streams are 1.1 to 1.2 times,
 * and epoll's streams and echoes of 64 KiB 1.1 to 1.3 times as fast as with 1 MiB, blocking's
 * 0.95 to 1.1; with 64 KiB streams over four connections lose a quarter of it. */
#define BUFPOOL_RECEIVE_BYTES (128u << 10)

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

int bufpool_open(struct bufpool **pool, const struct bufpool_config *config); /* -ENOMEM */
/* Everything must be back. NULL is fine. */
void bufpool_close(struct bufpool *pool);

/* False: at its quota (in bytes, or with more than half of a limited pool's buffers), so the
 * connection is not to be read; one without any loan never is. */
bool bufpool_may_lend(const struct bufpool *pool, const struct loans *loans);

/* Where the connection's next receive goes: buf->data, with *room bytes, cut to what its quota
 * leaves. Nothing is lent yet; asking again gives the same. NULL: none left (bufs_max) or no
 * memory. */
struct buf *bufpool_peek(struct bufpool *pool, const struct loans *loans, size_t *room);
/* Lends the peeked buf with `size` received bytes (at least 1) and one reference, the engine's. */
void bufpool_lend(struct bufpool *pool, struct buf *buf, size_t size, struct loans *loans);

/* Wants to hear of the next return by any connection, after peek gave NULL. */
void bufpool_want(struct bufpool *pool);

#endif
