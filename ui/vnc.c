/* SPDX-License-Identifier: MIT
 * ui/vnc.c - VNC servers: their life, passwords, what monitors ask.
 *
 * Models: QEMU 7.2's -vnc with its addresses (vnc_listen.c), passwords, sharing and events (vnc_clients.c).
 *         While there is a client, what changes on the console is copied into one picture that all clients'
 * threads send from (vnc_picture.c); a client that does not read keeps a region of at most VNC_RECTS
 * rectangles, and nothing else. What clients do goes to the guest (vnc_input.c). vnc_client.c speaks RFB.
 * TLS comes before that (vnc_relays.c).
 * Does not model: SASL, sound, connections to listening viewers. Threads: main loop.
 */
#include "vnc_internal.h"
#include "rhea/backends/secret.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"

#include <string.h>

enum { VNC_PERIOD_MS = 30 };

/* The process's: a machine's are those of that machine. */
static GPtrArray *servers;

static void free_server(void *opaque)
{
    VncServer *s = opaque;
    vnc_listen_stop(s);
    for (guint i = 0; i < s->clients->len; i++) {
        vnc_client_end(s->clients->pdata[i]);
    }
    while (s->clients->len) {
        vnc_client_drop(s->clients->pdata[0]);
    }
    vnc_relays_end(s);
    tls_creds_unref(s->tls);
    console_watch_list(s->m, NULL, s);
    input_unwatch(&s->input);
    clipboard_leave(&s->clipboard);
    g_ptr_array_free(s->clients, TRUE);
    key_layout_free(s->layout);
    g_clear_pointer(&s->password, g_bytes_unref);
    type_clear(&vnc_options_type, &s->opts);
    g_free(s);
}

static VncServer *find_server(Machine *m, const char *id)
{
    for (guint i = 0; servers && i < servers->len; i++) {
        VncServer *s = servers->pdata[i];
        if (s->m == m && (!id || g_str_equal(s->opts.id, id))) {
            return s;
        }
    }
    return NULL;
}

static VncServer *start(Machine *m, VncOptions *options, const char *layout, const SockSpec *place,
                        const VncFront *front, Error **errp)
{
    servers = servers ? servers : g_ptr_array_new();
    if (find_server(m, options->id)) {
        error_fail(errp, "already-exists", "id", NULL, "there is a VNC server '%s' already", options->id);
        error_hint(errp, "give the other one an id=");
        return NULL;
    }
    if (!vnc_library_load(errp)) {
        return NULL;
    }
    KeyLayout *keys = key_layout_new(layout, errp);
    if (!keys) {
        return NULL;
    }
    VncServer *s = g_new0(VncServer, 1);
    s->opts = *options;
    memset(options, 0, sizeof(*options));
    s->m = m;
    s->layout = keys;
    s->front = front ? *front : (VncFront){ 0 };
    s->expires = INT64_MAX;
    s->clients = g_ptr_array_new();
    s->relays = g_ptr_array_new();
    s->console = (ConsoleListener){ .ops = &vnc_listener_ops, .period_ms = VNC_PERIOD_MS };
    s->input.changed = vnc_input_changed;
    console_watch_list(m, vnc_consoles_changed, s);
    input_watch(m, &s->input);
    s->clipboard.changed = vnc_clipboard_changed;
    clipboard_join(m, &s->clipboard);
    if (s->opts.password_secret && !(s->password = secret_lookup(m, s->opts.password_secret, errp))) {
        error_set_code(errp, "not-found", "password-secret");
        free_server(s);
        return NULL;
    }
    if (s->opts.tls_creds && !(s->tls = tls_creds_lookup(m, s->opts.tls_creds, errp))) {
        free_server(s);
        return NULL;
    }
    if ((s->opts.display && !console_find(m, s->opts.display, (unsigned)s->opts.head, errp)) ||
        !vnc_listen_start(s, place, errp)) {
        free_server(s);
        return NULL;
    }
    g_ptr_array_add(servers, s);
    return s;
}

VncServer *vnc_start(Machine *m, VncOptions *options, const char *layout, Error **errp)
{
    return start(m, options, layout, NULL, NULL, errp);
}

VncServer *vnc_start_behind(Machine *m, VncOptions *options, const SockSpec *place, const VncFront *front,
                            Error **errp)
{
    return start(m, options, NULL, place, front, errp);
}

