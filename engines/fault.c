/* An instance of the fault engine: see fault.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "engines/fault.h"
#include "engines/spec.h"

#define FAULT_ACCEPT_BACKOFF_NS (10 * NS_PER_MS)

extern const struct engine_ops fault_engine;

/* --- accepting --- */

static void fault_on_accept(void *listener_ctx, struct engine_accepted *accepted)
{
    struct fault_listener *listener = listener_ctx;
    struct fault_engine *e = listener->engine;
    uint64_t due_ns = fault_due_ns(e, e->options.delay_ns, FAULT_DELAYS);

    if (e->accepts_count == e->accepts_room) {
        unsigned room = e->accepts_room == 0 ? 16 : e->accepts_room * 2;
        struct fault_accept *grown = realloc(e->accepts, room * sizeof(*grown));
        if (grown == NULL) {
            e->inner->ops->accept_refuse(e->inner, accepted);
            return;
        }
        e->accepts = grown;
        e->accepts_room = room;
    }
    bool fails = fault_strikes(e, e->options.accept_fail_permille);
    if (fails)
        due_ns = e->now_ns + FAULT_ACCEPT_BACKOFF_NS;
    if (e->accepts_count > 0 && e->accepts[e->accepts_count - 1].due_ns > due_ns)
        due_ns = e->accepts[e->accepts_count - 1].due_ns;
    e->accepts[e->accepts_count++] = (struct fault_accept){*accepted, listener, due_ns};
    if (!fails)
        return;
    engine_count(&e->engine, ENGINE_ACCEPT_ERRORS, 1);
    e->calls++;
    e->engine.events->on_accept_error(listener->ctx, EMFILE, FAULT_ACCEPT_BACKOFF_NS);
}

static void fault_on_accept_error(void *listener_ctx, int err, uint64_t backoff_ns)
{
    struct fault_listener *listener = listener_ctx;
    struct fault_engine *e = listener->engine;

    e->calls++;
    e->engine.events->on_accept_error(listener->ctx, err, backoff_ns);
}

static const struct engine_events fault_events = {
    .on_accept = fault_on_accept,
    .on_accept_error = fault_on_accept_error,
    .on_open = fault_on_open,
    .on_recv = fault_on_recv,
    .on_eof = fault_on_eof,
    .on_sent = fault_on_sent,
    .on_closed = fault_on_closed,
};

static void fault_deliver_accepts(struct fault_engine *e)
{
    while (e->accepts_count > 0 && !e->accept_paused && e->accepts[0].due_ns <= e->now_ns) {
        struct fault_accept accept = e->accepts[0];
        memmove(e->accepts, e->accepts + 1, --e->accepts_count * sizeof(*e->accepts));
        e->calls++;
        e->engine.events->on_accept(accept.listener->ctx, &accept.accepted);
    }
}

static int fault_listen(struct engine *engine, const struct addr *addr, void *listener_ctx,
                        struct addr *bound, struct lab_error *err)
{
    struct fault_engine *e = fault_self(engine);
    struct fault_listener *listener = malloc(sizeof(*listener));

    if (listener == NULL)
        return lab_fail(err, ENOMEM, "fault: no memory to listen");
    *listener = (struct fault_listener){e, listener_ctx, e->listeners};
    int r = e->inner->ops->listen(e->inner, addr, listener, bound, err);
    if (r < 0) {
        free(listener);
        return r;
    }
    e->listeners = listener;
    return 0;
}

static void fault_accept_pause(struct engine *engine)
{
    struct fault_engine *e = fault_self(engine);

    e->accept_paused = true;
    e->inner->ops->accept_pause(e->inner);
}

static void fault_accept_resume(struct engine *engine)
{
    struct fault_engine *e = fault_self(engine);

    e->accept_paused = false;
    e->inner->ops->accept_resume(e->inner);
}

static void fault_accept_refuse(struct engine *engine, struct engine_accepted *accepted)
{
    struct fault_engine *e = fault_self(engine);

    e->inner->ops->accept_refuse(e->inner, accepted);
}

/* --- poll --- */

