/* SPDX-License-Identifier: MIT
 * hw/acpi/pcihp.c - hot-plug of PCI devices by ACPI: the registers.
 *
 * Models: the public "QEMU<->ACPI BIOS PCI hotplug interface", which firmware and tables of virtual machines
 *         share: doublewords "up", "down", "eject", "removable" with a bit for each slot, of the bus that a
 *         fifth one selects; events by GPE.1. Reading "up" clears it. How they are used: pcihp-aml.c.
 * Does not model: names for devices in the tables (acpi-index): its register is zero.
 * Threads: registers in the owner's domain. Devices come and go on the main loop, which tells of it and takes
 *         what was ejected, with that domain taken for each look.
 */
#include "rhea/hw/pcie.h"
#include "rhea/hw/pcihp.h"
#include "rhea/system/hotplug.h"
#include "rhea/system/machine.h"

enum { HP_UP = 0x00, HP_DOWN = 0x04, HP_EJECT = 0x08, HP_REMOVABLE = 0x0c, HP_SELECT = 0x10 };

static uint64_t pcihp_read(void *opaque, MemAccess *a)
{
    AcpiPcihp *h = opaque;
    unsigned k = h->select;
    uint32_t up;
    if (a->off == HP_SELECT) {
        return k;
    }
    if (k >= h->n) {
        return 0;
    }
    switch (a->off) {
    case HP_UP:
        up = h->up[k];
        h->up[k] = 0;
        return up;
    case HP_DOWN: return h->down[k];
    case HP_REMOVABLE: return (uint32_t)~h->fixed[k];
    default: return 0; /* HP_EJECT: no features beyond these */
    }
}

static void pcihp_write(void *opaque, MemAccess *a, uint64_t val)
{
    AcpiPcihp *h = opaque;
    if (a->off == HP_SELECT) {
        h->select = (uint32_t)val;
    } else if (a->off == HP_EJECT && h->select < h->n) {
        uint32_t slots = (uint32_t)val & ~h->fixed[h->select];
        h->up[h->select] &= ~slots;
        h->down[h->select] &= ~slots;
        h->eject[h->select] |= slots;
        loop_post(h->owner->machine->loop, &h->task);
    } else {
        guest_error(h->owner, "PCI hot-plug: write to register 0x%x of bus %u", (unsigned)a->off, h->select);
    }
}

void acpi_pcihp_finish(AcpiPcihp *h)
{
    for (unsigned k = 0; k < h->n; k++) {
        domain_lock(h->owner->domain);
        uint32_t slots = h->eject[k];
        h->eject[k] = 0;
        domain_unlock(h->owner->domain);
        for (unsigned slot = 0; slots; slot++, slots >>= 1) {
            if (slots & 1) {
                pci_slot_unplugged(h->bus[k], slot);
            }
        }
    }
}

static void pcihp_ejected(void *opaque)
{
    acpi_pcihp_finish(opaque);
}

static void pcihp_unpost(void *opaque)
{
    AcpiPcihp *h = opaque;
    loop_unpost(h->owner->machine->loop, &h->task);
}

bool acpi_pcihp_init(AcpiPcihp *h, Device *owner, uint16_t port, void (*raise)(Device *owner), Error **errp)
{
    static const MemOps ops = { .read = pcihp_read, .write = pcihp_write, .min = 4, .max = 4 };
    h->owner = owner;
    h->raise = raise;
    h->port = port;
    h->task = (Task){ .run = pcihp_ejected, .opaque = h };
    device_add_cleanup(owner, pcihp_unpost, h);
    region_init_io(&h->io, owner, "acpi-pci-hotplug", &ops, h, ACPI_PCIHP_SIZE);
    device_add_region(owner, &h->io);
    return device_map_io(owner, &h->io, port, errp);
}

