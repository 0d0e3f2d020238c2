/*
 * The dpdk engine: TCP in this process (lwIP) upon a port that DPDK polls. No system call from a
 * message's arrival to its answer; a round is one burst of frames through the stack, then the
 * connections that it has touched, then what they have sent as bursts.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "core/line.h"

#include "engines/dpdk/dpdk.h"

/* Of empty looks: how often the clock is read, and after how long others may have the CPU (that
 * which keeps a memif's connection is one of them). */
#define DPDK_LOOKS_A_CLOCK 16u
#define DPDK_YIELD_NS      (20 * NS_PER_US)
/* Of useful rounds, how often one is timed. */
#define DPDK_ROUNDS_A_TIMING 16u
/* How often the device is asked what it has dropped, which is not cheap. */
#define DPDK_TICKS_A_STOCKTAKING 64u
/* What a closing instance gives its last frames to leave. */
#define DPDK_LINGER_NS (50 * NS_PER_MS)

extern const struct engine_ops dpdk_engine;

/* --- accepting --- */

static void dpdk_accept_failed(struct dpdk_engine *e, void *ctx)
{
    uint64_t pause_ns = sock_backoff_next_ns(&e->backoff);

    engine_count(&e->engine, ENGINE_ACCEPT_ERRORS, 1);
    e->accept_failures = 0;
    e->accept_again_ns = clock_ns() + pause_ns;
    e->upcalls++;
    e->engine.events->on_accept_error(ctx, ENOMEM, pause_ns);
}

static void dpdk_tell_accepted(struct dpdk_engine *e, struct dpdk_listener *listener)
{
    while (listener->accepted != NULL && !e->accept_paused) {
        struct dpdk_conn *c = listener->accepted;
        struct engine_accepted accepted = {.token = (intptr_t)conns_handle(c)};
        listener->accepted = c->next_accepted;
        if (listener->accepted == NULL)
            listener->accepted_end = &listener->accepted;
        /* It may have gone already; that is told when it was attached. */
        accepted.remote = c->remote;
        sock_backoff_reset(&e->backoff);
        engine_count(&e->engine, ENGINE_ACCEPTS, 1);
        e->upcalls++;
        e->engine.events->on_accept(listener->ctx, &accepted);
    }
}

static void dpdk_accept(struct dpdk_engine *e)
{
    for (unsigned i = 0; i < e->listeners_count; i++)
        if (e->listeners[i]->accepted != NULL)
            dpdk_tell_accepted(e, e->listeners[i]);
    if (__builtin_expect(e->accept_failures > 0, 0) && e->listeners_count > 0)
        dpdk_accept_failed(e, e->listeners[0]->ctx);
}

/* --- counters and timings --- */

static void dpdk_count_since(struct dpdk_engine *e, unsigned metric, uint64_t now, uint64_t *before)
{
    engine_count(&e->engine, metric, now - *before);
    *before = now;
}

static void dpdk_take_counts(struct dpdk_engine *e)
{
    struct wire_counts wire, *wire_before = &e->wire_before;
    struct stack_counts stack, *stack_before = &e->stack_before;
    uint64_t failed_before = wire_before->no_frame + stack_before->allocations_failed;
    uint64_t faults_before = wire_before->lost + wire_before->doubled + wire_before->reordered;

    wire_counts(e->wire, &wire);
    stack_counts(&stack);
    uint64_t faults = wire.lost + wire.doubled + wire.reordered;
    dpdk_count_since(e, DPDK_FRAMES_RECEIVED, wire.received, &wire_before->received);
    dpdk_count_since(e, DPDK_FRAMES_SENT, wire.sent, &wire_before->sent);
    dpdk_count_since(e, DPDK_BURSTS_SENT, wire.bursts, &wire_before->bursts);
    dpdk_count_since(e, DPDK_RING_FULL, wire.full, &wire_before->full);
    dpdk_count_since(e, DPDK_FRAMES_DROPPED, wire.dropped, &wire_before->dropped);
    dpdk_count_since(e, DPDK_ALLOCATIONS_FAILED, wire.no_frame + stack.allocations_failed,
                     &failed_before);
    dpdk_count_since(e, DPDK_RETRANSMISSIONS, stack.retransmissions,
                     &stack_before->retransmissions);
    dpdk_count_since(e, DPDK_TIME_WAITS_GIVEN_UP, stack.time_waits_given_up,
                     &stack_before->time_waits_given_up);
    dpdk_count_since(e, DPDK_FAULTS, faults, &faults_before);
    *wire_before = wire;
    *stack_before = stack;
}

