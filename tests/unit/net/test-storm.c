/* SPDX-License-Identifier: MIT
 * tests/unit/net/test-storm.c - malformed packets into every back end and filter, from both sides: from the
 * card frames that are nearly ARP, DHCP, TFTP, ICMP, TCP or their IPv6 kin, cut short, with wrong lengths and
 * with headers (NetHdr) that do not fit; from the other side streams with any length, datagrams and tunnels
 * of any content, raw frames. Nothing falls over, and afterwards a good frame arrives as it was.
 * RHEA_STORM=N: so many of each; the sanitizer build is where it counts. In a network of its own where that
 * is permitted. Threads: main.
 */
#include "config.h"
#include "rhea/backends/char.h"
#include "rhea/backends/object.h"
#include "tests/unit/net/nettest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <fcntl.h>

enum { LONGEST = 3000, TURN = 16 };

typedef struct Storm Storm;
struct Storm {
    TestMachine *tm;
    TestNic *n;
    GRand *rand;
    char *dir;
    int fd;
    struct sockaddr_un un;
    Chardev *in[2], *out;
    unsigned port;
    unsigned step; /* ms of the machine's time in a turn */
    /* From the other side; good: it is a frame, and shall arrive. */
    void (*feed)(Storm *s, const uint8_t *data, size_t len, bool good);
};

static bool own_network;

static unsigned pick(Storm *s, unsigned n)
{
    return (unsigned)g_rand_int_range(s->rand, 0, (int)n);
}

static bool one_in(Storm *s, unsigned n)
{
    return pick(s, n) == 0;
}

/* ---- frames that are nearly good ---- */

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static unsigned sum16(const uint8_t *p, size_t len, unsigned sum)
{
    for (size_t i = 0; i < len; i++) {
        sum += i % 2 ? p[i] : (unsigned)p[i] << 8;
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* What follows the ports or the type: of the protocol that the port stands for, then anything. */
static size_t payload(Storm *s, unsigned port, uint8_t *p)
{
    size_t len = one_in(s, 50) ? pick(s, 1400) : pick(s, 330);
    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)(i > 240 || one_in(s, 8) ? g_rand_int(s->rand) : 0);
    }
    if (port == 67 && len > 240) {
        memcpy(p, "\1\1\6", 3);
        memcpy(p + 236, "\x63\x82\x53\x63\x35\x01", 6);
        p[242] = (uint8_t)(1 + pick(s, 8));
    } else if (port == 69 && len > 28) {
        static const char ask[28] = "\0\1file\0octet\0blksize\0001024";
        memcpy(p, ask, sizeof(ask));
        p[1] = (uint8_t)(one_in(s, 4) ? pick(s, 6) : 1);
    } else if (port == 547 && len > 24) {
        memcpy(p, "\x0b\1\2\3\0\1\0\x0e", 8);
        memcpy(p + 8, "\0\6\0\4\0\x17\0\x3b", 8);
    }
    return len;
}

/* UDP, TCP, ICMP or another one, with the sum over a pseudo header that `pseudo` begins. */
static size_t transport(Storm *s, uint8_t *p, uint8_t *proto, bool six, unsigned pseudo)
{
    static const uint16_t ports[] = { 67, 69, 53, 547, 7, 445, 12345 };
    unsigned port = ports[pick(s, G_N_ELEMENTS(ports))], kind = pick(s, 8);
    size_t head = 8, at = 6, len;
    memset(p, 0, 24);
    *proto = kind < 3 ? IPPROTO_UDP : kind < 6 ? IPPROTO_TCP : six ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    if (*proto == IPPROTO_UDP || *proto == IPPROTO_TCP) {
        put16(p, 68 + pick(s, 40));
        put16(p + 2, port);
    }
    if (*proto == IPPROTO_TCP) {
        head = 20 + 4 * pick(s, 3);
        at = 16;
        p[7] = (uint8_t)pick(s, 3);
        p[12] = (uint8_t)(one_in(s, 10) ? pick(s, 256) : head << 2);
        p[13] = (uint8_t)(one_in(s, 3) ? 2 : pick(s, 64));
        put16(p + 14, pick(s, 65536));
    } else if (*proto != IPPROTO_UDP) {
        static const uint8_t types[] = { 8, 0, 3, 133, 134, 135, 136, 128, 129, 1, 2 };
        p[0] = types[pick(s, G_N_ELEMENTS(types))];
        at = 2;
    }
    len = head + payload(s, port, p + head);
    if (*proto == IPPROTO_UDP) {
        put16(p + 4, one_in(s, 12) ? pick(s, 2000) : (unsigned)len);
    }
    *proto = one_in(s, 60) ? (uint8_t)pick(s, 256) : *proto;
    put16(p + at, 0xffff & ~sum16(p, len, pseudo + *proto + (unsigned)len));
    return len;
}

