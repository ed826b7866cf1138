/* SPDX-License-Identifier: MIT
 * tests/device/virtnetdrive.c - see virtnetdrive.h. Threads: main.
 */
#include "tests/device/virtnetdrive.h"
#include "hw/net/nic.h"
#include "tests/unit/net/nettest.h"

enum { BUFFERS = 0x60000, BUFFERS_SIZE = 0x10000, AVAIL = 0x2000, USED = 0x3000, CTRL = 4 };
enum { F_INDIRECT = 4, F_AVAIL = 0x80, F_USED = 0x8000 };
enum { F_HASH_REPORT = 57, F_PACKED = 34 };
/* What the card is to have, and what a driver without malice takes: VERSION_1 is added. */
#define OFFERED (MG_BIT(F_HASH_REPORT) | MG_BIT(60) | MG_BIT(22) | MG_BIT(F_PACKED))
#define PLAIN   (MG_BIT(15) | MG_BIT(17))

static unsigned came; /* frames, to the network */

static bool end_receive(NetClient *c G_GNUC_UNUSED, const NetFrame *f G_GNUC_UNUSED)
{
    came++;
    return true;
}

static const NetKind end_kind = { .name = "end", .receive = end_receive };

void vnd_open(VirtNetDrive *d)
{
    memset(d, 0, sizeof(*d));
    mg_open(&d->g, VND_RAM, VND_RING);
    d->end = net_client_new(d->g.tm->m, &end_kind, "end");
    d->end->n_queues = 2;
    mg_plug(&d->g, "virtio-net-device", "netdev", "end", "mq", "on", "rss", "on", "hash", "on", "packed",
            "on", "host_mtu", "1500", NULL);
    g_assert_cmphex(mg_features(&d->g) & OFFERED, ==, OFFERED);
}

void vnd_close(VirtNetDrive *d)
{
    net_test_free(d->g.tm);
}

static uint8_t *ram(VirtNetDrive *d, hwaddr at)
{
    return d->g.tm->m->ram->host + at % VND_RAM;
}

static void begin(VirtNetDrive *d, uint64_t features)
{
    d->packed = features & MG_BIT(F_PACKED);
    d->header = features & MG_BIT(F_HASH_REPORT) ? 20 : 12;
    memset(d->next, 0, sizeof(d->next));
    memset(d->unwrapped, 0, sizeof(d->unwrapped));
    net_set_link(d->g.tm->m, "end", true, NULL);
    mg_start(&d->g, features, VND_QUEUES);
}

/* Most features that there are: those with both of two bits are left out. */
static void begin_any(VirtNetDrive *d, Bytes *b)
{
    uint64_t without = bytes_le(b, 8) & bytes_le(b, 8);
    begin(d, mg_features(&d->g) & ~without);
}

void vnd_start(VirtNetDrive *d, Bytes *b)
{
    memset(ram(d, BUFFERS), 0, BUFFERS_SIZE);
    begin_any(d, b);
}

/* ---- descriptors ---- */

/* Mostly a buffer; now and then a ring, the end of memory, anything. */
static uint64_t any_address(Bytes *b)
{
    uint8_t kind = bytes_u8(b);
    hwaddr low = bytes_le(b, 3);
    if (kind < 244) {
        return BUFFERS + low % BUFFERS_SIZE;
    }
    return kind < 248   ? low % (VND_QUEUES * MG_RINGS)
           : kind < 252 ? (hwaddr)VND_RAM - low % 0x1000
           : kind < 254 ? (hwaddr)MG_BASE + low % 256
                        : bytes_le(b, 8);
}

static void put_desc(VirtNetDrive *d, hwaddr at, uint64_t addr, uint32_t len, unsigned flags, unsigned next)
{
    uint8_t *p = ram(d, at);
    nic_put_le(p, 8, addr);
    nic_put_le(p + 8, 4, len);
    nic_put_le(p + (d->packed ? 14 : 12), 2, flags);
    nic_put_le(p + (d->packed ? 12 : 14), 2, next);
}

/* A descriptor of the driver's next chain; i: which of the ring's that is, in a split one. */
static void ring_desc(VirtNetDrive *d, unsigned q, unsigned i, uint64_t addr, uint32_t len, unsigned flags,
                      unsigned next)
{
    if (d->packed) {
        i = d->next[q];
        flags |= d->unwrapped[q] ? F_USED : F_AVAIL;
        d->unwrapped[q] ^= ++d->next[q] == VND_RING;
        d->next[q] %= VND_RING;
    }
    put_desc(d, q * MG_RINGS + 16 * (hwaddr)i, addr, len, flags, next);
}

static void offer(VirtNetDrive *d, unsigned q, unsigned head)
{
    if (!d->packed) {
        mg_offer(&d->g, q, head);
    }
}

