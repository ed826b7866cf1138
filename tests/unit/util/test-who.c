/* SPDX-License-Identifier: MIT
 * tests/unit/util/test-who.c - who holds a port (util/who.c): TCP and UDP, IPv4 and IPv6, this process,
 * another one and another user's. Threads: main.
 */
#include "rhea/util/who.h"
#include <arpa/inet.h>
#include <glib.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

typedef union Address {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
} Address;

static Address address(const char *text, unsigned port)
{
    Address a;
    memset(&a, 0, sizeof(a));
    if (inet_pton(AF_INET, text, &a.in.sin_addr) == 1) {
        a.sa.sa_family = AF_INET;
        a.in.sin_port = htons((uint16_t)port);
    } else {
        g_assert_cmpint(inet_pton(AF_INET6, text, &a.in6.sin6_addr), ==, 1);
        a.sa.sa_family = AF_INET6;
        a.in6.sin6_port = htons((uint16_t)port);
    }
    return a;
}

/* A socket that holds the port (0: any), which is told; -1: the host has no such address. */
static int hold(bool udp, const char *text, unsigned *port)
{
    Address a = address(text, *port);
    socklen_t len = sizeof(a);
    int fd = socket(a.sa.sa_family, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (bind(fd, &a.sa, len) || (!udp && listen(fd, 1)) || getsockname(fd, &a.sa, &len))) {
        close(fd);
        return -1;
    }
    *port = ntohs(a.sa.sa_family == AF_INET ? a.in.sin_port : a.in6.sin6_port);
    return fd;
}

static char *holder(bool udp, const char *text, unsigned port)
{
    Address a = address(text, port);
    return udp ? who_has_udp(&a.sa) : who_listens_tcp(&a.sa);
}

static void test_own(void)
{
    static const struct {
        const char *held, *asked;
        bool collide;
    } rows[] = {
        { "127.0.0.1", "127.0.0.1", true },
        { "127.0.0.1", "0.0.0.0", true },
        { "0.0.0.0", "127.0.0.1", true },
        { "127.0.0.1", "127.0.0.2", false },
        { "127.0.0.1", "::", true },
        { "127.0.0.1", "::1", false },
        { "::1", "::1", true },
        { "::1", "::", true },
        { "::", "::1", true },
        { "::", "127.0.0.1", true },
        { "::1", "127.0.0.1", false },
        { "::1", "0.0.0.0", false },
    };
    g_autofree char *me = g_strdup_printf("process %d (unit-util-who)", (int)getpid());
    for (unsigned i = 0; i < 2 * G_N_ELEMENTS(rows); i++) {
        const char *held = rows[i / 2].held, *asked = rows[i / 2].asked;
        unsigned port = 0;
        int fd = hold(i & 1, held, &port);
        if (fd < 0) {
            g_test_message("no address %s here", held);
            continue;
        }
        g_autofree char *who = holder(i & 1, asked, port);
        g_autofree char *other = holder(!(i & 1), asked, port);
        if (g_strcmp0(who, rows[i / 2].collide ? me : NULL) || g_strcmp0(other, me) == 0) {
            g_test_message("%s %s, asked for %s: %s, %s", i & 1 ? "udp" : "tcp", held, asked, who, other);
            g_test_fail();
        }
        close(fd);
    }
}

/* Two processes have the same port of two addresses, and a connected UDP socket is one, too. */
static void test_two(void)
{
    int ready[2], go[2];
    unsigned port = 0;
    char byte;
    int fd = hold(false, "127.0.0.1", &port);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pipe(ready) | pipe(go), ==, 0);
    pid_t pid = fork();
    if (!pid) {
        close(go[1]);
        close(fd);
        int own = hold(false, "127.0.0.2", &port);
        bool told = own >= 0 && write(ready[1], "r", 1) == 1;
        _exit(told && read(go[0], &byte, 1) == 0 ? 0 : 1);
    }
    g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
    g_autofree char *mine = holder(false, "127.0.0.1", port), *theirs = holder(false, "127.0.0.2", port);
    g_autofree char *me = g_strdup_printf("process %d (unit-util-who)", (int)getpid());
    g_autofree char *child = g_strdup_printf("process %d (unit-util-who)", (int)pid);
    g_assert_cmpstr(mine, ==, me);
    g_assert_cmpstr(theirs, ==, child);
    close(go[1]);
    int status;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
    close(fd);
    port = 0;
    fd = hold(true, "127.0.0.1", &port);
    Address a = address("127.0.0.1", 9);
    g_assert_cmpint(connect(fd, &a.sa, sizeof(a.in)), ==, 0);
    g_autofree char *connected = holder(true, "127.0.0.1", port);
    g_assert_cmpstr(connected, ==, me);
    close(fd);
}

/* Who asks may not look at the holder's descriptors. */
static void test_other_user(void)
{
    if (geteuid()) {
        g_test_skip("only root can be two users");
        return;
    }
    for (unsigned i = 0; i < 4; i++) {
        const char *text = i & 2 ? "::1" : "127.0.0.1";
        unsigned port = 0;
        int fd = hold(i & 1, text, &port), status;
        if (fd < 0) {
            continue;
        }
        g_assert_cmpint(fchown(fd, 12345, 12345), ==, 0); /* as if that user had made it */
        pid_t pid = fork();
        if (!pid) {
            if (setresgid(12346, 12346, 12346) || setresuid(12346, 12346, 12346)) {
                _exit(9);
            }
            close(fd);
            g_autofree char *who = holder(i & 1, text, port);
            _exit(g_strcmp0(who, "a process of user 12345") == 0 ? 0 : 1);
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);
        close(fd);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/who/own", test_own);
    g_test_add_func("/who/two", test_two);
    g_test_add_func("/who/other-user", test_other_user);
    return g_test_run();
}
