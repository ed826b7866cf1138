/* SPDX-License-Identifier: MIT
 * tests/device/test-nics.c - the older network cards by their data sheets: hw/net/rtl8139.c, pcnet.c,
 * ne2k_pci.c and hw/net/nic.c: sending, receiving through the filters, rings that are full, hostile ones.
 * Threads: main.
 */
#include "nicguest.h"
#include "hw/net/nic.h"
#include "net/net_internal.h"

enum { TXD = 0x10000, RXD = 0x20000, BUF = 0x100000, RXBUF = 0x140000, N = 8 };
static const char group[] = "\1\0\x5e\0\0\1", other[] = "\x52\x54\0\1\2\3";

static uint32_t in(NicGuest *g, unsigned at, unsigned n)
{
    return pctest_in(g->t, (uint16_t)(NIC_PORTS + at), n);
}

static void out(NicGuest *g, unsigned at, unsigned n, uint32_t v)
{
    pctest_out(g->t, (uint16_t)(NIC_PORTS + at), v, n);
}

static void put(NicGuest *g, hwaddr at, unsigned n, uint64_t v)
{
    nic_put_le(nicguest_ram(g, at), n, v);
}

static uint32_t get32(NicGuest *g, hwaddr at)
{
    return nic_le32(nicguest_ram(g, at));
}

/* ---- RTL8139C+ ---- */

enum { R_MAR = 8, R_TSD = 0x10, R_TSAD = 0x20, R_RBSTART = 0x30, R_CR = 0x37, R_CAPR = 0x38, R_CBR = 0x3a,
       R_IMR = 0x3c, R_ISR = 0x3e, R_TCR = 0x40, R_RCR = 0x44, R_9346CR = 0x50, R_TPPOLL = 0xd9,
       R_CPCR = 0xe0, R_RDSAR = 0xe4 };
enum { OWN_TOK = 0xa000, RCR_NORMAL = 0xe };
#define RTL_OWN (1u << 31)
#define RTL_EOR (1u << 30)
enum { RTL_FS = 1 << 29, RTL_LS = 1 << 28 };

static void rtl_wires(NicGuest *g, unsigned wires)
{
    out(g, R_9346CR, 1, 0x80 | wires);
}

static bool rtl_data(NicGuest *g)
{
    return in(g, R_9346CR, 1) & 1;
}

static void rtl_open(NicGuest *g)
{
    nicguest_open(g, "rtl8139", -1, 0);
    out(g, R_CR, 1, 0x10);
    g_assert_cmphex(in(g, R_CR, 1), ==, 1); /* the reset is over, the ring is empty */
}

static void rtl_ring(NicGuest *g)
{
    out(g, R_RBSTART, 4, RXBUF);
    out(g, R_RCR, 4, RCR_NORMAL);
    out(g, R_CR, 1, 0xc);
}

static void test_rtl_identity(void)
{
    NicGuest g;
    rtl_open(&g);
    g_assert_cmphex(in(&g, R_TCR, 4) & 0x7cc00000, ==, 0x74800000);
    g_assert_cmphex(nicguest_eeprom(&g, 0, rtl_wires, rtl_data), ==, 0x8129);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmphex(nicguest_eeprom(&g, 7 + i, rtl_wires, rtl_data), ==,
                        nic_le16((const uint8_t *)nic_own + 2 * i));
    }
    out(&g, R_9346CR, 1, 0);
    out(&g, 0, 4, 0x12345678); /* locked */
    g_assert_cmphex(in(&g, 0, 4), ==, nic_le32((const uint8_t *)nic_own));
    out(&g, R_9346CR, 1, 0xc0);
    out(&g, 0, 4, 0x12345678);
    g_assert_cmphex(in(&g, 0, 4), ==, 0x12345678);
    nicguest_close(&g);
}

static void test_rtl_slots(void)
{
    NicGuest g;
    uint8_t f[1000];
    rtl_open(&g);
    out(&g, R_CR, 1, 4);
    for (unsigned i = 0; i < 6; i++) { /* around */
        frame_fill(f, sizeof(f), i);
        memcpy(nicguest_ram(&g, BUF), f, sizeof(f));
        out(&g, R_TSAD + 4 * (i % 4), 4, BUF);
        out(&g, R_TSD + 4 * (i % 4), 4, sizeof(f));
        g_assert_cmphex(in(&g, R_TSD + 4 * (i % 4), 4), ==, OWN_TOK | sizeof(f));
        g_assert_cmphex(in(&g, R_ISR, 2), ==, 4);
        out(&g, R_ISR, 2, 4);
        nicguest_sent(&g, f, sizeof(f));
    }
    nicguest_close(&g);
}

