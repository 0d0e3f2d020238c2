/* See grpc_server.h. */
#include "proto/grpc_server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"

#define GRPC_TEXT_MOST 400u

/* A message that this side owns until it has been gathered. */
struct grpc_chunk {
    struct grpc_chunk *next;
    size_t size;
    uint8_t bytes[];
};

static struct grpc_call *call_of(struct h2_stream *stream)
{
    return (struct grpc_call *)stream;
}

static struct grpc_server *server_of(struct grpc_call *call)
{
    return (struct grpc_server *)call->stream.h2;
}

static struct pool *call_pool(struct grpc_call *call)
{
    return &call->stream.h2->worker->pool;
}

static void call_count(struct grpc_call *call, unsigned row)
{
    h2_count(call->stream.h2, row, 1);
}

/* --- answers --- */

static const char *const status_digits[GRPC_STATUSES] = {
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
};

/* grpc-status and, if there is something to say, grpc-message. */
static unsigned put_status(const struct grpc_call *call, struct h2_header *headers)
{
    const char *digits = status_digits[call->status];

    headers[0] = (struct h2_header)H2_FIELD("grpc-status", digits, strlen(digits), true);
    if (call->text == NULL)
        return 1;
    headers[1] = (struct h2_header)H2_FIELD("grpc-message", call->text, call->text_size, false);
    return 2;
}

/* The headers before a body. What encodings are taken is said only where one was refused. */
static void call_answer(struct grpc_call *call)
{
    static const struct h2_header headers[] = {
        H2_HEADER(":status", "200"),
        H2_HEADER("content-type", "application/grpc"),
    };

    if (call->answered)
        return;
    call->answered = true;
    call->stream.trailers = true;
    if (h2_respond(&call->stream, headers, sizeof(headers) / sizeof(*headers), true) < 0)
        h2_reset(&call->stream, H2_INTERNAL_ERROR);
}

/* A call of one question cannot cost much. Within an input nothing could be sent yet: what waited
 * before it was not taken, what it asks for beside that may well be. */
static bool replies_are_too_many(struct grpc_call *call)
{
    struct grpc_server *server = server_of(call);
    uint64_t most = grpc_call_worker(call)->limits.replies_bytes;

    if (server->replies_input != server->h2.inputs) {
        server->replies_input = server->h2.inputs;
        server->replies_before = server->replies_bytes;
    }
    return call->method->streams_request &&
           (server->replies_before >= most || server->replies_bytes >= most * GRPC_REPLIES_AT_ONCE);
}

uint8_t *grpc_call_reply(struct grpc_call *call, size_t size)
{
    size_t whole = GRPC_PREFIX_BYTES + size;

    if (replies_are_too_many(call)) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED,
                         "answers of %llu bytes wait to be taken (--replies-max %u)",
                         (unsigned long long)server_of(call)->replies_bytes,
                         grpc_call_worker(call)->limits.replies_bytes);
        return NULL;
    }
    struct grpc_chunk *chunk = pool_take(call_pool(call), sizeof(*chunk) + whole);
    if (chunk == NULL) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the answer");
        return NULL;
    }
    chunk->next = NULL;
    chunk->size = whole;
    if (call->chunks_last != NULL)
        call->chunks_last->next = chunk;
    else
        call->chunks = chunk;
    call->chunks_last = chunk;
    server_of(call)->replies_bytes += whole;
    call_answer(call);
    h2_body_add(&call->stream, whole);
    return grpc_put_prefix(chunk->bytes, (uint32_t)size);
}

void grpc_call_stream(struct grpc_call *call, uint64_t bytes)
{
    call_answer(call);
    h2_body_add(&call->stream, bytes);
}

/* Trailers-only: the status in the headers of an answer without a body. */
static void call_refuse(struct grpc_call *call)
{
    struct h2_header headers[H2_HEADERS_MOST] = {
        H2_HEADER(":status", "200"),
        H2_HEADER("content-type", "application/grpc"),
        H2_HEADER("grpc-accept-encoding", "identity"),
    };
    unsigned count = 3 + put_status(call, headers + 3);

    if (h2_respond(&call->stream, headers, count, false) < 0)
        h2_reset(&call->stream, H2_INTERNAL_ERROR);
}

