/*
 * What the trials of a case come to: medians with intervals, merged histograms, and the ratio to
 * the reference, paired by round, so that the machine's drift cancels.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/run.h"

static double trial_ops(const struct run_trial *t)
{
    return t->ops_per_s;
}

static double trial_bytes(const struct run_trial *t)
{
    return t->bytes_per_s;
}

static double trial_cpu(const struct run_trial *t)
{
    return t->cpu_ns_per_op;
}

static struct interval case_interval(const struct run_case *c,
                                     double (*value)(const struct run_trial *))
{
    double values[STATS_VALUES_MAX];
    size_t count = 0;

    for (size_t i = 0; i < c->trials_count && count < STATS_VALUES_MAX; i++)
        if (!c->trials[i].failed && !isnan(value(&c->trials[i])))
            values[count++] = value(&c->trials[i]);
    return stats_interval(values, count, 0.95);
}

static void case_summarise(struct run_case *c)
{
    c->valid = 0;
    c->ops_per_s = case_interval(c, trial_ops);
    c->bytes_per_s = case_interval(c, trial_bytes);
    c->cpu_ns_per_op = case_interval(c, trial_cpu);
    if (c->latency == NULL)
        c->latency = hist_new();
    if (c->latency == NULL)
        abort();
    hist_reset(c->latency);
    for (size_t i = 0; i < c->trials_count; i++) {
        const struct run_trial *trial = &c->trials[i];
        if (trial->failed)
            continue;
        c->valid += trial->verdicts_count == 0;
        if (trial->latency != NULL)
            hist_merge(c->latency, trial->latency);
    }
}

static bool text_equal(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool run_same_question(const struct run_case *a, const struct run_case *b)
{
    if (!text_equal(a->workload, b->workload) ||
        !text_equal(a->server_address, b->server_address) || a->params.count != b->params.count)
        return false;
    for (size_t i = 0; i < a->params.count; i++)
        if (strcmp(a->params.items[i].name, b->params.items[i].name) != 0 ||
            strcmp(a->params.items[i].value, b->params.items[i].value) != 0)
            return false;
    return true;
}

static bool is_engine(const struct run_case *c, const char *name)
{
    size_t size = strlen(name);
    return strncmp(c->client_spec, name, size) == 0 && c->client_spec[size] == '\0';
}

static bool has_figures(const struct run_case *c)
{
    for (size_t i = 0; i < c->trials_count; i++)
        if (!c->trials[i].failed)
            return true;
    return false;
}

/* Asked for by --reference; else epoll, which everybody knows; else the first that ran. */
static const struct run_case *find_reference(const struct run_result *result,
                                             const struct run_case *of)
{
    const struct run_case *first = NULL, *epoll = NULL;

    for (size_t i = 0; i < result->cases_count; i++) {
        const struct run_case *c = &result->cases[i];
        if (!has_figures(c) || !run_same_question(c, of))
            continue;
        if (result->settings.reference_spec != NULL &&
            is_engine(c, result->settings.reference_spec))
            return c;
        if (first == NULL)
            first = c;
        if (epoll == NULL && is_engine(c, "epoll"))
            epoll = c;
    }
    return epoll != NULL ? epoll : first;
}

static const struct run_trial *trial_of_round(const struct run_case *c, unsigned round)
{
    for (size_t i = 0; i < c->trials_count; i++)
        if (c->trials[i].round == round && !c->trials[i].failed)
            return &c->trials[i];
    return NULL;
}

static void case_compare(struct run_result *result, struct run_case *c)
{
    const struct run_case *reference = find_reference(result, c);
    double ratios[STATS_VALUES_MAX];
    size_t count = 0;

    c->is_reference = reference == c;
    c->vs_reference = NAN;
    c->vs_reference_interval = (struct interval){NAN, NAN, NAN, 0};
    if (reference == NULL)
        return;
    for (size_t i = 0; i < c->trials_count && count < STATS_VALUES_MAX; i++) {
        const struct run_trial *other = trial_of_round(reference, c->trials[i].round);
        if (!c->trials[i].failed && other != NULL && other->ops_per_s > 0)
            ratios[count++] = c->trials[i].ops_per_s / other->ops_per_s;
    }
    c->vs_reference = stats_median(ratios, count);
    c->vs_reference_interval = stats_interval(ratios, count, 0.95);
}

void run_summarise(struct run_result *result)
{
    for (size_t i = 0; i < result->cases_count; i++)
        case_summarise(&result->cases[i]);
    for (size_t i = 0; i < result->cases_count; i++)
        case_compare(result, &result->cases[i]);
}
