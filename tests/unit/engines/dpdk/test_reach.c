/* What stands in for lwIP's own functions, without a device: sums, the choice of ports, where
 * connections lie, and how many of them may wait. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engines/dpdk/reach.h"
#include <lwip/inet_chksum.h>

#define SUM_SIZES  300u
#define SUM_SHIFTS 34u
#define GUARD      0x5a
#define CLIENTS    4000u
#define WAITING    4096u /* as reach.c keeps them */
#define SERVER     0x0100000au

u16_t lwip_standard_chksum(const void *data, int size);

static void reach_on(void)
{
    const char *why = reach_open(false);
    cr_assert_str_empty(why, "the shortcuts are off: %s", why);
    cr_assert(reach_is_on());
}

/* RFC 1071, by pairs of bytes as they lie in memory. */
static u16_t plain_sum(const uint8_t *data, size_t size)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < size; i++) {
        uint8_t pair[2] = {i % 2 == 0 ? data[i] : 0, i % 2 == 0 ? 0 : data[i]};
        uint16_t word;
        memcpy(&word, pair, sizeof(word));
        sum += word;
    }
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (u16_t)sum;
}

static void fill(uint8_t *data, size_t size, unsigned seed)
{
    uint32_t state = seed * 2654435761u + 1;

    for (size_t i = 0; i < size; i++) {
        state = state * 1664525u + 1013904223u;
        data[i] = seed == 0 ? 0xff : (uint8_t)(state >> 24);
    }
}

Test(reach, sums_are_those_of_the_rfc)
{
    uint8_t data[SUM_SIZES + SUM_SHIFTS];

    reach_on();
    for (unsigned seed = 0; seed < 3; seed++) {
        fill(data, sizeof(data), seed);
        for (unsigned shift = 0; shift < SUM_SHIFTS; shift++)
            for (unsigned size = 0; size <= SUM_SIZES; size++)
                cr_assert_eq(lwip_standard_chksum(data + shift, (int)size),
                             plain_sum(data + shift, size), "%u bytes at %u", size, shift);
    }
}

Test(reach, sum_of_the_longest_does_not_overflow)
{
    size_t size = 65535;
    uint8_t *data = malloc(size);

    reach_on();
    cr_assert_not_null(data);
    for (unsigned seed = 0; seed < 3; seed++) {
        fill(data, size, seed);
        cr_assert_eq(lwip_standard_chksum(data, (int)size), plain_sum(data, size));
    }
    free(data);
}

Test(reach, copies_are_summed_and_whole)
{
    uint8_t from[SUM_SIZES + SUM_SHIFTS], to[SUM_SIZES + SUM_SHIFTS + 1];

    reach_on();
    fill(from, sizeof(from), 7);
    for (unsigned shift = 0; shift < SUM_SHIFTS; shift++)
        for (unsigned size = 0; size <= SUM_SIZES; size++) {
            uint8_t *at = to + SUM_SHIFTS - shift;
            memset(to, GUARD, sizeof(to));
            cr_assert_eq(lwip_chksum_copy(at, from + shift, (u16_t)size),
                         plain_sum(from + shift, size), "%u bytes at %u", size, shift);
            cr_assert_arr_eq(at, from + shift, size);
            cr_assert_eq(at[-1], GUARD, "%u bytes at %u", size, shift);
            cr_assert_eq(at[size], GUARD, "%u bytes at %u", size, shift);
        }
}

/* Those of full frames, where the ways part, and the longest. */
Test(reach, large_copies_are_summed_and_whole)
{
    static const u16_t sizes[] = {1459, 1460, 2047, 2048, 2049, 8960, 65535};
    static uint8_t from[65536 + SUM_SHIFTS], to[65536 + SUM_SHIFTS];

    reach_on();
    fill(from, sizeof(from), 9);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (unsigned shift = 1; shift < SUM_SHIFTS; shift++) {
            u16_t size = sizes[i];
            memset(to, GUARD, sizeof(to));
            cr_assert_eq(lwip_chksum_copy(to + SUM_SHIFTS - shift, from + shift, size),
                         plain_sum(from + shift, size), "%u bytes at %u", size, shift);
            cr_assert(memcmp(to + SUM_SHIFTS - shift, from + shift, size) == 0);
            cr_assert_eq(to[SUM_SHIFTS - shift - 1], GUARD, "%u bytes at %u", size, shift);
            cr_assert_eq(to[SUM_SHIFTS - shift + size], GUARD, "%u bytes at %u", size, shift);
        }
}

Test(reach, ports_come_once_before_they_come_again)
{
    static bool seen[65536];
    ip_addr_t remote = IPADDR4_INIT(0x0100000a);
    unsigned count = 65536 - 1024;

    reach_on();
    reach_split();
    for (unsigned i = 0; i < count; i++) {
        u16_t port = reach_port(IP4_ADDR_ANY, &remote, 80);
        cr_assert_geq(port, 1024);
        cr_assert_not(seen[port], "port %u came twice", port);
        seen[port] = true;
    }
    u16_t again = reach_port(IP4_ADDR_ANY, &remote, 80);
    cr_assert(again >= 1024 && seen[again]);
}

