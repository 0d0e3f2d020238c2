/*
 * A run as JSON, version 1 (docs/schema/run-1.json). Every key is always there; null is "not
 * observed" or "too few samples", never 0.
 */
#ifndef LAB_CLI_JSON_H
#define LAB_CLI_JSON_H

#include <stdbool.h>
#include <stdio.h>

#include "run/run.h"

/* compact: histograms are null. 0 or a negative errno. */
int json_write(const struct run_result *run, bool compact, FILE *out);

#endif