void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *format, ...)
{
    char text[GRPC_TEXT_MOST];
    va_list arguments;

    if (call->finished)
        return;
    call->finished = true;
    call->status = status;
    if (status != GRPC_OK)
        call_count(call, GRPC_FAILED);
    if (format != NULL) {
        va_start(arguments, format);
        vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        size_t room = strlen(text) * 3;
        call->text = pool_take(call_pool(call), room);
        if (call->text != NULL)
            call->text_size = grpc_message_encode(text, (uint8_t *)call->text, room);
    }
    if (call->answered)
        h2_body_end(&call->stream);
    else
        call_refuse(call);
}

/* Whoever asks for something else than gRPC gets plain HTTP's answer. */
static void call_refuse_http(struct grpc_call *call, const char *status)
{
    const struct h2_header header = H2_FIELD(":status", status, strlen(status), true);

    call->finished = true;
    call_count(call, GRPC_FAILED);
    if (h2_respond(&call->stream, &header, 1, false) < 0)
        h2_reset(&call->stream, H2_INTERNAL_ERROR);
}

/* --- requests --- */

static struct h2_stream *server_begin(struct h2 *h2)
{
    struct grpc_call *call = pool_take_zeroed(&h2->worker->pool, 1, sizeof(*call));

    if (call == NULL)
        return NULL;
    h2_stream_begin(h2, &call->stream);
    call_count(call, GRPC_CALLS);
    return &call->stream;
}

static void call_path(struct grpc_call *call, const uint8_t *value, size_t size)
{
    const struct grpc_method *const *methods = grpc_call_worker(call)->methods;
    size_t fits = size < GRPC_PATH_MOST ? size : GRPC_PATH_MOST;

    memcpy(call->path, value, fits); /* which is zeroed, and has room for one byte more */
    for (; *methods != NULL && call->method == NULL; methods++)
        if (strcmp((*methods)->path, call->path) == 0)
            call->method = *methods;
}

static void server_header(struct h2_stream *stream, const uint8_t *name, size_t name_size,
                          const uint8_t *value, size_t value_size)
{
    struct grpc_call *call = call_of(stream);

    if (stream->in_trailers)
        return;
    if (text_is(name, name_size, ":path"))
        call_path(call, value, value_size);
    else if (text_is(name, name_size, ":method"))
        call->post = text_is(value, value_size, "POST");
    else if (text_is(name, name_size, "content-type"))
        call->grpc = grpc_is_content_type(value, value_size);
    else if (text_is(name, name_size, "grpc-encoding"))
        call->encoded = !text_is(value, value_size, "identity");
    else if (text_is(name, name_size, "grpc-timeout"))
        call->bad_timeout = !grpc_timeout_parse(value, value_size, &call->timeout_ns);
}

static void call_time(struct grpc_call *call)
{
    struct grpc_server *server = server_of(call);

    call->timed_next = server->timed;
    if (server->timed != NULL)
        server->timed->timed_previous = call;
    server->timed = call;
    /* How late it is, tick() tells. */
    server->h2.wants_time = true;
}

static void server_headers(struct h2_stream *stream)
{
    struct grpc_call *call = call_of(stream);

    if (stream->in_trailers)
        return;
    if (stream->oversized)
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "headers larger than %u bytes",
                         stream->h2->worker->options.header_bytes);
    else if (!call->post)
        call_refuse_http(call, "405");
    else if (!call->grpc)
        call_refuse_http(call, "415");
    else if (call->bad_timeout)
        grpc_call_finish(call, GRPC_INTERNAL, "grpc-timeout is no time");
    else if (call->method == NULL)
        grpc_call_finish(call, GRPC_UNIMPLEMENTED, "there is no %s here", call->path);
    else if (call->timeout_ns > 0)
        call_time(call);
    if (call->method != NULL && call->method->streams_request)
        h2_stream_unawait(stream);
}

