/*
 * What else went on on this host while a trial was measured: steal and foreign work on the
 * CPUs of its processes, listen queues that overflowed, SYNs sent again. Host-wide counters of
 * the kernel, taken at both ends of the window.
 */
#ifndef LAB_RUN_HOSTWATCH_H
#define LAB_RUN_HOSTWATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define HOSTWATCH_CPUS 1024

struct hostwatch {
    uint64_t at_ns;
    bool has_stat, has_listen_drops, has_syn_retries;
    uint64_t busy_ns[HOSTWATCH_CPUS], steal_ns[HOSTWATCH_CPUS]; /* ticks of 10 ms as a rule */
    uint64_t listen_drops; /* in the server's network namespace */
    uint64_t syn_retries;  /* in the client's */
    uint64_t swapped_pages;
    uint64_t tick_ns;             /* resolution of the two above */
    uint64_t khz[HOSTWATCH_CPUS]; /* 0: not observed */
};

/* root: "" or a directory that stands for / in tests. server, client: processes whose network
 * namespaces are looked at; 0: this one's; -1: it is on another host. */
void hostwatch_take(struct hostwatch *watch, const char *root, pid_t server, pid_t client);
/* Adds how fast these CPUs are now: of few of them, since reading one may interrupt it. */
void hostwatch_frequencies(struct hostwatch *watch, const char *root, const char *cpu_list);

#endif
