/* SPDX-License-Identifier: MIT
 * backends/block/port.c - devices and their disks: the property, ownership, requests.
 *
 * Models: a port is bound to a -drive (one port each) or to a node of -blockdev (whose permissions decide). A
 *         request is a coroutine on the home loop of the device's domain; it counts itself in where it is
 *         submitted and out after its callback, so that who waits for zero has seen all of them.
 * Threads: binding, opening, draining and removal on the main loop; requests in the device's domain.
 */
#include "drive_internal.h"
#include "rhea/system/iothread.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"

#include <errno.h>
#include <string.h>

/* ---- the property ---- */

static char *port_holder(const DrivePort *p)
{
    return p->dev ? g_strdup_printf("'%s'", device_name(p->dev)) : g_strdup("another device");
}

void drive_port_wait(DrivePort *p)
{
    MachineBlock *b = p->block;
    __atomic_add_fetch(&b->waiting, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&p->in_flight, __ATOMIC_SEQ_CST)) {
        loop_turn(b->m->loop, true);
    }
    __atomic_sub_fetch(&b->waiting, 1, __ATOMIC_SEQ_CST);
}

/* Requests end first; the device gets no more of them through. */
static void port_close(DrivePort *p)
{
    if (p->client) {
        drive_port_cancel(p);
        drive_port_wait(p);
        drive_port_cancel(p);
        block_client_free(p->client);
        p->client = NULL;
    }
}

static void port_release(void *slot)
{
    DrivePort *p = slot;
    if (!p->block) {
        return;
    }
    port_close(p);
    if (p->node) {
        block_unref(p->node);
    }
    if (p->drive) {
        p->drive->port = NULL;
        if (p->ends) { /* as QEMU's: what -drive made goes with its device, what -blockdev made stays */
            g_ptr_array_remove(p->block->drives, p->drive);
        }
    }
    g_ptr_array_remove(p->block->ports, p);
    drive_account_fini(p);
    *p = (DrivePort){ .rerror = p->rerror,
                      .werror = p->werror,
                      .share_rw = p->share_rw,
                      .account_invalid = p->account_invalid,
                      .account_failed = p->account_failed };
}

static bool unknown_drive(Machine *m, const char *id, Error **errp)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (unsigned i = 0; i < drive_count(m); i++) {
        g_ptr_array_add(names, drive_at(m, i)->id);
    }
    MachineBlock *b = m->block;
    for (guint i = 0; b && i < b->nodes->len; i++) {
        g_ptr_array_add(names, (gpointer)block_name(b->nodes->pdata[i]));
    }
    g_ptr_array_add(names, NULL);
    error_fail(errp, "not-found", NULL, "query-named-block-nodes lists the nodes, query-block the drives",
               "there is no drive or block node '%s'", id);
    error_hint_nearest(errp, id, (const char *const *)names->pdata);
    return false;
}

static bool port_bind(Machine *m, const Prop *prop G_GNUC_UNUSED, void *slot, const char *id, Error **errp)
{
    DrivePort *p = slot;
    Drive *d = drive_find(m, id);
    BlockNode *n = d ? d->node : m->block ? block_find(m->block->graph, id) : NULL;
    if (!d && (!n || !*id)) {
        return unknown_drive(m, id, errp);
    }
    if (d && d->port && d->port != p) {
        g_autofree char *holder = port_holder(d->port);
        error_fail(errp, "in-use", NULL, NULL, "drive '%s' is already in use by %s", id, holder);
        if (d->iface != DRIVE_INTERFACE_NONE) {
            error_hint(errp, "if=none leaves a drive to -device");
        }
        return false;
    }
    port_release(p);
    p->block = machine_block(m);
    p->drive = d;
    p->node = n ? block_ref(n) : NULL;
    if (d) {
        d->port = p;
    }
    g_ptr_array_add(p->block->ports, p);
    return true;
}

static char *port_name(const void *slot)
{
    const DrivePort *p = slot;
    return p->drive ? g_strdup(p->drive->id) : p->node ? g_strdup(block_name(p->node)) : NULL;
}

void drive_register(void)
{
    static const PropBinder binder = { .bind = port_bind, .name = port_name, .release = port_release };
    prop_register_binder(PROP_BLOCK_, &binder);
}

/* ---- opening ---- */

bool drive_medium_read_only(const DrivePort *p)
{
    return p->node && block_is_read_only(p->node);
}

static void port_closed_with_device(void *opaque)
{
    DrivePort *p = opaque;
    p->ends = p->dev->going;
    port_close(p);
}

BlockClient *drive_client_new(const DrivePort *p, BlockNode *n, Error **errp)
{
    unsigned perm = BLOCK_PERM_READ | (p->read_only ? 0 : BLOCK_PERM_WRITE);
    return block_client_new(n, device_name(p->dev), perm,
                            BLOCK_PERM_READ | BLOCK_PERM_WRITE_UNCHANGED | BLOCK_PERM_RESIZE |
                                (p->share_rw ? BLOCK_PERM_WRITE : 0),
                            errp);
}

