/* SPDX-License-Identifier: MIT
 * ui/sdl.c - -display sdl: a window for each console.
 *
 * Models: QEMU 7.2's windows: sizes, titles, full screen, the keys of their own (sdl-input.c). Does not
 *          model: drawing by OpenGL.
 * Threads: main loop. SDL has no descriptor to wait for: its events are asked for a hundred times a
 *          second, a tenth of that while no window can be seen. A hidden window is no listener: nothing is
 *          drawn for it.
 * Tests: tests/func/sdl.py (under Xvfb). */
#include "sdl.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/library.h"
#include "rhea/util/log.h"

#include <string.h>

enum { ASK_MS = 10, ASK_HIDDEN_MS = 100, MS = 1000000, FIRST_WIDTH = 640, FIRST_HEIGHT = 480 };
enum { MIN_SIDE = 160, MAX_SIDE = 16384 }; /* of windows that are scaled */

SdlLib sdl;
static SdlDisplay *display; /* there is one machine in a process, with one set of windows */

static bool sdl_load(Error **errp)
{
    static const LibraryCall calls[] = {
#define CALL(name) { "SDL_" #name, offsetof(SdlLib, name), false },
        SDL_CALLS(CALL)
#undef CALL
    };
    static const Library lib = {
        .file = "libSDL2-2.0.so.0",
        .what = "display 'sdl' needs SDL 2",
        .member = "type",
        .cure = "install it (Debian: libsdl2-2.0-0), or use -display none or -vnc",
        .calls = calls,
        .n = G_N_ELEMENTS(calls),
    };
    return library_load(&lib, &sdl, errp);
}

/* ---- pictures ---- */

static uint32_t sdl_format(pixman_format_code_t f)
{
    switch (f) {
    case PIXMAN_x8r8g8b8:
    case PIXMAN_a8r8g8b8: return SDL_PIXELFORMAT_RGB888;
    case PIXMAN_x8b8g8r8: return SDL_PIXELFORMAT_BGR888;
    case PIXMAN_b8g8r8x8: return SDL_PIXELFORMAT_BGRX8888;
    case PIXMAN_r8g8b8x8: return SDL_PIXELFORMAT_RGBX8888;
    case PIXMAN_r5g6b5: return SDL_PIXELFORMAT_RGB565;
    case PIXMAN_x1r5g5b5: return SDL_PIXELFORMAT_RGB555;
    default: return 0;
    }
}

void sdl_redraw(SdlWindow *w)
{
    sdl.SetRenderDrawColor(w->ren, 0, 0, 0, 255);
    sdl.RenderClear(w->ren);
    if (w->tex) {
        sdl.RenderCopy(w->ren, w->tex, NULL, NULL);
    }
    sdl.RenderPresent(w->ren);
    w->changed = false;
}

static void drop_picture(SdlWindow *w)
{
    if (w->tex) {
        sdl.DestroyTexture(w->tex);
        w->tex = NULL;
    }
    surface_unref(w->copy);
    surface_unref(w->shown);
    w->copy = w->shown = NULL;
}

static void set_window_size(SdlWindow *w, int width, int height)
{
    int was_w, was_h;
    sdl.GetWindowSize(w->win, &was_w, &was_h);
    if (!w->full && (was_w != width || was_h != height)) {
        sdl.SetWindowSize(w->win, width, height);
    }
}

static void on_surface(ConsoleListener *l, Surface *s)
{
    SdlWindow *w = (SdlWindow *)l;
    drop_picture(w);
    if (s) {
        uint32_t format = sdl_format(pixman_image_get_format(s->image));
        w->shown = surface_ref(s);
        if (!format) {
            w->copy = surface_new(surface_width(s), surface_height(s), NULL);
            format = SDL_PIXELFORMAT_RGB888;
        }
        /* Without memory for the copy there is no picture. */
        bool drawable = w->copy || sdl_format(pixman_image_get_format(s->image));
        w->tex = drawable ? sdl.CreateTexture(w->ren, format, SDL_TEXTUREACCESS_STREAMING, surface_width(s),
                                              surface_height(s))
                          : NULL;
        if (!w->tex) {
            log_warn("window: a picture of %dx%d cannot be shown: %s", surface_width(s), surface_height(s),
                     sdl.GetError());
        }
        sdl.RenderSetLogicalSize(w->ren, surface_width(s), surface_height(s));
        if (!w->sized) {
            set_window_size(w, surface_width(s), surface_height(s));
        }
    }
    w->changed = true;
}

