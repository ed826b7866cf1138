/* SPDX-License-Identifier: MIT
 * monitor/qmp_schema.c - the reply of query-qmp-schema, from the type tables.
 *
 * Models: SchemaInfo as QEMU 7.2 has it: types have numbers for names, except builtin ones and lists of
 *         those; a command without arguments or result has type 0, an object without members; optional
 *         members have "default": null.
 * Does not model: members that the schema refuses, which are not there for clients.
 * Threads: any; no state.
 */
#include "rhea/monitor/qmp.h"

typedef struct SchemaWriter {
    Json *out;
    GHashTable *names;  /* const TypeDesc * to its number; lists are not in it */
    GHashTable *lists;  /* names of list types that were written */
    GPtrArray *pending; /* named, but not written yet */
} SchemaWriter;

static const char *builtin_name(const TypeDesc *t)
{
    switch (t->kind) {
    case TYPE_BOOL: return "bool";
    case TYPE_INT:
    case TYPE_UINT:
    case TYPE_SIZE: return "int";
    case TYPE_NUMBER: return "number";
    case TYPE_STRING: return "str";
    case TYPE_ANY: return "any";
    case TYPE_NULL: return "null";
    default: return NULL;
    }
}

static const char *type_name(SchemaWriter *w, const TypeDesc *t);

/* Lists are equal when their elements are, whatever table describes them. */
static const char *list_name(SchemaWriter *w, const TypeDesc *t)
{
    const char *inner = type_name(w, t->element);
    char *name = g_strdup_printf("[%s]", inner);
    if (g_hash_table_contains(w->lists, name)) {
        const char *known = g_hash_table_lookup(w->lists, name);
        g_free(name);
        return known;
    }
    g_hash_table_insert(w->lists, name, name);
    Json *e = json_put(json_new_object(), "name", json_new_string(name));
    json_put(e, "element-type", json_new_string(inner));
    json_append(w->out, json_put(e, "meta-type", json_new_string("array")));
    return name;
}

static const char *type_name(SchemaWriter *w, const TypeDesc *t)
{
    const char *name = t ? builtin_name(t) : "0";
    if (name || t->kind == TYPE_LIST) {
        return name ? name : list_name(w, t);
    }
    char *number = g_hash_table_lookup(w->names, t);
    if (!number) {
        g_ptr_array_add(w->pending, (gpointer)t);
        number = g_strdup_printf("%u", w->pending->len);
        g_hash_table_insert(w->names, (gpointer)t, number);
    }
    return number;
}

static void put_features(Json *o, const char *const *features)
{
    Json *list = features ? json_new_array() : NULL;
    for (; features && *features; features++) {
        json_append(list, json_new_string(*features));
    }
    if (list) {
        json_put(o, "features", list);
    }
}

static Json *entry(const char *name, const char *kind)
{
    Json *o = json_put(json_new_object(), "name", json_new_string(name));
    return json_put(o, "meta-type", json_new_string(kind));
}

static void write_members(SchemaWriter *w, const TypeDesc *t, Json *o)
{
    Json *members = json_new_array();
    for (unsigned i = 0; t && i < t->n; i++) {
        const FieldDesc *f = &t->fields[i];
        if (f->refused || f->rest) {
            continue;
        }
        Json *m = json_put(json_new_object(), "name", json_new_string(f->name));
        json_put(m, "type", json_new_string(type_name(w, f->shape ? f->shape : f->type)));
        if (f->optional || f->def) {
            json_put(m, "default", NULL);
        }
        put_features(m, f->features);
        json_append(members, m);
    }
    json_put(o, "members", members);
}

static void write_variants(SchemaWriter *w, const TypeDesc *t, Json *o)
{
    const TypeDesc *tag = NULL;
    Json *variants = json_new_array();
    for (unsigned i = 0; i < t->n; i++) {
        tag = g_str_equal(t->fields[i].name, t->tag) ? t->fields[i].type : tag;
    }
    for (unsigned i = 0; tag->names[i]; i++) {
        Json *v = json_put(json_new_object(), "case", json_new_string(tag->names[i]));
        json_append(variants, json_put(v, "type", json_new_string(type_name(w, t->branch[i]))));
    }
    json_put(o, "tag", json_new_string(t->tag));
    json_put(o, "variants", variants);
}

static Json *enum_entry(const TypeDesc *t, const char *name)
{
    Json *o = entry(name, "enum"), *members = json_new_array(), *values = json_new_array();
    for (unsigned i = 0; t->names[i]; i++) {
        json_append(members, json_put(json_new_object(), "name", json_new_string(t->names[i])));
        json_append(values, json_new_string(t->names[i]));
    }
    json_put(o, "members", members);
    return json_put(o, "values", values);
}

static Json *type_entry(SchemaWriter *w, const TypeDesc *t, const char *name)
{
    if (t->kind == TYPE_ENUM) {
        return enum_entry(t, name);
    }
    if (t->kind == TYPE_ALTERNATE) {
        Json *o = entry(name, "alternate"), *members = json_new_array();
        for (unsigned i = 0; t->branch[i]; i++) {
            Json *m = json_put(json_new_object(), "type", json_new_string(type_name(w, t->branch[i])));
            json_append(members, m);
        }
        return json_put(o, "members", members);
    }
    Json *o = entry(name, "object");
    write_members(w, t, o);
    if (t->kind == TYPE_UNION) {
        write_variants(w, t, o);
    }
    return o;
}

static void write_builtins(SchemaWriter *w)
{
    static const struct { const char *name, *json; } types[] = {
        { "any", "value" }, { "bool", "boolean" }, { "int", "int" }, { "null", "null" }, { "number",
                                                                                           "number" },
        { "str", "string" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        json_append(w->out, json_put(entry(types[i].name, "builtin"), "json-type",
                                     json_new_string(types[i].json)));
    }
}

static void write_calls(SchemaWriter *w, const QmpTables *tables)
{
    for (const QmpCommand *const *t = tables->commands; *t; t++) {
        for (const QmpCommand *c = *t; c->name; c++) {
            Json *o = entry(c->name, "command");
            json_put(o, "arg-type", json_new_string(type_name(w, c->args)));
            json_put(o, "ret-type", json_new_string(type_name(w, c->ret)));
            if (c->flags & QMP_ALLOW_OOB) {
                json_put(o, "allow-oob", json_new_bool(true));
            }
            put_features(o, c->features);
            json_append(w->out, o);
        }
    }
    for (const QmpEvent *const *t = tables->events; *t; t++) {
        for (const QmpEvent *e = *t; e->name; e++) {
            Json *o = entry(e->name, "event");
            json_put(o, "arg-type", json_new_string(type_name(w, e->args)));
            put_features(o, e->features);
            json_append(w->out, o);
        }
    }
}

Json *qmp_schema_json(void)
{
    SchemaWriter w = { .out = json_new_array(), .pending = g_ptr_array_new() };
    w.names = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    w.lists = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    write_calls(&w, qmp_tables());
    for (guint i = 0; i < w.pending->len; i++) { /* writing one may name more */
        const TypeDesc *t = w.pending->pdata[i];
        json_append(w.out, type_entry(&w, t, type_name(&w, t)));
    }
    json_append(w.out, json_put(entry("0", "object"), "members", json_new_array()));
    write_builtins(&w);
    g_hash_table_destroy(w.names);
    g_hash_table_destroy(w.lists);
    g_ptr_array_free(w.pending, TRUE);
    return w.out;
}
