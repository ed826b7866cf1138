/* SPDX-License-Identifier: MIT
 * hw/display/virtio-vga.c - `virtio-vga`: a virtio graphics card that is the machine's VGA until its driver
 * shows a picture, and again after a reset.
 *
 * Models: virtio 1.2, 5.7, which leaves the VGA to the transport; QEMU 7.2's BARs: 0 the frame buffer, 2 the
 * VGA's registers (docs/specs/standard-vga: ports at 400h, dispi at 500h, byte order at 600h) and from 1000h
 * on the modern interface, 4 MSI-X. Output 0 and the VGA are one console. Threads: the device's domain.
 */
#include "vga.h"
#include "virtio-gpu.h"

enum { MEMORY_MB = 8, BAR_SIZE = 0x4000 };

typedef struct VirtioVga {
    VirtioGpu gpu;
    Vga vga;
    VgaMmio mmio;
    MemRegion bar; /* 2: mmio.region before gpu.v.bar */
    bool watched;
} VirtioVga;

static bool is_vga(const VirtioVga *s)
{
    return !s->gpu.drawing;
}

/* ---- the console ---- */

static void vvga_update(void *opaque)
{
    VirtioVga *s = opaque;
    if (is_vga(s)) {
        vga_console_ops.update(&s->vga);
    }
}

static void vvga_watched(void *opaque, bool on)
{
    VirtioVga *s = opaque;
    s->watched = on;
    if (is_vga(s)) {
        vga_console_ops.watched(&s->vga, on);
    }
}

static bool vvga_text(void *opaque, ConsoleText *out)
{
    VirtioVga *s = opaque;
    return is_vga(s) && vga_console_ops.text(&s->vga, out);
}

static void vvga_wish(void *opaque, const ConsoleWish *wish)
{
    VirtioVga *s = opaque;
    gpu_wish(&s->gpu, 0, wish);
}

/* Nobody sees what is written to its memory while it is not shown. */
static void leave_vga(VirtioGpu *gpu, bool leave)
{
    VirtioVga *s = (VirtioVga *)gpu;
    if (s->watched) {
        vga_console_ops.watched(&s->vga, !leave);
    }
    if (!leave) {
        vga_show(&s->vga);
    } else if (!gpu->out[0].resource) { /* another head is the first to have a picture */
        console_set_surface(s->vga.console, NULL);
    }
}

/* ---- life ---- */

static MemRegion *whole_bar(VirtioDevice *v)
{
    VirtioVga *s = (VirtioVga *)v;
    region_init(&s->bar, &v->dev, "virtio-vga", MAX(BAR_SIZE, v->bar.size));
    region_map(&s->bar, 0, &v->bar, 0);
    region_map(&s->bar, 0, &s->mmio.region, 1);
    return &s->bar;
}

static void bar_fini(void *opaque)
{
    VirtioVga *s = opaque;
    if (s->gpu.v.bar.name) {
        region_unmap(&s->gpu.v.bar);
        region_fini(&s->gpu.v.bar);
    }
    region_unmap(&s->mmio.region);
    region_fini(&s->mmio.region);
}

static const PciOps vvga_pci_ops[VIRTIO_PCI_VARIANTS] = {
    [VIRTIO_PCI_MODERN] = { VIRTIO_PCI_VARIANT_(0x1040 + GPU_CLASS, 1, 0x030000, "vgabios-virtio.bin"),
                            .no_hotplug = true, /* its ports and its window belong to the machine */
                            .bar = { [0] = { PCI_BAR_MEM32, .prefetch = true },
                                     [2] = { PCI_BAR_MEM64, .prefetch = true },
                                     [4] = { PCI_BAR_MEM32 } } },
};
static const VirtioPciPlaces vvga_places = {
    .msix_bar = 4, .modern_bar = 2, .common = 0x1000, .isr = 0x1800, .bar = whole_bar
};
static const VirtioClass vvga_class = GPU_CLASS_OF(vvga_pci_ops, &vvga_places);

static bool vvga_realize(Device *dev, Error **errp)
{
    static const ConsoleOps ops = {
        .update = vvga_update, .watched = vvga_watched, .text = vvga_text, .wish = vvga_wish
    };
    static const EdidInfo no_edid = { .on = false }; /* the driver asks by a command */
    VirtioVga *s = (VirtioVga *)dev_as(VirtioDevice, dev);
    s->vga.ops = &ops;
    s->vga.ops_opaque = s;
    if (!vga_init(&s->vga, dev, MEMORY_MB, errp) || !vga_map_legacy(&s->vga, vga_pci_memory(dev), errp)) {
        return false;
    }
    device_add_region(dev, &s->vga.ram_region);
    vga_mmio_init(&s->mmio, &s->vga, dev, &no_edid, true, true);
    device_add_cleanup(dev, bar_fini, s);
    s->gpu.first = s->vga.console;
    s->gpu.leave_vga = leave_vga;
    return gpu_realize(dev, &vvga_class, errp);
}

static void vvga_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    vga_reset(&((VirtioVga *)dev_as(VirtioDevice, dev))->vga);
}

static void vvga_reset_done(Device *dev)
{
    vga_reset_done(&((VirtioVga *)dev_as(VirtioDevice, dev))->vga);
}

static const VmField vvga_fields[] = {
    VM_STRUCT(VirtioGpu, v, virtio_pci_state),
    VM_STRUCT(VirtioVga, vga, vga_state),
    GPU_FIELDS,
    { 0 },
};
static const VmState vvga_state = {
    .name = "virtio-vga",
    .version = 3,
    .oldest = 3,
    .fields = vvga_fields,
    .pre_save = gpu_pre_save,
    .post_load = gpu_post_load,
};

static const Prop vvga_props[] = {
    GPU_PROPS,
    GPU_PCI_PROPS,
    PROP_BOOL(VirtioVga, vga.big_endian_at_first, "big-endian-framebuffer", false,
              "The VGA frame buffer's byte order after a reset"),
    { 0 },
};

const DeviceType virtio_vga_type = {
    .name = "virtio-vga",
    .desc = "Virtio graphics card with a VGA (PCI)",
    .size = sizeof(VirtioVga),
    .base = &virtio_pci_modern_type,
    .bus_type = &pci_bus_type,
    .bus_ops = &vvga_pci_ops[VIRTIO_PCI_MODERN],
    .props = vvga_props,
    .vmstate = &vvga_state,
    .category = "Display",
    .realize = vvga_realize,
    .reset = vvga_reset,
    .reset_done = vvga_reset_done,
};
