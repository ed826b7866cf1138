/* SPDX-License-Identifier: MIT
 * net/hub.c - hubs: what comes in at one port goes out at all the others.
 *
 * Models: an Ethernet repeater without collisions. A port's hub is its number: the ports with the same one
 *         belong together. A frame for which a port has no room is lost there, and there only.
 * Threads: main loop.
 */
#include "net_internal.h"
#include "rhea/util/errorcode.h"

typedef struct HubPort {
    int hub;
} HubPort;

int net_hub_id(const NetClient *c)
{
    return ((const HubPort *)c->state)->hub;
}

static bool hubport_receive(NetClient *c, const NetFrame *f)
{
    GPtrArray *all = c->machine->net->clients;
    for (guint i = 0; i < all->len; i++) {
        NetClient *o = all->pdata[i];
        if (o != c && o->kind == &net_hubport_kind && net_hub_id(o) == net_hub_id(c)) {
            net_client_send(o, f);
        }
    }
    return true;
}

static bool hubport_open(NetClient *c, const NetdevOptions *o, Error **errp)
{
    HubPort *p = c->state;
    p->hub = (int)o->u.hubport.hubid;
    if (o->u.hubport.netdev) {
        NetClient *b = net_client_find(c->machine, o->u.hubport.netdev);
        if (!b || b->kind == &net_nic_kind) {
            error_fail(errp, "not-found", "netdev", "make it before: netdev_add or -netdev",
                       "there is no network back end '%s'", o->u.hubport.netdev);
            return false;
        }
        if (b->peer) {
            return error_fail(errp, "in-use", "netdev", "each back end has one peer: use another one",
                              "network back end '%s' is already in use by '%s'", b->name, b->peer->name);
        }
        net_client_pair(c, b);
    }
    return true;
}

static void hubport_describe(const NetClient *c, GString *out)
{
    g_string_append_printf(out, "hub=%d", net_hub_id(c));
    if (c->peer && c->peer->kind != &net_nic_kind) {
        g_string_append_printf(out, ",netdev=%s", c->peer->name);
    }
}

const NetKind net_hubport_kind = {
    .name = "hubport",
    .state_size = sizeof(HubPort),
    .can = NET_CAN_CSUM | NET_CAN_TSO4 | NET_CAN_TSO6 | NET_CAN_ECN, /* finished where it goes out */
    .open = hubport_open,
    .receive = hubport_receive,
    .describe = hubport_describe,
};
