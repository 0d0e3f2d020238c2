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
    OPTION_TIME_OPT, /* uint64_t ns; `name` stores OPTION_ALWAYS, `name=TIME` that, `name=off` 0 */
    OPTION_CHOICE,   /* int; index into choices */
    OPTION_TEXT,     /* char[OPTION_TEXT_MAX] */
    OPTION_CUSTOM,   /* set() does it; called once for each time the option is given a value */
};

#define OPTION_ALWAYS   UINT64_MAX
#define OPTION_TEXT_MAX 256

struct option_def {
    const char *name; /* `connections`; on a command line `--connections` */
    char letter;      /* 'c' for -c, or 0 */
    enum option_type type;
    size_t offset;        /* of the field in the options struct */
    const char *fallback; /* default as a person would type it; NULL = zero or unset */
    /* Inclusive; max 0 = no limit. Of all that hold a number, and a TEXT's length; OPTION_ALWAYS,
     * off and the fallback may lie outside. */
    uint64_t min, max;
    const char *const *choices; /* NULL-terminated, OPTION_CHOICE */
    const char *argument;       /* N, SIZE, TIME ... in help; NULL = from the type */
    const char *help;           /* one sentence, lower case, no full stop; %s-free */
    int (*set)(void *options, const char *value, struct lab_error *err); /* OPTION_CUSTOM */
    /* Of an OPTION_TEXT with a grammar of its own, NULL of others: 0, or -EINVAL with what is wrong
     * with the value, to which the option's name is added. What this host lacks is no mistake. */
    int (*check)(const char *value, struct lab_error *err);
    const char *group; /* heading in --help, or NULL */
    /* Of all that hold a number: a word for 0, which then is outside of min and max (auto). */
    const char *zero;
};

/* A table ends with a row whose name is NULL. */

/* Writes every fallback into options (which the caller zeroed). A fallback that does not parse
 * is a programmer's error and asserted. */
void option_defaults(const struct option_def *table, void *options);

/* Parses value (NULL: given without one) into the field. `context` goes before the option's name
 * in errors: "--", "epoll: " ... -EINVAL with a sentence that names the option and what it takes;
 * also for a TEXT or CUSTOM that is given "", which would look like one that was not given. */
int option_set(const struct option_def *def, void *options, const char *value, const char *context,
               struct lab_error *err);

/* Row by name or NULL; '-' and '_' are the same letter. */
const struct option_def *option_find(const struct option_def *table, const char *name);

/* "unknown option 'x' of CONTEXT; did you mean 'y'? it takes: ..." into err; returns -EINVAL. A
 * context that begins with '-' is a command line's: shorter, and it points to --help. */
int option_unknown(const struct option_def *const *tables, const char *name, const char *context,
                   struct lab_error *err);

/* `key[=value],key...`, as after the colon of an engine spec. tables: NULL-terminated list of
 * tables, all with fields in the same struct. text may be NULL or "". A comma inside a value is
 * written `\,` and a backslash `\\`. One that is given twice is an error, unless it is
 * OPTION_CUSTOM. What came before an error is stored. */
int option_parse_list(const struct option_def *const *tables, void *options, const char *text,
                      const char *context, struct lab_error *err);

/* The field's present value as it could be typed again, into out; returns out. Always cut to
 * out_size; OPTION_TEXT_MAX is enough. OPTION_CUSTOM is "". */
const char *option_format(const struct option_def *def, const void *options, char *out,
                          size_t out_size);

/* True if the field equals the table's fallback; OPTION_CUSTOM, which nobody can see, always. */
bool option_is_default(const struct option_def *def, const void *options);

/* The opposite of option_parse_list: what differs from the fallbacks, "" if nothing does. 0 or
 * -ENOSPC. */
int option_format_list(const struct option_def *const *tables, const void *options, char *out,
                       size_t out_size);

#endif
