/* What of this host DPDK could use: drivers, NICs, hugepages. Reads only; starts nothing. */
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <rte_build_config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engines/dpdk/wire.h"

#define PCI_DEVICES "/bus/pci/devices"
#define HUGEPAGES   "/kernel/mm/hugepages"
#define PATH_ROOM   (OPTION_TEXT_MAX + 320)

#define HUGEPAGES_NONE "none, nor needed; for dpdk:huge: sudo sysctl vm.nr_hugepages=512"
#define NICS_MORE      ", ..."
#define NICS_TYPE      "; dpdk-devbind.py --bind=vfio-pci ADDR"

static void pci_driver(const char *sysfs, const char *device, char *name, size_t size)
{
    char path[PATH_ROOM], target[OPTION_TEXT_MAX] = "";

    snprintf(path, sizeof(path), "%s" PCI_DEVICES "/%s/driver", sysfs, device);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    const char *last = n > 0 ? strrchr(target, '/') : NULL;
    snprintf(name, size, "%s", last != NULL ? last + 1 : "");
}

static bool pci_is_nic(const char *sysfs, const char *device)
{
    char path[PATH_ROOM];
    unsigned class = 0;

    snprintf(path, sizeof(path), "%s" PCI_DEVICES "/%s/class", sysfs, device);
    FILE *file = fopen(path, "re");
    if (file != NULL && fscanf(file, "%x", &class) != 1)
        class = 0;
    if (file != NULL)
        fclose(file);
    return class >> 16 == 0x02; /* a network controller */
}

static bool driver_is_dpdks(const char *driver)
{
    return strcmp(driver, "vfio-pci") == 0 || strcmp(driver, "uio_pci_generic") == 0 ||
           strcmp(driver, "igb_uio") == 0 || strncmp(driver, "mlx", 3) == 0;
}

/* --- rights --- */

#define RIGHT_NET_ADMIN 12u /* numbers as in <linux/capability.h> */
#define RIGHT_NET_RAW   13u
#define RIGHT_SYS_ADMIN 21u

static bool has_right(unsigned number)
{
    unsigned long long effective = 0;
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        sscanf(line, "CapEff: %llx", &effective);
    if (file == NULL)
        return true; /* it will be seen */
    fclose(file);
    return (effective >> number & 1) != 0;
}

/* Not the host's own, of which every user is the same one inside and outside. */
static bool in_user_namespace(void)
{
    unsigned long inside = 0, outside = 0, count = UINT32_MAX;
    FILE *file = fopen("/proc/self/uid_map", "re");

    if (file != NULL && fscanf(file, "%lu %lu %lu", &inside, &outside, &count) != 3)
        count = 0;
    if (file != NULL)
        fclose(file);
    return inside != 0 || outside != 0 || count != UINT32_MAX;
}

static int probe_right(const char *what, unsigned number, const char *name, struct lab_error *err)
{
    if (has_right(number))
        return 0;
    return lab_fail(err, EPERM, "%s needs %s: run as root, or in a user namespace (unshare -Urn)",
                    what, name);
}

/* The kernel asks the host's own root for such a program. */
static int probe_af_xdp(struct lab_error *err)
{
    if (has_right(RIGHT_SYS_ADMIN) && has_right(RIGHT_NET_ADMIN) && !in_user_namespace())
        return 0;
    return lab_fail(err, EPERM,
                    "af_xdp loads a BPF program, which needs CAP_SYS_ADMIN on the host itself, not "
                    "in a user namespace: run as root, or take via=af_packet");
}

/* --- devices --- */

/* Debian's DPDK finds its drivers in this folder; where there is none they are part of it. */
static int probe_driver(const char *name, struct lab_error *err)
{
    size_t size = strlen(name);
    DIR *dir = opendir(RTE_EAL_PMD_PATH);
    struct dirent *entry;
    bool there = dir == NULL;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        there = there || (strncmp(entry->d_name, name, size) == 0 && entry->d_name[size] == '.');
    if (dir != NULL)
        closedir(dir);
    if (there)
        return 0;
    return lab_fail(err, ENOENT,
                    "DPDK's driver %s.so is not in " RTE_EAL_PMD_PATH
                    ": install the whole of DPDK (apt install libdpdk-dev)",
                    name);
}

