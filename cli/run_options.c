/* See run_options.h. */
#include "cli/run_options.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "core/clock.h"
#include "core/text.h"

#define CASE(field) offsetof(struct case_options, field)
#define RUN(field)  offsetof(struct run_options, field)

/* Two minutes of one trial are long; an hour is a typo or a soak test that says so with -n. */
#define DURATION_NS_MAX (3600 * NS_PER_S)

static const char *const off_on[] = {"off", "on", NULL};

const struct option_def case_options[] = {
    {.name = "engine",
     .letter = 'e',
     .type = OPTION_TEXT,
     .offset = CASE(engine),
     .fallback = "all",
     .argument = "SPEC",
     .help = "engine to measure, name[:option[=value],...]; repeat it, or separate engines by "
             "commas",
     .group = "What is measured"},
    {.name = "workload",
     .type = OPTION_TEXT,
     .offset = CASE(workload),
     .argument = "NAME",
     .help = "the workload, as the word WORKLOAD does it",
     .group = "What is measured"},
    {.name = "server",
     .type = OPTION_TEXT,
     .offset = CASE(server),
     .argument = "HOST:PORT",
     .help = "measure a server that is already there, whoever wrote it",
     .group = "What is measured"},
    {.name = "server-engine",
     .type = OPTION_TEXT,
     .offset = CASE(server_engine),
     .argument = "SPEC",
     .help = "engine of the server, where it is to differ from the client's",
     .group = "What is measured"},
    {.name = "link",
     .type = OPTION_TEXT,
     .offset = CASE(link),
     .argument = "LINK",
     .help = "what the two ends talk over, NAME[:key=value,...], as `lab links` lists them "
             "(default: each engine's own)",
     .group = "What is measured"},
    {.name = "listen",
     .type = OPTION_TEXT,
     .offset = CASE(listen),
     .argument = "ADDR",
     .help = "where the server is to listen, instead of --link's loopback: for --server-via",
     .group = "What is measured"},
    {.name = "sweep",
     .type = OPTION_TEXT,
     .offset = CASE(sweep),
     .argument = "NAME",
     .help = "a case for each of the values that the workload knows by this name",
     .group = "What is measured"},
    {.name = "cc",
     .type = OPTION_TEXT,
     .offset = CASE(cc),
     .argument = "NAME",
     .help = "TCP congestion control of both ends, instead of the system's",
     .group = "What is measured"},
    {.name = "duration",
     .letter = 'd',
     .type = OPTION_SECONDS,
     .offset = CASE(duration_ns),
     .fallback = "500ms",
     .min = NS_PER_MS,
     .max = DURATION_NS_MAX,
     .help = "length of the window in which a trial is measured",
     .group = "How long"},
    {.name = "warmup",
     .letter = 'w',
     .type = OPTION_SECONDS,
     .offset = CASE(warmup_ns),
     .fallback = "100ms",
     .max = DURATION_NS_MAX,
     .help = "time under load before the window; none with --ops or --loops",
     .group = "How long"},
    {0},
};

static int set_label(void *options, const char *value, struct lab_error *err)
{
    struct run_options *run = options;
    const char *equals = strchr(value, '=');
    char name[64];

    if (equals == NULL || equals == value)
        return lab_fail(err, EINVAL, "--label takes a name and a value: --label branch=main");
    size_t size = (size_t)(equals - value);
    if (size >= sizeof(name))
        return lab_fail(err, EINVAL, "--label: a name has at most %zu characters",
                        sizeof(name) - 1);
    memcpy(name, value, size);
    name[size] = '\0';
    if (!text_is_clean(value))
        return lab_fail(err, EINVAL, "--label: only text, without control characters");
    for (size_t i = 0; i < run->labels.count; i++)
        if (strcmp(run->labels.items[i].name, name) == 0)
            return lab_fail(err, EINVAL, "--label '%s' is given twice", name);
    run_list_add(&run->labels, name, equals + 1);
    return 0;
}

static int set_client_via(void *options, const char *value, struct lab_error *err)
{
    struct run_options *run = options;

    (void)err;
    run_list_add(&run->client_via, "", value);
    return 0;
}

static int set_section(void *options, const char *value, struct lab_error *err)
{
    struct run_options *run = options;

    (void)err;
    run_list_add(&run->sections, value, "");
    return 0;
}

