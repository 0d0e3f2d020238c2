/*
 * A server that is stopped, or whose engine breaks, while connections come: those that it takes no
 * more are closed, and nobody is handed to a worker that has ended.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/rng.h"
#include "tests/unit/server/served.h"

#define CLIENTS  6
#define ROUNDS   25
#define ALIVE_NS (4 * NS_PER_MS) /* at most, before it is stopped */
#define DRAIN_NS (20 * NS_PER_MS)

TestSuite(server_stop, .timeout = 120);

struct rig {
    struct served served;
    struct addr address;
    _Atomic bool over;
    pthread_t clients[CLIENTS];
};

/* False: the engine cannot run here. */
static bool rig_open(struct rig *rig, const char *engine, unsigned workers)
{
    memset(rig, 0, sizeof(*rig));
    if (!served_prepare(&rig->served, engine, "echo"))
        return false;
    rig->served.config.options.workers = workers;
    return true;
}

static void rig_start(struct rig *rig)
{
    served_start(&rig->served);
    rig->address = *server_address(rig->served.server);
}

/* Connects, has a byte echoed, and goes with a reset, which leaves no port in TIME_WAIT. */
static void *client_main(void *context)
{
    static const struct linger hard = {.l_onoff = 1};
    static const struct timeval patience = {.tv_usec = 200000};
    struct rig *rig = context;
    char byte = 'x';

    while (!atomic_load(&rig->over)) {
        int fd = socket(rig->address.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        if (connect(fd, (const struct sockaddr *)&rig->address.sa, rig->address.size) == 0 &&
            send(fd, &byte, 1, MSG_NOSIGNAL) == 1)
            (void)!recv(fd, &byte, 1, 0);
        close(fd);
    }
    return NULL;
}

static void clients_start(struct rig *rig)
{
    atomic_store(&rig->over, false);
    for (unsigned i = 0; i < CLIENTS; i++)
        cr_assert_eq(pthread_create(&rig->clients[i], NULL, client_main, rig), 0);
}

static void clients_end(struct rig *rig)
{
    atomic_store(&rig->over, true);
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_join(rig->clients[i], NULL);
}

static void stop_under_churn(const char *engine, unsigned workers)
{
    static struct rig rig;
    struct rng rng;

    if (!rig_open(&rig, engine, workers))
        return;
    rng_seed(&rng, 1);
    for (unsigned round = 0; round < ROUNDS; round++) {
        rig_start(&rig);
        clients_start(&rig);
        nanosleep(&(struct timespec){.tv_nsec = (long)rng_below(&rng, ALIVE_NS)}, NULL);
        cr_assert(server_stop(rig.served.server, DRAIN_NS));
        clients_end(&rig);
    }
    served_free(&rig.served);
}

Test(server_stop, workers_of_epoll_under_churn)
{
    stop_under_churn("epoll", 4);
}

Test(server_stop, workers_of_io_uring_under_churn)
{
    stop_under_churn("io_uring", 4);
}

Test(server_stop, a_worker_a_connection_under_churn)
{
    stop_under_churn("blocking", 1);
}

/* --- an engine that breaks --- */

/* The engine's own but for poll, which breaks one after another. */
static struct engine_ops brittle;
static const struct engine_ops *sound;
static _Atomic int polls_left;

static int brittle_poll(struct engine *engine, uint64_t deadline_ns)
{
    return atomic_fetch_sub(&polls_left, 1) > 0 ? sound->poll(engine, deadline_ns) : -EIO;
}

static int brittle_open(struct engine **engine, const struct engine_config *config,
                        const struct engine_events *events, struct lab_error *err)
{
    int r = sound->open(engine, config, events, err);
    if (r == 0)
        (*engine)->ops = &brittle;
    return r;
}

static bool rig_open_brittle(struct rig *rig, const char *engine, unsigned workers)
{
    if (!rig_open(rig, engine, workers))
        return false;
    sound = rig->served.spec.ops;
    brittle = *sound;
    brittle.open = brittle_open;
    brittle.poll = brittle_poll;
    rig->served.spec.ops = &brittle;
    return true;
}

static void break_under_churn(const char *engine, unsigned workers)
{
    static struct rig rig;

    if (!rig_open_brittle(&rig, engine, workers))
        return;
    for (int polls = 0; polls < 200; polls = 2 * polls + 1) {
        atomic_store(&polls_left, polls);
        rig_start(&rig);
        struct pollfd failed = {.fd = server_failed_fd(rig.served.server), .events = POLLIN};
        clients_start(&rig);
        cr_assert_eq(poll(&failed, 1, 20000), 1, "nobody hears of it");
        nanosleep(&(struct timespec){.tv_nsec = (long)NS_PER_MS}, NULL);
        cr_assert_not(server_stop(rig.served.server, DRAIN_NS));
        clients_end(&rig);
    }
    served_free(&rig.served);
}

Test(server_stop, workers_whose_engines_fail)
{
    break_under_churn("epoll", 4);
}

Test(server_stop, a_worker_a_connection_whose_engine_fails)
{
    break_under_churn("blocking", 1);
}

/* It breaks when server_stop wakes it. The one connection keeps it from ending before it polls
 * again. */
static void breaking_wake(struct engine *engine)
{
    atomic_store(&polls_left, 0);
    sound->wake(engine);
}

Test(server_stop, an_engine_that_fails_while_it_drains)
{
    static struct rig rig;
    char byte = 'x';

    if (!rig_open_brittle(&rig, "epoll", 1))
        return;
    brittle.wake = breaking_wake;
    atomic_store(&polls_left, INT_MAX);
    rig_start(&rig);
    int fd = socket(rig.address.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&rig.address.sa, rig.address.size), 0);
    cr_assert_eq(send(fd, &byte, 1, MSG_NOSIGNAL), 1);
    cr_assert_eq(recv(fd, &byte, 1, 0), 1);
    struct pollfd failed = {.fd = server_failed_fd(rig.served.server), .events = POLLIN};
    cr_assert_eq(poll(&failed, 1, 0), 0);
    cr_assert_not(server_stop(rig.served.server, NS_PER_S));
    close(fd);
    served_free(&rig.served);
}

