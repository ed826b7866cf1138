/* SPDX-License-Identifier: MIT
 * ui/vc.c - text consoles: a terminal (ui/term.c), drawn with the video BIOS's font, typed at through
 * input.h.
 *
 * Models: QEMU 7.2's vc: its size, Ctrl and Up, Down, PgUp, PgDn for what has scrolled away. Keys come by
 * their places and become characters by -k's layout; they repeat, as keyboards' do. Threads: main loop.
 * Tests: tests/unit/ui/test-vc.c, tests/func/vc.py. */
#include "rhea/ui/vc.h"
#include "consoles.h"
#include "rhea/backends/char.h"
#include "rhea/system/machine.h"
#include "rhea/ui/font.h"
#include "rhea/ui/layout.h"
#include "rhea/ui/term.h"
#include "rhea/util/errorcode.h"
#include "schema/chardev.h"

#include <limits.h>
#include <string.h>

enum {
    INPUT_KEYS_AT_ONCE = 16,
    COLS = 80,
    ROWS = 24,
    REPEAT_AFTER_MS = 500,
    REPEAT_MS = 40,
    MS = 1000000,
    LAST_CHAR = 0x17f
};

typedef struct Vc {
    Machine *m;
    Chardev *chr;
    Console *console;
    Surface *surface;
    InputHandler *keyboard;
    Term *term;
    const Font *font;
    int cursor_y; /* where it was drawn; -1: nowhere */
    bool reversed;
    bool down[INPUT_KEYS];
    bool caps;
    bool full; /* the program does not take what is typed: it is lost */
    InputKey repeated;
    Timer repeat;
} Vc;

static GPtrArray *all;
static const char *(*layout_name)(void);
/* What each key gives, with no modifier, Shift, AltGr and both; made when the first key is typed. */
static uint32_t (*key_chars)[4];

/* ---- drawing ---- */

static const uint32_t palette[16] = { /* the VGA's */
    0x000000, 0xaa0000, 0x00aa00, 0xaa5500, 0x0000aa, 0xaa00aa, 0x00aaaa, 0xaaaaaa,
    0x555555, 0xff5555, 0x55ff55, 0xffff55, 0x5555ff, 0xff55ff, 0x55ffff, 0xffffff,
};

static uint32_t rgb(uint32_t colour, bool bright)
{
    if (!(colour & TERM_INDEXED)) {
        return colour;
    }
    return palette[(colour & 15) | (bright ? 8 : 0)];
}

static void draw_cell(Vc *v, int x, int y, const TermCell *c, bool cursor)
{
    uint32_t fg = rgb(c->fg, c->attr & TERM_BOLD), bg = rgb(c->bg, c->attr & TERM_BLINK);
    if (c->attr & TERM_DIM) {
        fg = fg >> 1 & 0x7f7f7f;
    }
    if (!(c->attr & TERM_REVERSE) != !(cursor != term_reversed(v->term))) {
        uint32_t was = fg;
        fg = bg;
        bg = was;
    }
    const uint8_t *glyph = v->font->glyph[c->ch && !(c->attr & TERM_HIDDEN) ? font_glyph(c->ch) : ' '];
    for (int row = 0; row < FONT_HEIGHT; row++) {
        uint32_t *p = (uint32_t *)surface_row(v->surface, y * FONT_HEIGHT + row) + x * FONT_WIDTH;
        unsigned bits = c->attr & TERM_UNDERLINE && row == FONT_HEIGHT - 2 ? 0xff : glyph[row];
        for (int k = 0; k < FONT_WIDTH; k++) {
            p[k] = bits & 0x80u >> k ? fg : bg;
        }
    }
}

