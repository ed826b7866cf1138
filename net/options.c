/* SPDX-License-Identifier: MIT
 * net/options.c - -netdev and netdev_add: text or JSON to a back end; what is known and refused.
 *
 * Models: the names of QEMU's -netdev; the typed form is schema/net.idl.
 * Does not model: kinds that the table below names.
 * Threads: main loop.
 */
#include "config.h"
#include "net_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"

#define USE_USER "use user, which needs no privileges"

static const struct {
    const char *name, *reason, *cure;
} refused[] = {
    { "nic", "it is the guest's card, not a back end", "use -device or -nic" },
    { "dump", "a filter writes frames to a file", "use -object filter-dump,id=ID,netdev=ID,file=FILE" },
    { "none", "it is no back end", "use -nic none" },
    { "netmap", "it is FreeBSD's", USE_USER },
    { "af-xdp", "there are no AF_XDP sockets", USE_USER },
    { "vhost-user", "no other process serves virtqueues yet", USE_USER },
    { "vhost-vdpa", "the kernel serves no virtqueues yet", USE_USER },
    { "vmnet-host", "it is macOS's", USE_USER },
    { "vmnet-shared", "it is macOS's", USE_USER },
    { "vmnet-bridged", "it is macOS's", USE_USER },
#if !HAVE_VDE
    { "vde", "this build has no libvdeplug", "build with libvdeplug-dev, or use x-rhea-switch" },
#endif
#if !HAVE_SLIRP
    { "user", "this build has no libslirp", "build with libslirp-dev" },
#endif
    { NULL },
};

static const NetKind *const kinds[NET_CLIENT_DRIVER__COUNT] = {
#if HAVE_SLIRP
    [NET_CLIENT_DRIVER_USER] = &net_user_kind,
#endif
    [NET_CLIENT_DRIVER_HUBPORT] = &net_hubport_kind,
    [NET_CLIENT_DRIVER_TAP] = &net_tap_kind,
    [NET_CLIENT_DRIVER_BRIDGE] = &net_bridge_kind,
    [NET_CLIENT_DRIVER_L2TPV3] = &net_l2tpv3_kind,
    [NET_CLIENT_DRIVER_STREAM] = &net_stream_kind,
    [NET_CLIENT_DRIVER_DGRAM] = &net_dgram_kind,
    [NET_CLIENT_DRIVER_PASST] = &net_passt_kind,
#if HAVE_VDE
    [NET_CLIENT_DRIVER_VDE] = &net_vde_kind,
#endif
    [NET_CLIENT_DRIVER_X_RHEA_SWITCH] = &net_switch_kind,
};

bool net_refuse_kind(const char *kind, Error **errp)
{
    for (size_t i = 0; refused[i].name; i++) {
        if (g_str_equal(refused[i].name, kind)) {
            error_fail(errp, "not-supported", "type", NULL, "network back end '%s' is not supported: %s",
                       kind, refused[i].reason);
            error_hint(errp, "%s", refused[i].cure);
            return true;
        }
    }
    return false;
}

void netdev_help(GString *out)
{
    g_string_append(out, "Available netdev backend types:\n");
    for (int i = 0; i < NET_CLIENT_DRIVER__COUNT; i++) {
        if (kinds[i] || i == NET_CLIENT_DRIVER_SOCKET) {
            g_string_append_printf(out, "%s\n", net_client_driver_names[i]);
        }
    }
}

/* A list of texts may be one text, or texts instead of objects: "x", ["x"], [{"str": "x"}]. */
static Json *text_list(Json *value)
{
    Json *list = json_new_array();
    size_t n = json_kind(value) == JSON_ARRAY ? json_length(value) : 1;
    for (size_t i = 0; i < n; i++) {
        Json *one = json_kind(value) == JSON_ARRAY ? json_at(value, i) : value;
        bool text = json_kind(one) == JSON_STRING;
        json_append(list, text ? json_put(json_new_object(), "str", json_ref(one)) : json_ref(one));
    }
    return list;
}

const char *const net_repeated_keys[] = { "hostfwd",   "guestfwd",  "dnssearch", "search",
                                          "tcp-ports", "udp-ports", "param",     NULL };

static Json *with_text_lists(const Json *opts)
{
    Json *copy = json_new_object();
    json_object_object_foreach((Json *)opts, key, value)
    {
        bool is_list = g_strv_contains(net_repeated_keys, key);
        json_put(copy, key, is_list ? text_list(value) : json_ref(value));
    }
    return copy;
}

static bool id_is_free(Machine *m, const char *id, Error **errp)
{
    if (id[0] != '#' && !text_check_id(id, "net0", errp)) { /* '#' begins names that this program gives */
        return false;
    }
    return !net_client_find(m, id) ||
           error_fail(errp, "already-exists", "id", "give another id, or remove that one: netdev_del",
                      "there is already a network back end or card '%s'", id);
}

bool netdev_add_json(Machine *m, const Json *opts, bool from_text, Error **errp)
{
    role_assert_main();
    const char *type = json_get_string(json_member(opts, "type", NULL));
    if (type && net_refuse_kind(type, errp)) {
        return false;
    }
    NetdevOptions o;
    g_autoptr(Json) copy = from_text ? with_text_lists(opts) : json_ref((Json *)opts);
    if (!type_decode(&netdev_options_type, copy, from_text, &o, errp)) {
        return false;
    }
    bool ok = id_is_free(m, o.id, errp);
    if (ok && o.type == NET_CLIENT_DRIVER_SOCKET) {
        NetdevOptions meant = { .id = g_strdup(o.id) };
        ok = net_socket_translate(m, &o.u.socket, &meant, errp);
        type_clear(&netdev_options_type, &o);
        o = meant;
    }
    if (ok) {
        NetClient *c = net_client_new(m, kinds[o.type], o.id);
        ok = c->kind->open(c, &o, errp);
        if (!ok) {
            net_client_free(c);
        }
    }
    type_clear(&netdev_options_type, &o);
    return ok;
}

