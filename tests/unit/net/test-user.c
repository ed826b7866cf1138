/* SPDX-License-Identifier: MIT
 * tests/unit/net/test-user.c - user-mode networking (net/user*.c): DHCP, ARP, forwarded ports with a TCP
 * handshake, who has a port, malformed frames. Threads: main.
 */
#include "tests/unit/net/nettest.h"
#include "rhea/schema/type.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void turn(TestMachine *tm, bool (*done)(void *), void *opaque)
{
    gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    while (!done(opaque) && g_get_monotonic_time() < end) {
        loop_turn(tm->loop, false);
    }
    g_assert_true(done(opaque));
}

static bool has_frame(void *nic)
{
    return ((TestNic *)nic)->got->len > 0;
}

static unsigned csum(const uint8_t *p, size_t len, unsigned sum)
{
    for (size_t i = 0; i < len; i++) {
        sum += i % 2 ? p[i] : (unsigned)p[i] << 8;
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return 0xffff & ~sum;
}

/* Ethernet and IPv4 in front of `len` bytes that are there already. */
static size_t wrap(uint8_t *f, const TestNic *n, uint8_t proto, uint32_t src, uint32_t dst, size_t len)
{
    memset(f, 0xff, 6);
    memcpy(f + 6, n->mac.b, 6);
    memcpy(f + 12, "\x08\x00\x45\x00", 4);
    unsigned total = (unsigned)len + 20;
    f[16] = (uint8_t)(total >> 8);
    f[17] = (uint8_t)total;
    memset(f + 18, 0, 8);
    f[22] = 64;
    f[23] = proto;
    src = htonl(src);
    dst = htonl(dst);
    memcpy(f + 26, &src, 4);
    memcpy(f + 30, &dst, 4);
    unsigned sum = csum(f + 14, 20, 0);
    f[24] = (uint8_t)(sum >> 8);
    f[25] = (uint8_t)sum;
    return len + 34;
}

static void dhcp_discover(TestNic *n)
{
    uint8_t f[600] = { 0 }, *udp = f + 34, *d = udp + 8;
    memcpy(udp, "\0\x44\0\x43", 4);
    unsigned len = 8 + 300;
    udp[4] = (uint8_t)(len >> 8);
    udp[5] = (uint8_t)len;
    d[0] = d[1] = 1;
    d[2] = 6;
    memcpy(d + 28, n->mac.b, 6);
    memcpy(d + 236, "\x63\x82\x53\x63\x35\x01\x01\xff", 8);
    test_nic_send(n, NULL, f, wrap(f, n, 17, 0, UINT32_MAX, len));
}

static const uint8_t *dhcp_option(const GByteArray *f, unsigned code)
{
    for (guint at = 34 + 8 + 240; at + 1 < f->len && f->data[at] != 255; at += 2u + f->data[at + 1]) {
        if (f->data[at] == code) {
            return f->data + at + 1;
        }
    }
    return NULL;
}

static TestMachine *user_new(const char *options, TestNic **n)
{
    TestMachine *tm = tm_new(0);
    g_autofree char *text = g_strdup_printf("user,id=u0,ipv6=off%s", options);
    netdev_new(tm, text);
    *n = test_nic_new(tm, "n", "u0");
    return tm;
}

/* libslirp 4.7 forgets to free this name. */
#ifdef __SANITIZE_ADDRESS__
#define TFTP_SERVER_NAME ""
#else
#define TFTP_SERVER_NAME "tftp-server-name=boot,"
#endif

static void test_dhcp(void)
{
    TestNic *n;
    TestMachine *tm = user_new(
        ",net=192.168.5.0/24,dhcpstart=192.168.5.77,hostname=guest-7,domainname=example.org," TFTP_SERVER_NAME
        "bootfile=/pxe",
        &n);
    dhcp_discover(n);
    turn(tm, has_frame, n);
    g_autoptr(GByteArray) f = test_nic_take(n);
    g_assert_true(n->hdr.csum_valid);
    g_assert_cmpmem(f->data + 34 + 8 + 16, 4, "\xc0\xa8\x05\x4d", 4);
    g_assert_cmpmem(dhcp_option(f, 3), 5, "\x04\xc0\xa8\x05\x02", 5);
    g_assert_cmpmem(dhcp_option(f, 6), 5, "\x04\xc0\xa8\x05\x03", 5);
    g_assert_cmpmem(dhcp_option(f, 12), 8, "\x07guest-7", 8);
    g_assert_cmpmem(dhcp_option(f, 15), 12,
                    "\x0b"
                    "example.org",
                    12);
    if (*TFTP_SERVER_NAME) {
        g_assert_cmpmem(dhcp_option(f, 66), 5,
                        "\x04"
                        "boot",
                        5);
    }
    g_assert_cmpstr((char *)f->data + 34 + 8 + 108, ==, "/pxe");
    g_autoptr(GString) s = g_string_new(NULL);
    net_print(tm->m, s);
    g_assert_nonnull(strstr(s->str, "u0: type=user,net=192.168.5.0/24,restrict=off"));
    net_test_free(tm);
}

/* ---- forwarded ports ---- */

static int listener(unsigned *port, int type)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, type, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&a, sizeof(a)), ==, 0);
    g_assert_cmpint(type == SOCK_STREAM ? listen(fd, 1) : 0, ==, 0);
    getsockname(fd, (struct sockaddr *)&a, &len);
    *port = ntohs(a.sin_port);
    return fd;
}

