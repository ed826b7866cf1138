/* SPDX-License-Identifier: MIT
 * ui/term.c - a terminal in memory: the sequences that change its screen, and keys.
 *
 * Models: ECMA-48 (5th edition) with DEC's private modes, as console_codes(4) lists them for Linux. Does not
 *          model: mouse reports, titles and other strings (they are dropped), double-sized lines, the bell's
 *          sound, Linux's own palette changes.
 * Threads: one at a time. Tests: tests/unit/ui/test-term.c. */
#include "term_internal.h"

#include <string.h>

/* ---- sequences ---- */

static void answer(Term *t, const char *text)
{
    t->ops->answer(t->opaque, text, strlen(text));
}

static int arg(const Term *t, unsigned i, int otherwise)
{
    return i < t->n_args && t->args[i] > 0 ? t->args[i] : otherwise;
}

/* Of 256: the 16, a cube of 6 x 6 x 6, 24 greys. */
static uint32_t colour_256(int i)
{
    if (i < 16) {
        return TERM_INDEXED | (uint32_t)i;
    }
    if (i >= 232) {
        return 0x010101u * (8u + 10u * (uint32_t)(MIN(i, 255) - 232));
    }
    unsigned n = (unsigned)i - 16, part[3] = { n / 36, n / 6 % 6, n % 6 };
    uint32_t rgb = 0;
    for (unsigned k = 0; k < 3; k++) {
        rgb = rgb << 8 | (part[k] ? 55 + 40 * part[k] : 0);
    }
    return rgb;
}

/* 38 and 48: ";5;N" or ";2;R;G;B". How many numbers belong to it. */
static unsigned long_colour(const Term *t, unsigned i, uint32_t *out)
{
    int kind = arg(t, i + 1, 0);
    if (kind == 5 && i + 2 < t->n_args) {
        *out = colour_256(CLAMP(t->args[i + 2], 0, 255));
        return 2;
    }
    if (kind == 2 && i + 4 < t->n_args) {
        uint32_t rgb = 0;
        for (unsigned k = 2; k < 5; k++) {
            rgb = rgb << 8 | (uint32_t)CLAMP(t->args[i + k], 0, 255);
        }
        *out = rgb;
        return 4;
    }
    return t->n_args; /* the rest means nothing without it */
}

static void one_rendition(Pen *p, int n)
{
    static const uint8_t on[] = { [1] = TERM_BOLD,  [2] = TERM_DIM,     [4] = TERM_UNDERLINE,
                                  [5] = TERM_BLINK, [7] = TERM_REVERSE, [8] = TERM_HIDDEN };
    if (n == 0) {
        p->fg = TERM_INDEXED | 7;
        p->bg = TERM_INDEXED;
        p->attr = 0;
    } else if (n < (int)G_N_ELEMENTS(on)) {
        p->attr |= on[n];
    } else if (n == 21) {
        p->attr |= TERM_UNDERLINE; /* doubly */
    } else if (n == 22) {
        p->attr &= (uint8_t) ~(TERM_BOLD | TERM_DIM);
    } else if (n > 22 && n < 29) {
        p->attr &= (uint8_t)~on[n - 20 < (int)G_N_ELEMENTS(on) ? n - 20 : 0];
    } else if ((n >= 30 && n <= 37) || (n >= 90 && n <= 97)) {
        p->fg = TERM_INDEXED | (uint32_t)(n >= 90 ? n - 90 + 8 : n - 30);
    } else if ((n >= 40 && n <= 47) || (n >= 100 && n <= 107)) {
        p->bg = TERM_INDEXED | (uint32_t)(n >= 100 ? n - 100 + 8 : n - 40);
    } else if (n == 39) {
        p->fg = TERM_INDEXED | 7;
    } else if (n == 49) {
        p->bg = TERM_INDEXED;
    }
}

static void renditions(Term *t)
{
    if (!t->n_args) {
        one_rendition(&t->pen, 0);
    }
    for (unsigned i = 0; i < t->n_args; i++) {
        if (t->args[i] == 38 || t->args[i] == 48) {
            i += long_colour(t, i, t->args[i] == 38 ? &t->pen.fg : &t->pen.bg);
        } else {
            one_rendition(&t->pen, t->args[i]);
        }
    }
}

/* The other screen, which has no past; its pen is kept as DECSC does. */
static void set_alternate(Term *t, bool on, bool with_pen)
{
    if (on == t->alternate) {
        return;
    }
    TermCell *was = t->main;
    t->main = t->other;
    t->other = was;
    t->alternate = on;
    if (on && with_pen) {
        t->saved_main = t->pen;
    }
    if (on) {
        term_erase_rows(t, 0, t->rows);
    } else if (with_pen) {
        t->pen = t->saved_main;
    }
    term_touch(t, 0, t->rows);
}

