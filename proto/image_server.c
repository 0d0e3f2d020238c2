/* See image_server.h. */
#include "proto/image_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/allocator.h"
#include "proto/image_flat.pb-c.h"
#include "proto/image_service.pb-c.h"

const struct metric_def image_server_metrics[] = {
    H2_METRICS,
    GRPC_METRICS,
    {"images_sent", "", METRIC_COUNTER, METRIC_MORE, "server", "server",
     "images whose sending was begun"},
    {"images_sent_bytes", "bytes", METRIC_COUNTER, METRIC_MORE, "server", "server",
     "their contents"},
    {"images_unknown", "", METRIC_COUNTER, METRIC_NEITHER, "server", "server",
     "names that were asked for and are not served"},
    {0},
};

const char *const image_services[] = {
    IMAGE_SERVICE,
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    NULL,
};

static void malformed(struct grpc_call *call, const char *what)
{
    grpc_call_finish(call, GRPC_INTERNAL, "this is no %s", what);
}

/* --- ListImages --- */

/* The same answer for all, so it is made once. */
static int list_open(struct image_worker *worker)
{
    const struct image_set *set = worker->images;
    ImageService__ListImagesResponse response = IMAGE_SERVICE__LIST_IMAGES_RESPONSE__INIT;
    char **names = malloc((set->count + 1) * sizeof(*names));

    if (names == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < set->count; i++)
        names[i] = (char *)set->list[i].picture.name;
    response.n_image_names = set->count;
    response.image_names = names;
    size_t size = image_service__list_images_response__get_packed_size(&response);
    worker->list_size = GRPC_PREFIX_BYTES + size;
    worker->list = malloc(worker->list_size);
    if (worker->list != NULL)
        image_service__list_images_response__pack(&response,
                                                  grpc_put_prefix(worker->list, (uint32_t)size));
    free(names);
    return worker->list != NULL ? 0 : -ENOMEM;
}

/* A message of no bytes is one without fields. */
static bool list_is_asked(struct image_worker *worker, const uint8_t *data, size_t size)
{
    if (size == 0)
        return true;
    ImageService__ListImagesRequest *request =
        image_service__list_images_request__unpack(&worker->allocator, size, data);
    if (request == NULL)
        return false;
    image_service__list_images_request__free_unpacked(request, &worker->allocator);
    return true;
}

static void list_message(struct grpc_call *call, const uint8_t *data, size_t size)
{
    struct image_worker *worker = image_worker_of(call);

    if (!list_is_asked(worker, data, size)) {
        malformed(call, "ListImagesRequest");
        return;
    }
    grpc_call_stream(call, worker->list_size);
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void list_piece(struct grpc_call *call, struct h2_piece *piece)
{
    const struct image_worker *worker = image_worker_of(call);
    *piece = (struct h2_piece){worker->list, worker->list_size, true};
}

static const struct grpc_method list_images = {
    .path = IMAGE_PATH("ListImages"),
    .message = list_message,
    .piece = list_piece,
};

/* --- StreamImages --- */

/* What is still to be sent of a call; parts: head, content, tail. */
struct image_stream {
    unsigned count, at, part;
    uint32_t places[]; /* in the set */
};

static void stream_piece(struct grpc_call *call, struct h2_piece *piece)
{
    struct image_stream *stream = call->data;
    const struct image_set *set = image_worker_of(call)->images;

    do {
        const struct image *image = &set->list[stream->places[stream->at]];
        switch (stream->part) {
        case 0: *piece = (struct h2_piece){image->head, image->head_size, true}; break;
        case 1: *piece = (struct h2_piece){image->picture.bytes, image->picture.size, true}; break;
        default: *piece = (struct h2_piece){image->tail, image->tail_size, true}; break;
        }
        if (++stream->part == 3) {
            stream->part = 0;
            stream->at++;
        }
    } while (piece->size == 0);
}

static void stream_closed(struct grpc_call *call)
{
    pool_give(&image_worker_of(call)->grpc.h2.pool, call->data);
}

/* The places of what was asked for; false: the call has failed. */
static bool stream_places(struct grpc_call *call, const ImageService__StreamImagesRequest *request,
                          uint64_t *bytes)
{
    struct image_worker *worker = image_worker_of(call);
    struct image_stream *stream = call->data;
    unsigned hint = 0;
    uint64_t contents = 0;

    for (size_t i = 0; i < request->n_image_names; i++) {
        const char *name = request->image_names[i];
        int place = images_find(worker->images, name, strlen(name), hint);
        if (place < 0) {
            h2_count(call->stream.h2, IMAGES_UNKNOWN, 1);
            if (!worker->unknown_not_found)
                continue;
            grpc_call_finish(call, GRPC_NOT_FOUND, "there is no image '%.200s'", name);
            return false;
        }
        stream->places[stream->count++] = (uint32_t)place;
        contents += worker->images->list[place].picture.size;
        *bytes += image_wire_size(&worker->images->list[place]);
        hint = (unsigned)place + 1 < worker->images->count ? (unsigned)place + 1 : 0;
    }
    h2_count(call->stream.h2, IMAGES_SENT, stream->count);
    h2_count(call->stream.h2, IMAGES_SENT_BYTES, contents);
    return true;
}

static void stream_message(struct grpc_call *call, const uint8_t *data, size_t size)
{
    struct image_worker *worker = image_worker_of(call);
    uint64_t bytes = 0;

    ImageService__StreamImagesRequest *request =
        image_service__stream_images_request__unpack(&worker->allocator, size, data);
    if (request == NULL) {
        malformed(call, "StreamImagesRequest");
        return;
    }
    struct image_stream *stream = pool_take(
        &worker->grpc.h2.pool, sizeof(*stream) + request->n_image_names * sizeof(uint32_t));
    if (stream == NULL) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "no memory for so many names");
    } else {
        stream->count = stream->at = stream->part = 0;
        call->data = stream;
        if (stream_places(call, request, &bytes)) {
            if (bytes > 0)
                grpc_call_stream(call, bytes);
            grpc_call_finish(call, GRPC_OK, NULL);
        }
    }
    image_service__stream_images_request__free_unpacked(request, &worker->allocator);
}

