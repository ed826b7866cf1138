/* SPDX-License-Identifier: MIT
 * hw/display/virtio-gpu.c - a graphics card without 3D: `-device virtio-gpu-pci`; on boards with transports
 * in memory virtio-gpu-device. virtio-vga.c has the one that begins as a VGA.
 *
 * Models: virtio 1.2, 5.7 (GPU device): up to 16 heads, each a console; EDID; what a viewer would like to see
 *         is told by the display event. Does not model: 3D (virgl), blobs.
 * Threads: the device's domain.
 */
#include "edid.h"
#include "virtio-gpu.h"

#include "rhea/system/machine.h"

#include <string.h>

enum { TURN_BYTES = 32 << 20 }; /* after so much a queue waits for its next turn */

/* ---- what is shown ---- */

void gpu_show(VirtioGpu *s, unsigned output)
{
    GpuOutput *o = &s->out[output];
    const GpuResource *r = o->resource ? gpu_resource(s, o->resource) : NULL;
    Surface *picture = NULL;
    if (r) {
        picture = surface_new_part(r->pixels, (int)o->r.x, (int)o->r.y, (int)o->r.w, (int)o->r.h, NULL);
    } else {
        o->resource = 0;
        o->r = (GpuRect){ 0 };
    }
    if (r && !s->drawing) {
        s->drawing = true;
        if (s->leave_vga) {
            s->leave_vga(s, true);
        }
    }
    if (s->drawing || !s->leave_vga || output) {
        console_set_surface(o->console, picture);
    }
}

void gpu_show_cursor(VirtioGpu *s, unsigned output)
{
    GpuOutput *o = &s->out[output];
    CursorShape shape = { .image = o->cursor, .hot_x = (int)o->hot_x, .hot_y = (int)o->hot_y };
    console_set_cursor(o->console, o->cursor ? &shape : NULL);
    console_move_cursor(o->console, (int32_t)o->cursor_x, (int32_t)o->cursor_y, o->cursor != NULL);
}

void gpu_forget(VirtioGpu *s)
{
    g_hash_table_remove_all(s->resources);
    s->hostmem = 0;
    for (unsigned i = 0; i < s->max_outputs; i++) {
        GpuOutput *o = &s->out[i];
        bool cursor = o->cursor || o->cursor_x || o->cursor_y;
        g_clear_pointer(&o->cursor, surface_unref);
        o->hot_x = o->hot_y = o->cursor_x = o->cursor_y = 0;
        if (o->resource) {
            o->resource = 0;
            gpu_show(s, i);
        }
        if (cursor) {
            gpu_show_cursor(s, i);
        }
    }
    if (s->drawing && s->leave_vga) {
        s->leave_vga(s, false);
    }
    s->drawing = false;
}

/* ---- queues ---- */

static bool serve_control(VirtioGpu *s)
{
    VirtQueue *q = &s->v.q[CONTROLQ];
    VirtElem *e;
    uint64_t turn = 0;
    do {
        while ((e = virtq_pop(&s->v, q)) != NULL) {
            uint32_t written;
            turn += gpu_control(s, e, &written);
            virtq_push(&s->v, e, written);
            if (turn >= TURN_BYTES) {
                return false;
            }
        }
    } while (virtq_rearm(&s->v, q));
    return true;
}

static bool serve_cursor(VirtioGpu *s)
{
    VirtQueue *q = &s->v.q[CURSORQ];
    VirtElem *e;
    unsigned turn = 0;
    do {
        while ((e = virtq_pop(&s->v, q)) != NULL) {
            gpu_cursor(s, e);
            virtq_push(&s->v, e, 0);
            if (++turn >= GPU_CURSOR_ENTRIES) {
                return false;
            }
        }
    } while (virtq_rearm(&s->v, q));
    return true;
}

static void gpu_serve(void *opaque)
{
    VirtioGpu *s = opaque;
    bool control = serve_control(s);
    if (!serve_cursor(s) || !control) {
        domain_post(&s->more);
    }
}

void gpu_kick(VirtioDevice *v, VirtQueue *q)
{
    VirtioGpu *s = gpu_of(v);
    gpu_saved_drop(s);
    if (!(q == &v->q[CONTROLQ] ? serve_control(s) : serve_cursor(s))) {
        domain_post(&s->more);
    }
}

/* ---- configuration (5.7.4) ---- */

void gpu_get_config(VirtioDevice *v, uint8_t *config)
{
    const VirtioGpu *s = gpu_of(v);
    struct virtio_gpu_config c = { .events_read = GUINT32_TO_LE(s->events),
                                   .num_scanouts = GUINT32_TO_LE(s->max_outputs) };
    memcpy(config, &c, sizeof(c));
}

void gpu_config_written(VirtioDevice *v, unsigned off, unsigned len, uint32_t val)
{
    const unsigned clear = offsetof(struct virtio_gpu_config, events_clear);
    for (unsigned i = off; i < off + len; i++, val >>= 8) {
        if (i >= clear && i < clear + 4) {
            gpu_of(v)->events &= ~((val & 0xff) << 8 * (i - clear));
        }
    }
}

/* ---- what viewers would like ---- */

