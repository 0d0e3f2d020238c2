/* The histogram: its error over the whole range, percentiles and moments against sorted values. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/hist.h"
#include "core/rng.h"

#define VALUES_COUNT 20000u

TestSuite(hist, .timeout = 30);

static int compare_values(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Latency-like: most within a decade, a long tail. */
static void values_make(uint64_t *values, size_t count, uint64_t seed)
{
    struct rng rng;

    rng_seed(&rng, seed);
    for (size_t i = 0; i < count; i++)
        values[i] = (uint64_t)(10000 * pow(rng_unit(&rng), -0.7));
}

/* What a histogram with a single value, and one far above it, says of the value. */
static void value_check(struct hist *h, uint64_t value)
{
    uint64_t read;

    h->counts[hist_index(value)] = 0;
    h->total = 0;
    h->min = UINT64_MAX;
    h->max = 0;
    hist_record(h, value);
    cr_assert_eq(hist_percentile(h, 50), value, "clamped to min and max");
    h->max = HIST_MAX;
    read = hist_percentile(h, 50);
    h->counts[hist_index(value)] = 0;
    cr_assert_geq(read, value);
    cr_assert((double)(read - value) <= (double)value * 0.001, "%llu is read as %llu",
              (unsigned long long)value, (unsigned long long)read);
}

Test(hist, error_is_at_most_a_thousandth_anywhere)
{
    struct hist *h = hist_new();
    struct rng rng;

    for (uint64_t value = 0; value < 100000; value++)
        value_check(h, value);
    /* Around every power of two, where buckets change width. */
    for (unsigned bit = 11; bit < 41; bit++) {
        for (int off = -3; off <= 3; off++)
            value_check(h, (1ull << bit) + (uint64_t)off);
    }
    for (double value = 100000; value < (double)HIST_MAX; value *= 1.0003)
        value_check(h, (uint64_t)value);
    rng_seed(&rng, 5);
    for (unsigned i = 0; i < 20000; i++)
        value_check(h, rng_next(&rng) >> (23 + rng_below(&rng, 30)));
    value_check(h, HIST_MAX);
    hist_free(h);
}

Test(hist, index_is_ascending_and_inside)
{
    unsigned before = 0;

    cr_assert_eq(hist_index(0), 0);
    for (double value = 1; value < (double)HIST_MAX; value = ceil(value * 1.0001)) {
        unsigned index = hist_index((uint64_t)value);

        cr_assert(index >= before && index <= before + 1);
        before = index;
    }
    cr_assert_eq(hist_index(HIST_MAX), HIST_COUNTS - 1);
    cr_assert_gt(HIST_MAX, 600ull * 1000000000ull, "ten minutes in nanoseconds");
}

Test(hist, empty)
{
    struct hist *h = hist_new(), *other = hist_new();

    cr_assert_eq(hist_percentile(h, 50), 0);
    cr_assert_eq(hist_beyond(h, 50), 0);
    cr_assert_eq(hist_mean(h), 0);
    cr_assert_eq(hist_stddev(h), 0);
    cr_assert_eq(h->min, UINT64_MAX);
    hist_merge(h, other);
    cr_assert_eq(h->total, 0);
    cr_assert_eq(h->min, UINT64_MAX);
    hist_free(h);
    hist_free(other);
    hist_free(NULL);
}

Test(hist, zero_is_a_value)
{
    struct hist *h = hist_new();

    hist_record(h, 0);
    hist_record(h, 0);
    hist_record(h, 9);
    cr_assert_eq(h->min, 0);
    cr_assert_eq(hist_percentile(h, 50), 0);
    cr_assert_eq(hist_percentile(h, 100), 9);
    cr_assert_eq(hist_mean(h), 3);
    hist_free(h);
}

Test(hist, above_the_range_is_counted_and_clamped)
{
    struct hist *h = hist_new(), *sum = hist_new();

    hist_record(h, HIST_MAX);
    cr_assert_eq(h->over, 0);
    hist_record(h, HIST_MAX + 1);
    hist_record(h, UINT64_MAX);
    cr_assert_eq(h->over, 2);
    cr_assert_eq(h->total, 3);
    cr_assert_eq(h->max, HIST_MAX);
    cr_assert_eq(hist_percentile(h, 99), HIST_MAX);
    hist_merge(sum, h);
    cr_assert_eq(sum->over, 2);
    hist_free(h);
    hist_free(sum);
}

