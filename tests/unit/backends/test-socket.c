/* SPDX-License-Identifier: MIT
 * tests/unit/backends/test-socket.c - socket chardevs: servers, clients, reconnecting, names of who is in the
 * way.
 */
#include "chartest.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int unix_connect(const char *path)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_strlcpy(un.sun_path, path, sizeof(un.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    return fd;
}

static int unix_listen(const char *path)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_strlcpy(un.sun_path, path, sizeof(un.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    return fd;
}

static int tcp_listen(int *port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&in, sizeof(in)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    getsockname(fd, (struct sockaddr *)&in, &len);
    *port = ntohs(in.sin_port);
    return fd;
}

/* Both directions over fd, then the peer's end. */
static void talk(Fixture *f, Front *front, int fd)
{
    char buf[16] = "";
    g_string_truncate(front->got, 0);
    g_assert_cmpint(send(fd, "ping", 4, 0), ==, 4);
    turn_until(f, front->got->len == 4);
    front_say(f, front, "pong");
    turn_until(f, recv(fd, buf, sizeof(buf), 0) == 4);
    g_assert_cmpstr(buf, ==, "pong");
}

static void test_server(Fixture *f, gconstpointer data)
{
    g_autofree char *path = fixture_path(f, "s");
    Chardev *c = fixture_option(f, "socket,id=s,path=%s,server=on,wait=off", path);
    Front *front = front_new(f, c);
    g_autofree char *idle = chardev_filename(c);
    g_assert_true(g_str_has_prefix(idle, "disconnected:unix:"));
    g_assert_true(g_str_has_suffix(idle, ",server=on"));
    front_say(f, front, "nobody hears this");
    for (int round = 0; round < 3; round++) {
        int fd = unix_connect(path);
        turn_until(f, char_is_open(&front->port));
        talk(f, front, fd);
        close(fd);
        turn_until(f, !char_is_open(&front->port));
    }
    tm_turns(f->tm);
    g_assert_cmpstr(front->events, ==, "OCOCOC");
    front_free(front);
    g_assert_true(chardev_remove(f->m, "s", NULL));
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

/* Bytes in front of the hang-up arrive before it. */
static void test_last_words(Fixture *f, gconstpointer data)
{
    g_autofree char *path = fixture_path(f, "s");
    Front *front = front_new(f, fixture_option(f, "socket,id=s,path=%s,server=on,wait=off", path));
    front->room = 2;
    int fd = unix_connect(path);
    g_assert_cmpint(send(fd, "last", 4, 0), ==, 4);
    close(fd);
    turn_until(f, front->got->len == 2);
    tm_turns(f->tm);
    g_assert_cmpstr(front->events, ==, "O");
    front->room = 8;
    domain_lock(f->m->platform);
    char_accept_input(&front->port);
    domain_unlock(f->m->platform);
    turn_until(f, strlen(front->events) == 2);
    g_assert_cmpstr(front->got->str, ==, "last");
    g_assert_cmpstr(front->events, ==, "OC");
    front_free(front);
}

static void test_path_in_use(Fixture *f, gconstpointer data)
{
    g_autofree char *path = fixture_path(f, "s");
    int fd = unix_listen(path);
    g_autofree char *option = g_strdup_printf("socket,id=s,path=%s,server=on,wait=off", path);
    g_autofree char *pattern =
        g_strdup_printf("unix socket '%s' is in use by process %d (*", path, (int)getpid());
    expect_error(f, option, pattern);
    close(fd); /* the file stays, but nobody answers: it is replaced */
    fixture_option(f, "%s", option);
    g_assert_true(chardev_remove(f->m, "s", NULL));
    g_file_set_contents(path, "precious", -1, NULL);
    expect_error(f, option, "*exists and is not a socket*");
    g_assert_true(g_file_test(path, G_FILE_TEST_IS_REGULAR));
}

static void test_port_in_use(Fixture *f, gconstpointer data)
{
    int port;
    int fd = tcp_listen(&port);
    g_autofree char *option = g_strdup_printf("socket,id=s,host=127.0.0.1,port=%d,server=on,wait=off", port);
    g_autofree char *pattern =
        g_strdup_printf("TCP port %d is in use by process %d (*to=PORT*", port, (int)getpid());
    expect_error(f, option, pattern);
    Chardev *c = fixture_option(f, "%s,to=%d", option, port + 100 > 65535 ? 65535 : port + 100);
    g_autofree char *name = chardev_filename(c);
    g_assert_true(g_str_has_prefix(name, "disconnected:tcp:127.0.0.1:"));
    close(fd);
}

static void test_client(Fixture *f, gconstpointer data)
{
    int port;
    int fd = tcp_listen(&port);
    Front *front = front_new(f, fixture_option(f, "socket,id=s,host=127.0.0.1,port=%d,nodelay=on", port));
    int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
    g_assert_cmpint(peer, >=, 0);
    talk(f, front, peer);
    close(peer);
    turn_until(f, !char_is_open(&front->port));
    front_free(front);
    close(fd);
    g_assert_true(chardev_remove(f->m, "s", NULL));
    g_autofree char *option = g_strdup_printf("socket,id=s,host=127.0.0.1,port=%d", port);
    expect_error(f, option, "could not connect to tcp:127.0.0.1:*refused*reconnect*");
    expect_error(f, "socket,id=s,host=host.invalid,port=1", "address 'host.invalid:1' cannot be resolved*");
    expect_error(f, "socket,id=s,port=1,ipv4=off,ipv6=off", "*no address*");
}

static void test_reconnect(Fixture *f, gconstpointer data)
{
    g_autofree char *path = fixture_path(f, "s");
    int fd = unix_listen(path);
    Front *front = front_new(f, fixture_option(f, "socket,id=s,path=%s,reconnect-ms=20", path));
    for (int round = 0; round < 2; round++) {
        int peer = -1;
        turn_until(f, (peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK)) >= 0);
        turn_until(f, char_is_open(&front->port));
        talk(f, front, peer);
        close(peer);
        turn_until(f, !char_is_open(&front->port));
    }
    close(fd);
    front_free(front);
}

static void test_inherited(Fixture *f, gconstpointer data)
{
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), ==, 0);
    Front *front = front_new(f, fixture_option(f, "socket,id=s,fd=%d", pair[0]));
    talk(f, front, pair[1]);
    close(pair[1]);
    turn_until(f, !char_is_open(&front->port));
    front_free(front);
    expect_error(f, "socket,id=t,fd=987", "descriptor 987 is not an open stream socket*");
    expect_error(f, "socket,id=t,fd=abc", "there is no descriptor with the name 'abc'*");
    g_autofree char *path = fixture_path(f, "l");
    int fd = unix_listen(path);
    g_autofree char *option = g_strdup_printf("socket,id=t,fd=%d", fd);
    expect_error(f, option, "*is a listening socket, but server=off*");
    front = front_new(f, fixture_option(f, "socket,id=t,fd=%d,server=on,wait=off", fd));
    int peer = unix_connect(path);
    turn_until(f, char_is_open(&front->port));
    talk(f, front, peer);
    close(peer);
    front_free(front);
}