static unsigned rtl_arrives(NicGuest *g, const char *dst)
{
    uint8_t f[100];
    unsigned at = in(g, R_CBR, 2);
    nicguest_arrive(g, f, dst, sizeof(f));
    unsigned now = in(g, R_CBR, 2), status = nic_le16(nicguest_ram(g, RXBUF + at));
    out(g, R_CAPR, 2, (now - 16) & 0xffff);
    return now == at ? 0 : status;
}

static void test_rtl_ring(void)
{
    NicGuest g;
    uint8_t f[1500];
    rtl_open(&g);
    rtl_ring(&g);
    nicguest_arrive(&g, f, nic_own, 50);
    g_assert_cmphex(in(&g, R_CR, 1) & 1, ==, 0);
    g_assert_cmphex(get32(&g, RXBUF), ==, 0x4001 | 64 << 16); /* padded, with its CRC */
    g_assert_cmpmem(nicguest_ram(&g, RXBUF + 4), 50, f, 50);
    g_assert_cmphex(get32(&g, RXBUF + 64), ==, nic_crc(nicguest_ram(&g, RXBUF + 4), 60));
    g_assert_cmpuint(in(&g, R_CBR, 2), ==, 68);
    out(&g, R_CAPR, 2, 68 - 16);
    g_assert_cmphex(in(&g, R_CR, 1) & 1, ==, 1);
    g_assert_cmphex(rtl_arrives(&g, nic_all), ==, 0x2001);
    g_assert_cmphex(rtl_arrives(&g, other), ==, 0);
    g_assert_cmphex(rtl_arrives(&g, group), ==, 0x8001); /* after reset all of them are let in */
    out(&g, R_MAR, 4, 0);
    out(&g, R_MAR + 4, 4, 0);
    g_assert_cmphex(rtl_arrives(&g, group), ==, 0);
    unsigned h = nic_hash((const uint8_t *)group) >> 26;
    out(&g, R_MAR + h / 8, 1, 1u << h % 8);
    g_assert_cmphex(rtl_arrives(&g, group), ==, 0x8001);
    out(&g, R_RCR, 4, 0xf);
    g_assert_cmphex(rtl_arrives(&g, other), ==, 1);
    /* until it is full, and around its end */
    out(&g, R_ISR, 2, 0xffff);
    for (unsigned i = 0; i < 20; i++) {
        nicguest_arrive(&g, f, nic_own, sizeof(f));
    }
    g_assert_cmphex(in(&g, R_ISR, 2) & 0x10, ==, 0x10);
    unsigned frames = 0;
    for (unsigned at = (in(&g, R_CAPR, 2) + 16) % 8192; !(in(&g, R_CR, 1) & 1); frames++) {
        g_assert_cmphex(get32(&g, RXBUF + at), ==, 0x4001 | 1504u << 16);
        for (unsigned k = 0; k < sizeof(f); k++) {
            g_assert_cmphex(*nicguest_ram(&g, RXBUF + (at + 4 + k) % 8192), ==, f[k]);
        }
        at = (at + 4 + 1504) % 8192;
        out(&g, R_CAPR, 2, (at - 16) & 0xffff);
        nicguest_turns(&g);
    }
    g_assert_cmpuint(frames, ==, 20); /* none was lost */
    nicguest_close(&g);
}

static void rtl_desc(NicGuest *g, hwaddr at, uint32_t first, uint32_t second, uint64_t addr)
{
    put(g, at + 4, 4, second);
    put(g, at + 8, 8, addr);
    put(g, at, 4, first);
}

static void rtl_rings(NicGuest *g)
{
    out(g, R_CPCR, 2, 0x63);
    out(g, R_TSAD, 4, TXD);
    out(g, R_TSAD + 4, 4, 0);
    out(g, R_RDSAR, 4, RXD);
    out(g, R_RDSAR + 4, 4, 0);
    out(g, R_RCR, 4, RCR_NORMAL);
    out(g, R_CR, 1, 0xc);
}

