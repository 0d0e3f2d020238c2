/* See images.h. */
#include "server/images.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/text.h"

/* The bytes of an open file, which is as large as size says and may shrink meanwhile. */
static int file_read(int fd, uint8_t *bytes, size_t size)
{
    size_t got = 0;

    while (got < size) {
        ssize_t r = read(fd, bytes + got, size - got);
        if (r < 0)
            return -errno;
        if (r == 0)
            return -EIO;
        got += (size_t)r;
    }
    return 0;
}

static const char *format_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL && strlen(dot + 1) <= IMAGE_FORMAT_MOST ? dot + 1 : "";
}

/* One file into the picture; else a positive errno, EISDIR for a folder, ENOTSUP for what is no
 * file either, ENODATA for an empty one. */
static int picture_read(struct picture *picture, int folder, const char *name)
{
    struct stat info;

    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno;
    int r = fstat(fd, &info) < 0                ? errno
            : S_ISDIR(info.st_mode)             ? EISDIR
            : !S_ISREG(info.st_mode)            ? ENOTSUP
            : info.st_size == 0                 ? ENODATA
            : info.st_size > IMAGE_CONTENT_MOST ? EFBIG
                                                : 0;
    uint8_t *bytes = NULL;
    char *own_name = NULL, *format = NULL;
    if (r == 0) {
        bytes = malloc((size_t)info.st_size);
        own_name = strdup(name);
        format = strdup(format_of(name));
        r = bytes == NULL || own_name == NULL || format == NULL
                ? ENOMEM
                : -file_read(fd, bytes, (size_t)info.st_size);
    }
    close(fd);
    if (r != 0) {
        free(bytes);
        free(own_name);
        free(format);
        return r;
    }
    *picture = (struct picture){own_name, format, bytes, (size_t)info.st_size};
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct picture *)a)->name, ((const struct picture *)b)->name);
}

/* One more of what was left out. */
static int left_out_add(char **left_out, const char *name, const char *why)
{
    char shown[NAME_MAX + 1], *longer;

    snprintf(shown, sizeof(shown), "%s", name);
    text_clean(shown);
    if (asprintf(&longer, "%s%s%s: %s", *left_out == NULL ? "" : *left_out,
                 *left_out == NULL ? "" : "; ", shown, why) < 0)
        return -ENOMEM;
    free(*left_out);
    *left_out = longer;
    return 0;
}

static int folder_add(struct image_folder *folder, int fd, const char *name, char **left_out)
{
    struct picture *grown = realloc(folder->list, (folder->count + 1) * sizeof(*folder->list));

    if (grown == NULL)
        return -ENOMEM;
    folder->list = grown;
    if (!text_is_clean(name)) /* as protobuf's strings have to be */
        return left_out_add(left_out, name, "its name is not UTF-8 on one line");
    int r = picture_read(&grown[folder->count], fd, name);
    if (r == EISDIR)
        return 0;
    if (r != 0)
        return left_out_add(left_out, name,
                            r == ENODATA   ? "it is empty"
                            : r == ENOTSUP ? "it is no file"
                                           : strerror(r));
    folder->count++;
    return 0;
}

static int folder_open(DIR **dir, const char *path, struct lab_error *err)
{
    *dir = opendir(path);
    return *dir != NULL
               ? 0
               : lab_fail(err, errno, "--images %s: %s; name a folder of pictures that can be read",
                          path, strerror(errno));
}

static int folder_is_none(const char *path, struct lab_error *err)
{
    return lab_fail(err, ENODATA, "--images %s: there is no file in it that could be served", path);
}

int image_folder_check(const char *path, struct lab_error *err)
{
    struct dirent *entry;
    struct stat info;
    bool found = false;
    DIR *dir;

    int r = folder_open(&dir, path, err);
    if (r < 0)
        return r;
    while (!found && (entry = readdir(dir)) != NULL)
        found = entry->d_name[0] != '.' && fstatat(dirfd(dir), entry->d_name, &info, 0) == 0 &&
                S_ISREG(info.st_mode) && info.st_size > 0 &&
                faccessat(dirfd(dir), entry->d_name, R_OK, 0) == 0;
    closedir(dir);
    return found ? 0 : folder_is_none(path, err);
}

int image_folder_read(struct image_folder *folder, const char *path, char **left_out,
                      struct lab_error *err)
{
    struct dirent *entry;
    DIR *dir;

    *folder = (struct image_folder){0};
    *left_out = NULL;
    int r = folder_open(&dir, path, err);
    if (r < 0)
        return r;
    while (r == 0 && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            r = folder_add(folder, dirfd(dir), entry->d_name, left_out);
    closedir(dir);
    if (r < 0)
        lab_fail(err, ENOMEM, "--images %s: no memory for its files", path);
    else if (folder->count == 0)
        r = folder_is_none(path, err);
    else
        qsort(folder->list, folder->count, sizeof(*folder->list), by_name);
    if (r < 0)
        image_folder_free(folder);
    return r;
}

void image_folder_free(struct image_folder *folder)
{
    for (unsigned i = 0; i < folder->count; i++) {
        free((char *)folder->list[i].name);
        free((char *)folder->list[i].format);
        free((uint8_t *)folder->list[i].bytes);
    }
    free(folder->list);
    *folder = (struct image_folder){0};
}
