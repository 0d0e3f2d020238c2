/* See link.h: what each kind needs is a row of the table in the middle. */
#include "run/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/netdev.h"
#include "run/netns.h"

#define LINK_KINDS_MOST 16
/* Interfaces' indexes lie far apart: DPDK's af_packet makes the number of a group, which no two
 * processes in a namespace may share, of pid xor index; and pids are neighbours. */
#define VETH_INDEX(i) (((int)(i) + 1) << 8)

struct run_link {
    const struct run_link_kind *kind;
    char unique[32];
    struct link seen[2]; /* by each side, of index 0 */
    bool stack[2];       /* a side's engine takes the device itself */
    bool listens;        /* the case says where the server is to listen */
    bool elsewhere;      /* the server is not lab's */
    unsigned count;      /* of links between the sides */
    struct run_place *places[2];
    unsigned places_count[2];
    struct netns ns;
};

/* What a kind of link needs. */
struct run_link_kind {
    const char *name;
    unsigned spaces; /* network namespaces: 2 = one a side, 1 = one for both */
    /* Completes a side's view of one of the links; NULL: nothing to add. */
    void (*complete)(const struct run_link *link, struct link *view);
    /* In the process that makes the namespaces; context is the struct run_link. */
    int (*furnish)(void *context, const struct netns *ns, struct lab_error *err);
};

/* --- what the sides are told --- */

static int link_view(const struct run_link *link, enum link_side side, unsigned index,
                     struct link *view, struct lab_error *err)
{
    *view = link->seen[side];
    int r = link_number(view, index, err);
    if (r == 0 && link->kind->complete != NULL)
        link->kind->complete(link, view);
    return r;
}

/* One socket a link, abstract, and nobody else's. */
static void memif_complete(const struct run_link *link, struct link *view)
{
    if (view->device_text[0] != '\0' || link->elsewhere)
        return;
    snprintf(view->device_text, sizeof(view->device_text), "@lab-%s-%u", link->unique,
             (unsigned)view->index);
    memcpy(view->peer_device_text, view->device_text, sizeof(view->peer_device_text));
}

/* --- what is made --- */

/* Up, with an address if the kernel's TCP/IP is to use it, and offloads as all engines have. */
static int end_furnish(const struct link *view, bool stack, struct lab_error *err)
{
    int r = view->offloads ? 0 : netdev_offloads_off(view->device, err);
    if (r == 0)
        r = netdev_up(view->device, err);
    if (r == 0 && !stack)
        r = netdev_address(view->device, view->address, view->prefix, err);
    return r;
}

static int enter(int net, struct lab_error *err)
{
    if (setns(net, CLONE_NEWNET) == 0)
        return 0;
    return lab_fail(err, errno, "cannot enter a network namespace: %s", strerror(errno));
}

static int veth_furnish(void *context, const struct netns *ns, struct lab_error *err)
{
    const struct run_link *link = context;
    struct link view[2];
    int r = 0;

    for (unsigned side = 0; side < 2 && r == 0; side++) {
        r = enter(ns->net[side], err);
        netdev_quiet();
        if (r == 0)
            r = netdev_up("lo", err);
    }
    for (unsigned i = 0; i < link->count && r == 0; i++) {
        struct netdev_end end[2];
        for (unsigned side = 0; side < 2 && r == 0; side++) {
            r = link_view(link, side, i, &view[side], err);
            end[side] = (struct netdev_end){view[side].device, VETH_INDEX(i), view[side].mac,
                                            (uint32_t)view[side].mtu};
        }
        if (r == 0)
            r = enter(ns->net[LINK_SERVER], err);
        if (r == 0)
            r = netdev_add_veth(&end[LINK_SERVER], &end[LINK_CLIENT], ns->net[LINK_CLIENT], err);
        for (unsigned side = 2; side-- > 0 && r == 0;) {
            r = enter(ns->net[side], err);
            if (r == 0)
                r = end_furnish(&view[side], link->stack[side], err);
        }
    }
    return r;
}

