/* See conns.h. */
#include "engines/conns.h"

#include <errno.h>
#include <stdlib.h>

#include "core/line.h"

static int conns_add_chunk(struct conns *conns)
{
    uint32_t chunks_count = conns->room >> CONNS_CHUNK_BITS;

    /* The array of chunks doubles; its room is the power of two at or above the count. */
    if ((chunks_count & (chunks_count - 1)) == 0) {
        size_t room = chunks_count == 0 ? 1 : (size_t)chunks_count * 2;
        char **grown = realloc(conns->chunks, room * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        conns->chunks = grown;
    }
    /* Own cache lines: instances of two threads must not share one. */
    char *chunk = line_calloc(CONNS_CHUNK * conns->item_size);
    if (chunk == NULL)
        return -ENOMEM;
    conns->chunks[chunks_count] = chunk;
    conns->room += CONNS_CHUNK;
    /* Lowest index first on the free list. */
    for (uint32_t i = CONNS_CHUNK; i-- > 0;) {
        struct conns_item *item = (struct conns_item *)(chunk + i * conns->item_size);
        item->index = chunks_count * CONNS_CHUNK + i;
        item->next_free = conns->free;
        conns->free = item->index + 1;
    }
    return 0;
}

int conns_open(struct conns *conns, size_t item_size, uint32_t hint, uint32_t max)
{
    *conns = (struct conns){
        .item_size = line_round(item_size),
        .max = max,
    };
    hint = hint < max ? hint : max;
    while (conns->room < hint) {
        if (conns_add_chunk(conns) < 0) {
            conns_close(conns);
            return -ENOMEM;
        }
    }
    return 0;
}

void conns_close(struct conns *conns)
{
    for (uint32_t i = 0; i < conns->room >> CONNS_CHUNK_BITS; i++)
        free(conns->chunks[i]);
    free(conns->chunks);
    *conns = (struct conns){0};
}

void *conns_take(struct conns *conns)
{
    if (conns->count == conns->max)
        return NULL;
    if (conns->free == 0 && (conns->room > UINT32_MAX / 2 || conns_add_chunk(conns) < 0))
        return NULL;
    struct conns_item *item = conns_at(conns, conns->free - 1);
    conns->free = item->next_free;
    item->generation++;
    conns->count++;
    return item;
}

void conns_give(struct conns *conns, void *taken)
{
    struct conns_item *item = taken;

    item->generation++;
    item->next_free = conns->free;
    conns->free = item->index + 1;
    conns->count--;
}

void *conns_next(const struct conns *conns, uint32_t *index)
{
    while (*index < conns->room) {
        struct conns_item *item = conns_at(conns, (*index)++);
        if (item->generation & 1)
            return item;
    }
    return NULL;
}

void *conns_next_kept(const struct conns *conns, uint32_t *index)
{
    while (*index < conns->room) {
        struct conns_item *item = conns_at(conns, (*index)++);
        if (item->generation != 0)
            return item;
    }
    return NULL;
}
