/*
 * Facts about this host, for every record: what cannot be read is not observed, and never 0. The
 * fingerprint takes stable facts only, so that a host is known again tomorrow.
 */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/clock.h"
#include "run/run.h"

/* The first line of a file, without its end; NULL if there is none. */
static const char *read_line(const char *path, char *out, size_t out_size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return NULL;
    char *got = fgets(out, (int)out_size, file);
    fclose(file);
    if (got == NULL)
        return NULL;
    out[strcspn(out, "\n")] = '\0';
    for (char *c = out; *c != '\0'; c++)
        if (*c == '\t')
            *c = ' ';
    return out;
}

/* The value after `key : ` in a file of such lines. */
static const char *read_value(const char *path, const char *key, char *out, size_t out_size)
{
    char line[4096];
    size_t size = strlen(key);
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return NULL;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, size) != 0)
            continue;
        const char *value = line + size;
        value += strspn(value, " \t:");
        snprintf(out, out_size, "%.*s", (int)strcspn(value, "\n"), value);
        fclose(file);
        return out;
    }
    fclose(file);
    return NULL;
}

/* NULL: it cannot be read, which is "" in the list; what was read and is empty is "none". */
static void fact(struct run_env *env, const char *name, const char *value)
{
    run_list_add(&env->facts, name, value == NULL ? "" : value[0] == '\0' ? "none" : value);
}

static void fact_file(struct run_env *env, const char *name, const char *path)
{
    char line[512];
    fact(env, name, read_line(path, line, sizeof(line)));
}

__attribute__((format(printf, 3, 4))) static void fact_format(struct run_env *env, const char *name,
                                                              const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fact(env, name, text);
}

static void warn(struct run_env *env, const char *id, const char *text, const char *fix)
{
    if (env->warnings_count == sizeof(env->warnings) / sizeof(env->warnings[0]))
        return;
    struct run_env_warning *warning = &env->warnings[env->warnings_count++];
    snprintf(warning->id, sizeof(warning->id), "%s", id);
    snprintf(warning->text, sizeof(warning->text), "%s", text);
    snprintf(warning->fix, sizeof(warning->fix), "%s", fix);
}

static unsigned clock_read_cost_ns(void)
{
    enum { READS = 2000 };
    uint64_t begun_ns = clock_ns(), last_ns = 0;
    for (unsigned i = 0; i < READS; i++)
        last_ns = clock_ns();
    return (unsigned)((last_ns - begun_ns) / READS);
}

