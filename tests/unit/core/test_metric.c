/* Metric tables end at the row without a name. */
#include <criterion/criterion.h>

#include "core/metric.h"

TestSuite(metric, .timeout = 10);

Test(metric, counts_rows)
{
    static const struct metric_def none[] = {{0}};
    static const struct metric_def two[] = {{.name = "a"}, {.name = "b"}, {0}};

    cr_assert_eq(metric_count(none), 0);
    cr_assert_eq(metric_count(two), 2);
}

Test(metric, names_its_words)
{
    cr_assert_str_eq(metric_kind_name(METRIC_COUNTER), "counter");
    cr_assert_str_eq(metric_kind_name(METRIC_GAUGE), "gauge");
    cr_assert_str_eq(metric_kind_name(METRIC_HISTOGRAM), "histogram");
    cr_assert_str_eq(metric_better_name(METRIC_NEITHER), "neither");
    cr_assert_str_eq(metric_better_name(METRIC_MORE), "more");
    cr_assert_str_eq(metric_better_name(METRIC_LESS), "less");
}
