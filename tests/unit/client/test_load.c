/*
 * The load generator and the server as a whole, in one process: over null both share an engine
 * instance, over the others the server has threads of its own.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client/load.h"
#include "core/clock.h"
#include "server/serve.h"
#include "tests/conform/conform.h"

struct rig {
    struct engine_spec spec;
    struct server_config server_config;
    struct load_config load_config;
    void *server_options, *client_options;
    struct load_other_side other;
    struct addr address;
    struct server *server;
    struct load *load;
    struct lab_error err;
    Lab__Record record;
    uint64_t t0_ns, t1_ns;
};

static int other_open(void *context, struct engine *engine, void **side, struct addr *address,
                      struct lab_error *err)
{
    struct server *server = NULL;
    int r = server_join(&server, context, engine, err);
    if (r == 0)
        *address = *server_address(server);
    *side = server;
    return r;
}

static void other_close(void *context, void *side)
{
    server_stop(side, 0);
}

/* Each option as "name=value" or "name"; NULL ends them. */
static void rig_set(struct rig *rig, const char *text)
{
    char name[64];
    const char *equals = strchr(text, '=');
    const struct option_def *const tables[] = {load_options, rig->load_config.workload->options,
                                               serve_options, rig->server_config.workload->options};
    void *const into[] = {&rig->load_config.options, rig->client_options,
                          &rig->server_config.options, rig->server_options};
    bool known = false;

    snprintf(name, sizeof(name), "%.*s", (int)(equals ? equals - text : (long)strlen(text)), text);
    for (unsigned i = 0; i < 4; i++) {
        const struct option_def *def = option_find(tables[i], name);
        if (def == NULL)
            continue;
        known = true;
        cr_assert_eq(option_set(def, into[i], equals ? equals + 1 : NULL, "--", &rig->err), 0, "%s",
                     rig->err.text);
    }
    cr_assert(known, "no option %s", name);
}

static const char *rig_workload = "echo";

static void rig_open(struct rig *rig, const char *spec, ...)
{
    va_list options;
    const char *text;

    memset(rig, 0, sizeof(*rig));
    int r = engine_spec_parse(spec, &rig->spec, &rig->err);
    if (r == -ENOSYS)
        return; /* not built: rig_runs_here says so */
    cr_assert_eq(r, 0, "%s", rig->err.text);
    rig->server_config.spec = rig->load_config.spec = &rig->spec;
    rig->server_config.workload = server_workload_find(rig_workload);
    rig->load_config.workload = client_workload_find(rig_workload);
    rig->server_options = calloc(1, rig->server_config.workload->options_size);
    rig->client_options = calloc(1, rig->load_config.workload->options_size);
    option_defaults(rig->server_config.workload->options, rig->server_options);
    option_defaults(rig->load_config.workload->options, rig->client_options);
    option_defaults(serve_options, &rig->server_config.options);
    option_defaults(load_options, &rig->load_config.options);
    va_start(options, spec);
    while ((text = va_arg(options, const char *)) != NULL)
        rig_set(rig, text);
    va_end(options);
    rig->server_config.workload_options = rig->server_options;
    rig->load_config.workload_options = rig->client_options;
    rig->load_config.processes = 1;
    rig->load_config.seed = 7;
    cr_assert_eq(addr_parse("127.0.0.1:0", 0, "", &rig->server_config.listen, &rig->err), 0);
}

static bool rig_runs_here(struct rig *rig)
{
    struct engine_caps caps = {0};
    struct engine_config config = {.options = rig->spec.options};
    if (rig->load_config.workload != NULL && rig->spec.ops->probe(&config, &caps, &rig->err) == 0)
        return true;
    cr_log_warn("skipped: %s", rig->err.text);
    return false;
}

static void rig_start(struct rig *rig)
{
    struct engine_caps caps = {0};
    struct engine_config config = {.options = rig->spec.options};

    cr_assert_eq(rig->spec.ops->probe(&config, &caps, &rig->err), 0, "%s", rig->err.text);
    rig->other = (struct load_other_side){&rig->server_config, other_open, other_close};
    if (caps.both_sides) {
        rig->load_config.other_side = &rig->other;
    } else {
        cr_assert_eq(server_start(&rig->server, &rig->server_config, &rig->err), 0, "%s",
                     rig->err.text);
        rig->address = *server_address(rig->server);
        rig->load_config.addresses = &rig->address;
        rig->load_config.addresses_count = 1;
    }
    cr_assert_eq(load_start(&rig->load, &rig->load_config, &rig->err), 0, "%s", rig->err.text);
}

