/*
 * HTTP/2 of one connection, either end, upon nghttp2: streams with headers, bodies and trailers.
 * Bytes of a body that stay where they are (an image) go out as segments, uncopied; small and
 * short-lived ones are gathered in blocks. What the other end may cost is limited and counted.
 *
 * A user's connection state begins with struct h2, its streams with struct h2_stream.
 */
#ifndef LAB_PROTO_H2_H
#define LAB_PROTO_H2_H

#include "core/meter.h"
#include "core/metric.h"
#include "core/pool.h"
#include "proto/proto.h"

struct nghttp2_session;
struct nghttp2_session_callbacks;
struct nghttp2_option;

#define H2_WINDOW_MOST  0x7fffffffu
#define H2_FRAME_LEAST  16384u
#define H2_FRAME_MOST   ((1u << 24) - 1)
#define H2_SKIPPED_MOST 4
#define H2_ENDED_WORDS  32 /* of 64 streams each */
#define H2_HEADERS_MOST 16 /* fields of a block that is sent */
#define H2_GRANTS_MOST  4

/* RFC 9113's error codes, those that are named here. */
enum h2_error {
    H2_NO_ERROR = 0,
    H2_PROTOCOL_ERROR = 1,
    H2_INTERNAL_ERROR = 2,
    H2_REFUSED_STREAM = 7,
    H2_CANCEL = 8,
    H2_ENHANCE_YOUR_CALM = 11,
    H2_GONE = 0x10000, /* no code of the RFC: the connection went, with the stream in it */
};
const char *h2_error_kind(uint32_t code); /* as an error kind: `rst-cancel`; static */

/* What a side announces, and what it puts up with. */
struct h2_options {
    bool server;
    uint32_t window_bytes;  /* of a stream and of the connection, at first */
    uint32_t window_most;   /* larger: the window grows with the bandwidth-delay product up to it */
    uint32_t frame_bytes;   /* of a DATA frame: announced, and sent at most */
    uint32_t streams_max;   /* server: at a time */
    uint32_t header_bytes;  /* of a header block, as RFC 9113 counts them */
    uint32_t continuations; /* frames of a header block */
    uint32_t resets_per_s;  /* streams that the other end resets, or makes us reset; so many wait */
    uint32_t controls_per_s; /* PING, SETTINGS, unknown and empty frames, idle WINDOW_UPDATEs */
    uint64_t handshake_ns;   /* from the connection to the other end's SETTINGS */
    uint64_t keepalive_ns;   /* ask by PING after so long a silence; 0: never */
    uint64_t keepalive_timeout_ns; /* ... and close when it is not answered within that */
    uint64_t stall_ns;   /* close when nothing that waits could be sent for so long; 0: never */
    uint64_t request_ns; /* server: from a request's first byte to its last; 0: for ever */
};

/* Rows of the worker's meter, these first. */
enum h2_metric {
    H2_STREAMS,
    H2_RESETS,
    H2_STALLS,
    H2_STALLED_NS,
    H2_WINDOW_BYTES,
    H2_POOL_BYTES,
    H2_CLOSED_PROTOCOL,
    H2_CLOSED_RESETS,
    H2_CLOSED_CONTROLS,
    H2_CLOSED_HEADERS,
    H2_CLOSED_SILENT,
    H2_CLOSED_STALLED,
    H2_SLOW,
    H2_METRICS_COUNT,
};

#define H2_METRIC(name, unit, kind, better, help)                                                  \
    {                                                                                              \
        name, unit, kind, better, "", "http/2", help                                               \
    }
#define H2_METRICS                                                                                 \
    H2_METRIC("h2_streams", "", METRIC_COUNTER, METRIC_NEITHER, "streams begun"),                  \
        H2_METRIC("h2_resets", "", METRIC_COUNTER, METRIC_LESS, "streams that were reset"),        \
        H2_METRIC("h2_stalls", "", METRIC_COUNTER, METRIC_LESS,                                    \
                  "times that flow control held everything that was to be sent"),                  \
        H2_METRIC("h2_stalled_ns", "ns", METRIC_COUNTER, METRIC_LESS,                              \
                  "time that flow control held everything that was to be sent"),                   \
        H2_METRIC("h2_window_bytes", "bytes", METRIC_GAUGE, METRIC_NEITHER,                        \
                  "largest flow-control window that was announced"),                               \
        H2_METRIC("h2_pool_bytes", "bytes", METRIC_GAUGE, METRIC_LESS,                             \
                  "memory of a worker's sessions, at most"),                                       \
        H2_METRIC("h2_closed_protocol", "", METRIC_COUNTER, METRIC_LESS,                           \
                  "connections closed for frames or headers that broke the protocol"),             \
        H2_METRIC("h2_closed_resets", "", METRIC_COUNTER, METRIC_LESS,                             \
                  "connections closed for a flood of resets"),                                     \
        H2_METRIC("h2_closed_controls", "", METRIC_COUNTER, METRIC_LESS,                           \
                  "connections closed for a flood of frames that ask for nothing"),                \
        H2_METRIC("h2_closed_headers", "", METRIC_COUNTER, METRIC_LESS,                            \
                  "connections closed for far too large or too many header frames"),               \
        H2_METRIC("h2_closed_silent", "", METRIC_COUNTER, METRIC_LESS,                             \
                  "connections closed for not beginning, or not answering, in time"),              \
        H2_METRIC("h2_closed_stalled", "", METRIC_COUNTER, METRIC_LESS,                            \
                  "connections closed for not taking what they asked for in time"),                \
        H2_METRIC("h2_slow_requests", "", METRIC_COUNTER, METRIC_LESS,                             \
                  "requests not whole in time: reset, or with open headers the connection closed")

