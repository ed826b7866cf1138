/* SPDX-License-Identifier: MIT
 * tests/device/vgaguest.c - see vgaguest.h.
 * Models: IBM's video BIOS: the register values of its modes (XGA Technical Reference, VGA modes).
 */
#include "tests/device/vgaguest.h"

#include <zlib.h>

#define ATTR_16 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
const VgaMode vga_text_80x25 = {
    0x67,
    { 3, 0, 3, 0, 2 },
    { 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0,    0x4f, 0x0d, 0x0e, 0,
      0,    0,    0,    0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff },
    { 0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff },
    { ATTR_16, 0x0c, 0, 0x0f, 8, 0 },
};
const VgaMode vga_4 = {
    0x63,
    { 3, 9, 3, 0, 2 },
    { 0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0,    0xc1, 0,    0,   0,
      0,    0,    0,    0x9c, 0x8e, 0x8f, 0x14, 0,    0x96, 0xb9, 0xa2, 0xff },
    { 0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff },
    { ATTR_16, 1, 0, 3, 0, 0 },
};
const VgaMode vga_6 = {
    0x63,
    { 3, 1, 1, 0, 6 },
    { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0,    0xc1, 0,    0,   0,
      0,    0,    0,    0x9c, 0x8e, 0x8f, 0x28, 0,    0x96, 0xb9, 0xc2, 0xff },
    { 0, 0, 0, 0, 0, 0, 0x0d, 0, 0xff },
    { ATTR_16, 1, 0, 1, 0, 0 },
};
const VgaMode vga_0d = {
    0x63,
    { 3, 9, 15, 0, 6 },
    { 0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0,    0xc0, 0,    0,   0,
      0,    0,    0,    0x9c, 0x8e, 0x8f, 0x14, 0,    0x96, 0xb9, 0xe3, 0xff },
    { 0, 0, 0, 0, 0, 0, 5, 15, 0xff },
    { ATTR_16, 1, 0, 15, 0, 0 },
};
const VgaMode vga_12 = {
    0xe3,
    { 3, 1, 15, 0, 6 },
    { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0,    0x40, 0,    0,   0,
      0,    0,    0,    0xea, 0x8c, 0xdf, 0x28, 0,    0xe7, 0x04, 0xe3, 0xff },
    { 0, 0, 0, 0, 0, 0, 5, 15, 0xff },
    { ATTR_16, 1, 0, 15, 0, 0 },
};
#define CRTC_13(underline, mode)                                                                             \
    {                                                                                                        \
        0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28,   \
            (underline), 0x96, 0xb9, (mode), 0xff                                                            \
    }
const VgaMode vga_13 = {
    0x63,
    { 3, 1, 15, 0, 14 },
    CRTC_13(0x40, 0xa3),
    { 0, 0, 0, 0, 0, 0x40, 5, 15, 0xff },
    { ATTR_16, 0x41, 0, 15, 0, 0 },
};
const VgaMode vga_x = {
    0x63,
    { 3, 1, 15, 0, 6 },
    CRTC_13(0, 0xe3),
    { 0, 0, 0, 0, 0, 0x40, 5, 15, 0xff },
    { ATTR_16, 0x41, 0, 15, 0, 0 },
};

static const MemAttrs as_cpu = { .cpu = true };

void vga_guest_open(VgaGuest *g, Machine *m)
{
    g->m = m;
    g->console = console_find(m, NULL, 0, &error_abort_slot);
}

void vga_out(VgaGuest *g, unsigned port, uint8_t val)
{
    as_store(&g->m->as_io, port, 1, val, as_cpu);
}

uint8_t vga_in(VgaGuest *g, unsigned port)
{
    uint64_t v;
    as_load(&g->m->as_io, port, 1, &v, as_cpu);
    return (uint8_t)v;
}

void vga_reg(VgaGuest *g, unsigned port, uint8_t index, uint8_t val)
{
    as_store(&g->m->as_io, port, 2, index | val << 8, as_cpu); /* both at once, as drivers do */
}

