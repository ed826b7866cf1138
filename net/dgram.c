/* SPDX-License-Identifier: MIT
 * net/dgram.c - -netdev dgram: frames over datagrams, UDP or unix, each frame in one.
 *
 * Models: QEMU's format: nothing but the frame. A group (RFC 1112) is heard by all of its members; frames go
 *         to it from a socket of their own, whose address tells our own frames when they come back.
 *         A datagram that is no frame, or a longer one, is dropped and counted.
 * Threads: main loop.
 */
#include "net_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/who.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

enum { TURN_FRAMES = 256 };

typedef struct Address {
    struct sockaddr_storage sa;
    socklen_t len; /* 0: none */
} Address;

typedef struct Dgram {
    NetClient *client;
    int fd, out;          /* out: frames go there; -1: the peer has no socket yet */
    FdWatch watch, out_watch;
    Address to;           /* where `out` is not connected; of a unix peer: where it is looked for */
    Address self;         /* of a group: where our own frames seem to come from */
    bool to_unix;
    char *where, *path;   /* path: a name in the file system that is ours */
    uint8_t *in;
} Dgram;

static Dgram *dgram_of(const NetClient *c)
{
    return c->state;
}

/* ---- out ---- */

static void out_ready(void *opaque, unsigned revents)
{
    Dgram *d = opaque;
    if (!(revents & LOOP_OUT)) {
        net_forget_error(d->out);
    }
    fd_watch_set(&d->out_watch, 0);
    net_client_resume(d->client);
}

/* Takes fd. */
static bool use_out(Dgram *d, int fd, Error **errp)
{
    d->out_watch = (FdWatch){ .fd = fd, .ready = out_ready, .opaque = d };
    if (!fd_watch_add(d->client->machine->loop, &d->out_watch, errp)) {
        close(fd);
        return false;
    }
    d->out = fd;
    return true;
}

static void drop_out(Dgram *d)
{
    if (d->out >= 0) {
        fd_watch_remove(&d->out_watch);
        close(d->out);
        d->out = -1;
    }
}

/* A connected socket: only of one like that does the kernel tell when the peer's queue has room again. */
static bool find_unix_peer(Dgram *d)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    drop_out(d);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&d->to.sa, d->to.len) < 0) {
        close(fd);
        fd = -1;
    }
    return fd >= 0 && use_out(d, fd, NULL);
}

static ssize_t send_frame(const Dgram *d, const NetFrame *f)
{
    bool connected = d->to_unix || !d->to.len;
    for (;;) {
        ssize_t n = sendto(d->out, f->data, f->len, MSG_NOSIGNAL | MSG_DONTWAIT,
                           connected ? NULL : (const struct sockaddr *)&d->to.sa,
                           connected ? 0 : d->to.len);
        if (n >= 0 || errno != EINTR) {
            return n;
        }
    }
}

static bool dgram_receive(NetClient *c, const NetFrame *f)
{
    Dgram *d = dgram_of(c);
    if (d->out_watch.events) {
        return false; /* it waits for room */
    }
    if (d->out < 0 && !find_unix_peer(d)) {
        return true;
    }
    ssize_t n = send_frame(d, f);
    if (n < 0 && errno == ECONNREFUSED) { /* told of an earlier one (UDP), or the peer has begun anew */
        n = d->to_unix && !find_unix_peer(d) ? 0 : send_frame(d, f);
    }
    if (n < 0 && errno == EAGAIN) {
        fd_watch_set(&d->out_watch, LOOP_OUT);
        return false;
    }
    if (n < 0) {
        net_client_count_drop(c); /* too long for the path, no route: as on a wire */
    }
    return true;
}

/* ---- in ---- */

static bool is_own(const Dgram *d, const struct sockaddr_in *from, socklen_t len)
{
    const struct sockaddr_in *self = (const struct sockaddr_in *)&d->self.sa;
    return d->self.len && len == sizeof(*self) && from->sin_port == self->sin_port &&
           from->sin_addr.s_addr == self->sin_addr.s_addr;
}

static void dgram_ready(void *opaque, unsigned revents)
{
    Dgram *d = opaque;
    if (!(revents & LOOP_IN)) {
        net_forget_error(d->fd);
    }
    for (unsigned i = 0; i < TURN_FRAMES && net_client_may_send(d->client); i++) {
        struct sockaddr_storage from;
        struct iovec iov = { d->in, NET_FRAME_MAX };
        struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_name = &from, .msg_namelen = sizeof(from)
        };
        ssize_t n = recvmsg(d->fd, &msg, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n < 0 || is_own(d, (const struct sockaddr_in *)&from, msg.msg_namelen)) {
            continue; /* an answer to what was sent: nobody is there */
        }
        size_t len = msg.msg_flags & MSG_TRUNC ? 0 : (size_t)n; /* 0: no frame; it is counted */
        net_client_send(d->client, &(NetFrame){ .data = d->in, .len = len });
    }
    fd_watch_set(&d->watch, net_client_may_send(d->client) ? LOOP_IN : 0);
}

