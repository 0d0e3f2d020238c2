/* What h2.c and h2_out.c share. */
#ifndef LAB_PROTO_H2_INTERNAL_H
#define LAB_PROTO_H2_INTERNAL_H

#include <nghttp2/nghttp2.h>

#include "proto/h2.h"

/* Frames' heads, header blocks and small bodies of one output. */
#define H2_BLOCK_BYTES 16384u
/* So many of them may be on their way at a time: what a connection that reads nothing can cost. */
#define H2_BLOCKS_MOST 32u

struct h2_block {
    struct h2_block *next;
    uint8_t bytes[H2_BLOCK_BYTES - 16];
};

/* nghttp2's callbacks of the sending side. */
ssize_t h2_read_body(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
                     uint32_t *flags, nghttp2_data_source *source, void *user);
int h2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t length,
                 nghttp2_data_source *source, void *user);
ssize_t h2_data_length(nghttp2_session *session, uint8_t type, int32_t stream_id,
                       int32_t session_window, int32_t stream_window, uint32_t frame_most,
                       void *user);

#endif
