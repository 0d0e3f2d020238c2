/*
 * See worker.h. A worker sets its connections up, waits for the window, runs (closed loop: a
 * finished op starts the next; open loop: client/schedule.c), drains and ends. Its thread alone
 * touches what is in struct load_worker, but for the counters and what load.c reads after it.
 */
#include "client/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/error_kind.h"
#include "client/schedule.h"
#include "core/seldom.h"

#define WORKER_ROUNDS_A_LOOK 16

static void conn_connect(struct load_worker *worker, struct load_conn *conn);
static void conn_give_slots(struct load_worker *worker, struct load_conn *conn);

static struct load_conn *conn_of_timer(struct timer *timer)
{
    return (struct load_conn *)((char *)timer - offsetof(struct load_conn, timer));
}

void worker_error(struct load_worker *worker, const char *kind, uint64_t count, const char *example)
{
    for (unsigned i = 0; i < LOAD_ERROR_KINDS; i++) {
        struct load_error *error = &worker->errors[i];
        if (error->kind == NULL) {
            error->kind = kind;
            snprintf(error->example, sizeof(error->example), "%s", example);
        }
        /* The last place takes what finds none. */
        if (strcmp(error->kind, kind) == 0 || i == LOAD_ERROR_KINDS - 1) {
            error->count += count;
            return;
        }
    }
}

static bool in_window(const struct load_worker *worker, uint64_t at_ns)
{
    return at_ns - worker->t0_ns < worker->t1_ns - worker->t0_ns;
}

/* Whether ops (and connections for them) are still to be started. */
static bool worker_goes_on(const struct load_worker *worker)
{
    return worker->phase == WORKER_RUNNING && worker->now_ns < worker->t1_ns;
}

bool worker_conn_ready(const struct load_worker *worker, const struct load_conn *conn)
{
    return conn->phase == (worker->config->options.reconnect ? CONN_CLOSED : CONN_OPEN);
}

/* --- ops --- */

static void conn_watch(struct load_worker *worker, struct load_conn *conn)
{
    if (!timer_is_set(&conn->timer))
        timer_set(&worker->timers, &conn->timer,
                  worker->now_ns + worker->config->options.timeout_ns);
}

static void conn_begin_op(struct load_worker *worker, struct load_conn *conn, unsigned slot)
{
    worker->start(conn->state, slot, worker->next_op++);
    conn_watch(worker, conn);
    pump_kick(&conn->pump);
}

/* Closed loop: is there another op for this connection? Takes it. */
static inline bool closed_loop_take(struct load_worker *worker, struct load_conn *conn)
{
    if (!worker_goes_on(worker))
        return false;
    if (!worker->by_count)
        return true;
    if (worker->config->options.loops > 0) {
        if (conn->loops_left == 0)
            return false;
        if (--conn->loops_left == 0)
            worker->conns_left--;
        return true;
    }
    if (worker->ops_left == 0)
        return false;
    worker->ops_left--;
    return true;
}

void worker_start_op(struct load_worker *worker, struct load_conn *conn, unsigned slot,
                     uint64_t intended_ns)
{
    struct load_slot *s = &conn->slots[slot];

    s->intended_ns = intended_ns;
    s->sent_ns = worker->now_ns;
    s->busy = true;
    conn->busy++;
    worker->busy++;
    if (worker->reconnect)
        conn_connect(worker, conn);
    else
        conn_begin_op(worker, conn, slot);
}

static void slot_next(struct load_worker *worker, struct load_conn *conn, unsigned slot)
{
    if (worker->open_loop)
        schedule_slot_free(worker, conn, slot);
    else if (closed_loop_take(worker, conn))
        worker_start_op(worker, conn, slot, worker->now_ns);
}

static inline void op_ends(struct load_worker *worker, struct load_conn *conn, unsigned slot)
{
    conn->slots[slot].busy = false;
    conn->busy--;
    worker->busy--;
}

/* One op a connection: done with, it is closed as was asked, and the next begins when it is. */
static void conn_leave(struct load_worker *worker, struct load_conn *conn)
{
    if (worker->config->options.close == LOAD_CLOSE_SERVER) {
        conn->phase = CONN_LEAVING;
        return;
    }
    conn->phase = CONN_CLOSING;
    pump_close(&conn->pump, worker->config->options.close == LOAD_CLOSE_RST);
}

