/* Instances: listening, connecting in vain, accepting in need, waiting and being woken. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/conform/conform.h"

#define SHORT_NS (5 * NS_PER_MS)

static const char *skip_no_kernel(const struct world *world)
{
    if (world->caps.both_sides)
        return "the engine has no file descriptors";
    return world->caps.one_per_process ? "the engine's stack is not the kernel's" : NULL;
}

/* A stack of one's own cannot be asked from the same process. */
static const char *skip_own_stack(const struct world *world)
{
    return world->caps.one_per_process ? "one instance a process" : NULL;
}

/* --- accepting --- */

static void refused_begin(struct end *end)
{
    end->ends = ENDS_ANYHOW;
    end_send_bytes(end, 100);
}

static void refuse(struct lane *lane, struct engine_accepted *accepted)
{
    lane->engine->ops->accept_refuse(lane->engine, accepted);
    atomic_fetch_add(&lane->world->closed[SIDE_SERVER], 1);
}

static void refuse_accepted(struct lane *lane, unsigned flow, struct engine_accepted *accepted)
{
    refuse(lane, accepted);
}

static void refused_connected(struct end *end)
{
    end->ends = ENDS_ANYHOW;
}

static const struct role refused = {
    .connected = refused_connected,
    .begin = refused_begin,
    .eof = role_finish,
};

#define PAUSE_NS (30 * NS_PER_MS)

static void pause_begin(struct lane *lane)
{
    lane->engine->ops->accept_pause(lane->engine);
    lane->at_ns = clock_ns() + PAUSE_NS;
}

static void pause_turn(struct lane *lane)
{
    if (lane->at_ns == 0 || clock_ns() < lane->at_ns)
        return;
    lane->at_ns = 0;
    lane->engine->ops->accept_resume(lane->engine);
}

static void pause_accepted(struct lane *lane, unsigned flow, struct engine_accepted *accepted)
{
    CHECK(lane->at_ns == 0, "on_accept while accepting is paused");
    world_accepted(lane, flow, accepted);
}

static void hello_begin(struct end *end)
{
    end_send_bytes(end, 1000);
    end_finish(end);
}

static void hello_closed(struct end *end)
{
    CHECK(end->received_bytes == 1000, "%llu bytes came back",
          (unsigned long long)end->received_bytes);
}

static const struct role hello = {.begin = hello_begin, .closed = hello_closed};
static const struct role pass_on = {.recv = role_pass_on, .eof = role_finish};

/* Attached a good while after on_accept; data and FIN may be there before. */
static void late_accepted(struct lane *lane, unsigned flow, struct engine_accepted *accepted)
{
    lane->held[lane->held_count++] = *accepted;
    lane->at_ns = clock_ns() + PAUSE_NS;
}

static void late_turn(struct lane *lane)
{
    if (lane->held_count == 0 || clock_ns() < lane->at_ns)
        return;
    while (lane->held_count > 0)
        world_accepted(lane, 0, &lane->held[--lane->held_count]);
}

/* --- out of file descriptors --- */

#define EMFILE_CONNS    8u
#define EMFILE_FDS      3
#define EMFILE_FAILURES 3u

static void emfile_begin(struct lane *lane)
{
    struct rlimit limit;
    int next = dup(0);

    CHECK(next >= 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0, "%s", strerror(errno));
    close(next);
    limit.rlim_cur = (rlim_t)next + EMFILE_FDS;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit: %s", strerror(errno));
}

static void emfile_accepted(struct lane *lane, unsigned flow, struct engine_accepted *accepted)
{
    if (lane->errors >= EMFILE_FAILURES)
        refuse(lane, accepted);
    else
        lane->held[lane->held_count++] = *accepted;
}

