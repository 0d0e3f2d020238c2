/*
 * What a person sees on stderr while a run goes on: the plan and how long it takes, then a line
 * that rewrites itself on a terminal, or a line a round elsewhere; a first table after the first
 * round; at once what went wrong.
 */
#ifndef LAB_CLI_PROGRESS_H
#define LAB_CLI_PROGRESS_H

#include <stdbool.h>

#include "run/run.h"

struct progress {
    struct run_result *run; /* summarised for the provisional table */
    bool quiet, verbose;
    bool tty;   /* stderr is a terminal */
    bool shown; /* a line is there that has to be wiped before anything else is said */
    double to_go_s;
    unsigned done, total;
};

/* The observer refers to progress, which is to outlive it. */
struct run_observer progress_begin(struct progress *progress, struct run_result *run, bool quiet,
                                   bool verbose);
void progress_end(struct progress *progress); /* wipes the line */

#endif
