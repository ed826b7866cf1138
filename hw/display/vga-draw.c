/* SPDX-License-Identifier: MIT
 * hw/display/vga-draw.c - from registers and memory to a picture: what is shown, and the graphics modes.
 * Models: the CRT controller's addressing (start, offset, byte panning, preset row scan, line compare, CGA's
 * and Hercules' banks), the attribute controller (panning, palette, plane enable, colour select), the
 * serializer's three modes, the DAC. Does not model: borders, cursor and display skew, vertical totals.
 * Pictures of 15 to 32 bits a pixel are the card's memory itself where pixman can take it; others are drawn,
 * those lines whose pages the guest has written to. Threads: the main loop, in the device's domain.
 */
#include "vga.h"
#include "rhea/system/machine.h"

#include <string.h>

enum { WORD_BITS = 8 * sizeof(unsigned long), PLANE_WORDS = 0x10000 };

/* ---- what is shown ---- */

static unsigned crtc_height(const Vga *v)
{
    return (v->crtc[0x12] | (v->crtc[7] & 2) << 7 | (v->crtc[7] & 0x40) << 3) + 1;
}

static void look_of_crtc(const Vga *v, VgaLook *l)
{
    unsigned dots = !(v->gc[6] & 1) && !(v->seq[1] & 1) ? 9 : 8;
    l->double_x = v->seq[1] & 8 ? 2 : 1;
    l->columns = v->crtc[1] + 1;
    l->width = (int)(l->columns * dots * l->double_x);
    l->height = (int)crtc_height(v);
    l->start = v->crtc[0xc] << 8 | v->crtc[0xd];
    l->pitch = v->crtc[0x13] * 2;
    l->mask = PLANE_WORDS - 1;
    l->double_y = v->crtc[9] >> 7;
    l->row_lines = (v->crtc[9] & 0x1f) + 1;
    l->preset = v->crtc[8] & 0x1f;
    l->byte_pan = v->crtc[8] >> 5 & 3;
    l->split = v->crtc[0x18] | (v->crtc[7] & 0x10) << 4 | (v->crtc[9] & 0x40) << 3;
    l->split_pan = v->attr[0x10] & 0x20;
    l->scan_bit = -1;
}

static void look_of_text(const Vga *v, VgaLook *l)
{
    static const uint8_t fonts[8] = { 0, 2, 4, 6, 1, 3, 5, 7 }; /* of 8 KiB */
    l->kind = VGA_TEXT;
    l->cell_width = v->seq[1] & 1 ? 8 : 9;
    l->pan = l->cell_width == 8 ? v->attr[0x13] & 7 : v->attr[0x13] > 7 ? 0 : v->attr[0x13] + 1;
    l->underline = v->crtc[0x14] & 0x1f;
    l->cursor_first = v->crtc[0xa] & 0x3f; /* bit 5: none */
    l->cursor_last = v->crtc[0xb] & 0x1f;
    l->attr_mode = v->attr[0x10] & 0x0c; /* line graphics, blinking */
    l->font[0] = fonts[(v->seq[3] & 3) | (v->seq[3] >> 2 & 4)];
    l->font[1] = fonts[(v->seq[3] >> 2 & 3) | (v->seq[3] >> 3 & 4)];
}

static void look_of_graphics(const Vga *v, VgaLook *l)
{
    bool bytes = v->crtc[0x17] & 0x40 && !(v->crtc[0x14] & 0x40);
    l->kind = v->gc[5] & 0x40 ? VGA_256 : v->gc[5] & 0x20 ? VGA_CGA4 : VGA_PLANAR;
    l->pan = l->kind == VGA_256 ? (v->attr[0x13] & 7) >> 1 : v->attr[0x13] & 7;
    if (!(v->crtc[0x17] & 1)) {
        l->scan_bit = bytes ? 13 : 12; /* packed words: one less than on the bus */
        l->scan_bit2 = !(v->crtc[0x17] & 2);
    }
}

