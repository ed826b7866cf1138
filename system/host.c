/* SPDX-License-Identifier: MIT
 * system/host.c - descriptors with names, threads of CPUs: what management programs share with the process.
 *
 * Models: QEMU's getfd and fd=NAME: a name is used up by its first use. Sets of descriptors are util/fdset.c.
 * Threads: main loop; a CPU's thread writes its own number.
 */
#include "internal.h"
#include "rhea/system/host.h"
#include "rhea/util/errorcode.h"
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
        error_fail(errp, "invalid-value", "fdname", "begin it with a letter",
                   "'%s' cannot name a descriptor: names do not begin with a digit", name);
        return false;
    }
    if (!p->fds) {
        p->fds = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_value);
    }
    if (g_hash_table_size(p->fds) >= FDS_MAX && !g_hash_table_contains(p->fds, name)) {
        close(fd);
        error_fail(errp, "too-many", "fdname", NULL,
                   "there are %d descriptors with names already, the most there can be", FDS_MAX);
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
        error_fail(errp, "not-found", "fdname", NULL, "there is no descriptor with the name '%s'", name);
        error_hint(errp, "getfd gives a name to a descriptor");
        return -1;
    }
    g_hash_table_steal(fds, name);
    g_free(key);
    return GPOINTER_TO_INT(value);
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
