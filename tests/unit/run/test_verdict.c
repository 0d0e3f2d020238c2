/* Each verdict and watermark from made-up records, on both sides of its limit. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/text.h"
#include "fake_trial.h"

TestSuite(verdict, .timeout = 20);

static struct fake_trial fake;

static void setup(void)
{
    fake_trial_make(&fake);
}

static void teardown(void)
{
    fake_trial_free(&fake);
}

/* The verdict, judged now; NULL if it does not hold. */
static const char *judged(const char *name)
{
    fake_trial_judge(&fake);
    return fake_trial_verdict(&fake, name);
}

#define HOLDS(name, ...)                                                                           \
    do {                                                                                           \
        const char *evidence = judged(name);                                                       \
        cr_assert_not_null(evidence, "%s does not hold", name);                                    \
        static const char *const parts[] = {__VA_ARGS__};                                          \
        for (unsigned part = 0; part < sizeof(parts) / sizeof(parts[0]); part++)                   \
            cr_assert_not_null(strstr(evidence, parts[part]), "'%s' is not in: %s", parts[part],   \
                               evidence);                                                          \
    } while (0)
#define HOLDS_NOT(name)                                                                            \
    do {                                                                                           \
        const char *evidence = judged(name);                                                       \
        cr_assert_null(evidence, "%s: %s", name, evidence);                                        \
    } while (0)

Test(verdict, a_good_trial_is_valid, .init = setup, .fini = teardown)
{
    fake_trial_judge(&fake);
    cr_assert_eq(fake.trial->verdicts_count, 0, "%s: %s", fake.trial->verdicts[0].name,
                 fake.trial->verdicts[0].evidence);
    fake_trial_judge(&fake);
    cr_assert_eq(fake.trial->verdicts_count, 0, "judging twice adds nothing");
    fake_trial_open(&fake, 20000);
    fake_trial_judge(&fake);
    cr_assert_eq(fake.trial->verdicts_count, 0, "%s", fake.trial->verdicts[0].name);
}

Test(verdict, errors, .init = setup, .fini = teardown)
{
    fake.trial->errors = 3;
    fake.facts.max_errors = 3;
    run_list_add(&fake.trial->errors_by_kind, "timeout", "2");
    run_list_add(&fake.trial->errors_by_kind, "reset", "1");
    HOLDS_NOT("errors");
    fake.facts.max_errors = 2;
    HOLDS("errors", "3 ops failed", "timeout, reset");
    cr_assert_str_eq(fake.trial->verdicts[0].name, "errors", "it is the headline");
}

/* --- generator-bound --- */

Test(verdict, generator_bound_open_too_late, .init = setup, .fini = teardown)
{
    Lab__Record *record = fake.trial->clients[0].record;

    fake_trial_open(&fake, 20000);
    record->sent_in_time = 9900;
    HOLDS_NOT("generator-bound");
    record->sent_in_time = 9899;
    HOLDS("generator-bound", "99.0 %", "free slot");
    /* Ops that waited for a slot are the server's doing. */
    record->with_slot = 5000;
    record->sent_in_time = 5000;
    HOLDS_NOT("generator-bound");
}

Test(verdict, generator_bound_open_by_slip, .init = setup, .fini = teardown)
{
    fake_trial_open(&fake, 20000);
    fake_trial_slip(&fake, 19 * NS_PER_US); /* p50 is 100 us: 20 us is the floor */
    HOLDS_NOT("generator-bound");
    fake_trial_slip(&fake, 25 * NS_PER_US);
    HOLDS("generator-bound", "p99 of slip", "20.0 us");
    /* A tenth of a large p50 is more than 20 us. */
    hist_reset(fake.trial->latency);
    for (unsigned i = 0; i < 1000; i++)
        hist_record(fake.trial->latency, NS_PER_MS);
    HOLDS_NOT("generator-bound");
}