/* A good op, whose last byte came at_ns. */
static inline void op_counts(struct load_worker *worker, const struct load_slot *s, uint64_t at_ns,
                             uint64_t bytes, uint64_t fresh)
{
    counter_add(&worker->ops_done, 1);
    counter_add(&worker->bytes_done, fresh);
    if (in_window(worker, at_ns)) {
        worker->window_ops++;
        worker->window_bytes += bytes;
        if (!worker->open_loop)
            hist_batch_add(&worker->latencies, worker->latency, at_ns - s->intended_ns);
    }
}

/* The same, in an open loop too, where an op belongs to when it should have started. */
static void op_counts_otherwise(struct load_worker *worker, const struct load_slot *s,
                                uint64_t at_ns, uint64_t bytes, uint64_t fresh)
{
    op_counts(worker, s, at_ns, bytes, fresh);
    if (worker->open_loop && in_window(worker, s->intended_ns)) {
        hist_batch_add(&worker->latencies, worker->latency, at_ns - s->intended_ns);
        hist_record(worker->latency_from_send, at_ns - s->sent_ns);
    }
}

/* In an open loop, or with a connection an op. */
static SELDOM void op_done_otherwise(struct load_worker *worker, struct load_conn *conn,
                                     unsigned slot, uint64_t bytes, uint64_t fresh)
{
    if (worker->reconnect && worker->config->options.close == LOAD_CLOSE_SERVER) {
        /* The close is a part of it: until then it is under way. */
        conn->answer = (struct load_answer){worker->now_ns, bytes, fresh};
        conn_leave(worker, conn);
    } else {
        op_counts_otherwise(worker, &conn->slots[slot], worker->now_ns, bytes, fresh);
        op_ends(worker, conn, slot);
        if (worker->reconnect)
            conn_leave(worker, conn);
        else
            slot_next(worker, conn, slot);
    }
    /* A round of the engine may hold many answers: what falls due meanwhile does not wait. */
    if (worker->open_loop && worker->phase == WORKER_RUNNING)
        schedule_run(worker);
}

uint64_t load_op_done(struct load_conn *conn, unsigned slot, uint64_t bytes, uint64_t fresh)
{
    struct load_worker *worker = conn->worker;
    struct load_slot *s = &conn->slots[slot];
    uint64_t now_ns = clock_ns();

    worker->now_ns = now_ns;
    if (__builtin_expect(!worker->goes_on_at_once, 0)) {
        op_done_otherwise(worker, conn, slot, bytes, fresh);
        return now_ns;
    }
    op_counts(worker, s, now_ns, bytes, fresh);
    if (closed_loop_take(worker, conn)) {
        /* As worker_start_op: busy it stays. */
        s->intended_ns = s->sent_ns = now_ns;
        conn_begin_op(worker, conn, slot);
    } else {
        op_ends(worker, conn, slot);
    }
    return now_ns;
}

static void op_fails(struct load_worker *worker, struct load_conn *conn, unsigned slot)
{
    if (worker->open_loop)
        schedule_record_late(worker, conn->slots[slot].intended_ns);
    op_ends(worker, conn, slot);
}

void load_op_failed(struct load_conn *conn, unsigned slot, const char *kind, const char *example)
{
    struct load_worker *worker = conn->worker;

    worker->now_ns = clock_ns();
    worker_error(worker, kind, 1, example);
    op_fails(worker, conn, slot);
    if (worker->config->options.reconnect)
        conn_leave(worker, conn);
    else
        slot_next(worker, conn, slot);
}

/* Only where a connection serves one op is its first byte worth a clock read of its own. */
void load_op_first_byte(struct load_conn *conn, unsigned slot)
{
    struct load_worker *worker = conn->worker;

    if (worker->first_byte == NULL)
        return;
    uint64_t now_ns = clock_ns();
    if (in_window(worker, now_ns))
        hist_record(worker->first_byte, now_ns - conn->slots[slot].intended_ns);
}

const char *load_authority(const struct load_conn *conn)
{
    return conn->worker->authority;
}

bool load_wants_first_byte(const struct load_conn *conn)
{
    return conn->worker->first_byte != NULL;
}

void load_progress(struct load_conn *conn, uint64_t bytes)
{
    counter_add(&conn->worker->bytes_done, bytes);
}

void load_count(struct load_conn *conn, unsigned row, uint64_t n)
{
    meter_add(&conn->worker->meter, row, n);
}

