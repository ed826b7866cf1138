/* SPDX-License-Identifier: MIT
 * tests/device/test-vga.c - the standard VGA (hw/display/vga.c, vga-dispi.c, vga-draw.c, vga-isa.c,
 * vga-mem.c, vga-pci.c, vga-rom.c, vga-text.c, bochs-display.c, edid.c): each way to memory and each kind of
 * mode, pixel by pixel; Bochs' interface by ports and in memory; what is drawn when; hostile registers
 * (RHEA_VGA_CASES=N: random accesses, 20000 unless told; all is drawn after every 50).
 * Threads: main.
 */
#include "hw/display/edid.h"
#include "tests/device/isatest.h"
#include "tests/device/pctest.h"
#include "tests/device/vgaguest.h"

#include <stdlib.h>

extern const DeviceType vga_isa_type;
enum { LFB = 0xe0000000, WINDOW = 0xa0000, COLOUR_TEXT = 0xb8000, BAR0 = 0xc0000000, BAR2 = 0xc8000000 };

typedef struct Fix {
    IsaTest *t;
    VgaGuest g;
} Fix;

static void open_isa(Fix *f)
{
    f->t = isatest_new();
    isatest_add(f->t, &vga_isa_type);
    vga_guest_open(&f->g, f->t->tm->m);
    for (unsigned i = 0; i < 256; i++) {
        vga_dac(&f->g, i, i < 16 ? i * 0x030303 : (i & 63) << 16 | (i >> 2) << 8 | (i >> 3));
    }
    vga_out(&f->g, 0x3c6, 0xff);
}

static void close_isa(Fix *f)
{
    isatest_free(f->t);
}

static uint32_t grey(unsigned i) /* the palette's first sixteen */
{
    unsigned c = i * 3;
    return (c << 2 | c >> 4) * 0x010101;
}

static void expect_size(VgaGuest *g, int w, int h)
{
    int ww, hh;
    vga_size(g, &ww, &hh);
    g_assert_cmpint(ww, ==, w);
    g_assert_cmpint(hh, ==, h);
}

/* ---- memory ---- */

