/* How many connections may have wide windows: what they have under way must not take the frames
 * from all others. */
#include <criterion/criterion.h>

#include "engines/dpdk/dpdk.h"

#define WIDE    131070u
#define HEADERS 40u

/* Frames that so many windows fill, of full segments. */
static uint64_t frames_of(uint64_t windows, uint32_t mtu)
{
    uint32_t segment = mtu - HEADERS;

    return windows * ((WIDE + segment - 1) / segment);
}

Test(place, wide_windows_fill_a_quarter_of_the_frames_and_no_more)
{
    static const uint32_t mtus[] = {576, 1400, 1500, 4000, 9000};
    static const uint32_t mbufs[] = {256, 2048, 9344, 65536};
    struct dpdk_options options = {.mtu = 0};

    for (unsigned i = 0; i < sizeof(mtus) / sizeof(mtus[0]); i++)
        for (unsigned k = 0; k < sizeof(mbufs) / sizeof(mbufs[0]); k++) {
            struct wire_config wire = {.mtu = mtus[i], .mbufs = mbufs[k]};
            uint32_t most = dpdk_wide_most(&options, &wire);
            cr_assert_leq(frames_of(most, mtus[i]), mbufs[k] / 4, "MTU %u, %u frames: %u", mtus[i],
                          mbufs[k], most);
            cr_assert_gt(frames_of(most + 1ull, mtus[i]), mbufs[k] / 4,
                         "MTU %u, %u frames: %u, and there is room for more", mtus[i], mbufs[k],
                         most);
        }
}

/* What the page says. */
Test(place, by_default_25_windows_are_wide)
{
    struct dpdk_options options = {.burst = 16};
    struct engine_config config = {.options = &options, .conns_hint = 32};
    struct wire_config wire;
    struct lab_error err;

    int r = dpdk_wire_config(&config, &wire, &err);
    cr_assert_eq(r, 0, "%s", err.text);
    cr_assert_eq(dpdk_wide_most(&options, &wire), 25);
}

Test(place, no_window_is_wide_where_its_size_was_said)
{
    struct wire_config wire = {.mtu = 1500, .mbufs = 8192};

    cr_assert_eq(dpdk_wide_most(&(struct dpdk_options){.common.rcvbuf = 65536}, &wire), 0);
    cr_assert_eq(dpdk_wide_most(&(struct dpdk_options){.common.sndbuf = 65536}, &wire), 0);
    cr_assert_eq(dpdk_wide_most(&(struct dpdk_options){.plain = true}, &wire), 0);
}