/* The inner engine's counters are what this one shows, beside its own. */
static void fault_copy_counters(struct fault_engine *e)
{
    for (unsigned i = 0; i < ENGINE_COUNTERS_COMMON; i++) {
        uint64_t inner = counter_read(&e->inner->counters[i]);
        uint64_t seen = e->seen[i];
        if (inner != seen)
            counter_add(&e->engine.counters[i], inner - seen);
        e->seen[i] = inner;
    }
}

static uint64_t fault_next_ns(const struct fault_engine *e)
{
    uint64_t next_ns = timers_next_ns(&e->timers);

    if (e->accepts_count > 0 && !e->accept_paused && e->accepts[0].due_ns < next_ns)
        next_ns = e->accepts[0].due_ns;
    return e->ready != NULL ? 0 : next_ns;
}

/* As if the process were stopped: nothing is looked at, nothing told, but for a wake. True: the
 * poll is over. */
static bool fault_stall(struct fault_engine *e, uint64_t deadline_ns, bool woken)
{
    uint64_t until_ns = deadline_ns < e->stall_to_ns ? deadline_ns : e->stall_to_ns;

    if (woken)
        return true;
    if (until_ns > e->now_ns)
        woken = park_wait(&e->park, until_ns);
    uint64_t now_ns = clock_ns();
    engine_count(&e->engine, FAULT_STALL_NS, now_ns - e->now_ns);
    e->now_ns = now_ns;
    return woken || now_ns >= deadline_ns;
}

static int fault_poll(struct engine *engine, uint64_t deadline_ns)
{
    struct fault_engine *e = fault_self(engine);

    e->calls = 0;
    for (;;) {
        bool woken = park_take(&e->park);
        e->now_ns = clock_ns();
        if (e->now_ns >= e->stall_from_ns && e->now_ns < e->stall_to_ns) {
            if (fault_stall(e, deadline_ns, woken))
                return 0;
            continue;
        }
        uint64_t next_ns = fault_next_ns(e);
        uint64_t until_ns = deadline_ns < next_ns ? deadline_ns : next_ns;
        if (e->now_ns < e->stall_from_ns && e->stall_from_ns < until_ns)
            until_ns = e->stall_from_ns;
        int r = e->inner->ops->poll(e->inner, woken ? 0 : until_ns);
        if (r < 0)
            return r;
        e->now_ns = clock_ns();
        fault_deliver_accepts(e);
        fault_deliver(e);
        fault_copy_counters(e);
        if (e->calls > 0 || woken || park_take(&e->park) || e->now_ns >= deadline_ns)
            return (int)e->calls;
    }
}

static void fault_wake(struct engine *engine)
{
    struct fault_engine *e = fault_self(engine);

    park_wake(&e->park);
    e->inner->ops->wake(e->inner);
}

/* --- opening and closing --- */

/* The inner spec, with what every engine has where it was given to this one. */
static int fault_inner_spec(const struct fault_options *options, struct engine_spec *spec,
                            struct lab_error *err)
{
    struct lab_error inner_err = {""};
    int r = engine_spec_parse_inner(options->over, spec, &inner_err);

    if (r < 0)
        return lab_fail(err, -r, "fault: over=%s: %s", options->over, inner_err.text);
    for (const struct option_def *row = engine_common_options; row->name != NULL && r == 0; row++) {
        char value[OPTION_TEXT_MAX];
        if (option_is_default(row, options))
            continue;
        r = option_set(row, spec->options, option_format(row, options, value, sizeof(value)),
                       "fault: ", err);
    }
    if (r < 0)
        engine_spec_free(spec);
    return r;
}

static void fault_describe(const struct fault_options *options, const struct engine_ops *inner,
                           struct engine_caps *caps)
{
    char note[100];

    snprintf(note, sizeof(note), "on purpose, over %s, from seed %llu", inner->name,
             (unsigned long long)options->seed);
    engine_caps_add(caps, "faults", CAP_EMULATED, note);
}

static int fault_probe(const struct engine_config *config, struct engine_caps *caps,
                       struct lab_error *err)
{
    const struct fault_options *options = config->options;
    struct engine_config inner = *config;
    struct engine_spec spec;
    int r = fault_inner_spec(options, &spec, err);

