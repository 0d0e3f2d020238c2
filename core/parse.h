/*
 * Numbers as people write and read them. Parsing refuses what it does not understand: no
 * trailing bytes, no sign, no overflow. `what` names the option in the sentence.
 */
#ifndef LAB_CORE_PARSE_H
#define LAB_CORE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

int parse_size(const char *text, const char *what, uint64_t *bytes, struct lab_error *err);
int parse_count(const char *text, const char *what, uint64_t *count, struct lab_error *err);
int parse_time(const char *text, const char *what, bool bare_is_seconds, uint64_t *ns,
               struct lab_error *err);
/* `0-3,8,10-11` into ascending unique numbers. -E2BIG if more than max. Returns the count. */
int parse_cpu_list(const char *text, const char *what, unsigned *cpus, unsigned max,
                   struct lab_error *err);

/* The nearest of the NULL-terminated names by edit distance if near enough, else NULL. */
const char *parse_suggest(const char *text, const char *const *names);

/* For the screen and for stored settings: `1.25ms`, `64KiB`, `118.2k`; return out. */
const char *format_time(uint64_t ns, char *out, size_t out_size);       /* 325us, 1.10ms, 3.2s */
const char *format_size(uint64_t bytes, char *out, size_t out_size);    /* exact: 64, 16KiB */
const char *format_count(double count, char *out, size_t out_size);     /* 118.2k, 1.25M */
const char *format_time_exact(uint64_t ns, char *out, size_t out_size); /* 1500us: parses back */

#endif
