/* SPDX-License-Identifier: MIT
 * tests/device/nicguest.c - a PCI network card for its driver in a test.
 * Threads: main.
 */
#include "nicguest.h"
#include "net/net_internal.h"
#include "rhea/schema/type.h"

#include <stdlib.h>

const char nic_own[] = "\x52\x54\0\xaa\xbb\xcc", nic_all[] = "\xff\xff\xff\xff\xff\xff";

void nicguest_open(NicGuest *g, const char *type, int mem_bar, int io_bar)
{
    memset(g, 0, sizeof(*g));
    g->t = pctest_new(16 << 20, NULL);
    Machine *m = g->t->m;
    machine_start(m); /* a card of a standing machine takes nothing */
    g->tm = (TestMachine){ .loop = g->t->loop, .m = m };
    netdev_new(&g->tm, "hubport,id=h0,hubid=0");
    netdev_new(&g->tm, "hubport,id=h1,hubid=0");
    g->peer = test_nic_new(&g->tm, "peer", "h1");
    g->card = device_create(m, device_type_find(type), m->peripheral, "card", g->t->pci->bus,
                            &error_abort_slot, "addr", "4", "netdev", "h0", "mac", "52:54:00:aa:bb:cc", NULL);
    if (mem_bar >= 0) {
        pctest_config_write(g->t, NIC_FN, 0x10 + 4 * (unsigned)mem_bar, NIC_MEM, 4);
    }
    if (io_bar >= 0) {
        pctest_config_write(g->t, NIC_FN, 0x10 + 4 * (unsigned)io_bar, NIC_PORTS, 4);
    }
    pctest_config_write(g->t, NIC_FN, 4, 7, 2);
}

void nicguest_close(NicGuest *g)
{
    machine_stop(g->t->m, RUN_PAUSED);
    net_remove_all(g->t->m);
    pctest_free(g->t);
}

uint8_t *nicguest_ram(NicGuest *g, hwaddr at)
{
    return g->t->m->ram->host + at;
}

void nicguest_turns(NicGuest *g)
{
    for (unsigned i = 0; i < 1000 && loop_turn(g->t->loop, false); i++) {
    }
}

void nicguest_arrive(NicGuest *g, uint8_t *f, const char *dst, size_t len)
{
    frame_fill(f, len, (unsigned)len);
    memcpy(f, dst, NET_MAC);
    test_nic_send(g->peer, NULL, f, len);
    nicguest_turns(g);
}

void nicguest_sent(NicGuest *g, const uint8_t *f, size_t len)
{
    nicguest_turns(g);
    g_assert_cmpuint(g->peer->got->len, ==, 1);
    g_autoptr(GByteArray) got = test_nic_take(g->peer);
    g_assert_cmpmem(got->data, got->len, f, len);
}

unsigned nicguest_eeprom(NicGuest *g, unsigned at, void (*set)(NicGuest *g, unsigned wires),
                         bool (*get)(NicGuest *g))
{
    enum { SELECT = 8, CLOCK = 4, IN = 2 };
    unsigned word = 0, command = 6u << 6 | at;
    set(g, 0);
    set(g, SELECT);
    for (int i = 8; i >= 0; i--) {
        unsigned wires = SELECT | (command >> i & 1 ? IN : 0);
        set(g, wires);
        set(g, wires | CLOCK);
        set(g, wires);
    }
    for (unsigned i = 0; i < 16; i++) {
        set(g, SELECT | CLOCK);
        word = word << 1 | get(g);
        set(g, SELECT);
    }
    set(g, 0);
    return word;
}

enum { IP = NET_ETH, L4 = IP + 20 };

size_t nicguest_packet(uint8_t *f, bool tcp, size_t payload)
{
    size_t head = L4 + (tcp ? 20 : 8), len = head + payload;
    frame_fill(f, len, 7);
    memcpy(f + 12, "\x08\0\x45\0", 4);
    f[IP + 2] = (uint8_t)((len - IP) >> 8);
    f[IP + 3] = (uint8_t)(len - IP);
    f[IP + 6] = f[IP + 7] = 0;
    f[IP + 9] = tcp ? 6 : 17;
    if (tcp) {
        f[L4 + 12] = 0x50;
        f[L4 + 13] = 0x10;
    } else {
        f[L4 + 4] = (uint8_t)((len - L4) >> 8);
        f[L4 + 5] = (uint8_t)(len - L4);
    }
    return len;
}

void nicguest_check_packet(const uint8_t *f, size_t len, bool tcp)
{
    uint32_t pseudo = net_csum(f + IP + 12, 8, 0) + (tcp ? 6u : 17u) + (uint32_t)(len - L4);
    g_assert_cmphex(net_csum(f + IP, 20, 0), ==, 0xffff);
    g_assert_cmphex(net_csum(f + L4, len - L4, pseudo), ==, 0xffff);
}

const uint8_t nic_rss_key[NIC_RSS_KEY] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};
const NicKnownHash nic_known_hashes[] = {
    { { 66, 9, 149, 187, 161, 142, 100, 80, 2794 >> 8, 2794 & 255, 1766 >> 8, 1766 & 255 },
      0x51ccc178, 0x323e8fc2 },
    { { 199, 92, 111, 2, 65, 69, 140, 83, 14230 >> 8, 14230 & 255, 4739 >> 8, 4739 & 255 },
      0xc626b0ea, 0xd718262a },
};
const unsigned nic_n_known_hashes = G_N_ELEMENTS(nic_known_hashes);

Bytes nicguest_random(GRand *rand, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i += 4) {
        nic_put_le(out + i, 4, g_rand_int(rand));
    }
    return (Bytes){ out, n };
}

unsigned nicguest_cases(void)
{
    const char *env = g_getenv("RHEA_NIC_CASES");
    return env ? (unsigned)strtoul(env, NULL, 0) : 2000;
}