/* A peer that does not read fills the ring; what it takes later is complete and in order. */
static void test_slow_reader(Fixture *f, gconstpointer data)
{
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), ==, 0);
    Front *front = front_new(f, fixture_option(f, "socket,id=s,fd=%d", pair[0]));
    uint32_t sent = 0, received = 0;
    for (int idle = 0; idle < 3; tm_turns(f->tm)) {
        size_t n = char_write(&front->port, (const uint8_t *)&sent, sizeof(sent));
        g_assert_true(n == 0 || n == sizeof(sent)); /* the ring's size is a multiple of four */
        sent += n ? 1 : 0;
        idle = n ? 0 : idle + 1;
    }
    g_assert_cmpuint(sent, >, 16384);
    uint32_t buf[256];
    turn_until(f, ({
        ssize_t n = recv(pair[1], buf, sizeof(buf), 0);
        for (ssize_t i = 0; i < n / 4; i++) {
            g_assert_cmpuint(buf[i], ==, received++);
        }
        received == sent;
    }));
    close(pair[1]);
    front_free(front);
}

static void test_legacy(Fixture *f, gconstpointer data)
{
    Error *err = NULL;
    g_autofree char *path = fixture_path(f, "s"), *out = fixture_path(f, "a,b");
    g_autofree char *unix_text = g_strdup_printf("unix:%s,server,nowait", path);
    g_autofree char *file_text = g_strdup_printf("file:%s", out);
    Chardev *c = chardev_new_legacy(f->m, "serial0", unix_text, &error_abort_slot);
    g_autofree char *name = chardev_filename(c);
    g_assert_true(g_str_has_suffix(name, ",server=on"));
    g_assert_nonnull(chardev_new_legacy(f->m, "serial1", file_text, &error_abort_slot));
    g_assert_true(g_file_test(out, G_FILE_TEST_EXISTS));
    g_assert_nonnull(chardev_new_legacy(f->m, "serial2", "tcp::0,server=on,wait=off", &error_abort_slot));
    g_assert_true(chardev_is_mux(chardev_new_legacy(f->m, "serial3", "mon:null", &error_abort_slot)));
    g_assert_true(chardev_new_legacy(f->m, "x", "chardev:serial0", &error_abort_slot) == c);
    g_assert_null(chardev_new_legacy(f->m, "x", "none", &err));
    g_assert_null(err);
    static const char *const wrong[][2] = {
        { "chardev:serial9", "*no chardev with id 'serial9'*" },
        { "vc", "*vc*is not here*" },
        { "telnet:localhost:1", "*telnet*" },
        { "/dev/ttyS0", "*host serial*" },
        { "file:", "*needs a path*" },
        { "tcp:nowhere", "*not HOST:PORT*" },
        { "tcp:::1:5", "*several colons*" },
        { "bogus", "*bogus*" },
        { "unix:/x,bogus=1", "*bogus*" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_assert_null(chardev_new_legacy(f->m, "x", wrong[i][0], &err));
        g_assert_true(g_pattern_match_simple(wrong[i][1], error_text(err)));
        error_free(err);
        err = NULL;
    }
}

#define ADD(name, fn) g_test_add("/backends/socket/" name, Fixture, NULL, fixture_up, fn, fixture_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    chardev_register();
    ADD("server", test_server);
    ADD("last-words", test_last_words);
    ADD("path-in-use", test_path_in_use);
    ADD("port-in-use", test_port_in_use);
    ADD("client", test_client);
    ADD("reconnect", test_reconnect);
    ADD("inherited", test_inherited);
    ADD("slow-reader", test_slow_reader);
    ADD("legacy", test_legacy);
    return g_test_run();
}
