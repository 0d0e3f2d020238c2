/* See link.h. */
#include "core/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/parse.h"
#include "core/text.h"

#define LINK_KINDS_MAX 16
#define LINK_MTU       "1500"

/* --- the kinds --- */

static const struct link_remark remarks_lo[] = {
    {"loopback",
     "lo has no packets to speak of, and its receive side runs inside the sender's system call: "
     "CPU is given for both sides together",
     LINK_REMARK_ALWAYS},
    {0},
};
static const struct link_remark remarks_veth[] = {
    {"offloads-off",
     "veth is a virtual wire: packets as the MTU says, with TSO, GSO, GRO and checksum offload off "
     "at both ends, for all engines alike; the receive side runs on the sender's CPU",
     LINK_REMARK_OFFLOADS_OFF},
    {"offloads-on",
     "veth with its offloads: the kernel hands over up to 64 KiB at once, without checksums, which "
     "no stack in user space gets here",
     LINK_REMARK_OFFLOADS_ON},
    {0},
};
static const struct link_remark remarks_memif[] = {
    {"shared-memory", "memif is shared memory between two processes: no wire, no driver, no kernel",
     LINK_REMARK_ALWAYS},
    {0},
};
static const struct link_remark remarks_tap[] = {
    {"tap",
     "every packet of a tap device crosses between user space and the kernel by a system call of "
     "its own: a way to reach kernel sockets, not a fast one",
     LINK_REMARK_ALWAYS},
    {0},
};
static const struct link_remark remarks_none[] = {{0}};

const struct link_kind link_kinds[] = {
    {.name = "lo",
     .help = "loopback, IPv4",
     .listen = "127.0.0.1",
     .tcp = true,
     .queueless = true,
     .local_addrs = true,
     .one_host = true,
     .remarks = remarks_lo},
    {.name = "lo6",
     .help = "loopback, IPv6",
     .listen = "[::1]",
     .tcp = true,
     .queueless = true,
     .one_host = true,
     .remarks = remarks_lo},
    {.name = "unix",
     .help = "a UNIX stream socket",
     .listen = "unix:@lab-",
     .remarks = remarks_none},
    {.name = "veth",
     .help = "a wire between two network namespaces that the run makes: for every engine the same",
     .ends = LINK_ENDS_ANY,
     .tcp = true,
     .queueless = true,
     .frames = true,
     .one_host = true,
     .elsewhere = true,
     .device = "lab",
     .interface = true,
     .mtu_most = 65535,
     .remarks = remarks_veth},
    {.name = "memif",
     .help = "shared memory between two stacks in user space; needs no privilege",
     .ends = LINK_ENDS_STACKS,
     .tcp = true,
     .frames = true,
     .one_host = true,
     .elsewhere = true,
     .device = "@lab-link",
     .mtu_most = 65535,
     .remarks = remarks_memif},
    {.name = "tap",
     .help = "a tap device: a stack in user space meets kernel sockets",
     .ends = LINK_ENDS_ONE_OF_EACH,
     .tcp = true,
     .frames = true,
     .one_host = true,
     .elsewhere = true,
     .device = "lab",
     .interface = true,
     .mtu_most = 65535,
     .remarks = remarks_tap},
    {.name = "pci",
     .help = "a NIC that a stack in user space drives, by its PCI address",
     .ends = LINK_ENDS_STACKS,
     .tcp = true,
     .frames = true,
     .elsewhere = true,
     .device_needed = true,
     .mtu_most = 16128,
     .remarks = remarks_none},
    {0},
};

const struct link_kind *link_kind_find(const char *name)
{
    for (const struct link_kind *kind = link_kinds; kind->name != NULL; kind++)
        if (strcmp(kind->name, name) == 0)
            return kind;
    return NULL;
}

const struct link_kind *link_kind_of(const char *text)
{
    char name[32];
    size_t length = strcspn(text, ":");

    if (length >= sizeof(name))
        return NULL;
    memcpy(name, text, length);
    name[length] = '\0';
    return link_kind_find(name);
}

