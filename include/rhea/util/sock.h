/* SPDX-License-Identifier: MIT
 * rhea/util/sock.h - addresses of stream sockets: from what a user wrote to a descriptor.
 *
 * A SockSpec borrows its texts. Descriptors made here are non-blocking and close-on-exec. Any thread.
 */
#ifndef RHEA_UTIL_SOCK_H
#define RHEA_UTIL_SOCK_H

#include "rhea/util/error.h"
#include <sys/socket.h>

typedef enum SockKind { SOCK_KIND_INET, SOCK_KIND_UNIX, SOCK_KIND_FD } SockKind;

typedef struct SockSpec {
    SockKind kind;
    const char *host, *port; /* inet; host "": all of the host's own addresses, for a server */
    unsigned to;             /* inet, a server: the last port to try; 0: the one port */
    bool no_ipv4, no_ipv6, keep_alive;
    const char *path; /* unix */
    bool abstract, loose; /* unix: in the abstract name space; its name is filled up with zeros */
    const char *fd;   /* fd: its number */
} SockSpec;

typedef struct SockAddrs {
    struct {
        struct sockaddr_storage sa;
        socklen_t len;
    } list[8];
    unsigned n;
} SockAddrs;

char *sock_text(const SockSpec *s); /* "unix:PATH", "tcp:HOST:PORT", "fd:N"; g_free */
/* Not of SOCK_KIND_FD. Looks names up, which may take long. */
bool sock_resolve(const SockSpec *s, bool server, SockAddrs *out, Error **errp);
/* A listening socket; a name of a unix socket that nobody serves is taken over. *path: the name to unlink at
 * the end, or NULL; g_free. */
int sock_listen(const SockSpec *s, int backlog, char **path, Error **errp);
/* Before bind(): the name of a unix socket that was left behind is taken away; one that somebody serves, or
 * that is no socket, is not, and makes it fail. */
bool sock_clear_name(const struct sockaddr *sa, socklen_t len, Error **errp);
/* A copy of an open stream socket. */
int sock_take_fd(const char *number, Error **errp);
void sock_keep_alive(int fd); /* the kernel looks from time to time whether the peer is still there */
void sock_tune(int fd); /* non-blocking, close-on-exec, small pieces are sent at once */

#endif
