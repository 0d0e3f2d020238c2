/*
 * See reach.h. Of the functions at the end lwIP calls these and not its own, as the executable's
 * definition of a name goes before a shared object's; where lwIP is compiled in, its own have
 * another name (lwip/rename.py). What they cost and bring is in docs/dpdk.md.
 */
#include "engines/dpdk/reach.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/line.h"
#include "engines/dpdk/guard.h"
#include <lwip/inet_chksum.h>
#include <lwip/init.h>
#include <lwip/ip.h>
#include <lwip/memp.h>
#include <lwip/prot/ethernet.h>
#include <lwip/prot/ip4.h>
#include <lwip/prot/ip6.h>
#include <lwip/prot/tcp.h>

#define REACH_BUCKETS    4096u /* a power of two */
#define REACH_TIME_WAITS 4096u /* the most that are kept; a power of two */
#define REACH_PORT_FIRST 1024u
#define REACH_PORTS      (65536u - REACH_PORT_FIRST)
#define REACH_CHUNK      64u  /* elements that are allocated at once */
#define REACH_NO_HOST    224u /* the first octet of groups, and what is above */
/*
 * Up to so many bytes are summed first and copied then. What they are copied to are lines that the
 * other end has read, and that have to be asked for: of stores that follow each other closely more
 * are under way at once. Larger ones, for which memcpy has another way, lose by it.
 */
#define REACH_APART 2048u

struct reach_bucket {
    struct tcp_pcb *active, *time_wait;
};

/* A connection that was seen to enter TIME_WAIT: it may have gone, and its memory be another's. */
struct reach_waiting {
    struct tcp_pcb *pcb;
    u16_t local_port, remote_port;
};

struct reach_free {
    struct reach_free *next;
};

struct reach {
    bool on, joined;
    struct reach_bucket *bucket; /* whose lists the library has at present */
    struct tcp_pcb *time_wait_before;
    u16_t port;
    uint32_t waiting_head, waiting_tail;
    struct reach_free *free[MEMP_MAX];
    bool memp_seen, mem_seen, timer_seen;
    struct reach_bucket buckets[REACH_BUCKETS];
    struct reach_waiting waiting[REACH_TIME_WAITS];
};

static struct reach reach = {.joined = true};
struct reach_counts reach_counts;

/* The library's own, for its own way. */
struct reach_own {
    void *(*memp_malloc)(memp_t type);
    void (*memp_free)(memp_t type, void *memory);
    sys_prot_t (*protect)(void);
    void (*unprotect)(sys_prot_t value);
    void (*timer_needed)(void);
    u16_t (*sum)(const void *data, int size);
    u16_t (*sum_copy)(void *to, const void *from, u16_t size);
    err_t (*rexmit)(struct tcp_pcb *pcb);
    void (*rexmit_all)(struct tcp_pcb *pcb);
    err_t (*split)(struct tcp_pcb *pcb, u16_t split);
};

#ifdef LWIP_BUILT_IN
void *lwip_own_memp_malloc(memp_t type);
void lwip_own_memp_free(memp_t type, void *memory);
void lwip_own_tcp_timer_needed(void);
u16_t lwip_own_lwip_standard_chksum(const void *data, int size);
u16_t lwip_own_lwip_chksum_copy(void *to, const void *from, u16_t size);
err_t lwip_own_tcp_rexmit(struct tcp_pcb *pcb);
void lwip_own_tcp_rexmit_rto_commit(struct tcp_pcb *pcb);
err_t lwip_own_tcp_split_unsent_seg(struct tcp_pcb *pcb, u16_t split);

static const struct reach_own own = {
    .memp_malloc = lwip_own_memp_malloc,
    .memp_free = lwip_own_memp_free,
    .timer_needed = lwip_own_tcp_timer_needed,
    .sum = lwip_own_lwip_standard_chksum,
    .sum_copy = lwip_own_lwip_chksum_copy,
    .rexmit = lwip_own_tcp_rexmit,
    .rexmit_all = lwip_own_tcp_rexmit_rto_commit,
    .split = lwip_own_tcp_split_unsent_seg,
};
#else
static struct reach_own own;
#endif

bool reach_is_on(void)
{
    return reach.on;
}

