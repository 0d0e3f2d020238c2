/* See load.h: the process's side of the load generator, called from its main thread. */
#include "client/load.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/worker.h"
#include "core/line.h"
#include "engines/thread.h"

static const struct metric_def latency_metric = {
    "latency_ns",
    "ns",
    METRIC_HISTOGRAM,
    METRIC_LESS,
    "",
    "client",
    "an op, from when it should have started to its last byte"};
static const struct metric_def from_send_metric = {"latency_from_send_ns",
                                                   "ns",
                                                   METRIC_HISTOGRAM,
                                                   METRIC_LESS,
                                                   "",
                                                   "client",
                                                   "an op, from when it was sent to its last byte"};
static const struct metric_def slip_metric = {"slip_ns",
                                              "ns",
                                              METRIC_HISTOGRAM,
                                              METRIC_LESS,
                                              "",
                                              "client",
                                              "how late the generator itself sent an op"};
static const struct metric_def connect_metric = {"connect_ns",
                                                 "ns",
                                                 METRIC_HISTOGRAM,
                                                 METRIC_LESS,
                                                 "connect",
                                                 "client",
                                                 "a connection, from connect to open"};
static const struct metric_def first_byte_metric = {
    "first_byte_ns",
    "ns",
    METRIC_HISTOGRAM,
    METRIC_LESS,
    "",
    "client",
    "an op, from its start to the first byte of the answer"};

static const struct metric_def lost_metric = {
    "connections_lost",
    "",
    METRIC_COUNTER,
    METRIC_LESS,
    "connect",
    "client",
    "kept connections that the server ended with no op under way, and that were opened again"};

static const struct metric_def schedule_metrics[] = {
    {"ops_scheduled", "", METRIC_COUNTER, METRIC_NEITHER, "", "client",
     "ops that were to start in the window"},
    {"ops_with_slot", "", METRIC_COUNTER, METRIC_NEITHER, "", "client",
     "of these, those that had a free slot when they were due"},
    {"ops_sent_in_time", "", METRIC_COUNTER, METRIC_MORE, "", "client",
     "of these, those that left within 100 us"},
    {"ops_due_most", "", METRIC_GAUGE, METRIC_LESS, "", "client",
     "longest queue of ops that were due and had no slot"},
    {0},
};

static int load_check(struct load_config *config, struct lab_error *err)
{
    struct load_options *options = &config->options;

    if (options->connections == 0)
        options->connections = config->workload->connections;
    int r = config->workload->check(config->workload_options, options, err);
    if (r < 0)
        return r;
    if (options->reconnect)
        options->depth = 1;
    for (unsigned i = 0; options->local_addrs > 1 && i < config->addresses_count; i++) {
        const struct sockaddr_storage *sa = &config->addresses[i].sa;
        if (sa->ss_family != AF_INET || ((const uint8_t *)sa)[4] != 127)
            return lab_fail(err, EINVAL,
                            "--local-addrs spreads over 127.0.0.0/8: the server must be there too");
    }
    return 0;
}

/* This process's share of n, by its index. */
static uint64_t share(uint64_t n, unsigned index, unsigned count)
{
    return n / count + (index < n % count);
}

static uint64_t usable_cpus(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint64_t)CPU_COUNT(&set) : 1;
}