/* 50 ops in half a second: p99 is their maximum, and says nothing. */
Test(verdict, generator_bound_by_slip_needs_samples, .init = setup, .fini = teardown)
{
    fake_trial_open(&fake, 100);
    hist_reset(fake.trial->slip);
    for (unsigned i = 0; i < 999; i++)
        hist_record(fake.trial->slip, NS_PER_MS);
    HOLDS_NOT("generator-bound");
    hist_record(fake.trial->slip, NS_PER_MS);
    HOLDS("generator-bound", "p99 of slip");
}

Test(verdict, generator_bound_closed, .init = setup, .fini = teardown)
{
    fake_trial_process(&fake, false)->cpu_ns = 490 * NS_PER_MS;
    HOLDS_NOT("generator-bound"); /* lab plays both sides: a watermark says which is busier */
    cr_assert_not_null(strstr(fake_trial_watermark(&fake, "busier-side"), "client is the busier"));
    fake.c->server_measured = true;
    HOLDS("generator-bound", "98 %", "the server's 50 %");
    fake_trial_process(&fake, true)->cpu_ns = 400 * NS_PER_MS;
    HOLDS_NOT("generator-bound");
    fake_trial_process(&fake, true)->cpu_ns = 399 * NS_PER_MS;
    HOLDS("generator-bound", "80 %");
    fake_trial_process(&fake, false)->cpu_ns = 474 * NS_PER_MS;
    HOLDS_NOT("generator-bound");
}

Test(verdict, generator_bound_by_a_server_that_nobody_sees, .init = setup, .fini = teardown)
{
    size_t servers = fake.trial->servers_count;

    fake.c->server_measured = true;
    fake.trial->servers_count = 0;
    HOLDS_NOT("generator-bound");
    fake_trial_process(&fake, false)->cpu_ns = 490 * NS_PER_MS;
    HOLDS("generator-bound", "not observed");
    cr_assert_null(fake_trial_watermark(&fake, "busier-side"));
    fake.trial->servers_count = servers;
}

/* A poller's clock is always full: its useful time counts. */
Test(verdict, generator_bound_looks_at_useful_time, .init = setup, .fini = teardown)
{
    Lab__Ready *ready = fake.trial->clients[0].ready;

    fake.c->server_measured = true;
    free(ready->wait);
    ready->wait = record_text("spin");
    fake_trial_process(&fake, false)->cpu_ns = 500 * NS_PER_MS;
    fake_trial_process(&fake, false)->busy_ns = 300 * NS_PER_MS;
    HOLDS_NOT("generator-bound");
    fake_trial_process(&fake, false)->busy_ns = 480 * NS_PER_MS;
    HOLDS("generator-bound", "96 %");
    /* The kernel's thread spins, and nobody sees what of that was of use. */
    fake_trial_process(&fake, false)->busy_ns = 0;
    HOLDS_NOT("generator-bound");
}

/* Two threads on two CPUs have twice the time; one thread on two CPUs has not. */
Test(verdict, load_is_of_what_could_be_used, .init = setup, .fini = teardown)
{
    Lab__Ready *ready = fake.trial->clients[0].ready;

    fake.c->server_measured = true;
    free(fake_trial_process(&fake, false)->cpus);
    fake_trial_process(&fake, false)->cpus = record_text("1-2");
    fake_trial_process(&fake, false)->cpu_ns = 490 * NS_PER_MS;
    HOLDS("generator-bound", "98 %");
    ready->n_tids = 2;
    HOLDS_NOT("generator-bound");
    fake_trial_process(&fake, false)->cpu_ns = 980 * NS_PER_MS;
    HOLDS("generator-bound", "98 %");
}

Test(verdict, overloaded, .init = setup, .fini = teardown)
{
    fake_trial_open(&fake, 20000);
    fake.trial->scheduled = 10101;
    HOLDS_NOT("overloaded"); /* 99.0 % */
    fake.trial->scheduled = 10102;
    HOLDS("overloaded", "99.0 % of the scheduled ops");
    fake_trial_slip(&fake, NS_PER_MS);
    HOLDS_NOT("overloaded"); /* the client was late itself */
    HOLDS("generator-bound", "slip");
    fake.c->asked_ops_per_s = 0;
    HOLDS_NOT("overloaded");
}

