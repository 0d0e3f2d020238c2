/*
 * The ring itself: made with the best that this kernel has, feature by feature, and entered.
 *
 * The last step of a submission is our own rather than liburing's: it has no call that submits,
 * waits until a moment and says how many system calls that took, and io_uring_submit_and_wait
 * alone cannot wait for a deadline.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/parse.h"
#include "engines/io_uring_internal.h"

#define URING_CQ_ENTRIES_MIN 2048u
#define URING_CQ_ENTRIES_MAX 32768u
/* Long enough for the thread never to sleep within a run of work, short enough to free the core
 * when the run is over. */
#define URING_SQPOLL_IDLE_MS 10u

static const struct {
    const char *name;
    unsigned features;
} uring_omissible[] = {
    {"defertaskrun", URING_DEFER_TASKRUN},
    {"multishot", URING_MULTISHOT},
    {"bufring", URING_BUF_RING},
    {"bundles", URING_BUNDLES},
    {"extarg", URING_EXT_ARG | URING_ABS_TIMER},
    {"skip", URING_CQE_SKIP},
};
#define URING_OMISSIBLE (sizeof(uring_omissible) / sizeof(uring_omissible[0]))

static int uring_unknown_feature(const char *text, size_t length, struct lab_error *err)
{
    const char *names[URING_OMISSIBLE + 1];
    char known[OPTION_TEXT_MAX] = "", name[64], near[PARSE_MEANT_MAX];

    for (unsigned i = 0; i < URING_OMISSIBLE; i++) {
        names[i] = uring_omissible[i].name;
        strncat(known, i == 0 ? "" : ", ", sizeof(known) - strlen(known) - 1);
        strncat(known, names[i], sizeof(known) - strlen(known) - 1);
    }
    names[URING_OMISSIBLE] = NULL;
    snprintf(name, sizeof(name), "%.*s", (int)length, text);
    return lab_fail(err, EINVAL, "'%s' is none of %s (several are joined by '+')%s", name, known,
                    parse_meant(name, names, near));
}

/* `name+name`, into features. */
static int uring_parse_without(const char *text, unsigned *without, struct lab_error *err)
{
    unsigned features = 0;

    while (*text != '\0') {
        size_t length = strcspn(text, "+");
        unsigned i = 0;
        while (i < URING_OMISSIBLE && (strlen(uring_omissible[i].name) != length ||
                                       memcmp(uring_omissible[i].name, text, length) != 0))
            i++;
        if (i == URING_OMISSIBLE)
            return uring_unknown_feature(text, length, err);
        features |= uring_omissible[i].features;
        text += length;
        if (*text == '+')
            text++;
    }
    *without = features;
    return 0;
}

int uring_check_without(const char *text, struct lab_error *err)
{
    unsigned features;

    return uring_parse_without(text, &features, err);
}

/* --- making one --- */

static int uring_disabled(void)
{
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    int value = 0;

    if (file != NULL) {
        if (fscanf(file, "%d", &value) != 1)
            value = 0;
        fclose(file);
    }
    return value;
}

static int uring_refused(int code, const struct uring_options *options, struct lab_error *err)
{
    int disabled = code == EPERM ? uring_disabled() : 0;

    switch (code) {
    case ENOSYS:
        return lab_fail(err, code,
                        "io_uring: this kernel has none, or a seccomp filter hides it; it takes "
                        "Linux 5.7 or newer, and in a container a profile that allows io_uring_*");
    case EPERM:
        if (disabled != 0)
            return lab_fail(err, code,
                            "io_uring: switched off on this host%s; sudo sysctl "
                            "kernel.io_uring_disabled=0 allows it",
                            disabled == 1 ? " but for root and the group of kernel.io_uring_group"
                                          : "");
        return lab_fail(err, code,
                        "io_uring: refused%s, most likely by a container's seccomp filter; start "
                        "it with a profile that allows io_uring_* (docker run --security-opt "
                        "seccomp=unconfined)",
                        options->sqpoll ? " (sqpoll needs root before Linux 5.11)" : "");
    case ENOMEM:
        return lab_fail(err, code,
                        "io_uring: no memory for the rings; raise the limit of locked memory "
                        "(ulimit -l), or use fewer workers");
    case EMFILE:
    case ENFILE: return lab_fail(err, code, "io_uring: no more open files; raise ulimit -n");
    case EINVAL:
        return lab_fail(err, code, "io_uring: this kernel refuses %s; try without that option",
                        options->sqpoll ? "sqpoll" : "the ring");
    default: return lab_fail(err, code, "io_uring: cannot make a ring: %s", strerror(code));
    }
}

