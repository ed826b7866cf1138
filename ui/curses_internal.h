/* SPDX-License-Identifier: MIT
 * ui/curses_internal.h - the terminal of -display curses: what curses.c (consoles), curses-term.c (the
 * terminal itself, its messages and signals) and curses-keys.c share. */
#ifndef UI_CURSES_INTERNAL_H
#define UI_CURSES_INTERNAL_H

#include "rhea/ui/strokes.h"

/* ---- curses-keys.c ---- */

typedef struct CursesStroke {
    bool known;    /* some key of the layout does it */
    InputKey key;
    unsigned mods; /* STROKE_* */
    uint32_t ch;   /* the character, for programs behind text consoles; 0: it is none */
} CursesStroke;
/* What is typed on a terminal to get a character, with Alt or without; control characters are keys with Ctrl,
 * or keys of their own. */
CursesStroke curses_stroke_char(const KeyLayout *l, uint32_t unicode, bool alt);
/* Of curses' numbers of keys, and terminfo's names ("kUP5"; NULL: not known) for those that have none. */
CursesStroke curses_stroke_key(int code, const char *name, bool alt);

/* ---- curses-term.c: one in a process; MAIN_LOOP ---- */

typedef struct CursesEvents {
    void (*typed)(void *opaque, const CursesStroke *s);
    void (*resized)(void *opaque);              /* also after the program was stopped: draw everything */
    void (*said)(void *opaque, const char *line); /* a message of the program's; printable UTF-8 */
    void (*hung_up)(void *opaque);              /* the terminal is gone */
    const KeyLayout *layout;
    void *opaque;
} CursesEvents;
/* False: *errp, and the terminal is as it was. events is borrowed until cterm_close(). */
bool cterm_open(Loop *loop, const CursesEvents *events, Error **errp);
void cterm_close(void); /* the messages of the time in between follow; none is open: no effect */
void cterm_size(int *columns, int *rows);
void cterm_erase(void);
/* One cell; whatever `unicode` is, no control character gets to the terminal. blank_next: a wide one has
 * room. Returns the cells that it took: 1 or 2. */
int cterm_put(int x, int y, uint32_t unicode, unsigned attr, bool blank_next);
void cterm_cursor(int x, int y, bool visible);
/* False: the terminal does not take it at present; once more later. */
bool cterm_flush(void);

#endif
