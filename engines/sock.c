/* See sock.h. */
#include "engines/sock.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/clock.h"

#define SOCK_BACKOFF_MIN_NS (10 * NS_PER_MS)
#define SOCK_BACKOFF_MAX_NS (100 * NS_PER_MS)
/* At once: a peer that sends without end must not keep the others waiting. */
#define SOCK_DISCARD_BYTES 16384
#define SOCK_DISCARDS_MAX  64

const char *const sock_links[] = {"lo", "lo6", "unix", "veth", "tap", NULL};

static int sock_set(int fd, int level, int name, int value, uint64_t *calls)
{
    ++*calls;
    return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* The buffers have to be set before listen and connect: the window scale is fixed by them. */
static int sock_set_options(int fd, int family, const struct engine_config *config, uint64_t *calls)
{
    const struct engine_common *common = config->options;
    int r = 0;

    if (common->sndbuf != 0)
        r = sock_set(fd, SOL_SOCKET, SO_SNDBUF, (int)common->sndbuf, calls);
    if (r == 0 && common->rcvbuf != 0)
        r = sock_set(fd, SOL_SOCKET, SO_RCVBUF, (int)common->rcvbuf, calls);
    if (r < 0 || family == AF_UNIX)
        return r;
    r = sock_set(fd, IPPROTO_TCP, TCP_NODELAY, 1, calls);
    if (r == 0 && config->cc != NULL) {
        ++*calls;
        if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, config->cc, (socklen_t)strlen(config->cc)) <
            0)
            r = -errno;
    }
    return r;
}

/* --- probing --- */

#define SOCK_CC_ALLOWED   "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
#define SOCK_CC_AVAILABLE "/proc/sys/net/ipv4/tcp_available_congestion_control"
#define SOCK_CC_NAMES_MAX 200

/* The names in one of these files, with spaces between; "" where it cannot be read. */
static void sock_cc_names(const char *path, char names[SOCK_CC_NAMES_MAX])
{
    FILE *file = fopen(path, "re");

    names[0] = '\0';
    if (file == NULL)
        return;
    if (fgets(names, SOCK_CC_NAMES_MAX, file) == NULL)
        names[0] = '\0';
    fclose(file);
    names[strcspn(names, "\n")] = '\0';
}

static int sock_cc_unavailable(const char *cc, int code, struct lab_error *err)
{
    char names[SOCK_CC_NAMES_MAX];

    sock_cc_names(code == EPERM ? SOCK_CC_ALLOWED : SOCK_CC_AVAILABLE, names);
    if (code == EPERM)
        return lab_fail(err, code,
                        "congestion control '%s' is not allowed without privilege; allowed are: "
                        "%s (as root: sysctl net.ipv4.tcp_allowed_congestion_control)",
                        cc, names);
    return lab_fail(err, code,
                    "congestion control '%s' cannot be had: %s; this kernel has: %s (others may "
                    "need modprobe tcp_%s)",
                    cc, strerror(code), names, cc);
}

/* The kernel doubles what is asked for, for its book-keeping, and cuts it to a limit. */
static void sock_probe_buffer(int fd, int option, const char *name, const char *limit,
                              uint64_t asked, struct engine_caps *caps)
{
    char note[sizeof(caps->list[0].note)];
    uint64_t uncounted = 0;
    int granted = 0;
    socklen_t size = sizeof(granted);

    if (asked == 0 || sock_set(fd, SOL_SOCKET, option, (int)asked, &uncounted) < 0 ||
        getsockopt(fd, SOL_SOCKET, option, &granted, &size) < 0)
        return;
    if ((uint64_t)granted / 2 == asked) {
        engine_caps_add(caps, name, CAP_NATIVE, NULL);
        return;
    }
    bool cut = (uint64_t)granted / 2 < asked;
    snprintf(note, sizeof(note), "%llu bytes asked, the kernel took %d%s%s",
             (unsigned long long)asked, granted / 2, cut ? ": raise sysctl " : ", its least",
             cut ? limit : "");
    engine_caps_add(caps, name, CAP_EMULATED, note);
}

/* Whether only root may choose it, for each socket anew. */
static bool sock_cc_is_restricted(const char *cc)
{
    char names[SOCK_CC_NAMES_MAX], *rest = names, *name;

    sock_cc_names(SOCK_CC_ALLOWED, names);
    while ((name = strsep(&rest, " ")) != NULL)
        if (strcmp(name, cc) == 0)
            return false;
    return true;
}

