/* SPDX-License-Identifier: MIT
 * schema/type.c - the interpreter of type tables: decode, encode, clear.
 *
 * Models: one recursive walk for each, bounded by the depth of the Json tree (64). Text values go
 *         through util/text, so the command line and defaults share one set of spellings.
 * Threads: any; no state.
 */
#include "rhea/schema/type.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"

#include <string.h>

const TypeDesc type_bool = { .name = "bool", .kind = TYPE_BOOL, .size = sizeof(bool) };
const TypeDesc type_int = { .name = "int", .kind = TYPE_INT, .size = sizeof(int64_t) };
const TypeDesc type_uint = { .name = "uint", .kind = TYPE_UINT, .size = sizeof(uint64_t) };
const TypeDesc type_size = { .name = "size", .kind = TYPE_SIZE, .size = sizeof(uint64_t) };
const TypeDesc type_number = { .name = "number", .kind = TYPE_NUMBER, .size = sizeof(double) };
const TypeDesc type_string = { .name = "str", .kind = TYPE_STRING, .size = sizeof(char *) };
const TypeDesc type_any = { .name = "any", .kind = TYPE_ANY, .size = sizeof(Json *) };
const TypeDesc type_null = { .name = "null", .kind = TYPE_NULL };

typedef struct ListValue { /* the layout of every generated list */
    void *items;
    size_t n;
} ListValue;

/* Where we are: parts are linked from the innermost one outwards. */
typedef struct Path {
    const struct Path *up;
    const char *name; /* NULL: an index */
    size_t index;
} Path;

typedef struct Decoder {
    bool from_text;
    Error **errp;
} Decoder;

static bool decode_value(const Decoder *d, const Path *path, const FieldDesc *f, const TypeDesc *t,
                         const Json *in, void *out);

static void path_append(GString *s, const Path *path)
{
    if (!path) {
        return;
    }
    path_append(s, path->up);
    if (s->len) {
        g_string_append_c(s, '.');
    }
    if (path->name) {
        g_string_append(s, path->name);
    } else {
        g_string_append_printf(s, "%zu", path->index);
    }
}

/* Fails with "'PATH' ...". The outermost value has no path: its type is named instead. */
static bool G_GNUC_PRINTF(4, 5) decode_fail(const Decoder *d, const Path *path, const TypeDesc *t,
                                            const char *fmt, ...)
{
    GString *where = g_string_new(NULL);
    path_append(where, path);
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *what = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_set(d->errp, "'%s' %s", where->len ? where->str : t->name, what);
    error_set_code(d->errp, "invalid-value", where->len ? where->str : NULL);
    g_string_free(where, TRUE);
    return false;
}

/* Says more exactly than decode_fail() what kind of failure it was. */
static bool decode_code(const Decoder *d, const char *code)
{
    error_set_code(d->errp, code, NULL);
    return false;
}

static bool decode_range_fail(const Decoder *d, const Path *path, const TypeDesc *t, const char *what)
{
    decode_fail(d, path, t, "%s", what);
    return decode_code(d, "out-of-range");
}

static bool decode_kind_fail(const Decoder *d, const Path *path, const TypeDesc *t, const char *want,
                             const Json *in)
{
    decode_fail(d, path, t, "must be %s, not %s", want, json_kind_name(json_kind(in)));
    return decode_code(d, "wrong-type");
}

int type_enum_value(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++) {
        if (!strcmp(names[i], name)) {
            return i;
        }
    }
    return -1;
}

static bool decode_text_fail(const Decoder *d, const Path *path, const TypeDesc *t, Error *err)
{
    decode_fail(d, path, t, "is wrong: %s", error_text(err));
    if (error_hint_text(err)) {
        error_hint(d->errp, "%s", error_hint_text(err));
    }
    decode_code(d, error_code(err));
    error_free(err);
    return false;
}

