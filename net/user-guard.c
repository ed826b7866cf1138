/* SPDX-License-Identifier: MIT
 * net/user-guard.c - what libslirp is not given as it came.
 *
 * Fragments of IPv4 (RFC 791, 3.2): libslirp 4.7 writes over its own memory when a guest's overlap. They are
 * put together here, with bounds, and a whole datagram is handed over; those that overlap are dropped (as RFC
 * 5722 says for IPv6). ICMPv6 echo requests to others than its own addresses, for each of which it writes a
 * warning. Threads: main loop.
 */
#include "user_internal.h"

#include <arpa/inet.h>
#include <string.h>

enum { DATAGRAMS = 8, HEAD = 20, HEAD_MOST = 60, UNIT = 8, LONGEST = 65535, LIFE = 30, KEY = 11 };
enum { MORE = 0x2000, OFFSET = 0x1fff };

typedef struct Datagram {
    bool used;
    int64_t begun;       /* the machine's time, ns; it lives LIFE seconds */
    uint8_t key[KEY];    /* protocol, number, addresses */
    unsigned head, have; /* bytes: of the first fragment's header, 0: not there yet; of what came */
    unsigned end;        /* where the last fragment ends; 0: not there yet */
    uint8_t seen[(LONGEST / UNIT + 8) / 8];
    uint8_t frame[NET_ETH + HEAD_MOST + LONGEST + UNIT]; /* the data begin behind the longest header */
} Datagram;

struct UserFragments {
    Datagram of[DATAGRAMS];
};

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* The one that it belongs to; else one that is free, too old, or the oldest. */
static Datagram *find(UserFragments *all, const uint8_t *key, int64_t now)
{
    Datagram *best = &all->of[0];
    for (unsigned i = 0; i < DATAGRAMS; i++) {
        Datagram *d = &all->of[i];
        d->used &= now - d->begun < LIFE * (int64_t)1000000000;
        if (d->used && memcmp(d->key, key, KEY) == 0) {
            return d;
        }
        best = !d->used || (best->used && d->begun < best->begun) ? d : best;
    }
    memset(best, 0, offsetof(Datagram, frame));
    best->used = true;
    best->begun = now;
    memcpy(best->key, key, KEY);
    return best;
}

/* Notes the units as seen; false: one of them was. */
static bool claim(Datagram *d, unsigned from, unsigned to)
{
    for (unsigned u = from / UNIT; u < (to + UNIT - 1) / UNIT; u++) {
        if (d->seen[u / 8] >> u % 8 & 1) {
            return false;
        }
        d->seen[u / 8] |= (uint8_t)(1u << u % 8);
    }
    return true;
}

/* The whole datagram, when this was the last missing piece. */
static bool put_together(UserNet *u, NetFrame *f)
{
    const uint8_t *ip = f->data + NET_ETH;
    size_t room = f->len - NET_ETH;
    unsigned head = (ip[0] & 15u) * 4, total = get16(ip + 2), field = get16(ip + 6);
    unsigned from = (field & OFFSET) * UNIT, to = from + total - head;
    uint8_t key[KEY];
    if (ip[0] >> 4 != 4 || head < HEAD || total <= head || total > room || to > LONGEST - head ||
        ((field & MORE) && (total - head) % UNIT) || net_checksum(ip, head) != 0xffff) {
        return false;
    }
    if (!u->fragments) {
        u->fragments = g_new0(UserFragments, 1);
    }
    key[0] = ip[9];
    memcpy(key + 1, ip + 4, 2);
    memcpy(key + 3, ip + 12, 8);
    Datagram *d = find(u->fragments, key, clock_now(u->client->machine->clock));
    uint8_t *data = d->frame + NET_ETH + HEAD_MOST;
    bool last = !(field & MORE);
    if (!claim(d, from, to) || (last && d->end) || (d->end && to > d->end)) {
        d->used = false;
        return false;
    }
    memcpy(data + from, ip + head, to - from);
    d->have += to - from;
    d->end = last ? to : d->end;
    if (from == 0) {
        d->head = head;
        memcpy(data - head - NET_ETH, f->data, NET_ETH + head);
    }
    if (!d->head || !d->end || d->have < d->end) {
        return false;
    }
    d->used = false;
    if (d->have > d->end || d->end + d->head > LONGEST) { /* some came behind the end */
        return false;
    }
    uint8_t *whole = data - d->head;
    put16(whole + 2, d->end + d->head);
    memset(whole + 6, 0, 2);
    memset(whole + 10, 0, 2);
    put16(whole + 10, 0xffff & ~net_checksum(whole, d->head));
    f->data = whole - NET_ETH;
    f->len = NET_ETH + d->head + d->end;
    return true;
}

/* An echo request that libslirp would answer: to its router's or name server's address, or those of the link.
 */
static bool echo_for_it(const UserNet *u, const uint8_t *to)
{
    static const uint8_t link[15] = { 0xfe, 0x80 };
    return memcmp(to, &u->host6, 16) == 0 || memcmp(to, &u->dns6, 16) == 0 ||
           (memcmp(to, link, sizeof(link)) == 0 && (to[15] == 2 || to[15] == 3));
}

bool user_guard(UserNet *u, NetFrame *f)
{
    const uint8_t *p = f->data + NET_ETH;
    unsigned type = f->len > NET_ETH ? get16(f->data + 12) : 0;
    if (type == 0x0800 && f->len >= NET_ETH + HEAD && (get16(p + 6) & (MORE | OFFSET))) {
        return put_together(u, f);
    }
    if (type == 0x86dd && f->len > NET_ETH + 40 && p[6] == IPPROTO_ICMPV6 && p[40] == 128) {
        return echo_for_it(u, p + 24);
    }
    return true;
}

void user_guard_free(UserNet *u)
{
    g_clear_pointer(&u->fragments, g_free);
}