static int call_message(void *context, bool compressed, uint32_t size)
{
    struct grpc_call *call = context;
    uint32_t most = grpc_call_worker(call)->limits.message_bytes;

    if (compressed && call->encoded)
        grpc_call_finish(call, GRPC_UNIMPLEMENTED, "messages must not be compressed");
    else if (compressed)
        grpc_call_finish(call, GRPC_INTERNAL, "a compressed message, and no grpc-encoding");
    else if (size > most)
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED,
                         "a message of %u bytes: raise --request-max (%u)", size, most);
    else if (++call->messages > 1 && !call->method->streams_request)
        grpc_call_finish(call, GRPC_INTERNAL, "more than one message");
    if (call->finished)
        return -ECANCELED;
    gather_begin(&call->message, size);
    return 0;
}

static int call_data(void *context, const uint8_t *data, size_t size)
{
    struct grpc_call *call = context;

    if (gather_add(&call->message, call_pool(call), data, size) == 0)
        return 0;
    grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "no memory for a message");
    return -ENOMEM;
}

static int call_end(void *context)
{
    struct grpc_call *call = context;

    if (!call->method->streams_request)
        return 0; /* whether it is the only one, its stream's end will tell */
    call->method->message(call, gather_bytes(&call->message), call->message.size);
    return call->finished ? -ECANCELED : 0;
}

static const struct grpc_reader_events reader_events = {call_message, call_data, call_end};

static void server_data(struct h2_stream *stream, const uint8_t *data, size_t size)
{
    struct grpc_call *call = call_of(stream);

    if (call->finished)
        return;
    if (grpc_reader_read(&call->reader, &reader_events, call, data, size) == -EPROTO)
        grpc_call_finish(call, GRPC_INTERNAL, "a message that does not begin as one");
}

static void server_ended(struct h2_stream *stream)
{
    struct grpc_call *call = call_of(stream);

    if (call->finished)
        return;
    if (grpc_reader_is_inside(&call->reader))
        grpc_call_finish(call, GRPC_INTERNAL, "a message was cut short");
    else if (!call->method->streams_request && call->messages == 0)
        grpc_call_finish(call, GRPC_INTERNAL, "no message came");
    else if (!call->method->streams_request)
        call->method->message(call, gather_bytes(&call->message), call->message.size);
    else
        grpc_call_finish(call, GRPC_OK, NULL);
    /* Sending the answer may take long. */
    gather_free(&call->message, call_pool(call));
}

static void server_piece(struct h2_stream *stream, struct h2_piece *piece)
{
    struct grpc_call *call = call_of(stream);
    struct grpc_chunk *chunk = call->chunks;

    if (chunk == NULL) {
        call->method->piece(call, piece);
        return;
    }
    /* What was its predecessor has been copied: chunks do not stay. */
    if (chunk->size == 0) {
        call->chunks = chunk->next;
        pool_give(call_pool(call), chunk);
        server_piece(stream, piece);
        return;
    }
    *piece = (struct h2_piece){.data = chunk->bytes, .size = chunk->size};
    server_of(call)->replies_bytes -= chunk->size;
    chunk->size = 0;
}

static void server_trailers(struct h2_stream *stream)
{
    struct h2_header headers[2];
    struct grpc_call *call = call_of(stream);

    if (h2_trailers(stream, headers, put_status(call, headers)) < 0)
        h2_reset(stream, H2_INTERNAL_ERROR);
}

static void call_untime(struct grpc_call *call)
{
    struct grpc_server *server = server_of(call);

    if (call->timed_previous != NULL)
        call->timed_previous->timed_next = call->timed_next;
    else if (server->timed == call)
        server->timed = call->timed_next;
    if (call->timed_next != NULL)
        call->timed_next->timed_previous = call->timed_previous;
}

