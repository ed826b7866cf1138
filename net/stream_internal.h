/* SPDX-License-Identifier: MIT
 * net/stream_internal.h - a back end whose frames go over a stream socket: stream.c, and passt.c, which has
 * another way to a peer.
 */
#ifndef NET_STREAM_INTERNAL_H
#define NET_STREAM_INTERNAL_H

#include "frames.h"

typedef struct Stream {
    NetClient *client;
    FrameLink link;
    int listen_fd, trying; /* -1: none; trying: not connected yet */
    FdWatch listen_watch, try_watch;
    SockAddrs addrs; /* of a client: where to connect, */
    unsigned next;   /* and which of them it tries */
    Timer retry;
    int64_t reconnect_ns; /* 0: never again */
    bool said;            /* that there is nobody, since somebody was there */
    bool complained;      /* of nonsense: one line, however often a peer comes with more */
    char *where, *path;   /* path: a name in the file system that is ours */
    NetSocketType type;
    char *name; /* as the user wrote it: a unix socket's, a descriptor's */
    void (*gone)(struct Stream *s); /* may be NULL: the peer has gone, which events have told */
} Stream;

void net_stream_init(Stream *s, NetClient *c); /* zeroed; a state's first member */
bool net_stream_connected(Stream *s, int fd, Error **errp); /* takes fd */
/* What a NetKind has, of a state that begins with a Stream. */
bool net_stream_receive(NetClient *c, const NetFrame *f);
void net_stream_resumed(NetClient *c);
void net_stream_close(NetClient *c);
void net_stream_describe(const NetClient *c, GString *out);

#endif