static void emfile_failed(struct lane *lane, int err, uint64_t backoff_ns)
{
    uint64_t now_ns = clock_ns();

    CHECK(err == EMFILE, "accept failed with %s", strerror(err));
    CHECK(lane->errors == 0 || now_ns >= lane->at_ns, "accept is tried again within its pause");
    lane->at_ns = now_ns + backoff_ns * 9 / 10;
    /* Files are closed elsewhere: that must be found out without being told. */
    if (++lane->errors == EMFILE_FAILURES)
        while (lane->held_count > 0)
            refuse(lane, &lane->held[--lane->held_count]);
}

static void one_pause_failed(struct lane *lane, int err, uint64_t backoff_ns)
{
    if (lane->errors++ == 0)
        lane->at_ns = backoff_ns;
    CHECK(backoff_ns == lane->at_ns, "of two listeners the second is tried within the pause");
}

/* Two listeners with somebody to be accepted: for want of descriptors there is one pause. */
static void one_pause_alone(struct world *world)
{
    struct lane lane = {0};
    struct addr addr, bound;
    struct lab_error err = {""};
    struct rlimit limit;
    int fds[2];

    lane_open(&lane, world);
    for (unsigned i = 0; i < 2; i++) {
        world_address(world, i == 0 ? "first" : "second", &addr);
        CHECK(lane_listen(&lane, i, &addr, &bound, &err) == 0, "%s", err.text);
        fds[i] = socket(bound.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(connect(fds[i], (const struct sockaddr *)&bound.sa, bound.size) == 0, "%s",
              strerror(errno));
    }
    int next = dup(0);
    CHECK(next >= 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0, "%s", strerror(errno));
    close(next);
    limit.rlim_cur = (rlim_t)next;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit: %s", strerror(errno));
    while (lane.errors == 0)
        lane_poll(&lane, clock_ns() + NS_PER_S);
    close(fds[0]);
    close(fds[1]);
    lane_close(&lane);
}

/* --- one process --- */

/* Two instances, or the one if both sides must share it. */
struct two {
    struct lane serving, own;
    struct lane *connecting;
};

static void two_open(struct two *two, struct world *world)
{
    memset(two, 0, sizeof(*two));
    lane_open(&two->serving, world);
    two->connecting = &two->serving;
    if (!world->caps.both_sides) {
        lane_open(&two->own, world);
        two->connecting = &two->own;
    }
}

static void two_close(struct two *two)
{
    lane_close(&two->serving);
    if (two->connecting == &two->own)
        lane_close(&two->own);
}

static void connect_fails(struct end *end)
{
    end->ends = ENDS_CONNECT;
}

static void must_not_begin(struct end *end)
{
    CHECK(end->closing, "connected to nobody");
}

static const struct role in_vain = {.connected = connect_fails, .begin = must_not_begin};

static void in_vain_alone(struct world *world)
{
    struct two two;
    struct addr addr, bound;
    struct lab_error err = {""};
    int r;

    two_open(&two, world);
    world_address(world, "vain", &addr);
    r = lane_listen(&two.serving, 0, &addr, &bound, &err);
    CHECK(r == 0, "listen: %s", err.text);
    lane_close(&two.serving);
    if (two.connecting == &two.serving)
        lane_open(&two.serving, world);
    for (unsigned i = 0; i < 3; i++) {
        struct end *end = lane_connect(two.connecting, 0, i, &bound, &r);
        CHECK(end != NULL, "connect says %s at once", strerror(-r));
        lane_run(two.connecting);
        CHECK(end->err == ECONNREFUSED, "connecting to nobody gave %s", strerror(end->err));
    }
    lane_close(two.connecting);
}

/* No such path: the one way in which connecting to a UNIX socket fails otherwise. */
static void no_path_alone(struct world *world)
{
    struct lane lane = {0};
    struct addr addr;
    struct lab_error err;
    int r;

    lane_open(&lane, world);
    CHECK(addr_parse("unix:/nonexistent/lab-conform", 0, "address", &addr, &err) == 0, "%s",
          err.text);
    struct end *end = lane_connect(&lane, 0, 0, &addr, &r);
    CHECK(end != NULL, "connect says %s at once", strerror(-r));
    lane_run(&lane);
    CHECK(end->err == ENOENT || end->err == ECONNREFUSED, "connecting to no path gave %s",
          strerror(end->err));
    lane_close(&lane);
}

static void abort_connecting(struct end *end)
{
    end->ends = ENDS_ANYHOW;
    end_send_guarded(end, 10000);
    end_close(end, true);
}

static const struct role aborted_connect = {.connected = abort_connecting};

/* Aborted before poll has said that it is open; then, one that is waited for. */
static void abort_connect_alone(struct world *world)
{
    struct two two;
    struct addr addr, bound;
    struct lab_error err = {""};
    int r;

    two_open(&two, world);
    two.serving.engine->ops->accept_pause(two.serving.engine);
    world_address(world, "abort", &addr);
    r = lane_listen(&two.serving, 0, &addr, &bound, &err);
    CHECK(r == 0, "listen: %s", err.text);
    for (unsigned i = 0; i < 5; i++) {
        CHECK(lane_connect(two.connecting, 0, i, &bound, &r) != NULL, "connect: %s", strerror(-r));
        lane_run(two.connecting);
    }
    /* And closed with the instance. */
    CHECK(lane_connect(two.connecting, 0, 5, &bound, &r) != NULL, "connect: %s", strerror(-r));
    two_close(&two);
}

static void in_use_alone(struct world *world)
{
    struct two two;
    struct addr addr, bound, again;
    struct lab_error err = {""};
    int r;

    two_open(&two, world);
    world_address(world, "use", &addr);
    r = lane_listen(&two.serving, 0, &addr, &bound, &err);
    CHECK(r == 0, "listen: %s", err.text);
    CHECK(world->family == FAMILY_UNIX || addr_port(&bound) != 0, "bound to port 0");
    for (unsigned i = 0; i < 2; i++) {
        struct lane *lane = i == 0 ? &two.serving : two.connecting;
        err.text[0] = '\0';
        again.size = 0;
        r = lane_listen(lane, 1, &bound, &again, &err);
        CHECK(r == -EADDRINUSE, "listening twice gave %d (%s)", r, err.text);
        CHECK(strlen(err.text) > 20, "without a sentence: '%s'", err.text);
        CHECK(again.size == 0, "bound was written");
    }
    /* It can still be connected to; and once it is closed, it is free. */
    lane_poll(&two.serving, 0);
    lane_close(&two.serving);
    if (two.connecting == &two.serving)
        lane_open(&two.serving, world);
    r = lane_listen(two.connecting, 0, &bound, NULL, &err);
    CHECK(r == 0, "listen on a closed one's address: %s", err.text);
    lane_close(two.connecting);
}

/* Two listeners of an instance: of each the ctx. Ports 0 are different ones. */
static void two_listeners_alone(struct world *world)
{
    struct lane lane = {0};
    struct addr addr, first, second;
    struct lab_error err = {""};

    lane_open(&lane, world);
    world_address(world, "first", &addr);
    CHECK(lane_listen(&lane, 0, &addr, &first, &err) == 0, "%s", err.text);
    world_address(world, "second", &addr);
    CHECK(lane_listen(&lane, 1, &addr, &second, &err) == 0, "%s", err.text);
    CHECK(first.size != second.size || memcmp(&first.sa, &second.sa, first.size) != 0,
          "two listeners have one address");
    lane_close(&lane);
}

/*
 * Bytes and the end right behind them, from another thread by plain system calls, while a receive
 * waits for them: both are there when it wakes up, and nothing tells of the end again.
 */
#define BEHIND_CONNS 100u
#define BEHIND_BYTES 123u

static const char *skip_foreign_peer(const struct world *world)
{
    return world->caps.conns_max == 1 ? "an instance has one connection" : skip_no_kernel(world);
}

static void *behind_peer(void *context)
{
    const struct addr *addr = context;
    char byte;

    for (unsigned i = 0; i < BEHIND_CONNS; i++) {
        int fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&addr->sa, addr->size) == 0, "%s",
              strerror(errno));
        /* The other end has greeted, so that it waits. */
        CHECK(recv(fd, &byte, 1, 0) == 1, "%s", strerror(errno));
        CHECK(send(fd, pattern_at(0, 0), BEHIND_BYTES, 0) == (ssize_t)BEHIND_BYTES, "%s",
              strerror(errno));
        shutdown(fd, SHUT_WR);
        CHECK(recv(fd, &byte, 1, 0) == 0, "connection %u was not closed in order", i);
        close(fd);
    }
    return NULL;
}

