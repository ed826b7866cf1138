/* SPDX-License-Identifier: MIT
 * tests/unit/ui/test-input.c - ui/input.c and ui/keys.c: who gets an event, releases, LEDs, the list of mice.
 * Threads: main.
 */
#include "rhea/ui/input.h"
#include "tests/lib/testmachine.h"

#include <string.h>

/* A device of the test's: what it got, as text. */
typedef struct Sink {
    GString *got;
    InputHandler *h;
    unsigned room;
} Sink;

static void sink_event(void *opaque, const UiEvent *e)
{
    Sink *s = opaque;
    switch (e->kind) {
    case INPUT_KIND_KEY:
        g_string_append_printf(s->got, "%c%s ", e->down ? '+' : '-', input_key_name(e->code));
        break;
    case INPUT_KIND_BUTTON: g_string_append_printf(s->got, "%cb%u ", e->down ? '+' : '-', e->code); break;
    case INPUT_KIND_REL: g_string_append_printf(s->got, "r%c%d ", 'x' + e->code, e->value); break;
    default: g_string_append_printf(s->got, "a%c%d ", 'x' + e->code, e->value); break;
    }
}

static void sink_sync(void *opaque)
{
    g_string_append_c(((Sink *)opaque)->got, '.');
}

static unsigned sink_room(void *opaque)
{
    return ((Sink *)opaque)->room;
}

static const InputHandlerOps keyboard = { .name = "keyboard",
                                          .kinds = 1 << INPUT_KIND_KEY,
                                          .event = sink_event,
                                          .sync = sink_sync,
                                          .room = sink_room };
static const InputHandlerOps endless = {
    .name = "endless", .kinds = 1 << INPUT_KIND_KEY, .event = sink_event, .sync = sink_sync
};
static const InputHandlerOps mouse = { .name = "mouse",
                                       .kinds = 1 << INPUT_KIND_REL | 1 << INPUT_KIND_BUTTON,
                                       .event = sink_event,
                                       .sync = sink_sync };
static const InputHandlerOps tablet = { .name = "tablet",
                                        .kinds = 1 << INPUT_KIND_ABS | 1 << INPUT_KIND_BUTTON,
                                        .event = sink_event };

static void sink_open(Sink *s, TestMachine *tm, const InputHandlerOps *ops)
{
    *s = (Sink){ .got = g_string_new(NULL), .room = 3 };
    s->h = input_handler_new(tm->m, NULL, ops, s);
}

static void sink_close(Sink *s)
{
    input_handler_free(s->h);
    g_string_free(s->got, TRUE);
}

#define GOT(sink, text)                                                                                      \
    do {                                                                                                     \
        g_assert_cmpstr((sink).got->str, ==, text);                                                          \
        g_string_truncate((sink).got, 0);                                                                    \
    } while (0)

static UiEvent button(PointerButton b, bool down)
{
    return (UiEvent){ .kind = INPUT_KIND_BUTTON, .code = b, .down = down };
}

static UiEvent move(InputKind kind, unsigned axis, int value)
{
    return (UiEvent){ .kind = kind, .code = axis, .value = value };
}

/* What a console is: here nothing but a name. */
static Console *head(unsigned n)
{
    static char names[4];
    return (Console *)&names[n];
}

