/* SPDX-License-Identifier: MIT
 * hw/block/floppy.c - floppy drives, their media, and the bus they are on.
 *
 * Models: drives of 5.25 and 3.5 inches with two heads; the disk change line (82078, 2.1.8). A medium's
 *         format follows from the image's size; one of another size is the smallest disk it fits on, whose
 *         end cannot be written. Does not model: the motor's speed, formats other than 512 bytes a sector.
 * Threads: the device's domain; media are changed from the main loop.
 */
#include "fdc.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

#include <inttypes.h>

static const FloppyFormat formats[] = {
    { 1440, 80, 2, 18, 0, 4 }, { 2880, 80, 2, 36, 3, 5 }, { 1200, 80, 2, 15, 0, 2 }, { 720, 80, 2, 9, 2, 4 },
    { 360, 40, 2, 9, 1, 2 },   { 1680, 80, 2, 21, 0, 4 }, { 1722, 82, 2, 21, 0, 4 }, { 320, 40, 2, 8, 1, 2 },
    { 180, 40, 1, 9, 1, 2 },   { 160, 40, 1, 8, 1, 2 },
};
enum { TYPE_AUTO, TYPE_144, TYPE_288, TYPE_120 };
static const char *const floppy_types[] = { "auto", "144", "288", "120", NULL };
static const uint8_t kinds[] = { 0, 4, 5, 2 };

/* A 2.88 MB drive takes what a 1.44 MB drive does. */
static bool fits(unsigned kind, const FloppyFormat *f)
{
    return !kind || kind == f->kind || (kind == 5 && f->kind == 4);
}

/* kind 0: any drive. NULL: no such disk. */
static const FloppyFormat *find_format(int64_t bytes, unsigned kind)
{
    const FloppyFormat *least = NULL;
    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
        const FloppyFormat *f = &formats[i];
        int64_t size = f->kib * INT64_C(1024);
        if (fits(kind, f) && size == bytes) {
            return f;
        }
        if (i < 3 && fits(kind, f) && size > bytes && (!least || least->kib > f->kib)) {
            least = f;
        }
    }
    return least;
}

void floppy_step(Floppy *d, unsigned track)
{
    track = MIN(track, (unsigned)FLOPPY_TRACKS - 1);
    if (track != d->track && d->port.client) {
        d->changed = false;
    }
    d->track = (uint8_t)track;
}

/* ---- media ---- */

static void media_changed(Device *dev)
{
    Floppy *d = dev_as(Floppy, dev);
    d->changed = true;
    d->id = 0;
    d->format = d->port.node ? find_format(block_size(d->port.node), d->kind) : NULL;
    if (d->port.node && !d->format) {
        log_warn("drive '%s' cannot read a disk of %" PRId64 " bytes", device_name(dev),
                 block_size(d->port.node));
    }
}

/* No tray and no lock: the disk is taken out by hand. */
static const DriveMediaOps media_ops = { .changed = media_changed };

/* ---- the bus ---- */

static bool bus_prepare(Bus *bus, Device *dev, Error **errp)
{
    const Fdc *s = bus->impl;
    FloppyChild *child = dev->bus_data;
    if (child->unit == UINT32_MAX) {
        child->unit = s->drive[0] ? 1 : 0;
    }
    if (child->unit >= FDC_UNITS) {
        return error_fail(errp, "out-of-range", "unit", "unit=0 is A, unit=1 is B",
                          "unit %u does not exist: bus '%s' has two places", child->unit, bus->name);
    }
    if (s->drive[child->unit]) {
        error_fail(errp, "in-use", "unit", NULL,
                   "unit %u of bus '%s' is in use by '%s'", child->unit, bus->name,
                   device_name(&s->drive[child->unit]->dev));
        error_hint(errp, "give another unit=");
        return false;
    }
    return true;
}

static bool bus_attach(Bus *bus, Device *dev, Error **errp G_GNUC_UNUSED)
{
    ((Fdc *)bus->impl)->drive[((FloppyChild *)dev->bus_data)->unit] = dev_as(Floppy, dev);
    return true;
}

static void bus_detach(Bus *bus, Device *dev)
{
    Fdc *s = bus->impl;
    for (unsigned i = 0; i < FDC_UNITS; i++) {
        if (s->drive[i] == dev_as(Floppy, dev)) {
            domain_lock(dev->domain);
            s->drive[i] = NULL;
            domain_unlock(dev->domain);
        }
    }
}

static const Prop child_props[] = {
    PROP_U32(FloppyChild, unit, "unit", UINT32_MAX, 0, UINT32_MAX, "0: A, 1: B (default: what is free)"),
    { 0 },
};

const BusType floppy_bus_type = {
    .name = "floppy-bus",
    .child_size = sizeof(FloppyChild),
    .child_props = child_props,
    .prepare = bus_prepare,
    .attach = bus_attach,
    .detach = bus_detach,
};

/* ---- life ---- */

static bool floppy_realize(Device *dev, Error **errp)
{
    Floppy *d = dev_as(Floppy, dev);
    d->kind = kinds[d->drive_type];
    if (d->port.node) {
        int64_t size = block_size(d->port.node);
        d->format = find_format(size, d->kind);
        if (!d->format) {
            error_fail(errp, "too-large", "drive", NULL,
                       "a floppy disk of %" PRId64 " bytes does not fit in drive-type=%s", size,
                       floppy_types[d->drive_type]);
            error_hint(errp, "an image has 2880 KiB (1440 KiB, 1200 KiB) at most");
            return false;
        }
    }
    d->kind = d->kind ? d->kind : d->format ? d->format->kind : 5;
    return drive_open_removable(&d->port, dev, &media_ops, true, errp);
}

static void floppy_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Floppy *d = dev_as(Floppy, dev);
    d->track = d->id = 0;
    d->changed = true;
}

static const VmField floppy_fields[] = {
    VM_U8_MAX(Floppy, track, FLOPPY_TRACKS - 1),
    VM_BOOL(Floppy, changed),
    VM_U8(Floppy, id),
    { 0 },
};
static const VmState floppy_state = { .name = "floppy", .version = 1, .oldest = 1, .fields = floppy_fields };

static const Prop floppy_props[] = {
    PROP_DRIVE(Floppy, port, "drive", "The disk: a drive's id or a block node's name; none: an empty drive"),
    PROP_DRIVE_USE(Floppy, port),
    PROP_ENUM(Floppy, drive_type, "drive-type", TYPE_AUTO, floppy_types,
              "144, 288 or 120; auto: as the disk is, 288 without one"),
    { 0 },
};

const DeviceType floppy_type = {
    .name = "floppy",
    .desc = "floppy drive",
    .size = sizeof(Floppy),
    .category = "Storage",
    .bus_type = &floppy_bus_type,
    .props = floppy_props,
    .vmstate = &floppy_state,
    .realize = floppy_realize,
    .reset = floppy_reset,
};
