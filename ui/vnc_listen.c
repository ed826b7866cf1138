/* SPDX-License-Identifier: MIT
 * ui/vnc_listen.c - where VNC servers listen: addresses of -vnc, of display-update and of `change vnc`.
 *
 * Models: QEMU 7.2's addresses of -vnc: TCP by display number, unix sockets, a second place for WebSockets.
 * Threads: main loop.
 */
#include "vnc_internal.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"

#include <netdb.h>
#include <sys/select.h>
#include <sys/un.h>
#include <unistd.h>

enum { VNC_PORT = 5900, VNC_WEB_PORT = 5700, VNC_BACKLOG = 16 };

typedef struct VncListener {
    VncServer *server;
    SockSpec spec; /* its texts are the listener's; a port that was found stands in it */
    FdWatch watch; /* fd -1: it does not listen */
    char *path;    /* to unlink */
    VncAddress address;
} VncListener;

/* ---- one place ---- */

static void describe(const struct sockaddr *sa, socklen_t len, VncAddress *out)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)sa;
    out->family = sa->sa_family == AF_INET ? "ipv4" : sa->sa_family == AF_INET6 ? "ipv6" : "unix";
    if (sa->sa_family == AF_UNIX) {
        int n = (int)len - (int)offsetof(struct sockaddr_un, sun_path);
        g_snprintf(out->service, sizeof(out->service), "%.*s", MAX(n, 0), un->sun_path);
    } else if (getnameinfo(sa, len, out->host, sizeof(out->host), out->service, sizeof(out->service),
                           NI_NUMERICHOST | NI_NUMERICSERV)) {
        g_strlcpy(out->host, "unknown", sizeof(out->host));
    }
}

static void take(VncServer *s, int fd, VncTls *tls, bool web, const VncAddress *peer)
{
    if (fd >= FD_SETSIZE) { /* the library waits with select(), whose set ends there */
        log_warn_once(&s->told_fd,
                      "VNC server '%s': a client was turned away: descriptor %d is beyond %d. Close other "
                      "connections, or have fewer files open",
                      s->opts.id, fd, FD_SETSIZE - 1);
    } else if (vnc_make_room(s)) {
        vnc_client_add(s, fd, tls, web, peer);
        return;
    }
    close(fd);
    vnc_tls_unref(tls);
}

void vnc_take(VncServer *s, int fd, const VncAddress *peer)
{
    take(s, fd, NULL, true, peer);
}

static void on_connection(void *opaque, unsigned revents)
{
    VncListener *l = opaque;
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    int fd = accept4(l->watch.fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC);
    (void)revents;
    if (fd < 0) {
        return;
    }
    VncTls *tls = NULL;
    VncAddress peer = { .websocket = false };
    describe((struct sockaddr *)&sa, len, &peer);
    sock_tune(fd);
    if (l->server->tls && (fd = vnc_relay_start(l->server, fd, l->address.websocket, &peer, &tls)) < 0) {
        return;
    }
    if (l->server->front.accepted) {
        l->server->front.accepted(l->server->front.opaque, fd, &peer);
    } else {
        take(l->server, fd, tls, l->address.websocket, &peer);
    }
}

static void close_listener(VncListener *l)
{
    if (l->watch.loop) {
        fd_watch_remove(&l->watch);
    }
    if (l->watch.fd >= 0 && l->spec.kind != SOCK_KIND_FD) { /* somebody else's stays open: it comes once */
        close(l->watch.fd);
        l->watch.fd = -1;
    }
    if (l->path) {
        unlink(l->path);
        g_clear_pointer(&l->path, g_free);
    }
}

static bool open_listener(VncListener *l, Error **errp)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa), size = sizeof(int);
    int listens = 1;
    if (l->watch.fd < 0 && (l->watch.fd = sock_listen(&l->spec, VNC_BACKLOG, &l->path, errp)) < 0) {
        return false;
    }
    if (l->spec.kind == SOCK_KIND_FD &&
        (getsockopt(l->watch.fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens)) {
        return error_fail(errp, "invalid-value", "fd", "call listen() before it is handed over",
                          "descriptor %s is no socket that listens", l->spec.fd);
    }
    if (getsockname(l->watch.fd, (struct sockaddr *)&sa, &len) == 0) {
        describe((struct sockaddr *)&sa, len, &l->address);
    }
    if (l->spec.kind == SOCK_KIND_INET) {
        g_free((char *)l->spec.port);
        l->spec.port = g_strdup(l->address.service);
        l->spec.to = 0;
    }
    return fd_watch_add(l->server->m->loop, &l->watch, errp);
}

