/* SPDX-License-Identifier: MIT
 * backends/block/drive.c - -blockdev and -drive: from options to nodes of the machine's block graph.
 *
 * Models: what -drive's one-word options mean for nodes; names and places as QEMU gives them (ide0-hd0,
 * ide1-cd0, virtio0, none0). snapshot=on puts a temporary qcow2 image above, unlinked once it is open.
 * Threads: the main loop's.
 */
#include "drive_internal.h"
#include "rhea/block/driver.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

#include <inttypes.h>
#include <string.h>

enum { IDE_UNITS = 2, IDE_BUSES = 2 }; /* unless the board says otherwise */
enum { PFLASH_UNITS = 2, FLOPPY_UNITS = 2 };

static void node_release(void *n)
{
    block_unref(n);
}

static void graph_wait_ended(void *opaque)
{
    /* That it ran has ended the turn in which somebody waits. */
}

static void drive_drain_for(Machine *m, bool cancel)
{
    (cancel ? drive_drain_cancel : drive_drain)(m);
}

static void drive_free_item(void *d)
{
    drive_free(d);
}

static void threshold_passed(void *opaque, const BlockNode *n, uint64_t threshold, uint64_t exceeded)
{
    Json *data = json_put(json_new_object(), "node-name", json_new_string(block_name(n)));
    json_put(data, "amount-exceeded", json_new_uint(exceeded));
    json_put(data, "write-threshold", json_new_uint(threshold));
    machine_event(opaque, "BLOCK_WRITE_THRESHOLD", data);
}

MachineBlock *machine_block(Machine *m)
{
    role_assert_main();
    if (!m->block) {
        MachineBlock *b = g_new0(MachineBlock, 1);
        b->m = m;
        b->graph = block_graph_new(m->loop);
        block_set_threshold_say(b->graph, threshold_passed, m);
        b->nodes = g_ptr_array_new_with_free_func(node_release);
        b->drives = g_ptr_array_new_with_free_func(drive_free_item);
        b->throttles = g_ptr_array_new_with_free_func(drive_throttle_free);
        b->clock = &clock_host_monotonic;
        b->ports = g_ptr_array_new();
        b->ended = (Task){ .run = graph_wait_ended };
        m->block = b;
        m->drain_backends = drive_drain_for;
        b->listener = (MachineListener){ .state = drive_state_changed, .opaque = b };
        machine_add_listener(m, &b->listener);
    }
    return m->block;
}

BlockGraph *machine_block_graph(Machine *m)
{
    return machine_block(m)->graph;
}

void drive_free(Drive *d)
{
    if (d->node) {
        block_unref(d->node);
    }
    g_free(d->id);
    g_free(d->serial);
    g_free(d->intervals);
    g_free(d);
}

Drive *drive_find(Machine *m, const char *id)
{
    for (unsigned i = 0; i < drive_count(m); i++) {
        if (g_str_equal(drive_at(m, i)->id, id)) {
            return drive_at(m, i);
        }
    }
    return NULL;
}

unsigned drive_count(Machine *m)
{
    return m->block ? m->block->drives->len : 0;
}

Drive *drive_at(Machine *m, unsigned i)
{
    return m->block->drives->pdata[i];
}

bool blockdev_add_json(Machine *m, const Json *opts, bool from_text, Error **errp)
{
    MachineBlock *b = machine_block(m);
    const char *name = json_get_string(json_member(opts, "node-name", NULL));
    if (!name) {
        error_fail(errp, "missing-member", "node-name", NULL, "'node-name' is missing");
        error_hint(errp, "it is the name that drive= of a -device takes");
        return false;
    }
    if (drive_find(m, name)) {
        return error_fail(errp, "already-exists", "node-name", "give another name",
                          "node name '%s' is the id of a drive", name);
    }
    bool found;
    json_member(opts, "driver", &found);
    if (!found) { /* a guest could choose what its content looks like */
        error_fail(errp, "missing-member", "driver", NULL, "'driver' is missing");
        error_hint(errp, "it is the image's format, such as raw or qcow2");
        return false;
    }
    BlockNode *n = block_open(b->graph, opts, from_text, errp);
    if (!n) {
        return false;
    }
    g_ptr_array_add(b->nodes, n);
    return true;
}

