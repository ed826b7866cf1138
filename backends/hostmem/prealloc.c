/* SPDX-License-Identifier: MIT
 * backends/hostmem/prealloc.c - makes the host allocate memory now rather than when the guest touches it.
 *
 * Models: madvise(2) MADV_POPULATE_WRITE (Linux 5.14); before that, a write of what is there to each page,
 *         where memory or space that has run out is SIGBUS.
 * Threads: the caller waits; as many threads as it wants take pieces. A signal that ends programs ends it.
 */
#include "rhea/backends/hostmem.h"
#include "rhea/util/errorcode.h"
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { PIECE = 16 << 20, WAIT_MS = 50 };

typedef struct Fill {
    const HostMemFill *f;
    uint64_t piece;      /* a multiple of the page size */
    uint64_t next, done; /* atomic: bytes taken, bytes allocated */
    int err;             /* atomic: the first errno; ends all threads */
    bool stop;           /* atomic */
    unsigned left;       /* lock: threads that run */
    pthread_mutex_t lock;
    pthread_cond_t ended;
} Fill;

/* Where a SIGBUS of this thread goes while it touches pages; NULL: it is none of ours. */
static __thread sigjmp_buf *volatile touching;

static void on_sigbus(int sig)
{
    if (touching) {
        siglongjmp(*touching, 1);
    }
    signal(sig, SIG_DFL); /* the access repeats, and ends the program as without this handler */
}

/* A function of its own: no variable of it lives across sigsetjmp(). */
static __attribute__((noinline)) void touch_each(const HostMemFill *f, uint64_t off, uint64_t len)
{
    for (uint64_t at = off; at < off + len; at += f->page) {
        __atomic_fetch_or(&f->host[at], 0, __ATOMIC_RELAXED); /* a write that changes nothing */
    }
}

static int touch_pages(const HostMemFill *f, uint64_t off, uint64_t len)
{
    sigjmp_buf back;
    volatile int err = EFAULT;
    touching = &back;
    if (!sigsetjmp(back, 1)) {
        touch_each(f, off, len);
        err = 0;
    }
    touching = NULL;
    return err;
}

static int populate(const HostMemFill *f, uint64_t off, uint64_t len)
{
    while (madvise(f->host + off, len, MADV_POPULATE_WRITE) < 0) {
        if (errno != EINTR && errno != EAGAIN) {
            return errno;
        }
    }
    return 0;
}

static void *fill_thread(void *opaque)
{
    Fill *t = opaque;
    const HostMemFill *f = t->f;
    sigset_t bus;
    sigemptyset(&bus);
    sigaddset(&bus, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
    for (;;) {
        uint64_t off = __atomic_fetch_add(&t->next, t->piece, __ATOMIC_RELAXED);
        if (off >= f->size || __atomic_load_n(&t->stop, __ATOMIC_RELAXED)) {
            break;
        }
        uint64_t len = MIN(t->piece, f->size - off);
        int err = f->touch ? touch_pages(f, off, len) : populate(f, off, len);
        if (err) {
            int none = 0;
            __atomic_compare_exchange_n(&t->err, &none, err, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
            __atomic_store_n(&t->stop, true, __ATOMIC_RELAXED);
            break;
        }
        __atomic_fetch_add(&t->done, len, __ATOMIC_RELAXED);
    }
    pthread_mutex_lock(&t->lock);
    t->left--;
    pthread_cond_signal(&t->ended);
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* The program's signals are blocked and read on the main loop, which does not turn now. */
static bool asked_to_end(void)
{
    sigset_t waiting;
    sigpending(&waiting);
    return sigismember(&waiting, SIGINT) || sigismember(&waiting, SIGTERM) || sigismember(&waiting, SIGHUP);
}

static void wait_for_threads(Fill *t)
{
    unsigned waited = 0;
    pthread_mutex_lock(&t->lock);
    while (t->left) {
        struct timespec at;
        clock_gettime(CLOCK_MONOTONIC, &at);
        at.tv_nsec += WAIT_MS * 1000000l;
        at.tv_sec += at.tv_nsec / 1000000000;
        at.tv_nsec %= 1000000000;
        if (pthread_cond_timedwait(&t->ended, &t->lock, &at) != ETIMEDOUT) {
            continue;
        }
        waited += WAIT_MS;
        if (t->f->progress && waited % MAX(t->f->progress_ms, WAIT_MS) < WAIT_MS) {
            t->f->progress(t->f->opaque, __atomic_load_n(&t->done, __ATOMIC_RELAXED));
        }
        if (asked_to_end()) {
            __atomic_store_n(&t->stop, true, __ATOMIC_RELAXED);
        }
    }
    pthread_mutex_unlock(&t->lock);
}

/* An errno, or 0. */
static int run_threads(Fill *t)
{
    uint64_t pieces = (t->f->size + t->piece - 1) / t->piece;
    unsigned want = MAX(1, MIN(t->f->threads, pieces)), n = 0;
    g_autofree pthread_t *threads = g_new(pthread_t, want);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->ended, &attr);
    int err = 0;
    while (n < want && !err) {
        pthread_mutex_lock(&t->lock);
        t->left++;
        pthread_mutex_unlock(&t->lock);
        err = pthread_create(&threads[n], NULL, fill_thread, t);
        if (err) {
            pthread_mutex_lock(&t->lock);
            t->left--;
            pthread_mutex_unlock(&t->lock);
        } else {
            n++;
        }
    }
    wait_for_threads(t);
    for (unsigned i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_cond_destroy(&t->ended);
    pthread_mutex_destroy(&t->lock);
    pthread_condattr_destroy(&attr);
    return n ? t->err : err; /* fewer threads than wanted do it as well */
}

static int run_touching(Fill *t)
{
    struct sigaction act = { .sa_handler = on_sigbus }, was;
    sigemptyset(&act.sa_mask);
    if (sigaction(SIGBUS, &act, &was) < 0) {
        return errno;
    }
    int err = run_threads(t);
    sigaction(SIGBUS, &was, NULL);
    return err;
}

bool hostmem_fill(const HostMemFill *fill, Error **errp)
{
    HostMemFill touched = *fill;
    Fill t = { .f = fill, .piece = MAX((uint64_t)PIECE, fill->page) };
    int err = fill->touch ? run_touching(&t) : run_threads(&t);
    if (err == EINVAL && !fill->touch) { /* a host that does not know it */
        touched.touch = true;
        t = (Fill){ .f = &touched, .piece = t.piece };
        err = run_touching(&t);
    }
    if (!err && t.done < fill->size) {
        return error_fail(errp, "interrupted", NULL, NULL, "allocating memory was interrupted");
    }
    if (!err) {
        return true;
    }
    g_autofree char *done = g_strdup_printf("%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " MiB were there",
                                            t.done >> 20, fill->size >> 20);
    if (err == EFAULT || err == ENOMEM || err == ENOSPC) {
        return error_fail(errp, "no-memory", "prealloc", "give the guest less memory, or leave prealloc out",
                          "allocating memory failed: no memory or space is left; %s", done);
    }
    return error_set_errno(errp, err, "allocating memory failed (%s)", done);
}
