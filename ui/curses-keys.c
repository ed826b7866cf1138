/* SPDX-License-Identifier: MIT
 * ui/curses-keys.c - what terminals tell of keys, as keys.
 *
 * Models: characters by the layout of -k; control characters as Ctrl with what xterm's keyboards have them
 *         on; curses' keys; the names that ncurses gives to xterm's keys with modifiers (kUP5: Ctrl-Up).
 * Does not model: what terminals do not tell, such as Shift alone, or Ctrl-Shift-A. Threads: main loop.
 * Tests: tests/unit/ui/test-curses-keys.c, tests/func/curses.py. */
#define NCURSES_NOMACROS 1
#define NCURSES_WIDECHAR 1
#include "curses_internal.h"

#include <ncursesw/curses.h>
#include <string.h>

enum { ESC = 27, DEL = 127, FUNCTION_KEYS = 12 };

static CursesStroke plain(InputKey key, unsigned mods)
{
    return (CursesStroke){ .known = true, .key = key, .mods = mods };
}

/* Letters have keys in layouts that do not give them, too: programs want Ctrl-C. */
static CursesStroke with_ctrl(const KeyLayout *l, char c)
{
    CursesStroke s = plain(INPUT_KEY_SPC, 0);
    unsigned mods = 0;
    s.known = key_layout_char(l, (uint32_t)c, &s.key, &mods);
    if (!s.known && c >= 'a') {
        int key = input_key_find((char[]){ c, 0 });
        s.known = key >= 0;
        s.key = s.known ? (InputKey)key : s.key;
    }
    s.mods = mods | STROKE_CTRL;
    return s;
}

static CursesStroke control(const KeyLayout *l, uint32_t c)
{
    switch (c) {
    case 0: return plain(INPUT_KEY_SPC, STROKE_CTRL);
    case '\t': return plain(INPUT_KEY_TAB, 0);
    case '\r': return plain(INPUT_KEY_RET, 0);
    case ESC: return plain(INPUT_KEY_ESC, 0);
    case DEL: return plain(INPUT_KEY_BACKSPACE, 0);
    default: return with_ctrl(l, (char)(c <= 26 ? c + 'a' - 1 : c + '@'));
    }
}

CursesStroke curses_stroke_char(const KeyLayout *l, uint32_t c, bool alt)
{
    CursesStroke s;
    if (c < ' ' || c == DEL) {
        s = control(l, c);
    } else {
        unsigned mods = 0;
        s = (CursesStroke){ .ch = c };
        s.known = key_layout_char(l, c, &s.key, &mods);
        s.mods = mods;
    }
    s.mods |= alt ? STROKE_ALT : 0;
    return s;
}

static const struct {
    int code;
    InputKey key;
    unsigned mods;
} codes[] = {
    { KEY_DOWN, INPUT_KEY_DOWN, 0 },
    { KEY_UP, INPUT_KEY_UP, 0 },
    { KEY_LEFT, INPUT_KEY_LEFT, 0 },
    { KEY_RIGHT, INPUT_KEY_RIGHT, 0 },
    { KEY_HOME, INPUT_KEY_HOME, 0 },
    { KEY_END, INPUT_KEY_END, 0 },
    { KEY_PPAGE, INPUT_KEY_PGUP, 0 },
    { KEY_NPAGE, INPUT_KEY_PGDN, 0 },
    { KEY_IC, INPUT_KEY_INSERT, 0 },
    { KEY_DC, INPUT_KEY_DELETE, 0 },
    { KEY_BACKSPACE, INPUT_KEY_BACKSPACE, 0 },
    { KEY_ENTER, INPUT_KEY_KP_ENTER, 0 },
    { KEY_BTAB, INPUT_KEY_TAB, STROKE_SHIFT },
    { KEY_A1, INPUT_KEY_KP_7, 0 },
    { KEY_A3, INPUT_KEY_KP_9, 0 },
    { KEY_B2, INPUT_KEY_KP_5, 0 },
    { KEY_C1, INPUT_KEY_KP_1, 0 },
    { KEY_C3, INPUT_KEY_KP_3, 0 },
    { KEY_SF, INPUT_KEY_DOWN, STROKE_SHIFT },
    { KEY_SR, INPUT_KEY_UP, STROKE_SHIFT },
    { KEY_SLEFT, INPUT_KEY_LEFT, STROKE_SHIFT },
    { KEY_SRIGHT, INPUT_KEY_RIGHT, STROKE_SHIFT },
    { KEY_SHOME, INPUT_KEY_HOME, STROKE_SHIFT },
    { KEY_SEND, INPUT_KEY_END, STROKE_SHIFT },
    { KEY_SPREVIOUS, INPUT_KEY_PGUP, STROKE_SHIFT },
    { KEY_SNEXT, INPUT_KEY_PGDN, STROKE_SHIFT },
    { KEY_SIC, INPUT_KEY_INSERT, STROKE_SHIFT },
    { KEY_SDC, INPUT_KEY_DELETE, STROKE_SHIFT },
    { KEY_PRINT, INPUT_KEY_PRINT, 0 },
};

