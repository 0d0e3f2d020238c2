/* Sockets: the options that all kernel engines share, and unix paths that are left behind. */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "engines/sock.h"

TestSuite(sock, .timeout = 10);

static struct engine_common common;
static struct lab_error err;
static uint64_t calls;
static char folder[] = "/tmp/lab-sock-XXXXXX";

static struct engine_config config_make(void)
{
    common = (struct engine_common){0};
    return (struct engine_config){.options = &common};
}

static struct addr address(const char *text)
{
    struct addr addr;
    cr_assert_eq(addr_parse(text, 0, "--listen", &addr, &err), 0, "%s", err.text);
    return addr;
}

static struct addr unix_path(const char *name)
{
    char text[ADDR_TEXT_MAX];

    if (strstr(folder, "XXXXXX") != NULL)
        cr_assert_not_null(mkdtemp(folder));
    snprintf(text, sizeof(text), "unix:%s/%s", folder, name);
    return address(text);
}

static const char *path_of(const struct addr *addr)
{
    return ((const struct sockaddr_un *)&addr->sa)->sun_path;
}

static int get(int fd, int level, int option)
{
    int value = -1;
    socklen_t size = sizeof(value);
    cr_assert_eq(getsockopt(fd, level, option, &value, &size), 0);
    return value;
}

Test(sock, options_are_set_on_listeners_and_connecting_sockets)
{
    struct engine_config config = config_make();
    struct sock_listener listener;
    struct addr any = address("127.0.0.1:0");
    char cc[16];
    socklen_t size = sizeof(cc);

    common.sndbuf = common.rcvbuf = 16384;
    config.cc = "reno";
    cr_assert_eq(sock_listen(&listener, &any, &config, 0, &err), 0, "%s", err.text);
    cr_assert_neq(addr_port(&listener.bound), 0);
    int fd = sock_open(&listener.bound, NULL, &config, 0, &calls);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&listener.bound.sa, listener.bound.size), 0);
    int accepted = accept(listener.fd, NULL, NULL);
    for (unsigned i = 0; i < 2; i++) {
        int one = i == 0 ? fd : accepted;
        cr_assert_neq(get(one, IPPROTO_TCP, TCP_NODELAY), 0);
        cr_assert_eq(get(one, SOL_SOCKET, SO_SNDBUF), 2 * 16384, "inherited");
        cr_assert_eq(get(one, SOL_SOCKET, SO_RCVBUF), 2 * 16384);
        cr_assert_eq(getsockopt(one, IPPROTO_TCP, TCP_CONGESTION, cc, &size), 0);
        cr_assert_str_eq(cc, "reno");
    }
    close(fd);
    close(accepted);
    sock_listener_close(&listener);
}

Test(sock, a_port_in_use_is_said)
{
    struct engine_config config = config_make();
    struct sock_listener first, second;
    struct addr any = address("127.0.0.1:0");

    cr_assert_eq(sock_listen(&first, &any, &config, 0, &err), 0);
    cr_assert_eq(sock_listen(&second, &first.bound, &config, 0, &err), -EADDRINUSE);
    cr_assert_not_null(strstr(err.text, "another process does"), "%s", err.text);
    config.reuseport = true;
    sock_listener_close(&first);
    cr_assert_eq(sock_listen(&first, &any, &config, 0, &err), 0);
    cr_assert_eq(sock_listen(&second, &first.bound, &config, 0, &err), 0, "%s", err.text);
    sock_listener_close(&first);
    sock_listener_close(&second);
}

Test(sock, an_address_of_another_host_is_said)
{
    struct engine_config config = config_make();
    struct sock_listener listener;
    struct addr far = address("192.0.2.1:80");

    cr_assert_eq(sock_listen(&listener, &far, &config, 0, &err), -EADDRNOTAVAIL);
    cr_assert_not_null(strstr(err.text, "192.0.2.1:80"), "%s", err.text);
}

Test(sock, a_stale_unix_path_is_taken_over_and_a_live_one_is_not)
{
    struct engine_config config = config_make();
    struct sock_listener first, second;
    struct addr path = unix_path("stale");

    cr_assert_eq(sock_listen(&first, &path, &config, 0, &err), 0, "%s", err.text);
    cr_assert_eq(sock_listen(&second, &path, &config, 0, &err), -EADDRINUSE, "it is alive");
    close(first.fd); /* as if killed */
    cr_assert_eq(access(path_of(&path), F_OK), 0);
    cr_assert_eq(sock_listen(&second, &path, &config, 0, &err), 0, "%s", err.text);
    unlink(path_of(&path));
    cr_assert_eq(sock_listen(&first, &path, &config, 0, &err), 0, "%s", err.text);
    sock_listener_close(&second);
    cr_assert_eq(access(path_of(&path), F_OK), 0, "that file is the first's");
    sock_listener_close(&first);
    cr_assert_neq(access(path_of(&path), F_OK), 0);
    rmdir(folder);
}

