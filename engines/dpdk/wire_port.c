/*
 * Ports: memif between two processes of this host, a tap device, either end of a veth pair
 * through af_packet or af_xdp, a NIC. What is sent is queued and handed over in bursts; when the
 * ring is full it waits here, since a stack that loses what its neighbour was too slow to take
 * would stand still for a retransmission.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <net/if.h>
#include <rte_alarm.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engines/dpdk/guard.h"
#include "engines/dpdk/wire.h"

#define WIRE_QUEUE       16384u /* frames that wait for the ring; a power of two */
#define WIRE_CACHE       256u   /* of a pool */
#define WIRE_BLOCK_BYTES 256u   /* of a block, beside the MTU: lwIP's pbuf and all headers */
#define WIRE_RETRY_NS    20000000ull
#define WIRE_PATIENCE_NS 2000000000ull /* with one that says nothing */
#define WIRE_COPY_MOST   256u          /* a short frame, lent as a copy */
#define WIRE_COPY_OFFSET 74u           /* of its bytes: headers of 54 end with a cache line */
#define WIRE_COPIES_MORE 1024u         /* than the ring has slots: the pool's cache keeps some */
#define WIRE_NAME_MAX    64

struct wire {
    struct wire *next; /* those that were opened in this process */
    struct wire_config config;
    char device[OPTION_TEXT_MAX];
    char name[WIRE_NAME_MAX]; /* DPDK's, of the device */
    uint16_t port;
    bool running; /* a port that is not may not be asked */
    bool patient;
    bool carried;     /* the other end was there, since it was last lost */
    bool turned_away; /* ... and hung up on us: come again soon */
    uint64_t started_ns, received_before;
    uint64_t device_dropped; /* by the device, as it has said last */
    bool lends;              /* what is sent is read by the other end where it lies */
    /* One a direction: what one holds back must not come out of the other. */
    struct wire_fault *fault, *fault_received;
    struct wire_counts counts;
    unsigned hangups_seen;
    uint32_t head, tail; /* of the queue; they only grow */
    struct rte_mbuf *queue[WIRE_QUEUE];
};

static struct wire *wires;
static unsigned wires_count;
static struct rte_mempool *frames_pool, *blocks_pool, *copies_pool, *spares_pool;
static size_t block_room;

const char *wire_blocks_low, *wire_blocks_high;

/* --- the guard: see guard.h --- */

static _Atomic bool wire_in_burst;
static _Atomic unsigned wire_hangups;

void guard_unmap_begins(void)
{
    atomic_fetch_add(&wire_hangups, 1);
    /* Whoever begins a burst after this finds the port disconnected. */
    syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    while (atomic_load_explicit(&wire_in_burst, memory_order_acquire))
        sched_yield();
}

#define WIRE_NO_STRANGER UINT32_MAX
static _Atomic uint32_t wire_stranger = WIRE_NO_STRANGER; /* a user who was sent away */

bool guard_admits(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    int domain = 0;
    socklen_t domain_size = sizeof(domain);

    /* What is no such socket, or has nobody at its other end. */
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_size) < 0 || domain != AF_UNIX ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid == (uid_t)-1 ||
        peer.uid == geteuid())
        return true;
    atomic_store(&wire_stranger, peer.uid);
    return false;
}