/* --- the options --- */

#define FIELD(name) offsetof(struct link, name)

static const char *const link_sides[] = {"client", "server", NULL};

const struct option_def link_options[] = {
    {.name = "device",
     .type = OPTION_TEXT,
     .offset = FIELD(device_text),
     .argument = "NAME",
     .help = "interface, PCI address, or socket of memif (@NAME is abstract)"},
    {.name = "peer_device",
     .type = OPTION_TEXT,
     .offset = FIELD(peer_device_text),
     .argument = "NAME",
     .help = "the other end's, where both are on this host"},
    {.name = "address",
     .type = OPTION_TEXT,
     .offset = FIELD(address_text),
     .argument = "A.B.C.D/BITS",
     .help = "of this end; by default in 198.18.0.0/15, by side and index"},
    {.name = "peer",
     .type = OPTION_TEXT,
     .offset = FIELD(peer_text),
     .argument = "A.B.C.D",
     .help = "address of the other end"},
    {.name = "gateway",
     .type = OPTION_TEXT,
     .offset = FIELD(gateway_text),
     .argument = "A.B.C.D",
     .help = "where packets to other networks go; by default nowhere"},
    {.name = "mac",
     .type = OPTION_TEXT,
     .offset = FIELD(mac_text),
     .argument = "XX:XX:XX:XX:XX:XX",
     .help = "Ethernet address of this end"},
    {.name = "peer_mac",
     .type = OPTION_TEXT,
     .offset = FIELD(peer_mac_text),
     .argument = "XX:XX:XX:XX:XX:XX",
     .help = "Ethernet address of the other end"},
    {.name = "mtu",
     .type = OPTION_SIZE,
     .offset = FIELD(mtu),
     .fallback = LINK_MTU,
     .min = LINK_MTU_LEAST,
     .max = 65535,
     .help = "largest IP packet"},
    {.name = "loss",
     .type = OPTION_COUNT,
     .offset = FIELD(loss_permille),
     .max = 1000,
     .argument = "PERMILLE",
     .help = "packets that a stack in user space loses on purpose, of 1000"},
    {.name = "duplicate",
     .type = OPTION_COUNT,
     .offset = FIELD(duplicate_permille),
     .max = 1000,
     .argument = "PERMILLE",
     .help = "packets that it sends twice, of 1000"},
    {.name = "reorder",
     .type = OPTION_COUNT,
     .offset = FIELD(reorder_permille),
     .max = 1000,
     .argument = "PERMILLE",
     .help = "packets that it sends after later ones, of 1000"},
    {.name = "seed",
     .type = OPTION_COUNT,
     .offset = FIELD(seed),
     .fallback = "1",
     .max = INT64_MAX,
     .help = "what these faults are drawn from"},
    {.name = "offloads",
     .type = OPTION_FLAG,
     .offset = FIELD(offloads),
     .fallback = "no",
     .help = "of veth between kernel sockets: leave segmentation and checksums to the device"},
    {.name = "both_ways",
     .type = OPTION_FLAG,
     .offset = FIELD(both_ways),
     .fallback = "no",
     .help = "faults strike received packets too, since the other end has none"},
    {.name = "side",
     .type = OPTION_CHOICE,
     .offset = FIELD(side),
     .fallback = "client",
     .choices = link_sides,
     .help = "whose view this is; the command that it is given to decides"},
    {.name = "index",
     .type = OPTION_COUNT,
     .offset = FIELD(index),
     .max = LINK_INDEXES_MAX - 1,
     .argument = "N",
     .help = "which of several links between the two sides"},
    {0},
};

/* --- from what is written to what it means --- */

static int link_bad(const struct link *link, const char *key, const char *value, const char *takes,
                    struct lab_error *err)
{
    return lab_fail(err, EINVAL, "%s: %s: '%.100s' is not understood: it takes %s",
                    link->kind->name, key, value, takes);
}

