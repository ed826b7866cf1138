/* SPDX-License-Identifier: MIT
 * backends/block/export.c - a machine's NBD server: nodes of its graph for others.
 *
 * Models: one server at a time, as in QEMU; the event BLOCK_EXPORT_DELETED. An export is a user of its node
 *         like a device: a guest that does not share writing its disk keeps writable exports away.
 * Threads: main loop.
 */
#include "drive_internal.h"
#include "rhea/backends/export.h"
#include "rhea/util/errorcode.h"

#include <unistd.h>

static void export_deleted(void *opaque, const char *id)
{
    machine_event(opaque, "BLOCK_EXPORT_DELETED", json_put(json_new_object(), "id", json_new_string(id)));
}

static NbdServer *server_new(Machine *m, unsigned max_connections, Error **errp)
{
    NbdServerConfig config = {
        .max_connections = max_connections, .deleted = export_deleted, .opaque = m
    };
    MachineBlock *b = machine_block(m);
    if (b->nbd) {
        error_fail(errp, "already-running", NULL, NULL, "the NBD server runs already");
        error_hint(errp, "nbd-server-stop ends it, and its exports");
        return NULL;
    }
    return nbd_server_new(b->graph, &config);
}

static bool server_keep(Machine *m, NbdServer *s, bool ok)
{
    if (!ok) {
        nbd_server_free(s);
        return false;
    }
    m->block->nbd = s;
    return true;
}

bool export_server_start(Machine *m, const SockSpec *where, unsigned max_connections, Error **errp)
{
    NbdServer *s = server_new(m, max_connections, errp);
    return s && server_keep(m, s, nbd_server_listen(s, where, errp));
}

bool export_server_start_fd(Machine *m, int fd, unsigned max_connections, Error **errp)
{
    NbdServer *s = server_new(m, max_connections, errp);
    if (!s) {
        close(fd);
        return false;
    }
    return server_keep(m, s, nbd_server_listen_fd(s, fd, errp));
}

static NbdServer *server_of(Machine *m, Error **errp)
{
    NbdServer *s = machine_block(m)->nbd;
    if (!s) {
        error_fail(errp, "not-running", NULL, NULL, "the NBD server does not run");
        error_hint(errp, "nbd-server-start starts it");
    }
    return s;
}

bool export_server_stop(Machine *m, Error **errp)
{
    NbdServer *s = server_of(m, errp);
    if (!s) {
        return false;
    }
    m->block->nbd = NULL;
    nbd_server_free(s);
    return true;
}

bool export_add(Machine *m, const NbdExportConfig *config, BlockBitmap *const *bitmaps, unsigned count,
                Error **errp)
{
    NbdServer *s = server_of(m, errp);
    NbdExportConfig c = *config;
    if (!s) {
        return false;
    }
    if (nbd_export_find(s, c.id)) {
        return error_fail(errp, "already-exists", "id",
                          "give another id, or remove that one: block-export-del",
                          "there is already an export with id '%s'", c.id);
    }
    c.shared = BLOCK_PERM_ALL;
    NbdExport *e = nbd_export_add(s, &c, errp);
    for (unsigned i = 0; e && i < count; i++) {
        if (!nbd_export_add_bitmap(e, bitmaps[i], errp)) {
            nbd_export_abandon(e);
            e = NULL;
        }
    }
    return e != NULL;
}

bool export_del(Machine *m, const char *id, bool hard, Error **errp)
{
    NbdServer *s = machine_block(m)->nbd;
    NbdExport *e = s ? nbd_export_find(s, id) : NULL;
    if (!e) {
        return error_fail(errp, "not-found", "id", "query-block-exports lists them",
                          "there is no export '%s'", id);
    }
    if (nbd_export_removed(e)) {
        return error_fail(errp, "busy", "id", "wait for BLOCK_EXPORT_DELETED",
                          "export '%s' is being removed", id);
    }
    return nbd_export_remove(e, hard, errp);
}

void export_foreach(Machine *m, void (*fn)(const NbdExport *e, void *opaque), void *opaque)
{
    if (m->block && m->block->nbd) {
        nbd_export_foreach(m->block->nbd, fn, opaque);
    }
}

BlockNode *export_find_node(Machine *m, const char *name, Error **errp)
{
    Drive *d = drive_find(m, name);
    BlockNode *n = d ? (d->port ? d->port->node : d->node) : block_find(machine_block(m)->graph, name);
    if (!n) {
        error_fail(errp, d ? "no-medium" : "not-found", "device", "query-block lists the drives",
                   d ? "drive '%s' has no medium" : "there is no drive or block node '%s'", name);
    }
    return n;
}
