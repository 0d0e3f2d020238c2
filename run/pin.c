/* See pin.h: different physical cores, since two threads of one core slow each other down; one
 * package, since its cores share a cache. */
#include "run/pin.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/parse.h"

enum pin_owner { PIN_NOBODY, PIN_SERVER, PIN_CLIENT };

struct pin_cpu {
    unsigned cpu;
    long package, core; /* -1 where they cannot be read */
    enum pin_owner owner;
};

struct pin_host {
    struct pin_cpu cpus[CPU_SETSIZE];
    size_t count;
};

static long topology(const char *root, unsigned cpu, const char *what)
{
    char path[512];
    long number = -1;

    snprintf(path, sizeof(path), "%s/sys/devices/system/cpu/cpu%u/topology/%s", root, cpu, what);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    if (fscanf(file, "%ld", &number) != 1)
        number = -1;
    fclose(file);
    return number;
}

static bool same_core(const struct pin_cpu *a, const struct pin_cpu *b)
{
    return a->core >= 0 && a->core == b->core && a->package == b->package;
}

/* Whose core it is, as far as somebody has a CPU of it; the other side's first. */
static enum pin_owner core_owner(const struct pin_host *host, const struct pin_cpu *cpu,
                                 enum pin_owner self)
{
    enum pin_owner owner = PIN_NOBODY;

    for (size_t i = 0; i < host->count; i++) {
        const struct pin_cpu *other = &host->cpus[i];
        if (other->owner == PIN_NOBODY || (other != cpu && !same_core(other, cpu)))
            continue;
        if (other->owner != self)
            return other->owner;
        owner = self;
    }
    return owner;
}

static long first_package(const struct pin_host *host)
{
    for (size_t i = 0; i < host->count; i++)
        if (host->cpus[i].owner != PIN_NOBODY)
            return host->cpus[i].package;
    return host->count > 0 ? host->cpus[0].package : -1;
}

/* Cores of which nobody has a CPU. */
static unsigned fresh_cores(const struct pin_host *host)
{
    unsigned fresh = 0;

    for (size_t i = 0; i < host->count; i++) {
        bool seen = core_owner(host, &host->cpus[i], PIN_NOBODY) != PIN_NOBODY;
        for (size_t k = 0; k < i && !seen; k++)
            seen = same_core(&host->cpus[k], &host->cpus[i]);
        fresh += !seen;
    }
    return fresh;
}

/* How bad a choice it is: best a core of nobody's while the side may have one, then one of its
 * own, then what was the other's share; a core of the other side last. */
static unsigned badness(const struct pin_host *host, const struct pin_cpu *cpu, enum pin_owner self,
                        unsigned fresh_left, long package)
{
    unsigned far = cpu->package != package;
    enum pin_owner owner = core_owner(host, cpu, self);

    if (owner == PIN_NOBODY)
        return far + (fresh_left > 0 ? 0 : 4);
    return far + (owner == self ? 2 : 6);
}

/* Takes the best ones that are left for a side. */
static void take(struct pin_host *host, enum pin_owner self, unsigned want, unsigned fresh_left,
                 cpu_set_t *into)
{
    CPU_ZERO(into);
    for (; want > 0; want--) {
        struct pin_cpu *best = NULL;
        unsigned best_badness = UINT_MAX;
        long package = first_package(host);
        for (size_t i = 0; i < host->count; i++) {
            struct pin_cpu *cpu = &host->cpus[i];
            unsigned bad = badness(host, cpu, self, fresh_left, package);
            if (cpu->owner != PIN_NOBODY || bad >= best_badness)
                continue;
            best = cpu;
            best_badness = bad;
        }
        if (best == NULL)
            break;
        if (best_badness < 2)
            fresh_left--;
        best->owner = self;
        CPU_SET(best->cpu, into);
    }
}

