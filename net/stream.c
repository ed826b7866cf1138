/* SPDX-License-Identifier: MIT
 * net/stream.c - -netdev stream: frames over a stream socket, to another machine, to passt, or to a program.
 *
 * Models: QEMU's format: each frame behind its length, four bytes, the highest first. A server takes one peer
 *         after the other; a client with reconnect= looks for its peer again. Without a peer frames are
 *         dropped, as on a cable that leads nowhere.
 * Threads: main loop. Only a client without reconnect= waits, a few seconds, when it is made.
 */
#include "net_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { LENGTH = 4, IN_BYTES = 256 * 1024, CONNECT_MS = 5000 };

typedef struct Stream {
    NetClient *client;
    int listen_fd, fd, trying; /* -1: none; trying: not connected yet */
    FdWatch listen_watch, watch, try_watch;
    SockAddrs addrs; /* of a client: where to connect, */
    unsigned next;   /* and which of them it tries */
    Timer retry;
    int64_t reconnect_ns; /* 0: never again */
    bool said;            /* that there is nobody, since somebody was there */
    bool complained;      /* of nonsense: one line, however often a peer comes with more */
    char *where, *path;   /* path: a name in the file system that is ours */
    NetSocketType type;
    char *name; /* as the user wrote it: a unix socket's, a descriptor's */
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

static void retry_later(Stream *s)
{
    if (s->reconnect_ns) {
        timer_arm(&s->retry, clock_now(&clock_host_monotonic) + s->reconnect_ns);
    }
}

static void tell(const Stream *s, bool connected)
{
    Json *data = json_put(json_new_object(), "netdev-id", json_new_string(s->client->name));
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    if (connected && s->type == NET_SOCKET_TYPE_INET) {
        getpeername(s->fd, (struct sockaddr *)&peer, &len); /* one that has gone again has no address */
        json_put(data, "addr", net_address_json(&peer, len));
    } else if (connected) {
        bool unix_ = s->type == NET_SOCKET_TYPE_UNIX;
        Json *a = json_put(json_new_object(), "type", json_new_string(unix_ ? "unix" : "fd"));
        json_put(data, "addr", json_put(a, unix_ ? "path" : "str", json_new_string(s->name)));
    }
    machine_event(s->client->machine, connected ? "NETDEV_STREAM_CONNECTED" : "NETDEV_STREAM_DISCONNECTED",
                  data);
}

static void stream_disconnect(Stream *s)
{
    fd_watch_remove(&s->watch);
    close(s->fd);
    s->fd = -1;
    s->have = s->out_at = s->out_len = 0;
    tell(s, false);
    watch_listener(s);
    retry_later(s);
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
            if (!s->complained) {
                log_warn("network '%s': the peer sends a frame of %zu bytes; the connection is closed",
                         s->client->name, len);
            }
            s->complained = true;
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

/* Takes fd. */
static bool stream_connected(Stream *s, int fd, Error **errp)
{
    sock_tune(fd);
    s->watch = (FdWatch){ .fd = fd, .events = LOOP_IN, .ready = stream_ready, .opaque = s };
    if (!fd_watch_add(s->client->machine->loop, &s->watch, errp)) {
        close(fd);
        return false;
    }
    s->fd = fd;
    s->said = false;
    s->next = 0;
    tell(s, true);
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

/* ---- a client ---- */

/* To the next address. 0: connected; EINPROGRESS: the answer is to come; otherwise why not, and no *fd. */
static int begin_connect(Stream *s, int *fd)
{
    const struct sockaddr *sa = (const struct sockaddr *)&s->addrs.list[s->next].sa;
    *fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int err = *fd < 0 || connect(*fd, sa, s->addrs.list[s->next].len) < 0 ? errno : 0;
    if (err && err != EINPROGRESS && *fd >= 0) {
        close(*fd);
    }
    return err;
}

static int connect_result(int fd)
{
    int err = 0;
    socklen_t len = sizeof(err);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? errno : err;
}

static bool connect_now(Stream *s, Error **errp)
{
    int err = EADDRNOTAVAIL;
    for (; s->next < s->addrs.n; s->next++) {
        int fd;
        err = begin_connect(s, &fd);
        if (err == EINPROGRESS) {
            struct pollfd p = { .fd = fd, .events = POLLOUT };
            err = poll(&p, 1, CONNECT_MS) == 1 ? connect_result(fd) : ETIMEDOUT;
            if (err) {
                close(fd);
            }
        }
        if (!err) {
            return stream_connected(s, fd, errp);
        }
    }
    error_set_errno(errp, err, "cannot connect to %s", s->where);
    error_hint(errp, "start the other side first, or use reconnect=SECONDS");
    return false;
}

static void try_failed(Stream *s, int err);

static void try_done(Stream *s, int fd)
{
    g_autoptr(Error) err = NULL;
    if (!stream_connected(s, fd, &err)) {
        try_failed(s, error_errno(err));
    }
}

static void try_ready(void *opaque, unsigned revents)
{
    Stream *s = opaque;
    int fd = s->trying, err = connect_result(fd);
    fd_watch_remove(&s->try_watch);
    s->trying = -1;
    if (!err) {
        try_done(s, fd);
        return;
    }
    close(fd);
    try_failed(s, err);
}

static void try_next(Stream *s)
{
    int fd, err = begin_connect(s, &fd);
    if (err != EINPROGRESS) {
        err ? try_failed(s, err) : try_done(s, fd);
        return;
    }
    s->try_watch = (FdWatch){ .fd = fd, .events = LOOP_OUT, .ready = try_ready, .opaque = s };
    if (!fd_watch_add(s->client->machine->loop, &s->try_watch, NULL)) {
        close(fd);
        try_failed(s, EMFILE);
        return;
    }
    s->trying = fd;
}

/* The next address; after the last one a pause. */
static void try_failed(Stream *s, int err)
{
    if (++s->next < s->addrs.n) {
        try_next(s);
        return;
    }
    s->next = 0;
    if (!s->said) {
        log_warn("network '%s': cannot connect to %s: %s; it is tried again every %d seconds",
                 s->client->name, s->where, g_strerror(err), (int)(s->reconnect_ns / 1000000000));
    }
    s->said = true;
    retry_later(s);
}

static void retry_fired(void *opaque)
{
    try_next(opaque);
}

/* ---- life ---- */

static bool stream_listen(Stream *s, const SockSpec *spec, Error **errp)
{
    s->listen_fd = sock_listen(spec, 1, &s->path, errp);
    s->listen_watch =
        (FdWatch){ .fd = s->listen_fd, .events = LOOP_IN, .ready = listener_ready, .opaque = s };
    return s->listen_fd >= 0 && fd_watch_add(s->client->machine->loop, &s->listen_watch, errp);
}

static bool stream_open(NetClient *c, const NetdevOptions *o, Error **errp)
{
    Stream *s = c->state;
    const NetdevStreamOptions *opts = &o->u.stream;
    SockSpec spec = net_sock_spec(&opts->addr);
    s->client = c;
    s->listen_fd = s->fd = s->trying = -1;
    s->in = g_malloc(IN_BYTES);
    s->where = sock_text(&spec);
    s->type = opts->addr.type;
    s->name = g_strdup(spec.kind == SOCK_KIND_FD ? spec.fd : spec.path);
    s->reconnect_ns = opts->reconnect * INT64_C(1000000000);
    timer_init(&s->retry, c->machine->loop, &clock_host_monotonic, retry_fired, s);
    if (s->reconnect_ns && (opts->server || spec.kind == SOCK_KIND_FD)) {
        error_fail(errp, "conflict", "reconnect", NULL,
                   "'reconnect' is for clients that connect to a name or an address");
        error_hint(errp, opts->server ? "a server waits for the next client anyway" : "leave it out");
        return false;
    }
    if (spec.kind == SOCK_KIND_FD) {
        if (opts->server) {
            return error_fail(errp, "conflict", "server", "leave it out",
                              "'server' does not go with an open socket");
        }
        int fd = net_take_socket(c->machine, "addr.str", spec.fd, SOCK_STREAM, errp);
        return fd >= 0 && stream_connected(s, fd, errp);
    }
    if (opts->server) {
        return stream_listen(s, &spec, errp);
    }
    if (!sock_resolve(&spec, false, &s->addrs, errp)) {
        return false;
    }
    if (!s->reconnect_ns) {
        return connect_now(s, errp);
    }
    try_next(s);
    return true;
}

static void close_fd(FdWatch *w, int fd)
{
    if (fd >= 0) {
        fd_watch_remove(w);
        close(fd);
    }
}

static void stream_close(NetClient *c)
{
    Stream *s = stream_of(c);
    timer_cancel(&s->retry);
    close_fd(&s->watch, s->fd);
    close_fd(&s->listen_watch, s->listen_fd);
    close_fd(&s->try_watch, s->trying);
    if (s->path) {
        unlink(s->path);
    }
    g_free(s->path);
    g_free(s->where);
    g_free(s->name);
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
