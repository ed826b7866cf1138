/* SPDX-License-Identifier: MIT
 * tests/device/test-e1000.c - the 82540EM by the sections of Intel's manual (317453): EEPROM and PHY
 * (hw/net/e1000-phy.c), sending by all kinds of descriptors (hw/net/e1000-tx.c), receiving through the
 * filters (hw/net/e1000-rx.c), registers, interrupts, hostile rings (hw/net/e1000.c). At the other end of the
 * cable, behind a hub, is a card of the test's own. Threads: main.
 */
#include "e1000drive.h"
#include "hw/net/e1000.h"
#include "net/net_internal.h"
#include "rhea/schema/type.h"

#include <string.h>

enum { FN = NIC_FN, BAR = NIC_MEM, TXD = 0x10000, RXD = 0x20000, BUF = 0x100000, N = 32 };
enum { EOP = 1, IC = 4, TSE = 4, RS = 8, DEXT = 0x20, VLE = 0x40 };

typedef struct Guest {
    NicGuest n;
    unsigned tail;
} Guest;

static uint8_t *ram(Guest *g, hwaddr at)
{
    return g->n.t->m->ram->host + at;
}

static uint32_t rd(Guest *g, unsigned off)
{
    return (uint32_t)pctest_read(g->n.t, BAR + off, 4);
}

static void wr(Guest *g, unsigned off, uint32_t v)
{
    pctest_write(g->n.t, BAR + off, v, 4);
}

static void put(uint8_t *p, unsigned n, uint64_t v)
{
    for (unsigned i = 0; i < n; i++) {
        p[i] = (uint8_t)(v >> (8 * i));
    }
}

static void turns(Guest *g)
{
    for (unsigned i = 0; i < 1000 && loop_turn(g->n.t->loop, false); i++) {
    }
}

static void guest_start(Guest *g)
{
    memset(ram(g, TXD), 0, N * 16);
    memset(ram(g, RXD), 0, N * 16);
    g->tail = 0;
    wr(g, E_CTRL, CTRL_RST);
    wr(g, E_TDBAL, TXD);
    wr(g, E_TDLEN, N * 16);
    wr(g, E_TCTL, 2 | 8);
    for (unsigned i = 0; i < N; i++) {
        put(ram(g, RXD + 16 * i), 8, BUF + 0x40000 + i * 0x1000);
    }
    wr(g, E_RDBAL, RXD);
    wr(g, E_RDLEN, N * 16);
    wr(g, E_RDT, N - 1);
    wr(g, E_RCTL, 2 | 1 << 15 | 1 << 26);
}

static void guest_open(Guest *g)
{
    nicguest_open(&g->n, "e1000", 0, -1);
    guest_start(g);
}

static void guest_close(Guest *g)
{
    nicguest_close(&g->n);
}

/* ---- 5, 8: EEPROM and PHY ---- */

enum { EE_BASE = 0x42 }; /* request, chip select */

static void eeprom_command(Guest *g, unsigned command)
{
    wr(g, E_EECD, 0x40);
    g_assert_cmphex(rd(g, E_EECD) & 0x1c0, ==, 0x1c0);
    wr(g, E_EECD, EE_BASE);
    for (int i = 8; i >= 0; i--) {
        uint32_t di = command >> i & 1 ? 4 : 0;
        wr(g, E_EECD, EE_BASE | di);
        wr(g, E_EECD, EE_BASE | di | 1);
        wr(g, E_EECD, EE_BASE | di);
    }
}

static unsigned eeprom_bits(Guest *g)
{
    unsigned word = 0;
    for (unsigned i = 0; i < 16; i++) {
        wr(g, E_EECD, EE_BASE | 1);
        word = word << 1 | (rd(g, E_EECD) >> 3 & 1);
        wr(g, E_EECD, EE_BASE);
    }
    return word;
}

static unsigned eeprom_by_wires(Guest *g, unsigned at)
{
    eeprom_command(g, 6u << 6 | at);
    g_assert_cmphex(rd(g, E_EECD) & 8, ==, 0); /* a zero comes before the word */
    unsigned word = eeprom_bits(g);
    wr(g, E_EECD, 0);
    return word;
}

static unsigned phy_read(Guest *g, unsigned at)
{
    wr(g, E_MDIC, 2u << 26 | 1 << 21 | at << 16);
    uint32_t v = rd(g, E_MDIC);
    g_assert_cmphex(v >> 28 & 5, ==, 1);
    return v & 0xffff;
}

