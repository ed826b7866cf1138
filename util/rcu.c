/* SPDX-License-Identifier: MIT
 * util/rcu.c - epoch-based reclamation: one counter per thread, one reclaiming thread.
 *
 * Invariant: `epoch` only grows (64 bits never wrap). A thread's `seen` is 0 outside read sections, else
 * an epoch not newer than the one current at its last quiescent state. An object unpublished before the
 * reclaimer advanced the epoch to E can be reached only by threads with 0 < seen < E: a reader that
 * enters later does store(seen), full barrier, load(pointer), the reclaimer does (unpublish), full
 * barrier, load(seen); one of the two sees the other's store.
 *
 * Locks are pthread's, not GLib's: ThreadSanitizer cannot see into those.
 * Threads: any. Readers are wait-free. `registry_lock` is a leaf; rcu_defer() takes no lock.
 */
#include "rhea/util/rcu.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef struct RcuThread {
    uint64_t seen;    /* written by its thread only */
    unsigned depth;   /* private to its thread */
    bool waited_for;  /* the reclaimer wants a wake-up when this thread passes a quiescent state */
    struct RcuThread *next, **link;
} RcuThread;

typedef struct RcuDeferred {
    void (*fn)(void *opaque);
    void *opaque;
    struct RcuDeferred *next;
} RcuDeferred;

static uint64_t epoch = 1;
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static RcuThread *registry;
static RcuDeferred *inbox; /* a stack, newest first */
static sem_t work, quiescence;
static __thread RcuThread *self;
static __thread bool is_reclaimer;

/* The full barrier between store(seen) and the loads behind it. ThreadSanitizer knows no fences; an
 * exchange is as strong on the hosts it runs on. */
#if defined(__SANITIZE_THREAD__)
#define RCU_NO_FENCE 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RCU_NO_FENCE 1
#endif
#endif
static inline void rcu_store_barrier(uint64_t *p, uint64_t v)
{
#ifdef RCU_NO_FENCE
    __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);
#else
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

static void rcu_thread_exit(void *opaque)
{
    RcuThread *t = opaque;
    pthread_mutex_lock(&registry_lock);
    *t->link = t->next;
    if (t->next) {
        t->next->link = t->link;
    }
    pthread_mutex_unlock(&registry_lock);
    g_free(t);
    self = NULL;
}

/* Unregisters a thread that ends without doing so. */
static GPrivate thread_key = G_PRIVATE_INIT(rcu_thread_exit);

void rcu_register_thread(void)
{
    if (self) {
        return;
    }
    RcuThread *t = g_new0(RcuThread, 1);
    pthread_mutex_lock(&registry_lock);
    t->next = registry;
    t->link = &registry;
    if (registry) {
        registry->link = &t->next;
    }
    registry = t;
    pthread_mutex_unlock(&registry_lock);
    self = t;
    g_private_set(&thread_key, t);
}

void rcu_unregister_thread(void)
{
    if (self) {
        g_assert(self->depth == 0);
        g_private_replace(&thread_key, NULL); /* runs rcu_thread_exit() */
    }
}

/* Tells a waiting reclaimer that this thread has moved on. A wake-up missed because the load overtakes
 * the store before it costs the reclaimer one time-out, not correctness. */
static inline void rcu_moved_on(RcuThread *t)
{
    if (G_UNLIKELY(__atomic_load_n(&t->waited_for, __ATOMIC_RELAXED)) &&
        __atomic_exchange_n(&t->waited_for, false, __ATOMIC_RELAXED)) {
        sem_post(&quiescence);
    }
}

void rcu_read_lock(void)
{
    if (G_UNLIKELY(!self)) {
        rcu_register_thread();
    }
    if (self->depth++ == 0) {
        rcu_store_barrier(&self->seen, __atomic_load_n(&epoch, __ATOMIC_ACQUIRE));
    }
}

void rcu_read_unlock(void)
{
    g_assert(self && self->depth > 0);
    if (--self->depth == 0) {
        __atomic_store_n(&self->seen, 0, __ATOMIC_RELEASE);
        rcu_moved_on(self);
    }
}

void rcu_quiescent(void)
{
    if (!self || self->depth != 1) {
        return; /* outside there is nothing to announce, deeper an outer section still holds */
    }
    uint64_t now = __atomic_load_n(&epoch, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&self->seen, __ATOMIC_RELAXED) == now) {
        return; /* nothing was waited for since the last time: no barrier on the fast path */
    }
    rcu_store_barrier(&self->seen, now);
    rcu_moved_on(self);
}

/* The oldest blocker, if any thread is still in a section entered before `target`. */
static bool rcu_readers_remain(uint64_t target)
{
    bool remain = false;
    pthread_mutex_lock(&registry_lock);
    for (RcuThread *t = registry; t; t = t->next) {
        uint64_t seen = __atomic_load_n(&t->seen, __ATOMIC_SEQ_CST);
        if (seen != 0 && seen < target) {
            __atomic_store_n(&t->waited_for, true, __ATOMIC_SEQ_CST);
            seen = __atomic_load_n(&t->seen, __ATOMIC_SEQ_CST);
            remain |= seen != 0 && seen < target;
        }
    }
    pthread_mutex_unlock(&registry_lock);
    return remain;
}

static void rcu_wait_readers(void)
{
    /* Orders every unpublish before this point against the loads of `seen`. */
    uint64_t target = __atomic_add_fetch(&epoch, 1, __ATOMIC_SEQ_CST);
    while (rcu_readers_remain(target)) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 10 * 1000 * 1000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        sem_timedwait(&quiescence, &until);
    }
}

static gpointer rcu_reclaim(gpointer unused)
{
    is_reclaimer = true;
    for (;;) {
        while (sem_wait(&work) && errno == EINTR) {
        }
        RcuDeferred *batch = __atomic_exchange_n(&inbox, NULL, __ATOMIC_ACQ_REL), *fifo = NULL;
        if (!batch) {
            continue;
        }
        while (batch) {
            RcuDeferred *next = batch->next;
            batch->next = fifo;
            fifo = batch;
            batch = next;
        }
        rcu_wait_readers();
        while (fifo) {
            RcuDeferred *d = fifo;
            fifo = d->next;
            d->fn(d->opaque);
            g_free(d);
        }
    }
    return NULL;
}

static void rcu_start(void)
{
    sem_init(&work, 0, 0);
    sem_init(&quiescence, 0, 0);
    g_thread_unref(g_thread_new("rcu", rcu_reclaim, NULL));
}

void rcu_defer(void (*fn)(void *opaque), void *opaque)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, rcu_start);
    RcuDeferred *d = g_new(RcuDeferred, 1);
    d->fn = fn;
    d->opaque = opaque;
    RcuDeferred *head = __atomic_load_n(&inbox, __ATOMIC_RELAXED);
    do {
        d->next = head;
    } while (!__atomic_compare_exchange_n(&inbox, &head, d, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    if (!head) {
        sem_post(&work); /* else the poster of the first one has done so */
    }
}

static void rcu_signal(void *opaque)
{
    sem_post(opaque);
}

void rcu_barrier(void)
{
    g_assert(!is_reclaimer);
    g_assert(!self || self->depth == 0);
    sem_t done;
    sem_init(&done, 0, 0);
    rcu_defer(rcu_signal, &done);
    while (sem_wait(&done) && errno == EINTR) {
    }
    sem_destroy(&done);
}