void load_record(struct load_conn *conn, unsigned row, uint64_t now_ns, uint64_t value)
{
    if (in_window(conn->worker, now_ns))
        meter_record(&conn->worker->meter, row, value);
}

uint64_t load_op_start_ns(const struct load_conn *conn, unsigned slot)
{
    return conn->slots[slot].intended_ns;
}

static bool worker_has_done_all(const struct load_worker *worker)
{
    if (!worker->by_count || worker->busy > 0 || worker->due.count > 0)
        return false;
    return worker->config->options.loops > 0 ? worker->conns_left == 0 : worker->ops_left == 0;
}

/* --- connections --- */

static void conn_describe(const struct load_worker *worker, bool connecting, int err,
                          const char *advice, char *out, size_t out_size)
{
    snprintf(out, out_size, "%s %s: %s%s", connecting ? "connect to" : "connection to",
             worker->address_text, strerror(err), advice);
}

/* Everything under way on the connection has failed. */
static void conn_lose_ops(struct load_worker *worker, struct load_conn *conn, const char *kind,
                          const char *example)
{
    unsigned lost = conn->busy;

    if (lost == 0 && conn->phase == CONN_LEAVING)
        return; /* its op had failed already */
    for (unsigned i = 0; i < worker->depth && conn->busy > 0; i++)
        if (conn->slots[i].busy)
            op_fails(worker, conn, i);
    worker_error(worker, kind, lost > 0 ? lost : 1, example);
}

static void conn_reopen_later(struct load_worker *worker, struct load_conn *conn)
{
    conn->phase = CONN_CLOSED;
    timer_set(&worker->timers, &conn->timer, worker->now_ns + LOAD_REOPEN_NS);
}

/* No connection could be had for so long that none is to be expected: what was still to be done
 * has failed. */
static void worker_abandon(struct load_worker *worker)
{
    uint64_t left = worker->ops_left;

    for (unsigned i = 0; i < worker->conns_count; i++) {
        left += worker->conns[i]->loops_left;
        worker->conns[i]->loops_left = 0;
    }
    worker->ops_left = worker->conns_left = 0;
    if (left > 0)
        worker_error(worker, "unfinished", left,
                     "ops were not begun: no connection could be had for --timeout");
    if (worker->open_loop)
        schedule_abandon(worker);
}

/* A count of ops must end though a connection that is to be kept cannot be had: in a closed loop
 * an op would have begun here. */
static void conn_not_had(struct load_worker *worker, struct load_conn *conn)
{
    const struct load_options *options = &worker->config->options;

    if (!worker->by_count || options->reconnect || !worker_goes_on(worker))
        return;
    if (!worker->open_loop)
        closed_loop_take(worker, conn);
    if (worker->open_now == 0 && worker->now_ns - worker->reached_ns >= options->timeout_ns)
        worker_abandon(worker);
}

static void conn_failed(struct load_worker *worker, struct load_conn *conn, bool connecting,
                        int err)
{
    const char *advice;
    const char *kind = error_kind(err, connecting, &advice);
    char example[LOAD_EXAMPLE_BYTES];

    conn_describe(worker, connecting, err, advice, example, sizeof(example));
    if (worker->phase == WORKER_SETUP && !conn->was_open) {
        worker->result = -err;
        snprintf(worker->error.text, sizeof(worker->error.text), "cannot %s", example);
        worker->phase = WORKER_ENDED;
        return;
    }
    conn_lose_ops(worker, conn, kind, example);
    if (connecting)
        conn_not_had(worker, conn);
}

/* Each that is opened takes the next: what holds the ports of one that was closed is its own. */
static void conn_local_address(struct load_worker *worker, struct addr *local)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    uint64_t among = worker->config->options.local_addrs;

    local->size = 0;
    if (among <= 1)
        return;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(worker->next_local++ % among));
    memcpy(&local->sa, &in, sizeof(in));
    local->size = sizeof(in);
}

static void conn_connect(struct load_worker *worker, struct load_conn *conn)
{
    struct addr local;

    conn_local_address(worker, &local);
    worker->config->workload->state_reset(conn->state, conn->number);
    conn->connect_ns = conn->heard_ns = worker->now_ns;
    conn->heard_bytes = 0;
    conn->phase = CONN_CONNECTING;
    worker->connecting++;
    int r = pump_connect(&conn->pump, worker->engine, &worker->address,
                         local.size != 0 ? &local : NULL);
    if (r == 0) {
        conn_watch(worker, conn);
        return;
    }
    worker->connecting--;
    conn_failed(worker, conn, true, -r);
    conn_reopen_later(worker, conn);
}

