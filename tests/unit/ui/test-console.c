/* SPDX-License-Identifier: MIT
 * tests/unit/ui/test-console.c - consoles and their pictures (ui/console.c, ui/consoles.c, ui/surface.c,
 * ui/picture.c): who hears what and when, devices that draw on threads of their own, files.
 * Threads: main; in one test a second one is the device.
 */
#include "rhea/ui/console.h"
#include "rhea/util/error.h"
#include "tests/lib/testmachine.h"

#include <string.h>
#include <unistd.h>
#include <zlib.h>

typedef struct Card { /* a device with a picture */
    Device dev;
    Console *console, *second;
    unsigned updates, wishes;
    int watched; /* -1: never told */
    ConsoleWish wish;
    bool has_text;
} Card;

static void card_update(void *opaque)
{
    Card *s = opaque;
    g_assert_true(domain_held(s->dev.domain));
    s->updates++;
}

static void card_watched(void *opaque, bool on)
{
    Card *s = opaque;
    g_assert_true(domain_held(s->dev.domain));
    g_assert_cmpint(s->watched, !=, on);
    s->watched = on;
}

static bool card_text(void *opaque, ConsoleText *out)
{
    Card *s = opaque;
    if (s->has_text) {
        *out = (ConsoleText){ .columns = 1, .rows = 1, .cells = g_new0(uint32_t, 1), .cursor_x = -1 };
        out->cells[0] = 0x263a;
    }
    return s->has_text;
}

static void card_wish(void *opaque, const ConsoleWish *wish)
{
    Card *s = opaque;
    s->wish = *wish;
    s->wishes++;
}

static const ConsoleOps card_ops = {
    .update = card_update, .watched = card_watched, .text = card_text, .wish = card_wish
};

static bool card_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    Card *s = dev_as(Card, dev);
    s->watched = -1;
    s->console = console_new(dev->machine, dev, 0, &card_ops, s);
    s->second = console_new(dev->machine, dev, 1, NULL, s);
    return true;
}

static void card_unrealize(Device *dev)
{
    Card *s = dev_as(Card, dev);
    console_free(s->second);
    console_free(s->console);
}

static const DeviceType card_type = { .name = "card",
                                      .desc = "a test's",
                                      .size = sizeof(Card),
                                      .realize = card_realize,
                                      .unrealize = card_unrealize };

typedef struct Viewer {
    ConsoleListener l;
    unsigned surfaces, damages, frames, cursors, places, gone;
    int x, y, w, h; /* the last damage */
    int64_t area;   /* of all damages */
    int cursor_x, cursor_y;
    bool cursor_on, has_cursor;
    Surface *surface;        /* a reference */
    ConsoleListener *remove; /* at the next damage */
} Viewer;

static void v_surface(ConsoleListener *l, Surface *s)
{
    Viewer *v = (Viewer *)l;
    v->surfaces++;
    surface_unref(v->surface);
    v->surface = s ? surface_ref(s) : NULL;
}

static void v_damage(ConsoleListener *l, int x, int y, int w, int h)
{
    Viewer *v = (Viewer *)l;
    g_assert_cmpint(x, >=, 0);
    g_assert_cmpint(y, >=, 0);
    g_assert_cmpint(x + w, <=, surface_width(v->surface));
    g_assert_cmpint(y + h, <=, surface_height(v->surface));
    v->damages++;
    v->x = x, v->y = y, v->w = w, v->h = h;
    v->area += (int64_t)w * h;
    if (v->remove) {
        console_remove_listener(g_steal_pointer(&v->remove));
    }
}

static void v_frame(ConsoleListener *l)
{
    ((Viewer *)l)->frames++;
}

static void v_cursor(ConsoleListener *l, const CursorShape *shape)
{
    Viewer *v = (Viewer *)l;
    v->cursors++;
    v->has_cursor = shape != NULL;
}

