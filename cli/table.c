/* See table.h. */
#include "cli/table.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/compare.h"
#include "cli/facts.h"
#include "cli/grid.h"
#include "cli/heading.h"
#include "cli/notes.h"
#include "cli/term.h"
#include "client/load.h"
#include "core/clock.h"
#include "core/parse.h"

#define TABLE_NOT_OBSERVED "n/o"
#define TABLE_TOO_FEW      "-"
#define TABLE_MARKS_MAX    200
#define TABLE_COST_WIDTH   11 /* of an engine's column under the table, about */
#define TABLE_SWEEP_LEAST  3  /* values of a parameter: fewer are compared at a glance */
#define TABLE_COST_MOST    8  /* such columns where the width is not known */

struct table {
    const struct run_result *run;
    FILE *out;
    const struct table_style *style;
    struct notes *notes;
    bool any_not_observed, any_too_few; /* in a cell: to be explained beneath */
};

__attribute__((format(printf, 2, 3))) static void table_line(const struct table *table,
                                                             const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        abort();
    va_end(arguments);
    notes_wrap(table->out, term_text(text), 4, table->style->width);
    free(text);
}

/* --- cells --- */

static const char *table_percentile(const struct hist *h, double percentile, char *out, size_t size)
{
    if (h == NULL)
        return TABLE_NOT_OBSERVED;
    if (!hist_tells(h, percentile))
        return TABLE_TOO_FEW;
    return format_time(hist_percentile(h, percentile), out, size);
}

static const char *table_time(double ns, char *out, size_t size)
{
    if (!isfinite(ns))
        return TABLE_NOT_OBSERVED;
    return format_time((uint64_t)(ns + 0.5), out, size);
}

static const char *table_count(double count, char *out, size_t size)
{
    if (!isfinite(count))
        return TABLE_NOT_OBSERVED;
    return format_count(count, out, size);
}

/* --- the rows --- */

#define TABLE_VIEWS_MAX 4 /* columns of a workload's own */

struct table_columns {
    const char *swept; /* the parameter whose value comes first, or NULL */
    unsigned value, engine, link, wait, rate, interval, versus, p50, p99, p999, slip, cpu, valid;
    unsigned views[TABLE_VIEWS_MAX];
};

/* How the workload wants its own metrics to be shown; the empty table if it has none. */
static const struct metric_view *table_views(const struct run_case *c)
{
    static const struct metric_view none[] = {{0}};
    const struct client_workload *workload = client_workload_find(c->workload);
    return workload == NULL || workload->views == NULL ? none : workload->views;
}

static bool table_view_is_column(const struct metric_view *view)
{
    return view->kind == METRIC_VIEW_RATE || view->kind == METRIC_VIEW_MB_RATE;
}

/* Throughput of what the table is about: bytes where they stream, else ops. */
static const struct interval *table_rate(const struct run_case *c)
{
    return heading_is_set(c, "one-way") ? &c->bytes_per_s : &c->ops_per_s;
}

static const char *table_interval_name(const struct compare_group *group)
{
    bool range = false, interval = false;

    for (size_t i = 0; i < group->count; i++) {
        if (!compare_measured(group->cases[i]))
            continue;
        if (table_rate(group->cases[i])->confidence > 0)
            interval = true;
        else if (facts_trials(group->cases[i]) > 1)
            range = true;
    }
    return interval ? "95 % interval" : range ? "range" : "";
}

/* A ratio needs two. */
static bool table_versus(const struct compare_group *group)
{
    unsigned measured = 0;

    for (size_t i = 0; i < group->count; i++)
        measured += compare_measured(group->cases[i]);
    return group->reference != NULL && measured > 1 && group->cases[0]->asked_ops_per_s == 0;
}

