/* The list of workloads that the load generator knows, and its own options. A new workload is
 * one file and one line here. */
#include <string.h>

#include "client/load.h"
#include "core/clock.h"

extern const struct client_workload client_echo;
#if HAVE_NGHTTP2
extern const struct client_workload client_image_stream;
#else
static const struct option_def no_options[] = {{0}};
static const struct client_workload client_image_stream = {
    .name = "image-stream",
    .help = "pictures by gRPC, each a message of a stream",
    .absent = "lab was built without nghttp2: apt install libnghttp2-dev, and build again",
    .options = no_options,
};
#endif

const struct client_workload *const client_workloads[] = {
    &client_echo,
    &client_image_stream,
    NULL,
};

const struct client_workload *client_workload_find(const char *name)
{
    for (unsigned i = 0; client_workloads[i] != NULL; i++)
        if (strcmp(client_workloads[i]->name, name) == 0)
            return client_workloads[i];
    return NULL;
}

const char *client_workload_name(const struct client_workload *workload)
{
    return workload->name;
}

const char *client_workload_help(const struct client_workload *workload)
{
    return workload->help;
}

const struct option_def *client_workload_options(const struct client_workload *workload)
{
    return workload->options;
}

static const char *const arrivals[] = {"constant", "poisson", NULL};
static const char *const closes[] = {"fin", "rst", "server", NULL};
static const char *const pacings[] = {"sleep", "spin", NULL};

#define FIELD(name) offsetof(struct load_options, name)

/* More than one thread can put on its queue, let alone send. */
#define RATE_MAX (100 * 1000 * 1000)
/* On each of a million connections they still do not wrap. */
#define OPS_MAX (1000ull * 1000 * 1000 * 1000)

const struct option_def load_options[] = {
    {.name = "connections",
     .letter = 'c',
     .type = OPTION_COUNT,
     .offset = FIELD(connections),
     .fallback = "0", /* not given: the workload's */
     .min = 1,
     .max = 1000000,
     .argument = "N",
     .help = "connections, over all workers; default: the workload's",
     .group = "Load"},
    {.name = "depth",
     .type = OPTION_COUNT,
     .offset = FIELD(depth),
     .fallback = "0",
     .max = 65535,
     .argument = "N",
     .help = "ops in flight on each connection; 0 = the workload's default",
     .group = "Load"},
    {.name = "rate",
     .letter = 'R',
     .type = OPTION_RATE,
     .offset = FIELD(rate),
     .fallback = "0",
     .max = RATE_MAX,
     .argument = "N",
     .help =
         "open loop: so many ops a second over all connections, answered or not; 0 = closed loop",
     .group = "Load"},
    {.name = "arrival",
     .type = OPTION_CHOICE,
     .offset = FIELD(arrival),
     .fallback = "constant",
     .choices = arrivals,
     .help = "how the ops of an open loop arrive",
     .group = "Load"},
    {.name = "ops",
     .letter = 'n',
     .type = OPTION_COUNT,
     .offset = FIELD(ops),
     .fallback = "0", /* not given: by time */
     .min = 1,
     .max = OPS_MAX,
     .argument = "N",
     .help = "end a trial after so many ops over all connections, instead of by time",
     .group = "Load"},
    {.name = "loops",
     .type = OPTION_COUNT,
     .offset = FIELD(loops),
     .fallback = "0", /* not given: by time */
     .min = 1,
     .max = OPS_MAX,
     .argument = "N",
     .help = "end a trial after so many ops on each connection, instead of by time",
     .group = "Load"},
    {.name = "workers",
     .letter = 't',
     .type = OPTION_COUNT,
     .offset = FIELD(workers),
     .fallback = "0",
     .max = 65536,
     .argument = "N",
     .help =
         "threads of the client; 0 = one; always one a connection where the engine holds but one",
     .group = "Load"},
    {.name = "reconnect",
     .type = OPTION_FLAG,
     .offset = FIELD(reconnect),
     .fallback = "no",
     .help = "an op is: connect, send, receive, close",
     .group = "Load"},
    {.name = "close",
     .type = OPTION_CHOICE,
     .offset = FIELD(close),
     .fallback = "fin",
     .choices = closes,
     .help = "who closes after an op with --reconnect, and how",
     .group = "Load"},
    {.name = "local-addrs",
     .type = OPTION_COUNT,
     .offset = FIELD(local_addrs),
     .fallback = "1",
     .min = 1,
     .max = 65536,
     .argument = "N",
     .help = "spread the connections that are opened over so many local addresses of 127.0.0.0/8",
     .group = "Load"},
    {.name = "ramp",
     .type = OPTION_SECONDS,
     .offset = FIELD(ramp_ns),
     .fallback = "0s",
     .max = 3600 * NS_PER_S,
     .help = "begin the connections one after the other over this time, before the window",
     .group = "Load"},
    {.name = "pacing",
     .type = OPTION_CHOICE,
     .offset = FIELD(pacing),
     .fallback = "sleep",
     .choices = pacings,
     .help = "how an open loop waits for the next op: spin where the client owns its core",
     .group = "Load"},
    {.name = "timeout",
     .type = OPTION_SECONDS,
     .offset = FIELD(timeout_ns),
     .fallback = "5s",
     .min = NS_PER_MS,
     .help = "an op (or connect) that takes longer has failed",
     .group = "Load"},
    {0},
};
