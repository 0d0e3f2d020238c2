/*
 * See cases.h. What a case is made of comes in layers: [global], its section, the command line;
 * the later one wins, name by name. A name with several values is an axis; the cases are all
 * combinations, engines varying fastest, so that what is compared stands together.
 */
#include "cli/cases.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/draft.h"
#include "cli/specs.h"
#include "client/load.h"
#include "core/clock.h"
#include "core/parse.h"
#include "engines/engine.h"
#include "server/serve.h"

#define CASES_AXES_MAX 64

struct cases_value {
    char *text;
    char context[80]; /* goes before the name in an error */
};

struct cases_axis {
    const char *name; /* of the option's row, however it was written */
    struct cases_value *values;
    size_t count;
    bool bare; /* given without a value: a switch */
};

/* One section's layers, joined. */
struct cases_axes {
    struct cases_axis list[CASES_AXES_MAX];
    size_t count;
};

struct cases_plan {
    const struct args *args;
    const struct job *job;             /* NULL: there is none */
    const struct job_section *section; /* of the job, whose cases are made; or [global] */
    const struct run_options *options;
    struct run_result *result;
    struct lab_error *err;
    struct cases_axes axes;
    bool workload_named;
};

/* --- which table knows a name --- */

void cases_tables(const struct option_def **tables)
{
    unsigned count = 0;

    tables[count++] = case_options;
    tables[count++] = run_options;
    tables[count++] = load_options;
    for (unsigned i = 0; client_workloads[i] != NULL && count < CLI_TABLES_MAX / 2; i++)
        tables[count++] = client_workloads[i]->options;
    tables[count++] = serve_options;
    for (unsigned i = 0; server_workloads[i] != NULL && count + 1 < CLI_TABLES_MAX; i++)
        tables[count++] = server_workloads[i]->options;
    tables[count] = NULL;
}

/* The row of an option that each case has for itself; NULL: it is none. */
static const struct option_def *cases_option(const char *name)
{
    const struct option_def *def = option_find(case_options, name);

    if (def == NULL)
        def = option_find(load_options, name);
    if (def == NULL)
        def = option_find(serve_options, name);
    for (unsigned i = 0; def == NULL && client_workloads[i] != NULL; i++)
        def = option_find(client_workloads[i]->options, name);
    for (unsigned i = 0; def == NULL && server_workloads[i] != NULL; i++)
        def = option_find(server_workloads[i]->options, name);
    return def;
}

static int cases_unknown(const struct job *job, const struct job_pair *pair, struct lab_error *err)
{
    const char *names[256];
    char near[PARSE_MEANT_MAX];
    const struct option_def *tables[CLI_TABLES_MAX];
    size_t count = 0;

    cases_tables(tables);
    for (unsigned t = 0; tables[t] != NULL; t++)
        for (const struct option_def *def = tables[t]; def->name != NULL && count < 255; def++)
            names[count++] = def->name;
    names[count] = NULL;
    lab_fail(err, EINVAL, "%s:%u: unknown option '%s'%s (names are `lab run`'s long options)",
             job->path, pair->line, pair->name, parse_meant(pair->name, names, near));
    return CLI_USAGE;
}

/* --- where it was said --- */

static void cases_context(const struct job *job, unsigned line, char context[80])
{
    snprintf(context, 80, "%.60s:%u: ", job->path, line);
}

static const struct job_pair *cases_pair(const struct job_section *section, const char *name)
{
    const struct option_def *def = cases_option(name), *run = option_find(run_options, name);

    for (size_t i = 0; section != NULL && i < section->count; i++) {
        const char *other = section->pairs[i].name;
        if ((def != NULL && cases_option(other) == def) ||
            (run != NULL && option_find(run_options, other) == run))
            return &section->pairs[i];
    }
    return NULL;
}

/* Of an option that only sections have: where, if that is one place. */
static const struct job_pair *cases_only_pair(const struct job *job, const char *name)
{
    const struct job_pair *only = NULL;

    for (size_t i = 0; i < job->count; i++) {
        const struct job_pair *pair = cases_pair(&job->sections[i], name);
        if (pair != NULL && only != NULL)
            return NULL;
        only = pair != NULL ? pair : only;
    }
    return only;
}