static void behind_greet(struct end *end)
{
    end_send_bytes(end, 1);
}

static void behind_eof(struct end *end)
{
    CHECK(end->received_bytes == BEHIND_BYTES, "%llu bytes came before the end",
          (unsigned long long)end->received_bytes);
    end_finish(end);
}

static const struct role behind = {.begin = behind_greet, .eof = behind_eof};

static void behind_alone(struct world *world)
{
    struct lane lane = {0};
    struct addr addr, bound;
    struct lab_error err = {""};
    pthread_t peer;

    lane_open(&lane, world);
    world_address(world, "behind", &addr);
    CHECK(lane_listen(&lane, 0, &addr, &bound, &err) == 0, "%s", err.text);
    CHECK(pthread_create(&peer, NULL, behind_peer, &bound) == 0, "no thread");
    while (atomic_load(&world->closed[SIDE_SERVER]) < BEHIND_CONNS) {
        CHECK(lane_poll(&lane, clock_ns() + NS_PER_S) >= 0, "poll");
        /* Long enough for the peer to say both. */
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    pthread_join(peer, NULL);
    lane_close(&lane);
}

/* Who has something to send at each look receives all the same. */
#define LOOKS_MOST 200u

struct looks {
    struct addr addr;
    _Atomic bool greeted, may_answer, answered;
};

static void looks_until(_Atomic bool *flag)
{
    while (!atomic_load(flag))
        nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
}

static void *looks_peer(void *context)
{
    struct looks *looks = context;
    const struct addr *addr = &looks->addr;
    char bytes[LOOKS_MOST];

    int fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&addr->sa, addr->size) == 0, "%s",
          strerror(errno));
    CHECK(recv(fd, bytes, 1, 0) == 1, "%s", strerror(errno));
    atomic_store(&looks->greeted, true);
    looks_until(&looks->may_answer);
    CHECK(send(fd, pattern_at(0, 0), 1, 0) == 1, "%s", strerror(errno));
    /* Until it is there, whoever receives what loopback hands on. */
    nanosleep(&(struct timespec){.tv_nsec = 20 * NS_PER_MS}, NULL);
    atomic_store(&looks->answered, true);
    while (recv(fd, bytes, sizeof(bytes), 0) > 0)
        ;
    close(fd);
    return NULL;
}

