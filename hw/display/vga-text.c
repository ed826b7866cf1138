/* SPDX-License-Identifier: MIT
 * hw/display/vga-text.c - the VGA's text modes: characters, their fonts, the cursor, blinking.
 * Models: IBM VGA (XGA Technical Reference, "alphanumeric modes"): two fonts of eight, characters 8 or 9 dots
 * wide, line graphics, underline, blinking or 16 background colours, panning and split screens. Only
 * characters that differ from those drawn last are drawn. Threads: the main loop, in the device's domain.
 */
#include "vga.h"
#include "rhea/ui/font.h"

#include <string.h>

enum { FONT_SIZE = 0x2000, CELL_CURSOR = 1 << 16, CELL_HIDDEN = 1 << 17, MODE_LINES = 4, MODE_BLINK = 8 };

static const uint8_t *cell_bytes(const Vga *v, uint32_t at)
{
    return v->ram->host + 4 * (uint64_t)(at & 0xffff);
}

/* Plane 2 holds the fonts. True: a glyph is another now. */
static bool fetch_fonts(Vga *v)
{
    bool differs = false;
    for (unsigned f = 0; f < 2; f++) {
        const uint8_t *from = v->ram->host + 4 * (uint32_t)v->look.font[f] * FONT_SIZE + 2;
        for (unsigned i = 0; i < sizeof(v->glyphs[f]); i++) {
            differs |= v->glyphs[f][i] != from[4 * i];
            v->glyphs[f][i] = from[4 * i];
        }
    }
    return differs;
}

static bool fonts_dirty(const Vga *v)
{
    return vga_dirty(v, 4 * (uint64_t)v->look.font[0] * FONT_SIZE, 4 * FONT_SIZE) ||
           vga_dirty(v, 4 * (uint64_t)v->look.font[1] * FONT_SIZE, 4 * FONT_SIZE);
}

/* A piece of the screen: lines [y1, y2) of one row of characters. */
typedef struct Piece {
    int y1, y2;
    uint32_t at; /* of its first cell */
    int line;    /* of the row, the first that is seen, doubled lines counted twice */
    unsigned pan;
    uint32_t *was; /* its cells as drawn last */
} Piece;

static uint32_t cell_now(const Vga *v, uint32_t at, uint32_t cursor, unsigned blink)
{
    const uint8_t *b = cell_bytes(v, at);
    uint32_t cell = b[0] | b[1] << 8;
    if (v->look.attr_mode & MODE_BLINK && b[1] & 0x80 && !(blink & 2)) {
        cell |= CELL_HIDDEN;
    }
    return at == cursor ? cell | CELL_CURSOR : cell;
}

static unsigned glyph_bits(const Vga *v, uint32_t cell, unsigned scan)
{
    const VgaLook *l = &v->look;
    unsigned ch = cell & 255, attr = cell >> 8 & 255;
    unsigned bits = v->glyphs[attr >> 3 & 1][ch * VGA_GLYPH_ROWS + scan] << 1;
    if (l->attr_mode & MODE_LINES && ch >= 0xc0 && ch <= 0xdf) {
        bits |= bits >> 1 & 1; /* the ninth dot repeats the eighth */
    }
    if (scan == l->underline && (attr & 7) == 1) {
        bits = 0x1ff;
    }
    if (cell & CELL_HIDDEN) {
        bits = 0;
    }
    if (cell & CELL_CURSOR && scan >= l->cursor_first && scan <= l->cursor_last) {
        bits = 0x1ff;
    }
    return bits;
}

/* Cells [c1, c2) of one line. */
static void draw_cells(const Vga *v, const Piece *p, unsigned scan, int c1, int c2, uint32_t *out)
{
    const VgaLook *l = &v->look;
    for (int c = c1; c < c2; c++) {
        uint32_t cell = p->was[c];
        unsigned attr = cell >> 8 & 255, bits = glyph_bits(v, cell, scan);
        uint32_t fg = v->colour[attr & 15];
        uint32_t bg = v->colour[l->attr_mode & MODE_BLINK ? attr >> 4 & 7 : attr >> 4];
        if (l->double_x == 1) {
            for (unsigned k = 0; k < l->cell_width; k++) {
                *out++ = bits & (0x100u >> k) ? fg : bg;
            }
            continue;
        }
        for (unsigned k = 0; k < l->cell_width; k++, out += 2) {
            out[0] = out[1] = bits & (0x100u >> k) ? fg : bg;
        }
    }
}

