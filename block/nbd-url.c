/* SPDX-License-Identifier: MIT
 * block/nbd-url.c - NBD: addresses and export names in URLs and in -blockdev's options.
 *
 * Models: the NBD project's doc/uri.md (nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH), and QEMU's
 *         older nbd:HOST:PORT[:exportname=NAME], nbd:unix:PATH[:exportname=NAME].
 * Does not model: nbds, nbd+vsock.
 * Threads: any; no state.
 */
#include "nbd.h"

#include <string.h>

#define NBD_PORT "10809"

bool nbd_is_url(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz+");
    return name[n] == ':' && (g_str_has_prefix(name, "nbd:") || g_str_has_prefix(name, "nbd+") ||
                              g_str_has_prefix(name, "nbds:") || g_str_has_prefix(name, "nbds+"));
}

SockSpec nbd_address(const BlockSocketAddress *a)
{
    switch (a->type) {
    case BLOCK_SOCKET_TYPE_UNIX:
        return (SockSpec){ .kind = SOCK_KIND_UNIX,
                           .path = a->u.unix_.path,
                           .abstract = a->u.unix_.abstract,
                           .loose = !a->u.unix_.tight };
    case BLOCK_SOCKET_TYPE_FD: return (SockSpec){ .kind = SOCK_KIND_FD, .fd = a->u.fd.str };
    default: {
        const BlockSocketInet *i = &a->u.inet;
        bool only4 = i->has_ipv4 && i->ipv4 && !i->has_ipv6, only6 = i->has_ipv6 && i->ipv6 && !i->has_ipv4;
        return (SockSpec){ .kind = SOCK_KIND_INET,
                           .host = i->host,
                           .port = i->port,
                           .keep_alive = i->keep_alive,
                           .no_ipv4 = only6 || (i->has_ipv4 && !i->ipv4),
                           .no_ipv6 = only4 || (i->has_ipv6 && !i->ipv6) };
    }
    }
}

char *nbd_url_text(const SockSpec *s, const char *export_name)
{
    g_autofree char *name = g_uri_escape_string(export_name, "/", TRUE);
    if (s->kind == SOCK_KIND_UNIX) {
        g_autofree char *path = g_uri_escape_string(s->path, "/@", TRUE);
        return g_strdup_printf("nbd+unix:///%s?socket=%s", name, path);
    }
    if (s->kind == SOCK_KIND_FD) {
        return g_strdup_printf("nbd:fd:%s/%s", s->fd, name);
    }
    bool colon = strchr(s->host, ':') != NULL, usual = g_str_equal(s->port, NBD_PORT);
    return g_strdup_printf("nbd://%s%s%s%s%s%s%s", colon ? "[" : "", s->host, colon ? "]" : "",
                           usual ? "" : ":", usual ? "" : s->port, *name ? "/" : "", name);
}

static Json *node_options(Json *server, const char *export_name)
{
    Json *o = json_new_object();
    json_put(o, "driver", json_new_string("nbd"));
    json_put(o, "server", server);
    if (export_name && *export_name) {
        json_put(o, "export", json_new_string(export_name));
    }
    return o;
}

static Json *unix_server(const char *path)
{
    return json_put(json_put(json_new_object(), "type", json_new_string("unix")), "path",
                    json_new_string(path));
}

static Json *inet_server(const char *host, const char *port)
{
    Json *o = json_put(json_new_object(), "type", json_new_string("inet"));
    return json_put(json_put(o, "host", json_new_string(host)), "port", json_new_string(port));
}

static Json *fail_url(const char *url, const char *why, Error **errp)
{
    error_set(errp, "'%s': %s", url, why);
    error_hint(errp, "write nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH");
    return NULL;
}

static Json *old_form(const char *url, Error **errp)
{
    g_autofree char *text = g_strdup(url + strlen("nbd:"));
    char *name = strstr(text, ":exportname=");
    if (name) {
        *name = '\0';
        name += strlen(":exportname=");
    }
    if (g_str_has_prefix(text, "unix:")) {
        return text[5] ? node_options(unix_server(text + 5), name)
                       : fail_url(url, "the name of the socket is missing", errp);
    }
    char *colon = strrchr(text, ':');
    if (!colon || !colon[1]) {
        return fail_url(url, "the port is missing", errp);
    }
    *colon = '\0';
    char *host = text;
    size_t len = strlen(host);
    if (host[0] == '[' && len > 2 && host[len - 1] == ']') {
        host[len - 1] = '\0';
        host++;
    }
    return node_options(inet_server(host, colon + 1), name);
}

Json *nbd_url_options(const char *url, Error **errp)
{
    if (g_str_has_prefix(url, "nbds")) {
        error_set(errp, "'%s': there is no TLS", url);
        error_hint(errp, "use a unix socket, or a tunnel such as ssh -L");
        return NULL;
    }
    if (g_str_has_prefix(url, "nbd:") && !g_str_has_prefix(url, "nbd://")) {
        return old_form(url, errp);
    }
    g_autoptr(GError) gerr = NULL;
    g_autoptr(GUri) u = g_uri_parse(url, G_URI_FLAGS_NONE, &gerr);
    if (!u) {
        return fail_url(url, gerr->message, errp);
    }
    const char *path = g_uri_get_path(u), *name = *path == '/' ? path + 1 : path, *host = g_uri_get_host(u);
    g_autoptr(GHashTable) query =
        g_uri_get_query(u) ? g_uri_parse_params(g_uri_get_query(u), -1, "&", G_URI_PARAMS_NONE, NULL) : NULL;
    const char *socket_name = query ? g_hash_table_lookup(query, "socket") : NULL;
    unsigned known = socket_name ? 1 : 0;
    if (g_uri_get_query(u) && (!query || g_hash_table_size(query) != known)) {
        return fail_url(url, "nothing but socket=PATH may follow '?'", errp);
    }
    if (g_uri_get_userinfo(u) || g_uri_get_fragment(u)) {
        return fail_url(url, "a user's name or '#' makes no sense here", errp);
    }
    if (g_str_equal(g_uri_get_scheme(u), "nbd+unix")) {
        if (host && *host) {
            return fail_url(url, "a unix socket has no host; three slashes follow 'nbd+unix:'", errp);
        }
        return socket_name && *socket_name ? node_options(unix_server(socket_name), name)
                                           : fail_url(url, "'?socket=PATH' is missing", errp);
    }
    if (!g_str_equal(g_uri_get_scheme(u), "nbd") && !g_str_equal(g_uri_get_scheme(u), "nbd+tcp")) {
        return fail_url(url, "the scheme is not nbd, nbd+tcp or nbd+unix", errp);
    }
    if (socket_name) {
        return fail_url(url, "'socket=' belongs to nbd+unix", errp);
    }
    g_autofree char *port =
        g_uri_get_port(u) > 0 ? g_strdup_printf("%d", g_uri_get_port(u)) : g_strdup(NBD_PORT);
    return node_options(inet_server(host && *host ? host : "localhost", port), name);
}
