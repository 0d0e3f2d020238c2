/*
 * The options of `lab run` that are neither the load generator's nor a workload's, in two
 * tables: those that each case has for itself (in a job file a section may set them, and a list
 * of values makes a case of each), and those of the whole run.
 */
#ifndef LAB_CLI_RUN_OPTIONS_H
#define LAB_CLI_RUN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/option.h"
#include "run/run.h"

struct case_options {
    char workload[OPTION_TEXT_MAX];
    char engine[OPTION_TEXT_MAX];
    char server_engine[OPTION_TEXT_MAX]; /* "": the same as engine */
    char server[OPTION_TEXT_MAX];        /* address of one that is already there, or "" */
    char listen[OPTION_TEXT_MAX];        /* "": as the link says */
    char cc[OPTION_TEXT_MAX];            /* "": the system's */
    char link[OPTION_TEXT_MAX];          /* "": each engine's own default */
    char sweep[OPTION_TEXT_MAX];         /* a list of values that the workload has a name for */
    uint64_t duration_ns, warmup_ns;
};

struct run_options {
    uint64_t trials, seed, max_errors; /* seed UINT64_MAX: to be chosen */
    bool skip_unavailable, json_compact, quiet, verbose, strict;
    int pin; /* index into off, on */
    char job[OPTION_TEXT_MAX];
    char json[OPTION_TEXT_MAX];
    char reference[OPTION_TEXT_MAX];
    char client_cpus[OPTION_TEXT_MAX], server_cpus[OPTION_TEXT_MAX];
    char server_via[OPTION_TEXT_MAX];
    struct run_list client_via; /* values only */
    struct run_list labels;
    struct run_list sections; /* names only */
};

extern const struct option_def case_options[], run_options[];

void run_options_free(struct run_options *options); /* what the lists own */

#endif
