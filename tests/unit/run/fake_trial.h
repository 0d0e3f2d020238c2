/* A case and a trial of it as the controller has them once the records are there, in which nothing
 * is wrong: half a second, 10,000 ops of 100 us, client on CPU 1, server on CPU 0, half busy. */
#ifndef LAB_TESTS_FAKE_TRIAL_H
#define LAB_TESTS_FAKE_TRIAL_H

#include "run/run.h"
#include "run/verdict.h"

struct fake_trial {
    struct run_result run; /* owns the case and the trial */
    struct run_case *c;
    struct run_trial *trial;
    struct hostwatch before, after;
    struct verdict_facts facts;
};

void fake_trial_make(struct fake_trial *fake);
void fake_trial_free(struct fake_trial *fake);
/* Of one process. */
Lab__Process *fake_trial_process(struct fake_trial *fake, bool server);
/* All slices anew: `count` of these rates, 25 ms and at least 30 ops each unless rates say less. */
void fake_trial_slices(struct fake_trial *fake, const double *ops, unsigned count);
/* Slips that are all the same. */
void fake_trial_slip(struct fake_trial *fake, uint64_t slip_ns);
/* The case is an open loop from now on, all of it sent and answered. */
void fake_trial_open(struct fake_trial *fake, double ops_per_s);

/* Judges; then the evidence of a verdict or watermark, or NULL if there is no such one. */
void fake_trial_judge(struct fake_trial *fake);
const char *fake_trial_verdict(const struct fake_trial *fake, const char *name);
const char *fake_trial_watermark(const struct fake_trial *fake, const char *name);

#endif