static void dpdk_measure(struct dpdk_engine *e, unsigned metric, uint64_t cycles)
{
    engine_measure(&e->engine, metric, dpdk_cycles_ns(e, cycles));
}

/* --- poll --- */

/* So far. */
static void dpdk_count_busy(struct dpdk_engine *e, uint64_t now_cycles)
{
    engine_count(&e->engine, ENGINE_BUSY_NS, dpdk_cycles_ns(e, now_cycles - e->busy_since));
    e->busy_since = now_cycles;
}

/* About once a millisecond: timers, the link, counters. */
static void dpdk_tick(struct dpdk_engine *e, uint64_t now_cycles)
{
    uint64_t now_ns = clock_ns();

    e->tick_cycles = now_cycles + e->cycles_a_tick;
    if (!e->idle)
        dpdk_count_busy(e, now_cycles);
    if (now_ns >= e->accept_again_ns) {
        e->accept_again_ns = CLOCK_NEVER;
        e->accept_failures = 0;
    }
    if (e->wire == NULL)
        return;
    stack_tick(now_ns);
    if (wire_has_lost(e->wire, now_ns))
        dpdk_link_lost(e);
    dpdk_look_at_leaving(e);
    if (++e->ticks % DPDK_TICKS_A_STOCKTAKING == 0)
        wire_take_stock(e->wire);
    dpdk_take_counts(e);
}

static inline void dpdk_send_all(struct dpdk_engine *e, bool useful)
{
    if (e->wire != NULL) {
        stack_acknowledge(useful);
        wire_flush(e->wire);
    }
}

static inline void dpdk_input(struct dpdk_engine *e, struct wire_frame **frames, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        stack_input(frames[i]);
    if (__builtin_expect(stack_frames_kept() > e->kept_max, 0))
        stack_forget_early();
}

/* As dpdk_round, with a stamp between the stages. */
static void dpdk_round_timed(struct dpdk_engine *e, struct wire_frame **frames, unsigned count)
{
    uint64_t began = wire_cycles();

    e->timed = true;
    e->upcall_cycles = 0;
    dpdk_input(e, frames, count);
    uint64_t input = wire_cycles();
    dpdk_accept(e);
    dpdk_run_marked(e);
    uint64_t ran = wire_cycles();
    dpdk_send_all(e, true);
    uint64_t sent = wire_cycles();
    e->timed = false;
    engine_measure(&e->engine, DPDK_BURST_FRAMES, count);
    dpdk_measure(e, DPDK_INPUT_NS, input - began);
    dpdk_measure(e, DPDK_APPLICATION_NS, e->upcall_cycles);
    dpdk_measure(e, DPDK_OUTPUT_NS, ran - input - e->upcall_cycles);
    dpdk_measure(e, DPDK_TRANSMIT_NS, sent - ran);
}

/* There is something to do. What it takes is busy time from here on. */
static inline void dpdk_busy(struct dpdk_engine *e)
{
    if (!e->idle)
        return;
    e->idle = false;
    e->busy_since = wire_cycles();
}

