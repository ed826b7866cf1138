/* SPDX-License-Identifier: MIT
 * backends/char/socket.c - stream sockets: unix and TCP, client or server.
 *
 * Models: socket(7), unix(7) with abstract names, tcp(7); one client at a time, the next ones queue in the
 * backlog; client side with reconnect=SECONDS.
 * Does not model: telnet negotiation, websocket, TLS (options.c refuses them).
 * Threads: main loop. Start-up alone waits: for the first client of wait=on, for a connection without
 * reconnect; both end on SIGINT, SIGTERM and SIGHUP.
 */
#include "char_internal.h"
#include "rhea/system/host.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/who.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNECT_LIMIT_MS = 30 * 1000, BACKLOG = 4 };

typedef struct SockAddr {
    struct sockaddr_storage sa;
    socklen_t len;
    int family;
} SockAddr;

typedef struct SocketState {
    Chardev *chr;
    SockAddr addrs[8];
    unsigned n_addrs;
    int listen_fd, fd, connecting;
    FdWatch listen_watch, connect_watch;
    Timer retry;
    unsigned reconnect_ms;
    bool server, nodelay, unlink_it, said_failure;
    char *path;   /* of a unix socket in the file system */
    char *where;  /* "unix:/x", "tcp:localhost:4444" */
    dev_t dev;    /* of the bound socket file, so that another's is not removed */
    ino_t ino;
} SocketState;

static void set_filename(SocketState *s)
{
    Chardev *c = s->chr;
    g_free(c->filename);
    c->filename =
        g_strdup_printf("%s%s%s", s->fd < 0 ? "disconnected:" : "", s->where, s->server ? ",server=on" : "");
}

/* ---- addresses ---- */

static bool unix_address(SocketState *s, const CharConfig *cfg, Error **errp)
{
    SockAddr *a = &s->addrs[0];
    struct sockaddr_un *un = (struct sockaddr_un *)&a->sa;
    size_t len = strlen(cfg->path);
    size_t limit = sizeof(un->sun_path) - 1;
    if (len > limit) {
        error_fail(errp, "too-large", "path", NULL,
                   "unix socket path '%s' is %zu bytes long, the limit is %zu", cfg->path, len, limit);
        error_hint(errp, "use a relative path, or a shorter directory");
        return false;
    }
    un->sun_family = a->family = AF_UNIX;
    memcpy(un->sun_path + (cfg->abstract ? 1 : 0), cfg->path, len);
    a->len = cfg->abstract && !cfg->tight ? sizeof(*un)
                                          : offsetof(struct sockaddr_un, sun_path) + len + 1;
    s->n_addrs = 1;
    s->path = cfg->abstract ? NULL : g_strdup(cfg->path);
    s->where = g_strdup_printf("unix:%s%s", cfg->path, cfg->abstract ? ",abstract=on" : "");
    return true;
}

static bool tcp_addresses(SocketState *s, const CharConfig *cfg, const char *port, Error **errp)
{
    bool want4 = cfg->ipv4 == ON || (cfg->ipv4 == AUTO && cfg->ipv6 != ON);
    bool want6 = cfg->ipv6 == ON || (cfg->ipv6 == AUTO && cfg->ipv4 != ON);
    if (!want4 && !want6) {
        return error_fail(errp, "conflict", "ipv6", "leave out one of them",
                          "ipv4=off and ipv6=off leave no address to use");
    }
    struct addrinfo hints = {
        .ai_family = want4 && want6 ? AF_UNSPEC : want4 ? AF_INET : AF_INET6,
        .ai_socktype = SOCK_STREAM, .ai_flags = cfg->server ? AI_PASSIVE : 0,
    };
    const char *host = cfg->host && *cfg->host ? cfg->host : NULL;
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host ? host : cfg->server ? NULL : "localhost", port, &hints, &list);
    if (rc) {
        return error_fail(errp, "not-found", "host", "give a numeric address, or a name that the host knows",
                          "address '%s:%s' cannot be resolved: %s", host ? host : "", port,
                          rc == EAI_SYSTEM ? g_strerror(errno) : gai_strerror(rc));
    }
    s->n_addrs = 0;
    for (struct addrinfo *i = list; i && s->n_addrs < G_N_ELEMENTS(s->addrs); i = i->ai_next) {
        SockAddr *a = &s->addrs[s->n_addrs++];
        memcpy(&a->sa, i->ai_addr, i->ai_addrlen);
        a->len = i->ai_addrlen;
        a->family = i->ai_family;
    }
    freeaddrinfo(list);
    g_free(s->where);
    s->where =
        g_strdup_printf(host && strchr(host, ':') ? "tcp:[%s]:%s" : "tcp:%s:%s", host ? host : "", port);
    return true;
}