static void test_routes(void)
{
    TestMachine *tm = tm_new(1 << 20);
    Machine *m = tm->m;
    Sink k, k2, p, t;
    g_assert_false(input_send_key(m, NULL, INPUT_KEY_A, true));
    g_assert_false(input_has(m, NULL, INPUT_KIND_KEY));
    g_assert_cmpuint(input_key_room(m, NULL), ==, 0);
    sink_open(&k, tm, &keyboard);
    sink_open(&p, tm, &mouse);
    g_assert_true(input_has(m, NULL, INPUT_KIND_REL) && !input_has(m, NULL, INPUT_KIND_ABS));
    UiEvent all[] = { { .kind = INPUT_KIND_KEY, .code = INPUT_KEY_B, .down = true },
                      move(INPUT_KIND_REL, 0, 5),
                      move(INPUT_KIND_REL, 1, -3),
                      button(POINTER_LEFT, true) };
    g_assert_true(input_send(m, NULL, all, G_N_ELEMENTS(all)));
    GOT(k, "+b .");
    GOT(p, "rx5 ry-3 +b0 .");
    g_assert_false(input_send(m, NULL, &(UiEvent){ .kind = INPUT_KIND_ABS, .value = 7 }, 1));
    GOT(p, "");

    sink_open(&t, tm, &tablet); /* takes the buttons, but the release goes to the mouse */
    UiEvent some[] = { move(INPUT_KIND_ABS, 1, 77), button(POINTER_LEFT, false), button(POINTER_RIGHT, true),
                       button(POINTER_RIGHT, false) };
    g_assert_true(input_send(m, NULL, some, G_N_ELEMENTS(some)));
    GOT(p, "-b0 .");
    GOT(t, "ay77 +b2 -b2 ");
    g_assert_true(input_pointer_is_absolute(m, NULL));
    input_handler_activate(t.h, false); /* its driver ends */
    g_assert_false(input_pointer_is_absolute(m, NULL) || input_has(m, NULL, INPUT_KIND_ABS));
    g_assert_true(input_is_there(m, INPUT_KIND_ABS));
    input_send(m, NULL, &some[2], 1);
    GOT(p, "+b2 .");

    sink_open(&k2, tm, &endless); /* one that comes later has precedence, until it is no longer used */
    g_assert_cmpuint(input_key_room(m, NULL), ==, UINT_MAX);
    input_send_key(m, NULL, INPUT_KEY_B, false);
    input_send_key(m, NULL, INPUT_KEY_C, true);
    input_handler_activate(k.h, true);
    g_assert_cmpuint(input_key_room(m, NULL), ==, 3);
    input_send_key(m, NULL, INPUT_KEY_C, false);
    input_send_key(m, NULL, INPUT_KEY_D, true);
    GOT(k, "-b .+d .");
    GOT(k2, "+c .-c .");
    sink_close(&k);
    g_assert_true(input_send_key(m, NULL, INPUT_KEY_D, false));
    GOT(k2, "-d .");
    sink_close(&k2);
    sink_close(&p);
    sink_close(&t);
    g_assert_false(input_send_key(m, NULL, INPUT_KEY_A, true));
    tm_free(tm);
}

/* Handlers of one console only. */
static void test_bound(void)
{
    TestMachine *tm = tm_new(1 << 20);
    Sink k, one;
    sink_open(&k, tm, &keyboard);
    sink_open(&one, tm, &endless);
    input_handler_bind(one.h, head(1));
    input_send_key(tm->m, NULL, INPUT_KEY_A, true);
    input_send_key(tm->m, head(0), INPUT_KEY_B, true);
    input_send_key(tm->m, head(1), INPUT_KEY_C, true);
    GOT(k, "+a .+b .");
    GOT(one, "+c .");
    input_handler_activate(one.h, false);
    input_send_key(tm->m, head(1), INPUT_KEY_D, true);
    GOT(k, "+d .");
    sink_close(&k);
    g_assert_false(input_send_key(tm->m, NULL, INPUT_KEY_A, true)); /* it is no other console's */
    sink_close(&one);
    tm_free(tm);
}

static void test_release(void)
{
    TestMachine *tm = tm_new(1 << 20);
    Sink k, p;
    sink_open(&k, tm, &keyboard);
    sink_open(&p, tm, &mouse);
    input_send_key(tm->m, head(0), INPUT_KEY_CTRL, true);
    input_send_key(tm->m, head(0), INPUT_KEY_CTRL, true); /* a repetition */
    input_send_key(tm->m, head(0), INPUT_KEY_ALT, true);
    input_send_key(tm->m, head(1), INPUT_KEY_ALT, true);
    UiEvent buttons[] = { button(POINTER_MIDDLE, true), button(POINTER_WHEEL_UP, true) };
    input_send(tm->m, head(0), buttons, G_N_ELEMENTS(buttons));
    GOT(k, "+ctrl .+ctrl .+alt .+alt .");
    GOT(p, "+b1 +b3 .");
    input_release_all(tm->m, head(2));
    input_release_all(tm->m, NULL);
    GOT(k, "");
    input_release_all(tm->m, head(0)); /* Alt is held elsewhere; the wheel is not held */
    GOT(k, "-ctrl .");
    GOT(p, "-b1 .");
    input_release_all(tm->m, head(0));
    input_release_all(tm->m, head(1));
    GOT(k, "-alt .");
    GOT(p, "");
    sink_close(&k);
    sink_close(&p);
    input_release_all(tm->m, head(0));
    tm_free(tm);
}

static unsigned told;

static void count_change(InputWatcher *w)
{
    told++;
    if (told == 100) {
        input_unwatch(w);
    }
}

