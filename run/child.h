/*
 * The child's end of a trial: what `lab serve` and `lab drive` have in common. It says READY,
 * waits for the window, samples the side at t0, at each slice's end and at t1 (from the main
 * thread, so that workers need no timer for it and idle ones are sampled too), takes the
 * process's CPU clock and counters at t0 and t1, and sends the record.
 */
#ifndef LAB_RUN_CHILD_H
#define LAB_RUN_CHILD_H

#include <stdbool.h>

#include "core/record.h"

#define CHILD_SLICES 20

/* What a side gives to the child loop. All calls come from the main thread. */
struct child_side {
    const char *name; /* client, server, both */
    void *context;
    /* Fills tids, addresses, capabilities, settings, wait. */
    void (*ready)(void *context, Lab__Ready *ready);
    /* t1_ns 0: until the count of ops is reached. start_ns may be in the past. */
    void (*window)(void *context, uint64_t start_ns, uint64_t t0_ns, uint64_t t1_ns);
    /* index 0 is t0, 1 .. CHILD_SLICES the slice ends; the last one is t1. */
    void (*sample)(void *context, unsigned index, uint64_t now_ns);
    /* Clients with an open-ended window: waits at most timeout_ns for the last op. 0: finished,
     * the window that was is stored; -EAGAIN: not yet. NULL for servers. */
    int (*wait_finished)(void *context, uint64_t timeout_ns, uint64_t *t0_ns, uint64_t *t1_ns);
    /* Stops, drains, joins the workers, fills everything but process, t0, t1, side, index. */
    void (*finish)(void *context, Lab__Record *record);
    int failed_fd; /* readable once it cannot go on, which it has said on stderr; 0: none */
};

/* Takes stdin and stdout for the control channel (stdout is pointed at stderr from then on, so
 * that a stray print cannot break it). To be called before anything is printed. */
int child_channel_take(struct lab_error *err);
bool child_has_channel(void);
/* Tells the controller why this child cannot go on. exit_code as in cli/cli.h. */
void child_fail(int exit_code, const char *text);
void child_note(const char *text);
/* Runs the whole conversation; returns the exit code. If the controller goes away (EOF), or
 * the side has failed, it returns at once. */
int child_run(const struct child_side *side, unsigned index);

/* Pins the calling thread (and those that it starts later) to one or more CPUs. */
int child_pin(const char *cpu_list, struct lab_error *err);
/* A small timer slack for precise sleeps (1 ns); die with the parent (PR_SET_PDEATHSIG). */
void child_prepare(void);

#endif