static void read_cpu(struct run_env *env)
{
    char model[256], flags[4096], text[512];
    cpu_set_t set;

    fact(env, "cpu", read_value("/proc/cpuinfo", "model name", model, sizeof(model)));
    env->cores = sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
    fact_format(env, "cpus_usable", "%u", env->cores);
    fact_format(env, "cpus_online", "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    fact(env, "microcode", read_value("/proc/cpuinfo", "microcode", text, sizeof(text)));
    const char *found = read_value("/proc/cpuinfo", "flags", flags, sizeof(flags));
    env->shared_host = found != NULL && strstr(flags, " hypervisor") != NULL;
    fact(env, "virtual_machine", found == NULL ? NULL : env->shared_host ? "yes" : "no");
    found = read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", text, sizeof(text));
    if (found != NULL)
        fact_format(env, "frequency_hz", "%s000", text);
    else
        fact(env, "frequency_hz", NULL);
    fact_file(env, "governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    fact_file(env, "no_turbo", "/sys/devices/system/cpu/intel_pstate/no_turbo");
    fact_file(env, "smt", "/sys/devices/system/cpu/smt/control");
    fact_file(env, "isolated_cpus", "/sys/devices/system/cpu/isolated");
    fact_file(env, "mitigations_spectre_v2", "/sys/devices/system/cpu/vulnerabilities/spectre_v2");
    fact_file(env, "cgroup_cpu_max", "/sys/fs/cgroup/cpu.max");
    if (env->cores < 2)
        warn(env, "one-cpu", "client and server share the only CPU of this process",
             "give it two or more CPUs");
}

static void read_clock(struct run_env *env)
{
    char source[128];
    const char *found = read_line(
        "/sys/devices/system/clocksource/clocksource0/current_clocksource", source, sizeof(source));
    unsigned cost_ns = clock_read_cost_ns();

    fact(env, "clocksource", found);
    fact(env, "clock_way", clock_way());
    fact_format(env, "clock_read_ns", "%u", cost_ns);
    if (cost_ns > 200)
        warn(env, "slow-clock", "reading the clock takes a system call: every op pays for it",
             "boot with a clocksource that needs none (tsc, kvm-clock)");
}

static void read_network(struct run_env *env)
{
    char cc[64], qdisc[64];
    const char *found_cc = read_line("/proc/sys/net/ipv4/tcp_congestion_control", cc, sizeof(cc));
    const char *found_qdisc = read_line("/proc/sys/net/core/default_qdisc", qdisc, sizeof(qdisc));

    fact(env, "congestion_control", found_cc);
    fact(env, "default_qdisc", found_qdisc);
    fact_file(env, "congestion_controls", "/proc/sys/net/ipv4/tcp_available_congestion_control");
    fact_file(env, "lo_mtu", "/sys/class/net/lo/mtu");
    fact_file(env, "somaxconn", "/proc/sys/net/core/somaxconn");
    fact_file(env, "tcp_max_syn_backlog", "/proc/sys/net/ipv4/tcp_max_syn_backlog");
    fact_file(env, "ip_local_port_range", "/proc/sys/net/ipv4/ip_local_port_range");
    fact_file(env, "tcp_tw_reuse", "/proc/sys/net/ipv4/tcp_tw_reuse");
    fact_file(env, "tcp_rmem", "/proc/sys/net/ipv4/tcp_rmem");
    fact_file(env, "tcp_wmem", "/proc/sys/net/ipv4/tcp_wmem");
    fact_file(env, "tcp_mem", "/proc/sys/net/ipv4/tcp_mem");
    if (found_cc != NULL && strcmp(cc, "bbr") == 0 &&
        (found_qdisc == NULL || strcmp(qdisc, "fq") != 0))
        warn(env, "bbr-without-fq",
             "the congestion control is bbr without fq: TCP paces itself with timers",
             "sysctl -w net.core.default_qdisc=fq, or lab run --cc cubic");
}

static void read_limits(struct run_env *env)
{
    struct rlimit fds;

    if (getrlimit(RLIMIT_NOFILE, &fds) == 0) {
        fact_format(env, "fd_limit", "%llu", (unsigned long long)fds.rlim_max);
        if (fds.rlim_max < 4096)
            warn(env, "fd-limit", "few file descriptors are allowed", "ulimit -Hn 65536");
    } else {
        fact(env, "fd_limit", NULL);
    }
    fact_file(env, "io_uring_disabled", "/proc/sys/kernel/io_uring_disabled");
    char text[64];
    fact(env, "seccomp", read_value("/proc/self/status", "Seccomp:", text, sizeof(text)));
    fact_file(env, "loadavg", "/proc/loadavg");
}

/* FNV-1a of what stays as it is from boot to boot. */
static void fingerprint(struct run_env *env)
{
    static const char *const stable[] = {"machine", "cpu", "cpus_online", "virtual_machine"};
    uint64_t hash = 14695981039346656037ull;
    char id[64];

    for (size_t i = 0; i < sizeof(stable) / sizeof(stable[0]); i++)
        for (size_t k = 0; k < env->facts.count; k++)
            for (const char *c = env->facts.items[k].value;
                 strcmp(env->facts.items[k].name, stable[i]) == 0 && *c != '\0'; c++)
                hash = (hash ^ (unsigned char)*c) * 1099511628211ull;
    const char *found = read_line("/etc/machine-id", id, sizeof(id));
    for (; found != NULL && *found != '\0'; found++)
        hash = (hash ^ (unsigned char)*found) * 1099511628211ull;
    snprintf(env->fingerprint, sizeof(env->fingerprint), "%016llx", (unsigned long long)hash);
}

void run_env_read(struct run_env *env)
{
    struct utsname name;

    memset(env, 0, sizeof(*env));
    if (uname(&name) == 0) {
        fact_format(env, "kernel", "%s %s", name.sysname, name.release);
        fact(env, "machine", name.machine);
    } else {
        fact(env, "kernel", NULL);
        fact(env, "machine", NULL);
    }
    read_cpu(env);
    read_clock(env);
    read_network(env);
    read_limits(env);
    fact(env, "compiler", __VERSION__);
    fingerprint(env);
}
