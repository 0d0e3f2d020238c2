/*
 * See serve.h. One acceptor; with several workers it hands accepted connections round robin
 * through a mailbox and wake(), so that nothing is shared while they are served.
 */
#include "server/serve.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/line.h"
#include "core/timer.h"
#include "engines/tally.h"
#include "engines/thread.h"

/* So many looks on end, two in --idle, that found nothing new of a connection. */
#define SERVE_LOOKS_IDLE    2u
#define SERVE_LOOKS_STUCK   4u
#define SERVE_SAY_EVERY_NS  NS_PER_S
#define SERVE_ROUNDS_A_LOOK 64

struct server_worker;

struct server_conn {
    struct pump_conn pump; /* first */
    struct server_worker *worker;
    struct server_conn *next, *previous; /* the worker's open ones; next also of free ones */
    uint64_t seen_bytes;                 /* received when it was last swept */
    unsigned silent;                     /* sweeps in a row that found no more */
    _Alignas(64) uint8_t state[];
};

struct server_worker {
    _Alignas(64) struct pump_listener listener; /* first */
    /* What every round looks at, on one line of the cache with the listener. */
    struct server *server;
    struct engine *engine;
    _Atomic bool has_mail;
    bool draining;
    bool listens;
    bool owned; /* engine and thread are the server's own */
    bool joinable;
    /* Under the server's lock: a worker a connection waits for one; the thread has said how its
     * start went; it serves, and others may touch its engine. */
    bool waits, started, running;
    struct timers timers;

    pthread_t thread;
    struct lab_error error;
    int result;
    pid_t tid;
    struct server_conn *open, *free;
    unsigned open_count;
    struct timer sweep;
    void *shared;       /* the workload's */
    struct meter meter; /* of the workload's metrics */
    /* Accepted by another worker, to be attached here. */
    pthread_mutex_t mail_lock;
    struct engine_accepted *mail;
    unsigned mail_count, mail_room;
};

struct server_totals {
    uint64_t rows[METER_ROWS_MAX];
    uint64_t refused, idle_closed, cut, accepted;
};

struct server {
    struct server_config config;
    struct addr address;
    /* Of the workers' list, what of each is said to be under it, serving; before a mail_lock. */
    pthread_mutex_t lock;
    pthread_cond_t started;
    /* Every worker is there: only now may the first one accept, and hand out to the others. */
    bool serving;
    struct server_worker **workers;
    unsigned workers_count, workers_room;
    unsigned turn;
    bool one_each; /* a worker a connection */
    uint64_t workers_asked;
    _Atomic uint64_t connections;
    _Atomic bool stopping;
    int failed_fd; /* -1 if it is joined: who has the engine hears of it */
    _Atomic uint64_t refused, idle_closed, cut, accepted;
    uint64_t said_ns, unsaid; /* under the lock: refusals are said once a second */
    uint64_t failed_said_ns;  /* ... and that none can be accepted */
    uint64_t drain_until_ns;
    struct engine_tally tally; /* under the lock */
    struct server_totals samples[2];
    void *process; /* the workload's, of all workers */
    char *note;    /* of the workload, for the user */
};

static const struct metric_def server_metrics[] = {
    {"connections_accepted", "", METRIC_COUNTER, METRIC_NEITHER, "server", "server",
     "connections that were taken"},
    {"connections_refused", "", METRIC_COUNTER, METRIC_LESS, "server", "server",
     "connections beyond --connections-max, closed at once"},
    {"connections_idle_closed", "", METRIC_COUNTER, METRIC_NEITHER, "server", "server",
     "connections closed for having been silent for --idle"},
    {"connections_cut", "", METRIC_COUNTER, METRIC_LESS, "server", "server",
     "connections that were ended, and closed hard since nothing was taken for --linger"},
    {0},
};

/* --- connections --- */

/* A worker of one connection has lost it, and may be given another. */
static void worker_waits(struct server_worker *worker)
{
    if (!worker->server->one_each || worker->listens)
        return;
    pthread_mutex_lock(&worker->server->lock);
    worker->waits = worker->running; /* else this was one that closing its engine ended */
    pthread_mutex_unlock(&worker->server->lock);
}