static bool refuse_del(Machine *m, const char *name, Error **errp)
{
    bool there = block_find(machine_block(m)->graph, name) != NULL;
    error_fail(errp, there ? "not-supported" : "not-found", "node-name",
               "query-named-block-nodes lists the nodes",
               there ? "block node '%s' was not made by blockdev-add" : "there is no block node '%s'", name);
    if (there) {
        error_hint(errp, "it goes with the drive or node that it belongs to");
    }
    return false;
}

bool blockdev_del(Machine *m, const char *node_name, Error **errp)
{
    MachineBlock *b = machine_block(m);
    for (guint i = 0; i < b->nodes->len; i++) {
        BlockNode *n = b->nodes->pdata[i];
        if (!g_str_equal(block_name(n), node_name)) {
            continue;
        }
        if (n->refs > 1) {
            error_fail(errp, "in-use", "node-name", NULL, "block node '%s' is in use", node_name);
            error_hint(errp, "remove the device, the medium or the node above it first");
            return false;
        }
        g_ptr_array_remove_index(b->nodes, i); /* the last reference: it closes */
        return true;
    }
    return refuse_del(m, node_name, errp);
}

void drive_foreach_disk(Machine *m, void (*fn)(const Drive *d, const DrivePort *p, void *opaque),
                        void *opaque)
{
    MachineBlock *b = m->block;
    for (unsigned i = 0; i < drive_count(m); i++) {
        const Drive *d = drive_at(m, i);
        fn(d, d->port && d->port->dev ? d->port : NULL, opaque);
    }
    for (guint i = 0; b && i < b->ports->len; i++) {
        const DrivePort *p = b->ports->pdata[i];
        if (p->dev && !p->drive) {
            fn(NULL, p, opaque);
        }
    }
}

/* ---- -drive: places ---- */

static bool place_taken(Machine *m, const Drive *d)
{
    for (unsigned i = 0; i < drive_count(m); i++) {
        const Drive *o = drive_at(m, i);
        if (o->iface == d->iface && o->bus == d->bus && o->unit == d->unit) {
            return true;
        }
    }
    return false;
}

static unsigned units_per_bus(const Machine *m, const Drive *d)
{
    if (d->iface == DRIVE_INTERFACE_PFLASH) {
        return PFLASH_UNITS;
    }
    if (d->iface == DRIVE_INTERFACE_FLOPPY) {
        return FLOPPY_UNITS;
    }
    if (d->iface != DRIVE_INTERFACE_IDE) {
        return 1;
    }
    return m->board && m->board->ide_units ? m->board->ide_units : IDE_UNITS;
}

static void set_index(const Machine *m, Drive *d, unsigned index)
{
    unsigned per_bus = units_per_bus(m, d);
    d->index = index;
    d->bus = index / per_bus;
    d->unit = index % per_bus;
}

