/* SPDX-License-Identifier: MIT
 * tests/unit/ui/test-curses-keys.c - what is typed on terminals becomes keys (ui/curses-keys.c), which go
 * down and up in order (ui/strokes.c). Threads: main.
 */
#define NCURSES_NOMACROS 1
#include "config.h"
#include "ui/curses_internal.h"
#include "rhea/util/error.h"
#include "tests/lib/testmachine.h"

#include <ncursesw/curses.h>

static KeyLayout *us, *de, *ru;

static void is(CursesStroke s, InputKey key, unsigned mods)
{
    g_assert_true(s.known);
    g_assert_cmpstr(input_key_name(s.key), ==, input_key_name(key));
    g_assert_cmphex(s.mods, ==, mods);
}

static void test_characters(void)
{
    is(curses_stroke_char(us, 'a', false), INPUT_KEY_A, 0);
    is(curses_stroke_char(us, 'A', false), INPUT_KEY_A, STROKE_SHIFT);
    is(curses_stroke_char(us, '@', true), INPUT_KEY_2, STROKE_SHIFT | STROKE_ALT);
    is(curses_stroke_char(de, '@', false), INPUT_KEY_Q, STROKE_ALTGR);
    is(curses_stroke_char(de, 'z', false), INPUT_KEY_Y, 0);
    is(curses_stroke_char(de, 0xfc, false), INPUT_KEY_BRACKET_LEFT, 0);
    CursesStroke s = curses_stroke_char(us, 0xfc, true); /* for text consoles it is something all the same */
    g_assert_false(s.known);
    g_assert_cmphex(s.ch, ==, 0xfc);
    g_assert_cmphex(s.mods, ==, STROKE_ALT);
    g_assert_cmphex(curses_stroke_char(us, '1', true).ch, ==, '1');
}

static void test_controls(void)
{
    is(curses_stroke_char(us, 0, false), INPUT_KEY_SPC, STROKE_CTRL);
    is(curses_stroke_char(us, 3, false), INPUT_KEY_C, STROKE_CTRL);
    is(curses_stroke_char(us, 10, false), INPUT_KEY_J, STROKE_CTRL);
    is(curses_stroke_char(us, 26, true), INPUT_KEY_Z, STROKE_CTRL | STROKE_ALT);
    is(curses_stroke_char(de, 26, false), INPUT_KEY_Y, STROKE_CTRL);
    is(curses_stroke_char(ru, 3, false), INPUT_KEY_C, STROKE_CTRL);
    is(curses_stroke_char(us, '\r', false), INPUT_KEY_RET, 0);
    is(curses_stroke_char(us, '\t', false), INPUT_KEY_TAB, 0);
    is(curses_stroke_char(us, 27, false), INPUT_KEY_ESC, 0);
    is(curses_stroke_char(us, 28, false), INPUT_KEY_BACKSLASH, STROKE_CTRL);
    is(curses_stroke_char(us, 31, false), INPUT_KEY_MINUS, STROKE_CTRL | STROKE_SHIFT);
    is(curses_stroke_char(us, 127, false), INPUT_KEY_BACKSPACE, 0);
    for (uint32_t c = 0; c < 32; c++) {
        CursesStroke s = curses_stroke_char(us, c, false);
        g_assert_true(s.known);
        g_assert_cmphex(s.ch, ==, 0);
    }
}

