/* SPDX-License-Identifier: MIT
 * ui/vnc_picture.c - what VNC clients are sent: one picture of the console, which all their threads read.
 * Threads: main loop.
 */
#include "vnc_internal.h"
#include "rhea/system/machine.h"

enum { VNC_WIDTH = 640, VNC_HEIGHT = 480 };

static VncServer *server_of(ConsoleListener *l)
{
    return (VncServer *)((char *)l - offsetof(VncServer, console));
}

static void copy_picture(VncServer *s, int x, int y, int w, int h)
{
    if (s->source) {
        pixman_image_composite32(PIXMAN_OP_SRC, s->source->image, NULL, s->picture->image, x, y, 0, 0, x, y,
                                 w, h);
    }
}

static void set_picture(ConsoleListener *l, Surface *from)
{
    VncServer *s = server_of(l);
    Surface *p = from ? surface_new(surface_width(from), surface_height(from), NULL) : NULL;
    if (!p) { /* the host has no memory for what the guest chose: that is not shown */
        from = NULL;
        p = surface_new(VNC_WIDTH, VNC_HEIGHT, &error_abort_slot);
    }
    surface_unref(s->source);
    surface_unref(s->picture);
    s->source = from ? surface_ref(from) : NULL;
    s->picture = p;
    copy_picture(s, 0, 0, surface_width(p), surface_height(p));
    for (guint i = 0; i < s->clients->len; i++) {
        VncClient *c = s->clients->pdata[i];
        pthread_mutex_lock(&c->lock);
        surface_unref(c->surface);
        c->surface = surface_ref(p);
        pixman_region32_clear(&c->damage); /* the size's change sends all of it */
        pixman_region32_union_rect(&c->damage, &c->damage, 0, 0, (unsigned)surface_width(p),
                                   (unsigned)surface_height(p));
        pthread_mutex_unlock(&c->lock);
        vnc_client_wake(c);
    }
}

static void on_damage(ConsoleListener *l, int x, int y, int w, int h)
{
    VncServer *s = server_of(l);
    copy_picture(s, x, y, w, h);
    for (guint i = 0; i < s->clients->len; i++) {
        VncClient *c = s->clients->pdata[i];
        pthread_mutex_lock(&c->lock);
        pixman_region32_union_rect(&c->damage, &c->damage, x, y, (unsigned)w, (unsigned)h);
        if (pixman_region32_n_rects(&c->damage) > VNC_RECTS) {
            pixman_box32_t all = *pixman_region32_extents(&c->damage);
            pixman_region32_fini(&c->damage);
            pixman_region32_init_rect(&c->damage, all.x1, all.y1, (unsigned)(all.x2 - all.x1),
                                      (unsigned)(all.y2 - all.y1));
        }
        pthread_mutex_unlock(&c->lock);
    }
}

static void wake_all(VncServer *s)
{
    for (guint i = 0; i < s->clients->len; i++) {
        vnc_client_wake(s->clients->pdata[i]);
    }
}

static void on_frame(ConsoleListener *l)
{
    wake_all(server_of(l));
}

void vnc_give_cursor(VncServer *s, VncClient *c)
{
    pthread_mutex_lock(&c->lock);
    surface_unref(c->cursor.image);
    c->cursor = s->cursor;
    c->cursor.image = s->cursor.image ? surface_ref(s->cursor.image) : NULL;
    c->cursor_new = true;
    pthread_mutex_unlock(&c->lock);
}

static void on_cursor(ConsoleListener *l, const CursorShape *shape)
{
    VncServer *s = server_of(l);
    if (!shape && !s->has_cursor) {
        return; /* the guest draws its own */
    }
    surface_unref(s->cursor.image);
    s->cursor = shape ? *shape : (CursorShape){ 0 };
    s->cursor.image = shape ? surface_ref(shape->image) : NULL;
    s->has_cursor = true;
    for (guint i = 0; i < s->clients->len; i++) {
        vnc_give_cursor(s, s->clients->pdata[i]);
    }
    wake_all(s);
}

static void on_gone(ConsoleListener *l)
{
    set_picture(l, NULL);
}

const ConsoleListenerOps vnc_listener_ops = {
    .surface = set_picture, .damage = on_damage, .frame = on_frame, .cursor = on_cursor, .gone = on_gone
};

void vnc_look(VncServer *s)
{
    Console *c = NULL, *other;
    for (unsigned i = 0; s->chosen && (other = console_by_index(s->m, i)); i++) {
        c = other == s->chosen ? other : c;
    }
    c = c ? c : console_find(s->m, s->opts.display, (unsigned)s->opts.head, NULL);
    c = c || s->opts.display ? c : console_by_index(s->m, 0);
    if (c && s->console.console != c) {
        console_remove_listener(&s->console);
        console_add_listener(c, &s->console);
    }
    if (!s->picture) {
        set_picture(&s->console, NULL);
    }
}

void vnc_consoles_changed(void *opaque)
{
    VncServer *s = opaque;
    if (s->clients->len) {
        vnc_look(s);
    }
}

void vnc_stop_looking(VncServer *s)
{
    console_remove_listener(&s->console);
    g_clear_pointer(&s->picture, surface_unref);
    g_clear_pointer(&s->source, surface_unref);
    g_clear_pointer(&s->cursor.image, surface_unref);
    s->has_cursor = false;
}
