/*
 * What one worker measures of a table of metrics: a counter a row that counts or gauges, a
 * histogram a row that is one. Its worker alone writes; counters may be read from another thread
 * at any time (core/counter.h), histograms once the worker has ended.
 */
#ifndef LAB_CORE_METER_H
#define LAB_CORE_METER_H

#include "core/counter.h"
#include "core/hist.h"
#include "core/metric.h"

#define METER_ROWS_MAX 48

/* All zero: the meter of no table. */
struct meter {
    const struct metric_def *table;
    unsigned count;
    struct counter *counters; /* one a row */
    struct hist **hists;      /* one a row, NULL where it is no histogram */
};

/* table may be NULL. -ENOMEM leaves nothing behind. At most METER_ROWS_MAX rows, asserted. */
int meter_open(struct meter *meter, const struct metric_def *table);
void meter_close(struct meter *meter);

static inline void meter_add(struct meter *meter, unsigned row, uint64_t n)
{
    counter_add(&meter->counters[row], n);
}

/* A gauge holds the most that it was told. */
static inline void meter_most(struct meter *meter, unsigned row, uint64_t value)
{
    uint64_t before = counter_read(&meter->counters[row]);
    if (value > before)
        counter_add(&meter->counters[row], value - before);
}

static inline void meter_record(struct meter *meter, unsigned row, uint64_t value)
{
    hist_record(meter->hists[row], value);
}

/* Joins the counters into sums, a place a row: counters add up, of gauges the most stays. */
void meter_sum(const struct meter *meter, uint64_t *sums);
/* Adds the histograms of `from`, of the same table, to those of `into`. */
void meter_merge(struct meter *into, const struct meter *from);

#endif
