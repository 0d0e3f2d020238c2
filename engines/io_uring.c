/*
 * The io_uring engine. A poll round is one io_uring_enter, which hands over all that the round
 * before has led to and waits for the next completions; then these are told of, and what they
 * lead to is prepared. What connections do is in io_uring_conn.c, _recv.c and _send.c.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/clock.h"
#include "engines/io_uring_internal.h"

#define URING_FIXED_MAX 65536u
/* Looks in a row that only hand over: who always has something to send receives all the same. */
#define URING_HAND_OVERS_MAX 8u

/* --- handing over --- */

/* r: of a call into the ring, which is counted. */
static int uring_entered(struct uring_engine *e, int r)
{
    if (r > 0)
        engine_count(&e->base, ENGINE_SYSTEM_CALLS, (uint64_t)r);
    return r;
}

static int uring_enter(struct uring_engine *e, unsigned wait_nr, uint64_t deadline_ns)
{
    return uring_entered(e, uring_ring_enter(&e->ring, wait_nr, deadline_ns));
}

bool uring_room(struct uring_engine *e)
{
    if (__builtin_expect(io_uring_sq_space_left(&e->ring.io) >= URING_STEP_ENTRIES, 1))
        return true;
    uring_enter(e, 0, 0);
    return io_uring_sq_space_left(&e->ring.io) >= URING_STEP_ENTRIES;
}

static void uring_arm_wake(struct uring_engine *e)
{
    if (!uring_room(e))
        return;
    struct io_uring_sqe *sqe = uring_sqe(e);
    io_uring_prep_read(sqe, e->wake_fd, &e->wake_value, sizeof(e->wake_value), 0);
    io_uring_sqe_set_data64(sqe, uring_tag(URING_WAKE, 0, 0));
    e->wake_armed = true;
}

/* Those whose receive found no buffer, and those behind them, go on when there are some, as many at
 * a time as there are buffers and in the order in which they came: the first would take them all
 * again. */
static void uring_feed_starved(struct uring_engine *e)
{
    e->feeding = true;
    for (uint32_t left = e->pool.ring_fill; left > 0 && e->starved.first != NULL; left--) {
        struct uring_conn *c = e->starved.first;
        if (!uring_room(e))
            break;
        e->starved.first = c->starved_next;
        if (e->starved.first == NULL)
            e->starved.last = NULL;
        c->recv_starved = false;
        uring_conn_step(e, c);
    }
    e->feeding = false;
}

/* Each connection that was marked takes a step; what these steps mark waits for the next time. */
static void uring_flush(struct uring_engine *e)
{
    if (__builtin_expect(e->listeners_dirty, 0))
        uring_listeners_step(e);
    if (__builtin_expect(!e->wake_armed && !e->closing, 0))
        uring_arm_wake(e);
    /* The starved come first: where buffers are few, who has just been served would else take what
     * there is, round after round. */
    if (__builtin_expect(e->starved.first != NULL, 0)) {
        uring_pool_fill(e);
        uring_feed_starved(e);
    }
    struct uring_list list = e->dirty;
    e->dirty = (struct uring_list){0};
    while (list.first != NULL) {
        struct uring_conn *c = list.first;
        if (!uring_room(e)) {
            list.last->dirty_next = e->dirty.first;
            e->dirty.first = list.first;
            if (e->dirty.last == NULL)
                e->dirty.last = list.last;
            break;
        }
        list.first = c->dirty_next;
        c->dirty = false;
        uring_conn_step(e, c);
    }
    uring_pool_fill(e);
}

/* --- reaping --- */

static void uring_conn_completion(struct uring_engine *e, uint64_t tag, int result, unsigned flags)
{
    uint64_t handle = (tag >> 32 << 32) | (tag >> 8 & (URING_CONNS_MAX - 1));
    struct uring_conn *c = conns_find(&e->conns, handle);

    if (__builtin_expect(c == NULL, 0))
        return;
    switch ((enum uring_kind)(tag & 15)) {
    case URING_RECV: uring_recv_done(e, c, result, flags); break;
    case URING_SEND: uring_send_done(e, c, tag >> 4 & 15, result, flags); break;
    case URING_READ: uring_read_done(e, c, result); break;
    case URING_POLL_OUT: uring_poll_out_done(e, c, result); break;
    case URING_CONNECT: uring_connect_done(e, c, result); break;
    case URING_CLOSE: uring_close_done(e, c); break;
    case URING_CANCEL:
        if (result < 0)
            uring_cancel_failed(e, c);
        break;
    default: break;
    }
}

