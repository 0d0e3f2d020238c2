/* The controller with children that are none of lab's: what each does wrong costs its trial, is
 * told in a sentence, and leaves no process behind. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/text.h"
#include "run/run.h"

TestSuite(trial, .timeout = 60);

static struct run_result run;
static struct lab_error err;

static void setup(void)
{
    memset(&run, 0, sizeof(run));
    run.cases = calloc(4, sizeof(*run.cases));
    run.settings.lab_path = strdup(getenv("FAKE_CHILD"));
    run.settings.rounds = 2;
    run.settings.timeout_ns = NS_PER_S;
    run.settings.seed = 1;
}

/* No child of this process, dead or alive. */
static bool nobody_left(void)
{
    char path[64], pids[256] = "";

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return true; /* the kernel does not tell */
    size_t size = fread(pids, 1, sizeof(pids) - 1, file);
    fclose(file);
    return size == 0;
}

static unsigned open_fds(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");

    while (folder != NULL && readdir(folder) != NULL)
        count++;
    if (folder != NULL)
        closedir(folder);
    return count;
}

static void teardown(void)
{
    cr_assert(nobody_left());
    run_result_free(&run);
}

static struct run_case *add_case(const char *how)
{
    struct run_case *c = &run.cases[run.cases_count++];

    c->workload = strdup(how);
    c->client_spec = strdup("epoll");
    c->server_spec = strdup("epoll");
    c->link = strdup("lo");
    c->listen = strdup("127.0.0.1:0");
    c->client_processes = c->server_processes = 1;
    c->duration_ns = 20 * NS_PER_MS;
    c->warmup_ns = 5 * NS_PER_MS;
    c->vs_reference = NAN;
    return c;
}

static int execute(const struct run_observer *observer)
{
    unsigned before = open_fds();
    int r = run_execute(&run, observer, &err);

    cr_assert_eq(open_fds(), before, "file descriptors are left open");
    return r;
}

/* A run of this one case: each of its trials fails, for this reason. */
static void expect_failure(const char *how, unsigned trials, enum run_status status,
                           const char *reason)
{
    struct run_case *c = add_case(how);

    cr_assert_eq(execute(NULL), 0);
    cr_assert(run.complete);
    cr_assert_eq(c->trials_count, trials, "%s: %zu trials", how, c->trials_count);
    cr_assert_eq(c->status, status, "%s", run_status_name(c->status));
    for (size_t i = 0; i < c->trials_count; i++) {
        cr_assert(c->trials[i].failed);
        cr_assert_not_null(strstr(c->trials[i].reason, reason), "%s: %s", how, c->trials[i].reason);
        cr_assert(text_is_clean(c->trials[i].reason), "%s", c->trials[i].reason);
    }
    cr_assert_not_null(strstr(c->reason, reason), "%s", c->reason);
}

Test(trial, a_good_one, .init = setup, .fini = teardown)
{
    struct run_case *c = add_case("good");

    cr_assert_eq(execute(NULL), 0, "%s", err.text);
    cr_assert(run.complete);
    cr_assert_eq(c->status, RUN_RAN);
    cr_assert_eq(c->trials_count, 2);
    for (unsigned i = 0; i < 2; i++) {
        const struct run_trial *trial = &c->trials[i];
        cr_assert(!trial->failed, "%s", trial->reason);
        cr_assert_eq(trial->seq, i);
        cr_assert_eq(trial->round, i);
        cr_assert_eq(trial->ops, 1000);
        cr_assert_float_eq(trial->duration_s, 0.02, 1e-9);
        cr_assert_float_eq(trial->ops_per_s, 50000, 1e-6);
        cr_assert_eq(trial->errors, 1);
        cr_assert_str_eq(trial->errors_by_kind.items[0].name, "timeout");
        cr_assert_eq(trial->latency->total, 1000);
        cr_assert_eq(trial->slices_count, 1);
        cr_assert(trial->clients_count == 1 && trial->servers_count == 1);
        cr_assert_geq(trial->clients[0].record->t0_ns, 1);
        cr_assert_gt(trial->clients[0].record->t1_ns, trial->clients[0].record->t0_ns);
        cr_assert_eq(trial->clients[0].clock_offset_ns, 0);
    }
}

