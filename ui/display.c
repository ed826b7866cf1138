/* SPDX-License-Identifier: MIT
 * ui/display.c - the front ends by name.
 * Models: QEMU 7.2's -display. Threads: main loop. Tests: tests/func/sdl.py, tests/func/curses.py,
 * tests/func/cli_wrong.py.
 */
#include "rhea/ui/display.h"
#include "config.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"

#include <string.h>

static const DisplayKind *const kinds[] = {
#ifdef HAVE_SDL
    &display_sdl,
#endif
#if HAVE_CURSES
    &display_curses,
#endif
#if HAVE_VNC
    &display_web,
#endif
    NULL,
};
static const DisplayKind *running;
static DisplayOptions current;

static bool check_type(const char *type, Error **errp)
{
    static const struct {
        const char *type, *reason;
    } no[] = {
        { "gtk", "windows are SDL's" },
        { "egl-headless", "nothing draws by OpenGL" },
        { "dbus", "there is no D-Bus display" },
        { "spice-app", "there is no SPICE server" },
        { "cocoa", "it is macOS's" },
        { "vnc", "it needs an address, as in -display vnc=:1" },
#ifndef HAVE_SDL
        { "sdl", "this program was built without SDL2" },
#endif
#if !HAVE_CURSES
        { "curses", "this program was built without ncurses (ncursesw)" },
#endif
#if !HAVE_VNC
        { "web", "this program was built without libvncserver" },
#endif
    };
    for (size_t i = 0; type && i < G_N_ELEMENTS(no); i++) {
        if (g_str_equal(type, no[i].type)) {
            error_fail(errp, "not-supported", "type", NULL, "display '%s' is not supported: %s", type,
                       no[i].reason);
            error_hint(errp, "use -display none, sdl where there is a desktop, or -nographic for a serial "
                             "console here");
            return false;
        }
    }
    bool known = !type;
    for (unsigned i = 0; !known && i < DISPLAY_TYPE__COUNT; i++) {
        known = g_str_equal(type, display_type_names[i]);
    }
    if (!known) {
        error_fail(errp, "not-found", "type", NULL, "unknown display '%s'", type);
        error_hint_nearest(errp, type, display_type_names);
        error_hint_else(errp, "-display help lists them");
    }
    return known;
}

bool display_parse(const Json *opts, bool from_text, DisplayOptions *o, Error **errp)
{
    if (!check_type(json_get_string(json_member(opts, "type", NULL)), errp) ||
        !type_decode(&display_options_type, opts, from_text, o, errp)) {
        return false;
    }
    if (o->has_gl && o->gl != DISPLAY_GL_MODE_OFF) {
        error_fail(errp, "not-supported", "gl", NULL, "gl=%s is not supported: pictures are drawn by the CPU",
                   display_gl_mode_names[o->gl]);
        error_hint(errp, "leave it out");
        display_options_clear(o);
        return false;
    }
    return true;
}

void display_options_clear(DisplayOptions *o)
{
    type_clear(&display_options_type, o);
}

bool display_start(Machine *m, const DisplayOptions *o, Error **errp)
{
    role_assert_main();
    current = *o;
    for (unsigned i = 0; kinds[i]; i++) {
        if (kinds[i]->type == o->type) {
            running = kinds[i]->start(m, o, errp) ? kinds[i] : NULL;
            return running != NULL;
        }
    }
    return true; /* none */
}

#if !HAVE_VNC
char *display_web_url(void)
{
    return NULL;
}
#endif

void display_stop(Machine *m)
{
    if (running) {
        running->stop(m);
        running = NULL;
    }
}

DisplayOptions display_current(void)
{
    return current;
}

void display_help(GString *out)
{
    g_string_append(out, "none\n");
    for (unsigned i = 0; kinds[i]; i++) {
        g_string_append_printf(out, "%s\n", display_type_names[kinds[i]->type]);
    }
}

DisplayType display_default(void)
{
    const char *x = g_getenv("DISPLAY"), *wayland = g_getenv("WAYLAND_DISPLAY");
    bool sdl = kinds[0] && kinds[0]->type == DISPLAY_TYPE_SDL;
    return sdl && ((x && *x) || (wayland && *wayland)) ? DISPLAY_TYPE_SDL : DISPLAY_TYPE_NONE;
}
