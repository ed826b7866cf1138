/* SPDX-License-Identifier: MIT
 * hw/display/cirrus-mem.c - Cirrus cards' memory as the CPU sees it: the banked window, the linear frame
 * buffer and its apertures, BLT and VGA registers in memory, data for the BLT engine. Models: CL-GD5446
 * Technical Reference Manual (1996): banks of 4 or 16 KiB steps, one or two; 256-colour addressing, by bytes,
 * by eight and by sixteen; extended write modes 4 and 5; registers at B8000h, at the frame buffer's end and
 * behind BAR 1; swapping apertures (words at 4 MiB, double words at 8 MiB); the BLT aperture from 16 MiB on.
 * With more memory than any chip had (vgamem_mb=8 or 16, as in QEMU) the frame buffer has no apertures. Does
 * not model: the latches of eight bytes: write modes 1 to 3 are the VGA's, and in 256-colour addressing as
 * mode 0. Threads: the device's domain.
 */
#include "cirrus.h"
#include "rhea/system/machine.h"

enum {
    APERTURE = 4 << 20,
    BLT_APERTURE = 16 << 20,
    BAR_SIZE = 32 << 20,
    HALF = 0x8000,
    MMIO_WINDOW = 0x18000
};
enum { MMIO_BLT = 0x100, MMIO_PORTS = 0x20, BAR1_SIZE = 0x1000 };

/* ---- BLT registers in memory ---- */

/* Where each byte's register is; 0xff: nowhere. */
static const uint8_t mmio_gr[0x41] = {
    0x00, 0x10, 0x12, 0x14, 0x01, 0x11, 0x13, 0x15, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28,
    0x29, 0x2a, 0xff, 0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0xff, 0x32, 0x33, 0x34, 0x35, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x31,
};

static uint8_t blt_read(const Cirrus *c, unsigned off)
{
    unsigned gr = off < sizeof(mmio_gr) ? mmio_gr[off] : 0xff;
    return gr == 0xff ? 0xff : c->gr[gr];
}

static void blt_write(Cirrus *c, unsigned off, uint8_t val)
{
    unsigned gr = off < sizeof(mmio_gr) ? mmio_gr[off] : 0xff;
    if (gr != 0xff) {
        cirrus_gr_write(c, gr, val);
    }
}

static uint64_t mmio_read(void *opaque, MemAccess *a)
{
    return blt_read(opaque, (unsigned)a->off);
}

static void mmio_write(void *opaque, MemAccess *a, uint64_t val)
{
    blt_write(opaque, (unsigned)a->off, (uint8_t)val);
}

static uint64_t bar1_read(void *opaque, MemAccess *a)
{
    Cirrus *c = opaque;
    return a->off >= MMIO_BLT    ? blt_read(c, (unsigned)a->off - MMIO_BLT)
           : a->off < MMIO_PORTS ? cirrus_port_read(c, 0x3c0 + (unsigned)a->off)
                                 : 0xff;
}

static void bar1_write(void *opaque, MemAccess *a, uint64_t val)
{
    Cirrus *c = opaque;
    if (a->off >= MMIO_BLT) {
        blt_write(c, (unsigned)a->off - MMIO_BLT, (uint8_t)val);
    } else if (a->off < MMIO_PORTS) {
        cirrus_port_write(c, 0x3c0 + (unsigned)a->off, (uint8_t)val);
    }
}

/* ---- 256-colour addressing ---- */

static bool extended_writes(const Cirrus *c)
{
    return c->gr[GR_MODE] & GR_MODE_WRITES && c->gr[5] & 4 && (c->vga.gc[5] & 3) <= 1;
}

/* Colours of 16 bits in the extended write modes: an address stands for sixteen bytes. */
static bool by_16(const Cirrus *c)
{
    return (c->gr[GR_MODE] & (GR_MODE_16BIT | GR_MODE_WRITES)) == (GR_MODE_16BIT | GR_MODE_WRITES);
}

static uint32_t scaled(const Cirrus *c, uint32_t at)
{
    return by_16(c) ? at << 4 : c->gr[GR_MODE] & GR_MODE_BY8 ? at << 3 : at;
}

static void put_byte(Cirrus *c, uint32_t at, uint8_t val)
{
    at &= c->used - 1;
    c->vga.ram->host[at] = val;
    ram_written(c->vga.ram, at, 1);
}

/* Eight pixels, one for each bit: the foreground colour, and in mode 5 the background colour where it is 0.
 */
static void put_eight(Cirrus *c, uint32_t at, uint8_t bits)
{
    unsigned size = by_16(c) ? 2 : 1;
    bool both = c->vga.gc[5] & 1;
    for (unsigned i = 0; i < 8; i++) {
        bool one = bits >> (7 - i) & 1;
        if (!(c->sr[2] >> (7 - i) & 1) || (!one && !both)) {
            continue;
        }
        put_byte(c, at + i * size, c->gr[one]);
        if (size == 2) {
            put_byte(c, at + i * size + 1, c->gr[0x10 + one]);
        }
    }
}

