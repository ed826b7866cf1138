/* SPDX-License-Identifier: MIT
 * tests/device/test-virtio-vga.c - hw/display/virtio-vga.c (and virtio-gpu.c, hw/virtio/virtio-pci.c with
 * BARs of its own): a VGA until the driver shows a picture, and again after each kind of reset; registers of
 * both in one BAR; saved in both. Threads: main.
 */
#include "tests/device/gpuguest.h"
#include "tests/device/pctest.h"
#include "tests/device/vgaguest.h"
#include "tests/device/virtring.h"

enum { FN = PCI_DEVFN(4, 0), FRAMES = 0x40000000, BAR = 0x41000000, MSIX = 0x42000000 };
enum { COMMON = BAR + 0x1000, ISR = BAR + 0x1800, CONFIG = BAR + 0x2000, NOTIFY = BAR + 0x3000 };
enum { WIDTH = 640, HEIGHT = 400 };

typedef struct Driver {
    GpuGuest gpu;
    PcTest *t;
    Device *dev;
    VgaGuest vga;
    uint16_t avail;
} Driver;

static unsigned send_buffer(GpuGuest *gpu, unsigned q, unsigned out, unsigned in)
{
    Driver *d = (Driver *)gpu;
    Machine *m = d->gpu.m;
    unsigned before = ring_used(m);
    g_assert_cmpuint(q, ==, 0);
    ring_set_desc(m, DESC, 0, GG_COMMAND, out, NEXT, 1);
    ring_set_desc(m, DESC, 1, GG_ANSWER, in, WRITE, 0);
    ring_offer(m, &d->avail, 0);
    pctest_write(d->t, NOTIFY, 0, 2);
    ring_wait_used(m, before + 1);
    return (unsigned)pctest_read(d->t, USED + 8 + 8 * (before % SIZE), 4);
}

static void place(Driver *d)
{
    pctest_config_write(d->t, FN, 0x10, FRAMES, 4);
    pctest_config_write(d->t, FN, 0x18, BAR, 4);
    pctest_config_write(d->t, FN, 0x1c, 0, 4);
    pctest_config_write(d->t, FN, 0x20, MSIX, 4);
    pctest_config_write(d->t, FN, 4, 7, 2);
}

static void open_card(Driver *d, const char *prop, const char *value)
{
    role_become_main();
    *d = (Driver){ .gpu.send = send_buffer };
    d->t = pctest_new(16 << 20, NULL);
    d->gpu.m = d->t->m;
    d->dev = device_create(d->t->m, device_type_find("virtio-vga"), d->t->m->peripheral, "card",
                           d->t->pci->bus, &error_abort_slot, "addr", "4", prop, value, NULL);
    device_reset(d->t->m->root, RESET_COLD);
    place(d);
    d->vga = (VgaGuest){ d->t->m, console_by_device(d->t->m, "card", 0, &error_abort_slot) };
}

static void start_driver(Driver *d)
{
    pctest_write(d->t, COMMON + 0x14, 0, 1);
    g_assert_cmphex(pctest_read(d->t, COMMON + 0x14, 1), ==, 0);
    pctest_write(d->t, COMMON + 0x14, 3, 1);
    pctest_write(d->t, COMMON + 8, 1, 4);
    pctest_write(d->t, COMMON + 12, 1, 4); /* VERSION_1 */
    pctest_write(d->t, COMMON + 0x14, 11, 1);
    g_assert_cmphex(pctest_read(d->t, COMMON + 0x14, 1), ==, 11);
    d->avail = 0;
    memset(d->gpu.m->ram->host + DESC, 0, 0x4000);
    pctest_write(d->t, COMMON + 0x16, 0, 2);
    g_assert_cmpuint(pctest_read(d->t, COMMON + 0x18, 2), ==, 64);
    pctest_write(d->t, COMMON + 0x18, SIZE, 2);
    pctest_write(d->t, COMMON + 0x20, DESC, 4);
    pctest_write(d->t, COMMON + 0x28, AVAIL, 4);
    pctest_write(d->t, COMMON + 0x30, USED, 4);
    pctest_write(d->t, COMMON + 0x1c, 1, 2);
    pctest_write(d->t, COMMON + 0x14, 15, 1);
}