struct h2_header {
    const char *name; /* static */
    size_t name_size;
    const char *value;
    size_t value_size;
    bool value_stays; /* static too: need not be copied */
};
/* Initialisers: of a name that is a literal, and of both that are. */
#define H2_FIELD(name, value, value_size, value_stays)                                             \
    {                                                                                              \
        name, sizeof(name) - 1, value, value_size, value_stays                                     \
    }
#define H2_HEADER(name, value) H2_FIELD(name, value, sizeof(value) - 1, true)

/* A piece of a body. */
struct h2_piece {
    const uint8_t *data;
    size_t size;
    bool stays; /* for as long as the process: it may be sent from where it is */
};

/* Client: what came of a stream, or of all, and up to where it may: h2_held.c. */
struct h2_grants {
    uint64_t received;
    uint64_t limits[H2_GRANTS_MOST]; /* as they were granted, oldest first, from the last one on */
    unsigned count;
    bool spent;        /* all came up to the oldest */
    uint64_t since_ns; /* ... then; 0: within the present input */
};

struct h2;

struct h2_stream {
    struct h2 *h2;
    struct h2_stream *next, *previous; /* of the connection's */
    int32_t id;                        /* 0: not begun */
    bool in_trailers;                  /* the other end's first header block was whole */
    bool interim;                      /* client: the present block is a 1xx answer */
    bool was_reset;                    /* by the other end */
    bool oversized;        /* its headers were larger than header_bytes: some are left out */
    bool ended;            /* the other end has sent all */
    bool awaited;          /* server: it is to do so in time */
    uint64_t awaited_ns;   /* ... by then; 0: not known yet */
    bool deferred;         /* its body waits for more */
    bool body_ends;        /* no more will come than body_left */
    bool trailers;         /* after the body */
    uint64_t body_left;    /* bytes that are known to come */
    struct h2_piece piece; /* being sent */
    /* Client: how long flow control held it, and what of the connection's time is in that. */
    struct h2_grants grants;
    uint64_t held_ns, seen_ns;
};

struct h2_events {
    /* Server: a request begins. Its stream, zeroed and begun by h2_stream_begin; NULL: refused. */
    struct h2_stream *(*begin)(struct h2 *h2);
    /* A field of the block; of the trailers if stream->in_trailers. 1xx answers are left out. */
    void (*header)(struct h2_stream *stream, const uint8_t *name, size_t name_size,
                   const uint8_t *value, size_t value_size);
    void (*headers)(struct h2_stream *stream); /* the block is whole */
    void (*data)(struct h2_stream *stream, const uint8_t *data, size_t size);
    void (*ended)(struct h2_stream *stream); /* the other end has sent all */
    /* The next piece of the body; called while body_left says that there is one. */
    void (*piece)(struct h2_stream *stream, struct h2_piece *piece);
    /* The body's last byte is going out: h2_trailers is to be called now. */
    void (*trailers)(struct h2_stream *stream);
    /* The stream is over; its memory is the user's again. code: enum h2_error. */
    void (*closed)(struct h2_stream *stream, uint32_t code);
};

/* What the connections of a worker share. */
struct h2_worker {
    struct h2_options options;
    const struct h2_events *events;
    struct meter *meter;
    struct pool pool;
    struct h2_block *blocks; /* free ones */
    struct nghttp2_session_callbacks *callbacks;
    struct nghttp2_option *option;
};
int h2_worker_open(struct h2_worker *worker, const struct h2_options *options,
                   const struct h2_events *events, struct meter *meter); /* -ENOMEM */
void h2_worker_close(struct h2_worker *worker);

/* What an output gathers. */
struct h2_writer {
    struct proto_output *out;
    struct h2_block *block;
    size_t used; /* of the block */
    unsigned count;
    uint64_t bytes;
    bool full;           /* a DATA frame has filled it */
    uint8_t *frame_head; /* where the DATA frame's head goes, once nghttp2 has made it */
};

