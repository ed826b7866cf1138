/* SPDX-License-Identifier: MIT
 * tools/system/qmp_machine.c - QMP commands about CPU models, NMIs, clocks, vmgenid, the program's options.
 *
 * Models: QEMU 7.2's commands of these names.
 * Does not model: query-cpu-model-comparison and -baseline.
 * Threads: main loop, no domain held.
 */
#include "cli.h"
#include "config.h"
#include "rhea/hw/guestinfo.h"
#include "rhea/hw/timer.h"
#include "rhea/target/x86/cpu.h"
#include "rhea/target/x86/models.h"
#include "rhea/util/errorcode.h"
#include "schema/block.h"
#include "schema/chardev.h"
#include "schema/hostmem.h"
#include "schema/options.h"
#include "schema/qmp-machine.h"
#include "schema/qmp.h"
#include <string.h>

#define CPU_SUFFIX "-x86_64-cpu"

/* ---- clocks ---- */

static void forget_ticks(Device *dev)
{
    if (dev->type == &mc146818_type) {
        domain_lock(dev->domain);
        mc146818_forget_ticks(dev);
        domain_unlock(dev->domain);
    }
    for (guint i = 0; dev->children && i < dev->children->len; i++) {
        forget_ticks(dev->children->pdata[i]);
    }
}

bool qmp_rtc_reset_reinjection(QmpCall *call, Error **errp)
{
    forget_ticks(call->machine->root);
    return true;
}

/* ---- CPU models ---- */

static void describe_model(Machine *m, const char *name, const char *alias_of, CpuDefinitionInfo *i)
{
    g_autoptr(Json) missing = x86_cpu_missing(m, name, NULL);
    bool of_host = g_str_equal(name, "max") || g_str_equal(name, "host");
    i->name = g_strdup(name);
    i->typename = g_strconcat(name, CPU_SUFFIX, NULL);
    i->alias_of = g_strdup(alias_of);
    i->has_migration_safe = true;
    i->migration_safe = !of_host;
    i->static_ = g_str_equal(name, "base");
    i->has_unavailable_features = missing != NULL;
    i->unavailable_features.n = missing ? json_length(missing) : 0;
    i->unavailable_features.items = g_new0(char *, i->unavailable_features.n);
    for (size_t k = 0; k < i->unavailable_features.n; k++) {
        i->unavailable_features.items[k] = g_strdup(json_get_string(json_at(missing, k)));
    }
}

bool qmp_query_cpu_definitions(QmpCall *call, QueryCpuDefinitionsResult *ret, Error **errp)
{
    const char *name, *alias_of;
    while (x86_cpu_model(ret->n, &alias_of)) {
        ret->n++;
    }
    ret->items = g_new0(CpuDefinitionInfo, ret->n);
    for (unsigned i = 0; (name = x86_cpu_model(i, &alias_of)); i++) {
        describe_model(call->machine, name, alias_of, &ret->items[i]);
    }
    return true;
}

static bool append_property(GString *text, const char *key, const Json *value, Error **errp)
{
    bool yes;
    const char *plain = json_get_string(value);
    g_autofree char *other = plain ? NULL : json_format(value, false);
    const char *v = json_get_bool(value, &yes) ? (yes ? "on" : "off") : plain ? plain : other;
    if (strchr("+-", *key) || strpbrk(key, ",=")) { /* "" as well */
        error_fail(errp, "unknown-member", "model.props",
                   "device-list-properties of max-x86_64-cpu lists them",
                   "'%s' is not a CPU property with a value that -cpu could have", key);
        return false;
    }
    g_string_append_printf(text, ",%s=", key);
    for (; *v; v++) {
        g_string_append(text, *v == ',' ? ",," : (char[]){ *v, '\0' });
    }
    return true;
}

