/*
 * `lab engines`: which engines there are, which can run here, and if not, why and what to do;
 * with a name, what that one can do here and what it can be told. As JSON too.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/grid.h"
#include "cli/notes.h"
#include "cli/specs.h"
#include "cli/term.h"
#include "core/record.h"
#include "engines/engine.h"

#define ENGINES_CONNS_MANY 1000000 /* more than fds: no limit to speak of */

struct engines_options {
    bool json;
};

static const struct option_def engines_options[] = {
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct engines_options, json),
     .fallback = "no",
     .help = "as JSON",
     .group = "What comes out"},
    {0},
};

/* What asking an engine brought. */
struct engines_answer {
    const struct engine_ops *ops;
    struct engine_spec spec;
    bool here;
    char reason[512];
    struct engine_caps caps;
};

/* -EINVAL with a sentence: the spec is wrong. 0 otherwise, whether it can run here or not. */
static int engines_ask(const char *text, struct engines_answer *answer, struct lab_error *err)
{
    *answer = (struct engines_answer){0};
    int r = specs_parse(text, &answer->spec, err);
    if (r == -ENOSYS) {
        answer->ops = answer->spec.ops;
        snprintf(answer->reason, sizeof(answer->reason), "%s", answer->ops->absent);
        return 0;
    }
    if (r < 0)
        return r;
    answer->ops = answer->spec.ops;
    const struct engine_config config = {.options = answer->spec.options, .conns_hint = 1};
    struct lab_error why;
    answer->here = answer->ops->probe(&config, &answer->caps, &why) == 0;
    if (!answer->here)
        snprintf(answer->reason, sizeof(answer->reason), "%s", why.text);
    return 0;
}

/* --- for a person --- */

static void engines_print_all(void)
{
    struct grid *grid = grid_new();
    unsigned name = grid_column(grid, GRID_LEFT, 0), here = grid_column(grid, GRID_LEFT, 0);
    unsigned what = grid_column(grid, GRID_LEFT, 0), row = grid_row(grid);
    unsigned width = term_columns(stdout);

    grid_set(grid, row, name, "engine");
    grid_set(grid, row, here, "here");
    grid_set(grid, row, what, "what it is");
    grid_strong(grid, row);
    for (unsigned i = 0; engine_registry[i] != NULL; i++) {
        struct engines_answer answer;
        struct lab_error err;
        const struct engine_ops *ops = engine_registry[i];
        int r = engines_ask(ops->name, &answer, &err);
        row = grid_row(grid);
        grid_set(grid, row, name, "%s", ops->name);
        grid_set(grid, row, here, "%s", r == 0 && answer.here ? "yes" : "no");
        grid_set(grid, row, what, "%s%s", ops->help,
                 ops->flags & ENGINE_FOR_TESTS ? " (for tests: not part of `all`)" : "");
        if (r < 0 || !answer.here) {
            row = grid_row(grid);
            grid_set(grid, row, what, "%s", r < 0 ? err.text : answer.reason);
        }
        engine_spec_free(&answer.spec);
    }
    grid_print(grid, stdout, width, term_colour(stdout));
    grid_free(grid);
    puts("\n`lab engines NAME` tells what one can do here, and its options.");
}

static void engines_print_links(struct grid *grid, unsigned row, unsigned column,
                                const char *const *links)
{
    char text[160] = "";

    for (unsigned i = 0; links != NULL && links[i] != NULL; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i == 0 ? "" : ", ",
                 links[i]);
    grid_set(grid, row, column, "%s", links == NULL ? "none: both sides are one process" : text);
}