/* What nothing here stands in for. */
static int uring_too_old(unsigned kernel_features, const struct uring_options *options,
                         struct lab_error *err)
{
    if (!(kernel_features & IORING_FEAT_FAST_POLL))
        return lab_fail(err, ENOTSUP,
                        "io_uring: this kernel waits for sockets in threads of its own; it takes "
                        "Linux 5.7 or newer; use another engine, as -e epoll");
    if (options->sqpoll && !(kernel_features & IORING_FEAT_SQPOLL_NONFIXED))
        return lab_fail(err, ENOTSUP,
                        "io_uring: this kernel's sqpoll takes registered files only; it takes "
                        "Linux 5.11 or newer; leave sqpoll out");
    return 0;
}

struct uring_attempt {
    unsigned flags;
    unsigned features;
};

/* From the newest kernel's flags to the oldest's; a kernel refuses those that it does not know.
 * IORING_SETUP_SINGLE_ISSUER came with multishot receive (6.0), so that it speaks for it. */
static const struct uring_attempt uring_attempts[] = {
    {IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
         IORING_SETUP_TASKRUN_FLAG,
     URING_DEFER_TASKRUN | URING_TASKRUN_FLAG | URING_MULTISHOT},
    {IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN |
         IORING_SETUP_TASKRUN_FLAG,
     URING_COOP_TASKRUN | URING_TASKRUN_FLAG | URING_MULTISHOT},
    {IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
     URING_COOP_TASKRUN | URING_TASKRUN_FLAG},
    {0, 0},
};

static const struct uring_attempt uring_attempts_sqpoll[] = {
    {IORING_SETUP_SQPOLL | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER,
     URING_SQPOLL | URING_MULTISHOT},
    {IORING_SETUP_SQPOLL, URING_SQPOLL},
};

static int uring_try(struct uring_ring *ring, const struct uring_attempt *attempts, unsigned count,
                     unsigned without, unsigned cq_entries, unsigned *kernel_features)
{
    int r = -EINVAL;

    for (unsigned i = 0; i < count; i++) {
        struct io_uring_params params = {
            .flags = attempts[i].flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
            .cq_entries = cq_entries,
            .sq_thread_idle = URING_SQPOLL_IDLE_MS,
        };
        if (attempts[i].features & without & URING_DEFER_TASKRUN)
            continue;
        r = io_uring_queue_init_params(URING_SQ_ENTRIES, &ring->io, &params);
        if (r == 0) {
            ring->features = attempts[i].features;
            *kernel_features = params.features;
            /* Entry i of the queue is always entry i of the array. */
            if (!(params.flags & IORING_SETUP_NO_SQARRAY))
                for (unsigned n = 0; n < ring->io.sq.ring_entries; n++)
                    ring->io.sq.array[n] = n;
        }
        if (r != -EINVAL)
            return r;
    }
    return r;
}

/* Linux 6.12 has no feature bit for it: ask. */
static bool uring_has_abs_timer(struct uring_ring *ring)
{
    struct io_uring_getevents_arg arg = {0};

    return io_uring_enter2((unsigned)ring->io.ring_fd, 0, 0,
                           IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | IORING_ENTER_ABS_TIMER,
                           (sigset_t *)&arg, sizeof(arg)) >= 0;
}

