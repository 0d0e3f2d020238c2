/* See fake_host.h. */
#include "fake_host.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void fake_host_make(struct fake_host *host)
{
    strcpy(host->root, "/tmp/lab-fake-host-XXXXXX");
    if (mkdtemp(host->root) == NULL)
        abort();
}

void fake_host_write(const struct fake_host *host, const char *path, const char *text)
{
    char whole[512];

    snprintf(whole, sizeof(whole), "%s%s", host->root, path);
    for (char *slash = strchr(whole + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(whole, 0700);
        *slash = '/';
    }
    FILE *file = fopen(whole, "w");
    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
        abort();
}

void fake_host_cpu(const struct fake_host *host, unsigned cpu, unsigned package, unsigned core)
{
    char path[256], number[32];

    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/physical_package_id", cpu);
    snprintf(number, sizeof(number), "%u\n", package);
    fake_host_write(host, path, number);
    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/core_id", cpu);
    snprintf(number, sizeof(number), "%u\n", core);
    fake_host_write(host, path, number);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
    return remove(path);
}

void fake_host_remove(struct fake_host *host)
{
    nftw(host->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
