/*
 * See stack.h: lwIP's interface upon a wire. A received frame becomes a pbuf where it lies; a
 * pbuf to be sent lies in a block of the wire's and goes out as it is, so that a byte is copied
 * once by the stack in each direction of its way: into its segment.
 */
#include "engines/dpdk/stack_internal.h"

#include <errno.h>
#include <string.h>

#include "core/clock.h"
#include <lwip/etharp.h>
#include <lwip/ethip6.h>
#include <lwip/init.h>
#include <lwip/prot/ip4.h>
#include <lwip/prot/ip6.h>
#include <lwip/prot/tcp.h>
#include <lwip/timeouts.h>
#include <netif/ethernet.h>

#define STACK_TCP_TIMER_NS (TCP_TMR_INTERVAL * NS_PER_MS)
#define STACK_SYN_SIZE     (WIRE_HEADER + IP_HLEN + TCP_HLEN)

struct stack stack;
const char stack_library[] = LWIP_WHAT;

struct stack_pbuf {
    struct pbuf_custom custom;
};
_Static_assert(sizeof(struct stack_pbuf) <= WIRE_STACK_BYTES, "a frame has no room for its pbuf");

/* --- in --- */

void stack_frame_released(struct pbuf *p)
{
    stack.kept--;
    wire_frame_free((struct wire_frame *)((char *)p - offsetof(struct wire_frame, stack)));
}

static inline struct pbuf *frame_pbuf(struct wire_frame *frame)
{
    struct pbuf_custom *custom = (void *)frame->stack;
    struct pbuf *p = &custom->pbuf;

    custom->custom_free_function = stack_frame_released;
    p->next = NULL;
    p->payload = frame->buf.data;
    p->tot_len = p->len = (u16_t)frame->buf.size;
    p->type_internal = PBUF_REF;
    p->flags = PBUF_FLAG_IS_CUSTOM;
    p->ref = 1;
    p->if_idx = 0;
    return p;
}

/*
 * The library speaks more than anybody does here, and not all of it well: of UDP-Lite a length that
 * is too long fails an assertion, which ends the process. So it gets TCP, and what finds neighbours
 * and answers to ping; extension headers of IPv6, behind which there may be anything, are left out.
 */
static bool is_wanted(const struct pbuf *p)
{
    const uint8_t *frame = p->payload, *ip = frame + WIRE_HEADER;

    if (p->len < WIRE_HEADER)
        return false;
    switch (frame[12] << 8 | frame[13]) {
    case ETHTYPE_ARP: return true;
    case ETHTYPE_IP:
        return p->len >= WIRE_HEADER + IP_HLEN && (ip[9] == IP_PROTO_TCP || ip[9] == IP_PROTO_ICMP);
    case ETHTYPE_IPV6:
        return p->len >= WIRE_HEADER + IP6_HLEN &&
               (ip[6] == IP6_NEXTH_TCP || ip[6] == IP6_NEXTH_ICMP6);
    default: return false;
    }
}

static inline void input_pbuf(struct pbuf *p)
{
    if (__builtin_expect(reach_input(&stack.netif, p, stack.config.address.s_addr), 1))
        return;
    if (!is_wanted(p) || stack.netif.input(p, &stack.netif) != ERR_OK)
        pbuf_free(p);
    reach_input_done();
}

/* The MSS that a segment with SYN announces; 536 if it does not. */
static u16_t syn_mss(const uint8_t *tcp, size_t size)
{
    size_t header = (size_t)(tcp[12] >> 4) * 4;

    for (size_t at = TCP_HLEN; at + 1 < header && header <= size;) {
        if (tcp[at] == 0)
            break;
        if (tcp[at] == 1) {
            at++;
            continue;
        }
        if (tcp[at] == 2 && at + 4 <= header)
            return (u16_t)(tcp[at + 2] << 8 | tcp[at + 3]);
        if (tcp[at + 1] < 2)
            break;
        at += tcp[at + 1];
    }
    return 536;
}

