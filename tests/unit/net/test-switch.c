/* SPDX-License-Identifier: MIT
 * tests/unit/net/test-switch.c - switches that machines share by name (net/switch.c, net/frames.c): learning,
 * who serves next, slow and hostile machines, processes of other users. Threads: main.
 */
#include "tests/unit/net/nettest.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GUESTS = 4, OTHER_USER = 12345 };

typedef struct Net {
    char *options;
    TestMachine *tm[GUESTS];
    TestNic *nic[GUESTS];
    unsigned n;
} Net;

/* A name that no other test's process has. */
static char *name_of(const char *what)
{
    return g_strdup_printf("%s-%d", what, (int)getpid());
}

static void add_guest(Net *n)
{
    n->tm[n->n] = tm_new(0);
    netdev_new(n->tm[n->n], n->options);
    n->nic[n->n] = test_nic_new(n->tm[n->n], "n", "s");
    n->n++;
}

static void begin(Net *n, const char *what, unsigned guests)
{
    g_autofree char *name = name_of(what);
    *n = (Net){ .options = g_strdup_printf("x-rhea-switch,id=s,name=%s", name) };
    while (n->n < guests) {
        add_guest(n);
    }
}

static void end(Net *n)
{
    for (unsigned i = 0; i < n->n; i++) {
        net_test_free(n->tm[i]);
    }
    g_free(n->options);
}

static void turn(Net *n)
{
    for (unsigned i = 0; i < n->n; i++) {
        loop_turn(n->tm[i]->loop, false);
    }
}

/* From guest to guest; to >= GUESTS: to all. */
static void send_frame(Net *n, unsigned from, unsigned to, uint8_t mark)
{
    uint8_t f[64];
    frame_fill(f, sizeof(f), mark);
    f[0] = to < GUESTS ? 2 : 3;
    f[5] = (uint8_t)to;
    f[11] = (uint8_t)from;
    g_assert_true(test_nic_send(n->nic[from], NULL, f, sizeof(f)));
}

/* Until a guest has got the frame with this mark; what comes before it is dropped. */
static void expect(Net *n, unsigned who, uint8_t mark)
{
    uint8_t f[64];
    frame_fill(f, sizeof(f), mark);
    for (gint64 stop = g_get_monotonic_time() + 60 * G_USEC_PER_SEC; g_get_monotonic_time() < stop;) {
        g_autoptr(GByteArray) got = test_nic_take(n->nic[who]);
        if (got && got->len == sizeof(f) && !memcmp(got->data + 14, f + 14, sizeof(f) - 14)) {
            return;
        }
        turn(n);
    }
    g_assert_not_reached();
}

/* All of them are on one network: each is asked for by the first until it answers. */
static void meet(Net *n, unsigned first)
{
    for (unsigned i = first + 1; i < n->n; i++) {
        for (unsigned tries = 0; !n->nic[i]->got->len; tries++) {
            g_assert_cmpuint(tries, <, 100000);
            if (tries % 64 == 0) {
                send_frame(n, first, GUESTS, 200);
            }
            turn(n);
            g_usleep(100);
        }
    }
    for (unsigned i = first + 1; i < n->n; i++) { /* nothing is under way any more */
        send_frame(n, i, GUESTS, (uint8_t)(210 + i));
        expect(n, first, (uint8_t)(210 + i));
        send_frame(n, first, GUESTS, (uint8_t)(220 + i));
        for (unsigned k = first + 1; k < n->n; k++) {
            expect(n, k, (uint8_t)(220 + i));
        }
    }
}

static void test_exchange(void)
{
    NetPair p;
    g_autofree char *name = name_of("pair");
    g_autofree char *o = g_strdup_printf("x-rhea-switch,id=s,name=%s", name);
    net_pair_open(&p, o, o);
    net_pair_exchange(&p);
    net_pair_close(&p);
}

/* What is for one guest, who has spoken, goes to nobody else; a guest that nobody knows is asked for
 * everywhere. */
static void test_learning(void)
{
    Net n;
    begin(&n, "learn", 3);
    meet(&n, 0);
    for (unsigned from = 0; from < 3; from++) {
        for (unsigned to = 0; to < 3; to++) {
            unsigned other = 3 - from - to;
            if (to == from) {
                continue;
            }
            send_frame(&n, from, to, 1);
            expect(&n, to, 1);
            send_frame(&n, from, GUESTS, 2); /* behind it */
            expect(&n, to, 2);
            while (!n.nic[other]->got->len) {
                turn(&n);
            }
            g_autoptr(GByteArray) got = test_nic_take(n.nic[other]);
            g_assert_cmpuint(got->data[0], ==, 3);
        }
    }
    send_frame(&n, 1, 3, 3); /* has not spoken yet */
    expect(&n, 0, 3);
    expect(&n, 2, 3);
    end(&n);
}

