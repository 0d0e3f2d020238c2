/*
 * The one clock: CLOCK_MONOTONIC, because eBPF's bpf_ktime_get_ns() is the same clock, so that
 * stamps taken in the kernel and here can be joined.
 */
#ifndef LAB_CORE_CLOCK_H
#define LAB_CORE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

/* "No deadline": wait for as long as it takes. */
#define CLOCK_NEVER UINT64_MAX

static inline uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static inline struct timespec clock_timespec(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

#endif
