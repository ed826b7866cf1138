/* SPDX-License-Identifier: MIT
 * backends/block/throttle.c - I/O limits of drives, alone or in groups: bytes and requests a second, bursts.
 *
 * Models: throttling.* of QEMU's -drive, block_set_io_throttle, -object throttle-group. How requests are kept
 *         to them is block/throttle.c's business.
 * Threads: groups are made on the main loop; requests wait as coroutines on any. Nobody waits while the
 *         machine drains.
 */
#include "drive_internal.h"
#include "rhea/schema/type.h"
#include "rhea/util/errorcode.h"

#include <string.h>

/* ---- groups ---- */

static DriveThrottle *throttle_find(const MachineBlock *b, const char *name)
{
    for (guint i = 0; b && name && i < b->throttles->len; i++) {
        DriveThrottle *t = b->throttles->pdata[i];
        if (!g_strcmp0(t->name, name)) {
            return t;
        }
    }
    return NULL;
}

static DriveThrottle *throttle_new(MachineBlock *b, const char *name)
{
    DriveThrottle *t = block_throttle_new(b->graph, name, b->clock, &b->waiting);
    g_ptr_array_add(b->throttles, t);
    return t;
}

void drive_throttle_free(void *opaque)
{
    block_throttle_free(opaque);
}

/* A group's limits are those that were given last; a drive may join without any. */
static bool throttle_apply(MachineBlock *b, DriveThrottle **slot, const DriveLimits *l, const char *group,
                           Error **errp)
{
    DriveThrottle *t = group ? throttle_find(b, group) : *slot && !(*slot)->name ? *slot : NULL;
    bool any = block_limits_any(l);
    if (!any && !(t && (t->object || block_limits_any(&t->limits)))) {
        error_fail(errp, "missing-member", NULL, NULL, "the group '%s' has no limits", group);
        error_hint(errp, "give some: throttling.bps-total=N,... or -object throttle-group,id=%s,...", group);
        return false;
    }
    t = t ? t : throttle_new(b, group);
    if (any) {
        block_throttle_set(t, l);
    }
    __atomic_store_n(slot, t, __ATOMIC_RELEASE);
    return true;
}

bool drive_throttle_options(MachineBlock *b, Drive *d, const Json *o, Error **errp)
{
    DriveLimits l;
    const char *group = json_get_string(json_member(o, "group", NULL));
    if (!drive_limits_read(o, false, &l, errp)) {
        return false;
    }
    return (!block_limits_any(&l) && !group) || throttle_apply(b, &d->throttle, &l, group, errp);
}

bool drive_set_limits(DrivePort *p, const DriveLimits *l, const char *group, Error **errp)
{
    DriveThrottle **slot = p->drive ? &p->drive->throttle : &p->throttle;
    if (!block_limits_any(l) && !group) { /* it leaves its group */
        __atomic_store_n(slot, NULL, __ATOMIC_RELEASE);
        return true;
    }
    return throttle_apply(p->block, slot, l, group, errp);
}

static DriveThrottle *throttle_of(const DrivePort *p)
{
    return __atomic_load_n(p->drive ? &p->drive->throttle : &p->throttle, __ATOMIC_ACQUIRE);
}

bool drive_get_limits(const DrivePort *p, DriveLimits *out, const char **group)
{
    DriveThrottle *t = throttle_of(p);
    *out = t ? t->limits : (DriveLimits){ 0 };
    *group = t ? t->name : NULL;
    return t != NULL;
}

/* ---- -object throttle-group ---- */

bool drive_throttle_group_new(Machine *m, const Json *opts, bool from_text, Error **errp)
{
    ThrottleGroupOptions o;
    DriveLimits l;
    role_assert_main();
    if (!type_decode(&throttle_group_options_type, opts, from_text, &o, errp)) {
        return false;
    }
    g_autofree char *id = g_strdup(o.id);
    g_autoptr(Json) j = type_encode(&throttle_group_options_type, &o);
    type_clear(&throttle_group_options_type, &o);
    MachineBlock *b = machine_block(m);
    if (throttle_find(b, id)) { /* drives made it, as a group of their own */
        return error_fail(errp, "already-exists", "id", "give another id",
                          "there is already a throttle group '%s'", id);
    }
    if (!drive_limits_of_object(j, &l, errp)) {
        error_prefix(errp, "throttle group '%s'", id);
        return false;
    }
    DriveThrottle *t = throttle_new(b, id);
    t->object = true;
    block_throttle_set(t, &l);
    return true;
}

static char *throttle_user(const MachineBlock *b, const DriveThrottle *t)
{
    for (guint i = 0; i < b->drives->len; i++) {
        const Drive *d = b->drives->pdata[i];
        if (d->throttle == t) {
            return g_strdup_printf("drive '%s'", d->id);
        }
    }
    for (guint i = 0; i < b->ports->len; i++) {
        const DrivePort *p = b->ports->pdata[i];
        if (p->throttle == t) {
            return g_strdup_printf("device '%s'", p->dev ? device_name(p->dev) : "");
        }
    }
    return NULL;
}

bool drive_throttle_group_exists(Machine *m, const char *id)
{
    const DriveThrottle *t = throttle_find(m->block, id);
    return t && t->object;
}

bool drive_throttle_group_remove(Machine *m, const char *id, Error **errp)
{
    role_assert_main();
    DriveThrottle *t = throttle_find(m->block, id);
    g_autofree char *user = t->nodes ? g_strdup("a node 'throttle'") : throttle_user(m->block, t);
    if (user) {
        error_fail(errp, "in-use", "id", NULL, "object '%s' is in use, by %s", id, user);
        error_hint(errp, t->nodes ? "delete the node first"
                                  : "block_set_io_throttle takes a disk out of its group");
        return false;
    }
    drive_drain(m); /* a request may wait in it that was there before its disk left */
    g_ptr_array_remove(m->block->throttles, t);
    return true;
}

/* ---- requests ---- */

void drive_throttle(const DriveRequest *r)
{
    DriveThrottle *t = throttle_of(r->port);
    if (t && r->op != DRIVE_FLUSH && r->op != DRIVE_DISCARD) {
        int64_t bytes = r->op == DRIVE_WRITE_ZEROES ? r->bytes : (int64_t)r->v.bytes;
        block_throttle_wait(t, r->op != DRIVE_READ, bytes);
    }
}
