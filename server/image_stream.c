/*
 * The image stream's server: pictures by gRPC, from where they were loaded to the socket. The
 * process reads them once; a worker has its sessions' memory; proto/image_server.h does the rest.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "proto/image_options.h"
#include "proto/image_server.h"
#include "server/images.h"
#include "server/serve.h"

struct image_serve_options {
    char images[OPTION_TEXT_MAX];
    int contract, unknown;
    uint64_t window_bytes, frame_bytes, streams_max, message_bytes, replies_bytes;
    uint64_t header_bytes, header_frames, resets_per_s, controls_per_s;
    uint64_t handshake_ns, keepalive_ns, keepalive_timeout_ns, stall_ns, request_ns;
};

static const char *const unknowns[] = {"skip", "not-found", NULL};

#define FIELD(name) offsetof(struct image_serve_options, name)
#define OF_STREAM   .group = IMAGE_OPTIONS_GROUP
#define OF_LIMITS   .group = "Image stream, what a client may cost"

static const struct option_def image_options[] = {
    {.name = "images",
     .type = OPTION_TEXT,
     .offset = FIELD(images),
     .fallback = "default",
     .argument = "DIR",
     .help = "serve the files of a folder; default: three pictures that lab brings",
     OF_STREAM},
    IMAGE_OPTIONS(struct image_serve_options),
    {.name = "unknown",
     .type = OPTION_CHOICE,
     .offset = FIELD(unknown),
     .fallback = "skip",
     .choices = unknowns,
     .help = "a name that is not there is left out, or fails the call",
     OF_STREAM},
    {.name = "server-window",
     .type = OPTION_SIZE,
     .offset = FIELD(window_bytes),
     .fallback = "64KiB",
     .min = 1,
     .max = H2_WINDOW_MOST,
     .help = "flow-control window that the server announces, for requests",
     OF_LIMITS},
    {.name = "streams-max",
     .type = OPTION_COUNT,
     .offset = FIELD(streams_max),
     .fallback = "128",
     .min = 1,
     .max = 65535,
     .help = "calls at a time on a connection",
     OF_LIMITS},
    {.name = "request-max",
     .type = OPTION_SIZE,
     .offset = FIELD(message_bytes),
     .fallback = "64KiB",
     .min = 1,
     .max = 64u << 20,
     .help = "largest message of a request",
     OF_LIMITS},
    {.name = "replies-max",
     .type = OPTION_SIZE,
     .offset = FIELD(replies_bytes),
     .fallback = "64KiB",
     .min = 1,
     .max = 64u << 20,
     .help = "answers of a connection's calls of many messages that wait to be taken; more fail "
             "the call",
     OF_LIMITS},
    {.name = "headers-max",
     .type = OPTION_SIZE,
     .offset = FIELD(header_bytes),
     .fallback = "16KiB",
     .min = 1024,
     .max = 1u << 20,
     .help = "largest header block, uncompressed; four times that ends the connection",
     OF_LIMITS},
    {.name = "header-frames-max",
     .type = OPTION_COUNT,
     .offset = FIELD(header_frames),
     .fallback = "8",
     .min = 1,
     .max = 10000,
     .help = "frames of a header block (CONTINUATION)",
     OF_LIMITS},
    {.name = "resets-max",
     .type = OPTION_COUNT,
     .offset = FIELD(resets_per_s),
     .fallback = "1000",
     .min = 1,
     .max = 1000000000,
     .help = "streams a second that a connection may reset (rapid reset)",
     OF_LIMITS},
    {.name = "controls-max",
     .type = OPTION_COUNT,
     .offset = FIELD(controls_per_s),
     .fallback = "1000",
     .min = 1,
     .max = 1000000000,
     .help = "frames a second that ask for nothing: PING, SETTINGS, PRIORITY, empty ones",
     OF_LIMITS},
    {.name = "handshake",
     .type = OPTION_SECONDS,
     .offset = FIELD(handshake_ns),
     .fallback = "10s",
     .help = "close a connection that has not begun as HTTP/2 by then; 0 = never",
     OF_LIMITS},
    {.name = "request-time",
     .type = OPTION_SECONDS,
     .offset = FIELD(request_ns),
     .fallback = "10s",
     .help = "reset a request that is not whole after so long; 0 = never",
     OF_LIMITS},
    {.name = "keepalive",
     .type = OPTION_SECONDS,
     .offset = FIELD(keepalive_ns),
     .fallback = "60s",
     .help = "ask a silent connection by PING whether it is there; 0 = never",
     OF_LIMITS},
    {.name = "keepalive-timeout",
     .type = OPTION_SECONDS,
     .offset = FIELD(keepalive_timeout_ns),
     .fallback = "20s",
     .min = NS_PER_MS,
     .help = "close a connection that does not answer that by then",
     OF_LIMITS},
    {.name = "stall",
     .type = OPTION_SECONDS,
     .offset = FIELD(stall_ns),
     .fallback = "60s",
     .help = "close a connection that takes nothing of what waits for it for so long; 0 = never",
     OF_LIMITS},
    {0},
};

/* What all workers serve. */
struct image_process {
    struct image_folder folder; /* empty: the default pictures */
    struct image_set set;
};