/* The pair of the option whose name an error begins with; NULL: none, or it was typed. */
static const struct job_pair *cases_blamed(const struct args *args, const struct job *job,
                                           const struct job_section *section, const char *text)
{
    char name[64];
    bool typed;

    if (strncmp(text, "--", 2) != 0)
        return NULL;
    size_t size = strspn(text + 2, "abcdefghijklmnopqrstuvwxyz-");
    snprintf(name, sizeof(name), "%.*s", (int)size, text + 2);
    args_value(args, name, &typed);
    if (typed || (strcmp(name, "server") == 0 && args->words_count > 1))
        return NULL;
    const struct job_pair *pair = cases_pair(section, name);
    if (pair == NULL)
        pair = cases_pair(&job->global, name);
    return pair == NULL && section == NULL ? cases_only_pair(job, name) : pair;
}

void cases_blame(const struct args *args, const struct job *job, const struct job_section *section,
                 struct lab_error *err)
{
    const struct lab_error why = *err;
    char context[80];

    if (job == NULL)
        return;
    const struct job_pair *pair = cases_blamed(args, job, section, why.text);
    if (pair != NULL)
        cases_context(job, pair->line, context);
    if (pair != NULL)
        lab_fail(err, EINVAL, "%s%s", context, why.text);
    else if (section != NULL)
        lab_fail(err, EINVAL, "%.60s: [%s]: %s", job->path, section->name, why.text);
}

/* --- options of the whole run --- */

static int cases_job_run_option(const struct args *args, const struct job *job,
                                const struct job_pair *pair, struct run_options *options,
                                struct lab_error *err)
{
    const struct option_def *def = option_find(run_options, pair->name);
    char context[80];
    bool typed;

    if (def == NULL)
        return cases_option(pair->name) != NULL ? CLI_OK : cases_unknown(job, pair, err);
    args_value(args, def->name, &typed);
    if (typed)
        return CLI_OK;
    cases_context(job, pair->line, context);
    if (strcmp(def->name, "job") == 0 || strcmp(def->name, "section") == 0) {
        lab_fail(err, EINVAL, "%s'%s' is for the command line", context, pair->name);
        return CLI_USAGE;
    }
    return draft_option_set(def, options, pair->value, context, err);
}

static int cases_job_section(const struct job *job, const struct job_section *section,
                             struct lab_error *err)
{
    for (size_t i = 0; i < section->count; i++) {
        const struct job_pair *pair = &section->pairs[i];
        if (cases_option(pair->name) != NULL)
            continue;
        if (option_find(run_options, pair->name) == NULL)
            return cases_unknown(job, pair, err);
        lab_fail(err, EINVAL, "%s:%u: '%s' is for the whole run: put it under [global]", job->path,
                 pair->line, pair->name);
        return CLI_USAGE;
    }
    return CLI_OK;
}

/* Engines add up within a layer (-e epoll -e io_uring), of all else the last one counts. */
static const char *const cases_adding[] = {"engine", "server-engine"};
#define CASES_ADDING (sizeof(cases_adding) / sizeof(*cases_adding))

static bool cases_may_repeat(const struct option_def *def)
{
    bool may = def->type == OPTION_CUSTOM;

    for (size_t i = 0; i < CASES_ADDING && !may; i++)
        may = strcmp(def->name, cases_adding[i]) == 0;
    return may;
}

/* A name is in a section once, but for those that the command line takes several times too. */
static int cases_job_once(const struct job *job, const struct job_section *section,
                          struct lab_error *err)
{
    for (size_t i = 0; i < section->count; i++) {
        const struct job_pair *pair = &section->pairs[i];
        const struct option_def *def = cases_option(pair->name);
        const struct job_pair *first = cases_pair(section, pair->name);
        if (def == NULL)
            def = option_find(run_options, pair->name);
        if (def == NULL || first == pair || cases_may_repeat(def))
            continue;
        lab_fail(err, EINVAL, "%s:%u: '%s' is in line %u already: one of the two has to go",
                 job->path, pair->line, pair->name, first->line);
        return CLI_USAGE;
    }
    return CLI_OK;
}

int cases_run_options(const struct args *args, const struct job *job, struct run_options *options,
                      struct lab_error *err)
{
    option_defaults(run_options, options);
    options->seed = UINT64_MAX;
    int r = job == NULL ? CLI_OK : cases_job_once(job, &job->global, err);
    for (size_t i = 0; r == CLI_OK && job != NULL && i < job->count; i++)
        r = cases_job_once(job, &job->sections[i], err);
    if (r != CLI_OK)
        return r;
    for (size_t i = 0; job != NULL && i < job->global.count; i++) {
        r = cases_job_run_option(args, job, &job->global.pairs[i], options, err);
        if (r != CLI_OK)
            return r;
    }
    for (size_t i = 0; job != NULL && i < job->count; i++) {
        r = cases_job_section(job, &job->sections[i], err);
        if (r != CLI_OK)
            return r;
    }
    for (size_t i = 0; i < args->given_count; i++) {
        const struct option_def *def = option_find(run_options, args->given[i].name);
        if (def != NULL && option_set(def, options, args->given[i].value, "--", err) < 0)
            return CLI_USAGE;
    }
    return CLI_OK;
}