Test(trial, one_that_a_count_of_ops_ends, .init = setup, .fini = teardown)
{
    struct run_case *c = add_case("good");

    c->asked_ops = 1000;
    cr_assert_eq(execute(NULL), 0, "%s", err.text);
    cr_assert(!c->trials[0].failed, "%s", c->trials[0].reason);
    cr_assert_float_eq(c->trials[0].duration_s, 0.002, 1e-9, "as long as the client says");
}

Test(trial, a_side_that_dies_before_it_is_ready, .init = setup, .fini = teardown)
{
    expect_failure(
        "server-dies-early", 2, RUN_FAILED,
        "ended with exit code 3 before it was ready; last words: cannot go on: no more paper");
}

Test(trial, a_client_that_dies_before_it_is_ready, .init = setup, .fini = teardown)
{
    expect_failure("client-dies-early", 2, RUN_FAILED, "the client process (0, pid ");
}

Test(trial, a_server_that_dies_while_clients_start, .init = setup, .fini = teardown)
{
    expect_failure("server-dies-once-ready", 2, RUN_FAILED,
                   "was ended by signal 14 (Alarm clock) while others started");
}

Test(trial, a_server_that_dies_in_the_window, .init = setup, .fini = teardown)
{
    expect_failure("server-dies-in-window", 2, RUN_FAILED, "was ended by signal 9");
}

Test(trial, a_client_that_dies_in_the_window, .init = setup, .fini = teardown)
{
    expect_failure("client-dies-in-window", 2, RUN_FAILED, "was ended by signal 9");
}

/* Wide enough for a busy machine; of the few moments before the window there is an `or`. */
static void expect_death(const char *how, const char *when, const char * or)
{
    struct run_case *c = add_case(how);

    run.settings.rounds = 1;
    c->warmup_ns = c->duration_ns = 300 * NS_PER_MS;
    cr_assert_eq(execute(NULL), 0);
    cr_assert(c->trials_count == 1 && c->trials[0].failed);
    const char *reason = strstr(c->trials[0].reason, "was ended by signal 9 (Killed) ");
    cr_assert_not_null(reason, "%s: %s", how, c->trials[0].reason);
    cr_assert(strstr(reason, when) != NULL || strstr(reason, or) != NULL, "%s", reason);
}

Test(trial, when_a_side_died_is_told, .init = setup, .fini = teardown)
{
    expect_death("client-dies-before-window", "before the window", "in the warm-up");
    expect_death("server-dies-in-warmup", "in the warm-up", "in the warm-up");
    expect_death("client-dies-in-window", "in the window", "in the window");
}

Test(trial, a_client_that_dies_before_its_count_is_reached, .init = setup, .fini = teardown)
{
    struct run_case *c = add_case("client-dies-in-window");

    c->asked_ops = 1000;
    cr_assert_eq(execute(NULL), 0);
    cr_assert_not_null(strstr(c->trials[0].reason, "signal 9"), "%s", c->trials[0].reason);
}

Test(trial, a_side_that_dies_instead_of_its_record, .init = setup, .fini = teardown)
{
    expect_failure("client-dies-late", 2, RUN_FAILED, "ended with exit code 5");
}

/* A login script that prints, a wrapper that is no wrapper. */
Test(trial, a_side_that_speaks_something_else, .init = setup, .fini = teardown)
{
    expect_failure("server-banner", 2, RUN_FAILED, "no message of lab before it was ready");
}

Test(trial, another_build_of_lab, .init = setup, .fini = teardown)
{
    expect_failure("client-old", 2, RUN_FAILED, "run the same build on both sides");
}

/* Its address goes into a command line and onto the screen. */
Test(trial, an_address_that_would_drive_a_terminal, .init = setup, .fini = teardown)
{
    expect_failure("server-odd-address", 2, RUN_FAILED, "no message of lab");
}

Test(trial, a_record_that_contradicts_itself, .init = setup, .fini = teardown)
{
    expect_failure("client-bad-record", 2, RUN_FAILED, "histogram latency_ns");
}

Test(trial, a_record_of_no_version, .init = setup, .fini = teardown)
{
    expect_failure("server-empty-record", 2, RUN_FAILED, "version 0");
}

Test(trial, a_failure_that_may_pass, .init = setup, .fini = teardown)
{
    expect_failure("client-breaks", 2, RUN_FAILED, "the disk is full");
}

/* What was typed, or what is not there, will not be better in the next round. */
Test(trial, a_refusal_ends_the_case, .init = setup, .fini = teardown)
{
    expect_failure("server-refuses", 1, RUN_FAILED, "is taken");
}

