/* SPDX-License-Identifier: MIT
 * util/co.c - coroutines: starting, waking, and what they wait for.
 *
 * Models: asymmetric coroutines. Resuming nests: a coroutine that resumes another gets control back when that
 *         one yields or ends. Waking from any thread posts a task to the coroutine's loop; since
 *         that loop is the only one that resumes it, a wake that comes before the yield is not lost.
 * Threads: a coroutine runs on its loop's thread; mutexes, ranges and co_wake() are for any thread.
 */
#include "co-internal.h"

#include <string.h>

struct Co {
    Loop *loop;
    Task task; /* resumes it */
    void (*fn)(void *opaque);
    void *opaque;
    CoStack *stack;
    Co *resumer; /* NULL: the thread itself */
    bool running;
    bool ended;
};

/* A thread's view: what runs now, and its own stack to return to. */
typedef struct CoThread {
    Co *self;
    CoStack stack;
    bool ready;
} CoThread;
static __thread CoThread co_thread;

/* Never inlined: after a switch the compiler must not reuse an address computed before. */
static __attribute__((noinline)) CoThread *thread_get(void)
{
    __asm__ volatile("");
    return &co_thread;
}

Co *co_self(void)
{
    return thread_get()->self;
}

Loop *co_loop(void)
{
    return thread_get()->self->loop;
}

void co_entry(void)
{
    Co *co = co_self();
    co_stack_arrived(co->stack);
    co->fn(co->opaque);
    co->ended = true;
    CoThread *t = thread_get();
    CoStack *to = co->resumer ? co->resumer->stack : &t->stack;
    t->self = co->resumer;
    co_stack_switch(co->stack, to, true);
    g_assert_not_reached();
}

void co_resume(Co *co)
{
    CoThread *t = thread_get();
    if (!t->ready) {
        co_stack_init_thread(&t->stack);
        t->ready = true;
    }
    g_assert(!co->running);
    if (!co->stack) {
        co->stack = co_stack_get();
        co_stack_prepare(co->stack);
    }
    co->running = true;
    co->resumer = t->self;
    CoStack *from = t->self ? t->self->stack : &t->stack;
    t->self = co;
    co_stack_switch(from, co->stack, false);
    if (co->ended) {
        co_stack_put(co->stack);
        g_free(co);
    }
}

void co_yield(void)
{
    CoThread *t = thread_get();
    Co *co = t->self;
    g_assert(co);
    co->running = false;
    t->self = co->resumer;
    co_stack_switch(co->stack, co->resumer ? co->resumer->stack : &t->stack, false);
}

static void co_task(void *opaque)
{
    co_resume(opaque);
}

static Co *co_new(Loop *loop, void (*fn)(void *opaque), void *opaque)
{
    Co *co = g_new0(Co, 1);
    co->loop = loop;
    co->fn = fn;
    co->opaque = opaque;
    co->task = (Task){ .run = co_task, .opaque = co };
    return co;
}

void co_start(Loop *loop, void (*fn)(void *opaque), void *opaque)
{
    Co *co = co_new(loop, fn, opaque);
    loop_post(loop, &co->task);
}

void co_enter(Loop *loop, void (*fn)(void *opaque), void *opaque)
{
    co_resume(co_new(loop, fn, opaque));
}

void co_wake(Co *co)
{
    loop_post(co->loop, &co->task);
}

typedef struct SyncCall {
    void (*fn)(void *opaque);
    void *opaque;
    bool done;
} SyncCall;

static void co_sync_body(void *opaque)
{
    SyncCall *call = opaque;
    call->fn(call->opaque);
    call->done = true;
}

void co_run_sync(Loop *loop, void (*fn)(void *opaque), void *opaque)
{
    role_assert_main();
    g_assert(!co_self());
    SyncCall call = { .fn = fn, .opaque = opaque };
    co_enter(loop, co_sync_body, &call);
    while (!call.done) {
        loop_turn(loop, true);
    }
}

/* Mutexes */

void co_mutex_init(CoMutex *m)
{
    memset(m, 0, sizeof(*m));
    pthread_mutex_init(&m->lock, NULL);
}

void co_mutex_fini(CoMutex *m)
{
    g_assert(!m->held && !m->waiters.first);
    pthread_mutex_destroy(&m->lock);
}

void co_mutex_lock(CoMutex *m)
{
    CoWaiter me = { .co = co_self() };
    g_assert(me.co);
    pthread_mutex_lock(&m->lock);
    bool wait = m->held;
    if (wait) {
        *(m->waiters.first ? &m->waiters.last->next : &m->waiters.first) = &me;
        m->waiters.last = &me;
    }
    m->held = true;
    pthread_mutex_unlock(&m->lock);
    if (wait) {
        co_yield(); /* whoever unlocked handed it over */
    }
}

void co_mutex_unlock(CoMutex *m)
{
    pthread_mutex_lock(&m->lock);
    g_assert(m->held);
    CoWaiter *w = m->waiters.first;
    Co *next = w ? w->co : NULL;
    if (w) {
        m->waiters.first = w->next;
    } else {
        m->held = false;
    }
    pthread_mutex_unlock(&m->lock);
    if (next) {
        co_wake(next);
    }
}

/* Ranges: a list in the order of asking. A claim waits while an earlier one conflicts with it. */

void co_range_init(CoRangeLock *l)
{
    pthread_mutex_init(&l->lock, NULL);
    l->first = NULL;
    l->last = &l->first;
}

void co_range_fini(CoRangeLock *l)
{
    g_assert(!l->first);
    pthread_mutex_destroy(&l->lock);
}

static bool range_must_wait(const CoRangeLock *l, const CoRange *r)
{
    for (const CoRange *o = l->first; o != r; o = o->next) {
        if (o->start < r->end && r->start < o->end && (o->exclusive || r->exclusive)) {
            return true;
        }
    }
    return false;
}

void co_range_claim(CoRangeLock *l, CoRange *r, int64_t start, int64_t end, bool exclusive)
{
    *r = (CoRange){ .start = start, .end = end, .exclusive = exclusive, .co = co_self() };
    pthread_mutex_lock(&l->lock);
    *l->last = r;
    l->last = &r->next;
    r->waiting = range_must_wait(l, r);
    bool wait = r->waiting;
    pthread_mutex_unlock(&l->lock);
    if (wait) {
        co_yield();
    }
}

void co_range_release(CoRangeLock *l, CoRange *r)
{
    pthread_mutex_lock(&l->lock);
    CoRange **link = &l->first;
    while (*link != r) {
        link = &(*link)->next;
    }
    *link = r->next;
    if (l->last == &r->next) {
        l->last = link;
    }
    for (CoRange *o = *link; o; o = o->next) { /* only later claims can have waited for this one */
        if (o->waiting && !range_must_wait(l, o)) {
            o->waiting = false;
            co_wake(o->co);
        }
    }
    pthread_mutex_unlock(&l->lock);
}
