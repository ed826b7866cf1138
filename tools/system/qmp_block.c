/* SPDX-License-Identifier: MIT
 * tools/system/qmp_block.c - QMP commands about disks: nodes, queries, media.
 *
 * Models: QEMU 7.2's commands of these names. The human monitor's eject, change and info block go to the same
 *         functions of backends/block/media.c.
 * Does not model: statistics, jobs; backing images inside the information about another node.
 * Threads: main loop; a tray is looked at with its device's domain held.
 */
#include "rhea/backends/drive.h"
#include "rhea/block/driver.h"
#include "rhea/monitor/qmp.h"
#include "rhea/system/qompath.h"
#include "rhea/util/errorcode.h"
#include "schema/qmp-block.h"

#include "qmp_bitmap.h"

/* ---- nodes ---- */

bool qmp_blockdev_add(QmpCall *call, const BlockdevOptions *args, Error **errp)
{
    g_autoptr(Json) opts = type_encode(&blockdev_options_type, args);
    return blockdev_add_json(call->machine, opts, false, errp);
}

bool qmp_blockdev_del(QmpCall *call, const BlockdevDelArgs *args, Error **errp)
{
    return blockdev_del(call->machine, args->node_name, errp);
}

static void describe_node(const BlockNode *n, bool writeback, BlockDeviceInfo *i)
{
    const BlockNode *below = block_backing(n);
    int64_t allocated = block_allocated_bytes(n);
    i->file = g_strdup(block_filename(n));
    i->node_name = g_strdup(block_name(n));
    i->ro = block_is_read_only(n);
    i->drv = g_strdup(block_driver_name(n));
    i->backing_file = below ? g_strdup(block_filename(below)) : NULL;
    for (; below; below = block_backing(below)) {
        i->backing_file_depth++;
    }
    i->detect_zeroes = n->detect_zeroes;
    i->image.filename = g_strdup(i->file);
    i->image.format = g_strdup(i->drv);
    i->image.has_actual_size = allocated >= 0;
    i->image.actual_size = MAX(allocated, 0);
    i->image.virtual_size = block_size(n);
    i->image.backing_filename = g_strdup(i->backing_file);
    i->write_threshold = (int64_t)MIN(block_write_threshold(n), (uint64_t)INT64_MAX);
    qmp_describe_bitmaps(n, i);
    i->cache = (BlockdevCacheInfo){ .writeback = writeback, .direct = n->direct, .no_flush = n->no_flush };
}

static void add_node(BlockNode *n, void *opaque)
{
    BlockDeviceInfo i = { 0 };
    describe_node(n, true, &i);
    g_array_append_val((GArray *)opaque, i);
}

bool qmp_query_named_block_nodes(QmpCall *call, const QueryNamedBlockNodesArgs *args,
                                 QueryNamedBlockNodesResult *ret, Error **errp)
{
    GArray *a = g_array_new(FALSE, TRUE, sizeof(BlockDeviceInfo));
    block_foreach(machine_block_graph(call->machine), add_node, a);
    ret->n = a->len;
    ret->items = (void *)g_array_free(a, FALSE);
    return true;
}

/* ---- limits, sizes ---- */

/* The older name "device" and the newer one: one of them. NULL on failure. */
static const char *one_name(const char *device, const char *id, Error **errp)
{
    if (!!device == !!id) {
        error_fail(errp, device ? "conflict" : "missing-member", "id", "query-block lists the devices",
                   device ? "'device' and 'id' exclude each other" : "'id' is missing: which device?");
        return NULL;
    }
    return id ? id : device;
}

bool qmp_block_set_io_throttle(QmpCall *call, const BlockSetIoThrottleArgs *args, Error **errp)
{
    const char *name = one_name(args->device, args->id, errp);
    DrivePort *p = name ? drive_port_find(call->machine, name, errp) : NULL;
    g_autoptr(Json) o = type_encode(&block_set_io_throttle_args_type, args);
    DriveLimits l;
    if (!p || !drive_limits_read(o, true, &l, errp)) {
        return false;
    }
    return drive_set_limits(p, &l, args->group, errp);
}

bool qmp_block_resize(QmpCall *call, const BlockResizeArgs *args, Error **errp)
{
    return drive_resize(call->machine, args->device, args->node_name, args->size, errp);
}

bool qmp_block_set_write_threshold(QmpCall *call, const BlockSetWriteThresholdArgs *args, Error **errp)
{
    BlockNode *n = block_find(machine_block_graph(call->machine), args->node_name);
    if (!n) {
        error_set(errp, "there is no node '%s'", args->node_name);
        error_hint(errp, "query-named-block-nodes lists them");
        error_set_code(errp, "not-found", "node-name");
        return false;
    }
    block_set_write_threshold(n, args->write_threshold);
    return true;
}

