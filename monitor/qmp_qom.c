/* SPDX-License-Identifier: MIT
 * monitor/qmp_qom.c - objects and types as programs see them: the device tree, the properties of devices,
 * boards and -object; device_add and device_del.
 *
 * Models: QEMU 7.2's paths (/machine/peripheral/ID, /machine/unattached/device[N]) and type names
 * (NAME-machine,
 *         NAME-accel); classes that only order others (pci-device, memory-backend) are in the list when it is
 *         asked for abstract ones.
 * Does not model: changing what devices and boards were made with; only live properties can be set.
 * Threads: main loop, no domain held.
 */
#include "qmp_internal.h"
#include "rhea/backends/object.h"
#include "rhea/monitor/monitor.h"
#include "rhea/system/hotplug.h"
#include "rhea/system/liveprop.h"
#include "rhea/system/qompath.h"
#include "rhea/util/errorcode.h"
#include "schema/drive.h"
#include "schema/hostmem.h"
#include "schema/iothread.h"
#include "schema/rng.h"
#include "schema/secret.h"
#include "schema/tls.h"
#include "schema/qmp.h"
#include <string.h>

/* ---- lists of properties ---- */

typedef GArray PropList; /* ObjectPropertyInfo */

static PropList *prop_list_new(void)
{
    return g_array_new(FALSE, TRUE, sizeof(ObjectPropertyInfo));
}

static ObjectPropertyInfo *prop_list_add(PropList *l, const char *name, const char *type)
{
    ObjectPropertyInfo i = { .name = g_strdup(name), .type = g_strdup(type) };
    g_array_append_val(l, i);
    return &g_array_index(l, ObjectPropertyInfo, l->len - 1);
}

/* Results have one layout: a generated struct of items and n. True. */
#define LIST_RESULT(l, ret) \
    ({ (ret)->n = (l)->len; (ret)->items = (void *)g_array_free((l), FALSE); true; })

/* A table with offsets into a struct of `size` bytes, whose defaults are looked at. */
static void add_table(PropList *l, const Prop *table, size_t size)
{
    if (!table) {
        return;
    }
    g_autofree void *base = g_malloc0(MAX(size, 1));
    props_init(table, base);
    for (const Prop *p = table; p->name; p++) {
        if (!prop_is_listed(p)) {
            continue;
        }
        g_autofree char *type = prop_type_name(p);
        bool plain = p->kind != PROP_CHARDEV_ && p->kind < PROP_BLOCK_;
        ObjectPropertyInfo *i = prop_list_add(l, p->name, type);
        i->description = g_strdup(p->doc);
        i->default_value = plain && (p->kind != PROP_STR_ || p->sdef) ? prop_get(p, base) : NULL;
    }
    props_fini(table, base);
}

/* What devices can also be made with is in the list already. */
static void add_live(const LiveProp *p, void *list)
{
    PropList *l = list;
    ObjectPropertyInfo *i = NULL;
    for (guint k = 0; k < l->len && !i; k++) {
        ObjectPropertyInfo *other = &g_array_index(l, ObjectPropertyInfo, k);
        i = g_str_equal(other->name, p->name) ? other : NULL;
    }
    i = i ? i : prop_list_add(l, p->name, p->type);
    g_free(i->type);
    i->type = g_strdup(p->type);
    g_free(i->description);
    i->description = g_strdup(p->doc);
}

static void add_device_type(PropList *l, const DeviceType *type)
{
    for (const DeviceType *t = type; t; t = t->base) {
        add_table(l, t->props, type->size);
    }
    if (type->bus_type) {
        add_table(l, type->bus_type->child_props, type->bus_type->child_size);
    }
    live_props_foreach(type, add_live, l);
}

static const char *schema_type_name(const TypeDesc *t)
{
    switch (t->kind) {
    case TYPE_BOOL: return "bool";
    case TYPE_INT:
    case TYPE_UINT:
    case TYPE_SIZE: return "int";
    case TYPE_STRING: return "string";
    default: return t->name;
    }
}