static void test_rtl_send(void)
{
    NicGuest g;
    uint8_t *f;
    rtl_open(&g);
    rtl_rings(&g);
    f = nicguest_ram(&g, BUF);
    frame_fill(f, 300, 3); /* in two parts, with a tag */
    rtl_desc(&g, TXD, RTL_OWN | RTL_FS | 100, 1 << 17 | 0x0500, BUF);
    rtl_desc(&g, TXD + 16, RTL_OWN | RTL_EOR | RTL_LS | 200, 0, BUF + 100);
    out(&g, R_TPPOLL, 1, 0x40);
    nicguest_turns(&g);
    g_autoptr(GByteArray) tagged = test_nic_take(g.peer);
    g_assert_cmpuint(tagged->len, ==, 304);
    g_assert_cmpmem(tagged->data + 12, 4, "\x81\0\0\5", 4);
    g_assert_cmpmem(tagged->data + 16, 288, f + 12, 288);
    g_assert_cmphex(get32(&g, TXD) | get32(&g, TXD + 16), <, RTL_OWN);
    g_assert_cmphex(in(&g, R_ISR, 2), ==, 0x84);
    for (unsigned tcp = 0; tcp < 2; tcp++) { /* checksums */
        size_t len = nicguest_packet(f, tcp, 777);
        uint32_t want = 1 << 18 | 1u << (17 - tcp) | (uint32_t)len;
        rtl_desc(&g, TXD, RTL_OWN | RTL_EOR | RTL_FS | RTL_LS | want, 0, BUF);
        out(&g, R_TPPOLL, 1, 0x40);
        nicguest_turns(&g);
        g_autoptr(GByteArray) got = test_nic_take(g.peer);
        nicguest_check_packet(got->data, got->len, tcp);
        g_assert_cmpmem(got->data + 54, got->len - 54, f + 54, len - 54);
    }
    size_t len = nicguest_packet(f, true, 5000), at = 0; /* segments */
    rtl_desc(&g, TXD, RTL_OWN | RTL_EOR | RTL_FS | RTL_LS | 1 << 27 | 1000 << 16 | (uint32_t)len, 0, BUF);
    out(&g, R_TPPOLL, 1, 0x40);
    nicguest_turns(&g);
    g_assert_cmpuint(g.peer->got->len, ==, 5);
    for (GByteArray *one; (one = test_nic_take(g.peer)) != NULL; at += 1000) {
        nicguest_check_packet(one->data, one->len, true);
        g_assert_cmpmem(one->data + 54, one->len - 54, f + 54 + at, 1000);
        g_byte_array_unref(one);
    }
    nicguest_close(&g);
}

static void test_rtl_receive(void)
{
    NicGuest g;
    uint8_t f[200];
    rtl_open(&g);
    rtl_rings(&g);
    for (unsigned i = 0; i < N; i++) {
        rtl_desc(&g, RXD + 16 * i, RTL_OWN | (i == N - 1 ? RTL_EOR : 0) | 128, 0, RXBUF + 0x1000 * i);
    }
    nicguest_arrive(&g, f, nic_own, sizeof(f)); /* over two */
    g_assert_cmphex(get32(&g, RXD), ==, RTL_FS | 1 << 25 | 204);
    g_assert_cmphex(get32(&g, RXD + 16), ==, RTL_LS | 1 << 25 | 204);
    g_assert_cmpmem(nicguest_ram(&g, RXBUF), 128, f, 128);
    g_assert_cmpmem(nicguest_ram(&g, RXBUF + 0x1000), 72, f + 128, 72);
    memcpy(f + 12, "\x81\0\0\7", 4);
    test_nic_send(g.peer, NULL, f, 100); /* its tag is taken off */
    nicguest_turns(&g);
    g_assert_cmphex(get32(&g, RXD + 32) & 0x1fff, ==, 100);
    g_assert_cmphex(get32(&g, RXD + 36), ==, 1 << 16 | 0x0700);
    for (unsigned i = 3; i < N; i++) {
        nicguest_arrive(&g, f, nic_all, 100);
        g_assert_cmphex(get32(&g, RXD + 16 * i) & 1 << 24, ==, 1 << 24);
    }
    nicguest_arrive(&g, f, nic_own, 64); /* none left: it waits */
    g_assert_cmphex(in(&g, R_ISR, 2) & 0x10, ==, 0x10);
    rtl_desc(&g, RXD, RTL_OWN | 128, 0, RXBUF);
    out(&g, R_ISR, 2, 0xffff);
    nicguest_turns(&g);
    g_assert_cmphex(get32(&g, RXD) & 0x1fff, ==, 68);
    nicguest_close(&g);
}