static size_t frame4(Storm *s, uint8_t *f)
{
    static const uint8_t to[][4] = { { 10, 0, 2, 2 },  { 10, 0, 2, 3 },  { 255, 255, 255, 255 },
                                     { 10, 0, 2, 15 }, { 127, 0, 0, 1 }, { 192, 0, 2, 9 } };
    uint8_t *ip = f + 14, options = one_in(s, 30) ? (uint8_t)(4 * pick(s, 11)) : 0;
    memcpy(f + 12, "\x08\x00\x45", 3);
    memset(ip + 1, 0, 19u + options);
    ip[0] = (uint8_t)(0x45 + options / 4);
    ip[5] = (uint8_t)pick(s, 4); /* fragments of few packets */
    put16(ip + 6, one_in(s, 20) ? pick(s, 65536) & (one_in(s, 2) ? 0xffff : 0x2007) : 0);
    ip[8] = 64;
    memcpy(ip + 12, "\x0a\0\2\x0f", 4);
    memcpy(ip + 16, to[pick(s, G_N_ELEMENTS(to))], 4);
    size_t len = 20u + options + transport(s, ip + 20 + options, ip + 9, false, sum16(ip + 12, 8, 0));
    put16(ip + 2, one_in(s, 20) ? pick(s, 65536) : (unsigned)len);
    ip[0] = one_in(s, 60) ? (uint8_t)pick(s, 256) : ip[0];
    put16(ip + 10, 0xffff & ~sum16(ip, 20u + options, 0));
    return 14 + len;
}

static size_t frame6(Storm *s, uint8_t *f)
{
    static const char *const to[] = { "fec0::2",   "fec0::3",        "ff02::1", "ff02::2",
                                      "ff02::1:2", "ff02::1:ff00:2", "fe80::2", "2001:db8::1" };
    uint8_t *ip = f + 14, proto;
    memcpy(f + 12, "\x86\xdd\x60\0\0\0", 6);
    ip[7] = one_in(s, 20) ? (uint8_t)pick(s, 256) : 255;
    inet_pton(AF_INET6, one_in(s, 8) ? "::" : one_in(s, 2) ? "fec0::15" : "fe80::15", ip + 8);
    inet_pton(AF_INET6, to[pick(s, G_N_ELEMENTS(to))], ip + 24);
    size_t len = transport(s, ip + 40, &proto, true, sum16(ip + 8, 32, 0));
    ip[6] = one_in(s, 20) ? (uint8_t)pick(s, 64) : proto;
    put16(ip + 4, one_in(s, 20) ? pick(s, 65536) : (unsigned)len);
    return 54 + len;
}

static size_t frame(Storm *s, uint8_t *f)
{
    static const char arp[] = "\x08\x06\0\1\x08\0\6\4\0\1\2\0\0\0\0\x15\x0a\0\2\x0f\0\0\0\0\0\0\x0a\0\2\2";
    unsigned kind = pick(s, 16);
    memset(f, 0xff, 6);
    memcpy(f + 6, s->n->mac.b, 6);
    size_t len = 60;
    if (kind < 2) {
        memset(f + 12, 0, 48);
        memcpy(f + 12, arp, sizeof(arp) - 1);
        f[21] = (uint8_t)pick(s, 4);
    } else {
        len = kind < 10 ? frame4(s, f) : frame6(s, f);
    }
    for (unsigned k = one_in(s, 2) ? pick(s, 4) : 0; k > 0; k--) {
        f[12 + pick(s, (unsigned)MIN(len, 80) - 12)] = (uint8_t)g_rand_int(s->rand);
    }
    return one_in(s, 5) ? pick(s, (unsigned)len + 1) : len;
}

/* A header that fits now and then. */
static NetHdr header(Storm *s, size_t len)
{
    NetHdr h = { .needs_csum = one_in(s, 2),
                 .csum_valid = one_in(s, 3),
                 .gso = (uint8_t)pick(s, one_in(s, 9) ? 256 : 3),
                 .ecn = one_in(s, 9),
                 .gso_size = (uint16_t)pick(s, 2000),
                 .hdr_len = (uint16_t)pick(s, 100) };
    h.csum_start = (uint16_t)(one_in(s, 2) ? pick(s, (unsigned)len + 20) : one_in(s, 2) ? 34 : 54);
    h.csum_offset = (uint16_t)(one_in(s, 3) ? pick(s, 200) : 16);
    return h;
}

