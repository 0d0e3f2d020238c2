/* See channel.h. */
#include "run/channel.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"

#define CHANNEL_HEAD_BYTES 4u
#define CHANNEL_ALIGN      (2 * sizeof(void *))

void channel_open(struct channel *channel, int in, int out)
{
    *channel = (struct channel){.in = in, .out = out};
}

void channel_close(struct channel *channel)
{
    if (channel->in >= 0)
        close(channel->in);
    if (channel->out >= 0 && channel->out != channel->in)
        close(channel->out);
    free(channel->buffer);
    *channel = (struct channel){.in = -1, .out = -1};
}

/* A write to who is gone fails, and is no signal: it would end the controller. A pipe, which
 * cannot be told so, is only ever a child's, and that ignores the signal. */
static ssize_t write_some(int fd, const uint8_t *data, size_t size)
{
    ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
    return n < 0 && errno == ENOTSOCK ? write(fd, data, size) : n;
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write_some(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            poll(&wait, 1, 1000);
            continue;
        }
        if (n < 0)
            return errno == ECONNRESET ? -EPIPE : -errno;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

int channel_send(struct channel *channel, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > CHANNEL_MESSAGE_MAX)
        return -EMSGSIZE;
    uint8_t *packed = malloc(CHANNEL_HEAD_BYTES + size);
    if (packed == NULL)
        return -ENOMEM;
    uint32_t head = htobe32((uint32_t)size);
    memcpy(packed, &head, sizeof(head));
    protobuf_c_message_pack(message, packed + CHANNEL_HEAD_BYTES);
    int r = write_all(channel->out, packed, CHANNEL_HEAD_BYTES + size);
    free(packed);
    return r;
}

/* How many bytes the message under way has in all, its head included; 0 while unknown. */
static size_t whole_bytes(const struct channel *channel)
{
    uint32_t head;
    if (channel->used < CHANNEL_HEAD_BYTES)
        return 0;
    memcpy(&head, channel->buffer, sizeof(head));
    return CHANNEL_HEAD_BYTES + (size_t)be32toh(head);
}

/* Reads once. 0: more is here; -EAGAIN, -EPIPE, -EPROTO, -ENOMEM. Never past the message. */
static int read_some(struct channel *channel)
{
    size_t whole = whole_bytes(channel);
    size_t want = whole == 0 ? CHANNEL_HEAD_BYTES : whole;

    if (want > CHANNEL_HEAD_BYTES + CHANNEL_MESSAGE_MAX)
        return -EPROTO;
    /* Grown as bytes come, not by what the length claims. */
    size_t step = channel->used + 65536 < want ? channel->used + 65536 : want;
    if (step > channel->room) {
        uint8_t *grown = realloc(channel->buffer, step);
        if (grown == NULL)
            return -ENOMEM;
        channel->buffer = grown;
        channel->room = step;
    }
    ssize_t n = read(channel->in, channel->buffer + channel->used, step - channel->used);
    if (n == 0)
        return -EPIPE;
    if (n < 0)
        return errno == EINTR        ? 0
               : errno == EAGAIN     ? -EAGAIN
               : errno == ECONNRESET ? -EPIPE
                                     : -errno;
    channel->used += (size_t)n;
    return 0;
}

/* Two bytes of a message can stand for a struct of sixty: what it unpacks to is bounded too. */
static void *budget_alloc(void *left, size_t size)
{
    size_t rounded = (size + CHANNEL_ALIGN - 1) / CHANNEL_ALIGN * CHANNEL_ALIGN + CHANNEL_ALIGN;
    size_t *budget = left;

    if (rounded > *budget)
        return NULL;
    *budget -= rounded;
    return malloc(size);
}

static void budget_free(void *left, void *memory)
{
    (void)left;
    free(memory);
}

static int unpack(struct channel *channel, const ProtobufCMessageDescriptor *type,
                  ProtobufCMessage **message)
{
    size_t size = channel->used - CHANNEL_HEAD_BYTES, budget = CHANNEL_UNPACKED_MAX;
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};

    *message =
        protobuf_c_message_unpack(type, &allocator, size, channel->buffer + CHANNEL_HEAD_BYTES);
    channel->used = 0;
    return *message != NULL ? 0 : -EPROTO;
}

int channel_receive(struct channel *channel, const ProtobufCMessageDescriptor *type,
                    uint64_t deadline_ns, ProtobufCMessage **message)
{
    for (;;) {
        size_t whole = whole_bytes(channel);
        if (whole != 0 && channel->used == whole)
            return unpack(channel, type, message);
        struct pollfd wait = {.fd = channel->in, .events = POLLIN};
        struct timespec left = clock_poll_timeout(clock_ns(), deadline_ns);
        int r = ppoll(&wait, 1, deadline_ns == CLOCK_NEVER ? NULL : &left, NULL);
        if (r < 0 && errno != EINTR)
            return -errno;
        if (r == 0 && clock_ns() >= deadline_ns)
            return -ETIMEDOUT;
        if (r > 0 && (r = read_some(channel)) < 0 && r != -EAGAIN)
            return r;
    }
}

int channel_take(struct channel *channel, const ProtobufCMessageDescriptor *type,
                 ProtobufCMessage **message)
{
    int r = channel_receive(channel, type, 0, message);
    return r == -ETIMEDOUT ? -EAGAIN : r;
}