static struct table_columns table_add_columns(struct grid *grid, const struct run_case *first,
                                              const char *swept)
{
    struct table_columns at = {.swept = swept};
    unsigned views = 0;

    if (swept != NULL)
        at.value = grid_column(grid, GRID_RIGHT, 0);
    at.engine = grid_column(grid, GRID_LEFT, 0);
    at.link = grid_column(grid, GRID_LEFT, 5);
    at.wait = grid_column(grid, GRID_LEFT, 4);
    at.rate = grid_column(grid, GRID_RIGHT, 0);
    at.interval = grid_column(grid, GRID_RIGHT, 2);
    for (const struct metric_view *view = table_views(first); view->label != NULL; view++)
        if (table_view_is_column(view) && views < TABLE_VIEWS_MAX)
            at.views[views++] = grid_column(grid, GRID_RIGHT, 0);
    at.versus = grid_column(grid, GRID_RIGHT, 3);
    at.p50 = grid_column(grid, GRID_RIGHT, 0);
    at.p99 = grid_column(grid, GRID_RIGHT, 0);
    at.p999 = grid_column(grid, GRID_RIGHT, 6);
    at.slip = grid_column(grid, GRID_RIGHT, 0);
    at.cpu = grid_column(grid, GRID_RIGHT, 1);
    at.valid = grid_column(grid, GRID_LEFT, 0);
    return at;
}

/* The cells of a workload's own columns; of its heading if c is NULL. */
static void table_row_views(struct grid *grid, unsigned row, const struct table_columns *at,
                            const struct metric_view *view, const struct run_case *c)
{
    unsigned column = 0;
    char text[32];

    for (; view->label != NULL; view++) {
        if (!table_view_is_column(view) || column == TABLE_VIEWS_MAX)
            continue;
        double rate = NAN;
        if (c != NULL)
            rate = facts_counter(c, FACTS_CLIENT, view->metric) / (double)facts_ops(c) *
                   c->ops_per_s.median;
        if (c != NULL && view->kind == METRIC_VIEW_MB_RATE && isfinite(rate))
            grid_set(grid, row, at->views[column++], rate < 10e6 ? "%.2f" : "%.0f", rate / 1e6);
        else
            grid_set(grid, row, at->views[column++], "%s",
                     c == NULL ? view->label : table_count(rate, text, sizeof(text)));
    }
}

static struct table_columns table_heading(struct grid *grid, const struct compare_group *group,
                                          const char *swept)
{
    const struct run_case *first = group->cases[0];
    bool one_way = heading_is_set(first, "one-way");
    bool open = first->asked_ops_per_s > 0 || (swept != NULL && strcmp(swept, "rate") == 0);
    struct table_columns at = table_add_columns(grid, first, swept);
    unsigned row = grid_row(grid);

    if (swept != NULL)
        grid_set(grid, row, at.value, "%s", swept);
    grid_set(grid, row, at.engine, "engine");
    grid_set(grid, row, at.link, "link");
    grid_set(grid, row, at.wait, "wait");
    grid_set(grid, row, at.rate, one_way ? "bytes/s" : "ops/s");
    grid_set(grid, row, at.interval, "%s", table_interval_name(group));
    table_row_views(grid, row, &at, table_views(first), NULL);
    if (table_versus(group))
        grid_set(grid, row, at.versus, "vs %s", group->reference->label);
    grid_set(grid, row, at.p50, "p50");
    grid_set(grid, row, at.p99, "p99");
    grid_set(grid, row, at.p999, "p99.9");
    if (open)
        grid_set(grid, row, at.slip, "slip p99");
    grid_set(grid, row, at.cpu, one_way ? "CPU/MB" : "CPU/op");
    grid_set(grid, row, at.valid, "valid");
    grid_strong(grid, row);
    return at;
}

/* CPU of both sides: of an op, or one-way of a million bytes. */
static double table_cpu_ns(const struct run_case *c)
{
    if (!heading_is_set(c, "one-way"))
        return c->cpu_ns_per_op.median;
    return c->bytes_per_s.median > 0
               ? c->cpu_ns_per_op.median * c->ops_per_s.median / c->bytes_per_s.median * 1e6
               : NAN;
}

static void table_row_slip(const struct table *table, struct grid *grid, unsigned row,
                           unsigned column, const struct run_case *c)
{
    struct hist *slip = hist_new();
    char text[32];
    bool any = false;

    (void)table;
    for (size_t t = 0; t < c->trials_count && slip != NULL; t++) {
        if (!c->trials[t].failed && c->trials[t].slip != NULL) {
            hist_merge(slip, c->trials[t].slip);
            any = true;
        }
    }
    grid_set(grid, row, column, "%s", table_percentile(any ? slip : NULL, 99, text, sizeof(text)));
    hist_free(slip);
}

