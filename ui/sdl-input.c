/* SPDX-License-Identifier: MIT
 * ui/sdl-input.c - keys and pointers of windows.
 *
 * Models: QEMU 7.2's window keys: the modifiers (Ctrl-Alt) and f full screen, g grab, u the guest's own
 *          size, + and - scale, 1 to 9 other consoles' windows. A pointer that tells movements is grabbed
 *          by a click; one that tells places needs none. SDL's scan codes are USB usages.
 * Threads: main loop. Tests: tests/func/sdl.py. */
#include "sdl.h"

#include <math.h>

/* ---- the pointer ---- */

void sdl_show_pointer(SdlDisplay *d, SdlWindow *w)
{
    bool absolute = input_pointer_is_absolute(d->m, w->listener.console);
    bool ours = d->o.has_show_cursor && d->o.show_cursor;
    bool show = ours || (absolute ? w->cursor != NULL : d->grab != w);
    sdl.SetCursor(absolute && w->cursor ? w->cursor : sdl.GetDefaultCursor());
    sdl.ShowCursor(show || sdl.GetMouseFocus() != w->win ? SDL_ENABLE : SDL_DISABLE);
}

void sdl_set_grab(SdlDisplay *d, SdlWindow *w)
{
    SdlWindow *was = d->grab;
    if (was == w) {
        return;
    }
    d->grab = w;
    if (was) {
        sdl.SetRelativeMouseMode(SDL_FALSE);
        sdl.SetWindowKeyboardGrab(was->win, SDL_FALSE);
        sdl_title(was);
        sdl_show_pointer(d, was);
    }
    if (w) {
        bool absolute = input_pointer_is_absolute(d->m, w->listener.console);
        sdl.SetRelativeMouseMode(absolute ? SDL_FALSE : SDL_TRUE);
        sdl.SetWindowKeyboardGrab(w->win, SDL_TRUE);
        sdl_title(w);
        sdl_show_pointer(d, w);
    }
}

void sdl_pointer_changed(SdlDisplay *d)
{
    if (d->grab && input_pointer_is_absolute(d->m, d->grab->listener.console)) {
        sdl_set_grab(d, NULL);
    }
    for (guint i = 0; i < d->windows->len; i++) {
        sdl_show_pointer(d, d->windows->pdata[i]);
    }
}

static void send(SdlWindow *w, const UiEvent *e, unsigned n)
{
    input_send(w->d->m, w->listener.console, e, n);
}

static int32_t place(int at, int size)
{
    return size > 1 ? (int32_t)((int64_t)CLAMP(at, 0, size - 1) * INPUT_ABS_MAX / (size - 1)) : 0;
}

static void send_place(SdlWindow *w, int x, int y)
{
    if (w->shown) {
        UiEvent e[2] = {
            { .kind = INPUT_KIND_ABS, .code = 0, .value = place(x, surface_width(w->shown)) },
            { .kind = INPUT_KIND_ABS, .code = 1, .value = place(y, surface_height(w->shown)) },
        };
        send(w, e, 2);
    }
}

static void moved(SdlDisplay *d, SdlWindow *w, const SDL_MouseMotionEvent *m)
{
    if (input_pointer_is_absolute(d->m, w->listener.console)) {
        send_place(w, m->x, m->y);
    } else if (d->grab == w) {
        UiEvent e[2] = { { .kind = INPUT_KIND_REL, .code = 0, .value = m->xrel },
                         { .kind = INPUT_KIND_REL, .code = 1, .value = m->yrel } };
        send(w, e, 2);
    }
}

