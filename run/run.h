/*
 * The controller: takes a plan (cases x rounds), runs each trial in fresh processes, and gives
 * back results. It knows records and processes, not workloads: what a workload wants is argv.
 * It prints nothing; an observer hears what happens.
 */
#ifndef LAB_RUN_RUN_H
#define LAB_RUN_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/hist.h"
#include "core/record.h"
#include "core/stats.h"

struct run_setting { /* a name and a value, both owned */
    char *name, *value;
};

struct run_list {
    struct run_setting *items;
    size_t count;
};
void run_list_add(struct run_list *list, const char *name, const char *value);
void run_list_free(struct run_list *list);
/* Appends --NAME=VALUE to a case's arguments, NULL-terminated or NULL as yet. Aborts without
 * memory. */
void run_args_add(char ***args, const char *name, const char *value);

enum run_status { RUN_RAN, RUN_CANNOT_RUN, RUN_NOT_BUILT, RUN_FAILED, RUN_INTERRUPTED };
const char *run_status_name(enum run_status status); /* ran, cannot-run, not-built, ... */

struct run_verdict {
    const char *name; /* static: errors, generator-bound, ... */
    char evidence[200];
};
#define RUN_VERDICTS_MAX   8
#define RUN_WATERMARKS_MAX 16
#define RUN_UNOBSERVED     (-1) /* of a count */

/* A process of a trial and what it recorded. */
struct run_process {
    Lab__Ready *ready;
    Lab__Record *record;     /* NULL: it sent none; t0 and t1 are of the controller's clock */
    int64_t clock_offset_ns; /* another host's clock minus ours, and how sure that is; else 0 */
    uint64_t clock_error_ns;
    char *note; /* what it has to tell the user; NULL: nothing */
    char *said; /* the end of what it had to say on its stderr; NULL: not kept */
};

struct run_trial {
    unsigned seq, round, position;
    char started_at[40]; /* ISO 8601, UTC */
    double duration_s, warmup_s;
    bool failed;      /* a child died or broke; reason says so */
    char reason[512]; /* with the child's last words */
    uint64_t ops, bytes, errors, unfinished, scheduled;
    double ops_per_s, bytes_per_s, cpu_ns_per_op;    /* both sides' CPU; NAN if not observed */
    struct run_list errors_by_kind;                  /* kind, count */
    struct run_list errors_examples;                 /* kind, sentence */
    struct hist *latency, *latency_from_send, *slip; /* NULL: not observed */
    struct run_list link_settings;                   /* what the kernel was set to for the link */
    struct run_process *clients, *servers;
    size_t clients_count, servers_count;           /* servers 0 with --server */
    struct run_verdict verdicts[RUN_VERDICTS_MAX]; /* none: valid */
    size_t verdicts_count;
    struct run_verdict watermarks[RUN_WATERMARKS_MAX];
    size_t watermarks_count;
    Lab__Slice *slices; /* merged over clients */
    size_t slices_count;
    /* In the window, by all of the server's network namespace (ListenDrops), and of the client's
     * (TCPSynRetrans); RUN_UNOBSERVED: not to be seen from here. */
    int64_t listen_drops, syn_retries;
};

