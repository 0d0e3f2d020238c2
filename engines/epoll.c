/*
 * The epoll engine: completion style made from readiness. Level-triggered, one receive an event
 * and the answer sent right after the callback. What lost against that, measured: receiving
 * until EAGAIN (a third system call a message, 0.9), sending after the whole batch (latency),
 * edge-triggered (no gain below 128 connections, and a short receive can lose the FIN).
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "engines/epoll.h"

#define EPOLL_CONNS_MAX   0x01000000u
#define EPOLL_ACCEPTS_MAX 64

extern const struct engine_ops epoll_engine;

static void epoll_watch_listeners(struct epoll_engine *e)
{
    bool accepts = !e->accept_paused && e->accept_again_ns == CLOCK_NEVER;

    for (unsigned i = 0; i < e->listeners_count; i++) {
        struct epoll_event event = {
            .events = accepts ? (uint32_t)EPOLLIN : 0,
            .data.u64 = EPOLL_DATA_LISTENER + i,
        };
        epoll_syscall(e);
        epoll_ctl(e->epfd, EPOLL_CTL_MOD, e->listeners[i].sock.fd, &event);
    }
}

static void epoll_accept_failed(struct epoll_engine *e, unsigned index, int err)
{
    uint64_t pause_ns = sock_backoff_next_ns(&e->backoff);

    epoll_count(e, ENGINE_ACCEPT_ERRORS, 1);
    e->accept_again_ns = clock_ns() + pause_ns;
    epoll_watch_listeners(e);
    e->upcalls++;
    e->engine.events->on_accept_error(e->listeners[index].ctx, err, pause_ns);
}

static void epoll_accept(struct epoll_engine *e, unsigned index)
{
    if (e->accept_again_ns != CLOCK_NEVER)
        return; /* another listener of this batch has just failed */
    for (int i = 0; i < EPOLL_ACCEPTS_MAX && !e->accept_paused; i++) {
        struct engine_accepted accepted = {.remote.size = sizeof(accepted.remote.sa)};
        int fd = accept4(e->listeners[index].sock.fd, (struct sockaddr *)&accepted.remote.sa,
                         &accepted.remote.size, SOCK_CLOEXEC);
        epoll_syscall(e);
        if (fd < 0) {
            if (errno == EAGAIN)
                return;
            if (!sock_accept_must_pause(errno))
                continue;
            epoll_accept_failed(e, index, errno);
            return;
        }
        sock_backoff_reset(&e->backoff);
        epoll_count(e, ENGINE_ACCEPTS, 1);
        accepted.token = fd;
        e->upcalls++;
        e->engine.events->on_accept(e->listeners[index].ctx, &accepted);
        epoll_run_marked(e);
    }
}

/* --- poll --- */

static void epoll_handle(struct epoll_engine *e, int count)
{
    for (int i = 0; i < count; i++) {
        uint64_t data = e->events[i].data.u64;
        if (__builtin_expect(data >> 32 != 0, 1)) {
            epoll_conn_event(e, data, e->events[i].events);
        } else if (data == EPOLL_DATA_WAKE) {
            /* Edge-triggered, so that it need not be read. */
            atomic_store(&e->wake_sent, false);
            e->woken = true;
        } else {
            epoll_accept(e, (unsigned)(data - EPOLL_DATA_LISTENER));
        }
    }
}

static uint64_t epoll_alarm_ns(const struct epoll_engine *e)
{
    uint64_t retry_ns = e->retries_count > 0 ? e->retry_ns : CLOCK_NEVER;

    return retry_ns < e->accept_again_ns ? retry_ns : e->accept_again_ns;
}

static void epoll_ring_alarms(struct epoll_engine *e)
{
    uint64_t now_ns = clock_ns();

    if (now_ns >= e->accept_again_ns) {
        e->accept_again_ns = CLOCK_NEVER;
        epoll_watch_listeners(e);
    }
    if (e->retries_count > 0 && now_ns >= e->retry_ns) {
        e->retry_ns = now_ns + EPOLL_RETRY_NS;
        epoll_retry(e);
    }
}