static void clicked(SdlDisplay *d, SdlWindow *w, const SDL_MouseButtonEvent *b)
{
    static const int8_t buttons[] = {
        [SDL_BUTTON_LEFT] = POINTER_LEFT,   [SDL_BUTTON_MIDDLE] = POINTER_MIDDLE,
        [SDL_BUTTON_RIGHT] = POINTER_RIGHT, [SDL_BUTTON_X1] = POINTER_SIDE,
        [SDL_BUTTON_X2] = POINTER_EXTRA,
    };
    bool down = b->type == SDL_MOUSEBUTTONDOWN;
    bool absolute = input_pointer_is_absolute(d->m, w->listener.console);
    if (b->button < SDL_BUTTON_LEFT || b->button >= G_N_ELEMENTS(buttons)) {
        return;
    }
    if (!absolute && d->grab != w) { /* this click is for the window: the guest's pointer is elsewhere */
        if (down && b->button == SDL_BUTTON_LEFT && input_is_there(d->m, INPUT_KIND_REL)) {
            sdl_set_grab(d, w);
        }
        return;
    }
    if (absolute) {
        send_place(w, b->x, b->y);
    }
    send(w, &(UiEvent){ .kind = INPUT_KIND_BUTTON, .code = (uint8_t)buttons[b->button], .down = down }, 1);
}

/* Whole notches; the rest is kept. */
static void turn(SdlWindow *w, double *fraction, double by, PointerButton less, PointerButton more)
{
    *fraction += CLAMP(by, -64.0, 64.0);
    for (; fabs(*fraction) >= 1.0; *fraction -= *fraction > 0 ? 1.0 : -1.0) {
        uint8_t button = *fraction > 0 ? more : less;
        for (int down = 1; down >= 0; down--) {
            send(w, &(UiEvent){ .kind = INPUT_KIND_BUTTON, .code = button, .down = down }, 1);
        }
    }
}

static void wheel(SdlDisplay *d, SdlWindow *w, const SDL_MouseWheelEvent *e)
{
    if (d->grab == w || input_pointer_is_absolute(d->m, w->listener.console)) {
        turn(w, &w->fraction[1], e->preciseY, POINTER_WHEEL_DOWN, POINTER_WHEEL_UP);
        turn(w, &w->fraction[0], e->preciseX, POINTER_WHEEL_LEFT, POINTER_WHEEL_RIGHT);
    }
}

/* ---- keys ---- */

static int find_key(SDL_Scancode code)
{
    static const struct {
        SDL_Scancode code;
        InputKey key;
    } more[] = {
        /* of SDL's own numbers: they are on another page of usages */
        { SDL_SCANCODE_AUDIONEXT, INPUT_KEY_AUDIONEXT },
        { SDL_SCANCODE_AUDIOPREV, INPUT_KEY_AUDIOPREV },
        { SDL_SCANCODE_AUDIOSTOP, INPUT_KEY_AUDIOSTOP },
        { SDL_SCANCODE_AUDIOPLAY, INPUT_KEY_AUDIOPLAY },
        { SDL_SCANCODE_AUDIOMUTE, INPUT_KEY_AUDIOMUTE },
        { SDL_SCANCODE_MEDIASELECT, INPUT_KEY_MEDIASELECT },
        { SDL_SCANCODE_MAIL, INPUT_KEY_MAIL },
        { SDL_SCANCODE_CALCULATOR, INPUT_KEY_CALCULATOR },
        { SDL_SCANCODE_COMPUTER, INPUT_KEY_COMPUTER },
        { SDL_SCANCODE_AC_SEARCH, INPUT_KEY_AC_SEARCH },
        { SDL_SCANCODE_AC_HOME, INPUT_KEY_AC_HOME },
        { SDL_SCANCODE_AC_BACK, INPUT_KEY_AC_BACK },
        { SDL_SCANCODE_AC_FORWARD, INPUT_KEY_AC_FORWARD },
        { SDL_SCANCODE_AC_STOP, INPUT_KEY_AC_STOP },
        { SDL_SCANCODE_AC_REFRESH, INPUT_KEY_AC_REFRESH },
        { SDL_SCANCODE_AC_BOOKMARKS, INPUT_KEY_AC_BOOKMARKS },
        { SDL_SCANCODE_SLEEP, INPUT_KEY_SLEEP },
        { SDL_SCANCODE_NONUSHASH, INPUT_KEY_BACKSLASH },
        { SDL_SCANCODE_KP_EQUALS, INPUT_KEY_EQUAL },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(more); i++) {
        if (more[i].code == code) {
            return more[i].key;
        }
    }
    for (unsigned k = 0; code && k < INPUT_KEYS; k++) {
        if (input_key_usage(k) == (unsigned)code) {
            return (int)k;
        }
    }
    return -1;
}

