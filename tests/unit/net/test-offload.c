/* SPDX-License-Identifier: MIT
 * tests/unit/net/test-offload.c - checksums and segments (net/offload.c, and net/core.c, which asks for
 * them), against a simple computation of the test's own. Threads: main.
 */
#include "net/net_internal.h"
#include "tests/unit/net/nettest.h"

#include <string.h>

static unsigned naive(const uint8_t *p, size_t len, unsigned sum)
{
    for (size_t i = 0; i < len; i++) {
        sum += i % 2 ? p[i] : (unsigned)p[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static void test_csum(void)
{
    GRand *rand = g_rand_new_with_seed(1);
    uint8_t buf[2000];
    for (unsigned i = 0; i < 20000; i++) {
        size_t at = (size_t)g_rand_int_range(rand, 0, 16), len = (size_t)g_rand_int_range(rand, 0, 1900);
        uint32_t seed = g_rand_int(rand) & (i % 3 ? 0xffff : 0x3ffff);
        for (size_t k = 0; k < len; k++) {
            buf[at + k] = i % 5 ? (uint8_t)g_rand_int(rand) : 0xff;
        }
        unsigned want = naive(buf + at, len, (seed & 0xffff) + (seed >> 16));
        unsigned got = net_csum(buf + at, len, seed);
        g_assert_cmphex(got % 0xffff, ==, want % 0xffff); /* all ones and zero are the same number */
    }
    g_rand_free(rand);
}

/* A TCP frame over IPv4 or IPv6, with so many bytes of options and payload, its checksum left to others. */
static size_t make_tcp(uint8_t *f, bool v6, unsigned vlans, unsigned options, size_t payload, NetHdr *h)
{
    size_t ip = NET_ETH + 4 * vlans, tcp = ip + (v6 ? 40 : 20), data = tcp + 20 + options,
           len = data + payload;
    memset(f, 0, len);
    f[0] = f[6] = 2;
    for (unsigned i = 0; i < vlans; i++) {
        memcpy(f + 12 + 4 * i, "\x81\x00\x00\x05", 4);
    }
    memcpy(f + ip - 2, v6 ? "\x86\xdd" : "\x08\x00", 2);
    if (v6) {
        f[ip] = 0x60;
        f[ip + 6] = 6;
        memset(f + ip + 8, 0x21, 32);
    } else {
        f[ip] = 0x45;
        f[ip + 4] = 0x12;
        f[ip + 5] = 0xfe;
        f[ip + 9] = 6;
        memset(f + ip + 12, 0x0a, 8);
    }
    f[tcp + 4] = 0xff;
    f[tcp + 5] = 0xff;
    f[tcp + 6] = 0xf0;
    f[tcp + 12] = (uint8_t)((20 + options) / 4 << 4);
    f[tcp + 13] = 0x99; /* CWR ACK PSH FIN */
    for (size_t i = 0; i < payload; i++) {
        f[data + i] = (uint8_t)(i * 31 + i / 251);
    }
    size_t tcp_len = len - tcp;
    unsigned seed =
        naive(f + ip + (v6 ? 8 : 12), v6 ? 32 : 8, (unsigned)(6 + (tcp_len & 0xffff) + (tcp_len >> 16)));
    f[tcp + 16] = (uint8_t)(seed >> 8);
    f[tcp + 17] = (uint8_t)seed;
    *h = (NetHdr){
        .needs_csum = true, .csum_start = (uint16_t)tcp, .csum_offset = 16, .hdr_len = (uint16_t)data
    };
    return len;
}

static void check_tcp(const uint8_t *f, size_t len, bool v6, unsigned vlans)
{
    size_t ip = NET_ETH + 4 * vlans, tcp = ip + (v6 ? 40 : 20);
    unsigned total =
        v6 ? (unsigned)(f[ip + 4] << 8 | f[ip + 5]) + 40 : (unsigned)(f[ip + 2] << 8 | f[ip + 3]);
    g_assert_cmpuint(total, ==, len - ip);
    if (!v6) {
        g_assert_cmphex(naive(f + ip, 20, 0), ==, 0xffff);
    }
    unsigned sum = naive(f + ip + (v6 ? 8 : 12), v6 ? 32 : 8, (unsigned)(6 + len - tcp));
    g_assert_cmphex(naive(f + tcp, len - tcp, sum), ==, 0xffff);
}

static void test_complete(void)
{
    uint8_t f[2000];
    NetHdr h;
    for (unsigned i = 0; i < 4; i++) {
        size_t len = make_tcp(f, i & 1, i >> 1, 12, 777, &h), ip = NET_ETH + 4 * (i >> 1);
        unsigned total = (unsigned)(len - ip) - (i & 1 ? 40 : 0);
        f[ip + (i & 1 ? 4 : 2)] = (uint8_t)(total >> 8);
        f[ip + (i & 1 ? 5 : 3)] = (uint8_t)total;
        unsigned sum = 0xffff & ~naive(f + ip, 20, 0);
        f[ip + 10] = i & 1 ? f[ip + 10] : (uint8_t)(sum >> 8);
        f[ip + 11] = i & 1 ? f[ip + 11] : (uint8_t)sum;
        net_complete_csum(&h, f, len);
        check_tcp(f, len, i & 1, i >> 1);
    }
}

static void test_segments(void)
{
    static uint8_t f[NET_FRAME_MAX], out[NET_FRAME_MAX + 256];
    for (unsigned i = 0; i < 40; i++) {
        bool v6 = i & 1;
        unsigned vlans = i / 2 % 3, options = i % 5 * 4;
        size_t payload = i < 38 ? 1 + i * 1657 : 0;
        NetHdr h;
        size_t len = make_tcp(f, v6, vlans, options, payload, &h), at = 0;
        size_t data = len - payload, tcp = h.csum_start;
        h.gso = v6 ? NET_GSO_TCP6 : NET_GSO_TCP4;
        h.gso_size = (uint16_t)(i == 7 ? 1 : 1400 - i);
        g_assert_true(net_hdr_good(&h, f, len));
        NetFrame frame = { .hdr = h, .data = f, .len = len };
        unsigned n = net_segments(&frame);
        for (unsigned k = 0; k < n; k++) {
            size_t one = net_segment(&frame, k, out);
            check_tcp(out, one, v6, vlans);
            g_assert_cmpmem(out + data, one - data, f + data + at, one - data);
            uint32_t seq =
                (uint32_t)out[tcp + 4] << 24 | out[tcp + 5] << 16 | out[tcp + 6] << 8 | out[tcp + 7];
            g_assert_cmphex(seq, ==, 0xfffff000u + (uint32_t)at);
            bool last = k + 1 == n;
            g_assert_cmphex(out[tcp + 13], ==, 0x10 | (k ? 0 : 0x80) | (last ? 9 : 0));
            at += one - data;
        }
        g_assert_cmpuint(at, ==, payload);
        g_assert_cmpuint(n, ==, payload ? (payload + h.gso_size - 1) / h.gso_size : 1);
    }
}

/* A datagram over IPv4 or 6 whose checksum is the pseudo header's sum. */
static size_t make_udp(uint8_t *f, bool v6, size_t payload, NetHdr *h)
{
    size_t ip = NET_ETH, udp = ip + (v6 ? 40 : 20), len = udp + 8 + payload;
    memset(f, 0, udp + 8);
    f[12] = v6 ? 0x86 : 0x08;
    f[13] = v6 ? 0xdd : 0x00;
    f[ip] = v6 ? 0x60 : 0x45;
    f[ip + (v6 ? 6 : 9)] = 17;
    f[ip + 6] |= v6 ? 0 : 0x40; /* a sender that forbids fragments leaves none to the device */
    memset(f + ip + (v6 ? 8 : 12), 0x5a, v6 ? 32 : 8);
    f[udp + 1] = 7;
    f[udp + 3] = 9;
    f[udp + 4] = (uint8_t)((8 + payload) >> 8);
    f[udp + 5] = (uint8_t)(8 + payload);
    for (size_t i = 0; i < payload; i++) {
        f[udp + 8 + i] = (uint8_t)(i * 13 + i / 251);
    }
    unsigned seed = naive(f + ip + (v6 ? 8 : 12), v6 ? 32 : 8, (unsigned)(17 + 8 + payload));
    f[udp + 6] = (uint8_t)(seed >> 8);
    f[udp + 7] = (uint8_t)seed;
    *h = (NetHdr){ .needs_csum = true, .csum_start = (uint16_t)udp, .csum_offset = 6 };
    return len;
}

static unsigned word(const uint8_t *p)
{
    return (unsigned)(p[0] << 8 | p[1]);
}

static void check_udp(const uint8_t *f, bool v6, const uint8_t *udp, size_t len)
{
    unsigned sum = naive(f + NET_ETH + (v6 ? 8 : 12), v6 ? 32 : 8, (unsigned)(17 + len));
    g_assert_cmpuint(word(udp + 4), ==, len);
    g_assert_cmphex(naive(udp, len, sum), ==, 0xffff);
}

/* What a receiver puts together is the datagram, and its checksum is right. */
static void test_fragments(void)
{
    static uint8_t f[NET_FRAME_MAX], out[NET_FRAME_MAX + 256], whole[NET_FRAME_MAX];
    for (unsigned i = 0; i < 40; i++) {
        bool v6 = i & 1;
        NetHdr h;
        size_t len = make_udp(f, v6, 1 + i * 1600, &h), udp = h.csum_start, all = len - udp, got = 0;
        h.gso = NET_GSO_UDP;
        h.gso_size = (uint16_t)(i == 3 ? 15 : 1480 - i);
        NetFrame frame = { .hdr = h, .data = f, .len = len };
        g_assert_true(net_hdr_good(&h, f, len));
        unsigned n = net_segments(&frame), id = 0;
        g_assert_cmpuint(n, ==, (all + (h.gso_size & ~7u) - 1) / (h.gso_size & ~7u));
        for (unsigned k = 0; k < n; k++) {
            size_t one = net_segment(&frame, k, out), at = udp + (v6 ? 8 : 0);
            unsigned field = word(out + (v6 ? udp + 2 : NET_ETH + 6)),
                     off = v6 ? field & ~7u : 8 * (field & 0x1fff);
            g_assert_cmpuint(off, ==, got);
            g_assert_cmpuint((v6 ? field & 1 : field >> 13), ==, k + 1 < n);
            g_assert_cmpuint(word(out + NET_ETH + (v6 ? 4 : 2)), ==, one - NET_ETH - (v6 ? 40 : 0));
            if (v6) {
                g_assert_cmpuint(out[NET_ETH + 6], ==, 44);
                g_assert_cmpuint(out[udp], ==, 17);
                id = k ? id : word(out + udp + 6);
                g_assert_cmpuint(word(out + udp + 6), ==, id);
            } else {
                g_assert_cmphex(naive(out + NET_ETH, 20, 0), ==, 0xffff);
            }
            memcpy(whole + got, out + at, one - at);
            got += one - at;
        }
        g_assert_cmpuint(got, ==, all);
        g_assert_cmpmem(whole + 8, all - 8, f + udp + 8, all - 8);
        check_udp(f, v6, whole, all);
    }
}

static void test_datagrams(void)
{
    static uint8_t f[NET_FRAME_MAX], out[NET_FRAME_MAX + 256];
    for (unsigned i = 0; i < 40; i++) {
        bool v6 = i & 1;
        NetHdr h;
        size_t len = make_udp(f, v6, 1 + i * 1600, &h), data = (size_t)h.csum_start + 8, at = 0;
        h.gso = NET_GSO_UDP_L4;
        h.gso_size = (uint16_t)(1400 - i);
        NetFrame frame = { .hdr = h, .data = f, .len = len };
        g_assert_true(net_hdr_good(&h, f, len));
        for (unsigned k = 0; k < net_segments(&frame); k++) {
            size_t one = net_segment(&frame, k, out);
            check_udp(out, v6, out + h.csum_start, one - h.csum_start);
            g_assert_cmpmem(out + data, one - data, f + data + at, one - data);
            at += one - data;
        }
        g_assert_cmpuint(at, ==, len - data);
    }
}

/* Whatever a guest writes into a frame and its header, nothing outside of them is touched. */
static void test_hostile(void)
{
    GRand *rand = g_rand_new_with_seed(3);
    g_autofree uint8_t *out = g_malloc(NET_FRAME_MAX + 256);
    unsigned good = 0;
    for (unsigned i = 0; i < 100000; i++) {
        NetHdr h;
        uint8_t buf[600];
        bool udp = i / 8 % 2;
        size_t len =
            udp ? make_udp(buf, i & 1, 400, &h) : make_tcp(buf, i & 1, i / 2 % 3, i % 3 * 4, 400, &h);
        h.gso = udp ? (i & 2 ? NET_GSO_UDP : NET_GSO_UDP_L4) : i & 1 ? NET_GSO_TCP6 : NET_GSO_TCP4;
        h.gso_size = (uint16_t)g_rand_int_range(rand, 0, 300);
        for (unsigned k = (unsigned)g_rand_int_range(rand, 0, 4); k > 0; k--) {
            buf[g_rand_int_range(rand, 12, 90)] = (uint8_t)g_rand_int(rand);
        }
        if (i % 7 == 0) {
            h.csum_start = (uint16_t)(g_rand_int(rand) & (i % 2 ? 0xffff : 0x7f));
            h.csum_offset = (uint16_t)(g_rand_int(rand) & (i % 3 ? 0xffff : 0x1f));
        }
        len = i % 5 ? len : (size_t)g_rand_int_range(rand, 0, (int)len);
        g_autofree uint8_t *exact = g_memdup2(buf, len); /* so that a step beyond is seen */
        NetFrame f = { .hdr = h, .data = exact, .len = len };
        if (!net_hdr_good(&h, exact, len)) {
            continue;
        }
        good++;
        unsigned n = net_segments(&f);
        for (unsigned k = 0; k < n; k++) {
            g_assert_cmpuint(net_segment(&f, k, out), <=, len + 8);
        }
        net_complete_csum(&h, exact, len);
    }
    g_assert_cmpuint(good, >, 10000);
    g_rand_free(rand);
}

/* By the core: what the receiver does not take is finished on the way, also when it stops in the middle. */
static void test_core(void)
{
    static uint8_t f[NET_FRAME_MAX];
    TestMachine *tm = tm_new(0);
    netdev_new(tm, "hubport,id=h0,hubid=0");
    netdev_new(tm, "hubport,id=h1,hubid=0");
    TestNic *a = test_nic_new(tm, "a", "h0"), *b = test_nic_new(tm, "b", "h1");
    NetHdr h;
    size_t len = make_tcp(f, false, 0, 0, 50000, &h);
    h.gso = NET_GSO_TCP4;
    h.gso_size = 1460;
    b->closes_after = 5;
    g_assert_true(test_nic_send(a, &h, f, len));
    tm_turns(tm);
    g_assert_cmpuint(b->got->len, ==, 5);
    test_nic_open(b);
    tm_turns(tm);
    g_assert_cmpuint(b->got->len, ==, 35);
    size_t at = 0;
    for (GByteArray *one; (one = test_nic_take(b)) != NULL;) {
        check_tcp(one->data, one->len, false, 0);
        g_assert_cmpmem(one->data + 54, one->len - 54, f + 54 + at, one->len - 54);
        at += one->len - 54;
        g_byte_array_unref(one);
    }
    g_assert_cmpuint(at, ==, 50000);
    net_port_set_offloads(&b->port, NET_CAN_CSUM | NET_CAN_TSO4);
    test_nic_send(a, &h, f, len);
    tm_turns(tm);
    g_assert_cmpuint(b->got->len, ==, 1);
    g_assert_cmpuint(b->hdr.gso, ==, NET_GSO_TCP4);
    g_assert_true(b->hdr.needs_csum);
    test_nic_drop(b);
    net_port_set_offloads(&b->port, NET_CAN_TSO4); /* uncut, but with a checksum */
    test_nic_send(a, &h, f, len);
    tm_turns(tm);
    g_autoptr(GByteArray) one = test_nic_take(b);
    g_assert_cmpuint(one->len, ==, len);
    g_assert_false(b->hdr.needs_csum);
    g_assert_cmpuint(b->hdr.gso_size, ==, 1460);
    net_test_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    net_register();
    g_test_add_func("/offload/csum", test_csum);
    g_test_add_func("/offload/complete", test_complete);
    g_test_add_func("/offload/segments", test_segments);
    g_test_add_func("/offload/fragments", test_fragments);
    g_test_add_func("/offload/datagrams", test_datagrams);
    g_test_add_func("/offload/hostile", test_hostile);
    g_test_add_func("/offload/core", test_core);
    return g_test_run();
}
