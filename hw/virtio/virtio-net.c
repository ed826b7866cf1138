/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-net.c - a virtio network card: `-nic user`, `-device virtio-net-pci,netdev=ID`; on boards
 * with transports in memory virtio-net-device.
 *
 * Models: virtio 1.2, 5.1 (network device): checksum and segmentation left to the device, in both directions;
 * mergeable buffers, link status, MTU, speed and duplex, the control queue (virtio-net-ctrl.c). Does not
 * model: more than one pair of queues, RSS, hash reports, UDP segmentation, standby cards. Threads: the
 * device's domain; frames go to and from the main loop by queues of the net layer.
 */
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"
#include "virtio-net.h"
#include "virtio-types.h"

#include <inttypes.h>
#include <string.h>

enum { /* 5.1.6: the header in front of each frame */
       HDR_NEEDS_CSUM = 1,
       HDR_DATA_VALID = 2,
       HDR_GSO_TCPV4 = 1,
       HDR_GSO_TCPV6 = 4,
       HDR_GSO_ECN = 0x80,
};
enum { TX_TURN = 256, DUPLEX_UNKNOWN = 2 };

static void put(uint8_t *p, unsigned n, uint64_t v)
{
    for (unsigned i = 0; i < n; i++) {
        p[i] = v >> (8 * i);
    }
}

static uint16_t le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static bool has(const VirtioNet *s, unsigned bit)
{
    return virtio_has(&s->v, NETF(bit));
}

/* 5.1.6: without the number of buffers for a legacy driver that takes one only. */
static size_t net_header(const VirtioNet *s)
{
    return virtio_has(&s->v, VIRTIO_F_VERSION_1 | NETF(NET_F_MRG_RXBUF)) ? NET_HEADER : NET_HEADER - 2;
}

/* ---- out ---- */

/* 5.1.6.2. False: it asks for what was not agreed on. */
static bool net_read_header(const VirtioNet *s, const uint8_t *h, NetHdr *out)
{
    unsigned type = h[1] & ~HDR_GSO_ECN;
    *out = (NetHdr){ .needs_csum = h[0] & HDR_NEEDS_CSUM,
                     .csum_start = le16(h + 6),
                     .csum_offset = le16(h + 8) };
    if (out->needs_csum && !has(s, NET_F_CSUM)) {
        return false;
    }
    if (type == 0) {
        return h[1] == 0;
    }
    out->gso = type == HDR_GSO_TCPV4 ? NET_GSO_TCP4 : NET_GSO_TCP6;
    out->ecn = (h[1] & HDR_GSO_ECN) != 0;
    out->hdr_len = le16(h + 2);
    out->gso_size = le16(h + 4);
    return (type == HDR_GSO_TCPV4   ? has(s, NET_F_HOST_TSO4)
            : type == HDR_GSO_TCPV6 ? has(s, NET_F_HOST_TSO6)
                                    : false) &&
           (!out->ecn || has(s, NET_F_HOST_ECN));
}

typedef enum Sent { SENT, SENT_FULL, SENT_BROKEN } Sent;

static Sent net_send(VirtioNet *s, VirtElem *e)
{
    VirtioDevice *v = &s->v;
    uint8_t h[NET_HEADER] = { 0 };
    NetHdr hdr;
    size_t header = net_header(s);
    if (e->out.bytes < header) {
        virtio_error(v, "a frame of %zu bytes, its header included", e->out.bytes);
        virtq_push(v, e, 0);
        return SENT_BROKEN;
    }
    iov_to_buf(&e->out, 0, h, header);
    if (!net_read_header(s, h, &hdr)) {
        guest_error(&v->dev, "virtio-net: a frame with flags 0x%x, segmentation %u: not negotiated", h[0],
                    h[1]);
    } else if (!net_port_send(&s->port, &hdr, &e->out, header)) {
        virtq_unpop(v, e);
        return SENT_FULL;
    }
    virtq_push(v, e, 0);
    return SENT;
}

