/*
 * The open loop's schedule on its own: the clock is a number, and starting an op (worker.c's
 * part) only writes down what was started. Links schedule.c without worker.c.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/schedule.h"

#define STARTED_MAX 200000

static struct {
    struct load_conn *conn;
    unsigned slot;
    uint64_t intended_ns, at_ns;
} started[STARTED_MAX];
static unsigned started_count;
static uint64_t abandoned;
static bool conn_is_lost;

void worker_start_op(struct load_worker *worker, struct load_conn *conn, unsigned slot,
                     uint64_t intended_ns)
{
    cr_assert_lt(started_count, STARTED_MAX);
    started[started_count].conn = conn;
    started[started_count].slot = slot;
    started[started_count].intended_ns = intended_ns;
    started[started_count++].at_ns = worker->now_ns;
    conn->slots[slot].busy = true;
}

void worker_error(struct load_worker *worker, const char *kind, uint64_t count, const char *example)
{
    abandoned += count;
}

bool worker_conn_ready(const struct load_worker *worker, const struct load_conn *conn)
{
    return !conn_is_lost;
}

struct fixture {
    struct load_worker worker;
    struct load_config config;
    struct load_conn *conn;
    struct load_slot slots[8];
};

static void set_up(struct fixture *f, uint64_t rate, int arrival, unsigned depth)
{
    memset(f, 0, sizeof(*f));
    started_count = 0;
    abandoned = 0;
    conn_is_lost = false;
    f->config.options.rate = rate;
    f->config.options.arrival = arrival;
    f->config.seed = 42;
    f->worker.config = &f->config;
    f->worker.count = 1;
    f->worker.depth = depth;
    f->worker.conns_count = 1;
    f->worker.open_loop = true;
    f->worker.start_ns = 1000000;
    f->worker.t0_ns = f->worker.start_ns + NS_PER_MS;
    f->worker.t1_ns = f->worker.t0_ns + NS_PER_S;
    f->worker.slip = hist_new();
    f->worker.latency = hist_new();
    f->conn = calloc(1, sizeof(*f->conn));
    f->conn->slots = f->slots;
    cr_assert_eq(schedule_open(&f->worker), 0);
    schedule_begin(&f->worker);
    f->worker.now_ns = f->worker.start_ns;
    for (unsigned i = 0; i < depth; i++)
        schedule_slot_free(&f->worker, f->conn, i);
}

static void tear_down(struct fixture *f)
{
    schedule_close(&f->worker);
    hist_free(f->worker.slip);
    hist_free(f->worker.latency);
    free(f->conn);
}

/* Every op is answered the moment it is started. */
static void run_to(struct fixture *f, uint64_t end_ns)
{
    for (;;) {
        uint64_t next_ns = schedule_next_ns(&f->worker);
        if (next_ns >= end_ns)
            return;
        if (next_ns > f->worker.now_ns)
            f->worker.now_ns = next_ns;
        unsigned before = started_count;
        schedule_run(&f->worker);
        for (unsigned i = before; i < started_count; i++)
            schedule_slot_free(&f->worker, started[i].conn, started[i].slot);
    }
}

Test(schedule, constant_arrivals_are_evenly_spaced_and_exactly_counted, .timeout = 20)
{
    struct fixture f;
    set_up(&f, 10000, LOAD_CONSTANT, 4);
    run_to(&f, CLOCK_NEVER);
    /* 1 ms before the window and 1 s of it. */
    cr_assert_eq(started_count, 10 + 10000);
    cr_assert_eq(f.worker.scheduled, 10000);
    cr_assert_eq(f.worker.with_slot, 10000);
    cr_assert_eq(f.worker.sent_in_time, 10000);
    for (unsigned i = 1; i < started_count; i++)
        cr_assert_eq(started[i].intended_ns - started[i - 1].intended_ns, 100 * NS_PER_US);
    cr_assert_eq(f.worker.slip->max, 0);
    cr_assert_eq(schedule_next_ns(&f.worker), CLOCK_NEVER);
    tear_down(&f);
}

Test(schedule, poisson_arrivals_have_the_rate_and_its_variance, .timeout = 20)
{
    struct fixture f;
    set_up(&f, 100000, LOAD_POISSON, 4);
    run_to(&f, CLOCK_NEVER);
    /* 100,000 +- 5 sigma of 316. */
    cr_assert_lt(fabs((double)f.worker.scheduled - 100000), 1600);
    double mean = 0, square = 0;
    for (unsigned i = 1; i < started_count; i++) {
        double gap = (double)(started[i].intended_ns - started[i - 1].intended_ns);
        mean += gap;
        square += gap * gap;
    }
    mean /= started_count - 1;
    double deviation = sqrt(square / (started_count - 1) - mean * mean);
    cr_assert_lt(fabs(deviation / mean - 1), 0.05, "an exponential's deviation is its mean");
    tear_down(&f);
}

