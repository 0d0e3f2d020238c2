/*
 * The sending side of h2.h: what nghttp2 has to say and the bodies of streams, gathered into
 * segments. nghttp2's own frames, and pieces that are small or do not stay, are copied into a block
 * that the engine gives back (RELEASED); pieces that stay are segments of their own.
 */
#include <errno.h>
#include <string.h>

#include "proto/h2_internal.h"

#define H2_COPY_BYTES 512u /* up to here a copy costs less than a segment of its own */
#define H2_FRAME_HEAD 9u
#define H2_FRAME_SEGS 8u   /* room that a DATA frame wants to find, in segments ... */
#define H2_FRAME_ROOM 256u /* ... and in bytes of the block */
/* What a DATA frame may be answered with: updates of both windows, a PING, and one to spare. */
#define H2_CREDIT      4u
#define H2_CREDIT_MOST 100000u

static size_t writer_room(const struct h2_writer *w)
{
    return sizeof(w->block->bytes) - w->used;
}

/* size bytes of the block, at most its room; they follow what was reserved before. */
static uint8_t *writer_reserve(struct h2_writer *w, size_t size)
{
    uint8_t *at = w->block->bytes + w->used;
    struct seg *last = w->count > 0 ? &w->out->segs[w->count - 1] : NULL;

    w->used += size;
    w->bytes += size;
    if (last != NULL && last->data + last->size == at)
        last->size += size;
    else
        seg_set_memory(&w->out->segs[w->count++], at, size);
    return at;
}

static void writer_refer(struct h2_writer *w, const uint8_t *data, size_t size)
{
    seg_set_memory(&w->out->segs[w->count++], data, size);
    w->bytes += size;
}

/* Copies what fits; returns how much that is. */
static size_t writer_copy(struct h2_writer *w, const uint8_t *data, size_t size)
{
    size_t fits = writer_room(w) < size ? writer_room(w) : size;

    if (fits > 0)
        memcpy(writer_reserve(w, fits), data, fits);
    return fits;
}

static bool writer_is_full(const struct h2_writer *w)
{
    return w->count + H2_FRAME_SEGS > w->out->max || writer_room(w) < H2_FRAME_ROOM ||
           w->bytes >= w->out->budget;
}

/* --- bodies --- */

ssize_t h2_data_length(nghttp2_session *session, uint8_t type, int32_t stream_id,
                       int32_t session_window, int32_t stream_window, uint32_t frame_most,
                       void *user)
{
    const struct h2 *h2 = user;
    return (ssize_t)h2->worker->options.frame_bytes;
}

/* Some of the present piece into the output; returns how many bytes. */
static size_t body_put(struct h2 *h2, struct h2_stream *stream, size_t most)
{
    struct h2_writer *w = &h2->writer;
    struct h2_piece *piece = &stream->piece;
    size_t size = piece->size < most ? piece->size : most;

    if (piece->stays && size > H2_COPY_BYTES)
        writer_refer(w, piece->data, size);
    else
        size = writer_copy(w, piece->data, size);
    piece->data += size;
    piece->size -= size;
    return size;
}

/* How long the frame is, is decided here, by what the output has room for: its pieces are put
 * there at once, behind a gap for its head. */
ssize_t h2_read_body(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
                     uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct h2 *h2 = user;
    struct h2_stream *stream = source->ptr;
    struct h2_writer *w = &h2->writer;
    size_t taken = 0;

    if (stream->body_left == 0 && !stream->body_ends) {
        stream->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t most = stream->body_left < length ? (size_t)stream->body_left : length;
    /* An empty frame is left out by nghttp2 if trailers follow. */
    if (most > 0 || !stream->trailers)
        w->frame_head = writer_reserve(w, H2_FRAME_HEAD);
    while (taken < most && w->count < w->out->max && writer_room(w) > 0) {
        if (stream->piece.size == 0)
            h2->worker->events->piece(stream, &stream->piece);
        taken += body_put(h2, stream, most - taken);
    }
    if (taken > 0) {
        w->block->body = true;
        stream->body_left -= taken;
        if (stream->body_left == 0)
            h2->bodies--;
    }
    if (stream->body_left == 0 && stream->body_ends) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (stream->trailers) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            h2->worker->events->trailers(stream);
        }
    }
    h2->credit = h2->credit < H2_CREDIT_MOST ? h2->credit + H2_CREDIT : h2->credit;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    return (ssize_t)taken;
}

