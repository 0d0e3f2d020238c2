/*
 * One worker of the load generator: a thread, an engine instance, its connections, its share of
 * the schedule, its histograms. Private to client/.
 */
#ifndef LAB_CLIENT_WORKER_H
#define LAB_CLIENT_WORKER_H

#include <pthread.h>

#include "client/load.h"
#include "core/clock.h"
#include "core/rng.h"
#include "engines/tally.h"

/* An op is sent in time if it left so soon after it was due (and a slot was free). */
#define LOAD_IN_TIME_NS      (100 * NS_PER_US)
#define LOAD_CONNECTING_MOST 64 /* connects under way a worker while setting up */
#define LOAD_REOPEN_NS       (10 * NS_PER_MS)
#define LOAD_ERROR_KINDS     16
#define LOAD_EXAMPLE_BYTES   320

enum load_conn_phase {
    CONN_CLOSED, /* none, or waiting to be opened (again) */
    CONN_CONNECTING,
    CONN_OPEN,
    CONN_LEAVING, /* reconnect: the op is answered, or has failed, and the server is to close */
    CONN_CLOSING, /* we closed it; what it had under way is accounted for */
};

struct load_slot {
    uint64_t intended_ns;
    uint64_t sent_ns;
    uint64_t free_since_ns;
    bool busy;
    bool queued; /* in the worker's ring of free slots */
};

/* What came, of an op that the server's close is still to end. */
struct load_answer {
    uint64_t at_ns, bytes, fresh;
};

struct load_conn {
    struct pump_conn pump; /* first */
    /* What every op needs, on one line of the cache. */
    _Alignas(64) struct load_worker *worker;
    struct load_slot *slots;   /* the_slot, or behind the state, in the same piece of memory */
    struct load_slot the_slot; /* with a depth of 1 */
    enum load_conn_phase phase;
    unsigned busy;
    struct timer timer; /* connect or op time-out; pause before it is opened again; ramp */

    uint64_t number; /* unique over all processes */
    uint64_t loops_left;
    uint64_t connect_ns;            /* when the connect under way was begun */
    struct load_answer answer;      /* while it is leaving */
    bool was_open, is_open;         /* once at least; now, until its close is over */
    uint64_t heard_bytes, heard_ns; /* received at the timer's last look; when that had grown */
    _Alignas(64) uint8_t state[];
};

struct load_error {
    const char *kind;
    uint64_t count;
    char example[LOAD_EXAMPLE_BYTES];
};

struct load_free {
    struct load_conn *conn;
    unsigned slot;
};

/* A ring that grows; only an overloaded open loop makes it grow while it measures. */
struct load_due {
    uint64_t *intended_ns;
    size_t room, head, count;
};

enum load_phase {
    WORKER_SETUP,
    WORKER_WAITING,
    WORKER_RUNNING,
    WORKER_DRAINING,
    WORKER_ENDED,
};

struct load_worker {
    /* What every op needs comes first: three lines of the cache. The counters are read by the main
     * thread, seldom. */
    _Alignas(64) uint64_t now_ns; /* the last that was read */
    uint64_t t0_ns, t1_ns;
    uint64_t next_op;
    void (*start)(void *state, unsigned slot, uint64_t op); /* the workload's */
    struct counter ops_done, bytes_done;
    enum load_phase phase;
    bool goes_on_at_once; /* an op that ends starts the next: a closed loop, kept connections */
    bool open_loop, by_count, reconnect;
    uint64_t window_ops, window_bytes;
    const struct load_config *config;
    struct hist *latency;
    struct engine *engine;
    struct load *load;
    unsigned busy; /* ops in flight */
    unsigned depth;
    struct timers timers; /* when the next one fires is its first field */

    _Alignas(64) struct hist_batch latencies; /* on their way to `latency` */

    uint64_t ops_left; /* --ops */
    unsigned index;    /* over all processes */
    unsigned count;    /* of workers over all processes */
    pthread_t thread;
    pid_t tid;
    void *other_side;
    struct addr address;
    char address_text[ADDR_TEXT_MAX];
    char authority[OPTION_TEXT_MAX];
    void *shared;       /* the workload's */
    struct meter meter; /* of the workload's metrics */
    uint64_t start_ns, drain_until_ns, ended_ns;
    unsigned open_now;   /* connections */
    uint64_t reached_ns; /* when the last that was open ended */

    struct load_conn **conns;
    unsigned conns_count, connecting, opened, next_connect;
    unsigned conns_left; /* --loops: those with ops left */
    uint64_t next_local; /* --local-addrs: which one the next connection is opened from */

    struct rng rng;
    double interval_ns;
    double next_due; /* ns since start_ns; a double holds ns exactly for 100 days */
    struct load_due due;
    struct load_free *free;
    size_t free_room, free_head, free_count;

    /* Read once the thread has ended, as are window_ops and window_bytes. */
    uint64_t lost; /* connections, in the window, with nothing under way */
    uint64_t unfinished, scheduled, sent_in_time, with_slot, due_most;
    struct load_error errors[LOAD_ERROR_KINDS];
    struct hist *latency_from_send, *slip, *connect, *first_byte;
    struct lab_error error; /* why it could not start */
    int result;
};

struct load {
    struct load_config config;
    struct load_worker *workers;
    unsigned workers_count, started;
    pthread_mutex_t lock; /* ready, failed, finished, instances being closed */
    pthread_cond_t changed;
    unsigned ready, failed, finished;
    uint64_t start_ns, t0_ns, t1_ns; /* valid once window_set */
    _Atomic bool window_set, stopping;
    struct engine_caps caps;
    uint64_t meter_samples[2][METER_ROWS_MAX];
    void *process;             /* the workload's, of all workers */
    struct engine_tally tally; /* under the lock */
    struct load_sample {
        uint64_t at_ns, ops, bytes;
    } samples[64];
    unsigned samples_count;
};

/* Of all connections; worker.c's own. */
extern const struct pump_owner worker_conn_owner;
void worker_conn_timer(struct timer *timer, uint64_t now_ns);

int worker_open(struct load_worker *worker);  /* memory; before the thread */
void *worker_main(void *worker);              /* the thread */
void worker_free(struct load_worker *worker); /* after it */

#endif
