/* CPUs for two sides, on hosts of all shapes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "fake_host.h"
#include "run/pin.h"

TestSuite(pin, .timeout = 20);

struct choice {
    int r;
    char server[PIN_TEXT_MAX], client[PIN_TEXT_MAX];
};

static cpu_set_t set_of(unsigned from, unsigned to)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    for (unsigned cpu = from; cpu <= to; cpu++)
        CPU_SET(cpu, &set);
    return set;
}

static struct choice choose(const struct fake_host *host, const cpu_set_t *mine, unsigned servers,
                            unsigned clients, const char *server_given, const char *client_given)
{
    const struct pin_request request = {host->root, mine,         servers,
                                        clients,    server_given, client_given};
    struct choice choice;

    choice.r = pin_choose(&request, choice.server, choice.client);
    return choice;
}

static void expect(struct choice choice, const char *server, const char *client)
{
    cr_assert_eq(choice.r, 0);
    cr_assert_str_eq(choice.server, server);
    cr_assert_str_eq(choice.client, client);
}

/* Two packages of four cores, two threads each: CPU n and n + 8 share a core. */
static void server_host(struct fake_host *host)
{
    fake_host_make(host);
    for (unsigned cpu = 0; cpu < 16; cpu++)
        fake_host_cpu(host, cpu, cpu % 8 / 4, cpu % 4);
}

Test(pin, one_each_on_cores_of_their_own)
{
    struct fake_host host;
    cpu_set_t all = set_of(0, 3);

    fake_host_make(&host); /* a laptop: 0 and 1 are one core */
    for (unsigned cpu = 0; cpu < 4; cpu++)
        fake_host_cpu(&host, cpu, 0, cpu / 2);
    expect(choose(&host, &all, 1, 1, NULL, NULL), "0", "2");
    expect(choose(&host, &all, 2, 2, NULL, NULL), "0-1", "2-3");
    expect(choose(&host, &all, 1, 3, NULL, NULL), "0", "1-3");
    fake_host_remove(&host);
}

Test(pin, threads_get_a_core_each_in_one_package_while_it_has_some)
{
    struct fake_host host;
    cpu_set_t all = set_of(0, 15);

    server_host(&host);
    expect(choose(&host, &all, 1, 1, NULL, NULL), "0", "1");
    expect(choose(&host, &all, 2, 2, NULL, NULL), "0-1", "2-3");
    expect(choose(&host, &all, 1, 4, NULL, NULL), "0", "1-4");
    expect(choose(&host, &all, 4, 4, NULL, NULL), "0-3", "4-7");
    expect(choose(&host, &all, 4, 6, NULL, NULL), "0-2,8", "3-7,11");
    expect(choose(&host, &all, 8, 8, NULL, NULL), "0-3,8-11", "4-7,12-15");
    fake_host_remove(&host);
}

Test(pin, a_package_comes_first_even_from_its_middle)
{
    struct fake_host host;
    cpu_set_t second = set_of(4, 15);

    server_host(&host);
    expect(choose(&host, &second, 1, 1, NULL, NULL), "4", "5");
    expect(choose(&host, &second, 3, 3, NULL, NULL), "4-6", "7-9");
    fake_host_remove(&host);
}

Test(pin, too_few_for_all_are_shared_out)
{
    struct fake_host host;
    cpu_set_t four = set_of(0, 3), two = set_of(6, 7), one = set_of(5, 5);

    server_host(&host);
    expect(choose(&host, &four, 8, 8, NULL, NULL), "0-1", "2-3");
    expect(choose(&host, &four, 1, 64, NULL, NULL), "0", "1-3");
    expect(choose(&host, &four, 64, 1, NULL, NULL), "0-2", "3");
    expect(choose(&host, &two, 4, 4, NULL, NULL), "6", "7");
    struct choice none = choose(&host, &one, 1, 1, NULL, NULL);
    cr_assert_eq(none.r, -ENODEV);
    cr_assert_str_eq(none.server, "");
    cr_assert_str_eq(none.client, "");
    fake_host_remove(&host);
}

Test(pin, a_side_that_was_given_its_cpus_keeps_them)
{
    struct fake_host host;
    cpu_set_t all = set_of(0, 15), two = set_of(0, 1);

    server_host(&host);
    expect(choose(&host, &all, 1, 1, "5", NULL), "5", "4");
    expect(choose(&host, &all, 1, 1, NULL, "0"), "1", "0");
    expect(choose(&host, &all, 1, 2, "4-7", NULL), "4-7", "0-1");
    expect(choose(&host, &all, 1, 1, "3", "11"), "3", "11");
    expect(choose(&host, &two, 1, 4, "0", NULL), "0", "1");
    struct choice none = choose(&host, &two, 1, 1, "0-1", NULL);
    cr_assert_eq(none.r, -ENODEV, "nothing is left for the client");
    cr_assert_str_eq(none.server, "0-1");
    cr_assert_str_eq(none.client, "");
    fake_host_remove(&host);
}

/* No topology to be read: each CPU counts as a core. */
Test(pin, an_unknown_topology)
{
    struct fake_host host;
    cpu_set_t all = set_of(2, 5);

    fake_host_make(&host);
    expect(choose(&host, &all, 1, 1, NULL, NULL), "2", "3");
    expect(choose(&host, &all, 2, 2, NULL, NULL), "2-3", "4-5");
    fake_host_remove(&host);
}

Test(pin, a_case_with_fewer_threads_takes_the_first)
{
    char out[PIN_TEXT_MAX];

    pin_part("0-1,8-9", 0, 1, out);
    cr_assert_str_eq(out, "0");
    pin_part("0-1,8-9", 0, 3, out);
    cr_assert_str_eq(out, "0-1,8");
    pin_part("4", 0, 9, out);
    cr_assert_str_eq(out, "4");
    pin_part("0-1,8-9", 2, 2, out);
    cr_assert_str_eq(out, "8-9");
    pin_part("0-1,8-9", 3, 2, out);
    cr_assert_str_eq(out, "0-1", "there are no two from there on");
}

Test(pin, lists_are_written_in_ranges)
{
    char out[PIN_TEXT_MAX], small[16];
    cpu_set_t set;

    CPU_ZERO(&set);
    cr_assert_str_eq(pin_format(&set, out, sizeof(out)), "");
    CPU_SET(0, &set);
    CPU_SET(2, &set);
    CPU_SET(3, &set);
    CPU_SET(1023, &set);
    cr_assert_str_eq(pin_format(&set, out, sizeof(out)), "0,2-3,1023");
    for (unsigned cpu = 0; cpu < 1024; cpu += 2)
        CPU_SET(cpu, &set);
    pin_format(&set, small, sizeof(small));
    cr_assert(strlen(small) < sizeof(small));
}