static void v_place(ConsoleListener *l, int x, int y, bool visible)
{
    Viewer *v = (Viewer *)l;
    v->places++;
    v->cursor_x = x, v->cursor_y = y, v->cursor_on = visible;
}

static void v_gone(ConsoleListener *l)
{
    g_assert_null(l->console);
    ((Viewer *)l)->gone++;
}

static const ConsoleListenerOps viewer_ops = { .surface = v_surface,
                                               .damage = v_damage,
                                               .frame = v_frame,
                                               .cursor = v_cursor,
                                               .cursor_at = v_place,
                                               .gone = v_gone };

static void viewer_init(Viewer *v)
{
    *v = (Viewer){ .l = { .ops = &viewer_ops, .period_ms = 1 } };
}

static void viewer_fini(Viewer *v)
{
    console_remove_listener(&v->l);
    surface_unref(v->surface);
}

static void picture(Card *s, int w, int h)
{
    domain_lock(s->dev.domain);
    console_set_surface(s->console, surface_new(w, h, &error_abort_slot));
    domain_unlock(s->dev.domain);
}

static void damage(Card *s, int x, int y, int w, int h)
{
    domain_lock(s->dev.domain);
    console_damage(s->console, x, y, w, h);
    domain_unlock(s->dev.domain);
}

/* Turns the loop until the counter has that value. */
static void await(TestMachine *tm, const unsigned *counter, unsigned value)
{
    while (*counter < value) {
        loop_turn(tm->loop, true);
    }
}

static void test_watched(void)
{
    TestMachine *tm = tm_new(0);
    Card *s = dev_as(Card, tm_device_type(tm, &card_type, NULL, NULL));
    Viewer a, b;
    viewer_init(&a);
    viewer_init(&b);
    picture(s, 100, 50);
    damage(s, 1, 2, 3, 4);
    tm_turns(tm);
    g_assert_cmpuint(s->updates, ==, 0); /* nobody looks */
    g_assert_cmpint(s->watched, ==, -1);
    console_add_listener(s->console, &a.l);
    g_assert_cmpint(s->watched, ==, 1);
    g_assert_cmpuint(a.surfaces, >=, 1);
    g_assert_cmpint(surface_width(a.surface), ==, 100);
    await(tm, &s->updates, 3);
    console_add_listener(s->console, &b.l);
    g_assert_nonnull(b.surface);
    console_listener_pause(&a.l, true);
    g_assert_cmpint(s->watched, ==, 1);
    console_listener_pause(&b.l, true);
    g_assert_cmpint(s->watched, ==, 0);
    unsigned then = s->updates;
    tm_turns(tm);
    g_assert_cmpuint(s->updates, ==, then);
    unsigned surfaces = b.surfaces;
    console_listener_pause(&b.l, false); /* as if it had come now */
    g_assert_cmpuint(b.surfaces, >, surfaces);
    g_assert_cmpint(s->watched, ==, 1);
    viewer_fini(&b);
    g_assert_cmpint(s->watched, ==, 0);
    viewer_fini(&a);
    /* A look of the moment. */
    then = s->updates;
    console_refresh(s->console);
    g_assert_cmpuint(s->updates, ==, then + 1);
    g_assert_cmpint(s->watched, ==, 0);
    g_assert_false(console_watched(s->console));
    tm_free(tm);
}

