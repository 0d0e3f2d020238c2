/*
 * Echo: what is sent comes back; and its one-way form: what is sent is discarded and
 * acknowledged. Nothing is added on the wire, so that any echo server that others wrote will do.
 *
 * A message carries, as far as it has room, 8 bytes of op number and 8 of connection number
 * (little endian), then a fixed pattern: an answer to another question is found out.
 * One-way, the receiver sends 8 bytes (little endian): how many it has received on this
 * connection so far, whenever another multiple of ack_bytes has been reached.
 */
#ifndef LAB_PROTO_ECHO_H
#define LAB_PROTO_ECHO_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/proto.h"

#define ECHO_SIZE_MAX     (16u << 20)
#define ECHO_HEADER_BYTES 16u
#define ECHO_ACK_BYTES    8u
/* One-way, unless told otherwise: a write, and how often it is acknowledged at least. */
#define ECHO_WRITE_DEFAULT "64KiB"

/* Messages up to this size are copied together in one piece of memory; larger ones are a header of
 * their own before the pattern that all share. Copying a page costs less than a second segment
 * does. */
#define ECHO_WHOLE_BYTES 4096u

/* What all connections of a worker share: the pattern, as large as a message. */
struct echo_pattern {
    uint8_t *bytes;
    size_t size;
};
int echo_pattern_open(struct echo_pattern *pattern, size_t message_bytes); /* -ENOMEM */
void echo_pattern_close(struct echo_pattern *pattern);

struct echo_client_events {
    /* The first bytes of the slot's answer are here; NULL: not asked. */
    void (*first)(void *context, unsigned slot);
    /* bytes more of an answer that is not whole yet (or one-way: acknowledged); NULL: not asked. */
    void (*progress)(void *context, uint64_t bytes);
    /* The slot's answer is here, whole and right: so many bytes, of which `fresh` came just now. It
     * may be asked again at once. */
    void (*answered)(void *context, unsigned slot, uint64_t bytes, uint64_t fresh);
};

/*
 * Memory of a message, which follows: all of a small one, else its header. It is held by the
 * engine until its segment is released, and by the client until the answer has been compared,
 * whichever comes last.
 */
struct echo_place {
    struct buf buf;          /* first */
    struct echo_place *next; /* of free ones */
    struct echo_client *client;
    uint8_t bytes[];
};

struct echo_asked {
    uint64_t op; /* the op's number */
    unsigned slot;
    struct echo_place *place; /* once it is sent */
};

/* One connection, client side. Slots are answered in the order in which they were asked. Stays
 * where it was opened. */
struct echo_client {
    /* What every message needs comes first, on one line of the cache. */
    const struct echo_client_events *events;
    void *context;
    struct echo_asked *ring; /* under way, or still to be sent */
    struct echo_place *free; /* last in, first out: hot ones first */
    uint32_t mask;           /* of the ring */
    /* Counts that grow and wrap. */
    uint32_t asked, sent, answered;
    uint32_t short_bytes;   /* of messages that take the short way; 0: none do */
    uint32_t answer_offset; /* bytes of the next answer that have come */
    uint64_t connection;    /* its number, carried by the messages */

    struct echo_asked the_asked; /* the ring of a depth of 1: no memory of its own to touch */
    size_t message_bytes;
    bool one_way;
    bool whole; /* messages are small */
    uint8_t *places;
    size_t place_size; /* from one to the next */
    unsigned places_count;

    const struct echo_pattern *pattern;
    uint64_t acked_bytes;    /* one-way: the acknowledgement that is being read */
    uint64_t settled_bytes;  /* one-way: of whole messages */
    uint64_t progress_bytes; /* one-way: acknowledged so far */
};
extern const struct proto_ops echo_client_proto;

/* depth 1 to 65535. -ENOMEM leaves nothing behind. */
int echo_client_open(struct echo_client *client, const struct echo_client_events *events,
                     void *context, const struct echo_pattern *pattern, size_t message_bytes,
                     unsigned depth, bool one_way);
void echo_client_close(struct echo_client *client);
/* Forgets everything under way: for a new connection, once the engine holds nothing of the last. */
void echo_client_reset(struct echo_client *client, uint64_t connection);
/* Asks with a free slot; the pump is to be kicked afterwards. */
void echo_client_ask(struct echo_client *client, unsigned slot, uint64_t op);

/* One connection, server side. Stays where it was opened. */
struct echo_server {
    /* What every message needs comes first, on one line of the cache. */
    struct seg *pending; /* received, not yet handed down */
    unsigned pending_count, pending_room;
    bool one_way;
    bool counts;            /* received_bytes: one-way, or with close_after; or it is mute */
    struct seg pending_one; /* memory of the first */

    uint64_t received_bytes;
    uint64_t close_after; /* close in order once so many bytes were echoed; 0: never */
    bool mute;            /* keeps nothing: there will be no output */
    bool ack_in_flight;
    uint8_t ack[ECHO_ACK_BYTES];
    uint64_t ack_bytes; /* one-way: acknowledge at each multiple of it */
    uint64_t acked_bytes;
};
extern const struct proto_ops echo_server_proto;

void echo_server_open(struct echo_server *server, bool one_way, uint64_t ack_bytes,
                      uint64_t close_after);
/* For a new connection; keeps the memory. Drops what is pending. */
void echo_server_reset(struct echo_server *server);
void echo_server_close(struct echo_server *server);

#endif
