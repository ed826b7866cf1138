/* SPDX-License-Identifier: MIT
 * tools/system/qmp_vnc.c - VNC servers for monitors and on the command line: -vnc, -k, query-vnc, passwords,
 * display-update, display-reload.
 * Threads: main loop.
 */
#include "cli.h"
#include "rhea/ui/vnc.h"
#include "rhea/util/errorcode.h"
#include "schema/qmp-vnc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- command line ---- */

bool opt_vnc(Cli *cli, const Option *o, const char *arg, Error **errp)
{
    VncOptions v;
    if (!cli_decode(cli, o, &vnc_options_type, "vnc", arg, &v, errp)) {
        return false;
    }
    type_clear(&vnc_options_type, &v);
    cli->vncs = cli->vncs ? cli->vncs : g_ptr_array_new_with_free_func(item_free);
    g_ptr_array_add(cli->vncs, item_new(o, arg, NULL, true));
    return true;
}

/* The process has one machine, and that one keyboard layout. */
static char *layout;

const char *cli_layout(void)
{
    return layout;
}

bool opt_layout(Cli *cli, const Option *o, const char *arg, Error **errp)
{
    if (cli_is_help(arg)) {
        for (const char *const *n = key_layout_names(); *n; n++) {
            puts(*n);
        }
        cli->done = true;
        return true;
    }
    KeyLayout *l = key_layout_new(arg, errp);
    if (!l) {
        return false;
    }
    key_layout_free(l);
    g_free(layout);
    layout = g_strdup(arg);
    key_layout_set_usual(arg);
    cli_record(cli, "k", json_new_string(arg));
    return true;
}

static bool start_server(Cli *cli, const Item *item, Error **errp)
{
    bool from_text;
    VncOptions v;
    g_autoptr(Json) j = keyval_parse(item->text, "vnc", &from_text, errp);
    if (!j || !type_decode(&vnc_options_type, j, from_text, &v, errp)) {
        return false;
    }
    bool ok = g_str_equal(v.vnc, "none") || vnc_start(cli->m, &v, layout, errp);
    type_clear(&vnc_options_type, &v);
    return ok;
}

bool cli_make_vncs(Cli *cli, Error **errp)
{
    for (guint i = 0; cli->vncs && i < cli->vncs->len; i++) {
        Error *err = NULL;
        if (!start_server(cli, cli->vncs->pdata[i], &err)) {
            return cli_fail_at(errp, err, cli->vncs->pdata[i]);
        }
    }
    return true;
}

/* ---- questions ---- */

static NetworkAddressFamily family_of(const VncAddress *a)
{
    for (unsigned i = 0; i < NETWORK_ADDRESS_FAMILY_UNKNOWN; i++) {
        if (g_str_equal(network_address_family_names[i], a->family)) {
            return (NetworkAddressFamily)i;
        }
    }
    return NETWORK_ADDRESS_FAMILY_UNKNOWN;
}

static VncClientInfo *list_clients(const VncServer *s, size_t *n)
{
    g_autoptr(GArray) all = g_array_new(FALSE, TRUE, sizeof(VncClientInfo));
    VncAddress a;
    char *name;
    for (unsigned i = 0; vnc_client_at(s, i, &a, &name); i++) {
        VncClientInfo c = { .host = g_strdup(a.host),
                            .x509_dname = name,
                            .service = g_strdup(a.service),
                            .family = family_of(&a),
                            .websocket = a.websocket };
        g_array_append_val(all, c);
    }
    *n = all->len;
    return g_memdup2(all->data, all->len * sizeof(VncClientInfo));
}

bool qmp_query_vnc(QmpCall *call, VncInfo *ret, Error **errp)
{
    VncServer *s = vnc_find(call->machine, NULL, NULL);
    VncAddress a;
    ret->enabled = s && vnc_listens_at(s, 0, &a) && !a.websocket;
    if (ret->enabled) {
        ret->host = g_strdup(a.host);
        ret->service = g_strdup(a.service);
        ret->has_family = ret->has_clients = true;
        ret->family = family_of(&a);
        ret->auth = g_strdup(vnc_auth(s, false));
        ret->clients.items = list_clients(s, &ret->clients.n);
    }
    return true;
}

