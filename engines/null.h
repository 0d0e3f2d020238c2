/*
 * The null engine: no network. Both ends of a connection live in one instance, and what one
 * sends is lent to the other as it lies in memory, so that what is measured over it is the
 * harness: schedule, workload, protocol, pump. null.c has the instance, null_conn.c the
 * connections.
 *
 * A segment becomes a piece in its sender's queue. Delivered, the same piece is the receiver's
 * loan; returned, it settles its send. SENT and RELEASED come together, when the last piece is
 * back: there is no stack in between that could take something earlier.
 */
#ifndef LAB_ENGINES_NULL_H
#define LAB_ENGINES_NULL_H

#include "engines/conns.h"
#include "engines/engine.h"
#include "engines/park.h"

#define NULL_CONNS_MAX (1u << 20)
/* Upward calls of a poll. */
#define NULL_CALLS_MAX 256u
#define NULL_CHUNK     256u
/* The most that is received at once. */
#define NULL_PIECE_BYTES (64u << 10)
/* Ports that connecting ends, and listeners that asked for any, seem to have. */
#define NULL_PORT_FIRST 32768u

enum null_flag {
    NULL_EMBRYO = 1u << 0,    /* accepted, not attached yet */
    NULL_ANNOUNCED = 1u << 1, /* ... and on_accept was called */
    NULL_OPEN_DUE = 1u << 2,
    NULL_REFUSED = 1u << 3, /* nobody listens there */
    NULL_PAUSED = 1u << 4,
    NULL_STARVED = 1u << 5,  /* at its quota, something waits to be delivered to it */
    NULL_WAITING = 1u << 6,  /* its queue waits for the other side's instance-wide limit */
    NULL_END = 1u << 7,      /* send_end was called */
    NULL_END_GONE = 1u << 8, /* ... and delivered */
    NULL_FIN = 1u << 9,      /* the far end will send no more, all it sent was delivered */
    NULL_EOF_TOLD = 1u << 10,
    NULL_CLOSING = 1u << 11,
    NULL_ABORTING = 1u << 12,
    NULL_RESET = 1u << 13, /* by the far end */
    NULL_DEAD = 1u << 14,  /* waits for what is lent, then on_closed */
    /* These, so that one look at the flags tells whether the short ways can be taken. */
    NULL_QUEUED = 1u << 15,  /* its queue holds several pieces, or one to be looked at */
    NULL_ASKED = 1u << 16,   /* there are sends to be notified of */
    NULL_LIMITED = 1u << 17, /* `bufs=` was given: loans are counted */
    NULL_LOST = 1u << 18,    /* the instance is gone before a loan was back */
};
#define NULL_NOT_NOW  (NULL_EMBRYO | NULL_OPEN_DUE | NULL_PAUSED)
#define NULL_DEAF     (NULL_CLOSING | NULL_ABORTING | NULL_DEAD)
#define NULL_SENDLESS (NULL_END | NULL_CLOSING | NULL_ABORTING | NULL_DEAD)

enum null_turn_state {
    NULL_IDLE,
    NULL_READY,      /* in the list of those with something to do */
    NULL_IN_TURN,    /* doing it */
    NULL_TURN_AGAIN, /* ... and got more to do meanwhile */
};

struct null_block { /* memory for what cannot be lent as it is */
    struct null_block *next;
    uint8_t bytes[];
};

/* In the order in which it is used: most pieces are a whole send, and nobody asks about them. */
struct null_piece {
    struct buf buf;          /* first */
    struct null_piece *next; /* in its sender's queue, or of free ones */
    struct buf *held;        /* the buffer that it lies in */
    uint64_t size;           /* of what is left of the segment */
    bool odd;                /* what follows `sender` is set */
    /* Set while it is kept, the sender of an odd one always. */
    struct null_conn *receiver, *sender;

    struct null_piece *head;  /* the piece that settles its send; NULL: nobody asked */
    struct null_block *block; /* its bytes, if they were copied */
    /* Of a head. */
    bool dropped;        /* not all of it was delivered */
    uint32_t unreturned; /* pieces of the send */
    uint64_t cookie, bytes;
    struct null_piece *next_send;