/* ---- waiting at start-up ---- */

static bool asked_to_end(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && (sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM) ||
                                         sigismember(&pending, SIGHUP));
}

/* limit_ms < 0: as long as it takes. */
static bool wait_fd(int fd, short events, int64_t limit_ms, const char *what, Error **errp)
{
    int64_t start = g_get_monotonic_time();
    for (;;) {
        struct pollfd pfd = { .fd = fd, .events = events };
        int n = poll(&pfd, 1, 100);
        if (n > 0) {
            return true;
        }
        if (n < 0 && errno != EINTR) {
            return error_set_errno(errp, errno, "waiting for %s failed", what);
        }
        if (asked_to_end()) {
            return error_fail(errp, "interrupted", NULL, NULL,
                              "ended by a signal while waiting for %s", what);
        }
        if (limit_ms >= 0 && g_get_monotonic_time() - start > limit_ms * 1000) {
            return error_fail(errp, "cannot-connect", "host",
                              "see whether a server listens there, or use reconnect=SECONDS",
                              "%s: no answer in %d seconds", what, (int)(limit_ms / 1000));
        }
    }
}

/* ---- a connection ---- */

static void socket_watch_listener(SocketState *s, bool on);

static void socket_connected(SocketState *s, int fd)
{
    int one = 1;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (s->nodelay) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    s->fd = fd;
    s->said_failure = false;
    set_filename(s);
    socket_watch_listener(s, false);
    chardev_set_open(s->chr, true);
    chardev_set_fds(s->chr, fd, fd);
}

static void socket_retry_later(SocketState *s)
{
    if (s->reconnect_ms) {
        timer_arm(&s->retry, clock_now(&clock_host_monotonic) + s->reconnect_ms * INT64_C(1000000));
    }
}

static void socket_hangup(Chardev *c)
{
    SocketState *s = c->state;
    if (s->fd < 0) {
        return;
    }
    chardev_set_fds(c, -1, -1);
    close(s->fd);
    s->fd = -1;
    set_filename(s);
    chardev_set_open(c, false);
    if (s->server) {
        socket_watch_listener(s, true);
    } else {
        socket_retry_later(s);
    }
}

static ssize_t socket_write(Chardev *c, const uint8_t *buf, size_t len)
{
    SocketState *s = c->state;
    ssize_t n = send(s->fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)) {
        socket_hangup(c);
        return len;
    }
    return n < 0 ? -errno : n;
}

