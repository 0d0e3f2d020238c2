/* Whether a trial's numbers can be believed (docs/reading-the-table.md: "Verdicts"). */
#ifndef LAB_RUN_VERDICT_H
#define LAB_RUN_VERDICT_H

#include "run/hostwatch.h"
#include "run/run.h"

/* What is judged beside the trial itself. */
struct verdict_facts {
    uint64_t max_errors;
    const char *system_cc; /* the host's congestion control; NULL: not known */
    bool fq;               /* packets that leave this host are paced by their queue */
    bool apart;            /* the ends may be on different hosts */
    bool virtual_machine;
    unsigned cores; /* that lab may use: who may use them all is pinned to none */
    const struct hostwatch *before, *after; /* NULL: not observed */
};

/* Fills trial's verdicts and watermarks; those that were there are replaced. */
void verdict_judge(const struct run_case *c, struct run_trial *trial,
                   const struct verdict_facts *facts);

#endif