static const struct role looks = {.begin = behind_greet, .eof = role_finish};

static void looks_alone(struct world *world)
{
    struct lane lane = {0};
    struct looks at = {0};
    struct addr addr;
    struct lab_error err = {""};
    pthread_t peer;

    lane_open(&lane, world);
    world_address(world, "looks", &addr);
    CHECK(lane_listen(&lane, 0, &addr, &at.addr, &err) == 0, "%s", err.text);
    CHECK(pthread_create(&peer, NULL, looks_peer, &at) == 0, "no thread");
    while (!atomic_load(&at.greeted))
        CHECK(lane_poll(&lane, clock_ns() + SHORT_NS) >= 0, "poll");
    atomic_store(&at.may_answer, true);
    looks_until(&at.answered);
    struct end *end = lane.ends;
    for (unsigned i = 0; end->received_bytes == 0; i++) {
        CHECK(i < LOOKS_MOST, "%u looks, each with something to send, found nothing", i);
        end_send_bytes(end, 1);
        CHECK(lane_poll(&lane, 0) >= 0, "poll");
    }
    end_finish(end);
    lane_run(&lane);
    pthread_join(peer, NULL);
    lane_close(&lane);
}

/*
 * A UNIX socket whose backlog is full makes who connects wait, and no event tells when there is
 * room. Some of those that wait are given up, one comes late, and all others get in.
 */
