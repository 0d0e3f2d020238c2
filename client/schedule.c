/* See schedule.h. */
#include "client/schedule.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SCHEDULE_DUE_ROOM 65536

int schedule_open(struct load_worker *worker)
{
    size_t slots = (size_t)worker->conns_count * worker->depth;

    worker->free_room = slots;
    worker->free = calloc(slots > 0 ? slots : 1, sizeof(*worker->free));
    worker->due.room = SCHEDULE_DUE_ROOM;
    worker->due.intended_ns = malloc(worker->due.room * sizeof(*worker->due.intended_ns));
    return worker->free == NULL || worker->due.intended_ns == NULL ? -ENOMEM : 0;
}

void schedule_close(struct load_worker *worker)
{
    free(worker->free);
    free(worker->due.intended_ns);
}

/* Each worker has its share of the rate. Constant arrivals of several workers are spread over
 * the interval, so that together they are constant too. */
void schedule_begin(struct load_worker *worker)
{
    double rate = (double)worker->config->options.rate / worker->count;

    worker->interval_ns = (double)NS_PER_S / rate;
    rng_seed(&worker->rng, worker->config->seed * 1000003u + worker->index);
    if (worker->config->options.arrival == LOAD_POISSON)
        worker->next_due = -log(rng_unit(&worker->rng)) * worker->interval_ns;
    else
        worker->next_due = worker->interval_ns * worker->index / worker->count;
}

uint64_t schedule_next_ns(const struct load_worker *worker)
{
    uint64_t at_ns = worker->start_ns + (uint64_t)worker->next_due;
    return at_ns < worker->t1_ns && !(worker->by_count && worker->ops_left == 0) ? at_ns
                                                                                 : CLOCK_NEVER;
}

static void schedule_advance(struct load_worker *worker)
{
    double step = worker->interval_ns;
    if (worker->config->options.arrival == LOAD_POISSON)
        step *= -log(rng_unit(&worker->rng));
    worker->next_due += step;
}

static bool due_push(struct load_due *due, uint64_t intended_ns)
{
    if (due->count == due->room) {
        uint64_t *grown = malloc(due->room * 2 * sizeof(*grown));
        if (grown == NULL)
            return false;
        for (size_t i = 0; i < due->count; i++)
            grown[i] = due->intended_ns[(due->head + i) % due->room];
        free(due->intended_ns);
        due->intended_ns = grown;
        due->head = 0;
        due->room *= 2;
    }
    due->intended_ns[(due->head + due->count++) % due->room] = intended_ns;
    return true;
}

static uint64_t due_pop(struct load_due *due)
{
    uint64_t intended_ns = due->intended_ns[due->head];
    due->head = (due->head + 1) % due->room;
    due->count--;
    return intended_ns;
}

/* The slot that has been free longest; those of connections that were lost since are skipped
 * and come back when they are open again. */
static bool free_pop(struct load_worker *worker, struct load_free *out)
{
    while (worker->free_count > 0) {
        *out = worker->free[worker->free_head];
        worker->free_head = worker->free_head + 1 == worker->free_room ? 0 : worker->free_head + 1;
        worker->free_count--;
        out->conn->slots[out->slot].queued = false;
        if (worker_conn_ready(worker, out->conn))
            return true;
    }
    return false;
}

static bool is_in_window(const struct load_worker *worker, uint64_t intended_ns)
{
    return intended_ns - worker->t0_ns < worker->t1_ns - worker->t0_ns;
}

static void schedule_send(struct load_worker *worker, struct load_conn *conn, unsigned slot,
                          uint64_t intended_ns)
{
    const struct load_slot *s = &conn->slots[slot];

    if (is_in_window(worker, intended_ns)) {
        bool had_slot = s->free_since_ns <= intended_ns;
        uint64_t possible_ns = had_slot ? intended_ns : s->free_since_ns;
        uint64_t slip_ns = worker->now_ns > possible_ns ? worker->now_ns - possible_ns : 0;

        hist_record(worker->slip, slip_ns);
        worker->with_slot += had_slot;
        worker->sent_in_time += had_slot && slip_ns <= LOAD_IN_TIME_NS;
    }
    worker_start_op(worker, conn, slot, intended_ns);
}

void schedule_slot_free(struct load_worker *worker, struct load_conn *conn, unsigned slot)
{
    struct load_slot *s = &conn->slots[slot];

    s->free_since_ns = worker->now_ns;
    if (worker->due.count > 0) {
        schedule_send(worker, conn, slot, due_pop(&worker->due));
        return;
    }
    if (s->queued)
        return;
    s->queued = true;
    size_t place = worker->free_head + worker->free_count++;
    if (place >= worker->free_room)
        place -= worker->free_room;
    worker->free[place] = (struct load_free){.conn = conn, .slot = slot};
}

void schedule_run(struct load_worker *worker)
{
    for (;;) {
        uint64_t at_ns = schedule_next_ns(worker);
        if (at_ns > worker->now_ns)
            return;
        schedule_advance(worker);
        if (worker->by_count)
            worker->ops_left--;
        if (at_ns >= worker->t0_ns)
            worker->scheduled++;
        struct load_free place;
        if (worker->due.count == 0 && free_pop(worker, &place)) {
            schedule_send(worker, place.conn, place.slot, at_ns);
            continue;
        }
        if (!due_push(&worker->due, at_ns))
            worker_error(worker, "out-of-memory", 1, "no memory for the queue of due ops");
        if (worker->due.count > worker->due_most)
            worker->due_most = worker->due.count;
    }
}

void schedule_record_late(struct load_worker *worker, uint64_t intended_ns)
{
    uint64_t age_ns = worker->now_ns - intended_ns;

    if (is_in_window(worker, intended_ns) && age_ns >= worker->config->options.timeout_ns)
        hist_record(worker->latency, age_ns);
}

void schedule_abandon(struct load_worker *worker)
{
    uint64_t count = 0;

    while (worker->due.count > 0) {
        uint64_t intended_ns = due_pop(&worker->due);
        if (intended_ns < worker->t0_ns)
            continue;
        count++;
        schedule_record_late(worker, intended_ns);
    }
    if (count > 0)
        worker_error(worker, "unfinished", count,
                     "ops that were due never found a free slot: raise --connections or --depth, "
                     "or ask for a lower --rate");
}
