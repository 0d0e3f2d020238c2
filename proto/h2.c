/*
 * See h2.h: sessions, what comes in, what it may cost, and time. The sending side is h2_out.c.
 *
 * Limits are counted here whatever the library's version does by itself: packages differ in which
 * of the known floods (resets, PING, SETTINGS, CONTINUATION, empty frames) they stop.
 */
#include "proto/h2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/h2_internal.h"

#define H2_SLICE_BYTES    16384u /* a server looks so often whether the connection has been ended */
#define H2_SECOND_NS      1000000000ull
#define H2_WINDOW_DEFAULT 65535u
#define H2_BOMB           4u /* times header_bytes: no mistake any more */

/* Newer versions count them too, and return this. */
#define H2_TOO_MANY_CONTINUATIONS (-905)

/* What our PINGs carry, to know their answers by. */
static const uint8_t window_mark[8] = {'w', 'i', 'n', 'd', 'o', 'w'};
static const uint8_t drain_mark[8] = {'d', 'r', 'a', 'i', 'n'};

const char *h2_error_kind(uint32_t code)
{
    static const char *const kinds[] = {
        "rst-no-error",    "rst-protocol-error",    "rst-internal-error",
        "rst-flow",        "rst-settings-timeout",  "rst-stream-closed",
        "rst-frame-size",  "rst-refused",           "rst-cancel",
        "rst-compression", "rst-connect-error",     "rst-enhance-your-calm",
        "rst-security",    "rst-http-1-1-required",
    };
    return code < sizeof(kinds) / sizeof(*kinds) ? kinds[code] : "rst-other";
}

/* --- the end of a connection --- */

void h2_fail(struct h2 *h2, uint32_t code, enum h2_metric row)
{
    if (h2->deaf)
        return;
    h2->deaf = true;
    h2_count(h2, row, 1);
    nghttp2_session_terminate_session(h2->session, code);
}

static void count_reset(struct h2 *h2)
{
    h2_count(h2, H2_RESETS, 1);
    if (!h2->worker->options.server)
        return;
    if (h2->resets++ == 0 || h2->controls == 0)
        h2->wants_time = true;
    if (h2->resets > h2->worker->options.resets_per_s)
        h2_fail(h2, NGHTTP2_ENHANCE_YOUR_CALM, H2_CLOSED_RESETS);
}

void h2_count_control(struct h2 *h2)
{
    if (!h2->worker->options.server)
        return;
    if (h2->controls++ == 0)
        h2->wants_time = true;
    if (h2->controls > h2->worker->options.controls_per_s)
        h2_fail(h2, NGHTTP2_ENHANCE_YOUR_CALM, H2_CLOSED_CONTROLS);
}

/* What answers data that was sent is paid for by it. */
static void count_answer(struct h2 *h2)
{
    if (h2->credit > 0)
        h2->credit--;
    else
        h2_count_control(h2);
}

/* --- a window that grows --- */

static void window_set(struct h2 *h2, uint32_t bytes)
{
    nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, bytes};

    h2->window_bytes = bytes;
    meter_most(h2->worker->meter, H2_WINDOW_BYTES, bytes);
    nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, (int32_t)bytes);
    nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, &entry, 1);
}

/* The bytes between a PING and its answer are what the path holds: no clock is needed for that.
 * One PING a window at most. */
static void window_received(struct h2 *h2, size_t size)
{
    if (h2->window_bytes >= h2->worker->options.window_most)
        return;
    h2->measured_bytes += size;
    h2->unmeasured_bytes += size;
    if (h2->measuring || h2->unmeasured_bytes < h2->window_bytes / 4)
        return;
    /* What has just come was under way in this round trip too. */
    h2->measuring = true;
    h2->measured_bytes = size;
    h2->unmeasured_bytes = 0;
    nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, window_mark);
}

static void window_measured(struct h2 *h2)
{
    uint64_t most = h2->worker->options.window_most;
    uint64_t wanted = (uint64_t)h2->window_bytes * 2;

    if (!h2->measuring)
        return;
    h2->measuring = false;
    /* The window holds a round trip back when one brings as much as half of it. */
    if (h2->measured_bytes * 2 >= h2->window_bytes)
        window_set(h2, (uint32_t)(wanted < most ? wanted : most));
}

/* --- streams --- */