/* The kernel's end is the interface; the stack's is whoever opens the device by its name. */
static int tap_furnish(void *context, const struct netns *ns, struct lab_error *err)
{
    const struct run_link *link = context;
    enum link_side kernel = link->stack[LINK_CLIENT] ? LINK_SERVER : LINK_CLIENT;
    int r = 0;

    netdev_quiet();
    r = netdev_up("lo", err);
    for (unsigned i = 0; i < link->count && r == 0; i++) {
        struct link view;
        r = link_view(link, kernel, i, &view, err);
        const struct netdev_end end = {view.device, 0, view.mac, (uint32_t)view.mtu};
        if (r == 0)
            r = netdev_add_tap(&end, err);
        if (r == 0)
            r = end_furnish(&view, false, err);
    }
    return r;
}

static const struct run_link_kind run_link_kinds[] = {
    {.name = "lo"},
    {.name = "lo6"},
    {.name = "unix"},
    {.name = "veth", .spaces = 2, .furnish = veth_furnish},
    {.name = "memif", .complete = memif_complete},
    {.name = "tap", .spaces = 1, .furnish = tap_furnish},
    {.name = "pci"},
    {0},
};

/* --- the places --- */

static int place_fill(const struct run_link *link, enum link_side side, unsigned index,
                      struct lab_error *err)
{
    struct run_place *place = &link->places[side][index];
    bool at_all_ends = link->places_count[side] < link->count;
    struct link view;

    int r = link_view(link, side, index, &view, err);
    if (r < 0)
        return r;
    link_format(&view, place->link);
    place->spawn = (struct spawn_place){link->ns.user, -1};
    if (link->ns.count > 0)
        place->spawn.net_ns = link->ns.net[link->ns.count > 1 ? side : 0];
    if (side == LINK_SERVER && !link->listens) {
        if (at_all_ends)
            view.address.s_addr = INADDR_ANY;
        link_listen(&view, link->unique, 0, place->listen);
    }
    return 0;
}

static int places_fill(struct run_link *link, struct lab_error *err)
{
    int r = 0;

    for (unsigned side = 0; side < 2 && r == 0; side++) {
        link->places[side] = calloc(link->places_count[side] + 1, sizeof(struct run_place));
        if (link->places[side] == NULL)
            return lab_fail(err, ENOMEM, "no memory for the processes' places");
        for (unsigned i = 0; i < link->places_count[side] && r == 0; i++)
            r = place_fill(link, side, i, err);
    }
    return r;
}

static int link_setup(struct run_link *link, const struct run_case *c, const char *unique,
                      struct lab_error *err)
{
    int r = link_parse(c->link_spec, LINK_CLIENT, &link->seen[LINK_CLIENT], err);

    if (r < 0)
        return r;
    link_turn(&link->seen[LINK_CLIENT], &link->seen[LINK_SERVER]);
    snprintf(link->unique, sizeof(link->unique), "%s", unique);
    link->stack[LINK_CLIENT] = c->client_stack;
    link->stack[LINK_SERVER] = c->server_stack;
    link->listens = c->listen != NULL;
    link->elsewhere = c->server_address != NULL;
    link->places_count[LINK_CLIENT] = c->client_processes;
    link->places_count[LINK_SERVER] = c->server_processes;
    /* Several processes at one loopback are no reason for several loopbacks. */
    link->count = 1;
    for (unsigned side = 0; side < 2 && link->seen[0].kind->frames; side++)
        if (link->places_count[side] > link->count)
            link->count = link->places_count[side];
    for (const struct run_link_kind *kind = run_link_kinds; kind->name != NULL; kind++)
        if (strcmp(kind->name, link->seen[0].kind->name) == 0)
            link->kind = kind;
    if (link->kind == NULL)
        return lab_fail(err, ENOTSUP, "%s: lab does not know how to make it", c->link_spec);
    return 0;
}

