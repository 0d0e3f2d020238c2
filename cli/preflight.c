/* See preflight.h. */
#include "cli/preflight.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/clock.h"
#include "core/parse.h"
#include "engines/sock.h"
#include "run/spawn.h"
#include "server/serve.h"

/* Beside its connections a process needs some for the listener, the channel, libraries; and each
 * worker for its ring or set, what wakes it, and what is tried out before. */
#define PREFLIGHT_FDS_SPARE      64
#define PREFLIGHT_FDS_WORKER     3
#define PREFLIGHT_CONNECT_MS     5000
#define PREFLIGHT_TIME_WAIT_S    60
#define PREFLIGHT_TIME_WAIT_LO_S 1 /* tcp_tw_reuse 1, or 2 and over loopback (Linux 4.19) */
#define PREFLIGHT_CPUS_MAX       4096

/* Numbers from a file in /proc; returns how many of the two were read. */
static int preflight_numbers(const char *path, uint64_t *first, uint64_t *second)
{
    unsigned long long a = 0, b = 0;
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return 0;
    int count = fscanf(file, "%llu %llu", &a, &b);
    fclose(file);
    *first = a;
    *second = b;
    return count < 0 ? 0 : count;
}

static void preflight_raise_fds(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* what it is then, preflight_fds() sees */
}

static int preflight_fds(uint64_t connections, uint64_t workers, struct lab_error *err)
{
    char beside[64] = "";
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return CLI_OK;
    uint64_t needed = connections + workers * PREFLIGHT_FDS_WORKER + PREFLIGHT_FDS_SPARE;
    if (limit.rlim_cur == RLIM_INFINITY || needed <= limit.rlim_cur)
        return CLI_OK;
    if (workers > 1)
        snprintf(beside, sizeof(beside), " and %llu workers", (unsigned long long)workers);
    lab_fail(err, EMFILE,
             "--connections %llu%s: %llu file descriptors a process are needed and the limit is "
             "%llu: raise it (`ulimit -Hn %llu` as root) or ask for fewer",
             (unsigned long long)connections, beside, (unsigned long long)needed,
             (unsigned long long)limit.rlim_cur, (unsigned long long)needed);
    return CLI_USAGE;
}

/* A client on this host reaches what listens at any address over loopback. */
static bool preflight_is_loopback(const struct addr *addr)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&addr->sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&addr->sa;

    if (addr->sa.ss_family == AF_INET)
        return in->sin_addr.s_addr == htonl(INADDR_ANY) ||
               ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return addr->sa.ss_family == AF_INET6 &&
           (IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr) || IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr));
}

/* Whether the client's connections take TCP ports of this host, and whether over loopback, where
 * the kernel takes one again sooner. A name that is to be resolved may be anywhere. */
static bool preflight_takes_ports(const struct preflight_sockets *sockets, bool *loopback)
{
    const struct case_options *options = sockets->options;
    const struct link_kind *kind = sockets->kind;
    const char *at = options->server[0] != '\0' ? options->server : options->listen;
    struct addr addr = {0};

    *loopback = true;
    if (!sockets->client)
        return false;
    if (at[0] == '\0') /* a link of frames has a network namespace of its own */
        return kind == NULL || (kind->tcp && !kind->frames);
    bool numeric = addr_parse(at, 1, "", &addr, NULL) == 0;
    *loopback = numeric && preflight_is_loopback(&addr);
    return !numeric || !addr_is_unix(&addr);
}

/* Connections that are closed from here hold a port each, for a time. An open loop says how many
 * a second it wants; a closed one finds out, and its errors say so (EADDRNOTAVAIL). */
