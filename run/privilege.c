/* See privilege.h. */
#include "run/privilege.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "core/parse.h"

static bool id_of(const char *variable, uint64_t *id)
{
    const char *text = getenv(variable);

    return text != NULL && parse_count(text, variable, id, NULL) == 0 && *id < UINT32_MAX;
}

/* Within a user namespace there may be no such user, whatever a sudo outside of it has left. */
static bool is_mapped(const char *map, uint64_t id)
{
    unsigned long long inside, outside, count;
    FILE *file = fopen(map, "re");
    bool found = false;

    if (file == NULL)
        return true;
    while (fscanf(file, "%llu %llu %llu", &inside, &outside, &count) == 3)
        found |= id >= inside && id - inside < count;
    fclose(file);
    return found;
}

/* The user for whom root does this. */
static bool user(uid_t *uid, gid_t *gid)
{
    uint64_t user_id, group_id;

    if (geteuid() != 0 || !id_of("SUDO_UID", &user_id) || !id_of("SUDO_GID", &group_id) ||
        user_id == 0 || !is_mapped("/proc/self/uid_map", user_id) ||
        !is_mapped("/proc/self/gid_map", group_id))
        return false;
    *uid = (uid_t)user_id;
    *gid = (gid_t)group_id;
    return true;
}

/* glibc has each of these calls made by every thread: nptl(7). */
static bool become(uid_t uid, gid_t gid)
{
    const struct passwd *entry = getpwuid(uid);

    if ((entry != NULL ? initgroups(entry->pw_name, gid) : setgroups(0, NULL)) < 0 ||
        setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return false;
    if (setuid(0) == 0) {
        errno = EPERM;
        return false;
    }
    return true;
}

int privilege_drop(struct lab_error *err)
{
    uid_t uid;
    gid_t gid;

    if (!user(&uid, &gid))
        return 0;
    if (!become(uid, gid))
        return lab_fail(err, errno, "cannot become user %u of group %u (SUDO_UID, SUDO_GID): %s",
                        uid, gid, strerror(errno));
    /* What it holds is the user's from here on: it may be traced and looked at like any other. */
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return 0;
}

void privilege_give(int fd)
{
    uid_t uid;
    gid_t gid;

    if (user(&uid, &gid) && fchown(fd, uid, gid) < 0)
        return; /* a file system without owners */
}
