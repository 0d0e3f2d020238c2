/* See facts.h. */
#include "cli/facts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *facts_side_name(enum facts_side side)
{
    return side == FACTS_CLIENT ? "client" : "server";
}

static const struct run_process *facts_processes(const struct run_trial *trial,
                                                 enum facts_side side, size_t *count)
{
    *count = side == FACTS_CLIENT ? trial->clients_count : trial->servers_count;
    return side == FACTS_CLIENT ? trial->clients : trial->servers;
}

/* Into a sum that is known of all so far (0: it is not, which no process's memory is). */
static void facts_add_memory(uint64_t *sum, uint64_t bytes, bool first)
{
    *sum = bytes > 0 && (first || *sum > 0) ? *sum + bytes : 0;
}

static void facts_most_memory(uint64_t *most, uint64_t bytes, bool first)
{
    if (first || bytes == 0 || (*most > 0 && bytes > *most))
        *most = bytes;
}

struct facts_sums facts_trial_sums(const struct run_trial *trial, enum facts_side side)
{
    struct facts_sums sums = {0};
    size_t count;
    const struct run_process *processes = facts_processes(trial, side, &count);

    sums.observed = count > 0;
    sums.duration_s = trial->duration_s;
    for (size_t i = 0; i < count; i++) {
        const Lab__Record *record = processes[i].record;
        if (record == NULL || record->process == NULL) {
            sums.observed = false;
            continue;
        }
        const Lab__Process *process = record->process;
        sums.cpu_s += (double)process->cpu_ns / 1e9;
        sums.cpu_user_s += (double)process->cpu_user_ns / 1e9;
        sums.cpu_sys_s += (double)process->cpu_sys_ns / 1e9;
        sums.busy_s += (double)process->busy_ns / 1e9;
        sums.spins = sums.spins || process->spins;
        sums.ctx_switches_voluntary += process->ctx_switches_voluntary;
        sums.ctx_switches_involuntary += process->ctx_switches_involuntary;
        facts_add_memory(&sums.rss_bytes_max, process->rss_bytes_max, i == 0);
        facts_add_memory(&sums.vsize_bytes, process->vsize_bytes, i == 0);
    }
    return sums;
}

struct facts_sums facts_case_sums(const struct run_case *c, enum facts_side side)
{
    struct facts_sums all = {0};
    unsigned good = 0, observed = 0;

    for (size_t i = 0; i < c->trials_count; i++) {
        if (c->trials[i].failed)
            continue;
        struct facts_sums one = facts_trial_sums(&c->trials[i], side);
        good++;
        observed += one.observed;
        all.duration_s += one.duration_s;
        all.cpu_s += one.cpu_s;
        all.cpu_user_s += one.cpu_user_s;
        all.cpu_sys_s += one.cpu_sys_s;
        all.busy_s += one.busy_s;
        all.spins = all.spins || one.spins;
        all.ctx_switches_voluntary += one.ctx_switches_voluntary;
        all.ctx_switches_involuntary += one.ctx_switches_involuntary;
        facts_most_memory(&all.rss_bytes_max, one.rss_bytes_max, good == 1);
        facts_most_memory(&all.vsize_bytes, one.vsize_bytes, good == 1);
    }
    all.observed = good > 0 && observed == good;
    return all;
}

bool facts_same_mark(const struct run_verdict *a, const struct run_verdict *b)
{
    static const char number[] = "0123456789.";
    const char *x = a->evidence, *y = b->evidence;

    if (strcmp(a->name, b->name) != 0)
        return false;
    for (; *x != '\0' && *y != '\0'; x++, y++) {
        size_t digits = strspn(x, number), others = strspn(y, number);
        if ((digits > 0) != (others > 0))
            return false;
        x += digits;
        y += others;
        if (*x != *y || *x == '\0')
            break;
    }
    return *x == *y;
}

uint64_t facts_ops(const struct run_case *c)
{
    uint64_t ops = 0;
    for (size_t i = 0; i < c->trials_count; i++)
        if (!c->trials[i].failed)
            ops += c->trials[i].ops;
    return ops;
}

unsigned facts_trials(const struct run_case *c)
{
    unsigned good = 0;
    for (size_t i = 0; i < c->trials_count; i++)
        good += !c->trials[i].failed;
    return good;
}

/* Calls each() with the metric of every process of every good trial. False if one has none. */
static bool facts_each(const struct run_case *c, enum facts_side side, const char *name,
                       bool (*each)(void *context, const Lab__Metric *metric), void *context)
{
    bool any = false;

    for (size_t t = 0; t < c->trials_count; t++) {
        size_t count;
        const struct run_process *processes = facts_processes(&c->trials[t], side, &count);
        if (c->trials[t].failed)
            continue;
        if (count == 0)
            return false;
        for (size_t i = 0; i < count; i++) {
            const Lab__Metric *metric = NULL;
            if (processes[i].record != NULL)
                metric = record_metric(processes[i].record, name);
            if (metric == NULL || !metric->observed || !each(context, metric))
                return false;
            any = true;
        }
    }
    return any;
}

static bool facts_add_value(void *context, const Lab__Metric *metric)
{
    double *sum = context;
    *sum += metric->value;
    return true;
}

double facts_counter(const struct run_case *c, enum facts_side side, const char *metric)
{
    double sum = 0;
    return facts_each(c, side, metric, facts_add_value, &sum) ? sum : NAN;
}

static bool facts_most_value(void *context, const Lab__Metric *metric)
{
    double *most = context;
    *most = metric->value > *most ? metric->value : *most;
    return true;
}

double facts_gauge(const struct run_case *c, enum facts_side side, const char *metric)
{
    double most = 0;
    return facts_each(c, side, metric, facts_most_value, &most) ? most : NAN;
}

static bool facts_add_hist(void *context, const Lab__Metric *metric)
{
    struct hist *into = context, *one = hist_new();
    bool good = one != NULL && hist_decode(one, metric->histogram.data, metric->histogram.len) == 0;
    if (good)
        hist_merge(into, one);
    hist_free(one);
    return good;
}

struct hist *facts_hist(const struct run_case *c, enum facts_side side, const char *metric)
{
    struct hist *merged = hist_new();
    if (merged != NULL && !facts_each(c, side, metric, facts_add_hist, merged)) {
        hist_free(merged);
        return NULL;
    }
    return merged;
}

const char *facts_find(const struct run_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name, name) == 0)
            return list->items[i].value;
    return NULL;
}

const Lab__Ready *facts_ready(const struct run_case *c, enum facts_side side)
{
    for (size_t t = 0; t < c->trials_count; t++) {
        const struct run_trial *trial = &c->trials[t];
        size_t count = side == FACTS_CLIENT ? trial->clients_count : trial->servers_count;
        const struct run_process *processes =
            side == FACTS_CLIENT ? trial->clients : trial->servers;
        if (count > 0 && processes[0].ready != NULL)
            return processes[0].ready;
    }
    return NULL;
}

const char *facts_setting_name(const Lab__Setting *setting)
{
    static const char prefix[] = "engine.";
    bool engine = strncmp(setting->name, prefix, strlen(prefix)) == 0;
    return engine ? setting->name + strlen(prefix) : NULL;
}

bool facts_is_in_vain(const struct run_case *c, const char *param)
{
    return (c->client_worker_each && strcmp(param, "workers") == 0) ||
           (c->server_worker_each && strcmp(param, "server-workers") == 0);
}

const char *facts_param(const struct run_case *c, const struct run_setting *param)
{
    if (facts_is_in_vain(c, param->name))
        return "one a connection";
    return param->value[0] == '\0' ? "default" : param->value;
}
