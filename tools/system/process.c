/* SPDX-License-Identifier: MIT
 * tools/system/process.c - the program as a process: background, pid file, signals, users.
 *
 * Models: daemon(7) in the old style: the parent ends when the child is ready, with the child's status; a pid
 * file that is locked as long as its process lives; signalfd(2).
 * Threads: main thread; the state is process-wide because a process has one of each.
 */
#include "cli.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int ready_fd = -1;

/* ---- -daemonize ---- */

static int parent_wait(int fd, pid_t child)
{
    char status = 1;
    ssize_t n;
    do {
        n = read(fd, &status, 1);
    } while (n < 0 && errno == EINTR);
    if (n == 1 && status == 0) {
        return 0;
    }
    int how; /* it ended before it was ready; it has said why */
    while (waitpid(child, &how, 0) < 0 && errno == EINTR) {
    }
    return 1;
}

bool process_daemonize(Error **errp)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return error_set_errno(errp, errno, "-daemonize: could not create a pipe");
    }
    pid_t child = fork();
    if (child < 0) {
        return error_set_errno(errp, errno, "-daemonize: could not fork");
    }
    if (child > 0) {
        close(fds[1]);
        _exit(parent_wait(fds[0], child));
    }
    close(fds[0]);
    ready_fd = fds[1];
    setsid();
    umask(027);
    return true;
}

bool process_daemon_ready(Error **errp)
{
    if (ready_fd < 0) {
        return true;
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || chdir("/") < 0) {
        return error_set_errno(errp, errno, "-daemonize: could not leave the terminal");
    }
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    if (null > STDERR_FILENO) {
        close(null);
    }
    char ok = 0;
    while (write(ready_fd, &ok, 1) < 0 && errno == EINTR) {
    }
    close(ready_fd);
    ready_fd = -1;
    return true;
}

/* ---- -pidfile ---- */

static char *pid_path; /* absolute: -daemonize changes the directory */
static int pid_fd = -1;
static dev_t pid_dev;
static ino_t pid_ino;

static bool pidfile_busy(const char *path, int fd, Error **errp)
{
    char text[32] = "";
    struct flock who = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    long pid = fcntl(fd, F_GETLK, &who) == 0 && who.l_type != F_UNLCK ? who.l_pid : 0;
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = 0;
    error_fail(errp, "in-use", "pidfile", NULL,
               "-pidfile %s: it is locked by process %ld", path, pid ? pid : atol(text));
    error_hint(errp, "end that process, or use another file");
    return false;
}

bool process_pidfile(const char *path, Error **errp)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    struct stat st, now;
    for (;;) {
        pid_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (pid_fd < 0) {
            return error_set_errno(errp, errno, "-pidfile %s: could not create it", path);
        }
        if (fcntl(pid_fd, F_SETLK, &lock) < 0) {
            bool ok = errno == EACCES || errno == EAGAIN
                          ? pidfile_busy(path, pid_fd, errp)
                          : error_set_errno(errp, errno, "-pidfile %s: could not lock it", path);
            close(pid_fd);
            pid_fd = -1;
            return ok;
        }
        /* Another process may have removed the name between open and lock. */
        if (fstat(pid_fd, &st) == 0 && stat(path, &now) == 0 && st.st_ino == now.st_ino &&
            st.st_dev == now.st_dev) {
            break;
        }
        close(pid_fd);
    }
    pid_path = g_canonicalize_filename(path, NULL);
    pid_dev = st.st_dev;
    pid_ino = st.st_ino;
    char text[32];
    int n = g_snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(pid_fd, 0) < 0 || pwrite(pid_fd, text, n, 0) != n) {
        return error_set_errno(errp, errno, "-pidfile %s: could not write it", path);
    }
    return true;
}