static void test_write_modes(void)
{
    Fix f;
    open_isa(&f);
    VgaGuest *g = &f.g;
    vga_set_mode(g, &vga_12);
    vga_reg(g, 0x3ce, 1, 0); /* no set/reset */
    vga_reg(g, 0x3c4, 2, 5);
    vga_poke(g, WINDOW + 7, 0xa5); /* planes 0 and 2 */
    g_assert_cmphex(tm_read(f.t->tm, LFB + 28, 4), ==, 0x00a500a5);
    vga_reg(g, 0x3c4, 2, 15);
    vga_reg(g, 0x3ce, 3, 2); /* turned to the right by 2 */
    vga_poke(g, WINDOW + 7, 0x81);
    g_assert_cmphex(tm_read(f.t->tm, LFB + 28, 4), ==, 0x60606060);
    vga_reg(g, 0x3ce, 3, 0);
    vga_reg(g, 0x3ce, 1, 0xc); /* set/reset in planes 2, 3 */
    vga_reg(g, 0x3ce, 0, 0x4);
    vga_poke(g, WINDOW + 7, 0x0f);
    g_assert_cmphex(tm_read(f.t->tm, LFB + 28, 4), ==, 0x00ff0f0f);
    static const struct {
        uint8_t function;
        uint32_t want;
    } logic[] = { { 0, 0x3c3c3c3c }, { 1, 0x003c0c0c }, { 2, 0x3cff3f3f }, { 3, 0x3cc33333 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(logic); i++) { /* with the latch, 00ff0f0f */
        tm_write(f.t->tm, LFB + 28, 4, 0x00ff0f0f);
        vga_reg(g, 0x3ce, 1, 0);
        vga_reg(g, 0x3ce, 3, logic[i].function << 3);
        vga_peek(g, WINDOW + 7);
        vga_poke(g, WINDOW + 7, 0x3c);
        g_assert_cmphex(tm_read(f.t->tm, LFB + 28, 4), ==, logic[i].want);
    }
    vga_reg(g, 0x3ce, 3, 0);
    vga_reg(g, 0x3ce, 8, 0xf0); /* bit mask: the rest comes from the latch */
    tm_write(f.t->tm, LFB + 28, 4, 0x12345678);
    vga_peek(g, WINDOW + 7);
    vga_poke(g, WINDOW + 9, 0xff);
    g_assert_cmphex(tm_read(f.t->tm, LFB + 36, 4), ==, 0xf2f4f6f8);
    vga_reg(g, 0x3ce, 5, 1); /* mode 1: latches */
    vga_poke(g, WINDOW + 10, 0);
    g_assert_cmphex(tm_read(f.t->tm, LFB + 40, 4), ==, 0x12345678);
    vga_reg(g, 0x3ce, 5, 2); /* mode 2: a colour */
    vga_poke(g, WINDOW + 11, 0x9);
    g_assert_cmphex(tm_read(f.t->tm, LFB + 44, 4), ==, 0xf20406f8 | 0x00000000);
    vga_reg(g, 0x3ce, 5, 3); /* mode 3: set/reset where data and mask have bits */
    vga_reg(g, 0x3ce, 0, 0x1);
    vga_poke(g, WINDOW + 12, 0x3f);
    g_assert_cmphex(tm_read(f.t->tm, LFB + 48, 4), ==, 0x02044678);
    close_isa(&f);
}

static void test_read_modes(void)
{
    Fix f;
    open_isa(&f);
    VgaGuest *g = &f.g;
    vga_set_mode(g, &vga_12);
    tm_write(f.t->tm, LFB + 40, 4, 0xf00fcc55);
    for (unsigned p = 0; p < 4; p++) {
        vga_reg(g, 0x3ce, 4, p);
        g_assert_cmphex(vga_peek(g, WINDOW + 10), ==, 0xf00fcc55 >> (8 * p) & 255);
    }
    vga_reg(g, 0x3ce, 5, 8); /* which pixels have the colour? */
    vga_reg(g, 0x3ce, 2, 0xb);
    vga_reg(g, 0x3ce, 7, 0xf);
    unsigned want = 0x55 & 0xcc & ~0x0f & 0xf0;
    g_assert_cmphex(vga_peek(g, WINDOW + 10), ==, want);
    vga_reg(g, 0x3ce, 7, 0x3); /* planes 0 and 1 count */
    g_assert_cmphex(vga_peek(g, WINDOW + 10), ==, 0x55 & 0xcc);
    vga_reg(g, 0x3ce, 7, 0);
    g_assert_cmphex(vga_peek(g, WINDOW + 10), ==, 0xff);
    close_isa(&f);
}

static void test_places(void)
{
    Fix f;
    open_isa(&f);
    VgaGuest *g = &f.g;
    vga_set_mode(g, &vga_text_80x25);
    vga_poke(g, COLOUR_TEXT, 'x');
    vga_poke(g, COLOUR_TEXT + 1, 7);
    g_assert_cmphex(tm_read(f.t->tm, LFB, 4), ==, 'x' | 7 << 8);
    g_assert_cmphex(vga_peek(g, COLOUR_TEXT), ==, 'x');
    g_assert_cmphex(vga_peek(g, WINDOW), ==, 0xff); /* nobody there */
    g_assert_cmphex(vga_peek(g, 0xb0000), ==, 0xff);
    vga_reg(g, 0x3ce, 6, 0x0a);
    g_assert_cmphex(vga_peek(g, 0xb0000), ==, 'x');
    g_assert_cmphex(vga_peek(g, COLOUR_TEXT), ==, 0xff);
    vga_set_mode(g, &vga_13); /* the CPU writes into memory by itself */
    vga_poke(g, WINDOW + 0x1234, 0x77);
    g_assert_cmphex(tm_read(f.t->tm, LFB + 0x1234, 1), ==, 0x77);
    g_assert_cmphex(vga_peek(g, 0xb0000), ==, 0xff);
    vga_reg(g, 0x3c4, 2, 2); /* one plane only: each fourth byte */
    for (unsigned i = 0; i < 4; i++) {
        vga_poke(g, WINDOW + 0x1234 + i, 0x88);
    }
    g_assert_cmphex(tm_read(f.t->tm, LFB + 0x1234, 4), ==, 0x00008877);
    vga_reg(g, 0x3c4, 2, 15);
    vga_out(g, 0x3c2, 0x61); /* memory off */
    g_assert_cmphex(vga_peek(g, WINDOW + 0x1234), ==, 0xff);
    vga_out(g, 0x3c2, 0x63);
    g_assert_cmphex(vga_peek(g, WINDOW + 0x1234), ==, 0x77);
    close_isa(&f);
}

/* ---- modes ---- */

static void load_glyph(VgaGuest *g, unsigned font_offset, unsigned ch, const uint8_t *rows, unsigned n)
{
    vga_reg(g, 0x3c4, 2, 4);
    vga_reg(g, 0x3c4, 4, 7);
    vga_reg(g, 0x3ce, 5, 0);
    vga_reg(g, 0x3ce, 6, 4);
    for (unsigned i = 0; i < n; i++) {
        vga_poke(g, WINDOW + font_offset + ch * 32 + i, rows[i]);
    }
    vga_reg(g, 0x3c4, 2, 3);
    vga_reg(g, 0x3c4, 4, 2);
    vga_reg(g, 0x3ce, 5, 0x10);
    vga_reg(g, 0x3ce, 6, 0xe);
}

static void put_cell(VgaGuest *g, unsigned x, unsigned y, uint8_t ch, uint8_t attr)
{
    vga_poke(g, COLOUR_TEXT + 2 * (80 * y + x), ch);
    vga_poke(g, COLOUR_TEXT + 2 * (80 * y + x) + 1, attr);
}

static void open_text(Fix *f)
{
    static const uint8_t stripes[16] = { 0x81, 0x55, 0xaa, 0, 0xff };
    open_isa(f);
    vga_set_mode(&f->g, &vga_text_80x25);
    vga_reg(&f->g, 0x3d4, 0xe, 0x7f); /* the cursor is far away */
    load_glyph(&f->g, 0, 'A', stripes, 16);
    load_glyph(&f->g, 0, 0xc4, stripes, 16);
}

static void test_text(void)
{
    Fix f;
    open_text(&f);
    VgaGuest *g = &f.g;
    expect_size(g, 720, 400);
    put_cell(g, 3, 2, 'A', 0x1e);
    for (int x = 0; x < 9; x++) {
        g_assert_cmphex(vga_pixel(g, 27 + x, 32), ==, grey(x == 0 || x == 7 ? 14 : 1));
        g_assert_cmphex(vga_pixel(g, 27 + x, 33), ==, grey(x % 2 && x < 8 ? 14 : 1));
    }
    put_cell(g, 79, 24, 0xc4, 0x0f); /* a line character's ninth dot is the eighth's copy */
    g_assert_cmphex(vga_pixel(g, 719, 384), ==, grey(15));
    g_assert_cmphex(vga_pixel(g, 719, 386), ==, grey(0));
    vga_attr(g, 0x10, 0x08);
    g_assert_cmphex(vga_pixel(g, 719, 384), ==, grey(0));
    vga_reg(g, 0x3c4, 1, 1); /* eight dots wide */
    expect_size(g, 640, 400);
    g_assert_cmphex(vga_pixel(g, 639, 384), ==, grey(15));
    vga_reg(g, 0x3c4, 1, 9); /* forty columns */
    vga_reg(g, 0x3d4, 0x11, 0);
    vga_reg(g, 0x3d4, 1, 39);
    vga_reg(g, 0x3d4, 0x13, 20);
    expect_size(g, 640, 400);
    vga_poke(g, COLOUR_TEXT + 2, 'A');
    vga_poke(g, COLOUR_TEXT + 3, 7);
    g_assert_cmphex(vga_pixel(g, 16, 0), ==, grey(7));
    g_assert_cmphex(vga_pixel(g, 17, 0), ==, grey(7));
    g_assert_cmphex(vga_pixel(g, 18, 0), ==, grey(0));
    close_isa(&f);
}

static void test_text_details(void)
{
    Fix f;
    open_text(&f);
    VgaGuest *g = &f.g;
    static const uint8_t solid[16] = { 255, 255, 255, 255, 255, 255, 255, 255,
                                       255, 255, 255, 255, 255, 255, 255, 255 };
    put_cell(g, 0, 0, 'A', 0x07);
    g_assert_cmphex(vga_pixel(g, 1, 0), ==, grey(0));
    load_glyph(g, 0, 'A', solid,
               16); /* another glyph: the character looks different, though nobody wrote it */
    g_assert_cmphex(vga_pixel(g, 1, 0), ==, grey(7));
    load_glyph(g, 0x4000, 'A', (const uint8_t[16]){ 0 }, 16); /* attribute bit 3 takes font 1 */
    vga_reg(g, 0x3c4, 3, 4);
    put_cell(g, 0, 0, 'A', 0x0f);
    g_assert_cmphex(vga_pixel(g, 1, 0), ==, grey(0));
    vga_reg(g, 0x3c4, 3, 0);
    g_assert_cmphex(vga_pixel(g, 1, 0), ==, grey(15));
    put_cell(g, 1, 0, ' ', 0x01); /* underline */
    vga_reg(g, 0x3d4, 0x14, 13);
    g_assert_cmphex(vga_pixel(g, 10, 13), ==, grey(1));
    g_assert_cmphex(vga_pixel(g, 10, 12), ==, grey(0));
    put_cell(g, 2, 0, 'A', 0x87); /* blinks */
    g_assert_cmphex(vga_pixel(g, 18, 0), ==, grey(7));
    tm_step(f.t->tm, 600000000);
    g_assert_cmphex(vga_pixel(g, 18, 0), ==, grey(0));
    vga_attr(g, 0x10, 4); /* or has a bright background */
    put_cell(g, 3, 0, ' ', 0x90);
    g_assert_cmphex(vga_pixel(g, 28, 0), ==, grey(9));
    vga_reg(g, 0x3d4, 0xd, 80); /* starts a row later */
    put_cell(g, 0, 1, 'A', 7);
    g_assert_cmphex(vga_pixel(g, 1, 0), ==, grey(7));
    g_assert_cmphex(vga_pixel(g, 19, 0), ==, grey(0));
    close_isa(&f);
}

static void test_cursor(void)
{
    Fix f;
    open_text(&f);
    VgaGuest *g = &f.g;
    ConsoleText text;
    put_cell(g, 5, 1, 'A', 0x07);
    vga_reg(g, 0x3d4, 0xe, 0);
    vga_reg(g, 0x3d4, 0xf, 85);
    g_assert_cmphex(vga_pixel(g, 45, 16 + 13), ==, grey(7));
    g_assert_cmphex(vga_pixel(g, 45, 16 + 12), ==, grey(0));
    g_assert_true(console_text(g->console, &text));
    g_assert_cmpint(text.columns, ==, 80);
    g_assert_cmpint(text.rows, ==, 25);
    g_assert_cmpint(text.cursor_x, ==, 5);
    g_assert_cmpint(text.cursor_y, ==, 1);
    g_assert_cmpuint(text.cells[85], ==, 'A');
    g_free(text.cells);
    tm_step(f.t->tm, 300000000);
    g_assert_cmphex(vga_pixel(g, 45, 16 + 13), ==, grey(0)); /* it blinks */
    tm_step(f.t->tm, 300000000);
    g_assert_cmphex(vga_pixel(g, 45, 16 + 13), ==, grey(7));
    vga_reg(g, 0x3d4, 0xf, 86); /* moves */
    g_assert_cmphex(vga_pixel(g, 45, 16 + 13), ==, grey(0));
    g_assert_cmphex(vga_pixel(g, 54, 16 + 13), ==, grey(0)); /* blank cells' attribute is 0 */
    vga_reg(g, 0x3d4, 0xf, 85);
    vga_reg(g, 0x3d4, 0xa, 0x20); /* is not there */
    g_assert_cmphex(vga_pixel(g, 45, 16 + 13), ==, grey(0));
    put_cell(g, 0, 0, 0xb0, 7); /* as Unicode */
    put_cell(g, 1, 0, 1, 7);
    g_assert_true(console_text(g->console, &text));
    g_assert_cmpint(text.cursor_x, ==, -1);
    g_assert_cmphex(text.cells[0], ==, 0x2591);
    g_assert_cmphex(text.cells[1], ==, 0x263a);
    g_assert_null(text.attrs);
    g_free(text.cells);
    put_cell(g, 1, 0, 'B', 0x94); /* red on blue, which blinks or is bright */
    g_assert_true(console_text_coloured(g->console, &text));
    g_assert_cmphex(text.attrs[0], ==, CELL_NORMAL);
    unsigned how = text.attrs[1];
    g_assert_true(how == (0x41 | CELL_BLINK) || how == 0xc1);
    g_free(text.cells);
    g_free(text.attrs);
    vga_set_mode(g, &vga_12);
    g_assert_false(console_text(g->console, &text));
    close_isa(&f);
}

static void test_planar(void)
{
    Fix f;
    open_isa(&f);
    VgaGuest *g = &f.g;
    vga_set_mode(g, &vga_12);
    expect_size(g, 640, 480);
    tm_write(f.t->tm, LFB + 4 * (80 * 10 + 2), 4, 0x80c0e0f0); /* colours 15, 7, 3, 1 */
    static const uint8_t want[] = { 15, 7, 3, 1, 0 };
    for (int i = 0; i < 5; i++) {
        g_assert_cmphex(vga_pixel(g, 16 + i, 10), ==, grey(want[i]));
    }
    vga_attr(g, 0x12, 0x5); /* planes 0 and 2 only */
    g_assert_cmphex(vga_pixel(g, 16, 10), ==, grey(5));
    vga_attr(g, 0x12, 15);
    vga_attr(g, 7, 0x3f); /* another palette entry */
    g_assert_cmphex(vga_pixel(g, 17, 10), !=, grey(7));
    vga_attr(g, 7, 7);
    vga_attr(g, 0x13, 3); /* panned by three pixels */
    g_assert_cmphex(vga_pixel(g, 13, 10), ==, grey(15));
    vga_reg(g, 0x3d4, 8, 0x20); /* and a byte */
    g_assert_cmphex(vga_pixel(g, 5, 10), ==, grey(15));
    vga_reg(g, 0x3d4, 8, 0);
    vga_attr(g, 0x13, 0);
    vga_reg(g, 0x3d4, 0xd, 80); /* a line up */
    g_assert_cmphex(vga_pixel(g, 16, 9), ==, grey(15));
    vga_reg(g, 0x3d4, 0x18, 99); /* below line 99 memory begins again */
    vga_reg(g, 0x3d4, 7, 0x2e);
    vga_reg(g, 0x3d4, 9, 0);
    g_assert_cmphex(vga_pixel(g, 16, 110), ==, grey(15));
    vga_set_mode(g, &vga_0d);
    expect_size(g, 640, 400);
    tm_write(f.t->tm, LFB + 4 * (40 + 1), 4, 0x0000ff00); /* of 320 x 200, doubled both ways */
    g_assert_cmphex(vga_pixel(g, 16, 2), ==, grey(2));
    g_assert_cmphex(vga_pixel(g, 31, 3), ==, grey(2));
    g_assert_cmphex(vga_pixel(g, 32, 3), ==, grey(0));
    g_assert_cmphex(vga_pixel(g, 31, 4), ==, grey(0));
    close_isa(&f);
}

static void test_cga(void)
{
    Fix f;
    open_isa(&f);
    VgaGuest *g = &f.g;
    vga_set_mode(g, &vga_4);
    expect_size(g, 640, 400);
    vga_poke(g, COLOUR_TEXT, 0x1b); /* colours 0, 1, 2, 3, each two by two */
    vga_poke(g, COLOUR_TEXT + 0x2000, 0xe4);
    for (int i = 0; i < 4; i++) {
        g_assert_cmphex(vga_pixel(g, 2 * i, 0), ==, grey(i));
        g_assert_cmphex(vga_pixel(g, 2 * i + 1, 1), ==, grey(i));
        g_assert_cmphex(vga_pixel(g, 2 * i, 2), ==, grey(3 - i));
    }
    vga_poke(g, COLOUR_TEXT + 80, 0xff); /* line 2 */
    g_assert_cmphex(vga_pixel(g, 0, 4), ==, grey(3));
    vga_set_mode(g, &vga_6);
    tm_write(f.t->tm, LFB, 4, 0);
    expect_size(g, 640, 400);
    vga_poke(g, COLOUR_TEXT, 0x40);
    vga_poke(g, COLOUR_TEXT + 0x2000, 0x20);
    g_assert_cmphex(vga_pixel(g, 1, 1), ==, grey(1));
    g_assert_cmphex(vga_pixel(g, 2, 2), ==, grey(1));
    g_assert_cmphex(vga_pixel(g, 1, 2), ==, grey(0));
    close_isa(&f);
}

static uint32_t colour_256(unsigned i)
{
    uint32_t six = i < 16 ? i * 0x030303 : (i & 63) << 16 | (i >> 2) << 8 | (i >> 3);
    uint32_t out = 0;
    for (int shift = 16; shift >= 0; shift -= 8) {
        unsigned c = six >> shift & 63;
        out = out << 8 | ((c << 2 | c >> 4) & 255);
    }
    return out;
}

static void test_256(void)
{
    Fix f;
    open_isa(&f);
    VgaGuest *g = &f.g;
    vga_set_mode(g, &vga_13);
    expect_size(g, 640, 400);
    vga_poke(g, WINDOW + 320 * 5 + 7, 200);
    g_assert_cmphex(vga_pixel(g, 14, 10), ==, colour_256(200));
    g_assert_cmphex(vga_pixel(g, 15, 11), ==, colour_256(200));
    vga_out(g, 0x3c6, 0x0f); /* the DAC's mask */
    g_assert_cmphex(vga_pixel(g, 14, 10), ==, colour_256(8));
    vga_out(g, 0x3c6, 0xff);
    vga_dac(g, 200, 0x3f0000); /* another colour */
    g_assert_cmphex(vga_pixel(g, 14, 10), ==, 0xff0000);
    vga_out(g, 0x3c7, 200);
    g_assert_cmphex(vga_in(g, 0x3c9), ==, 0x3f);
    g_assert_cmphex(vga_in(g, 0x3c7), ==, 3);
    vga_set_mode(g, &vga_x); /* the same picture, by planes */
    g_assert_cmphex(vga_pixel(g, 14, 10), ==, 0xff0000);
    vga_reg(g, 0x3c4, 2, 8);
    vga_poke(g, WINDOW + 80 * 5 + 2, 201); /* x = 11 */
    g_assert_cmphex(vga_pixel(g, 22, 10), ==, colour_256(201));
    vga_attr(g, 0x13, 2); /* one pixel */
    g_assert_cmphex(vga_pixel(g, 20, 10), ==, colour_256(201));
    vga_attr(g, 0x13, 0);
    vga_reg(g, 0x3d4, 0xc, 0x80); /* another page */
    g_assert_cmphex(vga_pixel(g, 22, 10), ==, colour_256(0));
    vga_reg(g, 0x3d4, 0xc, 0xff); /* and around the end of 64 KiB */
    vga_reg(g, 0x3d4, 0xd, 0xb0);
    g_assert_cmphex(vga_pixel(g, 22, 12), ==, colour_256(201));
    vga_reg(g, 0x3c4, 1, 0x21); /* the screen is off */
    g_assert_cmphex(vga_pixel(g, 22, 12), ==, 0);
    close_isa(&f);
}

static void test_registers(void)
{
    Fix f;
    open_isa(&f);
    VgaGuest *g = &f.g;
    vga_set_mode(g, &vga_text_80x25);
    vga_out(g, 0x3d4, 0);
    vga_out(g, 0x3d5, 0x11); /* protected */
    g_assert_cmphex(vga_in(g, 0x3d5), ==, 0x5f);
    vga_reg(g, 0x3d4, 7, 0xff); /* but for the line compare's bit */
    g_assert_cmphex(vga_in(g, 0x3d5), ==, 0x1f);
    g_assert_cmphex(vga_in(g, 0x3b5), ==, 0xff);
    vga_out(g, 0x3c2, 0x66); /* monochrome ports */
    g_assert_cmphex(vga_in(g, 0x3d4), ==, 0xff);
    g_assert_cmphex(vga_in(g, 0x3b4), ==, 7);
    g_assert_cmphex(vga_in(g, 0x3cc), ==, 0x66);
    vga_out(g, 0x3c2, 0x67);
    vga_in(g, 0x3da);
    vga_out(g, 0x3c0, 0x31);
    g_assert_cmphex(vga_in(g, 0x3c1), ==, 0);
    vga_out(g, 0x3c0, 0x2a); /* data; the index comes next */
    g_assert_cmphex(vga_in(g, 0x3c0), ==, 0x31);
    g_assert_cmphex(vga_in(g, 0x3c1), ==, 0x2a);
    bool high = false, low = false; /* who waits for the retrace sees it begin and end */
    for (unsigned i = 0; i < 100; i++) {
        tm_step(f.t->tm, 500000);
        unsigned v = vga_in(g, 0x3da) & 8;
        high |= v != 0;
        low |= v == 0;
    }
    g_assert_true(high && low);
    unsigned a = vga_in(g, 0x3da) & 1, b = vga_in(g, 0x3da) & 1;
    tm_step(f.t->tm, 3000000);
    a = vga_in(g, 0x3da) & 1, b = vga_in(g, 0x3da) & 1;
    g_assert_cmpuint(a, !=, b);
    close_isa(&f);
}

/* ---- Bochs' interface ---- */

static void dispi_mode(VgaGuest *g, unsigned w, unsigned h, unsigned bpp, unsigned flags)
{
    vga_dispi(g, 4, 0);
    vga_dispi(g, 1, w);
    vga_dispi(g, 2, h);
    vga_dispi(g, 3, bpp);
    vga_dispi(g, 4, 1 | flags);
    vga_out(g, 0x3c2, 0x67);
    vga_in(g, 0x3da);
    vga_out(g, 0x3c0, 0x20);
}

static void test_dispi(void)
{
    Fix f;
    open_isa(&f);
    VgaGuest *g = &f.g;
    g_assert_cmphex(vga_dispi_get(g, 0), ==, 0xb0c5);
    vga_dispi(g, 0, 0xb0c0);
    g_assert_cmphex(vga_dispi_get(g, 0), ==, 0xb0c0);
    vga_dispi(g, 0, 0x1234);
    g_assert_cmphex(vga_dispi_get(g, 0), ==, 0xb0c0);
    g_assert_cmpuint(vga_dispi_get(g, 10), ==, 128); /* 8 MiB */
    vga_dispi(g, 4, 2);
    g_assert_cmpuint(vga_dispi_get(g, 1), ==, 16000);
    g_assert_cmpuint(vga_dispi_get(g, 3), ==, 32);
    static const struct {
        unsigned bpp, bytes;
        uint32_t value, want;
    } depths[] = { { 8, 1, 200, 0 },
                   { 15, 2, 0x7c1f, 0xff00ff },
                   { 16, 2, 0xf81f, 0xff00ff },
                   { 24, 3, 0x123456, 0x123456 },
                   { 32, 4, 0x98123456, 0x123456 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(depths); i++) {
        unsigned bpp = depths[i].bpp, n = depths[i].bytes;
        tm_write(f.t->tm, LFB, 4, 0xffffffff);
        dispi_mode(g, 800, 600, bpp, 0x40);
        g_assert_cmphex(tm_read(f.t->tm, LFB, 4), ==, 0); /* cleared */
        expect_size(g, 800, 600);
        g_assert_cmpuint(vga_dispi_get(g, 6), ==, 800);
        uint32_t v = depths[i].value;
        uint32_t want = bpp == 8 ? colour_256(200) : depths[i].want;
        tm_copy_in(f.t->tm, LFB + (800 * 599 + 799) * n, &v, n);
        g_assert_cmphex(vga_pixel(g, 799, 599), ==, want);
        vga_poke(g, WINDOW, 0x55); /* banked */
        g_assert_cmphex(tm_read(f.t->tm, LFB, 1), ==, 0x55);
        vga_dispi(g, 5, 3);
        vga_poke(g, WINDOW + 2, 0x66);
        g_assert_cmphex(tm_read(f.t->tm, LFB + 0x30002, 1), ==, 0x66);
        vga_dispi(g, 6, 1000); /* a wider memory, and moved in it */
        vga_dispi(g, 8, 10 + i);
        vga_dispi(g, 9, 20);
        g_assert_cmpuint(vga_dispi_get(g, 6), ==, 1000);
        tm_copy_in(f.t->tm, LFB + (1000 * 25 + 10 + i + 3) * n, &v, n);
        g_assert_cmphex(vga_pixel(g, 3, 5), ==, want);
    }
    dispi_mode(g, 640, 480, 32, 0xc0); /* not cleared */
    g_assert_cmphex(tm_read(f.t->tm, LFB, 1), ==, 0x55);
    vga_dispi(g, 4, 0);
    vga_set_mode(g, &vga_12);
    dispi_mode(g, 640, 480, 4, 0x40);
    expect_size(g, 640, 480);
    vga_poke(g, WINDOW + 80, 0x80);
    g_assert_cmphex(vga_pixel(g, 0, 1), ==, grey(15));
    dispi_mode(g, 640, 480, 8, 0x60); /* a DAC of eight bits */
    vga_dac(g, 9, 0x8090a0);
    vga_poke(g, WINDOW, 9);
    g_assert_cmphex(vga_pixel(g, 0, 0), ==, 0x8090a0);
    vga_dispi(g, 4, 0);
    vga_set_mode(g, &vga_text_80x25);
    expect_size(g, 720, 400);
    close_isa(&f);
}

static void test_dispi_bounds(void)
{
    Fix f;
    open_isa(&f);
    VgaGuest *g = &f.g;
    int w, h;
    dispi_mode(g, 16000, 12000, 32, 0x40);
    vga_size(g, &w, &h);
    g_assert_cmpint((int64_t)w * h * 4, <=, 8 << 20);
    dispi_mode(g, 65535, 65535, 77, 0x40);
    vga_size(g, &w, &h);
    g_assert_cmpuint(vga_dispi_get(g, 3), ==, 8);
    g_assert_cmpint((int64_t)w * h, <=, 8 << 20);
    dispi_mode(g, 0, 0, 32, 0x40);
    vga_size(g, &w, &h);
    g_assert_cmpint(w, ==, 8);
    dispi_mode(g, 1024, 768, 32, 0x40);
    vga_dispi(g, 9, 65535);
    vga_dispi(g, 8, 65535);
    g_assert_cmpuint(vga_dispi_get(g, 9), ==, 2048 - 768);
    g_assert_cmpuint(vga_dispi_get(g, 8), ==, 0);
    vga_hash(g);
    vga_dispi(g, 5, 65535);
    vga_poke(g, WINDOW + 5, 1);
    vga_dispi(g, 15, 1);
    vga_dispi(g, 65535, 1);
    g_assert_cmpuint(vga_dispi_get(g, 65535), ==, 0);
    close_isa(&f);
}

/* ---- PCI ---- */

typedef struct PciFix {
    PcTest *t;
    Device *dev;
    VgaGuest g;
} PciFix;

static void open_pci(PciFix *f, const char *type, const char *prop, const char *value)
{
    role_become_main();
    f->t = pctest_new(16 << 20, NULL);
    f->dev = device_create(f->t->m, device_type_find(type), f->t->m->peripheral, "card", f->t->pci->bus,
                           &error_abort_slot, prop, value, NULL);
    device_reset(f->t->m->root, RESET_COLD);
    unsigned devfn = pci_func(f->dev)->devfn;
    pctest_config_write(f->t, devfn, 0x10, BAR0, 4);
    pctest_config_write(f->t, devfn, 0x18, BAR2, 4);
    pctest_config_write(f->t, devfn, 4, 3, 2);
    f->g = (VgaGuest){ f->t->m, console_by_device(f->t->m, "card", 0, &error_abort_slot) };
}

static void test_pci(void)
{
    PciFix f;
    open_pci(&f, "VGA", "xres", "1024");
    unsigned devfn = pci_func(f.dev)->devfn;
    g_assert_cmphex(pctest_config_read(f.t, devfn, 0, 4), ==, 0x11111234);
    g_assert_cmphex(pctest_config_read(f.t, devfn, 0xa, 2), ==, 0x0300);
    /* EDID */
    unsigned sum = 0;
    for (unsigned i = 0; i < 128; i++) {
        sum += pctest_read(f.t, BAR2 + i, 1);
    }
    g_assert_cmpuint(sum & 255, ==, 0);
    g_assert_cmphex(pctest_read(f.t, BAR2, 4), ==, 0xffffff00);
    g_assert_cmpuint(pctest_read(f.t, BAR2 + 56, 1) | (pctest_read(f.t, BAR2 + 58, 1) & 0xf0) << 4, ==, 1024);
    /* VGA registers, dispi */
    pctest_write(f.t, BAR2 + 0x4c2 - 0xc0, 0x67, 1);
    g_assert_cmphex(pctest_read(f.t, BAR2 + 0x40c, 1), ==, 0x67);
    g_assert_cmphex(pctest_read(f.t, BAR2 + 0x500, 2), ==, 0xb0c5);
    pctest_write(f.t, BAR2 + 0x502, 640, 2);
    pctest_write(f.t, BAR2 + 0x504, 480, 2);
    pctest_write(f.t, BAR2 + 0x506, 32, 2);
    pctest_write(f.t, BAR2 + 0x508, 0x41, 2);
    pctest_write(f.t, BAR2 + 0x400, 0x20, 1);
    pctest_write(f.t, BAR0 + 4 * (640 * 3 + 5), 0x11223344, 4);
    g_assert_cmphex(vga_pixel(&f.g, 5, 3), ==, 0x223344);
    g_assert_cmphex(pctest_read(f.t, BAR2 + 0x600, 4), ==, 8);
    g_assert_cmphex(pctest_read(f.t, BAR2 + 0x604, 4), ==, 0x1e1e1e1e);
    pctest_write(f.t, BAR2 + 0x604, 0xbebebebe, 4);
    g_assert_cmphex(vga_pixel(&f.g, 5, 3), ==, 0x332211);
    pctest_write(f.t, BAR2 + 0x506, 16, 2); /* big-endian, drawn */
    pctest_write(f.t, BAR0, 0x1ff8, 2);
    g_assert_cmphex(vga_pixel(&f.g, 0, 0), ==, 0xff00ff & 0xffffff);
    pctest_write(f.t, BAR2 + 0x604, 0x1e1e1e1e, 4);
    pctest_free(f.t);
}

/* Further cards: the same registers in memory, and nobody at the ports. */
static void further_card(const char *type)
{
    PciFix f;
    open_pci(&f, type, "yres", "600");
    g_assert_cmphex(pctest_config_read(f.t, pci_func(f.dev)->devfn, 0xa, 2), ==, 0x0380);
    g_assert_cmphex(pctest_in(f.t, 0x3cc, 1), ==, 0xff);
    g_assert_cmphex(pctest_read(f.t, WINDOW, 4), ==, UINT32_MAX);
    pctest_write(f.t, BAR2 + 0x502, 800, 2);
    pctest_write(f.t, BAR2 + 0x504, 600, 2);
    pctest_write(f.t, BAR2 + 0x506, 32, 2);
    pctest_write(f.t, BAR2 + 0x508, 0x41, 2);
    pctest_write(f.t, BAR2 + 0x400, 0x20, 1);
    pctest_write(f.t, BAR0 + 4 * (800 * 599 + 799), 0x11223344, 4);
    g_assert_cmphex(vga_pixel(&f.g, 799, 599), ==, 0x223344);
    pctest_write(f.t, BAR2 + 0x508, 0, 2);
    g_assert_cmphex(vga_pixel(&f.g, 799, 599), ==, 0);
    pctest_free(f.t);
}

static void test_secondary(void)
{
    further_card("secondary-vga");
}

static void test_bochs_display(void)
{
    further_card("bochs-display");
}

typedef struct Watcher {
    ConsoleListener l;
    int y1, y2;
} Watcher;

static void watcher_surface(ConsoleListener *l G_GNUC_UNUSED, Surface *s G_GNUC_UNUSED) {}

static void watcher_damage(ConsoleListener *l, int x G_GNUC_UNUSED, int y, int w G_GNUC_UNUSED, int h)
{
    Watcher *v = (Watcher *)l;
    v->y1 = MIN(v->y1, y);
    v->y2 = MAX(v->y2, y + h);
}

static void expect_damage(VgaGuest *g, Watcher *v, int y1, int y2)
{
    v->y1 = INT_MAX;
    v->y2 = INT_MIN;
    console_refresh(g->console);
    g_assert_cmpint(v->y1, ==, y1);
    g_assert_cmpint(v->y2, ==, y2);
}

static void test_damage(void)
{
    static const ConsoleListenerOps ops = { .surface = watcher_surface, .damage = watcher_damage };
    Fix f;
    open_text(&f);
    VgaGuest *g = &f.g;
    Watcher v = { .l = { .ops = &ops } };
    console_add_listener(g->console, &v.l);
    console_refresh(g->console);
    expect_damage(g, &v, INT_MAX, INT_MIN); /* nothing is new */
    put_cell(g, 0, 3, 'A', 7);
    expect_damage(g, &v, 48, 64);
    put_cell(g, 0, 3, 'A', 7); /* the same once more */
    expect_damage(g, &v, INT_MAX, INT_MIN);
    dispi_mode(g, 1024, 768, 32, 0x40);
    expect_damage(g, &v, 0, 768);
    expect_damage(g, &v, INT_MAX, INT_MIN);
    tm_write(f.t->tm, LFB + 4096 * 100 + 8, 4, 1); /* one line a page */
    tm_write(f.t->tm, LFB + 4096 * 103, 1, 1);
    expect_damage(g, &v, 100, 104);
    dispi_mode(g, 1024, 768, 8, 0x40);
    expect_damage(g, &v, 0, 768);
    tm_write(f.t->tm, LFB + 4096 * 10, 1, 1);
    expect_damage(g, &v, 40, 44);
    vga_dac(g, 77, 0x111111);
    expect_damage(g, &v, 0, 768);
    vga_dac(g, 77, 0x111111);
    expect_damage(g, &v, INT_MAX, INT_MIN);
    console_remove_listener(&v.l);
    close_isa(&f);
}

static void test_state(void)
{
    Fix f, copy;
    open_text(&f);
    put_cell(&f.g, 4, 4, 'A', 0x1f);
    uint32_t hash = vga_hash(&f.g);
    g_autoptr(GByteArray) state = tm_save(f.t->tm);
    open_isa(&copy);
    vga_set_mode(&copy.g, &vga_13);
    vga_hash(&copy.g);
    g_assert_true(tm_load(copy.t->tm, state, &error_abort_slot));
    g_assert_cmphex(vga_hash(&copy.g), ==, hash);
    close_isa(&copy);
    close_isa(&f);
}

static void test_sizes(void)
{
    IsaTest *t = isatest_new();
    g_assert_true(isatest_refuses(t, &vga_isa_type, "vgamem_mb", "3", "vgamem_mb=3"));
    g_assert_true(isatest_refuses(t, &vga_isa_type, "vgamem_mb", "0", "vgamem_mb"));
    isatest_free(t);
}

static void test_edid(void)
{
    static const EdidInfo infos[] = { { .on = true },
                                      { .on = true, .xres = 4095, .yres = 4095, .refresh_rate = 1000000 },
                                      { .on = true, .xres = 1, .yres = 1, .xmax = 640, .ymax = 480 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(infos); i++) {
        uint8_t e[EDID_SIZE];
        edid_make(&infos[i], e);
        for (unsigned b = 0; b < EDID_SIZE; b += EDID_BLOCK) {
            unsigned sum = 0;
            for (unsigned k = 0; k < EDID_BLOCK; k++) {
                sum += e[b + k];
            }
            g_assert_cmpuint(sum & 255, ==, 0);
        }
        g_assert_cmpuint(e[54] | e[55] << 8, !=, 0);
        g_assert_cmphex(e[35], ==, i == 2 ? 0x20 : 0x21);
    }
}

/* ---- hostile ---- */

static uint32_t pick(GRand *r)
{
    static const uint32_t odd[] = { 0, 1, 0xff, 0x7f, 0x80, 0xffff, 0x8000, 640, 1024, 32, 4, 0x41, 0x61 };
    return g_rand_boolean(r) ? odd[g_rand_int_range(r, 0, G_N_ELEMENTS(odd))] : g_rand_int(r);
}

static void storm(Machine *m, VgaGuest *g, hwaddr lfb, unsigned cases)
{
    GRand *r = g_rand_new_with_seed(0x5eed);
    static const uint16_t ports[] = { 0x3c0, 0x3c2, 0x3c4, 0x3c4, 0x3ce, 0x3ce, 0x3d4,
                                      0x3d4, 0x3da, 0x3c7, 0x3c9, 0x1ce, 0x1cf, 0x3b4 };
    static const MemAttrs cpu = { .cpu = true };
    for (unsigned i = 0; i < cases; i++) {
        uint64_t v = pick(r);
        unsigned size = 1u << g_rand_int_range(r, 0, 3);
        switch (g_rand_int_range(r, 0, 6)) {
        case 0: as_store(&m->as_mem, WINDOW + g_rand_int_range(r, 0, 0x20000 - 8), size, v, cpu); break;
        case 1: as_load(&m->as_mem, WINDOW + g_rand_int_range(r, 0, 0x20000 - 8), size, &v, cpu); break;
        case 2: as_store(&m->as_mem, lfb + (g_rand_int(r) & 0x7fffff), size, v, cpu); break;
        case 3: vga_dispi(g, g_rand_int_range(r, 0, 12), (uint16_t)v); break;
        case 4: as_load(&m->as_io, 0x3b0 + g_rand_int_range(r, 0, 0x30), 1, &v, cpu); break;
        default:
            as_store(&m->as_io, ports[g_rand_int_range(r, 0, G_N_ELEMENTS(ports))], MIN(size, 2),
                     g_rand_int_range(r, 0, 0x20) | v << 8, cpu);
        }
        if (i % 50 == 49) {
            ConsoleText text;
            vga_out(g, 0x3c0, 0x20);
            console_refresh(g->console);
            if (console_text(g->console, &text)) {
                g_free(text.cells);
            }
        }
    }
    g_rand_free(r);
}

static unsigned cases(void)
{
    const char *s = g_getenv("RHEA_VGA_CASES");
    return s ? (unsigned)atoi(s) : 20000;
}

static void test_storm(void)
{
    Fix f;
    open_isa(&f);
    storm(f.t->tm->m, &f.g, LFB, cases());
    /* Then it does what it is told. */
    vga_dispi(&f.g, 4, 0);
    vga_out(&f.g, 0x3c6, 0xff);
    vga_set_mode(&f.g, &vga_text_80x25);
    expect_size(&f.g, 720, 400);
    close_isa(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vga/memory/write-modes", test_write_modes);
    g_test_add_func("/vga/memory/read-modes", test_read_modes);
    g_test_add_func("/vga/memory/places", test_places);
    g_test_add_func("/vga/text", test_text);
    g_test_add_func("/vga/text-details", test_text_details);
    g_test_add_func("/vga/cursor", test_cursor);
    g_test_add_func("/vga/planar", test_planar);
    g_test_add_func("/vga/cga", test_cga);
    g_test_add_func("/vga/256", test_256);
    g_test_add_func("/vga/registers", test_registers);
    g_test_add_func("/vga/dispi", test_dispi);
    g_test_add_func("/vga/dispi-bounds", test_dispi_bounds);
    g_test_add_func("/vga/pci", test_pci);
    g_test_add_func("/vga/secondary", test_secondary);
    g_test_add_func("/vga/bochs-display", test_bochs_display);
    g_test_add_func("/vga/damage", test_damage);
    g_test_add_func("/vga/state", test_state);
    g_test_add_func("/vga/sizes", test_sizes);
    g_test_add_func("/vga/edid", test_edid);
    g_test_add_func("/vga/storm", test_storm);
    return g_test_run();
}
