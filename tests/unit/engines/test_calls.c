/* What connecting costs: the calls of a socket's making are counted, by all kernel engines alike.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "engines/engine.h"

TestSuite(calls, .timeout = 30);

#define BUFFERS ":sndbuf=64k,rcvbuf=64k"

/* socket and TCP_NODELAY; of what is asked for: SO_SNDBUF, SO_RCVBUF, TCP_CONGESTION,
 * IP_BIND_ADDRESS_NO_PORT and bind. */
#define PLAIN 2u
#define ASKED 5u

static void on_accept(void *ctx, struct engine_accepted *accepted)
{
}

static void on_open(void *ctx)
{
}

static void on_closed(void *ctx, enum engine_reason reason, int err)
{
}

static const struct engine_events events = {
    .on_accept = on_accept,
    .on_open = on_open,
    .on_closed = on_closed,
};

static struct addr address(const char *text)
{
    struct lab_error err;
    struct addr addr;

    cr_assert_eq(addr_parse(text, 0, "", &addr, &err), 0, "%s", err.text);
    return addr;
}

/* How many calls are counted of one connect(); false: the engine cannot run here. */
static bool connecting(const char *name, bool asked, uint64_t *calls)
{
    char text[64];
    struct engine_spec spec;
    struct engine_caps caps;
    struct engine *listening, *engine;
    struct addr any = address("127.0.0.1:0"), local = address("127.0.0.2:0"), bound;
    struct lab_error err;
    uint64_t conn;

    snprintf(text, sizeof(text), "%s%s", name, asked ? BUFFERS : "");
    if (engine_spec_parse(text, &spec, &err) < 0)
        return false;
    const struct engine_config config = {.options = spec.options, .cc = asked ? "reno" : NULL};
    if (spec.ops->probe(&config, &caps, &err) < 0) {
        engine_spec_free(&spec);
        return false;
    }
    cr_assert_eq(spec.ops->open(&listening, &config, &events, &err), 0, "%s", err.text);
    cr_assert_eq(spec.ops->listen(listening, &any, NULL, &bound, &err), 0, "%s", err.text);
    cr_assert_eq(spec.ops->open(&engine, &config, &events, &err), 0, "%s", err.text);
    const struct counter *counter = &engine->counters[ENGINE_SYSTEM_CALLS];
    *calls = counter_read(counter);
    cr_assert_eq(spec.ops->connect(engine, &bound, asked ? &local : NULL, NULL, &conn), 0);
    *calls = counter_read(counter) - *calls;
    spec.ops->close(engine);
    spec.ops->close(listening);
    engine_spec_free(&spec);
    return true;
}

/* own: what the engine calls at once besides. */
static void connecting_costs(const char *name, uint64_t own)
{
    uint64_t calls;

    if (!connecting(name, false, &calls))
        cr_skip_test("%s cannot run here", name);
    cr_assert_eq(calls, PLAIN + own, "%llu calls", (unsigned long long)calls);
    cr_assert(connecting(name, true, &calls));
    cr_assert_eq(calls, PLAIN + ASKED + own, "%llu calls", (unsigned long long)calls);
}

Test(calls, epoll_connects_and_watches)
{
    connecting_costs("epoll", 2);
}

Test(calls, blocking_connects_later)
{
    connecting_costs("blocking", 0);
}

Test(calls, io_uring_connects_through_its_ring)
{
    connecting_costs("io_uring", 0);
}
