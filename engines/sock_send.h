/*
 * What a send queue begins with, handed to a kernel socket in one call that does not wait.
 */
#ifndef LAB_ENGINES_SOCK_SEND_H
#define LAB_ENGINES_SOCK_SEND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "engines/sendq.h"

/* Of one call. More would let one connection keep the others waiting. */
#define SOCK_SEND_BYTES (1ull << 20)
#define SOCK_SEND_SEGS  256u

/*
 * Memory by one gather, or a piece of a file. Returns the bytes taken, which the caller settles
 * with the queue (sendq_took), or -errno: -EAGAIN when the socket is full, -ENODATA when a file
 * became shorter than what was promised. *asked is what there was to take. iov has room for
 * SOCK_SEND_SEGS. *nonblocking: fd is O_NONBLOCK, which sendfile() needs; set when it is made so.
 * *calls grows by the system calls made.
 */
ssize_t sock_send_queued(int fd, const struct sendq *queue, struct iovec *iov, bool *nonblocking,
                         uint64_t *asked, uint64_t *calls);

#endif
