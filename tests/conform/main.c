/*
 * usage: conform [--only PATTERN] SPEC...
 *
 * Runs every body over each engine spec and address family, each test in processes of its own,
 * with a time-out. Output is as Criterion's, a line a test and a total; exit 0 if none failed, 1
 * if one did, 77 if the engine cannot run here.
 */
#include <errno.h>
#include <fnmatch.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/conform/conform.h"

/* Generous: a whole test takes some 20 ms, but under a sanitizer and on a loaded host. */
#define TEST_MS_MAX   30000
#define REPORT_BYTES  4096
#define EXIT_SKIPPED  77
#define SKIPPED_NOTES "skipped: "

static int report_fd = -1;

/* --- in a test's processes --- */

void conform_fail(const char *file, int line, const char *format, ...)
{
    char text[1024];
    const char *name = strrchr(file, '/');
    int used = snprintf(text, sizeof(text), "%s:%d: ", name != NULL ? name + 1 : file, line);
    va_list args;

    va_start(args, format);
    vsnprintf(text + used, sizeof(text) - (size_t)used - 1, format, args);
    va_end(args);
    strcat(text, "\n");
    /* If nobody reads it any more, the exit code still tells. */
    if (write(report_fd, text, strlen(text)) < 0)
        _exit(2);
    _exit(1);
}

void conform_skip(const char *reason)
{
    dprintf(report_fd, SKIPPED_NOTES "%s\n", reason);
    exit(EXIT_SKIPPED);
}

static void dump_state(int signal_number)
{
    if (world_of_process != NULL)
        world_dump(world_of_process, report_fd);
}

static bool spec_wraps(const char *spec)
{
    char name[32];

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(spec, ":"), spec);
    const struct engine_ops *ops = engine_find(name);
    return ops != NULL && (ops->flags & ENGINE_WRAPS);
}

static void make_spec_text(const char *spec, const struct body *body, char *out, size_t out_size)
{
    bool more = strchr(spec, ':') != NULL;
    size_t used = (size_t)snprintf(out, out_size, "%s", spec);

    if (body->options != NULL) {
        used +=
            (size_t)snprintf(out + used, out_size - used, "%c%s", more ? ',' : ':', body->options);
        more = true;
    }
    if (body->calm && spec_wraps(spec))
        snprintf(out + used, out_size - used, "%csplit=0,often=0,reorder=0", more ? ',' : ':');
}

static void run_body(const char *spec_text, const struct body *body, enum family family)
{
    static struct world world;
    struct lab_error err = {""};
    struct engine_config config = {.message_size = body->size};

    world.body = body;
    world.family = family;
    make_spec_text(spec_text, body, world.spec_text, sizeof(world.spec_text));
    int r = engine_spec_parse(world.spec_text, &world.spec, &err);
    CHECK(r == 0, "%s: %s", world.spec_text, err.text);
    config.options = world.spec.options;
    r = world.spec.ops->probe(&config, &world.caps, &err);
    CHECK(r == 0, "probe of %s: %s", world.spec_text, err.text);
    if (family == FAMILY_UNIX && !world.caps.unix_sockets)
        conform_skip("the engine has no UNIX sockets");
    if (body->skip != NULL) {
        const char *why = body->skip(&world);
        if (why != NULL)
            conform_skip(why);
    }
    signal(SIGPIPE, SIG_DFL); /* an engine must not raise it */
    signal(SIGUSR1, dump_state);
    world_run(&world);
    engine_spec_free(&world.spec);
}

/* --- the runner --- */

struct totals {
    unsigned passed, failed, skipped;
};

struct report {
    char text[REPORT_BYTES];
    size_t size;
};

/* Until the processes of the test have closed the pipe. False: time is up. */
static bool report_read(int fd, struct report *report, int timeout_ms)
{
    uint64_t end_ns = clock_ns() + (uint64_t)timeout_ms * NS_PER_MS;

    for (;;) {
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};
        uint64_t now_ns = clock_ns();
        if (now_ns >= end_ns)
            return false;
        if (poll(&pollfd, 1, (int)((end_ns - now_ns) / NS_PER_MS) + 1) <= 0)
            continue;
        ssize_t n = read(fd, report->text + report->size, sizeof(report->text) - 1 - report->size);
        if (n <= 0 || report->size + (size_t)n == sizeof(report->text) - 1)
            return true;
        report->size += (size_t)n;
        report->text[report->size] = '\0';
        /* The first that fails says it; the others would only wait for it. */
        if (strncmp(report->text, SKIPPED_NOTES, strlen(SKIPPED_NOTES)) != 0)
            return true;
    }
}