/* Also where too few were sent for a p99 of how late they were. */
Test(verdict, not_overloaded_by_who_is_late, .init = setup, .fini = teardown)
{
    fake_trial_open(&fake, 200);
    fake.trial->ops = 70;
    fake.trial->scheduled = 100;
    HOLDS("overloaded", "70.0 %");
    fake.trial->clients[0].record->with_slot = 100;
    fake.trial->clients[0].record->sent_in_time = 90;
    HOLDS_NOT("overloaded");
    HOLDS("generator-bound", "90.0 %");
}

/* Four are under way at any time: it is chance how many more at the window's end than before. */
Test(verdict, overloaded_is_more_than_what_is_under_way, .init = setup, .fini = teardown)
{
    fake_trial_open(&fake, 200);
    fake.trial->ops = 98;
    fake.trial->ops_per_s = 196;
    fake.trial->scheduled = 100;
    HOLDS("overloaded", "98.0 %");
    fake.trial->latency_from_send = hist_new();
    for (unsigned i = 0; i < 98; i++)
        hist_record(fake.trial->latency_from_send, 20 * NS_PER_MS);
    HOLDS_NOT("overloaded");
    fake.trial->ops = 90;
    fake.trial->ops_per_s = 180;
    HOLDS("overloaded", "90.0 %");
    fake.trial->ops = 99;
    fake.trial->scheduled = 101;
    HOLDS_NOT("overloaded");
}

/* --- unstable --- */

static void slices(unsigned count, double first, double step, double swing)
{
    double rates[64];

    for (unsigned i = 0; i < count; i++)
        rates[i] = first + i * step + (i % 2 == 0 ? swing : -swing);
    fake_trial_slices(&fake, rates, count);
}

Test(verdict, unstable_by_trend, .init = setup, .fini = teardown)
{
    slices(20, 1000, 5, 0); /* 95 of 1047 in the middle */
    HOLDS_NOT("unstable");
    slices(20, 1000, 6, 0); /* 114 of 1057 */
    HOLDS("unstable", "rose by 11 % of its median", "20 slices");
    slices(20, 1000, -6, 0);
    HOLDS("unstable", "fell by 12 %");
}

Test(verdict, unstable_by_variation, .init = setup, .fini = teardown)
{
    slices(20, 1000, 0, 140);
    HOLDS_NOT("unstable");
    slices(20, 1000, 0, 150);
    HOLDS("unstable", "varied by 15 %");
}

/* Few ops a slice vary by themselves: slices are merged until each has 30. */
Test(verdict, unstable_needs_thirty_ops_a_slice, .init = setup, .fini = teardown)
{
    slices(20, 6, 0, 4); /* 10 and 2 by turns; five together have 26 to 34 */
    HOLDS_NOT("unstable");
    slices(20, 4, 0, 2); /* 80 in all: two slices, and no trend in two */
    HOLDS_NOT("unstable");
}

/* A message that takes longer than a slice: bytes in progress keep the slices even. */
Test(verdict, unstable_counts_bytes_in_progress, .init = setup, .fini = teardown)
{
    slices(20, 40, 0, 0);
    for (unsigned i = 0; i < 20; i++) {
        fake.trial->slices[i].ops = i % 2 == 0 ? 60 : 30;
        fake.trial->slices[i].bytes = 1 << 20;
    }
    HOLDS_NOT("unstable");
}

Test(verdict, unstable_is_not_for_an_open_loop, .init = setup, .fini = teardown)
{
    slices(20, 1000, 0, 500);
    HOLDS("unstable", "varied");
    fake_trial_open(&fake, 20000);
    HOLDS_NOT("unstable");
}

/* --- disturbed --- */