static int link_read_ip(const struct link *link, const char *key, const char *text,
                        struct in_addr *out, struct lab_error *err)
{
    if (inet_pton(AF_INET, text, out) == 1)
        return 0;
    return link_bad(link, key, text, "an IPv4 address, A.B.C.D", err);
}

/* A.B.C.D[/BITS] */
static int link_read_network(struct link *link, struct lab_error *err)
{
    const char *text = link->address_text, *slash = strchr(text, '/');
    char host[INET_ADDRSTRLEN];
    uint64_t bits = 24;
    size_t length = slash != NULL ? (size_t)(slash - text) : strlen(text);

    if (slash != NULL && (parse_count(slash + 1, "", &bits, NULL) < 0 || bits < 1 || bits > 30))
        return link_bad(link, "address", text, "an IPv4 address and 1 to 30 bits, A.B.C.D/24", err);
    if (length >= sizeof(host))
        return link_bad(link, "address", text, "an IPv4 address, A.B.C.D/24", err);
    memcpy(host, text, length);
    host[length] = '\0';
    link->prefix = (unsigned)bits;
    return link_read_ip(link, "address", host, &link->address, err);
}

static int link_read_mac(const struct link *link, const char *key, const char *text, uint8_t mac[6],
                         struct lab_error *err)
{
    unsigned octets[6];
    int used = 0;

    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &octets[0], &octets[1], &octets[2], &octets[3],
               &octets[4], &octets[5], &used) != 6 ||
        text[used] != '\0')
        return link_bad(link, key, text, "six octets, 02:00:00:00:00:01", err);
    if (octets[0] & 1)
        return lab_fail(err, EINVAL, "%s: %s: %s is a group's address, no host's", link->kind->name,
                        key, text);
    for (unsigned i = 0; i < 6; i++)
        mac[i] = (uint8_t)octets[i];
    return 0;
}

static void link_default_ip(const struct link *link, int side, struct in_addr *out)
{
    out->s_addr = htonl(0xc6120000u | (uint32_t)link->index << 8 | (side == LINK_SERVER ? 1 : 2));
}

static void link_default_mac(const struct link *link, int side, uint8_t mac[6])
{
    const uint8_t octets[] = {0x02, 'L', 'a', 'b', (uint8_t)link->index, (uint8_t)(side + 1)};
    memcpy(mac, octets, sizeof(octets));
}

static void link_default_device(const struct link *link, const char *given, char *out)
{
    if (given[0] != '\0')
        snprintf(out, OPTION_TEXT_MAX, "%s", given);
    else if (link->kind->device != NULL)
        snprintf(out, OPTION_TEXT_MAX, "%s%u", link->kind->device, (unsigned)link->index);
    else
        out[0] = '\0';
}

static int link_check(const struct link *link, struct lab_error *err)
{
    const struct link_kind *kind = link->kind;
    uint32_t mask = link_mask(link);

    if (!kind->frames) {
        for (const struct option_def *def = link_options; def->name != NULL; def++)
            if (!option_is_default(def, link) && def->offset != FIELD(side) &&
                def->offset != FIELD(index))
                return lab_fail(err, EINVAL, "%s: it has no option '%s', nor any other", kind->name,
                                def->name);
        return 0;
    }
    if (kind->device_needed && link->device[0] == '\0')
        return lab_fail(err, EINVAL, "%s: say which device: %s:device=...", kind->name, kind->name);
    if (kind->interface &&
        (strlen(link->device) > 15 || strpbrk(link->device, "/: \t\n") != NULL ||
         strlen(link->peer_device) > 15 || strpbrk(link->peer_device, "/: \t\n") != NULL))
        return lab_fail(err, EINVAL,
                        "%s: device: an interface's name has at most 15 characters, no blank, no "
                        "slash",
                        kind->name);
    if (link->mtu > kind->mtu_most)
        return lab_fail(err, EINVAL, "%s: mtu: at most %llu", kind->name,
                        (unsigned long long)kind->mtu_most);
    if (link->address.s_addr == link->peer.s_addr)
        return lab_fail(err, EINVAL, "%s: both ends have the address %s", kind->name,
                        inet_ntoa(link->address));
    if (((link->address.s_addr ^ link->peer.s_addr) & mask) != 0 && link->gateway.s_addr == 0)
        return lab_fail(err, EINVAL,
                        "%s: address and peer are in different networks of %u bits: give a "
                        "gateway, or another peer",
                        kind->name, link->prefix);
    return 0;
}

