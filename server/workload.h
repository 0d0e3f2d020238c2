/*
 * A workload as the server sees it. One const table a workload, one file each;
 * server/workloads.c is the list. An option of `lab run` that a server's table knows by the same
 * name (--size, --one-way, --close ...) is handed to the server as well.
 */
#ifndef LAB_SERVER_WORKLOAD_H
#define LAB_SERVER_WORKLOAD_H

#include <stdint.h>

#include "core/option.h"

struct server_workload;
extern const struct server_workload *const server_workloads[]; /* NULL-terminated */
const struct server_workload *server_workload_find(const char *name);

const char *server_workload_name(const struct server_workload *workload);
const struct option_def *server_workload_options(const struct server_workload *workload);
uint16_t server_workload_port(const struct server_workload *workload); /* default port */

/* Options of every server: --connections-max, --idle, --server-workers, --reuseport ... */
extern const struct option_def serve_options[];

#endif