static void sleep_until(uint64_t at_ns)
{
    struct timespec at = clock_timespec(at_ns);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}

/* A window of window_ns, or with 0 until the count of ops is reached. */
static void rig_run(struct rig *rig, uint64_t window_ns)
{
    uint64_t now_ns = clock_ns();

    rig->t0_ns = window_ns != 0 ? now_ns + 50 * NS_PER_MS : now_ns;
    rig->t1_ns = window_ns != 0 ? rig->t0_ns + window_ns : 0;
    load_window(rig->load, now_ns, rig->t0_ns, rig->t1_ns);
    if (window_ns == 0) {
        load_sample(rig->load, 0, now_ns);
        while (load_wait(rig->load, 100 * NS_PER_MS, &rig->t0_ns, &rig->t1_ns) == -EAGAIN)
            ;
        load_sample(rig->load, 1, clock_ns());
        return;
    }
    for (unsigned i = 0; i <= 4; i++) {
        sleep_until(rig->t0_ns + window_ns * i / 4);
        load_sample(rig->load, i, clock_ns());
    }
}

static void rig_finish(struct rig *rig)
{
    lab__record__init(&rig->record);
    load_finish(rig->load, &rig->record);
}

static uint64_t errors(const struct rig *rig)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < rig->record.n_errors; i++)
        sum += rig->record.errors[i]->count;
    return sum;
}

static uint64_t histogram_count(const struct rig *rig, const char *name)
{
    const Lab__Metric *metric = record_metric(&rig->record, name);
    cr_assert_not_null(metric, "%s", name);
    return metric->count;
}

static void rig_close(struct rig *rig)
{
    Lab__Record *record = malloc(sizeof(*record));

    load_free(rig->load);
    server_stop(rig->server, 100 * NS_PER_MS);
    *record = rig->record;
    if (record->base.descriptor != NULL)
        lab__record__free_unpacked(record, NULL);
    else
        free(record);
    engine_spec_free(&rig->spec);
    free(rig->server_options);
    free(rig->client_options);
}

static const char *const specs[] = {"null", "epoll", "blocking", "io_uring"};
#define SPECS (sizeof(specs) / sizeof(specs[0]))

#define EACH_ENGINE(rig, ...)                                                                      \
    for (unsigned e_ = 0; e_ < SPECS; e_++)                                                        \
        for (bool once_ = (rig_open(&(rig), specs[e_], __VA_ARGS__, NULL), rig_runs_here(&(rig))); \
             once_; once_ = false)

Test(load, a_count_of_ops_is_exact, .timeout = 60)
{
    struct rig rig;
    EACH_ENGINE(rig, "connections=7", "ops=1001")
    {
        rig_start(&rig);
        rig_run(&rig, 0);
        rig_finish(&rig);
        cr_assert_eq(rig.record.ops, 1001, "%s: %lu", rig.spec.text, (unsigned long)rig.record.ops);
        cr_assert_eq(histogram_count(&rig, "latency_ns"), 1001);
        cr_assert_eq(errors(&rig), 0);
        cr_assert_eq(rig.record.bytes, 1001 * 64);
        rig_close(&rig);
    }
}

Test(load, loops_are_of_each_connection, .timeout = 60)
{
    struct rig rig;
    EACH_ENGINE(rig, "connections=5", "loops=40", "depth=3", "ramp=20ms")
    {
        rig_start(&rig);
        rig_run(&rig, 0);
        rig_finish(&rig);
        cr_assert_eq(rig.record.ops, 200, "%s: %lu", rig.spec.text, (unsigned long)rig.record.ops);
        cr_assert_eq(histogram_count(&rig, "connect_ns"), 5);
        cr_assert_eq(errors(&rig), 0);
        rig_close(&rig);
    }
}

Test(load, each_way_of_closing_makes_a_connection_an_op, .timeout = 120)
{
    static const char *const closes[] = {"close=fin", "close=rst", "close=server"};
    struct rig rig;

    for (unsigned i = 0; i < 3; i++)
        EACH_ENGINE(rig, "connections=3", "loops=50", "reconnect", closes[i])
        {
            rig_start(&rig);
            rig_run(&rig, 0);
            rig_finish(&rig);
            cr_assert_eq(errors(&rig), 0, "%s %s: %s", rig.spec.text, closes[i],
                         rig.record.n_errors > 0 ? rig.record.errors[0]->example : "");
            cr_assert_eq(rig.record.ops, 150);
            cr_assert_eq(histogram_count(&rig, "connect_ns"), 150);
            cr_assert_eq(histogram_count(&rig, "first_byte_ns"), 150);
            rig_close(&rig);
        }
}

