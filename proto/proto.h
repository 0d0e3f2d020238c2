/*
 * A protocol: bytes in, segments out. It knows no fd, no engine and no clock. The pump joins
 * one protocol state to one connection.
 *
 * Output is pulled: after input, after a kick and when the queue below has drained, the pump
 * asks for segments until there are none or enough is queued. So a protocol with flow control
 * of its own, or with many streams, decides as late as possible what to send next.
 */
#ifndef LAB_PROTO_PROTO_H
#define LAB_PROTO_PROTO_H

#include <stdbool.h>
#include <stdint.h>

#include "core/seg.h"

/* What input, eof, tick and drain return when all is well, bits; a negative errno closes the
 * connection: -EPROTO the peer broke the protocol, -EBADMSG the content is wrong. */
#define PROTO_OK 0
/* The connection is to be closed in order once what is queued has gone out. */
#define PROTO_CLOSE 1
/* Something that came has to do with time: tick() is to be called now. */
#define PROTO_TIME 2
/* input() only: what comes next has to do with time, so that tick() is to be called before it. */
#define PROTO_TIME_BEFORE 4

/* tick(): not before I say so. */
#define PROTO_NEVER UINT64_MAX

/* sent()'s `what`: as the engine says it (engines/engine.h, the same bits). */
#define PROTO_SENT     1u
#define PROTO_RELEASED 2u
#define PROTO_COPIED   4u

/* What the pump asks a protocol for. */
struct proto_output {
    /* To be filled, or pointed at segments of its own, as many as it likes, that stay until it is
     * called again. A buffer segment hands a reference over. */
    struct seg *segs;
    unsigned max;    /* segments that have room */
    uint64_t budget; /* bytes, about so many at most */
    uint64_t cookie; /* 0; another value asks for sent() */
    bool close;      /* false; true: to be closed in order once all this has gone out */
    bool time;       /* false; true: tick() is to be called, as with PROTO_TIME */
    bool last;       /* false; true: there is nothing more now, asking again is not needed */
};

struct proto_ops {
    const char *name;
    /* buf is on loan (buf_ref to keep it). May emit events to whoever set the state up. */
    int (*input)(void *state, struct buf *buf);
    /* The peer will send no more. NULL: the connection is closed in order. */
    int (*eof)(void *state);
    /* Fills out with what goes out now; returns how many segments (0: nothing now) or a negative
     * errno. */
    int (*output)(void *state, struct proto_output *out);
    /* What became of an output that had a cookie. Returns whether there is output to be asked
     * for now. NULL: never asked. */
    bool (*sent)(void *state, uint64_t cookie, unsigned what);
    /* Time, for time-outs: a protocol reads no clock, it is told. Called when a connection has
     * begun, at the moment that it asked for, and when PROTO_TIME or PROTO_TIME_BEFORE was said;
     * *next_ns, which is PROTO_NEVER before, is when it wants to be called again at the latest.
     * NULL: time means nothing to it. */
    int (*tick)(void *state, uint64_t now_ns, uint64_t *next_ns);
    /* Whoever owns the connection wants to end it: say so to the other end, finish what has
     * begun, begin nothing new, and close (PROTO_CLOSE, or close of an output) when that is done.
     * NULL: it is closed in order at once. */
    int (*drain)(void *state);
    /* Something has begun that may take its time, so that silence does not mean idleness. NULL:
     * it does. */
    bool (*busy)(const void *state);
    /* No output is asked for any more, and nobody would take it: what was kept for it is given
     * back, received buffers above all, whose loans would stop the reading. What still comes is
     * told by input. NULL: nothing is kept. */
    void (*mute)(void *state);
};

#endif
