/*
 * All that reaches into lwIP (and here and there into DPDK) further than their interfaces go, and
 * why.
 *
 * The packaged library is built for a few connections: it looks for a segment's connection in
 * one list, allocates with malloc, takes a mutex for each allocation, sums by 16 bits. It is a
 * shared object whose calls to its own functions can be answered by the executable's, and its
 * lists have names. So, without touching it:
 *
 *  - connections (and those in TIME_WAIT) lie in buckets by their ports and address. Around each
 *    call that looks for one, the library's list heads are set to its bucket; only timers see all.
 *  - the TCP timer is ours to call, since the library stops it when it sees an empty bucket.
 *  - TIME_WAIT is bounded, the oldest given up: the library would keep all for two minutes.
 *  - memory comes from free lists, and what is to be sent lies where the device can send it.
 *  - the lock does nothing: one thread calls.
 *  - checksums by 32 bytes.
 *  - IPv4 segments for this host go straight to TCP.
 *  - what would be sent to oneself is not: the library would wake a thread that there is none of.
 *  - a segment that is split keeps its FIN in its second half only: a fault of that version.
 *
 * It stands on the version that it was written for: with the headers of another it is built to
 * leave the library alone, and meson warns. reach_open looks whether the library's structures are
 * those of the headers, and reach_check whether it calls what stands in for its functions. If not,
 * and with the option `plain`, the library goes its own way.
 *
 * With lwIP compiled in (-Dlwip_src), the same functions stand in for the same, by their names.
 */
#ifndef LAB_ENGINES_DPDK_REACH_H
#define LAB_ENGINES_DPDK_REACH_H

#include <stdbool.h>
#include <stdint.h>

#include <lwip/netif.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>

#include "engines/dpdk/wire.h"

/* "" or why the library is going to go its own way, as far as that is known without asking it. */
const char *reach_unfit(bool plain);
/* Before lwip_init. "" or why the library goes its own way. */
const char *reach_open(bool plain);
/* After lwip_init: that it is called, and not the library's; false: its own way from here on. */
bool reach_check(void);
bool reach_is_on(void);

/* If the frame's bytes are a segment for this host's TCP over IPv4: takes it, and is true. If not
 * it goes through the library as others do, between this call and reach_input_done. */
bool reach_input(struct netif *netif, struct pbuf *p, u32_t own_address);
void reach_input_done(void);

/* Around a call that finds the pcb in the library's lists, or puts it there. */
void reach_enter(const struct tcp_pcb *pcb);
void reach_leave(void);
/* Around one that must see all. */
void reach_join(void);
void reach_split(void);

/* A local port for that remote end, that no connection has; one in TIME_WAIT is given up for it.
 * 0: none, or the library is to choose. */
u16_t reach_port(const ip_addr_t *local, const ip_addr_t *remote, u16_t remote_port);

/* The connection between these ends, or NULL. */
struct tcp_pcb *reach_find(const ip_addr_t *remote, u16_t remote_port, u16_t local_port);

/* Of this process so far. */
struct reach_counts {
    uint64_t time_waits_given_up, retransmissions, allocations_failed;
};
extern struct reach_counts reach_counts;

#endif
