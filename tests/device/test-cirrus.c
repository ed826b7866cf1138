/* SPDX-License-Identifier: MIT
 * tests/device/test-cirrus.c - Cirrus cards (hw/display/cirrus.c, cirrus-blt.c, cirrus-card.c, cirrus-draw.c,
 * cirrus-mem.c): registers, each way to memory, each depth, the cursor, pixel by pixel; the BLT engine
 * against a slow model (cirrusmodel.c), all raster operations, also around the memory's end; saved states in
 * the middle of an operation; hostile registers. RHEA_VGA_CASES=N: operations compared with the model (100
 * unless told), and a hundred times as many random accesses. Threads: main.
 */
#include "tests/device/cirrusmodel.h"
#include "tests/device/isatest.h"
#include "tests/device/pctest.h"
#include "tests/device/vgaguest.h"

#include <stdlib.h>

extern const DeviceType cirrus_isa_type;
enum {
    WINDOW = 0xa0000,
    REGISTERS = 0xb8000,
    BAR0 = 0xc0000000,
    BAR1 = 0xc8000000,
    DATA = BAR0 + (16 << 20)
};
enum {
    MEMORY = 4 << 20,
    SEQ = 0x3c4,
    GFX = 0x3ce,
    CRTC = 0x3d4,
    BUSY = 1,
    START = 2,
    RESET = 4,
    AUTOSTART = 0x80
};

typedef struct Fix {
    PcTest *t;
    VgaGuest g;
    unsigned devfn;
    uint8_t *was, *now; /* memory */
    GRand *r;
} Fix;

static void open_card(Fix *f, const char *prop, const char *value)
{
    role_become_main();
    f->t = pctest_new(16 << 20, NULL);
    Device *dev = device_create(f->t->m, device_type_find("cirrus-vga"), f->t->m->peripheral, "card",
                                f->t->pci->bus, &error_abort_slot, prop, value, NULL);
    device_reset(f->t->m->root, RESET_COLD);
    f->devfn = pci_func(dev)->devfn;
    f->was = g_malloc(MEMORY);
    f->now = g_malloc(MEMORY);
    f->r = g_rand_new_with_seed(0xb17);
    vga_guest_open(&f->g, f->t->m);
    pctest_config_write(f->t, f->devfn, 0x10, BAR0, 4);
    pctest_config_write(f->t, f->devfn, 0x14, BAR1, 4);
    pctest_config_write(f->t, f->devfn, 4, 3, 2);
    vga_out(&f->g, 0x3c2, 0x63);
}

static void close_card(Fix *f)
{
    pctest_free(f->t);
    g_free(f->was);
    g_free(f->now);
    g_rand_free(f->r);
}

static uint8_t get(VgaGuest *g, unsigned port, unsigned index)
{
    vga_out(g, port, index);
    return vga_in(g, port + 1);
}

static void hidden_dac(VgaGuest *g, uint8_t val)
{
    vga_in(g, 0x3c8);
    for (unsigned i = 0; i < 4; i++) {
        vga_in(g, 0x3c6);
    }
    vga_out(g, 0x3c6, val);
}

/* 640 x 480 of mode SR7, and its pitch in bytes. */
static void set_depth(VgaGuest *g, uint8_t sr7, uint8_t hdr, unsigned pitch)
{
    vga_set_mode(g, &vga_12);
    vga_reg(g, SEQ, 4, 0x0e);
    vga_reg(g, GFX, 5, 0x40);
    vga_reg(g, SEQ, 7, sr7);
    vga_reg(g, CRTC, 0x11, 0);
    vga_reg(g, CRTC, 0x13, pitch / 8);
    vga_reg(g, CRTC, 0x1b, 0x22 | (pitch / 8 > 255 ? 0x10 : 0));
    hidden_dac(g, hdr);
    for (unsigned i = 0; i < 256; i++) {
        vga_dac(g, i, (i & 63) << 16 | (i >> 2) << 8 | (i >> 3));
    }
}

static uint32_t colour_8(unsigned i)
{
    uint32_t six = (i & 63) << 16 | (i >> 2) << 8 | (i >> 3), out = 0;
    for (int shift = 16; shift >= 0; shift -= 8) {
        unsigned c = six >> shift & 63;
        out = out << 8 | ((c << 2 | c >> 4) & 255);
    }
    return out;
}

/* ---- registers ---- */

