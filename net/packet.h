/* SPDX-License-Identifier: MIT
 * net/packet.h - who talks to whom in a frame. Any thread; no state.
 */
#ifndef NET_PACKET_H
#define NET_PACKET_H

#include "net_internal.h"

enum { NET_TCP_SYN = 2, NET_TCP_RST = 4, NET_TCP_ACK = 16, NET_PACKET_RESET = NET_ETH + 40 + 20 };

typedef enum NetPacketKind {
    NET_PACKET_OTHER,    /* not IP */
    NET_PACKET_IP,       /* everything below is known */
    NET_PACKET_FRAGMENT, /* a later one: without ports */
    NET_PACKET_BROKEN,   /* no whole header */
} NetPacketKind;

typedef struct NetPacket {
    bool v6;
    uint8_t proto, flags, icmp;  /* proto: ICMPv6 counts as ICMP; flags: of TCP; icmp: the type */
    uint8_t src[16], dst[16];    /* IPv4: four bytes, then zeros */
    uint16_t sport, dport;       /* of TCP and UDP, else 0 */
    unsigned fragment;           /* its offset in bytes */
    size_t at;                   /* where the protocol's own header begins */
} NetPacket;

NetPacketKind net_packet_parse(const uint8_t *data, size_t len, NetPacket *p);
/* The answer that ends a TCP connection, to who sent the frame; at most NET_PACKET_RESET bytes; 0: none. */
size_t net_packet_reset(const uint8_t *data, size_t len, const NetPacket *p, uint8_t *out);

#endif
