/*
 * run_execute(): rounds of trials in the planned order. It sleeps while a trial is measured; a
 * signal ends the run, and what was finished is kept.
 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "run/pin.h"
#include "run/plan.h"
#include "run/run.h"
#include "run/signals.h"
#include "run/trial.h"
#include "run/verdict.h"

/* Starting and ending processes, beside the window itself; for the first estimate. */
#define TRIAL_OVERHEAD_S 0.12

static void make_id(char id[37])
{
    uint8_t b[16];

    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b)) {
        uint64_t now_ns = clock_ns();
        memcpy(b, &now_ns, 8);
        memcpy(b + 8, &now_ns, 8);
    }
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* RFC 9562, version 4 */
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(id, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
             b[14], b[15]);
}

static uint32_t most(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* A side that was not given CPUs gets some, enough for the case with the most threads; a host with
 * too few has none to give. */
static void choose_cpus(struct run_result *result)
{
    uint32_t shared = 1;
    struct run_settings *settings = &result->settings;
    char server[PIN_TEXT_MAX], client[PIN_TEXT_MAX];
    cpu_set_t mine;
    struct pin_request request = {
        .root = "",
        .mine = &mine,
        .servers = 1,
        .clients = 1,
        .server_given = settings->server_cpus,
        .client_given = settings->client_cpus,
    };

    for (size_t i = 0; i < result->cases_count; i++) {
        const struct run_case *c = &result->cases[i];
        if (c->status != RUN_RAN)
            continue;
        request.servers = most(request.servers, c->server_threads * c->server_processes);
        request.clients = most(request.clients, c->client_threads * c->client_processes);
        shared = most(shared, c->client_threads);
    }
    if (!settings->pin || sched_getaffinity(0, sizeof(mine), &mine) < 0)
        return;
    int r = pin_choose(&request, server, client);
    /* Clients beside each other that have no CPUs of their own share some. */
    if (r < 0 && settings->client_via != NULL) {
        request.clients = shared;
        r = pin_choose(&request, server, client);
    }
    if (r < 0) {
        settings->pin = settings->server_cpus != NULL || settings->client_cpus != NULL;
        return;
    }
    settings->server_cpus_chosen = settings->server_cpus == NULL;
    settings->client_cpus_chosen = settings->client_cpus == NULL;
    if (settings->server_cpus_chosen)
        settings->server_cpus = strdup(server);
    if (settings->client_cpus_chosen)
        settings->client_cpus = strdup(client);
}

/* A client for each place that was named for one. */
static void place_clients(struct run_result *result)
{
    unsigned places = 0;

    while (result->settings.client_via != NULL && result->settings.client_via[places] != NULL)
        places++;
    for (size_t i = 0; i < result->cases_count && places > 0; i++) {
        struct run_case *c = &result->cases[i];
        if (c->both_sides)
            continue;
        c->client_processes = places;
        if (c->client_threads_shared)
            c->client_threads = (c->client_threads + places - 1) / places;
    }
}

/* Of a trial; NAN: so many ops take as long as they take. */
static double case_seconds(const struct run_case *c)
{
    double length_s = (double)c->duration_ns / 1e9;

    if (c->asked_ops != 0)
        length_s = c->asked_ops_per_s > 0 ? (double)c->asked_ops / c->asked_ops_per_s : NAN;
    return (double)c->warmup_ns / 1e9 + length_s + TRIAL_OVERHEAD_S;
}

/* --- what a trial comes to --- */

static struct hist *merged_histogram(const struct run_trial *trial, const char *name)
{
    struct hist *all = NULL, *one = hist_new();

    for (size_t i = 0; i < trial->clients_count; i++) {
        const Lab__Record *record = trial->clients[i].record;
        const Lab__Metric *metric = record != NULL ? record_metric(record, name) : NULL;
        if (metric == NULL || !metric->observed || one == NULL ||
            hist_decode(one, metric->histogram.data, metric->histogram.len) < 0)
            continue;
        if (all == NULL)
            all = hist_new();
        if (all != NULL)
            hist_merge(all, one);
    }
    hist_free(one);
    return all;
}

static void add_errors(struct run_trial *trial, const Lab__Record *record)
{
    for (size_t i = 0; i < record->n_errors; i++) {
        const Lab__ErrorCount *error = record->errors[i];
        char count[32];
        size_t at = 0;
        trial->errors += error->count;
        while (at < trial->errors_by_kind.count &&
               strcmp(trial->errors_by_kind.items[at].name, error->kind) != 0)
            at++;
        uint64_t sum = error->count;
        if (at < trial->errors_by_kind.count) {
            sum += strtoull(trial->errors_by_kind.items[at].value, NULL, 10);
            snprintf(count, sizeof(count), "%llu", (unsigned long long)sum);
            free(trial->errors_by_kind.items[at].value);
            trial->errors_by_kind.items[at].value = strdup(count);
            continue;
        }
        snprintf(count, sizeof(count), "%llu", (unsigned long long)sum);
        run_list_add(&trial->errors_by_kind, error->kind, count);
        run_list_add(&trial->errors_examples, error->kind, error->example);
    }
}

static void add_slices(struct run_trial *trial, const Lab__Record *record)
{
    if (trial->slices == NULL && record->n_slices > 0) {
        trial->slices = calloc(record->n_slices, sizeof(*trial->slices));
        if (trial->slices == NULL)
            abort();
        trial->slices_count = record->n_slices;
        for (size_t i = 0; i < record->n_slices; i++) {
            lab__slice__init(&trial->slices[i]);
            trial->slices[i].end_ns = record->slices[i]->end_ns;
        }
    }
    for (size_t i = 0; i < record->n_slices && i < trial->slices_count; i++) {
        trial->slices[i].ops += record->slices[i]->ops;
        trial->slices[i].bytes += record->slices[i]->bytes;
    }
}

static uint64_t cpu_ns(const struct run_process *processes, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        if (processes[i].record != NULL)
            sum += processes[i].record->process->cpu_ns;
    return sum;
}

static void trial_compute(const struct run_case *c, struct run_trial *trial)
{
    uint64_t t0_ns = UINT64_MAX, t1_ns = 0;

    for (size_t i = 0; i < trial->clients_count; i++) {
        const Lab__Record *record = trial->clients[i].record;
        if (record == NULL)
            continue;
        trial->ops += record->ops;
        trial->bytes += record->bytes;
        trial->unfinished += record->unfinished;
        trial->scheduled += record->scheduled;
        add_errors(trial, record);
        add_slices(trial, record);
        t0_ns = record->t0_ns < t0_ns ? record->t0_ns : t0_ns;
        t1_ns = record->t1_ns > t1_ns ? record->t1_ns : t1_ns;
    }
    /* The window that was asked for is the one in which ops were counted; samples come a moment
     * late. An open-ended one is as long as it was. */
    trial->duration_s = c->asked_ops == 0 ? (double)c->duration_ns / 1e9
                        : t1_ns > t0_ns   ? (double)(t1_ns - t0_ns) / 1e9
                                          : 0;
    if (trial->duration_s > 0) {
        trial->ops_per_s = (double)trial->ops / trial->duration_s;
        trial->bytes_per_s = (double)trial->bytes / trial->duration_s;
    }
    bool both_seen = trial->servers_count > 0 || c->both_sides;
    trial->cpu_ns_per_op = both_seen && trial->ops > 0
                               ? (double)(cpu_ns(trial->clients, trial->clients_count) +
                                          cpu_ns(trial->servers, trial->servers_count)) /
                                     (double)trial->ops
                               : NAN;
    trial->latency = merged_histogram(trial, "latency_ns");
    trial->latency_from_send = merged_histogram(trial, "latency_from_send_ns");
    trial->slip = merged_histogram(trial, "slip_ns");
}

/* --- the run --- */

struct execution {
    struct run_result *result;
    const struct run_observer *observer;
    unsigned *order, rounds, done, total;
    uint64_t begun_ns;
    double planned_s;
    int signals;
};

/* NAN: not known before every case has been seen once. */
static double seconds_to_go(const struct execution *x)
{
    double spent_s = (double)(clock_ns() - x->begun_ns) / 1e9;
    if (x->done == 0 || (isnan(x->planned_s) && x->result->rounds_done == 0))
        return x->planned_s;
    return spent_s / x->done * (x->total - x->done);
}

/* "" if there is no such fact. */
static const char *env_fact(const struct run_env *env, const char *name)
{
    for (size_t i = 0; i < env->facts.count; i++)
        if (strcmp(env->facts.items[i].name, name) == 0)
            return env->facts.items[i].value;
    return "";
}

static bool is_to_run(const struct run_case *c)
{
    return c->status == RUN_RAN;
}

static int run_one(struct execution *x, struct run_case *c, unsigned round, unsigned position)
{
    const struct run_settings *settings = &x->result->settings;
    const struct run_observer *o = x->observer;
    struct hostwatch watched[2] = {0};
    unsigned fatal = 0;

    struct run_trial *grown = realloc(c->trials, (c->trials_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    c->trials = grown;
    struct run_trial *trial = &c->trials[c->trials_count];
    memset(trial, 0, sizeof(*trial));
    trial->seq = x->done;
    trial->round = round;
    trial->position = position;
    trial->cpu_ns_per_op = NAN;
    trial->listen_drops = trial->syn_retries = RUN_UNOBSERVED;
    if (o->trial_begins != NULL)
        o->trial_begins(o->context, x->result, c, x->done, x->total, seconds_to_go(x));
    const struct trial_config config = {
        .run_case = c,
        .settings = settings,
        .signals = x->signals,
        /* The same for all cases of a round: they meet the same schedule. */
        .seed = settings->seed + round,
    };
    int r = trial_run(&config, trial, watched, &fatal);
    x->done++;
    if (r == -EINTR) { /* it has not finished: it is not kept */
        run_trial_free(trial);
        return r;
    }
    c->trials_count++;
    if (!trial->failed) {
        const struct verdict_facts facts = {
            .max_errors = settings->max_errors,
            .system_cc = env_fact(&x->result->env, "congestion_control"),
            .fq = strcmp(env_fact(&x->result->env, "default_qdisc"), "fq") == 0,
            .apart = run_ends_apart(settings, c),
            .virtual_machine = x->result->env.shared_host,
            .cores = x->result->env.cores,
            .before = &watched[0],
            .after = &watched[1],
        };
        trial_compute(c, trial);
        if (watched[0].has_listen_drops && watched[1].has_listen_drops)
            trial->listen_drops = (int64_t)(watched[1].listen_drops - watched[0].listen_drops);
        if (watched[0].has_syn_retries && watched[1].has_syn_retries)
            trial->syn_retries = (int64_t)(watched[1].syn_retries - watched[0].syn_retries);
        verdict_judge(c, trial, &facts);
    } else if (fatal != 0) {
        c->status = fatal == 77 ? RUN_CANNOT_RUN : RUN_FAILED;
        c->refused = fatal == 2;
        snprintf(c->reason, sizeof(c->reason), "%s", trial->reason);
    }
    if (o->trial_ended != NULL)
        o->trial_ended(o->context, x->result, c, trial);
    return 0;
}

static int run_rounds(struct execution *x)
{
    struct run_result *result = x->result;
    const struct run_observer *o = x->observer;

    for (unsigned round = 0; round < x->rounds; round++) {
        for (size_t position = 0; position < result->cases_count; position++) {
            struct run_case *c = &result->cases[x->order[round * result->cases_count + position]];
            if (!is_to_run(c))
                continue;
            int r = run_one(x, c, round, (unsigned)position);
            if (r < 0)
                return r;
        }
        result->rounds_done = round + 1;
        if (o->round_ended != NULL)
            o->round_ended(o->context, result, round);
    }
    return 0;
}

/* A case of which no trial came through has failed, with the last one's reason. */
static void settle_cases(struct run_result *result, bool interrupted)
{
    for (size_t i = 0; i < result->cases_count; i++) {
        struct run_case *c = &result->cases[i];
        size_t good = 0;
        if (c->status != RUN_RAN)
            continue;
        for (size_t k = 0; k < c->trials_count; k++)
            good += !c->trials[k].failed;
        if (good > 0)
            continue;
        c->status = interrupted ? RUN_INTERRUPTED : RUN_FAILED;
        if (c->trials_count > 0)
            snprintf(c->reason, sizeof(c->reason), "%s", c->trials[c->trials_count - 1].reason);
        else
            snprintf(c->reason, sizeof(c->reason), "interrupted");
    }
}

int run_execute(struct run_result *result, const struct run_observer *observer,
                struct lab_error *err)
{
    static const struct run_observer nobody;
    struct execution x = {
        .result = result,
        .observer = observer != NULL ? observer : &nobody,
        .rounds = result->settings.rounds,
        .begun_ns = clock_ns(),
    };
    sigset_t signals, before;
    time_t now = time(NULL);
    struct tm utc;
    int r = 0;

    run_env_read(&result->env);
    place_clients(result);
    choose_cpus(result);
    make_id(result->id);
    strftime(result->started_at, sizeof(result->started_at), "%Y-%m-%dT%H:%M:%SZ",
             gmtime_r(&now, &utc));
    for (size_t i = 0; i < result->cases_count; i++)
        if (is_to_run(&result->cases[i])) {
            x.total += x.rounds;
            x.planned_s += case_seconds(&result->cases[i]) * x.rounds;
        }
    if (x.total == 0)
        return lab_fail(err, ENODEV, "nothing can run here: see the reasons above");
    x.order = malloc(result->cases_count * x.rounds * sizeof(*x.order));
    signals_of_end(&signals);
    pthread_sigmask(SIG_BLOCK, &signals, &before);
    x.signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (x.order == NULL || x.signals < 0) {
        r = lab_fail(err, x.order == NULL ? ENOMEM : errno, "cannot begin the run: %s",
                     strerror(x.order == NULL ? ENOMEM : errno));
        goto out;
    }
    plan_rounds(x.order, result->cases_count, x.rounds, result->settings.seed);
    if (x.observer->planned != NULL)
        x.observer->planned(x.observer->context, result, x.planned_s);
    r = run_rounds(&x);
    result->complete = r == 0;
    settle_cases(result, r == -EINTR);
    run_summarise(result);
    if (r < 0 && r != -EINTR)
        lab_fail(err, -r, "the run ended early: %s", strerror(-r));
    signals_take(x.signals);
out:
    if (x.signals >= 0)
        close(x.signals);
    free(x.order);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}
