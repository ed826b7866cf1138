/* SPDX-License-Identifier: MIT
 * hw/display/cirrus.c - Cirrus Logic's GD 5446 and 5430: registers, and the card's life.
 * Models: CL-GD5446 Technical Reference Manual (1996): sequencer, graphics controller and CRT controller
 *         registers beyond the VGA's, the hidden DAC register, the cursor's registers and colours, BLT
 * registers by ports; QEMU 7.2's values after a reset. Does not model: the key of SR6: it reads as the chip's
 * does, but registers never are locked, in QEMU neither; clocks, the video window, video capture, DPMS: their
 * registers keep what is written. Threads: the device's domain.
 */
#include "cirrus.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"

#include <string.h>

enum { PORT_FIRST = 0x3b0, DAC_LOOKS = 4, KEY_BITS = 0x17, KEY_OPEN = 0x12, KEY_CLOSED = 0x0f };
enum { CHIP_5446 = 0xb8 };

/* ---- sequencer ---- */

static uint8_t sr_read(Cirrus *c)
{
    unsigned i = c->sr_index & 0x1f;
    switch (i) {
    case SR_CURSOR_X: return (uint8_t)(c->cursor_x >> 3);
    case SR_CURSOR_Y: return (uint8_t)(c->cursor_y >> 3);
    default: return i < 5 ? vga_port_read(&c->vga, 0x3c5) : c->sr[i];
    }
}

static void sr_write(Cirrus *c, uint8_t val)
{
    unsigned i = c->sr_index & 0x1f, low = c->sr_index >> 5;
    if (i < 5) {
        c->sr[i] = val; /* SR2 has eight bits for the extended write modes */
        vga_port_write(&c->vga, 0x3c5, val);
        return;
    }
    switch (i) {
    case 5: break;
    case SR_KEY: c->sr[i] = (val & KEY_BITS) == KEY_OPEN ? KEY_OPEN : KEY_CLOSED; break;
    /* The index's upper bits are the place's lower ones. */
    case SR_CURSOR_X: c->cursor_x = (uint16_t)(val << 3 | low); break;
    case SR_CURSOR_Y: c->cursor_y = (uint16_t)(val << 3 | low); break;
    case SR_CONFIG: c->sr[i] = (c->sr[i] & SR_CONFIG_BUS) | (val & ~SR_CONFIG_BUS); break;
    default: c->sr[i] = val; break;
    }
    if (i == SR_MODE || i == SR_CONFIG) {
        cirrus_update_window(&c->vga);
    }
}

/* ---- graphics controller ---- */

/* Which bits of the registers beyond the VGA's there are. */
static const uint8_t gr_masks[64] = {
    [0] = 0xff,    [1] = 0xff,    [5] = 0x04,    [9] = 0xff,    [0xa] = 0xff,  [0xb] = 0x3f,
    [0xc] = 0xff,  [0xd] = 0xff,  [0xe] = 0xff,  [0x10] = 0xff, [0x11] = 0xff, [0x12] = 0xff,
    [0x13] = 0xff, [0x14] = 0xff, [0x15] = 0xff, [0x20] = 0xff, [0x21] = 0x1f, [0x22] = 0xff,
    [0x23] = 0x07, [0x24] = 0xff, [0x25] = 0x1f, [0x26] = 0xff, [0x27] = 0x1f, [0x28] = 0xff,
    [0x29] = 0xff, [0x2a] = 0x3f, [0x2c] = 0xff, [0x2d] = 0xff, [0x2e] = 0x3f, [0x2f] = 0x1f,
    [0x30] = 0xff, [0x31] = 0xe6, [0x32] = 0xff, [0x33] = 0x1f, [0x34] = 0xff, [0x35] = 0xff,
};

static uint8_t gr_read(Cirrus *c)
{
    unsigned i = c->gr_index & 0x3f;
    bool writes = c->gr[GR_MODE] & GR_MODE_WRITES;
    if (i < 9) {
        uint8_t val = vga_port_read(&c->vga, 0x3cf);
        return i <= 1 && writes ? c->gr[i] : i == 5 ? val | c->gr[5] : val;
    }
    return c->gr[i];
}

void cirrus_gr_write(Cirrus *c, unsigned index, uint8_t val)
{
    uint8_t was = c->gr[index];
    if (index == GR_BLT_START) {
        c->gr[index] = (val & gr_masks[index]) | (was & ~gr_masks[index]);
        cirrus_blt_control(c, val & BLT_START && !(was & BLT_START));
        return;
    }
    c->gr[index] = val & gr_masks[index];
    if (index == GR_BLT_DST + 2 && c->gr[GR_BLT_START] & BLT_AUTOSTART) {
        cirrus_blt_control(c, true);
    } else if (index == 5 || (index >= GR_BANK0 && index <= GR_MODE && was != c->gr[index])) {
        cirrus_update_window(&c->vga);
    }
}

