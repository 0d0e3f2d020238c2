/*
 * What the io_uring engine's files share. io_uring.c has the ops and the poll round, _setup.c the
 * ring itself, _conn.c the life of connections and listeners, _recv.c buffers and receiving,
 * _send.c sending.
 *
 * Nothing but the poll round enters the kernel, and submission entries are written in one place:
 * whatever happens to a connection marks it dirty, and uring_flush lets each dirty one take its
 * next step (uring_conn_step) when there is room for it in the queue.
 */
#ifndef LAB_ENGINES_IO_URING_INTERNAL_H
#define LAB_ENGINES_IO_URING_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "engines/conns.h"
#include "engines/engine.h"
#include "engines/io_uring_compat.h"
#include "engines/sendq.h"
#include "engines/sock.h"

struct uring_engine;

extern const struct engine_ops io_uring_engine;

/* --- the ring (io_uring_setup.c) --- */

/* What a ring uses; those with a name can be left out by without=NAME, to test the fallback. */
enum uring_feature {
    URING_DEFER_TASKRUN = 1u << 0,
    URING_MULTISHOT = 1u << 1,
    URING_BUF_RING = 1u << 2,
    URING_BUNDLES = 1u << 3,
    URING_EXT_ARG = 1u << 4,
    URING_CQE_SKIP = 1u << 5,
    URING_COOP_TASKRUN = 1u << 6,
    URING_TASKRUN_FLAG = 1u << 7,
    URING_ABS_TIMER = 1u << 8,
    URING_SQPOLL = 1u << 9,
    URING_SEND_ZC = 1u << 10,
    URING_SENDMSG_ZC = 1u << 11,
    URING_NAPI = 1u << 12,
};

enum uring_zc { URING_ZC_AUTO, URING_ZC_ON, URING_ZC_OFF };
enum uring_bundles { URING_BUNDLES_AUTO, URING_BUNDLES_ON, URING_BUNDLES_OFF };

struct uring_options {
    struct engine_common common;
    uint64_t spin_ns;
    uint64_t napi_ns;
    uint64_t zc_min_bytes;
    int zc;      /* enum uring_zc */
    int bundles; /* enum uring_bundles */
    bool sqpoll;
    bool fixed;
    char without[OPTION_TEXT_MAX]; /* features by name, joined by '+' */
};

/* -EINVAL with a sentence if the text is no such list of features. */
int uring_check_without(const char *text, struct lab_error *err);

struct uring_ring {
    struct io_uring io;
    unsigned features;              /* enum uring_feature: in use */
    uint64_t timer_ns;              /* without EXT_ARG: the armed time-out; CLOCK_NEVER: none */
    struct __kernel_timespec timer; /* read by the kernel at submission */
};

#define URING_SQ_ENTRIES 512u

/* The best that this kernel gives, less what options->without says. -errno with a sentence that
 * says what to do; nothing is left then. */
int uring_ring_open(struct uring_ring *ring, const struct uring_options *options,
                    uint32_t conns_hint, struct lab_error *err);
void uring_ring_close(struct uring_ring *ring);
/* Whether to begin with zero-copy sends. Their segments lie across pages, and a receive buffer that
 * has no room for a whole one lets bytes in by the sender's window probes only, of 0.2 s and more.
 */
#define URING_ZC_RCVBUF_MIN (64u << 10)
bool uring_ring_sends_zc(const struct uring_ring *ring, const struct uring_options *options);
/* Once the ring and the pool are open. */
void uring_ring_describe(const struct uring_ring *ring, const struct uring_options *options,
                         struct engine_caps *caps);

/* Submits what is queued, runs what the kernel left for this task and waits for wait_nr
 * completions, until deadline_ns. Returns the number of system calls made (0: there was no need),
 * -errno if the ring is broken. */
int uring_ring_enter(struct uring_ring *ring, unsigned wait_nr, uint64_t deadline_ns);
/* Submits what is queued, and leaves what the kernel has for this task to the next call. Returns as
 * the above. Not with SQPOLL. */
int uring_ring_hand_over(struct uring_ring *ring);