static void vc_update(void *opaque)
{
    Vc *v = opaque;
    int x, y, cols = term_cols(v->term);
    bool cursor = term_cursor(v->term, &x, &y), everything = v->reversed != term_reversed(v->term);
    v->reversed = term_reversed(v->term);
    int now = cursor ? y : -1;
    for (int row = 0; row < term_rows(v->term); row++) {
        bool moved = now != v->cursor_y && (row == now || row == v->cursor_y);
        if (!term_row_changed(v->term, row) && !moved && !everything) {
            continue;
        }
        const TermCell *cells = term_row(v->term, row);
        for (int i = 0; i < cols; i++) {
            draw_cell(v, i, row, &cells[i], row == now && i == x);
        }
        console_damage(v->console, 0, row * FONT_HEIGHT, cols * FONT_WIDTH, FONT_HEIGHT);
    }
    v->cursor_y = now;
}

static void vc_watched(void *opaque, bool on G_GNUC_UNUSED)
{
    Vc *v = opaque;
    v->reversed = !term_reversed(v->term); /* all of it is drawn */
}

/* The palette's colour that is the least far away. */
static unsigned nearest(uint32_t colour, bool bright)
{
    unsigned best = 0;
    int least = INT_MAX;
    if (colour & TERM_INDEXED) {
        return (colour & 15) | (bright ? 8 : 0);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(palette); i++) {
        int far = 0;
        for (int part = 0; part < 24; part += 8) {
            int d = (int)(colour >> part & 255) - (int)(palette[i] >> part & 255);
            far += d * d;
        }
        if (far < least) {
            least = far;
            best = i;
        }
    }
    return best;
}

static uint16_t text_attr(const Vc *v, const TermCell *c)
{
    unsigned fg = nearest(c->fg, c->attr & TERM_BOLD), bg = nearest(c->bg, c->attr & TERM_BLINK);
    if (c->attr & TERM_DIM && fg < 8) {
        fg = 8; /* as grey as what it stands for */
    }
    if (!(c->attr & TERM_REVERSE) != !term_reversed(v->term)) {
        unsigned was = fg;
        fg = bg;
        bg = was;
    }
    return (uint16_t)(fg | bg << CELL_BACKGROUND | (c->attr & TERM_UNDERLINE ? CELL_UNDERLINE : 0));
}

static bool vc_text(void *opaque, ConsoleText *out)
{
    const Vc *v = opaque;
    int cols = term_cols(v->term), rows = term_rows(v->term);
    *out = (ConsoleText){
        .columns = cols, .rows = rows, .cursor_x = -1, .cursor_y = -1, .coloured = out->coloured
    };
    out->cells = g_new(uint32_t, (size_t)cols * (size_t)rows);
    out->attrs = out->coloured ? g_new(uint16_t, (size_t)cols * (size_t)rows) : NULL;
    for (int y = 0; y < rows; y++) {
        const TermCell *row = term_row(v->term, y);
        for (int x = 0; x < cols; x++) {
            bool seen = row[x].ch && !(row[x].attr & TERM_HIDDEN && out->coloured);
            out->cells[y * cols + x] = seen ? row[x].ch : ' ';
            if (out->attrs) {
                out->attrs[y * cols + x] = text_attr(v, &row[x]);
            }
        }
    }
    if (!term_cursor(v->term, &out->cursor_x, &out->cursor_y)) {
        out->cursor_x = out->cursor_y = -1;
    }
    return true;
}

static const ConsoleOps console_ops = { .update = vc_update, .watched = vc_watched, .text = vc_text };

/* ---- keys ---- */

static void make_key_chars(void)
{
    KeyLayout *l = key_layout_new(layout_name ? layout_name() : NULL, NULL);
    key_chars = g_malloc0(INPUT_KEYS * sizeof(*key_chars));
    for (uint32_t c = LAST_CHAR; l && c >= ' '; c--) { /* the lowest one that a key gives stays */
        InputKey key;
        unsigned mods;
        if (c != 0x7f && key_layout_char(l, c, &key, &mods) && mods < 4) {
            key_chars[key][mods] = c;
        }
    }
    if (l) {
        key_layout_free(l);
    }
}