Test(verdict, disturbed_by_steal, .init = setup, .fini = teardown)
{
    fake.after.steal_ns[0] = 10 * NS_PER_MS; /* 2 %, but it is one tick */
    HOLDS_NOT("disturbed");
    fake.after.steal_ns[0] = 20 * NS_PER_MS;
    HOLDS("disturbed", "4.0 % steal on CPU 0", "limit 1 %");
    fake.after.at_ns = 4 * NS_PER_S; /* in a long window 1 % is 40 ms */
    HOLDS_NOT("disturbed");
    fake.after.steal_ns[0] = 50 * NS_PER_MS;
    HOLDS("disturbed", "steal");
    fake.after.steal_ns[0] = 0;
    fake.after.steal_ns[3] = NS_PER_S; /* nobody of ours is there */
    HOLDS_NOT("disturbed");
}

Test(verdict, disturbed_by_others, .init = setup, .fini = teardown)
{
    fake.after.busy_ns[1] += 60 * NS_PER_MS; /* 12 %, but what is half busy is sampled so badly */
    HOLDS_NOT("disturbed");
    fake.after.busy_ns[1] += 20 * NS_PER_MS;
    HOLDS("disturbed", "other programs used 16.0 % of CPU 1", "limit 2 %");
    fake_trial_process(&fake, false)->cpu_ns += 80 * NS_PER_MS; /* it was us */
    HOLDS_NOT("disturbed");
}

/* What always runs, as a poller does, or never, is seen at every tick. */
Test(verdict, a_poller_is_sampled_well, .init = setup, .fini = teardown)
{
    fake_trial_process(&fake, false)->cpu_ns = 455 * NS_PER_MS;
    fake_trial_process(&fake, false)->spins = true;
    fake_trial_process(&fake, false)->busy_ns = 300 * NS_PER_MS;
    fake.after.busy_ns[1] = 485 * NS_PER_MS;
    HOLDS_NOT("disturbed"); /* three ticks */
    fake.after.busy_ns[1] = 500 * NS_PER_MS;
    HOLDS("disturbed", "other programs used 9.0 % of CPU 1");
}

/* Both sides on one CPU: each one's time is not foreign to the other. */
Test(verdict, disturbed_knows_its_own, .init = setup, .fini = teardown)
{
    free(fake_trial_process(&fake, true)->cpus);
    fake_trial_process(&fake, true)->cpus = record_text("1");
    fake.after.busy_ns[1] = 500 * NS_PER_MS;
    HOLDS_NOT("disturbed");
}

/* A side on several CPUs: they are looked at together. */
Test(verdict, disturbed_on_several_cpus, .init = setup, .fini = teardown)
{
    free(fake_trial_process(&fake, false)->cpus);
    fake_trial_process(&fake, false)->cpus = record_text("1-2");
    fake_trial_process(&fake, false)->cpu_ns = 700 * NS_PER_MS;
    fake.after.busy_ns[1] = 300 * NS_PER_MS;
    fake.after.busy_ns[2] = 400 * NS_PER_MS;
    HOLDS_NOT("disturbed");
    fake.after.busy_ns[2] = 500 * NS_PER_MS;
    HOLDS("disturbed", "10.0 % of CPUs 1-2");
    fake.facts.cores = 2; /* all that there are: it is pinned to none */
    HOLDS_NOT("disturbed");
}

Test(verdict, disturbed_by_frequency, .init = setup, .fini = teardown)
{
    fake.before.khz[0] = 3000000;
    fake.after.khz[0] = 2850000;
    HOLDS_NOT("disturbed");
    fake.after.khz[0] = 2400000;
    HOLDS("disturbed", "CPU 0 went from 3.00 to 2.40 GHz");
    fake.after.khz[0] = 0; /* not observed */
    HOLDS_NOT("disturbed");
}

Test(verdict, disturbed_by_swapping, .init = setup, .fini = teardown)
{
    fake.after.swapped_pages = 5;
    HOLDS("disturbed", "5 pages were swapped");
}

/* All of it in one verdict, so that none crowds out another. */
Test(verdict, disturbed_is_one_verdict_with_all_evidence, .init = setup, .fini = teardown)
{
    fake.after.steal_ns[0] = fake.after.steal_ns[1] = 100 * NS_PER_MS;
    fake.after.busy_ns[0] = fake.after.busy_ns[1] = 500 * NS_PER_MS;
    fake.after.swapped_pages = 1;
    HOLDS("disturbed", "steal on CPU 0", "of CPU 0", "steal on CPU 1");
    unsigned times = 0;
    for (size_t i = 0; i < fake.trial->verdicts_count; i++)
        times += strcmp(fake.trial->verdicts[i].name, "disturbed") == 0;
    cr_assert_eq(times, 1);
}

