/* SPDX-License-Identifier: MIT
 * hw/display/vga.c - the VGA's registers, and its life.
 * Models: IBM VGA (XGA Technical Reference, "VGA function"): general registers, sequencer, CRT controller,
 * graphics controller, attribute controller, video DAC; Bochs' VBE interface beside them (vga-dispi.c). Does
 * not model: timing: the vertical retrace comes with the virtual clock at 60 or 70 Hz, whatever the CRT
 *         controller's totals say, and horizontal blanking seems to begin and end with every look at it. The
 *         retrace interrupt, the monitor's sense bits.
 * Threads: the device's domain.
 */
#include "vga.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"

#include <string.h>

enum { PORT_FIRST = 0x3b0, PORT_COUNT = 0x30, FIRST_HEIGHT = 400, FIRST_WIDTH = 720 };

/* ---- ports ---- */

/* A twentieth of each frame is retrace: longer than a real one, so that a busy host's guest does not miss it.
 */
static uint8_t read_status1(Vga *v)
{
    unsigned lines = v->crtc[6] | (v->crtc[7] & 1) << 8 | (v->crtc[7] & 0x20) << 4;
    int64_t frame = 1000000000 / (lines > 449 ? 60 : 70);
    bool retrace = clock_now(v->owner->machine->clock) % frame < frame / 20;
    v->attr_data = false;
    v->blanked = !v->blanked;
    return (retrace ? 8 : 0) | (retrace || v->blanked ? 1 : 0);
}

static void write_attr(Vga *v, uint8_t val)
{
    static const uint8_t masks[5] = { 0xef, 0xff, 0x3f, 0x0f, 0x0f };
    if (!v->attr_data) {
        v->attr_index = val & 0x3f;
    } else if ((v->attr_index & 0x1f) < 0x10) {
        v->attr[v->attr_index & 0x1f] = val & 0x3f;
    } else if ((v->attr_index & 0x1f) <= 0x14) {
        v->attr[v->attr_index & 0x1f] = val & masks[(v->attr_index & 0x1f) - 0x10];
    }
    v->colours_changed |= v->attr_data;
    v->attr_data = !v->attr_data;
}

static void write_seq(Vga *v, uint8_t val)
{
    static const uint8_t masks[8] = { 0x03, 0x3d, 0x0f, 0x3f, 0x0e };
    if (v->seq_index < 8 && v->seq[v->seq_index] != (val & masks[v->seq_index])) {
        v->seq[v->seq_index] = val & masks[v->seq_index];
        vga_update_window(v);
    }
}

static void write_gc(Vga *v, uint8_t val)
{
    static const uint8_t masks[16] = { 0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff };
    v->gc[v->gc_index & 15] = val & masks[v->gc_index & 15];
    if (v->gc_index == 6) {
        vga_update_window(v);
    }
}

/* Bit 7 of register 11h protects 0 to 7, but for the line compare's bit in 7. */
static void write_crtc(Vga *v, uint8_t val)
{
    if (v->crtc_index < 8 && v->crtc[0x11] & 0x80) {
        if (v->crtc_index == 7) {
            v->crtc[7] = (v->crtc[7] & ~0x10) | (val & 0x10);
        }
    } else if (v->crtc_index <= 0x18) {
        v->crtc[v->crtc_index] = val;
    }
}

static uint8_t read_dac(Vga *v)
{
    uint8_t val = v->dac[v->dac_read * 3 + v->dac_sub];
    if (++v->dac_sub == 3) {
        v->dac_sub = 0;
        v->dac_read++;
    }
    return val;
}

static void write_dac(Vga *v, uint8_t val)
{
    v->dac_cache[v->dac_sub] = v->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC ? val : val & 0x3f;
    if (++v->dac_sub == 3) {
        memcpy(&v->dac[v->dac_write * 3], v->dac_cache, 3);
        v->dac_sub = 0;
        v->dac_write++;
        v->colours_changed = true;
    }
}

uint8_t vga_port_read(Vga *v, unsigned port)
{
    if (vga_port_is_absent(v, port)) {
        return 0xff;
    }
    switch (port) {
    case 0x3c0: return v->attr_data ? 0 : v->attr_index;
    case 0x3c1: return (v->attr_index & 0x1f) <= 0x14 ? v->attr[v->attr_index & 0x1f] : 0;
    case 0x3c4: return v->seq_index;
    case 0x3c5: return v->seq_index < 8 ? v->seq[v->seq_index] : 0;
    case 0x3c6: return v->dac_mask;
    case 0x3c7: return v->dac_state;
    case 0x3c8: return v->dac_write;
    case 0x3c9: return read_dac(v);
    case 0x3ca: return v->feature;
    case 0x3cc: return v->misc;
    case 0x3ce: return v->gc_index;
    case 0x3cf: return v->gc[v->gc_index & 15];
    case 0x3b4:
    case 0x3d4: return v->crtc_index;
    case 0x3b5:
    case 0x3d5: return v->crtc[v->crtc_index];
    case 0x3ba:
    case 0x3da: return read_status1(v);
    default: return 0;
    }
}

