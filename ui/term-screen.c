/* SPDX-License-Identifier: MIT
 * ui/term-screen.c - a terminal's screen: cells, the scrolling region, the past, and what of it is seen.
 *
 * Models: the VT102's screen; TERM_PAST_LINES lines are kept of what leaves it at the top.
 * Threads: one at a time. Tests: tests/unit/ui/test-term.c. */
#include "term_internal.h"

#include <string.h>

TermCell *term_row_at(const Term *t, int y)
{
    return t->main + (size_t)y * (size_t)t->cols;
}

void term_touch(Term *t, int from, int to)
{
    for (int y = from; y < to; y++) {
        t->changed[y] = true;
    }
}

void term_erase(Term *t, int y, int from, int to)
{
    TermCell *row = term_row_at(t, y);
    for (int x = from; x < to; x++) {
        row[x] = (TermCell){ .ch = ' ', .fg = t->pen.fg, .bg = t->pen.bg };
    }
    t->changed[y] = true;
}

void term_erase_rows(Term *t, int from, int to)
{
    for (int y = from; y < to; y++) {
        term_erase(t, y, 0, t->cols);
    }
}

/* The uppermost line of the whole screen becomes past. */
static void keep_line(Term *t)
{
    int at = (t->past_first + t->past_used) % TERM_PAST_LINES;
    if (t->past_used == TERM_PAST_LINES) {
        t->past_first = (t->past_first + 1) % TERM_PAST_LINES;
    } else {
        t->past_used++;
    }
    memcpy(t->past + (size_t)at * (size_t)t->cols, t->main, (size_t)t->cols * sizeof(TermCell));
    if (t->back) { /* the view stays where it is, as long as that is there */
        t->back = MIN(t->back + 1, t->past_used);
    }
}

/* Lines [top, bottom] move up by n, or down by -n. */
void term_scroll_region(Term *t, int top, int bottom, int n)
{
    int height = bottom - top + 1, by = CLAMP(n, -height, height);
    size_t line = (size_t)t->cols * sizeof(TermCell), kept = (size_t)(height - ABS(by));
    if (by > 0) {
        memmove(term_row_at(t, top), term_row_at(t, top + by), kept * line);
        term_erase_rows(t, bottom + 1 - by, bottom + 1);
    } else if (by < 0) {
        memmove(term_row_at(t, top - by), term_row_at(t, top), kept * line);
        term_erase_rows(t, top, top - by);
    }
    term_touch(t, top, bottom + 1);
}

void term_line_feed(Term *t)
{
    if (t->pen.y == t->bottom) {
        if (t->top == 0 && !t->alternate) {
            keep_line(t);
        }
        term_scroll_region(t, t->top, t->bottom, 1);
    } else if (t->pen.y < t->rows - 1) {
        t->changed[t->pen.y++] = true;
        t->changed[t->pen.y] = true;
    }
}

void term_reverse_feed(Term *t)
{
    if (t->pen.y == t->top) {
        term_scroll_region(t, t->top, t->bottom, -1);
    } else if (t->pen.y > 0) {
        t->changed[t->pen.y--] = true;
        t->changed[t->pen.y] = true;
    }
}

void term_move_to(Term *t, int x, int y)
{
    int top = t->pen.origin ? t->top : 0, bottom = t->pen.origin ? t->bottom : t->rows - 1;
    t->changed[t->pen.y] = true;
    t->pen.x = CLAMP(x, 0, t->cols - 1);
    t->pen.y = CLAMP(y, top, bottom);
    t->pen.wrap = false;
    t->changed[t->pen.y] = true;
}

/* Up and down stop at the region's edges when they begin inside. */
void term_move_by(Term *t, int dx, int dy)
{
    int y = t->pen.y + dy;
    if (dy < 0 && t->pen.y >= t->top) {
        y = MAX(y, t->top);
    } else if (dy > 0 && t->pen.y <= t->bottom) {
        y = MIN(y, t->bottom);
    }
    t->changed[t->pen.y] = true;
    t->pen.x = CLAMP(t->pen.x + dx, 0, t->cols - 1);
    t->pen.y = CLAMP(y, 0, t->rows - 1);
    t->pen.wrap = false;
    t->changed[t->pen.y] = true;
}

void term_insert_cells(Term *t, int n)
{
    TermCell *row = term_row_at(t, t->pen.y);
    int x = t->pen.x, left = t->cols - x;
    n = MIN(n, left);
    memmove(row + x + n, row + x, (size_t)(left - n) * sizeof(*row));
    term_erase(t, t->pen.y, x, x + n);
}

void term_delete_cells(Term *t, int n)
{
    TermCell *row = term_row_at(t, t->pen.y);
    int x = t->pen.x, left = t->cols - x;
    n = MIN(n, left);
    memmove(row + x, row + x + n, (size_t)(left - n) * sizeof(*row));
    term_erase(t, t->pen.y, t->cols - n, t->cols);
}