static void test_registers(Fix *f, VgaGuest *g)
{
    g_assert_cmphex(pctest_config_read(f->t, f->devfn, 0, 4), ==, 0x00b81013);
    g_assert_cmphex(pctest_config_read(f->t, f->devfn, 8, 4), ==, 0x03000000);
    pctest_config_write(f->t, f->devfn, 0x10, UINT32_MAX, 4);
    pctest_config_write(f->t, f->devfn, 0x14, UINT32_MAX, 4);
    g_assert_cmphex(pctest_config_read(f->t, f->devfn, 0x10, 4), ==, 0xfe000008);
    g_assert_cmphex(pctest_config_read(f->t, f->devfn, 0x14, 4), ==, 0xfffff000);
    g_assert_cmphex(get(g, CRTC, 0x27), ==, 0xb8);
    g_assert_cmphex(get(g, SEQ, 0x0f), ==, 0x98);
    g_assert_cmphex(get(g, SEQ, 6), ==, 0x0f); /* the key */
    vga_reg(g, SEQ, 6, 0x92);
    g_assert_cmphex(get(g, SEQ, 6), ==, 0x12);
    vga_reg(g, SEQ, 6, 0x13);
    g_assert_cmphex(get(g, SEQ, 6), ==, 0x0f);
    vga_reg(g, SEQ, 0x17, 0xff); /* which bus it is on stays */
    g_assert_cmphex(get(g, SEQ, 0x17), ==, 0xe7);
    vga_reg(g, SEQ, 0x17, 0);
    vga_reg(g, CRTC, 0x27, 1);
    g_assert_cmphex(get(g, CRTC, 0x27), ==, 0xb8);
    vga_reg(g, GFX, 0, 0xa5); /* eight bits only where the extended write modes are */
    g_assert_cmphex(get(g, GFX, 0), ==, 0x05);
    vga_reg(g, GFX, 0x0b, 4);
    g_assert_cmphex(get(g, GFX, 0), ==, 0xa5);
    vga_reg(g, GFX, 5, 0x45);
    g_assert_cmphex(get(g, GFX, 5), ==, 0x45);
    vga_reg(g, GFX, 0x23, 0xff);
    g_assert_cmphex(get(g, GFX, 0x23), ==, 0x07);
    vga_in(g, 0x3da);
    vga_out(g, 0x3c0, 0x2a); /* the attribute controller's index and what it takes next */
    g_assert_cmphex(get(g, CRTC, 0x26), ==, 0x2a);
    g_assert_cmphex(get(g, CRTC, 0x24), ==, 0x80);
    vga_in(g, 0x3da);
    g_assert_cmphex(get(g, CRTC, 0x24), ==, 0);
    g_assert_cmphex(get(g, SEQ, 2), ==, 0);
    g_assert_cmphex(pctest_in(f->t, 0x1ce, 2), ==, 0xffff); /* no Bochs' interface */
}

static void test_dac(Fix *f G_GNUC_UNUSED, VgaGuest *g)
{
    vga_out(g, 0x3c6, 0x5a);
    hidden_dac(g, 0xc5);
    g_assert_cmphex(vga_in(g, 0x3c6), ==, 0x5a);
    for (unsigned i = 0; i < 3; i++) {
        vga_in(g, 0x3c6);
    }
    g_assert_cmphex(vga_in(g, 0x3c6), ==, 0xc5);
    g_assert_cmphex(vga_in(g, 0x3c6), ==, 0x5a);
    vga_in(g, 0x3c6);
    vga_in(g, 0x3c8); /* somebody else's port: from the beginning */
    for (unsigned i = 0; i < 4; i++) {
        g_assert_cmphex(vga_in(g, 0x3c6), ==, 0x5a);
    }
    g_assert_cmphex(vga_in(g, 0x3c6), ==, 0xc5);
    vga_dac(g, 3, 0x111213); /* the cursor's colours are beside the others */
    vga_reg(g, SEQ, 0x12, 2);
    vga_dac(g, 3, 0x212223);
    vga_out(g, 0x3c7, 3);
    g_assert_cmphex(vga_in(g, 0x3c9), ==, 0x21);
    vga_reg(g, SEQ, 0x12, 0);
    vga_out(g, 0x3c7, 3);
    g_assert_cmphex(vga_in(g, 0x3c9), ==, 0x11);
}

/* ---- memory ---- */

