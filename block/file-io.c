/* SPDX-License-Identifier: MIT
 * block/file-io.c - one request to a descriptor, by the engine the node chose.
 *
 * Models: short transfers go on where they stopped; reads beyond the end give zeros. With aio=threads a
 * buffered read is first tried without waiting (RWF_NOWAIT): what the page cache holds needs no other
 * thread. Buffered writes to a regular file all go through one worker: file systems hold the inode's lock
 * meanwhile, so that more of them would only wait for each other. One that takes several is woken once.
 * In bulk (block_set_bulk) both sides of the queue look out for each other before they sleep.
 * Threads: coroutines on any loop.
 */
#include "internal.h"
#include "rhea/util/loop.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NOWAIT_MAX = 128 * 1024 };       /* a longer copy would keep the loop busy */
enum { BULK_LOOK_NS = 200 * 1000 };     /* what waking a thread costs at worst, on a virtual machine */
enum { NO_BULK, LOOK_OUT, IN_PLACE };
static int bulk; /* atomic */

void block_set_bulk(bool on)
{
    int how = !on ? NO_BULK : g_get_num_processors() > 1 ? LOOK_OUT : IN_PLACE;
    __atomic_store_n(&bulk, how, __ATOMIC_RELAXED);
}

static int bulk_now(void)
{
    return __atomic_load_n(&bulk, __ATOMIC_RELAXED);
}

typedef struct RwCall {
    int fd, flags;
    bool write;
    int64_t off;
    const struct iovec *iov;
    unsigned n;
    ssize_t done;
} RwCall;

static int rw_call(void *opaque)
{
    RwCall *c = opaque;
    do {
        c->done =
            c->write ? pwritev(c->fd, c->iov, (int)c->n, c->off) : preadv(c->fd, c->iov, (int)c->n, c->off);
    } while (c->done < 0 && errno == EINTR);
    return c->done < 0 ? -errno : 0;
}

/* ---- the one writer of a file ---- */

typedef struct FileWrite {
    RwCall call;
    size_t bytes;
    int result;
    Co *co;
    struct FileWrite *next;
} FileWrite;

/* So many requests, or so many bytes, are done before those who wait hear of it: a wake-up costs as much as a
 * small write, and a large one's owner has the next to prepare. */
enum { WRITES_AT_ONCE = 8, BYTES_AT_ONCE = 512 * 1024 };

void file_io_init(FileIo *io)
{
    pthread_mutex_init(&io->writer.lock, NULL);
    io->writer.last = &io->writer.first;
}

/* In bulk the writer still looks out for a while when nothing is left to write. */
void file_io_fini(FileIo *io)
{
    __atomic_store_n(&io->writer.closing, true, __ATOMIC_RELAXED);
    for (bool busy = true; busy;) {
        pthread_mutex_lock(&io->writer.lock);
        busy = io->writer.busy;
        pthread_mutex_unlock(&io->writer.lock);
        if (busy) {
            sched_yield();
        }
    }
    pthread_mutex_destroy(&io->writer.lock);
}

/* Some writes off the list, the oldest first; with none left the writer's work is over. */
static FileWrite *writer_take(FileIo *io)
{
    unsigned most = bulk_now() ? 1 : WRITES_AT_ONCE;
    pthread_mutex_lock(&io->writer.lock);
    FileWrite *some = io->writer.first, **end = &io->writer.first;
    size_t bytes = 0;
    for (unsigned i = 0; i < most && bytes < BYTES_AT_ONCE && *end; i++) {
        bytes += (*end)->bytes;
        end = &(*end)->next;
    }
    __atomic_store_n(&io->writer.first, *end, __ATOMIC_RELAXED);
    *end = NULL;
    if (!io->writer.first) {
        io->writer.last = &io->writer.first;
    }
    io->writer.busy = some != NULL;
    pthread_mutex_unlock(&io->writer.lock);
    return some;
}

static void writer_wake(FileWrite *done)
{
    for (FileWrite *next; done; done = next) {
        next = done->next;
        co_wake(done->co);
    }
}

static void writer_look_out(FileIo *io)
{
    int64_t until = clock_now(&clock_host_monotonic) + BULK_LOOK_NS;
    while (!__atomic_load_n(&io->writer.first, __ATOMIC_RELAXED) &&
           !__atomic_load_n(&io->writer.closing, __ATOMIC_RELAXED) &&
           clock_now(&clock_host_monotonic) < until) {
        __builtin_ia32_pause();
    }
}

