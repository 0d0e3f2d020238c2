/* See metric.h. */
#include "core/metric.h"

size_t metric_count(const struct metric_def *table)
{
    size_t count = 0;

    while (table[count].name != NULL)
        count++;
    return count;
}

const char *metric_kind_name(enum metric_kind kind)
{
    switch (kind) {
    case METRIC_COUNTER: return "counter";
    case METRIC_GAUGE: return "gauge";
    case METRIC_HISTOGRAM: return "histogram";
    }
    return "";
}

const char *metric_better_name(enum metric_better better)
{
    switch (better) {
    case METRIC_NEITHER: return "neither";
    case METRIC_MORE: return "more";
    case METRIC_LESS: return "less";
    }
    return "";
}
