/* SPDX-License-Identifier: MIT
 * ui/strokes.c - keys that are typed one after another. Threads: main loop.
 * Tests: tests/unit/ui/test-curses-keys.c, tests/unit/ui/test-input.c, tests/func/curses.py.
 */
#include "rhea/ui/strokes.h"

/* Modifiers that go down or up, or a key that does both. */
typedef struct Step {
    uint8_t key; /* InputKey */
    enum { STEP_DOWN, STEP_UP, STEP_PRESS } what;
} Step;

static const struct {
    unsigned mod;
    InputKey key;
} modifiers[] = { { STROKE_CTRL, INPUT_KEY_CTRL },
                  { STROKE_ALT, INPUT_KEY_ALT },
                  { STROKE_SHIFT, INPUT_KEY_SHIFT },
                  { STROKE_ALTGR, INPUT_KEY_ALT_R } };

void strokes_init(Strokes *s)
{
    *s = (Strokes){ .steps = g_array_new(FALSE, FALSE, sizeof(Step)) };
}

void strokes_clear(Strokes *s)
{
    g_array_set_size(s->steps, 0);
    s->next = 0;
}

void strokes_fini(Strokes *s)
{
    g_clear_pointer(&s->steps, g_array_unref);
    s->next = 0;
}

static void add_step(Strokes *s, InputKey key, int what)
{
    Step step = { .key = (uint8_t)key, .what = what };
    g_array_append_val(s->steps, step);
}

void strokes_add(Strokes *s, InputKey key, unsigned mods)
{
    for (size_t i = 0; i < G_N_ELEMENTS(modifiers); i++) {
        if (mods & modifiers[i].mod) {
            add_step(s, modifiers[i].key, STEP_DOWN);
        }
    }
    add_step(s, key, STEP_PRESS);
    for (size_t i = G_N_ELEMENTS(modifiers); i > 0; i--) {
        if (mods & modifiers[i - 1].mod) {
            add_step(s, modifiers[i - 1].key, STEP_UP);
        }
    }
}

guint strokes_waiting(const Strokes *s)
{
    return s->steps->len - s->next;
}

bool strokes_send(Strokes *s, Machine *m, Console *from, bool one)
{
    bool pressed = false;
    while (strokes_waiting(s) && !(one && pressed)) {
        Step step = g_array_index(s->steps, Step, s->next);
        UiEvent e[2] = { { .kind = INPUT_KIND_KEY, .code = step.key, .down = step.what != STEP_UP },
                         { .kind = INPUT_KIND_KEY, .code = step.key } };
        unsigned n = step.what == STEP_PRESS ? 2 : 1;
        if (input_key_room(m, from) < n) {
            break;
        }
        input_send(m, from, e, n);
        s->next++;
        pressed = step.what == STEP_PRESS;
    }
    bool all = !strokes_waiting(s);
    if (all) {
        strokes_clear(s);
    }
    return all;
}
