/* SPDX-License-Identifier: MIT
 * net/nic.c - the side of a network card: its properties, and the way between its domain and the main loop.
 *
 * Models: a card has an address, a cable and a queue towards its peer. While the machine stands it neither
 *         takes nor sends; what comes meanwhile waits in its queue, as far as that goes.
 * Threads: net_port_*() in the device's domain; the client's functions on the main loop, where they take that
 *          domain around calls of the device.
 */
#include "net_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"

#include <string.h>

typedef struct Nic {
    NetPort *port;
    Device *dev;
    const NicOps *ops;
    DomainTask writable;
    bool link;        /* atomic: what net_port_link_up() tells */
    bool filter_told; /* atomic: NIC_RX_FILTER_CHANGED was sent and not asked for since */
    bool wants;       /* the domain's: it had no room for a frame, which waits or will */
    bool closing;     /* the device is nobody to tell any more */
    char *model;
    uint8_t mac[NET_MAC];
} Nic;

static Nic *nic_of(const NetClient *c)
{
    return c->state;
}

Device *net_nic_device(const NetClient *c)
{
    return nic_of(c)->dev;
}

/* ---- main loop ---- */

static bool nic_receive(NetClient *c, const NetFrame *f)
{
    Nic *n = nic_of(c);
    if (!machine_running(c->machine)) {
        return false;
    }
    domain_lock(n->dev->domain);
    bool taken = n->ops->receive(n->dev, f);
    n->wants = !taken;
    domain_unlock(n->dev->domain);
    return taken;
}

static void nic_resumed(NetClient *c)
{
    domain_post(&nic_of(c)->writable);
}

static void nic_writable(void *opaque)
{
    Nic *n = opaque;
    if (n->ops->writable && machine_running(n->dev->machine)) { /* else it is called when it runs again */
        n->ops->writable(n->dev);
    }
}

static void nic_link_changed(NetClient *c, bool up)
{
    Nic *n = nic_of(c);
    __atomic_store_n(&n->link, up, __ATOMIC_RELAXED);
    if (n->ops->link_changed && n->dev->realized && !n->closing) {
        domain_lock(n->dev->domain);
        n->ops->link_changed(n->dev, up);
        domain_unlock(n->dev->domain);
    }
}

static void nic_describe(const NetClient *c, GString *out)
{
    const Nic *n = nic_of(c);
    domain_lock(n->dev->domain);
    g_string_append_printf(out, "model=%s,macaddr=%02x:%02x:%02x:%02x:%02x:%02x", n->model, n->mac[0],
                           n->mac[1], n->mac[2], n->mac[3], n->mac[4], n->mac[5]);
    domain_unlock(n->dev->domain);
}

static void nic_close(NetClient *c)
{
    Nic *n = nic_of(c);
    loop_unpost(domain_loop(n->dev->domain), &n->writable.task);
    g_free(n->model);
}

static void nic_queues(const NetClient *c, GArray *out)
{
    const Nic *n = nic_of(c);
    if (n->ops->queues) {
        domain_lock(n->dev->domain);
        n->ops->queues(n->dev, out);
        domain_unlock(n->dev->domain);
    }
}

const NetKind net_nic_kind = {
    .name = "nic",
    .state_size = sizeof(Nic),
    .close = nic_close,
    .receive = nic_receive,
    .resumed = nic_resumed,
    .link_changed = nic_link_changed,
    .describe = nic_describe,
    .queues = nic_queues,
};

bool net_nic_has_rx_filter(const NetClient *c)
{
    return nic_of(c)->ops->rx_filter != NULL;
}

void net_nic_rx_filter(NetClient *c, RxFilterInfo *out)
{
    Nic *n = nic_of(c);
    out->name = g_strdup(c->name);
    out->broadcast_allowed = true;
    out->main_mac = g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", n->mac[0], n->mac[1], n->mac[2],
                                    n->mac[3], n->mac[4], n->mac[5]);
    __atomic_store_n(&n->filter_told, false, __ATOMIC_RELAXED);
    domain_lock(n->dev->domain);
    n->ops->rx_filter(n->dev, out);
    domain_unlock(n->dev->domain);
}

