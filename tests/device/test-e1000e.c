/* SPDX-License-Identifier: MIT
 * tests/device/test-e1000e.c - what the 82574L has beyond the 82540EM (hw/net/e1000e.c, e1000e-rx.c, the
 * Toeplitz hash of nic.c): EEPROM, semaphores, a second queue each way, extended and split descriptors,
 * MSI-X.
 * Threads: main.
 */
#include "nicguest.h"
#include "hw/net/e1000e.h"

enum { TXD = 0x10000, RXD = 0x20000, RXD1 = 0x30000, BUF = 0x100000, RXBUF = 0x140000, MSIX_MEM = 0x50000000,
       N = 32, EXTENDED = 1 << 15, SPLIT = 1 << 10, RCTL = 2 | 1 << 15 | 1 << 26 };

static MsiMessage told[64];
static unsigned messages;

static void take_message(void *opaque G_GNUC_UNUSED, MsiMessage msg)
{
    told[messages++ % G_N_ELEMENTS(told)] = msg;
}

static uint32_t rd(NicGuest *g, unsigned at)
{
    return (uint32_t)pctest_read(g->t, NIC_MEM + at, 4);
}

static void wr(NicGuest *g, unsigned at, uint32_t v)
{
    pctest_write(g->t, NIC_MEM + at, v, 4);
}

static void put(NicGuest *g, hwaddr at, unsigned n, uint64_t v)
{
    nic_put_le(nicguest_ram(g, at), n, v);
}

static uint32_t get(NicGuest *g, hwaddr at)
{
    return nic_le32(nicguest_ram(g, at));
}

static void start(NicGuest *g)
{
    wr(g, E_CTRL, CTRL_RST);
    for (unsigned q = 0; q < 2; q++) {
        memset(nicguest_ram(g, TXD + 0x1000 * q), 0, N * 16);
        wr(g, E_TDBAL + 0x100 * q, TXD + 0x1000 * q);
        wr(g, E_TDLEN + 0x100 * q, N * 16);
        hwaddr ring = q ? RXD1 : RXD;
        for (unsigned i = 0; i < N; i++) {
            put(g, ring + 16 * i, 8, RXBUF + (q * N + i) * 0x1000);
            put(g, ring + 16 * i + 8, 8, 0);
        }
        wr(g, E_RDBAL + 0x100 * q, (uint32_t)ring);
        wr(g, E_RDLEN + 0x100 * q, N * 16);
        wr(g, E_RDT + 0x100 * q, N - 1);
    }
    wr(g, E_TCTL, 2 | 8);
    wr(g, E_RFCTL, EXTENDED);
    wr(g, E_RCTL, RCTL);
}

static void opened(NicGuest *g)
{
    nicguest_open(g, "e1000e", 0, 2);
    g->t->m->msi_sink = take_message;
    g->t->m->msi_base = 0xfee00000;
    g->t->m->msi_size = 0x100000;
    messages = 0;
    pctest_config_write(g->t, NIC_FN, 0x1c, MSIX_MEM, 4);
    start(g);
}

static void test_eeprom(void)
{
    NicGuest g;
    uint16_t sum = 0;
    opened(&g);
    for (unsigned i = 0; i < 64; i++) {
        wr(&g, E_EERD, i << 2 | 1);
        uint32_t v = rd(&g, E_EERD);
        g_assert_cmphex(v & 2, ==, 2);
        sum = (uint16_t)(sum + (v >> 16));
        if (i < 3) {
            g_assert_cmphex(v >> 16, ==, nic_le16((const uint8_t *)nic_own + 2 * i));
        }
    }
    g_assert_cmphex(sum, ==, 0xbaba);
    g_assert_cmphex(rd(&g, E_EECD) & 0x200, ==, 0x200);
    g_assert_cmphex(rd(&g, E_EEMNGCTL) & 1 << 18, ==, 1 << 18);
    g_assert_cmphex(rd(&g, E_SWSM) & 1, ==, 0); /* the first one has it */
    g_assert_cmphex(rd(&g, E_SWSM) & 1, ==, 1);
    wr(&g, E_SWSM, 0);
    g_assert_cmphex(rd(&g, E_SWSM) & 1, ==, 0);
    g_assert_cmphex(rd(&g, E_STATUS) & 1 << 19, ==, 1 << 19);
    wr(&g, E_CTRL, CTRL_SLU | 4);
    g_assert_cmphex(rd(&g, E_STATUS) & 1 << 19, ==, 0);
    pctest_out(g.t, NIC_PORTS, E_EECD, 4); /* the other way to registers */
    g_assert_cmphex(pctest_in(g.t, NIC_PORTS + 4, 4), ==, rd(&g, E_EECD));
    nicguest_close(&g);
}