Test(trial, an_engine_that_cannot_run_there, .init = setup, .fini = teardown)
{
    expect_failure("client-cannot", 1, RUN_CANNOT_RUN, "needs what is not here");
}

Test(trial, notes_and_chatter_do_no_harm, .init = setup, .fini = teardown)
{
    struct run_case *c = add_case("server-garbage");

    cr_assert_eq(execute(NULL), 0);
    cr_assert(!c->trials[0].failed, "%s", c->trials[0].reason);
    cr_assert_str_eq(c->trials[0].servers[0].note, "fine so far");
    cr_assert_null(c->trials[0].clients[0].note);
}

Test(trial, no_such_program, .init = setup, .fini = teardown)
{
    free(run.settings.lab_path);
    run.settings.lab_path = strdup("/nowhere/lab");
    expect_failure("good", 2, RUN_FAILED, "cannot start /nowhere/lab");
}

/* One case fails in each round, the other goes on as if nothing were. */
Test(trial, one_case_does_not_spoil_another, .init = setup, .fini = teardown)
{
    struct run_case *bad = add_case("server-dies-in-window"), *good = add_case("good");

    cr_assert_eq(execute(NULL), 0);
    cr_assert_eq(bad->status, RUN_FAILED);
    cr_assert_eq(good->status, RUN_RAN);
    cr_assert_eq(good->trials_count, 2);
    cr_assert_eq(good->ops_per_s.median, 50000);
}

Test(trial, several_processes_a_side, .init = setup, .fini = teardown)
{
    struct run_case *c = add_case("good");

    c->client_processes = 3;
    c->server_processes = 2;
    cr_assert_eq(execute(NULL), 0);
    cr_assert_eq(c->trials[0].clients_count, 3);
    cr_assert_eq(c->trials[0].servers_count, 2);
    cr_assert_eq(c->trials[0].ops, 3000);
    cr_assert_eq(c->trials[0].errors, 3);
    cr_assert_str_eq(c->trials[0].errors_by_kind.items[0].value, "3");
    cr_assert_eq(c->trials[0].latency->total, 3000);
    cr_assert_eq(c->trials[0].slices[0].ops, 3000);
}

/* Through a command, with a clock of its own where the kernel can give one. */
Test(trial, a_side_elsewhere, .init = setup, .fini = teardown)
{
    struct run_case *c = add_case("good");

    run.settings.server_via = strdup("env SOMETHING='a value'");
    cr_assert_eq(execute(NULL), 0);
    cr_assert(!c->trials[0].failed, "%s", c->trials[0].reason);
    cr_assert_eq(c->trials[0].servers[0].clock_offset_ns, 0, "the same clock");
}

/* Hosts that were started within the same second have clocks of their own too. */
Test(trial, another_clock, .init = setup, .fini = teardown)
{
    static const char *const seconds[] = {"1", "100000"};

    if (system("unshare --time --fork --monotonic 1 true 2>/dev/null") != 0)
        cr_skip_test("no time namespaces here");
    for (unsigned i = 0; i < 2; i++) {
        struct run_case *c = add_case("good");
        char via[100];
        snprintf(via, sizeof(via), "unshare --time --fork --monotonic %s", seconds[i]);
        free(run.settings.server_via);
        run.settings.server_via = strdup(via);
        cr_assert_eq(execute(NULL), 0);
        const struct run_trial *trial = &c->trials[c->trials_count - 1];
        cr_assert(!trial->failed, "%s", trial->reason);
        const struct run_process *server = &trial->servers[0];
        double off_s = (double)server->clock_offset_ns / 1e9 - atof(seconds[i]);
        cr_assert_lt(fabs(off_s), 0.01, "%f", off_s);
        cr_assert(server->clock_error_ns > 0 && server->clock_error_ns < 10 * NS_PER_MS);
        /* Its record is of our time: the window that both sides had. */
        double apart_s =
            (double)(int64_t)(server->record->t0_ns - trial->clients[0].record->t0_ns) / 1e9;
        cr_assert_lt(fabs(apart_s), 0.05, "%f", apart_s);
    }
}

/* --- interruption --- */

static void interrupt(void *context, const struct run_result *result, const struct run_case *c,
                      unsigned done, unsigned total, double seconds_to_go)
{
    if (done == *(unsigned *)context)
        kill(getpid(), SIGINT);
}

