/* See dump.h. */
#include "cli/dump.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"

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

static void dump_man_option(void *context, const struct option_def *def)
{
    const char **group = context;
    char choices[160];
    const char *argument = args_argument(def, choices, sizeof(choices));

    if (def->group != NULL && (*group == NULL || strcmp(*group, def->group) != 0)) {
        *group = def->group;
        fputs(".PP\n.I ", stdout);
        dump_roff(def->group);
        fputc('\n', stdout);
    }
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
    if (def->fallback != NULL && def->fallback[0] != '\0' && def->type != OPTION_FLAG) {
        fputs(" (default ", stdout);
        dump_roff(def->fallback);
        fputc(')', stdout);
    }
    fputs(".\n", stdout);
}

static void dump_man(void)
{
    for (unsigned i = 0; commands[i] != NULL; i++) {
        const struct command *command = commands[i];
        const char *group = NULL;
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
            dump_roff(command->about);
            fputc('\n', stdout);
        }
        args_each(command, dump_man_option, &group);
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
    if (argc == 2 && strcmp(argv[0], "words") == 0)
        return dump_command(argv[1], dump_word);
    if (argc == 2 && strcmp(argv[0], "choices") == 0)
        return dump_command(argv[1], dump_choice);
    return cli_fail(CLI_USAGE, "--dump-options takes: man, commands, words COMMAND, or choices "
                               "COMMAND");
}