static void test_banks(Fix *f, VgaGuest *g)
{
    static const struct {
        uint8_t mode, bank0, bank1;
        uint32_t first, second; /* where the window's halves are */
    } cases[] = { { 0, 0x10, 0x33, 0x10000, 0x18000 },
                  { 1, 0x10, 0x33, 0x10000, 0x33000 },
                  { 0x20, 0x11, 0, 0x44000, 0x4c000 },
                  { 0x21, 0xfe, 0x05, 0x3f8000, 0x14000 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        vga_reg(g, GFX, 0x0b, cases[i].mode);
        vga_reg(g, GFX, 0x09, cases[i].bank0);
        vga_reg(g, GFX, 0x0a, cases[i].bank1);
        vga_poke(g, WINDOW + 0x123, 0x40 + i);
        vga_poke(g, WINDOW + 0x8123, 0x50 + i);
        g_assert_cmphex(pctest_read(f->t, BAR0 + cases[i].first + 0x123, 1), ==, 0x40 + i);
        g_assert_cmphex(pctest_read(f->t, BAR0 + cases[i].second + 0x123, 1), ==, 0x50 + i);
        g_assert_cmphex(vga_peek(g, WINDOW + 0x8123), ==, 0x50 + i);
    }
    vga_reg(g, GFX, 0x0b, 0);
    vga_reg(g, GFX, 0x09, 0xff); /* beyond the end: from its beginning */
    pctest_write(f->t, BAR0 + 0x1000, 0x77, 1);
    vga_reg(g, GFX, 0x0b, 0x20);
    vga_reg(g, GFX, 0x09, 0xff);
    vga_poke(g, WINDOW + 0x4000 + 0x1000, 0x78);
    g_assert_cmphex(pctest_read(f->t, BAR0 + 0x1000, 1), ==, 0x78);
}

static void test_write_modes(Fix *f, VgaGuest *g)
{
    vga_reg(g, GFX, 0x0b, 6); /* extended, and eight bytes for an address */
    vga_reg(g, SEQ, 2, 0xff);
    vga_reg(g, GFX, 1, 0xab);
    vga_reg(g, GFX, 0, 0xcd);
    vga_reg(g, GFX, 5, 0x44);
    vga_poke(g, WINDOW + 3, 0x81); /* mode 4: where there is a bit */
    vga_reg(g, GFX, 5, 0x45);
    vga_poke(g, WINDOW + 4, 0x81); /* mode 5: both */
    vga_reg(g, SEQ, 2, 0x0f);
    vga_poke(g, WINDOW + 5, 0xff); /* only four of the pixels */
    vga_reg(g, GFX, 0x0b, 0);
    g_assert_cmphex(pctest_read(f->t, BAR0 + 24, 8), ==, 0xab000000000000ab);
    g_assert_cmphex(pctest_read(f->t, BAR0 + 32, 8), ==, 0xabcdcdcdcdcdcdab);
    g_assert_cmphex(pctest_read(f->t, BAR0 + 40, 8), ==, 0xabababab00000000);
    vga_reg(g, GFX, 0x0b, 0x14); /* pixels of two bytes, also in the frame buffer */
    vga_reg(g, SEQ, 2, 0xff);
    vga_reg(g, GFX, 0x10, 0x34);
    vga_reg(g, GFX, 0x11, 0x12);
    pctest_write(f->t, BAR0 + 16, 0x40, 1);
    vga_reg(g, GFX, 0x0b, 0);
    g_assert_cmphex(pctest_read(f->t, BAR0 + 256, 8), ==, 0x34cd34cd12ab34cd);
}

static void test_apertures(Fix *f, VgaGuest *g)
{
    pctest_write(f->t, BAR0 + 0x100, 0x44332211, 4);
    g_assert_cmphex(pctest_read(f->t, BAR0 + MEMORY + 0x100, 4), ==, 0x33441122);
    g_assert_cmphex(pctest_read(f->t, BAR0 + 2 * MEMORY + 0x100, 4), ==, 0x11223344);
    g_assert_cmphex(pctest_read(f->t, BAR0 + 3 * MEMORY + 0x100, 4), ==, UINT32_MAX);
    pctest_write(f->t, BAR0 + 2 * MEMORY + 0x104, 0x55667788, 4);
    g_assert_cmphex(pctest_read(f->t, BAR0 + 0x104, 4), ==, 0x88776655);
    vga_reg(g, SEQ, 0x17, 4); /* BLT registers at B8000h */
    pctest_write(f->t, REGISTERS + 0x08, 0x00030007, 4);
    g_assert_cmphex(get(g, GFX, 0x20), ==, 7);
    g_assert_cmphex(get(g, GFX, 0x22), ==, 3);
    g_assert_cmphex(pctest_read(f->t, REGISTERS + 0x08, 4), ==, 0x00030007);
    vga_reg(g, SEQ, 0x17, 0x44); /* at the frame buffer's end */
    g_assert_cmphex(pctest_read(f->t, BAR0 + MEMORY - 0x100 + 8, 4), ==, 0x00030007);
    pctest_write(f->t, BAR0 + MEMORY - 0x100 + 0x1a, 0x59, 1);
    g_assert_cmphex(get(g, GFX, 0x32), ==, 0x59);
    g_assert_cmphex(pctest_read(f->t, REGISTERS + 8, 4), ==, UINT32_MAX);
    vga_reg(g, SEQ, 0x17, 0);
    g_assert_cmphex(pctest_read(f->t, BAR0 + MEMORY - 0x100 + 8, 4), ==, 0);
    g_assert_cmphex(pctest_read(f->t, BAR1 + 0x100 + 0x1a, 1), ==, 0x59); /* always behind BAR 1 */
    pctest_write(f->t, BAR1 + 4, 0x0006, 1);                              /* and the VGA's, from 3C0h on */
    pctest_write(f->t, BAR1 + 5, 0x12, 1);
    g_assert_cmphex(get(g, SEQ, 6), ==, 0x12);
    g_assert_cmphex(pctest_read(f->t, BAR1 + 0x40, 1), ==, 0xff);
}

/* ---- pictures ---- */

static void test_depths(Fix *f, VgaGuest *g)
{
    static const struct {
        uint8_t sr7, hdr;
        unsigned bytes;
        uint32_t value, want;
    } cases[] = { { 0x11, 0, 1, 200, 0 },
                  { 0x17, 0xc0, 2, 0x7c1f, 0xff00ff },
                  { 0x17, 0xc1, 2, 0xf81f, 0xff00ff },
                  { 0x15, 0xc5, 3, 0x123456, 0x123456 },
                  { 0x19, 0xc5, 4, 0x98123456, 0x123456 } };
    int w, h;
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        unsigned n = cases[i].bytes, pitch = 640 * n;
        uint32_t want = n == 1 ? colour_8(200) : cases[i].want, black = n == 1 ? colour_8(0) : 0;
        set_depth(g, cases[i].sr7, cases[i].hdr, pitch);
        vga_size(g, &w, &h);
        g_assert_cmpint(w, ==, 640);
        g_assert_cmpint(h, ==, 480);
        for (unsigned k = 0; k < n; k++) {
            pctest_write(f->t, BAR0 + pitch * 479 + 639 * n + k, cases[i].value >> (8 * k) & 255, 1);
        }
        g_assert_cmphex(vga_pixel(g, 639, 479), ==, want);
        g_assert_cmphex(vga_pixel(g, 638, 479), ==, black);
        vga_reg(g, CRTC, 0x0c, pitch * 100 / 4 >> 8); /* a hundred lines further up */
        vga_reg(g, CRTC, 0x0d, pitch * 100 / 4 & 255);
        g_assert_cmphex(vga_pixel(g, 639, 379), ==, want);
        vga_reg(g, CRTC, 0x18, 199); /* and from the beginning again below line 199 */
        vga_reg(g, CRTC, 7, 0x2e);
        vga_reg(g, CRTC, 9, 0);
        g_assert_cmphex(vga_pixel(g, 639, 379), ==, black);
        vga_reg(g, CRTC, 9, 0x40);
        for (unsigned k = 0; k < n; k++) {
            pctest_write(f->t, BAR0 + pitch * 479 + 639 * n + k, 0, 1);
        }
    }
    set_depth(g, 0x11, 0, 640); /* the address's upper bits: 80000h double words */
    vga_reg(g, CRTC, 0x1d, 0x80);
    pctest_write(f->t, BAR0 + 0x200000 + 5, 100, 1);
    g_assert_cmphex(vga_pixel(g, 5, 0), ==, colour_8(100));
    vga_reg(g, CRTC, 0x1d, 0);
    vga_reg(g, CRTC, 0x1b, 0x2f);
    pctest_write(f->t, BAR0 + 0x1c0000 + 5, 101, 1);
    g_assert_cmphex(vga_pixel(g, 5, 0), ==, colour_8(101));
}