Test(schedule, the_same_seed_gives_the_same_arrivals, .timeout = 20)
{
    struct fixture f;
    uint64_t first[100];
    set_up(&f, 100000, LOAD_POISSON, 4);
    run_to(&f, f.worker.t0_ns + 10 * NS_PER_MS);
    for (unsigned i = 0; i < 100; i++)
        first[i] = started[i].intended_ns;
    tear_down(&f);
    set_up(&f, 100000, LOAD_POISSON, 4);
    run_to(&f, f.worker.t0_ns + 10 * NS_PER_MS);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(started[i].intended_ns, first[i]);
    tear_down(&f);
}

Test(schedule, waiting_for_a_slot_is_the_servers_latency_not_slip, .timeout = 20)
{
    struct fixture f;
    set_up(&f, 1000, LOAD_CONSTANT, 1);
    /* The first op stays unanswered for 5.5 intervals. */
    f.worker.now_ns = f.worker.t0_ns;
    schedule_run(&f.worker);
    unsigned busy = started_count;
    cr_assert_eq(busy, 1);
    f.worker.now_ns = f.worker.t0_ns + 5500 * NS_PER_US;
    schedule_run(&f.worker);
    cr_assert_eq(started_count, busy);
    cr_assert_eq(f.worker.due.count, 6);
    cr_assert_eq(f.worker.due_most, 6);
    schedule_slot_free(&f.worker, f.conn, 0);
    cr_assert_eq(started_count, busy + 1);
    cr_assert_eq(started[busy].intended_ns, f.worker.t0_ns,
                 "the one that waited longest, from "
                 "when it should have started");
    cr_assert_eq(f.worker.slip->max, 0);
    cr_assert_eq(f.worker.with_slot, 0);
    tear_down(&f);
}

Test(schedule, a_generator_that_is_late_slips, .timeout = 20)
{
    struct fixture f;
    set_up(&f, 1000, LOAD_CONSTANT, 4);
    uint64_t due_ns = f.worker.t0_ns; /* the second; the first is due at the start */
    f.worker.now_ns = due_ns + 300 * NS_PER_US;
    schedule_run(&f.worker);
    cr_assert_eq(started_count, 2);
    cr_assert_eq(f.worker.slip->max, 300 * NS_PER_US);
    cr_assert_eq(f.worker.with_slot, 1);
    cr_assert_eq(f.worker.sent_in_time, 0);
    tear_down(&f);
}

Test(schedule, what_never_left_is_unfinished_and_keeps_its_age, .timeout = 20)
{
    struct fixture f;
    set_up(&f, 1000, LOAD_CONSTANT, 1);
    f.worker.now_ns = f.worker.t1_ns;
    schedule_run(&f.worker);
    cr_assert_eq(f.worker.due.count, 1000);
    f.worker.now_ns = f.worker.t1_ns + NS_PER_S;
    schedule_abandon(&f.worker);
    cr_assert_eq(abandoned, 1000);
    cr_assert_eq(f.worker.latency->total, 1000);
    cr_assert_eq(f.worker.latency->max, 2 * NS_PER_S);
    tear_down(&f);
}

Test(schedule, slots_of_a_lost_connection_are_skipped_and_come_back_once, .timeout = 20)
{
    struct fixture f;
    set_up(&f, 1000, LOAD_CONSTANT, 2);
    conn_is_lost = true;
    f.worker.now_ns = f.worker.t0_ns;
    schedule_run(&f.worker);
    cr_assert_eq(started_count, 0);
    cr_assert_eq(f.worker.free_count, 0);
    conn_is_lost = false;
    schedule_slot_free(&f.worker, f.conn, 0);
    schedule_slot_free(&f.worker, f.conn, 1);
    cr_assert_eq(started_count, 2);
    tear_down(&f);
}

Test(schedule, a_count_of_ops_ends_it, .timeout = 20)
{
    struct fixture f;
    set_up(&f, 1000, LOAD_CONSTANT, 2);
    f.worker.by_count = true;
    f.worker.ops_left = 25;
    f.worker.t1_ns = CLOCK_NEVER;
    run_to(&f, CLOCK_NEVER);
    cr_assert_eq(started_count, 25);
    tear_down(&f);
}

Test(schedule, the_queue_of_due_ops_is_not_bounded, .timeout = 20)
{
    struct fixture f;
    set_up(&f, 200000, LOAD_CONSTANT, 1);
    f.worker.now_ns = f.worker.t1_ns;
    schedule_run(&f.worker);
    cr_assert_geq(f.worker.due.count, 200000);
    uint64_t last_ns = 0;
    for (unsigned i = 0; i < 150000; i++) {
        schedule_slot_free(&f.worker, f.conn, 0);
        cr_assert_gt(started[started_count - 1].intended_ns, last_ns);
        last_ns = started[started_count - 1].intended_ns;
    }
    tear_down(&f);
}