static void dgram_resumed(NetClient *c)
{
    fd_watch_set(&dgram_of(c)->watch, LOOP_IN);
}

/* ---- addresses ---- */

static bool resolve(const NetSocketAddress *a, bool server, Address *out, Error **errp)
{
    SockSpec spec = net_sock_spec(a);
    SockAddrs all;
    if (!sock_resolve(&spec, server, &all, errp)) {
        return false;
    }
    out->sa = all.list[0].sa;
    out->len = all.list[0].len;
    return true;
}

static bool is_group(const Address *a)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&a->sa;
    return a->sa.ss_family == AF_INET && IN_MULTICAST(ntohl(in->sin_addr.s_addr));
}

static bool bind_to(int fd, const Address *a, const char *where, Error **errp)
{
    if (bind(fd, (const struct sockaddr *)&a->sa, a->len) == 0) {
        return true;
    }
    int err = errno;
    unsigned port = ntohs(((const struct sockaddr_in *)&a->sa)->sin_port); /* IPv6 has it there, too */
    bool taken = err == EADDRINUSE && a->sa.ss_family != AF_UNIX;
    g_autofree char *who = taken ? who_has_udp((const struct sockaddr *)&a->sa) : NULL;
    if (who) {
        error_fail(errp, "in-use", "local", NULL, "UDP port %u is in use by %s", port, who);
        error_hint(errp, "choose another port");
        return false;
    }
    return error_set_errno(errp, err, "cannot receive at %s", where);
}

static int new_socket(int family, Error **errp)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        error_set_errno(errp, errno, "cannot make a datagram socket");
    }
    return fd;
}

/* ---- kinds ---- */

/* Out by another descriptor of the same socket: it is watched by itself. */
static bool same_socket_out(Dgram *d, Error **errp)
{
    int fd = fcntl(d->fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? error_set_errno(errp, errno, "cannot make a descriptor") : use_out(d, fd, errp);
}

static bool open_pair(Dgram *d, const NetdevDgramOptions *o, Error **errp)
{
    Address local = { .len = 0 };
    d->to_unix = o->local.type == NET_SOCKET_TYPE_UNIX;
    if (!resolve(&o->local, true, &local, errp) || !resolve(&o->remote, false, &d->to, errp)) {
        return false;
    }
    if (local.sa.ss_family != d->to.sa.ss_family) {
        error_fail(errp, "conflict", "remote", NULL,
                   "'local' and 'remote' are addresses of different families");
        error_hint(errp, "give both as IPv4, or both as IPv6 ('ipv4=on')");
        return false;
    }
    bool named = d->to_unix && !o->local.u.unix_.abstract;
    if (named && !sock_clear_name((struct sockaddr *)&local.sa, local.len, errp)) {
        return false;
    }
    SockSpec spec = net_sock_spec(&o->local);
    g_autofree char *where = sock_text(&spec);
    d->fd = new_socket(local.sa.ss_family, errp);
    if (d->fd < 0 || !bind_to(d->fd, &local, where, errp)) {
        return false;
    }
    d->path = named ? g_strdup(o->local.u.unix_.path) : NULL;
    return d->to_unix || same_socket_out(d, errp); /* a unix peer is looked for with the first frame */
}

static bool join_group(Dgram *d, const Address *iface, Error **errp)
{
    const struct sockaddr_in *group = (const struct sockaddr_in *)&d->to.sa;
    const struct sockaddr_in *via = (const struct sockaddr_in *)&iface->sa;
    struct ip_mreq m = { .imr_multiaddr = group->sin_addr };
    int one = 1;
    m.imr_interface.s_addr = iface->len ? via->sin_addr.s_addr : htonl(INADDR_ANY);
    setsockopt(d->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)); /* several members on one host */
    if (!bind_to(d->fd, &d->to, d->where, errp)) {
        return false;
    }
    if (setsockopt(d->fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)) < 0) {
        error_set_errno(errp, errno, "cannot join the group of %s", d->where);
        error_hint(errp, "name an interface by its address: 127.0.0.1 is for this host alone");
        return false;
    }
    return true;
}

static bool open_group(Dgram *d, const NetdevDgramOptions *o, Error **errp)
{
    Address iface = { .len = 0 };
    int one = 1;
    if (o->has_local && !resolve(&o->local, true, &iface, errp)) {
        return false;
    }
    if (iface.len && iface.sa.ss_family != AF_INET) {
        return error_fail(errp, "invalid-value", "local", NULL,
                          "'local' has to be an IPv4 address of this host's, as the group is");
    }
    d->fd = new_socket(AF_INET, errp);
    if (d->fd < 0 || !join_group(d, &iface, errp)) {
        return false;
    }
    int out = new_socket(AF_INET, errp);
    if (out < 0 || !use_out(d, out, errp)) {
        return false;
    }
    setsockopt(out, IPPROTO_IP, IP_MULTICAST_LOOP, &one, sizeof(one)); /* members on this host hear it */
    if (iface.len) {
        setsockopt(out, IPPROTO_IP, IP_MULTICAST_IF, &((struct sockaddr_in *)&iface.sa)->sin_addr,
                   sizeof(struct in_addr));
        if (!bind_to(out, &iface, d->where, errp)) {
            return false;
        }
    }
    if (connect(out, (struct sockaddr *)&d->to.sa, d->to.len) < 0) {
        error_set_errno(errp, errno, "cannot send to %s", d->where);
        error_hint(errp, "name an interface by its address: 127.0.0.1 is for this host alone");
        return false;
    }
    d->to.len = 0;
    d->self.len = sizeof(d->self.sa);
    return getsockname(out, (struct sockaddr *)&d->self.sa, &d->self.len) == 0 ||
           error_set_errno(errp, errno, "cannot send to %s", d->where);
}

