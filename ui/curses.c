/* SPDX-License-Identifier: MIT
 * ui/curses.c - -display curses: text modes and text consoles on the terminal where the program was started.
 *
 * Models: QEMU 7.2's: Alt-1 to Alt-9 show other consoles, charset= says what the guest's font has, graphics
 *         modes are one line that tells so. A screen greater than the terminal follows the cursor, a smaller
 *         one is in the middle. Does not model: pointers.
 * One console is shown, so one has a listener: the others cost nothing. What its damage may have changed is
 * read as text, and rows that differ from those drawn last go to the terminal (curses-term.c), which sends
 * cells that differ.
 * Threads: main loop. Tests: tests/func/curses.py. */
#include "curses_internal.h"
#include "rhea/system/machine.h"
#include "rhea/ui/display.h"
#include "rhea/ui/font.h"
#include "rhea/ui/vc.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

#include <string.h>

enum {
    TEXT_MS = 30,
    AGAIN_MS = 20,
    PACE_MS = 10,
    NOTE_MS = 5000,
    MS = 1000000,
    STROKES_MAX = 4096,
    NOTE_ATTR = 7 << CELL_BACKGROUND,
    ESC = 27
};

typedef struct CursesDisplay {
    Machine *m;
    bool keeps_running;    /* window-close=off */
    ConsoleListener listener;
    CursesEvents events;
    KeyLayout *layout;
    Strokes strokes;
    Timer typing, drawing, noting;
    uint32_t *charset;     /* of the guest's font: 256 characters; NULL: code page 437 */
    ConsoleText shown;     /* cells NULL: a line about graphics */
    int width, height;     /* of the picture that this line tells of */
    bool whole, dirty;     /* all is drawn anew; something is to be drawn */
    int left, top;         /* the cell of the screen in the view's corner */
    char *note;            /* over the terminal's end, for some seconds */
} CursesDisplay;

static CursesDisplay *display; /* there is one terminal */

static void draw_in(CursesDisplay *d, int ms)
{
    timer_arm(&d->drawing, clock_now(d->drawing.clock) + (int64_t)ms * MS);
}

/* ---- notes ---- */

static void set_note(CursesDisplay *d, const char *text)
{
    if (text || d->note) {
        char *was = d->note;
        d->note = g_strdup(text);
        g_free(was);
        d->whole = true;
        draw_in(d, 0);
    }
    if (text) {
        timer_arm(&d->noting, clock_now(d->noting.clock) + NOTE_MS * INT64_C(1000000));
    } else {
        timer_cancel(&d->noting);
    }
}

static void note_over(void *opaque)
{
    set_note(opaque, NULL);
}

static void put_text(int x, int y, int columns, const char *text, unsigned attr)
{
    for (const char *p = text; *p && x < columns; p = g_utf8_next_char(p)) {
        x += cterm_put(x, y, g_utf8_get_char(p), attr, false);
    }
}

/* At the right of the last line: what is typed often stands at its left. */
static void draw_note(const CursesDisplay *d, int columns, int rows)
{
    if (d->note) {
        g_autofree char *text = g_strdup_printf(" %s ", d->note);
        put_text(MAX(0, columns - (int)g_utf8_strlen(text, -1)), rows - 1, columns, text, NOTE_ATTR);
    }
}

/* ---- what the guest shows ---- */

/* charset=: the guest has loaded another font than the BIOS's; only the upper half differs. Terminals of ours
 * have characters, not bytes. */
static uint32_t by_charset(const CursesDisplay *d, uint32_t c)
{
    bool bytes = d->charset && c >= 0x7f && console_is_graphic(d->listener.console);
    for (unsigned i = 0x80; bytes && i < FONT_GLYPHS; i++) {
        if (font_cp437[i] == c) {
            return d->charset[i];
        }
    }
    return c;
}