/* Who serves goes, again and again; whoever is left meets again. */
static void test_takeover(void)
{
    Net n;
    begin(&n, "over", 4);
    meet(&n, 0);
    for (unsigned i = 0; i + 2 < 4; i++) {
        g_assert_true(netdev_del(n.tm[i]->m, "s", NULL));
        for (unsigned k = i + 1; k < n.n; k++) {
            test_nic_drop(n.nic[k]);
        }
        meet(&n, i + 1);
    }
    netdev_new(n.tm[0], n.options); /* and one that comes back */
    TestNic *back = test_nic_new(n.tm[0], "m", "s");
    uint8_t f[64];
    frame_fill(f, sizeof(f), 7);
    f[0] = 3;
    while (!back->got->len) {
        send_frame(&n, 3, GUESTS, 8);
        turn(&n);
    }
    g_assert_true(test_nic_send(back, NULL, f, sizeof(f)));
    expect(&n, 3, 7);
    end(&n);
}

/* A guest that takes nothing loses frames, and keeps nobody else from theirs. */
static void test_slow(void)
{
    Net n;
    uint8_t f[1400];
    unsigned last = 0, got = 0;
    begin(&n, "slow", 3);
    meet(&n, 0);
    n.nic[1]->closed = true;
    for (uint32_t i = 1; i <= 8000; i++) {
        frame_fill(f, sizeof(f), 1);
        f[0] = 3;
        memcpy(f + 20, &i, sizeof(i));
        while (!test_nic_send(n.nic[0], NULL, f, sizeof(f))) {
            turn(&n);
        }
        turn(&n);
        test_nic_drop(n.nic[2]);
    }
    test_nic_open(n.nic[1]);
    for (unsigned i = 0; i < 20000 || n.nic[1]->got->len; i++) {
        g_autoptr(GByteArray) one = test_nic_take(n.nic[1]);
        turn(&n);
        if (one && one->len == sizeof(f)) { /* in their order, whole */
            uint32_t number;
            memcpy(&number, one->data + 20, sizeof(number));
            g_assert_cmpuint(number, >, last);
            last = number;
            got++;
        }
    }
    g_assert_cmpuint(got, >, 500); /* what its queues hold */
    g_assert_cmpuint(got, <, 8000);
    meet(&n, 0);
    end(&n);
}

/* ---- processes ---- */

static struct sockaddr_un address(const char *what, unsigned uid, socklen_t *len)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_autofree char *name = name_of(what);
    int n = g_snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "rhea-switch/%u/%s", uid, name);
    *len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    return un;
}

static int connect_raw(const char *what)
{
    socklen_t len;
    struct sockaddr_un un = address(what, geteuid(), &len);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&un, len), ==, 0);
    return fd;
}

