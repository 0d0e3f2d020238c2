/* gRPC's health checking: Check answers, Watch stays open and tells when the server goes. */
#include <string.h>

#include "proto/health.pb-c.h"
#include "proto/image_server.h"

typedef Grpc__Health__V1__HealthCheckRequest health_request;
typedef Grpc__Health__V1__HealthCheckResponse health_response;
#define HEALTH(status) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##status

static void health_reply(struct grpc_call *call,
                         Grpc__Health__V1__HealthCheckResponse__ServingStatus status)
{
    health_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

    response.status = status;
    uint8_t *room =
        grpc_call_reply(call, grpc__health__v1__health_check_response__get_packed_size(&response));
    if (room != NULL)
        grpc__health__v1__health_check_response__pack(&response, room);
}

/* Whether there is such a service; the server as a whole has no name. False also if the call has
 * failed. */
static bool health_knows(struct grpc_call *call, const uint8_t *data, size_t size, bool *failed)
{
    ProtobufCAllocator *allocator = &image_worker_of(call)->allocator;
    health_request *request = grpc__health__v1__health_check_request__unpack(allocator, size, data);

    *failed = request == NULL;
    if (*failed) {
        grpc_call_finish(call, GRPC_INTERNAL, "this is no HealthCheckRequest");
        return false;
    }
    bool known = request->service[0] == '\0';
    for (unsigned i = 0; image_services[i] != NULL && !known; i++)
        known = strcmp(image_services[i], request->service) == 0;
    grpc__health__v1__health_check_request__free_unpacked(request, allocator);
    return known;
}

static void check_message(struct grpc_call *call, const uint8_t *data, size_t size)
{
    bool failed;
    bool known = health_knows(call, data, size, &failed);

    if (failed)
        return;
    if (!known) {
        grpc_call_finish(call, GRPC_NOT_FOUND, "there is no such service here");
        return;
    }
    health_reply(call, HEALTH(SERVING));
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void watch_message(struct grpc_call *call, const uint8_t *data, size_t size)
{
    bool failed;
    bool known = health_knows(call, data, size, &failed);

    if (!failed)
        health_reply(call, known ? HEALTH(SERVING) : HEALTH(SERVICE_UNKNOWN));
}

static void watch_drain(struct grpc_call *call)
{
    health_reply(call, HEALTH(NOT_SERVING));
    grpc_call_finish(call, GRPC_OK, NULL);
}

const struct grpc_method health_check = {
    .path = "/grpc.health.v1.Health/Check",
    .message = check_message,
};

const struct grpc_method health_watch = {
    .path = "/grpc.health.v1.Health/Watch",
    .message = watch_message,
    .drain = watch_drain,
};
