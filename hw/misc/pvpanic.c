/* SPDX-License-Identifier: MIT
 * hw/misc/pvpanic.c - a register by which a guest says that its kernel has panicked: `-device pvpanic` (an
 * I/O port, which the ACPI tables name) and `-device pvpanic-pci`.
 *
 * Models: the pvpanic specification, which QEMU publishes: bit 0, the host should act on a panic; bit 1, the
 *         guest deals with it (it loads its crash kernel), and the host is only told. Reading tells which
 *         bits there are.
 * Does not model: bit 2, a shutdown, which QEMU has since version 9.
 * Threads: the device's domain.
 */
#include "rhea/hw/isa.h"
#include "rhea/hw/pci.h"
#include "rhea/hw/pcmisc.h"
#include "rhea/system/machine.h"

enum { PV_PANICKED = 1, PV_CRASHLOADED = 2, PV_ALL = 3, PV_BAR_SIZE = 16 };

typedef struct PvPanic {
    Device dev;
    uint8_t events;  /* properties */
    uint16_t ioport;
    MemRegion regs;
} PvPanic;

static uint64_t pvpanic_read(void *opaque, MemAccess *a)
{
    const PvPanic *p = opaque;
    return a->off ? 0 : p->events;
}

static void pvpanic_write(void *opaque, MemAccess *a, uint64_t val)
{
    PvPanic *p = opaque;
    Machine *m = p->dev.machine;
    if (a->off) {
        return;
    }
    if (val & ~(uint64_t)PV_ALL) {
        guest_error(&p->dev, "pvpanic: unknown event bits 0x%x", (unsigned)val);
    }
    if (val & p->events & PV_PANICKED) {
        machine_request_panic(m, NULL);
    } else if (val & p->events & PV_CRASHLOADED) {
        machine_event(m, "GUEST_CRASHLOADED",
                      json_put(json_new_object(), "action", json_new_string("run")));
    }
}

static const MemOps pvpanic_ops = {
    .read = pvpanic_read, .write = pvpanic_write, .min = 1, .max = 8, .impl_min = 1, .impl_max = 1,
};

static bool isa_realize(Device *dev, Error **errp)
{
    PvPanic *p = dev_as(PvPanic, dev);
    region_init_io(&p->regs, dev, "pvpanic", &pvpanic_ops, p, 1);
    return device_map_io(dev, &p->regs, p->ioport, errp);
}

static bool pci_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    PvPanic *p = dev_as(PvPanic, dev);
    region_init_io(&p->regs, dev, "pvpanic-pci", &pvpanic_ops, p, PV_BAR_SIZE);
    device_add_region(dev, &p->regs);
    return true;
}

uint16_t pvpanic_port(Device *dev)
{
    return dev_as(PvPanic, dev)->ioport;
}

#define PROP_EVENTS \
    PROP_U8(PvPanic, events, "events", PV_ALL, 0, PV_ALL, \
            "What the guest can say: 1, a panic; 2, one that it deals with; 3, both")

static const Prop isa_props[] = {
    PROP_EVENTS,
    PROP_U16(PvPanic, ioport, "ioport", 0x505, 1, UINT16_MAX, "The port"),
    { 0 },
};
static const Prop pci_props[] = {
    PROP_EVENTS,
    { 0 },
};
static const IsaOps isa_ops = { .irq = -1 };
/* The identity that guests know. */
static const PciOps pci_ops = {
    .vendor = 0x1b36, .device = 0x0011, .class_code = 0x088000, .revision = 1,
    .bar = { { .kind = PCI_BAR_MEM32 } },
};

const DeviceType pvpanic_type = {
    .name = "pvpanic",
    .desc = "Guests tell of panics (I/O port)",
    .size = sizeof(PvPanic),
    .bus_type = &isa_bus_type,
    .bus_ops = &isa_ops,
    .category = "Misc",
    .props = isa_props,
    .realize = isa_realize,
};

const DeviceType pvpanic_pci_type = {
    .name = "pvpanic-pci",
    .desc = "Guests tell of panics (PCI)",
    .size = sizeof(PvPanic),
    .bus_type = &pci_bus_type,
    .bus_ops = &pci_ops,
    .category = "Misc",
    .props = pci_props,
    .realize = pci_realize,
};