static void engines_print_caps(const struct engine_ops *ops, const struct engine_caps *caps)
{
    struct grid *grid = grid_new();
    unsigned name = grid_column(grid, GRID_LEFT, 0), state = grid_column(grid, GRID_LEFT, 0);
    unsigned note = grid_column(grid, GRID_LEFT, 0), row = grid_row(grid);

    grid_set(grid, row, name, "capability");
    grid_set(grid, row, state, "here");
    grid_strong(grid, row);
    row = grid_row(grid);
    grid_set(grid, row, name, "waiting");
    grid_set(grid, row, state, "%s", caps->spins ? "spins" : "sleeps");
    row = grid_row(grid);
    grid_set(grid, row, name, "connections an instance");
    if (caps->conns_max == 0 || caps->conns_max >= ENGINES_CONNS_MANY)
        grid_set(grid, row, state, "any");
    else
        grid_set(grid, row, state, "%u", caps->conns_max);
    if (caps->conns_max == 1)
        grid_set(grid, row, note, "a thread each");
    row = grid_row(grid);
    grid_set(grid, row, name, "links");
    engines_print_links(grid, row, state, ops->links);
    for (unsigned i = 0; i < caps->count; i++) {
        row = grid_row(grid);
        grid_set(grid, row, name, "%s", caps->list[i].name);
        grid_set(grid, row, state, "%s", record_states[caps->list[i].state]);
        grid_set(grid, row, note, "%s", caps->list[i].note);
    }
    grid_print(grid, stdout, term_columns(stdout), term_colour(stdout));
    grid_free(grid);
}

static void engines_option_row(struct grid *grid, const struct option_def *def)
{
    unsigned row = grid_row(grid);
    char choices[160];
    const char *argument = args_argument(def, choices, sizeof(choices));
    const char *fallback = def->fallback == NULL ? "" : def->fallback;
    bool optional = def->type == OPTION_TIME_OPT;

    grid_set(grid, row, 0, "%s%s%s%s", def->name, argument == NULL ? "" : (optional ? "[=" : "="),
             argument == NULL ? "" : argument, argument != NULL && optional ? "]" : "");
    grid_set(grid, row, 1, "%s", fallback);
    grid_set(grid, row, 2, "%s", def->help);
}

static void engines_print_options(const struct engine_ops *ops)
{
    struct grid *grid = grid_new();

    for (unsigned column = 0; column < 3; column++)
        grid_column(grid, GRID_LEFT, 0);
    unsigned row = grid_row(grid);
    grid_set(grid, row, 0, "option");
    grid_set(grid, row, 1, "default");
    grid_strong(grid, row);
    for (const struct option_def *def = ops->options; def != NULL && def->name != NULL; def++)
        engines_option_row(grid, def);
    for (const struct option_def *def = engine_common_options; def->name != NULL; def++)
        engines_option_row(grid, def);
    grid_print(grid, stdout, term_columns(stdout), term_colour(stdout));
    grid_free(grid);
}

static void engines_print_one(const struct engines_answer *answer)
{
    const struct engine_ops *ops = answer->ops;

    printf("%s: %s%s\n", ops->name, ops->help,
           ops->flags & ENGINE_FOR_TESTS ? " (for tests: not part of `all`)" : "");
    if (answer->here) {
        printf("here: yes\n\n");
        engines_print_caps(ops, &answer->caps);
    } else {
        char *text = NULL;
        if (asprintf(&text, "here: no: %s", answer->reason) < 0)
            abort();
        notes_wrap(stdout, text, 4, term_columns(stdout));
        free(text);
    }
    fputc('\n', stdout);
    if (ops->absent == NULL)
        engines_print_options(ops);
    printf("\nas in: lab run --engine %s", ops->name);
    if (ops->absent == NULL && ops->options != NULL && ops->options[0].name != NULL)
        printf(", or --engine %s:%s%s", ops->name, ops->options[0].name,
               ops->options[0].type == OPTION_FLAG || ops->options[0].type == OPTION_TIME_OPT
                   ? ""
                   : "=...");
    fputc('\n', stdout);
}

/* --- as JSON --- */

static json_t *engines_json_text(const char *text)
{
    return text == NULL || text[0] == '\0' ? json_null() : json_string(text);
}