static void uring_find_features(struct uring_ring *ring, const struct uring_options *options,
                                unsigned kernel_features)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->io);

    if (kernel_features & IORING_FEAT_EXT_ARG)
        ring->features |= URING_EXT_ARG;
    /* What the kernel's own thread submits is not settled when a call returns. */
    if ((kernel_features & IORING_FEAT_CQE_SKIP) && !options->sqpoll)
        ring->features |= URING_CQE_SKIP;
    if ((kernel_features & IORING_FEAT_RECVSEND_BUNDLE) && options->bundles != URING_BUNDLES_OFF)
        ring->features |= URING_BUNDLES;
    if (probe != NULL && io_uring_opcode_supported(probe, IORING_OP_SEND_ZC))
        ring->features |= URING_SEND_ZC;
    if (probe != NULL && io_uring_opcode_supported(probe, IORING_OP_SENDMSG_ZC))
        ring->features |= URING_SENDMSG_ZC;
    io_uring_free_probe(probe);
    if ((ring->features & URING_EXT_ARG) && uring_has_abs_timer(ring))
        ring->features |= URING_ABS_TIMER;
}

static void uring_register_napi(struct uring_ring *ring, const struct uring_options *options)
{
    struct uring_napi napi = {
        .busy_poll_us = (uint32_t)((options->napi_ns + NS_PER_US - 1) / NS_PER_US),
    };

    if (options->napi_ns != 0 &&
        io_uring_register((unsigned)ring->io.ring_fd, URING_REGISTER_NAPI, &napi, 1) == 0)
        ring->features |= URING_NAPI;
}

int uring_ring_open(struct uring_ring *ring, const struct uring_options *options,
                    uint32_t conns_hint, struct lab_error *err)
{
    unsigned without, kernel_features = 0;
    unsigned cq_entries = URING_CQ_ENTRIES_MIN;

    int r = uring_parse_without(options->without, &without, err);
    if (r < 0)
        return r;
    while (cq_entries < URING_CQ_ENTRIES_MAX && cq_entries / 2 < conns_hint)
        cq_entries *= 2;
    *ring = (struct uring_ring){.timer_ns = CLOCK_NEVER};
    if (options->sqpoll)
        r = uring_try(ring, uring_attempts_sqpoll,
                      sizeof(uring_attempts_sqpoll) / sizeof(uring_attempts_sqpoll[0]), without,
                      cq_entries, &kernel_features);
    else
        r = uring_try(ring, uring_attempts, sizeof(uring_attempts) / sizeof(uring_attempts[0]),
                      without, cq_entries, &kernel_features);
    if (r < 0)
        return uring_refused(-r, options, err);
    r = uring_too_old(kernel_features, options, err);
    if (r < 0) {
        uring_ring_close(ring);
        return r;
    }
    uring_find_features(ring, options, kernel_features);
    uring_register_napi(ring, options);
    /* The pool finds out about buffer rings when it registers its own. */
    ring->features |= URING_BUF_RING;
    ring->features &= ~without;
    return 0;
}

void uring_ring_close(struct uring_ring *ring)
{
    io_uring_queue_exit(&ring->io);
}

/* --- entering it --- */

/* What was filled in is the kernel's to read; returns how many entries that is. */
static unsigned uring_publish(struct uring_ring *ring)
{
    struct io_uring_sq *sq = &ring->io.sq;

    sq->sqe_head = sq->sqe_tail;
    io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
    return sq->sqe_tail - IO_URING_READ_ONCE(*sq->khead);
}

/* Before EXT_ARG (5.11) a time-out is an entry like others. One that is armed for an earlier
 * moment will do: the round that it ends finds nothing, and waits again. */
static bool uring_arm_timer(struct uring_ring *ring, uint64_t deadline_ns)
{
    if (ring->timer_ns <= deadline_ns)
        return true;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->io);
    if (sqe == NULL)
        return false;
    ring->timer_ns = deadline_ns;
    ring->timer = (struct __kernel_timespec){
        .tv_sec = (long long)(deadline_ns / NS_PER_S),
        .tv_nsec = (long long)(deadline_ns % NS_PER_S),
    };
    io_uring_prep_timeout(sqe, &ring->timer, 0, IORING_TIMEOUT_ABS);
    io_uring_sqe_set_data64(sqe, uring_tag(URING_TIMER, 0, 0));
    return true;
}

