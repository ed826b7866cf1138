/* SPDX-License-Identifier: MIT
 * rhea/util/trace.h - trace events: lines in the log about what happens at chosen places, each of which can
 * be switched on by name while the program runs.
 *
 * tracegen makes from FOLDER/trace.def a function trace_NAME() for each event, which costs a load and a
 * branch while the event is off. Process-wide, like the log. Any thread; switching: any thread.
 */
#ifndef RHEA_UTIL_TRACE_H
#define RHEA_UTIL_TRACE_H

#include "rhea/util/error.h"
#include <inttypes.h>
#include <stdint.h>

typedef struct TraceEvent {
    const char *name, *args, *doc; /* args: "node: str, bytes: u64" */
    bool on;                       /* atomic */
} TraceEvent;

static inline bool trace_on(const TraceEvent *e)
{
    return G_UNLIKELY(__atomic_load_n(&e->on, __ATOMIC_RELAXED));
}

/* One line, "NAME TEXT"; with -msg timestamp=on "PID@SECONDS.MICROSECONDS:NAME TEXT". Control characters,
 * which may be a guest's, become '?'. */
void trace_write(const TraceEvent *e, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* The events of one folder; generated code adds them before main(). */
typedef struct TraceGroup {
    TraceEvent *const *events; /* ends with NULL */
    struct TraceGroup *next;
} TraceGroup;
void trace_add_group(TraceGroup *g);

/* Patterns have '*' (any characters) and '?' (one). */
bool trace_is_pattern(const char *text);
/* Calls fn (or, NULL, nothing) for every event whose name matches, by name; NULL: all. Returns how many. */
unsigned trace_foreach(const char *pattern, void (*fn)(TraceEvent *e, void *opaque), void *opaque);
/* Switches those that match. Fails when none does. */
bool trace_set(const char *pattern, bool on, Error **errp);
/* As options write it: "PATTERN" on, "-PATTERN" off. */
bool trace_choose(const char *text, Error **errp);
/* A file of such lines; empty ones and those that begin with '#' count for nothing. */
bool trace_choose_file(const char *path, Error **errp);
void trace_help(GString *out); /* a line for each event: name, arguments, what it tells */

#endif