/* "vencrypt+x509+vnc": *sub is x509-vnc. */
static VncPrimaryAuth auth_of(const VncServer *s, bool websocket, bool *has_sub, VncVencryptSubAuth *sub)
{
    const char *text = vnc_auth(s, websocket);
    *has_sub = g_str_has_prefix(text, "vencrypt+");
    if (!*has_sub) {
        return g_str_equal(text, "vnc") ? VNC_PRIMARY_AUTH_VNC : VNC_PRIMARY_AUTH_NONE;
    }
    g_autofree char *name = g_strdelimit(g_strdup(text + strlen("vencrypt+")), "+", '-');
    for (unsigned i = 0; vnc_vencrypt_sub_auth_names[i]; i++) {
        *sub = g_str_equal(vnc_vencrypt_sub_auth_names[i], name) ? (VncVencryptSubAuth)i : *sub;
    }
    return VNC_PRIMARY_AUTH_VENCRYPT;
}

static void describe(VncServer *s, void *opaque)
{
    VncInfo2 v = { .id = g_strdup(vnc_id(s)), .display = g_strdup(vnc_display(s)) };
    g_autoptr(GArray) places = g_array_new(FALSE, TRUE, sizeof(VncServerInfo2));
    VncAddress a;
    v.auth = auth_of(s, false, &v.has_vencrypt, &v.vencrypt);
    for (unsigned i = 0; vnc_listens_at(s, i, &a); i++) {
        VncServerInfo2 p = { .host = g_strdup(a.host),
                             .service = g_strdup(a.service),
                             .family = family_of(&a),
                             .websocket = a.websocket };
        p.auth = auth_of(s, a.websocket, &p.has_vencrypt, &p.vencrypt);
        g_array_append_val(places, p);
    }
    v.server.n = places->len;
    v.server.items = g_memdup2(places->data, places->len * sizeof(VncServerInfo2));
    v.clients.items = list_clients(s, &v.clients.n);
    g_array_append_val((GArray *)opaque, v);
}

bool qmp_query_vnc_servers(QmpCall *call, QueryVncServersResult *ret, Error **errp)
{
    g_autoptr(GArray) all = g_array_new(FALSE, TRUE, sizeof(VncInfo2));
    vnc_foreach(call->machine, describe, all);
    ret->n = all->len;
    ret->items = g_memdup2(all->data, all->len * sizeof(VncInfo2));
    return true;
}

/* ---- changes ---- */

enum { ADDRESSES_MAX = 64 }; /* the server itself takes fewer */

bool qmp_display_update(QmpCall *call, const DisplayUpdateOptions *args, Error **errp)
{
    const DisplayUpdateOptionsVNC *o = &args->u.vnc;
    VncServer *s = vnc_find(call->machine, NULL, errp);
    SockSpec specs[ADDRESSES_MAX];
    char numbers[ADDRESSES_MAX][12]; /* of descriptors, which we close afterwards */
    size_t n = 0;
    bool ok = s != NULL;
    if (ok && o->has_addresses && o->addresses.n > ADDRESSES_MAX) {
        return error_fail(errp, "too-many", "addresses", NULL, "%zu addresses are too many", o->addresses.n);
    }
    for (; ok && o->has_addresses && n < o->addresses.n; n++) {
        const SocketAddress *a = &o->addresses.items[n];
        if (a->type == SOCKET_ADDRESS_TYPE_FD) {
            int fd = qmp_socket_fd(call->machine, a->u.fd.str, errp);
            g_snprintf(numbers[n], sizeof(numbers[n]), "%d", fd);
            specs[n] = (SockSpec){ .kind = SOCK_KIND_FD, .fd = numbers[n] };
            if (fd < 0) {
                ok = false;
                break;
            }
        } else {
            specs[n] = a->type == SOCKET_ADDRESS_TYPE_UNIX ? qmp_unix_spec(&a->u.unix_)
                                                           : qmp_inet_spec(&a->u.inet);
        }
    }
    ok = ok && (!o->has_addresses || vnc_set_addresses(s, specs, (unsigned)n, errp));
    for (size_t i = 0; i < n; i++) {
        if (specs[i].kind == SOCK_KIND_FD) {
            close(atoi(numbers[i]));
        }
    }
    return ok;
}

bool qmp_display_reload(QmpCall *call, const DisplayReloadOptions *args, Error **errp)
{
    const DisplayReloadOptionsVNC *o = &args->u.vnc;
    VncServer *s = vnc_find(call->machine, NULL, errp);
    return s && (!o->has_tls_certs || !o->tls_certs || vnc_reload_certificates(s, errp));
}