static bool drive_place(Machine *m, Drive *d, const DriveOptions *v, Error **errp)
{
    if (d->iface == DRIVE_INTERFACE_NONE) {
        if (v->has_index || v->has_bus || v->has_unit) {
            const char *key = v->has_index ? "index" : v->has_bus ? "bus" : "unit";
            error_fail(errp, "conflict", key, NULL, "if=none drives have no %s", key);
            error_hint(errp, "the -device that uses it says where it is");
            return false;
        }
        return true;
    }
    if (v->has_index && (v->has_bus || v->has_unit)) {
        return error_fail(errp, "conflict", "index", "leave out one of them",
                          "'index' and 'bus' or 'unit' exclude each other");
    }
    unsigned per_bus = units_per_bus(m, d);
    if (v->has_unit && v->unit >= per_bus) {
        return error_fail(errp, "out-of-range", "unit", NULL,
                          "unit=%" PRIu64 " is too large: a bus of this kind has %u", v->unit, per_bus);
    }
    if (v->has_index || v->has_bus || v->has_unit) {
        set_index(m, d, v->has_index ? (unsigned)v->index
                                  : (unsigned)((v->has_bus ? v->bus : 0) * per_bus +
                                               (v->has_unit ? v->unit : 0)));
    }
    if (v->has_bus && !v->has_unit) { /* the bus's first free place */
        while (place_taken(m, d) && d->unit + 1 < per_bus) {
            set_index(m, d, d->index + 1);
        }
    } else if (!v->has_index && !v->has_unit) {
        while (place_taken(m, d)) {
            set_index(m, d, d->index + 1);
        }
    }
    if (place_taken(m, d)) {
        return error_fail(errp, "already-exists", "index", "give another index=, or bus= and unit=",
                          "there is already a drive with bus=%u, unit=%u (index=%u)", d->bus, d->unit,
                          d->index);
    }
    if (d->iface == DRIVE_INTERFACE_PFLASH && d->bus) {
        error_fail(errp, "out-of-range", "unit", NULL,
                   "there are two places for flash, not %u", d->index + 1);
        error_hint(errp, "unit=0 is the firmware, unit=1 its variables");
        return false;
    }
    if (d->iface == DRIVE_INTERFACE_FLOPPY && d->bus) {
        error_fail(errp, "out-of-range", "index", NULL, "there are two floppy drives, not %u", d->index + 1);
        error_hint(errp, "index=0 is A, index=1 is B");
        return false;
    }
    unsigned buses = m->board && m->board->ide_buses ? m->board->ide_buses : IDE_BUSES;
    if (d->iface == DRIVE_INTERFACE_IDE && d->bus >= buses) {
        error_fail(errp, "out-of-range", "bus", NULL,
                   "there is no IDE bus %u: the board has %u with %u drive%s each", d->bus, buses, per_bus,
                   per_bus > 1 ? "s" : "");
        error_hint(errp, "if=none with -device takes more kinds of disks");
        return false;
    }
    return true;
}

static bool drive_name(Machine *m, Drive *d, const char *id, Error **errp)
{
    if (id) {
        d->id = g_strdup(id);
    } else if (d->iface == DRIVE_INTERFACE_IDE) {
        d->id = g_strdup_printf("ide%u-%s%u", d->bus, d->cdrom ? "cd" : "hd", d->unit);
    } else if (d->iface != DRIVE_INTERFACE_NONE) {
        d->id = g_strdup_printf("%s%u", drive_interface_names[d->iface], d->index);
    } else {
        unsigned n = 0;
        do {
            g_free(d->id);
            d->id = g_strdup_printf("none%u", n++);
        } while (drive_find(m, d->id));
    }
    if (drive_find(m, d->id)) {
        return error_fail(errp, "already-exists", "id", "give another id",
                          "there is already a drive with id '%s'", d->id);
    }
    if (m->block && block_find(m->block->graph, d->id)) {
        return error_fail(errp, "already-exists", "id", "give another id",
                          "drive id '%s' is the name of a block node", d->id);
    }
    return true;
}

/* ---- -drive: nodes ---- */

static const char *discard_name(const char *text)
{
    return g_str_equal(text, "on") ? "unmap" : g_str_equal(text, "off") ? "ignore" : text;
}

static void put_text(Json *o, const char *key, const char *text)
{
    if (text) {
        json_put(o, key, json_new_string(text));
    }
}

/* The options of the image's own node and of the file below it. */
static Json *node_options(const DriveOptions *v, bool read_only, bool snapshot, Error **errp)
{
    Json *o = block_image_options(v->file, v->format, errp);
    if (!o) {
        return NULL;
    }
    Json *cache = json_new_object();
    bool direct = v->cache == DRIVE_CACHE_NONE || v->cache == DRIVE_CACHE_DIRECTSYNC;
    json_put(cache, "direct", json_new_bool(direct));
    json_put(cache, "no-flush", json_new_bool(v->cache == DRIVE_CACHE_UNSAFE));
    json_put(o, "cache", cache);
    json_put(o, "read-only", json_new_bool(read_only || snapshot));
    put_text(o, "node-name", snapshot ? NULL : v->node_name);
    put_text(o, "detect-zeroes", snapshot ? NULL : v->detect_zeroes);
    put_text(o, "discard", v->discard ? discard_name(v->discard) : NULL);
    Json *file = json_member(o, "file", NULL);
    put_text(json_kind(file) == JSON_OBJECT ? file : o, "aio", v->aio);
    return o;
}