/* What was received and what was asked for: true if there was any of it. */
static inline bool dpdk_round(struct dpdk_engine *e)
{
    struct wire_frame *frames[WIRE_BURST_MAX];
    unsigned count = 0;

    if (__builtin_expect(e->wire != NULL, 1)) {
        engine_count(&e->engine, ENGINE_POLLS, 1);
        if (__builtin_expect(wire_is_suspect(e->wire), 0))
            dpdk_tick(e, wire_cycles());
        count = wire_receive(e->wire, frames);
    }
    if (count == 0 && e->marked_count == 0 && e->accept_failures == 0) {
        dpdk_accept(e); /* accepting may have been resumed */
        dpdk_send_all(e, false);
        if (e->upcalls > 0)
            dpdk_busy(e);
        return e->upcalls > 0;
    }
    dpdk_busy(e);
    if (count > 0) {
        engine_count(&e->engine, ENGINE_POLLS_USEFUL, 1);
        if (++e->rounds % DPDK_ROUNDS_A_TIMING == 0 && engine_is_measuring(&e->engine)) {
            dpdk_round_timed(e, frames, count);
            return true;
        }
    }
    dpdk_input(e, frames, count);
    dpdk_accept(e);
    dpdk_run_marked(e);
    dpdk_send_all(e, true);
    return true;
}

static bool dpdk_is_due(struct dpdk_engine *e, uint64_t now_cycles, uint64_t deadline_ns)
{
    if (now_cycles >= e->tick_cycles)
        dpdk_tick(e, now_cycles);
    return deadline_ns != CLOCK_NEVER && clock_ns() >= deadline_ns;
}

/* A look that found something of which nobody above was told (acknowledgements, what is not for
 * TCP): much of it must not keep anybody from his time. */
static bool dpdk_silent(struct dpdk_engine *e, uint64_t deadline_ns)
{
    return ++e->silent % DPDK_LOOKS_A_CLOCK == 0 && dpdk_is_due(e, wire_cycles(), deadline_ns);
}

/* A look that found nothing: true if it is time to return. */
static bool dpdk_idle(struct dpdk_engine *e, uint64_t deadline_ns)
{
    if (!e->idle) {
        uint64_t now = wire_cycles();
        dpdk_count_busy(e, now);
        e->idle = true;
        e->idle_since = now;
        e->empty = 0;
    }
    if (++e->empty % DPDK_LOOKS_A_CLOCK != 0)
        return false;
    uint64_t now = wire_cycles();
    if (dpdk_is_due(e, now, deadline_ns))
        return true;
    if (dpdk_cycles_ns(e, now - e->idle_since) > DPDK_YIELD_NS) {
        engine_count(&e->engine, ENGINE_SYSTEM_CALLS, 1);
        sched_yield();
    }
    return false;
}

static int dpdk_engine_poll(struct engine *engine, uint64_t deadline_ns)
{
    struct dpdk_engine *e = dpdk_self(engine);
    uint64_t now = wire_cycles();

    e->upcalls = 0;
    if (__builtin_expect(now >= e->tick_cycles, 0))
        dpdk_tick(e, now);
    for (;;) {
        bool useful = dpdk_round(e);
        if (e->upcalls > 0)
            return e->upcalls;
        if (__builtin_expect(atomic_load_explicit(&e->woken, memory_order_relaxed), 0)) {
            atomic_store(&e->woken, false);
            return 0;
        }
        if (deadline_ns == 0)
            return 0;
        if (useful ? dpdk_silent(e, deadline_ns) : dpdk_idle(e, deadline_ns))
            return e->upcalls;
    }
}

static void dpdk_engine_wake(struct engine *engine)
{
    atomic_store(&dpdk_self(engine)->woken, true);
}

/* --- listening --- */

static void dpdk_accept_pause(struct engine *engine)
{
    dpdk_self(engine)->accept_paused = true;
}

static void dpdk_accept_resume(struct engine *engine)
{
    dpdk_self(engine)->accept_paused = false;
}

static void dpdk_accept_refuse(struct engine *engine, struct engine_accepted *accepted)
{
    struct dpdk_engine *e = dpdk_self(engine);
    struct dpdk_conn *c = conns_find(&e->conns, (uint64_t)accepted->token);

    if (c != NULL && c->state == DPDK_EMBRYO)
        dpdk_refuse(e, c);
}

