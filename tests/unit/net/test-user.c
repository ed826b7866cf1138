/* SPDX-License-Identifier: MIT
 * tests/unit/net/test-user.c - user-mode networking (net/user.c): DHCP, ARP, malformed frames; its options
 * (net/user-options.c), its file server (net/user-smb.c);
 * ports and addresses forwarded both ways, with TCP's handshake, and who has a port
 * (net/user-forward.c); fragments (net/user-guard.c); floods of connections (net/user-limit.c). Threads:
 * main.
 */
#include "net/user_internal.h"
#include "tests/unit/net/nettest.h"
#include "rhea/schema/type.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
    g_assert_nonnull(strstr(s->str, "u0: index=0,type=user,net=192.168.5.0/24,restrict=off"));
    net_test_free(tm);
}

/* ---- options ---- */

static uint32_t ip4(struct in_addr a)
{
    return ntohl(a.s_addr);
}

static void test_networks(void)
{
    static const struct {
        const char *net;
        uint32_t addr, mask;
        const char *says;
    } nets[] = {
        { NULL, 0x0a000200, 0xffffff00, "10.0.2.0/24" },
        { "10.1.2.3", 0x0a000000, 0xff000000, "10.0.0.0/8" }, /* by class */
        { "172.20.1.1", 0xac100000, 0xfff00000, "172.16.0.0/12" },
        { "192.168.9.9", 0xc0a80900, 0xffffff00, "192.168.9.0/24" },
        { "10.1.2.3/12", 0x0a000000, 0xfff00000, "10.0.0.0/12" },
        { "10.1.2.3/255.255.0.0", 0x0a010000, 0xffff0000, "10.1.0.0/16" },
        { "192.168.5.64/30", 0xc0a80540, 0xfffffffc, "192.168.5.64/30" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(nets); i++) {
        NetdevUserOptions o = { .net = (char *)nets[i].net };
        UserConfig c;
        if (i == 6) { /* there is no 15th address */
            o.dhcpstart = (char *)"192.168.5.65";
        }
        g_assert_true(user_config(&o, &c, &error_abort_slot));
        g_assert_cmphex(ip4(c.c.vnetwork), ==, nets[i].addr);
        g_assert_cmphex(ip4(c.c.vnetmask), ==, nets[i].mask);
        g_assert_cmpstr(c.network, ==, nets[i].says);
        g_assert_cmphex(ip4(c.c.vhost), ==, nets[i].addr + 2);
        g_assert_cmphex(ip4(c.c.vnameserver), ==, nets[i].addr + 3);
        g_assert_cmphex(ip4(c.c.vdhcp_start), ==, nets[i].addr + (i == 6 ? 1 : 15));
        user_config_clear(&c);
    }
    String search[] = { { .str = (char *)"a.example" }, { .str = (char *)"b.example" } };
    NetdevUserOptions o = { .ip = (char *)"10.5.0.0/16",
                            .host = (char *)"10.5.0.9",
                            .dns = (char *)"10.5.0.8",
                            .has_restrict = true,
                            .restrict_ = true,
                            .ipv6_prefix = (char *)"2001:db8::",
                            .has_ipv6_prefixlen = true,
                            .ipv6_prefixlen = 48,
                            .ipv6_host = (char *)"2001:db8:0:7::1",
                            .tftp = (char *)"/",
                            .dnssearch = { .items = search, .n = 2 } };
    UserConfig c;
    struct in6_addr a;
    g_assert_true(user_config(&o, &c, &error_abort_slot));
    g_assert_true(c.c.in_enabled && c.c.in6_enabled && c.c.restricted);
    g_assert_cmphex(ip4(c.c.vhost), ==, 0x0a050009);
    g_assert_cmphex(ip4(c.c.vnameserver), ==, 0x0a050008);
    g_assert_cmpuint(c.c.vprefix_len, ==, 48);
    inet_pton(AF_INET6, o.ipv6_host, &a);
    g_assert_cmpmem(&c.c.vhost6, 16, &a, 16);
    inet_pton(AF_INET6, "2001:db8::3", &a);
    g_assert_cmpmem(&c.c.vnameserver6, 16, &a, 16);
    g_assert_cmpstr(c.c.vdnssearch[0], ==, "a.example");
    g_assert_cmpstr(c.c.vdnssearch[1], ==, "b.example");
    g_assert_null(c.c.vdnssearch[2]);
    g_assert_cmpstr(c.c.tftp_path, ==, "/");
    user_config_clear(&c);
    for (unsigned six = 0; six < 2; six++) { /* the only one that is on */
        NetdevUserOptions only = { .has_ipv4 = !six, .ipv4 = true, .has_ipv6 = six, .ipv6 = true };
        g_assert_true(user_config(&only, &c, &error_abort_slot));
        g_assert_true(c.c.in_enabled == !six && c.c.in6_enabled == six);
        g_assert_false(c.c.restricted);
        user_config_clear(&c);
    }
}

static void test_wrong_options(void)
{
    static const struct {
        const char *options, *says;
    } wrong[] = {
        { "net=10.0.2.0/24,ip=10.0.2.0/24", "exclude each other" },
        { "net=ten", "'net' does not take 'ten': it is no IPv4 address" },
        { "net=10.0.0.0/255.0.255.0", "its mask is not a prefix" },
        { "net=10.0.0.0/255.x", "no IPv4 address" },
        { "net=10.0.0.0/0", "a prefix has 1 to 30 bits" },
        { "net=10.0.0.0/31", "a prefix has 1 to 30 bits" },
        { "host=10.0.3.2", "'host' is 10.0.3.2, which is no address of a computer in the network" },
        { "dns=10.0.2.0", "'dns' is 10.0.2.0, which is no address" },
        { "dhcpstart=10.0.2.255", "'dhcpstart' is 10.0.2.255, which is no address" },
        { "host=10.0.2.3", "'host' and 'dns' must not be the same" },
        { "dhcpstart=10.0.2.2", "'dhcpstart' must not be the address of" },
        { "dhcpstart=10.0.2.3", "'dhcpstart' must not be the address of" },
        { "ipv6-prefix=x", "'ipv6-prefix' does not take 'x': it is no IPv6 address" },
        { "ipv6-host=fec1::2", "'ipv6-host' is fec1::2, which is not in the network" },
        { "ipv6-prefixlen=10,ipv6-dns=fe80::1", "'ipv6-dns' is fe80::1, which is not in the network" },
        { "ipv4=off,ipv6=off", "'ipv4' and 'ipv6' are both off" },
        { "ipv4=off,host=10.0.2.9", "an IPv4 address is given, and IPv4 is off" },
        { "ipv6=off,ipv6-prefixlen=64", "an IPv6 address is given, and IPv6 is off" },
        { "tftp=/nowhere/at/all", "'tftp' does not take '/nowhere/at/all': there is no such folder" },
        { "smbserver=10.0.2.4", "'smbserver' is the address of a server that 'smb' would make" },
        { "smb=/,ipv4=off", "'smb' is reached by IPv4, and IPv4 is off" },
        { "smb=/,smbserver=four", "'smbserver' does not take 'four': it is no IPv4 address" },
        { "smb=/,smbserver=10.0.3.4", "'smbserver' is 10.0.3.4, which is no address" },
        { "smb=/,smbserver=10.0.2.2", "the file server's address 10.0.2.2 is another one's" },
        { "smb=/,dns=10.0.2.4", "the file server's address 10.0.2.4 is another one's" },
        { "smb=/,net=10.0.2.0/29,dhcpstart=10.0.2.4", "the file server's address 10.0.2.4 is another one's" },
        { "smb=/,net=10.0.2.0/30,dhcpstart=10.0.2.1", "the file server's address 10.0.2.0 is another one's" },
        { "smb=/nowhere/at/all", "'smb' does not take '/nowhere/at/all': No such file" },
        { "smb=/dev/null", "'smb' does not take '/dev/null': it is no folder" },
        { "guestfwd=tcp:10.0.2.9:0-cmd:cat", "an IPv4 address and a port in the guest's network" },
        { "guestfwd=tcp::9-cmd:cat", "an IPv4 address and a port in the guest's network" },
        { "guestfwd=tcp:[fec0::9]:9-cmd:cat", "an IPv4 address and a port in the guest's network" },
        { "guestfwd=tcp:10.0.2.2:9-cmd:cat", "the address is not free" },
        { "guestfwd=tcp:10.0.2.9:9-chardev:none", "none" },
        { "hostfwd=tcp::0-:0", "port 0 of the guest leads nowhere" },
    };
    TestMachine *tm = tm_new(0);
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autofree char *text = g_strdup_printf("user,id=u,%s", wrong[i].options);
        g_autoptr(Error) err = NULL;
        bool from_text;
        g_autoptr(Json) o = keyval_parse(text, "type", &from_text, &error_abort_slot);
        g_assert_false(netdev_add_json(tm->m, o, from_text, &err));
        if (!strstr(error_text(err), wrong[i].says)) {
            g_error("%s: '%s' does not say '%s'", text, error_text(err), wrong[i].says);
        }
    }
    g_autofree char *name = g_strnfill(300, 'x');
    for (unsigned i = 0; i < 4; i++) {
        NetdevUserOptions o = { 0 };
        g_autoptr(Error) err = NULL;
        UserConfig c;
        *(i == 0 ? &o.hostname : i == 1 ? &o.domainname : i == 2 ? &o.tftp_server_name : &o.bootfile) = name;
        name[i == 3 ? 127 : 255] = 0;
        g_assert_true(user_config(&o, &c, &error_abort_slot));
        user_config_clear(&c);
        name[i == 3 ? 127 : 255] = 'x';
        g_assert_false(user_config(&o, &c, &err));
        g_assert_nonnull(strstr(error_text(err), i == 3 ? "longer than 127" : "longer than 255"));
    }
    net_test_free(tm);
}