void h2_stream_begin(struct h2 *h2, struct h2_stream *stream)
{
    stream->h2 = h2;
    h2_held_begin(&stream->grants, h2->granted_bytes);
    stream->previous = NULL;
    stream->next = h2->streams;
    if (h2->streams != NULL)
        h2->streams->previous = stream;
    h2->streams = stream;
    h2->streams_count++;
    if (stream->body_left > 0)
        h2->bodies++;
    if (h2->worker->options.request_ns > 0) {
        stream->awaited = true;
        h2->awaited++;
        h2->awaited_newly = true;
    }
    h2_count(h2, H2_STREAMS, 1);
}

void h2_stream_unawait(struct h2_stream *stream)
{
    stream->h2->awaited -= stream->awaited;
    stream->awaited = false;
}

static void stream_over(struct h2_stream *stream, uint32_t code)
{
    struct h2 *h2 = stream->h2;

    if (stream->previous != NULL)
        stream->previous->next = stream->next;
    else
        h2->streams = stream->next;
    if (stream->next != NULL)
        stream->next->previous = stream->previous;
    h2->streams_count--;
    h2_held_over(stream);
    h2_stream_unawait(stream);
    if (stream->body_left > 0)
        h2->bodies--;
    if (h2->recent == stream)
        h2->recent = NULL;
    stream->id = 0;
    h2->worker->events->closed(stream, code);
}

struct h2_stream *h2_stream_look_up(struct h2 *h2, int32_t id)
{
    struct h2_stream *stream =
        id == 0 ? NULL : nghttp2_session_get_stream_user_data(h2->session, id);

    /* One that is over may still be the library's: it is not kept at hand. */
    if (stream != NULL && stream->id == id)
        h2->recent = stream;
    return stream;
}

/* --- nghttp2's callbacks, receiving --- */

/* RFC 9113, 6.9.1. Looked at here since the library takes a frame piece by piece, and opens the
 * window again in the middle of one. */
static void check_window(struct h2 *h2, struct h2_stream *stream, const nghttp2_frame_hd *hd)
{
    nghttp2_session *session = h2->session;
    int32_t id = hd->stream_id;

    if ((int64_t)hd->length > nghttp2_session_get_local_window_size(session))
        h2_fail(h2, NGHTTP2_FLOW_CONTROL_ERROR, H2_CLOSED_PROTOCOL);
    else if (stream != NULL &&
             (int64_t)hd->length > nghttp2_session_get_stream_local_window_size(session, id))
        h2_reset(stream, NGHTTP2_FLOW_CONTROL_ERROR);
}

static void begin_data(struct h2 *h2, const nghttp2_frame_hd *hd)
{
    struct h2_stream *stream = h2_stream_of(h2, hd->stream_id);

    check_window(h2, stream, hd);
    if (h2->worker->options.server)
        h2_numbers_data(h2, hd);
    else
        h2_held_arrives(h2, stream, hd->length);
}

/* RFC 9113, 6.9.2: the widest window must bear the change. Noted before, since the library resets
 * the streams that do not, and goes on. */
static void begin_settings_frame(struct h2 *h2)
{
    h2->send_window_first =
        nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);
    h2->send_window_most = 0;
    for (const struct h2_stream *stream = h2->streams; stream != NULL; stream = stream->next) {
        int32_t bytes = nghttp2_session_get_stream_remote_window_size(h2->session, stream->id);
        if (bytes > h2->send_window_most)
            h2->send_window_most = bytes;
    }
}

