/*
 * A message that comes in pieces, put together in a pool. Its room grows with what has come, never
 * with what was announced: whoever sends five bytes may announce 4 GiB.
 */
#ifndef LAB_CORE_GATHER_H
#define LAB_CORE_GATHER_H

#include <stddef.h>
#include <stdint.h>

#include "core/pool.h"

/* All zero is an empty one. */
struct gather {
    uint8_t *memory;
    uint32_t size; /* announced */
    uint32_t got, room;
};

/* Another message; the memory of the last one serves again. */
static inline void gather_begin(struct gather *gather, uint32_t size)
{
    gather->size = size;
    gather->got = 0;
}
/* Not more than was announced. -ENOMEM: then nothing was added. */
int gather_add(struct gather *gather, struct pool *pool, const void *data, size_t size);
/* What has come; never NULL. */
static inline const uint8_t *gather_bytes(const struct gather *gather)
{
    return gather->memory != NULL ? gather->memory : (const uint8_t *)"";
}
void gather_free(struct gather *gather, struct pool *pool);

#endif
