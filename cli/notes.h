/*
 * Footnotes: verdicts and watermarks of trials, numbered in the order in which rows refer to
 * them. What holds for every row of a run is said once, without a number.
 */
#ifndef LAB_CLI_NOTES_H
#define LAB_CLI_NOTES_H

#include <stdio.h>

#include "run/run.h"

struct notes;

/* Aborts without memory. run stays the caller's and is to outlive the notes. */
struct notes *notes_new(const struct run_result *run);
void notes_free(struct notes *notes); /* NULL is fine */

/* Notes what the case's trials have; appends " [1][2]" to marks. */
void notes_case(struct notes *notes, const struct run_case *c, char *marks, size_t marks_size);

/* What was noted, then what holds for all. */
void notes_print(const struct notes *notes, FILE *out, unsigned width);

/* Folds at blanks, later lines indented. width 0: not at all. */
void notes_wrap(FILE *out, const char *text, unsigned indent, unsigned width);

#endif