void vga_port_write(Vga *v, unsigned port, uint8_t val)
{
    if (vga_port_is_absent(v, port)) {
        return;
    }
    switch (port) {
    case 0x3c0: write_attr(v, val); break;
    case 0x3c2:
        v->misc = val & ~0x10;
        vga_update_window(v);
        break;
    case 0x3c4: v->seq_index = val & 0x1f; break;
    case 0x3c5: write_seq(v, val); break;
    case 0x3c6:
        v->dac_mask = val;
        v->colours_changed = true;
        break;
    case 0x3c7:
        v->dac_read = val;
        v->dac_sub = 0;
        v->dac_state = 3;
        break;
    case 0x3c8:
        v->dac_write = val;
        v->dac_sub = 0;
        v->dac_state = 0;
        break;
    case 0x3c9: write_dac(v, val); break;
    case 0x3ce: v->gc_index = val & 0x0f; break;
    case 0x3cf: write_gc(v, val); break;
    case 0x3b4:
    case 0x3d4: v->crtc_index = val & 0x1f; break;
    case 0x3b5:
    case 0x3d5: write_crtc(v, val); break;
    case 0x3ba:
    case 0x3da: v->feature = val & 0x10; break;
    default: break;
    }
}

static uint64_t ports_read(void *opaque, MemAccess *a)
{
    return vga_port_read(opaque, PORT_FIRST + (unsigned)a->off);
}

static void ports_write(void *opaque, MemAccess *a, uint64_t val)
{
    vga_port_write(opaque, PORT_FIRST + (unsigned)a->off, (uint8_t)val);
}

/* ---- the window ---- */

/* Chained memory with all planes enabled is memory in order: the CPU gets at it without us. */
void vga_update_window(Vga *v)
{
    uint32_t off, size;
    if (v->extra) {
        v->extra->update_window(v);
        return;
    }
    vga_window_place(v, &off, &size);
    uint64_t at = dispi_bank(v) & (v->ram_size - 1);
    bool fast = vga_is_chained(v) && (v->seq[2] & 15) == 15 && v->misc & 2 && at + size <= v->ram_size;
    MemRegion *r = &v->window_ram;
    if (!v->window.name || (!fast && !r->enabled) ||
        (fast && r->enabled && r->at == off && r->size == size && r->alias_off == at)) {
        return;
    }
    mem_begin(v->owner->machine);
    if (fast) {
        region_set_addr(r, off);
        region_set_size(r, size);
        region_set_alias_off(r, at);
    }
    region_set_enabled(r, fast);
    mem_commit(v->owner->machine);
}

/* ---- life ---- */

static void vga_fini(void *opaque)
{
    Vga *v = opaque;
    if (v->console) {
        console_free(v->console);
    }
    if (v->window.name) {
        if (region_mapped(&v->window)) {
            region_unmap(&v->window);
        }
        region_unmap(&v->window_ram);
        region_unmap(&v->window_io);
        region_fini(&v->window_ram);
        region_fini(&v->window_io);
        region_fini(&v->window);
    }
    dirty_enable(v->ram, DIRTY_DISPLAY, false);
    surface_unref(v->surface);
    ram_unref(v->ram);
    g_free(v->cells);
    g_free(v->dirty);
    g_free(v->line);
}

static void make_spread(Vga *v)
{
    for (unsigned b = 0; b < 256; b++) {
        for (unsigned k = 0; k < 8; k++) {
            v->spread[b] |= (b >> (7 - k) & 1u) << (4 * k);
        }
    }
}

bool vga_init(Vga *v, Device *owner, uint32_t size_mb, Error **errp)
{
    if (size_mb < 1 || size_mb > 512 || size_mb & (size_mb - 1)) {
        return error_fail(errp, "out-of-range", "vgamem_mb", "give 16, or another power of two from 1 to 512",
                          "%s: vgamem_mb=%u is no possible size", device_name(owner), size_mb);
    }
    g_autofree char *name = g_strdup_printf("%s.vram", owner->path ? owner->path : owner->type->name);
    v->owner = owner;
    v->ram_size = size_mb << 20;
    v->ram = ram_new(owner->machine, name, v->ram_size, errp);
    if (!v->ram) {
        return false;
    }
    region_init_ram(&v->ram_region, owner, "vga-memory", v->ram);
    v->cells = g_new0(uint32_t, (VGA_MAX_COLUMNS + 1) * VGA_MAX_ROWS);
    v->dirty = g_malloc0((v->ram_size >> RAM_PAGE_BITS) / 8);
    v->line = g_new0(uint32_t, VGA_LINE_MAX);
    v->surface = surface_new(FIRST_WIDTH, FIRST_HEIGHT, errp);
    make_spread(v);
    v->redraw = true;
    device_add_cleanup(owner, vga_fini, v);
    vga_reset(v);
    if (!v->surface) {
        return false;
    }
    v->console = console_new(owner->machine, owner, 0, v->ops ? v->ops : &vga_console_ops,
                             v->ops ? v->ops_opaque : v);
    vga_show(v);
    return true;
}

