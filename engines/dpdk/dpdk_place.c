/*
 * On which wire an instance is, and under which addresses. With a link all that is said. Without
 * one it is memif, and the address tells the socket: a server that is asked to listen takes an
 * address that no other process has, 198.19.x.y, and who connects to it finds it at the abstract
 * socket of that name, as 198.18.x.y. So two processes need to be told nothing but the address,
 * as over loopback.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/clock.h"
#include "engines/dpdk/dpdk.h"

/* 198.18.0.0/15 is kept for benchmarks (RFC 2544); fd4c:6162::/64 is a local one of RFC 4193. */
#define PLACE_CLIENTS 0xc6120000u
#define PLACE_SERVERS 0xc6130000u
#define PLACE_PREFIX  15u
#define PLACE_TRIES   64u

/* How long a client waits for its neighbour's MAC, and how often it asks. */
#define PLACE_MEET_NS (500 * NS_PER_MS)
#define PLACE_ASK_NS  (20 * NS_PER_MS)
/* ... and for a carrier, before it does: two NICs need a few seconds to find each other. */
#define PLACE_CARRIER_NS (10 * NS_PER_S)

/* Where nothing was said: a ring holds what 32 connections have under way several times over, and
 * there are frames for both rings, the loans and what is sent and not acknowledged. */
#define PLACE_RING  512u
#define PLACE_MBUFS 8192u

#define PLACE_HEADERS 40u /* of an IPv4 segment */

static const uint8_t place_prefix6[8] = {0xfd, 0x4c, 0x61, 0x62};

/* --- what the options come to --- */

static enum wire_driver place_driver(const struct engine_config *config)
{
    const struct dpdk_options *options = config->options;
    const char *kind = config->link != NULL ? config->link->kind->name : "memif";

    if (strcmp(kind, "tap") == 0)
        return WIRE_TAP;
    if (strcmp(kind, "pci") == 0)
        return WIRE_PCI;
    if (strcmp(kind, "veth") == 0)
        return options->via == DPDK_VIA_AF_XDP ? WIRE_AF_XDP : WIRE_AF_PACKET;
    return WIRE_MEMIF;
}

/* A power of two, which all drivers take. */
static uint32_t place_ring(uint64_t asked)
{
    uint32_t ring = 64;

    while (ring < asked)
        ring *= 2;
    return ring;
}

/* A connection may have a window of frames on its way, in each direction. */
static uint32_t place_mbufs(const struct engine_config *config, uint32_t ring)
{
    const struct dpdk_options *options = config->options;
    uint64_t wanted = PLACE_MBUFS + 4ull * config->conns_hint + 2ull * ring;

    if (options->mbufs != 0)
        wanted = options->mbufs;
    return (uint32_t)(wanted < 65536 ? wanted : 65536);
}

int dpdk_wire_config(const struct engine_config *config, struct wire_config *wire,
                     struct lab_error *err)
{
    const struct dpdk_options *options = config->options;
    const struct link *link = config->link;

    *wire = (struct wire_config){
        .driver = place_driver(config),
        .link = link,
        .device = "",
        .eal = options->eal,
        .mtu = 1500,
        .ring = place_ring(options->ring != 0 ? options->ring : PLACE_RING),
        .burst = (uint32_t)options->burst,
        .zero_copy = options->zero_copy,
        .huge = options->huge,
        .verbose = config->verbose,
        .mac = {0x02, 0x4c, 0x61, 0x62, 0, 0},
    };
    if (link != NULL) {
        wire->server = link->side == LINK_SERVER;
        wire->device = link->device;
        wire->mtu = (uint32_t)link->mtu;
        memcpy(wire->mac, link->mac, sizeof(wire->mac));
    }
    if (options->mtu != 0)
        wire->mtu = (uint32_t)options->mtu;
    wire->mbufs = place_mbufs(config, wire->ring);
    return wire_probe(wire, err);
}

/* --- addresses without a link --- */

