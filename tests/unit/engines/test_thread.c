/* Threads of instances: their stacks. */
#include <criterion/criterion.h>

#include "engines/thread.h"

TestSuite(thread, .timeout = 20);

static void *own_stack_bytes(void *bytes)
{
    pthread_attr_t attributes;
    void *start;

    cr_assert_eq(pthread_getattr_np(pthread_self(), &attributes), 0);
    cr_assert_eq(pthread_attr_getstack(&attributes, &start, bytes), 0);
    pthread_attr_destroy(&attributes);
    return NULL;
}

static size_t stack_bytes_of(bool small)
{
    pthread_t thread;
    size_t bytes = 0;

    cr_assert_eq(thread_start(&thread, own_stack_bytes, &bytes, small), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    return bytes;
}

Test(thread, one_of_many_has_a_small_stack)
{
    cr_assert_eq(stack_bytes_of(true), THREAD_SMALL_STACK_BYTES);
}

Test(thread, one_of_few_has_the_systems)
{
    pthread_attr_t attributes;
    size_t bytes;

    cr_assert_eq(pthread_attr_init(&attributes), 0);
    cr_assert_eq(pthread_attr_getstacksize(&attributes, &bytes), 0);
    cr_assert_eq(stack_bytes_of(false), bytes);
}
