/* SPDX-License-Identifier: MIT
 * tests/unit/net/test-stream.c - frames over stream sockets (net/stream.c, net/sockets.c, net/socket.c): two
 * machines in one process, a peer that goes and comes back, one that sends nonsense. Threads: main.
 */
#include "rhea/schema/type.h"
#include "tests/unit/net/nettest.h"

#include <glib/gstdio.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void pair_open(NetPair *p)
{
    net_pair_open(p, "stream,id=s,addr.type=unix,addr.path=@/s,server=on",
                  "stream,id=s,addr.type=unix,addr.path=@/s");
}

static void test_frames(void)
{
    NetPair p;
    pair_open(&p);
    net_pair_exchange(&p);
    net_pair_close(&p);
}

/* A receiver that takes nothing stops the sender at the other end; nothing is
 * lost. */
static void test_pressure(void)
{
    NetPair p;
    pair_open(&p);
    g_assert_cmpuint(net_pair_pressure(&p), >, 700);
    g_assert_cmpuint(p.na->writable, >, 0);
    net_pair_close(&p);
}

static void test_come_and_go(void)
{
    NetPair p;
    uint8_t f[100];
    pair_open(&p);
    frame_fill(f, sizeof(f), 1);
    for (unsigned round = 0; round < 20; round++) {
        netdev_del(p.b->m, "s", NULL);
        tm_turns(p.a);
        test_nic_send(p.na, NULL, f, sizeof(f)); /* to nobody */
        tm_turns(p.a);
        device_remove(&p.nb->dev);
        net_pair_netdev(&p, p.b, "stream,id=s,addr.type=unix,addr.path=@/s");
        p.nb = test_nic_new(p.b, "n", "s");
        tm_turns(p.a);
        test_nic_send(p.na, NULL, f, sizeof(f));
        net_pair_turn_until(&p, p.nb, 1);
    }
    /* nonsense: the connection ends, the next one is served */
    netdev_del(p.b->m, "s", NULL);
    tm_turns(p.a);
    for (unsigned i = 0; i < 3; i++) {
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        g_snprintf(un.sun_path, sizeof(un.sun_path), "%s/s", p.dir);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        g_assert_cmpint(connect(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
        tm_turns(p.a);
        g_assert_cmpint(write(fd,
                              i == 0   ? "\0\0\0\5hello"
                              : i == 1 ? "\1\0\0\0hello"
                                       : "\0\0\0\x64half",
                              8),
                        ==, 8);
        tm_turns(p.a);
        char c;
        g_assert_cmpint(recv(fd, &c, 1, MSG_DONTWAIT), ==, i < 2 ? 0 : -1);
        close(fd);
        tm_turns(p.a);
    }
    net_pair_close(&p);
}

/* A client that looks for its peer: before it is there, and each time it comes back. */
static void test_reconnect(void)
{
    NetPair p;
    uint8_t f[100];
    net_pair_open(&p, "hubport,id=s,hubid=0", "stream,id=s,addr.type=unix,addr.path=@/s,reconnect=1");
    g_assert_cmpuint(net_pair_events(&p, "NETDEV_STREAM_CONNECTED"), ==, 0);
    frame_fill(f, sizeof(f), 1);
    test_nic_send(p.nb, NULL, f, sizeof(f)); /* to nobody */
    for (unsigned round = 1; round <= 2; round++) {
        net_pair_netdev(&p, p.a, "stream,id=t,addr.type=unix,addr.path=@/s,server=on");
        while (net_pair_events(&p, "NETDEV_STREAM_CONNECTED") < 2 * round) { /* both sides tell */
            net_pair_turn(&p);
        }
        const Json *addr = json_member(p.event, "addr", NULL);
        g_assert_cmpstr(json_get_string(json_member(p.event, "netdev-id", NULL)), ==, "t");
        g_assert_cmpstr(json_get_string(json_member(addr, "type", NULL)), ==, "unix");
        TestNic *n = test_nic_new(p.a, "m", "t");
        test_nic_send(n, NULL, f, sizeof(f));
        net_pair_turn_until(&p, p.nb, round);
        device_remove(&n->dev);
        g_assert_true(netdev_del(p.a->m, "t", NULL));
        while (net_pair_events(&p, "NETDEV_STREAM_DISCONNECTED") < round) {
            net_pair_turn(&p);
        }
    }
    net_pair_close(&p);
}

/* TCP: addresses in the events; a port that is taken is told with who has it. */
static void test_inet(void)
{
    NetPair p;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(in);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&in, len) | listen(fd, 1), ==, 0);
    getsockname(fd, (struct sockaddr *)&in, &len);
    g_autofree char *port = g_strdup_printf("%u", ntohs(in.sin_port));
    g_autofree char *holder = g_strdup_printf("process %d (", (int)getpid());
    g_autofree char *server =
        g_strdup_printf("stream,id=s,addr.type=inet,addr.host=127.0.0.1,addr.port=%s,server=on", port);
    g_autofree char *client = g_strdup_printf("socket,id=s,connect=127.0.0.1:%s", port);
    g_autofree char *listens = g_strdup_printf("socket,id=s,listen=:%s", port);
    TestMachine *tm = tm_new(0);
    netdev_refused(tm, server, holder);
    netdev_refused(tm, listens, holder);
    net_test_free(tm);
    close(fd);
    for (unsigned i = 0; i < 2; i++) {
        net_pair_open(&p, i ? listens : server, client);
        const Json *addr = json_member(p.event, "addr", NULL);
        g_assert_cmpstr(json_get_string(json_member(addr, "host", NULL)), ==, "127.0.0.1");
        g_assert_cmpuint(net_pair_events(&p, "NETDEV_STREAM_CONNECTED"), ==, 2);
        net_pair_exchange(&p);
        net_pair_close(&p);
    }
}