static void test_eeprom(void)
{
    Guest g;
    unsigned sum = 0;
    guest_open(&g);
    g_assert_cmphex(pctest_config_read(g.n.t, FN, 0, 4), ==, 0x100e8086);
    for (unsigned i = 0; i < 64; i++) {
        unsigned word = eeprom_by_wires(&g, i);
        wr(&g, E_EERD, i << 8 | 1);
        g_assert_cmphex(rd(&g, E_EERD), ==, word << 16 | i << 8 | 0x10);
        sum += word;
    }
    g_assert_cmphex(sum & 0xffff, ==, 0xbaba);
    g_assert_cmphex(eeprom_by_wires(&g, 0), ==, 0x5452);
    g_assert_cmphex(eeprom_by_wires(&g, 2), ==, 0xccbb);
    g_assert_cmphex(rd(&g, E_RA), ==, 0xaa005452);
    g_assert_cmphex(rd(&g, E_RA + 4), ==, 0x8000ccbb);
    g_assert_cmphex(phy_read(&g, 2) << 16 | phy_read(&g, 3), ==, 0x01410c20);
    g_assert_cmphex(phy_read(&g, 1) & 0x24, ==, 0x24);
    g_assert_cmphex(rd(&g, E_STATUS) & 0xc3, ==, 0x83);
    wr(&g, E_IMS, 4);
    net_set_link(g.n.t->m, "card", false, NULL);
    g_assert_cmphex(phy_read(&g, 1) & 0x24, ==, 0);
    g_assert_cmphex(rd(&g, E_STATUS) & 3, ==, 1);
    g_assert_cmphex(rd(&g, E_ICR), ==, 4);
    g_assert_cmphex(rd(&g, E_ICR), ==, 0);
    for (unsigned i = 0; i < 32; i++) { /* no PHY but number 1 */
        wr(&g, E_MDIC, 2u << 26 | i << 21);
        g_assert_cmphex(rd(&g, E_MDIC) >> 28 & 5, ==, i == 1 ? 1 : 5);
    }
    eeprom_command(&g, 6u << 6 | 63); /* it goes on with the next word, from the last with the first */
    eeprom_bits(&g);
    g_assert_cmphex(eeprom_bits(&g), ==, 0x5452);
    g_assert_cmphex(eeprom_bits(&g), ==, 0xaa00);
    eeprom_command(&g, 5u << 6); /* a write: no answer */
    g_assert_cmphex(eeprom_bits(&g), ==, 0xffff);
    guest_close(&g);
}

static void phy_write(Guest *g, unsigned at, unsigned val, uint32_t more)
{
    wr(g, E_MDIC, 1u << 26 | 1 << 21 | at << 16 | val | more);
    g_assert_cmphex(rd(g, E_MDIC) >> 28 & 5, ==, 1);
}

static void test_phy(void)
{
    static const uint8_t fixed[] = { 1, 2, 3, 5, 10, 15, 17 };
    Guest g;
    guest_open(&g);
    for (unsigned i = 0; i < sizeof(fixed); i++) {
        unsigned was = phy_read(&g, fixed[i]);
        phy_write(&g, fixed[i], was ^ 0xffff, 0);
        g_assert_cmphex(phy_read(&g, fixed[i]), ==, was);
    }
    unsigned offers = phy_read(&g, 4);
    phy_write(&g, 4, 0x0123, 0);
    g_assert_cmphex(phy_read(&g, 4), ==, 0x0123);
    rd(&g, E_ICR);
    phy_write(&g, 0, 0x1340, 0); /* negotiation begins, and is over */
    g_assert_cmphex(phy_read(&g, 0), ==, 0x1140);
    g_assert_cmphex(rd(&g, E_ICR), ==, INT_LSC);
    phy_write(&g, 0, 0x9140, 0); /* reset */
    g_assert_cmphex(phy_read(&g, 0), ==, 0x1140);
    g_assert_cmphex(phy_read(&g, 4), ==, offers);
    g_assert_cmphex(rd(&g, E_ICR), ==, INT_LSC);
    phy_write(&g, 4, offers, 1 << 29); /* tells when it is done */
    g_assert_cmphex(rd(&g, E_ICR), ==, INT_MDAC);
    guest_close(&g);
}

/* ---- 3.3: sending ---- */

static void add(Guest *g, uint64_t a, uint64_t b)
{
    put(ram(g, TXD + 16 * g->tail), 8, a);
    put(ram(g, TXD + 16 * g->tail) + 8, 8, b);
    g->tail = (g->tail + 1) % N;
}

