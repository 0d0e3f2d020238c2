/* Command lines against tables: what is taken, and the sentence for what is not. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"

TestSuite(args, .timeout = 10);

struct options {
    uint64_t connections, duration_ns, spin_ns;
    bool quiet, reconnect;
    int link;
    char engine[OPTION_TEXT_MAX];
};

static const char *const links[] = {"lo", "unix", NULL};

static const struct option_def options_table[] = {
    {.name = "connections",
     .letter = 'c',
     .type = OPTION_COUNT,
     .offset = offsetof(struct options, connections),
     .fallback = "32",
     .min = 1,
     .help = "connections",
     .group = "Load"},
    {.name = "connections-max",
     .type = OPTION_COUNT,
     .offset = offsetof(struct options, connections),
     .help = "another",
     .group = "Load"},
    {.name = "duration",
     .letter = 'd',
     .type = OPTION_SECONDS,
     .offset = offsetof(struct options, duration_ns),
     .fallback = "500ms",
     .help = "how long",
     .group = "Time"},
    {.name = "spin",
     .type = OPTION_TIME_OPT,
     .offset = offsetof(struct options, spin_ns),
     .help = "look first",
     .group = "Time"},
    {.name = "engine",
     .letter = 'e',
     .type = OPTION_TEXT,
     .offset = offsetof(struct options, engine),
     .fallback = "epoll",
     .help = "which",
     .group = "Load"},
    {.name = "link",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct options, link),
     .fallback = "lo",
     .choices = links,
     .help = "over what",
     .group = "Load"},
    {0},
};

/* Knows --engine too, as two tables may. */
static const struct option_def flags_table[] = {
    {.name = "quiet",
     .letter = 'q',
     .type = OPTION_FLAG,
     .offset = offsetof(struct options, quiet),
     .fallback = "no",
     .help = "say nothing"},
    {.name = "reconnect",
     .letter = 'r',
     .type = OPTION_FLAG,
     .offset = offsetof(struct options, reconnect),
     .fallback = "no",
     .help = "again"},
    {.name = "engine",
     .type = OPTION_TEXT,
     .offset = offsetof(struct options, engine),
     .fallback = "epoll",
     .help = "which"},
    {0},
};

static void tables(const struct option_def **out)
{
    out[0] = options_table;
    out[1] = flags_table;
    out[2] = NULL;
}

static const struct command command = {
    .name = "test", .words = "[WORD]", .help = "be tested", .tables = tables};

#define WORDS_MAX 16

/* argv from words between blanks. */
static int parse(const char *line, char *copy, struct args *args, struct lab_error *err)
{
    char *argv[WORDS_MAX], *rest = strcpy(copy, line), *word;
    int argc = 0;

    argv[argc++] = "test";
    while ((word = strsep(&rest, " ")) != NULL)
        if (*word != '\0')
            argv[argc++] = word;
    argv[argc] = NULL;
    return args_parse(&command, argc, argv, args, err);
}

static struct options fill(const char *line)
{
    struct options options = {0}, flags = {0};
    const struct args_target targets[] = {{options_table, &options}, {flags_table, &flags}};
    struct args args;
    struct lab_error err;
    char copy[200];

    cr_assert_eq(parse(line, copy, &args, &err), 0, "%s", err.text);
    cr_assert_eq(args_fill(&args, targets, 2, "test", &err), 0, "%s", err.text);
    cr_assert_str_eq(options.engine, flags.engine, "both tables know --engine");
    options.quiet = flags.quiet;
    options.reconnect = flags.reconnect;
    args_free(&args);
    return options;
}

Test(args, defaults_without_words)
{
    struct options options = fill("");
    cr_assert_eq(options.connections, 32);
    cr_assert_eq(options.duration_ns, 500000000);
    cr_assert_str_eq(options.engine, "epoll");
    cr_assert_not(options.quiet);
}

Test(args, every_way_to_write_an_option)
{
    struct options options = fill("-c 8 --duration=2 -e io_uring --link unix -q --reconnect");
    cr_assert_eq(options.connections, 8);
    cr_assert_eq(options.duration_ns, 2000000000);
    cr_assert_str_eq(options.engine, "io_uring");
    cr_assert_eq(options.link, 1);
    cr_assert(options.quiet && options.reconnect);
    cr_assert_eq(fill("-c8").connections, 8);
    cr_assert_eq(fill("--connections 1 --connections 2").connections, 2, "the last one counts");
    cr_assert_eq(fill("--dur 1").duration_ns, 1000000000, "an abbreviation");
}

