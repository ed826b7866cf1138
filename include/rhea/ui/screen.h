/* SPDX-License-Identifier: MIT
 * rhea/ui/screen.h - screens read by programs: their text, sums over their pixels, and waiting for either.
 * MAIN_LOOP, no domain held.
 */
#ifndef RHEA_UI_SCREEN_H
#define RHEA_UI_SCREEN_H

#include "rhea/ui/console.h"
#include "rhea/ui/font.h"

typedef struct ScreenRegion { int x, y, width, height; } ScreenRegion; /* pixels; width 0: the whole screen */

/* The characters of a screen: those of its text mode, else what the font finds in its pixels, in cells of 8
 * x 16 from the upper left corner: each must have two colours, in whatever order; U+FFFD is what is none.
 * False: there is no picture. *by_font says which; out->cells is the caller's. font NULL: text modes only. */
bool screen_read(Console *c, FontSet *font, ConsoleText *out, bool *by_font);
/* The same of pixels. */
bool screen_read_pixels(Surface *s, FontSet *font, ConsoleText *out);
/* A line without the blanks at its end; g_free. */
char *screen_line(const ConsoleText *t, int y);
bool screen_has(const ConsoleText *t, const char *text); /* within one line */
/* A sum over colours, whatever the format (FNV-1a of 64 bits over a region's size and each pixel's
 * 0x00rrggbb). False: the region is not inside. */
bool screen_sum(Surface *s, const ScreenRegion *r, uint64_t *out);

/* What somebody waits for: everything that is given must be so at the same time. */
typedef struct ScreenWish {
    const char *text;     /* within one line; NULL: whatever text */
    FontSet *font;        /* for text; the waiter's from then on, if there is one. NULL: text modes only */
    bool has_sum;
    uint64_t sum;         /* of the region */
    ScreenRegion region;  /* of sum and unchanged_ms */
    int64_t unchanged_ms; /* of the guest's time; 0: it may change. Without a region, in text modes: the text,
                           * so that the card's blinking cursor is no change */
    int64_t timeout_ms;   /* of the host's time */
} ScreenWish;
typedef enum ScreenEnd { SCREEN_SEEN, SCREEN_TIMEOUT, SCREEN_GONE } ScreenEnd;
enum { SCREEN_WAITERS = 64, SCREEN_TEXT_MAX = 1024 };
/* Looks at the console when it has changed, as another viewer would. done: once, on the main loop, never
 * from within the call; the console may be NULL (SCREEN_GONE). The number of the waiter; 0: *errp. One that
 * ends is freed. */
typedef void (*ScreenDone)(void *opaque, unsigned id, Console *c, FontSet *font, ScreenEnd end);
unsigned screen_wait(Console *c, const ScreenWish *wish, ScreenDone done, void *opaque, Error **errp);
bool screen_wait_cancel(unsigned id); /* false: there is none. done() is not called */
void screen_wait_forget(void);        /* all of them, before the machine goes */

#endif
