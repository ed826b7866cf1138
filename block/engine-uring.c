/* SPDX-License-Identifier: MIT
 * block/engine-uring.c - requests through io_uring, one ring per loop.
 *
 * Models: io_uring(7) with readv, writev and fsync. The ring's descriptor is readable when there are
 * completions. When the submission queue is full the coroutine asks the kernel to take what is there.
 * Threads: a ring belongs to its loop's thread.
 */
#include "config.h"
#include "internal.h"

#include <errno.h>

#if HAVE_LIBURING
#include <liburing.h>

enum { RING_ENTRIES = 256 };

typedef struct Uring {
    struct io_uring ring;
    FdWatch watch;
    Loop *loop;
    bool pending; /* prepared and not submitted */
    Task submit;  /* what the kernel could not take at once */
} Uring;

typedef struct UringRequest {
    Co *co;
    int result;
} UringRequest;

static void uring_reap(Uring *u)
{
    struct io_uring_cqe *cqe;
    while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
        UringRequest *r = io_uring_cqe_get_data(cqe);
        r->result = cqe->res;
        io_uring_cqe_seen(&u->ring, cqe);
        co_resume(r->co);
    }
}

static void uring_ready(void *opaque, unsigned revents)
{
    uring_reap(opaque);
}

static void uring_submit(Uring *u)
{
    int r = io_uring_submit(&u->ring);
    u->pending = r < 0;
    if (r < 0) { /* EAGAIN, EBUSY: short of memory or completions to be taken first */
        loop_post(u->loop, &u->submit);
    }
}

static void uring_submit_task(void *opaque)
{
    uring_submit(opaque);
}

static void *uring_make(Loop *loop)
{
    Uring *u = g_new0(Uring, 1);
    u->loop = loop;
    u->submit = (Task){ .run = uring_submit_task, .opaque = u };
    if (io_uring_queue_init(RING_ENTRIES, &u->ring, 0) < 0) {
        g_free(u);
        return NULL;
    }
    u->watch = (FdWatch){ .fd = u->ring.ring_fd, .events = LOOP_IN, .ready = uring_ready, .opaque = u };
    if (!fd_watch_add(loop, &u->watch, NULL)) {
        io_uring_queue_exit(&u->ring);
        g_free(u);
        return NULL;
    }
    return u;
}

static void uring_free(void *value)
{
    Uring *u = value;
    if (u) {
        fd_watch_remove(&u->watch);
        io_uring_queue_exit(&u->ring);
        g_free(u);
    }
}

static const LoopLocal uring_local = { uring_make, uring_free };

bool uring_supported(Error **errp)
{
    struct io_uring ring;
    int r = io_uring_queue_init(2, &ring, 0);
    if (r < 0) {
        return error_set_errno(errp, -r, "the kernel gives no io_uring");
    }
    io_uring_queue_exit(&ring);
    return true;
}

static struct io_uring_sqe *uring_sqe(Uring *u)
{
    struct io_uring_sqe *sqe;
    while (!(sqe = io_uring_get_sqe(&u->ring))) {
        uring_submit(u);
        if (u->pending) { /* let completions be taken */
            co_wake(co_self());
            co_yield ();
        }
    }
    return sqe;
}

static int uring_wait(Uring *u, struct io_uring_sqe *sqe)
{
    UringRequest r = { .co = co_self() };
    io_uring_sqe_set_data(sqe, &r);
    uring_submit(u);
    co_yield ();
    return r.result;
}

ssize_t uring_rw(int fd, bool write, int64_t off, const struct iovec *iov, unsigned n)
{
    Uring *u = loop_local(co_loop(), &uring_local);
    if (!u) {
        return -ENOSYS;
    }
    int r;
    do {
        struct io_uring_sqe *sqe = uring_sqe(u);
        if (write) {
            io_uring_prep_writev(sqe, fd, iov, n, (uint64_t)off);
        } else {
            io_uring_prep_readv(sqe, fd, iov, n, (uint64_t)off);
        }
        r = uring_wait(u, sqe);
    } while (r == -EINTR || r == -EAGAIN);
    return r;
}

int uring_sync(int fd)
{
    Uring *u = loop_local(co_loop(), &uring_local);
    if (!u) {
        return -ENOSYS;
    }
    int r;
    do {
        struct io_uring_sqe *sqe = uring_sqe(u);
        io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
        r = uring_wait(u, sqe);
    } while (r == -EINTR || r == -EAGAIN);
    return r;
}

#else

bool uring_supported(Error **errp)
{
    return error_set(errp, "this build has no liburing");
}

ssize_t uring_rw(int fd, bool write, int64_t off, const struct iovec *iov, unsigned n)
{
    return -ENOSYS;
}

int uring_sync(int fd)
{
    return -ENOSYS;
}
#endif