static inline void burst_begins(void)
{
    atomic_store_explicit(&wire_in_burst, true, memory_order_relaxed);
    /* The other side of the membarrier: that makes a barrier of it. */
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void burst_ends(void)
{
    atomic_store_explicit(&wire_in_burst, false, memory_order_release);
}

/* --- starting and stopping --- */

struct port_order {
    uint16_t port;
    bool stop, start;
    int result;
    _Atomic bool done;
};

static void port_obey(void *argument)
{
    struct port_order *order = argument;

    if (order->stop)
        rte_eth_dev_stop(order->port);
    if (order->start)
        order->result = rte_eth_dev_start(order->port);
    atomic_store_explicit(&order->done, true, memory_order_release);
}

/*
 * Stops the port, starts it, or one after the other. The driver of memif hears of its other end on
 * DPDK's interrupt thread, and has no lock against one who stops or starts the port meanwhile:
 * both would free the rings. So that is done on the same thread, which is where alarms go off.
 */
static int port_switch(const struct wire *wire, bool stop, bool start)
{
    struct port_order order = {.port = wire->port, .stop = stop, .start = start};

    if (wire->config.driver != WIRE_MEMIF || rte_eal_alarm_set(1, port_obey, &order) != 0)
        port_obey(&order);
    while (!atomic_load_explicit(&order.done, memory_order_acquire))
        sched_yield();
    return order.result;
}

/* --- pools --- */

static int pools_fail(struct lab_error *err, const struct wire_config *config)
{
    return lab_fail(err, ENOMEM,
                    "no memory for twice %u frames of %u bytes (%s): ask for fewer with mbufs=",
                    config->mbufs, config->mtu, rte_strerror(rte_errno));
}

static void blocks_range(struct rte_mempool *pool, void *context, struct rte_mempool_memhdr *chunk,
                         unsigned index)
{
    const char *low = chunk->addr, *high = low + chunk->len;

    if (wire_blocks_low == NULL || low < wire_blocks_low)
        wire_blocks_low = low;
    if (high > wire_blocks_high)
        wire_blocks_high = high;
}

/* Bytes of a memif's slot. An odd number of cache lines, so that slots do not all compete for the
 * same few sets of the cache, as with 2048. */
static uint32_t slot_bytes(const struct wire_config *config)
{
    uint32_t lines = (config->mtu + WIRE_HEADER + RTE_CACHE_LINE_SIZE - 1) / RTE_CACHE_LINE_SIZE;

    return (lines | 1) * RTE_CACHE_LINE_SIZE;
}

/* Bytes of af_packet's slot, its header included. Eight of them are whole pages. */
static uint32_t packet_bytes(const struct wire_config *config)
{
    return (config->mtu + 128 + 1023) / 1024 * 1024;
}

static int pools_open(const struct wire_config *config, struct lab_error *err)
{
    static unsigned generation;
    static struct wire_config had;
    char name[RTE_MEMPOOL_NAMESIZE];
    size_t frame = slot_bytes(config) + RTE_PKTMBUF_HEADROOM;

    if (frames_pool != NULL && had.mtu >= config->mtu && had.mbufs == config->mbufs &&
        had.ring >= config->ring)
        return 0;
    /* af_xdp and af_packet know nothing smaller than this. */
    frame = frame < RTE_MBUF_DEFAULT_BUF_SIZE ? RTE_MBUF_DEFAULT_BUF_SIZE : frame;
    if (config->driver == WIRE_MEMIF)
        frame = slot_bytes(config) + RTE_PKTMBUF_HEADROOM;
    else if (config->driver == WIRE_AF_PACKET && frame < packet_bytes(config))
        frame = packet_bytes(config) + RTE_PKTMBUF_HEADROOM;
    block_room = config->mtu + WIRE_BLOCK_BYTES;
    snprintf(name, sizeof(name), "lab-frames-%u", generation);
    /* At most two thirds of a pool may lie in a thread's cache. */
    unsigned cache = config->mbufs / 2 < WIRE_CACHE ? config->mbufs / 2 : WIRE_CACHE;
    frames_pool = rte_pktmbuf_pool_create(name, config->mbufs, cache, sizeof(struct wire_frame),
                                          (uint16_t)frame, SOCKET_ID_ANY);
    snprintf(name, sizeof(name), "lab-blocks-%u", generation);
    blocks_pool =
        rte_pktmbuf_pool_create(name, config->mbufs, cache, 0, (uint16_t)block_room, SOCKET_ID_ANY);
    snprintf(name, sizeof(name), "lab-spares-%u", generation);
    spares_pool =
        rte_pktmbuf_pool_create(name, config->ring, 0, 0, (uint16_t)block_room, SOCKET_ID_ANY);
    snprintf(name, sizeof(name), "lab-copies-%u", generation++);
    copies_pool = rte_pktmbuf_pool_create(name, config->ring + WIRE_COPIES_MORE, WIRE_CACHE, 0,
                                          WIRE_COPY_OFFSET + WIRE_COPY_MOST, SOCKET_ID_ANY);
    if (frames_pool == NULL || blocks_pool == NULL || copies_pool == NULL || spares_pool == NULL) {
        frames_pool = NULL;
        return pools_fail(err, config);
    }
    rte_mempool_mem_iter(blocks_pool, blocks_range, NULL);
    had = *config;
    return 0;
}

static struct wire_counts *counts_of_process(void)
{
    static struct wire_counts spare;

    return wires != NULL ? &wires->counts : &spare;
}

struct wire_frame *wire_frame_new(size_t *room)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(frames_pool);

    if (mbuf == NULL) {
        counts_of_process()->no_frame++;
        return NULL;
    }
    struct wire_frame *frame = rte_mbuf_to_priv(mbuf);
    frame->buf.data = rte_pktmbuf_mtod(mbuf, uint8_t *);
    *room = rte_pktmbuf_tailroom(mbuf);
    return frame;
}