    if (r < 0)
        return r;
    inner.options = spec.options;
    if (config->link != NULL && spec.ops->links != NULL)
        r = engine_takes_link(spec.ops, config->link->kind, err);
    if (r == 0)
        r = spec.ops->probe(&inner, caps, err);
    if (r == 0)
        fault_describe(options, spec.ops, caps);
    engine_spec_free(&spec);
    return r;
}

static void fault_free(struct fault_engine *e)
{
    while (e->listeners != NULL) {
        struct fault_listener *listener = e->listeners;
        e->listeners = listener->next;
        free(listener);
    }
    for (unsigned i = 0; i < e->chunks_count; i++)
        free(e->chunks[i]);
    free(e->chunks);
    free(e->accepts);
    timers_free(&e->timers);
    conns_close(&e->conns);
    engine_spec_free(&e->spec);
    free(e);
}

static int fault_open(struct engine **engine, const struct engine_config *config,
                      const struct engine_events *events, struct lab_error *err)
{
    struct fault_engine *e = calloc(1, sizeof(*e));

    if (e == NULL)
        return lab_fail(err, ENOMEM, "fault: no memory for an instance");
    e->options = *(const struct fault_options *)config->options;
    int r = fault_inner_spec(&e->options, &e->spec, err);
    if (r < 0) {
        free(e);
        return r;
    }
    e->config = *config;
    e->config.options = e->spec.options;
    e->engine.ops = &fault_engine;
    e->engine.events = events;
    e->ready_end = &e->ready;
    rng_seed(&e->rng, e->options.seed);
    r = e->spec.ops->open(&e->inner, &e->config, &fault_events, err);
    if (r == 0)
        r = conns_open(&e->conns, sizeof(struct fault_conn), config->conns_hint,
                       e->inner->caps.conns_max);
    if (r == 0)
        r = fault_add_events(e);
    if (r < 0) {
        if (e->inner != NULL)
            e->inner->ops->close(e->inner);
        fault_free(e);
        return r == -ENOMEM ? lab_fail(err, ENOMEM, "fault: no memory for an instance") : r;
    }
    e->engine.caps = e->inner->caps;
    fault_describe(&e->options, e->spec.ops, &e->engine.caps);
    e->now_ns = clock_ns();
    e->stall_from_ns = CLOCK_NEVER;
    if (e->options.stall_for_ns > 0) {
        e->stall_from_ns = e->now_ns + e->options.stall_at_ns;
        e->stall_to_ns = e->stall_from_ns + e->options.stall_for_ns;
    }
    *engine = &e->engine;
    return 0;
}

static void fault_close(struct engine *engine)
{
    struct fault_engine *e = fault_self(engine);
    struct fault_conn *c;
    uint32_t index = 0;

    if (engine == NULL)
        return;
    e->closing = true;
    for (unsigned i = 0; i < e->accepts_count; i++)
        e->inner->ops->accept_refuse(e->inner, &e->accepts[i].accepted);
    while ((c = conns_next(&e->conns, &index)) != NULL)
        fault_conn_prepare_close(e, c);
    e->inner->ops->close(e->inner);
    fault_free(e);
}

/* --- what it offers --- */

/* An engine that is not built in is named rightly all the same: fault_probe says so. */
static int fault_check_over(const char *value, struct lab_error *err)
{
    struct engine_spec spec = {0};
    int r = engine_spec_parse_inner(value, &spec, err);

    engine_spec_free(&spec);
    return r == -ENOSYS ? 0 : r;
}

#define FIELD(name) offsetof(struct fault_options, name)

