/* SPDX-License-Identifier: MIT
 * net/frames.c - frames over a connected stream socket.
 *
 * Models: QEMU's format: each frame behind its length, four bytes, the highest first. What comes is bounded
 *         by the length that it names; another length ends the link. Threads: main loop.
 */
#include "frames.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { LENGTH = 4, IN_BYTES = 256 * 1024 };

void frame_link_init(FrameLink *l, const FrameLinkOps *ops, void *opaque)
{
    *l = (FrameLink){ .ops = ops, .opaque = opaque, .fd = -1 };
}

void frame_link_close(FrameLink *l)
{
    if (l->fd >= 0) {
        fd_watch_remove(&l->watch);
        close(l->fd);
        g_free(l->buf);
        frame_link_init(l, l->ops, l->opaque);
    }
}

static void end(FrameLink *l, size_t nonsense)
{
    frame_link_close(l);
    l->ops->gone(l->opaque, nonsense);
}

void frame_link_update(FrameLink *l)
{
    if (l->fd >= 0) {
        bool read = !l->ops->may_read || l->ops->may_read(l->opaque);
        fd_watch_set(&l->watch, (read ? LOOP_IN : 0) | (l->out_len ? LOOP_OUT : 0));
    }
}

/* ---- out ---- */

static bool flush_out(FrameLink *l)
{
    while (l->out_len) {
        ssize_t n = send(l->fd, l->out + l->out_at, l->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN;
        }
        l->out_at += (size_t)n;
        l->out_len -= (size_t)n;
    }
    l->out_at = 0;
    return true;
}

bool frame_link_send(FrameLink *l, const uint8_t *data, size_t len)
{
    if (l->fd < 0) {
        return true;
    }
    if (l->out_len) {
        return false;
    }
    uint8_t length[LENGTH] = { (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                               (uint8_t)len };
    struct iovec iov[2] = { { length, LENGTH }, { (void *)data, len } };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
    ssize_t n;
    do {
        n = sendmsg(l->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN) {
        return true; /* the loop tells, too: a broken socket hangs up */
    }
    size_t done = n < 0 ? 0 : (size_t)n;
    if (done < LENGTH + len) { /* the rest is kept: a stream has no half frames */
        memcpy(l->out, length, LENGTH);
        memcpy(l->out + LENGTH, data, len);
        l->out_at = done;
        l->out_len = LENGTH + len - done;
        frame_link_update(l);
    }
    return true;
}

/* ---- in ---- */

/* False: the link is closed. */
static bool take_frames(FrameLink *l)
{
    size_t at = 0;
    while (l->have - at >= LENGTH) {
        const uint8_t *p = l->buf + at;
        size_t len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (len < NET_ETH || len > NET_FRAME_MAX) {
            end(l, len);
            return false;
        }
        if (l->have - at - LENGTH < len) {
            break;
        }
        l->ops->frame(l->opaque, p + LENGTH, len);
        if (l->fd < 0) {
            return false;
        }
        at += LENGTH + len;
    }
    l->have -= at;
    memmove(l->buf, l->buf + at, l->have);
    return true;
}

static void link_ready(void *opaque, unsigned revents)
{
    FrameLink *l = opaque;
    if (!flush_out(l)) {
        end(l, SIZE_MAX);
        return;
    }
    if (!l->out_len) {
        l->ops->writable(l->opaque);
    }
    if (l->fd >= 0 && (revents & (LOOP_IN | LOOP_HUP))) {
        ssize_t n = recv(l->fd, l->buf + l->have, IN_BYTES - l->have, MSG_DONTWAIT);
        bool again = n < 0 && (errno == EAGAIN || errno == EINTR);
        l->have += n > 0 ? (size_t)n : 0;
        if (n <= 0 && !again) {
            end(l, SIZE_MAX);
            return;
        }
        if (!take_frames(l)) {
            return;
        }
    }
    frame_link_update(l);
}

bool frame_link_open(FrameLink *l, Loop *loop, int fd, Error **errp)
{
    sock_tune(fd);
    l->watch = (FdWatch){ .fd = fd, .events = LOOP_IN, .ready = link_ready, .opaque = l };
    if (!fd_watch_add(loop, &l->watch, errp)) {
        close(fd);
        return false;
    }
    l->fd = fd;
    l->buf = g_malloc(IN_BYTES + LENGTH + NET_FRAME_MAX);
    l->out = l->buf + IN_BYTES;
    return true;
}