bool net_nic_announce(NetClient *c)
{
    Nic *n = nic_of(c);
    bool done = false;
    if (n->ops->announce) {
        domain_lock(n->dev->domain);
        done = n->ops->announce(n->dev);
        domain_unlock(n->dev->domain);
    }
    if (!done) { /* a frame in the guest's name: a RARP request for itself, which switches learn from */
        uint8_t f[60] = {
            [0] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [12] = 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3
        };
        memcpy(f + 6, n->mac, NET_MAC);
        memcpy(f + 22, n->mac, NET_MAC);
        memcpy(f + 32, n->mac, NET_MAC);
        NetHdr plain = { 0 };
        IoVec v;
        iov_init_buf(&v, f, sizeof(f));
        domain_lock(n->dev->domain);
        net_port_send(n->port, &plain, &v, 0); /* no room: lost, more rounds follow */
        domain_unlock(n->dev->domain);
    }
    return true;
}

/* ---- the device's domain ---- */

bool net_port_send(NetPort *p, const NetHdr *hdr, const IoVec *v, size_t skip)
{
    NetClient *to = p->nic ? p->nic->peer : NULL; /* it changes with the domain held */
    size_t len = v->bytes - MIN(skip, v->bytes);
    if (!to || !net_port_link_up(p) || len < NET_ETH || len > NET_FRAME_MAX) {
        return true; /* into an open end */
    }
    uint8_t *room = net_queue_reserve(&to->rx, len);
    if (!room) {
        return false;
    }
    iov_to_buf(v, skip, room, len);
    if (!net_hdr_good(hdr, room, len)) {
        __atomic_add_fetch(&to->count.dropped, 1, __ATOMIC_RELAXED);
        return true;
    }
    net_queue_commit(&to->rx, hdr, len);
    loop_post(to->machine->loop, &to->flush);
    return true;
}

void net_port_resume(NetPort *p)
{
    if (p->nic && nic_of(p->nic)->wants) {
        nic_of(p->nic)->wants = false;
        net_client_resume(p->nic);
    }
}

void net_port_set_offloads(NetPort *p, unsigned can)
{
    if (p->nic) {
        __atomic_store_n(&p->nic->can, can, __ATOMIC_RELAXED);
    }
}

bool net_port_link_up(const NetPort *p)
{
    return p->nic && __atomic_load_n(&nic_of(p->nic)->link, __ATOMIC_RELAXED);
}

void net_port_rx_filter_changed(NetPort *p)
{
    Nic *n = p->nic ? nic_of(p->nic) : NULL;
    if (!n || __atomic_exchange_n(&n->filter_told, true, __ATOMIC_RELAXED)) {
        return;
    }
    Json *data = json_new_object();
    json_put(data, "name", json_new_string(p->nic->name));
    json_put(data, "path", json_new_string(p->dev->path));
    machine_event(p->dev->machine, "NIC_RX_FILTER_CHANGED", data);
}

void net_port_set_info(NetPort *p, const char *model, const uint8_t *mac)
{
    Nic *n = nic_of(p->nic);
    if (model) {
        g_free(n->model);
        n->model = g_strdup(model);
    }
    memcpy(n->mac, mac, NET_MAC);
}

bool net_mac_is(const uint8_t *frame, const uint8_t *mac)
{
    return !memcmp(frame, mac, NET_MAC);
}

/* ---- life ---- */

static void port_closed_with_device(void *opaque)
{
    NetPort *p = opaque;
    if (p->nic) {
        NetClient *nic = p->nic;
        nic_of(nic)->closing = true;
        p->nic = NULL;
        net_client_free(nic);
    }
}

/* The device's id; for one without, its type and a number. */
static char *nic_name(Device *dev)
{
    if (dev->id) {
        return g_strdup(dev->id);
    }
    for (unsigned i = 0;; i++) {
        char *name = g_strdup_printf("%s.%u", dev->type->name, i);
        if (!net_client_find(dev->machine, name)) {
            return name;
        }
        g_free(name);
    }
}

bool net_port_open(NetPort *p, Device *dev, const NicOps *ops, NetMac *mac, Error **errp)
{
    static const uint8_t first[NET_MAC] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
    role_assert_main();
    MachineNet *net = machine_net(dev->machine);
    g_autofree char *name = nic_name(dev);
    if (net_client_find(dev->machine, name)) {
        return error_fail(errp, "already-exists", "id", "give another id",
                          "there is already a network back end or card '%s'", name);
    }
    if (p->backend && p->backend->peer) {
        return error_fail(errp, "in-use", "netdev", "each back end has one peer: use another one",
                          "network back end '%s' is already in use by '%s'", p->backend->name,
                          p->backend->peer->name);
    }
    if (!mac->set) {
        memcpy(mac->b, first, NET_MAC);
        mac->b[5] = (uint8_t)(mac->b[5] + net->macs);
        mac->b[4] = (uint8_t)(mac->b[4] + ((first[5] + net->macs) >> 8));
        net->macs++;
        mac->set = true;
    }
    p->dev = dev;
    p->nic = net_client_new(dev->machine, &net_nic_kind, name);
    Nic *n = nic_of(p->nic);
    n->port = p;
    n->dev = dev;
    n->ops = ops;
    n->model = g_strdup(dev->type->name);
    memcpy(n->mac, mac->b, NET_MAC);
    domain_task_init(&n->writable, dev->domain, nic_writable, n);
    device_add_cleanup(dev, port_closed_with_device, p);
    if (p->backend) {
        net_client_pair(p->nic, p->backend);
        p->backend = NULL; /* it may go before the device does */
    } else if (!dev->machine->no_defaults || dev->id) {
        log_info("network card '%s' is not connected to anything", name);
    }
    return true;
}

