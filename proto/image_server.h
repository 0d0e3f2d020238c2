/*
 * The image service, its health and its reflection: methods for grpc_server.h. A worker's own
 * struct begins with struct grpc_worker; what is served is the process's and read-only.
 */
#ifndef LAB_PROTO_IMAGE_SERVER_H
#define LAB_PROTO_IMAGE_SERVER_H

#include <protobuf-c/protobuf-c.h>

#include "proto/grpc_server.h"
#include "proto/images.h"

/* Rows of the meter, after GRPC_METRICS. */
enum image_server_metric {
    IMAGES_SENT = GRPC_METRICS_COUNT,
    IMAGES_SENT_BYTES,
    IMAGES_UNKNOWN,
};
extern const struct metric_def image_server_metrics[];

struct image_worker {
    struct grpc_worker grpc; /* first */
    ProtobufCAllocator allocator;
    const struct image_set *images;
    uint8_t *list; /* ListImages' answer, with gRPC's prefix */
    size_t list_size;
    bool unknown_not_found; /* a name that is not there fails the call; else it is left out */
};
int image_worker_open(struct image_worker *worker, const struct h2_options *options,
                      const struct grpc_limits *limits, const struct image_set *images,
                      bool unknown_not_found, struct meter *meter); /* -ENOMEM */
void image_worker_close(struct image_worker *worker);

/* Methods, an own file each group. */
extern const struct grpc_method health_check, health_watch;
extern const struct grpc_method reflection_v1, reflection_v1alpha;

/* The services that a contract has, NULL-terminated. */
extern const char *const image_services[];
static inline struct image_worker *image_worker_of(struct grpc_call *call)
{
    return (struct image_worker *)call->stream.h2->worker;
}

#endif