/* ---- the storm ---- */

static void storm_open(Storm *s, void (*feed)(Storm *, const uint8_t *, size_t, bool))
{
    *s = (Storm){ .tm = tm_new(0), .rand = g_rand_new_with_seed(29), .fd = -1, .step = 50, .feed = feed };
    s->dir = g_dir_make_tmp("rhea-storm-XXXXXX", NULL);
}

static void storm_begin(Storm *s, const char *netdev)
{
    netdev_new(s->tm, netdev);
    s->n = test_nic_new(s->tm, "n", "s");
    tm_turns(s->tm);
}

static bool arrived(Storm *s, const uint8_t *f, size_t len)
{
    for (guint i = 0; i < s->n->got->len; i++) {
        const GByteArray *a = s->n->got->pdata[i];
        if (a->len == len && memcmp(a->data, f, len) == 0) {
            return true;
        }
    }
    return false;
}

static void storm_run(Storm *s)
{
    const char *env = g_getenv("RHEA_STORM");
    unsigned rounds = env ? (unsigned)atoi(env) : 4000;
    uint8_t f[LONGEST];
    for (unsigned i = 0; i < rounds; i++) {
        size_t len = frame(s, f);
        NetHdr h = header(s, len);
        test_nic_send(s->n, one_in(s, 3) ? &h : NULL, f, len);
        len = frame(s, f);
        s->feed(s, f, len, false);
        if (i % TURN == 0) {
            tm_step(s->tm, (int64_t)s->step * 1000000);
            test_nic_drop(s->n);
        }
    }
    tm_turns(s->tm);
}

/* A good frame arrives as it was; what was lost on the way is sent again. */
static void storm_check(Storm *s)
{
    uint8_t f[100];
    frame_fill(f, sizeof(f), 3);
    gint64 end = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
    do {
        test_nic_drop(s->n);
        s->feed(s, f, sizeof(f), true);
        tm_step(s->tm, 50 * 1000000);
    } while (!arrived(s, f, sizeof(f)) && g_get_monotonic_time() < end);
    g_assert_true(arrived(s, f, sizeof(f)));
}

static void storm_close(Storm *s)
{
    if (s->fd >= 0) {
        close(s->fd);
    }
    machine_stop(s->tm->m, RUN_PAUSED);
    net_remove_all(s->tm->m);
    chardev_remove_all(s->tm->m);
    tm_free(s->tm);
    g_rand_free(s->rand);
    if (*s->un.sun_path) {
        g_unlink(s->un.sun_path);
    }
    g_assert_cmpint(g_rmdir(s->dir), ==, 0);
    g_free(s->dir);
}

/* ---- back ends ---- */

/* The name of a socket in the storm's folder. */
static char *name_socket(Storm *s)
{
    s->un.sun_family = AF_UNIX;
    g_snprintf(s->un.sun_path, sizeof(s->un.sun_path), "%s/s", s->dir);
    return s->un.sun_path;
}

/* Lengths that are right, wrong, or not there. A back end that has enough of them closes: the next one comes.
 */
static void feed_stream(Storm *s, const uint8_t *data, size_t len, bool good)
{
    uint8_t head[4] = { 0, 0, (uint8_t)(len >> 8), (uint8_t)len };
    if (s->fd < 0 || good) {
        if (s->fd >= 0) {
            close(s->fd);
            tm_turns(s->tm);
        }
        s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        g_assert_cmpint(connect(s->fd, (struct sockaddr *)&s->un, sizeof(s->un)), ==, 0);
        tm_turns(s->tm);
    }
    if (!good && one_in(s, 30)) {
        head[pick(s, 4)] = (uint8_t)g_rand_int(s->rand);
    }
    char drop[4096];
    while (recv(s->fd, drop, sizeof(drop), 0) > 0) {
    }
    if ((send(s->fd, head, 4, MSG_NOSIGNAL) < 4 || send(s->fd, data, len, MSG_NOSIGNAL) < (ssize_t)len) &&
        !good) {
        close(s->fd);
        s->fd = -1;
        tm_turns(s->tm);
    }
}

static void test_stream(void)
{
    Storm s;
    storm_open(&s, feed_stream);
    g_autofree char *text =
        g_strdup_printf("stream,id=s,addr.type=unix,addr.path=%s,server=on", name_socket(&s));
    storm_begin(&s, text);
    storm_run(&s);
    storm_check(&s);
    storm_close(&s);
}