/* --- where connections lie --- */

/* A connection from there to port 80, in the list that the library would put it in. */
static struct tcp_pcb *pcb_new(u32_t from, u16_t port, enum tcp_state state)
{
    struct tcp_pcb *pcb = tcp_new();

    cr_assert_not_null(pcb);
    ip_addr_set_ip4_u32_val(pcb->remote_ip, from);
    pcb->remote_port = port;
    pcb->local_port = 80;
    pcb->state = state;
    reach_enter(pcb);
    if (state == TIME_WAIT)
        TCP_REG(&tcp_tw_pcbs, pcb);
    else
        TCP_REG(&tcp_active_pcbs, pcb);
    reach_leave();
    return pcb;
}

static unsigned list_length(const struct tcp_pcb *list)
{
    unsigned length = 0;

    for (; list != NULL; list = list->next)
        length++;
    return length;
}

static struct tcp_pcb *find(u32_t from, u16_t port)
{
    ip_addr_t remote;

    ip_addr_set_ip4_u32_val(remote, from);
    return reach_find(&remote, port, 80);
}

Test(reach, a_connection_is_found_among_many)
{
    static struct tcp_pcb *pcbs[CLIENTS];
    unsigned longest = 0;

    reach_on();
    reach_split();
    for (unsigned i = 0; i < CLIENTS; i++)
        pcbs[i] = pcb_new(SERVER, (u16_t)(1024 + i), ESTABLISHED);
    for (unsigned i = 0; i < CLIENTS; i++) {
        cr_assert_eq(find(SERVER, (u16_t)(1024 + i)), pcbs[i]);
        reach_enter(pcbs[i]);
        unsigned length = list_length(tcp_active_pcbs);
        reach_leave();
        longest = length > longest ? length : longest;
    }
    cr_assert_leq(longest, 4, "a segment's look-up walks past %u connections", longest);
    cr_assert_null(find(SERVER, 1023));
    cr_assert_null(find(SERVER + 1, 1024));
}

Test(reach, hosts_with_the_same_ports_are_told_apart)
{
    enum { HOSTS = 250 };
    struct tcp_pcb *pcbs[HOSTS];

    reach_on();
    reach_split();
    for (unsigned i = 0; i < HOSTS; i++)
        pcbs[i] = pcb_new(SERVER + (i << 24), 5000, ESTABLISHED);
    for (unsigned i = 0; i < HOSTS; i++)
        cr_assert_eq(find(SERVER + (i << 24), 5000), pcbs[i], "host %u", i);
}

/* What comes at any rate, and is nothing for TCP, must not cost more for each connection. */
Test(reach, what_is_not_for_tcp_looks_at_no_connection)
{
    static uint8_t frame[128];
    static const struct {
        const char *what;
        uint16_t type;
        uint8_t version, protocol;
        u16_t size;
        bool all; /* lwIP may look at every connection */
    } frames[] = {
        {"UDP", 0x0800, 0x45, 17, 60, false},
        {"ICMP", 0x0800, 0x45, 1, 98, false},
        {"UDP over IPv6", 0x86dd, 0x60, 17, 100, false},
        {"a neighbour's question", 0x86dd, 0x60, 58, 86, false},
        {"LLDP", 0x88cc, 0, 0, 60, false},
        {"a frame of 13 bytes", 0x0800, 0, 0, 13, false},
        {"a segment behind IP options", 0x0800, 0x46, 6, 60, true},
        {"a segment behind a header of IPv6", 0x86dd, 0x60, 0, 100, true},
    };
    struct netif netif = {0};

    reach_on();
    reach_split();
    for (unsigned i = 0; i < CLIENTS; i++)
        pcb_new(SERVER, (u16_t)(1024 + i), ESTABLISHED);
    for (unsigned i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        struct pbuf p = {.payload = frame, .len = frames[i].size, .tot_len = frames[i].size};
        frame[12] = (uint8_t)(frames[i].type >> 8);
        frame[13] = (uint8_t)frames[i].type;
        frame[14] = frames[i].version;
        frame[frames[i].type == 0x0800 ? 23 : 20] = frames[i].protocol;
        cr_assert_not(reach_input(&netif, &p, SERVER), "%s", frames[i].what);
        unsigned seen = list_length(tcp_active_pcbs);
        reach_input_done();
        if (frames[i].all)
            cr_assert_eq(seen, CLIENTS, "%s: %u", frames[i].what, seen);
        else
            cr_assert_leq(seen, 4, "%s: %u", frames[i].what, seen);
    }
    cr_assert_not_null(find(SERVER, 1024));
}

