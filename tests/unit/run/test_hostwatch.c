/* Reading the kernel's counters, from files as kernels write them and as none does. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "fake_host.h"
#include "run/hostwatch.h"

TestSuite(hostwatch, .timeout = 20);

static struct hostwatch *take(const struct fake_host *host)
{
    struct hostwatch *watch = calloc(1, sizeof(*watch));

    hostwatch_take(watch, host->root, 0, 0);
    return watch;
}

Test(hostwatch, cpus_from_proc_stat)
{
    struct fake_host host;

    fake_host_make(&host);
    fake_host_write(&host, "/proc/stat",
                    "cpu  30 0 30 100 0 0 0 3 0 0\n"
                    "cpu0 10 1 20 50 7 3 4 2 0 0\n"
                    "cpu1 20 0 10 50 0 0 0 1 0 0\n"
                    "cpu99999 1 1 1 1 1 1 1 1 1 1\n"
                    "intr 12345 1 2 3\nctxt 99\n");
    struct hostwatch *watch = take(&host);
    cr_assert(watch->has_stat);
    cr_assert(!watch->has_listen_drops && !watch->has_syn_retries);
    cr_assert_eq(watch->busy_ns[0], 38 * watch->tick_ns, "without idle, iowait and steal");
    cr_assert_eq(watch->steal_ns[0], 2 * watch->tick_ns);
    cr_assert_eq(watch->busy_ns[1], 30 * watch->tick_ns);
    cr_assert_eq(watch->steal_ns[1], watch->tick_ns);
    cr_assert(watch->at_ns > 0 && watch->tick_ns > 0);
    free(watch);
    fake_host_remove(&host);
}

/* Kernels before 2.6.11 had no steal; a line that is cut short is none. */
Test(hostwatch, lines_that_are_short)
{
    struct fake_host host;

    fake_host_make(&host);
    fake_host_write(&host, "/proc/stat", "cpu0 10 0 10 50\ncpu1 5 5\ncpu2\n");
    struct hostwatch *watch = take(&host);
    cr_assert_eq(watch->busy_ns[0], 20 * watch->tick_ns);
    cr_assert_eq(watch->steal_ns[0], 0);
    cr_assert_eq(watch->busy_ns[1], 0);
    free(watch);
    fake_host_remove(&host);
}

Test(hostwatch, drops_and_repeated_syns_by_their_names)
{
    struct fake_host host;

    fake_host_make(&host);
    fake_host_write(&host, "/proc/net/netstat",
                    "MPTcpExt: ListenDrops\nMPTcpExt: 77\n"
                    "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPSynRetrans\n"
                    "TcpExt: 1 2 3 4\n"
                    "IpExt: InNoRoutes\nIpExt: 9\n");
    struct hostwatch *watch = take(&host);
    cr_assert(watch->has_listen_drops && watch->has_syn_retries);
    cr_assert_eq(watch->listen_drops, 3);
    cr_assert_eq(watch->syn_retries, 4);
    free(watch);
    fake_host_remove(&host);
}

Test(hostwatch, each_side_in_its_own_network_namespace)
{
    struct hostwatch *watch = calloc(1, sizeof(*watch));
    struct fake_host host;

    fake_host_make(&host);
    fake_host_write(&host, "/proc/7/net/netstat",
                    "TcpExt: ListenDrops TCPSynRetrans\nTcpExt: 1 2\n");
    fake_host_write(&host, "/proc/8/net/netstat",
                    "TcpExt: ListenDrops TCPSynRetrans\nTcpExt: 3 4\n");
    hostwatch_take(watch, host.root, 7, 8);
    cr_assert_eq(watch->listen_drops, 1);
    cr_assert_eq(watch->syn_retries, 4);
    hostwatch_take(watch, host.root, -1, 7);
    cr_assert(!watch->has_listen_drops, "the server is on another host");
    cr_assert_eq(watch->syn_retries, 2);
    free(watch);
    fake_host_remove(&host);
}

Test(hostwatch, netstat_with_fewer_values_than_names)
{
    struct fake_host host;

    fake_host_make(&host);
    fake_host_write(&host, "/proc/net/netstat", "TcpExt: A ListenDrops TCPSynRetrans\nTcpExt: 1\n");
    struct hostwatch *watch = take(&host);
    cr_assert(!watch->has_listen_drops && !watch->has_syn_retries);
    free(watch);
    fake_host_write(&host, "/proc/net/netstat", "TcpExt: A ListenDrops");
    watch = take(&host);
    cr_assert(!watch->has_listen_drops);
    free(watch);
    fake_host_remove(&host);
}

Test(hostwatch, swapping)
{
    struct fake_host host;

    fake_host_make(&host);
    fake_host_write(&host, "/proc/vmstat", "nr_free_pages 5\npswpin 3\npswpout 4\npgfault 8\n");
    struct hostwatch *watch = take(&host);
    cr_assert_eq(watch->swapped_pages, 7);
    free(watch);
    fake_host_remove(&host);
}

Test(hostwatch, frequencies_of_few_cpus)
{
    struct fake_host host;

    fake_host_make(&host);
    fake_host_write(&host, "/sys/devices/system/cpu/cpu3/cpufreq/scaling_cur_freq", "2400000\n");
    struct hostwatch *watch = take(&host);
    hostwatch_frequencies(watch, host.root, "2-3");
    cr_assert_eq(watch->khz[2], 0, "not observed");
    cr_assert_eq(watch->khz[3], 2400000);
    watch->khz[3] = 0;
    hostwatch_frequencies(watch, host.root, "0-63");
    cr_assert_eq(watch->khz[3], 0, "so many are not asked");
    free(watch);
    fake_host_remove(&host);
}

Test(hostwatch, a_host_without_any_of_it)
{
    struct fake_host host;

    fake_host_make(&host);
    struct hostwatch *watch = take(&host);
    cr_assert(!watch->has_stat && !watch->has_listen_drops && !watch->has_syn_retries);
    free(watch);
    fake_host_remove(&host);
}