static void table_row(const struct table *table, struct grid *grid, const struct table_columns *at,
                      const struct compare_group *group, const struct run_case *c)
{
    const struct interval *rate = table_rate(c);
    char text[4][32], marks[TABLE_MARKS_MAX] = "";
    unsigned row = grid_row(grid);

    if (table->notes != NULL)
        notes_case(table->notes, c, marks, sizeof(marks));
    if (at->swept != NULL)
        grid_set(grid, row, at->value, "%s", facts_find(&c->params, at->swept));
    grid_set(grid, row, at->engine, "%s", c->label);
    grid_set(grid, row, at->link, "%s", c->link);
    grid_set(grid, row, at->wait, "%s", c->wait);
    grid_set(grid, row, at->valid, "%zu/%zu%s%s", c->valid, c->trials_count,
             compare_is_best(group, c) ? " best" : "", marks);
    if (!compare_measured(c)) {
        grid_set(grid, row, at->rate, TABLE_NOT_OBSERVED);
        return;
    }
    grid_set(grid, row, at->rate, "%s", table_count(rate->median, text[0], sizeof(text[0])));
    if (facts_trials(c) > 1)
        grid_set(grid, row, at->interval, "%s%s - %s",
                 rate->confidence == 0 && strcmp(table_interval_name(group), "95 % interval") == 0
                     ? "range "
                     : "",
                 table_count(rate->low, text[1], sizeof(text[1])),
                 table_count(rate->high, text[2], sizeof(text[2])));
    table_row_views(grid, row, at, table_views(c), c);
    if (table_versus(group)) {
        if (c == group->reference)
            grid_set(grid, row, at->versus, "reference");
        else if (isfinite(c->vs_reference))
            grid_set(grid, row, at->versus, "%.2fx", c->vs_reference);
        else
            grid_set(grid, row, at->versus, TABLE_NOT_OBSERVED);
    }
    grid_set(grid, row, at->p50, "%s", table_percentile(c->latency, 50, text[0], sizeof(text[0])));
    grid_set(grid, row, at->p99, "%s", table_percentile(c->latency, 99, text[0], sizeof(text[0])));
    grid_set(grid, row, at->p999, "%s",
             table_percentile(c->latency, 99.9, text[0], sizeof(text[0])));
    if (c->asked_ops_per_s > 0)
        table_row_slip(table, grid, row, at->slip, c);
    grid_set(grid, row, at->cpu, "%s", table_time(table_cpu_ns(c), text[3], sizeof(text[3])));
}

/* --- what an op costs --- */

/* A line of the second table: a label, and the cell of a case; NULL if it has nothing to say. */
struct table_cost {
    const char *label;
    enum facts_side side;
    const char *metric; /* of a record, or NULL */
    double percentile;  /* of a histogram, else 0 */
    enum {
        COST_COUNTER,
        COST_SWITCHES,
        COST_CPU,
        COST_CORE,
        COST_MEMORY,
        COST_PERCENTILE,
        COST_TIME,  /* a counter of ns, an op */
        COST_BYTES, /* a gauge */
    } what;
};

static const struct table_cost table_costs[] = {
    {"system calls an op, client", FACTS_CLIENT, "system_calls", 0, COST_COUNTER},
    {"system calls an op, server", FACTS_SERVER, "system_calls", 0, COST_COUNTER},
    {"context switches an op, client", FACTS_CLIENT, NULL, 0, COST_SWITCHES},
    {"context switches an op, server", FACTS_SERVER, NULL, 0, COST_SWITCHES},
    {"CPU an op, client", FACTS_CLIENT, NULL, 0, COST_CPU},
    {"CPU an op, server", FACTS_SERVER, NULL, 0, COST_CPU},
    {"core in use, client", FACTS_CLIENT, NULL, 0, COST_CORE},
    {"core in use, server", FACTS_SERVER, NULL, 0, COST_CORE},
    {"memory at most, client", FACTS_CLIENT, NULL, 0, COST_MEMORY},
    {"memory at most, server", FACTS_SERVER, NULL, 0, COST_MEMORY},
};