static void free_listener(void *opaque)
{
    VncListener *l = opaque;
    close_listener(l);
    if (l->watch.fd >= 0) {
        close(l->watch.fd);
    }
    g_free((char *)l->spec.host);
    g_free((char *)l->spec.port);
    g_free((char *)l->spec.path);
    g_free((char *)l->spec.fd);
    g_free(l);
}

static VncListener *new_listener(VncServer *s, const SockSpec *spec, bool web, Error **errp)
{
    VncListener *l = g_new0(VncListener, 1);
    l->server = s;
    l->spec = *spec;
    l->spec.host = g_strdup(spec->host);
    l->spec.port = g_strdup(spec->port);
    l->spec.path = g_strdup(spec->path);
    l->spec.fd = g_strdup(spec->fd);
    l->watch = (FdWatch){ .fd = -1, .events = LOOP_IN, .ready = on_connection, .opaque = l };
    l->address = (VncAddress){ .family = "unknown", .websocket = web };
    if (!open_listener(l, errp)) {
        free_listener(l);
        return NULL;
    }
    return l;
}

/* ---- all of a server ---- */

bool vnc_listens_at(const VncServer *s, unsigned n, VncAddress *out)
{
    bool there = s->listeners && n < s->listeners->len;
    if (there) {
        *out = ((const VncListener *)s->listeners->pdata[n])->address;
    }
    return there;
}

VncAddress vnc_address(const VncServer *s)
{
    VncAddress a = { .family = "unknown" };
    vnc_listens_at(s, 0, &a);
    return a;
}

void vnc_listen_stop(VncServer *s)
{
    g_clear_pointer(&s->listeners, g_ptr_array_unref);
}

static bool add_listener(VncServer *s, const SockSpec *spec, bool web, Error **errp)
{
    VncListener *l = new_listener(s, spec, web, errp);
    if (l) {
        g_ptr_array_add(s->listeners, l);
    }
    return l != NULL;
}

/* An old place may be in the way of a new one, so that it closes first; it opens again when that fails. */
bool vnc_set_addresses(VncServer *s, const SockSpec *specs, unsigned n, Error **errp)
{
    g_autoptr(GPtrArray) old = g_ptr_array_new_with_free_func(free_listener);
    if (n > VNC_LISTENERS - 1) {
        return error_fail(errp, "too-many", "addresses", NULL, "%u addresses are too many, %d the most", n,
                          VNC_LISTENERS - 1);
    }
    while (s->listeners->len && !((VncListener *)s->listeners->pdata[0])->address.websocket) {
        VncListener *l = g_ptr_array_steal_index(s->listeners, 0);
        close_listener(l);
        g_ptr_array_add(old, l);
    }
    for (unsigned i = 0; i < n; i++) {
        VncListener *l = new_listener(s, &specs[i], false, errp);
        if (l) {
            g_ptr_array_insert(s->listeners, (int)i, l);
            continue;
        }
        while (i > 0) {
            g_ptr_array_remove_index(s->listeners, --i);
        }
        for (guint k = 0; old->len; k++) {
            VncListener *back = g_ptr_array_steal_index(old, 0);
            if (open_listener(back, NULL)) {
                g_ptr_array_insert(s->listeners, (int)k, back);
            } else { /* somebody took it meanwhile */
                k--;
                free_listener(back);
            }
        }
        return false;
    }
    return true;
}

/* ---- options ---- */

static bool wrong_address(const char *text, Error **errp)
{
    error_fail(errp, "invalid-value", "vnc", NULL, "'%s' is no VNC address", text);
    error_hint(errp, "HOST:N or :N is TCP port 5900 + N, unix:PATH a socket's name");
    return false;
}

/* "HOST:N": the host without its brackets, and where N begins. */
static bool split_address(const char *text, char **host, const char **rest, Error **errp)
{
    const char *colon = strrchr(text, ':');
    if (!colon) {
        return wrong_address(text, errp);
    }
    bool brackets = *text == '[' && colon > text && colon[-1] == ']';
    *host =
        brackets ? g_strndup(text + 1, (size_t)(colon - text - 2)) : g_strndup(text, (size_t)(colon - text));
    *rest = colon + 1;
    return true;
}

