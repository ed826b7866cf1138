/* SPDX-License-Identifier: MIT
 * system/domain.c - domains: the lock of a set of devices and the loop their posted work runs on.
 * Models: docs/devel/threads.md, "domains".
 * Threads: any; a thread holds at most one domain, which domain_lock() asserts.
 */
#include "rhea/system/domain.h"
#include "rhea/util/lock.h"

struct Domain {
    char *name;
    Loop *home;
    pthread_mutex_t lock;
    TimerGuard guard;
};

static __thread Domain *held;

static void domain_guard_lock(void *opaque) TSA_NO_ANALYSIS
{
    domain_lock(opaque);
}

static void domain_guard_unlock(void *opaque) TSA_NO_ANALYSIS
{
    domain_unlock(opaque);
}

Domain *domain_new(const char *name, Loop *home)
{
    Domain *d = g_new0(Domain, 1);
    d->name = g_strdup(name);
    d->home = home;
    lock_init_adaptive(&d->lock);
    d->guard = (TimerGuard){ .lock = domain_guard_lock, .unlock = domain_guard_unlock, .opaque = d };
    return d;
}

void domain_free(Domain *d)
{
    if (!d) {
        return;
    }
    g_assert(held != d);
    pthread_mutex_destroy(&d->lock);
    g_free(d->name);
    g_free(d);
}

void domain_lock(Domain *d) TSA_NO_ANALYSIS
{
    if (G_UNLIKELY(held)) {
        g_error("domain '%s' locked by a thread that holds domain '%s': work for another domain is posted",
                d->name, held->name);
    }
    pthread_mutex_lock(&d->lock);
    held = d;
}

void domain_unlock(Domain *d) TSA_NO_ANALYSIS
{
    g_assert(held == d);
    held = NULL;
    pthread_mutex_unlock(&d->lock);
}

bool domain_held(const Domain *d)
{
    return held == d;
}

Domain *domain_current(void)
{
    return held;
}

Loop *domain_loop(const Domain *d)
{
    return d->home;
}

const TimerGuard *domain_guard(const Domain *d)
{
    return &d->guard;
}

static void domain_run_task(void *opaque) TSA_NO_ANALYSIS
{
    DomainTask *t = opaque;
    Domain *d = t->domain; /* run() may free the task */
    domain_lock(d);
    t->run(t->opaque);
    domain_unlock(d);
}

void domain_task_init(DomainTask *t, Domain *d, void (*run)(void *opaque), void *opaque)
{
    *t = (DomainTask){
        .task = { .run = domain_run_task, .opaque = t }, .domain = d, .run = run, .opaque = opaque
    };
}

void domain_post(DomainTask *t)
{
    loop_post(t->domain->home, &t->task);
}