#define BACKLOG_CONNS 8u

static void backlog_begin(struct end *end)
{
    end->step = 1;
}

static const struct role backlog = {.begin = backlog_begin, .eof = role_finish};

static void backlog_alone(struct world *world)
{
    struct lane lane = {0};
    struct end *ends[BACKLOG_CONNS + 1];
    struct addr addr;
    int r;

    lane_open(&lane, world);
    world_address(world, "backlog", &addr);
    int listener = socket(addr.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(listener >= 0 && bind(listener, (const struct sockaddr *)&addr.sa, addr.size) == 0 &&
              listen(listener, 1) == 0,
          "%s", strerror(errno));
    for (unsigned i = 0; i <= BACKLOG_CONNS; i++) {
        ends[i] = lane_connect(&lane, 0, i, &addr, &r);
        CHECK(ends[i] != NULL, "connect: %s", strerror(-r));
        lane_poll(&lane, clock_ns() + SHORT_NS);
        if (i + 1 != BACKLOG_CONNS)
            continue;
        for (unsigned k = 3; k < BACKLOG_CONNS; k += 4) { /* one between others, and the last */
            ends[k]->ends = ENDS_ANYHOW;
            end_close(ends[k], true);
        }
    }
    while (lane.open_count > 0) {
        lane_poll(&lane, clock_ns() + NS_PER_MS);
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0)
            close(fd);
    }
    for (unsigned i = 0; i <= BACKLOG_CONNS; i++)
        CHECK(ends[i]->step == 1 || ends[i]->closing, "connection %u never opened", i);
    close(listener);
    lane_close(&lane);
}

/* --- time --- */

/* Poll returns at its deadline; never before. */
static void deadline_alone(struct world *world)
{
    struct lane lane = {0};

    lane_open(&lane, world);
    for (unsigned i = 0; i < 100; i++)
        CHECK(lane_poll(&lane, 0) == 0, "an idle instance found something");
    for (unsigned i = 0; i < 5; i++) {
        uint64_t deadline_ns = clock_ns() + SHORT_NS + i * 123456;
        CHECK(lane_poll(&lane, deadline_ns) == 0, "an idle instance found something");
        uint64_t now_ns = clock_ns();
        CHECK(now_ns >= deadline_ns, "poll came back %llu ns before its deadline",
              (unsigned long long)(deadline_ns - now_ns));
    }
    /* One that has passed is as good as 0. */
    CHECK(lane_poll(&lane, 1) == 0, "an idle instance found something");
    lane_close(&lane);
}

struct waker {
    struct engine *engine;
    unsigned count;
    _Atomic unsigned seen; /* by the one that polls */
};

static void *waker_main(void *context)
{
    struct waker *waker = context;
    struct timespec pause = {.tv_nsec = 2 * NS_PER_MS};

    for (unsigned i = 0; i < waker->count; i++) {
        if (i % 4 == 0)
            nanosleep(&pause, NULL);
        waker->engine->ops->wake(waker->engine);
        while (atomic_load(&waker->seen) <= i)
            nanosleep(&(struct timespec){.tv_nsec = 10000}, NULL);
    }
    return NULL;
}

/* Wakes of another thread, during poll and between polls; each makes one return. */
static void wake_alone(struct world *world)
{
    struct lane lane = {0};
    struct waker waker = {.count = 100};
    pthread_t thread;

    lane_open(&lane, world);
    waker.engine = lane.engine;
    CHECK(pthread_create(&thread, NULL, waker_main, &waker) == 0, "no thread");
    for (unsigned i = 0; i < waker.count; i++) {
        CHECK(lane_poll(&lane, CLOCK_NEVER) == 0, "an idle instance found something");
        atomic_fetch_add(&waker.seen, 1);
    }
    pthread_join(thread, NULL);
    lane_close(&lane);
}