static void place_cursor(VgaGuest *g, unsigned x, unsigned y)
{
    vga_out(g, SEQ, 0x10 | (x & 7) << 5);
    vga_out(g, SEQ + 1, x >> 3);
    vga_out(g, SEQ, 0x11 | (y & 7) << 5);
    vga_out(g, SEQ + 1, y >> 3);
}

/* A line of four pixels: what is below, inverted, the background's colour, the foreground's. */
static void expect_cursor(VgaGuest *g, int x, int y, uint32_t below)
{
    g_assert_cmphex(vga_pixel(g, x, y), ==, below);
    g_assert_cmphex(vga_pixel(g, x + 1, y), ==, below ^ 0xffffff);
    g_assert_cmphex(vga_pixel(g, x + 2, y), ==, 0xff0000);
    g_assert_cmphex(vga_pixel(g, x + 3, y), ==, 0x00ff00);
}

static void test_cursor(Fix *f, VgaGuest *g)
{
    set_depth(g, 0x19, 0xc5, 2560);
    vga_reg(g, SEQ, 0x12, 2);
    vga_dac(g, 0, 0x3f0000);
    vga_dac(g, 15, 0x003f00);
    hwaddr pattern = BAR0 + MEMORY - 16384;
    pctest_write(f->t, pattern + 3 * 256 + 4 * 7, 0x50, 1); /* small: planes behind each other */
    pctest_write(f->t, pattern + 3 * 256 + 128 + 4 * 7, 0x30, 1);
    pctest_write(f->t, pattern + 8 * 256 + 16 * 40, 0x50, 1); /* big: each line's */
    pctest_write(f->t, pattern + 8 * 256 + 16 * 40 + 8, 0x30, 1);
    pctest_write(f->t, BAR0 + 2560 * 57 + 4 * 101, 0x010203, 4);
    place_cursor(g, 101, 50);
    vga_reg(g, SEQ, 0x13, 3);
    vga_reg(g, SEQ, 0x12, 1);
    g_assert_cmphex(vga_pixel(g, 101, 57), ==, 0x010203);
    g_assert_cmphex(vga_pixel(g, 102, 57), ==, 0xffffff);
    place_cursor(g, 200, 60);
    expect_cursor(g, 200, 67, 0);
    g_assert_cmphex(vga_pixel(g, 103, 57), ==, 0); /* it is away from there */
    vga_reg(g, SEQ, 0x13, 0x0b);                   /* a big one's number is a multiple of four */
    vga_reg(g, SEQ, 0x12, 5);
    expect_cursor(g, 200, 100, 0);
    pctest_write(f->t, BAR0 + 2560 * 100 + 4 * 201, 0x0000ff, 4); /* drawn below it */
    g_assert_cmphex(vga_pixel(g, 201, 100), ==, 0xffff00);
    pctest_write(f->t, pattern + 8 * 256 + 16 * 40, 0, 1); /* another shape */
    g_assert_cmphex(vga_pixel(g, 201, 100), ==, 0x0000ff);
    g_assert_cmphex(vga_pixel(g, 203, 100), ==, 0xff0000);
    place_cursor(g, 638, 470); /* cut off */
    g_assert_cmphex(vga_pixel(g, 639, 479), ==, 0);
    vga_reg(g, SEQ, 0x12, 0);
    g_assert_cmphex(vga_pixel(g, 201, 100), ==, 0x0000ff);
}

