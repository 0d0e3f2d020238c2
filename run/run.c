/* See run.h: the small parts of a run's result. */
#include "run/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/link.h"

void run_list_add(struct run_list *list, const char *name, const char *value)
{
    struct run_setting *grown = realloc(list->items, (list->count + 1) * sizeof(*grown));
    if (grown == NULL)
        abort();
    list->items = grown;
    grown[list->count].name = strdup(name);
    grown[list->count].value = strdup(value);
    if (grown[list->count].name == NULL || grown[list->count].value == NULL)
        abort();
    list->count++;
}

void run_list_free(struct run_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].name);
        free(list->items[i].value);
    }
    free(list->items);
    *list = (struct run_list){0};
}

void run_args_add(char ***args, const char *name, const char *value)
{
    size_t count = 0;

    while (*args != NULL && (*args)[count] != NULL)
        count++;
    char **grown = realloc(*args, (count + 2) * sizeof(*grown));
    if (grown == NULL || asprintf(&grown[count], "--%s=%s", name, value) < 0)
        abort();
    grown[count + 1] = NULL;
    *args = grown;
}

const char *run_status_name(enum run_status status)
{
    static const char *const names[] = {"ran", "cannot-run", "not-built", "failed", "interrupted"};
    return names[status];
}

bool run_ends_apart(const struct run_settings *settings, const struct run_case *c)
{
    const struct link_kind *kind = link_kind_of(c->link);

    if (c->both_sides || (kind != NULL && kind->one_host))
        return false;
    return c->server_address != NULL || settings->server_via != NULL ||
           settings->client_via != NULL;
}

static void process_free(struct run_process *processes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (processes[i].ready != NULL)
            lab__ready__free_unpacked(processes[i].ready, NULL);
        if (processes[i].record != NULL)
            lab__record__free_unpacked(processes[i].record, NULL);
        free(processes[i].note);
        free(processes[i].said);
    }
    free(processes);
}

void run_trial_free(struct run_trial *trial)
{
    run_list_free(&trial->errors_by_kind);
    run_list_free(&trial->errors_examples);
    run_list_free(&trial->link_settings);
    hist_free(trial->latency);
    hist_free(trial->latency_from_send);
    hist_free(trial->slip);
    process_free(trial->clients, trial->clients_count);
    process_free(trial->servers, trial->servers_count);
    free(trial->slices);
}

static void words_free(char **words)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++)
        free(words[i]);
    free(words);
}

static void case_free(struct run_case *c)
{
    free(c->key);
    free(c->label);
    free(c->workload);
    free(c->client_spec);
    free(c->server_spec);
    free(c->server_address);
    free(c->link);
    free(c->link_spec);
    free(c->listen);
    run_list_free(&c->params);
    words_free(c->client_args);
    words_free(c->server_args);
    for (size_t i = 0; i < c->trials_count; i++)
        run_trial_free(&c->trials[i]);
    free(c->trials);
    hist_free(c->latency);
}

void run_result_free(struct run_result *result)
{
    for (size_t i = 0; i < result->cases_count; i++)
        case_free(&result->cases[i]);
    free(result->cases);
    free(result->settings.lab_path);
    free(result->settings.client_cpus);
    free(result->settings.server_cpus);
    free(result->settings.server_via);
    words_free(result->settings.client_via);
    free(result->settings.reference_spec);
    run_list_free(&result->settings.labels);
    run_list_free(&result->env.facts);
    run_list_free(&result->argv);
    memset(result, 0, sizeof(*result));
}