static bool make_charset(CursesDisplay *d, const char *name, Error **errp)
{
    if (!name || g_ascii_strcasecmp(name, "CP437") == 0) {
        return true;
    }
    GIConv conv = g_iconv_open("UTF-8", name);
    if (conv == (GIConv)-1) {
        error_fail(errp, "invalid-value", "charset", NULL,
                   "-display curses: 'charset' does not take '%s': the host cannot convert it", name);
        error_hint(errp, "'iconv -l' lists what it knows; CP437 is what PCs begin with");
        return false;
    }
    d->charset = g_new(uint32_t, FONT_GLYPHS);
    for (unsigned i = 0; i < FONT_GLYPHS; i++) {
        char byte = (char)i;
        gsize n = 0;
        g_autofree char *s = g_convert_with_iconv(&byte, 1, conv, NULL, &n, NULL);
        d->charset[i] = s && n && i >= 0x80 ? g_utf8_get_char(s) : i >= 0x80 ? '?' : font_cp437[i];
        g_iconv(conv, NULL, NULL, NULL, NULL);
    }
    g_iconv_close(conv);
    return true;
}

static void forget_text(CursesDisplay *d)
{
    g_clear_pointer(&d->shown.cells, g_free);
    g_clear_pointer(&d->shown.attrs, g_free);
}

/* The first cell that is seen of one direction: the cursor is, when there is one. */
static int follow(int first, int seen, int all, int cursor)
{
    if (cursor >= 0 && cursor < first) {
        first = cursor;
    } else if (cursor >= first + seen) {
        first = cursor - seen + 1;
    }
    return CLAMP(first, 0, all - seen);
}

static bool same_row(const ConsoleText *a, const ConsoleText *b, int y)
{
    size_t at = (size_t)y * (size_t)a->columns, n = (size_t)a->columns;
    return memcmp(a->cells + at, b->cells + at, n * sizeof(*a->cells)) == 0 &&
           (!a->attrs || memcmp(a->attrs + at, b->attrs + at, n * sizeof(*a->attrs)) == 0);
}

typedef struct View {
    int columns, rows;   /* how much of the screen is seen */
    int x, y;            /* where on the terminal */
} View;

static void draw_row(const CursesDisplay *d, const ConsoleText *t, const View *v, int row)
{
    size_t at = (size_t)(d->top + row) * (size_t)t->columns + (size_t)d->left;
    const uint32_t *cells = t->cells + at;
    const uint16_t *attrs = t->attrs ? t->attrs + at : NULL;
    for (int x = 0; x < v->columns;) {
        bool blank_next = x + 1 < v->columns && cells[x + 1] == ' ';
        x += cterm_put(v->x + x, v->y + row, by_charset(d, cells[x]), attrs ? attrs[x] : CELL_NORMAL,
                       blank_next);
    }
}

static void note_cut(CursesDisplay *d, const ConsoleText *t, const View *v)
{
    if (v->columns < t->columns || v->rows < t->rows) {
        g_autofree char *text =
            g_strdup_printf("%dx%d of %dx%d are seen", v->columns, v->rows, t->columns, t->rows);
        set_note(d, text);
    }
}

static void draw_text(CursesDisplay *d, ConsoleText *t, int columns, int rows)
{
    View v = { MIN(t->columns, columns), MIN(t->rows, rows), 0, 0 };
    int left = follow(d->left, v.columns, t->columns, t->cursor_x);
    int top = follow(d->top, v.rows, t->rows, t->cursor_y);
    bool other = !d->shown.cells || d->shown.columns != t->columns || d->shown.rows != t->rows ||
                 !d->shown.attrs != !t->attrs;
    v.x = (columns - v.columns) / 2;
    v.y = (rows - v.rows) / 2;
    if (other) {
        note_cut(d, t, &v);
    }
    bool all = d->whole || other || left != d->left || top != d->top;
    d->left = left;
    d->top = top;
    if (all) {
        cterm_erase();
    }
    for (int y = 0; y < v.rows; y++) {
        if (all || !same_row(t, &d->shown, top + y)) {
            draw_row(d, t, &v, y);
        }
    }
    draw_note(d, columns, rows);
    int x = t->cursor_x - left, y = t->cursor_y - top;
    cterm_cursor(v.x + x, v.y + y, x >= 0 && x < v.columns && y >= 0 && y < v.rows);
    forget_text(d);
    d->shown = *t;
}

