/*
 * See timer.h. A binary heap and not a wheel: a worker has tens of thousands of timers at most,
 * sets few of them per op, and deadlines are wanted to the nanosecond.
 */
#include "core/timer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/clock.h"

#define ROOM_FIRST 16u
/* Place of a timer that timers_run has taken out of the heap and not fired yet. */
#define PLACE_DUE SIZE_MAX

int timers_reserve(struct timers *timers, size_t count)
{
    struct timer **heap;

    if (count <= timers->room)
        return 0;
    if (count > SIZE_MAX / sizeof(struct timer *))
        return -ENOMEM;
    heap = realloc(timers->heap, count * sizeof(struct timer *));
    if (heap == NULL)
        return -ENOMEM;
    timers->heap = heap;
    timers->room = count;
    return 0;
}

void timers_free(struct timers *timers)
{
    for (size_t i = 0; i < timers->count; i++)
        timers->heap[i]->place = 0;
    free(timers->heap);
    *timers = (struct timers){0};
}

/* After each change, so that who only asks when the next one is need not follow it into the heap.
 */
static void note_next(struct timers *timers)
{
    const struct timer *next = timers->due;

    if (next == NULL && timers->count > 0)
        next = timers->heap[0];
    timers->next_complement = next != NULL ? ~next->at_ns : 0;
}

static void heap_put(struct timers *timers, size_t place, struct timer *timer)
{
    timers->heap[place - 1] = timer;
    timer->place = place;
}

static void heap_rise(struct timers *timers, size_t place, struct timer *timer)
{
    while (place > 1 && timers->heap[place / 2 - 1]->at_ns > timer->at_ns) {
        heap_put(timers, place, timers->heap[place / 2 - 1]);
        place /= 2;
    }
    heap_put(timers, place, timer);
}

static void heap_sink(struct timers *timers, size_t place, struct timer *timer)
{
    while (place * 2 <= timers->count) {
        size_t child = place * 2;

        if (child < timers->count && timers->heap[child]->at_ns < timers->heap[child - 1]->at_ns)
            child++;
        if (timers->heap[child - 1]->at_ns >= timer->at_ns)
            break;
        heap_put(timers, place, timers->heap[child - 1]);
        place = child;
    }
    heap_put(timers, place, timer);
}

static void heap_move(struct timers *timers, size_t place, struct timer *timer)
{
    if (place > 1 && timers->heap[place / 2 - 1]->at_ns > timer->at_ns)
        heap_rise(timers, place, timer);
    else
        heap_sink(timers, place, timer);
}

static void heap_remove(struct timers *timers, struct timer *timer)
{
    size_t place = timer->place;
    struct timer *last = timers->heap[--timers->count];

    timer->place = 0;
    if (last != timer)
        heap_move(timers, place, last);
}

static void due_remove(struct timers *timers, struct timer *timer)
{
    if (timer->previous != NULL)
        timer->previous->next = timer->next;
    else
        timers->due = timer->next;
    if (timer->next != NULL)
        timer->next->previous = timer->previous;
    timer->place = 0;
}

int timer_set(struct timers *timers, struct timer *timer, uint64_t at_ns)
{
    if (timer->place != 0 && timer->place != PLACE_DUE) {
        timer->at_ns = at_ns;
        heap_move(timers, timer->place, timer);
        note_next(timers);
        return 0;
    }
    if (timers->count == timers->room) {
        size_t room = timers->room > 0 ? timers->room * 2 : ROOM_FIRST;

        if (timers_reserve(timers, room) < 0)
            return -ENOMEM;
    }
    if (timer->place == PLACE_DUE)
        due_remove(timers, timer);
    timer->at_ns = at_ns;
    timers->count++;
    heap_rise(timers, timers->count, timer);
    note_next(timers);
    return 0;
}

void timer_cancel(struct timers *timers, struct timer *timer)
{
    if (timer->place == 0)
        return;
    if (timer->place == PLACE_DUE)
        due_remove(timers, timer);
    else
        heap_remove(timers, timer);
    note_next(timers);
}

/* The due ones are taken out first: what a callback sets goes to the heap and is not looked at
 * again in this call, and a callback may still cancel or move those that are to come. */
size_t timers_run(struct timers *timers, uint64_t now_ns)
{
    struct timer *last = NULL;
    size_t fired = 0;

    assert(timers->due == NULL); /* not from within a callback */
    while (timers->count > 0 && timers->heap[0]->at_ns <= now_ns) {
        struct timer *timer = timers->heap[0];

        heap_remove(timers, timer);
        timer->place = PLACE_DUE;
        timer->previous = last;
        timer->next = NULL;
        if (last != NULL)
            last->next = timer;
        else
            timers->due = timer;
        last = timer;
    }
    while (timers->due != NULL) {
        struct timer *timer = timers->due;

        due_remove(timers, timer);
        note_next(timers);
        timer->fire(timer, now_ns);
        fired++;
    }
    return fired;
}