static void feed_datagram(Storm *s, const uint8_t *data, size_t len, bool good G_GNUC_UNUSED)
{
    char drop[LONGEST];
    while (recv(s->fd, drop, sizeof(drop), 0) >= 0) {
    }
    if (send(s->fd, data, len, MSG_NOSIGNAL) <
        0) { /* it is full, or its peer told of a port that nobody has */
        tm_turns(s->tm);
    }
}

static void test_dgram(void)
{
    int fds[2];
    Storm s;
    storm_open(&s, feed_datagram);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), ==, 0);
    g_autofree char *text = g_strdup_printf("dgram,id=s,local.type=fd,local.str=%d", fds[0]);
    s.fd = fds[1];
    storm_begin(&s, text);
    storm_run(&s);
    storm_check(&s);
    storm_close(&s);
}

static int udp_socket(unsigned *port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&in, len) | getsockname(fd, (struct sockaddr *)&in, &len), ==,
                    0);
    *port = ntohs(in.sin_port);
    return fd;
}

static void udp_connect(int fd, unsigned port)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    g_assert_cmpint(connect(fd, (struct sockaddr *)&in, sizeof(in)), ==, 0);
}

/* The session's header, mostly, with a wrong byte or cut short now and then. */
static void feed_tunnel(Storm *s, const uint8_t *data, size_t len, bool good)
{
    uint8_t p[LONGEST + 18] = "\0\3\0\0\0\0\0\x33\0\0\0\x44";
    memcpy(p + 18, data, len);
    if (!good && one_in(s, 4)) {
        p[pick(s, 18)] = (uint8_t)g_rand_int(s->rand);
    }
    feed_datagram(s, p, !good && one_in(s, 8) ? pick(s, 24) : 18 + len, good);
}

static void test_l2tpv3(void)
{
    Storm s;
    unsigned port, peer;
    storm_open(&s, feed_tunnel);
    close(udp_socket(&port));
    s.fd = udp_socket(&peer);
    udp_connect(s.fd, port);
    g_autofree char *text = g_strdup_printf(
        "l2tpv3,id=s,udp=on,src=127.0.0.1,dst=127.0.0.1,srcport=%u,dstport=%u,txsession=0x11,rxsession=0x33,"
        "txcookie=0x22,rxcookie=0x44,counter=on,offset=2",
        port, peer);
    storm_begin(&s, text);
    storm_run(&s);
    storm_check(&s);
    storm_close(&s);
}

static void feed_tap(Storm *s, const uint8_t *data, size_t len, bool good G_GNUC_UNUSED)
{
    char drop[LONGEST];
    while (recv(s->fd, drop, sizeof(drop), 0) > 0) {
    }
    send(s->fd, data, len, 0); /* the kernel refuses what is shorter than its header */
}

static void test_tap(void)
{
    Storm s;
    int probe = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (!own_network || probe < 0) {
        g_test_skip("a network namespace or a tap interface is not permitted here");
        return;
    }
    close(probe);
    storm_open(&s, feed_tap);
    storm_begin(&s, "tap,id=s,ifname=t0,script=no,downscript=no");
    net_test_interface_up("t0");
    s.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
    struct sockaddr_ll ll = { .sll_family = AF_PACKET,
                              .sll_protocol = htons(ETH_P_ALL),
                              .sll_ifindex = (int)if_nametoindex("t0") };
    g_assert_cmpint(bind(s.fd, (struct sockaddr *)&ll, sizeof(ll)), ==, 0);
    storm_run(&s);
    storm_check(&s);
    storm_close(&s);
}

/* ---- hubs and filters ---- */

static void filter(Storm *s, const char *text)
{
    bool from_text;
    g_autoptr(Json) o = keyval_parse(text, "qom-type", &from_text, &error_abort_slot);
    object_new_json(s->tm->m, o, from_text, false, &error_abort_slot);
}

static void feed_hub(Storm *s, const uint8_t *data, size_t len, bool good)
{
    static TestNic *other;
    static TestMachine *of;
    if (of != s->tm) {
        of = s->tm;
        other = test_nic_new(s->tm, "o", "t");
    }
    NetHdr h = header(s, len);
    test_nic_send(other, !good && one_in(s, 3) ? &h : NULL, data, len);
    test_nic_drop(other);
}

static void hub_begin(Storm *s)
{
    netdev_new(s->tm, "hubport,id=t,hubid=0");
    storm_begin(s, "hubport,id=s,hubid=0");
}

