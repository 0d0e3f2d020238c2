/*
 * The echo client: messages that come back and are compared; or, one-way, a stream of writes
 * that the receiver acknowledges.
 */
#include <errno.h>
#include <stdlib.h>

#include "client/load.h"
#include "proto/echo.h"

/*
 * One-way: so many bytes of a connection are under way unless --depth says otherwise. Enough that
 * neither end waits for the other. With more the stream fills the sockets' buffers: what waits
 * there leaves the caches before the far end copies it, and over loopback BBR, held by its window
 * of some 1 MiB, begins to pace by timers (measured: docs/coming-from.md).
 */
#define ECHO_STREAM_BYTES (768u << 10)

struct echo_options {
    uint64_t message_bytes;
    uint64_t write_bytes; /* --one-way */
    bool one_way;
};

static const struct option_def echo_options[] = {
    {.name = "size",
     .letter = 's',
     .type = OPTION_SIZE,
     .offset = offsetof(struct echo_options, message_bytes),
     .fallback = "64",
     .min = 1,
     .max = ECHO_SIZE_MAX,
     .help = "bytes of a message",
     .group = "Echo"},
    {.name = "one-way",
     .type = OPTION_FLAG,
     .offset = offsetof(struct echo_options, one_way),
     .fallback = "no",
     .help = "a stream of writes that the receiver discards and acknowledges",
     .group = "Echo"},
    {.name = "write-size",
     .type = OPTION_SIZE,
     .offset = offsetof(struct echo_options, write_bytes),
     .fallback = ECHO_WRITE_DEFAULT,
     .min = 1,
     .max = ECHO_SIZE_MAX,
     .help = "bytes of a write with --one-way",
     .group = "Echo"},
    {0},
};

static uint64_t op_bytes(const struct echo_options *echo)
{
    return echo->one_way ? echo->write_bytes : echo->message_bytes;
}

static int echo_check(const void *options, struct load_options *load, struct lab_error *err)
{
    const struct echo_options *echo = options;
    struct echo_options defaults = {0};

    option_defaults(echo_options, &defaults);
    if (echo->one_way && echo->message_bytes != defaults.message_bytes)
        return lab_fail(err, EINVAL,
                        "--size is of a message that comes back: with --one-way say --write-size");
    if (!echo->one_way && echo->write_bytes != defaults.write_bytes)
        return lab_fail(err, EINVAL,
                        "--write-size is of a write with --one-way: add that, or say --size");
    if (echo->one_way && load->reconnect)
        return lab_fail(err, EINVAL, "--one-way is a stream: it does not go with --reconnect");
    if (load->depth == 0 && echo->one_way) {
        uint64_t depth = ECHO_STREAM_BYTES / echo->write_bytes;
        load->depth = depth < 2 ? 2 : depth > 4096 ? 4096 : depth;
    } else if (load->depth == 0) {
        load->depth = 1;
    }
    return 0;
}

static uint64_t echo_message_bytes(const void *options)
{
    const struct echo_options *echo = options;
    return echo->one_way ? ECHO_ACK_BYTES : echo->message_bytes;
}

/* One pattern for all workers: with a thread a connection it stays in the cores' caches. */
static int echo_process_open(void **process, const void *options, struct lab_error *err)
{
    struct echo_pattern *pattern = malloc(sizeof(*pattern));

    if (pattern == NULL || echo_pattern_open(pattern, op_bytes(options)) < 0) {
        free(pattern);
        return lab_fail(err, ENOMEM, "no memory for a message of %llu bytes",
                        (unsigned long long)op_bytes(options));
    }
    *process = pattern;
    return 0;
}

static void echo_process_close(void *process)
{
    echo_pattern_close(process);
    free(process);
}

static void echo_answered(void *context, unsigned slot, uint64_t bytes, uint64_t fresh)
{
    load_op_done(context, slot, bytes, fresh);
}

static void echo_first(void *context, unsigned slot)
{
    load_op_first_byte(context, slot);
}

static void echo_progress(void *context, uint64_t bytes)
{
    load_progress(context, bytes);
}

static const struct echo_client_events echo_events = {
    .progress = echo_progress,
    .answered = echo_answered,
};
static const struct echo_client_events echo_events_with_first = {
    .first = echo_first,
    .progress = echo_progress,
    .answered = echo_answered,
};

static int echo_state_open(void *state, struct load_conn *conn, void *shared, const void *options,
                           unsigned depth)
{
    const struct echo_options *echo = options;
    const struct echo_client_events *events =
        load_wants_first_byte(conn) ? &echo_events_with_first : &echo_events;
    return echo_client_open(state, events, conn, shared, op_bytes(echo), depth, echo->one_way);
}

static void echo_state_reset(void *state, uint64_t connection)
{
    echo_client_reset(state, connection);
}

static void echo_state_close(void *state)
{
    echo_client_close(state);
}

static void echo_start(void *state, unsigned slot, uint64_t op)
{
    echo_client_ask(state, slot, op);
}

extern const struct client_workload client_echo;
const struct client_workload client_echo = {
    .name = "echo",
    .help = "messages that come back as they went",
    .options = echo_options,
    .options_size = sizeof(struct echo_options),
    .connections = 32,
    .check = echo_check,
    .message_bytes = echo_message_bytes,
    .proto = &echo_client_proto,
    .process_open = echo_process_open,
    .process_close = echo_process_close,
    .state_size = sizeof(struct echo_client),
    .state_open = echo_state_open,
    .state_reset = echo_state_reset,
    .state_close = echo_state_close,
    .start = echo_start,
};
