/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-net.c - a virtio network card: `-nic user`, `-device virtio-net-pci,netdev=ID`; on boards
 * with transports in memory virtio-net-device.
 *
 * Models: virtio 1.2, 5.1 (network device): checksum and segmentation left to the device, in both directions;
 * mergeable buffers (virtio-net-queues.c), several pairs of queues, RSS, hash reports (virtio-net-steer.c),
 * link status, MTU, speed and duplex, the control queue (virtio-net-ctrl.c). UDP segmentation is
 * virtio 1.3's. Does not model: standby cards. Threads: the device's domain; frames go to and from the main
 * loop by queues of the net layer.
 */
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"
#include "virtio-net.h"
#include "rhea/hw/virtio-types.h"

#include <inttypes.h>
#include <string.h>

enum { DUPLEX_UNKNOWN = 2 };

static void net_writable(Device *dev)
{
    net_go_on(net_of(dev_as(VirtioDevice, dev)));
}

static void net_more(void *dev)
{
    VirtioNet *s = net_of(dev_as(VirtioDevice, (Device *)dev));
    if (machine_running(s->v.dev.machine)) { /* else writable() comes when it does */
        net_go_on(s);
    }
}

/* ---- the device ---- */

static void net_kick(VirtioDevice *v, VirtQueue *q)
{
    VirtioNet *s = net_of(v);
    unsigned i = (unsigned)(q - v->q);
    if (i == NET_RXQ(s->lanes)) {
        net_ctrl_kick(s, q);
    } else if (i > NET_RXQ(s->lanes)) {
        guest_error(&v->dev, "virtio-net: queue %u notified, which the chosen features do not have", i);
    } else if (i % 2) {
        net_tx_kick(s, i / 2);
    } else {
        net_port_resume(&s->port);
    }
}

/* What follows from the features; 5.1.6: the header is without the number of buffers for a legacy driver that
 * takes one only. */
static void net_derive(VirtioNet *s)
{
    s->lanes = virtio_has(&s->v, NETF(NET_F_MQ) | NETF(NET_F_RSS)) ? s->pairs : 1;
    s->header = net_has(s, NET_F_HASH_REPORT)                                       ? NET_HEADER_MAX
                : virtio_has(&s->v, VIRTIO_F_VERSION_1 | NETF(NET_F_MRG_RXBUF)) ? 12
                                                                                : 10;
}

static void net_get_config(VirtioDevice *v, uint8_t *c)
{
    const VirtioNet *s = net_of(v);
    memcpy(c, s->addr, NET_MAC);
    nic_put_le(c + 6, 2,
               (net_port_link_up(&s->port) ? NET_S_LINK_UP : 0) | (s->announcing ? NET_S_ANNOUNCE : 0));
    nic_put_le(c + 8, 2, s->pairs);
    nic_put_le(c + 10, 2, s->host_mtu);
    nic_put_le(c + 12, 4, (uint32_t)s->speed);
    c[16] = s->duplex == DUPLEX_UNKNOWN ? 0xff : (uint8_t)s->duplex;
    bool hashes = s->v.features & (NETF(NET_F_RSS) | NETF(NET_F_HASH_REPORT));
    c[17] = hashes ? NET_KEY : 0;
    nic_put_le(c + 18, 2, hashes ? NET_TABLE : 0);
    nic_put_le(c + 20, 4, hashes ? NET_HASH_TYPES : 0);
}

static void net_config_written(VirtioDevice *v, unsigned off, unsigned len, uint32_t val)
{
    VirtioNet *s = net_of(v);
    if (v->legacy && off + len <= NET_MAC && !net_has(s, NET_F_CTRL_MAC_ADDR)) {
        nic_put_le(s->addr + off, len, val); /* 5.1.4.3: how legacy drivers set their address */
        net_port_set_info(&s->port, NULL, s->addr);
        return;
    }
    guest_error(&v->dev, "virtio-net: %u-byte write of configuration field 0x%x", len, off);
}

static void net_driver_reset(VirtioDevice *v)
{
    VirtioNet *s = net_of(v);
    s->full = false;
    s->turn = 0;
    net_derive(s);
    net_ctrl_reset(s);
    net_apply_offloads(s);
    if (s->port.nic) {
        net_port_set_info(&s->port, NULL, s->addr);
    }
}

