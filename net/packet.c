/* SPDX-License-Identifier: MIT
 * net/packet.c - who talks to whom in a frame: protocol, addresses and ports.
 *
 * Models: RFC 791, 8200 (with its fragment header), 9293, 768, 792, 4443. VLAN tags and other extension
 *         headers are not looked behind. Threads: any; no state.
 */
#include "packet.h"

#include <netinet/in.h>
#include <string.h>

enum { IP4_MIN = 20, IP6_LEN = 40, FRAGMENT = 8, NEXT_FRAGMENT = 44, PORTS = 4, TCP_FLAGS = 14 };

static unsigned be16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static bool parse_ip4(const uint8_t *d, size_t len, NetPacket *p)
{
    const uint8_t *ip = d + NET_ETH;
    if (len < NET_ETH + IP4_MIN || ip[0] >> 4 != 4) {
        return false;
    }
    p->proto = ip[9];
    memcpy(p->src, ip + 12, 4);
    memcpy(p->dst, ip + 16, 4);
    p->fragment = (be16(ip + 6) & 0x1fff) * 8;
    p->at = NET_ETH + 4 * (ip[0] & 15u);
    return p->at >= NET_ETH + IP4_MIN && p->at <= len;
}

static bool parse_ip6(const uint8_t *d, size_t len, NetPacket *p)
{
    const uint8_t *ip = d + NET_ETH;
    if (len < NET_ETH + IP6_LEN || ip[0] >> 4 != 6) {
        return false;
    }
    p->v6 = true;
    p->proto = ip[6];
    memcpy(p->src, ip + 8, 16);
    memcpy(p->dst, ip + 24, 16);
    p->at = NET_ETH + IP6_LEN;
    if (p->proto == NEXT_FRAGMENT && len >= p->at + FRAGMENT) {
        p->proto = d[p->at];
        p->fragment = be16(d + p->at + 2) & 0xfff8;
        p->at += FRAGMENT;
    }
    return true;
}

NetPacketKind net_packet_parse(const uint8_t *d, size_t len, NetPacket *p)
{
    memset(p, 0, sizeof(*p));
    unsigned type = len < NET_ETH ? 0 : be16(d + 12);
    bool good = type == 0x0800 ? parse_ip4(d, len, p) : type == 0x86dd ? parse_ip6(d, len, p) : true;
    if (type != 0x0800 && type != 0x86dd) {
        return NET_PACKET_OTHER;
    }
    if (!good) {
        return NET_PACKET_BROKEN;
    }
    if (p->fragment) { /* one that reaches into the ports or flags of the first one is an attack (RFC 1858) */
        return p->fragment < 16 ? NET_PACKET_BROKEN : NET_PACKET_FRAGMENT;
    }
    const uint8_t *l4 = d + p->at;
    bool tcp = p->proto == IPPROTO_TCP, udp = p->proto == IPPROTO_UDP;
    if (len < p->at + (tcp ? TCP_FLAGS : udp ? PORTS : 0)) {
        return NET_PACKET_BROKEN;
    }
    if (tcp || udp) {
        p->sport = (uint16_t)be16(l4);
        p->dport = (uint16_t)be16(l4 + 2);
        p->flags = tcp ? l4[13] : 0;
    } else if (p->proto == (p->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
        p->icmp = len > p->at ? l4[0] : 0;
        p->proto = IPPROTO_ICMP; /* one name for both */
    }
    return NET_PACKET_IP;
}

size_t net_packet_reset(const uint8_t *d, size_t len, const NetPacket *p, uint8_t *out)
{
    size_t tcp = p->v6 ? NET_ETH + IP6_LEN : NET_ETH + IP4_MIN, n = tcp + 20;
    uint8_t *ip = out + NET_ETH, *t = out + tcp, pseudo[40] = { 0 };
    unsigned a = p->v6 ? 16 : 4;
    if (p->at + 20 > len) {
        return 0;
    }
    memset(out, 0, n);
    memcpy(out, d + 6, 6);
    memcpy(out + 6, d, 6);
    memcpy(out + 12, d + 12, 2);
    ip[0] = p->v6 ? 0x60 : 0x45;
    ip[p->v6 ? 5 : 3] = p->v6 ? 20 : 40;
    ip[p->v6 ? 6 : 9] = IPPROTO_TCP;
    ip[p->v6 ? 7 : 8] = 64;
    memcpy(ip + (p->v6 ? 8 : 12), p->dst, a);
    memcpy(ip + (p->v6 ? 8 : 12) + a, p->src, a);
    memcpy(t, d + p->at + 2, 2);
    memcpy(t + 2, d + p->at, 2);
    /* The acknowledgment covers a SYN; a receiver in another state takes what carries its own next number. */
    uint32_t seq = (uint32_t)be16(d + p->at + 4) << 16 | be16(d + p->at + 6);
    memcpy(t + 4, d + p->at + 8, 4);
    seq = GUINT32_TO_BE(seq + (p->flags & NET_TCP_SYN ? 1 : 0));
    memcpy(t + 8, &seq, 4);
    t[12] = 0x50;
    t[13] = NET_TCP_RST | NET_TCP_ACK;
    memcpy(pseudo, p->dst, a);
    memcpy(pseudo + a, p->src, a);
    uint32_t seed = net_csum(pseudo, 2 * a, 0) + IPPROTO_TCP + 20u;
    uint16_t sum = GUINT16_TO_BE((uint16_t)~net_csum(t, 20, seed));
    memcpy(t + 16, &sum, 2);
    if (!p->v6) {
        sum = GUINT16_TO_BE((uint16_t)~net_csum(ip, IP4_MIN, 0));
        memcpy(ip + 10, &sum, 2);
    }
    return n;
}