/* --- axes --- */

static void *cases_memory(void *memory)
{
    if (memory == NULL)
        abort(); /* small, and before anything runs */
    return memory;
}

static struct cases_axis *cases_axis_find(struct cases_axes *axes, const char *name)
{
    for (size_t i = 0; i < axes->count; i++)
        if (strcmp(axes->list[i].name, name) == 0)
            return &axes->list[i];
    return NULL;
}

static void cases_axis_add(struct cases_axis *axis, const char *from, size_t size,
                           const char *context)
{
    while (size > 0 && isspace((unsigned char)*from))
        from++, size--;
    while (size > 0 && isspace((unsigned char)from[size - 1]))
        size--;
    axis->values = cases_memory(realloc(axis->values, (axis->count + 1) * sizeof(*axis->values)));
    struct cases_value *value = &axis->values[axis->count++];
    value->text = cases_memory(strndup(from, size));
    snprintf(value->context, sizeof(value->context), "%s", context);
}

/* Commas part the values; between engine specs and links only where a new one begins. */
static void cases_axis_split(struct cases_axis *axis, const char *text, const char *context)
{
    bool specs = strcmp(axis->name, "engine") == 0 || strcmp(axis->name, "server-engine") == 0;
    bool links = strcmp(axis->name, "link") == 0;

    for (;;) {
        size_t size = specs ? specs_length(text) : links ? link_length(text) : strcspn(text, ",");
        cases_axis_add(axis, text, size, context);
        if (text[size] == '\0')
            return;
        text += size + 1;
    }
}

static int cases_axis_set(struct cases_plan *plan, const char *name, const char *value,
                          const char *context, bool append)
{
    struct cases_axis *axis = cases_axis_find(&plan->axes, name);

    if (axis == NULL) {
        if (plan->axes.count == CASES_AXES_MAX) {
            lab_fail(plan->err, E2BIG, "%s%s: too many different options", context, name);
            return CLI_USAGE;
        }
        axis = &plan->axes.list[plan->axes.count++];
        *axis = (struct cases_axis){.name = name};
    } else if (!append) {
        for (size_t i = 0; i < axis->count; i++)
            free(axis->values[i].text);
        axis->count = 0;
    }
    axis->bare = value == NULL;
    if (value == NULL)
        cases_axis_add(axis, "", 0, context);
    else
        cases_axis_split(axis, value, context);
    return CLI_OK;
}

static void cases_axes_free(struct cases_axes *axes)
{
    for (size_t i = 0; i < axes->count; i++) {
        for (size_t v = 0; v < axes->list[i].count; v++)
            free(axes->list[i].values[v].text);
        free(axes->list[i].values);
    }
    axes->count = 0;
}

static void cases_axis_drop(struct cases_axes *axes, struct cases_axis *axis)
{
    for (size_t v = 0; v < axis->count; v++)
        free(axis->values[v].text);
    free(axis->values);
    *axis = axes->list[--axes->count];
}

/* Whether the value goes with those that the layer has of that name; added: which it has. */
static bool cases_appends(const char *name, bool added[CASES_ADDING])
{
    for (size_t i = 0; i < CASES_ADDING; i++) {
        if (strcmp(name, cases_adding[i]) == 0) {
            bool again = added[i];
            added[i] = true;
            return again;
        }
    }
    return false;
}

static int cases_axes_job(struct cases_plan *plan, const struct job_section *section)
{
    bool added[CASES_ADDING] = {false};

    for (size_t i = 0; i < section->count; i++) {
        const struct job_pair *pair = &section->pairs[i];
        const struct option_def *def = cases_option(pair->name);
        char context[80];
        if (def == NULL)
            continue;
        cases_context(plan->job, pair->line, context);
        int r =
            cases_axis_set(plan, def->name, pair->value, context, cases_appends(def->name, added));
        if (r != CLI_OK)
            return r;
    }
    return CLI_OK;
}