/* The text that -cpu would have for a model with changes; NULL on failure. */
static char *model_text(const CpuModelInfo *model, Error **errp)
{
    GString *s = g_string_new(model->name);
    bool ok = !strchr(model->name, ',') && (!model->props || json_kind(model->props) == JSON_OBJECT);
    if (!ok) {
        error_fail(errp, "wrong-type", "model",
                   "for example {\"name\": \"max\", \"props\": {\"avx\": false}}",
                   "a model is a name and an object of properties");
    } else if (model->props) {
        json_object_object_foreach(model->props, key, value)
        {
            ok = ok && append_property(s, key, value, errp);
        }
    }
    return g_string_free(s, !ok);
}

bool qmp_query_cpu_model_expansion(QmpCall *call, const QueryCpuModelExpansionArgs *args,
                                   CpuModelExpansionInfo *ret, Error **errp)
{
    g_autofree char *text = model_text(&args->model, errp);
    bool full = args->type == CPU_MODEL_EXPANSION_TYPE_FULL;
    ret->model.props = text ? x86_cpu_expand(call->machine, text, full, errp) : NULL;
    if (!ret->model.props) {
        return false;
    }
    ret->model.name = g_strdup(full ? args->model.name : "base");
    return true;
}

/* ---- CPU types among the others ---- */

void qmp_cpu_each_type(void (*fn)(void *opaque, const char *name, const char *parent, bool abstract),
                       void *opaque)
{
    fn(opaque, "x86_64-cpu", "cpu", true);
    const char *model, *alias_of;
    for (unsigned i = 0; (model = x86_cpu_model(i, &alias_of)); i++) {
        g_autofree char *name = g_strconcat(model, CPU_SUFFIX, NULL);
        fn(opaque, name, "x86_64-cpu", false);
    }
}

static void add_property(void *opaque, const char *name, const char *type)
{
    ObjectPropertyInfo p = { .name = g_strdup(name), .type = g_strdup(type) };
    g_array_append_val((GArray *)opaque, p);
}

bool qmp_cpu_type_props(const char *type, GArray *out)
{
    const char *model, *alias_of;
    for (unsigned i = 0; (model = x86_cpu_model(i, &alias_of)); i++) {
        g_autofree char *name = g_strconcat(model, CPU_SUFFIX, NULL);
        if (g_str_equal(name, type)) {
            x86_cpu_each_property(model, add_property, out);
            add_property(out, "unavailable-features", "strList");
            return true;
        }
    }
    return false;
}

void qmp_cpu_props(Vcpu *cpu, GArray *out)
{
    x86_cpu_each_live_property(cpu, add_property, out);
    add_property(out, "unavailable-features", "strList");
}

bool qmp_cpu_value(Vcpu *cpu, const char *name, Json **out)
{
    if (!g_str_equal(name, "unavailable-features")) {
        return x86_cpu_property(cpu, name, out);
    }
    Machine *m = cpu->machine;
    *out = x86_cpu_missing(m, m->cpu_text ? m->cpu_text : cpu->target->default_cpu, NULL);
    return *out != NULL;
}

/* ---- NMI ---- */

bool qmp_inject_nmi(QmpCall *call, Error **errp)
{
    return machine_inject_nmi(call->machine, errp);
}

/* ---- VM generation ID ---- */

bool qmp_query_vm_generation_id(QmpCall *call, GuidInfo *ret, Error **errp)
{
    char guid[VMGENID_TEXT];
    if (!vmgenid_get(call->machine, guid)) {
        error_fail(errp, "not-supported", NULL, NULL, "this machine has no VM generation ID");
        error_hint(errp, "start it with -device vmgenid");
        return false;
    }
    ret->guid = g_strdup(guid);
    return true;
}

/* ---- options ---- */

static CommandLineParameterType parameter_type(TypeKind k)
{
    return k == TYPE_BOOL                                              ? COMMAND_LINE_PARAMETER_TYPE_BOOLEAN
           : k == TYPE_SIZE                                            ? COMMAND_LINE_PARAMETER_TYPE_SIZE
           : k == TYPE_INT || k == TYPE_UINT || k == TYPE_NUMBER ? COMMAND_LINE_PARAMETER_TYPE_NUMBER
                                                                       : COMMAND_LINE_PARAMETER_TYPE_STRING;
}

