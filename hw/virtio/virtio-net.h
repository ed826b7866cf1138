/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-net.h - a virtio network card, as its files share it.
 */
#ifndef HW_VIRTIO_NET_H
#define HW_VIRTIO_NET_H

#include "rhea/hw/nicflow.h"
#include "rhea/net/net.h"
#include "rhea/hw/virtio.h"

/* 1.2, 5.1.3: feature bits */
#define NETF(n) (UINT64_C(1) << (n))
enum {
    NET_F_CSUM = 0,
    NET_F_GUEST_CSUM = 1,
    NET_F_CTRL_GUEST_OFFLOADS = 2,
    NET_F_MTU = 3,
    NET_F_MAC = 5,
    NET_F_GUEST_TSO4 = 7,
    NET_F_GUEST_TSO6 = 8,
    NET_F_GUEST_ECN = 9,
    NET_F_GUEST_UFO = 10,
    NET_F_HOST_TSO4 = 11,
    NET_F_HOST_TSO6 = 12,
    NET_F_HOST_ECN = 13,
    NET_F_HOST_UFO = 14,
    NET_F_MRG_RXBUF = 15,
    NET_F_STATUS = 16,
    NET_F_CTRL_VQ = 17,
    NET_F_CTRL_RX = 18,
    NET_F_CTRL_VLAN = 19,
    NET_F_CTRL_RX_EXTRA = 20,
    NET_F_GUEST_ANNOUNCE = 21,
    NET_F_MQ = 22,
    NET_F_CTRL_MAC_ADDR = 23,
    NET_F_GUEST_USO4 = 54, /* these three: virtio 1.3 */
    NET_F_GUEST_USO6 = 55,
    NET_F_HOST_USO = 56,
    NET_F_HASH_REPORT = 57,
    NET_F_RSS = 60,
    NET_F_SPEED_DUPLEX = 63,
};
enum { NET_S_LINK_UP = 1, NET_S_ANNOUNCE = 2 };
/* 5.1.2: queues come in pairs; the control queue is behind those that the driver may use. */
#define NET_RXQ(PAIR) (2 * (PAIR))
#define NET_TXQ(PAIR) (2 * (PAIR) + 1)
enum {
    NET_CLASS = 1,
    NET_PAIRS = (VIRTIO_QUEUES - 1) / 2,
    NET_MACS = 64,
    NET_VLANS = 4096,
    NET_HEADER_MAX = 20,
    NET_CONFIG = 24,
    NET_KEY = NIC_RSS_KEY,
    NET_TABLE = 128,
};
#define NET_HASH_TYPES 0x1ffu /* 5.1.6.4.3.1: all nine */

/* Where frames go to that come in, as the driver set it. */
typedef struct NetSteering {
    bool by_hash;   /* RSS: the hash chooses, not what the network knows of flows */
    uint32_t types; /* of hashes; 0: none is calculated */
    uint16_t mask, other, table[NET_TABLE]; /* by the hash's low bits; other: without a hash */
    uint8_t key[NET_KEY];
} NetSteering;
typedef struct NetHash {
    uint32_t value;
    uint16_t report; /* 5.1.6.4.4; 0: none was calculated */
} NetHash;

typedef struct VirtioNet {
    VirtioDevice v;
    NetPort port;
    NetMac mac; /* properties, from here */
    uint16_t rx_queue_size, tx_queue_size, host_mtu;
    int32_t speed;
    int duplex, tx;
    bool csum, guest_csum, host_tso4, host_tso6, host_ecn, guest_tso4, guest_tso6, guest_ecn, mrg_rxbuf,
        status, ctrl_vq, ctrl_rx, ctrl_rx_extra, ctrl_vlan, ctrl_mac, ctrl_offloads, announce, mq;
    bool gso, host_ufo, guest_ufo, host_uso, guest_uso4, guest_uso6, rss, hash, failover;
    DomainTask more;                 /* goes on sending */
    VirtElem *got[VIRTIO_QUEUE_MAX]; /* buffers of the frame that comes in */
    bool full;                       /* the network had no room */
    unsigned turn;                   /* the pair whose turn it is to send; may be one too many */
    unsigned pairs;                  /* that there are */
    unsigned lanes, header;          /* those that the driver may use; bytes in front of a frame */
    NetQueueInfo count[NET_PAIRS];
    /* the driver's */
    uint8_t addr[NET_MAC];
    bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
    bool uni_overflow, multi_overflow;
    uint8_t n_uni, n_multi;
    uint8_t table[NET_MACS * NET_MAC]; /* single addresses, then groups */
    uint32_t vlan[NET_VLANS / 32];
    uint8_t announcing;
    uint64_t guest_offloads; /* feature bits */
    uint16_t active;         /* pairs in use */
    uint16_t saved_pairs;    /* as `pairs`: a saved state fits a card with as many */
    NetSteering steering;
} VirtioNet;
#define net_of(V) ((VirtioNet *)(V))

static inline bool net_has(const VirtioNet *s, unsigned bit)
{
    return virtio_has(&s->v, NETF(bit));
}

/* virtio-net-queues.c */
bool net_receive(Device *dev, const NetFrame *f); /* NicOps */
void net_tx_kick(VirtioNet *s, unsigned pair);
void net_go_on(VirtioNet *s); /* with sending, where it stopped */

/* virtio-net-steer.c */
static inline bool net_steers(const VirtioNet *s) /* the pair is not always the first, or there are hashes */
{
    return s->active > 1 || s->steering.types || s->steering.by_hash;
}
unsigned net_steer(VirtioNet *s, const NetFrame *f, NetHash *hash); /* the pair */
/* Commands: the first `pairs`, by flow; the same with hashes for the driver; RSS. False: refused. */
bool net_steer_by_flow(VirtioNet *s, unsigned pairs);
bool net_steer_hashes(VirtioNet *s, const uint8_t *data, size_t len);
bool net_steer_by_hash(VirtioNet *s, const uint8_t *data, size_t len);
extern const VmState net_steering_state;
bool net_steering_good(const VirtioNet *s); /* after loading */

/* virtio-net-ctrl.c */
void net_ctrl_kick(VirtioNet *s, VirtQueue *q);
void net_ctrl_reset(VirtioNet *s);
bool net_filter(const VirtioNet *s, const uint8_t *frame, size_t len); /* is it for the driver? */
void net_describe_filter(const VirtioNet *s, RxFilterInfo *out);
uint64_t net_offload_features(const VirtioNet *s); /* of those chosen, the ones that can be switched */
void net_apply_offloads(VirtioNet *s);

#endif
