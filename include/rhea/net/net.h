/* SPDX-License-Identifier: MIT
 * rhea/net/net.h - networks: back ends, cards, hubs; frames travel between two clients that are peers.
 *
 * Clients live on the main loop and run there without a domain. A card is one of them: its device calls
 * net_port_*() in its domain, and is called with that domain held. Between the two lies a queue of bounded
 * size, made with the client, so that no frame costs an allocation and a slow end stops the other one.
 */
#ifndef RHEA_NET_NET_H
#define RHEA_NET_NET_H

#include "rhea/system/device.h"
#include "rhea/util/iov.h"
#include "schema/net.h"
#include "schema/qmp-net.h"

enum { NET_MAC = 6, NET_ETH = 14, NET_FRAME_MAX = 65536 + 64 }; /* a frame that is to be cut may be as long */

/* What a client takes that is not finished; the core finishes it for others. */
enum {
    NET_CAN_CSUM = 1, NET_CAN_TSO4 = 2, NET_CAN_TSO6 = 4, NET_CAN_ECN = 8,
    NET_CAN_UFO = 16, NET_CAN_USO = 32, /* NET_GSO_UDP, NET_GSO_UDP_L4 */
};
typedef enum NetGso {
    NET_GSO_NONE,
    NET_GSO_TCP4,
    NET_GSO_TCP6,
    NET_GSO_UDP,    /* one datagram, to be cut into fragments of IP */
    NET_GSO_UDP_L4, /* to be cut into datagrams */
} NetGso;
uint8_t net_gso_to_virtio(NetGso gso);        /* the header's gso_type; any thread, like the other one */
NetGso net_gso_from_virtio(unsigned type);    /* without the ECN bit; NET_GSO_NONE: there is no such */

/* What is left to do with a frame. */
typedef struct NetHdr {
    bool needs_csum;  /* sum from csum_start on, to be put csum_offset behind that */
    bool csum_valid;  /* checksums were checked: they are right */
    uint8_t gso, ecn; /* NetGso: to be cut into segments of gso_size bytes; ecn: with CWR */
    uint16_t gso_size, hdr_len, csum_start, csum_offset;
    uint16_t queue; /* of several that the sender has: from 1; 0: it has one, or does not know */
} NetHdr;
typedef struct NetFrame {
    NetHdr hdr;
    const uint8_t *data;
    size_t len;
} NetFrame;

typedef struct NetClient NetClient;
typedef struct MachineNet MachineNet;

typedef struct NetCounters {
    uint64_t frames, bytes, dropped; /* of what came to it */
} NetCounters;

/* ---- the device's side ---- */

/* Called in the device's domain. */
typedef struct NicOps {
    /* False: no room; it calls net_port_resume() when there is. */
    bool (*receive)(Device *dev, const NetFrame *f);
    void (*writable)(Device *dev);                   /* after net_port_send() had no room */
    void (*link_changed)(Device *dev, bool up);      /* may be NULL, like what follows */
    void (*rx_filter)(Device *dev, RxFilterInfo *out);
    bool (*announce)(Device *dev); /* the driver is asked to; false: it cannot */
    void (*queues)(Device *dev, GArray *out); /* of cards with several: NetQueueInfo of each pair */
} NicOps;

typedef struct NetMac {
    uint8_t b[NET_MAC];
    bool set;
} NetMac;

typedef struct NetPort { /* zero: nothing bound */
    NetClient *backend;  /* bound; until it goes away */
    NetClient *nic;      /* from net_port_open() on */
    Device *dev;
} NetPort;
#define PROP_NETDEV(T, f, n, text) \
    { .name = (n), .doc = (text), .kind = PROP_NETDEV_, .offset = TYPED_OFFSET(T, f, NetPort) }
#define PROP_MAC(T, f, n, text) \
    { .name = (n), .doc = (text), .kind = PROP_MAC_, .offset = TYPED_OFFSET(T, f, NetMac) }

/* In the device's realize, undone with it. An address that is not given is the next free one. */
bool net_port_open(NetPort *p, Device *dev, const NicOps *ops, NetMac *mac, Error **errp) MAIN_LOOP;
/* How many pairs of queues the back end has, whether it is open or not: 1 without one. Main loop. */
unsigned net_port_queues(const NetPort *p) MAIN_LOOP;
/* From here: the device's domain. Sends what lies `skip` bytes behind the beginning of v, in all at most
 * NET_FRAME_MAX. False: no room, writable() is called when there is. What cannot be a frame is dropped. */
bool net_port_send(NetPort *p, const NetHdr *hdr, const IoVec *v, size_t skip);
void net_port_resume(NetPort *p);                /* receive() would take frames again */
void net_port_set_offloads(NetPort *p, unsigned can); /* NET_CAN_* */
bool net_port_link_up(const NetPort *p);         /* its own cable, and that of the other end */
void net_port_rx_filter_changed(NetPort *p);     /* the event NIC_RX_FILTER_CHANGED */
void net_port_set_info(NetPort *p, const char *model, const uint8_t *mac); /* for `info network` */
uint16_t net_checksum(const uint8_t *data, size_t len); /* RFC 1071, folded, not inverted */
/* Is the frame's destination this address? */
bool net_mac_is(const uint8_t *frame, const uint8_t *mac);
void net_register(void); /* the PROP_NETDEV_ and PROP_MAC_ binders. Once per process. */

/* ---- back ends: options. MAIN_LOOP ---- */

/* What may be given more than once on a command line (cli_number_repeats()); ends with NULL. */
extern const char *const net_repeated_keys[];
bool netdev_add_json(Machine *m, const Json *opts, bool from_text, Error **errp);
bool netdev_del(Machine *m, const char *id, Error **errp);
bool netdev_exists(Machine *m, const char *id);
/* The card that is not bound to anything sits on a hub, as -net does: a new port of it, by name. */
bool netdev_hub_port(Machine *m, int hub, const char *netdev, char **name, Error **errp);
/* Below -sandbox programs would have a filter of system calls, or (none) cannot be started at all: what needs
 * one fails. Once, before back ends are made. */
void net_limit_programs(bool none);
/* This process will become another user or leave the root folder when all is built, by this option: what
 * starts programs later fails. Once, before back ends are made. */
void net_expect_drop(const char *option);
void net_remove_all(Machine *m); /* before the devices go: back ends end, cards find nobody */
/* True: refused, with the reason. */
bool net_refuse_kind(const char *kind, Error **errp);
void netdev_help(GString *out);
bool net_set_link(Machine *m, const char *name, bool up, Error **errp);
void net_print(Machine *m, GString *out);        /* info network */
void net_print_user(Machine *m, GString *out);   /* info usernet */
/* In the order of their making; n counts. False: no such card. */
bool net_rx_filters(Machine *m, const char *name, RxFilterInfo **out, size_t *n, Error **errp);
void net_announce(Machine *m, const AnnounceParameters *p);
/* "[ID ]RULE" of the user-mode back end: id NULL: the only one. */
bool net_hostfwd_add(Machine *m, const char *id, const char *rule, Error **errp);
bool net_hostfwd_remove(Machine *m, const char *id, const char *rule, Error **errp);
void net_hostfwd_list(Machine *m, GArray *out);  /* HostfwdInfo, owned members */
void net_foreach_name(Machine *m, bool cards, void (*fn)(const char *name, void *opaque), void *opaque);
bool net_parse_mac(const char *text, uint8_t *mac, Error **errp);
void net_infos(Machine *m, GArray *out);         /* NetClientInfo, owned members */
bool net_counters(Machine *m, const char *name, NetCounters *out);

#endif
