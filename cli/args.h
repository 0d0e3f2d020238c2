/*
 * Command lines from option tables: argp's options are generated from core/option.h's rows, so
 * that parsing, `--help`, man page and completion have one source. Parsing is in two steps,
 * because which workload is meant is known only once the words are: args_parse() sorts argv into
 * words and options that some table knows, args_fill() writes them into structs.
 */
#ifndef LAB_CLI_ARGS_H
#define LAB_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cli/cli.h"
#include "core/option.h"

struct args_given {
    const char *name;  /* of the table's row, whole */
    const char *value; /* NULL: given without one */
};

/* All text points into argv or the tables. */
struct args {
    struct args_given *given; /* in the order of the command line */
    size_t given_count;
    const char **words; /* positional arguments */
    size_t words_count;
    bool help; /* --help was given: nothing else is to be looked at */
};

/* A struct to fill, and the table that describes it. */
struct args_target {
    const struct option_def *options;
    void *into; /* zeroed by the caller */
};

/* Sorts argv by the command's tables. argv may be reordered. -EINVAL with a sentence (unknown,
 * ambiguous, a value missing); args is to be freed in any case. */
int args_parse(const struct command *command, int argc, char **argv, struct args *args,
               struct lab_error *err);
void args_free(struct args *args);

/* Writes defaults, then what was given, into every target that knows it. An option that no
 * target knows is refused: `context` says for what ("workload echo"). */
int args_fill(const struct args *args, const struct args_target *targets, unsigned count,
              const char *context, struct lab_error *err);

/* The last value given, or NULL; *found (may be NULL) tells "given without a value" apart. */
const char *args_value(const struct args *args, const char *name, bool *found);

/* `lab NAME --help`, in groups, as wide as the terminal. */
void args_help(const struct command *command, FILE *out);

/* What a person may write after the option: "N", "TIME", "fin|rst"; NULL if nothing. */
const char *args_argument(const struct option_def *def, char *out, size_t out_size);

/* The default that help shows; NULL where there is none, or it is "off" or "not at all". */
const char *args_default(const struct option_def *def);

/* Calls each() once a name for all rows of the command's tables, in order. */
void args_each(const struct command *command,
               void (*each)(void *context, const struct option_def *def), void *context);

#endif