static uint32_t character(const Vc *v, InputKey key)
{
    static const char keypad[] = "789-456+1230.";
    bool shift = v->down[INPUT_KEY_SHIFT] || v->down[INPUT_KEY_SHIFT_R];
    bool altgr = v->down[INPUT_KEY_ALT_R];
    switch (key) {
    case INPUT_KEY_RET:
    case INPUT_KEY_KP_ENTER: return '\r';
    case INPUT_KEY_ESC: return 033;
    case INPUT_KEY_BACKSPACE: return 0x7f;
    case INPUT_KEY_TAB: return '\t';
    case INPUT_KEY_SPC: return ' ';
    case INPUT_KEY_KP_DIVIDE: return '/';
    case INPUT_KEY_KP_MULTIPLY: return '*';
    default: break;
    }
    if (key >= INPUT_KEY_KP_7 && key <= INPUT_KEY_KP_DECIMAL) {
        return (uint32_t)keypad[key - INPUT_KEY_KP_7];
    }
    uint32_t c = key_chars[key][(shift ? LAYOUT_SHIFT : 0) | (altgr ? LAYOUT_ALTGR : 0)];
    if (v->caps && !altgr && c && g_unichar_isalpha(c)) {
        c = shift ? g_unichar_tolower(c) : g_unichar_toupper(c);
    }
    return c;
}

/* Keys that look at the past. */
static bool scrolls(Vc *v, InputKey key)
{
    int page = term_rows(v->term) / 2;
    switch (key) {
    case INPUT_KEY_UP: term_scroll(v->term, 1); return true;
    case INPUT_KEY_DOWN: term_scroll(v->term, -1); return true;
    case INPUT_KEY_PGUP: term_scroll(v->term, page); return true;
    case INPUT_KEY_PGDN: term_scroll(v->term, -page); return true;
    default: return false;
    }
}

static void type(Vc *v, InputKey key)
{
    bool shift = v->down[INPUT_KEY_SHIFT] || v->down[INPUT_KEY_SHIFT_R];
    bool ctrl = v->down[INPUT_KEY_CTRL] || v->down[INPUT_KEY_CTRL_R], alt = v->down[INPUT_KEY_ALT];
    if (!key_chars) {
        make_key_chars();
    }
    if (!(ctrl && scrolls(v, key))) {
        term_view_now(v->term);
        uint32_t c = term_key(v->term, key, shift, alt) ? 0 : character(v, key);
        if (c) {
            term_char(v->term, c, ctrl, alt);
        }
    }
    console_hurry(v->console);
}

static bool is_modifier(InputKey key)
{
    return key == INPUT_KEY_SHIFT || key == INPUT_KEY_SHIFT_R || key == INPUT_KEY_CTRL ||
           key == INPUT_KEY_CTRL_R || key == INPUT_KEY_ALT || key == INPUT_KEY_ALT_R ||
           key == INPUT_KEY_CAPS_LOCK || key == INPUT_KEY_META_L || key == INPUT_KEY_META_R;
}

static void repeat_in(Vc *v, int ms)
{
    timer_arm(&v->repeat, clock_now(v->repeat.clock) + ms * INT64_C(1000000));
}

static void on_repeat(void *opaque)
{
    Vc *v = opaque;
    type(v, v->repeated);
    repeat_in(v, REPEAT_MS);
}

static bool is_wheel(const UiEvent *e)
{
    return e->code == POINTER_WHEEL_UP || e->code == POINTER_WHEEL_DOWN;
}

static void on_event(void *opaque, const UiEvent *e)
{
    Vc *v = opaque;
    InputKey key = (InputKey)e->code;
    if (e->kind != INPUT_KIND_KEY) { /* what else happens here is not for the guest */
        bool wheel = e->kind == INPUT_KIND_BUTTON && e->down;
        term_scroll(v->term, wheel && is_wheel(e) ? e->code == POINTER_WHEEL_UP ? 3 : -3 : 0);
        console_hurry(v->console);
        return;
    }
    v->down[key] = e->down;
    if (!e->down) {
        if (key == v->repeated) {
            timer_cancel(&v->repeat);
        }
        return;
    }
    v->caps ^= key == INPUT_KEY_CAPS_LOCK;
    if (!is_modifier(key)) {
        type(v, key);
        v->repeated = key;
        repeat_in(v, REPEAT_AFTER_MS);
    }
}

