/* See pool.h. */
#include "core/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define POOL_PLAIN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_PLAIN 1
#endif
#endif
#ifndef POOL_PLAIN
#define POOL_PLAIN 0
#endif

#define POOL_SLAB_BYTES (64u << 10)

/* Before what its holder sees; a free one is in its class's list. */
struct pool_block {
    union {
        struct pool_block *next;
        size_t size; /* that can be used */
    };
    uint32_t class; /* 0: malloc's own */
    uint32_t unused;
};
static_assert(sizeof(struct pool_block) == POOL_HEAD_BYTES, "what follows stays aligned");

struct pool_slab {
    struct pool_slab *next;
    size_t unused;
    uint8_t bytes[];
};

static unsigned pool_class(size_t whole)
{
    unsigned class = 64u - (unsigned)__builtin_clzll(whole - 1);
    return class < POOL_CLASS_LEAST ? POOL_CLASS_LEAST : class;
}

/* A block of the class; the rest of its slab goes to the list. */
static struct pool_block *pool_grow(struct pool *pool, unsigned class)
{
    size_t each = (size_t)1 << class;
    size_t count = each < POOL_SLAB_BYTES ? POOL_SLAB_BYTES / each : 1;
    struct pool_slab *slab = malloc(sizeof(*slab) + count * each);

    if (slab == NULL)
        return NULL;
    slab->next = pool->slabs;
    pool->slabs = slab;
    pool->system_bytes += count * each;
    for (size_t i = count - 1; i > 0; i--) {
        struct pool_block *block = (struct pool_block *)(slab->bytes + i * each);
        block->next = pool->free[class];
        pool->free[class] = block;
    }
    return (struct pool_block *)slab->bytes;
}

void *pool_take(struct pool *pool, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    unsigned class = pool_class(size + sizeof(struct pool_block));
    struct pool_block *block;

    if (POOL_PLAIN || class > POOL_CLASS_MOST) {
        block = malloc(sizeof(*block) + (size == 0 ? 1 : size));
        if (block == NULL)
            return NULL;
        block->size = size;
        block->class = 0;
        pool->system_bytes += sizeof(*block) + size;
    } else {
        block = pool->free[class];
        if (block != NULL)
            pool->free[class] = block->next;
        else if ((block = pool_grow(pool, class)) == NULL)
            return NULL;
        block->size = ((size_t)1 << class) - sizeof(*block);
        block->class = class;
    }
    pool->blocks++;
    return block + 1;
}

void *pool_take_zeroed(struct pool *pool, size_t count, size_t size)
{
    size_t all;

    if (__builtin_mul_overflow(count, size, &all))
        return NULL;
    void *memory = pool_take(pool, all);
    return memory == NULL ? NULL : memset(memory, 0, all);
}

void pool_give(struct pool *pool, void *memory)
{
    if (memory == NULL)
        return;
    struct pool_block *block = (struct pool_block *)memory - 1;
    pool->blocks--;
    if (block->class == 0) {
        pool->system_bytes -= sizeof(*block) + block->size;
        free(block);
        return;
    }
    block->next = pool->free[block->class];
    pool->free[block->class] = block;
}

void *pool_resize(struct pool *pool, void *memory, size_t size)
{
    if (memory == NULL)
        return pool_take(pool, size);
    struct pool_block *block = (struct pool_block *)memory - 1;
    if (size <= block->size)
        return memory;
    void *larger = pool_take(pool, size);
    if (larger == NULL)
        return NULL;
    memcpy(larger, memory, block->size);
    pool_give(pool, memory);
    return larger;
}

void pool_close(struct pool *pool)
{
    struct pool_slab *next;

    assert(pool->blocks == 0);
    for (struct pool_slab *slab = pool->slabs; slab != NULL; slab = next) {
        next = slab->next;
        free(slab);
    }
    *pool = (struct pool){0};
}
