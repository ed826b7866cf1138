/* SPDX-License-Identifier: MIT
 * tools/common/trace.c - the option -trace (-T) of all programs: which trace events begin switched on.
 *
 * Models: QEMU 7.2's option with its log backend: file= names the log, as -D does. Unlike there, a pattern
 * that matches nothing is an error. Threads: main thread, before others exist.
 */
#include "rhea/tools/trace.h"
#include "rhea/schema/type.h"
#include "rhea/util/log.h"
#include "rhea/util/trace.h"
#include "schema/options.h"

#include <stdio.h>

static bool is_help(const char *text)
{
    return text && (g_str_equal(text, "help") || g_str_equal(text, "?"));
}

static bool act(const TraceOptions *v, bool *help, Error **errp)
{
    *help = is_help(v->enable);
    if (*help) {
        g_autoptr(GString) s = g_string_new(NULL);
        trace_help(s);
        fputs(s->str, stdout);
        return true;
    }
    if (!v->enable && !v->events && !v->file) {
        return error_set(errp, "nothing is switched on: " TRACE_OPTION_ARGS " is expected");
    }
    return (!v->enable || trace_choose(v->enable, errp)) &&
           (!v->events || trace_choose_file(v->events, errp)) &&
           (!v->file || log_set_file(v->file, errp));
}

bool trace_option(const char *arg, bool *help, Json **record, Error **errp)
{
    bool from_text;
    TraceOptions v;
    *help = false;
    g_autoptr(Json) j = keyval_parse(arg, "enable", &from_text, errp);
    if (!j || !type_decode(&trace_options_type, j, from_text, &v, errp)) {
        return false;
    }
    bool ok = act(&v, help, errp);
    if (ok && record) {
        *record = type_encode(&trace_options_type, &v);
    }
    type_clear(&trace_options_type, &v);
    return ok;
}
