/* SPDX-License-Identifier: MIT
 * tools/system/net.c - -netdev, -nic and -net: back ends, and the cards that the last two make.
 *
 * Models: QEMU's options of these names. -nic is a -netdev and a -device; a card and a back end of -net that
 * name each other in no way meet at hub 0. Without any of the three and without -nodefaults there is one
 * card, of the board's kind, on user-mode networking. Threads: main thread.
 */
#include "cli.h"
#include "config.h"
#include "rhea/net/net.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include "schema/net.h"

#include <stdio.h>
#include <string.h>

static bool show(Cli *cli, GString *text)
{
    fputs(text->str, stdout);
    g_string_free(text, TRUE);
    cli->done = true;
    return true;
}

static bool show_cards(Cli *cli)
{
    GString *s = g_string_new("Supported NIC models:\n"); /* scripts read it: QEMU's words */
    for (const DeviceType *const *t = device_table; *t; t++) {
        if (!g_strcmp0((*t)->category, "Network") && !(*t)->internal) {
            g_string_append_printf(s, "%s\n", (*t)->name);
        }
    }
    return show(cli, s);
}

static Json *parse(const char *arg, bool *from_text, Error **errp)
{
    g_autofree char *text = cli_number_repeats(arg, net_repeated_keys);
    return keyval_parse(text, "type", from_text, errp);
}

static bool is_member(const Json *j, const char *key, const char *value)
{
    return !g_strcmp0(json_get_string(json_member(j, key, NULL)), value);
}

OPTION_RUN(opt_netdev)
{
    bool from_text;
    Json *j = cli_is_help(arg) ? NULL : parse(arg, &from_text, errp);
    if (cli_is_help(arg) || (j && (is_member(j, "type", "help") || is_member(j, "type", "?")))) {
        GString *s = g_string_new(NULL);
        netdev_help(s);
        json_unref(j);
        return show(cli, s);
    }
    if (j) {
        cli_record(cli, "netdev", json_ref(j));
        g_ptr_array_add(cli->netdevs, item_new(o, arg, j, from_text));
    }
    return j != NULL;
}

static bool take_net(Cli *cli, const Option *o, const char *arg, GPtrArray *list, Error **errp)
{
    bool from_text;
    if (cli_is_help(arg)) {
        GString *s = g_string_new(NULL);
        netdev_help(s);
        return show(cli, s);
    }
    Json *j = parse(arg, &from_text, errp);
    if (!j) {
        return false;
    }
    if (is_member(j, "model", "help") || is_member(j, "model", "?")) {
        json_unref(j);
        return show_cards(cli);
    }
    cli_record(cli, o->name, json_ref(j));
    if (is_member(j, "type", "none")) {
        bool alone = json_length(j) == 1;
        json_unref(j);
        cli->no_nic = true;
        return alone || error_fail(errp, "conflict", "type", "leave out the rest", "nothing goes with none");
    }
    g_ptr_array_add(list, item_new(o, arg, j, from_text));
    return true;
}

OPTION_RUN(opt_nic)
{
    return take_net(cli, o, arg, cli->nics, errp);
}

OPTION_RUN(opt_net)
{
    return take_net(cli, o, arg, cli->nets, errp);
}

/* ---- making them ---- */

static void put_text(Json *o, const char *key, const char *text)
{
    if (text) {
        json_put(o, key, json_new_string(text));
    }
}

static const char *const cards[] = { "virtio", "virtio-net", NULL };

/* What a board calls its card; "virtio" is the one that fits its bus. */
static const char *card_driver(const Cli *cli, const char *model, Error **errp)
{
    const BoardType *b = cli->m->board;
    const char *fits = b->default_nic;
    if (model && !g_strv_contains(cards, model)) {
        const DeviceType *t = device_type_find(model);
        if (t && !g_strcmp0(t->category, "Network") && !t->internal) {
            return model;
        }
        error_fail(errp, t ? "invalid-value" : "not-found", "model", NULL,
                   t ? "'%s' is no network card" : "there is no network card '%s'", model);
        error_hint(errp, "model=help lists them");
        return NULL;
    }
    if (!fits) {
        error_fail(errp, "no-place", NULL, "use -machine pc or q35, or leave it out",
                   "machine type '%s' has no place for a network card", b->name);
        return NULL;
    }
    if (model) {
        return g_str_has_suffix(fits, "-device") ? "virtio-net-device" : "virtio-net-pci";
    }
    return fits;
}

typedef struct Card {
    const char *model, *netdev, *mac, *addr, *id;
    bool has_vectors;
    uint64_t vectors;
} Card;

static bool make_card(Cli *cli, const Card *c, Error **errp)
{
    const char *driver = card_driver(cli, c->model, errp);
    if (!driver) {
        return false;
    }
    g_autoptr(Json) o = json_put(json_new_object(), "driver", json_new_string(driver));
    put_text(o, "id", c->id);
    put_text(o, "netdev", c->netdev);
    put_text(o, "mac", c->mac);
    put_text(o, "addr", c->addr);
    if (c->has_vectors) {
        json_put(o, "vectors", json_new_uint(c->vectors));
    }
    return device_add_json(cli->m, o, errp);
}

/* A name that no user's can be. */
static char *free_name(Machine *m)
{
    for (unsigned i = 0;; i++) {
        char *name = g_strdup_printf("#net%u", i);
        if (!netdev_exists(m, name)) {
            return name;
        }
        g_free(name);
    }
}

