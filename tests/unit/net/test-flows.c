/* SPDX-License-Identifier: MIT
 * tests/unit/net/test-flows.c - flows and what a guest may reach (net/filter-flows.c, net/flow-rules.c,
 * net/packet.c): rules, refusals with resets, answers, counters, rules that change, nonsense. Threads: main.
 */
#include "net/flow-rules.h"
#include "rhea/backends/object.h"
#include "tests/unit/net/nettest.h"
#include "rhea/schema/type.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum { SYN = NET_TCP_SYN, ACK = NET_TCP_ACK, RST = NET_TCP_RST };

typedef struct Net { /* the filter f is h0's, which is the guest's back end */
    TestMachine *tm;
    TestNic *guest, *world;
} Net;

static void net_open(Net *n, const char *more)
{
    n->tm = tm_new(0);
    netdev_new(n->tm, "hubport,id=h0,hubid=0");
    netdev_new(n->tm, "hubport,id=h1,hubid=0");
    n->guest = test_nic_new(n->tm, "guest", "h0");
    n->world = test_nic_new(n->tm, "world", "h1");
    g_autoptr(Json) o = json_put(json_new_object(), "qom-type", json_new_string("x-rhea-filter-flows"));
    json_put(o, "id", json_new_string("f"));
    json_put(o, "netdev", json_new_string("h0"));
    if (more) {
        json_put(o, "allow", json_new_string(more));
    }
    json_put(o, "max-flows", json_new_uint(100));
    object_new_json(n->tm->m, o, false, false, &error_abort_slot);
}

/* A packet between 10.0.2.15 (or fd00::15), which is the guest's, and `peer`; its length. */
static size_t packet(uint8_t *f, const char *peer, uint8_t proto, unsigned port, unsigned guest_port,
                     uint8_t flags, bool from_guest)
{
    bool v6 = strchr(peer, ':');
    size_t l4 = v6 ? 54 : 34, len = l4 + 40;
    uint8_t addr[2][16] = { { 0 } };
    memset(f, 0, len);
    memcpy(f, from_guest ? "\x52\x55\0\0\0\1\x52\x54\0\0\0\2" : "\x52\x54\0\0\0\2\x52\x55\0\0\0\1", 12);
    memcpy(f + 12, v6 ? "\x86\xdd" : "\x08\x00", 2);
    inet_pton(v6 ? AF_INET6 : AF_INET, v6 ? "fd00::15" : "10.0.2.15", addr[from_guest ? 0 : 1]);
    inet_pton(v6 ? AF_INET6 : AF_INET, peer, addr[from_guest ? 1 : 0]);
    f[14] = v6 ? 0x60 : 0x45;
    f[v6 ? 19 : 17] = v6 ? 40 : 60;
    f[v6 ? 20 : 23] = proto;
    memcpy(f + (v6 ? 22 : 26), addr[0], v6 ? 16 : 4);
    memcpy(f + (v6 ? 38 : 30), addr[1], v6 ? 16 : 4);
    if (proto == IPPROTO_TCP || proto == IPPROTO_UDP) {
        unsigned s = from_guest ? guest_port : port, d = from_guest ? port : guest_port;
        f[l4] = (uint8_t)(s >> 8);
        f[l4 + 1] = (uint8_t)s;
        f[l4 + 2] = (uint8_t)(d >> 8);
        f[l4 + 3] = (uint8_t)d;
    } else {
        f[l4] = flags; /* ICMP's type */
    }
    if (proto == IPPROTO_TCP) {
        memcpy(f + l4 + 4, "\0\0\1\0\0\0\2\0", 8);
        f[l4 + 12] = 0x50;
        f[l4 + 13] = flags;
    }
    return len;
}

static bool arrives(Net *n, const uint8_t *f, size_t len, bool from_guest)
{
    TestNic *to = from_guest ? n->world : n->guest;
    test_nic_drop(to);
    g_assert_true(test_nic_send(from_guest ? n->guest : n->world, NULL, f, len));
    tm_turns(n->tm);
    g_assert_cmpuint(to->got->len, <=, 1);
    return to->got->len == 1;
}

/* Did it arrive? */
static bool passes(Net *n, const char *peer, uint8_t proto, unsigned port, uint8_t flags, bool from_guest)
{
    uint8_t f[200];
    return arrives(n, f, packet(f, peer, proto, port, 1000, flags, from_guest), from_guest);
}