/* ---- the BLT engine ---- */

static void set_field(VgaGuest *g, unsigned index, uint32_t val, unsigned bytes)
{
    for (unsigned k = 0; k < bytes; k++) {
        vga_reg(g, GFX, index + k, val >> (8 * k) & 255);
    }
}

static void set_op(VgaGuest *g, const CirrusOp *op)
{
    static const uint8_t colours[2][4] = { { 0, 0x10, 0x12, 0x14 }, { 1, 0x11, 0x13, 0x15 } };
    for (unsigned k = 0; k < 4; k++) {
        vga_reg(g, GFX, colours[0][k], op->bg >> (8 * k) & 255);
        vga_reg(g, GFX, colours[1][k], op->fg >> (8 * k) & 255);
    }
    set_field(g, 0x20, op->width - 1, 2);
    set_field(g, 0x22, op->height - 1, 2);
    set_field(g, 0x24, op->dst_pitch, 2);
    set_field(g, 0x26, op->src_pitch, 2);
    set_field(g, 0x28, op->dst, 3);
    set_field(g, 0x2c, op->src, 3);
    vga_reg(g, GFX, 0x2f, op->skip);
    vga_reg(g, GFX, 0x30, op->mode);
    vga_reg(g, GFX, 0x32, op->rop);
    vga_reg(g, GFX, 0x33, op->extensions);
    set_field(g, 0x34, op->key, 2);
}

static void get_memory(Fix *f, uint8_t *out)
{
    static const MemAttrs cpu = { .cpu = true };
    as_access(&f->t->m->as_mem, BAR0, out, MEMORY, false, cpu);
}

/* Runs it on the card and on the copy of what memory was, which must then be the same; fill_memory() comes
 * first. */
static void compare(Fix *f, const CirrusOp *op, const char *what)
{
    static const hwaddr ways[] = { WINDOW + 0x100, BAR0 + 0x1234, DATA + 0x40 };
    VgaGuest *g = &f->g;
    uint32_t n = cirrus_op_bytes(op);
    g_autofree uint8_t *cpu = g_malloc(n + 8);
    for (uint32_t i = 0; i < n; i++) {
        cpu[i] = (uint8_t)g_rand_int(f->r);
    }
    set_op(g, op);
    vga_reg(g, GFX, 0x31, START);
    hwaddr to = ways[g_rand_int_range(f->r, 0, G_N_ELEMENTS(ways))];
    for (uint32_t at = 0; at < n;) {
        unsigned size = MIN(1u << g_rand_int_range(f->r, 0, 4), n - at);
        size = size & (size - 1) ? 1 : size;
        uint64_t v = 0;
        memcpy(&v, cpu + at, size);
        g_assert_cmphex(get(g, GFX, 0x31) & 3, ==, BUSY | START);
        pctest_write(f->t, to, v, size);
        at += size;
    }
    g_assert_cmphex(get(g, GFX, 0x31), ==, 0);
    cirrus_model(f->was, MEMORY, op, n ? cpu : NULL);
    get_memory(f, f->now);
    for (uint32_t i = 0; memcmp(f->was, f->now, MEMORY) != 0; i++) {
        if (f->was[i] != f->now[i]) {
            g_error(
                "%s: mode %02x extensions %02x rop %02x skip %u, %u x %u from %06x (%u) to %06x (%u), key "
                "%04x: byte %06x is %02x, not %02x",
                what, op->mode, op->extensions, op->rop, op->skip, op->width, op->height, op->src,
                op->src_pitch, op->dst, op->dst_pitch, op->key, i, f->now[i], f->was[i]);
        }
    }
}

static void fill_memory(Fix *f)
{
    static const MemAttrs cpu = { .cpu = true };
    for (uint32_t i = 0; i < MEMORY; i++) { /* bytes that come again and again, so that keys match */
        uint32_t v = g_rand_int(f->r);
        f->was[i] = v & 0x300 ? (v & 0x400 ? 0x11 : 0) : (uint8_t)v;
    }
    as_access(&f->t->m->as_mem, BAR0, f->was, MEMORY, true, cpu);
}

