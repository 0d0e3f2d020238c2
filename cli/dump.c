/* See dump.h. */
#include "cli/dump.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "client/workload.h"
#include "core/link.h"
#include "engines/engine.h"

/* roff takes a leading dot or quote for a request and a bare hyphen for one to break at. */
static void dump_roff(const char *text)
{
    if (text[0] == '.' || text[0] == '\'')
        fputs("\\&", stdout);
    for (; *text != '\0'; text++) {
        if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\\')
            fputs("\\e", stdout);
        else
            fputc(*text, stdout);
    }
}

/* Paragraphs, as blank lines part them. */
static void dump_roff_text(const char *text)
{
    for (;;) {
        const char *end = strstr(text, "\n\n");
        if (end == NULL) {
            dump_roff(text);
            fputc('\n', stdout);
            return;
        }
        char *paragraph = strndup(text, (size_t)(end - text));
        if (paragraph == NULL)
            abort();
        dump_roff(paragraph);
        fputs("\n.PP\n", stdout);
        free(paragraph);
        text = end + 2;
    }
}

static void dump_man_option(const struct option_def *def)
{
    char choices[160];
    const char *argument = args_argument(def, choices, sizeof(choices));

    fputs(".TP\n", stdout);
    if (def->letter != 0)
        printf("\\fB\\-%c\\fR, ", def->letter);
    fputs("\\fB\\-\\-", stdout);
    dump_roff(def->name);
    fputs("\\fR", stdout);
    if (argument != NULL) {
        fputs(def->type == OPTION_TIME_OPT ? "[=\\fI" : " \\fI", stdout);
        dump_roff(argument);
        fputs(def->type == OPTION_TIME_OPT ? "\\fR]" : "\\fR", stdout);
    }
    fputc('\n', stdout);
    dump_roff(def->help);
    if (args_default(def) != NULL) {
        fputs(" (default ", stdout);
        dump_roff(args_default(def));
        fputc(')', stdout);
    }
    fputs(".\n", stdout);
}

/* The group that is being written; tables mix them. */
struct dump_group {
    const char *name, *next; /* next: the first one that is not written yet */
    const char *written[32];
    unsigned written_count;
};

static bool dump_is_written(const struct dump_group *group, const char *name)
{
    for (unsigned i = 0; i < group->written_count; i++)
        if (strcmp(group->written[i], name) == 0)
            return true;
    return false;
}

static void dump_group_option(void *context, const struct option_def *def)
{
    struct dump_group *group = context;
    const char *name = def->group == NULL ? "Other" : def->group;

    if (group->name != NULL && strcmp(group->name, name) == 0)
        dump_man_option(def);
    else if (group->next == NULL && !dump_is_written(group, name))
        group->next = name;
}

static void dump_man_options(const struct command *command)
{
    struct dump_group group = {0};

    args_each(command, dump_group_option, &group);
    while (group.next != NULL && group.written_count < 32) {
        group.name = group.next;
        group.written[group.written_count++] = group.name;
        group.next = NULL;
        fputs(".PP\n.I ", stdout);
        dump_roff(group.name);
        fputc('\n', stdout);
        args_each(command, dump_group_option, &group);
    }
}

static void dump_man(void)
{
    for (unsigned i = 0; commands[i] != NULL; i++) {
        const struct command *command = commands[i];
        if (command->hidden)
            continue;
        fputs(".SS \"lab ", stdout);
        dump_roff(command->name);
        if (command->words != NULL) {
            fputc(' ', stdout);
            dump_roff(command->words);
        }
        fputs("\"\n", stdout);
        printf("%c", toupper((unsigned char)command->help[0]));
        dump_roff(command->help + 1);
        fputs(".\n", stdout);
        if (command->about != NULL) {
            fputs(".PP\n", stdout);
            dump_roff_text(command->about);
        }
        dump_man_options(command);
    }
}

static void dump_man_links(void)
{
    for (const struct link_kind *kind = link_kinds; kind->name != NULL; kind++) {
        printf(".TP\n.B %s\n", kind->name);
        dump_roff(kind->help);
        fputs(".\n", stdout);
    }
    fputs(".PP\nOptions of those that carry packets:\n", stdout);
    for (const struct option_def *def = link_options; def->name != NULL; def++) {
        char choices[160];
        const char *argument = args_argument(def, choices, sizeof(choices));
        printf(".TP\n\\fB%s\\fR%s%s%s\n", def->name, argument == NULL ? "" : "=\\fI",
               argument == NULL ? "" : argument, argument == NULL ? "" : "\\fR");
        dump_roff(def->help);
        if (args_default(def) != NULL)
            printf(" (default %s)", args_default(def));
        fputs(".\n", stdout);
    }
}

static void dump_word(void *context, const struct option_def *def)
{
    (void)context;
    printf("--%s\n", def->name);
    if (def->letter != 0)
        printf("-%c\n", def->letter);
}

/* `--close fin|rst|server`: an option and the words that may follow it, a line each. */
static void dump_choice(void *context, const struct option_def *def)
{
    (void)context;
    if (def->type != OPTION_CHOICE)
        return;
    printf("--%s", def->name);
    for (unsigned i = 0; def->choices[i] != NULL; i++)
        printf(" %s", def->choices[i]);
    fputc('\n', stdout);
}

static int dump_command(const char *name, void (*each)(void *context, const struct option_def *def))
{
    for (unsigned i = 0; commands[i] != NULL; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            args_each(commands[i], each, NULL);
            if (each == dump_word)
                puts("--help");
            return CLI_OK;
        }
    }
    return cli_fail(CLI_USAGE, "--dump-options: there is no command '%s'", name);
}

int dump_options(int argc, char **argv)
{
    if (argc == 1 && strcmp(argv[0], "man-links") == 0) {
        dump_man_links();
        return CLI_OK;
    }
    if (argc == 1 && strcmp(argv[0], "man") == 0) {
        dump_man();
        return CLI_OK;
    }
    if (argc == 1 && strcmp(argv[0], "commands") == 0) {
        for (unsigned i = 0; commands[i] != NULL; i++)
            if (!commands[i]->hidden)
                puts(commands[i]->name);
        return CLI_OK;
    }
    if (argc == 1 && strcmp(argv[0], "engines") == 0) {
        for (unsigned i = 0; engine_registry[i] != NULL; i++)
            puts(engine_registry[i]->name);
        return CLI_OK;
    }
    if (argc == 1 && strcmp(argv[0], "links") == 0) {
        for (const struct link_kind *kind = link_kinds; kind->name != NULL; kind++)
            puts(kind->name);
        return CLI_OK;
    }
    if (argc == 1 && strcmp(argv[0], "workloads") == 0) {
        for (unsigned i = 0; client_workloads[i] != NULL; i++)
            puts(client_workload_name(client_workloads[i]));
        return CLI_OK;
    }
    if (argc == 2 && strcmp(argv[0], "words") == 0)
        return dump_command(argv[1], dump_word);
    if (argc == 2 && strcmp(argv[0], "choices") == 0)
        return dump_command(argv[1], dump_choice);
    return cli_fail(CLI_USAGE,
                    "--dump-options takes: man, man-links, commands, engines, links, workloads, "
                    "words COMMAND or choices COMMAND");
}