static struct __kernel_timespec uring_timespec(const struct uring_ring *ring, uint64_t deadline_ns)
{
    if (!(ring->features & URING_ABS_TIMER)) {
        uint64_t now_ns = clock_ns();
        deadline_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    }
    return (struct __kernel_timespec){
        .tv_sec = (long long)(deadline_ns / NS_PER_S),
        .tv_nsec = (long long)(deadline_ns % NS_PER_S),
    };
}

static int uring_call(struct uring_ring *ring, unsigned submit, unsigned wait_nr, unsigned flags,
                      void *argument, size_t size)
{
    int r = io_uring_enter2((unsigned)ring->io.ring_fd, submit, wait_nr, flags, argument, size);

    /* EAGAIN, EBUSY: short of memory or of room for completions, after reaping it may go on. */
    if (r >= 0 || r == -ETIME || r == -EINTR || r == -EAGAIN || r == -EBUSY)
        return 1;
    return r;
}

int uring_ring_enter(struct uring_ring *ring, unsigned wait_nr, uint64_t deadline_ns)
{
    struct io_uring_getevents_arg arg = {0};
    struct __kernel_timespec timespec;
    unsigned flags = IORING_ENTER_GETEVENTS;
    void *argument = NULL;
    size_t size = 0;

    if (wait_nr > 0 && deadline_ns != CLOCK_NEVER) {
        if (ring->features & URING_EXT_ARG) {
            timespec = uring_timespec(ring, deadline_ns);
            arg.ts = (uint64_t)(uintptr_t)&timespec;
            argument = &arg;
            size = sizeof(arg);
            flags |= IORING_ENTER_EXT_ARG;
            if (ring->features & URING_ABS_TIMER)
                flags |= IORING_ENTER_ABS_TIMER;
        } else if (!uring_arm_timer(ring, deadline_ns)) {
            wait_nr = 0;
        }
    }
    unsigned submit = uring_publish(ring);
    if (ring->features & URING_SQPOLL) {
        /* The thread says that it sleeps before it looks at the tail for the last time. */
        atomic_thread_fence(memory_order_seq_cst);
        unsigned kernel_flags = IO_URING_READ_ONCE(*ring->io.sq.kflags);
        if (kernel_flags & IORING_SQ_NEED_WAKEUP)
            flags |= IORING_ENTER_SQ_WAKEUP;
        else if (wait_nr == 0 && !(kernel_flags & IORING_SQ_CQ_OVERFLOW))
            return 0;
    }
    return uring_call(ring, submit, wait_nr, flags, argument, size);
}

int uring_ring_hand_over(struct uring_ring *ring)
{
    return uring_call(ring, uring_publish(ring), 0, 0, NULL, 0);
}

/* --- describing it --- */

static void uring_describe_waiting(const struct uring_ring *ring, struct engine_caps *caps)
{
    unsigned features = ring->features;

    if (features & URING_DEFER_TASKRUN)
        engine_caps_add(caps, "deferred task work", CAP_NATIVE, NULL);
    else if (features & URING_COOP_TASKRUN)
        engine_caps_add(caps, "deferred task work", CAP_EMULATED, "COOP_TASKRUN");
    else
        engine_caps_add(caps, "deferred task work", CAP_ABSENT,
                        features & URING_SQPOLL ? "not with sqpoll" : "needs Linux 6.1");
    if (features & URING_EXT_ARG)
        engine_caps_add(caps, "nanosecond time-outs", CAP_NATIVE,
                        features & URING_ABS_TIMER ? "absolute" : "relative");
    else
        engine_caps_add(caps, "nanosecond time-outs", CAP_EMULATED, "an entry for each time-out");
}