#define OUT(peer, proto, port) passes(&n, peer, proto, port, SYN, true)
#define IN(peer, proto, port) passes(&n, peer, proto, port, SYN, false)

static void set_allow(Net *n, const char *text)
{
    g_autoptr(Json) v = json_new_string(text);
    object_set(n->tm->m, "f", "allow", v, &error_abort_slot);
}

static uint64_t json_number(const Json *v)
{
    uint64_t n = UINT64_MAX;
    g_assert_true(json_get_uint(v, &n));
    return n;
}

static uint64_t number(Net *n, const char *property)
{
    g_autoptr(Json) v = object_get(n->tm->m, "f", property);
    return json_number(v);
}

static void test_rules(void)
{
    Net n;
    net_open(&n, "tcp:10.1.0.0/16:80-90;udp:10.0.2.3:53;icmp:10.1.2.3;any:[fd01::]/16");
    g_assert_true(OUT("10.1.9.9", IPPROTO_TCP, 80));
    g_assert_true(OUT("10.1.9.9", IPPROTO_TCP, 90));
    g_assert_false(OUT("10.1.9.9", IPPROTO_TCP, 91));
    g_assert_false(OUT("10.1.9.9", IPPROTO_UDP, 80));
    g_assert_false(OUT("10.2.9.9", IPPROTO_TCP, 80));
    g_assert_true(OUT("10.0.2.3", IPPROTO_UDP, 53));
    g_assert_false(OUT("10.0.2.4", IPPROTO_UDP, 53));
    g_assert_true(OUT("10.1.2.3", IPPROTO_ICMP, 0));
    g_assert_false(OUT("10.1.2.4", IPPROTO_ICMP, 0));
    g_assert_false(OUT("10.1.2.3", 47, 0));
    g_assert_true(OUT("fd01:5::1", IPPROTO_TCP, 5));
    g_assert_true(OUT("fd01:5::1", IPPROTO_ICMPV6, 5));
    g_assert_false(OUT("fd02::1", IPPROTO_TCP, 5));
    g_assert_cmpuint(number(&n, "refused"), ==, 7);
    g_autoptr(Json) rules = object_get(n.tm->m, "f", "rules");
    g_assert_cmpuint(json_length(rules), ==, 4);
    static const unsigned want[] = { 2, 1, 1, 2 };
    for (unsigned i = 0; i < 4; i++) {
        g_assert_cmpuint(json_number(json_member(json_at(rules, i), "flows", NULL)), ==, want[i]);
    }
    /* what others begin is answered: a forwarded port, also of UDP */
    g_assert_true(IN("10.9.9.9", IPPROTO_TCP, 5000));
    g_assert_true(passes(&n, "10.9.9.9", IPPROTO_TCP, 5000, SYN | ACK, true));
    g_assert_true(IN("10.9.9.9", IPPROTO_UDP, 5000));
    g_assert_true(OUT("10.9.9.9", IPPROTO_UDP, 5000));
    /* neighbours and DHCP are the network's */
    g_assert_true(passes(&n, "fe80::2", IPPROTO_ICMPV6, 0, 135, true));
    g_assert_false(passes(&n, "fe80::2", IPPROTO_ICMPV6, 0, 128, true));
    net_test_free(n.tm);
}

