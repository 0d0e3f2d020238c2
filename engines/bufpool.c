/* See bufpool.h. */
#include "engines/bufpool.h"

#include <errno.h>
#include <stdlib.h>

#include "core/line.h"

#define BUFPOOL_PAGE    4096u
#define BUFPOOL_HEADERS 64u
/* Whole receives that fit into a block; what a switch to the next leaves unused is less than one.
 */
#define BUFPOOL_BLOCK_RECEIVES 2u

/* Headers come in arrays, that are freed as one. */
struct bufpool_headers {
    struct bufpool_buf bufs[BUFPOOL_HEADERS];
    struct bufpool_headers *next;
};

static void bufpool_release(struct buf *buf)
{
    struct bufpool_buf *lent = (struct bufpool_buf *)buf;
    struct bufpool_block *block = lent->block;
    struct bufpool *pool = block->pool;
    struct loans *loans = lent->loans;

    /* The last slice gives its place back; holes further down wait until all are back. */
    if (--block->lent == 0)
        block->used = 0;
    else if (block->used == lent->end)
        block->used = lent->start;
    if (block->lent == 0 && block != pool->current) {
        block->next_idle = pool->idle;
        pool->idle = block;
    }
    loans->count--;
    loans->bytes -= buf->size + BUFPOOL_CHARGE;
    pool->lent--;
    lent->next = pool->free;
    pool->free = lent;
    if (__builtin_expect(loans->wanted || pool->wanted, 0)) {
        pool->wanted = false;
        pool->returned(pool->context, loans);
    }
}

static int bufpool_add_headers(struct bufpool *pool)
{
    struct bufpool_headers *headers = line_calloc(sizeof(*headers));

    if (headers == NULL)
        return -ENOMEM;
    headers->next = pool->headers;
    pool->headers = headers;
    for (unsigned i = BUFPOOL_HEADERS; i-- > 0;) {
        headers->bufs[i].buf.release = bufpool_release;
        headers->bufs[i].next = pool->free;
        pool->free = &headers->bufs[i];
    }
    return 0;
}

/* Makes a block current that has room for a whole receive. */
static int bufpool_next_block(struct bufpool *pool)
{
    struct bufpool_block *block = pool->idle;

    if (block != NULL) {
        pool->idle = block->next_idle;
    } else {
        block = line_calloc(sizeof(*block));
        if (block == NULL)
            return -ENOMEM;
        block->data = aligned_alloc(BUFPOOL_PAGE, (pool->block_bytes + BUFPOOL_PAGE - 1) /
                                                      BUFPOOL_PAGE * BUFPOOL_PAGE);
        if (block->data == NULL) {
            free(block);
            return -ENOMEM;
        }
        block->pool = pool;
        block->next = pool->blocks;
        pool->blocks = block;
    }
    pool->current = block;
    return 0;
}

int bufpool_open(struct bufpool **opened, const struct bufpool_config *config)
{
    struct bufpool *pool = line_calloc(sizeof(*pool));

    if (pool == NULL)
        return -ENOMEM;
    pool->receive_bytes = config->receive_bytes;
    pool->block_bytes = config->receive_bytes * BUFPOOL_BLOCK_RECEIVES;
    pool->bufs_max = config->bufs_max;
    pool->quota_bytes = config->quota_bytes;
    pool->returned = config->returned;
    pool->context = config->context;
    pool->lent_most = config->bufs_max / 2 > 0 ? config->bufs_max / 2 : 1;
    /* In this order the first header and its block lie beside the pool. */
    if (bufpool_next_block(pool) < 0 || bufpool_add_headers(pool) < 0) {
        bufpool_close(pool);
        return -ENOMEM;
    }
    *opened = pool;
    return 0;
}

void bufpool_close(struct bufpool *pool)
{
    if (pool == NULL)
        return;
    while (pool->blocks != NULL) {
        struct bufpool_block *block = pool->blocks;
        pool->blocks = block->next;
        free(block->data);
        free(block);
    }
    while (pool->headers != NULL) {
        struct bufpool_headers *headers = pool->headers;
        pool->headers = headers->next;
        free(headers);
    }
    free(pool);
}

struct buf *bufpool_peek_slowly(struct bufpool *pool, const struct loans *loans, size_t *room)
{
    struct bufpool_block *block = pool->current;
    size_t size = pool->receive_bytes;

    if (pool->bufs_max != 0 && pool->lent >= pool->bufs_max)
        return NULL;
    if (pool->free == NULL && bufpool_add_headers(pool) < 0)
        return NULL;
    if (block->used + size > pool->block_bytes) {
        if (bufpool_next_block(pool) < 0)
            return NULL;
        block = pool->current;
    }
    if (__builtin_expect(loans->count > 0, 0)) {
        uint64_t left = pool->quota_bytes > loans->bytes ? pool->quota_bytes - loans->bytes : 1;
        size = left < size ? left : size;
    }
    struct bufpool_buf *next = pool->free;
    next->block = block;
    next->start = block->used;
    next->buf.data = block->data + block->used;
    *room = size;
    return &next->buf;
}

void bufpool_want(struct bufpool *pool)
{
    pool->wanted = true;
}
