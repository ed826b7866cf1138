/* SPDX-License-Identifier: MIT
 * net/stream.c - -netdev stream: frames over a stream socket, to another machine, to passt, or to a program.
 *
 * Models: QEMU's format: each frame behind its length, four bytes, the highest first. A server takes one peer
 *         after the other; without a peer frames are dropped, as on a cable that leads nowhere. Does not
 * model: reconnecting of a client. Threads: main loop.
 */
#include "net_internal.h"
#include "rhea/util/log.h"
#include "rhea/util/sock.h"
#include "rhea/util/text.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LENGTH = 4, IN_BYTES = 256 * 1024, CONNECT_MS = 5000 };

typedef struct Stream {
    NetClient *client;
    int listen_fd, fd; /* -1: none */
    FdWatch listen_watch, watch;
    char *where, *path; /* path: a name in the file system that is ours */
    uint8_t *in;
    size_t have;                         /* bytes of it */
    uint8_t out[LENGTH + NET_FRAME_MAX]; /* what the socket did not take of a frame */
    size_t out_at, out_len;
} Stream;

static Stream *stream_of(const NetClient *c)
{
    return c->state;
}

/* ---- the peer comes and goes ---- */

static void watch_listener(Stream *s)
{
    fd_watch_set(&s->listen_watch, s->fd < 0 ? LOOP_IN : 0);
}

static void stream_disconnect(Stream *s)
{
    fd_watch_remove(&s->watch);
    close(s->fd);
    s->fd = -1;
    s->have = s->out_at = s->out_len = 0;
    watch_listener(s);
    net_client_resume(s->client); /* what waits leads nowhere now */
}

static void update_watch(Stream *s)
{
    fd_watch_set(&s->watch, (net_client_may_send(s->client) ? LOOP_IN : 0) | (s->out_len ? LOOP_OUT : 0));
}

/* ---- out ---- */

static bool flush_out(Stream *s)
{
    while (s->out_len) {
        ssize_t n = send(s->fd, s->out + s->out_at, s->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN;
        }
        s->out_at += (size_t)n;
        s->out_len -= (size_t)n;
    }
    s->out_at = 0;
    return true;
}

static bool stream_receive(NetClient *c, const NetFrame *f)
{
    Stream *s = stream_of(c);
    if (s->fd < 0) {
        return true;
    }
    if (s->out_len) {
        return false;
    }
    uint8_t length[LENGTH] = { (uint8_t)(f->len >> 24), (uint8_t)(f->len >> 16), (uint8_t)(f->len >> 8),
                               (uint8_t)f->len };
    struct iovec iov[2] = { { length, LENGTH }, { (void *)f->data, f->len } };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
    ssize_t n;
    do {
        n = sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN) {
        stream_disconnect(s);
        return true;
    }
    size_t done = n < 0 ? 0 : (size_t)n;
    if (done < LENGTH + f->len) { /* the rest is kept: a stream has no half frames */
        memcpy(s->out, length, LENGTH);
        memcpy(s->out + LENGTH, f->data, f->len);
        s->out_at = done;
        s->out_len = LENGTH + f->len - done;
        update_watch(s);
    }
    return true;
}

/* ---- in ---- */

/* False: what comes is no stream of frames. */
static bool take_frames(Stream *s)
{
    size_t at = 0;
    while (s->have - at >= LENGTH) {
        const uint8_t *p = s->in + at;
        size_t len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (len < NET_ETH || len > NET_FRAME_MAX) {
            log_warn("network '%s': the peer sends a frame of %zu bytes; the connection is closed",
                     s->client->name, len);
            return false;
        }
        if (s->have - at - LENGTH < len) {
            break;
        }
        net_client_send(s->client, &(NetFrame){ .data = p + LENGTH, .len = len });
        at += LENGTH + len;
        if (s->fd < 0) {
            return true; /* sending has ended it */
        }
    }
    s->have -= at;
    memmove(s->in, s->in + at, s->have);
    return true;
}

static void stream_ready(void *opaque, unsigned revents)
{
    Stream *s = opaque;
    if (!flush_out(s)) {
        stream_disconnect(s);
        return;
    }
    if (!s->out_len) {
        net_client_resume(s->client);
    }
    if (revents & (LOOP_IN | LOOP_HUP)) {
        ssize_t n = recv(s->fd, s->in + s->have, IN_BYTES - s->have, MSG_DONTWAIT);
        bool again = n < 0 && (errno == EAGAIN || errno == EINTR);
        s->have += n > 0 ? (size_t)n : 0;
        if ((n <= 0 && !again) || !take_frames(s)) {
            stream_disconnect(s);
        }
    }
    if (s->fd >= 0) {
        update_watch(s);
    }
}

static void stream_resumed(NetClient *c)
{
    Stream *s = stream_of(c);
    if (s->fd >= 0) {
        update_watch(s);
    }
}

static bool stream_connected(Stream *s, int fd, Error **errp)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* of no use elsewhere, and no harm */
    s->fd = fd;
    s->watch = (FdWatch){ .fd = fd, .events = LOOP_IN, .ready = stream_ready, .opaque = s };
    if (!fd_watch_add(s->client->machine->loop, &s->watch, errp)) {
        close(fd);
        s->fd = -1;
        return false;
    }
    return true;
}

static void listener_ready(void *opaque, unsigned revents)
{
    Stream *s = opaque;
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    g_autoptr(Error) err = NULL;
    if (fd >= 0 && !stream_connected(s, fd, &err)) {
        log_warn("network '%s': %s", s->client->name, error_text(err));
    }
    watch_listener(s);
}

