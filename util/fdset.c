/* SPDX-License-Identifier: MIT
 * util/fdset.c - sets of descriptors, opened by the path /dev/fdset/N.
 *
 * Models: QEMU's add-fd: descriptors in numbered sets, copies for those who open them, sets that end with
 *         their last user once no monitor has a client. A copy shares its file's flags and place with the
 *         giver's descriptor: so do locks.
 * Threads: main loop.
 */
#include "rhea/util/errorcode.h"
#include "rhea/util/fdset.h"
#include "rhea/util/roles.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FDS_MAX = 256 };

static const char prefix[] = "/dev/fdset/";

typedef struct FdsetCopy {
    uint64_t set;
    int fd;
} FdsetCopy;

static GArray *entries; /* FdsetEntry, in order of sets; NULL: none yet */
static GArray *copies;  /* FdsetCopy: what is open; NULL: none yet */
static unsigned clients;
static bool orphaned; /* the last client went while the machine ran: no set outlives its copies */

static GArray *all(void)
{
    role_assert_main();
    entries = entries ? entries : g_array_new(FALSE, TRUE, sizeof(FdsetEntry));
    return entries;
}

static FdsetEntry *entry_at(GArray *a, guint i)
{
    return &g_array_index(a, FdsetEntry, i);
}

bool fdset_add(uint64_t set, int fd, const char *opaque, Error **errp)
{
    GArray *a = all();
    if (a->len >= FDS_MAX || set > INT64_MAX) {
        close(fd);
        if (set > INT64_MAX) {
            return error_fail(errp, "out-of-range", "fdset-id", "leave it out: then a free number is taken",
                              "the number of a descriptor set must not be negative");
        }
        error_fail(errp, "too-many", "fdset-id", NULL,
                   "there are %d descriptors in sets already, the most there can be", FDS_MAX);
        error_hint(errp, "remove some with remove-fd");
        return false;
    }
    guint at = 0;
    while (at < a->len && entry_at(a, at)->set <= set) {
        at++;
    }
    FdsetEntry e = { .set = set, .fd = fd, .opaque = g_strdup(opaque) };
    g_array_insert_val(a, at, e);
    return true;
}

uint64_t fdset_unused(void)
{
    GArray *a = all();
    uint64_t set = 0;
    for (guint i = 0; i < a->len; i++) { /* they are in order */
        set = entry_at(a, i)->set == set ? set + 1 : set;
    }
    return set;
}

static void free_entry(GArray *a, guint i)
{
    close(entry_at(a, i)->fd);
    g_free(entry_at(a, i)->opaque);
    g_array_remove_index(a, i);
}

bool fdset_remove(uint64_t set, int fd, Error **errp)
{
    GArray *a = all();
    bool found = false;
    for (guint i = a->len; i-- > 0;) {
        if (entry_at(a, i)->set == set && (fd < 0 || entry_at(a, i)->fd == fd)) {
            free_entry(a, i);
            found = true;
        }
    }
    if (!found && fd >= 0) {
        return error_fail(errp, "not-found", "fd", "query-fdsets lists the sets",
                          "there is no descriptor %d in set %" G_GUINT64_FORMAT, fd, set);
    }
    return found || error_fail(errp, "not-found", "fdset-id", "query-fdsets lists the sets",
                               "there is no descriptor set %" G_GUINT64_FORMAT, set);
}

void fdset_foreach(void (*fn)(const FdsetEntry *e, void *opaque), void *opaque)
{
    GArray *a = all();
    for (guint i = 0; i < a->len; i++) {
        fn(entry_at(a, i), opaque);
    }
}

void fdset_clear(void)
{
    GArray *a = all();
    while (a->len) {
        free_entry(a, a->len - 1);
    }
    g_clear_pointer(&entries, g_array_unref);
    g_clear_pointer(&copies, g_array_unref);
    orphaned = false;
}

/* ---- copies ---- */

bool fdset_is_path(const char *path)
{
    return g_str_has_prefix(path, prefix);
}

static bool is_open(uint64_t set)
{
    for (guint i = 0; copies && i < copies->len; i++) {
        if (g_array_index(copies, FdsetCopy, i).set == set) {
            return true;
        }
    }
    return false;
}

/* One that appends, or wants aligned buffers, where that is not expected would do harm: both are set. */
static bool set_flags(int fd, int flags)
{
    const int change = O_APPEND | O_DIRECT;
    int has = fcntl(fd, F_GETFL);
    int want = (has & ~change) | (flags & change);
    struct stat st;
    if (has < 0 || (want != has && fcntl(fd, F_SETFL, want) < 0)) {
        return false;
    }
    bool empties = flags & O_TRUNC && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    return !empties || ftruncate(fd, 0) == 0;
}

static int copy_entry(const FdsetEntry *e, int flags)
{
    int fd = fcntl(e->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (!set_flags(fd, flags)) {
        int err = errno;
        close(fd);
        errno = err;
        return -1;
    }
    FdsetCopy c = { e->set, fd };
    copies = copies ? copies : g_array_new(FALSE, TRUE, sizeof(FdsetCopy));
    g_array_append_val(copies, c);
    return fd;
}

static bool parse_set(const char *path, guint64 *set)
{
    return g_ascii_string_to_unsigned(path + strlen(prefix), 10, 0, INT64_MAX, set, NULL);
}

int fdset_open(const char *path, int flags, mode_t mode)
{
    guint64 set;
    if (!fdset_is_path(path)) {
        return open(path, flags, mode);
    }
    GArray *a = all();
    bool number = parse_set(path, &set); /* which changes errno */
    errno = ENOENT;
    if (!number) {
        return -1;
    }
    for (guint i = 0; i < a->len; i++) {
        const FdsetEntry *e = entry_at(a, i);
        if (e->set != set) {
            continue;
        }
        int has = fcntl(e->fd, F_GETFL);
        if (has >= 0 && (has & O_ACCMODE) == (flags & O_ACCMODE)) {
            return copy_entry(e, flags);
        }
        errno = EACCES;
    }
    return -1;
}

void fdset_hint(const char *path, int flags, int err, Error **errp)
{
    static const char *const access[] = { "reading", "writing", "reading and writing" };
    guint64 set;
    if (!fdset_is_path(path)) {
        return;
    }
    if (!parse_set(path, &set)) {
        error_hint(errp, "a set's path is /dev/fdset/N, with the number that add-fd gave");
    } else if (err == ENOENT) {
        error_hint(errp, "there is no descriptor set %" G_GUINT64_FORMAT "; add-fd makes one", set);
    } else if (err == EACCES) {
        error_hint(errp,
                   "no descriptor of set %" G_GUINT64_FORMAT " is open for %s; add one that is with add-fd",
                   set, access[MIN(flags & O_ACCMODE, 2)]);
    }
}

static void drop_unused(void)
{
    GArray *a = all();
    for (guint i = a->len; i-- > 0;) {
        if (!is_open(entry_at(a, i)->set)) {
            free_entry(a, i);
        }
    }
}

int fdset_close(int fd)
{
    role_assert_main();
    for (guint i = 0; copies && i < copies->len; i++) {
        if (g_array_index(copies, FdsetCopy, i).fd == fd) {
            g_array_remove_index_fast(copies, i);
            if (orphaned) {
                drop_unused();
            }
            break;
        }
    }
    return close(fd);
}

/* ---- clients ---- */

void fdset_client_came(void)
{
    role_assert_main();
    clients++;
    orphaned = false;
}

void fdset_client_gone(bool running)
{
    role_assert_main();
    g_assert(clients);
    if (--clients == 0 && running) {
        orphaned = true;
        drop_unused();
    }
}
