/* SPDX-License-Identifier: MIT
 * util/json-parse.c - reads JSON text.
 *
 * Models: RFC 8259, strictly (no comments, no trailing commas, UTF-8 checked, keys unique), plus strings
 *         in single quotes as QEMU's clients write them. Nesting is limited to 64 levels, text to 64 MiB.
 *         Whole numbers are exact in int64 or uint64; beyond that, or with point or exponent, doubles.
 * Does not model: U+0000 in strings (nobody downstream could represent it) and a top-level null
 *         (which would read as a failure): both are refused.
 * Threads: any; no state.
 */
#include "rhea/util/errorcode.h"
#include "rhea/util/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_MAX_DEPTH = 64, JSON_MAX_TEXT = 64 << 20 };

typedef struct JsonReader {
    const char *start, *at, *end;
    unsigned depth;
    Error **errp;
} JsonReader;

static bool json_read_value(JsonReader *r, Json **out);

static bool json_fail(JsonReader *r, const char *at, const char *what)
{
    unsigned line = 1, column = 1;
    for (const char *p = r->start; p < at; p++) {
        if (*p == '\n') {
            line++;
            column = 1;
        } else if ((*p & 0xc0) != 0x80) {
            column++; /* characters, not bytes */
        }
    }
    return error_fail(r->errp, "invalid-json", NULL, NULL,
                      "invalid JSON at line %u column %u: %s", line, column, what);
}

static void json_skip_blanks(JsonReader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) {
        r->at++;
    }
}

static bool json_read_hex4(JsonReader *r, gunichar *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++) {
        int digit = r->at < r->end ? g_ascii_xdigit_value(*r->at) : -1;
        if (digit < 0) {
            return json_fail(r, r->at, "four hexadecimal digits expected behind \\u");
        }
        *out = *out << 4 | digit;
        r->at++;
    }
    return true;
}

/* Behind the backslash. */
static bool json_read_escape(JsonReader *r, GString *s)
{
    static const char names[] = "\"\\/'bfnrt", values[] = "\"\\/'\b\f\n\r\t";
    const char *from = r->at - 1;
    char c = r->at < r->end ? *r->at++ : 0;
    const char *simple = c ? strchr(names, c) : NULL;
    if (simple) {
        g_string_append_c(s, values[simple - names]);
        return true;
    }
    if (c != 'u') {
        return json_fail(r, from, "unknown escape in a string");
    }
    gunichar u, low;
    if (!json_read_hex4(r, &u)) {
        return false;
    }
    if (u >= 0xd800 && u <= 0xdbff) {
        if (r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u') {
            return json_fail(r, from, "a high surrogate needs a low one behind it");
        }
        r->at += 2;
        if (!json_read_hex4(r, &low)) {
            return false;
        }
        if (low < 0xdc00 || low > 0xdfff) {
            return json_fail(r, from, "a high surrogate needs a low one behind it");
        }
        u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
    } else if (u >= 0xdc00 && u <= 0xdfff) {
        return json_fail(r, from, "a low surrogate stands alone");
    }
    if (u == 0) {
        return json_fail(r, from, "\\u0000 is not accepted in strings");
    }
    g_string_append_unichar(s, u);
    return true;
}

/* Returns the text (owned), NULL on failure. */
static GString *json_read_string(JsonReader *r)
{
    const char *from = r->at;
    char quote = *r->at++;
    GString *s = g_string_new(NULL);
    bool ok = true;
    while (ok) {
        if (r->at >= r->end) {
            ok = json_fail(r, from, "string without an end");
            break;
        }
        guchar c = *r->at;
        if (c == (guchar)quote) {
            r->at++;
            return s;
        }
        if (c == '\\') {
            r->at++;
            ok = json_read_escape(r, s);
        } else if (c < 0x20) {
            ok = json_fail(r, r->at, "control character in a string");
        } else if (c < 0x80) {
            g_string_append_c(s, c);
            r->at++;
        } else if (g_utf8_get_char_validated(r->at, r->end - r->at) >= (gunichar)-2) {
            ok = json_fail(r, r->at, "text is not UTF-8");
        } else {
            size_t n = g_utf8_skip[c];
            g_string_append_len(s, r->at, n);
            r->at += n;
        }
    }
    g_string_free(s, TRUE);
    return NULL;
}

static size_t json_digits(const char *p, const char *end)
{
    size_t n = 0;
    while (p + n < end && g_ascii_isdigit(p[n])) {
        n++;
    }
    return n;
}

/* RFC 8259 section 6: [-] int [frac] [exp], int without leading zeros. */
static bool json_read_number(JsonReader *r, Json **out)
{
    const char *from = r->at, *p = from + (*from == '-');
    size_t n = json_digits(p, r->end);
    bool whole = true;
    if (n == 0) {
        return json_fail(r, from, "digits expected behind '-'");
    }
    if (n > 1 && *p == '0') {
        return json_fail(r, from, "a number must not start with 0");
    }
    p += n;
    if (p < r->end && *p == '.') {
        whole = false;
        n = json_digits(++p, r->end);
        if (n == 0) {
            return json_fail(r, p, "digits expected behind the point");
        }
        p += n;
    }
    if (p < r->end && (*p == 'e' || *p == 'E')) {
        whole = false;
        p++;
        p += p < r->end && (*p == '+' || *p == '-');
        n = json_digits(p, r->end);
        if (n == 0) {
            return json_fail(r, p, "digits expected in the exponent");
        }
        p += n;
    }
    g_autofree char *text = g_strndup(from, p - from);
    r->at = p;
    if (whole) {
        errno = 0;
        if (*text == '-') {
            int64_t i = g_ascii_strtoll(text, NULL, 10);
            *out = json_new_int(i);
        } else {
            uint64_t u = g_ascii_strtoull(text, NULL, 10);
            *out = json_new_uint(u);
        }
        if (errno != ERANGE) {
            return true;
        }
        json_unref(*out);
        *out = NULL;
    }
    double d = g_ascii_strtod(text, NULL);
    if (!isfinite(d)) {
        return json_fail(r, from, "number is too large");
    }
    *out = json_new_double(d);
    return true;
}

