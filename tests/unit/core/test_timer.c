/* Timers: order, moving, cancelling, and what callbacks may do to others. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stddef.h>

#include "core/clock.h"
#include "core/rng.h"
#include "core/timer.h"

#define TIMERS_COUNT 500u

TestSuite(timer, .timeout = 20);

struct alarm {
    struct timer timer; /* first */
    struct timers *timers;
    struct timer *victim;  /* cancelled or moved when this one fires */
    uint64_t victim_at_ns; /* 0: cancel */
    uint64_t again_at_ns;  /* CLOCK_NEVER: not */
    unsigned fired;
    uint64_t fired_ns;
};

static uint64_t last_at_ns;

static void alarm_fire(struct timer *timer, uint64_t now_ns)
{
    struct alarm *alarm = (struct alarm *)timer;

    cr_assert_not(timer_is_set(timer));
    alarm->fired++;
    alarm->fired_ns = now_ns;
    cr_assert_geq(timer->at_ns, last_at_ns, "out of order");
    last_at_ns = timer->at_ns;
    if (alarm->victim != NULL && alarm->victim_at_ns != 0)
        timer_set(alarm->timers, alarm->victim, alarm->victim_at_ns);
    else if (alarm->victim != NULL)
        timer_cancel(alarm->timers, alarm->victim);
    if (alarm->again_at_ns != CLOCK_NEVER)
        timer_set(alarm->timers, timer, alarm->again_at_ns);
}

static struct alarm alarm_make(struct timers *timers)
{
    return (struct alarm){.timer.fire = alarm_fire, .timers = timers, .again_at_ns = CLOCK_NEVER};
}

Test(timer, empty)
{
    struct timers timers = {0};
    struct timer timer = {.fire = NULL};

    cr_assert_eq(timers_next_ns(&timers), CLOCK_NEVER);
    cr_assert_eq(timers_run(&timers, CLOCK_NEVER), 0);
    timer_cancel(&timers, &timer);
    cr_assert_not(timer_is_set(&timer));
    timers_free(&timers);
}

Test(timer, due_at_its_time_and_not_before)
{
    struct timers timers = {0};
    struct alarm alarm = alarm_make(&timers);

    cr_assert_eq(timer_set(&timers, &alarm.timer, 100), 0);
    cr_assert(timer_is_set(&alarm.timer));
    cr_assert_eq(timers_next_ns(&timers), 100);
    cr_assert_eq(timers_run(&timers, 99), 0);
    cr_assert_eq(timers_run(&timers, 100), 1);
    cr_assert_eq(alarm.fired, 1);
    cr_assert_eq(alarm.fired_ns, 100);
    cr_assert_eq(timers_next_ns(&timers), CLOCK_NEVER);
    timers_free(&timers);
}

/* Random sets, moves and cancels against a plain array. */
Test(timer, agrees_with_a_plain_list)
{
    struct timers timers = {0};
    static struct alarm alarms[TIMERS_COUNT];
    static uint64_t model[TIMERS_COUNT]; /* 0: not set */
    struct rng rng;
    uint64_t now = 1;

    rng_seed(&rng, 4);
    for (unsigned i = 0; i < TIMERS_COUNT; i++)
        alarms[i] = alarm_make(&timers);
    for (unsigned step = 0; step < 50000; step++) {
        unsigned i = (unsigned)rng_below(&rng, TIMERS_COUNT);
        uint64_t next = CLOCK_NEVER;

        switch (rng_below(&rng, 4)) {
        case 0:
            timer_cancel(&timers, &alarms[i].timer);
            model[i] = 0;
            break;
        case 1:
            now += rng_below(&rng, 50);
            last_at_ns = 0;
            timers_run(&timers, now);
            for (unsigned j = 0; j < TIMERS_COUNT; j++) {
                bool due = model[j] != 0 && model[j] <= now;

                cr_assert_eq(alarms[j].fired, due);
                alarms[j].fired = 0;
                model[j] = due ? 0 : model[j];
            }
            break;
        default:
            model[i] = now + rng_below(&rng, 2000);
            cr_assert_eq(timer_set(&timers, &alarms[i].timer, model[i]), 0);
        }
        for (unsigned j = 0; j < TIMERS_COUNT; j++) {
            cr_assert_eq(timer_is_set(&alarms[j].timer), model[j] != 0);
            next = model[j] != 0 && model[j] < next ? model[j] : next;
        }
        cr_assert_eq(timers_next_ns(&timers), next);
    }
    timers_free(&timers);
}

