/* How far another clock is away, from questions and answers of all kinds of slowness. */
#include <criterion/criterion.h>

#include "core/rng.h"
#include "run/offset.h"

TestSuite(offset, .timeout = 20);

Test(offset, nobody_asked)
{
    const struct offset offset = {0};

    cr_assert_eq(offset_ns(&offset), 0);
    cr_assert_eq(offset_error_ns(&offset), 0);
}

/* A namespace of this host: no exchange can say that the clocks differ, however slow it is. */
Test(offset, the_same_clock_is_never_shifted)
{
    struct offset offset = {0};
    struct rng rng;

    rng_seed(&rng, 1);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t there = 1 + rng_below(&rng, 50000000), back = 1 + rng_below(&rng, 50000000);
        uint64_t asked = 1000000000 + i * 1000000ull;
        offset_add(&offset, asked, asked + there, asked + there + back);
        cr_assert_eq(offset_ns(&offset), 0, "exchange %u", i);
        cr_assert_eq(offset_error_ns(&offset), 0);
    }
    cr_assert(offset.round_trip_ns > 50000000);
}

/* The true offset lies within the error, ahead or behind, near or far: hosts that were started
 * within the same second too. */
Test(offset, another_clock_is_found_within_its_error)
{
    static const int64_t truths[] = {-86400000000000, -700000000, -3000000,
                                     3000000,         700000000,  86400000000000};
    struct rng rng;

    rng_seed(&rng, 2);
    for (unsigned t = 0; t < sizeof(truths) / sizeof(truths[0]); t++) {
        struct offset offset = {0};
        uint64_t error = UINT64_MAX;
        for (unsigned i = 0; i < 8; i++) {
            uint64_t there = 50000 + rng_below(&rng, 400000);
            uint64_t back = 50000 + rng_below(&rng, 400000);
            uint64_t asked = 100000000000000ull + i * 1000000ull;
            offset_add(&offset, asked, asked + there + (uint64_t)truths[t], asked + there + back);
            int64_t off = offset_ns(&offset) - truths[t];
            cr_assert(offset_error_ns(&offset) > 0);
            cr_assert(offset_error_ns(&offset) <= error, "more exchanges never make it worse");
            error = offset_error_ns(&offset);
            cr_assert((uint64_t)(off < 0 ? -off : off) <= error, "%lld is off by %lld",
                      (long long)truths[t], (long long)off);
        }
        cr_assert(error <= 225000, "half of the longest round trip is the most");
    }
}

Test(offset, after_a_step_the_last_word_counts)
{
    struct offset offset = {0};

    offset_add(&offset, 1000, 5000, 1200);
    offset_add(&offset, 2000, 900000, 2200);
    cr_assert_eq(offset_ns(&offset), 900000 - 2100);
}