static int epoll_look(struct epoll_engine *e)
{
    epoll_syscall(e);
    epoll_count(e, ENGINE_POLLS, 1);
    /* As sock.h's: without the cancellation point. And where there is a call without a signal mask,
     * that one: of a look that finds nothing it is a sixth. */
#ifdef SYS_epoll_wait
    int n = (int)syscall(SYS_epoll_wait, e->epfd, e->events, EPOLL_EVENTS, 0);
#else
    int n = (int)syscall(SYS_epoll_pwait, e->epfd, e->events, EPOLL_EVENTS, 0, NULL, 0);
#endif
    if (n > 0)
        epoll_count(e, ENGINE_POLLS_USEFUL, 1);
    return n < 0 ? (errno == EINTR ? 0 : -errno) : n;
}

/* Before Linux 5.11 epoll waits in milliseconds only; ppoll() on its fd has always had ns. */
static int epoll_sleep_old(struct epoll_engine *e, const struct timespec *timeout)
{
    struct pollfd pollfd = {.fd = e->epfd, .events = POLLIN};

    epoll_syscall(e);
    ppoll(&pollfd, 1, timeout, NULL);
    return epoll_look(e);
}

static int epoll_sleep(struct epoll_engine *e, uint64_t until_ns)
{
    struct timespec timeout;
    bool forever = until_ns == CLOCK_NEVER;

    if (!forever) {
        uint64_t now_ns = until_ns == 0 ? 0 : clock_ns();
        if (now_ns >= until_ns)
            return epoll_look(e);
        timeout = clock_poll_timeout(now_ns, until_ns);
    }
    if (!e->timespec_waits)
        return epoll_sleep_old(e, forever ? NULL : &timeout);
    epoll_syscall(e);
    epoll_count(e, ENGINE_POLLS, 1);
    int n = epoll_pwait2(e->epfd, e->events, EPOLL_EVENTS, forever ? NULL : &timeout, NULL);
    if (n > 0)
        epoll_count(e, ENGINE_POLLS_USEFUL, 1);
    return n < 0 ? (errno == EINTR ? 0 : -errno) : n;
}

/*
 * Looks without sleeping for as long as the option says, then sleeps. The clock is read after
 * empty looks, when there is time to spare, and otherwise once a round that follows another
 * without a pause: that is enough to tell busy from idle.
 */
static int epoll_spin(struct epoll_engine *e, uint64_t until_ns)
{
    for (;;) {
        int n = epoll_look(e);
        if (n != 0) {
            uint64_t now_ns = e->empty_ns != 0 ? e->empty_ns : clock_ns();
            if (e->empty_ns == 0)
                epoll_count(e, ENGINE_BUSY_NS, now_ns - e->busy_since_ns);
            e->busy_since_ns = now_ns;
            e->empty_ns = 0;
            return n;
        }
        uint64_t now_ns = clock_ns();
        if (e->empty_ns == 0) {
            epoll_count(e, ENGINE_BUSY_NS, now_ns - e->busy_since_ns);
            e->idle_since_ns = now_ns;
        }
        e->empty_ns = now_ns;
        if (now_ns >= until_ns)
            return 0;
        if (now_ns - e->idle_since_ns >= e->options.spin_ns) {
            n = epoll_sleep(e, until_ns);
            e->busy_since_ns = clock_ns();
            e->empty_ns = 0;
            return n;
        }
    }
}

static int epoll_wait_for_events(struct epoll_engine *e, uint64_t until_ns)
{
    if (e->options.spin_ns == 0)
        return epoll_sleep(e, until_ns);
    return epoll_spin(e, until_ns);
}

static int epoll_engine_poll(struct engine *engine, uint64_t deadline_ns)
{
    struct epoll_engine *e = epoll_self(engine);

    e->upcalls = 0;
    e->woken = false;
    if (e->dirty_count > 0) {
        /* Spinning: the caller has found something to do, so this is no longer an idle stretch. */
        if (e->empty_ns != 0) {
            e->busy_since_ns = e->empty_ns;
            e->empty_ns = 0;
        }
        epoll_run_marked(e);
    }
    for (;;) {
        uint64_t alarm_ns = epoll_alarm_ns(e);
        uint64_t until_ns = deadline_ns < alarm_ns ? deadline_ns : alarm_ns;
        if (e->upcalls > 0 || e->dirty_count > 0)
            until_ns = 0;
        int n = epoll_wait_for_events(e, until_ns);
        if (n < 0)
            return n;
        epoll_handle(e, n);
        if (__builtin_expect(alarm_ns != CLOCK_NEVER, 0))
            epoll_ring_alarms(e);
        if (e->upcalls > 0 || e->woken || deadline_ns == 0)
            return e->upcalls;
        if (e->dirty_count > 0)
            epoll_run_marked(e);
        else if (deadline_ns != CLOCK_NEVER && clock_ns() >= deadline_ns)
            return e->upcalls;
    }
}