static int load_plan_workers(struct load *load, struct lab_error *err)
{
    struct load_config *config = &load->config;
    struct load_options *options = &config->options;
    uint64_t connections = share(options->connections, config->index, config->processes);
    uint64_t workers = options->workers != 0 ? options->workers : 1;

    if (load->caps.conns_max == 1)
        workers = connections;
    else if (load->caps.one_per_process)
        workers = 1;
    if (connections == 0 || workers > connections)
        return lab_fail(err, EINVAL, "%llu workers need as many connections: raise --connections",
                        (unsigned long long)(workers * config->processes));
    if (options->rate > 0 && options->pacing == LOAD_PACING_SPIN && workers > usable_cpus())
        return lab_fail(err, EINVAL,
                        "--pacing spin: %llu threads would spin on %llu CPU%s and keep each other "
                        "from sending: take --pacing sleep, or give the client more --client-cpus",
                        (unsigned long long)workers, (unsigned long long)usable_cpus(),
                        usable_cpus() == 1 ? "" : "s");
    load->workers = line_calloc(workers * sizeof(*load->workers));
    if (load->workers == NULL)
        return lab_fail(err, ENOMEM, "no memory for %llu workers", (unsigned long long)workers);
    load->workers_count = (unsigned)workers;
    for (unsigned i = 0; i < workers; i++) {
        struct load_worker *worker = &load->workers[i];
        worker->load = load;
        worker->config = config;
        worker->index = i * config->processes + config->index;
        worker->count = (unsigned)workers * config->processes;
        worker->conns_count = (unsigned)share(connections, i, (unsigned)workers);
        worker->ops_left =
            share(options->ops, worker->index, (unsigned)workers * config->processes);
        if (worker_open(worker) < 0)
            return lab_fail(err, ENOMEM, "no memory for %llu connections with %llu ops in flight",
                            (unsigned long long)connections, (unsigned long long)options->depth);
    }
    return 0;
}

static void load_wake(struct load *load)
{
    pthread_mutex_lock(&load->lock);
    for (unsigned i = 0; i < load->started; i++)
        if (load->workers[i].engine != NULL)
            load->workers[i].engine->ops->wake(load->workers[i].engine);
    pthread_mutex_unlock(&load->lock);
}

static void load_stop(struct load *load)
{
    atomic_store_explicit(&load->stopping, true, memory_order_release);
    load_wake(load);
}

/* One after the other where each connects by itself, so that the listener's queue never
 * overflows; 64 at a time. */
static int load_start_workers(struct load *load, struct lab_error *err)
{
    int r = 0;

    pthread_mutex_lock(&load->lock);
    for (unsigned i = 0; i < load->workers_count && load->failed == 0; i++) {
        r = thread_start(&load->workers[i].thread, worker_main, &load->workers[i],
                         load->caps.conns_max == 1);
        if (r != 0) {
            r = lab_fail(err, r, "cannot start worker thread %u of %u: %s", i + 1,
                         load->workers_count, strerror(r));
            break;
        }
        load->started++;
        bool last = i + 1 == load->workers_count;
        while (load->failed == 0 &&
               load->started - load->ready >= (last ? 1 : LOAD_CONNECTING_MOST))
            pthread_cond_wait(&load->changed, &load->lock);
    }
    bool failed = load->failed > 0;
    pthread_mutex_unlock(&load->lock);
    if (r < 0 || !failed)
        return r;
    load_stop(load);
    for (unsigned i = 0; i < load->started; i++) {
        struct load_worker *worker = &load->workers[i];
        pthread_join(worker->thread, NULL);
        if (worker->result < 0 && r == 0) {
            r = worker->result;
            if (err != NULL)
                *err = worker->error;
        }
    }
    load->started = 0;
    return r;
}

int load_start(struct load **out, const struct load_config *config, struct lab_error *err)
{
    struct load *load = calloc(1, sizeof(*load));
    if (load == NULL)
        return lab_fail(err, ENOMEM, "no memory for the load generator");
    load->config = *config;
    pthread_mutex_init(&load->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&load->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);

    struct engine_config engine_config = {
        .options = config->spec->options, .cc = config->cc, .link = config->link};
    int r = load_check(&load->config, err);
    if (r == 0)
        r = config->spec->ops->probe(&engine_config, &load->caps, err);
    if (r == 0 && config->workload->process_open != NULL)
        r = config->workload->process_open(&load->process, config->workload_options, err);
    if (r == 0)
        r = load_plan_workers(load, err);
    if (r == 0)
        r = load_start_workers(load, err);
    if (r < 0) {
        load_free(load);
        return r;
    }
    *out = load;
    return 0;
}