static void add_schema_type(PropList *l, const TypeDesc *t)
{
    for (unsigned i = 0; t && i < t->n; i++) {
        const FieldDesc *f = &t->fields[i];
        if (!f->refused && strcmp(f->name, "id") && (!t->tag || strcmp(f->name, t->tag))) {
            prop_list_add(l, f->name, schema_type_name(f->type))->description = g_strdup(f->doc);
        }
    }
}

/* ---- types ---- */

typedef void (*TypeFn)(void *opaque, const char *name, const char *parent, bool abstract);

static const struct { const char *name, *parent; } classes[] = {
    { "object", NULL },         { "device", "object" },     { "machine", "object" },
    { "accel", "object" },      { "cpu", "device" },        { "memory-backend", "object" },
    { "rng-backend", "object" }, { "netfilter", "object" }, { "tls-creds", "object" },
};

static char *device_parent(const DeviceType *t)
{
    if (t->base || !t->bus_type) {
        return g_strdup(t->base ? t->base->name : "device");
    }
    g_autofree char *bus = g_ascii_strdown(t->bus_type->name, -1);
    return g_strconcat(bus, "-device", NULL);
}

static void each_bus_class(TypeFn fn, void *opaque)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (const DeviceType *const *t = device_table; *t; t++) {
        if ((*t)->bus_type && !(*t)->base) {
            char *name = device_parent(*t);
            if (!g_hash_table_contains(seen, name)) {
                fn(opaque, name, "device", true);
            }
            g_hash_table_add(seen, name);
        }
    }
}

typedef struct TypeCall {
    TypeFn fn;
    void *opaque;
} TypeCall;

static void registered_type(const char *name, const ObjectFamily *f, void *opaque)
{
    const TypeCall *c = opaque;
    c->fn(c->opaque, name, f->parent ? f->parent : "object", false);
}

static void each_type(TypeFn fn, void *opaque)
{
    for (size_t i = 0; i < G_N_ELEMENTS(classes); i++) {
        fn(opaque, classes[i].name, classes[i].parent, true);
    }
    each_bus_class(fn, opaque);
    for (const DeviceType *const *t = device_table; *t; t++) {
        g_autofree char *parent = device_parent(*t);
        fn(opaque, (*t)->name, parent, false);
    }
    for (const BoardType *const *b = board_table; *b; b++) {
        g_autofree char *name = g_strconcat((*b)->name, "-machine", NULL);
        fn(opaque, name, "machine", false);
    }
    for (const AccelOps *const *a = accel_table; *a; a++) {
        g_autofree char *name = g_strconcat((*a)->alias ? (*a)->alias : (*a)->name, "-accel", NULL);
        fn(opaque, name, "accel", false);
    }
    for (const char *const *k = host_mem_kind_names; *k; k++) {
        fn(opaque, *k, "memory-backend", false);
    }
    for (const char *const *k = throttle_group_kind_names; *k; k++) {
        fn(opaque, *k, "object", false);
    }
    for (const char *const *k = iothread_kind_names; *k; k++) {
        fn(opaque, *k, "object", false);
    }
    for (const char *const *k = rng_kind_names; *k; k++) {
        fn(opaque, *k, "rng-backend", false);
    }
    for (const char *const *k = secret_kind_names; *k; k++) {
        fn(opaque, *k, "object", false);
    }
    for (const char *const *k = tls_creds_kind_names; *k; k++) {
        fn(opaque, *k, "tls-creds", false);
    }
    object_foreach_registered(registered_type, &(TypeCall){ fn, opaque });
    if (qmp_tables()->each_type) {
        qmp_tables()->each_type(fn, opaque);
    }
}

typedef struct TypeSearch {
    const char *implements; /* NULL: all */
    bool abstract;
    GHashTable *parents;    /* name to parent, both owned by it */
    GArray *found;          /* ObjectTypeInfo */
} TypeSearch;