static void net_started(VirtioDevice *v)
{
    VirtioNet *s = net_of(v);
    net_derive(s);
    s->guest_offloads = net_offload_features(s);
    net_apply_offloads(s);
}

static void net_config_changed(VirtioNet *s)
{
    VirtioDevice *v = &s->v;
    if (net_has(s, NET_F_STATUS) && (v->status & VIRTIO_DRIVER_OK)) {
        virtio_interrupt(v, v->config_vector, 2);
    }
}

static void net_link_changed(Device *dev, bool up)
{
    VirtioNet *s = net_of(dev_as(VirtioDevice, dev));
    net_config_changed(s);
    domain_post(&s->more); /* into an open end there is room */
}

static bool net_announce_self(Device *dev)
{
    VirtioNet *s = net_of(dev_as(VirtioDevice, dev));
    if (!net_has(s, NET_F_GUEST_ANNOUNCE) || !net_has(s, NET_F_CTRL_VQ) ||
        !(s->v.status & VIRTIO_DRIVER_OK)) {
        return false;
    }
    s->announcing = 1;
    net_config_changed(s);
    return true;
}

static void net_rx_filter(Device *dev, RxFilterInfo *out)
{
    net_describe_filter(net_of(dev_as(VirtioDevice, dev)), out);
}

static void net_queues(Device *dev, GArray *out)
{
    const VirtioNet *s = net_of(dev_as(VirtioDevice, dev));
    g_array_append_vals(out, s->count, s->pairs > 1 ? s->pairs : 0);
}

static const NicOps nic_ops = {
    .receive = net_receive,
    .writable = net_writable,
    .link_changed = net_link_changed,
    .rx_filter = net_rx_filter,
    .announce = net_announce_self,
    .queues = net_queues,
};

/* ---- life ---- */

static bool net_refuse(const VirtioNet *s, Error **errp)
{
    const struct {
        const char *what, *reason, *cure;
        bool is;
    } no[] = {
        { "failover=on", "there are no standby cards", "leave it out", s->failover },
        { "tx=timer", "frames go out at once", "use tx=bh, or leave it out", s->tx == 1 },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(no); i++) {
        if (no[i].is) {
            error_fail(errp, "not-supported", NULL, NULL, "%s: %s", no[i].what, no[i].reason);
            error_hint(errp, "%s", no[i].cure);
            return false;
        }
    }
    return true;
}

static bool net_check_size(const char *name, unsigned size, Error **errp)
{
    return !(size & (size - 1)) || error_fail(errp, "invalid-value", name, "256, 512 and 1024 are possible",
                                              "%s %u is not a power of two", name, size);
}

static bool net_check(const VirtioNet *s, Error **errp)
{
    if (!net_refuse(s, errp)) {
        return false;
    }
    if (!net_check_size("rx_queue_size", s->rx_queue_size, errp) ||
        !net_check_size("tx_queue_size", s->tx_queue_size, errp)) {
        return false;
    }
    if (s->host_mtu && s->host_mtu < 68) { /* 5.1.4.1 */
        return error_fail(errp, "out-of-range", "host_mtu", "leave it out",
                          "host_mtu %u: 68 to 65535 are possible, and 0 for none", s->host_mtu);
    }
    return true;
}