/* ---- Am79C970A ---- */

enum { P_RDP = 0x10, P_RAP = 0x12, P_RESET = 0x14, P_BDP = 0x16, P_INIT = 0x8000 };

static void csr(NicGuest *g, unsigned n, unsigned v)
{
    out(g, P_RAP, 2, n);
    out(g, P_RDP, 2, v);
}

static unsigned csr_read(NicGuest *g, unsigned n)
{
    out(g, P_RAP, 2, n);
    return in(g, P_RDP, 2);
}

/* Rings of eight, of the shape that the style says. */
static void pcnet_start(NicGuest *g, unsigned style, unsigned mode)
{
    unsigned step = style ? 16 : 8;
    in(g, P_RESET, 2);
    g_assert_cmphex(csr_read(g, 0), ==, 4);
    out(g, P_RAP, 2, 20);
    out(g, P_BDP, 2, style);
    memset(nicguest_ram(g, P_INIT), 0, 32);
    memset(nicguest_ram(g, TXD), 0, N * step);
    put(g, P_INIT, 2, mode);
    memcpy(nicguest_ram(g, P_INIT + (style ? 4 : 2)), nic_own, 6);
    if (style) {
        put(g, P_INIT + 2, 2, 3 << 12 | 3 << 4);
        put(g, P_INIT + 20, 4, RXD);
        put(g, P_INIT + 24, 4, TXD);
    } else {
        put(g, P_INIT + 16, 4, RXD | 3u << 29);
        put(g, P_INIT + 20, 4, TXD | 3u << 29);
    }
    for (unsigned i = 0; i < N; i++) {
        hwaddr d = RXD + step * i;
        memset(nicguest_ram(g, d), 0, step);
        put(g, d + (style == 3 ? 8 : 0), style ? 4 : 3, RXBUF + 0x1000 * i);
        put(g, d + 4, 2, 0xf000 | (-256 & 0xfff));
        *nicguest_ram(g, d + (style ? 7 : 3)) = 0x80;
    }
    csr(g, 1, P_INIT);
    csr(g, 2, 0);
    csr(g, 4, 0x1915);
    csr(g, 0, 1);
    g_assert_cmphex(csr_read(g, 0) & 0x101, ==, 0x101);
    csr(g, 0, 0x142);
    g_assert_cmphex(csr_read(g, 0) & 0x32, ==, 0x32);
}

static void pcnet_send(NicGuest *g, unsigned style, unsigned i, hwaddr at, unsigned len, unsigned flags)
{
    hwaddr d = TXD + (style ? 16 : 8) * i;
    put(g, d + (style == 3 ? 8 : 0), style ? 4 : 3, at);
    put(g, d + 4, 2, 0xf000 | (-len & 0xfff));
    *nicguest_ram(g, d + (style ? 7 : 3)) = (uint8_t)(0x80 | flags);
}

