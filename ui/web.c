/* SPDX-License-Identifier: MIT
 * ui/web.c - -display web: a page with noVNC in it, and the VNC server that it speaks with, at one TCP port.
 *
 * Any page that a browser shows can connect to a port of its own host, and any user of that host can: so a
 * connection needs the token, random or a secret's, which stands behind the # of the address that is printed
 * (browsers send that to nobody), and a browser's must come from a page of ours. noVNC's files are read at
 * the start and nothing is read later. There is no TLS: on other than loopback addresses a warning says so.
 * Threads: main loop. Tests: tests/func/web.py. */
#include "web.h"
#include "rhea/backends/secret.h"
#include "rhea/ui/display.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"

#include <string.h>
#include <sys/random.h>

#define NOVNC "/usr/share/novnc"
enum { WEB_PORT = 6080, WEB_PORTS = 100, TOKEN_BYTES = 16 };
enum { FILES_MAX = 500, FILE_BYTES_MAX = 4 << 20, FOLDERS_DEEP = 8 };

static WebServer *server; /* a process has one -display */

/* ---- files ---- */

static bool read_folder(WebServer *w, const char *folder, const char *url, unsigned deep, Error **errp)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(GDir) d = g_dir_open(folder, 0, &err);
    const char *name;
    if (!d) {
        return error_set(errp, "the web console needs noVNC: %s", err->message);
    }
    while ((name = g_dir_read_name(d))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        g_autofree char *at = g_strdup_printf("%s/%s", url, name);
        char *data;
        gsize size;
        if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
            if (deep == 0 || !read_folder(w, path, at, deep - 1, errp)) {
                return deep ? false : error_set(errp, "'%s' is no folder of noVNC's: it is too deep", path);
            }
        } else if (g_str_has_suffix(name, ".js")) {
            if (!g_file_get_contents(path, &data, &size, &err)) {
                return error_set(errp, "the web console needs noVNC: %s", err->message);
            }
            GBytes *bytes = g_bytes_new_take(data, size);
            if (size > FILE_BYTES_MAX || g_hash_table_size(w->files) >= FILES_MAX) {
                g_bytes_unref(bytes);
                return error_set(errp, "'%s' is not noVNC's: it is too long, or there are too many", path);
            }
            g_hash_table_insert(w->files, g_steal_pointer(&at), bytes);
        }
    }
    return true;
}

static bool read_novnc(WebServer *w, const char *folder, Error **errp)
{
    static const char *const parts[] = { "core", "vendor" };
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
        g_autofree char *path = g_build_filename(folder, parts[i], NULL);
        g_autofree char *url = g_strdup_printf("/novnc/%s", parts[i]);
        if (!read_folder(w, path, url, FOLDERS_DEEP, errp)) {
            error_set_code(errp, "not-found", "novnc");
            error_hint(errp, "install the package novnc, or give novnc=FOLDER with its core/rfb.js");
            return false;
        }
    }
    if (!g_hash_table_contains(w->files, "/novnc/core/rfb.js")) {
        return error_fail(errp, "not-found", "novnc", "install the package novnc, or give novnc=FOLDER",
                          "the web console needs noVNC: '%s' has no core/rfb.js", folder);
    }
    return true;
}

/* ---- token and address ---- */

static bool make_token(WebServer *w, const DisplayWeb *o, Error **errp)
{
    uint8_t random[TOKEN_BYTES];
    if (!o->token_secret) {
        if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
            return error_set(errp, "the host gives no random numbers for the web console's token");
        }
        for (unsigned i = 0; i < sizeof(random); i++) {
            g_snprintf(w->token + 2 * i, 3, "%02x", random[i]);
        }
        return true;
    }
    g_autoptr(GBytes) secret = secret_lookup(w->m, o->token_secret, errp);
    if (!secret) {
        error_set_code(errp, "not-found", "token-secret");
        return false;
    }
    gsize n;
    const char *text = g_bytes_get_data(secret, &n);
    bool good = n >= WEB_TOKEN_MIN && n <= WEB_TOKEN_MAX;
    for (gsize i = 0; good && i < n; i++) {
        good = g_ascii_isalnum(text[i]) || text[i] == '-' || text[i] == '_';
    }
    if (!good) {
        return error_fail(errp, "invalid-value", "token-secret", NULL,
                          "secret '%s' is no token: %d to %d letters, digits, - and _ are", o->token_secret,
                          WEB_TOKEN_MIN, WEB_TOKEN_MAX);
    }
    memcpy(w->token, text, n);
    return true;
}