static void test_damage(void)
{
    TestMachine *tm = tm_new(0);
    Card *s = dev_as(Card, tm_device_type(tm, &card_type, NULL, NULL));
    Viewer v;
    viewer_init(&v);
    picture(s, 100, 50);
    console_add_listener(s->console, &v.l);
    g_assert_cmpint(v.area, >=, 5000);
    console_refresh(s->console);
    v.damages = v.frames = 0;
    console_refresh(s->console);
    g_assert_cmpuint(v.damages + v.frames, ==, 0); /* nothing new, nothing told */
    damage(s, 10, 20, 5, 6);
    console_refresh(s->console);
    g_assert_cmpint(v.x, ==, 10);
    g_assert_cmpint(v.y, ==, 20);
    g_assert_cmpint(v.w, ==, 5);
    g_assert_cmpint(v.h, ==, 6);
    g_assert_cmpuint(v.frames, ==, 1);
    for (int y = 0; y < 50; y++) { /* lines that touch are one rectangle */
        damage(s, 0, y, 100, 1);
    }
    v.damages = 0;
    console_refresh(s->console);
    g_assert_cmpuint(v.damages, ==, 1);
    v.damages = 0;
    v.area = 0;
    for (int i = 0; i < 50; i++) { /* many apart are a few, and cover all of them */
        damage(s, i * 2, i, 1, 1);
    }
    console_refresh(s->console);
    g_assert_cmpuint(v.damages, <=, 16);
    g_assert_cmpint(v.area, >=, 50);
    v.damages = 0;
    static const int outside[][4] = { { -5, -5, 5, 5 },
                                      { 100, 0, 1, 1 },
                                      { 0, 50, 1, 1 },
                                      { 3, 3, 0, 5 },
                                      { 3, 3, -2, 5 },
                                      { INT_MIN, 0, INT_MIN, 1 },
                                      { INT_MAX, INT_MAX, INT_MAX, INT_MAX } };
    for (unsigned i = 0; i < G_N_ELEMENTS(outside); i++) {
        damage(s, outside[i][0], outside[i][1], outside[i][2], outside[i][3]);
    }
    console_refresh(s->console);
    g_assert_cmpuint(v.damages, ==, 0);
    damage(s, -10, -10, INT_MAX, INT_MAX);
    console_refresh(s->console);
    g_assert_cmpint((int64_t)v.w * v.h, ==, 5000);
    picture(s, 20, 20); /* smaller: what was damaged before counts no more */
    console_refresh(s->console);
    g_assert_cmpint(surface_width(v.surface), ==, 20);
    domain_lock(s->dev.domain);
    console_set_surface(s->console, NULL);
    domain_unlock(s->dev.domain);
    console_refresh(s->console);
    g_assert_null(v.surface);
    viewer_fini(&v);
    tm_free(tm);
}

static void test_periods(void)
{
    TestMachine *tm = tm_new(0);
    Card *s = dev_as(Card, tm_device_type(tm, &card_type, NULL, NULL));
    Viewer v;
    viewer_init(&v);
    picture(s, 10, 10);
    console_add_listener(s->console, &v.l);
    await(tm, &s->updates, CONSOLE_QUIET + 4); /* by now it looks seldom */
    damage(s, 0, 0, 1, 1);
    v.frames = 0;
    await(tm, &v.frames, 1);
    await(tm, &s->updates, s->updates + CONSOLE_QUIET + 4);
    console_hurry_all(tm->m); /* somebody typed */
    await(tm, &s->updates, s->updates + 2);
    v.l.ops = &viewer_ops;
    console_listener_period(&v.l, 3600 * 1000);
    console_listener_period(&v.l, 1); /* the shorter one counts at once */
    unsigned then = s->updates;
    await(tm, &s->updates, then + 2);
    viewer_fini(&v);
    tm_free(tm);
}

static void test_removal(void)
{
    TestMachine *tm = tm_new(0);
    Device *dev = tm_device_type(tm, &card_type, NULL, NULL);
    Card *s = dev_as(Card, dev);
    Viewer a, b;
    viewer_init(&a);
    viewer_init(&b);
    picture(s, 10, 10);
    console_add_listener(s->console, &a.l);
    console_add_listener(s->console, &b.l);
    console_refresh(s->console);
    b.damages = 0;
    a.remove = &b.l; /* in the middle of being told */
    damage(s, 0, 0, 1, 1);
    console_refresh(s->console);
    g_assert_cmpuint(b.damages, ==, 0);
    g_assert_null(b.l.console);
    a.remove = &a.l;
    damage(s, 0, 0, 1, 1);
    console_refresh(s->console);
    g_assert_null(a.l.console);
    console_add_listener(s->console, &a.l);
    Surface *kept = surface_ref(a.surface);
    device_remove(dev);
    g_assert_cmpuint(a.gone, ==, 1);
    memset(surface_data(kept), 0xaa, 400); /* a reference outlives the device */
    surface_unref(kept);
    viewer_fini(&a);
    viewer_fini(&b);
    tm_free(tm);
}