static void test_send(void)
{
    NicGuest g;
    uint8_t f[500];
    opened(&g);
    for (unsigned q = 0; q < 2; q++) {
        frame_fill(f, sizeof(f), q);
        memcpy(nicguest_ram(&g, BUF), f, sizeof(f));
        put(&g, TXD + 0x1000 * q, 8, BUF);
        put(&g, TXD + 0x1000 * q + 8, 8, sizeof(f) | 9 << 24);
        wr(&g, E_TDT + 0x100 * q, 1);
        nicguest_sent(&g, f, sizeof(f));
        g_assert_cmphex(nicguest_ram(&g, TXD + 0x1000 * q)[12], ==, 1);
        g_assert_cmphex(rd(&g, E_ICR), ==, (INT_TXDW | INT_TXQE | INT_TXQ0 << q));
        g_assert_cmphex(rd(&g, E_ICR), ==, 0); /* nothing is enabled: reading clears */
    }
    nicguest_close(&g);
}

static void test_receive(void)
{
    NicGuest g;
    uint8_t f[3000];
    opened(&g);
    nicguest_arrive(&g, f, nic_own, 600);
    g_assert_cmphex(get(&g, RXD + 8) & 7, ==, 7); /* DD, EOP, checksums not looked at */
    g_assert_cmphex(get(&g, RXD + 12), ==, 600);
    g_assert_cmpmem(nicguest_ram(&g, RXBUF), 600, f, 600);
    wr(&g, E_RFCTL, 0); /* as the 82540EM has them */
    put(&g, RXD + 16 + 8, 8, 0);
    nicguest_arrive(&g, f, nic_all, 100);
    g_assert_cmphex(get(&g, RXD + 16 + 8) & 0xffff, ==, 100);
    g_assert_cmphex(nicguest_ram(&g, RXD + 16)[12], ==, 7);
    wr(&g, E_RFCTL, EXTENDED);
    wr(&g, E_RCTL, RCTL | 1 << 5 | 1 << 27); /* long ones, buffers of 1 KiB */
    nicguest_arrive(&g, f, nic_own, 3000);
    g_assert_cmphex(get(&g, RXD + 32 + 8) & 3, ==, 1);
    g_assert_cmphex(get(&g, RXD + 64 + 8) & 3, ==, 3);
    g_assert_cmphex(get(&g, RXD + 64 + 12), ==, 3000 - 2048);
    wr(&g, E_RDT, rd(&g, E_RDH)); /* no buffer: it waits */
    nicguest_arrive(&g, f, nic_own, 100);
    g_assert_cmpuint(rd(&g, E_RDH), ==, 5);
    wr(&g, E_RDT, 4);
    nicguest_turns(&g);
    g_assert_cmpuint(rd(&g, E_RDH), ==, 6);
    nicguest_close(&g);
}

/* Headers apart from what they carry; what has no header that is known begins in the first buffer. */
static void test_split(void)
{
    NicGuest g;
    uint8_t f[2000];
    opened(&g);
    wr(&g, E_PSRCTL, 2 | 1 << 8 | 1 << 16 | 1 << 24); /* 256 bytes, three times 1 KiB */
    wr(&g, E_RDT, N / 2 - 1); /* they are twice as long */
    wr(&g, E_RCTL, RCTL | SPLIT | 1 << 5);
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = 0; k < 4; k++) {
            put(&g, RXD + 32 * i + 8 * k, 8, RXBUF + 0x4000 * i + 0x1000 * k);
        }
    }
    size_t len = nicguest_packet(f, true, 1500);
    memcpy(f, nic_own, 6);
    test_nic_send(g.peer, NULL, f, len);
    nicguest_turns(&g);
    g_assert_cmphex(get(&g, RXD + 8) & 3, ==, 3);
    g_assert_cmpuint(get(&g, RXD + 12), ==, 54);
    g_assert_cmphex(get(&g, RXD + 16), ==, 0x8000 | 54 | 1024 << 16);
    g_assert_cmphex(get(&g, RXD + 20), ==, 1500 - 1024);
    g_assert_cmpmem(nicguest_ram(&g, RXBUF), 54, f, 54);
    g_assert_cmpmem(nicguest_ram(&g, RXBUF + 0x2000), 476, f + 54 + 1024, 476);
    nicguest_arrive(&g, f, nic_own, 1000);
    g_assert_cmpuint(get(&g, RXD + 32 + 12), ==, 256);
    g_assert_cmphex(get(&g, RXD + 32 + 16), ==, (1000 - 256) << 16);
    nicguest_close(&g);
}

