/* One trial of one case, in fresh processes. Private to run/. */
#ifndef LAB_RUN_TRIAL_H
#define LAB_RUN_TRIAL_H

#include "run/hostwatch.h"
#include "run/run.h"

struct trial_config {
    const struct run_case *run_case;
    const struct run_settings *settings;
    int signals;   /* a signalfd of those that interrupt a run */
    uint64_t seed; /* of this trial */
};

/* Fills trial (seq, round and position are the caller's): what the processes recorded, or why it
 * failed. *fatal: the exit code of a process whose trial would fail the same way each time, 2 (its
 * spec, its address) or 77 (its engine cannot run there), else 0. -EINTR: a signal came; 0
 * otherwise. No process is left. */
int trial_run(const struct trial_config *config, struct run_trial *trial,
              struct hostwatch watched[2], unsigned *fatal);

#endif