int sock_probe(const struct engine_config *config, struct engine_caps *caps, struct lab_error *err)
{
    const struct engine_common *common = config->options;
    int r = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return lab_fail(err, errno, "cannot make a TCP socket: %s", strerror(errno));
    if (config->cc != NULL &&
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, config->cc, (socklen_t)strlen(config->cc)) < 0)
        r = sock_cc_unavailable(config->cc, errno, err);
    caps->privileged |= config->cc != NULL && sock_cc_is_restricted(config->cc);
    sock_probe_buffer(fd, SO_SNDBUF, "send buffer size", "net.core.wmem_max", common->sndbuf, caps);
    sock_probe_buffer(fd, SO_RCVBUF, "receive buffer size", "net.core.rmem_max", common->rcvbuf,
                      caps);
    close(fd);
    return r;
}

/* --- listening --- */

static const char *sock_unix_path(const struct addr *addr)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&addr->sa;

    return un->sun_family == AF_UNIX && un->sun_path[0] != '\0' ? un->sun_path : NULL;
}

/*
 * A killed server leaves its file behind, and bind() then fails for ever. Only a socket that
 * nobody listens on is removed: connecting to it says so. Two that start at the same moment
 * could both find it stale, and the later one would take the path from the earlier, which would
 * need a lock file beside the socket to be excluded; that is worse to leave behind.
 */
static bool sock_remove_stale(const struct addr *addr)
{
    const char *path = sock_unix_path(addr);
    struct stat status;

    if (path == NULL || lstat(path, &status) < 0 || !S_ISSOCK(status.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool stale =
        connect(fd, (const struct sockaddr *)&addr->sa, addr->size) < 0 && errno == ECONNREFUSED;
    close(fd);
    return stale && unlink(path) == 0;
}

static int sock_bind(int fd, const struct addr *addr)
{
    if (bind(fd, (const struct sockaddr *)&addr->sa, addr->size) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return -errno;
    if (!sock_remove_stale(addr))
        return -EADDRINUSE;
    return bind(fd, (const struct sockaddr *)&addr->sa, addr->size) < 0 ? -errno : 0;
}

static int sock_listen_failed(const struct addr *addr, int code, struct lab_error *err)
{
    char text[ADDR_TEXT_MAX];
    const char *path = sock_unix_path(addr);
    struct stat status;

    addr_format(addr, text);
    switch (code) {
    case EADDRINUSE:
        if (path != NULL && lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode))
            return lab_fail(err, code,
                            "cannot listen on %s: there is a file that is no socket; remove it, or "
                            "take another path",
                            text);
        return lab_fail(err, code,
                        "cannot listen on %s: another process does; stop it, or take another "
                        "address (port 0: a free one)",
                        text);
    case EADDRNOTAVAIL:
        return lab_fail(err, code, "cannot listen on %s: this host has no such address", text);
    case EACCES:
        return lab_fail(err, code,
                        "cannot listen on %s: permission denied; take a port of 1024 or more, or "
                        "a directory that you may write to",
                        text);
    case EAFNOSUPPORT:
        return lab_fail(err, code, "cannot listen on %s: this kernel lacks its address family",
                        text);
    case EMFILE:
    case ENFILE:
        return lab_fail(err, code, "cannot listen on %s: no more open files; raise ulimit -n",
                        text);
    default: return lab_fail(err, code, "cannot listen on %s: %s", text, strerror(code));
    }
}

static int sock_listen_fd(int fd, const struct addr *addr, const struct engine_config *config)
{
    int family = addr->sa.ss_family;
    uint64_t uncounted = 0; /* before anything is measured */
    int r = sock_set_options(fd, family, config, &uncounted);

    if (r == 0 && family != AF_UNIX)
        r = sock_set(fd, SOL_SOCKET, SO_REUSEADDR, 1, &uncounted);
    if (r == 0 && family != AF_UNIX && config->reuseport)
        r = sock_set(fd, SOL_SOCKET, SO_REUSEPORT, 1, &uncounted);
    /* `[::]:0` and `0.0.0.0:0` are two listeners, whatever the sysctl says. */
    if (r == 0 && family == AF_INET6)
        r = sock_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1, &uncounted);
    if (r == 0)
        r = sock_bind(fd, addr);
    /* The kernel cuts the backlog to net.core.somaxconn. */
    if (r == 0 && listen(fd, config->backlog > 0 ? config->backlog : INT32_MAX) < 0)
        r = -errno;
    return r;
}

int sock_listen(struct sock_listener *listener, const struct addr *addr,
                const struct engine_config *config, int flags, struct lab_error *err)
{
    struct sock_listener made = {.bound.size = sizeof(made.bound.sa)};
    struct stat status;

    made.fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (made.fd < 0)
        return sock_listen_failed(addr, errno, err);
    int r = sock_listen_fd(made.fd, addr, config);
    if (r < 0) {
        close(made.fd);
        return sock_listen_failed(addr, -r, err);
    }
    getsockname(made.fd, (struct sockaddr *)&made.bound.sa, &made.bound.size);
    const char *path = sock_unix_path(&made.bound);
    if (path != NULL && lstat(path, &status) == 0) {
        made.path_dev = status.st_dev;
        made.path_ino = status.st_ino;
    }
    *listener = made;
    return 0;
}

void sock_listener_unlink(struct sock_listener *listener)
{
    const char *path = sock_unix_path(&listener->bound);
    struct stat status;

    if (path != NULL && listener->path_ino != 0 && lstat(path, &status) == 0 &&
        status.st_dev == listener->path_dev && status.st_ino == listener->path_ino)
        unlink(path);
    listener->path_ino = 0;
}

void sock_listener_close(struct sock_listener *listener)
{
    sock_listener_unlink(listener);
    close(listener->fd);
    listener->fd = -1;
}

/* --- connecting --- */

int sock_open(const struct addr *remote, const struct addr *local,
              const struct engine_config *config, int flags, uint64_t *calls)
{
    int family = remote->sa.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

    ++*calls;
    if (fd < 0)
        return -errno;
    int r = sock_set_options(fd, family, config, calls);
    if (r == 0 && local != NULL && local->size != 0) {
        /* Without it bind() would reserve a port for this address alone, and the host would run
         * out of ports after as many connections as it has, whoever they go to. */
        if (family != AF_UNIX && addr_port(local) == 0)
            r = sock_set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1, calls);
        if (r == 0) {
            ++*calls;
            r = bind(fd, (const struct sockaddr *)&local->sa, local->size) < 0 ? -errno : 0;
        }
    }
    if (r < 0) {
        ++*calls;
        close(fd);
        return r;
    }
    return fd;
}