static void uring_completion(struct uring_engine *e, uint64_t tag, int result, unsigned flags)
{
    uint32_t index = tag >> 8 & (URING_CONNS_MAX - 1);

    switch ((enum uring_kind)(tag & 15)) {
    case URING_ACCEPT: uring_accept_done(e, index, result, flags); break;
    case URING_PROVIDE: uring_provide_done(e, index, result); break;
    case URING_TIMER: e->ring.timer_ns = CLOCK_NEVER; break;
    case URING_WAKE:
        e->wake_armed = false;
        e->woken = true;
        /* Reads what the caller of wake() wrote before. */
        atomic_exchange(&e->wake_asked, false);
        break;
    default: break;
    }
}

static void uring_reap(struct uring_engine *e)
{
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0;

    io_uring_for_each_cqe(&e->ring.io, head, cqe)
    {
        seen++;
        /* Generations of connections are odd. */
        if (__builtin_expect(cqe->user_data >> 32 != 0, 1))
            uring_conn_completion(e, cqe->user_data, cqe->res, cqe->flags);
        else
            uring_completion(e, cqe->user_data, cqe->res, cqe->flags);
    }
    if (seen == 0)
        return;
    io_uring_cq_advance(&e->ring.io, seen);
    engine_count(&e->base, ENGINE_POLLS_USEFUL, 1);
}

/* --- waiting --- */

static inline void uring_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

/* What is queued is handed over; the rest is a look into memory where the kernel leaves a mark. */
static int uring_look(struct uring_engine *e)
{
    unsigned kernel_flags = IO_URING_READ_ONCE(*e->ring.io.sq.kflags);

    engine_count(&e->base, ENGINE_POLLS, 1);
    if (io_uring_sq_ready(&e->ring.io) == 0 && uring_uses(e, URING_TASKRUN_FLAG) &&
        !(kernel_flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)))
        return 0;
    return uring_enter(e, 0, 0);
}

/*
 * Of a caller who comes again and again: either hands over or fetches. With an open loop that keeps
 * its schedule so, what falls due while a send is under way goes out before what has come is
 * received, not behind it. Measured: p99 of the slip 0.85 of what one call for both gives.
 */
static int uring_look_in_turn(struct uring_engine *e)
{
    bool hands_over = io_uring_sq_ready(&e->ring.io) != 0 && uring_uses(e, URING_TASKRUN_FLAG);

    if (!hands_over || e->handed_over == URING_HAND_OVERS_MAX) {
        e->handed_over = 0;
        return uring_look(e);
    }
    e->handed_over++;
    engine_count(&e->base, ENGINE_POLLS, 1);
    int r = uring_entered(e, uring_ring_hand_over(&e->ring));
    /* What was not taken is for want of room among the completions, or of memory. */
    return r < 0 || io_uring_sq_ready(&e->ring.io) == 0 ? r : uring_enter(e, 0, 0);
}

/* Looks for as long as the option says, then sleeps. */
static int uring_spin(struct uring_engine *e, uint64_t deadline_ns)
{
    uint64_t begun_ns = clock_ns(), now_ns = begun_ns;
    int r;

    engine_count(&e->base, ENGINE_BUSY_NS, begun_ns - e->busy_since_ns);
    for (;;) {
        r = uring_look(e);
        if (r < 0 || io_uring_cq_ready(&e->ring.io) != 0)
            break;
        uring_relax();
        now_ns = clock_ns();
        if (now_ns >= deadline_ns)
            break;
        if (now_ns - begun_ns >= e->options.spin_ns) {
            engine_count(&e->base, ENGINE_POLLS, 1);
            r = uring_enter(e, 1, deadline_ns);
            now_ns = clock_ns();
            break;
        }
    }
    e->busy_since_ns = now_ns;
    return r;
}

