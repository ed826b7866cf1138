/* SPDX-License-Identifier: MIT
 * rhea/ui/console.h - what the guest shows: consoles, their pictures, and who looks at them.
 *
 * A Console is one head of a graphics device, or a text terminal of ours (vc). It has a Surface, and
 * listeners: windows, VNC servers, screendump, a test. Nothing is drawn for a console that nobody looks
 * at: while there is a listener, a timer of the main loop asks the device to draw what changed
 * (ConsoleOps.update, in its domain); what it said with console_damage() is handed to the listeners
 * afterwards, without any domain. So a listener may see a picture half drawn, which the next damage
 * repairs, but never memory that is gone: it holds a reference to its surface.
 */
#ifndef RHEA_UI_CONSOLE_H
#define RHEA_UI_CONSOLE_H

#include "rhea/system/domain.h"
#include "rhea/system/memory.h"
#include "rhea/util/loop.h"
#include <pixman.h>

typedef struct Console Console;
enum { SURFACE_MAX_SIDE = 16384, SURFACE_MAX_BYTES = 256 << 20 };
/* A picture that stood still for CONSOLE_QUIET periods is looked at every CONSOLE_IDLE_MS, until something
 * changes. */
enum { CONSOLE_RATE_MS = 16, CONSOLE_IDLE_MS = 250, CONSOLE_QUIET = 8, CURSOR_MAX_SIDE = 512 };

/* Pixels. Immutable in size and format; the contents change. Formats: those of surface_format_good(). */
typedef struct Surface {
    pixman_image_t *image; /* width, height, stride and data by pixman's functions */
    unsigned refs;         /* atomic */
    RamBlock *ram;         /* the pixels are the guest's memory, which this keeps; NULL: they are ours */
    struct Surface *of;    /* the pixels are that one's, which this keeps; or NULL */
} Surface;
/* Those of true colour that front ends can show: 15 to 32 bits a pixel. */
bool surface_format_good(pixman_format_code_t format);
/* Zeroed pixels (black) of x8r8g8b8. NULL: *errp says that a side is 0 or too long. Any thread. */
Surface *surface_new(int width, int height, Error **errp);
/* a8r8g8b8, all of it transparent: for a CursorShape. */
Surface *surface_new_alpha(int width, int height, Error **errp);
/* Over guest memory: the guest draws directly into what listeners see. False format, off or stride no
 * multiple of 4, or a picture that does not lie inside [off, ram->size): NULL with *errp. Takes a reference
 * to ram. */
Surface *surface_new_ram(RamBlock *ram, uint64_t off, pixman_format_code_t format, int width, int height,
                         int stride, Error **errp);
/* A rectangle of another one, of 32-bit pixels, as x8r8g8b8: what is drawn there is seen here. Takes a
 * reference. Not inside it: NULL with *errp. */
Surface *surface_new_part(Surface *of, int x, int y, int width, int height, Error **errp);
Surface *surface_ref(Surface *s);
void surface_unref(Surface *s);
static inline int surface_width(const Surface *s) { return pixman_image_get_width(s->image); }
static inline int surface_height(const Surface *s) { return pixman_image_get_height(s->image); }
static inline int surface_stride(const Surface *s) { return pixman_image_get_stride(s->image); }
static inline uint8_t *surface_data(const Surface *s) { return (uint8_t *)pixman_image_get_data(s->image); }
static inline uint8_t *surface_row(const Surface *s, int y)
{
    return surface_data(s) + (size_t)y * surface_stride(s);
}

typedef struct CursorShape { /* immutable, contents too; its references are the image's */
    Surface *image;          /* a8r8g8b8, premultiplied; sides of at most CURSOR_MAX_SIDE */
    int hot_x, hot_y;
} CursorShape;

/* A text mode's characters, as screens are read by programs. */
typedef struct ConsoleText {
    int columns, rows;       /* at most 512 x 256 */
    uint32_t *cells;         /* rows * columns Unicode characters; the caller frees it with g_free */
    uint16_t *attrs;         /* as many, see below; g_free. NULL: not asked for, or all are CELL_NORMAL */
    int cursor_x, cursor_y;  /* -1: hidden */
    bool coloured;           /* says the asker: with attrs */
} ConsoleText;
/* Of an attribute: the character's colour, the background's << 4, and how. Colours in ECMA-48's order: black,
 * red, green, yellow, blue, magenta, cyan, grey; 8 more: bright. */
enum { CELL_NORMAL = 7, CELL_BACKGROUND = 4, CELL_BLINK = 0x100, CELL_UNDERLINE = 0x200 };

/* What a viewer would like the guest to show: the size of its window. */
typedef struct ConsoleWish {
    int width, height;       /* pixels; 0: no wish */
    int width_mm, height_mm; /* 0: not known */
    int x, y;                /* of several heads */
    bool off;                /* the head's window was closed */
} ConsoleWish;