static void look_of_dispi(const Vga *v, VgaLook *l)
{
    unsigned bpp = v->dispi[DISPI_BPP], x = v->dispi[DISPI_X_OFFSET];
    l->width = v->dispi[DISPI_XRES];
    l->height = v->dispi[DISPI_YRES];
    l->pitch = dispi_pitch(v);
    l->start = v->dispi[DISPI_Y_OFFSET] * l->pitch;
    l->split = INT32_MAX;
    l->row_lines = l->double_x = 1;
    l->scan_bit = -1;
    l->big_endian = v->big_endian;
    if (bpp == 4) {
        l->kind = VGA_PLANAR;
        l->start += x / 8;
        l->pan = x & 7;
        l->columns = l->width / 8;
        l->mask = v->ram_size / 4 - 1;
    } else {
        l->kind = VGA_PACKED;
        l->bpp = (int)bpp;
        l->start += x * ((bpp + 7) / 8);
        l->mask = v->ram_size - 1;
    }
}

void vga_find_look(const Vga *v, VgaLook *l)
{
    memset(l, 0, sizeof(*l)); /* compared with memcmp() */
    /* Registers that nobody has set up, or not all of them yet: no monitor would show that. */
    bool nonsense = !dispi_on(v) && (v->crtc[1] < 20 || crtc_height(v) < 60);
    /* SeaBIOS leaves "screen off" set in the modes that are Cirrus's own, since QEMU does not look at it. */
    bool dark = v->seq[1] & 0x20 && !dispi_on(v) && !v->extra;
    bool off = nonsense || !(v->attr_index & 0x20) || dark;
    if (v->dispi_only ? !dispi_on(v) : off) {
        l->width = surface_width(v->surface);
        l->height = surface_height(v->surface);
        return;
    }
    if (dispi_on(v)) {
        look_of_dispi(v, l);
        return;
    }
    look_of_crtc(v, l);
    if (v->gc[6] & 1) {
        look_of_graphics(v, l);
    } else {
        look_of_text(v, l);
    }
    if (v->extra) {
        v->extra->look(v, l);
    }
}

/* ---- colours ---- */

static uint32_t dac_colour(const Vga *v, unsigned i)
{
    const uint8_t *c = &v->dac[3 * (i & v->dac_mask)];
    uint32_t rgb = 0;
    for (unsigned k = 0; k < 3; k++) {
        unsigned x = v->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC ? c[k] : (c[k] << 2 | c[k] >> 4) & 0xff;
        rgb = rgb << 8 | x;
    }
    return 0xff000000 | rgb;
}

/* Of one of the attribute controller's sixteen; planes that are not enabled count as 0. */
static uint32_t attr_colour(const Vga *v, unsigned i)
{
    unsigned c = v->attr[i & v->attr[0x12]] & 0x3f;
    if (v->attr[0x10] & 0x80) {
        c = (c & 15) | (v->attr[0x14] & 3) << 4;
    }
    return dac_colour(v, c | (v->attr[0x14] & 0xc) << 4);
}

/* True: a colour is another now. */
static bool make_colours(Vga *v)
{
    bool differs = false;
    for (unsigned i = 0; i < 256; i++) {
        uint32_t c = dac_colour(v, i);
        differs |= c != v->palette[i];
        v->palette[i] = c;
    }
    for (unsigned i = 0; i < 16; i++) {
        uint32_t c = attr_colour(v, i);
        differs |= c != v->colour[i];
        v->colour[i] = c;
    }
    return differs;
}

/* ---- lines of graphics ---- */

static uint32_t word_at(const Vga *v, const VgaLook *l, uint32_t at)
{
    return ((const uint32_t *)v->ram->host)[at & l->mask & (v->ram_size / 4 - 1)];
}

static uint32_t *put_pixel(uint32_t *out, uint32_t c, unsigned times)
{
    *out++ = c;
    if (times == 2) {
        *out++ = c;
    }
    return out;
}