/* by_caller: who called does not want to wait. */
static int uring_wait(struct uring_engine *e, uint64_t deadline_ns, bool by_caller)
{
    if (deadline_ns == 0)
        return by_caller ? uring_look_in_turn(e) : uring_look(e);
    if (e->options.spin_ns != 0)
        return uring_spin(e, deadline_ns);
    engine_count(&e->base, ENGINE_POLLS, 1);
    return uring_enter(e, 1, deadline_ns);
}

/* Until when to wait: not at all while something is left to be done. */
static uint64_t uring_until_ns(const struct uring_engine *e, uint64_t deadline_ns)
{
    if (e->calls_up > 0 || e->dirty.first != NULL || e->listeners_dirty || e->behind_quiet ||
        (e->starved.first != NULL && e->pool.ring_fill > 0))
        return 0;
    return deadline_ns < e->retry_ns ? deadline_ns : e->retry_ns;
}

static int uring_poll(struct engine *engine, uint64_t deadline_ns)
{
    struct uring_engine *e = (struct uring_engine *)engine;

    e->calls_up = 0;
    e->woken = false;
    uring_flush(e);
    for (;;) {
        e->round++;
        int r = uring_wait(e, uring_until_ns(e, deadline_ns), deadline_ns == 0);
        if (__builtin_expect(r < 0, 0))
            return r;
        uring_reap(e);
        uring_send_settle_quiet(e);
        if (__builtin_expect(e->retry_ns != CLOCK_NEVER, 0))
            uring_retry(e);
        uring_flush(e);
        if (e->calls_up > 0 || e->woken || deadline_ns == 0)
            break;
        if (deadline_ns != CLOCK_NEVER && clock_ns() >= deadline_ns)
            break;
    }
    return (int)e->calls_up;
}

static void uring_wake(struct engine *engine)
{
    struct uring_engine *e = (struct uring_engine *)engine;

    if (!atomic_exchange(&e->wake_asked, true))
        eventfd_write(e->wake_fd, 1);
}

/* --- calls down --- */

static int uring_send(struct engine *engine, uint64_t conn, const struct seg *segs, unsigned count,
                      uint64_t cookie)
{
    struct uring_engine *e = (struct uring_engine *)engine;
    struct uring_conn *c = conns_find(&e->conns, conn);

    if (__builtin_expect(c == NULL, 0))
        return -ESTALE;
    if (__builtin_expect(c->mute, 0))
        return c->buried ? -ESTALE : -EPIPE;
    int r = sendq_push(&c->queue, segs, count, cookie);
    if (r == 0)
        uring_mark_dirty(e, c);
    return r;
}

static int uring_send_end(struct engine *engine, uint64_t conn)
{
    struct uring_engine *e = (struct uring_engine *)engine;
    struct uring_conn *c = uring_find(e, conn);

    if (c == NULL)
        return -ESTALE;
    c->end_wanted = c->mute = true;
    uring_mark_dirty(e, c);
    return 0;
}

static int uring_recv_pause(struct engine *engine, uint64_t conn)
{
    struct uring_conn *c = uring_find((struct uring_engine *)engine, conn);

    if (c == NULL)
        return -ESTALE;
    c->recv_paused = true;
    return 0;
}

static int uring_recv_resume(struct engine *engine, uint64_t conn)
{
    struct uring_engine *e = (struct uring_engine *)engine;
    struct uring_conn *c = uring_find(e, conn);

    if (c == NULL)
        return -ESTALE;
    c->recv_paused = false;
    uring_mark_dirty(e, c);
    return 0;
}

static void uring_accept_pause(struct engine *engine)
{
    struct uring_engine *e = (struct uring_engine *)engine;

    e->accept_paused = true;
    e->listeners_dirty = true;
}

static void uring_accept_resume(struct engine *engine)
{
    struct uring_engine *e = (struct uring_engine *)engine;

    e->accept_paused = false;
    e->listeners_dirty = true;
}

static void uring_accept_refuse(struct engine *engine, struct engine_accepted *accepted)
{
    engine_count(engine, ENGINE_SYSTEM_CALLS, 1);
    close((int)accepted->token);
}

/* --- options, probe, open, close --- */

#define FIELD(name) offsetof(struct uring_options, name)

static const char *const uring_zc_names[] = {"auto", "on", "off", NULL};
static const char *const uring_bundles_names[] = {"auto", "on", "off", NULL};

