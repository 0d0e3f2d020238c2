/*
 * A child process of a trial: started with a control channel as its stdin and stdout and its
 * stderr kept (the last of it), found dead or alive through a pidfd, ended by its id.
 */
#ifndef LAB_RUN_SPAWN_H
#define LAB_RUN_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/error.h"
#include "run/channel.h"

#define SPAWN_WORDS_BYTES 2048

struct spawn {
    pid_t pid; /* 0: none */
    int pidfd;
    int err_fd; /* its stderr, non-blocking; -1 once closed */
    struct channel channel;
    char words[SPAWN_WORDS_BYTES]; /* the end of its stderr */
    size_t words_size;
    bool reaped;
    int status; /* as of waitpid, once reaped */
};

/* Namespaces that a child enters before its program starts (run/netns.h); -1: stays. */
struct spawn_place {
    int user_ns, net_ns;
};

/* place may be NULL. `via` (or NULL) goes before argv, split as a shell splits words. 0 or -errno
 * with a sentence; then nothing is left. The child is in a process group of its own, so that ^C on
 * the terminal is the controller's affair. */
int spawn_start(struct spawn *child, const struct spawn_place *place, const char *via,
                char *const *argv, struct lab_error *err);
/* Reads what is there of its stderr, keeps the end. */
void spawn_listen(struct spawn *child);
/* Waits until deadline_ns for it to end; true if it has. */
bool spawn_wait(struct spawn *child, uint64_t deadline_ns);
/* Ends it: closes the channel, waits, then SIGTERM, then SIGKILL; reaps; frees. Fine if none. */
void spawn_end(struct spawn *child, uint64_t patience_ns);
/* How it ended, `when` ("before it was ready"), and its last words, as one line. */
void spawn_describe(const struct spawn *child, const char *when, char *out, size_t out_size);

/* Splits as a shell does: blanks, '...', "...", backslash. A malloc'd NULL-terminated array in
 * one block with its words, or NULL: -EINVAL (a quote is open) or -ENOMEM in *error. */
char **spawn_split(const char *text, int *error);

#endif
