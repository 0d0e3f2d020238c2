/* See fake_run.h. */
#include "fake_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"
#include "cli/table.h"

struct run_result fake_run(void)
{
    struct run_result run = {.rounds_done = 6, .complete = true};

    run.settings.rounds = 6;
    run.settings.seed = 42;
    run.settings.pin = true;
    run.settings.server_cpus = strdup("0");
    run.settings.client_cpus = strdup("1");
    run.env.cores = 2;
    strcpy(run.env.fingerprint, "7f3a91c2aabbccdd");
    run_list_add(&run.env.facts, "kernel", "Linux 6.18");
    run_list_add(&run.env.facts, "swap", "");
    strcpy(run.started_at, "2026-01-02T03:04:05Z");
    strcpy(run.id, "00000000-0000-4000-8000-000000000000");
    run_list_add(&run.argv, "", "lab");
    run_list_add(&run.argv, "", "run");
    return run;
}

void fake_param(struct run_case *c, const char *name, const char *value)
{
    for (size_t i = 0; i < c->params.count; i++) {
        if (strcmp(c->params.items[i].name, name) == 0) {
            free(c->params.items[i].value);
            c->params.items[i].value = strdup(value);
            return;
        }
    }
    run_list_add(&c->params, name, value);
}

struct run_case *fake_case(struct run_result *run, const char *engine, const char *link)
{
    run->cases = realloc(run->cases, (run->cases_count + 1) * sizeof(*run->cases));
    struct run_case *c = &run->cases[run->cases_count++];
    *c = (struct run_case){.vs_reference = NAN};
    c->vs_reference_interval = (struct interval){NAN, NAN, NAN, 0};
    if (asprintf(&c->key, "echo;engine=%s;server=%s;link=%s", engine, engine, link) < 0)
        abort();
    c->label = strdup(engine);
    c->workload = strdup("echo");
    c->client_spec = strdup(engine);
    c->server_spec = strdup(engine);
    c->link = strdup(link);
    c->listen = strdup("127.0.0.1:0");
    c->client_args = calloc(1, sizeof(char *));
    c->server_args = calloc(1, sizeof(char *));
    c->duration_ns = 500000000;
    c->warmup_ns = 100000000;
    strcpy(c->wait, strstr(engine, "spin") != NULL ? "spin" : "sleep");
    fake_param(c, "connections", "32");
    fake_param(c, "depth", "1");
    fake_param(c, "rate", "0");
    fake_param(c, "arrival", "constant");
    fake_param(c, "reconnect", "no");
    fake_param(c, "size", "64");
    fake_param(c, "one-way", "no");
    fake_param(c, "write-size", "64KiB");
    fake_param(c, "cc", "");
    fake_param(c, "duration", "500ms");
    return c;
}

static void fake_process(struct run_process *process, const char *side, const struct hist *h)
{
    static const struct metric_def calls = {
        "system_calls", "", METRIC_COUNTER, METRIC_LESS, "", "engine", "system calls"};
    static const struct metric_def connects = {
        "connect_ns", "ns", METRIC_HISTOGRAM, METRIC_LESS, "client", "client", "connect"};
    static const struct metric_def first = {
        "first_byte_ns", "ns", METRIC_HISTOGRAM, METRIC_LESS, "client", "client", "first byte"};

    process->ready = calloc(1, sizeof(*process->ready));
    lab__ready__init(process->ready);
    record_add_setting(process->ready, "engine.spin", "off");
    record_add_capability(process->ready, "file segments", "native", "");
    process->record = calloc(1, sizeof(*process->record));
    lab__record__init(process->record);
    process->record->side = record_text(side);
    process->record->process = calloc(1, sizeof(*process->record->process));
    lab__process__init(process->record->process);
    process->record->process->cpus = record_text("1");
    process->record->process->cpu_ns = 100000000;
    process->record->process->rss_bytes_max = 5 << 20;
    process->record->process->ctx_switches_voluntary = 10000;
    record_add_value(process->record, &calls, 20400);
    record_add_histogram(process->record, &connects, h);
    record_add_unobserved(process->record, &first, "nobody looked");
}

struct run_trial *fake_trial(struct run_case *c, double ops_per_s)
{
    c->trials = realloc(c->trials, (c->trials_count + 1) * sizeof(*c->trials));
    struct run_trial *trial = &c->trials[c->trials_count];
    *trial = (struct run_trial){.seq = (unsigned)c->trials_count,
                                .round = (unsigned)c->trials_count,
                                .duration_s = 0.5,
                                .warmup_s = 0.1,
                                .ops = 10000,
                                .bytes = 640000,
                                .ops_per_s = ops_per_s,
                                .bytes_per_s = 64 * ops_per_s,
                                .cpu_ns_per_op = 20000};
    c->trials_count++;
    strcpy(trial->started_at, "2026-01-02T03:04:05Z");
    trial->latency = hist_new();
    for (unsigned i = 0; i < 10000; i++)
        hist_record(trial->latency, 100000 + 10 * i);
    trial->clients = calloc(1, sizeof(*trial->clients));
    trial->clients_count = 1;
    fake_process(trial->clients, "client", trial->latency);
    trial->servers = calloc(1, sizeof(*trial->servers));
    trial->servers_count = 1;
    fake_process(trial->servers, "server", trial->latency);
    return trial;
}

void fake_measured(struct run_case *c, double ops_per_s)
{
    for (unsigned i = 0; i < 6; i++)
        fake_trial(c, ops_per_s * (1 + 0.002 * i));
}

char *fake_table(struct run_result *run, unsigned width)
{
    const struct table_style style = {.width = width};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    run_summarise(run);
    table_print_host(run, out, width);
    table_print(run, out, &style);
    fclose(out);
    return text;
}

char *fake_json(struct run_result *run, bool compact)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    run_summarise(run);
    if (json_write(run, compact, out) < 0)
        abort();
    fclose(out);
    return text;
}