static void conn_opened(struct pump_conn *pump)
{
    struct load_conn *conn = (struct load_conn *)pump;
    struct load_worker *worker = conn->worker;

    worker->now_ns = clock_ns();
    worker->connecting--;
    worker->open_now++;
    conn->is_open = true;
    /* Kept ones count when they are first there, before the window as a rule: their number is the
     * connections'. */
    bool first = !worker->config->options.reconnect && !conn->was_open;
    if (worker->phase == WORKER_SETUP || first || in_window(worker, worker->now_ns))
        hist_record(worker->connect, worker->now_ns - conn->connect_ns);
    conn->phase = CONN_OPEN;
    if (!conn->was_open) {
        conn->was_open = true;
        worker->opened++;
    }
    if (!worker->config->options.reconnect) {
        timer_cancel(&worker->timers, &conn->timer);
        if (worker->phase == WORKER_RUNNING || worker->phase == WORKER_DRAINING)
            conn_give_slots(worker, conn);
    } else {
        conn_begin_op(worker, conn, 0);
    }
}

static void conn_after_close(struct load_worker *worker, struct load_conn *conn, bool in_order)
{
    timer_cancel(&worker->timers, &conn->timer);
    conn->phase = CONN_CLOSED;
    if (worker->phase != WORKER_RUNNING && worker->phase != WORKER_DRAINING)
        return;
    if (!in_order) {
        if (worker_goes_on(worker) && !worker_has_done_all(worker))
            conn_reopen_later(worker, conn);
        return;
    }
    /* One op a connection: the next one's time runs from here. */
    worker->now_ns = clock_ns();
    slot_next(worker, conn, 0);
}

/* The server has closed, as was to be waited for: its op is a good one. */
static void conn_answered(struct load_worker *worker, struct load_conn *conn)
{
    const struct load_answer *answer = &conn->answer;

    op_counts_otherwise(worker, &conn->slots[0], answer->at_ns, answer->bytes, answer->fresh);
    op_ends(worker, conn, 0);
}

/* Whether the server ended a connection that is to be kept and had nothing under way, as it may:
 * no op has failed. */
static bool conn_was_idle(const struct load_conn *conn, int err)
{
    return conn->phase == CONN_OPEN && conn->busy == 0 &&
           (err == 0 || err == ECONNRESET || err == EPIPE || err == ESHUTDOWN);
}

static void conn_closed(struct pump_conn *pump, enum engine_reason reason, int err)
{
    struct load_conn *conn = (struct load_conn *)pump;
    struct load_worker *worker = conn->worker;
    enum load_conn_phase phase = conn->phase;
    bool in_order = worker->config->options.reconnect && conn->busy == 0;

    if (phase == CONN_LEAVING && err == 0 && conn->busy > 0 && worker->phase != WORKER_ENDED) {
        conn_answered(worker, conn);
        in_order = true;
    }
    if (phase == CONN_CONNECTING)
        worker->connecting--;
    if (conn->is_open) {
        conn->is_open = false;
        worker->open_now--;
        worker->reached_ns = clock_ns();
    }
    if (worker->phase == WORKER_ENDED) {
        timer_cancel(&worker->timers, &conn->timer);
        conn->phase = CONN_CLOSED;
        return;
    }
    if (phase != CONN_CLOSING && !(phase == CONN_LEAVING && err == 0)) {
        worker->now_ns = clock_ns();
        in_order = false;
        if (conn_was_idle(conn, err)) {
            worker->lost += in_window(worker, worker->now_ns);
        } else if (err != 0) {
            conn_failed(worker, conn, phase == CONN_CONNECTING, err);
        } else {
            char example[LOAD_EXAMPLE_BYTES];
            snprintf(example, sizeof(example), "connection to %s: the server closed it early",
                     worker->address_text);
            conn_lose_ops(worker, conn, "closed-early", example);
        }
    }
    conn_after_close(worker, conn, in_order);
}

const struct pump_owner worker_conn_owner = {.opened = conn_opened, .closed = conn_closed};

/* Hands all its slots their first op (or, after a loss, their next). */
static void conn_give_slots(struct load_worker *worker, struct load_conn *conn)
{
    for (unsigned i = 0; i < worker->depth && worker_conn_ready(worker, conn); i++)
        if (!conn->slots[i].busy)
            slot_next(worker, conn, i);
}

