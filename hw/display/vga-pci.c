/* SPDX-License-Identifier: MIT
 * hw/display/vga-pci.c - PCI graphics cards with a VGA inside: `VGA`, and `secondary-vga` without its legacy
 * ports. Models: QEMU's docs/specs/standard-vga: PCI 1234:1111, BAR 0 the frame buffer, BAR 2 registers
 * (vga-dispi.c). Threads: the device's domain.
 */
#include "vga.h"
#include "rhea/hw/pcie.h"

typedef struct VgaPci {
    Device dev;
    Vga vga;
    VgaMmio mmio;
    EdidInfo edid;
    uint32_t size_mb;
    bool with_mmio, extended;
} VgaPci;

/* A card's window is in the memory of the root bus, whatever bridge it is behind. */
MemRegion *vga_pci_memory(Device *dev)
{
    PciBus *bus = pci_func(dev)->bus;
    while (bus->bridge) {
        bus = pci_func(bus->bridge->dev)->bus;
    }
    return bus->mem;
}

static bool pci_vga_realize(VgaPci *s, bool legacy, Error **errp)
{
    Vga *v = &s->vga;
    if (!vga_init(v, &s->dev, s->size_mb, errp) ||
        (legacy && !vga_map_legacy(v, vga_pci_memory(&s->dev), errp))) {
        return false;
    }
    device_add_region(&s->dev, &v->ram_region);
    if (s->with_mmio) {
        vga_mmio_init(&s->mmio, v, &s->dev, &s->edid, true, s->extended);
        device_add_region(&s->dev, &s->mmio.region);
    }
    return true;
}

static bool vga_pci_realize(Device *dev, Error **errp)
{
    static const PciOps without_mmio = {
        .vendor = 0x1234,
        .device = 0x1111,
        .class_code = 0x030000,
        .revision = 2,
        .no_hotplug = true,
        .bar = { [0] = { PCI_BAR_MEM32, .prefetch = true } },
        .romfile = "vgabios-stdvga.bin",
    };
    VgaPci *s = dev_as(VgaPci, dev);
    if (!s->with_mmio) {
        pci_choose_ops(dev, &without_mmio);
    }
    return pci_vga_realize(s, true, errp);
}

static bool secondary_realize(Device *dev, Error **errp)
{
    VgaPci *s = dev_as(VgaPci, dev);
    s->with_mmio = true; /* there is no other way to it */
    return pci_vga_realize(s, false, errp);
}

static void vga_pci_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    vga_reset(&dev_as(VgaPci, dev)->vga);
}

static void vga_pci_reset_done(Device *dev)
{
    vga_reset_done(&dev_as(VgaPci, dev)->vga);
}

static const VmField vga_pci_fields[] = {
    VM_STRUCT(VgaPci, vga, vga_state),
    { 0 },
};
static const VmState vga_pci_state = {
    .name = "vga-pci", .version = 1, .oldest = 1, .fields = vga_pci_fields
};

#define VGA_PCI_PROPS                                                                                        \
    PROP_U32(VgaPci, size_mb, "vgamem_mb", 16, 1, 512, "Video memory in MiB, a power of two"),               \
        PROP_BOOL(VgaPci, extended, "qemu-extended-regs", true,                                              \
                  "Registers for the frame buffer's byte order"),                                            \
        EDID_PROPS(VgaPci, edid),                                                                            \
        PROP_BOOL(VgaPci, vga.big_endian_at_first, "big-endian-framebuffer", false,                          \
                  "The frame buffer's byte order after a reset")

static const Prop vga_pci_props[] = {
    VGA_PCI_PROPS,
    PROP_BOOL(VgaPci, with_mmio, "mmio", true, "Registers in memory, too (BAR 2)"),
    VGA_STATE_PROP,
    { 0 },
};
static const Prop secondary_props[] = {
    VGA_PCI_PROPS,
    { 0 },
};

static const PciOps vga_ops = {
    .vendor = 0x1234,
    .device = 0x1111,
    .class_code = 0x030000,
    .revision = 2,
    .no_hotplug = true, /* its ports and its window belong to the machine */
    .bar = { [0] = { PCI_BAR_MEM32, .prefetch = true }, [2] = { PCI_BAR_MEM32 } },
    .romfile = "vgabios-stdvga.bin",
};
static const PciOps secondary_ops = {
    .vendor = 0x1234,
    .device = 0x1111,
    .class_code = 0x038000,
    .revision = 2,
    .bar = { [0] = { PCI_BAR_MEM32, .prefetch = true }, [2] = { PCI_BAR_MEM32 } },
};

const DeviceType vga_pci_type = {
    .name = "VGA",
    .desc = "Standard VGA with Bochs' VBE interface",
    .size = sizeof(VgaPci),
    .bus_type = &pci_bus_type,
    .bus_ops = &vga_ops,
    .category = "Display",
    .props = vga_pci_props,
    .vmstate = &vga_pci_state,
    .realize = vga_pci_realize,
    .reset = vga_pci_reset,
    .reset_done = vga_pci_reset_done,
};
const DeviceType secondary_vga_type = {
    .name = "secondary-vga",
    .desc = "Standard VGA without legacy ports: a further card",
    .size = sizeof(VgaPci),
    .bus_type = &pci_bus_type,
    .bus_ops = &secondary_ops,
    .category = "Display",
    .props = secondary_props,
    .vmstate = &vga_pci_state,
    .realize = secondary_realize,
    .reset = vga_pci_reset,
    .reset_done = vga_pci_reset_done,
};
