/* SPDX-License-Identifier: MIT
 * util/sock.c - addresses of stream sockets: looking them up, listening.
 *
 * Models: getaddrinfo(3), unix(7) with abstract names, sockets that were handed over as descriptors.
 * Threads: any; no state.
 */
#include "rhea/util/errorcode.h"
#include "rhea/util/sock.h"
#include "rhea/util/text.h"
#include "rhea/util/who.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

char *sock_text(const SockSpec *s)
{
    switch (s->kind) {
    case SOCK_KIND_UNIX: return g_strdup_printf("unix:%s%s", s->abstract ? "@" : "", s->path);
    case SOCK_KIND_FD: return g_strdup_printf("fd:%s", s->fd);
    default: return g_strdup_printf(strchr(s->host, ':') ? "tcp:[%s]:%s" : "tcp:%s:%s", s->host, s->port);
    }
}

void sock_tune(int fd)
{
    int one = 1;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* a unix socket refuses, which is fine */
}

void sock_keep_alive(int fd)
{
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
}

static bool resolve_unix(const SockSpec *s, SockAddrs *out, Error **errp)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&out->list[0].sa;
    size_t len = strlen(s->path), limit = sizeof(un->sun_path) - 1;
    if (len == 0 || len > limit) {
        error_fail(errp, "too-large", "addr", NULL,
                   "the name of unix socket '%s' has %zu bytes; it may have 1 to %zu", s->path, len, limit);
        error_hint(errp, "use a relative path, or a shorter folder");
        return false;
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path + (s->abstract ? 1 : 0), s->path, len);
    bool whole = s->abstract && s->loose;
    out->list[0].len =
        whole ? (socklen_t)sizeof(*un) : (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    out->n = 1;
    return true;
}

static bool resolve_inet(const SockSpec *s, bool server, SockAddrs *out, Error **errp)
{
    if (s->no_ipv4 && s->no_ipv6) {
        return error_fail(errp, "conflict", "ipv6", "leave out one of them",
                          "ipv4=off and ipv6=off leave no address to use");
    }
    struct addrinfo hints = { .ai_family = s->no_ipv6   ? AF_INET
                                           : s->no_ipv4 ? AF_INET6
                                                        : AF_UNSPEC,
                              .ai_socktype = SOCK_STREAM,
                              .ai_flags = server ? AI_PASSIVE : 0 };
    const char *host = *s->host ? s->host : server ? NULL : "localhost";
    struct addrinfo *list = NULL;
    int r = getaddrinfo(host, s->port, &hints, &list);
    if (r) {
        return error_fail(errp, "not-found", "addr", "give a numeric address, or a name that the host knows",
                          "'%s', port '%s': %s", s->host, s->port,
                          r == EAI_SYSTEM ? g_strerror(errno) : gai_strerror(r));
    }
    for (struct addrinfo *i = list; i && out->n < G_N_ELEMENTS(out->list); i = i->ai_next) {
        memcpy(&out->list[out->n].sa, i->ai_addr, i->ai_addrlen);
        out->list[out->n++].len = i->ai_addrlen;
    }
    freeaddrinfo(list);
    return true;
}

bool sock_resolve(const SockSpec *s, bool server, SockAddrs *out, Error **errp)
{
    *out = (SockAddrs){ .n = 0 };
    return s->kind == SOCK_KIND_UNIX ? resolve_unix(s, out, errp) : resolve_inet(s, server, out, errp);
}

bool sock_clear_name(const struct sockaddr *sa, socklen_t len, Error **errp)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)sa;
    struct stat st;
    if (lstat(un->sun_path, &st) < 0) {
        return true;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return error_fail(errp, "already-exists", "addr", "use another path, or remove that file",
                          "'%s' exists, and is no socket", un->sun_path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool served = fd >= 0 && (connect(fd, sa, len) == 0 || errno != ECONNREFUSED);
    g_autofree char *who = served ? who_is_peer(fd) : NULL;
    if (fd >= 0) {
        close(fd);
    }
    if (served) {
        return error_fail(errp, "in-use", "addr", "use another path, or end that process",
                          "'%s' is in use by %s", un->sun_path, who);
    }
    unlink(un->sun_path);
    return true;
}

static void set_port(struct sockaddr_storage *sa, unsigned port)
{
    if (sa->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)sa)->sin6_port = htons((uint16_t)port);
    } else {
        ((struct sockaddr_in *)sa)->sin_port = htons((uint16_t)port);
    }
}

static unsigned get_port(const struct sockaddr_storage *sa)
{
    return ntohs(sa->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)sa)->sin6_port
                                           : ((const struct sockaddr_in *)sa)->sin_port);
}

/* -1 with errno. */
static int listen_one(const struct sockaddr_storage *sa, socklen_t len, int backlog)
{
    int one = 1, fd = socket(sa->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    if (sa->ss_family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    }
    if (bind(fd, (const struct sockaddr *)sa, len) < 0 || listen(fd, backlog) < 0) {
        int err = errno;
        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

int sock_listen(const SockSpec *s, int backlog, char **path, Error **errp)
{
    SockAddrs a;
    *path = NULL;
    if (s->kind == SOCK_KIND_FD) {
        return sock_take_fd(s->fd, errp);
    }
    if (!sock_resolve(s, true, &a, errp)) {
        return -1;
    }
    bool named = s->kind == SOCK_KIND_UNIX && !s->abstract;
    if (named && !sock_clear_name((const struct sockaddr *)&a.list[0].sa, a.list[0].len, errp)) {
        return -1;
    }
    int fd = -1;
    errno = EADDRNOTAVAIL;
    for (unsigned i = 0; i < a.n && fd < 0; i++) {
        unsigned port = s->kind == SOCK_KIND_INET ? get_port(&a.list[i].sa) : 0;
        do {
            if (s->kind == SOCK_KIND_INET) {
                set_port(&a.list[i].sa, port);
            }
            fd = listen_one(&a.list[i].sa, a.list[i].len, backlog);
        } while (fd < 0 && errno == EADDRINUSE && ++port <= s->to);
    }
    if (fd < 0) {
        int err = errno;
        g_autofree char *where = sock_text(s);
        g_autofree char *who = NULL;
        if (err == EADDRINUSE && s->kind == SOCK_KIND_INET && a.n) {
            who = who_listens_tcp((const struct sockaddr *)&a.list[0].sa);
        }
        error_set_errno(errp, err, "cannot listen at %s", where);
        if (who) {
            error_hint(errp, "it is %s", who);
        }
        return -1;
    }
    *path = named ? g_strdup(s->path) : NULL;
    return fd;
}

int sock_take_fd(const char *number, Error **errp)
{
    uint64_t n;
    int fd = text_to_u64(number, &n, NULL) && n <= INT32_MAX ? fcntl((int)n, F_DUPFD_CLOEXEC, 0) : -1, type;
    socklen_t len = sizeof(type);
    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM) {
        if (fd >= 0) {
            close(fd);
        }
        error_fail(errp, "invalid-value", "addr", "pass an open socket of type SOCK_STREAM",
                   "'%s' is not the number of an open stream socket", number);
        return -1;
    }
    sock_tune(fd);
    return fd;
}