static void test_pcnet(void)
{
    NicGuest g;
    uint8_t f[600];
    nicguest_open(&g, "pcnet", 1, 0);
    for (unsigned i = 0; i < 6; i++) {
        g_assert_cmphex(in(&g, i, 1), ==, (uint8_t)nic_own[i]);
    }
    g_assert_cmphex(csr_read(&g, 88) | csr_read(&g, 89) << 16, ==, 0x02621003);
    for (unsigned style = 0; style <= 3; style++) {
        if (style == 1) {
            continue; /* of a chip before: as 2 */
        }
        unsigned step = style ? 16 : 8, flags = style ? 7 : 3;
        pcnet_start(&g, style, 0);
        for (unsigned i = 0; i < 2 * N; i++) { /* each frame in two parts, around the ring */
            frame_fill(f, 400, i);
            memcpy(nicguest_ram(&g, BUF), f, 400);
            unsigned at = 2 * i % N;
            pcnet_send(&g, style, at, BUF, 100, 2);
            pcnet_send(&g, style, at + 1, BUF + 100, 300, 1);
            csr(&g, 0, 0x48);
            nicguest_sent(&g, f, 400);
            g_assert_cmphex(*nicguest_ram(&g, TXD + step * (at + 1) + flags), ==, 1);
            g_assert_cmphex(csr_read(&g, 0) & 0x200, ==, 0x200);
            csr(&g, 0, 0x240);
        }
        nicguest_arrive(&g, f, nic_own, 600); /* over three of 256 */
        g_assert_cmphex(*nicguest_ram(&g, RXD + flags), ==, 2);
        g_assert_cmphex(*nicguest_ram(&g, RXD + step + flags), ==, 0);
        g_assert_cmphex(*nicguest_ram(&g, RXD + 2 * step + flags), ==, 1);
        unsigned count = style == 0 ? 6 : style == 3 ? 0 : 8;
        g_assert_cmpuint(nic_le16(nicguest_ram(&g, RXD + 2 * step + count)) & 0xfff, ==, 604);
        g_assert_cmpmem(nicguest_ram(&g, RXBUF + 0x2000), 88, f + 512, 88);
        g_assert_cmphex(csr_read(&g, 0) & 0x400, ==, 0x400);
        nicguest_arrive(&g, f, other, 100);
        nicguest_arrive(&g, f, group, 100);
        g_assert_cmphex(*nicguest_ram(&g, RXD + 3 * step + flags), ==, 0x80);
        for (unsigned i = 3; i < N; i++) {
            nicguest_arrive(&g, f, nic_all, 100);
            g_assert_cmphex(*nicguest_ram(&g, RXD + i * step + flags), ==, 3);
        }
        nicguest_arrive(&g, f, nic_own, 99); /* none left: it waits */
        *nicguest_ram(&g, RXD + flags) = 0x80;
        csr(&g, 0, 0x440);
        nicguest_turns(&g);
        g_assert_cmpmem(nicguest_ram(&g, RXBUF), 99, f, 99);
    }
    /* the filter, promiscuous mode, loopback, double words until the next reset */
    pcnet_start(&g, 2, 0);
    unsigned h = ~nic_crc((const uint8_t *)group, 6) >> 26;
    csr(&g, 0, 4);
    csr(&g, 8 + h / 16, 1u << h % 16);
    csr(&g, 0, 0x42);
    nicguest_arrive(&g, f, group, 100);
    g_assert_cmphex(get32(&g, RXD + 4) >> 20, ==, 0x032);
    pcnet_start(&g, 2, 0x8000);
    nicguest_arrive(&g, f, other, 100);
    g_assert_cmphex(get32(&g, RXD + 4) >> 24, ==, 3);
    pcnet_start(&g, 2, 4);
    memcpy(nicguest_ram(&g, BUF), nic_own, 6);
    pcnet_send(&g, 2, 0, BUF, 100, 3);
    csr(&g, 0, 0x48);
    nicguest_turns(&g);
    g_assert_cmpuint(g.peer->got->len, ==, 0);
    g_assert_cmphex(get32(&g, RXD + 4) >> 24, ==, 3);
    out(&g, P_RDP, 4, 0);
    g_assert_cmphex(in(&g, P_RDP, 2), ==, 0xffff);
    out(&g, 0x14, 4, 88);
    g_assert_cmphex(in(&g, P_RDP, 4), ==, 0x1003);
    nicguest_close(&g);
}

/* ---- RTL8029 ---- */

static void ne2k_remote(NicGuest *g, unsigned at, unsigned len, unsigned command)
{
    out(g, 0, 1, 0x22);
    out(g, 8, 1, at & 0xff);
    out(g, 9, 1, at >> 8);
    out(g, 0xa, 1, len & 0xff);
    out(g, 0xb, 1, len >> 8);
    out(g, 0, 1, command);
}

static void ne2k_start(NicGuest *g)
{
    in(g, 0x18, 1);
    g_assert_cmphex(in(g, 7, 1) & 0x80, ==, 0x80);
    out(g, 0, 1, 0x21);
    out(g, 0xe, 1, 0x49);
    out(g, 0xc, 1, 4);
    out(g, 0xd, 1, 0);
    out(g, 1, 1, 0x46);
    out(g, 2, 1, 0x7f);
    out(g, 3, 1, 0x46);
    out(g, 0, 1, 0x61);
    for (unsigned i = 0; i < 6; i++) {
        out(g, 1 + i, 1, (uint8_t)nic_own[i]);
    }
    out(g, 7, 1, 0x47);
    out(g, 0, 1, 0x22);
    out(g, 7, 1, 0xff);
}

static unsigned ne2k_current(NicGuest *g)
{
    out(g, 0, 1, 0x62);
    unsigned v = in(g, 7, 1);
    out(g, 0, 1, 0x22);
    return v;
}