/* Descriptor i of n: the first `out` are for reading, mostly, and each but the last has a next one. */
static unsigned any_flags(Bytes *b, unsigned i, unsigned n, unsigned out)
{
    uint8_t odd = bytes_u8(b);
    return ((i + 1 < n ? MG_NEXT : 0) | (i >= out ? MG_WRITE : 0)) ^ (odd < 10 ? odd & 7u : 0);
}

/* How many of n are for reading: as the queue wants it, mostly. */
static unsigned any_out(Bytes *b, unsigned q, unsigned n)
{
    uint8_t odd = bytes_u8(b);
    return odd < 32 ? odd % (n + 1) : q == CTRL ? n - 1 : q % 2 ? n : 0;
}

static void any_chain(VirtNetDrive *d, Bytes *b)
{
    unsigned q = bytes_u8(b) % VND_QUEUES, n = bytes_u8(b) % 6 + 1, head = bytes_u8(b);
    unsigned out = any_out(b, q, n);
    for (unsigned i = 0; i < n; i++) {
        unsigned flags = any_flags(b, i, n, out), next = bytes_u8(b);
        uint64_t addr = any_address(b);
        unsigned to = next < 250 ? (head + i + 1) % VND_RING : next % (2 * VND_RING);
        ring_desc(d, q, (head + i) % VND_RING, addr, bytes_length(b), flags, to);
    }
    offer(d, q, head < 252 ? head % VND_RING : bytes_u16(b));
    mg_kick(&d->g, q);
}

/* The same in a table of its own. */
static void indirect_chain(VirtNetDrive *d, Bytes *b)
{
    unsigned q = bytes_u8(b) % VND_QUEUES, n = bytes_u8(b) % 20, head = bytes_u8(b) % VND_RING;
    unsigned out = any_out(b, q, n);
    hwaddr table = BUFFERS + (bytes_u16(b) & 0xfff0);
    for (unsigned i = 0; i < n; i++) {
        unsigned flags = any_flags(b, i, n, out);
        uint64_t addr = any_address(b);
        put_desc(d, table + 16 * i, addr, bytes_length(b), flags, i + 1);
    }
    uint8_t odd = bytes_u8(b);
    ring_desc(d, q, head, table, n * 16 + (odd < 8 ? odd : 0), F_INDIRECT | (odd == 255), odd % VND_RING);
    offer(d, q, head);
    mg_kick(&d->g, q);
}

/* ---- as a driver does it ---- */

static void give_buffers(VirtNetDrive *d, unsigned q, unsigned n, uint32_t bytes)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned at = d->packed ? i : d->g.avail[q] % VND_RING;
        ring_desc(d, q, at, BUFFERS + 0x800 * (at + VND_RING), bytes, MG_WRITE, at);
        offer(d, q, at);
    }
    mg_kick(&d->g, q);
}

/* The frame's header and its bytes lie at BUFFERS. */
static void send_frame(VirtNetDrive *d, unsigned q, unsigned bytes)
{
    ring_desc(d, q, 0, BUFFERS, d->header, MG_NEXT, 1);
    ring_desc(d, q, 1, BUFFERS + d->header, bytes, 0, 1);
    offer(d, q, 0);
    mg_kick(&d->g, q);
}

static void command(VirtNetDrive *d, unsigned bytes)
{
    hwaddr answer = BUFFERS + BUFFERS_SIZE - 1;
    ring_desc(d, CTRL, 0, BUFFERS, bytes, MG_NEXT, 1);
    ring_desc(d, CTRL, 1, answer, 1, MG_WRITE, 1);
    offer(d, CTRL, 0);
    mg_kick(&d->g, CTRL);
}

static void any_send(VirtNetDrive *d, Bytes *b)
{
    static const uint8_t types[] = { 0, 0, 0, 1, 1, 4, 0x81, 3 };
    unsigned q = bytes_u8(b) & 2 ? 3 : 1, len = bytes_u16(b) & 0x3fff;
    uint8_t *h = ram(d, BUFFERS), kind = bytes_u8(b);
    bytes_read(b, h, 10);
    if (kind < 224) { /* a header that makes sense, mostly */
        h[1] = types[kind >> 1 & 7];
        h[0] = (kind & 1) | (h[1] != 0);
        nic_put_le(h + 6, 2, kind & 16 ? 54 : 34);
        nic_put_le(h + 8, 2, 16);
        h[5] &= 7; /* segments below 2 KiB */
    }
    frame_any(ram(d, BUFFERS + d->header), len, b);
    send_frame(d, q, len);
}

static void any_command(VirtNetDrive *d, Bytes *b)
{
    uint8_t *p = ram(d, BUFFERS);
    unsigned len = bytes_u8(b) % 64;
    p[0] = bytes_u8(b) % 7;
    p[1] = bytes_u8(b) % 7;
    bytes_read(b, p + 2, len);
    if (p[0] == 4 && p[1] == 1) { /* RSS: whole, with a table and a key */
        unsigned entries = 1u << p[6] % 8;
        nic_put_le(p + 6, 2, entries - 1);
        nic_put_le(p + 10 + 2 * entries, 2, 1 + (p[2] & 1u));
        p[12 + 2 * entries] = 40;
        len = 11 + 2 * entries + 40 + (p[3] & 1u);
    }
    command(d, 2 + len);
}