static void test_watch(void)
{
    TestMachine *tm = tm_new(1 << 20);
    InputWatcher a = { count_change }, b = { count_change };
    Sink k, k2, p, t;
    input_unwatch(&a); /* it was not */
    input_watch(tm->m, &a);
    sink_open(&k, tm, &keyboard);
    sink_open(&p, tm, &mouse);
    tm_turns(tm);
    g_assert_cmpuint(told, ==, 0);
    input_handler_leds(k.h, 5);
    g_assert_cmpuint(told, ==, 0);
    tm_turns(tm);
    g_assert_cmpuint(told, ==, 1);
    g_assert_cmpuint(input_leds(tm->m), ==, 5);
    input_handler_leds(k.h, 5);
    sink_open(&t, tm, &tablet);
    tm_turns(tm);
    g_assert_cmpuint(told, ==, 2);
    sink_open(&k2, tm, &keyboard); /* whose LEDs are off */
    sink_close(&t);
    tm_turns(tm);
    g_assert_cmpuint(told, ==, 3);
    g_assert_cmpuint(input_leds(tm->m), ==, 0);
    input_watch(tm->m, &b);
    told = 99;
    input_handler_leds(k2.h, 1);
    tm_turns(tm); /* the first one leaves meanwhile */
    g_assert_cmpuint(told, ==, 101);
    input_handler_leds(k2.h, 2);
    input_unwatch(&b);
    sink_close(&k);
    sink_close(&k2);
    sink_close(&p); /* with a task under way */
    tm_turns(tm);
    g_assert_cmpuint(told, ==, 101);
    tm_free(tm);
}

static void expect_mice(TestMachine *tm, const char *want)
{
    g_autoptr(GArray) mice = input_mice(tm->m);
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < mice->len; i++) {
        const InputMouse *m = &g_array_index(mice, InputMouse, i);
        g_string_append_printf(text, "%s%u %s%s ", m->current ? "*" : "", m->index, m->name,
                               m->absolute ? "!" : "");
    }
    g_assert_cmpstr(text->str, ==, want);
}

static void test_mice(void)
{
    TestMachine *tm = tm_new(1 << 20);
    Error *err = NULL;
    Sink k, p, p2, t;
    expect_mice(tm, "");
    sink_open(&k, tm, &keyboard);
    sink_open(&p, tm, &mouse);
    sink_open(&t, tm, &tablet);
    sink_open(&p2, tm, &mouse);
    input_handler_activate(p2.h, false);
    expect_mice(tm, "*1 tablet! 0 mouse 2 mouse ");
    g_assert_true(input_mouse_set(tm->m, 0, &error_abort_slot));
    expect_mice(tm, "*0 mouse 1 tablet! 2 mouse ");
    g_assert_false(input_mouse_set(tm->m, 2, &err));
    g_assert_nonnull(strstr(error_text(err), "not used by the guest"));
    g_clear_pointer(&err, error_free);
    g_assert_false(input_mouse_set(tm->m, 3, &err));
    g_assert_nonnull(strstr(error_text(err), "mouse 3 was not found"));
    error_free(err);
    sink_close(&p);
    expect_mice(tm, "*1 tablet! 2 mouse ");
    sink_close(&k);
    sink_close(&t);
    sink_close(&p2);
    tm_free(tm);
}

static void test_keys(void)
{
    for (unsigned k = 0; k < INPUT_KEYS; k++) {
        g_assert_cmpint(input_key_find(input_key_name(k)), ==, k);
        g_assert_cmpint(input_key_find_evdev(input_key_evdev(k)), ==, input_key_evdev(k) ? (int)k : -1);
    }
    g_assert_cmpint(input_key_find("hyper"), ==, -1);
    g_assert_cmpint(input_key_find_evdev(0), ==, -1);
    g_assert_cmpint(input_key_find_code(0x1e), ==, INPUT_KEY_A);
    g_assert_cmpint(input_key_find_code(0xc8), ==, INPUT_KEY_UP);
    g_assert_cmpint(input_key_find_code(0xc6), ==, INPUT_KEY_PAUSE);
    g_assert_cmpint(input_key_find_code(0), ==, -1);
    g_assert_cmpint(input_key_find_code(0x11e), ==, -1);
    g_assert_null(input_key_name(INPUT_KEYS));
    g_assert_cmpuint(input_key_usage(INPUT_KEY_A), ==, 4);
}

/* Two machines of one loop do not hear of each other. */
static void test_two_machines(void)
{
    TestMachine *a = tm_new(1 << 20), *b = tm_new(1 << 20);
    Sink ka, kb;
    sink_open(&ka, a, &keyboard);
    sink_open(&kb, b, &keyboard);
    input_send_key(a->m, NULL, INPUT_KEY_A, true);
    input_send_key(b->m, NULL, INPUT_KEY_B, true);
    GOT(ka, "+a .");
    GOT(kb, "+b .");
    sink_close(&ka);
    sink_close(&kb);
    tm_free(b);
    tm_free(a);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/ui/input/routes", test_routes);
    g_test_add_func("/ui/input/bound", test_bound);
    g_test_add_func("/ui/input/release", test_release);
    g_test_add_func("/ui/input/watch", test_watch);
    g_test_add_func("/ui/input/mice", test_mice);
    g_test_add_func("/ui/input/keys", test_keys);
    g_test_add_func("/ui/input/two-machines", test_two_machines);
    return g_test_run();
}