Test(load, every_size_class_comes_back_right, .timeout = 120)
{
    static const char *const sizes[] = {"size=1", "size=15", "size=16", "size=4097", "size=300000"};
    struct rig rig;

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        EACH_ENGINE(rig, "connections=3", "depth=4", "ops=60", sizes[i])
        {
            rig_start(&rig);
            rig_run(&rig, 0);
            rig_finish(&rig);
            cr_assert_eq(rig.record.ops, 60, "%s %s", rig.spec.text, sizes[i]);
            cr_assert_eq(errors(&rig), 0);
            rig_close(&rig);
        }
}

Test(load, one_way_counts_what_was_acknowledged, .timeout = 60)
{
    struct rig rig;
    EACH_ENGINE(rig, "connections=2", "one-way", "write-size=100000", "ops=200")
    {
        rig_start(&rig);
        rig_run(&rig, 0);
        rig_finish(&rig);
        cr_assert_eq(rig.record.ops, 200, "%s: %lu", rig.spec.text, (unsigned long)rig.record.ops);
        cr_assert_eq(rig.record.bytes, 200 * 100000);
        cr_assert_eq(errors(&rig), 0);
        rig_close(&rig);
    }
}

/* --- ops that are out of time --- */

/* Echo, but for two ops: one of slot 0 and a later one of slot 1 never reach the server; or, with
 * LATE_ALL, none at all does. */
enum late_ops { LATE_SAYS_SO, LATE_NEVER_SAYS_SO, LATE_ALL };
static struct {
    const struct client_workload *echo;
    struct load_conn *conn;
    unsigned starts[4], cancels[4];
    unsigned good; /* ops of a slot before that */
    enum late_ops ops;
} late;

static int late_open(void *state, struct load_conn *conn, void *shared, const void *options,
                     unsigned depth)
{
    late.conn = conn;
    return late.echo->state_open(state, conn, shared, options, depth);
}

static void late_start(void *state, unsigned slot, uint64_t op)
{
    unsigned nth = late.starts[slot]++;

    if (late.ops == LATE_ALL || (slot == 0 && nth == late.good) ||
        (slot == 1 && nth == late.good + 20))
        return;
    if (slot == 1 && nth == late.good + 19)
        sleep_until(clock_ns() + 30 * NS_PER_MS); /* so that the two are late one after the other */
    if (slot > 1 && late.ops == LATE_NEVER_SAYS_SO)
        sleep_until(clock_ns() + NS_PER_MS); /* so that others are answered all the while */
    late.echo->start(state, slot, op);
}

/* The first one cannot be told before the second one is late too. */
static bool late_cancel(void *state, unsigned slot, const char *kind, const char *example)
{
    if (late.cancels[slot]++ > 0)
        return late.ops != LATE_NEVER_SAYS_SO;
    if (slot == 0 || late.ops == LATE_NEVER_SAYS_SO)
        return true;
    load_op_failed(late.conn, 0, kind, example);
    load_op_failed(late.conn, 1, kind, example);
    return true;
}

static void late_run(struct rig *rig, enum late_ops ops, const char *timeout, const char *more)
{
    static struct client_workload workload;

    rig_open(rig, "null", "connections=1", "depth=4", timeout, more, NULL);
    memset(&late, 0, sizeof(late));
    late.echo = rig->load_config.workload;
    late.ops = ops;
    /* Within the window, which begins 50 ms after the first op: the 100th of each is due at 200. */
    late.good = rig->load_config.options.rate > 0 ? 100 : 0;
    workload = *late.echo;
    workload.state_open = late_open;
    workload.start = late_start;
    workload.cancel = late_cancel;
    rig->load_config.workload = &workload;
    rig_start(rig);
    rig_run(rig, rig->load_config.options.rate > 0 ? 700 * NS_PER_MS : 0);
    rig_finish(rig);
}

/* Though the timer looks again when the second one is late, a moment later. */
Test(load, a_late_op_is_given_up_once_and_has_its_time_to_say_so, .timeout = 60)
{
    struct rig rig;

    late_run(&rig, LATE_SAYS_SO, "timeout=2s", "ops=2000");
    cr_assert_eq(late.cancels[0], 1);
    cr_assert_eq(late.cancels[1], 1);
    cr_assert_eq(rig.record.ops, 1998, "%lu", (unsigned long)rig.record.ops);
    cr_assert_eq(errors(&rig), 2);
    cr_assert_str_eq(rig.record.errors[0]->kind, "timeout");
    rig_close(&rig);
}

