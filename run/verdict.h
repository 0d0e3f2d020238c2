/* Whether a trial's numbers can be believed (docs/methodology: "Verdict of a trial"). */
#ifndef LAB_RUN_VERDICT_H
#define LAB_RUN_VERDICT_H

#include "run/hostwatch.h"
#include "run/run.h"

/* What is judged beside the trial itself. */
struct verdict_facts {
    uint64_t max_errors;
    bool host_bbr_without_fq; /* the system's congestion control paces by timers */
    bool virtual_machine;
    const struct hostwatch *before, *after; /* NULL: not observed */
};

/* Fills trial's verdicts and watermarks; those that were there are replaced. */
void verdict_judge(const struct run_case *c, struct run_trial *trial,
                   const struct verdict_facts *facts);

#endif
