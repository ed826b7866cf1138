/* SPDX-License-Identifier: MIT
 * net/socket.c - -netdev socket: the older names of what stream and dgram do.
 *
 * Models: QEMU's listen=, connect=, mcast=, udp=, fd=, as options of those two; the formats are the same.
 * Threads: main loop.
 */
#include "net_internal.h"
#include "rhea/util/errorcode.h"

#include <string.h>

/* HOST:PORT; the host may be empty, or an IPv6 address in brackets. */
static bool take_address(const char *key, const char *text, bool any, NetSocketAddress *out, Error **errp)
{
    const char *colon = strrchr(text, ':');
    size_t host = colon ? (size_t)(colon - text) : 0;
    bool brackets = host >= 2 && text[0] == '[' && text[host - 1] == ']';
    if (!colon || !colon[1] || (!host && !any)) {
        error_fail(errp, "invalid-value", key, NULL, "'%s' does not take '%s'", key, text);
        error_hint(errp, any ? "it looks like :5000, or 127.0.0.1:5000" : "it looks like 127.0.0.1:5000");
        return false;
    }
    out->type = NET_SOCKET_TYPE_INET;
    out->u.inet.host = brackets ? g_strndup(text + 1, host - 2) : g_strndup(text, host);
    out->u.inet.port = g_strdup(colon + 1);
    return true;
}

static bool take_stream(const NetdevSocketOptions *s, NetdevOptions *out, Error **errp)
{
    out->type = NET_CLIENT_DRIVER_STREAM;
    out->u.stream.has_server = true;
    out->u.stream.server = s->listen != NULL;
    return take_address(s->listen ? "listen" : "connect", s->listen ? s->listen : s->connect,
                        s->listen != NULL, &out->u.stream.addr, errp);
}

static bool take_fd(Machine *m, const char *fd, NetdevOptions *out)
{
    bool dgram = net_fd_type(m, fd) == SOCK_DGRAM;
    NetSocketAddress *a = dgram ? &out->u.dgram.local : &out->u.stream.addr;
    out->type = dgram ? NET_CLIENT_DRIVER_DGRAM : NET_CLIENT_DRIVER_STREAM;
    if (dgram) {
        out->u.dgram.has_local = true;
    }
    a->type = NET_SOCKET_TYPE_FD;
    a->u.fd.str = g_strdup(fd);
    return true;
}

static bool take_dgram(const NetdevSocketOptions *s, NetdevOptions *out, Error **errp)
{
    NetdevDgramOptions *d = &out->u.dgram;
    out->type = NET_CLIENT_DRIVER_DGRAM;
    if (!take_address(s->udp ? "udp" : "mcast", s->udp ? s->udp : s->mcast, false, &d->remote, errp)) {
        return false;
    }
    d->has_remote = true;
    d->has_local = s->localaddr != NULL;
    if (s->udp) {
        return take_address("localaddr", s->localaddr ? s->localaddr : "", true, &d->local, errp);
    }
    if (s->localaddr) { /* of an interface; any port will do */
        d->local.type = NET_SOCKET_TYPE_INET;
        d->local.u.inet.host = g_strdup(s->localaddr);
        d->local.u.inet.port = g_strdup("0");
    }
    return true;
}

bool net_socket_translate(Machine *m, const NetdevSocketOptions *s, NetdevOptions *out, Error **errp)
{
    unsigned n = !!s->fd + !!s->listen + !!s->connect + !!s->mcast + !!s->udp;
    if (n != 1) {
        error_fail(errp, n ? "conflict" : "missing-member", "listen", NULL,
                   n ? "more than one of 'fd', 'listen', 'connect', 'mcast' and 'udp' is given"
                     : "none of 'fd', 'listen', 'connect', 'mcast' and 'udp' is given");
        error_hint(errp, "exactly one says what kind of socket it is");
        return false;
    }
    if (s->localaddr && !s->mcast && !s->udp) {
        return error_fail(errp, "conflict", "localaddr", "leave it out",
                          "'localaddr' goes with 'mcast' and 'udp' only");
    }
    return s->fd                     ? take_fd(m, s->fd, out)
           : s->listen || s->connect ? take_stream(s, out, errp)
                                     : take_dgram(s, out, errp);
}
