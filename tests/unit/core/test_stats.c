/* Statistics against brute force: all outcomes of n throws, all signs of n ranks. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "core/stats.h"

TestSuite(stats, .timeout = 30);

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fmax(1, fmax(fabs(a), fabs(b)));
}

/* --- medians and their intervals --- */

Test(stats, median)
{
    static const double values[] = {5, 1, 4, 2, 3, 9};
    static const double large[] = {1.7e308, 1.7e308};
    static const double gaps[] = {3, NAN, 1, NAN, 2};

    cr_assert(isnan(stats_median(values, 0)));
    cr_assert_eq(stats_median(values, 1), 5);
    cr_assert_eq(stats_median(values, 2), 3);
    cr_assert_eq(stats_median(values, 5), 3);
    cr_assert_eq(stats_median(values, 6), 3.5);
    cr_assert_eq(stats_median(large, 2), 1.7e308);
    cr_assert_eq(stats_median(gaps, 5), 2, "what was not observed is left out");
    cr_assert(isnan(stats_median(gaps + 1, 1)));
    cr_assert_eq(values[0], 5, "the caller's values keep their order");
}

/* P(the median lies in [k-th smallest, k-th largest]) of n values, by trying all 2^n patterns of
 * values below and above it. */
static double coverage(unsigned n, unsigned k)
{
    unsigned good = 0;

    for (unsigned pattern = 0; pattern < 1u << n; pattern++) {
        unsigned below = (unsigned)__builtin_popcount(pattern);

        good += below >= k && n - below >= k;
    }
    return (double)good / (double)(1u << n);
}

Test(stats, interval_is_the_narrowest_pair_that_covers)
{
    static const double confidences[] = {0.5, 0.8, 0.9, 0.95, 0.99};
    double values[20];

    for (unsigned n = 1; n <= 20; n++) {
        for (unsigned i = 0; i < n; i++)
            values[i] = n - i;
        for (unsigned c = 0; c < 5; c++) {
            struct interval interval = stats_interval(values, n, confidences[c]);
            unsigned k = 0;

            while (k + 1 <= n / 2 && coverage(n, k + 1) >= confidences[c])
                k++;
            cr_assert(near(interval.median, (n + 1) / 2.0));
            cr_assert_eq(interval.low, k > 0 ? k : 1, "n %u, %g", n, confidences[c]);
            cr_assert_eq(interval.high, n + 1 - (k > 0 ? k : 1));
            cr_assert(near(interval.confidence, k > 0 ? coverage(n, k) : 0), "n %u: %.17g", n,
                      interval.confidence);
        }
    }
}

Test(stats, interval_of_six_and_of_ten)
{
    static const double values[] = {10, 1, 9, 2, 8, 3, 7, 4, 6, 5};
    struct interval six = stats_interval(values, 6, 0.95);
    struct interval ten = stats_interval(values, 10, 0.95);
    struct interval five = stats_interval(values, 5, 0.95);
    struct interval none = stats_interval(values, 0, 0.95);

    cr_assert(near(six.confidence, 0.96875));
    cr_assert(near(stats_interval(values, 6, 0.96875).confidence, 0.96875));
    cr_assert_eq(six.low, 1);
    cr_assert_eq(six.high, 10);
    cr_assert(near(ten.confidence, 1 - 22.0 / 1024));
    cr_assert_eq(ten.low, 2);
    cr_assert_eq(ten.high, 9);
    cr_assert_eq(five.confidence, 0, "a mere range");
    cr_assert_eq(five.low, 1);
    cr_assert_eq(five.high, 10);
    cr_assert(isnan(none.median) && isnan(none.low) && isnan(none.high));
    cr_assert_eq(none.confidence, 0);
}

/* 0.5^4096 is below every double; z of 1.96 says where the ranks must lie. */
Test(stats, interval_of_many)
{
    static double values[STATS_VALUES_MAX + 10];
    struct interval interval;
    double off = 1.96 * sqrt(STATS_VALUES_MAX) / 2;

    for (unsigned i = 0; i < STATS_VALUES_MAX + 10; i++)
        values[i] = i < STATS_VALUES_MAX ? i + 1 : -1e9; /* the last ten are too many */
    interval = stats_interval(values, STATS_VALUES_MAX + 10, 0.95);
    cr_assert_eq(interval.median, STATS_VALUES_MAX / 2 + 0.5);
    cr_assert(fabs(interval.low - (STATS_VALUES_MAX / 2.0 - off)) < 2, "%f", interval.low);
    cr_assert(fabs(interval.high - (STATS_VALUES_MAX / 2.0 + off)) < 2, "%f", interval.high);
    cr_assert(interval.confidence >= 0.95 && interval.confidence < 0.953);
}

