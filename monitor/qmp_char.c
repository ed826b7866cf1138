/* SPDX-License-Identifier: MIT
 * monitor/qmp_char.c - chardev-add and chardev-change, which turn QMP's nested description of a character
 * device into that of -chardev; breaks, ring buffers, yank.
 *
 * Models: QEMU 7.2's defaults, which are other ones than -chardev's: a socket listens, and nobody waits for a
 * client.
 * Threads: main loop, no domain held.
 */
#include "rhea/monitor/qmp.h"
#include "rhea/util/errorcode.h"
#include "schema/qmp.h"
#include <string.h>

enum { RINGBUF_PIECE = 1 << 20 }; /* bytes that one reply holds at most */

/* Moves the members of an object that have these names: from, to, from, to, NULL. "": stays as it is. */
static void take(const Json *from, Json *to, const char *const *names)
{
    for (; names[0]; names += 2) {
        bool found;
        Json *v = json_member(from, names[0], &found);
        if (found) {
            json_put(to, *names[1] ? names[1] : names[0], json_ref(v));
        }
    }
}

static void take_address(const Json *socket, Json *opts)
{
    static const char *const inet[] = { "host", "", "port", "", "to", "", "ipv4", "", "ipv6", "", NULL };
    static const char *const path[] = { "path", "", "abstract", "", "tight", "", NULL };
    static const char *const fd[] = { "str", "fd", NULL };
    const Json *addr = json_member(socket, "addr", NULL);
    const char *type = json_get_string(json_member(addr, "type", NULL));
    const char *const *names = g_str_equal(type, "inet") ? inet : g_str_equal(type, "unix") ? path : fd;
    take(json_member(addr, "data", NULL), opts, names);
}

static void default_bool(Json *opts, const char *name, bool value)
{
    if (!json_member(opts, name, NULL)) {
        json_put(opts, name, json_new_bool(value));
    }
}

/* The options of -chardev for the same device (owned). */
static Json *chardev_options(const char *id, const ChardevBackend *from)
{
    static const char *const same[] = { "logfile",   "", "logappend", "", "append", "", "signal", "",
                                        "size",      "", "nodelay",   "", "server", "", "wait",   "",
                                        "reconnect", "", "in",  "input-path", "out", "path",
                                        "device",    "path", NULL };
    g_autoptr(Json) backend = type_encode(&chardev_backend_type, from);
    const Json *data = json_member(backend, "data", NULL);
    Json *opts = json_put(json_new_object(), "id", json_new_string(id));
    json_put(opts, "backend", json_ref(json_member(backend, "type", NULL)));
    take(data, opts, same);
    if (from->type == CHARDEV_BACKEND_KIND_SOCKET) {
        bool server = true;
        take_address(data, opts);
        default_bool(opts, "server", true);
        json_get_bool(json_member(opts, "server", NULL), &server);
        if (server) {
            default_bool(opts, "wait", false);
        }
    }
    return opts;
}

/* Where a member of -chardev is in the nested description. */
static void place_member(Error **errp, const ChardevBackend *backend)
{
    static const struct {
        const char *option, *file, *socket; /* socket: in the address */
    } rows[] = {
        { "path", "out", "path" },     { "input-path", "in", NULL }, { "fd", NULL, "str" },
        { "host", NULL, "host" },      { "port", NULL, "port" },     { "to", NULL, "to" },
        { "ipv4", NULL, "ipv4" },      { "ipv6", NULL, "ipv6" },     { "size", "size", NULL },
        { "server", NULL, NULL },      { "wait", NULL, NULL },       { "reconnect", NULL, NULL },
    };
    const char *member = errp && *errp ? error_member(*errp) : NULL;
    bool socket = backend->type == CHARDEV_BACKEND_KIND_SOCKET;
    for (size_t i = 0; member && i < G_N_ELEMENTS(rows); i++) {
        if (!g_str_equal(member, rows[i].option)) {
            continue;
        }
        const char *to = socket ? rows[i].socket : rows[i].file;
        g_autofree char *path =
            g_strconcat(socket && to ? "backend.data.addr.data." : "backend.data.", to ? to : member, NULL);
        error_set_code(errp, error_code(*errp), path);
        return;
    }
    if (socket && errp && *errp && error_errno(*errp)) { /* the host's answer to all of it */
        error_member_default(errp, "backend.data.addr");
    }
}

/* What became of it; NULL: nothing. */
static bool chardev_made(const Chardev *c, const ChardevBackend *backend, ChardevReturn *ret, Error **errp)
{
    if (!c) {
        place_member(errp, backend);
    }
    if (c && backend->type == CHARDEV_BACKEND_KIND_PTY) {
        g_autofree char *name = chardev_filename(c);
        ret->pty = g_strdup(name + (g_str_has_prefix(name, "pty:") ? 4 : 0));
    }
    return c != NULL;
}

bool qmp_chardev_add(QmpCall *call, const ChardevAddArgs *args, ChardevReturn *ret, Error **errp)
{
    g_autoptr(Json) opts = chardev_options(args->id, &args->backend);
    return chardev_made(chardev_new_json(call->machine, opts, false, errp), &args->backend, ret,
                        errp);
}

bool qmp_chardev_change(QmpCall *call, const ChardevChangeArgs *args, ChardevReturn *ret, Error **errp)
{
    g_autoptr(Json) opts = chardev_options(args->id, &args->backend);
    return chardev_made(chardev_change_json(call->machine, opts, false, errp), &args->backend, ret,
                        errp);
}