bool drive_open(DrivePort *p, Device *dev, bool read_only, Error **errp)
{
    role_assert_main();
    p->dev = dev;
    p->read_only = read_only;
    drive_account_init(p);
    if (!p->node) {
        return true;
    }
    if (!read_only && block_is_read_only(p->node)) {
        g_autofree char *name = port_name(p);
        error_fail(errp, "read-only", NULL, NULL,
                   "device '%s' writes to its disk, and '%s' is read-only", device_name(dev), name);
        error_hint(errp, "leave out read-only=on, or give it snapshot=on");
        return false;
    }
    p->client = drive_client_new(p, p->node, errp);
    if (!p->client) {
        return false;
    }
    block_client_set_write_through(p->client, p->drive && p->drive->write_through);
    device_add_cleanup(dev, port_closed_with_device, p);
    return true;
}

bool drive_open_removable(DrivePort *p, Device *dev, const DriveMediaOps *media, bool may_write,
                          Error **errp)
{
    if (!p->block) {
        p->block = machine_block(dev->machine);
        g_ptr_array_add(p->block->ports, p);
    }
    p->may_write = may_write;
    if (!drive_open(p, dev, !may_write || drive_medium_read_only(p), errp)) {
        return false;
    }
    p->media = media;
    if (!p->client) { /* one may come */
        device_add_cleanup(dev, port_closed_with_device, p);
    }
    return true;
}

typedef struct ReadNow {
    BlockClient *client;
    int64_t off;
    IoVec v;
    int result;
} ReadNow;

static void read_now_body(void *opaque)
{
    ReadNow *r = opaque;
    r->result = block_preadv(r->client, r->off, &r->v, 0);
}

bool drive_read_now(DrivePort *p, int64_t off, void *buf, size_t len, Error **errp)
{
    role_assert_main();
    ReadNow r = { .client = p->client, .off = off };
    iov_init_buf(&r.v, buf, len);
    co_run_sync(p->block->m->loop, read_now_body, &r);
    iov_fini(&r.v);
    if (r.result < 0) {
        return error_set_errno(errp, -r.result, "cannot read '%s'", block_name(p->node));
    }
    return true;
}

/* ---- requests ---- */

static int request_run(DriveRequest *r)
{
    BlockClient *c = r->client;
    switch (r->op) {
    case DRIVE_READ: return block_preadv(c, r->off, &r->v, r->flags);
    case DRIVE_WRITE: return block_pwritev(c, r->off, &r->v, r->flags);
    case DRIVE_WRITE_ZEROES: return block_write_zeroes(c, r->off, r->bytes, r->flags);
    case DRIVE_DISCARD: return block_discard(c, r->off, r->bytes);
    case DRIVE_FLUSH: return block_flush(c);
    }
    return -EINVAL;
}

static void request_body(void *opaque)
{
    DriveRequest *r = opaque;
    DrivePort *p = r->port;
    MachineBlock *b = p->block;
    Domain *domain = p->dev->domain;
    CoMutex *order = r->order;
    if (order) {
        co_mutex_lock(order);
    }
    bool wait = drive_must_wait(r);
    if (!wait) {
        drive_throttle(r);
        r->result = request_run(r);
    }
    domain_lock(domain);
    if (wait) {
        r->result = -ECANCELED;
        drive_hold_back(r);
    }
    if (!wait) {
        drive_account(r);
    }
    bool held = wait || (r->result < 0 && drive_error_handled(r));
    if (order) { /* not before it is known whether the next one has to wait */
        co_mutex_unlock(order);
    }
    if (!held) {
        r->done(r);
    }
    domain_unlock(domain);
    if (__atomic_sub_fetch(&p->in_flight, 1, __ATOMIC_SEQ_CST) == 0 &&
        __atomic_load_n(&b->waiting, __ATOMIC_SEQ_CST)) {
        loop_post(b->m->loop, &b->ended);
    }
}

void drive_submit(DrivePort *p, DriveRequest *r)
{
    g_assert(p->client);
    r->port = p;
    r->client = p->client;
    if (p->cancels) { /* from the end of a request that never ran: nor does this one */
        r->result = -ECANCELED;
        drive_hold_back(r);
        return;
    }
    r->start = clock_now(&clock_host_monotonic);
    __atomic_add_fetch(&p->in_flight, 1, __ATOMIC_SEQ_CST);
    co_start(domain_loop(p->dev->domain), request_body, r);
}

void drive_drain(Machine *m)
{
    MachineBlock *b = m->block;
    if (b) {
        block_give_up(b->graph);
    }
    for (guint i = 0; b && i < b->ports->len; i++) {
        drive_port_wait(b->ports->pdata[i]);
    }
}

void drive_remove_all(Machine *m)
{
    role_assert_main();
    MachineBlock *b = m->block;
    if (!b) {
        return;
    }
    nbd_server_free(b->nbd);
    b->nbd = NULL;
    drive_drain_cancel(m);
    machine_remove_listener(m, &b->listener);
    while (b->ports->len) {
        DrivePort *p = b->ports->pdata[0];
        Device *dev = p->dev;
        port_release(p);
        *p = (DrivePort){ .dev = dev };
    }
    g_ptr_array_free(b->ports, TRUE);
    g_ptr_array_free(b->drives, TRUE);
    g_ptr_array_free(b->nodes, TRUE); /* some may use throttles */
    g_ptr_array_free(b->throttles, TRUE);
    iothreads_settle(m); /* the last of their requests look at the block once more */
    while (__atomic_load_n(&b->ended.queued, __ATOMIC_ACQUIRE)) {
        loop_turn(m->loop, false);
    }
    block_graph_free(b->graph);
    g_free(b);
    m->block = NULL;
}