/* user_data: whose completion (generation and index as in a connection's handle), and of what. */
enum uring_kind {
    URING_FORGET, /* nobody waits for it */
    URING_RECV,
    URING_SEND, /* the high half of the byte is its place among zero-copy sends */
    URING_READ,
    URING_POLL_OUT,
    URING_CONNECT,
    URING_CLOSE,
    URING_ACCEPT, /* index: the listener's */
    URING_WAKE,
    URING_TIMER,
    URING_PROVIDE, /* index: the buffer's */
    URING_CANCEL,
};
#define URING_CONNS_MAX (1u << 24)

static inline uint64_t uring_tag(enum uring_kind kind, uint32_t index, uint32_t generation)
{
    return (uint64_t)generation << 32 | (uint64_t)index << 8 | kind;
}

/* --- receive buffers (io_uring_recv.c) --- */

struct uring_buf {
    struct buf buf; /* first */
    union {
        struct uring_buf *next;  /* of free ones, or of a stash */
        struct uring_conn *conn; /* while on loan */
    };
    struct uring_engine *engine;
    uint8_t *memory;
    uint32_t charge_bytes; /* against its connection's quota */
    uint16_t id;
    uint16_t place; /* in the ring */
};

struct uring_pool {
    struct io_uring_buf_ring *ring; /* NULL: buffers are handed over by PROVIDE_BUFFERS */
    uint16_t *order;                /* the buffer at each place of the ring, for bundles */
    uint32_t ring_entries;          /* a power of two */
    uint32_t ring_target;           /* as many as are kept in it */
    uint32_t ring_fill;             /* in it, as far as completions tell */
    uint16_t ring_tail;
    struct uring_buf *table; /* room for count_max, used up to count */
    struct uring_buf *free;  /* last in, first out: hot ones first */
    uint32_t count, count_max;
    uint32_t conn_count_max;   /* loans a connection */
    uint32_t charge_bytes_min; /* of a loan, against its quota */
    uint32_t size;             /* bytes of a buffer */
    void **blocks;             /* their memory */
    uint32_t block_bufs, block_count;
};

/* -errno with a sentence. The ring must be open. */
int uring_pool_open(struct uring_engine *engine, const struct engine_config *config,
                    struct lab_error *err);
void uring_pool_close(struct uring_engine *engine);
void uring_provide_done(struct uring_engine *engine, uint32_t id, int result);
/* Hands free buffers to the kernel. */
void uring_pool_fill(struct uring_engine *engine);

/* --- sending (io_uring_send.c) --- */

#define URING_GATHER_IOVS  256u
#define URING_GATHER_BYTES (URING_GATHER_IOVS * sizeof(struct iovec))
#define URING_FILE_BYTES   (64u << 10)
#define URING_ZC_SLOTS     16u

enum uring_gather_kind {
    URING_GATHER_COPY,   /* the queue has let go of what it sends */
    URING_GATHER_PIECES, /* points into the queue's memory */
    URING_GATHER_ZC,     /* the same, until its notification */
    URING_GATHER_FILE,   /* read by a linked entry; the queue moves when it is sent */
};

/* A submission that needs memory of its own until it is complete. */
struct uring_gather {
    struct uring_gather *next;
    struct msghdr message;
    uint8_t *copy;   /* its own area or a larger one */
    uint64_t bytes;  /* what it sends */
    uint64_t offset; /* a copy's bytes that are gone */
    uint8_t kind;    /* enum uring_gather_kind */
    uint8_t slot;    /* among the zero-copy sends of its connection */
    bool large;      /* has an area of URING_FILE_BYTES */
    bool settled;    /* zero-copy: notified */
    bool was_copied;
    union {
        struct iovec iov[URING_GATHER_IOVS];
        uint8_t area[URING_GATHER_BYTES];
    };
};

/* --- connections (io_uring_conn.c) --- */

enum uring_conn_state {
    URING_CONN_CONNECTING,
    URING_CONN_OPEN,
    URING_CONN_CLOSING, /* what is queued goes out, then it ends */
    URING_CONN_ENDING,  /* waits for its completions, notifications and loans */
};

/* What a connection's sending side has in the ring. */
enum uring_out {
    URING_OUT_IDLE,
    URING_OUT_QUIET, /* leaves a completion only if it fails, by the end of its submission */
    URING_OUT_SEND,
    URING_OUT_FILE, /* a read linked to a send */
    URING_OUT_POLL, /* for room, before sendfile goes on */
};