/* Has the other end closed it? */
static bool closed(int fd)
{
    char c;
    ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

/* A bounded number of ports; one that goes makes room. */
static void test_ports(void)
{
    Net n;
    int fd[70], turned_away = 0;
    begin(&n, "ports", 2);
    meet(&n, 0);
    for (unsigned i = 0; i < 70; i++) {
        fd[i] = connect_raw("ports");
        turn(&n);
        turn(&n);
        turned_away += closed(fd[i]);
    }
    g_assert_cmpint(turned_away, ==, 70 - 62); /* the guest has one of 63 */
    meet(&n, 0);
    for (unsigned i = 0; i < 70; i++) {
        close(fd[i]);
    }
    turn(&n);
    turn(&n);
    add_guest(&n);
    meet(&n, 0);
    end(&n);
}

/* Lengths and frames at random, addresses that fill the table, ends at any point: the others' frames still
 * get through, and to whom they are for only. */
static void test_storm(void)
{
    const char *storm = g_getenv("RHEA_STORM");
    unsigned rounds = storm ? (unsigned)atoi(storm) : 20000;
    GRand *rand = g_rand_new_with_seed(11);
    Net n;
    uint8_t junk[256];
    int fd[4] = { -1, -1, -1, -1 };
    begin(&n, "storm", 3);
    meet(&n, 0);
    for (unsigned i = 0; i < rounds; i++) {
        unsigned k = (unsigned)g_rand_int_range(rand, 0, 4);
        if (fd[k] < 0) {
            fd[k] = connect_raw("storm");
        }
        size_t len = (size_t)g_rand_int_range(rand, 18, sizeof(junk));
        for (size_t b = 0; b < len; b++) {
            junk[b] = (uint8_t)g_rand_int(rand);
        }
        bool whole = g_rand_int_range(rand, 0, 8) != 0; /* most are frames */
        junk[0] = junk[1] = 0;
        junk[2] = whole ? 0 : junk[2];
        junk[3] = whole ? (uint8_t)(len - 4) : junk[3];
        junk[10] = (junk[10] & 0xf0) | 6; /* nobody's address that the guests have */
        bool sent = send(fd[k], junk, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
        turn(&n);
        if (!sent || g_rand_int_range(rand, 0, 50) == 0) {
            close(fd[k]);
            fd[k] = -1;
        }
        test_nic_drop(n.nic[0]);
        test_nic_drop(n.nic[1]);
        test_nic_drop(n.nic[2]);
    }
    for (unsigned k = 0; k < 4; k++) {
        if (fd[k] >= 0) {
            close(fd[k]);
        }
    }
    meet(&n, 0);
    send_frame(&n, 1, 2, 1);
    send_frame(&n, 1, GUESTS, 2);
    expect(&n, 2, 1);
    while (!n.nic[0]->got->len) {
        turn(&n);
    }
    g_assert_cmpuint(((GByteArray *)n.nic[0]->got->pdata[0])->data[0], ==, 3);
    g_rand_free(rand);
    end(&n);
}

/* In a process of another user: 0 when it is as it should be. */
static int as_other_user(int (*fn)(const Net *n, int told, int go), const Net *n, int *told, int *go)
{
    int a[2], b[2];
    g_assert_cmpint(pipe(a) | pipe(b), ==, 0);
    pid_t pid = fork();
    if (!pid) {
        if (setresgid(OTHER_USER, OTHER_USER, OTHER_USER) || setresuid(OTHER_USER, OTHER_USER, OTHER_USER)) {
            _exit(9);
        }
        close(b[1]);
        _exit(fn(n, a[1], b[0]));
    }
    close(a[1]);
    close(b[0]);
    *told = a[0];
    *go = b[1];
    return pid;
}

/* It is accepted by the kernel, and hears nothing but the end. */
static int intrude(const Net *n, int told, int go)
{
    socklen_t len;
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_autofree char *name = g_strdup_printf("foreign-%d", (int)getppid());
    int k = g_snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "rhea-switch/0/%s", name);
    len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)k);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char byte;
    if (connect(fd, (struct sockaddr *)&un, len)) {
        return 1;
    }
    if (write(told, "c", 1) != 1) {
        return 2;
    }
    return recv(fd, &byte, 1, 0) == 0 ? 0 : 3;
}

static int squat(const Net *n, int told, int go)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_autofree char *name = g_strdup_printf("squat-%d", (int)getppid());
    int k = g_snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "rhea-switch/0/%s", name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char byte;
    if (bind(fd, (struct sockaddr *)&un,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)k)) ||
        listen(fd, 5) || write(told, "b", 1) != 1) {
        return 1;
    }
    return read(go, &byte, 1) == 0 ? 0 : 2; /* until the test closes it */
}

static void test_users(void)
{
    Net n;
    int told, go, status;
    char byte;
    if (geteuid()) {
        g_test_skip("only root can be two users");
        return;
    }
    begin(&n, "foreign", 2);
    meet(&n, 0);
    pid_t pid = as_other_user(intrude, &n, &told, &go);
    g_assert_cmpint(read(told, &byte, 1), ==, 1);
    send_frame(&n, 1, GUESTS, 1); /* nothing for it */
    while (waitpid(pid, &status, WNOHANG) == 0) {
        turn(&n);
        g_usleep(100);
    }
    g_assert_cmpint(status, ==, 0);
    close(told);
    close(go);
    end(&n);

    g_autofree char *name = name_of("squat");
    g_autofree char *o = g_strdup_printf("x-rhea-switch,id=x,name=%s", name);
    TestMachine *tm = tm_new(0);
    pid = as_other_user(squat, &n, &told, &go);
    g_assert_cmpint(read(told, &byte, 1), ==, 1);
    netdev_refused(tm, o, "of another user");
    close(go);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
    close(told);
    netdev_new(tm, o);
    net_test_free(tm);
}

static void test_refused(void)
{
    static const char *const wrong[][2] = {
        { "x-rhea-switch,id=x", "'name' is missing" },
        { "x-rhea-switch,id=x,name=", "1 to 64 characters" },
        { "x-rhea-switch,id=x,name=a/b", "does not take 'a/b'" },
        { "x-rhea-switch,id=x,name=0123456789012345678901234567890123456789012345678901234567890123x",
          "1 to 64" },
    };
    TestMachine *tm = tm_new(0);
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        netdev_refused(tm, wrong[i][0], wrong[i][1]);
    }
    net_test_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    net_register();
    g_test_add_func("/switch/exchange", test_exchange);
    g_test_add_func("/switch/learning", test_learning);
    g_test_add_func("/switch/takeover", test_takeover);
    g_test_add_func("/switch/slow", test_slow);
    g_test_add_func("/switch/ports", test_ports);
    g_test_add_func("/switch/storm", test_storm);
    g_test_add_func("/switch/users", test_users);
    g_test_add_func("/switch/refused", test_refused);
    return g_test_run();
}
