/* SPDX-License-Identifier: MIT
 * rhea/ui/strokes.h - keys that are typed one after another, for text and for front ends that are told
 * characters: a key goes down and up only when the keyboard has room for both, so that the guest loses none
 * and repeats none, however slowly it reads. MAIN_LOOP.
 */
#ifndef RHEA_UI_STROKES_H
#define RHEA_UI_STROKES_H

#include "rhea/ui/input.h"
#include "rhea/ui/layout.h"

/* What is held down with a key; the first two are LAYOUT_*'s. */
enum { STROKE_SHIFT = LAYOUT_SHIFT, STROKE_ALTGR = LAYOUT_ALTGR, STROKE_CTRL = 8, STROKE_ALT = 16 };
typedef struct Strokes {
    GArray *steps; /* of keys, private */
    guint next;    /* of those, what was not sent yet */
} Strokes;

void strokes_init(Strokes *s);
void strokes_clear(Strokes *s); /* forgets them: keys that are down stay so (input_release_all()) */
void strokes_fini(Strokes *s);
void strokes_add(Strokes *s, InputKey key, unsigned mods);
guint strokes_waiting(const Strokes *s); /* steps: keys, and modifiers that go down or up */
/* Sends what there is room for. one: no more than one key. True: none is left. */
bool strokes_send(Strokes *s, Machine *m, Console *from, bool one);

#endif
