/*
 * What is common to the rows of a table, in a line: workload and parameters. What is at its
 * default and says nothing is left out.
 */
#ifndef LAB_CLI_HEADING_H
#define LAB_CLI_HEADING_H

#include <stdbool.h>
#include <stddef.h>

#include "core/option.h"
#include "run/run.h"

/* "64 B, 32 connections, depth 1, closed loop, kept connections"; returns out. Where the run's
 * windows differ, the case's own too. */
const char *heading_format(const struct run_result *run, const struct run_case *c, char *out,
                           size_t out_size);

/* Whether all cases that were measured had the same time, or number of ops. */
bool heading_same_window(const struct run_result *run);

/* The parameter in which the two differ, if it is the only one; else NULL. */
const char *heading_difference(const struct run_case *a, const struct run_case *b);

/* The table row of one of the case's parameters; NULL if no table has it. */
const struct option_def *heading_option(const struct run_case *c, const char *name);

bool heading_is_set(const struct run_case *c, const char *switch_name); /* "yes" */

#endif
