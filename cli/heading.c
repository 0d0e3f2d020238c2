/* See heading.h. */
#include "cli/heading.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/facts.h"
#include "cli/run_options.h"
#include "client/load.h"
#include "server/serve.h"

struct heading {
    char *out;
    size_t room, used;
};

__attribute__((format(printf, 2, 3))) static void heading_add(struct heading *h, const char *format,
                                                              ...)
{
    va_list arguments;

    if (h->used >= h->room)
        return;
    if (h->used > 0)
        h->used += (size_t)snprintf(h->out + h->used, h->room - h->used, ", ");
    if (h->used >= h->room)
        return;
    va_start(arguments, format);
    h->used += (size_t)vsnprintf(h->out + h->used, h->room - h->used, format, arguments);
    va_end(arguments);
}

bool heading_is_set(const struct run_case *c, const char *switch_name)
{
    const char *value = facts_find(&c->params, switch_name);
    return value != NULL && strcmp(value, "yes") == 0;
}

/* Whether value is what the option has anyway; unknown options count as default. */
static bool heading_is_default(const struct option_def *def, const char *value)
{
    char formatted[OPTION_TEXT_MAX + 16];

    if (def->type == OPTION_CUSTOM)
        return true;
    char *scratch = calloc(1, def->offset + OPTION_TEXT_MAX);
    if (scratch == NULL)
        abort();
    const struct option_def table[2] = {*def, {0}};
    option_defaults(table, scratch);
    option_format(def, scratch, formatted, sizeof(formatted));
    free(scratch);
    return strcmp(formatted, value) == 0;
}

const struct option_def *heading_option(const struct run_case *c, const char *name)
{
    const struct client_workload *client = client_workload_find(c->workload);
    const struct server_workload *server = server_workload_find(c->workload);
    const struct option_def *def = option_find(load_options, name);

    if (def == NULL && client != NULL)
        def = option_find(client->options, name);
    if (def == NULL)
        def = option_find(serve_options, name);
    if (def == NULL && server != NULL)
        def = option_find(server->options, name);
    if (def == NULL)
        def = option_find(case_options, name);
    return def;
}

static void heading_load(struct heading *h, const struct run_case *c)
{
    const char *connections = facts_find(&c->params, "connections");
    const char *depth = facts_find(&c->params, "depth");
    const char *rate = facts_find(&c->params, "rate");
    const char *arrival = facts_find(&c->params, "arrival");

    if (connections != NULL)
        heading_add(h, "%s connection%s", connections, strcmp(connections, "1") == 0 ? "" : "s");
    if (depth != NULL)
        heading_add(h, "depth %s", depth);
    /* Without a rate it is what the table's rows differ in. */
    if (rate != NULL && c->asked_ops_per_s > 0)
        heading_add(h, "open loop of %s ops/s (%s)", rate, arrival == NULL ? "?" : arrival);
    else if (rate != NULL)
        heading_add(h, "closed loop");
    else if (arrival != NULL)
        heading_add(h, "arrival %s", arrival);
    if (heading_is_set(c, "reconnect"))
        heading_add(h, "a connection an op");
    else
        heading_add(h, "kept connections");
}

/* What a workload wants its heading to say in any case; its format is a constant of its table. */
static void heading_say(struct heading *h, const struct load_headline *line,
                        const struct run_case *c)
{
    const char *value = facts_find(&c->params, line->option), *gap = strstr(line->format, "%s");
    const char *with = line->with != NULL ? facts_find(&c->params, line->with) : NULL;

    if (line->with != NULL && (with == NULL || strcmp(with, line->is) != 0))
        return;
    if (value != NULL && gap != NULL)
        heading_add(h, "%.*s%s%s", (int)(gap - line->format), line->format, value, gap + 2);
}