/* --- buckets --- */

static inline u32_t address_bits(const ip_addr_t *address)
{
    if (IP_IS_V6(address)) {
        const ip6_addr_t *six = ip_2_ip6(address);
        return six->addr[0] ^ six->addr[1] ^ six->addr[2] ^ six->addr[3];
    }
    return ip_2_ip4(address)->addr;
}

/* Ports that follow each other, as those of one client do, lie in buckets that follow. */
static inline struct reach_bucket *bucket_of(u32_t remote, u16_t remote_port, u16_t local_port)
{
    u32_t hash = remote * 0x9e3779b1u;

    hash = (hash >> 16) + remote_port + local_port * 257u;
    return &reach.buckets[hash & (REACH_BUCKETS - 1)];
}

static inline struct reach_bucket *bucket_of_pcb(const struct tcp_pcb *pcb)
{
    return bucket_of(address_bits(&pcb->remote_ip), pcb->remote_port, pcb->local_port);
}

static inline void bucket_load(struct reach_bucket *bucket)
{
    reach.bucket = bucket;
    tcp_active_pcbs = bucket->active;
    tcp_tw_pcbs = reach.time_wait_before = bucket->time_wait;
}

static void give_up(const struct reach_waiting *waiting)
{
    struct tcp_pcb *pcb = waiting->pcb;
    struct reach_bucket *bucket;

    if (pcb->state != TIME_WAIT || pcb->local_port != waiting->local_port ||
        pcb->remote_port != waiting->remote_port)
        return;
    bucket = bucket_of_pcb(pcb);
    for (struct tcp_pcb *at = bucket->time_wait; at != NULL; at = at->next) {
        if (at != pcb)
            continue;
        tcp_tw_pcbs = bucket->time_wait;
        tcp_abort(pcb);
        bucket->time_wait = tcp_tw_pcbs;
        reach_counts.time_waits_given_up++;
        return;
    }
}

static void keep_waiting(struct tcp_pcb *pcb)
{
    if (reach.waiting_tail - reach.waiting_head == REACH_TIME_WAITS)
        give_up(&reach.waiting[reach.waiting_head++ % REACH_TIME_WAITS]);
    reach.waiting[reach.waiting_tail++ % REACH_TIME_WAITS] =
        (struct reach_waiting){pcb, pcb->local_port, pcb->remote_port};
}

/* Whether the first one of the list came to it since it was looked at. */
static inline bool is_newly_waiting(const struct tcp_pcb *first)
{
    return first != NULL && first != reach.time_wait_before &&
           first->next == reach.time_wait_before;
}

static inline void bucket_store(void)
{
    struct reach_bucket *bucket = reach.bucket;
    struct tcp_pcb *time_wait = tcp_tw_pcbs;

    bucket->active = tcp_active_pcbs;
    bucket->time_wait = time_wait;
    reach.bucket = NULL;
    if (__builtin_expect(time_wait != reach.time_wait_before, 0) && is_newly_waiting(time_wait))
        keep_waiting(time_wait);
}

void reach_enter(const struct tcp_pcb *pcb)
{
    if (!reach.joined)
        bucket_load(bucket_of_pcb(pcb));
}

void reach_leave(void)
{
    if (!reach.joined)
        bucket_store();
}

static void list_append(struct tcp_pcb ***end, struct tcp_pcb **list)
{
    **end = *list;
    while (**end != NULL)
        *end = &(**end)->next;
    *list = NULL;
}

void reach_join(void)
{
    struct tcp_pcb **active = &tcp_active_pcbs, **time_wait = &tcp_tw_pcbs;

    if (reach.joined)
        return;
    reach.joined = true;
    tcp_active_pcbs = tcp_tw_pcbs = NULL;
    for (unsigned i = 0; i < REACH_BUCKETS; i++) {
        struct reach_bucket *bucket = &reach.buckets[i];
        if (bucket->active != NULL)
            list_append(&active, &bucket->active);
        if (bucket->time_wait != NULL)
            list_append(&time_wait, &bucket->time_wait);
    }
}

