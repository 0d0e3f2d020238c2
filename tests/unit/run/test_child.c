/* The child's end of a trial, against orders as a controller sends them: also when the child's
 * thread gets no CPU and several have come by the time that it looks. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "run/channel.h"
#include "run/child.h"

TestSuite(child, .timeout = 20);

static void side_ready(void *context, Lab__Ready *ready)
{
    ready->wait = record_text("spin");
}

static void side_window(void *context, uint64_t start_ns, uint64_t t0_ns, uint64_t t1_ns)
{
}

static void side_sample(void *context, unsigned index, uint64_t now_ns)
{
    unsigned *samples = context;
    samples[index == 0 ? 0 : 1]++;
}

/* How often it was sampled at the window's ends, as the record's ops and bytes. */
static void side_finish(void *context, Lab__Record *record)
{
    static const struct metric_def busy = {"busy_ns", "ns", METRIC_COUNTER, METRIC_NEITHER, "",
                                           "engine",  ""};
    const unsigned *samples = context;
    record->ops = samples[0];
    record->bytes = samples[1];
    record_add_value(record, &busy, 1000);
}

struct played {
    struct channel channel;
    pid_t pid;
};

/* A server's child loop in a process of its own, once it is ready. */
static void played_start(struct played *played, int failed_fd)
{
    static unsigned samples[2];
    struct child_side side = {"server",    samples, side_ready,  side_window,
                              side_sample, NULL,    side_finish, failed_fd};
    struct lab_error err;
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    played->pid = fork();
    cr_assert_geq(played->pid, 0);
    if (played->pid == 0) {
        dup2(fds[1], STDIN_FILENO);
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        _exit(child_channel_take(&err) < 0 ? 9 : child_run(&side, 0));
    }
    close(fds[1]);
    channel_open(&played->channel, fds[0], fds[0]);
}

static Lab__Report *played_says(struct played *played, Lab__Report__WhatCase what)
{
    ProtobufCMessage *message = NULL;

    cr_assert_eq(channel_receive(&played->channel, &lab__report__descriptor,
                                 clock_ns() + 10 * NS_PER_S, &message),
                 0);
    Lab__Report *report = (Lab__Report *)message;
    cr_assert_eq(report->what_case, what);
    return report;
}

static void played_skip(struct played *played, Lab__Report__WhatCase what)
{
    lab__report__free_unpacked(played_says(played, what), NULL);
}

static void order(struct played *played, Lab__Order__WhatCase what, uint64_t time_ns)
{
    Lab__Order__Window window = LAB__ORDER__WINDOW__INIT;
    Lab__Order__Clock clock = LAB__ORDER__CLOCK__INIT;
    Lab__Order__End end = LAB__ORDER__END__INIT;
    Lab__Order__Stop stop = LAB__ORDER__STOP__INIT;
    Lab__Order order = LAB__ORDER__INIT;

    order.what_case = what;
    if (what == LAB__ORDER__WHAT_WINDOW) {
        window.start_ns = window.t0_ns = time_ns;
        order.window = &window;
    } else if (what == LAB__ORDER__WHAT_CLOCK) {
        order.clock = &clock;
    } else if (what == LAB__ORDER__WHAT_END) {
        end.t1_ns = time_ns;
        order.end = &end;
    } else {
        order.stop = &stop;
    }
    cr_assert_eq(channel_send(&played->channel, &order.base), 0);
}

/* The record comes, one sample at each end of the window; then it is stopped. */
static void played_ends(struct played *played)
{
    int status = -1;

    Lab__Report *report = played_says(played, LAB__REPORT__WHAT_RECORD);
    cr_assert_eq(report->record->ops, 1);
    cr_assert_eq(report->record->bytes, 1);
    cr_assert(report->record->process->spins, "it has said so when it was ready");
    cr_assert_eq(report->record->process->busy_ns, 1000);
    lab__report__free_unpacked(report, NULL);
    order(played, LAB__ORDER__WHAT_STOP, 0);
    cr_assert_eq(waitpid(played->pid, &status, 0), played->pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    channel_close(&played->channel);
}

/* It says what the time is only when its counters are read, and goes on to wait for the end. */
Test(child, answers_within_an_open_window)
{
    struct played played;

    played_start(&played, 0);
    played_skip(&played, LAB__REPORT__WHAT_READY);
    order(&played, LAB__ORDER__WHAT_WINDOW, clock_ns() + 5 * NS_PER_MS);
    order(&played, LAB__ORDER__WHAT_CLOCK, 0);
    played_skip(&played, LAB__REPORT__WHAT_CLOCK_NS);
    order(&played, LAB__ORDER__WHAT_END, clock_ns());
    played_ends(&played);
}

/* The clients were faster than this thread: the end has come before it looked at the beginning. */
Test(child, hears_of_the_end_before_the_beginning)
{
    struct played played;

    played_start(&played, 0);
    played_skip(&played, LAB__REPORT__WHAT_READY);
    order(&played, LAB__ORDER__WHAT_WINDOW, clock_ns() + 200 * NS_PER_MS);
    order(&played, LAB__ORDER__WHAT_END, clock_ns());
    played_ends(&played);
}

/* Wherever it is in the conversation. */
Test(child, ends_when_its_side_has_failed)
{
    for (unsigned within = 0; within < 2; within++) {
        struct played played;
        int failed_fd = eventfd(0, EFD_CLOEXEC), status = -1;

        played_start(&played, failed_fd);
        played_skip(&played, LAB__REPORT__WHAT_READY);
        if (within) {
            order(&played, LAB__ORDER__WHAT_WINDOW, clock_ns());
            order(&played, LAB__ORDER__WHAT_CLOCK, 0);
            played_skip(&played, LAB__REPORT__WHAT_CLOCK_NS);
        }
        eventfd_write(failed_fd, 1);
        cr_assert_eq(waitpid(played.pid, &status, 0), played.pid);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 4, "%x", (unsigned)status);
        channel_close(&played.channel);
        close(failed_fd);
    }
}
