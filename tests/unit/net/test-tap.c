/* SPDX-License-Identifier: MIT
 * tests/unit/net/test-tap.c - interfaces of the host's (net/tap.c, net/tap-open.c, net/child.c, and
 * who_has_tap() of util/who.c): frames both ways past a packet socket, unfinished ones, several queues,
 * scripts, and what cannot be. In a network of its own: skipped where that is not permitted. Threads: main.
 */
#include "rhea/schema/type.h"
#include "rhea/system/host.h"
#include "tests/unit/net/nettest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define PLAIN "tap,id=s,ifname=t0,script=no,downscript=no"

/* Sees all frames of the interface, with headers when `vnet`. */
static int packet_socket(const char *name, int vnet)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
    struct sockaddr_ll ll = { .sll_family = AF_PACKET,
                              .sll_protocol = htons(ETH_P_ALL),
                              .sll_ifindex = (int)if_nametoindex(name) };
    g_assert_cmpint(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &vnet, sizeof(vnet)), ==, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), ==, 0);
    return fd;
}

static bool is_ours(const uint8_t *f, size_t len) /* hosts talk by themselves */
{
    return len >= 14 && f[0] == 2 && f[6] == 2;
}

/* The next of our frames that the card got. */
static GByteArray *card_got(TestMachine *tm, TestNic *n)
{
    gint64 end = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
    while (g_get_monotonic_time() < end) {
        GByteArray *f = test_nic_take(n);
        if (f && is_ours(f->data, f->len)) {
            return f;
        }
        if (f) {
            g_byte_array_unref(f);
        } else {
            loop_turn(tm->loop, false);
        }
    }
    g_error("no frame came");
}

/* The next of our frames that came in at the interface; head: bytes of a header before it. */
static size_t host_got(TestMachine *tm, int fd, uint8_t *buf, size_t size, size_t head)
{
    gint64 end = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
    while (g_get_monotonic_time() < end) {
        struct sockaddr_ll from;
        socklen_t len = sizeof(from);
        ssize_t n = recvfrom(fd, buf, size, 0, (struct sockaddr *)&from, &len);
        bool came = n > (ssize_t)head && from.sll_pkttype != PACKET_OUTGOING;
        if (came && is_ours(buf + head, (size_t)n - head)) {
            return (size_t)n;
        }
        if (n < 0) {
            loop_turn(tm->loop, false);
        }
    }
    g_error("no frame came");
}

static void exchange(TestMachine *tm, TestNic *n, const char *name)
{
    uint8_t f[1514], got[2048];
    int fd = packet_socket(name, 0);
    for (unsigned i = 0; i < 100; i++) {
        size_t len = 60 + i * 14;
        frame_fill(f, len, i);
        g_assert_cmpint(send(fd, f, len, 0), ==, (ssize_t)len);
        g_autoptr(GByteArray) at_card = card_got(tm, n);
        g_assert_cmpmem(at_card->data, at_card->len, f, len);
        g_assert_true(test_nic_send(n, NULL, f, len));
        g_assert_cmpmem(got, host_got(tm, fd, got, sizeof(got), 0), f, len);
    }
    close(fd);
}

static void test_frames(void)
{
    static const char *const texts[] = { PLAIN, PLAIN ",vnet_hdr=off,sndbuf=100000", PLAIN ",queues=3" };
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        TestMachine *tm = tm_new(0);
        netdev_new(tm, texts[i]);
        TestNic *n = test_nic_new(tm, "n", "s");
        net_test_interface_up("t0");
        exchange(tm, n, "t0");
        net_test_free(tm);
        g_assert_cmpuint(if_nametoindex("t0"), ==, 0); /* it went with its back end */
    }
}

/* A TCP segment of `payload` bytes over IPv4 with the flow's number; its length. */
static size_t tcp_frame(uint8_t *f, size_t payload, unsigned flow)
{
    size_t len = 54 + payload;
    static const uint8_t ip[] = { 0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2 };
    frame_fill(f, len, flow);
    memcpy(f + 12, "\x08\x00", 2);
    memcpy(f + 14, ip, sizeof(ip));
    f[16] = (uint8_t)((len - 14) >> 8);
    f[17] = (uint8_t)(len - 14);
    uint16_t sum = (uint16_t)~net_checksum(f + 14, 20);
    f[24] = (uint8_t)(sum >> 8);
    f[25] = (uint8_t)sum;
    memset(f + 34, 0, 20);
    f[34] = (uint8_t)(flow >> 8);
    f[35] = (uint8_t)flow;
    f[46] = 0x50;
    f[47] = 0x10;
    /* where the checksum goes lies the pseudo header's sum, not inverted */
    uint8_t pseudo[12];
    memcpy(pseudo, f + 26, 8);
    pseudo[8] = 0;
    pseudo[9] = 6;
    pseudo[10] = (uint8_t)((20 + payload) >> 8);
    pseudo[11] = (uint8_t)(20 + payload);
    sum = net_checksum(pseudo, sizeof(pseudo));
    f[50] = (uint8_t)(sum >> 8);
    f[51] = (uint8_t)sum;
    return len;
}