/* Takes the reference to `base`, gives one to what lies above it. */
static BlockNode *snapshot_above(BlockNode *base, const DriveOptions *v, Error **errp)
{
    g_autoptr(Json) o = json_new_object();
    put_text(o, "node-name", v->node_name);
    put_text(o, "detect-zeroes", v->detect_zeroes);
    BlockNode *n = block_open_temporary(base, o, errp);
    block_unref(base);
    return n;
}

/* Likewise. */
static BlockNode *copy_on_read_above(BlockNode *base, Error **errp)
{
    g_autoptr(Json) o = json_put(json_new_object(), "driver", json_new_string("copy-on-read"));
    json_put(o, "file", json_new_string(block_name(base)));
    BlockNode *n = block_open(base->graph, o, false, errp);
    block_unref(base);
    return n;
}

static bool drive_open_image(Machine *m, Drive *d, const DriveOptions *v, bool snapshot, Error **errp)
{
    BlockGraph *g = machine_block(m)->graph;
    bool read_only = d->cdrom || (v->has_read_only && v->read_only) || (v->has_readonly && v->readonly);
    if (snapshot && (v->has_read_only ? v->read_only : v->has_readonly && v->readonly)) {
        return error_fail(errp, "conflict", "snapshot", "leave out one of them",
                          "read-only=on and snapshot=on exclude each other");
    }
    snapshot = snapshot && !d->cdrom;
    if (v->copy_on_read && read_only) {
        error_fail(errp, "conflict", "copy-on-read", NULL, "copy-on-read=on: the drive is read-only");
        error_hint(errp, "it writes to the image");
        return false;
    }
    g_autoptr(Json) o = node_options(v, read_only, snapshot, errp);
    if (!o) {
        return false;
    }
    BlockNode *n = block_open(g, o, false, errp);
    if (n && !v->format && !read_only && g_str_equal(block_driver_name(n), "raw")) {
        log_warn("drive '%s': the format of '%s' is not given and looks raw; writes that would make its "
                 "beginning look like another format are refused (format=raw permits them)",
                 d->id, v->file);
        block_guard_format(n);
    }
    if (n && snapshot) {
        n = snapshot_above(n, v, errp);
    }
    if (n && v->copy_on_read) {
        n = copy_on_read_above(n, errp);
    }
    d->node = n;
    return n != NULL;
}

static bool refuse_value(Error **errp, const char *key, const char *value, const char *why, const char *cure)
{
    error_fail(errp, "not-supported", key, NULL, "%s=%s is not supported: %s", key, value, why);
    error_hint(errp, "%s", cure);
    return false;
}

static bool drive_check(const DriveOptions *v, Error **errp)
{
    const char *iface = drive_interface_names[v->if_];
    switch (v->if_) {
    case DRIVE_INTERFACE_IDE:
    case DRIVE_INTERFACE_VIRTIO:
    case DRIVE_INTERFACE_FLOPPY:
    case DRIVE_INTERFACE_PFLASH:
    case DRIVE_INTERFACE_NONE: break;
    default: return refuse_value(errp, "if", iface, "there is no such controller", "use if=ide");
    }
    if (v->rerror == DRIVE_ERROR_ENOSPC) {
        return refuse_value(errp, "rerror", "enospc", "reads need no space", "use report, ignore or stop");
    }
    if (v->if_ == DRIVE_INTERFACE_NONE && v->serial) {
        return refuse_value(errp, "serial", v->serial, "if=none makes no disk that could have one",
                            "give serial= to the -device");
    }
    if ((v->if_ == DRIVE_INTERFACE_PFLASH || v->if_ == DRIVE_INTERFACE_FLOPPY) && v->serial) {
        return refuse_value(errp, "serial", v->serial, "flash chips and floppy drives have none",
                            "leave it out");
    }
    if (v->if_ != DRIVE_INTERFACE_IDE && v->if_ != DRIVE_INTERFACE_NONE && v->media == DRIVE_MEDIA_CDROM) {
        g_autofree char *why = g_strdup_printf("if=%s is no CD-ROM drive", iface);
        return refuse_value(errp, "media", "cdrom", why, "use if=ide");
    }
    if (!v->file && v->media != DRIVE_MEDIA_CDROM && v->if_ != DRIVE_INTERFACE_NONE &&
        v->if_ != DRIVE_INTERFACE_FLOPPY) {
        error_fail(errp, "missing-member", "file", NULL, "'file' is missing");
        error_hint(errp, "only CD-ROM drives (media=cdrom) and floppy drives may be empty");
        return false;
    }
    if (!v->file && (v->format || v->node_name || v->copy_on_read)) {
        return error_fail(errp, "conflict", NULL, "leave it out, or give file=",
                          "'%s' goes with file= only",
                          v->format      ? "format" : v->node_name ? "node-name" : "copy-on-read");
    }
    return true;
}