static void note_parent(void *opaque, const char *name, const char *parent, bool abstract)
{
    TypeSearch *s = opaque;
    g_hash_table_replace(s->parents, g_strdup(name), g_strdup(parent));
}

static bool derives(const TypeSearch *s, const char *name, const char *from)
{
    for (unsigned depth = 0; name && depth < 16; depth++) {
        if (g_str_equal(name, from)) {
            return true;
        }
        name = g_hash_table_lookup(s->parents, name);
    }
    return false;
}

static void find_type(void *opaque, const char *name, const char *parent, bool abstract)
{
    TypeSearch *s = opaque;
    if ((abstract && !s->abstract) || (s->implements && !derives(s, name, s->implements))) {
        return;
    }
    ObjectTypeInfo i = { .name = g_strdup(name), .parent = g_strdup(parent), .has_abstract = abstract,
                         .abstract = abstract };
    g_array_append_val(s->found, i);
}

bool qmp_qom_list_types(QmpCall *call, const QomListTypesArgs *args, QomListTypesResult *ret, Error **errp)
{
    TypeSearch s = { .implements = args->implements, .abstract = args->has_abstract && args->abstract };
    s.parents = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    s.found = g_array_new(FALSE, TRUE, sizeof(ObjectTypeInfo));
    each_type(note_parent, &s);
    each_type(find_type, &s);
    g_hash_table_destroy(s.parents);
    return LIST_RESULT(s.found, ret);
}

static bool no_type(const char *name, const char *what, Error **errp)
{
    error_fail(errp, "not-found", "typename", "qom-list-types lists the types",
               "there is no %s '%s'", what, name);
    error_set_class(errp, ERROR_DEVICE_NOT_FOUND);
    return false;
}

static const BoardType *board_of_type(const char *name)
{
    g_autofree char *base = g_str_has_suffix(name, "-machine") ? g_strndup(name, strlen(name) - 8) : NULL;
    const BoardType *b = base ? board_find(base) : NULL;
    return b && g_str_equal(b->name, base) ? b : NULL;
}

typedef struct KindSearch {
    const char *name;
    PropList *list;
    bool found;
} KindSearch;

static void add_registered(const char *name, const ObjectFamily *f, void *opaque)
{
    KindSearch *s = opaque;
    if (g_str_equal(name, s->name)) {
        s->found = true;
        add_schema_type(s->list, f->options);
        add_schema_type(s->list, f->options->branch[type_enum_value(f->names, name)]);
    }
}

static bool add_registered_kind(PropList *l, const char *name)
{
    KindSearch s = { name, l, false };
    object_foreach_registered(add_registered, &s);
    return s.found;
}

bool qmp_qom_list_properties(QmpCall *call, const QomListPropertiesArgs *args, QomListPropertiesResult *ret,
                             Error **errp)
{
    const DeviceType *type = device_type_find(args->typename);
    const BoardType *board = board_of_type(args->typename);
    int kind = type_enum_value(host_mem_kind_names, args->typename);
    PropList *l = prop_list_new();
    bool known = true;
    prop_list_add(l, "type", "string");
    if (type) {
        add_device_type(l, type);
    } else if (board) {
        add_table(l, board->props, board->state_size);
    } else if (kind >= 0) {
        add_schema_type(l, &host_mem_options_type);
        add_schema_type(l, host_mem_options_type.branch[kind]);
    } else if (type_enum_value(throttle_group_kind_names, args->typename) >= 0) {
        add_schema_type(l, &throttle_group_properties_type);
    } else if (type_enum_value(rng_kind_names, args->typename) >= 0) {
        add_schema_type(l, rng_options_type.branch[type_enum_value(rng_kind_names, args->typename)]);
    } else if (type_enum_value(iothread_kind_names, args->typename) >= 0) {
        add_schema_type(l, &iothread_properties_type);
    } else if (type_enum_value(secret_kind_names, args->typename) >= 0) {
        add_schema_type(l, &secret_properties_type);
    } else if (type_enum_value(tls_creds_kind_names, args->typename) >= 0) {
        const TypeDesc *const *kinds = tls_creds_options_type.branch;
        add_schema_type(l, kinds[type_enum_value(tls_creds_kind_names, args->typename)]);
    } else if (!add_registered_kind(l, args->typename)) {
        known = qmp_tables()->type_props && qmp_tables()->type_props(args->typename, l);
    }
    return LIST_RESULT(l, ret) && (known || no_type(args->typename, "type", errp));
}