/* Then it is the connection that ends, though others are answered on it; and another one goes on.
 */
Test(load, a_late_op_that_never_says_so_ends_its_connection, .timeout = 60)
{
    struct rig rig;

    late_run(&rig, LATE_NEVER_SAYS_SO, "timeout=200ms", "ops=2000");
    cr_assert_eq(late.cancels[0], 2);
    cr_assert_eq(rig.record.ops + errors(&rig), 2000, "%lu", (unsigned long)rig.record.ops);
    cr_assert_geq(errors(&rig), 2);
    cr_assert_str_eq(rig.record.errors[0]->kind, "timeout");
    rig_close(&rig);
}

/* Where nothing comes at all, no op is given up alone: all end with their connection. */
Test(load, a_silent_connection_ends_with_all_its_ops, .timeout = 60)
{
    struct rig rig;

    late_run(&rig, LATE_ALL, "timeout=100ms", "ops=8");
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(late.cancels[i], 0);
    cr_assert_eq(errors(&rig), 8);
    cr_assert_str_eq(rig.record.errors[0]->kind, "timeout");
    cr_assert_geq(histogram_count(&rig, "connect_ns"), 1);
    rig_close(&rig);
}

/* An op that took for ever is the longest of all, not none. */
Test(load, a_late_op_of_an_open_loop_stays_in_the_latency, .timeout = 60)
{
    struct rig rig;

    late_run(&rig, LATE_SAYS_SO, "timeout=300ms", "rate=2000");
    cr_assert_eq(errors(&rig), 2);
    cr_assert_eq(histogram_count(&rig, "latency_ns"), rig.record.scheduled);
    rig_close(&rig);
}

Test(load, an_open_loop_sends_what_was_scheduled, .timeout = 60)
{
    struct rig rig;
    EACH_ENGINE(rig, "connections=4", "rate=2000", "workers=2")
    {
        if (strcmp(rig.spec.ops->name, "blocking") == 0)
            rig_set(&rig, "workers=0");
        rig_start(&rig);
        rig_run(&rig, 300 * NS_PER_MS);
        rig_finish(&rig);
        cr_assert_leq(llabs((long long)rig.record.scheduled - 600), 4, "%s: %lu", rig.spec.text,
                      (unsigned long)rig.record.scheduled);
        cr_assert_eq(histogram_count(&rig, "latency_ns"), rig.record.scheduled);
        cr_assert_eq(histogram_count(&rig, "slip_ns"), rig.record.scheduled);
        cr_assert_eq(errors(&rig), 0);
        rig_close(&rig);
    }
}

Test(load, nobody_there_is_a_sentence_not_a_hang, .timeout = 30)
{
    struct rig rig;

    rig_open(&rig, "epoll", "connections=3", NULL);
    /* A port that was free a moment ago. */
    cr_assert_eq(server_start(&rig.server, &rig.server_config, &rig.err), 0);
    rig.address = *server_address(rig.server);
    server_stop(rig.server, 0);
    rig.server = NULL;
    rig.load_config.addresses = &rig.address;
    rig.load_config.addresses_count = 1;
    cr_assert_eq(load_start(&rig.load, &rig.load_config, &rig.err), -ECONNREFUSED);
    cr_assert_not_null(strstr(rig.err.text, "127.0.0.1:"));
    cr_assert_not_null(strstr(rig.err.text, "is the server running"));
    rig.load = NULL;
    rig_close(&rig);
}

Test(load, refused_connections_are_counted_on_both_sides, .timeout = 60)
{
    struct rig rig;
    uint64_t refused = 0;

    rig_open(&rig, "epoll", "connections=4", "connections-max=2", "timeout=1s", NULL);
    rig_start(&rig);
    server_sample(rig.server, 0);
    rig_run(&rig, 200 * NS_PER_MS);
    server_sample(rig.server, 1);
    rig_finish(&rig);
    cr_assert_gt(errors(&rig), 0);
    cr_assert_gt(rig.record.ops, 0, "the others go on");
    Lab__Record *server = malloc(sizeof(*server));
    lab__record__init(server);
    server_record(rig.server, server);
    refused = (uint64_t)record_metric(server, "connections_refused")->value;
    cr_assert_gt(refused, 0);
    lab__record__free_unpacked(server, NULL);
    rig_close(&rig);
}

