/* SPDX-License-Identifier: MIT
 * backends/block/media.c - media that are changed from outside: trays, eject and change, and `info block`.
 *
 * Models: the steps of blockdev-open-tray, -remove-medium, -insert-medium, -close-tray, and what QEMU's
 * monitor makes of them. A medium goes while its tray is open, when no request can start: those in flight end
 * first. Threads: the main loop's, no domain held; drive_tray_moved() in the device's domain.
 */
#include "drive_internal.h"
#include "rhea/system/qompath.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"

#include <inttypes.h>
#include <string.h>

static const char *port_title(const DrivePort *p)
{
    return p->drive ? p->drive->id : device_name(p->dev);
}

DrivePort *drive_port_find(Machine *m, const char *name, Error **errp)
{
    MachineBlock *b = m->block;
    Drive *d = drive_find(m, name);
    if (d && d->port && d->port->dev) {
        return d->port;
    }
    if (d) {
        error_fail(errp, "not-found", NULL, "-device with drive=ID gives it one",
                   "drive '%s' belongs to no device", name);
        return NULL;
    }
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (guint i = 0; b && i < b->ports->len; i++) {
        DrivePort *p = b->ports->pdata[i];
        if (p->dev && (!g_strcmp0(p->dev->id, name) || qom_is_path(p->dev, name))) {
            return p;
        }
        if (p->dev && p->media) {
            g_ptr_array_add(names, (gpointer)port_title(p));
        }
    }
    g_ptr_array_add(names, NULL);
    error_fail(errp, "not-found", NULL, "query-block lists the drives",
               "there is no drive or device '%s'", name);
    error_set_class(errp, ERROR_DEVICE_NOT_FOUND);
    error_hint_nearest(errp, name, (const char *const *)names->pdata);
    return NULL;
}

/* ---- the tray ---- */

void drive_tray_moved(DrivePort *p, bool open)
{
    Json *data = json_put(json_new_object(), "device", json_new_string(p->drive ? p->drive->id : ""));
    json_put(data, "id", json_new_string(p->dev->id ? p->dev->id : p->dev->path));
    json_put(data, "tray-open", json_new_bool(open));
    machine_event(p->dev->machine, "DEVICE_TRAY_MOVED", data);
}

static bool check_removable(const DrivePort *p, Error **errp)
{
    return p->media || error_fail(errp, "not-removable", NULL,
                                  "CD-ROM and floppy drives have one; device_del removes a disk",
                                  "'%s' has no removable medium", port_title(p));
}

/* Nothing but the medium goes in and out. */
static bool by_hand(const DrivePort *p)
{
    return !p->media->tray_open;
}

static bool tray_is_open(const DrivePort *p)
{
    if (by_hand(p)) {
        return true;
    }
    domain_lock(p->dev->domain);
    bool open = p->media->tray_open(p->dev);
    domain_unlock(p->dev->domain);
    return open;
}

static void set_tray(DrivePort *p, bool open)
{
    p->media->set_tray(p->dev, open);
    drive_tray_moved(p, open);
}

bool drive_open_tray(DrivePort *p, bool force, bool *asked, Error **errp)
{
    *asked = false;
    if (!check_removable(p, errp)) {
        return false;
    }
    if (by_hand(p)) {
        return true;
    }
    Domain *domain = p->dev->domain;
    domain_lock(domain);
    if (!p->media->tray_open(p->dev)) {
        bool locked = p->media->locked(p->dev);
        if (locked) {
            p->media->ask(p->dev);
        }
        *asked = locked && !force;
        if (!*asked) {
            set_tray(p, true);
        }
    }
    domain_unlock(domain);
    return true;
}

bool drive_close_tray(DrivePort *p, Error **errp)
{
    if (!check_removable(p, errp)) {
        return false;
    }
    if (by_hand(p)) {
        return true;
    }
    Domain *domain = p->dev->domain;
    domain_lock(domain);
    if (p->media->tray_open(p->dev)) {
        set_tray(p, false);
    }
    domain_unlock(domain);
    return true;
}

/* ---- the medium ---- */

static void set_node(BlockNode **slot, BlockNode *n)
{
    BlockNode *was = *slot;
    *slot = n ? block_ref(n) : NULL;
    if (was) {
        block_unref(was);
    }
}

static void port_set(DrivePort *p, BlockNode *n, BlockClient *c)
{
    Domain *domain = p->dev->domain;
    BlockNode *was = p->node;
    domain_lock(domain);
    p->client = c;
    p->node = n ? block_ref(n) : NULL;
    p->media->changed(p->dev);
    domain_unlock(domain);
    if (was) {
        block_unref(was);
    }
    if (p->drive) {
        set_node(&p->drive->node, n);
    }
}

static bool check_open(const DrivePort *p, Error **errp)
{
    if (!check_removable(p, errp)) {
        return false;
    }
    return tray_is_open(p) || error_fail(errp, "tray-closed", NULL, "blockdev-open-tray opens it",
                                         "the tray of '%s' is not open", port_title(p));
}

bool drive_remove_medium(DrivePort *p, Error **errp)
{
    role_assert_main();
    if (!check_open(p, errp)) {
        return false;
    }
    BlockClient *c = p->client;
    if (c) { /* it holds the node until the last request has ended */
        port_set(p, NULL, NULL);
        drive_port_wait(p);
        drive_port_cancel(p);
        block_client_free(c);
    }
    return true;
}

bool drive_insert_medium(DrivePort *p, BlockNode *n, Error **errp)
{
    role_assert_main();
    if (!check_open(p, errp)) {
        return false;
    }
    if (p->node) {
        return error_fail(errp, "in-use", NULL, "blockdev-remove-medium takes it out",
                          "there is a medium in '%s' already", port_title(p));
    }
    bool was = p->read_only;
    p->read_only = !p->may_write || block_is_read_only(n);
    BlockClient *c = drive_client_new(p, n, errp);
    if (!c) {
        p->read_only = was;
        return false;
    }
    port_set(p, n, c);
    return true;
}

