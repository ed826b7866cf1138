/* SPDX-License-Identifier: MIT
 * tools/system/sandbox.c - -sandbox: an allow list of system calls, by what needs them.
 *
 * Models: QEMU's groups (obsolete, elevateprivileges, spawn, resourcecontrol) as additions to a list of what
 *         this program does: all of them are forbidden unless allowed. Nothing gets privileges by exec.
 * A call that is not on the list is not made: SIGSYS comes instead, whose handler names the call and lets the
 * signal end the process. The handler cannot be replaced; blocked signals make the kernel end it.
 * Threads: main thread installs; the handler runs anywhere.
 */
#include "sandbox.h"
#include "config.h"

#if HAVE_SECCOMP
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "rhea/util/tty.h"

#include <asm/prctl.h>
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Threads, clocks, memory. */
static const char *const core_calls[] = {
    "brk", "clock_getres", "clock_gettime", "clock_nanosleep", "exit", "exit_group", "futex",
    "futex_waitv", "get_mempolicy", "get_robust_list", "getcpu", "getegid", "geteuid", "getgid",
    "getpgrp", "getpid", "getppid", "getrandom", "getresgid", "getresuid", "getrusage", "gettid",
    "gettimeofday", "getuid",
    "madvise", "mbind", "membarrier", "memfd_create", "mincore", "mlock", "mlock2", "mlockall", "mmap",
    "mprotect", "mremap", "msync", "munlock", "munlockall", "munmap", "nanosleep", "restart_syscall",
    "rseq", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getparam",
    "sched_getscheduler", "sched_yield", "set_mempolicy", "set_robust_list", "set_tid_address",
    "sigaltstack", "sysinfo", "time", "times", "uname", NULL,
};

/* Waiting for descriptors, and what comes through them. ioctl: terminals, block devices, KVM. */
static const char *const io_calls[] = {
    "close", "close_range", "dup", "dup2", "dup3", "epoll_create1", "epoll_ctl", "epoll_pwait",
    "epoll_pwait2", "epoll_wait", "eventfd2", "fcntl", "io_cancel", "io_destroy", "io_getevents",
    "io_pgetevents", "io_setup", "io_submit", "ioctl", "lseek", "pipe2", "poll", "ppoll", "pread64",
    "preadv", "preadv2", "pselect6", "pwrite64", "pwritev", "pwritev2", "read", "readv", "select",
    "signalfd4", "timerfd_create", "timerfd_gettime", "timerfd_settime", "write", "writev", NULL,
};

/* Images, firmware, logs, guest memory in files; what a descriptor's path is. */
static const char *const file_calls[] = {
    "access", "chdir", "copy_file_range", "creat", "faccessat", "faccessat2", "fadvise64", "fallocate",
    "fchmod", "fdatasync", "flock", "fstat", "fstatfs", "fsync", "ftruncate", "getcwd", "getdents64",
    "lstat", "newfstatat", "open", "openat", "openat2", "readlink", "readlinkat", "rename", "renameat",
    "renameat2", "sendfile", "stat", "statfs", "statx", "sync_file_range", "umask", "unlink", "unlinkat",
    NULL,
};

/* socket() itself is allowed by its family. */
static const char *const socket_calls[] = {
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen",
    "recvfrom", "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown", NULL,
};

static const char *const uring_calls[] = {
    "io_uring_enter", "io_uring_register", "io_uring_setup", NULL,
};

/* -runas and -chroot, and the stricter filter afterwards. */
static const char *const start_calls[] = {
    "chroot", "prctl", "seccomp", "setgid", "setgroups", "setresgid", "setresuid", "setuid", NULL,
};

/* ---- the groups of QEMU's option ---- */

static const char *const obsolete_calls[] = {
    "_sysctl", "bdflush", "create_module", "get_kernel_syms", "query_module", "readdir", "sgetmask",
    "ssetmask", "sysfs", "uselib", "ustat", NULL,
};
static const char *const privilege_calls[] = {
    "setfsgid", "setfsuid", "setgid", "setgroups", "setpgid", "setregid", "setresgid", "setresuid",
    "setreuid", "setsid", "setuid", NULL,
};
static const char *const spawn_calls[] = {
    "clone", "clone3", "execve", "execveat", "fork", "getpgid", "kill", "pidfd_open", "pidfd_send_signal",
    "pipe", "vfork", "wait4", "waitid", NULL,
};
static const char *const resource_calls[] = {
    "getpriority", "ioprio_get", "ioprio_set", "sched_setaffinity", "sched_setattr", "sched_setparam",
    "sched_setscheduler", "setpriority", NULL,
};

