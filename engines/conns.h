/*
 * The connections of one engine instance: items of a fixed size that never move, found by a
 * handle that carries a generation. A stale handle finds nothing, so that a late completion
 * never meets the connection that came after. Memory of items is kept for the next connection.
 */
#ifndef LAB_ENGINES_CONNS_H
#define LAB_ENGINES_CONNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONNS_CHUNK_BITS 6u
#define CONNS_CHUNK      (1u << CONNS_CHUNK_BITS)

/* Each item begins with it; only conns.c writes it. */
struct conns_item {
    uint32_t generation; /* odd while in use, so that a handle is never 0 */
    uint32_t index;
    uint32_t next_free; /* index + 1; 0: none */
};

struct conns {
    char **chunks; /* CONNS_CHUNK items each: items stay where they are when the table grows */
    size_t item_size;
    uint32_t room;  /* items, in use or not */
    uint32_t count; /* in use */
    uint32_t max;
    uint32_t free; /* index + 1; 0: none */
};

/* Items of item_size bytes (struct conns_item first), room for `hint` of them at once and for at
 * most max. -ENOMEM leaves nothing to be freed. */
int conns_open(struct conns *conns, size_t item_size, uint32_t hint, uint32_t max);
/* The items' own memory must have been released by then: see conns_next_kept. */
void conns_close(struct conns *conns);

/* A new item, or NULL with max in use or without memory. What follows its struct conns_item is
 * as its last user left it (zeroed if it is the first): buffers can be kept. */
void *conns_take(struct conns *conns);
/* The item's handles are stale from here on. */
void conns_give(struct conns *conns, void *item);

static inline void *conns_at(const struct conns *conns, uint32_t index)
{
    return conns->chunks[index >> CONNS_CHUNK_BITS] +
           (size_t)(index & (CONNS_CHUNK - 1)) * conns->item_size;
}

static inline uint64_t conns_handle(const void *item)
{
    const struct conns_item *header = item;
    return (uint64_t)header->generation << 32 | header->index;
}

/* NULL if the handle is stale, or never was one. */
static inline void *conns_find(const struct conns *conns, uint64_t handle)
{
    uint32_t index = (uint32_t)handle;
    uint32_t generation = (uint32_t)(handle >> 32);

    if (__builtin_expect(index >= conns->room, 0))
        return NULL;
    struct conns_item *item = conns_at(conns, index);
    /* One that is free has an even generation. */
    if (__builtin_expect(item->generation != generation || (generation & 1) == 0, 0))
        return NULL;
    return item;
}

/* Walks the items in use in the order of their index: *index is 0 at first; NULL at the end.
 * Items may be given back meanwhile. */
void *conns_next(const struct conns *conns, uint32_t *index);
/* As conns_next, over every item that was ever taken, in use or not. */
void *conns_next_kept(const struct conns *conns, uint32_t *index);

#endif
