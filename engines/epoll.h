/*
 * Private to the epoll engine: epoll.c has the instance, its waiting and its listeners,
 * epoll_conn.c the connections.
 */
#ifndef LAB_ENGINES_EPOLL_H
#define LAB_ENGINES_EPOLL_H

#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include "core/clock.h"
#include "engines/bufpool.h"
#include "engines/conns.h"
#include "engines/engine.h"
#include "engines/sock.h"
#include "engines/sock_send.h"

/* A unix socket whose backlog is full refuses without an event to wait for; and of a peer that
 * sends on into a close, nothing tells when it has acknowledged ours. */
#define EPOLL_RETRY_NS NS_PER_MS

#define EPOLL_EVENTS 256

/* What an event belongs to: a connection's handle is never so small. */
#define EPOLL_DATA_WAKE     0ull
#define EPOLL_DATA_LISTENER 1ull /* + index */

struct epoll_options {
    struct engine_common common; /* first */
    uint64_t spin_ns;
    uint64_t busy_poll_ns;
};

enum epoll_state {
    EPOLL_RETRIES,    /* to be connected again: a unix socket's backlog was full */
    EPOLL_CONNECTING, /* the socket tells by EPOLLOUT */
    EPOLL_CONNECTED,  /* on_open is due */
    EPOLL_OPEN,
    EPOLL_LINGERS, /* closed by us, the peer has yet to take what was sent */
    EPOLL_DEAD,    /* the fd is closed; on_closed waits for loans */
};

/* What every op needs is on its first two lines of the cache. */
struct epoll_conn {
    struct conns_item item; /* first */
    int fd;
    uint32_t armed; /* events asked for; EPOLL_UNWATCHED: not in the set */
    uint8_t state;  /* enum epoll_state */
    bool dirty;     /* in the list of those with something to do */
    bool paused;    /* recv_pause */
    bool deaf;      /* EPOLLIN is switched off: paused, at the quota, or no buffer */
    bool starved;   /* ... no buffer */
    bool blocked;   /* the socket is full: EPOLLOUT will tell */
    bool eof;
    bool mute;     /* takes nothing more to be sent: asked to end or to close, or it has failed */
    bool send_end; /* FIN once all is sent; `fin`: it was */
    bool fin;
    bool nonblocking;
    bool large; /* has sent much in one go: sock.h */
    bool closing;
    bool aborting;
    bool buried;    /* on_closed is told: the handle is stale */
    uint8_t reason; /* enum engine_reason, once dead */
    int err;        /* positive: it failed, or is about to be told so */
    int send_err;   /* the peer is gone; ends it when its last words are read */
    void *ctx;
    struct epoll_conn *next_dirty;
    struct loans loans;
    struct sendq sendq;
    struct addr *remote;                         /* owned, in EPOLL_RETRIES only */
    struct epoll_conn *next_retry, **retry_from; /* in the engine's list of retries */
};

#define EPOLL_UNWATCHED UINT32_MAX

struct epoll_listener {
    struct sock_listener sock;
    void *ctx;
};

struct epoll_engine {
    struct engine engine; /* first */
    struct engine_config config;
    struct epoll_options options;
    int epfd, eventfd;
    int upcalls; /* of this poll */
    bool woken;
    bool closing;
    bool timespec_waits; /* epoll_pwait2: Linux 5.11 */
    bool busy_poll_noted;
    _Atomic bool wake_sent;
    struct conns conns;
    struct bufpool *pool;
    struct epoll_conn *dirty, **dirty_end;
    unsigned dirty_count;
    /* Accepting. */
    struct epoll_listener *listeners;
    unsigned listeners_count;
    struct sock_backoff backoff;
    uint64_t accept_again_ns; /* CLOCK_NEVER: not backing off */
    bool accept_paused;
    /* Connections in EPOLL_RETRIES and EPOLL_LINGERS, looked at every EPOLL_RETRY_NS: a list, since
     * they may be few among very many. */
    struct epoll_conn *retries, **retries_end;
    unsigned retries_count;
    uint64_t retry_ns;
    /* Spinning: when the busy stretch began, or when it ended and the end of the last empty look
     * (0: busy). */
    uint64_t busy_since_ns, idle_since_ns, empty_ns;
    struct epoll_event events[EPOLL_EVENTS];
    struct iovec iov[SOCK_SEND_SEGS];
};

static inline struct epoll_engine *epoll_self(struct engine *engine)
{
    return (struct epoll_engine *)engine;
}

static inline void epoll_count(struct epoll_engine *e, unsigned counter, uint64_t n)
{
    engine_count(&e->engine, counter, n);
}

static inline void epoll_syscall(struct epoll_engine *e)
{
    engine_count(&e->engine, ENGINE_SYSTEM_CALLS, 1);
}

/* epoll_conn.c */

/* Does what calls down have asked of connections. To be called after each upward call, and first
 * thing in a poll; what is left then (dirty_count) is for the next poll. */
void epoll_run_marked(struct epoll_engine *e);
void epoll_conn_event(struct epoll_engine *e, uint64_t handle, uint32_t events);
/* Looks at the connections that no event tells about; every EPOLL_RETRY_NS. */
void epoll_retry(struct epoll_engine *e);
/* Ends it at once; on_closed is still to come. */
void epoll_conn_abort(struct epoll_engine *e, struct epoll_conn *c);
/* Of the pool: a loan came back. Only marks. */
void epoll_loan_returned(void *context, struct loans *loans);

int epoll_attach(struct engine *engine, const struct engine_accepted *accepted, void *ctx,
                 uint64_t *conn);
int epoll_connect(struct engine *engine, const struct addr *remote, const struct addr *local,
                  void *ctx, uint64_t *conn);
int epoll_recv_pause(struct engine *engine, uint64_t conn);
int epoll_recv_resume(struct engine *engine, uint64_t conn);
int epoll_send(struct engine *engine, uint64_t conn, const struct seg *segs, unsigned count,
               uint64_t cookie);
int epoll_send_end(struct engine *engine, uint64_t conn);
int epoll_conn_close(struct engine *engine, uint64_t conn, bool abort);

/* epoll.c */

/* Busy polling for a socket before it connects, if the option asks for it. */
void epoll_set_busy_poll(struct epoll_engine *e, int fd);
/* Looks at a connected socket for whether busy polling can have an effect, once an instance. */
void epoll_note_busy_poll(struct epoll_engine *e, int fd);

#endif
