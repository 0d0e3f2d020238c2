/*
 * The fault engine: stands between whoever uses an engine and the engine, at the contract, and
 * does on purpose and often what networks and kernels do seldom. fault.c has the instance,
 * fault_conn.c the connections.
 *
 * Every upward call of the inner engine becomes an event in one of its connection's queues, and
 * is delivered when it is due, from inside poll. Order within a queue is kept; what has no order
 * by the contract has queues of its own.
 */
#ifndef LAB_ENGINES_FAULT_H
#define LAB_ENGINES_FAULT_H

#include "core/rng.h"
#include "core/timer.h"
#include "engines/conns.h"
#include "engines/engine.h"
#include "engines/park.h"

struct fault_options {
    struct engine_common common; /* first; what is set goes to the inner engine */
    char over[OPTION_TEXT_MAX];
    uint64_t seed;
    uint64_t split_permille, split_bytes;
    uint64_t often_permille; /* of delays, late releases and held loans */
    uint64_t delay_ns, late_ns, hold_ns;
    uint64_t reorder_permille;
    uint64_t reset_permille;
    uint64_t accept_fail_permille;
    uint64_t stall_at_ns, stall_for_ns;
};

enum fault_counter {
    FAULT_SPLITS = ENGINE_COUNTERS_COMMON,
    FAULT_DELAYS,
    FAULT_REORDERS,
    FAULT_LATE_RELEASES,
    FAULT_HELD_LOANS,
    FAULT_RESETS,
    FAULT_STALL_NS,
    FAULT_COUNTERS,
};

enum fault_kind { FAULT_OPEN, FAULT_RECV, FAULT_EOF, FAULT_SENT, FAULT_HOLD };

/* Something that is to be told; of a receive also the loan, until it comes back. */
struct fault_event {
    struct buf buf; /* first: a piece of `inner` */
    struct fault_event *next;
    uint64_t due_ns;
    struct fault_conn *conn;
    struct buf *inner;
    uint64_t cookie, bytes;
    unsigned what; /* or on_recv's flags */
    uint8_t kind;  /* enum fault_kind */
};

struct fault_queue {
    struct fault_event *first, **end;
    uint64_t last_due_ns; /* what comes later is not due before */
};

struct fault_conn {
    struct conns_item item; /* first */
    struct fault_engine *engine;
    void *ctx;
    uint64_t inner; /* its handle */
    bool ready;     /* in the list of those with something due */
    bool put_off;   /* ... and once behind all others in this round */
    bool opened, paused, send_ended, closing, aborting;
    bool lost;   /* has been told of one that was RELEASED and never SENT */
    bool broken; /* by a fault of ours: the inner connection is being aborted */
    bool closed; /* the inner connection is gone */
    uint8_t reason;
    int err;
    uint64_t lent_bytes;
    uint64_t unreleased; /* sends with a cookie, SENT and not RELEASED below */
    struct fault_conn *next_ready;
    struct timer timer;       /* for what is not due yet */
    struct fault_queue in;    /* OPEN, RECV, EOF: stops while paused, or at the quota */
    struct fault_queue out;   /* SENT */
    struct fault_queue late;  /* RELEASED that was kept back */
    struct fault_queue holds; /* loans that came back, or buffers sent, that are let go of later */
};

struct fault_accept {
    struct engine_accepted accepted;
    struct fault_listener *listener;
    uint64_t due_ns;
};

struct fault_listener {
    struct fault_engine *engine;
    void *ctx;
    struct fault_listener *next;
};

struct fault_engine {
    struct engine engine; /* first */
    struct fault_options options;
    struct engine_spec spec;
    struct engine_config config; /* of the inner one */
    struct engine *inner;
    struct park park;
    struct rng rng;
    struct timers timers;
    struct conns conns;
    struct fault_conn *ready, **ready_end;
    struct fault_event *free;
    struct fault_event **chunks;
    unsigned chunks_count, chunks_room;
    struct fault_listener *listeners;
    struct fault_accept *accepts; /* in the order in which they came */
    unsigned accepts_count, accepts_room;
    bool accept_paused;
    bool closing;
    unsigned calls;                        /* up, in this poll */
    uint64_t seen[ENGINE_COUNTERS_COMMON]; /* of the inner engine's counters */
    uint64_t now_ns, stall_from_ns, stall_to_ns;
};

static inline struct fault_engine *fault_self(struct engine *engine)
{
    return (struct fault_engine *)engine;
}

static inline bool fault_strikes(struct fault_engine *e, uint64_t permille)
{
    return permille > 0 && rng_below(&e->rng, 1000) < permille;
}

/* When something is due that may be put off by up to most_ns. */
static inline uint64_t fault_due_ns(struct fault_engine *e, uint64_t most_ns, unsigned counter)
{
    if (most_ns == 0 || !fault_strikes(e, e->options.often_permille))
        return e->now_ns;
    engine_count(&e->engine, counter, 1);
    return e->now_ns + 1 + rng_below(&e->rng, most_ns);
}

/* fault_conn.c */

void fault_on_open(void *ctx);
void fault_on_recv(void *ctx, struct buf *buf, unsigned flags);
void fault_on_eof(void *ctx);
void fault_on_sent(void *ctx, uint64_t cookie, uint64_t bytes, unsigned what);
void fault_on_closed(void *ctx, enum engine_reason reason, int err);

int fault_add_events(struct fault_engine *e); /* memory for more; -ENOMEM */
/* Fires timers and delivers what is due by e->now_ns. */
void fault_deliver(struct fault_engine *e);
/* Before the inner instance is closed: drops what nobody shall hear any more, and ends what the
 * inner one has ended. */
void fault_conn_prepare_close(struct fault_engine *e, struct fault_conn *c);

int fault_attach(struct engine *engine, const struct engine_accepted *accepted, void *ctx,
                 uint64_t *conn);
int fault_connect(struct engine *engine, const struct addr *remote, const struct addr *local,
                  void *ctx, uint64_t *conn);
int fault_recv_pause(struct engine *engine, uint64_t conn);
int fault_recv_resume(struct engine *engine, uint64_t conn);
int fault_send(struct engine *engine, uint64_t conn, const struct seg *segs, unsigned count,
               uint64_t cookie);
int fault_send_end(struct engine *engine, uint64_t conn);
int fault_conn_close(struct engine *engine, uint64_t conn, bool abort);

#endif
