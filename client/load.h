/*
 * The load generator of a client process: workers with an engine instance each, connections,
 * and the schedule. It knows when ops are to start and what became of them; what an op is, the
 * workload knows (client/workload.h).
 */
#ifndef LAB_CLIENT_LOAD_H
#define LAB_CLIENT_LOAD_H

#include "client/workload.h"
#include "core/meter.h"
#include "core/record.h"
#include "core/timer.h"
#include "pump/pump.h"

enum load_arrival { LOAD_CONSTANT, LOAD_POISSON };
enum load_close { LOAD_CLOSE_FIN, LOAD_CLOSE_RST, LOAD_CLOSE_SERVER };
enum load_pacing { LOAD_PACING_SLEEP, LOAD_PACING_SPIN };

struct load_options {
    uint64_t connections; /* over all workers and processes; 0: the workload's default */
    uint64_t depth;       /* ops in flight on each; 0: the workload's default */
    uint64_t rate;        /* ops a second over all; 0: closed loop */
    int arrival;
    uint64_t ops;     /* end after so many, over all; 0: by time */
    uint64_t loops;   /* ... after so many on each connection */
    uint64_t workers; /* 0: one, or one a connection where the engine holds but one */
    bool reconnect;
    int close;
    uint64_t local_addrs;
    uint64_t ramp_ns;
    int pacing;
    uint64_t timeout_ns;
};

struct load_conn;

/* An option that the heading of its table always says, and how: "%s images an op". */
struct load_headline {
    const char *option;
    const char *format;    /* with one %s */
    const char *with, *is; /* only where this other option has this value; NULL: always */
};

/* `--sweep NAME`: stands for an option with a list of values, a case each. */
struct load_sweep {
    const char *name, *option, *values;
};

struct client_workload {
    const char *name;
    const char *help;
    /* Not built in: why, and what to do. Then only name, help and an empty table of options are
     * set. */
    const char *absent;
    const struct option_def *options;
    size_t options_size;
    uint64_t connections; /* default */
    /* Checks and completes what the options ask together; sets load->depth if 0. */
    int (*check)(const void *options, struct load_options *load, struct lab_error *err);
    uint64_t (*message_bytes)(const void *options); /* engine_config.message_size */
    const struct proto_ops *proto;
    /* What it measures beside the load generator; NULL: nothing. Rows are named by place. */
    const struct metric_def *metrics;
    /* Columns and lines of the tables that show them; NULL: none. */
    const struct metric_view *views;
    const struct load_headline *headline; /* NULL: none */
    const struct load_sweep *sweeps;      /* NULL: none */
    /* What all workers share, read-only once it is open; *process may be NULL, both functions
     * too. Said with a sentence when it fails. */
    int (*process_open)(void **process, const void *options, struct lab_error *err);
    void (*process_close)(void *process);
    /* What a worker's connections share; *shared may be NULL. Without the two functions: what all
     * workers do. */
    int (*worker_open)(void **shared, void *process, const void *options, struct meter *meter);
    void (*worker_close)(void *shared);
    size_t state_size; /* of a connection's state, which begins with the protocol's */
    int (*state_open)(void *state, struct load_conn *conn, void *shared, const void *options,
                      unsigned depth);
    void (*state_reset)(void *state, uint64_t connection); /* for each new connection */
    void (*state_close)(void *state);
    /* Begins the op on a free slot; the pump is kicked by who calls. */
    void (*start)(void *state, unsigned slot, uint64_t op);
    /* An op is out of time: ends it alone, and tells by load_op_failed with this, at once or from
     * within a later output; asked again if it has not within --timeout. False, or NULL: only its
     * connection can be ended, with all ops. */
    bool (*cancel)(void *state, unsigned slot, const char *kind, const char *example);
};

/* What workloads tell, from inside the protocol's input. bytes: the op's payload, one direction;
 * fresh: of these, what load_progress was not told. Returns when that was, for load_record: a clock
 * was read for it. */
uint64_t load_op_done(struct load_conn *conn, unsigned slot, uint64_t bytes, uint64_t fresh);
void load_op_first_byte(struct load_conn *conn, unsigned slot);
/* Whether that is of any use: the same for all of a connection's life. */
bool load_wants_first_byte(const struct load_conn *conn);
/* A failed op that leaves its connection usable; kind is static. */
void load_op_failed(struct load_conn *conn, unsigned slot, const char *kind, const char *example);
void load_progress(struct load_conn *conn, uint64_t bytes);
/* Into a row of the workload's metrics. A histogram takes what was seen in the window only. */
void load_count(struct load_conn *conn, unsigned row, uint64_t n);
void load_record(struct load_conn *conn, unsigned row, uint64_t now_ns, uint64_t value);
/* Whom the connection is to, as a URI names it: HOST:PORT. Static for its life, and there once it
 * is connected. */
const char *load_authority(const struct load_conn *conn);
/* When the op was to start; of a slot that is busy. */
uint64_t load_op_start_ns(const struct load_conn *conn, unsigned slot);

/* Both sides in one process: opens the server's side upon the client's engine instance, in that
 * instance's thread, and gives its address; close ends it after the engine is closed. */
struct load_other_side {
    void *context;
    int (*open)(void *context, struct engine *engine, void **side, struct addr *address,
                struct lab_error *err);
    void (*close)(void *context, void *side);
};

struct load_config {
    const struct engine_spec *spec;
    const struct client_workload *workload;
    const void *workload_options;
    struct load_options options;  /* checked */
    const struct addr *addresses; /* worker i uses address i mod count */
    unsigned addresses_count;
    const char *server_name; /* HOST:PORT with a name, as the user typed it; NULL: the address */
    const char *cc;
    const struct link *link; /* NULL: whatever the addresses are on */
    bool verbose;            /* the engine's libraries may speak */
    bool apart;              /* a single worker's descriptors need not be the process's */
    uint64_t seed;
    unsigned index, processes;                /* this process's share of all */
    const struct load_other_side *other_side; /* or NULL */
};

struct load;

/* Opens engines, connects what is to be kept, starts the threads; they wait for the window. */
int load_start(struct load **load, const struct load_config *config, struct lab_error *err);
/* For child_side (run/child.h). */
void load_describe(struct load *load, Lab__Ready *ready);
void load_window(struct load *load, uint64_t start_ns, uint64_t t0_ns, uint64_t t1_ns);
void load_sample(struct load *load, unsigned index, uint64_t now_ns);
int load_wait(struct load *load, uint64_t timeout_ns, uint64_t *t0_ns, uint64_t *t1_ns);
/* Drains up to --timeout, joins, fills the record. */
void load_finish(struct load *load, Lab__Record *record);
void load_free(struct load *load); /* NULL is fine; ends what still runs */

#endif