static void tell_failure(const char *spec, const char *name, const char *report)
{
    printf("[FAIL] %s/%s\n", spec, name);
    for (const char *line = report; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        printf("       %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

static void run_test(const char *spec, const struct body *body, enum family family,
                     const char *name, struct totals *totals)
{
    struct report report = {.size = 0};
    uint64_t began_ns = clock_ns();
    int fds[2], status = 0;

    fflush(stdout);
    if (pipe(fds) < 0) {
        perror("conform: pipe");
        exit(4);
    }
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(fds[0]);
        report_fd = fds[1];
        run_body(spec, body, family);
        exit(0);
    }
    setpgid(child, child);
    close(fds[1]);
    if (!report_read(fds[0], &report, TEST_MS_MAX)) {
        report.size += (size_t)snprintf(report.text, sizeof(report.text),
                                        "not finished after %d s\n", TEST_MS_MAX / 1000);
        kill(-child, SIGUSR1);
        struct pollfd pollfd = {.fd = fds[0], .events = POLLIN};
        while (poll(&pollfd, 1, 500) > 0) {
            ssize_t n =
                read(fds[0], report.text + report.size, sizeof(report.text) - 1 - report.size);
            if (n <= 0)
                break;
            report.size += (size_t)n;
        }
        report.text[report.size] = '\0';
        kill(-child, SIGKILL);
    } else if (report.size > 0 && strncmp(report.text, SKIPPED_NOTES, strlen(SKIPPED_NOTES)) != 0) {
        kill(-child, SIGKILL);
    }
    waitpid(child, &status, 0);
    close(fds[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && report.size == 0) {
        totals->passed++;
        printf("[PASS] %s/%s: (%.2fs)\n", spec, name, (double)(clock_ns() - began_ns) / NS_PER_S);
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED) {
        totals->skipped++;
        report.text[strcspn(report.text, "\n")] = '\0';
        printf("[SKIP] %s/%s: %s\n", spec, name, report.text + strlen(SKIPPED_NOTES));
    } else {
        totals->failed++;
        if (report.size == 0)
            snprintf(report.text, sizeof(report.text), "ended by %s %d",
                     WIFSIGNALED(status) ? "signal" : "exit code",
                     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        tell_failure(spec, name, report.text);
    }
}

static void run_families(const char *spec, const struct body *body, const char *only,
                         struct totals *totals)
{
    static const struct {
        enum family family;
        const char *name;
    } families[] = {{FAMILY_TCP4, "tcp4"}, {FAMILY_TCP6, "tcp6"}, {FAMILY_UNIX, "unix"}};
    unsigned wanted = body->families != 0 ? body->families : FAMILY_TCP4;

    for (unsigned f = 0; f < 3; f++) {
        char name[100];
        if ((wanted & families[f].family) == 0)
            continue;
        snprintf(name, sizeof(name), "%s-%s", body->name, families[f].name);
        if (only == NULL || fnmatch(only, name, FNM_EXTMATCH) == 0)
            run_test(spec, body, families[f].family, name, totals);
    }
}

static void run_spec(const char *spec, const char *only, struct totals *totals)
{
    static const struct body *const lists[] = {
        bodies_instance, bodies_echo, bodies_flow, bodies_close, bodies_fault, NULL,
    };

    for (unsigned i = 0; lists[i] != NULL; i++) {
        if (lists[i] == bodies_fault && !spec_wraps(spec))
            continue;
        for (const struct body *body = lists[i]; body->name != NULL; body++)
            run_families(spec, body, only, totals);
    }
}

/* Whether the engine was built in and can run here; if not, says why. */
static bool spec_can_run(const char *text, struct totals *totals)
{
    struct lab_error err = {""};
    struct engine_spec spec = {0};
    struct engine_caps caps;
    int r = engine_spec_parse(text, &spec, &err);

    if (r == 0) {
        struct engine_config config = {.options = spec.options};
        r = spec.ops->probe(&config, &caps, &err);
        engine_spec_free(&spec);
    }
    if (r == 0)
        return true;
    if (r == -EINVAL) {
        totals->failed++;
        tell_failure(text, "spec", err.text);
        return false;
    }
    totals->skipped++;
    printf("[SKIP] %s/all: %s\n", text, err.text);
    return false;
}

int main(int argc, char **argv)
{
    struct totals totals = {0};
    const char *only = NULL;
    int first = 1;

    if (argc > 3 && strcmp(argv[1], "--only") == 0) {
        only = argv[2];
        first = 3;
    }
    if (first >= argc) {
        fprintf(stderr, "usage: conform [--only PATTERN] SPEC...\n");
        return 2;
    }
    pattern_open();
    for (int i = first; i < argc; i++)
        if (spec_can_run(argv[i], &totals))
            run_spec(argv[i], only, &totals);
    printf("[====] Synthesis: Tested: %u | Passing: %u | Failing: %u | Crashing: 0\n",
           totals.passed + totals.failed, totals.passed, totals.failed);
    if (totals.failed > 0)
        return 1;
    return totals.passed > 0 ? 0 : EXIT_SKIPPED;
}