static void go(Guest *g)
{
    wr(g, E_TDT, g->tail);
    turns(g);
    g_assert_cmpuint(rd(g, E_TDH), ==, g->tail);
}

static void test_send(void)
{
    Guest g;
    uint8_t f[1514];
    guest_open(&g);
    wr(&g, E_IMS, 1);
    for (unsigned i = 0; i < 100; i++) {
        unsigned len = 20 + i * 14;
        frame_fill(f, len, i);
        memcpy(ram(&g, BUF), f, len);
        unsigned d = g.tail;
        if (i % 2) { /* in two pieces */
            add(&g, BUF, 15);
            add(&g, BUF + 15, (len - 15) | (uint64_t)(EOP | RS) << 24);
            d = (d + 1) % N;
        } else {
            add(&g, BUF, len | (uint64_t)(EOP | RS) << 24);
        }
        go(&g);
        g_assert_cmphex(ram(&g, TXD + 16 * d)[12] & 1, ==, 1);
        g_assert_cmphex(rd(&g, E_ICR) & 3, ==, 3);
        g_autoptr(GByteArray) got = test_nic_take(g.n.peer);
        g_assert_cmpuint(got->len, ==, MAX(len, 60));
        g_assert_cmpmem(got->data, len, f, len);
        for (unsigned k = len; k < got->len; k++) {
            g_assert_cmphex(got->data[k], ==, 0);
        }
    }
    g_assert_cmpuint(rd(&g, E_GPTC), ==, 100);
    g_assert_cmpuint(rd(&g, E_GPTC), ==, 0); /* cleared by reading */
    /* a legacy checksum, and a VLAN tag */
    frame_fill(f, 100, 3);
    memcpy(ram(&g, BUF), f, 100);
    wr(&g, E_CTRL, CTRL_SLU | CTRL_VME);
    add(&g, BUF,
        100 | 24 << 16 | (uint64_t)(EOP | IC | RS | VLE) << 24 | UINT64_C(20) << 40 | UINT64_C(0x2345) << 48);
    go(&g);
    g_autoptr(GByteArray) got = test_nic_take(g.n.peer);
    g_assert_cmpuint(got->len, ==, 104);
    g_assert_cmpmem(got->data + 12, 6, "\x81\0\x23\x45\x88\xb5", 6);
    uint16_t sum = (uint16_t)~net_checksum(f + 20, 80);
    g_assert_cmphex(got->data[28] << 8 | got->data[29], ==, sum);
    guest_close(&g);
}

/* 13.7: who is reached is counted apart; 3.3.7.1: the IP header's checksum alone; 3.2.3: nothing longer than
 * any frame goes out, nor does it harm the next. */
static void test_send_more(void)
{
    Guest g;
    uint8_t f[200];
    guest_open(&g);
    for (unsigned i = 0; i < 3; i++) {
        frame_fill(f, 60, i);
        memset(f, i == 2 ? 0xff : i, 6);
        memcpy(ram(&g, BUF + 0x1000 * i), f, 60);
        add(&g, BUF + 0x1000 * i, 60 | (uint64_t)(EOP | RS) << 24);
    }
    go(&g);
    g_assert_cmpuint(g.n.peer->got->len, ==, 3);
    g_assert_cmpuint(rd(&g, E_MPTC), ==, 1);
    g_assert_cmpuint(rd(&g, E_BPTC), ==, 1);
    g_assert_cmpuint(rd(&g, E_GOTCL), ==, 3 * 64);
    test_nic_drop(g.n.peer);
    frame_fill(f, sizeof(f), 9);
    memcpy(f + 12, "\x08\0\x45\0", 4);
    memcpy(ram(&g, BUF), f, sizeof(f));
    add(&g, 14 | 24 << 8 | 33 << 16, (uint64_t)DEXT << 24);
    add(&g, BUF, sizeof(f) | 1 << 20 | (uint64_t)(DEXT | EOP | RS) << 24 | UINT64_C(1) << 40);
    go(&g);
    g_autoptr(GByteArray) got = test_nic_take(g.n.peer);
    g_assert_cmphex(net_csum(got->data + 14, 20, 0), ==, 0xffff);
    memcpy(got->data + 24, f + 24, 2); /* else it is as it was */
    g_assert_cmpmem(got->data, got->len, f, sizeof(f));
    for (unsigned i = 0; i < 5; i++) {
        uint64_t cmd = DEXT | (i == 4 ? EOP | RS : 0);
        add(&g, BUF, 20000 | 1 << 20 | cmd << 24);
    }
    add(&g, BUF, 80 | (uint64_t)(EOP | RS) << 24);
    go(&g);
    g_assert_cmpuint(g.n.peer->got->len, ==, 1);
    g_autoptr(GByteArray) next = test_nic_take(g.n.peer);
    g_assert_cmpmem(next->data, next->len, f, 80);
    guest_close(&g);
}

