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
    size_t place; /* in the heap, from 1; 0 = not set */
    uint64_t at_ns;
    void (*fire)(struct timer *timer, uint64_t now_ns);
    struct timer *next, *previous; /* while it is due and timers_run has not come to it yet */
};

struct timers {
    /* The one field that is looked at all the time: the complement of timers_next_ns(), so that 0
     * is CLOCK_NEVER's. */
    uint64_t next_complement;
    struct timer **heap;
    size_t count, room;
    struct timer *due; /* inside timers_run: taken out of the heap, to be fired */
};

/* All zero is a good start, of both structs. */
int timers_reserve(struct timers *timers, size_t count); /* -ENOMEM */
void timers_free(struct timers *timers);                 /* its timers are not set any more */
/* Sets or moves. -ENOMEM only beyond what was reserved. */
int timer_set(struct timers *timers, struct timer *timer, uint64_t at_ns);
void timer_cancel(struct timers *timers, struct timer *timer); /* fine if not set */
static inline bool timer_is_set(const struct timer *timer)
{
    return timer->place != 0;
}
/* The earliest, or CLOCK_NEVER. */
static inline uint64_t timers_next_ns(const struct timers *timers)
{
    return ~timers->next_complement;
}
/* Fires all that are due, earliest first; those that a callback sets for the past fire in the
 * next call, not in this one, so that it ends. Callbacks may set, move, cancel and free any timer
 * (their own too), but not call timers_run. Returns how many fired. */
size_t timers_run(struct timers *timers, uint64_t now_ns);

#endif
