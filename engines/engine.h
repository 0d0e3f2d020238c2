/*
 * The engine contract: a way to move bytes, completion style. One instance a worker thread;
 * every call down but wake() comes from that thread, every call up from inside poll().
 *
 * Rules (docs/architecture.md gives the reasons):
 *  1. Upward calls come only from inside poll(), never from inside a call down.
 *  2. send() only queues. What a connection queued within one upward call goes out as one
 *     gather when that call returns; what was queued outside of any goes out first thing in the
 *     next poll(). An engine that submits in batches hands over at the end of the poll round, or
 *     first thing in the next poll().
 *     At most one submission is in flight a connection, so that bytes are never reordered.
 *     All bytes go or the connection fails: nobody above sees a short write.
 *  3. A received buffer is on loan (core/seg.h). At its loan quota a connection is not read
 *     until loans return; others are.
 *  4. on_closed is a connection's last upward call and comes once, after every completion,
 *     notification and loan of it. Handles carry a generation: a stale one gives -ESTALE.
 *  5. accept failing for want of fds or memory: on_accept_error, then a pause of 10 to 100 ms.
 *  6. Timers are core/timer.h's: an engine only knows poll's deadline, kept to nanoseconds.
 *  7. Socket options are set on listeners and before connect.
 *  8. No allocation and no lock in steady state.
 *  9. Of a connection that has failed, what had come before is told first, and on_closed last.
 * Until then it takes nothing more: send gives -EPIPE from the moment that the engine knows, which
 * is no later than the first RELEASED without SENT, within that very call too. Whoever answers
 *     RELEASED with the next send comes to an end.
 */
#ifndef LAB_ENGINES_ENGINE_H
#define LAB_ENGINES_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/counter.h"
#include "core/error.h"
#include "core/hist.h"
#include "core/link.h"
#include "core/metric.h"
#include "core/option.h"
#include "core/seg.h"

struct engine; /* an instance; each engine embeds it first in its own */

/* A connection's handle: generation in the high half. Never 0. */
#define ENGINE_CONN_NONE 0ull

/* Said by record_states of core/record.h. */
enum cap_state {
    CAP_ABSENT,
    CAP_NATIVE,
    CAP_EMULATED,
    CAP_NO_EFFECT, /* asked for and granted, and does nothing here */
};

struct engine_cap {
    const char *name; /* static: "multishot receive", "zero-copy send" ... */
    enum cap_state state;
    char note[100]; /* why, or what to do; "" if there is nothing to say */
};

#define ENGINE_CAPS_MAX 24 /* at most as many as caps_without_effect has bits */

/* What an instance (or a would-be one) can do. Saved with every result. */
struct engine_caps {
    uint32_t conns_max;   /* connections an instance; 1 = a worker a connection */
    bool spins;           /* its waiting burns the core: compared only with its like */
    bool one_per_process; /* a process-wide stack: several workers are several processes */
    bool both_sides;      /* client and server must share one instance (null) */
    bool user_stack;      /* TCP/IP of its own: it takes the link's device, not a socket */
    bool attach;          /* accepted connections can move to another instance */
    bool unix_sockets;
    bool privileged; /* what it has open, or opens later, takes the rights that opening took */
    unsigned count;
    struct engine_cap list[ENGINE_CAPS_MAX];
};

/* Appends a capability; a NULL note is "". */
void engine_caps_add(struct engine_caps *caps, const char *name, enum cap_state state,
                     const char *note);

/* Of an instance, in its thread, at any time: one that it has does nothing here. why replaces its
 * note; NULL leaves it. */
void engine_cap_without_effect(struct engine *engine, const char *name, const char *why);

/* The options that every engine has; each engine's options struct begins with it. */
struct engine_common {
    uint64_t bufs;       /* receive buffers an instance; 0 = the engine's choice */
    uint64_t sndbuf;     /* SO_SNDBUF, bytes; 0 = the system's */
    uint64_t rcvbuf;     /* SO_RCVBUF, bytes; 0 = the system's */
    uint64_t loan_bytes; /* loan quota a connection */
};
extern const struct option_def engine_common_options[];

