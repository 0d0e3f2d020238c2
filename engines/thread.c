/* See thread.h. */
#include "engines/thread.h"

int thread_start(pthread_t *thread, void *(*run)(void *), void *context, bool small)
{
    pthread_attr_t attributes;
    int r = pthread_attr_init(&attributes);

    if (r != 0)
        return r;
    if (small)
        r = pthread_attr_setstacksize(&attributes, THREAD_SMALL_STACK_BYTES);
    if (r == 0)
        r = pthread_create(thread, &attributes, run, context);
    pthread_attr_destroy(&attributes);
    return r;
}