void reach_split(void)
{
    struct tcp_pcb *next;

    if (!reach.on)
        return;
    reach.joined = false;
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = next) {
        struct reach_bucket *bucket = bucket_of_pcb(pcb);
        next = pcb->next;
        pcb->next = bucket->active;
        bucket->active = pcb;
    }
    for (struct tcp_pcb *pcb = tcp_tw_pcbs; pcb != NULL; pcb = next) {
        struct reach_bucket *bucket = bucket_of_pcb(pcb);
        next = pcb->next;
        pcb->next = bucket->time_wait;
        bucket->time_wait = pcb;
    }
    tcp_active_pcbs = tcp_tw_pcbs = NULL;
}

static struct tcp_pcb *list_find(struct tcp_pcb *list, const ip_addr_t *remote, u16_t remote_port,
                                 u16_t local_port)
{
    for (; list != NULL; list = list->next)
        if (list->remote_port == remote_port && list->local_port == local_port &&
            ip_addr_cmp(&list->remote_ip, remote))
            return list;
    return NULL;
}

struct tcp_pcb *reach_find(const ip_addr_t *remote, u16_t remote_port, u16_t local_port)
{
    struct tcp_pcb *list = tcp_active_pcbs;

    if (!reach.joined)
        list = bucket_of(address_bits(remote), remote_port, local_port)->active;
    return list_find(list, remote, remote_port, local_port);
}

u16_t reach_port(const ip_addr_t *local, const ip_addr_t *remote, u16_t remote_port)
{
    if (reach.joined)
        return 0;
    for (unsigned tries = 0; tries < REACH_PORTS; tries++) {
        u16_t port = (u16_t)(REACH_PORT_FIRST + reach.port);
        reach.port = (u16_t)((reach.port + 1) % REACH_PORTS);
        struct reach_bucket *bucket = bucket_of(address_bits(remote), remote_port, port);
        if (list_find(bucket->active, remote, remote_port, port) != NULL)
            continue;
        struct tcp_pcb *old = list_find(bucket->time_wait, remote, remote_port, port);
        if (old != NULL)
            give_up(&(struct reach_waiting){old, port, remote_port});
        return port;
    }
    return 0;
}

/* --- input --- */

/* What the library can tell from the first bytes is nothing for TCP: it looks at no connection. */
static bool is_for_others(const struct pbuf *p, uint16_t type)
{
    const uint8_t *ip = (const uint8_t *)p->payload + WIRE_HEADER;

    if (type == ETHTYPE_IP)
        return p->len < WIRE_HEADER + IP_HLEN || ip[9] != IP_PROTO_TCP;
    if (type == ETHTYPE_IPV6)
        return p->len < WIRE_HEADER + IP6_HLEN || ip[6] == IP6_NEXTH_UDP ||
               ip[6] == IP6_NEXTH_ICMP6;
    return true;
}

/* What is no plain segment of IPv4: of IPv6, still one bucket; for the rest of what may be TCP's
 * the library may look at any connection. */
static bool input_other(const struct pbuf *p)
{
    const uint8_t *frame = p->payload, *ip = frame + WIRE_HEADER;
    uint16_t type = p->len < WIRE_HEADER ? 0 : (uint16_t)(frame[12] << 8 | frame[13]);
    u32_t from[4];

    if (reach.joined || is_for_others(p, type))
        return false;
    if (type != ETHTYPE_IPV6 || p->len < WIRE_HEADER + IP6_HLEN + TCP_HLEN ||
        ip[6] != IP6_NEXTH_TCP) {
        reach_join();
        reach.time_wait_before = tcp_tw_pcbs;
        return false;
    }
    memcpy(from, ip + 8, sizeof(from));
    ip += IP6_HLEN;
    bucket_load(bucket_of(from[0] ^ from[1] ^ from[2] ^ from[3], (u16_t)(ip[0] << 8 | ip[1]),
                          (u16_t)(ip[2] << 8 | ip[3])));
    return false;
}

void reach_input_done(void)
{
    struct tcp_pcb *newest = tcp_tw_pcbs;

    if (reach.bucket != NULL) {
        bucket_store();
    } else if (reach.on && reach.joined) {
        bool waits = is_newly_waiting(newest);
        reach_split();
        if (waits)
            keep_waiting(newest);
    }
}

