/* SPDX-License-Identifier: MIT
 * tests/unit/net/test-l2tpv3.c - sessions of L2TPv3 (net/l2tpv3.c): the bytes on the wire, two machines
 * over UDP and over IP, packets that are not of the session. Threads: main.
 */
#include "tests/unit/net/nettest.h"
#include "rhea/schema/type.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int udp_socket(unsigned *port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    in.sin_port = htons((uint16_t)*port);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&in, len), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&in, &len), ==, 0);
    *port = ntohs(in.sin_port);
    return fd;
}

static char *udp_text(unsigned from, unsigned to, const char *more)
{
    return g_strdup_printf("l2tpv3,id=s,udp=on,src=127.0.0.1,dst=127.0.0.1,srcport=%u,dstport=%u,%s", from,
                           to, more);
}

static void test_udp(void)
{
    static const char *const both[][2] = {
        { "txsession=1", "txsession=1" },
        { "txsession=0xffffffff,rxsession=7,txcookie=5,rxcookie=6,counter=on",
          "txsession=7,rxsession=0xffffffff,txcookie=6,rxcookie=5,counter=on" },
        { "txsession=9,txcookie=0x123456789a,rxcookie=1,cookie64=on,counter=on,pincounter=on,offset=100",
          "txsession=9,txcookie=1,rxcookie=0x123456789a,cookie64=on,counter=on,offset=100" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(both); i++) {
        unsigned a = 0, b = 0;
        int one = udp_socket(&a), two = udp_socket(&b);
        close(one);
        close(two);
        g_autofree char *x = udp_text(a, b, both[i][0]), *y = udp_text(b, a, both[i][1]);
        NetPair p;
        net_pair_open(&p, x, y);
        net_pair_exchange(&p);
        net_pair_close(&p);
    }
}

static void test_ip(void)
{
    int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 115);
    if (fd < 0) {
        TestMachine *tm = tm_new(0);
        netdev_refused(tm, "l2tpv3,id=x,src=127.0.0.1,dst=127.0.0.1,txsession=1", "it needs CAP_NET_RAW");
        net_test_free(tm);
        return;
    }
    close(fd);
    NetPair p;
    net_pair_open(&p, "l2tpv3,id=s,src=127.0.0.21,dst=127.0.0.22,txsession=1,rxsession=2",
                  "l2tpv3,id=s,src=127.0.0.22,dst=127.0.0.21,txsession=2,rxsession=1");
    net_pair_exchange(&p);
    net_pair_close(&p);
}

/* By the bytes (RFC 3931, 4.1.2), and what is none of ours. */
static void test_wire(void)
{
    static const char head[] = "\0\3\0\0"
                               "\0\0\0\x11"
                               "\0\0\0\x22";
    unsigned a = 0, b = 0;
    int probe = udp_socket(&a), peer = udp_socket(&b);
    close(probe);
    g_autofree char *text =
        udp_text(a, b, "txsession=0x11,rxsession=0x33,txcookie=0x22,rxcookie=0x44,counter=on,offset=2");
    TestMachine *tm = tm_new(0);
    uint8_t f[60], buf[200];
    frame_fill(f, sizeof(f), 5);
    netdev_new(tm, text);
    TestNic *n = test_nic_new(tm, "n", "s");
    for (unsigned i = 0; i < 3; i++) {
        g_assert_true(test_nic_send(n, NULL, f, sizeof(f)));
        tm_turns(tm);
        g_assert_cmpint(recv(peer, buf, sizeof(buf), 0), ==, 18 + 60);
        g_assert_cmpmem(buf, 12, head, 12);
        g_assert_cmpuint(buf[15], ==, i); /* the counter */
        g_assert_cmpmem(buf + 18, 60, f, 60);
    }
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)a), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
    };
    g_assert_cmpint(connect(peer, (struct sockaddr *)&to, sizeof(to)), ==, 0);
    buf[7] = 0x33;
    buf[11] = 0x44;
    NetCounters before, after;
    net_counters(tm->m, "n", &before);
    for (unsigned at = 0; at < 12; at++) { /* a bit of version, session or cookie is wrong */
        buf[at] ^= 1;
        g_assert_cmpint(send(peer, buf, 78, 0), ==, 78);
        buf[at] ^= 1;
    }
    for (unsigned len = 0; len < 18 + NET_ETH; len++) { /* too short */
        g_assert_cmpint(send(peer, buf, len, 0), ==, (ssize_t)len);
    }
    tm_turns(tm);
    g_assert_cmpuint(n->got->len, ==, 0);
    g_assert_cmpint(send(peer, buf, 78, 0), ==, 78);
    tm_turns(tm);
    net_counters(tm->m, "n", &after);
    g_assert_cmpuint(n->got->len, ==, 1);
    g_assert_cmpuint(after.dropped - before.dropped, ==, 12 + 18 + NET_ETH);
    close(peer);
    for (unsigned i = 0; i < 3; i++) { /* nobody is there */
        g_assert_true(test_nic_send(n, NULL, f, sizeof(f)));
        tm_turns(tm);
    }
    net_test_free(tm);
}

static void test_options(void)
{
#define WHERE "l2tpv3,id=x,src=127.0.0.1,dst=127.0.0.1"
    static const char *const wrong[][2] = {
        { "l2tpv3,id=x", "'src' is missing" },
        { WHERE, "'txsession' is missing" },
        { WHERE ",txsession=1,udp=on", "'srcport' and 'dstport' are missing" },
        { WHERE ",txsession=1,srcport=5", "go with 'udp=on' only" },
        { WHERE ",txsession=0x100000000", "'txsession' must be" },
        { WHERE ",txsession=1,txcookie=1", "'txcookie' and 'rxcookie' go together" },
        { WHERE ",txsession=1,cookie64=on", "'cookie64' needs" },
        { WHERE ",txsession=1,txcookie=0x100000000,rxcookie=1", "use cookie64=on" },
        { WHERE ",txsession=1,pincounter=on", "'pincounter' needs" },
        { WHERE ",txsession=1,ipv6=on", "127.0.0.1" },
        { WHERE ",txsession=1,offset=257", "'offset' must be" },
    };
    TestMachine *tm = tm_new(0);
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        netdev_refused(tm, wrong[i][0], wrong[i][1]);
    }
    unsigned a = 0;
    int fd = udp_socket(&a);
    g_autofree char *taken = udp_text(a, a, "txsession=1");
    netdev_refused(tm, taken, "is in use by process");
    close(fd);
    net_test_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    net_register();
    g_test_add_func("/l2tpv3/udp", test_udp);
    g_test_add_func("/l2tpv3/ip", test_ip);
    g_test_add_func("/l2tpv3/wire", test_wire);
    g_test_add_func("/l2tpv3/options", test_options);
    return g_test_run();
}
