/*
 * A file that appears whole or not at all: it is written without a name, or aside of its place,
 * and put there at the end. Opened before anything runs, so that a wrong path costs nothing.
 */
#ifndef LAB_CLI_WHOLE_FILE_H
#define LAB_CLI_WHOLE_FILE_H

#include <stdbool.h>
#include <stdio.h>

#include "core/error.h"

struct whole_file {
    FILE *stream;
    char *path;  /* NULL: standard output */
    char *aside; /* its name before it is renamed; NULL: written in place (a pipe, a device) */
    bool named;  /* has that name */
};

/* path "-": standard output. -errno with a sentence. */
int whole_file_open(struct whole_file *file, const char *path, struct lab_error *err);
/* Makes it appear, in the place of what was there. The file is closed in any case. */
int whole_file_keep(struct whole_file *file, struct lab_error *err);
/* -code, with a sentence that says what to do. */
int whole_file_fail(const char *path, int code, struct lab_error *err);
void whole_file_drop(struct whole_file *file); /* fine if never opened, or kept */

#endif
