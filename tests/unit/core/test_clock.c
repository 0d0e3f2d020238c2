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