static void draw_piece(Vga *v, const Piece *p, int c1, int c2)
{
    const VgaLook *l = &v->look;
    int dots = l->cell_width * l->double_x;
    if (p->pan) {
        c1 = 0;
        c2 = l->columns + 1;
    }
    for (int y = p->y1; y < p->y2; y++) {
        unsigned scan = (unsigned)(p->line + y - p->y1) >> l->double_y;
        uint32_t *row = (uint32_t *)surface_row(v->surface, y);
        draw_cells(v, p, scan, c1, c2, p->pan ? v->line : row + c1 * dots);
        if (p->pan) {
            memcpy(row, v->line + p->pan * l->double_x, (size_t)l->width * 4);
        }
    }
    int x1 = p->pan ? 0 : c1 * dots, x2 = p->pan ? l->width : c2 * dots;
    console_damage(v->console, x1, p->y1, x2 - x1, p->y2 - p->y1);
}

static void update_piece(Vga *v, const Piece *p, bool all, uint32_t cursor, unsigned blink)
{
    int n = MIN(v->look.columns + (p->pan ? 1 : 0), VGA_MAX_COLUMNS + 1), first = -1, last = -1;
    for (int c = 0; c < n; c++) {
        uint32_t cell = cell_now(v, p->at + (uint32_t)c, cursor, blink);
        if (all || cell != p->was[c]) {
            p->was[c] = cell;
            first = first < 0 ? c : first;
            last = c;
        }
    }
    if (first >= 0) {
        draw_piece(v, p, first, last + 1);
    }
}

/* The address counter's value where the cursor is; UINT32_MAX: it is not seen. */
static uint32_t cursor_place(const Vga *v, unsigned blink)
{
    bool seen = blink & 1 && !(v->look.cursor_first & 0x20);
    return seen ? (uint32_t)v->crtc[0xe] << 8 | v->crtc[0xf] : UINT32_MAX;
}

void vga_draw_text(Vga *v, bool all, unsigned blink)
{
    const VgaLook *l = &v->look;
    if (all || fonts_dirty(v)) {
        all |= fetch_fonts(v);
    }
    uint32_t cursor = cursor_place(v, blink);
    int full = l->row_lines << l->double_y, line = MIN(l->preset << l->double_y, full - 1);
    Piece p = { .at = (l->start + l->byte_pan) & 0xffff, .pan = l->pan % l->cell_width, .was = v->cells };
    for (int y = 0; y < l->height;) {
        if (y == l->split + 1) { /* address 0, from its first line on */
            p.at = l->split_pan ? 0 : l->byte_pan;
            p.pan = l->split_pan ? 0 : p.pan;
            line = 0;
        }
        int end = MIN(y + full - line, l->height);
        p.y1 = y;
        p.y2 = y <= l->split && end > l->split + 1 ? l->split + 1 : end;
        p.line = line;
        update_piece(v, &p, all, cursor, blink);
        p.at = (p.at + l->pitch) & 0xffff;
        p.was += VGA_MAX_COLUMNS + 1;
        y = p.y2;
        line = 0;
    }
    v->blink = blink;
}

/* ---- for programs that read screens ---- */

/* By the numbers of the usual palette. */
static uint16_t text_attr(const VgaLook *l, uint8_t attr)
{
    static const uint8_t colour[8] = { 0, 4, 2, 6, 1, 5, 3, 7 }; /* red and blue change places */
    bool blinks = l->attr_mode & MODE_BLINK, lined = (attr & 7) == 1 && l->underline < l->row_lines;
    unsigned fg = colour[attr & 7] | (attr & 8), bg = colour[attr >> 4 & 7] | (blinks ? 0 : attr >> 4 & 8);
    return (uint16_t)(fg | bg << CELL_BACKGROUND | (blinks && attr & 0x80 ? CELL_BLINK : 0) |
                      (lined ? CELL_UNDERLINE : 0));
}

bool vga_text(void *opaque, ConsoleText *out)
{
    const Vga *v = opaque;
    VgaLook l;
    vga_find_look(v, &l);
    if (l.kind != VGA_TEXT) {
        return false;
    }
    int rows = MIN(l.height / (l.row_lines << l.double_y), 128);
    if (!rows) {
        return false;
    }
    size_t n = (size_t)rows * (size_t)l.columns;
    *out = (ConsoleText){
        .columns = l.columns, .rows = rows, .cursor_x = -1, .cursor_y = -1, .coloured = out->coloured
    };
    out->cells = g_new(uint32_t, n);
    out->attrs = out->coloured ? g_new(uint16_t, n) : NULL;
    uint32_t cursor = v->crtc[0xe] << 8 | v->crtc[0xf];
    for (int y = 0; y < rows; y++) {
        for (int x = 0; x < l.columns; x++) {
            uint32_t at = (l.start + (uint32_t)y * l.pitch + (uint32_t)x) & 0xffff;
            out->cells[y * l.columns + x] = font_cp437[cell_bytes(v, at)[0]];
            if (out->attrs) {
                out->attrs[y * l.columns + x] = text_attr(&l, cell_bytes(v, at)[1]);
            }
            if (at == cursor && !(l.cursor_first & 0x20)) {
                out->cursor_x = x;
                out->cursor_y = y;
            }
        }
    }
    return true;
}
