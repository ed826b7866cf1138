/* SPDX-License-Identifier: MIT
 * hw/display/bochs-display.c - `bochs-display`: Bochs' VBE interface in memory, and no VGA.
 * Models: QEMU's docs/specs/standard-vga: PCI 1234:1111 of class 0380h, BAR 0 the frame buffer, BAR 2 EDID,
 * dispi registers and byte order (vga-dispi.c). Does not model: depths below 15 bits have no palette, so they
 * are black. Threads: the device's domain.
 */
#include "rhea/hw/pcie.h"
#include "rhea/util/errorcode.h"
#include "vga.h"

typedef struct BochsDisplay {
    Device dev;
    Vga vga;
    VgaMmio mmio;
    EdidInfo edid;
    uint64_t size;
} BochsDisplay;

static bool bochs_realize(Device *dev, Error **errp)
{
    BochsDisplay *s = dev_as(BochsDisplay, dev);
    if (s->size < 4 << 20 || s->size & (s->size - 1)) {
        return error_fail(errp, "out-of-range", "vgamem", "give 16M, or another power of two from 4M to 512M",
                          "%s: vgamem=%" G_GUINT64_FORMAT " is no possible size", device_name(dev), s->size);
    }
    s->vga.dispi_only = true;
    if (!vga_init(&s->vga, dev, (uint32_t)(s->size >> 20), errp)) {
        return false;
    }
    device_add_region(dev, &s->vga.ram_region);
    vga_mmio_init(&s->mmio, &s->vga, dev, &s->edid, false, true);
    device_add_region(dev, &s->mmio.region);
    return true;
}

static void bochs_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    vga_reset(&dev_as(BochsDisplay, dev)->vga);
}

static const VmField bochs_fields[] = {
    VM_STRUCT(BochsDisplay, vga, vga_state),
    { 0 },
};
static const VmState bochs_state = {
    .name = "bochs-display", .version = 1, .oldest = 1, .fields = bochs_fields
};

static const Prop bochs_props[] = {
    PROP_SIZE(BochsDisplay, size, "vgamem", 16 << 20, 0, 512 << 20,
              "Video memory, a power of two from 4M on"),
    PROP_BOOL(BochsDisplay, vga.big_endian_at_first, "big-endian-framebuffer", false,
              "The frame buffer's byte order after a reset"),
    EDID_PROPS(BochsDisplay, edid),
    { 0 },
};

static const PciOps bochs_ops = {
    .vendor = 0x1234,
    .device = 0x1111,
    .class_code = 0x038000,
    .revision = 2,
    .express = true,
    .bar = { [0] = { PCI_BAR_MEM32, .prefetch = true }, [2] = { PCI_BAR_MEM32 } },
    .romfile = "vgabios-bochs-display.bin",
};

const DeviceType bochs_display_type = {
    .name = "bochs-display",
    .desc = "Bochs' display without a VGA",
    .size = sizeof(BochsDisplay),
    .bus_type = &pci_bus_type,
    .bus_ops = &bochs_ops,
    .category = "Display",
    .props = bochs_props,
    .vmstate = &bochs_state,
    .realize = bochs_realize,
    .reset = bochs_reset,
};
