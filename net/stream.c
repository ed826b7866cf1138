/* SPDX-License-Identifier: MIT
 * net/stream.c - -netdev stream: frames over a stream socket, to another machine, to passt, or to a program.
 *
 * Models: frames.c's format. A server takes one peer after the other; a client with reconnect= looks for its
 *         peer again. Without a peer frames are dropped, as on a cable that leads nowhere.
 * Threads: main loop. Only a client without reconnect= waits, a few seconds, when it is made.
 */
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "stream_internal.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { CONNECT_MS = 5000 };

static Stream *stream_of(const NetClient *c)
{
    return c->state;
}

/* ---- the peer comes and goes ---- */

static void watch_listener(Stream *s)
{
    if (s->listen_fd >= 0) {
        fd_watch_set(&s->listen_watch, s->link.fd < 0 ? LOOP_IN : 0);
    }
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
        getpeername(s->link.fd, (struct sockaddr *)&peer, &len); /* one that has gone again has no address */
        json_put(data, "addr", net_address_json(&peer, len));
    } else if (connected) {
        bool unix_ = s->type == NET_SOCKET_TYPE_UNIX;
        Json *a = json_put(json_new_object(), "type", json_new_string(unix_ ? "unix" : "fd"));
        json_put(data, "addr", json_put(a, unix_ ? "path" : "str", json_new_string(s->name)));
    }
    machine_event(s->client->machine, connected ? "NETDEV_STREAM_CONNECTED" : "NETDEV_STREAM_DISCONNECTED",
                  data);
}

/* ---- frames ---- */

static void stream_gone(void *opaque, size_t nonsense)
{
    Stream *s = opaque;
    if (nonsense != SIZE_MAX && !s->complained) {
        log_warn("network '%s': the peer sends a frame of %zu bytes; the connection is closed",
                 s->client->name, nonsense);
        s->complained = true;
    }
    tell(s, false);
    watch_listener(s);
    retry_later(s);
    net_client_resume(s->client); /* what waits leads nowhere now */
    if (s->gone) {
        s->gone(s);
    }
}

static void stream_frame(void *opaque, const uint8_t *data, size_t len)
{
    Stream *s = opaque;
    net_client_send(s->client, &(NetFrame){ .data = data, .len = len });
}

static bool stream_may_read(void *opaque)
{
    Stream *s = opaque;
    return net_client_may_send(s->client);
}

static void stream_writable(void *opaque)
{
    Stream *s = opaque;
    net_client_resume(s->client);
}

bool net_stream_receive(NetClient *c, const NetFrame *f)
{
    return frame_link_send(&stream_of(c)->link, f->data, f->len);
}

void net_stream_resumed(NetClient *c)
{
    frame_link_update(&stream_of(c)->link);
}

bool net_stream_connected(Stream *s, int fd, Error **errp)
{
    if (!frame_link_open(&s->link, s->client->machine->loop, fd, errp)) {
        return false;
    }
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
    if (fd >= 0 && !net_stream_connected(s, fd, &err)) {
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
            return net_stream_connected(s, fd, errp);
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
    if (!net_stream_connected(s, fd, &err)) {
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

void net_stream_init(Stream *s, NetClient *c)
{
    static const FrameLinkOps ops = { stream_frame, stream_may_read, stream_writable, stream_gone };
    s->client = c;
    s->listen_fd = s->trying = -1;
    frame_link_init(&s->link, &ops, s);
    timer_init(&s->retry, c->machine->loop, &clock_host_monotonic, retry_fired, s);
}

static bool stream_open(NetClient *c, const NetdevOptions *o, Error **errp)
{
    Stream *s = c->state;
    const NetdevStreamOptions *opts = &o->u.stream;
    SockSpec spec = net_sock_spec(&opts->addr);
    net_stream_init(s, c);
    s->where = sock_text(&spec);
    s->type = opts->addr.type;
    s->name = g_strdup(spec.kind == SOCK_KIND_FD ? spec.fd : spec.path);
    s->reconnect_ns = opts->reconnect * INT64_C(1000000000);
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
        return fd >= 0 && net_stream_connected(s, fd, errp);
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

void net_stream_close(NetClient *c)
{
    Stream *s = stream_of(c);
    timer_cancel(&s->retry);
    frame_link_close(&s->link);
    close_fd(&s->listen_watch, s->listen_fd);
    close_fd(&s->try_watch, s->trying);
    if (s->path) {
        unlink(s->path);
    }
    g_free(s->path);
    g_free(s->where);
    g_free(s->name);
}

void net_stream_describe(const NetClient *c, GString *out)
{
    const Stream *s = stream_of(c);
    g_string_append_printf(out, "%s,%s", s->where, s->link.fd >= 0 ? "connected" : "nobody there");
}

const NetKind net_stream_kind = {
    .name = "stream",
    .state_size = sizeof(Stream),
    .open = stream_open,
    .close = net_stream_close,
    .receive = net_stream_receive,
    .resumed = net_stream_resumed,
    .describe = net_stream_describe,
};