static void conn_closed(struct pump_conn *pump, enum engine_reason reason, int err)
{
    struct server_conn *conn = (struct server_conn *)pump;
    struct server_worker *worker = conn->worker;

    if (pump->cut)
        atomic_fetch_add_explicit(&worker->server->cut, 1, memory_order_relaxed);
    worker->server->config.workload->state_reset(conn->state);
    if (conn->previous != NULL)
        conn->previous->next = conn->next;
    else
        worker->open = conn->next;
    if (conn->next != NULL)
        conn->next->previous = conn->previous;
    worker->open_count--;
    conn->next = worker->free;
    worker->free = conn;
    atomic_fetch_sub_explicit(&worker->server->connections, 1, memory_order_relaxed);
    worker_waits(worker);
}

static const struct pump_owner conn_owner = {.closed = conn_closed};

static struct server_conn *conn_take(struct server_worker *worker)
{
    const struct server_workload *workload = worker->server->config.workload;
    struct server_conn *conn = worker->free;

    if (conn != NULL) {
        worker->free = conn->next;
    } else {
        conn = line_calloc(sizeof(*conn) + workload->state_size);
        if (conn == NULL)
            return NULL;
        if (workload->state_open(conn->state, worker->shared,
                                 worker->server->config.workload_options) < 0) {
            free(conn);
            return NULL;
        }
    }
    conn->worker = worker;
    conn->pump.proto = workload->proto;
    conn->pump.state = conn->state;
    conn->pump.owner = &conn_owner;
    conn->pump.timers = &worker->timers;
    conn->pump.linger_ns = worker->server->config.options.linger_ns;
    conn->seen_bytes = UINT64_MAX;
    conn->silent = 0;
    return conn;
}

/* Takes the accepted connection onto this worker; it is closed if that cannot be. */
static void worker_attach(struct server_worker *worker, struct engine_accepted *accepted)
{
    struct server_conn *conn = conn_take(worker);

    if (conn == NULL || pump_attach(&conn->pump, worker->engine, accepted) < 0) {
        worker->engine->ops->accept_refuse(worker->engine, accepted);
        atomic_fetch_sub_explicit(&worker->server->connections, 1, memory_order_relaxed);
        if (conn != NULL) {
            conn->next = worker->free;
            worker->free = conn;
        }
        worker_waits(worker);
        return;
    }
    conn->previous = NULL;
    conn->next = worker->open;
    if (worker->open != NULL)
        worker->open->previous = conn;
    worker->open = conn;
    worker->open_count++;
    if (worker->draining)
        pump_drain(&conn->pump);
}

/* --- workers --- */

/* Under the server's lock, without which the engine may be closed meanwhile. -ESHUTDOWN: it takes
 * no more. */
static int worker_mail(struct server_worker *worker, const struct engine_accepted *accepted,
                       struct lab_error *err)
{
    int r = 0;

    if (!worker->running)
        return -ESHUTDOWN;
    pthread_mutex_lock(&worker->mail_lock);
    if (worker->mail_count == worker->mail_room) {
        unsigned room = worker->mail_room == 0 ? 16 : worker->mail_room * 2;
        struct engine_accepted *grown = realloc(worker->mail, room * sizeof(*grown));
        if (grown == NULL)
            r = lab_fail(err, ENOMEM, "no memory to hand it to a worker");
        else {
            worker->mail = grown;
            worker->mail_room = room;
        }
    }
    if (r == 0) {
        worker->mail[worker->mail_count++] = *accepted;
        atomic_store_explicit(&worker->has_mail, true, memory_order_release);
    }
    pthread_mutex_unlock(&worker->mail_lock);
    if (r == 0)
        worker->engine->ops->wake(worker->engine);
    return r;
}

static void worker_take_mail(struct server_worker *worker)
{
    if (!atomic_load_explicit(&worker->has_mail, memory_order_acquire))
        return;
    for (;;) {
        struct engine_accepted accepted;
        pthread_mutex_lock(&worker->mail_lock);
        bool any = worker->mail_count > 0;
        if (any)
            accepted = worker->mail[--worker->mail_count];
        else
            atomic_store_explicit(&worker->has_mail, false, memory_order_relaxed);
        pthread_mutex_unlock(&worker->mail_lock);
        if (!any)
            return;
        worker_attach(worker, &accepted);
    }
}

