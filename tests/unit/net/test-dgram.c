/* SPDX-License-Identifier: MIT
 * tests/unit/net/test-dgram.c - frames over datagrams (net/dgram.c, net/socket.c, net/sockets.c): unix, UDP,
 * groups and open sockets between two machines in one process; peers that come late, go, and send nonsense.
 * Threads: main.
 */
#include "rhea/schema/type.h"
#include "rhea/system/host.h"
#include "tests/unit/net/nettest.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define UNIX_PAIR(from, to) \
    "dgram,id=s,local.type=unix,local.path=@/" from ",remote.type=unix,remote.path=@/" to

/* A UDP port of 127.0.0.1 that nobody has; the socket that has it as long as *fd is open. */
static unsigned udp_port(int *fd)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(in);
    *fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(*fd, (struct sockaddr *)&in, len), ==, 0);
    g_assert_cmpint(getsockname(*fd, (struct sockaddr *)&in, &len), ==, 0);
    return ntohs(in.sin_port);
}

static void exchange(const char *a, const char *b)
{
    NetPair p;
    net_pair_open(&p, a, b);
    net_pair_exchange(&p);
    net_pair_close(&p);
}

static void test_unix(void)
{
    exchange(UNIX_PAIR("1", "2"), UNIX_PAIR("2", "1"));
}

static char *udp_text(bool older, unsigned from, unsigned to)
{
    if (older) {
        return g_strdup_printf("socket,id=s,udp=127.0.0.1:%u,localaddr=127.0.0.1:%u", to, from);
    }
    return g_strdup_printf("dgram,id=s,local.type=inet,local.host=127.0.0.1,local.port=%u,"
                           "remote.type=inet,remote.host=127.0.0.1,remote.port=%u",
                           from, to);
}

/* By both names; a port that is taken is told with who has it. */
static void test_udp(void)
{
    int one, two;
    unsigned a = udp_port(&one), b = udp_port(&two);
    g_autofree char *holder =
        g_strdup_printf("UDP port %u is in use by process %d (", a, (int)getpid());
    TestMachine *tm = tm_new(0);
    for (unsigned older = 0; older < 2; older++) {
        g_autofree char *text = udp_text(older, a, b);
        netdev_refused(tm, text, holder);
    }
    net_test_free(tm);
    close(one);
    close(two);
    g_autofree char *first = udp_text(false, a, b), *second = udp_text(true, b, a);
    exchange(first, second);
}

/* All members hear each frame but the one that sent it. */
static void test_group(void)
{
    int fd;
    NetPair p;
    unsigned port = udp_port(&fd);
    uint8_t f[100];
    close(fd);
    g_autofree char *a = g_strdup_printf("dgram,id=s,remote.type=inet,remote.host=230.7.7.7,remote.port=%u,"
                                         "local.type=inet,local.host=127.0.0.1,local.port=0",
                                         port);
    g_autofree char *b = g_strdup_printf("socket,id=s,mcast=230.7.7.7:%u,localaddr=127.0.0.1", port);
    net_pair_open(&p, a, b);
    g_autofree char *third = g_strdup_printf("socket,id=t,mcast=230.7.7.7:%u,localaddr=127.0.0.1", port);
    net_pair_netdev(&p, p.a, third);
    TestNic *nt = test_nic_new(p.a, "m", "t");
    for (unsigned i = 1; i <= 20; i++) {
        frame_fill(f, sizeof(f), i);
        g_assert_true(test_nic_send(p.na, NULL, f, sizeof(f)));
        net_pair_turn_until(&p, p.nb, i);
        net_pair_turn_until(&p, nt, i);
    }
    g_assert_true(test_nic_send(nt, NULL, f, sizeof(f)));
    net_pair_turn_until(&p, p.na, 1); /* its own ones would have come before this one */
    net_pair_turn_until(&p, p.nb, 21);
    g_assert_cmpuint(nt->got->len, ==, 20);
    net_pair_close(&p);
}

/* Connected descriptors, by number and by name, and by the older option. */
static void test_fd(void)
{
    int fds[2];
    uint8_t f[60], got[100];
    TestMachine *tm = tm_new(0);
    frame_fill(f, sizeof(f), 3);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), ==, 0);
        g_autofree char *text =
            g_strdup_printf(i ? "socket,id=s,fd=%d" : "dgram,id=s,local.type=fd,local.str=%d", fds[0]);
        if (i == 2) {
            g_assert_true(machine_fd_put(tm->m, "mine", fds[0], NULL));
        }
        netdev_new(tm, i == 2 ? "socket,id=s,fd=mine" : text);
        TestNic *n = test_nic_new(tm, "n", "s");
        test_nic_send(n, NULL, f, sizeof(f));
        tm_turns(tm);
        g_assert_cmpint(read(fds[1], got, sizeof(got)), ==, sizeof(f));
        g_assert_cmpmem(got, sizeof(f), f, sizeof(f));
        g_assert_cmpint(write(fds[1], f, sizeof(f)), ==, sizeof(f));
        tm_turns(tm);
        g_assert_cmpuint(n->got->len, ==, 1);
        close(fds[1]); /* the peer goes */
        test_nic_send(n, NULL, f, sizeof(f));
        tm_turns(tm);
        g_assert_true(netdev_del(tm->m, "s", NULL));
        device_remove(&n->dev);
    }
    net_test_free(tm);
}

/* A peer whose queue is full stops the sender, which goes on when there is room; nothing is lost. */
static void test_pressure(void)
{
    NetPair p;
    net_pair_open(&p, UNIX_PAIR("1", "2"), UNIX_PAIR("2", "1"));
    net_pair_pressure(&p);
    net_pair_close(&p);
}

