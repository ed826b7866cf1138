/* SPDX-License-Identifier: MIT
 * tests/device/test-i8042.c - keyboard controller, keyboard and mouse, by sections of the PS/2 reference.
 * Threads: main.
 */
#include "rhea/hw/ps2.h"
#include "tests/device/isatest.h"

enum { DATA = 0x60, CMD = 0x64, A20_PIN = 40 };
#define MS INT64_C(1000000)

typedef struct Kbc {
    IsaTest *t;
    Device *dev;
} Kbc;

static Kbc setup(const char *throttle)
{
    Kbc k = { .t = isatest_new() };
    k.dev = isatest_add(k.t, &i8042_type, "kbd-throttle", throttle);
    tm_connect(k.t->tm, k.dev, I8042_LINE_A20, A20_PIN);
    device_reset(k.dev, RESET_COLD); /* drives the line now connected */
    return k;
}

static void cmd(Kbc *k, uint8_t val)
{
    outb(k->t, CMD, val);
}

static void data(Kbc *k, uint8_t val)
{
    outb(k->t, DATA, val);
}

static uint8_t status(Kbc *k)
{
    return inb(k->t, CMD);
}

/* The bytes that wait, with their source: "fa aa" from the keyboard, "+fa" from the mouse. */
static void expect(Kbc *k, const char *want)
{
    g_autoptr(GString) got = g_string_new(NULL);
    for (unsigned i = 0; i < 100 && status(k) & 1; i++) {
        bool aux = status(k) & 0x20;
        g_string_append_printf(got, "%s%s%02x", got->len ? " " : "", aux ? "+" : "", inb(k->t, DATA));
    }
    g_assert_cmpstr(got->str, ==, want);
}

static void key(Kbc *k, const char *name, bool down)
{
    int code = input_key_find(name);
    g_assert_cmpint(code, >=, 0);
    g_assert_cmpstr(input_key_name(code), ==, name);
    domain_lock(k->t->tm->m->platform);
    ps2_kbd_key(i8042_keyboard(k->dev), code, down);
    domain_unlock(k->t->tm->m->platform);
}

static void press(Kbc *k, const char *name)
{
    key(k, name, true);
    key(k, name, false);
}

static void mouse_cmd(Kbc *k, uint8_t val)
{
    cmd(k, 0xd4);
    data(k, val);
}

static void move(Kbc *k, int dx, int dy, int dz)
{
    domain_lock(k->t->tm->m->platform);
    ps2_mouse_move(i8042_mouse(k->dev), dx, dy, dz);
    domain_unlock(k->t->tm->m->platform);
}

static void buttons(Kbc *k, unsigned mask)
{
    domain_lock(k->t->tm->m->platform);
    ps2_mouse_buttons(i8042_mouse(k->dev), mask);
    domain_unlock(k->t->tm->m->platform);
}

static void command_byte(Kbc *k, uint8_t val)
{
    cmd(k, 0x60);
    data(k, val);
}

static void test_controller(void)
{
    Kbc k = setup("off");
    g_assert_cmphex(status(&k), ==, 0x10);
    cmd(&k, 0xaa);
    g_assert_cmphex(status(&k), ==, 0x1d); /* system flag, command, output buffer full */
    expect(&k, "55");
    cmd(&k, 0xab);
    expect(&k, "00");
    cmd(&k, 0xa9);
    expect(&k, "00");
    cmd(&k, 0xa4);
    expect(&k, "f1");
    command_byte(&k, 0x47);
    cmd(&k, 0x20);
    expect(&k, "47");
    g_assert_cmphex(status(&k) & 0x08, ==, 0x00 | 0x08);
    cmd(&k, 0x6a);
    data(&k, 0x99);
    g_assert_cmphex(status(&k) & 0x08, ==, 0);
    cmd(&k, 0x2a);
    expect(&k, "99");
    cmd(&k, 0xad);
    cmd(&k, 0xa7);
    cmd(&k, 0x20);
    expect(&k, "77");
    cmd(&k, 0xae);
    cmd(&k, 0xa8);
    cmd(&k, 0x20);
    expect(&k, "47");
    cmd(&k, 0xd2);
    data(&k, 0x12);
    expect(&k, "12");
    cmd(&k, 0xd3);
    data(&k, 0x34);
    expect(&k, "+34");
    g_assert_cmphex(inb(k.t, DATA), ==, 0x34); /* keeps its value */
    cmd(&k, 0xc0);
    expect(&k, "c0");
    isatest_free(k.t);
}