void wire_frame_free(struct wire_frame *frame)
{
    rte_pktmbuf_free_seg((struct rte_mbuf *)frame - 1);
}

static inline void *block_from(struct rte_mempool *pool, size_t size)
{
    if (__builtin_expect(size > block_room, 0))
        return NULL;
    struct rte_mbuf *mbuf = rte_mbuf_raw_alloc(pool);
    if (__builtin_expect(mbuf == NULL, 0)) {
        counts_of_process()->no_frame++;
        return NULL;
    }
    return mbuf + 1;
}

void *wire_block_new(size_t size)
{
    return block_from(blocks_pool, size);
}

void *wire_spare_new(size_t size)
{
    return block_from(spares_pool, size);
}

void wire_block_free(void *block)
{
    rte_pktmbuf_free_seg((struct rte_mbuf *)block - 1);
}

/* --- sending and receiving --- */

static void wire_drop_queue(struct wire *wire)
{
    for (; wire->head != wire->tail; wire->head++) {
        rte_pktmbuf_free(wire->queue[wire->head % WIRE_QUEUE]);
        wire->counts.dropped++;
    }
}

/* Of a frame that waits: one reference less, by the only thread that counts them. */
static inline void wire_let_go(struct rte_mbuf *mbuf)
{
    uint16_t references = rte_mbuf_refcnt_read(mbuf);

    if (references > 1)
        rte_mbuf_refcnt_set(mbuf, references - 1);
    else
        rte_pktmbuf_free_seg(mbuf);
}

/*
 * The stack looks at the header of what it sent again when that is acknowledged, and builds the
 * next frame in the same memory. Where the other end has read it, it is no longer in this core's
 * cache: copies of short frames are lent instead, from a pool of their own, so that these lines
 * alone go to and fro. They are made a burst at a time and not as the frames are built: what has
 * just been written field by field cannot be read in wider pieces before it is in the cache.
 */
static void wire_copy_short(struct rte_mbuf **mbufs, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct rte_mbuf *mbuf = mbufs[i], *copy;
        uint16_t size = rte_pktmbuf_data_len(mbuf);
        if (size > WIRE_COPY_MOST || mbuf->pool != blocks_pool ||
            (copy = rte_mbuf_raw_alloc(copies_pool)) == NULL)
            continue;
        copy->data_off = WIRE_COPY_OFFSET;
        copy->data_len = size;
        copy->pkt_len = size;
        copy->nb_segs = 1;
        copy->ol_flags = 0;
        memcpy(rte_pktmbuf_mtod(copy, void *), rte_pktmbuf_mtod(mbuf, void *), size);
        wire_let_go(mbuf);
        mbufs[i] = copy;
    }
}

bool wire_is_suspect(const struct wire *wire)
{
    return atomic_load_explicit(&wire_hangups, memory_order_relaxed) != wire->hangups_seen;
}

/* Hands over what waits, until the ring is full. */
static void wire_hand_over(struct wire *wire)
{
    /* What waits is for the one who hung up, if he did: wire_has_lost drops it then. */
    if (__builtin_expect(!wire->running || wire_is_suspect(wire), 0))
        return;
    while (wire->head != wire->tail) {
        uint32_t at = wire->head % WIRE_QUEUE, count = wire->tail - wire->head;
        count = count < wire->config.burst ? count : wire->config.burst;
        count = count < WIRE_QUEUE - at ? count : WIRE_QUEUE - at;
        if (wire->lends)
            wire_copy_short(&wire->queue[at], count);
        burst_begins();
        unsigned sent = rte_eth_tx_burst(wire->port, 0, &wire->queue[at], (uint16_t)count);
        burst_ends();
        wire->head += sent;
        wire->counts.sent += sent;
        wire->counts.bursts++;
        if (__builtin_expect(sent < count, 0)) {
            wire->counts.full++;
            wire->patient = true; /* it is tried again once a round */
            return;
        }
    }
    wire->patient = false;
}

