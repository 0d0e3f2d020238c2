/*
 * The one clock: CLOCK_MONOTONIC, because eBPF's bpf_ktime_get_ns() is the same clock, so that
 * stamps taken in the kernel and here can be joined.
 *
 * One read an op is most of what the harness costs where an op is short (on a virtual machine 25
 * to 50 ns), the larger part of it the fence that orders the counter's read behind all that went
 * before. So where the kernel itself goes by an invariant time stamp counter, a thread reads that
 * counter and reckons from the last time that it asked the kernel, at most a millisecond ago:
 * clock.c. Never backwards within a thread; between threads, and against the kernel's own reading,
 * it is right to some 100 ns.
 */
#ifndef LAB_CORE_CLOCK_H
#define LAB_CORE_CLOCK_H

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

/* "No deadline": wait for as long as it takes. */
#define CLOCK_NEVER UINT64_MAX

/* What a thread reckons from: at `ticks` it was `ns`, and for the next valid_ticks a tick is
 * ns_per_tick / 2^32. */
struct clock_anchor {
    uint64_t ticks, valid_ticks, ns, ns_per_tick;
};

extern _Thread_local struct clock_anchor clock_anchor;

/* The kernel's own reading. For signal handlers: there a thread may be anywhere in clock_ns(). */
static inline uint64_t clock_kernel_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Asks the kernel, and has the thread reckon from that if it can be. */
uint64_t clock_ask_ns(void);
/* How clock_ns() reads the time here, for the record. */
const char *clock_way(void);

static inline uint64_t clock_ns(void)
{
#if defined(__x86_64__)
    uint64_t ticks = __rdtsc() - clock_anchor.ticks;
    if (__builtin_expect(ticks < clock_anchor.valid_ticks, 1))
        return clock_anchor.ns + (ticks * clock_anchor.ns_per_tick >> 32);
#endif
    return clock_ask_ns();
}

static inline struct timespec clock_timespec(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

#endif