static int dpdk_listen(struct engine *engine, const struct addr *addr, void *listener_ctx,
                       struct addr *bound, struct lab_error *err)
{
    struct dpdk_engine *e = dpdk_self(engine);
    char text[ADDR_TEXT_MAX];
    struct addr address;

    if (addr_is_unix(addr))
        return lab_fail(err, EAFNOSUPPORT, "dpdk: %s: a stack of its own has no UNIX sockets",
                        addr_format(addr, text));
    int r = dpdk_place_open(e, true, NULL, err);
    if (r == 0)
        r = dpdk_place_check(e, addr, err);
    if (r < 0)
        return r;
    struct dpdk_listener *listener = calloc(1, sizeof(*listener));
    void *grown = realloc(e->listeners, (e->listeners_count + 1) * sizeof(*e->listeners));
    if (grown != NULL)
        e->listeners = grown;
    if (listener == NULL || grown == NULL) {
        free(listener);
        return lab_fail(err, ENOMEM, "no memory for another listener");
    }
    listener->engine = e;
    listener->ctx = listener_ctx;
    listener->accepted_end = &listener->accepted;
    r = stack_listen(addr, listener, &listener->stack, &address);
    if (r < 0) {
        free(listener);
        return lab_fail(err, -r, "dpdk: cannot listen on %s: %s", addr_format(addr, text),
                        strerror(-r));
    }
    e->listeners[e->listeners_count++] = listener;
    if (bound != NULL)
        *bound = address;
    return 0;
}

/* --- open and close --- */

static int dpdk_open_hists(struct dpdk_engine *e)
{
    for (unsigned i = 0; i < DPDK_METRICS; i++) {
        if (dpdk_metrics[i].kind != METRIC_HISTOGRAM)
            continue;
        e->engine.hists[i] = hist_new();
        if (e->engine.hists[i] == NULL)
            return -ENOMEM;
    }
    return 0;
}

static void dpdk_free(struct dpdk_engine *e)
{
    for (unsigned i = 0; i < DPDK_METRICS; i++)
        hist_free(e->engine.hists[i]);
    free(e->listeners);
    free(e);
}

/* With a link that was named the device is taken at once; else when it is known from which
 * address, or to which. */
static int dpdk_engine_open(struct engine **out, const struct engine_config *config,
                            const struct engine_events *events, struct lab_error *err)
{
    struct dpdk_engine *e = line_calloc(sizeof(*e));

    if (e == NULL)
        return lab_fail(err, ENOMEM, "no memory for an instance of dpdk");
    e->engine.ops = &dpdk_engine;
    e->engine.events = events;
    e->config = *config;
    e->options = *(const struct dpdk_options *)config->options;
    e->config.options = &e->options;
    e->marked_end = &e->marked;
    e->accept_again_ns = CLOCK_NEVER;
    e->how = "";
    struct wire_config wire;
    int r = dpdk_wire_config(config, &wire, err);
    e->lent_max = e->options.common.bufs > 0 ? (uint32_t)e->options.common.bufs : UINT32_MAX;
    /* What a device has to receive into is not here to be kept: one that finds none once may stop
     * for ever, as that of tap does. */
    e->held_max = (wire.mbufs - wire.ring) / 2;
    e->kept_max = (wire.mbufs - wire.ring) / 4;
    if (r == 0)
        r = wire_eal_start(&wire, err);
    if (r == 0 && (dpdk_open_hists(e) < 0 || conns_open(&e->conns, sizeof(struct dpdk_conn),
                                                        config->conns_hint, DPDK_CONNS_MAX) < 0))
        r = lab_fail(err, ENOMEM, "no memory for %u connections", config->conns_hint);
    if (r == 0) {
        e->ns_scale = (uint64_t)(((unsigned __int128)NS_PER_S << 32) / wire_cycles_hz());
        e->cycles_a_tick = wire_cycles_hz() / 1000;
        e->busy_since = wire_cycles();
    }
    if (r == 0 && config->link != NULL)
        r = dpdk_place_open(e, config->link->side == LINK_SERVER, NULL, err);
    if (r < 0) {
        conns_close(&e->conns);
        dpdk_free(e);
        return r;
    }
    dpdk_fill_caps(config, e->how, &e->engine.caps);
    *out = &e->engine;
    return 0;
}