/* A unix peer that is not there yet, goes and comes back; datagrams that are no frames. */
static void test_come_and_go(void)
{
    NetPair p;
    uint8_t f[100], big[NET_FRAME_MAX + 100];
    NetCounters before, after;
    frame_fill(f, sizeof(f), 1);
    memset(big, 2, sizeof(big));
    net_pair_open(&p, UNIX_PAIR("1", "2"), UNIX_PAIR("2", "1"));
    for (unsigned round = 0; round < 10; round++) {
        g_assert_true(netdev_del(p.b->m, "s", NULL));
        test_nic_send(p.na, NULL, f, sizeof(f)); /* to nobody */
        tm_turns(p.a);
        device_remove(&p.nb->dev);
        net_pair_netdev(&p, p.b, UNIX_PAIR("2", "1"));
        p.nb = test_nic_new(p.b, "n", "s");
        test_nic_send(p.na, NULL, f, sizeof(f));
        net_pair_turn_until(&p, p.nb, 1);
    }
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_snprintf(un.sun_path, sizeof(un.sun_path), "%s/1", p.dir);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), room = 1 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    net_counters(p.a->m, "n", &before);
    static const size_t lengths[] = { 0, 1, NET_ETH - 1, NET_FRAME_MAX + 1, NET_FRAME_MAX + 100 };
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_assert_cmpint(send(fd, big, lengths[i], 0), ==, (ssize_t)lengths[i]);
    }
    g_assert_cmpint(send(fd, f, sizeof(f), 0), ==, sizeof(f));
    net_pair_turn_until(&p, p.na, 1);
    net_counters(p.a->m, "n", &after);
    g_assert_cmpuint(after.dropped - before.dropped, ==, G_N_ELEMENTS(lengths));
    close(fd);
    net_pair_close(&p);
}

/* Datagrams of any length and content, whole frames between them: those arrive in order. */
static void test_nonsense(void)
{
    GRand *rand = g_rand_new_with_seed(5);
    NetPair p;
    uint8_t junk[3000], f[60];
    const char *storm = g_getenv("RHEA_STORM");
    unsigned rounds = storm ? (unsigned)atoi(storm) : 20000;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    net_pair_open(&p, UNIX_PAIR("1", "2"), UNIX_PAIR("2", "1"));
    g_snprintf(un.sun_path, sizeof(un.sun_path), "%s/1", p.dir);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    for (unsigned i = 0; i < rounds; i++) {
        size_t len = (size_t)g_rand_int_range(rand, 0, sizeof(junk));
        for (size_t k = 0; k < MIN(len, 64); k++) {
            junk[k] = (uint8_t)g_rand_int(rand);
        }
        g_assert_cmpint(send(fd, junk, len, 0), ==, (ssize_t)len);
        frame_fill(f, sizeof(f), i);
        g_assert_cmpint(send(fd, f, sizeof(f), 0), ==, sizeof(f));
        test_nic_drop(p.na);
        net_pair_turn_until(&p, p.na, len < NET_ETH ? 1 : 2);
        const GByteArray *last = p.na->got->pdata[p.na->got->len - 1];
        g_assert_cmpmem(last->data, last->len, f, sizeof(f));
    }
    close(fd);
    g_rand_free(rand);
    net_pair_close(&p);
}

static void test_options(void)
{
    static const struct {
        const char *text, *error;
    } wrong[] = {
        { "dgram,id=x", "'local' is missing" },
        { "dgram,id=x,local.type=unix,local.path=/x", "'remote' is missing" },
        { "dgram,id=x,remote.type=unix,remote.path=/x", "'local' is missing" },
        { "dgram,id=x,local.type=unix,local.path=/x,remote.type=inet,remote.host=h,remote.port=1",
          "of different types" },
        { "dgram,id=x,local.type=fd,local.str=0,remote.type=unix,remote.path=/x", "does not go with" },
        { "dgram,id=x,local.type=unix,local.path=/x,remote.type=fd,remote.str=0", "cannot be a descriptor" },
        { "dgram,id=x,local.type=fd,local.str=99999", "there is no such open descriptor" },
        { "dgram,id=x,local.type=fd,local.str=0", "it is no datagram socket" },
        { "dgram,id=x,local.type=fd,local.str=name", "there is no descriptor with the name 'name'" },
        { "dgram,id=x,local.type=inet,local.host=127.0.0.1,local.port=0,remote.type=inet,remote.host=::1,"
          "remote.port=1",
          "different families" },
        { "dgram,id=x,local.type=unix,local.path=/nonexistent/a,remote.type=unix,remote.path=/x",
          "cannot receive at unix:/nonexistent/a" },
        { "socket,id=x,udp=127.0.0.1:9", "'localaddr' does not take ''" },
        { "socket,id=x,mcast=230.0.0.1:9,localaddr=::1", "has to be an IPv4 address" },
    };
    TestMachine *tm = tm_new(0);
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        netdev_refused(tm, wrong[i].text, wrong[i].error);
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    g_assert_true(machine_fd_put(tm->m, "lonely", fd, NULL));
    netdev_refused(tm, "dgram,id=x,local.type=fd,local.str=lonely", "is connected to nobody");
    net_test_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    net_register();
    g_test_add_func("/dgram/unix", test_unix);
    g_test_add_func("/dgram/udp", test_udp);
    g_test_add_func("/dgram/group", test_group);
    g_test_add_func("/dgram/fd", test_fd);
    g_test_add_func("/dgram/pressure", test_pressure);
    g_test_add_func("/dgram/come-and-go", test_come_and_go);
    g_test_add_func("/dgram/nonsense", test_nonsense);
    g_test_add_func("/dgram/options", test_options);
    return g_test_run();
}
