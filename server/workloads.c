/* The list of workloads that a server knows. A new one is one file and one line here. */
#include "server/serve.h"

#include <string.h>

#include "core/clock.h"

extern const struct server_workload server_echo;
#if HAVE_NGHTTP2
extern const struct server_workload server_image_stream;
#else
static const struct option_def no_options[] = {{0}};
static const struct server_workload server_image_stream = {
    .name = "image-stream",
    .help = "pictures by gRPC, each a message of a stream",
    .absent = "lab was built without nghttp2: apt install libnghttp2-dev, and build again",
    .options = no_options,
};
#endif

const struct server_workload *const server_workloads[] = {
    &server_echo,
    &server_image_stream,
    NULL,
};

const struct server_workload *server_workload_find(const char *name)
{
    for (unsigned i = 0; server_workloads[i] != NULL; i++)
        if (strcmp(server_workloads[i]->name, name) == 0)
            return server_workloads[i];
    return NULL;
}

const char *server_workload_name(const struct server_workload *workload)
{
    return workload->name;
}

const struct option_def *server_workload_options(const struct server_workload *workload)
{
    return workload->options;
}

uint16_t server_workload_port(const struct server_workload *workload)
{
    return workload->port;
}

const struct option_def serve_options[] = {
    {.name = "connections-max",
     .type = OPTION_COUNT,
     .offset = offsetof(struct serve_options, connections_max),
     .fallback = "0",
     .max = 1000000,
     .help = "refuse connections beyond so many; 0 = as many as file descriptors allow",
     .group = "Server"},
    {.name = "idle",
     .type = OPTION_SECONDS,
     .offset = offsetof(struct serve_options, idle_ns),
     .fallback = "0s",
     .help = "close a connection that was silent so long; 0 = never",
     .group = "Server"},
    {.name = "linger",
     .type = OPTION_SECONDS,
     .offset = offsetof(struct serve_options, linger_ns),
     .fallback = "2s",
     .min = NS_PER_MS,
     .help = "close hard a connection that was ended, and whose other end takes no more, after so "
             "long (of protocols with a sense of time: image-stream)",
     .group = "Server"},
    {.name = "server-workers",
     .type = OPTION_COUNT,
     .offset = offsetof(struct serve_options, workers),
     .fallback = "1",
     .min = 1,
     .max = 1024,
     .help = "threads of the server, an engine instance each; one a connection where that holds "
             "but one",
     .group = "Server"},
    {.name = "reuseport",
     .type = OPTION_FLAG,
     .offset = offsetof(struct serve_options, reuseport),
     .fallback = "no",
     .help = "each worker listens for itself (SO_REUSEPORT), instead of one handing out in turn",
     .group = "Server"},
    {0},
};
