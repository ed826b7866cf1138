/* SPDX-License-Identifier: MIT
 * tests/unit/tools/test-sandbox.c - which system calls -sandbox lets through, each tried in a process of its
 * own: what is not allowed is not made, is named, and is the end. Covers tools/system/sandbox.c.
 */
#include "rhea/util/log.h"
#include "sandbox.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    OPEN = 0,
    NONE = 1,
    OBSOLETE = 2,
    PRIVILEGES = 4,
    SPAWN = 8,
    RESOURCES = 16,
    URING = 32,
    STARTING = 64,
    STARTED = 128, /* entered twice, as after -runas */
    ALL = OBSOLETE | PRIVILEGES | SPAWN | RESOURCES | URING
};

typedef enum Outcome { KILLED, MADE, MISSING, REFUSED } Outcome; /* with ENOSYS, with EPERM */

typedef struct Case {
    const char *name;
    unsigned groups;
    Outcome outcome;
    long nr;
    unsigned long arg[4];
} Case;

static void enter(unsigned groups)
{
    Sandbox s = { .on = true,
                  .uring = groups & URING,
                  .obsolete = groups & OBSOLETE,
                  .privileges = groups & PRIVILEGES,
                  .spawn = groups & SPAWN,
                  .resources = groups & RESOURCES };
    if (groups & (STARTING | STARTED) && !sandbox_enter(&s, true, &error_abort_slot)) {
        _exit(9);
    }
    if (!(groups & STARTING) && !sandbox_enter(&s, false, &error_abort_slot)) {
        _exit(9);
    }
}

static void *count(void *opaque)
{
    ++*(int *)opaque;
    return NULL;
}

/* Ends with 0: the call was made; 1: it is missing; 2: threads do not work. */
G_NORETURN static void child(const Case *c)
{
    enter(c->groups);
    pthread_t thread;
    int n = 0;
    if (pthread_create(&thread, NULL, count, &n) || pthread_join(thread, NULL) || n != 1) {
        _exit(2);
    }
    errno = 0;
    long r = syscall(c->nr, c->arg[0], c->arg[1], c->arg[2], c->arg[3]);
    _exit(r >= 0 ? 0 : errno == ENOSYS ? 1 : errno == EPERM && c->outcome == REFUSED ? 2 : 0);
}

static char *run(const Case *c, int *status)
{
    int fds[2];
    char text[1024];
    size_t len = 0;
    ssize_t n;
    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    pid_t pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (!pid) {
        dup2(fds[1], STDERR_FILENO);
        child(c);
    }
    close(fds[1]);
    while ((n = read(fds[0], text + len, sizeof(text) - 1 - len)) > 0) {
        len += (size_t)n;
    }
    text[len] = 0;
    close(fds[0]);
    g_assert_cmpint(waitpid(pid, status, 0), ==, pid);
    return g_strdup(text);
}

static void check(const Case *c)
{
    int status;
    g_autofree char *text = run(c, &status);
    g_test_message("%s, groups 0x%x: status 0x%x, '%s'", c->name, c->groups, status, text);
    if (c->outcome == KILLED) {
        g_autofree char *what =
            g_strdup_printf("-sandbox does not allow system call %ld (%s)", c->nr, c->name);
        g_assert_true(WIFSIGNALED(status));
        g_assert_cmpint(WTERMSIG(status), ==, SIGSYS);
        g_assert_nonnull(strstr(text, what));
    } else {
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), ==, c->outcome == MISSING ? 1 : c->outcome == REFUSED ? 2 : 0);
        g_assert_cmpstr(text, ==, "");
    }
}

#define PLAIN_CLONE                                                                                          \
    {                                                                                                        \
        SIGCHLD                                                                                              \
    }
/* The kernel looks at the lower half of a signal's number only. */
#define ODD_SIGSYS                                                                                           \
    {                                                                                                        \
        (1ul << 32) | SIGSYS, 8, 0, 8                                                                        \
    }

