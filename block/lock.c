/* SPDX-License-Identifier: MIT
 * block/lock.c - locks on image files that other processes, QEMU's among them, respect.
 *
 * Models: open-file-description locks (fcntl(2), F_OFD_*) on single bytes. Who uses permission P holds a
 * shared lock on byte 100 + P, who does not tolerate others using P holds one on byte 200 + P; P counts as in
 * BLOCK_PERM_. All locks are shared, so taking them never fails; a conflict shows when one asks whether an
 *         exclusive lock on the opposite byte would be refused. Both sides take first and ask then, so
 *         of two that conflict at least one finds out.
 * Threads: the main loop's.
 */
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { BYTE_USED = 100, BYTE_UNSHARED = 200, PERMS = 4 };

static const char *const perm_names[PERMS] = { "reading", "writing", "rewriting", "resizing" };

static int lock_byte(int fd, int byte, short type)
{
    struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    int r;
    do {
        r = fcntl(fd, F_OFD_SETLK, &fl);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

/* Does another description lock this byte? */
static bool byte_is_taken(int fd, int byte)
{
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    return fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK;
}

/* The kernel does not tell who holds such a lock, but shows each process's own descriptors' locks. */
static bool fdinfo_has_byte(const char *pid, const char *fd, int byte)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/fdinfo/%s", pid, fd);
    g_autofree char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return false;
    }
    for (const char *at = text; (at = strstr(at, "lock:")); at++) {
        long long start, end;
        char stop[32];
        if (sscanf(at, "lock: %*s OFDLCK %*s %*s %*s %*x:%*x:%*u %lld %31s", &start, stop) != 2) {
            continue;
        }
        end = strcmp(stop, "EOF") == 0 ? INT64_MAX : g_ascii_strtoll(stop, NULL, 10);
        if (start <= byte && byte <= end) {
            return true;
        }
    }
    return false;
}

static bool process_holds(const char *pid, const struct stat *file, int byte, int own_fd)
{
    g_autofree char *folder = g_strdup_printf("/proc/%s/fd", pid);
    DIR *d = opendir(folder);
    if (!d) {
        return false;
    }
    bool self = atoi(pid) == getpid(), held = false;
    for (struct dirent *e; !held && (e = readdir(d));) {
        struct stat st;
        if (e->d_name[0] == '.' || (self && atoi(e->d_name) == own_fd) ||
            fstatat(dirfd(d), e->d_name, &st, 0) < 0) {
            continue;
        }
        held =
            st.st_dev == file->st_dev && st.st_ino == file->st_ino && fdinfo_has_byte(pid, e->d_name, byte);
    }
    closedir(d);
    return held;
}

/* "process 123 (qemu-system-x86_64)", or that it could not be found out. g_free. */
static char *find_holder(int fd, int byte)
{
    struct stat file;
    DIR *d = fstat(fd, &file) == 0 ? opendir("/proc") : NULL;
    char *found = NULL;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        if (g_ascii_isdigit(e->d_name[0]) && process_holds(e->d_name, &file, byte, fd)) {
            g_autofree char *path = g_strdup_printf("/proc/%s/comm", e->d_name);
            g_autofree char *comm = NULL;
            if (g_file_get_contents(path, &comm, NULL, NULL)) {
                g_strchomp(comm);
            }
            found = g_strdup_printf("process %s (%s)", e->d_name, comm ? comm : "unknown command");
        }
    }
    if (d) {
        closedir(d);
    }
    return found ? found : g_strdup("another process");
}

static bool conflict(int fd, const char *filename, unsigned p, int byte, Error **errp)
{
    g_autofree char *holder = find_holder(fd, byte);
    if (byte >= BYTE_UNSHARED) {
        error_set_errno(errp, EAGAIN, "cannot lock '%s' for %s: %s uses it and forbids that", filename,
                        perm_names[p], holder);
    } else {
        error_set_errno(errp, EAGAIN, "cannot keep others from %s '%s': %s has it open for that",
                        perm_names[p], filename, holder);
    }
    error_hint(errp,
               "end that process; to only look at an image in use, open it read-only with force-share=on "
               "(option -U of the tools)");
    return false;
}

static void release_extra(int fd, FileLocks held, FileLocks keep)
{
    for (unsigned p = 0; p < PERMS; p++) {
        if (held.perm & ~keep.perm & 1u << p) {
            lock_byte(fd, BYTE_USED + (int)p, F_UNLCK);
        }
        if (held.unshared & ~keep.unshared & 1u << p) {
            lock_byte(fd, BYTE_UNSHARED + (int)p, F_UNLCK);
        }
    }
}

/* Takes what is missing, then asks. */
static bool take(int fd, const char *filename, FileLocks have, FileLocks want, Error **errp)
{
    for (unsigned p = 0; p < PERMS; p++) {
        int r = 0;
        if (want.perm & ~have.perm & 1u << p) {
            r = lock_byte(fd, BYTE_USED + (int)p, F_RDLCK);
        }
        if (r == 0 && (want.unshared & ~have.unshared & 1u << p)) {
            r = lock_byte(fd, BYTE_UNSHARED + (int)p, F_RDLCK);
        }
        if (r < 0) {
            error_set_errno(errp, -r, "cannot lock '%s'", filename);
            error_hint(errp, "on a file system without locks open it with locking=off");
            return false;
        }
    }
    for (unsigned p = 0; p < PERMS; p++) {
        if ((want.perm & ~have.perm & 1u << p) && byte_is_taken(fd, BYTE_UNSHARED + (int)p)) {
            return conflict(fd, filename, p, BYTE_UNSHARED + (int)p, errp);
        }
        if ((want.unshared & ~have.unshared & 1u << p) && byte_is_taken(fd, BYTE_USED + (int)p)) {
            return conflict(fd, filename, p, BYTE_USED + (int)p, errp);
        }
    }
    return true;
}

bool file_lock_set(int fd, const char *filename, FileLocks *have, FileLocks want, Error **errp)
{
    if (!take(fd, filename, *have, want, errp)) {
        release_extra(fd, (FileLocks){ want.perm | have->perm, want.unshared | have->unshared }, *have);
        return false;
    }
    release_extra(fd, *have, want);
    *have = want;
    return true;
}
