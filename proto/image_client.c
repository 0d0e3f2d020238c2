/* See image_client.h. */
#include "proto/image_client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/gather.h"
#include "core/text.h"
#include "proto/allocator.h"
#include "proto/image_flat.pb-c.h"
#include "proto/image_service.pb-c.h"

struct image_call {
    struct h2_stream stream; /* first */
    struct image_client *client;
    struct image_call *next; /* while it waits */
    unsigned slot;
    enum { CALL_METADATA, CALL_LIST, CALL_STREAM } method;
    bool before; /* asked for by nobody: what must be known before the first op */
    /* The request. */
    const uint8_t *request;
    size_t request_size;
    /* The answer. */
    unsigned http_status, status;
    bool has_status, grpc, began; /* grpc: its content-type says so */
    struct grpc_reader reader;
    struct image_reader image;
    struct gather message; /* of an answer that is taken as a whole */
    unsigned messages;
    uint64_t content_bytes;
    bool cancelled;             /* by whom it was asked for */
    const char *failure;        /* kind */
    char text[IMAGE_TEXT_MOST]; /* what went wrong, or grpc-message */
};

static const char *const call_names[] = {
    [CALL_METADATA] = "ServiceMetadata",
    [CALL_LIST] = "ListImages",
    [CALL_STREAM] = "StreamImages",
};
static const char *const call_paths[] = {
    [CALL_METADATA] = IMAGE_PATH("ServiceMetadata"),
    [CALL_LIST] = IMAGE_PATH("ListImages"),
    [CALL_STREAM] = IMAGE_PATH("StreamImages"),
};

static struct image_call *call_of(struct h2_stream *stream)
{
    return (struct image_call *)stream;
}

static struct image_client_worker *worker_of(const struct image_client *client)
{
    return (struct image_client_worker *)client->h2.worker;
}

/* The first thing that goes wrong is what the op failed for. */
__attribute__((format(printf, 3, 4))) static int
call_fails(struct image_call *call, const char *kind, const char *format, ...)
{
    va_list arguments;

    if (call->failure != NULL)
        return -ECANCELED;
    call->failure = kind;
    va_start(arguments, format);
    vsnprintf(call->text, sizeof(call->text), format, arguments);
    va_end(arguments);
    h2_reset(&call->stream, H2_CANCEL);
    return -ECANCELED;
}

/* --- requests --- */

static void call_request(struct image_call *call)
{
    struct image_client_worker *worker = worker_of(call->client);

    switch (call->method) {
    case CALL_METADATA:
        call->request = worker->metadata_request;
        call->request_size = worker->metadata_request_size;
        break;
    case CALL_LIST:
        call->request = worker->list_request;
        call->request_size = worker->list_request_size;
        break;
    case CALL_STREAM:
        call->request = worker->stream_request;
        call->request_size = worker->stream_request_size;
        break;
    }
}

static void call_begin(struct image_call *call)
{
    struct h2_header headers[] = {
        H2_HEADER(":method", "POST"),   H2_HEADER(":scheme", "http"),
        H2_HEADER(":path", ""),         H2_HEADER(":authority", ""),
        H2_HEADER("te", "trailers"),    H2_HEADER("content-type", "application/grpc"),
        H2_HEADER("user-agent", "lab"),
    };
    struct image_client *client = call->client;

    headers[2].value = call_paths[call->method];
    headers[2].value_size = strlen(call_paths[call->method]);
    headers[3].value = client->authority;
    headers[3].value_size = strlen(client->authority);
    call->stream = (struct h2_stream){.body_ends = true};
    call_request(call);
    call->stream.body_left = call->request_size;
    call->http_status = call->status = 0;
    call->has_status = call->grpc = call->began = false;
    grpc_reader_begin(&call->reader);
    call->messages = 0;
    call->content_bytes = 0;
    call->failure = NULL;
    call->cancelled = false;
    call->text[0] = '\0';
    int r = h2_request(&client->h2, &call->stream, headers, sizeof(headers) / sizeof(*headers));
    /* The connection is used up, or its other end goes away: what it holds fails with it. */
    if (r < 0 && client->trouble == 0)
        client->trouble = r == -EPIPE ? ESHUTDOWN : -r;
}