static void image_process_close(void *process)
{
    struct image_process *images = process;
    images_close(&images->set);
    image_folder_free(&images->folder);
    free(images);
}

/* `learn` is the client's word; what it is to learn is the server's to choose. */
static bool images_are_default(const struct image_serve_options *serve)
{
    return strcmp(serve->images, "default") == 0 || strcmp(serve->images, "learn") == 0;
}

static int image_check(const void *options, struct lab_error *err)
{
    const struct image_serve_options *serve = options;
    return images_are_default(serve) ? 0 : image_folder_check(serve->images, err);
}

static int process_read(struct image_process *images, const char *path, char **note,
                        struct lab_error *err)
{
    char *left_out;

    int r = image_folder_read(&images->folder, path, &left_out, err);
    if (r == 0 && left_out != NULL && asprintf(note, "--images: left out %s", left_out) < 0)
        *note = NULL;
    free(left_out);
    return r;
}

static int image_process_open(void **process, const void *options, char **note,
                              struct lab_error *err)
{
    const struct image_serve_options *serve = options;
    struct image_process *images = calloc(1, sizeof(*images));
    const struct picture *list = pictures;
    unsigned count = pictures_count;
    int r = 0;

    if (images == NULL)
        return lab_fail(err, ENOMEM, "no memory for the images");
    if (!images_are_default(serve)) {
        r = process_read(images, serve->images, note, err);
        list = images->folder.list;
        count = images->folder.count;
    }
    if (r == 0 && images_open(&images->set, (enum image_contract)serve->contract, list, count) < 0)
        r = lab_fail(err, ENOMEM, "no memory for the images");
    if (r < 0) {
        image_process_close(images);
        return r;
    }
    *process = images;
    return 0;
}

static int image_stream_worker_open(void **shared, void *process, const void *options,
                                    struct meter *meter)
{
    const struct image_serve_options *serve = options;
    const struct image_process *images = process;
    struct image_worker *worker = malloc(sizeof(*worker));
    const struct h2_options h2 = {
        .server = true,
        .window_bytes = (uint32_t)serve->window_bytes,
        .window_most = (uint32_t)serve->window_bytes,
        .frame_bytes = (uint32_t)serve->frame_bytes,
        .streams_max = (uint32_t)serve->streams_max,
        .header_bytes = (uint32_t)serve->header_bytes,
        .continuations = (uint32_t)serve->header_frames,
        .resets_per_s = (uint32_t)serve->resets_per_s,
        .controls_per_s = (uint32_t)serve->controls_per_s,
        .handshake_ns = serve->handshake_ns,
        .keepalive_ns = serve->keepalive_ns,
        .keepalive_timeout_ns = serve->keepalive_timeout_ns,
        .stall_ns = serve->stall_ns,
        .request_ns = serve->request_ns,
    };

    const struct grpc_limits limits = {
        .message_bytes = (uint32_t)serve->message_bytes,
        .replies_bytes = (uint32_t)serve->replies_bytes,
    };

    if (worker == NULL ||
        image_worker_open(worker, &h2, &limits, &images->set, serve->unknown != 0, meter) < 0) {
        free(worker);
        return -ENOMEM;
    }
    *shared = worker;
    return 0;
}

static void image_stream_worker_close(void *shared)
{
    image_worker_close(shared);
    free(shared);
}

static uint64_t image_message_bytes(const void *options)
{
    return 4096; /* requests are small */
}

static int image_state_open(void *state, void *shared, const void *options)
{
    struct image_worker *worker = shared;
    grpc_server_open(state, &worker->grpc);
    return 0;
}

static void image_state_reset(void *state)
{
    grpc_server_reset(state);
}

static void image_state_close(void *state)
{
    grpc_server_reset(state);
}

static const char *const image_unused[] = {"file segments", NULL}; /* they are in memory */

extern const struct server_workload server_image_stream;
const struct server_workload server_image_stream = {
    .name = "image-stream",
    .help = "pictures by gRPC, each a message of a stream",
    .port = 50051,
    .options = image_options,
    .options_size = sizeof(struct image_serve_options),
    .check = image_check,
    .message_bytes = image_message_bytes,
    .proto = &grpc_server_proto,
    .metrics = image_server_metrics,
    .process_open = image_process_open,
    .process_close = image_process_close,
    .worker_open = image_stream_worker_open,
    .worker_close = image_stream_worker_close,
    .state_size = sizeof(struct grpc_server),
    .state_open = image_state_open,
    .state_reset = image_state_reset,
    .state_close = image_state_close,
    .unused = image_unused,
};
