/* Links as text: defaults, both sides' views, lists, and what is refused. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/link.h"

TestSuite(link, .timeout = 10);

static struct link parsed(const char *text, enum link_side side)
{
    struct link link;
    struct lab_error err = {""};
    cr_assert_eq(link_parse(text, side, &link, &err), 0, "%s: %s", text, err.text);
    return link;
}

static const char *ip(struct in_addr address)
{
    return inet_ntoa(address);
}

Test(link, kinds_are_told_apart_and_explained)
{
    for (const struct link_kind *kind = link_kinds; kind->name != NULL; kind++) {
        cr_assert_eq(link_kind_find(kind->name), kind);
        cr_assert_not_null(kind->help);
        cr_assert_not_null(kind->remarks);
        cr_assert(kind->frames || kind->listen != NULL, "%s: where does it listen?", kind->name);
    }
    cr_assert_null(link_kind_find("vet"));
}

Test(link, defaults_of_both_sides_meet)
{
    struct link client = parsed("veth", LINK_CLIENT), server = parsed("veth", LINK_SERVER);

    cr_assert_str_eq(ip(client.address), "198.18.0.2");
    cr_assert_str_eq(ip(server.address), "198.18.0.1");
    cr_assert_eq(client.peer.s_addr, server.address.s_addr);
    cr_assert_eq(server.peer.s_addr, client.address.s_addr);
    cr_assert_eq(memcmp(client.mac, server.peer_mac, 6), 0);
    cr_assert_eq(memcmp(server.mac, client.peer_mac, 6), 0);
    cr_assert_eq(server.mac[0] & 3, 2, "a locally administered MAC of one host");
    cr_assert_eq(client.prefix, 24);
    cr_assert_eq(client.mtu, 1500);
    cr_assert_str_eq(client.device, "lab0");
    cr_assert_eq(client.gateway.s_addr, 0);
    cr_assert_not(client.peer_mac_given);
    cr_assert_not(link_has_faults(&client));
}

Test(link, all_that_is_said_is_kept)
{
    struct link link = parsed("pci:device=0000:03:00.0,address=10.1.2.3/16,peer=10.1.9.9,"
                              "gateway=10.1.0.1,mac=02:00:00:00:00:07,mtu=9000,loss=10,reorder=5,"
                              "duplicate=1,seed=9",
                              LINK_SERVER);
    struct link again;
    char text[LINK_TEXT_MAX], text_again[LINK_TEXT_MAX];

    cr_assert_str_eq(link.device, "0000:03:00.0");
    cr_assert_str_eq(ip(link.address), "10.1.2.3");
    cr_assert_str_eq(ip(link.peer), "10.1.9.9");
    cr_assert_str_eq(ip(link.gateway), "10.1.0.1");
    cr_assert_eq(link.prefix, 16);
    cr_assert_eq(link.mac[5], 7);
    cr_assert_eq(link.mtu, 9000);
    cr_assert_eq(link.loss_permille, 10);
    cr_assert(link_has_faults(&link));
    link_format(&link, text);
    cr_assert_eq(link_parse(text, LINK_CLIENT, &again, NULL), 0, "%s", text);
    cr_assert_eq(again.side, LINK_SERVER, "the text says whose view it is: %s", text);
    cr_assert_str_eq(link_format(&again, text_again), text);
}

Test(link, turned_it_is_the_other_sides)
{
    struct link client = parsed("pci:device=a,peer_device=b,address=10.0.0.6/29,mac=02:0:0:0:0:1,"
                                "peer_mac=02:0:0:0:0:2",
                                LINK_CLIENT);
    struct link server, back;

    link_turn(&client, &server);
    cr_assert_eq(server.side, LINK_SERVER);
    cr_assert_str_eq(server.device, "b");
    cr_assert_eq(server.address.s_addr, client.peer.s_addr);
    cr_assert_eq(server.peer.s_addr, client.address.s_addr);
    cr_assert_eq(server.prefix, 29);
    cr_assert_eq(server.mac[5], 2);
    link_turn(&server, &back);
    cr_assert_eq(back.address.s_addr, client.address.s_addr);
    cr_assert_str_eq(back.device, "a");
    link_turn(&back, &server);
    cr_assert_eq(server.peer.s_addr, client.address.s_addr);
}

Test(link, several_are_told_apart_by_their_index)
{
    struct link link = parsed("memif", LINK_SERVER);
    struct lab_error err;

    cr_assert_eq(link_number(&link, 3, &err), 0, "%s", err.text);
    cr_assert_str_eq(ip(link.address), "198.18.3.1");
    cr_assert_eq(link.mac[4], 3);
    cr_assert_str_eq(link.device, "@lab-link3");
    cr_assert_eq(link_number(&link, LINK_INDEXES_MAX, &err), -EINVAL);
    link = parsed("pci:device=x", LINK_SERVER);
    cr_assert_eq(link_number(&link, 0, &err), 0);
    cr_assert_eq(link_number(&link, 1, &err), -EINVAL, "two processes cannot drive one card");
    cr_assert_eq(link.index, 0, "untouched");
}

Test(link, where_a_server_listens)
{
    char text[ADDR_TEXT_MAX];
    struct link link = parsed("lo6", LINK_SERVER);

    cr_assert_str_eq(link_listen(&link, "x", 80, text), "[::1]:80");
    link = parsed("unix", LINK_SERVER);
    cr_assert_str_eq(link_listen(&link, "7-1", 0, text), "unix:@lab-7-1");
    link = parsed("tap", LINK_SERVER);
    cr_assert_str_eq(link_listen(&link, "x", 0, text), "198.18.0.1:0");
}

struct list {
    char text[80];
    size_t length;
};

ParameterizedTestParameters(link, lists)
{
    static struct list lists[] = {
        {"lo", 2},
        {"lo,lo6", 2},
        {"lo, veth:mtu=9000", 2},
        {"veth:mtu=9000,loss=1,lo", 20},
        {"veth:mtu=9000,loss=1,memif:loss=2", 20},
        {"lo,nonsense", 2},
        {"veth:mtu=9000,unknown=1", 23},
    };
    return cr_make_param_array(struct list, lists, sizeof(lists) / sizeof(*lists));
}

ParameterizedTest(struct list *list, link, lists)
{
    cr_assert_eq(link_length(list->text), list->length, "%s: %zu", list->text,
                 link_length(list->text));
}

struct wrong {
    char text[80], says[100];
};

ParameterizedTestParameters(link, refused)
{
    static struct wrong wrongs[] = {
        {"", "unknown link ''"},
        {"vteh", "unknown link 'vteh'; did you mean 'veth'? known: lo, lo6, unix, veth"},
        {"pci:device=a\nb", "a link is only text"},
        {"veth:", "veth: no option follows the colon"},
        {"veth:mtuu=1", "unknown option 'mtuu' of veth; did you mean 'mtu'?"},
        {"veth:mtu=100", "veth: mtu:"},
        {"veth:mtu=70000", "veth: mtu:"},
        {"veth:loss=1001", "veth: loss:"},
        {"veth:address=10.0.0", "veth: address: '10.0.0' is not understood"},
        {"veth:address=10.0.0.1/31", "veth: address: '10.0.0.1/31' is not understood"},
        {"veth:address=10.0.0.1/x", "veth: address: '10.0.0.1/x' is not understood"},
        {"veth:peer=here", "veth: peer: 'here' is not understood"},
        {"veth:peer=10.0.0.1", "veth: address and peer are in different networks"},
        {"veth:address=10.0.0.1,peer=10.0.0.1", "veth: both ends have the address 10.0.0.1"},
        {"veth:mac=1:2:3", "veth: mac: '1:2:3' is not understood"},
        {"veth:mac=01:00:00:00:00:00", "veth: mac: 01:00:00:00:00:00 is a group's"},
        {"lo:mtu=1400", "lo: it has no option 'mtu'"},
        {"unix:loss=1", "unix: it has no option 'loss'"},
        {"pci", "pci: say which device"},
        {"pci:device=x,mtu=60000", "pci: mtu: at most 16128"},
    };
    return cr_make_param_array(struct wrong, wrongs, sizeof(wrongs) / sizeof(*wrongs));
}

ParameterizedTest(struct wrong *wrong, link, refused)
{
    struct link link = {.seed = 77};
    struct lab_error err = {""};
    cr_assert_eq(link_parse(wrong->text, LINK_CLIENT, &link, &err), -EINVAL, "%s", wrong->text);
    cr_assert_eq(strncmp(err.text, wrong->says, strlen(wrong->says)), 0, "%s", err.text);
    cr_assert_eq(link.seed, 77, "untouched");
}
