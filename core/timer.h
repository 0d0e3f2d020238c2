/*
 * Timers of one worker: an intrusive binary heap. Nothing is allocated when a timer is set once
 * the heap has grown; who re-arms often lets the timer fire and looks then (lazily).
 */
#ifndef LAB_CORE_TIMER_H
#define LAB_CORE_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    uint64_t at_ns;
    size_t place; /* in the heap, from 1; 0 = not set */
    void (*fire)(struct timer *timer, uint64_t now_ns);
};

struct timers {
    struct timer **heap;
    size_t count, room;
};

int timers_reserve(struct timers *timers, size_t count); /* -ENOMEM */
void timers_free(struct timers *timers);
/* Sets or moves. -ENOMEM only beyond what was reserved. */
int timer_set(struct timers *timers, struct timer *timer, uint64_t at_ns);
void timer_cancel(struct timers *timers, struct timer *timer); /* fine if not set */
static inline bool timer_is_set(const struct timer *timer)
{
    return timer->place != 0;
}
/* The earliest, or CLOCK_NEVER. */
uint64_t timers_next_ns(const struct timers *timers);
/* Fires all that are due, earliest first; those that a callback sets for the past fire in the
 * next call, not in this one, so that it ends. Returns how many. */
size_t timers_run(struct timers *timers, uint64_t now_ns);

#endif