/* ---- the file server ---- */

/* It begins and ends with a folder of any name, which stays as it is; else it says which program is not
 * there. tests/func/netsmb.py has the rest. */
static void test_smb(void)
{
    TestMachine *tm = tm_new(0);
    g_autofree char *top = g_dir_make_tmp("rhea-test-smb-XXXXXX", NULL),
                    *folder = g_build_filename(top, "a %u \"b\"", NULL),
                    *kept = g_build_filename(folder, "f", NULL),
                    *text = g_strdup_printf("user,id=u0,smb=%s", folder);
    g_autoptr(Error) err = NULL;
    bool from_text;
    g_autoptr(Json) o = keyval_parse(text, "type", &from_text, &error_abort_slot);
    g_assert_true(g_mkdir(folder, 0700) == 0 && g_file_set_contents(kept, "x", 1, NULL));
    if (netdev_add_json(tm->m, o, from_text, &err)) {
        g_assert_true(netdev_del(tm->m, "u0", &error_abort_slot));
    } else if (!g_file_test("/usr/sbin/smbd", G_FILE_TEST_IS_EXECUTABLE)) {
        g_assert_nonnull(strstr(error_text(err), "needs the program '/usr/sbin/smbd', which is not there"));
    } else {
        g_error("%s", error_text(err));
    }
    net_test_free(tm);
    g_assert_true(g_unlink(kept) == 0 && g_rmdir(folder) == 0 && g_rmdir(top) == 0);
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

/* Two rules of one port, and one whose guest has an IPv6 address: what is listed, and what is taken away. */
static void test_rules(void)
{
    TestMachine *tm = tm_new(0);
    unsigned port;
    int fd = listener(&port, SOCK_STREAM);
    close(fd);
    g_autofree char *tcp = g_strdup_printf("tcp:127.0.0.1:%u-10.0.2.15:22", port);
    g_autofree char *udp = g_strdup_printf("udp:127.0.0.1:%u-:53", port);
    netdev_new(tm, "user,id=u0");
    g_assert_true(net_hostfwd_add(tm->m, NULL, tcp, &error_abort_slot));
    g_assert_true(net_hostfwd_add(tm->m, NULL, udp, &error_abort_slot));
    g_assert_true(net_hostfwd_add(tm->m, NULL, "tcp::0-[fec0::15]:80", &error_abort_slot));
    *strrchr(udp, '-') = 0;
    g_assert_true(net_hostfwd_remove(tm->m, NULL, udp, &error_abort_slot));
    g_autoptr(GArray) list = g_array_new(FALSE, TRUE, sizeof(HostfwdInfo));
    net_hostfwd_list(tm->m, list);
    static const struct {
        const char *host, *guest;
        int64_t port;
    } want[] = { { "127.0.0.1", "10.0.2.15", 22 }, { "::", "fec0::15", 80 } };
    g_assert_cmpuint(list->len, ==, 2);
    for (unsigned i = 0; i < 2; i++) {
        HostfwdInfo *h = &g_array_index(list, HostfwdInfo, i);
        g_assert_cmpstr(h->protocol, ==, "tcp");
        g_assert_cmpstr(h->host_addr, ==, want[i].host);
        g_assert_cmpstr(h->guest_addr, ==, want[i].guest);
        g_assert_cmpint(h->guest_port, ==, want[i].port);
        g_assert_cmpint(h->host_port, ==, i ? h->host_port : port);
        g_assert_cmpint(h->host_port, >, 0);
        type_clear(&hostfwd_info_type, h);
    }
    net_test_free(tm);
}

/* ---- the guest's side of a connection ---- */

typedef struct Tcp {
    TestMachine *tm;
    TestNic *n;
    uint32_t peer, seq, ack; /* its address; our next byte, the next one that we expect */
    uint32_t acked;          /* what it got of ours */
    uint16_t port;
    GByteArray *got;
} Tcp;

static void tcp_send(Tcp *t, unsigned flags, const char *data, size_t len)
{
    uint8_t f[1500] = { 0 }, *h = f + 34;
    const uint16_t ports[] = { htons(1234), htons(t->port) };
    const uint32_t seq = htonl(t->seq), ack = htonl(t->ack);
    memcpy(h, ports, 4);
    memcpy(h + 4, &seq, 4);
    memcpy(h + 8, &ack, 4);
    memcpy(h + 12, "\x50\0\xff\xff", 4);
    h[13] = (uint8_t)flags;
    memcpy(h + 20, data, len);
    size_t all = wrap(f, t->n, 6, 0x0a00020f, t->peer, 20 + len);
    unsigned pseudo = 0x0a00 + 0x020f + (t->peer >> 16) + (t->peer & 0xffff) + 6 + 20 + (unsigned)len;
    unsigned sum = csum(h, 20 + len, pseudo);
    h[16] = (uint8_t)(sum >> 8);
    h[17] = (uint8_t)sum;
    t->seq += (uint32_t)len + (flags & 2 ? 1 : 0);
    test_nic_send(t->n, NULL, f, all);
}

/* Takes what came, and acknowledges it. */
static void tcp_take(Tcp *t)
{
    for (GByteArray *f; (f = test_nic_take(t->n)) != NULL; g_byte_array_unref(f)) {
        if (f->len < 54 || f->data[12] != 8 || f->data[13] != 0 || f->data[23] != 6) {
            continue;
        }
        const uint8_t *h = f->data + 34;
        unsigned head = (h[12] >> 4) * 4u, len = (unsigned)(f->data[16] << 8 | f->data[17]) - 20 - head;
        uint32_t seq;
        memcpy(&seq, h + 4, 4);
        seq = ntohl(seq);
        g_assert_cmphex(h[13] & 4, ==, 0); /* no reset */
        memcpy(&t->acked, h + 8, 4);
        t->acked = ntohl(t->acked);
        if (h[13] & 2) {
            t->ack = seq + 1;
        } else if (seq == t->ack) {
            g_byte_array_append(t->got, h + head, len);
            t->ack += len;
        }
        if (len || h[13] & 2) {
            tcp_send(t, 0x10, "", 0);
        }
    }
}

static bool tcp_open(void *opaque)
{
    Tcp *t = opaque;
    tcp_take(t);
    return t->ack != 0;
}

static bool tcp_has_five(void *opaque)
{
    Tcp *t = opaque;
    tcp_take(t);
    return t->got->len >= 5;
}

enum { MUCH = 300000 }; /* more than the library keeps for a connection */
typedef struct Flood {
    Tcp *t;
    int fd;
    unsigned sent;
} Flood;

static uint8_t flood_byte(unsigned i)
{
    return (uint8_t)(i * 7 + i / 256);
}

/* As the guest takes, more is handed in. */
static bool flood_over(void *opaque)
{
    Flood *f = opaque;
    uint8_t piece[4096];
    for (unsigned i = 0; i < sizeof(piece); i++) {
        piece[i] = flood_byte(f->sent + i);
    }
    ssize_t n = write(f->fd, piece, MIN(sizeof(piece), MUCH - f->sent));
    f->sent += (unsigned)MAX(n, 0);
    if (f->sent > MUCH / 2 || n < 0) { /* the guest is slow at first */
        tcp_take(f->t);
    }
    return f->t->got->len >= MUCH;
}

static void learn_guest(TestMachine *tm, TestNic *n)
{
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
}

typedef struct Pipe {
    int fd;
    char text[16];
    ssize_t n;
} Pipe;

static bool pipe_has_five(void *opaque)
{
    Pipe *p = opaque;
    ssize_t n = read(p->fd, p->text + p->n, sizeof(p->text) - (size_t)p->n);
    p->n += MAX(n, 0);
    return p->n >= 5;
}

/* A user network whose 10.0.2.100 leads to a command at port 7, and at port 8 to a pair of named pipes; the
 * other ends of these are the test's. */
typedef struct Forward {
    char *dir, *in, *out;
    TestMachine *tm;
    TestNic *n;
    int reader, writer;
} Forward;

static void forward_open(Forward *f)
{
    f->dir = g_dir_make_tmp(NULL, NULL);
    g_autofree char *path = g_build_filename(f->dir, "p", NULL);
    f->in = g_strconcat(path, ".in", NULL);
    f->out = g_strconcat(path, ".out", NULL);
    g_assert_cmpint(mkfifo(f->in, 0600), ==, 0);
    g_assert_cmpint(mkfifo(f->out, 0600), ==, 0);
    g_autofree char *options =
        g_strdup_printf(",guestfwd.0=tcp:10.0.2.100:7-cmd:cat,guestfwd.1=tcp:10.0.2.100:8-pipe:%s", path);
    f->tm = user_new(options, &f->n);
    f->reader = open(f->out, O_RDONLY | O_NONBLOCK);
    f->writer = open(f->in, O_WRONLY | O_NONBLOCK);
    g_assert_cmpint(f->writer, >=, 0);
    learn_guest(f->tm, f->n);
}

static void forward_close(Forward *f)
{
    net_test_free(f->tm);
    close(f->reader);
    close(f->writer);
    g_unlink(f->in);
    g_unlink(f->out);
    g_rmdir(f->dir);
    g_free(f->dir);
    g_free(f->in);
    g_free(f->out);
}

/* What the guest sends to an address goes to a command or a character device, and back. */
static void test_guestfwd(void)
{
    Forward f;
    forward_open(&f);
    TestMachine *tm = f.tm;
    Pipe reader = { .fd = f.reader };
    for (unsigned i = 0; i < 2; i++) {
        Tcp t = { .tm = tm, .n = f.n, .peer = 0x0a000264, .seq = 1000, .port = (uint16_t)(7 + i),
                  .got = g_byte_array_new() };
        tcp_send(&t, 2, "", 0);
        turn(tm, tcp_open, &t);
        tcp_send(&t, 0x18, "hello", 5);
        if (i) {
            turn(tm, pipe_has_five, &reader);
            g_assert_cmpmem(reader.text, (size_t)reader.n, "hello", 5);
            g_assert_cmpint(write(f.writer, "reply", 5), ==, 5);
        }
        turn(tm, tcp_has_five, &t);
        g_assert_cmpmem(t.got->data, t.got->len, i ? "reply" : "hello", 5);
        if (i) {
            Flood flood = { .t = &t, .fd = f.writer };
            g_byte_array_set_size(t.got, 0);
            turn(tm, flood_over, &flood);
            for (unsigned k = 0; k < MUCH; k++) {
                g_assert_cmphex(t.got->data[k], ==, flood_byte(k));
            }
        }
        g_byte_array_unref(t.got);
    }
    forward_close(&f);
}

/* The guest is faster than who reads the device, which is nobody at first. */
enum { UPLOAD = 2 << 20, PIECE = 1024, PATIENCE = 200 };
typedef struct Upload {
    Tcp *t;
    int fd;
    uint32_t first;
    unsigned read, turns; /* bytes; since something was acknowledged */
    unsigned most;        /* acknowledged before any was read */
} Upload;

static bool upload_over(void *opaque)
{
    Upload *u = opaque;
    Tcp *t = u->t;
    uint8_t piece[PIECE];
    tcp_take(t);
    unsigned done = t->acked - u->first;
    bool fresh = t->acked == t->seq;
    u->turns = fresh ? 0 : u->turns + 1;
    if (!u->most && u->turns == PATIENCE) {
        u->most = done;
    }
    if (done < UPLOAD && (fresh || u->turns % 50 == 0)) { /* the next one, or the same again */
        for (unsigned i = 0; i < PIECE; i++) {
            piece[i] = flood_byte(done + i);
        }
        t->seq = t->acked;
        tcp_send(t, 0x18, (char *)piece, PIECE);
    }
    ssize_t n = u->most ? read(u->fd, piece, PIECE) : 0;
    for (ssize_t i = 0; i < n; i++) {
        g_assert_cmphex(piece[i], ==, flood_byte(u->read++));
    }
    return u->read == UPLOAD;
}

static void test_guestfwd_slow(void)
{
    Forward f;
    forward_open(&f);
    g_autoptr(GByteArray) got = g_byte_array_new();
    Tcp t = { .tm = f.tm, .n = f.n, .peer = 0x0a000264, .seq = 1000, .port = 8, .got = got };
    Upload u = { .t = &t, .fd = f.reader, .first = 1001 };
    tcp_send(&t, 2, "", 0);
    turn(f.tm, tcp_open, &t);
    turn(f.tm, upload_over, &u);
    g_assert_cmpuint(u.most, >, 256 << 10);
    g_assert_cmpuint(u.most, <, 600 << 10); /* the pipe's and the device's 64 KiB each, and what is kept */
    forward_close(&f);
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
    learn_guest(tm, n);
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

/* ---- fragments (net/user-guard.c) ---- */

enum { ECHO = 3000 };

/* An echo request of ECHO bytes, of which these are sent. */
static void send_piece(TestNic *n, const uint8_t *echo, unsigned id, unsigned from, unsigned to)
{
    uint8_t f[34 + ECHO];
    memcpy(f + 34, echo + from, to - from);
    size_t len = wrap(f, n, 1, 0x0a00020f, 0x0a000202, to - from);
    f[18] = (uint8_t)(id >> 8);
    f[19] = (uint8_t)id;
    f[20] = (uint8_t)((to < ECHO ? 0x20 : 0) | from / 8 >> 8);
    f[21] = (uint8_t)(from / 8);
    f[24] = f[25] = 0;
    unsigned sum = csum(f + 14, 20, 0);
    f[24] = (uint8_t)(sum >> 8);
    f[25] = (uint8_t)sum;
    test_nic_send(n, NULL, f, len);
}

/* Bytes of the echo replies that came. */
static size_t replied(TestMachine *tm, TestNic *n)
{
    size_t got = 0;
    tm_turns(tm);
    for (GByteArray *f; (f = test_nic_take(n)) != NULL; g_byte_array_unref(f)) {
        got += f->data[12] == 8 && f->data[13] == 0 && f->data[23] == 1 ? f->len - 34 : 0;
    }
    return got;
}

static void test_fragments(void)
{
    TestNic *n;
    TestMachine *tm = user_new("", &n);
    uint8_t echo[ECHO];
    frame_fill(echo, sizeof(echo), 1);
    memset(echo, 0, 8);
    echo[0] = 8;
    unsigned sum = csum(echo, sizeof(echo), 0);
    echo[2] = (uint8_t)(sum >> 8);
    echo[3] = (uint8_t)sum;
    learn_guest(tm, n);
    test_nic_drop(n);
    static const unsigned orders[][3] = { { 0, 1, 2 }, { 2, 1, 0 }, { 1, 2, 0 } };
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 3; k++) {
            g_assert_cmpuint(replied(tm, n), ==, 0);
            send_piece(n, echo, i, orders[i][k] * 1000, orders[i][k] * 1000 + 1000);
        }
        g_assert_cmpuint(replied(tm, n), ==, ECHO);
    }
    for (unsigned i = 0; i < 4; i++) { /* overlapping, twice, behind the end: the datagram is lost */
        send_piece(n, echo, 10 + i, 0, 1000);
        static const unsigned second[][2] = { { 800, 1800 }, { 0, 1000 }, { 1000, 2992 }, { 1000, 2992 } };
        send_piece(n, echo, 10 + i, second[i][0], second[i][1]);
        send_piece(n, echo, 10 + i, i < 2 ? 1000 : ECHO - 16, ECHO);
        g_assert_cmpuint(replied(tm, n), ==, 0);
    }
    for (unsigned i = 0; i < 1000; i++) { /* many that never end do not keep the next one out */
        send_piece(n, echo, 100 + i, 1000, 2000);
    }
    tm_turns(tm);
    for (unsigned k = 0; k < 3; k++) {
        send_piece(n, echo, 5000, k * 1000, k * 1000 + 1000);
    }
    g_assert_cmpuint(replied(tm, n), ==, ECHO);
    net_test_free(tm);
}