/* A long segment without checksum: to a card that takes none of that in finished pieces, to one that does as
 * it is; and back. */
static void test_unfinished(void)
{
    enum { PAYLOAD = 10000, MSS = 1000 };
    struct virtio_net_hdr v = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                .hdr_len = 54,
                                .gso_size = MSS,
                                .csum_start = 34,
                                .csum_offset = 16 };
    NetHdr h = { .needs_csum = true,
                 .gso = NET_GSO_TCP4,
                 .gso_size = MSS,
                 .hdr_len = 54,
                 .csum_start = 34,
                 .csum_offset = 16 };
    uint8_t f[54 + PAYLOAD], got[65536];
    size_t len = tcp_frame(f, PAYLOAD, 5);
    struct iovec iov[2] = { { &v, sizeof(v) }, { f, len } };
    TestMachine *tm = tm_new(0);
    netdev_new(tm, PLAIN);
    TestNic *n = test_nic_new(tm, "n", "s");
    net_test_interface_up("t0");
    int fd = packet_socket("t0", 1);
    g_assert_cmpint(writev(fd, iov, 2), ==, (ssize_t)(sizeof(v) + len));
    for (unsigned i = 0; i < PAYLOAD / MSS; i++) {
        g_autoptr(GByteArray) one = card_got(tm, n);
        g_assert_cmpuint(one->len, ==, 54 + MSS);
        g_assert_cmpmem(one->data + 54, MSS, f + 54 + i * MSS, MSS);
    }
    domain_lock(n->dev.domain);
    net_port_set_offloads(&n->port, NET_CAN_CSUM | NET_CAN_TSO4);
    domain_unlock(n->dev.domain);
    g_assert_cmpint(writev(fd, iov, 2), ==, (ssize_t)(sizeof(v) + len));
    g_autoptr(GByteArray) whole = card_got(tm, n);
    g_assert_cmpmem(whole->data + 54, whole->len - 54, f + 54, PAYLOAD);
    g_assert_cmpuint(n->hdr.gso, ==, NET_GSO_TCP4);
    g_assert_cmpuint(n->hdr.gso_size, ==, MSS);
    g_assert_true(test_nic_send(n, &h, f, len));
    size_t back = host_got(tm, fd, got, sizeof(got), sizeof(v));
    memcpy(&v, got, sizeof(v));
    g_assert_cmpuint(back, ==, sizeof(v) + len);
    g_assert_cmpuint(v.gso_type, ==, VIRTIO_NET_HDR_GSO_TCPV4);
    g_assert_cmpuint(v.gso_size, ==, MSS);
    g_assert_cmpmem(got + sizeof(v) + 54, PAYLOAD, f + 54, PAYLOAD);
    close(fd);
    net_test_free(tm);
}

/* Many flows through several queues: all arrive. */
static void test_queues(void)
{
    TestMachine *tm = tm_new(0);
    uint8_t f[200], got[2048];
    netdev_new(tm, PLAIN ",queues=4");
    TestNic *n = test_nic_new(tm, "n", "s");
    net_test_interface_up("t0");
    int fd = packet_socket("t0", 0);
    for (unsigned i = 0; i < 200; i++) {
        size_t len = tcp_frame(f, 40, i);
        g_assert_true(test_nic_send(n, NULL, f, len));
        g_assert_cmpmem(got, host_got(tm, fd, got, sizeof(got), 0), f, len);
        g_assert_cmpint(send(fd, f, len, 0), ==, (ssize_t)len);
        g_autoptr(GByteArray) at_card = card_got(tm, n);
        g_assert_cmpmem(at_card->data, at_card->len, f, len);
    }
    g_autoptr(GArray) infos = g_array_new(FALSE, TRUE, sizeof(NetClientInfo));
    net_infos(tm->m, infos);
    g_assert_cmpuint(infos->len, ==, 2); /* the back end, then the card */
    unsigned used = 0;
    for (guint i = 0; i < infos->len; i++) {
        NetClientInfo *info = &g_array_index(infos, NetClientInfo, i);
        int64_t sent = 0, came = 0;
        for (size_t k = 0; k < info->queues.n; k++) {
            sent += info->queues.items[k].sent_frames;
            came += info->queues.items[k].got_frames;
            used += info->queues.items[k].sent_frames > 0;
        }
        g_assert_cmpint(sent, ==, i ? 0 : 200);
        g_assert_cmpint(came, >=, i ? 0 : 200);
        g_assert_cmpstr(info->peer, ==, i ? "s" : "n");
        type_clear(&net_client_info_type, info);
    }
    g_assert_cmpuint(used, ==, 4); /* so many flows use all queues */
    close(fd);
    net_test_free(tm);
}