static void private_mode(Term *t, int mode, bool on)
{
    switch (mode) {
    case 1: t->app_cursor = on; break;
    case 5:
        t->reverse = on;
        term_touch(t, 0, t->rows);
        break;
    case 6:
        t->pen.origin = on;
        term_move_to(t, 0, on ? t->top : 0);
        break;
    case 7: t->no_wrap = !on; break;
    case 25:
        t->hidden = !on;
        t->changed[t->pen.y] = true;
        break;
    case 47:
    case 1047: set_alternate(t, on, false); break;
    case 1049: set_alternate(t, on, true); break;
    default: break;
    }
}

static void modes(Term *t, bool on)
{
    for (unsigned i = 0; i < t->n_args; i++) {
        if (t->private == '?') {
            private_mode(t, t->args[i], on);
        } else if (!t->private && t->args[i] == 4) {
            t->insert = on;
        } else if (!t->private && t->args[i] == 20) {
            t->newline = on;
        }
    }
}

static void erase_display(Term *t, int what)
{
    if (what == 0) {
        term_erase(t, t->pen.y, t->pen.x, t->cols);
        term_erase_rows(t, t->pen.y + 1, t->rows);
    } else if (what == 1) {
        term_erase_rows(t, 0, t->pen.y);
        term_erase(t, t->pen.y, 0, t->pen.x + 1);
    } else if (what == 2) {
        term_erase_rows(t, 0, t->rows);
    } else if (what == 3) {
        t->past_used = 0;
        term_view_now(t);
    }
}

static void erase_line(Term *t, int what)
{
    if (what <= 2) {
        term_erase(t, t->pen.y, what == 0 ? t->pen.x : 0, what == 1 ? t->pen.x + 1 : t->cols);
    }
}

static void tab(Term *t, int n)
{
    int x = t->pen.x;
    for (; n > 0 && x < t->cols - 1; n--) {
        do {
            x++;
        } while (x < t->cols - 1 && !t->tabs[x]);
    }
    for (; n < 0 && x > 0; n++) {
        do {
            x--;
        } while (x > 0 && !t->tabs[x]);
    }
    term_move_by(t, x - t->pen.x, 0);
}

static void report(Term *t, int what)
{
    g_autofree char *place = NULL;
    if (what == 5) {
        answer(t, "\033[0n");
    } else if (what == 6) {
        place = g_strdup_printf("\033[%d;%dR", t->pen.y + 1 - (t->pen.origin ? t->top : 0), t->pen.x + 1);
        answer(t, place);
    }
}

static void lines_here(Term *t, int by)
{
    if (t->pen.y >= t->top && t->pen.y <= t->bottom) {
        term_scroll_region(t, t->pen.y, t->bottom, by);
        t->pen.x = 0;
        t->pen.wrap = false;
    }
}

static void set_region(Term *t)
{
    int top = arg(t, 0, 1) - 1, bottom = MIN(arg(t, 1, t->rows), t->rows) - 1;
    if (top < bottom) {
        t->top = top;
        t->bottom = bottom;
        term_move_to(t, 0, t->pen.origin ? top : 0);
    }
}

static void save(Term *t)
{
    t->saved = t->pen;
}

static void restore(Term *t)
{
    t->changed[t->pen.y] = true;
    t->pen = t->saved;
    t->changed[t->pen.y] = true;
}

static void run_moves(Term *t, char c)
{
    int n = arg(t, 0, 1), top = t->pen.origin ? t->top : 0;
    switch (c) {
    case 'A': term_move_by(t, 0, -n); break;
    case 'B':
    case 'e': term_move_by(t, 0, n); break;
    case 'C':
    case 'a': term_move_by(t, n, 0); break;
    case 'D': term_move_by(t, -n, 0); break;
    case 'E': term_move_by(t, -t->pen.x, n); break;
    case 'F': term_move_by(t, -t->pen.x, -n); break;
    case 'G':
    case '`': term_move_by(t, n - 1 - t->pen.x, 0); break;
    case 'H':
    case 'f': term_move_to(t, arg(t, 1, 1) - 1, top + n - 1); break;
    case 'I': tab(t, n); break;
    case 'Z': tab(t, -n); break;
    case 'd': term_move_to(t, t->pen.x, top + n - 1); break;
    default: break;
    }
}

