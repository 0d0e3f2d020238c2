/*
 * What makes the packaged lwIP quick without touching it. The library is built to be taken over: it
 * calls its own exported functions through the procedure linkage table, so what this program
 * defines by the same names takes their place, and its lists are variables that can be reached.
 */
#include "bare_dpdk_lwip.h"

#include "bare_dpdk.h"

#include <lwip/inet_chksum.h>
#include <lwip/ip4.h>
#include <lwip/priv/memp_priv.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/sys.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ETHERNET 14u
#define TICK_NS  (TCP_TMR_INTERVAL * 1000000ull)

/*
 * The library's windows are 65535 bytes, which at jumbo size are seven segments: too few for the
 * two sides to work at once (0.7). Twice that is what its scale can announce.
 */
#define WINDOW 131070u

static struct netif link_netif;

/* ---- one thread: there is nothing to lock ---- */

sys_prot_t sys_arch_protect(void)
{
    return 0;
}

void sys_arch_unprotect(sys_prot_t level)
{
    (void)level;
}

void sys_check_core_locking(void)
{
}

#if NO_SYS
/* Compiled in, the library asks for the time of its timers; run_timers() is all that is called. */
u32_t sys_now(void)
{
    return 0;
}
#endif

/* ---- checksums ---- */

/*
 * 32 bits at a time into 64, which compilers turn into vectors. The sum is folded to 16 bits in
 * memory order, and does not depend on how the data lies.
 */
__attribute__((target_clones("avx2", "default"))) static uint64_t sum_words(const char *data,
                                                                            size_t words)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < words; i++) {
        uint32_t word;
        memcpy(&word, data + 4 * i, 4);
        sum += word;
    }
    return sum;
}

static inline u16_t fold(uint64_t sum)
{
    sum = (sum >> 32) + (sum & 0xffffffff);
    sum = (sum >> 32) + (sum & 0xffffffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    return (u16_t)sum;
}

static inline uint64_t sum_bytes(const char *data, size_t n)
{
    uint64_t sum = 0;
    uint32_t word = 0;

    if (n < 128) {
        for (; n >= 4; n -= 4, data += 4) {
            memcpy(&word, data, 4);
            sum += word;
        }
    } else {
        sum = sum_words(data, n / 4);
        data += n & ~(size_t)3;
        n &= 3;
    }
    word = 0;
    memcpy(&word, data, n);
    return sum + word;
}

u16_t lwip_standard_chksum(const void *dataptr, int len);
u16_t lwip_standard_chksum(const void *dataptr, int len)
{
    return fold(sum_bytes(dataptr, (size_t)len));
}

u16_t lwip_chksum_copy(void *dst, const void *src, u16_t len)
{
    memcpy(dst, src, len);
    return fold(sum_bytes(dst, len));
}

/* ---- memory: lists in the place of malloc(), and frames for what is to be sent ---- */

static struct unused {
    struct unused *next;
} * unused[MEMP_MAX];

void *memp_malloc(memp_t type)
{
    struct unused *first = unused[type];

    if (likely(first != NULL)) {
        unused[type] = first->next;
        return first;
    }
    return malloc(memp_pools[type]->size);
}

void memp_free(memp_t type, void *memory)
{
    struct unused *first = memory;

    if (!first)
        return;
    first->next = unused[type];
    unused[type] = first;
}

static void free_frame(struct pbuf *p)
{
    frame_free(p);
}

static inline struct pbuf *make_pbuf(void *frame, void *payload, unsigned length, unsigned type)
{
    struct pbuf_custom *c = frame;

    c->custom_free_function = free_frame;
    c->pbuf = (struct pbuf){
        .payload = payload,
        .tot_len = (u16_t)length,
        .len = (u16_t)length,
        .type_internal = (u8_t)type,
        .flags = PBUF_FLAG_IS_CUSTOM,
        .ref = 1,
    };
    return &c->pbuf;
}

static inline bool is_frame(const struct pbuf *p)
{
    return (p->flags & PBUF_FLAG_IS_CUSTOM) &&
           ((const struct pbuf_custom *)p)->custom_free_function == free_frame;
}

/*
 * Only what is to be sent asks for PBUF_RAM here; the rest of the library's callers (fragments, and
 * protocols that nobody speaks on this link) get what they would have got, from malloc().
 */
struct pbuf *pbuf_alloc(pbuf_layer layer, u16_t length, pbuf_type type)
{
    struct pbuf *p;
    char *payload;

    if (likely(type == PBUF_RAM && layer <= PBUF_TRANSPORT && length <= frame_room())) {
        void *frame = frame_new(&payload);
        return frame ? make_pbuf(frame, payload, length, PBUF_RAM) : NULL;
    }
    if (type == PBUF_REF || type == PBUF_ROM)
        return pbuf_alloc_reference(NULL, length, type);
    p = malloc(sizeof(*p) + layer + length);
    if (p)
        *p = (struct pbuf){
            .payload = (char *)(p + 1) + layer,
            .tot_len = length,
            .len = length,
            .type_internal = (u8_t)PBUF_RAM, /* so that mem_free() takes it back */
            .ref = 1,
        };
    return p;
}

/* ---- out ---- */

static const char ethernet[ETHERNET] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0};

