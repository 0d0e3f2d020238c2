/* What the controller makes of a link: places of the processes, and real namespaces where this
 * user may make them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run/link.h"
#include "run/netns.h"

TestSuite(run_link, .timeout = 60);

static struct run_case a_case(const char *spec, uint32_t clients, uint32_t servers)
{
    return (struct run_case){
        .link_spec = (char *)spec, .client_processes = clients, .server_processes = servers};
}

static struct run_link *opened(const struct run_case *c)
{
    struct run_link *link = NULL;
    struct lab_error err = {""};
    int r = run_link_open(&link, c, "7-1", &err);
    if (r == -EPERM || r == -ENOSPC || r == -EUSERS || r == -EACCES || r == -EOPNOTSUPP)
        cr_skip_test("%s", err.text);
    cr_assert_eq(r, 0, "%s: %s", c->link_spec, err.text);
    return link;
}

static struct link view(const struct run_link *link, enum link_side side, unsigned index)
{
    struct link seen;
    struct lab_error err = {""};
    const char *text = run_link_place(link, side, index)->link;
    cr_assert_eq(link_parse(text, LINK_CLIENT, &seen, &err), 0, "%s: %s", text, err.text);
    cr_assert_eq(seen.side, (int)side, "the text says whose view it is: %s", text);
    return seen;
}

Test(run_link, every_kind_is_known)
{
    for (const struct link_kind *kind = link_kinds; kind->name != NULL; kind++) {
        struct link link;
        struct lab_error err = {""};
        char text[64];
        snprintf(text, sizeof(text), "%s%s", kind->name, kind->device_needed ? ":device=x" : "");
        cr_assert_eq(link_parse(text, LINK_CLIENT, &link, &err), 0, "%s", err.text);
        int r = run_link_probe(&link, &err);
        cr_assert_neq(r, -ENOTSUP, "%s", err.text);
        cr_assert(r == 0 || err.text[0] != '\0');
        cr_assert_eq(run_link_probe(&link, &err), r, "the second answer is the first");
    }
}

Test(run_link, servers_listen_where_the_link_says)
{
    struct run_case c = a_case("unix", 1, 1);
    struct run_link *link = opened(&c);
    cr_assert_str_eq(run_link_place(link, LINK_SERVER, 0)->listen, "unix:@lab-7-1");
    run_link_close(link);
    c = a_case("lo6", 2, 1);
    link = opened(&c);
    cr_assert_str_eq(run_link_place(link, LINK_SERVER, 0)->listen, "[::1]:0");
    cr_assert_eq(run_link_place(link, LINK_CLIENT, 1)->spawn.net_ns, -1);
    run_link_close(link);
    run_link_close(NULL);
}

Test(run_link, memif_has_a_socket_for_each_pair)
{
    struct run_case c = a_case("memif:mtu=9000", 2, 2);
    c.client_stack = c.server_stack = true;
    struct run_link *link = opened(&c);

    for (unsigned i = 0; i < 2; i++) {
        struct link client = view(link, LINK_CLIENT, i), server = view(link, LINK_SERVER, i);
        cr_assert_str_eq(client.device, server.device);
        cr_assert_eq(strncmp(client.device, "@lab-7-1-", 9), 0, "%s", client.device);
        cr_assert_eq(client.peer.s_addr, server.address.s_addr);
        cr_assert_eq(client.mtu, 9000);
        cr_assert_eq(server.mtu, 9000);
    }
    cr_assert_str_neq(view(link, LINK_CLIENT, 0).device, view(link, LINK_CLIENT, 1).device);
    cr_assert_neq(view(link, LINK_CLIENT, 0).address.s_addr,
                  view(link, LINK_CLIENT, 1).address.s_addr);
    run_link_close(link);
}

Test(run_link, several_processes_cannot_share_a_card)
{
    struct run_case c = a_case("pci:device=0000:00:05.0,peer_device=0000:00:06.0", 2, 2);
    struct run_link *link = NULL;
    struct lab_error err;

    cr_assert_eq(run_link_open(&link, &c, "7-1", &err), -EINVAL);
    c = a_case("pci:device=0000:00:05.0,peer_device=0000:00:06.0", 1, 1);
    link = opened(&c);
    cr_assert_str_eq(view(link, LINK_CLIENT, 0).device, "0000:00:05.0");
    cr_assert_str_eq(view(link, LINK_SERVER, 0).device, "0000:00:06.0");
    run_link_close(link);
}

/* --- namespaces --- */

