/*
 * The blocking engine: a thread a connection that sits in recv(), as the simplest of servers and
 * clients do; two system calls a message and side. An instance listens, or has one connection.
 *
 * Where a plain recv() would be wrong it waits in ppoll() instead: while output is left (two
 * peers that both send 16 MiB would wait for each other in send() for ever), while it is not to
 * read, and when the deadline is near.
 *
 * Interrupting recv(). wake() and far deadlines come as a signal without SA_RESTART: wake()
 * directs it at the thread, a timer of the instance at deadlines. A signal that lands after the
 * last look at `woken` and before the system call would be lost; so the handler, as long as the
 * thread is in that stretch (`in_call`) with a wake or a deadline still to be seen,
 * sets the timer to fire again in BLOCKING_AGAIN_NS: the next one finds the thread inside the
 * call. Where it does not, since signals take longer than that (under strace), the next comes
 * after twice the time, so that the thread gets there in the end. SO_RCVTIMEO would do too, but
 * makes every idle connection wake up all the time, and each recv() set a kernel timer.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/line.h"

#include "engines/blocking.h"

/* Ignored by default and otherwise only sent for out-of-band data to who asks for it: harmless
 * wherever it goes. */
#define BLOCKING_SIGNAL       SIGURG
#define BLOCKING_AGAIN_NS     NS_PER_MS
#define BLOCKING_AGAIN_NS_MAX (100 * NS_PER_MS)
/* Deadlines nearer than what a lost signal may cost are ppoll's. */
#define BLOCKING_NEAR_NS (2 * BLOCKING_AGAIN_NS)
/* A unix socket whose backlog is full gives no event to wait for; and of a peer that sends on into
 * a close, nothing tells when it has acknowledged ours. */
#define BLOCKING_RETRY_NS NS_PER_MS

#ifndef sigev_notify_thread_id /* glibc before 2.38 has no name for it */
#define sigev_notify_thread_id _sigev_un._tid
#endif

extern const struct engine_ops blocking_engine;

/* This thread's instances, for the signal handler: nearly always one. Not touched otherwise, since
 * with a thread a connection it is in no cache. */
static _Thread_local struct blocking_engine *volatile blocking_here;

/* --- being interrupted --- */

static void blocking_set_timer(struct blocking_engine *e, uint64_t at_ns)
{
    const struct itimerspec at = {.it_value = clock_timespec(at_ns)};

    atomic_store_explicit(&e->timer_ns, at_ns, memory_order_relaxed);
    timer_settime(e->timer, TIMER_ABSTIME, &at, NULL);
}

static void blocking_signalled(struct blocking_engine *e, uint64_t now_ns)
{
    if (atomic_load_explicit(&e->timer_ns, memory_order_relaxed) <= now_ns)
        atomic_store_explicit(&e->timer_ns, 0, memory_order_relaxed);
    if (!e->in_call)
        return;
    bool due = atomic_load(&e->woken) || now_ns >= e->until_ns;
    if (due || e->until_ns != CLOCK_NEVER)
        blocking_set_timer(e, due ? now_ns + e->again_ns : e->until_ns);
    if (due && e->again_ns < BLOCKING_AGAIN_NS_MAX)
        e->again_ns *= 2;
}

/* clock_gettime() and timer_settime() may be called from here: signal-safety(7). */
static void blocking_on_signal(int signal_number)
{
    int saved = errno;
    uint64_t now_ns = clock_kernel_ns();

    for (struct blocking_engine *e = blocking_here; e != NULL; e = e->next_here)
        blocking_signalled(e, now_ns);
    errno = saved;
}

static int blocking_install(struct blocking_engine *e)
{
    struct sigaction action = {.sa_handler = blocking_on_signal};
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD_ID,
        .sigev_signo = BLOCKING_SIGNAL,
        .sigev_notify_thread_id = gettid(),
    };
    sigset_t set;

    e->thread = pthread_self();
    sigemptyset(&action.sa_mask);
    if (sigaction(BLOCKING_SIGNAL, &action, NULL) < 0 ||
        timer_create(CLOCK_MONOTONIC, &event, &e->timer) < 0)
        return -errno;
#ifdef __SANITIZE_THREAD__
    /* Its runtime (GCC 12) begins to keep a thread's signals at the first call that may block, and
     * loses one that comes meanwhile. */
    poll(NULL, 0, 0);