/* What changed before it looked again is not told of a surface that it does not know. */
static void test_pause(void)
{
    TestMachine *tm = tm_new(0);
    Card *s = dev_as(Card, tm_device_type(tm, &card_type, NULL, NULL));
    Viewer a, b;
    viewer_init(&a);
    viewer_init(&b);
    console_add_listener(s->console, &a.l);
    console_add_listener(s->console, &b.l);
    g_assert_null(a.surface);
    console_listener_pause(&a.l, true);
    picture(s, 10, 10);
    console_refresh(s->console);
    g_assert_cmpuint(b.damages, ==, 1);
    damage(s, 0, 0, 1, 1);
    console_listener_pause(&a.l, false);
    g_assert_cmpuint(b.damages, ==, 2);
    g_assert_cmpuint(a.damages, ==, 1); /* all of it, once */
    g_assert_cmpint(a.area, ==, 100);
    damage(s, 0, 0, 1, 1);
    console_refresh(s->console);
    g_assert_cmpuint(a.damages, ==, 2);
    viewer_fini(&a);
    viewer_fini(&b);
    tm_free(tm);
}

static void test_cursor(void)
{
    TestMachine *tm = tm_new(0);
    Card *s = dev_as(Card, tm_device_type(tm, &card_type, NULL, NULL));
    Viewer v, late;
    viewer_init(&v);
    viewer_init(&late);
    picture(s, 10, 10);
    console_add_listener(s->console, &v.l);
    CursorShape shape = { surface_new_alpha(16, 16, &error_abort_slot), 3, 4 };
    domain_lock(s->dev.domain);
    console_set_cursor(s->console, &shape);
    console_move_cursor(s->console, 7, 8, true);
    domain_unlock(s->dev.domain);
    surface_unref(shape.image);
    console_refresh(s->console);
    g_assert_true(v.has_cursor);
    g_assert_cmpint(v.cursor_x, ==, 7);
    g_assert_true(v.cursor_on);
    console_add_listener(s->console, &late.l);
    g_assert_true(late.has_cursor);
    g_assert_cmpint(late.cursor_y, ==, 8);
    domain_lock(s->dev.domain);
    console_set_cursor(s->console, NULL);
    domain_unlock(s->dev.domain);
    console_refresh(s->console);
    g_assert_false(v.has_cursor);
    viewer_fini(&v);
    viewer_fini(&late);
    tm_free(tm);
}