static const struct table_cost table_reconnect[] = {
    {"connect, p50", FACTS_CLIENT, "connect_ns", 50, COST_PERCENTILE},
    {"connect, p99", FACTS_CLIENT, "connect_ns", 99, COST_PERCENTILE},
    {"first byte, p50", FACTS_CLIENT, "first_byte_ns", 50, COST_PERCENTILE},
    {"first byte, p99", FACTS_CLIENT, "first_byte_ns", 99, COST_PERCENTILE},
    {"total, p50", FACTS_CLIENT, "latency_ns", 50, COST_PERCENTILE},
    {"total, p99", FACTS_CLIENT, "latency_ns", 99, COST_PERCENTILE},
};

/* The cell; true if something was observed. */
static bool table_cost_cell(const struct table_cost *cost, const struct run_case *c, char *out,
                            size_t size)
{
    double ops = (double)facts_ops(c), value = NAN;
    struct facts_sums sums = facts_case_sums(c, cost->side);

    snprintf(out, size, TABLE_NOT_OBSERVED);
    if (c->both_sides && cost->side == FACTS_SERVER) {
        snprintf(out, size, "with client"); /* one process plays both */
        return false;
    }
    if (cost->what == COST_PERCENTILE) {
        struct hist *h = facts_hist(c, cost->side, cost->metric);
        const char *text = table_percentile(h, cost->percentile, out, size);
        if (text != out)
            snprintf(out, size, "%s", text);
        bool any = h != NULL && h->total > 0; /* else there was nothing of the kind */
        hist_free(h);
        return any;
    }
    if (cost->what == COST_COUNTER || cost->what == COST_TIME)
        value = facts_counter(c, cost->side, cost->metric) / ops;
    else if (cost->what == COST_BYTES)
        value = facts_gauge(c, cost->side, cost->metric) / (1 << 20);
    else if (sums.observed && cost->what == COST_SWITCHES)
        value = (double)(sums.ctx_switches_voluntary + sums.ctx_switches_involuntary) / ops;
    else if (sums.observed && cost->what == COST_CPU)
        value = sums.cpu_s * (double)NS_PER_S / ops;
    else if (sums.observed && cost->what == COST_CORE && sums.duration_s > 0)
        /* A poller's core is always in use: what it found is what counts. */
        value = 100 * (sums.spins ? sums.busy_s : sums.cpu_s) / sums.duration_s;
    else if (sums.observed && cost->what == COST_MEMORY && sums.rss_bytes_max > 0)
        value = (double)sums.rss_bytes_max / (1 << 20);
    if (!isfinite(value))
        return false;
    if (cost->what == COST_CPU || cost->what == COST_TIME)
        table_time(value, out, size);
    else if (cost->what == COST_CORE)
        snprintf(out, size, "%.0f%%", value);
    else if (cost->what == COST_MEMORY || cost->what == COST_BYTES)
        snprintf(out, size, "%.1fMiB", value);
    else
        snprintf(out, size, "%.2f", value);
    return true;
}

static void table_cost_rows(struct grid *grid, const struct run_case *const *cases, size_t count,
                            const struct table_cost *costs, size_t costs_count)
{
    char(*cells)[32] = calloc(count, sizeof(*cells));

    if (cells == NULL)
        abort();
    for (size_t k = 0; k < costs_count; k++) {
        bool any = false;
        for (size_t i = 0; i < count; i++)
            any |= table_cost_cell(&costs[k], cases[i], cells[i], sizeof(cells[i]));
        if (!any)
            continue;
        unsigned row = grid_row(grid);
        grid_set(grid, row, 0, "%s", costs[k].label);
        for (size_t i = 0; i < count; i++)
            grid_set(grid, row, (unsigned)i + 1, "%s", cells[i]);
    }
    free(cells);
}

