/*
 * lwIP as lab wants it, for -Dlwip_src: the same TCP as the package's as far as the other end and
 * the engine can see (segments, windows, queues, timers), without what nobody asks of it here:
 * threads and their locks, sockets, UDP, and checks of its own in a build without assertions.
 *
 * The engine's code is one for both: see reach.h for what stands in for functions of the library.
 */
#ifndef LAB_ENGINES_DPDK_LWIP_LWIPOPTS_H
#define LAB_ENGINES_DPDK_LWIP_LWIPOPTS_H

/* One thread, which polls. */
#define NO_SYS               1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN         0
#define LWIP_SOCKET          0

#ifdef NDEBUG
#define LWIP_NOASSERT 1
#endif
#define LWIP_NOASSERT_ON_ERROR 1
#define LWIP_STATS             0

/* Memory: elements and pbufs by memp_malloc and mem_malloc, which are reach.c's. */
#define MEM_LIBC_MALLOC           1
#define MEMP_MEM_MALLOC           1
#define MEM_ALIGNMENT             8
#define LWIP_SUPPORT_CUSTOM_PBUF  1
#define LWIP_NETIF_TX_SINGLE_PBUF 1
#define LWIP_CHECKSUM_ON_COPY     1

#define LWIP_ARP      1
#define LWIP_ETHERNET 1
#define ARP_QUEUEING  1
#define ARP_QUEUE_LEN 10
#define LWIP_IPV4     1
#define LWIP_IPV6     1
#define LWIP_ICMP     1
#define LWIP_ICMP6    1
/* Nobody cuts a TCP segment over IPv6; and lwIP's names for it collide with those of IPv4. */
#define LWIP_IPV6_REASS               0
#define LWIP_IPV6_MLD                 0
#define LWIP_IPV6_AUTOCONFIG          0
#define LWIP_IPV6_DHCP6               0
#define IP_FORWARD                    0
#define LWIP_RAW                      0
#define LWIP_UDP                      0
#define LWIP_DNS                      0
#define LWIP_DHCP                     0
#define LWIP_AUTOIP                   0
#define LWIP_IGMP                     0
#define LWIP_HAVE_LOOPIF              0
#define LWIP_NETIF_LOOPBACK           0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 1
#if defined(__LP64__)
#define IPV6_FRAG_COPYHEADER 1
#endif

#define LWIP_TCP           1
#define TCP_MSS            1460
#define TCP_WND            0xffff
#define TCP_SND_BUF        TCP_WND
#define LWIP_WND_SCALE     1
#define TCP_RCV_SCALE      1
#define LWIP_TCP_KEEPALIVE 1
#define SO_REUSE           1

#endif