/* The definition: the smallest value that at least p per cent of the samples do not exceed. */
Test(hist, percentiles_are_those_of_the_sorted_values)
{
    static const double percentiles[] = {0, 0.001, 1, 10, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100};
    static uint64_t values[VALUES_COUNT];
    struct hist *h = hist_new();

    values_make(values, VALUES_COUNT, 6);
    for (unsigned i = 0; i < VALUES_COUNT; i++)
        hist_record(h, values[i]);
    qsort(values, VALUES_COUNT, sizeof(values[0]), compare_values);
    for (unsigned i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++) {
        size_t rank = (size_t)ceil(percentiles[i] * VALUES_COUNT / 100 - 1e-9);
        uint64_t expected = values[rank > 0 ? rank - 1 : 0];
        uint64_t read = hist_percentile(h, percentiles[i]);

        cr_assert_geq(read, expected, "p%g", percentiles[i]);
        cr_assert((double)(read - expected) <= (double)expected * 0.001, "p%g: %llu for %llu",
                  percentiles[i], (unsigned long long)read, (unsigned long long)expected);
        cr_assert_eq(hist_beyond(h, percentiles[i]), VALUES_COUNT - (rank > 0 ? rank : 1));
    }
    cr_assert_eq(hist_percentile(h, 0), values[0]);
    cr_assert_eq(hist_percentile(h, 100), values[VALUES_COUNT - 1]);
    cr_assert_eq(hist_percentile(h, -5), values[0]);
    cr_assert_eq(hist_percentile(h, 1000), values[VALUES_COUNT - 1]);
    cr_assert_eq(hist_percentile(h, NAN), values[0]);
    hist_free(h);
}

/* The rule of ten samples beyond a percentile rests on exact ranks. */
Test(hist, beyond_is_exact_at_round_counts)
{
    struct hist *h = hist_new();

    for (unsigned i = 1; i <= 1000; i++)
        hist_record(h, i);
    cr_assert_eq(hist_beyond(h, 99), 10);
    cr_assert_eq(hist_beyond(h, 99.9), 1);
    cr_assert_eq(hist_beyond(h, 99.99), 0);
    cr_assert(hist_tells(h, 99));
    cr_assert_not(hist_tells(h, 99.1));
    cr_assert_eq(hist_percentile(h, 99), 990);
    cr_assert_eq(hist_percentile(h, 99.9), 999);
    cr_assert_eq(hist_percentile(h, 50), 500);
    hist_free(h);
}

Test(hist, mean_and_deviation)
{
    static uint64_t values[VALUES_COUNT];
    struct hist *h = hist_new();
    double mean = 0, sum = 0;

    values_make(values, VALUES_COUNT, 7);
    for (unsigned i = 0; i < VALUES_COUNT; i++) {
        hist_record(h, values[i]);
        mean += (double)values[i] / VALUES_COUNT;
    }
    for (unsigned i = 0; i < VALUES_COUNT; i++)
        sum += ((double)values[i] - mean) * ((double)values[i] - mean);
    cr_assert(fabs(hist_mean(h) / mean - 1) < 0.0005, "%f for %f", hist_mean(h), mean);
    cr_assert(fabs(hist_stddev(h) / sqrt(sum / VALUES_COUNT) - 1) < 0.001);

    hist_reset(h);
    hist_record(h, 123456789);
    hist_record(h, 123456789);
    cr_assert_eq(hist_mean(h), 123456789, "one value is known exactly");
    cr_assert_eq(hist_stddev(h), 0);
    hist_free(h);
}

Test(hist, merging_is_recording_all)
{
    static uint64_t values[VALUES_COUNT];
    struct hist *all = hist_new(), *sum = hist_new(), *parts[3];

    values_make(values, VALUES_COUNT, 8);
    for (unsigned i = 0; i < 3; i++)
        parts[i] = hist_new();
    for (unsigned i = 0; i < VALUES_COUNT; i++) {
        hist_record(all, values[i]);
        hist_record(parts[values[i] % 3], values[i]);
    }
    for (unsigned i = 0; i < 3; i++) {
        hist_merge(sum, parts[i]);
        hist_free(parts[i]);
    }
    cr_assert_eq(memcmp(sum, all, sizeof(*all)), 0);
    hist_reset(sum);
    cr_assert_eq(sum->total, 0);
    cr_assert_eq(hist_percentile(sum, 100), 0);
    hist_free(all);
    hist_free(sum);
}

Test(hist, values_that_wait_together_arrive_as_if_each_had_come_alone)
{
    struct hist *alone = hist_new(), *together = hist_new();
    struct hist_batch batch = {0};

    for (uint64_t i = 0; i < 10 * HIST_BATCH_VALUES + 7; i++) {
        uint64_t value = i * i * i * i * i; /* some beyond 32 bits */
        hist_record(alone, value);
        hist_batch_add(&batch, together, value);
    }
    cr_assert_lt(together->total, alone->total, "some still wait");
    hist_batch_flush(&batch, together);
    cr_assert_eq(memcmp(alone, together, sizeof(*alone)), 0);
    hist_batch_flush(&batch, together);
    cr_assert_eq(together->total, alone->total, "once only");
    hist_free(alone);
    hist_free(together);
}