static void check_send_windows(struct h2 *h2, const nghttp2_settings *settings)
{
    for (size_t i = 0; i < settings->niv; i++) {
        int64_t grown = (int64_t)settings->iv[i].value - h2->send_window_first;
        if (settings->iv[i].settings_id == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE &&
            h2->send_window_most + grown > INT32_MAX)
            h2_fail(h2, NGHTTP2_FLOW_CONTROL_ERROR, H2_CLOSED_PROTOCOL);
    }
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    struct h2 *h2 = user;

    if (hd->type == NGHTTP2_CONTINUATION) {
        if (++h2->continuations >= h2->worker->options.continuations)
            h2_fail(h2, NGHTTP2_ENHANCE_YOUR_CALM, H2_CLOSED_HEADERS);
        if (hd->length == 0)
            h2_count_control(h2);
    } else if (hd->type == NGHTTP2_HEADERS) {
        h2->continuations = 0;
        h2_numbers_headers(h2, hd);
    } else if (hd->type == NGHTTP2_DATA) {
        begin_data(h2, hd);
    } else if (hd->type == NGHTTP2_SETTINGS && (hd->flags & NGHTTP2_FLAG_ACK) == 0) {
        begin_settings_frame(h2);
    } else if (hd->type == NGHTTP2_PRIORITY && hd->stream_id == 0) {
        h2_fail(h2, NGHTTP2_PROTOCOL_ERROR, H2_CLOSED_PROTOCOL);
    } else if (hd->type == NGHTTP2_PRIORITY) {
        h2_count_control(h2);
    }
    return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h2 = user;

    h2->header_bytes = 0;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (h2->deaf || h2->draining)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    struct h2_stream *stream = h2->worker->events->begin(h2);
    if (stream == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    stream->id = frame->hd.stream_id;
    h2->recent = stream;
    return nghttp2_session_set_stream_user_data(session, stream->id, stream) == 0
               ? 0
               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user)
{
    struct h2 *h2 = user;
    struct h2_stream *stream = h2_stream_of(h2, frame->hd.stream_id);
    uint32_t most = h2->worker->options.header_bytes;

    if (stream == NULL || frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    h2->header_bytes += (uint32_t)(name_size + value_size + 32);
    if (h2->header_bytes > most * H2_BOMB)
        h2_fail(h2, NGHTTP2_ENHANCE_YOUR_CALM, H2_CLOSED_HEADERS);
    /* The status is the first of a block: RFC 9113, 8.3. */
    if (!h2->worker->options.server && !stream->in_trailers && name_size == 7 &&
        memcmp(name, ":status", 7) == 0)
        stream->interim = value_size == 3 && value[0] == '1';
    if (stream->interim)
        return 0;
    if (h2->header_bytes > most)
        stream->oversized = true;
    else
        h2->worker->events->header(stream, name, name_size, value, value_size);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t size, void *user)
{
    struct h2 *h2 = user;
    struct h2_stream *stream = h2_stream_of(h2, stream_id);

    window_received(h2, size);
    if (stream != NULL && !h2->deaf)
        h2->worker->events->data(stream, data, size);
    return 0;
}

/* The other end has heard the notice: what it begins from now on comes too late. */
static void drain_finally(struct h2 *h2)
{
    if (!h2->noticed || h2->draining)
        return;
    h2->draining = true;
    nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(h2->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
}

static void received_settings(struct h2 *h2, const nghttp2_frame *frame)
{
    if (frame->hd.flags & NGHTTP2_FLAG_ACK)
        return;
    h2->greeted = true;
    h2_count_control(h2);
    check_send_windows(h2, &frame->settings);
}

static void received_ping(struct h2 *h2, const nghttp2_frame *frame)
{
    count_answer(h2); /* ours are few: whoever answers more PINGs than were sent floods, too */
    if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
        return;
    if (memcmp(frame->ping.opaque_data, drain_mark, sizeof(drain_mark)) == 0)
        drain_finally(h2);
    else
        window_measured(h2);
}

static void received_goaway(struct h2 *h2, const nghttp2_goaway *goaway)
{
    size_t size = 0;

    h2_count_control(h2); /* one is enough, or two */
    h2->goaway = true;
    h2->goaway_code = goaway->error_code;
    for (; size < goaway->opaque_data_len && size + 1 < sizeof(h2->goaway_text); size++) {
        uint8_t byte = goaway->opaque_data[size];
        h2->goaway_text[size] = byte >= 0x20 && byte <= 0x7e ? (char)byte : '?';
    }
    h2->goaway_text[size] = '\0';
}

static void received_reset(struct h2 *h2, int32_t id)
{
    struct h2_stream *stream = h2_stream_of(h2, id);

    if (stream != NULL)
        stream->was_reset = true;
    h2_numbers_reset(h2, id);
    count_reset(h2);
}

/* Nothing, or padding alone. */
static void received_data(struct h2 *h2, struct h2_stream *stream, const nghttp2_frame *frame)
{
    if (frame->hd.length == frame->data.padlen && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        h2_count_control(h2);
    if (!h2->worker->options.server)
        h2_held_arrived(h2, stream);
}

static void received_on_stream(struct h2 *h2, struct h2_stream *stream, const nghttp2_frame *frame)
{
    const struct h2_events *events = h2->worker->events;
    int32_t id = stream->id;

    if (stream->interim) {
        stream->interim = false;
        return;
    }
    stream->ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (stream->ended)
        h2_stream_unawait(stream);
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat != NGHTTP2_HCAT_PUSH_RESPONSE) {
        if (!stream->in_trailers)
            h2_held_headers(stream);
        events->headers(stream);
        stream->in_trailers = true;
    }
    if (stream->id == id && stream->ended)
        events->ended(stream);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h2 = user;
    struct h2_stream *stream;

    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS: received_settings(h2, frame); break;
    case NGHTTP2_PING: received_ping(h2, frame); break;
    case NGHTTP2_WINDOW_UPDATE: count_answer(h2); break;
    case NGHTTP2_RST_STREAM: received_reset(h2, frame->hd.stream_id); break;
    case NGHTTP2_GOAWAY: received_goaway(h2, &frame->goaway); break;
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        stream = h2_stream_of(h2, frame->hd.stream_id);
        if (frame->hd.type == NGHTTP2_DATA)
            received_data(h2, stream, frame);
        if (stream != NULL && !h2->deaf)
            received_on_stream(h2, stream, frame);
        break;
    default: break;
    }
    return 0;
}

/* A stream that the other end makes us reset costs as much as one that it resets itself, and more
 * where it does not take what we have to say of it. */
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int code,
                            void *user)
{
    struct h2 *h2 = user;

    count_reset(h2);
    if (h2->worker->options.server && ++h2->resets_waiting > h2->worker->options.resets_per_s)
        h2_fail(h2, NGHTTP2_ENHANCE_YOUR_CALM, H2_CLOSED_RESETS);
    return 0;
}

/* An answer is out, and the other end still sends: it need not (RFC 9113, 8.1). Not before, since
 * a reset takes what is queued of its stream with it. */
static void server_sent(struct h2 *h2, const nghttp2_frame *frame)
{
    /* The library sends a PING before all else that waits: not before the notice is out. */
    if (frame->hd.type == NGHTTP2_GOAWAY && h2->noticed && !h2->draining && !h2->deaf)
        nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, drain_mark);
    if (frame->hd.type == NGHTTP2_RST_STREAM && h2->resets_waiting > 0)
        h2->resets_waiting--;
    if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return;
    struct h2_stream *stream = h2_stream_of(h2, frame->hd.stream_id);
    if (stream != NULL && !stream->ended)
        h2_reset(stream, H2_NO_ERROR);
}

