/* protobuf-c's memory from a worker's pool. */
#ifndef LAB_PROTO_ALLOCATOR_H
#define LAB_PROTO_ALLOCATOR_H

#include <protobuf-c/protobuf-c.h>

#include "core/pool.h"

static inline void *allocator_take(void *pool, size_t size)
{
    return pool_take(pool, size);
}

static inline void allocator_give(void *pool, void *memory)
{
    pool_give(pool, memory);
}

/* The pool must stay where it is. */
static inline ProtobufCAllocator allocator_of(struct pool *pool)
{
    return (ProtobufCAllocator){allocator_take, allocator_give, pool};
}

#endif