static const Case cases[] = {
    { "getpid", NONE, MADE, SYS_getpid, { 0 } },
    { "ptrace", NONE, KILLED, SYS_ptrace, { 0 } },
    { "ptrace", ALL, KILLED, SYS_ptrace, { 0 } },
    { "mount", ALL, KILLED, SYS_mount, { 0 } },
    { "reboot", ALL, KILLED, SYS_reboot, { 0 } },
    { "swapon", ALL, KILLED, SYS_swapon, { 0 } },
    { "kexec_load", ALL, KILLED, SYS_kexec_load, { 0 } },
    { "init_module", ALL, KILLED, SYS_init_module, { 0 } },
    { "bpf", ALL, KILLED, SYS_bpf, { 999 } },
    { "userfaultfd", ALL, KILLED, SYS_userfaultfd, { 0 } },
    { "process_vm_readv", ALL, KILLED, SYS_process_vm_readv, { 0 } },
    { "setns", ALL, KILLED, SYS_setns, { 0 } },
    { "unshare", ALL, KILLED, SYS_unshare, { 0 } },
    /* obsolete */
    { "uselib", NONE, KILLED, SYS_uselib, { 0 } },
    { "sysfs", PRIVILEGES | SPAWN | RESOURCES, KILLED, SYS_sysfs, { 3 } },
    { "ustat", OBSOLETE, MADE, SYS_ustat, { 0 } },
    /* elevateprivileges */
    { "setuid", NONE, KILLED, SYS_setuid, { (unsigned long)-1 } },
    { "setsid", OBSOLETE | SPAWN | RESOURCES, KILLED, SYS_setsid, { 0 } },
    { "setuid", PRIVILEGES, MADE, SYS_setuid, { (unsigned long)-1 } },
    { "setresgid",
      PRIVILEGES,
      MADE,
      SYS_setresgid,
      { (unsigned long)-1, (unsigned long)-1, (unsigned long)-1 } },
    { "setuid", STARTING, MADE, SYS_setuid, { (unsigned long)-1 } },
    { "chroot", STARTING, MADE, SYS_chroot, { 0 } },
    { "setuid", STARTED, KILLED, SYS_setuid, { (unsigned long)-1 } },
    { "chroot", STARTED, KILLED, SYS_chroot, { 0 } },
    { "seccomp", STARTED, KILLED, SYS_seccomp, { 0 } },
    { "chroot", NONE, KILLED, SYS_chroot, { 0 } },
    /* spawn */
    { "execve", NONE, KILLED, SYS_execve, { 0 } },
    { "fork", OBSOLETE | PRIVILEGES | RESOURCES, KILLED, SYS_fork, { 0 } },
    { "clone", NONE, KILLED, SYS_clone, PLAIN_CLONE },
    { "clone3", NONE, MISSING, SYS_clone3, { 0 } },
    { "kill", NONE, KILLED, SYS_kill, { 0 } },
    { "execve", SPAWN, MADE, SYS_execve, { 0 } },
    { "clone", SPAWN, MADE, SYS_clone, PLAIN_CLONE },
    /* resourcecontrol */
    { "sched_setaffinity", NONE, KILLED, SYS_sched_setaffinity, { 0 } },
    { "sched_setscheduler", OBSOLETE | PRIVILEGES | SPAWN, KILLED, SYS_sched_setscheduler, { 0 } },
    { "setpriority", OBSOLETE | PRIVILEGES | SPAWN, REFUSED, SYS_setpriority, { 99 } },
    { "rt_sigaction", NONE, MADE, SYS_rt_sigaction, { SIGSYS, 0, 0, 8 } },
    { "prctl", NONE, MADE, SYS_prctl, { PR_CAPBSET_READ } },
    { "setpriority", RESOURCES, MADE, SYS_setpriority, { 99 } },
    /* parts of calls */
    { "io_uring_setup", NONE, MISSING, SYS_io_uring_setup, { 0 } },
    { "socket", NONE, KILLED, SYS_socket, { AF_PACKET, SOCK_RAW } },
    { "socket", NONE, MADE, SYS_socket, { AF_UNIX, SOCK_STREAM } },
    { "prlimit64", NONE, MADE, SYS_prlimit64, { 0, 7, 0, 0 } },
    { "prlimit64", NONE, KILLED, SYS_prlimit64, { 0, 7, 1, 0 } },
    { "prctl", NONE, KILLED, SYS_prctl, { 4, 1 } },
    { "arch_prctl", NONE, KILLED, SYS_arch_prctl, { ARCH_SET_FS, 0 } },
    { "tgkill", NONE, KILLED, SYS_tgkill, { 1, 1, 0 } },
    { "rt_sigaction", NONE, KILLED, SYS_rt_sigaction, { SIGSYS, 8, 0, 8 } },
    { "rt_sigaction", NONE, KILLED, SYS_rt_sigaction, ODD_SIGSYS },
    { "rt_sigaction", NONE, MADE, SYS_rt_sigaction, { SIGBUS, 0, 0, 8 } },
};

static void test_calls(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        check(&cases[i]);
    }
}

/* The other numbering of the same calls would go past a list of numbers. */
static void test_abi(void)
{
    const Case x32 = { "getpid", NONE, KILLED, SYS_getpid | 0x40000000, { 0 } };
    int status;
    g_free(run(&x32, &status));
    g_assert_true(WIFSIGNALED(status));
    g_assert_cmpint(WTERMSIG(status), ==, SIGSYS);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_program("program");
    g_test_add_func("/sandbox/calls", test_calls);
    g_test_add_func("/sandbox/abi", test_abi);
    return g_test_run();
}