/* What the other end is granted. */
static void client_sent(struct h2 *h2, const nghttp2_frame *frame)
{
    if (frame->hd.type == NGHTTP2_WINDOW_UPDATE) {
        struct h2_stream *stream = h2_stream_of(h2, frame->hd.stream_id);
        if (stream != NULL || frame->hd.stream_id == 0)
            h2_held_granted(h2, stream, (uint32_t)frame->window_update.window_size_increment);
    } else if (frame->hd.type == NGHTTP2_SETTINGS) {
        for (size_t i = 0; i < frame->settings.niv; i++)
            if (frame->settings.iv[i].settings_id == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE)
                h2_held_settings(h2, frame->settings.iv[i].value);
    }
}

static int on_sent_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h2 = user;

    if (h2->worker->options.server)
        server_sent(h2, frame);
    else
        client_sent(h2, frame);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user)
{
    struct h2_stream *stream = h2_stream_of(user, stream_id);

    if (stream != NULL && stream->id == stream_id)
        stream_over(stream, code);
    return 0;
}

/* A request that the library would not send, since the other end goes away. Versions differ in
 * whether they say of its stream that it is closed. */
static int on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int code, void *user)
{
    struct h2 *h2 = user;
    struct h2_stream *stream = h2->streams;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    while (stream != NULL && stream->id != frame->hd.stream_id)
        stream = stream->next;
    if (stream != NULL)
        stream_over(stream, H2_REFUSED_STREAM);
    return 0;
}

/* --- workers --- */

static void *mem_take(size_t size, void *user)
{
    return pool_take(user, size);
}

static void mem_give(void *memory, void *user)
{
    pool_give(user, memory);
}

static void *mem_take_zeroed(size_t count, size_t size, void *user)
{
    return pool_take_zeroed(user, count, size);
}