typedef struct ConsoleOps { /* all in the device's domain, called on the main loop; each may be NULL */
    /* draw what changed, and say what with console_damage() */
    void (*update)(void *opaque);
    void (*watched)(void *opaque, bool on);                 /* the first listener came, the last one went */
    /* fills *out but for `coloured`, which it keeps; false: no text mode at present */
    bool (*text)(void *opaque, ConsoleText *out);
    void (*wish)(void *opaque, const ConsoleWish *wish);    /* the viewer's window has another size */
} ConsoleOps;

/* ---- the device's side ---- */
/* In realize; removed with console_free() in unrealize. head: 0 for the first of a device. MAIN_LOOP.
 * domain: the device's; NULL: the main loop's alone (terminals of ours). dev: whose it is; NULL likewise. */
Console *console_new(Machine *m, Device *dev, unsigned head, const ConsoleOps *ops, void *opaque);
void console_free(Console *c); /* MAIN_LOOP, no domain held: listeners lose it first. No op is called */
void console_set_label(Console *c, const char *label); /* of a terminal of ours */
/* In the device's domain, also outside of `update`: collected, and told at most once per period. Out of
 * the surface: cut off. */
void console_damage(Console *c, int x, int y, int w, int h);
/* Another picture, all of it damaged; takes over the caller's reference. NULL: there is none ("no
 * signal"). */
void console_set_surface(Console *c, Surface *s);
/* NULL shape: hidden. Takes a reference. */
void console_set_cursor(Console *c, const CursorShape *shape);
void console_move_cursor(Console *c, int x, int y, bool visible); /* of its hot spot */
bool console_watched(const Console *c); /* any thread; a look of the moment (console_refresh()) counts, too */

/* ---- the viewer's side: MAIN_LOOP, no domain held ---- */
/* A callback may add and remove listeners, its own too; it must not free the console. */
typedef struct ConsoleListener ConsoleListener;
typedef struct ConsoleListenerOps {
    /* borrowed: take a reference to keep it; NULL: none */
    void (*surface)(ConsoleListener *l, Surface *s);
    /* inside the surface; several may overlap */
    void (*damage)(ConsoleListener *l, int x, int y, int w, int h);
    /* all damage of one period was told; may be NULL */
    void (*frame)(ConsoleListener *l);
    void (*cursor)(ConsoleListener *l, const CursorShape *shape); /* NULL: hidden; may be NULL */
    void (*cursor_at)(ConsoleListener *l, int x, int y, bool visible); /* may be NULL */
    /* the console is no more; it is detached by then */
    void (*gone)(ConsoleListener *l);
} ConsoleListenerOps;
struct ConsoleListener { /* embedded in its owner's struct */
    const ConsoleListenerOps *ops;
    Console *console;        /* NULL: detached */
    unsigned period_ms;      /* how often it wants to hear of changes; the shortest of a console's counts */
    bool paused;             /* it does not look at present (an iconified window): as if it were not there */
    bool fresh;              /* ui/console.c: it looks (again), and was not told of the surface yet */
};
void console_add_listener(Console *c, ConsoleListener *l); /* calls surface() and cursor() at once */
void console_remove_listener(ConsoleListener *l);          /* none: no effect */
void console_listener_pause(ConsoleListener *l, bool paused);
void console_listener_period(ConsoleListener *l, unsigned ms);
/* Draws now what is not drawn yet, and tells listeners; for screendump and tests. */
void console_refresh(Console *c);
/* Something is about to change: somebody typed. Then the idle period ends at once. Cheap; any thread. */
void console_hurry(Console *c);
void console_hurry_all(Machine *m); /* MAIN_LOOP */
Surface *console_surface(Console *c);         /* a new reference, or NULL */
bool console_text(Console *c, ConsoleText *out);
bool console_text_coloured(Console *c, ConsoleText *out); /* and attrs, where the device has them */
void console_wish(Console *c, const ConsoleWish *wish); /* remembered, so that it is told once per change */

/* In order of creation, graphics cards first; index is what `-display`'s heads and Ctrl-Alt-N count.
 * MAIN_LOOP. */
Console *console_by_index(Machine *m, unsigned index);
/* id or path of the device */
Console *console_by_device(Machine *m, const char *id, unsigned head, Error **errp);
/* What `screendump` and VNC's display= name: a device's id or path, a terminal's label. NULL: the first
 * graphics card. */
Console *console_find(Machine *m, const char *device, unsigned head, Error **errp);
unsigned console_index(const Console *c);
unsigned console_head(const Console *c);
Device *console_device(const Console *c);     /* NULL: a terminal of ours */
char *console_label(const Console *c);        /* "VGA", "virtio-vga.1", "compat_monitor0"; g_free */
bool console_is_graphic(const Console *c);
/* Tells when consoles come or go, for front ends; once per opaque. NULL changed: not any more. */
void console_watch_list(Machine *m, void (*changed)(void *opaque), void *opaque);

/* PNG or PPM of a surface, for screendump and recordings. fd is not closed. */
bool surface_write_ppm(Surface *s, int fd, Error **errp);
bool surface_write_png(Surface *s, int fd, Error **errp);

#endif