bool qmp_device_list_properties(QmpCall *call, const DeviceListPropertiesArgs *args,
                                DeviceListPropertiesResult *ret, Error **errp)
{
    const DeviceType *type = device_type_find(args->typename);
    PropList *l = prop_list_new();
    if (type) {
        add_device_type(l, type);
    } else if (!qmp_tables()->type_props || !qmp_tables()->type_props(args->typename, l)) { /* of a CPU */
        g_array_free(l, TRUE);
        return no_type(args->typename, "device", errp);
    }
    return LIST_RESULT(l, ret);
}

/* ---- objects ---- */

typedef struct Object { /* what a path names */
    Device *dev; /* NULL: not a device */
    int cpu;     /* number of a CPU; -1: none */
    bool root;   /* "/" */
    const char *user; /* the id of one that -object made, of /objects; in the path */
} Object;

#define USERS "/objects/"

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static Device *child_named(Device *dev, const char *name)
{
    for (guint i = 0; dev->children && i < dev->children->len; i++) {
        Device *d = dev->children->pdata[i];
        if (d->path && g_str_equal(last_part(d->path), name)) {
            return d;
        }
    }
    return NULL;
}

static int cpu_named(const Machine *m, const char *name)
{
    for (unsigned i = 0; m->cpus && i < m->n_cpus && g_str_has_prefix(name, "cpu["); i++) {
        char is[24];
        g_snprintf(is, sizeof(is), "cpu[%u]", i);
        if (g_str_equal(is, name)) {
            return i;
        }
    }
    return -1;
}

static bool find_object(Machine *m, const char *path, Object *o, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    *o = (Object){ .cpu = -1, .root = true };
    bool ok = *path == '/';
    if (g_str_has_prefix(path, USERS)) {
        g_autoptr(Json) type = object_get(m, path + strlen(USERS), "type");
        *o = (Object){ .cpu = -1, .user = type ? path + strlen(USERS) : NULL };
        if (type) {
            return true;
        }
    }
    for (char **part = parts; ok && *part; part++) {
        if (!**part) {
            continue;
        }
        if (o->root) {
            o->dev = g_str_equal(*part, "machine") ? m->root : NULL;
            o->root = false;
            ok = o->dev != NULL;
            continue;
        }
        Device *inner = o->dev ? child_named(o->dev, *part) : NULL;
        if (!inner && o->dev && qom_has_backend(o->dev) && g_str_equal(*part, QOM_VIRTIO_BACKEND)) {
            continue; /* the same one */
        }
        o->cpu = !inner && o->dev && o->dev == m->unattached ? cpu_named(m, *part) : -1;
        o->dev = inner;
        ok = inner || o->cpu >= 0;
    }
    if (!ok) {
        error_set(errp, "there is no object '%s'", path);
        error_hint(errp, "qom-list shows what is below /machine");
        error_set_class(errp, ERROR_DEVICE_NOT_FOUND);
        error_set_code(errp, "not-found", "path");
    }
    return ok;
}