static uint64_t net_features(const VirtioNet *s)
{
    const struct {
        bool on;
        unsigned bit;
    } f[] = {
        { true, NET_F_MAC },
        { s->csum, NET_F_CSUM },
        { s->csum && s->gso && s->host_tso4, NET_F_HOST_TSO4 }, /* 5.1.3.1: what depends on what */
        { s->csum && s->gso && s->host_tso6, NET_F_HOST_TSO6 },
        { s->csum && s->gso && s->host_ecn && (s->host_tso4 || s->host_tso6), NET_F_HOST_ECN },
        { s->csum && s->gso && s->host_ufo, NET_F_HOST_UFO },
        { s->csum && s->host_uso, NET_F_HOST_USO },
        { s->guest_csum, NET_F_GUEST_CSUM },
        { s->guest_csum && s->guest_tso4, NET_F_GUEST_TSO4 },
        { s->guest_csum && s->guest_tso6, NET_F_GUEST_TSO6 },
        { s->guest_csum && s->guest_ecn && (s->guest_tso4 || s->guest_tso6), NET_F_GUEST_ECN },
        { s->guest_csum && s->guest_ufo, NET_F_GUEST_UFO },
        { s->guest_csum && s->guest_uso4, NET_F_GUEST_USO4 },
        { s->guest_csum && s->guest_uso6, NET_F_GUEST_USO6 },
        { s->mrg_rxbuf, NET_F_MRG_RXBUF },
        { s->status, NET_F_STATUS },
        { s->host_mtu != 0, NET_F_MTU },
        { s->speed >= 0 || s->duplex != DUPLEX_UNKNOWN, NET_F_SPEED_DUPLEX },
        { s->ctrl_vq, NET_F_CTRL_VQ },
        { s->ctrl_vq && s->ctrl_rx, NET_F_CTRL_RX },
        { s->ctrl_vq && s->ctrl_rx && s->ctrl_rx_extra, NET_F_CTRL_RX_EXTRA },
        { s->ctrl_vq && s->ctrl_vlan, NET_F_CTRL_VLAN },
        { s->ctrl_vq && s->ctrl_mac, NET_F_CTRL_MAC_ADDR },
        { s->ctrl_vq && s->ctrl_offloads, NET_F_CTRL_GUEST_OFFLOADS },
        { s->ctrl_vq && s->status && s->announce, NET_F_GUEST_ANNOUNCE },
        { s->ctrl_vq && s->mq, NET_F_MQ },
        { s->ctrl_vq && s->rss, NET_F_RSS },
        { s->ctrl_vq && s->hash, NET_F_HASH_REPORT },
    };
    uint64_t all = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(f); i++) {
        all |= f[i].on ? NETF(f[i].bit) : 0;
    }
    return all;
}

static const PciOps net_pci_ops[VIRTIO_PCI_VARIANTS] =
    VIRTIO_PCI_ROM_OPS(NET_CLASS, 0x1000, 0x020000, "efi-virtio.rom");

static const VirtioClass net_class = {
    .id = NET_CLASS,
    .pci = net_pci_ops,
    .boot_path = "/ethernet-phy@0",
    .kick = net_kick,
    .get_config = net_get_config,
    .config_written = net_config_written,
    .reset = net_driver_reset,
    .started = net_started,
    .config_size = NET_CONFIG,
    .elem_size = sizeof(VirtElem),
};

/* 5.1.4: as many pairs as the back end has queues, if the driver can be told of them. */
static bool net_count_pairs(VirtioNet *s, Error **errp)
{
    unsigned n = net_port_queues(&s->port);
    s->pairs = s->saved_pairs = s->ctrl_vq && (s->mq || s->rss) ? (uint16_t)n : 1;
    if (s->pairs <= NET_PAIRS) {
        return true;
    }
    error_fail(errp, "too-many", "netdev", NULL, "the back end has %u queues: a card has up to %d pairs", n,
               NET_PAIRS);
    error_hint(errp, "give it fewer, or leave mq= and rss= out");
    return false;
}

static bool net_realize(Device *dev, Error **errp)
{
    VirtioNet *s = net_of(dev_as(VirtioDevice, dev));
    if (!net_check(s, errp) || !net_count_pairs(s, errp)) {
        return false;
    }
    device_add_task(dev, &s->more, net_more);
    s->v.features = net_features(s);
    for (unsigned i = 0; i < s->pairs; i++) { /* the others have the receive queues' */
        s->v.pool[NET_TXQ(i)].size = s->tx_queue_size;
    }
    return net_port_open(&s->port, dev, &nic_ops, &s->mac, errp) &&
           virtio_start(&s->v, &net_class, 2 * s->pairs + s->ctrl_vq, s->rx_queue_size, errp);
}

