/* SPDX-License-Identifier: MIT
 * monitor/accel.c - the command that moves a stopped machine to another accelerator.
 * Models: the text of -accel: a name and its properties.
 * Does not model: priority lists (-accel kvm:tcg): who moves a machine knows where to.
 * Threads: main loop, no domain held.
 */
#include "monitor_internal.h"
#include "rhea/monitor/qmp.h"
#include "rhea/schema/type.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include "schema/qmp.h"
#include <string.h>

static const AccelOps *accel_named(const char *name, Error **errp)
{
    const AccelOps *a = accel_find(name);
    if (!a) {
        g_autoptr(GPtrArray) names = g_ptr_array_new();
        for (const AccelOps *const *t = accel_table; *t; t++) {
            g_ptr_array_add(names, (gpointer)(*t)->name);
        }
        g_ptr_array_add(names, NULL);
        error_fail(errp, "not-found", "accel", NULL, "unknown accelerator '%s'", name);
        error_hint_nearest(errp, name, (const char *const *)names->pdata);
    error_hint_else(errp, "x-rhea-query-accel lists them");
    }
    return a;
}

static bool take_props(Machine *m, const AccelOps *a, void *state, const Json *opts, Error **errp)
{
    json_object_object_foreach((Json *)opts, key, value)
    {
        const Prop *p = prop_find(a->props, key);
        if (!strcmp(key, "accel")) {
            continue;
        }
        if (!p) {
            return error_fail(errp, "unknown-member", key, "-accel NAME,help lists its properties",
                              "accelerator '%s' has no property '%s'", a->name, key);
        }
        if (!prop_set_json(m, p, state, value, errp)) {
            return false;
        }
    }
    return true;
}

bool monitor_accel_json(Machine *m, const Json *opts, Error **errp)
{
    const char *name = json_get_string(json_member(opts, "accel", NULL));
    const AccelOps *a = name ? accel_named(name, errp) : NULL;
    if (!a) {
        return name ? false : error_fail(errp, "missing-member", "accel", "x-rhea-query-accel lists them",
                                         "'accel' is missing: which accelerator?");
    }
    void *state = g_malloc0(MAX(a->state_size, (size_t)1));
    props_init(a->props, state);
    if (!take_props(m, a, state, opts, errp)) {
        props_fini(a->props, state);
        g_free(state);
        return false;
    }
    const char *was = m->accel ? m->accel->name : "none";
    if (!machine_move(m, a, state, errp)) {
        return false;
    }
    Json *data = json_put(json_new_object(), "was", json_new_string(was));
    machine_event(m, "X_RHEA_ACCEL", json_put(data, "accel", json_new_string(a->name)));
    return true;
}

bool qmp_x_rhea_query_accel(QmpCall *call, RheaAccelInfo *ret, Error **errp G_GNUC_UNUSED)
{
    const Machine *m = call->machine;
    unsigned n = 0;
    for (const AccelOps *const *t = accel_table; *t; t++) {
        n++;
    }
    ret->accel = g_strdup(m->accel ? m->accel->name : "none");
    ret->available.items = g_new0(char *, n);
    for (const AccelOps *const *t = accel_table; *t; t++) {
        if ((*t)->run && (!(*t)->available || (*t)->available(NULL))) {
            ret->available.items[ret->available.n++] = g_strdup((*t)->name);
        }
    }
    return true;
}

bool qmp_x_rhea_accel(QmpCall *call, const XRheaAccelArgs *args, RheaAccelMove *ret, Error **errp)
{
    Machine *m = call->machine;
    int64_t begin = g_get_monotonic_time();
    g_autofree char *was = g_strdup(m->accel ? m->accel->name : "none");
    g_autoptr(Json) opts = json_put(json_new_object(), "accel", json_new_string(args->accel));
    if (args->props && json_kind(args->props) != JSON_OBJECT) {
        error_set(errp, "'props' must be an object");
        error_set_code(errp, "wrong-type", "props");
        return false;
    }
    if (args->props) {
        json_object_object_foreach(args->props, key, value)
        {
            if (!strcmp(key, "accel")) {
                return error_fail(errp, "unknown-member", "props.accel",
                                  "leave it out: the name of the accelerator is given already",
                                  "accelerator '%s' has no property 'accel'", args->accel);
            }
            json_put(opts, key, json_ref(value));
        }
    }
    if (!monitor_accel_json(m, opts, errp)) {
        return false;
    }
    ret->was = g_steal_pointer(&was);
    ret->accel = g_strdup(m->accel->name);
    ret->milliseconds = (uint64_t)(g_get_monotonic_time() - begin) / 1000;
    return true;
}

void hmp_accel(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    bool from_text;
    if (argc == 1) {
        g_string_append_printf(out, "%s\n", m->accel ? m->accel->name : "none");
        return;
    }
    if (argc > 2) {
        g_string_append(out, "accel: NAME[,PROP=VALUE,...] is expected\n");
        return;
    }
    g_autoptr(Json) opts = keyval_parse(argv[1], "accel", &from_text, &err);
    if (!opts || !monitor_accel_json(m, opts, &err)) {
        monitor_say_error(out, err);
    }
}

void complete_accel(Machine *m, unsigned arg, GPtrArray *out)
{
    for (const AccelOps *const *t = accel_table; arg == 1 && *t; t++) {
        if ((*t)->run) {
            g_ptr_array_add(out, g_strdup((*t)->name));
        }
    }
}
