/* SPDX-License-Identifier: MIT
 * net/child.c - programs that set up host interfaces: started, waited for, what they complain of kept.
 *
 * Threads: main loop, which waits for the program.
 */
#include "net_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COMPLAINT = 1024 };

/* The child begins with no signals blocked or ignored, as from a shell. */
static void fill_attributes(posix_spawnattr_t *a, short more_flags)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    posix_spawnattr_init(a);
    posix_spawnattr_setsigmask(a, &none);
    posix_spawnattr_setsigdefault(a, &all);
    posix_spawnattr_setflags(a, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | more_flags);
}

/* 0, or why it did not start. -1: /dev/null for input and output, nothing that is kept. */
static int spawn(char *const argv[], short more_flags, int in_fd, int out_fd, int keep_fd, pid_t *pid)
{
    static const int streams[] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO }; /* ours may be a guest */
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    fill_attributes(&attr, more_flags);
    posix_spawn_file_actions_init(&files);
    for (size_t i = 0; i < G_N_ELEMENTS(streams); i++) {
        int fd = streams[i] == STDIN_FILENO ? in_fd : out_fd;
        if (fd >= 0) {
            posix_spawn_file_actions_adddup2(&files, fd, streams[i]);
        } else {
            posix_spawn_file_actions_addopen(&files, streams[i], "/dev/null", O_RDWR, 0);
        }
    }
    if (keep_fd >= 0) { /* onto itself: it is no longer closed on exec */
        posix_spawn_file_actions_adddup2(&files, keep_fd, keep_fd);
    }
    int err = posix_spawn(pid, argv[0], &files, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return err;
}

/* Lines that tell nothing: how a program is used, and that it found no system log. */
static char *without_clutter(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    GString *kept = g_string_new(NULL);
    for (char **l = lines; *l && !g_str_has_prefix(*l, "Usage:"); l++) {
        if (!g_str_has_prefix(*l, "Failed to send ") || !g_str_has_suffix(*l, " to syslog")) {
            g_string_append_printf(kept, "%s\n", *l);
        }
    }
    return g_string_free(kept, FALSE);
}

/* A file without a name: unlike a pipe it does not have to be read while the program runs, and a daemon that
 * the program leaves behind does not keep us waiting. */
static char *complaint(int fd)
{
    char text[COMPLAINT];
    ssize_t n = fd < 0 ? 0 : pread(fd, text, sizeof(text) - 1, 0);
    text[MAX(n, 0)] = 0;
    g_autofree char *said = without_clutter(text);
    char *valid = g_utf8_make_valid(said, -1);
    for (char *p = valid; *p; p++) {
        *p = g_ascii_iscntrl(*p) ? ' ' : *p;
    }
    return g_strstrip(valid);
}

static bool forbidden, filtered;

void net_limit_programs(bool none)
{
    role_assert_main();
    filtered = true;
    forbidden = none;
}

bool net_programs_filtered(void)
{
    return filtered;
}

static const char *drop_option;

void net_expect_drop(const char *option)
{
    role_assert_main();
    drop_option = option;
}

const char *net_drop_option(void)
{
    return drop_option;
}

int net_child_spawn(char *const argv[], int in_fd, pid_t *pid)
{
    return forbidden ? EPERM : spawn(argv, POSIX_SPAWN_SETSID, in_fd, -1, -1, pid);
}

bool net_may_start(const char *program, Error **errp)
{
    return !forbidden || error_fail(errp, "permission-denied", NULL, "-sandbox on,spawn=allow permits them",
                                    "'%s' must not be started: -sandbox forbids programs", program);
}

bool net_child_run(char *const argv[], int keep_fd, Error **errp)
{
    if (!net_may_start(argv[0], errp)) {
        return false;
    }
    int err_fd = memfd_create("complaints", MFD_CLOEXEC), status;
    pid_t pid;
    int err = spawn(argv, 0, -1, err_fd, keep_fd, &pid);
    if (err) {
        if (err_fd >= 0) {
            close(err_fd);
        }
        return error_set_errno(errp, err, "cannot start '%s'", argv[0]);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    g_autofree char *said = complaint(err_fd);
    if (err_fd >= 0) {
        close(err_fd);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        if (*said) {
            log_info("%s: %s", argv[0], said);
        }
        return true;
    }
    g_autofree char *end = WIFSIGNALED(status) ? g_strdup_printf("by signal %d", WTERMSIG(status))
                                               : g_strdup_printf("with status %d", WEXITSTATUS(status));
    return error_fail(errp, "failed", NULL, NULL, "'%s' ended %s%s%s", argv[0], end, *said ? ": " : "", said);
}