static int link_resolve(struct link *link, struct lab_error *err)
{
    int side = link->side, other = side == LINK_SERVER ? LINK_CLIENT : LINK_SERVER, r = 0;

    link->prefix = 24;
    link_default_ip(link, side, &link->address);
    link_default_ip(link, other, &link->peer);
    link_default_mac(link, side, link->mac);
    link_default_mac(link, other, link->peer_mac);
    link->gateway.s_addr = 0;
    link->peer_mac_given = link->peer_mac_text[0] != '\0';
    link_default_device(link, link->device_text, link->device);
    link_default_device(link, link->peer_device_text, link->peer_device);
    if (link->address_text[0] != '\0') {
        r = link_read_network(link, err);
        /* The neighbour of an address of one's own choice cannot be guessed, but must differ. */
        if (r == 0)
            link->peer.s_addr = link->address.s_addr ^ htonl(3);
    }
    if (r == 0 && link->peer_text[0] != '\0')
        r = link_read_ip(link, "peer", link->peer_text, &link->peer, err);
    if (r == 0 && link->gateway_text[0] != '\0')
        r = link_read_ip(link, "gateway", link->gateway_text, &link->gateway, err);
    if (r == 0 && link->mac_text[0] != '\0')
        r = link_read_mac(link, "mac", link->mac_text, link->mac, err);
    if (r == 0 && link->peer_mac_given)
        r = link_read_mac(link, "peer_mac", link->peer_mac_text, link->peer_mac, err);
    return r == 0 ? link_check(link, err) : r;
}

/* --- reading and writing --- */

static int link_unknown(const char *text, struct lab_error *err)
{
    char name[61];
    const char *names[LINK_KINDS_MAX + 1];
    char known[256] = "";
    unsigned count = 0;

    for (const struct link_kind *kind = link_kinds; kind->name != NULL; kind++) {
        snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
                 count == 0 ? "" : ", ", kind->name);
        names[count++] = kind->name;
    }
    names[count] = NULL;
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(text, ":"), text);
    const char *near = parse_suggest(name, names);
    return lab_fail(err, EINVAL, "unknown link '%s'%s%s%s known: %s", name,
                    near != NULL ? "; did you mean '" : ";", near != NULL ? near : "",
                    near != NULL ? "'?" : "", known);
}

int link_parse(const char *text, enum link_side side, struct link *out, struct lab_error *err)
{
    static const struct option_def *const tables[] = {link_options, NULL};
    struct link link = {0};
    char context[32];

    if (!text_is_clean(text))
        return lab_fail(err, EINVAL, "a link is only text, without control characters");
    link.kind = link_kind_of(text);
    if (link.kind == NULL)
        return link_unknown(text, err);
    const char *list = strchr(text, ':');
    if (list != NULL && list[1] == '\0')
        return lab_fail(err, EINVAL, "%s: no option follows the colon in '%s'", link.kind->name,
                        text);
    option_defaults(link_options, &link);
    link.side = side;
    snprintf(context, sizeof(context), "%s: ", link.kind->name);
    int r = option_parse_list(tables, &link, list != NULL ? list + 1 : NULL, context, err);
    if (r == 0)
        r = link_resolve(&link, err);
    if (r == 0)
        *out = link;
    return r;
}