/* Two ends that know each other: nobody is asked for an address. */
static err_t output(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    void *frame = p;
    char *data = (char *)p->payload - ETHERNET;
    u16_t length = p->tot_len;

    (void)netif, (void)to;
    if (unlikely(!is_frame(p) || p->next)) {
        frame = frame_new(&data);
        if (!frame || length > frame_room())
            return ERR_MEM;
        data -= FRAME_HEADERS;
        pbuf_copy_partial(p, data + ETHERNET, length, 0);
    }
    memcpy(data, ethernet, ETHERNET);
    link_queue(frame, data, ETHERNET + length);
    if (frame != p)
        frame_free(frame);
    return ERR_OK;
}

/* ---- in ---- */

/*
 * The library walks a list of all connections for each packet. Here the list is cut into buckets by
 * ports, and it sees one: that of the packet which it is given, or of the connection that is
 * opened or aborted. All are one list again for as long as its timers run.
 */
#define BUCKETS 16384u

static struct bucket {
    struct tcp_pcb *active, *waiting;
} buckets[BUCKETS];

static inline struct bucket *bucket_of(u16_t own_port, u16_t port)
{
    return &buckets[(own_port ^ port) % BUCKETS];
}

static inline void enter(const struct bucket *b)
{
    tcp_active_pcbs = b->active;
    tcp_tw_pcbs = b->waiting;
}

static inline void leave(struct bucket *b)
{
    b->active = tcp_active_pcbs;
    b->waiting = tcp_tw_pcbs;
}

static void join(struct tcp_pcb **all, struct tcp_pcb *list)
{
    struct tcp_pcb *last = list;

    if (!list)
        return;
    while (last->next)
        last = last->next;
    last->next = *all;
    *all = list;
}

static void run_timers(void)
{
    struct tcp_pcb *pcb, *next;

    tcp_active_pcbs = tcp_tw_pcbs = NULL;
    for (struct bucket *b = buckets; b < buckets + BUCKETS; b++) {
        join(&tcp_active_pcbs, b->active);
        join(&tcp_tw_pcbs, b->waiting);
        b->active = b->waiting = NULL;
    }
    tcp_tmr();
    for (pcb = tcp_active_pcbs; pcb; pcb = next) {
        struct bucket *b = bucket_of(pcb->local_port, pcb->remote_port);
        next = pcb->next;
        pcb->next = b->active;
        b->active = pcb;
    }
    for (pcb = tcp_tw_pcbs; pcb; pcb = next) {
        struct bucket *b = bucket_of(pcb->local_port, pcb->remote_port);
        next = pcb->next;
        pcb->next = b->waiting;
        b->waiting = pcb;
    }
    tcp_active_pcbs = tcp_tw_pcbs = NULL;
}

/* IPv4 without options or fragments, whole, for here, right: straight into TCP. */
static inline bool is_plain(const struct ip_hdr *ip, unsigned length)
{
    return IPH_V(ip) == 4 && IPH_HL_BYTES(ip) == IP_HLEN && IPH_PROTO(ip) == IP_PROTO_TCP &&
           !(IPH_OFFSET(ip) & PP_HTONS(IP_OFFMASK | IP_MF)) && lwip_ntohs(IPH_LEN(ip)) == length &&
           length >= IP_HLEN + TCP_HLEN && ip->dest.addr == netif_ip4_addr(&link_netif)->addr &&
           !inet_chksum(ip, IP_HLEN);
}