#endif
    /* Threads often start with everything blocked. */
    sigemptyset(&set);
    sigaddset(&set, BLOCKING_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    sock_block_sigpipe();
    e->next_here = blocking_here;
    atomic_signal_fence(memory_order_seq_cst);
    blocking_here = e;
    return 0;
}

/* By the thread that opened it: a signal on its way finds it no more. */
static void blocking_uninstall(struct blocking_engine *e)
{
    struct blocking_engine *volatile *link = &blocking_here;

    timer_delete(e->timer);
    while (*link != NULL && *link != e)
        link = &(*link)->next_here;
    if (*link == e)
        *link = e->next_here;
    atomic_signal_fence(memory_order_seq_cst);
}

/*
 * Far deadlines move all the time (each op has its time-out), and mostly further away: the timer
 * is set only for an earlier one, or once it has fired, and rather fires early than be moved. One
 * that fires before in_call is set is seen to have; one that fires after sets itself again.
 */
bool blocking_enter(struct blocking_engine *e, uint64_t until_ns)
{
    e->until_ns = until_ns;
    e->again_ns = BLOCKING_AGAIN_NS;
    atomic_signal_fence(memory_order_seq_cst);
    e->in_call = true;
    atomic_signal_fence(memory_order_seq_cst);
    if (until_ns != CLOCK_NEVER) {
        uint64_t timer_ns = atomic_load_explicit(&e->timer_ns, memory_order_relaxed);
        if (timer_ns == 0 || until_ns < timer_ns) {
            blocking_syscall(e);
            blocking_set_timer(e, until_ns);
        }
    }
    bool woken = atomic_load(&e->woken);
    /* Its signal may have come in the middle of setting the timer: what that is set to is not sure.
     */
    if (woken)
        atomic_store_explicit(&e->timer_ns, 0, memory_order_relaxed);
    return !woken;
}

void blocking_leave(struct blocking_engine *e)
{
    e->in_call = false;
}

/* --- accepting --- */

static bool blocking_accepts(const struct blocking_engine *e)
{
    return e->listeners_count > 0 && !e->accept_paused && e->accept_again_ns == CLOCK_NEVER;
}

/* One accept, which blocks unless ppoll() has said that it will not. */
static void blocking_accept(struct blocking_engine *e, const struct blocking_listener *listener)
{
    struct engine_accepted accepted = {.remote.size = sizeof(accepted.remote.sa)};
    void *ctx = listener->ctx;

    blocking_syscall(e);
    int fd = accept4(listener->sock.fd, (struct sockaddr *)&accepted.remote.sa,
                     &accepted.remote.size, SOCK_CLOEXEC);
    int err = errno;
    blocking_leave(e); /* the next is a call up */
    if (fd >= 0) {
        sock_backoff_reset(&e->backoff);
        blocking_count(e, ENGINE_ACCEPTS, 1);
        accepted.token = fd;
        e->upcalls++;
        e->engine.events->on_accept(ctx, &accepted);
    } else if (sock_accept_must_pause(err)) {
        uint64_t pause_ns = sock_backoff_next_ns(&e->backoff);
        blocking_count(e, ENGINE_ACCEPT_ERRORS, 1);
        e->accept_again_ns = clock_ns() + pause_ns;
        e->upcalls++;
        e->engine.events->on_accept_error(ctx, err, pause_ns);
    }
}

/* --- waiting --- */

/* Waits in ppoll() for everything that the instance has. */
static int blocking_wait(struct blocking_engine *e, uint64_t until_ns, uint64_t now_ns)
{
    short events = blocking_events(e);
    bool accepts = blocking_accepts(e);
    nfds_t count = 0;
    struct timespec timeout;

    if (events != 0 || (e->conn.state == BLOCKING_OPEN && !e->conn.hung_up))
        e->pollfds[count++] = (struct pollfd){.fd = e->conn.fd, .events = events};
    nfds_t first = count;
    for (unsigned i = 0; accepts && i < e->listeners_count; i++)
        e->pollfds[count++] = (struct pollfd){.fd = e->listeners[i].sock.fd, .events = POLLIN};
    if (until_ns != CLOCK_NEVER)
        timeout = clock_poll_timeout(now_ns, until_ns);
    int n = 0;
    blocking_syscall(e);
    if (blocking_enter(e, CLOCK_NEVER)) /* it keeps its time-out itself */
        n = ppoll(e->pollfds, count, until_ns == CLOCK_NEVER ? NULL : &timeout, NULL);
    int err = errno;
    blocking_leave(e);
    if (n < 0)
        return err == EINTR ? 0 : -err;
    short revents = first > 0 && n > 0 ? e->pollfds[0].revents : 0;
    if (e->conn.state == BLOCKING_LINGERS || revents != 0)
        blocking_conn_event(e, events, revents);
    for (nfds_t i = first; n > 0 && i < count; i++)
        if (e->pollfds[i].revents != 0 && blocking_accepts(e)) /* one before may have failed */
            blocking_accept(e, &e->listeners[i - first]);
    return 0;
}