/* Its ops have taken too long, its connect has, or the server does not close. */
static void conn_timed_out(struct load_worker *worker, struct load_conn *conn)
{
    enum load_conn_phase phase = conn->phase;
    char example[LOAD_EXAMPLE_BYTES];
    bool connecting = phase == CONN_CONNECTING;

    snprintf(example, sizeof(example), "%s %s: %s within --timeout %.3gs",
             connecting ? "connect to" : "connection to", worker->address_text,
             connecting              ? "no answer"
             : phase == CONN_LEAVING ? "the server did not close it"
                                     : "no (whole) answer",
             (double)worker->config->options.timeout_ns / NS_PER_S);
    if (connecting && worker->phase == WORKER_SETUP && !conn->was_open) {
        worker->result = -ETIMEDOUT;
        snprintf(worker->error.text, sizeof(worker->error.text), "cannot %s", example);
        worker->phase = WORKER_ENDED;
        return;
    }
    conn_lose_ops(worker, conn, connecting ? "connect-timeout" : "timeout", example);
    if (connecting) {
        worker->connecting--;
        conn_not_had(worker, conn);
    }
    conn->phase = CONN_CLOSING;
    pump_close(&conn->pump, true);
}

/* To be asked at each look of the timer: whether nothing has come for as long as an op may take. */
static bool conn_look(struct load_conn *conn, uint64_t now_ns)
{
    if (conn->heard_bytes != conn->pump.received_bytes) {
        conn->heard_bytes = conn->pump.received_bytes;
        conn->heard_ns = now_ns;
    }
    return now_ns - conn->heard_ns >= conn->worker->config->options.timeout_ns;
}

/* Ends the ops that are out of time, and only these; false: it cannot. */
static bool conn_cancel_late(struct load_worker *worker, struct load_conn *conn)
{
    const struct client_workload *workload = worker->config->workload;
    uint64_t timeout_ns = worker->config->options.timeout_ns, now_ns = worker->now_ns;
    char example[LOAD_EXAMPLE_BYTES];

    if (workload->cancel == NULL || conn->phase != CONN_OPEN)
        return false;
    snprintf(example, sizeof(example), "no (whole) answer from %s within --timeout %.3gs",
             worker->address_text, (double)timeout_ns / NS_PER_S);
    uint64_t next_ns = now_ns + timeout_ns;
    for (unsigned i = 0; i < worker->depth; i++) {
        struct load_slot *slot = &conn->slots[i];
        if (!slot->busy)
            continue;
        if (slot->sent_ns + timeout_ns > now_ns) {
            if (slot->sent_ns + timeout_ns < next_ns)
                next_ns = slot->sent_ns + timeout_ns;
            continue;
        }
        slot->sent_ns = now_ns; /* so long it may take to say so: no figure is made of it now */
        if (!workload->cancel(conn->state, i, "timeout", example))
            return false;
    }
    timer_set(&worker->timers, &conn->timer, next_ns);
    pump_kick(&conn->pump);
    return true;
}

/* One timer a connection, looked at lazily: no op sets or clears it. */
void worker_conn_timer(struct timer *timer, uint64_t now_ns)
{
    struct load_conn *conn = conn_of_timer(timer);
    struct load_worker *worker = conn->worker;
    uint64_t timeout_ns = worker->config->options.timeout_ns, oldest_ns = CLOCK_NEVER;

    worker->now_ns = now_ns;
    if (conn->phase == CONN_CLOSED) {
        if (!worker_goes_on(worker))
            return;
        if (worker->config->options.reconnect)
            slot_next(worker, conn, 0);
        else
            conn_connect(worker, conn);
        return;
    }
    if (conn->phase == CONN_CONNECTING || conn->phase == CONN_LEAVING)
        oldest_ns = conn->connect_ns;
    else if (conn->phase == CONN_CLOSING)
        return;
    for (unsigned i = 0; i < worker->depth && conn->busy > 0; i++)
        if (conn->slots[i].busy && conn->slots[i].sent_ns < oldest_ns)
            oldest_ns = conn->slots[i].sent_ns;
    if (oldest_ns == CLOCK_NEVER)
        return; /* idle: its next op sets the timer again */
    bool silent = conn_look(conn, now_ns);
    if (oldest_ns + timeout_ns > now_ns)
        timer_set(&worker->timers, timer, oldest_ns + timeout_ns);
    else if (silent || !conn_cancel_late(worker, conn))
        conn_timed_out(worker, conn);
}

