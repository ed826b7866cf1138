/* SPDX-License-Identifier: MIT
 * util/who.c - names the process that holds a socket address or a tap interface, as far as /proc tells.
 *
 * Models: proc(5): /proc/net/tcp, tcp6, udp and udp6 give the inode of a bound socket, /proc/PID/fd its
 * owner, /proc/PID/fdinfo a tap interface's; unix(7): SO_PEERCRED gives the listener's process. Threads: any.
 */
#include "rhea/util/who.h"
#include <ctype.h>
#include <stdbool.h>
#include <arpa/inet.h>
#include <glib.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char *describe_pid(long pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%ld/comm", pid);
    g_autofree char *comm = NULL;
    if (g_file_get_contents(path, &comm, NULL, NULL)) {
        return g_strdup_printf("process %ld (%s)", pid, g_strchomp(comm));
    }
    return g_strdup_printf("process %ld", pid);
}

/* ---- internet sockets ---- */

typedef struct Bound {
    struct in6_addr addr; /* an IPv4 one as ::ffff:A.B.C.D */
    bool four;            /* a socket of IPv4's */
    unsigned port;
} Bound;

typedef struct Holder {
    unsigned long inode; /* 0: nobody */
    unsigned uid;
} Holder;

static Bound from_sockaddr(const struct sockaddr *sa)
{
    Bound b = { .four = sa->sa_family == AF_INET };
    if (b.four) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
        b.addr.s6_addr[10] = b.addr.s6_addr[11] = 0xff;
        memcpy(b.addr.s6_addr + 12, &in->sin_addr, 4);
        b.port = ntohs(in->sin_port);
    } else {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
        b.addr = in6->sin6_addr;
        b.port = ntohs(in6->sin6_port);
    }
    return b;
}

/* Eight digits for each 32 bits of the address, as the host has them in memory. */
static bool from_digits(const char *digits, Bound *b)
{
    size_t words = strlen(digits) / 8;
    uint32_t value[4] = { 0, 0, htonl(0xffff) };
    if (strlen(digits) % 8 || (words != 1 && words != 4)) {
        return false;
    }
    b->four = words == 1;
    for (size_t i = 0; i < words; i++) {
        char word[9] = { 0 };
        memcpy(word, digits + i * 8, 8);
        value[b->four ? 3 : i] = (uint32_t)strtoul(word, NULL, 16);
    }
    memcpy(&b->addr, value, sizeof(value));
    return true;
}

static bool is_any(const Bound *b)
{
    static const uint8_t any4[16] = { [10] = 0xff, [11] = 0xff };
    return IN6_IS_ADDR_UNSPECIFIED(&b->addr) || !memcmp(&b->addr, any4, sizeof(any4));
}

/* Would one keep the other from its port? An address for all of IPv6 may be for IPv4, too. */
static bool collide(const Bound *a, const Bound *b)
{
    if (a->port != b->port) {
        return false;
    }
    if (a->four != b->four) {
        const Bound *six = a->four ? b : a;
        return is_any(six) || IN6_ARE_ADDR_EQUAL(&a->addr, &b->addr);
    }
    return is_any(a) || is_any(b) || IN6_ARE_ADDR_EQUAL(&a->addr, &b->addr);
}

/* state: that the socket must have; 0: any. */
static Holder find_bound(const char *table, const Bound *wanted, unsigned state)
{
    g_autofree char *text = NULL;
    char *rest = NULL;
    if (!g_file_get_contents(table, &text, NULL, NULL)) {
        return (Holder){ 0 };
    }
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char digits[33];
        unsigned is;
        Bound b;
        Holder h;
        if (sscanf(line, " %*d: %32[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %u %*s %lu", digits,
                   &b.port, &is, &h.uid, &h.inode) == 5 &&
            (!state || is == state) && from_digits(digits, &b) && collide(&b, wanted)) {
            return h;
        }
    }
    return (Holder){ 0 };
}

static bool process_has(const char *pid, const char *link)
{
    g_autofree char *dir_path = g_strdup_printf("/proc/%s/fd", pid);
    g_autoptr(GDir) dir = g_dir_open(dir_path, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(dir_path, name, NULL);
        char target[64];
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        if (n > 0) {
            target[n] = 0;
            if (g_str_equal(target, link)) {
                return true;
            }
        }
    }
    return false;
}

/* Other users' descriptors are not for us to see; whose socket it is the table tells. */
static char *describe_user(unsigned uid)
{
    struct passwd pw, *found = NULL;
    char buf[1024];
    if (getpwuid_r(uid, &pw, buf, sizeof(buf), &found) == 0 && found) {
        return g_strdup_printf("a process of user %u (%s)", uid, found->pw_name);
    }
    return g_strdup_printf("a process of user %u", uid);
}

static char *who_has(const char *table, const char *table6, const struct sockaddr *sa, unsigned state)
{
    Bound wanted = from_sockaddr(sa);
    Holder h = find_bound(table, &wanted, state);
    if (!h.inode) {
        h = find_bound(table6, &wanted, state);
    }
    if (!h.inode) {
        return NULL;
    }
    g_autofree char *link = g_strdup_printf("socket:[%lu]", h.inode);
    g_autoptr(GDir) dir = g_dir_open("/proc", 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        if (isdigit((unsigned char)name[0]) && process_has(name, link)) {
            return describe_pid(atol(name));
        }
    }
    return describe_user(h.uid);
}

char *who_listens_tcp(const struct sockaddr *sa)
{
    return who_has("/proc/net/tcp", "/proc/net/tcp6", sa, TCP_LISTEN);
}

char *who_has_udp(const struct sockaddr *sa)
{
    return who_has("/proc/net/udp", "/proc/net/udp6", sa, 0);
}

/* ---- tap interfaces ---- */

/* /proc/PID/fdinfo/N of a tap interface has its name in a line of its own. */
static bool process_has_tap(const char *pid, const char *line)
{
    g_autofree char *dir_path = g_strdup_printf("/proc/%s/fdinfo", pid);
    g_autoptr(GDir) dir = g_dir_open(dir_path, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(dir_path, name, NULL);
        g_autofree char *text = NULL;
        if (g_file_get_contents(path, &text, NULL, NULL) && strstr(text, line)) {
            return true;
        }
    }
    return false;
}

/* Each network namespace has names of its own. One that cannot be looked at counts as ours. */
static bool in_our_network(const char *pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/ns/net", pid);
    g_autofree char *ours = g_file_read_link("/proc/self/ns/net", NULL);
    g_autofree char *theirs = g_file_read_link(path, NULL);
    return !ours || !theirs || g_str_equal(ours, theirs);
}

char *who_has_tap(const char *ifname)
{
    g_autofree char *line = g_strdup_printf("iff:\t%s\n", ifname);
    g_autoptr(GDir) dir = g_dir_open("/proc", 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        if (isdigit((unsigned char)name[0]) && in_our_network(name) && process_has_tap(name, line)) {
            return describe_pid(atol(name));
        }
    }
    return NULL;
}

char *who_is_peer(int fd)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || cred.pid <= 0) {
        return g_strdup("another process");
    }
    return describe_pid(cred.pid);
}