const char *link_format(const struct link *link, char *out)
{
    static const struct option_def *const tables[] = {link_options, NULL};
    size_t used = (size_t)snprintf(out, LINK_TEXT_MAX, "%s:", link->kind->name);

    if (option_format_list(tables, link, out + used, LINK_TEXT_MAX - used) < 0 || out[used] == '\0')
        out[used - 1] = '\0';
    return out;
}

void link_turn(const struct link *link, struct link *other)
{
    struct link turned = *link;
    char ip[INET_ADDRSTRLEN];

    turned.side = link->side == LINK_SERVER ? LINK_CLIENT : LINK_SERVER;
    memcpy(turned.device_text, link->peer_device_text, OPTION_TEXT_MAX);
    memcpy(turned.peer_device_text, link->device_text, OPTION_TEXT_MAX);
    memcpy(turned.mac_text, link->peer_mac_text, OPTION_TEXT_MAX);
    memcpy(turned.peer_mac_text, link->mac_text, OPTION_TEXT_MAX);
    if (link->address_text[0] != '\0' || link->peer_text[0] != '\0') {
        snprintf(turned.address_text, OPTION_TEXT_MAX, "%s/%u",
                 inet_ntop(AF_INET, &link->peer, ip, sizeof(ip)), link->prefix);
        inet_ntop(AF_INET, &link->address, turned.peer_text, OPTION_TEXT_MAX);
    }
    link_resolve(&turned, NULL);
    *other = turned;
}

int link_number(struct link *link, uint64_t index, struct lab_error *err)
{
    struct link other = *link;

    if (index >= LINK_INDEXES_MAX)
        return lab_fail(err, EINVAL, "%s: at most %d of them join two sides", link->kind->name,
                        LINK_INDEXES_MAX);
    if (index > 0 &&
        (link->device_text[0] != '\0' || link->address_text[0] != '\0' ||
         link->peer_text[0] != '\0' || link->mac_text[0] != '\0' || link->peer_mac_text[0] != '\0'))
        return lab_fail(err, EINVAL,
                        "%s: a device, an address or a MAC that is named is one process's: with "
                        "several, leave them to their defaults",
                        link->kind->name);
    other.index = index;
    int r = link_resolve(&other, err);
    if (r == 0)
        *link = other;
    return r;
}

size_t link_length(const char *text)
{
    size_t size = strcspn(text, ",");

    while (text[size] == ',') {
        const char *next = text + size + 1;
        char name[32];
        next += strspn(next, " \t");
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(next, ":,"), next);
        if (link_kind_find(name) != NULL || memchr(text, ':', size) == NULL)
            break;
        size += 1 + strcspn(text + size + 1, ",");
    }
    return size;
}

const char *link_listen(const struct link *link, const char *unique, uint16_t port, char *out)
{
    char ip[INET_ADDRSTRLEN];

    if (link->kind->listen == NULL)
        snprintf(out, ADDR_TEXT_MAX, "%s:%u", inet_ntop(AF_INET, &link->address, ip, sizeof(ip)),
                 port);
    else if (link->kind->tcp)
        snprintf(out, ADDR_TEXT_MAX, "%s:%u", link->kind->listen, port);
    else
        snprintf(out, ADDR_TEXT_MAX, "%s%s", link->kind->listen, unique);
    return out;
}

bool link_has_faults(const struct link *link)
{
    return link->loss_permille > 0 || link->duplicate_permille > 0 || link->reorder_permille > 0;
}

const struct link_remark *link_remark(const struct link *link, unsigned index)
{
    const enum link_remark_when not =
        link->offloads ? LINK_REMARK_OFFLOADS_OFF : LINK_REMARK_OFFLOADS_ON;

    for (const struct link_remark *remark = link->kind->remarks; remark->id != NULL; remark++)
        if (remark->when != not &&index-- == 0)
            return remark;
    return NULL;
}
