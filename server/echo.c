/*
 * The echo server: what comes goes back from the very buffers in which it came; or one-way:
 * what comes is discarded and acknowledged; or one answer and closed, as the servers of
 * `one connection a request` benchmarks do.
 */
#include <errno.h>

#include "proto/echo.h"
#include "server/serve.h"

struct echo_serve_options {
    uint64_t message_bytes;
    uint64_t write_bytes; /* --one-way: acknowledged at least that often */
    bool one_way;
    bool close_after_reply;
    int close; /* index into close_choices, as `lab run --close` has it */
};

static const char *const close_choices[] = {"fin", "rst", "server", NULL};
enum { CLOSE_SERVER = 2 };

static const struct option_def echo_options[] = {
    {.name = "size",
     .letter = 's',
     .type = OPTION_SIZE,
     .offset = offsetof(struct echo_serve_options, message_bytes),
     .fallback = "64",
     .min = 1,
     .max = ECHO_SIZE_MAX,
     .help = "bytes of a message",
     .group = "Echo"},
    {.name = "one-way",
     .type = OPTION_FLAG,
     .offset = offsetof(struct echo_serve_options, one_way),
     .fallback = "no",
     .help = "a stream of writes that the receiver discards and acknowledges",
     .group = "Echo"},
    {.name = "write-size",
     .type = OPTION_SIZE,
     .offset = offsetof(struct echo_serve_options, write_bytes),
     .fallback = ECHO_WRITE_DEFAULT,
     .min = 1,
     .max = ECHO_SIZE_MAX,
     .help = "bytes of a write with --one-way",
     .group = "Echo"},
    {.name = "close-after-reply",
     .type = OPTION_FLAG,
     .offset = offsetof(struct echo_serve_options, close_after_reply),
     .fallback = "no",
     .help = "the server answers what it first reads, and closes",
     .group = "Echo"},
    {.name = "close",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct echo_serve_options, close),
     .fallback = "fin",
     .choices = close_choices,
     .help = "who closes; server: the server, after --size bytes were answered",
     .group = "Echo"},
    {0},
};

/* What closes counts answered bytes, and of a stream none are. */
static int echo_check(const void *options, struct lab_error *err)
{
    const struct echo_serve_options *echo = options;
    const char *closes = echo->close_after_reply       ? "--close-after-reply"
                         : echo->close == CLOSE_SERVER ? "--close server"
                                                       : NULL;

    if (!echo->one_way || closes == NULL)
        return 0;
    return lab_fail(err, EINVAL,
                    "--one-way is a stream without answers, after which the server could close: it "
                    "does not go with %s",
                    closes);
}

static uint64_t echo_message_bytes(const void *options)
{
    const struct echo_serve_options *echo = options;
    return echo->one_way ? UINT64_MAX : echo->message_bytes;
}

static int echo_state_open(void *state, void *shared, const void *options)
{
    const struct echo_serve_options *echo = options;
    uint64_t close_after = echo->close_after_reply       ? 1
                           : echo->close == CLOSE_SERVER ? echo->message_bytes
                                                         : 0;
    echo_server_open(state, echo->one_way, echo->write_bytes, close_after);
    return 0;
}

static void echo_state_reset(void *state)
{
    echo_server_reset(state);
}

static void echo_state_close(void *state)
{
    echo_server_close(state);
}

static const char *const echo_unused[] = {"file segments", NULL};

extern const struct server_workload server_echo;
const struct server_workload server_echo = {
    .name = "echo",
    .help = "bytes come back as they came",
    .port = 8888,
    .options = echo_options,
    .options_size = sizeof(struct echo_serve_options),
    .check = echo_check,
    .message_bytes = echo_message_bytes,
    .proto = &echo_server_proto,
    .state_size = sizeof(struct echo_server),
    .state_open = echo_state_open,
    .state_reset = echo_state_reset,
    .state_close = echo_state_close,
    .unused = echo_unused,
};
