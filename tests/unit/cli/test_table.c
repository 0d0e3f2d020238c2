/* The table: what stands in it, and what does not because it was not observed or is not sure. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_run.h"

TestSuite(table, .timeout = 10);

static struct run_result three_engines(void)
{
    struct run_result run = fake_run();
    static const char *const engines[] = {"blocking", "epoll", "io_uring"};

    for (unsigned i = 0; i < 3; i++)
        fake_measured(fake_case(&run, engines[i], "lo"), 100000 + 20000 * i);
    return run;
}

static void says(const char *text, const char *expected)
{
    cr_assert_not_null(strstr(text, expected), "'%s' is not in:\n%s", expected, text);
}

static void says_not(const char *text, const char *unexpected)
{
    cr_assert_null(strstr(text, unexpected), "'%s' is in:\n%s", unexpected, text);
}

/* The line that begins with the word, into out; "" if there is none. */
static const char *line_of(const char *text, const char *word, char *out, size_t size)
{
    size_t length = strlen(word);

    out[0] = '\0';
    for (const char *at = text; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, word, length) == 0 && at[length] == ' ') {
            snprintf(out, size, "%.*s", (int)strcspn(at, "\n"), at);
            break;
        }
    }
    return out;
}

Test(table, shape)
{
    struct run_result run = three_engines();
    char *text = fake_table(&run, 0), line[400];

    says(text, "host  7f3a91c2, 2 cores, Linux 6.18; server CPU 0, client CPU 1; both ends on this "
               "host\n");
    says(text, "echo  64 B, 32 connections, depth 1, closed loop, kept connections\n");
    says(text, "engine    link  wait    ops/s    95 % interval   vs epoll    p50    p99  p99.9  "
               "CPU/op  valid\n");
    says(line_of(text, "epoll", line, sizeof(line)), "reference");
    says(line_of(text, "io_uring", line, sizeof(line)), "1.17x");
    says(line_of(text, "io_uring", line, sizeof(line)), "6/6 best");
    says_not(line_of(text, "epoll", line, sizeof(line)), "best");
    says(text, "system calls an op, client");
    says(text, "io_uring against epoll: 1.17x the ops/s (1.17x to 1.17x)");
    free(text);
    run_result_free(&run);
}

Test(table, not_observed_is_never_a_number)
{
    struct run_result run = fake_run();
    struct run_case *c = fake_case(&run, "epoll", "lo");
    char line[400];

    fake_measured(c, 100000);
    for (size_t i = 0; i < c->trials_count; i++) {
        c->trials[i].cpu_ns_per_op = NAN;
        hist_free(c->trials[i].latency);
        c->trials[i].latency = hist_new(); /* and nothing in it */
        lab__record__free_unpacked(c->trials[i].servers[0].record, NULL);
        c->trials[i].servers[0].record = NULL;
    }
    char *text = fake_table(&run, 0);
    line_of(text, "epoll", line, sizeof(line));
    says(line, "n/o");
    says_not(line, " 0ns");
    says_not(text, "an op, server"); /* no engine of this table was seen there */
    says(text, "n/o not observed");
    says(text, "- fewer than 10 samples beyond that percentile");
    free(text);
    run_result_free(&run);
}

Test(table, best_needs_intervals_that_are_apart)
{
    struct run_result run = fake_run();
    fake_measured(fake_case(&run, "epoll", "lo"), 100000);
    fake_measured(fake_case(&run, "io_uring", "lo"), 100500);
    char *text = fake_table(&run, 0);
    says_not(text, "best");
    free(text);
    run_result_free(&run);
}

Test(table, best_is_within_one_link_and_one_way_of_waiting)
{
    struct run_result run = fake_run();
    char line[400];

    fake_measured(fake_case(&run, "epoll", "lo"), 100000);
    fake_measured(fake_case(&run, "epoll:spin", "lo"), 200000);
    fake_measured(fake_case(&run, "io_uring", "unix"), 300000);
    char *text = fake_table(&run, 0);
    says_not(text, "best"); /* each is alone in its class */
    says(text,
         "epoll:spin against epoll: 2.00x the ops/s (2.00x to 2.00x); it spins: ranked apart");
    says(text, "another link: ranked apart");
    free(text);
    fake_measured(fake_case(&run, "io_uring", "lo"), 120000);
    text = fake_table(&run, 0);
    says(text, "6/6 best");
    says_not(line_of(text, "epoll:spin", line, sizeof(line)), "best");
    free(text);
    run_result_free(&run);
}