static char *type_of(Machine *m, const Object *o)
{
    if (o->root) {
        return g_strdup("container");
    }
    if (o->user) {
        g_autoptr(Json) type = object_get(m, o->user, "type");
        return g_strdup(json_get_string(type));
    }
    if (o->cpu >= 0) {
        return qmp_cpu_type(m);
    }
    return o->dev == m->root && m->board ? g_strconcat(m->board->name, "-machine", NULL)
                                         : g_strdup(o->dev->type->name);
}

static void add_child(PropList *l, const char *name, const char *type)
{
    g_autofree char *t = g_strdup_printf("child<%s>", type);
    prop_list_add(l, name, t);
}

static void add_named(PropList *l, const Prop *table)
{
    for (const Prop *p = table; p && p->name; p++) {
        if (!prop_is_listed(p)) {
            continue;
        }
        g_autofree char *type = prop_type_name(p);
        prop_list_add(l, p->name, type);
    }
}

static void add_device(PropList *l, Machine *m, Device *dev)
{
    if (dev->bus) {
        g_autofree char *link = g_strdup_printf("link<%s>", dev->bus->type->name);
        prop_list_add(l, "parent_bus", link);
        prop_list_add(l, "hotpluggable", "bool");
        prop_list_add(l, "hotplugged", "bool");
        add_named(l, dev->bus->type->child_props);
    }
    prop_list_add(l, "realized", "bool");
    for (const DeviceType *t = dev->type; t; t = t->base) {
        add_named(l, t->props);
    }
    live_props_foreach(dev->type, add_live, l);
    for (guint i = 0; dev->children && i < dev->children->len; i++) {
        Device *d = dev->children->pdata[i];
        add_child(l, last_part(d->path), d->type->name);
    }
    g_autofree char *cpu = dev == m->unattached && m->cpus ? qmp_cpu_type(m) : NULL;
    for (unsigned i = 0; cpu && i < m->n_cpus; i++) {
        g_autofree char *name = g_strdup_printf("cpu[%u]", i);
        add_child(l, name, cpu);
    }
}

bool qmp_qom_list(QmpCall *call, const QomListArgs *args, QomListResult *ret, Error **errp)
{
    Machine *m = call->machine;
    Object o;
    if (!find_object(m, args->path, &o, errp)) {
        return false;
    }
    PropList *l = prop_list_new();
    prop_list_add(l, "type", "string");
    if (o.root) {
        g_autofree char *type = type_of(m, &(Object){ .dev = m->root, .cpu = -1 });
        add_child(l, "machine", type);
    } else if (o.cpu >= 0) {
        if (qmp_tables()->cpu_props) {
            qmp_tables()->cpu_props(m->cpus[o.cpu], l);
        }
    } else if (o.user) {
        g_autofree char *type = type_of(m, &o);
        add_registered_kind(l, type);
    } else if (o.dev == m->root) {
        add_named(l, m->board ? m->board->props : NULL);
        add_device(l, m, o.dev);
    } else {
        add_device(l, m, o.dev);
    }
    return LIST_RESULT(l, ret);
}

/* *found: there is such a property; the value may be null then. */
static Json *device_value(Machine *m, Device *dev, const char *name, bool *found)
{
    Error *err = NULL;
    *found = true;
    if (g_str_equal(name, "realized")) {
        return json_new_bool(dev->realized);
    }
    if (dev->bus && g_str_equal(name, "hotpluggable")) {
        return json_new_bool(device_hotpluggable(dev, dev->bus));
    }
    if (dev->bus && g_str_equal(name, "hotplugged")) {
        return json_new_bool(dev->hotplugged);
    }
    if (dev->bus && g_str_equal(name, "parent_bus")) {
        g_autofree char *path = g_strdup_printf("%s/%s", dev->bus->owner->path, dev->bus->name);
        return json_new_string(path);
    }
    Device *child = child_named(dev, name);
    int cpu = dev == m->unattached ? cpu_named(m, name) : -1;
    if (child || cpu >= 0) {
        g_autofree char *path = g_strdup_printf("%s/%s", dev->path, name);
        return json_new_string(path);
    }
    const LiveProp *live = live_prop_find(dev->type, name);
    if (live && dev->realized) {
        return live->get(dev);
    }
    const Prop *p = dev == m->root && m->board ? prop_find(m->board->props, name) : NULL;
    Json *v = p ? prop_get(p, m->board_state) : device_get(dev, name, &err);
    *found = !err;
    error_free(err);
    return v;
}