struct engine_config {
    const void *options;     /* the engine's parsed options: struct engine_common first */
    uint64_t message_size;   /* expected size of a message, for sizing receive buffers; 0 = unknown,
                              * UINT64_MAX = a stream without end */
    uint32_t conns_hint;     /* connections expected on this instance; tables grow beyond it */
    const char *cc;          /* TCP congestion control by name; NULL = the system's */
    bool reuseport;          /* several listeners share the address */
    int backlog;             /* listen backlog; 0 = the system's most */
    const struct link *link; /* this side's view; NULL = whatever the address is on. Stays valid
                              * while the instance is open */
    bool verbose;            /* what a library of the engine's says goes to stderr; else nowhere */
    /* No thread but the one that opens it uses descriptors that it opens later, nor it theirs: it
     * may keep a table of its own, in which the kernel need not count who uses what. Not for an
     * engine with a worker a connection, which another instance has accepted. */
    bool apart;
};

/* A connection that waits to be attached: to the instance that accepted it, or (caps.attach)
 * to another one of the same engine, in another thread. The receiver of on_accept owns it. */
struct engine_accepted {
    intptr_t token; /* the fd, for engines that have one */
    struct addr remote;
};

/* on_sent's `what`. SENT and RELEASED come once each for a send with a cookie, possibly
 * together; COPIED rides on RELEASED and says that zero-copy was not. */
#define ENGINE_SENT     1u /* the stack has taken all of it */
#define ENGINE_RELEASED 2u /* its memory may be reused */
#define ENGINE_COPIED   4u

/* on_recv's flags. */
#define ENGINE_RECV_END  1u /* end of a message (datagram peers) */
#define ENGINE_RECV_MORE 2u /* a hint: more bytes of this connection follow in this poll round */

enum engine_reason {
    ENGINE_CLOSED_LOCALLY, /* conn_close, done; err 0 */
    ENGINE_CLOSED_BY_PEER, /* both directions ended in order; err 0 */
    ENGINE_CLOSED_CONNECT, /* connect failed; err tells */
    ENGINE_CLOSED_RESET,   /* ECONNRESET, EPIPE */
    ENGINE_CLOSED_ERROR,   /* any other error; err tells */
};
const char *engine_reason_name(enum engine_reason reason);

/*
 * Upward calls, one const table an instance. ctx is what connect or attach were given. Any call
 * down on any connection of the instance is allowed inside, conn_close of this one too.
 */
struct engine_events {
    void (*on_accept)(void *listener_ctx, struct engine_accepted *accepted);
    /* err > 0; accepting pauses for backoff_ns. */
    void (*on_accept_error)(void *listener_ctx, int err, uint64_t backoff_ns);
    void (*on_open)(void *ctx); /* connect succeeded; attached ones are open at once, uncalled */
    void (*on_recv)(void *ctx, struct buf *buf, unsigned flags);
    void (*on_eof)(void *ctx); /* the peer will send no more; sending still works */
    /* For a send that had a cookie other than 0; bytes is that send's whole size. */
    void (*on_sent)(void *ctx, uint64_t cookie, uint64_t bytes, unsigned what);
    /* err is a positive errno or 0. After it the handle is stale. Sends still unsettled have had
     * RELEASED (without SENT) before: see rule 9. */
    void (*on_closed)(void *ctx, enum engine_reason reason, int err);
};

/* Counters that every engine keeps, in this order; ops->metrics describes all, these first, and
 * histograms of its own (METRIC_HISTOGRAM) among what follows.
 * ENGINE_METRICS expands to their rows. Read from another thread: see core/counter.h. */
enum engine_counter {
    ENGINE_SYSTEM_CALLS, /* made by this instance, waiting included */
    ENGINE_POLLS,        /* waits or looks for completions */
    ENGINE_POLLS_USEFUL, /* ... that found some */
    ENGINE_BUSY_NS,      /* spinning instances: time outside of empty looks; else 0 */
    ENGINE_RECVS,        /* receive completions */
    ENGINE_SENDS,        /* send submissions (gathers) */
    ENGINE_RECV_BYTES,
    ENGINE_SENT_BYTES,
    ENGINE_ACCEPTS,
    ENGINE_ACCEPT_ERRORS,
    ENGINE_BUF_SHORTAGES, /* a receive that found no free buffer, or a connection at its quota */
    ENGINE_COUNTERS_COMMON,
};