static uint32_t address(GRand *r)
{
    switch (g_rand_int_range(r, 0, 4)) {
    case 0: return g_rand_int_range(r, 0, 3000); /* around the end, forwards and backwards */
    case 1: return MEMORY - 1 - g_rand_int_range(r, 0, 3000);
    default: return g_rand_int(r) & (MEMORY - 1);
    }
}

static void random_op(GRand *r, CirrusOp *op)
{
    static const uint8_t modes[] = { 0,
                                     OP_BACK,
                                     OP_PATTERN,
                                     OP_EXPAND,
                                     OP_PATTERN | OP_EXPAND,
                                     OP_FROM_CPU,
                                     OP_FROM_CPU | OP_EXPAND,
                                     OP_FROM_CPU | OP_PATTERN,
                                     OP_FROM_CPU | OP_PATTERN | OP_EXPAND };
    bool large = g_rand_int_range(r, 0, 30) == 0, wide = g_rand_int_range(r, 0, 20) == 0;
    *op = (CirrusOp){ .width = (uint32_t)g_rand_int_range(r, 1, wide ? 8193 : 100),
                      .height = (uint32_t)g_rand_int_range(r, 1, large ? 300 : 30),
                      .dst_pitch = g_rand_int(r) & 0x1fff,
                      .src_pitch = g_rand_int(r) & 0x1fff,
                      .dst = address(r),
                      .src = address(r),
                      .skip = g_rand_int(r) & 0x1f,
                      .mode = modes[g_rand_int_range(r, 0, G_N_ELEMENTS(modes))] | (g_rand_int(r) & 0x38),
                      .rop = cirrus_rop(g_rand_int(r)),
                      .extensions = g_rand_int(r) & 7,
                      .fg = g_rand_int(r),
                      .bg = g_rand_int(r),
                      .key = g_rand_boolean(r)   ? 0x1111
                             : g_rand_boolean(r) ? 0
                                                 : (uint16_t)g_rand_int(r) };
}

static unsigned cases(void)
{
    const char *s = g_getenv("RHEA_VGA_CASES");
    return s ? (unsigned)atoi(s) : 100;
}

static void test_rops(Fix *f, VgaGuest *g)
{
    static const uint8_t modes[] = {
        0, OP_BACK, OP_PATTERN | 0x10, OP_EXPAND | 0x20, OP_PATTERN | OP_EXPAND | 0x30, OP_FROM_CPU
    };
    vga_reg(g, GFX, 0x0b, 4); /* all of the colours' bits */
    fill_memory(f);
    for (unsigned k = 0; k < 16; k++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
            CirrusOp op = { .width = 60,
                            .height = 9,
                            .dst_pitch = 640,
                            .src_pitch = 512,
                            .dst = 100000 + 640 * 10 * k,
                            .src = 30000,
                            .mode = modes[i],
                            .rop = cirrus_rop(k),
                            .fg = 0x12345678,
                            .bg = 0x9abcdef0 };
            compare(f, &op, "rops");
        }
    }
}

static void test_blits(Fix *f, VgaGuest *g)
{
    vga_reg(g, GFX, 0x0b, 4);
    fill_memory(f);
    for (unsigned i = 0; i < cases(); i++) {
        CirrusOp op;
        random_op(f->r, &op);
        compare(f, &op, "blits");
    }
}

/* The widest and highest ones from memory's first and last byte, and overlapping ones. */
static void test_extremes(Fix *f, VgaGuest *g G_GNUC_UNUSED)
{
    static const uint8_t modes[] = { 0, OP_BACK, OP_PATTERN | 0x30, OP_EXPAND | 0x30, OP_TRANSPARENT | 0x10 };
    static const uint32_t ends[] = { 0, MEMORY - 1, MEMORY - 8 };
    fill_memory(f);
    for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
        for (unsigned e = 0; e < G_N_ELEMENTS(ends); e++) {
            CirrusOp op = { .width = 8192,
                            .height = e ? 5 : 300,
                            .dst_pitch = 0x1fff,
                            .src_pitch = 0x1fff,
                            .dst = ends[e],
                            .src = ends[G_N_ELEMENTS(ends) - 1 - e],
                            .mode = modes[i],
                            .rop = 0x0d,
                            .skip = 31 };
            compare(f, &op, "extremes");
            op.dst_pitch = op.src_pitch = 0;
            op.rop = 0x59;
            compare(f, &op, "pitch 0");
        }
    }
}

