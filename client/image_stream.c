/*
 * The image stream's client: an op is one call, which asks for a number of images in one stream,
 * or for the list of their names. Every image is checked, and timed by itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/load.h"
#include "core/clock.h"
#include "proto/image_client.h"
#include "proto/image_options.h"

#define IMAGE_WINDOW_FIRST (1u << 20)
#define IMAGE_WINDOW_AUTO  (64u << 20)

struct image_options {
    int contract, rpc, check;
    uint64_t images_per_op, message_bytes, window_bytes, frame_bytes;
    char images[OPTION_TEXT_MAX];
};

static const char *const rpcs[] = {"stream", "list", NULL};
enum { RPC_STREAM, RPC_LIST };
static const char *const checks[] = {"content", "size", NULL};
enum { CHECK_CONTENT, CHECK_SIZE };

#define FIELD(name) offsetof(struct image_options, name)

static const struct option_def image_options[] = {
    {.name = "rpc",
     .type = OPTION_CHOICE,
     .offset = FIELD(rpc),
     .fallback = "stream",
     .choices = rpcs,
     .help = "an op: StreamImages, or ListImages",
     .group = IMAGE_OPTIONS_GROUP},
    {.name = "images-per-op",
     .type = OPTION_COUNT,
     .offset = FIELD(images_per_op),
     .fallback = "3",
     .min = 1,
     .max = 100000,
     .help = "names of a StreamImages: all that the server has, round and round",
     .group = IMAGE_OPTIONS_GROUP},
    IMAGE_OPTIONS(struct image_options),
    {.name = "images",
     .type = OPTION_TEXT,
     .offset = FIELD(images),
     .fallback = "default",
     .argument = "learn|DIR",
     .help = "expect pictures of other contents than lab's own: those that come first",
     .group = IMAGE_OPTIONS_GROUP},
    {.name = "check",
     .type = OPTION_CHOICE,
     .offset = FIELD(check),
     .fallback = "content",
     .choices = checks,
     .help = "what is looked at of each image, beside its name",
     .group = IMAGE_OPTIONS_GROUP},
    {.name = "max-message",
     .type = OPTION_SIZE,
     .offset = FIELD(message_bytes),
     .fallback = "4MiB",
     .min = 1,
     .max = UINT32_MAX,
     .help = "largest message that is taken",
     .group = IMAGE_OPTIONS_GROUP},
    {.name = "window",
     .type = OPTION_SIZE,
     .offset = FIELD(window_bytes),
     .fallback = "auto",
     .min = 65535,
     .max = H2_WINDOW_MOST,
     .argument = "auto|SIZE",
     .zero = "auto",
     .help = "flow-control window that the client announces; auto: it grows with the "
             "bandwidth-delay product",
     .group = IMAGE_OPTIONS_GROUP},
    {0},
};

/* Rows after the session's. */
enum {
    IMAGES = H2_METRICS_COUNT,
    IMAGE_BYTES,
    FIRST_IMAGE_NS,
    IMAGE_NS,
    IMAGE_GAP_NS,
    STALLED_NS,
};

static const struct metric_def image_metrics[] = {
    H2_METRICS,
    {"images", "", METRIC_COUNTER, METRIC_MORE, "", "client",
     "images that were here, whole and right"},
    {"images_bytes", "bytes", METRIC_COUNTER, METRIC_MORE, "", "client", "their contents"},
    {"first_image_ns", "ns", METRIC_HISTOGRAM, METRIC_LESS, "", "client",
     "an op, from its start to the end of its first image"},
    {"image_ns", "ns", METRIC_HISTOGRAM, METRIC_LESS, "", "client",
     "an image, from its op's start to its last byte"},
    {"image_gap_ns", "ns", METRIC_HISTOGRAM, METRIC_LESS, "", "client",
     "an image, from the end of the one before it to its own"},
    {"stalled_ns", "ns", METRIC_HISTOGRAM, METRIC_LESS, "", "client",
     "an op, while all had come that the client's windows let through, till the next of it came"},
    {0},
};

static const struct metric_view image_views[] = {
    {"images/s", "images", METRIC_VIEW_RATE, 0, false},
    {"MB/s", "images_bytes", METRIC_VIEW_MB_RATE, 0, false},
    {"first image, p50", "first_image_ns", METRIC_VIEW_PERCENTILE, 50, false},
    {"first image, p99", "first_image_ns", METRIC_VIEW_PERCENTILE, 99, false},
    {"gap between images, p50", "image_gap_ns", METRIC_VIEW_PERCENTILE, 50, false},
    {"gap between images, p99", "image_gap_ns", METRIC_VIEW_PERCENTILE, 99, false},
    {"stalled by flow control, p50", "stalled_ns", METRIC_VIEW_PERCENTILE, 50, false},
    {"stalled by flow control, p99", "stalled_ns", METRIC_VIEW_PERCENTILE, 99, false},
    {"stalled, as the server counts", "h2_stalled_ns", METRIC_VIEW_TIME_PER_OP, 0, true},
    {"window of the client", "h2_window_bytes", METRIC_VIEW_BYTES, 0, false},
    {0},
};

static const struct load_headline image_headline[] = {
    {"rpc", "%s", NULL, NULL},
    {"images-per-op", "%s images an op", "rpc", "stream"},
    {0},
};

/* The public benchmark's 20 sizes: its three names once, 6, 11 ... 96 times. */
static const struct load_sweep image_sweeps[] = {
    {"seed", "images-per-op",
     "3,18,33,48,63,78,93,108,123,138,153,168,183,198,213,228,243,258,273,288"},
    {0},
};

/* A connection: the protocol's state, and when each slot's last image was here. */
struct image_state {
    struct image_client client; /* first */
    struct load_conn *conn;
    uint64_t *last_ns; /* a slot each */
};