#define ENGINE_COUNTERS_MAX 32

struct engine {
    const struct engine_ops *ops;
    const struct engine_events *events;
    struct counter counters[ENGINE_COUNTERS_MAX]; /* rows of ops->metrics, in that order */
    struct hist *hists[ENGINE_COUNTERS_MAX];      /* of those that are histograms; else NULL */
    /* The harness's: inside of the window. Histograms take nothing in outside of it, so that they
     * need not be copied at its ends, as counters are. */
    _Atomic bool measuring;
    /* A bit for each of caps that has turned out to do nothing here: what its state and note say
     * since belongs to the instance's thread until the bit is seen. */
    _Atomic uint32_t caps_without_effect;
    struct engine_caps caps; /* of this instance, valid after open */
};

#define ENGINE_FOR_TESTS 1u /* not part of `all` */
#define ENGINE_WRAPS     2u /* drives another engine */

struct engine_ops {
    const char *name;
    const char *help;   /* one line for `lab engines` */
    const char *absent; /* not built in: why, and what to do; then nothing below is set */
    unsigned flags;
    size_t options_size;
    const struct option_def *options; /* beside engine_common_options */
    const struct metric_def *metrics; /* ENGINE_METRICS first */
    /* Names of the link kinds that it can run over (core/link.h), NULL-terminated, its default
     * first; NULL: both sides are one process, and there is no link. */
    const char *const *links;

    /* Can it run here with these options? Fills caps; 0 or -errno with a sentence that says
     * what to do. Leaves nothing behind. */
    int (*probe)(const struct engine_config *config, struct engine_caps *caps,
                 struct lab_error *err);
    int (*open)(struct engine **engine, const struct engine_config *config,
                const struct engine_events *events, struct lab_error *err);
    /* Aborts what is open: each connection gets its on_closed. Then the instance is gone; loans
     * must have been returned by the end of their on_closed. NULL is fine. */
    void (*close)(struct engine *engine);

    /* Handles what has completed; waits until something does, wake() was called or deadline_ns
     * (CLOCK_MONOTONIC; 0 = only look; CLOCK_NEVER). Returns how many upward calls were made, or
     * -errno if the instance itself broke. */
    int (*poll)(struct engine *engine, uint64_t deadline_ns);
    /* From any thread: makes the present or next poll return. Sticky and coalescing. */
    void (*wake)(struct engine *engine);

    /* One or more listeners. bound (may be NULL) gets the address with its real port.
     * -EADDRINUSE and the like with a sentence. */
    int (*listen)(struct engine *engine, const struct addr *addr, void *listener_ctx,
                  struct addr *bound, struct lab_error *err);
    void (*accept_pause)(struct engine *engine);
    void (*accept_resume)(struct engine *engine);
    /* Drops one that on_accept gave and nobody wants, or closes it when handing over failed. */
    void (*accept_refuse)(struct engine *engine, struct engine_accepted *accepted);
    int (*attach)(struct engine *engine, const struct engine_accepted *accepted, void *ctx,
                  uint64_t *conn);
    /* local may be NULL. Only trouble that is known at once (-EMFILE, -EADDRNOTAVAIL, ...) is
     * returned, with nothing begun; the rest comes as on_closed. */
    int (*connect)(struct engine *engine, const struct addr *remote, const struct addr *local,
                   void *ctx, uint64_t *conn);

    int (*recv_pause)(struct engine *engine, uint64_t conn);
    int (*recv_resume)(struct engine *engine, uint64_t conn);
    /* The segs array is copied, what it points to is not; the reference on a segment's buffer is
     * taken over, unless it fails. cookie 0 asks for no on_sent. May be called before on_open: it
     * is sent once open. -ESTALE, -ENOMEM. -EPIPE: nobody will take it: after send_end and
     * conn_close, and once the connection has failed (rule 9). */
    int (*send)(struct engine *engine, uint64_t conn, const struct seg *segs, unsigned count,
                uint64_t cookie);
    int (*send_end)(struct engine *engine, uint64_t conn); /* FIN after what is queued */
    /* Graceful: what is queued goes out, FIN, then on_closed; reading has ended, and a peer that
     * keeps the queue from draining is the caller's to time out, by an abort. Abort: RST, what is
     * queued is dropped. */
    int (*conn_close)(struct engine *engine, uint64_t conn, bool abort);
};