struct uring_conn {
    struct conns_item item; /* first */
    int fd;                 /* -1: closed */
    int ring_fd;            /* fd, or its index in the registered table */
    uint8_t ring_flags;     /* IOSQE_FIXED_FILE or 0 */
    uint8_t state;          /* enum uring_conn_state */
    uint8_t out;            /* enum uring_out */
    uint8_t reason;         /* enum engine_reason, once it ends */
    int err;
    void *ctx;
    uint32_t ops; /* entries in the ring whose last completion is to come */

    bool dirty;
    bool begun;       /* connecting: submitted; ending: so is what ends it */
    bool close_asked; /* conn_close while connecting */
    bool abort;       /* ends with a RST */
    bool dropped;     /* the queue is */
    bool large;       /* has sent much in one go: sock.h */
    bool lingers;     /* closing, all is sent, and the peer has yet to take it */
    bool fixed;       /* has a slot in the registered table */
    bool connecting;  /* the connect is in the ring */

    bool recv_armed, recv_cancelled, recv_paused, recv_starved;
    bool recv_single;    /* armed again each time: see uring_recv_arm */
    bool recv_multishot; /* of the one that is armed */
    bool recv_ended;     /* FIN or an error was received, see recv_err */
    bool eof_told;
    int recv_err;
    bool recv_dropped;        /* bytes came in while closing */
    uint32_t recv_over_round; /* the round in which the quota was reached */
    uint32_t lent_count;
    uint64_t lent_bytes;
    struct uring_buf *stash, *stash_last; /* received and not delivered: paused, or at its quota */

    bool mute;   /* takes nothing more to be sent: asked to end or to close, or it has failed */
    bool buried; /* on_closed is told: the handle is stale */
    bool end_wanted, end_sent;
    bool out_nonblocking;   /* the socket is, for sendfile */
    bool in_quiet;          /* on the list of quiet sends */
    int send_err;           /* the peer is gone; ends it when its last words are read */
    uint32_t out_submitted; /* a quiet send's place in the submission queue, plus one */
    uint32_t read_bytes;    /* what the linked read has to bring */
    struct sendq queue;
    struct uring_gather *gather;       /* in flight, if it needs one */
    struct uring_gather *zc, *zc_last; /* sent, to be released in this order */
    uint16_t zc_slots;                 /* in use */

    struct uring_conn *dirty_next, *starved_next, *quiet_next;
    union {
        struct addr remote; /* of a connect */
        struct {
            struct uring_conn *next, **from;
        } linger; /* once it lingers: among those that do */
    };
};

struct uring_listener {
    struct sock_listener sock;
    void *ctx;
    struct sock_backoff backoff;
    uint64_t retry_ns; /* after a failure; 0: now */
    bool armed, cancelled;
    int *held; /* accepted while pausing */
    unsigned held_count, held_room;
};

struct uring_list {
    struct uring_conn *first, *last;
};

struct uring_engine {
    struct engine base; /* first */
    struct uring_options options;
    struct engine_config config; /* options points to the member above */
    struct uring_ring ring;
    struct conns conns;
    struct uring_pool pool;

    unsigned calls_up; /* in this poll */
    uint32_t round;
    struct uring_list dirty, starved, quiet;
    bool feeding;      /* the starved: who else asks for a receive meanwhile goes behind them */
    bool behind_quiet; /* something waits for a quiet send to be settled */

    struct uring_gather *gathers, *large_gathers; /* free */
    bool zc_on;
    bool bulk;          /* messages are large: one receive at a time, into large buffers */
    bool bundles;       /* a receive may fill several buffers */
    unsigned zc_copied; /* notifications in a row that said so */
    bool napi_noted;

    struct uring_listener *listeners;
    unsigned listener_count;
    bool accept_paused, listeners_dirty;
    uint64_t retry_ns; /* the next moment to look after listeners and lingering connections */
    struct uring_conn *lingering;
    uint32_t fixed_count; /* registered file slots */

    int wake_fd;
    _Atomic bool wake_asked;
    uint64_t wake_value;
    bool wake_armed, woken;
    bool closing;
    unsigned handed_over;   /* looks in a row that did only that */
    uint64_t busy_since_ns; /* spinning: end of the last empty look */
};

static inline bool uring_uses(const struct uring_engine *e, unsigned features)
{
    return (e->ring.features & features) == features;
}