static void test_outputs(void)
{
    Kbc k = setup("off");
    TestMachine *tm = k.t->tm;
    g_assert_true(tm->level[A20_PIN]);
    cmd(&k, 0xd0);
    expect(&k, "03");
    cmd(&k, 0xd1);
    data(&k, 0x01);
    g_assert_false(tm->level[A20_PIN]);
    cmd(&k, 0xdf);
    g_assert_true(tm->level[A20_PIN]);
    cmd(&k, 0xdd);
    g_assert_false(tm->level[A20_PIN]);
    cmd(&k, 0xff); /* pulses nothing */
    tm_turns(tm);
    g_assert_false(tm->level[A20_PIN]);
    cmd(&k, 0xfe); /* reset: the controller's own state tells */
    tm_turns(tm);
    g_assert_true(tm->level[A20_PIN]);
    cmd(&k, 0xdd);
    cmd(&k, 0xd1);
    data(&k, 0x00);
    tm_turns(tm);
    g_assert_true(tm->level[A20_PIN]);
    isatest_free(k.t);
}

static void test_interrupts(void)
{
    Kbc k = setup("off");
    TestMachine *tm = k.t->tm;
    command_byte(&k, 0x03);
    press(&k, "a");
    g_assert_true(tm->level[1]);
    g_assert_cmpuint(tm->rises[1], ==, 1);
    g_assert_cmphex(inb(k.t, DATA), ==, 0x1c);
    g_assert_cmpuint(tm->rises[1], ==, 2); /* the line fell between the bytes */
    expect(&k, "f0 1c");
    g_assert_false(tm->level[1]);
    mouse_cmd(&k, 0xf4);
    g_assert_true(tm->level[12]);
    g_assert_false(tm->level[1]);
    expect(&k, "+fa");
    g_assert_false(tm->level[12]);
    command_byte(&k, 0x00);
    unsigned rises = tm->rises[1];
    press(&k, "a");
    g_assert_cmphex(status(&k) & 1, ==, 1);
    g_assert_cmpuint(tm->rises[1], ==, rises);
    isatest_free(k.t);

    k = setup("on"); /* one byte a millisecond */
    command_byte(&k, 0x03);
    press(&k, "a");
    expect(&k, "1c");
    g_assert_cmphex(inb(k.t, DATA), ==, 0x1c);
    tm_step(k.t->tm, MS);
    expect(&k, "f0");
    tm_step(k.t->tm, MS);
    expect(&k, "1c");
    isatest_free(k.t);
}

static void test_scan_codes(void)
{
    Kbc k = setup("off");
    command_byte(&k, 0x43); /* translated: set 1 for the host */
    press(&k, "a");
    press(&k, "up");
    expect(&k, "1e 9e e0 48 e0 c8");
    press(&k, "print");
    expect(&k, "e0 2a e0 37 e0 b7 e0 aa");
    press(&k, "pause");
    expect(&k, "e1 1d 45 e1 9d c5");
    press(&k, "f7"); /* 83h, the code that does not fit seven bits */
    expect(&k, "41 c1");
    key(&k, "alt", true);
    press(&k, "print");
    key(&k, "alt", false);
    expect(&k, "38 54 d4 b8");
    command_byte(&k, 0x03); /* raw: set 2 */
    press(&k, "a");
    press(&k, "delete");
    expect(&k, "1c f0 1c e0 71 e0 f0 71");
    data(&k, 0xf0);
    data(&k, 0x01);
    expect(&k, "fa fa");
    press(&k, "a");
    expect(&k, "1e 9e");
    data(&k, 0xf0);
    data(&k, 0x00);
    expect(&k, "fa fa 01");
    data(&k, 0xf0);
    data(&k, 0x03);
    expect(&k, "fa fa");
    press(&k, "a"); /* make only, typematic */
    press(&k, "shift"); /* make and break */
    press(&k, "delete");
    expect(&k, "1c 12 f0 12 64");
    data(&k, 0xf8); /* all keys make and break */
    expect(&k, "fa");
    press(&k, "a");
    expect(&k, "1c f0 1c");
    data(&k, 0xfd); /* one key make only */
    data(&k, 0x1c);
    data(&k, 0xf4);
    expect(&k, "fa fa fa");
    press(&k, "a");
    press(&k, "b");
    expect(&k, "1c 32 f0 32");
    isatest_free(k.t);
}