static void client_piece(struct h2_stream *stream, struct h2_piece *piece)
{
    struct image_call *call = call_of(stream);
    *piece = (struct h2_piece){.data = call->request, .size = call->request_size, .stays = true};
}

/* The server's images are known: what waited for that may begin. */
static void client_goes_on(struct image_client *client)
{
    while (client->waiting != NULL) {
        struct image_call *call = client->waiting;
        client->waiting = call->next;
        call_begin(call);
    }
}

static void client_asks_before(struct image_client *client, int method)
{
    struct image_call *call = &client->calls[client->depth];

    client->preparing = true;
    call->method = method;
    call->before = true;
    call_begin(call);
}

/* What has to be known first is known, or is asked for. */
static void client_prepares(struct image_client *client)
{
    const struct image_client_worker *worker = worker_of(client);

    if (client->preparing)
        return;
    if (worker->listed)
        client_goes_on(client);
    else
        client_asks_before(client,
                           worker->config.contract == IMAGE_FLAT ? CALL_METADATA : CALL_LIST);
}

/* What has to be known first could not be had: no op that waited for it can begin. */
static void client_cannot(struct image_client *client, const struct image_call *why,
                          const char *kind)
{
    const struct image_client_events *events = worker_of(client)->events;
    struct image_call *call = client->waiting, *next;
    char text[IMAGE_TEXT_MOST + 80];

    snprintf(text, sizeof(text), "before the first op, %s: %s%s", call_names[why->method],
             why->text, why->status == GRPC_UNIMPLEMENTED ? " (is --contract right?)" : "");
    client->waiting = client->waiting_last = NULL;
    client->failing = true;
    for (; call != NULL; call = next) {
        next = call->next;
        events->failed(client->context, call->slot, kind, text);
    }
    client->failing = false;
    if (client->waiting != NULL && client->h2.session != NULL) /* asked again, from in there */
        client_prepares(client);
}

void image_client_ask(struct image_client *client, unsigned slot)
{
    struct image_client_worker *worker = worker_of(client);
    struct image_call *call = &client->calls[slot];

    call->method = worker->config.list ? CALL_LIST : CALL_STREAM;
    if (worker->listed && client->h2.session != NULL && client->waiting == NULL) {
        call_begin(call);
        return;
    }
    call->next = NULL;
    if (client->waiting == NULL)
        client->waiting = call;
    else
        client->waiting_last->next = call;
    client->waiting_last = call;
    if (client->h2.session != NULL && !client->failing)
        client_prepares(client);
}

bool image_client_cancel(struct image_client *client, unsigned slot, const char *kind,
                         const char *text)
{
    struct image_call *call = &client->calls[slot];

    if (call->stream.id == 0 || call->cancelled)
        return false;
    call->cancelled = true;
    call_fails(call, kind, "%s", text); /* unless it has failed, and cannot say so yet */
    return true;
}

/* --- what the server has --- */

static void worker_forget(struct image_client_worker *worker)
{
    for (unsigned i = 0; i < worker->known_count; i++)
        free(worker->known[i].name);
    free(worker->known);
    free(worker->list);
    worker->known = NULL;
    worker->list = NULL;
    worker->known_count = 0;
}

static void known_expect(struct image_known *known, bool learn)
{
    for (unsigned i = 0; i < pictures_count && !learn; i++) {
        if (strcmp(pictures[i].name, known->name) != 0)
            continue;
        known->size = pictures[i].size;
        known->digest = digest_of(pictures[i].bytes, pictures[i].size);
    }
}