static bool net_post_load(void *opaque, Error **errp)
{
    VirtioNet *s = opaque;
    if (!virtio_post_load(&s->v, errp)) {
        return false;
    }
    if (s->n_uni + s->n_multi > NET_MACS || (s->guest_offloads & ~net_offload_features(s))) {
        return error_set(errp, "saved virtio-net: %u and %u addresses, offloads 0x%" PRIx64, s->n_uni,
                         s->n_multi, s->guest_offloads);
    }
    net_derive(s);
    if (s->saved_pairs != s->pairs || !net_steering_good(s)) {
        unsigned was = s->saved_pairs;
        s->saved_pairs = (uint16_t)s->pairs;
        return error_set(errp, "saved virtio-net: %u of %u pairs of queues, this card has %u", s->active, was,
                         s->pairs);
    }
    s->full = false;
    net_apply_offloads(s);
    net_port_set_info(&s->port, NULL, s->addr);
    if (s->v.status & VIRTIO_DRIVER_OK) { /* a legacy driver that is not there yet has announced nothing */
        domain_post(&s->more);
    }
    return true;
}

/* Both types'. */
#define NET_SINCE_5(FIELD)                                                                                   \
    { .name = #FIELD, .kind = VM_U16_, .max = NET_PAIRS, .since = 5,                                         \
      .offset = TYPED_OFFSET(VirtioNet, FIELD, uint16_t) }
#define NET_FIELDS                                                                                           \
    VM_U8_ARRAY(VirtioNet, addr), VM_BOOL(VirtioNet, promisc), VM_BOOL(VirtioNet, allmulti),                 \
        VM_BOOL(VirtioNet, alluni), VM_BOOL(VirtioNet, nomulti), VM_BOOL(VirtioNet, nouni),                  \
        VM_BOOL(VirtioNet, nobcast), VM_BOOL(VirtioNet, uni_overflow), VM_BOOL(VirtioNet, multi_overflow),   \
        VM_U8_MAX(VirtioNet, n_uni, NET_MACS), VM_U8_MAX(VirtioNet, n_multi, NET_MACS),                      \
        VM_U8_ARRAY(VirtioNet, table), VM_U32_ARRAY(VirtioNet, vlan), VM_U8_MAX(VirtioNet, announcing, 1),   \
        VM_U64(VirtioNet, guest_offloads), NET_SINCE_5(active), NET_SINCE_5(saved_pairs),                    \
        { .name = "steering", .kind = VM_STRUCT_, .since = 5, .sub = &net_steering_state,                    \
          .offset = offsetof(VirtioNet, steering) }

/* Versions 2 and, behind PCI, 4 never were. */
VIRTIO_STATES(net, VirtioNet, "virtio-net", 5, 1, 5, 1, NET_FIELDS, .post_load = net_post_load);

static const char *const duplex_names[] = { "half", "full", "unknown", NULL };
static const char *const tx_names[] = { "bh", "timer", NULL };