/* The lines of a workload's own. */
static void table_view_rows(struct grid *grid, const struct run_case *const *cases, size_t count)
{
    for (const struct metric_view *view = table_views(cases[0]); view->label != NULL; view++) {
        struct table_cost cost = {view->label, view->server ? FACTS_SERVER : FACTS_CLIENT,
                                  view->metric, view->percentile, COST_COUNTER};
        switch (view->kind) {
        case METRIC_VIEW_PERCENTILE: cost.what = COST_PERCENTILE; break;
        case METRIC_VIEW_PER_OP: cost.what = COST_COUNTER; break;
        case METRIC_VIEW_TIME_PER_OP: cost.what = COST_TIME; break;
        case METRIC_VIEW_BYTES: cost.what = COST_BYTES; break;
        default: continue;
        }
        table_cost_rows(grid, cases, count, &cost, 1);
    }
}

static void table_grid(struct table *table, struct grid *grid)
{
    grid_print(grid, table->out, table->style->width, table->style->colour);
    table->any_not_observed |= grid_has(grid, TABLE_NOT_OBSERVED);
    table->any_too_few |= grid_has(grid, TABLE_TOO_FEW);
    grid_free(grid);
}

static void table_costs_of(struct table *table, const struct run_case *const *cases, size_t count)
{
    struct grid *grid = grid_new();
    bool links = false;

    grid_column(grid, GRID_LEFT, 0);
    unsigned row = grid_row(grid);
    for (size_t i = 1; i < count; i++)
        links |= strcmp(cases[i]->link, cases[0]->link) != 0;
    for (size_t i = 0; i < count; i++) {
        unsigned column = grid_column(grid, GRID_RIGHT, 0);
        grid_set(grid, row, column, "%s%s%s", cases[i]->label, links ? " " : "",
                 links ? cases[i]->link : "");
    }
    if (heading_is_set(cases[0], "reconnect"))
        table_cost_rows(grid, cases, count, table_reconnect,
                        sizeof(table_reconnect) / sizeof(*table_reconnect));
    table_view_rows(grid, cases, count);
    table_cost_rows(grid, cases, count, table_costs, sizeof(table_costs) / sizeof(*table_costs));
    fputc('\n', table->out);
    table_grid(table, grid);
}

/* As many cases beside each other as there is room for. */
static void table_print_costs(struct table *table, const struct compare_group *group)
{
    const struct run_case **measured = calloc(group->count, sizeof(*measured));
    size_t count = 0, most = TABLE_COST_MOST;

    if (measured == NULL)
        abort();
    for (size_t i = 0; i < group->count; i++)
        if (compare_measured(group->cases[i]))
            measured[count++] = group->cases[i];
    if (table->style->width > 30 + TABLE_COST_WIDTH)
        most = (table->style->width - 30) / TABLE_COST_WIDTH;
    for (size_t i = 0; i < count; i += most)
        table_costs_of(table, measured + i, count - i < most ? count - i : most);
    free(measured);
}

/* --- errors --- */

static void table_print_errors_of(const struct table *table, const struct run_case *c)
{
    struct run_list kinds = {0}; /* kind, first example */
    unsigned long long total = 0;

    for (size_t t = 0; t < c->trials_count; t++) {
        const struct run_trial *trial = &c->trials[t];
        total += trial->errors;
        for (size_t i = 0; i < trial->errors_by_kind.count; i++) {
            const char *kind = trial->errors_by_kind.items[i].name;
            const char *example = facts_find(&trial->errors_examples, kind);
            if (facts_find(&kinds, kind) == NULL)
                run_list_add(&kinds, kind, example == NULL ? "" : example);
        }
    }
    for (size_t k = 0; k < kinds.count; k++) {
        unsigned long long count = 0;
        for (size_t t = 0; t < c->trials_count; t++) {
            const char *one = facts_find(&c->trials[t].errors_by_kind, kinds.items[k].name);
            count += one == NULL ? 0 : strtoull(one, NULL, 10);
        }
        table_line(table, "errors of %s: %llu %s%s%s", c->label, count, kinds.items[k].name,
                   kinds.items[k].value[0] == '\0' ? "" : ", the first: ", kinds.items[k].value);
    }
    if (total > 0 && kinds.count == 0)
        table_line(table, "errors of %s: %llu", c->label, total);
    run_list_free(&kinds);
}