/* Sticky: before poll. Coalescing: three are as one, and the next poll waits. */
static void wake_before_alone(struct world *world)
{
    struct lane lane = {0};

    lane_open(&lane, world);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 3; k++)
            lane.engine->ops->wake(lane.engine);
        CHECK(lane_poll(&lane, CLOCK_NEVER) == 0, "an idle instance found something");
        uint64_t deadline_ns = clock_ns() + SHORT_NS;
        CHECK(lane_poll(&lane, deadline_ns) == 0, "an idle instance found something");
        CHECK(clock_ns() >= deadline_ns, "a wake woke twice");
    }
    lane_close(&lane);
}

/* Nobody waits for it: many threads, one that looks. */
static void *storm_main(void *context)
{
    struct waker *waker = context;

    for (unsigned i = 0; i < waker->count; i++)
        waker->engine->ops->wake(waker->engine);
    atomic_fetch_add(&waker->seen, 1);
    waker->engine->ops->wake(waker->engine);
    return NULL;
}

static void wake_storm_alone(struct world *world)
{
    struct lane lane = {0};
    struct waker waker = {.count = 2000};
    pthread_t threads[4];

    lane_open(&lane, world);
    waker.engine = lane.engine;
    for (unsigned i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, storm_main, &waker) == 0, "no thread");
    while (atomic_load(&waker.seen) < 4)
        lane_poll(&lane, CLOCK_NEVER);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    lane_close(&lane);
}

/* --- leftovers --- */

static unsigned count_entries(const char *path)
{
    DIR *dir = opendir(path);
    unsigned count = 0;

    CHECK(dir != NULL, "%s: %s", path, strerror(errno));
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* Opened, used a little and closed often: no file and no thread is left. A library of one stack a
 * process keeps what it has once been given, but that once. */
static void open_close_alone(struct world *world)
{
    unsigned first = world->caps.one_per_process ? 3 : 0, files = 0, threads = 0;
    struct engine_config config = {.options = world->spec.options};
    struct lab_error err = {""};
    struct engine_caps caps;

    for (unsigned i = 0; i < first + 12; i++) {
        struct lane lane = {0};
        struct addr addr;
        if (i == first) {
            files = count_entries("/proc/self/fd");
            threads = count_entries("/proc/self/task");
        }
        CHECK(world->spec.ops->probe(&config, &caps, &err) == 0, "probe: %s", err.text);
        lane_open(&lane, world);
        CHECK(lane.engine->caps.conns_max == caps.conns_max, "probe and open do not agree");
        if (i % 3 != 0) {
            world_address(world, "open", &addr);
            CHECK(lane_listen(&lane, 0, &addr, NULL, &err) == 0, "listen: %s", err.text);
        }
        if (i % 3 == 2)
            lane_poll(&lane, 0);
        lane_close(&lane);
    }
    world->spec.ops->close(NULL);
    CHECK(count_entries("/proc/self/fd") == files, "files are left");
    /* The kernel ends a ring's threads in its own time, so one that was on its way out may also
     * have been counted at first. */
    for (unsigned i = 0; i < 2000 && count_entries("/proc/self/task") > threads; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10 * NS_PER_MS}, NULL);
    CHECK(count_entries("/proc/self/task") <= threads, "threads are left");
}

