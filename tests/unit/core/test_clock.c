/* The clock: it is CLOCK_MONOTONIC, however it is read, and never goes back. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "core/clock.h"

/* Far more than reckoning may be wrong by, far less than a wrong unit or rate would show. */
#define CLOCK_WRONG_NS (5 * NS_PER_US)

#define THREADS 8

TestSuite(clock, .timeout = 30);

static uint64_t kernel_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Between two readings of the kernel's, whatever the scheduler does in between. */
static void *look_for_a_while(void *unused)
{
    uint64_t end_ns = kernel_ns() + 1200 * NS_PER_MS, last_ns = 0, looks = 0;

    for (uint64_t before_ns = 0; before_ns < end_ns; looks++) {
        before_ns = kernel_ns();
        uint64_t now_ns = clock_ns();
        uint64_t after_ns = kernel_ns();
        cr_assert_geq(now_ns, last_ns, "%llu ns back", (unsigned long long)(last_ns - now_ns));
        cr_assert_geq(now_ns + CLOCK_WRONG_NS, before_ns);
        cr_assert_leq(now_ns, after_ns + CLOCK_WRONG_NS);
        last_ns = now_ns;
    }
    cr_assert_gt(looks, 10);
    return NULL;
}

/* Threads reckon from the same, and lose their CPUs while they ask. */
Test(clock, is_the_kernels)
{
    pthread_t threads[THREADS];

    for (unsigned i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, look_for_a_while, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* A thread that has slept for longer than it may reckon asks again. */
Test(clock, after_a_sleep)
{
    for (unsigned i = 0; i < 40; i++) {
        nanosleep(&(struct timespec){.tv_nsec = (i % 4) * 5 * NS_PER_MS + 1}, NULL);
        uint64_t before_ns = kernel_ns();
        uint64_t now_ns = clock_ns();
        uint64_t after_ns = kernel_ns();
        cr_assert(now_ns + CLOCK_WRONG_NS >= before_ns && now_ns <= after_ns + CLOCK_WRONG_NS);
    }
}

Test(clock, never_backwards)
{
    uint64_t last_ns = 0;

    for (unsigned i = 0; i < 5000000; i++) {
        uint64_t now_ns = clock_ns();
        cr_assert(now_ns >= last_ns, "%llu ns back", (unsigned long long)(last_ns - now_ns));
        last_ns = now_ns;
    }
}

Test(clock, says_how)
{
    cr_assert_gt(strlen(clock_way()), 5);
}

/* Whatever the kernel adds to a long time-out, it is over before the moment that is waited for;
 * and a few waits lead there. */
Test(clock, polls_end_in_time)
{
    static const uint64_t lasts_ns[] = {
        0, 1, 999999, NS_PER_MS, NS_PER_S, 40 * NS_PER_S, 86400 * NS_PER_S};

    for (unsigned i = 0; i < sizeof(lasts_ns) / sizeof(lasts_ns[0]); i++) {
        uint64_t now_ns = 12345, until_ns = now_ns + lasts_ns[i];
        unsigned waits = 0;
        for (; now_ns < until_ns; waits++) {
            struct timespec timeout = clock_poll_timeout(now_ns, until_ns);
            uint64_t asked_ns = (uint64_t)timeout.tv_sec * NS_PER_S + (uint64_t)timeout.tv_nsec;
            uint64_t late_ns = asked_ns / 200;
            cr_assert_gt(asked_ns, 0);
            if (asked_ns > NS_PER_MS)
                cr_assert_leq(now_ns + asked_ns + late_ns, until_ns);
            else
                cr_assert_leq(now_ns + asked_ns, until_ns);
            now_ns += asked_ns;
        }
        cr_assert_leq(waits, 6, "%u waits", waits);
        cr_assert_eq(clock_poll_timeout(now_ns, until_ns).tv_nsec, 0, "it is over");
        cr_assert_eq(clock_poll_timeout(until_ns + 1, until_ns).tv_nsec, 0, "it was over");
    }
}