static void image_first(void *context, unsigned slot)
{
    struct image_state *state = context;
    load_op_first_byte(state->conn, slot);
}

static void image_progress(void *context, uint64_t bytes)
{
    struct image_state *state = context;
    load_progress(state->conn, bytes);
}

static void image_here(void *context, unsigned slot, unsigned nth, uint64_t bytes)
{
    struct image_state *state = context;
    uint64_t now_ns = clock_ns(), start_ns = load_op_start_ns(state->conn, slot);

    load_count(state->conn, IMAGES, 1);
    load_count(state->conn, IMAGE_BYTES, bytes);
    load_record(state->conn, IMAGE_NS, now_ns, now_ns - start_ns);
    if (nth == 0)
        load_record(state->conn, FIRST_IMAGE_NS, now_ns, now_ns - start_ns);
    else
        load_record(state->conn, IMAGE_GAP_NS, now_ns, now_ns - state->last_ns[slot]);
    state->last_ns[slot] = now_ns;
}

static void image_done(void *context, unsigned slot, uint64_t bytes, uint64_t held_ns)
{
    struct image_state *state = context;
    uint64_t now_ns = load_op_done(state->conn, slot, bytes, 0);

    load_record(state->conn, STALLED_NS, now_ns, held_ns);
}

static void image_failed(void *context, unsigned slot, const char *kind, const char *text)
{
    struct image_state *state = context;
    load_op_failed(state->conn, slot, kind, text);
}

static const struct image_client_events image_events = {
    .first = image_first,
    .progress = image_progress,
    .image = image_here,
    .done = image_done,
    .failed = image_failed,
};

/* A folder is for the server; here it says that the pictures are none of lab's. */
static int image_check_images(const char *images, struct lab_error *err)
{
    struct stat info;

    if (strcmp(images, "default") == 0 || strcmp(images, "learn") == 0 ||
        (stat(images, &info) == 0 && S_ISDIR(info.st_mode)))
        return 0;
    return lab_fail(err, EINVAL, "--images %s: give learn, or a folder of pictures", images);
}

static int image_check(const void *options, struct load_options *load, struct lab_error *err)
{
    const struct image_options *image = options;

    if (load->close == LOAD_CLOSE_SERVER)
        return lab_fail(err, EINVAL, "--close server: a gRPC server keeps its connections");
    if (load->depth == 0)
        load->depth = 1;
    return image_check_images(image->images, err);
}

static uint64_t image_message_bytes(const void *options)
{
    const struct image_options *image = options;
    return image->rpc == RPC_LIST ? 4096 : 1u << 20;
}

static int image_worker_open(void **shared, void *process, const void *options, struct meter *meter)
{
    const struct image_options *image = options;
    struct image_client_worker *worker = malloc(sizeof(*worker));
    bool automatic = image->window_bytes == 0;
    const struct h2_options h2 = {
        .window_bytes = automatic ? IMAGE_WINDOW_FIRST : (uint32_t)image->window_bytes,
        .window_most = automatic ? IMAGE_WINDOW_AUTO : (uint32_t)image->window_bytes,
        .frame_bytes = (uint32_t)image->frame_bytes,
        .header_bytes = 64u << 10,
        .continuations = 64,
    };
    const struct image_client_config config = {
        .contract = (enum image_contract)image->contract,
        .list = image->rpc == RPC_LIST,
        .images_per_op = (unsigned)image->images_per_op,
        .message_bytes = (uint32_t)image->message_bytes,
        .learn = strcmp(image->images, "default") != 0,
        .sizes_only = image->check == CHECK_SIZE,
    };

    if (worker == NULL ||
        image_client_worker_open(worker, &h2, &config, &image_events, meter) < 0) {
        free(worker);
        return -ENOMEM;
    }
    *shared = worker;
    return 0;
}

static void image_worker_close(void *shared)
{
    image_client_worker_close(shared);
    free(shared);
}

static int image_state_open(void *memory, struct load_conn *conn, void *shared, const void *options,
                            unsigned depth)
{
    struct image_state *state = memory;

    state->conn = conn;
    state->last_ns = calloc(depth, sizeof(*state->last_ns));
    return state->last_ns == NULL
               ? -ENOMEM
               : image_client_open(&state->client, shared, state, load_authority(conn), depth);
}

static void image_state_reset(void *memory, uint64_t connection)
{
    struct image_state *state = memory;
    image_client_reset(&state->client);
}

static void image_state_close(void *memory)
{
    struct image_state *state = memory;
    image_client_close(&state->client);
    free(state->last_ns);
}

static void image_start(void *memory, unsigned slot, uint64_t op)
{
    struct image_state *state = memory;
    image_client_ask(&state->client, slot);
}

static bool image_cancel(void *memory, unsigned slot, const char *kind, const char *example)
{
    struct image_state *state = memory;
    return image_client_cancel(&state->client, slot, kind, example);
}

extern const struct client_workload client_image_stream;
const struct client_workload client_image_stream = {
    .name = "image-stream",
    .help = "pictures by gRPC, each a message of a stream",
    .options = image_options,
    .options_size = sizeof(struct image_options),
    .connections = 1,
    .check = image_check,
    .message_bytes = image_message_bytes,
    .proto = &image_client_proto,
    .metrics = image_metrics,
    .views = image_views,
    .headline = image_headline,
    .sweeps = image_sweeps,
    .worker_open = image_worker_open,
    .worker_close = image_worker_close,
    .state_size = sizeof(struct image_state),
    .state_open = image_state_open,
    .state_reset = image_state_reset,
    .state_close = image_state_close,
    .start = image_start,
    .cancel = image_cancel,
};