/* ---- addresses ---- */

typedef struct Address {
    struct sockaddr_storage sa;
    socklen_t len;
} Address;

static bool unix_address(const NetSocketUnix *u, Address *a, Error **errp)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&a->sa;
    if (strlen(u->path) >= sizeof(un->sun_path)) {
        return error_set(errp, "'addr.path' is longer than %zu characters", sizeof(un->sun_path) - 1);
    }
    un->sun_family = AF_UNIX;
    strcpy(un->sun_path, u->path);
    a->len = sizeof(*un);
    return true;
}

static bool inet_address(const NetSocketInet *i, bool server, Address *a, Error **errp)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = server ? AI_PASSIVE : 0 }, *res;
    int r = getaddrinfo(*i->host ? i->host : NULL, i->port, &hints, &res);
    if (r) {
        return error_set(errp, "'%s', port '%s': %s", i->host, i->port, gai_strerror(r));
    }
    memcpy(&a->sa, res->ai_addr, res->ai_addrlen);
    a->len = res->ai_addrlen;
    freeaddrinfo(res);
    return true;
}

static bool stream_listen(Stream *s, const Address *a, Error **errp)
{
    int on = 1;
    if (a->sa.ss_family == AF_UNIX && !sock_clear_name((const struct sockaddr *)&a->sa, a->len, errp)) {
        return false;
    }
    s->listen_fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (a->sa.ss_family != AF_UNIX) {
        setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    }
    if (s->listen_fd < 0 || bind(s->listen_fd, (const struct sockaddr *)&a->sa, a->len) < 0 ||
        listen(s->listen_fd, 1) < 0) {
        return error_set_errno(errp, errno, "cannot listen at %s", s->where);
    }
    if (a->sa.ss_family == AF_UNIX) {
        s->path = g_strdup(((const struct sockaddr_un *)&a->sa)->sun_path);
    }
    s->listen_watch =
        (FdWatch){ .fd = s->listen_fd, .events = LOOP_IN, .ready = listener_ready, .opaque = s };
    return fd_watch_add(s->client->machine->loop, &s->listen_watch, errp);
}

/* Waits a few seconds for an answer. */
static bool stream_connect(Stream *s, const Address *a, Error **errp)
{
    int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err = 0;
    socklen_t len = sizeof(err);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&a->sa, a->len) < 0) {
        err = errno;
    }
    if (err == EINPROGRESS) {
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        err = poll(&p, 1, CONNECT_MS) == 1 ? 0 : ETIMEDOUT;
        if (!err) {
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
        }
    }
    if (err) {
        if (fd >= 0) {
            close(fd);
        }
        return error_set_errno(errp, err, "cannot connect to %s", s->where);
    }
    return stream_connected(s, fd, errp);
}

static bool stream_take_fd(Stream *s, const char *text, Error **errp)
{
    uint64_t n;
    int fd = text_to_u64(text, &n, NULL) && n <= INT32_MAX ? fcntl((int)n, F_DUPFD_CLOEXEC, 0) : -1, type;
    socklen_t len = sizeof(type);
    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM) {
        if (fd >= 0) {
            close(fd);
        }
        return error_set(errp, "'addr.str' does not take '%s': it is no open stream socket", text);
    }
    return stream_connected(s, fd, errp);
}

/* ---- life ---- */

static bool stream_open(NetClient *c, const NetdevOptions *o, Error **errp)
{
    Stream *s = stream_of(c);
    const NetSocketAddress *addr = &o->u.stream.addr;
    bool server = o->u.stream.has_server && o->u.stream.server;
    Address a = { .len = 0 };
    s->client = c;
    s->listen_fd = s->fd = -1;
    s->in = g_malloc(IN_BYTES);
    switch (addr->type) {
    case NET_SOCKET_TYPE_FD:
        s->where = g_strdup_printf("fd %s", addr->u.fd.str);
        return server ? error_set(errp, "'server' does not go with an open socket")
                      : stream_take_fd(s, addr->u.fd.str, errp);
    case NET_SOCKET_TYPE_UNIX:
        s->where = g_strdup_printf("unix:%s", addr->u.unix_.path);
        if (!unix_address(&addr->u.unix_, &a, errp)) {
            return false;
        }
        break;
    default:
        s->where = g_strdup_printf("tcp:%s:%s", addr->u.inet.host, addr->u.inet.port);
        if (!inet_address(&addr->u.inet, server, &a, errp)) {
            return false;
        }
        break;
    }
    return server ? stream_listen(s, &a, errp) : stream_connect(s, &a, errp);
}

static void stream_close(NetClient *c)
{
    Stream *s = stream_of(c);
    fd_watch_remove(&s->watch);
    fd_watch_remove(&s->listen_watch);
    if (s->fd >= 0) {
        close(s->fd);
    }
    if (s->listen_fd >= 0) {
        close(s->listen_fd);
    }
    if (s->path) {
        unlink(s->path);
    }
    g_free(s->path);
    g_free(s->where);
    g_free(s->in);
}

static void stream_describe(const NetClient *c, GString *out)
{
    const Stream *s = stream_of(c);
    g_string_append_printf(out, "%s,%s", s->where, s->fd >= 0 ? "connected" : "nobody there");
}

const NetKind net_stream_kind = {
    .name = "stream",
    .state_size = sizeof(Stream),
    .open = stream_open,
    .close = stream_close,
    .receive = stream_receive,
    .resumed = stream_resumed,
    .describe = stream_describe,
};
