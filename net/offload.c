/* SPDX-License-Identifier: MIT
 * net/offload.c - finishes frames that their sender left unfinished, for receivers that do not take them so.
 *
 * Models: RFC 1071 (the checksum), RFC 791, 768, 8200, 9293 (the headers that change from segment to segment,
 * and fragments); virtio 1.2, 5.1.6.2, and 1.3 for UDP segments (what the sender's description means). Does
 * not model: IPv6 extension headers other than by csum_start, and none before fragments; tunnels. Threads:
 * any; no state.
 */
#include "net_internal.h"

#include <string.h>

enum { ETH_TYPE = 12, VLAN = 4, IP6 = 40, TCP = 20, TCP_FIN = 1, TCP_PSH = 8, TCP_CWR = 0x80 };
enum { UDP = 8, UDP_CSUM = 6, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_FRAGMENT = 44, FRAGMENT = 8 };
enum { IP4_MORE = 0x2000, IP4_IS_FRAGMENT = 0x3fff };

static uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)be16(p) << 16 | be16(p + 2);
}

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

/* The sum does not depend on the order of bytes (RFC 1071, 2 (B)): words as the host has them. */
uint16_t net_csum(const uint8_t *data, size_t len, uint32_t seed)
{
    uint64_t sum = GUINT16_TO_BE(seed & 0xffff) + GUINT16_TO_BE(seed >> 16);
    for (; len >= 32; len -= 32, data += 32) {
        uint64_t w[4];
        memcpy(w, data, 32);
        for (unsigned i = 0; i < 4; i++) {
            sum += (w[i] & UINT32_MAX) + (w[i] >> 32);
        }
    }
    for (; len >= 4; len -= 4, data += 4) {
        uint32_t w;
        memcpy(&w, data, 4);
        sum += w;
    }
    uint32_t rest = 0;
    memcpy(&rest, data, len); /* padded with zeros behind */
    sum += rest;
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return GUINT16_FROM_BE((uint16_t)sum);
}

uint16_t net_checksum(const uint8_t *data, size_t len)
{
    return net_csum(data, len, 0);
}

bool net_hdr_good(const NetHdr *hdr, const uint8_t *data, size_t len)
{
    if (len < NET_ETH || len > NET_FRAME_MAX) {
        return false;
    }
    if (hdr->needs_csum &&
        ((size_t)hdr->csum_start + hdr->csum_offset + 2 > len || hdr->csum_start < NET_ETH)) {
        return false;
    }
    NetFrame f = { .hdr = *hdr, .data = data, .len = len };
    return hdr->gso == NET_GSO_NONE || (hdr->needs_csum && net_segments(&f) > 0);
}

void net_complete_csum(const NetHdr *hdr, uint8_t *data, size_t len)
{
    uint16_t sum = (uint16_t)~net_csum(data + hdr->csum_start, len - hdr->csum_start, 0);
    /* UDP's "no checksum" is zero; all ones is the same number (RFC 768). TCP takes both. */
    put16(data + hdr->csum_start + hdr->csum_offset, sum ? sum : 0xffff);
}

/* ---- segments ---- */

typedef struct Cut {
    size_t ip, l4, payload; /* where they begin */
    size_t piece;           /* of the payload, in each segment */
    bool v6, fragments;     /* fragments: of IP; the payload is the whole datagram */
} Cut;

/* What the header before the payload must be, and how long it is; 0: it is not that. */
static size_t cut_header(const NetFrame *f, const Cut *c)
{
    const uint8_t *ip = f->data + c->ip, *l4 = f->data + c->l4;
    switch (f->hdr.gso) {
    case NET_GSO_TCP4:
    case NET_GSO_TCP6: {
        size_t len = c->l4 + TCP <= f->len ? 4 * (size_t)(l4[12] >> 4) : 0;
        return len >= TCP ? len : 0;
    }
    case NET_GSO_UDP:
        if (f->hdr.csum_offset != UDP_CSUM || f->len - c->l4 > UINT16_MAX ||
            (c->v6 ? c->l4 != c->ip + IP6 || ip[6] != PROTO_UDP : be16(ip + 6) & IP4_IS_FRAGMENT)) {
            return 0;
        }
        return UDP;
    case NET_GSO_UDP_L4: return UDP;
    default: return 0;
    }
}

static bool cut_find(const NetFrame *f, Cut *c)
{
    const uint8_t *d = f->data;
    size_t at = ETH_TYPE;
    while (at + 2 <= f->len && (be16(d + at) == 0x8100 || be16(d + at) == 0x88a8) &&
           at < ETH_TYPE + 2 * VLAN) {
        at += VLAN;
    }
    c->ip = at + 2;
    c->fragments = f->hdr.gso == NET_GSO_UDP;
    c->v6 =
        f->hdr.gso == NET_GSO_TCP6 || (f->hdr.gso != NET_GSO_TCP4 && c->ip < f->len && d[c->ip] >> 4 == 6);
    c->l4 = f->hdr.csum_start;
    c->piece = c->fragments ? f->hdr.gso_size & ~7u : f->hdr.gso_size;
    size_t ip_min = c->v6 ? IP6 : 20;
    if (c->ip + ip_min > f->len || be16(d + at) != (c->v6 ? 0x86dd : 0x0800) ||
        d[c->ip] >> 4 != (c->v6 ? 6 : 4) || c->l4 < c->ip + ip_min || c->l4 + UDP > f->len || !c->piece) {
        return false;
    }
    if (!c->v6 && c->ip + 4 * (d[c->ip] & 15u) != c->l4) {
        return false;
    }
    size_t header = cut_header(f, c);
    c->payload = c->fragments ? c->l4 : c->l4 + header;
    return header && c->l4 + header <= f->len;
}