static inline void wire_push(struct wire *wire, struct rte_mbuf *mbuf)
{
    if (__builtin_expect(wire->tail - wire->head == WIRE_QUEUE, 0)) {
        wire->counts.dropped++;
        rte_pktmbuf_free(mbuf);
        return;
    }
    wire->queue[wire->tail++ % WIRE_QUEUE] = mbuf;
}

void wire_send(struct wire *wire, void *block, const uint8_t *data, size_t size)
{
    struct rte_mbuf *mbuf = (struct rte_mbuf *)block - 1;

    rte_mbuf_refcnt_update(mbuf, 1);
    mbuf->data_off = (uint16_t)(data - (const uint8_t *)(mbuf + 1));
    mbuf->data_len = (uint16_t)size;
    mbuf->pkt_len = (uint32_t)size;
    mbuf->nb_segs = 1;
    mbuf->ol_flags = 0;
    if (__builtin_expect(wire->fault != NULL, 0)) {
        struct rte_mbuf *out[3];
        unsigned count = wire_fault_apply(wire->fault, &mbuf, 1, out, &wire->counts);
        for (unsigned i = 0; i < count; i++)
            wire_push(wire, out[i]);
    } else {
        wire_push(wire, mbuf);
    }
    if (wire->tail - wire->head >= wire->config.burst && !wire->patient)
        wire_hand_over(wire);
}

void wire_flush(struct wire *wire)
{
    if (wire->head != wire->tail)
        wire_hand_over(wire);
}

bool wire_is_drained(const struct wire *wire)
{
    return wire->head == wire->tail;
}

static unsigned wire_spoil_received(struct wire *wire, struct rte_mbuf **mbufs, unsigned count)
{
    struct rte_mbuf *out[2 * WIRE_BURST_MAX + 1];
    unsigned n = wire_fault_apply(wire->fault_received, mbufs, count, out, &wire->counts);

    while (n > WIRE_BURST_MAX)
        rte_pktmbuf_free(out[--n]);
    memcpy(mbufs, out, n * sizeof(*out));
    return n;
}

unsigned wire_receive(struct wire *wire, struct wire_frame **frames)
{
    struct rte_mbuf *mbufs[WIRE_BURST_MAX];

    if (__builtin_expect(!wire->running, 0))
        return 0;
    burst_begins();
    unsigned count = rte_eth_rx_burst(wire->port, 0, mbufs, (uint16_t)wire->config.burst);
    burst_ends();
    if (count == 0)
        return 0;
    wire->counts.received += count;
    if (__builtin_expect(wire->fault_received != NULL, 0))
        count = wire_spoil_received(wire, mbufs, count);
    unsigned n = 0;
    for (unsigned i = 0; i < count; i++) {
        struct rte_mbuf *mbuf = mbufs[i];
        if (__builtin_expect(mbuf->nb_segs > 1 && rte_pktmbuf_linearize(mbuf) < 0, 0)) {
            wire->counts.dropped++;
            rte_pktmbuf_free(mbuf);
            continue;
        }
        struct wire_frame *frame = rte_mbuf_to_priv(mbuf);
        frame->buf.data = rte_pktmbuf_mtod(mbuf, uint8_t *);
        frame->buf.size = rte_pktmbuf_data_len(mbuf);
        /* Another core wrote them: all are fetched before the first is looked at. */
        rte_prefetch0(frame->buf.data);
        rte_prefetch0(frame->buf.data + RTE_CACHE_LINE_SIZE);
        frames[n++] = frame;
    }
    return n;
}

/* --- the device --- */

static const char *const driver_names[] = {
    [WIRE_MEMIF] = "net_memif",
    [WIRE_TAP] = "net_tap",
    [WIRE_AF_PACKET] = "net_af_packet",
    [WIRE_AF_XDP] = "net_af_xdp",
};

static uint32_t log2_of(uint32_t n)
{
    return 31u - (uint32_t)__builtin_clz(n);
}