static inline void input(const struct packet *packet)
{
    struct pbuf *p =
        make_pbuf(packet->frame, packet->data + ETHERNET, packet->length - ETHERNET, PBUF_REF);
    struct ip_hdr *ip = p->payload;
    const struct tcp_hdr *tcp = (const struct tcp_hdr *)(ip + 1);
    struct bucket *b;

    if (unlikely(packet->length < ETHERNET + IP_HLEN + TCP_HLEN)) {
        pbuf_free(p);
        return;
    }
    b = bucket_of(lwip_ntohs(tcp->dest), lwip_ntohs(tcp->src));
    enter(b);
    if (likely(is_plain(ip, p->tot_len))) {
        ip_data.current_netif = ip_data.current_input_netif = &link_netif;
        ip_data.current_ip4_header = ip;
        ip_data.current_ip_header_tot_len = IP_HLEN;
        ip_addr_copy_from_ip4(ip_data.current_iphdr_src, ip->src);
        ip_addr_copy_from_ip4(ip_data.current_iphdr_dest, ip->dest);
        p->payload = ip + 1;
        p->len = p->tot_len = (u16_t)(p->tot_len - IP_HLEN);
        tcp_input(p, &link_netif);
    } else {
        ip4_input(p, &link_netif);
    }
    leave(b);
}

unsigned stack_poll(void)
{
    struct packet packets[FRAME_BURST];
    unsigned count = link_receive(packets);

    for (unsigned i = 0; i < count; i++)
        input(&packets[i]);
    link_flush();
    return count;
}

/* ---- the rest ---- */

static err_t start_netif(struct netif *netif)
{
    netif->output = output;
    netif->flags |= NETIF_FLAG_UP | NETIF_FLAG_LINK_UP;
    return ERR_OK;
}

void stack_open(uint32_t own, uint32_t other, unsigned mtu)
{
    ip4_addr_t address = {lwip_htonl(own)}, mask = {lwip_htonl(0xffffff00)},
               gateway = {lwip_htonl(other)};

    lwip_init();
    if (!netif_add(&link_netif, &address, &mask, &gateway, NULL, start_netif, ip4_input)) {
        fputs("lwIP does not take the link\n", stderr);
        exit(1);
    }
    link_netif.mtu = (u16_t)mtu;
    netif_set_default(&link_netif);
}

void stack_tick(uint64_t now_ns)
{
    static uint64_t due;

    if (now_ns < due)
        return;
    due = now_ns + TICK_NS;
    run_timers();
}

void stack_listen(uint16_t port, tcp_accept_fn accepted)
{
    struct tcp_pcb *pcb = tcp_new();

    if (!pcb || tcp_bind(pcb, IP4_ADDR_ANY, port) || !(pcb = tcp_listen(pcb))) {
        fprintf(stderr, "cannot listen on port %u\n", port);
        exit(1);
    }
    tcp_accept(pcb, accepted);
}

/* The port is given and not looked for: the library would walk all lists, and knows 16,384. */
struct tcp_pcb *stack_connect(uint16_t own_port, uint16_t port, tcp_connected_fn connected,
                              tcp_err_fn lost, void *arg)
{
    struct tcp_pcb *pcb = tcp_new();
    struct bucket *b = bucket_of(own_port, port);
    err_t error = ERR_MEM;

    if (pcb) {
        tcp_arg(pcb, arg);
        tcp_err(pcb, lost);
        pcb->local_port = own_port;
        enter(b);
        error = tcp_connect(pcb, netif_ip_gw4(&link_netif), port, connected);
        leave(b);
    }
    if (error) {
        fprintf(stderr, "cannot connect: lwIP says %d\n", error);
        exit(1);
    }
    return pcb;
}

void stack_ready(struct tcp_pcb *pcb)
{
    tcp_nagle_disable(pcb);
    pcb->mss = (u16_t)(link_netif.mtu - 40);
    pcb->cwnd = pcb->ssthresh = 2 * WINDOW; /* no network, no congestion */
    pcb->snd_buf += WINDOW - TCP_SND_BUF;
    pcb->rcv_wnd = WINDOW;
}

void stack_taken(struct tcp_pcb *pcb, uint32_t n)
{
    pcb->rcv_wnd += n;
    if (tcp_update_rcv_ann_wnd(pcb) >= WINDOW / 4)
        stack_acknowledge(pcb);
}

void stack_keep_quiet(struct tcp_pcb *pcb)
{
    tcp_clear_flags(pcb, TF_ACK_DELAY | TF_ACK_NOW);
}

void stack_acknowledge(struct tcp_pcb *pcb)
{
    tcp_ack_now(pcb);
    tcp_output(pcb);
}

void stack_abort(struct tcp_pcb *pcb)
{
    struct bucket *b = bucket_of(pcb->local_port, pcb->remote_port);

    enter(b);
    tcp_abort(pcb);
    leave(b);
}
