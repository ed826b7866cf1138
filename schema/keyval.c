/* SPDX-License-Identifier: MIT
 * schema/keyval.c - option text "a=b,c.d=e" to a Json tree of strings.
 *
 * Models: dotted keys make nested objects, fragments that are numbers make lists, ",," is a comma in a
 *         value, the first item may omit its key, bare "flag" and "noflag" mean on and off, one comma may
 *         end the text, the last of equal keys counts. Text that starts with '{' is JSON.
 * Threads: any; no state.
 */
#include "rhea/schema/type.h"
#include "rhea/util/errorcode.h"

#include <string.h>

enum { KEY_MAX_PARTS = 32, KEY_MAX_PART = 127 };

/* A name starts with a letter (or "_", for vendor names), or is an index without leading zeros. */
static bool key_part_valid(const char *s, size_t n)
{
    if (n == 0 || n > KEY_MAX_PART) {
        return false;
    }
    if (g_ascii_isdigit(s[0])) {
        for (size_t i = 0; i < n; i++) {
            if (!g_ascii_isdigit(s[i])) {
                return false;
            }
        }
        return n < 6 && (s[0] != '0' || n == 1);
    }
    for (size_t i = 0; i < n; i++) {
        if (!g_ascii_isalnum(s[i]) && s[i] != '-' && s[i] != '_') {
            return false;
        }
    }
    return g_ascii_isalpha(s[0]) || s[0] == '_';
}

/* Stores value (owned) at the dotted key. */
static bool keyval_put(Json *root, const char *key, Json *value, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(key, ".", 0);
    unsigned n = g_strv_length(parts);
    bool ok = n <= KEY_MAX_PARTS && n > 0;
    for (unsigned i = 0; ok && i < n; i++) {
        ok = key_part_valid(parts[i], strlen(parts[i]));
    }
    if (!ok) {
        json_unref(value);
        return error_fail(errp, "invalid-syntax", key,
                          "options are NAME=VALUE with commas between; ',,' is a comma in a value",
                          "'%s' is not a valid option name", key);
    }
    Json *at = root;
    for (unsigned i = 0; i + 1 < n; i++) {
        bool found;
        Json *next = json_member(at, parts[i], &found);
        if (!found) {
            next = json_new_object();
            json_put(at, parts[i], next);
        } else if (json_kind(next) != JSON_OBJECT) {
            json_unref(value);
            return error_fail(errp, "conflict", parts[i], "leave out one of the two",
                              "'%s' is given both a value and members", parts[i]);
        }
        at = next;
    }
    if (json_kind(json_member(at, parts[n - 1], NULL)) == JSON_OBJECT) {
        json_unref(value);
        return error_fail(errp, "conflict", key, "leave out one of the two",
                          "'%s' is given both a value and members", key);
    }
    json_put(at, parts[n - 1], value);
    return true;
}

/* Turns objects whose member names are indexes into arrays, innermost first. *j is replaced; `path`
 * names it in messages. */
static bool keyval_make_lists(Json **j, const char *path, Error **errp)
{
    size_t numbers = 0, names = 0;
    Json *out = json_new_object();
    json_object_object_foreach(*j, key, member) {
        Json *value = json_ref(member);
        g_autofree char *inner = *path ? g_strdup_printf("%s.%s", path, key) : g_strdup(key);
        if (json_kind(value) == JSON_OBJECT && !keyval_make_lists(&value, inner, errp)) {
            json_unref(value);
            json_unref(out);
            return false;
        }
        json_put(out, key, value);
        *(g_ascii_isdigit(key[0]) ? &numbers : &names) += 1;
    }
    json_unref(*j);
    *j = out;
    if (!numbers) {
        return true;
    }
    if (names || !*path) {
        return error_fail(errp, "conflict", *path ? path : NULL, "number all of them from 0, or none",
                          "'%s' mixes numbered and named members", *path ? path : "option");
    }
    Json *array = json_new_array();
    for (size_t i = 0; i < numbers; i++) {
        char index[24];
        bool found;
        g_snprintf(index, sizeof(index), "%zu", i);
        Json *value = json_member(out, index, &found);
        if (!found) {
            json_unref(array);
            return error_fail(errp, "missing-member", path, NULL,
                              "'%s.%zu' is missing: list elements count from 0 without gaps", path, i);
        }
        json_append(array, json_ref(value));
    }
    json_unref(out);
    *j = array;
    return true;
}

/* The text up to a single comma, with ",," as a comma; *at moves behind the comma. */
static char *keyval_take(const char **at)
{
    GString *s = g_string_new(NULL);
    const char *p = *at;
    for (; *p; p++) {
        if (*p == ',') {
            if (p[1] != ',') {
                break;
            }
            p++;
        }
        g_string_append_c(s, *p);
    }
    *at = *p ? p + 1 : p;
    return g_string_free(s, FALSE);
}

static bool keyval_item(Json *root, const char **at, const char *implied_key, Error **errp)
{
    size_t n = strcspn(*at, "=,");
    if ((*at)[n] == '=') {
        g_autofree char *key = g_strndup(*at, n);
        *at += n + 1;
        g_autofree char *value = keyval_take(at);
        return keyval_put(root, key, json_new_string(value), errp);
    }
    if (implied_key) {
        g_autofree char *value = keyval_take(at);
        return keyval_put(root, implied_key, json_new_string(value), errp);
    }
    g_autofree char *flag = g_strndup(*at, n);
    *at += n + ((*at)[n] == ',');
    bool off = g_str_has_prefix(flag, "no") && flag[2] && strcmp(flag, "none");
    return keyval_put(root, off ? flag + 2 : flag, json_new_string(off ? "off" : "on"), errp);
}

Json *keyval_parse(const char *text, const char *implied_key, bool *from_text, Error **errp)
{
    *from_text = *text != '{';
    if (!*from_text) {
        return json_parse(text, -1, errp);
    }
    Json *root = json_new_object();
    bool ok = true;
    for (const char *at = text; ok && *at; implied_key = NULL) {
        ok = keyval_item(root, &at, implied_key, errp);
    }
    if (!ok || !keyval_make_lists(&root, "", errp)) {
        json_unref(root);
        return NULL;
    }
    return root;
}
