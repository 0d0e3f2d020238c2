/* A folder that stands for / : files of /proc and /sys as a test wants them. */
#ifndef LAB_TESTS_FAKE_HOST_H
#define LAB_TESTS_FAKE_HOST_H

struct fake_host {
    char root[64];
};

void fake_host_make(struct fake_host *host);
/* Writes a file, its folders too; path begins with a slash. */
void fake_host_write(const struct fake_host *host, const char *path, const char *text);
/* A CPU's place in the topology. */
void fake_host_cpu(const struct fake_host *host, unsigned cpu, unsigned package, unsigned core);
void fake_host_remove(struct fake_host *host);

#endif