void acpi_pcihp_reset(AcpiPcihp *h)
{
    h->select = 0;
    for (unsigned k = 0; k < h->n; k++) {
        h->up[k] = 0; /* whoever starts finds what is there */
        h->eject[k] |= h->down[k];
        h->down[k] = 0;
        if (h->eject[k]) {
            loop_post(h->owner->machine->loop, &h->task);
        }
    }
}

/* ---- what the buses call ---- */

static void pcihp_tell(AcpiPcihp *h, uint32_t *slots, unsigned slot)
{
    domain_lock(h->owner->domain);
    *slots |= UINT32_C(1) << slot;
    h->raise(h->owner);
    domain_unlock(h->owner->domain);
}

static void pcihp_plugged(Bus *bus, Device *dev)
{
    PciBus *b = bus->impl;
    AcpiPcihp *h = b->hotplug;
    Device *port = b->bridge ? b->bridge->dev : NULL;
    if (port) {
        domain_lock(port->domain);
        pcie_slot_power_on(port);
        domain_unlock(port->domain);
    }
    if (pci_slot_is_seen(dev) && dev->machine->state != RUN_PRELAUNCH) { /* there nobody has looked yet */
        pcihp_tell(h, &h->up[b->hotplug_number], pci_func(dev)->devfn >> 3);
    }
}

/* A guest that has not started, or does not listen, may be asked again at any time. */
static bool pcihp_unplug(Bus *bus, Device *dev, Error **errp G_GNUC_UNUSED)
{
    PciBus *b = bus->impl;
    AcpiPcihp *h = b->hotplug;
    if (pci_slot_is_seen(dev)) {
        pcihp_tell(h, &h->down[b->hotplug_number], pci_func(dev)->devfn >> 3);
    } else {
        pci_unplugged(dev);
    }
    return true;
}

static const BusHotplug pcihp_hotplug = {
    .suits = pci_may_hotplug,
    .plugged = pcihp_plugged,
    .unplug = pcihp_unplug,
};

static void pcihp_take(AcpiPcihp *h, PciBus *b)
{
    for (unsigned devfn = 0; devfn < 8u * b->n_slots; devfn++) {
        const Device *d = b->slot[devfn];
        if (d && !pci_may_hotplug(d)) {
            h->fixed[h->n] |= UINT32_C(1) << (devfn >> 3);
        }
    }
    b->hotplug = h;
    b->hotplug_number = h->n;
    b->bus->hotplug = &pcihp_hotplug;
    h->bus[h->n++] = b;
}

void acpi_pcihp_attach(AcpiPcihp *h, PciBus *root, bool root_too)
{
    h->root = root;
    if (root_too) {
        pcihp_take(h, root);
    }
    for (unsigned devfn = 0; devfn < 8u * root->n_slots && h->n < ACPI_PCIHP_BUSES; devfn++) {
        const Device *d = root->slot[devfn];
        PciBridge *b = d ? pci_func((Device *)d)->bridge : NULL;
        if (b && b->slot.hotplug) {
            pcihp_take(h, b->secondary);
        }
    }
}

/* ---- saved state ---- */

static bool pcihp_loaded(void *opaque, Error **errp G_GNUC_UNUSED)
{
    AcpiPcihp *h = opaque;
    for (unsigned k = 0; k < h->n; k++) {
        h->eject[k] &= ~h->fixed[k];
        if (h->eject[k]) {
            loop_post(h->owner->machine->loop, &h->task);
        }
    }
    return true;
}

static const VmField pcihp_fields[] = {
    VM_U32(AcpiPcihp, select),
    VM_U32_ARRAY(AcpiPcihp, up),
    VM_U32_ARRAY(AcpiPcihp, down),
    VM_U32_ARRAY(AcpiPcihp, eject),
    { 0 },
};
const VmState acpi_pcihp_state = {
    .name = "acpi-pci-hotplug",
    .version = 1,
    .oldest = 1,
    .fields = pcihp_fields,
    .post_load = pcihp_loaded,
};