/* Silent connections are looked for twice in --idle: one timer a worker, no clock read a
 * message; a connection is closed after one to one and a half times --idle, as its protocol does
 * that, and hard if it is still there after --idle more. */
static void worker_sweep(struct timer *timer, uint64_t now_ns)
{
    struct server_worker *worker =
        (struct server_worker *)((char *)timer - offsetof(struct server_worker, sweep));
    const struct proto_ops *proto = worker->server->config.workload->proto;
    struct server_conn *next;

    for (struct server_conn *conn = worker->open; conn != NULL; conn = next) {
        next = conn->next;
        if (conn->seen_bytes != conn->pump.received_bytes ||
            (proto->busy != NULL && proto->busy(conn->state))) {
            conn->seen_bytes = conn->pump.received_bytes;
            conn->silent = 0;
        } else if (++conn->silent == SERVE_LOOKS_IDLE) {
            atomic_fetch_add_explicit(&worker->server->idle_closed, 1, memory_order_relaxed);
            pump_drain(&conn->pump);
        } else if (conn->silent == SERVE_LOOKS_STUCK) {
            pump_close(&conn->pump, true);
        }
    }
    timer_set(&worker->timers, timer, now_ns + worker->server->config.options.idle_ns / 2);
}

static void worker_begin_drain(struct server_worker *worker)
{
    struct server_conn *next;

    worker->draining = true;
    worker->engine->ops->accept_pause(worker->engine);
    for (struct server_conn *conn = worker->open; conn != NULL; conn = next) {
        next = conn->next;
        pump_drain(&conn->pump);
    }
}

static void worker_loop(struct server_worker *worker)
{
    struct server *server = worker->server;
    const struct engine_ops *ops = worker->engine->ops;
    unsigned rounds = 0;

    for (;;) {
        uint64_t deadline_ns = timers_next_ns(&worker->timers);
        if (worker->draining && server->drain_until_ns < deadline_ns)
            deadline_ns = server->drain_until_ns;
        int r = ops->poll(worker->engine, deadline_ns);
        if (r < 0) {
            fprintf(stderr, "lab: the %s engine failed: %s\n", ops->name, strerror(-r));
            eventfd_write(server->failed_fd, 1);
            return;
        }
        worker_take_mail(worker);
        if (atomic_load_explicit(&server->stopping, memory_order_acquire)) {
            if (!worker->draining)
                worker_begin_drain(worker);
            if (worker->open_count == 0 || clock_ns() >= server->drain_until_ns)
                return;
        }
        if (deadline_ns != CLOCK_NEVER && (r == 0 || ++rounds >= SERVE_ROUNDS_A_LOOK)) {
            rounds = 0;
            timers_run(&worker->timers, clock_ns());
        }
    }
}

static struct engine_config server_engine_config(const struct server *server)
{
    const struct server_config *config = &server->config;
    return (struct engine_config){
        .options = config->spec->options,
        .message_size = config->workload->message_bytes(config->workload_options),
        .conns_hint = (uint32_t)config->options.connections_max,
        .cc = config->cc,
        .link = config->link,
        .verbose = config->verbose,
        .apart = config->apart && config->options.workers == 1,
        .reuseport = config->options.reuseport,
    };
}

static int worker_open(struct server_worker *worker, struct lab_error *err)
{
    struct server *server = worker->server;
    struct engine_config config = server_engine_config(server);
    /* The first to listen binds the port: the others share that very one. */
    const struct addr *address =
        server->address.size != 0 ? &server->address : &server->config.listen;

    int r = server->config.spec->ops->open(&worker->engine, &config, &pump_events, err);
    if (r == 0 && worker->listens)
        r = worker->engine->ops->listen(worker->engine, address, &worker->listener,
                                        &server->address, err);
    return r;
}

/* From here on nobody hands it a connection or touches its engine, whose counters are taken before
 * it is closed. */