static void epoll_engine_wake(struct engine *engine)
{
    struct epoll_engine *e = epoll_self(engine);

    if (!atomic_exchange(&e->wake_sent, true))
        eventfd_write(e->eventfd, 1);
}

static void epoll_accept_pause(struct engine *engine)
{
    struct epoll_engine *e = epoll_self(engine);

    e->accept_paused = true;
    epoll_watch_listeners(e);
}

static void epoll_accept_resume(struct engine *engine)
{
    struct epoll_engine *e = epoll_self(engine);

    e->accept_paused = false;
    epoll_watch_listeners(e);
}

static void epoll_accept_refuse(struct engine *engine, struct engine_accepted *accepted)
{
    epoll_syscall(epoll_self(engine));
    close((int)accepted->token);
}

/*
 * A receive that might wait goes on with what came in while it copied (the socket's backlog),
 * one that must not returns before that: then the sender, who is the limit of a bulk stream over
 * loopback, has to deliver it by itself. So the sockets that are accepted block, with the shortest
 * time-out that there is, and are only read when there is something: up to 1.3 x for one
 * connection's stream, no difference for echoes. Sends say MSG_DONTWAIT. Not so the side that
 * connects: its sockets are made without blocking, for connect(), and stay so, since image streams
 * and echoes of 1 MiB gained nothing from it there (0.95 to 1.06). UNIX sockets that are accepted
 * block without a time-out, which they do not inherit.
 */
static void epoll_set_least_wait(int fd)
{
    static const struct timeval tick = {.tv_usec = 1};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof(tick));
}

static int epoll_listen(struct engine *engine, const struct addr *addr, void *listener_ctx,
                        struct addr *bound, struct lab_error *err)
{
    struct epoll_engine *e = epoll_self(engine);
    unsigned index = e->listeners_count;
    struct epoll_listener *grown =
        realloc(e->listeners, (index + 1) * sizeof(struct epoll_listener));

    if (grown == NULL)
        return lab_fail(err, ENOMEM, "no memory for another listener");
    e->listeners = grown;
    e->listeners[index].ctx = listener_ctx;
    int r = sock_listen(&e->listeners[index].sock, addr, &e->config, SOCK_NONBLOCK, err);
    if (r < 0)
        return r;
    int fd = e->listeners[index].sock.fd;
    epoll_set_busy_poll(e, fd);
    epoll_set_least_wait(fd);
    struct epoll_event event = {.data.u64 = EPOLL_DATA_LISTENER + index};
    if (epoll_ctl(e->epfd, EPOLL_CTL_ADD, fd, &event) < 0) {
        r = lab_fail(err, errno, "cannot watch a listener: %s", strerror(errno));
        sock_listener_close(&e->listeners[index].sock);
        return r;
    }
    e->listeners_count++;
    epoll_watch_listeners(e);
    if (bound != NULL)
        *bound = e->listeners[index].sock.bound;
    return 0;
}

/* --- busy polling --- */

/* Linux 6.9, <linux/eventpoll.h>; older headers lack it. */
#ifndef EPIOCSPARAMS
struct epoll_params {
    uint32_t busy_poll_usecs;
    uint16_t busy_poll_budget;
    uint8_t prefer_busy_poll;
    uint8_t __pad;
};
#define EPIOCSPARAMS _IOW(0x8A, 0x01, struct epoll_params)
#endif

/* What the kernel takes at most without privilege. */
#define EPOLL_BUSY_POLL_BUDGET 8

static int epoll_busy_poll_us(const struct epoll_options *options)
{
    return (int)((options->busy_poll_ns + NS_PER_US - 1) / NS_PER_US);
}

void epoll_set_busy_poll(struct epoll_engine *e, int fd)
{
    int us = epoll_busy_poll_us(&e->options);

    if (us == 0)
        return;
    epoll_syscall(e);
    setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &us, sizeof(us));
}

