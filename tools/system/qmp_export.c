/* SPDX-License-Identifier: MIT
 * tools/system/qmp_export.c - QMP and monitor commands about serving disks to others by NBD.
 *
 * Models: QEMU 7.2's commands of these names. Threads: main loop.
 */
#include "cli.h"
#include "rhea/backends/export.h"
#include "rhea/system/host.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include "schema/qmp-export.h"

#include <string.h>

/* ---- the server ---- */

SockSpec qmp_unix_spec(const QmpUnixAddress *u)
{
    return (SockSpec){ .kind = SOCK_KIND_UNIX,
                       .path = u->path,
                       .abstract = u->has_abstract && u->abstract,
                       .loose = u->has_tight && !u->tight };
}

SockSpec qmp_inet_spec(const QmpInetAddress *i)
{
    bool only4 = i->has_ipv4 && i->ipv4 && !i->has_ipv6, only6 = i->has_ipv6 && i->ipv6 && !i->has_ipv4;
    return (SockSpec){ .kind = SOCK_KIND_INET,
                       .host = i->host,
                       .port = i->port,
                       .to = i->has_to ? (unsigned)i->to : 0,
                       .no_ipv4 = only6 || (i->has_ipv4 && !i->ipv4),
                       .no_ipv6 = only4 || (i->has_ipv6 && !i->ipv6) };
}

int qmp_socket_fd(Machine *m, const char *name, Error **errp)
{
    return g_ascii_isdigit(name[0]) ? sock_take_fd(name, errp) : machine_fd_take(m, name, errp);
}

bool qmp_nbd_server_start(QmpCall *call, const NbdServerStartArgs *args, Error **errp)
{
    unsigned max = args->has_max_connections ? (unsigned)args->max_connections : 0;
    if (args->addr.type == SOCKET_ADDRESS_TYPE_FD) {
        int fd = qmp_socket_fd(call->machine, args->addr.u.fd.data.str, errp);
        return fd >= 0 && export_server_start_fd(call->machine, fd, max, errp);
    }
    SockSpec where = args->addr.type == SOCKET_ADDRESS_TYPE_UNIX ? qmp_unix_spec(&args->addr.u.unix_.data)
                                                                 : qmp_inet_spec(&args->addr.u.inet.data);
    Error *err = NULL;
    bool ok = export_server_start(call->machine, &where, max, &err);
    if (err && error_errno(err)) {
        error_member_default(&err, "addr");
    }
    return ok || error_propagate(errp, err);
}

bool qmp_nbd_server_stop(QmpCall *call, Error **errp)
{
    return export_server_stop(call->machine, errp);
}

/* ---- exports ---- */

bool qmp_nbd_server_add(QmpCall *call, const NbdServerAddArgs *args, Error **errp)
{
    BlockNode *n = export_find_node(call->machine, args->device, errp);
    if (!n) {
        error_set_code(errp, "not-found", "device");
        return false;
    }
    BlockBitmap *b = args->bitmap ? nbd_find_bitmap(n, args->bitmap, errp) : NULL;
    if (args->bitmap && !b) {
        error_set_code(errp, "not-found", "bitmap");
        return false;
    }
    const char *name = args->name ? args->name : args->device;
    NbdExportConfig c = { .id = name,
                          .name = name,
                          .description = args->description,
                          .node = n,
                          .writable = args->has_writable && args->writable };
    return export_add(call->machine, &c, &b, b != NULL, errp);
}

bool qmp_nbd_server_remove(QmpCall *call, const NbdServerRemoveArgs *args, Error **errp)
{
    bool hard = args->has_mode && args->mode == BLOCK_EXPORT_REMOVE_MODE_HARD;
    return export_del(call->machine, args->name, hard, errp);
}

/* A name alone is a bitmap of the node or of what lies below it. */
static BlockBitmap *one_bitmap(QmpCall *call, BlockNode *n, const Json *ref, Error **errp)
{
    const char *name = json_get_string(ref);
    BlockDirtyBitmap other;
    if (name) {
        return nbd_find_bitmap(n, name, errp);
    }
    if (!type_decode(&block_dirty_bitmap_type, ref, false, &other, errp)) {
        return NULL;
    }
    BlockNode *owner = block_find(machine_block_graph(call->machine), other.node);
    BlockBitmap *b = owner ? block_bitmap_get(owner, other.name, errp) : NULL;
    if (!owner) {
        error_fail(errp, "not-found", "bitmaps", "query-named-block-nodes lists the nodes",
                   "there is no block node '%s'", other.node);
    }
    type_clear(&block_dirty_bitmap_type, &other);
    return b;
}

bool qmp_block_export_add(QmpCall *call, const BlockExportOptions *args, Error **errp)
{
    const BlockExportOptionsNbd *nbd = &args->u.nbd;
    BlockNode *n = block_find(machine_block_graph(call->machine), args->node_name);
    if (!n) {
        error_fail(errp, "not-found", "node-name", "query-named-block-nodes lists the nodes",
                   "there is no block node '%s'", args->node_name);
        return false;
    }
    if (!text_check_id(args->id, "export0", errp)) {
        return false;
    }
    NbdExportConfig c = { .id = args->id,
                          .name = nbd->name ? nbd->name : args->node_name,
                          .description = nbd->description,
                          .node = n,
                          .writable = args->has_writable && args->writable,
                          .write_through = args->has_writethrough && args->writethrough,
                          .allocation_depth = nbd->has_allocation_depth && nbd->allocation_depth };
    g_autoptr(GPtrArray) bitmaps = g_ptr_array_new();
    for (size_t i = 0; nbd->has_bitmaps && i < nbd->bitmaps.n; i++) {
        BlockBitmap *b = one_bitmap(call, n, nbd->bitmaps.items[i], errp);
        if (!b) {
            error_set_code(errp, "not-found", "bitmaps");
            return false;
        }
        g_ptr_array_add(bitmaps, b);
    }
    return export_add(call->machine, &c, (BlockBitmap *const *)bitmaps->pdata, bitmaps->len, errp);
}

