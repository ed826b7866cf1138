/* SPDX-License-Identifier: MIT
 * util/log.c - operator messages and the -d debug log.
 *
 * Models: one debug log per process (stderr, or the file of -D), one write(2) per message so that
 *         lines of several threads never mix, also when the file is shared with other processes.
 * Threads: any. The file is swapped under `file_lock`, which is a leaf.
 */
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"
#include "rhea/util/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

const LogItem log_items[] = {
    { LOG_IN_ASM, "in_asm", "guest code, when it is first decoded" },
    { LOG_INT, "int", "exceptions and interrupts taken" },
    { LOG_EXEC, "exec", "each block of guest code entered (slow)" },
    { LOG_CPU, "cpu", "CPU registers at each block entered (slow)" },
    { LOG_CPU_RESET, "cpu_reset", "CPU registers at each CPU reset" },
    { LOG_GUEST_ERRORS, "guest_errors", "what the guest does wrong, such as writes to read-only registers" },
    { LOG_UNIMP, "unimp", "features the guest asked for that are not modelled" },
    { LOG_MMU, "mmu", "page walks that fault, and flushes of the TLB" },
    { LOG_NOCHAIN, "nochain", "look every block up, so that exec and cpu show each one" },
    { 0, NULL, NULL },
};

unsigned log_mask;

static const char *program;      /* borrowed */
static pthread_mutex_t file_lock = PTHREAD_MUTEX_INITIALIZER;
static int file_fd = STDERR_FILENO;

void log_set_program(const char *name)
{
    __atomic_store_n(&program, name, __ATOMIC_RELEASE);
}

const char *log_program(void)
{
    const char *name = __atomic_load_n(&program, __ATOMIC_ACQUIRE);
    if (!name) {
        name = g_get_prgname();
    }
    return name ? name : "rhea";
}

static bool log_find_item(const char *name, unsigned *mask, Error **errp)
{
    const char *names[G_N_ELEMENTS(log_items) + 2];
    size_t n = 0;
    unsigned all = 0;
    for (const LogItem *i = log_items; i->name; i++) {
        if (!strcmp(i->name, name)) {
            *mask |= i->mask;
            return true;
        }
        all |= i->mask;
        names[n++] = i->name;
    }
    if (!strcmp(name, "all")) {
        *mask |= all;
        return true;
    }
    if (!strcmp(name, "none")) {
        *mask = 0;
        return true;
    }
    names[n++] = "all";
    names[n++] = "none";
    names[n] = NULL;
    error_fail(errp, "not-found", NULL, NULL, "unknown log item '%s'", name);
    error_hint_nearest(errp, name, names);
    error_hint(errp, "'-d help' lists the log items");
    return false;
}

bool log_set_items(const char *items, Error **errp)
{
    g_auto(GStrv) words = g_strsplit(items, ",", 0);
    unsigned mask = 0;
    for (char **w = words; *w; w++) {
        if (g_str_has_prefix(*w, "trace:")) {
            if (!trace_choose(*w + strlen("trace:"), errp)) {
                return false;
            }
        } else if (!log_find_item(*w, &mask, errp)) {
            return false;
        }
    }
    __atomic_store_n(&log_mask, mask, __ATOMIC_RELAXED);
    return true;
}

/* "%d" becomes the process id; any other '%' is refused, so that no path is ever a format. */
static char *log_expand_path(const char *path, Error **errp)
{
    GString *s = g_string_new(NULL);
    for (const char *p = path; *p; p++) {
        if (*p != '%') {
            g_string_append_c(s, *p);
        } else if (p[1] == 'd') {
            g_string_append_printf(s, "%d", (int)getpid());
            p++;
        } else {
            g_string_free(s, TRUE);
            error_set(errp, "log file name '%s': only '%%d' may follow '%%'", path);
            error_hint(errp, "'%%d' is replaced by the process id");
            return NULL;
        }
    }
    return g_string_free(s, FALSE);
}

bool log_set_file(const char *path, Error **errp)
{
    int fd = STDERR_FILENO;
    if (path) {
        g_autofree char *name = log_expand_path(path, errp);
        if (!name) {
            return false;
        }
        /* Appending makes each write land at the end, whoever else writes. */
        fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
        if (fd < 0) {
            return error_set_errno(errp, errno, "cannot open log file '%s'", name);
        }
    }
    pthread_mutex_lock(&file_lock);
    int old = file_fd;
    file_fd = fd;
    pthread_mutex_unlock(&file_lock);
    if (old != STDERR_FILENO) {
        close(old);
    }
    return true;
}

static void log_write_all(int fd, const char *buf, size_t len)
{
    while (len) {
        ssize_t n = write(fd, buf, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return; /* a log that cannot be written must not stop the machine */
        }
        buf += n;
        len -= n;
    }
}

void log_vprintf(const char *fmt, va_list ap)
{
    char small[512];
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    char *big = NULL;
    if (n >= (int)sizeof(small)) {
        big = g_strdup_vprintf(fmt, again);
    }
    va_end(again);
    if (n > 0) {
        pthread_mutex_lock(&file_lock);
        log_write_all(file_fd, big ? big : small, n);
        pthread_mutex_unlock(&file_lock);
    }
    g_free(big);
}

void log_printf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    log_vprintf(fmt, ap);
    va_end(ap);
}

static bool timestamps;
static char *guest_name; /* set before other threads exist */

void log_set_timestamps(bool on)
{
    timestamps = on;
}

bool log_has_timestamps(void)
{
    return timestamps;
}

void log_set_guest_name(const char *name)
{
    g_free(guest_name);
    guest_name = g_strdup(name);
}

char *log_prefix(void)
{
    g_autofree char *stamp = NULL;
    if (timestamps) {
        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        g_autofree char *seconds = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");
        stamp = g_strdup_printf("%s.%06dZ ", seconds, g_date_time_get_microsecond(now));
    }
    return g_strdup_printf("%s%s%s%s: ", stamp ? stamp : "", guest_name ? guest_name : "",
                           guest_name ? " " : "", log_program());
}

static void log_say(const char *kind, const char *fmt, va_list ap)
{
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    g_autofree char *prefix = log_prefix();
    g_autofree char *out = g_strdup_printf("%s%s: %s\n", prefix, kind, text);
    fputs(out, stderr);
    fflush(stderr);
}

void log_warn(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    log_say("warning", fmt, ap);
    va_end(ap);
}

void log_info(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    log_say("info", fmt, ap);
    va_end(ap);
}

void log_warn_once(bool *said, const char *fmt, ...)
{
    if (__atomic_exchange_n(said, true, __ATOMIC_RELAXED)) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    log_say("warning", fmt, ap);
    va_end(ap);
}