static bool decode_range(const Decoder *d, const Path *path, const FieldDesc *f, const TypeDesc *t,
                         uint64_t v)
{
    if (!f || (!f->min && !f->max)) {
        return true;
    }
    if (t->kind == TYPE_INT) {
        int64_t i = (int64_t)v, lo = (int64_t)f->min, hi = (int64_t)f->max;
        if (i < lo || i > hi) {
            decode_fail(d, path, t, "must be between %" G_GINT64_FORMAT " and %" G_GINT64_FORMAT
                        ", not %" G_GINT64_FORMAT, lo, hi, i);
            return decode_code(d, "out-of-range");
        }
        return true;
    }
    if (v >= f->min && v <= f->max) {
        return true;
    }
    if (t->kind == TYPE_SIZE) {
        g_autofree char *lo = text_from_size(f->min), *hi = text_from_size(f->max), *is = text_from_size(v);
        decode_fail(d, path, t, "must be between %s and %s, not %s", lo, hi, is);
    } else {
        decode_fail(d, path, t, "must be between %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT
                    ", not %" G_GUINT64_FORMAT, f->min, f->max, v);
    }
    return decode_code(d, "out-of-range");
}

static bool decode_enum(const Decoder *d, const Path *path, const TypeDesc *t, const char *text, int *out)
{
    int v = type_enum_value(t->names, text);
    if (v >= 0) {
        *out = v;
        return true;
    }
    GString *all = g_string_new(NULL);
    for (int i = 0; t->names[i]; i++) {
        g_string_append_printf(all, "%s'%s'", i ? ", " : "", t->names[i]);
    }
    decode_fail(d, path, t, "must be one of %s, not '%s'", all->str, text);
    g_string_free(all, TRUE);
    error_hint_nearest(d->errp, text, t->names);
    return false;
}

/* A scalar from option text, or from a default. */
static bool decode_text(const Decoder *d, const Path *path, const FieldDesc *f, const TypeDesc *t,
                        const char *text, void *out)
{
    Error *err = NULL;
    char *end;
    switch (t->kind) {
    case TYPE_BOOL:
        return text_to_bool(text, out, &err) || decode_text_fail(d, path, t, err);
    case TYPE_INT:
        return (text_to_i64(text, out, &err) || decode_text_fail(d, path, t, err)) &&
               decode_range(d, path, f, t, *(int64_t *)out);
    case TYPE_UINT:
        return (text_to_u64(text, out, &err) || decode_text_fail(d, path, t, err)) &&
               decode_range(d, path, f, t, *(uint64_t *)out);
    case TYPE_SIZE:
        return (text_to_size(text, f && f->unit ? f->unit : 'b', out, &err) ||
                decode_text_fail(d, path, t, err)) &&
               decode_range(d, path, f, t, *(uint64_t *)out);
    case TYPE_NUMBER:
        *(double *)out = g_ascii_strtod(text, &end);
        return (end != text && !*end) || decode_fail(d, path, t, "must be a number, not '%s'", text);
    case TYPE_ENUM:
        return decode_enum(d, path, t, text, out);
    case TYPE_STRING:
        *(char **)out = g_strdup(text);
        return true;
    case TYPE_ANY:
    case TYPE_ALTERNATE:
        *(Json **)out = json_new_string(text);
        return true;
    case TYPE_NULL: return decode_fail(d, path, t, "must be null, not '%s'", text);
    case TYPE_STRUCT:
    case TYPE_UNION:
        return decode_fail(d, path, t, "is a group: give its members as 'NAME.MEMBER=VALUE', not '%s'", text);
    case TYPE_LIST:
        return decode_fail(d, path, t, "is a list: give its elements as 'NAME.0=VALUE', not '%s'", text);
    }
    return false;
}

static bool decode_list(const Decoder *d, const Path *path, const FieldDesc *f, const TypeDesc *t,
                        const Json *in, ListValue *out)
{
    if (json_kind(in) != JSON_ARRAY) {
        return decode_kind_fail(d, path, t, "a list", in);
    }
    size_t n = json_length(in);
    out->items = n ? g_malloc0_n(n, t->element->size) : NULL;
    out->n = n; /* the rest is zero: clearing a half-filled list is fine */
    for (size_t i = 0; i < n; i++) {
        Path part = { .up = path, .index = i };
        if (!decode_value(d, &part, f, t->element, json_at(in, i),
                          (char *)out->items + i * t->element->size)) {
            return false;
        }
    }
    return true;
}

static const FieldDesc *find_field(const TypeDesc *t, const char *name)
{
    for (unsigned i = 0; t && i < t->n; i++) {
        if (!t->fields[i].rest && !strcmp(t->fields[i].name, name)) {
            return &t->fields[i];
        }
    }
    return NULL;
}

static const FieldDesc *find_rest(const TypeDesc *t)
{
    for (unsigned i = 0; t && i < t->n; i++) {
        if (t->fields[i].rest) {
            return &t->fields[i];
        }
    }
    return NULL;
}

