/*
 * Feeds each file of the folders named on the command line to a libFuzzer target, so that a
 * corpus is a regression test with any compiler. Each input is followed by a page that cannot
 * be read: a decoder that looks too far crashes even without a sanitizer.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void die(const char *path)
{
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    exit(1);
}

static void replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat info;
    if (!file || fstat(fileno(file), &info) != 0)
        die(path);

    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (size_t)info.st_size;
    size_t room = (size + page - 1) / page * page;
    uint8_t *map =
        mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map + room, page, PROT_NONE) != 0)
        die(path);
    uint8_t *data = map + room - size;
    if (fread(data, 1, size, file) != size)
        die(path);
    LLVMFuzzerTestOneInput(data, size);
    munmap(map, room + page);
    fclose(file);
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (!folder)
            die(argv[i]);
        for (struct dirent *entry; (entry = readdir(folder));) {
            char path[4096];
            if (entry->d_name[0] == '.')
                continue;
            snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
            replay_file(path);
            count++;
        }
        closedir(folder);
    }
    printf("%u inputs\n", count);
    return count == 0;
}
