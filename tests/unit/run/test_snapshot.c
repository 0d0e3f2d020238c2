/* A process's own counters: its CPU time in a stretch, and memory that is its own. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "run/snapshot.h"

TestSuite(snapshot, .timeout = 20);

enum { LARGE = 256 << 20 }; /* more than a sanitizer needs for itself */

/* Touches every page, in a way that the compiler cannot leave out. */
static char *large_make(void)
{
    char *large = malloc(LARGE);

    cr_assert_not_null(large);
    for (size_t i = 0; i < LARGE; i += 1024)
        ((volatile char *)large)[i] = 1;
    return large;
}

Test(snapshot, cpu_time_of_a_stretch)
{
    struct snapshot before, after;
    volatile unsigned work = 0;

    snapshot_take(&before);
    while (clock_ns() < before.at_ns + 50 * NS_PER_MS)
        work++;
    snapshot_take(&after);
    Lab__Process *process = snapshot_process(&before, &after);
    cr_assert_gt(process->cpu_ns, 0);
    cr_assert_leq(process->cpu_ns, after.at_ns - before.at_ns + NS_PER_MS);
    cr_assert_str_neq(process->cpus, "");
    cr_assert_gt(process->rss_bytes_max, 1 << 20);
    cr_assert_gt(process->vsize_bytes, process->rss_bytes_max);
    lab__process__free_unpacked(process, NULL);
}

/* The most that it ever had, though it has given it back. */
Test(snapshot, memory_at_most)
{
    struct snapshot now;

    free(large_make());
    snapshot_take(&now);
    Lab__Process *process = snapshot_process(&now, &now);
    cr_assert_gt(process->rss_bytes_max, LARGE);
    lab__process__free_unpacked(process, NULL);
}

Test(snapshot, memory_of_who_started_it_is_not_counted)
{
    char *large = large_make();
    int fds[2];
    unsigned long long bytes = 0;

    cr_assert_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        execl(getenv("FAKE_CHILD"), "fake_child", "memory", (char *)NULL);
        _exit(9);
    }
    close(fds[1]);
    cr_assert_eq(read(fds[0], &bytes, sizeof(bytes)), sizeof(bytes));
    waitpid(pid, NULL, 0);
    free(large);
    cr_assert(bytes > 100000 && bytes < LARGE / 2, "%llu", bytes);
}