static void on_damage(ConsoleListener *l, int x, int y, int width, int height)
{
    SdlWindow *w = (SdlWindow *)l;
    Surface *from = w->shown;
    if (!w->tex || !from) {
        return;
    }
    if (w->copy) {
        pixman_image_composite(PIXMAN_OP_SRC, from->image, NULL, w->copy->image, (int16_t)x, (int16_t)y, 0, 0,
                               (int16_t)x, (int16_t)y, (uint16_t)width, (uint16_t)height);
        from = w->copy;
    }
    size_t pixel = PIXMAN_FORMAT_BPP(pixman_image_get_format(from->image)) / 8;
    SDL_Rect r = { x, y, width, height };
    sdl.UpdateTexture(w->tex, &r, surface_row(from, y) + (size_t)x * pixel, surface_stride(from));
    w->changed = true;
}

static void on_frame(ConsoleListener *l)
{
    SdlWindow *w = (SdlWindow *)l;
    if (w->changed) {
        sdl_redraw(w);
    }
}

static void on_cursor(ConsoleListener *l, const CursorShape *shape)
{
    SdlWindow *w = (SdlWindow *)l;
    if (w->cursor) {
        sdl.SetCursor(sdl.GetDefaultCursor());
        sdl.FreeCursor(w->cursor);
        w->cursor = NULL;
    }
    if (shape) {
        Surface *s = shape->image;
        SDL_Surface *pixels =
            sdl.CreateRGBSurfaceFrom(surface_data(s), surface_width(s), surface_height(s), 32,
                                     surface_stride(s), 0xff0000, 0xff00, 0xff, 0xff000000);
        w->cursor = pixels ? sdl.CreateColorCursor(pixels, shape->hot_x, shape->hot_y) : NULL;
        if (pixels) {
            sdl.FreeSurface(pixels);
        }
    }
    sdl_show_pointer(w->d, w);
}

/* ---- windows ---- */

void sdl_title(SdlWindow *w)
{
    Machine *m = w->d->m;
    static const char *const ends[] = {
        [HOT_KEY_MOD_LCTRL_LALT] = "Ctrl-Alt-G",
        [HOT_KEY_MOD_LSHIFT_LCTRL_LALT] = "Ctrl-Alt-Shift-G",
        [HOT_KEY_MOD_RCTRL] = "Right-Ctrl-G",
    };
    g_autoptr(GString) t = g_string_new("Rhea");
    if (m->name) {
        g_string_append_printf(t, " (%s)", m->name);
    }
    if (w->d->windows->len > 1) {
        g_autofree char *label = console_label(w->listener.console);
        g_string_append_printf(t, " - %s", label);
    }
    if (w->d->grab == w) {
        g_string_append_printf(t, " - press %s to release the pointer", ends[w->d->o.u.sdl.grab_mod]);
    } else if (!machine_running(m)) {
        g_string_append(t, " [stopped]");
    }
    sdl.SetWindowTitle(w->win, t->str);
}

void sdl_native_size(SdlWindow *w)
{
    w->sized = false;
    if (w->shown) {
        set_window_size(w, surface_width(w->shown), surface_height(w->shown));
    }
}

void sdl_scale(SdlWindow *w, int percent)
{
    int width, height;
    sdl.GetWindowSize(w->win, &width, &height);
    width = CLAMP(width * percent / 100, MIN_SIDE, MAX_SIDE);
    if (w->shown) {
        height = CLAMP(width * surface_height(w->shown) / surface_width(w->shown), 1, MAX_SIDE);
    }
    w->sized = true;
    set_window_size(w, width, height);
}