static void test_hub(void)
{
    Storm s;
    storm_open(&s, feed_hub);
    hub_begin(&s);
    storm_run(&s);
    storm_check(&s);
    storm_close(&s);
}

/* Through all filters at once; what a redirector reads is fed as a stream is. */
static void feed_filters(Storm *s, const uint8_t *data, size_t len, bool good)
{
    static uint8_t out[1 << 20];
    uint8_t head[4] = { 0, 0, (uint8_t)(len >> 8), (uint8_t)len };
    feed_hub(s, data, len, good);
    if (!good) {
        chardev_buffer_feed(s->in[one_in(s, 2)], head, 4);
        chardev_buffer_feed(s->in[one_in(s, 2)], data, len);
    }
    chardev_buffer_take(s->out, out, sizeof(out));
}

static void test_filters(void)
{
    Storm s;
    storm_open(&s, feed_filters);
    hub_begin(&s);
    for (unsigned i = 0; i < 2; i++) {
        g_autofree char *id = g_strdup_printf("in%u", i);
        s.in[i] = chardev_new_buffer(s.tm->m, id);
    }
    s.out = chardev_new_buffer(s.tm->m, "out");
    filter(&s, "filter-dump,id=d,netdev=s,file=/dev/null,maxlen=100");
    filter(&s, "filter-mirror,id=m,netdev=s,outdev=out");
    filter(&s, "filter-redirector,id=r0,netdev=s,indev=in0,queue=rx");
    filter(&s, "filter-redirector,id=r1,netdev=s,indev=in1,queue=tx");
    filter(&s, "filter-buffer,id=b,netdev=s,interval=1000");
    filter(&s, "x-rhea-filter-flows,id=f,netdev=s,allow=udp:*;tcp:10.0.2.2:1-100");
    storm_run(&s);
    storm_check(&s);
    storm_close(&s);
}

/* ---- user-mode networking ---- */

/* Into a forwarded port, any length. */
static void feed_user(Storm *s, const uint8_t *data, size_t len, bool good G_GNUC_UNUSED)
{
    if (one_in(s, 20) && send(s->fd, data, len, MSG_NOSIGNAL) < 0) {
        tm_turns(s->tm);
    }
}

static void test_user(gconstpointer restricted)
{
    Storm s;
    uint8_t arp[60] = "\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\x08\x06\0\1\x08\0\6\4\0\1\0\0\0\0\0\0\x0a\0\2\x0f"
                      "\0\0\0\0\0\0\x0a\0\2\2";
    if (!own_network && !restricted) {
        g_test_skip("a network namespace is not permitted here, and the host's shall not be stormed");
        return;
    }
    storm_open(&s, feed_user);
    unsigned port, peer;
    close(udp_socket(&port));
    s.fd = udp_socket(&peer);
    udp_connect(s.fd, port);
    g_autofree char *text =
        g_strdup_printf("user,id=s,tftp=%s,restrict=%s,hostfwd=udp:127.0.0.1:%u-10.0.2.15:9", s.dir,
                        restricted ? "on" : "off", port);
    storm_begin(&s, text);
    s.step = 200; /* what is idle is forgotten */
    storm_run(&s);
    tm_turns(s.tm);
    test_nic_drop(s.n);
    memcpy(arp + 6, s.n->mac.b, 6);
    memcpy(arp + 22, s.n->mac.b, 6);
    test_nic_send(s.n, NULL, arp, sizeof(arp));
    tm_turns(s.tm);
    bool answered = false;
    for (guint i = 0; i < s.n->got->len; i++) {
        const GByteArray *a = s.n->got->pdata[i];
        answered |= a->len >= 42 && memcmp(a->data + 12, "\x08\x06", 2) == 0 && a->data[21] == 2;
    }
    g_assert_true(answered);
    storm_close(&s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    net_register();
    own_network = net_test_own_network();
    if (own_network) {
        net_test_interface_up("lo");
    }
    g_test_add_func("/storm/stream", test_stream);
    g_test_add_func("/storm/dgram", test_dgram);
    g_test_add_func("/storm/l2tpv3", test_l2tpv3);
    g_test_add_func("/storm/tap", test_tap);
    g_test_add_func("/storm/hub", test_hub);
    g_test_add_func("/storm/filters", test_filters);
    if (HAVE_SLIRP) {
        g_test_add_data_func("/storm/user", NULL, test_user);
        g_test_add_data_func("/storm/user-restricted", "", test_user);
    }
    return g_test_run();
}
