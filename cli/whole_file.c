/* See whole_file.h. */
#include "cli/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run/privilege.h"

int whole_file_fail(const char *path, int code, struct lab_error *err)
{
    if (strcmp(path, "-") == 0)
        return lab_fail(err, code,
                        "cannot write to standard output: %s; name a file that can be written",
                        code == EBADF ? "it is closed" : strerror(code));
    return lab_fail(err, code,
                    "cannot write %s: %s; name a file that can be written, or - for "
                    "standard output",
                    path, strerror(code));
}

/* mkostemp's files are the owner's alone; this one is to be as if it had been created in place. */
static void file_mode(int fd)
{
    mode_t mask = umask(0);

    umask(mask);
    if (fchmod(fd, 0666 & ~mask) < 0)
        return; /* a file system without modes */
}

/* A file without a name, in the folder where it is to be: whatever ends the process, nothing is
 * left. Not every file system has them (Linux 3.11; not NFS, not 9p): then one with a name. */
static int file_create(struct whole_file *file)
{
    const char *slash = strrchr(file->path, '/');
    int folder = slash == NULL ? 0 : (int)(slash - file->path) + 1;
    char *name = NULL;

    if (asprintf(&name, "%.*s", folder, file->path) < 0 ||
        asprintf(&file->aside, "%s.%s.XXXXXX", name, file->path + folder) < 0)
        abort();
    int fd = open(folder == 0 ? "." : name, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    free(name);
    if (fd < 0) {
        fd = mkostemp(file->aside, O_CLOEXEC);
        file->named = fd >= 0;
        if (fd >= 0)
            file_mode(fd);
    }
    if (fd >= 0)
        privilege_give(fd);
    return fd;
}

int whole_file_open(struct whole_file *file, const char *path, struct lab_error *err)
{
    struct stat status;
    int fd = -1;

    *file = (struct whole_file){0};
    if (strcmp(path, "-") == 0) {
        file->stream = stdout;
        return 0;
    }
    bool there = stat(path, &status) == 0;
    size_t size = strlen(path);
    if ((there && S_ISDIR(status.st_mode)) || size == 0 || path[size - 1] == '/')
        return whole_file_fail(path, EISDIR, err);
    file->path = strdup(path);
    if (file->path == NULL)
        return whole_file_fail(path, ENOMEM, err);
    if (there && !S_ISREG(status.st_mode))
        fd = open(path, O_WRONLY | O_CLOEXEC);
    else if (!there || access(path, W_OK) == 0)
        fd = file_create(file);
    file->stream = fd < 0 ? NULL : fdopen(fd, "w");
    if (file->stream != NULL)
        return 0;
    int code = errno;
    if (fd >= 0)
        close(fd);
    free(file->path);
    free(file->aside);
    *file = (struct whole_file){0};
    return whole_file_fail(path, code, err);
}

/* Gives the file its name aside if it has none yet: linkat() replaces nothing, rename() does. */
static int file_name(struct whole_file *file)
{
    char self[64], *suffix = file->aside + strlen(file->aside) - 6;

    if (file->named)
        return 0;
    snprintf(self, sizeof(self), "/proc/self/fd/%d", fileno(file->stream));
    for (unsigned n = (unsigned)getpid() % 1000000, tries = 0; tries < 100; tries++) {
        snprintf(suffix, 7, "%06u", (n + tries) % 1000000);
        if (linkat(AT_FDCWD, self, AT_FDCWD, file->aside, AT_SYMLINK_FOLLOW) == 0) {
            file->named = true;
            return 0;
        }
        if (errno != EEXIST)
            break;
    }
    return -errno;
}

int whole_file_keep(struct whole_file *file, struct lab_error *err)
{
    int r = 0;

    if (file->stream == stdout) {
        file->stream = NULL;
        return 0;
    }
    if (fflush(file->stream) != 0 || ferror(file->stream))
        r = errno != 0 ? -errno : -EIO;
    if (r == 0 && file->aside != NULL)
        r = file_name(file);
    if (fclose(file->stream) != 0 && r == 0)
        r = -errno;
    file->stream = NULL;
    if (r == 0 && file->aside != NULL && rename(file->aside, file->path) < 0)
        r = -errno;
    if (r < 0)
        whole_file_fail(file->path, -r, err);
    else
        file->named = false; /* it is where it belongs */
    whole_file_drop(file);
    return r;
}

void whole_file_drop(struct whole_file *file)
{
    if (file->stream != NULL && file->stream != stdout)
        fclose(file->stream);
    if (file->named)
        unlink(file->aside);
    free(file->aside);
    free(file->path);
    *file = (struct whole_file){0};
}