static void engines_json_options(json_t *array, const struct option_def *table)
{
    char choices[160];

    for (; table != NULL && table->name != NULL; table++)
        json_array_append_new(
            array, json_pack("{ss so so ss}", "name", table->name, "argument",
                             engines_json_text(args_argument(table, choices, sizeof(choices))),
                             "default", engines_json_text(table->fallback), "help", table->help));
}

static json_t *engines_json_one(const struct engines_answer *answer)
{
    const struct engine_ops *ops = answer->ops;
    json_t *capabilities = json_object(), *options = json_array(), *links = json_array();

    for (unsigned i = 0; answer->here && i < answer->caps.count; i++)
        json_object_set_new(capabilities, answer->caps.list[i].name,
                            json_pack("{ss so}", "state", record_states[answer->caps.list[i].state],
                                      "note", engines_json_text(answer->caps.list[i].note)));
    for (unsigned i = 0; ops->links != NULL && ops->links[i] != NULL; i++)
        json_array_append_new(links, json_string(ops->links[i]));
    if (ops->absent == NULL) {
        engines_json_options(options, ops->options);
        engines_json_options(options, engine_common_options);
    }
    return json_pack("{ss ss sb sb sb so so so so}", "name", ops->name, "help", ops->help, "here",
                     answer->here, "built", ops->absent == NULL, "for_tests",
                     (ops->flags & ENGINE_FOR_TESTS) != 0, "reason",
                     engines_json_text(answer->reason), "links", links, "capabilities",
                     capabilities, "options", options);
}

/* A list, of however many: its array is taken over. */
static void engines_json_print(json_t *array)
{
    json_dumpf(array, stdout, JSON_INDENT(1));
    fputc('\n', stdout);
    json_decref(array);
}

static void engines_json_all(void)
{
    json_t *array = json_array();
    struct lab_error err;

    for (unsigned i = 0; engine_registry[i] != NULL; i++) {
        struct engines_answer answer;
        if (engines_ask(engine_registry[i]->name, &answer, &err) == 0)
            json_array_append_new(array, engines_json_one(&answer));
        engine_spec_free(&answer.spec);
    }
    engines_json_print(array);
}

/* --- the command --- */

static int engines_run(const struct args *args, const struct engines_options *options)
{
    struct engines_answer answer;
    struct lab_error err;

    if (args->words_count > 1)
        return cli_fail(CLI_USAGE, "'%s' is one word too many: lab engines [NAME]", args->words[1]);
    if (args->words_count == 0) {
        if (options->json)
            engines_json_all();
        else
            engines_print_all();
        return CLI_OK;
    }
    if (engines_ask(args->words[0], &answer, &err) < 0)
        return cli_fail(CLI_USAGE, "%s", err.text);
    int exit_code = answer.here ? CLI_OK : CLI_UNAVAILABLE;
    if (options->json)
        engines_json_print(json_pack("[o]", engines_json_one(&answer)));
    else
        engines_print_one(&answer);
    engine_spec_free(&answer.spec);
    return exit_code;
}

static int engines_main(const struct command *self, int argc, char **argv)
{
    struct engines_options options = {0};
    const struct args_target targets[] = {{engines_options, &options}};
    struct args args;
    struct lab_error err;
    int exit_code = CLI_OK;

    if (args_parse(self, argc, argv, &args, &err) < 0 ||
        (!args.help && args_fill(&args, targets, 1, "lab engines", &err) < 0))
        exit_code = cli_fail(CLI_USAGE, "%s", err.text);
    else if (args.help)
        args_help(self, stdout);
    else
        exit_code = engines_run(&args, &options);
    args_free(&args);
    return exit_code;
}

static void engines_tables(const struct option_def **tables)
{
    tables[0] = engines_options;
    tables[1] = NULL;
}

const struct command command_engines = {
    .name = "engines",
    .words = "[NAME]",
    .help = "list the engines: which can run here, what each can do",
    .about = "With a name (or a whole spec, as in epoll:spin): its capabilities here and its "
             "options. Exit code 77 if it cannot run here.",
    .tables = engines_tables,
    .main = engines_main,
};
