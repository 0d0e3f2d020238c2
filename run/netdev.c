/* See netdev.h. */
#include "run/netdev.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- rtnetlink: one request, one answer --- */

struct netdev_request {
    struct nlmsghdr header;
    char rest[1024];
};

static void *request_room(struct netdev_request *request, size_t size)
{
    void *room = (char *)request + NLMSG_ALIGN(request->header.nlmsg_len);
    request->header.nlmsg_len =
        NLMSG_ALIGN(request->header.nlmsg_len) + (uint32_t)NLMSG_ALIGN(size);
    return room;
}

static void request_begin(struct netdev_request *request, uint16_t type, uint16_t flags)
{
    memset(request, 0, sizeof(*request));
    request->header.nlmsg_len = NLMSG_HDRLEN;
    request->header.nlmsg_type = type;
    request->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
}

static struct rtattr *request_add(struct netdev_request *request, uint16_t type, const void *data,
                                  size_t size)
{
    struct rtattr *attribute = request_room(request, RTA_LENGTH(size));
    attribute->rta_type = type;
    attribute->rta_len = (uint16_t)RTA_LENGTH(size);
    if (size > 0)
        memcpy(RTA_DATA(attribute), data, size);
    return attribute;
}

/* An attribute that holds those which are added until it is closed. */
static struct rtattr *request_open(struct netdev_request *request, uint16_t type)
{
    return request_add(request, type, NULL, 0);
}

static void request_close(struct netdev_request *request, struct rtattr *attribute)
{
    attribute->rta_len =
        (uint16_t)((char *)request + request->header.nlmsg_len - (char *)attribute);
}

static int request_send(struct netdev_request *request)
{
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[1024];
    } answer;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (fd < 0)
        return -errno;
    int r = send(fd, request, request->header.nlmsg_len, 0) < 0 ? -errno : 0;
    if (r == 0 && recv(fd, &answer, sizeof(answer), 0) < 0)
        r = -errno;
    else if (r == 0)
        r = answer.header.nlmsg_type == NLMSG_ERROR ? answer.error.error : -EPROTO;
    close(fd);
    return r;
}

static void request_end(struct netdev_request *request, const struct netdev_end *end)
{
    request_add(request, IFLA_IFNAME, end->name, strlen(end->name) + 1);
    request_add(request, IFLA_ADDRESS, end->mac, 6);
    request_add(request, IFLA_MTU, &end->mtu, sizeof(end->mtu));
}

int netdev_add_veth(const struct netdev_end *near, const struct netdev_end *far, int far_net,
                    struct lab_error *err)
{
    struct netdev_request request;

    request_begin(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    struct ifinfomsg *message = request_room(&request, sizeof(*message));
    message->ifi_index = near->index;
    request_end(&request, near);
    struct rtattr *info = request_open(&request, IFLA_LINKINFO);
    request_add(&request, IFLA_INFO_KIND, "veth", sizeof("veth"));
    struct rtattr *data = request_open(&request, IFLA_INFO_DATA);
    struct rtattr *peer = request_open(&request, VETH_INFO_PEER);
    message = request_room(&request, sizeof(*message));
    message->ifi_index = far->index;
    request_end(&request, far);
    request_add(&request, IFLA_NET_NS_FD, &far_net, sizeof(far_net));
    request_close(&request, peer);
    request_close(&request, data);
    request_close(&request, info);
    int r = request_send(&request);
    if (r == -EOPNOTSUPP)
        return lab_fail(err, EOPNOTSUPP, "this kernel has no veth: modprobe veth");
    return r < 0 ? lab_fail(err, -r, "cannot make a veth pair: %s", strerror(-r)) : 0;
}

int netdev_up(const char *name, struct lab_error *err)
{
    struct netdev_request request;

    request_begin(&request, RTM_NEWLINK, 0);
    struct ifinfomsg *info = request_room(&request, sizeof(*info));
    info->ifi_flags = info->ifi_change = IFF_UP;
    request_add(&request, IFLA_IFNAME, name, strlen(name) + 1);
    int r = request_send(&request);
    return r < 0 ? lab_fail(err, -r, "cannot bring up %s: %s", name, strerror(-r)) : 0;
}

int netdev_address(const char *name, struct in_addr address, unsigned prefix, struct lab_error *err)
{
    struct netdev_request request;

    request_begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
    struct ifaddrmsg *message = request_room(&request, sizeof(*message));
    message->ifa_family = AF_INET;
    message->ifa_prefixlen = (uint8_t)prefix;
    message->ifa_index = if_nametoindex(name);
    request_add(&request, IFA_LOCAL, &address, sizeof(address));
    request_add(&request, IFA_ADDRESS, &address, sizeof(address));
    int r = request_send(&request);
    return r < 0 ? lab_fail(err, -r, "cannot give %s its address: %s", name, strerror(-r)) : 0;
}

/* --- ioctl --- */

static int netdev_ioctl(unsigned long call, struct ifreq *request)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = ioctl(fd, call, request) < 0 ? -errno : 0;
    close(fd);
    return r;
}

int netdev_offloads_off(const char *name, struct lab_error *err)
{
    /* Receive checksumming is part of it: a veth believes the other end's. */
    static const uint32_t commands[] = {ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO, ETHTOOL_STXCSUM,
                                        ETHTOOL_SRXCSUM};

    for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        struct ethtool_value value = {.cmd = commands[i]};
        struct ifreq request = {.ifr_data = (char *)&value};
        snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
        int r = netdev_ioctl(SIOCETHTOOL, &request);
        /* A driver that has no such switch has nothing to switch off. */
        if (r < 0 && r != -EOPNOTSUPP)
            return lab_fail(err, -r, "cannot switch off the offloads of %s: %s", name,
                            strerror(-r));
    }
    return 0;
}

int netdev_add_tap(const struct netdev_end *end, struct lab_error *err)
{
    /* Several queues, as DPDK's tap driver asks for: the flags of all who open it must agree. */
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), r = 0;

    if (fd < 0)
        return lab_fail(err, errno, "cannot open /dev/net/tun: %s%s", strerror(errno),
                        errno == ENOENT || errno == ENODEV ? " (modprobe tun)" : "");
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", end->name);
    if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETPERSIST, 1) < 0)
        r = -errno;
    close(fd);
    if (r < 0)
        return lab_fail(err, -r, "cannot make the tap device %s: %s", end->name, strerror(-r));
    struct netdev_request message;
    request_begin(&message, RTM_NEWLINK, 0);
    request_room(&message, sizeof(struct ifinfomsg));
    request_end(&message, end);
    r = request_send(&message);
    return r < 0 ? lab_fail(err, -r, "cannot set MAC and MTU of %s: %s", end->name, strerror(-r))
                 : 0;
}

void netdev_quiet(void)
{
    static const char path[] = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (write(fd, "1", 1) < 0)
        errno = 0; /* it may be read-only, as in containers */
    close(fd);
}