void vnc_stop_all(Machine *m)
{
    for (guint i = servers ? servers->len : 0; i-- > 0;) {
        VncServer *s = servers->pdata[i];
        if (s->m == m) {
            g_ptr_array_remove_index(servers, i);
            free_server(s);
        }
    }
    if (servers && !servers->len) {
        g_ptr_array_free(g_steal_pointer(&servers), TRUE);
    }
}

VncServer *vnc_find(Machine *m, const char *id, Error **errp)
{
    VncServer *s = find_server(m, id);
    if (!s) {
        error_fail(errp, "not-found", id ? "display" : NULL, NULL,
                   id ? "there is no VNC server '%s'" : "there is no VNC server%s", id ? id : "");
        error_hint(errp, "start the program with -vnc");
    }
    return s;
}

/* ---- for monitors ---- */

bool vnc_set_password(VncServer *s, const char *password, VncConnected connected, Error **errp)
{
    if (!s->opts.password) {
        error_fail(errp, "not-supported", NULL, NULL, "VNC server '%s' needs no password that could be set",
                   s->opts.id);
        error_hint(errp, "start it with password=on");
        return false;
    }
    if (connected == VNC_CONNECTED_FAIL && s->clients->len) {
        error_fail(errp, "in-use", "connected", NULL, "VNC server '%s' has %u clients", s->opts.id,
                   s->clients->len);
        error_hint(errp, "use connected=keep or connected=disconnect");
        return false;
    }
    for (guint i = 0; connected == VNC_CONNECTED_DISCONNECT && i < s->clients->len; i++) {
        vnc_client_end(s->clients->pdata[i]);
    }
    g_clear_pointer(&s->password, g_bytes_unref);
    s->password = g_bytes_new(password, strlen(password));
    return true;
}

bool vnc_expire_password(VncServer *s, const char *when, Error **errp)
{
    int64_t now = g_get_real_time() / G_USEC_PER_SEC;
    uint64_t n;
    if (g_str_equal(when, "never")) {
        s->expires = INT64_MAX;
    } else if (g_str_equal(when, "now")) {
        s->expires = 0;
    } else if (text_to_u64(when + (*when == '+'), &n, NULL) && n <= INT64_MAX / 2) {
        s->expires = (*when == '+' ? now : 0) + (int64_t)n;
    } else {
        error_fail(errp, "invalid-value", "time", NULL, "'%s' is no time", when);
        error_hint(errp, "now, never, +SECONDS and seconds since 1970 are possible");
        return false;
    }
    return true;
}

void vnc_foreach(Machine *m, void (*fn)(VncServer *s, void *opaque), void *opaque)
{
    for (guint i = 0; servers && i < servers->len; i++) {
        VncServer *s = servers->pdata[i];
        if (s->m == m) {
            fn(s, opaque);
        }
    }
}

const char *vnc_id(const VncServer *s)
{
    return s->opts.id;
}

const char *vnc_auth(const VncServer *s, bool websocket)
{
    bool password = s->opts.password || s->opts.password_secret;
    if (!s->tls || websocket) {
        return password ? "vnc" : "none";
    }
    return tls_creds_are_anonymous(s->tls) ? password ? "vencrypt+tls+vnc" : "vencrypt+tls+none"
           : password                      ? "vencrypt+x509+vnc"
                                           : "vencrypt+x509+none";
}

bool vnc_reload_certificates(VncServer *s, Error **errp)
{
    if (!s->tls) {
        return error_fail(errp, "not-supported", "tls-certs", "start it with tls-creds=, or leave it out",
                          "VNC server '%s' has no TLS, and so no certificates to read again", s->opts.id);
    }
    return tls_creds_reload(s->tls, errp);
}

const char *vnc_display(const VncServer *s)
{
    return s->opts.display;
}

bool vnc_client_at(const VncServer *s, unsigned n, VncAddress *out, char **name)
{
    for (guint i = 0; i < s->clients->len; i++) {
        const VncClient *c = s->clients->pdata[i];
        if (c->told_ready && n-- == 0) {
            *out = c->peer;
            *name = c->tls ? vnc_tls_name(c->tls) : NULL;
            return true;
        }
    }
    return false;
}
