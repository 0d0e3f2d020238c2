/*
 * What gRPC lays over HTTP/2: messages with a prefix of five bytes, a status with a percent-encoded
 * sentence in the trailers, a time-out as text. No I/O, no state but the reader's.
 */
#ifndef LAB_PROTO_GRPC_H
#define LAB_PROTO_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRPC_PREFIX_BYTES 5u

enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
    GRPC_STATUSES,
};

/* As an error kind: `grpc-not-found`; `grpc-other` beyond the list. Static. */
const char *grpc_status_kind(unsigned status);

/* Digits as in grpc-status; false: it is none, or too large. */
bool grpc_status_parse(const uint8_t *text, size_t size, unsigned *status);

/* application/grpc, with or without +proto or parameters. */
bool grpc_is_content_type(const uint8_t *value, size_t size);

/* Percent-encodes into out, cut to out_size; returns bytes written, no NUL. */
size_t grpc_message_encode(const char *text, uint8_t *out, size_t out_size);
/* The opposite, NUL-terminated and cut to out_size; what is no such encoding stays as it is. */
void grpc_message_decode(const uint8_t *text, size_t size, char *out, size_t out_size);

/* `grpc-timeout`: one to eight digits and one of HMSmun. At least 1 ns. False: it is none. */
bool grpc_timeout_parse(const uint8_t *text, size_t size, uint64_t *ns);

uint8_t *grpc_put_prefix(uint8_t *at, uint32_t size);

/*
 * Reads a stream of messages as it comes, in any pieces. message() is told of each one's length
 * before its bytes, which go to data() uncopied, and end() when it is whole.
 */
struct grpc_reader_events {
    int (*message)(void *context, bool compressed, uint32_t size);
    int (*data)(void *context, const uint8_t *data, size_t size);
    int (*end)(void *context);
};

struct grpc_reader {
    uint8_t prefix[GRPC_PREFIX_BYTES];
    uint8_t prefix_got;
    uint32_t left; /* bytes of the message that are still to come */
};

static inline void grpc_reader_begin(struct grpc_reader *reader)
{
    *reader = (struct grpc_reader){0};
}
/* In the middle of a message: a stream that ends here was cut. */
static inline bool grpc_reader_is_inside(const struct grpc_reader *reader)
{
    return reader->prefix_got > 0;
}
/* 0, or the first value other than 0 that an event returned: then it stops there. A first byte of
 * the prefix other than 0 and 1 is -EPROTO. */
int grpc_reader_read(struct grpc_reader *reader, const struct grpc_reader_events *events,
                     void *context, const uint8_t *data, size_t size);

#endif
