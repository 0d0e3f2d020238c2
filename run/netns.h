/*
 * Network namespaces without names: made in a process that ends at once, kept alive by
 * descriptors and by the processes inside. However the run ends, with the last of them all is
 * gone: namespaces, interfaces, addresses. Who may not make them as he is makes them inside a user
 * namespace, where nothing changes but that he may configure what is his.
 */
#ifndef LAB_RUN_NETNS_H
#define LAB_RUN_NETNS_H

#include "core/error.h"

#define NETNS_MOST          2
#define NETNS_SETTINGS_SIZE 1024

struct netns {
    int user; /* -1: none was needed */
    int net[NETNS_MOST];
    unsigned count;
    /* `name value` lines: what the kernel's TCP is set to inside. */
    char settings[NETNS_SETTINGS_SIZE];
};

/* Makes `count` of them, and lets `furnish` put interfaces in: it is called in the process that
 * ends at once, inside the last namespace. 0, or -errno with a sentence; then nothing is left. */
int netns_make(struct netns *ns, unsigned count,
               int (*furnish)(void *context, const struct netns *ns, struct lab_error *err),
               void *context, struct lab_error *err);
void netns_close(struct netns *ns); /* what netns_make filled, or NETNS_NONE */

#define NETNS_NONE                                                                                 \
    (struct netns)                                                                                 \
    {                                                                                              \
        .user = -1, .net = { -1, -1 }                                                              \
    }

/* Enters them (-1: stays) between fork and exec, with the right to use the network devices kept
 * over exec: async-signal-safe calls only. 0 or -errno. */
int netns_enter(int user, int net);

#endif