const struct option_def run_options[] = {
    {.name = "trials",
     .letter = 'r',
     .type = OPTION_COUNT,
     .offset = RUN(trials),
     .fallback = "6",
     .min = 1,
     .max = STATS_VALUES_MAX,
     .help = "trials of each case; from 6 on they give a 95 % interval",
     .group = "How long"},
    {.name = "job",
     .type = OPTION_TEXT,
     .offset = RUN(job),
     .argument = "FILE",
     .help = "cases from a job file; what the command line says as well is taken from there",
     .group = "What is measured"},
    {.name = "section",
     .type = OPTION_CUSTOM,
     .argument = "NAME",
     .set = set_section,
     .help = "of the job file only this section; may be repeated",
     .group = "What is measured"},
    {.name = "reference",
     .type = OPTION_TEXT,
     .offset = RUN(reference),
     .argument = "SPEC",
     .help = "engine to compare the others with (default: epoll, or the first)",
     .group = "What is measured"},
    {.name = "skip-unavailable",
     .type = OPTION_FLAG,
     .offset = RUN(skip_unavailable),
     .fallback = "no",
     .help = "go on without engines that were named and cannot run here",
     .group = "What is measured"},
    {.name = "seed",
     .type = OPTION_COUNT,
     .offset = RUN(seed),
     .max = INT64_MAX,
     .help = "for the order of the trials and all else that is random (default: another each run)",
     .group = "How long"},
    {.name = "client-cpus",
     .type = OPTION_TEXT,
     .offset = RUN(client_cpus),
     .argument = "LIST",
     .help = "CPUs of the client, as in 2-3,8 (default: other cores than the server's)",
     .group = "Where"},
    {.name = "server-cpus",
     .type = OPTION_TEXT,
     .offset = RUN(server_cpus),
     .argument = "LIST",
     .help = "CPUs of the server",
     .group = "Where"},
    {.name = "pin",
     .type = OPTION_CHOICE,
     .offset = RUN(pin),
     .fallback = "on",
     .choices = off_on,
     .help = "keep client and server on CPUs of their own",
     .group = "Where"},
    {.name = "server-via",
     .type = OPTION_TEXT,
     .offset = RUN(server_via),
     .argument = "CMD",
     .help = "command that starts the server elsewhere: 'ip netns exec b', 'ssh host'",
     .group = "Where"},
    {.name = "client-via",
     .type = OPTION_CUSTOM,
     .argument = "CMD",
     .set = set_client_via,
     .help = "the same for a client; repeat it for several clients",
     .group = "Where"},
    {.name = "json",
     .type = OPTION_TEXT,
     .offset = RUN(json),
     .argument = "FILE",
     .help = "write all results as JSON; - is standard output, in the place of the table",
     .group = "What comes out"},
    {.name = "json-compact",
     .type = OPTION_FLAG,
     .offset = RUN(json_compact),
     .fallback = "no",
     .help = "leave the histograms out of the JSON",
     .group = "What comes out"},
    {.name = "label",
     .type = OPTION_CUSTOM,
     .argument = "NAME=VALUE",
     .set = set_label,
     .help = "keep a label with the results; may be repeated",
     .group = "What comes out"},
    {.name = "max-errors",
     .type = OPTION_COUNT,
     .offset = RUN(max_errors),
     .fallback = "0",
     .help = "exit with 1 when more ops of a trial than this have failed; by default any",
     .group = "What comes out"},
    {.name = "strict",
     .type = OPTION_FLAG,
     .offset = RUN(strict),
     .fallback = "no",
     .help = "exit with 3 when a trial's verdict is other than valid",
     .group = "What comes out"},
    {.name = "quiet",
     .letter = 'q',
     .type = OPTION_FLAG,
     .offset = RUN(quiet),
     .fallback = "no",
     .help = "no progress",
     .group = "What comes out"},
    {.name = "verbose",
     .letter = 'v',
     .type = OPTION_FLAG,
     .offset = RUN(verbose),
     .fallback = "no",
     .help =
         "a line a trial, the end of what its processes said, and the effective settings in full",
     .group = "What comes out"},
    {0},
};

void run_options_free(struct run_options *options)
{
    run_list_free(&options->client_via);
    run_list_free(&options->labels);
    run_list_free(&options->sections);
}
