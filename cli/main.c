/*
 * lab: measures how fast, and where the time goes, when one program talks to another over a
 * network, with the same workload over interchangeable I/O engines. This file finds the
 * subcommand; each has a file of its own.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/dump.h"
#include "cli/term.h"
#include "core/parse.h"

const struct command *const commands[] = {
    &command_run, &command_serve, &command_engines, &command_links, &command_drive, NULL,
};

static void main_help(FILE *out)
{
    fputs("lab measures how fast, and where the time goes, when one program talks to another\n"
          "over a network: the same workload over interchangeable I/O engines.\n\n"
          "Usage: lab COMMAND [...]\n\n",
          out);
    for (unsigned i = 0; commands[i] != NULL; i++)
        if (!commands[i]->hidden)
            fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->help);
    fputs("\n`lab run` alone measures every workload over every engine that can run here.\n"
          "`lab COMMAND --help` lists a command's options; `lab --version` says what was built.\n",
          out);
}

static void main_version(void)
{
    printf("lab %s (%s)\n", cli_version, cli_commit);
    for (const struct cli_feature *feature = cli_features; feature->name != NULL; feature++)
        printf("  %-10s %s%s\n", feature->name, feature->reason == NULL ? "yes" : "no: ",
               feature->reason == NULL ? feature->detail : feature->reason);
}

static const struct command *main_find(const char *name)
{
    for (unsigned i = 0; commands[i] != NULL; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int main_unknown(const char *word)
{
    const char *names[16];
    unsigned count = 0;

    if (word[0] == '-')
        return cli_fail(CLI_USAGE,
                        "unknown option %s: options come after a command, as in "
                        "`lab run --duration 2` (lab --help)",
                        word);
    for (unsigned i = 0; commands[i] != NULL && count < 15; i++)
        if (!commands[i]->hidden)
            names[count++] = commands[i]->name;
    names[count] = NULL;
    const char *suggestion = parse_suggest(word, names);
    if (suggestion != NULL)
        return cli_fail(CLI_USAGE, "there is no command '%s': did you mean `lab %s`?", word,
                        suggestion);
    return cli_fail(CLI_USAGE, "there is no command '%s': `lab --help` lists them", word);
}

/* A full disk, a closed pipe or no stream at all must not look like success. */
static int main_finish(int exit_code)
{
    bool failed = ferror(stdout) != 0;
    if (fclose(stdout) != 0 || failed) {
        if (exit_code == CLI_OK)
            return cli_fail(CLI_FAILED,
                            "cannot write to standard output, and what was shown is not whole: it "
                            "is closed, its disk is full, or its reader is gone");
    }
    return exit_code;
}

/* What is opened first would else be taken for the stream that is closed: a table would go into
 * the JSON's file. Writing to a standard output that is closed is to fail all the same. */
static void main_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_RDWR) != fd)
            return; /* no /dev/null here */
}

int main(int argc, char **argv)
{
    main_streams();
    /* A file larger than `ulimit -f` allows is to fail with a sentence, as on a full disk. */
    signal(SIGXFSZ, SIG_IGN);
    term_init();
    if (argc < 2) {
        main_help(stderr);
        return CLI_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        main_help(stdout);
        return main_finish(CLI_OK);
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        main_version();
        return main_finish(CLI_OK);
    }
    if (strcmp(word, "--dump-options") == 0)
        return main_finish(dump_options(argc - 2, argv + 2));
    const struct command *command = main_find(word);
    if (command == NULL)
        return main_unknown(word);
    return main_finish(command->main(command, argc - 1, argv + 1));
}
