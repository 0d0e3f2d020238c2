/*
 * Private to the dpdk engine: dpdk.c has the instance and its polling, dpdk_conn.c the
 * connections, dpdk_place.c which wire and which addresses, dpdk_table.c options, metrics and
 * what can be done here.
 *
 * The engine stands on two rooms that know nothing of each other's headers: wire.h (DPDK) and
 * stack.h (lwIP). lwIP only marks connections; all upward calls come from dpdk_run_marked, when
 * the burst is through the stack.
 */
#ifndef LAB_ENGINES_DPDK_DPDK_H
#define LAB_ENGINES_DPDK_DPDK_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "core/clock.h"
#include "engines/bufpool.h"
#include "engines/conns.h"
#include "engines/dpdk/stack.h"
#include "engines/dpdk/wire.h"
#include "engines/engine.h"
#include "engines/sendq.h"
#include "engines/sock.h"

#define DPDK_CONNS_MAX   0x01000000u
#define DPDK_GATHER_SEGS 64u
#define DPDK_FILE_BYTES  (64u << 10)
#define DPDK_WINDOW      65535u /* what lwIP announces at first */
#define DPDK_WINDOW_PART 8u     /* so large a part of it is worth opening */

enum dpdk_via { DPDK_VIA_AF_PACKET, DPDK_VIA_AF_XDP };

struct dpdk_options {
    struct engine_common common; /* first */
    char eal[OPTION_TEXT_MAX];
    uint64_t mtu;
    uint64_t ring, burst, mbufs;
    int via; /* enum dpdk_via */
    bool zero_copy, huge, plain;
};

/* Rows of dpdk_metrics after the common ones. */
enum dpdk_metric {
    DPDK_FRAMES_RECEIVED = ENGINE_COUNTERS_COMMON,
    DPDK_FRAMES_SENT,
    DPDK_BURSTS_SENT,
    DPDK_RING_FULL,
    DPDK_FRAMES_DROPPED,
    DPDK_ALLOCATIONS_FAILED,
    DPDK_RETRANSMISSIONS,
    DPDK_TIME_WAITS_GIVEN_UP,
    DPDK_FAULTS,
    DPDK_BURST_FRAMES, /* histograms */
    DPDK_INPUT_NS,
    DPDK_APPLICATION_NS,
    DPDK_OUTPUT_NS,
    DPDK_TRANSMIT_NS,
    DPDK_METRICS,
};
extern const struct metric_def dpdk_metrics[];
extern const struct option_def dpdk_options[];

enum dpdk_state {
    DPDK_CONNECTING,
    DPDK_REFUSED,   /* the stack never knew it: on_closed is due */
    DPDK_CONNECTED, /* on_open is due */
    DPDK_EMBRYO,    /* accepted, not attached */
    DPDK_OPEN,
    DPDK_FINISHING, /* closed by us: waits for the peer to have our FIN */
    DPDK_DEAD,      /* on_closed waits for loans */
};

struct dpdk_conn {
    struct conns_item item; /* first */
    struct dpdk_engine *engine;
    struct stack_conn *stack; /* NULL: gone */
    uint8_t state;            /* enum dpdk_state */
    uint8_t reason;           /* enum engine_reason, once dead */
    bool marked, paused, starved, blocked;
    bool ended, eof; /* the peer's FIN came; was told */
    bool mute;       /* takes nothing more to be sent: asked to end or to close, or it has failed */
    bool send_end, fin, fin_acknowledged;
    bool closing, aborting;
    bool buried;  /* on_closed is told: the handle is stale */
    bool leaving; /* in the list of those whose FIN is to be acknowledged */
    int err;
    void *ctx;
    struct dpdk_conn *next_marked, *next_accepted, *next_leaving;
    struct wire_frame *received, **received_end; /* not told yet */
    uint32_t window;                             /* dealt with, the window is to be opened by it */
    uint32_t debt;                               /* rcvbuf=: so much of it is never opened */
    struct loans loans;
    struct sendq sendq;
    struct addr remote; /* of an accepted one */
};

struct dpdk_listener {
    struct dpdk_engine *engine;
    struct stack_listener *stack;
    void *ctx;
    struct dpdk_conn *accepted, **accepted_end;
};

/* Where an instance is: on which wire, under which addresses. */
struct dpdk_place {
    bool server;
    struct in_addr address, gateway;
    struct in_addr peer; /* of a memif: who reads its ring; else none */
    struct in6_addr address6;
    unsigned prefix;
    char device[OPTION_TEXT_MAX];
    uint8_t mac[6];
};