unsigned net_port_queues(const NetPort *p)
{
    const NetClient *to = p->backend ? p->backend : p->nic ? p->nic->peer : NULL;
    return to ? to->n_queues : 1;
}

/* ---- properties ---- */

static bool netdev_bind(Machine *m, const Prop *prop, void *slot, const char *id, Error **errp)
{
    NetPort *p = slot;
    NetClient *c = net_client_find(m, id);
    if (!c || c->kind == &net_nic_kind) {
        g_autoptr(GPtrArray) names = g_ptr_array_new();
        for (guint i = 0; m->net && i < m->net->clients->len; i++) {
            const NetClient *o = m->net->clients->pdata[i];
            if (o->kind != &net_nic_kind) {
                g_ptr_array_add(names, o->name);
            }
        }
        g_ptr_array_add(names, NULL);
        error_fail(errp, "not-found", NULL, "make it before: netdev_add or -netdev",
                   "there is no network back end '%s'", id);
        error_hint_nearest(errp, id, (const char *const *)names->pdata);
        return false;
    }
    if (c->peer) {
        return error_fail(errp, "in-use", "netdev", "each back end has one peer: use another one",
                          "network back end '%s' is already in use by '%s'", id, c->peer->name);
    }
    p->backend = c;
    return true;
}

static char *netdev_name(const void *slot)
{
    const NetPort *p = slot;
    const NetClient *c = p->nic ? p->nic->peer : NULL;
    return c ? g_strdup(c->name) : NULL;
}

static void netdev_release(void *slot)
{
    *(NetPort *)slot = (NetPort){ 0 };
}

bool net_parse_mac(const char *text, uint8_t *mac, Error **errp)
{
    unsigned b[NET_MAC];
    const char *t = text;
    bool ok = true;
    for (unsigned i = 0; ok && i < NET_MAC; i++) {
        int high = g_ascii_xdigit_value(*t), low = high < 0 ? -1 : g_ascii_xdigit_value(t[1]);
        ok = high >= 0;
        b[i] = low < 0 ? (unsigned)high : (unsigned)(high << 4 | low);
        t += ok ? low < 0 ? 1 : 2 : 0;
        ok = ok && (i == NET_MAC - 1 ? *t == 0 : *t == ':' || *t == '-');
        t++;
    }
    if (!ok) {
        error_fail(errp, "invalid-value", "mac", NULL, "'%s' is not a network card's address", text);
        error_hint(errp, "it looks like 52:54:00:12:34:56");
        return false;
    }
    if (b[0] & 1) {
        error_fail(errp, "invalid-value", "mac", NULL, "'%s' is the address of a group, not of one card",
                   text);
        error_hint(errp, "the first byte is even");
        return false;
    }
    for (unsigned i = 0; i < NET_MAC; i++) {
        mac[i] = (uint8_t)b[i];
    }
    return true;
}

static bool mac_bind(Machine *m, const Prop *prop, void *slot, const char *text, Error **errp)
{
    NetMac *mac = slot;
    mac->set = net_parse_mac(text, mac->b, errp);
    return mac->set;
}

static char *mac_name(const void *slot)
{
    const NetMac *m = slot;
    return m->set ? g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", m->b[0], m->b[1], m->b[2], m->b[3],
                                    m->b[4], m->b[5])
                  : NULL;
}

static void mac_release(void *slot)
{
    /* It owns nothing. */
}

void net_register(void)
{
    static const PropBinder netdev = { .bind = netdev_bind, .name = netdev_name, .release = netdev_release };
    static const PropBinder mac = { .bind = mac_bind, .name = mac_name, .release = mac_release };
    prop_register_binder(PROP_NETDEV_, &netdev);
    prop_register_binder(PROP_MAC_, &mac);
    net_filter_register();
}
