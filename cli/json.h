/*
 * A run as JSON, version 1 (docs/schema/run-1.json). Every key is always there; null is "not
 * observed" or "too few samples", never 0.
 */
#ifndef LAB_CLI_JSON_H
#define LAB_CLI_JSON_H

#include <stdbool.h>
#include <stdio.h>

#include "core/error.h"
#include "run/run.h"

/* compact: histograms are null. 0 or a negative errno. */
int json_write(const struct run_result *run, bool compact, FILE *out);

/* A file that appears whole or not at all: it is written beside its place and renamed there. */
struct json_file {
    FILE *stream;
    char *path, *aside; /* aside NULL: written in place (a pipe, a device, standard output) */
};
/* path "-": standard output. Opened before anything runs, so that a wrong path costs nothing. */
int json_file_open(struct json_file *file, const char *path, struct lab_error *err);
/* Makes it appear. The file is closed in any case. */
int json_file_keep(struct json_file *file, struct lab_error *err);
void json_file_drop(struct json_file *file); /* fine if never opened, or kept */

#endif