int h2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t length,
                 nghttp2_data_source *source, void *user)
{
    struct h2 *h2 = user;

    memcpy(h2->writer.frame_head, head, H2_FRAME_HEAD);
    /* The frame is gone either way; PAUSE: no other one in this output. */
    h2->writer.full = writer_is_full(&h2->writer);
    return h2->writer.full ? NGHTTP2_ERR_PAUSE : 0;
}

void h2_body_add(struct h2_stream *stream, uint64_t bytes)
{
    if (bytes == 0)
        return;
    if (stream->body_left == 0)
        stream->h2->bodies++;
    stream->body_left += bytes;
    if (stream->deferred) {
        stream->deferred = false;
        nghttp2_session_resume_data(stream->h2->session, stream->id);
    }
}

void h2_body_end(struct h2_stream *stream)
{
    stream->body_ends = true;
    if (stream->deferred) {
        stream->deferred = false;
        nghttp2_session_resume_data(stream->h2->session, stream->id);
    }
}

/* --- output --- */

static struct h2_block *block_take(struct h2_worker *worker)
{
    struct h2_block *block = worker->blocks;

    if (block == NULL)
        return pool_take(&worker->pool, sizeof(*block));
    worker->blocks = block->next;
    return block;
}

static void block_give(struct h2_worker *worker, struct h2_block *block)
{
    block->next = worker->blocks;
    worker->blocks = block;
}

/* Fills the writer until it is full (1) or nghttp2 has nothing more to say now (0). */
static int output_fill(struct h2 *h2)
{
    struct h2_writer *w = &h2->writer;

    while (!writer_is_full(w)) {
        if (h2->carried_size == 0) {
            const uint8_t *frame;
            ssize_t size = nghttp2_session_mem_send(h2->session, &frame);
            if (size < 0)
                return size == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
            if (size == 0)
                return w->full;
            h2->carried = frame;
            h2->carried_size = (size_t)size;
        }
        size_t fits = writer_copy(w, h2->carried, h2->carried_size);
        h2->carried += fits;
        h2->carried_size -= fits;
    }
    return 1;
}

/* Flow control holds all that there is, or does so no longer: how long it did is worth knowing. */
static void output_stall(struct h2 *h2, struct proto_output *out, bool stalled)
{
    if (stalled == h2->stalled)
        return;
    h2->stalled = stalled;
    if (stalled)
        h2_count(h2, H2_STALLS, 1);
    out->time = true;
}

/* While bodies wait, only bytes of bodies are progress: who keeps us busy with PINGs, and takes
 * nothing of what it asked for, is stuck. */
static void output_progress(struct h2 *h2, const struct h2_block *block)
{
    if (block->body || h2->bodies == 0)
        h2->progress++;
}

int h2_output(struct h2 *h2, struct proto_output *out)
{
    struct h2_writer *w = &h2->writer;

    int r = h2_begin(h2);
    if (r < 0)
        return r;
    if (h2->blocks_out >= H2_BLOCKS_MOST) {
        h2->starved = true;
        return 0;
    }
    *w = (struct h2_writer){.out = out, .block = block_take(h2->worker)};
    if (w->block == NULL)
        return -ENOMEM;
    w->block->body = false;
    r = output_fill(h2);
    if (r >= 0) {
        output_stall(h2, out, r == 0 && h2->bodies > 0);
        out->last = r == 0;
        out->close = r == 0 && nghttp2_session_want_read(h2->session) == 0 &&
                     nghttp2_session_want_write(h2->session) == 0;
        if (out->close && !h2->deaf && !h2->draining && !h2->goaway) {
            h2->deaf = true; /* what the library found wrong: it has sent GOAWAY */
            h2_count(h2, H2_CLOSED_PROTOCOL, 1);
        }
        out->time |= h2->wants_time;
        h2->wants_time = false;
    }
    if (r < 0 || w->count == 0) {
        block_give(h2->worker, w->block);
        return r < 0 ? r : 0;
    }
    h2->blocks_out++;
    output_progress(h2, w->block);
    out->cookie = (uint64_t)(uintptr_t)w->block;
    return (int)w->count;
}

bool h2_sent(struct h2 *h2, uint64_t cookie, unsigned what)
{
    if (!(what & PROTO_RELEASED))
        return false;
    struct h2_block *block = (struct h2_block *)(uintptr_t)cookie;
    output_progress(h2, block);
    block_give(h2->worker, block);
    h2->blocks_out--;
    bool starved = h2->starved;
    h2->starved = false;
    return starved;
}
