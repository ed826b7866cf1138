/* SPDX-License-Identifier: MIT
 * tests/unit/net/test-stream.c - frames over stream sockets (net/stream.c): two machines in one process, a
 * peer that goes and comes back, one that sends nonsense. Threads: main.
 */
#include "rhea/schema/type.h"
#include "tests/unit/net/nettest.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct Pair {
    char *dir, *path;
    TestMachine *a, *b;
    TestNic *na, *nb;
} Pair;

static void stream_new(TestMachine *tm, const char *path, bool server)
{
    g_autofree char *text =
        g_strdup_printf("stream,id=s,addr.type=unix,addr.path=%s%s", path, server ? ",server=on" : "");
    netdev_new(tm, text);
}

static void pair_open(Pair *p)
{
    p->dir = g_dir_make_tmp("rhea-stream-XXXXXX", NULL);
    p->path = g_build_filename(p->dir, "s", NULL);
    p->a = tm_new(0);
    p->b = tm_new(0);
    stream_new(p->a, p->path, true);
    stream_new(p->b, p->path, false);
    p->na = test_nic_new(p->a, "n", "s");
    p->nb = test_nic_new(p->b, "n", "s");
    tm_turns(p->a);
}

static void pair_close(Pair *p)
{
    net_test_free(p->b);
    net_test_free(p->a);
    g_assert_cmpint(g_rmdir(p->dir), ==, 0); /* the socket's name is gone */
    g_free(p->path);
    g_free(p->dir);
}

static void turn_both(Pair *p, TestNic *n, guint frames)
{
    gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    while (n->got->len < frames && g_get_monotonic_time() < end) {
        loop_turn(p->a->loop, false);
        loop_turn(p->b->loop, false);
    }
    g_assert_cmpuint(n->got->len, ==, frames);
}

static void test_frames(void)
{
    Pair p;
    uint8_t f[1514];
    pair_open(&p);
    for (unsigned way = 0; way < 2; way++) {
        TestNic *from = way ? p.nb : p.na, *to = way ? p.na : p.nb;
        for (unsigned i = 0; i < 300; i++) {
            frame_fill(f, 20 + i * 4, i);
            g_assert_true(test_nic_send(from, NULL, f, 20 + i * 4));
        }
        turn_both(&p, to, 300);
        for (unsigned i = 0; i < 300; i++) {
            g_autoptr(GByteArray) got = test_nic_take(to);
            frame_fill(f, 20 + i * 4, i);
            g_assert_cmpmem(got->data, got->len, f, 20 + i * 4);
        }
    }
    pair_close(&p);
}

/* A receiver that takes nothing stops the sender at the other end; nothing is
 * lost. */
static void test_pressure(void)
{
    Pair p;
    uint8_t f[1400];
    unsigned sent = 0, got = 0, idle = 0;
    pair_open(&p);
    p.nb->closed = true;
    while (idle < 50) {
        frame_fill(f, sizeof(f), sent);
        bool taken = test_nic_send(p.na, NULL, f, sizeof(f));
        sent += taken;
        idle = taken ? 0 : idle + 1;
        loop_turn(p.a->loop, false);
        loop_turn(p.b->loop, false);
    }
    g_assert_cmpuint(sent, >, 700);
    g_assert_cmpuint(sent, <, 5000);
    test_nic_open(p.nb);
    turn_both(&p, p.nb, sent);
    for (GByteArray *one; (one = test_nic_take(p.nb)) != NULL; got++) {
        frame_fill(f, sizeof(f), got);
        g_assert_cmpmem(one->data, one->len, f, sizeof(f));
        g_byte_array_unref(one);
    }
    g_assert_cmpuint(p.na->writable, >, 0);
    pair_close(&p);
}

static void test_come_and_go(void)
{
    Pair p;
    uint8_t f[100];
    pair_open(&p);
    frame_fill(f, sizeof(f), 1);
    for (unsigned round = 0; round < 20; round++) {
        netdev_del(p.b->m, "s", NULL);
        tm_turns(p.a);
        test_nic_send(p.na, NULL, f, sizeof(f)); /* to nobody */
        tm_turns(p.a);
        device_remove(&p.nb->dev);
        stream_new(p.b, p.path, false);
        p.nb = test_nic_new(p.b, "n", "s");
        tm_turns(p.a);
        test_nic_send(p.na, NULL, f, sizeof(f));
        turn_both(&p, p.nb, 1);
    }
    /* nonsense: the connection ends, the next one is served */
    netdev_del(p.b->m, "s", NULL);
    tm_turns(p.a);
    for (unsigned i = 0; i < 3; i++) {
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        g_strlcpy(un.sun_path, p.path, sizeof(un.sun_path));
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
    pair_close(&p);
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
    };
    Pair p;
    TestMachine *tm = tm_new(0);
    pair_open(&p);
    g_autofree char *taken = g_strdup_printf("stream,id=x,addr.type=unix,addr.path=%s,server=on", p.path);
    g_autofree char *file = g_strdup_printf("stream,id=x,addr.type=unix,addr.path=%s.file,server=on", p.path);
    g_autofree char *name = g_strdup_printf("%s.file", p.path);
    g_assert_true(g_file_set_contents(name, "mine", -1, NULL));
    for (unsigned i = 0; i < 2; i++) {
        bool from_text;
        g_autoptr(Error) err = NULL;
        g_autoptr(Json) o = keyval_parse(i ? file : taken, "type", &from_text, &error_abort_slot);
        g_assert_false(netdev_add_json(tm->m, o, from_text, &err));
        g_assert_nonnull(strstr(error_text(err), i ? "is no socket" : "is in use by process"));
    }
    g_assert_cmpint(g_unlink(name), ==, 0); /* it was not touched */
    pair_close(&p);
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
    close(fds[0]);
    close(fds[1]);
    net_test_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    net_register();
    g_test_add_func("/stream/frames", test_frames);
    g_test_add_func("/stream/pressure", test_pressure);
    g_test_add_func("/stream/come-and-go", test_come_and_go);
    g_test_add_func("/stream/options", test_options);
    return g_test_run();
}
