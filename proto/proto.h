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

#include <stdint.h>

#include "core/seg.h"

/* What input, eof and output return when all is well; a negative errno closes the connection:
 * -EPROTO the peer broke the protocol, -EBADMSG the content is wrong. */
#define PROTO_OK 0
/* The connection is to be closed in order once what is queued has gone out. */
#define PROTO_CLOSE 1

/* sent()'s `what`: as the engine says it (engines/engine.h, the same bits). */
#define PROTO_SENT     1u
#define PROTO_RELEASED 2u
#define PROTO_COPIED   4u

struct proto_ops {
    const char *name;
    /* buf is on loan (buf_ref to keep it). May emit events to whoever set the state up. */
    int (*input)(void *state, struct buf *buf);
    /* The peer will send no more. NULL: the connection is closed in order. */
    int (*eof)(void *state);
    /* Fills segs with what goes out now, at most max, about budget bytes; returns how many (0:
     * nothing now) or a negative errno. *cookie (0 on entry) other than 0 asks for sent(). */
    int (*output)(void *state, struct seg *segs, unsigned max, uint64_t budget, uint64_t *cookie);
    /* ENGINE_SENT 1, ENGINE_RELEASED 2, ENGINE_COPIED 4, as the engine says it. NULL: never asked.
     */
    void (*sent)(void *state, uint64_t cookie, unsigned what);
};

#endif