static uint8_t packed_read(const Cirrus *c, uint32_t at)
{
    return c->vga.ram->host[scaled(c, at) & (c->used - 1)];
}

static void packed_write(Cirrus *c, uint32_t at, uint8_t val)
{
    at = scaled(c, at);
    if (extended_writes(c)) {
        put_eight(c, at, val);
    } else {
        put_byte(c, at, val);
    }
}

/* ---- the window ---- */

static uint32_t bank_start(const Cirrus *c, unsigned k)
{
    return (uint32_t)c->gr[GR_BANK0 + k] << (c->gr[GR_MODE] & GR_MODE_16K ? 14 : 12);
}

/* False: nobody is there. */
static bool banked(const Cirrus *c, uint32_t *addr)
{
    uint32_t off, size;
    vga_window_place(&c->vga, &off, &size);
    if (!(c->vga.misc & 2) || *addr < off || *addr - off >= size) {
        return false;
    }
    uint32_t at = *addr - off;
    bool dual = c->gr[GR_MODE] & GR_MODE_DUAL;
    *addr = dual ? (at & (HALF - 1)) + bank_start(c, at / HALF & 1) : at + bank_start(c, 0);
    return true;
}

static bool is_mmio(const Cirrus *c, uint32_t addr)
{
    return (c->sr[SR_CONFIG] & (SR_CONFIG_MMIO | SR_CONFIG_LINEAR)) == SR_CONFIG_MMIO &&
           addr >= MMIO_WINDOW && addr < MMIO_WINDOW + CIRRUS_MMIO_SIZE;
}

static uint8_t window_byte(Cirrus *c, uint32_t addr)
{
    if (is_mmio(c, addr)) {
        return blt_read(c, addr - MMIO_WINDOW);
    }
    if (!banked(c, &addr)) {
        return 0xff;
    }
    return cirrus_is_packed(c) ? packed_read(c, addr) : vga_planes_read(&c->vga, addr);
}

static uint64_t window_read(void *opaque, MemAccess *a)
{
    uint64_t val = 0;
    for (unsigned i = 0; i < a->size; i++) {
        val |= (uint64_t)window_byte(cirrus_of(opaque), (uint32_t)a->off + i) << (8 * i);
    }
    return val;
}

static void window_write(void *opaque, MemAccess *a, uint64_t val)
{
    Cirrus *c = cirrus_of(opaque);
    if (c->feed.lines && !is_mmio(c, (uint32_t)a->off)) {
        cirrus_blt_feed(c, val, a->size);
        return;
    }
    for (unsigned i = 0; i < a->size; i++) {
        uint32_t addr = (uint32_t)a->off + i;
        uint8_t byte = (uint8_t)(val >> (8 * i));
        if (is_mmio(c, addr)) {
            blt_write(c, addr - MMIO_WINDOW, byte);
        } else if (!banked(c, &addr)) {
            continue;
        } else if (cirrus_is_packed(c)) {
            packed_write(c, addr, byte);
        } else {
            vga_planes_write(&c->vga, addr, byte);
        }
    }
}

const MemOps cirrus_window_ops = {
    .read = window_read, .write = window_write, .min = 1, .max = 8, .unaligned = true
};

/* ---- the linear frame buffer, where it is not memory itself ---- */

/* False: no aperture is there. */
static bool unswapped(const Cirrus *c, uint64_t *at)
{
    static const uint8_t swap[] = { 0, 1, 3 }; /* of words, of double words */
    if (c->vga.ram_size > APERTURE) {
        return true;
    }
    uint64_t n = *at / APERTURE;
    if (n >= G_N_ELEMENTS(swap)) {
        return false;
    }
    *at = (*at % APERTURE) ^ swap[n];
    return true;
}

static uint64_t lfb_read(void *opaque, MemAccess *a)
{
    uint64_t val = 0;
    for (unsigned i = 0; i < a->size; i++) {
        uint64_t at = a->off + i;
        val |= (uint64_t)(unswapped(opaque, &at) ? packed_read(opaque, (uint32_t)at) : 0xff) << (8 * i);
    }
    return val;
}

static void lfb_write(void *opaque, MemAccess *a, uint64_t val)
{
    Cirrus *c = opaque;
    if (c->feed.lines) {
        cirrus_blt_feed(c, val, a->size);
        return;
    }
    for (unsigned i = 0; i < a->size; i++) {
        uint64_t at = a->off + i;
        if (unswapped(c, &at)) {
            packed_write(c, (uint32_t)at, (uint8_t)(val >> (8 * i)));
        }
    }
}

static uint64_t nothing_read(void *opaque G_GNUC_UNUSED, MemAccess *a G_GNUC_UNUSED)
{
    return UINT64_MAX;
}

static void data_write(void *opaque, MemAccess *a, uint64_t val)
{
    Cirrus *c = opaque;
    if (c->feed.lines) {
        cirrus_blt_feed(c, val, a->size);
    }
}

/* ---- what is where ---- */

