/*
 * `lab links`: what two ends can talk over, which of it can be made here, over which engines, and
 * the options of a link; all from the tables of links and engines.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/grid.h"
#include "cli/notes.h"
#include "cli/term.h"
#include "core/link.h"
#include "core/parse.h"
#include "engines/engine.h"
#include "run/link.h"

/* Engines that say they run over it, "a, b"; those for tests are left out. */
static void links_engines(const struct link_kind *kind, char *out, size_t size)
{
    out[0] = '\0';
    for (unsigned i = 0; engine_registry[i] != NULL; i++) {
        const struct engine_ops *ops = engine_registry[i];
        size_t used = strlen(out);
        if ((ops->flags & ENGINE_FOR_TESTS) == 0 && ops->absent == NULL &&
            engine_takes_link(ops, kind, NULL) == 0)
            snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "", ops->name);
    }
}

/* 0, or why the controller cannot make it here. */
static int links_ask(const struct link_kind *kind, struct lab_error *why)
{
    /* What needs a device is asked for with one: whether it is there, its engine knows. */
    const struct link link = {.kind = kind};
    return run_link_probe(&link, why);
}

static void links_print_all(void)
{
    struct grid *grid = grid_new();
    unsigned name = grid_column(grid, GRID_LEFT, 0), here = grid_column(grid, GRID_LEFT, 0);
    unsigned engines = grid_column(grid, GRID_LEFT, 1), what = grid_column(grid, GRID_LEFT, 0);
    unsigned row = grid_row(grid);

    grid_set(grid, row, name, "link");
    grid_set(grid, row, here, "here");
    grid_set(grid, row, engines, "engines");
    grid_set(grid, row, what, "what it is");
    grid_strong(grid, row);
    for (const struct link_kind *kind = link_kinds; kind->name != NULL; kind++) {
        struct lab_error why;
        char names[200];
        bool can = links_ask(kind, &why) == 0;
        links_engines(kind, names, sizeof(names));
        row = grid_row(grid);
        grid_set(grid, row, name, "%s", kind->name);
        grid_set(grid, row, here, "%s", can ? "yes" : "no");
        grid_set(grid, row, engines, "%s", names[0] != '\0' ? names : "none that is built in");
        grid_set(grid, row, what, "%s", kind->help);
        if (!can) {
            row = grid_row(grid);
            grid_set(grid, row, what, "%s", why.text);
        }
    }
    grid_print(grid, stdout, term_columns(stdout), term_colour(stdout));
    grid_free(grid);
    puts("\n`lab links NAME` tells more of one, and its options; `lab run --link NAME` uses it.");
}

static void links_print_options(void)
{
    struct grid *grid = grid_new();
    char choices[160];

    for (unsigned column = 0; column < 3; column++)
        grid_column(grid, GRID_LEFT, 0);
    unsigned row = grid_row(grid);
    grid_set(grid, row, 0, "option");
    grid_set(grid, row, 1, "default");
    grid_strong(grid, row);
    for (const struct option_def *def = link_options; def->name != NULL; def++) {
        const char *argument = args_argument(def, choices, sizeof(choices));
        row = grid_row(grid);
        grid_set(grid, row, 0, "%s%s%s", def->name, argument == NULL ? "" : "=",
                 argument == NULL ? "" : argument);
        grid_set(grid, row, 1, "%s", def->fallback == NULL ? "" : def->fallback);
        grid_set(grid, row, 2, "%s", def->help);
    }
    grid_print(grid, stdout, term_columns(stdout), term_colour(stdout));
    grid_free(grid);
}

static int links_print_one(const struct link_kind *kind)
{
    struct lab_error why;
    char names[200], *text = NULL;
    bool can = links_ask(kind, &why) == 0;

    printf("%s: %s\n", kind->name, kind->help);
    if (asprintf(&text, "here: %s%s", can ? "yes" : "no: ", can ? "" : why.text) < 0)
        abort();
    notes_wrap(stdout, text, 4, term_columns(stdout));
    free(text);
    links_engines(kind, names, sizeof(names));
    printf("engines: %s\n", names[0] != '\0' ? names : "none that is built in");
    for (const struct link_remark *remark = kind->remarks; remark->id != NULL; remark++) {
        if (asprintf(&text, "%s: %s", remark->id, remark->text) < 0)
            abort();
        notes_wrap(stdout, text, 4, term_columns(stdout));
        free(text);
    }
    if (kind->frames) {
        fputc('\n', stdout);
        links_print_options();
    }
    const char *option = kind->device_needed ? ":device=..." : kind->frames ? ":mtu=9000" : "";
    printf("\nas in: lab run --link %s%s\n", kind->name, option);
    return can ? CLI_OK : CLI_UNAVAILABLE;
}

static int links_unknown(const char *word)
{
    const char *names[32];
    char near[PARSE_MEANT_MAX];
    unsigned count = 0;

    for (const struct link_kind *kind = link_kinds; kind->name != NULL && count < 31; kind++)
        names[count++] = kind->name;
    names[count] = NULL;
    return cli_fail(CLI_USAGE, "there is no link '%s'%s (`lab links` lists them)", word,
                    parse_meant(word, names, near));
}

static int links_main(const struct command *self, int argc, char **argv)
{
    struct args args;
    struct lab_error err;
    int exit_code = CLI_OK;

    if (args_parse(self, argc, argv, &args, &err) < 0) {
        exit_code = cli_fail(CLI_USAGE, "%s", err.text);
    } else if (args.help) {
        args_help(self, stdout);
    } else if (args.words_count > 1) {
        exit_code =
            cli_fail(CLI_USAGE, "'%s' is one word too many: lab links [NAME]", args.words[1]);
    } else if (args.words_count == 0) {
        links_print_all();
    } else {
        const struct link_kind *kind = link_kind_find(args.words[0]);
        exit_code = kind != NULL ? links_print_one(kind) : links_unknown(args.words[0]);
    }
    args_free(&args);
    return exit_code;
}

static void links_tables(const struct option_def **tables)
{
    tables[0] = NULL;
}

const struct command command_links = {
    .name = "links",
    .words = "[NAME]",
    .help = "list what two ends can talk over, and whether it can be made here",
    .about = "With a name: its engines and its options. Exit code 77 if it cannot be made here.",
    .tables = links_tables,
    .main = links_main,
};
