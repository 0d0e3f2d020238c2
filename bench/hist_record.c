/*
 * What recording a latency costs: ns a hist_record() over values like those of a busy engine,
 * the median of seven passes, beside an empty pass over the same values.
 *
 *   ninja -C build core/bench_hist_record && build/core/bench_hist_record
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/hist.h"
#include "core/rng.h"
#include "core/stats.h"

#define VALUES_COUNT (1u << 16)
#define ROUNDS       200u
#define PASSES       7u

/* 20 us and a long tail: a few hundred counters are hot, as in a run. */
static void values_make(uint64_t *values)
{
    struct rng rng;

    rng_seed(&rng, 1);
    for (unsigned i = 0; i < VALUES_COUNT; i++)
        values[i] = (uint64_t)(20000 * pow(rng_unit(&rng), -0.3));
}

static double pass_ns(struct hist *h, const uint64_t *values)
{
    uint64_t start = clock_ns();

    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < VALUES_COUNT; i++) {
            /* The value must have been read, as an op's would: nothing is vectorised away. */
            uint64_t value = values[i];

            __asm__ volatile("" : "+r"(value) : : "memory");
            if (h != NULL)
                hist_record(h, value);
        }
    }
    return (double)(clock_ns() - start) / ((double)ROUNDS * VALUES_COUNT);
}

int main(void)
{
    uint64_t *values = malloc(VALUES_COUNT * sizeof(*values));
    struct hist *h = hist_new();
    double record_ns[PASSES], empty_ns[PASSES];

    if (values == NULL || h == NULL)
        return 4;
    values_make(values);
    for (unsigned i = 0; i < PASSES; i++) {
        empty_ns[i] = pass_ns(NULL, values);
        record_ns[i] = pass_ns(h, values);
    }
    printf("hist_record %.2f ns (an empty pass: %.2f ns; p50 %llu, p99.9 %llu)\n",
           stats_median(record_ns, PASSES), stats_median(empty_ns, PASSES),
           (unsigned long long)hist_percentile(h, 50),
           (unsigned long long)hist_percentile(h, 99.9));
    hist_free(h);
    free(values);
    return 0;
}
