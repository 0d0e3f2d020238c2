/*
 * The room of links: a port that DPDK drives, as the two other rooms see it. Nothing of DPDK's
 * headers is here, since they collide with lwIP's in one translation unit. wire_eal.c starts
 * DPDK's environment, wire_port.c has the ports, wire_fault.c spoils what they carry.
 *
 * One wire a process: DPDK's environment is process-wide, cannot be started twice and is never
 * taken down; a wire that is closed is kept for the next one who asks for the same.
 */
#ifndef LAB_ENGINES_DPDK_WIRE_H
#define LAB_ENGINES_DPDK_WIRE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/link.h"
#include "core/seg.h"

#define WIRE_BURST_MAX   64u
#define WIRE_HEADER      14u /* of a frame: Ethernet's */
#define WIRE_STACK_BYTES 32u
#define WIRE_MTU_MOST    64000u /* a buffer, with all that stands around a packet, has 16 bits */

/*
 * A received frame. It lies in front of its bytes, in the mbuf's private area, and has room for
 * what each of the rooms needs to know of it: so that it goes up as a loan without a copy and
 * without an allocation.
 */
struct wire_frame {
    /* Whole lines of it, so that what follows begins with one. */
    _Alignas(64) struct buf buf; /* data and size: at first the whole frame, later what is lent */
    /* A frame is the stack's or the engine's: so that it is one line. */
    union {
        _Alignas(8) unsigned char stack[WIRE_STACK_BYTES];
        struct {
            struct wire_frame *next;
            void *owner;
            uint32_t charged;
            uint32_t room; /* bytes, of memory of the engine's own; 0: the device's frame */
        };
    };
};
_Static_assert(sizeof(struct wire_frame) == 64, "a frame in front of its bytes is a cache line");

/* Who drives the device: which of DPDK's drivers, and what it must be told. */
enum wire_driver { WIRE_MEMIF, WIRE_TAP, WIRE_AF_PACKET, WIRE_AF_XDP, WIRE_PCI };

struct wire_config {
    enum wire_driver driver;
    bool server;             /* of a memif: the end that listens */
    const char *device;      /* interface, PCI address, or the memif's abstract socket */
    const struct link *link; /* its faults, the tap's addresses; NULL: none */
    const char *eal;         /* extra arguments */
    uint32_t mtu;
    uint32_t ring;  /* slots of a ring */
    uint32_t burst; /* frames handed over at once, at most WIRE_BURST_MAX */
    uint32_t mbufs; /* of each direction */
    bool zero_copy;
    bool huge;
    bool verbose; /* what DPDK says goes to stderr */
    uint8_t mac[6];
};

/* Counted since the process began. */
struct wire_counts {
    uint64_t received, sent, bursts;
    uint64_t full;     /* bursts that the ring did not take whole: they are kept */
    uint64_t dropped;  /* frames given up: no link, no memory, the kept ones too many */
    uint64_t no_frame; /* allocations of a frame that failed */
    uint64_t lost, doubled, reordered; /* faults, made on purpose */
    uint64_t syscalls;
};

struct wire;

/* Whether the driver could drive that device here; leaves nothing behind. -errno with a sentence
 * that says what to do. */
int wire_probe(const struct wire_config *config, struct lab_error *err);

/* -EADDRINUSE: the memif's socket is taken; -ECONNREFUSED: nobody listens there; else with a
 * sentence. To be used by one thread, the one that opens it. */
int wire_open(struct wire **wire, const struct wire_config *config, struct lab_error *err);
/* What was sent is handed over; nothing is received any more. NULL is fine. */
void wire_close(struct wire *wire);

/* Frames received, at most the burst. */
unsigned wire_receive(struct wire *wire, struct wire_frame **frames);
/* An empty frame to be filled, or NULL: for what a stack puts together itself. */
struct wire_frame *wire_frame_new(size_t *room);
void wire_frame_free(struct wire_frame *frame);

