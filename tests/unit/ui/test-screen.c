/* SPDX-License-Identifier: MIT
 * tests/unit/ui/test-screen.c - screens that programs read (ui/screen.c, ui/screen-wait.c) and the fonts for
 * it (ui/font.c, ui/font-set.c): the video BIOS's file is found, text is recognised at all colours, waiters
 * end. Threads: main.
 */
#include "rhea/ui/screen.h"
#include "rhea/util/error.h"
#include "tests/lib/testmachine.h"

#include <string.h>

typedef struct Screen {
    TestMachine *tm;
    Console *console;
    Surface *surface; /* the console's */
    const Font *font;
    FontSet *set;
    const char *text; /* NULL: graphics */
    unsigned ends, id;
    ScreenEnd end;
} Screen;

static bool screen_chars(void *opaque, ConsoleText *out)
{
    const Screen *s = opaque;
    if (!s->text) {
        return false;
    }
    int n = (int)strlen(s->text);
    *out = (ConsoleText){ .columns = n, .rows = 1, .cells = g_new(uint32_t, (size_t)n), .cursor_x = -1 };
    for (int i = 0; i < n; i++) {
        out->cells[i] = (uint8_t)s->text[i];
    }
    return true;
}

static const ConsoleOps ops = { .text = screen_chars };

static void open_screen(Screen *s, int width, int height)
{
    *s = (Screen){ .tm = tm_new(0) };
    s->font = font_find(s->tm->m, &error_abort_slot);
    s->set = font_set_new(s->tm->m, NULL, &error_abort_slot);
    s->console = console_new(s->tm->m, NULL, 0, &ops, s);
    s->surface = surface_new(width, height, &error_abort_slot);
    console_set_surface(s->console, surface_ref(s->surface));
}

static void close_screen(Screen *s)
{
    screen_wait_forget();
    if (s->console) {
        console_free(s->console);
    }
    surface_unref(s->surface);
    font_set_free(s->set);
    tm_free(s->tm);
}

static void put(Screen *s, int column, int row, uint8_t glyph, uint32_t fg, uint32_t bg)
{
    for (int y = 0; y < FONT_HEIGHT; y++) {
        uint32_t *p = (uint32_t *)surface_row(s->surface, row * FONT_HEIGHT + y) + column * FONT_WIDTH;
        for (int x = 0; x < FONT_WIDTH; x++) {
            p[x] = s->font->glyph[glyph][y] & 0x80 >> x ? fg : bg;
        }
    }
}

static void write_text(Screen *s, int column, int row, const char *text, uint32_t fg, uint32_t bg)
{
    for (; *text; text++) {
        put(s, column++, row, (uint8_t)*text, fg, bg);
    }
    console_damage(s->console, 0, 0, surface_width(s->surface), surface_height(s->surface));
}

static char *line_of(Screen *s, int y)
{
    ConsoleText t;
    bool by_font;
    g_assert_true(screen_read(s->console, s->set, &t, &by_font));
    char *line = screen_line(&t, y);
    g_free(t.cells);
    return line;
}

static void test_font(void)
{
    Font f;
    g_autofree uint8_t *data = g_malloc0(sizeof(f) + 100);
    Screen s;
    open_screen(&s, 8, 16);
    memcpy(data + 77, s.font, sizeof(f));
    g_assert_true(font_search(data, sizeof(f) + 100, &f));
    g_assert_cmpmem(&f, sizeof(f), s.font, sizeof(f));
    g_assert_false(font_search(data, sizeof(f) + 76, &f)); /* cut off */
    g_assert_false(font_search(data, 10, &f));
    data[77 + 0xdb * FONT_HEIGHT] = 0x7f; /* a block that is none */
    g_assert_false(font_search(data, sizeof(f) + 100, &f));
    g_assert_cmpuint(font_glyph('A'), ==, 'A');
    g_assert_cmpuint(font_glyph(0x2588), ==, 0xdb);
    g_assert_cmpuint(font_glyph(0xe4), ==, 0x84);
    g_assert_cmpuint(font_glyph(0x11b), ==, 'e'); /* with a caron */
    g_assert_cmpuint(font_glyph(0x4e2d), ==, 0xb1);
    g_assert_cmpuint(font_glyph(0), ==, 0xb1);
    close_screen(&s);
}