static void worker_end(struct server_worker *worker)
{
    struct server *server = worker->server;
    struct engine *engine = worker->engine;

    pthread_mutex_lock(&server->lock);
    worker->running = worker->waits = false;
    for (unsigned i = 0; i < worker->mail_count; i++)
        engine->ops->accept_refuse(engine, &worker->mail[i]);
    atomic_fetch_sub_explicit(&server->connections, worker->mail_count, memory_order_relaxed);
    worker->mail_count = 0;
    tally_ended(&server->tally, engine);
    worker->engine = NULL;
    pthread_mutex_unlock(&server->lock);
    engine->ops->close(engine);
}

/* An instance is opened, polled and closed by one thread (io_uring insists on it). */
static void *worker_main(void *context)
{
    struct server_worker *worker = context;
    struct server *server = worker->server;

    int r = worker_open(worker, &worker->error);
    pthread_mutex_lock(&server->lock);
    worker->tid = gettid();
    worker->result = r;
    worker->running = r == 0;
    worker->started = true;
    if (r == 0)
        tally_opened(&server->tally, worker->engine);
    pthread_cond_broadcast(&server->started);
    while (r == 0 && !server->serving)
        pthread_cond_wait(&server->started, &server->lock);
    pthread_mutex_unlock(&server->lock);
    if (r == 0)
        worker_loop(worker);
    if (worker->engine != NULL)
        worker_end(worker);
    return NULL;
}

static void worker_free(struct server_worker *worker)
{
    const struct server_workload *workload = worker->server->config.workload;
    while (worker->free != NULL) {
        struct server_conn *conn = worker->free;
        worker->free = conn->next;
        workload->state_close(conn->state);
        free(conn);
    }
    if (worker->shared != NULL)
        workload->worker_close(worker->shared);
    meter_close(&worker->meter);
    timers_free(&worker->timers);
    pthread_mutex_destroy(&worker->mail_lock);
    free(worker->mail);
    free(worker);
}

static void acceptor_accepted(struct pump_listener *listener, struct engine_accepted *accepted);
static void acceptor_failed(struct pump_listener *listener, int err, uint64_t backoff_ns);

/* engine NULL: the worker's thread will open one. Under the server's lock. */
static struct server_worker *worker_new(struct server *server, struct engine *engine)
{
    if (server->workers_count == server->workers_room) {
        unsigned room = server->workers_room == 0 ? 16 : server->workers_room * 2;
        void *grown = realloc(server->workers, room * sizeof(struct server_worker *));
        if (grown == NULL)
            return NULL;
        server->workers = grown;
        server->workers_room = room;
    }
    const struct server_workload *workload = server->config.workload;
    struct server_worker *worker = line_calloc(sizeof(*worker));
    if (worker == NULL || timers_reserve(&worker->timers, 1) < 0 ||
        meter_open(&worker->meter, workload->metrics) < 0 ||
        (workload->worker_open != NULL &&
         workload->worker_open(&worker->shared, server->process, server->config.workload_options,
                               &worker->meter) < 0)) {
        if (worker != NULL) {
            meter_close(&worker->meter);
            timers_free(&worker->timers);
        }
        free(worker);
        return NULL;
    }
    worker->server = server;
    worker->listener.accepted = acceptor_accepted;
    worker->listener.failed = acceptor_failed;
    pthread_mutex_init(&worker->mail_lock, NULL);
    worker->owned = engine == NULL;
    worker->engine = engine;
    worker->sweep.fire = worker_sweep;
    if (server->config.options.idle_ns > 0)
        timer_set(&worker->timers, &worker->sweep, clock_ns() + server->config.options.idle_ns / 2);
    server->workers[server->workers_count++] = worker;
    return worker;
}

/* Starts the worker's thread, and returns when its engine is open (it may have ended again: the
 * lock was let go of meanwhile), or could not be opened; under the server's lock. A failed one
 * stays in the list, to be begun again, or joined and freed at the end. */
static int worker_begin(struct server *server, struct server_worker *worker, struct lab_error *err)
{
    if (worker->joinable)
        pthread_join(worker->thread, NULL); /* it has failed, and needs no lock to end */
    worker->joinable = worker->started = false;
    worker->result = -thread_start(&worker->thread, worker_main, worker, server->one_each);
    if (worker->result != 0)
        return lab_fail(err, -worker->result, "cannot start a worker thread: %s",
                        strerror(-worker->result));
    worker->joinable = true;
    while (!worker->started)
        pthread_cond_wait(&server->started, &server->lock);
    if (worker->result != 0)
        *err = worker->error;
    return worker->result;
}

