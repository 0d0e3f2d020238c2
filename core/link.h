/*
 * Links: what the two ends of a case talk over, as the engine of one side is told. A link is
 * written as an engine is, `KIND[:key[=value],...]`: `lo`, `veth:mtu=9000`,
 * `pci:device=0000:03:00.0,address=10.0.0.2/24,peer=10.0.0.1`. Engines of the kernel's sockets need
 * none of it (the address that they are given says all); a stack in user space takes the device
 * for itself and is host `address` on it.
 *
 * What is not said has a default by side and index: 198.18.INDEX.1/24 is the server's, .2 the
 * client's (RFC 2544 keeps 198.18.0.0/15 for benchmarks), 02:4c:61:62:INDEX:SIDE the MACs.
 */
#ifndef LAB_CORE_LINK_H
#define LAB_CORE_LINK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/error.h"
#include "core/option.h"

#define LINK_TEXT_MAX    2048 /* of link_format: every option at its longest */
#define LINK_INDEXES_MAX 256  /* pairs that have addresses by default */
#define LINK_MTU_LEAST   576  /* what every IPv4 host takes (RFC 791) */

enum link_side { LINK_CLIENT, LINK_SERVER };

/* A remark that comes with each result over the link. */
enum link_remark_when { LINK_REMARK_ALWAYS, LINK_REMARK_OFFLOADS_OFF, LINK_REMARK_OFFLOADS_ON };
struct link_remark {
    const char *id, *text;
    enum link_remark_when when;
};

/* Who can sit at an end, by what it sits upon: both ends of lo are sockets; of memif neither is;
 * of a tap device exactly one; of a wire (veth, a NIC) whoever. */
enum link_ends { LINK_ENDS_SOCKETS, LINK_ENDS_STACKS, LINK_ENDS_ONE_OF_EACH, LINK_ENDS_ANY };

struct link_kind {
    const char *name, *help;
    enum link_ends ends;
    const char *listen; /* see link_listen; NULL: at the link's address */
    bool tcp;           /* TCP/IP runs over it, so that congestion control means something */
    bool queueless;     /* its device has no queue: what paces, paces by timers */
    bool frames;        /* it carries Ethernet frames: it has addresses, MACs, an MTU, faults */
    bool local_addrs;   /* a client may connect from any address of 127.0.0.0/8 */
    bool one_host;      /* both ends are on the same */
    bool elsewhere;     /* the server may be one that lab did not start (--server), on a link that
                         * is there too */
    const char *device; /* of each end by default, before the index; NULL: it has none, or must
                         * be named */
    bool device_needed;
    bool interface; /* its devices are interfaces of the kernel, which lab makes */
    uint64_t mtu_most;
    const struct link_remark *remarks; /* ends with a NULL id */
};

extern const struct link_kind link_kinds[]; /* ends with a NULL name */

const struct link_kind *link_kind_find(const char *name); /* or NULL */
const struct link_kind *link_kind_of(const char *text);   /* of a link as it is written; or NULL */

struct link {
    const struct link_kind *kind;

    /* As it was written, or by its option's default. */
    int side;       /* enum link_side: whose view this is */
    uint64_t index; /* which of the links of that kind between the two sides */
    uint64_t mtu;
    uint64_t loss_permille, duplicate_permille, reorder_permille, seed;
    bool offloads;  /* what the kernel can do to a veth: segments of 64 KiB, no checksums */
    bool both_ways; /* faults strike what is received too: the other end is not lab's to spoil */
    char device_text[OPTION_TEXT_MAX], peer_device_text[OPTION_TEXT_MAX];
    char address_text[OPTION_TEXT_MAX], peer_text[OPTION_TEXT_MAX];
    char gateway_text[OPTION_TEXT_MAX];
    char mac_text[OPTION_TEXT_MAX], peer_mac_text[OPTION_TEXT_MAX];

    /* What follows from it, and what an engine looks at. */
    char device[OPTION_TEXT_MAX];      /* interface, PCI address or memif socket; "": none */
    char peer_device[OPTION_TEXT_MAX]; /* the other end's, where one host holds both */
    struct in_addr address, peer;      /* this end and the other, network byte order */
    unsigned prefix;                   /* bits of the network in both */
    struct in_addr gateway;            /* 0.0.0.0: everyone is on the link */
    uint8_t mac[6], peer_mac[6];
    /* An engine is asked about it before the run makes it: neither the device nor the right to use
     * it is there yet, and will be. */
    bool to_be_made;
    bool peer_mac_given; /* or it is lab's own default, which a foreign peer does not have */
};

/* The mask of its network, in network byte order. */
static inline uint32_t link_mask(const struct link *link)
{
    return link->prefix == 0 ? 0 : htonl(UINT32_MAX << (32 - link->prefix));
}

/* Rows over struct link, of every kind; only frames have use for most of them. */
extern const struct option_def link_options[];

/* Reads one side's view; `side` is whose it is where the text does not say. -EINVAL with a sentence
 * (suggestions included), and *link untouched. */
int link_parse(const char *text, enum link_side side, struct link *link, struct lab_error *err);

/* The form that link_parse reads, defaults left out; returns out, which has LINK_TEXT_MAX bytes. */
const char *link_format(const struct link *link, char *out);

/* The same link as the other side sees it: devices, addresses and MACs change places. */
void link_turn(const struct link *link, struct link *other);

/* Another of the same links, with the defaults of that index. What was written stays, so that
 * the second of two has to be told apart by its index alone: -EINVAL where it cannot be. */
int link_number(struct link *link, uint64_t index, struct lab_error *err);

/* Bytes of the first link in a list; text[that] is a comma or the end. A comma parts links where
 * a kind's name follows. */
size_t link_length(const char *text);

/* Where a server of that side listens by default, as addr_parse reads it: at the port, or by a
 * name that `unique` makes nobody else's. Returns out, which has ADDR_TEXT_MAX bytes. */
const char *link_listen(const struct link *link, const char *unique, uint16_t port, char *out);

bool link_has_faults(const struct link *link);

/* The remarks that hold of this link, one a call with index from 0; NULL at the end. */
const struct link_remark *link_remark(const struct link *link, unsigned index);

#endif