void sdl_toggle_full(SdlWindow *w)
{
    w->full = !w->full;
    w->had_grab = w->full ? w->d->grab == w : w->had_grab;
    sdl.SetWindowFullscreen(w->win, w->full ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0);
    if (w->full && !input_pointer_is_absolute(w->d->m, w->listener.console)) {
        sdl_set_grab(w->d, w);
    }
    if (!w->full) {
        sdl_native_size(w);
        sdl_set_grab(w->d, w->had_grab ? w->d->grab : NULL);
    }
    sdl_redraw(w);
}

/* Told or closed by the user: nothing is drawn while nobody sees it. */
void sdl_show(SdlWindow *w, bool shown)
{
    w->hidden = !shown;
    (shown ? sdl.ShowWindow : sdl.HideWindow)(w->win);
    console_listener_pause(&w->listener, !shown);
}

static void window_free(SdlWindow *w)
{
    if (w->win) {
        sdl_input_forget(w);
    }
    console_remove_listener(&w->listener);
    drop_picture(w);
    if (w->cursor) {
        sdl.FreeCursor(w->cursor);
    }
    if (w->ren) {
        sdl.DestroyRenderer(w->ren);
    }
    if (w->win) {
        sdl.DestroyWindow(w->win);
    }
    g_free(w);
}

static void on_gone(ConsoleListener *l)
{
    SdlWindow *w = (SdlWindow *)l;
    g_ptr_array_remove(w->d->windows, w);
    window_free(w);
}

static const ConsoleListenerOps listener_ops = {
    .surface = on_surface,
    .damage = on_damage,
    .frame = on_frame,
    .cursor = on_cursor,
    .gone = on_gone,
};

/* Only the first one is seen at the beginning; Ctrl-Alt-2 and so on show others. */
static bool window_new(SdlDisplay *d, Console *c, Error **errp)
{
    SdlWindow *w = g_new0(SdlWindow, 1);
    uint32_t flags = SDL_WINDOW_RESIZABLE | SDL_WINDOW_ALLOW_HIGHDPI;
    bool first = d->windows->len == 0;
    w->d = d;
    w->hidden = !first;
    w->full = first && d->o.has_full_screen && d->o.full_screen;
    w->listener =
        (ConsoleListener){ .ops = &listener_ops, .period_ms = CONSOLE_RATE_MS, .paused = w->hidden };
    flags |= w->full ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0;
    flags |= w->hidden ? SDL_WINDOW_HIDDEN : SDL_WINDOW_SHOWN;
    w->win = sdl.CreateWindow("Rhea", SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, FIRST_WIDTH,
                              FIRST_HEIGHT, flags);
    w->ren = w->win ? sdl.CreateRenderer(w->win, -1, 0) : NULL;
    if (!w->ren) {
        error_fail(errp, "failed", NULL, "use -display none or -vnc", "cannot open a window: %s",
                   sdl.GetError());
        window_free(w);
        return false;
    }
    w->id = sdl.GetWindowID(w->win);
    g_ptr_array_add(d->windows, w);
    console_add_listener(c, &w->listener);
    for (guint i = 0; i < d->windows->len; i++) {
        sdl_title(d->windows->pdata[i]); /* they say which one they are as soon as there are several */
    }
    sdl_redraw(w);
    return true;
}

static bool has_window(const SdlDisplay *d, const Console *c)
{
    for (guint i = 0; i < d->windows->len; i++) {
        const SdlWindow *w = d->windows->pdata[i];
        if (w->listener.console == c) {
            return true;
        }
    }
    return false;
}

/* A card was plugged in, or has more heads. */
static bool open_windows(SdlDisplay *d, Error **errp)
{
    Console *c;
    for (unsigned i = 0; (c = console_by_index(d->m, i)); i++) {
        if (!has_window(d, c) && !window_new(d, c, errp)) {
            return false;
        }
    }
    return true;
}