static void device_arguments(const struct wire *wire, char *out, size_t size)
{
    const struct wire_config *config = &wire->config;
    const uint8_t *mac = config->mac;
    char mac_text[24];

    snprintf(mac_text, sizeof(mac_text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
             mac[3], mac[4], mac[5]);
    switch (config->driver) {
    case WIRE_MEMIF:
        snprintf(out, size, "role=%s,id=0,socket=%s,bsize=%u,rsize=%u,mac=%s%s",
                 config->server ? "server" : "client", wire->device, slot_bytes(config),
                 log2_of(config->ring), mac_text,
                 config->zero_copy && !config->server ? ",zero-copy=yes" : "");
        break;
    case WIRE_TAP: snprintf(out, size, "iface=%s,mac=%s", wire->device, mac_text); break;
    case WIRE_AF_PACKET:
        snprintf(out, size, "iface=%s,blocksz=%u,framesz=%u,framecnt=%u", wire->device,
                 8 * packet_bytes(config), packet_bytes(config), config->ring);
        break;
    default: snprintf(out, size, "iface=%s", wire->device); break;
    }
}

static int device_fail(const struct wire *wire, int r, struct lab_error *err)
{
    const char *said = wire_eal_said();
    int code = r < 0 && r != -1 ? -r : EIO;

    const char *driver =
        wire->config.driver == WIRE_PCI ? "of that NIC" : driver_names[wire->config.driver];

    if (r == -EFAULT) /* no bus knows what would drive such a device */
        return lab_fail(err, ENODEV, "%s: DPDK has no driver %s here: apt install libdpdk-dev",
                        wire->device, driver);
    if (wire->config.driver == WIRE_MEMIF && wire->config.server)
        return lab_fail(err, EADDRINUSE, "memif: the socket %s is taken, or cannot be made: %s",
                        wire->device, said);
    return lab_fail(err, code, "%s: the driver %s does not take it (%s): %s", wire->device, driver,
                    strerror(code), said[0] != '\0' ? said : "it does not say why");
}

/* The device, known to DPDK, as a port that is not configured. */
static int device_add(struct wire *wire, struct lab_error *err)
{
    char arguments[OPTION_TEXT_MAX + 128];

    if (wire->config.driver == WIRE_PCI) {
        snprintf(wire->name, sizeof(wire->name), "%.*s", WIRE_NAME_MAX - 1, wire->device);
        if (rte_eth_dev_get_port_by_name(wire->name, &wire->port) != 0 &&
            rte_eal_hotplug_add("pci", wire->name, "") != 0)
            return lab_fail(err, ENODEV,
                            "%s: DPDK sees no NIC there that it may drive: bind it to vfio-pci "
                            "first (`lab engines dpdk` lists what there is)",
                            wire->device);
    } else {
        snprintf(wire->name, sizeof(wire->name), "%s%u", driver_names[wire->config.driver],
                 wires_count);
        device_arguments(wire, arguments, sizeof(arguments));
        int r = rte_eal_hotplug_add("vdev", wire->name, arguments);
        if (r != 0)
            return device_fail(wire, r, err);
    }
    if (rte_eth_dev_get_port_by_name(wire->name, &wire->port) != 0)
        return lab_fail(err, ENODEV, "%s: there is no port for it", wire->device);
    return 0;
}

static int device_configure(struct wire *wire, struct lab_error *err)
{
    const struct wire_config *config = &wire->config;
    struct rte_eth_conf conf = {0};
    uint16_t received = (uint16_t)config->ring, sent = (uint16_t)config->ring;

    if (config->driver == WIRE_PCI || config->driver == WIRE_AF_XDP)
        conf.rxmode.mtu = config->mtu;
    int r = rte_eth_dev_configure(wire->port, 1, 1, &conf);
    if (r == 0)
        r = rte_eth_dev_adjust_nb_rx_tx_desc(wire->port, &received, &sent);
    if (r == 0)
        r = rte_eth_rx_queue_setup(wire->port, 0, received, SOCKET_ID_ANY, NULL, frames_pool);
    if (r == 0)
        r = rte_eth_tx_queue_setup(wire->port, 0, sent, SOCKET_ID_ANY, NULL);
    return r == 0 ? 0 : device_fail(wire, r, err);
}

/* The kernel's end of a tap device: up, with the peer's address. */
static int tap_set_up(const struct wire *wire, struct lab_error *err)
{
    const struct link *link = wire->config.link;
    struct ifreq request = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int r = fd < 0 ? -1 : 0;

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%.*s", IFNAMSIZ - 1, wire->device);
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = link->peer};
    if (r == 0)
        r = ioctl(fd, SIOCSIFADDR, &request);
    in->sin_addr.s_addr = link_mask(link);
    if (r == 0)
        r = ioctl(fd, SIOCSIFNETMASK, &request);
    request.ifr_mtu = (int)wire->config.mtu;
    if (r == 0)
        r = ioctl(fd, SIOCSIFMTU, &request);
    if (r == 0)
        r = ioctl(fd, SIOCGIFFLAGS, &request);
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    if (r == 0)
        r = ioctl(fd, SIOCSIFFLAGS, &request);
    int code = errno;
    if (fd >= 0)
        close(fd);
    return r == 0 ? 0
                  : lab_fail(err, code, "%s: the kernel's end cannot be given an address: %s",
                             wire->device, strerror(code));
}

