/* Addresses: what is read, how it is written back, and what is refused with which sentence. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "core/addr.h"

TestSuite(addr, .timeout = 10);

struct good {
    char text[64];
    uint16_t port_default;
    int family;
    uint16_t port;
    char written[64];
};

ParameterizedTestParameters(addr, reads_and_writes)
{
    static struct good rows[] = {
        {"127.0.0.1:80", 0, AF_INET, 80, "127.0.0.1:80"},
        {"10.1.2.3", 8888, AF_INET, 8888, "10.1.2.3:8888"},
        {"0.0.0.0:0", 0, AF_INET, 0, "0.0.0.0:0"},
        {":80", 0, AF_INET, 80, "127.0.0.1:80"},
        {":0", 8888, AF_INET, 0, "127.0.0.1:0"},
        {"8888", 0, AF_INET, 8888, "127.0.0.1:8888"},
        {"8888", 80, AF_INET, 8888, "127.0.0.1:8888"},
        {"0", 80, AF_INET, 0, "127.0.0.1:0"},
        {"localhost:80", 0, AF_INET, 80, "127.0.0.1:80"},
        {"localhost", 80, AF_INET, 80, "127.0.0.1:80"},
        {"1.2.3.4:65535", 0, AF_INET, 65535, "1.2.3.4:65535"},
        {"[::1]:80", 0, AF_INET6, 80, "[::1]:80"},
        {"[::1]", 443, AF_INET6, 443, "[::1]:443"},
        {"::1", 443, AF_INET6, 443, "[::1]:443"},
        {"[::]:0", 443, AF_INET6, 0, "[::]:0"},
        {"[::ffff:1.2.3.4]:5", 0, AF_INET6, 5, "[::ffff:1.2.3.4]:5"},
        {"[fe80::1%3]:80", 0, AF_INET6, 80, "[fe80::1%3]:80"},
        {"fe80::1%3", 80, AF_INET6, 80, "[fe80::1%3]:80"},
        {"unix:/tmp/a.sock", 0, AF_UNIX, 0, "unix:/tmp/a.sock"},
        {"unix:relative", 0, AF_UNIX, 0, "unix:relative"},
        {"unix:@lab-1", 0, AF_UNIX, 0, "unix:@lab-1"},
        {"unix:@a:b@c", 0, AF_UNIX, 0, "unix:@a:b@c"},
    };
    return cr_make_param_array(struct good, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct good *row, addr, reads_and_writes)
{
    struct addr addr, again;
    struct lab_error err = {""};
    char text[ADDR_TEXT_MAX];

    cr_assert_eq(addr_parse(row->text, row->port_default, "--listen", &addr, &err), 0, "%s: %s",
                 row->text, err.text);
    cr_assert_eq(addr.sa.ss_family, row->family);
    cr_assert_eq(addr_port(&addr), row->port);
    cr_assert_eq(addr_is_unix(&addr), row->family == AF_UNIX);
    cr_assert_str_eq(addr_format(&addr, text), row->written);
    cr_assert_eq(addr_parse(text, 0, "--listen", &again, &err), 0, "%s", err.text);
    cr_assert_eq(again.size, addr.size);
    cr_assert_arr_eq(&again.sa, &addr.sa, addr.size);
}

Test(addr, a_scope_may_be_the_name_of_an_interface)
{
    const struct sockaddr_in6 *in6;
    unsigned index = if_nametoindex("lo");
    char text[ADDR_TEXT_MAX], expected[ADDR_TEXT_MAX];
    struct addr addr;

    if (index == 0)
        cr_skip("there is no lo here");
    in6 = (const struct sockaddr_in6 *)&addr.sa;
    snprintf(expected, sizeof(expected), "[fe80::1%%%u]:80", index);
    cr_assert_eq(addr_parse("[fe80::1%lo]:80", 0, "--server", &addr, NULL), 0);
    cr_assert_eq(in6->sin6_scope_id, index);
    cr_assert_str_eq(addr_format(&addr, text), expected);
    cr_assert_eq(addr_parse("fe80::1%lo", 80, "--server", &addr, NULL), 0);
    cr_assert_str_eq(addr_format(&addr, text), expected);
    /* The longest there is fits. */
    cr_assert_eq(addr_parse("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%4294967295]:65535", 0,
                            "--server", &addr, NULL),
                 0);
    cr_assert_str_eq(addr_format(&addr, text),
                     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
}

struct bad {
    char text[200];
    uint16_t port_default;
    char says[48];
};

