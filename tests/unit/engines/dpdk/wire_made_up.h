/*
 * A wire that is made up, for tests of what stands on it: so many blocks and frames, what is sent
 * is read and dropped, and what is received a test has written by hand.
 */
#ifndef LAB_TESTS_WIRE_MADE_UP_H
#define LAB_TESTS_WIRE_MADE_UP_H

#include "engines/dpdk/wire.h"

#define MADE_BLOCKS      512u
#define MADE_BLOCK_BYTES 2048u
#define MADE_FRAME_BYTES 2048u
#define MADE_SENT_MOST   64u

#define MADE_MTU      1500u
#define MADE_MSS      1460u
#define MADE_PEER_MAC "\x02peer!" /* of a neighbour that says it */
#define MADE_PORT     80u         /* that the segments written here go to */

#define TCP_HAS_FIN 0x01u
#define TCP_HAS_SYN 0x02u
#define TCP_HAS_RST 0x04u
#define TCP_HAS_ACK 0x10u

/* A segment that was sent. */
struct sent {
    uint16_t to_port;
    uint32_t sequence, acknowledged, window; /* as announced, unscaled */
    uint8_t flags;
    uint8_t to_mac[6];
};

extern struct sent sent[MADE_SENT_MOST];
extern unsigned sent_count;
extern unsigned sent_others; /* frames that are no segments */
extern unsigned blocks_left, frames_out;
extern bool spare_left;

/* All blocks are free, and nothing was sent. */
void made_up_wire(void);

/* A segment with so many bytes after its options, from there to MADE_PORT. data NULL: any. */
struct segment {
    uint32_t from, to; /* addresses, host byte order */
    uint16_t port;
    uint32_t sequence, acknowledged;
    unsigned flags;
    uint8_t protocol; /* another than TCP */
    const uint8_t *options, *data;
    size_t options_size, size;
};
struct wire_frame *made_up_segment(const struct segment *segment);
/* Its neighbour says that he is there, in answer to that address. */
struct wire_frame *made_up_arp(uint32_t from, uint32_t to);

void put32(uint8_t *at, uint32_t value);
void put16(uint8_t *at, uint32_t value);

#endif