/* Runs check() inside a place, as a child that is about to exec would be; its exit code. */
static int inside(const struct run_place *place, int (*check)(void))
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0)
        _exit(netns_enter(place->spawn.user_ns, place->spawn.net_ns) < 0 ? 99 : check());
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

/* How many interfaces with an IPv4 address there are beside lo. */
static int count_addresses(void)
{
    struct ifaddrs *all = NULL;
    int count = 0;

    if (getifaddrs(&all) < 0)
        return 97;
    for (const struct ifaddrs *at = all; at != NULL; at = at->ifa_next)
        count += at->ifa_addr != NULL && at->ifa_addr->sa_family == AF_INET &&
                 strcmp(at->ifa_name, "lo") != 0;
    freeifaddrs(all);
    return count;
}

static int count_interfaces(void)
{
    struct if_nameindex *all = if_nameindex();
    int count = 0;

    for (; all != NULL && all[count].if_index != 0; count++)
        ;
    return count;
}

static int can_open_raw_socket(void)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    return fd >= 0 ? 0 : 1;
}

Test(run_link, a_veth_has_an_end_in_each_namespace)
{
    struct run_case c = a_case("veth", 1, 1);
    struct run_link *link = opened(&c);
    const struct run_place *client = run_link_place(link, LINK_CLIENT, 0);
    const struct run_place *server = run_link_place(link, LINK_SERVER, 0);

    cr_assert_neq(client->spawn.net_ns, server->spawn.net_ns);
    cr_assert_eq(inside(client, count_addresses), 1);
    cr_assert_eq(inside(server, count_addresses), 1);
    cr_assert_eq(inside(server, can_open_raw_socket), 0);
    cr_assert_str_eq(server->listen, "198.18.0.1:0");
    struct run_list settings = {0};
    run_link_settings(link, &settings);
    cr_assert_geq(settings.count, 2);
    cr_assert_str_eq(settings.items[0].name, "mtu");
    run_list_free(&settings);
    run_link_close(link);
}

Test(run_link, the_kernel_has_no_address_where_a_stack_is)
{
    struct run_case c = a_case("veth", 1, 1);
    c.server_stack = true;
    struct run_link *link = opened(&c);

    cr_assert_eq(inside(run_link_place(link, LINK_SERVER, 0), count_addresses), 0);
    cr_assert_eq(inside(run_link_place(link, LINK_SERVER, 0), count_interfaces), 2);
    cr_assert_eq(inside(run_link_place(link, LINK_CLIENT, 0), count_addresses), 1);
    run_link_close(link);
}

Test(run_link, one_process_of_sockets_sits_at_all_ends)
{
    struct run_case c = a_case("veth", 3, 1);
    char text[200];
    c.client_stack = true;
    struct run_link *link = opened(&c);
    const struct run_place *server = run_link_place(link, LINK_SERVER, 0);

    cr_assert_eq(inside(server, count_addresses), 3);
    cr_assert_str_eq(server->listen, "0.0.0.0:0");
    cr_assert_str_eq(run_link_reach(link, "0.0.0.0:80", text, sizeof(text)),
                     "198.18.0.1:80,198.18.1.1:80,198.18.2.1:80");
    cr_assert_str_eq(run_link_reach(link, "198.18.1.1:80", text, sizeof(text)), "198.18.1.1:80");
    cr_assert_null(run_link_reach(link, "0.0.0.0:80", text, 20));
    run_link_close(link);
}

Test(run_link, a_tap_is_in_one_namespace_for_both)
{
    struct run_case c = a_case("tap:address=10.3.0.2/24", 1, 1);
    c.server_stack = true;
    if (access("/dev/net/tun", R_OK | W_OK) < 0)
        cr_skip_test("/dev/net/tun cannot be opened");
    struct run_link *link = opened(&c);
    const struct run_place *client = run_link_place(link, LINK_CLIENT, 0);

    cr_assert_eq(client->spawn.net_ns, run_link_place(link, LINK_SERVER, 0)->spawn.net_ns);
    cr_assert_eq(inside(client, count_addresses), 1);
    cr_assert_str_eq(run_link_place(link, LINK_SERVER, 0)->listen, "10.3.0.1:0");
    run_link_close(link);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

Test(run_link, closing_it_leaves_no_descriptor)
{
    struct run_case c = a_case("veth", 1, 1);
    unsigned before = open_descriptors();
    struct run_link *link = opened(&c);

    cr_assert_gt(open_descriptors(), before, "they keep the namespaces alive");
    run_link_close(link);
    cr_assert_eq(open_descriptors(), before);
}
