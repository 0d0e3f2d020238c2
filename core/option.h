/*
 * Options as tables. One row gives parsing, `--help`, `lab engines NAME`, man page, bash
 * completion, job-file keys and the effective settings in the JSON. The command line, the
 * workloads and the engines all describe theirs this way.
 */
#ifndef LAB_CORE_OPTION_H
#define LAB_CORE_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum option_type {
    OPTION_FLAG,     /* bool; `name` or `name=yes|no` */
    OPTION_COUNT,    /* uint64_t; k = 1000, M = 1000000 */
    OPTION_RATE,     /* uint64_t a second; k = 1000 */
    OPTION_SIZE,     /* uint64_t bytes; k = KiB = 1024, kB = 1000, M, MB, G, GB likewise */
    OPTION_TIME,     /* uint64_t ns; ns us s ms m h; a bare number is refused */
    OPTION_SECONDS,  /* uint64_t ns; as OPTION_TIME, and a bare number is seconds */
    OPTION_TIME_OPT, /* uint64_t ns; `name` alone stores OPTION_ALWAYS, `name=TIME` that time */
    OPTION_CHOICE,   /* int; index into choices */
    OPTION_TEXT,     /* char[OPTION_TEXT_MAX] */
    OPTION_CUSTOM,   /* set() does it; called once for each time the option is given */
};

#define OPTION_ALWAYS   UINT64_MAX
#define OPTION_TEXT_MAX 256

struct option_def {
    const char *name; /* `connections`; on a command line `--connections` */
    char letter;      /* 'c' for -c, or 0 */
    enum option_type type;
    size_t offset;              /* of the field in the options struct */
    const char *fallback;       /* default as a person would type it; NULL = zero or unset */
    uint64_t min, max;          /* inclusive; max 0 = no limit (COUNT, RATE, SIZE, TIME...) */
    const char *const *choices; /* NULL-terminated, OPTION_CHOICE */
    const char *argument;       /* N, SIZE, TIME ... in help; NULL = from the type */
    const char *help;           /* one sentence, lower case, no full stop; %s-free */
    int (*set)(void *options, const char *value, struct lab_error *err); /* OPTION_CUSTOM */
    const char *group; /* heading in --help, or NULL */
};

/* A table ends with a row whose name is NULL. */

/* Writes every fallback into options (which the caller zeroed). A fallback that does not parse
 * is a programmer's error and asserted. */
void option_defaults(const struct option_def *table, void *options);

/* Parses value (NULL: given without one) into the field. `context` goes before the option's name
 * in errors: "--", "epoll: " ... -EINVAL with a sentence that names the option and what it takes.
 */
int option_set(const struct option_def *def, void *options, const char *value, const char *context,
               struct lab_error *err);

/* Row by name or NULL. */
const struct option_def *option_find(const struct option_def *table, const char *name);

/* "unknown option 'x' ...; did you mean 'y'?; known: ..." into err; returns -EINVAL. */
int option_unknown(const struct option_def *const *tables, const char *name, const char *context,
                   struct lab_error *err);

/* `key[=value],key...`, as after the colon of an engine spec. tables: NULL-terminated list of
 * tables, all with fields in the same struct. text may be NULL or "". */
int option_parse_list(const struct option_def *const *tables, void *options, const char *text,
                      const char *context, struct lab_error *err);

/* The field's present value as it could be typed again, into out; returns out. */
const char *option_format(const struct option_def *def, const void *options, char *out,
                          size_t out_size);

/* True if the field equals the table's fallback. */
bool option_is_default(const struct option_def *def, const void *options);

#endif
