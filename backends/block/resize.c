/* SPDX-License-Identifier: MIT
 * backends/block/resize.c - a disk gets another size while the machine runs.
 *
 * Models: QEMU's block_resize. Requests in flight end before (block_resize()). Every device above the node
 * looks at its size again; what that means to the guest is the device's business (virtio-blk tells it, an IDE
 * disk says it when it is asked). Does not model: preallocation of what is new. Threads: main loop; devices
 * are told in their domains.
 */
#include "drive_internal.h"
#include "rhea/block/driver.h"
#include "rhea/util/errorcode.h"

static BlockNode *find_node(Machine *m, const char *device, const char *node_name, Error **errp)
{
    if (!!device == !!node_name) {
        error_fail(errp, device ? "conflict" : "missing-member", "node-name",
                   "query-block lists the drives, query-named-block-nodes the nodes",
                   device ? "'device' and 'node-name' exclude each other"
                          : "'device' or 'node-name' is missing: which disk?");
        return NULL;
    }
    if (node_name) {
        BlockNode *n = block_find(machine_block_graph(m), node_name);
        if (!n) {
            error_fail(errp, "not-found", "node-name", "query-named-block-nodes lists the nodes",
                       "there is no block node '%s'", node_name);
        }
        return n;
    }
    const Drive *d = drive_find(m, device);
    const DrivePort *p = d ? NULL : drive_port_find(m, device, errp);
    BlockNode *n = d ? d->port ? d->port->node : d->node : p ? p->node : NULL;
    if (!n && (d || p)) {
        error_fail(errp, "no-medium", "device", "blockdev-change-medium puts one in",
                   "'%s' has no medium", device);
    }
    return n;
}

bool drive_resize(Machine *m, const char *device, const char *node_name, int64_t size, Error **errp)
{
    role_assert_main();
    BlockNode *n = find_node(m, device, node_name, errp);
    if (!n) {
        return false;
    }
    if (size < 0) {
        error_fail(errp, "out-of-range", "size", "give bytes, 0 or more",
                   "size %" G_GINT64_FORMAT " is negative", size);
        return false;
    }
    if (block_is_read_only(n)) {
        return error_fail(errp, "read-only", NULL, "open it with read-only=off",
                          "block node '%s' is read-only", block_name(n));
    }
    Error *err = NULL;
    MachineBlock *b = machine_block(m);
    block_resize(n, size, &err);
    for (guint i = 0; i < b->ports->len; i++) { /* also of nodes above, whose size follows */
        DrivePort *p = b->ports->pdata[i];
        if (p->client && p->resized) {
            domain_lock(p->dev->domain);
            p->resized(p->dev);
            domain_unlock(p->dev->domain);
        }
    }
    return !err || error_propagate(errp, err);
}