/*
 * Memory to build frames in, that can be sent as it is: what the stack keeps for a retransmission
 * and what the device reads are the same bytes. NULL: none left, or larger than a frame.
 */
void *wire_block_new(size_t size);
void wire_block_free(void *block);
/* One to be sent and freed at once: there are some though the stack keeps all others. */
void *wire_spare_new(size_t size);
extern const char *wire_blocks_low, *wire_blocks_high;
static inline bool wire_owns(const void *memory)
{
    return (const char *)memory >= wire_blocks_low && (const char *)memory < wire_blocks_high;
}

/* Queues a frame that lies in a block; the block is free again when it was sent and freed. A full
 * burst is handed over at once, the rest by wire_flush. */
void wire_send(struct wire *wire, void *block, const uint8_t *data, size_t size);
void wire_flush(struct wire *wire);
bool wire_is_drained(const struct wire *wire);

/* The other end has gone since this was last asked, about every millisecond. */
bool wire_has_lost(struct wire *wire, uint64_t now_ns);
/* A hang-up has come: wire_has_lost is to be asked before anything more is received, since that may
 * be of the next one to connect; until then nothing is handed over, since that one may be there. */
bool wire_is_suspect(const struct wire *wire);
bool wire_has_carried(const struct wire *wire); /* it was there since */
/* The port's own MAC. */
void wire_mac(const struct wire *wire, uint8_t mac[6]);
void wire_counts(struct wire *wire, struct wire_counts *counts);
/* Counts what the device has dropped by itself, which may take a system call. */
void wire_take_stock(struct wire *wire);
/* Whether there is a carrier: a NIC needs seconds until it has one. */
bool wire_is_up(const struct wire *wire);

/* wire_eal.c */

/* Whether its further arguments (eal=) may be given to it; what DPDK thinks of them it says later.
 */
int wire_eal_check(const struct wire_config *config, struct lab_error *err);
/* DPDK's environment, in the calling thread, which from then on may use wires. Once a process;
 * later calls do nothing, but for a thread that is new. */
int wire_eal_start(const struct wire_config *config, struct lab_error *err);
/*
 * Around calls that make a device: DPDK has a stream to speak to, but what it calls (getopt,
 * libbpf, libxdp) prints on stdout and stderr. In between both are that stream.
 */
void wire_eal_hush(void);
void wire_eal_hush_ends(void);
/* The end of what DPDK has said since it was hushed, for a sentence; "" if it was silent. */
const char *wire_eal_said(void);
/* The time stamp counter, for what would be slower to ask the clock; and its rate. */
uint64_t wire_cycles_hz(void);
static inline uint64_t wire_cycles(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t count;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(count));
    return count;
#else
#error "no cycle counter is known here"
#endif
}

/* wire_host.c: what of this host DPDK could use, as sysfs tells; starts nothing. A line of text
 * each. */
#define WIRE_SYSFS "/sys"
unsigned wire_host_hugepages(const char *sysfs, char *text, size_t size); /* how many are free */
unsigned wire_host_nics(const char *sysfs, char *text, size_t size); /* that DPDK may drive now */
void wire_host_iova(const char *sysfs, char *text, size_t size);

/* wire_fault.c: between stack and port, from the link's seed. */
struct wire_fault;
struct rte_mbuf;
enum wire_fate { WIRE_PASSES, WIRE_LOST, WIRE_HELD, WIRE_DOUBLED };
int wire_fault_open(struct wire_fault **fault, const struct link *link);
void wire_fault_close(struct wire_fault *fault);
/* What becomes of the next frame. Of those that are held there is one at a time: it goes after the
 * next that is not lost. */
enum wire_fate wire_fault_decide(struct wire_fault *fault, bool one_is_held);
/* What becomes of these frames: fewer, more or in another order, in out, which has room for twice
 * as many and one. */
unsigned wire_fault_apply(struct wire_fault *fault, struct rte_mbuf **frames, unsigned count,
                          struct rte_mbuf **out, struct wire_counts *counts);

#endif
