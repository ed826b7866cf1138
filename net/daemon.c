/* SPDX-License-Identifier: MIT
 * net/daemon.c - a program that goes into the background by itself, and yet ends with the machine, however
 * the machine ends.
 *
 * Models: the program writes its number into a file that is named to it (--pid of passt(1)). A shell waits at
 * a pipe whose other end only this process has: a line says that the program has ended, the pipe's end that
 *         this process was killed; then the shell ends the program. (PR_SET_PDEATHSIG does not outlive a
 * change of user, which such programs begin with.) Threads: main loop.
 */
#include "daemon.h"
#include "rhea/util/errorcode.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TERM_MS = 500, KILL_MS = 5000 };

/* $1: the file. One that is empty may be about to be written. */
static const char guard_script[] = "read -r line && exit 0\n"
                                   "n=0\n"
                                   "until [ -s \"$1\" ] || [ $n = 20 ]; do sleep 0.1; n=$((n + 1)); done\n"
                                   "read -r pid < \"$1\"\n"
                                   "[ -n \"$pid\" ] && kill -9 \"$pid\"\n"
                                   "rm -f \"$1\"\n"
                                   "rmdir \"${1%/*}\"\n";

void net_daemon_init(NetDaemon *d)
{
    *d = (NetDaemon){ .pidfd = -1, .guard_fd = -1 };
}

static void remove_files(NetDaemon *d)
{
    if (d->dir) {
        g_unlink(d->pid_file);
        g_rmdir(d->dir);
    }
    g_clear_pointer(&d->pid_file, g_free);
    g_clear_pointer(&d->dir, g_free);
}

/* The program may have become another user before it writes. */
static bool make_files(NetDaemon *d, Error **errp)
{
    GError *err = NULL;
    d->dir = g_dir_make_tmp("rhea-net-XXXXXX", &err);
    if (!d->dir) {
        error_fail(errp, "failed", NULL, NULL, "cannot make a folder: %s", err->message);
        g_error_free(err);
        return false;
    }
    d->pid_file = g_build_filename(d->dir, "pid", NULL);
    int fd = open(d->pid_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    bool ok = fd >= 0 && fchmod(fd, 0666) == 0 && chmod(d->dir, 0711) == 0;
    int e = errno;
    if (fd >= 0) {
        close(fd);
    }
    return ok || error_set_errno(errp, e, "cannot make '%s'", d->pid_file);
}

bool net_daemon_begin(NetDaemon *d, Error **errp)
{
    int pipe_fd[2];
    if (!make_files(d, errp)) {
        remove_files(d);
        return false;
    }
    char *argv[] = {
        (char *)"/bin/sh", (char *)"-c", (char *)guard_script, (char *)"guard", d->pid_file, NULL
    };
    int e = pipe2(pipe_fd, O_CLOEXEC) < 0 ? errno : 0;
    if (!e) {
        e = net_child_spawn(argv, pipe_fd[0], &d->guard);
        close(pipe_fd[0]);
        d->guard_fd = pipe_fd[1];
        if (e) {
            close(pipe_fd[1]);
            d->guard_fd = -1;
        }
    }
    if (e) {
        remove_files(d);
        return error_set_errno(errp, e, "cannot start a shell");
    }
    return true;
}

bool net_daemon_started(NetDaemon *d, Error **errp)
{
    g_autofree char *text = NULL;
    long pid = g_file_get_contents(d->pid_file, &text, NULL, NULL) ? atol(text) : 0;
    d->pidfd = pid > 1 ? (int)syscall(SYS_pidfd_open, (pid_t)pid, 0u) : -1;
    return d->pidfd >= 0 || error_fail(errp, "failed", NULL, NULL, "it ended, or did not tell its number");
}

static bool ended(const NetDaemon *d, int signal, int ms)
{
    struct pollfd p = { .fd = d->pidfd, .events = POLLIN };
    syscall(SYS_pidfd_send_signal, d->pidfd, signal, NULL, 0u); /* fails when it has ended */
    return poll(&p, 1, ms) == 1;
}

void net_daemon_end(NetDaemon *d)
{
    if (d->pidfd >= 0) {
        if (!ended(d, SIGTERM, TERM_MS)) {
            ended(d, SIGKILL, KILL_MS);
        }
        close(d->pidfd);
        d->pidfd = -1;
    }
    if (d->guard_fd >= 0) {
        ssize_t n;
        do {
            n = write(d->guard_fd, "\n", 1);
        } while (n < 0 && errno == EINTR);
        close(d->guard_fd);
        d->guard_fd = -1;
        while (waitpid(d->guard, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    remove_files(d);
}