/* What a guest says of itself lets it go nowhere: an answer to nobody, a frame to all, DHCP's ports. */
static void test_tricks(void)
{
    Net n;
    uint8_t f[200];
    net_open(&n, "");
    g_assert_false(passes(&n, "10.9.9.9", IPPROTO_TCP, 443, SYN | ACK, true));
    g_assert_false(OUT("10.9.9.9", IPPROTO_TCP, 443));
    size_t len = packet(f, "10.9.9.9", IPPROTO_TCP, 80, 1000, SYN, true);
    memset(f, 0xff, 6);
    g_assert_false(arrives(&n, f, len, true));
    len = packet(f, "239.1.2.3", IPPROTO_UDP, 80, 1000, 0, true);
    g_assert_false(arrives(&n, f, len, true));
    memcpy(f, "\1\0\x5e\1\2\3", 6);
    g_assert_true(arrives(&n, f, len, true));
    for (unsigned six = 0; six < 2; six++) {
        const char *server = six ? "fe80::2" : "10.0.2.2", *stranger = six ? "fd02::1" : "10.9.9.9";
        unsigned port = six ? 547 : 67, mine = six ? 546 : 68;
        len = packet(f, server, IPPROTO_UDP, port, mine, 0, true);
        g_assert_false(arrives(&n, f, len, true)); /* nobody knows it yet */
        len = packet(f, server, IPPROTO_UDP, port, mine, 0, false);
        g_assert_true(arrives(&n, f, len, false));
        len = packet(f, server, IPPROTO_UDP, port, mine, 0, true);
        g_assert_true(arrives(&n, f, len, true));
        len = packet(f, stranger, IPPROTO_UDP, port, mine, 0, true);
        g_assert_false(arrives(&n, f, len, true));
    }
    net_test_free(n.tm);
}

/* Who is refused a TCP connection hears so at once; a checksum that is wrong would not be heard. */
static void test_reset(void)
{
    Net n;
    net_open(&n, "udp:*:53");
    for (unsigned six = 0; six < 2; six++) {
        const char *peer = six ? "fd01::1" : "10.9.9.9";
        size_t l4 = six ? 54 : 34;
        uint8_t pseudo[60] = { 0 };
        test_nic_drop(n.guest);
        g_assert_false(OUT(peer, IPPROTO_TCP, 443));
        g_autoptr(GByteArray) r = test_nic_take(n.guest);
        g_assert_cmpuint(r->len, ==, l4 + 20);
        g_assert_cmpmem(r->data, 12, "\x52\x54\0\0\0\2\x52\x55\0\0\0\1", 12);
        g_assert_cmpmem(r->data + l4, 4, "\x01\xbb\x03\xe8", 4);
        g_assert_cmpmem(r->data + l4 + 4, 8, "\0\0\2\0\0\0\1\1", 8);
        g_assert_cmpuint(r->data[l4 + 13], ==, RST | ACK);
        memcpy(pseudo, r->data + (six ? 22 : 26), six ? 32 : 8);
        pseudo[six ? 33 : 9] = IPPROTO_TCP;
        pseudo[six ? 35 : 11] = 20;
        memcpy(pseudo + (six ? 36 : 12), r->data + l4, 20);
        g_assert_cmphex(net_checksum(pseudo, six ? 56 : 32), ==, 0xffff);
        if (!six) {
            g_assert_cmphex(net_checksum(r->data + 14, 20), ==, 0xffff);
        }
        g_assert_false(passes(&n, peer, IPPROTO_TCP, 443, RST, true));
        g_assert_null(test_nic_take(n.guest)); /* a reset is not answered */
    }
    net_test_free(n.tm);
}

static void test_change(void)
{
    Net n;
    net_open(&n, NULL);
    g_assert_true(OUT("10.9.9.9", IPPROTO_TCP, 443)); /* without rules everything passes, and is counted */
    g_assert_true(passes(&n, "10.9.9.9", IPPROTO_TCP, 443, SYN | ACK, false));
    g_assert_true(passes(&n, "10.9.9.9", IPPROTO_TCP, 443, ACK, true));
    g_autoptr(Json) flows = object_get(n.tm->m, "f", "flows");
    g_assert_cmpuint(json_length(flows), ==, 1);
    g_assert_cmpstr(json_object_to_json_string_ext(json_at(flows, 0), JSON_C_TO_STRING_SPACED), ==,
                    "{ \"protocol\": \"tcp\", \"guest-addr\": \"10.0.2.15\", \"guest-port\": 1000, \"addr\": "
                    "\"10.9.9.9\", \"port\": 443, \"by-guest\": true, \"allowed\": true, \"sent-frames\": 2, "
                    "\"sent-bytes\": 148, \"got-frames\": 1, \"got-bytes\": 74 }");
    set_allow(&n, "tcp:*:80"); /* what is not allowed any more ends */
    test_nic_drop(n.guest);
    g_assert_false(passes(&n, "10.9.9.9", IPPROTO_TCP, 443, ACK, true));
    g_autoptr(GByteArray) r = test_nic_take(n.guest);
    g_assert_nonnull(r);
    g_assert_false(passes(&n, "10.9.9.9", IPPROTO_TCP, 443, ACK, false));
    set_allow(&n, "tcp:*:80;tcp:10.9.9.9:443");
    g_assert_true(passes(&n, "10.9.9.9", IPPROTO_TCP, 443, ACK, true));
    set_allow(&n, "");
    g_assert_false(OUT("10.9.9.9", IPPROTO_TCP, 80));
    /* many flows: the oldest are forgotten */
    set_allow(&n, "udp:*");
    for (unsigned i = 0; i < 1000; i++) {
        g_assert_true(OUT("10.9.9.9", IPPROTO_UDP, 1000 + i));
    }
    g_autoptr(Json) many = object_get(n.tm->m, "f", "flows");
    g_assert_cmpuint(json_length(many), ==, 100);
    g_assert_cmpuint(number(&n, "forgotten"), ==, 902);
    net_test_free(n.tm);
}