static void run_csi(Term *t, char c)
{
    int n = arg(t, 0, 1);
    if (t->private && c != 'h' && c != 'l') {
        return;
    }
    switch (c) {
    case '@': term_insert_cells(t, n); break;
    case 'P': term_delete_cells(t, n); break;
    case 'X': term_erase(t, t->pen.y, t->pen.x, MIN(t->cols, t->pen.x + n)); break;
    case 'J': erase_display(t, arg(t, 0, 0)); break;
    case 'K': erase_line(t, arg(t, 0, 0)); break;
    case 'L': lines_here(t, -n); break;
    case 'M': lines_here(t, n); break;
    case 'S': term_scroll_region(t, t->top, t->bottom, n); break;
    case 'T': term_scroll_region(t, t->top, t->bottom, -n); break;
    case 'b':
        for (int i = 0; i < MIN(n, t->cols * t->rows); i++) {
            term_put(t, t->last);
        }
        break;
    case 'c':
        if (!arg(t, 0, 0)) {
            answer(t, "\033[?6c"); /* a VT102, as Linux's */
        }
        break;
    case 'g':
        for (int x = 0; x < t->cols; x++) {
            t->tabs[x] = t->tabs[x] && arg(t, 0, 0) != 3 && (arg(t, 0, 0) != 0 || x != t->pen.x);
        }
        break;
    case 'h':
    case 'l': modes(t, c == 'h'); break;
    case 'm': renditions(t); break;
    case 'n': report(t, arg(t, 0, 0)); break;
    case 'r': set_region(t); break;
    case 's': save(t); break;
    case 'u': restore(t); break;
    default: run_moves(t, c); break;
    }
}

static void in_csi(Term *t, uint8_t c)
{
    if (c >= '0' && c <= '9') {
        t->n_args = MAX(t->n_args, 1);
        int *a = &t->args[t->n_args - 1];
        *a = MIN(*a * 10 + c - '0', ARG_MAX);
    } else if (c == ';' || c == ':') {
        if (t->n_args >= MAX_ARGS) {
            t->state = CSI_BAD;
        } else {
            t->n_args = MAX(t->n_args, 1) + 1;
            t->n_args = MIN(t->n_args, MAX_ARGS);
        }
    } else if (c >= '<' && c <= '?' && !t->n_args && !t->private) {
        t->private = (char)c;
    } else if (c >= 0x40) {
        t->state = GROUND;
        run_csi(t, (char)c);
    } else {
        t->state = CSI_BAD; /* intermediate bytes: none of ours has them */
    }
}

static void in_escape(Term *t, uint8_t c)
{
    t->state = GROUND;
    switch (c) {
    case '[':
        t->state = CSI;
        t->private = 0;
        t->n_args = 0;
        memset(t->args, 0, sizeof(t->args));
        break;
    case ']':
    case 'P':
    case 'X':
    case '^':
    case '_': t->state = STRING; break;
    case '(':
    case ')':
        t->set = c == ')';
        t->state = ESCAPE_SET;
        break;
    case '#': t->state = ESCAPE_HASH; break;
    case '7': save(t); break;
    case '8': restore(t); break;
    case 'D': term_line_feed(t); break;
    case 'E':
        term_move_by(t, -t->pen.x, 0);
        term_line_feed(t);
        break;
    case 'H': t->tabs[t->pen.x] = true; break;
    case 'M': term_reverse_feed(t); break;
    case 'Z': answer(t, "\033[?6c"); break;
    case 'c': term_reset(t); break;
    default: break;
    }
}

static void control(Term *t, uint8_t c)
{
    switch (c) {
    case 7:
        if (t->ops->bell) {
            t->ops->bell(t->opaque);
        }
        break;
    case 8: term_move_by(t, -1, 0); break;
    case 9: tab(t, 1); break;
    case 10:
    case 11:
    case 12:
        term_line_feed(t);
        t->pen.wrap = false;
        if (t->newline) {
            term_move_by(t, -t->pen.x, 0);
        }
        break;
    case 13: term_move_by(t, -t->pen.x, 0); break;
    case 14:
    case 15: t->pen.charset = c == 14; break;
    default: break;
    }
}

/* ---- bytes ---- */

static void ground_byte(Term *t, uint8_t c)
{
    enum { REPLACEMENT = 0xfffd };
    static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
    if (t->utf8_left && (c & 0xc0) == 0x80) {
        t->utf8 = t->utf8 << 6 | (c & 0x3f);
        if (!--t->utf8_left) {
            bool good = t->utf8 >= t->utf8_least && g_unichar_validate(t->utf8);
            if (!good || t->utf8 >= 0xa0) { /* C1 controls in UTF-8 show nothing */
                term_put(t, good ? t->utf8 : REPLACEMENT);
            }
        }
        return;
    }
    if (t->utf8_left) {
        t->utf8_left = 0;
        term_put(t, REPLACEMENT);
    }
    if (c < 0x80) {
        if (c != 0x7f) {
            term_put(t, c);
        }
    } else if (c >= 0xc2 && c < 0xf5) {
        t->utf8_left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        t->utf8 = c & (0x3fu >> t->utf8_left);
        t->utf8_least = least[t->utf8_left];
    } else {
        term_put(t, REPLACEMENT);
    }
}

