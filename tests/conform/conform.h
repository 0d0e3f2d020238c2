/*
 * The conformance tests: what engines/engine.h promises, asked of every engine in the same way.
 * A body describes connections by roles, what an end does when something happens to it; world.c
 * plays the roles in two processes (or one, for engines with both sides in one instance), with a
 * thread and an instance a connection where an engine serves only one. checker.c stands between
 * engine and roles and holds the rules at every call.
 *
 * A test fails by conform_fail (CHECK), from any thread of any of its processes; main.c then ends
 * them all. Nothing here asserts how long something takes, but for moments that may not come
 * before their time.
 */
#ifndef LAB_TESTS_CONFORM_H
#define LAB_TESTS_CONFORM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/clock.h"
#include "engines/engine.h"

#define FLOWS_MAX 2

struct end;
struct lane;
struct world;

/* --- what a test is made of --- */

/* What an end of a connection does. NULL members: nothing, which of recv means reading and
 * checking the content. Called with the engine's upward calls, but for connected and nudge. */
struct role {
    void (*connected)(struct end *end); /* connect has returned, nothing has happened yet */
    void (*begin)(struct end *end);     /* open: on_open, or attached */
    void (*recv)(struct end *end, struct buf *buf, unsigned flags);
    void (*eof)(struct end *end);
    void (*sent)(struct end *end, uint64_t cookie, unsigned what);
    void (*closed)(struct end *end); /* end->reason, end->err */
    void (*nudge)(struct end *end);  /* world_nudge(), in the lane's thread, outside of poll */
};

struct flow {
    const struct role *client, *server;
    unsigned count;  /* connections */
    bool sequential; /* each is connected when the one before is closed, within on_closed */
};

enum family { FAMILY_TCP4 = 1, FAMILY_TCP6 = 2, FAMILY_UNIX = 4, FAMILY_ALL = 7 };

struct body {
    const char *name;
    const char *options; /* added to the engine's spec; NULL */
    bool calm;           /* the fault engine makes no faults here */
    unsigned families;   /* 0: FAMILY_TCP4 */
    struct flow flows[FLOWS_MAX];
    uint64_t size;      /* of a message, told to the engine too; for the roles */
    unsigned messages;  /* for the roles */
    unsigned rounds;    /* the server is closed, and opened again at the same address; 0 = 1 */
    bool attach_beside; /* accepted connections are served by an instance in another thread */
    /* What else the server's accepting instance does; NULL: as usual. */
    void (*server_begin)(struct lane *lane); /* it listens */
    void (*server_turn)(struct lane *lane);  /* before each poll */
    void (*accepted)(struct lane *lane, unsigned flow, struct engine_accepted *accepted);
    void (*accept_failed)(struct lane *lane, int err, uint64_t backoff_ns);
    /* The whole test, instead of flows: one process, nothing opened yet. */
    void (*alone)(struct world *world);
    /* Why it does not concern this engine, or NULL. */
    const char *(*skip)(const struct world *world);
};

/* Each ends with one that has no name. */
extern const struct body bodies_echo[], bodies_close[], bodies_flow[], bodies_instance[],
    bodies_fault[];

/* --- failing --- */

void conform_fail(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
void conform_skip(const char *reason) __attribute__((noreturn));

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            conform_fail(__FILE__, __LINE__, __VA_ARGS__);                                         \
    } while (0)

/* Calls of malloc and its kin in this process; conform_counts_allocations() is false where a
 * sanitizer brings its own. */
uint64_t conform_allocations(void);
bool conform_counts_allocations(void);

/* --- content --- */

/* Byte i of a stream is (i + shift) % 251: what was swapped, lost or doubled shows. The shift is
 * the connection's; a reader learns it from the first byte. */
#define PATTERN_PERIOD 251u
#define PATTERN_MAX    (16u << 20)
void pattern_open(void);
/* PATTERN_MAX bytes of the stream, from this place on. */
const uint8_t *pattern_at(unsigned shift, uint64_t offset);

/* --- lanes and worlds --- */

struct listener {
    struct lane *lane;
    unsigned flow;
};

/* An engine instance and the thread that runs it. */
struct lane {
    struct world *world;
    struct engine *engine;
    struct listener listeners[FLOWS_MAX];
    struct end *ends;
    unsigned open_count; /* ends that are not closed */
    bool serves;         /* the server's accepting instance */
    bool close_now;      /* a role asks for the instance to be closed with what is open */
    /* checker.c */
    pthread_t thread;
    bool in_poll, in_close, in_up, in_down;
    unsigned calls_up;
    /* world.c */
    struct lane *next;
    struct engine *wakeable; /* engine, while others may wake it (under the world's lock) */
    unsigned ends_left; /* that it will still have, or has; UINT_MAX: until the round is over */
    unsigned flow, index;
    bool threaded, joined;
    pthread_t joinable;
    struct lane_mail *mail; /* accepted elsewhere, to be served here (under the world's lock) */
    unsigned mail_count;
    /* For bodies. */
    uint64_t at_ns;
    unsigned errors, held_count;
    struct engine_accepted held[16];
};

enum side { SIDE_CLIENT, SIDE_SERVER };

/* A process of a test. */
struct world {
    const struct body *body;
    enum family family;
    char spec_text[256];
    struct engine_spec spec; /* with the body's options */
    struct engine_caps caps;
    bool plays[2]; /* enum side */
    struct addr addresses[FLOWS_MAX];
    unsigned expected[2];      /* ends of a round */
    _Atomic unsigned begun[2]; /* ends that were open, of this round */
    _Atomic unsigned closed[2];
    _Atomic bool nudged[2][FLOWS_MAX];
    _Atomic uint64_t messages[2]; /* for the roles: over all ends */
    _Atomic uint64_t mark[2];
    _Atomic bool settled[2];
    pthread_mutex_t lock; /* lanes */
    struct lane *lanes, *beside;
    pid_t test_pid;
    unsigned accepted_count[FLOWS_MAX];
    void *shared; /* for bodies */
};