/* An open loop's cases all come to what was asked: not who has a ratio of 1 is the reference. */
Test(table, of_equal_rates_the_reference_is_still_the_one)
{
    struct run_result run = fake_run();

    for (unsigned e = 0; e < 3; e++) {
        static const char *const engines[] = {"blocking", "epoll", "io_uring"};
        struct run_case *c = fake_case(&run, engines[e], "lo");
        fake_measured(c, 100000);
        for (unsigned i = 0; i < c->trials_count; i++)
            c->trials[i].cpu_ns_per_op += 1000 * e;
    }
    char *text = fake_table(&run, 0);
    says(text, "vs epoll");
    says(text, "blocking against epoll: ");
    says(text, "1.00us less CPU an op");
    says_not(text, "against blocking");
    free(text);
    run.settings.reference_spec = strdup("io_uring");
    text = fake_table(&run, 0);
    says(text, "vs io_uring");
    says(text, "epoll against io_uring: ");
    free(text);
    run_result_free(&run);
}

Test(table, few_trials_give_a_range_and_no_best)
{
    struct run_result run = fake_run();
    for (unsigned e = 0; e < 2; e++) {
        struct run_case *c = fake_case(&run, e == 0 ? "epoll" : "io_uring", "lo");
        for (unsigned i = 0; i < 3; i++)
            fake_trial(c, 100000 + 50000 * e + 100 * i);
    }
    char *text = fake_table(&run, 0);
    says(text, "range");
    says_not(text, "95 % interval");
    says_not(text, "best");
    says(text, "too few trials to be sure");
    free(text);
    run_result_free(&run);
}

Test(table, what_cannot_be_told_is_said)
{
    struct run_result run = fake_run();
    struct run_case *c = fake_case(&run, "epoll", "lo");
    for (unsigned i = 0; i < 6; i++)
        fake_trial(c, 100000);
    c = fake_case(&run, "io_uring", "lo");
    for (unsigned i = 0; i < 6; i++)
        fake_trial(c, 98000 + 1000 * i);
    char *text = fake_table(&run, 0);
    says(text, "io_uring against epoll: ops/s: cannot tell (0.98x to 1.03x)");
    free(text);
    run_result_free(&run);
}

Test(table, verdicts_and_watermarks_are_footnotes)
{
    struct run_result run = three_engines();
    char line[400];

    for (size_t i = 0; i < 3; i++) {
        for (size_t t = 0; t < 6; t++) {
            struct run_trial *trial = &run.cases[i].trials[t];
            trial->watermarks[trial->watermarks_count++] =
                (struct run_verdict){"loopback", "lo has no packets"};
        }
    }
    struct run_trial *trial = &run.cases[1].trials[2];
    trial->verdicts[trial->verdicts_count++] = (struct run_verdict){"disturbed", "2.1 % steal"};
    trial->verdicts[trial->verdicts_count++] = (struct run_verdict){"disturbed", "of CPU 1 too"};
    trial = &run.cases[2].trials[0];
    trial->watermarks[trial->watermarks_count++] =
        (struct run_verdict){"emulated", "files are read"};
    char *text = fake_table(&run, 0);
    says(line_of(text, "epoll", line, sizeof(line)), "5/6 [1]");
    says(line_of(text, "io_uring", line, sizeof(line)), "6/6 best [2]");
    says(text, "[1] epoll: disturbed in trial 3: 2.1 % steal; kept in the figures\n");
    says(text, "[2] io_uring: emulated in trial 1: files are read\n");
    says(text, "all rows: loopback: lo has no packets\n");
    free(text);
    run_result_free(&run);
}

/* Both sides' capabilities share a name; a count differs from trial to trial. */
Test(table, watermarks_of_one_name_are_told_apart)
{
    struct run_result run = three_engines();
    char line[400];

    for (size_t t = 0; t < 6; t++) {
        struct run_trial *trial = &run.cases[1].trials[t];
        trial->watermarks[0] = (struct run_verdict){"emulated", "server: sndbuf is emulated"};
        trial->watermarks[1] = (struct run_verdict){"emulated", "server: rcvbuf is emulated"};
        trial->watermarks_count = 2;
    }
    for (unsigned t = 0; t < 2; t++) {
        struct run_trial *trial = &run.cases[2].trials[t];
        trial->watermarks_count = 1;
        trial->watermarks[0] = (struct run_verdict){.name = "listen-drops"};
        sprintf(trial->watermarks[0].evidence, "dropped %u connections", 9 + t);
    }
    char *text = fake_table(&run, 0);
    says(line_of(text, "epoll", line, sizeof(line)), "6/6 [1][2]");
    says(line_of(text, "io_uring", line, sizeof(line)), "6/6 best [3]");
    says(text, "[1] emulated: server: sndbuf is emulated\n");
    says(text, "[2] emulated: server: rcvbuf is emulated\n");
    says(text, "[3] io_uring: listen-drops in trials 1, 2: dropped 9 connections\n");
    free(text);
    run_result_free(&run);
}