void epoll_note_busy_poll(struct epoll_engine *e, int fd)
{
    unsigned napi_id = 0;
    socklen_t size = sizeof(napi_id);

    if (__builtin_expect(e->options.busy_poll_ns == 0 || e->busy_poll_noted, 1))
        return;
    e->busy_poll_noted = true;
    epoll_syscall(e);
    getsockopt(fd, SOL_SOCKET, SO_INCOMING_NAPI_ID, &napi_id, &size);
    if (napi_id == 0)
        engine_cap_without_effect(&e->engine, "busy polling", NULL);
}

static int epoll_probe_busy_poll(const struct epoll_options *options, struct engine_caps *caps,
                                 struct lab_error *err)
{
    int us = epoll_busy_poll_us(options);
    int r = 0;

    if (us == 0)
        return 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &us, sizeof(us)) < 0)
        r = lab_fail(err, errno,
                     "epoll: busy_poll cannot be set: %s; it takes CAP_NET_ADMIN (root), or a "
                     "default for all: sysctl net.core.busy_read=%d",
                     strerror(errno), us);
    if (fd >= 0)
        close(fd);
    caps->privileged = true; /* so does each connection's */
    engine_caps_add(caps, "busy polling", CAP_NATIVE,
                    "loopback, unix sockets and drivers without a NAPI id are not polled");
    return r;
}

/* --- options, probe, open, close --- */

#define FIELD(name) offsetof(struct epoll_options, name)

static const struct option_def epoll_option_table[] = {
    {.name = "spin",
     .type = OPTION_TIME_OPT,
     .offset = FIELD(spin_ns),
     .help = "look for events that long before sleeping; without a time, never sleep"},
    {.name = "busy_poll",
     .type = OPTION_TIME,
     .offset = FIELD(busy_poll_ns),
     .max = NS_PER_S,
     .help = "let the kernel poll the network device that long (SO_BUSY_POLL)"},
    {0},
};

static const struct metric_def epoll_metrics[] = {ENGINE_METRICS, {0}};

/* Linux 5.11 and later have it; a container's seccomp filter may not let it through. */
static bool epoll_has_timespec_waits(int epfd)
{
    static const struct timespec none;
    struct epoll_event event;

    return epoll_pwait2(epfd, &event, 1, &none, NULL) >= 0;
}

static int epoll_fill_caps(const struct epoll_options *options, bool timespec_waits,
                           struct engine_caps *caps)
{
    caps->conns_max = EPOLL_CONNS_MAX;
    caps->spins = options->spin_ns != 0;
    caps->attach = true;
    caps->unix_sockets = true;
    engine_caps_add(caps, "nanosecond time-outs", timespec_waits ? CAP_NATIVE : CAP_EMULATED,
                    timespec_waits ? NULL : "by ppoll: this kernel refuses epoll_pwait2");
    engine_caps_add(caps, "file segments", CAP_NATIVE, "sendfile");
    return 0;
}

static int epoll_probe(const struct engine_config *config, struct engine_caps *caps,
                       struct lab_error *err)
{
    const struct epoll_options *options = config->options;
    int epfd = epoll_create1(EPOLL_CLOEXEC);

    *caps = (struct engine_caps){0};
    if (epfd < 0)
        return lab_fail(err, errno, "epoll cannot be used: %s%s", strerror(errno),
                        errno == EMFILE ? "; raise ulimit -n" : "");
    epoll_fill_caps(options, epoll_has_timespec_waits(epfd), caps);
    close(epfd);
    int r = sock_probe(config, caps, err);
    return r < 0 ? r : epoll_probe_busy_poll(options, caps, err);
}

static void epoll_free(struct epoll_engine *e)
{
    struct epoll_conn *c;
    uint32_t index = 0;

    while ((c = conns_next_kept(&e->conns, &index)) != NULL)
        sendq_free(&c->sendq);
    conns_close(&e->conns);
    bufpool_close(e->pool);
    free(e->listeners);
    if (e->eventfd >= 0)
        close(e->eventfd);
    if (e->epfd >= 0)
        close(e->epfd);
    free(e);
}

static int epoll_open_memory(struct epoll_engine *e)
{
    const struct bufpool_config pool = {
        .receive_bytes = BUFPOOL_RECEIVE_BYTES,
        .bufs_max = e->options.common.bufs,
        .quota_bytes = e->options.common.loan_bytes,
        .returned = epoll_loan_returned,
        .context = e,
    };
    int r = conns_open(&e->conns, sizeof(struct epoll_conn), e->config.conns_hint, EPOLL_CONNS_MAX);

    return r < 0 ? r : bufpool_open(&e->pool, &pool);
}