static const struct grpc_method stream_images = {
    .path = IMAGE_PATH("StreamImages"),
    .message = stream_message,
    .piece = stream_piece,
    .closed = stream_closed,
};

/* --- ServiceMetadata --- */

static void metadata_message(struct grpc_call *call, const uint8_t *data, size_t size)
{
    struct image_worker *worker = image_worker_of(call);
    ImageFlat__ServiceMetadataResponse response = IMAGE_FLAT__SERVICE_METADATA_RESPONSE__INIT;

    ImageFlat__ServiceMetadataRequest *request =
        image_flat__service_metadata_request__unpack(&worker->allocator, size, data);
    if (request == NULL) {
        malformed(call, "ServiceMetadataRequest");
        return;
    }
    image_flat__service_metadata_request__free_unpacked(request, &worker->allocator);
    response.metadata = "lab image-stream: nghttp2, protobuf-c";
    uint8_t *room =
        grpc_call_reply(call, image_flat__service_metadata_response__get_packed_size(&response));
    if (room != NULL)
        image_flat__service_metadata_response__pack(&response, room);
    grpc_call_finish(call, GRPC_OK, NULL);
}

static const struct grpc_method service_metadata = {
    .path = IMAGE_PATH("ServiceMetadata"),
    .message = metadata_message,
};

/* --- workers --- */

static const struct grpc_method *const nested_methods[] = {
    &list_images,   &stream_images,      &health_check, &health_watch,
    &reflection_v1, &reflection_v1alpha, NULL,
};
static const struct grpc_method *const flat_methods[] = {
    &list_images,  &stream_images, &service_metadata,   &health_check,
    &health_watch, &reflection_v1, &reflection_v1alpha, NULL,
};

int image_worker_open(struct image_worker *worker, const struct h2_options *options,
                      const struct grpc_limits *limits, const struct image_set *images,
                      bool unknown_not_found, struct meter *meter)
{
    bool flat = images->contract == IMAGE_FLAT;

    *worker = (struct image_worker){
        .allocator = allocator_of(&worker->grpc.h2.pool),
        .images = images,
        .unknown_not_found = unknown_not_found,
    };
    int r = list_open(worker);
    if (r == 0)
        r = grpc_worker_open(&worker->grpc, options, limits, flat ? flat_methods : nested_methods,
                             meter);
    if (r < 0) {
        free(worker->list);
        worker->list = NULL;
    }
    return r;
}

void image_worker_close(struct image_worker *worker)
{
    grpc_worker_close(&worker->grpc);
    free(worker->list);
}