/* More frames at once than one turn takes. */
static void test_many(void)
{
    Guest g;
    enum { MANY = 1024, RING = 0x80000 };
    uint8_t f[60];
    unsigned got = 0;
    guest_open(&g);
    frame_fill(f, sizeof(f), 1);
    memcpy(ram(&g, BUF), f, sizeof(f));
    for (unsigned i = 0; i < MANY; i++) {
        put(ram(&g, RING + 16 * i), 8, BUF);
        put(ram(&g, RING + 16 * i) + 8, 8, sizeof(f) | (uint64_t)(EOP | RS) << 24);
    }
    wr(&g, E_TDBAL, RING);
    wr(&g, E_TDLEN, MANY * 16);
    wr(&g, E_TDT, MANY - 1);
    turns(&g);
    for (GByteArray *one; (one = test_nic_take(g.n.peer)) != NULL; got++) {
        g_assert_cmpmem(one->data, one->len, f, sizeof(f));
        g_byte_array_unref(one);
    }
    g_assert_cmpuint(got, ==, MANY - 1);
    guest_close(&g);
}

/* A machine that stands sends nothing: what one turn leaves goes out before it counts as stopped, what finds
 * the network full when it runs again. */
static void test_stopped(void)
{
    Guest g;
    enum { MANY = 2048, RING = 0x80000, FIRST = 600, LEN = 3000 };
    unsigned got = 0;
    guest_open(&g);
    Machine *m = g.n.t->m;
    for (unsigned i = 0; i < MANY; i++) {
        put(ram(&g, RING + 16 * i), 8, BUF);
        put(ram(&g, RING + 16 * i) + 8, 8, (i < FIRST ? 60 : LEN) | (uint64_t)(EOP | RS) << 24);
    }
    frame_fill(ram(&g, BUF), LEN, 1);
    wr(&g, E_TDBAL, RING);
    wr(&g, E_TDLEN, MANY * 16);
    wr(&g, E_TDT, FIRST);
    g_assert_cmpuint(rd(&g, E_TDH), ==, 512);
    machine_stop(m, RUN_PAUSED);
    g_assert_cmpuint(rd(&g, E_TDH), ==, FIRST);
    machine_start(m);
    turns(&g);
    test_nic_drop(g.n.peer);
    wr(&g, E_TDT, MANY - 1);
    unsigned at = rd(&g, E_TDH);
    g_assert_cmpuint(at, <, MANY - 1); /* full */
    machine_stop(m, RUN_PAUSED);
    g_assert_cmpuint(rd(&g, E_TDH), ==, at);
    NetClient *end = net_client_find(m, "h0");
    net_queue_clear(&end->rx); /* all of it is gone, as with another machine at the end */
    end->peer->kind->resumed(end->peer);
    turns(&g);
    g_assert_cmpuint(rd(&g, E_TDH), ==, at);
    machine_start(m);
    for (unsigned i = 0; i < 100 && rd(&g, E_TDH) != MANY - 1; i++) {
        turns(&g);
        got += g.n.peer->got->len;
        test_nic_drop(g.n.peer);
    }
    g_assert_cmpuint(rd(&g, E_TDH), ==, MANY - 1);
    g_assert_cmpuint(got, >, 0);
    guest_close(&g);
}

static void send_datagram(Guest *g, const uint8_t *f, size_t len)
{
    memcpy(ram(g, BUF), f, len);
    add(g, BUF, len | 1 << 20 | (uint64_t)(DEXT | EOP | RS) << 24 | UINT64_C(2) << 40);
    go(g);
    g_autoptr(GByteArray) got = test_nic_take(g->n.peer);
    uint16_t want = (uint16_t)~net_checksum(f + 34, len - 34);
    g_assert_cmpuint(got->len, ==, len);
    g_assert_cmphex(got->data[40] << 8 | got->data[41], ==, want);
    g_assert_cmpmem(got->data + 42, len - 42, f + 42, len - 42);
}