static void consoles_changed(void *opaque)
{
    SdlDisplay *d = opaque;
    g_autoptr(Error) err = NULL;
    if (!open_windows(d, &err)) {
        log_warn("%s", error_text(err));
    }
}

/* ---- what was copied ---- */

/* Not every desktop tells when something was copied: it is looked at when the user comes from elsewhere, too,
 * but only when the guest may have it. */
static void host_copied(SdlDisplay *d)
{
    char *text = clipboard_is_shared(&d->clipboard) ? sdl.GetClipboardText() : NULL;
    if (text && *text) {
        clipboard_put(&d->clipboard, text, strlen(text));
    }
    if (text) {
        sdl.free(text);
    }
}

static void guest_copied(ClipboardPeer *p)
{
    size_t len;
    sdl.SetClipboardText(clipboard_text(p->machine, &len));
}

/* ---- events ---- */

static SdlWindow *window_by_id(SdlDisplay *d, unsigned id)
{
    for (guint i = 0; i < d->windows->len; i++) {
        SdlWindow *w = d->windows->pdata[i];
        if (w->id == id) {
            return w;
        }
    }
    return NULL;
}

static void window_resized(SdlWindow *w, int width, int height)
{
    bool by_user = !w->shown || width != surface_width(w->shown) || height != surface_height(w->shown);
    if (by_user) {
        w->sized = !w->full;
        console_wish(w->listener.console, &(ConsoleWish){ .width = width, .height = height });
    }
    w->changed = true;
}

bool sdl_is_last(const SdlWindow *w)
{
    bool last = true;
    for (guint i = 0; i < w->d->windows->len; i++) {
        const SdlWindow *o = w->d->windows->pdata[i];
        last = last && (o == w || o->hidden);
    }
    return last;
}

static void window_closed(SdlWindow *w)
{
    SdlDisplay *d = w->d;
    if (!sdl_is_last(w)) {
        sdl_show(w, false);
    } else if (!d->o.has_window_close || d->o.window_close) {
        machine_request_shutdown(d->m, SHUTDOWN_HOST_QUIT, 0);
    }
}

static void window_event(SdlDisplay *d, SdlWindow *w, const SDL_WindowEvent *e)
{
    switch (e->event) {
    case SDL_WINDOWEVENT_SIZE_CHANGED: window_resized(w, e->data1, e->data2); break;
    case SDL_WINDOWEVENT_ENTER:
    case SDL_WINDOWEVENT_FOCUS_GAINED: host_copied(d); break;
    case SDL_WINDOWEVENT_EXPOSED: w->changed = true; break;
    case SDL_WINDOWEVENT_MINIMIZED:
    case SDL_WINDOWEVENT_HIDDEN: console_listener_pause(&w->listener, true); break;
    case SDL_WINDOWEVENT_RESTORED:
    case SDL_WINDOWEVENT_SHOWN:
        console_listener_pause(&w->listener, w->hidden);
        w->changed = true;
        break;
    case SDL_WINDOWEVENT_FOCUS_LOST: sdl_input_forget(w); break;
    case SDL_WINDOWEVENT_CLOSE: window_closed(w); break;
    default: break;
    }
}

static void one_event(SdlDisplay *d, const SDL_Event *e)
{
    SdlWindow *w = NULL;
    switch (e->type) {
    case SDL_WINDOWEVENT:
        w = window_by_id(d, e->window.windowID);
        if (w) {
            window_event(d, w, &e->window);
        }
        return;
    case SDL_CLIPBOARDUPDATE: host_copied(d); return;
    case SDL_RENDER_TARGETS_RESET:
    case SDL_RENDER_DEVICE_RESET: /* textures are gone */
        for (guint i = 0; i < d->windows->len; i++) {
            SdlWindow *each = d->windows->pdata[i];
            Surface *s = console_surface(each->listener.console);
            on_surface(&each->listener, s);
            if (s) {
                on_damage(&each->listener, 0, 0, surface_width(s), surface_height(s));
            }
            surface_unref(s);
        }
        return;
    case SDL_KEYDOWN:
    case SDL_KEYUP: w = window_by_id(d, e->key.windowID); break;
    case SDL_MOUSEMOTION: w = window_by_id(d, e->motion.windowID); break;
    case SDL_MOUSEBUTTONDOWN:
    case SDL_MOUSEBUTTONUP: w = window_by_id(d, e->button.windowID); break;
    case SDL_MOUSEWHEEL: w = window_by_id(d, e->wheel.windowID); break;
    default: return;
    }
    if (w) {
        sdl_input_event(d, w, e);
    }
}

