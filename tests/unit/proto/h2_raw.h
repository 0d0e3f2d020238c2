/*
 * A server, and raw frames to feed it: what the tests of frames and those of limits share.
 */
#ifndef LAB_TESTS_UNIT_PROTO_H2_RAW_H
#define LAB_TESTS_UNIT_PROTO_H2_RAW_H

#include "tests/unit/proto/h2_rig.h"

#define LIST   "/image_service.ImageService/ListImages"
#define STREAM "/image_service.ImageService/StreamImages"

enum {
    DATA,
    HEADERS,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    PUSH_PROMISE,
    PING,
    GOAWAY,
    WINDOW_UPDATE,
    CONTINUATION
};
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8, WITH_PRIORITY = 32 };

extern struct server_rig rig;
extern struct bytes *in; /* what is fed next */

void raw_open(void); /* the server, and a preface to be fed */
void raw_close(void);
void feed(void);
void frame(uint8_t type, uint8_t flags, uint32_t stream, const char *payload, size_t size);
/* The grpc-status that the server said on the stream, read by nghttp2; -1: none. */
long answer_status(uint32_t stream);
/* A call that stays open for more data. */
void open_stream(uint32_t stream);

#endif
