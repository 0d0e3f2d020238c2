/*
 * Rights that a process needs to begin with and no longer. Who runs lab by sudo is root until
 * engines are open, and nobody but the user whose SUDO_UID and SUDO_GID sudo(8) has left from then
 * on.
 */
#ifndef LAB_RUN_PRIVILEGE_H
#define LAB_RUN_PRIVILEGE_H

#include "core/error.h"

/* All threads of the process (not what the kernel runs for it) become the user's for good. 0, also
 * where there is nobody to become; -errno with a sentence, and then the process must not go on. */
int privilege_drop(struct lab_error *err);

/* Gives a file that root has made to the user; nothing where there is nobody to become. */
void privilege_give(int fd);

#endif
