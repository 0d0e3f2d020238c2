/*
 * A pool of memory for one worker: blocks by classes of size, taken and given back in O(1) from
 * lists, so that a library which allocates for each message costs no system allocation once the
 * pool has grown to the most that was ever in use. Not for two threads.
 *
 * Under AddressSanitizer each block is malloc's own, so that what is used after it was given
 * back is found.
 */
#ifndef LAB_CORE_POOL_H
#define LAB_CORE_POOL_H

#include <stddef.h>
#include <stdint.h>

#define POOL_HEAD_BYTES  16u /* before each block, of its class */
#define POOL_CLASS_LEAST 5u  /* 32 bytes, the head included */
#define POOL_CLASS_MOST  22u /* 4 MiB; what is larger comes from malloc each time */

struct pool_block;
struct pool_slab;

/* All zero is an empty pool. */
struct pool {
    struct pool_block *free[POOL_CLASS_MOST + 1];
    struct pool_slab *slabs;
    uint64_t system_bytes; /* of the system, now; slabs are kept */
    uint64_t blocks;       /* taken and not given back */
};

/* Aligned to 16 bytes; NULL without memory. A size of 0 is one of 1. */
void *pool_take(struct pool *pool, size_t size);
void *pool_take_zeroed(struct pool *pool, size_t count, size_t size);
/* NULL is fine. */
void pool_give(struct pool *pool, void *memory);
/* As realloc. */
void *pool_resize(struct pool *pool, void *memory, size_t size);
/* Every block must have been given back. */
void pool_close(struct pool *pool);

#endif