bool reach_input(struct netif *netif, struct pbuf *p, u32_t own_address)
{
    const uint8_t *frame = p->payload;
    const struct ip_hdr *ip = (const void *)(frame + WIRE_HEADER);
    const uint16_t *words = (const void *)(frame + WIRE_HEADER);
    const struct tcp_hdr *tcp = (const void *)(frame + WIRE_HEADER + IP_HLEN);
    uint32_t sum = 0;

    if (reach.joined || p->len < WIRE_HEADER + IP_HLEN + TCP_HLEN ||
        words[-1] != PP_HTONS(ETHTYPE_IP) || frame[WIRE_HEADER] != 0x45 ||
        IPH_PROTO(ip) != IP_PROTO_TCP || ip->dest.addr != own_address ||
        frame[WIRE_HEADER + 12] >= REACH_NO_HOST ||
        ip->src.addr == (own_address | ~netif_ip4_netmask(netif)->addr) ||
        (IPH_OFFSET(ip) & PP_HTONS(IP_OFFMASK | IP_MF)) != 0)
        return input_other(p);
    u16_t size = lwip_ntohs(IPH_LEN(ip));
    for (unsigned i = 0; i < IP_HLEN / 2; i++)
        sum += words[i];
    sum = (sum & 0xffff) + (sum >> 16);
    if (sum != 0xffff || size < IP_HLEN + TCP_HLEN || size > p->len - WIRE_HEADER)
        return input_other(p); /* the library knows what is wrong with it */
    p->payload = (void *)(uintptr_t)tcp;
    p->len = p->tot_len = (u16_t)(size - IP_HLEN);
    ip_data.current_netif = ip_data.current_input_netif = netif;
    ip_data.current_ip4_header = ip;
    ip_data.current_ip_header_tot_len = IP_HLEN;
    ip_addr_copy_from_ip4(ip_data.current_iphdr_src, ip->src);
    ip_addr_copy_from_ip4(ip_data.current_iphdr_dest, ip->dest);
    bucket_load(bucket_of(ip->src.addr, lwip_ntohs(tcp->src), lwip_ntohs(tcp->dest)));
    tcp_input(p, netif);
    bucket_store();
    ip_data.current_netif = ip_data.current_input_netif = NULL;
    ip_data.current_ip4_header = NULL;
    ip_data.current_ip_header_tot_len = 0;
    return true;
}

/* --- checksums --- */

static inline u16_t fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (u16_t)sum;
}

static inline uint64_t sum_words(uint64_t sum, const uint8_t *data, size_t size)
{
    for (; size >= 4; data += 4, size -= 4) {
        uint32_t word;
        memcpy(&word, data, sizeof(word));
        sum += word;
    }
    if (size >= 2) {
        uint16_t word;
        memcpy(&word, data, sizeof(word));
        sum += word;
        data += 2;
        size -= 2;
    }
#if BYTE_ORDER == LITTLE_ENDIAN
    return size > 0 ? sum + *data : sum;
#else
    return size > 0 ? sum + ((uint32_t)*data << 8) : sum;
#endif
}

#if defined(__x86_64__)
#include <immintrin.h>

/* Sums of 32-bit words in four lanes of 64: they cannot overflow, and fold to the same. */
__attribute__((target("avx2"))) static uint64_t sum_wide(const uint8_t *data, size_t size,
                                                         uint8_t *copy)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i low = zero, high = zero;
    uint64_t lanes[4];
    size_t done = 0;

    for (; done + 32 <= size; done += 32) {
        __m256i words = _mm256_loadu_si256((const void *)(data + done));
        low = _mm256_add_epi64(low, _mm256_unpacklo_epi32(words, zero));
        high = _mm256_add_epi64(high, _mm256_unpackhi_epi32(words, zero));
        if (copy != NULL)
            _mm256_storeu_si256((void *)(copy + done), words);
    }
    _mm256_storeu_si256((void *)lanes, _mm256_add_epi64(low, high));
    if (copy != NULL)
        memcpy(copy + done, data + done, size - done);
    return sum_words(lanes[0] + lanes[1] + lanes[2] + lanes[3], data + done, size - done);
}