static int probe_drivers(enum wire_driver driver, struct lab_error *err)
{
    static const char *const names[] = {
        [WIRE_MEMIF] = "librte_net_memif",
        [WIRE_TAP] = "librte_net_tap",
        [WIRE_AF_PACKET] = "librte_net_af_packet",
        [WIRE_AF_XDP] = "librte_net_af_xdp",
        [WIRE_PCI] = "librte_bus_pci",
    };
    int r = probe_driver("librte_mempool_ring", err);

    if (r == 0 && driver != WIRE_PCI)
        r = probe_driver("librte_bus_vdev", err);
    return r == 0 ? probe_driver(names[driver], err) : r;
}

static int probe_interface(const struct wire_config *config, const char *how, struct lab_error *err)
{
    if (config->device[0] == '\0' || if_nametoindex(config->device) != 0)
        return 0;
    return lab_fail(err, ENODEV, "%s: there is no such interface here for %s", config->device, how);
}

static int probe_pci(const struct wire_config *config, struct lab_error *err)
{
    char path[PATH_ROOM], name[64];

    snprintf(path, sizeof(path), WIRE_SYSFS PCI_DEVICES "/%s", config->device);
    if (access(path, F_OK) < 0)
        return lab_fail(err, ENODEV, "%s: no such PCI device here; `lspci -D` lists them",
                        config->device);
    pci_driver(WIRE_SYSFS, config->device, name, sizeof(name));
    if (driver_is_dpdks(name)) /* Mellanox's share the device with the kernel's */
        return 0;
    return lab_fail(err, EBUSY,
                    "%s belongs to %s%s: bind it to vfio-pci first (dpdk-devbind.py "
                    "--bind=vfio-pci %s), see docs/dpdk-on-a-nic.md",
                    config->device, name[0] != '\0' ? "the driver " : "no driver", name,
                    config->device);
}

/* What a run makes for itself is not there yet, nor the right to use it, and both will be. */
static bool to_be_made(const struct wire_config *config)
{
    return config->link != NULL && config->link->to_be_made;
}

static int probe_device(const struct wire_config *config, struct lab_error *err)
{
    int r = 0;

    switch (config->driver) {
    case WIRE_MEMIF: return 0;
    case WIRE_TAP:
        if (access("/dev/net/tun", F_OK) < 0)
            return lab_fail(err, ENODEV, "tap: there is no /dev/net/tun here: modprobe tun");
        return to_be_made(config)
                   ? 0
                   : probe_right("a tap device", RIGHT_NET_ADMIN, "CAP_NET_ADMIN", err);
    case WIRE_AF_PACKET:
        if (to_be_made(config))
            return 0;
        r = probe_right("af_packet", RIGHT_NET_RAW, "CAP_NET_RAW", err);
        return r < 0 ? r : probe_interface(config, "af_packet", err);
    case WIRE_AF_XDP:
        r = probe_af_xdp(err);
        return r < 0 || to_be_made(config) ? r : probe_interface(config, "af_xdp", err);
    case WIRE_PCI: return probe_pci(config, err);
    }
    return 0;
}