static int preflight_ports(const struct preflight_sockets *sockets, struct lab_error *err)
{
    uint64_t low = 32768, high = 60999, reuse = 2, ignored, hold_s = PREFLIGHT_TIME_WAIT_S;
    const struct case_options *options = sockets->options;
    const struct load_options *load = sockets->load;
    bool loopback;

    if (!preflight_takes_ports(sockets, &loopback))
        return CLI_OK;
    preflight_numbers("/proc/sys/net/ipv4/ip_local_port_range", &low, &high);
    preflight_numbers("/proc/sys/net/ipv4/tcp_tw_reuse", &reuse, &ignored);
    uint64_t ports = (high - low + 1) * load->local_addrs;
    if (load->connections > ports) {
        lab_fail(err, EADDRNOTAVAIL,
                 "--connections %llu is more than the %llu ports of net.ipv4.ip_local_port_range "
                 "give: spread them with --local-addrs %llu",
                 (unsigned long long)load->connections, (unsigned long long)ports,
                 (unsigned long long)(load->connections / (high - low + 1) + 1));
        return CLI_USAGE;
    }
    if (!load->reconnect || load->rate == 0 || load->close != LOAD_CLOSE_FIN)
        return CLI_OK;
    if (reuse == 1 || (reuse == 2 && loopback))
        hold_s = PREFLIGHT_TIME_WAIT_LO_S;
    double span_s = (double)(options->duration_ns + options->warmup_ns) / (double)NS_PER_S;
    double held = (double)load->rate * (span_s < (double)hold_s ? span_s : (double)hold_s);
    if (held <= (double)ports)
        return CLI_OK;
    lab_fail(err, EADDRNOTAVAIL,
             "--rate %llu with --reconnect would hold %.0f ports in TIME_WAIT and there are %llu: "
             "spread them with --local-addrs, or --close rst (or server)",
             (unsigned long long)load->rate, held, (unsigned long long)ports);
    return CLI_USAGE;
}

static int preflight_cc(const char *name, struct lab_error *err)
{
    char known[200] = "";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return CLI_OK; /* the engines will say what is wrong */
    int code =
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) < 0 ? errno : 0;
    close(fd);
    if (code == 0)
        return CLI_OK;
    const char *path = code == EPERM ? "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
                                     : "/proc/sys/net/ipv4/tcp_available_congestion_control";
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        if (fgets(known, sizeof(known), file) == NULL)
            known[0] = '\0';
        known[strcspn(known, "\n")] = '\0';
        fclose(file);
    }
    lab_fail(err, code, "--cc %s: %s (there is: %s)", name,
             code == EPERM ? "only root may choose it here" : "this kernel has no such one", known);
    return CLI_USAGE;
}

int preflight_host(const char *cc, struct lab_error *err)
{
    preflight_raise_fds();
    return cc[0] != '\0' ? preflight_cc(cc, err) : CLI_OK;
}

int preflight_sockets(const struct preflight_sockets *sockets, struct lab_error *err)
{
    uint64_t workers = 1;
    int r = CLI_OK;

    if (sockets->client && sockets->load->workers > workers)
        workers = sockets->load->workers;
    if (sockets->server && sockets->server_workers > workers)
        workers = sockets->server_workers;
    if (sockets->client || sockets->server)
        r = preflight_fds(sockets->load->connections, workers, err);
    return r == CLI_OK ? preflight_ports(sockets, err) : r;
}

/* --- a server that is to be there --- */

/* HOST:PORT or [HOST]:PORT with a name in it. */
static int preflight_resolve(const char *text, struct addr *out, struct lab_error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char host[256];
    const char *colon = strrchr(text, ':');

    if (addr_parse(text, 0, "--server", out, err) == 0)
        return CLI_OK;
    if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof(host) ||
        text[0] == '[' || strncmp(text, "unix:", 5) == 0 || strchr(text, '/') != NULL ||
        memchr(text, ':', (size_t)(colon - text)))
        return CLI_USAGE; /* addr_parse's sentence */
    uint64_t port = 0;
    if (parse_count(colon + 1, "--server", &port, err) < 0 || port == 0 || port > 65535) {
        lab_fail(err, EINVAL, "--server %s: a port is a number from 1 to 65535", text);
        return CLI_USAGE;
    }
    snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
    int r = getaddrinfo(host, colon + 1, &hints, &found);
    if (r != 0) {
        lab_fail(err, ENOENT, "--server %s: the name '%s' cannot be resolved (%s)", text, host,
                 r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
        return CLI_USAGE;
    }
    memcpy(&out->sa, found->ai_addr, found->ai_addrlen);
    out->size = found->ai_addrlen;
    freeaddrinfo(found);
    return CLI_OK;
}