static void test_ne2k(void)
{
    NicGuest g;
    uint8_t f[1000];
    nicguest_open(&g, "ne2k_pci", -1, 0);
    ne2k_start(&g);
    g_assert_cmphex(in(&g, 0xa, 2), ==, 0x4350);
    ne2k_remote(&g, 0, 32, 0xa);
    for (unsigned i = 0; i < 16; i++) {
        unsigned b = i < 6 ? (uint8_t)nic_own[i] : i < 14 ? 0 : 0x57;
        g_assert_cmphex(in(&g, 0x10, 2), ==, b | b << 8);
    }
    g_assert_cmphex(in(&g, 7, 1) & 0x40, ==, 0x40);
    frame_fill(f, sizeof(f), 5); /* out: words, double words */
    ne2k_remote(&g, 0x4000, sizeof(f), 0x12);
    for (unsigned i = 0; i < sizeof(f); i += 4) {
        if (i < 500) {
            out(&g, 0x10, 4, nic_le32(f + i));
        } else {
            out(&g, 0x10, 2, nic_le16(f + i));
            out(&g, 0x10, 2, nic_le16(f + i + 2));
        }
    }
    out(&g, 4, 1, 0x40);
    out(&g, 5, 1, sizeof(f) & 0xff);
    out(&g, 6, 1, sizeof(f) >> 8);
    out(&g, 0, 1, 0x26);
    nicguest_sent(&g, f, sizeof(f));
    g_assert_cmphex(in(&g, 0, 1) & 4, ==, 0);
    g_assert_cmphex(in(&g, 7, 1) & 2, ==, 2);
    /* in, around the ring's end; none is lost when it is full */
    unsigned page = 0x47, waiting = 0;
    out(&g, 0, 1, 0); /* neither starts nor stops it */
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned k = 0; i < 15 && k < 2; k++, waiting++) {
            nicguest_arrive(&g, f, nic_own, sizeof(f));
        }
        if (i < 20 && i % 2) {
            continue;
        }
        if (ne2k_current(&g) == page) {
            break;
        }
        uint8_t got[1008];
        ne2k_remote(&g, page << 8, sizeof(got), 0xa);
        for (unsigned k = 0; k < sizeof(got); k += 4) {
            nic_put_le(got + k, 4, in(&g, 0x10, 4));
        }
        unsigned next = 0x46 + (page - 0x46 + 4) % 0x39;
        g_assert_cmphex(nic_le32(got), ==, 1 | next << 8 | 1008u << 16);
        g_assert_cmpmem(got + 4, sizeof(f), f, sizeof(f));
        page = next;
        out(&g, 7, 1, 0xff); /* the ring holds 13: of them it is told again while others wait */
        g_assert_cmphex(in(&g, 7, 1) & 1, ==, waiting > 13);
        out(&g, 3, 1, page == 0x46 && i >= 60 ? 0x7e : page - 1); /* both are the page before the first */
        nicguest_turns(&g);
        waiting--;
    }
    g_assert_cmpuint(waiting, ==, 0);
    nicguest_arrive(&g, f, other, 100);
    nicguest_arrive(&g, f, group, 100);
    g_assert_cmpuint(ne2k_current(&g), ==, page);
    out(&g, 0xc, 1, 0x14);
    nicguest_arrive(&g, f, other, 100);
    g_assert_cmpuint(ne2k_current(&g), !=, page);
    nicguest_close(&g);
}

/* A frame of descriptors that waits for the network, the longest one and tagged, is none of the other way's,
 * and nothing is put behind it. */