static void place_number(struct dpdk_place *place, bool server, uint16_t number)
{
    uint8_t *six = place->address6.s6_addr;
    char text[INET_ADDRSTRLEN];
    struct in_addr name = {htonl(PLACE_SERVERS | number)};

    place->server = server;
    place->address.s_addr = htonl((server ? PLACE_SERVERS : PLACE_CLIENTS) | number);
    place->peer.s_addr = htonl((server ? PLACE_CLIENTS : PLACE_SERVERS) | number);
    place->prefix = PLACE_PREFIX;
    memset(six, 0, 16);
    memcpy(six, place_prefix6, sizeof(place_prefix6));
    six[13] = (uint8_t)(number >> 8);
    six[14] = (uint8_t)number;
    six[15] = server ? 1 : 2;
    inet_ntop(AF_INET, &name, text, sizeof(text));
    snprintf(place->device, sizeof(place->device), "lab-memif-%s", text);
    place->mac[0] = 0x02;
    place->mac[1] = 0x4c;
    place->mac[2] = 0x61;
    place->mac[3] = (uint8_t)(number >> 8);
    place->mac[4] = (uint8_t)number;
    place->mac[5] = server ? 1 : 2;
}

/* The number in a server's address; false if it is none. */
static bool place_number_of(const struct addr *remote, uint16_t *number)
{
    if (remote->sa.ss_family == AF_INET) {
        uint32_t address = ntohl(((const struct sockaddr_in *)&remote->sa)->sin_addr.s_addr);
        *number = (uint16_t)address;
        return (address & 0xffff0000u) == PLACE_SERVERS;
    }
    if (remote->sa.ss_family == AF_INET6) {
        const uint8_t *six = ((const struct sockaddr_in6 *)&remote->sa)->sin6_addr.s6_addr;
        *number = (uint16_t)(six[13] << 8 | six[14]);
        return memcmp(six, place_prefix6, sizeof(place_prefix6)) == 0 && six[15] == 1;
    }
    return false;
}

/* A number that no other process of this host has: who has its socket has it. Kept for as long
 * as the process lives, as the socket is. */
