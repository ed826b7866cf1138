/* SPDX-License-Identifier: MIT
 * tests/unit/ui/test-vc.c - text consoles (ui/vc.c): bytes become pixels and text, keys
 * become bytes, and graphics cards come before them (ui/consoles.c). Threads: main.
 */
#include "rhea/backends/char.h"
#include "rhea/ui/font.h"
#include "rhea/ui/input.h"
#include "rhea/ui/screen.h"
#include "rhea/ui/vc.h"
#include "rhea/util/error.h"
#include "tests/lib/testmachine.h"

#include <string.h>

typedef struct Line { /* a program behind a terminal */
    TestMachine *tm;
    CharPort port;
    GString *got;
    Console *console;
} Line;

static void on_receive(void *opaque, const uint8_t *buf, size_t len)
{
    Line *l = opaque;
    g_string_append_len(l->got, (const char *)buf, (gssize)len);
}

static size_t on_room(void *opaque G_GNUC_UNUSED)
{
    return 4096;
}

static const CharHandler handler = { .room = on_room, .receive = on_receive };

static void open_line(Line *l, const char *options)
{
    *l = (Line){ .tm = tm_new(0), .got = g_string_new(NULL) };
    Chardev *c = chardev_new_option(l->tm->m, options, &error_abort_slot);
    chardev_connect(c, &l->port, &error_abort_slot);
    char_attach(&l->port, &handler, l, NULL);
    l->console = console_by_index(l->tm->m, 0);
    g_assert_nonnull(l->console);
}

static void close_line(Line *l)
{
    chardev_remove_all(l->tm->m);
    g_assert_null(console_by_index(l->tm->m, 0));
    tm_free(l->tm);
    g_string_free(l->got, TRUE);
}

static void say(Line *l, const char *text)
{
    g_assert_cmpuint(char_write(&l->port, (const uint8_t *)text, strlen(text)), ==, strlen(text));
    tm_turns(l->tm);
}

static void key(Line *l, InputKey k, bool down)
{
    g_assert_true(input_send_key(l->tm->m, l->console, k, down));
    tm_turns(l->tm);
}

static void press(Line *l, InputKey k)
{
    key(l, k, true);
    key(l, k, false);
}

static void got(Line *l, const char *want)
{
    g_assert_cmpstr(l->got->str, ==, want);
    g_string_truncate(l->got, 0);
}

static void test_shows(void)
{
    Line l;
    ConsoleText t;
    open_line(&l, "vc,id=term0,cols=20,rows=3");
    g_autofree char *label = console_label(l.console);
    g_assert_cmpstr(label, ==, "term0");
    g_assert_true(console_find(l.tm->m, "term0", 0, &error_abort_slot) == l.console);
    g_assert_false(console_is_graphic(l.console));
    say(&l, "\033[31mhello\033[0m\r\nworld \xc3\xa4");
    console_refresh(l.console);
    Surface *s = console_surface(l.console);
    g_assert_cmpint(surface_width(s), ==, 160);
    g_assert_cmpint(surface_height(s), ==, 48);
    FontSet *set = font_set_new(l.tm->m, NULL, &error_abort_slot);
    g_assert_true(screen_read_pixels(s, set, &t)); /* by another way than it was written */
    g_autofree char *one = screen_line(&t, 0), *two = screen_line(&t, 1);
    g_assert_cmpstr(one, ==, "hello");
    g_assert_true(g_str_has_prefix(two, "world \xc3\xa4"));
    g_free(t.cells);
    bool red = false;
    for (int i = 0; i < 40 * 16; i++) {
        red |= (((uint32_t *)surface_row(s, i / 40))[i % 40] & 0xffffff) == 0xaa0000;
    }
    g_assert_true(red);
    g_assert_true(console_text(l.console, &t));
    g_assert_cmpint(t.cursor_x, ==, 7);
    g_assert_cmpint(t.cursor_y, ==, 1);
    g_assert_cmpuint(t.cells[26], ==, 0xe4);
    g_assert_null(t.attrs);
    g_free(t.cells);
    say(&l, "\033[1;7;34;43mx\033[0;4;38;2;250;80;90my");
    g_assert_true(console_text_coloured(l.console, &t));
    g_assert_cmphex(t.attrs[0], ==, 1);
    g_assert_cmphex(t.attrs[6], ==, CELL_NORMAL);
    g_assert_cmphex(t.attrs[27], ==, 0xc3);
    g_assert_cmphex(t.attrs[28], ==, 9 | CELL_UNDERLINE);
    g_free(t.cells);
    g_free(t.attrs);
    font_set_free(set);
    surface_unref(s);
    close_line(&l);
}

