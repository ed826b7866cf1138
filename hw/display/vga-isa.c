/* SPDX-License-Identifier: MIT
 * hw/display/vga-isa.c - `isa-vga`: the standard VGA on the ISA bus.
 * Models: QEMU's isa-vga: ports, window, frame buffer at E0000000h, the video BIOS as a file of fw_cfg
 *         (`vgaroms/vgabios.bin`), from where SeaBIOS takes it.
 * Threads: the device's domain.
 */
#include "vga.h"
#include "rhea/hw/isa.h"
#include "rhea/hw/pci.h"
#include "rhea/system/machine.h"

enum { LFB = 0xe0000000 };

typedef struct VgaIsa {
    Device dev;
    Vga vga;
    MemRegion lfb;
    uint32_t size_mb;
} VgaIsa;

/* Where a chipset has PCI, the ISA bus's memory is behind it, and SMRAM may hide it. */
MemRegion *vga_isa_memory(Device *dev)
{
    Device *bridge = dev->bus->owner;
    return bridge->bus && bridge->bus->type == &pci_bus_type ? pci_func(bridge)->bus->mem
                                                             : &dev->machine->sysmem;
}

static bool vga_isa_realize(Device *dev, Error **errp)
{
    VgaIsa *s = dev_as(VgaIsa, dev);
    if (!vga_init(&s->vga, dev, s->size_mb, errp) || !vga_map_legacy(&s->vga, vga_isa_memory(dev), errp)) {
        return false;
    }
    device_add_region(dev, &s->vga.ram_region);
    region_init_alias(&s->lfb, dev, "isa-vga-lfb", &s->vga.ram_region, 0, s->vga.ram_size);
    device_map_mem(dev, &s->lfb, LFB, 1);
    return vga_publish_rom(dev->machine, "vgabios.bin", errp);
}

static void vga_isa_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    vga_reset(&dev_as(VgaIsa, dev)->vga);
}

static void vga_isa_reset_done(Device *dev)
{
    vga_reset_done(&dev_as(VgaIsa, dev)->vga);
}

static const VmField vga_isa_fields[] = {
    VM_STRUCT(VgaIsa, vga, vga_state),
    { 0 },
};
static const VmState vga_isa_state = {
    .name = "isa-vga", .version = 1, .oldest = 1, .fields = vga_isa_fields
};

static const Prop vga_isa_props[] = {
    PROP_U32(VgaIsa, size_mb, "vgamem_mb", 8, 1, 512, "Video memory in MiB, a power of two"),
    { 0 },
};

static const IsaOps vga_isa_ops = { .irq = -1 };

const DeviceType vga_isa_type = {
    .name = "isa-vga",
    .desc = "Standard VGA on the ISA bus",
    .size = sizeof(VgaIsa),
    .bus_type = &isa_bus_type,
    .bus_ops = &vga_isa_ops,
    .category = "Display",
    .props = vga_isa_props,
    .vmstate = &vga_isa_state,
    .realize = vga_isa_realize,
    .reset = vga_isa_reset,
    .reset_done = vga_isa_reset_done,
};
