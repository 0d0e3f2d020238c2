/* Lines of the cache: memory of which no two owners share one, and what an op needs lies on few. */
#ifndef LAB_CORE_LINE_H
#define LAB_CORE_LINE_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 64u

/* size, up to whole lines. */
static inline size_t line_round(size_t size)
{
    return (size + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
}

/* Zeroed, on lines of its own; free() frees it. NULL without memory. */
static inline void *line_calloc(size_t size)
{
    void *memory = aligned_alloc(LINE_BYTES, line_round(size));

    return memory != NULL ? memset(memory, 0, size) : NULL;
}

#endif
