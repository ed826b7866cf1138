/* SPDX-License-Identifier: MIT
 * backends/char/options.c - `-chardev` text or JSON to a chardev.
 *
 * Models: the names of QEMU's -chardev; the typed form is schema/chardev.idl.
 * Does not model: kinds that need host devices or a display; they are refused with what to use instead.
 * Threads: main loop.
 */
#include "char_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include "schema/chardev.h"
#include <string.h>

static const struct { const char *name, *reason, *cure;
} refused[] = {
    { "udp", "there are no datagram chardevs yet", "use socket" },
    { "serial", "host serial lines are not passed through yet",
      "use pipe, pty or socket and a program such as socat" },
    { "tty", "host serial lines are not passed through yet",
      "use pipe, pty or socket and a program such as socat" },
    { "parallel", "there is no parallel port yet", "use a serial line" },
    { "parport", "there is no parallel port yet", "use a serial line" },
    { "msmouse", "the pointer is not a serial device's", "the guest sees a PS/2 mouse" },
    { "wctablet", "the pointer is not a serial device's", "use -device virtio-tablet-pci or usb-tablet" },
    { "braille", "there is no braille support", "use stdio or pty" },
    { "testdev", "it is a device of unit tests", "use isa-debug-exit" },
    { "spicevmc", "there is no SPICE server", "use socket" },
    { "spiceport", "there is no SPICE server", "use socket" },
    { "dbus", "there is no D-Bus display", "use socket" },
    { "console", "it exists on Windows only", "use stdio" },
    { NULL },
};

bool char_refuse_kind(const char *kind, Error **errp)
{
    for (size_t i = 0; refused[i].name; i++) {
        if (g_str_equal(refused[i].name, kind)) {
            error_fail(errp, "not-supported", "backend", NULL,
                       "chardev backend '%s' is not supported: %s", kind, refused[i].reason);
            error_hint(errp, "%s", refused[i].cure);
            return true;
        }
    }
    return false;
}

void chardev_help(GString *out)
{
    g_string_append(out, "Available chardev backend types:\n");
    for (int i = 0; i < CHARDEV_KIND__COUNT; i++) {
        g_string_append_printf(out, "  %s\n", chardev_kind_names[i]);
    }
}

static int onoffauto(bool has, bool value)
{
    return !has ? AUTO : value ? ON : OFF;
}

static bool socket_config(const ChardevSocket *s, CharConfig *cfg, Error **errp)
{
    unsigned kinds = !!s->path + !!s->port + !!s->fd;
    if (kinds != 1) {
        error_fail(errp, kinds ? "conflict" : "missing-member", "path",
                   "path=FILE is a unix socket, host=HOST,port=PORT a TCP one",
                   kinds ? "only one of 'path', 'port' and 'fd' can be given"
                         : "'path' (unix), 'port' (TCP) or 'fd' is missing");
        return false;
    }
    if (!s->server && s->has_wait) {
        return error_fail(errp, "conflict", "wait", "leave it out, or use server=on",
                          "'wait' goes with server=on only");
    }
    if (s->server && (s->reconnect || s->reconnect_ms)) {
        return error_fail(errp, "conflict", "reconnect",
                          "leave it out: a server waits for the next client anyway",
                          "'reconnect' goes with a client (server=off) only");
    }
    if (s->reconnect && s->reconnect_ms) {
        return error_fail(errp, "conflict", "reconnect", "leave out one of them",
                          "'reconnect' and 'reconnect-ms' exclude each other");
    }
    if (s->has_to && (!s->server || !s->port)) {
        return error_fail(errp, "conflict", "to", "leave it out, or use server=on and port=",
                          "'to' goes with a TCP server only");
    }
    if (s->host && !s->port) {
        return error_fail(errp, "missing-member", "port", "give port=, or path= for a unix socket",
                          "'host' needs 'port'");
    }
    cfg->path = s->path;
    cfg->abstract = s->abstract;
    cfg->tight = s->tight;
    cfg->host = s->host;
    cfg->port = s->port;
    cfg->fd = s->fd;
    cfg->to = s->has_to ? s->to : 0;
    cfg->server = s->server;
    cfg->wait = s->server && (!s->has_wait || s->wait);
    cfg->nodelay = s->has_nodelay ? s->nodelay : s->has_delay && !s->delay;
    cfg->ipv4 = onoffauto(s->has_ipv4, s->ipv4);
    cfg->ipv6 = onoffauto(s->has_ipv6, s->ipv6);
    cfg->reconnect_ms = s->reconnect_ms ? s->reconnect_ms : s->reconnect * 1000;
    return true;
}