void world_run(struct world *world);
/* What on_accept does unless the body says otherwise: serves it where it is to be served. */
void world_accepted(struct lane *lane, unsigned flow, struct engine_accepted *accepted);
/* Of a sequential flow: the next connection, once this one is closed. */
void world_next_connect(struct end *end);
/* All ends of that flow, on that side in this process, hear role->nudge once; those that have
 * not begun yet hear it then. From any thread. */
void world_nudge(struct world *world, enum side side, unsigned flow);
/* Numbers of the test's state for a person who looks at one that hangs. */
void world_dump(const struct world *world, int fd);
extern struct world *world_of_process;

/* For bodies that go alone: an instance with the checker's events, its polls, its end. */
void lane_open(struct lane *lane, struct world *world);
int lane_poll(struct lane *lane, uint64_t deadline_ns);
void lane_close(struct lane *lane);
/* Listens for a flow; an error is the body's business. */
int lane_listen(struct lane *lane, unsigned flow, const struct addr *addr, struct addr *bound,
                struct lab_error *err);
/* Begins to connect; NULL if connect said `*result` at once. */
struct end *lane_connect(struct lane *lane, unsigned flow, unsigned index, const struct addr *addr,
                         int *result);
/* NULL: attach has failed with *result. */
struct end *lane_attach(struct lane *lane, unsigned flow, const struct engine_accepted *accepted,
                        int *result);
/* Polls until no end of it is open. */
void lane_run(struct lane *lane);
/* An address of the family that nobody uses; port 0 where there are ports. */
void world_address(const struct world *world, const char *name, struct addr *addr);

/* --- ends --- */

enum end_state { END_CONNECTING, END_OPEN, END_CLOSED };

#define END_SENDS_MAX 512u

struct end_send {
    uint64_t cookie; /* 0: free */
    uint64_t bytes;
    unsigned told;   /* ENGINE_SENT, ENGINE_RELEASED */
    uint8_t *memory; /* its own, made inaccessible at RELEASED; NULL */
    size_t memory_size;
};

struct end_held {
    struct buf *buf;
    uint64_t offset; /* in the stream */
    uint32_t size;
};

/* How a connection may end, as bits 1 << enum engine_reason. */
#define ENDS_IN_ORDER ((1u << ENGINE_CLOSED_LOCALLY) | (1u << ENGINE_CLOSED_BY_PEER))
#define ENDS_RESET    (1u << ENGINE_CLOSED_RESET)
#define ENDS_LOCALLY  (1u << ENGINE_CLOSED_LOCALLY)
#define ENDS_BY_PEER  (1u << ENGINE_CLOSED_BY_PEER)
#define ENDS_CONNECT  (1u << ENGINE_CLOSED_CONNECT)
#define ENDS_ANYHOW   (~0u)

/* An end of a connection, with the checker's books on it. */
struct end {
    struct end *next;
    struct lane *lane;
    const struct role *role;
    unsigned flow, index;
    enum side side;
    enum end_state state;
    uint64_t handle;
    unsigned ends; /* ENDS_...; ENDS_IN_ORDER if a role says nothing */
    enum engine_reason reason;
    int err;
    bool paused, eof, send_ended, closing;
    bool lost; /* a send was released that had not been sent */
    bool nudged;
    /* The stream. */
    unsigned shift_out, shift_in;
    bool shift_known;
    uint64_t sent_bytes, received_bytes;
    /* Sends that were not released yet; loans that are held. */
    uint64_t last_cookie;
    unsigned sends_pending, unsent;
    struct end_send sends[END_SENDS_MAX];
    struct end_held *held;
    unsigned held_count, held_room;
    uint64_t held_bytes;
    /* For roles. */
    uint64_t count, goal;
    unsigned step;
    void *own;
};

struct world *end_world(const struct end *end);
const struct engine_ops *end_ops(const struct end *end);

/* Sends what lies in segs; fails if the engine does not take it, but for one whose `ends` says that
 * its peer may end it. Returns the cookie, or 0: nobody will take it. */
uint64_t end_send(struct end *end, const struct seg *segs, unsigned count);
/* As end_send, and nothing is to be told of it. */
void end_send_unasked(struct end *end, const struct seg *segs, unsigned count);
/* The stream's next bytes, from memory that all share. */
uint64_t end_send_bytes(struct end *end, uint64_t bytes);
/* The same from memory of its own, that nobody may touch once it is RELEASED. */
uint64_t end_send_guarded(struct end *end, uint64_t bytes);
/* Checks the content and counts it. */
void end_check(struct end *end, const struct buf *buf);
/* Back to where it came from, unchecked. */
void end_pass_on(struct end *end, struct buf *buf);
/* Keeps a reference, after end_check. */
void end_hold(struct end *end, struct buf *buf);
/* Gives all back, the last or the first first, having checked that nobody wrote to them. */
void end_return_held(struct end *end, bool last_first);
void end_finish(struct end *end); /* send_end */
void end_close(struct end *end, bool abort);
void end_pause(struct end *end);
void end_resume(struct end *end);

/* What many roles do. */
void role_finish(struct end *end); /* eof: answers FIN with FIN */
void role_pass_on(struct end *end, struct buf *buf, unsigned flags);

/* checker.c */
extern const struct engine_events checker_events;
void checker_down_begin(struct lane *lane);
void checker_down_end(struct lane *lane);
struct end *end_new(struct lane *lane, unsigned flow, unsigned index, enum side side);
void end_began(struct end *end);
void end_free(struct end *end);

#endif