unsigned net_segments(const NetFrame *f)
{
    Cut c;
    if (!cut_find(f, &c)) {
        return 0;
    }
    size_t bytes = f->len - c.payload;
    return bytes ? (unsigned)((bytes + c.piece - 1) / c.piece) : 1;
}

static void segment_ip(const Cut *c, unsigned i, uint8_t *out, size_t len)
{
    uint8_t *ip = out + c->ip;
    if (c->v6) {
        put16(ip + 4, (unsigned)(len - c->ip - IP6));
        return;
    }
    put16(ip + 2, (unsigned)(len - c->ip));
    put16(ip + 4, (be16(ip + 4) + i) & 0xffff);
    put16(ip + 10, 0);
    put16(ip + 10, (uint16_t)~net_csum(ip, c->l4 - c->ip, 0));
}

/* The pseudo header: addresses, protocol, length (RFC 9293, 3.1; RFC 768; RFC 8200, 8.1). */
static uint16_t l4_csum(const Cut *c, const uint8_t *out, size_t len, unsigned proto)
{
    const uint8_t *ip = out + c->ip;
    uint32_t addresses = c->v6 ? net_csum(ip + 8, 32, 0) : net_csum(ip + 12, 8, 0);
    return (uint16_t)~net_csum(out + c->l4, len - c->l4, addresses + proto + (uint32_t)(len - c->l4));
}

static void segment_tcp(const Cut *c, unsigned i, size_t from, bool last, uint8_t *out, size_t len)
{
    uint8_t *tcp = out + c->l4;
    put32(tcp + 4, be32(tcp + 4) + (uint32_t)from);
    if (!last) {
        tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    }
    if (i) {
        tcp[13] &= (uint8_t)~TCP_CWR;
    }
    put16(tcp + 16, 0);
    put16(tcp + 16, l4_csum(c, out, len, PROTO_TCP));
}

static void segment_udp(const Cut *c, uint8_t *out, size_t len)
{
    uint8_t *udp = out + c->l4;
    put16(udp + 4, (unsigned)(len - c->l4));
    put16(udp + UDP_CSUM, 0);
    uint16_t sum = l4_csum(c, out, len, PROTO_UDP);
    put16(udp + UDP_CSUM, sum ? sum : 0xffff);
}

/* RFC 8200, 4.5: the same in all fragments of a datagram, another one in the next. */
static uint32_t fragment_id(const NetFrame *f, const Cut *c)
{
    size_t n = MIN(f->len - c->payload, 64);
    uint32_t id = 2166136261u ^ (uint32_t)((uintptr_t)f->data >> 5);
    for (size_t i = 0; i < n; i++) {
        id = (id ^ f->data[c->payload + i]) * 16777619u; /* FNV-1a */
    }
    return id;
}

/* RFC 791, 3.2 and RFC 8200, 4.5. */
static size_t fragment(const NetFrame *f, const Cut *c, unsigned i, uint8_t *out)
{
    size_t from = i * c->piece, all = f->len - c->payload, bytes = MIN(c->piece, all - from), at = c->payload;
    bool more = from + bytes < all;
    uint8_t *ip = out + c->ip;
    memcpy(out, f->data, at);
    if (c->v6) {
        uint8_t *h = out + at;
        at += FRAGMENT;
        h[0] = ip[6];
        h[1] = 0;
        put16(h + 2, (unsigned)from | more);
        put32(h + 4, fragment_id(f, c));
        ip[6] = PROTO_FRAGMENT;
        put16(ip + 4, (unsigned)(FRAGMENT + bytes));
    } else {
        put16(ip + 2, (unsigned)(at - c->ip + bytes));
        put16(ip + 6, (unsigned)(from / 8) | (more ? IP4_MORE : 0));
        put16(ip + 10, 0);
        put16(ip + 10, (uint16_t)~net_csum(ip, c->l4 - c->ip, 0));
    }
    memcpy(out + at, f->data + c->payload + from, bytes);
    if (i == 0) { /* its field has the pseudo header's sum; the piece has at least eight bytes */
        uint16_t sum = (uint16_t)~net_csum(f->data + c->l4, all, 0);
        put16(out + at + UDP_CSUM, sum ? sum : 0xffff);
    }
    return at + bytes;
}

size_t net_segment(const NetFrame *f, unsigned i, uint8_t *out)
{
    Cut c;
    cut_find(f, &c);
    if (c.fragments) {
        return fragment(f, &c, i, out);
    }
    size_t from = i * c.piece, all = f->len - c.payload;
    size_t bytes = MIN(c.piece, all - from), len = c.payload + bytes;
    memcpy(out, f->data, c.payload);
    memcpy(out + c.payload, f->data + c.payload + from, bytes);
    segment_ip(&c, i, out, len);
    if (f->hdr.gso == NET_GSO_UDP_L4) {
        segment_udp(&c, out, len);
    } else {
        segment_tcp(&c, i, from, from + bytes == all, out, len);
    }
    return len;
}

/* ---- as virtio and the kernel name them ---- */

static const uint8_t wire[] = {
    /* virtio 1.3, 5.1.6: VIRTIO_NET_HDR_GSO_* */
    [NET_GSO_TCP4] = 1,
    [NET_GSO_UDP] = 3,
    [NET_GSO_TCP6] = 4,
    [NET_GSO_UDP_L4] = 5,
};

uint8_t net_gso_to_virtio(NetGso gso)
{
    return wire[gso];
}

NetGso net_gso_from_virtio(unsigned type)
{
    for (unsigned i = NET_GSO_NONE + 1; i < G_N_ELEMENTS(wire); i++) {
        if (wire[i] == type) {
            return (NetGso)i;
        }
    }
    return NET_GSO_NONE;
}
