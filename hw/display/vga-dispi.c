/* SPDX-License-Identifier: MIT
 * hw/display/vga-dispi.c - Bochs' VBE interface, by ports and in memory, beyond the VGA's modes.
 * Models: Bochs' "VBE_DISPI" interface, ID B0C5h: resolution, depth, banks, virtual size, offsets; QEMU's
 *         docs/specs/standard-vga: the registers of PCI BAR 2 (EDID at 0, ports at 400h, dispi at 500h, byte
 *         order at 600h).
 * Does not model: the hypervisor's resolution hint (bit GETDDC, ID B0C6h).
 * Threads: the device's domain.
 */
#include "vga.h"

#include <string.h>

enum { DISPI_MAX_X = 16000, DISPI_MAX_Y = 12000, DISPI_MAX_BPP = 32, DISPI_ID0 = 0xb0c0, DISPI_ID5 = 0xb0c5 };

static unsigned bits_of(const Vga *v)
{
    unsigned bpp = v->dispi[DISPI_BPP];
    return bpp == 15 ? 16 : bpp;
}

uint32_t dispi_pitch(const Vga *v)
{
    unsigned bits = bits_of(v);
    return bits == 4 ? v->dispi[DISPI_VIRT_WIDTH] / 8 : v->dispi[DISPI_VIRT_WIDTH] * (bits / 8);
}

uint32_t dispi_bank(const Vga *v)
{
    return (uint32_t)v->dispi[DISPI_BANK] << 16;
}

/* Bytes that a line takes of all memory. */
static uint32_t memory_pitch(const Vga *v)
{
    return bits_of(v) == 4 ? dispi_pitch(v) * 4 : dispi_pitch(v);
}

/* Whatever the guest wrote: afterwards the picture lies inside the memory. */
static void settle(Vga *v)
{
    uint16_t *r = v->dispi;
    static const uint8_t depths[] = { 4, 8, 15, 16, 24, 32 };
    if (!memchr(depths, MIN(r[DISPI_BPP], 255), sizeof(depths))) {
        r[DISPI_BPP] = 8;
    }
    r[DISPI_XRES] = CLAMP(r[DISPI_XRES] & ~7, 8, DISPI_MAX_X);
    r[DISPI_VIRT_WIDTH] = CLAMP(r[DISPI_VIRT_WIDTH] & ~7, r[DISPI_XRES], DISPI_MAX_X);
    g_assert(memory_pitch(v) <= v->ram_size); /* 16000 pixels of 32 bits, and 1 MiB */
    uint32_t lines = MIN(v->ram_size / memory_pitch(v), UINT16_MAX);
    r[DISPI_YRES] = CLAMP(r[DISPI_YRES], 1, MIN(lines, DISPI_MAX_Y));
    r[DISPI_VIRT_HEIGHT] = lines;
    r[DISPI_X_OFFSET] = MIN(r[DISPI_X_OFFSET], r[DISPI_VIRT_WIDTH] - r[DISPI_XRES]);
    r[DISPI_Y_OFFSET] = MIN(r[DISPI_Y_OFFSET], lines - r[DISPI_YRES]);
}

/* The banked window must reach the mode's memory, whatever VGA mode was before. */
static void enter_mode(Vga *v)
{
    v->gc[6] = (v->gc[6] & ~0xc) | 5; /* graphics; 64 KiB at A0000h */
    v->misc |= 2;
    v->seq[2] = 0xf;
    if (v->dispi[DISPI_BPP] == 4) {
        v->seq[4] = (v->seq[4] & ~8) | 6;
        v->gc[5] &= ~0x60;
    } else {
        v->seq[4] |= 0xe;
        v->gc[5] = (v->gc[5] & ~0x60) | 0x40;
    }
    v->gc[5] &= ~0x10;
}

static void enable(Vga *v, uint16_t val)
{
    bool was = dispi_on(v);
    v->dispi[DISPI_ENABLE] =
        val & (DISPI_ENABLED | DISPI_GETCAPS | DISPI_8BIT_DAC | DISPI_LFB | DISPI_NOCLEAR);
    v->colours_changed = true;
    if (dispi_on(v) && !was) {
        v->dispi[DISPI_VIRT_WIDTH] = v->dispi[DISPI_XRES];
        v->dispi[DISPI_X_OFFSET] = v->dispi[DISPI_Y_OFFSET] = 0;
        v->dispi[DISPI_BANK] = 0;
        settle(v);
        enter_mode(v);
        if (!(val & DISPI_NOCLEAR)) {
            uint64_t n = (uint64_t)v->dispi[DISPI_YRES] * memory_pitch(v);
            memset(v->ram->host, 0, n);
            ram_written(v->ram, 0, n);
        }
    } else if (!dispi_on(v)) {
        v->dispi[DISPI_BANK] = 0;
    }
    vga_update_window(v);
}

uint16_t dispi_read(Vga *v, unsigned index)
{
    if (index == DISPI_MEMORY_64K) {
        return MIN(v->ram_size >> 16, UINT16_MAX);
    }
    if (v->dispi[DISPI_ENABLE] & DISPI_GETCAPS && index >= DISPI_XRES && index <= DISPI_BPP) {
        static const uint16_t most[] = { DISPI_MAX_X, DISPI_MAX_Y, DISPI_MAX_BPP };
        return most[index - DISPI_XRES];
    }
    return index < DISPI_REGS ? v->dispi[index] : 0;
}