bool qmp_block_export_del(QmpCall *call, const BlockExportDelArgs *args, Error **errp)
{
    bool hard = args->has_mode && args->mode == BLOCK_EXPORT_REMOVE_MODE_HARD;
    return export_del(call->machine, args->id, hard, errp);
}

static void describe(const NbdExport *e, void *opaque)
{
    BlockExportInfo i = { .id = g_strdup(nbd_export_id(e)),
                          .type = BLOCK_EXPORT_TYPE_NBD,
                          .node_name = g_strdup(block_name(nbd_export_node(e))),
                          .shutting_down = nbd_export_removed(e) };
    g_array_append_val((GArray *)opaque, i);
}

bool qmp_query_block_exports(QmpCall *call, QueryBlockExportsResult *ret, Error **errp)
{
    GArray *a = g_array_new(FALSE, TRUE, sizeof(BlockExportInfo));
    export_foreach(call->machine, describe, a);
    ret->n = a->len;
    ret->items = (void *)g_array_free(a, FALSE);
    return true;
}

/* ---- the human monitor ---- */

static bool add_disk(Machine *m, const char *device, const char *name, bool writable, Error **errp)
{
    BlockNode *n = export_find_node(m, device, errp);
    NbdExportConfig c = { .id = name, .name = name, .node = n, .writable = writable };
    return n && export_add(m, &c, NULL, 0, errp);
}

/* -a: every drive that has a medium. */
static bool add_all(Machine *m, bool writable, Error **errp)
{
    for (unsigned i = 0; i < drive_count(m); i++) {
        const Drive *d = drive_at(m, i);
        if ((d->port ? d->port->node : d->node) && !add_disk(m, d->id, d->id, writable, errp)) {
            export_server_stop(m, NULL);
            return false;
        }
    }
    return true;
}

static void hmp_start(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    bool all = hmp_take_flag(&argc, &argv, "-a"), writable = hmp_take_flag(&argc, &argv, "-w");
    all = hmp_take_flag(&argc, &argv, "-a") || all;
    Error *err = NULL;
    if (argc != 2 || (writable && !all)) {
        g_string_append(out, argc == 2 ? "nbd_server_start: -w goes with -a only\n"
                                       : "nbd_server_start: HOST:PORT or unix:PATH is expected\n");
        return;
    }
    g_autofree char *text = g_strdup(argv[1]);
    SockSpec where = { .kind = SOCK_KIND_UNIX, .path = text + strlen("unix:") };
    if (!g_str_has_prefix(text, "unix:")) {
        char *colon = strrchr(text, ':');
        if (!colon) {
            g_string_append_printf(out, "Error: '%s' has no port\n", text);
            return;
        }
        *colon = '\0';
        size_t len = strlen(text);
        bool brackets = text[0] == '[' && len > 2 && text[len - 1] == ']';
        if (brackets) {
            text[len - 1] = '\0';
        }
        where = (SockSpec){ .kind = SOCK_KIND_INET, .host = text + brackets, .port = colon + 1 };
    }
    if (!export_server_start(m, &where, 0, &err) || (all && !add_all(m, writable, &err))) {
        hmp_say_error(out, err);
    }
}

static void hmp_stop(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    if (argc != 1) {
        g_string_append(out, "nbd_server_stop takes no argument\n");
    } else if (!export_server_stop(m, &err)) {
        hmp_say_error(out, err);
    }
}

static void hmp_add(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    bool writable = hmp_take_flag(&argc, &argv, "-w");
    if (argc != 2 && argc != 3) {
        g_string_append(out, "nbd_server_add: [-w], a drive or node, and perhaps a name are expected\n");
    } else if (!add_disk(m, argv[1], argc == 3 ? argv[2] : argv[1], writable, &err)) {
        hmp_say_error(out, err);
    }
}

static void hmp_remove(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    bool hard = hmp_take_flag(&argc, &argv, "-f");
    if (argc != 2) {
        g_string_append(out, "nbd_server_remove: [-f] and the name of an export are expected\n");
    } else if (!export_del(m, argv[1], hard, &err)) {
        hmp_say_error(out, err);
    }
}

static void add_id(const NbdExport *e, void *opaque)
{
    g_ptr_array_add(opaque, g_strdup(nbd_export_id(e)));
}

static void complete_export(Machine *m, unsigned arg, GPtrArray *out)
{
    if (arg == 1) {
        export_foreach(m, add_id, out);
    }
}

static void complete_drive(Machine *m, unsigned arg, GPtrArray *out)
{
    for (unsigned i = 0; arg == 1 && i < drive_count(m); i++) {
        g_ptr_array_add(out, g_strdup(drive_at(m, i)->id));
    }
}

const HmpCommand hmp_export_commands[] = {
    { "nbd_server_add", "[-w] DRIVE [NAME]", "export a drive or block node (-w: clients may write)", hmp_add,
      NULL, complete_drive },
    { "nbd_server_remove", "[-f] NAME", "remove an export (-f: although it is in use)", hmp_remove, NULL,
      complete_export },
    { "nbd_server_start", "[-a] [-w] HOST:PORT|unix:PATH",
      "start the NBD server (-a: export all drives, -w: for writing)", hmp_start },
    { "nbd_server_stop", NULL, "stop the NBD server and its exports", hmp_stop },
    { 0 },
};