/* 0 or the errno with which a connect ended. */
static int preflight_connect(const struct addr *addr, struct addr *local)
{
    int fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), code = 0;

    if (fd < 0)
        return errno;
    if (connect(fd, (const struct sockaddr *)&addr->sa, addr->size) < 0) {
        code = errno;
        if (code == EINPROGRESS) {
            struct pollfd event = {.fd = fd, .events = POLLOUT};
            socklen_t size = sizeof(code);
            int ready;
            do
                ready = poll(&event, 1, PREFLIGHT_CONNECT_MS);
            while (ready < 0 && errno == EINTR);
            if (ready <= 0)
                code = ETIMEDOUT;
            else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
                code = errno;
        }
    }
    local->size = sizeof(local->sa);
    if (getsockname(fd, (struct sockaddr *)&local->sa, &local->size) < 0)
        local->size = 0;
    close(fd);
    return code;
}

static int preflight_refuse(const char *text, const char *workload, int code, struct lab_error *err)
{
    switch (code) {
    case ECONNREFUSED:
    case ENOENT:
        lab_fail(err, code,
                 "--server %s: nothing listens there: start the server first (`lab serve %s "
                 "--listen %s`)",
                 text, workload, text);
        break;
    case ENETUNREACH:
    case EHOSTUNREACH:
        lab_fail(err, code, "--server %s: there is no route to it (%s): look at `ip route get`",
                 text, strerror(code));
        break;
    case ETIMEDOUT:
        lab_fail(err, code,
                 "--server %s: no answer to a connect within %d s: a firewall, or the wrong "
                 "address",
                 text, PREFLIGHT_CONNECT_MS / 1000);
        break;
    default: lab_fail(err, code, "--server %s: cannot connect: %s", text, strerror(code));
    }
    return CLI_USAGE;
}