static int open_tap(const char *name, int flags)
{
    struct ifreq r = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags) };
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    g_strlcpy(r.ifr_name, name, IFNAMSIZ);
    g_assert_cmpint(ioctl(fd, TUNSETIFF, &r), ==, 0);
    return fd;
}

static void test_fds(void)
{
    for (unsigned kind = 0; kind < 4; kind++) {
        TestMachine *tm = tm_new(0);
        int flags = (kind & 1 ? IFF_VNET_HDR : 0) | (kind == 3 ? IFF_MULTI_QUEUE : 0);
        int fd = open_tap("t1", flags), more = kind == 3 ? open_tap("t1", flags) : -1;
        int vhost = open("/dev/null", O_RDWR | O_CLOEXEC), vhost2 = dup(vhost); /* closed again */
        g_autofree char *text =
            kind == 3   ? g_strdup_printf("tap,id=s,fds=%d:%d,vhostfds=%d:%d", fd, more, vhost, vhost2)
            : kind == 1 ? g_strdup_printf("tap,id=s,fd=%d,vhost=on,vhostfd=%d", fd, vhost)
            : kind == 2 ? g_strdup("tap,id=s,fd=mine,vhost=off")
                        : g_strdup_printf("tap,id=s,fd=%d", fd);
        if (kind == 2) {
            g_assert_true(machine_fd_put(tm->m, "mine", fd, NULL));
        }
        netdev_new(tm, text);
        TestNic *n = test_nic_new(tm, "n", "s");
        g_autoptr(GString) s = g_string_new(NULL);
        net_print(tm->m, s);
        g_assert_cmpint(close(vhost), ==, kind & 1 ? -1 : 0);
        g_assert_cmpint(close(vhost2), ==, kind == 3 ? -1 : 0);
        g_assert_nonnull(strstr(s->str, kind & 1 ? "ifname=t1,vnet_hdr=on" : "ifname=t1,vnet_hdr=off"));
        net_test_interface_up("t1");
        exchange(tm, n, "t1");
        net_test_free(tm);
        g_assert_cmpuint(if_nametoindex("t1"), ==, 0);
    }
}

/* The interface goes while it is in use: a warning, and nothing more. */
static void test_gone(void)
{
    const char *argv[] = { "ip", "link", "del", "t0", NULL };
    int status;
    uint8_t f[100];
    TestMachine *tm = tm_new(0);
    frame_fill(f, sizeof(f), 1);
    netdev_new(tm, PLAIN);
    TestNic *n = test_nic_new(tm, "n", "s");
    net_test_interface_up("t0");
    tm_turns(tm);
    if (g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status, NULL) &&
        status == 0) {
        for (unsigned i = 0; i < 3; i++) {
            tm_turns(tm);
            g_assert_true(test_nic_send(n, NULL, f, sizeof(f)));
        }
        tm_turns(tm);
        g_assert_false(loop_turn(tm->loop, false)); /* it does not spin */
    } else {
        g_test_skip("there is no ip(8)");
    }
    net_test_free(tm);
}

static char *write_script(const char *dir, const char *name, const char *body)
{
    char *path = g_build_filename(dir, name, NULL);
    g_autofree char *text = g_strdup_printf("#!/bin/sh\n%s\n", body);
    g_assert_true(g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_NONE, 0755, NULL));
    return path;
}

static void assert_contents(const char *path, const char *want)
{
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, want);
}

