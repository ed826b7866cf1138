/* SPDX-License-Identifier: MIT
 * util/trace.c - trace events: which there are, switching them, writing their lines to the log.
 *
 * Models: QEMU 7.2's tracing by its log backend: forms of lines, patterns and files of events.
 * Does not model: its other backends (perf and bpftrace find functions by themselves), events of one vCPU.
 * Threads: any. Groups are added before main().
 */
#include "rhea/util/trace.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20 };

static TraceGroup *groups;

void trace_add_group(TraceGroup *g)
{
    g->next = groups;
    groups = g;
}

void trace_write(const TraceEvent *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    for (char *p = text; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 127) {
            *p = '?';
        }
    }
    if (log_has_timestamps()) {
        struct timeval now;
        gettimeofday(&now, NULL);
        log_printf("%d@%lld.%06ld:%s %s\n", (int)getpid(), (long long)now.tv_sec, (long)now.tv_usec, e->name,
                   text);
    } else {
        log_printf("%s %s\n", e->name, text);
    }
}

/* ---- choosing ---- */

bool trace_is_pattern(const char *text)
{
    return strpbrk(text, "*?") != NULL;
}

static int by_name(gconstpointer a, gconstpointer b)
{
    return strcmp((*(TraceEvent *const *)a)->name, (*(TraceEvent *const *)b)->name);
}

static GPtrArray *matching(const char *pattern)
{
    GPtrArray *all = g_ptr_array_new();
    for (TraceGroup *g = groups; g; g = g->next) {
        for (TraceEvent *const *e = g->events; *e; e++) {
            if (!pattern || g_pattern_match_simple(pattern, (*e)->name)) {
                g_ptr_array_add(all, *e);
            }
        }
    }
    g_ptr_array_sort(all, by_name);
    return all;
}

unsigned trace_foreach(const char *pattern, void (*fn)(TraceEvent *e, void *opaque), void *opaque)
{
    g_autoptr(GPtrArray) list = matching(pattern);
    for (guint i = 0; fn && i < list->len; i++) {
        fn(list->pdata[i], opaque);
    }
    return list->len;
}

static void switch_on(TraceEvent *e, void *opaque)
{
    __atomic_store_n(&e->on, true, __ATOMIC_RELAXED);
}

static void switch_off(TraceEvent *e, void *opaque)
{
    __atomic_store_n(&e->on, false, __ATOMIC_RELAXED);
}

static void add_name(TraceEvent *e, void *opaque)
{
    g_ptr_array_add(opaque, (gpointer)e->name);
}

bool trace_set(const char *pattern, bool on, Error **errp)
{
    if (trace_foreach(pattern, on ? switch_on : switch_off, NULL)) {
        return true;
    }
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    trace_foreach(NULL, add_name, names);
    g_ptr_array_add(names, NULL);
    if (trace_is_pattern(pattern)) {
        error_set(errp, "no trace event matches '%s'", pattern);
    } else {
        error_set(errp, "there is no trace event '%s'", pattern);
        error_hint_nearest(errp, pattern, (const char *const *)names->pdata);
    }
    error_hint(errp, "'-trace help' lists them");
    return false;
}

bool trace_choose(const char *text, Error **errp)
{
    bool off = text[0] == '-';
    return trace_set(text + off, !off, errp);
}

bool trace_choose_file(const char *path, Error **errp)
{
    struct stat st;
    g_autofree char *text = NULL;
    /* A pipe would keep the program waiting, a large file is none of events. */
    if (stat(path, &st) < 0) {
        return error_set_errno(errp, errno, "could not read '%s'", path);
    }
    if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        return error_set(errp, "'%s' is not a file of at most 1 MiB with a pattern on each line", path);
    }
    g_autoptr(GError) gerr = NULL;
    if (!g_file_get_contents(path, &text, NULL, &gerr)) {
        return error_set(errp, "could not read '%s': %s", path, gerr->message);
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        const char *line = g_strstrip(lines[i]);
        if (*line && *line != '#' && !trace_choose(line, errp)) {
            error_prefix(errp, "'%s', line %u", path, i + 1);
            return false;
        }
    }
    return true;
}

static void describe(TraceEvent *e, void *opaque)
{
    g_string_append_printf(opaque, "%s(%s)\n    %s\n", e->name, e->args, e->doc);
}

void trace_help(GString *out)
{
    trace_foreach(NULL, describe, out);
}