/* SYNs that were sent again make a tail of 1 to 3 s that is nobody's latency. Drops at a full
 * listen queue are a watermark of the trial, which says so already. */
static void table_print_retries(const struct table *table, const struct run_case *c)
{
    long long drops = 0, retries = 0;

    for (size_t t = 0; t < c->trials_count; t++) {
        drops += c->trials[t].listen_drops > 0 ? c->trials[t].listen_drops : 0;
        retries += c->trials[t].syn_retries > 0 ? c->trials[t].syn_retries : 0;
    }
    if (retries > 0 && drops == 0)
        table_line(table,
                   "while %s ran this host sent %lld SYNs again, each after 1 s or more: what "
                   "connects slowly may be that",
                   c->label, retries);
}

/* --- the whole --- */

static bool table_any_measured(const struct compare_group *group)
{
    for (size_t i = 0; i < group->count; i++)
        if (group->cases[i]->trials_count > 0)
            return true;
    return false;
}

/* Whose parameters are those of all rows: a case of which all are in effect, if there is one. */
static const struct run_case *table_speaker(const struct compare_group *group)
{
    for (size_t i = 0; i < group->count; i++)
        if (!group->cases[i]->client_worker_each && !group->cases[i]->server_worker_each)
            return group->cases[i];
    return group->cases[0];
}

/* The workload, and in a line what is common to the rows. */
static void table_title(const struct table *table, const struct run_case *c)
{
    const struct table_style *style = table->style;
    char heading[512];

    heading_format(table->run, c, heading, sizeof(heading));
    fprintf(table->out, "%s%s%s  ", style->colour ? "\033[1m" : "", c->workload,
            style->colour ? "\033[0m" : "");
    notes_wrap(table->out, term_text(heading), 4,
               style->width > 12 ? style->width - (unsigned)strlen(c->workload) - 2 : style->width);
}

static void table_print_group(struct table *table, const struct compare_group *group)
{
    const struct table_style *style = table->style;

    if (!table_any_measured(group))
        return;
    table_title(table, table_speaker(group));
    struct grid *grid = grid_new();
    struct table_columns at = table_heading(grid, group, NULL);
    for (size_t i = 0; i < group->count; i++)
        if (group->cases[i]->trials_count > 0)
            table_row(table, grid, &at, group, group->cases[i]);
    table_grid(table, grid);
    if (!style->provisional) {
        table_print_costs(table, group);
        fputc('\n', table->out);
        compare_print(group, table->out, style->width);
        for (size_t i = 0; i < group->count; i++) {
            table_print_errors_of(table, group->cases[i]);
            table_print_retries(table, group->cases[i]);
        }
    }
}

/* --- a parameter that was swept --- */

/* All but one, whose names and values stay the other list's. */
static struct run_list table_params_but(const struct run_list *params, const char *name)
{
    struct run_list but = {.items = calloc(params->count + 1, sizeof(*but.items))};

    if (but.items == NULL)
        abort();
    for (size_t i = 0; i < params->count; i++)
        if (strcmp(params->items[i].name, name) != 0)
            but.items[but.count++] = params->items[i];
    return but;
}

/* Rows of the tables that differ in one parameter alone, beneath each other: how the figures go
 * with it. */
static void table_print_sweep(struct table *table, const char *swept, const size_t *firsts,
                              size_t count)
{
    const struct run_result *run = table->run;
    struct run_case common = run->cases[firsts[0]];
    struct grid *grid = grid_new();
    struct table_columns at;

    fputc('\n', table->out);
    common.params = table_params_but(&common.params, swept);
    table_title(table, &common);
    free(common.params.items);
    for (size_t i = 0; i < count; i++) {
        struct compare_group group = compare_group(run, firsts[i]);
        if (i == 0)
            at = table_heading(grid, &group, swept);
        for (size_t k = 0; k < group.count; k++)
            if (group.cases[k]->trials_count > 0)
                table_row(table, grid, &at, &group, group.cases[k]);
        compare_free(&group);
    }
    table_grid(table, grid);
}