/* The old names of the limits are the same. */
static bool drive_limits(Machine *m, Drive *d, const DriveOptions *v, Error **errp)
{
    const struct {
        const char *name;
        bool has;
        uint64_t value;
    } old[] = { { "bps-total", v->has_bps, v->bps },         { "bps-read", v->has_bps_rd, v->bps_rd },
                { "bps-write", v->has_bps_wr, v->bps_wr },   { "iops-total", v->has_iops, v->iops },
                { "iops-read", v->has_iops_rd, v->iops_rd }, { "iops-write", v->has_iops_wr, v->iops_wr } };
    g_autoptr(Json) o =
        v->has_throttling ? type_encode(&drive_throttling_type, &v->throttling) : json_new_object();
    for (unsigned i = 0; i < G_N_ELEMENTS(old); i++) {
        if (old[i].has) {
            json_put(o, old[i].name, json_new_uint(old[i].value));
        }
    }
    return drive_throttle_options(m->block, d, o, errp);
}

static bool drive_intervals(Drive *d, const DriveOptions *v, Error **errp)
{
    unsigned n = v->has_stats_intervals ? (unsigned)MIN(v->stats_intervals.n, DRIVE_INTERVALS_MAX + 1) : 0;
    if (n > DRIVE_INTERVALS_MAX) {
        return error_fail(errp, "too-many", "stats-intervals", "leave some out",
                          "more than %d intervals in stats-intervals", DRIVE_INTERVALS_MAX);
    }
    d->intervals = g_new0(uint32_t, n);
    for (unsigned i = 0; i < n; i++) {
        uint64_t seconds = v->stats_intervals.items[i];
        if (!seconds || seconds > UINT32_MAX) {
            error_fail(errp, "out-of-range", "stats-intervals", NULL,
                       "stats-intervals.%u=%" PRIu64 " is no interval", i, seconds);
            error_hint(errp, "give seconds: 1 to %u", UINT32_MAX);
            return false;
        }
        d->intervals[d->n_intervals++] = (uint32_t)seconds;
    }
    return true;
}

static Drive *drive_make(Machine *m, const DriveOptions *v, bool snapshot, Error **errp)
{
    if (!drive_check(v, errp)) {
        return NULL;
    }
    Drive *d = g_new0(Drive, 1);
    d->iface = v->if_;
    d->cdrom = v->media == DRIVE_MEDIA_CDROM;
    d->write_through = v->cache == DRIVE_CACHE_WRITETHROUGH || v->cache == DRIVE_CACHE_DIRECTSYNC;
    d->account_invalid = v->stats_account_invalid;
    d->account_failed = v->stats_account_failed;
    d->rerror = v->rerror;
    d->werror = v->werror;
    d->serial = g_strdup(v->serial);
    if (drive_intervals(d, v, errp) && drive_place(m, d, v, errp) && drive_name(m, d, v->id, errp) &&
        drive_limits(m, d, v, errp) &&
        (!v->file || drive_open_image(m, d, v, v->has_snapshot ? v->snapshot : snapshot, errp))) {
        g_ptr_array_add(machine_block(m)->drives, d);
        return d;
    }
    drive_free(d);
    return NULL;
}

Drive *drive_add_json(Machine *m, const Json *opts, bool from_text, bool snapshot, Error **errp)
{
    DriveOptions v;
    if (!type_decode(&drive_options_type, opts, from_text, &v, errp)) {
        return NULL;
    }
    machine_block(m);
    Drive *d = drive_make(m, &v, snapshot, errp);
    type_clear(&drive_options_type, &v);
    return d;
}
