/* See signals.h. */
#include "run/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

void signals_of_end(sigset_t *set)
{
    struct sigaction hangup;

    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaddset(set, SIGHUP);
}

void signals_take(int fd)
{
    struct signalfd_siginfo info;

    while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        /* The shell sends it, and the kernel does when the shell is gone: the second one must not
         * find what was kept half written. */
        if (info.ssi_signo == SIGHUP)
            signal(SIGHUP, SIG_IGN);
}