/* 3.3.6: the contexts of checksums and of segmentation are two, each good until another one of its kind. */
static void test_contexts(void)
{
    Guest g;
    uint8_t udp[200], tcp[3054];
    guest_open(&g);
    frame_fill(udp, sizeof(udp), 9);
    memset(udp + 40, 0, 2);
    for (unsigned i = 0; i < 2; i++) {
        add(&g, (uint64_t)34 << 32 | (uint64_t)40 << 40, (uint64_t)DEXT << 24);
        send_datagram(&g, udp, sizeof(udp));
        if (i == 0) {
            add(&g, 14 | 24 << 8 | 33 << 16 | (uint64_t)34 << 32 | (uint64_t)50 << 40,
                3000 | (uint64_t)(DEXT | 7) << 24 | UINT64_C(54) << 40 | UINT64_C(1440) << 48);
        }
        size_t len = nicguest_packet(tcp, true, 3000);
        memcpy(ram(&g, BUF), tcp, len);
        add(&g, BUF, len | 1 << 20 | (uint64_t)(DEXT | TSE | EOP | RS) << 24 | UINT64_C(3) << 40);
        go(&g);
        g_assert_cmpuint(g.n.peer->got->len, ==, 3);
        test_nic_drop(g.n.peer);
        send_datagram(&g, udp, sizeof(udp));
    }
    guest_close(&g);
}

typedef enum Tag { UNTAGGED, TAG_BY_CARD, TAG_BY_DRIVER } Tag;

/* 3.5: one frame of many segments, checked as the receiver's stack would. */
static void check_tso(bool v6, Tag tag)
{
    Guest g;
    guest_open(&g);
    enum { PAYLOAD = 10000, MSS = 1440 };
    const unsigned in = tag == TAG_BY_DRIVER ? 4 : 0, out = tag == UNTAGGED ? 0 : 4; /* bytes of the tag */
    const unsigned ip = 14 + in, tcp = v6 ? ip + 40 : ip + 20, head = tcp + 20, tcp_out = tcp - in + out;
    uint8_t *start = ram(&g, BUF), *f = start + in;
    memset(start, 0, head);
    start[0] = start[6] = 2;
    if (in) {
        memcpy(start + 12, "\x81\0\x23\x45", 4);
    }
    memcpy(f + 12, v6 ? "\x86\xdd\x60\0" : "\x08\0\x45\0", 4);
    f[v6 ? 21 : 22] = 64; /* hops */
    f[v6 ? 20 : 23] = 6;
    memset(f + (v6 ? 22 : 26), 10, v6 ? 32 : 8);
    start[tcp + 12] = 0x50;
    start[tcp + 13] = 0x18;
    unsigned pseudo = 0x0a0a * (v6 ? 16 : 4) + 6;
    start[tcp + 16] = (uint8_t)(pseudo >> 8);
    start[tcp + 17] = (uint8_t)pseudo;
    for (unsigned i = 0; i < PAYLOAD; i++) {
        start[head + i] = (uint8_t)(i * 13 + i / 256);
    }
    if (tag == TAG_BY_CARD) {
        wr(&g, E_CTRL, CTRL_SLU | CTRL_VME);
    }
    add(&g, ip | (ip + 10) << 8 | (tcp - 1) << 16 | (uint64_t)tcp << 32 | (uint64_t)(tcp + 16) << 40,
        PAYLOAD | (uint64_t)(DEXT | (v6 ? 5 : 7)) << 24 | (uint64_t)head << 40 | (uint64_t)MSS << 48);
    uint64_t data = 1 << 20 | (uint64_t)(DEXT | TSE) << 24 | UINT64_C(3) << 40;
    data |= tag == TAG_BY_CARD ? (uint64_t)VLE << 24 | UINT64_C(0x2345) << 48 : 0;
    add(&g, BUF, head | data);
    add(&g, BUF + head, 6000 | data);
    add(&g, BUF + head + 6000, (PAYLOAD - 6000) | data | (uint64_t)(EOP | RS) << 24);
    go(&g);
    g_assert_cmpuint(g.n.peer->got->len, ==, (PAYLOAD + MSS - 1) / MSS);
    unsigned at = 0;
    for (GByteArray *one; (one = test_nic_take(g.n.peer)) != NULL;) {
        unsigned segment = one->len - tcp_out, bytes = segment - 20;
        const uint8_t *packet = one->data + 14 + out;
        if (out) {
            g_assert_cmpmem(one->data + 12, 4, "\x81\0\x23\x45", 4);
        }
        if (v6) {
            g_assert_cmpuint(packet[4] << 8 | packet[5], ==, segment);
        } else {
            g_assert_cmphex(net_csum(packet, 20, 0), ==, 0xffff);
        }
        g_assert_cmphex(net_csum(one->data + tcp_out, segment, pseudo + segment), ==, 0xffff);
        g_assert_cmpmem(one->data + tcp_out + 20, bytes, start + head + at, bytes);
        at += bytes;
        g_byte_array_unref(one);
    }
    g_assert_cmpuint(at, ==, PAYLOAD);
    g_assert_cmpuint(rd(&g, E_TSCTC), ==, 1);
    guest_close(&g);
}