static void test_pixels(void)
{
    Screen s;
    open_screen(&s, 40 * 8 + 3, 3 * 16 + 5);
    write_text(&s, 0, 0, "Hello, World! gjpqy 0O1lI|[]{}", 0xffffff, 0);
    write_text(&s, 3, 1, "on blue", 0xffff55, 0x0000aa);
    write_text(&s, 12, 1, "reversed", 0, 0xaaaaaa);
    g_autofree char *first = line_of(&s, 0), *second = line_of(&s, 1), *third = line_of(&s, 2);
    g_assert_cmpstr(first, ==, "Hello, World! gjpqy 0O1lI|[]{}");
    g_assert_cmpstr(second, ==, "   on blue  reversed");
    g_assert_cmpstr(third, ==, "");
    for (unsigned i = 0; i < 4; i++) { /* colours of a photograph */
        ((uint32_t *)surface_row(s.surface, 32))[i] = 0x102030 * i;
    }
    g_autofree char *bad = line_of(&s, 2);
    g_assert_cmpstr(bad, ==, "\xef\xbf\xbd");
    for (unsigned i = ' '; i < 0x7f; i++) { /* a dot that is wrong, one column too far to the right */
        uint8_t bits[FONT_HEIGHT];
        for (unsigned y = 0; y < FONT_HEIGHT; y++) {
            bits[y] = s.font->glyph[i][y] >> 1;
        }
        g_assert_cmpuint(font_set_find(s.set, bits), ==, i);
    }
    uint8_t noise[FONT_HEIGHT] = { 0xaa, 0x55, 0xaa, 0x55, 0xaa, 0x55, 0xff, 0, 0xaa, 0x55, 0xaa, 0x55, 1 };
    for (unsigned i = 0; i < 40000; i++) { /* more than it remembers */
        noise[14] = (uint8_t)i;
        noise[15] = (uint8_t)(i >> 8);
        g_assert_cmpuint(font_set_find(s.set, noise), !=, ' ');
    }
    close_screen(&s);
}

static void put16(GByteArray *a, unsigned v)
{
    uint8_t b[2] = { (uint8_t)v, (uint8_t)(v >> 8) };
    g_byte_array_append(a, b, 2);
}

