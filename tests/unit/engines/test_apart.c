/* An instance that keeps its descriptors apart from those of the process's other threads. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "core/clock.h"
#include "engines/engine.h"

TestSuite(apart, .timeout = 30);

struct side {
    bool apart;
    pthread_barrier_t steps;
    _Atomic(struct engine *) engine;
    int polled;
};

static unsigned count_files(void)
{
    DIR *folder = opendir("/proc/self/fd"); /* the first thread's table */
    unsigned count = 0;

    cr_assert_not_null(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static void *run(void *context)
{
    struct side *side = context;
    struct engine_spec spec;
    struct addr address;
    struct lab_error err;
    struct engine *engine;
    static const struct engine_events events = {0};

    cr_assert_eq(engine_spec_parse("epoll", &spec, &err), 0);
    const struct engine_config config = {.options = spec.options, .apart = side->apart};
    cr_assert_eq(spec.ops->open(&engine, &config, &events, &err), 0, "%s", err.text);
    side->engine = engine;
    pthread_barrier_wait(&side->steps);
    pthread_barrier_wait(&side->steps);
    cr_assert_eq(addr_parse("127.0.0.1:0", 0, "", &address, &err), 0);
    cr_assert_eq(spec.ops->listen(engine, &address, NULL, NULL, &err), 0, "%s", err.text);
    pthread_barrier_wait(&side->steps);
    pthread_barrier_wait(&side->steps);
    side->polled = spec.ops->poll(engine, clock_ns() + 20 * NS_PER_S);
    spec.ops->close(engine);
    engine_spec_free(&spec);
    return NULL;
}

static void *try_apart(void *refused)
{
    *(bool *)refused = unshare(CLONE_FILES) < 0;
    return NULL;
}

/* As some sandboxes do. */
static bool is_refused(void)
{
    pthread_t thread;
    bool refused = true;

    cr_assert_eq(pthread_create(&thread, NULL, try_apart, &refused), 0);
    pthread_join(thread, NULL);
    return refused;
}

/* How many more descriptors the first thread has once the other one listens. */
static unsigned seen_of_listener(bool apart)
{
    struct side side = {.apart = apart};
    pthread_t thread;

    cr_assert_eq(pthread_barrier_init(&side.steps, NULL, 2), 0);
    cr_assert_eq(pthread_create(&thread, NULL, run, &side), 0);
    pthread_barrier_wait(&side.steps);
    unsigned before = count_files();
    pthread_barrier_wait(&side.steps);
    pthread_barrier_wait(&side.steps);
    unsigned after = count_files();
    pthread_barrier_wait(&side.steps);
    /* What wakes it is known to both. */
    uint64_t begun_ns = clock_ns();
    struct engine *engine = side.engine;
    engine->ops->wake(engine);
    pthread_join(thread, NULL);
    cr_assert_lt(clock_ns() - begun_ns, 10 * NS_PER_S, "it was not woken");
    cr_assert_eq(side.polled, 0);
    pthread_barrier_destroy(&side.steps);
    return after - before;
}

Test(apart, is_seen_by_nobody_else_and_woken_all_the_same)
{
    if (is_refused())
        cr_skip_test("unshare(CLONE_FILES) is refused here");
    cr_assert_eq(seen_of_listener(true), 0);
}

Test(apart, or_not)
{
    cr_assert_eq(seen_of_listener(false), 1);
}
