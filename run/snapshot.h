/* A process's own CPU clock and counters at one moment, and the difference of two. */
#ifndef LAB_RUN_SNAPSHOT_H
#define LAB_RUN_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include "core/record.h"

struct snapshot {
    uint64_t at_ns;
    uint64_t cpu_ns;     /* exact: the process's clock */
    struct rusage usage; /* its split in user and system is the kernel's, sampled */
};

void snapshot_take(struct snapshot *snapshot);
/* A malloc'd message; memory is as it is now. */
Lab__Process *snapshot_process(const struct snapshot *before, const struct snapshot *after);
/* The CPUs this process may use, as a list; "" if that cannot be read. Returns out. */
const char *snapshot_cpus(char *out, size_t out_size);

#endif
