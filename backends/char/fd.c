/* SPDX-License-Identifier: MIT
 * backends/char/fd.c - descriptors that do not block, without changing other processes' view of them.
 *
 * Models: O_NONBLOCK is a flag of the open file, which a shell and its other children share; a terminal or
 * FIFO opened again through /proc/self/fd has its own.
 * Does not model: regular files, which never block.
 * Threads: main loop.
 */
#include "char_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct { int fd, flags; } restore[8];
static unsigned n_restore;

int char_fd_nonblock(int fd, bool writing, bool *owned)
{
    struct stat st;
    *owned = false;
    if (fstat(fd, &st) < 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
        return fd;
    }
    if (isatty(fd) || S_ISFIFO(st.st_mode)) {
        char path[64];
        g_snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        int again = open(path, (writing ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (again >= 0) {
            *owned = true;
            return again;
        }
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && !(flags & O_NONBLOCK) && n_restore < G_N_ELEMENTS(restore)) {
        restore[n_restore].fd = fd;
        restore[n_restore++].flags = flags;
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
    return fd;
}

/* Async-signal-safe. */
void char_fd_restore(void)
{
    while (n_restore) {
        n_restore--;
        fcntl(restore[n_restore].fd, F_SETFL, restore[n_restore].flags);
    }
}