static void server_closed(struct h2_stream *stream, uint32_t code)
{
    struct grpc_call *call = call_of(stream);
    struct pool *pool = call_pool(call);

    if (code != H2_NO_ERROR && !(call->finished && call->stream.body_left == 0))
        call_count(call, GRPC_GONE);
    call_untime(call);
    if (call->method != NULL && call->method->closed != NULL)
        call->method->closed(call);
    while (call->chunks != NULL) {
        struct grpc_chunk *chunk = call->chunks;
        call->chunks = chunk->next;
        server_of(call)->replies_bytes -= chunk->size;
        pool_give(pool, chunk);
    }
    gather_free(&call->message, pool);
    pool_give(pool, call->text);
    pool_give(pool, call);
}

static const struct h2_events server_events = {
    .begin = server_begin,
    .header = server_header,
    .headers = server_headers,
    .data = server_data,
    .ended = server_ended,
    .piece = server_piece,
    .trailers = server_trailers,
    .closed = server_closed,
};

/* --- connections --- */

int grpc_worker_open(struct grpc_worker *worker, const struct h2_options *options,
                     const struct grpc_limits *limits, const struct grpc_method *const *methods,
                     struct meter *meter)
{
    worker->methods = methods;
    worker->limits = *limits;
    return h2_worker_open(&worker->h2, options, &server_events, meter);
}

void grpc_worker_close(struct grpc_worker *worker)
{
    h2_worker_close(&worker->h2);
}

void grpc_server_open(struct grpc_server *server, struct grpc_worker *worker)
{
    *server = (struct grpc_server){0};
    h2_open(&server->h2, &worker->h2);
}

void grpc_server_reset(struct grpc_server *server)
{
    h2_end(&server->h2);
    server->timed = NULL;
    server->replies_bytes = server->replies_before = server->replies_input = 0;
}

static int server_input(void *state, struct buf *buf)
{
    struct grpc_server *server = state;
    return h2_input(&server->h2, buf->data, buf->size);
}

static int server_output(void *state, struct proto_output *out)
{
    struct grpc_server *server = state;
    return h2_output(&server->h2, out);
}

static bool server_sent(void *state, uint64_t cookie, unsigned what)
{
    struct grpc_server *server = state;
    return h2_sent(&server->h2, cookie, what);
}

/* Out of time: a call that has not been answered gets the status, another one is cut off. */
static void call_expire(struct grpc_call *call)
{
    call_count(call, GRPC_DEADLINES);
    if (!call->answered)
        grpc_call_finish(call, GRPC_DEADLINE_EXCEEDED,
                         "the deadline that the call brought is over");
    else
        h2_reset(&call->stream, H2_CANCEL);
}

static int server_tick(void *state, uint64_t now_ns, uint64_t *next_ns)
{
    struct grpc_server *server = state;
    struct grpc_call *next;

    int r = h2_tick(&server->h2, now_ns, next_ns);
    for (struct grpc_call *call = server->timed; call != NULL && r >= 0; call = next) {
        next = call->timed_next;
        if (call->deadline_ns == 0 &&
            __builtin_add_overflow(now_ns, call->timeout_ns, &call->deadline_ns))
            call->deadline_ns = PROTO_NEVER;
        if (now_ns >= call->deadline_ns) {
            call_untime(call);
            call->timed_next = call->timed_previous = NULL;
            call_expire(call);
        } else if (call->deadline_ns < *next_ns) {
            *next_ns = call->deadline_ns;
        }
    }
    return r;
}

static int server_drain(void *state)
{
    struct grpc_server *server = state;
    struct h2_stream *next;

    int r = h2_drain(&server->h2);
    for (struct h2_stream *stream = server->h2.streams; stream != NULL && r >= 0; stream = next) {
        struct grpc_call *call = call_of(stream);
        next = stream->next;
        if (call->method != NULL && call->method->drain != NULL && !call->finished)
            call->method->drain(call);
    }
    return r;
}

static bool server_busy(const void *state)
{
    const struct grpc_server *server = state;
    return server->h2.streams_count > 0;
}

const struct proto_ops grpc_server_proto = {
    .name = "grpc server",
    .input = server_input,
    .output = server_output,
    .sent = server_sent,
    .tick = server_tick,
    .drain = server_drain,
    .busy = server_busy,
};
