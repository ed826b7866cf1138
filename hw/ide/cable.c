/* SPDX-License-Identifier: MIT
 * hw/ide/cable.c - the bus that IDE drives plug into: two places on a channel of the host adapter, one on a
 *                  serial link.
 *
 * Models: device 0 and device 1 of ATA/ATAPI-6. A drive's struct begins with its Device.
 * Threads: main loop; the channel's registers belong to the adapter's domain.
 */
#include "ide.h"
#include "rhea/util/errorcode.h"

void ide_channel_init(IdeChannel *c, Device *host_dev, const char *name, const IdeOps *ops, void *host)
{
    c->ops = ops;
    c->units = IDE_UNITS;
    c->host = host;
    c->bus = bus_new(&ide_bus_type, host_dev, name, c);
}

void ide_channel_reset(IdeChannel *c)
{
    c->select = c->control = 0;
}

static bool ide_bus_prepare(Bus *bus, Device *dev, Error **errp)
{
    IdeChannel *c = bus->impl;
    IdeChild *child = dev->bus_data;
    if (child->unit == UINT32_MAX) {
        child->unit = c->drive[0] && c->units > 1 ? 1 : 0;
    }
    if (child->unit >= c->units) {
        return error_fail(errp, "out-of-range", "unit", "unit=0 is the first",
                          "unit %u does not exist: bus '%s' has %s", child->unit, bus->name,
                          c->units > 1 ? "two places" : "one place");
    }
    if (c->drive[child->unit]) {
        error_fail(errp, "in-use", "unit", NULL,
                   "unit %u of bus '%s' is in use by '%s'", child->unit, bus->name,
                   device_name((Device *)c->drive[child->unit]));
        error_hint(errp, "give another unit= or bus=");
        return false;
    }
    return true;
}

static bool ide_bus_attach(Bus *bus, Device *dev, Error **errp G_GNUC_UNUSED)
{
    ((IdeChannel *)bus->impl)->drive[((IdeChild *)dev->bus_data)->unit] = (IdeDrive *)dev;
    return true;
}

static void ide_bus_detach(Bus *bus, Device *dev)
{
    IdeChannel *c = bus->impl;
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        if (c->drive[i] == (IdeDrive *)dev) {
            domain_lock(dev->domain);
            c->drive[i] = NULL;
            ide_channel_update(c);
            domain_unlock(dev->domain);
        }
    }
}

static void ide_firmware_name(Device *dev, GString *out)
{
    const Bus *bus = dev->bus;
    unsigned channel = 0;
    while (bus->owner->buses->pdata[channel] != bus) {
        channel++;
    }
    g_string_append_printf(out, "/drive@%x/disk@%x", channel, ((IdeChild *)dev->bus_data)->unit);
}

static const Prop ide_child_props[] = {
    PROP_U32(IdeChild, unit, "unit", UINT32_MAX, 0, UINT32_MAX,
             "0: master or the only one, 1: slave (default: what is free)"),
    { 0 },
};

const BusType ide_bus_type = {
    .name = "IDE",
    .child_size = sizeof(IdeChild),
    .child_props = ide_child_props,
    .prepare = ide_bus_prepare,
    .attach = ide_bus_attach,
    .detach = ide_bus_detach,
    .firmware_name = ide_firmware_name,
};

static const VmField ide_channel_fields[] = {
    VM_U8_MAX(IdeChannel, select, 0x5f),
    VM_U8_MAX(IdeChannel, control, 0x86),
    { 0 },
};
const VmState ide_channel_state = {
    .name = "ide-channel",
    .version = 1,
    .oldest = 1,
    .fields = ide_channel_fields,
};