/* ---- a call that is not allowed ---- */

enum { NAMES = 512 };
static char *names[NAMES]; /* by number: finding a name allocates, which a signal handler must not */
static char prefix[128];

static void put(char *line, size_t size, size_t *len, const char *text)
{
    size_t n = MIN(strlen(text), size - *len);
    memcpy(line + *len, text, n);
    *len += n;
}

static void put_number(char *line, size_t size, size_t *len, unsigned n)
{
    char digits[12];
    unsigned i = sizeof(digits) - 1;
    digits[i] = 0;
    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    put(line, size, len, digits + i);
}

/* Async-signal-safe. The default action is restored, and the second signal waits for the end of this one. */
static void on_violation(int sig, siginfo_t *info, void *context)
{
    char line[256];
    size_t len = 0;
    unsigned nr = (unsigned)info->si_syscall;
    put(line, sizeof(line), &len, prefix);
    put(line, sizeof(line), &len, "-sandbox does not allow system call ");
    put_number(line, sizeof(line), &len, nr);
    if (nr < NAMES && names[nr]) {
        put(line, sizeof(line), &len, " (");
        put(line, sizeof(line), &len, names[nr]);
        put(line, sizeof(line), &len, ")");
    }
    put(line, sizeof(line), &len, ": the process ends\n");
    tty_restore();
    if (write(STDERR_FILENO, line, len) < 0) {
        /* there is nobody to tell */
    }
    raise(sig);
}

static bool catch_violations(Error **errp)
{
    struct sigaction act = { .sa_sigaction = on_violation, .sa_flags = SA_SIGINFO | SA_RESETHAND };
    g_snprintf(prefix, sizeof(prefix), "%s: ", log_program());
    for (int nr = 0; nr < NAMES; nr++) {
        names[nr] = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);
    }
    sigfillset(&act.sa_mask);
    return sigaction(SIGSYS, &act, NULL) == 0 ||
           error_set_errno(errp, errno, "-sandbox: could not catch SIGSYS");
}

/* ---- the filter ---- */

static bool check(int r, const char *name, Error **errp)
{
    return r == 0 || error_set_errno(errp, -r, "-sandbox: could not make a rule for '%s'", name);
}

/* Calls that this library or host does not know cannot be made. */
static bool add(scmp_filter_ctx f, uint32_t action, const char *const *calls, Error **errp)
{
    for (; *calls; calls++) {
        int nr = seccomp_syscall_resolve_name(*calls);
        int r = nr < 0 ? 0 : seccomp_rule_add_array(f, action, nr, 0, NULL);
        if (!check(r == -EEXIST ? 0 : r, *calls, errp)) { /* in two groups */
            return false;
        }
    }
    return true;
}

typedef struct Rule {
    const char *call;
    struct scmp_arg_cmp arg[2];
    unsigned n;
} Rule;

static bool add_rules(scmp_filter_ctx f, const Rule *rules, size_t n, Error **errp)
{
    for (size_t i = 0; i < n; i++) {
        int nr = seccomp_syscall_resolve_name(rules[i].call);
        int r = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, nr, rules[i].n, rules[i].arg);
        if (!check(r, rules[i].call, errp)) {
            return false;
        }
    }
    return true;
}

#define LOW(arg, value) SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, UINT32_MAX, value)

/* Calls of which some uses are needed. */
static bool add_partial(scmp_filter_ctx f, Error **errp)
{
    const Rule rules[] = {
        /* Signals of its own. Of real-time signals those of the C library: the handler above stays, and a
         * number whose upper half the kernel ignores must not get past this. */
        { "tgkill", { LOW(0, (scmp_datum_t)getpid()) }, 1 },
        { "rt_sigaction", { SCMP_CMP(0, SCMP_CMP_LT, SIGSYS) }, 1 },
        { "rt_sigaction", { LOW(0, SIGSYS), SCMP_CMP(1, SCMP_CMP_EQ, 0) }, 2 }, /* libpulse asks */
        { "rt_sigaction", { SCMP_CMP(0, SCMP_CMP_EQ, 32) }, 1 },
        { "rt_sigaction", { SCMP_CMP(0, SCMP_CMP_EQ, 33) }, 1 },
        { "rt_sigaction", { SCMP_CMP(0, SCMP_CMP_EQ, 34) }, 1 },
        { "rt_sigaction", { SCMP_CMP(0, SCMP_CMP_EQ, 35) }, 1 }, /* kicks vCPUs of KVM */
        { "arch_prctl", { LOW(0, ARCH_SET_GS) }, 1 }, /* translated code's */
        { "arch_prctl", { LOW(0, ARCH_GET_GS) }, 1 },
        { "prlimit64", { LOW(0, 0), SCMP_CMP(2, SCMP_CMP_EQ, 0) }, 2 }, /* asked, not changed */
        { "getrlimit", { { 0 } }, 0 },
        { "socket", { LOW(0, AF_UNIX) }, 1 },
        { "socket", { LOW(0, AF_INET) }, 1 },
        { "socket", { LOW(0, AF_INET6) }, 1 },
        { "socket", { LOW(0, AF_NETLINK) }, 1 }, /* the C library's resolver asks for addresses */
        { "socketpair", { LOW(0, AF_UNIX) }, 1 },
    };
    return add_rules(f, rules, G_N_ELEMENTS(rules), errp);
}