static const struct option_def fault_options[] = {
    {.name = "over",
     .type = OPTION_TEXT,
     .offset = FIELD(over),
     .fallback = "epoll",
     .argument = "SPEC",
     .check = fault_check_over,
     .help = "the engine below, with + for its colon and commas: io_uring+spin+bufs=4"},
    {.name = "seed",
     .type = OPTION_COUNT,
     .offset = FIELD(seed),
     .fallback = "1",
     .help = "what all faults are drawn from"},
    {.name = "split",
     .type = OPTION_COUNT,
     .offset = FIELD(split_permille),
     .fallback = "200",
     .max = 1000,
     .argument = "PERMILLE",
     .help = "receives that come in pieces, of 1000"},
    {.name = "split_max",
     .type = OPTION_SIZE,
     .offset = FIELD(split_bytes),
     .help = "the largest of such pieces; 0: anything"},
    {.name = "often",
     .type = OPTION_COUNT,
     .offset = FIELD(often_permille),
     .fallback = "50",
     .max = 1000,
     .argument = "PERMILLE",
     .help = "how often, of 1000 times, delay, late_release and hold_loans strike"},
    {.name = "delay",
     .type = OPTION_TIME,
     .offset = FIELD(delay_ns),
     .fallback = "200us",
     .max = 60 * NS_PER_S,
     .help = "the longest time by which something is told later than it happened"},
    {.name = "late_release",
     .type = OPTION_TIME,
     .offset = FIELD(late_ns),
     .fallback = "500us",
     .max = 60 * NS_PER_S,
     .help = "the longest time by which RELEASED comes after SENT"},
    {.name = "hold_loans",
     .type = OPTION_TIME,
     .offset = FIELD(hold_ns),
     .fallback = "200us",
     .max = 60 * NS_PER_S,
     .help = "the longest time for which returned buffers are kept from the engine below"},
    {.name = "reorder",
     .type = OPTION_COUNT,
     .offset = FIELD(reorder_permille),
     .fallback = "200",
     .max = 1000,
     .argument = "PERMILLE",
     .help = "connections that are told of something after others, of 1000 times"},
    {.name = "reset",
     .type = OPTION_COUNT,
     .offset = FIELD(reset_permille),
     .max = 1000,
     .argument = "PERMILLE",
     .help = "receives that end the connection with a reset instead, of 1000"},
    {.name = "accept_fail",
     .type = OPTION_COUNT,
     .offset = FIELD(accept_fail_permille),
     .max = 1000,
     .argument = "PERMILLE",
     .help = "accepts that fail at first for want of files, of 1000"},
    {.name = "stall_at",
     .type = OPTION_TIME,
     .offset = FIELD(stall_at_ns),
     .max = 3600 * NS_PER_S,
     .help = "when, after it was opened, an instance does nothing for stall_for"},
    {.name = "stall_for",
     .type = OPTION_TIME,
     .offset = FIELD(stall_for_ns),
     .max = 3600 * NS_PER_S,
     .help = "how long an instance does nothing; 0: it never stalls"},
    {0},
};

#define FAULT_METRIC(metric, unit_of, text)                                                        \
    {                                                                                              \
        .name = (metric), .unit = (unit_of), .kind = METRIC_COUNTER, .better = METRIC_NEITHER,     \
        .stage = "", .hook = "engine", .help = (text)                                              \
    }

static const struct metric_def fault_metrics[] = {
    ENGINE_METRICS,
    FAULT_METRIC("fault_splits", "", "receives that were split"),
    FAULT_METRIC("fault_delays", "", "calls that came late"),
    FAULT_METRIC("fault_reorders", "", "connections that had to wait for others"),
    FAULT_METRIC("fault_late_releases", "", "releases that were kept back"),
    FAULT_METRIC("fault_held_loans", "", "returned buffers that were kept back"),
    FAULT_METRIC("fault_resets", "", "connections that were reset"),
    FAULT_METRIC("fault_stall_ns", "ns", "time for which nothing was done"),
    {0},
};

/* Whatever the engine below takes: fault_probe asks it. */
static const char *const fault_links[] = {"lo", "lo6", "unix", "veth", "memif", "tap", "pci", NULL};

const struct engine_ops fault_engine = {
    .name = "fault",
    .help = "wraps another engine and misbehaves on purpose, for tests",
    .flags = ENGINE_FOR_TESTS | ENGINE_WRAPS,
    .options_size = sizeof(struct fault_options),
    .options = fault_options,
    .metrics = fault_metrics,
    .links = fault_links,
    .probe = fault_probe,
    .open = fault_open,
    .close = fault_close,
    .poll = fault_poll,
    .wake = fault_wake,
    .listen = fault_listen,
    .accept_pause = fault_accept_pause,
    .accept_resume = fault_accept_resume,
    .accept_refuse = fault_accept_refuse,
    .attach = fault_attach,
    .connect = fault_connect,
    .recv_pause = fault_recv_pause,
    .recv_resume = fault_recv_resume,
    .send = fault_send,
    .send_end = fault_send_end,
    .conn_close = fault_conn_close,
};
