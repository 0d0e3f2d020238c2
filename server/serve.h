/*
 * A server process: one acceptor, workers with an engine instance each, connections of one
 * workload. Where an engine holds one connection an instance (blocking), each connection gets
 * a worker; workers are kept and used again.
 */
#ifndef LAB_SERVER_SERVE_H
#define LAB_SERVER_SERVE_H

#include "core/meter.h"
#include "core/record.h"
#include "pump/pump.h"
#include "server/workload.h"

struct server_workload {
    const char *name;
    const char *help;
    const char *absent; /* not built in: why; then only options are set beside, an empty table */
    uint16_t port;      /* where it listens by default */
    const struct option_def *options;
    size_t options_size;
    /* What can be told of the options on this host before a server is started; NULL: nothing. */
    int (*check)(const void *options, struct lab_error *err);
    /* For sizing receive buffers, bytes; 0 = unknown. */
    uint64_t (*message_bytes)(const void *options); /* as client/load.h has it */
    const struct proto_ops *proto;
    /* What it measures, counters and gauges only; NULL: nothing. Rows are named by place. */
    const struct metric_def *metrics;
    /* What the whole process serves (read once, read-only from then on), and what one worker's
     * connections share; *process and *shared may be NULL, and the functions too. *note, which is
     * NULL before: what the user is to know of it, one line, malloc'd. */
    int (*process_open)(void **process, const void *options, char **note, struct lab_error *err);
    void (*process_close)(void *process);
    int (*worker_open)(void **shared, void *process, const void *options, struct meter *meter);
    void (*worker_close)(void *shared);
    size_t state_size; /* of a connection's protocol state */
    /* Once for each piece of memory; reset after each connection in it. */
    int (*state_open)(void *state, void *shared, const void *options);
    void (*state_reset)(void *state);
    void (*state_close)(void *state);
    /* Engine capabilities that it has no use for, NULL-terminated: that they are emulated says
     * nothing about its figures. NULL: it may use all. */
    const char *const *unused;
};

struct serve_options {
    uint64_t connections_max; /* 0: as many as fds allow */
    uint64_t idle_ns;         /* close a connection that was silent so long; 0: never */
    uint64_t linger_ns;       /* close hard what was ended and is not taken for so long */
    uint64_t workers;
    bool reuseport; /* each worker listens for itself */
};

struct server_config {
    const struct engine_spec *spec;
    const struct server_workload *workload;
    const void *workload_options;
    struct serve_options options;
    struct addr listen;
    const char *cc;          /* NULL: the system's */
    const struct link *link; /* NULL: whatever the address is on */
    bool verbose;            /* the engine's libraries may speak */
    bool apart;              /* a single worker's descriptors need not be the process's */
};

struct server;

/* Listens and serves in threads of its own when it returns 0. What config points to must stay. */
int server_start(struct server **server, const struct server_config *config, struct lab_error *err);
/* The same upon an engine instance of somebody else, in that one's thread, for engines whose two
 * sides share an instance; opened with pump_events. Ends with server_stop after engine close. */
int server_join(struct server **server, const struct server_config *config, struct engine *engine,
                struct lab_error *err);
const struct addr *server_address(const struct server *server);
/* What the user is to know of what it serves; NULL: nothing. */
const char *server_note(const struct server *server);
/* Of one that was started: readable once an engine of its workers has failed, which was said on
 * stderr. What that worker had is closed, and no end but server_stop makes sense. */
int server_failed_fd(const struct server *server);
/* Stops accepting, lets what is queued go out within drain_ns, closes, ends the threads, frees.
 * False: an engine of its workers has failed, while it drained or before. */
bool server_stop(struct server *server, uint64_t drain_ns);

/* For child_side (run/child.h): what READY tells, the two samples, the record. */
void server_describe(struct server *server, Lab__Ready *ready);
void server_sample(struct server *server, unsigned index);
void server_record(struct server *server, Lab__Record *record);

#endif