/* What small letters are in DEC's graphics: lines, blocks and a few signs, U+0060 to U+007E. */
static uint32_t dec_graphics(uint32_t ch)
{
    static const uint16_t signs[] = { 0x25c6, 0x2592, 0x2409, 0x240c, 0x240d, 0x240a, 0x00b0, 0x00b1,
                                      0x2424, 0x240b, 0x2518, 0x2510, 0x250c, 0x2514, 0x253c, 0x23ba,
                                      0x23bb, 0x2500, 0x23bc, 0x23bd, 0x251c, 0x2524, 0x2534, 0x252c,
                                      0x2502, 0x2264, 0x2265, 0x03c0, 0x2260, 0x00a3, 0x00b7 };
    return ch >= 0x60 && ch < 0x7f ? signs[ch - 0x60] : ch;
}

void term_put(Term *t, uint32_t ch)
{
    Pen *p = &t->pen;
    if (p->graphics[p->charset]) {
        ch = dec_graphics(ch);
    }
    if (ch >= 0x300 && g_unichar_iszerowidth(ch)) {
        return; /* marks would need cells of several characters */
    }
    int width = ch >= 0x1100 && g_unichar_iswide(ch) ? 2 : 1;
    if (p->wrap || (width == 2 && p->x == t->cols - 1 && !t->no_wrap)) {
        p->x = 0;
        p->wrap = false;
        term_line_feed(t);
    }
    p->x = MIN(p->x, t->cols - width);
    if (t->insert) {
        term_insert_cells(t, width);
    }
    TermCell *c = term_row_at(t, p->y) + p->x;
    c[0] = (TermCell){ .ch = ch, .fg = p->fg, .bg = p->bg, .attr = p->attr };
    if (width == 2) {
        c[1] = (TermCell){ .fg = p->fg, .bg = p->bg, .attr = p->attr };
    }
    t->changed[p->y] = true;
    t->last = ch;
    if (p->x + width < t->cols) {
        p->x += width;
    } else {
        p->x = t->cols - 1;
        p->wrap = !t->no_wrap;
    }
}

void term_reset(Term *t)
{
    t->pen = t->saved = t->saved_main = (Pen){ .fg = TERM_INDEXED | 7, .bg = TERM_INDEXED };
    t->top = 0;
    t->bottom = t->rows - 1;
    t->hidden = t->insert = t->newline = t->no_wrap = t->reverse = false;
    t->alternate = t->app_cursor = false;
    t->last = ' ';
    for (int x = 0; x < t->cols; x++) {
        t->tabs[x] = x % 8 == 0;
    }
    term_erase_rows(t, 0, t->rows);
}

/* ---- what is seen ---- */

int term_cols(const Term *t)
{
    return t->cols;
}

int term_rows(const Term *t)
{
    return t->rows;
}

const TermCell *term_row(const Term *t, int row)
{
    if (row >= t->back) {
        return term_row_at(t, row - t->back);
    }
    int line = (t->past_first + t->past_used - t->back + row) % TERM_PAST_LINES;
    return t->past + (size_t)line * (size_t)t->cols;
}

bool term_row_changed(Term *t, int row)
{
    bool all = t->back != 0; /* rows are others' then: it is seldom enough */
    bool was = t->changed[row];
    t->changed[row] = false;
    return was || all;
}

bool term_reversed(const Term *t)
{
    return t->reverse;
}

bool term_cursor(const Term *t, int *x, int *y)
{
    *x = t->pen.x;
    *y = t->pen.y + t->back;
    return !t->hidden && *y < t->rows;
}

void term_scroll(Term *t, int lines)
{
    int back = CLAMP(t->back + lines, 0, t->alternate ? 0 : t->past_used);
    if (back != t->back) {
        t->back = back;
        term_touch(t, 0, t->rows);
    }
}

void term_view_now(Term *t)
{
    if (t->back) {
        t->back = 0;
        term_touch(t, 0, t->rows);
    }
}

/* ---- life ---- */

Term *term_new(int cols, int rows, const TermOps *ops, void *opaque)
{
    Term *t = g_new0(Term, 1);
    size_t cells = (size_t)cols * (size_t)rows;
    g_assert(cols >= 2 && rows >= 2 && cols <= TERM_COLS_MAX && rows <= TERM_ROWS_MAX);
    t->ops = ops;
    t->opaque = opaque;
    t->cols = cols;
    t->rows = rows;
    t->main = g_new0(TermCell, cells);
    t->other = g_new0(TermCell, cells);
    t->past = g_new0(TermCell, (size_t)cols * TERM_PAST_LINES);
    t->changed = g_new0(bool, (size_t)rows);
    t->tabs = g_new0(bool, (size_t)cols);
    term_reset(t);
    return t;
}

void term_free(Term *t)
{
    if (t) {
        g_free(t->main);
        g_free(t->other);
        g_free(t->past);
        g_free(t->changed);
        g_free(t->tabs);
        g_free(t);
    }
}