/* Every key has different codes, and the translation of set 2 gives set 1. Some keys are other keyboards'. */
static void test_every_key(void)
{
    Kbc k = setup("off");
    GHashTable *seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (unsigned code = 0; code < INPUT_KEYS; code++) {
        char *text[2];
        for (unsigned set1 = 0; set1 < 2; set1++) {
            command_byte(&k, set1 ? 0x03 : 0x43);
            data(&k, 0xf0);
            data(&k, set1 ? 1 : 2);
            expect(&k, "fa fa");
            press(&k, input_key_name(code));
            GString *s = g_string_new(NULL);
            while (status(&k) & 1) {
                g_string_append_printf(s, "%02x ", inb(k.t, DATA));
            }
            text[set1] = g_string_free(s, FALSE);
        }
        g_assert_cmpstr(text[0], ==, text[1]);
        g_free(text[1]);
        if (code >= INPUT_KEY_LF && code <= INPUT_KEY_FIND) {
            g_assert_cmpstr(text[0], ==, "");
            g_free(text[0]);
            continue;
        }
        g_assert_cmpstr(text[0], !=, "");
        g_assert_true(g_hash_table_add(seen, text[0]));
    }
    g_hash_table_destroy(seen);
    isatest_free(k.t);
}

static void test_keyboard_commands(void)
{
    Kbc k = setup("off");
    command_byte(&k, 0x03);
    data(&k, 0xff);
    expect(&k, "fa aa");
    data(&k, 0xf2);
    expect(&k, "fa ab 83");
    data(&k, 0xee);
    expect(&k, "ee");
    data(&k, 0xed);
    data(&k, 0x05);
    expect(&k, "fa fa");
    g_assert_cmpuint(ps2_kbd_leds(i8042_keyboard(k.dev)), ==, 5);
    data(&k, 0x20);
    expect(&k, "fe");
    data(&k, 0xfe);
    expect(&k, "fa"); /* the last byte that was not a resend */
    data(&k, 0xf5);
    expect(&k, "fa");
    press(&k, "a");
    expect(&k, "");
    data(&k, 0xf4);
    expect(&k, "fa");
    /* Typematic: 250 ms, 30 per second. */
    data(&k, 0xf3);
    data(&k, 0x00);
    expect(&k, "fa fa");
    key(&k, "b", true);
    key(&k, "b", true);
    expect(&k, "32");
    tm_step(k.t->tm, 249 * MS);
    expect(&k, "");
    tm_step(k.t->tm, 2 * MS);
    expect(&k, "32");
    tm_step(k.t->tm, 100 * MS);
    expect(&k, "32 32 32");
    key(&k, "b", false);
    expect(&k, "f0 32");
    tm_step(k.t->tm, 1000 * MS);
    expect(&k, "");
    /* Overrun: the buffer ends with 00h, then starts afresh. */
    for (unsigned i = 0; i < 20; i++) {
        press(&k, "c");
    }
    expect(&k, "21 f0 21 21 f0 21 21 f0 21 21 f0 21 21 f0 21 21 00");
    press(&k, "c");
    expect(&k, "21 f0 21");
    isatest_free(k.t);
}

/* As viewers reach them: one packet for what belongs together, LEDs, how much may come. */
static void test_input(void)
{
    Kbc k = setup("off");
    Machine *m = k.t->tm->m;
    UiEvent pointer[] = { { .kind = INPUT_KIND_REL, .code = 0, .value = 5 },
                          { .kind = INPUT_KIND_REL, .code = 1, .value = 3 },
                          { .kind = INPUT_KIND_BUTTON, .code = POINTER_MIDDLE, .down = true } };
    command_byte(&k, 0x03);
    g_assert_cmpuint(input_key_room(m, NULL), ==, 5);
    input_send_key(m, NULL, INPUT_KEY_CTRL_R, true);
    input_send_key(m, NULL, INPUT_KEY_CTRL_R, true);
    g_assert_cmpuint(input_key_room(m, NULL), ==, 4); /* the first byte is in the controller */
    input_release_all(m, NULL);
    expect(&k, "e0 14 e0 f0 14");
    data(&k, 0xed);
    g_assert_cmpuint(input_key_room(m, NULL), ==, 0);
    data(&k, 0x04);
    expect(&k, "fa fa");
    g_assert_cmpuint(input_leds(m), ==, 4);
    data(&k, 0xf5);
    expect(&k, "fa");
    g_assert_cmpuint(input_key_room(m, NULL), ==, 0); /* it is off: what comes is lost */
    mouse_cmd(&k, 0xf4);
    expect(&k, "+fa");
    g_assert_true(input_send(m, NULL, pointer, G_N_ELEMENTS(pointer)));
    expect(&k, "+2c +05 +fd");
    g_assert_false(input_pointer_is_absolute(m, NULL));
    tm_step(k.t->tm, 100 * MS);
    input_release_all(m, NULL);
    expect(&k, "+08 +00 +00");
    tm_step(k.t->tm, 100 * MS);
    UiEvent click[] = { { .kind = INPUT_KIND_BUTTON, .code = POINTER_LEFT, .down = true },
                        { .kind = INPUT_KIND_BUTTON, .code = POINTER_LEFT } };
    input_send(m, NULL, click, G_N_ELEMENTS(click)); /* shorter than a sample */
    expect(&k, "+09 +00 +00 +08 +00 +00");
    tm_reset(k.t->tm);
    g_assert_cmpuint(input_leds(m), ==, 0);
    isatest_free(k.t);
}

