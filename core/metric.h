/*
 * A metric is a row of a const table, exported by whoever measures it: workload, engine or
 * probe. The table on the screen, JSON and docs derive from these rows; a record on the wire
 * carries them along, so that the reader needs no table of its own.
 */
#ifndef LAB_CORE_METRIC_H
#define LAB_CORE_METRIC_H

#include <stddef.h>
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
enum metric_better { METRIC_NEITHER, METRIC_MORE, METRIC_LESS };

struct metric_def {
    const char *name; /* with its unit: system_calls, connect_ns, send_copied_bytes */
    const char *unit; /* "", ns, bytes, 1/s */
    enum metric_kind kind;
    enum metric_better better;
    const char *stage; /* request, server, reply, client; "" = whole */
    const char *hook;  /* where it is taken: `engine`, a tracepoint ... */
    const char *help;
};

/* A table ends with a row whose name is NULL. */
size_t metric_count(const struct metric_def *table);

/* As records and JSON spell them: counter, gauge, histogram; neither, more, less. */
const char *metric_kind_name(enum metric_kind kind);
const char *metric_better_name(enum metric_better better);

#endif
