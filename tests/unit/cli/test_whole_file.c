/* A file that appears whole or not at all. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/whole_file.h"

TestSuite(whole_file, .timeout = 10);

static char *folder_make(void)
{
    char *folder = strdup("/tmp/lab-test-json-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    return folder;
}

Test(whole_file, a_file_appears_whole_or_not_at_all)
{
    char *folder = folder_make(), path[100];
    struct whole_file file;
    struct lab_error err;
    struct stat status;

    snprintf(path, sizeof(path), "%s/out.json", folder);
    cr_assert_eq(whole_file_open(&file, path, &err), 0, "%s", err.text);
    cr_assert_eq(stat(path, &status), -1, "it is there too early");
    fputs("{}", file.stream);
    whole_file_drop(&file);
    cr_assert_eq(stat(path, &status), -1, "a run that failed leaves none");
    cr_assert_eq(whole_file_open(&file, path, &err), 0);
    fputs("{}", file.stream);
    cr_assert_eq(whole_file_keep(&file, &err), 0, "%s", err.text);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_size, 2);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(folder), 0, "something is left behind");
    free(folder);
}

Test(whole_file, a_path_that_cannot_be_is_refused_before_anything_runs)
{
    struct whole_file file;
    struct lab_error err;

    cr_assert_eq(whole_file_open(&file, "/nowhere/x.json", &err), -ENOENT);
    cr_assert_not_null(strstr(err.text, "cannot write /nowhere/x.json: "));
    cr_assert_eq(whole_file_open(&file, "/tmp", &err), -EISDIR);
    cr_assert_eq(whole_file_open(&file, "", &err), -EISDIR);
}

Test(whole_file, a_device_is_written_in_place)
{
    struct whole_file file;
    struct lab_error err;

    cr_assert_eq(whole_file_open(&file, "/dev/null", &err), 0, "%s", err.text);
    cr_assert_null(file.aside);
    cr_assert_eq(whole_file_keep(&file, &err), 0);
    if (access("/dev/full", W_OK) == 0) {
        cr_assert_eq(whole_file_open(&file, "/dev/full", &err), 0);
        fputs("{}", file.stream);
        cr_assert_eq(whole_file_keep(&file, &err), -ENOSPC);
        cr_assert_not_null(strstr(err.text, "/dev/full"));
    }
}
