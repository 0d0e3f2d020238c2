/*
 * The server's side of gRPC upon h2.h: requests become messages for the methods of a const table,
 * what those answer becomes frames, and whatever goes wrong a status. An answer's messages are
 * short and owned, or pieces that a method makes up as they go out.
 */
#ifndef LAB_PROTO_GRPC_SERVER_H
#define LAB_PROTO_GRPC_SERVER_H

#include "core/gather.h"
#include "proto/grpc.h"
#include "proto/h2.h"

#define GRPC_PATH_MOST       127u
#define GRPC_REPLIES_AT_ONCE 16u

struct grpc_call;

struct grpc_method {
    const char *path;     /* /package.Service/Method */
    bool streams_request; /* any number of messages may come; else exactly one */
    /* A whole message, valid in this call only. */
    void (*message)(struct grpc_call *call, const uint8_t *data, size_t size);
    /* The next piece, at least 1 byte, of what grpc_call_stream announced. */
    void (*piece)(struct grpc_call *call, struct h2_piece *piece);
    void (*closed)(struct grpc_call *call); /* give back what call->data holds; NULL: nothing */
    void (*drain)(struct grpc_call *call);  /* the server goes away; NULL: finishes by itself */
};

/* Rows of the meter, after H2_METRICS. */
enum grpc_metric {
    GRPC_CALLS = H2_METRICS_COUNT,
    GRPC_FAILED,
    GRPC_DEADLINES,
    GRPC_GONE,
    GRPC_METRICS_COUNT,
};
#define GRPC_METRICS                                                                               \
    {"grpc_calls", "", METRIC_COUNTER, METRIC_NEITHER, "server", "grpc", "calls that came"},       \
        {"grpc_failed",                                                                            \
         "",                                                                                       \
         METRIC_COUNTER,                                                                           \
         METRIC_LESS,                                                                              \
         "server",                                                                                 \
         "grpc",                                                                                   \
         "calls answered with a status other than OK"},                                            \
        {"grpc_deadlines",                                                                         \
         "",                                                                                       \
         METRIC_COUNTER,                                                                           \
         METRIC_LESS,                                                                              \
         "server",                                                                                 \
         "grpc",                                                                                   \
         "calls that ran out of the time that they brought"},                                      \
    {                                                                                              \
        "grpc_cancelled", "", METRIC_COUNTER, METRIC_LESS, "server", "grpc",                       \
            "calls that ended before their answer was sent"                                        \
    }

/* What a call may cost at most. */
struct grpc_limits {
    uint32_t message_bytes; /* a request's message */
    /* Answers that a connection has not taken: with so many from before, no more is answered of a
     * stream of questions. What one input asks for may be GRPC_REPLIES_AT_ONCE times as much. */
    uint32_t replies_bytes;
};

struct grpc_worker {
    struct h2_worker h2;                      /* first */
    const struct grpc_method *const *methods; /* NULL-terminated */
    struct grpc_limits limits;
};
int grpc_worker_open(struct grpc_worker *worker, const struct h2_options *options,
                     const struct grpc_limits *limits, const struct grpc_method *const *methods,
                     struct meter *meter); /* -ENOMEM */
void grpc_worker_close(struct grpc_worker *worker);

/* A connection. */
struct grpc_server {
    struct h2 h2;            /* first */
    struct grpc_call *timed; /* calls that brought a time-out */
    /* By grpc_call_reply, of all calls, and not taken: bytes now, and before the last input that
     * asked for some. */
    uint64_t replies_bytes, replies_before, replies_input;
};
extern const struct proto_ops grpc_server_proto; /* its state: struct grpc_server */
void grpc_server_open(struct grpc_server *server, struct grpc_worker *worker);
void grpc_server_reset(struct grpc_server *server);

struct grpc_call {
    struct h2_stream stream; /* first */
    const struct grpc_method *method;
    void *data; /* the method's */
    /* The request. */
    char path[GRPC_PATH_MOST + 1]; /* cut; for what is said about it */
    bool post, grpc, encoded, bad_timeout;
    bool finished; /* its status stands: what still comes is ignored */
    bool answered; /* headers of an answer with a body are on their way */
    unsigned messages;
    struct grpc_reader reader;
    struct gather message;
    uint64_t timeout_ns, deadline_ns; /* 0: none */
    struct grpc_call *timed_next, *timed_previous;
    /* The answer. */
    struct grpc_chunk *chunks, *chunks_last;
    enum grpc_status status;
    char *text; /* of the status, percent-encoded; NULL: none */
    size_t text_size;
};

static inline struct grpc_worker *grpc_call_worker(struct grpc_call *call)
{
    return (struct grpc_worker *)call->stream.h2->worker;
}
/* Room for a message of size bytes, to be filled at once; it goes out after this. NULL: no memory,
 * or too much waits to be taken, and the call has failed. */
uint8_t *grpc_call_reply(struct grpc_call *call, size_t size);
/* So many bytes, with the prefixes of their messages, come from method->piece. Once a call. */
void grpc_call_stream(struct grpc_call *call, uint64_t bytes);
/* The last of a call. text may be NULL. */
void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
