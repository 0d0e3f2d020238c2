/*
 * The TCP of the bare DPDK pair: lwIP's, with what bare_dpdk_lwip.c does around and inside it.
 */
#ifndef LAB_BENCH_BARE_DPDK_LWIP_H
#define LAB_BENCH_BARE_DPDK_LWIP_H

/* The kernel's, which bare.h brought; lwIP's are others. */
#undef TCP_MSS

#include <lwip/init.h>
#include <lwip/ip.h>
#include <lwip/netif.h>
#include <lwip/tcp.h>

#include <stdbool.h>
#include <stdint.h>

/* Addresses in host order. */
void stack_open(uint32_t own, uint32_t other, unsigned mtu);

/* A burst in, through the callbacks, and what they send out. How many packets came. */
unsigned stack_poll(void);

/* Often: the stack's timers run when they are due. */
void stack_tick(uint64_t now_ns);

void stack_listen(uint16_t port, tcp_accept_fn accepted);
struct tcp_pcb *stack_connect(uint16_t own_port, uint16_t port, tcp_connected_fn connected,
                              tcp_err_fn lost, void *arg);

/* Established: set up for this link. */
void stack_ready(struct tcp_pcb *pcb);

/* tcp_recved() for any number of bytes, and a window larger than the library's. */
void stack_taken(struct tcp_pcb *pcb, uint32_t n);

/* In a receive callback: what came in is acknowledged later, by stack_acknowledge() or with data.
 */
void stack_keep_quiet(struct tcp_pcb *pcb);
void stack_acknowledge(struct tcp_pcb *pcb);
void stack_abort(struct tcp_pcb *pcb);

#endif