static void net_tx(VirtioNet *s)
{
    VirtioDevice *v = &s->v;
    VirtQueue *q = &v->q[NET_TXQ];
    VirtElem *e;
    unsigned taken = 0;
    s->full = false;
    do {
        while ((e = virtq_pop(v, q)) != NULL) {
            Sent r = net_send(s, e);
            s->full = r == SENT_FULL;
            if (r != SENT) {
                return; /* net_writable() goes on, unless it is broken */
            }
            if (++taken == TX_TURN) { /* others want the domain too */
                domain_post(&s->more);
                return;
            }
        }
    } while (virtq_rearm(v, q));
}

static void net_go_on(void *opaque)
{
    VirtioNet *s = opaque;
    if (virtio_queue_live(&s->v, &s->v.q[NET_TXQ])) {
        net_tx(s);
    }
}

static void net_writable(Device *dev)
{
    net_go_on(net_of(dev_as(VirtioDevice, dev)));
}

/* ---- in ---- */

static void net_write_header(const VirtioNet *s, const NetHdr *f, unsigned buffers, uint8_t *h)
{
    memset(h, 0, NET_HEADER);
    if (f->needs_csum) {
        h[0] = HDR_NEEDS_CSUM;
        put(h + 6, 2, f->csum_start);
        put(h + 8, 2, f->csum_offset);
    } else if (f->csum_valid && (s->guest_offloads & NETF(NET_F_GUEST_CSUM))) {
        h[0] = HDR_DATA_VALID;
    }
    if (f->gso) {
        h[1] = (f->gso == NET_GSO_TCP4 ? HDR_GSO_TCPV4 : HDR_GSO_TCPV6) | (f->ecn ? HDR_GSO_ECN : 0);
        put(h + 2, 2, f->hdr_len);
        put(h + 4, 2, f->gso_size);
    }
    put(h + 10, 2, buffers);
}

/* The driver may just have switched it off. */
static bool net_agreed(const VirtioNet *s, const NetHdr *h)
{
    uint64_t o = s->guest_offloads;
    return (!h->needs_csum || (o & NETF(NET_F_GUEST_CSUM))) &&
           (!h->gso || (o & NETF(h->gso == NET_GSO_TCP4 ? NET_F_GUEST_TSO4 : NET_F_GUEST_TSO6))) &&
           (!h->gso || !h->ecn || (o & NETF(NET_F_GUEST_ECN)));
}

static VirtElem *net_pop_in(VirtioDevice *v, VirtQueue *q)
{
    VirtElem *e = virtq_pop(v, q);
    return e || !virtq_rearm(v, q) ? e : virtq_pop(v, q);
}

/* Buffers for so many bytes: how many; 0: there are not enough, *wait: but may be later. */
static unsigned net_collect(VirtioNet *s, VirtQueue *q, size_t total, bool *wait)
{
    VirtioDevice *v = &s->v;
    size_t room = 0;
    unsigned n = 0;
    bool whole = !has(s, NET_F_MRG_RXBUF), bad = false;
    while (room < total && !bad) {
        VirtElem *e = n < q->size ? net_pop_in(v, q) : NULL;
        if (!e) {
            break;
        }
        s->got[n++] = e;
        room += e->in.bytes;
        bad = e->in.bytes < net_header(s) || (whole && room < total);
    }
    if (room >= total && !bad) {
        return n;
    }
    *wait = !bad && n < q->size && virtio_queue_live(v, q);
    if (bad && s->got[n - 1]->in.bytes < net_header(s)) {
        virtio_error(v, "a buffer of %zu bytes for frames", s->got[n - 1]->in.bytes);
    }
    while (n) {
        virtq_unpop(v, s->got[--n]);
    }
    return 0;
}

/* Copies what lies at `done` of header and frame; false: the queue is gone. */
static bool net_fill(VirtioNet *s, const NetFrame *f, const uint8_t *header, unsigned i, size_t *done)
{
    VirtElem *e = s->got[i];
    size_t before = net_header(s), total = before + f->len, n = MIN(e->in.bytes, total - *done), at = 0;
    if (i == 0) {
        iov_from_buf(&e->in, 0, header, before);
        at = before;
    }
    iov_from_buf(&e->in, at, f->data + *done + at - before, n - at);
    *done += n;
    return virtq_fill(&s->v, e, (uint32_t)n, i);
}

