/* See snapshot.h. */
#include "run/snapshot.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "run/pin.h"

void snapshot_take(struct snapshot *snapshot)
{
    struct timespec cpu;

    snapshot->at_ns = clock_ns();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    snapshot->cpu_ns = (uint64_t)cpu.tv_sec * NS_PER_S + (uint64_t)cpu.tv_nsec;
    getrusage(RUSAGE_SELF, &snapshot->usage);
}

static uint64_t timeval_ns(const struct timeval *t)
{
    return (uint64_t)t->tv_sec * NS_PER_S + (uint64_t)t->tv_usec * NS_PER_US;
}

/* A line of /proc/self/status, in KiB there; 0 if there is none. */
static uint64_t status_bytes(const char *name)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    unsigned long long kib = 0;
    size_t size = strlen(name);

    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, name, size) == 0 && line[size] == ':') {
            kib = strtoull(line + size + 1, NULL, 10);
            break;
        }
    fclose(file);
    return kib * 1024;
}

Lab__Process *snapshot_process(const struct snapshot *before, const struct snapshot *after)
{
    Lab__Process *process = malloc(sizeof(*process));
    char cpus[256];

    if (process == NULL)
        abort();
    lab__process__init(process);
    process->cpus = record_text(snapshot_cpus(cpus, sizeof(cpus)));
    process->cpu_ns = after->cpu_ns - before->cpu_ns;
    process->cpu_user_ns = timeval_ns(&after->usage.ru_utime) - timeval_ns(&before->usage.ru_utime);
    process->cpu_sys_ns = timeval_ns(&after->usage.ru_stime) - timeval_ns(&before->usage.ru_stime);
    process->ctx_switches_voluntary = (uint64_t)(after->usage.ru_nvcsw - before->usage.ru_nvcsw);
    process->ctx_switches_involuntary =
        (uint64_t)(after->usage.ru_nivcsw - before->usage.ru_nivcsw);
    /* ru_maxrss of a child begins with what the controller had when it forked. */
    process->rss_bytes_max = status_bytes("VmHWM");
    process->vsize_bytes = status_bytes("VmSize");
    return process;
}

const char *snapshot_cpus(char *out, size_t out_size)
{
    cpu_set_t set;

    out[0] = '\0';
    return sched_getaffinity(0, sizeof(set), &set) < 0 ? out : pin_format(&set, out, out_size);
}
