/* SPDX-License-Identifier: MIT
 * rhea/ui/display.h - front ends: what shows a machine's consoles, chosen by -display. MAIN_LOOP.
 */
#ifndef RHEA_UI_DISPLAY_H
#define RHEA_UI_DISPLAY_H

#include "rhea/system/machine.h"
#include "schema/display.h"

typedef struct DisplayKind {
    DisplayType type;
    const char *desc;
    /* After the machine was built, before it runs. False: *errp says why, nothing is left behind. */
    bool (*start)(Machine *m, const DisplayOptions *o, Error **errp);
    void (*stop)(Machine *m); /* without effect when it was not started */
} DisplayKind;

/* Of -display. False: *errp; front ends of QEMU's that are not here are named with the reason. *o is the
 * caller's, to be cleared by display_options_clear(). */
bool display_parse(const Json *opts, bool from_text, DisplayOptions *o, Error **errp);
void display_options_clear(DisplayOptions *o);
bool display_start(Machine *m, const DisplayOptions *o, Error **errp);
void display_stop(Machine *m);
DisplayOptions display_current(void); /* of the last display_start(); borrowed */
void display_help(GString *out); /* names, one a line */
/* The front end to take when nothing was said: a window where there is a desktop, else none. */
DisplayType display_default(void);

extern const DisplayKind display_sdl, display_curses, display_web;
char *display_web_url(void); /* for browsers, with the token; g_free; NULL: there is no web console */

#endif