Test(table, a_failed_trial_is_named_with_its_last_words)
{
    struct run_result run = three_engines();
    char line[400];

    run.cases[0].trials[5].failed = true;
    strcpy(run.cases[0].trials[5].reason, "the server died: out of luck");
    char *text = fake_table(&run, 0);
    says(line_of(text, "blocking", line, sizeof(line)), "5/6 [1]");
    says(text, "[1] blocking: failed in trial 6: the server died: out of luck\n");
    free(text);
    run_result_free(&run);
}

Test(table, an_engine_without_a_good_trial_has_no_figures)
{
    struct run_result run = fake_run();
    struct run_case *c = fake_case(&run, "epoll", "lo");
    char line[400];

    for (unsigned i = 0; i < 2; i++) {
        fake_trial(c, 100000)->failed = true;
        strcpy(c->trials[i].reason, "it died");
    }
    char *text = fake_table(&run, 0);
    line_of(text, "epoll", line, sizeof(line));
    says(line, "n/o");
    says(line, "0/2 [1]");
    says_not(line, "100.0k");
    free(text);
    run_result_free(&run);
}

Test(table, errors_by_kind_with_their_first_example)
{
    struct run_result run = three_engines();
    for (unsigned t = 0; t < 2; t++) {
        struct run_trial *trial = &run.cases[1].trials[t];
        trial->errors = 3;
        run_list_add(&trial->errors_by_kind, "refused", "3");
        run_list_add(&trial->errors_examples, "refused", t == 0 ? "the first" : "the second");
    }
    run.cases[2].trials[0].syn_retries = 7;
    char *text = fake_table(&run, 0);
    says(text, "errors of epoll: 6 refused, the first: the first\n");
    says(text, "while io_uring ran this host sent 7 SYNs again");
    free(text);
    run_result_free(&run);
}

Test(table, what_was_skipped_is_said_once_with_its_reason)
{
    struct run_result run = three_engines();
    for (unsigned i = 0; i < 2; i++) {
        struct run_case *c = fake_case(&run, "dpdk", "lo");
        c->status = RUN_NOT_BUILT;
        strcpy(c->reason, "libdpdk was not found");
        fake_param(c, "size", i == 0 ? "64" : "128");
    }
    char *text = fake_table(&run, 0);
    const char *first = strstr(text, "not measured: dpdk (not-built): libdpdk was not found\n");
    cr_assert_not_null(first, "%s", text);
    cr_assert_null(strstr(first + 1, "not measured"), "%s", text);
    free(text);
    run_result_free(&run);
}

Test(table, one_way_shows_bytes)
{
    struct run_result run = fake_run();
    struct run_case *c = fake_case(&run, "epoll", "lo");
    fake_param(c, "one-way", "yes");
    fake_measured(c, 10000);
    char *text = fake_table(&run, 0);
    says(text, "echo  64KiB writes one way");
    says(text, "bytes/s");
    says(text, "CPU/MB");
    says(text, "643.2k"); /* 64 bytes an op */
    says_not(text, "  ops/s");
    free(text);
    run_result_free(&run);
}

Test(table, reconnect_shows_connect_first_byte_and_total_apart)
{
    struct run_result run = fake_run();
    struct run_case *c = fake_case(&run, "epoll", "lo");
    char line[200];

    fake_param(c, "reconnect", "yes");
    fake_measured(c, 10000);
    char *text = fake_table(&run, 0);
    says(text, "a connection an op");
    says(line_of(text, "connect, p50", line, sizeof(line)), "150us");
    cr_assert_str_empty(line_of(text, "first byte, p50", line, sizeof(line)), "nobody looked: %s",
                        line);
    free(text);
    run_result_free(&run);
}

Test(table, an_open_loop_has_slip_and_no_ranking)
{
    struct run_result run = three_engines();
    for (size_t i = 0; i < 3; i++) {
        run.cases[i].asked_ops_per_s = 50000;
        fake_param(&run.cases[i], "rate", "50k");
        for (size_t t = 0; t < 6; t++) {
            run.cases[i].trials[t].slip = hist_new();
            for (unsigned k = 0; k < 5000; k++)
                hist_record(run.cases[i].trials[t].slip, 2000);
        }
    }
    char *text = fake_table(&run, 0);
    says(text, "open loop of 50k ops/s (constant)");
    says(text, "slip p99");
    says(text, "2.00us");
    says_not(text, "best");
    says_not(text, "vs epoll");
    free(text);
    run_result_free(&run);
}