static void count(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void test_list(void)
{
    TestMachine *tm = tm_new(0);
    Error *err = NULL;
    unsigned changes = 0;
    g_assert_null(console_by_index(tm->m, 0));
    g_assert_null(console_find(tm->m, NULL, 0, &err));
    g_clear_pointer(&err, error_free);
    console_watch_list(tm->m, count, &changes);
    Console *vc = console_new(tm->m, NULL, 0, NULL, NULL);
    console_set_label(vc, "compat_monitor0");
    Device *dev = tm_device_type(tm, &card_type, NULL, NULL);
    Card *s = dev_as(Card, dev);
    g_assert_cmpuint(changes, ==, 3);
    g_assert_true(console_by_index(tm->m, 0) == s->console); /* terminals come behind */
    g_assert_cmpuint(console_index(s->second), ==, 1);
    g_assert_true(console_by_index(tm->m, 2) == vc && console_find(tm->m, "compat_monitor0", 0, NULL) == vc);
    g_assert_true(console_find(tm->m, NULL, 0, &error_abort_slot) ==
                  s->console); /* the first that is no terminal */
    g_assert_true(console_by_device(tm->m, dev->path, 1, &error_abort_slot) == s->second);
    g_assert_null(console_by_device(tm->m, dev->path, 2, &err));
    g_assert_nonnull(strstr(error_text(err), "head 2"));
    g_clear_pointer(&err, error_free);
    g_assert_null(console_by_device(tm->m, "nothing", 0, &err));
    g_assert_cmpint(error_class(err), ==, ERROR_DEVICE_NOT_FOUND);
    g_clear_pointer(&err, error_free);
    g_assert_null(console_by_device(tm->m, "/machine", 0, &err));
    g_clear_pointer(&err, error_free);
    g_autofree char *first = console_label(vc), *second = console_label(s->console),
                    *third = console_label(s->second);
    g_assert_cmpstr(first, ==, "compat_monitor0");
    g_assert_cmpstr(second, ==, "card");
    g_assert_cmpstr(third, ==, "card.1");
    g_assert_true(console_is_graphic(s->console));
    g_assert_false(console_is_graphic(vc));
    g_assert_true(console_device(s->second) == dev && console_head(s->second) == 1);
    device_remove(dev);
    console_free(vc);
    g_assert_cmpuint(changes, ==, 6);
    console_watch_list(tm->m, NULL, &changes);
    g_assert_null(tm->m->consoles);
    tm_free(tm);
}

static void test_text_and_wish(void)
{
    TestMachine *tm = tm_new(0);
    Card *s = dev_as(Card, tm_device_type(tm, &card_type, NULL, NULL));
    ConsoleText t;
    g_assert_false(console_text(s->console, &t));
    g_assert_false(console_text(s->second, &t));
    s->has_text = true;
    g_assert_true(console_text(s->console, &t));
    g_assert_cmpuint(t.cells[0], ==, 0x263a);
    g_free(t.cells);
    ConsoleWish wish = { .width = 800, .height = 600 };
    console_wish(s->console, &wish);
    console_wish(s->console, &wish);
    g_assert_cmpuint(s->wishes, ==, 1);
    wish.off = true;
    console_wish(s->console, &wish);
    g_assert_cmpuint(s->wishes, ==, 2);
    g_assert_true(s->wish.off);
    console_wish(s->second, &wish);
    tm_free(tm);
}

static void test_surface_bounds(void)
{
    static const struct {
        int w, h, stride;
        uint64_t off;
        pixman_format_code_t format;
        bool good;
    } list[] = {
        { 64, 64, 256, 0, PIXMAN_x8r8g8b8, true },
        { 64, 64, 256, 4, PIXMAN_x8r8g8b8, false },
        { 64, 63, 256, 256, PIXMAN_x8r8g8b8, true },
        { 64, 64, 252, 0, PIXMAN_x8r8g8b8, false },
        { 64, 64, -256, 0, PIXMAN_x8r8g8b8, false },
        { 0, 64, 256, 0, PIXMAN_x8r8g8b8, false },
        { 64, -1, 256, 0, PIXMAN_x8r8g8b8, false },
        { 64, 1, 0x7ffffffc, 0, PIXMAN_x8r8g8b8, true },
        { 64, 2, 0x7ffffffc, 0, PIXMAN_x8r8g8b8, false },
        { 64, 1, 256, UINT64_MAX - 3, PIXMAN_x8r8g8b8, false },
        { 64, 64, 256, 2, PIXMAN_r5g6b5, false },
        { 128, 64, 256, 0, PIXMAN_r5g6b5, true },
        { 64, 64, 256, 0, PIXMAN_a1, false },
        { 85, 64, 256, 0, PIXMAN_r8g8b8, true },
        { 86, 64, 256, 0, PIXMAN_r8g8b8, false },
        { 16385, 1, 0x20000, 0, PIXMAN_x8r8g8b8, false },
    };
    TestMachine *tm = tm_new(0);
    RamBlock *ram = ram_new(tm->m, "vram", 16384, &error_abort_slot);
    for (unsigned i = 0; i < G_N_ELEMENTS(list); i++) {
        Error *err = NULL;
        Surface *s =
            surface_new_ram(ram, list[i].off, list[i].format, list[i].w, list[i].h, list[i].stride, &err);
        g_assert_cmpint(s != NULL, ==, list[i].good);
        g_assert_cmpint(err == NULL, ==, list[i].good);
        if (s) {
            g_assert_true(surface_data(s) == ram->host + list[i].off);
            g_assert_cmpint(surface_stride(s), ==, list[i].stride);
        }
        surface_unref(s);
        error_free(err);
    }
    Surface *s = surface_new_ram(ram, 0, PIXMAN_r5g6b5, 2, 2, 4, &error_abort_slot);
    ram_unref(ram); /* the picture keeps it */
    surface_row(s, 1)[3] = 1;
    surface_unref(s);
    Error *err = NULL;
    g_assert_null(surface_new(16384, 16384, &err));
    error_free(err);
    tm_free(tm);
}

static void test_surface_part(void)
{
    static const int bad[][4] = { { -1, 0, 2, 2 }, { 0, -1, 2, 2 }, { 0, 0, 0, 2 },  { 0, 0, 2, 0 },
                                  { 3, 0, 2, 2 },  { 0, 2, 2, 2 },  { 0, 0, 5, 1 }, { INT_MAX, 0, 2, 2 } };
    Surface *all = surface_new_alpha(4, 3, &error_abort_slot);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        Error *err = NULL;
        g_assert_null(surface_new_part(all, bad[i][0], bad[i][1], bad[i][2], bad[i][3], &err));
        g_clear_pointer(&err, error_free);
    }
    Surface *part = surface_new_part(all, 1, 1, 3, 2, &error_abort_slot);
    ((uint32_t *)surface_row(all, 2))[3] = 0x123456;
    g_assert_cmphex(((uint32_t *)surface_row(part, 1))[2], ==, 0x123456);
    surface_unref(all); /* the part keeps it */
    ((uint32_t *)surface_row(part, 1))[2]++;
    g_assert_cmphex(pixman_image_get_format(part->image), ==, PIXMAN_x8r8g8b8);
    surface_unref(part);
}

