/*
 * What would fail only once a run is under way is looked at before it: file descriptors and
 * ports against the connections asked for, congestion control by name, a server that is to be
 * there. Each trouble is a sentence and an exit code; nothing is left open.
 */
#ifndef LAB_CLI_PREFLIGHT_H
#define LAB_CLI_PREFLIGHT_H

#include "cli/run_options.h"
#include "client/load.h"
#include "core/link.h"
#include "run/run.h"

/* Raises the soft limit of file descriptors to the hard one, for this process and those that it
 * starts; refuses a congestion control that there is not ("": none is asked for). CLI_OK or
 * CLI_USAGE. */
int preflight_host(const char *cc, struct lab_error *err);

/* What a case asks of this host's sockets. */
struct preflight_sockets {
    const struct case_options *options;
    const struct load_options *load;
    const struct link_kind *kind; /* of what is talked over; NULL: a server's address says it */
    bool client, server;          /* it is started here, over the kernel's sockets */
    uint64_t server_workers;
};

/* File descriptors and ports. CLI_OK or CLI_USAGE. */
int preflight_sockets(const struct preflight_sockets *sockets, struct lab_error *err);

/* Refuses what says how to start or pin a server where no case of the run starts one. CLI_OK or
 * CLI_USAGE. */
int preflight_started(const struct run_result *run, const struct run_options *options,
                      struct lab_error *err);

/* Resolves every server_address of the run to a numeric one, connects once to each (not with
 * `elsewhere`: the clients run on other hosts; nor for a stack in user space, whose ways are its
 * own), and names the link to it. CLI_OK or CLI_USAGE. */
int preflight_servers(struct run_result *run, bool elsewhere, struct lab_error *err);

/* Whether the servers that this host is to start can listen where they were put: listens there for
 * a moment. CLI_OK or CLI_USAGE. */
int preflight_listen(const struct run_result *run, struct lab_error *err);

/* Clients of a case: more of them than connections are refused (CLI_USAGE). Where more threads
 * would spin than there are CPUs for, the case cannot run here (CLI_UNAVAILABLE if it was named).
 */
int preflight_clients(struct run_result *run, const struct run_options *options,
                      struct lab_error *err);

/* The CPU lists and commands of the whole run. CLI_OK or CLI_USAGE. */
int preflight_run(const struct run_options *options, struct lab_error *err);

#endif