static bool net_receive(Device *dev, const NetFrame *f)
{
    VirtioNet *s = net_of(dev_as(VirtioDevice, dev));
    VirtQueue *q = &s->v.q[NET_RXQ];
    uint8_t header[NET_HEADER];
    bool wait = false, alive = true;
    if (!virtio_queue_live(&s->v, q) || !net_filter(s, f->data, f->len) || !net_agreed(s, &f->hdr)) {
        return true;
    }
    unsigned n = net_collect(s, q, net_header(s) + f->len, &wait);
    if (!n) {
        return !wait;
    }
    size_t done = 0;
    net_write_header(s, &f->hdr, n, header);
    for (unsigned i = 0; i < n; i++) {
        alive &= net_fill(s, f, header, i, &done);
    }
    if (alive) { /* 5.1.6.4.2: all of them become visible together */
        virtq_flush(&s->v, q, n);
    }
    virtio_reset_continue(&s->v);
    return true;
}

/* ---- the device ---- */

static void net_kick(VirtioDevice *v, VirtQueue *q)
{
    VirtioNet *s = net_of(v);
    switch (q - v->q) {
    case NET_RXQ: net_port_resume(&s->port); break;
    case NET_TXQ:
        if (!s->full) {
            net_tx(s);
        }
        break;
    default: net_ctrl_kick(s, q); break;
    }
}

static void net_get_config(VirtioDevice *v, uint8_t *c)
{
    const VirtioNet *s = net_of(v);
    memcpy(c, s->addr, NET_MAC);
    put(c + 6, 2, (net_port_link_up(&s->port) ? NET_S_LINK_UP : 0) | (s->announcing ? NET_S_ANNOUNCE : 0));
    put(c + 8, 2, 1);
    put(c + 10, 2, s->host_mtu);
    put(c + 12, 4, (uint32_t)s->speed);
    c[16] = s->duplex == DUPLEX_UNKNOWN ? 0xff : (uint8_t)s->duplex;
}

static void net_config_written(VirtioDevice *v, unsigned off, unsigned len, uint32_t val)
{
    VirtioNet *s = net_of(v);
    if (v->legacy && off + len <= NET_MAC && !has(s, NET_F_CTRL_MAC_ADDR)) {
        put(s->addr + off, len, val); /* 5.1.4.3: how legacy drivers set their address */
        net_port_set_info(&s->port, NULL, s->addr);
        return;
    }
    guest_error(&v->dev, "virtio-net: %u-byte write of configuration field 0x%x", len, off);
}

static void net_driver_reset(VirtioDevice *v)
{
    VirtioNet *s = net_of(v);
    s->full = false;
    net_ctrl_reset(s);
    net_apply_offloads(s);
    if (s->port.nic) {
        net_port_set_info(&s->port, NULL, s->addr);
    }
}

static void net_started(VirtioDevice *v)
{
    VirtioNet *s = net_of(v);
    s->guest_offloads = net_offload_features(s);
    net_apply_offloads(s);
}

