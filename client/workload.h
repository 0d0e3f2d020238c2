/*
 * A workload as the load generator sees it: how to make an op on a connection and when it is
 * done. One const table a workload, one file each; client/workloads.c is the list.
 */
#ifndef LAB_CLIENT_WORKLOAD_H
#define LAB_CLIENT_WORKLOAD_H

#include "core/option.h"

struct client_workload;
extern const struct client_workload *const client_workloads[]; /* NULL-terminated */
const struct client_workload *client_workload_find(const char *name);

const char *client_workload_name(const struct client_workload *workload);
const char *client_workload_help(const struct client_workload *workload);
/* Its own options (echo: --size, --one-way, ...), fields in a struct of options_size bytes. */
const struct option_def *client_workload_options(const struct client_workload *workload);

/* Options of the load generator, the same for every workload: --connections, --depth, --rate,
 * --arrival, --ops, --loops, --workers, --reconnect, --close, --local-addrs, --ramp, --pacing,
 * --timeout ... (client/load.h has the struct). */
extern const struct option_def load_options[];

#endif
