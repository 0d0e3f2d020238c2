/*
 * Cases of one table against each other: which is the reference, which is best, and what can be
 * said in a sentence.
 */
#ifndef LAB_CLI_COMPARE_H
#define LAB_CLI_COMPARE_H

#include <stdbool.h>
#include <stdio.h>

#include "run/run.h"

/* Cases that belong into one table, in the order of the run. */
struct compare_group {
    const struct run_case **cases;
    size_t count;
    const struct run_case *reference; /* NULL: nothing was measured */
};

/* The group of the run's case `first`, which is its earliest member. Free with compare_free. */
struct compare_group compare_group(const struct run_result *run, size_t first);
void compare_free(struct compare_group *group);
/* Whether an earlier case of the run is of the same group. */
bool compare_seen(const struct run_result *run, size_t index);

bool compare_measured(const struct run_case *c); /* has a trial that did not fail */
/* Highest throughput, and surely so: its interval lies above all others' of the same link and
 * way of waiting, of which there is at least one. Never in an open loop. */
bool compare_is_best(const struct compare_group *group, const struct run_case *c);

/* A line for each case beside the reference. */
void compare_print(const struct compare_group *group, FILE *out, unsigned width);

#endif
