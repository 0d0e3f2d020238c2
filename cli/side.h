/*
 * What `lab serve` and `lab drive` have in common: the options of a process of either side, and
 * how such a process begins and fails, under a controller or typed by a person.
 */
#ifndef LAB_CLI_SIDE_H
#define LAB_CLI_SIDE_H

#include "cli/args.h"
#include "core/record.h"
#include "engines/engine.h"

struct side_options {
    char engine[OPTION_TEXT_MAX];
    char cc[OPTION_TEXT_MAX];
    char cpus[OPTION_TEXT_MAX];
    char link[LINK_TEXT_MAX]; /* "": the engine's default */
    bool control, verbose;
    uint64_t index;
};
extern const struct option_def side_options[];

struct side {
    struct side_options options;
    struct engine_spec spec;
    struct link link_of_process;
    const struct link *link; /* for engine_config; NULL: the engine has none */
    const char *workload;
    bool privileged; /* the engine needs its rights for as long as it is open */
};

/* Takes the control channel if one was asked for, so that what fails later is told there. To be
 * called before anything else. 0 or an exit code. */
int side_begin(struct side *side, const struct command *self, const struct args *args);
/* Parses spec and link (`role`'s view of it), asks the engine whether it can run here, pins, raises
 * the limit of fds, ignores SIGPIPE, blocks the signals that end it (run/signals.h) for the threads
 * to come. 0 or an exit code. */
int side_prepare(struct side *side, enum link_side role);
/* Whether the address is a socket with a name in the file system, which its rights guard: who made
 * it may remove it, from whatever folder, and others may not even connect. */
bool side_has_file(const struct addr *addr);
/* Once the engine is open: what runs under sudo becomes the user's. 0 or an exit code, having said
 * why. */
int side_drop_rights(const struct side *side);
/* Tells the user of something that is no error: the controller, or on stderr. NULL: nothing. */
void side_note(const char *text);
/* Says what went wrong, to the controller or on stderr; returns exit_code. */
int side_fail(const struct side *side, int exit_code, const char *text);
void side_end(struct side *side);
/* The engine's effective options as `engine.NAME`. */
void side_settings(const struct side *side, Lab__Ready *ready);

#endif