static inline bool sums_wide(size_t size)
{
    return size >= 64 && __builtin_cpu_supports("avx2");
}
#else
static uint64_t sum_wide(const uint8_t *data, size_t size, uint8_t *copy)
{
    if (copy != NULL)
        memcpy(copy, data, size);
    return sum_words(0, data, size);
}

static inline bool sums_wide(size_t size)
{
    return false;
}
#endif

static inline u16_t wide_sum(const void *data, size_t size)
{
    return fold(sums_wide(size) ? sum_wide(data, size, NULL) : sum_words(0, data, size));
}

/* --- the start --- */

static void *next_symbol(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

#ifdef LWIP_BUILT_IN
static bool own_find(void)
{
    return true;
}

/* For its timers, where the library is built without a system. */
u32_t sys_now(void)
{
    return (u32_t)(clock_ns() / NS_PER_MS);
}
#else
static bool own_find(void)
{
    /* ISO C has no cast from an object's pointer to a function's; POSIX has this. */
    *(void **)&own.memp_malloc = next_symbol("memp_malloc");
    *(void **)&own.memp_free = next_symbol("memp_free");
    *(void **)&own.protect = next_symbol("sys_arch_protect");
    *(void **)&own.unprotect = next_symbol("sys_arch_unprotect");
    *(void **)&own.timer_needed = next_symbol("tcp_timer_needed");
    *(void **)&own.sum = next_symbol("lwip_standard_chksum");
    *(void **)&own.sum_copy = next_symbol("lwip_chksum_copy");
    *(void **)&own.rexmit = next_symbol("tcp_rexmit");
    *(void **)&own.rexmit_all = next_symbol("tcp_rexmit_rto_commit");
    *(void **)&own.split = next_symbol("tcp_split_unsent_seg");
    return own.memp_malloc != NULL && own.memp_free != NULL && own.protect != NULL &&
           own.unprotect != NULL && own.timer_needed != NULL && own.sum != NULL &&
           own.sum_copy != NULL && own.rexmit != NULL && own.rexmit_all != NULL &&
           own.split != NULL;
}
#endif

const char *reach_unfit(bool plain)
{
    if (plain)
        return "asked for";
    if (LWIP_VERSION_MAJOR != 2 || LWIP_VERSION_MINOR != 1 || LWIP_VERSION_REVISION != 3)
        return "they were written for lwIP 2.1.3";
    return "";
}

const char *reach_open(bool plain)
{
    const char *unfit = reach_unfit(plain);
    static bool found;
    uint8_t probe[64];

    if (!found && !own_find())
        return "its functions are not where they should be";
    found = true;
    if (unfit[0] != '\0')
        return unfit;
    /* The headers and the library are of one make. */
    if (memp_pools[MEMP_TCP_PCB]->size != LWIP_MEM_ALIGN_SIZE(sizeof(struct tcp_pcb)) ||
        memp_pools[MEMP_TCP_SEG]->size != LWIP_MEM_ALIGN_SIZE(sizeof(struct tcp_seg)) ||
        memp_pools[MEMP_TCP_PCB_LISTEN]->size != LWIP_MEM_ALIGN_SIZE(sizeof(struct tcp_pcb_listen)))
        return "its structures are not those of its headers";
    for (unsigned i = 0; i < sizeof(probe); i++)
        probe[i] = (uint8_t)(i * 37 + 11);
    if (own.sum(probe, 63) != wide_sum(probe, 63) || own.sum(probe, 64) != wide_sum(probe, 64))
        return "its checksum is another";
    reach.on = true;
    reach.port = (u16_t)(wire_cycles() >> 4) % REACH_PORTS;
    return "";
}

bool reach_check(void)
{
    struct tcp_pcb *pcb = tcp_new(), *listening = NULL;
    struct pbuf *p = pbuf_alloc(PBUF_RAW, 64, PBUF_RAM);

    if (p != NULL)
        pbuf_free(p);
    if (pcb != NULL && tcp_bind(pcb, IP_ADDR_ANY, 1) == ERR_OK)
        listening = tcp_listen(pcb);
    if (listening != NULL)
        tcp_close(listening);
    else if (pcb != NULL)
        tcp_abort(pcb);
    if (!reach.memp_seen || !reach.mem_seen || !reach.timer_seen || listening == NULL)
        reach.on = false;
    reach_split();
    return reach.on;
}

/* --- what stands in for the library's --- */

u16_t lwip_standard_chksum(const void *data, int size);
typedef void intr_callback(void *argument); /* DPDK's */
typedef void intr_gone(void *handle, void *argument);
int rte_intr_callback_register(const void *handle, intr_callback *callback, void *argument);
int rte_intr_callback_unregister(const void *handle, intr_callback *callback, void *argument);
int rte_intr_callback_unregister_pending(const void *handle, intr_callback *callback,
                                         void *argument, intr_gone *gone);
void rte_intr_instance_free(void *handle);
int rte_memseg_get_fd(const void *segment);
err_t netif_loop_output(struct netif *netif, struct pbuf *p);

#ifndef LWIP_BUILT_IN
sys_prot_t sys_arch_protect(void);
void sys_arch_unprotect(sys_prot_t value);
void sys_check_core_locking(void);

sys_prot_t sys_arch_protect(void)
{
    return reach.on || own.protect == NULL ? 0 : own.protect();
}

void sys_arch_unprotect(sys_prot_t value)
{
    if (!reach.on && own.unprotect != NULL)
        own.unprotect(value);
}

/* Asks whether the caller holds a lock that nobody here takes. */
void sys_check_core_locking(void)
{
}
#endif

void tcp_timer_needed(void)
{
    reach.timer_seen = true;
    if (!reach.on && own.timer_needed != NULL)
        own.timer_needed();
}

/* Of a list's elements: many at once, so that they lie together; they are kept for ever. */
static void *elements_new(memp_t type)
{
    size_t size = line_round(memp_pools[type]->size);
    char *chunk = aligned_alloc(LINE_BYTES, size * REACH_CHUNK);

    reach.memp_seen = true;
    if (chunk == NULL) {
        reach_counts.allocations_failed++;
        return NULL;
    }
    for (unsigned i = REACH_CHUNK; i-- > 1;) {
        struct reach_free *element = (struct reach_free *)(void *)(chunk + i * size);
        element->next = reach.free[type];
        reach.free[type] = element;
    }
    return chunk;
}

void *memp_malloc(memp_t type)
{
    struct reach_free *element;

    if (__builtin_expect(!reach.on, 0))
        return own.memp_malloc != NULL ? own.memp_malloc(type) : NULL;
    element = reach.free[type];
    if (__builtin_expect(element == NULL, 0))
        return elements_new(type);
    reach.free[type] = element->next;
    return element;
}

void memp_free(memp_t type, void *memory)
{
    struct reach_free *element = memory;

    if (__builtin_expect(!reach.on, 0)) {
        own.memp_free(type, memory);
        return;
    }
    if (element == NULL)
        return;
    element->next = reach.free[type];
    reach.free[type] = element;
}

/* Only pbufs are left to it. */
void *mem_malloc(mem_size_t size)
{
    void *memory = reach.on ? wire_block_new(size) : NULL;

    reach.mem_seen = true;
    if (__builtin_expect(memory == NULL, 0))
        memory = malloc(size);
    if (__builtin_expect(memory == NULL, 0))
        reach_counts.allocations_failed++;
    return memory;
}

void mem_free(void *memory)
{
    if (__builtin_expect(wire_owns(memory), 1))
        wire_block_free(memory);
    else
        free(memory);
}

err_t tcp_rexmit(struct tcp_pcb *pcb)
{
    reach_counts.retransmissions++;
    return own.rexmit(pcb);
}

void tcp_rexmit_rto_commit(struct tcp_pcb *pcb)
{
    reach_counts.retransmissions++;
    own.rexmit_all(pcb);
}

/*
 * A mend: the library splits a segment to fill the peer's window, but cannot take the FIN off its
 * first half (it ORs the flags that should be set), so that the peer believes the stream to be
 * over before the other half comes.
 */
err_t tcp_split_unsent_seg(struct tcp_pcb *pcb, u16_t split)
{
    struct tcp_seg *first = pcb->unsent, *next = first != NULL ? first->next : NULL;
    err_t r = own.split(pcb, split);

    if (r == ERR_OK && first != NULL && first->next != next)
        TCPH_FLAGS_SET(first->tcphdr, TCPH_FLAGS(first->tcphdr) & ~(TCP_FIN | TCP_PSH));
    return r;
}

/*
 * A segment that claims to come from this host's own address, or from 127.0.0.1, would be answered
 * to itself: the library has its own thread do that, which is never started, and ends the process
 * when it finds none. Nobody who is honest waits for such an answer.
 */
err_t netif_loop_output(struct netif *netif, struct pbuf *p)
{
    return ERR_RTE;
}

/*
 * The driver of memif registers a connection that it has accepted, greets it, and where that fails,
 * since the other end has gone already, closes and frees what is registered still. DPDK's interrupt
 * thread then waits for a file that is none, and ends the process. So what a thread has registered
 * last is remembered until it is taken back, and is registered no more when it is freed.
 */
static _Thread_local struct {
    const void *handle;
    intr_callback *callback;
    void *argument;
} intr_last;

static int intr_unregister(const void *handle, intr_callback *callback, void *argument)
{
    static int (*unregister)(const void *handle, intr_callback *callback, void *argument);

    if (unregister == NULL)
        *(void **)&unregister = next_symbol("rte_intr_callback_unregister");
    if (intr_last.handle == handle)
        intr_last.handle = NULL;
    return unregister(handle, callback, argument);
}

/* The same driver calls this when the other end has gone, before it unmaps: see guard.h. */
int rte_intr_callback_unregister(const void *handle, intr_callback *callback, void *argument)
{
    guard_unmap_begins();
    return intr_unregister(handle, callback, argument);
}

/* From inside of the callback. What then frees it does so under a lock of DPDK's. */
int rte_intr_callback_unregister_pending(const void *handle, intr_callback *callback,
                                         void *argument, intr_gone *gone)
{
    static int (*unregister_pending)(const void *handle, intr_callback *callback, void *argument,
                                     intr_gone *gone);

    if (unregister_pending == NULL)
        *(void **)&unregister_pending = next_symbol("rte_intr_callback_unregister_pending");
    if (intr_last.handle == handle)
        intr_last.handle = NULL;
    return unregister_pending(handle, callback, argument, gone);
}

/* It registers both ends of a connection before anything is said on it. */
int rte_intr_callback_register(const void *handle, intr_callback *callback, void *argument)
{
    static int (*own_register)(const void *handle, intr_callback *callback, void *argument);
    static int (*fd_of)(const void *handle);

    if (own_register == NULL) {
        *(void **)&fd_of = next_symbol("rte_intr_fd_get");
        *(void **)&own_register = next_symbol("rte_intr_callback_register");
    }
    if (fd_of != NULL && !guard_admits(fd_of(handle)))
        return -EACCES;
    int r = own_register(handle, callback, argument);
    if (r >= 0) {
        intr_last.handle = handle;
        intr_last.callback = callback;
        intr_last.argument = argument;
    }
    return r;
}

void rte_intr_instance_free(void *handle)
{
    static void (*own_free)(void *handle);

    if (own_free == NULL)
        *(void **)&own_free = next_symbol("rte_intr_instance_free");
    if (handle != NULL && handle == intr_last.handle)
        intr_unregister(handle, intr_last.callback, intr_last.argument);
    own_free(handle);
}

/* The same driver, lending its frames, closes this file when the other end has gone, which is
 * DPDK's own, so that a second connection would find another file at its number. */
int rte_memseg_get_fd(const void *segment)
{
    static int (*get_fd)(const void *segment);

    if (get_fd == NULL)
        *(void **)&get_fd = next_symbol("rte_memseg_get_fd");
    int fd = get_fd(segment);
    return fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

u16_t lwip_standard_chksum(const void *data, int size)
{
    if (__builtin_expect(!reach.on && own.sum != NULL, 0))
        return own.sum(data, size);
    return wide_sum(data, (size_t)size);
}

u16_t lwip_chksum_copy(void *to, const void *from, u16_t size)
{
    if (__builtin_expect(!reach.on && own.sum_copy != NULL, 0))
        return own.sum_copy(to, from, size);
    if (size > REACH_APART && sums_wide(size))
        return fold(sum_wide(from, size, to));
    u16_t sum = wide_sum(from, size);
    memcpy(to, from, size);
    return sum;
}