/* A device has a MAC by itself, or from who made it; another is taken only where it was named. */
static int mac_set(const struct wire *wire, struct lab_error *err)
{
    const struct link *link = wire->config.link;
    struct rte_ether_addr mac, own = {0};

    if (wire->config.driver == WIRE_MEMIF || wire->config.driver == WIRE_TAP || link == NULL ||
        link->mac_text[0] == '\0')
        return 0;
    memcpy(mac.addr_bytes, link->mac, sizeof(mac.addr_bytes));
    rte_eth_macaddr_get(wire->port, &own);
    if (rte_is_same_ether_addr(&mac, &own))
        return 0;
    int r = rte_eth_dev_default_mac_addr_set(wire->port, &mac);
    return r == 0 ? 0
                  : lab_fail(err, -r, "%s: it does not take the address mac=%s: %s", wire->device,
                             link->mac_text, strerror(-r));
}

static int wire_start(struct wire *wire, struct lab_error *err)
{
    atomic_store(&wire_stranger, WIRE_NO_STRANGER);
    int r = port_switch(wire, false, true);
    uint32_t stranger = atomic_load(&wire_stranger);

    if (r != 0 && wire->config.driver == WIRE_MEMIF && stranger != WIRE_NO_STRANGER)
        return lab_fail(err, EACCES,
                        "the memif socket %s is another user's (uid %u): both ends share memory, "
                        "and must be the same user's",
                        wire->device, stranger);
    if (r != 0 && wire->config.driver == WIRE_MEMIF)
        return lab_fail(err, ECONNREFUSED,
                        "no process listens on the memif socket %s: start the server first",
                        wire->device);
    if (r != 0)
        return device_fail(wire, r, err);
    r = mac_set(wire, err);
    if (r == 0 && wire->config.driver == WIRE_TAP && wire->config.link != NULL)
        r = tap_set_up(wire, err);
    if (r < 0) {
        port_switch(wire, true, false);
        return r;
    }
    wire->running = true;
    wire->started_ns = 0; /* the first look at it will say */
    wire->turned_away = false;
    return 0;
}

static struct wire *wire_kept(const struct wire_config *config)
{
    for (struct wire *wire = wires; wire != NULL; wire = wire->next)
        if (wire->config.driver == config->driver && wire->config.server == config->server &&
            strcmp(wire->device, config->device) == 0)
            return wire;
    return NULL;
}

static int wire_make(struct wire **out, const struct wire_config *config, struct lab_error *err)
{
    struct wire *wire = calloc(1, sizeof(*wire));

    if (wire == NULL)
        return lab_fail(err, ENOMEM, "no memory for a link");
    wire->config = *config;
    snprintf(wire->device, sizeof(wire->device), "%s", config->device);
    wire->config.device = wire->device;
    wire->lends = config->driver == WIRE_MEMIF && config->zero_copy && !config->server;
    int r = device_add(wire, err);
    if (r == 0)
        r = device_configure(wire, err);
    if (r < 0) {
        free(wire);
        return r;
    }
    wires_count++;
    wire->next = wires;
    wires = wire;
    *out = wire;
    return 0;
}