static unsigned open_fds(void)
{
    unsigned n = 0;
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    while (g_dir_read_name(dir)) {
        n++;
    }
    return n;
}

/* Ten thousand peers, one after the other, each with nonsense or the beginning of a frame, while
 * cables are pulled out and put back: nothing is left of them, and the next one is served. */
static void test_flaps(void)
{
    NetPair p;
    GRand *rand = g_rand_new_with_seed(3);
    uint8_t f[100], junk[64];
    pair_open(&p);
    g_assert_true(netdev_del(p.b->m, "s", NULL));
    tm_turns(p.a);
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_snprintf(un.sun_path, sizeof(un.sun_path), "%s/s", p.dir);
    unsigned before = open_fds();
    for (unsigned i = 0; i < 10000; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_cmpint(connect(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
        for (size_t k = 0; k < sizeof(junk); k++) {
            junk[k] = k < 3 ? 0 : (uint8_t)g_rand_int(rand); /* lengths below 256 */
        }
        size_t n = (size_t)g_rand_int_range(rand, 0, sizeof(junk));
        g_assert_cmpint(send(fd, junk, n, MSG_NOSIGNAL), ==, (ssize_t)n);
        g_assert_true(net_set_link(p.a->m, i & 1 ? "s" : "n", i & 2, NULL));
        loop_turn(p.a->loop, false);
        test_nic_send(p.na, NULL, f, sizeof(f));
        close(fd);
        loop_turn(p.a->loop, false);
        loop_turn(p.a->loop, false);
        test_nic_drop(p.na);
    }
    tm_turns(p.a);
    g_assert_cmpuint(open_fds(), ==, before);
    net_set_link(p.a->m, "s", true, NULL);
    net_set_link(p.a->m, "n", true, NULL);
    device_remove(&p.nb->dev);
    net_pair_netdev(&p, p.b, "stream,id=s,addr.type=unix,addr.path=@/s");
    p.nb = test_nic_new(p.b, "n", "s");
    tm_turns(p.a);
    test_nic_drop(p.na);
    net_pair_exchange(&p);
    g_rand_free(rand);
    net_pair_close(&p);
}

static void test_options(void)
{
    static const char *const wrong[] = {
        "stream,id=x",
        "stream,id=x,addr.type=unix",
        "stream,id=x,addr.type=unix,addr.path=/nonexistent/s",
        "stream,id=x,addr.type=unix,addr.path=/nonexistent/s,server=on",
        "stream,id=x,addr.type=fd,addr.str=9999",
        "stream,id=x,addr.type=fd,addr.str=0,server=on",
        "stream,id=x,addr.type=inet,addr.host=127.0.0.1",
        "stream,id=x,addr.type=inet,addr.host=127.0.0.1,addr.port=1",
        "stream,id=x,addr.type=vsock",
        "stream,id=x,addr.type=unix,addr.path=/x,server=on,reconnect=1",
        "stream,id=x,addr.type=fd,addr.str=0,reconnect=1",
        "socket,id=x",
        "socket,id=x,listen=:1,connect=127.0.0.1:1",
        "socket,id=x,listen=x",
        "socket,id=x,connect=:5",
        "socket,id=x,listen=:5,localaddr=127.0.0.1",
        "socket,id=x,udp=127.0.0.1:5",
    };
    NetPair p;
    TestMachine *tm = tm_new(0);
    pair_open(&p);
    g_autofree char *taken = g_strdup_printf("stream,id=x,addr.type=unix,addr.path=%s/s,server=on", p.dir);
    g_autofree char *file = g_strdup_printf("stream,id=x,addr.type=unix,addr.path=%s/file,server=on", p.dir);
    g_autofree char *name = g_strdup_printf("%s/file", p.dir);
    g_assert_true(g_file_set_contents(name, "mine", -1, NULL));
    netdev_refused(tm, taken, "is in use by process");
    netdev_refused(tm, file, "is no socket");
    g_assert_cmpint(g_unlink(name), ==, 0); /* it was not touched */
    net_pair_close(&p);
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        bool from_text;
        g_autoptr(Json) o = keyval_parse(wrong[i], "type", &from_text, &error_abort_slot);
        g_assert_false(netdev_add_json(tm->m, o, from_text, NULL));
    }
    int fds[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    g_autofree char *text = g_strdup_printf("stream,id=s,addr.type=fd,addr.str=%d", fds[0]);
    netdev_new(tm, text);
    TestNic *n = test_nic_new(tm, "n", "s");
    uint8_t f[60], got[64];
    frame_fill(f, sizeof(f), 1);
    test_nic_send(n, NULL, f, sizeof(f));
    tm_turns(tm);
    g_assert_cmpint(read(fds[1], got, sizeof(got)), ==, 64);
    g_assert_cmpmem(got, 4, "\0\0\0\x3c", 4);
    g_assert_cmpmem(got + 4, 60, f, 60);
    net_test_free(tm);
    g_assert_cmpint(read(fds[1], got, sizeof(got)), ==, 0); /* the descriptor was the back end's */
    close(fds[1]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    net_register();
    g_test_add_func("/stream/frames", test_frames);
    g_test_add_func("/stream/pressure", test_pressure);
    g_test_add_func("/stream/come-and-go", test_come_and_go);
    g_test_add_func("/stream/reconnect", test_reconnect);
    g_test_add_func("/stream/inet", test_inet);
    g_test_add_func("/stream/flaps", test_flaps);
    g_test_add_func("/stream/options", test_options);
    return g_test_run();
}
