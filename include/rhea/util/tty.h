/* SPDX-License-Identifier: MIT
 * rhea/util/tty.h - the program's own terminal (stdin and stdout): one has it at a time, and it is put back
 * however the program ends. There is one in a process.
 */
#ifndef RHEA_UTIL_TTY_H
#define RHEA_UTIL_TTY_H

#include "rhea/util/error.h"

/* who: as in "is already used by chardev 'a'"; copied. False: somebody has it; *errp names that one, the
 * caller adds a hint. Main loop. */
bool tty_claim(const char *who, Error **errp);
void tty_release(void);
/* From now on called when the program ends by exit() or by a fatal signal, in this case on any thread: uses
 * nothing but async-signal-safe calls, and has no effect when there is nothing to put back. Once per
 * function, at most four of them. */
void tty_restore_at_end(void (*restore)(void));
void tty_restore(void); /* all of these, now; async-signal-safe */

#endif