/* The names of one op, as a message with its prefix. */
static int worker_make_request(struct image_client_worker *worker)
{
    ImageService__StreamImagesRequest request = IMAGE_SERVICE__STREAM_IMAGES_REQUEST__INIT;
    unsigned count = worker->config.images_per_op;
    char **names = calloc(count + 1, sizeof(*names));

    if (names == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++)
        names[i] = worker->known[i % worker->known_count].name;
    request.n_image_names = count;
    request.image_names = names;
    size_t size = image_service__stream_images_request__get_packed_size(&request);
    worker->stream_request = malloc(GRPC_PREFIX_BYTES + size);
    if (worker->stream_request != NULL) {
        image_service__stream_images_request__pack(
            &request, grpc_put_prefix(worker->stream_request, (uint32_t)size));
        worker->stream_request_size = GRPC_PREFIX_BYTES + size;
    }
    free(names);
    return worker->stream_request != NULL ? 0 : -ENOMEM;
}

static int worker_learn_list(struct image_client_worker *worker, const struct image_call *call,
                             char *const *names, size_t count)
{
    worker->known = calloc(count + 1, sizeof(*worker->known));
    worker->list = malloc((size_t)call->message.size + 1);
    if (worker->known == NULL || worker->list == NULL)
        return -ENOMEM;
    memcpy(worker->list, gather_bytes(&call->message), call->message.size);
    worker->list_size = call->message.size;
    for (; worker->known_count < count; worker->known_count++) {
        struct image_known *known = &worker->known[worker->known_count];
        known->name = strdup(names[worker->known_count]);
        if (known->name == NULL)
            return -ENOMEM;
        known_expect(known, worker->config.learn);
    }
    if (count == 0)
        return worker->config.list ? 0 : -ENODATA;
    return worker_make_request(worker);
}

/* A list of names: the first is learned, later ones are to be the same. */
static int list_check(struct image_call *call, char *const *names, size_t count)
{
    struct image_client_worker *worker = worker_of(call->client);

    if (!worker->listed) {
        int r = worker_learn_list(worker, call, names, count);
        worker->listed = r == 0;
        if (r < 0)
            worker_forget(worker);
        if (r == -ENODATA)
            return call_fails(call, "no-images", "the server has no images");
        if (r < 0)
            call->client->trouble = -r;
        return r;
    }
    bool same = count == worker->known_count;
    for (size_t i = 0; i < count && same; i++)
        same = strcmp(names[i], worker->known[i].name) == 0;
    return same ? 0 : call_fails(call, "wrong-content", "ListImages: another list than before");
}

static int call_list(struct image_call *call)
{
    struct image_client_worker *worker = worker_of(call->client);
    ProtobufCAllocator *allocator = &worker->allocator;

    /* The same bytes say the same. */
    const uint8_t *message = gather_bytes(&call->message);
    size_t size = call->message.size;
    if (worker->listed && size == worker->list_size && memcmp(message, worker->list, size) == 0)
        return 0;
    ImageService__ListImagesResponse *response =
        image_service__list_images_response__unpack(allocator, size, message);

    if (response == NULL)
        return call_fails(call, "malformed", "this is no ListImagesResponse");
    int r = list_check(call, response->image_names, response->n_image_names);
    image_service__list_images_response__free_unpacked(response, allocator);
    return r;
}

/* --- answers --- */

static int call_message(void *context, bool compressed, uint32_t size)
{
    struct image_call *call = context;
    struct image_client_worker *worker = worker_of(call->client);

    if (compressed)
        return call_fails(call, "compressed", "a compressed message, which was not asked for");
    if (size > worker->config.message_bytes)
        return call_fails(call, "too-large", "a message of %u bytes: raise --max-message (%u)",
                          size, worker->config.message_bytes);
    if (call->method == CALL_STREAM) {
        image_reader_begin(&call->image, worker->config.contract);
        call->image.sizes_only = worker->config.sizes_only;
        return 0;
    }
    if (call->messages > 0)
        return call_fails(call, "wrong-count", "more than one message in a unary answer");
    gather_begin(&call->message, size);
    return 0;
}

