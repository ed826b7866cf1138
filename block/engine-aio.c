/* SPDX-License-Identifier: MIT
 * block/engine-aio.c - requests through the kernel's AIO (aio=native), one context per loop.
 *
 * Models: io_submit(2) and io_getevents(2) by system call; an eventfd tells of completions. Only descriptors
 * with O_DIRECT are truly asynchronous there, so only those come here. When the queue is full, requests wait
 * in order. Threads: a context belongs to its loop's thread.
 */
#include "internal.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { AIO_EVENTS = 256, AIO_BATCH = 32 };

typedef struct AioRequest {
    struct iocb cb;
    Co *co;
    int64_t result;
    struct AioRequest *next;
} AioRequest;

typedef struct Aio {
    aio_context_t ctx;
    int event_fd;
    FdWatch watch;
    unsigned in_flight;
    AioRequest *first, **last; /* not submitted */
} Aio;

static void aio_submit(Aio *a)
{
    while (a->first && a->in_flight < AIO_EVENTS) {
        struct iocb *batch[AIO_BATCH];
        AioRequest *r = a->first;
        long n = 0;
        for (; r && n < AIO_BATCH && a->in_flight + n < AIO_EVENTS; r = r->next) {
            batch[n++] = &r->cb;
        }
        long done = syscall(SYS_io_submit, a->ctx, n, batch);
        if (done < 0) {
            if (errno == EAGAIN && a->in_flight) {
                return; /* again when something completes */
            }
            AioRequest *bad = a->first;
            bad->result = -errno;
            a->first = bad->next;
            co_wake(bad->co);
            done = 0;
        }
        a->in_flight += (unsigned)done;
        while (done-- > 0) {
            a->first = a->first->next;
        }
        if (!a->first) {
            a->last = &a->first;
        }
    }
}

static void aio_ready(void *opaque, unsigned revents)
{
    Aio *a = opaque;
    uint64_t count;
    while (read(a->event_fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
    struct io_event events[AIO_BATCH];
    struct timespec now = { 0 };
    long n;
    do {
        n = syscall(SYS_io_getevents, a->ctx, 0, AIO_BATCH, events, &now);
        for (long i = 0; i < n; i++) {
            AioRequest *r = (AioRequest *)(uintptr_t)events[i].data;
            r->result = events[i].res;
            a->in_flight--;
            co_resume(r->co);
        }
    } while (n == AIO_BATCH);
    aio_submit(a);
}

static void aio_free(void *value)
{
    Aio *a = value;
    if (a) {
        fd_watch_remove(&a->watch);
        syscall(SYS_io_destroy, a->ctx);
        close(a->event_fd);
        g_free(a);
    }
}

static void *aio_make(Loop *loop)
{
    Aio *a = g_new0(Aio, 1);
    a->last = &a->first;
    a->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (a->event_fd < 0 || syscall(SYS_io_setup, AIO_EVENTS, &a->ctx) < 0) {
        if (a->event_fd >= 0) {
            close(a->event_fd);
        }
        g_free(a);
        return NULL;
    }
    a->watch = (FdWatch){ .fd = a->event_fd, .events = LOOP_IN, .ready = aio_ready, .opaque = a };
    if (!fd_watch_add(loop, &a->watch, NULL)) {
        syscall(SYS_io_destroy, a->ctx);
        close(a->event_fd);
        g_free(a);
        return NULL;
    }
    return a;
}

static const LoopLocal aio_local = { aio_make, aio_free };

bool aio_supported(Error **errp)
{
    aio_context_t ctx = 0;
    if (syscall(SYS_io_setup, 1, &ctx) < 0) {
        return error_set_errno(errp, errno, "the kernel gives no AIO context");
    }
    syscall(SYS_io_destroy, ctx);
    return true;
}

ssize_t aio_rw(int fd, bool write, int64_t off, const struct iovec *iov, unsigned n)
{
    Aio *a = loop_local(co_loop(), &aio_local);
    if (!a) {
        return -ENOSYS;
    }
    AioRequest r = { .co = co_self() };
    r.cb = (struct iocb){ .aio_data = (uintptr_t)&r,
                          .aio_lio_opcode = write ? IOCB_CMD_PWRITEV : IOCB_CMD_PREADV,
                          .aio_fildes = (uint32_t)fd,
                          .aio_buf = (uintptr_t)iov,
                          .aio_nbytes = n,
                          .aio_offset = off,
                          .aio_flags = IOCB_FLAG_RESFD,
                          .aio_resfd = (uint32_t)a->event_fd };
    *a->last = &r;
    a->last = &r.next;
    aio_submit(a);
    co_yield ();
    return r.result;
}