/* Names, descriptions and the rows of all counters are there. */
static void describes_alone(struct world *world)
{
    const struct engine_ops *ops = world->spec.ops;
    size_t count = metric_count(ops->metrics);

    CHECK(ops->name[0] != '\0' && strlen(ops->help) > 10, "no name or no help");
    CHECK(count >= ENGINE_COUNTERS_COMMON && count <= ENGINE_COUNTERS_MAX, "%zu counters", count);
    CHECK(strcmp(ops->metrics[ENGINE_SYSTEM_CALLS].name, "system_calls") == 0 &&
              strcmp(ops->metrics[ENGINE_BUF_SHORTAGES].name, "buf_shortages") == 0,
          "the common counters are not the first");
    for (size_t i = 0; i < count; i++)
        CHECK(ops->metrics[i].help != NULL && ops->metrics[i].help[0] != '\0',
              "%s is not explained", ops->metrics[i].name);
    for (unsigned i = 0; i < world->caps.count; i++)
        CHECK(world->caps.list[i].name[0] != '\0', "a capability without a name");
}

const struct body bodies_instance[] = {
    {.name = "refuse-accepted",
     .families = FAMILY_ALL,
     .accepted = refuse_accepted,
     .flows = {{.client = &refused, .server = &pass_on, .count = 4}}},
    {.name = "accept-pause",
     .server_begin = pause_begin,
     .server_turn = pause_turn,
     .accepted = pause_accepted,
     .flows = {{.client = &hello, .server = &pass_on, .count = 4}}},
    {.name = "attach-late",
     .families = FAMILY_ALL,
     .accepted = late_accepted,
     .server_turn = late_turn,
     .flows = {{.client = &hello, .server = &pass_on, .count = 4}}},
    {.name = "emfile",
     .skip = skip_no_kernel,
     .server_begin = emfile_begin,
     .accepted = emfile_accepted,
     .accept_failed = emfile_failed,
     .flows = {{.client = &refused, .server = &pass_on, .count = EMFILE_CONNS}}},
    {.name = "emfile-one-pause",
     .families = FAMILY_ALL,
     .skip = skip_no_kernel,
     .accept_failed = one_pause_failed,
     .alone = one_pause_alone,
     .flows = {{.client = &pass_on, .server = &pass_on, .count = 1},
               {.client = &pass_on, .server = &pass_on, .count = 1}}},
    {.name = "connect-in-vain",
     .families = FAMILY_ALL,
     .skip = skip_own_stack,
     .alone = in_vain_alone,
     .flows = {{.client = &in_vain, .server = &pass_on, .count = 1}}},
    {.name = "connect-no-path",
     .families = FAMILY_UNIX,
     .alone = no_path_alone,
     .flows = {{.client = &in_vain, .server = &pass_on, .count = 1}}},
    {.name = "connect-abort",
     .families = FAMILY_ALL,
     .skip = skip_own_stack,
     .alone = abort_connect_alone,
     .flows = {{.client = &aborted_connect, .server = &pass_on, .count = 1}}},
    {.name = "address-in-use",
     .families = FAMILY_ALL,
     .skip = skip_own_stack,
     .alone = in_use_alone},
    {.name = "two-listeners", .families = FAMILY_ALL, .alone = two_listeners_alone},
    {.name = "end-behind-bytes",
     .families = FAMILY_ALL,
     .skip = skip_foreign_peer,
     .alone = behind_alone,
     .flows = {{.client = &pass_on, .server = &behind, .count = 1}}},
    {.name = "looks",
     .calm = true,
     .families = FAMILY_ALL,
     .skip = skip_foreign_peer,
     .alone = looks_alone,
     .flows = {{.client = &pass_on, .server = &looks, .count = 1}}},
    {.name = "full-backlog",
     .families = FAMILY_UNIX,
     .skip = skip_foreign_peer,
     .alone = backlog_alone,
     .flows = {{.client = &backlog, .server = &pass_on, .count = BACKLOG_CONNS + 1}}},
    {.name = "deadline", .alone = deadline_alone},
    {.name = "wake", .alone = wake_alone},
    {.name = "wake-before", .alone = wake_before_alone},
    {.name = "wake-storm", .alone = wake_storm_alone},
    {.name = "open-close", .alone = open_close_alone},
    {.name = "describes-itself", .alone = describes_alone},
    {0},
};
