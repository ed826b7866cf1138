/* SPDX-License-Identifier: MIT
 * util/who.c - names the process that holds a socket address or a tap interface, as far as /proc tells.
 *
 * Models: proc(5): /proc/net/tcp, tcp6, udp and udp6 give the inode of a bound socket, /proc/PID/fd its
 * owner, /proc/PID/fdinfo a tap interface's; unix(7): SO_PEERCRED gives the listener's process. Threads: any.
 */
#include "rhea/util/who.h"
#include <ctype.h>
#include <stdbool.h>
#include <glib.h>
#include <netinet/tcp.h>
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

static unsigned long bound_inode(const char *table, unsigned port, unsigned wanted)
{
    g_autofree char *text = NULL;
    if (!g_file_get_contents(table, &text, NULL, NULL)) {
        return 0;
    }
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned local_port, state;
        unsigned long inode;
        if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %lu", &local_port,
                   &state, &inode) == 3 &&
            local_port == port && state == wanted) {
            return inode;
        }
    }
    return 0;
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

static char *who_has(unsigned long inode)
{
    if (!inode) {
        return NULL;
    }
    g_autofree char *link = g_strdup_printf("socket:[%lu]", inode);
    g_autoptr(GDir) dir = g_dir_open("/proc", 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        if (isdigit((unsigned char)name[0]) && process_has(name, link)) {
            return describe_pid(atol(name));
        }
    }
    return g_strdup("a process of another user");
}

char *who_listens_tcp(unsigned port)
{
    unsigned long inode = bound_inode("/proc/net/tcp", port, TCP_LISTEN);
    return who_has(inode ? inode : bound_inode("/proc/net/tcp6", port, TCP_LISTEN));
}

char *who_has_udp(unsigned port) /* one that is not connected has TCP's state "closed" */
{
    unsigned long inode = bound_inode("/proc/net/udp", port, TCP_CLOSE);
    return who_has(inode ? inode : bound_inode("/proc/net/udp6", port, TCP_CLOSE));
}

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
