/*
 * From what was typed, and from a job file, to the cases of a run: lists are expanded, engines
 * asked whether they can run here, every value checked. Nothing is started.
 */
#ifndef LAB_CLI_CASES_H
#define LAB_CLI_CASES_H

#include "cli/args.h"
#include "cli/job.h"
#include "cli/run_options.h"
#include "run/run.h"

#define CASES_MAX 4096

/* Every table of `lab run`, for struct command. */
void cases_tables(const struct option_def **tables);

/* Fills options with the defaults, what the job's [global] says (job may be NULL), and the
 * command line, in this order. CLI_OK or CLI_USAGE with a sentence. */
int cases_run_options(const struct args *args, const struct job *job, struct run_options *options,
                      struct lab_error *err);

/* Adds the cases to result. CLI_OK; CLI_USAGE; CLI_UNAVAILABLE: an engine that was named cannot
 * run here, or none can. What was added stays the result's to free. */
int cases_plan(const struct args *args, const struct job *job, const struct run_options *options,
               struct run_result *result, struct lab_error *err);

/* Puts in front of a sentence what of the job file it is about: the line of the option that it
 * begins with, unless that was typed; else the section (NULL: any). job may be NULL. */
void cases_blame(const struct args *args, const struct job *job, const struct job_section *section,
                 struct lab_error *err);

#endif