bool netdev_exists(Machine *m, const char *id)
{
    const NetClient *c = net_client_find(m, id);
    return c && c->kind != &net_nic_kind;
}

bool netdev_del(Machine *m, const char *id, Error **errp)
{
    role_assert_main();
    NetClient *c = net_client_find(m, id);
    if (!c || c->kind == &net_nic_kind) {
        error_fail(errp, c ? "invalid-value" : "not-found", "id", NULL,
                   c ? "'%s' is a network card, not a back end" : "there is no network back end '%s'", id);
        error_set_class(errp, ERROR_DEVICE_NOT_FOUND);
        if (c) {
            error_hint(errp, "device_del removes it");
        } else {
            error_hint(errp, "'info network' lists them");
        }
        return false;
    }
    net_client_free(c);
    return true;
}

bool netdev_hub_port(Machine *m, int hub, const char *netdev, char **name, Error **errp)
{
    unsigned n = 0;
    char *id = NULL;
    do {
        g_free(id);
        id = g_strdup_printf("#hub%dport%u", hub, n++);
    } while (net_client_find(m, id));
    g_autoptr(Json) o = json_put(json_new_object(), "type", json_new_string("hubport"));
    json_put(o, "id", json_new_string(id));
    json_put(o, "hubid", json_new_int(hub));
    if (netdev) {
        json_put(o, "netdev", json_new_string(netdev));
    }
    bool ok = netdev_add_json(m, o, false, errp);
    *name = ok ? g_steal_pointer(&id) : NULL;
    g_free(id);
    return ok;
}

/* ---- what cards filter ---- */

bool net_rx_filters(Machine *m, const char *name, RxFilterInfo **out, size_t *n, Error **errp)
{
    GArray *a = g_array_new(FALSE, TRUE, sizeof(RxFilterInfo));
    const NetClient *named = name ? net_client_find(m, name) : NULL;
    if (named && named->kind == &net_nic_kind && !net_nic_has_rx_filter(named)) {
        g_array_free(a, TRUE);
        return error_fail(errp, "not-supported", "name", "query-rx-filter without a name lists those that do",
                          "network card '%s' does not tell what it filters", name);
    }
    if (name && (!named || named->kind != &net_nic_kind)) {
        error_fail(errp, named ? "invalid-value" : "not-found", "name", "x-rhea-query-net lists them",
                   named ? "'%s' is no network card" : "there is no network card '%s'", name);
        g_array_free(a, TRUE);
        return false;
    }
    for (guint i = 0; m->net && i < m->net->clients->len; i++) {
        NetClient *c = m->net->clients->pdata[i];
        if (c->kind == &net_nic_kind && net_nic_has_rx_filter(c) && (!named || c == named)) {
            RxFilterInfo f = { 0 };
            net_nic_rx_filter(c, &f);
            g_array_append_val(a, f);
        }
    }
    *n = a->len;
    *out = (void *)g_array_free(a, FALSE);
    return true;
}

/* ---- user-mode back ends ---- */

#if HAVE_SLIRP
static NetClient *find_user(Machine *m, const char *id, Error **errp)
{
    NetClient *found = NULL;
    for (guint i = 0; m->net && i < m->net->clients->len; i++) {
        NetClient *c = m->net->clients->pdata[i];
        if (c->kind != &net_user_kind || (id && !g_str_equal(c->name, id))) {
            continue;
        }
        if (found) {
            error_fail(errp, "missing-member", NULL, NULL, "there are several user-mode back ends");
            error_hint(errp, "name one: '%s', '%s'", found->name, c->name);
            return NULL;
        }
        found = c;
    }
    if (!found) {
        error_fail(errp, "not-found", NULL, "netdev_add with type=user makes one",
                   id ? "there is no user-mode back end '%s'" : "there is no user-mode back end", id);
        error_set_class(errp, ERROR_DEVICE_NOT_FOUND);
    }
    return found;
}

bool net_hostfwd_add(Machine *m, const char *id, const char *rule, Error **errp)
{
    NetClient *c = find_user(m, id, errp);
    return c && user_hostfwd_add(c, rule, errp);
}

bool net_hostfwd_remove(Machine *m, const char *id, const char *rule, Error **errp)
{
    NetClient *c = find_user(m, id, errp);
    return c && user_hostfwd_remove(c, rule, errp);
}

void net_hostfwd_list(Machine *m, GArray *out)
{
    for (guint i = 0; m->net && i < m->net->clients->len; i++) {
        NetClient *c = m->net->clients->pdata[i];
        if (c->kind == &net_user_kind) {
            user_hostfwd_list(c, out);
        }
    }
}

void net_print_user(Machine *m, GString *out)
{
    for (guint i = 0; m->net && i < m->net->clients->len; i++) {
        NetClient *c = m->net->clients->pdata[i];
        if (c->kind == &net_user_kind) {
            user_print(c, out);
        }
    }
}
#else
bool net_hostfwd_add(Machine *m, const char *id, const char *rule, Error **errp)
{
    return !net_refuse_kind("user", errp);
}

bool net_hostfwd_remove(Machine *m, const char *id, const char *rule, Error **errp)
{
    return !net_refuse_kind("user", errp);
}

void net_hostfwd_list(Machine *m, GArray *out)
{
    /* There are none. */
}

void net_print_user(Machine *m, GString *out)
{
    /* There are none. */
}
#endif