/* A new worker with a thread: as above. Of a failed one *out is not told. */
static int worker_start(struct server *server, bool listens, struct server_worker **out,
                        struct lab_error *err)
{
    struct server_worker *worker = worker_new(server, NULL);
    if (worker == NULL)
        return lab_fail(err, ENOMEM, "no memory for another worker");
    worker->listens = listens;
    int r = worker_begin(server, worker, err);
    if (r == 0)
        *out = worker;
    return r;
}

/* --- accepting --- */

/* With SO_REUSEPORT there are several acceptors: under the server's lock. */
static bool acceptor_may_say(uint64_t *said_ns)
{
    uint64_t now_ns = clock_ns();

    if (*said_ns != 0 && now_ns - *said_ns < SERVE_SAY_EVERY_NS)
        return false;
    *said_ns = now_ns;
    return true;
}

static void acceptor_say(struct server *server, const char *why, const char *advice)
{
    pthread_mutex_lock(&server->lock);
    server->unsaid++;
    if (acceptor_may_say(&server->said_ns)) {
        fprintf(stderr, "lab: refused %llu connection%s: %s%s\n",
                (unsigned long long)server->unsaid, server->unsaid == 1 ? "" : "s", why, advice);
        server->unsaid = 0;
    }
    pthread_mutex_unlock(&server->lock);
}

static const char *acceptor_advice(int err)
{
    return err == EMFILE ? "; raise ulimit -n" : "";
}

/* A worker that waits for a connection, one that could not be begun, or a new one; under the
 * server's lock. */
static int acceptor_own_worker(struct server *server, struct server_worker **out,
                               struct lab_error *err)
{
    struct server_worker *failed = NULL;

    for (unsigned i = server->workers_count; i-- > 0;) {
        /* Newest first: its caches are warm. */
        struct server_worker *worker = server->workers[i];
        if (worker->waits) {
            worker->waits = false;
            *out = worker;
            return 0;
        }
        if (worker->result != 0)
            failed = worker;
    }
    if (failed == NULL)
        return worker_start(server, false, out, err);
    int r = worker_begin(server, failed, err);
    if (r == 0)
        *out = failed;
    return r;
}

/* 0: another worker has it; 1: it is the acceptor's own to serve; -errno: it is nobody's, and but
 * for -ESHUTDOWN err says why. */
static int acceptor_hand_out(struct server_worker *acceptor, const struct engine_accepted *accepted,
                             struct lab_error *err)
{
    struct server *server = acceptor->server;
    const struct serve_options *options = &server->config.options;
    struct server_worker *worker = NULL;
    int r = -ESHUTDOWN;

    if (!server->one_each &&
        (options->reuseport || options->workers <= 1 || !acceptor->engine->caps.attach))
        return 1;
    pthread_mutex_lock(&server->lock);
    if (!atomic_load_explicit(&server->stopping, memory_order_relaxed)) {
        r = 0;
        if (server->one_each)
            r = acceptor_own_worker(server, &worker, err);
        else
            worker = server->workers[server->turn++ % options->workers];
        if (r == 0)
            r = worker == acceptor ? 1 : worker_mail(worker, accepted, err);
    }
    pthread_mutex_unlock(&server->lock);
    return r;
}

static void acceptor_accepted(struct pump_listener *listener, struct engine_accepted *accepted)
{
    struct server_worker *acceptor = (struct server_worker *)listener;
    struct server *server = acceptor->server;
    const struct serve_options *options = &server->config.options;
    struct lab_error err;

    uint64_t now = atomic_fetch_add_explicit(&server->connections, 1, memory_order_relaxed) + 1;
    if (options->connections_max != 0 && now > options->connections_max) {
        atomic_fetch_sub_explicit(&server->connections, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&server->refused, 1, memory_order_relaxed);
        acceptor->engine->ops->accept_refuse(acceptor->engine, accepted);
        snprintf(err.text, sizeof(err.text), "--connections-max is reached (%llu)",
                 (unsigned long long)options->connections_max);
        acceptor_say(server, err.text, "");
        return;
    }
    atomic_fetch_add_explicit(&server->accepted, 1, memory_order_relaxed);
    int r = acceptor_hand_out(acceptor, accepted, &err);
    if (r > 0) {
        worker_attach(acceptor, accepted);
    } else if (r < 0) {
        atomic_fetch_sub_explicit(&server->connections, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&server->refused, 1, memory_order_relaxed);
        acceptor->engine->ops->accept_refuse(acceptor->engine, accepted);
        if (r != -ESHUTDOWN)
            acceptor_say(server, err.text, acceptor_advice(-r));
    }
}