/* --- trend, mean, deviation --- */

Test(stats, theil_sen)
{
    static const double line[] = {3, 5, 7, 9, 11, 13};
    static const double outlier[] = {3, 5, 7, 900, 11, 13, 15};
    static const double gap[] = {3, NAN, 7, 9};

    cr_assert_eq(stats_theil_sen(line, 0), 0);
    cr_assert_eq(stats_theil_sen(line, 1), 0);
    cr_assert_eq(stats_theil_sen(line, 2), 2);
    cr_assert_eq(stats_theil_sen(line, 6), 2);
    cr_assert_eq(stats_theil_sen(outlier, 7), 2, "one outlier moves nothing");
    cr_assert_eq(stats_theil_sen(gap, 4), 2, "a gap keeps its place");
}

Test(stats, mean_and_deviation)
{
    static const double values[] = {2, 4, 4, 4, NAN, 5, 5, 7, 9};
    static const double far[] = {1e9 + 1, 1e9 + 2, 1e9 + 3};

    cr_assert(isnan(stats_mean(values, 0)));
    cr_assert_eq(stats_mean(values, 9), 5);
    cr_assert(near(stats_stddev(values, 9), sqrt(32.0 / 7)));
    cr_assert(isnan(stats_stddev(values, 1)));
    cr_assert(near(stats_stddev(far, 3), 1));
}

/* --- signed ranks --- */

/* Two-sided p by trying all signs; shared ranks are means. */
static double brute_force_p(const double *differences, unsigned n)
{
    double ranks[16], seen = 0;
    unsigned low = 0, high = 0;

    for (unsigned i = 0; i < n; i++) {
        double below = 0, same = 0;

        for (unsigned j = 0; j < n; j++) {
            below += fabs(differences[j]) < fabs(differences[i]);
            same += fabs(differences[j]) == fabs(differences[i]);
        }
        ranks[i] = below + (same + 1) / 2;
        seen += differences[i] > 0 ? ranks[i] : 0;
    }
    for (unsigned signs = 0; signs < 1u << n; signs++) {
        double sum = 0;

        for (unsigned i = 0; i < n; i++)
            sum += signs & 1u << i ? ranks[i] : 0;
        low += sum <= seen;
        high += sum >= seen;
    }
    return fmin(1, 2.0 * (low < high ? low : high) / (double)(1u << n));
}

Test(stats, signed_rank_is_exact)
{
    double differences[16];
    struct rng rng;

    rng_seed(&rng, 10);
    for (unsigned round = 0; round < 60; round++) {
        unsigned n = 1 + round % 12;

        for (unsigned i = 0; i < n; i++) {
            /* Every other round with ties. */
            double size = round % 2 ? rng_unit(&rng) : 1 + (double)rng_below(&rng, 4);

            differences[i] = rng_below(&rng, 3) ? size : -size;
        }
        cr_assert(near(stats_signed_rank_p(differences, n), brute_force_p(differences, n)),
                  "round %u", round);
    }
}

Test(stats, signed_rank_of_known_cases)
{
    static const double up[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    static const double zeros[] = {0, 0, 1, NAN, 2, 3, 4, 5, 6};
    double many[100];

    cr_assert(near(stats_signed_rank_p(up, 6), 0.03125));
    cr_assert(near(stats_signed_rank_p(up, 10), 0.001953125));
    cr_assert(near(stats_signed_rank_p(up, 3), 0.25));
    cr_assert(near(stats_signed_rank_p(zeros, 9), 0.03125));
    cr_assert_eq(stats_signed_rank_p(zeros, 2), 1);
    cr_assert_eq(stats_signed_rank_p(up, 0), 1);
    /* 25 pairs are exact; of 26 the normal approximation comes near to the exact figure. */
    for (unsigned i = 0; i < 100; i++)
        many[i] = (i % 3 ? 1.0 : -1.0) * (i + 1);
    cr_assert(near(stats_signed_rank_p(many, 25), 0.23036134243011475));
    cr_assert(fabs(stats_signed_rank_p(many, 26) - 0.142716) < 0.003);
    for (unsigned i = 0; i < 100; i++)
        many[i] = i % 2 ? i : -(double)i;
    cr_assert_gt(stats_signed_rank_p(many, 100), 0.5);
    for (unsigned i = 0; i < 100; i++)
        many[i] = 1;
    cr_assert_lt(stats_signed_rank_p(many, 100), 1e-15);
}
