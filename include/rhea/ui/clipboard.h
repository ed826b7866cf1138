/* SPDX-License-Identifier: MIT
 * rhea/ui/clipboard.h - text that was copied, for those who can paste: the guest (by its agent), windows, VNC
 * clients. It is shared only when a guest takes part, which its owner has asked for. MAIN_LOOP.
 */
#ifndef RHEA_UI_CLIPBOARD_H
#define RHEA_UI_CLIPBOARD_H

#include "rhea/system/machine.h"

enum { CLIPBOARD_MAX = 1 << 20 }; /* bytes of a text */

typedef struct ClipboardPeer { /* embedded in its owner's struct */
    void (*changed)(struct ClipboardPeer *p); /* another peer has put something: clipboard_text() */
    bool guest;                               /* set before it joins */
    Machine *machine;                         /* NULL: it has not joined */
} ClipboardPeer;
void clipboard_join(Machine *m, ClipboardPeer *p);
void clipboard_leave(ClipboardPeer *p); /* not joined: no effect */
/* Told to all others at once. False: it is the text that is there, too long, no UTF-8, or not shared. */
bool clipboard_put(ClipboardPeer *from, const char *text, size_t len);
const char *clipboard_text(Machine *m, size_t *len); /* UTF-8 with lines that end in LF; NULL: nothing yet */
bool clipboard_is_shared(const ClipboardPeer *p); /* a guest takes part */

#endif
