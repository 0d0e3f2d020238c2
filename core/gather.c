/* See gather.h. */
#include "core/gather.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define GATHER_LEAST 4096u

/* Twice the room, or what is needed now; never more than was announced. */
static int gather_grow(struct gather *gather, struct pool *pool, uint32_t needed)
{
    uint32_t room = gather->room < GATHER_LEAST / 2 ? GATHER_LEAST : gather->room;

    room = room > gather->size / 2 ? gather->size : room * 2;
    if (room < needed)
        room = needed;
    uint8_t *memory = pool_resize(pool, gather->memory, room);
    if (memory == NULL)
        return -ENOMEM;
    gather->memory = memory;
    gather->room = room;
    return 0;
}

int gather_add(struct gather *gather, struct pool *pool, const void *data, size_t size)
{
    assert(size <= gather->size - gather->got);
    if (size == 0)
        return 0;
    uint32_t needed = gather->got + (uint32_t)size;
    if (needed > gather->room && gather_grow(gather, pool, needed) < 0)
        return -ENOMEM;
    memcpy(gather->memory + gather->got, data, size);
    gather->got = needed;
    return 0;
}

void gather_free(struct gather *gather, struct pool *pool)
{
    pool_give(pool, gather->memory);
    *gather = (struct gather){0};
}
