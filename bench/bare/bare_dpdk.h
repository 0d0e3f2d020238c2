/*
 * Between the two halves of the bare DPDK pair, whose libraries' headers cannot be read in one
 * file: frames and a link (bare_dpdk_link.c, DPDK), and the TCP above them (bare_dpdk.c, lwIP).
 *
 * A frame is an mbuf, named by the private area between its header and its data. That is where the
 * stack keeps its own header (struct pbuf_custom), so that neither side has to look up the other's.
 */
#ifndef LAB_BENCH_BARE_DPDK_H
#define LAB_BENCH_BARE_DPDK_H

#include <stdbool.h>
#include <stdint.h>

#define LINK_NAME     "lab-bare-dpdk-" /* and a number: an abstract socket */
#define FRAME_PRIVATE 64u /* bytes of it; a cache line, and the data begins at another */
#define FRAME_HEADERS 54u /* Ethernet, IPv4 and TCP without options: what precedes a payload */
#define FRAME_BURST   16u /* more, and the two sides take turns; fewer, and each takes longer */

struct packet {
    void *frame; /* its owner gives it back with frame_free() */
    char *data;
    unsigned length;
};

/* Ends the process with a sentence when it cannot be. mtu: of the frames' payload. */
void link_open(bool server, int cpu, unsigned number, unsigned mtu);

/* The other side is there. Slow. */
bool link_is_up(void);

/* Of a burst at most; 0 when nothing has come. */
unsigned link_receive(struct packet *packets);

/* The queue grows until link_flush() hands it over: in order, and what finds no room stays. */
void link_queue(void *frame, const char *data, unsigned length);
void link_flush(void);

/* Where a TCP payload goes: on a cache line, with the headers' room before it. NULL: none free. */
void *frame_new(char **payload);
unsigned frame_room(void);
void frame_free(void *frame);

#endif