static void test_rss(void)
{
    NicGuest g;
    uint8_t f[200];
    opened(&g);
    for (unsigned i = 0; i < NIC_RSS_KEY; i += 4) {
        wr(&g, E_RSSRK + i, nic_le32(nic_rss_key + i));
    }
    wr(&g, E_RXCSUM, 1 << 13);
    for (unsigned i = 0; i < 2 * nic_n_known_hashes; i++) {
        bool ports = i & 1;
        uint32_t hash = ports ? nic_known_hashes[i / 2].with_ports : nic_known_hashes[i / 2].without;
        unsigned head[2] = { rd(&g, E_RDH), rd(&g, E_RDH + 0x100) };
        wr(&g, E_MRQC, 1 | 1 << 17 | (ports ? 1 << 16 : 0));
        for (unsigned k = 0; k < 128; k += 4) { /* queue 1 for this hash only */
            wr(&g, E_RETA + k, 0);
        }
        wr(&g, E_RETA + (hash & 0x7c), 0x80u << 8 * (hash & 3));
        size_t len = nicguest_packet(f, true, 40);
        memcpy(f, nic_own, 6);
        memcpy(f + 26, nic_known_hashes[i / 2].packet, 12);
        test_nic_send(g.peer, NULL, f, len);
        nicguest_turns(&g);
        hwaddr d = RXD1 + 16 * head[1];
        g_assert_cmpuint(rd(&g, E_RDH), ==, head[0]);
        g_assert_cmpuint(rd(&g, E_RDH + 0x100), ==, head[1] + 1);
        g_assert_cmphex(get(&g, d), ==, (ports ? 1u : 2u) | 1 << 8);
        g_assert_cmphex(get(&g, d + 4), ==, hash);
    }
    nicguest_arrive(&g, f, nic_own, 100); /* no IP: queue of entry 0, no hash */
    g_assert_cmpuint(rd(&g, E_RDH), ==, 1);
    g_assert_cmphex(get(&g, RXD + 4), ==, 0);
    nicguest_close(&g);
}

/* 7.4: each cause its vector; auto-clear, auto-mask, moderation; what reading ICR does. */
static void test_vectors(void)
{
    NicGuest g;
    uint8_t f[100];
    opened(&g);
    unsigned cap = pctest_config_read(g.t, NIC_FN, 0x34, 1);
    while (pctest_config_read(g.t, NIC_FN, cap, 1) != 0x11) {
        cap = pctest_config_read(g.t, NIC_FN, cap + 1, 1);
        g_assert_cmphex(cap, !=, 0);
    }
    g_assert_cmpuint(pctest_config_read(g.t, NIC_FN, cap + 2, 2) & 0x7ff, ==, E_VECTORS - 1);
    for (unsigned i = 0; i < E_VECTORS; i++) {
        pctest_write(g.t, MSIX_MEM + 16 * i, 0xfee00000, 4);
        pctest_write(g.t, MSIX_MEM + 16 * i + 4, 0, 4);
        pctest_write(g.t, MSIX_MEM + 16 * i + 8, 0x40 + i, 4);
        pctest_write(g.t, MSIX_MEM + 16 * i + 12, 0, 4);
    }
    pctest_config_write(g.t, NIC_FN, cap + 2, 0x8000, 2);
    wr(&g, E_IVAR, 0xcba98); /* RXQ0, RXQ1, TXQ0, TXQ1, OTHER: 0 to 4 */
    wr(&g, E_EIAC, 0x00f00000);
    wr(&g, E_IMS, 0x01f00000);
    nicguest_arrive(&g, f, nic_own, 100);
    g_assert_cmpuint(messages, ==, 1);
    g_assert_cmphex(told[0].data, ==, 0x40);
    g_assert_cmphex(rd(&g, E_ICR) & INT_RXQ0, ==, 0); /* cleared by itself */
    for (unsigned i = 1; i < 4; i++) {
        wr(&g, E_ICS, INT_RXQ0 << i);
        g_assert_cmpuint(messages, ==, i + 1);
        g_assert_cmphex(told[i].data, ==, 0x40 + i);
    }
    wr(&g, E_ICS, INT_LSC);
    g_assert_cmpuint(messages, ==, 5);
    g_assert_cmphex(told[4].data, ==, 0x44);
    g_assert_cmphex(rd(&g, E_ICR) & (INT_OTHER | INT_LSC), ==, (INT_OTHER | INT_LSC));
    g_assert_cmphex(rd(&g, E_ICR) & (INT_OTHER | INT_LSC), ==, 0); /* it was asserted: reading cleared */
    wr(&g, E_EITR, 1000); /* 256 us */
    wr(&g, E_ICS, INT_RXQ0);
    wr(&g, E_ICS, INT_RXQ0);
    g_assert_cmpuint(messages, ==, 6);
    E1000e *d = e1000e_of(dev_as(E1000, g.card));
    g_assert_true(timer_armed(&d->moderate[0]));
    g_assert_cmphex(d->waiting, ==, INT_RXQ0);
    wr(&g, E_IAM, INT_TXQ0);
    wr(&g, E_CTRL_EXT, 1 << 24);
    wr(&g, E_ICS, INT_TXQ0);
    wr(&g, E_ICS, INT_TXQ0);
    g_assert_cmpuint(messages, ==, 7); /* masked by the first one */
    g_assert_cmphex(rd(&g, E_IMS) & INT_TXQ0, ==, 0);
    nicguest_close(&g);
}