static void draw_picture(CursesDisplay *d, int columns, int rows)
{
    Console *c = d->listener.console;
    Surface *s = c ? console_surface(c) : NULL;
    int width = s ? surface_width(s) : 0, height = s ? surface_height(s) : 0;
    surface_unref(s);
    if (d->whole || d->shown.cells || width != d->width || height != d->height) {
        g_autofree char *text = !c    ? g_strdup("The machine has nothing to show")
                                : s ? g_strdup_printf("%d x %d Graphic mode", width, height)
                                    : g_strdup("No picture");
        cterm_erase();
        put_text(MAX(0, (columns - (int)strlen(text)) / 2), rows / 2, columns, text, CELL_NORMAL);
        draw_note(d, columns, rows);
        cterm_cursor(0, 0, false);
    }
    forget_text(d);
    d->width = width;
    d->height = height;
}

static void draw(CursesDisplay *d)
{
    ConsoleText t;
    int columns, rows;
    d->dirty = true;
    if (timer_armed(&d->drawing)) { /* the terminal has no room yet, or it is soon anyway */
        return;
    }
    cterm_size(&columns, &rows);
    bool text = d->listener.console && console_text_coloured(d->listener.console, &t);
    if (text) {
        draw_text(d, &t, columns, rows);
    } else {
        draw_picture(d, columns, rows);
    }
    d->whole = d->dirty = false;
    if (!cterm_flush()) {
        draw_in(d, AGAIN_MS);
    }
    unsigned period = text ? TEXT_MS : CONSOLE_IDLE_MS; /* of a picture only its size matters */
    if (d->listener.console && d->listener.period_ms != period) {
        console_listener_period(&d->listener, period);
    }
}

static void draw_late(void *opaque)
{
    draw(opaque);
}

/* ---- consoles ---- */

static CursesDisplay *of(ConsoleListener *l)
{
    return (CursesDisplay *)((char *)l - offsetof(CursesDisplay, listener));
}

static void on_surface(ConsoleListener *l, Surface *s)
{
    if (!s) {
        draw(of(l)); /* else its damage follows */
    }
}

static void on_damage(ConsoleListener *l G_GNUC_UNUSED, int x G_GNUC_UNUSED, int y G_GNUC_UNUSED,
                      int w G_GNUC_UNUSED, int h G_GNUC_UNUSED)
{
}

static void on_frame(ConsoleListener *l)
{
    draw(of(l));
}

static void on_gone(ConsoleListener *l)
{
    CursesDisplay *d = of(l);
    strokes_clear(&d->strokes);
    d->whole = true;
    draw_in(d, 0); /* consoles_changed() will have found another one */
}

static const ConsoleListenerOps listener_ops = {
    .surface = on_surface, .damage = on_damage, .frame = on_frame, .gone = on_gone
};

static void show(CursesDisplay *d, Console *c)
{
    if (d->listener.console == c) {
        return;
    }
    if (d->listener.console) {
        Console *was = d->listener.console;
        strokes_clear(&d->strokes);
        console_remove_listener(&d->listener);
        input_release_all(d->m, was);
    }
    forget_text(d);
    d->whole = true;
    d->left = d->top = 0;
    console_add_listener(c, &d->listener);
    draw_in(d, 0);
}

static void consoles_changed(void *opaque)
{
    CursesDisplay *d = opaque;
    Console *first = console_by_index(d->m, 0);
    if (!d->listener.console && first) {
        show(d, first);
    }
}

/* ---- keys ---- */

/* What is typed goes at once; what is pasted comes so slowly that a BIOS, which has room for 16 keys, takes
 * it. */
static void type_some(void *opaque)
{
    CursesDisplay *d = opaque;
    if (strokes_waiting(&d->strokes)) {
        strokes_send(&d->strokes, d->m, d->listener.console, true);
        timer_arm(&d->typing, clock_now(d->typing.clock) + PACE_MS * INT64_C(1000000));
    }
}

/* Alt and a digit: another console, if there is one; else it is the guest's. */
static bool chose_console(CursesDisplay *d, const CursesStroke *s)
{
    bool digit = s->mods & STROKE_ALT && s->ch >= '1' && s->ch <= '9';
    Console *to = digit ? console_by_index(d->m, s->ch - '1') : NULL;
    if (to) {
        show(d, to);
    }
    return to != NULL;
}

