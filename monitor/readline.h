/* SPDX-License-Identifier: MIT
 * monitor/readline.h - a line editor over a byte stream: keys, history, completion.
 */
#ifndef MONITOR_READLINE_H
#define MONITOR_READLINE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum { READLINE_MAX = 4096, READLINE_HISTORY = 64 };

typedef struct Readline Readline;
typedef struct ReadlineOps {
    void (*write)(void *opaque, const char *text, size_t len);
    void (*line)(void *opaque, const char *line); /* Enter; the editor is empty again before the call */
    /* Candidates for the word that ends at the cursor; `before` is the line up to the cursor. */
    void (*complete)(void *opaque, const char *before, GPtrArray *candidates);
} ReadlineOps;

Readline *readline_new(const char *prompt, const ReadlineOps *ops, void *opaque);
void readline_free(Readline *r);
void readline_input(Readline *r, uint8_t byte);
void readline_show(Readline *r);  /* prompt and the line so far */
void readline_reset(Readline *r); /* forget the line, e.g. when the user went away */
const char *readline_history(const Readline *r, unsigned i); /* 0 is the oldest; NULL behind the end */

#endif