Test(verdict, disturbed_is_not_observed_without_counters, .init = setup, .fini = teardown)
{
    fake.after.busy_ns[0] = NS_PER_S;
    fake.before.has_stat = false;
    HOLDS_NOT("disturbed");
    fake.facts.before = NULL;
    HOLDS_NOT("disturbed");
}

/* Another host's CPUs have the same numbers, and are not the ones that can be seen here. */
Test(verdict, disturbed_is_of_this_host, .init = setup, .fini = teardown)
{
    fake.after.busy_ns[0] = 500 * NS_PER_MS;
    HOLDS("disturbed", "CPU 0");
    fake.trial->servers[0].clock_offset_ns = NS_PER_S;
    HOLDS_NOT("disturbed");
}

Test(verdict, too_short, .init = setup, .fini = teardown)
{
    fake.trial->ops = 30;
    HOLDS_NOT("too-short");
    fake.trial->ops = 29;
    HOLDS("too-short", "29 ops", "30");
    fake.c->asked_ops = 29;
    HOLDS_NOT("too-short");
}

/* All that hold are kept, the first is the headline. */
Test(verdict, all_at_once, .init = setup, .fini = teardown)
{
    static const char *const names[] = {"errors", "generator-bound", "unstable", "disturbed",
                                        "too-short"};

    fake.trial->errors = 1;
    fake.trial->ops = 10;
    fake.c->server_measured = true;
    fake_trial_process(&fake, false)->cpu_ns = 500 * NS_PER_MS;
    slices(20, 1000, 0, 500);
    fake.after.swapped_pages = 1;
    fake_trial_judge(&fake);
    cr_assert_eq(fake.trial->verdicts_count, 5);
    for (unsigned i = 0; i < 5; i++)
        cr_assert_str_eq(fake.trial->verdicts[i].name, names[i]);
}

/* --- watermarks --- */

static const char *marked(const char *name)
{
    fake_trial_judge(&fake);
    return fake_trial_watermark(&fake, name);
}

static void link_is(const char *link)
{
    free(fake.c->link);
    fake.c->link = strdup(link);
}

Test(verdict, marks_of_the_place, .init = setup, .fini = teardown)
{
    cr_assert_not_null(marked("shared-host"));
    cr_assert_not_null(marked("loopback"));
    cr_assert_null(marked("virtual-machine"));
    fake.facts.virtual_machine = true;
    cr_assert_not_null(marked("virtual-machine"));
    link_is("unix");
    cr_assert_not_null(marked("shared-host"));
    cr_assert_null(marked("loopback"));
    fake.facts.apart = true;
    cr_assert_null(marked("shared-host"));
}

/* Loopback is one host, whoever started the sides; an interface may lead anywhere. */
Test(verdict, which_ends_are_apart, .init = setup, .fini = teardown)
{
    const struct run_settings here = {0}, elsewhere = {.server_via = "ssh host-b"};

    cr_assert(!run_ends_apart(&here, fake.c));
    cr_assert(!run_ends_apart(&elsewhere, fake.c));
    link_is("net");
    cr_assert(!run_ends_apart(&here, fake.c));
    cr_assert(run_ends_apart(&elsewhere, fake.c));
    link_is("eth0");
    fake.c->server_address = strdup("192.0.2.1:8888");
    cr_assert(run_ends_apart(&here, fake.c));
    link_is("lo");
    cr_assert(!run_ends_apart(&here, fake.c));
}

