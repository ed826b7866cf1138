/* SPDX-License-Identifier: MIT
 * ui/vnc_input.c - what VNC clients do to the guest: keys, the pointer, sizes, power.
 * Threads: main loop.
 */
#include "vnc_internal.h"
#include "rhea/system/machine.h"

#include <string.h>

/* Ctrl-Alt-1 to 9 show another console, unless display= named one. True: it was one of these. */
static bool chose_console(VncClient *c, InputKey key, bool down)
{
    VncServer *s = c->server;
    bool with = (c->keys[INPUT_KEY_CTRL] || c->keys[INPUT_KEY_CTRL_R]) && c->keys[INPUT_KEY_ALT];
    Console *to = key >= INPUT_KEY_1 && key <= INPUT_KEY_9 && with && !s->opts.display
                      ? console_by_index(s->m, key - INPUT_KEY_1)
                      : NULL;
    if (!to || !down) {
        return to != NULL;
    }
    if (s->console.console) { /* it has seen the modifiers go down */
        input_release_all(s->m, s->console.console);
    }
    s->chosen = to;
    vnc_look(s);
    return true;
}

static void send_key(VncClient *c, InputKey key, bool down)
{
    if (chose_console(c, key, down)) {
        return;
    }
    c->keys[key] = down;
    input_send_key(c->server->m, c->server->console.console, key, down);
}

static void do_pointer(VncClient *c, const VncEvent *e)
{
    static const uint8_t order[] = { POINTER_LEFT,       POINTER_MIDDLE,     POINTER_RIGHT,
                                     POINTER_WHEEL_UP,   POINTER_WHEEL_DOWN, POINTER_WHEEL_LEFT,
                                     POINTER_WHEEL_RIGHT };
    VncServer *s = c->server;
    Console *con = s->console.console;
    UiEvent out[2 + G_N_ELEMENTS(order)];
    unsigned n = 0;
    if (input_pointer_is_absolute(s->m, con)) {
        int w = MAX(surface_width(s->picture) - 1, 1), h = MAX(surface_height(s->picture) - 1, 1);
        int x = CLAMP(e->x, 0, w), y = CLAMP(e->y, 0, h);
        out[n++] =
            (UiEvent){ .kind = INPUT_KIND_ABS, .code = 0, .value = (int)((int64_t)x * INPUT_ABS_MAX / w) };
        out[n++] =
            (UiEvent){ .kind = INPUT_KIND_ABS, .code = 1, .value = (int)((int64_t)y * INPUT_ABS_MAX / h) };
    } else {
        /* A client that was told so sends movements around 7fffh, others places. */
        int dx = c->relative ? e->x - 0x7fff : c->has_last ? e->x - c->last_x : 0;
        int dy = c->relative ? e->y - 0x7fff : c->has_last ? e->y - c->last_y : 0;
        if (dx || dy) {
            out[n++] = (UiEvent){ .kind = INPUT_KIND_REL, .code = 0, .value = dx };
            out[n++] = (UiEvent){ .kind = INPUT_KIND_REL, .code = 1, .value = dy };
        }
    }
    for (unsigned b = 0; b < G_N_ELEMENTS(order); b++) {
        if ((e->code ^ c->buttons) >> b & 1) {
            out[n++] = (UiEvent){ .kind = INPUT_KIND_BUTTON, .code = order[b], .down = e->code >> b & 1 };
        }
    }
    c->buttons = e->code;
    c->last_x = e->x;
    c->last_y = e->y;
    c->has_last = true;
    input_send(s->m, con, out, n);
}

static void do_power(VncServer *s, unsigned code)
{
    switch (code) { /* XVP */
    case 2: machine_request_powerdown(s->m); break;
    case 3: /* there is no reboot but by the button and a reset */
    case 4: machine_request_reset(s->m, SHUTDOWN_HOST_RESET); break;
    }
}

/* True: it was a key, and others wait for their time. */
static bool do_event(VncClient *c, const VncEvent *e)
{
    InputKey key;
    int found;
    switch (e->kind) {
    case VNC_KEYSYM:
        if (key_layout_keysym(c->server->layout, e->code, &key, NULL)) {
            send_key(c, key, e->down);
            return true;
        }
        break;
    case VNC_SCANCODE:
        found = input_key_find_code(e->code & 0xff);
        if (found >= 0) {
            send_key(c, (InputKey)found, e->down);
            return true;
        }
        break;
    case VNC_POINTER: do_pointer(c, e); break;
    case VNC_SIZE:
        if (c->server->console.console) {
            console_wish(c->server->console.console, &(ConsoleWish){ .width = e->x, .height = e->y });
        }
        break;
    case VNC_POWER: do_power(c->server, e->code); break;
    }
    return false;
}

static bool next_event(VncClient *c, VncEvent *e)
{
    pthread_mutex_lock(&c->lock);
    bool there = c->n_events > 0;
    if (there) {
        *e = c->events[c->head];
        c->head = (c->head + 1) % VNC_EVENTS;
        c->n_events--;
        pthread_cond_signal(&c->room);
    }
    pthread_mutex_unlock(&c->lock);
    return there;
}

void vnc_do_events(VncClient *c)
{
    VncEvent e;
    for (unsigned i = 0; i < VNC_EVENTS && !timer_armed(&c->next_key) && next_event(c, &e); i++) {
        if (do_event(c, &e) && c->server->opts.key_delay_ms) {
            timer_arm(&c->next_key,
                      clock_now(&clock_host_monotonic) + c->server->opts.key_delay_ms * INT64_C(1000000));
        }
    }
}

void vnc_key_time_over(void *opaque)
{
    VncClient *c = opaque;
    loop_post(c->next_key.loop, &c->notify);
}

void vnc_input_changed(InputWatcher *w)
{
    VncServer *s = (VncServer *)((char *)w - offsetof(VncServer, input));
    for (guint i = 0; i < s->clients->len; i++) {
        VncClient *c = s->clients->pdata[i];
        pthread_mutex_lock(&c->lock);
        c->leds = input_leds(s->m);
        c->absolute = input_pointer_is_absolute(s->m, s->console.console);
        pthread_mutex_unlock(&c->lock);
        c->has_last = false;
        vnc_client_wake(c);
    }
}

void vnc_release_input(VncClient *c)
{
    static const uint8_t order[] = { POINTER_LEFT, POINTER_MIDDLE, POINTER_RIGHT };
    UiEvent ups[INPUT_KEYS]; /* there are fewer buttons */
    Machine *m = c->server->m;
    unsigned n = 0;
    for (unsigned k = 0; k < INPUT_KEYS; k++) {
        if (c->keys[k]) {
            ups[n++] = (UiEvent){ .kind = INPUT_KIND_KEY, .code = k };
        }
    }
    input_send(m, c->server->console.console, ups, n);
    memset(c->keys, 0, sizeof(c->keys));
    n = 0;
    for (unsigned b = 0; b < G_N_ELEMENTS(order); b++) {
        if (c->buttons >> b & 1) {
            ups[n++] = (UiEvent){ .kind = INPUT_KIND_BUTTON, .code = order[b] };
        }
    }
    input_send(m, c->server->console.console, ups, n);
    c->buttons = 0;
}