/* One wait, in whatever way the present state takes. */
static int blocking_step(struct blocking_engine *e, uint64_t until_ns)
{
    struct blocking_conn *c = &e->conn;
    uint64_t now_ns = until_ns == 0 || until_ns == CLOCK_NEVER ? 0 : clock_ns();
    bool near = until_ns != CLOCK_NEVER && (until_ns < BLOCKING_NEAR_NS + now_ns);
    bool accepts = blocking_accepts(e);
    struct buf *buf;
    size_t room;

    if (c->state == BLOCKING_OPEN && !accepts && !c->nonblocking && (!near || until_ns == 0) &&
        sendq_is_drained(&c->sendq) && (buf = blocking_room(e, &room)) != NULL) {
        blocking_receive(e, buf, room, until_ns);
        return 0;
    }
    if (c->state == BLOCKING_NONE && accepts && !near && e->listeners_count == 1) {
        if (blocking_enter(e, until_ns))
            blocking_accept(e, &e->listeners[0]);
        blocking_leave(e);
        return 0;
    }
    if (c->state == BLOCKING_BEGINS) {
        blocking_begin(e, until_ns, near);
        if (c->state != BLOCKING_BEGINS || until_ns == 0)
            return 0;
    }
    if (c->state == BLOCKING_BEGINS || c->state == BLOCKING_LINGERS) {
        now_ns = clock_ns();
        if (until_ns > now_ns + BLOCKING_RETRY_NS)
            until_ns = now_ns + BLOCKING_RETRY_NS;
    }
    return blocking_wait(e, until_ns, now_ns);
}

static int blocking_poll(struct engine *engine, uint64_t deadline_ns)
{
    struct blocking_engine *e = blocking_self(engine);

    e->upcalls = 0;
    blocking_settle(e);
    while (e->upcalls == 0) {
        if (__builtin_expect(atomic_load_explicit(&e->woken, memory_order_acquire), 0)) {
            atomic_store(&e->woken, false);
            break;
        }
        uint64_t until_ns = deadline_ns < e->accept_again_ns ? deadline_ns : e->accept_again_ns;
        /* More to send than one look at the socket takes. */
        if (e->conn.state == BLOCKING_OPEN && !e->conn.full && !sendq_is_drained(&e->conn.sendq))
            until_ns = 0;
        blocking_count(e, ENGINE_POLLS, 1);
        int r = blocking_step(e, until_ns);
        if (r < 0)
            return r;
        if (e->upcalls > 0)
            blocking_count(e, ENGINE_POLLS_USEFUL, 1);
        blocking_settle(e);
        if (deadline_ns == 0)
            break;
        if (until_ns == CLOCK_NEVER || e->upcalls > 0)
            continue;
        uint64_t now_ns = clock_ns();
        if (now_ns >= e->accept_again_ns)
            e->accept_again_ns = CLOCK_NEVER;
        if (now_ns >= deadline_ns)
            break;
    }
    return e->upcalls;
}

static void blocking_wake(struct engine *engine)
{
    struct blocking_engine *e = blocking_self(engine);

    if (!atomic_exchange(&e->woken, true))
        pthread_kill(e->thread, BLOCKING_SIGNAL);
}

/* --- calls down --- */

static int blocking_listen(struct engine *engine, const struct addr *addr, void *listener_ctx,
                           struct addr *bound, struct lab_error *err)
{
    struct blocking_engine *e = blocking_self(engine);
    unsigned index = e->listeners_count;
    struct blocking_listener *listeners =
        realloc(e->listeners, (index + 1) * sizeof(*e->listeners));

