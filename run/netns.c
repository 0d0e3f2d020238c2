/* See netns.h. */
#include "run/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the process that made them says before it ends; the descriptors ride along. */
struct netns_message {
    int code; /* 0 or a positive errno */
    int user;
    struct lab_error error;
    char settings[NETNS_SETTINGS_SIZE];
};

/* --- in the process that ends at once --- */

static int netns_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
    close(fd);
    return r;
}

/* Everyone stays who he is; only groups cannot be changed any more. */
static int netns_map_ids(uid_t uid, gid_t gid)
{
    char text[64];

    netns_write("/proc/self/setgroups", "deny");
    snprintf(text, sizeof(text), "%u %u 1\n", uid, uid);
    int r = netns_write("/proc/self/uid_map", text);
    snprintf(text, sizeof(text), "%u %u 1\n", gid, gid);
    return r < 0 ? r : netns_write("/proc/self/gid_map", text);
}

static int netns_refused(int code, struct lab_error *err)
{
    if (code == ENOSPC || code == EUSERS)
        return lab_fail(err, code,
                        "no more namespaces may be made here: raise user.max_net_namespaces and "
                        "user.max_user_namespaces, or run as root");
    return lab_fail(
        err, code,
        "network namespaces may not be made here by this user (%s): run as root, or "
        "allow user namespaces (sysctl user.max_user_namespaces, "
        "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)",
        strerror(code));
}

static int netns_unshare(struct netns *ns, struct lab_error *err)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();

    for (unsigned i = 0; i < ns->count; i++) {
        int r = unshare(CLONE_NEWNET) < 0 ? -errno : 0;
        if (r == -EPERM && i == 0) {
            r = unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 ? -errno : netns_map_ids(uid, gid);
            ns->user = r == 0 ? open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC) : -1;
            if (r == 0 && ns->user < 0)
                r = -errno;
        }
        if (r < 0)
            return netns_refused(-r, err);
        ns->net[i] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        if (ns->net[i] < 0)
            return lab_fail(err, errno, "cannot open /proc/self/ns/net: %s", strerror(errno));
    }
    return 0;
}

/* As they are in the last namespace; all are made alike. */
static void netns_read_settings(char *out, size_t size)
{
    static const char *const names[] = {"tcp_congestion_control", "tcp_rmem", "tcp_wmem",
                                        "tcp_tw_reuse"};
    size_t used = 0;

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]) && used < size; i++) {
        char path[96], value[96];
        snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", names[i]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t got = fd >= 0 ? read(fd, value, sizeof(value) - 1) : 0;
        if (fd >= 0)
            close(fd);
        if (got <= 0)
            continue;
        value[got] = '\0';
        value[strcspn(value, "\n")] = '\0';
        for (char *p = value; *p != '\0'; p++)
            if (*p == '\t')
                *p = ' ';
        used += (size_t)snprintf(out + used, size - used, "%s %s\n", names[i], value);
    }
}

static void netns_say(int fd, const struct netns *ns, struct netns_message *message)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * (NETNS_MOST + 1))];
    } control;
    struct iovec data = {message, sizeof(*message)};
    struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1};
    int fds[NETNS_MOST + 1];
    unsigned count = 0;

    for (unsigned i = 0; i < ns->count && message->code == 0; i++)
        fds[count++] = ns->net[i];
    if (ns->user >= 0 && message->code == 0) {
        fds[count++] = ns->user;
        message->user = 1;
    }
    if (count > 0) {
        memset(&control, 0, sizeof(control));
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * count);
    }
    if (sendmsg(fd, &header, MSG_NOSIGNAL) < 0)
        _exit(1);
}

/* --- in the controller --- */

static int netns_hear(int fd, struct netns *ns, struct lab_error *err)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * (NETNS_MOST + 1))];
    } control;
    struct netns_message message;
    struct iovec data = {&message, sizeof(message)};
    struct msghdr header = {.msg_iov = &data,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof(control)};
    ssize_t got;

    do
        got = recvmsg(fd, &header, MSG_CMSG_CLOEXEC | MSG_WAITALL);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof(message))
        return lab_fail(err, EIO, "the process that makes the network namespaces was ended");
    if (message.code != 0)
        return lab_fail(err, message.code, "%s", message.error.text);
    const struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    unsigned count = ns->count + (message.user != 0);
    if (rights == NULL || rights->cmsg_len != CMSG_LEN(sizeof(int) * count))
        return lab_fail(err, EMFILE, "too many open files for network namespaces");
    memcpy(ns->net, CMSG_DATA(rights), sizeof(int) * ns->count);
    if (message.user != 0)
        memcpy(&ns->user, CMSG_DATA(rights) + sizeof(int) * ns->count, sizeof(int));
    memcpy(ns->settings, message.settings, sizeof(ns->settings));
    return 0;
}

int netns_make(struct netns *out, unsigned count,
               int (*furnish)(void *context, const struct netns *ns, struct lab_error *err),
               void *context, struct lab_error *err)
{
    struct netns ns = NETNS_NONE;
    int pair[2];

    ns.count = count;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return lab_fail(err, errno, "cannot make network namespaces: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        struct netns_message message = {0};
        close(pair[0]);
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        int r = netns_unshare(&ns, &message.error);
        if (r == 0 && furnish != NULL)
            r = furnish(context, &ns, &message.error);
        message.code = -r;
        netns_read_settings(message.settings, sizeof(message.settings));
        netns_say(pair[1], &ns, &message);
        _exit(0);
    }
    int code = errno;
    close(pair[1]);
    int r = pid < 0 ? lab_fail(err, code, "cannot make network namespaces: %s", strerror(code))
                    : netns_hear(pair[0], &ns, err);
    close(pair[0]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (r == 0)
        *out = ns;
    return r;
}

void netns_close(struct netns *ns)
{
    for (unsigned i = 0; i < NETNS_MOST; i++)
        if (ns->net[i] >= 0)
            close(ns->net[i]);
    if (ns->user >= 0)
        close(ns->user);
    *ns = NETNS_NONE;
}

/* --- in a child before exec --- */

/* A user who is not root loses all that he may do in his namespace at exec, unless it is ambient.
 * What stacks in user space need: raw sockets and the devices. */
static int netns_keep_rights(void)
{
    static const unsigned kept[] = {CAP_NET_ADMIN, CAP_NET_RAW};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    for (unsigned i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        data[0].inheritable |= 1u << kept[i];
    if (syscall(SYS_capset, &header, data) < 0)
        return -errno;
    for (unsigned i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept[i], 0, 0) < 0)
            return -errno;
    return 0;
}

int netns_enter(int user, int net)
{
    if (user >= 0 && setns(user, CLONE_NEWUSER) < 0)
        return -errno;
    if (net >= 0 && setns(net, CLONE_NEWNET) < 0)
        return -errno;
    return user >= 0 ? netns_keep_rights() : 0;
}
