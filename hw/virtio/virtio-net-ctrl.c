/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-net-ctrl.c - a virtio network card's control queue, and what it filters.
 *
 * Models: virtio 1.2, 5.1.6.5: receive modes, MAC and VLAN tables, announcing, steering among queues
 *         (virtio-net-steer.c), switching of offloads. Does not model: coalescing.
 * Threads: the device's domain.
 */
#include "virtio-net.h"

#include <string.h>

enum { CTRL_RX, CTRL_MAC, CTRL_VLAN, CTRL_ANNOUNCE, CTRL_MQ, CTRL_OFFLOADS };
enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST };
enum { MAC_TABLE_SET, MAC_ADDR_SET };
enum { VLAN_ADD, VLAN_DEL };
enum { MQ_PAIRS_SET, MQ_RSS_CONFIG, MQ_HASH_CONFIG };
enum { CTRL_HEADER = 2, ACK_OK = 0, ACK_ERR = 1 };

/* ---- the filter ---- */

bool net_filter(const VirtioNet *s, const uint8_t *f, size_t len)
{
    static const uint8_t all[NET_MAC] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    if (s->promisc) {
        return true;
    }
    if (net_has(s, NET_F_CTRL_VLAN) && len >= NET_ETH + 4 && f[12] == 0x81 && f[13] == 0) {
        unsigned vid = (f[14] << 8 | f[15]) & 0xfff;
        if (!(s->vlan[vid / 32] >> vid % 32 & 1)) {
            return false;
        }
    }
    if (net_mac_is(f, all)) {
        return !s->nobcast;
    }
    bool group = f[0] & 1;
    if (group ? s->nomulti : s->nouni) {
        return false;
    }
    if (group ? s->allmulti || s->multi_overflow : s->alluni || s->uni_overflow) {
        return true;
    }
    if (!group && net_mac_is(f, s->addr)) {
        return true;
    }
    unsigned from = group ? s->n_uni : 0, n = group ? s->n_multi : s->n_uni;
    for (unsigned i = from; i < from + n; i++) {
        if (net_mac_is(f, s->table + i * NET_MAC)) {
            return true;
        }
    }
    return false;
}

