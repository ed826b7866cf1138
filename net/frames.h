/* SPDX-License-Identifier: MIT
 * net/frames.h - frames over a connected stream socket, each behind its length: what stream, passt and switch
 * share.
 */
#ifndef NET_FRAMES_H
#define NET_FRAMES_H

#include "net_internal.h"

/* Called on the main loop. A callback may close the link that it is called for. */
typedef struct FrameLinkOps {
    void (*frame)(void *opaque, const uint8_t *data, size_t len); /* NET_ETH to NET_FRAME_MAX bytes */
    bool (*may_read)(void *opaque); /* NULL: always; frame_link_update() when that changes */
    void (*writable)(void *opaque); /* frame_link_send() takes one again; also now and then without need */
    /* The link is closed: the peer has gone, or named a frame of `nonsense` bytes (otherwise SIZE_MAX). */
    void (*gone)(void *opaque, size_t nonsense);
} FrameLinkOps;

typedef struct FrameLink {
    const FrameLinkOps *ops;
    void *opaque;
    int fd; /* -1: closed */
    FdWatch watch;
    uint8_t *buf, *out; /* buf: what comes; out, in the same block: what the socket did not take of a frame */
    size_t have, out_at, out_len;
} FrameLink;

void frame_link_init(FrameLink *l, const FrameLinkOps *ops, void *opaque); /* closed */
bool frame_link_open(FrameLink *l, Loop *loop, int fd, Error **errp);      /* takes fd, also when it fails */
void frame_link_close(FrameLink *l);                                       /* gone() is not called */
/* False: one before it is not out yet. A peer that has gone takes all; gone() follows from the loop. */
bool frame_link_send(FrameLink *l, const uint8_t *data, size_t len);
void frame_link_update(FrameLink *l);

#endif
