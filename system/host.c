/* SPDX-License-Identifier: MIT
 * system/host.c - descriptors with names, threads of CPUs: what management programs share with the process.
 *
 * Models: QEMU's getfd and fd=NAME: a name is used up by its first use; add-fd and /dev/fdset/N.
 * Does not model: sets that go when their client does: they stay until remove-fd.
 * Threads: main loop; a CPU's thread writes its own number.
 */
#include "internal.h"
#include "rhea/system/host.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { FDS_MAX = 256 };

static void close_value(gpointer fd)
{
    close(GPOINTER_TO_INT(fd));
}

bool machine_fd_put(Machine *m, const char *name, int fd, Error **errp)
{
    struct MachinePrivate *p = m->priv;
    role_assert_main();
    if (!*name || g_ascii_isdigit(*name)) {
        close(fd);
        error_set(errp, "'%s' cannot name a descriptor: names do not begin with a digit", name);
        return false;
    }
    if (!p->fds) {
        p->fds = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_value);
    }
    if (g_hash_table_size(p->fds) >= FDS_MAX && !g_hash_table_contains(p->fds, name)) {
        close(fd);
        error_set(errp, "there are %d descriptors with names already, the most there can be", FDS_MAX);
        error_hint(errp, "use them, or close some with closefd");
        return false;
    }
    g_hash_table_replace(p->fds, g_strdup(name), GINT_TO_POINTER(fd));
    return true;
}

int machine_fd_take(Machine *m, const char *name, Error **errp)
{
    gpointer key, value;
    GHashTable *fds = m->priv->fds;
    role_assert_main();
    if (!fds || !g_hash_table_lookup_extended(fds, name, &key, &value)) {
        error_set(errp, "there is no descriptor with the name '%s'", name);
        error_hint(errp, "getfd gives a name to a descriptor");
        return -1;
    }
    g_hash_table_steal(fds, name);
    g_free(key);
    return GPOINTER_TO_INT(value);
}

/* ---- sets ---- */

static GArray *fdsets(Machine *m)
{
    role_assert_main();
    struct MachinePrivate *p = m->priv;
    p->fdsets = p->fdsets ? p->fdsets : g_array_new(FALSE, TRUE, sizeof(FdsetEntry));
    return p->fdsets;
}

static FdsetEntry *entry_at(GArray *a, guint i)
{
    return &g_array_index(a, FdsetEntry, i);
}

bool fdset_add(Machine *m, uint64_t set, int fd, const char *opaque, Error **errp)
{
    GArray *a = fdsets(m);
    if (a->len >= FDS_MAX || set > INT64_MAX) {
        close(fd);
        if (set > INT64_MAX) {
            return error_set(errp, "the number of a descriptor set must not be negative");
        }
        error_set(errp, "there are %d descriptors in sets already, the most there can be", FDS_MAX);
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

uint64_t fdset_unused(Machine *m)
{
    GArray *a = fdsets(m);
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

bool fdset_remove(Machine *m, uint64_t set, int fd, Error **errp)
{
    GArray *a = fdsets(m);
    bool found = false;
    for (guint i = a->len; i-- > 0;) {
        if (entry_at(a, i)->set == set && (fd < 0 || entry_at(a, i)->fd == fd)) {
            free_entry(a, i);
            found = true;
        }
    }
    if (!found && fd >= 0) {
        return error_set(errp, "there is no descriptor %d in set %" G_GUINT64_FORMAT, fd, set);
    }
    return found || error_set(errp, "there is no descriptor set %" G_GUINT64_FORMAT, set);
}

void fdset_foreach(Machine *m, void (*fn)(const FdsetEntry *e, void *opaque), void *opaque)
{
    GArray *a = fdsets(m);
    for (guint i = 0; i < a->len; i++) {
        fn(entry_at(a, i), opaque);
    }
}

int fdset_open(Machine *m, const char *path, int flags, mode_t mode)
{
    static const char prefix[] = "/dev/fdset/";
    guint64 set;
    if (!g_str_has_prefix(path, prefix)) {
        return open(path, flags, mode);
    }
    GArray *a = fdsets(m);
    bool number = g_ascii_string_to_unsigned(path + strlen(prefix), 10, 0, INT64_MAX, &set, NULL);
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
            return fcntl(e->fd, F_DUPFD_CLOEXEC, 0);
        }
        errno = EACCES;
    }
    return -1;
}

void machine_free_fdsets(Machine *m)
{
    GArray *a = m->priv->fdsets;
    while (a && a->len) {
        free_entry(a, a->len - 1);
    }
    if (a) {
        g_array_free(a, TRUE);
    }
}

int vcpu_host_thread(const Vcpu *cpu)
{
    const int *threads = cpu->machine->priv->vcpu_threads;
    int tid = 0;
    while (cpu->thread && !(tid = __atomic_load_n(&threads[cpu->index], __ATOMIC_RELAXED))) {
        g_thread_yield(); /* the first thing that the thread does */
    }
    return tid ? tid : getpid();
}