struct dpdk_engine {
    struct engine engine; /* first */
    struct engine_config config;
    struct dpdk_options options;
    struct wire *wire;
    struct dpdk_place place;
    const char *how; /* "" or why the stack goes the plain way */
    uint32_t debt;   /* of a new connection */
    int upcalls;
    bool in_poll, closing;
    _Atomic bool woken;
    struct conns conns;
    struct dpdk_conn *marked, **marked_end, *current;
    unsigned marked_count;
    struct dpdk_conn *leaving; /* some of them need it no more */
    uint32_t lent, lent_max;   /* loans of the instance */
    /* The device's frames that wait to be told or are lent; from so many on, what comes is copied,
     * so that the device has some left for others, and for what sets these free. */
    uint32_t held, held_max, kept_max; /* kept: in the stack, before their turn */
    uint32_t window_least;             /* of a connection, to be opened at once */
    unsigned starved_count;
    /* Accepting. */
    struct dpdk_listener **listeners;
    unsigned listeners_count;
    struct sock_backoff backoff;
    uint64_t accept_again_ns; /* CLOCK_NEVER: not backing off */
    unsigned accept_failures;
    bool accept_paused;
    /* Time. */
    uint64_t tick_cycles, cycles_a_tick, busy_since, idle_since, ns_scale;
    bool idle;
    unsigned empty, silent, rounds, ticks;
    uint64_t upcall_cycles; /* of the round that is timed */
    bool timed;
    struct wire_counts wire_before;
    struct stack_counts stack_before;
    struct iovec iov[DPDK_GATHER_SEGS];
    uint8_t file[DPDK_FILE_BYTES];
};

static inline struct dpdk_engine *dpdk_self(struct engine *engine)
{
    return (struct dpdk_engine *)engine;
}

static inline uint64_t dpdk_cycles_ns(const struct dpdk_engine *e, uint64_t cycles)
{
    return (uint64_t)((unsigned __int128)cycles * e->ns_scale >> 32);
}

/* dpdk_conn.c */
extern const struct stack_events dpdk_stack_events;
void dpdk_run_marked(struct dpdk_engine *e);
/* Marks those whose FIN has been acknowledged, which the stack does not tell. */
void dpdk_look_at_leaving(struct dpdk_engine *e);
void dpdk_link_lost(struct dpdk_engine *e); /* the other end of the wire has gone */
void dpdk_conn_abort(struct dpdk_engine *e, struct dpdk_conn *c);
void dpdk_refuse(struct dpdk_engine *e, struct dpdk_conn *c); /* an embryo: gone without a word */
int dpdk_attach(struct engine *engine, const struct engine_accepted *accepted, void *ctx,
                uint64_t *conn);
int dpdk_connect(struct engine *engine, const struct addr *remote, const struct addr *local,
                 void *ctx, uint64_t *conn);
int dpdk_recv_pause(struct engine *engine, uint64_t conn);
int dpdk_recv_resume(struct engine *engine, uint64_t conn);
int dpdk_send(struct engine *engine, uint64_t conn, const struct seg *segs, unsigned count,
              uint64_t cookie);
int dpdk_send_end(struct engine *engine, uint64_t conn);
int dpdk_conn_close(struct engine *engine, uint64_t conn, bool abort);

/* dpdk_place.c */

/* What wire such an instance would have; -errno with a sentence. */
int dpdk_wire_config(const struct engine_config *config, struct wire_config *wire,
                     struct lab_error *err);
/* Opens the wire and the stack upon it, if that was not done: for a server, or for a client of
 * that remote end. */
int dpdk_place_open(struct dpdk_engine *e, bool server, const struct addr *remote,
                    struct lab_error *err);
void dpdk_place_close(struct dpdk_engine *e);
/* Whether it can listen there: on a link, an address of this end's, or any. */
int dpdk_place_check(const struct dpdk_engine *e, const struct addr *addr, struct lab_error *err);
/* How many connections may have windows twice as wide as lwIP's: as many as a quarter of the frames
 * is enough for. One that finds none is lost, and TCP takes a second to notice. None where plain,
 * rcvbuf or sndbuf says otherwise. */
uint32_t dpdk_wide_most(const struct dpdk_options *options, const struct wire_config *wire);

/* dpdk_table.c */
int dpdk_probe(const struct engine_config *config, struct engine_caps *caps, struct lab_error *err);
void dpdk_fill_caps(const struct engine_config *config, const char *how, struct engine_caps *caps);

#endif
