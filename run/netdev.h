/*
 * Interfaces of the network namespace that the calling thread is in: rtnetlink(7) and ethtool's
 * ioctl, as far as a link of a run needs them. All: 0, or -errno with a sentence.
 */
#ifndef LAB_RUN_NETDEV_H
#define LAB_RUN_NETDEV_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

struct netdev_end {
    const char *name;
    int index; /* of the interface; 0: the kernel's choice */
    const uint8_t *mac;
    uint32_t mtu;
};

/* A pair: `near` here, `far` in that namespace. */
int netdev_add_veth(const struct netdev_end *near, const struct netdev_end *far, int far_net,
                    struct lab_error *err);
/* A tap device that stays when nobody has it open; it goes with the namespace. */
int netdev_add_tap(const struct netdev_end *end, struct lab_error *err);
int netdev_address(const char *name, struct in_addr address, unsigned prefix,
                   struct lab_error *err);
int netdev_up(const char *name, struct lab_error *err);
/* Checksums, segmentation and coalescing: all in the stack, so that what crosses the wire are
 * packets as the MTU says. */
int netdev_offloads_off(const char *name, struct lab_error *err);
/* No IPv6 on what is made later: no packets that nobody asked for. Of no matter if it fails. */
void netdev_quiet(void);

#endif