static bool preflight_same_host(const struct addr *a, const struct addr *b)
{
    if (a->sa.ss_family != b->sa.ss_family)
        return false;
    if (a->sa.ss_family == AF_INET)
        return ((const struct sockaddr_in *)&a->sa)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)&b->sa)->sin_addr.s_addr;
    return memcmp(&((const struct sockaddr_in6 *)&a->sa)->sin6_addr,
                  &((const struct sockaddr_in6 *)&b->sa)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

/* An address of this host is reached over lo, whatever interface holds it; else the interface
 * that the connection left by. */
static void preflight_link(const struct addr *addr, const struct addr *local, char *out,
                           size_t out_size)
{
    struct ifaddrs *all = NULL;

    snprintf(out, out_size, "%s", addr_is_unix(addr) ? "unix" : "lo");
    if (addr_is_unix(addr) || local->size == 0 || preflight_same_host(addr, local))
        return;
    snprintf(out, out_size, "net");
    if (getifaddrs(&all) < 0)
        return;
    for (const struct ifaddrs *at = all; at != NULL; at = at->ifa_next) {
        struct addr one = {0};
        if (at->ifa_addr == NULL ||
            (at->ifa_addr->sa_family != AF_INET && at->ifa_addr->sa_family != AF_INET6))
            continue;
        memcpy(&one.sa, at->ifa_addr,
               at->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                  : sizeof(struct sockaddr_in6));
        if (preflight_same_host(&one, local)) {
            snprintf(out, out_size, "%s", at->ifa_name);
            break;
        }
    }
    freeifaddrs(all);
}

static void preflight_replace(char **text, const char *with)
{
    char *copy = strdup(with);
    if (copy == NULL)
        abort();
    free(*text);
    *text = copy;
}

int preflight_started(const struct run_result *run, const struct run_options *options,
                      struct lab_error *err)
{
    const char *useless = options->server_via[0] != '\0'    ? "--server-via"
                          : options->server_cpus[0] != '\0' ? "--server-cpus"
                                                            : NULL;

    for (size_t i = 0; i < run->cases_count && useless != NULL; i++)
        if (run->cases[i].server_address == NULL)
            useless = NULL;
    if (useless == NULL)
        return CLI_OK;
    lab_fail(err, EINVAL,
             "%s is for a server that lab starts, and --server names one that is there already: "
             "leave one out",
             useless);
    return CLI_USAGE;
}

/* A server that was asked for by a name is to hear that name, which its address does not tell. */
static void preflight_name(struct run_case *c)
{
    struct addr numeric;

    if (strncmp(c->server_address, "localhost:", 10) != 0 &&
        addr_parse(c->server_address, 0, "", &numeric, NULL) == 0)
        return;
    run_args_add(&c->client_args, "server-name", c->server_address);
}

int preflight_servers(struct run_result *run, bool elsewhere, struct lab_error *err)
{
    char asked[OPTION_TEXT_MAX] = "", numeric[ADDR_TEXT_MAX] = "", link[IF_NAMESIZE] = "";

    for (size_t i = 0; i < run->cases_count; i++) {
        struct run_case *c = &run->cases[i];
        if (c->server_address == NULL)
            continue;
        preflight_name(c);
        if (c->link_spec != NULL) {
            struct addr addr = {0};
            int r = preflight_resolve(c->server_address, &addr, err);
            if (r != CLI_OK)
                return r;
            preflight_replace(&c->server_address, addr_format(&addr, numeric));
            asked[0] = '\0';
            continue;
        }
        if (strcmp(asked, c->server_address) != 0) {
            struct addr addr = {0}, local = {0};
            int r = preflight_resolve(c->server_address, &addr, err);
            if (r != CLI_OK)
                return r;
            if (!addr_is_unix(&addr) && addr_port(&addr) == 0) {
                lab_fail(err, EINVAL, "--server %s: a port is a number from 1 to 65535",
                         c->server_address);
                return CLI_USAGE;
            }
            int code = elsewhere ? 0 : preflight_connect(&addr, &local);
            if (code != 0)
                return preflight_refuse(c->server_address, c->workload, code, err);
            snprintf(asked, sizeof(asked), "%s", c->server_address);
            addr_format(&addr, numeric);
            preflight_link(&addr, &local, link, sizeof(link));
        }
        preflight_replace(&c->server_address, numeric);
        preflight_replace(&c->link, elsewhere ? "net" : link);
    }
    return CLI_OK;
}

/* --- a server that is to be started --- */

int preflight_listen(const struct run_result *run, struct lab_error *err)
{
    const char *tried = NULL;

    for (size_t i = 0; i < run->cases_count; i++) {
        const struct run_case *c = &run->cases[i];
        const struct engine_common common = {0};
        const struct engine_config config = {.options = &common};
        struct sock_listener listener;
        struct lab_error why;
        struct addr addr;

        if (c->server_address != NULL || c->listen == NULL || c->link_spec != NULL ||
            c->both_sides || (tried != NULL && strcmp(tried, c->listen) == 0))
            continue;
        tried = c->listen;
        if (addr_parse(tried, server_workload_find(c->workload)->port, "--listen", &addr, err) < 0)
            return CLI_USAGE;
        if (sock_listen(&listener, &addr, &config, 0, &why) < 0) {
            lab_fail(err, EINVAL, "--listen: %s", why.text);
            return CLI_USAGE;
        }
        sock_listener_close(&listener);
    }
    return CLI_OK;
}

/* --- the whole run --- */

static int preflight_cpus(const char *list, const char *name, struct lab_error *err)
{
    static unsigned cpus[PREFLIGHT_CPUS_MAX];
    cpu_set_t *mine = CPU_ALLOC(PREFLIGHT_CPUS_MAX);
    size_t size = CPU_ALLOC_SIZE(PREFLIGHT_CPUS_MAX);
    int r = CLI_OK;

    int count = parse_cpu_list(list, name, cpus, PREFLIGHT_CPUS_MAX, err);
    if (count < 0)
        r = CLI_USAGE;
    if (mine != NULL && r == CLI_OK && sched_getaffinity(0, size, mine) == 0) {
        for (int i = 0; i < count && r == CLI_OK; i++) {
            if (cpus[i] < PREFLIGHT_CPUS_MAX && CPU_ISSET_S(cpus[i], size, mine))
                continue;
            lab_fail(err, EINVAL, "%s: there is no CPU %u here, or this process may not use it",
                     name, cpus[i]);
            r = CLI_USAGE;
        }
    }
    CPU_FREE(mine);
    return r;
}

/* How many CPUs the client may use, if it is to be on this host; 0: nobody knows. */
static unsigned preflight_client_cpus(const struct run_options *options)
{
    static unsigned cpus[PREFLIGHT_CPUS_MAX];
    cpu_set_t mine;

    if (options->client_via.count > 0)
        return 0;
    if (options->client_cpus[0] != '\0') {
        int count = parse_cpu_list(options->client_cpus, "", cpus, PREFLIGHT_CPUS_MAX, NULL);
        return count > 0 ? (unsigned)count : 0;
    }
    return sched_getaffinity(0, sizeof(mine), &mine) == 0 ? (unsigned)CPU_COUNT(&mine) : 0;
}

int preflight_clients(struct run_result *run, const struct run_options *options,
                      struct lab_error *err)
{
    unsigned cpus = preflight_client_cpus(options);
    struct run_case *c = NULL;
    size_t left = 0;

    for (size_t i = 0; i < run->cases_count; i++) {
        c = &run->cases[i];
        if (c->status != RUN_RAN)
            continue;
        left++;
        if (options->client_via.count > c->connections) {
            lab_fail(err, EINVAL,
                     "--client-via: %zu clients need as many connections: raise --connections",
                     options->client_via.count);
            return CLI_USAGE;
        }
        if (!c->paced_by_spinning || cpus == 0 || c->client_threads <= cpus)
            continue;
        left--;
        c->status = RUN_CANNOT_RUN;
        snprintf(c->reason, sizeof(c->reason),
                 "with --pacing spin %u threads would spin on %u CPU%s and keep each other from "
                 "sending: take --pacing sleep, or fewer --connections",
                 c->client_threads, cpus, cpus == 1 ? "" : "s");
        if (c->of_all || options->skip_unavailable)
            continue;
        lab_fail(err, ENOSYS, "%s cannot run here: %s", c->label, c->reason);
        return CLI_UNAVAILABLE;
    }
    if (left > 0)
        return CLI_OK;
    lab_fail(err, ENOSYS, "no engine can run here; %s: %s", c->label, c->reason);
    return CLI_UNAVAILABLE;
}

/* A command that goes before another. */
static int preflight_via(const char *command, const char *name, struct lab_error *err)
{
    int why = 0;
    char **words = spawn_split(command, &why);
    bool empty = words != NULL && words[0] == NULL;

    free(words);
    if (words != NULL && !empty)
        return CLI_OK;
    lab_fail(err, EINVAL, "%s %s: %s", name, command,
             empty ? "it is empty" : "it cannot be split into words: a quote is left open");
    return CLI_USAGE;
}

int preflight_run(const struct run_options *options, struct lab_error *err)
{
    int r = CLI_OK;

    if (options->server_via[0] != '\0')
        r = preflight_via(options->server_via, "--server-via", err);
    for (size_t i = 0; i < options->client_via.count && r == CLI_OK; i++)
        r = preflight_via(options->client_via.items[i].value, "--client-via", err);

    /* On another host the lists are that host's. */
    if (r == CLI_OK && options->server_cpus[0] != '\0' && options->server_via[0] == '\0')
        r = preflight_cpus(options->server_cpus, "--server-cpus", err);
    if (r == CLI_OK && options->client_cpus[0] != '\0' && options->client_via.count == 0)
        r = preflight_cpus(options->client_cpus, "--client-cpus", err);
    if (r == CLI_OK && options->pin == 0 &&
        (options->server_cpus[0] != '\0' || options->client_cpus[0] != '\0')) {
        lab_fail(err, EINVAL, "--pin off, and CPUs to pin to: leave one of them out");
        r = CLI_USAGE;
    }
    return r;
}