static void test_keys(void)
{
    is(curses_stroke_key(KEY_UP, NULL, false), INPUT_KEY_UP, 0);
    is(curses_stroke_key(KEY_PPAGE, NULL, true), INPUT_KEY_PGUP, STROKE_ALT);
    is(curses_stroke_key(KEY_BTAB, NULL, false), INPUT_KEY_TAB, STROKE_SHIFT);
    is(curses_stroke_key(KEY_F(1), NULL, false), INPUT_KEY_F1, 0);
    is(curses_stroke_key(KEY_F(10), NULL, false), INPUT_KEY_F10, 0);
    is(curses_stroke_key(KEY_F(11), NULL, false), INPUT_KEY_F11, 0);
    is(curses_stroke_key(KEY_F(12), NULL, false), INPUT_KEY_F12, 0);
    is(curses_stroke_key(KEY_F(13), NULL, false), INPUT_KEY_F1, STROKE_SHIFT);
    is(curses_stroke_key(KEY_F(36), NULL, false), INPUT_KEY_F12, STROKE_CTRL);
    is(curses_stroke_key(KEY_F(63), NULL, false), INPUT_KEY_F3, STROKE_SHIFT | STROKE_ALT);
    is(curses_stroke_key(KEY_MAX + 1, "kUP5", false), INPUT_KEY_UP, STROKE_CTRL);
    is(curses_stroke_key(KEY_MAX + 2, "kDC", false), INPUT_KEY_DELETE, STROKE_SHIFT);
    is(curses_stroke_key(KEY_MAX + 3, "kHOM8", false), INPUT_KEY_HOME,
       STROKE_SHIFT | STROKE_ALT | STROKE_CTRL);
    static const char *const names[] = { NULL, "", "k", "kUP9", "kUP1", "kUP55", "kDNx", "kxyz" };
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_assert_false(curses_stroke_key(KEY_MAX + 1, names[i], false).known);
    }
    for (int code = -70000; code < 70000; code++) { /* whatever the library says */
        CursesStroke s = curses_stroke_key(code, NULL, false);
        g_assert_true(!s.known || s.key < INPUT_KEYS);
    }
}

typedef struct Keyboard {
    GString *got;
    unsigned room;
} Keyboard;

static void on_event(void *opaque, const UiEvent *e)
{
    Keyboard *k = opaque;
    k->room--;
    g_string_append_printf(k->got, "%s%s ", e->down ? "+" : "-", input_key_name((InputKey)e->code));
}

static unsigned room(void *opaque)
{
    return ((Keyboard *)opaque)->room;
}

static void test_order(void)
{
    static const InputHandlerOps ops = { .kinds = 1 << INPUT_KIND_KEY, .event = on_event, .room = room };
    TestMachine *tm = tm_new(0);
    Keyboard k = { g_string_new(NULL), 3 };
    InputHandler *h = input_handler_new(tm->m, NULL, &ops, &k);
    Strokes s;
    strokes_init(&s);
    strokes_add(&s, INPUT_KEY_C, STROKE_CTRL | STROKE_ALT | STROKE_SHIFT);
    strokes_add(&s, INPUT_KEY_Q, STROKE_ALTGR);
    g_assert_cmpuint(strokes_waiting(&s), ==, 10);
    g_assert_false(strokes_send(&s, tm->m, NULL, false)); /* there is no room for the key */
    g_assert_cmpstr(k.got->str, ==, "+ctrl +alt +shift ");
    k.room = 1;
    g_assert_false(strokes_send(&s, tm->m, NULL, false));
    g_assert_cmpstr(k.got->str, ==, "+ctrl +alt +shift ");
    k.room = 100;
    g_assert_false(strokes_send(&s, tm->m, NULL, true));
    g_assert_true(strokes_send(&s, tm->m, NULL, false));
    g_assert_cmpstr(k.got->str, ==,
                    "+ctrl +alt +shift +c -c -shift -alt -ctrl +alt_r +q -q -alt_r ");
    g_assert_cmpuint(strokes_waiting(&s), ==, 0);
    strokes_fini(&s);
    input_handler_free(h);
    g_string_free(k.got, TRUE);
    tm_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!HAVE_XKBCOMMON) {
        return g_test_run(); /* there are no layouts */
    }
    us = key_layout_new("en-us", &error_abort_slot);
    de = key_layout_new("de", &error_abort_slot);
    ru = key_layout_new("ru", &error_abort_slot);
    g_test_add_func("/curses-keys/characters", test_characters);
    g_test_add_func("/curses-keys/controls", test_controls);
    g_test_add_func("/curses-keys/keys", test_keys);
    g_test_add_func("/curses-keys/order", test_order);
    int status = g_test_run();
    key_layout_free(us);
    key_layout_free(de);
    key_layout_free(ru);
    return status;
}