bool qmp_qom_get(QmpCall *call, const QomGetArgs *args, Json **ret, Error **errp)
{
    Machine *m = call->machine;
    Object o;
    bool found = false;
    if (!find_object(m, args->path, &o, errp)) {
        return false;
    }
    if (g_str_equal(args->property, "type")) {
        g_autofree char *type = type_of(m, &o);
        *ret = json_new_string(type);
        return true;
    }
    if (o.user) {
        *ret = object_get(m, o.user, args->property);
        found = *ret != NULL;
    } else if (o.dev) {
        *ret = device_value(m, o.dev, args->property, &found);
    } else if (o.root && g_str_equal(args->property, "machine")) {
        *ret = json_new_string("/machine");
        found = true;
    } else if (o.cpu >= 0 && qmp_tables()->cpu_value) {
        found = qmp_tables()->cpu_value(m->cpus[o.cpu], args->property, ret);
    }
    if (!found) {
        error_set(errp, "object '%s' has no property '%s'", args->path, args->property);
        error_hint(errp, "qom-list shows the properties of an object");
        error_set_code(errp, "not-found", "property");
    }
    return found;
}

bool qmp_qom_set(QmpCall *call, const QomSetArgs *args, Error **errp)
{
    QomGetArgs get = { .path = args->path, .property = args->property };
    g_autoptr(Json) now = NULL;
    Object o;
    if (!find_object(call->machine, args->path, &o, errp)) {
        return false;
    }
    if (o.user && (now = object_get(call->machine, o.user, args->property)) != NULL) {
        return object_set(call->machine, o.user, args->property, args->value, errp);
    }
    const LiveProp *live = o.dev && o.dev->realized ? live_prop_find(o.dev->type, args->property) : NULL;
    if (live && live->set) {
        bool ok = live->set(o.dev, args->value, errp);
        error_set_code(errp, "invalid-value", "value");
        return ok;
    }
    if (live) {
        error_set(errp, "property '%s' of '%s' is only read", args->property, args->path);
        error_set_code(errp, "not-changeable", "property");
        return false;
    }
    if (!qmp_qom_get(call, &get, &now, errp)) {
        return false;
    }
    error_set(errp, "property '%s' of '%s' cannot change any more", args->property, args->path);
    error_hint(errp, "give it when the object is made: on the command line, or with device_add");
    error_set_code(errp, "not-changeable", "property");
    return false;
}

char *qmp_cpu_type(Machine *m)
{
    const TargetOps *t = m->board ? m->board->target : NULL;
    const char *text = m->cpu_text ? m->cpu_text : t ? t->default_cpu : "none";
    g_autofree char *model = g_strndup(text, strcspn(text, ","));
    return g_strdup_printf("%s-%s-cpu", model, t ? t->name : "none");
}

/* ---- -object ---- */

bool qmp_object_add(QmpCall *call, const ObjectOptions *args, Error **errp)
{
    g_autoptr(Json) opts = type_encode(&object_options_type, args);
    return object_new_json(call->machine, opts, false, false, errp);
}

bool qmp_object_del(QmpCall *call, const ObjectDelArgs *args, Error **errp)
{
    return object_remove(call->machine, args->id, errp);
}

/* ---- devices ---- */

bool qmp_device_add(QmpCall *call, const Json *args, Error **errp)
{
    return device_add_json(call->machine, args, errp);
}

bool qmp_device_del(QmpCall *call, const DeviceDelArgs *args, Error **errp)
{
    return device_del(call->machine, args->id, errp);
}