static void *mem_resize(void *memory, size_t size, void *user)
{
    return pool_resize(user, memory, size);
}

int h2_worker_open(struct h2_worker *worker, const struct h2_options *options,
                   const struct h2_events *events, struct meter *meter)
{
    *worker = (struct h2_worker){.options = *options, .events = events, .meter = meter};
    if (nghttp2_session_callbacks_new(&worker->callbacks) != 0 ||
        nghttp2_option_new(&worker->option) != 0) {
        h2_worker_close(worker);
        return -ENOMEM;
    }
    nghttp2_session_callbacks *calls = worker->callbacks;
    nghttp2_session_callbacks_set_on_begin_frame_callback(calls, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(calls, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(calls, on_invalid_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(calls, on_sent_frame);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(calls, on_not_sent);
    nghttp2_session_callbacks_set_send_data_callback(calls, h2_send_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback(calls, h2_data_length);
    nghttp2_option_set_no_closed_streams(worker->option, 1);
    /* The limits are ours; what the library has of its own must not come before them. */
#if HAVE_NGHTTP2_MAX_CONTINUATIONS
    nghttp2_option_set_max_continuations(worker->option, options->continuations);
#endif
#if HAVE_NGHTTP2_RESET_RATE
    nghttp2_option_set_stream_reset_rate_limit(worker->option, UINT64_MAX / 2, UINT64_MAX / 2);
#endif
    return 0;
}

void h2_worker_close(struct h2_worker *worker)
{
    while (worker->blocks != NULL) {
        struct h2_block *block = worker->blocks;
        worker->blocks = block->next;
        pool_give(&worker->pool, block);
    }
    nghttp2_session_callbacks_del(worker->callbacks);
    nghttp2_option_del(worker->option);
    pool_close(&worker->pool);
}

/* --- connections --- */

void h2_open(struct h2 *h2, struct h2_worker *worker)
{
    *h2 = (struct h2){.worker = worker};
}

void h2_end(struct h2 *h2)
{
    struct h2_worker *worker = h2->worker;

    while (h2->streams != NULL)
        stream_over(h2->streams, H2_GONE);
    nghttp2_session_del(h2->session);
    h2_open(h2, worker);
}

static int begin_settings(struct h2 *h2)
{
    const struct h2_options *options = &h2->worker->options;
    nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options->window_bytes},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, options->frame_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, options->header_bytes},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
        {options->server ? NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS : NGHTTP2_SETTINGS_ENABLE_PUSH,
         options->server ? options->streams_max : 0},
    };

    if (entries[1].value < H2_FRAME_LEAST)
        entries[1].value = H2_FRAME_LEAST;
    h2->window_bytes = h2->granted_bytes = options->window_bytes;
    h2_held_begin(&h2->grants, H2_WINDOW_DEFAULT);
    meter_most(h2->worker->meter, H2_WINDOW_BYTES, options->window_bytes);
    return nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, entries,
                                   sizeof(entries) / sizeof(*entries)) == 0 &&
                   nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
                                                         (int32_t)options->window_bytes) == 0
               ? 0
               : -ENOMEM;
}

int h2_begin(struct h2 *h2)
{
    struct h2_worker *worker = h2->worker;
    nghttp2_mem mem = {&worker->pool, mem_take, mem_give, mem_take_zeroed, mem_resize};

    if (h2->session != NULL)
        return 0;
    int r = worker->options.server ? nghttp2_session_server_new3(&h2->session, worker->callbacks,
                                                                 h2, worker->option, &mem)
                                   : nghttp2_session_client_new3(&h2->session, worker->callbacks,
                                                                 h2, worker->option, &mem);
    if (r != 0)
        return -ENOMEM;
    h2_numbers_begin(h2);
    return begin_settings(h2);
}

