/* SPDX-License-Identifier: MIT
 * monitor/qmp_trace.c - trace events: trace-event-get-state, trace-event-set-state, `trace-event`,
 * `info trace-events`.
 *
 * Models: QEMU 7.2's commands of these names. Does not model: events of one vCPU.
 * Threads: main loop, no domain held.
 */
#include "monitor_internal.h"
#include "rhea/monitor/qmp.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/trace.h"
#include "schema/qmp-trace.h"
#include <string.h>

/* A pattern may match nothing, a name must be one. */
static bool check_name(const char *name, Error **errp)
{
    if (trace_is_pattern(name) || trace_foreach(name, NULL, NULL)) {
        return true;
    }
    error_set(errp, "unknown event \"%s\"", name); /* clients know this text */
    error_hint(errp, "the name \"*\" gives all of them");
    error_set_code(errp, "not-found", "name");
    return false;
}

static void add_info(TraceEvent *e, void *opaque)
{
    TraceEventInfo i = { .name = g_strdup(e->name),
                         .state = trace_on(e) ? TRACE_EVENT_STATE_ENABLED : TRACE_EVENT_STATE_DISABLED };
    g_array_append_val((GArray *)opaque, i);
}

bool qmp_trace_event_get_state(QmpCall *call, const TraceEventGetStateArgs *args,
                               TraceEventGetStateResult *ret, Error **errp)
{
    if (!check_name(args->name, errp)) {
        return false;
    }
    GArray *a = g_array_new(FALSE, TRUE, sizeof(TraceEventInfo));
    trace_foreach(args->name, add_info, a);
    ret->n = a->len;
    ret->items = (TraceEventInfo *)(void *)g_array_free(a, FALSE);
    return true;
}

bool qmp_trace_event_set_state(QmpCall *call, const TraceEventSetStateArgs *args, Error **errp)
{
    if (!check_name(args->name, errp)) {
        return false;
    }
    trace_set(args->name, args->enable, NULL);
    return true;
}

/* ---- the human monitor ---- */

void hmp_trace_event(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    bool on = argc > 2 && g_str_equal(argv[2], "on");
    if (argc == 4) {
        g_string_append(out, "trace-event: events cannot be switched for one CPU\n");
    } else if (argc != 3 || (!on && !g_str_equal(argv[2], "off"))) {
        g_string_append(out, "trace-event: an event (or a pattern), and on or off are expected\n");
    } else if (!trace_set(argv[1], on, &err)) {
        monitor_say_error(out, err);
    }
}

static void show(TraceEvent *e, void *opaque)
{
    g_string_append_printf(opaque, "%s : state %u\n", e->name, trace_on(e));
}

void hmp_info_trace_events(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    const char *name = argc > 1 ? argv[1] : "*";
    Error *err = NULL;
    if (argc > 2) {
        g_string_append(out, "info trace-events: one name or pattern is expected\n");
    } else if (!check_name(name, &err)) {
        monitor_say_error(out, err);
    } else {
        trace_foreach(name, show, out);
    }
}

static void add_name(TraceEvent *e, void *opaque)
{
    g_ptr_array_add(opaque, g_strdup(e->name));
}

void complete_trace_event(Machine *m, unsigned arg, GPtrArray *out)
{
    if (arg == 1) {
        trace_foreach(NULL, add_name, out);
    } else if (arg == 2) {
        g_ptr_array_add(out, g_strdup("on"));
        g_ptr_array_add(out, g_strdup("off"));
    }
}