/* Frames are larger than the library's segments: what the other end takes is read beside it. */
static void input_jumbo(struct wire_frame *frame, struct pbuf *p)
{
    const uint8_t *data = frame->buf.data, *tcp = data + WIRE_HEADER + IP_HLEN;
    bool syn = frame->buf.size >= STACK_SYN_SIZE && data[12] == 8 && data[13] == 0 &&
               data[WIRE_HEADER] == 0x45 && data[WIRE_HEADER + 9] == IP_PROTO_TCP &&
               (tcp[13] & TCP_SYN) != 0;
    u16_t remote_port = 0, local_port = 0, mss = 0;
    ip_addr_t remote;

    if (syn) {
        u32_t source;
        memcpy(&source, data + WIRE_HEADER + 12, sizeof(source));
        ip_addr_set_ip4_u32_val(remote, source);
        remote_port = (u16_t)(tcp[0] << 8 | tcp[1]);
        local_port = (u16_t)(tcp[2] << 8 | tcp[3]);
        mss = syn_mss(tcp, frame->buf.size - WIRE_HEADER - IP_HLEN);
    }
    input_pbuf(p);
    if (syn)
        stack_negotiate(&remote, remote_port, local_port, mss);
}

void stack_input(struct wire_frame *frame)
{
    struct pbuf *p = frame_pbuf(frame);

    stack.kept++;
    if (__builtin_expect(stack.mss > STACK_MSS_LIBRARY, 0)) {
        input_jumbo(frame, p);
        return;
    }
    input_pbuf(p);
}

/* --- out --- */

/* Without memory the library keeps the segment, and tries again at its next timer: it is not lost,
 * and no congestion. */
static err_t send_copied(const struct pbuf *p, const uint8_t *header)
{
    size_t start = header != NULL ? WIRE_HEADER : 0, size = start + p->tot_len;
    uint8_t *block = wire_block_new(size);

    if (block == NULL)
        block = wire_spare_new(size);
    if (block == NULL)
        return ERR_MEM; /* counted */
    if (header != NULL)
        memcpy(block, header, WIRE_HEADER);
    pbuf_copy_partial(p, block + start, p->tot_len, 0);
    wire_send(stack.config.wire, block, block, size);
    wire_block_free(block);
    return ERR_OK;
}

static inline err_t send_packet(struct pbuf *p, const uint8_t *header)
{
    uint8_t *packet = p->payload;

    if (__builtin_expect(p->next != NULL || !wire_owns(p), 0))
        return send_copied(p, header);
    memcpy(packet - WIRE_HEADER, header, WIRE_HEADER);
    wire_send(stack.config.wire, p, packet - WIRE_HEADER, WIRE_HEADER + (size_t)p->len);
    return ERR_OK;
}

/* A whole frame, from ARP and its kin. */
static err_t output_frame(struct netif *netif, struct pbuf *p)
{
    return send_copied(p, NULL);
}

/* A segment with SYN announces what a frame holds, and not what the library believes in. */
static void announce_mss(struct pbuf *p)
{
    uint8_t *packet = p->payload, *tcp = packet + IP_HLEN, *mss = tcp + TCP_HLEN;
    uint32_t sum;

    if (p->len < IP_HLEN + TCP_HLEN + 4 || packet[0] != 0x45 || packet[9] != IP_PROTO_TCP ||
        (tcp[13] & TCP_SYN) == 0 || mss[0] != 2 || mss[1] != 4)
        return;
    sum = (uint16_t) ~(tcp[16] << 8 | tcp[17]);
    sum += (uint16_t) ~(mss[2] << 8 | mss[3]);
    sum += stack.mss;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (uint16_t) ~((sum & 0xffff) + (sum >> 16));
    mss[2] = (uint8_t)(stack.mss >> 8);
    mss[3] = (uint8_t)stack.mss;
    tcp[16] = (uint8_t)(sum >> 8);
    tcp[17] = (uint8_t)sum;
}

static err_t output_direct(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    if (__builtin_expect(stack.mss > STACK_MSS_LIBRARY, 0))
        announce_mss(p);
    return send_packet(p, stack.header);
}

static err_t output_direct6(struct netif *netif, struct pbuf *p, const ip6_addr_t *to)
{
    return send_packet(p, stack.header6);
}

static err_t output_known(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    const ip4_addr_t *address;
    struct eth_addr *mac;
    uint8_t header[WIRE_HEADER];

    if (stack.mss > STACK_MSS_LIBRARY)
        announce_mss(p);
    ssize_t entry = etharp_find_addr(netif, to, &mac, &address);
    /* The library asks a neighbour again before it forgets him, if it is given what is for him. */
    if (entry < 0 || !(stack.renewed & 1u << entry)) {
        stack.renewed |= entry < 0 ? 0 : 1u << entry;
        return etharp_output(netif, p, to);
    }
    memcpy(header, mac->addr, 6);
    memcpy(header + 6, stack.header + 6, WIRE_HEADER - 6);
    return send_packet(p, header);
}

/* --- the interface --- */