int h2_input(struct h2 *h2, const uint8_t *data, size_t size)
{
    bool server = h2->worker->options.server;
    size_t slice = server ? H2_SLICE_BYTES : size;

    int r = h2_begin(h2);
    if (r < 0)
        return r;
    h2->heard = true;
    h2->inputs++;
    while (size > 0 && !h2->deaf) {
        size_t piece = size < slice ? size : slice;
        if (server)
            h2_numbers_input(h2, data, piece);
        ssize_t taken = nghttp2_session_mem_recv(h2->session, data, piece);
        if (taken < 0) {
            bool headers = taken == H2_TOO_MANY_CONTINUATIONS;
            if (taken == NGHTTP2_ERR_BAD_CLIENT_MAGIC) {
                h2_fail(h2, NGHTTP2_PROTOCOL_ERROR, H2_CLOSED_PROTOCOL);
                return PROTO_OK; /* whoever speaks something else is to hear why it ends */
            }
            if (!h2->deaf)
                h2_count(h2, headers ? H2_CLOSED_HEADERS : H2_CLOSED_PROTOCOL, 1);
            return taken == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
        }
        if (server)
            h2_numbers_taken(h2);
        data += piece;
        size -= piece;
    }
    meter_most(h2->worker->meter, H2_POOL_BYTES, h2->worker->pool.system_bytes);
    bool time = h2->wants_time || (h2->awaited_newly && h2->awaited > 0);
    h2->wants_time = false;
    return (time ? PROTO_TIME : PROTO_OK) | h2_held_wants(h2);
}

/* RFC 9113, 6.8: a notice that names no stream, and when the other end has answered a PING behind
 * it, the GOAWAY that names the last one: nothing that is under way meets a closed door. */
int h2_drain(struct h2 *h2)
{
    int r = h2_begin(h2);
    if (r < 0 || h2->noticed)
        return r;
    h2->noticed = true;
    if (h2->worker->options.server)
        nghttp2_submit_shutdown_notice(h2->session); /* server_sent() goes on */
    else
        nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, drain_mark);
    return PROTO_OK;
}

/* --- time --- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Whoever does not begin, or does not answer, in time. */
static bool tick_is_silent(struct h2 *h2, uint64_t now_ns, uint64_t *next_ns)
{
    const struct h2_options *options = &h2->worker->options;
    uint64_t until_ns = PROTO_NEVER;

    if (h2->heard || h2->heard_ns == 0) {
        h2->heard = false;
        h2->heard_ns = now_ns;
        h2->ping_until_ns = 0;
    }
    if (!h2->greeted && options->handshake_ns != 0) {
        if (h2->greet_until_ns == 0)
            h2->greet_until_ns = now_ns + options->handshake_ns;
        until_ns = h2->greet_until_ns;
    } else if (h2->ping_until_ns != 0) {
        until_ns = h2->ping_until_ns;
    } else if (options->keepalive_ns != 0) {
        if (now_ns - h2->heard_ns >= options->keepalive_ns) {
            nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
            until_ns = h2->ping_until_ns = now_ns + options->keepalive_timeout_ns;
        } else {
            *next_ns = earlier(*next_ns, h2->heard_ns + options->keepalive_ns);
        }
    }
    *next_ns = earlier(*next_ns, until_ns);
    return now_ns >= until_ns;
}

/* Something waits to be sent, and none of it went since the last look, stall_ns ago. */
static bool tick_is_stuck(struct h2 *h2, uint64_t now_ns, uint64_t *next_ns)
{
    uint64_t stall_ns = h2->worker->options.stall_ns;
    bool waits = h2->bodies > 0 || h2->blocks_out > 0;
    bool stuck = false;

    if (stall_ns == 0)
        return false;
    if (now_ns >= h2->look_ns) {
        stuck = waits && h2->waited && h2->progress == h2->looked_progress;
        h2->waited = waits;
        h2->looked_progress = h2->progress;
        h2->look_ns = now_ns + stall_ns;
    }
    *next_ns = earlier(*next_ns, h2->look_ns);
    return stuck;
}

/* Who keeps a request open, byte by byte. Nothing else can come within a header block, so that
 * there the whole connection is held. */
static void tick_requests(struct h2 *h2, uint64_t now_ns, uint64_t *next_ns)
{
    struct h2_stream *next;

    h2->awaited_newly = false;
    for (struct h2_stream *stream = h2->streams; stream != NULL && h2->awaited > 0; stream = next) {
        next = stream->next;
        if (!stream->awaited)
            continue;
        if (stream->awaited_ns == 0)
            stream->awaited_ns = now_ns + h2->worker->options.request_ns;
        if (now_ns < stream->awaited_ns) {
            *next_ns = earlier(*next_ns, stream->awaited_ns);
        } else if (!stream->in_trailers) {
            h2_fail(h2, NGHTTP2_ENHANCE_YOUR_CALM, H2_SLOW);
            return;
        } else {
            h2_count(h2, H2_SLOW, 1);
            h2_stream_unawait(stream);
            h2_reset(stream, H2_CANCEL);
        }
    }
}

