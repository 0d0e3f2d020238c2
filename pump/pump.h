/*
 * The pump joins one connection of an engine to one protocol state; client/ and server/ both
 * stand on it. It carries bytes up, segments down, and holds back: it asks the protocol for
 * output only while less than PUMP_QUEUE_BYTES are on their way.
 */
#ifndef LAB_PUMP_PUMP_H
#define LAB_PUMP_PUMP_H

#include "core/timer.h"
#include "engines/engine.h"
#include "proto/proto.h"

#define PUMP_QUEUE_BYTES (4u << 20)
#define PUMP_SEGS_MAX    64
/* The pump asks the engine for word of a send that its protocol does not ask about only when with
 * it so many bytes would be on their way that nobody tells of: what it believes to be on its way is
 * at most so much too high, and most sends cost no notification. */
#define PUMP_ASK_BYTES (128u << 10)
/* A connection that its protocol ended, and whose other end takes nothing, is closed hard after
 * so long (for protocols that go by time), if its owner says nothing else. */
#define PUMP_LINGER_NS 2000000000ull

struct pump_conn;

/* What the owner of a connection hears beside what its protocol tells it. */
struct pump_owner {
    void (*opened)(struct pump_conn *conn); /* connect succeeded; NULL is fine */
    /* The last call. err is a positive errno or 0; reason tells who ended it. Where the protocol
     * ended the connection, err is what it returned. */
    void (*closed)(struct pump_conn *conn, enum engine_reason reason, int err);
};

enum pump_flag {
    PUMP_IN_EVENT = 1u << 0,    /* inside an upward call: output is pulled at its end */
    PUMP_PULLING = 1u << 1,     /* inside the protocol's output */
    PUMP_AGAIN = 1u << 2,       /* ... and asked for more from there */
    PUMP_CLOSING = 1u << 3,     /* conn_close was called, or it is gone */
    PUMP_HELD = 1u << 4,        /* output waits for the queue to drain */
    PUMP_ENDING = 1u << 5,      /* to be closed in order once the protocol has no more output */
    PUMP_PARTING = 1u << 6,     /* it has none; FIN was sent, the other end's is waited for */
    PUMP_TIME_BEFORE = 1u << 7, /* the protocol is told the time before its next input */
    PUMP_MUTE = 1u << 8, /* it has failed: nobody takes its output, what came is still read */
};

/* Embedded in the owner's connection struct. */
struct pump_conn {
    /* What every op needs comes first, on one line of the cache. */
    struct engine *engine;
    uint64_t handle; /* ENGINE_CONN_NONE when there is none */
    const struct proto_ops *proto;
    void *state;
    uint64_t received_bytes; /* by this connection so far */
    uint64_t queued_bytes;   /* on their way, in sends that are asked about */
    uint32_t unasked_bytes;  /* ... and in others since: below PUMP_ASK_BYTES */
    uint32_t flags;          /* enum pump_flag; 0 nearly always between upward calls */

    bool draining; /* the protocol was asked to come to its end */
    bool cut;      /* it was closed hard, after lingering */
    int failed;    /* errno with which the protocol ended it */
    const struct pump_owner *owner;
    struct timers *timers; /* the owner's, who runs them; for protocols that want to know time */
    struct timer timer;
    uint64_t linger_ns; /* 0: PUMP_LINGER_NS */
};

/* How much was sent and is not known to have been taken. */
static inline uint64_t pump_under_way(const struct pump_conn *conn)
{
    return conn->queued_bytes + conn->unasked_bytes;
}

/* A listener's view; ctx of engine->listen(). */
struct pump_listener {
    void (*accepted)(struct pump_listener *listener, struct engine_accepted *accepted);
    void (*failed)(struct pump_listener *listener, int err, uint64_t backoff_ns); /* NULL is fine */
};

/* Hand this to engine open. */
extern const struct engine_events pump_events;

/* conn's proto, state and owner must be set, and timers for a protocol with tick(). 0 or -errno,
 * nothing begun then. */
int pump_connect(struct pump_conn *conn, struct engine *engine, const struct addr *remote,
                 const struct addr *local);
int pump_attach(struct pump_conn *conn, struct engine *engine,
                const struct engine_accepted *accepted);
void pump_kick_now(struct pump_conn *conn);
/* The protocol has something to send: pulls its output now, or at the end of the event. */
static inline void pump_kick(struct pump_conn *conn)
{
    if ((conn->flags & PUMP_IN_EVENT) == 0)
        pump_kick_now(conn);
}
/* Closes; closed() follows from inside poll. Harmless on one that is closing or gone. */
void pump_close(struct pump_conn *conn, bool abort);
/* Asks the protocol to come to an end by itself; closed() follows when it has. */
void pump_drain(struct pump_conn *conn);
/* FIN after what is queued. */
void pump_send_end(struct pump_conn *conn);

#endif
