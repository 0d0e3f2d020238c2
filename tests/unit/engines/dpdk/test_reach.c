/* What stands in for lwIP's own functions, without a device: sums, and the choice of ports. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engines/dpdk/reach.h"
#include <lwip/inet_chksum.h>

#define SUM_SIZES  300u
#define SUM_SHIFTS 34u
#define GUARD      0x5a

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

Test(reach, plain_leaves_the_library_alone)
{
    uint8_t data[64];

    cr_assert_str_eq(reach_open(true), "asked for");
    cr_assert_not(reach_is_on());
    fill(data, sizeof(data), 1);
    cr_assert_eq(lwip_standard_chksum(data, sizeof(data)), plain_sum(data, sizeof(data)));
    cr_assert_eq(reach_port(IP4_ADDR_ANY, IP4_ADDR_ANY, 80), 0, "the library is to choose");
}
