/*
 * What the subcommands have in common: their table row, the exit codes, how an error is said.
 * A subcommand is one file cmd_<name>.c that defines a const struct command; main.c lists them.
 */
#ifndef LAB_CLI_CLI_H
#define LAB_CLI_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "core/option.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_BAD = 1,          /* measured, and bad: more errors than --max-errors */
    CLI_USAGE = 2,        /* usage, job file, a path, by whoever finds it */
    CLI_DOUBT = 3,        /* --strict, and a verdict other than valid */
    CLI_FAILED = 4,       /* lab or the host failed */
    CLI_UNAVAILABLE = 77, /* an engine that was named cannot run here, or none can */
    CLI_INTERRUPTED = 130,
};

/* Most option tables that a command may have, those of every workload included. */
#define CLI_TABLES_MAX 32

struct command {
    const char *name;
    const char *words; /* positional arguments as the usage line shows them: "[WORKLOAD [URL]]" */
    const char *help;  /* one line, lower case */
    const char *about; /* a paragraph or more for `lab NAME --help`, or NULL */
    bool hidden;       /* listed nowhere, and works */
    /* Fills tables (room for CLI_TABLES_MAX) with every option table the command may need, those
     * of all workloads; ends with NULL. Help, man page and completion are made from them. */
    void (*tables)(const struct option_def **tables);
    /* argv[0] is the command's name. Returns an exit code. */
    int (*main)(const struct command *self, int argc, char **argv);
};

extern const struct command command_run, command_serve, command_drive, command_engines,
    command_links;
extern const struct command *const commands[]; /* NULL-terminated, hidden ones last */

/* "lab: <sentence>" on stderr; returns exit_code, so that `return cli_fail(...)` works. */
int cli_fail(enum cli_exit exit_code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What this build is: version, commit, and the features with the reason of each that is off. */
struct cli_feature {
    const char *name;
    const char *reason; /* NULL: built in */
    const char *detail; /* of what is built in, or "" */
};
extern const struct cli_feature cli_features[]; /* ends with a NULL name */
extern const char cli_version[], cli_commit[];

#endif