static void test_tso(void)
{
    for (Tag tag = UNTAGGED; tag <= TAG_BY_DRIVER; tag++) {
        check_tso(false, tag);
        check_tso(true, tag);
    }
}

/* The ring is filled again and again while the main loop does not run. */
static void test_full(void)
{
    Guest g;
    uint8_t f[1500];
    unsigned sent = 0, got = 0;
    guest_open(&g);
    while (sent < 3000) {
        while ((g.tail + 1) % N != rd(&g, E_TDH) && sent < 3000) {
            frame_fill(f, sizeof(f), sent++);
            memcpy(ram(&g, BUF + 0x1000 * g.tail), f, sizeof(f));
            add(&g, BUF + 0x1000 * g.tail, sizeof(f) | (uint64_t)(EOP | RS) << 24);
            wr(&g, E_TDT, g.tail);
        }
        turns(&g);
        for (GByteArray *one; (one = test_nic_take(g.n.peer)) != NULL; got++) {
            frame_fill(f, sizeof(f), got);
            g_assert_cmpmem(one->data, one->len, f, sizeof(f));
            g_byte_array_unref(one);
        }
    }
    g_assert_cmpuint(got, ==, sent);
    guest_close(&g);
}

/* ---- 3.2: receiving ---- */

static bool arrives(Guest *g, const char *dst, int vlan, unsigned len)
{
    uint8_t f[4000];
    unsigned before = rd(g, E_RDH);
    frame_fill(f, len, 1);
    memcpy(f, dst, 6);
    if (vlan >= 0) {
        memcpy(f + 12, "\x81\0", 2);
        f[14] = (uint8_t)(vlan >> 8);
        f[15] = (uint8_t)vlan;
    }
    test_nic_send(g->n.peer, NULL, f, len);
    turns(g);
    unsigned now = rd(g, E_RDH);
    wr(g, E_RDT, (now + N - 1) % N);
    return now != before;
}

static void test_receive(void)
{
    static const char own[] = "\x52\x54\0\xaa\xbb\xcc", other[] = "\x52\x54\0\1\2\3",
                      group[] = "\1\0\x5e\0\0\1", all[] = "\xff\xff\xff\xff\xff\xff";
    const uint32_t rctl = 2 | 1 << 15 | 1 << 26;
    Guest g;
    guest_open(&g);
    g_assert_true(arrives(&g, own, -1, 40));
    g_assert_cmphex(ram(&g, RXD)[12] & 0xf, ==, 7);
    g_assert_cmpuint(ram(&g, RXD)[8], ==, 60); /* padded; the CRC is taken off */
    g_assert_cmpmem(ram(&g, BUF + 0x40000), 6, own, 6);
    g_assert_cmphex(rd(&g, E_ICR) & 0x80, ==, 0x80);
    g_assert_true(arrives(&g, all, -1, 60));
    g_assert_false(arrives(&g, other, -1, 60) || arrives(&g, group, -1, 60));
    g_assert_true(arrives(&g, own, -1, 1518));
    g_assert_false(arrives(&g, own, -1, 1519));
    wr(&g, E_MTA, 0);
    wr(&g, E_MTA + 4 * (((1 << 8) >> 4) >> 5), 1u << (((1 << 8) >> 4) & 31));
    g_assert_true(arrives(&g, group, -1, 60));
    wr(&g, E_RCTL, rctl | 1 << 3 | 1 << 4);
    g_assert_true(arrives(&g, other, -1, 60) && arrives(&g, "\1\0\x5e\0\0\x9", -1, 60));
    wr(&g, E_RCTL, (rctl & ~(1u << 15)) | 1 << 18);
    g_assert_false(arrives(&g, all, -1, 60) || arrives(&g, own, 5, 64));
    wr(&g, E_VFTA, 1 << 5);
    wr(&g, E_CTRL, CTRL_SLU | CTRL_VME);
    unsigned d = rd(&g, E_RDH);
    g_assert_true(arrives(&g, own, 5, 100));
    g_assert_cmphex(ram(&g, RXD + 16 * d)[12] & 8, ==, 8);
    g_assert_cmpuint(ram(&g, RXD + 16 * d)[14], ==, 5);
    g_assert_cmpuint(ram(&g, RXD + 16 * d)[8], ==, 96);
    /* with its CRC, over several small buffers */
    wr(&g, E_RCTL, 2 | 3 << 16 | 1 << 5);
    d = rd(&g, E_RDH);
    g_assert_true(arrives(&g, own, -1, 3000));
    g_assert_cmpuint((rd(&g, E_RDH) + N - d) % N, ==, 12);
    unsigned last = (d + 11) % N;
    g_assert_cmphex(ram(&g, RXD + 16 * d)[12], ==, 1);
    g_assert_cmphex(ram(&g, RXD + 16 * last)[12] & 3, ==, 3);
    g_assert_cmpuint(ram(&g, RXD + 16 * last)[8], ==, (3004 - 11 * 256));
    /* no buffers: it waits */
    wr(&g, E_RDT, rd(&g, E_RDH));
    uint8_t f[60];
    frame_fill(f, 60, 1);
    memcpy(f, own, 6);
    d = rd(&g, E_RDH);
    test_nic_send(g.n.peer, NULL, f, 60);
    turns(&g);
    g_assert_cmpuint(rd(&g, E_RDH), ==, d);
    g_assert_cmphex(rd(&g, E_ICR) & 0x40, ==, 0x40);
    wr(&g, E_RDT, (d + 5) % N);
    turns(&g);
    g_assert_cmpuint(rd(&g, E_RDH), ==, (d + 1) % N);
    guest_close(&g);
}