#define NET_PROPS                                                                                            \
    PROP_NETDEV(VirtioNet, port, "netdev", "The back end: id of a -netdev"),                                 \
    PROP_MAC(VirtioNet, mac, "mac", "The card's address; default: the next of 52:54:00:12:34:56"),           \
    PROP_U16(VirtioNet, rx_queue_size, "rx_queue_size", 256, 256, VIRTIO_QUEUE_MAX,                          \
             "Entries of a receive queue, a power of two"),                                                  \
    PROP_U16(VirtioNet, tx_queue_size, "tx_queue_size", 256, 256, VIRTIO_QUEUE_MAX,                          \
             "Entries of a transmit queue, a power of two, with each back end"),                             \
    PROP_U16(VirtioNet, host_mtu, "host_mtu", 0, 0, UINT16_MAX, "MTU that the driver is told; 0: none"),     \
    PROP_I32(VirtioNet, speed, "speed", -1, -1, INT32_MAX,                                                   \
             "Mbit/s that the driver is told; -1: unknown"),                                                 \
    PROP_ENUM(VirtioNet, duplex, "duplex", DUPLEX_UNKNOWN, duplex_names, "What the driver is told"),         \
    PROP_ENUM(VirtioNet, tx, "tx", 0, tx_names, "When frames go out: bh, at once"),                          \
    PROP_BOOL(VirtioNet, csum, "csum", true, "The driver may leave checksums to the device"),                \
    PROP_BOOL(VirtioNet, guest_csum, "guest_csum", true, "The driver takes frames without checksums"),       \
    PROP_BOOL(VirtioNet, host_tso4, "host_tso4", true, "The device cuts TCP over IPv4 into segments"),       \
    PROP_BOOL(VirtioNet, host_tso6, "host_tso6", true, "The device cuts TCP over IPv6 into segments"),       \
    PROP_BOOL(VirtioNet, host_ecn, "host_ecn", true, "Also with ECN"),                                       \
    PROP_BOOL(VirtioNet, guest_tso4, "guest_tso4", true, "The driver takes uncut TCP over IPv4"),            \
    PROP_BOOL(VirtioNet, guest_tso6, "guest_tso6", true, "The driver takes uncut TCP over IPv6"),            \
    PROP_BOOL(VirtioNet, guest_ecn, "guest_ecn", true, "Also with ECN"),                                     \
    PROP_BOOL(VirtioNet, host_ufo, "host_ufo", true, "The device cuts UDP into fragments of IP"),            \
    PROP_BOOL(VirtioNet, guest_ufo, "guest_ufo", true, "The driver takes uncut UDP"),                        \
    PROP_BOOL(VirtioNet, host_uso, "host_uso", false, "The device cuts UDP into datagrams"),                 \
    PROP_BOOL(VirtioNet, guest_uso4, "guest_uso4", false, "The driver takes joined UDP over IPv4"),          \
    PROP_BOOL(VirtioNet, guest_uso6, "guest_uso6", false, "and over IPv6: both, or neither is given"),       \
    PROP_BOOL(VirtioNet, mrg_rxbuf, "mrg_rxbuf", true, "A frame may take several receive buffers"),          \
    PROP_BOOL(VirtioNet, status, "status", true, "The driver is told of the link"),                          \
    PROP_BOOL(VirtioNet, ctrl_vq, "ctrl_vq", true, "There is a control queue"),                              \
    PROP_BOOL(VirtioNet, ctrl_rx, "ctrl_rx", true, "It sets receive modes"),                                 \
    PROP_BOOL(VirtioNet, ctrl_rx_extra, "ctrl_rx_extra", true, "It sets further ones"),                      \
    PROP_BOOL(VirtioNet, ctrl_vlan, "ctrl_vlan", true, "It filters VLANs"),                                  \
    PROP_BOOL(VirtioNet, ctrl_mac, "ctrl_mac_addr", true, "It sets the card's address"),                     \
    PROP_BOOL(VirtioNet, ctrl_offloads, "ctrl_guest_offloads", true,                                         \
             "It switches guest_csum and so on"),                                                            \
    PROP_BOOL(VirtioNet, announce, "guest_announce", true,                                                   \
             "The driver can be asked to announce itself"),                                                  \
    PROP_BOOL(VirtioNet, mq, "mq", false,                                                                    \
             "As many pairs of queues as the back end has"),                                                 \
    PROP_BOOL(VirtioNet, rss, "rss", false, "The driver may spread frames over queues by hash"),             \
    PROP_BOOL(VirtioNet, hash, "hash", false, "The driver is told the hash of each frame"),                  \
    PROP_BOOL(VirtioNet, failover, "failover", false, "Stand in for another card: off"),                     \
    PROP_BOOL(VirtioNet, gso, "gso", true, "off: so are host_tso4, host_tso6, host_ufo"),                    \
    PROP_ONLY_BOOL("guest_rsc_ext", false, "the device joins no segments", "leave it out"),                  \
    PROP_ONLY_UINT("rsc_interval", 300000, "the device joins no segments", "leave it out"),                  \
    PROP_ONLY_UINT("x-txtimer", 150000, "frames go out at once", "leave it out"),                            \
    PROP_ONLY_UINT("x-txburst", 256, "how much goes out in a turn is fixed", "leave it out"),                \
    PROP_ONLY_BOOL("x-mtu-bypass-backend", true, "a switch for QEMU's older machine types", "leave it out")

VIRTIO_PROPS(net, VirtioNet, NET_PROPS);

VIRTIO_TYPES(virtio_net, net, VirtioNet, "virtio-net", "Virtio network card", net_pci_props, net_mmio_props,
             .category = "Network", .realize = net_realize);