void load_describe(struct load *load, Lab__Ready *ready)
{
    struct load_options *options = &load->config.options;
    char note[64];

    tally_describe(load->workers[0].engine, ready);
    if (load->caps.conns_max == 1 && options->workers != 0 &&
        options->workers != load->workers_count) {
        snprintf(note, sizeof(note), "a worker a connection, %u here", load->workers_count);
        record_add_capability(ready, "workers", record_states[CAP_NO_EFFECT], note);
    }
    for (const struct option_def *def = load_options; def->name != NULL; def++) {
        char value[OPTION_TEXT_MAX];
        record_add_setting(ready, def->name, option_format(def, options, value, sizeof(value)));
    }
    for (const struct option_def *def = load->config.workload->options; def->name != NULL; def++) {
        char value[OPTION_TEXT_MAX];
        record_add_setting(ready, def->name,
                           option_format(def, load->config.workload_options, value, sizeof(value)));
    }
    ready->tids = calloc(load->workers_count, sizeof(*ready->tids));
    for (unsigned i = 0; i < load->workers_count && ready->tids != NULL; i++)
        ready->tids[ready->n_tids++] = (uint32_t)load->workers[i].tid;
}

void load_window(struct load *load, uint64_t start_ns, uint64_t t0_ns, uint64_t t1_ns)
{
    load->start_ns = start_ns;
    load->t0_ns = t0_ns;
    load->t1_ns = t1_ns;
    atomic_store_explicit(&load->window_set, true, memory_order_release);
    load_wake(load);
}

void load_sample(struct load *load, unsigned index, uint64_t now_ns)
{
    struct load_sample sample = {.at_ns = now_ns};

    for (unsigned i = 0; i < load->workers_count; i++) {
        sample.ops += counter_read(&load->workers[i].ops_done);
        sample.bytes += counter_read(&load->workers[i].bytes_done);
    }
    if (index == 0)
        load->samples_count = 0;
    if (load->samples_count < sizeof(load->samples) / sizeof(load->samples[0]))
        load->samples[load->samples_count++] = sample;
    pthread_mutex_lock(&load->lock);
    tally_begin(&load->tally, index);
    for (unsigned i = 0; i < load->workers_count; i++)
        if (load->workers[i].engine != NULL)
            tally_add(&load->tally, index, load->workers[i].engine);
    pthread_mutex_unlock(&load->lock);
    uint64_t *rows = load->meter_samples[index == 0 ? 0 : 1];
    memset(rows, 0, sizeof(load->meter_samples[0]));
    for (unsigned i = 0; i < load->workers_count; i++)
        meter_sum(&load->workers[i].meter, rows);
}

int load_wait(struct load *load, uint64_t timeout_ns, uint64_t *t0_ns, uint64_t *t1_ns)
{
    struct timespec until = clock_timespec(clock_ns() + timeout_ns);
    uint64_t last_ns = 0;

    pthread_mutex_lock(&load->lock);
    while (load->finished < load->started &&
           pthread_cond_timedwait(&load->changed, &load->lock, &until) == 0)
        ;
    bool finished = load->finished == load->started;
    for (unsigned i = 0; i < load->workers_count && finished; i++)
        if (load->workers[i].ended_ns > last_ns)
            last_ns = load->workers[i].ended_ns;
    pthread_mutex_unlock(&load->lock);
    if (!finished)
        return -EAGAIN;
    *t0_ns = load->t0_ns;
    *t1_ns = last_ns;
    return 0;
}

static void load_join(struct load *load)
{
    for (unsigned i = 0; i < load->started; i++)
        pthread_join(load->workers[i].thread, NULL);
    load->started = 0;
}

