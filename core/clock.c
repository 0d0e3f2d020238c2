/*
 * See clock.h. How long a tick lasts is measured by each thread against the kernel's clock, over
 * the last half to whole second of its life, so NTP's slewing is followed and nothing is to be
 * known of the machine. Whatever becomes of the counter (a guest that moves to another host) is
 * put right at the next asking.
 */
#include "core/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define CLOCK_ASK_NS       NS_PER_MS       /* reckoned for at most so long */
#define CLOCK_AGE_NS_LEAST (2 * NS_PER_MS) /* of what a tick's length is measured over */
#define CLOCK_AGE_NS_MOST  (500 * NS_PER_MS)
#define CLOCK_TICKS_MOST   2000u /* an asking that took longer was interrupted */
#define CLOCK_ASKED        3u

struct clock_mark {
    uint64_t ticks, ns;
};

_Thread_local struct clock_anchor clock_anchor;
/* Two marks of the past: the older one is measured against, the newer takes its place. */
static _Thread_local struct clock_mark marks[2];

#if defined(__x86_64__)

/* Invariant (CPUID 0x80000007, EDX bit 8), and what the kernel itself trusts. */
static bool counter_is_good(void)
{
    unsigned a, b, c, d;
    char source[16] = "";
    FILE *file;

    if (!__get_cpuid(0x80000007, &a, &b, &c, &d) || (d & 1u << 8) == 0)
        return false;
    file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    if (file == NULL)
        return false;
    bool good = fgets(source, sizeof(source), file) != NULL && strcmp(source, "tsc\n") == 0;
    fclose(file);
    return good;
}

static bool can_reckon(void)
{
    static _Atomic int known; /* 1: yes, -1: no; whoever asks first at once finds the same */

    if (known == 0)
        known = counter_is_good() ? 1 : -1;
    return known > 0;
}

/* The time and the counter of one moment. False: they are too far apart. */
static bool ask_both(struct clock_mark *now)
{
    for (unsigned i = 0; i < CLOCK_ASKED; i++) {
        uint64_t before = __rdtsc();
        now->ns = clock_kernel_ns();
        uint64_t spent = __rdtsc() - before;
        now->ticks = before + spent / 2;
        if (spent <= CLOCK_TICKS_MOST)
            return true;
    }
    return false;
}

/* The most that the thread can have been told by reckoning, by the time the counter was there. */
static uint64_t told_ns_most(uint64_t ticks)
{
    uint64_t since = ticks - clock_anchor.ticks;

    if (since > clock_anchor.valid_ticks)
        since = clock_anchor.valid_ticks;
    return clock_anchor.ns + (since * clock_anchor.ns_per_tick >> 32);
}

/* From now on it is reckoned from there, if a tick's length is known. */
static void anchor_set(const struct clock_mark *now)
{
    uint64_t ns = now->ns - marks[0].ns, ticks = now->ticks - marks[0].ticks;

    clock_anchor = (struct clock_anchor){.ticks = now->ticks, .ns = now->ns};
    if (ns < CLOCK_AGE_NS_LEAST || ticks == 0)
        return;
    clock_anchor.ns_per_tick = (uint64_t)(((unsigned __int128)ns << 32) / ticks);
    /* Beyond these no counter of this kind ticks: it was set. */
    if (clock_anchor.ns_per_tick >> 16 != 0 && clock_anchor.ns_per_tick >> 42 == 0)
        clock_anchor.valid_ticks = (CLOCK_ASK_NS << 32) / clock_anchor.ns_per_tick;
}

uint64_t clock_ask_ns(void)
{
    struct clock_mark now;

    if (!can_reckon())
        return clock_kernel_ns();
    bool both = ask_both(&now);
    /* Not back behind what was told, be it some nanoseconds early. */
    uint64_t told_ns = told_ns_most(now.ticks);
    if (told_ns > now.ns && told_ns - now.ns < NS_PER_US)
        now.ns = told_ns;
    if (marks[0].ticks == 0 || now.ticks < marks[0].ticks)
        marks[0] = marks[1] = now;
    if (both && now.ns - marks[1].ns >= CLOCK_AGE_NS_MOST) {
        marks[0] = marks[1];
        marks[1] = now;
    }
    anchor_set(&now);
    if (!both)
        clock_anchor.valid_ticks = 0;
    return now.ns;
}

const char *clock_way(void)
{
    return can_reckon() ? "time stamp counter, reckoned from CLOCK_MONOTONIC" : "clock_gettime";
}

#else

uint64_t clock_ask_ns(void)
{
    return clock_kernel_ns();
}

const char *clock_way(void)
{
    return "clock_gettime";
}

#endif