static int call_data(void *context, const uint8_t *data, size_t size)
{
    struct image_call *call = context;

    if (call->method == CALL_STREAM) {
        if (image_reader_data(&call->image, data, size) < 0)
            return call_fails(call, "malformed", "this is no image of the %s contract",
                              image_contracts[call->image.contract]);
        return 0;
    }
    return gather_add(&call->message, &worker_of(call->client)->h2.pool, data, size) == 0
               ? 0
               : call_fails(call, "no-memory", "no memory for a message");
}

/* Is it the image that was asked for, and as it should be? */
static int call_check_image(struct image_call *call)
{
    struct image_client_worker *worker = worker_of(call->client);
    const struct image_reader *image = &call->image;
    struct image_known *known = &worker->known[call->messages % worker->known_count];
    uint64_t digest = worker->config.sizes_only ? 0 : digest_end(&image->digest);

    if (call->messages >= worker->config.images_per_op)
        return call_fails(call, "wrong-count", "more images than were asked for");
    if (image->name_size != strlen(known->name) || strcmp(image->name, known->name) != 0)
        return call_fails(call, "wrong-content", "image '%.80s' came for '%.80s'%s", image->name,
                          known->name, image->name[0] == '\0' ? ": is --contract right?" : "");
    if (image->contract == IMAGE_NESTED && image->size_in_bytes != image->content_size)
        return call_fails(call, "wrong-content", "'%.80s' says %llu bytes and has %llu",
                          known->name, (unsigned long long)image->size_in_bytes,
                          (unsigned long long)image->content_size);
    if (known->size == 0) {
        known->size = image->content_size;
        known->digest = digest;
    }
    if (image->content_size != known->size ||
        (!worker->config.sizes_only && digest != known->digest))
        return call_fails(call, "wrong-content",
                          "'%.80s' is not what it should be (if that server has another picture "
                          "under that name: --images learn)",
                          known->name);
    return 0;
}

static int call_end(void *context)
{
    struct image_call *call = context;
    const struct image_client_events *events = worker_of(call->client)->events;

    if (call->method == CALL_LIST) {
        call->messages++;
        return call_list(call);
    }
    if (call->method == CALL_METADATA) {
        call->messages++;
        return 0;
    }
    if (image_reader_end(&call->image) < 0)
        return call_fails(call, "malformed", "an image that ends within a field");
    int r = call_check_image(call);
    if (r < 0)
        return r;
    call->content_bytes += call->image.content_size;
    events->image(call->client->context, call->slot, call->messages, call->image.content_size);
    call->messages++;
    return 0;
}

static const struct grpc_reader_events reader_events = {call_message, call_data, call_end};

/* Whether what still comes is of no use. (When the other end goes away, what has begun ends well.)
 */
static bool client_is_lost(const struct image_client *client)
{
    return client->trouble != 0 && client->trouble != ESHUTDOWN;
}

static void client_data(struct h2_stream *stream, const uint8_t *data, size_t size)
{
    struct image_call *call = call_of(stream);
    const struct image_client_events *events = worker_of(call->client)->events;

    if (call->failure != NULL || client_is_lost(call->client) || call->http_status != 200 ||
        !call->grpc)
        return;
    if (!call->began && !call->before)
        events->first(call->client->context, call->slot);
    call->began = true;
    if (!call->before)
        events->progress(call->client->context, size);
    if (grpc_reader_read(&call->reader, &reader_events, call, data, size) == -EPROTO)
        call_fails(call, "malformed", "a message that does not begin as one");
}

/* The first one counts, whatever it says. */
static void call_status(struct image_call *call, const uint8_t *value, size_t value_size)
{
    if (call->has_status)
        return;
    call->has_status = true;
    if (grpc_status_parse(value, value_size, &call->status))
        return;
    call->status = GRPC_UNKNOWN;
    if (call->failure == NULL)
        snprintf(call->text, sizeof(call->text), "a grpc-status that is no number");
}