/* registry.c: every engine, also those not built, NULL-terminated, in the order of the table. */
extern const struct engine_ops *const engine_registry[];
const struct engine_ops *engine_find(const char *name);

/* 0 if the engine can run over that kind of link; -ENOTSUP with a sentence that says over which. */
int engine_takes_link(const struct engine_ops *ops, const struct link_kind *kind,
                      struct lab_error *err);

/* A parsed spec `name[:key[=value],...]`. */
struct engine_spec {
    const struct engine_ops *ops;
    void *options;  /* owned */
    char text[256]; /* normalised: name, then what differs from the defaults */
};
/* -EINVAL: unknown engine or option, with a suggestion; -ENOSYS: not built in, with ops set and
 * the reason. */
int engine_spec_parse(const char *text, struct engine_spec *spec, struct lab_error *err);
void engine_spec_free(struct engine_spec *spec);
/* The value of an option of the spec as text (for effective settings): walks common and own
 * options with index from 0; false at the end. */
bool engine_spec_option(const struct engine_spec *spec, unsigned index, const char **name,
                        char *value, size_t value_size);

static inline void engine_count(struct engine *engine, unsigned counter, uint64_t n)
{
    counter_add(&engine->counters[counter], n);
}

static inline bool engine_is_measuring(const struct engine *engine)
{
    return atomic_load_explicit(&engine->measuring, memory_order_relaxed);
}

/* Into the histogram of that row of ops->metrics, within the window. */
static inline void engine_measure(struct engine *engine, unsigned metric, uint64_t value)
{
    if (engine_is_measuring(engine))
        hist_record_shared(engine->hists[metric], value);
}

#define ENGINE_METRICS                                                                             \
    {"system_calls",                                                                               \
     "",                                                                                           \
     METRIC_COUNTER,                                                                               \
     METRIC_LESS,                                                                                  \
     "",                                                                                           \
     "engine",                                                                                     \
     "system calls made by the engine, its waiting included"},                                     \
        {"polls",                                                                                  \
         "",                                                                                       \
         METRIC_COUNTER,                                                                           \
         METRIC_NEITHER,                                                                           \
         "",                                                                                       \
         "engine",                                                                                 \
         "waits or looks for completions"},                                                        \
        {"polls_useful",                                                                           \
         "",                                                                                       \
         METRIC_COUNTER,                                                                           \
         METRIC_NEITHER,                                                                           \
         "",                                                                                       \
         "engine",                                                                                 \
         "polls that found something"},                                                            \
        {"busy_ns",                                                                                \
         "ns",                                                                                     \
         METRIC_COUNTER,                                                                           \
         METRIC_NEITHER,                                                                           \
         "",                                                                                       \
         "engine",                                                                                 \
         "time outside of empty looks, of engines that spin"},                                     \
        {"recvs", "", METRIC_COUNTER, METRIC_LESS, "", "engine", "receive completions"},           \
        {"sends", "", METRIC_COUNTER, METRIC_LESS, "", "engine", "send submissions"},              \
        {"recv_bytes", "bytes", METRIC_COUNTER, METRIC_NEITHER, "", "engine", "bytes received"},   \
        {"sent_bytes", "bytes", METRIC_COUNTER, METRIC_NEITHER, "", "engine", "bytes sent"},       \
        {"accepts", "", METRIC_COUNTER, METRIC_NEITHER, "", "engine", "connections accepted"},     \
        {"accept_errors",                                                                          \
         "",                                                                                       \
         METRIC_COUNTER,                                                                           \
         METRIC_LESS,                                                                              \
         "",                                                                                       \
         "engine",                                                                                 \
         "accepts that failed for want of fds or memory"},                                         \
    {                                                                                              \
        "buf_shortages", "", METRIC_COUNTER, METRIC_LESS, "", "engine",                            \
            "receives that found no free buffer, or a connection at its quota"                     \
    }

#endif