    int fd; /* of a piece of a file; its buf has no data until it is read */
    uint64_t file_offset;
};

struct null_conn {
    struct conns_item item; /* first */
    uint32_t flags;         /* enum null_flag; 0 nearly always */
    uint8_t turn;           /* enum null_turn_state */
    bool accepted;          /* the side it is of */
    uint8_t reason;         /* enum engine_reason, once dead */
    struct null_conn *next_ready;
    struct null_conn *far; /* NULL: it is gone */
    void *ctx;
    struct null_piece *queue; /* to be delivered */
    uint64_t lent_bytes;      /* its loans that are kept, charged: above 0 while there are any */
    uint32_t out_count;       /* pieces of its own that are on loan */

    uint32_t lent_count; /* where `bufs=` limits it */
    struct null_engine *engine;
    struct null_piece **queue_end;         /* with NULL_QUEUED only */
    struct null_piece *sends, **sends_end; /* to be notified of, in this order */
    int err;
    unsigned listener;
    struct addr *remote;            /* owned: of an embryo */
    struct null_conn *next_waiting; /* or the next to be announced */
};

struct null_list {
    struct null_conn *first, **end;
};

struct null_listener {
    struct addr addr;
    void *ctx;
};

/* The limits of `bufs=` hold for a side: as two instances they would have their own. */
struct null_side {
    uint32_t lent_count;
    struct null_list waiting;
};

struct null_engine {
    struct engine engine; /* first */
    struct park park;
    struct conns conns;
    struct null_list ready;
    struct null_piece *free;
    unsigned calls; /* up, in this poll */
    bool limited;   /* `bufs=` was given: loans are counted */
    bool closing;
    bool accept_paused;
    /* Not yet in the counters, which get them once a poll. */
    uint64_t sends, recvs, recv_bytes;
    uint32_t lent_max, conn_lent_max;
    uint64_t quota_bytes;
    struct null_side sides[2];
    struct null_list embryos;
    struct null_listener *listeners;
    unsigned listeners_count;
    uint16_t port_next;
    struct null_block *blocks;
    struct null_piece **chunks;
    unsigned chunks_count, chunks_room;
};

static inline struct null_engine *null_self(struct engine *engine)
{
    return (struct null_engine *)engine;
}

static inline void null_list_add(struct null_list *list, struct null_conn *c)
{
    c->next_waiting = NULL;
    *list->end = c;
    list->end = &c->next_waiting;
}

static inline struct null_conn *null_list_take_all(struct null_list *list)
{
    struct null_conn *first = list->first;

    list->first = NULL;
    list->end = &list->first;
    return first;
}

static inline void null_append(struct null_engine *e, struct null_conn *c)
{
    c->turn = NULL_READY;
    c->next_ready = NULL;
    *e->ready.end = c;
    e->ready.end = &c->next_ready;
}

/* It has something to do. */
static inline void null_mark(struct null_engine *e, struct null_conn *c)
{
    if (c->turn == NULL_IDLE)
        null_append(e, c);
    else if (c->turn == NULL_IN_TURN)
        c->turn = NULL_TURN_AGAIN;
}

/* null.c */

void null_announce(struct null_engine *e); /* the embryos */

/* null_conn.c */

int null_add_chunk(struct null_engine *e); /* more pieces; -ENOMEM */
struct null_conn *null_conn_new(struct null_engine *e, uint32_t flags, void *ctx);
/* Turns of those that have something to do, until so many upward calls were made. */
void null_rounds(struct null_engine *e, unsigned calls_max);
/* Of one that waits for loans: tells the end without them. Only for an instance that dies. */
void null_force(struct null_engine *e, struct null_conn *c);

int null_recv_pause(struct engine *engine, uint64_t conn);
int null_recv_resume(struct engine *engine, uint64_t conn);
int null_send(struct engine *engine, uint64_t conn, const struct seg *segs, unsigned count,
              uint64_t cookie);
int null_send_end(struct engine *engine, uint64_t conn);
int null_conn_close(struct engine *engine, uint64_t conn, bool abort);

#endif