bool heading_same_window(const struct run_result *run)
{
    const struct run_case *first = NULL;

    for (size_t i = 0; i < run->cases_count; i++) {
        const struct run_case *c = &run->cases[i];
        if (c->trials_count == 0)
            continue;
        first = first == NULL ? c : first;
        if (c->duration_ns != first->duration_ns || c->warmup_ns != first->warmup_ns ||
            c->asked_ops != first->asked_ops)
            return false;
    }
    return true;
}

/* Said once for all cases unless they differ; so many ops are said as any other parameter. */
static void heading_window(struct heading *h, const struct run_result *run,
                           const struct run_case *c)
{
    const char *duration = facts_find(&c->params, "duration");
    const char *warmup = facts_find(&c->params, "warmup");

    if (c->asked_ops > 0 || heading_same_window(run))
        return;
    if (duration != NULL)
        heading_add(h, "duration %s", duration);
    if (warmup != NULL)
        heading_add(h, "warmup %s", warmup);
}

const char *heading_format(const struct run_result *run, const struct run_case *c, char *out,
                           size_t out_size)
{
    static const char *const said[] = {"size",   "one-way", "connections", "depth",
                                       "rate",   "arrival", "reconnect",   "duration",
                                       "warmup", "cc",      NULL};
    struct heading h = {.out = out, .room = out_size};
    bool one_way = heading_is_set(c, "one-way");
    const char *size = facts_find(&c->params, one_way ? "write-size" : "size");
    const char *cc = facts_find(&c->params, "cc");

    out[0] = '\0';
    if (size != NULL) {
        bool bare = size[strspn(size, "0123456789")] == '\0';
        heading_add(&h, "%s%s%s", size, bare ? " B" : "", one_way ? " writes one way" : "");
    }
    const struct client_workload *workload = client_workload_find(c->workload);
    const struct load_headline *line = workload == NULL ? NULL : workload->headline;
    for (const struct load_headline *at = line; at != NULL && at->option != NULL; at++)
        heading_say(&h, at, c);
    heading_load(&h, c);
    for (size_t i = 0; i < c->params.count; i++) {
        const struct run_setting *param = &c->params.items[i];
        const struct option_def *def = heading_option(c, param->name);
        bool known = false;
        for (unsigned k = 0; said[k] != NULL && !known; k++)
            known = strcmp(said[k], param->name) == 0;
        known |= one_way && strcmp(param->name, "write-size") == 0;
        for (const struct load_headline *at = line; at != NULL && at->option != NULL; at++)
            known |= strcmp(at->option, param->name) == 0;
        if (!known && def != NULL && !heading_is_default(def, param->value))
            heading_add(&h, "%s %s", param->name, facts_param(c, param));
    }
    heading_window(&h, run, c);
    if (cc != NULL && cc[0] != '\0')
        heading_add(&h, "%s", cc);
    if (c->server_address != NULL)
        heading_add(&h, "server %s", c->server_address);
    return out;
}

static bool heading_same_but_for_params(const struct run_case *a, const struct run_case *b)
{
    if (strcmp(a->workload, b->workload) != 0 || a->params.count != b->params.count)
        return false;
    return (a->server_address == NULL) == (b->server_address == NULL) &&
           (a->server_address == NULL || strcmp(a->server_address, b->server_address) == 0);
}

/* In how many parameters the two differ, whose lists are of the same length: 0, 1, or 2 for more;
 * and the name of the last one. */
static unsigned heading_differences(const struct run_case *a, const struct run_case *b,
                                    const char **name)
{
    unsigned count = 0;

    for (size_t i = 0; i < a->params.count && count < 2; i++) {
        const struct run_setting *mine = &a->params.items[i], *other = &b->params.items[i];
        if (strcmp(mine->name, other->name) == 0 && strcmp(mine->value, other->value) == 0)
            continue;
        *name = strcmp(mine->name, other->name) == 0 ? mine->name : NULL;
        count++;
    }
    return count;
}

const char *heading_difference(const struct run_case *a, const struct run_case *b)
{
    const char *name = NULL;

    return heading_same_but_for_params(a, b) && heading_differences(a, b, &name) == 1 ? name : NULL;
}