/* Server: the numbers of streams, and where their frames are in what came (h2_numbers.c). */
struct h2_numbers {
    const uint8_t *at, *end; /* of the input: what is not walked yet */
    uint32_t rest;           /* bytes to the next frame's head */
    uint8_t head_size;       /* a head that came in part */
    uint8_t head[9];
    uint32_t last; /* the newest stream, and which before it were left out */
    struct {
        uint32_t from, to;
    } skipped[H2_SKIPPED_MOST];
    unsigned skipped_next;
    uint64_t ended[H2_ENDED_WORDS]; /* a ring of bits: streams that the other end has ended */
};

struct h2 {
    struct h2_worker *worker;
    struct nghttp2_session *session; /* NULL: not begun */
    struct h2_stream *streams;
    struct h2_stream *recent; /* the one of the last frame: the next is mostly its own too */
    unsigned streams_count;
    unsigned bodies; /* streams with something to send, now */
    struct h2_writer writer;
    const uint8_t *carried; /* of a frame that did not fit */
    size_t carried_size;
    unsigned blocks_out;    /* the engine still holds them */
    bool starved;           /* output waits for one of them */
    bool heard, greeted;    /* something came; the other end's SETTINGS did */
    bool deaf;              /* what still comes is ignored: the connection ends */
    bool noticed, draining; /* we go away: said so; named the last stream */
    bool goaway;            /* the other end goes away: why, and what it said */
    uint32_t goaway_code;
    char goaway_text[64];
    bool wants_time; /* tick() is to be called */
    /* Time: all of it is told by tick(). */
    uint64_t heard_ns, greet_until_ns, ping_until_ns, counting_until_ns;
    bool stalled; /* flow control holds all that there is to send */
    uint64_t stalled_since_ns;
    uint64_t inputs; /* so far */
    /* As SETTINGS began to come: what streams begin with, and the widest window of any. */
    uint32_t send_window_first;
    int32_t send_window_most;
    uint64_t progress; /* grows with each output of what waits, and each that was taken */
    uint64_t look_ns, looked_progress;
    bool waited;        /* at the last look something was to be sent */
    unsigned awaited;   /* requests that are not whole, and are to be in time */
    bool awaited_newly; /* since the last tick */
    /* Limits: counts of the present second. */
    uint32_t resets, controls, credit, continuations, header_bytes;
    uint32_t resets_waiting; /* server: those that we were made to say, and could not yet */
    struct h2_numbers numbers;
    /* The window that grows: bytes since a PING, which measures a round trip. */
    uint32_t window_bytes;
    bool measuring;
    uint64_t measured_bytes, unmeasured_bytes;
    /* Client: how long flow control held what was to come. */
    struct h2_grants grants;
    uint32_t granted_bytes; /* a stream's window, as it was announced last */
    unsigned held;          /* streams, and the connection, that are now */
    bool held_newly;        /* since the last tick */
    uint64_t held_ns;       /* the connection's window did, so far */
    uint64_t now_ns;        /* as tick() said last */
};

/* Once for each piece of memory; then h2_end after each connection. */
void h2_open(struct h2 *h2, struct h2_worker *worker);
void h2_end(struct h2 *h2); /* each stream gets its closed(); harmless where nothing began */

/* As proto_ops has them; h2_begin is called by each of them when it is the first. */
int h2_input(struct h2 *h2, const uint8_t *data, size_t size);
int h2_output(struct h2 *h2, struct proto_output *out);
bool h2_sent(struct h2 *h2, uint64_t cookie, unsigned what);
int h2_tick(struct h2 *h2, uint64_t now_ns, uint64_t *next_ns);
int h2_drain(struct h2 *h2);
int h2_begin(struct h2 *h2);

/* Client: asks; stream is zeroed, its body_left and body_ends set. -ENOMEM, -EPIPE (the other end
 * goes away, or the connection is used up). */
int h2_request(struct h2 *h2, struct h2_stream *stream, const struct h2_header *headers,
               unsigned count);
/* Server: answers. Without a body the answer is its headers alone. */
int h2_respond(struct h2_stream *stream, const struct h2_header *headers, unsigned count,
               bool body);
int h2_trailers(struct h2_stream *stream, const struct h2_header *headers, unsigned count);
/* More body; the first of both may come before h2_respond. */
void h2_body_add(struct h2_stream *stream, uint64_t bytes);
void h2_body_end(struct h2_stream *stream);
/* closed() follows from a later call. */
void h2_reset(struct h2_stream *stream, uint32_t code);
/* For begin(): joins the stream to its connection. */
void h2_stream_begin(struct h2 *h2, struct h2_stream *stream);
/* Server: this request may take its time. */
void h2_stream_unawait(struct h2_stream *stream);
/* Ends the connection with GOAWAY and the code; counted in the row. */
void h2_fail(struct h2 *h2, uint32_t code, enum h2_metric row);

static inline void h2_count(struct h2 *h2, unsigned row, uint64_t n)
{
    meter_add(h2->worker->meter, row, n);
}

#endif