int run_link_open(struct run_link **out, const struct run_case *c, const char *unique,
                  struct lab_error *err)
{
    struct run_link *link = calloc(1, sizeof(*link));

    if (link == NULL)
        return lab_fail(err, ENOMEM, "no memory for the link");
    link->ns = NETNS_NONE;
    int r = link_setup(link, c, unique, err);
    if (r == 0 && link->kind->spaces > 0 && !link->elsewhere)
        r = netns_make(&link->ns, link->kind->spaces, link->kind->furnish, link, err);
    if (r == 0)
        r = places_fill(link, err);
    if (r < 0) {
        run_link_close(link);
        return r;
    }
    *out = link;
    return 0;
}

void run_link_close(struct run_link *link)
{
    if (link == NULL)
        return;
    netns_close(&link->ns);
    free(link->places[LINK_CLIENT]);
    free(link->places[LINK_SERVER]);
    free(link);
}

/* One is made and dropped, the first time that a kind is asked for. */
int run_link_probe(const struct link *link, struct lab_error *err)
{
    static struct {
        const struct link_kind *kind;
        int result;
        struct lab_error error;
    } answers[LINK_KINDS_MOST];
    struct run_case c = {.link_spec = (char *)link->kind->name,
                         .server_stack = link->kind->ends == LINK_ENDS_ONE_OF_EACH,
                         .client_processes = 1,
                         .server_processes = 1};
    struct run_link *made = NULL;
    unsigned at = 0;

    if (link->kind->device_needed)
        return 0; /* it is there or not: the engine looks */
    while (answers[at].kind != NULL && answers[at].kind != link->kind)
        at++;
    if (answers[at].kind == NULL) {
        answers[at].result = run_link_open(&made, &c, "probe", &answers[at].error);
        answers[at].kind = link->kind;
        run_link_close(made);
    }
    if (answers[at].result < 0)
        return lab_fail(err, -answers[at].result, "%s: %s", link->kind->name,
                        answers[at].error.text);
    return 0;
}

const struct run_place *run_link_place(const struct run_link *link, enum link_side side,
                                       unsigned index)
{
    return &link->places[side][index];
}

const char *run_link_reach(const struct run_link *link, const char *address, char *out,
                           size_t out_size)
{
    size_t used = 0;
    struct addr addr;
    struct link view;

    bool any = addr_parse(address, 0, "", &addr, NULL) == 0 && addr.sa.ss_family == AF_INET &&
               ((const struct sockaddr_in *)&addr.sa)->sin_addr.s_addr == INADDR_ANY;
    if (!any)
        return (size_t)snprintf(out, out_size, "%s", address) < out_size ? out : NULL;
    for (unsigned i = 0; i < link->count; i++) {
        char ip[INET_ADDRSTRLEN];
        if (link_view(link, LINK_SERVER, i, &view, NULL) < 0)
            return NULL;
        used +=
            (size_t)snprintf(out + used, out_size - used, "%s%s:%u", i > 0 ? "," : "",
                             inet_ntop(AF_INET, &view.address, ip, sizeof(ip)), addr_port(&addr));
        if (used >= out_size)
            return NULL;
    }
    return out;
}

void run_link_settings(const struct run_link *link, struct run_list *out)
{
    char text[NETNS_SETTINGS_SIZE], value[32], *rest = text, *line;

    if (!link->seen[0].kind->frames)
        return;
    snprintf(value, sizeof(value), "%llu", (unsigned long long)link->seen[0].mtu);
    run_list_add(out, "mtu", value);
    if (link->ns.count == 0)
        return;
    run_list_add(out, "offloads", link->seen[0].offloads ? "on" : "off");
    memcpy(text, link->ns.settings, sizeof(text));
    while ((line = strsep(&rest, "\n")) != NULL) {
        char *blank = strchr(line, ' ');
        if (blank == NULL)
            continue;
        *blank = '\0';
        run_list_add(out, line, blank + 1);
    }
}