/* The caller has seen to room (uring_flush does). */
static inline struct io_uring_sqe *uring_sqe(struct uring_engine *e)
{
    return io_uring_get_sqe(&e->ring.io);
}

static inline uint64_t uring_conn_tag(const struct uring_conn *c, enum uring_kind kind)
{
    return uring_tag(kind, c->item.index, c->item.generation);
}

/* Of the send that is in flight. */
static inline uint64_t uring_send_tag(const struct uring_conn *c)
{
    uint64_t slot = c->gather != NULL && c->gather->kind == URING_GATHER_ZC ? c->gather->slot : 0;

    return uring_conn_tag(c, URING_SEND) | slot << 4;
}

/* Its next step is to be taken. */
static inline void uring_mark_dirty(struct uring_engine *e, struct uring_conn *c)
{
    if (c->dirty)
        return;
    c->dirty = true;
    c->dirty_next = NULL;
    if (e->dirty.last != NULL)
        e->dirty.last->dirty_next = c;
    else
        e->dirty.first = c;
    e->dirty.last = c;
}

static inline bool uring_has_unread(struct uring_engine *e, const struct uring_conn *c)
{
    engine_count(&e->base, ENGINE_SYSTEM_CALLS, 1);
    return sock_has_unread(c->fd);
}

/* Submission entries that one step of a connection takes at most. */
#define URING_STEP_ENTRIES 8u

/* Makes room for one, submitting what is queued if need be; false: there is none now. */
bool uring_room(struct uring_engine *e);

/* NULL: stale, or ending already. */
static inline struct uring_conn *uring_find(const struct uring_engine *e, uint64_t handle)
{
    struct uring_conn *c = conns_find(&e->conns, handle);

    return c != NULL && c->state != URING_CONN_ENDING ? c : NULL;
}

void uring_conn_step(struct uring_engine *e, struct uring_conn *c);
/* Ends it: err 0 with CLOSED_LOCALLY or CLOSED_BY_PEER; a positive errno drops what is queued. */
void uring_conn_end(struct uring_engine *e, struct uring_conn *c, enum engine_reason reason,
                    int err);
/* Asks the kernel to give up what the connection has in the ring under that tag. */
void uring_conn_cancel(struct uring_engine *e, struct uring_conn *c, uint64_t tag);
void uring_connect_done(struct uring_engine *e, struct uring_conn *c, int result);
void uring_close_done(struct uring_engine *e, struct uring_conn *c);
void uring_cancel_failed(struct uring_engine *e, struct uring_conn *c);

void uring_listeners_step(struct uring_engine *e);
void uring_accept_done(struct uring_engine *e, uint32_t index, int result, unsigned flags);
/* Calls of the contract. */
int uring_attach(struct engine *engine, const struct engine_accepted *accepted, void *ctx,
                 uint64_t *conn);
int uring_connect(struct engine *engine, const struct addr *remote, const struct addr *local,
                  void *ctx, uint64_t *conn);
int uring_conn_close(struct engine *engine, uint64_t conn, bool abort);
int uring_listen(struct engine *engine, const struct addr *addr, void *listener_ctx,
                 struct addr *bound, struct lab_error *err);

/* Takes a new connection; NULL if there is no room. Its fd stays the caller's then. */
struct uring_conn *uring_conn_new(struct uring_engine *e, int fd, enum uring_conn_state state,
                                  void *ctx);
/* What is due at retry_ns. */
void uring_retry(struct uring_engine *e);

void uring_recv_step(struct uring_engine *e, struct uring_conn *c);
void uring_recv_done(struct uring_engine *e, struct uring_conn *c, int result, unsigned flags);
void uring_recv_drop_stash(struct uring_engine *e, struct uring_conn *c);

void uring_send_step(struct uring_engine *e, struct uring_conn *c);
void uring_send_done(struct uring_engine *e, struct uring_conn *c, unsigned slot, int result,
                     unsigned flags);
void uring_read_done(struct uring_engine *e, struct uring_conn *c, int result);
void uring_poll_out_done(struct uring_engine *e, struct uring_conn *c, int result);
void uring_send_settle_quiet(struct uring_engine *e);
void uring_send_drop(struct uring_engine *e, struct uring_conn *c);
void uring_gathers_free(struct uring_engine *e);

#endif
