/* SPDX-License-Identifier: MIT
 * backends/char/pty.c - a new pseudo-terminal; its path is printed.
 *
 * Models: pty(7): while no process has the terminal open, reads and writes of the master side report a
 * hang-up; what the guest says then vanishes, and a timer looks for a user.
 * Does not model: window sizes.
 * Threads: main loop.
 */
#include "char_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <termios.h>
#include <unistd.h>

enum { PTY_POLL_NS = 200 * 1000 * 1000 };

typedef struct PtyState {
    Chardev *chr;
    int fd;
    Timer poll;
    char *link; /* ours: removed at the end */
} PtyState;

static void pty_connected(PtyState *s, bool yes)
{
    if (yes) {
        timer_cancel(&s->poll);
        chardev_set_open(s->chr, true);
        chardev_set_fds(s->chr, s->fd, s->fd);
    } else {
        chardev_set_fds(s->chr, -1, -1);
        chardev_set_open(s->chr, false);
        timer_arm(&s->poll, clock_now(&clock_host_monotonic) + PTY_POLL_NS);
    }
}

static void pty_poll(void *opaque)
{
    PtyState *s = opaque;
    struct pollfd pfd = { .fd = s->fd, .events = POLLIN };
    bool there = poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLHUP);
    if (there) {
        pty_connected(s, true);
    } else {
        timer_arm(&s->poll, clock_now(&clock_host_monotonic) + PTY_POLL_NS);
    }
}

static void pty_hangup(Chardev *c)
{
    pty_connected(c->state, false);
}

static ssize_t pty_write(Chardev *c, const uint8_t *buf, size_t len)
{
    PtyState *s = c->state;
    ssize_t n = write(s->fd, buf, len);
    if (n < 0 && errno == EIO) { /* the user went away */
        pty_connected(s, false);
        return len;
    }
    return n < 0 ? -errno : n;
}

static bool pty_open(Chardev *c, const CharConfig *cfg, Error **errp)
{
    PtyState *s = c->state;
    char name[128];
    int slave;
    struct termios t;
    s->chr = c;
    if (openpty(&s->fd, &slave, name, NULL, NULL) < 0) {
        return error_set_errno(errp, errno, "could not create a pseudo-terminal");
    }
    if (tcgetattr(slave, &t) == 0) {
        cfmakeraw(&t);
        tcsetattr(slave, TCSAFLUSH, &t);
    }
    close(slave);
    fcntl(s->fd, F_SETFD, FD_CLOEXEC);
    fcntl(s->fd, F_SETFL, fcntl(s->fd, F_GETFL) | O_NONBLOCK);
    if (cfg->path) {
        if (symlink(name, cfg->path) < 0) {
            error_set_errno(errp, errno, "could not make '%s' a link to the pseudo-terminal", cfg->path);
            close(s->fd);
            return false;
        }
        s->link = g_strdup(cfg->path);
    }
    g_free(c->filename);
    c->filename = g_strdup_printf("pty:%s", name);
    /* The form scripts look for. */
    fprintf(stderr, "char device redirected to %s (label %s)\n", name, c->id);
    timer_init(&s->poll, c->loop, &clock_host_monotonic, pty_poll, s);
    pty_connected(s, false);
    return true;
}

static void pty_close(Chardev *c)
{
    PtyState *s = c->state;
    timer_cancel(&s->poll);
    close(s->fd);
    if (s->link) {
        unlink(s->link);
        g_free(s->link);
    }
}

const CharBackend char_pty_backend = {
    .name = "pty", .state_size = sizeof(PtyState), .open = pty_open, .close = pty_close, .write = pty_write,
    .hangup = pty_hangup,
};