static void test_rtl_stalled(void)
{
    NicGuest g;
    uint8_t f[100];
    enum { LONGEST = 65528, RING = 64 };
    unsigned at = 0;
    rtl_open(&g);
    rtl_rings(&g);
    frame_fill(nicguest_ram(&g, BUF), LONGEST, 1);
    for (unsigned i = 0; i < RING; i++) {
        rtl_desc(&g, TXD + 16 * i, RTL_OWN | RTL_FS | RTL_LS | (i == RING - 1 ? RTL_EOR : 0) | LONGEST,
                 1 << 17 | 0x0500, BUF);
    }
    out(&g, R_TPPOLL, 1, 0x40);
    while (get32(&g, TXD + 16 * at) < RTL_OWN) {
        at++;
    }
    g_assert_cmpuint(at, <, RING); /* the network is full */
    out(&g, R_CPCR, 2, 0);
    out(&g, R_CR, 1, 0xc);
    rtl_desc(&g, TXD + 16 * at, RTL_OWN | 0xffff, 0, BUF);
    memset(nicguest_ram(&g, TXD + 16 * (at + 1)), 0, 16 * (RING - at - 1));
    out(&g, R_CPCR, 2, 1);
    out(&g, R_TPPOLL, 1, 0x40);
    nicguest_turns(&g);
    g_assert_cmpuint(g.peer->got->len, ==, at);
    test_nic_drop(g.peer);
    frame_fill(f, sizeof(f), 2);
    memcpy(nicguest_ram(&g, BUF), f, sizeof(f));
    rtl_desc(&g, TXD + 16 * (at + 1), RTL_OWN | RTL_FS | RTL_LS | sizeof(f), 0, BUF);
    out(&g, R_TPPOLL, 1, 0x40);
    nicguest_sent(&g, f, sizeof(f));
    nicguest_close(&g);
}

/* ---- hostile drivers: registers, descriptors and frames at random; RHEA_NIC_CASES of them ---- */

static void hostile(const char *type, unsigned size, void (*start)(NicGuest *g))
{
    NicGuest g;
    GRand *rand = g_rand_new_with_seed((guint32)g_test_rand_int());
    uint8_t f[2000];
    nicguest_open(&g, type, -1, 0);
    for (unsigned i = 0; i < nicguest_cases(); i++) {
        if (i % 64 == 0) {
            start(&g);
        }
        for (unsigned k = 0; k < 8; k++) {
            hwaddr at = (g_rand_boolean(rand) ? TXD : RXD) + 16 * (hwaddr)g_rand_int_range(rand, 0, N);
            put(&g, at + 4 * (hwaddr)g_rand_int_range(rand, 0, 4), 4, g_rand_int(rand));
            *nicguest_ram(&g, at + (g_rand_boolean(rand) ? 3 : 7)) |= 0x80; /* mostly the card's */
        }
        unsigned n = 1u << g_rand_int_range(rand, 0, 3), at = g_rand_int(rand) % size & ~(n - 1);
        uint32_t v = g_rand_int(rand) >> g_rand_int_range(rand, 0, 32);
        g_rand_int_range(rand, 0, 3) ? out(&g, at, n, v) : (void)in(&g, at, n);
        out(&g, size == 0x20 ? P_RDP : R_TPPOLL, size == 0x20 ? 2 : 1, size == 0x20 ? 0x48 : 0xc0);
        if (i % 256 < 192) { /* else nobody takes what is sent, until the network is full */
            nicguest_arrive(&g, f, g_rand_boolean(rand) ? nic_own : nic_all,
                            (size_t)g_rand_int_range(rand, NET_ETH, sizeof(f)));
            test_nic_drop(g.peer);
        }
    }
    g_rand_free(rand);
    nicguest_close(&g);
}

static void pcnet_anew(NicGuest *g)
{
    device_reset(g->card, RESET_COLD); /* also out of the double-word mode */
    pctest_config_write(g->t, NIC_FN, 0x10, NIC_PORTS, 4);
    pctest_config_write(g->t, NIC_FN, 4, 7, 2);
    pcnet_start(g, 2, 0);
}

static void rtl_anew(NicGuest *g)
{
    out(g, R_CR, 1, 0x10);
    rtl_rings(g);
}

static void test_hostile(void)
{
    hostile("rtl8139", 0x100, rtl_anew);
    hostile("pcnet", 0x20, pcnet_anew);
    hostile("ne2k_pci", 0x20, ne2k_start);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    net_register();
    g_test_add_func("/nics/rtl8139/identity", test_rtl_identity);
    g_test_add_func("/nics/rtl8139/slots", test_rtl_slots);
    g_test_add_func("/nics/rtl8139/ring", test_rtl_ring);
    g_test_add_func("/nics/rtl8139/send", test_rtl_send);
    g_test_add_func("/nics/rtl8139/stalled", test_rtl_stalled);
    g_test_add_func("/nics/rtl8139/receive", test_rtl_receive);
    g_test_add_func("/nics/pcnet", test_pcnet);
    g_test_add_func("/nics/ne2k_pci", test_ne2k);
    g_test_add_func("/nics/hostile", test_hostile);
    return g_test_run();
}