Test(timer, set_for_the_past_fires_in_the_next_run)
{
    struct timers timers = {0};
    struct alarm again = alarm_make(&timers), other = alarm_make(&timers);

    again.again_at_ns = 5;
    timer_set(&timers, &again.timer, 5);
    timer_set(&timers, &other.timer, 6);
    cr_assert_eq(timers_run(&timers, 10), 2);
    cr_assert_eq(again.fired, 1);
    cr_assert_eq(other.fired, 1, "one that re-arms must not starve the others");
    last_at_ns = 0;
    cr_assert_eq(timers_next_ns(&timers), 5);
    cr_assert_eq(timers_run(&timers, 10), 1);
    cr_assert_eq(again.fired, 2);
    timers_free(&timers);
}

Test(timer, callback_cancels_one_that_is_due)
{
    struct timers timers = {0};
    struct alarm first = alarm_make(&timers), second = alarm_make(&timers),
                 third = alarm_make(&timers);

    first.victim = &second.timer;
    timer_set(&timers, &first.timer, 1);
    timer_set(&timers, &second.timer, 2);
    timer_set(&timers, &third.timer, 3);
    cr_assert_eq(timers_run(&timers, 10), 2);
    cr_assert_eq(second.fired, 0);
    cr_assert_not(timer_is_set(&second.timer));
    cr_assert_eq(third.fired, 1);
    timers_free(&timers);
}

Test(timer, callback_moves_one_that_is_due)
{
    struct timers timers = {0};
    struct alarm first = alarm_make(&timers), second = alarm_make(&timers);

    first.victim = &second.timer;
    first.victim_at_ns = 20;
    timer_set(&timers, &first.timer, 1);
    timer_set(&timers, &second.timer, 2);
    cr_assert_eq(timers_run(&timers, 10), 1);
    cr_assert_eq(second.fired, 0);
    cr_assert_eq(timers_next_ns(&timers), 20);
    cr_assert_eq(timers_run(&timers, 20), 1);
    cr_assert_eq(second.fired, 1);
    timers_free(&timers);
}

Test(timer, nothing_is_allocated_within_what_was_reserved)
{
    struct timers timers = {0};
    static struct alarm alarms[TIMERS_COUNT];
    struct timer **heap;

    cr_assert_eq(timers_reserve(&timers, TIMERS_COUNT), 0);
    heap = timers.heap;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < TIMERS_COUNT; i++) {
            alarms[i] = alarm_make(&timers);
            cr_assert_eq(timer_set(&timers, &alarms[i].timer, i), 0);
        }
        last_at_ns = 0;
        cr_assert_eq(timers_run(&timers, TIMERS_COUNT), TIMERS_COUNT);
    }
    cr_assert_eq(timers.heap, heap);
    cr_assert_eq(timers.room, TIMERS_COUNT);
    timers_free(&timers);
}

Test(timer, freeing_unsets)
{
    struct timers timers = {0};
    struct alarm alarm = alarm_make(&timers);

    cr_assert_eq(timers_reserve(&timers, SIZE_MAX / 2), -ENOMEM);
    timer_set(&timers, &alarm.timer, 5);
    timers_free(&timers);
    cr_assert_not(timer_is_set(&alarm.timer));
    cr_assert_eq(timers_next_ns(&timers), CLOCK_NEVER);
    cr_assert_eq(timer_set(&timers, &alarm.timer, 7), 0);
    cr_assert_eq(timers_next_ns(&timers), 7);
    timers_free(&timers);
}
