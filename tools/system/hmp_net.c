/* SPDX-License-Identifier: MIT
 * tools/system/hmp_net.c - monitor commands about networks.
 *
 * Models: QEMU's commands of these names. Threads: main loop, no domain held.
 */
#include "cli.h"
#include "rhea/net/net.h"
#include <string.h>

static void hmp_netdev_add(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    bool from_text;
    if (argc != 2) {
        g_string_append(out, "netdev_add: TYPE,id=ID,... is expected\n");
        return;
    }
    g_autofree char *text = cli_number_repeats(argv[1], net_repeated_keys);
    g_autoptr(Json) o = keyval_parse(text, "type", &from_text, &err);
    if (!o || !netdev_add_json(m, o, from_text, &err)) {
        hmp_say_error(out, err);
    }
}

static void hmp_netdev_del(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    if (argc != 2) {
        g_string_append(out, "netdev_del: an id is expected\n");
    } else if (!netdev_del(m, argv[1], &err)) {
        hmp_say_error(out, err);
    }
}

static void hmp_set_link(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    Error *err = NULL;
    bool on = argc == 3 && g_str_equal(argv[2], "on");
    if (argc != 3 || (!on && !g_str_equal(argv[2], "off"))) {
        g_string_append(out, "set_link: a card or back end, and on or off are expected\n");
    } else if (!net_set_link(m, argv[1], on, &err)) {
        hmp_say_error(out, err);
    }
}

/* [ID] RULE */
static void forward(bool (*fn)(Machine *, const char *, const char *, Error **), Machine *m, int argc,
                    char **argv, GString *out)
{
    Error *err = NULL;
    if (argc != 2 && argc != 3) {
        g_string_append_printf(out, "%s: a rule is expected, perhaps behind a back end\n", argv[0]);
    } else if (!fn(m, argc == 3 ? argv[1] : NULL, argv[argc - 1], &err)) {
        hmp_say_error(out, err);
    } else if (fn == net_hostfwd_remove) {
        g_string_append_printf(out, "host forwarding rule for %s removed\n", argv[argc - 1]);
    }
}

static void hmp_hostfwd_add(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    forward(net_hostfwd_add, m, argc, argv, out);
}

static void hmp_hostfwd_remove(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    forward(net_hostfwd_remove, m, argc, argv, out);
}

static void hmp_announce_self(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    g_auto(GStrv) list = argc > 1 ? g_strsplit(argv[1], ",", -1) : NULL;
    AnnounceParameters p = {
        .initial = 50, .max = 550, .rounds = 5, .step = 100, .id = argc > 2 ? argv[2] : NULL
    };
    if (argc > 3) {
        g_string_append(out, "announce_self: cards (A,B) and an id are expected at most\n");
        return;
    }
    p.interfaces.items = (void *)list;
    p.interfaces.n = list ? g_strv_length(list) : 0;
    net_announce(m, &p);
}

static void info_network(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    net_print(m, out);
}

static void info_usernet(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    net_print_user(m, out);
}

static void add_name(const char *name, void *opaque)
{
    g_ptr_array_add(opaque, g_strdup(name));
}

static void complete_any(Machine *m, unsigned arg, GPtrArray *out)
{
    if (arg == 1) {
        net_foreach_name(m, true, add_name, out);
    }
}

static void complete_back_end(Machine *m, unsigned arg, GPtrArray *out)
{
    if (arg == 1) {
        net_foreach_name(m, false, add_name, out);
    }
}

static const HmpCommand net_info[] = {
    { "network", "", "show network cards, back ends and what they counted", info_network },
    { "usernet", "", "show the connections of user-mode networks", info_usernet },
    { 0 },
};

const HmpCommand hmp_net_commands[] = {
    { "announce_self", "[CARD,...] [ID]", "tell the network where the guest's cards are", hmp_announce_self },
    { "hostfwd_add", "[ID] [tcp|udp]:[ADDR]:PORT-[ADDR]:PORT", "lead a port of the host into the guest",
      hmp_hostfwd_add, NULL, complete_back_end },
    { "hostfwd_remove", "[ID] [tcp|udp]:[ADDR]:PORT", "end that", hmp_hostfwd_remove, NULL,
      complete_back_end },
    { "info", "[SUBCOMMAND]", "show the state of the machine", NULL, net_info },
    { "netdev_add", "TYPE,id=ID[,KEY=VALUE]...", "make a network back end", hmp_netdev_add },
    { "netdev_del", "ID", "remove a network back end", hmp_netdev_del, NULL, complete_back_end },
    { "set_link", "NAME on|off", "plug the cable of a card or back end in or out", hmp_set_link, NULL,
      complete_any },
    { 0 },
};