static void line_planar(const Vga *v, const VgaLook *l, uint32_t at, int words, uint32_t *out)
{
    const uint32_t *spread = v->spread, *colour = v->colour;
    for (int i = 0; i < words; i++) {
        uint32_t w = word_at(v, l, at + (uint32_t)i);
        uint32_t eight =
            spread[w & 255] | spread[w >> 8 & 255] << 1 | spread[w >> 16 & 255] << 2 | spread[w >> 24] << 3;
        for (unsigned k = 0; k < 8; k++, eight >>= 4) {
            out = put_pixel(out, colour[eight & 15], l->double_x);
        }
    }
}

/* Two bits a pixel: four pixels in planes 0 and 2, four in planes 1 and 3. */
static void line_cga4(const Vga *v, const VgaLook *l, uint32_t at, int words, uint32_t *out)
{
    for (int i = 0; i < words; i++) {
        uint32_t w = word_at(v, l, at + (uint32_t)i);
        for (unsigned odd = 0; odd < 2; odd++, w >>= 8) {
            for (int k = 6; k >= 0; k -= 2) {
                out = put_pixel(out, v->colour[(w >> k & 3) | (w >> (16 + k) & 3) << 2], l->double_x);
            }
        }
    }
}

static void line_256(const Vga *v, const VgaLook *l, uint32_t at, int words, uint32_t *out)
{
    for (int i = 0; i < words; i++) {
        uint32_t w = word_at(v, l, at + (uint32_t)i);
        for (unsigned k = 0; k < 4; k++, w >>= 8) { /* two dots each */
            uint32_t c = v->palette[w & 255];
            out = put_pixel(put_pixel(out, c, l->double_x), c, l->double_x);
        }
    }
}

static uint32_t from_15(unsigned p)
{
    unsigned r = p >> 10 & 31, g = p >> 5 & 31, b = p & 31;
    return 0xff000000 | (r << 3 | r >> 2) << 16 | (g << 3 | g >> 2) << 8 | (b << 3 | b >> 2);
}