/* Names of threads, and what libcap asks, which comes with libpulse; start_calls have all of it. */
static bool add_prctl(scmp_filter_ctx f, Error **errp)
{
    const Rule rules[] = { { "prctl", { LOW(0, PR_SET_NAME) }, 1 },
                           { "prctl", { LOW(0, PR_CAPBSET_READ) }, 1 } };
    return add_rules(f, rules, G_N_ELEMENTS(rules), errp);
}

/* Threads; clone3() keeps its flags in memory, where no filter looks: without it the C library uses clone().
 */
static bool add_threads(scmp_filter_ctx f, Error **errp)
{
    static const char *const clone3[] = { "clone3", NULL };
    const Rule rules[] = {
        { "clone", { SCMP_CMP(0, SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM) }, 1 },
    };
    return add(f, SCMP_ACT_ERRNO(ENOSYS), clone3, errp) && add_rules(f, rules, G_N_ELEMENTS(rules), errp);
}

/* SDL's sound has a thread that would like to be a more important one, and does without. */
static bool add_priority(scmp_filter_ctx f, Error **errp)
{
    static const char *const calls[] = { "setpriority", NULL };
    return add(f, SCMP_ACT_ERRNO(EPERM), calls, errp);
}

static bool fill(scmp_filter_ctx f, const Sandbox *s, bool starting, Error **errp)
{
    const uint32_t allow = SCMP_ACT_ALLOW, missing = SCMP_ACT_ERRNO(ENOSYS);
    return add(f, allow, core_calls, errp) && add(f, allow, io_calls, errp) &&
           add(f, allow, file_calls, errp) && add(f, allow, socket_calls, errp) &&
           add(f, s->uring ? allow : missing, uring_calls, errp) && add_partial(f, errp) &&
           (s->spawn ? add(f, allow, spawn_calls, errp) : add_threads(f, errp)) &&
           (starting ? add(f, allow, start_calls, errp) : add_prctl(f, errp)) &&
           (!s->obsolete || add(f, allow, obsolete_calls, errp)) &&
           (!s->privileges || add(f, allow, privilege_calls, errp)) &&
           (s->resources ? add(f, allow, resource_calls, errp) : add_priority(f, errp));
}

static bool load(scmp_filter_ctx f, Error **errp)
{
    int r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1); /* all threads */
    r = r ? r : seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    r = r ? r : seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
    r = r ? r : seccomp_load(f);
    if (r) {
        error_set_errno(errp, -r, "-sandbox: the kernel did not take the filter");
        error_hint(errp, "it needs Linux 3.17 with CONFIG_SECCOMP_FILTER; leave the option out");
    }
    return r == 0;
}

bool sandbox_available(Error **errp)
{
    return true;
}

bool sandbox_enter(const Sandbox *s, bool starting, Error **errp)
{
    static bool again;
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_TRAP);
    if (!f) {
        return error_fail(errp, "no-memory", "sandbox", NULL, "-sandbox: there is no memory for the filter");
    }
    bool ok = (again || catch_violations(errp)) && fill(f, s, starting, errp) && load(f, errp);
    again = true;
    seccomp_release(f);
    return ok;
}

#else

bool sandbox_available(Error **errp)
{
    error_fail(errp, "not-supported", "sandbox", NULL,
               "this build cannot filter system calls (it needs libseccomp)");
    error_hint(errp, "use -sandbox off, and -runas and -chroot");
    return false;
}

bool sandbox_enter(const Sandbox *s, bool starting, Error **errp)
{
    return sandbox_available(errp);
}

#endif
