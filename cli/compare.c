/* See compare.h. */
#include "cli/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/facts.h"
#include "cli/heading.h"
#include "cli/notes.h"
#include "core/parse.h"

#define COMPARE_LINES_MAX 12

bool compare_measured(const struct run_case *c)
{
    return facts_trials(c) > 0;
}

bool compare_seen(const struct run_result *run, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (run_same_question(&run->cases[i], &run->cases[index]))
            return true;
    return false;
}

static const struct run_case *compare_reference(const struct compare_group *group)
{
    for (size_t i = 0; i < group->count; i++)
        if (compare_measured(group->cases[i]) && group->cases[i]->is_reference)
            return group->cases[i];
    return NULL;
}

struct compare_group compare_group(const struct run_result *run, size_t first)
{
    struct compare_group group = {.cases = calloc(run->cases_count, sizeof(*group.cases))};

    if (group.cases == NULL)
        abort();
    for (size_t i = first; i < run->cases_count; i++)
        if (run_same_question(&run->cases[first], &run->cases[i]))
            group.cases[group.count++] = &run->cases[i];
    group.reference = compare_reference(&group);
    return group;
}

void compare_free(struct compare_group *group)
{
    free(group->cases);
    *group = (struct compare_group){0};
}

static bool compare_ranked_together(const struct run_case *a, const struct run_case *b)
{
    return strcmp(a->link, b->link) == 0 && strcmp(a->wait, b->wait) == 0;
}

bool compare_is_best(const struct compare_group *group, const struct run_case *c)
{
    unsigned others = 0;

    if (!compare_measured(c) || c->ops_per_s.confidence == 0 || c->asked_ops_per_s > 0)
        return false;
    for (size_t i = 0; i < group->count; i++) {
        const struct run_case *other = group->cases[i];
        if (other == c || !compare_measured(other) || !compare_ranked_together(c, other))
            continue;
        if (other->ops_per_s.confidence == 0 || other->ops_per_s.high >= c->ops_per_s.low)
            return false;
        others++;
    }
    return others > 0;
}

/* System calls of both sides an op; NAN if a side's are not known. */
static double compare_calls(const struct run_case *c)
{
    double client = facts_counter(c, FACTS_CLIENT, "system_calls");
    double server = c->both_sides ? 0 : facts_counter(c, FACTS_SERVER, "system_calls");
    uint64_t ops = facts_ops(c);
    return ops == 0 ? NAN : (client + server) / (double)ops;
}

/* "4.20 fewer system calls and 6.3us less CPU an op", as far as it is known and worth a word. */
static void compare_costs(const struct run_case *c, const struct run_case *reference, char *text,
                          size_t size)
{
    double calls = compare_calls(c) - compare_calls(reference);
    double cpu_ns = c->cpu_ns_per_op.median - reference->cpu_ns_per_op.median;
    char calls_text[64] = "", cpu_text[64] = "", time[32];

    if (isfinite(calls) && fabs(calls) >= 0.01)
        snprintf(calls_text, sizeof(calls_text), "%.2f %s system calls", fabs(calls),
                 calls < 0 ? "fewer" : "more");
    if (isfinite(cpu_ns) && fabs(cpu_ns) >= 1)
        snprintf(cpu_text, sizeof(cpu_text), "%s %s CPU",
                 format_time((uint64_t)fabs(cpu_ns), time, sizeof(time)),
                 cpu_ns < 0 ? "less" : "more");
    bool both = calls_text[0] != '\0' && cpu_text[0] != '\0';
    bool any = calls_text[0] != '\0' || cpu_text[0] != '\0';
    snprintf(text, size, "%s%s%s%s", calls_text, both ? " and " : "", cpu_text,
             any ? " an op" : "");
}

/* How the throughput compares; "" where it says nothing. */
static void compare_rate(const struct run_case *c, char *text, size_t size)
{
    const struct interval *ratio = &c->vs_reference_interval;
    const char *what = heading_is_set(c, "one-way") ? "bytes/s" : "ops/s";

    text[0] = '\0';
    if (!isfinite(c->vs_reference) || c->asked_ops_per_s > 0)
        return;
    if (ratio->confidence > 0 && ratio->low <= 1 && ratio->high >= 1)
        snprintf(text, size, "%s: cannot tell (%.2fx to %.2fx)", what, ratio->low, ratio->high);
    else if (facts_trials(c) < 2)
        snprintf(text, size, "%.2fx the %s (one trial: cannot be sure)", c->vs_reference, what);
    else
        snprintf(text, size, "%.2fx the %s (%.2fx to %.2fx%s)", c->vs_reference, what, ratio->low,
                 ratio->high, ratio->confidence > 0 ? "" : "; too few trials to be sure");
}

/* Why the two are not ranked together, or "". */
static const char *compare_apart(const struct run_case *c, const struct run_case *reference)
{
    if (strcmp(c->link, reference->link) != 0)
        return "; another link: ranked apart";
    if (strcmp(c->wait, reference->wait) == 0)
        return "";
    return strcmp(c->wait, "spin") == 0 ? "; it spins: ranked apart"
                                        : "; it does not spin: ranked apart";
}

/* The label, with the link where that differs too. */
static const char *compare_name(const struct run_case *c, const struct run_case *beside, char *out,
                                size_t out_size)
{
    if (strcmp(c->link, beside->link) == 0)
        return c->label;
    snprintf(out, out_size, "%s over %s", c->label, c->link);
    return out;
}

static void compare_line(const struct compare_group *group, const struct run_case *c, FILE *out,
                         unsigned width)
{
    char rate[160], costs[160], line[1200], names[2][300];

    compare_rate(c, rate, sizeof(rate));
    compare_costs(c, group->reference, costs, sizeof(costs));
    if (rate[0] == '\0' && costs[0] == '\0')
        return;
    snprintf(line, sizeof(line), "%s against %s: %s%s%s%s",
             compare_name(c, group->reference, names[0], sizeof(names[0])),
             compare_name(group->reference, c, names[1], sizeof(names[1])), rate,
             rate[0] != '\0' && costs[0] != '\0' ? ", " : "", costs,
             compare_apart(c, group->reference));
    notes_wrap(out, line, 4, width);
}

void compare_print(const struct compare_group *group, FILE *out, unsigned width)
{
    unsigned lines = 0;

    for (size_t i = 0; i < group->count && group->reference != NULL; i++) {
        const struct run_case *c = group->cases[i];
        if (c == group->reference || !compare_measured(c) || lines++ >= COMPARE_LINES_MAX)
            continue;
        compare_line(group, c, out, width);
    }
}
