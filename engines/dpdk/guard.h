/*
 * What DPDK's interrupt thread asks of the links before it does something, through reach.c.
 *
 * When the other end of a memif hangs up, DPDK's interrupt thread unmaps the rings at once, while
 * the thread that polls may be in the middle of them: where both run on one CPU that is a crash
 * in one of a few. reach.c hears of it in time, from a call that the driver makes before it
 * unmaps, and has it wait here until the poller is outside.
 */
#ifndef LAB_ENGINES_DPDK_GUARD_H
#define LAB_ENGINES_DPDK_GUARD_H

#include <stdbool.h>

void guard_unmap_begins(void);

/*
 * The two ends of a memif share memory, and the driver believes what it finds there: where a frame
 * lies, and how long it is. Its socket is one that every user of the host may connect to, or take
 * before a server does. So who is another user is sent away before a word is said: false, if this
 * is a socket to one.
 */
bool guard_admits(int fd);

#endif
