/* See child.h. */
#include "run/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/parse.h"
#include "run/channel.h"
#include "run/snapshot.h"

#define CHILD_CPUS_MAX 1024
#define CHILD_LOOK_NS  (20 * NS_PER_MS)

static struct channel channel = {.in = -1, .out = -1};

int child_channel_take(struct lab_error *err)
{
    int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (in < 0 || out < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
        dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        return lab_fail(err, errno, "--control: cannot take stdin and stdout: %s", strerror(errno));
    close(null);
    channel_open(&channel, in, out);
    return 0;
}

bool child_has_channel(void)
{
    return channel.in >= 0;
}

static int child_say(Lab__Report *report)
{
    return child_has_channel() ? channel_send(&channel, &report->base) : 0;
}

void child_fail(int exit_code, const char *text)
{
    Lab__Failure failure = LAB__FAILURE__INIT;
    Lab__Report report = LAB__REPORT__INIT;

    failure.exit_code = (uint32_t)exit_code;
    failure.text = (char *)text;
    report.what_case = LAB__REPORT__WHAT_FAILURE;
    report.failure = &failure;
    child_say(&report);
}

void child_note(const char *text)
{
    Lab__Report report = LAB__REPORT__INIT;
    report.what_case = LAB__REPORT__WHAT_NOTE;
    report.note = (char *)text;
    child_say(&report);
}

void child_prepare(void)
{
    /* Sleeps end when they should; the default slack of 50 us is half a round trip. */
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}

int child_pin(const char *cpu_list, struct lab_error *err)
{
    unsigned cpus[CHILD_CPUS_MAX];
    cpu_set_t set;

    int count = parse_cpu_list(cpu_list, "--cpus", cpus, CHILD_CPUS_MAX, err);
    if (count < 0)
        return count;
    CPU_ZERO(&set);
    for (int i = 0; i < count; i++)
        CPU_SET(cpus[i], &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        return lab_fail(err, errno,
                        "--cpus %s: %s; see the CPUs that this process may use in "
                        "/proc/self/status",
                        cpu_list, strerror(errno));
    return 0;
}

/* *spins: its waiting burns CPU, as it says itself. */
static int say_ready(const struct child_side *side, bool *spins)
{
    Lab__Report report = LAB__REPORT__INIT;
    Lab__Ready *ready = malloc(sizeof(*ready));
    char cpus[256];

    if (ready == NULL)
        return -ENOMEM;
    lab__ready__init(ready);
    ready->version = RECORD_VERSION;
    ready->pid = (uint64_t)getpid();
    ready->cpus = record_text(snapshot_cpus(cpus, sizeof(cpus)));
    side->ready(side->context, ready);
    *spins = strcmp(ready->wait, "spin") == 0;
    ready->clock_ns = clock_ns();
    report.what_case = LAB__REPORT__WHAT_READY;
    report.ready = ready;
    int r = child_say(&report);
    lab__ready__free_unpacked(ready, NULL);
    return r;
}

static int say_clock(void)
{
    Lab__Report report = LAB__REPORT__INIT;

    report.what_case = LAB__REPORT__WHAT_CLOCK_NS;
    report.clock_ns = clock_ns();
    return child_say(&report);
}

static int say_finished(uint64_t t0_ns, uint64_t t1_ns)
{
    Lab__Finished finished = LAB__FINISHED__INIT;
    Lab__Report report = LAB__REPORT__INIT;

    finished.t0_ns = t0_ns;
    finished.t1_ns = t1_ns;
    report.what_case = LAB__REPORT__WHAT_FINISHED;
    report.finished = &finished;
    return child_say(&report);
}

/* Sleeps until something comes on the channel, or the deadline. -ECANCELED: the side has failed. */
static int await_order(const struct child_side *side, uint64_t deadline_ns)
{
    struct pollfd wait[] = {{.fd = channel.in, .events = POLLIN},
                            {.fd = side->failed_fd > 0 ? side->failed_fd : -1, .events = POLLIN}};
    struct timespec left = clock_poll_timeout(clock_ns(), deadline_ns);

    int r = ppoll(wait, 2, deadline_ns == CLOCK_NEVER ? NULL : &left, NULL);
    if (r < 0)
        return errno == EINTR ? 0 : -errno;
    if (r == 0)
        return clock_ns() < deadline_ns ? 0 : -ETIMEDOUT;
    return wait[1].revents != 0 ? -ECANCELED : 0;
}

/* The next order, or NULL at the deadline; *r tells why there is none. */
static Lab__Order *next_order(const struct child_side *side, uint64_t deadline_ns, int *r)
{
    ProtobufCMessage *message = NULL;

    do {
        *r = await_order(side, deadline_ns);
        if (*r == 0)
            *r = channel_take(&channel, &lab__order__descriptor, &message);
    } while (*r == -EAGAIN);
    return (Lab__Order *)message;
}

struct measured {
    uint64_t t0_ns, t1_ns;
    bool spins;
    struct snapshot before, after;
};

/* Sleeps until at_ns, and watches the channel meanwhile. 0: it is time; 1: stopped; -errno. An
 * End moves *end_ns; one who asks the time is answered. */
static int sleep_until(const struct child_side *side, uint64_t at_ns, uint64_t *end_ns)
{
    for (;;) {
        int r;
        Lab__Order *order = next_order(side, at_ns, &r);
        if (r == -ETIMEDOUT)
            return 0;
        if (r < 0)
            return r;
        bool stop = order->what_case == LAB__ORDER__WHAT_STOP;
        bool end = order->what_case == LAB__ORDER__WHAT_END;
        if (end && end_ns != NULL)
            *end_ns = order->end->t1_ns;
        if (order->what_case == LAB__ORDER__WHAT_CLOCK)
            r = say_clock();
        lab__order__free_unpacked(order, NULL);
        if (stop)
            return 1;
        if (r < 0)
            return r;
        if (end)
            return 0;
    }
}

static void take_before(struct measured *m)
{
    snapshot_take(&m->before);
    m->t0_ns = m->before.at_ns;
}

static void take_after(const struct child_side *side, struct measured *m, unsigned index)
{
    snapshot_take(&m->after);
    m->t1_ns = m->after.at_ns;
    side->sample(side->context, index, m->t1_ns);
}

/* A fixed window: its slices' ends are known. */
static int measure_window(const struct child_side *side, const Lab__Order__Window *window,
                          struct measured *m)
{
    int r = sleep_until(side, window->t0_ns, NULL);
    if (r != 0)
        return r;
    take_before(m);
    side->sample(side->context, 0, m->t0_ns);
    for (unsigned i = 1; i <= CHILD_SLICES; i++) {
        uint64_t length_ns = window->t1_ns - window->t0_ns;
        r = sleep_until(side, window->t0_ns + length_ns * i / CHILD_SLICES, NULL);
        if (r != 0)
            return r;
        if (i < CHILD_SLICES)
            side->sample(side->context, i, clock_ns());
    }
    take_after(side, m, CHILD_SLICES);
    return 0;
}

/* An open-ended one: the clients end it, by themselves or through the controller. Of so many ops
 * every one counts, so counters are read before the first can come, not when the scheduler lets
 * this thread run at t0. */
static int measure_until_finished(const struct child_side *side, const Lab__Order__Window *window,
                                  struct measured *m)
{
    uint64_t t0_ns, t1_ns, end_ns = 0;

    side->sample(side->context, 0, clock_ns());
    int r = sleep_until(side, window->t0_ns, &end_ns);
    if (r != 0)
        return r;
    take_before(m);
    if (side->wait_finished == NULL) {
        /* A thread that got no CPU in time may have heard of the end already. */
        if (end_ns == 0)
            r = sleep_until(side, CLOCK_NEVER, &end_ns);
        if (r != 0)
            return r;
        take_after(side, m, 1);
        return 0;
    }
    while (side->wait_finished(side->context, CHILD_LOOK_NS, &t0_ns, &t1_ns) == -EAGAIN) {
        r = sleep_until(side, 0, NULL);
        if (r != 0)
            return r;
    }
    take_after(side, m, 1);
    m->t0_ns = t0_ns;
    m->t1_ns = t1_ns;
    return say_finished(t0_ns, t1_ns);
}

static int say_record(const struct child_side *side, unsigned index, const struct measured *m)
{
    Lab__Report report = LAB__REPORT__INIT;
    Lab__Record *record = malloc(sizeof(*record));

    if (record == NULL)
        return -ENOMEM;
    lab__record__init(record);
    record->version = RECORD_VERSION;
    record->side = record_text(side->name);
    record->index = index;
    record->t0_ns = m->t0_ns;
    record->t1_ns = m->t1_ns;
    side->finish(side->context, record);
    record->process = snapshot_process(&m->before, &m->after);
    const Lab__Metric *busy = record_metric(record, "busy_ns");
    if (busy != NULL && busy->observed)
        record->process->busy_ns = (uint64_t)busy->value;
    /* Where the kernel's thread is it that spins (sqpoll), nobody sees what of it was of use. */
    record->process->spins = m->spins && record->process->busy_ns > 0;
    report.what_case = LAB__REPORT__WHAT_RECORD;
    report.record = record;
    int r = child_say(&report);
    lab__record__free_unpacked(record, NULL);
    return r;
}

static int child_measure(const struct child_side *side, unsigned index, bool spins,
                         const Lab__Order__Window *window)
{
    struct measured m = {.spins = spins};

    side->window(side->context, window->start_ns, window->t0_ns, window->t1_ns);
    int r = window->t1_ns != 0 ? measure_window(side, window, &m)
                               : measure_until_finished(side, window, &m);
    return r != 0 ? r : say_record(side, index, &m);
}

int child_run(const struct child_side *side, unsigned index)
{
    bool spins = false;
    int r = say_ready(side, &spins);

    while (r == 0) {
        Lab__Order *order = next_order(side, CLOCK_NEVER, &r);
        if (r < 0)
            break;
        if (order->what_case == LAB__ORDER__WHAT_WINDOW)
            r = child_measure(side, index, spins, order->window);
        else if (order->what_case == LAB__ORDER__WHAT_CLOCK)
            r = say_clock();
        else if (order->what_case == LAB__ORDER__WHAT_STOP)
            r = 1;
        lab__order__free_unpacked(order, NULL);
    }
    if (r == 1)
        return 0;
    /* That its side failed has been said; where the controller is gone, nobody reads. */
    if (r != -ECANCELED && r != -EPIPE)
        fprintf(stderr, "lab: the control channel broke: %s\n", strerror(-r));
    return 4;
}
