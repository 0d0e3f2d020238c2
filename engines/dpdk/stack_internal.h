/* Private to the stack's room: what stack.c and stack_tcp.c share. */
#ifndef LAB_ENGINES_DPDK_STACK_INTERNAL_H
#define LAB_ENGINES_DPDK_STACK_INTERNAL_H

#include <lwip/ip_addr.h>
#include <lwip/netif.h>
#include <lwip/pbuf.h>
#include <lwip/tcp.h>

#include "engines/dpdk/reach.h"
#include "engines/dpdk/stack.h"

/* The library's segments are at most this; larger ones are agreed upon behind its back. */
#define STACK_MSS_LIBRARY 1460u

struct stack {
    struct stack_config config;
    struct netif netif;
    uint64_t tcp_timer_ns, renew_ns;
    uint32_t renewed;            /* neighbours that the library was asked for lately: a bit each */
    uint8_t header[WIRE_HEADER]; /* to the one at the other end of a direct wire */
    uint8_t header6[WIRE_HEADER];
    u16_t mss;     /* of a full frame */
    uint32_t kept; /* received frames that are in the library */
    bool initialised, up;
};

extern struct stack stack;
_Static_assert(ARP_TABLE_SIZE <= 32, "a bit for each neighbour");

void stack_frame_released(struct pbuf *p);

/* The received frame whose pbuf it is, or NULL if it is none of ours. */
static inline struct wire_frame *stack_frame_of(struct pbuf *p)
{
    if ((p->flags & PBUF_FLAG_IS_CUSTOM) == 0 ||
        ((struct pbuf_custom *)p)->custom_free_function != stack_frame_released || p->ref != 1)
        return NULL;
    return (struct wire_frame *)((char *)p - offsetof(struct wire_frame, stack));
}

/* stack_tcp.c: after a segment with SYN has come in: larger segments, if both ends agree. */
void stack_negotiate(const ip_addr_t *remote, u16_t remote_port, u16_t local_port, u16_t mss);

#endif