static void add_parameter(GArray *out, const char *name, CommandLineParameterType type, const char *help,
                          const char *def)
{
    CommandLineParameterInfo p = { .name = g_strdup(name), .type = type, .help = g_strdup(help),
                                   .default_ = g_strdup(def) };
    g_array_append_val(out, p);
}

static void add_fields(GArray *out, const TypeDesc *t)
{
    for (unsigned i = 0; t && i < t->n; i++) {
        const FieldDesc *f = &t->fields[i];
        if (!f->refused && !f->rest) {
            add_parameter(out, f->name, parameter_type(f->type->kind), f->doc, f->def);
        }
    }
    for (unsigned i = 0; t && t->kind == TYPE_UNION && t->fields[0].type->names[i]; i++) {
        add_fields(out, t->branch[i]);
    }
}

static void add_props(GArray *out, const Prop *table)
{
    for (const Prop *p = table; p && p->name; p++) {
        bool number = (p->kind >= PROP_U8_ && p->kind <= PROP_U64_) || p->kind == PROP_I32_;
        CommandLineParameterType type = p->kind == PROP_BOOL_   ? COMMAND_LINE_PARAMETER_TYPE_BOOLEAN
                                        : p->kind == PROP_SIZE_ ? COMMAND_LINE_PARAMETER_TYPE_SIZE
                                        : number                ? COMMAND_LINE_PARAMETER_TYPE_NUMBER
                                                                : COMMAND_LINE_PARAMETER_TYPE_STRING;
        add_parameter(out, p->name, type, p->doc, NULL);
    }
}

/* Each name once: boards share properties. */
static void drop_repeats(GArray *a)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint i = 0; i < a->len; i++) {
        CommandLineParameterInfo *p = &g_array_index(a, CommandLineParameterInfo, i);
        if (g_hash_table_contains(seen, p->name)) { /* g_hash_table_add() would keep this name, which goes */
            type_clear(&command_line_parameter_info_type, p);
            g_array_remove_index(a, i--);
        } else {
            g_hash_table_add(seen, p->name);
        }
    }
}

bool qmp_query_command_line_options(QmpCall *call, const QueryCommandLineOptionsArgs *args,
                                    QueryCommandLineOptionsResult *ret, Error **errp)
{
    static const struct { const char *name; const TypeDesc *type; } options[] = {
        { "action", &action_options_type }, { "boot-opts", &boot_options_type },
        { "chardev", &chardev_options_type }, { "drive", &drive_options_type },
        { "fw_cfg", &fw_cfg_options_type }, { "global", &global_options_type },
        { "machine", &machine_options_type }, { "memory", &memory_options_type },
        { "mon", &mon_options_type }, { "name", &name_options_type },
        { "numa", &numa_options_type }, { "rtc", &rtc_options_type }, { "smp-opts", &smp_options_type },
#if HAVE_SECCOMP
        { "sandbox", &sandbox_options_type },
#endif
    };
    ret->items = g_new0(CommandLineOptionInfo, G_N_ELEMENTS(options));
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        if (args->option && !g_str_equal(args->option, options[i].name)) {
            continue;
        }
        GArray *a = g_array_new(FALSE, TRUE, sizeof(CommandLineParameterInfo));
        add_fields(a, options[i].type);
        for (const BoardType *const *b = board_table; g_str_equal(options[i].name, "machine") && *b; b++) {
            add_props(a, (*b)->props);
        }
        drop_repeats(a);
        CommandLineOptionInfo *o = &ret->items[ret->n++];
        o->option = g_strdup(options[i].name);
        o->parameters.n = a->len;
        o->parameters.items = (void *)g_array_free(a, FALSE);
    }
    if (args->option && !ret->n) {
        error_fail(errp, "not-found", "option", "without 'option' all are listed",
                   "there is no option '%s' with parameters", args->option);
        return false;
    }
    return true;
}
