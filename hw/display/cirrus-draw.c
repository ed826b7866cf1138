/* SPDX-License-Identifier: MIT
 * hw/display/cirrus-draw.c - what Cirrus cards show beyond the VGA's modes, and their cursor.
 * Models: CL-GD5446 Technical Reference Manual (1996): SR7's depths (8, 15, 16, 24, 32 bits a pixel), start
 * address and offset with their upper bits, interlaced heights, the hardware cursor of 32 x 32 and 64 x 64
 * pixels: two planes in the memory's last 16 KiB, colours of the DAC's own. Does not model: the mixed 8 and
 * 16 bit modes of the hidden DAC register, the video window, split screens' panning. Threads: the main loop,
 * in the device's domain.
 *
 * The cursor is a part of the picture, since it can invert what is below it. While it is on, no picture is
 * memory itself.
 */
#include "cirrus.h"

enum { CURSOR_BIG = 64, CURSOR_SMALL = 32, PLANE_SMALL = 128 };

static int depth(const Cirrus *c)
{
    switch (c->sr[SR_MODE] & 0x0e) {
    case 2:
    case 6: return (c->hidden_dac & 0x0f) == 1 ? 16 : 15;
    case 4: return 24;
    case 8: return 32;
    default: return 8;
    }
}

void cirrus_look(const Vga *v, VgaLook *l)
{
    const Cirrus *c = cirrus_of(v);
    uint8_t more = c->cr[CR_EXTENSIONS];
    l->start |= (more & 1u) << 16 | (more >> 2 & 3u) << 17 | (c->cr[CR_START_HIGH] >> 7 & 1u) << 19;
    l->pitch |= (more & 0x10u) << 5;
    if (more & 2) {
        l->mask = c->used / 4 - 1;
    }
    if (l->kind == VGA_TEXT) {
        return;
    }
    l->over = c->sr[SR_CURSOR] & SR_CURSOR_ON;
    if (c->cr[CR_INTERLACE] & 1 && l->height <= SURFACE_MAX_SIDE / 2) {
        l->height *= 2;
    }
    if (!cirrus_is_packed(c)) {
        return;
    }
    l->kind = VGA_PACKED;
    l->bpp = depth(c);
    l->width = l->columns * 8;
    l->start *= 4;
    l->pitch *= 4;
    l->mask = c->used - 1;
    l->double_x = 1;
    l->pan = l->byte_pan = l->preset = 0;
    l->scan_bit = -1;
}

/* ---- the cursor ---- */

static void find_cursor(Cirrus *c)
{
    struct CirrusCursor *k = &c->cursor;
    k->on = c->vga.look.over;
    k->big = c->sr[SR_CURSOR] & SR_CURSOR_64;
    k->x = c->cursor_x;
    k->y = c->cursor_y;
    k->pattern = c->used - CIRRUS_CURSORS + (c->sr[SR_CURSOR_PATTERN] & (k->big ? 0x3cu : 0x3fu)) * 256;
}

static int side(const struct CirrusCursor *k)
{
    return k->big ? CURSOR_BIG : CURSOR_SMALL;
}

/* Where it was and where it is. */
void cirrus_before(Vga *v)
{
    Cirrus *c = cirrus_of(v);
    find_cursor(c);
    const struct CirrusCursor *k = &c->cursor, *d = &c->drawn;
    unsigned bytes = k->big ? CURSOR_BIG * CURSOR_BIG / 4 : CURSOR_SMALL * CURSOR_SMALL / 4;
    bool moved = k->x != d->x || k->y != d->y || k->big != d->big || k->pattern != d->pattern;
    v->over_from = v->over_to = 0;
    if (k->on && (moved || c->cursor_coloured || !d->on || vga_dirty(v, k->pattern, bytes))) {
        v->over_from = d->on ? MIN(k->y, d->y) : k->y;
        v->over_to = d->on ? MAX(k->y + side(k), d->y + side(d)) : k->y + side(k);
    }
    c->cursor_coloured = false;
    c->drawn = c->cursor;
}

static uint32_t cursor_colour(const Cirrus *c, unsigned entry)
{
    uint32_t rgb = 0;
    for (unsigned k = 0; k < 3; k++) {
        unsigned six = c->cursor_dac[3 * entry + k] & 0x3f;
        rgb = rgb << 8 | six << 2 | six >> 4;
    }
    return 0xff000000 | rgb;
}

/* Planes 0 and 1 of a pixel: 0 and 0 what is below, 1 and 0 the same inverted, 0 and 1 the background, 1 and
 * 1 the foreground. */
void cirrus_over(const Vga *v, int y, uint32_t *row)
{
    const Cirrus *c = cirrus_of(v);
    const struct CirrusCursor *k = &c->cursor;
    int line = y - k->y;
    if (!k->on || line < 0 || line >= side(k)) {
        return;
    }
    const uint8_t *pattern = v->ram->host + k->pattern;
    const uint8_t *one = pattern + line * (k->big ? 16 : 4), *two = one + (k->big ? 8 : PLANE_SMALL);
    uint32_t back = cursor_colour(c, 0), fore = cursor_colour(c, 15);
    for (int i = 0; i < side(k) && k->x + i < v->look.width; i++) {
        bool p0 = one[i / 8] >> (7 - i % 8) & 1, p1 = two[i / 8] >> (7 - i % 8) & 1;
        uint32_t *p = &row[k->x + i];
        *p = p1 ? (p0 ? fore : back) : p0 ? *p ^ 0xffffff : *p;
    }
}
