/*
 * Sockets as all kernel engines make them, so that they are equal but for the engine: the same
 * options, set on the listener and before connect (accepted sockets inherit them; accepted
 * direct descriptors could not take any).
 */
#ifndef LAB_ENGINES_SOCK_H
#define LAB_ENGINES_SOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engines/engine.h"

struct sock_listener {
    int fd;
    struct addr bound; /* with its real port */
    dev_t path_dev;    /* of a unix socket's file, to unlink that very one; 0: none */
    ino_t path_ino;
};

/* The links over which kernel sockets run, for engine_ops: lo first. */
extern const char *const sock_links[];

/* Fills what the options (buffer sizes, congestion control) come to on this host into caps.
 * -EINVAL, -EPERM, ... with a sentence for a congestion control that cannot be had. */
int sock_probe(const struct engine_config *config, struct engine_caps *caps, struct lab_error *err);

/* A bound and listening socket; flags: SOCK_NONBLOCK or 0, CLOEXEC is always set. A unix path
 * that nobody listens on any more is replaced. -errno with a sentence; nothing is left. */
int sock_listen(struct sock_listener *listener, const struct addr *addr,
                const struct engine_config *config, int flags, struct lab_error *err);
/* For those that close the fd themselves (through a ring): the rest of sock_listener_close. The
 * fd must still be open: a socket keeps the inode of its path, so that it is not another's. */
void sock_listener_unlink(struct sock_listener *listener);
void sock_listener_close(struct sock_listener *listener); /* unlinks its unix path too */

/* A socket with all options, bound to local (NULL: any), to be connected. An fd or -errno. *calls
 * grows by the system calls made, and so it does below. */
int sock_open(const struct addr *remote, const struct addr *local,
              const struct engine_config *config, int flags, uint64_t *calls);

/* A failed connect() that is the host's trouble, known at once (no port left, no memory), and not
 * the remote end's. err is positive. */
bool sock_connect_failed_here(int err);
/* A failed accept() that calls for a pause; others concern only the one that was to be accepted,
 * or nobody. err is positive. */
bool sock_accept_must_pause(int err);
/* The pending error of a socket, positive or 0. */
int sock_error(int fd);
/* Reads what is there, without waiting, and forgets it; *eof is set when the peer has ended. True
 * if there was anything. */
bool sock_discard(int fd, bool *eof, uint64_t *calls);
bool sock_has_unread(int fd);
/*
 * Before a close in order, with everything sent: whether to end with FIN and wait until the peer
 * has it all (sock_is_acknowledged), or its own end. A close with unread input sends a RST, and so
 * does input that comes later; it takes our own bytes that are still on their way with it: on a
 * peer that sends on, or one whose window holds bytes back. What else a peer begins to send after
 * the close cannot be seen, and is its own trouble. `large`: whether it ever sent
 * SOCK_LARGE_SEND_BYTES in one go; less lies within what every peer takes at once, and is not
 * worth the system call. Reads what is there; *eof and *calls as sock_discard.
 */
bool sock_must_linger(int fd, bool large, bool *eof, uint64_t *calls);
#define SOCK_LARGE_SEND_BYTES (16u << 10)
/* All that was sent has arrived at the peer's kernel, or never will. */
bool sock_is_acknowledged(int fd);
/* close(fd) will send a RST. */
void sock_set_abort(int fd);
/* sendfile() has no MSG_NOSIGNAL: blocks SIGPIPE in the calling thread, which owns the instance. */
void sock_block_sigpipe(void);
/* How a connection ended that failed with err (positive) while it was open. */
enum engine_reason sock_reason(int err);

/* The pause after a failed accept: 10 ms, doubled at each failure up to 100 ms, 10 ms again
 * after a success. */
struct sock_backoff {
    uint64_t pause_ns; /* the last one; 0: none since the last success */
};
uint64_t sock_backoff_next_ns(struct sock_backoff *backoff);
static inline void sock_backoff_reset(struct sock_backoff *backoff)
{
    backoff->pause_ns = 0;
}

/*
 * The system calls of the hot path, without glibc's wrappers around them: those are cancellation
 * points, which in a process of several threads costs two atomic operations a call, some 2 % of
 * a round trip between spinning ends. Nobody cancels threads here.
 */
static inline ssize_t sock_recv(int fd, void *data, size_t size, int flags)
{
    return syscall(SYS_recvfrom, fd, data, size, flags, NULL, NULL);
}

static inline ssize_t sock_send(int fd, const void *data, size_t size, int flags)
{
    return syscall(SYS_sendto, fd, data, size, flags, NULL, 0);
}

static inline ssize_t sock_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return syscall(SYS_sendmsg, fd, message, flags);
}

#endif