Test(trial, interrupted_it_keeps_what_is_finished, .init = setup, .fini = teardown)
{
    unsigned at = 3;
    const struct run_observer observer = {.context = &at, .trial_begins = interrupt};
    struct run_case *a = add_case("good"), *b = add_case("good");

    run.settings.rounds = 5;
    cr_assert_eq(execute(&observer), -EINTR);
    cr_assert(!run.complete);
    cr_assert_eq(run.rounds_done, 1);
    size_t good = 0;
    for (size_t i = 0; i < a->trials_count; i++)
        good += !a->trials[i].failed;
    for (size_t i = 0; i < b->trials_count; i++)
        good += !b->trials[i].failed;
    cr_assert_eq(good, 3);
    cr_assert_eq(a->trials_count + b->trials_count, 3, "what was cut short is none");
    cr_assert_eq(a->status, RUN_RAN);
    /* The signal was taken: it does not come again. */
    usleep(1000);
}

Test(trial, interrupted_before_anything, .init = setup, .fini = teardown)
{
    unsigned at = 0;
    const struct run_observer observer = {.context = &at, .trial_begins = interrupt};
    struct run_case *c = add_case("good");

    cr_assert_eq(execute(&observer), -EINTR);
    cr_assert_eq(c->status, RUN_INTERRUPTED);
    cr_assert_eq(c->trials_count, 0);
    cr_assert_str_eq(c->reason, "interrupted");
}

Test(trial, nothing_can_run, .init = setup, .fini = teardown)
{
    add_case("good")->status = RUN_NOT_BUILT;
    cr_assert_eq(execute(NULL), -ENODEV);
    cr_assert_not_null(strstr(err.text, "nothing can run"), "%s", err.text);
}

/* --- the order --- */

static void note_order(void *context, const struct run_result *result, const struct run_case *c,
                       unsigned done, unsigned total, double seconds_to_go)
{
    strcat(context, c->label);
    cr_assert_eq(total, 6);
    cr_assert(seconds_to_go > 0);
}

/* --- how long it takes --- */

struct told {
    double planned_s, to_go_s[4];
};

static void note_plan(void *context, const struct run_result *result, double seconds_estimated)
{
    ((struct told *)context)->planned_s = seconds_estimated;
}

static void note_to_go(void *context, const struct run_result *result, const struct run_case *c,
                       unsigned done, unsigned total, double seconds_to_go)
{
    ((struct told *)context)->to_go_s[done] = seconds_to_go;
}

static const struct told *told_of(uint64_t asked_ops, double asked_ops_per_s)
{
    static struct told told;
    const struct run_observer observer = {
        .context = &told, .planned = note_plan, .trial_begins = note_to_go};
    struct run_case *by_count = add_case("good");

    by_count->asked_ops = asked_ops;
    by_count->asked_ops_per_s = asked_ops_per_s;
    add_case("good");
    cr_assert_eq(execute(&observer), 0);
    return &told;
}

Test(trial, how_long_ops_take_is_known_after_a_round, .init = setup, .fini = teardown)
{
    const struct told *told = told_of(1000, 0);

    cr_assert(isnan(told->planned_s), "%f", told->planned_s);
    cr_assert(isnan(told->to_go_s[0]) && isnan(told->to_go_s[1]), "%f", told->to_go_s[1]);
    cr_assert(told->to_go_s[2] > 0 && told->to_go_s[3] > 0);
}

Test(trial, how_long_ops_at_a_rate_take_is_known_before, .init = setup, .fini = teardown)
{
    const struct told *told = told_of(1000, 100);

    /* Twice 10 s and 20 ms, twice each side's warm-up and start. */
    cr_assert(told->planned_s > 20 && told->planned_s < 21, "%f", told->planned_s);
    cr_assert_eq(told->to_go_s[0], told->planned_s);
}

Test(trial, a_seed_is_an_order, .init = setup, .fini = teardown)
{
    char orders[3][64] = {"", "", ""};
    static const uint64_t seeds[] = {5, 5, 6};

    for (unsigned i = 0; i < 3; i++) {
        const struct run_observer observer = {.context = orders[i], .trial_begins = note_order};
        run_result_free(&run);
        setup();
        for (unsigned k = 0; k < 3; k++)
            add_case("good")->label = strdup(k == 0 ? "a" : k == 1 ? "b" : "c");
        run.settings.seed = seeds[i];
        cr_assert_eq(execute(&observer), 0);
    }
    cr_assert_str_eq(orders[0], orders[1]);
    cr_assert_str_neq(orders[0], orders[2]);
}