static void one_byte(Term *t, uint8_t c)
{
    if (c == 0x18 || c == 0x1a) { /* CAN, SUB */
        t->state = GROUND;
        return;
    }
    if (t->state == STRING || t->state == STRING_ESC) {
        if (c == 7 || (t->state == STRING_ESC && c == '\\')) {
            t->state = GROUND;
        } else {
            t->state = c == 0x1b ? STRING_ESC : STRING;
        }
        return;
    }
    if (c == 0x1b) {
        t->utf8_left = 0;
        t->state = ESCAPE;
        return;
    }
    if (c < 0x20) { /* also within sequences */
        t->utf8_left = 0;
        control(t, c);
        return;
    }
    switch (t->state) {
    case GROUND: ground_byte(t, c); break;
    case ESCAPE: in_escape(t, c); break;
    case ESCAPE_SET:
        t->pen.graphics[t->set] = c == '0';
        t->state = GROUND;
        break;
    case ESCAPE_HASH:
        if (c == '8') {
            for (int i = 0; i < t->cols * t->rows; i++) {
                t->main[i] = (TermCell){ .ch = 'E', .fg = TERM_INDEXED | 7, .bg = TERM_INDEXED };
            }
            term_touch(t, 0, t->rows);
        }
        t->state = GROUND;
        break;
    case CSI: in_csi(t, c); break;
    case CSI_BAD:
        if (c >= 0x40) {
            t->state = GROUND;
        }
        break;
    case STRING:
    case STRING_ESC: break; /* above */
    }
}

void term_write(Term *t, const uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        one_byte(t, buf[i]);
    }
}

/* ---- keys ---- */

static void send_key(Term *t, const char *text, bool alt)
{
    if (alt) {
        answer(t, "\033");
    }
    answer(t, text);
}

bool term_key(Term *t, InputKey key, bool shift, bool alt)
{
    static const struct {
        InputKey key;
        char end; /* CSI END, SS3 END in the application's mode; 0: CSI NUMBER ~ */
        int number;
    } keys[] = {
        { INPUT_KEY_UP, 'A', 0 },   { INPUT_KEY_DOWN, 'B', 0 }, { INPUT_KEY_RIGHT, 'C', 0 },
        { INPUT_KEY_LEFT, 'D', 0 }, { INPUT_KEY_HOME, 0, 1 },   { INPUT_KEY_INSERT, 0, 2 },
        { INPUT_KEY_DELETE, 0, 3 }, { INPUT_KEY_END, 0, 4 },    { INPUT_KEY_PGUP, 0, 5 },
        { INPUT_KEY_PGDN, 0, 6 },   { INPUT_KEY_F6, 0, 17 },    { INPUT_KEY_F7, 0, 18 },
        { INPUT_KEY_F8, 0, 19 },    { INPUT_KEY_F9, 0, 20 },    { INPUT_KEY_F10, 0, 21 },
        { INPUT_KEY_F11, 0, 23 },   { INPUT_KEY_F12, 0, 24 },
    };
    char text[16];
    if (key == INPUT_KEY_TAB && shift) {
        send_key(t, "\033[Z", alt);
        return true;
    }
    if (key >= INPUT_KEY_F1 && key <= INPUT_KEY_F5) { /* Linux's */
        g_snprintf(text, sizeof(text), "\033[[%c", 'A' + (key - INPUT_KEY_F1));
        send_key(t, text, alt);
        return true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (keys[i].key == key) {
            if (keys[i].end) {
                g_snprintf(text, sizeof(text), "\033%c%c", t->app_cursor ? 'O' : '[', keys[i].end);
            } else {
                g_snprintf(text, sizeof(text), "\033[%d~", keys[i].number);
            }
            send_key(t, text, alt);
            return true;
        }
    }
    return false;
}

void term_char(Term *t, uint32_t unicode, bool ctrl, bool alt)
{
    char text[8];
    if (ctrl && ((unicode >= '@' && unicode < 0x7f) || unicode == ' ')) {
        unicode &= 0x1f;
    } else if (ctrl && unicode == '/') {
        unicode = 0x1f;
    }
    int n = unicode ? g_unichar_to_utf8(unicode, text) : 1;
    text[0] = unicode ? text[0] : 0;
    if (alt) {
        answer(t, "\033");
    }
    t->ops->answer(t->opaque, text, (size_t)n);
}