static Surface *coloured(void)
{
    Surface *s = surface_new(3, 2, &error_abort_slot);
    for (int i = 0; i < 6; i++) {
        ((uint32_t *)surface_row(s, i / 3))[i % 3] = 0xff000000 | (uint32_t)i * 0x102030;
    }
    return s;
}

static GByteArray *written(Surface *s, bool (*write)(Surface *s, int fd, Error **errp))
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("rhea-XXXXXX", &path, NULL);
    g_assert_true(write(s, fd, &error_abort_slot));
    close(fd);
    char *data;
    gsize len;
    g_assert_true(g_file_get_contents(path, &data, &len, NULL));
    unlink(path);
    return g_byte_array_new_take((guint8 *)data, len);
}

static void test_files(void)
{
    Surface *s = coloured();
    GByteArray *ppm = written(s, surface_write_ppm), *png = written(s, surface_write_png);
    static const char head[] = "P6\n3 2\n255\n";
    g_assert_cmpuint(ppm->len, ==, sizeof(head) - 1 + 18);
    g_assert_cmpmem(ppm->data, sizeof(head) - 1, head, sizeof(head) - 1);
    const uint8_t *rgb = ppm->data + sizeof(head) - 1;
    g_assert_cmpuint(rgb[15] << 16 | rgb[16] << 8 | rgb[17], ==, 5 * 0x102030);
    /* One IDAT behind IHDR: inflate it, undo "up". */
    g_assert_cmpmem(png->data, 8, "\x89PNG\r\n\x1a\n", 8);
    g_assert_cmpmem(png->data + 12, 4, "IHDR", 4);
    g_assert_cmpmem(png->data + 37, 4, "IDAT", 4);
    g_assert_cmpmem(png->data + png->len - 12, 8, "\0\0\0\0IEND", 8);
    uint8_t raw[20];
    uLongf n = sizeof(raw);
    guint len = png->data[35] << 8 | png->data[36];
    g_assert_cmpint(uncompress(raw, &n, png->data + 41, len), ==, Z_OK);
    g_assert_cmpuint(n, ==, 20);
    for (int i = 0; i < 9; i++) {
        g_assert_cmpuint(raw[1 + i], ==, rgb[i]);
        g_assert_cmpuint((uint8_t)(raw[11 + i] + raw[1 + i]), ==, rgb[9 + i]);
    }
    g_byte_array_unref(ppm);
    g_byte_array_unref(png);
    surface_unref(s);
    Error *err = NULL;
    s = coloured();
    g_assert_false(surface_write_png(s, -1, &err));
    g_assert_cmpint(error_errno(err), ==, EBADF);
    error_free(err);
    surface_unref(s);
    s = surface_new(1000, 1000, &error_abort_slot); /* noise: several pieces */
    for (int i = 0; i < 1000000; i++) {
        ((uint32_t *)surface_data(s))[i] = g_random_int();
    }
    png = written(s, surface_write_png);
    g_assert_cmpuint(png->len, >, 2900000);
    g_byte_array_unref(png);
    surface_unref(s);
}

