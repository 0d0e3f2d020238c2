/* The signals that end lab in order, keeping what there is: of a run, or of a server. */
#ifndef LAB_RUN_SIGNALS_H
#define LAB_RUN_SIGNALS_H

#include <signal.h>

/* SIGINT, SIGTERM, and SIGHUP (of a terminal that went away) unless it was ignored when this
 * process began, as nohup(1) has it. */
void signals_of_end(sigset_t *set);
/* Takes out of a signalfd, non-blocking, what would end the process once unblocked. */
void signals_take(int fd);

#endif