static bool make_config(const ChardevOptions *o, CharConfig *cfg, Error **errp)
{
    *cfg = (CharConfig){ .mux = o->mux, .logfile = o->logfile, .logappend = o->logappend };
    switch (o->backend) {
    case CHARDEV_KIND_STDIO:
        cfg->kind = CHAR_STDIO;
        cfg->signal = o->u.stdio.signal;
        return true;
    case CHARDEV_KIND_FILE:
        cfg->kind = CHAR_FILE;
        cfg->path = o->u.file.path;
        cfg->append = o->u.file.append;
        cfg->input_path = o->u.file.input_path;
        return true;
    case CHARDEV_KIND_PTY:
        cfg->kind = CHAR_PTY;
        cfg->path = o->u.pty.path;
        return true;
    case CHARDEV_KIND_SOCKET:
        cfg->kind = CHAR_SOCKET;
        return socket_config(&o->u.socket, cfg, errp);
    case CHARDEV_KIND_PIPE:
        cfg->kind = CHAR_PIPE;
        cfg->path = o->u.pipe.path;
        return true;
    case CHARDEV_KIND_NULL:
        cfg->kind = CHAR_NULL;
        return true;
    case CHARDEV_KIND_RINGBUF:
        cfg->kind = CHAR_RINGBUF;
        cfg->size = o->u.ringbuf.size;
        return true;
    case CHARDEV_KIND_VC:
    case CHARDEV_KIND_QEMU_VDAGENT:
        cfg->kind = CHAR_UPPER;
        cfg->options = o;
        return true;
    }
    return error_fail(errp, "invalid-value", "backend", "-chardev help lists them", "unknown kind");
}

static Chardev *with_config(Machine *m, const Json *json, bool from_text,
                            Chardev *(*use)(Machine *m, const char *id, const CharConfig *cfg, Error **errp),
                            Error **errp)
{
    const char *kind = json_get_string(json_member(json, "backend", NULL));
    if (kind && char_refuse_kind(kind, errp)) {
        return NULL;
    }
    ChardevOptions o;
    if (!type_decode(&chardev_options_type, json, from_text, &o, errp)) {
        return NULL;
    }
    CharConfig cfg;
    Chardev *c = NULL;
    if (text_check_id(o.id, "char0", errp) && make_config(&o, &cfg, errp)) {
        c = use(m, o.id, &cfg, errp);
    }
    type_clear(&chardev_options_type, &o);
    return c;
}

Chardev *chardev_new_json(Machine *m, const Json *json, bool from_text, Error **errp)
{
    return with_config(m, json, from_text, chardev_new, errp);
}

Chardev *chardev_change_json(Machine *m, const Json *json, bool from_text, Error **errp)
{
    return with_config(m, json, from_text, chardev_change, errp);
}

Chardev *chardev_change_option(Machine *m, const char *id, const char *text, Error **errp)
{
    bool from_text, has_id;
    g_autoptr(Json) json = keyval_parse(text, "backend", &from_text, errp);
    if (!json) {
        return NULL;
    }
    json_member(json, "id", &has_id);
    if (has_id) {
        error_fail(errp, "conflict", "id", NULL, "'id' is given twice");
        error_hint(errp, "leave it out: the chardev's id stays");
        return NULL;
    }
    json_put(json, "id", json_new_string(id));
    return chardev_change_json(m, json, from_text, errp);
}

Chardev *chardev_new_option(Machine *m, const char *text, Error **errp)
{
    bool from_text;
    g_autoptr(Json) json = keyval_parse(text, "backend", &from_text, errp);
    return json ? chardev_new_json(m, json, from_text, errp) : NULL;
}