static void test_keys(void)
{
    Line l;
    open_line(&l, "vc,id=term0");
    press(&l, INPUT_KEY_A);
    key(&l, INPUT_KEY_SHIFT, true);
    press(&l, INPUT_KEY_A);
    press(&l, INPUT_KEY_1);
    key(&l, INPUT_KEY_SHIFT, false);
    got(&l, "aA!");
    key(&l, INPUT_KEY_CTRL, true);
    press(&l, INPUT_KEY_C);
    press(&l, INPUT_KEY_PGUP); /* looks at the past */
    key(&l, INPUT_KEY_CTRL, false);
    got(&l, "\003");
    press(&l, INPUT_KEY_RET);
    press(&l, INPUT_KEY_BACKSPACE);
    press(&l, INPUT_KEY_UP);
    press(&l, INPUT_KEY_KP_5);
    got(&l, "\r\177\033[A5");
    press(&l, INPUT_KEY_CAPS_LOCK);
    press(&l, INPUT_KEY_B);
    press(&l, INPUT_KEY_CAPS_LOCK);
    press(&l, INPUT_KEY_B);
    got(&l, "Bb");
    key(&l, INPUT_KEY_X, true); /* held down */
    while (l.got->len < 3) {
        loop_turn(l.tm->loop, true);
    }
    key(&l, INPUT_KEY_X, false);
    g_string_truncate(l.got, 0);
    g_assert_true(vc_feed(l.console, "pasted", 6));
    tm_turns(l.tm);
    got(&l, "pasted");
    say(&l, "\033[6n");
    got(&l, "\033[1;1R");
    g_assert_true(input_pointer_is_absolute(l.tm->m, l.console)); /* no click of its window is the guest's */
    g_autoptr(GArray) mice = input_mice(l.tm->m);
    g_assert_cmpuint(mice->len, ==, 0);
    close_line(&l);
}

static bool card_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    *(Console **)(dev + 1) = console_new(dev->machine, dev, 0, NULL, dev);
    return true;
}

static void card_unrealize(Device *dev)
{
    console_free(*(Console **)(dev + 1));
}

static const DeviceType card_type = { .name = "card",
                                      .desc = "a test's",
                                      .size = sizeof(Device) + sizeof(Console *),
                                      .realize = card_realize,
                                      .unrealize = card_unrealize };

static void test_order(void)
{
    Line l;
    open_line(&l, "vc,id=term0,width=160,height=64");
    Device *dev = tm_device_type(l.tm, &card_type, NULL, NULL);
    g_assert_true(console_by_index(l.tm->m, 0) == *(Console **)(dev + 1));
    g_assert_true(console_by_index(l.tm->m, 1) == l.console);
    g_assert_true(console_find(l.tm->m, NULL, 0, &error_abort_slot) == *(Console **)(dev + 1));
    device_remove(dev);
    close_line(&l);
}

static void test_sizes(void)
{
    static const struct {
        const char *text, *why;
        int width, height;
    } rows[] = {
        { "vc", NULL, 640, 384 },
        { "vc:80Cx25C", NULL, 640, 400 },
        { "vc:800x600", NULL, 800, 592 },
        { "vc:100Cx64", NULL, 800, 64 },
        { "vc:8", "is not a width and a height", 0, 0 },
        { "vc:8x", "is not a width and a height", 0, 0 },
        { "vc:1Cx1C", "must be", 0, 0 },
        { "vc:600Cx24C", "must be", 0, 0 },
        { "vc,cols=4,width=64", "twice", 0, 0 },
    };
    TestMachine *tm = tm_new(0);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(Error) err = NULL;
        Chardev *c = chardev_new_legacy(tm->m, "line", rows[i].text, &err);
        g_test_message("%s: %s", rows[i].text, err ? error_text(err) : "");
        g_assert_cmpint(c == NULL, ==, rows[i].why != NULL);
        if (!c) {
            g_assert_nonnull(strstr(error_text(err), rows[i].why));
            continue;
        }
        Surface *s = console_surface(console_by_index(tm->m, 0));
        g_assert_cmpint(surface_width(s), ==, rows[i].width);
        g_assert_cmpint(surface_height(s), ==, rows[i].height);
        surface_unref(s);
        chardev_remove(tm->m, "line", &error_abort_slot);
    }
    tm_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vc_register(NULL);
    g_test_add_func("/vc/shows", test_shows);
    g_test_add_func("/vc/keys", test_keys);
    g_test_add_func("/vc/order", test_order);
    g_test_add_func("/vc/sizes", test_sizes);
    return g_test_run();
}
