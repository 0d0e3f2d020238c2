/*
 * The room of the stack: lwIP's TCP upon a wire, as the engine sees it. Nothing of lwIP's headers
 * is here, since they collide with DPDK's in one translation unit. stack.c has the interface and
 * what comes in and goes out, stack_tcp.c the connections, reach.c all that goes further than
 * lwIP's interface.
 *
 * One stack a process: lwIP's state is global. What it calls up only marks: the engine calls its
 * own caller later, outside of lwIP.
 */
#ifndef LAB_ENGINES_DPDK_STACK_H
#define LAB_ENGINES_DPDK_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/error.h"
#include "engines/dpdk/wire.h"

struct stack_conn; /* lwIP's connection */
struct stack_listener;

/* All from inside lwIP: no call into the stack is allowed in them, but stack_take_window. */
struct stack_events {
    /* The context of the new connection, or NULL to refuse it. */
    void *(*accepted)(void *listener_context, struct stack_conn *conn);
    void (*connected)(void *context);
    /* Received bytes: frame->buf's data and size. The frame is the receiver's to free. */
    void (*received)(void *context, struct wire_frame *frame);
    void (*ended)(void *context); /* the peer sends no more */
    void (*acknowledged)(void *context);
    /* The connection is no more. err: positive, or 0: it was closed in order. */
    void (*gone)(void *context, int err);
};

struct stack_config {
    struct wire *wire;
    const struct stack_events *events;
    struct in_addr address, gateway;
    unsigned prefix;
    struct in6_addr address6; /* all zero: none */
    uint32_t mtu;
    bool direct; /* a wire with one at the other end: whose MAC is no question */
    bool plain;
    uint32_t wide; /* windows are twice lwIP's while there are no more connections than that */
};

/* Which lwIP it is. */
extern const char stack_library[];
/* "" or why it will go its own way, as far as that is known before the start. */
const char *stack_unfit(bool plain);

/* 0 or -errno with a sentence. `how` gets "" or why the library goes its own way. */
int stack_start(const struct stack_config *config, const char **how, struct lab_error *err);
/* Takes the interface down; all connections must be gone. What waits for its time stays. */
void stack_stop(void);

void stack_input(struct wire_frame *frame);
/* Asks who has that address: when the answer comes (stack_is_answer), all that was sent before has
 * been read. */
void stack_ask(struct in_addr address);
bool stack_is_answer(const struct wire_frame *frame);
/* After a burst, and what the application did about it, or (not useful) when none has come. */
void stack_acknowledge(bool useful);
/* Timers: to be called about every millisecond. */
void stack_tick(uint64_t now_ns);
/* Received frames that are still in the stack: bytes that came before their turn. */
uint32_t stack_frames_kept(void);
/* Gives these back; their sender will say it again. */
void stack_forget_early(void);

/* Port 0: any. -EADDRINUSE, -EADDRNOTAVAIL, ... */
int stack_listen(const struct addr *addr, void *context, struct stack_listener **listener,
                 struct addr *bound);
void stack_listener_close(struct stack_listener *listener);

/* 0 or -errno: -EADDRNOTAVAIL: no port is left, or local is not ours; -ENETUNREACH. */
int stack_connect(const struct addr *remote, const struct addr *local, void *context,
                  struct stack_conn **conn);
/* Of an accepted one, before anything else. */
void stack_attach(struct stack_conn *conn, void *context);
void stack_remote(const struct stack_conn *conn, struct addr *remote);
void stack_limit(struct stack_conn *conn, uint32_t sndbuf);

/* Bytes taken, copied once; fewer than asked for if the queue is full. */
size_t stack_write(struct stack_conn *conn, const void *data, size_t size, bool more);
/* What can be written of so many bytes. Of more than fit, whole segments, and not a few of them
 * while others are under way: a short one does not grow once it is sent. */
size_t stack_room(const struct stack_conn *conn, uint64_t wanted);
void stack_push(struct stack_conn *conn);
/* The receiver has dealt with so many bytes. */
void stack_open_window(struct stack_conn *conn, uint32_t bytes);
/* FIN after what was written. False: no memory, to be tried again. */
bool stack_end(struct stack_conn *conn);
/* The peer has our FIN. */
bool stack_end_acknowledged(const struct stack_conn *conn);
/* Both ends are closed: it only waits, and may vanish without a word. To be forgotten at once. */
bool stack_is_over(const struct stack_conn *conn);
/* Nothing is heard of it any more; it ends by itself. After stack_end was acknowledged. */
void stack_forget(struct stack_conn *conn);
/* RST, and gone; without a call up. */
void stack_abort(struct stack_conn *conn);
/* The same of one whose link is gone: on a direct wire nothing is said, since the next one to come
 * would hear it. */
void stack_cut(struct stack_conn *conn);
/* After that, on a direct wire: whatever else the stack knows of the one who was there is
 * forgotten. The next has its address, and maybe its ports, and should not meet with what waits for
 * an end. Those that are being made stay, they are for the next. */
void stack_peer_has_gone(void);

struct stack_counts {
    uint64_t time_waits_given_up, retransmissions, allocations_failed;
};
void stack_counts(struct stack_counts *counts);

#endif
