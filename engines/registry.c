/*
 * Every engine, those that were not built in as well: a person who asks for one is told why it
 * is missing and how to get it. The list is explicit; registration by constructors was not
 * taken, since a linker drops what nobody names and nobody can search for it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engines/engine.h"

#ifdef HAVE_BLOCKING
extern const struct engine_ops blocking_engine;
#endif
#ifdef HAVE_EPOLL
extern const struct engine_ops epoll_engine;
#endif
#ifdef HAVE_URING
extern const struct engine_ops io_uring_engine;
#else
static const struct engine_ops io_uring_engine = {
    .name = "io_uring",
    .help = "submission and completion rings",
    .absent = "not built in: liburing was missing or switched off; apt install liburing-dev, then "
              "meson setup --reconfigure -During=enabled",
};
#endif
#ifdef HAVE_DPDK
extern const struct engine_ops dpdk_engine;
#else
static const struct engine_ops dpdk_engine = {
    .name = "dpdk",
    .help = "TCP in the process (lwIP) over DPDK: past the kernel, polling",
    .absent = "not built in: libdpdk or lwIP was missing or switched off; apt install libdpdk-dev "
              "liblwip-dev, then meson setup --reconfigure -Ddpdk=enabled",
};
#endif
#ifdef HAVE_NULL
extern const struct engine_ops null_engine;
#endif
#ifdef HAVE_FAULT
extern const struct engine_ops fault_engine;
#endif

const struct engine_ops *const engine_registry[] = {
#ifdef HAVE_BLOCKING
    &blocking_engine,
#endif
#ifdef HAVE_EPOLL
    &epoll_engine,
#endif
    &io_uring_engine,
    &dpdk_engine,
#ifdef HAVE_NULL
    &null_engine,
#endif
#ifdef HAVE_FAULT
    &fault_engine,
#endif
    NULL,
};

const struct engine_ops *engine_find(const char *name)
{
    for (unsigned i = 0; engine_registry[i] != NULL; i++)
        if (strcmp(engine_registry[i]->name, name) == 0)
            return engine_registry[i];
    return NULL;
}

int engine_takes_link(const struct engine_ops *ops, const struct link_kind *kind,
                      struct lab_error *err)
{
    char known[160] = "";

    if (ops->links == NULL)
        return lab_fail(err, ENOTSUP,
                        "%s: both its sides are one process: it runs over no link, leave it out",
                        ops->name);
    for (unsigned i = 0; ops->links[i] != NULL; i++) {
        if (strcmp(ops->links[i], kind->name) == 0)
            return 0;
        snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", i == 0 ? "" : ", ",
                 ops->links[i]);
    }
    return lab_fail(err, ENOTSUP, "%s: it does not run over %s: take --link with one of %s",
                    ops->name, kind->name, known);
}

#define FIELD(name) offsetof(struct engine_common, name)

const struct option_def engine_common_options[] = {
    /* No connection may keep more than half of them: of two, one is left for all the others. */
    {.name = "bufs",
     .type = OPTION_COUNT,
     .offset = FIELD(bufs),
     .min = 2,
     .max = 1 << 20,
     .zero = "0",
     .help = "receive buffers of an instance, 2 or more; 0: the engine's choice"},
    {.name = "sndbuf",
     .type = OPTION_SIZE,
     .offset = FIELD(sndbuf),
     .max = 1 << 30,
     .help = "socket send buffer (SO_SNDBUF); 0: the system's"},
    {.name = "rcvbuf",
     .type = OPTION_SIZE,
     .offset = FIELD(rcvbuf),
     .max = 1 << 30,
     .help = "socket receive buffer (SO_RCVBUF); 0: the system's"},
    {.name = "loan",
     .type = OPTION_SIZE,
     .offset = FIELD(loan_bytes),
     .fallback = "256k",
     .min = 1,
     .max = 1 << 30,
     .help = "received bytes that a connection may keep back before it is not read any more"},
    {0},
};

void engine_caps_add(struct engine_caps *caps, const char *name, enum cap_state state,
                     const char *note)
{
    if (caps->count == ENGINE_CAPS_MAX)
        return;
    struct engine_cap *cap = &caps->list[caps->count++];
    *cap = (struct engine_cap){.name = name, .state = state};
    if (note != NULL)
        strncat(cap->note, note, sizeof(cap->note) - 1);
}

void engine_cap_without_effect(struct engine *engine, const char *name, const char *why)
{
    struct engine_caps *caps = &engine->caps;
    uint32_t bits = atomic_load_explicit(&engine->caps_without_effect, memory_order_relaxed);

    for (unsigned i = 0; i < caps->count; i++) {
        if (strcmp(caps->list[i].name, name) != 0 || (bits & 1u << i))
            continue;
        caps->list[i].state = CAP_NO_EFFECT;
        if (why != NULL)
            snprintf(caps->list[i].note, sizeof(caps->list[i].note), "%s", why);
        atomic_store_explicit(&engine->caps_without_effect, bits | 1u << i, memory_order_release);
    }
}

const char *engine_reason_name(enum engine_reason reason)
{
    switch (reason) {
    case ENGINE_CLOSED_LOCALLY: return "closed locally";
    case ENGINE_CLOSED_BY_PEER: return "closed by peer";
    case ENGINE_CLOSED_CONNECT: return "connect failed";
    case ENGINE_CLOSED_RESET: return "reset by peer";
    case ENGINE_CLOSED_ERROR: return "error";
    }
    return "unknown";
}