static void test_mouse(void)
{
    Kbc k = setup("off");
    command_byte(&k, 0x03);
    move(&k, 1, 1, 0);
    expect(&k, ""); /* not enabled */
    mouse_cmd(&k, 0xff);
    expect(&k, "+fa +aa +00");
    mouse_cmd(&k, 0xf2);
    expect(&k, "+fa +00");
    mouse_cmd(&k, 0xe8);
    mouse_cmd(&k, 0x03);
    mouse_cmd(&k, 0xe7);
    mouse_cmd(&k, 0xf4);
    mouse_cmd(&k, 0xe9);
    expect(&k, "+fa +fa +fa +fa +fa +30 +03 +64");
    mouse_cmd(&k, 0xe6);
    expect(&k, "+fa");
    move(&k, 5, 3, 0); /* right, down */
    expect(&k, "+28 +05 +fd");
    move(&k, -300, 0, 0); /* more than a packet holds: two of them */
    tm_step(k.t->tm, 30 * MS);
    expect(&k, "+18 +01 +00 +18 +d3 +00");
    buttons(&k, 1);
    tm_step(k.t->tm, 10 * MS);
    expect(&k, "+09 +00 +00");
    move(&k, 1, 0, 0); /* within one sample period: one packet */
    move(&k, 1, 0, 0);
    move(&k, 1, 0, 0);
    tm_step(k.t->tm, 30 * MS);
    expect(&k, "+09 +01 +00 +09 +02 +00");
    mouse_cmd(&k, 0xf0); /* remote */
    move(&k, 7, 0, 0);
    tm_step(k.t->tm, 30 * MS);
    expect(&k, "+fa");
    mouse_cmd(&k, 0xeb);
    expect(&k, "+fa +09 +07 +00");
    mouse_cmd(&k, 0xee); /* wrap */
    mouse_cmd(&k, 0xf2);
    expect(&k, "+fa +f2");
    mouse_cmd(&k, 0xec);
    mouse_cmd(&k, 0xe1);
    expect(&k, "+fa +fe");
    isatest_free(k.t);
}

static void set_rate(Kbc *k, uint8_t rate)
{
    mouse_cmd(k, 0xf3);
    mouse_cmd(k, rate);
    expect(k, "+fa +fa");
}

static void test_wheel(void)
{
    Kbc k = setup("off");
    command_byte(&k, 0x03);
    set_rate(&k, 200);
    set_rate(&k, 100);
    set_rate(&k, 80);
    mouse_cmd(&k, 0xf2);
    expect(&k, "+fa +03");
    mouse_cmd(&k, 0xf4);
    expect(&k, "+fa");
    move(&k, 0, 0, -1);
    expect(&k, "+08 +00 +00 +ff");
    set_rate(&k, 200);
    set_rate(&k, 200);
    set_rate(&k, 80);
    mouse_cmd(&k, 0xf2);
    expect(&k, "+fa +04");
    tm_step(k.t->tm, 30 * MS);
    buttons(&k, 0x18);
    move(&k, 0, 0, 1);
    tm_step(k.t->tm, 30 * MS);
    expect(&k, "+08 +00 +00 +30 +08 +00 +00 +31");
    mouse_cmd(&k, 0xf3);
    mouse_cmd(&k, 0);
    expect(&k, "+fa +fc");
    isatest_free(k.t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8042/controller", test_controller);
    g_test_add_func("/i8042/outputs", test_outputs);
    g_test_add_func("/i8042/interrupts", test_interrupts);
    g_test_add_func("/ps2-kbd/scan-codes", test_scan_codes);
    g_test_add_func("/ps2-kbd/every-key", test_every_key);
    g_test_add_func("/ps2-kbd/commands", test_keyboard_commands);
    g_test_add_func("/i8042/input", test_input);
    g_test_add_func("/ps2-mouse/packets", test_mouse);
    g_test_add_func("/ps2-mouse/wheel", test_wheel);
    return g_test_run();
}