/* True: it was about VNC. */
bool hmp_change_vnc(Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    if (argc < 2 || !g_str_equal(argv[1], "vnc")) {
        return false;
    }
    bool password = argc > 2 && (g_str_equal(argv[2], "password") || g_str_equal(argv[2], "passwd"));
    if (argc != (password ? 4 : 3)) {
        g_string_append(out, "change: vnc ADDRESS or vnc password PASSWORD is expected\n");
        return true;
    }
    VncServer *s = vnc_find(m, NULL, &err);
    if (!s || !(password ? vnc_set_password(s, argv[3], VNC_CONNECTED_KEEP, &err)
                         : vnc_move(s, argv[2], &err))) {
        hmp_say_error(out, err);
    }
    return true;
}

/* ---- passwords ---- */

bool qmp_change_vnc_password(QmpCall *call, const ChangeVncPasswordArgs *args, Error **errp)
{
    VncServer *s = vnc_find(call->machine, NULL, errp);
    return s && vnc_set_password(s, args->password, VNC_CONNECTED_KEEP, errp);
}

bool qmp_set_password(QmpCall *call, const SetPasswordOptions *args, Error **errp)
{
    static const VncConnected actions[] = { [SET_PASSWORD_ACTION_KEEP] = VNC_CONNECTED_KEEP,
                                            [SET_PASSWORD_ACTION_FAIL] = VNC_CONNECTED_FAIL,
                                            [SET_PASSWORD_ACTION_DISCONNECT] = VNC_CONNECTED_DISCONNECT };
    VncServer *s = vnc_find(call->machine, args->u.vnc.display, errp);
    return s && vnc_set_password(s, args->password,
                                 args->has_connected ? actions[args->connected] : VNC_CONNECTED_KEEP, errp);
}

bool qmp_expire_password(QmpCall *call, const ExpirePasswordOptions *args, Error **errp)
{
    VncServer *s = vnc_find(call->machine, args->u.vnc.display, errp);
    return s && vnc_expire_password(s, args->time, errp);
}

void hmp_set_password(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    static const char *const actions[] = { [VNC_CONNECTED_KEEP] = "keep",
                                           [VNC_CONNECTED_FAIL] = "fail",
                                           [VNC_CONNECTED_DISCONNECT] = "disconnect" };
    Error *err = NULL;
    const char *display;
    unsigned how = 0;
    bool good = hmp_take_value(&argc, argv, "-d", &display);
    while (argc == 4 && how < G_N_ELEMENTS(actions) && !g_str_equal(actions[how], argv[3])) {
        how++;
    }
    if (!good || argc < 3 || argc > 4 || !g_str_equal(argv[1], "vnc") || how == G_N_ELEMENTS(actions)) {
        g_string_append(out,
                        "set_password: vnc PASSWORD [-d DISPLAY] [keep|fail|disconnect] is expected\n");
        return;
    }
    VncServer *s = vnc_find(m, display, &err);
    if (!s || !vnc_set_password(s, argv[2], (VncConnected)how, &err)) {
        hmp_say_error(out, err);
    }
}

void hmp_expire_password(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    const char *display;
    bool good = hmp_take_value(&argc, argv, "-d", &display);
    if (!good || argc != 3 || !g_str_equal(argv[1], "vnc")) {
        g_string_append(out, "expire_password: vnc TIME [-d DISPLAY] is expected (now, never, +SECONDS)\n");
        return;
    }
    VncServer *s = vnc_find(m, display, &err);
    if (!s || !vnc_expire_password(s, argv[2], &err)) {
        hmp_say_error(out, err);
    }
}

static void show(VncServer *s, void *opaque)
{
    GString *out = opaque;
    VncAddress a;
    char *name;
    g_string_append_printf(out, "%s:\n", vnc_id(s));
    for (unsigned i = 0; vnc_listens_at(s, i, &a); i++) {
        g_string_append_printf(out, "  Server: %s:%s (%s%s)\n    Auth: %s\n", a.host, a.service, a.family,
                               a.websocket ? ", Websocket" : "", vnc_auth(s, a.websocket));
    }
    for (unsigned i = 0; vnc_client_at(s, i, &a, &name); i++) {
        g_string_append_printf(out, "  Client: %s:%s (%s%s)\n", a.host, a.service, a.family,
                               a.websocket ? ", Websocket" : "");
        if (name) {
            g_string_append_printf(out, "    x509_dname: %s\n", name);
        }
        g_free(name);
    }
}

void hmp_info_vnc(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    gsize before = out->len;
    vnc_foreach(m, show, out);
    if (out->len == before) {
        g_string_append(out, "None\n");
    }
}