static err_t interface_init(struct netif *netif)
{
    const struct stack_config *config = &stack.config;

    netif->name[0] = 'l';
    netif->name[1] = 'b';
    netif->mtu = (u16_t)config->mtu;
    netif->hwaddr_len = 6;
    wire_mac(config->wire, netif->hwaddr);
    netif->flags =
        NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP;
    netif->output = config->direct ? output_direct : output_known;
    netif->output_ip6 = config->direct ? output_direct6 : ethip6_output;
    netif->linkoutput = output_frame;
    return ERR_OK;
}

static void interface_header(uint8_t *header, uint16_t type)
{
    memset(header, 0xff, 6);
    memcpy(header + 6, stack.netif.hwaddr, 6);
    header[12] = (uint8_t)(type >> 8);
    header[13] = (uint8_t)type;
}

static void interface_ip6(const struct in6_addr *address)
{
    ip6_addr_t six;

    netif_create_ip6_linklocal_address(&stack.netif, 1);
    netif_ip6_addr_set_state(&stack.netif, 0, IP6_ADDR_PREFERRED);
    memset(&six, 0, sizeof(six));
    memcpy(six.addr, address, sizeof(six.addr));
    netif_ip6_addr_set(&stack.netif, 1, &six);
    netif_ip6_addr_set_state(&stack.netif, 1, IP6_ADDR_PREFERRED);
}

const char *stack_unfit(bool plain)
{
    return reach_unfit(plain);
}

int stack_start(const struct stack_config *config, const char **how, struct lab_error *err)
{
    static const struct in6_addr none;
    static const char *kept_how; /* once a process */
    ip4_addr_t address = {config->address.s_addr}, gateway = {config->gateway.s_addr}, mask;

    if (stack.up)
        return lab_fail(err, EBUSY,
                        "dpdk: this process has an instance already, and lwIP is one "
                        "stack a process");
    stack.config = *config;
    if (!stack.initialised) {
        kept_how = reach_open(config->plain);
        lwip_init();
        if (kept_how[0] == '\0' && !reach_check())
            kept_how = "the library does not call what stands in for its own functions";
        stack.initialised = true;
    }
    *how = kept_how;
    mask.addr = lwip_htonl(config->prefix == 0 ? 0 : UINT32_MAX << (32 - config->prefix));
    memset(&stack.netif, 0, sizeof(stack.netif));
    if (netif_add(&stack.netif, &address, &mask, &gateway, NULL, interface_init, ethernet_input) ==
        NULL)
        return lab_fail(err, EIO, "dpdk: lwIP does not take the interface");
    interface_header(stack.header, ETHTYPE_IP);
    interface_header(stack.header6, ETHTYPE_IPV6);
    stack.mss = (u16_t)(config->mtu - IP_HLEN - TCP_HLEN);
    netif_set_default(&stack.netif);
    netif_set_up(&stack.netif);
    if (memcmp(&config->address6, &none, sizeof(none)) != 0)
        interface_ip6(&config->address6);
    stack.up = true;
    return 0;
}

void stack_stop(void)
{
    if (!stack.up)
        return;
    reach_join();
    netif_remove(&stack.netif);
    reach_split();
    stack.up = false;
}

void stack_ask(struct in_addr address)
{
    ip4_addr_t who = {address.s_addr};

    etharp_request(&stack.netif, &who);
}

bool stack_is_answer(const struct wire_frame *frame)
{
    const uint8_t *data = frame->buf.data;

    return frame->buf.size >= WIRE_HEADER + SIZEOF_ETHARP_HDR && data[12] == 0x08 &&
           data[13] == 0x06 && data[21] == ARP_REPLY;
}

void stack_tick(uint64_t now_ns)
{
    if (reach_is_on() && now_ns >= stack.tcp_timer_ns) {
        stack.tcp_timer_ns = now_ns + STACK_TCP_TIMER_NS;
        reach_join();
        tcp_tmr();
        reach_split();
    }
    if (now_ns >= stack.renew_ns) {
        stack.renew_ns = now_ns + NS_PER_S;
        stack.renewed = 0;
    }
    if (sys_timeouts_sleeptime() == 0)
        sys_check_timeouts();
}

uint32_t stack_frames_kept(void)
{
    return stack.kept;
}

void stack_counts(struct stack_counts *counts)
{
    *counts = (struct stack_counts){
        .time_waits_given_up = reach_counts.time_waits_given_up,
        .retransmissions = reach_counts.retransmissions,
        .allocations_failed = reach_counts.allocations_failed,
    };
}