static bool json_read_word(JsonReader *r, Json **out)
{
    size_t n = 0;
    while (r->at + n < r->end && g_ascii_isalpha(r->at[n])) {
        n++;
    }
    if (n == 4 && !memcmp(r->at, "null", 4)) {
        *out = NULL;
    } else if (n == 4 && !memcmp(r->at, "true", 4)) {
        *out = json_new_bool(true);
    } else if (n == 5 && !memcmp(r->at, "false", 5)) {
        *out = json_new_bool(false);
    } else {
        return json_fail(r, r->at, "value expected");
    }
    r->at += n;
    return true;
}

static bool json_read_array(JsonReader *r, Json *array)
{
    r->at++;
    json_skip_blanks(r);
    if (r->at < r->end && *r->at == ']') {
        r->at++;
        return true;
    }
    for (;;) {
        Json *value;
        if (!json_read_value(r, &value)) {
            return false;
        }
        json_append(array, value);
        json_skip_blanks(r);
        char c = r->at < r->end ? *r->at : 0;
        if (c != ',' && c != ']') {
            return json_fail(r, r->at, "',' or ']' expected");
        }
        r->at++;
        if (c == ']') {
            return true;
        }
    }
}

static bool json_read_member(JsonReader *r, Json *object)
{
    json_skip_blanks(r);
    if (r->at >= r->end || (*r->at != '"' && *r->at != '\'')) {
        return json_fail(r, r->at, "member name expected");
    }
    const char *from = r->at;
    GString *key = json_read_string(r);
    if (!key) {
        return false;
    }
    bool found, ok = false;
    Json *value;
    json_member(object, key->str, &found);
    json_skip_blanks(r);
    if (found) {
        json_fail(r, from, "member name given twice");
    } else if (r->at >= r->end || *r->at != ':') {
        json_fail(r, r->at, "':' expected");
    } else {
        r->at++;
        ok = json_read_value(r, &value);
    }
    if (ok) {
        json_put(object, key->str, value);
    }
    g_string_free(key, TRUE);
    return ok;
}

static bool json_read_object(JsonReader *r, Json *object)
{
    r->at++;
    json_skip_blanks(r);
    if (r->at < r->end && *r->at == '}') {
        r->at++;
        return true;
    }
    for (;;) {
        if (!json_read_member(r, object)) {
            return false;
        }
        json_skip_blanks(r);
        char c = r->at < r->end ? *r->at : 0;
        if (c != ',' && c != '}') {
            return json_fail(r, r->at, "',' or '}' expected");
        }
        r->at++;
        if (c == '}') {
            return true;
        }
    }
}

static bool json_read_value(JsonReader *r, Json **out)
{
    *out = NULL;
    json_skip_blanks(r);
    if (r->at >= r->end) {
        return json_fail(r, r->at, "value expected, found the end");
    }
    char c = *r->at;
    if (c == '"' || c == '\'') {
        GString *s = json_read_string(r);
        if (!s) {
            return false;
        }
        *out = json_object_new_string_len(s->str, s->len);
        g_string_free(s, TRUE);
        return true;
    }
    if (c == '-' || g_ascii_isdigit(c)) {
        return json_read_number(r, out);
    }
    if (c != '{' && c != '[') {
        return json_read_word(r, out);
    }
    if (r->depth == JSON_MAX_DEPTH) {
        return json_fail(r, r->at, "nested deeper than 64 levels");
    }
    r->depth++;
    Json *container = c == '{' ? json_new_object() : json_new_array();
    bool ok = c == '{' ? json_read_object(r, container) : json_read_array(r, container);
    r->depth--;
    if (!ok) {
        json_unref(container);
        return false;
    }
    *out = container;
    return true;
}

Json *json_parse(const char *text, ssize_t len, Error **errp)
{
    size_t n = len < 0 ? strlen(text) : (size_t)len;
    if (n > JSON_MAX_TEXT) {
        error_fail(errp, "too-large", NULL, NULL,
                   "JSON text of %zu bytes is larger than the limit of 64 MiB", n);
        return NULL;
    }
    JsonReader r = { .start = text, .at = text, .end = text + n, .errp = errp };
    Json *value;
    if (!json_read_value(&r, &value)) {
        return NULL;
    }
    json_skip_blanks(&r);
    if (r.at < r.end) {
        json_fail(&r, r.at, "text behind the value");
        json_unref(value);
        return NULL;
    }
    if (!value) {
        json_fail(&r, text, "null is not accepted here");
    }
    return value;
}
