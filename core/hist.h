/*
 * A log-linear histogram of unsigned 64-bit values with 3 significant digits: 1 to HIST_MAX,
 * recording in O(1), error at most 0.1 % anywhere, mergeable by adding. Its layout is
 * HdrHistogram's (lowest 1, 3 digits), so that the encoded form is read by its public tools.
 */
#ifndef LAB_CORE_HIST_H
#define LAB_CORE_HIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HIST_SUB_BITS  11u /* 2048 sub-buckets: the smallest power of two >= 2 * 10^3 */
#define HIST_SUB_COUNT (1u << HIST_SUB_BITS)
#define HIST_SUB_HALF  (HIST_SUB_COUNT / 2)
#define HIST_BUCKETS   31u /* 2^41 ns is 36 minutes */
#define HIST_MAX       ((1ull << (HIST_BUCKETS + HIST_SUB_BITS - 1)) - 1)
#define HIST_COUNTS    ((HIST_BUCKETS + 1) * HIST_SUB_HALF)

struct hist {
    uint64_t total;
    uint64_t min, max; /* exact; min is UINT64_MAX while empty */
    uint64_t over;     /* values above HIST_MAX, recorded as HIST_MAX */
    uint64_t counts[HIST_COUNTS];
};

static inline unsigned hist_index(uint64_t value)
{
    /* The bucket is the position of the highest bit above the first HIST_SUB_BITS. */
    unsigned bucket =
        63u - HIST_SUB_BITS + 1u - (unsigned)__builtin_clzll(value | (HIST_SUB_COUNT - 1));
    unsigned sub = (unsigned)(value >> bucket);
    return (bucket << (HIST_SUB_BITS - 1)) + sub;
}

/* value 0 counts as 0 (HdrHistogram does too). */
static inline void hist_record(struct hist *h, uint64_t value)
{
    if (__builtin_expect(value > HIST_MAX, 0)) {
        h->over++;
        value = HIST_MAX;
    }
    h->counts[hist_index(value)]++;
    h->total++;
    h->min = value < h->min ? value : h->min;
    h->max = value > h->max ? value : h->max;
}

/* As hist_record, for one writer whose histogram another thread may read (hist_merge_shared) at
 * any time: plain moves, as core/counter.h's. */
static inline void hist_record_shared(struct hist *h, uint64_t value)
{
    if (__builtin_expect(value > HIST_MAX, 0)) {
        __atomic_store_n(&h->over, h->over + 1, __ATOMIC_RELAXED);
        value = HIST_MAX;
    }
    uint64_t *count = &h->counts[hist_index(value)];
    __atomic_store_n(count, *count + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&h->total, h->total + 1, __ATOMIC_RELAXED);
    if (value < h->min)
        __atomic_store_n(&h->min, value, __ATOMIC_RELAXED);
    if (value > h->max)
        __atomic_store_n(&h->max, value, __ATOMIC_RELAXED);
}

/*
 * Values on their way into a histogram: so many share its cache misses. Where many threads take
 * turns on a CPU, each with a histogram of its own, nothing of it is in the cache when an op ends;
 * one line is touched then, instead of two, on two other pages.
 */
#define HIST_BATCH_VALUES 15u
struct hist_batch { /* all zero is a good start; a line of the cache */
    uint32_t count;
    uint32_t values[HIST_BATCH_VALUES];
};

/* Into the histogram, and empty again. To be called before the histogram is read. */
void hist_batch_flush(struct hist_batch *batch, struct hist *h);

static inline void hist_batch_add(struct hist_batch *batch, struct hist *h, uint64_t value)
{
    if (__builtin_expect(value > UINT32_MAX, 0)) {
        hist_record(h, value);
        return;
    }
    batch->values[batch->count++] = (uint32_t)value;
    if (__builtin_expect(batch->count == HIST_BATCH_VALUES, 0))
        hist_batch_flush(batch, h);
}

struct hist *hist_new(void);    /* NULL without memory; its pages are faulted in already */
void hist_free(struct hist *h); /* NULL is fine */
void hist_reset(struct hist *h);
void hist_merge(struct hist *into, const struct hist *from);
/* Of one that is being written: into's total is what its counts come to. */
void hist_merge_shared(struct hist *into, const struct hist *from);

/* Highest value equivalent to the percentile's (0 to 100), clamped to [min, max]; 0 if empty. */
uint64_t hist_percentile(const struct hist *h, double percentile);
/* Samples beyond the percentile: with fewer than so many it is chance, and not to be given. */
#define HIST_BEYOND_LEAST 10
uint64_t hist_beyond(const struct hist *h, double percentile);
static inline bool hist_tells(const struct hist *h, double percentile)
{
    return hist_beyond(h, percentile) >= HIST_BEYOND_LEAST;
}
double hist_mean(const struct hist *h);
double hist_stddev(const struct hist *h);

/* HdrHistogram V2 compressed encoding. Returns bytes and stores a malloc'd block in *out; 0 and
 * NULL without memory. */
size_t hist_encode(const struct hist *h, uint8_t **out);
/* Hostile input is expected. 0; -EBADMSG: not such an encoding, or damaged; -ERANGE: other digits,
 * another lowest value, or values above HIST_MAX; -ENOMEM. h is untouched on failure. The counts
 * are exact; min and max are then those of the buckets, and over is 0. */
int hist_decode(struct hist *h, const uint8_t *data, size_t size);

#endif