ParameterizedTestParameters(addr, refuses)
{
    static struct bad rows[] = {
        {"", 80, "empty"},
        {"127.0.0.1", 0, "names no port"},
        {"::1", 0, "names no port"},
        {"localhost", 0, "names no port"},
        {"127.0.0.1:", 80, "port"},
        {"127.0.0.1:65536", 0, "port: 0 to 65535"},
        {"127.0.0.1:-1", 0, "port"},
        {"127.0.0.1:+1", 0, "port"},
        {"127.0.0.1: 1", 0, "port"},
        {"127.0.0.1:80x", 0, "port"},
        {"99999999999999999999", 0, "no port"},
        {"127.1:80", 0, "not a numeric address"},
        {"0127.0.0.1:80", 0, "not a numeric address"},
        {"1.2.3.4.5:80", 0, "not a numeric address"},
        {"example.org:80", 0, "not a numeric address"},
        {"[::1", 80, "not an address"},
        {"[::1]80", 80, "not an address"},
        {"[::1]:", 80, "port"},
        {"[127.0.0.1]:80", 0, "not a numeric address"},
        {"[]:80", 0, "not a numeric address"},
        {":::80", 80, "not a numeric address"},
        {"[fe80::1%]:80", 0, "a scope that is no interface"},
        {"[fe80::1%no-such-one]:80", 0, "a scope that is no interface"},
        {"[fe80::1%a-name-that-no-interface-can-have]:80", 0, "a scope that is no interface"},
        {"[fe80::1%4294967296]:80", 0, "a scope that is no number"},
        {"[fe80::1%0]:80", 0, "a scope that is no number"},
        {"[fe80::1]:80", 0, "is link-local: say on which interface"},
        {"[fe80::1%99999999999999999999999]:80", 0, "a scope that is no number"},
        {"[fe80::1%-1]:80", 0, "a scope that is no interface"},
        {"[fe80::g%lo]:80", 0, "not a numeric address"},
        {"127.0.0.1%lo:80", 0, "not a numeric address"},
        {"unix:", 0, "no path"},
        {"unix:@", 0, "no path"},
    };
    return cr_make_param_array(struct bad, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct bad *row, addr, refuses)
{
    struct addr addr = {.size = 77};
    struct lab_error err = {""};

    cr_assert_eq(addr_parse(row->text, row->port_default, "--server", &addr, &err), -EINVAL, "%s",
                 row->text);
    cr_assert_eq(addr.size, 77, "the address was touched");
    cr_assert(strstr(err.text, row->says), "%s", err.text);
    cr_assert(strstr(err.text, "--server"), "%s", err.text);
    cr_assert(strstr(err.text, "127.0.0.1:8888"), "what is accepted is not said: %s", err.text);
}

/* sun_path has 108 bytes: 107 and a NUL for a path, 107 behind the NUL for an abstract name. */
Test(addr, unix_paths_up_to_the_limit)
{
    char text[200], written[ADDR_TEXT_MAX];
    struct addr addr;

    for (size_t length = 1; length < 120; length++) {
        for (int abstract = 0; abstract < 2; abstract++) {
            int result;

            memset(text, 'x', sizeof(text));
            memcpy(text, abstract ? "unix:@" : "unix:/", 6);
            text[5 + length] = '\0';
            if (abstract && length == 1)
                continue;
            result = addr_parse(text, 0, "--listen", &addr, NULL);
            cr_assert_eq(result, length <= 107u + (unsigned)abstract ? 0 : -EINVAL, "%zu", length);
            if (result < 0)
                continue;
            cr_assert_str_eq(addr_format(&addr, written), text);
            cr_assert_eq(addr.size, offsetof(struct sockaddr_un, sun_path) + length + !abstract);
        }
    }
}

Test(addr, writes_what_peers_have)
{
    struct addr addr = {0};
    struct sockaddr_un *un = (struct sockaddr_un *)&addr.sa;
    char text[ADDR_TEXT_MAX];

    cr_assert_str_eq(addr_format(&addr, text), "");
    cr_assert_eq(addr_port(&addr), 0);
    cr_assert_not(addr_is_unix(&addr));
    /* A client that bound no name of its own. */
    un->sun_family = AF_UNIX;
    addr.size = sizeof(un->sun_family);
    cr_assert_str_eq(addr_format(&addr, text), "unix:");
    /* Abstract names may hold anything; the longest must fit. */
    memset(un->sun_path, '\n', sizeof(un->sun_path));
    un->sun_path[0] = '\0';
    un->sun_path[1] = '\0';
    addr.size = sizeof(*un);
    addr_format(&addr, text);
    cr_assert_eq(strlen(text), 5 + sizeof(un->sun_path));
    cr_assert_eq(strncmp(text, "unix:@???", 9), 0);
}
