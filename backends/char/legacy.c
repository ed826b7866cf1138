/* SPDX-License-Identifier: MIT
 * backends/char/legacy.c - the short forms of -serial, -monitor and others, rewritten to -chardev JSON.
 *
 * Models: "stdio", "null", "pty", "file:PATH", "pipe:PATH", "tcp:[HOST]:PORT[,server][,nowait]...",
 * "unix:PATH[,...]", "ringbuf", "vc[:WxH]", "chardev:ID", and "mon:" before any of them.
 * Threads: main loop.
 */
#include "char_internal.h"
#include "rhea/util/text.h"
#include "rhea/schema/type.h"
#include "rhea/util/errorcode.h"
#include <string.h>

static void put_all(Json *into, const Json *from)
{
    json_object_object_foreach((Json *)from, key, value)
    {
        json_put(into, key, json_ref(value));
    }
}

/* "HOST:PORT", "[V6]:PORT", ":PORT". */
static bool put_host_port(Json *j, const char *text, Error **errp)
{
    const char *colon = strrchr(text, ':');
    if (!colon || !colon[1]) {
        return error_fail(errp, "invalid-syntax", NULL, "for example localhost:4444",
                          "'%s' is not HOST:PORT", text);
    }
    g_autofree char *host = g_strndup(text, colon - text);
    size_t n = strlen(host);
    if (n >= 2 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = 0;
        memmove(host, host + 1, n - 1);
    } else if (strchr(host, ':')) {
        error_fail(errp, "invalid-syntax", NULL, NULL, "'%s' has several colons", text);
        error_hint(errp, "write an IPv6 address in brackets: [::1]:4444");
        return false;
    }
    if (*host) {
        json_put(j, "host", json_new_string(host));
    }
    json_put(j, "port", json_new_string(colon + 1));
    return true;
}

/* text is behind "tcp:" or "unix:". */
static bool put_socket(Json *j, const char *text, bool is_unix, Error **errp)
{
    size_t n = strcspn(text, ",");
    g_autofree char *address = g_strndup(text, n);
    json_put(j, "backend", json_new_string("socket"));
    if (is_unix) {
        json_put(j, "path", json_new_string(address));
    } else if (!put_host_port(j, address, errp)) {
        return false;
    }
    if (text[n]) {
        bool from_text;
        g_autoptr(Json) more = keyval_parse(text + n + 1, NULL, &from_text, errp);
        if (!more) {
            return false;
        }
        put_all(j, more);
    }
    return true;
}

/* ",..." behind a plain name such as "stdio" or "pty". */
static bool put_plain(Json *j, const char *text, Error **errp)
{
    bool from_text;
    g_autoptr(Json) all = keyval_parse(text, "backend", &from_text, errp);
    if (all) {
        put_all(j, all);
    }
    return all != NULL;
}

/* Paths may hold commas, unlike in -chardev: the text is the path as it is. */
static void put_path(Json *j, const char *kind, const char *path)
{
    json_put(j, "backend", json_new_string(kind));
    json_put(j, "path", json_new_string(path));
}

/* "WxH" in pixels; a C behind a number: in characters. */
static bool put_size(Json *j, const char *text, Error **errp)
{
    static const char *const names[2][2] = { { "width", "cols" }, { "height", "rows" } };
    g_auto(GStrv) parts = g_strsplit(text, "x", 3);
    bool ok = g_strv_length(parts) == 2;
    json_put(j, "backend", json_new_string("vc"));
    for (unsigned i = 0; ok && i < 2; i++) {
        size_t n = strlen(parts[i]);
        bool cells = n && parts[i][n - 1] == 'C';
        g_autofree char *number = g_strndup(parts[i], n - cells);
        ok = *number && strspn(number, "0123456789") == strlen(number);
        json_put(j, names[i][cells], json_new_string(number));
    }
    return ok || error_fail(errp, "invalid-syntax", NULL, "for example vc:640x384 or vc:80Cx24C",
                            "'vc:%s' is not a width and a height", text);
}

static bool translate(Json *j, const char *text, Error **errp)
{
    if (g_str_has_prefix(text, "tcp:")) {
        return put_socket(j, text + 4, false, errp);
    }
    if (g_str_has_prefix(text, "unix:")) {
        return put_socket(j, text + 5, true, errp);
    }
    if (g_str_has_prefix(text, "file:") || g_str_has_prefix(text, "pipe:")) {
        g_autofree char *kind = g_strndup(text, 4);
        put_path(j, kind, text + 5);
        return text[5] || error_fail(errp, "missing-member", NULL, "for example unix:guest.sock",
                                     "'%s' needs a path", text);
    }
    if (g_str_has_prefix(text, "telnet:") || g_str_has_prefix(text, "websocket:")) {
        error_fail(errp, "not-supported", NULL, NULL,
                   "'%s': neither telnet nor websocket is supported", text);
        error_hint(errp, "use tcp:HOST:PORT with a plain client such as socat or nc");
        return false;
    }
    if (g_str_has_prefix(text, "/dev/")) {
        error_fail(errp, "not-supported", NULL, NULL,
                   "host terminal '%s': host serial lines are not passed through yet", text);
        error_hint(errp, "use pipe, pty or unix, and a program such as socat");
        return false;
    }
    if (g_str_has_prefix(text, "vc:")) {
        return put_size(j, text + 3, errp);
    }
    g_autofree char *kind = g_strndup(text, strcspn(text, ":,"));
    if (char_refuse_kind(kind, errp)) {
        return false;
    }
    return put_plain(j, text, errp);
}

Chardev *chardev_new_legacy(Machine *m, const char *id, const char *text, Error **errp)
{
    bool mon = g_str_has_prefix(text, "mon:");
    if (mon) {
        text += 4;
    }
    if (g_str_equal(text, "none")) {
        return NULL;
    }
    if (g_str_has_prefix(text, "chardev:")) {
        Chardev *c = chardev_find(m, text + 8);
        if (!c) {
            error_fail(errp, "not-found", NULL, NULL, "there is no chardev with id '%s'", text + 8);
            chardev_id_hint(m, text + 8, errp);
        }
        return c;
    }
    g_autoptr(Json) j = json_new_object();
    json_put(j, "id", json_new_string(id));
    if (mon) {
        json_put(j, "mux", json_new_string("on"));
        if (g_str_equal(text, "stdio")) { /* Control-C is for the guest; Ctrl-A X ends */
            json_put(j, "signal", json_new_string("off"));
        }
    }
    if (!translate(j, text, errp)) {
        return NULL;
    }
    json_put(j, "id", json_new_string(id));
    return chardev_new_json(m, j, true, errp);
}