Test(reach, timers_see_all_and_buckets_have_them_back)
{
    reach_on();
    reach_split();
    for (unsigned i = 0; i < CLIENTS; i++)
        pcb_new(SERVER, (u16_t)(1024 + i), i % 4 == 0 ? TIME_WAIT : ESTABLISHED);
    for (unsigned turn = 0; turn < 3; turn++) {
        reach_join();
        cr_assert_eq(list_length(tcp_active_pcbs), CLIENTS * 3 / 4);
        cr_assert_eq(list_length(tcp_tw_pcbs), CLIENTS / 4);
        reach_split();
        cr_assert(tcp_active_pcbs == NULL && tcp_tw_pcbs == NULL);
    }
    cr_assert_not_null(find(SERVER, 1025));
    cr_assert_null(find(SERVER, 1024), "one that waits is no connection");
}

Test(reach, those_that_wait_are_bounded_and_the_oldest_are_given_up)
{
    enum { MORE = 100 };
    static bool waits[65536];
    unsigned left = 0;

    reach_on();
    reach_split();
    for (unsigned i = 0; i < WAITING; i++)
        pcb_new(SERVER, (u16_t)(1024 + i), TIME_WAIT);
    cr_assert_eq(reach_counts.time_waits_given_up, 0);
    for (unsigned i = WAITING; i < WAITING + MORE; i++)
        pcb_new(SERVER, (u16_t)(1024 + i), TIME_WAIT);
    cr_assert_eq(reach_counts.time_waits_given_up, MORE);
    reach_join();
    for (const struct tcp_pcb *pcb = tcp_tw_pcbs; pcb != NULL; pcb = pcb->next, left++)
        waits[pcb->remote_port] = true;
    cr_assert_eq(left, WAITING);
    for (unsigned i = 0; i < WAITING + MORE; i++)
        cr_assert_eq(waits[1024 + i], i >= MORE, "connection %u", i);
}

/* A last segment behind IP options goes the way on which all connections are seen. */
Test(reach, those_that_wait_are_bounded_whichever_way_they_came)
{
    enum { MORE = 10 };
    static uint8_t frame[64] = {[12] = 8, [14] = 0x46, [23] = 6};
    struct netif netif = {0};

    reach_on();
    reach_split();
    for (unsigned i = 0; i < WAITING + MORE; i++) {
        struct pbuf p = {.payload = frame, .len = sizeof(frame), .tot_len = sizeof(frame)};
        struct tcp_pcb *pcb = pcb_new(SERVER, (u16_t)(1024 + i), ESTABLISHED);
        cr_assert_not(reach_input(&netif, &p, SERVER));
        TCP_RMV(&tcp_active_pcbs, pcb);
        pcb->state = TIME_WAIT;
        TCP_REG(&tcp_tw_pcbs, pcb);
        reach_input_done();
    }
    cr_assert_eq(reach_counts.time_waits_given_up, MORE);
    reach_join();
    cr_assert_eq(list_length(tcp_tw_pcbs), WAITING);
}

/* The library may have let it go long ago, by its timer, and its memory be another's. */
Test(reach, one_that_has_gone_by_itself_is_not_given_up)
{
    reach_on();
    reach_split();
    struct tcp_pcb *first = pcb_new(SERVER, 1024, TIME_WAIT);
    reach_enter(first);
    tcp_abort(first);
    reach_leave();
    for (unsigned i = 1; i <= WAITING; i++)
        pcb_new(SERVER, (u16_t)(1024 + i), TIME_WAIT);
    cr_assert_eq(reach_counts.time_waits_given_up, 0);
    reach_join();
    cr_assert_eq(list_length(tcp_tw_pcbs), WAITING);
}

Test(reach, a_port_that_waits_is_given_up_for_a_connection)
{
    ip_addr_t remote;

    reach_on();
    reach_split();
    ip_addr_set_ip4_u32_val(remote, SERVER);
    u16_t before = reach_port(IP4_ADDR_ANY, &remote, 80);
    u16_t next = before == UINT16_MAX ? 1024 : (u16_t)(before + 1);
    struct tcp_pcb *pcb = tcp_new();
    pcb->remote_ip = remote;
    pcb->remote_port = 80;
    pcb->local_port = next;
    pcb->state = TIME_WAIT;
    reach_enter(pcb);
    TCP_REG(&tcp_tw_pcbs, pcb);
    reach_leave();
    cr_assert_eq(reach_port(IP4_ADDR_ANY, &remote, 80), next);
    cr_assert_eq(reach_counts.time_waits_given_up, 1);
    reach_join();
    cr_assert_null(tcp_tw_pcbs);
}

Test(reach, plain_leaves_the_library_alone)
{
    uint8_t data[64];

    cr_assert_str_eq(reach_open(true), "asked for");
    cr_assert_not(reach_is_on());
    fill(data, sizeof(data), 1);
    cr_assert_eq(lwip_standard_chksum(data, sizeof(data)), plain_sum(data, sizeof(data)));
    cr_assert_eq(reach_port(IP4_ADDR_ANY, IP4_ADDR_ANY, 80), 0, "the library is to choose");
}