static void gr_write(Cirrus *c, uint8_t val)
{
    unsigned i = c->gr_index & 0x3f;
    if (i < 9) {
        vga_port_write(&c->vga, 0x3cf, val);
    }
    cirrus_gr_write(c, i, val);
}

/* ---- CRT controller ---- */

static uint8_t cr_read(Cirrus *c)
{
    const Vga *v = &c->vga;
    unsigned i = c->cr_index & 0x3f;
    switch (i) {
    case 0x22: return (uint8_t)(v->latch >> 8 * (v->gc[4] & 3)); /* looks into the VGA */
    case 0x24: return v->attr_data ? 0x80 : 0;
    case 0x26: return v->attr_index & 0x3f;
    default: return i < 0x19 ? vga_port_read(&c->vga, 0x3d5 - (v->misc & 1 ? 0 : 0x20)) : c->cr[i];
    }
}

static void cr_write(Cirrus *c, uint8_t val)
{
    unsigned i = c->cr_index & 0x3f;
    if (i < 0x19) {
        vga_port_write(&c->vga, 0x3d5 - (c->vga.misc & 1 ? 0 : 0x20), val);
    } else if (i <= CR_START_HIGH) {
        c->cr[i] = val;
    }
}

/* ---- DAC ---- */

/* 3C6h: after four reads in a row the fifth access is the hidden register's. */
static uint8_t mask_read(Cirrus *c)
{
    if (c->dac_looks == DAC_LOOKS) {
        c->dac_looks = 0;
        return c->hidden_dac;
    }
    c->dac_looks++;
    return vga_port_read(&c->vga, 0x3c6);
}

static void mask_write(Cirrus *c, uint8_t val)
{
    if (c->dac_looks == DAC_LOOKS) {
        c->hidden_dac = val;
    } else {
        vga_port_write(&c->vga, 0x3c6, val);
    }
    c->dac_looks = 0;
}

/* The cursor's colours are beside the palette, by the same way: entries 0 and 15 of what SR12 shows then. */
static uint8_t cursor_dac_read(Cirrus *c)
{
    Vga *v = &c->vga;
    uint8_t val = c->cursor_dac[3 * (v->dac_read & 15) + v->dac_sub];
    if (++v->dac_sub == 3) {
        v->dac_sub = 0;
        v->dac_read++;
    }
    return val;
}

static void cursor_dac_write(Cirrus *c, uint8_t val)
{
    Vga *v = &c->vga;
    v->dac_cache[v->dac_sub] = val & 0x3f;
    if (++v->dac_sub == 3) {
        memcpy(&c->cursor_dac[3 * (v->dac_write & 15)], v->dac_cache, 3);
        v->dac_sub = 0;
        v->dac_write++;
        c->cursor_coloured = true;
    }
}

/* ---- ports ---- */

static void set_index(Cirrus *c, unsigned port, uint8_t *index, uint8_t val, uint8_t bits)
{
    *index = val;
    vga_port_write(&c->vga, port, val & bits);
}

uint8_t cirrus_port_read(Cirrus *c, unsigned port)
{
    if (vga_port_is_absent(&c->vga, port)) {
        return 0xff;
    }
    switch (port) {
    case 0x3c4: return c->sr_index;
    case 0x3c5: return sr_read(c);
    case 0x3c6: return mask_read(c);
    case 0x3ce: return c->gr_index;
    case 0x3cf: return gr_read(c);
    case 0x3b4:
    case 0x3d4: return c->cr_index;
    case 0x3b5:
    case 0x3d5: return cr_read(c);
    case 0x3c7:
    case 0x3c8: c->dac_looks = 0; break;
    case 0x3c9:
        c->dac_looks = 0;
        if (c->sr[SR_CURSOR] & SR_CURSOR_DAC) {
            return cursor_dac_read(c);
        }
        break;
    default: break;
    }
    return vga_port_read(&c->vga, port);
}

void cirrus_port_write(Cirrus *c, unsigned port, uint8_t val)
{
    if (vga_port_is_absent(&c->vga, port)) {
        return;
    }
    switch (port) {
    case 0x3c4: set_index(c, port, &c->sr_index, val, 0x1f); return;
    case 0x3c5: sr_write(c, val); return;
    case 0x3c6: mask_write(c, val); return;
    case 0x3ce: set_index(c, port, &c->gr_index, val, 0x0f); return;
    case 0x3cf: gr_write(c, val); return;
    case 0x3b4:
    case 0x3d4: set_index(c, port, &c->cr_index, val, 0x1f); return;
    case 0x3b5:
    case 0x3d5: cr_write(c, val); return;
    case 0x3c7:
    case 0x3c8: c->dac_looks = 0; break;
    case 0x3c9:
        c->dac_looks = 0;
        if (c->sr[SR_CURSOR] & SR_CURSOR_DAC) {
            cursor_dac_write(c, val);
            return;
        }
        break;
    default: break;
    }
    vga_port_write(&c->vga, port, val);
}