/*
 * While threads share a table of descriptors, each system call takes a reference on its file and
 * drops it again, by two atomic operations: 70 of the 240 ns of an epoll_wait that finds nothing,
 * 1 to 2 % of an echo. So a thread that may has a table of its own from here on: what is open now,
 * the eventfd among it, stays known to both. Where that is refused nothing is lost but speed.
 */
static void epoll_keep_apart(const struct epoll_engine *e)
{
    if (e->config.apart)
        (void)!unshare(CLONE_FILES);
}

static int epoll_open_fds(struct epoll_engine *e)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = EPOLL_DATA_WAKE};

    e->epfd = epoll_create1(EPOLL_CLOEXEC);
    e->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->epfd < 0 || e->eventfd < 0 || epoll_ctl(e->epfd, EPOLL_CTL_ADD, e->eventfd, &event) < 0)
        return -errno;
    e->timespec_waits = epoll_has_timespec_waits(e->epfd);
    int us = epoll_busy_poll_us(&e->options);
    if (us > 0) {
        /* Refused before Linux 6.9, where net.core.busy_poll has to do for the waits. */
        struct epoll_params params = {
            .busy_poll_usecs = (uint32_t)us,
            .busy_poll_budget = EPOLL_BUSY_POLL_BUDGET,
        };
        ioctl(e->epfd, EPIOCSPARAMS, &params);
    }
    epoll_keep_apart(e);
    return 0;
}

static int epoll_open(struct engine **engine, const struct engine_config *config,
                      const struct engine_events *events, struct lab_error *err)
{
    struct engine_caps caps;
    int r = epoll_probe(config, &caps, err);

    if (r < 0)
        return r;
    struct epoll_engine *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return lab_fail(err, ENOMEM, "epoll: no memory");
    e->engine.ops = &epoll_engine;
    e->engine.events = events;
    e->engine.caps = caps;
    e->config = *config;
    e->options = *(const struct epoll_options *)config->options;
    e->config.options = &e->options;
    e->epfd = e->eventfd = -1;
    e->accept_again_ns = CLOCK_NEVER;
    e->dirty_end = &e->dirty;
    e->retries_end = &e->retries;
    r = epoll_open_fds(e);
    if (r == 0)
        r = epoll_open_memory(e);
    if (r < 0) {
        epoll_free(e);
        return lab_fail(err, -r, "epoll: cannot open an instance: %s", strerror(-r));
    }
    sock_block_sigpipe();
    e->busy_since_ns = clock_ns();
    *engine = &e->engine;
    return 0;
}

/* Everybody lets go of buffers first (they may be queued on another connection), then each
 * connection hears of its end. */
static void epoll_close(struct engine *engine)
{
    struct epoll_engine *e = epoll_self(engine);
    struct epoll_conn *c;
    uint32_t index = 0;

    if (engine == NULL)
        return;
    e->closing = true;
    while ((c = conns_next(&e->conns, &index)) != NULL)
        epoll_conn_abort(e, c);
    index = 0;
    while ((c = conns_next(&e->conns, &index)) != NULL) {
        c->buried = true;
        e->engine.events->on_closed(c->ctx, (enum engine_reason)c->reason, c->err);
        assert(c->loans.count == 0);
        conns_give(&e->conns, c);
    }
    for (unsigned i = 0; i < e->listeners_count; i++)
        sock_listener_close(&e->listeners[i].sock);
    epoll_free(e);
}

const struct engine_ops epoll_engine = {
    .name = "epoll",
    .help = "readiness: one epoll set a worker, receive and send at once",
    .options_size = sizeof(struct epoll_options),
    .options = epoll_option_table,
    .metrics = epoll_metrics,
    .links = sock_links,
    .probe = epoll_probe,
    .open = epoll_open,
    .close = epoll_close,
    .poll = epoll_engine_poll,
    .wake = epoll_engine_wake,
    .listen = epoll_listen,
    .accept_pause = epoll_accept_pause,
    .accept_resume = epoll_accept_resume,
    .accept_refuse = epoll_accept_refuse,
    .attach = epoll_attach,
    .connect = epoll_connect,
    .recv_pause = epoll_recv_pause,
    .recv_resume = epoll_recv_resume,
    .send = epoll_send,
    .send_end = epoll_send_end,
    .conn_close = epoll_conn_close,
};
