/* SPDX-License-Identifier: MIT
 * tests/device/e1000drive.c - see e1000drive.h. Threads: main.
 */
#include "tests/device/e1000drive.h"
#include "hw/net/e1000.h"
#include "net/net_internal.h"

enum { TXD = 0x10000, RXD = 0x20000, N = 32 };
enum { BUFFERS = 0x40000, BUFFERS_SIZE = 0x20000, RX_BUFFERS = 0x60000 };
enum { CMD_DEXT = 0x20, TYPE_CONTEXT = 0, TYPE_DATA = 0x10 };

void e1000drive_open(E1000Drive *d)
{
    memset(d, 0, sizeof(*d));
    nicguest_open(&d->n, "e1000", 0, 1);
}

void e1000drive_close(E1000Drive *d)
{
    nicguest_close(&d->n);
}

static void wr(E1000Drive *d, unsigned off, uint32_t v)
{
    pctest_write(d->n.t, NIC_MEM + off, v, 4);
}

static uint32_t rd(E1000Drive *d, unsigned off)
{
    return (uint32_t)pctest_read(d->n.t, NIC_MEM + off, 4);
}

static uint8_t *ram(E1000Drive *d, hwaddr at)
{
    return nicguest_ram(&d->n, at);
}

static void place_rings(E1000Drive *d)
{
    wr(d, E_TDBAL, TXD);
    wr(d, E_TDBAH, 0);
    wr(d, E_TDLEN, N * DESC_BYTES);
    wr(d, E_TDH, 0);
    wr(d, E_TDT, 0);
    wr(d, E_RDBAL, RXD);
    wr(d, E_RDBAH, 0);
    wr(d, E_RDLEN, N * DESC_BYTES);
    wr(d, E_RDH, 0);
    wr(d, E_RDT, N - 1);
    d->tail = 0;
}

void e1000drive_start(E1000Drive *d)
{
    wr(d, E_CTRL, CTRL_RST);
    net_set_link(d->n.t->m, "card", true, NULL);
    memset(ram(d, TXD), 0, N * DESC_BYTES);
    memset(ram(d, RXD), 0, N * DESC_BYTES);
    memset(ram(d, BUFFERS), 0, BUFFERS_SIZE);
    for (unsigned i = 0; i < N; i++) {
        nic_put_le(ram(d, RXD + DESC_BYTES * i), 8, RX_BUFFERS + i * 0x1000);
    }
    place_rings(d);
    wr(d, E_TCTL, 2 | 8);
    wr(d, E_RCTL, 2 | 1 << 15 | 1 << 26);
}

/* ---- descriptors ---- */

static uint64_t any_address(Bytes *b)
{
    uint8_t kind = bytes_u8(b);
    uint64_t low = bytes_le(b, 3);
    return kind < 240   ? BUFFERS + low % BUFFERS_SIZE
           : kind < 248 ? low + (16u << 20) - 0x800 /* around the end of memory */
           : kind < 252 ? NIC_MEM + low % E_SIZE
                        : bytes_le(b, 8);
}

/* A context, data or legacy descriptor; the bits that make it one are mostly as they should be. */
static void any_descriptor(E1000Drive *d, Bytes *b)
{
    uint8_t kind = bytes_u8(b), raw[DESC_BYTES];
    bytes_read(b, raw, sizeof(raw));
    if (kind < 64) { /* context: offsets of an IPv4 or IPv6 packet, mostly */
        raw[0] = kind & 1 ? raw[0] : 14;
        raw[3] = kind & 2 ? raw[3] : 34;
        raw[10] = (raw[10] & 0xf) | TYPE_CONTEXT;
        raw[11] |= CMD_DEXT;
        raw[13] = kind & 4 ? raw[13] : 54;
    } else if (kind < 250) {
        nic_put_le(raw, 8, any_address(b));
        nic_put_le(raw + 8, 2, bytes_length(b));
        raw[10] = (raw[10] & 0xf) | (kind < 160 ? TYPE_DATA : raw[10] & 0xf0);
        raw[11] = (uint8_t)(kind < 160 ? raw[11] | CMD_DEXT : raw[11] & ~CMD_DEXT);
    }
    memcpy(ram(d, TXD + DESC_BYTES * d->tail), raw, sizeof(raw));
    d->tail = (d->tail + 1) % N;
}