static void test_psf(void)
{
    const uint8_t head1[] = { 0x36, 0x04, 2, 16 };
    static const uint8_t head2[32] = { 0x72, 0xb5, 0x4a, 0x86, 0,  0, 0, 0, 32, 0, 0, 0, 1, 0, 0, 0,
                                       2,    0,    0,    0,    16, 0, 0, 0, 16, 0, 0, 0, 8, 0, 0, 0 };
    uint8_t glyph[FONT_HEIGHT] = { 0x12, 0x34, 0x56, 0x78, 0x9a };
    g_autoptr(GByteArray) a = g_byte_array_new();
    g_autoptr(Error) err = NULL;
    FontSet *s = font_set_new_empty();
    g_byte_array_append(a, head1, sizeof(head1));
    for (unsigned i = 0; i < 256; i++) {
        glyph[15] = (uint8_t)i;
        g_byte_array_append(a, glyph, sizeof(glyph));
    }
    for (unsigned i = 0; i < 256; i++) { /* each is two characters, and a pair */
        put16(a, 0x400 + i);
        put16(a, i == 7 ? 'x' : 0x500 + i);
        put16(a, 0xfffe);
        put16(a, 'e');
        put16(a, 0x301);
        put16(a, 0xffff);
    }
    g_assert_true(font_set_add_psf(s, a->data, a->len, &err));
    glyph[15] = 7;
    g_assert_cmpuint(font_set_find(s, glyph), ==, 'x');
    glyph[15] = 9;
    g_assert_cmpuint(font_set_find(s, glyph), ==, 0x409);
    font_set_free(s);
    for (unsigned len = 0; len < a->len; len += 7) { /* cut off anywhere */
        g_autoptr(Error) why = NULL;
        s = font_set_new_empty();
        g_autofree uint8_t *part = g_memdup2(a->data, len);
        g_assert_cmpint(font_set_add_psf(s, part, len, &why), ==, len >= 4 + 256 * 16);
        font_set_free(s);
    }
    g_byte_array_set_size(a, 0);
    g_byte_array_append(a, head2, sizeof(head2));
    g_byte_array_append(a, glyph, sizeof(glyph));
    glyph[0] = 0xff;
    g_byte_array_append(a, glyph, sizeof(glyph));
    g_byte_array_append(a, (const uint8_t *)"\xc3\xa9\xff\xe2\x82\xac\xff", 7);
    s = font_set_new_empty();
    g_assert_true(font_set_add_psf(s, a->data, a->len, &err));
    g_assert_cmpuint(font_set_find(s, glyph), ==, 0x20ac);
    a->data[20] = 14; /* other sizes */
    g_assert_false(font_set_add_psf(s, a->data, a->len, &err));
    font_set_free(s);
}

static void test_sum(void)
{
    Screen s;
    uint64_t one, two, part;
    open_screen(&s, 64, 32);
    write_text(&s, 0, 0, "sum", 0xffffff, 0);
    g_assert_true(screen_sum(s.surface, &(ScreenRegion){ 0 }, &one));
    ((uint32_t *)surface_row(s.surface, 31))[63] = 1;
    g_assert_true(screen_sum(s.surface, &(ScreenRegion){ 0 }, &two));
    g_assert_cmpuint(one, !=, two);
    g_assert_true(screen_sum(s.surface, &(ScreenRegion){ 0, 0, 64, 31 }, &part));
    ((uint32_t *)surface_row(s.surface, 31))[63] = 0xff000000; /* no colour's bits */
    g_assert_true(screen_sum(s.surface, &(ScreenRegion){ 0, 0, 64, 32 }, &two));
    g_assert_cmpuint(one, ==, two);
    static const ScreenRegion wrong[] = { { 1, 0, 64, 1 },        { 0, 32, 1, 1 },
                                          { -1, 0, 2, 1 },        { 0, 0, 1, 0 },
                                          { INT32_MAX, 0, 2, 2 }, { 0, 0, INT32_MAX, INT32_MAX } };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_assert_false(screen_sum(s.surface, &wrong[i], &two));
    }
    close_screen(&s);
}

/* ---- waiting ---- */

static void on_end(void *opaque, unsigned id, Console *c, FontSet *font G_GNUC_UNUSED, ScreenEnd end)
{
    Screen *s = opaque;
    g_assert_cmpint(end == SCREEN_GONE, ==, c == NULL);
    s->ends++;
    s->id = id;
    s->end = end;
}

static unsigned wait_for(Screen *s, ScreenWish wish)
{
    wish.timeout_ms = wish.timeout_ms ? wish.timeout_ms : 1000000;
    wish.font = wish.text ? font_set_new(s->tm->m, NULL, &error_abort_slot) : NULL;
    unsigned before = s->ends, id = screen_wait(s->console, &wish, on_end, s, &error_abort_slot);
    g_assert_cmpuint(id, !=, 0);
    g_assert_cmpuint(s->ends, ==, before); /* never from within */
    return id;
}

static void await_end(Screen *s, ScreenEnd end)
{
    unsigned before = s->ends;
    while (s->ends == before) {
        loop_turn(s->tm->loop, true);
    }
    g_assert_cmpint(s->end, ==, end);
}

