/*
 * The one clock: CLOCK_MONOTONIC, because eBPF's bpf_ktime_get_ns() is the same clock, so that
 * stamps taken in the kernel and here can be joined.
 *
 * One read an op is most of what the harness costs where an op is short (on a virtual machine 25
 * to 50 ns), the larger part of it the fence that orders the counter's read behind all that went
 * before. So where the kernel itself goes by an invariant time stamp counter, that counter is read
 * and reckoned from the last time that the kernel was asked, by whichever thread, at most a
 * millisecond ago: clock.c. Never backwards within a thread; against the kernel's own reading it is
 * right to some 100 ns, and in any case to a microsecond.
 */
#ifndef LAB_CORE_CLOCK_H
#define LAB_CORE_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
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

/*
 * What is reckoned from: at `ticks` it was `ns`, and for the next valid_ticks a tick is
 * ns_per_tick / 2^32. Of the two anchors the generation's lowest bit says which one holds; the
 * other is written, by one thread at a time. All of it is one line of the cache, which with a
 * thread a connection is in the cache as a thread's own would not be.
 */
struct clock_anchors {
    _Alignas(64) _Atomic uint64_t ticks[2];
    _Atomic uint64_t ns[2], ns_per_tick[2];
    _Atomic uint32_t valid_ticks[2];
    _Atomic uint32_t generation;
    atomic_flag writing; /* some thread is */
};

extern struct clock_anchors clock_anchors;

/* The kernel's own reading. For signal handlers: there a thread may be anywhere in clock_ns(). */
static inline uint64_t clock_kernel_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Asks the kernel, and has all threads reckon from that if it can be. */
uint64_t clock_ask_ns(void);
/* How clock_ns() reads the time here, for the record. */
const char *clock_way(void);

static inline uint64_t clock_ns(void)
{
#if defined(__x86_64__)
    const struct clock_anchors *a = &clock_anchors;
    uint32_t generation = atomic_load_explicit(&a->generation, memory_order_acquire);
    uint32_t i = generation & 1;
    uint64_t ticks = __rdtsc() - atomic_load_explicit(&a->ticks[i], memory_order_acquire);
    uint64_t rate = atomic_load_explicit(&a->ns_per_tick[i], memory_order_acquire);
    uint64_t ns = atomic_load_explicit(&a->ns[i], memory_order_acquire);
    uint32_t valid_ticks = atomic_load_explicit(&a->valid_ticks[i], memory_order_acquire);
    /* The anchor was not written meanwhile. */
    bool held = generation == atomic_load_explicit(&a->generation, memory_order_relaxed);
    if (__builtin_expect(held && ticks < valid_ticks, 1))
        return ns + (ticks * rate >> 32);
#endif
    return clock_ask_ns();
}

static inline struct timespec clock_timespec(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

/*
 * The time-out to give ppoll() or epoll_pwait2() at now_ns, for one who waits again until it is
 * until_ns (CLOCK_NEVER: not for this). They come late by 0.1 % of their time-out, in a process
 * that is nice by 0.5 %, and by 100 ms at most, however small the timer slack is (fs/select.c,
 * select_estimate_accuracy()). So a long wait is to end early by more than that; the rest of it is
 * a short one.
 */
static inline struct timespec clock_poll_timeout(uint64_t now_ns, uint64_t until_ns)
{
    uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;

    return clock_timespec(left_ns > NS_PER_MS ? left_ns - left_ns / 128 : left_ns);
}

#endif