/* Frames that are queued, and those that the other end has yet to read: with us gone its ring would
 * be, too. */
static void dpdk_linger(struct dpdk_engine *e)
{
    uint64_t now_ns = clock_ns(), until_ns = now_ns + DPDK_LINGER_NS;
    struct wire_frame *frames[WIRE_BURST_MAX];
    bool answered = e->place.peer.s_addr == 0 || !wire_has_carried(e->wire);

    if (!answered)
        stack_ask(e->place.peer);
    wire_flush(e->wire);
    while ((!answered || !wire_is_drained(e->wire)) && now_ns < until_ns &&
           !wire_has_lost(e->wire, now_ns)) {
        unsigned count = wire_receive(e->wire, frames);
        for (unsigned i = 0; i < count; i++) {
            answered = answered || stack_is_answer(frames[i]);
            stack_input(frames[i]);
        }
        wire_flush(e->wire);
        if (count == 0)
            sched_yield();
        now_ns = clock_ns();
    }
}

static void dpdk_engine_close(struct engine *engine)
{
    struct dpdk_engine *e = dpdk_self(engine);
    struct dpdk_conn *c;
    uint32_t index = 0;

    if (engine == NULL)
        return;
    e->closing = true;
    for (unsigned i = 0; i < e->listeners_count; i++)
        stack_listener_close(e->listeners[i]->stack);
    /* Everybody lets go of buffers first: they may be queued on another connection. */
    while ((c = conns_next(&e->conns, &index)) != NULL) {
        c->marked = false;
        if (c->state == DPDK_EMBRYO)
            dpdk_refuse(e, c);
        else
            dpdk_conn_abort(e, c);
    }
    index = 0;
    while ((c = conns_next(&e->conns, &index)) != NULL) {
        c->buried = true;
        e->engine.events->on_closed(c->ctx, (enum engine_reason)c->reason, c->err);
        conns_give(&e->conns, c);
    }
    for (unsigned i = 0; i < e->listeners_count; i++)
        free(e->listeners[i]);
    if (e->wire != NULL)
        dpdk_linger(e);
    dpdk_place_close(e);
    index = 0;
    while ((c = conns_next_kept(&e->conns, &index)) != NULL)
        sendq_free(&c->sendq);
    conns_close(&e->conns);
    dpdk_free(e);
}

static const char *const dpdk_links[] = {"memif", "tap", "veth", "pci", NULL};

const struct engine_ops dpdk_engine = {
    .name = "dpdk",
    .help = "TCP in the process (lwIP) over DPDK: past the kernel, polling",
    .options_size = sizeof(struct dpdk_options),
    .options = dpdk_options,
    .metrics = dpdk_metrics,
    .links = dpdk_links,
    .probe = dpdk_probe,
    .open = dpdk_engine_open,
    .close = dpdk_engine_close,
    .poll = dpdk_engine_poll,
    .wake = dpdk_engine_wake,
    .listen = dpdk_listen,
    .accept_pause = dpdk_accept_pause,
    .accept_resume = dpdk_accept_resume,
    .accept_refuse = dpdk_accept_refuse,
    .attach = dpdk_attach,
    .connect = dpdk_connect,
    .recv_pause = dpdk_recv_pause,
    .recv_resume = dpdk_recv_resume,
    .send = dpdk_send,
    .send_end = dpdk_send_end,
    .conn_close = dpdk_conn_close,
};
