/* SPDX-License-Identifier: MIT
 * ui/term_internal.h - a terminal's state, and what sequences do to the screen (ui/term.c, ui/term-screen.c).
 * Threads: one at a time.
 */
#ifndef UI_TERM_INTERNAL_H
#define UI_TERM_INTERNAL_H

#include "rhea/ui/term.h"

enum { MAX_ARGS = 16, ARG_MAX = 9999, CHARSETS = 2 };
typedef enum TermState {
    GROUND,
    ESCAPE,
    ESCAPE_SET,
    ESCAPE_HASH,
    CSI,
    CSI_BAD,
    STRING,
    STRING_ESC
} TermState;

typedef struct Pen {
    uint32_t fg, bg;
    uint8_t attr;
    int x, y;
    bool wrap; /* the next character begins a line */
    bool origin;
    uint8_t charset;         /* which of the two is in use */
    bool graphics[CHARSETS]; /* DEC's lines instead of small letters */
} Pen;

struct Term {
    const TermOps *ops;
    void *opaque;
    int cols, rows;
    TermCell *main, *other; /* rows * cols; other: the one that is not shown (?1049) */
    TermCell *past;         /* a ring of TERM_PAST_LINES lines */
    int past_first, past_used, back;
    bool *changed;
    bool *tabs;
    Pen pen, saved, saved_main;
    int top, bottom; /* the scrolling region, both inside */
    bool hidden, insert, newline, no_wrap, reverse, alternate, app_cursor;
    uint32_t last; /* character, for REP */

    TermState state;
    char private; /* '?', '>'... of a sequence, 0 */
    int args[MAX_ARGS];
    unsigned n_args;
    uint8_t set; /* which charset is chosen */
    uint32_t utf8;
    unsigned utf8_left;
    uint32_t utf8_least;
};

/* The screen. Rows and columns are inside; counts may be anything. */
TermCell *term_row_at(const Term *t, int y);
void term_touch(Term *t, int from, int to);
void term_erase_rows(Term *t, int from, int to);
void term_erase(Term *t, int y, int from, int to);
void term_scroll_region(Term *t, int top, int bottom, int n);
void term_line_feed(Term *t);
void term_reverse_feed(Term *t);
void term_move_to(Term *t, int x, int y);
void term_move_by(Term *t, int dx, int dy);
void term_insert_cells(Term *t, int n);
void term_delete_cells(Term *t, int n);
void term_put(Term *t, uint32_t ch);
void term_reset(Term *t);

#endif