bool qmp_chardev_send_break(QmpCall *call, const ChardevSendBreakArgs *args, Error **errp)
{
    return chardev_send_break(call->machine, args->id, errp);
}

/* ---- ring buffers ---- */

static Chardev *find_ringbuf(Machine *m, const char *id, Error **errp)
{
    Chardev *c = chardev_find(m, id);
    if (!c || !chardev_is_ringbuf(c)) {
        error_set(errp, c ? "chardev '%s' is no ringbuf" : "there is no chardev with id '%s'", id);
        error_hint(errp, "query-chardev lists them");
        error_set_code(errp, c ? "invalid-value" : "not-found", "device");
        return NULL;
    }
    return c;
}

/* Owned; NULL: it is not base64 (RFC 4648), lines apart. */
static uint8_t *base64_decode(const char *text, gsize *n, Error **errp)
{
    gsize digits = 0, pads = 0;
    bool good = true;
    for (const char *p = text; *p; p++) {
        bool pad = *p == '=', digit = g_ascii_isalnum(*p) || *p == '+' || *p == '/';
        good = good && (pad || (digit && !pads) || *p == '\n' || *p == '\r');
        digits += digit;
        pads += pad;
    }
    if (!good || pads > 2 || (digits + pads) % 4) {
        error_set(errp, "'data' is not base64");
        error_hint(errp, "'base64 FILE' makes such a text; format=utf8 takes text as it is");
        error_set_code(errp, "invalid-value", "data");
        return NULL;
    }
    return g_base64_decode(text, n);
}

bool qmp_ringbuf_write(QmpCall *call, const RingbufWriteArgs *args, Error **errp)
{
    Chardev *c = find_ringbuf(call->machine, args->device, errp);
    if (!c) {
        return false;
    }
    if (args->has_format && args->format == DATA_FORMAT_BASE64) {
        gsize n;
        g_autofree uint8_t *data = base64_decode(args->data, &n, errp);
        if (data) {
            chardev_ringbuf_write(c, data, n);
        }
        return data != NULL;
    }
    chardev_ringbuf_write(c, (const uint8_t *)args->data, strlen(args->data));
    return true;
}

/* Nothing of a C string's end. */
static char *as_text(uint8_t *data, size_t n)
{
    g_autoptr(GString) out = g_string_new(NULL);
    for (size_t from = 0; from < n; from++) {
        size_t len = strnlen((char *)data + from, n - from);
        g_autofree char *part = g_utf8_make_valid((char *)data + from, (gssize)len);
        g_string_append(out, part);
        from += len;
        g_string_append(out, from < n ? "\xef\xbf\xbd" : "");
    }
    return g_strdup(out->str);
}

bool qmp_ringbuf_read(QmpCall *call, const RingbufReadArgs *args, char **ret, Error **errp)
{
    Chardev *c = find_ringbuf(call->machine, args->device, errp);
    if (!c) {
        return false;
    }
    if (args->size < 1) {
        error_set(errp, "'size' is %" G_GINT64_FORMAT ": there is nothing to read", args->size);
        error_hint(errp, "1 and more are possible");
        error_set_code(errp, "out-of-range", "size");
        return false;
    }
    size_t size = (size_t)MIN(args->size, RINGBUF_PIECE);
    g_autofree uint8_t *buf = g_malloc(size);
    bool base64 = args->has_format && args->format == DATA_FORMAT_BASE64;
    size_t n = base64 ? chardev_ringbuf_read(c, buf, size) : chardev_ringbuf_read_text(c, buf, size);
    *ret = base64 ? g_base64_encode(buf, n) : as_text(buf, n);
    return true;
}

/* ---- connections that hang ---- */

static Chardev *find_yankable(Machine *m, const YankInstance *i, Error **errp)
{
    const char *id = i->u.chardev.id;
    Chardev *c = chardev_find(m, id);
    if (c && chardev_can_yank(c)) {
        return c;
    }
    error_set(errp, c ? "chardev '%s' has no connection" : "there is no chardev with id '%s'", id);
    error_hint(errp, "query-yank lists what can be cut off");
    error_set_class(errp, ERROR_DEVICE_NOT_FOUND);
    return NULL;
}

/* All of them, or none. */
bool qmp_yank(QmpCall *call, const YankArgs *args, Error **errp)
{
    for (size_t i = 0; i < args->instances.n; i++) {
        if (!find_yankable(call->machine, &args->instances.items[i], errp)) {
            return false;
        }
    }
    for (size_t i = 0; i < args->instances.n; i++) {
        chardev_yank(find_yankable(call->machine, &args->instances.items[i], NULL));
    }
    return true;
}

static void add_yankable(Chardev *c, void *opaque)
{
    QueryYankResult *ret = opaque;
    if (chardev_can_yank(c)) {
        ret->items = g_renew(YankInstance, ret->items, ret->n + 1);
        ret->items[ret->n++] = (YankInstance){ .type = YANK_INSTANCE_TYPE_CHARDEV,
                                               .u.chardev.id = g_strdup(chardev_id(c)) };
    }
}

bool qmp_query_yank(QmpCall *call, QueryYankResult *ret, Error **errp)
{
    chardev_foreach(call->machine, add_yankable, ret);
    return true;
}
