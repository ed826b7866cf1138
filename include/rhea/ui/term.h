/* SPDX-License-Identifier: MIT
 * rhea/ui/term.h - a terminal in memory: what programs write becomes cells, with a past to scroll back to.
 *
 * It understands what Linux's console does (ECMA-48, the VT100's and VT102's private sequences, 16, 256 and
 * direct colours, UTF-8). Whatever is written, memory stays as it was made: sequences have MAX_ARGS numbers,
 * strings are dropped as they come. One thread at a time; it knows neither fonts nor pixels.
 */
#ifndef RHEA_UI_TERM_H
#define RHEA_UI_TERM_H

#include "rhea/ui/input.h"

enum {
    TERM_COLS_MAX = 512, TERM_ROWS_MAX = 256, TERM_PAST_LINES = 1000,
    TERM_BOLD = 1, TERM_UNDERLINE = 2, TERM_BLINK = 4, TERM_REVERSE = 8, TERM_HIDDEN = 16, TERM_DIM = 32,
    TERM_INDEXED = 1 << 24, /* of a colour: the low bits are one of 16; else 0x00rrggbb */
};
typedef struct TermCell {
    uint32_t ch;     /* a character; 0: the right half of a wide one */
    uint32_t fg, bg;
    uint8_t attr;
} TermCell;
typedef struct Term Term;
typedef struct TermOps {
    void (*answer)(void *opaque, const char *text, size_t len); /* to the program: a report, a key's bytes */
    void (*bell)(void *opaque);                                 /* may be NULL */
} TermOps;

/* Sizes inside the limits above and at least 2 x 2. */
Term *term_new(int cols, int rows, const TermOps *ops, void *opaque);
void term_free(Term *t);
void term_write(Term *t, const uint8_t *buf, size_t len);
int term_cols(const Term *t);
int term_rows(const Term *t);
/* What is seen in a row now: of the past while it is scrolled back to. cols cells. */
const TermCell *term_row(const Term *t, int row);
bool term_row_changed(Term *t, int row); /* since the last question */
bool term_reversed(const Term *t);       /* the whole screen (DECSCNM) */
bool term_cursor(const Term *t, int *x, int *y); /* false: hidden */
/* So many lines into the past (negative: back). What is written leaves the view where it is. */
void term_scroll(Term *t, int lines);
void term_view_now(Term *t); /* the present: somebody typed */
/* The bytes of a key that is not a character: arrows, function keys. False: it has none. */
bool term_key(Term *t, InputKey key, bool shift, bool alt);
void term_char(Term *t, uint32_t unicode, bool ctrl, bool alt); /* in UTF-8 */

#endif
