/*
 * See clock.h. How long a tick lasts is measured against the kernel's clock, over the last half to
 * whole second of the process's life, so NTP's slewing is followed and nothing is to be known of
 * the machine. What becomes of the counter (a guest that moves to another host) is put right at the
 * next asking, and a tick is measured anew.
 */
#include "core/clock.h"

#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define CLOCK_ASK_NS       NS_PER_MS        /* reckoned for at most so long */
#define CLOCK_AGE_NS_LEAST (10 * NS_PER_MS) /* of what a tick's length is measured over */
#define CLOCK_AGE_NS_MOST  (500 * NS_PER_MS)
#define CLOCK_TICKS_MOST   2000u /* an asking that took longer was interrupted */
#define CLOCK_ASKED        3u
/* What is told is early by how long the asking took; more is a counter that was set. */
#define CLOCK_EARLY_NS_MOST (10 * NS_PER_US)
#define CLOCK_STEADY        1024u /* a tick's length changes by less than so small a part */

struct clock_mark {
    uint64_t ticks, ns;
};

struct clock_anchors clock_anchors = {.writing = ATOMIC_FLAG_INIT};
/* Two marks of the past: the older one is measured against, the newer takes its place. Whoever
 * writes an anchor has them. */
static struct clock_mark marks[2];

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

/* The time, and the counter a little before: what is reckoned from them is never behind the
 * kernel's own reading. False: they are too far apart. */
static bool ask_both(struct clock_mark *now)
{
    for (unsigned i = 0; i < CLOCK_ASKED; i++) {
        now->ticks = __rdtsc();
        now->ns = clock_kernel_ns();
        if (__rdtsc() - now->ticks <= CLOCK_TICKS_MOST)
            return true;
    }
    return false;
}

/* An anchor as it was at one moment. */
struct clock_anchor {
    uint64_t ticks, ns, ns_per_tick;
    uint32_t valid_ticks;
};

static struct clock_anchor anchor_get(void)
{
    struct clock_anchors *a = &clock_anchors;

    for (;;) {
        uint32_t generation = atomic_load_explicit(&a->generation, memory_order_acquire);
        uint32_t i = generation & 1;
        struct clock_anchor anchor = {
            .ticks = atomic_load_explicit(&a->ticks[i], memory_order_acquire),
            .ns = atomic_load_explicit(&a->ns[i], memory_order_acquire),
            .ns_per_tick = atomic_load_explicit(&a->ns_per_tick[i], memory_order_acquire),
            .valid_ticks = atomic_load_explicit(&a->valid_ticks[i], memory_order_acquire),
        };
        if (generation == atomic_load_explicit(&a->generation, memory_order_relaxed))
            return anchor;
    }
}

static void anchor_put(const struct clock_anchor *anchor)
{
    struct clock_anchors *a = &clock_anchors;
    uint32_t generation = atomic_load_explicit(&a->generation, memory_order_relaxed) + 1;
    uint32_t i = generation & 1;

    /* Who sees one of these sees as well that the generation before has come, and asks again. */
    atomic_store_explicit(&a->ticks[i], anchor->ticks, memory_order_release);
    atomic_store_explicit(&a->ns[i], anchor->ns, memory_order_release);
    atomic_store_explicit(&a->ns_per_tick[i], anchor->ns_per_tick, memory_order_release);
    atomic_store_explicit(&a->valid_ticks[i], anchor->valid_ticks, memory_order_release);
    atomic_store_explicit(&a->generation, generation, memory_order_release);
}

/* The most that any thread can have been told by it, by the time the counter was there. */
static uint64_t told_ns_most(const struct clock_anchor *anchor, uint64_t ticks)
{
    uint64_t since = ticks - anchor->ticks;

    if ((int64_t)since < 0)
        since = 0;
    else if (since > anchor->valid_ticks)
        since = anchor->valid_ticks;
    return anchor->ns + (since * anchor->ns_per_tick >> 32);
}

/* Not back behind what was told, be it some nanoseconds early. */
static void not_before_told(struct clock_mark *now, const struct clock_anchor *anchor)
{
    uint64_t told_ns = told_ns_most(anchor, now->ticks);

    if (told_ns > now->ns && told_ns - now->ns < CLOCK_EARLY_NS_MOST)
        now->ns = told_ns;
}

/* What is to be reckoned from now on, if a tick's length is known. */
static struct clock_anchor anchor_at(const struct clock_mark *now, const struct clock_anchor *last)
{
    struct clock_anchor anchor = {.ticks = now->ticks, .ns = now->ns};

    if (marks[0].ticks == 0 || now->ticks < marks[0].ticks)
        marks[0] = marks[1] = *now;
    if (now->ns - marks[1].ns >= CLOCK_AGE_NS_MOST) {
        marks[0] = marks[1];
        marks[1] = *now;
    }
    uint64_t ns = now->ns - marks[0].ns, ticks = now->ticks - marks[0].ticks;
    if (ns < CLOCK_AGE_NS_LEAST || ticks == 0)
        return anchor;
    uint64_t rate = (uint64_t)(((unsigned __int128)ns << 32) / ticks);
    uint64_t change =
        rate > last->ns_per_tick ? rate - last->ns_per_tick : last->ns_per_tick - rate;
    /* The counter was set, and what was measured before that is worth nothing; or no counter of
     * this kind ticks like that. */
    if ((last->ns_per_tick != 0 && change > last->ns_per_tick / CLOCK_STEADY) || rate >> 24 == 0 ||
        rate >> 42 != 0) {
        marks[0] = marks[1] = *now;
        return anchor;
    }
    anchor.ns_per_tick = rate;
    anchor.valid_ticks = (uint32_t)((CLOCK_ASK_NS << 32) / rate);
    return anchor;
}

/*
 * A thread may lose its CPU at any point here. So it asks by itself, whoever else does, and only
 * writes under a lock, which nobody waits for; and what it has asked may be old by then.
 */
uint64_t clock_ask_ns(void)
{
    struct clock_anchor anchor;
    struct clock_mark now;

    if (!can_reckon())
        return clock_kernel_ns();
    /* Another thread may have asked just now. */
    anchor = anchor_get();
    uint64_t since = __rdtsc() - anchor.ticks;
    if (since < anchor.valid_ticks)
        return anchor.ns + (since * anchor.ns_per_tick >> 32);
    bool both = ask_both(&now);
    not_before_told(&now, &anchor);
    if (atomic_flag_test_and_set_explicit(&clock_anchors.writing, memory_order_acquire))
        return now.ns;
    anchor = anchor_get();
    bool newer = now.ns > anchor.ns;
    not_before_told(&now, &anchor);
    if (both && newer) {
        struct clock_anchor next = anchor_at(&now, &anchor);
        anchor_put(&next);
    }
    atomic_flag_clear_explicit(&clock_anchors.writing, memory_order_release);
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