/* addr is the card's place; with members (addr.type) it is where a back end's socket is. */
static Json *without_socket(const Json *opts)
{
    Json *copy = json_new_object();
    json_object_object_foreach((Json *)opts, key, value)
    {
        if (strcmp(key, "addr") || json_kind(value) != JSON_OBJECT) {
            json_put(copy, key, json_ref(value));
        }
    }
    return copy;
}

static bool make_nic(Cli *cli, const Item *item, Error **errp)
{
    NicOptions v;
    Json *addr = json_member(item->opts, "addr", NULL);
    bool socket = addr && json_kind(addr) == JSON_OBJECT;
    g_autoptr(Json) opts = without_socket(item->opts);
    if (!type_decode(&nic_options_type, opts, item->from_text, &v, errp)) {
        return false;
    }
    bool ok = v.type || error_fail(errp, "missing-member", "type", "user needs no privileges",
                                   "'type' is missing: which back end?");
    g_autofree char *name = free_name(cli->m);
    if (ok) {
        g_autoptr(Json) o = v.props ? json_ref(v.props) : json_new_object();
        put_text(o, "type", v.type);
        put_text(o, "id", name);
        if (socket) {
            json_put(o, "addr", json_ref(addr));
        }
        Card c = { .model = v.model, .netdev = name, .mac = v.mac, .addr = v.addr, .id = v.id };
        ok = netdev_add_json(cli->m, o, item->from_text, errp) && make_card(cli, &c, errp);
    }
    type_clear(&nic_options_type, &v);
    return ok;
}

static bool make_legacy_card(Cli *cli, const Item *item, Error **errp)
{
    NetLegacyNicOptions v;
    g_autofree char *port = NULL;
    if (!type_decode(&net_legacy_nic_options_type, item->opts, item->from_text, &v, errp)) {
        return false;
    }
    Card c = { .model = v.model,
               .netdev = v.netdev,
               .mac = v.macaddr,
               .addr = v.addr,
               .id = v.name,
               .has_vectors = v.has_vectors,
               .vectors = v.vectors };
    bool ok = v.netdev || netdev_hub_port(cli->m, 0, NULL, &port, errp);
    if (ok) {
        c.netdev = v.netdev ? v.netdev : port;
        ok = make_card(cli, &c, errp);
    }
    type_clear(&net_legacy_nic_options_type, &v);
    return ok;
}

static bool make_legacy_back_end(Cli *cli, const Item *item, Error **errp)
{
    bool own = is_member(item->opts, "type", "x-rhea-switch"); /* whose name= is the switch's */
    const char *given = own ? NULL : json_get_string(json_member(item->opts, "name", NULL));
    g_autofree char *name = given ? g_strdup(given) : free_name(cli->m), *port = NULL;
    g_autoptr(Json) o = json_new_object();
    json_object_object_foreach(item->opts, key, value)
    {
        if (own || strcmp(key, "name")) {
            json_put(o, key, json_ref(value));
        }
    }
    put_text(o, "id", name);
    return netdev_add_json(cli->m, o, item->from_text, errp) && netdev_hub_port(cli->m, 0, name, &port, errp);
}

/* What nobody asked for, and nobody refused. A build without user-mode networking leaves its cable open. */
static bool make_default_card(Cli *cli, Error **errp)
{
    Card c = { .netdev = NULL };
#if HAVE_SLIRP
    g_autofree char *name = free_name(cli->m);
    g_autoptr(Json) o = json_new_object();
    put_text(o, "type", "user");
    put_text(o, "id", name);
    c.netdev = name;
    if (!netdev_add_json(cli->m, o, false, errp)) {
        error_prefix(errp, "the default network card");
        return false;
    }
#endif
    if (!make_card(cli, &c, errp)) {
        error_prefix(errp, "the default network card");
        error_hint(errp, "-nic none leaves it out");
        return false;
    }
    return true;
}

bool cli_make_nets(Cli *cli, Error **errp)
{
    Error *err = NULL;
    const char *fits = cli->m->board->default_nic;
    /* boards without PCI have what they are asked for */
    bool pci = fits && !g_str_has_suffix(fits, "-device");
    if (pci && !cli->no_nic && !cli->m->no_defaults && !cli->netdevs->len && !cli->nics->len &&
        !cli->nets->len) {
        return make_default_card(cli, errp);
    }
    if (cli->no_nic && (cli->nics->len || cli->nets->len)) {
        return error_fail(errp, "conflict", "type", "leave out one of them",
                          "-nic none and a card exclude each other");
    }
    for (guint i = 0; i < cli->netdevs->len; i++) {
        const Item *item = cli->netdevs->pdata[i];
        if (!netdev_add_json(cli->m, item->opts, item->from_text, &err)) {
            return cli_fail_at(errp, err, item);
        }
    }
    for (guint i = 0; i < cli->nics->len; i++) {
        const Item *item = cli->nics->pdata[i];
        if (!make_nic(cli, item, &err)) {
            return cli_fail_at(errp, err, item);
        }
    }
    for (guint i = 0; i < cli->nets->len; i++) {
        const Item *item = cli->nets->pdata[i];
        bool card = is_member(item->opts, "type", "nic");
        if (!(card ? make_legacy_card : make_legacy_back_end)(cli, item, &err)) {
            return cli_fail_at(errp, err, item);
        }
    }
    return true;
}