static uint32_t from_16(unsigned p)
{
    unsigned r = p >> 11 & 31, g = p >> 5 & 63, b = p & 31;
    return 0xff000000 | (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
}

/* A line that memory holds in one piece. */
static void line_whole(const Vga *v, int bpp, const uint8_t *from, int width, uint32_t *out)
{
    const uint16_t *words = (const uint16_t *)(const void *)from;
    switch (bpp) {
    case 8:
        for (int x = 0; x < width; x++) {
            out[x] = v->palette[from[x]];
        }
        break;
    case 15:
        for (int x = 0; x < width; x++) {
            out[x] = from_15(words[x]);
        }
        break;
    case 16:
        for (int x = 0; x < width; x++) {
            out[x] = from_16(words[x]);
        }
        break;
    default: memcpy(out, from, (size_t)width * 4); break;
    }
}

/* Of VGA_PACKED. */
static uint64_t line_bytes(const VgaLook *l)
{
    return (uint64_t)l->width * (((unsigned)l->bpp + 7) / 8);
}

/* Of the depths that pixman cannot take where they lie, of palettes, and below what lies over the picture. */
static void line_packed(const Vga *v, const VgaLook *l, uint32_t at, uint32_t *out)
{
    unsigned n = ((unsigned)l->bpp + 7) / 8;
    uint64_t bytes = line_bytes(l);
    if (!l->big_endian && n != 3 && at % n == 0 && at + bytes <= (uint64_t)l->mask + 1) {
        line_whole(v, l->bpp, v->ram->host + at, l->width, out);
        return;
    }
    for (int x = 0; x < l->width; x++) {
        uint32_t p = 0;
        for (unsigned k = 0; k < n; k++) {
            unsigned place = l->big_endian ? n - 1 - k : k;
            p |= (uint32_t)v->ram->host[(at + (uint32_t)x * n + k) & l->mask] << (8 * place);
        }
        out[x] = l->bpp == 8    ? v->palette[p]
                 : l->bpp == 15 ? from_15(p)
                 : l->bpp == 16 ? from_16(p)
                                : 0xff000000 | p;
    }
}

static void draw_line(Vga *v, const VgaLook *l, uint32_t at, unsigned pan, uint32_t *row)
{
    uint32_t *out = pan ? v->line : row;
    int words = l->columns + (pan ? 1 : 0);
    switch (l->kind) {
    case VGA_PLANAR: line_planar(v, l, at, words, out); break;
    case VGA_CGA4: line_cga4(v, l, at, words, out); break;
    case VGA_256: line_256(v, l, at, words, out); break;
    default: line_packed(v, l, at, row); return;
    }
    if (pan) {
        unsigned dots = l->kind == VGA_256 ? 2 * l->double_x : l->double_x;
        memcpy(row, v->line + pan * dots, (size_t)l->width * 4);
    }
}

bool vga_dirty(const Vga *v, uint64_t from, uint64_t bytes)
{
    if (from + bytes > v->ram_size) {
        return true; /* around the end */
    }
    for (uint64_t p = from >> RAM_PAGE_BITS; p <= (from + bytes - 1) >> RAM_PAGE_BITS; p++) {
        if (v->dirty[p / WORD_BITS] >> (p % WORD_BITS) & 1) {
            return true;
        }
    }
    return false;
}

/* Where line y begins: words, or bytes of VGA_PACKED. */
static uint32_t line_address(const VgaLook *l, int y, unsigned *pan)
{
    bool below = y > l->split;
    int line = (below ? y - l->split - 1 : y) >> l->double_y;
    line += below ? 0 : l->preset;
    uint32_t at = (below ? 0 : l->start) + (uint32_t)(line / l->row_lines) * l->pitch;
    unsigned scan = (unsigned)(line % l->row_lines);
    *pan = l->pan;
    if (below && l->split_pan) {
        *pan = 0;
    } else {
        at += l->byte_pan;
    }
    if (l->scan_bit >= 0) {
        at = (at & ~(1u << l->scan_bit)) | (scan & 1) << l->scan_bit;
        if (l->scan_bit2) {
            at = (at & ~(2u << l->scan_bit)) | (scan >> 1 & 1) << (l->scan_bit + 1);
        }
    }
    return at & l->mask;
}

static void draw_graphics(Vga *v, bool all)
{
    const VgaLook *l = &v->look;
    bool packed = l->kind == VGA_PACKED;
    uint64_t unit = packed ? 1 : 4;
    uint64_t bytes = packed ? line_bytes(l) : ((uint64_t)l->columns + 1) * 4;
    uint32_t before = UINT32_MAX;
    unsigned pan, pan_before = 0;
    int first = -1;
    for (int y = 0; y < l->height; y++) {
        uint32_t at = line_address(l, y, &pan);
        bool around = at * unit + bytes > ((uint64_t)l->mask + 1) * unit; /* the memory's end */
        bool drawn =
            all || around || vga_dirty(v, at * unit, bytes) || (y >= v->over_from && y < v->over_to);
        if (drawn) {
            uint32_t *row = (uint32_t *)surface_row(v->surface, y);
            if (at == before && pan == pan_before && first >= 0 && !l->over) {
                memcpy(row, surface_row(v->surface, y - 1), (size_t)l->width * 4);
            } else {
                draw_line(v, l, at, pan, row);
            }
            if (l->over) {
                v->extra->over(v, y, row);
            }
            first = first < 0 ? y : first;
        } else if (first >= 0) {
            console_damage(v->console, 0, first, l->width, y - first);
            first = -1;
        }
        before = at;
        pan_before = pan;
    }
    if (first >= 0) {
        console_damage(v->console, 0, first, l->width, l->height - first);
    }
}

/* ---- memory that is the picture ---- */

/* Not where the picture goes around the end of what the chip addresses: a card may have more memory. */
static pixman_format_code_t direct_format(const VgaLook *l)
{
    bool plain = l->row_lines == 1 && !l->double_y && l->split >= l->height - 1 && !l->over;
    uint64_t end = l->start + (uint64_t)(l->height - 1) * l->pitch + line_bytes(l);
    if (l->kind != VGA_PACKED || !plain || (l->big_endian && l->bpp != 32) || l->start % 4 || l->pitch % 4 ||
        end > (uint64_t)l->mask + 1) {
        return 0;
    }
    switch (l->bpp) {
    case 15: return PIXMAN_x1r5g5b5;
    case 16: return PIXMAN_r5g6b5;
    case 24: return PIXMAN_r8g8b8;
    case 32: return l->big_endian ? PIXMAN_b8g8r8x8 : PIXMAN_x8r8g8b8;
    default: return 0;
    }
}

static void tell_direct(Vga *v)
{
    const VgaLook *l = &v->look;
    uint64_t bytes = line_bytes(l);
    int first = -1;
    for (int y = 0; y <= l->height; y++) {
        bool dirty = y < l->height && vga_dirty(v, l->start + (uint64_t)y * l->pitch, bytes);
        if (dirty && first < 0) {
            first = y;
        } else if (!dirty && first >= 0) {
            console_damage(v->console, 0, first, l->width, y - first);
            first = -1;
        }
    }
}

/* The picture for v->look; the one there is, if it fits. */
static void choose_surface(Vga *v)
{
    const VgaLook *l = &v->look;
    pixman_format_code_t format = direct_format(l);
    Surface *s =
        format ? surface_new_ram(v->ram, l->start, format, l->width, l->height, (int)l->pitch, NULL) : NULL;
    if (!s && !v->surface->ram && surface_width(v->surface) == l->width &&
        surface_height(v->surface) == l->height) {
        return;
    }
    s = s ? s : surface_new(l->width, l->height, NULL);
    if (!s) { /* too large for us, or for the host */
        v->look.kind = VGA_BLANK;
        return;
    }
    surface_unref(v->surface);
    v->surface = s;
    console_set_surface(v->console, surface_ref(s));
}

/* ---- the console ---- */

/* The cursor is on for 16 frames of 60 in a second and off for 16, characters for twice that. */
static unsigned blink_now(const Vga *v)
{
    int64_t half = 16 * INT64_C(1000000000) / 60;
    int64_t n = clock_now(v->owner->machine->clock) / half;
    return (n & 1 ? 0 : 1) | (n & 2 ? 0 : 2);
}

static void blank(Vga *v)
{
    Surface *s = surface_new(v->look.width, v->look.height, NULL);
    if (s) {
        surface_unref(v->surface);
        v->surface = s;
        console_set_surface(v->console, surface_ref(s));
    }
}

static void vga_update(void *opaque)
{
    Vga *v = opaque;
    VgaLook look;
    vga_find_look(v, &look);
    size_t pages = v->ram_size >> RAM_PAGE_BITS;
    bool dirty = dirty_take(v->ram, DIRTY_DISPLAY, 0, pages, v->dirty) != 0;
    bool all = v->redraw || memcmp(&look, &v->look, sizeof(look)) != 0;
    bool other_look = all;
    if (v->colours_changed) {
        all |= make_colours(v);
        v->colours_changed = false;
    }
    v->look = look;
    v->redraw = false;
    if (v->extra) {
        v->extra->before(v);
    }
    if (look.kind == VGA_BLANK) {
        if (other_look) {
            blank(v);
        }
        return;
    }
    if (other_look) {
        choose_surface(v);
    }
    unsigned blink = look.kind == VGA_TEXT ? blink_now(v) : v->blink;
    if (v->look.kind == VGA_BLANK || (!all && !dirty && blink == v->blink && look.kind != VGA_TEXT &&
                                          v->over_from >= v->over_to)) {
        return;
    }
    if (v->surface->ram) {
        if (dirty && !other_look) {
            tell_direct(v);
        }
    } else if (look.kind == VGA_TEXT) {
        vga_draw_text(v, all, blink);
    } else {
        draw_graphics(v, all);
    }
}

static void vga_watched(void *opaque, bool on)
{
    Vga *v = opaque;
    dirty_enable(v->ram, DIRTY_DISPLAY, on);
    v->redraw = true;
}

const ConsoleOps vga_console_ops = { .update = vga_update, .watched = vga_watched, .text = vga_text };
