/* What a worker holds: made before its thread is, freed after it. */
#include <errno.h>
#include <stdlib.h>

#include "client/schedule.h"
#include "client/worker.h"
#include "core/line.h"

static int worker_open_conn(struct load_worker *worker, unsigned i)
{
    const struct client_workload *workload = worker->config->workload;
    size_t state_bytes = (workload->state_size + 15) / 16 * 16;
    size_t slots_bytes = worker->depth > 1 ? worker->depth * sizeof(struct load_slot) : 0;
    size_t bytes = sizeof(struct load_conn) + state_bytes + slots_bytes;
    struct load_conn *conn = line_calloc(bytes);

    if (conn == NULL)
        return -ENOMEM;
    worker->conns[i] = conn;
    conn->worker = worker;
    /* Unique over workers and processes, as their index is. */
    conn->number = (uint64_t)i * worker->count + worker->index;
    conn->slots =
        slots_bytes > 0 ? (struct load_slot *)(conn->state + state_bytes) : &conn->the_slot;
    conn->timer.fire = worker_conn_timer;
    conn->pump.proto = workload->proto;
    conn->pump.state = conn->state;
    conn->pump.owner = &worker_conn_owner;
    conn->pump.timers = &worker->timers;
    conn->loops_left = worker->config->options.loops;
    return workload->state_open(conn->state, conn, worker->shared, worker->config->workload_options,
                                worker->depth);
}

static int worker_open_shared(struct load_worker *worker)
{
    const struct client_workload *workload = worker->config->workload;

    if (workload->worker_open != NULL)
        return workload->worker_open(&worker->shared, worker->load->process,
                                     worker->config->workload_options, &worker->meter);
    worker->shared = worker->load->process;
    return 0;
}

int worker_open(struct load_worker *worker)
{
    const struct load_options *options = &worker->config->options;
    const struct client_workload *workload = worker->config->workload;

    worker->open_loop = options->rate > 0;
    worker->by_count = options->ops > 0 || options->loops > 0;
    worker->reconnect = options->reconnect;
    worker->goes_on_at_once = !worker->open_loop && !worker->reconnect;
    worker->start = workload->start;
    worker->depth = (unsigned)options->depth;
    worker->t0_ns = worker->t1_ns = CLOCK_NEVER;
    worker->next_local = worker->index; /* workers do not all begin at the same one */
    worker->conns_left = options->loops > 0 ? worker->conns_count : 0;
    worker->latency = hist_new();
    worker->connect = hist_new();
    if (options->reconnect)
        worker->first_byte = hist_new();
    if (worker->open_loop) {
        worker->latency_from_send = hist_new();
        worker->slip = hist_new();
    }
    worker->conns = calloc(worker->conns_count, sizeof(*worker->conns));
    if (worker->latency == NULL || worker->connect == NULL || worker->conns == NULL ||
        (options->reconnect && worker->first_byte == NULL) ||
        (worker->open_loop && (worker->latency_from_send == NULL || worker->slip == NULL)) ||
        timers_reserve(&worker->timers, 2 * (size_t)worker->conns_count) < 0 ||
        meter_open(&worker->meter, workload->metrics) < 0 || worker_open_shared(worker) < 0)
        return -ENOMEM;
    for (unsigned i = 0; i < worker->conns_count; i++)
        if (worker_open_conn(worker, i) < 0)
            return -ENOMEM;
    return worker->open_loop ? schedule_open(worker) : 0;
}

void worker_free(struct load_worker *worker)
{
    timers_free(&worker->timers); /* while those that are set are still there */
    for (unsigned i = 0; worker->conns != NULL && i < worker->conns_count; i++) {
        if (worker->conns[i] == NULL)
            continue;
        worker->config->workload->state_close(worker->conns[i]->state);
        free(worker->conns[i]);
    }
    free(worker->conns);
    if (worker->shared != NULL && worker->config->workload->worker_close != NULL)
        worker->config->workload->worker_close(worker->shared);
    meter_close(&worker->meter);
    schedule_close(worker);
    hist_free(worker->latency);
    hist_free(worker->latency_from_send);
    hist_free(worker->slip);
    hist_free(worker->connect);
    hist_free(worker->first_byte);
}