static void test_scripts(void)
{
    g_autofree char *dir = g_dir_make_tmp("rhea-tap-XXXXXX", NULL);
    g_autofree char *log = g_build_filename(dir, "log", NULL);
    g_autofree char *up_body = g_strdup_printf("echo up $1 >> %s", log);
    g_autofree char *down_body = g_strdup_printf("echo down $1 >> %s", log);
    g_autofree char *up = write_script(dir, "up", up_body);
    g_autofree char *down = write_script(dir, "down", down_body);
    g_autofree char *bad = write_script(dir, "bad", "echo cannot do this >&2; exit 7");
    g_autofree char *both = g_strdup_printf("tap,id=s,ifname=t0,script=%s,downscript=%s", up, down);
    g_autofree char *fails = g_strdup_printf("tap,id=x,script=%s,downscript=%s", bad, down);
    g_autofree char *helper = g_strdup_printf("tap,id=x,helper=%s a,br=b0", bad);
    TestMachine *tm = tm_new(0);
    netdev_new(tm, both);
    assert_contents(log, "up t0\n");
    netdev_refused(tm, fails, "ended with status 7: cannot do this");
    netdev_refused(tm, helper, "ended with status 7: cannot do this");
    netdev_refused(tm, "tap,id=x,helper=/bin/true", "gave no interface");
    assert_contents(log, "up t0\n");
    g_assert_true(netdev_del(tm->m, "s", NULL));
    assert_contents(log, "up t0\ndown t0\n");
    g_unlink(log);
    g_unlink(up);
    g_unlink(down);
    g_unlink(bad);
    g_assert_cmpint(g_rmdir(dir), ==, 0);
    net_test_free(tm);
}

static void test_options(void)
{
    static const struct {
        const char *text, *error;
    } wrong[] = {
        { "tap,id=x,ifname=sixteencharacter,script=no", "a name has 15 characters at most" },
        { "tap,id=x,fd=0", "it is no tap interface" },
        { "tap,id=x,fds=", "'fds' is empty" },
        { "tap,id=x,fd=0,fds=0:1", "exclude each other" },
        { "tap,id=x,fd=0,queues=2", "do not go with 'fd'" },
        { "tap,id=x,br=b0", "'br' goes with 'helper' only" },
        { "tap,id=x,queues=65", "'queues' must be" },
        { "tap,id=x,vhostforce=on", "leave it out" },
        { "tap,id=x,script=no,vhost=on,poll-us=5", "'poll-us' is not supported" },
        { "tap,id=x,script=no,vhost=off,vhostfd=0", "do not go with vhost=off" },
        { "tap,id=x,script=no,vhostfds=0", "'vhostfds' needs 'fds'" },
        { "tap,id=x,fds=0:1,vhostfd=0", "'vhostfd' does not go with 'fds'" },
        { "tap,id=x,script=no,vhost=on,vhostfd=9999", "there is no such open descriptor" },
        { "tap,id=x,script=/nonexistent", "script=no" },
        { "tap,id=x,script=no,downscript=/nonexistent", "downscript '/nonexistent' cannot be started" },
        { "bridge,id=x,helper=/nonexistent", "cannot start '/nonexistent'" },
    };
    TestMachine *tm = tm_new(0);
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        netdev_refused(tm, wrong[i].text, wrong[i].error);
    }
    g_autofree char *holder = g_strdup_printf("tap interface 't0' is in use by process %d (", (int)getpid());
    netdev_new(tm, PLAIN);
    netdev_refused(tm, "tap,id=x,ifname=t0,script=no", holder);
    netdev_refused(tm, "tap,id=x,ifname=t0,script=no,queues=2", "made with multi_queue");
    net_test_free(tm);
}

/* NULL, or why not. */
static const char *enter_own_network(void)
{
    if (!net_test_own_network()) {
        return "a network namespace is not permitted here";
    }
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    bool ok = fd >= 0 && ioctl(fd, TUNSETIFF, &r) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return ok ? NULL : "tap interfaces are not permitted here";
}

static void skip_all(gconstpointer why)
{
    g_test_skip(why);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    net_register();
    const char *why = enter_own_network();
    if (why) {
        g_test_add_data_func("/tap/all", why, skip_all);
        return g_test_run();
    }
    g_test_add_func("/tap/frames", test_frames);
    g_test_add_func("/tap/unfinished", test_unfinished);
    g_test_add_func("/tap/queues", test_queues);
    g_test_add_func("/tap/fds", test_fds);
    g_test_add_func("/tap/gone", test_gone);
    g_test_add_func("/tap/scripts", test_scripts);
    g_test_add_func("/tap/options", test_options);
    return g_test_run();
}