/* The last ones are woken after the writer has let go of the file: they may close it. In bulk that waits. */
static int writer_run(void *opaque)
{
    FileIo *io = opaque;
    FileWrite *some, *done = NULL;
    do {
        if (bulk_now() && done) {
            writer_wake(done);
            done = NULL;
            writer_look_out(io);
        }
        some = writer_take(io);
        writer_wake(done);
        for (FileWrite *w = some; w; w = w->next) {
            w->result = rw_call(&w->call);
        }
        done = some;
    } while (some);
    return 0;
}

static int writer_submit(FileIo *io, const RwCall *call, size_t bytes, ssize_t *done)
{
    FileWrite w = { .call = *call, .bytes = bytes, .co = co_self() };
    pthread_mutex_lock(&io->writer.lock);
    __atomic_store_n(io->writer.last, &w, __ATOMIC_RELAXED);
    io->writer.last = &w.next;
    bool start = !io->writer.busy;
    io->writer.busy = true;
    pthread_mutex_unlock(&io->writer.lock);
    if (start) {
        io->writer.work = (WorkItem){ .fn = writer_run, .opaque = io };
        if (!worker_post(io->workers, &io->writer.work)) {
            writer_run(io); /* here, when no thread can be made */
        }
    }
    co_yield();
    *done = w.call.done;
    return w.result;
}

static ssize_t threads_rw(FileIo *io, bool write, int64_t off, const struct iovec *iov, unsigned n,
                          size_t bytes)
{
    if (!write && (bytes <= NOWAIT_MAX || bulk_now()) && __atomic_load_n(&io->nowait, __ATOMIC_RELAXED)) {
        ssize_t r = preadv2(io->fd, iov, (int)n, off, RWF_NOWAIT);
        if (r > 0) {
            return r;
        }
        if (r < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)) {
            __atomic_store_n(&io->nowait, false, __ATOMIC_RELAXED);
        }
    }
    RwCall c = { .fd = io->fd, .write = write, .off = off, .iov = iov, .n = n };
    int r = !write || !io->one_writer ? worker_run(io->workers, rw_call, &c)
            : bulk_now() == IN_PLACE  ? rw_call(&c)
                                      : writer_submit(io, &c, bytes, &c.done);
    return r < 0 ? r : c.done;
}

static ssize_t engine_rw(FileIo *io, bool write, int64_t off, const struct iovec *iov, unsigned n,
                         size_t bytes)
{
    switch (io->aio) {
    case BLOCK_AIO_IO_URING: return uring_rw(io->fd, write, off, iov, n);
    case BLOCK_AIO_NATIVE: return aio_rw(io->fd, write, off, iov, n);
    case BLOCK_AIO_THREADS: break;
    }
    return threads_rw(io, write, off, iov, n, bytes);
}

int file_io_rw(FileIo *io, bool write, int64_t off, IoVec *v)
{
    size_t done = 0;
    while (done < v->bytes) {
        IoVec rest;
        iov_init(&rest);
        const IoVec *now = v;
        if (done > 0 || v->n > IOV_MAX) {
            iov_add_slice(&rest, v, done, v->bytes - done);
            now = &rest;
        }
        ssize_t r = engine_rw(io, write, off + (int64_t)done, now->iov, MIN(now->n, IOV_MAX), now->bytes);
        iov_fini(&rest);
        if (r < 0) {
            return (int)r;
        }
        bool at_end = !write && (off + (int64_t)done + r) % 512; /* a read stops there only at the end */
        if (r == 0 || at_end) {
            if (write) {
                return -ENOSPC;
            }
            done += (size_t)r;
            iov_fill(v, done, 0, v->bytes - done);
            break;
        }
        done += (size_t)r;
    }
    return 0;
}

static int sync_call(void *opaque)
{
    const FileIo *io = opaque;
    return fdatasync(io->fd) < 0 ? -errno : 0;
}

int file_io_sync(FileIo *io)
{
    if (io->aio == BLOCK_AIO_IO_URING) {
        return uring_sync(io->fd);
    }
    return worker_run(io->workers, sync_call, io);
}