void dispi_write(Vga *v, unsigned index, uint16_t val)
{
    switch (index) {
    case DISPI_ID:
        if (val >= DISPI_ID0 && val <= DISPI_ID5) {
            v->dispi[DISPI_ID] = val;
        }
        break;
    case DISPI_XRES:
    case DISPI_YRES:
    case DISPI_BPP:
    case DISPI_VIRT_WIDTH:
    case DISPI_X_OFFSET:
    case DISPI_Y_OFFSET:
        v->dispi[index] = val;
        if (dispi_on(v)) {
            settle(v);
        }
        break;
    case DISPI_ENABLE: enable(v, val); break;
    case DISPI_BANK: /* in units of 64 KiB of what the window shows: all memory, or each plane */
        v->dispi[DISPI_BANK] = val & (v->ram_size - 1) >> 16;
        vga_update_window(v);
        break;
    default: break;
    }
}

static uint64_t port_read(void *opaque, MemAccess *a)
{
    Vga *v = opaque;
    return a->off ? dispi_read(v, v->dispi_index) : v->dispi_index;
}

static void port_write(void *opaque, MemAccess *a, uint64_t val)
{
    Vga *v = opaque;
    if (a->off) {
        dispi_write(v, v->dispi_index, (uint16_t)val);
    } else {
        v->dispi_index = (uint16_t)val;
    }
}

/* The index at 1CEh, data at 1CFh, and for buses that cannot reach odd words, at 1D0h. */
const MemOps dispi_port_ops = { .read = port_read,
                                .write = port_write,
                                .min = 1,
                                .max = 2,
                                .impl_min = 1,
                                .impl_max = 2,
                                .unaligned = true };

/* ---- the registers in memory ---- */

static uint64_t edid_region_read(void *opaque, MemAccess *a)
{
    VgaMmio *m = opaque;
    return a->off < EDID_SIZE ? m->edid[a->off] : 0;
}

static void drop_write(void *opaque G_GNUC_UNUSED, MemAccess *a G_GNUC_UNUSED, uint64_t val G_GNUC_UNUSED) {}

static uint64_t vga_region_read(void *opaque, MemAccess *a)
{
    VgaMmio *m = opaque;
    return vga_port_read(m->vga, 0x3c0 + (unsigned)a->off);
}

static void vga_region_write(void *opaque, MemAccess *a, uint64_t val)
{
    VgaMmio *m = opaque;
    vga_port_write(m->vga, 0x3c0 + (unsigned)a->off, (uint8_t)val);
}

static uint64_t dispi_region_read(void *opaque, MemAccess *a)
{
    VgaMmio *m = opaque;
    return dispi_read(m->vga, (unsigned)a->off / 2);
}

static void dispi_region_write(void *opaque, MemAccess *a, uint64_t val)
{
    VgaMmio *m = opaque;
    dispi_write(m->vga, (unsigned)a->off / 2, (uint16_t)val);
}

enum { ORDER_LITTLE = 0x1e1e1e1e, EXTENDED_SIZE = 8 };
static const uint32_t order_big = 0xbebebebe;

static uint64_t extended_read(void *opaque, MemAccess *a)
{
    VgaMmio *m = opaque;
    return a->off == 0 ? EXTENDED_SIZE : m->vga->big_endian ? order_big : ORDER_LITTLE;
}

static void extended_write(void *opaque, MemAccess *a, uint64_t val)
{
    VgaMmio *m = opaque;
    if (a->off == 4 && (val == order_big || val == ORDER_LITTLE)) {
        m->vga->big_endian = val == order_big;
    }
}

void vga_mmio_init(VgaMmio *m, Vga *v, Device *owner, const EdidInfo *edid, bool ports, bool extended)
{
    static const MemOps edid_ops = {
        .read = edid_region_read, .write = drop_write, .min = 1, .max = 4, .impl_max = 1
    };
    static const MemOps vga_ops = {
        .read = vga_region_read, .write = vga_region_write, .min = 1, .max = 4, .impl_max = 1
    };
    static const MemOps word_ops = { .read = dispi_region_read,
                                     .write = dispi_region_write,
                                     .min = 1,
                                     .max = 4,
                                     .impl_min = 2,
                                     .impl_max = 2 };
    static const MemOps extended_ops = {
        .read = extended_read, .write = extended_write, .min = 1, .max = 4, .impl_min = 4, .impl_max = 4
    };
    m->vga = v;
    region_init(&m->region, owner, "vga-mmio", 0x1000);
    if (edid->on) {
        edid_make(edid, m->edid);
        region_init_io(&m->edid_region, owner, "vga-edid", &edid_ops, m, EDID_SIZE);
        region_map(&m->region, 0, &m->edid_region, 0);
    }
    if (ports) {
        region_init_io(&m->vga_region, owner, "vga-ports", &vga_ops, m, 0x20);
        region_map(&m->region, 0x400, &m->vga_region, 0);
    }
    region_init_io(&m->dispi_region, owner, "vga-dispi", &word_ops, m, 2 * (DISPI_MEMORY_64K + 1));
    region_map(&m->region, 0x500, &m->dispi_region, 0);
    if (extended) {
        region_init_io(&m->extended_region, owner, "vga-extended", &extended_ops, m, EXTENDED_SIZE);
        region_map(&m->region, 0x600, &m->extended_region, 0);
    }
}
