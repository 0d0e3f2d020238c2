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

/* All: -EINVAL with a sentence, and the number untouched. Decimals are fine where the value is a
 * whole number in the end: 1.5k. */

/* `k` = `KiB` = 1024, `kB` = 1000, M, MB, G, GB, T likewise; at most INT64_MAX. */
int parse_size(const char *text, const char *what, uint64_t *bytes, struct lab_error *err);
/* `k` = 1000, M, G. */
int parse_count(const char *text, const char *what, uint64_t *count, struct lab_error *err);
/* As a count, with or without `/s`. */
int parse_rate(const char *text, const char *what, uint64_t *per_s, struct lab_error *err);
/* ns us ms s m h; a bare number other than 0 is refused or seconds; at most INT64_MAX. */
int parse_time(const char *text, const char *what, bool bare_is_seconds, uint64_t *ns,
               struct lab_error *err);
/* `0-3,8,10-11` into ascending unique numbers. -E2BIG if more than max. Returns the count.
 * What cpus holds after an error is of no use. */
int parse_cpu_list(const char *text, const char *what, unsigned *cpus, unsigned max,
                   struct lab_error *err);

/* The nearest of the NULL-terminated names by edit distance if near enough, else the only one that
 * begins with text, else NULL. */
const char *parse_suggest(const char *text, const char *const *names);
/* The same for a sentence: ": did you mean 'x'?", or "". Returns out, of PARSE_MEANT_MAX bytes. */
#define PARSE_MEANT_MAX 96
const char *parse_meant(const char *text, const char *const *names, char *out);

/* For the screen and for stored settings: `1.25ms`, `64KiB`, `118.2k`; return out, in which 32
 * bytes are enough. A count that is not finite is `-`. */
const char *format_time(uint64_t ns, char *out, size_t out_size);       /* 325us, 1.10ms, 3.2s */
const char *format_size(uint64_t bytes, char *out, size_t out_size);    /* exact: 64, 16KiB */
const char *format_count(double count, char *out, size_t out_size);     /* 118.2k, 1.25M */
const char *format_time_exact(uint64_t ns, char *out, size_t out_size); /* 1500us: parses back */

#endif
