/* See fake_trial.h. */
#include "fake_trial.h"

#include <stdlib.h>
#include <string.h>

#include "core/clock.h"

#define WINDOW_NS (NS_PER_S / 2)

static void process_make(struct run_process *process, const char *side, const char *cpus)
{
    process->ready = calloc(1, sizeof(*process->ready));
    process->record = calloc(1, sizeof(*process->record));
    lab__ready__init(process->ready);
    process->ready->version = RECORD_VERSION;
    process->ready->wait = record_text("sleep");
    process->ready->cpus = record_text(cpus);
    process->ready->tids = calloc(1, sizeof(*process->ready->tids));
    process->ready->n_tids = 1;
    lab__record__init(process->record);
    process->record->version = RECORD_VERSION;
    process->record->side = record_text(side);
    process->record->t1_ns = WINDOW_NS;
    process->record->process = calloc(1, sizeof(*process->record->process));
    lab__process__init(process->record->process);
    process->record->process->cpus = record_text(cpus);
    process->record->process->cpu_ns = WINDOW_NS / 2;
}

void fake_trial_make(struct fake_trial *fake)
{
    double rates[20];

    memset(fake, 0, sizeof(*fake));
    fake->run.cases = calloc(1, sizeof(*fake->run.cases));
    fake->run.cases_count = 1;
    fake->c = &fake->run.cases[0];
    fake->c->workload = strdup("echo");
    fake->c->client_spec = strdup("epoll");
    fake->c->server_spec = strdup("epoll");
    fake->c->link = strdup("lo");
    fake->c->duration_ns = WINDOW_NS;
    fake->c->trials = calloc(1, sizeof(*fake->c->trials));
    fake->c->trials_count = 1;
    fake->trial = &fake->c->trials[0];
    fake->trial->ops = 10000;
    fake->trial->duration_s = 0.5;
    fake->trial->ops_per_s = 20000;
    fake->trial->latency = hist_new();
    for (unsigned i = 0; i < 10000; i++)
        hist_record(fake->trial->latency, 100 * NS_PER_US);
    fake->trial->clients = calloc(1, sizeof(*fake->trial->clients));
    fake->trial->servers = calloc(1, sizeof(*fake->trial->servers));
    fake->trial->clients_count = fake->trial->servers_count = 1;
    process_make(&fake->trial->clients[0], "client", "1");
    process_make(&fake->trial->servers[0], "server", "0");
    for (unsigned i = 0; i < 20; i++)
        rates[i] = 500;
    fake_trial_slices(fake, rates, 20);
    fake->before = (struct hostwatch){.has_stat = true, .tick_ns = 10 * NS_PER_MS};
    fake->after = fake->before;
    fake->after.at_ns = WINDOW_NS;
    fake->after.busy_ns[0] = fake->after.busy_ns[1] = WINDOW_NS / 2;
    fake->facts = (struct verdict_facts){
        .system_cc = "cubic", .before = &fake->before, .after = &fake->after, .cores = 4};
}

void fake_trial_free(struct fake_trial *fake)
{
    run_result_free(&fake->run);
}

Lab__Process *fake_trial_process(struct fake_trial *fake, bool server)
{
    return (server ? fake->trial->servers : fake->trial->clients)[0].record->process;
}

void fake_trial_slices(struct fake_trial *fake, const double *ops, unsigned count)
{
    free(fake->trial->slices);
    fake->trial->slices = calloc(count, sizeof(*fake->trial->slices));
    fake->trial->slices_count = count;
    for (unsigned i = 0; i < count; i++) {
        lab__slice__init(&fake->trial->slices[i]);
        fake->trial->slices[i].end_ns = (i + 1) * 25 * NS_PER_MS;
        fake->trial->slices[i].ops = (uint64_t)ops[i];
        fake->trial->slices[i].bytes = (uint64_t)(ops[i] * 64);
    }
}

void fake_trial_slip(struct fake_trial *fake, uint64_t slip_ns)
{
    if (fake->trial->slip == NULL)
        fake->trial->slip = hist_new();
    hist_reset(fake->trial->slip);
    for (unsigned i = 0; i < 1000; i++)
        hist_record(fake->trial->slip, slip_ns);
}

void fake_trial_open(struct fake_trial *fake, double ops_per_s)
{
    Lab__Record *record = fake->trial->clients[0].record;

    fake->c->asked_ops_per_s = ops_per_s;
    fake->trial->scheduled = record->scheduled = fake->trial->ops;
    record->with_slot = record->sent_in_time = fake->trial->ops;
    fake_trial_slip(fake, NS_PER_US);
}

void fake_trial_judge(struct fake_trial *fake)
{
    verdict_judge(fake->c, fake->trial, &fake->facts);
}

static const char *find(const struct run_verdict *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return list[i].evidence;
    return NULL;
}

const char *fake_trial_verdict(const struct fake_trial *fake, const char *name)
{
    return find(fake->trial->verdicts, fake->trial->verdicts_count, name);
}

const char *fake_trial_watermark(const struct fake_trial *fake, const char *name)
{
    return find(fake->trial->watermarks, fake->trial->watermarks_count, name);
}