void vga_show(Vga *v)
{
    v->redraw = true;
    console_set_surface(v->console, surface_ref(v->surface));
}

bool vga_map_legacy(Vga *v, MemRegion *mem, Error **errp)
{
    static const MemOps port_ops = {
        .read = ports_read, .write = ports_write, .min = 1, .max = 4, .impl_max = 1, .unaligned = true
    };
    static const struct {
        uint16_t port, n;
    } parts[] = { { 0x3b4, 2 }, { 0x3ba, 1 }, { 0x3c0, 16 }, { 0x3d4, 2 }, { 0x3da, 1 } };
    static const uint16_t late[] = { 0x3c4, 0x3ce, 0x3d4 };
    Device *dev = v->owner;
    region_init(&v->window, dev, "vga-window", VGA_WINDOW_SIZE);
    region_init_io(&v->window_io, dev, "vga-planes", v->extra ? v->extra->window_ops : &vga_window_ops, v,
                   VGA_WINDOW_SIZE);
    region_init_alias(&v->window_ram, dev, "vga-chained", &v->ram_region, 0, VGA_WINDOW_SIZE / 2);
    region_set_enabled(&v->window_ram, false);
    region_map(&v->window, 0, &v->window_io, 0);
    region_map(&v->window, 0, &v->window_ram, 1);
    region_init_io(&v->ports, dev, "vga-ports", v->extra ? v->extra->port_ops : &port_ops, v, PORT_COUNT);
    for (unsigned i = 0; i < G_N_ELEMENTS(late); i++) {
        v->late[i] = (Coalesced){ .region = &v->ports, .off = late[i] - PORT_FIRST, .size = 1 };
        coalesced_add(&v->late[i], dev);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        region_init_alias(&v->port_part[i], dev, "vga", &v->ports, parts[i].port - PORT_FIRST, parts[i].n);
        if (!device_map_io(dev, &v->port_part[i], parts[i].port, errp)) {
            return false;
        }
    }
    region_init_io(&v->dispi_ports, dev, "vga-dispi", &dispi_port_ops, v, 4);
    if (!v->extra && !device_map_io(dev, &v->dispi_ports, 0x1ce, errp)) {
        return false;
    }
    region_map(mem, VGA_WINDOW, &v->window, 1);
    return true;
}

void vga_reset(Vga *v)
{
    size_t from = offsetof(Vga, misc);
    memset((char *)v + from, 0, offsetof(Vga, big_endian) - from);
    v->big_endian = v->big_endian_at_first;
    v->dac_mask = 0xff;
    v->dispi[DISPI_ID] = 0xb0c5;
    v->dispi[DISPI_XRES] = v->dispi[DISPI_YRES] = 0;
    v->dispi[DISPI_BPP] = 8;
    v->dispi[DISPI_VIRT_WIDTH] = 8;
    v->colours_changed = v->redraw = true;
}

void vga_reset_done(Vga *v)
{
    vga_update_window(v);
}

static bool vga_post_load(void *opaque, Error **errp)
{
    Vga *v = opaque;
    uint16_t *r = v->dispi;
    if (v->dac_sub > 2 || v->seq_index > 0x1f || v->crtc_index > 0x1f || v->gc_index > 0x0f) {
        return error_set(errp, "saved VGA: an index is out of range");
    }
    if (dispi_on(v)) { /* as a guest would set it */
        dispi_write(v, DISPI_X_OFFSET, r[DISPI_X_OFFSET]);
    }
    dispi_write(v, DISPI_BANK, r[DISPI_BANK]);
    v->colours_changed = v->redraw = true;
    vga_update_window(v);
    return true;
}

static const VmField vga_fields[] = {
    VM_U8(Vga, misc),         VM_U8(Vga, feature),         VM_U8(Vga, seq_index),
    VM_U8_ARRAY(Vga, seq),    VM_U8(Vga, gc_index),        VM_U8_ARRAY(Vga, gc),
    VM_U8(Vga, crtc_index),   VM_U8_ARRAY(Vga, crtc),      VM_U8(Vga, attr_index),
    VM_U8_ARRAY(Vga, attr),   VM_BOOL(Vga, attr_data),     VM_U8(Vga, dac_mask),
    VM_U8(Vga, dac_state),    VM_U8(Vga, dac_sub),         VM_U8(Vga, dac_read),
    VM_U8(Vga, dac_write),    VM_U8_ARRAY(Vga, dac_cache), VM_U8_ARRAY(Vga, dac),
    VM_BOOL(Vga, blanked),    VM_U32(Vga, latch),          VM_U16(Vga, dispi_index),
    VM_U16_ARRAY(Vga, dispi), VM_BOOL(Vga, big_endian),    { 0 },
};
const VmState vga_state = {
    .name = "vga",
    .version = 1,
    .oldest = 1,
    .fields = vga_fields,
    .post_load = vga_post_load,
};