static unsigned key_room(void *opaque)
{
    Vc *v = opaque;
    return v->full ? 0 : INPUT_KEYS_AT_ONCE;
}

static const InputHandlerOps input_ops = { .kinds = 1 << INPUT_KIND_KEY | 1 << INPUT_KIND_BUTTON |
                                                    1 << INPUT_KIND_ABS,
                                           .event = on_event,
                                           .room = key_room };

/* ---- the chardev's other end ---- */

static void on_answer(void *opaque, const char *text, size_t len)
{
    Vc *v = opaque;
    v->full = chardev_upper_input(v->chr, (const uint8_t *)text, len) < len;
}

static void vc_resume(void *terminal)
{
    Vc *v = terminal;
    v->full = false;
}

static const TermOps term_ops = { .answer = on_answer };

static bool size_of(const ChardevVc *o, int *cols, int *rows, Error **errp)
{
    if ((o->has_width && o->has_cols) || (o->has_height && o->has_rows)) {
        return error_fail(errp, "conflict", o->has_width && o->has_cols ? "width" : "height", "leave out one",
                          "the size is given twice: in pixels and in characters");
    }
    *cols = (int)(o->has_cols ? o->cols : o->has_width ? o->width / FONT_WIDTH : COLS);
    *rows = (int)(o->has_rows ? o->rows : o->has_height ? o->height / FONT_HEIGHT : ROWS);
    return true;
}

static void *vc_open(Machine *m, Chardev *c, const ChardevOptions *o, Error **errp)
{
    int cols = 0, rows = 0;
    const Font *font = size_of(&o->u.vc, &cols, &rows, errp) ? font_find(m, errp) : NULL;
    Surface *s = font ? surface_new(cols * FONT_WIDTH, rows * FONT_HEIGHT, errp) : NULL;
    if (!s) {
        return NULL;
    }
    Vc *v = g_new0(Vc, 1);
    v->m = m;
    v->chr = c;
    v->font = font;
    v->surface = s;
    v->cursor_y = -1;
    v->term = term_new(cols, rows, &term_ops, v);
    v->reversed = true;
    timer_init(&v->repeat, m->loop, &clock_host_monotonic, on_repeat, v);
    v->console = console_new(m, NULL, 0, &console_ops, v);
    console_set_label(v->console, chardev_id(c));
    console_set_surface(v->console, surface_ref(s));
    v->keyboard = input_handler_new(m, NULL, &input_ops, v);
    input_handler_bind(v->keyboard, v->console);
    all = all ? all : g_ptr_array_new();
    g_ptr_array_add(all, v);
    return v;
}

static void vc_write(void *terminal, const uint8_t *buf, size_t len)
{
    Vc *v = terminal;
    term_write(v->term, buf, len);
    console_hurry(v->console);
}

static void vc_close(void *terminal)
{
    Vc *v = terminal;
    g_ptr_array_remove(all, v);
    if (!all->len) {
        g_clear_pointer(&all, g_ptr_array_unref);
    }
    timer_cancel(&v->repeat);
    input_handler_free(v->keyboard);
    console_free(v->console);
    surface_unref(v->surface);
    term_free(v->term);
    g_free(v);
}

static const CharUpper char_ops = {
    .open = vc_open, .write = vc_write, .close = vc_close, .resume = vc_resume
};

void vc_register(const char *(*layout)(void))
{
    layout_name = layout;
    chardev_upper_register("vc", &char_ops);
}

bool vc_feed(Console *c, const char *text, size_t len)
{
    for (guint i = 0; all && i < all->len; i++) {
        Vc *v = all->pdata[i];
        if (v->console == c) {
            term_view_now(v->term);
            on_answer(v, text, len);
            return true;
        }
    }
    return false;
}