/* Frames at random, most of them nearly packets: nothing falls over, nothing that is refused gets through. */
static void test_nonsense(void)
{
    GRand *rand = g_rand_new_with_seed(11);
    Net n;
    uint8_t f[200];
    const char *storm = g_getenv("RHEA_STORM");
    unsigned rounds = storm ? (unsigned)atoi(storm) : 50000;
    net_open(&n, "");
    for (unsigned i = 0; i < rounds; i++) {
        bool six = g_rand_boolean(rand);
        size_t len = packet(f, six ? "fd01::1" : "10.9.9.9", (uint8_t)g_rand_int_range(rand, 0, 60), 80, 1000,
                            (uint8_t)g_rand_int(rand), true);
        for (unsigned k = 0; k < 3; k++) {
            f[g_rand_int_range(rand, 14, (int)len)] = (uint8_t)g_rand_int(rand);
        }
        len = g_rand_boolean(rand) ? len : (size_t)g_rand_int_range(rand, 14, (int)len);
        g_assert_true(test_nic_send(n.guest, NULL, f, len));
        if (i % 64 == 0) {
            tm_turns(n.tm);
            for (GByteArray *a; (a = test_nic_take(n.world)) != NULL; g_byte_array_unref(a)) {
                NetPacket p; /* only the network's own business and later fragments */
                NetPacketKind kind = net_packet_parse(a->data, a->len, &p);
                g_assert_true(kind == NET_PACKET_FRAGMENT || (kind == NET_PACKET_IP && (p.icmp || p.sport)));
            }
            test_nic_drop(n.guest);
        }
    }
    tm_turns(n.tm);
    g_rand_free(rand);
    net_test_free(n.tm);
}

static void test_wrong(void)
{
    static const char *const wrong[] = {
        "tcp", "tcp:", "foo:*", "tcp:*:", "tcp:*:70000", "tcp:*:9-5", "tcp:1.2.3", "tcp:1.2.3.4/33",
        "tcp:*/8", "icmp:*:5", "any:*:5", "any:[fd00::", "any:[1.2.3.4]", "any:fd00::1", "any:[fd00::]/129",
        "tcp:*:1-2-3",
        "udp:10.0.2.3:53;x",
    };
    static const char *const right[] = { "", ";", "tcp:*", "any:*;", "tcp:0.0.0.0/0:1-65535", "any:[::]/0",
                                         "tcp:[fd00::1]:80" };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(Error) err = NULL;
        g_assert_null(flow_rules_parse(wrong[i], &err));
        g_assert_nonnull(strstr(error_text(err), "is not PROTO:ADDR"));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(right); i++) {
        g_array_unref(flow_rules_parse(right[i], &error_abort_slot));
    }
    g_autoptr(GString) many = g_string_new(NULL);
    for (unsigned i = 0; i <= FLOW_RULES; i++) {
        g_string_append(many, "tcp:*;");
    }
    g_assert_null(flow_rules_parse(many->str, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    net_register();
    g_test_add_func("/flows/rules", test_rules);
    g_test_add_func("/flows/tricks", test_tricks);
    g_test_add_func("/flows/reset", test_reset);
    g_test_add_func("/flows/change", test_change);
    g_test_add_func("/flows/nonsense", test_nonsense);
    g_test_add_func("/flows/wrong", test_wrong);
    return g_test_run();
}
