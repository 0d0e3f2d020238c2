/*
 * Sleeping without any descriptor, for engines that have nothing to wait for but a deadline and
 * a wake(): a futex, whose absolute time-out is CLOCK_MONOTONIC with nanoseconds. An eventfd in
 * a ppoll() would do the same with twice the system calls and a descriptor.
 */
#ifndef LAB_ENGINES_PARK_H
#define LAB_ENGINES_PARK_H

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/clock.h"

enum park_state { PARK_AWAKE, PARK_ASLEEP, PARK_WOKEN };

/* All zero is a good start. One thread waits, any may wake; wakes are sticky and coalesce. */
struct park {
    _Atomic uint32_t state;
};

/* Whether it was woken since it was last asked; never sleeps. */
static inline bool park_take(struct park *park)
{
    if (atomic_load_explicit(&park->state, memory_order_relaxed) != PARK_WOKEN)
        return false;
    return atomic_exchange(&park->state, PARK_AWAKE) == PARK_WOKEN;
}

/* Sleeps until woken (true) or until deadline_ns (CLOCK_NEVER: for as long as it takes). */
static inline bool park_wait(struct park *park, uint64_t deadline_ns)
{
    struct timespec deadline = clock_timespec(deadline_ns);
    uint32_t expected = PARK_AWAKE;

    atomic_compare_exchange_strong(&park->state, &expected, PARK_ASLEEP);
    while (atomic_load(&park->state) == PARK_ASLEEP) {
        long r =
            syscall(SYS_futex, &park->state, FUTEX_WAIT_BITSET_PRIVATE, PARK_ASLEEP,
                    deadline_ns == CLOCK_NEVER ? NULL : &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
        if (r < 0 && errno == ETIMEDOUT)
            break;
    }
    return atomic_exchange(&park->state, PARK_AWAKE) == PARK_WOKEN;
}

static inline void park_wake(struct park *park)
{
    if (atomic_exchange(&park->state, PARK_WOKEN) == PARK_ASLEEP)
        syscall(SYS_futex, &park->state, FUTEX_WAKE_PRIVATE, 1);
}

#endif