static bool same_wish(const ConsoleWish *a, const ConsoleWish *b)
{
    return a->width == b->width && a->height == b->height && a->x == b->x && a->y == b->y &&
           a->off == b->off && a->width_mm == b->width_mm && a->height_mm == b->height_mm;
}

void gpu_wish(VirtioGpu *s, unsigned output, const ConsoleWish *wish)
{
    ConsoleWish now = *wish, *was = &s->out[output].wish;
    bool any = wish->width > 0 && wish->height > 0;
    now.width = any ? MIN(wish->width, SURFACE_MAX_SIDE) : was->width;
    now.height = any ? MIN(wish->height, SURFACE_MAX_SIDE) : was->height;
    now.x = CLAMP(wish->x, 0, SURFACE_MAX_SIDE * GPU_OUTPUTS);
    now.y = CLAMP(wish->y, 0, SURFACE_MAX_SIDE * GPU_OUTPUTS);
    now.width_mm = CLAMP(wish->width_mm, 0, EDID_MAX_SIDE);
    now.height_mm = CLAMP(wish->height_mm, 0, EDID_MAX_SIDE);
    now.off = wish->off || (!any && was->off);
    if (!same_wish(&now, was)) {
        *was = now;
        s->events |= VIRTIO_GPU_EVENT_DISPLAY;
        virtio_config_changed(&s->v);
    }
}

static void output_wish(void *opaque, const ConsoleWish *wish)
{
    GpuOutput *o = opaque;
    VirtioGpu *s = gpu_of(dev_as(VirtioDevice, console_device(o->console)));
    gpu_wish(s, (unsigned)(o - s->out), wish);
}

const ConsoleOps gpu_console_ops = { .wish = output_wish };

/* ---- life ---- */

void gpu_driver_reset(VirtioDevice *v)
{
    VirtioGpu *s = gpu_of(v);
    gpu_saved_drop(s);
    gpu_forget(s);
    s->events = 0;
}

static void gpu_fini(void *opaque)
{
    VirtioGpu *s = opaque;
    for (unsigned i = 0; i < s->max_outputs; i++) {
        if (s->out[i].console && s->out[i].console != s->first) {
            console_free(s->out[i].console);
        }
        surface_unref(s->out[i].cursor);
    }
    g_hash_table_destroy(s->resources);
    gpu_saved_drop(s);
    g_free(s->line);
}

bool gpu_realize(Device *dev, const VirtioClass *class, Error **errp)
{
    VirtioGpu *s = gpu_of(dev_as(VirtioDevice, dev));
    if (!virtio_modern_only(s->legacy, s->no_modern, "graphics", errp)) {
        return false;
    }
    s->resources = g_hash_table_new_full(NULL, NULL, NULL, gpu_resource_free);
    s->line = g_new(uint32_t, SURFACE_MAX_SIDE);
    device_add_cleanup(dev, gpu_fini, s);
    device_add_task(dev, &s->more, gpu_serve);
    for (unsigned i = 0; i < s->max_outputs; i++) {
        s->out[i].wish = (ConsoleWish){ .width = (int)s->xres, .height = (int)s->yres, .off = i > 0 };
        s->out[i].console =
            i == 0 && s->first ? s->first : console_new(dev->machine, dev, i, &gpu_console_ops, &s->out[i]);
    }
    s->v.features = s->edid ? UINT64_C(1) << VIRTIO_GPU_F_EDID : 0;
    s->v.pool[CURSORQ].size = GPU_CURSOR_ENTRIES;
    return virtio_start(&s->v, class, GPU_QUEUES, GPU_CONTROL_ENTRIES, errp);
}

static const PciOps gpu_pci_ops[VIRTIO_PCI_VARIANTS] = VIRTIO_PCI_OPS(GPU_CLASS, 0, 0x038000);
static const VirtioClass gpu_class = GPU_CLASS_OF(gpu_pci_ops, NULL);

static bool plain_realize(Device *dev, Error **errp)
{
    return gpu_realize(dev, &gpu_class, errp);
}

VIRTIO_STATES(gpu, VirtioGpu, "virtio-gpu", 3, 3, 4, 4, GPU_FIELDS, .pre_save = gpu_pre_save,
              .post_load = gpu_post_load);

static const Prop gpu_pci_props[] = { GPU_PROPS, GPU_PCI_PROPS, { 0 } };
static const Prop gpu_mmio_props[] = { GPU_PROPS, { 0 } };

const DeviceType virtio_gpu_pci_type = {
    .name = "virtio-gpu-pci",
    .alias = "virtio-gpu",
    .desc = "Virtio graphics card (PCI)",
    .size = sizeof(VirtioGpu),
    .base = &virtio_pci_modern_type,
    .bus_type = &pci_bus_type,
    .bus_ops = &gpu_pci_ops[VIRTIO_PCI_MODERN],
    .props = gpu_pci_props,
    .vmstate = &gpu_pci_state,
    .category = "Display",
    .realize = plain_realize,
};
const DeviceType virtio_gpu_device_type = {
    .name = "virtio-gpu-device",
    .desc = "Virtio graphics card (in memory)",
    .size = sizeof(VirtioGpu),
    .base = &virtio_mmio_device_type,
    .bus_type = &virtio_mmio_bus_type,
    .props = gpu_mmio_props,
    .vmstate = &gpu_mmio_state,
    .category = "Display",
    .realize = plain_realize,
};
