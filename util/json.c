/* SPDX-License-Identifier: MIT
 * util/json.c - JSON values over json-c: builders, readers, comparison, printing.
 *
 * Models: RFC 8259 values. Integers are exact over int64 and uint64, other numbers are doubles. The
 *         reader of text is in json-parse.c. Printed text is pure ASCII: other characters are escaped.
 * Threads: any; a tree belongs to one thread at a time (json-c's reference counts are not atomic).
 */
#include "rhea/util/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

JsonKind json_kind(const Json *j)
{
    switch (json_object_get_type(j)) {
    case json_type_null: return JSON_NULL;
    case json_type_boolean: return JSON_BOOL;
    case json_type_double: return JSON_DOUBLE;
    case json_type_int: return JSON_INT;
    case json_type_object: return JSON_OBJECT;
    case json_type_array: return JSON_ARRAY;
    case json_type_string: return JSON_STRING;
    }
    return JSON_NULL;
}

const char *json_kind_name(JsonKind k)
{
    static const char *const names[] = {
        [JSON_NULL] = "null",     [JSON_BOOL] = "boolean", [JSON_INT] = "integer",   [JSON_DOUBLE] = "number",
        [JSON_STRING] = "string", [JSON_ARRAY] = "array",  [JSON_OBJECT] = "object",
    };
    return names[k];
}

Json *json_new_bool(bool v)
{
    return json_object_new_boolean(v);
}

Json *json_new_int(int64_t v)
{
    return json_object_new_int64(v);
}

Json *json_new_uint(uint64_t v)
{
    return v <= INT64_MAX ? json_object_new_int64(v) : json_object_new_uint64(v);
}

Json *json_new_double(double v)
{
    return json_object_new_double(v);
}

Json *json_new_string(const char *s)
{
    return s ? json_object_new_string(s) : NULL;
}

Json *json_new_array(void)
{
    return json_object_new_array();
}

Json *json_new_object(void)
{
    return json_object_new_object();
}

Json *json_append(Json *array, Json *value)
{
    json_object_array_add(array, value);
    return array;
}

Json *json_put(Json *object, const char *key, Json *value)
{
    json_object_object_add(object, key, value);
    return object;
}

bool json_get_bool(const Json *j, bool *out)
{
    if (json_kind(j) != JSON_BOOL) {
        return false;
    }
    *out = json_object_get_boolean(j);
    return true;
}

bool json_get_int(const Json *j, int64_t *out)
{
    if (json_kind(j) != JSON_INT) {
        return false;
    }
    int64_t v = json_object_get_int64(j); /* json-c clamps */
    if (v == INT64_MAX && json_object_get_uint64(j) != INT64_MAX) {
        return false;
    }
    *out = v;
    return true;
}

bool json_get_uint(const Json *j, uint64_t *out)
{
    if (json_kind(j) != JSON_INT || json_object_get_int64(j) < 0) {
        return false;
    }
    *out = json_object_get_uint64(j);
    return true;
}

bool json_get_double(const Json *j, double *out)
{
    int64_t i;
    uint64_t u;
    if (json_get_int(j, &i)) {
        *out = i;
    } else if (json_get_uint(j, &u)) {
        *out = u;
    } else if (json_kind(j) == JSON_DOUBLE) {
        *out = json_object_get_double(j);
    } else {
        return false;
    }
    return true;
}

const char *json_get_string(const Json *j)
{
    return json_kind(j) == JSON_STRING ? json_object_get_string((Json *)j) : NULL;
}

size_t json_length(const Json *j)
{
    switch (json_kind(j)) {
    case JSON_ARRAY: return json_object_array_length(j);
    case JSON_OBJECT: return json_object_object_length(j);
    default: return 0;
    }
}

Json *json_at(const Json *array, size_t i)
{
    return i < json_length(array) && json_kind(array) == JSON_ARRAY ? json_object_array_get_idx(array, i)
                                                                    : NULL;
}

Json *json_member(const Json *object, const char *key, bool *found)
{
    Json *value = NULL;
    bool present = json_kind(object) == JSON_OBJECT && json_object_object_get_ex(object, key, &value);
    if (found) {
        *found = present;
    }
    return value;
}

static bool json_equal_scalar(const Json *a, const Json *b, JsonKind kind)
{
    int64_t x, y;
    uint64_t u, v;
    switch (kind) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return json_object_get_boolean(a) == json_object_get_boolean(b);
    case JSON_DOUBLE:
        return json_object_get_double(a) == json_object_get_double(b);
    case JSON_INT:
        if (json_get_int(a, &x) && json_get_int(b, &y)) {
            return x == y;
        }
        return json_get_uint(a, &u) && json_get_uint(b, &v) && u == v;
    default:
        return json_object_get_string_len(a) == json_object_get_string_len(b) &&
               !memcmp(json_get_string(a), json_get_string(b), json_object_get_string_len(a));
    }
}