/* Nobody is refused: they wait in the listen queue until there is room. */
static void acceptor_failed(struct pump_listener *listener, int err, uint64_t backoff_ns)
{
    struct server *server = ((struct server_worker *)listener)->server;
    pthread_mutex_lock(&server->lock);
    if (acceptor_may_say(&server->failed_said_ns))
        fprintf(stderr, "lab: connections wait to be accepted: %s%s\n", strerror(err),
                acceptor_advice(err));
    pthread_mutex_unlock(&server->lock);
}

/* --- the server --- */

static int server_new(struct server **out, const struct server_config *config,
                      struct lab_error *err)
{
    struct server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return lab_fail(err, ENOMEM, "no memory for a server");
    server->config = *config;
    server->workers_asked = config->options.workers;
    server->failed_fd = -1;
    if (config->workload->process_open != NULL) {
        int r = config->workload->process_open(&server->process, config->workload_options,
                                               &server->note, err);
        if (r < 0) {
            free(server->note);
            free(server);
            return r;
        }
    }
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->started, NULL);
    *out = server;
    return 0;
}

int server_start(struct server **out, const struct server_config *config, struct lab_error *err)
{
    struct server *server;
    struct server_worker *worker = NULL;

    int r = server_new(&server, config, err);
    if (r < 0)
        return r;
    /* Before the threads, which may take a copy of the table of descriptors with them. */
    server->failed_fd = eventfd(0, EFD_CLOEXEC);
    if (server->failed_fd < 0) {
        r = lab_fail(err, errno, "cannot start a server: %s", strerror(errno));
        server_stop(server, 0);
        return r;
    }
    pthread_mutex_lock(&server->lock);
    r = worker_start(server, true, &worker, err);
    if (r == 0) {
        const struct engine_caps *caps = &worker->engine->caps;
        server->one_each = caps->conns_max == 1;
        if (server->one_each || caps->one_per_process || !caps->attach)
            server->config.options.workers = 1;
    }
    for (unsigned i = 1; i < server->config.options.workers && r == 0; i++)
        r = worker_start(server, config->options.reuseport, &worker, err);
    server->serving = true;
    pthread_cond_broadcast(&server->started);
    pthread_mutex_unlock(&server->lock);
    if (r < 0) {
        server_stop(server, 0);
        return r;
    }
    *out = server;
    return 0;
}

int server_join(struct server **out, const struct server_config *config, struct engine *engine,
                struct lab_error *err)
{
    struct server *server;
    int r = server_new(&server, config, err);
    if (r < 0)
        return r;
    struct server_worker *worker = worker_new(server, engine);
    r = worker == NULL ? lab_fail(err, ENOMEM, "no memory for a worker")
                       : engine->ops->listen(engine, &config->listen, &worker->listener,
                                             &server->address, err);
    if (r < 0) {
        server_stop(server, 0);
        return r;
    }
    *out = server;
    return 0;
}

const struct addr *server_address(const struct server *server)
{
    return &server->address;
}

const char *server_note(const struct server *server)
{
    return server->note;
}

int server_failed_fd(const struct server *server)
{
    return server->failed_fd;
}

static void worker_wake(struct server_worker *worker)
{
    pthread_mutex_lock(&worker->server->lock);
    if (worker->running)
        worker->engine->ops->wake(worker->engine);
    pthread_mutex_unlock(&worker->server->lock);
}

static struct server_worker *worker_at(struct server *server, unsigned index, bool *joinable)
{
    struct server_worker *worker = NULL;

    pthread_mutex_lock(&server->lock);
    if (index < server->workers_count) {
        worker = server->workers[index];
        *joinable = worker->joinable;
    }
    pthread_mutex_unlock(&server->lock);
    return worker;
}