static uint64_t ports_read(void *opaque, MemAccess *a)
{
    return cirrus_port_read(cirrus_of(opaque), PORT_FIRST + (unsigned)a->off);
}

static void ports_write(void *opaque, MemAccess *a, uint64_t val)
{
    cirrus_port_write(cirrus_of(opaque), PORT_FIRST + (unsigned)a->off, (uint8_t)val);
}

static const MemOps port_ops = {
    .read = ports_read, .write = ports_write, .min = 1, .max = 4, .impl_max = 1, .unaligned = true
};

/* ---- life ---- */

static const VgaExtra cirrus_extra = { .window_ops = &cirrus_window_ops,
                                       .port_ops = &port_ops,
                                       .update_window = cirrus_update_window,
                                       .look = cirrus_look,
                                       .before = cirrus_before,
                                       .over = cirrus_over };

void cirrus_reset(Cirrus *c)
{
    vga_reset(&c->vga);
    memset(&c->sr_index, 0, offsetof(Cirrus, bank) - offsetof(Cirrus, sr_index));
    c->sr[SR_KEY] = KEY_CLOSED;
    c->sr[SR_DRAM] = c->pci ? 0x98 : 0x18; /* 64 bits wide; two banks, of 2 MiB each; or one */
    c->sr[SR_MEMORY] = c->pci ? 4 : 3;     /* MiB: 2 to this, less 2 */
    c->sr[SR_CONFIG] = c->pci ? 0x20 : 0x38;
    c->sr[SR_MCLK] = c->pci ? 0x2d : 0x22;
    c->cr[CR_ID] = c->pci ? CHIP_5446 : 0xa0;
    c->cursor_coloured = true;
}

static void cirrus_fini(void *opaque)
{
    cirrus_unmap(opaque);
}

bool cirrus_init(Cirrus *c, Device *dev, MemRegion *mem, Error **errp)
{
    if (c->size_mb != 4 && c->size_mb != 8 && c->size_mb != 16) {
        return error_fail(errp, "out-of-range", "vgamem_mb", "leave it out, or give 8 or 16",
                          "%s: vgamem_mb=%u is no possible size: the chip has 4 MiB", device_name(dev),
                          c->size_mb);
    }
    c->vga.extra = &cirrus_extra;
    c->used = c->pci ? 4 << 20 : 2 << 20;
    if (!vga_init(&c->vga, dev, c->size_mb, errp)) {
        return false;
    }
    device_add_cleanup(dev, cirrus_fini, c);
    cirrus_reset(c);
    cirrus_init_regions(c);
    if (!vga_map_legacy(&c->vga, mem, errp)) {
        return false;
    }
    cirrus_map_window(c);
    return true;
}

static bool cirrus_post_load(void *opaque, Error **errp)
{
    Cirrus *c = opaque;
    if (c->dac_looks > DAC_LOOKS || c->cursor_x > 0x7ff || c->cursor_y > 0x7ff ||
        !cirrus_feed_good(&c->feed)) {
        return error_set(errp, "saved Cirrus card: a number is out of range");
    }
    c->cursor_coloured = true;
    cirrus_update_window(&c->vga);
    return true;
}

static const VmField feed_fields[] = {
    VM_U32(CirrusFeed, lines),
    VM_U32(CirrusFeed, line),
    VM_U32(CirrusFeed, have),
    VM_U32(CirrusFeed, need),
    VM_U8_ARRAY(CirrusFeed, gr),
    VM_U8_ARRAY(CirrusFeed, data),
    { 0 },
};
static const VmState feed_state = { .name = "cirrus-feed", .version = 1, .oldest = 1, .fields = feed_fields };

static const VmField cirrus_fields[] = {
    VM_STRUCT(Cirrus, vga, vga_state),
    VM_U8(Cirrus, sr_index),
    VM_U8(Cirrus, gr_index),
    VM_U8(Cirrus, cr_index),
    VM_U8_ARRAY(Cirrus, sr),
    VM_U8_ARRAY(Cirrus, gr),
    VM_U8_ARRAY(Cirrus, cr),
    VM_U16(Cirrus, cursor_x),
    VM_U16(Cirrus, cursor_y),
    VM_U8_ARRAY(Cirrus, cursor_dac),
    VM_U8(Cirrus, hidden_dac),
    VM_U8(Cirrus, dac_looks),
    VM_STRUCT(Cirrus, feed, feed_state),
    { 0 },
};
const VmState cirrus_state = {
    .name = "cirrus", .version = 1, .oldest = 1, .fields = cirrus_fields, .post_load = cirrus_post_load
};