enum { THREAD_ROUNDS = 3000 };

static void *draws(void *opaque)
{
    Card *s = opaque;
    for (int i = 0; i < THREAD_ROUNDS; i++) {
        domain_lock(s->dev.domain);
        if (i % 50 == 0) {
            console_set_surface(s->console, i % 500 ? surface_new(10 + i % 7, 10, &error_abort_slot) : NULL);
        }
        console_damage(s->console, i % 10, i % 10, 3, 3);
        console_move_cursor(s->console, i, i, i & 1);
        if (i % 20 == 0) {
            CursorShape shape = { surface_new_alpha(4, 4, &error_abort_slot), 0, 0 };
            console_set_cursor(s->console, &shape);
            surface_unref(shape.image);
        }
        domain_unlock(s->dev.domain);
    }
    return NULL;
}

static void test_threads(void)
{
    TestMachine *tm = tm_new(0);
    Card *s = dev_as(Card, tm_device_type(tm, &card_type, NULL, NULL));
    Viewer v;
    pthread_t thread;
    viewer_init(&v);
    picture(s, 10, 10);
    console_add_listener(s->console, &v.l);
    g_assert_cmpint(pthread_create(&thread, NULL, draws, s), ==, 0);
    for (unsigned i = 0; i < 300; i++) {
        console_listener_pause(&v.l, i % 3 == 0);
        console_refresh(s->console);
        loop_turn(tm->loop, false);
        surface_unref(console_surface(s->console));
    }
    pthread_join(thread, NULL);
    console_listener_pause(&v.l, false);
    console_refresh(s->console);
    g_assert_cmpint(v.cursor_x, ==, THREAD_ROUNDS - 1);
    viewer_fini(&v);
    tm_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ui/console/watched", test_watched);
    g_test_add_func("/ui/console/damage", test_damage);
    g_test_add_func("/ui/console/periods", test_periods);
    g_test_add_func("/ui/console/removal", test_removal);
    g_test_add_func("/ui/console/pause", test_pause);
    g_test_add_func("/ui/console/cursor", test_cursor);
    g_test_add_func("/ui/console/list", test_list);
    g_test_add_func("/ui/console/text-and-wish", test_text_and_wish);
    g_test_add_func("/ui/surface/bounds", test_surface_bounds);
    g_test_add_func("/ui/surface/surface-part", test_surface_part);
    g_test_add_func("/ui/surface/files", test_files);
    g_test_add_func("/ui/console/threads", test_threads);
    return g_test_run();
}
