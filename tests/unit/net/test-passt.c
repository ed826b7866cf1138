/* SPDX-License-Identifier: MIT
 * tests/unit/net/test-passt.c - a program as a back end's peer (net/passt.c, net/daemon.c, net/child.c): this
 * program itself plays passt, sends back what comes, and is killed. Threads: main.
 */
#include "tests/unit/net/nettest.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- as passt: --fd N --pid FILE ... FOLDER; it does not end with its socket ---- */

static int play(int argc, char **argv)
{
    int fd = atoi(argv[2]);
    char buf[65536], *folder = argv[argc - 1];
    g_autofree char *fail = g_build_filename(folder, "fail", NULL);
    g_autofree char *args = g_build_filename(folder, "args", NULL);
    g_autofree char *pid = g_build_filename(folder, "pid", NULL);
    g_autofree char *lock = g_build_filename(folder, "lock", NULL);
    if (!access(fail, F_OK)) {
        fprintf(stderr, "Failed to send 4 bytes to syslog\nit is not to be\nUsage: passt [OPTION]...\n");
        return 3;
    }
    g_autofree char *line = g_strjoinv(" ", argv + 5);
    g_file_set_contents(args, line, -1, NULL);
    int held = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (held < 0 || flock(held, LOCK_EX)) { /* the one before has ended */
        return 4;
    }
    pid_t child = fork();
    if (child) {
        g_autofree char *number = g_strdup_printf("%d", (int)child);
        FILE *told = fopen(argv[4], "w"); /* which is there */
        g_file_set_contents(pid, number, -1, NULL);
        return told && fputs(number, told) >= 0 && fclose(told) == 0 ? 0 : 5;
    }
    for (ssize_t n; (n = read(fd, buf, sizeof(buf))) > 0;) {
        for (ssize_t at = 0, put = 1; at < n && put > 0; at += put) {
            put = write(fd, buf + at, (size_t)(n - at));
        }
    }
    while (true) {
        pause();
    }
}

/* ---- the test ---- */

typedef struct Peer {
    TestMachine *tm;
    TestNic *nic;
    char *dir, *path;
    MachineListener listener;
    unsigned connected, disconnected;
} Peer;

static void event(void *opaque, const char *name, const Json *data)
{
    Peer *p = opaque;
    p->connected += g_str_equal(name, "NETDEV_STREAM_CONNECTED");
    p->disconnected += g_str_equal(name, "NETDEV_STREAM_DISCONNECTED");
}

static void begin(Peer *p)
{
    *p = (Peer){ .tm = tm_new(0), .listener = { .event = event, .opaque = p } };
    p->dir = g_dir_make_tmp("rhea-passt-XXXXXX", NULL);
    p->path = g_file_read_link("/proc/self/exe", NULL);
    machine_add_listener(p->tm->m, &p->listener);
}

static char *file(const Peer *p, const char *name)
{
    return g_build_filename(p->dir, name, NULL);
}

static char *text(const Peer *p, const char *name)
{
    g_autofree char *path = file(p, name);
    char *all = NULL;
    g_assert_true(g_file_get_contents(path, &all, NULL, NULL));
    return all;
}

static char *options(const Peer *p, const char *more)
{
    return g_strdup_printf("passt,id=x,path=%s%s,param.0=%s", p->path, more, p->dir);
}

static void finish(Peer *p)
{
    static const char *const names[] = { "args", "pid", "lock", "fail" };
    net_test_free(p->tm);
    g_autofree char *lock = file(p, "lock");
    int held = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    g_assert_cmpint(flock(held, LOCK_EX), ==, 0); /* the program ends with its back end */
    close(held);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *name = file(p, names[i]);
        g_unlink(name);
    }
    g_assert_cmpint(g_rmdir(p->dir), ==, 0);
    g_free(p->dir);
    g_free(p->path);
}

static void echo(Peer *p)
{
    uint8_t f[1514];
    for (unsigned i = 0; i < 50; i++) {
        frame_fill(f, 60 + i * 29, i);
        g_assert_true(test_nic_send(p->nic, NULL, f, 60 + i * 29));
        GByteArray *got;
        while (!(got = test_nic_take(p->nic))) {
            loop_turn(p->tm->loop, true);
        }
        g_assert_cmpmem(got->data, got->len, f, 60 + i * 29);
        g_byte_array_unref(got);
    }
}

static void end_peer(const Peer *p)
{
    g_autofree char *pid = text(p, "pid");
    g_assert_cmpint(kill((pid_t)atoi(pid), SIGKILL), ==, 0);
}

