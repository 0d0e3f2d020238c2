/*
 * What the controller does about a link: before the processes of a trial are started it makes
 * what they talk over, says to each process where it plays, and takes it all away again. Nothing
 * that it makes has a name outside of the run, so that nothing is left however a run ends.
 *
 * Link number i joins client process i and server process i; where one side is a single process
 * of kernel sockets, it sits at the ends of them all.
 */
#ifndef LAB_RUN_LINK_H
#define LAB_RUN_LINK_H

#include "core/link.h"
#include "run/run.h"
#include "run/spawn.h"

struct run_link;

/* Where a process plays. */
struct run_place {
    char link[LINK_TEXT_MAX];   /* its view */
    char listen[ADDR_TEXT_MAX]; /* of servers; "": the case says */
    struct spawn_place spawn;
};

/* Whether the controller can make it here. 0, or -errno with a sentence. */
int run_link_probe(const struct link *link, struct lab_error *err);

/* For one trial of a case that has a link_spec. 0, or -errno with a sentence. `unique` tells this
 * trial's names from all others'. */
int run_link_open(struct run_link **out, const struct run_case *c, const char *unique,
                  struct lab_error *err);
void run_link_close(struct run_link *link); /* NULL is fine */

/* Where process `index` of that side is to be. */
const struct run_place *run_link_place(const struct run_link *link, enum link_side side,
                                       unsigned index);

/* A server that listens on all its addresses is reached at those that it has on the links: writes
 * them for one that it says, separated by commas; returns out. NULL if it does not fit. */
const char *run_link_reach(const struct run_link *link, const char *address, char *out,
                           size_t out_size);

/* What the kernel was set to for it. */
void run_link_settings(const struct run_link *link, struct run_list *out);

#endif
