/* Waiting for events by epoll, asleep or spinning, as the pairs that do so have it in common. */
#ifndef LAB_BENCH_BARE_EVENTS_H
#define LAB_BENCH_BARE_EVENTS_H

#include "bare.h"

#include <sys/epoll.h>

#define EVENTS 128

static int epfd;

/* Spinning asks without waiting, and reads the clock only when there was nothing. */
static inline int wait_events(struct epoll_event *events)
{
    uint64_t idle_since = 0;
    int n;

    while (opt.spin_ns) {
        n = epoll_wait(epfd, events, EVENTS, 0);
        if (n) {
            meter.now.syscalls++;
            return n;
        }
        meter.now.empty_polls++;
        if (opt.spin_ns != SPIN_FOREVER) {
            uint64_t now = now_ns();
            idle_since = idle_since ? idle_since : now;
            if (now - idle_since >= opt.spin_ns)
                break;
        }
    }
    meter.now.syscalls++;
    return epoll_wait(epfd, events, EVENTS, -1);
}

static void watch(int op, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};

    if (epoll_ctl(epfd, op, fd, &event))
        die("epoll_ctl: %s", strerror(errno));
}

#endif