int wire_open(struct wire **out, const struct wire_config *config, struct lab_error *err)
{
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    int r = wire_eal_start(config, err);
    if (r == 0)
        r = pools_open(config, err);
    struct wire *wire = r == 0 ? wire_kept(config) : NULL;
    if (r == 0 && wire == NULL) {
        wire_eal_hush();
        r = wire_make(&wire, config, err);
        wire_eal_hush_ends();
    }
    if (r < 0)
        return r;
    wire->config.link = config->link;
    wire->hangups_seen = atomic_load(&wire_hangups);
    wire->carried = false;
    wire->received_before = wire->counts.received;
    wire->config.burst = config->burst;
    if (!wire->running) {
        wire_eal_hush();
        r = wire_start(wire, err);
        wire_eal_hush_ends();
    }
    bool faults = config->link != NULL && link_has_faults(config->link);
    if (r == 0 && faults &&
        (wire_fault_open(&wire->fault, config->link) < 0 ||
         (config->link->both_ways && wire_fault_open(&wire->fault_received, config->link) < 0)))
        r = lab_fail(err, ENOMEM, "no memory for faults");
    if (r < 0)
        return r;
    *out = wire;
    return 0;
}

/*
 * A memif's listening end runs on: its socket would not be given back, and a port that is stopped
 * from both ends at once is freed twice.
 */
void wire_close(struct wire *wire)
{
    if (wire == NULL)
        return;
    wire_flush(wire);
    wire_drop_queue(wire);
    wire_fault_close(wire->fault);
    wire_fault_close(wire->fault_received);
    wire->fault = wire->fault_received = NULL;
    wire->config.link = NULL;
    if (wire->config.driver == WIRE_MEMIF && wire->config.server)
        return;
    port_switch(wire, true, false);
    wire->running = false;
}

bool wire_is_up(const struct wire *wire)
{
    struct rte_eth_link link = {0};

    rte_eth_link_get_nowait(wire->port, &link);
    return link.link_status != RTE_ETH_LINK_DOWN;
}

/*
 * The socket of a memif is there for one connection at a time: who comes while the server has yet
 * to notice that the one before has gone is turned away. Then it tries again. One that has merely
 * not been answered yet waits: its server may be busy, and will greet it.
 */
static void memif_retry(struct wire *wire, uint64_t now_ns)
{
    uint64_t patience_ns = wire->turned_away ? WIRE_RETRY_NS : WIRE_PATIENCE_NS;

    if (wire->config.server || wire->carried)
        return;
    if (wire->started_ns == 0)
        wire->started_ns = now_ns;
    if (now_ns - wire->started_ns < patience_ns)
        return;
    /* Where nobody listens any more the port stays stopped until the next time. */
    wire->running = port_switch(wire, true, true) == 0;
    wire->started_ns = now_ns;
    wire->turned_away = false;
    wire->hangups_seen = atomic_load(&wire_hangups); /* leaving is none */
}

bool wire_has_carried(const struct wire *wire)
{
    return wire->carried || wire->counts.received != wire->received_before;
}

/* Of a memif; elsewhere there are other hosts, and a carrier that goes may come back: TCP will see.
 * One may have come and gone between two calls: then only the hang-up tells of it, and that it
 * has sent something that it was no mere attempt. */
bool wire_has_lost(struct wire *wire, uint64_t now_ns)
{
    if (wire->config.driver != WIRE_MEMIF)
        return false;
    unsigned hangups = atomic_load_explicit(&wire_hangups, memory_order_relaxed);
    bool up = wire_is_up(wire), hung_up = hangups != wire->hangups_seen;

    bool carried = wire_has_carried(wire);
    bool lost = carried && (hung_up || !up);
    wire->hangups_seen = hangups;
    wire->turned_away |= hung_up;
    wire->carried = !lost && (carried || up);
    wire->received_before = wire->counts.received;
    if (__builtin_expect(lost, 0))
        wire_drop_queue(wire);
    else if (!up)
        memif_retry(wire, now_ns);
    return lost;
}

void wire_mac(const struct wire *wire, uint8_t mac[6])
{
    struct rte_ether_addr own = {0};

    rte_eth_macaddr_get(wire->port, &own);
    memcpy(mac, own.addr_bytes, 6);
}

void wire_counts(struct wire *wire, struct wire_counts *counts)
{
    *counts = wire->counts;
}

void wire_take_stock(struct wire *wire)
{
    struct rte_eth_stats stats = {0};

    /* A memif drops nothing by itself: what finds no frame waits in its ring. */
    if (wire->config.driver == WIRE_MEMIF || rte_eth_stats_get(wire->port, &stats) != 0)
        return;
    uint64_t dropped = stats.imissed + stats.ierrors + stats.rx_nombuf + stats.oerrors;
    wire->counts.dropped += dropped - wire->device_dropped;
    wire->device_dropped = dropped;
}
