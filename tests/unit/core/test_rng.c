/* The generator: the published sequence, no bias that a test could see, bounds held. */
#include <criterion/criterion.h>
#include <math.h>

#include "core/rng.h"

TestSuite(rng, .timeout = 20);

/* From the state 1, 2, 3, 4, as the authors' reference code gives it. */
Test(rng, is_xoshiro256starstar)
{
    static const uint64_t expected[] = {
        11520ull, 0ull, 1509978240ull, 1215971899390074240ull, 1216172134540287360ull,
    };
    struct rng rng = {{1, 2, 3, 4}};

    for (unsigned i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        cr_assert_eq(rng_next(&rng), expected[i], "%u", i);
}

/* splitmix64 of 0, as its author publishes it. */
Test(rng, is_seeded_by_splitmix64)
{
    struct rng a, b;

    rng_seed(&a, 0);
    cr_assert_eq(a.s[0], 0xe220a8397b1dcdafull);
    cr_assert_eq(a.s[1], 0x6e789e6aa1b965f4ull);
    rng_seed(&a, 7);
    rng_seed(&b, 7);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(rng_next(&a), rng_next(&b));
    rng_seed(&b, 8);
    cr_assert_neq(rng_next(&a), rng_next(&b));
}

/* A bound of three quarters of 2^64: plain multiplication would hit a third of the results
 * twice as often as the others. */
Test(rng, below_is_not_biased)
{
    struct rng rng;
    const uint64_t bound = 3ull << 62;
    unsigned counts[3] = {0};

    rng_seed(&rng, 1);
    for (unsigned i = 0; i < 300000; i++) {
        uint64_t value = rng_below(&rng, bound);

        cr_assert_lt(value, bound);
        counts[value / (1ull << 62)]++;
    }
    for (unsigned i = 0; i < 3; i++)
        cr_assert(counts[i] > 98500 && counts[i] < 101500, "%u: %u", i, counts[i]);
}

Test(rng, below_covers_small_bounds)
{
    struct rng rng;
    unsigned counts[6] = {0};

    rng_seed(&rng, 2);
    cr_assert_eq(rng_below(&rng, 1), 0);
    for (unsigned i = 0; i < 60000; i++)
        counts[rng_below(&rng, 6)]++;
    for (unsigned i = 0; i < 6; i++)
        cr_assert(counts[i] > 9500 && counts[i] < 10500, "%u: %u", i, counts[i]);
}

Test(rng, unit_is_above_0_and_up_to_1)
{
    struct rng rng, ends = {{0, 0, 0, 0}};
    double sum = 0;

    rng_seed(&rng, 3);
    for (unsigned i = 0; i < 100000; i++) {
        double unit = rng_unit(&rng);

        cr_assert(unit > 0 && unit <= 1);
        sum += unit;
    }
    cr_assert(fabs(sum / 100000 - 0.5) < 0.005, "%f", sum);
    /* The least that there is: its logarithm is finite. */
    cr_assert_eq(rng_unit(&ends), 0x1p-53);
}
