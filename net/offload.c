/* SPDX-License-Identifier: MIT
 * net/offload.c - finishes frames that their sender left unfinished, for receivers that do not take them so.
 *
 * Models: RFC 1071 (the checksum), RFC 791, 8200, 9293 (the headers that change from segment to segment);
 *         virtio 1.2, 5.1.6.2 (what the sender's description means).
 * Does not model: IPv6 extension headers other than by csum_start; tunnels.
 * Threads: any; no state.
 */
#include "net_internal.h"

#include <string.h>

enum { ETH_TYPE = 12, VLAN = 4, IP6 = 40, TCP = 20, TCP_FIN = 1, TCP_PSH = 8, TCP_CWR = 0x80 };

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
    size_t ip, tcp, payload; /* where they begin */
    bool v6;
} Cut;

static bool cut_find(const NetFrame *f, Cut *c)
{
    const uint8_t *d = f->data;
    size_t at = ETH_TYPE;
    while (at + 2 <= f->len && (be16(d + at) == 0x8100 || be16(d + at) == 0x88a8) &&
           at < ETH_TYPE + 2 * VLAN) {
        at += VLAN;
    }
    c->ip = at + 2;
    c->v6 = f->hdr.gso == NET_GSO_TCP6;
    c->tcp = f->hdr.csum_start;
    size_t ip_min = c->v6 ? IP6 : 20;
    if (c->ip + ip_min > f->len || be16(d + at) != (c->v6 ? 0x86dd : 0x0800) ||
        d[c->ip] >> 4 != (c->v6 ? 6 : 4) || c->tcp < c->ip + ip_min || c->tcp + TCP > f->len ||
        !f->hdr.gso_size) {
        return false;
    }
    if (!c->v6 && c->ip + 4 * (d[c->ip] & 15u) != c->tcp) {
        return false;
    }
    size_t tcp_len = 4 * (size_t)(d[c->tcp + 12] >> 4);
    c->payload = c->tcp + tcp_len;
    return tcp_len >= TCP && c->payload <= f->len;
}

unsigned net_segments(const NetFrame *f)
{
    Cut c;
    if (!cut_find(f, &c)) {
        return 0;
    }
    size_t bytes = f->len - c.payload;
    return bytes ? (unsigned)((bytes + f->hdr.gso_size - 1) / f->hdr.gso_size) : 1;
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
    put16(ip + 10, (uint16_t)~net_csum(ip, c->tcp - c->ip, 0));
}

size_t net_segment(const NetFrame *f, unsigned i, uint8_t *out)
{
    Cut c;
    cut_find(f, &c);
    size_t from = (size_t)i * f->hdr.gso_size, all = f->len - c.payload;
    size_t bytes = MIN(f->hdr.gso_size, all - from), len = c.payload + bytes;
    memcpy(out, f->data, c.payload);
    memcpy(out + c.payload, f->data + c.payload + from, bytes);
    segment_ip(&c, i, out, len);
    uint8_t *tcp = out + c.tcp, *ip = out + c.ip;
    put32(tcp + 4, be32(tcp + 4) + (uint32_t)from);
    if (from + bytes < all) {
        tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    }
    if (i) {
        tcp[13] &= (uint8_t)~TCP_CWR;
    }
    /* the pseudo header: addresses, protocol, length (RFC 9293, 3.1; RFC 8200, 8.1) */
    uint32_t seed = 6 + (uint32_t)(len - c.tcp);
    uint32_t addresses = c.v6 ? net_csum(ip + 8, 32, 0) : net_csum(ip + 12, 8, 0);
    put16(tcp + 16, 0);
    put16(tcp + 16, (uint16_t)~net_csum(tcp, len - c.tcp, addresses + seed));
    return len;
}
