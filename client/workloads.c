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

const struct option_def load_options[] = {
    {"connections", 'c', OPTION_COUNT, FIELD(connections), "0", 0, 1000000, NULL, "N",
     "connections, over all workers; 0 = the workload's default", NULL, "Load"},
    {"depth", 0, OPTION_COUNT, FIELD(depth), "0", 0, 65535, NULL, "N",
     "ops in flight on each connection; 0 = the workload's default", NULL, "Load"},
    {"rate", 'R', OPTION_RATE, FIELD(rate), "0", 0, 0, NULL, "N",
     "open loop: so many ops a second over all connections, answered or not; 0 = closed loop", NULL,
     "Load"},
    {"arrival", 0, OPTION_CHOICE, FIELD(arrival), "constant", 0, 0, arrivals, NULL,
     "how the ops of an open loop arrive", NULL, "Load"},
    {"ops", 'n', OPTION_COUNT, FIELD(ops), "0", 0, 0, NULL, "N",
     "end a trial after so many ops over all connections, instead of by time", NULL, "Load"},
    {"loops", 0, OPTION_COUNT, FIELD(loops), "0", 0, 0, NULL, "N",
     "end a trial after so many ops on each connection, instead of by time", NULL, "Load"},
    {"workers", 't', OPTION_COUNT, FIELD(workers), "0", 0, 65536, NULL, "N",
     "threads of the client; 0 = one, or one a connection where the engine holds but one", NULL,
     "Load"},
    {"reconnect", 0, OPTION_FLAG, FIELD(reconnect), "no", 0, 0, NULL, NULL,
     "an op is: connect, send, receive, close", NULL, "Load"},
    {"close", 0, OPTION_CHOICE, FIELD(close), "fin", 0, 0, closes, NULL,
     "who closes after an op with --reconnect, and how", NULL, "Load"},
    {"local-addrs", 0, OPTION_COUNT, FIELD(local_addrs), "1", 1, 65536, NULL, "N",
     "spread the connections over so many local addresses of 127.0.0.0/8", NULL, "Load"},
    {"ramp", 0, OPTION_SECONDS, FIELD(ramp_ns), "0s", 0, 0, NULL, NULL,
     "begin the connections one after the other over this time, before the window", NULL, "Load"},
    {"pacing", 0, OPTION_CHOICE, FIELD(pacing), "sleep", 0, 0, pacings, NULL,
     "how an open loop waits for the next op: spin where the client owns its core", NULL, "Load"},
    {"timeout", 0, OPTION_SECONDS, FIELD(timeout_ns), "5s", NS_PER_MS, 0, NULL, NULL,
     "an op (or connect) that takes longer has failed", NULL, "Load"},
    {0},
};
