/* SPDX-License-Identifier: MIT
 * hw/display/vga-mem.c - the VGA's memory as the CPU sees it between A0000h and BFFFFh.
 * Models: IBM VGA (XGA Technical Reference, "VGA function", memory modes): map mask, set/reset, data rotate,
 * logic functions, bit mask, write modes 0 to 3, read modes 0 and 1, latches, chain-4, odd/even. Does not
 * model: odd/even with a page bit (misc bit 5): the upper half of the planes is never reached by it. Threads:
 * the device's domain.
 */
#include "vga.h"

void vga_window_place(const Vga *v, uint32_t *off, uint32_t *size)
{
    static const uint32_t place[4][2] = {
        { 0, 0x20000 }, { 0, 0x10000 }, { 0x10000, 0x8000 }, { 0x18000, 0x8000 }
    };
    *off = place[v->gc[6] >> 2 & 3][0];
    *size = place[v->gc[6] >> 2 & 3][1];
}

bool vga_is_chained(const Vga *v)
{
    return v->seq[4] & 8;
}

/* Into the window as it is placed, and its bank. False: nobody is there. */
static bool find(const Vga *v, uint32_t *addr)
{
    uint32_t off, size;
    vga_window_place(v, &off, &size);
    if (!(v->misc & 2) || *addr < off || *addr - off >= size) {
        return false;
    }
    *addr = *addr - off + dispi_bank(v);
    return true;
}

static uint32_t *word(const Vga *v, uint32_t at)
{
    return (uint32_t *)v->ram->host + (at & (v->ram_size / 4 - 1));
}

/* Bits 0 to 3, one for each plane, to whole bytes. */
static uint32_t planes(unsigned bits)
{
    return (bits & 1 ? 0xff : 0) | (bits & 2 ? 0xff00 : 0) | (bits & 4 ? 0xff0000 : 0) |
           (bits & 8 ? 0xff000000 : 0);
}

uint8_t vga_planes_read(Vga *v, uint32_t addr)
{
    if (vga_is_chained(v)) {
        addr &= v->ram_size - 1;
        v->latch = *word(v, addr / 4);
        return v->ram->host[addr];
    }
    unsigned plane = v->gc[4] & 3;
    if (v->gc[5] & 0x10) {
        plane = (plane & 2) | (addr & 1);
        addr >>= 1;
    }
    uint32_t w = v->latch = *word(v, addr);
    if (!(v->gc[5] & 8)) {
        return w >> (8 * plane);
    }
    /* Read mode 1: which pixels have the colour compared with, in the planes that care. */
    w = (w ^ planes(v->gc[2])) & planes(v->gc[7]);
    w |= w >> 16;
    w |= w >> 8;
    return ~w;
}

static uint32_t logic(const Vga *v, uint32_t val)
{
    switch (v->gc[3] >> 3 & 3) {
    case 1: return val & v->latch;
    case 2: return val | v->latch;
    case 3: return val ^ v->latch;
    default: return val;
    }
}

/* What goes into the four planes. */
static uint32_t write_data(const Vga *v, uint8_t val)
{
    unsigned turn = v->gc[3] & 7;
    uint8_t turned = val >> turn | val << (8 - turn);
    uint32_t mask = v->gc[8] * 0x01010101u, data, enable;
    switch (v->gc[5] & 3) {
    case 0:
        enable = planes(v->gc[1]);
        data = logic(v, (turned * 0x01010101u & ~enable) | (planes(v->gc[0]) & enable));
        break;
    case 1: return v->latch;
    case 2: data = logic(v, planes(val)); break;
    default:
        mask &= turned * 0x01010101u;
        data = logic(v, planes(v->gc[0]));
        break;
    }
    return (data & mask) | (v->latch & ~mask);
}

void vga_planes_write(Vga *v, uint32_t addr, uint8_t val)
{
    unsigned map = v->seq[2] & 15;
    if (vga_is_chained(v)) {
        addr &= v->ram_size - 1;
        if (map & (1u << (addr & 3))) {
            v->ram->host[addr] = val;
            ram_written(v->ram, addr, 1);
        }
        return;
    }
    if (!(v->seq[4] & 4)) { /* odd/even */
        map &= addr & 1 ? 0xa : 0x5;
        addr >>= 1;
    }
    uint32_t *w = word(v, addr), keep = ~planes(map);
    *w = (*w & keep) | (write_data(v, val) & ~keep);
    ram_written(v->ram, (uint64_t)((uint8_t *)w - v->ram->host), 4);
}

uint8_t vga_mem_read(Vga *v, uint32_t addr)
{
    return find(v, &addr) ? vga_planes_read(v, addr) : 0xff;
}

void vga_mem_write(Vga *v, uint32_t addr, uint8_t val)
{
    if (find(v, &addr)) {
        vga_planes_write(v, addr, val);
    }
}

static uint64_t window_read(void *opaque, MemAccess *a)
{
    uint64_t val = 0;
    for (unsigned i = 0; i < a->size; i++) {
        val |= (uint64_t)vga_mem_read(opaque, (uint32_t)a->off + i) << (8 * i);
    }
    return val;
}

static void window_write(void *opaque, MemAccess *a, uint64_t val)
{
    for (unsigned i = 0; i < a->size; i++) {
        vga_mem_write(opaque, (uint32_t)a->off + i, (uint8_t)(val >> (8 * i)));
    }
}

const MemOps vga_window_ops = {
    .read = window_read, .write = window_write, .min = 1, .max = 8, .unaligned = true
};
