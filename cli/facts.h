/*
 * What the records of a case say together: sums and merged histograms over its trials and
 * processes. Trials that failed are left out; what one good trial did not observe is not
 * observed at all, so that no sum is silently too small.
 */
#ifndef LAB_CLI_FACTS_H
#define LAB_CLI_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "run/run.h"

enum facts_side { FACTS_CLIENT, FACTS_SERVER };
const char *facts_side_name(enum facts_side side); /* client, server */

/* Totals of a side's processes in one trial, or in all good ones. */
struct facts_sums {
    bool observed;
    double duration_s; /* of the windows */
    double cpu_s, cpu_user_s, cpu_sys_s, busy_s;
    bool spins;
    uint64_t ctx_switches_voluntary, ctx_switches_involuntary;
    /* Summed over a trial's processes, most of all trials; 0: not observed. */
    uint64_t rss_bytes_max, vsize_bytes;
};
struct facts_sums facts_trial_sums(const struct run_trial *trial, enum facts_side side);
struct facts_sums facts_case_sums(const struct run_case *c, enum facts_side side);

uint64_t facts_ops(const struct run_case *c);
unsigned facts_trials(const struct run_case *c); /* good ones */

/* Whether two watermarks are one remark: sentences that differ in their numbers at most. */
bool facts_same_mark(const struct run_verdict *a, const struct run_verdict *b);

/* A counter's sum; NAN if not observed. */
double facts_counter(const struct run_case *c, enum facts_side side, const char *metric);
/* A gauge's highest; NAN if not observed. */
double facts_gauge(const struct run_case *c, enum facts_side side, const char *metric);
/* A histogram, merged; NULL if not observed. The caller frees it. */
struct hist *facts_hist(const struct run_case *c, enum facts_side side, const char *metric);

/* What the first process of a side said when it was ready; NULL if none did. */
const Lab__Ready *facts_ready(const struct run_case *c, enum facts_side side);
/* A process says its engine's options as `engine.NAME`: the name; NULL for another setting. */
const char *facts_setting_name(const Lab__Setting *setting);

/* Whether what was asked with the parameter cannot be: a number of workers, of an engine that has
 * one a connection. */
bool facts_is_in_vain(const struct run_case *c, const char *param);
/* A parameter's value as it is in effect, for people. */
const char *facts_param(const struct run_case *c, const struct run_setting *param);

/* The text of a parameter or fact; NULL if there is none. */
const char *facts_find(const struct run_list *list, const char *name);

#endif