/* The members that there are, as many as one reads. */
static void hint_members(const Decoder *d, const char *const *names)
{
    enum { MEMBERS_TOLD = 12 };
    GString *all = g_string_new(NULL);
    unsigned n = 0;
    for (; names[n] && n < MEMBERS_TOLD; n++) {
        g_string_append_printf(all, "%s%s", n ? ", " : "", names[n]);
    }
    if (n) {
        error_hint(d->errp, "there %s %s%s", n > 1 ? "are" : "is", all->str, names[n] ? " and others" : "");
    } else {
        error_hint(d->errp, "there are no members");
    }
    g_string_free(all, TRUE);
}

/* Members that neither t nor branch knows go to a rest member, or are an error. */
static bool decode_unknown(const Decoder *d, const Path *path, const TypeDesc *t, const TypeDesc *branch,
                           const Json *in, void *out)
{
    const FieldDesc *rest = find_rest(t);
    json_object_object_foreach((Json *)in, key, value) {
        if (find_field(t, key) || find_field(branch, key)) {
            continue;
        }
        if (rest) {
            Json **object = (Json **)((char *)out + rest->offset);
            *object = *object ? *object : json_new_object();
            json_put(*object, key, json_ref(value));
            continue;
        }
        g_autoptr(GPtrArray) names = g_ptr_array_new();
        for (unsigned i = 0; i < t->n; i++) {
            g_ptr_array_add(names, (char *)t->fields[i].name);
        }
        for (unsigned i = 0; branch && i < branch->n; i++) {
            g_ptr_array_add(names, (char *)branch->fields[i].name);
        }
        g_ptr_array_add(names, NULL);
        Path part = { .up = path, .name = key };
        decode_fail(d, &part, t, "is unknown");
        decode_code(d, "unknown-member");
        error_hint_nearest(d->errp, key, (const char *const *)names->pdata);
        if (d->errp && *d->errp && !error_hint_text(*d->errp)) {
            hint_members(d, (const char *const *)names->pdata);
        }
        return false;
    }
    return true;
}

/* A refused switch may be off: then nothing is asked for. */
static bool decode_refused(const Decoder *d, const Path *path, const FieldDesc *f, const Json *value)
{
    bool on = true;
    if (f->type->kind == TYPE_BOOL &&
        decode_value(&(Decoder){ d->from_text, NULL }, path, f, f->type, value, &on) && !on) {
        return true;
    }
    decode_fail(d, path, f->type, "is not supported: %s", f->refused);
    return decode_code(d, "not-supported");
}

/* What the schema says the member is. */
static void hint_missing(const Decoder *d, const FieldDesc *f)
{
    size_t n = f->doc ? strlen(f->doc) : 0;
    if (n) {
        n -= f->doc[n - 1] == '.';
        char first = g_ascii_isupper(f->doc[1]) ? *f->doc : g_ascii_tolower(*f->doc);
        error_hint(d->errp, "give it: %c%.*s", first, (int)n - 1, f->doc + 1);
    } else if (f->type->kind == TYPE_ENUM) {
        g_autofree char *all = g_strjoinv(", ", (char **)f->type->names);
        error_hint(d->errp, "one of %s", all);
    } else {
        error_hint(d->errp, "give it: %s", f->name);
    }
}

static bool decode_field(const Decoder *d, const Path *path, const FieldDesc *f, const Json *in, void *out)
{
    bool found;
    Json *value = json_member(in, f->name, &found);
    Path part = { .up = path, .name = f->name };
    if (f->rest || (f->refused && !found)) {
        return true;
    }
    if (f->refused) {
        return decode_refused(d, &part, f, value);
    }
    void *at = (char *)out + f->offset;
    if (found) {
        if (f->has_offset >= 0) {
            *(bool *)((char *)out + f->has_offset) = true;
        }
        return decode_value(d, &part, f, f->type, value, at);
    }
    if (f->def) {
        return decode_text(d, &part, f, f->type, f->def, at);
    }
    if (!f->optional) {
        decode_fail(d, &part, f->type, "is missing");
        hint_missing(d, f);
        return decode_code(d, "missing-member");
    }
    return true;
}

static bool decode_fields(const Decoder *d, const Path *path, const TypeDesc *t, const FieldDesc *done,
                          const Json *in, void *out)
{
    for (unsigned i = 0; i < t->n; i++) {
        if (&t->fields[i] != done && !decode_field(d, path, &t->fields[i], in, out)) {
            return false;
        }
    }
    return true;
}