    if (listeners != NULL)
        e->listeners = listeners;
    struct pollfd *pollfds = realloc(e->pollfds, (index + 2) * sizeof(*e->pollfds));
    if (pollfds != NULL)
        e->pollfds = pollfds;
    if (listeners == NULL || pollfds == NULL)
        return lab_fail(err, ENOMEM, "no memory for another listener");
    e->listeners[index].ctx = listener_ctx;
    int r = sock_listen(&e->listeners[index].sock, addr, &e->config, 0, err);
    if (r < 0)
        return r;
    e->listeners_count++;
    if (bound != NULL)
        *bound = e->listeners[index].sock.bound;
    return 0;
}

static void blocking_accept_pause(struct engine *engine)
{
    blocking_self(engine)->accept_paused = true;
}

static void blocking_accept_resume(struct engine *engine)
{
    blocking_self(engine)->accept_paused = false;
}

static void blocking_accept_refuse(struct engine *engine, struct engine_accepted *accepted)
{
    blocking_syscall(blocking_self(engine));
    close((int)accepted->token);
}

/* --- options, probe, open, close --- */

static const struct metric_def blocking_metrics[] = {ENGINE_METRICS, {0}};

static int blocking_probe(const struct engine_config *config, struct engine_caps *caps,
                          struct lab_error *err)
{
    *caps = (struct engine_caps){
        .conns_max = 1,
        .attach = true,
        .unix_sockets = true,
    };
    engine_caps_add(caps, "nanosecond time-outs", CAP_NATIVE, "ppoll, and a timer for far ones");
    engine_caps_add(caps, "file segments", CAP_NATIVE, "sendfile");
    return sock_probe(config, caps, err);
}

static void blocking_free(struct blocking_engine *e)
{
    sendq_free(&e->conn.sendq);
    bufpool_close(e->pool);
    free(e->listeners);
    free(e->pollfds);
    free(e);
}

static int blocking_open_memory(struct blocking_engine *e)
{
    const struct bufpool_config pool = {
        .receive_bytes = BUFPOOL_RECEIVE_BYTES,
        .bufs_max = e->options.common.bufs,
        .quota_bytes = e->options.common.loan_bytes,
    };

    e->pollfds = calloc(1, sizeof(*e->pollfds));
    return e->pollfds == NULL ? -ENOMEM : bufpool_open(&e->pool, &pool);
}

static int blocking_open(struct engine **engine, const struct engine_config *config,
                         const struct engine_events *events, struct lab_error *err)
{
    struct engine_caps caps;
    int r = blocking_probe(config, &caps, err);

    if (r < 0)
        return r;
    struct blocking_engine *e = line_calloc(sizeof(*e));
    if (e == NULL)
        return lab_fail(err, ENOMEM, "blocking: no memory");
    e->engine.ops = &blocking_engine;
    e->engine.events = events;
    e->engine.caps = caps;
    e->config = *config;
    e->options = *(const struct blocking_options *)config->options;
    e->config.options = &e->options;
    e->accept_again_ns = CLOCK_NEVER;
    e->generation = 1;
    r = blocking_open_memory(e);
    if (r == 0)
        r = blocking_install(e);
    if (r < 0) {
        blocking_free(e);
        return lab_fail(err, -r, "blocking: cannot open an instance: %s%s", strerror(-r),
                        r == -EAGAIN ? "; no more timers: raise ulimit -i" : "");
    }
    *engine = &e->engine;
    return 0;
}

static void blocking_close(struct engine *engine)
{
    struct blocking_engine *e = blocking_self(engine);

    if (engine == NULL)
        return;
    e->closing = true;
    blocking_uninstall(e);
    blocking_conn_drop(e);
    for (unsigned i = 0; i < e->listeners_count; i++)
        sock_listener_close(&e->listeners[i].sock);
    blocking_free(e);
}

const struct engine_ops blocking_engine = {
    .name = "blocking",
    .help = "a thread a connection, in recv() and send()",
    .options_size = sizeof(struct blocking_options),
    .metrics = blocking_metrics,
    .links = sock_links,
    .probe = blocking_probe,
    .open = blocking_open,
    .close = blocking_close,
    .poll = blocking_poll,
    .wake = blocking_wake,
    .listen = blocking_listen,
    .accept_pause = blocking_accept_pause,
    .accept_resume = blocking_accept_resume,
    .accept_refuse = blocking_accept_refuse,
    .attach = blocking_attach,
    .connect = blocking_connect,
    .recv_pause = blocking_recv_pause,
    .recv_resume = blocking_recv_resume,
    .send = blocking_send,
    .send_end = blocking_send_end,
    .conn_close = blocking_conn_close,
};
