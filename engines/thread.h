/* Threads of instances, of which there may be one a connection. */
#ifndef LAB_ENGINES_THREAD_H
#define LAB_ENGINES_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* As pthread_create(), whose errors (positive) it returns. small: it is one of many that take
 * turns, and needs no more than THREAD_SMALL_STACK_BYTES: their stacks then lie close together, and
 * finding their pages anew at each turn costs less (echo with 128 threads a side: 1.02). */
#define THREAD_SMALL_STACK_BYTES (256u << 10)
int thread_start(pthread_t *thread, void *(*run)(void *), void *context, bool small);

#endif