static bool decode_object(const Decoder *d, const Path *path, const TypeDesc *t, const Json *in, void *out)
{
    if (json_kind(in) != JSON_OBJECT) {
        return decode_kind_fail(d, path, t, "an object", in);
    }
    const TypeDesc *branch = NULL;
    const FieldDesc *tag = NULL;
    if (t->kind == TYPE_UNION) {
        tag = find_field(t, t->tag);
        if (!decode_field(d, path, tag, in, out)) {
            return false;
        }
        branch = t->branch[*(int *)((char *)out + tag->offset)];
    }
    /* Unknown members first: "'hots' is unknown" helps more than "'host' is missing". */
    return decode_unknown(d, path, t, branch, in, out) && decode_fields(d, path, t, tag, in, out) &&
           (!branch || decode_fields(d, path, branch, NULL, in, (char *)out + t->branch_offset));
}

static bool kind_fits(TypeKind kind, JsonKind json)
{
    switch (kind) {
    case TYPE_BOOL: return json == JSON_BOOL;
    case TYPE_INT:
    case TYPE_UINT:
    case TYPE_SIZE: return json == JSON_INT;
    case TYPE_NUMBER: return json == JSON_INT || json == JSON_DOUBLE;
    case TYPE_STRING:
    case TYPE_ENUM: return json == JSON_STRING;
    case TYPE_STRUCT:
    case TYPE_UNION: return json == JSON_OBJECT;
    case TYPE_LIST: return json == JSON_ARRAY;
    case TYPE_NULL: return json == JSON_NULL;
    case TYPE_ANY:
    case TYPE_ALTERNATE: return true;
    }
    return false;
}

/* Which of its types a value has shows in its JSON kind; what is inside is checked by who uses it. */
static bool decode_alternate(const Decoder *d, const Path *path, const TypeDesc *t, const Json *in,
                             Json **out)
{
    static const char *const kinds[] = {
        [TYPE_BOOL] = "true or false", [TYPE_INT] = "an integer",   [TYPE_UINT] = "an integer",
        [TYPE_SIZE] = "an integer",    [TYPE_NUMBER] = "a number",  [TYPE_STRING] = "a string",
        [TYPE_ENUM] = "a string",      [TYPE_STRUCT] = "an object", [TYPE_UNION] = "an object",
        [TYPE_NULL] = "null",          [TYPE_LIST] = "a list",
    };
    GString *all = g_string_new(NULL);
    bool ok = false;
    for (unsigned i = 0; !ok && t->branch[i]; i++) {
        ok = kind_fits(t->branch[i]->kind, json_kind(in));
        g_string_append_printf(all, "%s%s", i ? " or " : "", kinds[t->branch[i]->kind]);
    }
    if (ok) {
        *out = json_ref((Json *)in);
    } else {
        decode_kind_fail(d, path, t, all->str, in);
    }
    g_string_free(all, TRUE);
    return ok;
}

static bool decode_value(const Decoder *d, const Path *path, const FieldDesc *f, const TypeDesc *t,
                         const Json *in, void *out)
{
    const char *text = json_get_string(in);
    if (text && d->from_text) {
        return decode_text(d, path, f, t, text, out);
    }
    switch (t->kind) {
    case TYPE_BOOL:
        return json_get_bool(in, out) || decode_kind_fail(d, path, t, "true or false", in);
    case TYPE_INT:
        if (json_kind(in) != JSON_INT) {
            return decode_kind_fail(d, path, t, "an integer", in);
        }
        return (json_get_int(in, out) ||
                decode_range_fail(d, path, t, "must fit in a signed 64-bit integer")) &&
               decode_range(d, path, f, t, *(int64_t *)out);
    case TYPE_UINT:
    case TYPE_SIZE:
        if (json_kind(in) != JSON_INT) {
            return decode_kind_fail(d, path, t, "an integer", in);
        }
        return (json_get_uint(in, out) || decode_range_fail(d, path, t, "must not be negative")) &&
               decode_range(d, path, f, t, *(uint64_t *)out);
    case TYPE_NUMBER:
        return json_get_double(in, out) || decode_kind_fail(d, path, t, "a number", in);
    case TYPE_STRING:
    case TYPE_ENUM:
        return text ? decode_text(d, path, f, t, text, out) : decode_kind_fail(d, path, t, "a string", in);
    case TYPE_STRUCT:
    case TYPE_UNION:
        return decode_object(d, path, t, in, out);
    case TYPE_LIST:
        return decode_list(d, path, f, t, in, out);
    case TYPE_ANY:
        *(Json **)out = json_ref((Json *)in);
        return true;
    case TYPE_ALTERNATE: return decode_alternate(d, path, t, in, out);
    case TYPE_NULL: return !in || decode_kind_fail(d, path, t, "null", in);
    }
    return false;
}