/* "HOST", "HOST:PORT", ":PORT", "[IPv6]:PORT"; NULL: loopback. *host, *port: the spec's; g_free. */
static bool parse_place(const char *text, SockSpec *spec, char **host, char **port, Error **errp)
{
    text = text ? text : "";
    const char *end = *text == '[' ? strchr(text, ']') : NULL;
    const char *colon = strchr(end ? end : text, ':');
    uint64_t n = WEB_PORT;
    if (g_str_has_prefix(text, "unix:") || (*text == '[' && !end) || (end && end[1] && end[1] != ':') ||
        (colon && (!text_to_u64(colon + 1, &n, NULL) || n > UINT16_MAX))) {
        return error_fail(errp, "invalid-value", "address", "HOST, HOST:PORT and [IPv6]:PORT are possible",
                          "'%s' is no address for browsers", text);
    }
    *host = end     ? g_strndup(text + 1, (gsize)(end - text) - 1)
            : colon ? g_strndup(text, (gsize)(colon - text))
                    : g_strdup(text);
    if (!**host) {
        g_free(*host);
        *host = g_strdup("127.0.0.1");
    }
    *port = g_strdup_printf("%u", (unsigned)n);
    *spec = (SockSpec){ .kind = SOCK_KIND_INET,
                        .host = *host,
                        .port = *port,
                        .to = colon ? 0 : WEB_PORT + WEB_PORTS - 1 };
    return true;
}

char *display_web_url(void)
{
    VncAddress a;
    if (!server || !vnc_listens_at(server->vnc, 0, &a)) {
        return NULL;
    }
    bool any = g_str_equal(a.host, "0.0.0.0") || g_str_equal(a.host, "::"), six = strchr(a.host, ':');
    return any ? g_strdup_printf("http://%s:%s/#%s", g_get_host_name(), a.service, server->token)
               : g_strdup_printf("http://%s%s%s:%s/#%s", six ? "[" : "", a.host, six ? "]" : "", a.service,
                                 server->token);
}

/* ---- life ---- */

/* In case of an error, too: the VNC server is vnc_stop_all()'s, and has none of our connections then. */
static void web_stop(Machine *m)
{
    WebServer *w = g_steal_pointer(&server);
    (void)m;
    if (w) {
        web_end_all(w);
        g_ptr_array_free(w->conns, TRUE);
        g_hash_table_destroy(w->files);
        explicit_bzero(w->token, sizeof(w->token));
        g_free(w);
    }
}

static bool make_server(WebServer *w, const DisplayWeb *o, Error **errp)
{
    g_autofree char *host = NULL, *port = NULL;
    g_autoptr(Json) j = json_new_object();
    SockSpec place;
    VncOptions v;
    json_put(j, "vnc", json_new_string("none"));
    json_put(j, "id", json_new_string("web"));
    json_put(j, "password", json_new_bool(o->password));
    if (o->password_secret) {
        json_put(j, "password-secret", json_new_string(o->password_secret));
    }
    if (!parse_place(o->address, &place, &host, &port, errp) ||
        !type_decode(&vnc_options_type, j, false, &v, errp)) {
        return false;
    }
    VncFront front = { .accepted = web_accept, .opaque = w };
    w->vnc = vnc_start_behind(w->m, &v, &place, &front, errp);
    type_clear(&vnc_options_type, &v);
    return w->vnc != NULL;
}

static bool web_start(Machine *m, const DisplayOptions *options, Error **errp)
{
    const DisplayWeb *o = &options->u.web;
    WebServer *w = server = g_new0(WebServer, 1);
    VncAddress a;
    w->m = m;
    w->conns = g_ptr_array_new();
    w->files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
    if (!read_novnc(w, o->novnc ? o->novnc : NOVNC, errp) || !make_token(w, o, errp) ||
        !make_server(w, o, errp)) {
        web_stop(m);
        return false;
    }
    g_autofree char *url = display_web_url();
    vnc_listens_at(w->vnc, 0, &a);
    log_info("web console: %s", url);
    if (!g_str_has_prefix(a.host, "127.") && !g_str_equal(a.host, "::1")) {
        log_warn("web console: whoever hears the network of %s can see the guest and use the address above: "
                 "there is no TLS. An address of 127.0.0.1 with ssh -L, or a proxy with TLS, is safer",
                 a.host);
    }
    return true;
}

const DisplayKind display_web = {
    .type = DISPLAY_TYPE_WEB,
    .desc = "a page for browsers",
    .start = web_start,
    .stop = web_stop,
};
