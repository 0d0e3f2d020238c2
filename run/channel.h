/*
 * Messages of core/record.proto over a pair of file descriptors: four bytes of length, big
 * endian, then the message. What arrives is bounded and unpacked only when it is whole.
 */
#ifndef LAB_RUN_CHANNEL_H
#define LAB_RUN_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

/* A record of some twenty full histograms; and what the structs of a message may take. */
#define CHANNEL_MESSAGE_MAX  (16u << 20)
#define CHANNEL_UNPACKED_MAX (64u << 20)

struct channel {
    int in, out;
    uint8_t *buffer; /* what has come of the next message, its length first */
    size_t used, room;
};

void channel_open(struct channel *channel, int in, int out);
void channel_close(struct channel *channel); /* closes the fds */

/* Writes all of it. -EPIPE: the other side is gone; -EMSGSIZE: too long; -ENOMEM. */
int channel_send(struct channel *channel, const ProtobufCMessage *message);
/* The next whole message, to be freed with protobuf_c_message_free_unpacked(message, NULL); waits
 * until deadline_ns (CLOCK_MONOTONIC). -ETIMEDOUT; -EPIPE: the other side is gone; -EPROTO: what
 * came is no such message, or too large; -ENOMEM. */
int channel_receive(struct channel *channel, const ProtobufCMessageDescriptor *type,
                    uint64_t deadline_ns, ProtobufCMessage **message);
/* Reads what is there without waiting, then as channel_receive with a deadline in the past:
 * -EAGAIN when no whole message is there. */
int channel_take(struct channel *channel, const ProtobufCMessageDescriptor *type,
                 ProtobufCMessage **message);

#endif
