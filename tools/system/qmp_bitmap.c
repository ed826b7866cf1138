/* SPDX-License-Identifier: MIT
 * tools/system/qmp_bitmap.c - QMP commands about dirty bitmaps.
 *
 * Models: QEMU 7.2's block-dirty-bitmap-* of these names. Threads: main loop.
 */
#include "rhea/backends/drive.h"
#include "rhea/block/bitmap.h"
#include "rhea/monitor/qmp.h"
#include "rhea/util/errorcode.h"
#include "schema/qmp-block.h"

#include "qmp_bitmap.h"

/* A node by its name, or the one of a drive. */
static BlockNode *node_of(QmpCall *call, const char *name, Error **errp)
{
    BlockNode *n = block_find(machine_block_graph(call->machine), name);
    const Drive *d = n ? NULL : drive_find(call->machine, name);
    n = d ? d->node : n;
    if (!n) {
        error_fail(errp, "not-found", NULL, "query-named-block-nodes lists the nodes",
                   "there is no block node and no drive '%s'", name);
    }
    return n;
}

bool qmp_block_dirty_bitmap_add(QmpCall *call, const BlockDirtyBitmapAddArgs *args, Error **errp)
{
    BlockNode *n = node_of(call, args->node, errp);
    if (n && args->has_granularity && !args->granularity) {
        return error_fail(errp, "invalid-value", "granularity",
                          "leave it out: then it follows the image's clusters",
                          "Granularity must be power of 2 and at least 512");
    }
    return n && block_bitmap_cmd_add(n, args->name, args->has_granularity ? (uint64_t)args->granularity : 0,
                                     args->has_persistent && args->persistent,
                                     !(args->has_disabled && args->disabled), errp);
}

bool qmp_block_dirty_bitmap_remove(QmpCall *call, const BlockDirtyBitmapRemoveArgs *args, Error **errp)
{
    BlockNode *n = node_of(call, args->node, errp);
    return n && block_bitmap_cmd_remove(n, args->name, errp);
}

bool qmp_block_dirty_bitmap_clear(QmpCall *call, const BlockDirtyBitmapClearArgs *args, Error **errp)
{
    BlockNode *n = node_of(call, args->node, errp);
    return n && block_bitmap_cmd_clear(n, args->name, errp);
}

bool qmp_block_dirty_bitmap_enable(QmpCall *call, const BlockDirtyBitmapEnableArgs *args, Error **errp)
{
    BlockNode *n = node_of(call, args->node, errp);
    return n && block_bitmap_cmd_record(n, args->name, true, errp);
}

bool qmp_block_dirty_bitmap_disable(QmpCall *call, const BlockDirtyBitmapDisableArgs *args, Error **errp)
{
    BlockNode *n = node_of(call, args->node, errp);
    return n && block_bitmap_cmd_record(n, args->name, false, errp);
}

bool qmp_block_dirty_bitmap_merge(QmpCall *call, const BlockDirtyBitmapMergeArgs *args, Error **errp)
{
    BlockNode *n = node_of(call, args->node, errp);
    g_autoptr(GPtrArray) from = g_ptr_array_new();
    for (size_t i = 0; n && i < args->bitmaps.n; i++) {
        const char *name = json_get_string(args->bitmaps.items[i]);
        BlockNode *where = n;
        g_autofree BlockDirtyBitmap *other = NULL;
        if (!name) {
            other = g_new0(BlockDirtyBitmap, 1);
            if (!type_decode(&block_dirty_bitmap_type, args->bitmaps.items[i], false, other, errp)) {
                return false;
            }
            where = node_of(call, other->node, errp);
            name = other->name;
        }
        BlockBitmap *b = where ? block_bitmap_get(where, name, errp) : NULL;
        if (b) {
            g_ptr_array_add(from, b);
        }
        if (other) {
            type_clear(&block_dirty_bitmap_type, other);
        }
        if (!b) {
            return false;
        }
    }
    return n && block_bitmap_cmd_merge(n, args->target, (BlockBitmap *const *)from->pdata, from->len, errp);
}

void qmp_describe_bitmaps(const BlockNode *n, BlockDeviceInfo *i)
{
    unsigned count = block_bitmap_count(n);
    i->has_dirty_bitmaps = count != 0;
    i->dirty_bitmaps.n = count;
    i->dirty_bitmaps.items = g_new0(BlockDirtyInfo, count);
    for (unsigned k = 0; k < count; k++) {
        BlockBitmap *b = block_bitmap_at(n, k);
        i->dirty_bitmaps.items[k] = (BlockDirtyInfo){
            .name = g_strdup(b->name),
            .count = block_bitmap_dirty_bytes(b),
            .granularity = (int64_t)1 << b->granularity_bits,
            .recording = b->recording,
            .busy = b->busy != 0,
            .persistent = b->persistent,
            .has_inconsistent = b->inconsistent,
            .inconsistent = b->inconsistent,
        };
    }
}