Test(verdict, marks_of_pacing, .init = setup, .fini = teardown)
{
    run_list_add(&fake.c->params, "cc", "");
    cr_assert_null(marked("pacing"));
    fake.facts.system_cc = "bbr";
    cr_assert_not_null(marked("pacing"));
    fake.facts.fq = true;
    cr_assert_not_null(marked("pacing"), "lo has no queue that could pace");
    link_is("eth0");
    cr_assert_null(marked("pacing"));
    fake.facts.fq = false;
    cr_assert_not_null(marked("pacing"));
    link_is("unix");
    cr_assert_null(marked("pacing"));
    link_is("lo");
    free(fake.c->params.items[0].value);
    fake.c->params.items[0].value = strdup("cubic");
    cr_assert_null(marked("pacing"), "what was asked for counts");
    fake.facts.system_cc = "cubic";
    free(fake.c->params.items[0].value);
    fake.c->params.items[0].value = strdup("bbr");
    cr_assert_not_null(marked("pacing"));
}

Test(verdict, marks_of_clocks, .init = setup, .fini = teardown)
{
    cr_assert_null(marked("other-clock"));
    fake.trial->servers[0].clock_offset_ns = -5;
    fake.trial->servers[0].clock_error_ns = 75 * NS_PER_US;
    cr_assert_not_null(strstr(marked("other-clock"), "up to 75 us"));
}

Test(verdict, marks_of_capabilities, .init = setup, .fini = teardown)
{
    cr_assert_null(marked("emulated"));
    record_add_capability(fake.trial->servers[0].ready, "congestion control", "no effect", "");
    record_add_capability(fake.trial->servers[0].ready, "file segments", "emulated", "read, sent");
    record_add_capability(fake.trial->servers[0].ready, "zero-copy", "no effect", "");
    cr_assert_str_eq(marked("emulated"), "server: file segments is emulated: read, sent");
    cr_assert_str_eq(marked("no-effect"), "server: congestion control has no effect");
    static const char *const unused[] = {"other", "file segments", NULL};
    fake.c->unused = unused;
    cr_assert_null(marked("emulated"), "a workload without files");
}

Test(verdict, marks_of_drops, .init = setup, .fini = teardown)
{
    cr_assert_null(marked("listen-drops"));
    fake.trial->listen_drops = 12;
    fake.trial->syn_retries = 34;
    const char *text = marked("listen-drops");
    cr_assert(strstr(text, "12") != NULL && strstr(text, "34") != NULL, "%s", text);
    fake.trial->syn_retries = RUN_UNOBSERVED;
    text = marked("listen-drops");
    cr_assert(strstr(text, "12") != NULL && strstr(text, "SYN") == NULL, "%s", text);
    fake.trial->listen_drops = RUN_UNOBSERVED;
    cr_assert_null(marked("listen-drops"));
}

Test(verdict, marks_of_connections_that_were_lost, .init = setup, .fini = teardown)
{
    static const struct metric_def lost = {
        "connections_lost", "", METRIC_COUNTER, METRIC_LESS, "connect", "client", "kept ones"};
    Lab__Record *record = fake.trial->clients[0].record;

    cr_assert_null(marked("connections-lost"));
    record_add_value(record, &lost, 0);
    cr_assert_null(marked("connections-lost"));
    record->metrics[0]->value = 17;
    const char *text = marked("connections-lost");
    cr_assert(text != NULL && strstr(text, ": 17") != NULL, "%s", text);
    cr_assert_eq(fake.trial->verdicts_count, 0, "no op has failed");
}

/* Which may be longer than there is room for. */
Test(verdict, notes_are_told_and_cut_between_characters, .init = setup, .fini = teardown)
{
    char *note = malloc(400);

    for (unsigned i = 0; i < 199; i++)
        memcpy(note + 2 * i, "\u00e9", 2);
    note[398] = '\0';
    fake.trial->servers[0].note = note;
    fake_trial_judge(&fake);
    const char *evidence = fake_trial_watermark(&fake, "note");
    cr_assert_not_null(evidence);
    cr_assert(text_is_clean(evidence), "%s", evidence);
    cr_assert_eq(strncmp(evidence, "server: \u00e9", 10), 0, "%s", evidence);
    cr_assert_str_eq(evidence + strlen(evidence) - 5, "\u00e9...");
}
