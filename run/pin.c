/* See pin.h: different physical cores, since two threads of one core slow each other down. */
#include "run/pin.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "run/run.h"

/* package and core of a CPU; -1 where it cannot be read. */
static long topology(const char *root, unsigned cpu, const char *what)
{
    char path[512];
    long number = -1;

    snprintf(path, sizeof(path), "%s/sys/devices/system/cpu/cpu%u/topology/%s", root, cpu, what);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    if (fscanf(file, "%ld", &number) != 1)
        number = -1;
    fclose(file);
    return number;
}

int pin_choose_among(const unsigned *cpus, size_t count, const char *root, char *server,
                     size_t server_size, char *client, size_t client_size)
{
    server[0] = client[0] = '\0';
    if (count < 2)
        return -ENODEV;
    size_t other = 1;
    long package = topology(root, cpus[0], "physical_package_id");
    long core = topology(root, cpus[0], "core_id");
    /* The same package keeps one cache between them; another core of it comes first. */
    for (size_t i = 1; i < count; i++)
        if (topology(root, cpus[i], "core_id") != core &&
            topology(root, cpus[i], "physical_package_id") == package) {
            other = i;
            break;
        }
    snprintf(server, server_size, "%u", cpus[0]);
    snprintf(client, client_size, "%u", cpus[other]);
    return 0;
}

int run_pin_choose(char *server, size_t server_size, char *client, size_t client_size)
{
    unsigned cpus[CPU_SETSIZE];
    size_t count = 0;
    cpu_set_t set;

    server[0] = client[0] = '\0';
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return -errno;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set))
            cpus[count++] = cpu;
    return pin_choose_among(cpus, count, "", server, server_size, client, client_size);
}
