/*
 * Protocol sides in memory, without engine, pump or clock: bytes in, bytes out, time as the test
 * says. Raw frames are made here too, also wrong ones.
 */
#ifndef LAB_TESTS_UNIT_PROTO_H2_RIG_H
#define LAB_TESTS_UNIT_PROTO_H2_RIG_H

#include "proto/image_client.h"
#include "proto/image_server.h"

struct side {
    const struct proto_ops *ops;
    void *state;
    uint8_t *out; /* what it has sent and nobody has taken */
    size_t out_size, out_room;
    unsigned segs, outputs;
    size_t most_bytes; /* of an output */
    bool closed;       /* in order */
    int err;           /* negative errno with which it ended */
    uint64_t now_ns, next_ns;
    bool time_before;
    bool hold; /* keep what was sent: no RELEASED */
    uint64_t held[64];
    unsigned held_count;
};

void side_open(struct side *side, const struct proto_ops *ops, void *state);
void side_feed(struct side *side, const uint8_t *data, size_t size); /* and pulls */
void side_pull(struct side *side);
void side_time(struct side *side, uint64_t now_ns); /* what is due by then */
void side_release(struct side *side);
void side_close(struct side *side);
/* To and fro until nobody has anything to say; pieces of `piece` bytes at most (0: whole). */
void sides_talk(struct side *a, struct side *b, size_t piece);

/* A server of the default pictures, or of what the set holds. */
struct server_rig {
    struct side side;
    struct grpc_server server;
    struct image_worker worker;
    struct image_set set;
    struct meter meter;
};
struct h2_options server_options(void);
extern const struct grpc_limits server_limits;
void server_open(struct server_rig *rig, const struct h2_options *options,
                 enum image_contract contract, bool not_found);
void server_close(struct server_rig *rig);
uint64_t server_count(const struct server_rig *rig, unsigned row);

/* Bytes to be fed. */
struct bytes {
    uint8_t data[1 << 18];
    size_t size;
};
void put_raw(struct bytes *b, const void *data, size_t size);
void put_frame(struct bytes *b, uint8_t type, uint8_t flags, uint32_t stream, const void *payload,
               size_t size);
void put_preface(struct bytes *b);
/* A header field, literal and not indexed, into a block. */
void put_field(struct bytes *b, const char *name, const char *value);
void put_request_fields(struct bytes *b, const char *path);
/* HEADERS with END_HEADERS, and DATA with END_STREAM that holds an empty message. */
void put_request(struct bytes *b, uint32_t stream, const char *path);

/* What came back: the first frame of the type from *at on; false: none. */
struct frame {
    uint8_t type, flags;
    uint32_t stream;
    const uint8_t *payload;
    size_t size;
};
bool next_frame(const uint8_t **at, const uint8_t *end, struct frame *frame);
/* The error code of the last GOAWAY or RST_STREAM that the side sent; -1: none. */
long last_goaway(const struct side *side);
long last_reset(const struct side *side, uint32_t *stream);
unsigned count_frames(const struct side *side, uint8_t type);

#endif