/* As they were when the key was pressed: several events are asked for at once. */
static bool modifiers_are_down(const SdlDisplay *d, unsigned state)
{
    static const unsigned need[] = {
        [HOT_KEY_MOD_LCTRL_LALT] = KMOD_LCTRL | KMOD_LALT,
        [HOT_KEY_MOD_LSHIFT_LCTRL_LALT] = KMOD_LSHIFT | KMOD_LCTRL | KMOD_LALT,
        [HOT_KEY_MOD_RCTRL] = KMOD_RCTRL,
    };
    unsigned mask = need[d->o.u.sdl.grab_mod];
    return (state & mask) == mask;
}

/* The last window that can be seen stays: without it there would be none to press keys in. */
static void show_other(SdlDisplay *d, unsigned i)
{
    if (i < d->windows->len) {
        SdlWindow *w = d->windows->pdata[i];
        if (w->hidden || !sdl_is_last(w)) {
            sdl_show(w, w->hidden);
        }
    }
}

/* True: it was the window's. */
static bool window_key(SdlDisplay *d, SdlWindow *w, SDL_Scancode code)
{
    switch (code) {
    case SDL_SCANCODE_F: sdl_toggle_full(w); return true;
    case SDL_SCANCODE_G: sdl_set_grab(d, d->grab == w ? NULL : w); return true;
    case SDL_SCANCODE_U: sdl_native_size(w); return true;
    case SDL_SCANCODE_EQUALS:
    case SDL_SCANCODE_KP_PLUS: sdl_scale(w, 125); return true;
    case SDL_SCANCODE_MINUS:
    case SDL_SCANCODE_KP_MINUS: sdl_scale(w, 80); return true;
    default: break;
    }
    if (code >= SDL_SCANCODE_1 && code <= SDL_SCANCODE_9) {
        show_other(d, code - SDL_SCANCODE_1);
        return true;
    }
    return false;
}

static void pressed(SdlDisplay *d, SdlWindow *w, const SDL_KeyboardEvent *e)
{
    bool down = e->type == SDL_KEYDOWN;
    int key = find_key(e->keysym.scancode);
    if (down && !e->repeat && modifiers_are_down(d, e->keysym.mod) && window_key(d, w, e->keysym.scancode)) {
        input_release_all(d->m, w->listener.console); /* the guest saw the modifiers go down */
        return;
    }
    if (key >= 0 && !(down && e->repeat)) { /* keyboards repeat by themselves */
        input_send_key(d->m, w->listener.console, (InputKey)key, down);
    }
}

void sdl_input_event(SdlDisplay *d, SdlWindow *w, const SDL_Event *e)
{
    switch (e->type) {
    case SDL_KEYDOWN:
    case SDL_KEYUP: pressed(d, w, &e->key); break;
    case SDL_MOUSEMOTION: moved(d, w, &e->motion); break;
    case SDL_MOUSEBUTTONDOWN:
    case SDL_MOUSEBUTTONUP: clicked(d, w, &e->button); break;
    case SDL_MOUSEWHEEL: wheel(d, w, &e->wheel); break;
    default: break;
    }
}

void sdl_input_forget(SdlWindow *w)
{
    if (w->listener.console) {
        input_release_all(w->d->m, w->listener.console);
    }
    if (w->d->grab == w) {
        sdl_set_grab(w->d, NULL);
    }
}