void process_cleanup(void)
{
    struct stat st;
    if (pid_path && stat(pid_path, &st) == 0 && st.st_dev == pid_dev && st.st_ino == pid_ino) {
        unlink(pid_path);
    }
    g_clear_pointer(&pid_path, g_free);
    if (pid_fd >= 0) {
        close(pid_fd);
        pid_fd = -1;
    }
}

/* ---- signals ---- */

static FdWatch signal_watch;
static int signal_fd = -1;

static void ending_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}

/* Before any thread exists, so that all inherit it. */
void process_block_signals(void)
{
    sigset_t set;
    ending_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void on_signal(void *opaque, unsigned revents)
{
    struct signalfd_siginfo info;
    if (read(signal_fd, &info, sizeof(info)) != sizeof(info)) {
        return;
    }
    g_autofree char *path = g_strdup_printf("/proc/%u/comm", info.ssi_pid);
    g_autofree char *comm = NULL;
    bool named = info.ssi_pid && g_file_get_contents(path, &comm, NULL, NULL);
    g_autofree char *prefix = log_prefix();
    if (info.ssi_pid) {
        fprintf(stderr, "%sterminating on signal %u from pid %u (%s)\n", prefix, info.ssi_signo, info.ssi_pid,
                named ? g_strchomp(comm) : "process has ended");
    } else {
        fprintf(stderr, "%sterminating on signal %u\n", prefix, info.ssi_signo);
    }
    machine_request_shutdown(opaque, SHUTDOWN_HOST_SIGNAL, 0);
}

bool process_watch_signals(Machine *m, Error **errp)
{
    sigset_t set;
    ending_signals(&set);
    signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signal_fd < 0) {
        return error_set_errno(errp, errno, "could not watch signals");
    }
    signal_watch = (FdWatch){ .fd = signal_fd, .events = LOOP_IN, .ready = on_signal, .opaque = m };
    return fd_watch_add(m->loop, &signal_watch, errp);
}

void process_unwatch_signals(void)
{
    if (signal_watch.loop) {
        fd_watch_remove(&signal_watch);
    }
    if (signal_fd >= 0) {
        close(signal_fd);
        signal_fd = -1;
    }
}

/* ---- -runas, -chroot ---- */

static bool parse_ids(const char *text, uid_t *uid, gid_t *gid)
{
    g_auto(GStrv) part = g_strsplit(text, ":", -1);
    uint64_t u, g;
    if (g_strv_length(part) != 2 || !text_to_u64(part[0], &u, NULL) || !text_to_u64(part[1], &g, NULL) ||
        u >= UINT32_MAX || g >= UINT32_MAX) {
        return false;
    }
    *uid = u;
    *gid = g;
    return true;
}

bool process_drop(const char *chroot_dir, const char *user, Error **errp)
{
    uid_t uid = 0;
    gid_t gid = 0;
    struct passwd *pw = NULL;
    if (user && !parse_ids(user, &uid, &gid)) {
        pw = getpwnam(user);
        if (!pw) {
            return error_fail(errp, "not-found", "runas",
                              "name a user of the host, or give numbers, such as 1000:1000",
                              "-runas %s: there is no such user, and it is not UID:GID", user);
        }
        uid = pw->pw_uid;
        gid = pw->pw_gid;
    }
    if (chroot_dir && (chroot(chroot_dir) < 0 || chdir("/") < 0)) {
        return error_set_errno(errp, errno, "-chroot %s: could not change the root directory", chroot_dir);
    }
    if (!user) {
        return true;
    }
    bool groups = pw ? initgroups(pw->pw_name, gid) == 0 : setgroups(1, &gid) == 0;
    if (!groups || setgid(gid) < 0 || setuid(uid) < 0) {
        return error_set_errno(errp, errno, "-runas %s: could not change the user", user);
    }
    if (uid != 0 && setuid(0) != -1) {
        return error_fail(errp, "failed", "runas", NULL,
                          "-runas %s: the change could be undone, which must not be", user);
    }
    return true;
}