static bool listen_web(VncServer *s, const char *host, uint64_t display, Error **errp)
{
    g_autofree char *own_host = NULL, *port = NULL;
    const char *text = s->opts.websocket, *number = text;
    uint64_t n;
    if (!text || g_str_equal(text, "off")) {
        return true;
    }
    if (strchr(text, ':') && !split_address(text, &own_host, &number, errp)) {
        return false;
    }
    if (g_str_equal(text, "on")) {
        n = VNC_WEB_PORT + display;
    } else if (!text_to_u64(number, &n, NULL) || n > UINT16_MAX) {
        error_fail(errp, "invalid-value", "websocket", NULL, "'%s' is no port", text);
        return false;
    }
    port = g_strdup_printf("%u", (unsigned)n);
    SockSpec spec = { .kind = SOCK_KIND_INET, .host = own_host ? own_host : host, .port = port };
    return add_listener(s, &spec, true, errp);
}

/* The place that a text names, with the server's other options. *host, *port: to be freed; the spec's.
 * *display: the number, or 0. */
static bool parse_address(const VncServer *s, const char *text, SockSpec *spec, char **host, char **port,
                          uint64_t *display, Error **errp)
{
    const VncOptions *o = &s->opts;
    const char *number;
    *display = 0;
    if (g_str_has_prefix(text, "unix:")) {
        *spec = (SockSpec){ .kind = SOCK_KIND_UNIX, .path = text + 5 };
        return true;
    }
    if (!split_address(text, host, &number, errp)) {
        return false;
    }
    if (!text_to_u64(number, display, NULL) || *display > UINT16_MAX - VNC_PORT) {
        return wrong_address(text, errp);
    }
    *port = g_strdup_printf("%u", (unsigned)(VNC_PORT + *display));
    *spec = (SockSpec){ .kind = SOCK_KIND_INET,
                        .host = *host,
                        .port = *port,
                        .to = o->has_to ? (unsigned)(VNC_PORT + o->to) : 0,
                        .no_ipv4 = o->has_ipv4 ? !o->ipv4 : o->has_ipv6 && o->ipv6,
                        .no_ipv6 = o->has_ipv6 ? !o->ipv6 : o->has_ipv4 && o->ipv4 };
    return true;
}

bool vnc_move(VncServer *s, const char *text, Error **errp)
{
    g_autofree char *host = NULL, *port = NULL;
    SockSpec spec;
    uint64_t display;
    if (strchr(text, ',')) {
        error_fail(errp, "not-supported", "vnc", NULL, "options of a VNC server that runs do not change");
        error_hint(errp, "give an address only, or start the program with other options of -vnc");
        return false;
    }
    return g_str_equal(text, "none") ? vnc_set_addresses(s, NULL, 0, errp)
                                     : parse_address(s, text, &spec, &host, &port, &display, errp) &&
                                           vnc_set_addresses(s, &spec, 1, errp);
}

bool vnc_listen_start(VncServer *s, const SockSpec *place, Error **errp)
{
    g_autofree char *host = NULL, *port = NULL;
    SockSpec spec;
    uint64_t display, got;
    VncAddress at;
    s->listeners = g_ptr_array_new_with_free_func(free_listener);
    if (place) {
        return add_listener(s, place, true, errp);
    }
    if (!parse_address(s, s->opts.vnc, &spec, &host, &port, &display, errp)) {
        return false;
    }
    if (spec.kind == SOCK_KIND_UNIX && s->opts.websocket && !strchr(s->opts.websocket, ':')) {
        error_fail(errp, "conflict", "websocket", NULL, "websocket=%s: there is no display number",
                   s->opts.websocket);
        error_hint(errp, "give websocket=HOST:PORT");
        return false;
    }
    if (!add_listener(s, &spec, false, errp)) {
        return false;
    }
    if (host && vnc_listens_at(s, 0, &at) && text_to_u64(at.service, &got, NULL)) {
        display = got - VNC_PORT;
    }
    return listen_web(s, host ? host : "", display, errp);
}
