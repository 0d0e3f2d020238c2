/* See meter.h. */
#include "core/meter.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

int meter_open(struct meter *meter, const struct metric_def *table)
{
    *meter = (struct meter){.table = table};
    if (table == NULL)
        return 0;
    meter->count = (unsigned)metric_count(table);
    assert(meter->count <= METER_ROWS_MAX);
    meter->counters = calloc(meter->count + 1, sizeof(*meter->counters));
    meter->hists = calloc(meter->count + 1, sizeof(struct hist *));
    bool all = meter->counters != NULL && meter->hists != NULL;
    for (unsigned i = 0; i < meter->count && all; i++) {
        if (table[i].kind != METRIC_HISTOGRAM)
            continue;
        meter->hists[i] = hist_new();
        all = meter->hists[i] != NULL;
    }
    if (all)
        return 0;
    meter_close(meter);
    return -ENOMEM;
}

void meter_close(struct meter *meter)
{
    for (unsigned i = 0; meter->hists != NULL && i < meter->count; i++)
        hist_free(meter->hists[i]);
    free(meter->hists);
    free(meter->counters);
    *meter = (struct meter){0};
}

void meter_sum(const struct meter *meter, uint64_t *sums)
{
    for (unsigned i = 0; i < meter->count; i++) {
        uint64_t value = counter_read(&meter->counters[i]);
        if (meter->table[i].kind != METRIC_GAUGE)
            sums[i] += value;
        else if (value > sums[i])
            sums[i] = value;
    }
}

void meter_merge(struct meter *into, const struct meter *from)
{
    for (unsigned i = 0; i < into->count; i++)
        if (into->hists[i] != NULL)
            hist_merge(into->hists[i], from->hists[i]);
}