static int probe_memory(const struct wire_config *config, struct lab_error *err)
{
    if (config->mtu < LINK_MTU_LEAST)
        return lab_fail(err, EINVAL, "mtu=%u: at least %u", config->mtu, LINK_MTU_LEAST);
    if (config->mtu > WIRE_MTU_MOST)
        return lab_fail(err, EINVAL, "mtu=%u: at most %u", config->mtu, WIRE_MTU_MOST);
    if (config->mbufs < 2 * config->ring)
        return lab_fail(err, EINVAL,
                        "mbufs=%u are too few for rings of %u: at least %u, or a smaller ring=",
                        config->mbufs, config->ring, 2 * config->ring);
    if (config->huge && wire_host_hugepages(WIRE_SYSFS, NULL, 0) == 0)
        return lab_fail(err, ENOMEM,
                        "huge: no hugepage is free here: echo 512 | sudo tee "
                        "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
    return 0;
}

int wire_probe(const struct wire_config *config, struct lab_error *err)
{
    int r = probe_memory(config, err);

    if (r == 0)
        r = wire_eal_check(config, err);
    if (r == 0)
        r = probe_device(config, err);
    return r == 0 ? probe_drivers(config->driver, err) : r;
}

unsigned wire_host_hugepages(const char *sysfs, char *text, size_t size)
{
    unsigned free_pages = 0, all = 0;
    struct dirent *entry;
    char path[PATH_ROOM], kinds[256] = "";

    snprintf(path, sizeof(path), "%s" HUGEPAGES, sysfs);
    DIR *dir = opendir(path);

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        unsigned kb, now = 0, of = 0;
        if (sscanf(entry->d_name, "hugepages-%ukB", &kb) != 1)
            continue;
        for (unsigned i = 0; i < 2; i++) {
            snprintf(path, sizeof(path), "%s" HUGEPAGES "/%s/%s", sysfs, entry->d_name,
                     i == 0 ? "free_hugepages" : "nr_hugepages");
            FILE *file = fopen(path, "re");
            if (file != NULL && fscanf(file, "%u", i == 0 ? &now : &of) != 1)
                now = 0;
            if (file != NULL)
                fclose(file);
        }
        size_t used = strlen(kinds);
        snprintf(kinds + used, sizeof(kinds) - used, "%s%u of %u of %u kB free",
                 used > 0 ? ", " : "", now, of, kb);
        free_pages += now;
        all += of;
    }
    if (dir != NULL)
        closedir(dir);
    if (size > 0)
        snprintf(text, size, "%s%s", all == 0 ? HUGEPAGES_NONE : kinds,
                 all > 0 && free_pages == 0 ? "; sudo sysctl vm.nr_hugepages=..." : "");
    return free_pages;
}

unsigned wire_host_nics(const char *sysfs, char *text, size_t size)
{
    const size_t rest = sizeof(NICS_MORE) + sizeof(NICS_TYPE);
    struct dirent *entry;
    unsigned ready = 0, all = 0;
    char path[PATH_ROOM], driver[64], one[320];
    bool more = false;

    snprintf(path, sizeof(path), "%s" PCI_DEVICES, sysfs);
    DIR *dir = opendir(path);
    text[0] = '\0';
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.' || !pci_is_nic(sysfs, entry->d_name))
            continue;
        size_t used = strlen(text);
        pci_driver(sysfs, entry->d_name, driver, sizeof(driver));
        ready += driver_is_dpdks(driver);
        int length = snprintf(one, sizeof(one), "%s%s (%s)", all++ > 0 ? ", " : "", entry->d_name,
                              driver[0] != '\0' ? driver : "no driver");
        more = more || used + (size_t)length + rest > size;
        if (!more)
            memcpy(text + used, one, (size_t)length + 1);
    }
    if (dir != NULL)
        closedir(dir);
    if (all == 0)
        snprintf(text, size, "no NIC on a PCI bus here");
    else
        snprintf(text + strlen(text), size - strlen(text), "%s%s", more ? NICS_MORE : "",
                 ready == 0 ? NICS_TYPE : "");
    return ready;
}

void wire_host_iova(const char *sysfs, char *text, size_t size)
{
    struct dirent *entry;
    bool iommu = false;
    char path[PATH_ROOM];

    snprintf(path, sizeof(path), "%s/kernel/iommu_groups", sysfs);
    DIR *dir = opendir(path);
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        iommu = iommu || entry->d_name[0] != '.';
    if (dir != NULL)
        closedir(dir);
    snprintf(text, size, "%s",
             iommu ? "virtual addresses, through the IOMMU"
                   : "virtual addresses without a NIC; for one, no IOMMU is on");
}