static const char own_mac[] = "\x52\x54\0\xaa\xbb\xcc", many_mac[] = "\1\0\x5e\x12\x34\x56",
                  all_mac[] = "\xff\xff\xff\xff\xff\xff";

/* 13.5: which bits of an address are hashed, each of the exact addresses, and who is counted where. */
static void test_addresses(void)
{
    static const uint8_t shift[] = { 4, 3, 2, 0 };
    const uint32_t rctl = 2 | 1 << 15 | 1 << 26;
    Guest g;
    guest_open(&g);
    for (unsigned mo = 0; mo < 4; mo++) {
        unsigned h = 0x5634u >> shift[mo] & 0xfff;
        wr(&g, E_MTA + 4 * (h >> 5), 1u << (h & 31));
        for (unsigned other = 0; other < 4; other++) {
            wr(&g, E_RCTL, rctl | other << 12);
            g_assert_cmpint(arrives(&g, many_mac, -1, 60), ==, other == mo);
        }
        wr(&g, E_MTA + 4 * (h >> 5), 0);
    }
    wr(&g, E_RCTL, rctl);
    for (unsigned i = 1; i < 16; i++) {
        char mac[] = { 2, 0, 0, 0, 0, (char)i };
        g_assert_false(arrives(&g, mac, -1, 60));
        wr(&g, E_RA + 8 * i, 2);
        wr(&g, E_RA + 8 * i + 4, i << 8);
        g_assert_false(arrives(&g, mac, -1, 60)); /* not valid */
        wr(&g, E_RA + 8 * i + 4, 1u << 31 | i << 8);
        g_assert_true(arrives(&g, mac, -1, 60));
    }
    static const unsigned counters[] = { E_GPRC, E_MPRC, E_BPRC, E_GORCL };
    static const unsigned want[] = { 4 + 15, 4, 0, 19 * 64 };
    for (unsigned i = 0; i < 4; i++) {
        g_assert_cmpuint(rd(&g, counters[i]), ==, want[i]);
    }
    g_assert_true(arrives(&g, all_mac, -1, 60));
    g_assert_cmpuint(rd(&g, E_BPRC), ==, 1);
    guest_close(&g);
}