static void client_header(struct h2_stream *stream, const uint8_t *name, size_t name_size,
                          const uint8_t *value, size_t value_size)
{
    struct image_call *call = call_of(stream);

    if (text_is(name, name_size, ":status"))
        grpc_status_parse(value, value_size, &call->http_status);
    else if (text_is(name, name_size, "content-type") && !stream->in_trailers)
        call->grpc = grpc_is_content_type(value, value_size);
    else if (text_is(name, name_size, "grpc-status"))
        call_status(call, value, value_size);
    else if (text_is(name, name_size, "grpc-message") && call->failure == NULL)
        grpc_message_decode(value, value_size, call->text, sizeof(call->text));
}

/* A status is said in the block that ends the answer, and nowhere else. */
static void client_headers(struct h2_stream *stream)
{
    struct image_call *call = call_of(stream);

    if (stream->ended)
        return;
    call->has_status = false;
    if (call->failure == NULL)
        call->text[0] = '\0';
}

static void client_ignores(struct h2_stream *stream)
{
}

/* Why a stream ended before its answer did. */
static const char *call_was_reset(struct image_call *call, uint32_t code)
{
    const struct h2 *h2 = &call->client->h2;

    if (call->stream.was_reset) {
        snprintf(call->text, sizeof(call->text), "the server reset the stream, code %u", code);
        return h2_error_kind(code);
    }
    if (!h2->goaway || code != H2_REFUSED_STREAM) {
        snprintf(call->text, sizeof(call->text),
                 "the answer broke the rules of HTTP/2: it was reset with code %u", code);
        return "protocol";
    }
    snprintf(call->text, sizeof(call->text), "the server goes away, code %u%s%s", h2->goaway_code,
             h2->goaway_text[0] != '\0' ? ": " : "", h2->goaway_text);
    return "goaway";
}

/* What the answer comes to: a kind of failure, or NULL. */
static const char *call_verdict(struct image_call *call, uint32_t code)
{
    struct image_client_worker *worker = worker_of(call->client);
    unsigned wanted = call->method == CALL_STREAM ? worker->config.images_per_op : 1;

    if (call->failure != NULL)
        return call->failure;
    if (code != H2_NO_ERROR)
        return call_was_reset(call, code);
    if (!call->has_status && call->http_status != 200) {
        snprintf(call->text, sizeof(call->text), "HTTP status %u: no gRPC server",
                 call->http_status);
        return "http-status";
    }
    if (!call->grpc) {
        snprintf(call->text, sizeof(call->text),
                 "the answer's content-type is not application/grpc: no gRPC server");
        return "content-type";
    }
    if (!call->has_status) {
        snprintf(call->text, sizeof(call->text), "the answer ended without grpc-status");
        return "no-status";
    }
    if (call->status != GRPC_OK)
        return grpc_status_kind(call->status);
    if (grpc_reader_is_inside(&call->reader)) {
        snprintf(call->text, sizeof(call->text), "the answer ended within a message");
        return "truncated";
    }
    if (call->messages != wanted) {
        snprintf(call->text, sizeof(call->text), "%u of %u messages came", call->messages, wanted);
        return "wrong-count";
    }
    return NULL;
}

static void client_closed(struct h2_stream *stream, uint32_t code)
{
    struct image_call *call = call_of(stream);
    struct image_client *client = call->client;
    struct image_client_worker *worker = worker_of(client);

    gather_free(&call->message, &worker->h2.pool);
    if (code == H2_GONE)
        return; /* who owns the connection knows what was under way */
    const char *kind = call_verdict(call, code);
    if (!call->before) {
        if (kind == NULL)
            worker->events->done(client->context, call->slot, call->content_bytes, stream->held_ns);
        else
            worker->events->failed(client->context, call->slot, kind, call->text);
    } else if (kind != NULL) {
        client->preparing = false;
        client_cannot(client, call, kind);
    } else if (call->method == CALL_METADATA) {
        client_asks_before(client, CALL_LIST);
    } else {
        client->preparing = false;
        client_goes_on(client);
    }
}

static const struct h2_events client_events = {
    .header = client_header,
    .headers = client_headers,
    .data = client_data,
    .ended = client_ignores,
    .piece = client_piece,
    .trailers = client_ignores,
    .closed = client_closed,
};

/* --- workers and connections --- */

