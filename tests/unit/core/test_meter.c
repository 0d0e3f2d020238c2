/* Meters: what a worker counts and times of a table of metrics. */
#include <criterion/criterion.h>

#include "core/meter.h"

static const struct metric_def table[] = {
    {"things", "", METRIC_COUNTER, METRIC_MORE, "", "test", "things"},
    {"thing_ns", "ns", METRIC_HISTOGRAM, METRIC_LESS, "", "test", "a thing"},
    {"room_bytes", "bytes", METRIC_GAUGE, METRIC_NEITHER, "", "test", "room"},
    {0},
};

Test(meter, no_table_is_a_meter_of_nothing)
{
    struct meter meter;
    uint64_t sums[METER_ROWS_MAX] = {0};

    cr_assert_eq(meter_open(&meter, NULL), 0);
    cr_assert_eq(meter.count, 0);
    meter_sum(&meter, sums);
    meter_close(&meter);
}

Test(meter, counters_add_up_and_gauges_keep_the_most)
{
    struct meter a, b;
    uint64_t sums[METER_ROWS_MAX] = {0};

    cr_assert_eq(meter_open(&a, table), 0);
    cr_assert_eq(meter_open(&b, table), 0);
    meter_add(&a, 0, 3);
    meter_add(&b, 0, 4);
    meter_most(&a, 2, 100);
    meter_most(&a, 2, 50);
    meter_most(&b, 2, 70);
    meter_sum(&a, sums);
    meter_sum(&b, sums);
    cr_assert_eq(sums[0], 7);
    cr_assert_eq(sums[2], 100);
    meter_close(&a);
    meter_close(&b);
}

Test(meter, histograms_merge)
{
    struct meter a, b;

    cr_assert_eq(meter_open(&a, table), 0);
    cr_assert_eq(meter_open(&b, table), 0);
    cr_assert_null(a.hists[0]);
    meter_record(&a, 1, 10);
    meter_record(&b, 1, 30);
    meter_merge(&a, &b);
    cr_assert_eq(a.hists[1]->total, 2);
    cr_assert_eq(a.hists[1]->max, 30);
    meter_close(&a);
    meter_close(&b);
}