/* 3.2.3, 13.4.22: sizes of buffers, a null descriptor, few left, none, and what was checked before. */
static void test_buffers(void)
{
    const uint32_t rctl = 2 | 1 << 5 | 1 << 15 | 1 << 26;
    static const struct {
        uint32_t size, n;
    } sizes[] = {
        { 0, 2 }, { 1 << 16, 3 }, { 3 << 16, 12 }, { 1 << 25 | 3 << 16, 1 }, { 1 << 25 | 1 << 16, 1 }
    };
    Guest g;
    guest_open(&g);
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        wr(&g, E_RCTL, rctl | sizes[i].size);
        unsigned d = rd(&g, E_RDH);
        g_assert_true(arrives(&g, own_mac, -1, 3000));
        g_assert_cmpuint((rd(&g, E_RDH) + N - d) % N, ==, sizes[i].n);
    }
    wr(&g, E_RCTL, rctl);
    unsigned d = rd(&g, E_RDH);
    put(ram(&g, RXD + 16 * d), 8, 0);
    memset(ram(&g, 0), 0xaa, 64);
    g_assert_true(arrives(&g, own_mac, -1, 60));
    g_assert_cmphex(ram(&g, RXD + 16 * d)[12] & 3, ==, 3);
    g_assert_cmphex(ram(&g, 0)[0], ==, 0xaa);
    for (unsigned part = 0; part < 3; part++) { /* a half, a quarter, an eighth of them are left */
        wr(&g, E_RCTL, rctl | part << 8);
        wr(&g, E_RDT, (rd(&g, E_RDH) + (N >> (part + 1)) + 2) % N);
        rd(&g, E_ICR);
        for (unsigned i = 0; i < 3; i++) {
            uint8_t f[60];
            frame_fill(f, 60, 1);
            memcpy(f, own_mac, 6);
            test_nic_send(g.n.peer, NULL, f, 60);
            turns(&g);
            g_assert_cmphex(rd(&g, E_ICR) & INT_RXDMT0, ==, i == 1 ? INT_RXDMT0 : 0);
        }
    }
    wr(&g, E_RDT, rd(&g, E_RDH));
    rd(&g, E_RNBC);
    g_assert_false(arrives(&g, own_mac, -1, 60));
    g_assert_cmpuint(rd(&g, E_RNBC), >, 0);
    turns(&g);
    /* a checksum that the network vouches for, if the guest wants to know */
    for (unsigned on = 0; on < 4; on++) {
        static const uint8_t want[] = { 4, 0x40, 0x20, 0x60 };
        uint8_t f[60];
        NetHdr h = { .csum_valid = true };
        frame_fill(f, 60, 1);
        memcpy(f, own_mac, 6);
        memcpy(f + 12, "\x08\0\x45\0", 4);
        f[23] = 6;
        wr(&g, E_RXCSUM, on << 8);
        d = rd(&g, E_RDH);
        test_nic_send(g.n.peer, &h, f, 60);
        turns(&g);
        g_assert_cmpuint(rd(&g, E_RDH), ==, (d + 1) % N);
        g_assert_cmphex(ram(&g, RXD + 16 * d)[12] & 0x64, ==, want[on]);
    }
    guest_close(&g);
}

/* 13.4.18: no second interrupt before the time is over. */
static void test_throttle(void)
{
    Guest g;
    guest_open(&g);
    E1000 *s = dev_as(E1000, g.n.peer->dev.machine->peripheral->children->pdata[1]);
    wr(&g, E_ITR, 1000);
    wr(&g, E_IMS, 4);
    wr(&g, E_ICS, 4);
    g_assert_true(s->line);
    g_assert_true(timer_armed(&s->throttle));
    rd(&g, E_ICR);
    g_assert_false(s->line);
    wr(&g, E_ICS, 4);
    g_assert_false(s->line);
    g_assert_cmphex(rd(&g, E_ICS), ==, 0);
    guest_close(&g);
}

/* Drivers and networks without rules (e1000drive.h): RHEA_NIC_CASES of them. */
static void test_hostile(void)
{
    GRand *rand = g_rand_new_with_seed((guint32)g_test_rand_int());
    E1000Drive d;
    e1000drive_open(&d);
    for (unsigned i = 0; i < nicguest_cases(); i++) {
        uint8_t bytes[256];
        Bytes b = nicguest_random(rand, bytes, sizeof(bytes));
        if (i % 16 == 0) {
            e1000drive_start(&d);
        }
        e1000drive_run(&d, &b);
        if (i % 512 == 511) {
            e1000drive_check(&d);
        }
    }
    e1000drive_check(&d);
    g_rand_free(rand);
    e1000drive_close(&d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    net_register();
    g_test_add_func("/e1000/eeprom", test_eeprom);
    g_test_add_func("/e1000/phy", test_phy);
    g_test_add_func("/e1000/send", test_send);
    g_test_add_func("/e1000/send-more", test_send_more);
    g_test_add_func("/e1000/many", test_many);
    g_test_add_func("/e1000/stopped", test_stopped);
    g_test_add_func("/e1000/contexts", test_contexts);
    g_test_add_func("/e1000/tso", test_tso);
    g_test_add_func("/e1000/full", test_full);
    g_test_add_func("/e1000/receive", test_receive);
    g_test_add_func("/e1000/addresses", test_addresses);
    g_test_add_func("/e1000/buffers", test_buffers);
    g_test_add_func("/e1000/throttle", test_throttle);
    g_test_add_func("/e1000/hostile", test_hostile);
    return g_test_run();
}