Test(args, switches)
{
    cr_assert(fill("-qr").quiet && fill("-rq").reconnect, "letters stand together");
    cr_assert_eq(fill("-qc8").connections, 8);
    cr_assert_not(fill("-q --quiet=no").quiet);
    cr_assert_eq(fill("--spin").spin_ns, OPTION_ALWAYS);
    cr_assert_eq(fill("--spin=50us").spin_ns, 50000);
}

Test(args, words_among_options)
{
    struct args args;
    struct lab_error err;
    char copy[200];

    cr_assert_eq(parse("echo -c 8 host:80 -- -q", copy, &args, &err), 0);
    cr_assert_eq(args.words_count, 3);
    cr_assert_str_eq(args.words[0], "echo");
    cr_assert_str_eq(args.words[1], "host:80");
    cr_assert_str_eq(args.words[2], "-q");
    cr_assert_str_eq(args_value(&args, "connections", NULL), "8");
    bool found;
    args_value(&args, "quiet", &found);
    cr_assert_not(found);
    args_free(&args);
}

Test(args, help_is_seen_before_anything_is_wrong)
{
    struct args args;
    struct lab_error err;
    char copy[200];

    cr_assert_eq(parse("--help", copy, &args, &err), 0);
    cr_assert(args.help);
    args_free(&args);
}

struct wrong {
    const char line[60], says[100];
};

ParameterizedTestParameters(args, refused)
{
    static struct wrong wrongs[] = {
        {"--conections 8", "unknown option --conections: did you mean --connections?"},
        {"--conections=8", "unknown option --conections: did you mean --connections?"},
        {"--xyzzy", "unknown option --xyzzy (lab test --help lists all)"},
        {"-x", "unknown option -x (lab test --help lists all)"},
        {"-qx", "unknown option -x (lab test --help lists all)"},
        {"-x -c 8", "unknown option -x (lab test --help lists all)"},
        {"-c 8 -x", "unknown option -x (lab test --help lists all)"},
        {"--connections", "--connections needs a value: --connections N"},
        {"--link", "--link needs a value: --link lo|unix"},
        {"-c", "-c needs a value: -c N"},
        {"-qc", "-c needs a value: -c N"},
        {"--lin", "there is no --lin; as short for --link it needs a value: --link lo|unix"},
        {"--help=yes", "--help takes no value: leave it out"},
        {"--hel=yes", "--help takes no value: leave it out"},
        {"--conn 8", "--conn could be --connections or --connections-max: write it out"},
    };
    return cr_make_param_array(struct wrong, wrongs, sizeof(wrongs) / sizeof(*wrongs));
}

ParameterizedTest(struct wrong *wrong, args, refused)
{
    struct args args;
    struct lab_error err = {"taken"};
    char copy[200];

    cr_assert_eq(parse(wrong->line, copy, &args, &err), -EINVAL, "%s", wrong->line);
    cr_assert_eq(strncmp(err.text, wrong->says, strlen(wrong->says)), 0, "%s", err.text);
    args_free(&args);
}

Test(args, what_no_target_knows_is_refused)
{
    struct options options = {0};
    const struct args_target targets[] = {{options_table, &options}};
    struct args args;
    struct lab_error err;
    char copy[200];

    cr_assert_eq(parse("-q", copy, &args, &err), 0);
    cr_assert_eq(args_fill(&args, targets, 1, "echo", &err), -EINVAL);
    cr_assert_str_eq(err.text, "--quiet is not an option of echo: leave it out");
    args_free(&args);
}

Test(args, help_shows_groups_arguments_and_defaults)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    args_help(&command, out);
    fclose(out);
    cr_assert_not_null(strstr(text, "Usage: lab test [OPTION...] [WORD]"), "%s", text);
    cr_assert_not_null(strstr(text, " Load:"), "%s", text);
    cr_assert_not_null(strstr(text, "-c, --connections=N"), "%s", text);
    cr_assert_not_null(strstr(text, "(default 32)"), "%s", text);
    cr_assert_not_null(strstr(text, "--link=lo|unix"), "%s", text);
    cr_assert_not_null(strstr(text, "-q, --quiet "), "%s", text);
    cr_assert_null(strstr(text, "yes|no"), "a switch is shown as one");
    free(text);
}
