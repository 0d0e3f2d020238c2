/* See stats.h. Values that are not numbers (not observed) are left out everywhere. */
#include "core/stats.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_PAIRS_MAX 25u
/* Of sums of probabilities: who asks for 0.96875 of 6 values is to get it. */
#define ROUNDING 1e-12
/* Twice the sum of the ranks 1 .. 25: ranks are doubled so that shared ones stay integers. */
#define EXACT_SUM_MAX (EXACT_PAIRS_MAX * (EXACT_PAIRS_MAX + 1))

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Copies at most STATS_VALUES_MAX numbers; returns how many there are. */
static size_t numbers_copy(const double *values, size_t count, double *out)
{
    size_t kept = 0;

    for (size_t i = 0; i < count && kept < STATS_VALUES_MAX; i++) {
        if (!isnan(values[i]))
            out[kept++] = values[i];
    }
    return kept;
}

static size_t numbers_sort(const double *values, size_t count, double *out)
{
    size_t kept = numbers_copy(values, count, out);

    qsort(out, kept, sizeof(*out), compare_doubles);
    return kept;
}

static double sorted_median(const double *sorted, size_t count)
{
    if (count == 0)
        return NAN;
    if (count % 2 == 1)
        return sorted[count / 2];
    /* Halves first: the sum of two large ones could overflow. */
    return sorted[count / 2 - 1] / 2 + sorted[count / 2] / 2;
}

double stats_median(const double *values, size_t count)
{
    double sorted[STATS_VALUES_MAX];
    size_t kept = numbers_sort(values, count, sorted);

    return sorted_median(sorted, kept);
}

/* Probability of k heads in n throws; logarithms, since 0.5^4096 is below every double. */
static double binomial_half(size_t n, size_t k)
{
    int sign;
    double log_ways = lgamma_r((double)n + 1, &sign) - lgamma_r((double)k + 1, &sign) -
                      lgamma_r((double)(n - k) + 1, &sign);

    return exp(log_ways - (double)n * M_LN2);
}

struct interval stats_interval(const double *values, size_t count, double confidence)
{
    double sorted[STATS_VALUES_MAX];
    size_t kept = numbers_sort(values, count, sorted);
    struct interval interval = {.median = NAN, .low = NAN, .high = NAN};
    double below = 0;

    if (kept == 0)
        return interval;
    interval.median = sorted_median(sorted, kept);
    interval.low = sorted[0];
    interval.high = sorted[kept - 1];
    /* The median lies below the k-th smallest value with P(fewer than k of n heads); the pair
     * moves inwards as long as both tails together leave the confidence that was asked for. */
    for (size_t k = 1; k <= kept / 2; k++) {
        double held;

        below += binomial_half(kept, k - 1);
        held = 1 - 2 * below;
        if (held < confidence - ROUNDING)
            break;
        interval.low = sorted[k - 1];
        interval.high = sorted[kept - k];
        interval.confidence = held;
    }
    return interval;
}

double stats_theil_sen(const double *values, size_t count)
{
    double *slopes, slope;
    size_t found = 0;

    if (count > STATS_VALUES_MAX)
        count = STATS_VALUES_MAX;
    if (count < 2)
        return 0;
    slopes = malloc(count * (count - 1) / 2 * sizeof(*slopes));
    if (slopes == NULL)
        return NAN;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = i + 1; j < count; j++) {
            slope = (values[j] - values[i]) / (double)(j - i);
            if (!isnan(slope))
                slopes[found++] = slope;
        }
    }
    qsort(slopes, found, sizeof(*slopes), compare_doubles);
    slope = found > 0 ? sorted_median(slopes, found) : 0;
    free(slopes);
    return slope;
}

double stats_mean(const double *values, size_t count)
{
    double mean = NAN;
    size_t seen = 0;

    for (size_t i = 0; i < count; i++) {
        if (isnan(values[i]))
            continue;
        seen++;
        mean = seen == 1 ? values[i] : mean + (values[i] - mean) / (double)seen;
    }
    return mean;
}

double stats_stddev(const double *values, size_t count)
{
    double mean = stats_mean(values, count), sum = 0;
    size_t seen = 0;

    for (size_t i = 0; i < count; i++) {
        if (isnan(values[i]))
            continue;
        seen++;
        sum += (values[i] - mean) * (values[i] - mean);
    }
    return seen < 2 ? NAN : sqrt(sum / (double)(seen - 1));
}

/* --- Wilcoxon's signed ranks --- */

static int compare_magnitudes(const void *a, const void *b)
{
    double x = fabs(*(const double *)a), y = fabs(*(const double *)b);

    return (x > y) - (x < y);
}

/* Every one of the 2^n ways to give signs to the ranks is equally likely: counts those whose
 * sum of positive ranks is at most, and at least, the one that was seen. */
static double signed_rank_exact(const unsigned *ranks, size_t count, unsigned positive)
{
    double ways[EXACT_SUM_MAX + 1] = {1};
    double low = 0, high = 0;
    unsigned sum = 0;

    for (size_t i = 0; i < count; i++) {
        sum += ranks[i];
        for (unsigned at = sum; at >= ranks[i]; at--)
            ways[at] += ways[at - ranks[i]];
    }
    for (unsigned at = 0; at <= sum; at++) {
        low += at <= positive ? ways[at] : 0;
        high += at >= positive ? ways[at] : 0;
    }
    return fmin(1, 2 * fmin(low, high) * ldexp(1, -(int)count));
}

/* Ranks are doubled; ties is the sum of t^3 - t over groups of t equal magnitudes. */
static double signed_rank_normal(size_t count, double positive, double ties)
{
    double n = (double)count;
    double variance = n * (n + 1) * (2 * n + 1) / 24 - ties / 48;
    double off = fabs(positive / 2 - n * (n + 1) / 4) - 0.5; /* continuity */

    if (variance <= 0 || off <= 0)
        return 1;
    return erfc(off / sqrt(2 * variance));
}

double stats_signed_rank_p(const double *differences, size_t count)
{
    double sorted[STATS_VALUES_MAX];
    unsigned ranks[EXACT_PAIRS_MAX];
    double ties = 0, positive = 0;
    size_t kept = 0, total = numbers_copy(differences, count, sorted);

    for (size_t i = 0; i < total; i++) { /* pairs without a difference say nothing */
        if (sorted[i] != 0)
            sorted[kept++] = sorted[i];
    }
    if (kept == 0)
        return 1;
    qsort(sorted, kept, sizeof(*sorted), compare_magnitudes);
    for (size_t i = 0, next; i < kept; i = next) {
        double same;

        for (next = i + 1; next < kept && fabs(sorted[next]) == fabs(sorted[i]);)
            next++;
        same = (double)(next - i);
        ties += same * same * same - same;
        for (size_t j = i; j < next; j++) { /* ranks i + 1 .. next: each gets the mean, doubled */
            if (kept <= EXACT_PAIRS_MAX)
                ranks[j] = (unsigned)(i + 1 + next);
            if (sorted[j] > 0)
                positive += (double)(i + 1 + next);
        }
    }
    if (kept <= EXACT_PAIRS_MAX)
        return signed_rank_exact(ranks, kept, (unsigned)positive);
    return signed_rank_normal(kept, positive, ties);
}
