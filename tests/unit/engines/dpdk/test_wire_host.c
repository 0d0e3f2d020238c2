/* What `lab engines dpdk` tells of a host, by a sysfs that is made up. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engines/dpdk/wire.h"

#define TEXT_SIZE 400

static char sysfs[64], text[TEXT_SIZE];

static void sysfs_open(void)
{
    strcpy(sysfs, "/tmp/lab-test-sysfs-XXXXXX");
    cr_assert_not_null(mkdtemp(sysfs));
}

static void sysfs_close(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -r %s", sysfs);
    cr_assert_eq(system(command), 0);
}

/* A path in it, with the folders that lead there. */
static const char *sysfs_path(const char *path)
{
    static char whole[512];

    snprintf(whole, sizeof(whole), "%s/%s", sysfs, path);
    for (char *at = whole + strlen(sysfs) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        mkdir(whole, 0755);
        *at = '/';
    }
    return whole;
}

static void sysfs_file(const char *path, const char *content)
{
    FILE *file = fopen(sysfs_path(path), "w");

    cr_assert_not_null(file, "%s", path);
    fputs(content, file);
    fclose(file);
}

static void sysfs_card(const char *device, const char *class, const char *driver)
{
    char path[128], target[128];

    snprintf(path, sizeof(path), "bus/pci/devices/%s/class", device);
    sysfs_file(path, class);
    if (driver == NULL)
        return;
    snprintf(target, sizeof(target), "../../../bus/pci/drivers/%s", driver);
    snprintf(path, sizeof(path), "bus/pci/devices/%s/driver", device);
    cr_assert_eq(symlink(target, sysfs_path(path)), 0);
}

static bool says(const char *part)
{
    return strstr(text, part) != NULL;
}

TestSuite(wire_host, .init = sysfs_open, .fini = sysfs_close);

Test(wire_host, nothing_is_there)
{
    cr_assert_eq(wire_host_hugepages(sysfs, text, TEXT_SIZE), 0);
    cr_assert_str_eq(text, "none, nor needed; for dpdk:huge: sudo sysctl vm.nr_hugepages=512");
    cr_assert_eq(wire_host_nics(sysfs, text, TEXT_SIZE), 0);
    cr_assert_str_eq(text, "no NIC on a PCI bus here");
    wire_host_iova(sysfs, text, TEXT_SIZE);
    cr_assert(says("no IOMMU is on"), "%s", text);
}

Test(wire_host, hugepages_of_each_size)
{
    sysfs_file("kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "3\n");
    sysfs_file("kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512\n");
    sysfs_file("kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "1\n");
    sysfs_file("kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "2\n");
    cr_assert_eq(wire_host_hugepages(sysfs, text, TEXT_SIZE), 4);
    cr_assert(says("3 of 512 of 2048 kB free"), "%s", text);
    cr_assert(says("1 of 2 of 1048576 kB free"), "%s", text);
    cr_assert_eq(wire_host_hugepages(sysfs, NULL, 0), 4, "the text is not needed");
}

Test(wire_host, hugepages_that_are_all_taken)
{
    sysfs_file("kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0\n");
    sysfs_file("kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "8\n");
    cr_assert_eq(wire_host_hugepages(sysfs, text, TEXT_SIZE), 0);
    cr_assert_str_eq(text, "0 of 8 of 2048 kB free; sudo sysctl vm.nr_hugepages=...");
}

Test(wire_host, cards_by_who_has_them)
{
    sysfs_card("0000:00:01.0", "0x010000", "nvme"); /* a disk */
    sysfs_card("0000:03:00.0", "0x020000", "vfio-pci");
    sysfs_card("0000:03:00.1", "0x020000", "ixgbe");
    sysfs_card("0000:04:00.0", "0x020700", "mlx5_core"); /* shared with the kernel */
    sysfs_card("0000:05:00.0", "0x028000", NULL);
    cr_assert_eq(wire_host_nics(sysfs, text, TEXT_SIZE), 2);
    cr_assert(says("0000:03:00.0 (vfio-pci)"), "%s", text);
    cr_assert(says("0000:03:00.1 (ixgbe)"), "%s", text);
    cr_assert(says("0000:04:00.0 (mlx5_core)"), "%s", text);
    cr_assert(says("0000:05:00.0 (no driver)"), "%s", text);
    cr_assert_not(says("0000:00:01.0"), "%s", text);
    cr_assert_not(says("--bind"), "%s", text);
}

Test(wire_host, what_to_type_where_no_card_is_ready)
{
    sysfs_card("0000:03:00.0", "0x020000", "ixgbe");
    cr_assert_eq(wire_host_nics(sysfs, text, TEXT_SIZE), 0);
    cr_assert_str_eq(text, "0000:03:00.0 (ixgbe); dpdk-devbind.py --bind=vfio-pci ADDR");
}

/* However many there are, and however short the text may be. */
Test(wire_host, many_cards_do_not_overrun_the_text)
{
    char device[32];

    for (unsigned i = 0; i < 64; i++) {
        snprintf(device, sizeof(device), "0000:%02x:00.0", i);
        sysfs_card(device, "0x020000", "ixgbe");
    }
    memset(text, 'x', sizeof(text));
    cr_assert_eq(wire_host_nics(sysfs, text, 100), 0);
    cr_assert_lt(strlen(text), 100);
    cr_assert_eq(text[100], 'x');
    /* What to type is not what is left out. */
    cr_assert(says(", ...; dpdk-devbind.py --bind=vfio-pci ADDR"), "%s", text);
    sysfs_card("0000:aa:00.0", "0x020000", "vfio-pci");
    cr_assert_eq(wire_host_nics(sysfs, text, 100), 1);
    cr_assert_lt(strlen(text), 100);
}

Test(wire_host, an_iommu)
{
    sysfs_file("kernel/iommu_groups/0/type", "DMA\n");
    wire_host_iova(sysfs, text, TEXT_SIZE);
    cr_assert_str_eq(text, "virtual addresses, through the IOMMU");
}