static void tick_stall(struct h2 *h2, uint64_t now_ns)
{
    if (h2->stalled && h2->stalled_since_ns == 0) {
        h2->stalled_since_ns = now_ns;
    } else if (!h2->stalled && h2->stalled_since_ns != 0) {
        h2_count(h2, H2_STALLED_NS, now_ns - h2->stalled_since_ns);
        h2->stalled_since_ns = 0;
    }
}

/* A new second: what was counted in the last one is forgiven. */
static void tick_limits(struct h2 *h2, uint64_t now_ns, uint64_t *next_ns)
{
    if (h2->counting_until_ns != 0 && now_ns >= h2->counting_until_ns) {
        h2->resets = h2->controls = 0;
        h2->counting_until_ns = 0;
    }
    if (h2->resets == 0 && h2->controls == 0)
        return;
    if (h2->counting_until_ns == 0)
        h2->counting_until_ns = now_ns + H2_SECOND_NS;
    *next_ns = earlier(*next_ns, h2->counting_until_ns);
}

int h2_tick(struct h2 *h2, uint64_t now_ns, uint64_t *next_ns)
{
    int r = h2_begin(h2);
    if (r < 0)
        return r;
    h2_held_tick(h2, now_ns);
    tick_stall(h2, now_ns);
    tick_limits(h2, now_ns, next_ns);
    tick_requests(h2, now_ns, next_ns);
    if (tick_is_silent(h2, now_ns, next_ns)) {
        h2_count(h2, H2_CLOSED_SILENT, 1);
        return -ETIMEDOUT;
    }
    if (tick_is_stuck(h2, now_ns, next_ns)) {
        h2_count(h2, H2_CLOSED_STALLED, 1);
        return -ETIMEDOUT;
    }
    return PROTO_OK;
}

/* --- what is asked and answered --- */

static unsigned header_fields(nghttp2_nv *fields, const struct h2_header *headers, unsigned count)
{
    for (unsigned i = 0; i < count && i < H2_HEADERS_MOST; i++)
        fields[i] = (nghttp2_nv){
            .name = (uint8_t *)headers[i].name,
            .namelen = headers[i].name_size,
            .value = (uint8_t *)headers[i].value,
            .valuelen = headers[i].value_size,
            .flags = (uint8_t)(NGHTTP2_NV_FLAG_NO_COPY_NAME |
                               (headers[i].value_stays ? NGHTTP2_NV_FLAG_NO_COPY_VALUE : 0)),
        };
    return count < H2_HEADERS_MOST ? count : H2_HEADERS_MOST;
}

int h2_request(struct h2 *h2, struct h2_stream *stream, const struct h2_header *headers,
               unsigned count)
{
    nghttp2_data_provider body = {{.ptr = stream}, h2_read_body};
    nghttp2_nv fields[H2_HEADERS_MOST];

    if (h2->deaf || h2->goaway)
        return -EPIPE;
    count = header_fields(fields, headers, count);
    int32_t id = nghttp2_submit_request(h2->session, NULL, fields, count, &body, stream);
    if (id < 0)
        return id == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPIPE;
    stream->id = id;
    h2_stream_begin(h2, stream);
    return 0;
}

int h2_respond(struct h2_stream *stream, const struct h2_header *headers, unsigned count, bool body)
{
    nghttp2_data_provider provider = {{.ptr = stream}, h2_read_body};
    nghttp2_nv fields[H2_HEADERS_MOST];

    count = header_fields(fields, headers, count);
    return nghttp2_submit_response(stream->h2->session, stream->id, fields, count,
                                   body ? &provider : NULL) == 0
               ? 0
               : -ENOMEM;
}

int h2_trailers(struct h2_stream *stream, const struct h2_header *headers, unsigned count)
{
    nghttp2_nv fields[H2_HEADERS_MOST];

    count = header_fields(fields, headers, count);
    return nghttp2_submit_trailer(stream->h2->session, stream->id, fields, count) == 0 ? 0
                                                                                       : -ENOMEM;
}

void h2_reset(struct h2_stream *stream, uint32_t code)
{
    nghttp2_submit_rst_stream(stream->h2->session, NGHTTP2_FLAG_NONE, stream->id, code);
}