/* ---- at the monitor ---- */

static bool open_now(DrivePort *p, bool force, Error **errp)
{
    bool asked;
    if (!drive_open_tray(p, force, &asked, errp)) {
        return false;
    }
    if (asked) {
        error_fail(errp, "locked", NULL, NULL,
                   "'%s' is locked by the guest, which has been asked to open it", port_title(p));
        error_hint(errp, "try again when the tray is open, or use force (-f)");
        return false;
    }
    return true;
}

bool drive_eject(Machine *m, const char *name, bool force, Error **errp)
{
    DrivePort *p = drive_port_find(m, name, errp);
    return p && open_now(p, force, errp) && drive_remove_medium(p, errp);
}

/* The new medium is opened first: nothing changes when that fails. */
static BlockNode *open_medium(const DrivePort *p, const char *file, const char *format, OnOffAuto read_only,
                              Error **errp)
{
    g_autoptr(Json) o = block_image_options(file, format, errp);
    if (!o) {
        return NULL;
    }
    bool keep = read_only == ON || (read_only == AUTO && p->node && block_is_read_only(p->node));
    json_put(o, "read-only", json_new_bool(!p->may_write || keep));
    BlockNode *n = block_open(p->block->graph, o, false, errp);
    if (n && !format && !block_is_read_only(n) && g_str_equal(block_driver_name(n), "raw")) {
        block_guard_format(n);
    }
    return n;
}

bool drive_change(Machine *m, const char *name, const char *file, const char *format, bool force,
                  OnOffAuto read_only, Error **errp)
{
    DrivePort *p = drive_port_find(m, name, errp);
    if (!p || !check_removable(p, errp)) {
        return false;
    }
    if (read_only == OFF && !p->may_write) {
        error_set(errp, "'read-only-mode' is read-write: '%s' only reads its media", port_title(p));
        error_hint(errp, "leave it out");
        error_set_code(errp, "not-supported", "read-only-mode");
        return false;
    }
    BlockNode *n = open_medium(p, file, format, read_only, errp);
    if (!n) {
        return false;
    }
    bool ok = open_now(p, force, errp) && drive_remove_medium(p, errp) && drive_insert_medium(p, n, errp) &&
              drive_close_tray(p, errp);
    block_unref(n);
    return ok;
}

/* ---- info block ---- */

static void print_medium(const BlockNode *n, GString *out)
{
    const char *file = block_filename(n);
    g_string_append_printf(out, " (%s): %s (%s%s)\n", block_name(n), *file ? file : "(no file)",
                           block_driver_name(n), block_is_read_only(n) ? ", read-only" : "");
}

static void print_verbose(const BlockNode *n, GString *out)
{
    for (; n; n = block_backing(n)) {
        int64_t allocated = block_allocated_bytes(n);
        g_string_append_printf(out, "    Size:             %" PRId64 " bytes", block_size(n));
        if (allocated >= 0) {
            g_string_append_printf(out, ", %" PRId64 " on disk", allocated);
        }
        g_string_append_c(out, '\n');
        if (block_backing(n)) {
            const char *file = block_filename(block_backing(n));
            g_string_append_printf(out, "    Backing file:     %s\n",
                                   *file ? file : block_name(block_backing(n)));
        }
    }
}

static void print_port(const DrivePort *p, bool verbose, GString *out)
{
    if (p->node) {
        print_medium(p->node, out);
    } else {
        g_string_append(out, ": [not inserted]\n");
    }
    g_string_append_printf(out, "    Attached to:      %s\n", p->dev->id ? p->dev->id : p->dev->path);
    if (p->media && by_hand(p)) {
        g_string_append(out, "    Removable device\n");
    } else if (p->media) {
        domain_lock(p->dev->domain);
        g_string_append_printf(out, "    Removable device: %slocked, tray %s\n",
                               p->media->locked(p->dev) ? "" : "not ",
                               p->media->tray_open(p->dev) ? "open" : "closed");
        domain_unlock(p->dev->domain);
    }
    if (p->node && !p->read_only) {
        bool through = p->drive && p->drive->write_through;
        g_string_append_printf(out, "    Cache mode:       %s\n", through ? "writethrough" : "writeback");
    }
    if (verbose && p->node) {
        print_verbose(p->node, out);
    }
}

bool drive_print(Machine *m, const char *name, bool verbose, GString *out)
{
    bool found = false;
    for (unsigned i = 0; i < drive_count(m); i++) {
        const Drive *d = drive_at(m, i);
        if (name && !g_str_equal(name, d->id)) {
            continue;
        }
        g_string_append_printf(out, "%s%s", found ? "\n" : "", d->id);
        found = true;
        if (d->port && d->port->dev) {
            print_port(d->port, verbose, out);
        } else if (d->node) {
            print_medium(d->node, out);
        } else {
            g_string_append(out, ": [not inserted]\n");
        }
    }
    MachineBlock *b = m->block;
    for (guint i = 0; b && i < b->ports->len; i++) { /* what no -drive stands for */
        const DrivePort *p = b->ports->pdata[i];
        const char *node = p->node ? block_name(p->node) : NULL;
        if (!p->drive && p->dev &&
            (!name || g_strcmp0(name, p->dev->id) == 0 || g_strcmp0(name, node) == 0)) {
            g_string_append_printf(out, "%s%s", found ? "\n" : "", device_name(p->dev));
            found = true;
            print_port(p, verbose, out);
        }
    }
    return found;
}
