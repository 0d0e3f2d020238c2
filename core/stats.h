/*
 * Statistics of trials: medians with intervals from order statistics (no assumption on the
 * distribution), trends, ratios. Arrays are the caller's and left as they were. NAN stands for
 * not observed and is left out; of more than STATS_VALUES_MAX values the first so many count.
 */
#ifndef LAB_CORE_STATS_H
#define LAB_CORE_STATS_H

#include <stdbool.h>
#include <stddef.h>

#define STATS_VALUES_MAX 4096

struct interval {
    double median, low, high;
    double confidence; /* of [low, high]: 0.96875 for 6 trials; 0 with fewer than 6: a mere range */
};

double stats_median(const double *values, size_t count); /* NAN if none */

/* Median and its interval of at least the confidence asked for (0.95), the narrowest pair of
 * symmetric order statistics; with too few values low and high are the range, confidence 0. */
struct interval stats_interval(const double *values, size_t count, double confidence);

/* Theil-Sen slope over x = 0, 1, 2 ... ; 0 for fewer than 2; NAN without memory. */
double stats_theil_sen(const double *values, size_t count);
double stats_mean(const double *values, size_t count);   /* NAN if none */
double stats_stddev(const double *values, size_t count); /* n - 1; NAN for fewer than 2 */
/* Two-sided Wilcoxon signed-rank p of paired differences, exact up to 25 pairs (ties too), then
 * the normal approximation. Pairs without a difference are left out; 1 if none is left. */
double stats_signed_rank_p(const double *differences, size_t count);

#endif