static const struct option_def uring_option_table[] = {
    {.name = "spin",
     .type = OPTION_TIME_OPT,
     .offset = FIELD(spin_ns),
     .help = "look for completions that long before sleeping; without a time, never sleep"},
    {.name = "sqpoll",
     .type = OPTION_FLAG,
     .offset = FIELD(sqpoll),
     .help = "a kernel thread takes submissions: no system calls, and a core for it"},
    {.name = "zc",
     .type = OPTION_CHOICE,
     .offset = FIELD(zc),
     .fallback = "auto",
     .choices = uring_zc_names,
     .help = "zero-copy sends; auto stops when the link copies all the same"},
    {.name = "zc_min",
     .type = OPTION_SIZE,
     .offset = FIELD(zc_min_bytes),
     .fallback = "16k",
     .min = 1,
     .help = "the smallest gather that is sent without a copy"},
    {.name = "napi",
     .type = OPTION_TIME,
     .offset = FIELD(napi_ns),
     .max = NS_PER_S,
     .help = "let the kernel poll the network device that long (Linux 6.9)"},
    {.name = "bundles",
     .type = OPTION_CHOICE,
     .offset = FIELD(bundles),
     .fallback = "auto",
     .choices = uring_bundles_names,
     .help = "one receive may fill several buffers (Linux 6.10); auto where no size of message is "
             "known"},
    {.name = "fixed",
     .type = OPTION_FLAG,
     .offset = FIELD(fixed),
     .help = "register sockets with the ring"},
    {.name = "without",
     .type = OPTION_TEXT,
     .offset = FIELD(without),
     .argument = "NAME+NAME",
     .check = uring_check_without,
     .help = "do as on a kernel that lacks: defertaskrun, multishot, bufring, bundles, extarg, "
             "skip"},
    {0},
};

static const struct metric_def uring_metrics[] = {ENGINE_METRICS, {0}};

static int uring_probe(const struct engine_config *config, struct engine_caps *caps,
                       struct lab_error *err)
{
    struct uring_engine e = {.options = *(const struct uring_options *)config->options};

    *caps = (struct engine_caps){0};
    int r = uring_ring_open(&e.ring, &e.options, config->conns_hint, err);
    if (r < 0)
        return r;
    /* Whether there are buffer rings is found out by registering one. */
    r = uring_pool_open(&e, config, err);
    if (r == 0)
        uring_ring_describe(&e.ring, &e.options, caps);
    uring_pool_close(&e);
    uring_ring_close(&e.ring);
    return r < 0 ? r : sock_probe(config, caps, err);
}

static void uring_free(struct uring_engine *e)
{
    struct uring_conn *c;
    uint32_t index = 0;

    while ((c = conns_next_kept(&e->conns, &index)) != NULL)
        sendq_free(&c->queue);
    conns_close(&e->conns);
    uring_gathers_free(e);
    uring_pool_close(e);
    for (unsigned i = 0; i < e->listener_count; i++)
        free(e->listeners[i].held);
    free(e->listeners);
    if (e->wake_fd >= 0)
        close(e->wake_fd);
    free(e);
}

static void uring_register_files(struct uring_engine *e)
{
    uint32_t count = e->config.conns_hint < 1024 ? 1024 : e->config.conns_hint;

    if (!e->options.fixed)
        return;
    count = count < URING_FIXED_MAX ? count : URING_FIXED_MAX;
    bool registered = io_uring_register_files_sparse(&e->ring.io, count) == 0;
    if (registered)
        e->fixed_count = count;
    engine_caps_add(&e->base.caps, "registered sockets", registered ? CAP_NATIVE : CAP_ABSENT,
                    registered ? NULL : "refused: needs Linux 5.19, and ulimit -n above the slots");
}