/* Of the case's parameters, the one in which alone another differs; NULL: none, or several. */
static size_t *table_count_for(size_t *counts, const struct run_case *c, const struct run_case *of)
{
    const char *differs = heading_difference(c, of);

    for (size_t k = 0; differs != NULL && k < c->params.count; k++)
        if (c->params.items[k].name == differs)
            return &counts[k];
    return NULL;
}

/* The tables that differ from the first one in one parameter alone, for each parameter: where the
 * first one is the earliest of them, and there are enough to be worth another table. */
static void table_print_sweeps_from(struct table *table, const size_t *firsts, size_t count,
                                    size_t at)
{
    const struct run_case *cases = table->run->cases, *c = &cases[firsts[at]];
    size_t *counts = calloc(c->params.count + 1, sizeof(*counts)), *of;
    size_t *members = calloc(count, sizeof(*members)), used;

    if (counts == NULL || members == NULL)
        abort();
    for (size_t i = 0; i < count; i++)
        if (i != at && (of = table_count_for(counts, c, &cases[firsts[i]])) != NULL)
            *of += i < at ? count : 1; /* an earlier one: it is not for us to print */
    for (size_t k = 0; k < c->params.count; k++) {
        if (counts[k] + 1 < TABLE_SWEEP_LEAST || counts[k] >= count)
            continue;
        members[0] = firsts[at];
        used = 1;
        for (size_t i = at + 1; i < count; i++)
            if (table_count_for(counts, c, &cases[firsts[i]]) == &counts[k])
                members[used++] = firsts[i];
        table_print_sweep(table, c->params.items[k].name, members, used);
    }
    free(members);
    free(counts);
}

static void table_print_sweeps(struct table *table)
{
    const struct run_result *run = table->run;
    size_t *firsts = calloc(run->cases_count + 1, sizeof(*firsts)), count = 0;

    if (firsts == NULL)
        abort();
    for (size_t i = 0; i < run->cases_count; i++)
        if (run->cases[i].trials_count > 0 && !compare_seen(run, i))
            firsts[count++] = i;
    for (size_t i = 0; i < count; i++)
        table_print_sweeps_from(table, firsts, count, i);
    free(firsts);
}

static void table_print_unmeasured(const struct table *table)
{
    const struct run_result *run = table->run;

    for (size_t i = 0; i < run->cases_count; i++) {
        const struct run_case *c = &run->cases[i];
        bool said = c->trials_count > 0 || c->reason[0] == '\0';
        for (size_t k = 0; k < i && !said; k++) /* once an engine, not once a case */
            said = run->cases[k].trials_count == 0 && strcmp(run->cases[k].label, c->label) == 0 &&
                   strcmp(run->cases[k].reason, c->reason) == 0;
        if (!said)
            table_line(table, "not measured: %s (%s): %s", c->label, run_status_name(c->status),
                       c->reason);
    }
}

/* The window of all cases; where they differ, each heading has its own. */
static void table_print_run(const struct table *table)
{
    const struct run_settings *settings = &table->run->settings;
    const struct run_case *first = NULL;
    char duration[32], warmup[32];

    for (size_t i = 0; i < table->run->cases_count && first == NULL; i++)
        if (table->run->cases[i].trials_count > 0)
            first = &table->run->cases[i];
    fprintf(table->out, "run   %u trial%s of ", settings->rounds, settings->rounds == 1 ? "" : "s");
    if (first == NULL || !heading_same_window(table->run))
        fputs("various lengths", table->out);
    else if (first->asked_ops > 0)
        fprintf(table->out, "%llu ops", (unsigned long long)first->asked_ops);
    else
        fprintf(table->out, "%s, %s of warm-up",
                format_time_exact(first->duration_ns, duration, sizeof(duration)),
                format_time_exact(first->warmup_ns, warmup, sizeof(warmup)));
    fprintf(table->out, ", seed %llu\n", (unsigned long long)settings->seed);
}

