/* SPDX-License-Identifier: MIT
 * util/worker.c - a pool of threads that coroutines hand blocking work to.
 *
 * Models: one queue, first come first served; a thread is added when work arrives and nobody is idle.
 * Threads: `lock` protects everything; work runs without it.
 */
#include "rhea/util/worker.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

enum { IDLE_SECONDS = 10 };

struct WorkerPool {
    pthread_mutex_t lock;
    pthread_cond_t work, gone; /* something was queued or the pool ends; a thread ended */
    WorkItem *first, **last;
    unsigned threads, idle, max, queued;
    bool stop;
};

WorkerPool *worker_pool_new(unsigned max_threads)
{
    WorkerPool *p = g_new0(WorkerPool, 1);
    pthread_condattr_t attr;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->work, &attr);
    pthread_cond_init(&p->gone, &attr);
    pthread_condattr_destroy(&attr);
    p->last = &p->first;
    p->max = max_threads;
    return p;
}

void worker_pool_set_max(WorkerPool *p, unsigned max_threads)
{
    pthread_mutex_lock(&p->lock);
    p->max = max_threads;
    pthread_mutex_unlock(&p->lock);
}

/* With the lock held: the next item, NULL when this thread shall end. */
static WorkItem *worker_next(WorkerPool *p)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    while (!p->first) {
        if (p->stop) {
            return NULL;
        }
        p->idle++;
        int err = pthread_cond_timedwait(&p->work, &p->lock, &until);
        p->idle--;
        if (err == ETIMEDOUT && !p->first) {
            return NULL;
        }
    }
    WorkItem *item = p->first;
    p->first = item->next;
    if (!p->first) {
        p->last = &p->first;
    }
    p->queued--;
    return item;
}

static void *worker_main(void *opaque)
{
    WorkerPool *p = opaque;
    pthread_setname_np(pthread_self(), "worker");
    pthread_mutex_lock(&p->lock);
    for (WorkItem *item; (item = worker_next(p));) {
        pthread_mutex_unlock(&p->lock);
        Co *co = item->co;
        int r = item->fn(item->opaque);
        if (co) {
            item->result = r;
            co_wake(co); /* the item lies on that coroutine's stack: gone from here on */
        }
        pthread_mutex_lock(&p->lock);
    }
    p->threads--;
    pthread_cond_broadcast(&p->gone);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* With the lock held. Signals are the main thread's business. */
static bool worker_spawn(WorkerPool *p)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, was;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    bool ok = pthread_create(&thread, &attr, worker_main, p) == 0;
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    p->threads += ok;
    return ok;
}

bool worker_post(WorkerPool *p, WorkItem *item)
{
    item->next = NULL;
    pthread_mutex_lock(&p->lock);
    if (p->idle <= p->queued && p->threads < p->max) {
        worker_spawn(p);
    }
    bool ok = p->threads > 0;
    if (ok) {
        *p->last = item;
        p->last = &item->next;
        p->queued++;
    }
    pthread_mutex_unlock(&p->lock);
    if (ok) { /* without the lock: who wakes up wants it at once */
        pthread_cond_signal(&p->work);
    }
    return ok;
}

int worker_run(WorkerPool *p, int (*fn)(void *opaque), void *opaque)
{
    WorkItem item = { .fn = fn, .opaque = opaque, .co = co_self() };
    if (!worker_post(p, &item)) {
        return fn(opaque);
    }
    co_yield();
    return item.result;
}

void worker_pool_free(WorkerPool *p)
{
    if (!p) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->work);
    while (p->threads > 0) {
        pthread_cond_wait(&p->gone, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->gone);
    pthread_mutex_destroy(&p->lock);
    g_free(p);
}