static void test_control(Fix *f, VgaGuest *g)
{
    CirrusOp op = { .width = 4, .height = 2, .dst_pitch = 4, .dst = 0x100, .rop = 0x0d, .mode = OP_FROM_CPU };
    set_op(g, &op);
    vga_reg(g, GFX, 0x31, START);
    pctest_write(f->t, DATA, 0x44332211, 4);
    g_assert_cmphex(pctest_read(f->t, BAR0 + 0x100, 4), ==, 0x44332211);
    vga_reg(g, GFX, 0x31, START); /* once more: nothing */
    g_assert_cmphex(get(g, GFX, 0x31) & 3, ==, BUSY | START);
    vga_reg(g, GFX, 0x31, RESET);
    vga_reg(g, GFX, 0x31, 0);
    g_assert_cmphex(get(g, GFX, 0x31), ==, 0);
    pctest_write(f->t, BAR0 + 0x200, 0x5555, 4); /* memory again */
    g_assert_cmphex(pctest_read(f->t, BAR0 + 0x200, 4), ==, 0x5555);
    g_assert_cmphex(pctest_read(f->t, BAR0 + 0x104, 4), ==, 0);
    op.width = 3; /* what is left of the last write goes nowhere */
    op.height = 1;
    set_op(g, &op);
    vga_reg(g, GFX, 0x31, START);
    pctest_write(f->t, BAR0 + 0x300, 0x8877665544332211, 8);
    g_assert_cmphex(get(g, GFX, 0x31), ==, 0);
    g_assert_cmphex(pctest_read(f->t, BAR0 + 0x300, 8), ==, 0);
    op.mode = 2; /* to the CPU: no */
    set_op(g, &op);
    vga_reg(g, GFX, 0x31, START);
    g_assert_cmphex(get(g, GFX, 0x31), ==, 0);
    op.mode = 0; /* started by the destination's address */
    op.src = 0x200;
    set_op(g, &op);
    vga_reg(g, GFX, 0x31, AUTOSTART);
    set_field(g, 0x28, 0x400, 3);
    g_assert_cmphex(pctest_read(f->t, BAR0 + 0x400, 2), ==, 0x5555);
    g_assert_cmphex(get(g, GFX, 0x31), ==, AUTOSTART);
}

static void test_no_blitter(void)
{
    static const CirrusOp op = { .width = 4, .height = 1, .dst = 0x100, .src = 0x200, .rop = 0x0d };
    Fix f;
    open_card(&f, "blitter", "off");
    set_depth(&f.g, 0x11, 0, 640);
    pctest_write(f.t, BAR0 + 0x200, 0x5555, 4);
    set_op(&f.g, &op);
    vga_reg(&f.g, GFX, 0x31, START);
    g_assert_cmphex(get(&f.g, GFX, 0x31), ==, 0);
    g_assert_cmphex(pctest_read(f.t, BAR0 + 0x100, 4), ==, 0);
    close_card(&f);
}

/* ---- states ---- */

static void open_isa(IsaTest **t, VgaGuest *g)
{
    *t = isatest_new();
    isatest_add(*t, &cirrus_isa_type);
    vga_guest_open(g, (*t)->tm->m);
    vga_out(g, 0x3c2, 0x63);
}

static void test_state(void)
{
    IsaTest *t, *copy;
    VgaGuest g, to;
    open_isa(&t, &g);
    g_assert_cmphex(get(&g, CRTC, 0x27), ==, 0xa0);
    set_depth(&g, 0x11, 0, 640);
    CirrusOp op = {
        .width = 8, .height = 2, .dst_pitch = 640, .dst = 0x1000, .rop = 0x0d, .mode = OP_FROM_CPU
    };
    set_op(&g, &op);
    vga_reg(&g, GFX, 0x31, START);
    for (unsigned i = 0; i < 11; i++) {
        vga_poke(&g, WINDOW + i, 0x40 + i);
    }
    uint32_t hash = vga_hash(&g);
    g_autoptr(GByteArray) state = tm_save(t->tm);
    open_isa(&copy, &to);
    vga_set_mode(&to, &vga_13);
    g_assert_true(tm_load(copy->tm, state, &error_abort_slot));
    g_assert_cmphex(vga_hash(&to), ==, hash);
    for (unsigned i = 11; i < 16; i++) {
        g_assert_cmphex(get(&to, GFX, 0x31) & 3, ==, BUSY | START);
        vga_poke(&to, WINDOW + i, 0x40 + i);
    }
    g_assert_cmphex(get(&to, GFX, 0x31), ==, 0);
    vga_reg(&to, GFX, 9, 1);
    for (unsigned i = 0; i < 8; i++) {
        g_assert_cmphex(vga_peek(&to, WINDOW + i), ==, 0x40 + i);
        g_assert_cmphex(vga_peek(&to, WINDOW + 640 + i), ==, 0x48 + i);
    }
    isatest_free(copy);
    isatest_free(t);
}

