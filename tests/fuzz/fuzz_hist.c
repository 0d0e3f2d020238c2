/*
 * Feeds bytes to the histogram decoder: first as they are, then as the inside of a well-formed
 * envelope, since hardly any change would get past the checksum of the deflated block. What
 * decodes must survive being encoded, and its statistics must be sane.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/hist.h"

#define PLAIN_MAX (1u << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct hist *first, *second;

static void check(int good)
{
    if (!good)
        abort();
}

static void put_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void try_decode(const uint8_t *data, size_t size)
{
    static const double percentiles[] = {0, 50, 99, 99.9, 100};
    uint64_t before;
    uint8_t *again;
    size_t again_size;

    hist_reset(first);
    hist_record(first, 77);
    if (hist_decode(first, data, size) < 0) {
        check(first->total == 1 && first->counts[77] == 1);
        return;
    }
    before = 0;
    for (unsigned i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++) {
        uint64_t value = hist_percentile(first, percentiles[i]);

        check(value >= before && value <= HIST_MAX);
        before = value;
    }
    check(hist_mean(first) <= (double)HIST_MAX && hist_stddev(first) >= 0);
    again_size = hist_encode(first, &again);
    check(again_size > 0 && hist_decode(second, again, again_size) == 0);
    check(memcmp(first, second, sizeof(*first)) == 0);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t plain[PLAIN_MAX];
    uint8_t *wrapped;
    uLongf wrapped_size;

    if (first == NULL) {
        first = hist_new();
        second = hist_new();
        check(first != NULL && second != NULL);
    }
    try_decode(data, size);
    if (size > PLAIN_MAX)
        return 0;
    /* A length of 0 stands for the right one, or hardly any input would have it. */
    memcpy(plain, data, size);
    if (size >= 40 && memcmp(plain + 4, "\0\0\0\0", 4) == 0)
        put_u32(plain + 4, (uint32_t)size - 40);
    wrapped_size = compressBound(size);
    wrapped = malloc(8 + wrapped_size);
    check(wrapped != NULL && compress2(wrapped + 8, &wrapped_size, plain, (uLong)size, 1) == Z_OK);
    put_u32(wrapped, 0x1c849314);
    put_u32(wrapped + 4, (uint32_t)wrapped_size);
    try_decode(wrapped, 8 + wrapped_size);
    free(wrapped);
    return 0;
}
