/* SPDX-License-Identifier: MIT
 * monitor/objects.c - qom-list, qom-get and qom-set of the human monitor; `info` about CPUs' places, memory
 * and I/O threads.
 *
 * Models: QEMU 7.2's commands of these names and their texts. Threads: main loop, no domain held.
 */
#include "monitor_internal.h"
#include "rhea/monitor/qmp.h"
#include "rhea/util/text.h"
#include "schema/qmp-state.h"
#include "schema/qmp.h"
#include <inttypes.h>
#include <string.h>

/* ---- qom-* ---- */

void hmp_qom_list(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    QomListResult r = { 0 };
    Error *err = NULL;
    if (argc == 1) {
        g_string_append(out, "/\n");
    } else if (argc != 2) {
        g_string_append(out, "qom-list: one path is expected\n");
    } else if (!qmp_qom_list(&(QmpCall){ .machine = m }, &(QomListArgs){ .path = argv[1] }, &r, &err)) {
        monitor_say_error(out, err);
    }
    for (size_t i = 0; i < r.n; i++) {
        g_string_append_printf(out, "%s (%s)\n", r.items[i].name, r.items[i].type);
        type_clear(&object_property_info_type, &r.items[i]);
    }
    g_free(r.items);
}

static Json *get_value(Machine *m, char **argv, Error **errp)
{
    Json *v = NULL;
    const QomGetArgs a = { .path = argv[1], .property = argv[2] };
    return qmp_qom_get(&(QmpCall){ .machine = m }, &a, &v, errp) ? v : NULL;
}

void hmp_qom_get(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    if (argc != 3) {
        g_string_append(out, "qom-get: a path and a property are expected\n");
        return;
    }
    g_autoptr(Json) v = get_value(m, argv, &err);
    if (err) {
        monitor_say_error(out, err);
    } else {
        g_autofree char *text = json_format(v, true);
        g_string_append_printf(out, "%s\n", text);
    }
}

/* Text as a value of the kind that the property has. */
static Json *value_of_text(const Json *was, const char *text, Error **errp)
{
    bool on;
    uint64_t n;
    switch (json_kind(was)) {
    case JSON_BOOL: return text_to_bool(text, &on, errp) ? json_new_bool(on) : NULL;
    case JSON_INT:
        if (text[0] == '-') {
            return text_to_u64(text + 1, &n, errp) ? json_new_int(-(int64_t)n) : NULL;
        }
        return text_to_size(text, 'b', &n, errp) ? json_new_uint(n) : NULL;
    default: return json_new_string(text);
    }
}

void hmp_qom_set(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    bool json = argc > 1 && g_str_equal(argv[1], "-j");
    argc -= json;
    argv += json;
    if (argc != 4) {
        g_string_append(out, "qom-set: [-j], a path, a property and a value are expected\n");
        return;
    }
    g_autoptr(Json) was = json ? NULL : get_value(m, argv, &err);
    g_autoptr(Json) v = err ? NULL : json ? json_parse(argv[3], -1, &err) : value_of_text(was, argv[3], &err);
    const QomSetArgs a = { .path = argv[1], .property = argv[2], .value = v };
    if (err || !qmp_qom_set(&(QmpCall){ .machine = m }, &a, &err)) {
        monitor_say_error(out, err);
    }
}

/* ---- info ---- */

void hmp_info_iothreads(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    QueryIothreadsResult r = { 0 };
    qmp_query_iothreads(&(QmpCall){ .machine = m }, &r, NULL);
    for (size_t i = 0; i < r.n; i++) {
        const IOThreadInfo *t = &r.items[i];
        g_string_append_printf(out, "%s:\n  thread_id=%" PRId64 "\n  poll-max-ns=%" PRId64 "\n", t->id,
                               t->thread_id, t->poll_max_ns);
        g_string_append_printf(out, "  poll-grow=%" PRId64 "\n  poll-shrink=%" PRId64 "\n", t->poll_grow,
                               t->poll_shrink);
        g_string_append_printf(out, "  aio-max-batch=%" PRId64 "\n", t->aio_max_batch);
        type_clear(&iothread_info_type, &r.items[i]);
    }
    g_free(r.items);
}

void hmp_info_memory_size(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    MemoryInfo i = { 0 };
    qmp_query_memory_size_summary(&(QmpCall){ .machine = m }, &i, NULL);
    g_string_append_printf(out, "base memory: %" PRIu64 "\n", i.base_memory);
    if (i.has_plugged_memory) {
        g_string_append_printf(out, "plugged memory: %" PRIu64 "\n", i.plugged_memory);
    }
}

static void place(GString *out, const char *name, bool has, int64_t id)
{
    if (has) {
        g_string_append_printf(out, "    %s: \"%" PRId64 "\"\n", name, id);
    }
}

void hmp_info_hotpluggable_cpus(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    QueryHotpluggableCpusResult r = { 0 };
    Error *err = NULL;
    if (!qmp_query_hotpluggable_cpus(&(QmpCall){ .machine = m }, &r, &err)) {
        monitor_say_error(out, err);
        return;
    }
    g_string_append(out, "Hotpluggable CPUs:\n");
    for (size_t i = 0; i < r.n; i++) {
        const HotpluggableCPU *c = &r.items[i];
        const CpuInstanceProperties *p = &c->props;
        g_string_append_printf(out, "  type: \"%s\"\n  vcpus_count: \"%" PRId64 "\"\n", c->type,
                               c->vcpus_count);
        if (c->qom_path) {
            g_string_append_printf(out, "  qom_path: \"%s\"\n", c->qom_path);
        }
        g_string_append(out, "  CPUInstance Properties:\n");
        place(out, "node-id", p->has_node_id, p->node_id);
        place(out, "socket-id", p->has_socket_id, p->socket_id);
        place(out, "die-id", p->has_die_id, p->die_id);
        place(out, "core-id", p->has_core_id, p->core_id);
        place(out, "thread-id", p->has_thread_id, p->thread_id);
        type_clear(&hotpluggable_cpu_type, &r.items[i]);
    }
    g_free(r.items);
}