/* --- the thread --- */

static void worker_say_ready(struct load_worker *worker, bool well)
{
    struct load *load = worker->load;
    pthread_mutex_lock(&load->lock);
    if (well)
        load->ready++;
    else
        load->failed++;
    pthread_cond_broadcast(&load->changed);
    pthread_mutex_unlock(&load->lock);
}

static void worker_set_up(struct load_worker *worker)
{
    const struct load_options *options = &worker->config->options;

    if (!options->reconnect && options->ramp_ns == 0) {
        while (worker->next_connect < worker->conns_count &&
               worker->connecting < LOAD_CONNECTING_MOST && worker->phase == WORKER_SETUP) {
            worker->now_ns = clock_ns();
            conn_connect(worker, worker->conns[worker->next_connect++]);
        }
        if (worker->opened < worker->conns_count)
            return;
    }
    if (worker->phase == WORKER_SETUP) {
        worker->phase = WORKER_WAITING;
        worker_say_ready(worker, true);
    }
}

static void worker_begin(struct load_worker *worker)
{
    const struct load_options *options = &worker->config->options;

    worker->phase = WORKER_RUNNING;
    worker->reached_ns = worker->now_ns;
    if (worker->open_loop)
        schedule_begin(worker);
    for (unsigned i = 0; i < worker->conns_count; i++) {
        struct load_conn *conn = worker->conns[i];
        if (options->ramp_ns > 0) {
            uint64_t place = (uint64_t)i * worker->count + worker->index;
            timer_set(&worker->timers, &conn->timer,
                      worker->start_ns +
                          options->ramp_ns * place / (worker->conns_count * worker->count));
        } else if (conn->phase == CONN_CLOSED && !options->reconnect) {
            conn_connect(worker, conn); /* lost while it waited */
        } else {
            conn_give_slots(worker, conn);
        }
    }
}

static void worker_drain(struct load_worker *worker)
{
    worker->phase = WORKER_DRAINING;
    tally_stop(worker->engine);
    worker->unfinished = worker->busy + worker->due.count;
    worker->drain_until_ns =
        worker->by_count ? worker->now_ns : worker->t1_ns + worker->config->options.timeout_ns;
}

/* What has not been answered when draining ends failed. */
static void worker_give_up(struct load_worker *worker)
{
    for (unsigned i = 0; i < worker->conns_count; i++)
        if (worker->conns[i]->busy > 0)
            conn_lose_ops(worker, worker->conns[i], "unfinished",
                          "ops were still unanswered --timeout after the window");
    if (worker->open_loop)
        schedule_abandon(worker);
}

/* One look at the phase; returns the deadline for the next poll. */
static uint64_t worker_step(struct load_worker *worker)
{
    struct load *load = worker->load;
    uint64_t next_ns = timers_next_ns(&worker->timers);

    if (next_ns <= worker->now_ns) {
        timers_run(&worker->timers, worker->now_ns);
        next_ns = timers_next_ns(&worker->timers);
    }
    switch (worker->phase) {
    case WORKER_SETUP: worker_set_up(worker); return timers_next_ns(&worker->timers);
    case WORKER_WAITING:
        if (!atomic_load_explicit(&load->window_set, memory_order_acquire))
            return next_ns;
        worker->start_ns = load->start_ns;
        worker->t0_ns = load->t0_ns;
        worker->t1_ns = load->t1_ns != 0 ? load->t1_ns : CLOCK_NEVER;
        worker->now_ns = clock_ns();
        if (worker->now_ns < worker->start_ns)
            return worker->start_ns;
        worker_begin(worker);
        return 0;
    case WORKER_RUNNING:
        if (worker->open_loop) {
            schedule_run(worker);
            uint64_t due_ns = schedule_next_ns(worker);
            next_ns = due_ns < next_ns ? due_ns : next_ns;
        }
        if (worker->now_ns >= worker->t1_ns || worker_has_done_all(worker)) {
            worker_drain(worker);
            return 0;
        }
        return next_ns < worker->t1_ns ? next_ns : worker->t1_ns;
    case WORKER_DRAINING:
        if ((worker->busy == 0 && worker->due.count == 0) ||
            worker->now_ns >= worker->drain_until_ns) {
            worker_give_up(worker);
            worker->phase = WORKER_ENDED;
            return 0;
        }
        return next_ns < worker->drain_until_ns ? next_ns : worker->drain_until_ns;
    default: return 0;
    }
}