bool server_stop(struct server *server, uint64_t drain_ns)
{
    struct server_worker *worker;
    bool joinable;

    if (server == NULL)
        return true;
    server->drain_until_ns = clock_ns() + drain_ns;
    atomic_store_explicit(&server->stopping, true, memory_order_release);
    /* The acceptor may still add some: with it gone, which is the first, no new ones come. */
    for (unsigned i = 0; (worker = worker_at(server, i, &joinable)) != NULL; i++)
        worker_wake(worker);
    for (unsigned i = 0; (worker = worker_at(server, i, &joinable)) != NULL; i++) {
        worker_wake(worker);
        if (joinable)
            pthread_join(worker->thread, NULL);
    }
    for (unsigned i = 0; i < server->workers_count; i++)
        worker_free(server->workers[i]);
    if (server->unsaid > 0)
        fprintf(stderr, "lab: refused %llu more\n", (unsigned long long)server->unsaid);
    free(server->workers);
    struct pollfd failed = {.fd = server->failed_fd, .events = POLLIN};
    bool well = poll(&failed, 1, 0) <= 0;
    if (server->failed_fd >= 0)
        close(server->failed_fd);
    if (server->process != NULL)
        server->config.workload->process_close(server->process);
    free(server->note);
    tally_free(&server->tally);
    pthread_mutex_destroy(&server->lock);
    free(server);
    return well;
}

void server_describe(struct server *server, Lab__Ready *ready)
{
    char text[ADDR_TEXT_MAX];

    record_add_address(ready, addr_format(&server->address, text));
    pthread_mutex_lock(&server->lock);
    if (server->workers[0]->engine != NULL) /* else it has failed already */
        tally_describe(server->workers[0]->engine, ready);
    if (server->one_each && server->workers_asked > 1)
        record_add_capability(ready, "server-workers", record_states[CAP_NO_EFFECT],
                              "a worker a connection");
    ready->tids = calloc(server->workers_count, sizeof(*ready->tids));
    for (unsigned i = 0; i < server->workers_count && ready->tids != NULL; i++)
        ready->tids[ready->n_tids++] = (uint32_t)server->workers[i]->tid;
    pthread_mutex_unlock(&server->lock);
}

void server_sample(struct server *server, unsigned index)
{
    struct server_totals *totals = &server->samples[index == 0 ? 0 : 1];

    pthread_mutex_lock(&server->lock);
    tally_begin(&server->tally, index);
    for (unsigned i = 0; i < server->workers_count; i++)
        if (server->workers[i]->running)
            tally_add(&server->tally, index, server->workers[i]->engine);
    memset(totals->rows, 0, sizeof(totals->rows));
    for (unsigned i = 0; i < server->workers_count; i++)
        meter_sum(&server->workers[i]->meter, totals->rows);
    pthread_mutex_unlock(&server->lock);
    totals->accepted = atomic_load(&server->accepted);
    totals->refused = atomic_load(&server->refused);
    totals->idle_closed = atomic_load(&server->idle_closed);
    totals->cut = atomic_load(&server->cut);
}

void server_record(struct server *server, Lab__Record *record)
{
    const struct server_totals *before = &server->samples[0], *after = &server->samples[1];

    pthread_mutex_lock(&server->lock);
    const struct server_worker *first = server->workers[0];
    /* Upon an instance of the client's, the engine's counters are in the client's record. */
    if (first->owned) {
        for (unsigned i = 0; i < server->workers_count; i++)
            if (server->workers[i]->running)
                tally_merge(&server->tally, server->workers[i]->engine);
        tally_record(&server->tally, server->config.spec->ops, record);
    }
    pthread_mutex_unlock(&server->lock);
    record_add_value(record, &server_metrics[0], (double)(after->accepted - before->accepted));
    record_add_value(record, &server_metrics[1], (double)(after->refused - before->refused));
    record_add_value(record, &server_metrics[2],
                     (double)(after->idle_closed - before->idle_closed));
    record_add_value(record, &server_metrics[3], (double)(after->cut - before->cut));
    record_add_meter(record, &first->meter, before->rows, after->rows);
}