bool type_decode(const TypeDesc *t, const Json *in, bool from_text, void *out, Error **errp)
{
    Decoder d = { .from_text = from_text, .errp = errp };
    memset(out, 0, t->size);
    if (decode_value(&d, NULL, NULL, t, in, out)) {
        return true;
    }
    type_clear(t, out);
    return false;
}

static const TypeDesc *union_branch(const TypeDesc *t, const void *value)
{
    return t->kind == TYPE_UNION
               ? t->branch[*(const int *)((const char *)value + find_field(t, t->tag)->offset)]
               : NULL;
}

static void encode_fields(const TypeDesc *t, const void *value, Json *object)
{
    for (unsigned i = 0; i < t->n; i++) {
        const FieldDesc *f = &t->fields[i];
        const char *at = (const char *)value + f->offset;
        if (f->refused || (f->has_offset >= 0 && !*(const bool *)((const char *)value + f->has_offset))) {
            continue;
        }
        TypeKind kind = f->type->kind;
        bool pointer = kind == TYPE_STRING || kind == TYPE_ANY || kind == TYPE_ALTERNATE;
        if (f->optional && pointer && !*(void *const *)at) {
            continue;
        }
        if (!f->rest) {
            json_put(object, f->name, type_encode(f->type, at));
            continue;
        }
        json_object_object_foreach(*(Json *const *)at, key, member) {
            json_put(object, key, json_ref(member));
        }
    }
}

Json *type_encode(const TypeDesc *t, const void *value)
{
    switch (t->kind) {
    case TYPE_BOOL: return json_new_bool(*(const bool *)value);
    case TYPE_INT: return json_new_int(*(const int64_t *)value);
    case TYPE_UINT:
    case TYPE_SIZE: return json_new_uint(*(const uint64_t *)value);
    case TYPE_NUMBER: return json_new_double(*(const double *)value);
    case TYPE_STRING: return json_new_string(*(char *const *)value);
    case TYPE_ENUM: return json_new_string(t->names[*(const int *)value]);
    case TYPE_ANY:
    case TYPE_ALTERNATE: return json_ref(*(Json *const *)value);
    case TYPE_NULL: return NULL;
    case TYPE_LIST: {
        const ListValue *list = value;
        Json *array = json_new_array();
        for (size_t i = 0; i < list->n; i++) {
            json_append(array, type_encode(t->element, (const char *)list->items + i * t->element->size));
        }
        return array;
    }
    case TYPE_STRUCT:
    case TYPE_UNION: {
        Json *object = json_new_object();
        const TypeDesc *branch = union_branch(t, value);
        encode_fields(t, value, object);
        if (branch) {
            encode_fields(branch, (const char *)value + t->branch_offset, object);
        }
        return object;
    }
    }
    return NULL;
}

static void clear_value(const TypeDesc *t, void *value)
{
    if (t->kind == TYPE_STRING) {
        g_free(*(char **)value);
    } else if (t->kind == TYPE_ANY || t->kind == TYPE_ALTERNATE) {
        json_unref(*(Json **)value);
    } else if (t->kind == TYPE_LIST) {
        ListValue *list = value;
        for (size_t i = 0; i < list->n; i++) {
            clear_value(t->element, (char *)list->items + i * t->element->size);
        }
        g_free(list->items);
    } else if (t->kind == TYPE_STRUCT || t->kind == TYPE_UNION) {
        const TypeDesc *branch = union_branch(t, value);
        for (unsigned i = 0; i < t->n; i++) {
            if (!t->fields[i].refused) {
                clear_value(t->fields[i].type, (char *)value + t->fields[i].offset);
            }
        }
        if (branch) {
            clear_value(branch, (char *)value + t->branch_offset);
        }
    }
}

void type_clear(const TypeDesc *t, void *value)
{
    clear_value(t, value);
    memset(value, 0, t->size);
}
