/*
 * Job files: INI, read by libinih. [global] holds what is common, each other section is a case;
 * names are `lab run`'s long options. What may differ between cases takes a list, separated by
 * commas, and every combination becomes a case. A value goes on in lines that are indented; a
 * name that stands there twice is two pairs, for whoever asks to take or to refuse.
 *
 *     [global]
 *     engine = epoll, io_uring
 *     [small]
 *     size = 64, 1KiB
 *     connections = 1, 32, 128
 */
#ifndef LAB_CLI_JOB_H
#define LAB_CLI_JOB_H

#include <stddef.h>

#include "core/error.h"

#define JOB_BYTES_MAX    (1u << 20)
#define JOB_SECTIONS_MAX 1024
#define JOB_PAIRS_MAX    256 /* a section */

struct job_pair {
    char *name, *value; /* the lines of a continued value are joined by commas */
    unsigned line;      /* of the name */
};

struct job_section {
    char *name;
    unsigned line;
    struct job_pair *pairs;
    size_t count;
};

struct job {
    char *path; /* as errors name it */
    struct job_section global;
    struct job_section *sections;
    size_t count;
};

/* Only the form is checked: what names and values mean is for whoever asks. -EINVAL, or the
 * errno of the file, with a sentence; job is empty then. */
int job_read(const char *path, struct job *job, struct lab_error *err);
int job_parse(const char *text, size_t size, const char *path, struct job *job,
              struct lab_error *err);
void job_free(struct job *job);

#endif
