/*
 * A metric is a row of a const table, exported by whoever measures it: workload, engine or
 * probe. The table on the screen, JSON and docs derive from these rows; a record on the wire
 * carries them along, so that the reader needs no table of its own.
 */
#ifndef LAB_CORE_METRIC_H
#define LAB_CORE_METRIC_H

#include <stdbool.h>
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

/*
 * How a workload's metric is shown: a column of the table of results, or a line of what an op
 * costs. A table ends with a row whose label is NULL.
 */
enum metric_view_kind {
    METRIC_VIEW_RATE,        /* column: a counter, a second */
    METRIC_VIEW_MB_RATE,     /* column: a counter of bytes, millions of them a second */
    METRIC_VIEW_PERCENTILE,  /* line: of a histogram */
    METRIC_VIEW_PER_OP,      /* line: a counter, an op */
    METRIC_VIEW_TIME_PER_OP, /* line: a counter of ns, an op */
    METRIC_VIEW_BYTES,       /* line: a gauge of bytes */
};

struct metric_view {
    const char *label;  /* images/s; first image, p50 */
    const char *metric; /* of the workload's table */
    enum metric_view_kind kind;
    double percentile;
    bool server; /* of the server's record; else the client's */
};

/* A table ends with a row whose name is NULL. */
size_t metric_count(const struct metric_def *table);

/* As records and JSON spell them: counter, gauge, histogram; neither, more, less. */
const char *metric_kind_name(enum metric_kind kind);
const char *metric_better_name(enum metric_better better);

#endif