static unsigned only_forward(TestMachine *tm)
{
    g_autoptr(GArray) list = g_array_new(FALSE, TRUE, sizeof(HostfwdInfo));
    net_hostfwd_list(tm->m, list);
    g_assert_cmpuint(list->len, ==, 1);
    HostfwdInfo *h = &g_array_index(list, HostfwdInfo, 0);
    unsigned port = (unsigned)h->host_port;
    g_assert_cmpstr(h->id, ==, "u0");
    type_clear(&hostfwd_info_type, h);
    return port;
}

static void test_taken(void)
{
    TestNic *n;
    TestMachine *tm = user_new("", &n);
    for (unsigned udp = 0; udp < 2; udp++) {
        unsigned port;
        g_autoptr(Error) err = NULL;
        int fd = listener(&port, udp ? SOCK_DGRAM : SOCK_STREAM);
        g_autofree char *rule = g_strdup_printf("%s:127.0.0.1:%u-:22", udp ? "udp" : "tcp", port);
        g_autofree char *pid =
            g_strdup_printf("%s port %u is in use by process %d (", udp ? "UDP" : "TCP", port, getpid());
        g_assert_false(net_hostfwd_add(tm->m, NULL, rule, &err));
        g_assert_nonnull(strstr(error_text(err), pid));
        close(fd);
        g_assert_true(net_hostfwd_add(tm->m, "u0", rule, &error_abort_slot));
        g_assert_cmpuint(only_forward(tm), ==, port);
        *strrchr(rule, '-') = 0;
        g_assert_true(net_hostfwd_remove(tm->m, NULL, rule, &error_abort_slot));
        g_assert_false(net_hostfwd_remove(tm->m, NULL, rule, NULL));
        fd = socket(AF_INET, udp ? SOCK_DGRAM : SOCK_STREAM, 0); /* it is free again */
        close(fd);
    }
    static const char *const wrong[] = {
        "",          "tcp",           "tcp:",           "tcp::",         "tcp::1",  "tcp::1-",   "tcp::1-:",
        "tcp::1-:0", "tcp::65536-:1", "tcp:1.2.3:1-:2", "tcp:[::1:1-:2", "x::1-:2", "tcp::-1-:2"
    };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_assert_false(net_hostfwd_add(tm->m, NULL, wrong[i], NULL));
    }
    g_assert_false(net_hostfwd_add(tm->m, "n", "tcp::0-:22", NULL));
    net_test_free(tm);
}

/* A connection from outside reaches the guest as a SYN for its port. */
static void test_forward(void)
{
    TestNic *n;
    TestMachine *tm = user_new("", &n);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    dhcp_discover(n); /* the library learns who has the address */
    turn(tm, has_frame, n);
    test_nic_drop(n);
    uint8_t arp[42] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    memcpy(arp + 6, n->mac.b, 6);
    memcpy(arp + 12, "\x08\x06\0\x01\x08\0\x06\x04\0\x01", 10);
    memcpy(arp + 22, n->mac.b, 6);
    memcpy(arp + 28, "\x0a\0\x02\x0f", 4);
    memcpy(arp + 38, "\x0a\0\x02\x02", 4);
    test_nic_send(n, NULL, arp, sizeof(arp));
    turn(tm, has_frame, n);
    g_autoptr(GByteArray) reply = test_nic_take(n);
    g_assert_cmpmem(reply->data + 20, 2, "\0\x02", 2);
    g_assert_true(net_hostfwd_add(tm->m, NULL, "tcp:127.0.0.1:0-10.0.2.15:7777", &error_abort_slot));
    a.sin_port = htons((uint16_t)only_forward(tm));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&a, sizeof(a)), ==, 0);
    turn(tm, has_frame, n);
    g_autoptr(GByteArray) syn = test_nic_take(n);
    g_assert_cmpuint(syn->data[23], ==, 6);
    g_assert_cmpmem(syn->data + 30, 4, "\x0a\0\x02\x0f", 4);
    g_assert_cmpmem(syn->data + 36, 2, "\x1e\x61", 2);
    g_assert_cmphex(syn->data[47], ==, 2);
    close(fd);
    tm_turns(tm);
    net_test_free(tm);
}

/* Anything may come from a guest. */
static void test_hostile(void)
{
    TestNic *n;
    TestMachine *tm = user_new(",restrict=on", &n);
    GRand *rand = g_rand_new_with_seed(11);
    uint8_t f[700];
    for (unsigned i = 0; i < 20000; i++) {
        size_t len = (size_t)g_rand_int_range(rand, 0, 600);
        for (size_t k = 0; k < len; k++) {
            f[34 + k] = (uint8_t)g_rand_int(rand);
        }
        static const uint8_t protos[] = { 1, 6, 17, 0 };
        uint32_t dst = i % 3 ? 0x0a000202 : g_rand_int(rand);
        size_t all = wrap(f, n, protos[i % 4], 0x0a00020f, dst, len);
        if (i % 5 == 0) {
            f[12 + g_rand_int_range(rand, 0, 22)] = (uint8_t)g_rand_int(rand);
        }
        test_nic_send(n, NULL, f, i % 7 ? all : (size_t)g_rand_int_range(rand, 0, (int)all));
        if (i % 64 == 0) {
            tm_turns(tm);
            test_nic_drop(n);
        }
    }
    tm_turns(tm);
    test_nic_drop(n);
    dhcp_discover(n);
    turn(tm, has_frame, n);
    g_rand_free(rand);
    net_test_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    net_register();
    g_test_add_func("/user/dhcp", test_dhcp);
    g_test_add_func("/user/taken", test_taken);
    g_test_add_func("/user/forward", test_forward);
    g_test_add_func("/user/hostile", test_hostile);
    return g_test_run();
}