static void test_hostile(void)
{
    NicGuest g;
    GRand *rand = g_rand_new_with_seed((guint32)g_test_rand_int());
    uint8_t f[2000];
    opened(&g);
    for (unsigned i = 0; i < nicguest_cases(); i++) {
        if (i % 50 == 0) {
            start(&g);
            wr(&g, E_MRQC, 1 | 31u << 16);
            wr(&g, E_RCTL, (g_rand_int(rand) | 2) & ~0xc0u);
            wr(&g, E_PSRCTL, g_rand_int(rand));
        }
        for (unsigned k = 0; k < 8; k++) {
            hwaddr ring = (k & 1 ? TXD : RXD) + 0x1000 * (k >> 1 & 1);
            put(&g, ring + 8 * (hwaddr)g_rand_int_range(rand, 0, 2 * N), 8,
                (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand));
        }
        wr(&g, E_TDT + 0x100 * (i & 1), g_rand_int(rand) % N);
        wr(&g, E_RDT + 0x100 * (i & 1), g_rand_int(rand) % N);
        if (g_rand_int_range(rand, 0, 20) == 0) {
            static const unsigned places[] = { 0, 0xc0, 0x2800, 0x3800, 0x5800, 0x5c00 };
            wr(&g, places[g_rand_int(rand) % 6] + 4 * (g_rand_int(rand) & 63), g_rand_int(rand));
        }
        size_t len = g_rand_boolean(rand) ? (size_t)g_rand_int_range(rand, NET_ETH, sizeof(f))
                                          : nicguest_packet(f, g_rand_boolean(rand), g_rand_int(rand) % 1400);
        memcpy(f, nic_own, 6);
        test_nic_send(g.peer, NULL, f, len);
        nicguest_turns(&g);
        test_nic_drop(g.peer);
    }
    for (unsigned i = 0; i < 100; i++) { /* what waited while it could not take anything comes first */
        start(&g);
        nicguest_turns(&g);
        if (rd(&g, E_RDH) == 0) {
            break;
        }
    }
    nicguest_arrive(&g, f, nic_own, 100);
    g_assert_cmpuint(rd(&g, E_RDH), ==, 1);
    g_rand_free(rand);
    nicguest_close(&g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    net_register();
    g_test_add_func("/e1000e/eeprom", test_eeprom);
    g_test_add_func("/e1000e/send", test_send);
    g_test_add_func("/e1000e/receive", test_receive);
    g_test_add_func("/e1000e/split", test_split);
    g_test_add_func("/e1000e/rss", test_rss);
    g_test_add_func("/e1000e/vectors", test_vectors);
    g_test_add_func("/e1000e/hostile", test_hostile);
    return g_test_run();
}