/* A program behind a text console gets characters that no key of the layout gives, too. */
static bool fed(CursesDisplay *d, const CursesStroke *s)
{
    char text[8];
    int n = 0;
    if (!s->ch || strokes_waiting(&d->strokes)) {
        return false;
    }
    if (s->mods & STROKE_ALT) {
        text[n++] = ESC;
    }
    n += g_unichar_to_utf8(s->ch, text + n);
    return d->listener.console && vc_feed(d->listener.console, text, (size_t)n);
}

static void on_typed(void *opaque, const CursesStroke *s)
{
    CursesDisplay *d = opaque;
    set_note(d, NULL);
    if (chose_console(d, s)) {
        return;
    }
    if (fed(d, s)) {
        console_hurry(d->listener.console);
        return;
    }
    if (!s->known) {
        g_autofree char *text = g_strdup_printf("the keyboard's layout (-k) has no key for U+%04X", s->ch);
        set_note(d, text);
    } else if (strokes_waiting(&d->strokes) >= STROKES_MAX) {
        set_note(d, "the guest does not read its keyboard: keys are lost");
    } else {
        strokes_add(&d->strokes, s->key, s->mods);
        if (!timer_armed(&d->typing)) {
            type_some(d);
        }
    }
}

/* ---- the terminal ---- */

static void on_resized(void *opaque)
{
    CursesDisplay *d = opaque;
    forget_text(d); /* so that it is told again what does not fit */
    d->whole = true;
    draw_in(d, 0);
}

static void on_said(void *opaque, const char *line)
{
    set_note(opaque, line);
}

static void on_hung_up(void *opaque)
{
    CursesDisplay *d = opaque;
    log_warn("-display curses: the terminal is gone");
    if (!d->keeps_running) {
        machine_request_shutdown(d->m, SHUTDOWN_HOST_QUIT, 0);
    }
}

/* ---- life ---- */

static void curses_stop(Machine *m)
{
    CursesDisplay *d = display;
    if (!d) {
        return;
    }
    display = NULL;
    console_watch_list(m, NULL, d);
    console_remove_listener(&d->listener);
    timer_cancel(&d->typing);
    timer_cancel(&d->drawing);
    timer_cancel(&d->noting);
    cterm_close();
    forget_text(d);
    strokes_fini(&d->strokes);
    key_layout_free(d->layout);
    g_free(d->charset);
    g_free(d->note);
    g_free(d);
}

static bool check_options(const DisplayOptions *o, Error **errp)
{
    const char *bad = o->has_full_screen && o->full_screen   ? "full-screen"
                      : o->has_show_cursor && o->show_cursor ? "show-cursor"
                                                             : NULL;
    return !bad || error_fail(errp, "not-supported", bad, "leave it out, or use -display sdl",
                              "-display curses: '%s' is not supported: a terminal has no windows", bad);
}

static bool curses_start(Machine *m, const DisplayOptions *o, Error **errp)
{
    if (!check_options(o, errp)) {
        return false;
    }
    CursesDisplay *d = display = g_new0(CursesDisplay, 1);
    d->m = m;
    d->keeps_running = o->has_window_close && !o->window_close;
    d->whole = true;
    d->listener = (ConsoleListener){ .ops = &listener_ops, .period_ms = TEXT_MS };
    strokes_init(&d->strokes);
    timer_init(&d->typing, m->loop, &clock_host_monotonic, type_some, d);
    timer_init(&d->drawing, m->loop, &clock_host_monotonic, draw_late, d);
    timer_init(&d->noting, m->loop, &clock_host_monotonic, note_over, d);
    d->layout = key_layout_new(NULL, errp);
    d->events = (CursesEvents){ .typed = on_typed, .resized = on_resized, .said = on_said,
                                .hung_up = on_hung_up, .layout = d->layout, .opaque = d };
    if (!d->layout || !make_charset(d, o->u.curses.charset, errp) || !cterm_open(m->loop, &d->events, errp)) {
        curses_stop(m);
        return false;
    }
    console_watch_list(m, consoles_changed, d);
    consoles_changed(d);
    draw(d);
    return true;
}

const DisplayKind display_curses = {
    .type = DISPLAY_TYPE_CURSES,
    .desc = "text on this terminal",
    .start = curses_start,
    .stop = curses_stop,
};