static int cases_axes_args(struct cases_plan *plan, const struct args *args)
{
    bool added[CASES_ADDING] = {false};

    for (size_t i = 0; i < args->given_count; i++) {
        const char *name = args->given[i].name;
        if (cases_option(name) == NULL)
            continue;
        int r = cases_axis_set(plan, name, args->given[i].value, "--", cases_appends(name, added));
        if (r != CLI_OK)
            return r;
    }
    return CLI_OK;
}

/* WORKLOAD and HOST:PORT are words for --workload and --server. */
static int cases_axes_words(struct cases_plan *plan, const struct args *args)
{
    static const char *const schemes[] = {"tcp://", "echo://", NULL};

    if (args->words_count > 2) {
        lab_fail(plan->err, EINVAL, "'%s' is one word too many: lab run [WORKLOAD [HOST:PORT]]",
                 args->words[2]);
        return CLI_USAGE;
    }
    for (size_t w = 0; w < args->words_count; w++) {
        const char *name = w == 0 ? "workload" : "server", *word = args->words[w];
        bool typed;
        args_value(args, name, &typed);
        if (typed) {
            lab_fail(plan->err, EINVAL, "the word '%s' and --%s say the same: leave one out", word,
                     name);
            return CLI_USAGE;
        }
        for (unsigned i = 0; w == 1 && schemes[i] != NULL; i++)
            if (strncmp(word, schemes[i], strlen(schemes[i])) == 0)
                word += strlen(schemes[i]);
        int r = cases_axis_set(plan, name, word, "", false);
        if (r != CLI_OK)
            return r;
    }
    return CLI_OK;
}

static void cases_axis_to(struct cases_axes *axes, const char *name, size_t place)
{
    struct cases_axis *axis = cases_axis_find(axes, name);
    struct cases_axis moved = *axis;
    size_t from = (size_t)(axis - axes->list);

    for (; from > place; from--)
        axes->list[from] = axes->list[from - 1];
    for (; from < place; from++)
        axes->list[from] = axes->list[from + 1];
    axes->list[place] = moved;
}

/* `--sweep NAME` becomes the option and the values that it stands for. */
static int cases_axes_sweep(struct cases_plan *plan)
{
    struct cases_axis *sweep = cases_axis_find(&plan->axes, "sweep");
    struct cases_axis *workload = cases_axis_find(&plan->axes, "workload");
    const struct client_workload *client;
    char names[160] = "", context[80];

    if (sweep == NULL)
        return CLI_OK;
    client = workload == NULL || workload->count != 1
                 ? NULL
                 : client_workload_find(workload->values[0].text);
    for (unsigned i = 0; client != NULL && client->sweeps != NULL && client->sweeps[i].name != NULL;
         i++) {
        const struct load_sweep *known = &client->sweeps[i];
        snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i == 0 ? "" : ", ",
                 known->name);
        if (sweep->count != 1 || strcmp(known->name, sweep->values[0].text) != 0)
            continue;
        if (cases_axis_find(&plan->axes, known->option) != NULL) {
            lab_fail(plan->err, EINVAL, "%ssweep %s stands for %s: leave one of them out",
                     sweep->values[0].context, known->name, known->option);
            return CLI_USAGE;
        }
        snprintf(context, sizeof(context), "%s", sweep->values[0].context);
        cases_axis_drop(&plan->axes, sweep);
        return cases_axis_set(plan, known->option, known->values, context, false);
    }
    lab_fail(plan->err, EINVAL, "%ssweep: '%s' is no sweep of %s%s%s", sweep->values[0].context,
             sweep->values[0].text, client == NULL ? "all workloads: name one" : client->name,
             names[0] == '\0' ? "" : "; it knows: ", names);
    return CLI_USAGE;
}

/* Every section has a workload and engines: the workload varies slowest, engines fastest. */
static int cases_axes_complete(struct cases_plan *plan)
{
    int r = cases_axes_sweep(plan);

    if (r != CLI_OK)
        return r;
    plan->workload_named = cases_axis_find(&plan->axes, "workload") != NULL;
    if (!plan->workload_named) {
        char names[512] = "";
        for (unsigned i = 0; client_workloads[i] != NULL; i++)
            if (client_workloads[i]->absent == NULL)
                snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
                         names[0] == '\0' ? "" : ",", client_workloads[i]->name);
        r = cases_axis_set(plan, "workload", names, "", false);
    }
    if (r == CLI_OK && cases_axis_find(&plan->axes, "engine") == NULL)
        r = cases_axis_set(plan, "engine", "all", "", false);
    if (r != CLI_OK)
        return r;
    cases_axis_to(&plan->axes, "workload", 0);
    if (cases_axis_find(&plan->axes, "server-engine") != NULL)
        cases_axis_to(&plan->axes, "server-engine", plan->axes.count - 1);
    cases_axis_to(&plan->axes, "engine", plan->axes.count - 1);
    return CLI_OK;
}

