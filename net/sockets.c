/* SPDX-License-Identifier: MIT
 * net/sockets.c - what back ends on sockets share: addresses from options, descriptors that were handed over.
 *
 * Threads: main loop.
 */
#include "net_internal.h"
#include "rhea/system/host.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

SockSpec net_sock_spec(const NetSocketAddress *a)
{
    switch (a->type) {
    case NET_SOCKET_TYPE_UNIX: {
        const NetSocketUnix *u = &a->u.unix_;
        return (SockSpec){ .kind = SOCK_KIND_UNIX,
                           .path = u->path,
                           .abstract = u->abstract,
                           .loose = u->has_tight && !u->tight };
    }
    case NET_SOCKET_TYPE_FD: return (SockSpec){ .kind = SOCK_KIND_FD, .fd = a->u.fd.str };
    default: {
        const NetSocketInet *i = &a->u.inet;
        bool only4 = i->ipv4 && !i->has_ipv6, only6 = i->ipv6 && !i->has_ipv4;
        return (SockSpec){ .kind = SOCK_KIND_INET,
                           .host = i->host,
                           .port = i->port,
                           .no_ipv4 = only6 || (i->has_ipv4 && !i->ipv4),
                           .no_ipv6 = only4 || (i->has_ipv6 && !i->ipv6) };
    }
    }
}

int net_find_fd(Machine *m, const char *key, const char *text, Error **errp)
{
    uint64_t n;
    if (!g_ascii_isdigit(*text)) {
        int fd = machine_fd_take(m, text, errp);
        error_prefix(errp, "'%s'", key);
        return fd;
    }
    if (!text_to_u64(text, &n, NULL) || n > INT32_MAX || fcntl((int)n, F_GETFD) < 0) {
        error_fail(errp, "not-found", key, NULL,
                   "'%s' does not take '%s': there is no such open descriptor", key, text);
        error_hint(errp, "it is a number that this process was started with, or a name that getfd gave");
        return -1;
    }
    return (int)n;
}

int net_take_socket(Machine *m, const char *key, const char *text, int type, Error **errp)
{
    int fd = net_find_fd(m, key, text, errp), has;
    socklen_t len = sizeof(has);
    if (fd < 0) {
        return -1;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &has, &len) < 0 || has != type) {
        error_fail(errp, "invalid-value", key, NULL,
                   "'%s' does not take '%s': it is no %s socket", key, text,
                   type == SOCK_STREAM ? "stream" : "datagram");
        return -1;
    }
    sock_tune(fd);
    return fd;
}

int net_fd_type(Machine *m, const char *text)
{
    bool named = !g_ascii_isdigit(*text);
    int type = -1, fd = net_find_fd(m, "fd", text, NULL);
    socklen_t len = sizeof(type);
    if (fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0) {
        type = -1;
    }
    if (fd >= 0 && named) {
        machine_fd_put(m, text, fd, NULL); /* it keeps its name */
    }
    return type;
}

void net_forget_error(int fd)
{
    int err;
    socklen_t len = sizeof(err);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
}

Json *net_address_json(const struct sockaddr_storage *sa, socklen_t len)
{
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getnameinfo((const struct sockaddr *)sa, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV)) {
        host[0] = port[0] = 0;
    }
    Json *j = json_put(json_new_object(), "type", json_new_string("inet"));
    json_put(j, "host", json_new_string(host));
    json_put(j, "port", json_new_string(port));
    return json_put(j, sa->ss_family == AF_INET6 ? "ipv6" : "ipv4", json_new_bool(true));
}