/* xterm's numbers of modifiers, less 1: Shift 1, Alt 2, Ctrl 4. */
static unsigned xterm_mods(unsigned n)
{
    return (n & 1 ? STROKE_SHIFT : 0) | (n & 2 ? STROKE_ALT : 0) | (n & 4 ? STROKE_CTRL : 0);
}

static bool by_name(const char *name, CursesStroke *s)
{
    static const struct {
        const char *name;
        InputKey key;
    } names[] = { { "kUP", INPUT_KEY_UP },    { "kDN", INPUT_KEY_DOWN },  { "kLFT", INPUT_KEY_LEFT },
                  { "kRIT", INPUT_KEY_RIGHT }, { "kHOM", INPUT_KEY_HOME }, { "kEND", INPUT_KEY_END },
                  { "kPRV", INPUT_KEY_PGUP },  { "kNXT", INPUT_KEY_PGDN }, { "kIC", INPUT_KEY_INSERT },
                  { "kDC", INPUT_KEY_DELETE } };
    for (size_t i = 0; name && i < G_N_ELEMENTS(names); i++) {
        size_t n = strlen(names[i].name);
        const char *digit = name + n;
        bool same = strncmp(name, names[i].name, n) == 0;
        if (same && (!*digit || (*digit >= '2' && *digit <= '8' && !digit[1]))) {
            *s = plain(names[i].key, *digit ? xterm_mods((unsigned)(*digit - '1')) : STROKE_SHIFT);
            return true;
        }
    }
    return false;
}

/* F13 and so on are F1 with Shift, then with Ctrl, with both, and with Alt. */
static CursesStroke function_key(unsigned n)
{
    static const unsigned mods[] = { 0, STROKE_SHIFT, STROKE_CTRL, STROKE_SHIFT | STROKE_CTRL, STROKE_ALT,
                                     STROKE_SHIFT | STROKE_ALT };
    unsigned key = (n - 1) % FUNCTION_KEYS, with = (n - 1) / FUNCTION_KEYS;
    if (with >= G_N_ELEMENTS(mods)) {
        return (CursesStroke){ 0 };
    }
    return plain(key < 10 ? INPUT_KEY_F1 + key : key == 10 ? INPUT_KEY_F11 : INPUT_KEY_F12, mods[with]);
}

CursesStroke curses_stroke_key(int code, const char *name, bool alt)
{
    CursesStroke s = { 0 };
    if (code > KEY_F0 && code < KEY_F0 + 64) {
        s = function_key((unsigned)(code - KEY_F0));
    } else {
        for (size_t i = 0; !s.known && i < G_N_ELEMENTS(codes); i++) {
            if (codes[i].code == code) {
                s = plain(codes[i].key, codes[i].mods);
            }
        }
        if (!s.known) {
            by_name(name, &s);
        }
    }
    s.mods |= alt ? STROKE_ALT : 0;
    return s;
}