/* Of a request that is an empty message, the prefix is all. */
static uint8_t *empty_request(size_t *size)
{
    uint8_t *request = malloc(GRPC_PREFIX_BYTES);

    if (request != NULL)
        grpc_put_prefix(request, 0);
    *size = GRPC_PREFIX_BYTES;
    return request;
}

int image_client_worker_open(struct image_client_worker *worker, const struct h2_options *options,
                             const struct image_client_config *config,
                             const struct image_client_events *events, struct meter *meter)
{
    *worker = (struct image_client_worker){
        .config = *config,
        .events = events,
        .allocator = allocator_of(&worker->h2.pool),
    };
    if (h2_worker_open(&worker->h2, options, &client_events, meter) < 0)
        return -ENOMEM;
    worker->list_request = empty_request(&worker->list_request_size);
    worker->metadata_request = empty_request(&worker->metadata_request_size);
    if (worker->list_request != NULL && worker->metadata_request != NULL)
        return 0;
    image_client_worker_close(worker);
    return -ENOMEM;
}

void image_client_worker_close(struct image_client_worker *worker)
{
    worker_forget(worker);
    free(worker->list_request);
    free(worker->stream_request);
    free(worker->metadata_request);
    h2_worker_close(&worker->h2);
}

int image_client_open(struct image_client *client, struct image_client_worker *worker,
                      void *context, const char *authority, unsigned depth)
{
    *client = (struct image_client){.context = context, .authority = authority, .depth = depth};
    h2_open(&client->h2, &worker->h2);
    client->calls = calloc(depth + 1, sizeof(*client->calls));
    if (client->calls == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i <= depth; i++) {
        client->calls[i].client = client;
        client->calls[i].slot = i;
    }
    return 0;
}

void image_client_reset(struct image_client *client)
{
    h2_end(&client->h2);
    client->waiting = client->waiting_last = NULL;
    client->preparing = client->failing = false;
    client->trouble = 0;
}

void image_client_close(struct image_client *client)
{
    if (client->h2.worker != NULL)
        image_client_reset(client);
    free(client->calls);
    client->calls = NULL;
}

/* What ends the connection: trouble, or that the other end goes away and nothing is under way. */
static int client_verdict(const struct image_client *client)
{
    if (client_is_lost(client) || (client->trouble != 0 && client->h2.streams_count == 0))
        return -client->trouble;
    return client->h2.goaway && client->h2.streams_count == 0 ? -ESHUTDOWN : 0;
}

static int client_input(void *state, struct buf *buf)
{
    struct image_client *client = state;

    int r = h2_input(&client->h2, buf->data, buf->size);
    int verdict = client_verdict(client);
    return verdict < 0 ? verdict : r;
}

static int client_output(void *state, struct proto_output *out)
{
    struct image_client *client = state;

    if (client->h2.session == NULL) {
        int r = h2_begin(&client->h2);
        if (r < 0)
            return r;
        client_prepares(client);
    }
    int r = client_verdict(client);
    if (r < 0)
        return r;
    /* A request that the other end would not hear any more ends here; what is left goes first. */
    r = h2_output(&client->h2, out);
    if (out->close && client->h2.deaf && client->trouble == 0)
        client->trouble = EPROTO; /* GOAWAY says so to the other end, and this to ours */
    if (r < 0 || client_verdict(client) == 0)
        return r;
    out->last = out->close = false;
    return r > 0 ? r : client_verdict(client);
}

static bool client_sent(void *state, uint64_t cookie, unsigned what)
{
    struct image_client *client = state;
    return h2_sent(&client->h2, cookie, what);
}

static int client_tick(void *state, uint64_t now_ns, uint64_t *next_ns)
{
    struct image_client *client = state;

    /* A tick before the first output: there is nothing to time yet. */
    return client->h2.session == NULL ? PROTO_OK : h2_tick(&client->h2, now_ns, next_ns);
}

const struct proto_ops image_client_proto = {
    .name = "image client",
    .input = client_input,
    .output = client_output,
    .sent = client_sent,
    .tick = client_tick,
};
