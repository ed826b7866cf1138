/* SPDX-License-Identifier: MIT
 * tests/fuzz/feed.h - the far end of a socket pair on the loop: says the input's bytes, hears and forgets.
 */
#ifndef TESTS_FUZZ_FEED_H
#define TESTS_FUZZ_FEED_H

#include "rhea/util/loop.h"

#include <sys/socket.h>
#include <unistd.h>

typedef struct Feed {
    FdWatch watch;
    const uint8_t *data;
    size_t left;
} Feed;

static void feed_ready(void *opaque, unsigned revents)
{
    Feed *f = opaque;
    static uint8_t heard[65536];
    if (f->left) {
        ssize_t n = send(f->watch.fd, f->data, f->left, MSG_NOSIGNAL | MSG_DONTWAIT);
        f->left -= n > 0 ? (size_t)n : 0;
        f->data += n > 0 ? n : 0;
    }
    if (!f->left && f->watch.events & LOOP_OUT) {
        shutdown(f->watch.fd, SHUT_WR);
        fd_watch_set(&f->watch, LOOP_IN);
    }
    ssize_t n = recv(f->watch.fd, heard, sizeof(heard), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && revents & LOOP_HUP)) {
        fd_watch_set(&f->watch, 0); /* nobody listens any more */
    }
}

/* The near end, for the code under test. */
static int feed_start(Feed *f, Loop *loop, const uint8_t *data, size_t size)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
        abort();
    }
    *f = (Feed){ .data = data, .left = size };
    f->watch = (FdWatch){ .fd = fds[0], .events = LOOP_IN | LOOP_OUT, .ready = feed_ready, .opaque = f };
    fd_watch_add(loop, &f->watch, &error_abort_slot);
    return fds[1];
}

static void feed_end(Feed *f)
{
    fd_watch_remove(&f->watch);
    close(f->watch.fd);
}

#endif
