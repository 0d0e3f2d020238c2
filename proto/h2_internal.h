/* What h2.c and h2_out.c share. */
#ifndef LAB_PROTO_H2_INTERNAL_H
#define LAB_PROTO_H2_INTERNAL_H

#include <assert.h>
#include <nghttp2/nghttp2.h>

#include "proto/h2.h"

/* Frames' heads, header blocks and small bodies of one output. */
#define H2_BLOCK_BYTES 16384u
/* So many of them may be on their way at a time: what a connection that reads nothing can cost. */
#define H2_BLOCKS_MOST 32u

struct h2_block {
    struct h2_block *next;
    bool body; /* some of what went out with it is of a body */
    uint8_t bytes[H2_BLOCK_BYTES - POOL_HEAD_BYTES - sizeof(void *) - sizeof(bool)];
};
static_assert(sizeof(struct h2_block) + POOL_HEAD_BYTES == H2_BLOCK_BYTES, "no larger class");

/* nghttp2's callbacks of the sending side. */
ssize_t h2_read_body(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
                     uint32_t *flags, nghttp2_data_source *source, void *user);
int h2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t length,
                 nghttp2_data_source *source, void *user);
ssize_t h2_data_length(nghttp2_session *session, uint8_t type, int32_t stream_id,
                       int32_t session_window, int32_t stream_window, uint32_t frame_most,
                       void *user);

/* Server: a frame that asks for nothing came; so many a second, and the connection ends. */
void h2_count_control(struct h2 *h2);

/* NULL: none, or not any more. */
struct h2_stream *h2_stream_look_up(struct h2 *h2, int32_t id);
static inline struct h2_stream *h2_stream_of(struct h2 *h2, int32_t id)
{
    struct h2_stream *recent = h2->recent;
    return recent != NULL && recent->id == id && id != 0 ? recent : h2_stream_look_up(h2, id);
}

/* Which streams the other end has ended. A frame that comes for one all the same fails the
 * connection (h2_numbers.c). */
void h2_numbers_begin(struct h2 *h2);
void h2_numbers_headers(struct h2 *h2, const nghttp2_frame_hd *hd); /* HEADERS come */
void h2_numbers_reset(struct h2 *h2, int32_t id);                   /* RST_STREAM came */
/* Around what the library is given: before; when it tells of a DATA frame; after. */
void h2_numbers_input(struct h2 *h2, const uint8_t *data, size_t size);
void h2_numbers_data(struct h2 *h2, const nghttp2_frame_hd *hd);
void h2_numbers_taken(struct h2 *h2);

/* What a client knows of how long flow control held its streams (h2_held.c). stream NULL: the
 * connection's window, or a stream that is not ours any more. */
void h2_held_begin(struct h2_grants *grants, uint32_t bytes);
void h2_held_granted(struct h2 *h2, struct h2_stream *stream, uint32_t bytes);
void h2_held_settings(struct h2 *h2, uint32_t window_bytes);
void h2_held_headers(struct h2_stream *stream);                             /* its answer begins */
void h2_held_arrives(struct h2 *h2, struct h2_stream *stream, size_t size); /* a DATA frame does */
void h2_held_arrived(struct h2 *h2, struct h2_stream *stream);              /* it is whole */
void h2_held_over(struct h2_stream *stream);
void h2_held_tick(struct h2 *h2, uint64_t now_ns);
int h2_held_wants(const struct h2 *h2); /* what an input that ends now has to return */

#endif