/* --- servers that are not there any more --- */

static void rig_start_alone(struct rig *rig)
{
    rig->load_config.addresses = &rig->address;
    rig->load_config.addresses_count = 1;
    cr_assert_eq(load_start(&rig->load, &rig->load_config, &rig->err), 0, "%s", rig->err.text);
}

/* Connects are answered for as long as the listen queue has room, and nothing is. */
static int listen_deaf(struct addr *address, int backlog)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(addr_parse("127.0.0.1:0", 0, "", address, NULL), 0);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&address->sa, address->size) == 0 &&
              listen(fd, backlog) == 0 &&
              getsockname(fd, (struct sockaddr *)&address->sa, &address->size) == 0);
    return fd;
}

Test(load, a_count_of_ops_ends_though_the_server_hangs, .timeout = 60)
{
    static const char *const kinds[][2] = {
        {"ops=1000000", "depth=1"}, {"loops=1000000", "depth=1"}, {"ops=1000000", "rate=1000"}};
    struct rig rig;

    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        rig_open(&rig, "epoll", "connections=2", "timeout=200ms", kinds[i][0], kinds[i][1], NULL);
        int fd = listen_deaf(&rig.address, 1);
        rig_start_alone(&rig);
        rig_run(&rig, 0);
        rig_finish(&rig);
        cr_assert_eq(rig.record.ops, 0);
        cr_assert_geq(errors(&rig), i == 1 ? 2000000 : 1000000, "%s: %lu", kinds[i][0],
                      (unsigned long)errors(&rig));
        uint64_t fastest_ns = UINT64_MAX;
        const Lab__Metric *latency = record_metric(&rig.record, "latency_ns");
        struct hist *h = hist_new();
        if (latency->count > 0) {
            cr_assert_eq(hist_decode(h, latency->histogram.data, latency->histogram.len), 0);
            fastest_ns = hist_percentile(h, 0);
        }
        cr_assert_geq(fastest_ns, 199 * NS_PER_MS, "what was abandoned young is no fast op");
        hist_free(h);
        close(fd);
        rig_close(&rig);
    }
}

Test(load, an_op_that_fails_at_once_is_no_fast_op, .timeout = 60)
{
    struct rig rig;

    rig_open(&rig, "epoll", "connections=8", "reconnect", "rate=100", NULL);
    int fd = listen_deaf(&rig.address, 1);
    close(fd); /* nobody listens there now */
    rig_start_alone(&rig);
    rig_run(&rig, 300 * NS_PER_MS);
    rig_finish(&rig);
    cr_assert_gt(errors(&rig), 0);
    cr_assert_eq(histogram_count(&rig, "latency_ns"), 0);
    rig_close(&rig);
}

/* But one that took too long is a slow one. */
Test(load, an_op_that_is_out_of_time_counts_with_its_age, .timeout = 60)
{
    struct rig rig;

    rig_open(&rig, "epoll", "connections=2", "rate=100", "timeout=100ms", NULL);
    int fd = listen_deaf(&rig.address, 1);
    rig_start_alone(&rig);
    rig_run(&rig, 300 * NS_PER_MS);
    rig_finish(&rig);
    cr_assert_geq(histogram_count(&rig, "latency_ns"), 20);
    cr_assert_eq(rig.record.ops, 0);
    close(fd);
    rig_close(&rig);
}

Test(load, a_silent_connection_is_closed_after_idle, .timeout = 60)
{
    struct rig rig;

    rig_open(&rig, "epoll", "connections=2", "idle=50ms", NULL);
    rig_start(&rig);
    server_sample(rig.server, 0);
    /* They are kept, and have nothing to do until the window. */
    sleep_until(clock_ns() + 300 * NS_PER_MS);
    server_sample(rig.server, 1);
    Lab__Record *server = malloc(sizeof(*server));
    lab__record__init(server);
    server_record(rig.server, server);
    cr_assert_eq(record_metric(server, "connections_idle_closed")->value, 2);
    lab__record__free_unpacked(server, NULL);
    rig_close(&rig);
}

