/* SPDX-License-Identifier: MIT
 * block/nbd-stream.c - NBD: bytes to and from a socket, for coroutines of both sides.
 *
 * Models: small reads come from a buffer, large ones go straight into the caller's memory. The socket has two
 *         descriptors, since an epoll set takes each only once: the reader's loop watches one, a writer that
 *         finds the socket full watches the other on its own loop.
 * Threads: one reader on its loop; writers on any, one at a time.
 */
#include "nbd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { IN_BYTES = 32 * 1024, WINDOW = 64 };

/* proto.md, "Error values". */
static const struct {
    uint32_t wire;
    int ours;
} errors[] = {
    { 1, EPERM },      { 5, EIO },        { 12, ENOMEM }, { 22, EINVAL }, { 28, ENOSPC },
    { 75, EOVERFLOW }, { 95, EOPNOTSUPP }, { 108, ESHUTDOWN },
};

uint32_t nbd_error_to_wire(int negative_errno)
{
    int e = -negative_errno;
    e = e == ENOTSUP ? EOPNOTSUPP : e == EROFS ? EPERM : e == EDQUOT || e == EFBIG ? ENOSPC : e;
    for (unsigned i = 0; i < G_N_ELEMENTS(errors); i++) {
        if (errors[i].ours == e) {
            return errors[i].wire;
        }
    }
    return e == EAGAIN || e == EMFILE || e == ENFILE ? 12 : 5;
}

int nbd_error_from_wire(uint32_t error)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(errors); i++) {
        if (errors[i].wire == error) {
            return -errors[i].ours;
        }
    }
    return -EINVAL;
}

const char *nbd_option_name(uint32_t option)
{
    static const char *const names[] = {
        [NBD_OPT_EXPORT_NAME] = "EXPORT_NAME",
        [NBD_OPT_ABORT] = "ABORT",
        [NBD_OPT_LIST] = "LIST",
        [NBD_OPT_STARTTLS] = "STARTTLS",
        [NBD_OPT_INFO] = "INFO",
        [NBD_OPT_GO] = "GO",
        [NBD_OPT_STRUCTURED_REPLY] = "STRUCTURED_REPLY",
        [NBD_OPT_LIST_META_CONTEXT] = "LIST_META_CONTEXT",
        [NBD_OPT_SET_META_CONTEXT] = "SET_META_CONTEXT",
    };
    return option < G_N_ELEMENTS(names) && names[option] ? names[option] : "?";
}

const char *nbd_read_problem(int r)
{
    return r == -ENODATA ? "the connection was closed" : g_strerror(-r);
}

/* ---- waiting ---- */

typedef struct FdWait {
    Co *co;
    FdWatch watch;
    Timer timer;
    bool ready, late;
} FdWait;

static void fd_wait_end(FdWait *w)
{
    if (w->co) {
        Co *co = w->co;
        w->co = NULL;
        co_resume(co);
    }
}

static void fd_wait_ready(void *opaque, unsigned revents)
{
    FdWait *w = opaque;
    w->ready = true;
    fd_wait_end(w);
}

static void fd_wait_late(void *opaque)
{
    FdWait *w = opaque;
    w->late = true;
    fd_wait_end(w);
}

bool nbd_wait_fd(int fd, unsigned events, int64_t deadline)
{
    FdWait w = { .co = co_self() };
    w.watch = (FdWatch){ .fd = fd, .events = events, .ready = fd_wait_ready, .opaque = &w };
    if (!fd_watch_add(co_loop(), &w.watch, NULL)) {
        return false;
    }
    if (deadline != INT64_MAX) {
        timer_init(&w.timer, co_loop(), &clock_host_monotonic, fd_wait_late, &w);
        timer_arm(&w.timer, deadline);
    }
    co_yield ();
    if (deadline != INT64_MAX) {
        timer_cancel(&w.timer);
    }
    fd_watch_remove(&w.watch);
    return w.ready;
}

/* ---- the stream ---- */

bool nbd_stream_open(NbdStream *s, int fd, Error **errp)
{
    *s = (NbdStream){ .fd = fd, .out = fcntl(fd, F_DUPFD_CLOEXEC, 0) };
    if (s->out < 0) {
        error_set_errno(errp, errno, "cannot copy a socket's descriptor");
        close(fd);
        s->fd = -1;
        return false;
    }
    sock_tune(fd);
    s->buf = g_malloc(IN_BYTES);
    return true;
}

void nbd_stream_close(NbdStream *s)
{
    g_assert(!s->reader);
    fd_watch_remove(&s->in);
    if (s->fd >= 0) {
        close(s->fd);
        close(s->out);
    }
    s->fd = s->out = -1;
    g_clear_pointer(&s->buf, g_free);
}