Test(table, a_narrow_screen_drops_columns_and_folds_lines)
{
    struct run_result run = three_engines();
    char *text = fake_table(&run, 60);

    says(text, "(no room for p99.9");
    for (const char *at = text; at != NULL && *at != '\0';) {
        size_t length = strcspn(at, "\n");
        cr_assert_leq(length, 60, "%.*s", (int)length, at);
        at += length + (at[length] == '\n');
    }
    free(text);
    run_result_free(&run);
}

Test(table, different_parameters_are_different_tables)
{
    struct run_result run = three_engines();
    struct run_case *c = fake_case(&run, "epoll", "lo");
    fake_param(c, "size", "1KiB");
    fake_measured(c, 50000);
    char *text = fake_table(&run, 0);
    says(text, "echo  64 B, 32");
    says(text, "\n\necho  1KiB, 32");
    says_not(text, "echo  32 connections");
    free(text);
    run_result_free(&run);
}

Test(table, a_parameter_that_was_swept_is_one_table_more)
{
    static const char *const sizes[] = {"64", "1KiB", "16KiB"};
    struct run_result run = fake_run();

    for (unsigned i = 0; i < 3; i++) {
        struct run_case *c = fake_case(&run, "epoll", "lo");
        fake_param(c, "size", sizes[i]);
        fake_measured(c, 50000 - 10000 * i);
    }
    char *text = fake_table(&run, 0), line[400];
    says(text, "echo  32 connections, depth 1, closed loop, kept connections\n size  engine");
    says(line_of(text, "   64", line, sizeof(line)), "epoll   lo    sleep  50.");
    says(line_of(text, " 1KiB", line, sizeof(line)), "epoll   lo    sleep  40.");
    says(line_of(text, "16KiB", line, sizeof(line)), "epoll   lo    sleep  30.");
    free(text);
    run_result_free(&run);
}

/* From no rate, which is a closed loop, to an open one. */
Test(table, a_rate_that_was_swept_says_no_loop)
{
    static const char *const rates[] = {"0", "10k", "20k"};
    struct run_result run = fake_run();

    for (unsigned i = 0; i < 3; i++) {
        struct run_case *c = fake_case(&run, "epoll", "lo");
        fake_param(c, "rate", rates[i]);
        c->asked_ops_per_s = 10000 * i;
        fake_measured(c, 50000);
    }
    char *text = fake_table(&run, 0);
    says(text, "echo  64 B, 32 connections, depth 1, arrival constant, kept connections\n"
               "rate  engine");
    const char *sweep = strstr(text, "\nrate  engine");
    cr_assert_not_null(sweep);
    says(sweep, "slip p99");
    says(sweep, "\n   0  epoll");
    says(sweep, "\n 20k  epoll");
    free(text);
    run_result_free(&run);
}

/* Else two tables would have one heading. */
Test(table, windows_that_differ_are_in_the_headings)
{
    struct run_result run = fake_run();
    struct run_case *c = fake_case(&run, "epoll", "lo");

    fake_param(c, "warmup", "100ms");
    fake_measured(c, 50000);
    char *text = fake_table(&run, 0);
    says(text, "kept connections\n");
    free(text);
    c = fake_case(&run, "epoll", "lo");
    fake_param(c, "duration", "1s");
    fake_param(c, "warmup", "0s");
    c->duration_ns = 1000000000;
    c->warmup_ns = 0;
    fake_measured(c, 50000);
    c = fake_case(&run, "epoll", "lo"); /* of so many ops that is not asked */
    fake_param(c, "warmup", "0s");
    fake_param(c, "ops", "7k");
    c->asked_ops = 7000;
    fake_measured(c, 50000);
    text = fake_table(&run, 0);
    says(text, "run   6 trials of various lengths");
    says(text, "closed loop, kept connections, duration 500ms, warmup 100ms\n");
    says(text, "closed loop, kept connections, duration 1s, warmup 0s\n");
    says(text, "closed loop, kept connections, ops 7k\n");
    free(text);
    run_result_free(&run);
}

/* Two parameters at once: which of them made the difference, nobody can tell. */
Test(table, two_parameters_that_change_together_are_no_sweep)
{
    static const char *const sizes[] = {"64", "1KiB", "16KiB"}, *const depths[] = {"1", "2", "4"};
    struct run_result run = fake_run();

    for (unsigned i = 0; i < 3; i++) {
        struct run_case *c = fake_case(&run, "epoll", "lo");
        fake_param(c, "size", sizes[i]);
        fake_param(c, "depth", depths[i]);
        fake_measured(c, 50000);
    }
    char *text = fake_table(&run, 0);
    says_not(text, "echo  32 connections");
    says_not(text, "echo  depth");
    free(text);
    run_result_free(&run);
}