static void uring_describe_receiving(const struct uring_ring *ring,
                                     const struct uring_options *options, struct engine_caps *caps)
{
    unsigned features = ring->features;
    bool large_again = (features & URING_BUF_RING) && options->bundles != URING_BUNDLES_ON;
    const char *again = large_again
                            ? "receives from UNIX sockets and of large messages are armed again "
                              "each time"
                            : "receives from UNIX sockets are armed again each time";

    if (features & URING_MULTISHOT)
        engine_caps_add(caps, "multishot accept and receive", CAP_NATIVE, again);
    else
        engine_caps_add(caps, "multishot accept and receive", CAP_EMULATED,
                        "armed again each time");
    engine_caps_add(caps, "buffer ring", features & URING_BUF_RING ? CAP_NATIVE : CAP_EMULATED,
                    features & URING_BUF_RING ? NULL : "an entry for each buffer handed over");
    if (features & URING_BUNDLES)
        engine_caps_add(caps, "receive bundles", CAP_NATIVE,
                        options->bundles == URING_BUNDLES_ON ? "for messages larger than a buffer"
                                                             : "for messages of unknown size");
    else
        engine_caps_add(caps, "receive bundles", CAP_ABSENT,
                        options->bundles == URING_BUNDLES_OFF ? "bundles=off" : "needs Linux 6.10");
}

static bool uring_has_one_cpu(void)
{
    cpu_set_t cpus;

    return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) == 1;
}

static void uring_describe_asked(const struct uring_ring *ring, const struct uring_options *options,
                                 struct engine_caps *caps)
{
    /* The kernel's thread stays who opened the ring. */
    caps->privileged |= options->sqpoll;
    if (options->sqpoll && uring_has_one_cpu())
        engine_caps_add(caps, "sqpoll", CAP_NO_EFFECT,
                        "its thread shares the worker's only CPU; give the worker two");
    else if (options->sqpoll)
        engine_caps_add(caps, "sqpoll", CAP_NATIVE, NULL);
    if (options->napi_ns != 0 && !(ring->features & URING_NAPI))
        engine_caps_add(caps, "busy polling", CAP_ABSENT, "needs Linux 6.9");
    else if (options->napi_ns != 0)
        engine_caps_add(caps, "busy polling", CAP_NATIVE,
                        "loopback, unix sockets and drivers without a NAPI id are not polled");
}

bool uring_ring_sends_zc(const struct uring_ring *ring, const struct uring_options *options)
{
    uint64_t rcvbuf = options->common.rcvbuf;
    bool small = rcvbuf != 0 && rcvbuf < URING_ZC_RCVBUF_MIN;

    if (!(ring->features & URING_SEND_ZC) || !(ring->features & URING_SENDMSG_ZC))
        return false;
    return options->zc == URING_ZC_ON || (options->zc == URING_ZC_AUTO && !small);
}

void uring_ring_describe(const struct uring_ring *ring, const struct uring_options *options,
                         struct engine_caps *caps)
{
    unsigned features = ring->features;

    caps->conns_max = URING_CONNS_MAX;
    caps->spins = options->spin_ns != 0 || options->sqpoll;
    caps->attach = true;
    caps->unix_sockets = true;
    uring_describe_waiting(ring, caps);
    uring_describe_receiving(ring, options, caps);
    engine_caps_add(caps, "sends without a completion",
                    features & URING_CQE_SKIP ? CAP_NATIVE : CAP_ABSENT,
                    features & URING_SQPOLL ? "not with sqpoll" : NULL);
    if (options->zc == URING_ZC_OFF)
        engine_caps_add(caps, "zero-copy send", CAP_ABSENT, "zc=off");
    else if (!(features & URING_SEND_ZC) || !(features & URING_SENDMSG_ZC))
        engine_caps_add(caps, "zero-copy send", CAP_ABSENT, "needs Linux 6.2");
    else if (!uring_ring_sends_zc(ring, options))
        engine_caps_add(caps, "zero-copy send", CAP_ABSENT,
                        "not into small receive buffers (rcvbuf=), which take it by the sender's "
                        "window probes; zc=on insists");
    else
        engine_caps_add(caps, "zero-copy send", CAP_NATIVE, NULL);
    engine_caps_add(caps, "file segments", CAP_EMULATED,
                    "small pieces read in the ring, large ones by sendfile(2) outside of it");
    uring_describe_asked(ring, options, caps);
}
