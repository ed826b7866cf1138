/* SPDX-License-Identifier: MIT
 * monitor/qmp_char.c - chardev-add, which turns QMP's nested description of a character device into that of
 * -chardev; yank.
 *
 * Models: QEMU 7.2's defaults, which are other ones than -chardev's: a socket listens, and nobody waits for a
 * client.
 * Threads: main loop, no domain held.
 */
#include "rhea/monitor/qmp.h"
#include "schema/qmp.h"
#include <string.h>

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
static Json *chardev_options(const ChardevAddArgs *args)
{
    static const char *const same[] = { "logfile",   "", "logappend", "", "append", "", "signal", "",
                                        "size",      "", "nodelay",   "", "server", "", "wait",   "",
                                        "reconnect", "", "in",  "input-path", "out", "path",
                                        "device",    "path", NULL };
    g_autoptr(Json) backend = type_encode(&chardev_backend_type, &args->backend);
    const Json *data = json_member(backend, "data", NULL);
    Json *opts = json_put(json_new_object(), "id", json_new_string(args->id));
    json_put(opts, "backend", json_ref(json_member(backend, "type", NULL)));
    take(data, opts, same);
    if (args->backend.type == CHARDEV_BACKEND_KIND_SOCKET) {
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

bool qmp_chardev_add(QmpCall *call, const ChardevAddArgs *args, ChardevReturn *ret, Error **errp)
{
    g_autoptr(Json) opts = chardev_options(args);
    Chardev *c = chardev_new_json(call->machine, opts, false, errp);
    if (c && args->backend.type == CHARDEV_BACKEND_KIND_PTY) {
        g_autofree char *name = chardev_filename(c);
        ret->pty = g_strdup(name + (g_str_has_prefix(name, "pty:") ? 4 : 0));
    }
    return c != NULL;
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