/* One that is connected, or bound to a group: then that is where frames go. */
static bool open_fd(Dgram *d, const NetdevDgramOptions *o, Error **errp)
{
    Address peer = { .len = sizeof(peer.sa) };
    d->fd = net_take_socket(d->client->machine, "local.str", o->local.u.fd.str, SOCK_DGRAM, errp);
    if (d->fd < 0) {
        return false;
    }
    if (getpeername(d->fd, (struct sockaddr *)&peer.sa, &peer.len) < 0) {
        d->to.len = sizeof(d->to.sa);
        if (getsockname(d->fd, (struct sockaddr *)&d->to.sa, &d->to.len) < 0 || !is_group(&d->to)) {
            error_fail(errp, "invalid-value", "local", NULL,
                       "socket '%s' is connected to nobody", o->local.u.fd.str);
            error_hint(errp, "connect it before it is handed over, or give local and remote as addresses");
            return false;
        }
    }
    return same_socket_out(d, errp);
}

static bool check(const NetdevDgramOptions *o, Error **errp)
{
    if (!o->has_local && !o->has_remote) {
        return error_fail(errp, "missing-member", "local",
                          "local.type=inet,local.host=ADDR,local.port=PORT for example",
                          "'local' is missing: where do frames come in?");
    }
    if (o->has_remote && o->remote.type == NET_SOCKET_TYPE_FD) {
        error_fail(errp, "not-supported", "remote", NULL, "'remote' cannot be a descriptor");
        error_hint(errp, "use local.type=fd, a connected socket");
        return false;
    }
    if (o->has_local && o->local.type == NET_SOCKET_TYPE_FD) {
        return !o->has_remote ||
               error_fail(errp, "conflict", "remote", NULL,
                          "'remote' does not go with an open socket, which has its peer");
    }
    if (!o->has_remote) {
        error_fail(errp, "missing-member", "remote", NULL, "'remote' is missing: where do frames go to?");
        error_hint(errp, "only local.type=fd goes without");
        return false;
    }
    return !o->has_local || o->local.type == o->remote.type ||
           error_fail(errp, "conflict", "remote", NULL, "'local' and 'remote' are of different types");
}

static bool dgram_open(NetClient *c, const NetdevOptions *o, Error **errp)
{
    Dgram *d = dgram_of(c);
    const NetdevDgramOptions *opts = &o->u.dgram;
    d->client = c;
    d->fd = d->out = -1;
    d->in = g_malloc(NET_FRAME_MAX);
    if (!check(opts, errp)) {
        return false;
    }
    SockSpec to = net_sock_spec(opts->has_remote ? &opts->remote : &opts->local);
    g_autofree char *text = sock_text(&to);
    bool ok, inet = to.kind == SOCK_KIND_INET;
    d->where = g_strconcat(inet ? "udp" : "", inet ? strchr(text, ':') : text, NULL);
    if (inet && !resolve(&opts->remote, false, &d->to, errp)) {
        return false;
    }
    if (to.kind == SOCK_KIND_FD) {
        ok = open_fd(d, opts, errp);
    } else if (inet && is_group(&d->to)) {
        ok = open_group(d, opts, errp);
    } else if (!opts->has_local) {
        error_fail(errp, "missing-member", "local",
                   "local.type=inet,local.host=ADDR,local.port=PORT for example",
                   "'local' is missing: where do frames come in?");
        error_hint(errp, "only a multicast group goes without");
        return false;
    } else {
        ok = open_pair(d, opts, errp);
    }
    d->watch = (FdWatch){ .fd = d->fd, .events = LOOP_IN, .ready = dgram_ready, .opaque = d };
    return ok && fd_watch_add(c->machine->loop, &d->watch, errp);
}

static void dgram_close(NetClient *c)
{
    Dgram *d = dgram_of(c);
    drop_out(d);
    if (d->fd >= 0) {
        fd_watch_remove(&d->watch);
        close(d->fd);
    }
    if (d->path) {
        unlink(d->path);
    }
    g_free(d->path);
    g_free(d->where);
    g_free(d->in);
}

static void dgram_describe(const NetClient *c, GString *out)
{
    g_string_append(out, dgram_of(c)->where);
}

const NetKind net_dgram_kind = {
    .name = "dgram",
    .state_size = sizeof(Dgram),
    .open = dgram_open,
    .close = dgram_close,
    .receive = dgram_receive,
    .resumed = dgram_resumed,
    .describe = dgram_describe,
};