static char *mac_text(const uint8_t *m)
{
    return g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

void net_describe_filter(const VirtioNet *s, RxFilterInfo *out)
{
    out->promiscuous = s->promisc;
    out->multicast = s->nomulti ? RX_STATE_NONE : s->allmulti ? RX_STATE_ALL : RX_STATE_NORMAL;
    out->unicast = s->nouni ? RX_STATE_NONE : s->alluni ? RX_STATE_ALL : RX_STATE_NORMAL;
    out->vlan = net_has(s, NET_F_CTRL_VLAN) ? RX_STATE_NORMAL : RX_STATE_ALL;
    out->broadcast_allowed = !s->nobcast;
    out->multicast_overflow = s->multi_overflow;
    out->unicast_overflow = s->uni_overflow;
    g_free(out->main_mac);
    out->main_mac = mac_text(s->addr);
    GArray *vlans = g_array_new(FALSE, TRUE, sizeof(int64_t));
    for (int64_t i = 0; net_has(s, NET_F_CTRL_VLAN) && i < NET_VLANS; i++) {
        if (s->vlan[i / 32] >> i % 32 & 1) {
            g_array_append_val(vlans, i);
        }
    }
    out->vlan_table.n = vlans->len;
    out->vlan_table.items = (void *)g_array_free(vlans, FALSE);
    out->unicast_table.n = s->n_uni;
    out->unicast_table.items = g_new0(char *, s->n_uni + 1u);
    out->multicast_table.n = s->n_multi;
    out->multicast_table.items = g_new0(char *, s->n_multi + 1u);
    for (unsigned i = 0; i < s->n_uni; i++) {
        out->unicast_table.items[i] = mac_text(s->table + i * NET_MAC);
    }
    for (unsigned i = 0; i < s->n_multi; i++) {
        out->multicast_table.items[i] = mac_text(s->table + (s->n_uni + i) * NET_MAC);
    }
}

/* ---- offloads ---- */

uint64_t net_offload_features(const VirtioNet *s)
{
    return s->v.driver_features &
           (NETF(NET_F_GUEST_CSUM) | NETF(NET_F_GUEST_TSO4) | NETF(NET_F_GUEST_TSO6) | NETF(NET_F_GUEST_ECN) |
            NETF(NET_F_GUEST_UFO) | NETF(NET_F_GUEST_USO4) | NETF(NET_F_GUEST_USO6));
}

void net_apply_offloads(VirtioNet *s)
{
    uint64_t o = s->guest_offloads, uso = NETF(NET_F_GUEST_USO4) | NETF(NET_F_GUEST_USO6);
    net_port_set_offloads(
        &s->port,
        (o & NETF(NET_F_GUEST_CSUM) ? NET_CAN_CSUM : 0) | (o & NETF(NET_F_GUEST_TSO4) ? NET_CAN_TSO4 : 0) |
            (o & NETF(NET_F_GUEST_TSO6) ? NET_CAN_TSO6 : 0) | (o & NETF(NET_F_GUEST_ECN) ? NET_CAN_ECN : 0) |
            (o & NETF(NET_F_GUEST_UFO) ? NET_CAN_UFO : 0) | ((o & uso) == uso ? NET_CAN_USO : 0));
}

/* ---- commands: true when they were good ---- */

static bool ctrl_rx(VirtioNet *s, unsigned cmd, const uint8_t *data, size_t len)
{
    bool *const flags[] = { &s->promisc, &s->allmulti, &s->alluni, &s->nomulti, &s->nouni, &s->nobcast };
    bool offered = net_has(s, cmd <= RX_ALLMULTI ? NET_F_CTRL_RX : NET_F_CTRL_RX_EXTRA);
    if (cmd > RX_NOBCAST || len != 1 || !offered) {
        return false;
    }
    *flags[cmd] = data[0] != 0;
    return true;
}

/* A count and so many addresses; returns behind them, NULL: that is not what is there. */
static const uint8_t *read_table(const uint8_t *data, const uint8_t *end, uint32_t *n)
{
    uint32_t le;
    if (end - data < 4) {
        return NULL;
    }
    memcpy(&le, data, 4);
    *n = GUINT32_FROM_LE(le);
    return *n <= (size_t)(end - data - 4) / NET_MAC ? data + 4 + (size_t)*n * NET_MAC : NULL;
}

static bool ctrl_mac_table(VirtioNet *s, const uint8_t *data, size_t len)
{
    uint32_t uni, multi;
    const uint8_t *end = data + len, *second = read_table(data, end, &uni);
    if (!second || read_table(second, end, &multi) != end) {
        return false;
    }
    s->uni_overflow = uni > (uint32_t)NET_MACS;
    s->n_uni = s->uni_overflow ? 0 : (uint8_t)uni;
    s->multi_overflow = multi > (uint32_t)NET_MACS - s->n_uni;
    s->n_multi = s->multi_overflow ? 0 : (uint8_t)multi;
    memset(s->table, 0, sizeof(s->table));
    memcpy(s->table, data + 4, s->n_uni * (size_t)NET_MAC);
    memcpy(s->table + s->n_uni * NET_MAC, second + 4, s->n_multi * (size_t)NET_MAC);
    return true;
}

static bool ctrl_mac(VirtioNet *s, unsigned cmd, const uint8_t *data, size_t len)
{
    if (cmd == MAC_TABLE_SET && net_has(s, NET_F_CTRL_RX)) {
        return ctrl_mac_table(s, data, len);
    }
    if (cmd != MAC_ADDR_SET || len != NET_MAC || !net_has(s, NET_F_CTRL_MAC_ADDR)) {
        return false;
    }
    memcpy(s->addr, data, NET_MAC);
    net_port_set_info(&s->port, NULL, s->addr);
    return true;
}

static bool ctrl_vlan(VirtioNet *s, unsigned cmd, const uint8_t *data, size_t len)
{
    if (len != 2 || cmd > VLAN_DEL || !net_has(s, NET_F_CTRL_VLAN) || nic_le16(data) >= NET_VLANS) {
        return false;
    }
    unsigned vid = nic_le16(data);
    uint32_t bit = 1u << vid % 32;
    s->vlan[vid / 32] = cmd == VLAN_ADD ? s->vlan[vid / 32] | bit : s->vlan[vid / 32] & ~bit;
    return true;
}

static bool ctrl_mq(VirtioNet *s, unsigned cmd, const uint8_t *data, size_t len)
{
    bool ok = false;
    switch (cmd) {
    case MQ_PAIRS_SET: ok = len == 2 && net_has(s, NET_F_MQ) && net_steer_by_flow(s, nic_le16(data)); break;
    case MQ_RSS_CONFIG: ok = net_has(s, NET_F_RSS) && net_steer_by_hash(s, data, len); break;
    case MQ_HASH_CONFIG: ok = net_has(s, NET_F_HASH_REPORT) && net_steer_hashes(s, data, len); break;
    default: break;
    }
    if (ok) { /* queues may be in use now that have waited; a frame may go to another one */
        domain_post(&s->more);
        net_port_resume(&s->port);
    }
    return ok;
}

static bool ctrl_offloads(VirtioNet *s, unsigned cmd, const uint8_t *data, size_t len)
{
    uint64_t le;
    if (cmd != 0 || len != 8 || !net_has(s, NET_F_CTRL_GUEST_OFFLOADS)) {
        return false;
    }
    memcpy(&le, data, 8);
    uint64_t want = GUINT64_FROM_LE(le);
    if (want & ~net_offload_features(s)) {
        return false;
    }
    s->guest_offloads = want;
    net_apply_offloads(s);
    return true;
}

static bool ctrl_run(VirtioNet *s, unsigned class, unsigned cmd, const uint8_t *data, size_t len)
{
    bool ok;
    switch (class) {
    case CTRL_RX: ok = ctrl_rx(s, cmd, data, len); break;
    case CTRL_MAC: ok = ctrl_mac(s, cmd, data, len); break;
    case CTRL_VLAN: ok = ctrl_vlan(s, cmd, data, len); break;
    case CTRL_ANNOUNCE: /* the driver has spoken */
        ok = cmd == 0 && s->announcing && net_has(s, NET_F_GUEST_ANNOUNCE);
        s->announcing = ok ? 0 : s->announcing;
        return ok;
    case CTRL_MQ: return ctrl_mq(s, cmd, data, len);
    case CTRL_OFFLOADS: return ctrl_offloads(s, cmd, data, len);
    default: return false;
    }
    if (ok) {
        net_port_rx_filter_changed(&s->port);
    }
    return ok;
}

/* The longest that makes sense: two full tables. */
enum { CTRL_MAX = CTRL_HEADER + 8 + 2 * 4096 * NET_MAC };

/* False: the ring is broken. */
static bool ctrl_handle(VirtioNet *s, VirtElem *e)
{
    size_t len = e->out.bytes;
    if (len < CTRL_HEADER || e->in.bytes < 1) {
        virtio_error(&s->v, "a control command of %zu bytes with %zu for its answer", len, e->in.bytes);
        virtq_push(&s->v, e, 0);
        return false;
    }
    uint8_t ack = ACK_ERR;
    if (len <= CTRL_MAX) {
        g_autofree uint8_t *buf = g_malloc(len);
        iov_to_buf(&e->out, 0, buf, len);
        ack = ctrl_run(s, buf[0], buf[1], buf + CTRL_HEADER, len - CTRL_HEADER) ? ACK_OK : ACK_ERR;
    }
    iov_from_buf(&e->in, 0, &ack, 1);
    virtq_push(&s->v, e, 1);
    return true;
}

void net_ctrl_kick(VirtioNet *s, VirtQueue *q)
{
    VirtElem *e;
    unsigned taken = 0;
    do {
        while (taken++ < 4 * VIRTIO_QUEUE_MAX && (e = virtq_pop(&s->v, q)) != NULL) {
            if (!ctrl_handle(s, e)) {
                return;
            }
        }
    } while (virtq_rearm(&s->v, q) && taken < 4 * VIRTIO_QUEUE_MAX);
}

void net_ctrl_reset(VirtioNet *s)
{
    memcpy(s->addr, s->mac.b, NET_MAC);
    s->promisc = true; /* until the driver says what it wants (5.1.6.5.1) */
    s->allmulti = s->alluni = s->nomulti = s->nouni = s->nobcast = false;
    s->uni_overflow = s->multi_overflow = false;
    s->n_uni = s->n_multi = 0;
    memset(s->table, 0, sizeof(s->table));
    memset(s->vlan, 0, sizeof(s->vlan));
    s->announcing = 0;
    s->guest_offloads = 0;
    s->active = 1;
    s->steering = (NetSteering){ 0 };
}