bool json_equal(const Json *a, const Json *b)
{
    JsonKind kind = json_kind(a);
    if (kind != json_kind(b)) {
        return false;
    }
    if (kind != JSON_ARRAY && kind != JSON_OBJECT) {
        return json_equal_scalar(a, b, kind);
    }
    if (json_length(a) != json_length(b)) {
        return false;
    }
    if (kind == JSON_ARRAY) {
        for (size_t i = 0; i < json_length(a); i++) {
            if (!json_equal(json_at(a, i), json_at(b, i))) {
                return false;
            }
        }
        return true;
    }
    json_object_object_foreach((Json *)a, key, value) {
        bool found;
        Json *other = json_member(b, key, &found);
        if (!found || !json_equal(value, other)) {
            return false;
        }
    }
    return true;
}

static void json_print_char(GString *out, gunichar c)
{
    switch (c) {
    case '"': g_string_append(out, "\\\""); return;
    case '\\': g_string_append(out, "\\\\"); return;
    case '\b': g_string_append(out, "\\b"); return;
    case '\f': g_string_append(out, "\\f"); return;
    case '\n': g_string_append(out, "\\n"); return;
    case '\r': g_string_append(out, "\\r"); return;
    case '\t': g_string_append(out, "\\t"); return;
    default: break;
    }
    if (c >= 0x20 && c < 0x7f) {
        g_string_append_c(out, c);
    } else if (c > 0xffff) {
        c -= 0x10000;
        g_string_append_printf(out, "\\u%04x\\u%04x", 0xd800 + (c >> 10), 0xdc00 + (c & 0x3ff));
    } else {
        g_string_append_printf(out, "\\u%04x", c);
    }
}

static void json_print_string(GString *out, const char *s, size_t len)
{
    g_string_append_c(out, '"');
    const char *end = s + len;
    while (s < end) {
        gunichar c = *s ? g_utf8_get_char_validated(s, end - s) : 0;
        if (c >= (gunichar)-2) { /* not UTF-8, such as a host file name */
            json_print_char(out, 0xfffd);
            s++;
        } else {
            json_print_char(out, c);
            s += *s ? g_utf8_skip[*(const guchar *)s] : 1;
        }
    }
    g_string_append_c(out, '"');
}

static void json_print_double(GString *out, double d)
{
    if (!isfinite(d)) {
        g_string_append(out, "null"); /* JSON has no such number */
        return;
    }
    char buf[G_ASCII_DTOSTR_BUF_SIZE];
    for (int digits = 15; digits <= 17; digits++) {
        char format[8];
        g_snprintf(format, sizeof(format), "%%.%dg", digits);
        g_ascii_formatd(buf, sizeof(buf), format, d);
        if (g_ascii_strtod(buf, NULL) == d) {
            break;
        }
    }
    g_string_append(out, buf);
    if (!strpbrk(buf, ".e")) {
        g_string_append(out, ".0"); /* stays a double when it is read again */
    }
}

static void json_print_break(GString *out, int indent)
{
    if (indent >= 0) {
        g_string_append_printf(out, "\n%*s", indent * 4, "");
    }
}

/* indent < 0: compact. */
static void json_print(GString *out, const Json *j, int indent)
{
    int inner = indent < 0 ? indent : indent + 1;
    const char *comma = indent < 0 ? ", " : ",";
    switch (json_kind(j)) {
    case JSON_NULL: g_string_append(out, "null"); break;
    case JSON_BOOL: g_string_append(out, json_object_get_boolean(j) ? "true" : "false"); break;
    case JSON_DOUBLE: json_print_double(out, json_object_get_double(j)); break;
    case JSON_STRING: json_print_string(out, json_get_string(j), json_object_get_string_len(j)); break;
    case JSON_INT: {
        int64_t i;
        if (json_get_int(j, &i)) {
            g_string_append_printf(out, "%" G_GINT64_FORMAT, i);
        } else {
            g_string_append_printf(out, "%" G_GUINT64_FORMAT, json_object_get_uint64(j));
        }
        break;
    }
    case JSON_ARRAY: {
        size_t n = json_length(j);
        g_string_append_c(out, '[');
        for (size_t i = 0; i < n; i++) {
            g_string_append(out, i ? comma : "");
            json_print_break(out, inner);
            json_print(out, json_at(j, i), inner);
        }
        if (n) {
            json_print_break(out, indent);
        }
        g_string_append_c(out, ']');
        break;
    }
    case JSON_OBJECT: {
        bool first = true;
        g_string_append_c(out, '{');
        json_object_object_foreach((Json *)j, key, value) {
            g_string_append(out, first ? "" : comma);
            json_print_break(out, inner);
            json_print_string(out, key, strlen(key));
            g_string_append(out, ": ");
            json_print(out, value, inner);
            first = false;
        }
        if (!first) {
            json_print_break(out, indent);
        }
        g_string_append_c(out, '}');
        break;
    }
    }
}

char *json_format(const Json *j, bool pretty)
{
    GString *out = g_string_new(NULL);
    json_print(out, j, pretty ? 0 : -1);
    return g_string_free(out, FALSE);
}
