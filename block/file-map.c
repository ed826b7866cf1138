/* SPDX-License-Identifier: MIT
 * block/file-map.c - a part of a file as memory: who looks at bytes, or passes them on, needs no copy.
 *
 * Models: windows of the page cache (mmap). A page that the file cannot show any more (it was cut short, a
 *         sector is not readable) is a SIGBUS for who looks at it: the handler puts zeros there and notes
 * that the window is not what the file holds, which block_map_ok() tells; the bytes are then read the
 *         ordinary way, where the same is an error or zeros. Other SIGBUS go to whom they went before.
 * Threads: any; the table of windows is atomics, since a signal handler reads it.
 */
#include "internal.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WINDOWS = 64 }; /* at a time; who gets none reads */

typedef struct Window {
    uintptr_t start, end; /* atomics; start == 0: not in use; `end` is set first */
    bool taken, lost;     /* atomics */
} Window;

static Window windows[WINDOWS];
static struct sigaction before; /* who had SIGBUS; written once */
static uintptr_t page_size;

static void on_bus(int sig, siginfo_t *info, void *context)
{
    int err = errno;
    uintptr_t at = (uintptr_t)info->si_addr & ~(page_size - 1);
    for (unsigned i = 0; info->si_code > 0 && i < WINDOWS; i++) {
        Window *w = &windows[i];
        uintptr_t start = __atomic_load_n(&w->start, __ATOMIC_ACQUIRE);
        if (start && at >= start && at < __atomic_load_n(&w->end, __ATOMIC_RELAXED) &&
            mmap((void *)at, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
                MAP_FAILED) {
            __atomic_store_n(&w->lost, true, __ATOMIC_RELEASE);
            errno = err;
            return;
        }
    }
    errno = err;
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(sig, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(sig);
    } else {
        sigaction(SIGBUS, &before, NULL); /* a fault comes again at once, a signal that was sent does not */
        if (info->si_code <= 0) {
            raise(sig);
        }
    }
}

static bool catch_bus(void)
{
    static gsize once; /* 1: caught, 2: that failed */
    if (g_once_init_enter(&once)) {
        struct sigaction act = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };
        sigemptyset(&act.sa_mask);
        page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
        g_once_init_leave(&once, sigaction(SIGBUS, &act, &before) == 0 ? 1 : 2);
    }
    return once == 1;
}

static Window *window_take(void)
{
    for (unsigned i = 0; i < WINDOWS; i++) {
        if (!__atomic_test_and_set(&windows[i].taken, __ATOMIC_ACQUIRE)) {
            return &windows[i];
        }
    }
    return NULL;
}

typedef struct MapCall {
    int fd;
    off_t off;
    size_t len;
    void *at;
} MapCall;

/* What is not in the page cache is read here. */
static int map_call(void *opaque)
{
    MapCall *c = opaque;
    c->at = mmap(NULL, c->len, PROT_READ, MAP_SHARED, c->fd, c->off);
    if (c->at == MAP_FAILED) {
        return -errno;
    }
    if (madvise(c->at, c->len, MADV_POPULATE_READ) < 0 && errno != EINVAL) { /* EINVAL: an old kernel */
        int err = errno;
        munmap(c->at, c->len);
        return -err;
    }
    return 0;
}

/* Both ends are in the page cache: then the rest is, too, or the wait is short. */
static bool is_cached(FileIo *io, int64_t off, int64_t bytes)
{
    uint8_t byte;
    struct iovec v = { &byte, 1 };
    return __atomic_load_n(&io->nowait, __ATOMIC_RELAXED) && preadv2(io->fd, &v, 1, off, RWF_NOWAIT) == 1 &&
           preadv2(io->fd, &v, 1, off + bytes - 1, RWF_NOWAIT) == 1;
}

int file_map(FileIo *io, int64_t off, int64_t bytes, BlockMap *out)
{
    Window *w = catch_bus() ? window_take() : NULL;
    if (!w) {
        return -ENOTSUP;
    }
    size_t skip = (size_t)off & (page_size - 1);
    MapCall c = { .fd = io->fd, .off = off - (int64_t)skip, .len = (size_t)bytes + skip };
    int r = is_cached(io, off, bytes) ? map_call(&c) : worker_run(io->workers, map_call, &c);
    if (r < 0) {
        __atomic_clear(&w->taken, __ATOMIC_RELEASE);
        return -ENOTSUP; /* an ordinary read tells what is wrong, if anything is */
    }
    __atomic_store_n(&w->lost, false, __ATOMIC_RELAXED);
    __atomic_store_n(&w->end, (uintptr_t)c.at + c.len, __ATOMIC_RELAXED);
    __atomic_store_n(&w->start, (uintptr_t)c.at, __ATOMIC_RELEASE);
    *out = (BlockMap){ .data = (uint8_t *)c.at + skip, .window = w };
    return 0;
}

bool block_map_ok(const BlockMap *m)
{
    return !__atomic_load_n(&((const Window *)m->window)->lost, __ATOMIC_ACQUIRE);
}

void block_unmap(BlockMap *m)
{
    Window *w = m->window;
    uintptr_t start = w->start;
    __atomic_store_n(&w->start, 0, __ATOMIC_RELEASE);
    munmap((void *)start, w->end - start);
    __atomic_clear(&w->taken, __ATOMIC_RELEASE);
    *m = (BlockMap){ 0 };
}
