/* What trials come to: medians and intervals, merged histograms, ratios paired by round. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/run.h"

TestSuite(summary, .timeout = 20);

static struct run_result run;

static struct run_case *add_case(const char *engine)
{
    struct run_case *c = &run.cases[run.cases_count++];

    c->workload = strdup("echo");
    c->client_spec = strdup(engine);
    run_list_add(&c->params, "size", "64");
    return c;
}

static struct run_trial *add_trial(struct run_case *c, unsigned round, double ops_per_s)
{
    c->trials = realloc(c->trials, (c->trials_count + 1) * sizeof(*c->trials));
    struct run_trial *trial = &c->trials[c->trials_count++];
    *trial = (struct run_trial){.round = round,
                                .ops_per_s = ops_per_s,
                                .bytes_per_s = ops_per_s * 64,
                                .cpu_ns_per_op = NAN};
    return trial;
}

static void setup(void)
{
    memset(&run, 0, sizeof(run));
    run.cases = calloc(8, sizeof(*run.cases));
}

static void teardown(void)
{
    run_result_free(&run);
}

Test(summary, median_interval_and_valid, .init = setup, .fini = teardown)
{
    struct run_case *c = add_case("epoll");

    for (unsigned i = 0; i < 6; i++)
        add_trial(c, i, 100 + i);
    c->trials[2].verdicts_count = 1;
    add_trial(c, 6, 1)->failed = true;
    run_summarise(&run);
    cr_assert_eq(c->ops_per_s.median, 102.5, "what cannot be believed is in, what failed is not");
    cr_assert_eq(c->ops_per_s.low, 100);
    cr_assert_eq(c->ops_per_s.high, 105);
    cr_assert_gt(c->ops_per_s.confidence, 0.95);
    cr_assert_eq(c->bytes_per_s.median, 102.5 * 64);
    cr_assert(isnan(c->cpu_ns_per_op.median), "not observed stays that");
    cr_assert_eq(c->valid, 5);
}

Test(summary, histograms_are_merged_and_not_twice, .init = setup, .fini = teardown)
{
    struct run_case *c = add_case("epoll");

    for (unsigned i = 0; i < 3; i++) {
        struct run_trial *trial = add_trial(c, i, 1);
        trial->latency = hist_new();
        for (unsigned k = 0; k < 100; k++)
            hist_record(trial->latency, 1000 * (i + 1));
    }
    c->trials[2].failed = true;
    run_summarise(&run);
    run_summarise(&run);
    cr_assert_eq(c->latency->total, 200);
    cr_assert_eq(c->latency->min, 1000);
    cr_assert_leq(c->latency->max, 2002);
}

/* The machine drifts by a factor of ten, the ratio of two in the same round does not. */
Test(summary, ratios_are_of_the_same_round, .init = setup, .fini = teardown)
{
    struct run_case *epoll = add_case("epoll"), *other = add_case("io_uring");

    for (unsigned i = 0; i < 6; i++) {
        add_trial(epoll, i, 100 * (1 + 2 * i));
        add_trial(other, 5 - i, 150 * (1 + 2 * (5 - i)));
    }
    run_summarise(&run);
    cr_assert_float_eq(other->vs_reference, 1.5, 1e-9);
    cr_assert_float_eq(other->vs_reference_interval.low, 1.5, 1e-9);
    cr_assert_float_eq(other->vs_reference_interval.high, 1.5, 1e-9);
    cr_assert_eq(epoll->vs_reference, 1);
}

Test(summary, a_round_without_its_pair_is_left_out, .init = setup, .fini = teardown)
{
    struct run_case *epoll = add_case("epoll"), *other = add_case("io_uring");

    add_trial(epoll, 0, 100);
    add_trial(epoll, 1, 100)->failed = true;
    add_trial(epoll, 2, 0); /* no ops: no ratio */
    for (unsigned i = 0; i < 4; i++)
        add_trial(other, i, 200 + i);
    run_summarise(&run);
    cr_assert_eq(other->vs_reference, 2);
}

Test(summary, the_reference, .init = setup, .fini = teardown)
{
    struct run_case *spin = add_case("epoll:spin"), *epoll = add_case("epoll");
    struct run_case *blocking = add_case("blocking");

    add_trial(spin, 0, 400);
    add_trial(epoll, 0, 200);
    add_trial(blocking, 0, 100);
    run_summarise(&run);
    cr_assert_eq(blocking->vs_reference, 0.5, "epoll, not what begins like it");
    run.settings.reference_spec = strdup("epoll:spin");
    run_summarise(&run);
    cr_assert_eq(blocking->vs_reference, 0.25);
    /* Without any figure it can be nobody's reference. */
    spin->trials[0].failed = true;
    run_summarise(&run);
    cr_assert_eq(blocking->vs_reference, 0.5);
    epoll->trials[0].failed = true;
    run_summarise(&run);
    cr_assert_eq(blocking->vs_reference, 1, "the first that has some");
    cr_assert(isnan(epoll->vs_reference));
}

Test(summary, other_questions_are_not_compared, .init = setup, .fini = teardown)
{
    struct run_case *small = add_case("epoll"), *large = add_case("io_uring");

    free(large->params.items[0].value);
    large->params.items[0].value = strdup("65536");
    add_trial(small, 0, 100);
    add_trial(large, 0, 300);
    run_summarise(&run);
    cr_assert_eq(large->vs_reference, 1, "it is its own reference");
}

Test(summary, nothing_ran, .init = setup, .fini = teardown)
{
    struct run_case *c = add_case("epoll");

    c->status = RUN_CANNOT_RUN;
    run_summarise(&run);
    cr_assert(isnan(c->ops_per_s.median));
    cr_assert(isnan(c->vs_reference));
    cr_assert_eq(c->latency->total, 0);
}