/* Bochs' interface in the same BAR: 32 bits a pixel, one of them drawn. */
static void vga_mode(Driver *d, uint32_t colour)
{
    static const uint16_t regs[][2] = { { 1, WIDTH }, { 2, HEIGHT }, { 3, 32 }, { 4, 0x41 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(regs); i++) {
        pctest_write(d->t, BAR + 0x500 + 2 * regs[i][0], regs[i][1], 2);
    }
    pctest_write(d->t, BAR + 0x400, 0x20, 1); /* the picture is on */
    pctest_write(d->t, FRAMES + 4 * (WIDTH * 3 + 5), colour, 4);
}

static void expect_vga(Driver *d, uint32_t colour)
{
    int w, h;
    vga_size(&d->vga, &w, &h);
    g_assert_cmpint(w, ==, WIDTH);
    g_assert_cmpint(h, ==, HEIGHT);
    g_assert_cmphex(vga_pixel(&d->vga, 5, 3), ==, colour);
}

static void expect_picture(Driver *d, uint32_t seed)
{
    int w, h;
    vga_size(&d->vga, &w, &h);
    g_assert_cmpint(w, ==, 320);
    g_assert_cmpint(h, ==, 200);
    g_assert_cmphex(vga_pixel(&d->vga, 319, 199), ==, gg_colour(seed, 319, 199));
}

static uint64_t bar_size(Driver *d, unsigned off)
{
    uint32_t was = pctest_config_read(d->t, FN, off, 4);
    pctest_config_write(d->t, FN, off, UINT32_MAX, 4);
    uint32_t mask = pctest_config_read(d->t, FN, off, 4) & ~15u;
    pctest_config_write(d->t, FN, off, was, 4);
    return -(uint64_t)mask & UINT32_MAX;
}

static void test_places(void)
{
    Driver d;
    open_card(&d, NULL, NULL);
    g_assert_cmphex(pctest_config_read(d.t, FN, 0, 4), ==, 0x10501af4);
    g_assert_cmphex(pctest_config_read(d.t, FN, 8, 4), ==, 0x03000001);
    g_assert_cmphex(pctest_config_read(d.t, FN, 0x2c, 4), ==, 0x11001af4);
    g_assert_cmphex(pctest_config_read(d.t, FN, 0x10, 1) & 15, ==, 8);
    g_assert_cmphex(pctest_config_read(d.t, FN, 0x18, 1) & 15, ==, 12);
    g_assert_cmphex(bar_size(&d, 0x10), ==, 8 << 20);
    g_assert_cmphex(bar_size(&d, 0x18), ==, 0x4000);
    g_assert_cmphex(bar_size(&d, 0x20), ==, 0x1000);
    unsigned seen = 0;
    for (unsigned at = pctest_config_read(d.t, FN, 0x34, 1); at;
         at = pctest_config_read(d.t, FN, at + 1, 1)) {
        static const uint32_t offs[] = { 0, 0x1000, 0x3000, 0x1800, 0x2000 };
        unsigned type = pctest_config_read(d.t, FN, at + 3, 1);
        if (pctest_config_read(d.t, FN, at, 1) == 9 && type < G_N_ELEMENTS(offs)) {
            g_assert_cmpuint(pctest_config_read(d.t, FN, at + 4, 1), ==, 2);
            g_assert_cmphex(pctest_config_read(d.t, FN, at + 8, 4), ==, offs[type]);
            seen |= 1 << type;
        } else if (pctest_config_read(d.t, FN, at, 1) == 0x11) {
            g_assert_cmphex(pctest_config_read(d.t, FN, at + 2, 2), ==, 2); /* three vectors */
            g_assert_cmphex(pctest_config_read(d.t, FN, at + 4, 4), ==, 4);
        }
    }
    g_assert_cmphex(seen, ==, 0x1e);
    g_assert_cmphex(pctest_read(d.t, BAR + 0x500, 2), ==, 0xb0c5);
    g_assert_cmphex(pctest_read(d.t, BAR + 0x604, 4), ==, 0x1e1e1e1e);
    pctest_write(d.t, BAR + 0x402, 0x67, 1);
    g_assert_cmphex(pctest_read(d.t, BAR + 0x40c, 1), ==, 0x67);
    g_assert_cmphex(pctest_in(d.t, 0x3cc, 1), ==, 0x67);
    g_assert_cmphex(pctest_read(d.t, BAR, 4), ==, 0); /* no EDID there */
    g_assert_cmpuint(pctest_read(d.t, COMMON + 0x12, 2), ==, 2);
    g_assert_cmpuint(pctest_read(d.t, CONFIG + 8, 4), ==, 1);
    pctest_free(d.t);
}

static void test_modes(void)
{
    Driver d;
    ConsoleText text;
    open_card(&d, NULL, NULL);
    vga_set_mode(&d.vga, &vga_text_80x25);
    g_assert_true(console_text(d.vga.console, &text));
    g_free(text.cells);
    vga_mode(&d, 0x112233);
    expect_vga(&d, 0x112233);
    start_driver(&d);
    expect_vga(&d, 0x112233); /* a driver alone shows nothing */
    gg_picture(&d.gpu, 1, 0, 320, 200, 5);
    expect_picture(&d, 5);
    pctest_write(d.t, FRAMES + 4 * (WIDTH * 3 + 5), 0x445566, 4); /* not seen */
    expect_picture(&d, 5);
    g_assert_false(console_text(d.vga.console, &text));
    console_wish(d.vga.console, &(ConsoleWish){ .width = 800, .height = 600 });
    g_assert_cmphex(pctest_read(d.t, ISR, 1), ==, 3);
    g_assert_cmpuint(pctest_read(d.t, CONFIG, 4), ==, VIRTIO_GPU_EVENT_DISPLAY);
    pctest_write(d.t, COMMON + 0x14, 0, 1);
    expect_vga(&d, 0x445566);
    pctest_write(d.t, FRAMES + 4 * (WIDTH * 3 + 5), 0x778899, 4);
    expect_vga(&d, 0x778899);
    start_driver(&d);
    gg_picture(&d.gpu, 1, 0, 320, 200, 6);
    expect_picture(&d, 6);
    device_reset(d.t->m->root, RESET_COLD); /* memory stays; registers do not */
    place(&d);
    vga_mode(&d, 0xaabbcc);
    expect_vga(&d, 0xaabbcc);
    pctest_free(d.t);
}

static void see_damage(ConsoleListener *l G_GNUC_UNUSED, int x G_GNUC_UNUSED, int y G_GNUC_UNUSED,
                       int w G_GNUC_UNUSED, int h G_GNUC_UNUSED)
{
}

/* The same with somebody who looks on all the time. */
static void test_watched(void)
{
    static const ConsoleListenerOps ops = { .damage = see_damage };
    ConsoleListener l = { .ops = &ops };
    Driver d;
    open_card(&d, NULL, NULL);
    vga_mode(&d, 0x112233);
    console_add_listener(d.vga.console, &l);
    expect_vga(&d, 0x112233);
    for (uint32_t i = 0; i < 3; i++) {
        start_driver(&d);
        gg_picture(&d.gpu, 1, 0, 320, 200, i);
        expect_picture(&d, i);
        pctest_write(d.t, COMMON + 0x14, 0, 1);
        expect_vga(&d, 0x112233 + i);
        pctest_write(d.t, FRAMES + 4 * (WIDTH * 3 + 5), 0x112234 + i, 4);
        expect_vga(&d, 0x112234 + i);
    }
    console_remove_listener(&l);
    pctest_free(d.t);
}

static void test_state(void)
{
    Driver d, copy;
    g_autoptr(GByteArray) as_vga = g_byte_array_new(), as_gpu = g_byte_array_new();
    open_card(&d, NULL, NULL);
    vga_mode(&d, 0x112233);
    machine_save(d.t->m, as_vga, true);
    start_driver(&d);
    gg_picture(&d.gpu, 1, 0, 320, 200, 7);
    machine_save(d.t->m, as_gpu, true);
    open_card(&copy, NULL, NULL);
    g_assert_true(machine_load(copy.t->m, as_gpu->data, as_gpu->len, &error_abort_slot));
    expect_picture(&copy, 7);
    g_assert_true(machine_load(copy.t->m, as_vga->data, as_vga->len, &error_abort_slot));
    expect_vga(&copy, 0x112233);
    g_assert_true(machine_load(copy.t->m, as_gpu->data, as_gpu->len, &error_abort_slot));
    expect_picture(&copy, 7);
    pctest_write(copy.t, COMMON + 0x14, 0, 1);
    expect_vga(&copy, 0x112233);
    pctest_free(copy.t);
    pctest_free(d.t);
}

/* A state of the VGA into a card that shows its driver's picture, which somebody watches: 256 colours are
 * drawn into a surface that the VGA has already, and what is written to its memory is seen again. */
static void test_state_back(void)
{
    static const ConsoleListenerOps ops = { .damage = see_damage };
    ConsoleListener l = { .ops = &ops };
    Driver d;
    int w, h;
    g_autoptr(GByteArray) as_13h = g_byte_array_new();
    open_card(&d, NULL, NULL);
    vga_set_mode(&d.vga, &vga_13);
    vga_poke(&d.vga, 0xa0000, 0);
    console_add_listener(d.vga.console, &l);
    uint32_t colour = vga_pixel(&d.vga, 0, 0);
    vga_dac(&d.vga, 200, 0x3f2010);
    machine_save(d.t->m, as_13h, true);
    start_driver(&d);
    gg_picture(&d.gpu, 1, 0, 320, 199, 7);
    vga_size(&d.vga, &w, &h);
    g_assert_cmpint(h, ==, 199);
    g_assert_true(machine_load(d.t->m, as_13h->data, as_13h->len, &error_abort_slot));
    vga_size(&d.vga, &w, &h);
    g_assert_cmpint(h, ==, 400); /* each line twice */
    g_assert_cmphex(vga_pixel(&d.vga, 0, 0), ==, colour);
    vga_poke(&d.vga, 0xa0000, 200);
    g_assert_cmphex(vga_pixel(&d.vga, 0, 0), ==, 0xff8241);
    console_remove_listener(&l);
    pctest_free(d.t);
}

static void test_heads(void)
{
    Driver d;
    open_card(&d, "max_outputs", "2");
    Console *second = console_by_device(d.t->m, "card", 1, &error_abort_slot);
    g_assert_null(console_surface(second));
    start_driver(&d);
    gg_picture(&d.gpu, 1, 1, 320, 200, 7); /* the second only: the first has nothing to show */
    VgaGuest g = { d.t->m, second };
    g_assert_cmphex(vga_pixel(&g, 319, 199), ==, gg_colour(7, 319, 199));
    g_assert_null(console_surface(d.vga.console));
    pctest_write(d.t, COMMON + 0x14, 0, 1);
    g_assert_null(console_surface(second));
    vga_mode(&d, 0x112233);
    expect_vga(&d, 0x112233);
    pctest_free(d.t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-vga/places", test_places);
    g_test_add_func("/virtio-vga/modes", test_modes);
    g_test_add_func("/virtio-vga/watched", test_watched);
    g_test_add_func("/virtio-vga/state", test_state);
    g_test_add_func("/virtio-vga/state-back", test_state_back);
    g_test_add_func("/virtio-vga/heads", test_heads);
    return g_test_run();
}