/* What is allocated in the second half of a window. */
static uint64_t allocations_of_a_window(struct rig *rig, uint64_t window_ns)
{
    uint64_t now_ns = clock_ns(), t0_ns = now_ns + window_ns / 4;

    rig_start(rig);
    load_window(rig->load, now_ns, t0_ns, t0_ns + window_ns);
    sleep_until(t0_ns + window_ns / 2);
    uint64_t before = conform_allocations();
    sleep_until(t0_ns + window_ns - window_ns / 16);
    uint64_t after = conform_allocations();
    sleep_until(t0_ns + window_ns);
    rig_finish(rig);
    cr_assert_eq(errors(rig), 0);
    return rig->record.ops > 0 ? after - before : UINT64_MAX; /* nothing ran: no answer yet */
}

/* On a machine that is busy with other things, growing to what is needed takes longer: another
 * try has a longer window. What allocates as it goes does so in every one. */
static void allocate_nothing(const char *const *kinds)
{
    struct rig rig;

    if (!conform_counts_allocations())
        cr_skip_test("a sanitizer's allocator is in its place");
    for (unsigned i = 0; kinds[i] != NULL; i++)
        EACH_ENGINE(rig, "connections=4", kinds[i])
        {
            uint64_t ms = 200, allocations;
            while ((allocations = allocations_of_a_window(&rig, ms * NS_PER_MS)) > 0 && ms < 3200) {
                ms *= 2;
                rig_close(&rig);
                rig_open(&rig, specs[e_], "connections=4", kinds[i], NULL);
            }
            cr_assert_eq(allocations, 0, "%s %s: %lu allocations", rig.spec.text, kinds[i],
                         (unsigned long)allocations);
            rig_close(&rig);
        }
}

Test(load, steady_state_allocates_nothing, .timeout = 120)
{
    static const char *const kinds[] = {"depth=2", "one-way", "rate=5000", "size=100000", NULL};
    allocate_nothing(kinds);
}

/* --- a start that fails --- */

/* The first instance cannot be opened; the others are not there yet by the time that this is known,
 * so that nobody can wake them. */
static _Atomic unsigned opened;

static int open_late(struct engine **engine, const struct engine_config *config,
                     const struct engine_events *events, struct lab_error *err)
{
    if (opened++ == 0)
        return lab_fail(err, EMFILE, "no more files");
    sleep_until(clock_ns() + 50 * NS_PER_MS);
    return engine_find("epoll")->open(engine, config, events, err);
}

Test(load, a_start_that_fails_ends_those_that_come_late, .timeout = 60)
{
    struct engine_ops ops = *engine_find("epoll");
    struct rig rig;

    ops.open = open_late;
    rig_open(&rig, "epoll", "connections=4", "workers=4", "reconnect", NULL);
    rig.spec.ops = &ops;
    cr_assert_eq(addr_parse("127.0.0.1:9", 0, "", &rig.address, &rig.err), 0);
    rig.load_config.addresses = &rig.address;
    rig.load_config.addresses_count = 1;
    opened = 0;
    cr_assert_eq(load_start(&rig.load, &rig.load_config, &rig.err), -EMFILE);
    cr_assert_str_eq(rig.err.text, "no more files");
    cr_assert_null(rig.load);
    rig_close(&rig);
}

/* --- a workload upon libraries, with all that a workload may have --- */

static bool images_are_built(void)
{
    rig_workload = "image-stream";
    if (client_workload_find(rig_workload)->absent == NULL)
        return true;
    cr_skip_test("%s", client_workload_find(rig_workload)->absent);
    return false;
}

Test(load, images_by_every_engine, .timeout = 120)
{
    static const char *const kinds[] = {"depth=2", "reconnect", "contract=flat", "window=65535"};
    struct rig rig;

    if (!images_are_built())
        return;
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        EACH_ENGINE(rig, "connections=2", "ops=20", kinds[i])
        {
            rig_start(&rig);
            rig_run(&rig, 0);
            rig_finish(&rig);
            cr_assert_eq(rig.record.ops, 20, "%s %s", rig.spec.text, kinds[i]);
            cr_assert_eq(errors(&rig), 0, "%s %s", rig.spec.text, kinds[i]);
            cr_assert_eq(rig.record.bytes, rig.record.ops * (273075 + 467749 + 204552));
            const Lab__Metric *first = record_metric(&rig.record, "first_image_ns");
            cr_assert(first != NULL && first->observed && first->count > 0);
            rig_close(&rig);
        }
}

Test(load, images_allocate_nothing_in_steady_state, .timeout = 120)
{
    static const char *const kinds[] = {"rpc=list", "images-per-op=33", "depth=3", NULL};

    if (images_are_built())
        allocate_nothing(kinds);
}