/* --- cases --- */

/* The same case twice (a list that says so, sections that the command line made equal) is
 * measured once; one that differs only in its window is told apart by it. */
static bool cases_is_new(struct run_result *result, struct run_case *c)
{
    char value[64];

    for (size_t i = 0; i < result->cases_count; i++) {
        const struct run_case *other = &result->cases[i];
        if (strcmp(other->key, c->key) != 0)
            continue;
        if (other->duration_ns == c->duration_ns && other->warmup_ns == c->warmup_ns)
            return false;
        draft_key_add(&c->key, "duration", format_time_exact(c->duration_ns, value, sizeof(value)));
        draft_key_add(&c->key, "warmup", format_time_exact(c->warmup_ns, value, sizeof(value)));
    }
    return true;
}

static void cases_case_free(struct run_case *c)
{
    struct run_result one = {.cases = cases_memory(malloc(sizeof(*c))), .cases_count = 1};
    one.cases[0] = *c;
    run_result_free(&one);
}

static int cases_add(struct cases_plan *plan, const struct draft *draft, const char *engine,
                     bool named)
{
    struct run_result *result = plan->result;
    struct run_case c = {.of_all = !named};

    int r = draft_case(draft, engine, &c, plan->err);
    if (r == CLI_OK && c.status != RUN_RAN && named && !plan->options->skip_unavailable) {
        lab_fail(plan->err, ENOSYS, "%s cannot run here: %s", c.label, c.reason);
        r = CLI_UNAVAILABLE;
    }
    if (r == CLI_OK && cases_is_new(result, &c)) {
        if (result->cases_count == CASES_MAX) {
            lab_fail(plan->err, E2BIG, "more than %d cases: make the lists shorter", CASES_MAX);
            r = CLI_USAGE;
        } else {
            result->cases = cases_memory(
                realloc(result->cases, (result->cases_count + 1) * sizeof(*result->cases)));
            result->cases[result->cases_count++] = c;
            return CLI_OK;
        }
    }
    cases_case_free(&c);
    return r;
}

static int cases_add_all(struct cases_plan *plan, const struct draft *draft)
{
    for (unsigned i = 0; engine_registry[i] != NULL; i++) {
        if (engine_registry[i]->flags & ENGINE_FOR_TESTS)
            continue;
        int r = cases_add(plan, draft, engine_registry[i]->name, false);
        if (r != CLI_OK)
            return r;
    }
    return CLI_OK;
}

/* With all workloads, an option is for those that know it; with one that was named, it is a
 * mistake. */
static int cases_set(struct cases_plan *plan, struct draft *draft, const struct cases_axis *axis,
                     const struct cases_value *value)
{
    bool known;

    int r = draft_set(draft, axis->name, axis->bare ? NULL : value->text, value->context, &known,
                      plan->err);
    if (r == CLI_OK && !known && plan->workload_named) {
        lab_fail(plan->err, EINVAL, "%s%s is not an option of %s: leave it out", value->context,
                 axis->name, draft->client->name);
        r = CLI_USAGE;
    }
    return r;
}

/* What the server alone can tell of its options; on another host only there. */
static int cases_check_server(const struct cases_plan *plan, const struct draft *draft)
{
    if (draft->server->check == NULL || draft->options.server[0] != '\0' ||
        plan->options->server_via[0] != '\0')
        return CLI_OK;
    return draft->server->check(draft->server_options, plan->err) < 0 ? CLI_USAGE : CLI_OK;
}

/* One combination of values of all axes. */
static int cases_combination(struct cases_plan *plan, const size_t *at)
{
    const struct cases_axes *axes = &plan->axes;
    const struct cases_value *workload = &axes->list[0].values[at[0]];
    const char *engine = axes->list[axes->count - 1].values[at[axes->count - 1]].text;
    struct draft draft;

    int r = draft_begin(&draft, workload->text, workload->context, plan->err);
    if (r != CLI_OK)
        return r;
    draft.client_elsewhere = plan->options->client_via.count > 0;
    draft.server_elsewhere = plan->options->server_via[0] != '\0';
    for (size_t i = 0; i < axes->count && r == CLI_OK; i++)
        r = cases_set(plan, &draft, &axes->list[i], &axes->list[i].values[at[i]]);
    if (r == CLI_OK) {
        r = draft_check(&draft, plan->err);
        if (r == CLI_OK)
            r = cases_check_server(plan, &draft);
        if (r == CLI_OK)
            r = strcmp(engine, "all") == 0 ? cases_add_all(plan, &draft)
                                           : cases_add(plan, &draft, engine, true);
        if (r != CLI_OK) /* what options ask together has no line of its own */
            cases_blame(plan->args, plan->job, plan->section, plan->err);
    }
    draft_free(&draft);
    return r;
}