static void net_config_changed(VirtioNet *s)
{
    VirtioDevice *v = &s->v;
    if (has(s, NET_F_STATUS) && (v->status & VIRTIO_DRIVER_OK)) {
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
    if (!has(s, NET_F_GUEST_ANNOUNCE) || !has(s, NET_F_CTRL_VQ) || !(s->v.status & VIRTIO_DRIVER_OK)) {
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

static const NicOps nic_ops = {
    .receive = net_receive,
    .writable = net_writable,
    .link_changed = net_link_changed,
    .rx_filter = net_rx_filter,
    .announce = net_announce_self,
};

/* ---- life ---- */

static bool net_refuse(const VirtioNet *s, Error **errp)
{
    const struct {
        const char *what, *reason, *cure;
        bool is;
    } no[] = {
        { "host_ufo=on", "drivers do not leave UDP segmentation to the device", "leave it out", s->host_ufo },
        { "guest_ufo=on", "the device hands over no unsegmented UDP", "leave it out", s->guest_ufo },
        { "rss=on", "there is one receive queue", "leave it out", s->rss },
        { "hash=on", "the device reports no hashes", "leave it out", s->hash },
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
        { s->guest_csum, NET_F_GUEST_CSUM },
        { s->guest_csum && s->guest_tso4, NET_F_GUEST_TSO4 },
        { s->guest_csum && s->guest_tso6, NET_F_GUEST_TSO6 },
        { s->guest_csum && s->guest_ecn && (s->guest_tso4 || s->guest_tso6), NET_F_GUEST_ECN },
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

static void net_stop_more(void *opaque)
{
    VirtioNet *s = opaque;
    loop_unpost(domain_loop(s->v.dev.domain), &s->more.task);
}

static bool net_realize(Device *dev, Error **errp)
{
    VirtioNet *s = net_of(dev_as(VirtioDevice, dev));
    if (!net_check(s, errp)) {
        return false;
    }
    domain_task_init(&s->more, dev->domain, net_go_on, s);
    device_add_cleanup(dev, net_stop_more, s);
    s->v.features = net_features(s);
    s->v.pool[NET_TXQ].size = s->tx_queue_size; /* the others have the receive queue's */
    return net_port_open(&s->port, dev, &nic_ops, &s->mac, errp) &&
           virtio_start(&s->v, &net_class, s->ctrl_vq ? NET_QUEUES : NET_CTRLQ, s->rx_queue_size, errp);
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
    s->full = false;
    net_apply_offloads(s);
    net_port_set_info(&s->port, NULL, s->addr);
    if (s->v.status & VIRTIO_DRIVER_OK) { /* a legacy driver that is not there yet has announced nothing */
        domain_post(&s->more);
    }
    return true;
}

/* Both types'. */
#define NET_FIELDS                                                                                           \
    VM_U8_ARRAY(VirtioNet, addr), VM_BOOL(VirtioNet, promisc), VM_BOOL(VirtioNet, allmulti),                 \
        VM_BOOL(VirtioNet, alluni), VM_BOOL(VirtioNet, nomulti), VM_BOOL(VirtioNet, nouni),                  \
        VM_BOOL(VirtioNet, nobcast), VM_BOOL(VirtioNet, uni_overflow), VM_BOOL(VirtioNet, multi_overflow),   \
        VM_U8_MAX(VirtioNet, n_uni, NET_MACS), VM_U8_MAX(VirtioNet, n_multi, NET_MACS),                      \
        VM_U8_ARRAY(VirtioNet, table), VM_U32_ARRAY(VirtioNet, vlan), VM_U8_MAX(VirtioNet, announcing, 1),   \
        VM_U64(VirtioNet, guest_offloads)

/* Version 2 never was. */
VIRTIO_STATES(net, VirtioNet, "virtio-net", 3, 1, 4, 1, NET_FIELDS, .post_load = net_post_load);

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
    PROP_BOOL(VirtioNet, host_ufo, "host_ufo", false, "UDP fragmentation by the device: off"),               \
    PROP_BOOL(VirtioNet, guest_ufo, "guest_ufo", false, "Unfragmented UDP for the driver: off"),             \
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
             "Say that there may be several pairs of queues (there is one)"),                                \
    PROP_BOOL(VirtioNet, rss, "rss", false, "Spread over receive queues by hash: off"),                      \
    PROP_BOOL(VirtioNet, hash, "hash", false, "Report hashes: off"),                                         \
    PROP_BOOL(VirtioNet, failover, "failover", false, "Stand in for another card: off"),                     \
    PROP_BOOL(VirtioNet, gso, "gso", true, "off: host_tso4 and host_tso6 are off, too"),                     \
    PROP_ONLY_BOOL("guest_rsc_ext", false, "the device joins no segments", "leave it out"),                  \
    PROP_ONLY_UINT("rsc_interval", 300000, "the device joins no segments", "leave it out"),                  \
    PROP_ONLY_UINT("x-txtimer", 150000, "frames go out at once", "leave it out"),                            \
    PROP_ONLY_UINT("x-txburst", 256, "how much goes out in a turn is fixed", "leave it out"),                \
    PROP_ONLY_BOOL("x-mtu-bypass-backend", true, "a switch for QEMU's older machine types", "leave it out")

VIRTIO_PROPS(net, VirtioNet, NET_PROPS);

VIRTIO_TYPES(virtio_net, net, VirtioNet, "virtio-net", "Virtio network card", net_pci_props, net_mmio_props,
             .category = "Network", .realize = net_realize);