/* The chip of the ISA card knows of 2 MiB, whatever memory there is: its picture goes around their end. */
static void test_wrap(void)
{
    static const struct {
        uint8_t sr7, hdr;
        unsigned bytes;
    } depths[] = { { 0x11, 0, 1 }, { 0x17, 0xc1, 2 }, { 0x15, 0xc5, 3 }, { 0x19, 0xc5, 4 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(depths); i++) {
        IsaTest *t;
        VgaGuest g;
        open_isa(&t, &g);
        set_depth(&g, depths[i].sr7, depths[i].hdr, 640 * depths[i].bytes);
        for (unsigned k = 0; k < depths[i].bytes; k++) {
            vga_poke(&g, WINDOW + k, 0xff);
        }
        uint32_t colour = vga_pixel(&g, 0, 0);
        g_assert_cmphex(colour, !=, vga_pixel(&g, 1, 0));
        vga_reg(&g, CRTC, 0x1d, 0x80);
        g_assert_cmphex(vga_pixel(&g, 0, 0), ==, colour);
        isatest_free(t);
    }
}

static void test_sizes(void)
{
    IsaTest *t = isatest_new();
    g_assert_true(isatest_refuses(t, &cirrus_isa_type, "vgamem_mb", "2", "vgamem_mb=2 is no possible size"));
    g_assert_true(isatest_refuses(t, &cirrus_isa_type, "vgamem_mb", "5", "vgamem_mb=5"));
    isatest_free(t);
}

/* ---- hostile ---- */

static void test_storm(Fix *f, VgaGuest *g)
{
    static const uint16_t ports[] = { 0x3c2, 0x3c4, 0x3c4, 0x3c6, 0x3c9, 0x3ce,
                                      0x3ce, 0x3ce, 0x3d4, 0x3d4, 0x3b4 };
    static const hwaddr places[] = { WINDOW,        REGISTERS, BAR0, BAR0 + MEMORY - 0x100,
                                     BAR0 + MEMORY, DATA,      BAR1, BAR1 + 0x100 };
    static const uint32_t sizes[] = { 0x20000, 0x100, MEMORY, 0x100, 2 * MEMORY, 16 << 20, 0x1000, 0x60 };
    static const MemAttrs cpu = { .cpu = true };
    GRand *r = f->r;
    for (unsigned i = 0; i < cases() * 100; i++) {
        uint64_t v = g_rand_boolean(r) ? g_rand_int(r)
                                       : (uint64_t[]){ 0, 0xff, 2, 4, 0x80, 0x44 }[g_rand_int_range(r, 0, 6)];
        unsigned k = (unsigned)g_rand_int_range(r, 0, G_N_ELEMENTS(places)),
                 size = 1u << g_rand_int_range(r, 0, 4);
        hwaddr at = places[k] + g_rand_int(r) % sizes[k] / size * size;
        switch (g_rand_int_range(r, 0, 5)) {
        case 0: as_store(&f->t->m->as_mem, at, size, v | (uint64_t)g_rand_int(r) << 32, cpu); break;
        case 1: as_load(&f->t->m->as_mem, at, size, &v, cpu); break;
        case 2: as_load(&f->t->m->as_io, 0x3b0 + g_rand_int_range(r, 0, 0x30), 1, &v, cpu); break;
        default:
            as_store(&f->t->m->as_io, ports[g_rand_int_range(r, 0, G_N_ELEMENTS(ports))], 2,
                     g_rand_int_range(r, 0, 0x40) | v << 8, cpu);
        }
        if (i % 100 == 99) {
            vga_out(g, 0x3c2, 0x63);
            vga_out(g, 0x3c0, 0x20);
            console_refresh(g->console);
        }
    }
    device_reset(f->t->m->root, RESET_COLD); /* then it does what it is told */
    pctest_config_write(f->t, f->devfn, 0x10, BAR0, 4);
    pctest_config_write(f->t, f->devfn, 4, 3, 2);
    set_depth(g, 0x11, 0, 640);
    pctest_write(f->t, BAR0 + 640, 200, 1);
    g_assert_cmphex(vga_pixel(g, 0, 1), ==, colour_8(200));
}

/* A test with the card at its beginning, or in a mode of 256 colours. */
static const struct Case {
    const char *name;
    void (*run)(Fix *f, VgaGuest *g);
    bool in_mode;
} tests[] = { { "registers", test_registers, false },
              { "dac", test_dac, false },
              { "depths", test_depths, false },
              { "cursor", test_cursor, false },
              { "banks", test_banks, true },
              { "write-modes", test_write_modes, true },
              { "apertures", test_apertures, true },
              { "rops", test_rops, true },
              { "blits", test_blits, true },
              { "extremes", test_extremes, true },
              { "control", test_control, true },
              { "storm", test_storm, true } };

static void run_case(gconstpointer data)
{
    const struct Case *c = data;
    Fix f;
    open_card(&f, NULL, NULL);
    if (c->in_mode) {
        set_depth(&f.g, 0x11, 0, 640);
    }
    c->run(&f, &f.g);
    close_card(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf("/cirrus/%s", tests[i].name);
        g_test_add_data_func(path, &tests[i], run_case);
    }
    g_test_add_func("/cirrus/no-blitter", test_no_blitter);
    g_test_add_func("/cirrus/state", test_state);
    g_test_add_func("/cirrus/wrap", test_wrap);
    g_test_add_func("/cirrus/sizes", test_sizes);
    return g_test_run();
}