struct run_case {
    /* The plan: filled by who makes it. Strings are owned. */
    char *key, *label; /* key as in the JSON; label: first column of the table */
    char *workload;
    char *client_spec, *server_spec; /* normalised; server_spec NULL with server_address */
    char *server_address;            /* --server HOST:PORT, else NULL */
    char *link;                      /* what is talked over, in a word or two, for people */
    char *link_spec; /* the client's view (core/link.h); NULL: nothing to prepare or to tell */
    bool client_stack, server_stack; /* it takes the link's device, not a socket */
    char *listen;           /* address for the server, e.g. 127.0.0.1:0; NULL: as the link says */
    struct run_list params; /* effective settings, for JSON and head line */
    char **client_args, **server_args; /* NULL-terminated, to be appended to `lab drive|serve W` */
    uint64_t asked_ops;        /* -n or --loops: no fixed window (total over all) ; 0 = by time */
    double asked_ops_per_s;    /* open loop; 0 = closed */
    bool both_sides;           /* one process plays both (caps.both_sides) */
    const char *const *unused; /* capabilities of no use to the workload; static, or NULL */
    bool server_measured;      /* --server, or the engines differ: generator-bound applies */
    uint32_t client_processes,
        server_processes; /* 1 unless one_per_process and -t N, or --client-via */
    uint32_t client_threads, server_threads; /* at work at once, of each of these */
    /* The engine holds but one connection: a side's workers are as many, whatever was asked. */
    bool client_worker_each, server_worker_each;
    bool client_threads_shared; /* ... and over all of them the client's are as many as connections
                                 */
    char wait[8];               /* sleep or spin */
    uint64_t connections;
    bool paced_by_spinning; /* each of the client's threads spins between ops (--pacing spin) */
    uint64_t warmup_ns, duration_ns;
    bool refused;           /* by a child: it failed for what was asked of it */
    bool of_all;            /* its engine was not named: that it cannot run is no error */
    enum run_status status; /* RUN_CANNOT_RUN, RUN_NOT_BUILT: skipped, with reason */
    char reason[512];
    /* The results. */
    struct run_trial *trials;
    size_t trials_count;
    size_t valid;
    struct interval ops_per_s, bytes_per_s, cpu_ns_per_op;
    struct hist *latency; /* merged over trials */
    bool is_reference;    /* what the others that ask the same are compared with */
    double vs_reference;  /* median of paired per-round ratios; NAN if none */
    struct interval vs_reference_interval;
};

struct run_settings {
    char *lab_path; /* the binary to start as children */
    unsigned rounds;
    uint64_t seed;
    uint64_t timeout_ns;
    char *client_cpus, *server_cpus; /* lists, or NULL: chosen by run_execute(); pin false: none */
    bool client_cpus_chosen, server_cpus_chosen; /* a case takes as many as it has threads */
    bool pin;
    char *server_via;  /* command prefix, or NULL */
    char **client_via; /* NULL-terminated list of prefixes, or NULL: one client here */
    uint64_t max_errors;
    bool verbose;         /* the children may say more than how they failed, and it is kept */
    char *reference_spec; /* what all are compared with was asked for; NULL: chosen */
    struct run_list labels;
};

struct run_env_warning {
    char id[40], text[240], fix[240];
};

/* Facts about this host; strings owned. */
struct run_env {
    char fingerprint[17];  /* from stable facts only */
    struct run_list facts; /* kernel, cpu, clocksource, ... for JSON; "": not observed */
    struct run_env_warning warnings[16];
    size_t warnings_count;
    unsigned cores;
    bool shared_host;
};

struct run_result {
    struct run_settings settings;
    struct run_env env;
    struct run_case *cases;
    size_t cases_count;
    unsigned rounds_done;
    bool complete;
    char started_at[40];
    char id[37];          /* UUID */
    struct run_list argv; /* name empty, value the word */
};

/* What happens while a run goes on; NULL members are skipped. Seconds are NAN while they are not
 * known: how long a number of ops takes shows in the first round. */
struct run_observer {
    void *context;
    void (*planned)(void *context, const struct run_result *run, double seconds_estimated);
    void (*trial_begins)(void *context, const struct run_result *run, const struct run_case *c,
                         unsigned done, unsigned total, double seconds_to_go);
    void (*trial_ended)(void *context, const struct run_result *run, const struct run_case *c,
                        const struct run_trial *trial);
    void (*round_ended)(void *context, const struct run_result *run, unsigned round);
};

/* Runs the plan in result (settings, cases); fills the rest. SIGINT, SIGTERM and SIGHUP end it
 * early: complete stays false, finished trials alone are kept, -EINTR. 0 otherwise, even if trials
 * failed; another -errno with a sentence if nothing could be run at all. */
int run_execute(struct run_result *result, const struct run_observer *observer,
                struct lab_error *err);
/* Order statistics, merged histograms, ratios over the trials so far (for provisional tables). */
void run_summarise(struct run_result *result);
void run_env_read(struct run_env *env);
/* Whether the two ask the same of their engines, and are to be compared. */
bool run_same_question(const struct run_case *a, const struct run_case *b);
/* Whether a case's ends may be on different hosts. */
bool run_ends_apart(const struct run_settings *settings, const struct run_case *c);
void run_trial_free(struct run_trial *trial); /* what it owns */
void run_result_free(struct run_result *result);

#endif