/* Descriptors come along only where the front end asked for them; else the kernel closes them. */
static ssize_t socket_read(Chardev *c, uint8_t *buf, size_t len)
{
    union {
        struct cmsghdr align;
        char data[CMSG_SPACE(CHAR_FDS * sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = buf, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c->wants_fds ? &control : NULL,
                          .msg_controllen = c->wants_fds ? sizeof(control) : 0 };
    ssize_t n = recvmsg(c->in_fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    for (struct cmsghdr *h = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL; h; h = CMSG_NXTHDR(&msg, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t i = 0; i < (h->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
            chardev_add_fd(c, fd);
        }
    }
    return n;
}

/* ---- server ---- */

static void listener_ready(void *opaque, unsigned revents G_GNUC_UNUSED)
{
    SocketState *s = opaque;
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        socket_connected(s, fd);
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED && !s->said_failure) {
        s->said_failure = true;
        log_warn("chardev '%s': accepting a connection on %s failed: %s", s->chr->id, s->where,
                 g_strerror(errno));
    }
}

static void socket_watch_listener(SocketState *s, bool on)
{
    if (s->listen_fd < 0) {
        return;
    }
    if (!on) {
        if (s->listen_watch.loop) {
            fd_watch_remove(&s->listen_watch);
        }
        return;
    }
    g_autoptr(Error) err = NULL;
    s->listen_watch =
        (FdWatch){ .fd = s->listen_fd, .events = LOOP_IN, .ready = listener_ready, .opaque = s };
    if (!fd_watch_add(s->chr->loop, &s->listen_watch, &err)) {
        log_warn("chardev '%s': %s", s->chr->id, error_text(err));
    }
}

/* A socket file left by a process that is gone is replaced; one that answers is somebody's. */
static bool unix_clear_path(SocketState *s, Error **errp)
{
    struct stat st;
    if (lstat(s->path, &st) < 0) {
        return true;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return error_fail(errp, "already-exists", "path", "use another path, or remove that file",
                          "'%s' exists and is not a socket", s->path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool answers = fd >= 0 && connect(fd, (struct sockaddr *)&s->addrs[0].sa, s->addrs[0].len) == 0;
    g_autofree char *who = answers ? who_is_peer(fd) : NULL;
    if (fd >= 0) {
        close(fd);
    }
    if (answers) {
        error_fail(errp, "in-use", "path", NULL, "unix socket '%s' is in use by %s", s->path, who);
        error_hint(errp, "use another path, or end that process");
        return false;
    }
    unlink(s->path);
    return true;
}

static int listen_on(SocketState *s, const SockAddr *a, int *err)
{
    int one = 1;
    int fd = socket(a->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        *err = errno;
        return -1;
    }
    if (a->family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    }
    if (bind(fd, (const struct sockaddr *)&a->sa, a->len) < 0 || listen(fd, BACKLOG) < 0) {
        *err = errno;
        close(fd);
        return -1;
    }
    struct stat st;
    if (s->path && lstat(s->path, &st) == 0) {
        s->unlink_it = true;
        s->dev = st.st_dev;
        s->ino = st.st_ino;
    }
    return fd;
}

static bool listen_unix(SocketState *s, Error **errp)
{
    int err = 0;
    if (s->path && !unix_clear_path(s, errp)) {
        return false;
    }
    s->listen_fd = listen_on(s, &s->addrs[0], &err);
    if (s->listen_fd < 0) {
        return error_set_errno(errp, err, "could not listen on %s", s->where);
    }
    return true;
}

static bool listen_tcp(SocketState *s, const CharConfig *cfg, Error **errp)
{
    guint64 first;
    bool numeric = g_ascii_string_to_unsigned(cfg->port, 10, 0, 65535, &first, NULL);
    unsigned last = cfg->to && numeric ? cfg->to : first;
    if (cfg->to && (!numeric || cfg->to < first)) {
        return error_fail(errp, "invalid-value", "to", "give a port behind port=",
                          "to=%u lies below port=%s", cfg->to, cfg->port);
    }
    int err = 0;
    SockAddr asked = { 0 }; /* the first one of a range */
    for (unsigned port = first; s->listen_fd < 0 && (port <= last || !numeric); port++) {
        char text[16];
        g_snprintf(text, sizeof(text), "%u", port);
        if (!tcp_addresses(s, cfg, numeric ? text : cfg->port, errp)) {
            return false;
        }
        asked = port == first ? s->addrs[0] : asked;
        for (unsigned i = 0; s->listen_fd < 0 && i < s->n_addrs; i++) {
            s->listen_fd = listen_on(s, &s->addrs[i], &err);
        }
        if (!numeric || (s->listen_fd < 0 && err != EADDRINUSE)) {
            break;
        }
    }
    if (s->listen_fd >= 0) {
        return true;
    }
    if (err == EADDRINUSE) {
        g_autofree char *who = who_listens_tcp((const struct sockaddr *)&asked.sa);
        error_fail(errp, "in-use", "port", NULL,
                   "TCP port %s%s is in use%s%s", cfg->port,
                   last > first ? " (and every one up to to=)" : "", who ? " by " : "", who ? who : "");
        error_hint(errp, "use another port, or to=PORT to try a range");
        return false;
    }
    return error_set_errno(errp, err, "could not listen on %s", s->where);
}

static bool socket_serve(SocketState *s, const CharConfig *cfg, Error **errp)
{
    set_filename(s);
    if (!cfg->wait) {
        socket_watch_listener(s, true);
        return true;
    }
    log_info("waiting for a connection on %s", s->where);
    g_autofree char *what = g_strdup_printf("a connection on %s", s->where);
    for (;;) {
        if (!wait_fd(s->listen_fd, POLLIN, -1, what, errp)) {
            return false;
        }
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            socket_connected(s, fd);
            return true;
        }
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            return error_set_errno(errp, errno, "could not accept %s", what);
        }
    }
}

/* ---- client ---- */

/* A connection attempt; -1 and *err. *pending: not decided yet. */
static int start_connect(const SockAddr *a, bool *pending, int *err)
{
    int fd = socket(a->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        *err = errno;
        return -1;
    }
    *pending = false;
    if (connect(fd, (const struct sockaddr *)&a->sa, a->len) < 0) {
        if (errno != EINPROGRESS) {
            *err = errno;
            close(fd);
            return -1;
        }
        *pending = true;
    }
    return fd;
}

static int connect_result(int fd)
{
    int err = 0;
    socklen_t len = sizeof(err);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? errno : err;
}

static bool connect_now(SocketState *s, Error **errp)
{
    int err = ECONNREFUSED;
    for (unsigned i = 0; i < s->n_addrs; i++) {
        bool pending;
        int fd = start_connect(&s->addrs[i], &pending, &err);
        if (fd >= 0 && pending) {
            if (!wait_fd(fd, POLLOUT, CONNECT_LIMIT_MS, s->where, errp)) {
                close(fd);
                return false;
            }
            err = connect_result(fd);
            if (err) {
                close(fd);
                continue;
            }
        }
        if (fd >= 0) {
            socket_connected(s, fd);
            return true;
        }
    }
    error_set_errno(errp, err, "could not connect to %s", s->where);
    error_hint(errp, "reconnect=SECONDS tries again; server=on listens instead");
    return false;
}

static void connect_finish(SocketState *s, int err)
{
    int fd = s->connecting;
    s->connecting = -1;
    if (!err) {
        socket_connected(s, fd);
        return;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (!s->said_failure) {
        s->said_failure = true;
        log_warn("chardev '%s': could not connect to %s: %s; trying again every %u ms", s->chr->id, s->where,
                 g_strerror(err), s->reconnect_ms);
    }
    socket_retry_later(s);
}

static void connect_ready(void *opaque, unsigned revents G_GNUC_UNUSED)
{
    SocketState *s = opaque;
    fd_watch_remove(&s->connect_watch);
    connect_finish(s, connect_result(s->connecting));
}

static void connect_again(void *opaque)
{
    SocketState *s = opaque;
    int err = ECONNREFUSED;
    bool pending = false;
    s->connecting = -1;
    for (unsigned i = 0; s->connecting < 0 && i < s->n_addrs; i++) {
        s->connecting = start_connect(&s->addrs[i], &pending, &err);
    }
    if (s->connecting < 0 || !pending) {
        connect_finish(s, s->connecting < 0 ? err : 0);
        return;
    }
    s->connect_watch =
        (FdWatch){ .fd = s->connecting, .events = LOOP_OUT, .ready = connect_ready, .opaque = s };
    g_autoptr(Error) e = NULL;
    if (!fd_watch_add(s->chr->loop, &s->connect_watch, &e)) {
        connect_finish(s, EIO);
    }
}

/* ---- backend ---- */

static void socket_close(Chardev *c)
{
    SocketState *s = c->state;
    timer_cancel(&s->retry);
    socket_watch_listener(s, false);
    if (s->connect_watch.loop) {
        fd_watch_remove(&s->connect_watch);
    }
    int fds[] = { s->listen_fd, s->fd, s->connecting };
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    struct stat st;
    if (s->unlink_it && lstat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino) {
        unlink(s->path);
    }
    g_free(s->path);
    g_free(s->where);
}

/* Not by the watch: without room for input nobody looks. An attempt to connect ends by its own watch. */
static void socket_yank(Chardev *c)
{
    SocketState *s = c->state;
    if (s->fd >= 0) {
        shutdown(s->fd, SHUT_RDWR); /* others may have the descriptor too */
        socket_hangup(c);
    }
    if (s->connecting >= 0) {
        shutdown(s->connecting, SHUT_RDWR);
    }
}

/* What fd= names: an inherited descriptor by number, or one that getfd has named; -1. */
static int named_fd(SocketState *s, const char *text, Error **errp)
{
    guint64 fd;
    if (!g_ascii_isdigit(*text)) {
        return machine_fd_take(s->chr->machine, text, errp);
    }
    if (!g_ascii_string_to_unsigned(text, 10, 0, INT32_MAX, &fd, NULL)) {
        error_fail(errp, "invalid-value", "fd", "use the number of an open socket",
                   "fd=%s is not a descriptor number", text);
        return -1;
    }
    return fd;
}

/* An open descriptor: a listening or a connected stream socket. */
static bool adopt_fd(SocketState *s, const CharConfig *cfg, Error **errp)
{
    int type = 0, listening = 0;
    socklen_t len = sizeof(int);
    int fd = named_fd(s, cfg->fd, errp);
    if (fd < 0) {
        return false;
    }
    bool stream = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len);
    if (!stream || !!listening != s->server) {
        if (!stream) {
            error_fail(errp, "invalid-value", "fd", "pass a connected or a listening socket",
                       "descriptor %d is not an open stream socket", fd);
        } else {
            error_fail(errp, "conflict", "server", NULL,
                       "descriptor %d is %s socket, but server=%s", fd,
                       listening ? "a listening" : "a connected", s->server ? "on" : "off");
        }
        if (!g_ascii_isdigit(*cfg->fd)) {
            close(fd); /* its name is used up */
        }
        return false;
    }
    s->where = g_strdup_printf("fd:%d", fd);
    if (s->server) {
        s->listen_fd = fd;
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    } else {
        socket_connected(s, fd);
    }
    return true;
}

static bool socket_start(SocketState *s, const CharConfig *cfg, Error **errp)
{
    if (cfg->fd) {
        return adopt_fd(s, cfg, errp) && (!s->server || socket_serve(s, cfg, errp));
    }
    if (cfg->path && !unix_address(s, cfg, errp)) {
        return false;
    }
    if (s->server) {
        return (cfg->path ? listen_unix(s, errp) : listen_tcp(s, cfg, errp)) && socket_serve(s, cfg, errp);
    }
    if (!cfg->path && !tcp_addresses(s, cfg, cfg->port, errp)) {
        return false;
    }
    set_filename(s);
    if (!s->reconnect_ms) {
        return connect_now(s, errp);
    }
    connect_again(s);
    return true;
}

static bool socket_open(Chardev *c, const CharConfig *cfg, Error **errp)
{
    SocketState *s = c->state;
    s->chr = c;
    s->listen_fd = s->fd = s->connecting = -1;
    s->server = cfg->server;
    s->reconnect_ms = cfg->reconnect_ms;
    s->nodelay = cfg->nodelay && !cfg->path;
    timer_init(&s->retry, c->loop, &clock_host_monotonic, connect_again, s);
    if (!socket_start(s, cfg, errp)) {
        chardev_set_fds(c, -1, -1);
        socket_close(c);
        return false;
    }
    return true;
}

const CharBackend char_socket_backend = {
    .name = "socket", .state_size = sizeof(SocketState), .open = socket_open, .close = socket_close,
    .write = socket_write, .read = socket_read, .hangup = socket_hangup,
    .yank = socket_yank,
};
