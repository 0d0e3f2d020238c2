/*
 * When the other end of a memif hangs up, DPDK's interrupt thread unmaps the rings at once, while
 * the thread that polls may be in the middle of them: where both run on one CPU that is a crash
 * in one of a few. reach.c hears of it in time, from a call that the driver makes before it
 * unmaps, and has it wait here until the poller is outside.
 */
#ifndef LAB_ENGINES_DPDK_GUARD_H
#define LAB_ENGINES_DPDK_GUARD_H

void guard_unmap_begins(void);

#endif