/* It is killed, and started again each time; once that does not work at first. */
static void test_restart(void)
{
    Peer p;
    begin(&p);
    g_autofree char *o = options(&p, ""), *fail = file(&p, "fail");
    netdev_new(p.tm, o);
    p.nic = test_nic_new(p.tm, "n", "x");
    g_assert_cmpuint(p.connected, ==, 1);
    echo(&p);
    for (unsigned i = 1; i <= 2; i++) {
        g_assert_true(g_file_set_contents(fail, "", 0, NULL));
        end_peer(&p);
        while (p.disconnected < i) {
            loop_turn(p.tm->loop, true);
        }
        if (i == 2) { /* the first attempt fails */
            loop_turn(p.tm->loop, true);
            test_nic_send(p.nic, NULL, "a frame for nobody at all", 25);
        }
        g_assert_cmpint(g_unlink(fail), ==, 0);
        while (p.connected < i + 1) {
            loop_turn(p.tm->loop, true);
        }
        echo(&p);
    }
    finish(&p);
}

/* The machine's process is killed: its program is, too. */
static void test_killed(void)
{
    Peer p;
    begin(&p);
    pid_t pid = fork();
    if (!pid) {
        g_autofree char *o = options(&p, "");
        netdev_new(p.tm, o);
        raise(SIGKILL);
    }
    int status;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status));
    finish(&p); /* waits for the program's end */
}

static void test_arguments(void)
{
    static const struct {
        const char *given, *passed;
    } rows[] = {
        { "", "--quiet" },
        { ",quiet=off,mtu=1400", "--mtu 1400" },
        { ",address=10.1.2.3,netmask=24,gateway=10.1.2.1,mac=02:00:00:00:00:01,interface=e0",
          "--quiet --address 10.1.2.3 --netmask 24 --mac-addr 02:00:00:00:00:01 --gateway 10.1.2.1 "
          "--interface e0" },
        { ",outbound=10.0.0.1,outbound-if4=e1,outbound-if6=e2,dns=10.0.0.2,dns-forward=10.0.0.3",
          "--quiet --outbound 10.0.0.1 --outbound-if4 e1 --outbound-if6 e2 --dns 10.0.0.2 --dns-forward "
          "10.0.0.3" },
        { ",search.0=a.example,search.1=b.example,tcp-ports.0=80:8080,tcp-ports.1=22,udp-ports=none",
          "--quiet --search a.example b.example --tcp-ports 80:8080 --tcp-ports 22 --udp-ports none" },
        { ",tcp=off,udp=off,icmp=off,dhcp=off,ndp=off,dhcpv6=off,ra=off,dhcp-dns=off,dhcp-search=off",
          "--quiet --no-dhcp-dns --no-dhcp-search --no-tcp --no-udp --no-icmp --no-dhcp --no-ndp "
          "--no-dhcpv6 --no-ra" },
        { ",ipv4=off", "--quiet --ipv6-only" },
        { ",ipv6=off,tcp=on,dhcp=on", "--quiet --ipv4-only" },
    };
    Peer p;
    begin(&p);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *o = options(&p, rows[i].given);
        netdev_new(p.tm, o);
        g_autofree char *got = text(&p, "args");
        g_autofree char *wanted = g_strdup_printf("%s %s", rows[i].passed, p.dir);
        g_assert_cmpstr(got, ==, wanted);
        g_assert_true(netdev_del(p.tm->m, "x", NULL));
    }
    finish(&p);
}

static void test_refused(void)
{
    static const char *const wrong[][2] = {
        { "passt,id=x,path=/nonexistent/passt", "install the package passt" },
        { "passt,id=x,ipv4=off,ipv6=off", "nothing is left" },
        { "passt,id=x,vhost-user=on", "'vhost-user' is not supported" },
        { "passt,id=x,map-host-loopback=10.0.0.1", "'map-host-loopback' is not supported" },
        { "passt,id=x,map-guest-addr=10.0.0.1", "'map-guest-addr' is not supported" },
        { "passt,id=x,dns-host=10.0.0.1", "'dns-host' is not supported: the passt of 2023 has none" },
        { "passt,id=x,fqdn=a.example", "'fqdn' is not supported: the passt of 2023 has none" },
        { "passt,id=x,freebind=on", "'freebind' is not supported" },
        { "passt,id=x,mtu=65536", "'mtu' must be" },
    };
    Peer p;
    begin(&p);
    g_autofree char *fail = file(&p, "fail"), *o = options(&p, "");
    g_autofree char *said = g_strdup_printf("'%s' ended with status 3: it is not to be", p.path);
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        netdev_refused(p.tm, wrong[i][0], wrong[i][1]);
    }
    g_assert_true(g_file_set_contents(fail, "", 0, NULL));
    netdev_refused(p.tm, o, said);
    finish(&p);
}

int main(int argc, char **argv)
{
    if (argc > 3 && g_str_equal(argv[1], "--fd")) {
        return play(argc, argv);
    }
    g_test_init(&argc, &argv, NULL);
    net_register();
    g_test_add_func("/passt/restart", test_restart);
    g_test_add_func("/passt/killed", test_killed);
    g_test_add_func("/passt/arguments", test_arguments);
    g_test_add_func("/passt/refused", test_refused);
    return g_test_run();
}