static void ask(void *opaque)
{
    SdlDisplay *d = opaque;
    SDL_Event e;
    bool seen = false;
    while (sdl.PollEvent(&e)) {
        one_event(d, &e);
    }
    for (guint i = 0; i < d->windows->len; i++) {
        SdlWindow *w = d->windows->pdata[i];
        seen |= !w->listener.paused;
        if (w->changed && !w->listener.paused) {
            sdl_redraw(w);
        }
    }
    timer_arm(&d->timer, clock_now(d->timer.clock) + (seen ? ASK_MS : ASK_HIDDEN_MS) * (int64_t)MS);
}

static void input_changed(InputWatcher *watcher)
{
    sdl_pointer_changed(display);
}

static void state_changed(void *opaque, RunState was, RunState now)
{
    SdlDisplay *d = opaque;
    for (guint i = 0; i < d->windows->len; i++) {
        sdl_title(d->windows->pdata[i]);
    }
}

/* ---- life ---- */

static void sdl_stop(Machine *m)
{
    SdlDisplay *d = display;
    if (!d) {
        return;
    }
    console_watch_list(m, NULL, d);
    input_unwatch(&d->watcher);
    clipboard_leave(&d->clipboard);
    machine_remove_listener(m, &d->states);
    timer_cancel(&d->timer);
    while (d->windows->len) {
        SdlWindow *w = d->windows->pdata[0];
        g_ptr_array_remove_index(d->windows, 0);
        window_free(w);
    }
    g_ptr_array_free(d->windows, TRUE);
    sdl.Quit();
    g_free(d);
    display = NULL;
}

static bool sdl_start(Machine *m, const DisplayOptions *o, Error **errp)
{
    if (!sdl_load(errp)) {
        return false;
    }
    sdl.SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    sdl.SetHint(SDL_HINT_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR, "0");
    sdl.SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
    sdl.SetHint(SDL_HINT_ALLOW_ALT_TAB_WHILE_GRABBED, "0");
    sdl.SetHint(SDL_HINT_MOUSE_FOCUS_CLICKTHROUGH, "1");
    if (sdl.Init(SDL_INIT_VIDEO) < 0) {
        error_fail(errp, "failed", "type", NULL, "display 'sdl': no desktop can be reached: %s",
                   sdl.GetError());
        error_hint(errp, "DISPLAY or WAYLAND_DISPLAY names it; else use -display none, -vnc or -nographic");
        return false;
    }
    SdlDisplay *d = display = g_new0(SdlDisplay, 1);
    d->m = m;
    d->o = *o; /* nothing in it is allocated */
    d->windows = g_ptr_array_new();
    d->watcher = (InputWatcher){ .changed = input_changed, .machine = m };
    d->states = (MachineListener){ .state = state_changed, .opaque = d };
    timer_init(&d->timer, m->loop, &clock_host_monotonic, ask, d);
    input_watch(m, &d->watcher);
    d->clipboard.changed = guest_copied;
    clipboard_join(m, &d->clipboard);
    machine_add_listener(m, &d->states);
    console_watch_list(m, consoles_changed, d);
    if (!open_windows(d, errp)) {
        sdl_stop(m);
        return false;
    }
    if (!d->windows->len) {
        log_warn("-display sdl: the machine has no graphics card to show (use -vga std)");
    }
    ask(d);
    return true;
}

const DisplayKind display_sdl = {
    .type = DISPLAY_TYPE_SDL,
    .desc = "windows of the desktop",
    .start = sdl_start,
    .stop = sdl_stop,
};
