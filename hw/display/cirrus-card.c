/* SPDX-License-Identifier: MIT
 * hw/display/cirrus-card.c - `cirrus-vga` on PCI and `isa-cirrus-vga`.
 * Models: QEMU 7.2's devices: the GD 5446, PCI 1013:00b8 with BAR 0 (32 MiB: frame buffer and apertures) and
 * BAR 1 (4 KiB: registers); on ISA the GD 5430 with 2 MiB and no frame buffer but the window. Threads: the
 * device's domain.
 */
#include "cirrus.h"
#include "rhea/hw/isa.h"
#include "rhea/hw/pcie.h"

typedef struct CirrusCard {
    Device dev;
    Cirrus cirrus;
} CirrusCard;

static bool cirrus_pci_realize(Device *dev, Error **errp)
{
    Cirrus *c = &dev_as(CirrusCard, dev)->cirrus;
    c->pci = true;
    if (!cirrus_init(c, dev, vga_pci_memory(dev), errp)) {
        return false;
    }
    device_add_region(dev, &c->bar);
    device_add_region(dev, &c->mmio_bar);
    return true;
}

static bool cirrus_isa_realize(Device *dev, Error **errp)
{
    Cirrus *c = &dev_as(CirrusCard, dev)->cirrus;
    return cirrus_init(c, dev, vga_isa_memory(dev), errp) &&
           vga_publish_rom(dev->machine, "vgabios-cirrus.bin", errp);
}

static void card_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    cirrus_reset(&dev_as(CirrusCard, dev)->cirrus);
}

static void card_reset_done(Device *dev)
{
    vga_reset_done(&dev_as(CirrusCard, dev)->cirrus.vga);
}

static const VmField card_fields[] = {
    VM_STRUCT(CirrusCard, cirrus, cirrus_state),
    { 0 },
};
static const VmState pci_state = { .name = "cirrus-vga", .version = 1, .oldest = 1, .fields = card_fields };
static const VmState isa_state = {
    .name = "isa-cirrus-vga", .version = 1, .oldest = 1, .fields = card_fields
};

#define CARD_PROPS                                                                                           \
    PROP_U32(CirrusCard, cirrus.size_mb, "vgamem_mb", 4, 1, 512, "Video memory in MiB: 4, 8 or 16"),         \
        PROP_BOOL(CirrusCard, cirrus.blitter, "blitter", true, "The BLT engine works")

static const Prop pci_props[] = {
    CARD_PROPS,
    VGA_STATE_PROP,
    { 0 },
};
static const Prop isa_props[] = {
    CARD_PROPS,
    { 0 },
};

static const PciOps pci_ops = {
    .vendor = 0x1013,
    .device = 0x00b8,
    .class_code = 0x030000,
    .no_hotplug = true, /* its ports and its window belong to the machine */
    .bar = { [0] = { PCI_BAR_MEM32, .prefetch = true }, [1] = { PCI_BAR_MEM32 } },
    .romfile = "vgabios-cirrus.bin",
};
static const IsaOps isa_ops = { .irq = -1 };

const DeviceType cirrus_pci_type = {
    .name = "cirrus-vga",
    .desc = "Cirrus Logic GD 5446",
    .size = sizeof(CirrusCard),
    .bus_type = &pci_bus_type,
    .bus_ops = &pci_ops,
    .category = "Display",
    .props = pci_props,
    .vmstate = &pci_state,
    .realize = cirrus_pci_realize,
    .reset = card_reset,
    .reset_done = card_reset_done,
};
const DeviceType cirrus_isa_type = {
    .name = "isa-cirrus-vga",
    .desc = "Cirrus Logic GD 5430 on the ISA bus",
    .size = sizeof(CirrusCard),
    .bus_type = &isa_bus_type,
    .bus_ops = &isa_ops,
    .category = "Display",
    .props = isa_props,
    .vmstate = &isa_state,
    .realize = cirrus_isa_realize,
    .reset = card_reset,
    .reset_done = card_reset_done,
};