/* Anything may come from a guest. */
/* ---- floods (net/user-limit.c) ---- */

static void send_udp(TestNic *n, unsigned from, unsigned to)
{
    uint8_t f[34 + 9] = { [34] = (uint8_t)(from >> 8), (uint8_t)from, (uint8_t)(to >> 8), (uint8_t)to, 0, 9,
                          [42] = 'x' };
    test_nic_send(n, NULL, f, wrap(f, n, 17, 0x0a00020f, 0x0a000202, 9));
}

/* How many datagrams a host's socket got. */
static unsigned arrived(TestMachine *tm, int fd)
{
    unsigned got = 0;
    char c;
    tm_turns(tm);
    while (recv(fd, &c, 1, MSG_DONTWAIT) == 1) {
        got++;
    }
    return got;
}

/* So many datagrams at a time, each from another port. */
static void flood(unsigned burst)
{
    struct rlimit old, low;
    getrlimit(RLIMIT_NOFILE, &old);
    low = (struct rlimit){ .rlim_cur = 128, .rlim_max = old.rlim_max };
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &low), ==, 0);
    TestNic *n;
    TestMachine *tm = user_new("", &n);
    unsigned port, got = 0, early_port, late_port;
    int fd = listener(&port, SOCK_DGRAM);
    int early = listener(&early_port, SOCK_STREAM), late = listener(&late_port, SOCK_STREAM);
    g_assert_cmpint(fcntl(late, F_SETFL, O_NONBLOCK), ==, 0);
    learn_guest(tm, n);
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    Tcp t = { .tm = tm, .n = n, .peer = 0x0a000202, .port = (uint16_t)early_port, .got = bytes }, later = t;
    tcp_send(&t, 2, "", 0);
    turn(tm, tcp_open, &t);
    for (unsigned i = 0; i < 1000; i++) {
        send_udp(n, 2000 + i, port);
        if ((i + 1) % burst == 0) {
            got += arrived(tm, fd);
            g_assert_cmpuint(got, ==, MIN(i + 1, 63)); /* and the connection: half of the descriptors */
        }
    }
    send_udp(n, 2062, port); /* has its socket */
    g_assert_cmpuint(arrived(tm, fd), ==, 1);
    later.port = (uint16_t)late_port;
    tcp_send(&later, 2, "", 0);
    tm_turns(tm);
    g_assert_cmpint(accept(late, NULL, NULL), ==, -1);
    close(fd);
    close(early);
    close(late);
    net_test_free(tm);
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &old), ==, 0);
}

static void test_flood(void)
{
    flood(1);
    flood(500);
}

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
    g_test_add_func("/user/networks", test_networks);
    g_test_add_func("/user/wrong-options", test_wrong_options);
    g_test_add_func("/user/smb", test_smb);
    g_test_add_func("/user/taken", test_taken);
    g_test_add_func("/user/rules", test_rules);
    g_test_add_func("/user/guestfwd", test_guestfwd);
    g_test_add_func("/user/guestfwd-slow", test_guestfwd_slow);
    g_test_add_func("/user/forward", test_forward);
    g_test_add_func("/user/fragments", test_fragments);
    g_test_add_func("/user/flood", test_flood);
    g_test_add_func("/user/hostile", test_hostile);
    return g_test_run();
}