static int place_open_server(struct dpdk_engine *e, struct wire_config *wire, struct lab_error *err)
{
    static bool had;
    static uint16_t number;
    int r = -EADDRINUSE;

    for (unsigned i = 0; r == -EADDRINUSE && i < PLACE_TRIES; i++) {
        if (!had && getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
            number = (uint16_t)((unsigned)getpid() * 7919u + i);
        place_number(&e->place, true, number);
        wire->server = true;
        wire->device = e->place.device;
        memcpy(wire->mac, e->place.mac, sizeof(wire->mac));
        r = wire_open(&e->wire, wire, err);
        had = had || r == 0;
    }
    return r;
}

static int place_open_client(struct dpdk_engine *e, struct wire_config *wire,
                             const struct addr *remote, struct lab_error *err)
{
    char text[ADDR_TEXT_MAX];
    uint16_t number;

    if (!place_number_of(remote, &number))
        return lab_fail(err, EHOSTUNREACH,
                        "dpdk: %s is no address of a dpdk server on this host (198.19.x.y): name "
                        "the link with --link",
                        addr_format(remote, text));
    place_number(&e->place, false, number);
    wire->device = e->place.device;
    memcpy(wire->mac, e->place.mac, sizeof(wire->mac));
    return wire_open(&e->wire, wire, err);
}

/* --- with one --- */

static int place_open_link(struct dpdk_engine *e, struct wire_config *wire, struct lab_error *err)
{
    const struct link *link = e->config.link;

    e->place.server = link->side == LINK_SERVER;
    e->place.address = link->address;
    e->place.gateway = link->gateway;
    e->place.prefix = link->prefix;
    if (wire->driver == WIRE_MEMIF)
        e->place.peer = link->peer;
    return wire_open(&e->wire, wire, err);
}

static bool place_reaches(const struct dpdk_engine *e, const struct addr *remote)
{
    uint16_t number;
    struct dpdk_place there = {.server = true};

    if (e->config.link != NULL || remote == NULL)
        return true;
    if (!place_number_of(remote, &number))
        return false;
    place_number(&there, true, number);
    return strcmp(there.device, e->place.device) == 0;
}

static struct in_addr place_neighbour(const struct link *link)
{
    uint32_t differ = link->address.s_addr ^ link->peer.s_addr;

    return (differ & link_mask(link)) == 0 ? link->peer : link->gateway;
}

/* lwIP keeps few packets for a neighbour whose MAC it does not know: of the SYNs of many
 * connections all but the last would be lost, and sent again after three seconds. So it asks first,
 * and of a NIC that has no carrier yet when it has one. */
static void place_meet(struct dpdk_engine *e)
{
    uint64_t now_ns = clock_ns(), until_ns = now_ns + PLACE_MEET_NS, ask_ns = now_ns;
    uint64_t carrier_ns = now_ns + PLACE_CARRIER_NS;
    bool met = false;

    while (!met && now_ns < until_ns) {
        struct wire_frame *frames[WIRE_BURST_MAX];
        if (now_ns >= ask_ns) {
            stack_ask(place_neighbour(e->config.link));
            wire_flush(e->wire);
            ask_ns = now_ns + PLACE_ASK_NS;
            if (now_ns < carrier_ns && !wire_is_up(e->wire))
                until_ns = now_ns + PLACE_MEET_NS;
        }
        unsigned count = wire_receive(e->wire, frames);
        for (unsigned i = 0; i < count; i++) {
            met = met || stack_is_answer(frames[i]);
            stack_input(frames[i]);
        }
        now_ns = clock_ns();
    }
}

/*
 * The window of a connection. A segment it always holds: lwIP waits until so much is free before it
 * opens a window, and would wait for ever. A part that is small is opened together with more, but
 * only where a segment fits beside it: a peer that has nothing under way sends no shorter one.
 */
static void place_window(struct dpdk_engine *e, uint32_t mtu)
{
    uint64_t rcvbuf = e->options.common.rcvbuf;
    uint64_t window = rcvbuf > mtu ? rcvbuf : mtu;

    if (rcvbuf == 0 || window > DPDK_WINDOW)
        window = DPDK_WINDOW;
    e->debt = DPDK_WINDOW - (uint32_t)window;
    e->window_least = window >= 2ull * mtu ? (uint32_t)window / DPDK_WINDOW_PART : 0;
}

uint32_t dpdk_wide_most(const struct dpdk_options *options, const struct wire_config *wire)
{
    const struct engine_common *common = &options->common;
    uint32_t segment = wire->mtu - PLACE_HEADERS;

    if (options->plain || common->rcvbuf != 0 || common->sndbuf != 0)
        return 0;
    return wire->mbufs / 4 / ((2 * DPDK_WINDOW + segment - 1) / segment);
}

int dpdk_place_open(struct dpdk_engine *e, bool server, const struct addr *remote,
                    struct lab_error *err)
{
    struct wire_config wire;

    if (e->wire != NULL)
        return place_reaches(e, remote)
                   ? 0
                   : lab_fail(err, EHOSTUNREACH,
                              "dpdk: an instance reaches one server only, since "
                              "memif has two ends");
    int r = dpdk_wire_config(&e->config, &wire, err);
    if (r == 0 && e->config.link != NULL)
        r = place_open_link(e, &wire, err);
    else if (r == 0 && server)
        r = place_open_server(e, &wire, err);
    else if (r == 0)
        r = place_open_client(e, &wire, remote, err);
    if (r < 0)
        return r;
    const struct stack_config stack = {
        .wire = e->wire,
        .events = &dpdk_stack_events,
        .address = e->place.address,
        .gateway = e->place.gateway,
        .prefix = e->place.prefix,
        .address6 = e->place.address6,
        .mtu = wire.mtu,
        .direct = wire.driver == WIRE_MEMIF,
        .plain = e->options.plain,
        .wide = dpdk_wide_most(&e->options, &wire),
    };
    r = stack_start(&stack, &e->how, err);
    if (r < 0) {
        wire_close(e->wire);
        e->wire = NULL;
        return r;
    }
    if (!stack.direct && !e->place.server)
        place_meet(e);
    place_window(e, wire.mtu);
    wire_counts(e->wire, &e->wire_before);
    stack_counts(&e->stack_before);
    return 0;
}

int dpdk_place_check(const struct dpdk_engine *e, const struct addr *addr, struct lab_error *err)
{
    const struct sockaddr_in *in = (const void *)&addr->sa;
    char text[ADDR_TEXT_MAX], own[INET_ADDRSTRLEN];

    /* Without a link the address is of the engine's choice. */
    if (e->config.link == NULL)
        return 0;
    if (addr->sa.ss_family == AF_INET &&
        (in->sin_addr.s_addr == INADDR_ANY || in->sin_addr.s_addr == e->place.address.s_addr))
        return 0;
    return lab_fail(err, EADDRNOTAVAIL,
                    "dpdk: cannot listen on %s: this end of the link is %s (address= of the link "
                    "gives it another)",
                    addr_format(addr, text),
                    inet_ntop(AF_INET, &e->place.address, own, sizeof(own)));
}

void dpdk_place_close(struct dpdk_engine *e)
{
    if (e->wire == NULL)
        return;
    stack_stop();
    wire_close(e->wire);
    e->wire = NULL;
}
