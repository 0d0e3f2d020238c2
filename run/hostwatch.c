/* See hostwatch.h. */
#include "run/hostwatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/parse.h"

#define HOSTWATCH_FREQUENCIES_MAX 8

static FILE *open_below(const char *root, const char *path)
{
    char whole[512];
    snprintf(whole, sizeof(whole), "%s%s", root, path);
    return fopen(whole, "re");
}

static void take_stat(struct hostwatch *watch, const char *root)
{
    FILE *file = open_below(root, "/proc/stat");
    char line[512];

    if (file == NULL)
        return;
    while (fgets(line, sizeof(line), file) != NULL) {
        unsigned cpu;
        unsigned long long t[8] = {0};
        /* user nice system idle iowait irq softirq steal (proc(5)) */
        if (sscanf(line, "cpu%u %llu %llu %llu %llu %llu %llu %llu %llu", &cpu, &t[0], &t[1], &t[2],
                   &t[3], &t[4], &t[5], &t[6], &t[7]) < 5 ||
            cpu >= HOSTWATCH_CPUS)
            continue;
        watch->has_stat = true;
        watch->busy_ns[cpu] = (t[0] + t[1] + t[2] + t[5] + t[6]) * watch->tick_ns;
        watch->steal_ns[cpu] = t[7] * watch->tick_ns;
    }
    fclose(file);
}

/* One of TCP's counters in that process's network namespace. Pairs of lines: names, then values, in
 * the same order. */
static bool take_tcp(const char *root, pid_t pid, const char *wanted, uint64_t *count)
{
    static char names[16384], values[16384]; /* the controller has one thread */
    char path[64] = "/proc/net/netstat";
    bool found = false;

    if (pid != 0)
        snprintf(path, sizeof(path), "/proc/%d/net/netstat", (int)pid);
    FILE *file = pid >= 0 ? open_below(root, path) : NULL;
    if (file == NULL)
        return false;
    while (fgets(names, sizeof(names), file) != NULL &&
           fgets(values, sizeof(values), file) != NULL) {
        char *at_name, *at_value;
        char *name = strtok_r(names, " \n", &at_name);
        char *value = strtok_r(values, " \n", &at_value);
        if (name == NULL || strcmp(name, "TcpExt:") != 0)
            continue;
        while ((name = strtok_r(NULL, " \n", &at_name)) != NULL &&
               (value = strtok_r(NULL, " \n", &at_value)) != NULL) {
            if (strcmp(name, wanted) != 0)
                continue;
            *count = strtoull(value, NULL, 10);
            found = true;
        }
    }
    fclose(file);
    return found;
}

static void take_swap(struct hostwatch *watch, const char *root)
{
    FILE *file = open_below(root, "/proc/vmstat");
    char name[64];
    unsigned long long n;

    if (file == NULL)
        return;
    while (fscanf(file, "%63s %llu", name, &n) == 2)
        if (strcmp(name, "pswpin") == 0 || strcmp(name, "pswpout") == 0)
            watch->swapped_pages += n;
    fclose(file);
}

void hostwatch_take(struct hostwatch *watch, const char *root, pid_t server, pid_t client)
{
    long ticks = sysconf(_SC_CLK_TCK);

    memset(watch, 0, sizeof(*watch));
    watch->at_ns = clock_ns();
    watch->tick_ns = NS_PER_S / (uint64_t)(ticks > 0 ? ticks : 100);
    take_stat(watch, root);
    watch->has_listen_drops = take_tcp(root, server, "ListenDrops", &watch->listen_drops);
    watch->has_syn_retries = take_tcp(root, client, "TCPSynRetrans", &watch->syn_retries);
    take_swap(watch, root);
}

void hostwatch_frequencies(struct hostwatch *watch, const char *root, const char *cpu_list)
{
    unsigned cpus[HOSTWATCH_FREQUENCIES_MAX];
    char path[128];
    unsigned long long khz;

    int count = parse_cpu_list(cpu_list, "cpus", cpus, HOSTWATCH_FREQUENCIES_MAX, NULL);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/cpufreq/scaling_cur_freq",
                 cpus[i]);
        FILE *file = cpus[i] < HOSTWATCH_CPUS ? open_below(root, path) : NULL;
        if (file == NULL)
            continue;
        if (fscanf(file, "%llu", &khz) == 1)
            watch->khz[cpus[i]] = khz;
        fclose(file);
    }
}