static bool plain_memory(const Cirrus *c)
{
    return !c->feed.lines && !(c->gr[GR_MODE] & GR_MODE_BY8) && !by_16(c) && !extended_writes(c);
}

static bool differs(const MemRegion *r, bool on, hwaddr at, uint64_t size, hwaddr from)
{
    return r->enabled != on || (on && (r->at != at || r->size != size || r->alias_off != from));
}

/* What the CPU gets at without us: the window's one or two banks, the frame buffer. */
void cirrus_update_window(Vga *v)
{
    Cirrus *c = cirrus_of(v);
    uint32_t off, size;
    vga_window_place(v, &off, &size);
    bool dual = c->gr[GR_MODE] & GR_MODE_DUAL;
    bool whole = cirrus_is_packed(c) || (vga_is_chained(v) && (v->seq[2] & 15) == 15);
    bool fast = v->misc & 2 && whole && plain_memory(c) && off == 0 && size == 2 * HALF;
    bool lfb = plain_memory(c), registers = (c->sr[SR_CONFIG] & 0x44) == 0x44;
    struct {
        bool on;
        hwaddr at;
        uint64_t size, from;
    } want[2] = { { fast, 0, dual ? HALF : 2 * HALF, bank_start(c, 0) },
                  { fast && dual, HALF, HALF, bank_start(c, 1) } };
    bool change = c->pci && (c->lfb_ram.enabled != lfb || c->blt_mmio.enabled != registers);
    for (unsigned k = 0; k < 2; k++) {
        want[k].on = want[k].on && want[k].from + want[k].size <= c->used;
        change |= differs(&c->bank[k], want[k].on, want[k].at, want[k].size, want[k].from);
    }
    if (!change || !c->bank[0].name) {
        return;
    }
    mem_begin(v->owner->machine);
    for (unsigned k = 0; k < 2; k++) {
        if (want[k].on) {
            region_set_addr(&c->bank[k], want[k].at);
            region_set_size(&c->bank[k], want[k].size);
            region_set_alias_off(&c->bank[k], want[k].from);
        }
        region_set_enabled(&c->bank[k], want[k].on);
    }
    if (c->pci) {
        region_set_enabled(&c->lfb_ram, lfb);
        region_set_enabled(&c->blt_mmio, registers);
    }
    mem_commit(v->owner->machine);
}

void cirrus_init_regions(Cirrus *c)
{
    static const MemOps mmio_ops = {
        .read = mmio_read, .write = mmio_write, .min = 1, .max = 8, .impl_max = 1, .unaligned = true
    };
    static const MemOps bar1_ops = {
        .read = bar1_read, .write = bar1_write, .min = 1, .max = 8, .impl_max = 1, .unaligned = true
    };
    static const MemOps lfb_ops = {
        .read = lfb_read, .write = lfb_write, .min = 1, .max = 8, .unaligned = true
    };
    static const MemOps data_ops = {
        .read = nothing_read, .write = data_write, .min = 1, .max = 8, .unaligned = true
    };
    Device *dev = c->vga.owner;
    if (!c->pci) {
        return;
    }
    region_init(&c->bar, dev, "cirrus-bar", BAR_SIZE);
    region_init_io(&c->lfb_io, dev, "cirrus-linear", &lfb_ops, c, BLT_APERTURE);
    region_init_alias(&c->lfb_ram, dev, "cirrus-memory", &c->vga.ram_region, 0, c->vga.ram_size);
    region_init_io(&c->blt_mmio, dev, "cirrus-blt", &mmio_ops, c, CIRRUS_MMIO_SIZE);
    region_init_io(&c->blt_io, dev, "cirrus-blt-data", &data_ops, c, BAR_SIZE - BLT_APERTURE);
    region_init_io(&c->mmio_bar, dev, "cirrus-mmio", &bar1_ops, c, BAR1_SIZE);
    region_set_enabled(&c->blt_mmio, false);
    region_map(&c->bar, 0, &c->lfb_io, 0);
    region_map(&c->bar, 0, &c->lfb_ram, 1);
    region_map(&c->bar, c->used - CIRRUS_MMIO_SIZE, &c->blt_mmio, 2);
    region_map(&c->bar, BLT_APERTURE, &c->blt_io, 0);
}

void cirrus_map_window(Cirrus *c)
{
    for (unsigned k = 0; k < 2; k++) {
        region_init_alias(&c->bank[k], c->vga.owner, "cirrus-bank", &c->vga.ram_region, 0, HALF);
        region_set_enabled(&c->bank[k], false);
        region_map(&c->vga.window, k * HALF, &c->bank[k], 2);
    }
}

void cirrus_unmap(Cirrus *c)
{
    MemRegion *const all[] = { &c->bank[0], &c->bank[1],  &c->lfb_ram,       &c->lfb_io,
                               &c->blt_io,  &c->blt_mmio, &c->vga.ram_region };
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        if (region_mapped(all[i])) {
            region_unmap(all[i]);
        }
        if (all[i]->name) {
            region_fini(all[i]);
        }
    }
}