static void worker_loop(struct load_worker *worker)
{
    const struct engine_ops *ops = worker->engine->ops;
    struct load *load = worker->load;
    unsigned rounds = 0;

    worker->now_ns = clock_ns();
    /* A stop that came before there was an engine woke nobody. */
    if (atomic_load_explicit(&load->stopping, memory_order_acquire))
        worker->phase = WORKER_ENDED;
    while (worker->phase != WORKER_ENDED) {
        uint64_t deadline_ns = worker_step(worker);
        if (worker->phase == WORKER_ENDED)
            break;
        bool spin = worker->open_loop && worker->phase == WORKER_RUNNING &&
                    worker->config->options.pacing == LOAD_PACING_SPIN;
        int r = ops->poll(worker->engine, spin ? 0 : deadline_ns);
        if (r < 0) {
            worker->result = r;
            lab_fail(&worker->error, -r, "the %s engine failed: %s", ops->name, strerror(-r));
            break;
        }
        /* Completed ops leave a fresh time behind: a read a round would be one too many. */
        if (r == 0 || worker->phase != WORKER_RUNNING || worker->open_loop ||
            ++rounds % WORKER_ROUNDS_A_LOOK == 0)
            worker->now_ns = clock_ns();
        if (atomic_load_explicit(&load->stopping, memory_order_acquire)) {
            if (worker->phase < WORKER_RUNNING)
                break;
            if (worker->t1_ns > worker->now_ns)
                worker->t1_ns = worker->now_ns;
        }
    }
    worker->phase = WORKER_ENDED;
    worker->ended_ns = worker->now_ns;
    hist_batch_flush(&worker->latencies, worker->latency);
}

/* A path has no place in a URI's authority, nor has a scope, which means something here only. */
static void worker_set_authority(struct load_worker *worker)
{
    const char *name = worker->config->server_name;
    struct addr address = worker->address;
    char text[ADDR_TEXT_MAX];

    if (address.sa.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&address.sa)->sin6_scope_id = 0;
    if (name == NULL)
        name = addr_is_unix(&address) ? "localhost" : addr_format(&address, text);
    snprintf(worker->authority, sizeof(worker->authority), "%s", name);
}

static int worker_open_engine(struct load_worker *worker)
{
    const struct load_config *config = worker->config;
    struct engine_config engine_config = {
        .options = config->spec->options,
        .message_size = config->workload->message_bytes(config->workload_options),
        .conns_hint = worker->conns_count,
        .cc = config->cc,
        .link = config->link,
        .verbose = config->verbose,
        .apart = config->apart && worker->load->workers_count == 1,
    };
    struct engine *engine;
    int r = config->spec->ops->open(&engine, &engine_config, &pump_events, &worker->error);
    if (r < 0)
        return r;
    /* From here on load_stop() finds it, and wakes it. */
    pthread_mutex_lock(&worker->load->lock);
    worker->engine = engine;
    pthread_mutex_unlock(&worker->load->lock);
    if (config->other_side == NULL)
        worker->address = config->addresses[worker->index % config->addresses_count];
    else
        r = config->other_side->open(config->other_side->context, worker->engine,
                                     &worker->other_side, &worker->address, &worker->error);
    addr_format(&worker->address, worker->address_text);
    worker_set_authority(worker);
    return r;
}

void *worker_main(void *context)
{
    struct load_worker *worker = context;
    struct load *load = worker->load;

    worker->tid = gettid();
    worker->result = worker_open_engine(worker);
    bool was_ready = false;
    if (worker->result == 0) {
        worker_loop(worker);
        was_ready = worker->phase == WORKER_ENDED && worker->result == 0;
    }
    pthread_mutex_lock(&load->lock);
    struct engine *engine = worker->engine;
    if (engine != NULL)
        tally_ended(&load->tally, engine);
    worker->engine = NULL;
    pthread_mutex_unlock(&load->lock);
    worker->phase = WORKER_ENDED;
    if (engine != NULL)
        engine->ops->close(engine);
    if (worker->other_side != NULL)
        worker->config->other_side->close(worker->config->other_side->context, worker->other_side);
    pthread_mutex_lock(&load->lock);
    load->finished++;
    load->failed += !was_ready;
    pthread_cond_broadcast(&load->changed);
    pthread_mutex_unlock(&load->lock);
    return NULL;
}