static void any_arrival(VirtNetDrive *d, Bytes *b)
{
    static uint8_t f[NET_FRAME_MAX];
    uint8_t kind = bytes_u8(b);
    NetHdr h = { .needs_csum = kind & 1, .csum_valid = kind & 2,
                 .gso = kind >> 2 & 1 ? 1 + (kind >> 3 & 1) : 0,
                 .ecn = kind >> 4 & 1, .queue = kind >> 5 & 3, .csum_start = 34, .csum_offset = 16 };
    h.gso_size = h.gso ? (uint16_t)(bytes_u16(b) | 64) : 0;
    h.hdr_len = h.gso ? bytes_u16(b) : 0;
    if (h.gso && (kind & 0x40)) {
        h.gso += NET_GSO_UDP - NET_GSO_TCP4;
        h.csum_offset = 6;
    }
    h.csum_start = kind & 0x80 ? bytes_u8(b) : h.gso == NET_GSO_TCP6 ? 54 : 34;
    size_t len = bytes_length(b) % NET_FRAME_MAX;
    frame_any(f, len, b);
    net_client_send(d->end, &(NetFrame){ .hdr = h, .data = f, .len = len });
}

static void any_memory(VirtNetDrive *d, Bytes *b)
{
    hwaddr at = any_address(b) % VND_RAM;
    unsigned n = bytes_u8(b) % 32;
    bytes_read(b, ram(d, at), MIN(n, VND_RAM - at));
}

/* A queue is set up once more: another size, other places. */
static void any_queue(VirtNetDrive *d, Bytes *b)
{
    unsigned q = bytes_u8(b) % (VND_QUEUES + 1);
    mg_wr(&d->g, 0x30, q);
    if (bytes_u8(b) & 1) {
        mg_wr(&d->g, 0xc0, 1); /* its reset, first */
    }
    mg_wr(&d->g, 0x38, 1u << bytes_u8(b) % 10);
    mg_wr(&d->g, 0x80, q * MG_RINGS + (bytes_u8(b) & 0xf0u));
    mg_wr(&d->g, 0x90, q * MG_RINGS + AVAIL);
    mg_wr(&d->g, 0xa0, q * MG_RINGS + USED);
    mg_wr(&d->g, 0x44, 1);
}

static void any_register(VirtNetDrive *d, Bytes *b)
{
    unsigned off = 4u * bytes_u8(b) % 0x180;
    bytes_u8(b) & 1 ? mg_wr(&d->g, off, bytes_u32(b)) : (void)mg_rd(&d->g, off);
}

void vnd_run(VirtNetDrive *d, Bytes *b)
{
    while (b->left) {
        uint8_t what = bytes_u8(b);
        if (mg_rd(&d->g, MG_STATUS) != MG_STATUS_OK && what & 1) { /* a driver that gives up begins anew */
            begin_any(d, b);
        }
        switch (what % 16) {
        case 0: case 1: any_chain(d, b); break;
        case 3: indirect_chain(d, b); break;
        case 2: case 4: give_buffers(d, what & 16 ? 2 : 0, what >> 5, bytes_u16(b) & 0x7ff); break;
        case 5: case 6: any_send(d, b); break;
        case 7: case 8: any_command(d, b); break;
        case 9: case 10: case 11: any_arrival(d, b); break;
        case 12: any_memory(d, b); break;
        case 13: what & 16 ? any_register(d, b) : any_queue(d, b); break;
        case 14: mg_kick(&d->g, what >> 4); break;
        default:
            what < 0xe0 ? tm_turns(d->g.tm) : (void)net_set_link(d->g.tm->m, "end", what & 16, NULL);
            break;
        }
    }
    tm_turns(d->g.tm);
}

void vnd_check(VirtNetDrive *d)
{
    memset(ram(d, BUFFERS), 0, BUFFERS_SIZE);
    begin(d, PLAIN);
    net_set_link(d->g.tm->m, "end", false, NULL); /* what has waited for a buffer is dropped */
    give_buffers(d, 0, VND_RING, 2000);
    tm_turns(d->g.tm);
    net_set_link(d->g.tm->m, "end", true, NULL);
    unsigned sent = came, got = mg_used(&d->g, 0);
    uint8_t f[60] = { 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc };
    send_frame(d, 1, sizeof(f));
    tm_turns(d->g.tm);
    g_assert_cmpuint(came, ==, sent + 1);
    net_client_send(d->end, &(NetFrame){ .data = f, .len = sizeof(f) });
    tm_turns(d->g.tm);
    g_assert_cmpuint(mg_used(&d->g, 0), ==, got + 1);
    g_assert_cmphex(mg_rd(&d->g, MG_STATUS), ==, MG_STATUS_OK);
}