void table_print_host(const struct run_result *run, FILE *out, unsigned width)
{
    const struct run_env *env = &run->env;
    const struct table_style style = {.width = width};
    const struct table table = {.run = run, .out = out, .style = &style};
    const char *kernel = facts_find(&env->facts, "kernel");
    const struct run_settings *settings = &run->settings;
    char pinned[200] = "not pinned";
    bool apart = false;

    for (size_t i = 0; i < run->cases_count; i++)
        apart |= run_ends_apart(settings, &run->cases[i]);
    if (settings->pin && settings->server_cpus != NULL && settings->client_cpus != NULL)
        snprintf(pinned, sizeof(pinned), "server CPU %s, client CPU %s", settings->server_cpus,
                 settings->client_cpus);
    table_line(&table, "host  %.8s, %u core%s, %s; %s; %s", env->fingerprint, env->cores,
               env->cores == 1 ? "" : "s",
               kernel == NULL || kernel[0] == '\0' ? "kernel unknown" : kernel, pinned,
               apart ? "the ends are apart" : "both ends on this host");
    table_print_run(&table);
}

/* "epoll client: spin off, bufs 0, ..." of the first trial's first process. */
static void table_print_ready(const struct table *table, const struct run_case *c,
                              enum facts_side side)
{
    const Lab__Ready *ready = facts_ready(c, side);
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    unsigned said = 0;

    if (stream == NULL)
        abort();
    fprintf(stream, "%s %s:", c->label, facts_side_name(side));
    for (size_t i = 0; ready != NULL && i < ready->n_settings; i++) {
        const char *name = facts_setting_name(ready->settings[i]);
        const char *value = ready->settings[i]->value;
        if (name != NULL)
            fprintf(stream, "%s %s %s", said++ == 0 ? "" : ",", name,
                    value[0] == '\0' ? "default" : value);
    }
    for (size_t i = 0; ready != NULL && i < ready->n_capabilities; i++)
        fprintf(stream, "%s %s %s%s%s%s", i == 0 ? ";" : ",", ready->capabilities[i]->name,
                ready->capabilities[i]->state, ready->capabilities[i]->note[0] == '\0' ? "" : " (",
                ready->capabilities[i]->note, ready->capabilities[i]->note[0] == '\0' ? "" : ")");
    fclose(stream);
    if (ready != NULL)
        table_line(table, "%s", text);
    free(text);
}

/* What all cases of a group were asked. */
static void table_print_params(const struct table *table, const struct compare_group *group)
{
    const struct run_case *c = table_speaker(group);
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);

    if (stream == NULL)
        abort();
    fprintf(stream, "%s ", c->workload);
    for (size_t k = 0; k < c->params.count; k++)
        fprintf(stream, "%s %s %s", k == 0 ? "" : ",", c->params.items[k].name,
                facts_param(c, &c->params.items[k]));
    fclose(stream);
    table_line(table, "%s", text);
    free(text);
}

void table_print_settings(const struct run_result *run, FILE *out, unsigned width)
{
    const struct table_style style = {.width = width};
    const struct table table = {.run = run, .out = out, .style = &style};

    for (size_t i = 0; i < run->cases_count; i++) {
        const struct run_case *c = &run->cases[i];
        if (!compare_seen(run, i)) {
            struct compare_group group = compare_group(run, i);
            table_print_params(&table, &group);
            compare_free(&group);
        }
        table_print_ready(&table, c, FACTS_CLIENT);
        table_print_ready(&table, c, FACTS_SERVER);
    }
    fputc('\n', out);
}

void table_print(const struct run_result *run, FILE *out, const struct table_style *style)
{
    struct table table = {.run = run, .out = out, .style = style};
    bool first = true;

    if (!style->provisional)
        table.notes = notes_new(run);
    for (size_t i = 0; i < run->cases_count; i++) {
        if (compare_seen(run, i))
            continue;
        struct compare_group group = compare_group(run, i);
        if (!first && table_any_measured(&group))
            fputc('\n', out);
        first = first && !table_any_measured(&group);
        table_print_group(&table, &group);
        compare_free(&group);
    }
    if (!style->provisional) {
        table_print_sweeps(&table);
        table_print_unmeasured(&table);
        if (table.any_not_observed)
            table_line(&table, TABLE_NOT_OBSERVED " not observed");
        if (table.any_too_few)
            table_line(&table, TABLE_TOO_FEW " fewer than %d samples beyond that percentile",
                       HIST_BEYOND_LEAST);
        notes_print(table.notes, out, style->width);
    }
    notes_free(table.notes);
}