static int cases_section(struct cases_plan *plan)
{
    size_t at[CASES_AXES_MAX] = {0};
    uint64_t combinations = 1;

    for (size_t i = 0; i < plan->axes.count; i++) {
        combinations *= plan->axes.list[i].count;
        if (combinations > CASES_MAX) {
            lab_fail(plan->err, E2BIG, "more than %d cases: make the lists shorter", CASES_MAX);
            return CLI_USAGE;
        }
    }
    for (uint64_t n = 0; n < combinations; n++) {
        int r = cases_combination(plan, at);
        if (r != CLI_OK)
            return r;
        for (size_t i = plan->axes.count; i-- > 0;) {
            if (++at[i] < plan->axes.list[i].count)
                break;
            at[i] = 0;
        }
    }
    return CLI_OK;
}

static int cases_none(struct cases_plan *plan)
{
    const struct run_result *result = plan->result;

    for (size_t i = 0; i < result->cases_count; i++)
        if (result->cases[i].status == RUN_RAN)
            return CLI_OK;
    if (result->cases_count == 0)
        lab_fail(plan->err, ENOENT, "there is nothing to run");
    else
        lab_fail(plan->err, ENOSYS, "no engine can run here; %s: %s", result->cases[0].label,
                 result->cases[0].reason);
    return CLI_UNAVAILABLE;
}

static bool cases_section_wanted(const struct run_options *options,
                                 const struct job_section *section)
{
    bool wanted = options->sections.count == 0;
    for (size_t i = 0; i < options->sections.count && !wanted; i++)
        wanted = strcmp(options->sections.items[i].name, section->name) == 0;
    return wanted;
}

/* Every --section is one of the file's. */
static int cases_sections_check(const struct job *job, const struct run_options *options,
                                struct lab_error *err)
{
    const char *names[JOB_SECTIONS_MAX + 1];
    char near[PARSE_MEANT_MAX];

    if (job == NULL && options->sections.count > 0) {
        lab_fail(err, EINVAL, "--section is one of a job file's: add --job FILE");
        return CLI_USAGE;
    }
    for (size_t s = 0; s < options->sections.count; s++) {
        const char *wanted = options->sections.items[s].name;
        size_t count = 0;
        bool found = false;
        for (; count < job->count; count++) {
            names[count] = job->sections[count].name;
            found = found || strcmp(names[count], wanted) == 0;
        }
        names[count] = NULL;
        if (found)
            continue;
        lab_fail(err, EINVAL, "--section: %s has no section '%s'%s", job->path, wanted,
                 parse_meant(wanted, names, near));
        return CLI_USAGE;
    }
    return CLI_OK;
}

int cases_plan(const struct args *args, const struct job *job, const struct run_options *options,
               struct run_result *result, struct lab_error *err)
{
    struct cases_plan plan = {
        .args = args, .job = job, .options = options, .result = result, .err = err};
    size_t sections = job == NULL || job->count == 0 ? 1 : job->count;
    int r = cases_sections_check(job, options, err);

    for (size_t i = 0; i < sections && r == CLI_OK; i++) {
        if (job != NULL && job->count > 0 && !cases_section_wanted(options, &job->sections[i]))
            continue;
        if (job != NULL) {
            plan.section = job->count > 0 ? &job->sections[i] : &job->global;
            r = cases_axes_job(&plan, &job->global);
        }
        if (r == CLI_OK && job != NULL && job->count > 0)
            r = cases_axes_job(&plan, plan.section);
        if (r == CLI_OK)
            r = cases_axes_args(&plan, args);
        if (r == CLI_OK)
            r = cases_axes_words(&plan, args);
        if (r == CLI_OK)
            r = cases_axes_complete(&plan);
        if (r == CLI_OK)
            r = cases_section(&plan);
        cases_axes_free(&plan.axes);
    }
    return r == CLI_OK ? cases_none(&plan) : r;
}
