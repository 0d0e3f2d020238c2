/*
 * The lower half of the bare DPDK pair: memif between two processes, without privilege, hugepages,
 * or a file. The client lends its buffers to both directions (zero-copy), so that a packet is
 * copied once, by the server.
 */
#include "bare_die.h"
#include "bare_dpdk.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define MEMORY_MB  "256"
#define FRAMES_MB  160u /* of these; the rest is memif's and DPDK's own */
#define FRAMES_MAX 32768u
#define CACHE      512u
#define RING_LOG2  10u
#define COPY_BREAK 256u
#define QUEUE      65536u /* a power of two; more than any number of connections has under way */
#define ETHERNET   14u

static struct rte_mempool *pool;
static bool lends; /* what is sent is read by the peer where it lies */

static struct {
    struct rte_mbuf *of[QUEUE];
    unsigned head, tail;
} queue;

static inline struct rte_mbuf *mbuf_of(void *frame)
{
    return (struct rte_mbuf *)frame - 1;
}

static void start_eal(bool server, int cpu, unsigned number, unsigned room)
{
    char lcore[32], device[256];
    char *args[] = {"bare_dpdk",
                    "--no-huge",
                    "-m",
                    "256",
                    "--no-pci",
                    "--no-shconf",
                    "--no-telemetry",
                    "--single-file-segments",
                    "--log-level=error",
                    "--lcores",
                    lcore,
                    "--vdev",
                    device,
                    NULL};

    snprintf(lcore, sizeof(lcore), "0@%d", cpu < 0 ? sched_getcpu() : cpu);
    snprintf(device, sizeof(device),
             "net_memif0,role=%s,socket=" LINK_NAME "%u,bsize=%u,rsize=%u%s",
             server ? "server" : "client", number, room, RING_LOG2, server ? "" : ",zero-copy=yes");
    if (rte_eal_init(sizeof(args) / sizeof(*args) - 1, args) < 0)
        die("DPDK does not start: %s", rte_strerror(rte_errno));
}

void link_open(bool server, int cpu, unsigned number, unsigned mtu)
{
    /* What the peer may send, and memif's buffers have to be as large as the pool's. */
    unsigned room = RTE_ALIGN(mtu + FRAME_HEADERS, 64);
    unsigned frames = RTE_MIN(FRAMES_MB * 1048576u / (room + 448), FRAMES_MAX);
    struct rte_eth_conf conf = {0};
    cpu_set_t cpus;

    lends = !server;
    sched_getaffinity(0, sizeof(cpus), &cpus);
    start_eal(server, cpu, number, room);
    sched_setaffinity(0, sizeof(cpus), &cpus);
    pool = rte_pktmbuf_pool_create("frames", frames, CACHE, FRAME_PRIVATE,
                                   (uint16_t)(RTE_PKTMBUF_HEADROOM + room), SOCKET_ID_ANY);
    if (!pool)
        die("no memory for %u frames of %u bytes: %s", frames, room, rte_strerror(rte_errno));
    if (rte_eth_dev_count_avail() != 1 || rte_eth_dev_configure(0, 1, 1, &conf) ||
        rte_eth_rx_queue_setup(0, 0, 1u << RING_LOG2, 0, NULL, pool) ||
        rte_eth_tx_queue_setup(0, 0, 1u << RING_LOG2, 0, NULL) || rte_eth_dev_start(0))
        die("memif does not start: %s", rte_strerror(rte_errno));
}

bool link_is_up(void)
{
    struct rte_eth_link link;

    return !rte_eth_link_get_nowait(0, &link) && link.link_status == RTE_ETH_LINK_UP;
}

unsigned link_receive(struct packet *packets)
{
    struct rte_mbuf *burst[FRAME_BURST];
    unsigned count = rte_eth_rx_burst(0, 0, burst, FRAME_BURST);

    for (unsigned i = 0; i < count; i++) {
        packets[i].frame = burst[i] + 1;
        packets[i].data = rte_pktmbuf_mtod(burst[i], char *);
        packets[i].length = rte_pktmbuf_data_len(burst[i]);
        /* The other core wrote both lines: fetch them for all before the first is looked at. */
        rte_prefetch0(packets[i].data);
        rte_prefetch0(packets[i].data + 64);
    }
    return count;
}

/*
 * TCP looks at the headers of what it sent again when that is acknowledged, and after the peer has
 * read them they are no longer in this core's cache: short frames are lent as copies.
 */
static inline struct rte_mbuf *lend(struct rte_mbuf *mbuf, const char **data, unsigned length)
{
    struct rte_mbuf *copy;

    if (length > COPY_BREAK || !lends || !(copy = rte_mbuf_raw_alloc(pool))) {
        rte_mbuf_refcnt_update(mbuf, 1);
        return mbuf;
    }
    *data = memcpy((char *)copy->buf_addr + RTE_PKTMBUF_HEADROOM - FRAME_HEADERS, *data, length);
    return copy;
}

void link_queue(void *frame, const char *data, unsigned length)
{
    struct rte_mbuf *mbuf;

    /* Full: as good as lost on the way. TCP sends it again. */
    if (queue.tail - queue.head == QUEUE)
        return;
    mbuf = lend(mbuf_of(frame), &data, length);
    mbuf->data_off = (uint16_t)(data - (char *)mbuf->buf_addr);
    rte_pktmbuf_data_len(mbuf) = (uint16_t)length;
    rte_pktmbuf_pkt_len(mbuf) = length;
    queue.of[queue.tail++ % QUEUE] = mbuf;
}

void link_flush(void)
{
    while (queue.head != queue.tail) {
        unsigned at = queue.head % QUEUE, count = queue.tail - queue.head, sent;

        count = RTE_MIN(count, QUEUE - at);
        sent = rte_eth_tx_burst(0, 0, queue.of + at, (uint16_t)RTE_MIN(count, 1024u));
        queue.head += sent;
        if (!sent)
            return;
    }
}

void *frame_new(char **payload)
{
    struct rte_mbuf *mbuf = rte_mbuf_raw_alloc(pool);

    if (!mbuf)
        return NULL;
    *payload = (char *)mbuf->buf_addr + RTE_PKTMBUF_HEADROOM;
    return mbuf + 1;
}

unsigned frame_room(void)
{
    return rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM;
}

void frame_free(void *frame)
{
    rte_pktmbuf_free_seg(mbuf_of(frame));
}