bool sock_connect_failed_here(int err)
{
    switch (err) {
    case EADDRNOTAVAIL:
    case EADDRINUSE:
    case ENOMEM:
    case ENOBUFS:
    case EMFILE:
    case ENFILE:
    case EAFNOSUPPORT:
    case EINVAL: return true;
    default: return false;
    }
}

bool sock_accept_must_pause(int err)
{
    switch (err) {
    case EAGAIN:
    case EINTR:
    /* Those of the connection that was about to be accepted: accept(2), "Error handling". */
    case ECONNABORTED:
    case EPERM:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case ETIMEDOUT: return false;
    default: return true;
    }
}

int sock_error(int fd)
{
    int err = 0;
    socklen_t size = sizeof(err);

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) < 0 ? errno : err;
}

bool sock_discard(int fd, bool *eof, uint64_t *calls)
{
    char scratch[SOCK_DISCARD_BYTES];
    bool any = false;

    for (int i = 0; i < SOCK_DISCARDS_MAX && !*eof; i++) {
        ssize_t n = recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT);
        ++*calls;
        if (n < 0)
            break;
        if (n == 0)
            *eof = true;
        else
            any = true;
    }
    return any;
}

bool sock_has_unread(int fd)
{
    int unread = 0;

    return ioctl(fd, FIONREAD, &unread) == 0 && unread > 0;
}

bool sock_must_linger(int fd, bool large, bool *eof, uint64_t *calls)
{
    int unsent = 0;

    if (sock_discard(fd, eof, calls) && !*eof)
        return true;
    if (!large || *eof)
        return false;
    ++*calls;
    return ioctl(fd, SIOCOUTQNSD, &unsent) == 0 && unsent > 0;
}

bool sock_is_acknowledged(int fd)
{
    int left = 0;

    return ioctl(fd, TIOCOUTQ, &left) < 0 || left == 0;
}

void sock_set_abort(int fd)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

void sock_block_sigpipe(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

enum engine_reason sock_reason(int err)
{
    return err == ECONNRESET || err == EPIPE ? ENGINE_CLOSED_RESET : ENGINE_CLOSED_ERROR;
}

uint64_t sock_backoff_next_ns(struct sock_backoff *backoff)
{
    uint64_t pause_ns = backoff->pause_ns == 0 ? SOCK_BACKOFF_MIN_NS : backoff->pause_ns * 2;

    backoff->pause_ns = pause_ns < SOCK_BACKOFF_MAX_NS ? pause_ns : SOCK_BACKOFF_MAX_NS;
    return backoff->pause_ns;
}