static void record_schedule(const struct load *load, Lab__Record *record)
{
    const uint64_t values[] = {record->scheduled, record->with_slot, record->sent_in_time,
                               record->due_most};

    for (unsigned i = 0; schedule_metrics[i].name != NULL; i++)
        if (load->config.options.rate > 0)
            record_add_value(record, &schedule_metrics[i], (double)values[i]);
        else
            record_add_unobserved(record, &schedule_metrics[i],
                                  "closed loop: there is no schedule");
}

static void record_lost(const struct load *load, Lab__Record *record)
{
    uint64_t lost = 0;

    for (unsigned i = 0; i < load->workers_count; i++)
        lost += load->workers[i].lost;
    record_add_value(record, &lost_metric, (double)lost);
}

static void record_histograms(struct load *load, Lab__Record *record)
{
    struct load_worker *first = &load->workers[0];

    for (unsigned i = 1; i < load->workers_count; i++) {
        struct load_worker *worker = &load->workers[i];
        hist_merge(first->latency, worker->latency);
        hist_merge(first->connect, worker->connect);
        if (first->first_byte != NULL)
            hist_merge(first->first_byte, worker->first_byte);
        if (first->slip != NULL) {
            hist_merge(first->slip, worker->slip);
            hist_merge(first->latency_from_send, worker->latency_from_send);
        }
    }
    record_add_histogram(record, &latency_metric, first->latency);
    record_add_histogram(record, &connect_metric, first->connect);
    if (first->slip != NULL) {
        record_add_histogram(record, &from_send_metric, first->latency_from_send);
        record_add_histogram(record, &slip_metric, first->slip);
    } else {
        record_add_unobserved(record, &from_send_metric, "closed loop: the same as latency_ns");
        record_add_unobserved(record, &slip_metric, "closed loop: there is no schedule");
    }
    if (first->first_byte != NULL)
        record_add_histogram(record, &first_byte_metric, first->first_byte);
    else
        record_add_unobserved(record, &first_byte_metric, "taken with --reconnect only");
}

void load_finish(struct load *load, Lab__Record *record)
{
    /* The workers end by themselves: at t1 and after draining, or when all ops are done. */
    load_join(load);
    for (unsigned i = 0; i < load->workers_count; i++) {
        struct load_worker *worker = &load->workers[i];
        record->ops += worker->window_ops;
        record->bytes += worker->window_bytes;
        record->unfinished += worker->unfinished;
        record->scheduled += worker->scheduled;
        record->sent_in_time += worker->sent_in_time;
        record->with_slot += worker->with_slot;
        if (worker->due_most > record->due_most)
            record->due_most = worker->due_most;
        for (unsigned k = 0; k < LOAD_ERROR_KINDS && worker->errors[k].kind != NULL; k++)
            record_add_error(record, worker->errors[k].kind, worker->errors[k].count,
                             worker->errors[k].example);
        if (worker->result < 0)
            record_add_error(record, "engine-failed", 1, worker->error.text);
    }
    for (unsigned i = 1; i < load->samples_count; i++)
        record_add_slice(record, load->samples[i].at_ns - load->samples[0].at_ns,
                         load->samples[i].ops - load->samples[i - 1].ops,
                         load->samples[i].bytes - load->samples[i - 1].bytes);
    tally_record(&load->tally, load->config.spec->ops, record);
    record_schedule(load, record);
    record_lost(load, record);
    record_histograms(load, record);
    for (unsigned i = 1; i < load->workers_count; i++)
        meter_merge(&load->workers[0].meter, &load->workers[i].meter);
    record_add_meter(record, &load->workers[0].meter, load->meter_samples[0],
                     load->meter_samples[1]);
}

void load_free(struct load *load)
{
    if (load == NULL)
        return;
    if (load->started > 0) {
        load_stop(load);
        load_join(load);
    }
    for (unsigned i = 0; i < load->workers_count; i++)
        worker_free(&load->workers[i]);
    free(load->workers);
    if (load->process != NULL)
        load->config.workload->process_close(load->process);
    tally_free(&load->tally);
    pthread_mutex_destroy(&load->lock);
    pthread_cond_destroy(&load->changed);
    free(load);
}
