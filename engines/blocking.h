/*
 * Private to the blocking engine: blocking.c has the instance, how it waits and is interrupted,
 * blocking_conn.c its connection.
 */
#ifndef LAB_ENGINES_BLOCKING_H
#define LAB_ENGINES_BLOCKING_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "core/clock.h"
#include "engines/bufpool.h"
#include "engines/engine.h"
#include "engines/sock.h"
#include "engines/sock_send.h"

struct blocking_options {
    struct engine_common common;
};

enum blocking_state {
    BLOCKING_NONE,
    BLOCKING_BEGINS,     /* connect() is to be called */
    BLOCKING_CONNECTING, /* connect() was interrupted, the socket tells by POLLOUT */
    BLOCKING_OPEN,
    BLOCKING_LINGERS, /* closed by us, the peer has yet to take what was sent */
    BLOCKING_DEAD,    /* the fd is closed; on_closed waits for loans */
};

struct blocking_conn {
    uint8_t state; /* enum blocking_state */
    bool paused;
    bool full; /* the socket; POLLOUT will tell */
    bool eof;
    bool mute;          /* takes nothing more to be sent: asked to end or close, or it failed */
    bool send_end, fin; /* FIN once all is sent; it was */
    bool closing, aborting;
    bool large;       /* has sent much in one go: sock.h */
    bool hung_up;     /* ppoll would report it again and again */
    bool nonblocking; /* has had a file to send: sendfile() knows no MSG_DONTWAIT */
    uint8_t reason;   /* enum engine_reason, once dead */
    int fd;
    int send_err; /* the peer is gone; ends it when its last words are read */
    void *ctx;
    struct loans loans;
    struct sendq sendq;
    int err;
};

struct blocking_listener {
    struct sock_listener sock;
    void *ctx;
};

struct blocking_engine {
    struct engine engine; /* first */
    /* What every message needs, together: with a thread a connection, all of it has left the caches
     * when its turn comes again. */
    _Alignas(64) struct blocking_conn conn;
    struct bufpool *pool;
    uint64_t until_ns;         /* of the wait that is under way */
    uint64_t again_ns;         /* what a signal in it sets the timer to, if that is over */
    _Atomic uint64_t timer_ns; /* when the timer fires; 0: not set, or it has */
    uint64_t accept_again_ns;  /* CLOCK_NEVER: not backing off */
    int upcalls;               /* of this poll */
    unsigned listeners_count;
    volatile bool in_call; /* in, or about to enter, a system call that blocks */
    _Atomic bool woken;
    bool closing;
    bool accept_paused;
    uint32_t generation; /* of the connection; its handle's low half is 1 */

    struct blocking_engine *volatile next_here; /* of the thread's instances */
    pthread_t thread;
    timer_t timer;
    struct blocking_listener *listeners;
    struct pollfd *pollfds; /* room for the listeners and the connection */
    struct sock_backoff backoff;
    struct engine_config config;
    struct blocking_options options;
    struct addr remote; /* the connection's, to be connected */
    struct iovec iov[SOCK_SEND_SEGS];
};

static inline struct blocking_engine *blocking_self(struct engine *engine)
{
    return (struct blocking_engine *)engine;
}

static inline void blocking_count(struct blocking_engine *e, unsigned counter, uint64_t n)
{
    engine_count(&e->engine, counter, n);
}

static inline void blocking_syscall(struct blocking_engine *e)
{
    engine_count(&e->engine, ENGINE_SYSTEM_CALLS, 1);
}

/* blocking.c */

/* Around a system call that blocks without a time-out: blocking_leave must follow in any case.
 * False: it must not be made, since there was a wake. Between the two no call up is made. */
bool blocking_enter(struct blocking_engine *e, uint64_t until_ns);
void blocking_leave(struct blocking_engine *e);

/* blocking_conn.c */

/* Does what calls down have asked for, and what follows from it: to be called after every wait
 * and first thing in a poll. */
void blocking_settle(struct blocking_engine *e);
/* Where the next receive goes; NULL: none can be made, for whatever reason. */
struct buf *blocking_room(struct blocking_engine *e, size_t *room);
/* One blocking recv() into it; only looks with until_ns 0. */
void blocking_receive(struct blocking_engine *e, struct buf *buf, size_t room, uint64_t until_ns);
/* Calls connect(), blocking unless near. */
void blocking_begin(struct blocking_engine *e, uint64_t until_ns, bool near);
/* What the connection waits for in ppoll(), 0: nothing; and what to do with what that said. */
short blocking_events(struct blocking_engine *e);
void blocking_conn_event(struct blocking_engine *e, short events, short revents);
/* The end of an instance: aborts and tells. */
void blocking_conn_drop(struct blocking_engine *e);

int blocking_attach(struct engine *engine, const struct engine_accepted *accepted, void *ctx,
                    uint64_t *conn);
int blocking_connect(struct engine *engine, const struct addr *remote, const struct addr *local,
                     void *ctx, uint64_t *conn);
int blocking_recv_pause(struct engine *engine, uint64_t conn);
int blocking_recv_resume(struct engine *engine, uint64_t conn);
int blocking_send(struct engine *engine, uint64_t conn, const struct seg *segs, unsigned count,
                  uint64_t cookie);
int blocking_send_end(struct engine *engine, uint64_t conn);
int blocking_conn_close(struct engine *engine, uint64_t conn, bool abort);

#endif