/* An engine that cannot be opened for a while. */
static _Atomic bool open_fails;

static int failing_open(struct engine **engine, const struct engine_config *config,
                        const struct engine_events *events, struct lab_error *err)
{
    if (atomic_load(&open_fails))
        return lab_fail(err, EMFILE, "not for now");
    return sound->open(engine, config, events, err);
}

#define REFUSED 6

/* One that cannot be begun leaves nothing behind: for the next connection it is tried again. */
Test(server_stop, a_worker_that_cannot_be_begun_is_begun_again)
{
    static struct rig rig;
    Lab__Ready *ready = calloc(1, sizeof(*ready));
    char byte = 'x';

    if (!rig_open_brittle(&rig, "blocking", 1))
        return;
    brittle.open = failing_open;
    rig_start(&rig);
    for (unsigned i = 0; i <= REFUSED; i++) {
        atomic_store(&open_fails, i < REFUSED);
        int fd = socket(rig.address.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert_eq(connect(fd, (const struct sockaddr *)&rig.address.sa, rig.address.size), 0);
        (void)!send(fd, &byte, 1, MSG_NOSIGNAL);
        cr_assert_eq(recv(fd, &byte, 1, 0) == 1, i == REFUSED, "connection %u", i);
        close(fd);
    }
    lab__ready__init(ready);
    server_describe(rig.served.server, ready);
    cr_assert_eq(ready->n_tids, 2, "%zu workers", ready->n_tids);
    lab__ready__free_unpacked(ready, NULL);
    cr_assert(server_stop(rig.served.server, DRAIN_NS));
    served_free(&rig.served);
}