static void test_wait(void)
{
    Screen s;
    uint64_t sum;
    open_screen(&s, 320, 64);
    g_assert_false(console_watched(s.console));
    wait_for(&s, (ScreenWish){ .text = "login:" });
    g_assert_true(console_watched(s.console));
    write_text(&s, 0, 0, "log", 0xffffff, 0);
    for (unsigned i = 0; i < 20; i++) {
        loop_turn(s.tm->loop, false);
    }
    g_assert_cmpuint(s.ends, ==, 0);
    write_text(&s, 3, 0, "in: ", 0x123456, 0xabcdef);
    await_end(&s, SCREEN_SEEN);
    g_assert_false(console_watched(s.console)); /* nobody is left */
    s.text = "a text mode's login: ";
    wait_for(&s, (ScreenWish){ .text = "mode's login:" });
    await_end(&s, SCREEN_SEEN);
    s.text = NULL;
    screen_sum(s.surface, &(ScreenRegion){ 8, 0, 8, 16 }, &sum);
    put(&s, 1, 0, 'O', 0, 0xffffff);
    wait_for(&s, (ScreenWish){ .has_sum = true, .sum = sum, .region = { 8, 0, 8, 16 } });
    write_text(&s, 1, 0, "o", 0xffffff, 0);
    await_end(&s, SCREEN_SEEN);
    wait_for(&s, (ScreenWish){ .text = "never", .timeout_ms = 30 });
    await_end(&s, SCREEN_TIMEOUT);
    wait_for(&s, (ScreenWish){ .text = "never" });
    console_free(g_steal_pointer(&s.console));
    g_assert_cmpint(s.end, ==, SCREEN_GONE);
    close_screen(&s);
}

static void test_still(void)
{
    Screen s;
    open_screen(&s, 64, 32);
    wait_for(&s, (ScreenWish){ .unchanged_ms = 100 });
    for (unsigned i = 0; i < 5; i++) { /* it changes, and the guest's time passes */
        unsigned before = s.ends;
        write_text(&s, 0, 0, i % 2 ? "a" : "b", 0xffffff, 0);
        console_refresh(s.console);
        while (loop_turn(s.tm->loop, false)) {
        }
        tm_step(s.tm, INT64_C(60000000));
        g_assert_cmpuint(s.ends, ==, before);
    }
    tm_step(s.tm, INT64_C(60000000));
    while (!s.ends) {
        loop_turn(s.tm->loop, true);
    }
    g_assert_cmpint(s.end, ==, SCREEN_SEEN);
    close_screen(&s);
}

static void test_bounds(void)
{
    Screen s;
    unsigned ids[SCREEN_WAITERS];
    g_autoptr(Error) err = NULL;
    open_screen(&s, 64, 32);
    for (unsigned i = 0; i < SCREEN_WAITERS; i++) {
        ids[i] = wait_for(&s, (ScreenWish){ .unchanged_ms = 100000 });
    }
    g_assert_cmpuint(screen_wait(s.console, &(ScreenWish){ .unchanged_ms = 1 }, on_end, &s, &err), ==, 0);
    g_assert_nonnull(strstr(error_text(err), "are waiting"));
    g_assert_true(screen_wait_cancel(ids[3]));
    g_assert_false(screen_wait_cancel(ids[3]));
    wait_for(&s, (ScreenWish){ .unchanged_ms = 1000000 });
    screen_wait_forget();
    g_assert_false(console_watched(s.console));
    g_assert_cmpuint(s.ends, ==, 0);
    close_screen(&s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/screen/font", test_font);
    g_test_add_func("/screen/pixels", test_pixels);
    g_test_add_func("/screen/psf", test_psf);
    g_test_add_func("/screen/sum", test_sum);
    g_test_add_func("/screen/wait", test_wait);
    g_test_add_func("/screen/still", test_still);
    g_test_add_func("/screen/bounds", test_bounds);
    return g_test_run();
}
