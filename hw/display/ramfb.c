/* SPDX-License-Identifier: MIT
 * hw/display/ramfb.c - `ramfb`: a picture in the guest's memory, which firmware names.
 * Models: QEMU's fw_cfg file `etc/ramfb` (28 bytes, big-endian: address, DRM format, flags, width, height,
 * bytes a line), which OVMF and SeaBIOS's vgabios-ramfb write. Does not model: other formats than XRGB8888,
 * ARGB8888, RGB888 and RGB565. All of the picture counts as changed each time: memory that is the machine's
 * is not watched for it. Threads: the device's domain.
 */
#include "rhea/hw/fw_cfg.h"
#include "rhea/system/machine.h"
#include "rhea/ui/console.h"
#include "vga.h"

#include <string.h>

#define RAMFB_FILE "etc/ramfb"
enum { CONFIG_SIZE = 28 };
#define FOURCC(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

typedef struct Ramfb {
    Device dev;
    uint8_t config[CONFIG_SIZE];
    Console *console;
    int width, height; /* of the picture; 0: none */
} Ramfb;

static uint64_t big(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

static pixman_format_code_t format_of(uint32_t fourcc)
{
    switch (fourcc) {
    case FOURCC('X', 'R', '2', '4'):
    case FOURCC('A', 'R', '2', '4'): return PIXMAN_x8r8g8b8;
    case FOURCC('R', 'G', '2', '4'): return PIXMAN_r8g8b8;
    case FOURCC('R', 'G', '1', '6'): return PIXMAN_r5g6b5;
    default: return 0;
    }
}

/* What the file says; NULL: it names no picture that lies in one piece of memory. */
static Surface *find_picture(Ramfb *s, Error **errp)
{
    const uint8_t *c = s->config;
    hwaddr at = big(c, 8);
    pixman_format_code_t format = format_of((uint32_t)big(c + 8, 4));
    uint64_t width = big(c + 16, 4), height = big(c + 20, 4), stride = big(c + 24, 4);
    if (!format || width > SURFACE_MAX_SIDE || height > SURFACE_MAX_SIDE || stride > INT_MAX) {
        error_set(errp, "format 0x%x, %u x %u", (unsigned)big(c + 8, 4), (unsigned)width, (unsigned)height);
        return NULL;
    }
    stride = stride ? stride : width * (PIXMAN_FORMAT_BPP(format) / 8);
    Surface *out = NULL;
    rcu_read_lock();
    const FlatRange *r = flatview_find(as_view(&s->dev.machine->as_mem), at, NULL);
    if (r && r->ram && r->size - (at - r->start) >= stride * height) {
        out = surface_new_ram(r->ram, r->ram_off + (at - r->start), format, (int)width, (int)height,
                              (int)stride, errp);
    } else {
        error_set(errp, "there is no memory for it at 0x%" G_GINT64_MODIFIER "x", at);
    }
    rcu_read_unlock();
    return out;
}

static void settle(Ramfb *s)
{
    Error *err = NULL;
    Surface *picture = NULL;
    if (big(s->config, 8)) {
        picture = find_picture(s, &err);
        if (!picture) {
            guest_error(&s->dev, "no picture: %s", error_text(err));
            error_free(err);
        }
    }
    s->width = picture ? surface_width(picture) : 0;
    s->height = picture ? surface_height(picture) : 0;
    console_set_surface(s->console, picture);
}

static void ramfb_written(void *opaque, size_t offset, size_t len)
{
    if (offset + len == CONFIG_SIZE) { /* the rest may still come */
        settle(opaque);
    }
}

static void ramfb_update(void *opaque)
{
    Ramfb *s = opaque;
    console_damage(s->console, 0, 0, s->width, s->height);
}

static void ramfb_cleanup(void *opaque)
{
    Ramfb *s = opaque;
    fw_cfg_withdraw_file(s->dev.bus->owner, RAMFB_FILE);
    console_free(s->console);
}

static bool ramfb_realize(Device *dev, Error **errp)
{
    static const ConsoleOps ops = { .update = ramfb_update };
    Ramfb *s = dev_as(Ramfb, dev);
    if (!fw_cfg_claim(dev, errp) ||
        !fw_cfg_add_writable(dev->bus->owner, RAMFB_FILE, s->config, CONFIG_SIZE, ramfb_written, s, errp)) {
        return false;
    }
    s->console = console_new(dev->machine, dev, 0, &ops, s);
    device_add_cleanup(dev, ramfb_cleanup, s);
    return vga_publish_rom(dev->machine, "vgabios-ramfb.bin", errp);
}

static void ramfb_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    memset(dev_as(Ramfb, dev)->config, 0, CONFIG_SIZE);
}

static void ramfb_reset_done(Device *dev)
{
    settle(dev_as(Ramfb, dev));
}

static bool ramfb_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    settle(opaque);
    return true;
}

static const VmField ramfb_fields[] = { VM_U8_ARRAY(Ramfb, config), { 0 } };
static const VmState ramfb_state = {
    .name = "ramfb", .version = 1, .oldest = 1, .fields = ramfb_fields, .post_load = ramfb_post_load
};

const DeviceType ramfb_type = {
    .name = "ramfb",
    .desc = "A picture in guest memory, for firmware",
    .size = sizeof(Ramfb),
    .bus_type = &fw_cfg_bus_type,
    .category = "Display",
    .vmstate = &ramfb_state,
    .realize = ramfb_realize,
    .reset = ramfb_reset,
    .reset_done = ramfb_reset_done,
};