static void describe_limits(const DrivePort *p, BlockDeviceInfo *i)
{
    DriveLimits l;
    const char *group;
    if (!drive_get_limits(p, &l, &group)) {
        return;
    }
#define LIMIT(K, F)                                                                                          \
    do {                                                                                                     \
        i->F = (int64_t)l.limit[K].avg;                                                                      \
        i->has_##F##_max = i->has_##F##_max_length = l.limit[K].max != 0;                                    \
        i->F##_max = (int64_t)l.limit[K].max;                                                                \
        i->F##_max_length = (int64_t)l.limit[K].length;                                                      \
    } while (0)
    LIMIT(DRIVE_BPS, bps);
    LIMIT(DRIVE_BPS_READ, bps_rd);
    LIMIT(DRIVE_BPS_WRITE, bps_wr);
    LIMIT(DRIVE_IOPS, iops);
    LIMIT(DRIVE_IOPS_READ, iops_rd);
    LIMIT(DRIVE_IOPS_WRITE, iops_wr);
#undef LIMIT
    i->has_iops_size = l.iops_size != 0;
    i->iops_size = (int64_t)l.iops_size;
    i->group = g_strdup(group ? group : p->drive ? p->drive->id : device_name(p->dev));
}

/* ---- disks ---- */

/* port: NULL: no device has the drive. */
static void add_disk(const Drive *d, const DrivePort *p, void *opaque)
{
    const BlockNode *n = p ? p->node : d->node;
    BlockInfo i = { .device = g_strdup(d ? d->id : ""), .type = g_strdup("unknown") };
    i.qdev = p ? qom_device_name(p->dev) : NULL;
    i.removable = p ? p->media != NULL : d->cdrom;
    if (p && p->media && p->media->tray_open) {
        domain_lock(p->dev->domain);
        i.locked = p->media->locked(p->dev);
        i.tray_open = p->media->tray_open(p->dev);
        domain_unlock(p->dev->domain);
        i.has_tray_open = true;
    }
    if (p) {
        i.has_io_status = true;
        i.io_status = (BlockDeviceIoStatus)__atomic_load_n(&p->io_status, __ATOMIC_RELAXED);
    }
    if (n) {
        i.has_inserted = true;
        describe_node(n, !d || !d->write_through, &i.inserted);
        if (p) {
            describe_limits(p, &i.inserted);
        }
    }
    g_array_append_val((GArray *)opaque, i);
}

bool qmp_query_block(QmpCall *call, QueryBlockResult *ret, Error **errp)
{
    Machine *m = call->machine;
    GArray *a = g_array_new(FALSE, TRUE, sizeof(BlockInfo));
    drive_foreach_disk(m, add_disk, a);
    ret->n = a->len;
    ret->items = (void *)g_array_free(a, FALSE);
    return true;
}

/* ---- media ---- */

bool qmp_blockdev_open_tray(QmpCall *call, const BlockdevOpenTrayArgs *args, Error **errp)
{
    const char *name = one_name(args->device, args->id, errp);
    DrivePort *p = name ? drive_port_find(call->machine, name, errp) : NULL;
    bool asked;
    return p && drive_open_tray(p, args->has_force && args->force, &asked, errp);
}

bool qmp_blockdev_close_tray(QmpCall *call, const BlockdevCloseTrayArgs *args, Error **errp)
{
    const char *name = one_name(args->device, args->id, errp);
    DrivePort *p = name ? drive_port_find(call->machine, name, errp) : NULL;
    return p && drive_close_tray(p, errp);
}

bool qmp_blockdev_remove_medium(QmpCall *call, const BlockdevRemoveMediumArgs *args, Error **errp)
{
    DrivePort *p = drive_port_find(call->machine, args->id, errp);
    return p && drive_remove_medium(p, errp);
}

bool qmp_blockdev_insert_medium(QmpCall *call, const BlockdevInsertMediumArgs *args, Error **errp)
{
    DrivePort *p = drive_port_find(call->machine, args->id, errp);
    BlockNode *n = p ? block_find(machine_block_graph(call->machine), args->node_name) : NULL;
    if (p && !n) {
        error_set(errp, "there is no block node '%s'", args->node_name);
        error_hint(errp, "open it with blockdev-add");
        error_set_code(errp, "not-found", "node-name");
    }
    return n && drive_insert_medium(p, n, errp);
}

bool qmp_blockdev_change_medium(QmpCall *call, const BlockdevChangeMediumArgs *args, Error **errp)
{
    const char *name = one_name(args->device, args->id, errp);
    bool force = args->has_force && args->force;
    BlockdevChangeReadOnlyMode mode =
        args->has_read_only_mode ? args->read_only_mode : BLOCKDEV_CHANGE_READ_ONLY_MODE_RETAIN;
    OnOffAuto read_only = mode == BLOCKDEV_CHANGE_READ_ONLY_MODE_RETAIN      ? AUTO
                          : mode == BLOCKDEV_CHANGE_READ_ONLY_MODE_READ_ONLY ? ON
                                                                             : OFF;
    return name && drive_change(call->machine, name, args->filename, args->format, force, read_only, errp);
}

bool qmp_eject(QmpCall *call, const EjectArgs *args, Error **errp)
{
    const char *name = one_name(args->device, args->id, errp);
    return name && drive_eject(call->machine, name, args->has_force && args->force, errp);
}
