/*
 * The image stream's client upon h2.h: calls in slots, answers that are read as they come and
 * checked: names in order, sizes, a digest of each content. What is right, the client knows of
 * the default pictures; of others, the first that came under a name is what is expected.
 */
#ifndef LAB_PROTO_IMAGE_CLIENT_H
#define LAB_PROTO_IMAGE_CLIENT_H

#include <protobuf-c/protobuf-c.h>

#include "proto/grpc.h"
#include "proto/h2.h"
#include "proto/images.h"

#define IMAGE_TEXT_MOST 240u

struct image_client_config {
    enum image_contract contract;
    bool list;              /* an op is ListImages; else StreamImages */
    unsigned images_per_op; /* names of a StreamImages: those of the server, round and round */
    uint32_t message_bytes; /* of a message, at most */
    bool learn;             /* expect no picture before it has come once */
    bool sizes_only;        /* do not look at contents */
};

struct image_client_events {
    void (*first)(void *context, unsigned slot);
    void (*progress)(void *context, uint64_t bytes);
    /* The slot's nth image is here, whole and right: so many bytes of content. */
    void (*image)(void *context, unsigned slot, unsigned nth, uint64_t bytes);
    /* The slot may be asked again at once. held_ns: how long flow control held the answer. */
    void (*done)(void *context, unsigned slot, uint64_t bytes, uint64_t held_ns);
    void (*failed)(void *context, unsigned slot, const char *kind, const char *text);
};

/* An image of the server's, and what is expected of it. */
struct image_known {
    char *name;
    uint64_t size, digest; /* size 0: not known yet */
};

/* What the connections of a worker share. */
struct image_client_worker {
    struct h2_worker h2; /* first */
    struct image_client_config config;
    const struct image_client_events *events;
    ProtobufCAllocator allocator;
    struct image_known *known; /* as the server lists them */
    unsigned known_count;
    uint8_t *list; /* the message that they were learned from */
    size_t list_size;
    bool listed;
    uint8_t *list_request, *stream_request, *metadata_request; /* with their prefixes */
    size_t list_request_size, stream_request_size, metadata_request_size;
};
/* -ENOMEM leaves nothing behind. */
int image_client_worker_open(struct image_client_worker *worker, const struct h2_options *options,
                             const struct image_client_config *config,
                             const struct image_client_events *events, struct meter *meter);
void image_client_worker_close(struct image_client_worker *worker);

struct image_call;

/* A connection. */
struct image_client {
    struct h2 h2; /* first */
    void *context;
    unsigned depth;
    struct image_call *calls; /* one a slot, and one for what is asked before the first op */
    struct image_call *waiting, *waiting_last; /* asked before the server's images were known */
    bool preparing;                            /* ... which are being asked for */
    bool failing;                              /* what waited is being told that it failed */
    int trouble;                               /* errno that ends the connection */
    const char *authority;                     /* whom it speaks to; as long as the client */
};
extern const struct proto_ops image_client_proto;

int image_client_open(struct image_client *client, struct image_client_worker *worker,
                      void *context, const char *authority, unsigned depth); /* -ENOMEM */
void image_client_reset(struct image_client *client);
void image_client_close(struct image_client *client);
/* Begins an op on a free slot; the pump is to be kicked afterwards. */
void image_client_ask(struct image_client *client, unsigned slot);
/* Gives up an op that is under way: its stream is reset, the others go on, and failed() follows
 * from a later output. False: it has not begun on the connection, or was given up before and cannot
 * even say so; so that only the connection can end. */
bool image_client_cancel(struct image_client *client, unsigned slot, const char *kind,
                         const char *text);

#endif