static int uring_open(struct engine **engine, const struct engine_config *config,
                      const struct engine_events *events, struct lab_error *err)
{
    struct engine_caps caps = {0};
    int r = sock_probe(config, &caps, err);

    if (r < 0)
        return r;
    struct uring_engine *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return lab_fail(err, ENOMEM, "io_uring: no memory");
    e->base.ops = &io_uring_engine;
    e->base.events = events;
    e->base.caps = caps;
    e->config = *config;
    e->options = *(const struct uring_options *)config->options;
    e->config.options = &e->options;
    e->retry_ns = CLOCK_NEVER;
    e->wake_fd = -1;
    r = uring_ring_open(&e->ring, &e->options, config->conns_hint, err);
    if (r < 0) {
        free(e);
        return r;
    }
    r = uring_pool_open(e, config, err);
    if (r == 0 &&
        conns_open(&e->conns, sizeof(struct uring_conn), config->conns_hint, URING_CONNS_MAX) < 0)
        r = lab_fail(err, ENOMEM, "io_uring: no memory for %u connections", config->conns_hint);
    if (r == 0 && (e->wake_fd = eventfd(0, EFD_CLOEXEC)) < 0)
        r = lab_fail(err, errno, "io_uring: no eventfd: %s", strerror(errno));
    if (r < 0) {
        uring_ring_close(&e->ring);
        uring_free(e);
        return r;
    }
    uring_ring_describe(&e->ring, &e->options, &e->base.caps);
    uring_register_files(e);
    e->zc_on = uring_ring_sends_zc(&e->ring, &e->options);
    sock_block_sigpipe();
    e->busy_since_ns = clock_ns();
    *engine = &e->base;
    return 0;
}

/* Cancels and closes what belongs to no connection; true: all of it is gone. */
static bool uring_close_rest(struct uring_engine *e)
{
    bool gone = !e->wake_armed;

    if (e->wake_armed && uring_room(e)) {
        struct io_uring_sqe *sqe = uring_sqe(e);
        io_uring_prep_cancel64(sqe, uring_tag(URING_WAKE, 0, 0), 0);
        io_uring_sqe_set_data64(sqe, uring_tag(URING_FORGET, 0, 0));
    }
    for (unsigned i = 0; i < e->listener_count; i++) {
        struct uring_listener *l = &e->listeners[i];
        while (l->held_count > 0)
            close(l->held[--l->held_count]);
        if (l->armed) {
            /* A cancellation may have come at the wrong moment: again. */
            l->cancelled = false;
            e->listeners_dirty = true;
            gone = false;
        } else if (l->sock.fd >= 0) {
            sock_listener_close(&l->sock);
        }
    }
    return gone;
}

/*
 * A ring is torn down behind the back of whoever closes it, with the files that its entries hold:
 * an address would be in use for a moment longer. So everything is cancelled and awaited first.
 */
static void uring_close(struct engine *engine)
{
    struct uring_engine *e = (struct uring_engine *)engine;
    struct uring_conn *c;
    uint32_t index = 0;

    if (engine == NULL)
        return;
    e->closing = true;
    while ((c = conns_next(&e->conns, &index)) != NULL) {
        c->abort = true;
        uring_conn_end(e, c, ENGINE_CLOSED_LOCALLY, 0);
        /* One that was ending may wait for loans, which on_closed brings back. */
        uring_mark_dirty(e, c);
    }
    while (!uring_close_rest(e) || e->conns.count > 0) {
        uring_flush(e);
        bool idle = e->dirty.first == NULL && !e->listeners_dirty;
        if (uring_enter(e, idle ? 1 : 0, clock_ns() + 10 * NS_PER_MS) < 0)
            break;
        uring_reap(e);
        uring_send_settle_quiet(e);
    }
    uring_ring_close(&e->ring);
    uring_free(e);
}

const struct engine_ops io_uring_engine = {
    .name = "io_uring",
    .help = "submission and completion rings: one call a round for all connections",
    .options_size = sizeof(struct uring_options),
    .options = uring_option_table,
    .metrics = uring_metrics,
    .links = sock_links,
    .probe = uring_probe,
    .open = uring_open,
    .close = uring_close,
    .poll = uring_poll,
    .wake = uring_wake,
    .listen = uring_listen,
    .accept_pause = uring_accept_pause,
    .accept_resume = uring_accept_resume,
    .accept_refuse = uring_accept_refuse,
    .attach = uring_attach,
    .connect = uring_connect,
    .recv_pause = uring_recv_pause,
    .recv_resume = uring_recv_resume,
    .send = uring_send,
    .send_end = uring_send_end,
    .conn_close = uring_conn_close,
};
