/* SPDX-License-Identifier: MIT
 * tools/system/qmp_net.c - QMP commands about networks.
 *
 * Models: QEMU 7.2's commands of these names; live port forwards are ours. Threads: main loop.
 */
#include "rhea/monitor/qmp.h"
#include "rhea/net/net.h"
#include "schema/qmp-net.h"

bool qmp_netdev_add(QmpCall *call, const NetdevOptions *args, Error **errp)
{
    g_autoptr(Json) o = type_encode(&netdev_options_type, args);
    return netdev_add_json(call->machine, o, false, errp);
}

bool qmp_netdev_del(QmpCall *call, const NetdevDelArgs *args, Error **errp)
{
    return netdev_del(call->machine, args->id, errp);
}

bool qmp_set_link(QmpCall *call, const SetLinkArgs *args, Error **errp)
{
    return net_set_link(call->machine, args->name, args->up, errp);
}

bool qmp_query_rx_filter(QmpCall *call, const QueryRxFilterArgs *args, QueryRxFilterResult *ret, Error **errp)
{
    RxFilterInfo *items;
    if (!net_rx_filters(call->machine, args->name, &items, &ret->n, errp)) {
        return false;
    }
    ret->items = items;
    return true;
}

bool qmp_announce_self(QmpCall *call, const AnnounceParameters *args, Error **errp)
{
    net_announce(call->machine, args);
    return true;
}

bool qmp_hostfwd_add(QmpCall *call, const HostfwdAddArgs *args, Error **errp)
{
    return net_hostfwd_add(call->machine, args->id, args->rule, errp);
}

bool qmp_hostfwd_remove(QmpCall *call, const HostfwdRemoveArgs *args, Error **errp)
{
    return net_hostfwd_remove(call->machine, args->id, args->rule, errp);
}

bool qmp_x_rhea_query_net(QmpCall *call, XRheaQueryNetResult *ret, Error **errp)
{
    GArray *a = g_array_new(FALSE, TRUE, sizeof(NetClientInfo));
    net_infos(call->machine, a);
    ret->n = a->len;
    ret->items = (void *)g_array_free(a, FALSE);
    return true;
}

bool qmp_query_hostfwd(QmpCall *call, QueryHostfwdResult *ret, Error **errp)
{
    GArray *a = g_array_new(FALSE, TRUE, sizeof(HostfwdInfo));
    net_hostfwd_list(call->machine, a);
    ret->n = a->len;
    ret->items = (void *)g_array_free(a, FALSE);
    return true;
}