Test(sock, a_file_that_is_no_socket_is_left_alone)
{
    struct engine_config config = config_make();
    struct sock_listener listener;
    struct addr path = unix_path("file");
    FILE *file = fopen(path_of(&path), "w");

    cr_assert_not_null(file);
    fclose(file);
    cr_assert_eq(sock_listen(&listener, &path, &config, 0, &err), -EADDRINUSE);
    cr_assert_eq(access(path_of(&path), F_OK), 0);
    unlink(path_of(&path));
    rmdir(folder);
}

Test(sock, abstract_unix_sockets_leave_nothing)
{
    struct engine_config config = config_make();
    struct sock_listener listener;
    char text[ADDR_TEXT_MAX];

    snprintf(text, sizeof(text), "unix:@lab-test-%d", getpid());
    struct addr abstract = address(text);
    cr_assert_eq(sock_listen(&listener, &abstract, &config, 0, &err), 0, "%s", err.text);
    int fd = sock_open(&abstract, NULL, &config, 0, &calls);
    cr_assert_eq(connect(fd, (struct sockaddr *)&abstract.sa, abstract.size), 0);
    close(fd);
    sock_listener_close(&listener);
}

Test(sock, many_connections_share_a_local_address)
{
    struct engine_config config = config_make();
    struct sock_listener listener;
    struct addr any = address("127.0.0.1:0"), local = address("127.0.0.2:0");

    cr_assert_eq(sock_listen(&listener, &any, &config, 0, &err), 0);
    int fd = sock_open(&listener.bound, &local, &config, 0, &calls);
    cr_assert_geq(fd, 0);
    struct addr name = {.size = sizeof(name.sa)};
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&name.sa, &name.size), 0);
    cr_assert_eq(addr_port(&name), 0, "no port is taken before connect");
    cr_assert_eq(connect(fd, (struct sockaddr *)&listener.bound.sa, listener.bound.size), 0);
    name.size = sizeof(name.sa);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&name.sa, &name.size), 0);
    cr_assert_eq(((struct sockaddr_in *)&name.sa)->sin_addr.s_addr, htonl(0x7f000002));
    close(fd);
    sock_listener_close(&listener);
}

Test(sock, probing_says_what_cannot_be_had)
{
    struct engine_config config = config_make();
    struct engine_caps caps = {0};

    cr_assert_eq(sock_probe(&config, &caps, &err), 0);
    cr_assert_eq(caps.count, 0);
    config.cc = "no-such";
    cr_assert_lt(sock_probe(&config, &caps, &err), 0);
    cr_assert_not_null(strstr(err.text, "no-such"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "reno"), "%s", err.text);
    config.cc = NULL;
    common.sndbuf = 1;
    common.rcvbuf = 16384;
    cr_assert_eq(sock_probe(&config, &caps, &err), 0);
    cr_assert_eq(caps.count, 2);
    cr_assert_eq(caps.list[0].state, CAP_EMULATED, "the kernel has a least size");
    cr_assert_eq(caps.list[1].state, CAP_NATIVE);
}

Test(sock, accept_errors_are_told_apart)
{
    cr_assert(sock_accept_must_pause(EMFILE) && sock_accept_must_pause(ENFILE));
    cr_assert(sock_accept_must_pause(ENOMEM) && sock_accept_must_pause(ENOBUFS));
    cr_assert_not(sock_accept_must_pause(EAGAIN));
    cr_assert_not(sock_accept_must_pause(ECONNABORTED));
    cr_assert(sock_connect_failed_here(EADDRNOTAVAIL));
    cr_assert_not(sock_connect_failed_here(ECONNREFUSED));
    cr_assert_eq(sock_reason(ECONNRESET), ENGINE_CLOSED_RESET);
    cr_assert_eq(sock_reason(ETIMEDOUT), ENGINE_CLOSED_ERROR);
}

Test(sock, the_pause_after_a_failed_accept_doubles)
{
    struct sock_backoff backoff = {0};
    const uint64_t ms = 1000000;

    cr_assert_eq(sock_backoff_next_ns(&backoff), 10 * ms);
    cr_assert_eq(sock_backoff_next_ns(&backoff), 20 * ms);
    cr_assert_eq(sock_backoff_next_ns(&backoff), 40 * ms);
    cr_assert_eq(sock_backoff_next_ns(&backoff), 80 * ms);
    cr_assert_eq(sock_backoff_next_ns(&backoff), 100 * ms);
    cr_assert_eq(sock_backoff_next_ns(&backoff), 100 * ms);
    sock_backoff_reset(&backoff);
    cr_assert_eq(sock_backoff_next_ns(&backoff), 10 * ms);
}