void nbd_stream_shutdown(NbdStream *s)
{
    shutdown(s->fd, SHUT_RDWR);
}

static void stream_ready(void *opaque, unsigned revents)
{
    NbdStream *s = opaque;
    Co *co = s->reader;
    if (co) {
        s->reader = NULL;
        co_resume(co);
    } else {
        fd_watch_set(&s->in, 0); /* no reader: what comes stays in the socket until wait_readable() asks */
    }
}

static int wait_readable(NbdStream *s)
{
    if (!s->in.loop) {
        s->in = (FdWatch){ .fd = s->fd, .events = LOOP_IN, .ready = stream_ready, .opaque = s };
        if (!fd_watch_add(co_loop(), &s->in, NULL)) {
            return -ENOMEM;
        }
    }
    fd_watch_set(&s->in, LOOP_IN);
    s->reader = co_self();
    co_yield ();
    return 0;
}

/* Some bytes, at least one. */
static ssize_t receive(NbdStream *s, struct iovec *iov, unsigned n)
{
    for (;;) {
        struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
        ssize_t r = recvmsg(s->fd, &m, 0);
        if (r > 0) {
            return r;
        }
        int err = r == 0 ? ENODATA : errno;
        if (err == EAGAIN) {
            int w = wait_readable(s);
            if (w < 0) {
                return w;
            }
        } else if (err != EINTR) {
            return -err;
        }
    }
}

static int refill(NbdStream *s)
{
    struct iovec iov = { s->buf, IN_BYTES };
    ssize_t r = receive(s, &iov, 1);
    s->at = 0;
    s->have = r > 0 ? (size_t)r : 0;
    return r < 0 ? (int)r : 0;
}

int nbd_read(NbdStream *s, void *buf, size_t len)
{
    IoVec v;
    if (len == 0) { /* without a buffer */
        return 0;
    }
    if (s->have - s->at >= len) {
        memcpy(buf, s->buf + s->at, len);
        s->at += len;
        return 0;
    }
    iov_init_buf(&v, buf, len);
    return nbd_read_iov(s, &v, 0, len);
}

/* The elements behind the first `off` bytes, at most `len` bytes of them. */
static unsigned window(const IoVec *v, size_t off, size_t len, struct iovec *out)
{
    unsigned n = 0;
    for (unsigned i = 0; i < v->n && n < WINDOW && len > 0; i++) {
        size_t have = v->iov[i].iov_len;
        if (off >= have) {
            off -= have;
            continue;
        }
        size_t use = MIN(have - off, len);
        out[n++] = (struct iovec){ (uint8_t *)v->iov[i].iov_base + off, use };
        len -= use;
        off = 0;
    }
    return n;
}

int nbd_read_iov(NbdStream *s, const IoVec *v, size_t off, size_t len)
{
    while (len > 0) {
        size_t kept = MIN(s->have - s->at, len);
        if (kept == 0 && len < IN_BYTES) {
            int r = refill(s);
            if (r < 0) {
                return r;
            }
            continue;
        }
        if (kept > 0) {
            iov_from_buf(v, off, s->buf + s->at, kept);
            s->at += kept;
        } else {
            struct iovec win[WINDOW];
            ssize_t r = receive(s, win, window(v, off, len, win));
            if (r < 0) {
                return (int)r;
            }
            kept = (size_t)r;
        }
        off += kept;
        len -= kept;
    }
    return 0;
}

int nbd_skip(NbdStream *s, uint64_t len)
{
    while (len > 0) {
        size_t kept = (size_t)MIN(s->have - s->at, len);
        if (kept == 0) {
            int r = refill(s);
            if (r < 0) {
                return r;
            }
        }
        s->at += kept;
        len -= kept;
    }
    return 0;
}

int nbd_write_iov(NbdStream *s, const IoVec *v)
{
    for (size_t off = 0; off < v->bytes;) {
        struct iovec win[WINDOW];
        struct msghdr m = { .msg_iov = win, .msg_iovlen = window(v, off, v->bytes - off, win) };
        ssize_t r = sendmsg(s->out, &m, MSG_NOSIGNAL);
        if (r < 0 && errno == EAGAIN) {
            if (!nbd_wait_fd(s->out, LOOP_OUT, INT64_MAX)) {
                return -ENOMEM;
            }
        } else if (r < 0 && errno != EINTR) {
            return -errno;
        }
        off += r > 0 ? (size_t)r : 0;
    }
    return 0;
}

int nbd_write(NbdStream *s, const void *buf, size_t len)
{
    IoVec v;
    iov_init_buf(&v, (void *)buf, len);
    return nbd_write_iov(s, &v);
}