/* What was asked for is taken, and given back as it was written. */
static unsigned take_given(struct pin_host *host, enum pin_owner self, const char *list,
                           char out[PIN_TEXT_MAX])
{
    unsigned cpus[CPU_SETSIZE], taken = 0;

    if (list == NULL)
        return 0;
    snprintf(out, PIN_TEXT_MAX, "%s", list);
    int count = parse_cpu_list(list, "cpus", cpus, CPU_SETSIZE, NULL);
    for (int k = 0; k < count; k++)
        for (size_t i = 0; i < host->count; i++)
            if (host->cpus[i].cpu == cpus[k] && host->cpus[i].owner == PIN_NOBODY) {
                host->cpus[i].owner = self;
                taken++;
            }
    return taken;
}

static void read_host(const struct pin_request *request, struct pin_host *host)
{
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, request->mine))
            host->cpus[host->count++] = (struct pin_cpu){
                .cpu = cpu,
                .package = topology(request->root, cpu, "physical_package_id"),
                .core = topology(request->root, cpu, "core_id"),
            };
}

int pin_choose(const struct pin_request *request, char server[PIN_TEXT_MAX],
               char client[PIN_TEXT_MAX])
{
    unsigned servers = request->server_given == NULL ? request->servers : 0;
    unsigned clients = request->client_given == NULL ? request->clients : 0;
    cpu_set_t set;
    struct pin_host *host = calloc(1, sizeof(*host));

    server[0] = client[0] = '\0';
    if (host == NULL)
        return -ENOMEM;
    read_host(request, host);
    unsigned left = (unsigned)host->count;
    left -= take_given(host, PIN_SERVER, request->server_given, server);
    left -= take_given(host, PIN_CLIENT, request->client_given, client);
    /* Too few for all threads: in proportion, and at least one a side. */
    if (servers > 0 && clients > 0 && servers + clients > left) {
        servers = (unsigned)((unsigned long)left * servers / (servers + clients));
        servers = servers > 0 ? servers : 1;
        clients = left > servers ? left - servers : 0;
    }
    bool enough = left >= (servers > 0 ? 1u : 0u) + (request->client_given == NULL ? 1u : 0u);
    unsigned fresh = fresh_cores(host), fresh_server = servers;
    if (clients > 0 && fresh < servers + clients)
        fresh_server =
            fresh * servers / (servers + clients) > 0 ? fresh * servers / (servers + clients) : 1;
    if (enough && servers > 0) {
        take(host, PIN_SERVER, servers, fresh_server, &set);
        pin_format(&set, server, PIN_TEXT_MAX);
    }
    if (enough && clients > 0) {
        take(host, PIN_CLIENT, clients, UINT_MAX, &set);
        pin_format(&set, client, PIN_TEXT_MAX);
    }
    free(host);
    return enough ? 0 : -ENODEV;
}

void pin_part(const char *list, unsigned first, unsigned count, char out[PIN_TEXT_MAX])
{
    unsigned cpus[CPU_SETSIZE];
    cpu_set_t set;

    CPU_ZERO(&set);
    int all = parse_cpu_list(list, "cpus", cpus, CPU_SETSIZE, NULL);
    if (all < 0 || first + count > (unsigned)all)
        first = 0;
    for (unsigned i = first; (int)i < all && i < first + count; i++)
        if (cpus[i] < CPU_SETSIZE)
            CPU_SET(cpus[i], &set);
    pin_format(&set, out, PIN_TEXT_MAX);
}

const char *pin_format(const cpu_set_t *set, char *out, size_t out_size)
{
    size_t used = 0;

    out[0] = '\0';
    for (int cpu = 0; cpu < CPU_SETSIZE && used + 12 < out_size; cpu++) {
        int last = cpu;
        if (!CPU_ISSET(cpu, set))
            continue;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set))
            last++;
        used += (size_t)snprintf(out + used, out_size - used, used > 0 ? ",%d" : "%d", cpu);
        if (last > cpu)
            used += (size_t)snprintf(out + used, out_size - used, "-%d", last);
        cpu = last;
    }
    return out;
}