static void any_transmission(E1000Drive *d, Bytes *b)
{
    frame_any(ram(d, BUFFERS), 2000, b);
    for (unsigned i = bytes_u8(b) % 6 + 1; i > 0; i--) {
        any_descriptor(d, b);
    }
    wr(d, E_TDT, d->tail);
}

/* ---- everything else ---- */

static unsigned any_offset(Bytes *b)
{
    static const uint16_t blocks[] = { 0, 0x100, 0x400, 0x2800, 0x3800, 0x5000, 0x5400, 0x5800 };
    uint8_t kind = bytes_u8(b);
    return kind < 224 ? blocks[kind % G_N_ELEMENTS(blocks)] + 4u * (bytes_u8(b) & 15)
                      : (unsigned)bytes_le(b, 3) % E_SIZE & ~3u;
}

static void any_register(E1000Drive *d, Bytes *b)
{
    unsigned at = any_offset(b), how = bytes_u8(b);
    uint32_t v = bytes_u32(b);
    if (how & 1) {
        (void)rd(d, at);
    } else if (how & 2) { /* the same by ports */
        pctest_out(d->n.t, NIC_PORTS, at, 4);
        pctest_out(d->n.t, NIC_PORTS + 4, v, 4);
    } else {
        wr(d, at, how < 192 ? v : v & 0xff);
    }
}

static void any_arrival(E1000Drive *d, Bytes *b)
{
    static uint8_t f[NET_FRAME_MAX];
    uint8_t kind = bytes_u8(b);
    size_t len = bytes_length(b) % NET_FRAME_MAX;
    NetHdr h = { .needs_csum = kind & 1, .csum_valid = kind & 2,
                 .gso = kind >> 2 & 1 ? 1 + (kind >> 3 & 1) : 0,
                 .csum_offset = 16 };
    h.csum_start = h.gso == NET_GSO_TCP6 ? 54 : 34;
    h.gso_size = h.gso ? (uint16_t)(bytes_u16(b) | 64) : 0;
    frame_any(f, len, b);
    test_nic_send(d->n.peer, &h, f, len);
}

static void any_memory(E1000Drive *d, Bytes *b)
{
    static const hwaddr places[] = { TXD, RXD, BUFFERS, BUFFERS };
    hwaddr at = places[bytes_u8(b) % G_N_ELEMENTS(places)] + bytes_u16(b) % (N * DESC_BYTES);
    bytes_read(b, ram(d, at), bytes_u8(b) % 32);
}

void e1000drive_run(E1000Drive *d, Bytes *b)
{
    while (b->left) {
        uint8_t what = bytes_u8(b);
        switch (what % 16) {
        case 0: case 1: case 2: case 3: case 4: any_transmission(d, b); break;
        case 5: case 6: case 7: case 8: any_arrival(d, b); break;
        case 9: case 10: any_register(d, b); break;
        case 11: any_memory(d, b); break;
        case 12: wr(d, E_RDT, (rd(d, E_RDH) + what) % N); break;
        case 13: wr(d, E_RCTL, bytes_u32(b) | (what < 0xc0 ? 2 : 0)); break;
        case 14: what < 0x40 ? place_rings(d) : (void)rd(d, E_ICR); break;
        default: what < 0xf0 ? nicguest_turns(&d->n)
                             : (void)net_set_link(d->n.t->m, "card", bytes_u8(b) & 1, NULL); break;
        }
    }
    nicguest_turns(&d->n);
    test_nic_drop(d->n.peer);
}

void e1000drive_check(E1000Drive *d)
{
    uint8_t f[60];
    e1000drive_start(d);
    net_set_link(d->n.t->m, "card", false, NULL); /* what has waited for a buffer is dropped */
    nicguest_turns(&d->n);
    net_set_link(d->n.t->m, "card", true, NULL);
    test_nic_drop(d->n.peer);
    unsigned before = rd(d, E_RDH);
    nicguest_arrive(&d->n, f, nic_own, sizeof(f));
    g_assert_cmpuint(rd(d, E_RDH), ==, (before + 1) % N);
    memcpy(ram(d, BUFFERS), f, sizeof(f));
    nic_put_le(ram(d, TXD), 8, BUFFERS);
    nic_put_le(ram(d, TXD) + 8, 4, sizeof(f) | 1u << 24); /* the frame's end */
    wr(d, E_TDT, 1);
    nicguest_sent(&d->n, f, sizeof(f));
}
