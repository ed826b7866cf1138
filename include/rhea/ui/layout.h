/* SPDX-License-Identifier: MIT
 * rhea/ui/layout.h - keyboard layouts: which keys give a character. For viewers that say characters (VNC's
 * keysyms) and for typed text. Main loop.
 */
#ifndef RHEA_UI_LAYOUT_H
#define RHEA_UI_LAYOUT_H

#include "rhea/ui/input.h"

enum { LAYOUT_SHIFT = 1, LAYOUT_ALTGR = 2, LAYOUT_OTHER = 4 };
typedef struct KeyLayout KeyLayout;

/* QEMU's names of -k: "en-us", "de", "fr-ch"... NULL: the usual one. Returns NULL with *errp: no such layout,
 * or no library. */
KeyLayout *key_layout_new(const char *name, Error **errp);
void key_layout_set_usual(const char *name); /* copied; before: en-us */
void key_layout_free(KeyLayout *l);
/* X's numbers of keys and characters. mods: LAYOUT_*, what must be held down with it (LAYOUT_OTHER: a lock
 * that is on); may be NULL. False: no key gives it; nor a character by such a lock. */
bool key_layout_keysym(const KeyLayout *l, uint32_t keysym, InputKey *key, unsigned *mods);
bool key_layout_char(const KeyLayout *l, uint32_t unicode, InputKey *key, unsigned *mods);
const char *const *key_layout_names(void); /* ends with NULL */

#endif
