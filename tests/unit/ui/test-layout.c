/* SPDX-License-Identifier: MIT
 * tests/unit/ui/test-layout.c - ui/layout.c: which keys give a character in each layout.
 * Threads: main.
 */
#include "config.h"
#include "rhea/ui/layout.h"

#include <string.h>

static void expect_char(const KeyLayout *l, uint32_t unicode, const char *key, unsigned mods)
{
    InputKey got;
    unsigned got_mods;
    g_assert_true(key_layout_char(l, unicode, &got, &got_mods));
    g_assert_cmpstr(input_key_name(got), ==, key);
    g_assert_cmpuint(got_mods, ==, mods);
}

static void test_us(void)
{
    InputKey key;
    KeyLayout *l = key_layout_new(NULL, &error_abort_slot);
    expect_char(l, 'a', "a", 0);
    expect_char(l, 'A', "a", LAYOUT_SHIFT);
    expect_char(l, '1', "1", 0);
    expect_char(l, '!', "1", LAYOUT_SHIFT);
    expect_char(l, '\n', "ret", 0);
    expect_char(l, '\t', "tab", 0);
    expect_char(l, ' ', "spc", 0);
    g_assert_false(key_layout_char(l, 0xe4, &key, NULL));
    g_assert_false(key_layout_char(l, 0, &key, NULL));
    for (uint32_t c = ' '; c < 0x7f; c++) {
        g_assert_true(key_layout_char(l, c, &key, NULL));
    }
    g_assert_true(key_layout_keysym(l, 0xff1b, &key, NULL));
    g_assert_cmpuint(key, ==, INPUT_KEY_ESC);
    g_assert_true(
        key_layout_keysym(l, 0xffb5, &key, NULL)); /* the number pad's 5, with Num Lock or without */
    g_assert_false(key_layout_keysym(l, 0x12345, &key, NULL));
    key_layout_free(l);
}

static void test_others(void)
{
    KeyLayout *de = key_layout_new("de", &error_abort_slot), *fr = key_layout_new("fr", &error_abort_slot);
    expect_char(de, 'z', "y", 0);
    expect_char(de, '@', "q", LAYOUT_ALTGR);
    expect_char(de, 0xe4, "apostrophe", 0);
    expect_char(de, '{', "7", LAYOUT_ALTGR);
    expect_char(fr, 'a', "q", 0);
    expect_char(fr, '1', "1", LAYOUT_SHIFT);
    key_layout_free(de);
    key_layout_free(fr);
    for (const char *const *n = key_layout_names(); *n; n++) {
        InputKey key;
        KeyLayout *l = key_layout_new(*n, &error_abort_slot);
        g_assert_true(key_layout_keysym(l, 0xff0d, &key, NULL) && key == INPUT_KEY_RET);
        key_layout_free(l);
    }
    key_layout_free(NULL);
}

static void test_wrong(void)
{
    Error *err = NULL;
    g_assert_null(key_layout_new("en-uk", &err));
    g_assert_nonnull(strstr(error_text(err), "no keyboard layout 'en-uk'"));
    error_free(err);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    if (HAVE_XKBCOMMON) {
        g_test_add_func("/ui/layout/us", test_us);
        g_test_add_func("/ui/layout/others", test_others);
        g_test_add_func("/ui/layout/wrong", test_wrong);
    }
    return g_test_run();
}