void vga_attr(VgaGuest *g, uint8_t index, uint8_t val)
{
    vga_in(g, 0x3da);
    vga_out(g, 0x3c0, index);
    vga_out(g, 0x3c0, val);
    vga_in(g, 0x3da);
    vga_out(g, 0x3c0, 0x20);
}

void vga_dispi(VgaGuest *g, uint16_t index, uint16_t val)
{
    as_store(&g->m->as_io, 0x1ce, 2, index, as_cpu);
    as_store(&g->m->as_io, 0x1cf, 2, val, as_cpu);
}

uint16_t vga_dispi_get(VgaGuest *g, uint16_t index)
{
    uint64_t v;
    as_store(&g->m->as_io, 0x1ce, 2, index, as_cpu);
    as_load(&g->m->as_io, 0x1d0, 2, &v, as_cpu); /* where it also is */
    return (uint16_t)v;
}

void vga_set_mode(VgaGuest *g, const VgaMode *mode)
{
    vga_out(g, 0x3c2, mode->misc);
    for (unsigned i = 0; i < G_N_ELEMENTS(mode->seq); i++) {
        vga_reg(g, 0x3c4, i, mode->seq[i]);
    }
    vga_reg(g, 0x3d4, 0x11, 0); /* unprotect */
    for (unsigned i = 0; i < G_N_ELEMENTS(mode->crtc); i++) {
        vga_reg(g, 0x3d4, i, mode->crtc[i]);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(mode->gc); i++) {
        vga_reg(g, 0x3ce, i, mode->gc[i]);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(mode->attr); i++) {
        vga_attr(g, i, mode->attr[i]);
    }
}

void vga_dac(VgaGuest *g, uint8_t index, uint32_t rgb)
{
    vga_out(g, 0x3c8, index);
    for (int shift = 16; shift >= 0; shift -= 8) {
        vga_out(g, 0x3c9, rgb >> shift & 255);
    }
}

void vga_poke(VgaGuest *g, hwaddr at, uint8_t val)
{
    as_store(&g->m->as_mem, at, 1, val, as_cpu);
}

uint8_t vga_peek(VgaGuest *g, hwaddr at)
{
    uint64_t v;
    as_load(&g->m->as_mem, at, 1, &v, as_cpu);
    return (uint8_t)v;
}

/* The picture as x8r8g8b8, whatever it is. */
static pixman_image_t *picture(VgaGuest *g)
{
    console_refresh(g->console);
    Surface *s = console_surface(g->console);
    int w = surface_width(s), h = surface_height(s);
    pixman_image_t *copy = pixman_image_create_bits(PIXMAN_x8r8g8b8, w, h, NULL, 0);
    pixman_image_composite32(PIXMAN_OP_SRC, s->image, NULL, copy, 0, 0, 0, 0, 0, 0, w, h);
    surface_unref(s);
    return copy;
}

uint32_t vga_pixel(VgaGuest *g, int x, int y)
{
    pixman_image_t *p = picture(g);
    bool inside = x < pixman_image_get_width(p) && y < pixman_image_get_height(p);
    uint32_t v =
        inside ? pixman_image_get_data(p)[y * (pixman_image_get_stride(p) / 4) + x] & 0xffffff : UINT32_MAX;
    pixman_image_unref(p);
    return v;
}

void vga_size(VgaGuest *g, int *w, int *h)
{
    pixman_image_t *p = picture(g);
    *w = pixman_image_get_width(p);
    *h = pixman_image_get_height(p);
    pixman_image_unref(p);
}

uint32_t vga_hash(VgaGuest *g)
{
    pixman_image_t *p = picture(g);
    uLong crc = crc32(0, NULL, 0);
    for (int y = 0; y < pixman_image_get_height(p); y++) {
        uint32_t *row = pixman_image_get_data(p) + y * (pixman_image_get_stride(p) / 4);
        for (int x = 0; x < pixman_image_get_width(p); x++) {
            row[x] &= 0xffffff;
        }
        crc = crc32(crc, (const Bytef *)row, (uInt)pixman_image_get_width(p) * 4);
    }
    pixman_image_unref(p);
    return (uint32_t)crc;
}
