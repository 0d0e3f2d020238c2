/* See sock_send.h. */
#include "engines/sock_send.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "engines/sock.h"

static ssize_t sock_send_file(int fd, const struct seg *file, bool *nonblocking, uint64_t *asked,
                              uint64_t *calls)
{
    off_t offset = (off_t)file->file_offset;

    if (!*nonblocking) {
        *calls += 1;
        fcntl(fd, F_SETFL, O_NONBLOCK); /* sendfile() knows no MSG_DONTWAIT */
        *nonblocking = true;
    }
    *asked = file->size < SOCK_SEND_BYTES ? file->size : SOCK_SEND_BYTES;
    ssize_t n = sendfile(fd, file->fd, &offset, *asked);
    if (n == 0)
        return -ENODATA;
    return n < 0 ? -errno : n;
}

ssize_t sock_send_queued(int fd, const struct sendq *queue, struct iovec *iov, bool *nonblocking,
                         uint64_t *asked, uint64_t *calls)
{
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    struct seg file;
    ssize_t n;

    *calls += 1;
    if (__builtin_expect(sendq_next_file(queue, &file), 0))
        return sock_send_file(fd, &file, nonblocking, asked, calls);
    unsigned count = sendq_gather(queue, iov, SOCK_SEND_SEGS, SOCK_SEND_BYTES, asked);
    if (sendq_file_follows(queue, count))
        flags |= MSG_MORE; /* a head and its file share their packets */
    if (__builtin_expect(count == 1, 1)) {
        n = sock_send(fd, iov[0].iov_base, iov[0].iov_len, flags);
    } else {
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
        n = sock_sendmsg(fd, &message, flags);
    }
    return n < 0 ? -errno : n;
}
